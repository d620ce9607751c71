"""Snippets of docs/ that no other test runs; no page has one that nobody runs, nor a command that is not there."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling import cli, filters

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RUN_BY = {
    "adding-a-rule.md": ("tests/test_adding.py", 3),
    "adding-a-runtime.md": ("tests/test_adding.py", 2),
    "adding-an-operator.md": ("tests/test_adding.py", 3),
    "doctor.md": ("tests/test_doctor_cli.py, test_doctor_assert.py, test_doctor_findings.py", 6),
    "filters.md": ("here", 1),
    "guide.md": ("tests/test_guide.py", 18),
    "multiscales.md": ("here", 3),
    "onnx-backend.md": ("here", 1),
    "repair.md": ("tests/test_repair.py", 1),
    "torch.md": ("tests/test_torch_words.py", 2),
    "validate.md": ("tests/test_validate_reports.py", 2),
}
"""Pages with blocks of Python: which file runs these, and how many there are. Blocks of `pycon` are run by
tests/test_site.py and tests/test_guide.py."""


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_every_snippet_is_run_by_some_test() -> None:
    found = {page.name: len(snippets(page.name)) for page in DOCS.glob("*.md") if snippets(page.name)}
    assert found == {page: number for page, (_, number) in RUN_BY.items()}


def test_the_filters_of_the_page() -> None:
    names: dict[str, Any] = {}
    exec(snippets("filters.md")[0], names)
    image = names["image"]
    # An opening takes bright things away, and adds nothing.
    assert (names["background"] <= image).all()
    assert names["smooth"].dtype == np.float32
    np.testing.assert_allclose(names["smooth"][100, 200], image[98:103, 196:205].mean(), rtol=1e-6)
    assert (names["brightest"] == filters.maximum_filter(image, 7)).all()
    assert names["brightest"][100, 200] == image[97:104, 197:204].max()


def test_the_volume_of_the_page_becomes_a_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("zarr", "dask", "tifffile"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    volume = np.random.default_rng(0).integers(0, 1000, (6, 32, 48)).astype(np.uint16)
    np.save("scan.npy", volume)
    write, lazy, _ = snippets("multiscales.md")
    names: dict[str, Any] = {}
    exec(write, names)
    exec(lazy, names)
    np.testing.assert_array_equal(names["image"].compute(), volume)
    blocks = volume.reshape(6, 8, 4, 12, 4)
    np.testing.assert_array_equal(names["thumbnails"].compute(), blocks.max((2, 4)))
    assert [level.shape for level in names["levels"]] == [(3, 16, 24), (2, 8, 12), (1, 4, 6)]


def test_the_field_of_the_page_becomes_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xarray = pytest.importorskip("xarray")
    for library in ("dask", "scipy"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    heights = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    heights[0, 0] = np.nan
    xarray.Dataset({"height": (("lat", "lon"), heights)}).to_netcdf("field.nc", engine="scipy")
    names: dict[str, Any] = {}
    exec(snippets("multiscales.md")[2], names)
    small = names["small"]["height"].values
    assert small.shape == (2, 3)
    np.testing.assert_allclose(small[0, 0], np.nanmean(heights[:4, :4], dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(small[1, 2], heights[4:, 8:].mean(dtype=np.float64), rtol=1e-6)


def test_the_backend_of_the_page_runs_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    onnx.save(
        onnx.parser.parse_model("""
            <ir_version: 8, opset_import: ["": 18]>
            g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y) {
                y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            }"""),
        "model.onnx",
    )
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    names: dict[str, Any] = {"x": x}
    exec(snippets("onnx-backend.md")[0], names)
    assert names["outputs"][0].tolist() == names["outputs"]["y"].tolist() == [[[[5, 7], [13, 15]]]]
    assert names["backend"].is_compatible("model.onnx") is True


# ---------------------------------------------------------------------------------------------------------------------
# Commands

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if "generated" not in page.parts]
LANGUAGES = {"", "sh", "console", "yaml", "toml", "python", "pycon", "mermaid"}
COMMAND = re.compile(
    r"(?:\$ |- run: |- )?((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:pooling [^\d\s]|pip|make|python|ruff).*)"
)
"""A line of a shell, without its prompt or the key of a workflow; `pooling 0.1.0` is the head of a report."""
NO_COMMANDS = {
    "README.md": ("what the ten lines print: tests/test_readme.py", 1),
    "docs/adding-an-operator.md": ("code that tests/test_adding.py puts together", 6),
    "docs/doctor.md": ("what the code above it prints: tests/test_doctor_cli.py", 1),
    "docs/explanation/architecture.md": ("the axes of a plan", 1),
    "docs/explanation/exact-and-reproducible.md": ("formulas", 4),
    "docs/explanation/what-pooling-is.md": ("formulas", 2),
    "docs/repair.md": ("what the code above it prints: tests/test_repair.py", 1),
    "docs/torch.md": ("what the code above it prints: tests/test_torch_words.py", 1),
    "docs/validate.md": ("reports: tests/test_validate_reports.py", 3),
}
"""Pages with blocks that have no language and are no commands: what they are, and how many."""
NOT_RUN = {
    "pip": "it installs; .ci/run installs the sdist, the wheel and the extras. The extras that it names are looked up",
    "make": "it is what .ci/run runs, or a race of hours. Its target is looked up",
    "ruff": "it changes files; `make lint` runs it",
    "python": "it takes minutes to hours. The file or module, and its options, are looked up",
}
"""Programs other than `pooling` that pages call: why no test runs the command, and what is looked up instead."""
OF_PYTEST = {"-k", "--parallel-threads", "--iterations", "--hypothesis-profile"}
"""Options of pytest and its plug-ins, which scripts hand on."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of all blocks of a page, but those that have a directive of the site for a language."""
    found = re.findall(r"^ *```(.*)\n((?:.*\n)*?) *```$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [(language, text) for language, text in found if not language.startswith("{")]


def commands(language: str, text: str) -> list[str]:
    """Return the commands of a block: in a shell every line is one; behind prompts and in workflows, what is marked."""
    if language in ("python", "pycon", "toml", "mermaid"):
        return []
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    if language == "yaml" or lines[0].startswith("$ "):
        marked = [COMMAND.fullmatch(line.strip()) for line in lines if language == "yaml" or line.startswith("$ ")]
        return [match[1] for match in marked if match]
    if not COMMAND.fullmatch(lines[0]):
        return []
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            # An option below its command, with two spaces before what it does, or more of the latter.
            found[-1] += f" {re.split('  +', line.strip())[0]}" if line.lstrip().startswith("-") else ""
        elif line and not line.startswith("#"):
            found.append(line)
    return found


COMMANDS = [(page, command) for page in PAGES for block in blocks(page) for command in commands(*block)]


def written_out(command: str) -> list[list[str]]:
    """Split a command into words, without variables before it; each of some alternatives gives one command."""
    command = re.sub(r"\[(-[^]]*|[A-Z]+=)\]", r"\1", command)  # what may be left out
    words = shlex.split(re.sub(r" \| \w+", "", command), comments=True)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    choices = [word.split("|") if re.fullmatch(r"\w+(\|\w+)+", word) else [word] for word in words]
    return [["1" if word == "N" else word for word in each] for each in itertools.product(*choices)]


def wrong_with(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Say what is wrong with a command of a page, if something is, without running it."""
    for program, *words in written_out(command):
        called = Path(program).name
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if called == "pooling":
            parser = cli._parser()
            try:
                read, unknown = parser.parse_known_args(words)
            except SystemExit:
                return capsys.readouterr().err
            known = next(each for each in cli._commands(parser) if each.prog == f"pooling {read.command}")
            # argparse takes the beginning of an option for the whole.
            if unknown or options - set(known._option_string_actions):
                return f"unknown: {sorted({*unknown, *options} - set(known._option_string_actions))}"
            continue
        if re.fullmatch(r"python[\d.t]*", called):
            found = wrong_with_python(words, options)
        elif called == "pip":
            found = wrong_with_pip(words)
        elif called == "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            found = "" if set(words) <= set(targets) else f"no such target: {words}"
        else:
            found = "" if called in NOT_RUN else f"no kind of command that is listed: {called}"
        if found:
            return found
    return ""


def wrong_with_pip(words: Sequence[str]) -> str:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {
        extra
        for word in words
        for part in re.findall(r"^(?:\.|ndpooling)\S*\[(.*)\]$", word)
        for extra in part.split(",")
    }
    if words[0] not in ("install", "wheel"):
        return f"no such command: pip {words[0]}"
    return "" if named <= set(extras) else f"no such extra: {sorted(named - set(extras))}"


def wrong_with_python(words: Sequence[str], options: set[str]) -> str:
    if words[:2] == ["-m", "pip"]:
        return wrong_with_pip(words[2:])
    if words[:2] == ["-m", "pytest"]:
        return "" if all((ROOT / word).exists() for word in words[2:] if "/" in word) else f"no such file: {words}"
    path = ROOT / (f"{words[1].replace('.', '/')}.py" if words[0] == "-m" else words[0])
    if not (ROOT / ".ci").exists() and ".ci" in path.parts:
        return ""  # not a checkout
    if not path.exists():
        return f"no such file: {path.name}"
    text = path.read_text(encoding="utf-8")
    missing = sorted(option for option in options - OF_PYTEST - {"-m"} if f'"{option}"' not in text)
    return f"no such option: {missing}" if missing else ""


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{name_of(page)}-{text[:60]}" for page, text in COMMANDS])
def test_a_command_of_a_page_is_there(page: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong_with(command, capsys) == ""


def test_every_block_without_a_language_is_of_commands_or_of_a_listed_kind() -> None:
    others = Counter[str]()
    for page in PAGES:
        for language, text in blocks(page):
            assert language in LANGUAGES, (page, language)
            others[name_of(page)] += language in ("", "sh", "console") and not commands(language, text)
    assert +others == Counter({page: number for page, (_, number) in NO_COMMANDS.items()})
    assert len(COMMANDS) > 100


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_within_sentences_have_these_options(page: Path) -> None:
    parsers = {each.prog: each for each in cli._commands(cli._parser())}
    text = re.sub(r"^ *```(?:.*\n)*? *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for written in re.findall(r"`(pooling [a-z-]+(?: [^`\n]*)?)`", text):
        parser = parsers[" ".join(written.split()[:2])]
        assert set(re.findall(r"(?<= )--?[a-z][\w-]*", written)) <= set(parser._option_string_actions), written


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("pooling doctor MODEL.onnx --objekt 8", "unknown: ['--objekt', '8']"),
        ("pooling doctor MODEL.onnx --input-shap 8", "unknown: ['--input-shap']"),
        ("pooling doctor MODEL.onnx [--task classification|detektion]", "invalid choice: 'detektion'"),
        ("pooling validdate MODEL.onnx", "invalid choice: 'validdate'"),
        ("pooling repair", "the following arguments are required"),
        ("PYTHONPATH=. pooling validate MODEL.onnx... --threads M", "invalid int value: 'M'"),
        ('pip install ".[onyx,cli]"', "no such extra: ['onyx']"),
        ('pip install "ndpooling-0.1.0-cp313-cp313-linux_x86_64.whl[onyx]"', "no such extra: ['onyx']"),
        ("pip instal .", "no such command: pip instal"),
        ("make tests", "no such target: ['tests']"),
        ("python docs/make_nothing.py", "no such file: make_nothing.py"),
        ("python -m pytest tests/test_nothing.py", "no such file"),
        (".venv/bin/python -m benchmarks.against build/openmp --treads 2", "no such option: ['--treads']"),
        ("curl https://example.org", "no kind of command that is listed: curl"),
    ],
)
def test_a_command_that_is_not_there_is_noticed(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in wrong_with(command, capsys)


def test_what_is_no_command_in_a_block() -> None:
    assert commands("", "pooling 0.1.0 (x86-64-v3), 2 threads\n") == []
    assert commands("console", "$ pooling info\npooling 0.1.0\n") == ["pooling info"]
    assert commands("yaml", "- run: pooling info\n- uses: this\n") == ["pooling info"]
    text = (
        "pooling validate M.onnx...\n    --runtimes A,B   those to run, and\n             more\n    --seed N   seed\n"
    )
    assert commands("", text) == ["pooling validate M.onnx... --runtimes A,B --seed N"]
