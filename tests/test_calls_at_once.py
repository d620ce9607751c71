"""Calls that several Python threads make at the same time: first ones, while calls are forgotten, and while others set
how many threads work. A free-threaded interpreter runs them side by side; any other takes turns at every step."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import calls, reference
from tests.conftest import lock_is_on, random_array
from tests.many_calls import CALLS, equal

THREADS = 4
ROUNDS = 60

X = random_array((2, 3, 13, 14), np.float32)
GRAD = random_array((2, 3, 7, 7), np.float32, 1)
WINDOWS = (3, 2, 1)
FIRST: dict[str, Callable[[Any], Any]] = {
    "maxima": lambda of: of.max_pool2d(X, *WINDOWS),
    "indices": lambda of: of.max_pool2d(X, *WINDOWS, return_indices=True),
    "means": lambda of: of.avg_pool2d(X, *WINDOWS),
    "gradients of maxima": lambda of: of.max_pool2d_backward(GRAD, X, *WINDOWS),
    "gradients of means": lambda of: of.avg_pool2d_backward(GRAD, X, *WINDOWS),
    "gradients of means that are divided": lambda of: of.avg_pool2d_backward(
        GRAD, X, *WINDOWS, count_include_pad=False
    ),
    "gradients of means of numbers": lambda of: of.avg_pool2d_backward(GRAD, X, *WINDOWS, nan="ignore"),
    "adaptive means": lambda of: of.adaptive_avg_pool2d(X, (5, 6)),
    "norms": lambda of: of.lp_pool2d(X, 3.0, 3, 2),
}


@pytest.fixture(autouse=True)
def turns_at_every_step() -> Iterator[None]:
    interval, count = sys.getswitchinterval(), pooling.get_num_threads()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    pooling.set_num_threads(count)


def at_once(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run `work(0)`, `work(1)` and so on in a thread each; raise what the first of them raised."""
    raised: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A broken barrier is what the others saw of the first error.
    for error in sorted(raised, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error


def first_calls_at_once(call: Callable[[], Any], check: Callable[[Any], bool], rounds: int = ROUNDS) -> None:
    """Let each thread make the first call of a signature, when all have come and calls are forgotten."""
    barrier = threading.Barrier(THREADS, calls.forget)

    def work(_: int) -> None:
        try:
            for _ in range(rounds):
                barrier.wait(60)
                assert check(call())
        except BaseException:
            barrier.abort()
            raise

    at_once(work)


def as_the_oracle(name: str) -> Callable[[Any], bool]:
    """Compare results with those of the second implementation."""
    expected = FIRST[name](reference)
    expected = expected if isinstance(expected, tuple) else (expected,)

    def check(result: Any) -> bool:
        found = result if isinstance(result, tuple) else (result,)
        return all(np.allclose(one, other, rtol=1e-5) for one, other in zip(found, expected, strict=True))

    return check


@pytest.mark.parametrize("name", FIRST)
def test_all_threads_make_the_first_call_of_a_signature(name: str) -> None:
    first_calls_at_once(lambda: FIRST[name](pooling), as_the_oracle(name))


def test_some_ask_for_indices_in_their_first_call_and_others_do_not() -> None:
    """Both are calls of one signature, and set the same words of it."""
    plain, indexed = as_the_oracle("maxima"), as_the_oracle("indices")
    barrier = threading.Barrier(THREADS, calls.forget)

    def work(number: int) -> None:
        for _ in range(ROUNDS):
            barrier.wait(60)
            if number % 2:
                assert indexed(FIRST["indices"](pooling))
            else:
                assert plain(FIRST["maxima"](pooling))

    at_once(work)


@pytest.mark.parametrize("name", CALLS)
def test_the_first_calls_of_every_family(name: str) -> None:
    expected = CALLS[name]()
    first_calls_at_once(CALLS[name], lambda result: equal(result, expected), 2)


@pytest.mark.parametrize("name", FIRST)
def test_calls_are_forgotten_meanwhile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread has just found stays, whoever forgets it, or remembers another in its place."""
    monkeypatch.setattr(calls, "REMEMBERED", 2)
    check = as_the_oracle(name)
    others = [random_array((1, 1, 8, side), np.float32) for side in range(8, 14)]
    done = threading.Event()

    def crowd_out() -> None:
        while not done.is_set():
            for other in others:
                assert pooling.max_pool2d(other, 2).shape == (1, 1, 4, other.shape[-1] // 2)
            calls.forget()

    def call() -> None:
        try:
            for _ in range(10 * ROUNDS):
                assert check(FIRST[name](pooling))
        finally:
            done.set()

    at_once(lambda number: call() if number else crowd_out())


@pytest.mark.parametrize("name", FIRST)
def test_the_number_of_threads_is_set_meanwhile(name: str, always_parallel: None) -> None:
    check = as_the_oracle(name)
    done = threading.Event()

    def set_numbers() -> None:
        while not done.is_set():
            for count in (1, 2, 3):
                pooling.set_num_threads(count)
                assert 1 <= pooling.get_num_threads() <= 3

    def call() -> None:
        try:
            for _ in range(ROUNDS):
                calls.forget()
                for _ in range(5):
                    assert check(FIRST[name](pooling))
        finally:
            done.set()

    at_once(lambda number: call() if number > 1 else set_numbers())


FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(not FREE, reason="needs a free-threaded interpreter")
def test_no_module_turns_the_lock_of_the_interpreter_on(run_python: Callable[..., str]) -> None:
    code = "import sys, numpy, pooling; pooling.max_pool2d(numpy.zeros((1, 1, 4, 4)), 2); print(sys._is_gil_enabled())"
    assert run_python("-W", "error", "-c", code) == "False\n"


@pytest.mark.parametrize(
    ("free", "on", "asked", "expected"),
    [(1, True, None, True), (1, True, "1", False), (1, False, None, False), (0, True, None, False)],
)
def test_a_lock_that_is_on_is_noticed(
    free: int, on: bool, asked: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a file of tests imports may turn it on, and it stays on; each file is asked about that at its end."""
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": free}.get)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: on, raising=False)
    monkeypatch.delenv("PYTHON_GIL", raising=False)
    if asked:
        monkeypatch.setenv("PYTHON_GIL", asked)
    assert lock_is_on() == expected
