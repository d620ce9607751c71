"""Write docs/gallery.md and its pictures: ``python docs/make_gallery.py``.

The photograph ships with scikit-image and the elevation model with matplotlib; regions of labels are made.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import pooling
from pooling import filters

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "gallery.md"
LEVELS = 6


@cache
def photograph() -> Any:
    """Return 512 x 512 bytes."""
    from skimage import data

    return data.camera()


@cache
def corner() -> Any:
    """Return a part of the photograph that blocks of 8 do not divide, with sky at the border."""
    return np.ascontiguousarray(photograph()[60:161, 380:481])


@cache
def elevation() -> Any:
    """Return metres, with a strip that no satellite saw and clouds here and there."""
    from matplotlib import cbook

    heights = cbook.get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype(np.float32)[:320, :320]
    rows, columns = np.indices(heights.shape)
    heights[np.abs(columns - rows // 2 - 60) < 10] = np.nan
    random = np.random.default_rng(3)
    for _ in range(40):
        y, x, radius = *random.integers(0, 320, 2), random.integers(2, 12)
        heights[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = np.nan
    heights[random.random(heights.shape) < 0.01] = np.nan
    return heights


@cache
def labels() -> Any:
    """Return a volume of cells, each with a number, and walls of 0 between them."""
    shape, count = (48, 96, 96), 70
    random = np.random.default_rng(5)
    middles = random.random((count, 3)) * shape
    at = np.stack(np.indices(shape), -1).reshape(-1, 3)
    distance = np.linalg.norm(at[:, np.newaxis] - middles, axis=-1)
    nearest = np.sort(distance, axis=1)
    found = distance.argmin(1) + 1
    found[nearest[:, 1] - nearest[:, 0] < 1.2] = 0
    return found.reshape(shape).astype(np.uint64)


@cache
def drifts() -> dict[str, list[tuple[float, float]]]:
    """Return for each way the share of wrong pixels and the mean error of each level, against exact sums."""
    x = photograph()
    exact = [pooling.block_reduce(x, 2**n, dtype=np.float64) for n in range(1, LEVELS + 1)]
    found: dict[str, list[tuple[float, float]]] = {}
    ways: dict[str, list[Any]] = {
        "pyramid": pooling.pyramid(x, 2, LEVELS),
        "means of rounded means, half up": _cascade(x, "half_up"),
        "means of rounded means, half to even": _cascade(x, "half_even"),
    }
    for name, levels in ways.items():
        rounds = np.rint if "up" not in name else lambda v: np.floor(v + 0.5)
        found[name] = [
            (float(np.mean(level != rounds(truth))), float(np.mean(level - truth)))
            for level, truth in zip(levels, exact, strict=True)
        ]
    return found


def _cascade(x: Any, rounding: Any) -> list[Any]:
    made = []
    for _ in range(LEVELS):
        x = pooling.block_reduce(x, 2, rounding=rounding)
        made.append(x)
    return made


def with_nan() -> tuple[Any, Any, Any]:
    """Return a part of the photograph with one NaN, and its means over 9 x 9 by scipy and by us."""
    from scipy import ndimage

    x = corner().astype(np.float32)
    x[30, 40] = np.nan
    return x, ndimage.uniform_filter(x, 9), filters.uniform_filter(x, 9)


def edges() -> list[tuple[str, Any]]:
    """Return blocks of 8 of a part of the photograph, by several rules."""
    from skimage.measure import block_reduce

    x = corner()
    return [
        ("101 x 101 pixels", x),
        ('edge="partial"', pooling.block_reduce(x, 8)),
        ('edge="trim", as astropy', pooling.block_reduce(x, 8, edge="trim")),
        ("scikit-image", block_reduce(x, 8, np.mean)),
    ]


def gaps() -> list[tuple[str, Any]]:
    """Return blocks of 8 of the elevation model."""
    x = elevation()
    mean, share = pooling.block_reduce(x, 8, nodata=np.nan, return_valid=True)
    return [
        ("320 x 320, gaps white", x),
        ("mean", pooling.block_reduce(x, 8)),
        ("nodata=nan", mean),
        ("nodata=nan, min_valid=0.5", pooling.block_reduce(x, 8, nodata=np.nan, min_valid=0.5)),
        ("return_valid: shares", share),
    ]


def regions() -> list[tuple[str, Any]]:
    """Return slices of blocks of 4 of the labels."""
    x = labels()
    middle = x.shape[0] // 8
    return [
        ("a slice of 48 x 96 x 96", x[x.shape[0] // 2]),
        ('"mode"', pooling.block_reduce(x, 4, "mode")[middle]),
        ('"mode", nodata=0', pooling.block_reduce(x, 4, "mode", nodata=0)[middle]),
        ('"first" (every fourth)', pooling.block_reduce(x, 4, "first")[middle]),
        ('"mean": other labels', pooling.block_reduce(x, 4, "mean")[middle]),
    ]


def invented() -> int:
    """Count blocks of labels whose mean is a label that is not in them."""
    x = labels()
    means = pooling.block_reduce(x, 4, "mean")
    cells = x.reshape(12, 4, 24, 4, 24, 4).transpose(0, 2, 4, 1, 3, 5).reshape(*means.shape, 64)
    return int(np.count_nonzero((cells != means[..., np.newaxis]).all(-1)))


def page() -> str:
    """Return docs/gallery.md."""
    partial, padded = edges()[1][1].astype(float), edges()[3][1]
    _, theirs, ours = with_nan()
    shares = {name: " | ".join(f"{wrong:.1%}" for wrong, _ in found) for name, found in drifts().items()}
    rows = "\n".join(f"| {name} | {each} |" for name, each in shares.items())
    head = " | ".join(f"level {n}" for n in range(1, LEVELS + 1))
    bias = drifts()["means of rounded means, half up"][-1][1]
    missing, plain, left, _, _ = (float(np.isnan(each).mean()) for _, each in gaps())
    return f"""\
<!-- Made by docs/make_gallery.py. -->

# Images and volumes in pictures

What `pooling.block_reduce`, `pooling.pyramid` and `pooling.filters` do, beside what others do.
[images.md](images.md) explains the arguments.

## Borders

Blocks of 8 do not divide 101 pixels. The last row and column of blocks hold 5 pixels each way: they are means of what
is there. scikit-image fills them up with zeros: the mean of its last row is {padded[-1].mean():.0f}, where the pixels
have {partial[-1].mean():.0f}.

![A photograph in blocks: with partial ones, without them, and with a dark border](gallery-edges.png)

## Pyramids

{LEVELS} levels of a photograph of 512 x 512 bytes. Each pixel of a level of `pooling.pyramid` is the mean of all pixels
that it stands for, rounded once. Where each level is made of the rounded one before, errors pile up. Shares of pixels
that differ from the exact mean, rounded in the same way:

| | {head} |
|---|{"---:|" * LEVELS}
{rows}

With halves rounded up, the last level is brighter than the photograph by {bias:.2f} on the mean.

![Mean error of each level, of the pyramid and of means of rounded means](gallery-pyramid.png)

## Gaps

An elevation model of which {missing:.0%} is missing, in blocks of 8 x 8. A plain mean loses every block that has a gap,
{plain:.0%} of them; with `nodata=numpy.nan` {left:.1%} are lost, and those with less than half of their elements too
where `min_valid=0.5` says so.

![An elevation model with gaps, its means with and without nodata, and valid shares](gallery-gaps.png)

## Labels

A volume of cells with walls of 0, in blocks of 4 x 4 x 4. A mode is the most frequent label of a block; with `nodata=0`
walls do not count. To take the first element of each block breaks walls at random. Means of labels are other labels:
{invented()} of {12 * 24 * 24} blocks become a label that none of their elements has.

![A slice of a label volume, and what modes, first elements and means make of it](gallery-labels.png)

## Filters

A photograph with one NaN, filtered with windows of 9 x 9. A running sum carries the NaN to the end of every line that
it reaches: {np.isnan(theirs).sum()} elements in `scipy.ndimage.uniform_filter`. Here {np.isnan(ours).sum()} elements
are NaN, those whose windows hold it.

![A photograph with one NaN, and its means by SciPy and by pooling, where NaN is red](gallery-nan.png)
"""


def _draw(name: str, panels: Sequence[tuple[str, Any]], colours: str, *, own: Sequence[int] = (), width: float) -> None:
    """Draw arrays side by side with the colours of the first; `own` are shares, and grey."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    first = panels[0][1].astype(float)
    grey = colours == "gray"
    bounds = (0.0, 255.0) if grey else (np.nanmin(first), np.nanmax(first))
    shown = colormaps[colours].with_extremes(bad="red" if grey else "white")
    figure = Figure(figsize=(width, width / len(panels) + 0.3), layout="constrained")
    for number, (axes, (title, array)) in enumerate(zip(figure.subplots(1, len(panels)), panels, strict=True)):
        extent = (0, array.shape[1], array.shape[0], 0)
        least, most = (0.0, 1.0) if number in own else bounds
        cmap = "gray" if number in own else shown
        axes.imshow(array.astype(float), cmap, interpolation="nearest", extent=extent, vmin=least, vmax=most)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(FOLDER / name, dpi=110, metadata={"Software": None})


def _draw_drift() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for (name, found), style in zip(drifts().items(), ("o-", "s--", "^:"), strict=True):
        axes.plot(range(1, LEVELS + 1), [bias for _, bias in found], style, label=name)
    axes.set_xlabel("level")
    axes.set_ylabel("mean error, grey levels")
    axes.grid(color="#dddddd")
    axes.legend(fontsize=8)
    figure.savefig(FOLDER / "gallery-pyramid.png", dpi=110, metadata={"Software": None})


def main() -> int:
    """Write the page and its pictures."""
    _draw("gallery-edges.png", edges(), "gray", width=8)
    _draw("gallery-gaps.png", gaps(), "terrain", own=(4,), width=10)
    shuffled = np.random.default_rng(2).permutation(np.arange(1, labels().max() + 1))
    colours = np.concatenate([[0], shuffled])
    _draw("gallery-labels.png", [(title, colours[each]) for title, each in regions()], "nipy_spectral", width=10)
    x, theirs, ours = with_nan()
    _draw("gallery-nan.png", [("one NaN", x), ("scipy.ndimage", theirs), ("pooling.filters", ours)], "gray", width=7)
    _draw_drift()
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
