"""What a pooling node has to give, rule by rule, and which of the rules a wrong answer breaks.

Each rule is one record (`rule.Rule`) in the file of its family; docs/adding-a-rule.md adds one.

    rule          what a record holds: text, source, where it applies, how a breach looks, samples, remedy
    evidence      what there is to see of a node and of a wrong answer
    samples       what the cases of a rule are drawn with
    window_count, ceil_mode, auto_pad, padding, dilation, divisor, non_finite, indices, sums, norms, support, limits
                  the rules
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pooling.onnx_models.making import NodeProto

from ..inputs.case import Case
from ..runners.results import Result
from ..verdicts import Kind, Verdict
from . import (
    auto_pad,
    ceil_mode,
    dilation,
    divisor,
    indices,
    limits,
    non_finite,
    norms,
    padding,
    sums,
    support,
    window_count,
)
from .evidence import Evidence, Setting
from .rule import EachCell, NoAnswer, OfGradient, Rule, WholeAnswer

__all__ = ["RULES", "Rule", "applicable_rules", "broken_rule"]

S = TypeVar("S", NoAnswer, WholeAnswer, EachCell, OfGradient)
FAMILIES = (
    window_count,
    ceil_mode,
    auto_pad,
    padding,
    dilation,
    divisor,
    non_finite,
    indices,
    sums,
    norms,
    support,
    limits,
)
RULES: Mapping[str, Rule] = {
    rule.key: rule for family in FAMILIES for rule in vars(family).values() if isinstance(rule, Rule)
}
"""All rules, by name: every record of every family, as they stand there."""


def applicable_rules(node: NodeProto, opset: int, input_shape: Sequence[int]) -> tuple[str, ...]:
    """Return the rules that apply to a node's attributes and shape.

    Parameters
    ----------
    node : NodeProto
        A pooling node.
    opset : int
        The version of the default operator set that the model imports.
    input_shape : sequence of int
        Shape of its first input.

    Returns
    -------
    tuple of str
        Keys of `RULES`, in its order.

    Examples
    --------
    >>> import onnx
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1)
    >>> applicable_rules(node, 22, (1, 1, 5))
    ('window-count', 'ceil-last-window', 'padding-excluded', 'any-rank')
    """
    setting = Setting(node, opset, tuple(input_shape))
    return tuple(key for key, rule in RULES.items() if rule.applies(setting))


def _signs(of: type[S]) -> list[tuple[str, S]]:
    """List how breaches look, of one kind of sign, in the order in which they are looked for."""
    found = [(key, sign) for key, rule in RULES.items() for sign in rule.diagnose if isinstance(sign, of)]
    return sorted(found, key=lambda pair: pair[1].strength)


_OF_NO_ANSWER, _OF_WHOLE_ANSWERS, _OF_CELLS = _signs(NoAnswer), _signs(WholeAnswer), _signs(EachCell)
_OF_GRADIENTS = _signs(OfGradient)


def broken_rule(case: Case, expected: Result, verdict: Verdict, actual: Result | None = None) -> str | None:
    """Attribute a difference to one rule, by evidence: the kind of difference, the numbers, and their windows.

    What is attributed to a rule has to look as its breach would: a shape with the windows that should have been
    dropped, an index that names the same element in another convention, NaN in every window that differs, a mean by
    another divisor. Numbers that differ cell by cell are attributed to the rule that explains most of them, and to none
    if there is one that none explains.

    Parameters
    ----------
    case : Case
        The node and its numbers.
    expected : Result
        The oracle's.
    verdict : Verdict
        How the answer differs from it.
    actual : Result, optional
        The answer. Without it only the first element that differs is evidence.

    Returns
    -------
    str or None
        A key of `RULES`; None where nothing differs, or no rule explains it.

    Examples
    --------
    >>> import numpy as np
    >>> from pooling.validation.inputs.case import make_case
    >>> from pooling.validation.verdicts import judge
    >>> case = make_case("MaxPool", np.array([[[np.nan, 2.0]]], np.float32), kernel_shape=[2])
    >>> right, wrong = (Result(outputs=(np.array([[[number]]], np.float32),)) for number in (np.nan, 2.0))
    >>> broken_rule(case, right, judge(case, right, wrong), wrong)
    'nan-propagates'
    """
    if verdict.kind is Kind.AGREES:
        return None
    evidence = Evidence.of(case, expected, verdict, actual)
    if verdict.kind in (Kind.REFUSES, Kind.CRASHES) or expected.unsupported is not None:
        return next((key for key, sign in _OF_NO_ANSWER if sign.shows(evidence)), None)
    if case.gradient is not None:
        return next((key for key, sign in _OF_GRADIENTS if sign.shows(evidence)), None)
    whole = next((key for key, sign in _OF_WHOLE_ANSWERS if sign.shows(evidence)), None)
    if whole is not None or not evidence.cells or not evidence.axes:
        return whole
    diagnosed = Counter(
        next((key for key, sign in _OF_CELLS if sign.shows(evidence, *cell)), None) for cell in evidence.cells
    )
    return None if None in diagnosed else diagnosed.most_common(1)[0][0]
