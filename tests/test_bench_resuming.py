"""A race that was stopped goes on where it was, and never with results of something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rich")  # the extra "cli"; the race shows its tables with it

from benchmarks import __main__ as command
from benchmarks import resuming
from pooling.benchmark.cases import CASES, BenchmarkCase

CHOSEN = CASES[:45]
LIBRARIES = ("pooling", "NumPy")


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the cases that were raced, by a race that runs nothing."""
    names: list[str] = []

    @contextmanager
    def started(libraries: Sequence[str], threads: int) -> Iterator[dict[str, Any]]:
        yield dict.fromkeys(libraries)

    def take_turns(
        workers: Mapping[str, Any], cases: Sequence[BenchmarkCase], rounds: int, progress: Any, what: str
    ) -> dict[str, Any]:
        if "stop" in names:
            raise KeyboardInterrupt
        names.extend(case.name for case in cases)
        return {
            "seconds": {case.name: {"pooling": 1e-3, "NumPy": 2e-3} for case in cases},
            "cannot": {"NumPy": {cases[0].name: "no"}},
            "busy": {"pooling": 1.0 + len(names) / 100},
            "disturbed": 0.0,
            "unsteady": {"NumPy": [cases[0].name]},
        }

    monkeypatch.setattr(resuming, "started", started)
    monkeypatch.setattr(resuming, "take_turns", take_turns)
    monkeypatch.setattr(resuming, "load", lambda: 0.01)
    return names


def carry_on(document: dict[str, Any], path: Path, cases: Sequence[BenchmarkCase] = CHOSEN) -> None:
    resuming.carry_on(document, cases, LIBRARIES, 2, 3, lambda: resuming.save(document, path))


def test_cases_are_written_down_some_at_a_time_and_not_raced_again(tmp_path: Path, raced: list[str]) -> None:
    path = tmp_path / "race.json"
    document = resuming.opened(path, CHOSEN, LIBRARIES, 3)
    assert resuming.turns_left(document, CHOSEN, LIBRARIES, 2, 3) == 45 * 2 * 3
    carry_on(document, path, CHOSEN[:30])
    assert raced == [case.name for case in CHOSEN[:30]]
    again = resuming.opened(path, CHOSEN, LIBRARIES, 3)
    assert resuming.turns_left(again, CHOSEN, LIBRARIES, 2, 3) == 15 * 2 * 3
    assert resuming.turns_left(again, CHOSEN, LIBRARIES, 1, 3) == 45 * 2 * 3
    carry_on(again, path)
    assert raced == [case.name for case in CHOSEN]
    final = json.loads(path.read_text(encoding="utf-8"))
    assert list(final["seconds"]["2"]) == raced
    assert list(final["cases"]) == raced
    # What each part found is put together.
    assert final["busy"] == {"2": {"pooling": 1.45}}
    assert final["cannot"]["2"]["NumPy"].keys() == {raced[0], raced[20], raced[30]}
    assert final["unsteady"]["2"]["NumPy"] == [raced[0], raced[20], raced[30]]
    assert final["disturbed"] == {"2": 0.01}


def test_what_was_written_before_an_interrupt_stays(tmp_path: Path, raced: list[str]) -> None:
    path = tmp_path / "race.json"
    document = resuming.opened(path, CHOSEN, LIBRARIES, 3)
    keep = lambda: (resuming.save(document, path), raced.append("stop"))  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        resuming.carry_on(document, CHOSEN, LIBRARIES, 2, 3, keep)
    assert len(json.loads(path.read_text(encoding="utf-8"))["seconds"]["2"]) == resuming.TOGETHER


@pytest.mark.parametrize(
    ("field", "value"), [("build", "another"), ("rounds", 9), ("versions", {"numpy": "1.0"}), ("machine", {})]
)
def test_results_of_something_else_are_refused(tmp_path: Path, raced: list[str], field: str, value: Any) -> None:
    path = tmp_path / "race.json"
    document = resuming.opened(path, CHOSEN, LIBRARIES, 3)
    resuming.save(document | {field: value}, path)
    with pytest.raises(resuming.Other, match=f"its {field} is "):
        resuming.opened(path, CHOSEN, LIBRARIES, 3)
    path.unlink()
    assert resuming.opened(path, CHOSEN, LIBRARIES, 3)["seconds"] == {}


def test_a_case_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    document = resuming.opened(path, CHOSEN, LIBRARIES, 3)
    document["cases"][CHOSEN[0].name]["stride"] = 5
    resuming.save(document, path)
    with pytest.raises(resuming.Other, match="its case 'ResNet stem, batch 1' is another"):
        resuming.opened(path, CHOSEN, LIBRARIES, 3)


def test_the_command_says_how_long_it_takes_and_refuses_another_build(
    tmp_path: Path, raced: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "race.json"
    chosen = ["--only", "VGG block 1, batch 1, ", "--threads", "1", "--rounds", "2", "--json", str(path)]
    chosen += ["--library", "pooling", "--library", "NumPy"]
    assert command.main(chosen) == 0
    count = len(raced)
    assert capsys.readouterr().out.startswith(f"{count * 2 * 2} turns and measurements in fresh processes: about 0 min")
    assert command.main(chosen) == 0
    assert len(raced) == count
    assert capsys.readouterr().out.startswith("0 turns")
    assert command.main([*chosen, "--fresh"]) == 0
    assert len(raced) == 2 * count
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | {"build": "another"}), encoding="utf-8")
    with pytest.raises(SystemExit):
        command.main(chosen)
    assert "--fresh starts anew" in capsys.readouterr().err
