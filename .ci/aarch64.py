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
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def say(sentence: str) -> None:
    """Print at once what is going on."""
    print(sentence, flush=True)


def install_tools() -> None:
    """Install what is missing, or say what is."""
    missing = [package for program, packages in TOOLS.items() if not shutil.which(program) for package in packages]
    if not missing:
        return
    command = [
        "apt-get",
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--option=DPkg::Lock::Timeout=300",
        *missing,
    ]
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit(f"aarch64: {', '.join(missing)} must be installed, which root does on Debian: {shlex.join(command)}")
    say(f"installing {', '.join(missing)} ...")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def unpack_debian() -> None:
    """Unpack Debian's Python for arm64, with all that it is linked with, where nothing is installed."""
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian" or not shutil.which("apt-get"):
        sys.exit("aarch64: the interpreter is one of Debian's packages, and this system is not Debian")
    say(f"unpacking Debian's {VERSION} for arm64 ...")
    apt = FOLDER / "apt"
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb http://deb.debian.org/debian {system['VERSION_CODENAME']} main\n")
    options = {
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
    }
    command = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in options.items())]
    packages = (VERSION, f"lib{VERSION}-dev", "libstdc++6")
    subprocess.run([*command, "update"], check=True)
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
    glibc = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 24, 26, 27, 28, 34)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--only-binary=:all:", *glibc]
    command += ["--platform=manylinux2014_aarch64", "--platform=linux_aarch64", "--implementation=cp"]
    command += [f"--python-version=3.{sys.version_info.minor}", f"--target={HOME / 'lib' / VERSION / 'site-packages'}"]
    subprocess.run([*command, *packages], check=True)


def build_wheel() -> Path:
    """Build the wheel by setup.py, with the compiler, the flags and the headers of Debian's Python for arm64."""
    say("building the wheel ...")
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
    made = FOLDER / "dist"
    shutil.rmtree(made, ignore_errors=True)
    command = [sys.executable, "setup.py", "-q", "egg_info", f"--egg-base={FOLDER}"]
    command += ["build", f"--build-base={FOLDER / 'build'}", "bdist_wheel", f"--dist-dir={made}"]
    log = FOLDER / "build.log"
    with log.open("w") as file:
        # What setup.py says of its progress goes to the terminal.
        built = subprocess.run(
            [*command, f"--bdist-dir={FOLDER / 'bdist'}"],
            cwd=ROOT,
            env={**environment(), **variables},
            stderr=file,
            check=False,
        )
    if built.returncode:
        sys.exit(f"{log.read_text(errors='replace')[-8000:]}\naarch64: the wheel cannot be built, see {log}")
    (wheel,) = made.glob("*.whl")
    say(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
    return wheel


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


def unequal(here: dict[str, list[str]], there: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Return of which results the numbers differ, and of which only the sign or the payload of some NaN."""
    assert here.keys() == there.keys()
    wrong = [title for title in here if here[title][1] != there[title][1]]
    return wrong, [title for title in here if here[title] != there[title] and title not in wrong]


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
    wrong, unlike = unequal(here, there)
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
    install_tools()
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
