"""Networks from modules of torch: the module runs on tensors without data, and what it calls becomes the graph.

capture    one run, written down
records    the operators of ATen, one record for each
scope      which module calls an operator, and on which line
stand_ins  what takes the place of calls that tensors without data cannot make
inputs     what a module takes, and what is said of an input that it has not
size_run   one run for the windows alone, with all that does not change kept
graph      the graph that runs the module again at every size
"""

from .graph import from_module

__all__ = ["from_module"]
