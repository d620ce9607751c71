"""Write what a race found into the README and docs/: ``python -m benchmarks.report FILE.json``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.layers import FILE as LAYERS_FILE
from benchmarks.layers import summary as layers_summary
from benchmarks.targets import LAYERS_GROUP, findings
from pooling.benchmark.race import QUIET
from pooling.benchmark.results import Results, geometric_mean, seconds_text
from pooling.benchmark.worker import LIBRARIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "main", "page", "readme_section", "write"]

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
HEADLINES = (
    "ResNet stem, batch 1",
    "ResNet stem, batch 32",
    "ResNet stem, batch 1, channels_last",
    "VGG block 1, batch 1",
    "YOLO SPP 13x13",
    "PoolFormer average 3x3",
    "global average 7x7x2048",
    "audio 1-D",
    "3-D U-Net 2x2x2",
    "31x31 maximum, HD",
    "31x31 average, HD",
    "ResNet stem, batch 1, uint8",
    "ResNet stem, batch 1, indices",
    "ResNet stem, batch 1, training",
    "tiny, call overhead",
)
"""Rows of the README's table and of the plot; at most 15."""
GROUPS = {
    "networks": "Poolings of networks",
    "channels_last": "The same in channels_last",
    "windows": "Small and large windows",
    "images": "Images in uint8",
    "types": "Other dtypes",
    "indices": "With indices",
    "awkward": "Awkward ones",
    "families": "Norms, blurs, regions, fractional, unpooling, adaptive in 3-D, large planes",
    "views": "Views",
    "backward": "Backward",
    "training": "Training steps: forward and backward",
    "tiny": "Call overhead",
    "size": "Cost with size",
    LAYERS_GROUP: "Layers of a hundred networks",
}
COLOURS = {
    "pooling": "#c1121f",
    "copy": "#000000",
    "onnxruntime": "#1f77b4",
    "openvino": "#2ca02c",
    "torch": "#ff7f0e",
    "torch channels_last": "#e377c2",
    "OpenCV": "#9467bd",
    "scikit-image": "#8c564b",
    "SciPy": "#17becf",
    "NumPy": "#7f7f7f",
}
OTHERS = (
    "Reductions of blocks have a race of their own, in [images.md](images.md#speed), and so have sliding filters, in "
    "[filters.md](filters.md#time-and-memory)."
)
NOTES = """\
- A case says what is pooled, and every library does all of it: same shape, dtype and values, checked before it is
  timed (of indices the shape: conventions differ).
- Times include the allocation of the result. `pooling out=` and `onnxruntime IO binding` write into memory that is
  there already, and are compared with each other.
- `copy` copies the bytes that the case must move: input once, result once, indices and gradients likewise. It is a
  measure and no bound: a copy stores every byte that it reads, if only into a block that stays in the cache, and a
  pooling only its result, so `pooling / copy` may be below 1; far above 1, work takes the time, and not memory.
- `torch channels_last` has its data in that memory format, also in the cases of channels_first.
- `pooling, 1 thread` takes turns with pooling on several threads, which should not be slower; a target
  below says where it is.
- What has no function of its own in a library is what its users write in its place: blurs as a convolution of each
  channel behind a padding, a generalised mean as powers of a mean of powers. Regions of interest are those of
  torchvision, where its compiled part loads.
- Each library runs in a process of its own; all take turns, round by round, while the others sleep. A call that takes
  longer than half a second has one turn.
- scikit-image, SciPy and NumPy use one thread.
- `strategy` names the way that pooling takes through its kernels, as `pooling info` lists them; of gradients of maxima
  the one without saved indices.
"""


COPIES = """\
The last column is what a call would reach that takes just as long as a copy: leads beyond it would need the bytes to
stay in the cache from call to call, and of the cases it leaves out no library can be far ahead.
"""
MEMORY = """\
Peak resident memory of a process during a call, beyond input and results; the table below has what was measured, and
what the following text allows, with 2 MiB that the allocator may keep.

However large maps and windows are, whatever the dtype and the layout, a forward call without indices, fractional
poolings and regions apart, lets each thread work in at most 16 MiB: most do with 1 MiB, and more are taken by windows
of 10 and more cells a side over many channels in channels_last, or of 20 to 512 cells a side that slide by one in
channels_first. The calling thread holds besides: of axes with a fixed number of windows, 24 bytes for each window of an
axis, and for a gradient 40 for each of its cells; of blurs, 36 bytes for each tap of each window of an axis. Maxima,
minima and means of arrays whose elements do not lie side by side, such as every second column of a larger one, are made
a few maps or rows at a time, of which each thread copies up to 512 KiB. Where that cannot be, all of the array is
copied first, on all threads: for gradients, for other families, for windows that reach over more than 512 KiB, where
neighbours in memory are elements of different maps, and in the other byte order.

A gradient of means with strides lets each thread work in 2 MiB + 32 × (4 × effective kernel + stride + 1) × channels
bytes, with one channel in channels_first; of an adaptive mean in half precision in 768 KiB + (8 × output size / input
size + 36) × channels bytes, sizes of the last axis. Gradients of means whose windows count different numbers of
elements, or leave NaN out, and the maxima of `max_blur_pool2d` are made of as many maps at a time as take 1 MiB, or of
a single one: what is held besides is of the size of these maps, in float32 at least (maxima of the gradient in
float64). In channels_last a map has all channels. Of a single map such a gradient of means is made in parts of its
first spatial axis that is longer than 1: each takes 4 MiB, or 16 effective kernels of rows if that is more, and the
kernel that reaches across its end.

Argmaxes, asked for as indices or by a gradient, are searched in 4 MiB a thread, or in 320 bytes for each cell that the
longest axis of a window reaches over if that is more. Gradients of maxima are summed in float32 for half precision, and
in float64 for float32 where nine and more windows hold a cell, 4 MiB of them at a time (or a row of the first axis that
is cut; on maps of one axis 32 bytes for each cell and channel that a window reaches over); where a large map has few
windows, at most 16 bytes for each of those and 1 MiB together, these positions are kept. A region takes each thread 24
bytes for each pixel of a row and 32 for each column of bins, and `roi_align` on each axis 16 bytes for each bin and
each sample of a bin that lies on the map (means twice as many samples, but no more than the axis has pixels). Gradients
of regions are summed where they stay in float64, else in 4 MiB, or in a row if that is more; of maps of more than
524,288 pixels those of maxima keep 24 bytes for each window of the regions on one map. Where maps of at most 131,072
pixels (65,536 in float64) hold many regions, their maxima, and means of samples, are made of eight channels at a time:
a thread lays these side by side in up to 4 MiB, and takes 72 bytes for each bin of a row, or 18 KiB if that is more;
the samples of all regions are kept in up to 1 MiB, and 8 bytes for each map and each region. Fractional poolings of
half precision, or in channels_last, work in 1 MiB, or in a row of float32 (float64) if that is more, and 16 bytes for
each window of a row; all of them in 8 bytes for each window of an axis, with samples in half precision for each map. A
gradient of theirs without indices holds the indices that it finds again; the gradient of
`max_unpool` works in a byte for each cell of a map. The weights of the last four blurs of maps whose
windows have 1,025 to 32,768 taps on all axes are kept between calls, up to half a MiB each.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _threads_text(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def _machine_text(results: Results) -> str:
    machine = results.document["machine"]
    cache = f", {results.last_level_cache / 2**20:.0f} MiB of last-level cache" if results.last_level_cache else ""
    return (
        f"{machine['processor']}, {machine['cores']} core{'s' * (machine['cores'] > 1)}{cache}, "
        f"{machine['memory'] / 2**30:.0f} GiB of memory, {machine['system']}, Python {machine['python']}, "
        f"kernels of {machine['kernels']}"
    )


def _versions_text(results: Results) -> str:
    return ", ".join(f"{package} {version}" for package, version in results.document["versions"].items())


def _headlines(results: Results, threads: int) -> list[str]:
    return [name for name in HEADLINES if results.seconds(threads, name, "pooling")]


def _lead_text(results: Results, threads: int) -> str:
    """Sentence about all forward cases."""
    leads = [
        lead
        for name, case in results.cases.items()
        if case.direction in ("forward", "indices")
        and case.group != LAYERS_GROUP
        and (lead := results.lead(threads, name))
    ]
    if not leads:
        return ""
    rows = "the one forward case" if len(leads) == 1 else f"all {len(leads)} forward cases"
    return (
        f"Over {rows} with a peer, the fastest of the other libraries takes {geometric_mean(leads):.1f} times as long "
        f"(geometric mean; {min(leads):.2f} at least, {max(leads):.1f} at most)."
    )


def readme_section(results: Results) -> str:
    """What stands between the README's comments: a short table, a sentence and the plot."""
    threads = max(results.threads)
    rows = []
    for name in _headlines(results, threads):
        ours = results.seconds(threads, name, "pooling")
        assert ours is not None
        peer = results.fastest_peer(threads, name)
        copy = results.ratio(threads, name, "pooling", "copy")
        lead = results.lead(threads, name)
        theirs = (seconds_text(peer[1]), peer[0], f"{lead:.1f}") if peer and lead else ("", "", "")
        rows.append([name, seconds_text(ours), *theirs, f"{copy:.1f}" if copy else ""])
    head = ["case", "pooling", "fastest peer", "which is", "times as long", "pooling / copy"]
    lines = ["## Speed", "", *_table(head, rows), ""]
    lines += [
        f"{_threads_text(threads).capitalize()}, the result allocated; `copy` is a copy of the bytes that must be "
        f"moved. {_lead_text(results, threads)}".rstrip(),
        "",
        f"{_machine_text(results)}; {_versions_text(results)}. `make bench` repeats it, "
        "and [all cases and targets](docs/benchmarks.md) are written from its result.",
        "",
        "![Times of pooling, of each other library and of a copy of the bytes](docs/benchmarks.svg)",
    ]
    return "\n".join(lines) + "\n"


def _targets(results: Results, threads: int) -> list[str]:
    words = {True: "yes", False: "no", None: ""}
    rows = []
    missed = []
    for finding in findings(results, threads):
        rows.append([finding.target.what, finding.bound, finding.figure, words[finding.met], finding.copy])
        if len(finding.missed) > 1:
            missed.append(f"- {finding.target.what}: {'; '.join(finding.missed)}")
    lines = [f"### {_threads_text(threads).capitalize()}", ""]
    lines += [*_table(["what", "target", "figure", "met", "a copy of the bytes"], rows, left=5), ""]
    return lines + (["Rows that miss a target, the furthest first:", "", *missed, ""] if missed else [])


def _times(results: Results, threads: int, group: str) -> list[str]:
    table = results.document["seconds"].get(str(threads), {})
    names = [name for name, case in results.cases.items() if case.group == group and name in table]
    libraries = [name for name in results.libraries if any(table[case].get(name) for case in names)]
    if not libraries:
        return []
    rows = []
    for name in names:
        cells = [seconds_text(seconds) if (seconds := table[name].get(library)) else "–" for library in libraries]
        lead, copy = results.lead(threads, name), results.ratio(threads, name, "pooling", "copy")
        ratios = [f"{ratio:.2f}" if ratio else "" for ratio in (lead, copy)]
        rows.append([name, *cells, *ratios, results.strategies(name)])
    return [
        f"{_threads_text(threads).capitalize()}:",
        "",
        *_table(["case", *libraries, "fastest peer / pooling", "pooling / copy", "strategy"], rows),
        "",
    ]


def _unsteady(results: Results) -> list[str]:
    """Rows whose medians say little."""
    by_threads: dict[str, dict[str, list[str]]] = results.document["unsteady"]
    rows = [
        [_threads_text(int(threads)), library, "; ".join(names)]
        for threads, by_library in by_threads.items()
        for library, names in by_library.items()
    ]
    head = ["## Turns that lie far apart", "", "The slowest took more than three times as long as the fastest.", ""]
    return [*head, *_table(["threads", "library", "where"], rows, left=3), ""] if rows else []


def _refusals(results: Results) -> list[str]:
    """Why libraries cannot, each reason once."""
    rows = []
    for library in results.libraries:
        reasons: dict[str, list[str]] = {}
        for by_library in list(results.document["cannot"].values())[:1]:
            for name, reason in by_library.get(library, {}).items():
                reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            if LIBRARIES[library].peer:
                rows.append(
                    [
                        library,
                        reason.replace("|", "\\|"),
                        f"{names[0]}" + f" and {len(names) - 1} more" * (len(names) > 1),
                    ]
                )
    return ["## What a dash stands for", "", *_table(["library", "why", "where"], rows, left=3), ""] if rows else []


def page(results: Results) -> str:
    """Everything, as docs/benchmarks.md."""
    document = results.document
    lines = ["<!-- Made by benchmarks/report.py from the result of a race. -->", "", "# Benchmarks", ""]
    lines += [f"{document['date'][:10]}: {_machine_text(results)}.", f"Versions: {_versions_text(results)}.", ""]
    rounds = document["rounds"]
    lines += [f"Medians of {rounds} round{'s' * (rounds > 1)}.", "", NOTES, "", OTHERS, ""]
    disturbed = max(document["disturbed"].values(), default=0.0)
    if disturbed > QUIET:
        lines += [
            f"**Other processes kept {disturbed:g} processors busy during this race: the times are no good.**",
            "",
        ]
    if document["absent"]:
        lines += [f"Not installed: {', '.join(document['absent'])}.", ""]
    lines += ["![Times of pooling, of each other library and of a copy of the bytes](benchmarks.svg)", ""]
    lines += [
        line
        for threads in results.threads
        if (text := _lead_text(results, threads))
        for line in (f"With {_threads_text(threads)}: {text}", "")
    ]
    lines += ["## Targets", "", COPIES]
    for threads in results.threads:
        lines += _targets(results, threads)
    for group, title in GROUPS.items():
        tables = [line for threads in results.threads for line in _times(results, threads, group)]
        about = _layers_text(results) if group == LAYERS_GROUP else []
        lines += [f"## {title}", "", *about, *tables] if tables else []
    lines += _memory(results) + _first_calls(results) + _tiny_and_import(results)
    lines += _unsteady(results) + _refusals(results)
    return "\n".join(lines).rstrip("\n") + "\n"


def _layers_text(results: Results) -> list[str]:
    """What the cases are, and what follows from them."""
    drawn = json.loads(LAYERS_FILE.read_text(encoding="utf-8"))
    lines = [
        f"{len(drawn['cases'])} geometries of the {drawn['layers']} pooling layers of {len(drawn['networks'])} "
        "networks, drawn by a seed, half of them network by network and half by kinds of windows, with a type, a "
        "layout and a batch of 1 or 8 (`python -m benchmarks.make_layers`; `python -m benchmarks.layers` races these "
        "alone).",
        "",
    ]
    for threads in results.threads:
        found = layers_summary(results, threads).splitlines()
        lines += [f"{_threads_text(threads).capitalize()}:", "", *(f"- {line}" for line in found), ""] if found else []
    return lines


def _by_threads(results: Results, key: str) -> dict[int, dict[str, Any]]:
    """What `benchmarks.measurements` found, by threads and name."""
    return {int(threads): found for threads, found in results.document.get(key, {}).items() if found}


def _memory(results: Results) -> list[str]:
    memory = _by_threads(results, "memory")
    if not memory:
        return []
    head = ["case", *(f"{_threads_text(threads)}{word}" for threads in memory for word in ("", ", documented"))]
    rows = []
    for name in next(iter(memory.values())):
        cells = [by_name.get(name) or {} for by_name in memory.values()]
        rows.append([name, *(_kibibytes(each.get(part)) for each in cells for part in ("bytes", "bound"))])
    return ["## Memory", "", MEMORY, *_table(head, rows), ""]


def _first_calls(results: Results) -> list[str]:
    found = _by_threads(results, "first_calls")
    if not found:
        return []
    head = ["case", *(f"{_threads_text(threads)}, {word}" for threads in found for word in ("first", "warm"))]
    rows = []
    for name in next(iter(found.values())):
        cells = [by_name.get(name) or {} for by_name in found.values()]
        rows.append(
            [name, *(seconds_text(each[part]) if each else "–" for each in cells for part in ("first", "warm"))]
        )
    return [
        "## First calls",
        "",
        "The first call of a signature (shape, type and arguments), and the median of the next nine: medians of fresh "
        "processes, in which the same function has run on a map of another size.",
        "",
        *_table(head, rows),
        "",
    ]


def _tiny_and_import(results: Results) -> list[str]:
    document = results.document
    lines = []
    if tiny := _by_threads(results, "tiny"):
        names = list(next(iter(tiny.values())))
        rows = [[name, *(seconds_text(by_name[name]) for by_name in tiny.values())] for name in names]
        lines += [
            "## Tiny calls",
            "",
            "2 x 2 windows on 16 maps of 8 x 8, warm, in a process that does nothing else.",
            "",
        ]
        lines += [*_table(["call", *map(_threads_text, tiny)], rows), ""]
    if "import_seconds" in document:
        seconds = document["import_seconds"]
        lines += ["## Import", "", f"`import numpy` takes {seconds_text(seconds['numpy'])}, `import pooling` after it "]
        lines[-1] += f"{seconds_text(seconds['pooling'])}: medians of fresh processes."
        if document.get("first_result"):
            first = seconds_text(document["first_result"])
            lines[-1] += f" From the end of `import numpy` to the result of a first `max_pool2d` it is {first}."
        lines += [""]
    return lines


def _kibibytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 1024:,.0f} KiB"


def figure(results: Results) -> Figure:
    """Draw times of the headlines, and the cost with size where it was measured."""
    from matplotlib.figure import Figure

    threads = max(results.threads)
    names = _headlines(results, threads)
    sizes = [
        case
        for case in results.cases.values()
        if case.group == "size" and results.seconds(threads, case.name, "pooling")
    ]
    heights = [max(2.0, 0.34 * len(names) + 1.2), *([3.2] if sizes else [])]
    drawing = Figure(figsize=(10, sum(heights)), layout="constrained")
    panels = drawing.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_headlines(panels[0], results, threads, names)
    if sizes:
        _draw_sizes(panels[1], results, threads, [case.name for case in sizes])
    return drawing


def _draw_headlines(axes: Axes, results: Results, threads: int, names: Sequence[str]) -> None:
    for library in reversed([name for name in results.libraries if name in COLOURS]):
        points = [
            (seconds * 1e6, row)
            for row, name in enumerate(names)
            if (seconds := results.seconds(threads, name, library))
        ]
        if not points:
            continue
        style: dict[str, Any] = {"marker": "o", "s": 34, "alpha": 0.85, "zorder": 3}
        if library == "pooling":
            style = {"marker": "D", "s": 62, "zorder": 5}
        elif library == "copy":
            style = {"marker": "|", "s": 150, "linewidths": 2.5, "zorder": 4}
        axes.scatter(*zip(*points, strict=True), color=COLOURS[library], label=library, **style)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("microseconds a call, logarithmic: left is faster")
    axes.set_title(f"{_threads_text(threads).capitalize()}, {results.document['machine']['processor']}", loc="left")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _draw_sizes(axes: Axes, results: Results, threads: int, names: Sequence[str]) -> None:
    for library, style in (("copy", "--"), ("pooling", "-")):
        points = [
            (results.cases[name].moved[0] / 2**20, seconds * 1e3)
            for name in names
            if (seconds := results.seconds(threads, name, library))
        ]
        if points:
            axes.plot(*zip(*points, strict=True), style, marker="o", color=COLOURS[library], label=library)
    case = results.cases[names[0]]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} MB" if value < 1024 else f"{value / 1024:g} GB")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_xlabel("input, logarithmic")
    axes.set_ylabel("milliseconds a call")
    axes.set_title(
        f"Cost with size: {case.kind} {case.kernel_size}x{case.kernel_size}, stride {case.stride}", loc="left"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def write(results: Results, root: Path = ROOT) -> None:
    """Write README.md (between its two comments), docs/benchmarks.md and .svg, and a sentence of docs/index.md."""
    import matplotlib

    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"write: {readme} must hold one line {BEGIN} and after it one line {END}")
    section = f"{BEGIN}\n{readme_section(results)}{END}\n"
    # The same race gives the same file: no date, no random names.
    with matplotlib.rc_context({"svg.hashsalt": "pooling", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure(results).savefig(root / "docs" / "benchmarks.svg", metadata={"Date": None, "Creator": None})
    (root / "docs" / "benchmarks.md").write_text(page(results), encoding="utf-8")
    readme.write_text(pattern.sub(lambda _: section, text), encoding="utf-8")
    _write_front_page(root / "docs" / "index.md", section)


def _write_front_page(file: Path, section: str) -> None:
    """Put the figures of README's section into the sentence of the site's front page, where there is one."""
    measured = r"Over all (\d+) forward cases with a peer, .*? takes ([\d.]+) times as long \(.*?; ([\d.]+) at least"
    found = re.search(measured, section)
    if found is None or not file.exists():
        return
    cases, mean, least = found.groups()
    sentence = (
        r"Over \d+ cases the fastest of the other libraries takes [\d.]+ times as long \(([^;]+); [\d.]+ at least"
    )
    new = rf"Over {cases} cases the fastest of the other libraries takes {mean} times as long (\1; {least} at least"
    text, count = re.subn(sentence, new, file.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"write: {file} must hold one sentence {sentence}")
    file.write_text(text, encoding="utf-8")


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the result of a race and write the pages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.json", help="what python -m benchmarks --json wrote")
    arguments = parser.parse_args(command_line)
    write(Results(json.loads(arguments.file.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
