"""How many threads work, and that nobody can tell from the results; Python threads, forks and the GIL."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import config
from tests.conftest import (
    LAYOUTS,
    PATHS,
    Array,
    assert_same_bytes,
    channels_last,
    random_array,
)


@pytest.fixture(autouse=True)
def default_again() -> Iterator[None]:
    before = pooling.get_num_threads()
    yield
    pooling.set_num_threads(before)


# --- the same bytes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", PATHS)
def test_any_number_of_threads_makes_the_same_bytes(path: str, layout: str, always_parallel: None) -> None:
    geometry = PATHS[path]
    x = random_array(geometry.shape, np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    arguments = {**geometry.windows, "layout": layout}

    families = ("max_pool", "avg_pool") if geometry.adaptive else ("max_pool", "min_pool", "avg_pool")

    def everything() -> list[Array]:
        found: list[Array] = []
        for family in families:
            forward = getattr(pooling, geometry.function(family))
            backward = getattr(pooling, f"{geometry.function(family)}_backward")
            values = forward(x, **arguments)
            grad = random_array(values.shape, np.float32, 1)
            found += [values, backward(grad, x, **arguments)]
            if family == "avg_pool":
                found.append(forward(x.astype(np.int16), **arguments))
            else:
                values, indices = forward(x, **arguments, return_indices=True)
                found += [values, indices, backward(grad, x, **arguments, indices=indices)]
        rank: dict[str, Any] = {"dimensions": geometry.dimensions, "layout": layout}
        return [*found, pooling.global_max_pool(x, **rank), pooling.global_avg_pool(x, **rank)]

    with pooling.threads(1):
        expected = everything()
    for count in (2, 3, 7):
        with pooling.threads(count):
            for result, alone in zip(everything(), expected, strict=True):
                assert_same_bytes(result, alone)


def test_large_calls_on_several_threads_make_the_same_bytes() -> None:
    """Without any switch: large enough to be shared out."""
    x = random_array((2, 8, 112, 112), np.float32)
    with pooling.threads(1):
        expected = pooling.max_pool2d(x, 3, 2, 1), pooling.avg_pool2d(x, 3, 2, 1)
    for count in (2, 3, 7, 64):
        with pooling.threads(count):
            assert_same_bytes(pooling.max_pool2d(x, 3, 2, 1), expected[0])
            assert_same_bytes(pooling.avg_pool2d(x, 3, 2, 1), expected[1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((44, 301, 307), (3, 2, 1)),
        ((21, 301, 801), (2, 2)),
        ((3, 1201, 1303), (3, 1, 1)),
        ((3, 1301, 1301), (5, 1, 2)),
        ((700, 87, 91), (3, 2, 1)),
    ],
)
def test_what_is_too_large_for_the_cache_is_pooled_like_its_parts(
    shape: tuple[int, int, int], arguments: tuple[int, ...], layout: str
) -> None:
    # Large results are written past the caches, at addresses that are odd multiples of their elements' size.
    x = random_array((1, *shape), np.float32)
    x[..., ::97, ::89] = np.nan
    channels = -1 if layout == "channels_last" else 1
    large = np.ascontiguousarray(channels_last(x)) if layout == "channels_last" else x
    found = [
        *pooling.max_pool2d(large, *arguments, layout=layout, return_indices=True),
        pooling.max_pool2d(large, *arguments, layout=layout),
        pooling.avg_pool2d(large, *arguments, layout=layout),
        pooling.max_pool2d(large.astype("float16"), *arguments, layout=layout),
    ]
    for channel in {0, shape[0] // 2, shape[0] - 1}:
        part = np.ascontiguousarray(np.take(large, [channel], axis=channels))
        wanted = [
            *pooling.max_pool2d(part, *arguments, layout=layout, return_indices=True),
            pooling.max_pool2d(part, *arguments, layout=layout),
            pooling.avg_pool2d(part, *arguments, layout=layout),
            pooling.max_pool2d(part.astype("float16"), *arguments, layout=layout),
        ]
        for whole, small in zip(found, wanted, strict=True):
            assert_same_bytes(np.ascontiguousarray(np.take(whole, [channel], axis=channels)), small)


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_the_number_that_was_set_is_the_number_that_is_got() -> None:
    for count in (1, 2, 1024):
        pooling.set_num_threads(count)
        assert pooling.get_num_threads() == count
    pooling.set_num_threads(np.int64(3))
    assert pooling.get_num_threads() == 3


@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_a_block_has_its_own_number_and_gives_the_old_one_back() -> None:
    pooling.set_num_threads(5)
    with pooling.threads(3):
        assert pooling.get_num_threads() == 3
        with pooling.threads(2):
            assert pooling.get_num_threads() == 2
            pooling.set_num_threads(4)
            assert pooling.get_num_threads() == 2
        assert pooling.get_num_threads() == 3
    assert pooling.get_num_threads() == 4
    with pytest.raises(KeyError), pooling.threads(2):
        raise KeyError
    assert pooling.get_num_threads() == 4


@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_a_block_counts_in_its_own_thread_only() -> None:
    pooling.set_num_threads(4)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(pooling.get_num_threads).result() == 4
        with pooling.threads(2):
            assert executor.submit(pooling.get_num_threads).result() == 4
            pooling.set_num_threads(6)
            assert executor.submit(pooling.get_num_threads).result() == 6
            assert pooling.get_num_threads() == 2


@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_threads_started_inside_of_a_block_inherit_its_number_where_they_inherit_the_context() -> None:
    """Python 3.14 lets them by `-X thread_inherit_context`, and free-threaded by itself."""
    inherits = getattr(sys.flags, "thread_inherit_context", 0)
    pooling.set_num_threads(4)
    with pooling.threads(2), ThreadPoolExecutor(1) as executor:
        assert executor.submit(pooling.get_num_threads).result() == (2 if inherits else 4)


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, CORES),
        ({"POOLING_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"POOLING_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "4,2,1"}, 4),
        ({"POOLING_NUM_THREADS": "", "OMP_NUM_THREADS": ""}, CORES),
        ({"POOLING_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "many"}, CORES),
        ({"POOLING_NUM_THREADS": "100000"}, 1024),
    ],
)
def test_the_environment_sets_the_default(
    run_python: Callable[..., str], variables: dict[str, str], expected: int
) -> None:
    assert run_python("-c", "import pooling; print(pooling.get_num_threads())", **variables) == f"{expected}\n"


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5"])
def test_a_wrong_environment_variable_is_refused_in_words(run_python: Callable[..., str], text: str) -> None:
    with pytest.raises(AssertionError) as error:
        run_python("-c", "import pooling", POOLING_NUM_THREADS=text)
    assert f"ValueError: pooling: POOLING_NUM_THREADS={text!r} must be a whole number of at least 1" in str(error.value)


SQUARES = {"small": 8, "large": 256}
FAMILIES: dict[str, Callable[[Array], Any]] = {
    "maxima": lambda x: partial(pooling.max_pool2d, x, 3, 2, 1),
    "means": lambda x: partial(pooling.avg_pool2d, x, 2),
    "indices": lambda x: partial(pooling.max_pool2d, x, 3, 2, 1, return_indices=True),
    "gradients of maxima": lambda x: partial(pooling.max_pool2d_backward, x[:, :, ::2, ::2].copy(), x, 2),
    "gradients of means": lambda x: partial(pooling.avg_pool2d_backward, x[:, :, ::2, ::2].copy(), x, 2),
    "norms": lambda x: partial(pooling.lp_pool2d, x, 2, 2),
    "gradients of norms": lambda x: partial(pooling.lp_pool2d_backward, x[:, :, ::2, ::2].copy(), x, 2, 2),
    "blurs": lambda x: partial(pooling.blur_pool2d, x),
    "unpooling": lambda x: partial(pooling.max_unpool2d, *pooling.max_pool2d(x, 2, return_indices=True), 2),
    "fractional": lambda x: partial(pooling.fractional_max_pool2d, x, 2, output_ratio=0.5),
    "regions": lambda x: partial(
        pooling.roi_align, x, np.array([[0.0, 0.0, 6.0, 7.0]] * 4, np.float32), np.zeros(4, np.int64), 3
    ),
    "copies": lambda x: partial(pooling._core.gathered, x[..., ::2]),
}


@pytest.mark.skipif(pooling._core.THREADING != "team", reason="counts the threads of the team")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_small_calls_of_each_family_start_no_thread(family: str) -> None:
    for name, side in SQUARES.items():
        call = FAMILIES[family](random_array((1, 8, side, side), np.float32))
        pooling.set_num_threads(1)  # ends those that were started
        pooling.set_num_threads(2)
        call()
        assert pooling._core.count_workers() == (name == "large")


@pytest.mark.parametrize(
    ("shape", "dtype", "arguments", "several"),
    [
        ((1, 128, 28, 28), np.float32, (3, 1, 1), True),
        ((1, 128, 28, 28), np.float32, (1,), False),
        ((1, 64, 28, 28), np.float32, (2,), False),
        ((1, 128, 28, 28), np.float16, (2,), True),
        ((1, 16, 28, 28), np.float32, (3, 1, 1), False),
        ((1, 4, 28, 28), np.float32, (13, 1, 6), False),
        ((1, 16, 28, 28), np.float32, (13, 1, 6), True),
        ((1, 128, 28, 28), np.uint8, (2,), False),
        ((1, 128, 28, 28), np.uint8, (5, 1, 2), True),
    ],
)
@pytest.mark.skipif(pooling._core.THREADING != "team", reason="counts the threads of the team")
@pytest.mark.thread_unsafe(reason="sets how many threads work")
def test_the_work_of_windows_and_dtypes_decides(
    shape: tuple[int, ...], dtype: Any, arguments: tuple[int, ...], several: bool
) -> None:
    x = random_array(shape, dtype)
    pooling.set_num_threads(1)
    pooling.set_num_threads(2)
    pooling.max_pool2d(x, *arguments)
    assert pooling._core.count_workers() == several


# --- Python threads --------------------------------------------------------------------------------------------------


def test_python_threads_may_call_at_once() -> None:
    arrays = [random_array((2, 6, 60, 70), np.float32, seed) for seed in range(8)]

    def work(seed: int) -> list[Array]:
        with pooling.threads(1 + seed % 3):
            values, indices = pooling.max_pool2d(arrays[seed], 3, 2, 1, return_indices=True)
            mean = pooling.avg_pool2d(arrays[seed], 5, 1, 2)
            gradient = pooling.max_pool2d_backward(values, arrays[seed], 3, 2, 1, indices=indices)
            return [values, indices, mean, gradient]

    expected = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as executor:
        for _ in range(5):
            for results, alone in zip(executor.map(work, range(8)), expected, strict=True):
                for result, array in zip(results, alone, strict=True):
                    assert_same_bytes(result, array)


CALLS: dict[str, Callable[[Array, Array], Any]] = {
    "max_pool2d": lambda x, grad: pooling.max_pool2d(x, 3),
    "avg_pool2d": lambda x, grad: pooling.avg_pool2d(x, 3),
    "indices": lambda x, grad: pooling.max_pool2d(x, 3, return_indices=True),
    "max_pool2d_backward": lambda x, grad: pooling.max_pool2d_backward(grad, x, 3),
    "avg_pool2d_backward": lambda x, grad: pooling.avg_pool2d_backward(grad, x, 3),
    "global_avg_pool": lambda x, grad: pooling.global_avg_pool(x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.thread_unsafe(reason="keeps all threads but its own from their turns")
def test_other_python_threads_run_during_a_call(name: str, count: int) -> None:
    """Nobody takes the GIL away here, so the other thread gets a turn only if the call lets go of it."""
    x = np.zeros((4, 8, 384, 384), np.float32)
    grad = np.zeros((4, 8, 128, 128), np.float32)
    turns = 0
    done = threading.Event()

    def take_turns() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            # Lets go of the GIL; the calling thread does so only where we want to know it.
            time.sleep(1e-4)

    interval = sys.getswitchinterval()
    other = threading.Thread(target=take_turns)
    sys.setswitchinterval(1000)
    try:
        other.start()
        with pooling.threads(count):
            for _ in range(200):
                before = turns
                CALLS[name](x, grad)
                if turns > before:
                    break
            else:
                pytest.fail("the call never let another thread run")
    finally:
        done.set()
        sys.setswitchinterval(interval)
        other.join()


# --- forks ------------------------------------------------------------------------------------------------

FORKING = """
import multiprocessing
import numpy as np
import pooling

x = np.random.default_rng(0).standard_normal((4, 16, 112, 112)).astype(np.float32)

def work(depth=1):
    values, indices = pooling.max_pool2d(x, 3, 2, 1, return_indices=True)
    results = [values, indices, pooling.max_pool2d_backward(values, x, 3, 2, 1), pooling.avg_pool2d(x, 3, 2, 1)]
    results.append(pooling.avg_pool2d_backward(values, x, 3, 2, 1))
    return pooling.get_num_threads(), [result.tobytes() for result in results]

if __name__ == "__main__":
    pooling.set_num_threads(2)
    before, expected = work()
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        answers = [pool.apply_async(work) for _ in range(4)]
        for answer in answers:
            inside, results = answer.get(timeout=100)
            assert results == expected
            print(inside)
    after, results = work()
    assert results == expected
    print(before, after)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_after_a_parallel_call_has_threads_of_its_own(
    run_python: Callable[..., str], tmp_path: Any
) -> None:
    script = tmp_path / "forking.py"
    script.write_text(FORKING.replace("{method}", "fork"))
    assert run_python(str(script)).split() == ["2" if has_threading() else "1"] * 6


def test_a_spawned_child_has_the_default_again(run_python: Callable[..., str], tmp_path: Any) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(FORKING.replace("{method}", "spawn"))
    answer = run_python(str(script), POOLING_NUM_THREADS="3").split()
    assert answer == (["3"] * 4 + ["2"] * 2 if has_threading() else ["1"] * 6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"])
def test_the_child_of_any_fork_begins_with_no_workers(run_python: Callable[..., str], fork: str) -> None:
    """Also while another thread has the team, or by a fork that Python knows nothing of."""
    code = """
import ctypes, os, sys, threading
import numpy as np
import pooling
from pooling import _core
x = np.random.default_rng(0).standard_normal((4, 16, 112, 112)).astype(np.float32)
expected = pooling.max_pool2d(x, 3, 1, 1).tobytes()
workers = 2 if _core.THREADING == "team" else 0
done = False
def others():
    while not done:
        pooling.max_pool2d(x, 3, 1, 1)
with pooling.threads(3):
    other = threading.Thread(target=others)
    if "PyDLL" not in "FORK":  # the interpreter of such a child waits for its other threads
        other.start()
    codes = []
    for _ in range(20):
        pooling.max_pool2d(x, 3, 1, 1)
        child = FORK
        if child == 0:
            right = _core.count_workers() == 0 and pooling.get_num_threads() == 3
            for _ in range(3):
                right &= pooling.max_pool2d(x, 3, 1, 1).tobytes() == expected
            right &= _core.count_workers() == workers
            os._exit(0 if right else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    done = True
    if other.ident:
        other.join()
    assert pooling.max_pool2d(x, 3, 1, 1).tobytes() == expected
print(codes == [0] * 20, _core.count_workers() == workers)
"""
    assert run_python("-c", code.replace("FORK", fork)) == ("True True\n" if has_threading() else "False True\n")


def has_threading() -> bool:
    return pooling._core.THREADING != "none"


def test_show_config_tells_the_number_of_threads(capsys: pytest.CaptureFixture[str]) -> None:
    pooling.set_num_threads(1)
    pooling.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"pooling {pooling.__version__}"
    assert any(re.fullmatch(r"  threads:   1( \(.+\))?", line) for line in lines)


@pytest.mark.parametrize(
    ("quota", "shown"), [(None, ""), (1.5, "the time of 1.5 processors"), (2.0, "of 2 processors")]
)
def test_show_config_tells_the_quota_of_a_container(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quota: float | None, shown: str
) -> None:
    monkeypatch.setattr(config, "cpu_quota", lambda: quota)
    assert config.config()["cpu_quota"] == quota
    pooling.show_config()
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  threads:"))
    assert shown in line
    assert ("control group" in line) == bool(shown)


def test_a_build_without_atomic_operations_runs_on_one_thread_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pooling._core, "THREADING", "none")
    with pooling.threads(3):
        assert pooling.get_num_threads() == 1
        pooling.show_config()
    assert (
        "  threads:   1 (always: the compiler of this build has neither atomic operations nor OpenMP)"
        in capsys.readouterr().out
    )
