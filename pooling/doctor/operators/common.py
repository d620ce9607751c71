"""What operators share: how receptive fields follow a change of shape, spatial sizes, broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from typing import Any

from pooling.geometry import Axis

from .. import receptive_field
from ..receptive_field import AxisLayout, Factor, Paths, UnfollowedError, View
from . import places
from .nodes import NodeCall, OperatorError, Shape, Tensor
from .places import Layout

__all__ = [
    "along",
    "behind_channels",
    "broadcast",
    "followed",
    "in_place",
    "lost",
    "mixed_along",
    "moved",
    "of_parts",
    "product",
    "spatial_shape",
    "spread",
    "with_padding",
    "written",
]


def followed(view: View | None, follow: Callable[[View], View]) -> View | None:
    """Follow fields through a stage, as far as that goes."""
    if view is None or view.paths is None:
        return view
    try:
        return follow(view)
    except UnfollowedError as error:
        return lost(view, str(error))


def along(view: View | None, each: Callable[[Paths, int], Paths]) -> View | None:
    """Follow fields axis by axis; `each` gets the paths of an axis and its number."""

    def follow(view: View) -> View:
        assert view.paths is not None
        return replace(view, paths=tuple(each(paths, number) for number, paths in enumerate(view.paths)))

    return followed(view, follow)


def lost(view: View | None, why: str) -> View | None:
    """Return a view whose fields are followed no further."""
    return view and replace(
        view, paths=None, layout=(), grid=(), lost=view.lost or f"receptive field not followed: {why}"
    )


def behind_channels(call: NodeCall, shape: Shape) -> View | None:
    """Return the view of an input whose spatial axes stand behind batch and channels, as this operator has them."""
    return in_place(call.view, shape, tuple(range(2, len(shape))))


def in_place(view: View | None, shape: Shape, axes: Shape) -> View | None:
    """Return the view of a tensor whose spatial axes stand where an operator has them."""
    if view is None or view.axes == axes or view.paths == ():
        return view
    if view.layout and view.paths:
        # Where channels hold neighbouring places as well, those have become one.
        mixed_up = [place for place, each in enumerate(view.layout) if each.factors and place not in axes]
        with suppress(UnfollowedError):
            found, _ = places.coarsened(view, shape, mixed_up)
            if found is not None and found.axes == axes:
                return found
    return View(axes, None, lost=view.lost or "receptive field not followed: axes have changed places")


def moved(view: View | None, places_of: Sequence[int | None], shape: Shape, rank: int | None = None) -> View | None:
    """Return a view whose axes have other places; see `pooling.doctor.operators.places.moved`."""
    return places.moved(view, places_of, shape, rank)


def with_padding(call: NodeCall, axes: tuple[Axis, ...], places_of: Sequence[int]) -> tuple[Axis, ...]:
    """Return the windows of a node on the map before the Pad that it reads, whose cells are padding and no image."""
    tensor = call.tensor(0)
    if tensor is None or not tensor.padded:
        return axes
    found = []
    for axis, place in zip(axes, places_of, strict=True):
        begin, end = tensor.padded[place]
        found.append(
            replace(
                axis,
                input_size=axis.input_size - begin - end,
                pad_begin=axis.pad_begin + begin,
                pad_end=axis.pad_end + end,
            )
        )
    return tuple(found)


def spatial_shape(call: NodeCall) -> tuple[Shape, Shape]:
    """Return the shape of the input and its spatial sizes, behind batch and channels."""
    shape = call.shape(0)
    if not 3 <= len(shape) <= 5:
        raise OperatorError(
            f"its input has shape {shape}, {len(shape)} axes; it must have 3 to 5: batch, channels and one to three "
            "spatial axes"
        )
    return shape, shape[2:]


def spread(padding: Any, dimensions: int) -> Any:
    """Take one pair for all axes."""
    one_pair = isinstance(padding, tuple) and len(padding) == 1 and isinstance(padding[0], tuple)
    return padding * dimensions if one_pair else padding


def broadcast(call: NodeCall, shapes: Sequence[Shape]) -> Shape:
    """Return the shape that tensors are broadcast to."""
    legacy = (
        call.node.opset < 7
        and len(shapes) == 2
        and (call.attribute("broadcast", 0) or call.attribute("axis") is not None)
    )
    if legacy:  # a part of the first shape, from `axis` on
        axis = call.attribute("axis", len(shapes[0]) - len(shapes[1]))
        behind = len(shapes[0]) - axis - len(shapes[1]) if axis >= 0 else -1
        if behind >= 0:
            shapes = [shapes[0], (*shapes[1], *(1,) * behind)]
    output: list[int] = []
    for place in range(1, max(map(len, shapes), default=0) + 1):
        sizes = {shape[-place] for shape in shapes if len(shape) >= place}
        larger = sizes - {1}
        if len(larger) > 1:
            told = " and ".join(map(str, dict.fromkeys(shapes)))
            raise OperatorError(
                f"its inputs have shapes {told}, which do not fit together: sizes "
                f"{' and '.join(map(str, sorted(larger)))} meet on axis {max(map(len, shapes)) - place}; make the "
                "branches equally large"
            )
        output.append(larger.pop() if larger else 1)
    return tuple(reversed(output))


def of_parts(parts: Sequence[Tensor], output: Shape) -> View | None:
    """Return the receptive fields of tensors that are broadcast to one shape."""
    views = [part.view for part in parts]
    lost = next((view for view in views if view is not None and view.paths is None), None)
    if lost is not None:
        same = any(part.view is lost and part.shape == output for part in parts)
        return replace(lost, axes=lost.axes if same else ())
    placed = [
        (part.view, _placed(part.view, part.shape, len(output)), part.view.sizes(part.shape))
        for part in parts
        if part.view is not None and part.view.paths and part.shape is not None
    ]
    # What has no places any more depends on all of the map.
    context = any(view is None for view in views)
    if not placed:
        return None if context or not views else views[0]
    main = max(placed, key=lambda each: math.prod(each[2]))
    grid = _grid(main[1], output, len(main[2]))
    whole = [each for each in placed if each[1] == main[1] and each[2] == grid]
    rest = [each for each in placed if each not in whole]
    if not whole and all(math.prod(sizes) == 1 for _, _, sizes in placed):
        return None  # one cell that is spread over new places
    if not whole:
        return _of_profiles(placed, output, context)
    spread = [each for each in rest if _is_spread(each[1], each[2], output)]
    if len(spread) < len(rest):
        return View((), None, lost="receptive field not followed: the axes of its inputs differ")
    view = _together(whole)
    return view and replace(view, context=view.context or context or bool(spread))


Placed = tuple[View, Layout, Shape]


def _placed(view: View, shape: Shape, rank: int) -> Layout:
    return (*(AxisLayout(),) * (rank - len(shape)), *places.layout_of(view, shape))


def _grid(layout: Layout, output: Shape, count: int) -> Shape:
    """Return the sizes of the spatial axes that tensors are broadcast to."""
    grid = [1] * count
    for each, size in zip(layout, output, strict=True):
        sizes = [factor.size for factor in each.factors]
        if sizes and math.prod(sizes) + each.before + each.after != size:
            return ()  # one of them is broadcast along it
        for factor in each.factors:
            if factor.axis >= 0:
                grid[factor.axis] *= factor.size
    return tuple(grid)


def _is_spread(layout: Layout, grid: Shape, output: Shape) -> bool:
    """Whether all cells of the result read the same cell, at least along one axis."""
    return math.prod(grid) == 1 or any(
        size > 1 and factor.size == 1 and factor.axis >= 0
        for each, size in zip(layout, output, strict=True)
        for factor in each.factors
    )


def _of_profiles(placed: Sequence[Placed], output: Shape, context: bool) -> View | None:
    """Return the view of maps of one row and one column that are broadcast to a whole one."""
    axes = {view.axes for view, _, _ in placed}
    if len(axes) != 1 or axes == {()}:
        return View((), None, lost="receptive field not followed: the axes of its inputs differ")
    (where,) = axes
    paths: list[Paths] = []
    for number, axis in enumerate(where):
        full = next((view.paths for view, _, grid in placed if view.paths and grid[number] == output[axis]), None)
        if full is None:
            return View((), None, lost="receptive field not followed: the axes of its inputs differ")
        paths.append(full[number])
    return View(where, tuple(paths), context=True)


def _together(placed: Sequence[Placed]) -> View | None:
    """Return the view of tensors with the same layout."""
    _, layout, grid = placed[0]
    views = [replace(view, axes=tuple(range(len(grid))), layout=(), grid=()) for view, _, _ in placed]
    try:
        return places.settled(receptive_field.merged(views), layout, grid)
    except UnfollowedError as error:
        return View((), None, lost=f"receptive field not followed: {error}")


def mixed_along(view: View | None, shape: Shape, axes: Iterable[int]) -> View | None:
    """Return a view after all elements along some axes have had an influence on each other, as in a softmax."""
    if view is None or not view.paths:
        return view
    layout = places.layout_of(view, shape)
    chosen = [layout[axis] for axis in axes]
    if any(each.before or each.after for each in chosen):
        return replace(view, context=True)
    factors = [factor for each in chosen for factor in each.factors]
    return followed(view, lambda view: places.mixed(view, view.sizes(shape), factors))


def written(target: Tensor | None, source: Tensor | None, spans: Mapping[int, range]) -> View | None:
    """Return the view of a tensor after another one was written to a part of it; None where it is lost.

    It is followed where all places of the map are written, as where the class token is left out.

    Parameters
    ----------
    target, source : Tensor or None
    spans : mapping
        The elements that are written on some axes; those of others are written whole.
    """
    if target is None or source is None or target.view is None or source.view is None:
        return None
    if not places.is_map(target.view) or not places.is_map(source.view) or not target.shape or not source.shape:
        return None
    layout, new = list(places.layout_of(target.view, target.shape)), places.layout_of(source.view, source.shape)
    into, grid, is_whole = list(layout), target.view.sizes(target.shape), True
    for axis, span in spans.items():
        held = layout[axis]
        if not held.factors:
            is_whole = is_whole and span == range(target.shape[axis])
        elif span != range(held.before, target.shape[axis] - held.after):
            return None
        else:
            into[axis] = replace(held, before=0, after=0)
    if tuple(into) != new or source.view.sizes(source.shape) != grid:
        return None
    if is_whole:  # nothing is left of what the cells showed before
        return places.settled(replace(source.view, context=source.view.context or target.view.context), layout, grid)
    along = tuple(range(len(grid)))
    views = [replace(view, axes=along, layout=(), grid=()) for view in (target.view, source.view)]
    return places.settled(receptive_field.merged(views), layout, grid)


Labels = Sequence[Hashable]


def product(
    parts: Sequence[tuple[Tensor, Labels]], output: Labels, sizes: Mapping[Any, int] | None = None
) -> View | None:
    """Return the receptive fields of a product that is summed over all labels that the result does not have.

    Parameters
    ----------
    parts : sequence of pairs
        Tensors that hold data, with a label for each of their axes.
    output : sequence
        The labels of the result.
    sizes : mapping, optional
        The sizes of the labels.

    Notes
    -----
    The result has the places of the input that keeps most of them: in ``softmax(Q K') V`` those of the queries. What
    the others have at places that it does not share, such as keys and values, each of its cells sees, all of them or
    those of its window.
    """
    views = [part.view for part, _ in parts]
    lost = next((view for view in views if view is not None and view.paths is None), None)
    if lost is not None:
        return View((), None, lost=lost.lost)
    context = any(view is None for view in views)
    try:
        known = [
            _summed(part.view, part.shape, labels, output)
            for part, labels in parts
            if part.view is not None and part.view.paths and part.shape is not None
        ]
        if not known:
            return None if context or not views else views[0]
        in_blocks = _in_blocks(*parts[0], output, sizes or {}) if len(parts) == 1 else None
        found = in_blocks or _multiplied(known)
    except UnfollowedError as error:
        return View((), None, lost=f"receptive field not followed: {error}")
    return found and replace(found, context=found.context or context)


def _in_blocks(tensor: Tensor, labels: Labels, output: Labels, sizes: Mapping[Any, int]) -> View | None:
    """Return what weights make of the cells of each block of a map; None where they reach over more or less than that.

    As many results as cells take their places, as a transform of blocks has them. Any other number are channels.
    """
    view, shape = tensor.view, tensor.shape
    if view is None or shape is None:
        return None
    layout, grid = places.layout_of(view, shape), view.sizes(shape)
    gone = [axis for axis, label in enumerate(labels) if label not in output and layout[axis].factors]
    factors = [factor for axis in gone for factor in layout[axis].factors]
    left = [factor for each in layout for factor in each.factors if factor.axis >= 0 and factor not in factors]
    if not factors or min(factor.axis for factor in factors) < 0 or all(factor.size == 1 for factor in left):
        return None
    if any(layout[axis].before or layout[axis].after for axis in gone):
        raise UnfollowedError("it joins places with what is none")
    made = [label for label in output if label not in labels and sizes.get(label, 1) > 1]
    by_label = dict(zip(labels, layout, strict=True))
    if len(gone) == len(made) == 1 and sizes[made[0]] == shape[gone[0]]:
        by_label[made[0]] = layout[gone[0]]
        held = tuple(by_label.get(label, AxisLayout()) for label in output)
        return places.settled(places.mixed(view, grid, factors), held, grid)
    found, _ = places.coarsened(view, shape, gone)
    if found is None:
        return None
    rest = tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    by_label = dict(zip(labels, places.layout_of(found, rest), strict=True))
    return places.settled(found, [by_label.get(label, AxisLayout()) for label in output], found.sizes(rest))


Part = tuple[View | None, Layout, int]
"""Of a product: its view with all of its layout, what of that the result has, and how many places that are."""


def _multiplied(known: Sequence[Part]) -> View | None:
    # The first that keeps all of its places, as queries do, which stand before the keys.
    whole = [each for each in known if each[0] is not None and each[2] == math.prod(each[0].grid) and each[2]]
    main = whole[0] if whole else max(known, key=lambda each: each[2])
    queries = main
    main = next((part for each in whole if (part := _in_windows(queries, each)) is not None), main)
    view, layout, kept = main
    if view is None or not kept:
        return None
    grid, context = view.grid, False
    paths = [replace(view, layout=(), grid=(), axes=tuple(range(len(grid))))]
    for each in known:
        other, where, _ = each
        if each is main:
            continue
        if other is None or each is queries:
            context = True
            continue
        shared = [mine for mine, its in zip(layout, where, strict=True) if mine == its]
        aligned = {factor for part in shared for factor in part.factors}
        apart = [factor for factor in _all_factors(other.layout) if factor not in aligned]
        if other.grid != grid:
            seen = _of_same_parts(view, layout, other, where)
            if seen is None and aligned and any(factor.size > 1 for factor in aligned):
                raise UnfollowedError("maps of different sizes are multiplied")
            context = context or seen is None
            paths += [seen] if seen is not None else []
            continue
        spread = places.mixed(other, grid, apart)
        paths.append(replace(spread, layout=(), grid=(), axes=tuple(range(len(grid)))))
    found = places.settled(receptive_field.merged(paths), layout, grid)
    if found is None or found.paths is None:
        return None  # what is made of the whole of a map
    return replace(found, context=found.context or context)


def _in_windows(queries: Part, windows: Part) -> Part | None:
    """Return what queries of another map, the same ones for every window, make of keys in windows.

    The result has the places of the windows: the query of a place in a window is that of this place in all of them.
    None for anything else.
    """
    asking, view = queries[0], windows[0]
    if asking is None or view is None or not view.paths or asking.grid == view.grid:
        return None
    mine = [place for place, each in enumerate(queries[1]) if each.factors]
    its = [place for place, each in enumerate(windows[1]) if each.factors]
    wanted = [queries[1][place] for place in mine]
    inside = [place for place in its if windows[1][place] in wanted]
    outside = [place for place in its if place not in inside]
    if [windows[1][place] for place in inside] != wanted or not outside or not set(mine).isdisjoint(its):
        return None
    layout = list(windows[1])
    for place in inside:
        layout[place] = AxisLayout()
    for place, held in zip(mine, wanted, strict=True):
        layout[place] = held
    seen = places.mixed(view, view.grid, [factor for each in wanted for factor in each.factors])
    return replace(seen, context=True), tuple(layout), windows[2]


def _of_same_parts(view: View, layout: Layout, other: View, where: Layout) -> View | None:
    """Return what a map shows to another one that has as many parts, though its parts are larger or smaller.

    Such parts are windows of attention and the larger windows around them; each cell sees all of the part that has the
    number of its own. None where the two do not stand in the same parts.

    Parameters
    ----------
    view, layout
        The map that looks, and what stands on the axes of the result.
    other, where
        The map that is seen, and what of it stands on the axes of the result.
    """
    assert view.paths is not None
    assert other.paths is not None
    shared: list[tuple[Factor, Factor]] = []
    for mine, its in zip(layout, where, strict=True):
        if mine.factors and its.factors:
            if [each[:2] for each in map(astuple, mine.factors)] != [each[:2] for each in map(astuple, its.factors)]:
                return None
            shared += zip(mine.factors, its.factors, strict=True)
    if all(mine.size == 1 for mine, _ in shared) or len(view.grid) != len(other.grid):
        return None
    found, context = [], other.context
    apart = [factor for factor in _all_factors(other.layout) if factor not in {its for _, its in shared}]
    for number, (size, its_size) in enumerate(zip(view.grid, other.grid, strict=True)):
        pairs = [pair for pair in shared if pair[0].axis == number]
        count = math.prod(mine.size for mine, _ in pairs)
        if count == 1:  # all of this axis
            found.append(view.paths[number])
            context = True
            continue
        block, its_block = size // count, its_size // count
        inner = math.prod(factor.size for factor in apart if factor.axis == number)
        if inner != its_block or any(mine.step * its_block != its.step * block for mine, its in pairs):
            return None
        if min(its.step for _, its in pairs) < its_block:
            return None  # every other row, say, and no neighbours
        seen = receptive_field.shifted(other.paths[number], its_block, its_block, 1, 0)
        found.append(receptive_field.blown_up(seen, block))
    return View(tuple(range(len(view.grid))), tuple(found), other.aligned, context)


def _all_factors(layout: Layout) -> list[Factor]:
    return [factor for each in layout for factor in each.factors if factor.axis >= 0]


def _summed(view: View, shape: Shape, labels: Labels, output: Labels) -> tuple[View | None, Layout, int]:
    """Return a part of a product: its view with all of its layout, what of that the result has, and how much."""
    layout, grid = places.layout_of(view, shape), view.sizes(shape)
    by_label = dict(zip(labels, layout, strict=True))
    kept = tuple(by_label.get(label, AxisLayout()) for label in output)
    factors = _all_factors(kept)
    if len(factors) < len(_all_factors(layout)) and factors:
        gone = [axis for axis, label in enumerate(labels) if label not in output]
        inner = any(factor.axis < 0 for axis in gone for factor in layout[axis].factors)
        if inner:  # channels that hold neighbouring places
            found, _ = places.coarsened(view, shape, gone)
            if found is not None:
                rest = tuple(1 if axis in gone else size for axis, size in enumerate(shape))
                return _summed(found, rest, labels, output)
    held = replace(view, axes=(), layout=layout, grid=grid)
    return held, kept, math.prod(factor.size for factor in factors) if factors else 0
