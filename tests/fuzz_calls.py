"""Call everything with random arguments, right ones and wrong ones, and look for what dies, hangs or raises nonsense.

Usage: python tests/fuzz_calls.py [MINUTES] [--jobs N] [--seed N] [--only SEED]. In the manner of fusil: a process for
each seed makes some hundred calls of the public functions and layers, of the entries of the compiled modules with
arguments that a right call gave them and some of these exchanged, and of several threads at once, one of which changes
the elements meanwhile. A public function may raise TypeError, ValueError and MemoryError, and nothing else; an entry of
a compiled module whatever it likes but SystemError, and take as long as it is told to. Nothing may end the process, and
no public function take more than a minute.

What is found is printed with its seed, the number of the call and its arguments; exit status 1. `--only SEED` makes the
calls of one seed again and shows each of them before it is made.
"""

# Lists of words are easier to read without quotation marks.
# ruff: noqa: SIM905

from __future__ import annotations

import argparse
import ast
import faulthandler
import inspect
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from many_calls import CALLS
from test_odd_arguments import ODD

import pooling
from pooling import _core, filters
from pooling.dispatch import kernels
from pooling.signs import short_repr

CALLS_OF_A_SEED = 400
SECONDS = 60
"""That a call may take."""
MEMORY = 6 << 30
"""Bytes of address space; beyond it, NumPy and the modules raise MemoryError."""
FOUND = 3
"""Exit status of a seed some of whose calls raised what they must not."""
SHARE_OF_ODD = 0.06
DTYPES = "float32 float64 float16 uint8 int8 int16 uint16 int32 uint32 int64 uint64 bool".split()
OTHER_DTYPES = ("complex64", "longdouble", "object", "S3", "U2", "M8[s]", "V5", ">f4", ">i2", "f4,f4")
ODD_VALUES = [value for name, value in ODD.items() if name not in ("deep_tuple", "generator")]
NUMBERS = (0, 1, 2, 3, 4, 7, 16, 17, 100, -1, -2, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63)
REALS = (0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 3.0, -1.0, 1e-300, 1e300, 5e-324, float("inf"), -float("inf"), float("nan"))
WORDS = [
    "",
    *"mean sum min max range median mode rms std var first count partial trim error half_even half_up floor".split(),
    *"trunc channels_first channels_last HWC CHW NHWC same same_upper same_lower propagate ignore valid torch".split(),
    *"onnx tensorflow reflect constant nearest mirror wrap edge replicate zeros zyx".split(),
]
KINDS = {
    name: kind
    for kind, names in {
        "array": "input array grad_output weights x",
        "indices": "indices batch_indices",
        "boxes": "rois",
        "room": "out",
        "cells": "footprint structure",
        "word": "func edge rounding layout mode nan source target",
        "real": "norm_type p eps spatial_scale min_valid nodata cval output_ratio",
        "flag": "ceil_mode return_indices count_include_pad return_valid exact aligned",
        "dtype": "dtype",
        "sizes or none": "divisor_override levels axis axes origin output rng _random_samples output_size",
        "sizes or a word": "padding",
    }.items()
    for name in names.split()
}
"""What arguments are, by their names; of any other name they are sizes."""
PUBLIC = [getattr(pooling, name) for name in pooling.__all__ if callable(getattr(pooling, name))]
PUBLIC.remove(pooling.show_config)  # it prints
PUBLIC += [getattr(filters, name) for name in filters.__all__]
PUBLIC.remove(pooling.LayoutWarning)
LAYERS = [kind for kind in PUBLIC if isinstance(kind, type) and issubclass(kind, pooling.Layer)]
ENTRIES = [name for name in dir(kernels) if inspect.isroutine(getattr(kernels, name)) and not name.startswith("__")]
CORE = [
    *(_core.built_levels, _core.supported_levels, _core.cache_size, _core.compiler, _core.get_num_threads, _core.Plan),
    *(_core.Buffer, _core.Entry, _core.Runner, _core.threads_for, _core.keep_workers, _core.count_workers),
    *(_core.signature, _core.gathered, _core.set_serial_bytes, _core.DefaultMode, kernels.Runner, kernels.Strided),
]
ALLOWED = (TypeError, ValueError, MemoryError)


class Fuzzer:
    """Random calls of one seed."""

    def __init__(self, seed: int) -> None:
        self.drawn = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.given: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    # -----------------------------------------------------------------------------------------------------------------
    # Values

    def chance(self, share: float) -> bool:
        return self.drawn.random() < share

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.drawn.choice((0, 1, 2, 3, 3, 4, 4, 4, 5, 6, 7)) if rank is None else rank
        longest = (0, 400, 60, 24, 14, 9, 6, 4)[min(rank, 7)]
        return tuple(0 if self.chance(0.03) else self.drawn.randint(1, longest) for _ in range(rank))

    def dtype(self) -> np.dtype[Any]:
        if self.chance(0.05):
            return np.dtype(self.drawn.choice(OTHER_DTYPES))
        return np.dtype("float32" if self.chance(0.4) else self.drawn.choice(DTYPES))

    def array(self, shape: tuple[int, ...] | None = None, dtype: np.dtype[Any] | None = None) -> Any:
        shape = self.shape() if shape is None else shape
        dtype = self.dtype() if dtype is None else dtype
        size = int(np.prod(shape, dtype=np.int64))
        if dtype.hasobject:
            made = np.empty(shape, dtype)
        else:
            # Any bits: infinities, NaN, subnormal numbers, the least integers.
            bits = self.numbers.integers(0, 256, size * dtype.itemsize, np.uint8)
            if dtype.kind == "b":
                bits &= 1
            made = bits.view(dtype).reshape(shape)
            if dtype.kind == "f" and self.chance(0.7):
                made = self.numbers.normal(size=shape).astype(dtype)
        return self.changed(made)

    def changed(self, array: Any) -> Any:
        """Return elements that lie in memory another way, or an array of another kind."""
        way = self.drawn.randint(0, 16)
        if way == 1:
            return array.T
        if way == 2 and array.ndim:
            return array[::-1]
        if way == 3 and array.ndim:
            return array[..., ::2]
        if way == 4:
            return np.asfortranarray(array)
        if way == 5 and array.ndim:
            return np.broadcast_to(array[:1], array.shape) if len(array) else array
        if way == 6 and not array.dtype.hasobject:
            bits = np.zeros(array.nbytes + 1, np.uint8)
            unaligned = bits[1:].view(array.dtype).reshape(array.shape)
            unaligned[...] = array
            return unaligned
        if way == 7:
            array.flags.writeable = False
        if way == 8 and array.dtype.itemsize > 1 and not array.dtype.hasobject:
            return array.astype(array.dtype.newbyteorder())
        if way == 9 and not array.dtype.hasobject and array.dtype.names is None:
            return np.ma.array(array, mask=self.numbers.random(array.shape) < 0.3)
        if way == 10 and array.ndim > 1:
            return np.moveaxis(array, 1, -1)
        if way == 11 and not array.dtype.hasobject and array.ndim and array.nbytes:
            return memoryview(array) if array.dtype.kind in "fiub" else array
        if way == 12 and array.size < 200:
            return array.tolist()
        return array

    def whole(self) -> int:
        return self.drawn.choice(NUMBERS) if self.chance(0.15) else self.drawn.randint(0, 5)

    def sizes(self, rank: int) -> Any:
        """Return a size, or several in a sequence of some kind, of which some may be pairs."""
        if self.chance(0.5):
            return self.whole()
        length = rank if self.chance(0.9) else self.drawn.randint(0, 7)
        if self.chance(0.1):
            return [(self.whole(), self.whole()) for _ in range(length)]
        numbers = [self.whole() for _ in range(length)]
        kinds: list[Any] = [tuple, list]
        if all(abs(number) < 2**63 for number in numbers):
            kinds.append(np.array)
        return self.drawn.choice(kinds)(numbers)

    def value(self, name: str, rank: int) -> Any:
        """Return something that an argument of this name might be, or anything."""
        if self.chance(SHARE_OF_ODD):
            return self.drawn.choice(ODD_VALUES)
        match KINDS.get(name):
            case "array":
                return self.array(self.shape(rank + 2) if self.chance(0.7) else None)
            case "indices":
                most = self.drawn.choice((1, 4, 50, 2**40))
                places = self.numbers.integers(-1, most, self.shape(rank + 2))
                return self.changed(places.astype(self.drawn.choice(("i8", "i4"))))
            case "boxes":
                boxes = self.numbers.normal(3, 5, (self.drawn.randint(0, 6), self.drawn.choice((4, 5))))
                boxes[:, 0] = np.abs(np.trunc(boxes[:, 0])) if self.chance(0.7) else boxes[:, 0]
                return self.changed(boxes.astype("f4"))
            case "room":
                return None if self.chance(0.7) else self.array()
            case "cells":
                return self.array(self.shape(rank), np.dtype(bool))
            case "word":
                return self.drawn.choice(WORDS)
            case "real":
                return self.drawn.choice(REALS) if self.chance(0.8) else self.sizes(rank)
            case "flag":
                return self.chance(0.5)
            case "dtype":
                return self.dtype()
            case "sizes or none" if self.chance(0.4):
                return None
            case "sizes or a word" if self.chance(0.2):
                return self.drawn.choice(WORDS)
        return self.sizes(rank)

    def arguments(self, called: Any, rank: int) -> dict[str, Any]:
        """Return arguments by name: those that are asked for, and some others."""
        found = {}
        for name, parameter in inspect.signature(called).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if parameter.default is parameter.empty or self.chance(0.35):
                found[name] = self.value(name, rank)
        if self.chance(0.01):
            found[self.drawn.choice(WORDS) or "x"] = 1
        return found

    # -----------------------------------------------------------------------------------------------------------------
    # Calls

    def public(self) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        """Make calls of one public name: a function and its gradient, or a layer."""
        called = self.drawn.choice(PUBLIC)
        name = called.__name__
        rank = int(name[-2]) if name[-1] in "dD" and name[-2:-1].isdigit() else self.drawn.randint(1, 3)
        if called in LAYERS:
            yield from self.layer(called, rank)
            return
        if name == "set_num_threads":
            yield name, called, {"n": self.drawn.randint(-1, 9)}
            return
        given = self.arguments(called, rank)
        if name.endswith("_backward") and self.chance(0.8):
            given |= self.of_forward(getattr(pooling, name.removesuffix("_backward"), None), given, rank)
        yield name, called, given

    def of_forward(self, forward: Any, given: dict[str, Any], rank: int) -> dict[str, Any]:
        """Return the result of a forward function as its gradient, and its indices, one of which may be wrong."""
        taken = {
            name: value for name, value in given.items() if forward and name in inspect.signature(forward).parameters
        }
        found: dict[str, Any] = {}
        try:
            if "indices" in given and self.chance(0.8):
                made, indices = forward(**(taken | {"return_indices": True}))
                if self.chance(0.4) and indices.size:
                    indices = indices.copy()
                    place = self.drawn.randrange(indices.size)
                    indices.flat[place] = self.drawn.choice((-1, -(2**63), 2**63 - 1, int(indices.max()) + 1, 10**6))
                found["indices"] = self.changed(indices)
            else:
                made = forward(**taken)
            found["grad_output"] = self.changed(np.ones_like(made)) if self.chance(0.9) else self.array()
        except ALLOWED:
            pass
        return found

    def layer(self, kind: Any, rank: int) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        if kind is pooling.Layer:
            return
        if kind is pooling.Sequential:
            layers = [self.value("kernel_size", rank) if self.chance(0.2) else pooling.MaxPool2d(2) for _ in range(2)]
            yield "Sequential", lambda layers: kind(*layers)(np.ones((1, 1, 8, 8), np.float32)), {"layers": layers}
            return
        made: list[Any] = []
        given = self.arguments(kind, rank)
        yield kind.__name__, lambda **given: made.append(kind(**given)), given
        for layer in made:
            text = f"{kind.__name__}({shown(given)})"
            further = [self.array(self.shape(rank + 2))] + [self.value("indices", rank)] * self.chance(0.2)
            yield f"{text}.__call__", layer, {"*": further}
            yield f"{text}.output_shape", layer.output_shape, {"input_shape": self.sizes(rank + 2)}

    def compiled(self) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        """Make a call of an entry of a compiled module: with what a right call gave it, some of it exchanged."""
        if self.chance(0.2):
            called = self.drawn.choice(CORE)
            values = [self.value(self.drawn.choice(("input", "kernel_size", "func", "p")), 2)
                      for _ in range(self.drawn.randint(0, 9))]  # fmt: skip
            yield f"_core.{called.__name__}", called, {"*": values}
            return
        recorded = [name for name, calls in self.given.items() if calls]
        name = self.drawn.choice(recorded)
        positional, keywords = self.drawn.choice(self.given[name])
        changed = list(positional)
        for _ in range(self.drawn.choice((1, 1, 2, 3))):
            place = self.drawn.randrange(len(changed)) if changed else 0
            if changed:
                changed[place] = self.exchanged(changed[place], name, place)
        yield f"kernels.{name}", getattr(kernels, name), {"*": changed, **keywords}

    def exchanged(self, value: Any, name: str, place: int) -> Any:
        """Return another value in place of a right one: of the same kind, of another call, or any."""
        if self.chance(0.2):
            return self.drawn.choice(ODD_VALUES)
        if self.chance(0.3):
            others = [given[place] for given, _ in self.given[name] if len(given) > place]
            return self.drawn.choice(others)
        if type(value) is np.ndarray:
            if value.dtype.kind in "iu" and value.size and self.chance(0.6):
                wrong = value.copy()
                most = np.iinfo(value.dtype).max
                wrong.flat[self.drawn.randrange(value.size)] = self.drawn.choice((0, 1, min(10**6, most), most))
                return wrong
            return value[: len(value) // 2] if value.ndim and self.chance(0.5) else self.array(value.shape[:-1])
        if type(value) not in (int, tuple, list):
            return self.drawn.choice(ODD_VALUES)
        if type(value) is int:
            return self.drawn.choice((value + 1, value - 1, *NUMBERS))
        other = list(value)
        if other:
            which = self.drawn.randrange(len(other))
            other[which] = self.exchanged(other[which], name, place)
            if self.chance(0.3):
                del other[which]
        return type(value)(other)

    def record(self) -> None:
        """Make right calls, and keep what they give to the kernels."""
        before = {name: getattr(kernels, name) for name in ENTRIES}
        for name, entry in before.items():
            kept = self.given.setdefault(name, [])

            def recorder(*given: Any, _entry: Any = entry, _kept: Any = kept, **keywords: Any) -> Any:
                if len(_kept) < 12:
                    _kept.append((given, keywords))
                return _entry(*given, **keywords)

            setattr(kernels, name, recorder)
        try:
            pooling.calls.forget()
            for call in CALLS.values():
                call()
        finally:
            for name, entry in before.items():
                setattr(kernels, name, entry)


def shown(given: dict[str, Any]) -> str:
    """Write arguments down, those that are long in brief."""
    parts = []
    for name, value in given.items():
        for each in value if name == "*" else [value]:
            try:
                if isinstance(each, (np.ndarray, memoryview)):
                    array = np.asarray(each)
                    text = f"{type(each).__name__} {array.dtype} {array.shape} {array.strides}"
                else:
                    text = short_repr(each)
            except BaseException as error:
                text = f"<{type(each).__name__}: {type(error).__name__}>"
            parts.append(text if name == "*" else f"{name}={text}")
    return ", ".join(parts)


def arrays_of(given: dict[str, Any]) -> list[Any]:
    values = [*given.get("*", []), *(value for name, value in given.items() if name != "*")]
    return [each for each in values if type(each) is np.ndarray and each.flags.writeable and not each.dtype.hasobject]


def make(called: Callable[..., Any], given: dict[str, Any]) -> None:
    named = {name: value for name, value in given.items() if name != "*"}
    result = called(*given.get("*", ()), **named)
    if isinstance(result, np.ndarray) and result.dtype.kind in "fiub":
        result.sum()  # it can be read from end to end


def make_at_once(called: Callable[..., Any], given: dict[str, Any], numbers: np.random.Generator) -> None:
    """Make a call in three threads, while one more changes elements of its arrays."""
    arrays = arrays_of(given)
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            for array in arrays:
                if array.size:
                    array.flat[int(numbers.integers(array.size))] = array.dtype.type(
                        int(numbers.integers(-1, 100)) % 128
                    )

    with ThreadPoolExecutor(4) as pool:
        futures = []
        try:
            pool.submit(change)
            futures += [pool.submit(make, called, given) for _ in range(3)]
            for future in futures:
                future.result()
        finally:
            wait(futures)
            ended.set()


def child(seed: int, journal: Any, echo: bool) -> int:
    """Make the calls of a seed; return how many raised what they must not."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # it has an address space of its own
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.enable(all_threads=True)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    fuzzer = Fuzzer(seed)
    fuzzer.record()
    wrong = 0
    outcomes: Counter[str] = Counter()
    for number in range(CALLS_OF_A_SEED):
        is_public = fuzzer.chance(0.7)
        for name, called, given in fuzzer.public() if is_public else fuzzer.compiled():
            line = f"seed {seed} call {number}: {name}({shown(given)})"
            journal.seek(0)
            journal.truncate()
            journal.write(line)
            journal.flush()
            if echo:
                print(line, flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                if fuzzer.chance(0.1) and arrays_of(given):
                    make_at_once(called, given, fuzzer.numbers)
                else:
                    make(called, given)
                outcomes["made"] += 1
            except ALLOWED as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                outcomes[type(error).__name__] += 1
                if is_public or isinstance(error, SystemError):
                    wrong += 1
                    print(f"{line}\n    {type(error).__name__}: {error}", flush=True)
            finally:
                faulthandler.cancel_dump_traceback_later()
            pooling.set_num_threads(2)
    print("outcomes", dict(outcomes), flush=True)
    return wrong


def run(seed: int) -> tuple[Counter[str], str]:
    """Make the calls of a seed in a process of their own; return what became of them, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "call"
        journal.touch()
        command = [sys.executable, __file__, "--only", str(seed), "--journal", str(journal)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        outcomes: Counter[str] = Counter()
        said = []
        for line in ended.stdout.splitlines():
            if line.startswith("outcomes "):
                outcomes.update(dict(ast.literal_eval(line.removeprefix("outcomes "))))
            else:
                said.append(line)
        if "Timeout (" in ended.stderr and ": kernels." in journal.read_text(errors="replace"):
            outcomes["long"] += 1
        elif ended.returncode not in (0, FOUND):
            said += [
                f"seed {seed}: exit status {ended.returncode}",
                journal.read_text(errors="replace"),
                ended.stderr[-6000:],
            ]
        return outcomes, "\n".join(said)


def main() -> int:
    """Begin processes until the time is over, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=120)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="the first; further ones follow")
    parser.add_argument("--only", type=int, metavar="SEED")
    parser.add_argument("--journal", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only is not None:
        path = asked.journal or os.path.join(tempfile.gettempdir(), "fuzz_calls.txt")
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as journal:
            return FOUND if child(asked.only, journal, echo=not asked.journal) else 0
    end = time.monotonic() + 60 * asked.minutes
    outcomes: Counter[str] = Counter()
    found = seeds = 0
    last = time.monotonic()

    def ask(seed: int) -> tuple[Counter[str], str]:
        return run(seed) if time.monotonic() < end else (Counter(), "")

    with ThreadPoolExecutor(asked.jobs) as pool:
        seed = asked.seed
        while time.monotonic() < end:
            for made, said in pool.map(ask, range(seed, seed + asked.jobs)):
                outcomes += made
                seeds += bool(made)
                if said:
                    found += 1
                    print(said, flush=True)
            seed += asked.jobs
            if time.monotonic() - last > 60:
                last = time.monotonic()
                left = (end - last) / 60
                print(
                    f"{sum(outcomes.values())} calls of {seeds} seeds, {found} with findings, {left:.0f} min",
                    flush=True,
                )
    print(
        f"{sum(outcomes.values())} calls of {seeds} seeds: {dict(outcomes.most_common())}; {found} seeds with findings"
    )
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
