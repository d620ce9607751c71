"""Build the wheel for musl, compare the bytes of its results with those of this system's build, and run its tests.

For Debian on x86-64, where nothing is installed but gcc and make. musl, and a CPython that is linked with it, are
compiled from Debian's sources into build/musl. NumPy and what the tests need are wheels for musllinux; ml_dtypes is
compiled by zig, which has a C++ library for musl. The interpreter leaves the stack of a new thread as small as musl
makes it, 128 KiB.

Usage: python .ci/musl.py [arguments of pytest], with an interpreter that has the package and the extra lint, and a
version whose source Debian has (bookworm: 3.11, trixie: 3.13). Where no tests are named, those of threads and memory
run, then those of the array functions. Exit status 1 when something differs or a test fails.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aarch64 import unequal
from other_python import (
    compile_checkout,
    compile_source,
    debian_release,
    fetch_sources,
    install_tools,
    install_wheels,
    make,
    say,
    wheel_by_setup,
)
from wheel_tests import ARRAYS, ROOT, environment, laid, run

FOLDER = ROOT / "build" / "musl"
SOURCES = FOLDER / "sources"
PREFIX = FOLDER / "prefix"
VERSION = f"python3.{sys.version_info.minor}"
PYTHON = PREFIX / "bin" / VERSION
PACKAGES = PREFIX / "lib" / VERSION / "site-packages"
TRIPLE = "x86_64-linux-musl"
TOOLS = {"gcc": ["gcc", "linux-libc-dev"], "make": ["make"]}
"""Programs, and the packages of Debian that have them."""
SUITE = {11: "bookworm", 13: "trixie"}.get(sys.version_info.minor, "sid")
"""The release of Debian that has the source of this version of Python."""
OF_MUSL = "trixie"
"""The release that has musl 1.2.5: NumPy's wheels need 1.2.4 or newer, which knows DT_RELR."""
CONFIGURED = {
    "musl": ("--disable-static", f"--syslibdir={PREFIX / 'lib'}"),
    "zlib": ("--static",),
    "libffi": ("--disable-shared", "--disable-docs"),
    VERSION: (f"--build={TRIPLE}", "--without-ensurepip", "--disable-test-modules"),
}
"""What is compiled, in this order, and how."""
FIRST = ("threads", "process", "failures", "memory", "norm_memory", "calls_at_once")
"""Files of tests that say most about another C library, in this order; the rest of ARRAYS follows."""
ML_DTYPES = "0.5.4"
"""The last version that setuptools compiles."""
ASKED = "import json, aarch64; print(json.dumps(aarch64.all_digests()))"
"""What both interpreters are asked for: the digests that .ci/aarch64.py and .ci/compilers.py compare as well."""


def write_compiler() -> None:
    """Write a compiler for musl, and lay the kernel's headers beside those of musl."""
    for name in ("linux", "asm-generic", "x86_64-linux-gnu/asm"):
        header = PREFIX / "include" / Path(name).name
        if not header.exists():
            header.symlink_to(Path("/usr/include", name))
    compiler = PREFIX / "bin" / "cc"
    # gcc would name the C library that it was made for.
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in -print-multiarch|--print-multiarch) echo {TRIPLE}; exit;; esac\n'
        f'exec "{PREFIX}/bin/musl-gcc" "$@"\n'
    )
    compiler.chmod(0o755)


def compile_sources() -> None:
    """Compile musl, then with it what Python needs, then Python."""
    for name, options in CONFIGURED.items():
        own = {"CC": "gcc", "CFLAGS": "-O2 -fPIC"}
        if name != "musl":
            own |= {"CC": str(PREFIX / "bin" / "cc"), "CXX": "false", "PKG_CONFIG_LIBDIR": f"{PREFIX}/lib/pkgconfig"}
            own |= {"CPPFLAGS": f"-I{PREFIX}/include", "LDFLAGS": f"-L{PREFIX}/lib"}
            # By which the setup.py of Python 3.11 leaves the libraries of this system alone.
            own["_PYTHON_HOST_PLATFORM"] = "linux-x86_64"
        commands = (
            ["./configure", f"--prefix={PREFIX}", *options],
            make(*(["libz.a"] if name == "zlib" else [])),
            ["make", "install"],
        )
        compile_source("musl", name, commands, SOURCES / name, FOLDER / f"{name}.log", own)
        if name == "musl":
            write_compiler()


def for_musl() -> dict[str, str]:
    """Return the variables by which setup.py compiles for the other interpreter."""
    data = FOLDER / "sysconfig"
    data.mkdir(exist_ok=True)
    name = f"_sysconfigdata__linux_{TRIPLE}"
    shutil.copy2(PREFIX / "lib" / VERSION / f"{name}.py", data)
    return {
        "_PYTHON_HOST_PLATFORM": "linux-x86_64",
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "PYTHONPATH": str(data),
        "CPPFLAGS": f"-I{PREFIX / 'include' / VERSION}",
    }


def install(*packages: str) -> None:
    """Install wheels beside the other interpreter."""
    install_wheels(PACKAGES, ["musllinux_1_2_x86_64", "linux_x86_64"], *packages)


def install_libraries() -> None:
    """Install NumPy and what the tests need."""
    say("installing NumPy and the tests' libraries for musl ...")
    # Of the same NumPy as here, so that random numbers are the same.
    install(f"numpy=={importlib.metadata.version('numpy')}", "pytest>=8", "pytest-xdist", "hypothesis")
    folder = FOLDER / "ml_dtypes"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    subprocess.run([*command, "--no-build-isolation", f"--dest={folder}", f"ml_dtypes=={ML_DTYPES}"], check=True)
    subprocess.run(["tar", "--extract", "--file", folder / f"ml_dtypes-{ML_DTYPES}.tar.gz"], cwd=folder, check=True)
    zig = f"{sys.executable} -m ziglang c++ -target {TRIPLE} -fno-sanitize=all -g0"
    variables = {"CC": zig, "CXX": zig, "LDSHARED": f"{zig} -shared", "LDCXXSHARED": f"{zig} -shared"}
    variables |= {"ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    source = folder / f"ml_dtypes-{ML_DTYPES}"
    install("--no-deps", str(wheel_by_setup("musl", source, folder, {**for_musl(), **variables})))


def different(tree: Path) -> int:
    """Compare the digests of both builds' results; return how many differ."""
    say("comparing bytes ...")
    found = []
    for python in (sys.executable, str(PYTHON)):
        told = subprocess.run(
            [python, "-c", ASKED],
            cwd=tree,
            env={**environment(), "PYTHONPATH": f"{ROOT / '.ci'}{os.pathsep}{tree}"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found.append(json.loads(told.stdout))
    here, there = found
    # On one processor a NaN has the same sign and payload as well.
    wrong, unlike = unequal(here, there)
    for title in (*wrong, *unlike):
        say(f"DIFFERS {title}")
    say(
        f"bytes: {len(here)} arrays, of which {len(wrong)} have other numbers and {len(unlike)} another NaN with musl "
        f"than with {platform.libc_ver()[0]}"
    )
    return len(wrong) + len(unlike)


def main(arguments: list[str]) -> int:
    """Set up, build, compare and test; return the exit status."""
    begin = time.monotonic()
    if missing := [name for name in ("pooling", "Cython", "ziglang") if importlib.util.find_spec(name) is None]:
        sys.exit(f"musl: run it with an interpreter that has {', '.join(missing)}: .venv/bin/python after `make lint`")
    if platform.machine() != "x86_64":
        sys.exit("musl: it is for x86-64")
    FOLDER.mkdir(parents=True, exist_ok=True)
    compile_checkout()
    install_tools("musl", TOOLS)
    if not PYTHON.exists():
        debian_release("musl")
        fetch_sources(FOLDER, {name: OF_MUSL if name == "musl" else SUITE for name in CONFIGURED})
        compile_sources()
    if not (PACKAGES / "numpy").exists():
        install_libraries()
    wheel = wheel_by_setup("musl", ROOT, FOLDER, for_musl())
    install("--no-deps", "--force-reinstall", str(wheel))
    code = "import sysconfig, pooling; print(sysconfig.get_config_var('SOABI')); pooling.show_config()"
    subprocess.run([PYTHON, "-c", code], cwd=FOLDER, env=environment(), check=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        laid(tree)
        wrong = different(tree)
        say(f"running tests, behind {time.monotonic() - begin:.0f} s")
        names = (*FIRST, *(name for name in ARRAYS if name not in FIRST))
        if not any(argument.startswith("tests/") for argument in arguments):
            arguments = [*arguments, *(f"tests/test_{name}.py" for name in names)]
        status = run(PYTHON, tree, arguments, arrays=False)
    say(f"musl: {wrong} results differ; exit status of the tests {status}; {time.monotonic() - begin:.0f} s")
    return 1 if wrong or status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
