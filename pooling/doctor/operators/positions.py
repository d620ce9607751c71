"""Where the positions of a map are once it is no map any more: in lists of tokens, windows of attention, statistics.

The records of operators follow maps: tensors that have each spatial axis on an axis of their own. Transformers put them
into one axis, split them into windows, multiply tensors along them and put them back. That is followed here, by the
digits that each axis of a tensor is made of (`pooling.doctor.receptive_field.Part`), and what mixes positions becomes
a wider field or, where it mixes all of them, `context`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .. import receptive_field
from ..receptive_field import CHANNELS, TOKENS, Layout, Part, UnfollowedError, View
from .nodes import NodeCall, Outcome, Shape, Tensor, UnknownShapeError

__all__ = ["NOTHING", "as_map", "followed", "for_record", "of_output"]

NOTHING = View((), ())
"""The view of what does not depend on the input that fields are about: other inputs."""
ALL = View((), (), context=True)
"""The view of what depends on the whole input, and has no positions."""
MAPS_ONLY = ("convolution", "transposed", "pooling", "resize", "pad")
"""Kinds of stages that need a map."""


def for_record(tensor: Tensor | None) -> Tensor | None:
    """Return a tensor as records of operators know it: with the view of a map, or without one."""
    if tensor is None or tensor.view is None or tensor.view.axes:
        return tensor
    return replace(tensor, view=as_map(tensor))


def followed(call: NodeCall, result: Outcome) -> View | None:
    """Return what the first output of a node shows of the input.

    Parameters
    ----------
    call : NodeCall
        With the views of its inputs as they are.
    result : Outcome
        What the record of the operator made of those that it knows.

    Returns
    -------
    View or None
        None where that is not known.
    """
    data = [tensor for tensor in call.tensors if tensor is not None and tensor.source]
    views = [tensor.view for tensor in data if tensor.view is not None]
    output = result.shapes[0] if result.shapes else None
    if len(views) < len(data) or any(view.axes and view.paths is None for view in views):
        # Something is lost already; at best the record knows where the axes are.
        return result.view and replace(result.view, paths=None, lost=result.view.lost or "receptive field not followed")
    if not any(view.is_followed and not view.whole for view in views) and (output is None or result.view is None):
        # Whatever the operator does, it makes no map out of what has no positions, or none that are told apart.
        if not any(map(_is_list, views)) or any(view.context for view in views):
            return _ended(views)
        return None if _needs_map(result) else _list(call, views)
    if result.kind == "unknown" or output is None:
        return None
    view = _whole(result, output)
    if view is not None and view.is_followed and all(each.axes for each in views):
        return _mixed_by_softmax(call, view)
    if call.from_text and result.kind == "dense":
        return ALL
    rule = RULES.get(call.operator, _elementwise if result.kind in ("elementwise", "merge") else None)
    if result.kind == "convolution" and not _needs_map(result):
        rule = _of_channels
    try:
        found = None if rule is None else rule(call, output)
    except (UnfollowedError, UnknownShapeError):
        found = None
    if found is not None and (found.layout is None or _fits(found.layout, output)):
        return found
    if view is not None and view.axes:
        return view if not any(map(_is_list, views)) else None
    if view is ALL:
        return ALL
    return None if _needs_map(result) else _list(call, views)


def _needs_map(result: Outcome) -> bool:
    """Whether a stage looks at neighbours."""
    alone = bool(result.axes) and all(
        axis.effective_kernel_size == axis.stride == 1 and axis.pad_begin == axis.pad_end == 0 for axis in result.axes
    )
    return result.kind in MAPS_ONLY and not alone


def _fits(layout: Layout, output: Shape) -> bool:
    """Whether axes have the sizes that they are made of."""
    return tuple(math.prod(part.size for part in parts) for parts in layout) == output


def _whole(result: Outcome, output: Shape) -> View | None:
    """Mark the one cell of a global pooling; what is spread from it has no positions, but sees all."""
    view = result.view
    if view is None or not view.axes:
        return view
    single = all(output[axis] == 1 for axis in view.axes if axis < len(output))
    pooled = result.kind == "global" or (bool(result.axes) and all(axis.is_global for axis in result.axes))
    if single and pooled and any(axis.input_size > 1 for axis in result.axes):
        return replace(view, whole=True)
    if view.whole and not single:
        return ALL
    return view


def _is_list(view: View) -> bool:
    """Whether positions are in it somewhere that are not told apart any more."""
    return not view.axes and view.paths is None


def _list(call: NodeCall, views: Sequence[View]) -> View:
    """Return the view of what is no map any more, and in which positions cannot be told apart."""
    before = next((view for view in views if _is_list(view)), None)
    context = any(view.context for view in views)
    if all(view.whole or not (view.is_followed or _is_list(view)) for view in views):
        return replace(ALL, context=context or any(view.whole for view in views))
    if before is not None:
        return replace(before, context=context)
    why = f"{call.operator} puts its positions into an order that is not followed"
    return View((), None, context=context, lost=why, lost_at=(call.node.name, call.operator))


def _ended(views: Sequence[View]) -> View:
    return View((), (), context=any(view.context or view.whole for view in views))


# ---------------------------------------------------------------------------------------------------------------------
# Layouts


def _layout(view: View, shape: Shape) -> Layout:
    """Return what the axes of a tensor are made of."""
    if view.layout is not None:
        return view.layout
    parts: list[tuple[Part, ...]] = [(Part(CHANNELS, size, 0),) if size > 1 else () for size in shape]
    for number, axis in enumerate(view.axes):
        parts[axis] = (Part(number, shape[axis], 1),) if shape[axis] > 1 else ()
    return tuple(parts)


def _sizes(view: View, shape: Shape) -> Shape:
    return view.sizes if view.layout is not None else tuple(shape[axis] for axis in view.axes)


def _laid_out(view: View, layout: Layout, sizes: Shape) -> View:
    """Return a view with other places of its positions: of a map, where each spatial axis has an axis for itself."""
    if not any(_positions(parts) for parts in layout):
        return ALL
    places = [
        [axis for axis, parts in enumerate(layout) if parts == (Part(number, size, 1),)]
        for number, size in enumerate(sizes)
    ]
    if all(len(found) == 1 for found in places):
        return replace(view, axes=tuple(found[0] for found in places), layout=None, sizes=())
    return replace(view, axes=(), layout=layout, sizes=sizes)


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Put digits together that count one coordinate on."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.axis == part.axis and last.step == part.step * (part.size if part.step else 1):
            found[-1] = Part(part.axis, last.size * part.size, part.step)
        else:
            found.append(part)
    return tuple(found)


def _regrouped(layout: Layout, output: Shape) -> Layout | None:
    """Return what the axes of the same elements in another shape are made of; None where a digit would be cut."""
    waiting = [part for parts in reversed(layout) for part in reversed(parts)]
    found = []
    for size in output:
        taken: list[Part] = []
        while size > 1:
            if not waiting:
                return None
            part = waiting.pop()
            if size % part.size == 0:
                taken.append(part)
                size //= part.size
                continue
            rest, cut = divmod(part.size, size)
            if cut or part.axis == TOKENS:
                return None
            taken.append(Part(part.axis, size, part.step * rest))
            waiting.append(Part(part.axis, rest, part.step))
            size = 1
        found.append(_joined(taken))
    return None if waiting else tuple(found)


def _freed(view: View, sizes: Shape, parts: Iterable[Part]) -> View:
    """Return the view of cells that read all others that differ from them in some digits only."""
    mixed = [part for part in parts if part.axis != CHANNELS]
    if not mixed or view.paths is None:
        return view
    # What reaches from one end of an axis to the other.
    across = {part.axis for part in mixed if part.axis != TOKENS and part.size * part.step == sizes[part.axis]}
    if any(part.axis == TOKENS for part in mixed) or all(size == 1 or n in across for n, size in enumerate(sizes)):
        return replace(view, context=True)
    paths = list(view.paths)
    for part in mixed:
        paths[part.axis] = receptive_field.widened(paths[part.axis], part.size, part.step)
    return replace(view, paths=tuple(paths))


def as_map(tensor: Tensor) -> View | None:
    """Return the view of a list whose positions are those of a coarser or finer map, as records know it.

    Digits of a coordinate that are among the channels make the map coarser (space to depth), channels behind a
    coordinate make it finer (depth to space).
    """
    view, shape = tensor.view, tensor.shape
    if view is None or shape is None or view.layout is None or view.paths is None:
        return None
    axes, paths = [], []
    for number, size in enumerate(view.sizes):
        found = [axis for axis, parts in enumerate(view.layout) if parts and parts[0].axis == number]
        if len(found) != 1:
            return None
        first, *rest = view.layout[found[0]]
        if first.size * first.step != size or any(part.axis != CHANNELS for part in rest):
            return None
        finer = math.prod(part.size for part in rest)
        lines = view.paths[number]
        lines = receptive_field.gathered(lines, first.step) if first.step > 1 else lines
        axes.append(found[0])
        paths.append(receptive_field.repeated(lines, finer) if finer > 1 else lines)
    return replace(view, axes=tuple(axes), paths=tuple(paths), layout=None, sizes=())


def of_output(view: View | None, first: Shape | None, shape: Shape | None) -> View | None:
    """Return the view of another output, such as a part of Split: the same where it differs in channels only."""
    if view is None or first is None or shape is None:
        return None
    if shape == first or (not view.axes and view.layout is None):
        return view
    if len(shape) != len(first):
        return None
    if view.layout is None:
        return view if all(shape[axis] == first[axis] for axis in view.axes) else None
    layout = list(view.layout)
    for axis, (old, new) in enumerate(zip(first, shape, strict=True)):
        if old != new:
            if any(part.axis != CHANNELS for part in layout[axis]):
                return None
            layout[axis] = _channels(new)
    return replace(view, layout=tuple(layout))


def _channels(size: int) -> tuple[Part, ...]:
    return (Part(CHANNELS, size, 0),) if size > 1 else ()


# ---------------------------------------------------------------------------------------------------------------------
# Operators


def _data(call: NodeCall, number: int = 0) -> tuple[View, Shape, Layout] | None:
    """Return the view of an input with positions, its shape and its layout."""
    tensor = call.tensor(number)
    if tensor is None or tensor.shape is None or tensor.view is None or not tensor.view.is_followed:
        return None
    return tensor.view, tensor.shape, _layout(tensor.view, tensor.shape)


def _reshaped(call: NodeCall, output: Shape) -> View | None:
    given = _data(call)
    if given is None:
        return None
    view, shape, layout = given
    found = _regrouped(layout, output)
    return None if found is None else _laid_out(view, found, _sizes(view, shape))


def _transposed(call: NodeCall, output: Shape) -> View | None:
    given = _data(call)
    if given is None:
        return None
    view, shape, layout = given
    order = list(call.attribute("perm") or reversed(range(len(shape))))
    return _laid_out(view, tuple(layout[axis] for axis in order), _sizes(view, shape))


def _elementwise(call: NodeCall, output: Shape) -> View | None:
    """Follow what is broadcast to one shape: cells that lie upon each other, and what all of them see."""
    parts = [tensor for tensor in call.tensors if tensor is not None and tensor.source]
    lists = [part for part in parts if part.view is not None and _is_list(part.view) and not part.view.context]
    if lists:
        return None
    placed = []
    context = False
    for part in parts:
        view, shape = part.view, part.shape
        if view is None or shape is None:
            return None
        if not view.is_followed or view.whole:
            context = context or view.context or view.whole
            continue
        added = ((),) * (len(output) - len(shape))
        placed.append((view, (*added, *_layout(view, shape)), _sizes(view, shape)))
    if not placed:
        return None
    # A map, or else the one with most positions, says where they are; others lack a digit where they are spread.
    _, layout, sizes = max(
        placed, key=lambda each: (bool(each[0].axes), not each[0].context, sum(map(len, map(_positions, each[1]))))
    )
    views = []
    for view, mine, its in placed:
        differ = any(
            _positions(parts) not in ((), _positions(wanted)) for parts, wanted in zip(mine, layout, strict=True)
        )
        if differ or its != sizes or len(view.paths or ()) != len(sizes):
            if not view.context:
                return None
            context = True  # each of its elements sees all, wherever it stands
            continue
        views.append(View(tuple(range(len(sizes))), view.paths, view.aligned, view.context))
    merged = receptive_field.merged(views)
    spread = tuple(
        parts if _positions(parts) or size == 1 else _channels(size) for parts, size in zip(layout, output, strict=True)
    )
    return _laid_out(replace(merged, context=merged.context or context), spread, sizes)


def _positions(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.axis != CHANNELS)


def _of_channels(call: NodeCall, output: Shape) -> View | None:
    """Follow a convolution that looks at one position at a time."""
    given = _data(call)
    if given is None or len(given[1]) != len(output) or _positions(given[2][1]):
        return None
    view, shape, layout = given
    return _laid_out(view, (layout[0], _channels(output[1]), *layout[2:]), _sizes(view, shape))


def _normalised(axes_of: Callable[[NodeCall, int], Iterable[int]]) -> Callable[[NodeCall, Shape], View | None]:
    """Follow what relates the elements along some axes, as Softmax and normalisations do."""

    def rule(call: NodeCall, output: Shape) -> View | None:
        given = _data(call)
        if given is None:
            return None
        view, shape, layout = given
        mixed = [part for axis in axes_of(call, len(shape)) for part in layout[axis]]
        return _freed(view, _sizes(view, shape), mixed)

    return rule


def _softmax_axes(call: NodeCall, rank: int) -> Iterable[int]:
    if call.node.opset >= 13 or not call.node.opset:
        return [int(call.attribute("axis", -1)) % rank]
    return range(int(call.attribute("axis", 1)) % rank, rank)


def _layer_axes(call: NodeCall, rank: int) -> Iterable[int]:
    return range(int(call.attribute("axis", -1)) % rank, rank)


def _mixed_by_softmax(call: NodeCall, view: View) -> View:
    """Mark what relates positions of a map to each other."""
    shape = call.tensors[0].shape if call.operator in NORMALISED and call.tensors[0] is not None else None
    found = None if shape is None else RULES[call.operator](call, shape)
    return view if found is None else replace(found, context=found.context or view.context)


def _reduced(call: NodeCall, output: Shape) -> View | None:
    """Follow one number of all along some axes."""
    given = _data(call)
    if given is None:
        return None
    view, shape, layout = given
    if call.operator.startswith("Arg"):
        axes = [int(call.attribute("axis", 0)) % len(shape)]
    else:
        wanted = call.value(1, "axes")
        if not wanted and call.attribute("noop_with_empty_axes", 0):
            return view
        axes = [axis % len(shape) for axis in wanted or range(len(shape))]
    sizes = _sizes(view, shape)
    seen = _freed(view, sizes, [part for axis in axes for part in layout[axis]])
    if len(output) == len(shape):
        left = tuple(() if axis in axes else parts for axis, parts in enumerate(layout))
    else:
        left = tuple(parts for axis, parts in enumerate(layout) if axis not in axes)
    return _laid_out(seen, left, sizes)


def _multiplied(call: NodeCall, output: Shape) -> View | None:
    """Follow a product of matrices."""
    a, b = call.tensor(0), call.tensor(3 if call.operator == "QLinearMatMul" else 1)
    if a is None or b is None or a.shape is None or b.shape is None or min(len(a.shape), len(b.shape)) < 2:
        return None
    gemm = call.operator == "Gemm"
    turned = [bool(gemm and call.attribute(name, 0)) for name in ("transA", "transB")]
    one = [*_batch(len(a.shape)), *("ki" if turned[0] else "ik")]
    two = [*_batch(len(b.shape)), *("jk" if turned[1] else "kj")]
    return _summed([(a, one), (b, two)], [*_batch(len(output)), "i", "j"], output)


def _batch(rank: int) -> list[str]:
    """Name the axes before those of the matrices, which are counted from the end."""
    return [str(place) for place in range(rank, 2, -1)]


def _einsum(call: NodeCall, output: Shape) -> View | None:
    """Follow a sum of products along named axes."""
    equation = call.attribute("equation", "")
    equation = (equation.decode() if isinstance(equation, bytes) else str(equation)).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    given = [tensor for tensor in call.tensors if tensor is not None]
    names = [list(term) for term in terms.split(",")]
    if not arrow or "." in equation or len(names) != len(given) or any(len(set(each)) < len(each) for each in names):
        return None
    return _summed(list(zip(given, names, strict=True)), list(result), output)


def _summed(operands: Sequence[tuple[Tensor, list[str]]], names: list[str], output: Shape) -> View | None:
    """Follow a product of tensors whose axes have names; what is summed over is read by all that is left.

    The first operand that has positions in the result says where they are. Of the others, its cells read the positions
    that they share, and all of those that they do not.
    """
    context = False
    left: list[tuple[View, dict[str, tuple[Part, ...]], Shape]] = []
    for tensor, axes in operands:
        view = tensor.view if tensor.source else NOTHING
        if view is None or tensor.shape is None or (_is_list(view) and not view.context):
            return None
        if not view.is_followed:
            context = context or view.context
            continue
        parts = dict(zip(axes, _layout(view, tensor.shape), strict=True))
        sizes = _sizes(view, tensor.shape)
        seen = _freed(view, sizes, [part for name, each in parts.items() if name not in names for part in each])
        parts = {name: each for name, each in parts.items() if name in names}
        if any(map(_positions, parts.values())):
            left.append((seen, parts, sizes))
        else:
            context = True
    if not left:
        return View((), (), context=context)
    (base, where, sizes), *others = left
    views = [base]
    for seen, parts, its in others:
        alone = [part for name, each in parts.items() if not _positions(where.get(name, ())) for part in each]
        seen = _freed(seen, its, alone)
        shared = {name: each for name, each in parts.items() if _positions(each) and _positions(where.get(name, ()))}
        if seen.context and not shared:
            context = True
        elif its != sizes or any(_positions(each) != _positions(where[name]) for name, each in shared.items()):
            return None
        else:
            views.append(seen)
    spatial = tuple(range(len(sizes)))
    merged = receptive_field.merged([replace(each, axes=spatial, layout=None, sizes=()) for each in views])
    layout = tuple(
        where[name] if _positions(where.get(name, ())) else _channels(size)
        for name, size in zip(names, output, strict=True)
    )
    return _laid_out(replace(merged, context=merged.context or context), layout, sizes)


def _concatenated(call: NodeCall, output: Shape) -> View | None:
    """Follow what is put side by side: channels, windows, tokens beside the positions, a map that is rolled."""
    parts = [tensor for tensor in call.tensors if tensor is not None]
    axis = int(call.attribute("axis", 1)) % len(output)
    placed = [part for part in parts if part.source and part.view is not None and part.view.is_followed]
    views_of = [part.view for part in parts if part.source and part.view is not None]
    if not placed or any(_is_list(view) and not view.context for view in views_of):
        return None
    first = max(placed, key=lambda part: part.view is not None and (bool(part.view.axes), not part.view.context))
    assert first.view is not None
    assert first.shape is not None
    layout, sizes = _layout(first.view, first.shape), _sizes(first.view, first.shape)
    if not _positions(layout[axis]):
        spread = [part for part in parts if part.source and part not in placed]
        context = any(part.view is not None and (part.view.context or part.view.whole) for part in spread)
        views = []
        for part in placed:
            view, shape = part.view, part.shape
            assert view is not None
            if view.whole:
                context = True
                continue
            mine = _layout(view, shape or ())
            if _sizes(view, shape or ()) != sizes or any(
                mine[n] != layout[n] for n in range(len(output)) if n != axis and _positions((*mine[n], *layout[n]))
            ):
                if not view.context:
                    return None
                context = True
                continue
            views.append(View(tuple(range(len(sizes))), view.paths, view.aligned, view.context))
        if not views:
            return None
        merged = receptive_field.merged(views)
        joined = tuple(_channels(output[n]) if n == axis else each for n, each in enumerate(layout))
        return _laid_out(replace(merged, context=merged.context or context), joined, sizes)
    if len(placed) == 1 and _positions(layout[axis]) in (_listed(sizes), (Part(TOKENS, first.shape[axis], 0),)):
        # Something beside all positions, such as a class token.
        others = any(part.source and part.view is not None and part.view.context for part in parts)
        tokens = tuple((Part(TOKENS, output[n], 0),) if n == axis else each for n, each in enumerate(layout))
        return _laid_out(replace(first.view, context=first.view.context or others), tokens, sizes)
    if len(placed) == len(parts) == 2 and all(part.view is not None and axis in part.view.axes for part in parts):
        return _rolled(parts[0], parts[1], axis)
    return None


def _listed(sizes: Shape) -> tuple[Part, ...]:
    """Return what the list of all positions of a map is made of."""
    return tuple(Part(number, size, 1) for number, size in enumerate(sizes) if size > 1)


def _rolled(one: Tensor, two: Tensor, axis: int) -> View | None:
    """Return the view of a map whose end was put before its beginning, as if it went on there."""
    assert one.view is not None
    assert two.view is not None
    assert one.view.paths is not None
    assert two.view.paths is not None
    assert one.shape is not None
    assert two.shape is not None
    if one.view.axes != two.view.axes:
        return None
    number = one.view.axes.index(axis)
    moved = receptive_field.shifted(two.view.paths[number], 1, 1, 1, -two.shape[axis])
    if one.view.paths[number] != moved:
        return None
    if one.shape[axis] >= two.shape[axis]:
        return one.view
    paths = list(two.view.paths)
    paths[number] = receptive_field.shifted(paths[number], 1, 1, 1, one.shape[axis])
    return replace(two.view, paths=tuple(paths))


def _picked(call: NodeCall, output: Shape) -> View | None:
    """Follow parts of a tensor: of its channels, or of the tokens beside its positions."""
    given = _data(call)
    if given is None:
        return None
    view, shape, layout = given
    sizes = _sizes(view, shape)
    if call.operator == "Gather":
        axis = int(call.attribute("axis", 0)) % len(shape)
        added = len(output) - len(shape) + 1
        picked = output[axis : axis + added]
        if _positions(layout[axis]):
            return None  # it may put them into any order
        new = [*layout[:axis], *map(_channels, picked), *layout[axis + 1 :]]
        return _laid_out(view, tuple(new), sizes)
    if call.operator == "Slice" and min(call.value(4) or [1]) < 0:
        return None
    new = list(layout)
    for axis, (old, size) in enumerate(zip(shape, output, strict=True)):
        if old == size:
            continue
        if not _positions(layout[axis]):
            new[axis] = _channels(size)
        elif layout[axis][0].axis == TOKENS and size == math.prod(sizes):
            new[axis] = _listed(sizes)
        elif layout[axis][0].axis == TOKENS and size > math.prod(sizes):
            new[axis] = (Part(TOKENS, size, 0),)
        else:
            return None
    return _laid_out(view, tuple(new), sizes)


def _spread(call: NodeCall, output: Shape) -> View | None:
    """Follow what is repeated along axes without positions."""
    given = _data(call)
    if given is None:
        return None
    view, shape, layout = given
    layout = ((),) * (len(output) - len(shape)) + layout
    new = []
    for axis, size in enumerate(output):
        old = shape[axis - len(output) + len(shape)] if axis >= len(output) - len(shape) else 1
        if size != old and _positions(layout[axis]):
            return None
        new.append(layout[axis] if size == old else _channels(size))
    return ALL if view.whole else _laid_out(view, tuple(new), _sizes(view, shape))


NORMALISED: dict[str, Callable[[NodeCall, int], Iterable[int]]] = {
    "Softmax": _softmax_axes,
    "LogSoftmax": _softmax_axes,
    "Hardmax": _softmax_axes,
    "LayerNormalization": _layer_axes,
    "RMSNormalization": _layer_axes,
    "LpNormalization": lambda call, rank: [int(call.attribute("axis", -1)) % rank],
    "InstanceNormalization": lambda call, rank: range(2, rank),
    "GroupNormalization": lambda call, rank: range(2, rank),
    "MeanVarianceNormalization": lambda call, rank: [
        axis % rank for axis in call.attribute("axes") or (0, 2, 3) if axis < rank
    ],
}
REDUCED = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
RULES: dict[str, Callable[[NodeCall, Shape], View | None]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshaped),
    "Transpose": _transposed,
    **{name: _normalised(axes) for name, axes in NORMALISED.items()},
    **{f"Reduce{name}": _reduced for name in REDUCED.split()},
    "ArgMax": _reduced,
    "ArgMin": _reduced,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm"), _multiplied),
    "Einsum": _einsum,
    "Concat": _concatenated,
    **dict.fromkeys(("Slice", "Gather", "Split"), _picked),
    **dict.fromkeys(("Expand", "Tile"), _spread),
}
