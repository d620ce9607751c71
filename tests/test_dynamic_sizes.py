"""Sizes that graphs work out when they run, and windows on such axes, against integers and the oracle's windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from pooling import reference
from pooling.geometry import Axis, adaptive_axes, pool_axes
from tests.built_graphs import computing, graph_of, operators
from tests.conftest import Array, assert_same

from pooling.export.dynamic_sizes import (  # isort: skip
    FreeAxis,
    Number,
    Size,
    adaptive_axis,
    folded,
    free_axis,
    in_graph,
    product,
)
from pooling.export.graph_builder import OpsetError  # isort: skip

height, width = Size("", (2,), "H"), Size("", (3,), "W")
OPSETS = (11, 12, 13, 18)
"""The first that has Range, that in which Max takes whole numbers, and those that made axes inputs."""


def of_height(size: int) -> Array:
    """Make an input of this height; its other sizes are another."""
    return np.zeros((1, 1, size, 17), np.float32)


# --- arithmetic ------------------------------------------------------------------------------------------------------

WRITTEN: list[tuple[Number, str]] = [
    (height, "H"),
    (height + 2, "H + 2"),
    (2 + height, "H + 2"),
    (height - 2, "H - 2"),
    (height + -1, "H - 1"),
    (Size("Add", (height, 0)), "H + 0"),
    (2 - height, "2 - H"),
    (height + width, "H + W"),
    (height - width, "H - W"),
    (height - (width - 1), "H - (W - 1)"),
    (height + (width + 1), "H + (W + 1)"),
    (height - width - 1, "H - W - 1"),
    (5 - (height + 1), "5 - (H + 1)"),
    (height * 2, "H * 2"),
    (2 * height, "H * 2"),
    ((height + 1) * 2, "(H + 1) * 2"),
    (height * width + 1, "H * W + 1"),
    (height * (width * 2), "H * (W * 2)"),
    (height * width * 2, "H * W * 2"),
    (height // 2 // 3, "H // 2 // 3"),
    ((height + 3) // 2 * width, "(H + 3) // 2 * W"),
    (height * (width // 2), "H * (W // 2)"),
    (height * -3, "H * -3"),
    (height + width - width, "H + W - W"),
    (height % 3, "H % 3"),
    (height * (width % 3), "H * (W % 3)"),
    ((height - 1) % 3 + 1, "(H - 1) % 3 + 1"),
    (4 - height % 3, "4 - H % 3"),
    (Size("Max", (height - 3, 0)), "max(H - 3, 0)"),
    (Size("Max", (height - 3, 0)) // 2, "max(H - 3, 0) // 2"),
    (height * Size("Max", (height, width)), "H * max(H, W)"),
]


@pytest.mark.parametrize(("number", "text"), WRITTEN, ids=[text for _, text in WRITTEN])
def test_sizes_are_written_as_python_has_them(number: Number, text: str) -> None:
    assert str(number) == text


def test_graphs_work_out_what_the_text_says() -> None:
    for opset in OPSETS:
        graph = graph_of(opset)
        compute = computing(graph, [in_graph(graph, number) for number, _ in WRITTEN])
        for high, wide in ((9, 4), (4, 9), (3, 3), (14, 5)):
            found = compute(np.zeros((1, 1, high, wide), np.float32))
            for (_, text), value in zip(WRITTEN, found, strict=True):
                assert value.dtype == np.int64
                assert value.shape == ()
                # No quotient is rounded but of numbers of at least 0.
                assert value == eval(text, {"H": high, "W": wide, "max": max}), (text, opset)


def test_what_changes_nothing_is_left_out() -> None:
    assert height + 0 is height
    assert height - 0 is height
    assert height * 1 is height
    assert 1 * height is height
    assert height // 1 is height
    assert height % 1 == 0
    assert height + 2 - 3 == height - 1 == Size("Add", (height, -1))
    assert height + 2 - 2 == height
    assert height * 2 + 1 + 1 == Size("Add", (Size("Mul", (height, 2)), 2))
    assert height * 2 + 1 != height * 3
    assert height + width + 1 == Size("Add", (Size("Add", (height, width)), 1))
    assert height + 1 + width == Size("Add", (Size("Add", (height, 1)), width))
    assert height - width + 1 == Size("Add", (Size("Sub", (height, width)), 1))
    assert height * 0 == Size("Mul", (height, 0))
    assert height + -1 == Size("Add", (height, -1))
    assert height * -1 == Size("Mul", (height, -1))


def test_products() -> None:
    assert product([]) == 1
    assert product([3, 4, 5]) == 60
    assert product([height]) is height
    assert product([1, height, width]) == Size("Mul", (height, width))
    assert product([2, height]) == Size("Mul", (height, 2))


def test_nodes_of_a_size_are_made_once() -> None:
    graph = graph_of()
    half = (height + 1) // 2
    name = in_graph(graph, half)
    assert operators(graph) == ["Shape", "Gather", "Add", "Div"]
    assert [node.doc_string for node in graph.nodes[1:]] == ["H", "H + 1", "(H + 1) // 2"]
    assert in_graph(graph, half) == name
    assert in_graph(graph, (height + 1) // 2) == name
    assert len(graph.nodes) == 4
    in_graph(graph, width + half)
    assert operators(graph)[4:] == ["Gather", "Add"]
    (constant,) = (in_graph(graph, number) for number in (7,))
    assert (constant, constant.dtype) == (7, np.int64)  # type: ignore[union-attr]
    assert len(graph.nodes) == 6


@pytest.mark.parametrize("opset", OPSETS)
def test_the_greater_of_two_sizes_is_chosen_by_where(opset: int) -> None:
    graph = graph_of(opset)
    in_graph(graph, Size("Max", (height, width)))
    assert operators(graph) == ["Shape", "Gather", "Gather", "Less", "Where"]
    assert graph.nodes[-1].doc_string == "max(H, W)"


# --- tables ----------------------------------------------------------------------------------------------------------

NUMBERS = np.array([[3, -7, 0, 5], [-2, 9, 9, -1]], np.int64)
OTHERS = np.array([[4], [-2]], np.int64)
FOLDED: list[tuple[str, list[Array], dict[str, Any]]] = [
    ("Add", [NUMBERS, OTHERS], {}),
    ("Less", [NUMBERS, OTHERS], {}),
    ("Mul", [NUMBERS, OTHERS], {}),
    ("Or", [NUMBERS > 0, OTHERS > 0], {}),
    ("Reshape", [NUMBERS, np.array([4, -1])], {}),
    ("ReduceMax", [NUMBERS], {"axes": [1], "keepdims": 1}),
    ("ReduceMin", [NUMBERS], {"axes": [1], "keepdims": 0}),
    ("ReduceMin", [NUMBERS], {"axes": [0, 1], "keepdims": 1}),
    ("ReduceSum", [NUMBERS], {"axes": [0], "keepdims": 0}),
    ("Sub", [NUMBERS, OTHERS], {}),
    ("Abs", [NUMBERS], {}),
    ("Unsqueeze", [NUMBERS], {"axes": [0, 3]}),
    ("Where", [NUMBERS > 0, NUMBERS, OTHERS], {}),
]


@pytest.mark.parametrize(("operator", "inputs", "keywords"), FOLDED, ids=[operator for operator, _, _ in FOLDED])
def test_what_is_known_is_worked_out_as_the_node_does(
    operator: str, inputs: list[Array], keywords: dict[str, Any]
) -> None:
    graph = graph_of()
    known = folded(graph, operator, *inputs, **keywords)
    assert not graph.nodes
    first = graph("Identity", inputs[0])
    at_run_time = folded(graph, operator, first, *inputs[1:], why="Said here.", **keywords)
    assert operators(graph) == ["Identity", operator]
    assert graph.nodes[-1].doc_string == "Said here."
    (found,) = computing(graph, [at_run_time])(of_height(1))
    assert_same(np.asarray(known), found)


# --- sliding windows -------------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """Arguments that lay windows out on one axis."""

    kernel_size: int
    stride: int
    padding: Any = 0
    dilation: int = 1
    ceil_mode: bool = False

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel_size - 1) + 1


def forms() -> Iterator[Form]:
    """List windows of all kinds, with every padding of some."""
    for kernel, stride, dilation in ((1, 1, 1), (2, 1, 1), (3, 2, 1), (2, 3, 1), (2, 1, 3), (3, 2, 2), (1, 4, 1)):
        reach = dilation * (kernel - 1) + 1
        for padding in (0, *([[(0, reach - 1)], [(reach - 1, 0)], [(1, reach - 1)]] if reach > 1 else ())):
            yield Form(kernel, stride, padding, dilation)
            yield Form(kernel, stride, padding, dilation, ceil_mode=True)
        for name in ("same", "same_upper", "same_lower", "valid"):
            yield Form(kernel, stride, name, dilation)
    yield Form(2, 1, 2, 4)
    yield Form(3, 1, 0, 5)
    yield Form(3, 4, "same_lower", 4, ceil_mode=True)
    yield Form(2, 5, "valid", 1, ceil_mode=True)
    yield Form(1, 2, "same_lower", 3)
    yield Form(4, 2, 1, 1, ceil_mode=True)
    yield Form(5, 3, [(0, 2)], 1, ceil_mode=True)
    yield Form(3, 4, [(2, 1)], 2, ceil_mode=True)


def free(form: Form, size: Size = height) -> FreeAxis:
    (sample,) = pool_axes([64], form.kernel_size, form.stride, form.padding, form.dilation, form.ceil_mode)
    return free_axis(sample, size, form.padding, form.ceil_mode)


def oracle(form: Form, size: int) -> reference.Axis | None:
    """Return the windows on an axis of this size, or None where none finds a place."""
    try:
        (axis,) = reference.sliding(
            (size,), [form.kernel_size], [form.stride], form.padding, [form.dilation], form.ceil_mode
        )
    except ValueError:
        return None
    return axis


@pytest.mark.parametrize("form", [*forms()], ids=str)
def test_windows_at_every_size_are_those_of_the_oracle(form: Form) -> None:
    axis, graph = free(form), graph_of()
    values = [
        in_graph(graph, axis.output_size),
        in_graph(graph, axis.pad_begin),
        in_graph(graph, axis.pad_end),
        axis.positions(graph),
        axis.taps(graph),
        axis.divisors(graph, count_include_pad=False),
        axis.divisors(graph, count_include_pad=True),
    ]
    compute = computing(graph, values)
    for size in range(1, 14):
        count, begin, end, positions, taps, counted, with_padding = compute(of_height(size))
        expected = oracle(form, size)
        assert (size >= axis.smallest) == (expected is not None)
        if expected is None:
            assert count <= 0
            assert positions.shape == taps.shape == (0, form.kernel_size)
            continue
        assert (count, begin, end) == (len(expected.windows), expected.begin, expected.end)
        cells = np.array(
            [[each.start + tap * form.dilation for tap in range(form.kernel_size)] for each in expected.windows]
        )
        assert_same(positions, cells)
        inside = (cells >= 0) & (cells < size)
        assert_same(taps, np.where(inside, cells, -1))
        assert_same(np.broadcast_to(counted, count), inside.sum(axis=1))
        assert_same(np.broadcast_to(with_padding, count), np.array([len(each) for each in expected.windows]))
        # The windows of the last size are as many where the overhang is padding.
        padded = size + end + axis.ceil_overhang + begin
        assert (padded - form.reach) // form.stride + 1 == count


@pytest.mark.parametrize("form", [*forms()], ids=str)
def test_what_axes_tell_holds_for_every_size(form: Form) -> None:
    axis = free(form)
    seen = [each for each in (oracle(form, size) for size in range(1, 40)) if each is not None]
    taps = [[cell for window in each.windows for cell in window] for each in seen]
    # Windows that ceil_mode cuts off have taps in the oracle's list only as far as padding goes.
    beyond = any(window.start + form.reach > each.size + each.end for each in seen for window in each.windows)
    outside = any(cell < 0 or cell >= each.size for each, cells in zip(seen, taps, strict=True) for cell in cells)
    assert axis.has_out_of_bounds_taps == (outside or beyond or axis.pad_begin != 0 or axis.pad_end != 0)
    assert (axis.ceil_overhang > 0) == beyond
    empty = any(not any(0 <= cell < each.size for cell in window) for each in seen for window in each.windows)
    assert axis.may_be_empty == empty
    assert axis.smallest == seen[0].size
    assert axis.has_dynamic_padding == (form.padding in ("same", "same_upper", "same_lower") and form.stride > 1)
    assert not axis.adaptive
    assert not axis.is_global
    assert (axis.kernel_size, axis.stride, axis.dilation) == (form.kernel_size, form.stride, form.dilation)


def test_the_overhang_is_the_least_that_does() -> None:
    assert free(Form(5, 3, 0, ceil_mode=True)).ceil_overhang == 2
    assert free(Form(5, 3, 3, ceil_mode=True)).ceil_overhang == 1
    assert free(Form(2, 7, 0, ceil_mode=True)).ceil_overhang == 1
    assert free(Form(2, 7, 1, ceil_mode=True)).ceil_overhang == 0
    assert free(Form(5, 3, 0)).ceil_overhang == 0
    assert free(Form(5, 3, "same_upper", ceil_mode=True)).ceil_overhang == 0


def test_sizes_of_results_are_written_in_few_words() -> None:
    assert str(free(Form(2, 2)).output_size) == "H // 2"
    assert str(free(Form(3, 1, 1)).output_size) == "H"
    assert str(free(Form(3, 2, "same_upper")).output_size) == "(H + 1) // 2"
    assert str(free(Form(3, 2, "same_upper")).pad_begin) == "max(2 - (H - 1) % 2, 0) // 2"
    assert str(free(Form(3, 2, "same_upper")).pad_end) == "(max(2 - (H - 1) % 2, 0) + 1) // 2"
    assert str(free(Form(3, 2, "same_lower")).pad_begin) == "(max(2 - (H - 1) % 2, 0) + 1) // 2"
    axis = free(Form(4, 1, "same_lower"))
    assert (axis.output_size, axis.pad_begin, axis.pad_end) == (height, 2, 1)


def test_windows_have_no_padding_and_no_overhang_unless_told() -> None:
    axis = free_axis(pool_axes([64], 3, 2)[0], height)
    assert (axis.output_size, axis.pad_begin, axis.pad_end, axis.ceil_overhang) == ((height - 1) // 2, 0, 0, 0)


def test_names_of_padding_need_not_be_one_object() -> None:
    assert free(Form(3, 2, "".join(["va", "lid"]), ceil_mode=True)) == free(Form(3, 2, ceil_mode=True))
    assert free(Form(4, 2, "".join(["same_", "lower"]))) == free(Form(4, 2, "same_lower"))


def test_empty_windows_are_looked_for_at_few_sizes_only() -> None:
    # One tap is never between cells; where that would have to be asked of too many sizes, it is not.
    assert not free(Form(1, 1, 0, 65)).may_be_empty
    assert free(Form(1, 1, 0, 66)).may_be_empty


def windows(axis: FreeAxis) -> tuple[list[str], list[str]]:
    """Return the operators that list positions, and those that make taps of them, without those that read sizes."""
    graph = graph_of()
    in_graph(graph, axis.input_size), in_graph(graph, axis.output_size)
    in_graph(graph, axis.pad_begin)
    before = len(graph.nodes)
    positions = axis.positions(graph)
    middle = len(graph.nodes)
    taps = axis.taps(graph)
    after = len(graph.nodes)
    assert axis.positions(graph) == positions
    assert axis.taps(graph) == taps
    assert len(graph.nodes) == after
    assert (taps == positions) == (after == middle)
    return operators(graph)[before:middle], operators(graph)[middle:]


def test_tables_have_no_nodes_that_change_nothing() -> None:
    assert windows(free(Form(2, 1))) == (["Range", "Reshape", "Add"], [])
    assert windows(free(Form(2, 2))) == (["Range", "Mul", "Reshape", "Add"], [])
    assert windows(free(Form(2, 1, [(0, 1)]))) == (["Range", "Reshape", "Add"], ["Less", "Where"])
    left = ["Less", "Greater", "And", "Where"]
    assert windows(free(Form(2, 1, [(1, 0)]))) == (["Range", "Sub", "Reshape", "Add"], left)
    assert windows(free(Form(3, 2, "same_upper"))) == (["Range", "Mul", "Sub", "Reshape", "Add"], left)
    assert windows(free(Form(2, 2, ceil_mode=True)))[1] == ["Less", "Where"]
    assert windows(adaptive_axis(height, 2))[0][:2] == ["Mul", "Div"]


@pytest.mark.parametrize(
    ("form", "include", "size"),
    [
        (Form(3, 2), False, 3),
        (Form(3, 2), True, 3),
        (Form(3, 2, 1), True, 3),
        (Form(3, 2, "same_upper"), True, 3),
    ],
)
def test_one_number_divides_windows_that_are_alike(form: Form, include: bool, size: int) -> None:
    graph = graph_of()
    divisors = free(form).divisors(graph, count_include_pad=include)
    assert isinstance(divisors, np.ndarray)
    assert divisors.tolist() == [size]
    assert not graph.nodes


@pytest.mark.parametrize(
    ("form", "include"),
    [(Form(3, 2, 1), False), (Form(3, 2, 1, ceil_mode=True), True), (Form(3, 2, ceil_mode=True), True)],
)
def test_windows_that_differ_are_counted_at_run_time(form: Form, include: bool) -> None:
    graph = graph_of()
    assert isinstance(free(form).divisors(graph, count_include_pad=include), str)
    assert operators(graph)[-1] == "ReduceSum"


def test_nodes_of_tables_say_what_they_are() -> None:
    graph = graph_of()
    free(Form(2, 2)).taps(graph)
    said = {node.op_type: node.doc_string for node in graph.nodes}
    assert said["Range"] == "0 to H // 2 - 1"
    assert said["Add"] == "The cell under each tap of each window."


def test_what_tables_need_is_refused_where_an_opset_lacks_it() -> None:
    graph = graph_of(10)
    with pytest.raises(OpsetError, match="opset=10 lacks Range, which this pooling needs; use opset >= 11"):
        free(Form(2, 1)).positions(graph)


# --- adaptive windows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_adaptive_windows_at_every_size_are_those_of_the_oracle(count: int, opset: int) -> None:
    axis, graph = adaptive_axis(height, count), graph_of(opset)
    assert axis.adaptive
    assert axis.is_global == (count == 1)
    assert axis.has_out_of_bounds_taps == (count > 1)
    assert (axis.output_size, axis.pad_begin, axis.pad_end, axis.ceil_overhang) == (count, 0, 0, 0)
    assert (axis.smallest, axis.may_be_empty, axis.has_dynamic_padding) == (1, False, False)
    # There is no padding to count.
    divisors = [
        axis.divisors(graph, count_include_pad=include) for include in ((False, True) if count == 1 else (False,))
    ]
    compute = computing(graph, [in_graph(graph, axis.kernel_size), axis.positions(graph), axis.taps(graph), *divisors])
    for size in range(1, 16):
        longest, positions, taps, *counted = compute(of_height(size))
        (expected,) = reference.adaptive((size,), [count])
        assert positions.shape == taps.shape == (count, longest)
        assert longest == (size if count == 1 else -(-size // count) + 1)
        for number, window in enumerate(expected.windows):
            assert positions[number].tolist() == list(range(window.start, window.start + longest))
            assert taps[number].tolist() == [*window, *[-1] * (longest - len(window))]
        for each in counted:
            assert_same(each, np.array([len(window) for window in expected.windows]))


def test_an_adaptive_axis_that_is_kept() -> None:
    axis = adaptive_axis(height, None)
    assert (axis.output_size, axis.kernel_size, axis.stride, axis.dilation) == (height, 1, 1, 1)
    assert not axis.adaptive
    assert not axis.has_out_of_bounds_taps
    graph = graph_of()
    (taps,) = computing(graph, [axis.taps(graph)])(of_height(5))
    assert taps.tolist() == [[0], [1], [2], [3], [4]]


def test_kernels_of_adaptive_windows_are_written_in_few_words() -> None:
    assert str(adaptive_axis(height, 3).kernel_size) == "(H + 2) // 3 + 1"
    assert adaptive_axis(height, 1).kernel_size is height


def test_free_axes_of_two_sizes_are_told_apart() -> None:
    graph = graph_of()
    one, other = (free(Form(2, 2), size) for size in (height, width))
    tables = [axis.taps(graph) for axis in (one, other, free(Form(2, 2)))]
    assert tables[0] == tables[2] != tables[1]
    first, second, _ = computing(graph, tables)(of_height(6))
    assert (first.shape, second.shape) == ((3, 2), (8, 2))


def test_an_axis_has_no_padding_unless_it_says_so() -> None:
    axis = FreeAxis(height, height, 1)
    assert (axis.stride, axis.dilation, axis.pad_begin, axis.pad_end, axis.ceil_overhang) == (1, 1, 0, 0, 0)
    assert (axis.adaptive, axis.smallest, axis.may_be_empty, axis.is_global) == (False, 1, False, False)
    assert not adaptive_axis(height, None).is_global
    assert not FreeAxis(height, 1, height).is_global
    assert isinstance(adaptive_axes([6], 4)[0], Axis)
