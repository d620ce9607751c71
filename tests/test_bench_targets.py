"""Targets follow from the numbers of a race."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rich")  # the extra "cli"; the race shows its tables with it

from benchmarks.targets import LAYERS_GROUP, TARGETS, Target, TargetResult, findings
from pooling.benchmark.cases import CASES
from pooling.benchmark.results import Results
from pooling.benchmark.worker import SERIAL
from tests.benchmark_cases import canned

ROWS = [case.name for case in CASES if case.direction in ("forward", "indices")]


def found(document: dict[str, Any], threads: int = 2) -> dict[str, TargetResult]:
    return {finding.target.what: finding for finding in findings(Results(document), threads)}


def document_of(rows: dict[str, dict[str, float | None]], threads: int = 2) -> dict[str, Any]:
    """Return a race in which only these cases were run."""
    document = canned()
    document["seconds"] = {str(threads): rows}
    return document


def row(ours: float, copy: float = 1.0, **others: float) -> dict[str, float | None]:
    return {"pooling": ours, "copy": copy, **others}


def test_there_is_a_target_for_every_line() -> None:
    names = [target.what for target in TARGETS]
    assert len(set(names)) == len(names) == 23
    for target in TARGETS:
        assert (target.at_least is None) != (target.at_most is None)


def test_every_target_is_measured_but_what_the_race_lacked() -> None:
    results = found(canned())
    assert list(results) == [target.what for target in TARGETS]
    unknown = {what for what, result in results.items() if result.met is None}
    assert unknown == {
        "uint8 images: halving RGB, 15x15 minimum and maximum, against OpenCV",
        "31x31 and 101x101, maximum and mean, against OpenCV",
        "several threads by one, every case",
        "threads used by default, by the processors of the container's quota",
    }
    assert all(results[what].figure == "not measured" for what in unknown)


def test_a_row_behind_its_fastest_peer_misses() -> None:
    rows: dict[str, dict[str, float | None]] = {name: row(1.0, torch=2.0) for name in ROWS[:30]}
    rows[ROWS[3]] = row(1.0, torch=3.0, OpenCV=0.99)
    every = found(document_of(rows))["forward, every case against its fastest peer"]
    assert (every.met, every.missed) == (False, (ROWS[3],))
    assert every.figure == f"0.99 x at worst ({ROWS[3]}); 29 of 30 cases meet it"
    rows[ROWS[3]] = row(1.0, torch=3.0, OpenCV=1.0)
    assert found(document_of(rows))["forward, every case against its fastest peer"].met is True


@pytest.mark.parametrize(("behind", "met"), [(1, True), (2, False)])
def test_one_row_of_twenty_may_be_less_than_a_fifth_ahead(behind: int, met: bool) -> None:
    rows: dict[str, dict[str, float | None]] = {name: row(2.0, torch=4.0) for name in ROWS[:20]}
    rows |= {name: row(2.0, torch=2.39) for name in ROWS[:behind]}
    # Near the copy a case does not count, however far behind.
    rows |= {name: row(1.15, torch=0.1) for name in ROWS[20:25]}
    ahead = found(document_of(rows))["forward, against the fastest peer"]
    assert ahead.met is met
    assert set(ahead.missed) == set(ROWS[:behind])
    assert f"{20 - behind} of 20 cases meet it" in ahead.figure
    assert ahead.bound == "at least 1.2 x in 95% of the cases that are not within 1.15 x of a copy"


@pytest.mark.parametrize(
    ("what", "name", "one", "several"),
    [("forward, by a copy", ROWS[0], 1.4, 1.1), ("layers of 100 networks, by a copy", "layer", 2.0, 1.6)],
)
def test_one_thread_may_be_further_from_the_copy(what: str, name: str, one: float, several: float) -> None:
    if name == "layer":
        cases = canned()["cases"]
        name = next(each for each, fields in cases.items() if fields["group"] == LAYERS_GROUP)
    for threads, bound in ((1, one), (2, several)):
        for ours, met in ((bound, True), (bound + 0.01, False)):
            result = found(document_of({name: row(ours)}, threads), threads)[what]
            assert result.met is met
            assert result.bound == f"geometric mean at most {bound:g} x"


def test_layers_are_held_against_their_own_targets_alone() -> None:
    document = canned()
    name = next(each for each, fields in document["cases"].items() if fields["group"] == LAYERS_GROUP)
    document["seconds"]["2"][name] = row(2.0, onnxruntime=1.9)
    results = found(document)
    layers = results["layers of 100 networks, every case against onnxruntime, openvino and torch"]
    assert layers.missed == (name,)
    assert results["forward, every case against its fastest peer"].missed == ()


def test_gradients_are_held_against_the_faster_layout_of_torch() -> None:
    name = "ResNet stem, batch 1, backward"
    rows = {name: {"pooling": 1.0, "copy": 1.0, "torch": 3.0, "torch channels_last": 0.5}}
    results = found(document_of(rows))  # type: ignore[arg-type]
    assert results["backward and training, every case against torch's faster layout"].missed == (name,)
    assert results["backward and training, against torch's faster layout"].figure == "0.50 x over 1 case"


def test_rows_are_held_against_rows() -> None:
    rows = {
        "31x31 average, HD": row(5.0),
        "3x3 average, HD": row(2.0),
        "Lp p=2, 3x3 s2": row(5.2),
        "average 3x3 s2, for Lp": row(2.0),
        "Lp p=2, 1-D": row(5.0),
        "average 1-D, for Lp": row(2.0),
        "3x3 average, in one piece": row(1.0),
        "3x3 average, transposed": row(1.3),
        "3x3 average, every second column": row(9.0),
    }
    results = found(document_of(rows))
    assert (results["31x31 by 3x3"].figure, results["31x31 by 3x3"].met) == ("2.50 x", True)
    assert results["Lp with p = 2 by the mean"].missed == ("Lp p=2, 3x3 s2",)
    views = results["views, by the same call of an array in one piece"]
    assert views.missed == ("3x3 average, every second column",)
    assert "1 of 2 cases" in views.figure


def test_every_row_that_others_are_compared_with_is_there() -> None:
    document = document_of({case.name: row(1.0) for case in CASES})
    results = found(document)
    wanted = {
        "31x31 by 3x3": 8,
        "Lp with p = 2 by the mean": 4,
        "views, by the same call of an array in one piece": 8,
    }
    for what, rows in wanted.items():
        assert results[what].figure.endswith(f"{rows} of {rows} cases meet it"), what


def test_several_threads_are_no_slower_than_one() -> None:
    rows = {ROWS[0]: {"pooling": 1.03, SERIAL: 1.0}, ROWS[1]: {"pooling": 1.04, SERIAL: 1.0}}
    assert found(document_of(rows))["several threads by one, every case"].missed == (ROWS[1],)  # type: ignore[arg-type]


def test_what_fresh_processes_measured_is_held_against_its_bounds() -> None:
    document = canned()
    document["quota"] = {"processors": 1.0, "threads": 2}
    results = found(document)
    memory = results["memory beyond input and output, by the documented bound"]
    assert (memory.met, memory.missed) == (False, ("31x31 maximum, HD",))
    small = results["first call of a signature beyond a warm one, small maps"]
    assert (small.met, small.missed, small.figure[:8]) == (False, ("blur, small",), "60.00 µs")
    assert results["first call of a signature by a warm one, large maps"].met is True
    assert results["tiny call, in a process alone"].met is False
    assert results["tiny gradient, in a process alone"].met is True
    assert results["tiny call with indices, in a process alone"].met is True
    assert (results["first result after `import numpy`"].figure, results["first result after `import numpy`"].met) == (
        "24.00 ms",
        True,
    )
    assert results["threads used by default, by the processors of the container's quota"].met is False


def test_a_copy_of_the_bytes_has_a_figure_where_it_says_something() -> None:
    rows = {ROWS[0]: row(2.0, torch=3.0), ROWS[1]: row(2.0, torch=0.5)}
    results = found(document_of(rows))
    assert results["forward, every case against its fastest peer"].copy == "1 of 2 cases"
    assert results["forward, by a copy"].copy == ""


def test_a_target_without_rows_that_count_is_met() -> None:
    rows = {ROWS[0]: row(1.0, torch=1.1)}
    result = found(document_of(rows))["forward, against the fastest peer"]
    assert (result.met, result.figure) == (True, "no case counts")


def test_bounds_in_words() -> None:
    assert Target("", lambda results, threads: {}, "µs", at_most=1.2).bound(1) == "at most 1.2 µs"
    two = Target("", lambda results, threads: {}, at_least=(3, 2), mean=True)
    assert [two.bound(threads) for threads in (1, 2, 8)] == [
        "geometric mean at least 3 x",
        "geometric mean at least 2 x",
        "geometric mean at least 2 x",
    ]
