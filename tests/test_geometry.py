"""Geometry against an oracle that walks the padded cells one by one, ONNX shape inference and torch."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pooling
from pooling import geometry
from pooling.families.unpooling import unpool_size
from pooling.geometry import Axis

LARGEST = 2**63 - 1


# --- an oracle: the padded cells, one by one ---------------------------------------------------------------------


class Line(NamedTuple):
    """One axis, as a call describes it."""

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    ceil: bool

    @property
    def axis(self) -> Axis:
        (axis,) = geometry.pool_axes(
            [self.size], self.kernel, self.stride, [(self.begin, self.end)], self.dilation, self.ceil
        )
        return axis

    def taps(self, start: int) -> list[int]:
        return [start + tap * self.dilation for tap in range(self.kernel)]

    def starts(self) -> list[int]:
        """Lay windows from the first padded cell on, for as long as they belong there.

        Rounded down, a window belongs if its last tap is a padded cell; rounded up, if the one before it left a padded
        cell behind it, and if it does not start in the padding at the end.
        """
        last_cell = self.size + self.end - 1
        starts = []
        start = -self.begin
        while True:
            if self.ceil:
                belongs = self.taps(start - self.stride)[-1] < last_cell and start < self.size
            else:
                belongs = self.taps(start)[-1] <= last_cell
            if not belongs:
                return starts
            starts.append(start)
            start += self.stride


@st.composite
def lines(draw: st.DrawFn) -> Line:
    kernel, dilation = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    pads = st.integers(0, dilation * (kernel - 1))
    return Line(
        size=draw(st.integers(1, 24)),
        kernel=kernel,
        stride=draw(st.integers(1, 7)),
        dilation=dilation,
        begin=draw(pads),
        end=draw(pads),
        ceil=draw(st.booleans()),
    )


@given(lines())
def test_windows_are_those_that_an_enumeration_of_the_padded_cells_finds(line: Line) -> None:
    starts = line.starts()
    if not starts:
        with pytest.raises(ValueError):
            line.axis  # noqa: B018
        return
    axis = line.axis
    assert axis.output_size == len(starts)
    outputs = np.arange(len(starts))
    excluding, including = axis.windows(outputs), axis.windows(outputs, count_include_pad=True)
    for o, start in enumerate(starts):
        taps = line.taps(start)
        inside = [tap for tap in taps if 0 <= tap < line.size]
        counted = [tap for tap in taps if -line.begin <= tap < line.size + line.end]
        assert excluding.count[o] == including.count[o] == len(inside)
        assert excluding.divisor[o] == len(inside)
        assert including.divisor[o] == len(counted)
        if inside:
            assert excluding.first[o] == including.first[o] == inside[0]


@given(lines())
def test_interior_windows_are_whole_and_all_others_are_border(line: Line) -> None:
    starts = line.starts()
    assume(starts)
    axis = line.axis
    whole = [o for o, start in enumerate(starts) if start >= 0 and line.taps(start)[-1] < line.size]
    begin, end = axis.interior
    assert list(range(begin, end)) == whole
    border = axis.border_windows(count_include_pad=True)
    assert border.output.tolist() == [o for o in range(len(starts)) if o not in whole]
    again = axis.windows(border.output, count_include_pad=True)
    for name in ("first", "count", "divisor"):
        np.testing.assert_array_equal(getattr(border, name), getattr(again, name))


@given(lines())
def test_overhang_and_dropped_cells_are_what_the_last_window_reaches_and_leaves(line: Line) -> None:
    starts = line.starts()
    assume(starts)
    last_tap = line.taps(starts[-1])[-1]
    assert line.axis.ceil_overhang == max(0, last_tap - (line.size + line.end - 1))
    assert line.axis.dropped == max(0, line.size - 1 - last_tap)
    assert line.ceil or line.axis.ceil_overhang == 0


@given(lines())
def test_the_formula_is_what_python_evaluates_to_the_size(line: Line) -> None:
    assume(line.starts())
    formula, _, result = line.axis.formula.partition(" = ")
    assert int(result) == eval(formula, {"floor": math.floor, "ceil": math.ceil}) == len(line.starts())
    assert str(line.size) in formula


@given(kernel=st.integers(1, 5), stride=st.integers(1, 6), dilation=st.integers(1, 4))
def test_the_share_of_cells_that_no_window_reads(kernel: int, stride: int, dilation: int) -> None:
    (axis,) = geometry.pool_axes([200], kernel, stride, dilation=dilation)
    # Away from both ends, over whole periods.
    period = range(60, 60 + 10 * stride)
    unread = len(set(period) - set(axis.taps().ravel().tolist()))
    assert axis.unread_share == pytest.approx(unread / len(period))
    assert geometry.pool_axes([kernel], kernel, stride)[0].unread_share == 0


@given(lines())
def test_without_the_cut_cells_there_are_as_many_windows_and_none_is_cut(line: Line) -> None:
    assume(line.starts())
    assert 0 <= line.axis.cut <= line.axis.dropped
    whole = line.axis.input_size - line.axis.cut
    assume(whole)
    (smaller,) = geometry.pool_axes(
        [whole], line.kernel, line.stride, [(line.begin, line.end)], line.dilation, line.ceil
    )
    assert smaller.cut == 0
    assert line.ceil or smaller.output_size == line.axis.output_size


@given(lines())
def test_the_share_of_padding_is_the_largest_of_all_windows(line: Line) -> None:
    assume(line.starts())
    outside = [sum(not 0 <= tap < line.size for tap in line.taps(start)) for start in line.starts()]
    assert line.axis.padding_share == pytest.approx(max(outside) / line.kernel)


@given(lines())
def test_an_axis_is_the_identity_or_global_if_its_windows_are(line: Line) -> None:
    starts = line.starts()
    assume(starts)
    windows = [line.taps(start) for start in starts]
    # A single window at stride 5 is the identity of a single cell as well, but nobody promises to see that.
    if line.axis.is_identity:
        assert windows == [[cell] for cell in range(line.size)]
    elif line.stride == 1:
        assert windows != [[cell] for cell in range(line.size)]
    assert line.axis.is_global == (windows == [list(range(line.size))])


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 6), st.integers(1, 3), st.sampled_from(["upper", "lower"]))
def test_same_padding_makes_ceil_of_input_over_stride_windows_with_no_cell_too_many(
    size: int, kernel: int, stride: int, dilation: int, word: str
) -> None:
    (axis,) = geometry.pool_axes([size], kernel, stride, f"same_{word}", dilation)
    assert axis.output_size == math.ceil(size / stride)
    smaller, larger = sorted([axis.pad_begin, axis.pad_end])
    assert larger - smaller <= 1
    assert (axis.pad_begin, axis.pad_end) == ((smaller, larger) if word == "upper" else (larger, smaller))
    reach = (axis.output_size - 1) * stride + dilation * (kernel - 1) + 1
    assert axis.pad_begin + axis.pad_end == max(0, reach - size)


def test_same_is_same_upper_and_valid_is_no_padding() -> None:
    arguments = ([6, 7], (3, 4), 2)
    assert geometry.pool_axes(*arguments, "same") == geometry.pool_axes(*arguments, "same_upper")
    assert geometry.pool_axes(*arguments, "same_lower") != geometry.pool_axes(*arguments, "same_upper")
    assert geometry.pool_axes(*arguments, "valid") == geometry.pool_axes(*arguments, 0)


def test_every_form_of_padding_names_begin_and_end_of_each_axis() -> None:
    def pads(padding: Any, dimensions: int = 2) -> list[tuple[int, int]]:
        axes = geometry.pool_axes([9] * dimensions, 4, 1, padding)
        return [(axis.pad_begin, axis.pad_end) for axis in axes]

    assert pads(2) == pads((2, 2)) == pads([[2, 2], (2, 2)]) == pads(np.array([2, 2])) == [(2, 2), (2, 2)]
    assert pads((1, 3)) == [(1, 1), (3, 3)]
    assert pads([(1, 3), (0, 2)]) == pads(np.array([(1, 3), (0, 2)])) == [(1, 3), (0, 2)]
    assert pads([(1, 3)], 1) == [(1, 3)]
    assert pads((3,), 1) == pads([3], 1) == [(3, 3)]


@given(lines().map(lambda line: line._replace(size=1 + line.size % 4)).filter(lambda line: not line.starts()))
def test_the_smallest_input_that_works_is_named(line: Line) -> None:
    with pytest.raises(ValueError) as error:
        line.axis  # noqa: B018
    smallest = int(str(error.value).rsplit(" ", 1)[1])
    assert str(error.value).endswith(f"; the smallest input that works is {smallest}")
    assert line._replace(size=smallest).starts()
    assert all(not line._replace(size=size).starts() for size in range(1, smallest))


# --- numbers that do not fit ---------------------------------------------------------------------------------------


@given(
    *[st.integers(0, 62).flatmap(lambda bits: st.integers(2**bits, 2 ** (bits + 1) - 1))] * 4,
    st.integers(0, 63).map(lambda bits: 2**bits - 1),
    st.booleans(),
)
def test_output_size_is_exact_or_refused_for_sizes_of_any_magnitude(
    size: int, kernel: int, stride: int, dilation: int, padding: int, ceil: bool
) -> None:
    effective = dilation * (kernel - 1) + 1
    steps = Fraction(size + 2 * padding - effective, stride)
    count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    try:
        (axis,) = geometry.pool_axes([size], kernel, stride, padding, dilation, ceil)
    except ValueError:
        assert count < 1 or padding >= effective or effective > max(geometry.LONG_WINDOW, 4 * size)
    else:
        assert axis.output_size == count
        assert max(size + 2 * padding, effective) <= LARGEST


@pytest.mark.parametrize("adaptive", [False, True])
def test_windows_of_an_axis_beyond_memory_are_exact(adaptive: bool) -> None:
    """The last windows of an axis of 2**40 cells, where o * I no longer fits 64 bits."""
    size = 2**40 + 1
    if adaptive:
        outputs = 2**39 - 1
        axis = Axis(size, outputs, 4, adaptive=True)
        first = (outputs - 1) * size // outputs
        stop = size
    else:
        (axis,) = geometry.pool_axes([size], 3, 2, 1)
        outputs = axis.output_size
        first, stop = (outputs - 1) * 2 - 1, size
    window = axis.windows(np.array([outputs - 1]))
    assert window.first.tolist() == [first]
    assert window.count.tolist() == [stop - first]


# --- adaptive and global ---------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 60))
def test_adaptive_windows_run_from_floor_to_ceil(size: int, outputs: int) -> None:
    (axis,) = geometry.adaptive_axes([size], outputs)
    assert axis.output_size == outputs
    windows = axis.windows(np.arange(outputs))
    expected = [
        range(math.floor(Fraction(o * size, outputs)), math.ceil(Fraction((o + 1) * size, outputs)))
        for o in range(outputs)
    ]
    assert [range(first, first + count) for first, count in zip(windows.first, windows.count, strict=True)] == expected
    assert windows.divisor.tolist() == [len(window) for window in expected]
    assert axis.kernel_size >= max(map(len, expected))
    assert axis.kernel_size <= size
    assert (axis.dropped, axis.ceil_overhang) == (0, 0)
    # Where every window is alike, it is an ordinary pooling.
    assert axis.adaptive == bool(size % outputs)
    if axis.adaptive:
        first, count = axis.covering()
        for cell in range(size):
            covering = [o for o, window in enumerate(expected) if cell in window]
            assert list(range(first[cell], first[cell] + count[cell])) == covering
        assert axis.interior == (0, 0)
        assert axis.border_windows().output.tolist() == list(range(outputs))


def test_none_keeps_an_axis_and_one_makes_it_global() -> None:
    kept, whole = geometry.adaptive_axes([5, 7], (None, 1))
    assert kept.is_identity
    assert whole.is_global
    assert geometry.global_axes([5, 7])[1] == whole
    assert [axis.output_size for axis in geometry.global_axes([5, 7])] == [1, 1]


# --- what others say ------------------------------------------------------------------------------------------------


@st.composite
def poolings(draw: st.DrawFn, *, half: bool = False) -> tuple[int, dict[str, Any], tuple[int, ...]]:
    """Draw kernel, stride, pads, dilation and ceil_mode for one to three axes; with `half`, as torch takes them."""
    dimensions = draw(st.integers(1, 3))

    def each(*entries: st.SearchStrategy[Any]) -> Any:
        return draw(st.tuples(*entries))

    kernel = each(*[st.integers(1, 5)] * dimensions)
    dilation = each(*[st.integers(1, 3)] * dimensions)
    sides = [st.integers(0, k // 2 if half else d * (k - 1)) for k, d in zip(kernel, dilation, strict=True)]
    padding = each(*(sides if half else [st.tuples(side, side) for side in sides]))
    arguments = {
        "kernel_size": kernel,
        "stride": each(*[st.integers(1, 5)] * dimensions),
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    return dimensions, arguments, (2, 3, *each(*[st.integers(1, 16)] * dimensions))


@given(poolings(), st.sampled_from(["MaxPool", "AveragePool"]), st.sampled_from([None, "SAME_UPPER", "SAME_LOWER"]))
def test_output_shape_is_what_onnx_infers_since_opset_22(
    pooled: tuple[int, dict[str, Any], tuple[int, ...]], op: str, auto_pad: str | None
) -> None:
    onnx = pytest.importorskip("onnx")
    _, arguments, shape = pooled
    if auto_pad is not None:
        arguments |= {"padding": auto_pad.lower(), "ceil_mode": False}
    try:
        expected = pooling.output_shape(shape, **arguments)
    except ValueError:
        assume(False)
    attributes: dict[str, Any] = {
        "kernel_shape": arguments["kernel_size"],
        "strides": arguments["stride"],
        "dilations": arguments["dilation"],
        "ceil_mode": int(arguments["ceil_mode"]),
    }
    if auto_pad is None:
        attributes["pads"] = [side for sides in zip(*arguments["padding"], strict=True) for side in sides]
    else:
        attributes["auto_pad"] = auto_pad
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x"], ["y"], **attributes)],
        "pool",
        [tensor("x", onnx.TensorProto.FLOAT, shape)],
        [tensor("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)])
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    assert tuple(dimension.dim_value for dimension in inferred.dim) == expected


@given(poolings(half=True))
def test_output_shape_is_that_of_torch(pooled: tuple[int, dict[str, Any], tuple[int, ...]]) -> None:
    torch = pytest.importorskip("torch")
    dimensions, arguments, shape = pooled
    # On the meta device torch works shapes out and pools nothing.
    pool = getattr(torch.nn, f"MaxPool{dimensions}d")(**arguments)
    try:
        expected = pooling.output_shape(shape, **arguments)
    except ValueError:
        with pytest.raises(RuntimeError):
            pool(torch.empty(shape, device="meta"))
        return
    assert tuple(pool(torch.empty(shape, device="meta")).shape) == expected


@given(poolings())
def test_output_shape_is_the_shape_of_the_result(pooled: tuple[int, dict[str, Any], tuple[int, ...]]) -> None:
    dimensions, arguments, shape = pooled
    call = getattr(pooling, f"max_pool{dimensions}d")
    last = (shape[0], *shape[2:], shape[1])
    try:
        result = call(np.zeros(shape, np.float32), **arguments).shape
    except ValueError:
        with pytest.raises(ValueError):
            pooling.output_shape(shape, **arguments)
        return
    assert pooling.output_shape(shape, **arguments) == result
    assert pooling.output_shape(shape[1:], **arguments) == result[1:]
    expected = (result[0], *result[2:], result[1])
    assert pooling.output_shape(last, **arguments, layout="channels_last") == expected
    assert pooling.output_shape(last[1:], **arguments, layout="channels_last") == expected[1:]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.data())
def test_unpooling_gives_back_a_size_that_pools_to_the_same(
    pooled: int, kernel: int, stride: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(0, kernel - 1))
    assume((pooled - 1) * stride - 2 * padding + kernel >= 1)
    (size,) = unpool_size([pooled], kernel, stride, padding)
    assert size == (pooled - 1) * stride - 2 * padding + kernel
    assert geometry.pool_axes([size], kernel, stride, padding)[0].output_size == pooled
    for other in range(1, size + 2 * stride):
        assert unpool_size([pooled], kernel, stride, padding, other) == (other,)


# --- transposed convolutions ------------------------------------------------------------------------------


@given(lines(), st.integers(-40, 40))
def test_windows_at_a_cell_are_those_with_a_tap_on_it(line: Line, cell: int) -> None:
    axis = Axis(10**6, 10**5, line.kernel, line.stride, line.dilation, line.begin)
    reach = range(-200, 200)
    expected = [output for output in reach if cell in line.taps(output * line.stride - line.begin)]
    assert sorted(axis.windows_at(cell)) == expected


@given(lines(), st.integers(1, 20), st.integers(0, 5))
def test_a_transposed_convolution_undoes_the_windows_of_its_axes(line: Line, cells: int, extra: int) -> None:
    assume(extra < line.stride)
    reach = line.dilation * (line.kernel - 1) + 1
    size = (cells - 1) * line.stride + reach - line.begin - line.end + extra
    assume(size >= 1)
    pads = ((line.begin, line.end),)
    (axis,) = geometry.transposed_axes([cells], line.kernel, line.stride, pads, line.dilation, extra)
    assert (axis.input_size, axis.output_size) == (size, cells)
    (undone,) = geometry.pool_axes([size], line.kernel, line.stride, pads, line.dilation, empty_windows=True)
    assert undone == axis


def test_transposed_convolutions_that_are_told_their_output() -> None:
    def pads(**arguments: Any) -> tuple[int, int, int]:
        (axis,) = geometry.transposed_axes([7], 4, 2, **arguments)
        return axis.input_size, axis.pad_begin, axis.pad_end

    assert pads(output_size=[13]) == (13, 2, 1)
    assert pads(output_size=[13], padding="same_upper") == (13, 1, 2)
    assert pads(padding="same_upper") == (14, 1, 1)
    assert pads(padding="valid") == (16, 0, 0)
    assert pads(output_size=[18]) == (18, 0, 0)
    with pytest.raises(ValueError) as error:
        pads(padding=8)
    assert str(error.value) == (
        "transposed_axes: kernel_size=4, stride=2 and padding=8 give the output size 0 on axis L; it must be at "
        "least 1 and fit 64 bits"
    )


def test_windows_of_padding_alone_where_they_are_allowed() -> None:
    with pytest.raises(ValueError):
        geometry.pool_axes([5], 1, 1, 2)
    (axis,) = geometry.pool_axes([5], 1, 1, 2, empty_windows=True)
    assert (axis.output_size, axis.pad_begin, axis.pad_end) == (9, 2, 2)


# --- numbers that follow from windows ---------------------------------------------------------------------


@given(lines())
def test_taps_and_windows_are_listed_cell_by_cell(line: Line) -> None:
    starts = line.starts()
    assume(starts)
    axis = line.axis
    assert [list(axis.window(output)) for output in range(len(starts))] == [line.taps(start) for start in starts]
    inside = [[tap if 0 <= tap < line.size else -1 for tap in line.taps(start)] for start in starts]
    assert axis.taps().tolist() == inside
    assert axis.effective_kernel_size == line.taps(0)[-1] + 1


@given(st.integers(1, 12), st.integers(1, 15))
def test_taps_of_adaptive_windows_end_where_these_end(size: int, outputs: int) -> None:
    axis = Axis(size, outputs, size, adaptive=True)
    windows = [list(range(o * size // outputs, math.ceil(Fraction((o + 1) * size, outputs)))) for o in range(outputs)]
    assert [list(axis.window(output)) for output in range(outputs)] == windows
    assert axis.taps().tolist() == [window + [-1] * (size - len(window)) for window in windows]


@given(lines())
def test_how_many_windows_hold_one_cell(line: Line) -> None:
    axis = Axis(10**6, 10**5, line.kernel, line.stride, line.dilation, line.begin)
    outputs = range(-100, 100)
    taps = [tap for output in outputs for tap in line.taps(output * line.stride)]
    assert axis.most_taps == max(taps.count(cell) for cell in range(line.stride))
    assert axis.divisible_kernel_size == min(n for n in range(line.kernel, 14) if n % line.stride == 0)


@given(lines(), st.integers(1, 8))
def test_padding_that_leaves_windows_of_another_size_where_they_are(line: Line, kernel: int) -> None:
    starts = line.starts()
    assume(starts)
    begin, end = line.axis.padding_of(kernel)
    for output, start in enumerate(starts):
        taps, others = line.taps(start), range(output * line.stride - begin, output * line.stride - begin + kernel)
        # Twice the distance of the centres: 0, or the half cell by which sizes of both parities cannot agree.
        assert taps[0] + taps[-1] - others[0] - others[-1] == (line.axis.effective_kernel_size - kernel) % 2
    behind = others[-1] - (line.size - 1)
    assert end == max(0, behind)


@given(lines())
def test_the_transposed_axis_names_the_windows_that_hold_a_cell(line: Line) -> None:
    line = line._replace(dilation=1, begin=0, end=0) if line.stride > 1 else line
    starts = line.starts()
    assume(starts)
    held = [[output for output, start in enumerate(starts) if cell in line.taps(start)] for cell in range(line.size)]
    transposed = line.axis.transposed
    assert (transposed.input_size, transposed.output_size) == (len(starts), line.size)
    found = transposed.taps().tolist()
    assert [[output for output in row if output >= 0] for row in found] == held
    assert transposed.stride == 1
    if line.stride > 1:
        assert (transposed.adaptive, transposed.kernel_size) == (True, max(map(len, held)))
        first, count = line.axis.covering()
        assert [list(range(*pair)) for pair in zip(first, first + count, strict=True)] == held
    else:
        assert not transposed.adaptive
        # Cells behind the last window need padding, and no more than they need.
        reach = line.size - 1 + line.begin
        assert transposed.pad_end == max(0, reach - (len(starts) - 1))


@given(lines(), st.integers(1, 3), st.booleans())
def test_slabs_hold_the_windows_that_read_them(line: Line, more: int, adaptive: bool) -> None:
    if adaptive:
        line = line._replace(begin=0, end=0)
        axis = Axis(line.size, line.kernel, line.size, adaptive=True)
        starts = range(line.kernel)
        whole = [list(axis.window(output)) for output in starts]
        cells = 1 + more
    else:
        assume(line.starts())
        axis = line.axis
        whole = [line.taps(start) for start in line.starts()]
        cells = (-(-axis.effective_kernel_size // line.stride) + more - 1) * line.stride
    covered: list[int] = []
    for slab in axis.slabs(cells):
        begin, end = slab.cells.start, slab.cells.stop
        assert end - begin <= cells
        covered += range(begin, end)
        spanning = [o for o, taps in enumerate(whole) if taps[0] < end and taps[-1] >= begin]
        outputs = list(range(slab.outputs.start, slab.outputs.stop))
        assert outputs == spanning
        assert (slab.counted.output_size, slab.spread.output_size) == (len(outputs), len(outputs))
        assert slab.counted.input_size == slab.read.stop - slab.read.start
        assert slab.spread.input_size == end - begin
        if not outputs:
            continue
        assert slab.read.start == max(whole[outputs[0]][0], 0)
        assert slab.read.stop == min(whole[outputs[-1]][-1] + 1, line.size)
        for axis_of, offset, last in ((slab.counted, slab.read.start, slab.read.stop), (slab.spread, begin, end)):
            found = [[offset + tap for tap in row if tap >= 0] for row in axis_of.taps().tolist()]
            assert found == [[tap for tap in whole[o] if offset <= tap < last] for o in outputs]
    assert covered == list(range(line.size))


def test_blocks_are_counted_with_the_partial_one_unless_it_is_trimmed() -> None:
    assert [geometry.block_count(size, 4) for size in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert [geometry.block_count(size, 4, "trim") for size in (1, 4, 5, 8)] == [0, 1, 1, 2]


def test_flags_are_passed_by_name() -> None:
    axis = geometry.global_axes([5])[0]
    for call in (
        lambda: axis.windows(np.arange(1), True),
        lambda: axis.border_windows(True),
        lambda: geometry.padding_pairs("f", 0, [5], [3], [1], 7),
        lambda: geometry.count_windows(5, 3, 1, 0, 0, True),
        lambda: geometry.pool_axes([5], 3, 1, 0, 1, False, "f"),
        lambda: geometry.adaptive_axes([5], 2, "f"),
        lambda: geometry.global_axes([5], "f"),
        lambda: geometry.transposed_axes([5], 3, 1, 0, 1, 0, None, "f"),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()  # type: ignore[no-untyped-call]


def test_padding_counts_only_where_it_is_asked_for() -> None:
    (axis,) = geometry.pool_axes([4], 3, 1, 1)
    assert axis.border_windows().divisor.tolist() == [2, 2]
    assert axis.windows(np.arange(4)).divisor.tolist() == [2, 3, 3, 2]
    assert axis.border_windows(count_include_pad=True).divisor.tolist() == [3, 3]


def test_shares_of_windows_that_follow_the_size() -> None:
    (adaptive,) = geometry.adaptive_axes([7], 3)
    assert (adaptive.padding_share, adaptive.unread_share) == (0.0, 0.0)


def test_several_windows_of_the_size_of_the_axis_are_not_global() -> None:
    (axis,) = geometry.pool_axes([3], 3, 1, [(0, 1)])
    assert (axis.output_size, axis.is_global) == (2, False)


def test_long_windows_find_a_quarter_of_themselves_in_the_input() -> None:
    half = geometry.LONG_WINDOW // 2
    (axis,) = geometry.pool_axes([half], 4 * half, 1, 2 * half)
    assert axis.kernel_size == 4 * half
    with pytest.raises(ValueError) as error:
        geometry.pool_axes([half], 4 * half + 1, 1, 2 * half)
    assert str(error.value) == (
        f"output_shape: kernel_size={4 * half + 1} makes the effective kernel size {4 * half + 1} on axis L, whose "
        f"input has {half} cells; use at most {4 * half}"
    )


@pytest.mark.parametrize("padding", [-1, (-1,), [(-1, 0)], [(0, -1)]])
def test_padding_is_not_negative(padding: Any) -> None:
    with pytest.raises(ValueError) as error:
        geometry.pool_axes([5], 3, 1, padding)
    assert "must be at least 0 on axis L, not -1" in str(error.value)


@pytest.mark.parametrize("stride", [3, 5, 6, 7])
@pytest.mark.parametrize("dilation", [2, 3, 4])
def test_windows_at_a_cell_where_taps_meet_it_in_turns(stride: int, dilation: int) -> None:
    axis = Axis(10**6, 10**5, 6, stride, dilation)
    for cell in range(30):
        expected = [o for o in range(-40, 40) if cell in range(o * stride, o * stride + 6 * dilation, dilation)]
        assert sorted(axis.windows_at(cell)) == expected


def test_outputs_of_transposed_convolutions_fit_64_bits() -> None:
    (axis,) = geometry.transposed_axes([2**62], 1, 2)
    assert axis.input_size == LARGEST
    with pytest.raises(ValueError, match="it must be at least 1 and fit 64 bits"):
        geometry.transposed_axes([2**62], 2, 2)


def test_windows_that_hold_a_cell_have_no_gaps() -> None:
    with pytest.raises(AssertionError):
        Axis(5, 3, 2, dilation=2).covering()
