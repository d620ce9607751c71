"""A plugin of pytest that makes every call of the array functions a second time, by another interpreter, and compares.

Usage: python -m pytest -p calls_twice --other=PYTHON, with this folder on the path. PYTHON has the package and the same
NumPy, and may be that of another processor under an emulator: the tests and what they expect then run at the speed of
this machine, and only the call itself at that of the other. Arrays go there with what lies around them, their strides
and their alignment. Compared are what is returned, the elements of all arrays that were passed, or the error with its
sentence; the bytes of the elements, with one NaN in place of all. A call whose arguments cannot be sent (objects of the
tests or of other libraries, more than `MOST` bytes), or that answers otherwise when it is made again here (random
draws), is made here alone; both kinds are counted. Exit status 1 when an answer differs or there is none, even where
the test did not see it, as in a thread of its own.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import io
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

MOST = 1 << 26
"""Bytes of the arrays of a call that are sent."""
LINE = 64
"""Bytes by which memory is aligned alike."""
ADDRESS = re.compile("0x[0-9a-f]+")
"""Of an object, in what is written about it."""
SENT = {*sys.stdlib_module_names, "numpy", "ml_dtypes", "pooling"}
"""Libraries whose objects are sent; those of others may hold addresses of this process."""
WRITTEN = (np.generic, bool, int, float, complex, str, bytes, type(None))
"""Results that are compared by how they are written, which tells any two apart."""


class View(NamedTuple):
    """An array: in which of the pieces of memory it lies, and how."""

    piece: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    writeable: bool


class CannotSendError(Exception):
    """What is passed cannot be made again in another process."""


class Difference(BaseException):
    """The other interpreter did not answer the same; no test catches it by accident."""


def bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the addresses between which the elements of an array lie."""
    low = high = array.ctypes.data
    for size, stride in zip(array.shape, array.strides, strict=True):
        low, high = low + min(0, (size - 1) * stride), high + max(0, (size - 1) * stride)
    return low, high + array.itemsize


class Packer(pickle.Pickler):
    """Writes objects, and collects their arrays instead of writing them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.arrays: list[np.ndarray[Any, Any]] = []

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of an array; refuse objects of other libraries."""
        owner = obj if isinstance(obj, (type, types.FunctionType)) else type(obj)
        if owner.__module__.partition(".")[0] not in SENT:
            raise CannotSendError
        if type(obj) is not np.ndarray or obj.dtype.hasobject or not obj.size:
            return None
        for number, array in enumerate(self.arrays):
            if array is obj:
                return number
        self.arrays.append(obj)
        return len(self.arrays) - 1


class Unpacker(pickle.Unpickler):
    """Reads what `Packer` writes."""

    def __init__(self, file: io.BytesIO, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        super().__init__(file)
        self.arrays = arrays

    def persistent_load(self, pid: Any) -> Any:
        """Return an array by its number."""
        return self.arrays[pid]


def packed(call: Any) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
    """Write a call with the memory of its arrays, and return it with these."""
    file = io.BytesIO()
    packer = Packer(file)
    try:
        packer.dump(call)
    except Exception as error:
        raise CannotSendError from error
    regions: list[list[int]] = []
    for low, high in sorted(map(bounds, packer.arrays)):
        if regions and low < regions[-1][1]:
            regions[-1][1] = max(high, regions[-1][1])
        else:
            regions.append([low, high])
    if sum(high - low for low, high in regions) > MOST:
        raise CannotSendError
    views = []
    for array in packer.arrays:
        low, _ = bounds(array)
        piece = next(number for number, (begin, end) in enumerate(regions) if begin <= low < end)
        offset = array.ctypes.data - regions[piece][0]
        views.append(View(piece, offset, array.shape, array.strides, array.dtype, array.flags.writeable))
    pieces = [(ctypes.string_at(low, high - low), low % LINE) for low, high in regions]
    return pickle.dumps((file.getvalue(), pieces, views), protocol=5), packer.arrays


def unpacked(message: bytes) -> tuple[Any, list[np.ndarray[Any, Any]]]:
    """Read a call, and return it with its arrays."""
    text, pieces, views = pickle.loads(message)
    buffers = []
    for data, alignment in pieces:
        memory = np.zeros(len(data) + 2 * LINE, np.uint8)
        begin = (alignment - memory.ctypes.data) % LINE
        memory[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        buffers.append((memory, begin))
    arrays = []
    for view in views:
        memory, begin = buffers[view.piece]
        array: np.ndarray[Any, Any] = np.ndarray(view.shape, view.dtype, memory, begin + view.offset, view.strides)
        array.flags.writeable = view.writeable
        arrays.append(array)
    return Unpacker(io.BytesIO(text), arrays).load(), arrays


def seen(result: Any) -> Any:
    """Return what is compared of a result."""
    if isinstance(result, np.ma.MaskedArray):
        return "masked", seen(np.asarray(result.filled(0))), seen(np.ma.getmaskarray(result))
    if isinstance(result, np.ndarray):
        elements = result
        # Of "V" are the numbers of ml_dtypes, not all of which have a NaN, and bytes without a meaning.
        if result.dtype.kind in "fcV" and result.dtype.names is None and np.any(nan := result != result):
            elements = result.copy()
            elements[nan] = np.nan
        laid = result.flags.c_contiguous, result.flags.f_contiguous
        return "array", str(result.dtype), result.shape, laid, elements.tobytes()
    if isinstance(result, (tuple, list)):
        return type(result).__name__, *map(seen, result)
    if not isinstance(result, WRITTEN):
        raise Difference(f"a {type(result).__name__} cannot be compared; tell `seen` how")
    return type(result).__name__, repr(result)


def answered(call: Callable[[], Any], arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, Any, Any]:
    """Make a call; return what it returned, what it raised, and what is compared of both."""
    result = raised = None
    try:
        result = call()
    except BaseException as error:
        raised = error
    said = ("raised", type(raised).__name__, ADDRESS.sub("", str(raised))) if raised else seen(result)
    return result, raised, (said, [seen(array) for array in arrays])


KERNELS = "kernels"
"""Stands for the module of the best level, which has another name on each processor."""


def kernels_of() -> types.ModuleType:
    """Return the kernels that the package runs."""
    from pooling.dispatch import kernels

    return kernels


def again(message: bytes) -> Any:
    """Make a call that was sent, and return what is compared, or why there is nothing."""
    import pooling

    try:
        (module, name, arguments, keywords, threads), arrays = unpacked(message)
        function = getattr(kernels_of() if module == KERNELS else importlib.import_module(module), name)
        with pooling.threads(threads):
            return answered(functools.partial(function, *arguments, **keywords), arrays)[2]
    except (Exception, Difference) as error:
        return "no answer", repr(error)


# --- the other interpreter --------------------------------------------------------------------------------------------


def serve() -> None:
    """Make the calls that are read from the standard input, and write what they answer."""
    read, write = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while message := next_of(read):
        send(write, pickle.dumps(again(message), protocol=5))


def next_of(read: Any) -> bytes:
    """Read a message, which begins with its length."""
    length = int.from_bytes(read.read(8), "little")
    message: bytes = read.read(length)
    return message


def send(write: Any, message: bytes) -> None:
    """Write a message."""
    write.write(len(message).to_bytes(8, "little") + message)
    write.flush()


# --- this one ---------------------------------------------------------------------------------------------------------


class Other:
    """The other interpreter, and the functions whose calls are made there as well."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, "-c", "import calls_twice; calls_twice.serve()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self.process.kill)
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.inside = threading.local()
        self.counts: Counter[str] = Counter()
        self.by_name: Counter[str] = Counter()

    def call(self, module: str, name: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function here and there; raise where the answers differ."""
        if getattr(self.inside, "call", False) or os.getpid() != self.owner:
            return function(*arguments, **keywords)
        self.inside.call = True
        try:
            return self.compared(module, name, functools.partial(function, *arguments, **keywords))
        finally:
            self.inside.call = False

    def compared(self, module: str, name: str, call: functools.partial[Any]) -> Any:
        """Make a call that comes from a test."""
        import pooling

        try:
            message, arrays = packed((module, name, call.args, call.keywords, pooling.get_num_threads()))
        except CannotSendError:
            self.counts["made here alone"] += 1
            return call()
        with self.lock:
            try:
                send(self.process.stdin, message)
                result, raised, ours = answered(call, arrays)
                theirs = pickle.loads(next_of(self.process.stdout))
            except BaseException as error:
                # The next call would read the answer to this one.
                self.process.kill()
                if isinstance(error, KeyboardInterrupt):
                    raise
                ended = f"the other interpreter ended with exit status {self.process.wait()}"
                raise self.difference(f"{name}: {ended}: {error!r}") from error
        alone = isinstance(raised, (MemoryError, Warning, KeyboardInterrupt))
        if not alone and ours != theirs:
            alone = ours != again(message)
            if not alone:
                asked = brief((call.args, call.keywords))
                raise self.difference(f"{name}: {brief(ours)} here, {brief(theirs)} there, for {asked}")
        self.counts["made here alone" if alone else "made twice"] += 1
        if not alone:
            self.by_name[name] += 1
        if raised:
            raise raised
        return result

    def difference(self, sentence: str) -> Difference:
        """Count a difference, and return it."""
        self.counts["different"] += 1
        return Difference(sentence)

    def wrapped(self, module: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes the calls of another twice."""

        @functools.wraps(function)
        def twice(*arguments: Any, **keywords: Any) -> Any:
            return self.call(module, name, function, *arguments, **keywords)

        return twice

    def take(self) -> None:
        """Put functions that make calls twice in place of the public ones and of the entries of the kernels."""
        import pooling
        from pooling import families, filters, layer

        whole = [
            importlib.import_module(f"{families.__name__}.{each.name}")
            for each in pkgutil.iter_modules(families.__path__)
        ]
        replaced = {}
        for module in (*whole, filters):
            for name in getattr(module, "__all__", ()):
                function = getattr(module, name)
                if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                    replaced[function] = self.wrapped(module.__name__, name, function)
        for module in [each for key, each in sys.modules.items() if key.partition(".")[0] == pooling.__name__]:
            for name, value in list(vars(module).items()):
                if isinstance(value, types.FunctionType) and value in replaced:
                    setattr(module, name, replaced[value])
        # They look their functions up when they are defined.
        classes = [layer.Layer]
        for each in classes:
            classes += each.__subclasses__()
            if hasattr(each, "_pool"):
                each._pool, each._backward = layer._functions(each.operator, each.dimensions)
        kernels = kernels_of()
        for name, value in list(vars(kernels).items()):
            if callable(value) and not isinstance(value, type) and not name.startswith("_"):
                setattr(kernels, name, self.wrapped(KERNELS, name, value))


def brief(value: Any) -> str:
    """Write what is compared, as far as it is short."""
    text = repr(value)
    return text if len(text) < 2000 else f"{text[:1200]} ... {text[-600:]}"


def pytest_addoption(parser: Any) -> None:
    """Declare the option."""
    parser.addoption("--other", help="an interpreter that makes the calls of the array functions as well")


def pytest_configure(config: Any) -> None:
    """Start the other interpreter, before any test is imported."""
    if python := config.getoption("--other"):
        config.stash_of_calls = other = Other(python)
        other.take()


def pytest_sessionfinish(session: Any) -> None:
    """Fail where a call differed, also in a thread whose errors nobody asks for."""
    other = getattr(session.config, "stash_of_calls", None)
    if other and other.counts["different"]:
        session.exitstatus = session.exitstatus or 1


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Say how many calls were made twice."""
    if other := getattr(config, "stash_of_calls", None):
        numbers = ", ".join(f"{number} {how}" for how, number in sorted(other.counts.items()))
        terminalreporter.write_line(f"calls of {len(other.by_name)} array functions: {numbers}")
