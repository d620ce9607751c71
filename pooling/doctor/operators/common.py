"""What operators share: how receptive fields follow a change of shape, spatial sizes, broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
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
    "through_windows",
    "with_padding",
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


def through_windows(
    view: View | None, shape: Shape, axes: Sequence[Axis], where: Shape, *, transposed: bool = False
) -> View | None:
    """Follow fields through the windows of an operator, or what undoes them.

    Parameters
    ----------
    view : View or None
        Of the input.
    shape : tuple of int
        Of the input.
    axes : sequence of Axis
        The windows.
    where : tuple of int
        Where the operator has its spatial axes. They may hold the cells of blocks of the map, such as the windows of
        a transformer in the batch; then each window ends at its block.
    transposed : bool
        Whether the windows are undone.
    """
    each = receptive_field.transposed if transposed else receptive_field.windows
    if view is not None and view.layout and view.paths:
        try:
            inside = _through_blocks(view, shape, axes, where, transposed)
        except UnfollowedError as error:
            return lost(replace(view, axes=where), str(error))
        if inside is not None:
            return inside
    return along(in_place(view, shape, where), lambda paths, i: each(paths, axes[i]))


def _through_blocks(
    view: View, shape: Shape, axes: Sequence[Axis], where: Shape, transposed: bool
) -> View | None:
    """Return the view behind windows on axes that hold blocks of the map; None where they hold something else."""
    mixed_up = [place for place, each in enumerate(view.layout) if place and place not in where and each.factors]
    if mixed_up:  # channels hold neighbouring places
        found, _ = places.coarsened(view, shape, mixed_up)
        if found is None or not found.layout:
            return None
        view = found
    layout, grid, paths = list(view.layout), list(view.grid), list(view.paths or ())
    held = [layout[place] for place in where]
    numbers = [each.factors[0].axis for each in held if len(each.factors) == 1 and not each.before and not each.after]
    if sorted(numbers) != list(range(len(grid))) or any(each.factors[0].step != 1 for each in held):
        return None
    for number, axis, place in zip(numbers, axes, where, strict=True):
        before = layout[place].factors[0].size
        after = axis.input_size if transposed else axis.output_size
        if before == grid[number]:
            through = receptive_field.transposed if transposed else receptive_field.windows
        else:
            through = receptive_field.block_transposed if transposed else receptive_field.block_windows
        paths[number] = through(paths[number], axis)
        grid[number] = grid[number] // before * after
        for other, each in enumerate(layout):
            factors = tuple(
                replace(factor, step=factor.step // before * after) if factor.axis == number else factor
                for factor in each.factors
            )
            layout[other] = replace(each, factors=factors)
        # A block that has become one cell is the place of the block.
        alone = after == 1 and grid[number] > 1
        layout[place] = AxisLayout() if alone else AxisLayout((Factor(number, after),))
    return places.settled(replace(view, paths=tuple(paths)), layout, tuple(grid))


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
    if not whole:
        return _of_profiles([*placed], output, context)
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
    return places.mixed(view, view.sizes(shape), [factor for each in chosen for factor in each.factors])


Labels = Sequence[Hashable]


def product(parts: Sequence[tuple[Tensor, Labels]], output: Labels) -> View | None:
    """Return the receptive fields of a product that is summed over all labels that the result does not have.

    Parameters
    ----------
    parts : sequence of pairs
        Tensors that hold data, with a label for each of their axes.
    output : sequence
        The labels of the result.

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
    except UnfollowedError as error:
        return View((), None, lost=f"receptive field not followed: {error}")
    if not known:
        return None if context or not views else views[0]
    # The first that keeps all of its places, as queries do, which stand before the keys.
    whole = [each for each in known if each[0] is not None and each[2] == math.prod(each[0].grid) and each[2]]
    main = whole[0] if whole else max(known, key=lambda each: each[2])
    view, layout, kept = main
    if view is None or not kept:
        return None
    grid = view.grid
    paths = [replace(view, layout=(), grid=(), axes=tuple(range(len(grid))))]
    for each in known:
        other, where, _ = each
        if each is main:
            continue
        if other is None:
            context = True
            continue
        shared = [mine for mine, its in zip(layout, where, strict=True) if mine == its]
        aligned = {factor for part in shared for factor in part.factors}
        apart = [factor for factor in _all_factors(other.layout) if factor not in aligned]
        if other.grid != grid and aligned and any(factor.size > 1 for factor in aligned):
            return View((), None, lost="receptive field not followed: maps of different sizes are multiplied")
        if other.grid != grid:
            context = True
            continue
        spread = places.mixed(other, grid, apart)
        paths.append(replace(spread, layout=(), grid=(), axes=tuple(range(len(grid)))))
    try:
        found = places.settled(receptive_field.merged(paths), layout, grid)
    except UnfollowedError as error:
        return View((), None, lost=f"receptive field not followed: {error}")
    return found and replace(found, context=found.context or context)


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
