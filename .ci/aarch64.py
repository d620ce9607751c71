"""Cross-compile the wheel for aarch64, compare the bytes of its results with this machine's, and run its tests.

For Debian on x86-64. The interpreter and its headers are Debian's packages for arm64, unpacked into build/aarch64 and
not installed; NumPy and what the tests need are wheels for aarch64. setup.py compiles, told by Python's own variables
for cross-compilation which machine it is for; `qemu-aarch64-static` runs the result. What has to be installed,
qemu-user-static and a cross-compiler, is installed for root, and named to others. An emulated processor is 10 to 30
times slower, so that random tests make fewer examples. What emulation cannot show: speed, and the order in which a true
processor's writes reach other threads.

Usage: python .ci/aarch64.py [arguments of pytest], with an interpreter that has the package and the version that Debian
has (bookworm: 3.11); without arguments the tests of the array functions run. Exit status 1 when something differs or a
test fails.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from other_python import apt_of_its_own, debian_release, install_tools, install_wheels, say, wheel_by_setup
from sanitizers import TESTS
from wheel_tests import ROOT, environment, laid

FOLDER = ROOT / "build" / "aarch64"
SYSROOT = FOLDER / "sysroot"
HOME = FOLDER / "python"
PYTHON = HOME / "bin" / "python"
VERSION = f"python3.{sys.version_info.minor}"
TRIPLE = "aarch64-linux-gnu"
TOOLS = {
    "qemu-aarch64-static": ["qemu-user-static"],
    f"{TRIPLE}-gcc": [f"gcc-{TRIPLE}", "libc6-dev-arm64-cross"],
}
"""Programs, and the packages of Debian that have them."""
FIRST = (
    *("functional", "gradients", "accuracy", "elementary", "leaves", "norms", "blurring", "regions", "unpooling"),
    *("fractional", "block_reduce", "levels"),
)
"""Files of tests that say most about another processor, in this order; the rest of TESTS follows."""


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
    install(numpy, "ml_dtypes", "pytest>=8", "pytest-xdist", "hypothesis")


def install(*packages: str) -> None:
    """Install wheels for aarch64 beside the emulated interpreter."""
    glibc = [f"manylinux_2_{minor}_aarch64" for minor in (17, 24, 26, 27, 28, 34)]
    platforms = [*glibc, "manylinux2014_aarch64", "linux_aarch64"]
    install_wheels(HOME / "lib" / VERSION / "site-packages", platforms, *packages)


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


def results() -> Iterator[tuple[str, Any]]:
    """Yield what calls of every family return, and what they are called with, which must be the same to begin with."""
    from tests import many_calls, test_levels

    for name in ("maps", "small", "image", "rois", "samples"):
        yield f"input {name}", getattr(many_calls, name)
    for name, call in many_calls.CALLS.items():
        found = call()
        for number, part in enumerate(found if isinstance(found, (tuple, list)) else (found,)):
            yield f"{name}, result {number}", part
    yield from test_levels.halves()
    yield from test_levels.others()
    yield from test_levels.elementary()
    yield from itertools.chain.from_iterable(map(test_levels.results, test_levels.PATHS))


def digests() -> dict[str, list[str]]:
    """Return digests of all results: of their bytes, and of their bytes with one NaN in place of all."""
    import numpy as np

    found = {}
    with np.errstate(all="ignore"):
        for title, result in results():
            array = np.asarray(result)
            one = array.copy()
            if array.dtype.kind not in "iub":
                one[np.isnan(array.astype(np.float64))] = np.nan
            found[title] = [hashlib.sha256(each.tobytes()).hexdigest() for each in (array, one)]
    return found


def different(tree: Path) -> int:
    """Compare the digests of both machines; return how many differ."""
    say("comparing bytes ...")
    command = ["-c", "import json, aarch64; print(json.dumps(aarch64.digests()))"]
    found = []
    for python in (sys.executable, str(PYTHON)):
        variables = {**environment(), "PYTHONPATH": f"{ROOT / '.ci'}{os.pathsep}{tree}"}
        told = subprocess.run(
            [python, *command], cwd=tree, env=variables, check=True, stdout=subprocess.PIPE, text=True
        )
        found.append(json.loads(told.stdout))
    here, there = found
    assert here.keys() == there.keys()
    wrong = [title for title in here if here[title][1] != there[title][1]]
    unlike = [title for title in here if here[title] != there[title] and title not in wrong]
    for title in wrong:
        say(f"DIFFERS {title}")
    say(
        f"bytes: {len(here)} arrays, of which {len(wrong)} have other numbers on aarch64, and {len(unlike)} the same "
        "numbers and a NaN with another sign or payload"
    )
    return len(wrong)


def main(arguments: list[str]) -> int:
    """Set up, build, compare and test; return the exit status."""
    begin = time.monotonic()
    if importlib.util.find_spec("pooling") is None or importlib.util.find_spec("Cython") is None:
        sys.exit("aarch64: run it with an interpreter that has the package and Cython, such as .venv/bin/python")
    FOLDER.mkdir(parents=True, exist_ok=True)
    install_tools("aarch64", TOOLS)
    if not (SYSROOT / "usr" / "bin" / VERSION).exists():
        unpack_debian()
    if not (HOME / "lib").exists():
        make_interpreter()
    wheel = build_wheel()
    install("--no-deps", "--force-reinstall", str(wheel))
    code = "import platform, pooling; print(platform.machine()); pooling.show_config()"
    subprocess.run([PYTHON, "-c", code], cwd=FOLDER, env=environment(), check=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        laid(tree)
        wrong = different(tree)
        say(f"running tests, behind {time.monotonic() - begin:.0f} s")
        names = (*FIRST, *(name for name in TESTS if name not in FIRST))
        command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", "--dist", "loadfile"]
        command.append("--hypothesis-profile=few")
        asked = arguments or [f"tests/test_{name}.py" for name in names]
        status = subprocess.run([*command, *asked], cwd=tree, env=environment(), check=False).returncode
    say(f"aarch64: {wrong} results differ; exit status of the tests {status}; {time.monotonic() - begin:.0f} s")
    return 1 if wrong or status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
