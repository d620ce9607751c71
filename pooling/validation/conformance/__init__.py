"""The suite of single nodes in all runtimes: `run` makes the conformance table, `node_tests` writes ONNX node tests."""
