"""A display list as SVG, which needs no library: neither matplotlib nor Pillow."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pooling.signs import printable

from .display import Curve, Drawing, Image, Item, Palette, Polygon, Text

__all__ = ["FONTS", "png", "svg"]

FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(drawing: Drawing, name: str = "drawing", *, standalone: bool = True) -> str:
    """Write a drawing as SVG.

    Parameters
    ----------
    drawing : Drawing
    name : str
        Begins its identifiers, and is its class on a page.
    standalone : bool
        Whether it is a file of its own rather than a part of a page.

    Returns
    -------
    str
        With a title and a description for those who do not see it.
    """
    size = f'viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}"'
    head = f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {size} font-family="{FONTS}"'
    if standalone:
        head = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n{head} xmlns="http://www.w3.org/2000/svg" '
            f'width="{_n(drawing.width)}" height="{_n(drawing.height)}"'
        )
    else:
        head += f' class="drawing {name}"'
    ground = f'<rect width="{_n(drawing.width)}" height="{_n(drawing.height)}" fill="{Palette.PAPER}"/>'
    words = f'<title id="{name}-title">{_escaped(drawing.title)}.</title>'
    words += f'<desc id="{name}-desc">{_escaped(drawing.description)}</desc>'
    return f"{head}>{words}{ground}{''.join(_items(drawing.items))}</svg>" + "\n" * standalone


def _items(items: tuple[Item, ...]) -> Iterator[str]:
    for item in items:
        match item:
            case Polygon():
                yield f'<path d="{_line(item.points)}Z" {_painted(item, item.fill)}/>'
            case Curve(bezier=True):
                first, *rest = item.points
                yield f'<path d="M{_p(first)}C{" ".join(map(_p, rest))}" {_painted(item, "")}/>'
            case Curve():
                yield f'<path d="{_line(item.points)}" {_painted(item, "")}/>'
            case Image():
                place, data = item.place, base64.b64encode(png(item.pixels)).decode("ascii")
                yield (
                    f'<image x="{_n(place.left)}" y="{_n(place.top)}" width="{_n(place.width)}" '
                    f'height="{_n(place.height)}" preserveAspectRatio="none" style="image-rendering:pixelated" '
                    f'href="data:image/png;base64,{data}"/>'
                )
            case Text():
                bold = ' font-weight="700"' if item.bold else ""
                anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
                whole = f"<title>{_escaped(item.whole)}</title>" if item.whole and item.whole != item.words else ""
                yield (
                    f'<text x="{_n(item.at[0])}" y="{_n(item.at[1])}" font-size="{_n(item.size)}" '
                    f'fill="{item.colour}"{bold}{anchor}>{whole}{_escaped(item.words)}</text>'
                )


def _painted(item: Polygon | Curve, fill: str) -> str:
    parts = [f'fill="{fill or "none"}"']
    if item.stroke:
        parts.append(f'stroke="{item.stroke}" stroke-width="{_n(item.width)}" stroke-linejoin="round"')
        if item.dashes:
            parts.append(f'stroke-dasharray="{" ".join(map(_n, item.dashes))}"')
    if item.opacity < 1:
        parts.append(f'opacity="{_n(item.opacity)}"')
    return " ".join(parts)


def _line(points: tuple[tuple[float, float], ...]) -> str:
    return "M" + "L".join(map(_p, points))


def _p(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _escaped(text: str) -> str:
    # A file of XML cannot hold some signs at all, not even written out by their numbers.
    text = printable(text)
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(sign, written)
    return text


def png(pixels: NDArray[np.uint8]) -> bytes:
    r"""Write an array of shape (H, W, 3) as PNG.

    Source: "Portable Network Graphics (PNG) Specification", W3C; each row is the difference to the one above.

    Examples
    --------
    >>> png(np.zeros((2, 3, 3), np.uint8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, 3 * width)
    differences = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), differences], axis=1)
    parts = [
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered.tobytes(), 9)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
