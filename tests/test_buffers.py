"""No caller makes a kernel write beyond a buffer: wrong sizes, read-only memory, bad tables, numbers of no row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from pooling import _core
from pooling.dispatch import kernels
from pooling.families.blurs import blur_of
from pooling.geometry import Axis
from pooling.plan import lay_out

K, R = kernels.KINDS, kernels.REDUCERS
F32, F64, GREATEST, TOTAL = K["float32"], K["float64"], R["greatest"], R["total"]


def plan(**keywords: Any) -> Any:
    """Two maps of 6 x 7 cells, windows of 2 x 3: results of 3 x 2."""
    return lay_out([Axis(6, 3, 2, 2), Axis(7, 2, 3, 3)], 2, 1, keep_axes=True, **keywords)


def full(dtype: str = "float32") -> Any:
    return np.zeros((2, 6, 7), dtype)


def small(dtype: str = "float32") -> Any:
    return np.zeros((2, 3, 2), dtype)


class Entry(NamedTuple):
    """A call that is right, by the buffers that it is given; those in `writes` are written to."""

    run: Callable[..., Any]
    buffers: dict[str, Any]
    writes: tuple[str, ...]


def blur_tables(cell: int = 0) -> Any:
    """Each result is the first cell of two."""
    axis = np.array([0, 1, 2]), np.array([0, 2 + cell]), np.ones(2)
    return axis, axis


def gradient_tables() -> Any:
    """Of the gradient of a filter of 3 taps on every second of 3 x 20 cells."""
    return blur_of("blur_pool2d", (3, 20), 3, 2, None, "reflect").tables(backward=True)


def fractional_starts(cell: int = 0) -> Any:
    return [np.zeros((2, 1), np.int64), np.full((2, 2), 1 + cell), np.full((2, 2), 2)]


REGIONS = {"maps": np.array([1, 0, 1])}
EDGES = {"rows0": np.full((3, 2), 1), "rows1": np.full((3, 2), 4), "columns0": np.full((3, 2), 0)}
EDGES["columns1"] = np.full((3, 2), 5)
SAMPLES = {name: np.full(3, value) for name, value in (("rows0", 0.5), ("rows1", 1.5), ("columns0", 0.0))}
SAMPLES |= {"columns1": np.full(3, 2.0), "rows2": np.full(3, 2), "columns2": np.full(3, 1)}
SHAPES = (2, 1, 4, 5), (3, 1, 2, 2)
KIND_OF_REGIONS = F64


def pool_regions(**b: Any) -> None:
    kernels.pool_regions(
        F64, *SHAPES, b["input"], b["output"], b["maps"], (b["rows0"], b["rows1"]), (b["columns0"], b["columns1"]),
        b.get("grad_input"),
    )  # fmt: skip


def align_regions(averaging: bool, **b: Any) -> None:
    rows, columns = (tuple(b[f"{axis}{i}"] for i in range(3)) for axis in ("rows", "columns"))
    kernels.align_regions(
        F64, *SHAPES, b["input"], b["output"], b["maps"], rows, columns, False, averaging, b.get("grad_input")
    )


MAPS = {"input": np.zeros(SHAPES[0]), "output": np.zeros(SHAPES[1])}

ENTRIES = {
    "forward": Entry(
        lambda **b: kernels.forward(plan(), GREATEST, F32, b["src"], b["dst"]),
        {"src": full(), "dst": small()},
        ("dst",),
    ),
    "forward_indexed": Entry(
        lambda **b: kernels.forward_indexed(plan(), GREATEST, F32, b["src"], b["dst"], b["indices"]),
        {"src": full(), "dst": small(), "indices": small("int64")},
        ("dst", "indices"),
    ),
    "average_backward": Entry(
        lambda **b: kernels.average_backward(plan(average=True), F32, b["grad_output"], b["grad_input"]),
        {"grad_output": small(), "grad_input": full()},
        ("grad_input",),
    ),
    "divide_by_place": Entry(
        lambda **b: kernels.divide_by_place(plan(average=True), F32, b["src"], b["dst"]),
        {"src": small(), "dst": small()},
        ("dst",),
    ),
    "scatter_backward": Entry(
        lambda **b: kernels.scatter_backward(
            plan(), GREATEST, F32, F32, b["src"], None, b["grad_output"], b["grad_input"]
        ),
        {"src": full(), "grad_output": small(), "grad_input": full()},
        ("grad_input",),
    ),
    "scatter_backward_indexed": Entry(
        lambda **b: kernels.scatter_backward(
            plan(), GREATEST, F32, F32, None, b["indices"], b["grad_output"], b["grad_input"]
        ),
        {"indices": small("int64"), "grad_output": small(), "grad_input": full()},
        ("grad_input",),
    ),
    "norm_forward": Entry(
        lambda **b: kernels.norm_forward(plan(), K["float32->float64"], b["src"], b["dst"], 2.0),
        {"src": full(), "dst": small()},
        ("dst",),
    ),
    "norm_backward": Entry(
        lambda **b: kernels.norm_backward(
            plan(), K["float32->float64"], b["src"], b["grad_output"], b["grad_input"], None, 2.0
        ),
        {"src": full(), "grad_output": small(), "grad_input": full()},
        ("grad_input",),
    ),
    "norm_backward_of_exponents": Entry(
        lambda **b: kernels.norm_backward(
            lay_out([Axis(6, 1, 6, 6), Axis(7, 1, 7, 7)], 2, 1, keep_axes=True),
            K["float32->float64"], b["src"], b["grad_output"], b["grad_input"], b["exponents"], 2.0, 1e-3,
        ),
        {"src": full() + 1, "grad_output": np.ones(2, "f4"), "grad_input": full(), "exponents": np.ones(2)},
        ("grad_input", "exponents"),
    ),
    "powers": Entry(
        lambda **b: kernels.powers(b["src"], b["dst"], 2.0), {"src": np.ones(5), "dst": np.ones(5)}, ("dst",)
    ),
    "near_powers": Entry(
        lambda **b: kernels.near_powers(b["src"], b["dst"], 2.5), {"src": np.ones(5), "dst": np.ones(5)}, ("dst",)
    ),
    "near_logarithms": Entry(
        lambda **b: kernels.near_logarithms(b["src"], b["dst"]), {"src": np.ones(5), "dst": np.ones(5)}, ("dst",)
    ),
    "logarithms": Entry(
        lambda **b: kernels.logarithms(b["src"], b["dst"]), {"src": np.ones(5), "dst": np.ones(5)}, ("dst",)
    ),
    "blur": Entry(
        lambda **b: kernels.blur(F32, b["src"], b["dst"], 2, 1, (4, 5), (2, 2), blur_tables()),
        {"src": np.zeros((2, 4, 5), "f4"), "dst": np.zeros((2, 2, 2), "f4")},
        ("dst",),
    ),
    "send_through_blur": Entry(
        lambda **b: kernels.send_through_blur(b["src"], b["input"], b["dst"], 2, (2, 10), (3, 20), gradient_tables()),
        {
            "src": np.zeros((2, 2, 10), "f4"),
            "input": np.zeros((2, 4, 21), "f4"),
            "dst": np.zeros((2, 4, 21), "f4"),
        },
        ("dst",),
    ),
    "unpool": Entry(
        lambda **b: kernels.unpool(b["src"], b["indices"], b["dst"], 2, 6, 42, 1, 4),
        {"src": small(), "indices": small("int64"), "dst": full()},
        ("dst",),
    ),
    "unpool_backward": Entry(
        lambda **b: kernels.unpool(b["src"], b["indices"], b["dst"], 2, 6, 42, 1, 4, True),
        {"src": full(), "indices": small("int64"), "dst": small()},
        ("dst",),
    ),
    "fractional_max": Entry(
        lambda **b: kernels.fractional_max(
            b["src"], b["dst"], b["indices"], 2, 1, (1, 6, 7), (1, 2, 2), (1, 3, 4), fractional_starts(), F32
        ),
        {"src": full(), "dst": np.zeros((2, 2, 2), "f4"), "indices": np.zeros((2, 2, 2), np.int64)},
        ("dst", "indices"),
    ),
    "fractional_max_samples": Entry(
        lambda **b: kernels.fractional_max(
            b["src"], b["dst"], b["indices"], 2, 1, (1, 6, 7), (1, 2, 2), (1, 3, 4), None, F32, 1, b["samples"], 2, 4
        ),
        {
            "src": full(),
            "dst": np.zeros((2, 2, 2), "f4"),
            "indices": np.zeros((2, 2, 2), np.int64),
            "samples": np.full((2, 2), 0.5, "f4"),
        },
        ("dst", "indices"),
    ),
    "pool_regions": Entry(pool_regions, MAPS | REGIONS | EDGES, ("output",)),
    "pool_regions_backward": Entry(
        pool_regions, MAPS | REGIONS | EDGES | {"grad_input": np.zeros(SHAPES[0])}, ("grad_input",)
    ),
    "align_regions": Entry(
        lambda **b: align_regions(True, **b), MAPS | REGIONS | SAMPLES, ("output",)
    ),
    "align_regions_backward": Entry(
        lambda **b: align_regions(True, **b),
        MAPS | REGIONS | SAMPLES | {"grad_input": np.zeros(SHAPES[0])},
        ("grad_input",),
    ),
    "align_regions_greatest_backward": Entry(
        lambda **b: align_regions(False, **b),
        MAPS | REGIONS | SAMPLES | {"grad_input": np.zeros(SHAPES[0])},
        ("grad_input",),
    ),
}  # fmt: skip


def reduce_blocks(op: int = 1, kind: int = 10, result: int = 10, rounding: int = 0, total: int = 11, **b: Any) -> int:
    """Means of float32 in blocks of 2 x 3, some of which are left out, in sums of float64 that are carried on."""
    stages = [((1, 2, 3), total, b["dst"], b["valid"], (2, 3, 3))]
    return kernels.reduce_blocks(
        op,
        kind,
        result,
        rounding,
        b["elements"],
        stages,
        (2, 6, 7),
        (1, 1, 1),
        -1,
        7.0,
        bytes(4),
        0.5,
        b["mask"],
        b["weights"],
        None,
        b["carry"],
        b["carry_counts"],
    )


ENTRIES["reduce_blocks"] = Entry(
    reduce_blocks,
    {
        "elements": full().reshape(2, 6, 7, 1),
        "mask": full("uint8").reshape(2, 6, 7, 1),
        "weights": full("float64").reshape(2, 6, 7, 1),
        "dst": np.zeros((2, 3, 3), "f4"),
        "valid": np.zeros((2, 3, 3)),
        "carry": np.zeros((2, 3, 3)),
        "carry_counts": np.zeros((2, 3, 3), "i4"),
    },
    ("dst", "valid", "carry", "carry_counts"),
)

REFUSED = (ValueError, BufferError, TypeError)
BUFFERS = [(name, buffer) for name, entry in ENTRIES.items() for buffer in entry.buffers]


def refuses(call: Callable[[], Any]) -> bool:
    try:
        call()
    except REFUSED:
        return True
    return False


def given(entry: Entry) -> dict[str, Any]:
    return {name: array.copy() for name, array in entry.buffers.items()}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_call_itself_is_right(name: str) -> None:
    entry = ENTRIES[name]
    entry.run(**given(entry))


def test_every_entry_point_that_takes_buffers_is_called() -> None:
    """Whatever is public in the kernels, but for what tells of them, is in the list above."""
    telling = {"strategy_of", "leaf_tables", "keep_workers", "count_workers", "answer_signals_in", "signature"}
    public = {
        name
        for name in dir(kernels)
        if callable(getattr(kernels, name)) and name[0].islower() and not name.startswith("_")
    } - telling - {"bincount"}  # fmt: skip
    assert {name for name in public if name not in ENTRIES} == set()


@pytest.mark.parametrize("by", [-1, 1, None])
@pytest.mark.parametrize(("name", "buffer"), BUFFERS)
def test_a_buffer_of_another_size_is_refused(name: str, buffer: str, by: int | None) -> None:
    """One element less, one more, and none at all; what stands beside is as it was."""
    entry = ENTRIES[name]
    buffers = given(entry)
    array = buffers[buffer].reshape(-1)
    around = np.full(array.size + 65, 77).astype(array.dtype)
    size = 0 if by is None else array.size + by
    buffers[buffer] = around[32 : 32 + size]
    with pytest.raises(REFUSED):
        entry.run(**buffers)
    assert (np.delete(around, slice(32, 32 + size)) == 77).all()


@pytest.mark.parametrize(
    ("name", "buffer"), [(name, buffer) for name, entry in ENTRIES.items() for buffer in entry.writes]
)
def test_memory_that_may_not_be_written_is_refused(name: str, buffer: str) -> None:
    buffers = given(ENTRIES[name])
    buffers[buffer].flags.writeable = False
    with pytest.raises(REFUSED):
        ENTRIES[name].run(**buffers)


@pytest.mark.parametrize(("name", "buffer"), BUFFERS)
def test_memory_with_gaps_is_refused(name: str, buffer: str) -> None:
    buffers = given(ENTRIES[name])
    wide = np.repeat(buffers[buffer].reshape(-1), 2)
    buffers[buffer] = wide[::2]
    with pytest.raises(REFUSED):
        ENTRIES[name].run(**buffers)


@pytest.mark.parametrize("number", [-1, 10**3, 2**31 - 1])
def test_numbers_of_no_row_are_refused(number: int) -> None:
    src, dst, indices = full(), small(), small("int64")
    calls: list[Callable[[], Any]] = [
        lambda: kernels.forward(plan(), number, F32, src, dst),
        lambda: kernels.forward(plan(), GREATEST, number, src, dst),
        lambda: kernels.forward(plan(average=True), TOTAL, K["int32"], src, dst, 1, number),
        lambda: kernels.forward_indexed(plan(), number, F32, src, dst, indices),
        lambda: kernels.forward_indexed(plan(), GREATEST, number, src, dst, indices),
        lambda: kernels.average_backward(plan(average=True), number, dst, src),
        lambda: kernels.divide_by_place(plan(average=True), number, dst, dst),
        lambda: kernels.scatter_backward(plan(), number, F32, F32, src, None, dst, src),
        lambda: kernels.scatter_backward(plan(), GREATEST, number, F32, src, None, dst, src),
        lambda: kernels.scatter_backward(plan(), GREATEST, F32, number, src, None, dst, src),
        lambda: kernels.norm_forward(plan(), number, src, dst, 2.0),
        lambda: kernels.blur(number, src, dst, 2, 1, (4, 5), (2, 2), blur_tables()),
        lambda: kernels.unpool(dst, indices, src, 2, 6, 42, 1, number),
        lambda: kernels.pool_regions(number, *SHAPES, src, dst, REGIONS["maps"], (src, src), (src, src)),
        lambda: kernels.strategy_of(plan(), "forward", number, F32),
        lambda: kernels.strategy_of(plan(), "mean_gradient", TOTAL, number),
        lambda: reduce_blocks(op=number, **given(ENTRIES["reduce_blocks"])),
        lambda: reduce_blocks(kind=number, **given(ENTRIES["reduce_blocks"])),
        lambda: reduce_blocks(result=number, **given(ENTRIES["reduce_blocks"])),
        lambda: reduce_blocks(rounding=number, **given(ENTRIES["reduce_blocks"])),
        lambda: reduce_blocks(total=number, **given(ENTRIES["reduce_blocks"])),
    ]
    assert [i for i, call in enumerate(calls) if not refuses(call)] == []


def shortened(value: Any) -> Iterator[Any]:
    """Return a sequence without its last entry, and with one of its own sequences so."""
    if not isinstance(value, (tuple, list)):
        return
    yield value[:-1]
    for i, entry in enumerate(value):
        for short in shortened(entry):
            yield type(value)((*value[:i], short, *value[i + 1 :]))


@pytest.mark.parametrize("name", ENTRIES)
def test_sequences_without_their_last_entry_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENTRIES[name]
    called = next(known for known in sorted(dir(kernels), key=len, reverse=True) if name.startswith(known))
    original, taken = getattr(kernels, called), []
    monkeypatch.setattr(kernels, called, lambda *positional: taken.append(positional) or original(*positional))
    entry.run(**given(entry))
    [right] = taken
    for place, value in enumerate(right):
        for short in shortened(value):
            with pytest.raises((*REFUSED, IndexError)):
                original(*right[:place], short, *right[place + 1 :])


@pytest.mark.parametrize(
    ("op", "kind", "result", "total"),
    [
        ("sum", "uint8", "uint8", "int64"),
        ("sum", "uint8", "float32", "int64"),
        ("sum", "float32", "int64", "float64"),
        ("count", "float32", "uint8", "int32"),
        ("max", "uint16", "uint8", "int16"),
        ("median", "uint16", "uint8", "int32"),
        ("median", "float32", "uint8", "int32"),
        ("mode", "uint8", "uint64", "int32"),
        ("first", "float32", "float64", "int32"),
        ("rms", "float32", "uint8", "int32"),
        ("mean", "float32", "uint8", "float64"),
    ],
)
def test_results_of_blocks_of_another_dtype_are_refused(op: str, kind: str, result: str, total: str) -> None:
    """Loops that store eight bytes for each result would go beyond those of one byte."""
    source, target = np.dtype(kind), np.dtype(result)
    elements, made = np.zeros((2, 6, 7, 1), source), np.zeros((2, 3, 3), target)
    number = kernels.BLOCK_KINDS
    with pytest.raises(ValueError, match=r"blocks of this dtype|of this kind|another kind"):
        kernels.reduce_blocks(
            kernels.BLOCK_OPS[op],
            number[kind],
            number[result],
            0,
            elements,
            [((1, 2, 3), number[total], made, None, (2, 3, 3))],
            (2, 6, 7),
            (1, 1, 1),
            -1,
            None,
            bytes(target.itemsize),
            0.0,
        )


@pytest.mark.parametrize("cell", [-3, 10, 2**62, -(2**62)])
def test_tables_that_name_no_cell_are_refused(cell: int) -> None:
    src, dst = np.zeros((2, 4, 5), "f4"), np.zeros((2, 2, 2), "f4")
    with pytest.raises(ValueError, match="table of a blur"):
        kernels.blur(F32, src, dst, 2, 1, (4, 5), (2, 2), blur_tables(cell))
    with pytest.raises(ValueError, match="window of the table"):
        kernels.fractional_max(
            full(), dst, None, 2, 1, (1, 6, 7), (1, 2, 2), (1, 3, 4), fractional_starts(cell), F32
        )  # fmt: skip
    indices = small("int64") + (cell if cell < 0 or cell > 42 else 42)
    assert kernels.unpool(small(), indices, full(), 2, 6, 42, 1, 4) == 0
    assert kernels.unpool(full(), indices, small(), 2, 6, 42, 1, 4, True) == 0
    assert kernels.scatter_backward(plan(), GREATEST, F32, F32, None, indices, small(), full()) == 0
    for name, edges in (("rows1", "rows"), ("columns1", "columns"), ("rows0", "rows"), ("columns0", "columns")):
        entry = ENTRIES["pool_regions_backward"]
        buffers = given(entry)
        buffers[name][1, 1] = cell
        starts, stops = buffers[f"{edges}0"][1, 1], buffers[f"{edges}1"][1, 1]
        if starts < stops:
            with pytest.raises(ValueError, match="a window of a region"):
                entry.run(**buffers)
    for name in ("pool_regions", "pool_regions_backward", "align_regions", "align_regions_greatest_backward"):
        buffers = given(ENTRIES[name])
        buffers["maps"][2] = cell
        with pytest.raises(ValueError):
            ENTRIES[name].run(**buffers)


@pytest.mark.parametrize("count", [2**20 + 1, 2**62, 2**63 - 1])
def test_more_samples_than_a_bin_may_have_are_refused(count: int) -> None:
    """Twice as many would be a negative number."""
    for name in ("align_regions", "align_regions_backward", "align_regions_greatest_backward"):
        for axis in ("rows2", "columns2"):
            buffers = given(ENTRIES[name])
            buffers[axis][1] = count
            with pytest.raises(ValueError, match=r"samples, and 1048576 are the most"):
                ENTRIES[name].run(**buffers)


def test_maps_of_another_dtype_are_refused() -> None:
    """Of the same size in bytes, they would be counted as one thing and read as another."""
    for name in ("pool_regions", "align_regions_backward"):
        for dtype in ("f8", ">i8", "u8"):
            with pytest.raises(ValueError):
                ENTRIES[name].run(**given(ENTRIES[name]) | {"maps": REGIONS["maps"].astype(dtype)})


def test_sizes_that_are_negative_or_beyond_memory_are_refused() -> None:
    none = np.zeros(0, "f4")
    one = np.zeros(1, "f4")
    with pytest.raises(REFUSED):
        kernels.blur(F32, one, one, -1, -1, (1, 1), (1, 1), blur_tables())
    with pytest.raises(REFUSED):
        kernels.blur(F32, one, one, 1, 1, (1, 1), (-1, -1), ((np.zeros(0, int), np.zeros(0, int), np.zeros(0)),) * 2)
    for sizes in ((-1, 1, 1, -1), (2**62, 4, 1, 1), (1, 2**62, 2**62, 4)):
        with pytest.raises(REFUSED):
            kernels.unpool(none, none, none, *sizes, 4)
    starts = [np.zeros((0, 1), np.int64)] * 3
    with pytest.raises(REFUSED):
        kernels.fractional_max(none, none, None, -1, 1, (1, 1, 1), (1, 1, 1), (1, 1, 1), starts, F32)
    with pytest.raises(REFUSED):
        kernels.fractional_max(none, none, None, 2**32, 2**32, (1, 1, 1), (1, 1, 1), (1, 1, 1), starts, F32)
    with pytest.raises((*REFUSED, OverflowError)):
        lay_out([Axis(2**40, 2**40, 1)], 2**30, 1)


SIZES = ((1, 6, 7), (1, 2, 2), (1, 3, 4))


@pytest.mark.parametrize(
    ("sizes", "axes", "itemsize"),
    [
        (SIZES, 1, 8),
        (SIZES, 4, 4),
        (SIZES, 2, 2),
        (SIZES, 4, 2),
        (((2, 3, 7), (2, 1, 2), (1, 3, 4)), 2, 4),
        (((1, 6, 7), (1, 0, 2), (1, 3, 4)), 2, 4),
        (((1, 6, 7), (1, 2, 2), (1, 3, 8)), 2, 4),
    ],
)
def test_windows_without_samples_are_refused(sizes: Any, axes: int, itemsize: int) -> None:
    """Samples of no such number, of no such type, and windows that do not lie on the map."""
    dst, samples = np.zeros((2, *sizes[1]), "f4"), np.zeros((2, 2), "f4")
    with pytest.raises(ValueError):
        kernels.fractional_max(full(), dst, None, 2, 1, *sizes, None, F32, 1, samples, axes, itemsize)


@pytest.mark.parametrize("sample", [-1e-9, 1.0, np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_sample_that_is_none_is_named_and_nothing_written(sample: float, dtype: str) -> None:
    samples = np.full((2, 2), 0.5, dtype)
    dst = np.zeros((2, 2, 2), "f4")
    way = F32, 1, samples, 2, samples.itemsize
    assert kernels.fractional_max(full(), dst, None, 2, 1, *SIZES, None, *way) == -1
    dst[:] = 7
    samples[1, 1] = sample
    assert kernels.fractional_max(full(), dst, None, 2, 1, *SIZES, None, *way) == 3
    assert (dst == 7).all()


def test_a_window_of_the_table_holds_a_cell() -> None:
    with pytest.raises(ValueError, match="no cell"):
        kernels.fractional_max(
            full(), np.zeros((2, 2, 2), "f4"), None, 2, 1, (1, 6, 7), (1, 2, 2), (1, 0, 4), fractional_starts(), F32
        )


AXIS = (6, 3, 2, 2, 1, 0, 0, 3, *[np.zeros(0, np.int64)] * 3, False)
SINGLE = (1, 1, 1, 1, 1, 0, 0, 1, *[np.zeros(0, np.int64)] * 3, False)


def changed(position: int, value: Any) -> tuple[Any, ...]:
    return (*AXIS[:position], value, *AXIS[position + 1 :])


@pytest.mark.parametrize(
    "axis",
    [
        changed(0, -6),
        changed(1, -3),
        changed(2, -2),
        changed(6, -1),
        changed(7, 4),
        changed(7, 2),
        changed(8, np.ones(1, int)),
    ],
)
def test_plans_whose_tables_do_not_hold_their_windows_are_refused(axis: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="a plan has"):
        _core.Plan(1, 1, [SINGLE, SINGLE, axis])


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (5, 2), (0, 7), (2**62, 1)])
def test_plans_with_windows_beyond_their_axis_are_refused(first: int, count: int) -> None:
    table = (np.array([first]), np.array([count]), np.array([2]))
    with pytest.raises(ValueError, match="a window that is not in its axis"):
        _core.Plan(1, 1, [SINGLE, SINGLE, (6, 3, 2, 2, 1, 0, 1, 3, *table, False)])


def test_norms_of_adaptive_windows_are_refused() -> None:
    tables = (np.array([0, 2, 4]), np.array([3, 3, 3]), np.array([3, 3, 3]))
    adaptive = _core.Plan(1, 1, [SINGLE, SINGLE, (7, 3, 3, 2, 1, 0, 0, 0, *tables, True)])
    with pytest.raises(ValueError, match="adaptive"):
        kernels.norm_forward(adaptive, F64, np.zeros(7), np.zeros(3), 2.0)
