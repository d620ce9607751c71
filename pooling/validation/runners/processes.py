"""Runtimes in processes of their own, which may crash, hang or eat memory without taking anybody along.

Each process leads a session of its own, so that it ends together with everything that it has forked: with `close`, when
this process ends, and also when this process is killed. It gets a home folder of its own, which is removed with it,
since some runtimes write into it or report to their makers when they are imported.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import selectors
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from pooling.arguments import real, sequence, whole_between
from pooling.errors import type_error, value_error
from pooling.numerics.inputs import dtype_named
from pooling.signs import short_repr
from pooling.tool_arguments import instance_of

from ..inputs.case import GRADIENT, Case
from . import RUNTIMES, Unsupported, runtime_of
from .results import Result

__all__ = [
    "Limits",
    "RuntimeProcess",
    "check_progress",
    "memory_is_watched",
    "patient",
    "quiet_environment",
    "run_cases",
]

Array = NDArray[Any]
GIB = 2**30
START_SECONDS = 120.0
"""What starting may take, which is mostly importing: not a matter of the case."""
WATCHED_SECONDS = 0.05
"""How often the memory of a busy process is looked at."""
LATE_SECONDS = 1.0
"""After so long, whoever looks was kept from it."""
RUNNING, STATES_OF_STOPPED = "R", ("T", "t")
"""What Linux calls a process that computes or would, and one that is stopped."""
GRACE_SECONDS = 10
"""How much longer than its limit a process lives when nobody is left to end it, where the system does not."""
SENTENCE = 400
"""Signs of a refusal that are kept."""
ENDED_BY_SYSTEM = hasattr(fcntl, "F_SETSIG")
"""Whether the system itself ends the processes with this one."""
PATIENCE = 10
"""How many times as long as others a runtime that compiles may take."""
READY = "ready"
STOPPED = "was stopped"
_running: weakref.WeakSet[RuntimeProcess] = weakref.WeakSet()


def quiet_environment(home: str | os.PathLike[str]) -> dict[str, str]:
    """Return an environment for a process in which importing a runtime leaves no trace and tells nobody.

    Importing openvino forks, writes to ``~/intel`` and asks for an address of Google Analytics, unless it believes to
    be in a CI job, which is the switch that its telemetry package has (``opt_in_checker.py``). The folder `home` takes
    the place of the home folder.
    """
    folder = os.fspath(home)
    return {
        **os.environ,
        "HOME": folder,
        "XDG_CACHE_HOME": os.path.join(folder, ".cache"),
        "XDG_CONFIG_HOME": os.path.join(folder, ".config"),
        "XDG_DATA_HOME": os.path.join(folder, ".local", "share"),
        "XDG_STATE_HOME": os.path.join(folder, ".local", "state"),
        "PYTHONUSERBASE": site.getuserbase(),  # what is installed for this user stays so
        "CI": "true",
        "DO_NOT_TRACK": "1",
    }


@dataclass(frozen=True)
class Limits:
    """What a runtime may take for one case.

    Attributes
    ----------
    seconds : float
        From the question to the answer. Where the system tells (Linux), time in which the process is stopped does not
        count, nor that in which it would compute and gets no processor; time in which it waits does.
    memory : int
        Bytes that the process may have in memory, everything that it has imported included. Without effect where psutil
        is not installed (`memory_is_watched`).

    Raises
    ------
    ValueError
        If one is not positive.

    Examples
    --------
    >>> from pooling.validation import Limits
    >>> Limits(seconds=10).memory == 4 * 2**30
    True
    """

    seconds: float = 60.0
    memory: int = 4 * GIB

    def __post_init__(self) -> None:
        seconds, memory = real("Limits", "seconds", self.seconds), real("Limits", "memory", self.memory)
        if not 0 < seconds < float("inf"):
            raise value_error("", f"limit_seconds={short_repr(self.seconds)} must be positive")
        if not 0 < memory < float("inf"):
            raise value_error("", f"limit_memory={memory / GIB:g} must be positive, in GiB")


def patient(runtime: str, limits: Limits) -> Limits:
    """Return the limits of a runtime: those that compile each node may take `PATIENCE` times as long."""
    try:
        compiles = getattr(runtime_of(runtime), "compiles", False)
    except ValueError:  # of one that cannot be loaded, which its process says
        return limits
    return replace(limits, seconds=PATIENCE * limits.seconds) if compiles else limits


class RuntimeProcess:
    """One runtime in a process that answers case after case, and is started anew when a case has ended it.

    Use it in a ``with`` statement; the process starts with the first case or before it (`launch`), and ends with the
    statement.

    Parameters
    ----------
    runtime : str
        One of `pooling.validation.runners.RUNTIMES`, or ``module:Class``.
    limits : Limits
        For each case.
    threads : int
        That the runtime may use.
    folders : sequence of str
        Where packages are looked for first, such as another release of the runtime.

    Examples
    --------
    >>> with RuntimeProcess("pooling") as process:
    ...     process.ask(b"", {}).unsupported
    'the model has 0 nodes; it is asked for one at a time here'
    """

    def __init__(
        self, runtime: str, limits: Limits | None = None, threads: int = 1, folders: Sequence[str] = ()
    ) -> None:
        self.runtime = runtime
        self._folders = folders
        self.limits = limits or Limits()
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._dead: Result | None = None
        self._ready = False
        self._lifeline: int | None = None
        self._ending = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def ask(self, model: bytes, inputs: Mapping[str, Array]) -> Result:
        """Have the runtime run a model.

        Parameters
        ----------
        model : bytes
            An ONNX model.
        inputs : mapping of str to ndarray
            By the names of its inputs.

        Returns
        -------
        Result
            A crash or an exceeded limit is an answer, too.
        """
        if self._dead is not None:
            return self._dead
        self.launch()
        if not self._ready:
            failed = self._greeted()
            if failed is not None:
                # What does not even start will not do so the next time.
                self._dead = failed
                return failed
        assert self._folder is not None
        assert self._process is not None
        question, answer = (Path(self._folder.name, name) for name in ("question", "answer"))
        answer.unlink(missing_ok=True)
        with question.open("wb") as file:
            _write(file, {"model": np.frombuffer(model, np.uint8), **{f"input {n}": a for n, a in inputs.items()}})
        try:
            self._say("run")
        except OSError:
            return self._crashed(None)
        crash = self._wait(self.limits.seconds)
        if crash is not None:
            return crash
        try:
            with answer.open("rb") as file:
                arrays, text = _read(file)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._end()
            return Result(crash=f"left an answer that cannot be read ({error})")
        return Result(unsupported=text) if text is not None else Result(tuple(arrays.values()))

    def launch(self) -> None:
        """Start the process, and do not wait for it."""
        if self._process is not None or self._dead is not None:
            return
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="pooling-")
        home = Path(self._folder.name, "home")
        home.mkdir(mode=0o700, exist_ok=True)
        code = (
            "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
            "from pooling.validation.runners.processes import serve; serve(*sys.argv[2:])"
        )
        paths = json.dumps([*self._folders, *(path or os.getcwd() for path in sys.path)])
        numbers = (str(self._threads), str(int(self.limits.seconds) + GRACE_SECONDS))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self._threads))
        # Its other end is in this process alone and closes with it, however it ends.
        near, self._lifeline = os.pipe()
        # Where this process has no standard streams, the pipe would get their numbers.
        reading = fcntl.fcntl(near, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(near)
        _running.add(self)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, paths, self.runtime, self._folder.name, *numbers, str(reading)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # What the words on the pipes are written in is no choice of the user's.
                env={**quiet_environment(home), **threads, "PYTHONIOENCODING": "utf-8"},
                bufsize=0,
                pass_fds=(reading,),
                start_new_session=True,
            )
        finally:
            os.close(reading)

    def _greeted(self) -> Result | None:
        """Wait for the process to be ready; return what went wrong."""
        assert self._folder is not None
        crash = self._wait(max(START_SECONDS, self.limits.seconds))
        if crash is not None:
            return Result(crash=f"{crash.crash} while it was started")
        with Path(self._folder.name, "answer").open("rb") as file:
            _, text = _read(file)
        self._ready = text == READY
        return None if self._ready else Result(unsupported=text)

    def _say(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    def _wait(self, seconds: float) -> Result | None:
        """Wait for the process to say that it is done; return what went wrong."""
        process = self._process
        if process is None:
            return Result(crash=STOPPED)
        assert process.stdout is not None
        clock = _Clock(process.pid)
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(process.stdout, selectors.EVENT_READ)
            except (OSError, ValueError):  # closed by another thread
                return Result(crash=STOPPED)
            while not selector.select(WATCHED_SECONDS):
                if self._process is not process:  # ended by another thread, and its pipe says nothing any more
                    return Result(crash=STOPPED)
                if _memory_of(process.pid) > self.limits.memory:
                    return self._crashed(f"exceeded {self.limits.memory / GIB:.3g} GiB", exceeded=True)
                if clock.seconds() > seconds:
                    return self._crashed(f"exceeded {seconds:g} s", exceeded=True)
            try:
                answered = os.read(process.stdout.fileno(), 1)
            except (OSError, ValueError):  # closed by another thread
                return Result(crash=STOPPED)
            return None if answered else self._crashed(None)

    def _crashed(self, reason: str | None, *, exceeded: bool = False) -> Result:
        """End the process; without a reason, find one in how it ended."""
        process = self._process
        if process is None:
            return Result(crash=STOPPED)
        if reason is None:
            try:
                code = process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                reason = "did not respond"
            else:
                reason = f"was killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        self._end()
        return Result(crash=reason, exceeded=exceeded)

    def _end(self) -> None:
        # A thread that waits for an answer may end it at the same time as whoever closes it.
        with self._ending:
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None
            process, self._process, self._ready = self._process, None, False
            if process is None:
                return
            # A group keeps its number for as long as anybody is in it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@atexit.register
def _end_all() -> None:
    """End what nobody has closed."""
    for process in list(_running):
        process.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Clock:
    """The time that a process has had since it was asked.

    Not while it was stopped, and of time in which it would compute, what it got of a processor: a machine that is busy
    or a person who stops a command for a while makes nothing slow.

    Parameters
    ----------
    process : int
        Its number.
    """

    def __init__(self, process: int) -> None:
        self._process = process
        self._had = 0.0
        self._looked = time.monotonic()
        known = _use_of(process)
        self._used = known[1] if known else 0.0

    def seconds(self) -> float:
        """Look at the process, and return what it has had; to be called often."""
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        known = _use_of(self._process)
        if known is None:
            self._had += passed
            return self._had
        state, used = known
        got, self._used = used - self._used, used
        # Who looks late was stopped or got no processor either, and does not know what was between.
        if state == RUNNING or passed > LATE_SECONDS:
            passed = min(passed, got)
        if state not in STATES_OF_STOPPED:
            self._had += passed
        return self._had


def _use_of(process: int) -> tuple[str, float] | None:
    """Return what a process is doing, and the seconds of processors that it has used; None where nobody tells."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # its name may hold anything
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _memory_of(process: int) -> int:
    """Return the bytes that a process has in memory; 0 where it is gone, or psutil is not there to tell."""
    try:
        psutil: Any = import_module("psutil")
    except ModuleNotFoundError:
        return 0
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


def memory_is_watched() -> bool:
    """Whether psutil tells what memory a process has, without which its limit has no effect."""
    return _memory_of(os.getpid()) > 0


def run_cases(
    runtime: str,
    cases: Sequence[Case],
    limits: Limits | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    threads: int = 1,
) -> list[Result]:
    """Have a runtime answer one case after another.

    Parameters
    ----------
    runtime : str
        One of `pooling.validation.runners.RUNTIMES`, or ``module:Class``.
    cases : sequence of Case
        What to ask.
    limits : Limits, optional
        For each case.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each case.
    threads : int
        That the runtime may use.

    Returns
    -------
    list of Result
        One for each case. A case that ends the process costs its own answer only.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or has a wrong value, or the runtime is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx.parser
    >>> from pooling.validation import Case, run_cases
    >>> model = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 18]> g (float[1, 1, 4] x) => (float[1, 1, 2] y)'
    ...     "{ y = MaxPool <kernel_shape = [2], strides = [2]> (x) }"
    ... )
    >>> case = Case("pairs", model, {"x": np.array([[[1, 3, 2, 0]]], np.float32)})
    >>> [result.outputs[0].tolist() for result in run_cases("pooling", [case])]
    [[[[3.0, 2.0]]]]
    """
    remedy = f"use one of {', '.join(RUNTIMES)}"
    runtime = str.__str__(instance_of("run_cases", "runtime", runtime, str, remedy))
    cases = _cases(cases)
    if limits is not None:
        instance_of("run_cases", "limits", limits, Limits, "write Limits(seconds=60)")
    check_progress("run_cases", progress)
    threads = whole_between("run_cases", "threads", threads, 1, 2**15, "use as many as there are cores, at most")
    answers = []
    with RuntimeProcess(runtime, patient(runtime, limits or Limits()), threads) as process:
        for done, case in enumerate(cases):
            if progress is not None:
                progress(done, len(cases), case.name)
            answers.append(process.ask(case.model.SerializeToString(), case.inputs))
    return answers


def check_progress(function: str, progress: Any) -> None:
    """Refuse what cannot be told how far a call is."""
    if progress is not None and not callable(progress):
        rule = f"must be a function, not {type(progress).__name__}"
        raise type_error(function, rule, "it is called as progress(done, total, name)", argument=("progress", progress))


def _cases(cases: Any) -> list[Case]:
    """Return the cases to ask."""
    several = sequence(cases)
    wrong = next((each for each in several or () if not isinstance(each, Case)), None)
    if several is None or wrong is not None:
        kind = type(cases if several is None else wrong).__name__
        raise type_error(
            "run_cases",
            f"must be a list of Case, not {'' if several is None else 'of '}{kind}",
            "write one case as [case]",
            argument=("cases", cases),
        )
    return several


# ---------------------------------------------------------------------------------------------------------------------
# What goes from one process to the other: names, dtypes and shapes in a line of JSON, and then the numbers


def _write(file: IO[bytes], arrays: Mapping[str, Array], text: str | None = None) -> None:
    head = [(name, array.dtype.name, array.shape) for name, array in arrays.items()]
    file.write(json.dumps({"arrays": head, "text": text}).encode() + b"\n")
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False).tobytes())


def _read(file: IO[bytes]) -> tuple[dict[str, Array], str | None]:
    head = json.loads(file.readline())
    arrays = {}
    for name, dtype, shape in head["arrays"]:
        kind = dtype_named(dtype)
        count = int(np.prod(shape, dtype=object))
        content = file.read(count * kind.itemsize)
        arrays[name] = np.frombuffer(content, kind, count).reshape(shape)
    return arrays, head["text"]


# ---------------------------------------------------------------------------------------------------------------------
# The other side


def serve(name: str, folder: str, threads: str, seconds: str, lifeline: str) -> None:
    """Run cases until there are no more; what the process of a runtime does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(int(lifeline))
    _no_core_dump()
    question, answer = Path(folder, "question"), Path(folder, "answer")
    with _own_channel() as channel:

        def tell(arrays: Mapping[str, Array], text: str | None) -> None:
            with answer.open("wb") as file:
                _write(file, arrays, text)
            os.write(channel, b".")

        try:
            runtime = runtime_of(name)
            runtime.load(int(threads))
        except Exception as error:
            tell({}, f"it cannot be started ({_sentence(error)})")
            return
        tell({}, READY)
        for _ in sys.stdin:
            # Should whoever asked be gone, a runtime that hangs still comes to an end.
            signal.alarm(0 if ENDED_BY_SYSTEM else int(seconds))
            try:
                with question.open("rb") as file:
                    arrays, _ = _read(file)
                inputs = {key.removeprefix("input "): array for key, array in arrays.items() if key != "model"}
                model, wanted = arrays["model"].tobytes(), inputs.pop(GRADIENT, None)
                outputs = runtime.run(model, inputs) if wanted is None else [runtime.gradient(model, inputs, wanted)]
                results = {f"output {number}": np.asarray(output) for number, output in enumerate(outputs)}
                for array in results.values():
                    if array.dtype.hasobject:
                        raise Unsupported(f"it returns elements of the type {array.dtype.name}")
                tell(results, None)
            except Exception as error:
                tell({}, _sentence(error))
            signal.alarm(0)


def _end_with(lifeline: int) -> None:
    """Have the whole session killed when the other end of a pipe closes, whatever it is doing then.

    On Linux the system itself does so, also where a call into a library lets no thread of Python run.
    """
    if ENDED_BY_SYSTEM:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        os.read(lifeline, 1)  # nothing ever comes, but the end
        os.killpg(0, signal.SIGKILL)

    # Also notices an end that came before the system was told.
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _own_channel() -> Iterator[int]:
    """Keep what libraries print away from the one who waits for answers."""
    channel = os.dup(1)
    os.dup2(2, 1)
    try:
        yield channel
    finally:
        os.close(channel)


def _no_core_dump() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sentence(error: Exception) -> str:
    """Return what an exception says, on one line and not without end."""
    text = " ".join(str(error).split()).rstrip(".")
    kind = "" if isinstance(error, Unsupported) and text else type(error).__name__
    sentence = ": ".join(filter(None, (kind, text)))
    return sentence if len(sentence) <= SENTENCE else f"{sentence[: SENTENCE - 1]}…"
