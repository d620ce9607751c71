"""Write docs/operators.md from the operator table: ``python docs/make_operators.py``.

A test compares the page with what this module makes, so a row that is added or changed brings its page along.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pooling
from pooling.operators import BLOCK_REDUCTIONS, BOOL, FLOATS, INTEGERS, OPERATORS, BlockReduction, Operator

PAGE = Path(__file__).with_name("operators.md")
GROUPS = {"floats": FLOATS, "integers": INTEGERS, "bool": BOOL}
HEAD = """\
<!-- Made by docs/make_operators.py from pooling/operators.py. -->

# Operators

Each function has a gradient, `<function>_backward`, which takes the gradient of the result before the same arguments.
[semantics.md](semantics.md) defines every operator; `pooling/reference.py` is a slow implementation of it.

"""
COLUMNS = (
    "Operator",
    "Functions",
    "dtypes",
    "dtypes of gradients",
    "Layouts",
    "ONNX operators",
    "Indices",
    "Can skip NaN",
    "Result",
)
BLOCKS = """
# Reductions of blocks

`pooling.block_reduce` and `pooling.pyramid` take these as `func`, for arrays of one to six axes;
[semantics.md](semantics.md#blocks-and-pyramids) defines them. Gradients are those of `block_reduce_backward`.

"""
BLOCK_COLUMNS = ("`func`", "dtypes", "dtypes of gradients", "Weights", "Levels are made of", "ONNX operators", "Result")
LEVELS = {
    "sums": "carried sums",
    "level": "the level before",
    "either": "the level before, or the array",
    "originals": "the array",
}


def block_row(reduction: BlockReduction) -> str:
    """Return the line of one reduction of blocks."""
    cells = (
        code(reduction.name),
        dtypes(reduction.dtypes),
        dtypes(reduction.gradient_dtypes),
        "yes" if reduction.weighted else "no",
        LEVELS[reduction.levels],
        ", ".join(reduction.onnx) or "none",
        reduction.summary,
    )
    return f"| {' | '.join(cells)} |\n"


def dtypes(names: tuple[str, ...]) -> str:
    """Name dtypes by their groups where a group is complete."""
    shown = []
    rest = list(names)
    for group, members in GROUPS.items():
        if set(members) <= set(rest):
            shown.append(group)
            rest = [name for name in rest if name not in members]
    return ", ".join([*shown, *map(code, rest)]) or "none"


def code(name: str) -> str:
    """Set a name as code."""
    return f"`{name}`"


def skips_nan(operator: Operator) -> bool:
    """Whether the functions take ``nan="ignore"``."""
    return all("nan" in inspect.signature(getattr(pooling, name)).parameters for name in operator.functions)


def row(operator: Operator) -> str:
    """Return the line of one operator."""
    cells = (
        code(operator.name),
        ", ".join(map(code, operator.functions)),
        dtypes(operator.dtypes),
        dtypes(operator.gradient_dtypes),
        ", ".join(operator.layouts),
        ", ".join(operator.onnx),
        "yes" if operator.indices else "no",
        "yes" if skips_nan(operator) else "no",
        operator.summary,
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """Return the whole page."""
    groups = "".join(f"- {group}: {', '.join(map(code, names))}\n" for group, names in GROUPS.items())
    lines = [f"| {' | '.join(COLUMNS)} |\n", f"|{'---|' * len(COLUMNS)}\n", *map(row, OPERATORS.values())]
    reductions = [f"| {' | '.join(BLOCK_COLUMNS)} |\n", f"|{'---|' * len(BLOCK_COLUMNS)}\n"]
    reductions += map(block_row, BLOCK_REDUCTIONS.values())
    return f"{HEAD}{''.join(lines)}{BLOCKS}{''.join(reductions)}\nGroups of dtypes:\n\n{groups}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
