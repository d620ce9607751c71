"""Ask the compilers of older and newer distributions whether they take the C of every compiled module.

gcc 14 and clang 16 made errors of what others only warn of; those warnings are errors here, whatever compiler this is.
Without arguments the system's compiler is asked and a current clang, which comes with the wheel `ziglang`. Only the
syntax is checked, so that this takes seconds. Each header is compiled alone as well, once more without what the
compiler says of SSE2: then it is what other processors than x86 compile.

Usage: python .ci/compilers.py [--optimize LEVEL] [--translated FOLDER] [COMPILER ...]; exit status 1 when a compiler
refuses. A COMPILER is a command such as gcc-11, or in quotes one with arguments, such as "chroot FOLDER gcc-16", where
FOLDER has the same paths.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
    MODULES += [(f"pooling._kernels_x86_64_v{level}", "kernels.pyx", f"x86-64-v{level}") for level in (2, 3)]
else:
    MODULES += [("pooling._kernels_generic", "kernels.pyx", "")]
ZIG = "clang of ziglang"


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


def refused(name: str, command: list[str], module: str, level: str, text: Path, optimize: str) -> bool:
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
            *([f"-O{optimize}", "-c", "-fPIC", "-o", f"{text}.o"] if optimize else ["-fsyntax-only"]),
            "-DNDEBUG",
            f"-I{sysconfig.get_path('include')}",
            f"-I{ROOT / 'pyx'}",
            "-DCYTHON_INLINE=inline __attribute__((always_inline))",
            '-DPOOLING_LEVEL="none"',
            '-DPOOLING_LEVELS="none"',
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


def main() -> int:
    """Ask each compiler about each module; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("compiler", nargs="*", help="a command; without any, cc and the clang of ziglang")
    parser.add_argument("--optimize", default="", metavar="LEVEL", help="compile at -O LEVEL, and not the syntax only")
    parser.add_argument(
        "--translated", type=Path, metavar="FOLDER", help="with the C of a build, such as build/cpython-*"
    )
    options = parser.parse_args()
    asked = compilers(options.compiler)
    if not options.compiler and ZIG not in asked:
        print("no current clang was asked: the package ziglang is not installed (pip install ziglang)")
    if not asked:
        print("no compiler was found: set CC")
        return 1
    if missing := [name for name, command in asked.items() if not shutil.which(command[0])]:
        print(f"not installed: {', '.join(missing)}")
        return 1
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        # Of zig -fsyntax-only fails; its modules show its clang.
        for name in asked.keys() - {ZIG}:
            count += refused_headers(name, asked[name], folder)
        for module, source, level in MODULES:
            text = Path(folder, f"{module}.c")
            if options.translated:
                shutil.copy(options.translated / text.name, text)
            else:
                subprocess.run(
                    [sys.executable, "-m", "cython", "--module-name", module, "-I", "pyx", "-o", text, f"pyx/{source}"],
                    check=True,
                    cwd=ROOT,
                )
            for name, command in asked.items():
                count += refused(name, command, module, level, text, options.optimize)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
