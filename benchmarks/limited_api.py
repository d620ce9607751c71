"""What Python's limited API would cost: ``python -m benchmarks.limited_api``, for docs/releasing.md.

Two builds of this checkout for the running interpreter are made below build/: the ordinary one, and one whose `_core`,
which runs all the Python of a tiny call, is compiled for the limited API; with ``--kernels`` the kernels are as well.
The few calls that the limited API does not have are replaced by those that it has. Instructions of tiny calls are
counted by callgrind; their time and that of the import are measured with both builds in turns.

It needs NumPy, Cython, setuptools, a C compiler and valgrind, and no installed package: any interpreter will do.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path

import setuptools

from . import tiny

__all__ = ["build", "build_limited", "instructions", "main"]

ROOT = Path(__file__).resolve().parent.parent
INSTEAD = {
    "pyx/core.pyx": [("PyTuple_SET_ITEM", "PyTuple_SetItem")],
    # Not in the limited API of 3.12; where the interpreter has a lock, the other way is safe.
    "pyx/c/lookup.h": [("#if PY_VERSION_HEX >= 0x030d0000", "#if 0")],
}
"""What the limited API does not have, in each file, and what stands for it."""
SETUP = f"{tiny.SETUP}pooling.set_num_threads(1)"
COUNTED = """
import gc, os
gc.disable()
"""
ONE_COUNTED = """
def several(times):
    os.getsid(0)
    for _ in range(times):
        CALL
several(50)
several(50)
several(100)
os.getsid(0)
"""
"""Callgrind writes down what it has counted whenever `getsid` begins, which nobody else calls."""
TIMED = """
import sys, time, timeit
timer = timeit.Timer({call!r}, timer=time.process_time, globals=globals())
timer.timeit(2000)
for _ in sys.stdin:
    print(min(timer.repeat(5, 1000)) / 1000, flush=True)
"""
"""Time of the processor, so that what else a machine does disturbs little."""
IMPORTED = "import time, numpy; begin = time.process_time(); import pooling; print(time.process_time() - begin)"


def build(folder: Path) -> None:
    """Make a copy of the checkout with its compiled modules, or with new ones where it has none for this Python."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("pooling", "export", "pyx"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "export"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder)
    (folder / "pooling" / "export").symlink_to(folder / "export")
    modules = list((ROOT / "pooling").glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
    for module in modules:
        shutil.copy2(module, folder / "pooling")
    if not modules:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(command, cwd=folder, env={**os.environ, "POOLING_LEVELS": "native"}, check=True)


def build_limited(folder: Path, ordinary: Path, version: str, *, kernels: bool) -> None:
    """Make a package of an ordinary build, with `_core` compiled for the limited API, and the kernels if asked for."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ordinary, folder, symlinks=True)
    for path, edits in INSTEAD.items():
        text = (folder / path).read_text(encoding="utf-8")
        for there, instead in edits:
            assert there in text, (path, there)
            text = text.replace(there, instead)
        (folder / path).write_text(text, encoding="utf-8")
    for module in (folder / "pooling").glob("*.so"):
        name = module.name.partition(".")[0]
        if name == "_core":
            compiled(folder, module, "core.pyx", "", version)
        elif kernels:
            compiled(folder, module, "kernels.pyx", name.removeprefix("_kernels_").replace("_", "-"), version)


def compiled(folder: Path, module: Path, source: str, level: str, version: str) -> None:
    """Translate and compile one module for the limited API, otherwise as setup.py does."""
    setuptools.setup = lambda **_: None
    made = runpy.run_path(str(ROOT / "setup.py"))
    name = f"pooling.{module.name.partition('.')[0]}"
    text = folder / f"{name}.c"
    command = [sys.executable, "-m", "cython", "--module-name", name, "-I", "pyx", "-o", str(text), f"pyx/{source}"]
    subprocess.run(command, cwd=folder, check=True)
    own, shared = (shlex.split(sysconfig.get_config_var(name) or "") for name in ("CFLAGS", "CCSHARED"))
    major, minor = map(int, version.split("."))
    flags = [*own, *shared, *made["FLAGS"]["unix"], *(made["LEVELS"][level] if level else [])]
    flags += [f"-DPy_LIMITED_API=0x{major:02X}{minor:02X}0000", "-Werror=implicit-function-declaration"]
    flags += [f'-DPOOLING_LEVEL="{level}"', f'-DPOOLING_LEVELS="{" ".join(made["LEVELS"])}"']
    flags += [f"-I{folder / 'pyx'}", f"-I{sysconfig.get_path('include')}"]
    compiler, *link = shlex.split(sysconfig.get_config_var("LDSHARED"))
    subprocess.run([compiler, *link, *flags, str(text), "-o", str(module)], check=True)


def variables(folder: Path) -> dict[str, str]:
    """Return the environment of a process that imports the package of a folder."""
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def instructions(folder: Path) -> list[float]:
    """Count the instructions of one warm call of each kind: 50 times, 100 times, and the difference."""
    code = SETUP + COUNTED + "".join(ONE_COUNTED.replace("CALL", call) for call in tiny.CALLS.values())
    with tempfile.TemporaryDirectory() as there:
        command = ["valgrind", "--tool=callgrind", "--dump-before=getsid", f"--callgrind-out-file={there}/counts"]
        subprocess.run(
            [*command, sys.executable, "-c", code], cwd=there, env=variables(folder), check=True, capture_output=True
        )
        sums = {}
        for path in Path(there).glob("counts.*"):
            (line,) = (line for line in path.read_text(errors="replace").splitlines() if line.startswith("totals:"))
            sums[int(path.suffix[1:])] = int(line.split()[1])
    # Dumps are numbered from 1. Each kind begins with what lies before its first mark; its calls are the next three.
    return [(sums[4 * kind + 4] - sums[4 * kind + 3]) / 50 for kind in range(len(tiny.CALLS))]


def seconds(folders: dict[str, Path], call: str, rounds: int) -> dict[str, list[float]]:
    """Time a call in a process for each build, in turns."""
    code = SETUP + TIMED.format(call=call)
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env=variables(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, folder in folders.items()
    }
    found: dict[str, list[float]] = {name: [] for name in folders}
    for round_ in range(rounds):
        for name in list(folders)[:: -1 if round_ % 2 else 1]:
            process = processes[name]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            found[name].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    return found


def imports(folders: dict[str, Path], rounds: int) -> dict[str, list[float]]:
    """Time the import, behind that of NumPy, in fresh processes of each build in turns; the first warms the disk."""
    found: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(rounds + 1):
        for name, folder in folders.items():
            told = subprocess.run(
                [sys.executable, "-c", IMPORTED], cwd=folder, env=variables(folder), check=True, capture_output=True
            )
            found[name].append(float(told.stdout))
    return {name: times[1:] for name, times in found.items()}


def modules(folder: Path) -> dict[str, int]:
    """Return the bytes of each compiled module, deflated as in a wheel."""
    return {
        path.name.partition(".")[0]: len(zlib.compress(path.read_bytes(), 6))
        for path in sorted((folder / "pooling").glob("*.so"))
    }


def quartiles(ordinary: list[float], limited: list[float]) -> str:
    """Write the median of the ratios of single rounds, and between which numbers half of them lie."""
    low, middle, high = statistics.quantiles([b / a for a, b in zip(ordinary, limited, strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> int:
    """Build twice, measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limited_api", description=__doc__)
    parser.add_argument("--api", default="3.11", help="version of the limited API (default: 3.11, the oldest Python)")
    parser.add_argument("--rounds", type=int, default=60, help="rounds of each timing")
    parser.add_argument("--built", action="store_true", help="take the builds of the last run")
    parser.add_argument("--kernels", action="store_true", help="compile the kernels for the limited API as well")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    above = ROOT / "build" / "limited_api" / sys.implementation.cache_tag
    folders = {"ordinary": above / "ordinary", "limited": above / f"limited-{arguments.api}"}
    if not arguments.built:
        build(folders["ordinary"])
        build_limited(folders["limited"], folders["ordinary"], arguments.api, kernels=arguments.kernels)
    print(f"Python {sys.version.split()[0]}, limited API of {arguments.api}\n")
    print("| | ordinary | limited API | ratio | ratio of times |\n|---|---|---|---|---|")
    counts = [instructions(folder) for folder in folders.values()]
    for (name, call), here, there in zip(tiny.CALLS.items(), *counts, strict=True):
        times = seconds(folders, call, arguments.rounds)
        ratio = quartiles(*times.values())
        print(f"| {name}, instructions | {here:.0f} | {there:.0f} | {there / here:.2f} | {ratio} |", flush=True)
    found = imports(folders, max(2, arguments.rounds // 4))
    took = " | ".join(f"{statistics.median(times) * 1e3:.1f} ms" for times in found.values())
    print(f"| import behind NumPy | {took} | | {quartiles(*found.values())} |")
    sizes = [modules(folder) for folder in folders.values()]
    for name, size in sizes[0].items():
        if arguments.kernels or name == "_core":
            other = sizes[1][name]
            print(f"| {name} in a wheel | {size / 1e3:.0f} kB | {other / 1e3:.0f} kB | {other / size:.2f} | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
