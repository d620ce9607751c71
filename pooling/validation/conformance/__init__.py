"""The suite of single nodes in all runtimes.

suite       the cases, rule by rule
run         makes the conformance table
node_tests  writes ONNX node tests
"""
