"""An examination as one HTML page that needs nothing else: no script, no network, no other file.

Pictures are SVG, drawn from the same levels as `pooling.doctor.figure`, so that the page needs no matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pooling._version import __version__
from pooling.files import write_whole
from pooling.reporting.formats import amount, brief, by, cells, joined, memory, percent
from pooling.signs import printable

from ..analysis.picture import Picture, fitted
from ..lint import SEVERITIES
from .pyramid import STRIP, Box, Level, Pyramid, averaged, pyramid

if TYPE_CHECKING:
    from ..analysis.shift import StageShift
    from ..examination import Examination
    from ..network import Stage
    from ..what_if import WhatIf

__all__ = ["page", "write_page"]

MOST_PIXELS = 512
"""A picture is embedded with no more pixels than this on a side; panels are smaller."""
PANEL = 150
"""CSS pixels that a panel has at least; a grid is drawn where its lines are `FINEST_GRID` of them apart."""
FINEST_GRID = 3.5
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load: nothing but what the page holds."""
MOST_STAGES = 2000
"""Rows of the table at most."""
MEASURED = (
    "Measured on one picture for all stages, without padding, after Zhang, “Making Convolutional Networks "
    "Shift-Invariant Again” (2019): the root mean square of the difference between the output of the moved input and "
    "the output moved by 1/stride of a cell by linear interpolation, divided by √2 times the standard deviation of the "
    "output."
)


def write_page(
    examination: Examination,
    path: str | os.PathLike[str],
    image: Picture | None = None,
    what_if: WhatIf | None = None,
) -> None:
    """Write `page` to a file, whole or not at all.

    Parameters
    ----------
    examination, image, what_if
        As `page` takes them.
    path : path

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is still there then.
    TypeError, ValueError
        If the picture cannot be read.
    """
    write_whole(path, page(examination, image, what_if))


def page(examination: Examination, image: Picture | None = None, what_if: WhatIf | None = None) -> str:
    """Return an examination as a page of HTML.

    Parameters
    ----------
    examination : Examination
        What `examine` returns.
    image : path or array, optional
        A picture to lay under the grids, instead of the one of the examination.
    what_if : WhatIf, optional
        What the network is compared with.

    Returns
    -------
    str
        A whole document. Every name out of the model is escaped.

    Raises
    ------
    TypeError, ValueError
        If the picture cannot be read.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> text = page(examine("conv3 pool2 conv3", (1, 3, 33, 33)))
    >>> text.startswith("<!DOCTYPE html>"), "floor((33 - 2 + 0) / 2) + 1 = 16" in text
    (True, True)
    """
    network = examination.network
    name = _escaped(network.title)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Even if a name found a way through, nothing would be run or fetched.
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{name}: pooling doctor</title>",
        f"<style>{STYLE}</style></head><body><main>",
        *_head(examination),
        *_levels(examination, image, "Where the resolution goes"),
        *(_what_if(what_if, image) if what_if is not None else ()),
        *_findings(examination),
        *_sizes(examination),
        *_shifts(examination),
        *_stages(examination),
        *_notes(examination),
        f"<footer>pooling {_escaped(__version__)}</footer></main></body></html>\n",
    ]
    return "\n".join(parts)


def _escaped(text: object) -> str:
    return html.escape(printable(str(text)))


def _breakable(name: str) -> str:
    """Let a name go on in the next line behind what separates its parts, and not within a word."""
    return "<wbr>".join(_escaped(part) for part in re.findall(r"[^/._:]*[/._:]+|[^/._:]+", name))


# ---------------------------------------------------------------------------------------------------------------------
# What is said


def _head(examination: Examination) -> Iterator[str]:
    network = examination.network
    yield f"<header><h1>{_escaped(network.title)}</h1>"
    task = f", for {_escaped(examination.task)}" if examination.task else ""
    yield f"<p class=sub>{_escaped(network.input_name)} {by(network.input_shape)}{task}</p>"
    if examination.failure is not None:
        shown = by(network.input_shape)
        yield f"<p class=failure><strong>Does not work at {by(examination.failure.shape)}.</strong> "
        yield f"{_escaped(examination.failure.sentence)}. What follows is about {shown}.</p>"
    counts = {each: sum(finding.severity == each for finding in examination.findings) for each in SEVERITIES}
    facts = [
        (amount(examination.network.macs), "multiply-adds"),
        (amount(examination.network.parameters), "parameters"),
        (memory(examination.network.output_bytes), "of maps"),
        *((str(counts[each]), each + "s" * (counts[each] != 1)) for each in reversed(SEVERITIES)),
    ]
    yield "<dl class=facts>"
    for number, words in facts:
        yield f"<div><dd>{number}</dd><dt>{words}</dt></div>"
    yield "</dl></header>"


def _findings(examination: Examination) -> Iterator[str]:
    yield "<section><h2>Findings</h2>"
    if not examination.findings:
        yield "<p>Nothing was found.</p></section>"
        return
    # What is found at many stages is said once.
    places: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for finding in examination.findings:
        key = (finding.code, finding.severity, finding.message, finding.fixes)
        places.setdefault(key, []).append(finding.stage)
    yield "<ul class=findings>"
    for (code, severity, message, fixes), stages in places.items():
        names = ", ".join(f"<span class=name>{_escaped(stage)}</span>" for stage in stages if stage)
        yield f"<li class={severity}><p><span class=code>{code}</span> "
        yield f"<span class=severity>{severity}</span> {names}</p>"
        yield f"<p>{_sentence(message)}</p>"
        if fixes:
            yield "<ol>" + "".join(f"<li>{_escaped(fix)}</li>" for fix in fixes) + "</ol>"
        yield "</li>"
    yield "</ul></section>"


def _sentence(text: str) -> str:
    """Escape a text, and begin and end it as a sentence; names stay as they are."""
    return _escaped(text if text.endswith((".", "!", "?")) else f"{text}.")


def _sizes(examination: Examination) -> Iterator[str]:
    if not examination.sizes:
        return
    yield "<section><h2>Input sizes</h2><div class=wide><table><thead><tr><th>axis</th><th class=n>given</th>"
    yield "<th class=n>smallest</th><th class=n>largest</th><th>works with</th><th>drops nothing with</th>"
    yield "<th>nearest that drop nothing</th></tr></thead><tbody>"
    for each in examination.sizes:
        yield (
            f"<tr><th>{_escaped(each.axes)}</th><td class=n>{each.given}</td>"
            f"<td class=n>{'?' if each.smallest is None else each.smallest}</td>"
            f"<td class=n>{'any' if each.largest is None else each.largest}</td>"
            f"<td>{_escaped(each.working)}</td><td>{_escaped(each.clean)}</td>"
            f"<td>{', '.join(map(str, each.clean_near)) or '–'}</td></tr>"
        )
    yield "</tbody></table></div></section>"


def _shifts(examination: Examination) -> Iterator[str]:
    shifts = examination.shifts
    if not shifts:
        return
    yield "<section><h2>Shift sensitivity</h2>"
    measured = [shift for shift in shifts if shift.value is not None]
    if measured:
        longest = max(max(shift.value or 0, shift.antialiased or 0) for shift in measured) or 1
        yield "<p>How far the output of a stage is from moving along when its input moves by one pixel: 0 is what it "
        yield "should be, 1 is a map that has nothing to do with the expected one.</p>"
        yield "<div class=wide><table class=shift><thead><tr><th>stage</th><th><span class=now>now</span> and "
        yield "<span class=better>anti-aliased</span></th><th>use instead</th></tr></thead><tbody>"
        for shift in measured:
            yield f"<tr><th class=name>{_breakable(shift.stage)}</th>{_shift_cells(shift, longest)}</tr>"
        yield f"</tbody></table></div><p class=small>{MEASURED}</p>"
    silent: dict[str, list[str]] = {}
    for shift in shifts:
        if shift.value is None:
            silent.setdefault(shift.note, []).append(f"<span class=name>{_escaped(shift.stage)}</span>")
    for note, names in silent.items():
        yield f"<p>{', '.join(names)}: {_sentence(note)}</p>"
    yield "</section>"


def _shift_cells(shift: StageShift, longest: float) -> str:
    bars = ""
    for value, kind in ((shift.value, "now"), (shift.antialiased, "better")):
        if value is not None:
            bars += f'<div class="bar {kind}"><i style="width:{70 * value / longest:.1f}%"></i><b>{value:.3f}</b></div>'
    instead = f"<code>{_escaped(shift.remedy)}</code>" if shift.remedy else ""
    note = f" <span class=muted>{_escaped(shift.note)}</span>" if shift.note else ""
    return f"<td class=bars>{bars}</td><td>{instead}{note}</td>"


EXPLAINED = (
    "<b>sees</b>: receptive field in pixels of the input. <b>stride</b>: pixels from cell to cell. "
    "<b>first centre</b>: where cell 0 looks, pixel i has its centre at i; a ≠ says that paths to the stage do not "
    "share it. <b>object</b>: cells that the object covers, and how many are told apart. <b>in padding</b>: the share "
    "of the taps of a border window that lie in the padding. <b>saves</b>: multiply-adds that the stages behind would "
    "cost more without its stride."
)
COLUMNS = (
    ("stage", ""),
    ("operator", ""),
    ("window", ""),
    ("output", ""),
    ("sees", "n"),
    ("stride", "n"),
    ("first centre", "n"),
    ("object", "n"),
    ("dropped", ""),
    ("in padding", "n"),
    ("multiply-adds", "n"),
    ("saves", "n"),
    ("memory", "n"),
)


def _stages(examination: Examination) -> Iterator[str]:
    stages = [stage for stage in examination.network.stages if not _says_nothing(examination, stage)]
    rows = [_row(examination, stage) for stage in stages[:MOST_STAGES]]
    # What no row has anything to say about would push the last columns out of sight.
    shown = [place for place in range(len(COLUMNS)) if place == 0 or any(row[place] for row in rows)]
    yield "<section><h2>Stages</h2><div class=wide><table class=stages><thead><tr>"
    yield "".join(f"<th class={COLUMNS[place][1] or 'w'}>{COLUMNS[place][0]}</th>" for place in shown)
    yield "</tr></thead><tbody>"
    for stage, values in zip(stages, rows, strict=False):
        tags = "".join(f"<td class={COLUMNS[place][1] or 'w'}>{values[place]}</td>" for place in shown[1:])
        gravest = next((finding.severity for finding in examination.of_stage(stage.name)), "")
        yield f'<tr class="{gravest}"><th class=name>{values[0]}</th>{tags}</tr>'
    yield "</tbody></table></div>"
    if len(stages) > MOST_STAGES:
        yield f"<p class=muted>{len(stages) - MOST_STAGES} more stages are not shown.</p>"
    left_out = Counter(stage.operator for stage in examination.network.stages if _says_nothing(examination, stage))
    if left_out:
        counts = joined([f"{count} × {_escaped(operator)}" for operator, count in left_out.most_common()])
        yield f"<p class=small>Not in the table, because they change neither shape nor receptive field: {counts}.</p>"
    yield f"<p class=small>{EXPLAINED}</p></section>"


def _says_nothing(examination: Examination, stage: Stage) -> bool:
    """Whether a stage works on each element by itself, and nothing was found at it."""
    return stage.kind == "elementwise" and not (stage.macs or stage.note or examination.of_stage(stage.name))


def _row(examination: Examination, stage: Stage) -> list[str]:
    forward = stage.kind in ("convolution", "pooling", "global")
    axes = stage.axes
    window = ""
    if axes and stage.kind != "global":
        window = by([axis.kernel_size for axis in axes])
        if any(axis.stride > 1 for axis in axes):
            window += f" /{brief([axis.stride for axis in axes])}"
        if any(axis.pad_begin or axis.pad_end for axis in axes):
            sides = [f"{axis.pad_begin}" + f":{axis.pad_end}" * (axis.pad_end != axis.pad_begin) for axis in axes]
            window += f" p{brief(sides)}"
        if any(axis.dilation > 1 for axis in axes):
            window += f" d{brief([axis.dilation for axis in axes])}"
        if stage.layer is not None and stage.layer.arguments.get("ceil_mode"):
            window += " ceil"
    output = by(stage.output_shape)
    if forward and stage.kind != "global" and any(axis.output_size != axis.input_size for axis in axes):
        formulas = dict.fromkeys(axis.formula for axis in axes)
        output += "".join(f"<br><span class=formula>{_escaped(formula)}</span>" for formula in formulas)
    seen = stage.receptive_field
    field = stride = centre = ""
    if seen is not None:
        field, stride = brief(seen.size), brief([cells(each) for each in seen.stride])
        field += " + all" if seen.context else ""
        centre = brief([f"{float(each):g}" for each in seen.offset]) + ("" if seen.aligned else " ≠")
    footprint = examination.objects.footprints.get(stage.name)
    covered = ""
    if footprint is not None:
        covered = brief([cells(each) for each in footprint.cells])
        if min(footprint.resolved) < 1:
            covered = f"<strong class=lost>{covered}</strong>"
        if footprint.resolved != footprint.cells:
            covered += f" <span class=muted>({brief([cells(each) for each in footprint.resolved])})</span>"
    cut = [axis.cut for axis in axes] if any(stage.dropped) else []
    dropped = ""
    if any(cut):
        shares = [axis.cut / axis.input_size for axis in axes]
        dropped = f"<span class=drop>{by(cut)}</span> <span class=muted>{percent(max(shares))}</span>"
    return [
        _breakable(stage.name),
        _breakable(stage.operator),
        window,
        output,
        field,
        stride,
        centre,
        covered,
        dropped,
        percent(stage.padding_share) if stage.padding_share else "",
        amount(stage.macs) if stage.macs else "",
        amount(saved) if (saved := examination.macs_saved(stage)) else "",
        memory(stage.output_bytes) if stage.output_bytes else "",
    ]


def _what_if(comparison: WhatIf, image: Picture | None) -> Iterator[str]:
    before, after = comparison.before, comparison.after
    name = _escaped(comparison.heading)
    yield f"<section class=what-if><h2>What if {name}</h2><div class=wide><table><thead><tr><th>stage</th>"
    yield "<th>output</th><th>sees</th><th>stride</th><th>object</th><th>multiply-adds</th></tr></thead><tbody>"
    same = others = 0
    for old, new in comparison.pairs:
        first, second = (
            None if stage is None else _compared(examination, stage)
            for examination, stage in ((before, old), (after, new))
        )
        if first == second:
            same += 1
            continue
        stage = new or old
        if stage is None or not _is_landmark(comparison, stage):
            others += 1
            continue
        missing = ["none"] * len(first or second or ())
        pairs = zip(first or missing, second or missing, strict=True)
        values = "".join(f"<td>{_arrow(*pair)}</td>" for pair in pairs)
        yield f"<tr><th class=name>{_breakable(stage.name)}</th>{values}</tr>"
    total = _arrow(amount(before.network.macs), amount(after.network.macs))
    yield f"<tr><th>all</th><td></td><td></td><td></td><td></td><td>{total}</td></tr></tbody></table></div>"
    yield f"<p class=small>{same} stages stay as they are; {others} that keep the size of their maps change as those "
    maps = _arrow(memory(before.network.output_bytes), memory(after.network.output_bytes))
    yield f"before them do. Memory of maps: {maps}.</p><ul>"
    for word, sentence in comparison.turns:
        yield f"<li><strong>{word.capitalize()}:</strong> {_sentence(sentence)}</li>"
    yield "</ul></section>"
    yield from _levels(after, image, "The levels after the change", "after")


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} → <strong>{new}</strong>"


def _is_landmark(comparison: WhatIf, stage: Stage) -> bool:
    """Whether a stage is worth a line of its own: it was changed, changes the size of its map, or is read from."""
    return (
        stage.name in comparison.changes
        or stage.name in comparison.after.objects.heads
        or any(axis.input_size != axis.output_size for axis in stage.axes)
    )


def _compared(examination: Examination, stage: Stage) -> list[str]:
    """Write what a change of arguments changes."""
    _, _, _, _, field, stride, _, covered, _, _, macs, _, _ = _row(examination, stage)
    return [by(stage.output_shape), field, stride, covered, macs]


def _notes(examination: Examination) -> Iterator[str]:
    network = examination.network
    notes = [_sentence(note) for note in network.notes]
    notes += [
        f"<span class=name>{_escaped(stage.name)}</span>: {_sentence(stage.note)}"
        for stage in network.stages
        if stage.note
    ]
    if notes:
        yield "<section><h2>Notes</h2><ul>" + "".join(f"<li>{note}</li>" for note in notes) + "</ul></section>"


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


def _levels(examination: Examination, image: Picture | None, title: str, prefix: str = "") -> Iterator[str]:
    network = examination.network
    if not network.spatial:
        return
    image = image if image is not None else examination.image
    try:
        drawn = pyramid(network, examination.objects)
    except ValueError as error:
        yield f"<section><h2>{title}</h2><p class=muted>{_sentence(str(error).removeprefix('doctor: '))}</p></section>"
        return
    picture = None if image is None else fitted(image, network.spatial_sizes)
    yield f"<section><h2>{title}</h2><p class='verdict{' fine' * drawn.is_fine}'>{_escaped(drawn.verdict)}.</p>"
    if drawn.dimensions == 3:
        yield "<p class=muted>Planes of H and W are drawn.</p>"
    yield "<ul class=legend><li class=object>the object</li><li class=cell>one cell of the map</li>"
    yield "<li class=field>its receptive field</li>"
    if any(level.dropped for level in drawn.levels):
        yield "<li class=dropped>dropped: in no window</li>"
    yield "</ul>"
    parts = 4 if drawn.loupe == drawn.plane else 5
    yield f"<div class='levels axes{drawn.dimensions}' style='--n:{len(drawn.levels)};--parts:{parts}'>"
    for number, level in enumerate(drawn.levels):
        yield from _level(drawn, level, f"{prefix}{number}", picture)
    yield "</div>"
    if drawn.left_out:
        yield f"<p class=muted>{drawn.left_out} more levels are not drawn.</p>"
    yield "</section>"


def _level(drawn: Pyramid, level: Level, number: str, picture: NDArray[np.uint8] | None) -> Iterator[str]:
    names = _escaped(level.stages[0])
    if len(level.stages) > 1:
        names += f"<br>to {_escaped(level.stages[-1])}"
    full = _escaped(", ".join(level.stages[:50]))
    yield f"<article><h3>{level.title}</h3><p class='name span' title=\"{full}\">{names}</p>"
    shown = f"picture{number}" if picture is not None else None
    define = _image(drawn, level, picture, shown) if picture is not None and shown else ""
    yield _figure(
        _map(drawn, level, shown, define), f"map, to scale{' (the dot)' * drawn.is_tiny(level)}", level.cell_text, "map"
    )
    dropped = f"<br><span class=drop>{level.dropped_text}</span>" if level.dropped_text else ""
    place = "" if drawn.loupe != drawn.plane else f"<br><span class=lost>{level.object_text}</span>"
    seen = level.field_text + place + dropped
    yield _figure(_input(drawn, level, drawn.plane, shown, f"hatch{number}"), "what a cell sees", seen, "field")
    if drawn.loupe != drawn.plane:
        yield _figure(
            _input(drawn, level, drawn.loupe, shown, f"stripes{number}"),
            "around the object",
            level.object_text,
            "object",
        )
    yield "</article>"


def _figure(svg: str, name: str, caption: str, kind: str) -> str:
    return f"<figure>{svg}<figcaption class='{kind}'><small>{name}</small>{caption}</figcaption></figure>"


def _image(drawn: Pyramid, level: Level, picture: NDArray[np.uint8], name: str) -> str:
    """Embed the picture as the level could show it, to be used by all panels of the level."""
    from PIL import Image

    place = level.grid
    if max(level.plane) <= MOST_PIXELS:
        shown = Image.fromarray(averaged(level, drawn.plane, picture))
    else:
        # Cells are finer than any panel.
        shown, place = Image.fromarray(picture), drawn.plane
        shown.thumbnail((MOST_PIXELS, MOST_PIXELS))
    content = io.BytesIO()
    shown.save(content, "PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return (
        f'<defs><image id="{name}" {_place(place)} preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{data}"/></defs>'
    )


def _svg(window: Box, aspect: float, label: str, content: Iterable[str], *, kind: str = "") -> str:
    view = " ".join(map(_number, (window.left, window.top, window.width, window.height)))
    return (
        f'<svg role="img" aria-label="{_escaped(label)}" class="panel {kind}" viewBox="{view}" '
        f'preserveAspectRatio="none" style="aspect-ratio:{_number(aspect)}">{"".join(content)}</svg>'
    )


def _aspect(drawn: Pyramid, window: Box) -> float:
    """Return width over height of a panel: pixels are square, unless there is but one axis."""
    return STRIP if drawn.dimensions == 1 else window.width / window.height


def _hatch(name: str, window: Box, aspect: float) -> str:
    """Define stripes that look the same in each panel, whatever its scale."""
    across, down = window.width / PANEL, window.height * aspect / PANEL
    return (
        f'<defs><pattern id="{name}" patternUnits="userSpaceOnUse" width="5" height="5" '
        f'patternTransform="scale({_number(across)} {_number(down)}) rotate(45)">'
        '<rect class="hatch-ground" width="5" height="5"/><rect class="hatch-line" width="1.6" height="5"/>'
        "</pattern></defs>"
    )


def _map(drawn: Pyramid, level: Level, picture: str | None, define: str) -> str:
    """Draw the cells of a map at one size for all levels: in a box that would hold the largest map."""
    most_rows, most_columns = (max(sizes) for sizes in zip(*(each.plane for each in drawn.levels), strict=True))
    rows, columns = level.plane
    grid = level.grid
    # In pixels of the input: a cell of this level has so many, the box so many cells.
    wide = grid.width / columns * most_columns
    tall = grid.height if drawn.dimensions == 1 else grid.height / rows * most_rows
    window = Box(grid.left, grid.bottom - tall, grid.left + wide, grid.bottom)
    parts = [define, _rect(grid, "paper")]
    parts += _cells(level, drawn.object, picture, grid)
    parts += [_grid(level, grid, wide), _rect(grid, "edge"), _rect(drawn.object, "object thin")]
    if drawn.is_tiny(level):
        parts.append(_rect(grid, "tiny"))
    return _svg(window, _aspect(drawn, window), f"map of {level.title} cells", parts, kind="bare")


def _input(drawn: Pyramid, level: Level, window: Box, picture: str | None, hatch: str) -> str:
    """Draw a window of the input, with all that the level has to do with it."""
    parts = [_rect(window, "paper")]
    field = level.field.within(window)
    if picture is None and field is not None:
        parts.append(_rect(field, "seen"))
    parts += _cells(level, drawn.object, picture, window)
    if picture is not None and window == drawn.plane:
        # One shape with a hole: between rectangles that touch, a browser leaves a bright line.
        edges = "".join(map(_edges, (drawn.plane, field) if field is not None else (drawn.plane,)))
        parts.append(f'<path class="veil" fill-rule="evenodd" d="{edges}"/>')
    parts.append(_grid(level, window, window.width, "over" if picture is not None else ""))
    dropped = [part for box in level.dropped if (part := box.within(window))]
    if dropped:
        parts.append(_hatch(hatch, window, _aspect(drawn, window)))
        parts += [f'<rect fill="url(#{hatch})" {_place(part)}/>' for part in dropped]
    halo = picture is not None
    parts += _frames(level.field, "field", halo)
    parts += _frames(level.cell, "cell", halo)
    parts += _frames(drawn.object, "object", halo)
    where = "the input" if window == drawn.plane else "the input around the object"
    return _svg(
        window, _aspect(drawn, window), f"{where}: {level.cell_text}, {level.field_text}, {level.object_text}", parts
    )


def _cells(level: Level, box: Box, picture: str | None, window: Box) -> Iterator[str]:
    if picture is not None:
        yield f'<use href="#{picture}"/>'
        return
    for cell, share in level.covered(box):
        inside = cell.within(window)
        if inside is not None:
            yield f'<rect class="covered" {_place(inside)} fill-opacity="{share:.3f}"/>'


def _frames(box: Box, kind: str, halo: bool) -> Iterator[str]:
    if halo:
        yield _rect(box, f"halo {kind}")
    yield _rect(box, kind)


def _grid(level: Level, window: Box, wide: float, kind: str = "") -> str:
    """Draw the borders of the cells within a window that a panel shows, unless they would run into each other."""
    if float(np.diff(level.columns).min()) * PANEL < FINEST_GRID * wide:
        return ""
    part = level.grid.within(window)
    if part is None:
        return ""
    top, bottom, left, right = map(_number, (part.top, part.bottom, part.left, part.right))
    lines = [f"M{_number(x)} {top}V{bottom}" for x in level.columns if window.left < x < window.right]
    lines += [f"M{left} {_number(y)}H{right}" for y in level.rows if window.top < y < window.bottom]
    return f'<path class="grid {kind}" d="{"".join(lines)}"/>' if lines else ""


def _rect(box: Box, kind: str) -> str:
    return f'<rect class="{kind}" {_place(box)}/>'


def _edges(box: Box) -> str:
    left, top, right, bottom = map(_number, (box.left, box.top, box.right, box.bottom))
    return f"M{left} {top}H{right}V{bottom}H{left}Z"


def _place(box: Box) -> str:
    left, top, width, height = map(_number, (box.left, box.top, box.width, box.height))
    return f'x="{left}" y="{top}" width="{width}" height="{height}"'


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


# Colours of the palette of Okabe and Ito, which people with any kind of colour vision can tell apart, and one of Tol's.
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--muted:#59636e;--ground:#fff;--card:#f5f7f9;--line:#d6dce2;--paper:#e9edf1;
--seen:#c3def2;--grid:#8d98a3;--object:#b84c00;--field:#0068a8;--drop:#882255;--veil:#fff;--error:#b3261e;
--warning:#8a5a00;--note:#4a5560;--fine:#00694f}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebee;--muted:#a3adb7;--ground:#14171a;--card:#1e2327;--line:#39424a;
--paper:#262c32;--seen:#1d4460;--grid:#66717c;--object:#ff9a4d;--field:#6bc1f5;--drop:#e88bb8;--veil:#14171a;
--error:#ff8a80;--warning:#f0bd5b;--note:#b4bec8;--fine:#56c9a0}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
main{max-width:1360px;margin:0 auto;padding:1.5rem clamp(1rem,3vw,2.5rem) 3rem}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:0 0 .6rem}
h3{font-size:1rem;margin:0;white-space:nowrap}
section{margin-top:2.2rem}
p{margin:.3rem 0 .6rem;max-width:75ch}
.sub,.muted,.small,footer,figcaption small{color:var(--muted)}
.small{font-size:.85rem}
.name{overflow-wrap:anywhere}
.failure{border-left:4px solid var(--error);padding:.5rem 1rem;background:var(--card)}
.facts{display:flex;flex-wrap:wrap;gap:.6rem 2.2rem;margin:1rem 0 0}
.facts div{display:flex;flex-direction:column}
.facts dd{margin:0;font-size:1.35rem;font-weight:600;white-space:nowrap}
.facts dt{color:var(--muted);font-size:.85rem}
.verdict{font-size:1.15rem;font-weight:600;color:var(--object)}
.verdict.fine{color:var(--fine)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1.6rem;margin:0 0 1rem;padding:0;font-size:.9rem}
.legend li::before{content:"";display:inline-block;width:1.5em;height:.95em;margin-right:.5em;vertical-align:-.1em;
border:2.5px solid}
.legend .object::before{border-color:var(--object)}
.legend .cell::before{border-color:var(--field)}
.legend .field::before{border:2px dashed var(--field);background:var(--seen)}
.legend .dropped::before{border-color:transparent;
background:repeating-linear-gradient(135deg,var(--drop) 0 2px,transparent 2px 5px)}
.levels{--least:118px;display:grid;gap:1.6rem 14px;grid-template-columns:
repeat(auto-fill,minmax(clamp(var(--least),calc((100% - (var(--n) - 1)*14px)/var(--n)),260px),1fr))}
.levels.axes1{--least:240px}
.levels article{min-width:0}
@supports (grid-template-rows:subgrid){.levels{row-gap:0}
.levels article{display:grid;grid-template-rows:subgrid;grid-row:span var(--parts);align-content:start;
padding-bottom:1.2rem}}
article .span{font-size:.78rem;line-height:1.3;color:var(--muted);margin:0 0 .4rem;height:2.6em;overflow:hidden;
overflow-wrap:normal;text-overflow:ellipsis;white-space:nowrap}
figure{margin:0 0 .7rem}
figcaption{font-size:.79rem;font-weight:600;line-height:1.35}
figcaption small{display:block;font-weight:400;font-size:.72rem}
figcaption.map{color:var(--ink)}figcaption.field{color:var(--field)}figcaption.object{color:var(--object)}
.drop{color:var(--drop);font-weight:400}
svg.panel{display:block;width:100%;overflow:hidden;outline:1px solid var(--line)}
svg.bare{outline:none}
svg rect,svg path{vector-effect:non-scaling-stroke}
.paper{fill:var(--paper)}.seen{fill:var(--seen)}.covered{fill:var(--object)}
.veil{fill:var(--veil);fill-opacity:.72}
.grid{fill:none;stroke:var(--grid);stroke-width:.6}
.grid.over{stroke:#000;stroke-opacity:.4}
.hatch-ground{fill:var(--ground);fill-opacity:.6}.hatch-line{fill:var(--drop)}
rect.edge,rect.object,rect.cell,rect.field{fill:none}
rect.tiny{fill:var(--ink);stroke:var(--ink);stroke-width:6;stroke-linejoin:round}svg.bare{overflow:visible}
rect.edge{stroke:var(--muted);stroke-width:1}
rect.object{stroke:var(--object);stroke-width:2}rect.thin{stroke-width:1.3}
rect.cell{stroke:var(--field);stroke-width:2}
rect.field{stroke:var(--field);stroke-width:2;stroke-dasharray:6 3}
rect.halo{stroke:var(--ground);stroke-opacity:.8;stroke-width:4.5;stroke-dasharray:none}
.findings{list-style:none;margin:0;padding:0}
.findings>li{border-left:4px solid var(--note);background:var(--card);padding:.5rem 1rem;margin:0 0 .6rem}
.findings>li.error{border-color:var(--error)}.findings>li.warning{border-color:var(--warning)}
.findings p{margin:.1rem 0}
.findings ol{margin:.3rem 0 .2rem;padding-left:1.4rem}
.code{font-weight:700;font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace}
.error .severity{color:var(--error)}.warning .severity{color:var(--warning)}.note .severity{color:var(--note)}
.severity,.findings .name{font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.28rem .7rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody th{font-weight:600;white-space:nowrap}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
.n{text-align:right}td{white-space:nowrap}
tbody .name{white-space:normal;min-width:9rem;max-width:16rem}
.stages td:nth-child(2),.formula{white-space:normal}
tr.error>th{color:var(--error)}tr.warning>th{color:var(--warning)}
.formula{color:var(--muted);font-size:.78rem}
.lost{color:var(--object)}
table.shift{width:100%}
.bars{width:50%;min-width:220px}
.bar{display:flex;align-items:center;gap:.5rem;line-height:1.25}
.bar i{display:block;height:.7rem;min-width:1px;background:var(--object)}
.now{color:var(--object)}th .better{color:var(--field)}
.bar.better i{background:var(--field)}
.bar b{font-weight:600;font-size:.8rem}
.shift td:last-child{white-space:normal}
code{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
footer{margin-top:2.5rem;font-size:.85rem}
"""
