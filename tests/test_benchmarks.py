"""The race is fair and its pages follow from its numbers. Nothing here measures time."""

from __future__ import annotations

import io
import json
import math
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
from benchmarks.targets import TARGETS, findings
from pooling import cli
from pooling.benchmark import worker
from pooling.benchmark.cases import CASES, SIZES, BenchmarkCase
from pooling.benchmark.race import Worker, race
from pooling.benchmark.results import Results, seconds_text
from pooling.benchmark.strategies import strategies_of
from pooling.benchmark.table import ratios_table
from pooling.cli import bench
from pooling.dispatch import kernels

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


def shrunk(case: BenchmarkCase) -> BenchmarkCase:
    """Return the same pooling of few channels and small maps."""
    most = {1: 400, 2: 70, 3: 20}[case.dimensions]
    return replace(case, shape=(1, min(case.shape[1], 3), *(min(size, most) for size in case.shape[2:])))


def test_names_are_unique() -> None:
    names = [case.name for case in (*CASES, *SIZES)]
    assert sorted(set(names)) == sorted(names)


def test_every_group_has_a_place_on_the_page() -> None:
    assert {case.group for case in (*CASES, *SIZES)} == set(report.GROUPS)


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
    assert backward == {(case.operator, case.layout) for case in CASES if case.group in ("networks", "channels_last")}


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


@pytest.mark.parametrize("library", ["NumPy", "SciPy", "scikit-image", "OpenCV"])
def test_what_arrays_libraries_are_raced_on_is_the_same_work(library: str) -> None:
    if not worker.LIBRARIES[library].installed:
        pytest.skip(f"{library} is not installed")
    done = []
    for case in map(shrunk, CASES):
        try:
            call = worker.LIBRARIES[library].prepare(case, 1)
        except (worker.Cannot, ImportError):
            continue
        if case.dtype == "float32" and not (library == "OpenCV" and case.layout == "channels_last"):
            worker.check(library, case, call())
            done.append(case)
    assert len(done) >= 3


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
def test_the_floor_moves_the_bytes_of_the_case(direction: str) -> None:
    case = replace(TINY, shape=(1, 16, 64, 64), direction=direction)
    read, written = case.moved
    for threads in (1, 2):
        result = worker.with_floor(case, threads)()
        assert result.nbytes == written
        both = min(read, written)
        assert np.array_equal(result[:both], np.resize(np.arange(251, dtype=np.uint8), both))
    assert case.moved == ((1 << 18, 1 << 16) if direction == "forward" else ((1 << 16) + (1 << 17), 1 << 18))


def test_parser() -> None:
    arguments = command.parser().parse_args(
        ["--threads", "1", "--threads", "2", "--only", "tiny", "--library", "floor"]
    )
    assert (arguments.threads, arguments.only, arguments.rounds, arguments.library) == ([1, 2], "tiny", 5, ["floor"])
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
    code = command.main(["--only", "tiny", "--rounds", "1", "--threads", "1", *chosen, "--json", str(path)])
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


def canned() -> dict[str, Any]:
    """Make the document of a race in which pooling takes 2 µs, the floor 1 µs and torch 20 µs."""
    cases = [*CASES, *SIZES]
    big = {case.name: sum(case.moved) * 1e-10 for case in SIZES}
    times: dict[str, dict[str, float | None]] = {
        case.name: {"pooling": 2e-6, "pooling out=": 1e-6, "floor": 1e-6, "floor out=": 1e-6, "torch": 20e-6}
        for case in CASES
    }
    times |= {name: {"pooling": seconds, "floor": seconds / 2} for name, seconds in big.items()}
    times["dilation 2"]["torch"] = None
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {
            "processor": "Abacus 9",
            "cores": 2,
            "last_level_cache": 32 << 20,
            "memory": 24 << 30,
            "system": "Linux x86_64",
            "python": "3.11.7",
            "kernels": "x86-64-v3",
        },
        "versions": {"pooling": "0.1.0", "torch": "2.13.0"},
        "absent": ["OpenCV"],
        "rounds": 3,
        "cases": {case.name: case.to_json() for case in cases},
        "strategies": {case.name: strategies_of(case) for case in cases},
        "seconds": {"2": times},
        "cannot": {"2": {"torch": {"dilation 2": "RuntimeError: pad | kernel"}}},
        "busy": {"2": {"torch": 1.9}},
        "disturbed": {"2": 0.0},
        "unsteady": {"2": {"torch": ["audio 1-D", "5x5 s2"]}},
        "memory": {"2": {"31x31 maximum, HD": 3 << 20, "31x31 average, HD": 1 << 20}},
        "import_seconds": {"numpy": 0.08, "pooling": 0.012},
    }


def test_strategies_of_cases_are_those_that_the_kernels_list() -> None:
    """Those of single calls are compared with the kernels' own answer in tests/test_strategies.py."""
    for case in (*CASES, *SIZES):
        names = strategies_of(case).split(" + ")
        kinds = {
            "forward": ("forward",),
            "indices": ("indices",),
            # The gradient of a mean whose windows move by one is a pooling of the gradients.
            "backward": ("gradient",) if case.kind == "max" else ("mean_gradient", "forward"),
        }
        wanted = [kinds["forward"], kinds["backward"]] if case.direction == "training" else [kinds[case.direction]]
        assert len(names) == len(wanted)
        for name, several in zip(names, wanted, strict=True):
            assert name in [each for kind in several for each in kernels.STRATEGIES[kind]], case.name
    by_name = {case.name: strategies_of(case) for case in CASES}
    assert by_name["31x31 maximum, HD"] == "strips"
    assert by_name["31x31 maximum, HD, backward"] == "scatter_long"
    assert by_name["Inception average 3x3, backward"] == "flat"


def test_findings_follow_from_the_numbers() -> None:
    found = {finding.target.what: finding for finding in findings(Results(canned()), 2)}
    assert list(found) == [target.what for target in TARGETS]
    rows = sum(case.direction in ("forward", "indices") for case in CASES)
    every = found["forward, against the fastest peer, every row"]
    assert (every.met, every.missed) == (True, ())
    assert every.figure.endswith(f"{rows - 1} of {rows - 1} rows meet it")
    torch = found["forward, against torch in channels_first"]
    assert (torch.met, torch.figure) == (False, f"10.00 x over {rows - 1} rows")
    # The floor takes half of our time there, and leads by so much more.
    assert torch.copy == "20.00 x"
    beyond = found["beyond the cache, by the floor"]
    assert beyond.met is False
    assert beyond.copy == ""
    assert "ResNet stem, batch 32" in beyond.missed
    assert "ResNet stem, batch 1" not in beyond.missed
    assert found["beyond the cache with out=, by the floor with out="].met is True
    assert found["windows of 31x31 by windows of 3x3"].figure.startswith("1.00 x")
    assert (found["call of a tiny tensor"].figure, found["call of a tiny tensor"].met) == ("2.00 µs", False)
    assert (found["call of a tiny tensor with out="].figure, found["call of a tiny tensor with out="].met) == (
        "1.00 µs",
        True,
    )
    assert (found["import pooling, after import numpy"].figure, found["import pooling, after import numpy"].met) == (
        "12.00 ms",
        True,
    )
    memory = found["memory beyond input and output, each thread"]
    assert (memory.met, memory.missed) == (False, ("31x31 maximum, HD",))
    assert found["windows of 31x31, against OpenCV"].met is None
    assert found["cost of a byte up to the largest array, by the smallest beyond the cache"].met is True


def test_a_row_near_the_floor_is_excused() -> None:
    document = canned()
    document["seconds"]["2"]["audio 1-D"] = {"pooling": 1.1e-6, "floor": 1e-6, "torch": 1e-6}
    document["seconds"]["2"]["5x5 s2"] = {"pooling": 1.2e-6, "floor": 1e-6, "torch": 1e-6}
    first = next(findings(Results(document), 2))
    assert first.missed == ("5x5 s2",)
    assert first.figure.startswith("0.83 x at worst (5x5 s2)")


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
    assert all(f"| {case.name} |" in page for case in (*CASES, *SIZES))
    assert b"Abacus 9" in (tmp_path / "docs" / "benchmarks.svg").read_bytes()


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
    assert lines[0].split() == ["case", "pooling", "NumPy", "by", "the", "floor", "strategy"]
    assert lines[1].startswith(TINY.name)
    assert lines[2].startswith("geometric mean")
    assert lines[-1] == "written to race.json"
    document = json.loads(Path("race.json").read_text(encoding="utf-8"))
    assert list(document["seconds"]["1"][TINY.name]) == ["pooling", "floor", "NumPy"]
    assert document.keys() == canned().keys() - {"import_seconds"}


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
