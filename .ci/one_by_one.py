"""Run files of tests a process each, keep what each said, and leave out those that have passed when asked again."""

from __future__ import annotations

import hashlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path

COUNTS = ("passed", "failed", "skipped", "in threads", "seconds")
"""What is told of each file; "in threads" are the tests, also skipped ones, that pytest-run-parallel gives threads."""


def digest_of(files: Iterable[Path], *others: object) -> str:
    """Return a digest of the names and bytes of files, and of what `others` look like."""
    digest = hashlib.sha256(repr(others).encode())
    for path in sorted(files):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def counted(report: Path, log: Path) -> dict[str, float] | None:
    """Return what the report of a run counts, or None where the run did not come to its end."""
    if not report.exists():
        return None
    suite = next(ElementTree.parse(report).iter("testsuite"))
    total, failures, errors, skipped = (int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped"))
    said = log.read_text(encoding="utf-8", errors="replace")
    parallel = re.search(r"^Collected (\d+) items to run in parallel$", said, re.MULTILINE)
    failed = failures + errors
    numbers = (total - failed - skipped, failed, skipped, int(parallel[1]) if parallel else 0, suite.attrib["time"])
    return {name: float(number) for name, number in zip(COUNTS, numbers, strict=True)}


def one_by_one(
    command: list[str], tests: list[str], kept: Path, *, folder: Path, environment: Mapping[str, str], package: Path
) -> int:
    """Run files of tests one after another, and print a row for each; return how many did not pass.

    Parameters
    ----------
    command : list of str
        Runs pytest, with all of its arguments but the tests.
    tests : list of str
        The files, as they are named from `folder`.
    kept : Path
        Where the report and the output of each run are kept. Where there is one of the same package, tests and command
        in which nothing failed, the file is not run.
    folder : Path
        Where pytest runs.
    environment : mapping
        Its variables.
    package : Path
        The installed package.
    """
    kept = kept.resolve()
    kept.mkdir(parents=True, exist_ok=True)
    shared = [path for path in package.rglob("*") if path.suffix in (".py", ".so", ".pyd")]
    shared += [path for path in (folder / "tests").glob("*.py") if not path.name.startswith("test_")]
    state = digest_of(shared, command)
    bad, sums = 0, dict.fromkeys(COUNTS, 0.0)
    print("".join(f"{name:>12}" for name in COUNTS), flush=True)
    for test in tests:
        name = f"{Path(test).stem}-{digest_of([folder / test], state)}"
        report, begun, log = (kept / f"{name}.{ending}" for ending in ("xml", "begun", "log"))
        found = counted(report, log)
        if found is None:
            with log.open("w", encoding="utf-8") as output:
                run = subprocess.run(
                    [*command, f"--junitxml={begun}", test],
                    cwd=folder,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            found = counted(begun, log)
            # Ctrl-C stops both processes, and pytest then reports what it had run until then.
            if not run.returncode and found:
                begun.replace(report)
            else:
                bad += 1
                begun.unlink(missing_ok=True)
                print(log.read_text(encoding="utf-8", errors="replace"), f"exit status {run.returncode}", sep="\n")
        sums = {name: sums[name] + (found[name] if found else 0) for name in COUNTS}
        row = "".join(f"{found[name]:>12.0f}" if found else f"{'?':>12}" for name in COUNTS)
        print(row, test, flush=True)
    print("".join(f"{sums[name]:>12.0f}" for name in COUNTS), f"all {len(tests)} files, {bad} did not pass", flush=True)
    return bad
