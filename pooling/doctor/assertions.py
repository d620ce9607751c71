"""For test suites: an examination that fails with what it found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pooling.arguments import word
from pooling.reporting.formats import by
from pooling.signs import counted, printable

from .examination import Examination, examine
from .lint import SEVERITIES, Finding

__all__ = ["assert_no_findings"]


def assert_no_findings(
    model: Any, fail_on: str = "warning", ignore: Iterable[str] = (), **examine_arguments: Any
) -> Examination:
    """Examine a network, and raise an AssertionError if something is found.

    Parameters
    ----------
    model : path, str, onnx.ModelProto, bytes, Sequential, Layer or Graph
        What `examine` takes.
    fail_on : {"note", "warning", "error"}
        The least severe finding that counts.
    ignore : iterable of str
        Codes of findings that do not count, or beginnings of codes.
    **examine_arguments : Any
        Other arguments of `examine`, such as ``input_shape`` and ``task``.

    Returns
    -------
    Examination
        For further assertions, such as ``assert result.network.macs < 5e9``.

    Raises
    ------
    AssertionError
        If something is found; it says all of that in full sentences, and what to try.
    NetworkError, TypeError, ValueError
        As `examine` does.

    Examples
    --------
    >>> from pooling.doctor import assert_no_findings
    >>> result = assert_no_findings("conv3x8 pool2 conv3x8", input_shape=(1, 3, 32, 32))
    >>> assert_no_findings("conv3x8 pool2 conv3x8", input_shape=(1, 3, 33, 33), ignore=["D101"]).severity
    'note'
    >>> assert_no_findings("conv3x8 conv1/2@down", input_shape=(1, 3, 32, 32))
    Traceback (most recent call last):
        ...
    AssertionError: layers at 1×3×32×32: 1 finding of severity warning or above.
    D402 warning at down (the stride skips input positions): ...
    """
    fail_on = word("assert_no_findings", "fail_on", fail_on, SEVERITIES)
    result = examine(model, ignore=ignore, **examine_arguments)
    least = SEVERITIES.index(fail_on)
    found = [finding for finding in result.findings if SEVERITIES.index(finding.severity) >= least]
    if found:
        shape = result.failure.shape if result.failure is not None else result.network.input_shape
        head = (
            f"{result.network.title} at {by(shape)}: {counted(len(found), 'finding')} of severity {fail_on}"
            f"{'' if fail_on == SEVERITIES[-1] else ' or above'}."
        )
        raise AssertionError(printable("\n".join([head, *map(_sentences, found)]), keep="\n"))
    return result


def _sentences(finding: Finding) -> str:
    """Write a finding in full sentences."""
    place = f" at {finding.stage}" if finding.stage else ""
    lines = [f"{finding.code} {finding.severity}{place} ({finding.title}): {_sentence(finding.message)}"]
    return "\n".join([*lines, *(f"  - {_sentence(fix)}" for fix in finding.fixes)])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
