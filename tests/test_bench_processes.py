"""Races of processes: what is written about them. Nothing here is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import blocks, filters, processes
from benchmarks.processes import Race, Target

ROOT = Path(__file__).parents[1]
TIMES = {
    ("mode 2x2", 1): {"ours": 2.0, "theirs": 3.0, "copy": 1.0},
    ("mode 2x2", 2): {"ours": 1.0, "copy": 0.8},
    ("mode 2x2x2", 1): {"ours": 1.0, "theirs": 4.0},
}
RACE = Race(
    "benchmarks.blocks",
    ("ours", "theirs", "absent", "copy"),
    ("mode 2x2", "mode 2x2x2"),
    lambda *_: None,
    0.1,
    Path("page.md"),
    (Target("mode", "theirs", 2.0, threads=(1,)), Target("mode 2x2", "copy", 1 / 1.5), Target("mean", "theirs", 9.0)),
)


def test_a_table_has_a_column_for_each_library_that_was_there() -> None:
    lines = processes.table(RACE.libraries, TIMES)
    assert lines[0] == "| Case | Threads | ours | theirs | copy |"
    assert lines[3] == "| mode 2x2 | 2 | 1.00 |  | 0.80 |"


def test_targets_are_said_to_be_reached_or_not() -> None:
    assert processes.verdicts(RACE, TIMES) == [
        "- mode: theirs takes at least 2 times as long: reached in 1 of 2 (1.50); not in mode 2x2, threads 1 (1.50).",
        "- mode 2x2: ours takes at most 1.5 times as long as copy: reached in 1 of 2 (2.00); not in mode 2x2, threads "
        "1 (2.00).",
    ]


def test_a_page_is_renewed_between_its_comments_and_says_when_the_machine_was_busy(tmp_path: Path) -> None:
    where = {"processor": "AMD", "cores": 2, "system": "Linux", "kernels": "v3"}
    text = processes.section(RACE, TIMES, where, 0.0, 3)
    assert "busy" not in text
    assert "**Other processes kept 0.9 processors busy" in processes.section(RACE, TIMES, where, 0.9, 3)
    page = tmp_path / "page.md"
    page.write_text(f"above\n{processes.BEGIN}\nold\n{processes.END}\nbelow\n")
    processes.renew(page, text)
    assert page.read_text() == f"above\n{processes.BEGIN}\n{text}\n{processes.END}\nbelow\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="must hold one line"):
        processes.renew(page, text)


@pytest.mark.parametrize("race", [blocks.RACE, filters.RACE], ids=lambda race: race.module)
def test_pages_have_a_place_for_each_race_and_targets_name_what_is_raced(race: Race) -> None:
    text = race.page.read_text(encoding="utf-8")
    assert text.count(f"{processes.BEGIN}\n") == text.count(f"{processes.END}\n") == 1
    assert f"python -m {race.module}" in text
    for target in race.targets:
        assert target.peer in race.libraries
        assert any(case.startswith(target.cases) for case in race.cases)


def test_a_page_is_not_written_from_some_of_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["blocks", "mode", "--page"])
    with pytest.raises(SystemExit):
        processes.main(blocks.RACE)
    monkeypatch.setattr(sys, "argv", ["blocks", "nothing"])
    with pytest.raises(SystemExit):
        processes.main(blocks.RACE)
