"""What released runtimes make of the forms in which poolings are written: a table, measured, and its reader.

``table.json`` is written by ``python -m pooling.validation.deployed.measure``, which asks wheels of older and newer
releases that it installs side by side into folders. `to_onnx` and `make_portable` choose the form of a node by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = [
    "ANSWERS",
    "ReleaseAnswer",
    "Table",
    "form_behind_zeros",
    "form_of_average",
    "is_right",
    "newest_common_opset",
    "table",
    "versions_of",
    "wrong_in",
]

ANSWERS = ("right", "numbers", "shape", "refused")
"""What a runtime makes of a form: the right result, wrong numbers, a wrong shape or type, or none."""


@dataclass(frozen=True)
class ReleaseAnswer:
    """One answer of some releases of a runtime to a form, in some opsets."""

    form: str
    """Of a node or a graph; see `form_of_average`, and `Table.forms` for all."""
    runtime: str
    """``"onnxruntime"`` or ``"openvino"``."""
    answer: str
    """One of `ANSWERS`."""
    detail: str
    """By how much numbers are off, which shape came, or what the runtime says; of one of the releases."""
    opsets: tuple[int, ...]
    """The opsets, in order."""
    levels: tuple[str, ...]
    """Levels of graph optimisation, ``"default"`` and ``"disabled"``; openvino has the first only."""
    versions: tuple[str, ...]
    """The releases, in order."""


class Table:
    """What was measured.

    Attributes
    ----------
    rows : tuple of ReleaseAnswer
        Every answer; a runtime that does not read an opset has none there.
    newest_opsets : dict
        By runtime and release, the newest opset that it reads.
    opsets : dict
        By runtime, the opsets that were measured: those that bring other versions of the operators that are written.

    Examples
    --------
    >>> from pooling.export.deployed import table
    >>> {row.answer for row in table().rows_of("AveragePool, counted asymmetric pads", 13)}
    {'right'}
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.newest_opsets: dict[str, dict[str, int]] = content["newest_opsets"]
        self.opsets: dict[str, list[int]] = content["opsets"]
        self.rows = tuple(
            ReleaseAnswer(
                form,
                row["runtime"],
                row["answer"],
                row.get("detail", ""),
                tuple(_numbers(row["opsets"])),
                tuple(row["levels"]),
                tuple(row["versions"]),
            )
            for form, rows in {**content["forms"], **content["layers"]}.items()
            for row in rows
        )
        self._kinds = {kind: tuple(content[kind]) for kind in ("forms", "layers")}
        self._by_form: dict[str, list[ReleaseAnswer]] = {}
        for row in self.rows:
            self._by_form.setdefault(row.form, []).append(row)

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that were measured."""
        return tuple(self._by_form)

    def forms_of(self, kind: str) -> tuple[str, ...]:
        """Return the forms of a kind: ``"forms"`` of nodes, or ``"layers"`` as they are exported."""
        return self._kinds[kind]

    def rows_of(self, form: str, opset: int, runtime: str | None = None) -> list[ReleaseAnswer]:
        """Return what is known of a form in an opset, of one runtime or of all.

        Parameters
        ----------
        form : str
            One of `forms`.
        opset : int
            The opset.
        runtime : str, optional
            ``"onnxruntime"`` or ``"openvino"``.

        Returns
        -------
        list of ReleaseAnswer
            Empty where no release reads the opset.

        Raises
        ------
        KeyError
            If the form was not measured.
        """
        return [
            row
            for row in self._by_form[form]
            if runtime in (None, row.runtime) and self._measured(row.runtime, opset) in row.opsets
        ]

    def _measured(self, runtime: str, opset: int) -> int:
        """Return the opset whose operators an opset has."""
        return max((number for number in self.opsets[runtime] if number <= opset), default=0)

    def is_right(self, form: str, opset: int, runtime: str = "onnxruntime") -> bool:
        """Tell whether every release that reads the opset gives the right result, at every level."""
        return all(row.answer == "right" for row in self.rows_of(form, opset, runtime))

    def newest_common_opset(self, runtime: str = "onnxruntime") -> int:
        """Return the newest opset that every release reads."""
        return min(self.newest_opsets[runtime].values())


@cache
def table() -> Table:
    """Return the table that comes with the package."""
    return Table(json.loads(files(__name__).joinpath("table.json").read_text(encoding="utf-8")))


def is_right(form: str, opset: int, runtime: str = "onnxruntime") -> bool:
    """Tell whether every measured release of a runtime that reads an opset computes a form rightly, at every level.

    Parameters
    ----------
    form : str
        One of ``table().forms``.
    opset : int
        The opset.
    runtime : str
        ``"onnxruntime"`` or ``"openvino"``.

    Returns
    -------
    bool

    Raises
    ------
    KeyError
        If the form was not measured.
    """
    return table().is_right(form, opset, runtime)


def wrong_in(form: str, opset: int, runtime: str = "onnxruntime") -> str:
    """Say which releases of a runtime compute a form wrongly in an opset, from the first to the last.

    Examples
    --------
    >>> wrong_in("AveragePool, counted asymmetric pads", 19)
    'onnxruntime 1.21.1 to 1.24.4'
    """
    versions = [
        version
        for version in versions_of(runtime)
        if any(row.answer != "right" and version in row.versions for row in table().rows_of(form, opset, runtime))
    ]
    return f"{runtime} {versions[0]}{f' to {versions[-1]}' if len(versions) > 1 else ''}" if versions else ""


def newest_common_opset(runtime: str = "onnxruntime") -> int:
    """Return the newest opset that every measured release of a runtime reads."""
    return table().newest_common_opset(runtime)


def versions_of(runtime: str) -> tuple[str, ...]:
    """Return the releases of a runtime that were measured, oldest first."""
    return tuple(table().newest_opsets[runtime])


def form_of_average(pads: Sequence[int], *, counted: bool, dilated: bool) -> str:
    """Name the form of an AveragePool without ``ceil_mode`` and ``auto_pad``.

    Parameters
    ----------
    pads : sequence of int
        As in the node: all begins, then all ends.
    counted : bool
        Its ``count_include_pad``.
    dilated : bool
        Whether a dilation is above 1.

    Returns
    -------
    str

    Examples
    --------
    >>> form_of_average([0, 0, 1, 1], counted=True, dilated=False)
    'AveragePool, counted asymmetric pads'
    """
    half = len(pads) // 2
    name = "AveragePool, dilated" if dilated else "AveragePool"
    if not any(pads):
        return name
    kind = "symmetric" if list(pads[:half]) == list(pads[half:]) else "asymmetric"
    return f"{name}, {'counted' if counted else 'uncounted'} {kind} pads"


def form_behind_zeros(average: str, *, by: str = "Pad", wider: bool = False) -> str:
    """Name the form of an AveragePool of what has zeros around it.

    Parameters
    ----------
    average : str
        The form of the AveragePool itself; see `form_of_average`.
    by : str
        What puts the zeros there, ``"Pad"`` or ``"Concat of zeros"``.
    wider : bool
        Whether there are, with the node's own padding, as many of them on a side as the kernel has taps, or more: no
        AveragePool has so much padding.

    Returns
    -------
    str

    Examples
    --------
    >>> form_behind_zeros("AveragePool", wider=True)
    'Pad wider than windows, AveragePool'
    """
    return f"{by}{' wider than windows' if wider else ''}, {average}"


def _numbers(text: str) -> Iterator[int]:
    """Read ``"7-11, 13"``."""
    for part in text.split(", "):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
