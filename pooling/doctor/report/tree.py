"""The tree of blocks in the terminal: shapes, parameters, multiply-adds and memory by module. Needs ``rich``."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from pooling.reporting.formats import amount, by, memory
from pooling.reporting.tables import Column, Layout
from pooling.signs import printable

from ..analysis.tree import Block
from ..examination import Examination

__all__ = ["DEPTH", "print_tree"]

DEPTH = 3
"""Levels that are shown when nobody says how many."""
NARROWEST_NAME = 14


class TreeRow(NamedTuple):
    """One line: a block, and how deep it lies; level 0 is the whole network."""

    level: int
    block: Block


def print_tree(examination: Examination, console: Console, depth: int = DEPTH) -> None:
    """Print the blocks of a network as a tree, with a total below it.

    Parameters
    ----------
    examination : Examination
    console : rich.console.Console
    depth : int
        Levels to show; what lies deeper is counted in the block around it.
    """
    rows = [TreeRow(*each) for each in examination.tree.walk(depth)] + [TreeRow(0, examination.tree)]
    layout = Layout(_columns(), rows, console.width, NARROWEST_NAME)
    console.print(layout.table(rows))
    console.print(Text(layout.legend, "dim"))
    if all(block.stage is not None for block in examination.tree.children):
        console.print(Text("the names of the stages speak of no modules, so that each stage is a block", "dim"))


def _columns() -> list[Column[TreeRow]]:
    def name(row: TreeRow) -> Text:
        if not row.level:
            return Text("total", "bold")
        style = "" if row.block.stage is not None else "bold"
        return Text("  " * (row.level - 1) + printable(row.block.name), style)

    def number(write: str, row: TreeRow) -> Text:
        return Text(("" if row.block.known or not write else "≥") + write)

    return [
        Column("block", name),
        Column("kind", lambda row: Text("" if not row.level else printable(row.block.kind), "dim"), wanted=6),
        Column("output", lambda row: Text(by(row.block.output_shape))),
        Column(
            "parameters",
            lambda row: number(amount(row.block.parameters) if row.block.parameters else "", row),
            "right",
            8,
        ),
        Column(
            "MACs",
            lambda row: number(amount(row.block.macs) if row.block.macs else "", row),
            "right",
            7,
            "MACs: multiply-adds",
        ),
        Column(
            "training",
            lambda row: number(memory(row.block.training_bytes), row),
            "right",
            4,
            "training: memory of all results, kept for the backward pass",
        ),
        Column(
            "inference",
            lambda row: number(memory(row.block.inference_bytes), row),
            "right",
            3,
            "inference: most memory of maps alive at one time, each freed behind its last reader",
        ),
    ]
