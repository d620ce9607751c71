"""The race is fair and its pages follow from its numbers. Nothing here measures time."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling.operators import OPERATORS

pytest.importorskip("rich")  # the extra "cli"; the race shows its tables with it
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import measurements, report
from benchmarks.layers import LAYERS
from benchmarks.targets import TARGETS
from pooling import cli
from pooling.benchmark import worker
from pooling.benchmark.cases import CASES, SIZES, VIEWS, BenchmarkCase
from pooling.benchmark.race import Worker, race
from pooling.benchmark.results import Results, seconds_text
from pooling.benchmark.strategies import strategies_of
from pooling.benchmark.table import ratios_table
from pooling.cli import bench
from pooling.dispatch import kernels
from tests.benchmark_cases import canned, shrunk

ROOT = Path(__file__).parent.parent
TINY = next(case for case in CASES if case.group == "tiny")


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers are started as modules of the checkout; adapters set the threads of the whole process."""
    import pooling

    threads = pooling.get_num_threads()
    monkeypatch.chdir(ROOT)
    yield
    pooling.set_num_threads(threads)


def test_names_are_unique() -> None:
    names = [case.name for case in (*CASES, *SIZES)]
    assert sorted(set(names)) == sorted(names)


def test_every_group_has_a_place_on_the_page() -> None:
    assert {case.group for case in (*CASES, *SIZES, *LAYERS)} == set(report.GROUPS)


def test_headlines_and_cases_of_memory_exist() -> None:
    names = {case.name for case in CASES}
    assert set(report.HEADLINES) <= names
    assert len(report.HEADLINES) <= 15
    assert len(measurements.MEMORY_CASES) >= 10


def test_what_the_race_promises_is_there() -> None:
    assert {case.dtype for case in CASES} == {"float32", "float64", "float16", "bfloat16", "uint8"}
    assert {case.direction for case in CASES} == {"forward", "indices", "backward", "training"}
    assert {case.dimensions for case in CASES} == {1, 2, 3}
    assert [math.prod(case.shape) * 4 >> 20 for case in SIZES] == [1, 4, 16, 64, 256, 1024, 4096]
    backward = {(case.operator, case.layout) for case in CASES if case.direction == "backward"}
    assert backward >= {(case.operator, case.layout) for case in CASES if case.group in ("networks", "channels_last")}
    assert {case.operator for case in CASES} == OPERATORS.keys()
    families = {case.operator for case in CASES if case.group == "families"}
    assert families <= {case.operator for case in CASES if case.direction == "backward"}
    assert {case.memory for case in CASES} == {"", *VIEWS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_survive_json_and_pooling_runs_them(case: BenchmarkCase) -> None:
    assert case.operator in OPERATORS
    assert BenchmarkCase.from_json(json.loads(json.dumps(case.to_json()))) == case
    if case.dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    small = shrunk(case)
    result = worker.with_pooling(small, 1)()
    found = worker.LIBRARIES["pooling"].arrays(small, result)
    shapes = {
        "forward": [small.output_shape],
        "indices": [small.output_shape] * 2,
        "backward": [small.shape],
        "training": [small.output_shape, small.shape],
    }[case.direction]
    assert [array.shape for array in found] == shapes
    assert found[0].dtype == np.dtype(case.dtype)
    if case.direction != "training":  # it may move indices as well
        assert small.moved[1] == sum(array.nbytes for array in found)


def test_a_library_that_does_something_else_is_not_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(result: np.ndarray[Any, Any]) -> dict[str, Any]:
        other = replace(worker.LIBRARIES["NumPy"], prepare=lambda case, threads: lambda: result)
        monkeypatch.setitem(worker.LIBRARIES, "NumPy", other)
        return worker.answer("NumPy", TINY, 1, set())

    right = worker.with_pooling(TINY, 1)()
    assert "seconds" in answer(right)
    assert answer(right[..., :-1])["cannot"] == "result of shape (1, 16, 4, 3) in place of (1, 16, 4, 4)"
    assert answer(right.astype("float64"))["cannot"] == "result of float64 in place of float32"
    assert answer(right + 1)["cannot"].startswith("another result: differs by 1")
    assert answer(right * np.nan)["cannot"] == "another result: differs by nan"


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_copy_moves_the_bytes_of_the_case(direction: str) -> None:
    case = replace(TINY, shape=(1, 16, 64, 64), direction=direction)
    read, written = case.moved
    for threads in (1, 2):
        result = worker.with_copy(case, threads)()
        assert result.nbytes == written
        both = min(read, written)
        assert np.array_equal(result[:both], np.resize(np.arange(251, dtype=np.uint8), both))
    assert case.moved == ((1 << 18, 1 << 16) if direction == "forward" else ((1 << 16) + (1 << 17), 1 << 18))


def test_parser() -> None:
    arguments = command.parser().parse_args(["--threads", "1", "--threads", "2", "--only", "tiny", "--library", "copy"])
    assert (arguments.threads, arguments.only, arguments.rounds, arguments.library) == ([1, 2], "tiny", 5, ["copy"])
    assert arguments.json is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "no such case"], "nothing's name holds 'no such case'"),
        (["--only", "tiny", "--rounds", "0"], "at least 1"),
        (["--only", "tiny", "--threads", "0"], "at least 1"),
        (["--library", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_round_of_two_libraries_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "race.json"
    chosen = ["--library", "pooling", "--library", "NumPy"]
    code = command.main(["--only", TINY.name, "--rounds", "1", "--threads", "1", *chosen, "--json", str(path)])
    assert code == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    row = document["seconds"]["1"][TINY.name]
    assert list(row) == ["pooling", "NumPy"]
    assert all(seconds > 0 for seconds in row.values())
    assert document["cannot"] == document["unsteady"] == {"1": {}}
    assert list(path.parent.iterdir()) == [path]
    printed = capsys.readouterr().out
    assert TINY.name in printed
    assert all(target.what.split(",")[0] in printed for target in TARGETS)


def test_a_worker_says_why_it_cannot_and_goes_on() -> None:
    process = Worker("SciPy" if worker.LIBRARIES["SciPy"].installed else "NumPy", 1)
    try:
        refusal = process.ask(replace(TINY, direction="backward"))
        assert list(refusal) == ["cannot"]
        process.process.kill()
        assert process.ask(TINY) == {"cannot": "the process ended with code -9"}
        assert process.ask(replace(TINY, direction="backward")) == refusal
    finally:
        process.close()


def test_strategies_of_cases_are_those_that_the_kernels_list() -> None:
    """Those of single calls are compared with the kernels' own answer in tests/test_strategies.py."""
    for case in (*CASES, *SIZES):
        if OPERATORS[case.operator].family not in ("extremes", "means"):
            assert strategies_of(case) == ""
            continue
        names = strategies_of(case).split(" + ")
        kinds = {
            "forward": ("forward",),
            "indices": ("indices",),
            # The gradient of a mean whose windows move by one is a pooling of the gradients.
            "backward": ("gradient",) if case.selects else ("mean_gradient", "forward"),
        }
        wanted = [kinds["forward"], kinds["backward"]] if case.direction == "training" else [kinds[case.direction]]
        assert len(names) == len(wanted)
        for name, several in zip(names, wanted, strict=True):
            assert name in [each for kind in several for each in kernels.STRATEGIES[kind]], case.name
    by_name = {case.name: strategies_of(case) for case in CASES}
    assert by_name["31x31 maximum, HD"] == "strips"
    assert by_name["31x31 maximum, HD, backward"] == "scatter_long"
    assert by_name["Inception average 3x3, backward"] == "flat"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234e-6, "1.23 µs"), (45.6e-6, "45.6 µs"), (0.7891, "789 ms"), (12.3, "12.3 s"), (5e-8, "0.0500 µs")],
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_report_of_a_race(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "docs").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n", encoding="utf-8")
    front = tmp_path / "docs" / "index.md"
    front.write_text(
        "Over 1 cases the fastest of the other libraries takes 9.9 times as long (mean; 9.1 at least).\n", "utf-8"
    )
    results = Results(json.loads(json.dumps(canned())))
    report.write(results, tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    report.write(results, tmp_path)
    assert written == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"# before\n\n{report.BEGIN}\n## Speed\n")
    assert text.endswith(f"{report.END}\n\nafter\n")
    assert "old" not in text
    assert "| ResNet stem, batch 1 | 2.00 µs | 20.0 µs | torch | 10.0 | 2.0 |\n" in text
    assert sum(line.startswith("| ") for line in text.splitlines()) == 2 + len(report.HEADLINES)
    page = (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "2026-01-02: Abacus 9, 2 cores, 32 MiB of last-level cache, 24 GiB of memory" in page
    assert "Not installed: OpenCV." in page
    assert "| torch | RuntimeError: pad \\| kernel | dilation 2 |\n" in page
    assert "| 2 threads | torch | audio 1-D; 5x5 s2 |\n" in page
    assert "no good" not in page
    assert all(f"| {case.name} |" in page for case in (*CASES, *SIZES, *LAYERS))
    assert "| 31x31 maximum, HD | 3,072 KiB | 1,024 KiB |\n" in page
    assert "| mean 2x2, small | 60.0 µs | 20.0 µs |\n" in page
    assert "| indices | 1.70 µs |\n" in page
    assert b"Abacus 9" in (tmp_path / "docs" / "benchmarks.svg").read_bytes()
    figures = re.search(
        r"Over all (\d+) forward cases with a peer, the .*? takes ([\d.]+) times .* ([\d.]+) at least", text
    )
    assert figures is not None
    assert front.read_text(encoding="utf-8") == (
        f"Over {figures[1]} cases the fastest of the other libraries takes {figures[2]} times as long "
        f"(mean; {figures[3]} at least).\n"
    )


def test_a_race_on_a_busy_machine_is_called_no_good() -> None:
    document = canned()
    document["disturbed"]["2"] = 0.9
    assert "Other processes kept 0.9 processors busy during this race: the times are no good." in report.page(
        Results(document)
    )


def test_report_needs_its_place_in_the_readme(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "README.md").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        report.write(Results(canned()), tmp_path)
    assert "<!-- benchmarks: begin -->" in str(caught.value)


def test_the_readme_has_a_place_for_the_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(f"{report.BEGIN}\n") == text.count(f"{report.END}\n") == 1
    assert text.index(report.BEGIN) < text.index(report.END)


def test_pooling_bench_runs_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["--only", "tiny", "--library", "numpy", "--rounds", "1", "--threads", "1"]
    assert cli.main(["bench", *chosen, "--json", "race.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "pooling", "NumPy", "by", "a", "copy", "strategy"]
    assert lines[1].startswith(TINY.name)
    assert lines[2].startswith("geometric mean")
    assert lines[-1] == "written to race.json"
    document = json.loads(Path("race.json").read_text(encoding="utf-8"))
    assert list(document["seconds"]["1"][TINY.name]) == ["pooling", "copy", "NumPy"]
    assert document.keys() == canned().keys() - {"import_seconds", "first_result", "first_calls", "tiny"}


def test_pooling_bench_lists_its_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [case.name for case in CASES]
    assert {case.name for case in CASES} >= set(bench.USUAL)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "no such case"], "--only 'no such case': no case has that in its name; --list shows the names"),
        (["--threads", "0"], "--threads 0 must be at least 1"),
        (["--threads", "99999"], "--threads 99999 must be at most 1024"),
        (["--rounds", "0"], "--rounds 0 must be at least 1"),
        (["--library", "abacus"], "--library 'abacus' is none of onnxruntime, openvino, torch"),
        (["--json", "no/race.json"], "--json no/race.json: there is no folder no"),
    ],
)
def test_pooling_bench_refuses(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"pooling bench: {sentence}")


def test_ratios_are_times_by_ours() -> None:
    console = Console(width=200, file=io.StringIO())
    console.print(ratios_table(Results(canned()), 2))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    row = next(line for line in lines if line.startswith("audio 1-D "))
    assert row.removeprefix("audio 1-D").split() == ["2.00", "µs", "10.0", "2.0", "bands"]
    row = next(line for line in lines if line.startswith("dilation 2 "))
    assert row.removeprefix("dilation 2").split() == ["2.00", "µs", "–", "2.0", "bands"]
    assert lines[-1].split() == ["geometric", "mean", "10.0"]


def test_an_interrupted_race_leaves_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []
    original = Worker.__init__

    def start(self: Worker, *arguments: Any) -> None:
        original(self, *arguments)
        started.append(self)

    def interrupt(self: Worker, case: BenchmarkCase) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "__init__", start)
    monkeypatch.setattr(Worker, "ask", interrupt)
    with pytest.raises(KeyboardInterrupt):
        race([TINY], ["pooling", "NumPy"], 1, 1)
    assert [each.process.poll() is None for each in started] == [False, False]
