"""Every case is run by every library that claims it, on small shapes, with our values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rich")  # the extra "cli"

import pooling
from pooling.benchmark import worker
from pooling.benchmark.cases import CASES, VIEWS, BenchmarkCase
from pooling.benchmark.others import is_other
from tests.benchmark_cases import shrunk

SMALL = {replace(small, name="", group=""): small for small in map(shrunk, CASES)}.values()
ONE_OF_EACH = {
    (case.operator, case.dtype, case.layout, case.direction, case.dimensions, case.memory): case for case in SMALL
}.values()
OTHER_RESULTS = {
    # It rounds the means of bytes after each axis.
    "SciPy": {"31x31 average, HD, uint8", "31x31 average, HD RGB, uint8"},
    # It computes means of float64 in float32.
    "openvino": {"DenseNet transition, float64"},
}
"""What libraries do differently, which is not raced."""
CLAIMED = {
    "NumPy": 10,
    "SciPy": 4,
    "scikit-image": 3,
    "OpenCV": 12,
    "onnxruntime": 40,
    "onnxruntime IO binding": 40,
    "openvino": 15,
    "torch": 100,
    "torch channels_last": 80,
    "torchvision": 2,
}
"""The fewest cases that a library must do."""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Adapters set the threads of the whole process."""
    threads = pooling.get_num_threads()
    yield
    pooling.set_num_threads(threads)
    if worker.LIBRARIES["torch"].installed:
        import torch

        torch.set_grad_enabled(True)


def result_of(library: str, case: BenchmarkCase) -> str:
    """Return nothing where a library does a case, else why not."""
    try:
        call = worker.LIBRARIES[library].prepare(case, 1)
        result = call()
    except worker.Cannot as reason:
        return str(reason)
    except Exception as error:  # as the race takes it
        return f"{type(error).__name__}: {error}"
    try:
        worker.check(library, case, result)
    except worker.Cannot as reason:
        return f"checked: {reason}"
    return ""


@pytest.mark.parametrize("library", CLAIMED)
def test_what_a_library_claims_is_the_same_work(library: str) -> None:
    if not worker.LIBRARIES[library].installed:
        pytest.skip(f"{library} is not installed")
    cases = ONE_OF_EACH if library == "openvino" else SMALL  # it takes long to compile a model
    answers = {case.name: result_of(library, case) for case in cases}
    if library == "torchvision" and any("another build" in reason for reason in answers.values()):
        pytest.skip("torchvision's compiled part is made for another build of torch")
    done = [name for name, reason in answers.items() if not reason]
    assert len(done) >= CLAIMED[library], answers
    # Another type of elements is refused and not raced; other values would be.
    differ = {name: reason for name, reason in answers.items() if "another result" in reason}
    assert differ.keys() <= OTHER_RESULTS.get(library, set()), differ


def test_the_check_knows_one_wrong_element_of_every_kind_of_case() -> None:
    seen = set()
    for case in SMALL:
        kind = (case.operator, case.direction, case.dtype)
        if kind in seen or case.memory:
            continue
        seen.add(kind)
        result = worker.with_pooling(case, 1)()
        worker.check("pooling", case, result)
        arrays = result if isinstance(result, tuple) else (result,)
        first = arrays[0].copy()
        place = np.unravel_index(first.size // 2, first.shape)
        first[place] = first[place] + 5 if case.dtype == "uint8" and first[place] < 200 else first[place] / 2 - 1
        with pytest.raises(worker.Cannot):
            worker.check("pooling", case, (first, *arrays[1:]) if isinstance(result, tuple) else first)


@pytest.mark.parametrize("memory", VIEWS)
def test_views_hold_the_same_numbers_and_lie_as_they_say(memory: str) -> None:
    case = BenchmarkCase("x", "views", "max_pool", (2, 3, 8, 10), 3, 2, 1)
    plain, view = worker._input(case), worker._input(replace(case, memory=memory))
    assert np.array_equal(plain, view)
    assert plain.flags.c_contiguous
    assert not view.flags.c_contiguous
    item = view.itemsize
    strides = {
        "view of channels_last": (240 * item, item, 30 * item, 3 * item),
        "transposed": (240 * item, 80 * item, item, 8 * item),
        "every second column": (480 * item, 160 * item, 20 * item, 2 * item),
        "every second channel": (480 * item, 160 * item, 10 * item, item),
    }
    assert view.strides == strides[memory]


@pytest.mark.parametrize("case", [case for case in CASES if is_other(case)], ids=lambda case: case.name)
def test_the_shape_of_the_result_is_what_the_function_gives(case: BenchmarkCase) -> None:
    small = shrunk(case)
    result = worker.with_pooling(replace(small, direction="forward"), 1)()
    assert result.shape == small.laid_out(small.output_shape)
    assert small.moved[1] == math.prod(small.shape if case.direction == "backward" else result.shape) * 4


def test_libraries_that_read_tap_by_tap_are_not_asked_for_what_takes_them_seconds() -> None:
    large = next(case for case in CASES if case.name == "101x101 maximum, HD")
    usual = next(case for case in CASES if case.name == "31x31 maximum, HD")
    worker._short_enough(usual)
    with pytest.raises(worker.Cannot, match="tap by tap"):
        worker._short_enough(large)
