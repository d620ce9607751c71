"""What ``pooling repair`` does: from file to file, with a report for people. Needs ``rich``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pooling.errors import without
from pooling.onnx_models.graph import scopes_of
from pooling.onnx_models.load import read_model
from pooling.signs import printable

from ..files import save
from ..verification import VerificationError
from .repair import Repaired, make_portable
from .rewrites import FUNCTION

if TYPE_CHECKING:
    from .records import ReportRecord

__all__ = ["RepairReport", "repair_file"]


@dataclass(frozen=True)
class RepairReport:
    """What came out of repairing a file."""

    path: Path
    """The model."""
    result: Repaired | None
    """None where the repaired model differs from the original."""
    difference: str
    """How it differs."""
    written: Path | None
    """Where the repaired model is now."""

    @property
    def exit_code(self) -> int:
        """0 where all was repaired and proven, 2 where nothing loads the model or a window does not fit, else 1."""
        if self.result is not None and (self.result.runs is False or self.result.misfit):
            return 2
        return 0 if self.result is not None and self.result.verified and not self.result.skipped else 1

    def print(self, console: Console) -> None:
        """Print the changes with their reasons, what was skipped, and what was proven."""
        result = self.result
        if result is None:
            self._say(console, "differs", self.difference, "bold red")
            return
        if result.changes:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for title in ("node", "rule", "was", "became"):
                table.add_column(title, overflow="fold")
            for change in result.changes:
                name = change.node if change.path == "graph" else f"{change.path}: {change.node}"
                table.add_row(*(Text(printable(each)) for each in (name, change.rule, change.was, change.became)))
            console.print(table)
        reasons = dict.fromkeys((change.rule, change.reason, change.source) for change in result.changes)
        for rule, reason, source in reasons:
            self._say(console, rule, f"{reason} ({source})" if source else reason, "bold")
        for each in result.skipped:
            self._say(console, f"skipped: {each.node}", f"{each.was}: {each.reason}", "bold yellow")
        for each in result.omitted:
            self._say(console, f"omitted: {each.node}", f"{each.was}: {each.reason}", "bold")
        changed = f"{len(result.changes)} change{'' if len(result.changes) == 1 else 's'}"
        proof = "verified" if result.verified else "not verified"
        style = "bold green" if self.exit_code == 0 else "bold yellow"
        self._say(console, f"{self.path.name}: {changed}, {proof}", result.why, style)
        if self.written is None and result.changes:
            console.print(Text("nothing was written; -o OUT.onnx writes the repaired model"), soft_wrap=True)

    @staticmethod
    def _say(console: Console, title: str, text: str, style: str) -> None:
        console.print(Text.assemble((printable(title), style), f": {printable(text)}"), soft_wrap=True)

    def as_record(self) -> ReportRecord:
        """Return everything as what is written as JSON; needs ``msgspec``."""
        from pooling.reporting.json import record

        from .records import ReportRecord

        result = self.result
        return record(
            ReportRecord,
            self,
            schema="pooling-repair/1",
            model=str(self.path),
            output=None if self.written is None else str(self.written),
            verified=result is not None and result.verified,
            runs=None if result is None else result.runs,
            why=self.difference if result is None else result.why,
            **{name: getattr(result, name, ()) for name in ("changes", "skipped", "omitted")},
        )

    def save(self, path: Path) -> None:
        """Write `as_record` to a JSON file, whole or not at all."""
        from pooling.reporting.json import save

        save(self.as_record(), path)


def repair_file(
    path: Path, output: Path | None, shapes: Mapping[str, Sequence[int | None]], special_values: str = "finite"
) -> RepairReport:
    """Repair a model and write it.

    Parameters
    ----------
    path : Path
        The model.
    output : Path or None
        Where to write the repaired model; None to write nothing.
    shapes : mapping
        The `input_shapes` of `make_portable`.
    special_values : {"finite", "exact"}
        As in `make_portable`.

    Raises
    ------
    ValueError
        If the model cannot be read or is not valid, or there is no place for the result.
    OSError
        If the result cannot be written.
    """
    try:
        model, folder = read_model(FUNCTION, path)
        if output is not None:
            _check_output(model, path, output)
        try:
            result = make_portable(model, input_shapes=shapes, folder=folder, special_values=special_values)
        except VerificationError as error:
            return RepairReport(path, None, _plain(error), None)
        # A model that nothing loads, or that makes maps without cells, is not written unchanged as if it were repaired.
        written = output if result.changes or not (result.runs is False or result.misfit) else None
        if written is not None:
            save(result.model, written)
    except ValueError as error:
        raise ValueError(_plain(error)) from error
    return RepairReport(path, result, "", written)


def _plain(error: Exception) -> str:
    return without(error, FUNCTION, "save")


def _check_output(model: onnx.ModelProto, path: Path, output: Path) -> None:
    """Refuse a place where the result cannot be written, or would not find its data."""
    # Path.resolve raises where links lead in a circle, which is told when the file is written.
    place = Path(os.path.realpath(output)).parent
    if not place.is_dir():
        raise ValueError(f"-o {output} lies in a folder that does not exist; make it first")
    outside = any(
        tensor.data_location == onnx.TensorProto.EXTERNAL
        for scope in scopes_of(model)
        if isinstance(scope.container, onnx.GraphProto)
        for tensor in scope.container.initializer
    )
    if outside and place != Path(os.path.realpath(path)).parent:
        raise ValueError(
            f"-o {output} lies in another folder than {path.name}, which has data in files of their own; write it to "
            f"{path.parent / output.name}"
        )
