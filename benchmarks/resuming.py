"""A race that may be stopped at any time and goes on where it was, from the file that it writes its results to."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pooling.benchmark.cases import BenchmarkCase
from pooling.benchmark.race import load, new_document, started, take_turns
from pooling.cli.shared import progress_bar
from pooling.dispatch import kernels
from pooling.files import write_whole

__all__ = ["Other", "carry_on", "opened", "save", "turns_left"]

TOGETHER = 20
"""Cases that are raced, round by round, before the results are written down."""
SECONDS_A_TURN = 0.08
"""What a turn takes with preparation and rest, before this file has seen one."""


class Other(Exception):
    """The file holds results of another build, machine or set of libraries."""


def _build() -> str:
    """Return a hash of the compiled modules, so that results of two builds never meet in a file."""
    folder = Path(kernels.__file__).parent
    files = sorted(path for path in folder.iterdir() if path.suffix in (".so", ".pyd"))
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]


def opened(path: Path | None, cases: Sequence[BenchmarkCase], libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return the document of a race: that in the file, with more cases if need be, or a new one.

    Raises
    ------
    Other
        If the file's results and new ones must not stand side by side.
    """
    document = new_document(cases, libraries, rounds) | {"build": _build(), "seconds_a_turn": SECONDS_A_TURN}
    if path is None or not path.exists():
        return document
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("build", "machine", "versions", "rounds"):
        if kept.get(name) != document[name]:
            raise Other(f"its {name} is {kept.get(name)!r}, and that of this race {document[name]!r}")
    for name, fields in document["cases"].items():
        known = kept["cases"].get(name)
        if known is not None and BenchmarkCase.from_json(known) != BenchmarkCase.from_json(fields):
            raise Other(f"its case {name!r} is another")
    for name in ("cases", "strategies"):
        kept[name] = {**kept[name], **document[name]}
    return kept


def save(document: dict[str, Any], path: Path | None) -> None:
    """Write the document, whole or not at all."""
    if path is not None:
        write_whole(path, json.dumps(document, indent=1) + "\n")


def _missing(document: dict[str, Any], cases: Sequence[BenchmarkCase], threads: int) -> list[BenchmarkCase]:
    raced = document["seconds"].get(str(threads), {})
    return [case for case in cases if case.name not in raced]


def turns_left(
    document: dict[str, Any], cases: Sequence[BenchmarkCase], libraries: Sequence[str], threads: int, rounds: int
) -> int:
    """Return how many turns have not been taken."""
    return len(_missing(document, cases, threads)) * len(libraries) * rounds


def _together(cases: Sequence[BenchmarkCase]) -> Iterator[Sequence[BenchmarkCase]]:
    for first in range(0, len(cases), TOGETHER):
        yield cases[first : first + TOGETHER]


def carry_on(
    document: dict[str, Any],
    cases: Sequence[BenchmarkCase],
    libraries: Sequence[str],
    threads: int,
    rounds: int,
    keep: Callable[[], None],
) -> None:
    """Race the cases that have no result with so many threads; `keep` is called whenever there are new ones."""
    missing = _missing(document, cases, threads)
    if not missing:
        return
    # Before the libraries start, which keeps processors busy for a while.
    _merge(document, threads, {"disturbed": load()})
    with progress_bar() as progress, started(libraries, threads) as workers:
        done, total = 0, len(missing) * len(libraries) * rounds
        for several in _together(missing):
            begin = time.perf_counter()
            before = done

            def tell(part: int, _: int, what: str, *, before: int = before) -> None:
                progress(before + part, total, what)

            found = take_turns(workers, several, rounds, tell, f"{threads} threads, ")
            done += len(several) * len(libraries) * rounds
            document["seconds_a_turn"] = (time.perf_counter() - begin) / (done - before)
            _merge(document, threads, found)
            keep()
            if not sys.stderr.isatty():  # a bar is shown on a terminal only
                left = (total - done) * document["seconds_a_turn"] / 60
                print(f"{threads} threads: {done} of {total} turns, {left:.0f} minutes left", file=sys.stderr)


def _merge(document: dict[str, Any], threads: int, found: dict[str, Any]) -> None:
    """Add what some cases gave to what others did."""
    key = str(threads)
    document["disturbed"][key] = max(document["disturbed"].get(key, 0.0), found["disturbed"])
    document["seconds"].setdefault(key, {}).update(found.get("seconds", {}))
    for library, why in found.get("cannot", {}).items():
        document["cannot"].setdefault(key, {}).setdefault(library, {}).update(why)
    for library, most in found.get("busy", {}).items():
        busy = document["busy"].setdefault(key, {})
        busy[library] = max(busy.get(library, 0.0), most)
    for library, names in found.get("unsteady", {}).items():
        document["unsteady"].setdefault(key, {}).setdefault(library, []).extend(names)
    for name in ("cannot", "busy", "unsteady"):
        document[name].setdefault(key, {})
