"""Windows as attributes of nodes and as tables of cells, computed in onnxruntime, against the oracle's windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product as combinations
from typing import Any, NamedTuple

import numpy as np
import pytest

from pooling import reference
from pooling.geometry import adaptive_axes, pool_axes
from tests.built_graphs import computing, graph_of, operators
from tests.conftest import Array, assert_same

from pooling.export.dynamic_sizes import FreeAxis, Size, adaptive_axis, free_axis  # isort: skip
from pooling.export.lowering import windows  # isort: skip
from pooling.export.lowering.windows import Axes  # isort: skip

NAMES = "DHW"
HEIGHT = Size("", (2,), "H")


# --- windows and what the oracle says of them ------------------------------------------------------------------------


class Sliding(NamedTuple):
    """Windows of one axis that slide."""

    kernel_size: int
    stride: int = 1
    padding: Any = 0
    dilation: int = 1
    ceil_mode: bool = False

    def known(self, size: int) -> windows.Axis:
        (axis,) = pool_axes([size], self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return axis

    def free(self, size: Size) -> FreeAxis:
        return free_axis(self.known(64), size, self.padding, self.ceil_mode)

    def cells(self, size: int) -> Array:
        """List the cell under each tap of each window; -1 where it is outside."""
        arguments = ([self.kernel_size], [self.stride], self.padding, [self.dilation], self.ceil_mode)
        (axis,) = reference.sliding((size,), *arguments)
        begins = np.array([[window.start] for window in axis.windows])
        cells = begins + np.arange(self.kernel_size) * self.dilation
        return np.where((cells >= 0) & (cells < size), cells, -1)


class Adaptive(NamedTuple):
    """So many windows on an axis."""

    output_size: int | None

    def known(self, size: int) -> windows.Axis:
        (axis,) = adaptive_axes([size], self.output_size)
        return axis

    def free(self, size: Size) -> FreeAxis:
        return adaptive_axis(size, self.output_size)

    def cells(self, size: int) -> Array:
        (axis,) = reference.adaptive((size,), [self.output_size])
        longest = max(map(len, axis.windows))
        return np.array([[*window, *[-1] * (longest - len(window))] for window in axis.windows])


Laid = Sliding | Adaptive
"""How the windows of an axis are laid."""

CASES: list[tuple[tuple[Laid, ...], tuple[int, ...]]] = [
    ((Sliding(2),), (3,)),
    ((Sliding(3, 2, 1),), (6,)),
    ((Sliding(2, 1, 2, 4),), (3,)),
    ((Sliding(2, 2, 1, 3),), (2,)),
    ((Adaptive(3),), (7,)),
    ((Adaptive(1),), (4,)),
    ((Sliding(2, 2), Sliding(3, 1)), (5, 4)),
    ((Sliding(3, 2, "same_upper"), Sliding(4, 3, "same_lower")), (4, 6)),
    ((Sliding(3, 2, "same_lower"), Sliding(2, 1)), (3, 4)),
    ((Sliding(3, 2, [(2, 0)]), Sliding(2, 2, 0, 1, ceil_mode=True)), (4, 5)),
    ((Sliding(2, 1, 0, 3), Sliding(2, 3, [(0, 1)], 1, ceil_mode=True)), (5, 6)),
    ((Sliding(2, 1, 2, 5), Sliding(3, 2, 1)), (2, 5)),
    ((Sliding(2, 1, [(3, 1)], 4), Sliding(2, 1, 2, 3)), (3, 2)),
    ((Adaptive(3), Adaptive(2)), (4, 5)),
    ((Adaptive(1), Sliding(3, 2, 1)), (4, 5)),
    ((Adaptive(2), Adaptive(None)), (3, 4)),
    ((Sliding(2, 1, 1), Sliding(2, 2), Sliding(3, 1, [(0, 2)])), (2, 4, 3)),
    ((Adaptive(2), Sliding(2, 1, 1, 2), Adaptive(3)), (3, 2, 4)),
]
"""Windows of all kinds, and small sizes to lay them over."""
MADE = [(laid, sizes, free) for laid, sizes in CASES for free in combinations((False, True), repeat=len(laid))]
"""The same with each axis of known size, and of a size that is known when the graph runs."""
TOLD = [f"{'-'.join(map(str, laid))}-{free}" for laid, _, free in MADE]


def axes_of(laid: Sequence[Laid], sizes: Sequence[int], free: Sequence[bool]) -> Axes:
    return [
        each.free(Size("", (axis,), NAMES[axis - 2])) if is_free else each.known(size)
        for axis, (each, size, is_free) in enumerate(zip(laid, sizes, free, strict=True), start=2)
    ]


def image(sizes: Sequence[int]) -> Array:
    """Make maps of whole numbers, some of them negative."""
    return np.random.default_rng(len(sizes)).integers(-99, 99, (2, 3, *sizes)).astype(np.float32)


def some(cells: Sequence[Array]) -> Array:
    """Tell which windows have an element."""
    found: Array = reduce(np.logical_and.outer, [(each >= 0).any(axis=1) for each in cells])
    return found


def taken(x: Array, tables: Sequence[Array]) -> Array:
    """Take what tables say from the spatial axes, (N, C, O1, K1, O2, K2, ...)."""
    for number, table in enumerate(tables):
        x = np.take(x, table, axis=2 + 2 * number)
    return x


def first_inside(cells: Array) -> Array:
    """Put the first cell of the window in the place of what lies outside."""
    with_none_last = np.where(cells < 0, 10**6, cells)
    return np.where(cells < 0, with_none_last.min(axis=1, keepdims=True), cells)


def filled(cells: Array) -> Array:
    """Let empty windows read the first cell."""
    return np.where((cells >= 0).any(axis=1, keepdims=True), cells, 0)


@pytest.mark.parametrize(("laid", "sizes", "free"), MADE, ids=TOLD)
def test_tables_of_cells_are_those_of_the_oracle(
    laid: tuple[Laid, ...], sizes: tuple[int, ...], free: tuple[bool, ...]
) -> None:
    axes, graph = axes_of(laid, sizes, free), graph_of(rank=2 + len(laid))
    none = windows.emptiness(graph, axes)
    behind, tables = windows.zero_behind(graph, "input", axes)
    values = [
        windows.gathered(graph, "input", axes, "All taps."),
        windows.greatest(graph, "input", axes, "The greatest."),
        windows.cells_of_taps(graph, axes),
        windows.first_cells(graph, axes),
        windows.summed(graph, "input", axes, "The sum."),
        behind,
        *tables,
        *([] if none is None else [none]),
    ]
    compute = computing(graph, values)
    for more in (0, 1, 2) if any(free) else (0,):
        larger = [size + more if is_free else size for size, is_free in zip(sizes, free, strict=True)]
        check(laid, larger, compute(image(larger)), has_emptiness=none is not None)


def check(laid: Sequence[Laid], sizes: Sequence[int], found: list[Array], *, has_emptiness: bool) -> None:
    """Compare with what the oracle's windows give, where there is an element."""
    taps, best, places, first, total, behind, *others = found
    cells, x, n = [each.cells(size) for each, size in zip(laid, sizes, strict=True)], image(sizes), len(laid)
    tap_axes = tuple(range(3, 3 + 2 * n, 2))
    has_some = some(cells)
    # Tables of unknown size have one column more where all windows are alike.
    cells = [
        np.pad(each, ((0, 0), (0, width - each.shape[1])), constant_values=-1)
        for each, width in zip(cells, taps.shape[3::2], strict=True)
    ]
    inside = [first_inside(filled(each)) for each in cells]
    expected = taken(x, inside)
    at = np.expand_dims(has_some, tuple(range(1, 2 * n, 2)))
    assert taps.shape == expected.shape
    np.testing.assert_array_equal(np.where(at, taps, 0), np.where(at, expected, 0))
    np.testing.assert_array_equal(np.where(has_some, best, 0), np.where(has_some, expected.max(axis=tap_axes), 0))
    strides = [int(np.prod(sizes[axis + 1 :])) for axis in range(n)]
    flat = sum(
        table.reshape(table.shape + (1, 1) * (n - 1 - axis)) * stride
        for axis, (table, stride) in enumerate(zip(inside, strides, strict=True))
    )
    assert places.dtype == first.dtype == np.int64
    assert places.shape == np.shape(flat)
    np.testing.assert_array_equal(np.where(at, places, 0), np.where(at, flat, 0))
    lowest = np.asarray(flat).min(axis=tuple(range(1, 2 * n, 2)))
    np.testing.assert_array_equal(np.where(has_some, first, 0), np.where(has_some, lowest, 0))
    outside = taken(x, [np.maximum(each, 0) for each in cells])
    for axis, table in enumerate(cells):
        keep = np.expand_dims(table >= 0, [*range(2 + 2 * axis), *range(4 + 2 * axis, 2 + 2 * n)])
        outside = outside * keep
    np.testing.assert_array_equal(total, outside.sum(axis=tap_axes))
    assert behind.shape[:2] == x.shape[:2]
    padded = np.pad(x, [(0, large - size) for large, size in zip(behind.shape, x.shape, strict=True)])
    np.testing.assert_array_equal(behind, padded)
    for table, each, size, large in zip(others, cells, sizes, behind.shape[2:], strict=False):
        assert large - size in ((1,) if (each < 0).any() else (0, 1))
        np.testing.assert_array_equal(table, np.where(each < 0, size, each))
    assert len(others) == n + has_emptiness
    if has_emptiness:
        assert_same(others[-1], ~has_some)
    else:
        assert has_some.all()


@pytest.mark.parametrize(("laid", "sizes"), CASES, ids=[str(laid) for laid, _ in CASES])
def test_what_is_known_beforehand_needs_no_nodes(laid: tuple[Laid, ...], sizes: tuple[int, ...]) -> None:
    axes, cells = (
        axes_of(laid, sizes, [False] * len(laid)),
        [each.cells(s) for each, s in zip(laid, sizes, strict=True)],
    )
    graph = graph_of(7, rank=2 + len(laid))
    assert isinstance(windows.first_cells(graph, axes), np.ndarray)
    none = windows.emptiness(graph, axes)
    assert not graph.nodes
    assert_same(windows.empty(axes), ~some(cells))  # type: ignore[arg-type]
    assert (none is None) == bool(some(cells).all())
    if none is not None:
        assert_same(none, ~some(cells))  # type: ignore[arg-type]
    windows.greatest(graph, "input", axes, "Said here.")
    assert operators(graph) == ["Gather", "ReduceMax"] * len(laid)
    windows.summed(graph, "input", axes, "Said here.")
    pad = ["Pad"] if any((axis.taps() < 0).any() for axis in axes) else []  # type: ignore[call-arg, operator]
    assert operators(graph)[2 * len(laid) :] == [*pad, *["Gather", "ReduceSum"] * len(laid)]
    assert [node.doc_string for node in graph.nodes if node.op_type == "Gather"] == ["Said here."] * 2 * len(laid)
    before = len(graph.nodes)
    windows.gathered(graph, "input", axes, "And here.")
    assert operators(graph)[before:] == ["Gather"] * len(laid)
    assert {node.doc_string for node in graph.nodes[before:]} == {"And here."}


def test_tables_have_no_nodes_that_change_nothing() -> None:
    def nodes(*laid: Laid) -> tuple[list[str], ...]:
        """Name the operators of tables, after those of taps and sizes."""
        axes = axes_of(laid, [9] * len(laid), [True] * len(laid))
        found = []
        for make in (windows.gathered, windows.cells_of_taps, windows.first_cells, windows.zero_behind):
            graph = graph_of(rank=2 + len(laid))
            for axis in axes:
                assert isinstance(axis, FreeAxis)
                axis.taps(graph)
                windows.in_graph(graph, axis.input_size)
            before = len(graph.nodes)
            arguments: Any = (graph, "input", axes, "") if make is windows.gathered else (graph, axes)
            if make is windows.zero_behind:
                arguments = (graph, "input", axes)
            make(*arguments)  # type: ignore[operator]
            found.append(operators(graph)[before:])
        return tuple(found)

    first = ["Less", "Where", "ReduceMin"]
    assert nodes(Sliding(2)) == (["Gather"], ["Mul", "Identity"], ["ReduceMin", "Mul"], [])
    assert nodes(Sliding(2, 1, 1)) == (
        [*first, "Less", "Where", "Gather"],
        [*first, "Less", "Where", "Mul", "Identity"],
        [*first, "Mul"],
        ["Less", "Where", "Pad"],
    )
    # An empty window reads the last cell.
    assert nodes(Sliding(2, 2, 1, 3))[0] == [*first, "Add", "Less", "Where", "Less", "Where", "Gather"]
    assert nodes(Sliding(2), Sliding(2)) == (
        ["Gather"] * 2,
        ["Mul", "Unsqueeze", "Identity", "Mul", "Add"],
        ["ReduceMin", "Mul", "Unsqueeze", "ReduceMin", "Mul", "Add"],
        [],
    )


# --- windows of nodes ------------------------------------------------------------------------------------------------

SLIDING = [(laid, sizes) for laid, sizes in CASES if all(isinstance(each, Sliding) for each in laid)]


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(("laid", "sizes"), SLIDING, ids=[str(laid) for laid, _ in SLIDING])
def test_attributes_pool_the_windows_of_the_oracle(laid: Any, sizes: tuple[int, ...], opset: int) -> None:
    for free in combinations((False, True), repeat=len(laid)):
        axes, graph = axes_of(laid, sizes, free), graph_of(opset, rank=2 + len(laid))
        if windows.why_not_one_node(graph, "MaxPool", axes):
            continue
        input = windows.padded(graph, "input", axes, -np.inf)
        compute = computing(graph, [graph("MaxPool", input, **windows.attributes(axes)), input])
        for more in (0, 1, 2) if any(free) else (0,):
            larger = [size + more if is_free else size for size, is_free in zip(sizes, free, strict=True)]
            x = image(larger)
            found, enlarged = compute(x)
            inside = [first_inside(each.cells(size)) for each, size in zip(laid, larger, strict=True)]
            np.testing.assert_array_equal(found, taken(x, inside).max(axis=tuple(range(3, 3 + 2 * len(laid), 2))))
            pairs = [(0, 0), (0, 0)]
            for each, size, is_free in zip(laid, larger, free, strict=True):
                follows = is_free and each.padding in ("same_upper", "same_lower") and each.stride > 1
                (laid_by_oracle,) = reference.sliding((size,), [each.kernel_size], [each.stride], each.padding)
                pairs.append((laid_by_oracle.begin, laid_by_oracle.end) if follows else (0, 0))
            assert_same(enlarged, np.pad(x, pairs, constant_values=-np.inf))


def test_padding_that_follows_the_size_is_worked_out_once() -> None:
    graph, laid = graph_of(), (Sliding(3, 2, "same_upper"), Sliding(3, 2, 1))
    axes = axes_of(laid, (4, 4), (True, True))
    assert [windows.has_dynamic_padding(axis) for axis in axes] == [True, False]
    assert not windows.has_dynamic_padding(laid[0].known(4))
    windows.padded(graph, "input", axes, 0)
    before = len(graph.nodes)
    assert windows.padded(graph, "input", axes, 7) == graph.nodes[-1].output[0]
    assert operators(graph)[before:] == ["Pad"]
    assert graph.nodes[-1].doc_string == "Pads that are known at run time."
    plain = graph_of()
    assert windows.padded(plain, "input", axes[1:], 0) == "input"
    assert not plain.nodes


def test_attributes() -> None:
    known = pool_axes([7, 9], (3, 2), (2, 3), [(1, 0), (0, 1)], ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]}
    known = pool_axes([7, 8], (3, 2), (2, 3), [(1, 0), (0, 1)], ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]}
    known = pool_axes([8], 3, 2, 0, ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [3], "strides": [2], "pads": [0, 1]}
    known = pool_axes([9, 9], 3, 1, 0, (2, 1))
    assert windows.attributes(known)["dilations"] == [2, 1]
    assert not windows.dilated(known[1:])
    assert windows.dilated(known)
    free = [Sliding(3, 2, "same_upper").free(HEIGHT), Sliding(5, 3, [(1, 2)], 1, ceil_mode=True).known(8)]
    assert windows.attributes(free) == {"kernel_shape": [3, 5], "strides": [2, 3], "pads": [0, 1, 0, 2]}
    assert windows.attributes([Sliding(5, 3, [(1, 2)], 1, ceil_mode=True).free(HEIGHT)])["pads"] == [1, 4]


def test_strides_and_dilations_are_no_larger_than_the_padded_input() -> None:
    known = pool_axes([7], 1, 10**12, 0, 10**12)
    assert windows.attributes(known) == {"kernel_shape": [1], "strides": [7], "pads": [0, 0], "dilations": [7]}
    known = pool_axes([3], 2, 9, [(1, 1)], 4)
    assert windows.attributes(known) == {"kernel_shape": [2], "strides": [5], "pads": [1, 1], "dilations": [4]}
    known = pool_axes([3], 3, 9, [(2, 0)], ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [3], "strides": [5], "pads": [2, 0]}
    known = pool_axes([3], 2, 9, [(0, 1)])
    assert windows.attributes(known) == {"kernel_shape": [2], "strides": [4], "pads": [0, 1]}
    known = pool_axes([3], 4, 3, 0, ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [4], "strides": [3], "pads": [0, 1]}
    known = pool_axes([3], 6, 9, 1, ceil_mode=True)
    assert windows.attributes(known) == {"kernel_shape": [6], "strides": [6], "pads": [1, 2]}
    free = [FreeAxis(HEIGHT, 1, 1, 10**12, 10**12)]
    assert windows.attributes(free)["strides"] == windows.attributes(free)["dilations"] == [2147483647]


def test_kinds_of_windows() -> None:
    sliding, adaptive, whole = Sliding(2, 2).known(8), Adaptive(3).known(8), Adaptive(1).known(8)
    assert windows.regular([sliding, whole])
    assert not windows.regular([sliding, adaptive])
    free, free_whole = Sliding(2).free(HEIGHT), Adaptive(1).free(HEIGHT)
    assert windows.single([free_whole])
    assert windows.single([whole, free_whole])
    assert not windows.single([whole])
    assert not windows.single([free])
    assert not windows.single([sliding, free_whole])
    assert windows.taps_of([sliding, adaptive]) == 2 * 4
    assert windows.taps_of([free, sliding, sliding]) == 8
    assert windows.taps_of([free_whole]) == 2147483648
    assert windows.taps_of([free_whole, sliding]) == 4294967296
    assert windows.tap_axes([sliding]) == [3]
    assert windows.tap_axes([sliding] * 3) == [3, 5, 7]


def test_why_not_one_node() -> None:
    def why(axes: Axes, opset: int = 13, name: str = "MaxPool") -> str:
        graph = graph_of(opset)
        said = windows.why_not_one_node(graph, name, axes)
        assert graph.detours == ([said] if f" in opset {opset}." in said else [])
        return said

    plain = Sliding(3, 2, 1).known(8)
    assert why([plain, plain]) == ""
    assert why([plain, Adaptive(3).known(8)]) == "MaxPool has windows of one size only."
    assert why([Adaptive(1).free(HEIGHT)], name="AveragePool") == "AveragePool has windows of one size only."
    follows = Sliding(3, 2, "same_upper").free(HEIGHT)
    assert why([plain, follows], 10) == "The pads of Pad are known beforehand in opset 10."
    assert why([plain, follows], 11) == why([plain, follows], 13) == ""
    assert why([plain, plain], 10) == ""
    large = "onnxruntime refuses pads that are not smaller than kernel_shape."
    assert why([plain, Sliding(2, 1, 2, 3).known(8)]) == large
    assert why([plain, Sliding(2, 1, 3, 4).known(8)]) == large
    assert why([Sliding(2, 1, [(0, 2)], 3).known(8)]) == large
    assert why([Sliding(2, 1, [(0, 1)], 3).known(8)]) == ""
    assert why([Sliding(2, 1, [(1, 0)]).known(8)]) == ""
    assert why([Sliding(2, 1, [(2, 0)], 3).known(8), Sliding(3).known(8)]) == large
    assert why([Sliding(3).known(8), Sliding(2, 1, [(2, 0)], 3).known(8)]) == large
    assert why([Sliding(3, 3, 1, 1, ceil_mode=True).free(HEIGHT)]) == ""
    assert why([Sliding(3, 4, 1, 1, ceil_mode=True).free(HEIGHT), plain]) == ""
    apart = Sliding(2, 1, 0, 2)
    assert why([apart.known(8)], 9) == "MaxPool has no dilations in opset 9."
    assert why([apart.known(8)], 10) == ""
    assert why([plain], 9) == ""
    assert why([apart.known(8)], 18, "AveragePool") == "AveragePool has no dilations in opset 18."
    assert why([apart.known(8)], 19, "AveragePool") == ""
    empty = "ONNX does not say what a window without any element gives."
    assert why([plain, Sliding(2, 1, 1, 3).known(2)]) == empty
    assert why([Sliding(2, 1, 1, 3).free(HEIGHT), plain]) == empty
    assert why([Sliding(2, 1, 1, 3).known(4), plain]) == ""
