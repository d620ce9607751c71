"""Write a large memory map as OME-Zarr, with its levels and without.

Usage: ``python -m benchmarks.multiscales [GB] [FOLDER]``. The source, of 20 GB unless said otherwise, is made in FOLDER
(a temporary one by default), which needs room for it twice, and is removed at the end. Each image is written by a
process of its own, whose time and most memory are printed. It needs the extra ``images``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CODE = """
import json, sys, time
from pooling.zarr import write_multiscales
source, target, levels = sys.argv[1:]
begin = time.perf_counter()
write_multiscales(source, target, axes="zyx", levels=int(levels))
seconds = time.perf_counter() - begin
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "kilobytes": int(peak.split()[1])}))
"""
SIDE = 2048
"""Elements of a plane on each side."""
LEVELS = 5


def source(file: Path, gigabytes: float) -> None:
    """Make a volume of smooth shades with noise, which compresses as images of microscopes do."""
    depth = max(8, round(gigabytes * 1e9 / SIDE**2))
    volume = np.lib.format.open_memmap(file, "w+", np.uint8, (depth, SIDE, SIDE))
    shades = np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 32
    random = np.random.default_rng(0)
    planes = [(shades + random.integers(0, 8, shades.shape)).astype(np.uint8) for _ in range(8)]
    for z in range(depth):
        volume[z] = planes[z % len(planes)]
        if z % 64 == 63:
            print(f"\rsource: {100 * z // depth} %", end="", file=sys.stderr, flush=True)
    volume.flush()


def written(file: Path, target: Path, levels: int) -> dict[str, float]:
    """Write an image in a process of its own; return the seconds and the most memory."""
    said = subprocess.run(
        [sys.executable, "-c", CODE, str(file), str(target), str(levels)], check=True, capture_output=True, text=True
    )
    made: dict[str, float] = json.loads(said.stdout)
    return made


def main(gigabytes: float = 20, folder: str | None = None) -> None:
    """Make the source, write it twice, and print what that took."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file, target = Path(place, "source.npy"), Path(place, "image.zarr")
        source(file, gigabytes)
        print(f"\n{file.stat().st_size / 1e9:.1f} GB")
        seconds = {}
        for levels in (0, LEVELS):
            made = written(file, target, levels)
            seconds[levels] = made["seconds"]
            print(f"{levels} levels: {made['seconds']:.1f} s, at most {made['kilobytes'] / 1e6:.2f} GB of memory")
            shutil.rmtree(target)
        print(f"with {LEVELS} levels {seconds[LEVELS] / seconds[0]:.2f} times as long as without")


if __name__ == "__main__":
    main(*(float(sys.argv[1]),) if len(sys.argv) > 1 else (), *sys.argv[2:3])
