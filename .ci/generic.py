"""Compile the kernels on x86-64 as other processors compile them, and run the tests of the array functions on them.

What is compiled is the C that is left without SSE2, with a plain `char` that has no sign, as on ARM. Added are the
checks of UndefinedBehaviorSanitizer, with that of conversions to integers that cannot hold the number: those give
other integers on ARM than on x86, and are no part of its usual checks. An emulator takes hours for what this shows in
minutes; .ci/aarch64.py is for what only the other instructions can show.

Usage: python .ci/generic.py [arguments of pytest]; exit status 1 when a check or a test finds something. The build is
kept in build/generic.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sanitizers import KERNELS, LEVEL, ROOT, build, copied, run_tests, say_missing, works

FOLDER = ROOT / "build" / "generic"
CHECKS = "undefined,float-cast-overflow"
OTHER = ["-U__SSE2__", "-funsigned-char"]
"""What makes a compiler for x86-64 leave out its instructions, and read a plain char as ARM does."""


def laid_out(tree: Path) -> None:
    """Copy what the tests need, to be compiled as other processors compile it."""
    copied(tree)
    setup = tree / "setup.py"
    before = f"-fsanitize={KERNELS}"
    text = setup.read_text()
    assert text.count(before) == 1
    flags = '", "'.join([f"-fsanitize={CHECKS}", *OTHER])
    text = text.replace(before, flags)
    # Nor what that level has beyond SSE2; tests know by its name what there is.
    level = f'"{LEVEL}": ["-march={LEVEL}"]'
    assert level in text or LEVEL == "generic"
    setup.write_text(text.replace(level, '"generic": ["-march=x86-64"]'))


def main(asked: list[str]) -> int:
    """Build and test; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        if not works(CHECKS, Path(folder)):
            say_missing("UndefinedBehaviorSanitizer with float-cast-overflow")
            return 0
    laid_out(FOLDER)
    build(FOLDER, "generic", CHECKS)
    return run_tests(FOLDER, {"UBSAN_OPTIONS": "print_stacktrace=1"}, asked, "generic")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sys.exit(main(parser.parse_known_args()[1]))
