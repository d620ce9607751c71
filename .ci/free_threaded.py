"""Build the wheel for a free-threaded CPython 3.14, and run the tests of the array functions there, the lock off.

For Linux on x86-64. CPython is compiled with `--disable-gil` from Debian's source into build/free-threaded; NumPy and
what the tests need are wheels. The package is compiled for one level. Each file of tests has a process of its own, and
what has passed is not run again while the package and the tests are the same (.ci/wheel_tests.py).

With `--thread-sanitizer` CPython is compiled once more, with ThreadSanitizer, as are the modules of the package, and
the tests of calls from several threads run there. NumPy is not, so that what it does to memory is not seen. Races of
CPython itself are left out by the lists that come with it, in Tools/tsan; any other report is a finding.

Usage: python .ci/free_threaded.py [--source ARCHIVE] [--thread-sanitizer] [tests and arguments of pytest], with an
interpreter that has NumPy and Cython. Headers of libffi and zlib are installed for root on Debian. `--source` takes a
file, an archive of the sources of CPython 3.14 such as Python-3.14.7.tar.xz, in place of what Debian offers.
With `--parallel-threads 4 --iterations 1 --hypothesis-profile=few` among the arguments each test runs in four threads.
Exit status 1 when a test fails or a race is found.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from other_python import (
    compile_source,
    debian_release,
    fetch_sources,
    install_tools,
    install_wheels,
    make,
    of_glibc,
    say,
    unpack,
    wheel_by_setup,
)
from sanitizers import build, copied, run_tests, works
from wheel_tests import ROOT, environment, laid, run

FOLDER = ROOT / "build" / "free-threaded"
MINOR = 14
NAME = f"python3.{MINOR}"
SOURCE = FOLDER / "sources" / NAME
SUITE = "sid"
"""The release of Debian whose source is compiled."""
PLAIN, SANITIZED = FOLDER / "plain", FOLDER / "thread-sanitizer"
PACKAGES = FOLDER / "packages"
"""NumPy and what the tests need, for both interpreters."""
LEVEL = "x86-64-v3"
TOOLS = {"gcc": ["gcc", "libc6-dev"], "make": ["make"]}
HEADERS = {"ffi.h": "libffi-dev", "zlib.h": "zlib1g-dev"}
"""What CPython is compiled with, and the packages of Debian that have it."""
CONFIGURED = {
    PLAIN: ("-DNDEBUG -O2 -Wall", ()),
    SANITIZED: ("-DNDEBUG -O1 -g1 -Wall", ("--with-thread-sanitizer",)),
}
"""How each interpreter is compiled: without profiles, which would take an hour."""
TESTS = (
    "tests/test_calls_at_once.py",
    *(
        f"tests/test_threads.py::{name}"
        for name in (
            "test_python_threads_may_call_at_once",
            "test_large_calls_on_several_threads_make_the_same_bytes",
            "test_any_number_of_threads_makes_the_same_bytes",
            "test_a_block_counts_in_its_own_thread_only",
            "test_the_number_that_was_set_is_the_number_that_is_got",
            "test_other_python_threads_run_during_a_call",
        )
    ),
)
"""What runs under ThreadSanitizer: tests whose calls share something, and start no other process."""


PYTHON = PLAIN / "prefix" / "bin" / f"{NAME}t"
SLOW = SANITIZED / "objects" / "python"
"""The interpreter with ThreadSanitizer; it is not installed, which would have it compile the library first."""


def without_random_addresses() -> list[str]:
    """Return what programs with ThreadSanitizer are started by: of gcc 12, they do not find their way at random ones.

    Nothing where they run as they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        if works("thread", Path(folder)):
            return []
        program = Path(folder, "program")
        before = ["setarch", platform.machine(), "--addr-no-randomize"]
        if program.exists() and not subprocess.run([*before, program], capture_output=True, check=False).returncode:
            return before
    sys.exit("free_threaded: the compiler makes no programs with ThreadSanitizer that run here")


def missing_headers() -> list[str]:
    """Return the packages of Debian whose headers the compiler does not find."""
    return [
        package
        for header, package in HEADERS.items()
        if subprocess.run(
            [*shlex.split(os.environ.get("CC", "gcc")), "-E", "-"],
            input=f"#include <{header}>\n",
            capture_output=True,
            text=True,
            check=False,
        ).returncode
    ]


def compile_python(folder: Path, archive: Path | None, before: list[str]) -> None:
    """Compile an interpreter, and before that fetch its source where it is not there yet."""
    install_tools("free_threaded", TOOLS)
    if packages := missing_headers():
        install_tools("free_threaded", {package: [package] for package in packages})
    if not (SOURCE / "configure").exists():
        if archive:
            unpack(archive, SOURCE)
        else:
            debian_release("free_threaded")
            fetch_sources(FOLDER, {NAME: SUITE})
    optimize, options = CONFIGURED[folder]
    objects = folder / "objects"
    shutil.rmtree(objects, ignore_errors=True)
    objects.mkdir(parents=True)
    configure = [SOURCE / "configure", f"--prefix={folder / 'prefix'}", "--without-ensurepip", "--disable-test-modules"]
    commands = [[*before, *configure, "--disable-gil", *options], [*before, *make()]]
    if folder == PLAIN:
        commands.append(["make", "install"])
    done = folder / "compiled"
    done.unlink(missing_ok=True)
    # What the interpreter does while it is built is not what is asked.
    variables = {"CC": os.environ.get("CC", "gcc"), "OPT": optimize, "TSAN_OPTIONS": "report_bugs=0"}
    compile_source("free_threaded", f"CPython ({folder.name})", commands, objects, folder / "python.log", variables)
    own = folder / "prefix" / "lib" / f"{NAME}t" / "site-packages"
    own.mkdir(parents=True, exist_ok=True)
    (own / "packages.pth").write_text(f"{PACKAGES}\n")
    done.touch()


def install(*packages: str) -> None:
    """Install wheels beside the interpreter."""
    install_wheels(PACKAGES, of_glibc("x86_64"), *packages, minor=MINOR, abi=f"cp3{MINOR}t")


def install_libraries() -> None:
    """Install NumPy, what the tests need, and what compiles the package."""
    say("installing NumPy, Cython and the tests' libraries ...")
    # Of the same NumPy as here, so that random numbers are the same, and the same Cython, which is asked in its place.
    same = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "cython")]
    install(*same, "ml_dtypes", "pytest>=8", "pytest-xdist", "pytest-run-parallel", "hypothesis", "setuptools")


def for_sanitized() -> dict[str, str]:
    """Return the variables by which setup.py compiles for the interpreter with ThreadSanitizer.

    Itself it runs Cython ten times slower.
    """
    data = SANITIZED / "sysconfig"
    data.mkdir(exist_ok=True)
    name = "_sysconfigdata_t_linux_x86_64-linux-gnu"
    (made,) = (SANITIZED / "objects" / "build").glob(f"*/{name}.py")
    shutil.copy2(made, data)
    return {
        "_PYTHON_HOST_PLATFORM": "linux-x86_64",
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "PYTHONPATH": str(data),
        "CPPFLAGS": f"-I{SANITIZED / 'objects'} -I{SOURCE / 'Include'}",
    }


def with_sanitizer(arguments: list[str], before: list[str]) -> int:
    """Compile the modules with ThreadSanitizer, and run tests; return the exit status."""
    tree = SANITIZED / "tree"
    copied(tree, "thread")
    setup = tree / "setup.py"
    text = setup.read_text()
    assert text.count('"-g0"') == 1
    # So that reports tell lines.
    setup.write_text(text.replace('"-g0"', '"-g1"'))
    build(tree, LEVEL, "thread", for_sanitized())
    known = SANITIZED / "suppressions.txt"
    lists = (*sorted((SOURCE / "Tools" / "tsan").glob("*.txt")), ROOT / ".ci" / "thread_sanitizer.txt")
    known.write_text("".join(path.read_text() for path in lists))
    variables = {
        "TSAN_OPTIONS": f"suppressions={known}:exitcode=0:history_size=4:second_deadlock_stack=1",
        # It takes minutes to compile what it imports.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    tests = [argument for argument in arguments if argument.startswith("tests/")]
    others = [argument for argument in arguments if argument not in tests]
    # To rewrite assertions takes minutes as well.
    command = [*before, str(SLOW), "-m", "pytest", "--assert=plain", "-p", "no:xdist", *others]
    return run_tests(tree, variables, tests or TESTS, "ThreadSanitizer", command)


CYTHON = f"""import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.call([{sys.executable!r}, "-E", "-m", "cython", *sys.argv[1:]]))
from Cython.Shadow import *
from Cython.Shadow import __version__
"""
"""The program `cython` of this system, which is compiled, in place of the one that has wheels for every Python."""


def with_wheel(arguments: list[str]) -> int:
    """Build the wheel, install it, and run tests file by file; return the exit status."""
    translator = FOLDER / "translator"
    translator.mkdir(exist_ok=True)
    (translator / "cython.py").write_text(CYTHON)
    variables = {"POOLING_LEVELS": LEVEL, "PYTHONPATH": str(translator)}
    install("--no-deps", "--force-reinstall", str(wheel_by_setup("free_threaded", ROOT, FOLDER, variables, PYTHON)))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        laid(tree)
        code = "import sys, pooling; print(sys.version, sys._is_gil_enabled()); pooling.show_config()"
        subprocess.run([PYTHON, "-c", code], cwd=tree, env=environment(), check=True)
        return run(PYTHON, tree, arguments, arrays=True, record=FOLDER / "passed")


def main() -> int:
    """Set up, build and test; return the exit status."""
    begin = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="an archive of the sources of CPython 3.14")
    parser.add_argument("--thread-sanitizer", action="store_true", help="look for races in the compiled modules")
    chosen, arguments = parser.parse_known_args()
    if missing := [name for name in ("numpy", "Cython") if importlib.util.find_spec(name) is None]:
        sys.exit(f"free_threaded: run it with an interpreter that has {', '.join(missing)}, such as .venv/bin/python")
    if platform.machine() != "x86_64":
        sys.exit("free_threaded: it is for x86-64")
    # It would keep the lock on or off, whatever a module declares.
    os.environ.pop("PYTHON_GIL", None)
    FOLDER.mkdir(parents=True, exist_ok=True)
    before = without_random_addresses() if chosen.thread_sanitizer else []
    folder = SANITIZED if chosen.thread_sanitizer else PLAIN
    if not (folder / "compiled").exists():
        compile_python(folder, chosen.source, before)
    if not (PACKAGES / "numpy").exists():
        install_libraries()
    status = with_sanitizer(arguments, before) if chosen.thread_sanitizer else with_wheel(arguments)
    say(f"free_threaded: exit status {status}; {time.monotonic() - begin:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
