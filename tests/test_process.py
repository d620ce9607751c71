"""What calls leave to the program around them: its signals, processors, floating-point mode and threads."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pooling
from pooling import _core
from pooling.workers import cpu_quota

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
THREADS = pytest.mark.skipif(_core.THREADING == "none", reason="needs threads")
TEAM = pytest.mark.skipif(_core.THREADING != "team", reason="needs the thread team")
SIGNALS = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")

# --- workers ----------------------------------------------------------------------------------------------------------


@LINUX
@TEAM
def test_workers_leave_signals_to_the_threads_of_the_program(run_python: Callable[..., str]) -> None:
    code = """
import os, signal
import numpy as np
import pooling
with pooling.threads(4):
    pooling.max_pool2d(np.zeros((2, 64, 224, 224), "f4"), 3, 2, 1)
faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}  # those of the very thread
ours = signal.valid_signals() - faults - {signal.SIGKILL, signal.SIGSTOP}
before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
assert not before  # the caller's own mask is as it was
for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGRTMIN + 3):
    os.kill(os.getpid(), number)
    assert signal.sigwait({number}) == number
print(pooling._core.count_workers())
"""
    assert run_python("-c", code, OPENBLAS_NUM_THREADS="1") == "3\n"


AFFINITY = """
import os, threading, time
import numpy as np
import pooling
x = np.random.default_rng(0).random((2, 64, 224, 224)).astype("f4")
everywhere = os.sched_getaffinity(0)
before = set(os.listdir("/proc/self/task"))

def call(times=5):
    with pooling.threads(3):
        for _ in range(times):
            time.sleep(0.002)
            pooling.max_pool2d(x, 3, 2, 1)

def masks():
    return [os.sched_getaffinity(int(task)) for task in set(os.listdir("/proc/self/task")) - before]

def all_may_run_on(processors):
    return len(masks()) == 2 and all(mask == processors for mask in masks())
"""


@LINUX
@TEAM
def test_workers_run_where_their_caller_may(run_python: Callable[..., str]) -> None:
    code = (
        AFFINITY
        + """
first = {min(everywhere)}
os.sched_setaffinity(0, first)
call()
assert all_may_run_on(first), masks()  # as threads of its own would
os.sched_setaffinity(0, everywhere)
call(20)
assert all_may_run_on(everywhere), masks()
for processor in sorted(everywhere) * 3:
    os.sched_setaffinity(0, {processor})
    call(1)
    assert all_may_run_on({processor}), masks()
    os.sched_setaffinity(0, everywhere)
    call(1)
    assert all_may_run_on(everywhere), masks()
# The whole process is moved, as by `taskset -ap`.
for task in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(task), first)
call()
assert all_may_run_on(first), masks()
for task in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(task), everywhere)
call()
assert all_may_run_on(everywhere), masks()
print("right")
"""
    )
    assert run_python("-c", code, OPENBLAS_NUM_THREADS="1") == "right\n"


@LINUX
@TEAM
def test_callers_that_may_run_on_different_processors_take_turns(run_python: Callable[..., str]) -> None:
    code = (
        AFFINITY
        + """
turn = threading.Semaphore(0), threading.Semaphore(0)
seen = []

def pinned():
    before.add(str(threading.get_native_id()))
    os.sched_setaffinity(0, {max(everywhere)})
    for _ in range(5):
        turn[0].acquire()
        call(1)
        seen.append(all_may_run_on({max(everywhere)}))
        turn[1].release()

other = threading.Thread(target=pinned)
other.start()
for _ in range(5):
    turn[0].release()
    turn[1].acquire()
    call(1)
    seen.append(all_may_run_on(everywhere))
other.join()
print(seen == [True] * 10)
"""
    )
    assert run_python("-c", code, OPENBLAS_NUM_THREADS="1") == "True\n"


@TEAM
def test_workers_end_when_the_number_of_threads_is_lowered(run_python: Callable[..., str]) -> None:
    code = """
import numpy as np
import pooling
from pooling import _core
x = np.zeros((8, 64, 112, 112), np.float32)
counts = []
for number in (8, 4, 1, 2):
    pooling.set_num_threads(number)
    counts.append(_core.count_workers())
    pooling.max_pool2d(x, 3, 2, 1)
    counts.append(_core.count_workers())
print(counts)
"""
    assert run_python("-c", code) == "[0, 7, 3, 3, 0, 0, 0, 1]\n"


@LINUX
@TEAM
def test_workers_need_little_stack(run_python: Callable[..., str]) -> None:
    """Half of the 128 KiB that musl gives a thread; on musl itself, which only ever raises that, all of it."""
    code = """
import ctypes
import pooling
from tests.many_calls import CALLS, equal
with pooling.threads(1):
    expected = {name: call() for name, call in CALLS.items()}
pooling.set_num_threads(1)  # ends those with the usual stack
system = ctypes.CDLL(None)
attributes, stack = ctypes.create_string_buffer(256), ctypes.c_size_t()
system.pthread_attr_init(attributes)
assert system.pthread_attr_setstacksize(attributes, ctypes.c_size_t(64 << 10)) == 0
assert system.pthread_setattr_default_np(attributes) == 0
assert system.pthread_getattr_default_np(attributes) == 0
assert system.pthread_attr_getstacksize(attributes, ctypes.byref(stack)) == 0
assert stack.value <= 128 << 10
with pooling.threads(4):
    print(all(equal(call(), expected[name]) for name, call in CALLS.items()), pooling._core.count_workers())
"""
    assert run_python("-c", code) == "True 3\n"


# --- the floating-point mode ------------------------------------------------------------------------------------------

# Of a processor: the word of fenv_t (glibc, musl) that holds the mode, the bits of it that are the mode, and modes.
MODES_OF = {
    "x86_64": (
        7,  # MXCSR
        0xE040,
        {"flush to zero": 0x8040, "round down": 0x2000, "round up": 0x4000, "round to zero": 0x6000},
    ),
    "aarch64": (
        0,  # FPCR
        0x03C80000,
        {
            **{"flush to zero": 1 << 24, "flush halves to zero": 1 << 19, "one NaN": 1 << 25},
            **{"round down": 2 << 22, "round up": 1 << 22, "round to zero": 3 << 22},
        },
    ),
}
WORD, MODE_BITS, MODES = MODES_OF.get(platform.machine(), (0, 0, {"of another processor": 0}))


@pytest.mark.skipif(
    platform.machine() not in MODES_OF or sys.platform != "linux", reason="knows fenv_t on x86-64 and aarch64"
)
@pytest.mark.parametrize("level", pooling.dispatch.available_levels())
@pytest.mark.parametrize("mode", MODES)
def test_bits_do_not_depend_on_the_floating_point_mode_of_the_caller(
    run_python: Callable[..., str], mode: str, level: str
) -> None:
    code = """
import ctypes, sys
import numpy as np
import pooling
libm = ctypes.CDLL("libm.so.6")  # a name that musl takes for itself
word, mask = map(int, sys.argv[2:])

def set_mode(bits):
    state = (ctypes.c_uint32 * 8)()
    libm.fegetenv(state)
    state[word] = state[word] & ~mask | bits
    libm.fesetenv(state)

def mode():
    state = (ctypes.c_uint32 * 8)()
    libm.fegetenv(state)
    return state[word] & mask

rng = np.random.default_rng(0)
arrays = {
    "float32": (rng.random((4, 16, 56, 56)) * 1e-39).astype("f4"),
    "float64": rng.random((2, 16, 56, 56)) * 1e-310,
    "float16": (rng.random((4, 16, 56, 56)) * 6e-5).astype("f2"),
    "larger": rng.random((4, 16, 56, 56)).astype("f4"),
    "integers": rng.integers(-9, 9, (4, 16, 56, 56), np.int16),
}
rois = (np.arange(40).reshape(10, 4) % 23 * [1.7, 1.3, 2.1, 2.3]).astype("f4")

def everything():
    for name, x in arrays.items():
        grad = np.ascontiguousarray(x[:, :, ::2, ::2])
        yield name, "max", pooling.max_pool2d(x, 3, 2, 1)
        if name == "integers":
            yield name, "avg", pooling.avg_pool2d(x, 3, 2, 1, rounding="half_up")
            continue
        yield name, "avg", pooling.avg_pool2d(x, 3, 2, 1)
        yield name, "avg, other divisors", pooling.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        yield name, "adaptive", pooling.adaptive_avg_pool2d(x, 5)
        yield name, "global", pooling.global_avg_pool(x)
        yield name, "long", pooling.avg_pool2d(x, 33, 1, 16)
        yield name, "gradient", pooling.avg_pool2d_backward(grad, x, 3, 2, 1)
        yield name, "gradient", pooling.avg_pool2d_backward(grad, x, 3, 2, 1, count_include_pad=False)
        yield name, "gradient", pooling.max_pool2d_backward(grad, x, 3, 2, 1)
        yield name, "lp", pooling.lp_pool2d(x, 2, 3, 2, padding=1)
        yield name, "lp", pooling.lp_pool2d_backward(grad, x, 2, 3, 2, padding=1)
        yield name, "gem", pooling.gem_pool2d(x)
        yield name, "gem gradient", pooling.gem_pool2d_backward(np.ones((len(x), 16, 1, 1), x.dtype), x)[0]
        yield name, "blur", pooling.blur_pool2d(x, 3, 2)
        yield name, "blur gradient", pooling.blur_pool2d_backward(grad, x, 3, 2)
        yield name, "max blur", pooling.max_blur_pool2d(x, 2)
        yield name, "align", pooling.roi_align(x, rois, np.arange(10) % 2, 5, sampling_ratio=2)
        yield name, "fractional", pooling.fractional_max_pool2d(
            x, 2, output_ratio=0.7, _random_samples=samples[:len(x)])

samples = rng.random((4, 16, 2))
expected = [array.tobytes() for *_, array in everything()]
with pooling.threads(3):
    pooling.avg_pool2d(arrays["float32"], 3)
set_mode(int(sys.argv[1]))
for count in (1, 2, 2, 3):
    with pooling.threads(count):
        for (name, operator, array), before in zip(everything(), expected):
            assert array.tobytes() == before, (name, operator, count)
            assert mode() == int(sys.argv[1]), (name, operator)
# Workers that were hired by a thread in that mode.
pooling.set_num_threads(1)
with pooling.threads(2):
    for (name, operator, array), before in zip(everything(), expected):
        assert array.tobytes() == before, (name, operator, "hired")
print("the same")
"""
    numbers = map(str, (MODES[mode], WORD, MODE_BITS))
    assert run_python("-c", code, *numbers, POOLING_MAX_ISA=level, timeout=600) == "the same\n"


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------

# What is made before, of a size that grows with n until the call takes a while, and the call.
X = "x = rng.random((n, 4, 256, 256), np.float32)"
REGIONS = (
    X + "; regions = np.tile(np.array([[0, 0, 255, 255]], np.float32), (200 * n, 1)); maps = np.arange(200 * n) % n"
)
LONG_CALLS = {
    "huge windows": (X, "pooling.max_pool2d(x.reshape(-1, 1, 1024, 1024), 601, 1, 300)"),
    "means": (X, "pooling.avg_pool2d(x.reshape(-1, 1, 1024, 1024), 601, 1, 300)"),
    "channels last": (
        X,
        "pooling.avg_pool2d(x.reshape(n, 256, 256, 4), 101, 1, 50, layout='channels_last', nan='ignore')",
    ),
    "indices": (X, "pooling.adaptive_max_pool2d(x, 100, return_indices=True)"),
    "gradient of a maximum": (
        X + "; g = np.ones((n, 4, 100, 100), np.float32)",
        "pooling.adaptive_max_pool2d_backward(g, x, 100)",
    ),
    "gradient of long windows": (
        X,
        "pooling.max_pool1d_backward(x.reshape(1, 1, -1), x.reshape(1, 1, -1), 9001, 1, 4500)",
    ),
    "gradient of a mean": (
        X + "; g = np.ones((n, 4, 128, 128), np.float32)",
        "pooling.avg_pool2d_backward(g, x, 63, 2, 31)",
    ),
    "lp": (X, "pooling.lp_pool2d(x, 3.5, 3, 1, padding=1)"),
    "gradient of lp": (X, "pooling.lp_pool2d_backward(x, x, 3.5, 3, 1, padding=1)"),
    "blur": (X, "pooling.blur_pool2d(x, 31, 1)"),
    "gradient of blur": (X, "pooling.blur_pool2d_backward(x, x, 31, 1)"),
    "fractional": (
        X + "; samples = rng.random((n, 4, 2))",
        "pooling.fractional_max_pool2d(x, 9, output_ratio=0.9, _random_samples=samples)",
    ),
    # Places all over a map that no cache holds.
    "unpool": (
        "x = np.ones((2, 1, 1000 * n, 4000), np.uint8); places = rng.integers(0, 16000**2, x.shape)",
        "pooling.max_unpool2d(x, places, 2, output_size=(16000, 16000))",
    ),
    "region": (
        REGIONS + "; regions = np.concatenate([maps[:, None], regions], 1, dtype=np.float32)",
        "pooling.max_roi_pool(x, regions, 7)",
    ),
    "gradient of samples": (
        REGIONS + "; g = np.ones((200 * n, 4, 7, 7), np.float32)",
        "pooling.roi_align_backward(g, x, regions, maps, 7)",
    ),
}

INTERRUPTED = """
import signal, sys, time, zlib
import numpy as np
import pooling

prepare, call = (compile(text, "<call>", mode) for text, mode in zip(sys.argv[1:], ("exec", "eval")))

def result():
    made = eval(call, names)
    return [zlib.crc32(part) for part in (made if isinstance(made, tuple) else (made,))]

n, lasted = 2, 0
while lasted < 0.4:
    n *= 2
    if n > 512:
        sys.exit(f"a call with {n // 2} parts takes {lasted} s")
    names = {"rng": np.random.default_rng(0), "np": np, "pooling": pooling, "n": n}
    exec(prepare, names)
    expected = result()  # the pages of the first result are new to the process, which takes longer
    begin = time.perf_counter()
    eval(call, names)
    lasted = time.perf_counter() - begin

class Stopped(Exception):
    pass

answered = 0
def answer(*_):
    global answered
    answered += 1
    small = np.arange(16.0).reshape(1, 1, 4, 4)
    assert pooling.max_pool2d(small, 2).tolist() == [[[[5, 7], [13, 15]]]]
    if answered == 2:
        raise Stopped
    # One at a time: no signal comes while another is answered, and none is left over when the call ends.
    signal.setitimer(signal.ITIMER_REAL, 0.05)

signal.signal(signal.SIGALRM, answer)
stopped = False
try:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    eval(call, names)
    signal.setitimer(signal.ITIMER_REAL, 0)
except Stopped:
    stopped = True
if not stopped:
    sys.exit(f"answered {answered} signals in a call that takes {lasted} s")
assert result() == expected
print("stopped")
"""


@SIGNALS
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_long_call_answers_signals_and_the_next_is_right(
    run_python: Callable[..., str], name: str, count: int
) -> None:
    answer = run_python("-c", INTERRUPTED, *LONG_CALLS[name], POOLING_NUM_THREADS=str(count), timeout=300)
    assert answer == "stopped\n"


@SIGNALS
@pytest.mark.parametrize("call", ["avg_pool2d(x, 601, 1, 300, out=out)", "max_pool2d(x, 601, 1, 300, out=out)"])
def test_ctrl_c_leaves_the_rest_of_a_result_unwritten(run_python: Callable[..., str], call: str) -> None:
    """What is written by then is right."""
    code = f"""
import os, signal, threading, time
import numpy as np
import pooling

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell lets its background ignore
n, lasted = 1, 0
while lasted < 0.4:
    n *= 2
    x = np.random.default_rng(0).random((n, 1, 1024, 1024), np.float32)
    out = np.empty_like(x)
    begin = time.perf_counter()
    expected = pooling.{call}.copy()
    lasted = time.perf_counter() - begin

for _ in range(50):  # one that comes too early or too late, on a machine that is busy, shows nothing
    out[:] = -1
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        pooling.{call}
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    written = out != -1
    if written.any() and not written.all():
        break
else:
    raise SystemExit("never a part of the result")
assert (out[written] == expected[written]).all()
assert (out[~written] == -1).all()
pooling.{call}
assert (out == expected).all()
print("a part")
"""
    assert run_python("-c", code) == "a part\n"


@SIGNALS
@THREADS
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_handler_may_fork_during_a_call(run_python: Callable[..., str]) -> None:
    """The child goes on with the call, and has none of the workers that do parts of it."""
    code = """
import os, signal, sys
import numpy as np
import pooling
x = np.random.default_rng(0).random((8, 16, 256, 256)).astype("f4")
expected = pooling.max_pool2d_backward(x, x, 9, 1, 4).tobytes()
child = None
def fork(*_):
    global child
    if child is None:
        child = os.fork()
signal.signal(signal.SIGALRM, fork)
pooling.set_num_threads(2)
# It goes on by itself: started anew before each call, it never ends where a call is faster.
signal.setitimer(signal.ITIMER_REAL, 0.08, 0.08)
while child is None:
    right = pooling.max_pool2d_backward(x, x, 9, 1, 4).tobytes() == expected
signal.setitimer(signal.ITIMER_REAL, 0)
if child == 0:
    os._exit(0 if right else 1)
print(right, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python("-c", code) == "True 0\n"


# --- processors -------------------------------------------------------------------------------------------------------

MOUNTS = {
    "2": "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
    "1": "31 23 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:28 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
}


@pytest.mark.parametrize(
    ("version", "root", "group", "files", "expected"),
    [
        ("2", "/", "0::/", {"cpu.max": "200000 100000\n"}, 2),
        ("2", "/", "0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("2", "/", "0::/", {"cpu.max": "max 100000\n"}, None),
        ("2", "/", "0::/", {}, None),
        ("2", "/", "0::/", {"cpu.max": "nonsense"}, None),
        ("2", "/", "0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 1"}, 3),
        ("2", "/", "0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("2", "/docker/7", "0::/docker/7", {"cpu.max": "400000 100000"}, 4),
        # The group as the host names it, where only the own one is mounted.
        ("2", "/", "0::/../other", {"cpu.max": "400000 100000"}, 4),
        ("1", "/", "4:cpu,cpuacct:/", {"cpu.cfs_quota_us": "250000\n", "cpu.cfs_period_us": "100000\n"}, 2.5),
        ("1", "/", "4:cpu,cpuacct:/", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ("1", "/k", "4:cpu,cpuacct:/k/p", {"p/cpu.cfs_quota_us": "100000", "p/cpu.cfs_period_us": "100000"}, 1),
        ("1", "/", "5:memory:/", {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_of_a_container_is_read(
    tmp_path: Path, version: str, root: str, group: str, files: dict[str, str], expected: float | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS[version].format(root=root))
    (tmp_path / "proc/self/cgroup").write_text(group + "\n")
    folder = tmp_path / ("sys/fs/cgroup" if version == "2" else "sys/fs/cgroup/cpu,cpuacct")
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert cpu_quota(str(tmp_path)) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(str(tmp_path)) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 64), (2, 2), (1.5, 2), (0.1, 1), (100, 64)])
def test_no_more_threads_than_processors_or_their_time(
    run_python: Callable[..., str], quota: float | None, expected: int
) -> None:
    code = f"""
import importlib, os
os.sched_getaffinity = lambda process: set(range(64))
threads = importlib.import_module("pooling.workers")
threads.cpu_quota = lambda: {quota}
print(threads._initial())
"""
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("needs affinity masks")
    assert run_python("-c", code) == f"{expected}\n"
