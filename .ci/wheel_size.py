"""Hold wheels against the size that an install may download.

Usage: python .ci/wheel_size.py FOLDER; exit status 1 where a wheel is larger, or there is none.
"""

from __future__ import annotations

import sys
from pathlib import Path

MOST = 8_000_000
"""Bytes of a wheel."""


def main(folder: str) -> int:
    """Print the sizes of all wheels of a folder; return the exit status."""
    wheels = sorted(Path(folder).glob("*.whl"))
    for wheel in wheels:
        size = wheel.stat().st_size
        print(f"{'TOO LARGE' if size > MOST else 'ok':10}{size / 1e6:6.2f} MB  {wheel.name}")
    if not wheels:
        print(f"{folder} has no wheel")
    return 1 if not wheels or any(wheel.stat().st_size > MOST for wheel in wheels) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
