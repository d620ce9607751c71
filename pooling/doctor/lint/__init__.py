"""What can be found in a network: rules with stable codes, like those of a linter.

registry      what a rule is, what it looks at, and the table of all rules
d1_sizes      windows and input sizes
d2_objects    small objects
d3_runtimes   what runtimes read differently
d4_aliasing   what strides leave out
d5_design     resolution, heads, weights, branches
d6_context    layers that add no context, uneven overlap, skips that meet at some sizes only
d9_reading    what was not understood
"""

from . import d1_sizes, d2_objects, d3_runtimes, d4_aliasing, d5_design, d6_context, d9_reading
from .registry import RULES, SEVERITIES, Failure, Finding, LintContext, LintRule, find

__all__ = [
    "RULES",
    "SEVERITIES",
    "Failure",
    "Finding",
    "LintContext",
    "LintRule",
    "d1_sizes",
    "d2_objects",
    "d3_runtimes",
    "d4_aliasing",
    "d5_design",
    "d6_context",
    "d9_reading",
    "find",
]
