"""Ask the compilers of newer distributions whether they take the C of every compiled module.

gcc 14 made errors of what gcc 12 only warns of; those warnings are errors here, whatever gcc this is. A current clang
comes with the wheel `ziglang`. Only the syntax is checked, so that this takes seconds. Each header is compiled alone as
well, once more without what the compiler says of SSE2: then it is what other processors than x86 compile.

Usage: python .ci/compilers.py; exit status 1 when a compiler refuses.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRICT = [
    "-Werror=incompatible-pointer-types",
    "-Werror=implicit-function-declaration",
    "-Werror=int-conversion",
    "-Werror=discarded-qualifiers",
]
# Module, source, and the flags of its level for gcc and for clang, which spells levels with underscores.
MODULES = [("pooling._core", "core.pyx", [], [])]
if sysconfig.get_platform().endswith("x86_64"):
    MODULES += [
        (f"pooling._kernels_x86_64_v{level}", "kernels.pyx", [f"-march=x86-64-v{level}"], [f"-march=x86_64_v{level}"])
        for level in (2, 3)
    ]
else:
    MODULES += [("pooling._kernels_generic", "kernels.pyx", [], [])]


def compilers() -> dict[str, tuple[list[str], list[str]]]:
    """Return for each compiler that is here how it is called, and the flags that it alone knows."""
    found = {}
    cc = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(cc[0]):
        found[cc[0]] = (cc, STRICT)
    if importlib.util.find_spec("ziglang"):
        # By itself it would compile for the very processor, whatever -march says later.
        target = (
            f"{os.uname().machine.replace('arm64', 'aarch64')}-{'macos' if sys.platform == 'darwin' else 'linux-gnu'}"
        )
        clang = [sys.executable, "-m", "ziglang", "cc", "-target", target]
        found["clang of ziglang"] = (clang, [*STRICT[:3], "-Werror=incompatible-pointer-types-discards-qualifiers"])
    return found


def refused_headers(command: list[str], folder: str) -> int:
    """Compile each header alone, for this processor and for others; return how many were refused."""
    refused = 0
    source = Path(folder, "header.c")
    headers = sorted((ROOT / "pyx" / "c").glob("*.h"))
    include = [f"-I{sysconfig.get_path('include')}", f"-I{ROOT / 'pyx'}"]
    for header in headers:
        source.write_text(f'#include "c/{header.name}"\n')
        for processor in ([], ["-U__SSE2__"]):
            flags = [*processor, "-D_GNU_SOURCE", "-fsyntax-only", *STRICT, *include]
            answer = subprocess.run([*command, *flags, str(source)], capture_output=True, text=True, check=False)
            if answer.returncode:
                refused += 1
                print(f"REFUSED {command[0]} {' '.join(processor)}: {header.name}\n{answer.stderr}")
    print(f"{'REFUSED' if refused else 'ok':8}{command[0]}: {len(headers)} headers, each alone, with SSE2 and without")
    return refused


def main() -> int:
    """Ask each compiler about each module; return the exit status."""
    refused = 0
    asked = compilers()
    if "clang of ziglang" not in asked:
        print("no current clang was asked: the package ziglang is not installed (pip install ziglang)")
    if not asked:
        print("no compiler was found: set CC")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.keys() - {"clang of ziglang"}:
            refused += refused_headers(asked[name][0], folder)
        for module, source, *flags in MODULES:
            text = Path(folder, f"{module}.c")
            subprocess.run(
                [sys.executable, "-m", "cython", "--module-name", module, "-I", "pyx", "-o", text, f"pyx/{source}"],
                check=True,
                cwd=ROOT,
            )
            for name, (command, errors) in asked.items():
                answer = subprocess.run(
                    [
                        *command,
                        *flags[name.startswith("clang")],
                        *errors,
                        "-fsyntax-only",
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
                    cwd=folder,
                    check=False,
                )
                # zig looks for the object file that -fsyntax-only does not make, and fails behind what clang says.
                lines = answer.stderr.splitlines()
                errors_said = [line for line in lines if "error:" in line and "failed to rename" not in line]
                missing = any("failed to rename" in line for line in lines)
                wrong = bool(errors_said) or (answer.returncode != 0 and not missing)
                print(f"{'REFUSED' if wrong else 'ok':8}{name}: {module}")
                if wrong:
                    refused += 1
                    print(answer.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
