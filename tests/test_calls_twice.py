"""The plugin of .ci that makes the calls of tests by another interpreter as well, and compares."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / ".ci"
pytestmark = [
    pytest.mark.skipif(not (FOLDER / "calls_twice.py").exists(), reason="needs the checkout"),
    pytest.mark.skipif(os.name == "nt", reason="the other interpreter is a script of the shell"),
]

FILE = """
import threading

import numpy as np
import pooling
import pytest

X = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)

def test_views():
    assert pooling.max_pool2d(X[:, ::-1, :, ::2], (2, 1)).shape == (1, 2, 2, 2)

def test_what_is_written_to():
    out = np.full((1, 2, 2, 2), 7, np.float32)
    assert pooling.avg_pool2d(X, 2, out=out) is out
    assert out[0, 0, 0, 0] == 2.5

def test_a_layer():
    assert pooling.MaxPool2d(2)(X)[0, 0, 0, 0] == 5

def test_an_error():
    with pytest.raises(ValueError, match="max_pool2d: "):
        pooling.max_pool2d(X, 9)

def test_random_draws():
    pooling.fractional_max_pool2d(np.arange(9e4).reshape(1, 1, 300, 300), 2, output_size=99)

def test_what_cannot_be_sent():
    class Strange:
        def __array__(self, dtype=None, copy=None):
            return X

    pooling.max_pool2d(Strange(), 2)

class Elsewhere:
    __array_interface__ = X.__array_interface__

def test_an_address_of_this_process():
    pooling.max_pool2d(Elsewhere(), 2)

def test_bytes_that_are_no_numbers():
    with pytest.raises(TypeError, match="max_pool2d: "):
        pooling.max_pool2d(np.zeros((1, 1, 4, 4), "V4"), 2)

def test_an_argument_of_another_name():
    with pytest.raises(TypeError, match="block_reduce: "):
        pooling.block_reduce(X, 2, reducer="max")

def test_a_thread():
    x = X.copy()
    x.flags.writeable = False
    thread = threading.Thread(target=pooling.min_pool2d, args=(x, 2))
    thread.start()
    thread.join()
"""
OTHER = """#!/bin/sh
exec {python} -c '
import calls_twice, numpy, pooling
from pooling.families import extremes, means
right, least = extremes.max_pool2d, extremes.min_pool2d
{edit}
calls_twice.serve()'
"""
EDITS = {
    "": "calls of 4 array functions: 3 made here alone, 7 made twice",
    "extremes.max_pool2d = lambda x, *a, **k: right(x, *a, **k).astype(float)": "2 different, 3 made here alone",
    "means.avg_pool2d = lambda x, *a, out: out": "1 different, 3 made here alone",
    # In a thread, whose errors are but a warning, and to an array that nobody may write to.
    """def write(x, *a):
        found, x.flags.writeable = least(x, *a), True
        x += 1
        x.flags.writeable = False
        return found
extremes.min_pool2d = write""": "1 different, 3 made here alone",
    # Here the call is made once more, to see whether it always answers the same.
    "from pooling.families import blocks; blocks.block_reduce = lambda *a, **k: 0": "1 different, 3 made here alone",
    "del means.avg_pool2d": "1 different, 3 made here alone",
    "means.avg_pool2d = lambda x, *a, out: {}": "1 different, 3 made here alone",
    # Nothing is compared from then on.
    "import os; means.avg_pool2d = lambda *a, **k: os._exit(0)": "7 different, 2 made here alone",
}


@pytest.mark.parametrize("edit", EDITS)
def test_another_answer_is_a_failure(tmp_path: Path, edit: str) -> None:
    Path(tmp_path, "test_some.py").write_text(FILE)
    other = Path(tmp_path, "other")
    other.write_text(OTHER.format(python=sys.executable, edit=edit))
    other.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "calls_twice",
        f"--other={other}",
    ]
    answer = subprocess.run(
        [*command, "test_some.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert EDITS[edit] in answer.stdout, answer.stdout + answer.stderr
    assert answer.returncode == ("different" in answer.stdout)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("calls_twice")
    sys.modules.pop("calls_twice", None)


def test_arrays_arrive_as_they_lie(plugin: Any) -> None:
    memory = np.frombuffer(bytearray(range(200)), np.uint8)
    base = memory[1:161].view(">f4").reshape(5, 8)
    fixed = base[::-2, ::3]
    fixed.flags.writeable = False
    given = [base, fixed, np.broadcast_to(memory[180:181], (3, 3)), memory[170:160:-1], memory[:0], base]
    message, _ = plugin.packed(given)
    arrived, _ = plugin.unpacked(message)
    for here, there in zip(given, arrived, strict=True):
        assert (here.dtype, here.shape, here.strides) == (there.dtype, there.shape, there.strides)
        assert (here.ctypes.data - there.ctypes.data) % 64 == 0 or not here.size
        assert here.flags.writeable == there.flags.writeable
        np.testing.assert_array_equal(here.view(f"u{here.itemsize}"), there.view(f"u{here.itemsize}"))
    # What shares memory shares it there.
    assert arrived[0] is arrived[5]
    arrived[0][:] = 1
    assert (arrived[1] == 1).all()


def test_nan_is_one_number_and_zeros_are_two(plugin: Any) -> None:
    quiet = np.array([np.nan, -np.nan], np.float32)
    assert plugin.seen(quiet) == plugin.seen(-quiet)
    assert plugin.seen(np.zeros(1)) != plugin.seen(-np.zeros(1))
    assert plugin.seen(np.zeros((2, 3))) != plugin.seen(np.zeros((2, 3), order="F"))
    assert plugin.seen((quiet, 1)) != plugin.seen([quiet, 1])


def test_what_cannot_be_told_apart_is_not_taken_for_equal(plugin: Any) -> None:
    for unknown in (iter([1.0]), {"a": np.zeros(1)}, object()):
        with pytest.raises(plugin.Difference):
            plugin.seen(unknown)
    assert plugin.seen(1.0) != plugin.seen(np.float64(1)) != plugin.seen(np.array(1.0))
    types = pytest.importorskip("ml_dtypes")
    assert plugin.seen(np.zeros(2, types.int4)) != plugin.seen(np.ones(2, types.int4))
    # Some pickles of NumPy, as of masked arrays of bfloat16, are read nowhere.
    assert plugin.again(b"")[0] == "no answer"
