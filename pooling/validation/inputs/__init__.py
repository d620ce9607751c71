"""What runtimes are asked: `case` a node and its numbers, `test_inputs` the numbers that bring out differences."""
