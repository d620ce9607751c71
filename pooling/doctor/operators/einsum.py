"""Sums of products by letters, and attention."""

from __future__ import annotations

import math

import numpy as np

from .common import product
from .nodes import NodeCall, OperatorError, Outcome, Shape
from .registry import operator


@operator("Einsum")
def _einsum(call: NodeCall) -> Outcome:
    shapes = [call.shape(number) for number in range(len(call.tensors))]
    terms, result = _letters(str(call.attribute("equation", "")), shapes)
    sizes: dict[str, int] = {}
    for letters, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            known = sizes.setdefault(letter, size)
            if 1 not in (known, size) and known != size:
                raise OperatorError(
                    f"its inputs have shapes {' and '.join(map(str, shapes))}: {letter!r} is {known} and {size}; make "
                    "them equal"
                )
            sizes[letter] = max(known, size)
    output = tuple(sizes[letter] for letter in result)
    parts = [
        (tensor, letters)
        for tensor, letters in zip(call.tensors, terms, strict=True)
        if tensor is not None and tensor.source and len(set(letters)) == len(letters)
    ]
    # As many as a product of two has; more than two are multiplied one after another, which costs at least that.
    macs = math.prod(sizes.values()) * max(1, len(terms) - 1) if len(terms) > 1 else 0
    kind = "dense" if len(terms) > 1 else "reshape"
    return Outcome(kind, [output], product(parts, list(result), dict(sizes)), macs=macs)


def _letters(equation: str, shapes: list[Shape]) -> tuple[list[list[str]], list[str]]:
    """Return a letter for each axis of each input and of the result; axes of an ellipsis are numbers."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    terms = []
    dots = 0
    for term, shape in zip(given.split(","), shapes, strict=False):
        before, ellipsis, behind = term.partition("...")
        count = len(shape) - len(before) - len(behind) if ellipsis else 0
        if len(before) + len(behind) + count != len(shape) or count < 0:
            raise OperatorError(f"equation={equation!r} gives {term!r} for an input of shape {shape}")
        dots = max(dots, count)
        terms.append([*before, *(str(-place) for place in range(count, 0, -1)), *behind])
    if len(terms) != len(shapes) or given.count(",") + 1 != len(shapes):
        raise OperatorError(f"equation={equation!r} is not for {len(shapes)} inputs")
    ellipsis_letters = [str(-place) for place in range(dots, 0, -1)]
    if not arrow:
        letters = [letter for term in terms for letter in term]
        return terms, [
            *ellipsis_letters,
            *sorted(each for each in set(letters) if letters.count(each) == 1 and each.isalpha()),
        ]
    before, ellipsis, behind = wanted.partition("...")
    result = [*before, *(ellipsis_letters if ellipsis else []), *behind]
    unknown = set(result) - {letter for term in terms for letter in term}
    if unknown:
        raise OperatorError(f"equation={equation!r} asks for {', '.join(sorted(unknown))}, which no input has")
    return terms, result


@operator("Attention")
def _attention(call: NodeCall) -> Outcome:
    """Return what ``softmax(Q K') V`` gives, of the operator that opset 23 has for it."""
    query, key, value = (call.shape(number) for number in range(3))
    if not len(query) == len(key) == len(value) in (3, 4):
        raise OperatorError(f"its inputs have shapes {query}, {key} and {value}; all must have 3 axes, or all 4")
    if len(query) == 4:
        labels = [["n", "head", "q", "d"], ["n", "group", "k", "d"], ["n", "group", "k", "v"]]
        heads, width, depth = query[1], query[3], value[3]
        output: Shape = (*query[:3], depth)
        result = ["n", "head", "q", "v"]
    else:
        labels = [["n", "q", "d"], ["n", "k", "d"], ["n", "k", "v"]]
        heads = int(call.attribute("q_num_heads", 0))
        groups = int(call.attribute("kv_num_heads", 0))
        if heads < 1 or groups < 1:
            raise OperatorError(f"q_num_heads={heads} and kv_num_heads={groups} must be at least 1")
        width, depth = query[2] // heads, value[2] // groups
        output, result = (query[0], query[1], heads * depth), ["n", "q", "v"]
    parts = [
        (tensor, letters)
        for tensor, letters in zip(call.tensors[:3], labels, strict=True)
        if tensor is not None and tensor.source
    ]
    queries, keys = query[-2], key[-2]
    macs = query[0] * heads * queries * keys * (width + depth)
    view = product(parts, result)
    return Outcome("dense", [output, None, None, None], view, macs=macs)


@operator("RotaryEmbedding")
def _rotary(call: NodeCall) -> Outcome:
    tensor = call.tensor(0)
    return Outcome(
        "elementwise", [call.shape(0)], call.view, dtypes=[tensor.dtype if tensor is not None else np.dtype(np.float32)]
    )
