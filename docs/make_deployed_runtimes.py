"""Write docs/deployed-runtimes.md from the table of the package: ``python docs/make_deployed_runtimes.py``.

``python -m pooling.validation.deployed.measure`` makes the table; a test compares the page with what this module makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pooling.export.deployed import ReleaseAnswer, table

PAGE = Path(__file__).with_name("deployed-runtimes.md")
SAID = {
    "numbers": "wrong numbers",
    "shape": "wrong shape",
    "refused": "does not run",
}
SENTENCE = 120
"""Signs of what a runtime says that are shown."""

HEAD = """\
<!-- Made by docs/make_deployed_runtimes.py from the table that comes with pooling.export.deployed. -->

# Exports in deployed runtimes

A model that is correct in the runtime of the developer may be wrong in the runtime where it is deployed. So the form
in which `to_onnx` writes a pooling is chosen by the results of released runtimes, with their graph optimisation and
without: every onnxruntime from 1.17 on that reads the opset gives the right result. Models have the IR version that
goes with their opset, so that the oldest release that reads the one reads the other.

    python -m pooling.validation.deployed.measure

installs wheels of the releases below side by side into folders under `build/runtimes`, asks each in a process of its
own about every form and every layer, compares the answers with those of the layers, and writes the table that comes
with the package (`export/deployed/table.json`; `pooling.export.deployed` reads it). `--only 1.17.3,1.32.0` asks two
releases, `--forms REGEX` about some forms; what was known of others stays. `tests/test_deployed_runtimes.py` asks the
installed onnxruntime about every layer, and those in the folders that `POOLING_OLD_RUNTIMES` names.

What follows for the graphs:

- **Means with padding that counts and is asymmetric** (`"same_upper"` first of all) are one AveragePool below opset 19.
  From 19 on they are an AveragePool that leaves the padding out, times the share of its taps that count.
- **`ceil_mode` with padding that counts** is written so in every opset: a Pad in front of an AveragePool is drawn into
  the node by the optimiser of some releases, which then divide by other numbers.
- **Indices of maxima**: of a window of nothing but the least number (-3.4e38 in float32, 0 in uint8) onnxruntime before
  1.29 names no cell of the window. Where float32 or float64 may be so small, a Where puts the first cell of the window;
  int8 and uint8 are pooled as float32.
- **Dilated means** are one AveragePool in opset 19, which openvino 2024 computes as if there were no dilations. With
  `opset=13` they are sums of gathered taps, which it computes rightly.

"""


def listed(versions: tuple[str, ...], everything: tuple[str, ...]) -> str:
    """Name releases, and runs of them by their ends."""
    runs: list[list[str]] = []
    for version in versions:
        place = everything.index(version)
        if runs and everything.index(runs[-1][-1]) == place - 1:
            runs[-1].append(version)
        else:
            runs.append([version])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def opsets(row: ReleaseAnswer) -> str:
    """Name opsets, and runs of those that were measured by their ends."""
    measured = table().opsets[row.runtime]
    runs: list[list[int]] = []
    for opset in row.opsets:
        if runs and measured.index(runs[-1][-1]) == measured.index(opset) - 1:
            runs[-1].append(opset)
        else:
            runs.append([opset])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def faults(kind: str, runtime: str, answers: tuple[str, ...]) -> Iterator[str]:
    """Make a line for each answer that is not right."""
    everything = tuple(table().newest_opsets[runtime])
    for form in table().forms_of(kind):
        for row in (row for row in table().rows if row.form == form):
            if row.runtime != runtime or row.answer not in answers:
                continue
            level = "" if runtime != "onnxruntime" or len(row.levels) == 2 else f", {row.levels[0]} level"
            said = row.detail if len(row.detail) <= SENTENCE else f"{row.detail[: SENTENCE - 1]}…"
            what = f"{SAID[row.answer]}: {said}".replace("|", "/")
            where = f"{listed(row.versions, everything)}{level}"
            yield f"| {form} | {where} | {opsets(row)} | {what} |\n"


def right(kind: str, runtime: str) -> str:
    """Name the forms that are right wherever they were measured."""
    of_runtime = [row for row in table().rows if row.runtime == runtime]
    wrong = {row.form for row in of_runtime if row.answer != "right"}
    asked = {row.form for row in of_runtime}
    return "".join(f"- {form}\n" for form in table().forms_of(kind) if form in asked - wrong)


def is_gradient(form: str) -> bool:
    """Whether a layer is asked about its gradient."""
    return form.startswith("Gradient of ")


def section(kind: str, runtime: str) -> str:
    """Write what one runtime makes of the forms of one kind."""
    head = "| Form | Releases | Opsets | What comes |\n|---|---|---|---|\n"
    rows = "".join(faults(kind, runtime, ("numbers", "shape", "refused")))
    return f"{head}{rows}" if rows else "None is wrong, and none does not run.\n"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, "## Which releases\n\n| Runtime | Release | reads opsets up to |\n|---|---|---|\n"]
    for runtime, releases in table().newest_opsets.items():
        parts += [f"| {runtime} | {version} | {opset} |\n" for version, opset in releases.items()]
    parts.append("\n## Forms of means and maxima\n")
    for runtime in table().newest_opsets:
        parts.append(f"\nNot right in {runtime}:\n\n{section('forms', runtime)}")
        parts.append(f"\nRight in {runtime} wherever they were run:\n\n{right('forms', runtime)}")
    parts.append("\n## Layers as they are exported\n")
    for runtime in table().newest_opsets:
        found = {row.form for row in table().rows if row.runtime == runtime} & set(table().forms_of("layers"))
        if found:
            asked = {version for row in table().rows if row.form in found for version in row.versions}
            releases = tuple(version for version in table().newest_opsets[runtime] if version in asked)
            where = f"{', '.join(releases[:-1])} and {releases[-1]}" if len(releases) > 1 else releases[0]
            what = "layers, gradients and types" if any(map(is_gradient, found)) else "layers and types"
            parts.append(
                f"\nOf {len(found)} {what}, asked about in {runtime} {where}, not right are:\n\n"
                f"{section('layers', runtime)}"
            )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
