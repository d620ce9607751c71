"""A system that has no memory or no thread left: a call is right, or raises MemoryError, and keeps nothing.

tests/failures.c, preloaded into a process of its own, makes each allocation of the compiled modules fail in turn.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pooling

SOURCE = Path(__file__).with_name("failures.c")

PROLOGUE = """
import ctypes, gc, sys
sys.path.insert(0, sys.argv[1])
import pooling
from many_calls import CALLS, equal
from pooling.calls import forget

system = ctypes.CDLL(None)
"""

MEMORY = """
pooling.set_num_threads(3)
refused = 0
for name, call in CALLS.items():
    expected = call()
    for first in (True, False):
        forget()
        gc.collect()
        number, count = 0, 1
        if not first:
            call()
        while number < count:
            if first:
                forget()
                gc.collect()
            held = system.failures_held()
            system.failures_fail(number)
            try:
                assert equal(call(), expected), f"{name}: another result"
            except MemoryError as error:
                refused += 1
                assert str(error).startswith("no memory for"), f"{name}: {error!r}"
                del error
            count = max(count, system.failures_asked())
            assert count < 100, f"{name} asks for memory again and again"
            system.failures_fail(-1)
            if first:
                forget()
                gc.collect()
            left = system.failures_held() - held
            assert left == 0, f"{name}: {left} pieces of memory are left of a call whose allocation {number} failed"
            number += 1
        assert equal(call(), expected), f"{name}: another result after a failure"
print("refused", refused)
"""

THREADS = """
expected = {name: call() for name, call in CALLS.items()}
for allowed in (0, 1):
    system.failures_allow_threads(allowed)
    pooling.set_num_threads(4)
    for name, call in CALLS.items():
        assert equal(call(), expected[name]), f"{name}: another result with {allowed} threads to be had"
    system.failures_allow_threads(100)
    for name, call in CALLS.items():
        assert equal(call(), expected[name]), f"{name}: another result where threads are to be had again"
    pooling.set_num_threads(1)
print("done")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what is preloaded."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    if sys.platform != "linux" or not shutil.which(compiler[0]):
        pytest.skip("needs Linux and a C compiler")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("another library is preloaded")
    made = tmp_path_factory.mktemp("failures") / "failures.so"
    subprocess.run([*compiler, "-O1", "-shared", "-fPIC", SOURCE, "-o", made, "-ldl"], check=True)
    return made


def said(library: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + code, str(SOURCE.parent)],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(Path(pooling.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_call_without_memory_is_refused_and_keeps_nothing(library: Path) -> None:
    name, refused = said(library, MEMORY).split()
    assert name == "refused"
    assert int(refused) > 50


@pytest.mark.skipif(pooling._core.THREADING != "team", reason="threads of its own are those of the team")
def test_threads_that_cannot_be_started_are_not_needed(library: Path) -> None:
    assert said(library, THREADS) == "done\n"
