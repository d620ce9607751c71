"""Whether an answer is the one that the oracle gives, and if not, how it differs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import value_error
from pooling.numerics.bounds import spacing
from pooling.numerics.compare import differing, first_of
from pooling.tool_arguments import instance_of

from .comparison import permitted_errors
from .inputs.case import Case
from .runners.results import Result

__all__ = ["Kind", "Verdict", "judge"]

Numbers = NDArray[Any]
INDICES = 1
"""Which output of a MaxPool holds indices."""


class Kind(StrEnum):
    """What may come out of a comparison; the first that applies is the verdict.

    Examples
    --------
    >>> from pooling.validation import Kind
    >>> [kind.name for kind in Kind][0]
    'AGREES'
    """

    AGREES = "agrees"
    CRASHES = "crashes"
    REFUSES = "refuses"
    SHAPE = "shape"
    DTYPE = "dtype"
    VALUE = "value"
    NAN = "nan"
    INDEX = "index"

    @property
    def differs(self) -> bool:
        """Whether there was an answer, and another one than the oracle's."""
        return self not in (Kind.AGREES, Kind.CRASHES, Kind.REFUSES)


@dataclass(frozen=True)
class Verdict:
    """How an answer compares with the oracle's.

    Attributes
    ----------
    kind : Kind
        What is wrong, or `Kind.AGREES`.
    sentence : str
        The same in words, as the end of a sentence: ``"shape (1, 1, 3, 3) instead of (1, 1, 2, 2)"``; empty where the
        two agree.
    where : tuple of int or None
        The first element that differs.
    expected, actual : object
        That element as the oracle and as the runtime has it; shapes and dtypes where these differ.
    differing, elements : int
        How many elements differ, and how many were compared.
    ulp, absolute : float or None
        The largest difference of all elements that are finite on both sides, in units of the expected number's last
        place and as such; None where nothing was compared, or there is no such element.
    output : int
        Which of the node's outputs differs.
    share : float or None
        The largest difference in units of what rounding may cause at that element; None where nothing may differ.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx.parser
    >>> from pooling.validation import Case, Result, judge
    >>> model = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 18]> g (float[1, 1, 4] x) => (float[1, 1, 2] y)'
    ...     "{ y = MaxPool <kernel_shape = [2], strides = [2]> (x) }"
    ... )
    >>> case = Case("pairs", model, {"x": np.array([[[1, 3, 2, 0]]], np.float32)})
    >>> expected, actual = (Result([np.full(shape, 3, np.float32)]) for shape in ((1, 1, 2), (1, 1, 3)))
    >>> judge(case, expected, actual).expected, judge(case, expected, actual).actual
    ((1, 1, 2), (1, 1, 3))
    """

    kind: Kind
    sentence: str = ""
    where: tuple[int, ...] | None = None
    expected: Any = None
    actual: Any = None
    differing: int = 0
    elements: int = 0
    ulp: float | None = None
    absolute: float | None = None
    output: int = 0
    share: float | None = None


def judge(case: Case, expected: Result, actual: Result) -> Verdict:
    """Hold a runtime's answer to a case against the oracle's.

    Whatever is selected, a maximum, an index, has to be equal; zeros of either sign are, and so is one NaN to another.
    Sums, norms and what is interpolated may differ by what rounding can cause
    (`pooling.validation.comparison.permitted_errors`).

    Parameters
    ----------
    case : Case
        The node and its numbers.
    expected, actual : Result
        What the oracle says, and the runtime. Where the oracle refuses, a refusal is the right answer.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If the oracle itself did not live to answer.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx.parser
    >>> from pooling.validation import Case, Result, judge
    >>> model = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 18]> g (float[1, 1, 4] x) => (float[1, 1, 2] y)'
    ...     "{ y = MaxPool <kernel_shape = [2], strides = [2]> (x) }"
    ... )
    >>> case = Case("pairs", model, {"x": np.array([[[1, 3, 2, 0]]], np.float32)})
    >>> expected = Result([np.array([[[3, 2]]], np.float32)])
    >>> judge(case, expected, expected).kind.name
    'AGREES'
    >>> judge(case, expected, Result([np.array([[[3, 1]]], np.float32)])).sentence
    '1.0 instead of 2.0 at (0, 0, 1)'
    """
    instance_of("judge", "case", case, Case)
    for name, answer in (("expected", expected), ("actual", actual)):
        instance_of("judge", name, answer, Result, "run_cases returns one for each case")
    if expected.crash is not None:
        raise value_error(
            "judge", f"case {case.name!r}: the oracle {expected.crash}", "give it a smaller case or more time"
        )
    if actual.crash is not None:
        return Verdict(Kind.CRASHES, actual.crash)
    if expected.unsupported is not None:
        if actual.unsupported is not None:
            return Verdict(Kind.AGREES)
        shapes = ", ".join(str(output.shape) for output in actual.outputs)
        return Verdict(Kind.VALUE, f"an answer of shape {shapes} instead of a refusal ({expected.unsupported})")
    if actual.unsupported is not None:
        return Verdict(Kind.REFUSES, actual.unsupported)
    if len(actual.outputs) != len(expected.outputs):
        given, wanted = len(actual.outputs), len(expected.outputs)
        sentence = f"{given} output{'' if given == 1 else 's'} instead of {wanted}"
        return Verdict(Kind.SHAPE, sentence, expected=wanted, actual=given)
    named = [position for position, name in enumerate(case.model.graph.node[0].output) if name]
    bounds = permitted_errors(case)
    if case.gradient is not None:
        verdict = _compared(expected.outputs[0], actual.outputs[0], bounds, 0)
        agrees = verdict.kind is Kind.AGREES
        return verdict if agrees else replace(verdict, sentence=f"in its gradient, {verdict.sentence}")
    verdicts = [
        _compared(wanted, found, bounds if place == 0 else None, place)
        for place, wanted, found in zip(named, expected.outputs, actual.outputs, strict=True)
    ]
    return next((verdict for verdict in verdicts if verdict.kind is not Kind.AGREES), verdicts[0])


def of_another_form(expected: Numbers, actual: Numbers, output: int = 0) -> Verdict | None:
    """Say that an array has another shape or dtype, if it has."""
    for kind, word, wanted, found in (
        (Kind.SHAPE, "shape", expected.shape, actual.shape),
        (Kind.DTYPE, "dtype", str(expected.dtype), str(actual.dtype)),
    ):
        if found != wanted:
            return Verdict(kind, f"{word} {found} instead of {wanted}", expected=wanted, actual=found, output=output)
    return None


def _compared(expected: Numbers, actual: Numbers, bound: Numbers | None, output: int) -> Verdict:
    """Compare one output; without a bound, its elements have to be equal."""
    if (form := of_another_form(expected, actual, output)) is not None:
        return form
    integral = expected.dtype.kind in "iub"
    # Differences of int64 may exceed int64, and float64 holds any other dtype.
    left, right = (array.astype(object if integral else np.float64) for array in (expected, actual))
    lost, present = (np.zeros(array.shape, bool) if integral else np.isnan(array) for array in (left, right))
    finite = np.ones(left.shape, bool) if integral else np.isfinite(left) & np.isfinite(right)
    with np.errstate(all="ignore"):
        difference = np.where(finite & differing(expected, actual), np.abs(left - right).astype(np.float64), 0.0)
    wrong = differing(expected, actual, bound)
    count = int(np.count_nonzero(wrong))
    absolute = ulp = share = None
    if finite.any():
        absolute = float(difference.max())
        ulp = float((difference / spacing(expected)).max()) if not integral else absolute
        if bound is not None:
            with np.errstate(over="ignore"):  # a result that is far too large
                shares = np.divide(difference, bound, out=np.zeros_like(difference), where=finite & (bound > 0))
            share = float(shares.max())
    if not count:
        return Verdict(Kind.AGREES, elements=expected.size, ulp=ulp, absolute=absolute, output=output, share=share)
    numbers = wrong & (lost == present)
    kind = Kind.VALUE if numbers.any() else Kind.NAN
    if output == INDICES:
        kind = Kind.INDEX
    chosen = numbers if kind is Kind.VALUE else wrong
    where = first_of(chosen)
    return Verdict(
        kind,
        told(kind, expected[where], actual[where], where, count, expected.size),
        where,
        expected[where].item(),
        actual[where].item(),
        count,
        expected.size,
        ulp,
        absolute,
        output,
        share,
    )


def told(kind: Kind, expected: Any, actual: Any, where: tuple[int, ...], differing: int, elements: int) -> str:
    """Say which element differs, and how many do."""
    # As many digits as the dtype has; formatting would go by way of float64.
    number = f"{actual!s} instead of {expected!s}"
    if kind is Kind.NAN:
        happened = "NaN not propagated" if math.isnan(expected) else "unexpected NaN"
        sentence = f"{happened} at {where}: {number}"
    else:
        sentence = f"{'index ' if kind is Kind.INDEX else ''}{number} at {where}"
    return sentence if differing == 1 else f"{sentence}, {differing} of {elements} elements"
