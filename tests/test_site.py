"""The documentation site: its pages print what they show, its pictures are made, and no public name is missing.

Sphinx is not needed here; `make site` builds the site with warnings as errors and checks its links.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
from enum import EnumType
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import pooling
from pooling.dispatch import kernels
from pooling.operators import OPERATORS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLDERS = ("tutorials", "how-to", "reference", "explanation", "development")
SEMANTICS = DOCS / "semantics.md"
PAGES = sorted([DOCS / "index.md", SEMANTICS, *(page for folder in FOLDERS for page in (DOCS / folder).glob("*.md"))])
EXAMPLES = sorted((DOCS / "examples").glob("plot_*.py"))
WITHOUT_SNIPPETS = {
    *(f"{folder}/index.md" for folder in FOLDERS),
    "development/changes.md",
    "development/contributing.md",
    "development/security.md",
}
NEEDS = {
    "how-to/export-and-prove.md": ("onnx", "onnxruntime"),
    "how-to/runtimes-disagree.md": ("onnx", "onnxruntime"),
    "how-to/use-in-pytorch.md": ("torch",),
    "tutorials/photograph-and-volume.md": ("matplotlib", "PIL"),
    "tutorials/onnx-graph.md": ("onnx", "onnxruntime"),
    "tutorials/runtimes.md": ("onnx", "onnxruntime"),
}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def script(name: str) -> ModuleType:
    """Import a script of docs/."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_prints_what_it_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for library in NEEDS.get(name_of(page), ()):
        pytest.importorskip(library)
    result = doctest.testfile(str(page), module_relative=False)
    assert result.failed == 0
    assert (result.attempted > 0) == (name_of(page) not in WITHOUT_SNIPPETS)


def test_the_oracle_prints_what_the_definition_shows() -> None:
    text = SEMANTICS.read_text(encoding="utf-8")
    assert text.count(">>> import pooling\n") == 1
    session = text.replace(">>> import pooling\n", ">>> from pooling import reference as pooling\n")
    parsed = doctest.DocTestParser().get_doctest(session, {}, "semantics.md", str(SEMANTICS), 0)
    result = doctest.DocTestRunner().run(parsed)
    assert result.failed == 0
    assert result.attempted > 30


def commands(page: Path) -> list[tuple[str, str]]:
    """Return each command that a page shows with its output, and the output."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


COMMANDS = [(page, *each) for page in PAGES for each in commands(page)]


@pytest.mark.parametrize(("page", "command", "output"), COMMANDS, ids=[name_of(page) for page, _, _ in COMMANDS])
def test_a_command_prints_what_stands_below_it(page: Path, command: str, output: str, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    program, *arguments = shlex.split(command)
    assert program == "pooling"
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=tmp_path,
        env=environment | {"COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert doctest.OutputChecker().check_output(output.rstrip(), done.stdout.rstrip(), doctest.ELLIPSIS), done.stdout


def test_some_page_shows_a_command() -> None:
    assert COMMANDS


def test_a_fence_has_a_language_that_is_run_or_none() -> None:
    # What is neither run above nor plain text would be a snippet that nobody runs.
    for page in PAGES:
        opened = re.findall(r"^(?:```|:::+)(\S*)[^\n]*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert {each for each in opened if each and each[0] != "{"} <= {"pycon", "console"}, page


# ---------------------------------------------------------------------------------------------------------------------
# What pooling is


def test_the_figures_are_what_the_code_draws() -> None:
    for name, text in script("make_textbook").figures().items():
        assert (DOCS / "explanation" / name).read_text(encoding="utf-8") == text, "run `python docs/make_textbook.py`"


def test_the_figures_have_the_numbers_of_textbooks() -> None:
    textbook = script("make_textbook")
    numbers = re.findall(r'class="n">([^<]+)<', textbook.maxima_and_means())
    assert numbers[16:] == ["6", "8", "14", "16", "3.75", "4.5", "7.5", "8", "5.9375"]
    assert textbook.output_sizes().count(">dropped<") == 1
    aligned, beside = textbook.shares(8), textbook.shares(11)
    assert [np.count_nonzero(level) for level in aligned] == [64, 16, 4, 1]
    # Of rows and columns 11 to 18, five are in cells 8 to 15 and three in cells 16 to 23.
    assert (64 * beside[-1][1:3, 1:3]).tolist() == [[25, 15], [15, 9]]
    assert textbook.fields() == [(3, 2), (7, 4), (15, 8)]


def test_the_table_of_sizes_is_right() -> None:
    text = (DOCS / "explanation" / "what-pooling-is.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d), (\d), (\d)(, `ceil_mode`)? \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 6
    for kernel, stride, padding, ceil, *results in rows:
        for size, result in zip((224, 7), results, strict=True):
            whole, rest = divmod(size + 2 * int(padding) - int(kernel), int(stride))
            assert int(result) == whole + 1 + (bool(ceil) and rest > 0)


# ---------------------------------------------------------------------------------------------------------------------
# How it is built


def test_the_table_of_strategies_is_that_of_the_kernels() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = re.search(r"^\| Strategy \|.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    first = [line.split("|")[1] for line in table[0].splitlines()[2:] if line]
    named = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert named == [name for kind in kernels.STRATEGIES.values() for name in kind]


# ---------------------------------------------------------------------------------------------------------------------
# The gallery


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_draws(example: Path) -> None:
    pytest.importorskip("PIL")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = importlib.import_module("matplotlib.pyplot")
    plt.close("all")
    runpy.run_path(str(example))
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert figures
    for figure in figures:
        axes = figure.get_axes()
        assert all(axis.images or axis.lines or axis.collections for axis in axes)
        figure.draw_without_rendering()
    plt.close("all")


def test_there_are_examples_enough_and_each_has_a_title() -> None:
    assert len(EXAMPLES) >= 15
    titles = []
    for example in EXAMPLES:
        title, line = re.match(r'"""\n(.+)\n(=+)\n\n\S', example.read_text(encoding="utf-8")).groups()  # type: ignore[union-attr]
        assert len(line) == len(title)
        titles.append(title)
    assert len(set(titles)) == len(titles)


# ---------------------------------------------------------------------------------------------------------------------
# Flowcharts


FLOWCHARTS = [
    block
    for page in sorted(DOCS.glob("*.md"))
    for block in re.findall(r"```mermaid\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]


def test_every_flowchart_is_drawn_whole() -> None:
    flowcharts = script("flowcharts")
    assert len(FLOWCHARTS) > 40
    for text in FLOWCHARTS:
        chart = flowcharts.read(text)
        drawn = ElementTree.fromstring(flowcharts.svg(text))
        space = "{http://www.w3.org/2000/svg}"
        assert sorted(each.text or "" for each in drawn.iter(f"{space}text")) == sorted(chart.labels.values())
        arrows = [each for each in drawn.iter(f"{space}path") if each.get("class") == "arrow"]
        assert len(arrows) == len(set(chart.arrows))


def test_nodes_of_flowcharts_are_apart_and_arrows_lead_right() -> None:
    flowcharts = script("flowcharts")
    for text in FLOWCHARTS:
        places, ways = flowcharts.laid_out(flowcharts.read(text))
        stands = [(place.column, place.row) for place in places.values()]
        assert len(stands) == len(set(stands))
        for way in ways:
            columns = [places[name].column for name in way]
            assert columns == list(range(columns[0], columns[-1] + 1))
            assert all(places[one].x + places[one].width < places[other].x for one, other in pairwise(way))


def test_a_flowchart_that_is_not_understood_is_an_error() -> None:
    read = script("flowcharts").read
    with pytest.raises(ValueError) as error:
        read("flowchart TD")
    assert str(error.value) == "a flowchart from left to right begins with 'flowchart LR', not 'flowchart TD'"
    with pytest.raises(ValueError) as error:
        read("flowchart LR\n a -.-> b")
    assert str(error.value) == "'a -.-> b' is neither a node nor an arrow of a flowchart"


# ---------------------------------------------------------------------------------------------------------------------
# The reference


def test_every_public_name_is_on_one_page() -> None:
    pages = list(script("make_reference").pages())
    of_package = [name for page in pages if page.module == "pooling" for name in page.names]
    assert sorted(of_package) == sorted(set(pooling.__all__) - {"__version__"})
    assert len({page.name for page in pages}) == len(pages)
    for page in pages:
        listed = re.findall(r"^   (\w+)$", page.written(), re.MULTILINE)
        modules = [name for name in page.names if page.kind(name) == "module"]
        assert sorted(listed) == sorted(set(page.names) - {*page.constants, *modules}), page.name
        assert all(f"``{name}``" in page.written() for name in page.constants)


def test_every_module_with_names_of_its_own_has_a_page() -> None:
    without = {"cli", "families", "layer", "maps", "reference"}
    assert {name.partition(".")[0] for name in script("make_reference").MODULES} == pooling._MODULES - without


MADE_BY = {
    **dict.fromkeys(("export.Change", "export.Repaired", "export.Skipped"), "export.make_portable"),
    "export.VerificationError": "export.to_onnx",
    **dict.fromkeys(
        [f"validation.{name}" for name in ("Finding", "ModelReport", "NodeReport", "RepairSummary", "Report")],
        "validation.validate",
    ),
    "validation.RuntimeSummary": "validation.validate",
    **dict.fromkeys(("torch.PatchReport", "torch.PatchedModule"), "torch.patch"),
}
"""Records and errors that nobody makes but one function, whose example stands for theirs."""
OF_ARRAYS = ("", ".filters", ".export", ".torch.functional", ".torch.nn", ".dask", ".xarray", ".zarr", ".onnx_models")
"""Modules whose names, but the settings, are about arrays: their docstrings tell shapes. `validation`, `doctor` and
`torch` take whole models, and `operators` is a table."""
NO_SHAPE = {"export.save": "it writes a finished model", **dict.fromkeys(MADE_BY, "it tells of models")}
SHAPE = re.compile(r"shape|\(N, C|\baxes\b|\baxis\b", re.IGNORECASE)
SOURCE = re.compile(r"torch\.nn\.\w|ONNX \w+-\d+|scipy\.ndimage\.\w|\((?:[\w ]+\.? )?(?:19|20)\d\d[,)]")
"""A function of another library, an operator of ONNX with its version, or a paper with its year."""


def sections(value: Any) -> dict[str, str]:
    """Return the sections of a docstring; what stands before the first one has the name of none."""
    head, *parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.getdoc(value) or "", flags=re.MULTILINE)
    return {"": head, **dict(zip(parts[::2], parts[1::2], strict=True))}


def described(section: str) -> set[str]:
    """Return the names of a section of parameters or attributes."""
    entries = [line.partition(" : ")[0] for line in section.splitlines() if line and not line.startswith(" ")]
    return {name.lstrip("*") for entry in entries for name in entry.split(", ")}


def linked(value: Any) -> list[Any]:
    """Return what the first paragraphs of a docstring refer to, of this package and of torch."""
    names = re.findall(r"`((?:pooling|torch)\.[\w.]+)`", sections(value)[""])
    return [pkgutil.resolve_name(name) for name in names if find_spec(name.partition(".")[0])]


def parameters_of(value: Any) -> set[str]:
    """Return the names of the arguments of a callable, none where Python itself takes them."""
    inherited = isinstance(value, type) and issubclass(value, Warning) and "__init__" not in vars(value)
    return set() if isinstance(value, EnumType) or inherited else set(inspect.signature(value).parameters)


def lacking(module: str, name: str, kind: str) -> list[str]:
    """List what the reference promises for every name, and the docstring of this one has not."""
    value = getattr(importlib.import_module(module), name)
    found, parameters = sections(value), parameters_of(value)
    short = f"{module}.{name}".removeprefix("pooling.")
    lacks = []
    if kind in ("function", "gradient"):
        missing = parameters - described(found.get("Parameters", ""))
        lacks += [f"parameter {each}" for each in sorted(missing)]
        lacks += ["Returns"] * (
            inspect.signature(value).return_annotation not in (None, "None") and not {"Returns", "Yields"} & set(found)
        )
        lacks += ["Raises"] * (bool(parameters) and "Raises" not in found)
    elif parameters and not {"Parameters", "Attributes"} & set(found):
        # Of layers and modules: those of the function, or of the module of torch, that the docstring names.
        missing = parameters.difference(*map(parameters_of, linked(value)))
        lacks += [f"parameter {each}" for each in sorted(missing)]
    if short not in MADE_BY:
        lacks += ["an example"] * (">>> " not in found.get("Examples", ""))
    text = inspect.getdoc(value) or ""
    if module.removeprefix("pooling") in OF_ARRAYS and name not in SETTINGS and short not in NO_SHAPE:
        lacks += ["a shape"] * (not SHAPE.search(text))
    names = [each for operator in OPERATORS.values() for each in operator.functions]
    is_operator = name.removesuffix("_backward") in names or (kind == "layer" and hasattr(value, "operator"))
    if is_operator or module in ("pooling.torch.functional", "pooling.torch.nn", "pooling.filters"):
        # That of a module is the source of its function, and so on.
        named = [value, *linked(value), *(other for each in linked(value) for other in linked(each))]
        lacks += ["a source"] * (not any(SOURCE.search(inspect.getdoc(each) or "") for each in named))
    return lacks


SETTINGS = {name for page in script("make_reference").pages() if page.name == "settings" for name in page.names}
PUBLIC = [
    (page.module, name, page.kind(name))
    for page in script("make_reference").pages()
    for name in page.names
    if page.kind(name) not in ("constant", "module")
]


@pytest.mark.parametrize(("module", "name", "kind"), PUBLIC, ids=[f"{module}.{name}" for module, name, _ in PUBLIC])
def test_the_reference_has_what_it_promises_for_every_name(module: str, name: str, kind: str) -> None:
    assert lacking(module, name, kind) == []


def test_what_has_no_example_of_its_own_is_made_by_a_function_that_has_one() -> None:
    for record, maker in MADE_BY.items():
        module, _, name = record.rpartition(".")
        if (f"pooling.{module}", name) in [each[:2] for each in PUBLIC]:
            assert "Examples" not in sections(pkgutil.resolve_name(f"pooling.{record}")), record
            assert ">>> " in sections(pkgutil.resolve_name(f"pooling.{maker}"))["Examples"]


def test_what_a_docstring_lacks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def max_pool2d(input: Any, kernel_size: int) -> int:
        """Say nothing of `kernel_size`.

        Parameters
        ----------
        input : array_like
        """
        return 0

    monkeypatch.setattr(pooling, "max_pool2d", max_pool2d)
    lacks = ["parameter kernel_size", "Returns", "Raises", "an example", "a shape", "a source"]
    assert lacking("pooling", "max_pool2d", "function") == lacks


def test_the_list_of_pages_is_that_of_the_files() -> None:
    files = script("make_reference").written()
    assert set(re.findall(r"^   ([\w-]+)$", files["index"], re.MULTILINE)) == set(files) - {"index"}


# ---------------------------------------------------------------------------------------------------------------------
# Pages and links


def in_toctree(page: Path) -> set[Path]:
    """Return the pages that a page lists."""
    found = set()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                found.add((page.parent / f"{line}.md").resolve())
    return found


def test_every_page_is_in_one_list() -> None:
    lists = [in_toctree(page) for page in PAGES]
    listed = [page for each in lists for page in each if "generated" not in page.parts]
    assert len(listed) == len(set(listed))
    assert set(listed) == {*PAGES, *DOCS.glob("*.md")} - {DOCS / "index.md"}


def places(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_work_where_the_repository_is_hosted(page: Path) -> None:
    text = re.sub(r"```\w*\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        path, _, place = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not place or place in places(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_of_ours_on_a_page_is_there(page: Path) -> None:
    for name in set(re.findall(r"`(pooling(?:\.[A-Za-z]\w*)+)", page.read_text(encoding="utf-8"))):
        try:
            pkgutil.resolve_name(name)
        except ModuleNotFoundError as error:
            # Such as torch, where that is not installed.
            if (error.name or "pooling").startswith("pooling"):
                raise


def test_the_front_page_has_the_figures_of_the_readme() -> None:
    measured = re.search(
        r"Over all (\d+) forward cases with a peer, the fastest of the other libraries takes ([\d.]+) times as long "
        r"\(geometric mean; ([\d.]+) at least",
        (ROOT / "README.md").read_text(encoding="utf-8"),
    )
    said = re.search(
        r"Over (\d+) cases the fastest of the other libraries takes ([\d.]+) times as long "
        r"\(geometric mean, two threads; ([\d.]+) at least",
        (DOCS / "index.md").read_text(encoding="utf-8"),
    )
    assert measured is not None
    assert said is not None
    assert said.groups() == measured.groups()


GOOD = '<a href="b.html#there">b</a><img src="p.png"><a href="https://example.org/x">x</a><h1 id="top">a</h1>'


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("", None),
        ('<a href="c.html">c</a>', "a.html: c.html is not there"),
        ('<a href="b.html#gone">b</a>', "a.html: b.html#gone has no such place"),
        ('<a href="#gone">a</a>', "a.html: #gone has no such place"),
        ('<a href="#top">a</a><a href="#">a</a><a href="?x=1">a</a>', None),
        ('<a href="b.html#op=max&amp;at=3,3">b</a><a href="#size=8">a</a>', None),
        ('<img src="q.png">', "a.html: q.png is not there"),
        ('<script src="../outside.js"></script>', "a.html: ../outside.js leads out of the site"),
        ('<link href="folder/" rel="next">', "a.html: folder/ is not there"),
    ],
)
def test_links_are_checked(more: str, problem: str | None, tmp_path: Path, capsys: Any) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.html").write_text(GOOD + more, encoding="utf-8")
    (site / "b.html").write_text('<p id="there">', encoding="utf-8")
    (site / "p.png").write_bytes(b"")
    checker = script("check_links")
    assert checker.check(site).broken == ([] if problem is None else [problem])
    assert checker.main(str(site)) == (problem is not None)
    assert "1 elsewhere" in capsys.readouterr().out


def test_a_site_without_links_is_no_success(tmp_path: Path) -> None:
    assert script("check_links").main(str(tmp_path)) == 1
