"""Cross-compile the wheel for aarch64, compare the bytes of its results with this machine's, and run its tests.

For Debian on x86-64. The interpreter and its headers are Debian's packages for arm64, unpacked into build/aarch64 and
not installed; NumPy and what the tests need are wheels for aarch64. setup.py compiles, told by Python's own variables
for cross-compilation which machine it is for; `qemu-aarch64-static` runs the result. What has to be installed,
qemu-user-static and a cross-compiler, is installed for root, and named to others. An emulated processor is 10 to 30
times slower. So the tests run on this machine, and each call that they make of an array function is made under the
emulator as well, with the same arguments and to the same bytes (calls_twice.py); a few files run there as a whole, and
random tests make fewer examples. What emulation cannot show: speed, and the order in which a true processor's writes
reach other threads.

That takes hours, and goes on where it was stopped: what was compared and which tests passed stands in
build/aarch64/journal, as long as the packages of both machines, their libraries, the tests and these scripts are the
same.

Usage: python .ci/aarch64.py [--jobs N] [--minutes N] [--report] [NAME ...], with an interpreter that has the package
and the version that Debian has (bookworm: 3.11). A NAME is a file of tests, `functional` for tests/test_functional.py;
without any those of the array functions run. `--report` sums up the journal and runs nothing. Exit status 1 when
something differs or a test fails, 3 when time was up.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from one_by_one import digest_of, state_of
from other_python import (
    apt_of_its_own,
    compile_checkout,
    debian_release,
    install_tools,
    install_wheels,
    of_glibc,
    say,
    wheel_by_setup,
)
from wheel_tests import ARRAYS, ROOT, environment, laid

FOLDER = ROOT / "build" / "aarch64"
SYSROOT = FOLDER / "sysroot"
HOME = FOLDER / "python"
PYTHON = HOME / "bin" / "python"
TREE = FOLDER / "tree"
JOURNAL = FOLDER / "journal"
VERSION = f"python3.{sys.version_info.minor}"
TRIPLE = "aarch64-linux-gnu"
TOOLS = {
    "qemu-aarch64-static": ["qemu-user-static"],
    f"{TRIPLE}-gcc": [f"gcc-{TRIPLE}", "libc6-dev-arm64-cross"],
}
"""Programs, and the packages of Debian that have them."""
FIRST = (
    *("elementary", "accuracy", "leaves", "norms", "blurring", "regions", "unpooling", "fractional", "block_reduce"),
    *("levels", "gradients", "functional"),
)
"""Files of tests that say most about another processor; the others of the array functions follow. The last two are the
longest, and their calls are among those whose bytes are compared."""

EMULATED = ("elementary", "leaves", "levels", "threads", "calls_at_once")
"""Files of tests that run under the emulator as a whole: they call loops by their address, programs and threads."""

ORDER = (*FIRST, *(name for name in ARRAYS if name not in FIRST))
PACKAGE = HOME / "lib" / VERSION / "site-packages" / "pooling"


def unpack_debian() -> None:
    """Unpack Debian's Python for arm64, with all that it is linked with, where nothing is installed."""
    release = debian_release("aarch64")
    say(f"unpacking Debian's {VERSION} for arm64 ...")
    apt = FOLDER / "apt"
    sources = f"deb http://deb.debian.org/debian {release} main\n"
    command = apt_of_its_own(apt, sources, APT_Architecture="arm64", APT_Architectures="arm64")
    packages = (VERSION, f"lib{VERSION}-dev", "libstdc++6")
    subprocess.run(
        [*command, "install", "--download-only", "--no-install-recommends", *packages],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for package in sorted((apt / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, SYSROOT], check=True)
    # Of the packages of newer releases everything lies in /usr.
    if not (SYSROOT / "lib").exists():
        (SYSROOT / "lib").symlink_to("usr/lib")


def make_interpreter() -> None:
    """Make a virtual environment whose interpreter is a script, which starts as programs of this machine do."""
    say("installing NumPy and the tests' libraries for aarch64 ...")
    PYTHON.parent.mkdir(parents=True, exist_ok=True)
    (HOME / "pyvenv.cfg").write_text(f"home = {SYSROOT}/usr/bin\ninclude-system-site-packages = false\n")
    emulated = ["qemu-aarch64-static", "-L", str(SYSROOT), "-0", str(PYTHON), f"{SYSROOT}/usr/bin/{VERSION}"]
    PYTHON.write_text(f'#!/bin/sh\nexec {shlex.join(emulated)} "$@"\n')
    PYTHON.chmod(0o755)
    # Of the same NumPy as here, so that random numbers are the same.
    numpy = f"numpy=={importlib.metadata.version('numpy')}"
    install(numpy, "ml_dtypes", "pytest>=8", "hypothesis")


def install(*packages: str) -> None:
    """Install wheels for aarch64 beside the emulated interpreter."""
    install_wheels(HOME / "lib" / VERSION / "site-packages", of_glibc("aarch64"), *packages)


def build_wheel() -> Path:
    """Build the wheel with the compiler, the flags and the headers of Debian's Python for arm64."""
    data, include = FOLDER / "sysconfig", FOLDER / "include"
    data.mkdir(exist_ok=True)
    name = f"_sysconfigdata__{TRIPLE}"
    shutil.copy2(SYSROOT / "usr" / "lib" / VERSION / f"{name}.py", data)
    # The headers of Python alone: those of the C library come with the compiler.
    for part in (VERSION, f"{TRIPLE}/{VERSION}"):
        (include / part).parent.mkdir(parents=True, exist_ok=True)
        if not (include / part).exists():
            (include / part).symlink_to(SYSROOT / "usr" / "include" / part)
    variables = {
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "PYTHONPATH": str(data),
        "CPPFLAGS": f"-I{include / VERSION} -I{include}",
        "POOLING_LEVELS": "",
    }
    return wheel_by_setup("aarch64", ROOT, FOLDER, variables)


FUSED = re.compile(r"\t(fn?madd|fn?msub|fmla|fmls|fmlal2?|fmlsl2?)\t")
"""Instructions that round a product and a sum once; gcc makes them by itself unless it is told not to."""


def fused() -> int:
    """Look for fused multiply-adds in the compiled modules; return how many functions of ours have one."""
    found = []
    for module in sorted(PACKAGE.glob("*.so")):
        command = [f"{TRIPLE}-objdump", "--disassemble", "--no-show-raw-insn", str(module)]
        function = ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                if line.endswith(">:\n"):
                    function = line.split()[1].strip("<>:")
                # libgcc's conversions to and from 128 bits are exact.
                elif FUSED.search(line) and not function.startswith(("__fix", "__float")):
                    found.append(f"{module.name}: {function}: {line.strip()}")
        if process.returncode:
            sys.exit(f"aarch64: {module} cannot be disassembled, exit status {process.returncode}; run it again")
    for line in found:
        say(f"FUSED {line}")
    say(f"fused multiply-adds: {len(found)}")
    return len(found)


# --- the journal ------------------------------------------------------------------------------------------------------


def package_here() -> Path:
    """Return the folder of the package that this interpreter has."""
    import pooling

    return Path(pooling.__file__).parent


def of_package(folder: Path, *tests: str) -> str:
    """Return a digest of an installed package, of what it is compared with, and of some tests."""
    here = [path for path in package_here().rglob("*") if path.suffix in (".py", ".so")]
    plugins = [ROOT / ".ci" / f"{name}.py" for name in ("aarch64", "calls_twice", "journal")]
    names = [f"test_{name}" for name in tests]
    others = digest_of([*here, *plugins]), importlib.metadata.version("numpy")
    return state_of(folder, TREE, names, environment(), *others)


def begun(name: str, digest: str) -> Path:
    """Return the file of a journal, which is begun anew where it belongs to something else."""
    path = JOURNAL / f"{name}.jsonl"
    JOURNAL.mkdir(exist_ok=True)
    if not path.exists() or next(lines_of(path), {}).get("digest") != digest:
        path.write_text(json.dumps({"digest": digest}) + "\n")
    if not path.read_text().endswith("\n"):
        with path.open("a") as file:
            file.write("\n")
    return path


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a journal; of one that was stopped the last line may be cut off."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def write(path: Path, **record: Any) -> None:
    """Add one record to a journal."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


class Clock:
    """How long the script may go on, and the processes that it has started."""

    def __init__(self, minutes: float) -> None:
        self.begin = time.monotonic()
        self.end = self.begin + 60 * minutes if minutes else float("inf")
        self.processes: set[subprocess.Popen[str]] = set()

    def is_over(self) -> bool:
        """Whether nothing more shall begin."""
        return time.monotonic() >= self.end

    def run(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process in a group of its own, which ends together with its children."""
        process = subprocess.Popen(command, cwd=TREE, text=True, process_group=0, **options)
        self.processes.add(process)
        return process

    def wait(self, process: subprocess.Popen[str]) -> int | None:
        """Wait for a process; return its exit status, or nothing where time was up."""
        try:
            process.wait(None if self.end == float("inf") else max(1.0, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.discard(process)
        return None if self.is_over() else process.returncode

    def stop(self, *_: object) -> None:
        """End everything: for signals, whose default would leave the processes behind."""
        self.end = self.begin
        for process in list(self.processes):
            os.killpg(process.pid, signal.SIGKILL)


def variables() -> dict[str, str]:
    """Return the variables of processes that find the tests and this folder; what they compile is kept."""
    found = environment()
    found["PYTHONPATH"] = f"{ROOT / '.ci'}{os.pathsep}{TREE}"
    found["PYTHONPYCACHEPREFIX"] = str(FOLDER / "pycache")
    return found


# --- the comparison ---------------------------------------------------------------------------------------------------


def parts() -> dict[str, Callable[[], Iterable[tuple[str, Any]]]]:
    """Return, by name, functions that make results of every family, and what they are called with."""
    from tests import many_calls, test_levels

    def inputs() -> Iterator[tuple[str, Any]]:
        for name in ("maps", "small", "image", "rois", "samples"):
            yield f"input {name}", getattr(many_calls, name)

    def called(name: str) -> Iterator[tuple[str, Any]]:
        found = many_calls.CALLS[name]()
        for number, part in enumerate(found if isinstance(found, (tuple, list)) else (found,)):
            yield f"{name}, result {number}", part

    found: dict[str, Callable[[], Iterable[tuple[str, Any]]]] = {"inputs": inputs}
    found |= {f"call {name}": partial(called, name) for name in many_calls.CALLS}
    found |= {"halves": test_levels.halves, "elementary": test_levels.elementary, "others": test_levels.others}
    return found | {f"path {path}": partial(test_levels.results, path) for path in test_levels.PATHS}


def digests_of(part: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """Return digests of results: of their bytes, and of their bytes with one NaN in place of all."""
    import numpy as np

    found = {}
    with np.errstate(all="ignore"):
        for title, result in part:
            array = np.asarray(result)
            one = array.copy()
            if array.dtype.kind not in "iub":
                one[np.isnan(array.astype(np.float64))] = np.nan
            found[title] = [hashlib.sha256(each.tobytes()).hexdigest() for each in (array, one)]
    return found


def all_digests() -> dict[str, list[str]]:
    """Return the digests of all parts."""
    return {title: digest for part in parts().values() for title, digest in digests_of(part()).items()}


def digests(names: list[str]) -> None:
    """Print a line of JSON for each part, with its digests."""
    every = parts()
    for name in names:
        begin = time.monotonic()
        found = digests_of(every[name]())
        print(json.dumps({"part": name, "found": found, "seconds": round(time.monotonic() - begin, 1)}), flush=True)


def unequal(here: dict[str, list[str]], there: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Return of which results the numbers differ, and of which only the sign or the payload of some NaN."""
    assert here.keys() == there.keys()
    wrong = [title for title in here if here[title][1] != there[title][1]]
    return wrong, [title for title in here if here[title] != there[title] and title not in wrong]


def made(python: str, journal: Path, names: list[str], clock: Clock) -> None:
    """Have an interpreter make the parts that a journal has not."""
    code = "import json, sys, aarch64; aarch64.digests(json.load(sys.stdin))"
    process = clock.run([python, "-c", code], env=variables(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)
    assert process.stdin is not None
    assert process.stdout is not None
    json.dump(names, process.stdin)
    process.stdin.close()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(lambda: [write(journal, **json.loads(line)) for line in process.stdout or ()])
        status = clock.wait(process)
        if status is not None:
            reading.result()
    if status:
        sys.exit(f"aarch64: {python} ended with exit status {status} behind {len(list(lines_of(journal))) - 1} parts")


def different(clock: Clock, jobs: int) -> int:
    """Compare the digests of both machines; return how many differ."""
    names = list(parts())
    here = begun("bytes-here", of_package(package_here(), "levels"))
    there = begun("bytes-aarch64", of_package(PACKAGE, "levels"))
    say(f"comparing bytes of {len(names)} parts ...")
    for python, journal, together in ((sys.executable, here, 1), (str(PYTHON), there, jobs)):
        has = {record.get("part") for record in lines_of(journal)}
        missing = [name for name in names if name not in has]
        with ThreadPoolExecutor(together) as pool:
            shares = [missing[i::together] for i in range(together)]
            for work in [pool.submit(made, python, journal, share, clock) for share in shares if share]:
                work.result()
    return compared(here, there, len(names))


def compared(here: Path, there: Path, number: int) -> int:
    """Say what of two journals differs; return how many arrays do."""
    ours, theirs = (
        {record["part"]: record["found"] for record in lines_of(path) if "part" in record} for path in (here, there)
    )
    wrong: list[str] = []
    unlike: list[str] = []
    count = 0
    for part in ours.keys() & theirs.keys():
        differs, other_nan = unequal(ours[part], theirs[part])
        count += len(ours[part])
        wrong += differs
        unlike += other_nan
    for title in wrong:
        say(f"DIFFERS {title}")
    say(
        f"bytes: {count} arrays of {len(ours.keys() & theirs.keys())} parts of {number}, of which {len(wrong)} have "
        f"other numbers on aarch64, and {len(unlike)} the same numbers and a NaN with another sign or payload"
    )
    return len(wrong)


# --- the tests --------------------------------------------------------------------------------------------------------


CALLS = re.compile(r"(\d+) (made twice|made here alone|different)")
"""What calls_twice.py says at its end."""


def tested(name: str, clock: Clock) -> None:
    """Run one file of tests, as far as it has not passed before, and say how it went."""
    journal = begun(f"test_{name}", of_package(PACKAGE, name))
    if clock.is_over() or outcome_of(journal) == "passed":
        return
    begin = time.monotonic()
    log = JOURNAL / f"test_{name}.log"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "journal", f"--journal={journal}"]
    command += ["--hypothesis-profile=few", f"tests/test_{name}.py"]
    twice = [sys.executable, *command, "-p", "no:xdist", "-p", "calls_twice", f"--other={PYTHON}"]
    status: int | None = 1
    for python in ([] if name in EMULATED else [twice]) + [[str(PYTHON), *command]]:
        with log.open("w") as file:
            status = clock.wait(clock.run(python, env=variables(), stdout=file, stderr=file))
        said = log.read_text(errors="replace").rpartition(" array functions: ")[2].partition("\n")[0]
        calls = {how: int(number) for number, how in CALLS.findall(said)}
        if calls:
            write(journal, calls=calls)
        # What fails for being run so, such as tests of memory, runs under the emulator.
        if status != 1 or calls.get("different"):
            break
    if status not in (0, 1, 5, None):
        last = [record["began"] for record in lines_of(journal) if "began" in record][-1:]
        say(f"test_{name}: exit status {status} in {last}")
    say(f"{told(journal)}; {time.monotonic() - begin:.0f} s")


def outcomes_in(journal: Path) -> dict[str, dict[str, Any]]:
    """Return the last record of each test of a journal."""
    return {record["test"]: record for record in lines_of(journal) if "test" in record}


def calls_in(journal: Path) -> Counter[str]:
    """Return how many calls were made by both machines, or by one."""
    counts: Counter[str] = Counter()
    for record in lines_of(journal):
        counts.update(record.get("calls", {}))
    return counts


def outcome_of(journal: Path) -> str:
    """Return "passed", "failed", or "unfinished"."""
    outcomes = outcomes_in(journal)
    if calls_in(journal)["different"] or any(record["outcome"] == "failed" for record in outcomes.values()):
        return "failed"
    # 5: everything has been done before.
    ended = any(record.get("finished") in (0, 1, 5) for record in lines_of(journal))
    return "passed" if outcomes and ended else "unfinished"


def told(journal: Path) -> str:
    """Return in a line how far a file of tests has come."""
    records = outcomes_in(journal)
    counts = Counter(record["outcome"] for record in records.values())
    seconds = sum(record["seconds"] for record in records.values())
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "nothing"
    failed = "".join(f"\n    FAILED {test}" for test, record in records.items() if record["outcome"] == "failed")
    made = ", ".join(f"{number} {how}" for how, number in sorted(calls_in(journal).items()))
    calls = f"; calls: {made}" if made else ""
    return f"{journal.stem}: {outcome_of(journal)}: {numbers} in {seconds:.0f} s of tests{failed}{calls}"


def report() -> None:
    """Sum up the journal."""
    journals = {path.stem: path for path in JOURNAL.glob("*.jsonl")}
    if journals.keys() >= {"bytes-here", "bytes-aarch64"}:
        compared(journals["bytes-here"], journals["bytes-aarch64"], len(parts()))
    counts: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for name in ORDER:
        if (path := journals.get(f"test_{name}")) is not None:
            say(told(path))
            counts.update(record["outcome"] for record in outcomes_in(path).values())
            calls.update(calls_in(path))
    for title, found in (("tests", counts), ("calls", calls)):
        say(f"{title}: {', '.join(f'{number} {how}' for how, number in sorted(found.items()))}")


def set_up() -> None:
    """Build the wheel, install it beside the emulated interpreter, and lay out the tests."""
    if importlib.util.find_spec("pooling") is None or importlib.util.find_spec("Cython") is None:
        sys.exit("aarch64: run it with an interpreter that has the package and Cython, such as .venv/bin/python")
    FOLDER.mkdir(parents=True, exist_ok=True)
    compile_checkout()
    install_tools("aarch64", TOOLS)
    if not (SYSROOT / "usr" / "bin" / VERSION).exists():
        unpack_debian()
    if not (HOME / "lib").exists():
        make_interpreter()
    install("--no-deps", "--force-reinstall", str(build_wheel()))
    code = "import platform, pooling; print(platform.machine()); pooling.show_config()"
    subprocess.run([PYTHON, "-c", code], cwd=FOLDER, env=environment(), check=True)
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir()
    laid(TREE)


def main() -> int:
    """Set up, build, compare and test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", help="a file of tests; without any, those of the array functions")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--minutes", type=float, default=0, help="stop behind so many")
    parser.add_argument("--report", action="store_true", help="sum up the journal, and run nothing")
    options = parser.parse_args()
    clock = Clock(options.minutes)
    if not options.report:
        set_up()
    # Not before it is there: Python remembers which folders are not.
    sys.path.insert(0, str(TREE))
    if options.report:
        report()
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, clock.stop)
    wrong = fused() + different(clock, options.jobs)
    names = options.name or ORDER
    with ThreadPoolExecutor(options.jobs) as pool:
        for work in [pool.submit(tested, name, clock) for name in names]:
            work.result()
    outcomes = Counter(outcome_of(JOURNAL / f"test_{name}.jsonl") for name in names)
    say(
        f"aarch64: {wrong} results or instructions differ; files of tests: "
        f"{', '.join(f'{number} {outcome}' for outcome, number in sorted(outcomes.items()))}; "
        f"{time.monotonic() - clock.begin:.0f} s"
    )
    if wrong or outcomes["failed"]:
        return 1
    return 3 if clock.is_over() else int(outcomes["unfinished"] > 0)


if __name__ == "__main__":
    sys.exit(main())
