"""Run the thread team under ThreadSanitizer and AddressSanitizer, with threads that lose their processor anywhere.

The program is tests/team_stress.c, which includes the team as the kernels do, without Python. Where the compiler has no
sanitizer that is said in a sentence, and is no failure.

Usage: python .ci/sanitizers.py [seconds]; exit status 1 when a sanitizer, or the program itself, finds something.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = {"ThreadSanitizer": "thread", "AddressSanitizer": "address,undefined"}


def compiled(program: Path, source: Path, *flags: str) -> str | None:
    """Compile one file; return what the compiler said when it could not."""
    command = [
        *shlex.split(os.environ.get("CC", "cc")),
        *("-O1", "-g", "-pthread", f"-I{ROOT / 'pyx'}", *flags, str(source), "-o", str(program)),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stderr if answer.returncode else None


def main(seconds: int = 10) -> int:
    """Run the program under each sanitizer; return the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        empty = Path(folder, "empty.c")
        empty.write_text("int main(void) { return 0; }\n")
        for name, kind in SANITIZERS.items():
            flags = (f"-fsanitize={kind}", "-fno-sanitize-recover=all")
            if (
                compiled(program, empty, *flags)
                or subprocess.run([program], capture_output=True, check=False).returncode
            ):
                print(f"{name}: nothing was run, since the compiler has none that works here")
                continue
            for calm in (False, True):
                said = compiled(program, ROOT / "tests/team_stress.c", *flags, *(["-DCALM"] if calm else []))
                if said:
                    print(f"{name}: the program does not compile\n{said}")
                    failed += 1
                    continue
                answer = subprocess.run(
                    [program, str(seconds // 2)], capture_output=True, text=True, timeout=60 + 10 * seconds, check=False
                )
                title = f"{name}, {'as it comes' if calm else 'threads lose their processors'}"
                if answer.returncode or answer.stderr:
                    print(f"{title}: exit status {answer.returncode}\n{answer.stderr[:8000]}")
                    failed += 1
                else:
                    print(f"{title}: nothing found in {seconds // 2} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
