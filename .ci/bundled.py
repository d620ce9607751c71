"""Licences of what wheels bundle: those for Windows have libraries of the compiler, copied into them by delvewheel.

Usage: python .ci/bundled.py add, before a wheel for Windows is built, puts .ci/licenses-windows.txt beside LICENSE,
where `license-files` of pyproject.toml finds it. python .ci/bundled.py check FOLDER holds the wheels of a folder
against their licences; exit status 1 where one bundles a library that no line `Files:` of them names, or there is none.
"""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ADDED = "LICENSE-bundled.txt"
LIBRARY = re.compile(r".*\.(dll|dylib|so(\.\d+)*)", re.IGNORECASE)
BUNDLES = re.compile(r"[^/]+\.libs/|.*/\.dylibs/")
"""Where delvewheel, auditwheel and delocate put libraries."""


def without_licence(wheel: Path) -> list[str]:
    """Return the libraries in a wheel that its licences do not name."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        licences = [name for name in names if re.match(r"[^/]+\.dist-info/licenses/.", name)]
        text = "\n".join(archive.read(name).decode() for name in licences)
    known = re.findall(r"^Files: (\S+)$", text, re.MULTILINE)
    bundled = [name for name in names if BUNDLES.match(name) and LIBRARY.fullmatch(name)]
    return [name for name in bundled if not any(fnmatchcase(name, pattern) for pattern in known)]


def check(folder: str) -> int:
    """Print what each wheel lacks; return the exit status."""
    wheels = sorted(Path(folder).glob("*.whl"))
    lacking = {wheel.name: without_licence(wheel) for wheel in wheels}
    for name, libraries in lacking.items():
        print(f"{'NO LICENCE' if libraries else 'ok':12}{name}{': ' * bool(libraries)}{', '.join(libraries)}")
    if not wheels:
        print(f"{folder} has no wheel")
    return 1 if not wheels or any(lacking.values()) else 0


def main(task: str, *folder: str) -> int:
    """Do what the command line asks for; return the exit status."""
    if task == "add":
        shutil.copyfile(ROOT / ".ci" / "licenses-windows.txt", ROOT / ADDED)
        return 0
    return check(*folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
