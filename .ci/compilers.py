"""Ask the compilers of older and newer distributions whether they take the C of every compiled module.

gcc 14 and clang 16 made errors of what others only warn of; those warnings are errors here, whatever compiler this is.
Without arguments the system's compiler is asked and a current clang, which comes with the wheel `ziglang`. Only the
syntax is checked, so that this takes seconds. Each header is compiled alone as well, once more without what the
compiler says of SSE2: then it is what other processors than x86 compile.

With ``--build`` the modules are built in full, with the flags of setup.py, and the results of calls of every family are
compared byte by byte with those of the installed package, on every level that this processor runs (POOLING_LEVELS names
others than all): the modules of any two compilers must make the same bytes.

Usage: python .ci/compilers.py [--optimize LEVEL] [--translated FOLDER] [--build] [COMPILER ...]; exit status 1 when a
compiler refuses, or its modules make other bytes. A COMPILER is a command such as gcc-11, or in quotes one with
arguments, such as "chroot FOLDER gcc-16", where FOLDER has the same paths: /tmp, the checkout, and Python's headers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import setuptools
from aarch64 import unequal
from other_python import compile_checkout
from wheel_tests import ROOT, environment, laid

STRICT = [
    "-Werror=incompatible-pointer-types",
    "-Werror=implicit-function-declaration",
    "-Werror=implicit-int",
    "-Werror=int-conversion",
    "-Werror=return-type",
]
STRICT_GCC = [*STRICT, "-Werror=discarded-qualifiers"]
STRICT_CLANG = [*STRICT, "-Werror=incompatible-pointer-types-discards-qualifiers"]
# Module, source, and its level.
MODULES = [("pooling._core", "core.pyx", "")]
if sysconfig.get_platform().endswith("x86_64"):
    MODULES += [
        (f"pooling._kernels_{level.replace('-', '_')}", "kernels.pyx", level)
        for level in os.environ.get("POOLING_LEVELS", "x86-64-v2 x86-64-v3").split()
    ]
else:
    MODULES += [("pooling._kernels_generic", "kernels.pyx", "")]
ZIG = "clang of ziglang"
MATTERS = re.compile(r"\[-W([a-z]+-)?(uninitialized|array-bounds|stringop|overflow|overread)")
"""Of these warnings, each is printed: where one is right, a result is wrong."""
ASKED = """
import json, aarch64, pooling
from pooling import _core, dispatch
answer = {"file": pooling.__file__, "compiler": _core.compiler(), "levels": dispatch.available_levels()}
print(json.dumps(answer | {"digests": aarch64.all_digests()}))
"""
"""What is asked of a package: who it is, and digests of its results."""


def compilers(named: list[str]) -> dict[str, list[str]]:
    """Return for each compiler how it is called: those that are named, or else those that are here."""
    if named:
        return {name: shlex.split(name) for name in named}
    found = {}
    cc = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(cc[0]):
        found[cc[0]] = cc
    if importlib.util.find_spec("ziglang"):
        # By itself it would compile for the very processor, whatever -march says later.
        target = (
            f"{os.uname().machine.replace('arm64', 'aarch64')}-{'macos' if sys.platform == 'darwin' else 'linux-gnu'}"
        )
        found[ZIG] = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    return found


def version(command: list[str]) -> str:
    """Return the first line that a compiler says of itself."""
    return subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout.partition("\n")[0]


def warnings(text: str) -> str:
    """Sum up the warnings of a compiler by kind."""
    kinds = Counter(re.findall(r"warning: .*\[-W([\w-]+)=?\]", text))
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()) or "no warning"


def refused(name: str, command: list[str], module: str, level: str, text: Path, flags: list[str]) -> bool:
    """Ask a compiler about a module, and say what it answers."""
    said = version(command)
    # zig spells levels with underscores.
    march = [f"-march={level.replace('-', '_') if name == ZIG else level}"] if level else []
    answer = subprocess.run(
        [
            *command,
            *march,
            "-Wall",
            *(STRICT_CLANG if "clang" in said else STRICT_GCC),
            *flags,
            "-DNDEBUG",
            f"-I{sysconfig.get_path('include')}",
            f"-I{ROOT / 'pyx'}",
            "-DCYTHON_INLINE=inline __attribute__((always_inline))",
            f'-DPOOLING_LEVEL="{level}"',
            f'-DPOOLING_LEVELS="{" ".join(level for *_, level in MODULES if level)}"',
            str(text),
        ],
        capture_output=True,
        text=True,
        cwd=text.parent,
        check=False,
    )
    # zig looks for the object file that -fsyntax-only does not make, and fails behind what clang says.
    lines = answer.stderr.splitlines()
    errors_said = [line for line in lines if "error:" in line and "failed to rename" not in line]
    missing = any("failed to rename" in line for line in lines)
    wrong = bool(errors_said) or (answer.returncode != 0 and not missing)
    print(f"{'REFUSED' if wrong else 'ok':8}{said}: {module}: {warnings(answer.stderr)}", flush=True)
    if wrong:
        print(answer.stderr)
    for line in lines:
        if MATTERS.search(line) and not wrong:
            print(f"        {line.removeprefix(str(text.parent))}")
    return wrong


def refused_headers(name: str, command: list[str], folder: str) -> bool:
    """Compile each header alone, for this processor and for others, and say what was refused."""
    wrong = False
    source = Path(folder, "header.c")
    headers = sorted((ROOT / "pyx" / "c").glob("*.h"))
    include = [f"-I{sysconfig.get_path('include')}", f"-I{ROOT / 'pyx'}"]
    for header in headers:
        source.write_text(f'#include "c/{header.name}"\n')
        for processor in ([], ["-U__SSE2__"]):
            flags = [*processor, "-D_GNU_SOURCE", "-fsyntax-only", *STRICT, *include]
            answer = subprocess.run([*command, *flags, str(source)], capture_output=True, text=True, check=False)
            if answer.returncode:
                wrong = True
                print(f"REFUSED {name} {' '.join(processor)}: {header.name}\n{answer.stderr}")
    print(
        f"{'REFUSED' if wrong else 'ok':8}{name}: {len(headers)} headers, each alone, with SSE2 and without", flush=True
    )
    return wrong


def flags_of_setup(level: str) -> list[str]:
    """Return the flags by which setup.py compiles a module, those that Python brings along included."""
    setuptools.setup = lambda **_: None
    made = runpy.run_path(str(ROOT / "setup.py"))
    own, shared = (shlex.split(sysconfig.get_config_var(name) or "") for name in ("CFLAGS", "CCSHARED"))
    return [*own, *shared, *made["FLAGS"]["unix"], *(made["LEVELS"][level] if level else [])]


def link(command: list[str], folder: Path) -> None:
    """Make modules of the objects in a folder, in a package beside them that is otherwise that of the checkout."""
    package = folder / "pooling"
    shutil.copytree(ROOT / "pooling", package, ignore=shutil.ignore_patterns("__pycache__", "*.so", "export"))
    shared = shlex.split(sysconfig.get_config_var("LDSHARED"))[1:]
    for file in folder.glob("*.o"):
        module = package / f"{file.stem.partition('.')[2]}{sysconfig.get_config_var('EXT_SUFFIX')}"
        subprocess.run([*command, *shared, str(file), "-o", str(module)], check=True)


def answers(tree: Path, level: str = "") -> dict[str, Any]:
    """Ask the package that a folder holds, or the installed one where it holds none, on its best level or another."""
    variables = {**environment(), "PYTHONPATH": f"{ROOT / '.ci'}{os.pathsep}{tree}"}
    variables |= {"POOLING_MAX_ISA": level} if level else {}
    told = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=tree, env=variables, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def different(tree: Path, expected: dict[str, Any]) -> bool:
    """Compare the results of a package, on each of its levels, with those expected; say what differs."""
    best = answers(tree)
    assert Path(best["file"]).is_relative_to(tree), best["file"]
    count = 0
    for level in best["levels"]:
        found = best if level == best["levels"][-1] else answers(tree, level)
        wrong, unlike = unequal(expected["digests"], found["digests"])
        for title in (*wrong, *unlike):
            print(f"DIFFERS {title}")
        print(
            f"{'DIFFERS' if wrong or unlike else 'ok':8}{found['compiler']}, {level}: {len(found['digests'])} arrays, "
            f"of which {len(wrong)} have other numbers, and {len(unlike)} another NaN",
            flush=True,
        )
        count += len(wrong) + len(unlike)
    return count > 0


def asked_fully(name: str, command: list[str], texts: dict[str, Path], folder: Path, expected: dict[str, Any]) -> int:
    """Build all modules with a compiler and compare their results; return how often it refuses or something differs."""
    folder.mkdir()
    count = 0
    for module, _, level in MODULES:
        flags = [*flags_of_setup(level), "-c", "-o", str(folder / f"{module}.o")]
        count += refused(name, command, module, level, texts[module], flags)
    if not count:
        laid(folder)
        link(command, folder)
        count += different(folder, expected)
    return count


def translated(folder: Path, known: Path | None) -> dict[str, Path]:
    """Put the C of every module into a folder, from a build or by Cython; return where it is."""
    texts = {}
    for module, source, _ in MODULES:
        text = texts[module] = folder / f"{module}.c"
        if known:
            shutil.copy(known / text.name, text)
        else:
            command = [sys.executable, "-m", "cython", "--module-name", module, "-I", "pyx"]
            subprocess.run([*command, "-o", text, f"pyx/{source}"], check=True, cwd=ROOT)
    return texts


def main() -> int:
    """Ask each compiler about each module; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("compiler", nargs="*", help="a command; without any, cc and the clang of ziglang")
    parser.add_argument("--optimize", default="", metavar="LEVEL", help="compile at -O LEVEL, and not the syntax only")
    parser.add_argument(
        "--translated", type=Path, metavar="FOLDER", help="with the C of a build, such as build/cpython-*"
    )
    parser.add_argument("--build", action="store_true", help="compile in full, and compare the bytes of results")
    options = parser.parse_args()
    asked = compilers(options.compiler)
    if not options.compiler and ZIG not in asked:
        print("not installed: ziglang (pip install ziglang), so no current clang was asked")
    if not asked:
        print("no compiler was found: set CC")
        return 1
    if missing := [name for name, command in asked.items() if not shutil.which(command[0])]:
        print(f"not installed: {', '.join(missing)}")
        return 1
    count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Of zig -fsyntax-only fails; its modules show its clang.
        for compiler in asked.keys() - {ZIG}:
            count += refused_headers(compiler, asked[compiler], name)
        texts = translated(folder, options.translated)
        if options.build:
            compile_checkout()
            (folder / "installed").mkdir()
            laid(folder / "installed")
            expected = answers(folder / "installed")
            print(f"installed: {expected['compiler']}, {expected['levels'][-1]}", flush=True)
            # zig takes no level as setup.py spells it.
            for number, compiler in enumerate(asked.keys() - {ZIG}):
                count += asked_fully(compiler, asked[compiler], texts, folder / f"build{number}", expected)
            return 1 if count else 0
        flags = [f"-O{options.optimize}", "-c", "-fPIC", "-o", f"{name}/module.o"]
        for module, _, level in MODULES:
            for compiler, command in asked.items():
                how = flags if options.optimize else ["-fsyntax-only"]
                count += refused(compiler, command, module, level, texts[module], how)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
