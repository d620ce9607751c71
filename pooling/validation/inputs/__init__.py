"""What runtimes are asked.

case  a node and its numbers
plan  the cases that bring out differences at a node
"""
