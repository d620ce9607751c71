"""Small edits of the kernels and of the geometry, each of which some test has to notice.

    python tests/mutants.py [--only WORD] [--jobs 2]

All edits are compiled into one build, the lowest level at -O1, each behind a question about the environment variable
``POOLING_MUTANT`` (mutant schemata, after Untch, 1993); so there is one build to wait for, and a run of the tests for
each edit, which ends with the first test that fails. The exit code is 1 where an edit went unnoticed. The tests of one
process see one level only, so that those that compare levels have nothing to compare.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "mutants"
LEVEL = "x86-64-v2" if os.uname().machine == "x86_64" else "generic"


class Mutant(NamedTuple):
    """One edit.

    Attributes
    ----------
    name : str
        What is wrong then.
    path : str
        The file.
    line : str
        A piece of it that stands there once, with the expression that changes in ``[[`` and ``]]``.
    instead : str
        The expression that takes its place.
    tests : str
        Test files that are asked first.
    """

    name: str
    path: str
    line: str
    instead: str
    tests: str = ""


MUTANTS: tuple[Mutant, ...] = ()

TESTS = (
    "test_functional",
    "test_gradients",
    "test_reference",
    "test_geometry",
    "test_threads",
    "test_norms",
    "test_blurring",
    "test_regions",
    "test_fractional",
    "test_unpooling",
    "test_arrays",
    "test_layers",
)
"""Files of tests that see kernels and geometry, in the order in which they are asked."""

IN_C = """
#include <stdlib.h>
#ifndef POOLING_MUTANT
#define POOLING_MUTANT
static inline int pooling_mutant(void) {
    static int chosen = -1;
    const char* given;
    if (chosen < 0) {
        given = getenv("POOLING_MUTANT");
        chosen = given ? atoi(given) : 0;
    }
    return chosen;
}
#endif
"""
IN_CYTHON = f'cdef extern from *:\n    """{IN_C}"""\n    int MUTANT "pooling_mutant"() nogil\n\n'
IN_PYTHON = 'import os as _os\n\n_MUTANT = int(_os.environ.get("POOLING_MUTANT", 0))\n'


def edited(text: str, number: int, mutant: Mutant) -> str:
    """Put one edit into a file, behind the question whether it is asked for."""
    begin, middle, end = mutant.line.replace("]]", "[[").split("[[")
    whole = f"{begin}{middle}{end}"
    if text.count(whole) != 1:
        raise SystemExit(
            f"mutants: {whole!r} stands {text.count(whole)} times in {mutant.path}, and must stand there once"
        )
    asked = f"MUTANT() == {number}" if mutant.path.startswith("pyx/") else f"_MUTANT == {number}"
    return text.replace(whole, f"{begin}(({mutant.instead}) if {asked} else ({middle})){end}")


def with_question(path: str, text: str) -> str:
    """Put the question before the first definition of a file."""
    if path.endswith(".h"):
        return IN_C + text
    lines = text.splitlines(keepends=True)
    begins = ("cdef ", "cimport ", "from ", "ctypedef ") if path.startswith("pyx/") else ("import ", "from ")
    question = IN_CYTHON if path.startswith("pyx/") else IN_PYTHON
    at = next(i for i, line in enumerate(lines) if line.startswith(begins) and "__future__" not in line)
    return "".join([*lines[:at], question, *lines[at:]])


def build() -> None:
    """Copy the repository, edit it, and compile it."""
    shutil.rmtree(TREE, ignore_errors=True)
    skipped = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("pooling", "export", "pyx", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, TREE / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, TREE)
    (TREE / "pooling" / "export").symlink_to(TREE / "export")
    setup = TREE / "setup.py"
    setup.write_text(setup.read_text().replace('"-O3"', '"-O1"'))
    files = dict.fromkeys(mutant.path for mutant in MUTANTS)
    for path in files:
        text = (TREE / path).read_text()
        for number, mutant in enumerate(MUTANTS, 1):
            if mutant.path == path:
                text = edited(text, number, mutant)
        (TREE / path).write_text(with_question(path, text))
    environment = {**os.environ, "POOLING_LEVELS": LEVEL}
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=TREE, env=environment, check=True)


def run(number: int, files: list[str]) -> str | None:
    """Run tests with one edit; return the test that failed first, or None."""
    environment = {
        **os.environ,
        "POOLING_MUTANT": str(number),
        "PYTHONPATH": str(TREE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *files]
    try:
        done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return "no end within 900 s"
    if done.returncode == 0:
        return None
    named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return named[0].split(" - ")[0] if named else f"exit code {done.returncode}: {done.stderr.strip()[-200:]}"


def judged(number: int) -> tuple[int, str | None, float]:
    """Ask the tests about one edit."""
    begin = time.monotonic()
    first = MUTANTS[number - 1].tests.split() if number else []
    files = [f"tests/{name}.py" for name in dict.fromkeys((*first, *TESTS)) if (TREE / "tests" / f"{name}.py").exists()]
    return number, run(number, files), time.monotonic() - begin


def main() -> int:
    """Build, see that the tests pass without any edit, and ask about each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="ask about edits whose name or file has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs of the tests at a time")
    parser.add_argument("--list", action="store_true", help="print the edits and end")
    parser.add_argument("--no-build", action="store_true", help="take the build of the last time")
    options = parser.parse_args()
    chosen = [n for n, mutant in enumerate(MUTANTS, 1) if options.only in f"{mutant.name} {mutant.path}"]
    if options.list:
        for number in chosen:
            print(f"{number:3} {MUTANTS[number - 1].path:28} {MUTANTS[number - 1].name}")
        return 0
    if not options.no_build:
        build()
    code = "import pooling, pooling.dispatch; print(pooling.__file__, pooling.dispatch.kernels.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        cwd="/",
        capture_output=True,
        text=True,
    ).stdout.split()
    if len(where) != 2 or not all(path.startswith(str(TREE)) for path in where):
        raise SystemExit(f"mutants: the tests would see {' and '.join(where) or 'no build'}, and not {TREE}")
    _, failed, seconds = judged(0)
    print(f"without an edit: {failed or 'all tests pass'} ({seconds:.0f} s)", flush=True)
    if failed:
        return 2
    alive, by_file = [], Counter[str]()
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, noticed, seconds in pool.map(judged, chosen):
            mutant = MUTANTS[number - 1]
            verdict = "noticed by" if noticed else "NOT NOTICED"
            print(f"{number:3} {mutant.path}: {mutant.name}: {verdict} {noticed or ''} ({seconds:.0f} s)", flush=True)
            if noticed:
                by_file[noticed.rpartition("/")[2].partition("::")[0]] += 1
            else:
                alive.append(mutant.name)
    print(
        f"{len(chosen) - len(alive)} of {len(chosen)} noticed", *(f"{n} in {file}" for file, n in by_file.most_common())
    )
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
