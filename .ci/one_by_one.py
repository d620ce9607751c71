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


def state_of(package: Path, tree: Path, tests: Iterable[str], environment: Mapping[str, str], *others: object) -> str:
    """Return a digest of all by which tests may end otherwise.

    Parameters
    ----------
    package : Path
        The installed package, beside which the libraries lie that it is tested with.
    tree : Path
        The folder that has pyproject.toml and the tests.
    tests : iterable of str
        Names of files of tests, `test_norms`; those that they import from are added.
    environment : mapping
        The variables of the process.
    others : object
        What else counts.
    """
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".so", ".pyd")]
    files += [tree / "pyproject.toml", *(path for path in (tree / "tests").glob("*.py") if path.stem[:5] != "test_")]
    named = {tree / "tests" / f"{name}.py" for name in tests}
    for path in tuple(named):
        imported = re.findall(r"^from tests\.(test_\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
        named |= {path.with_name(f"{name}.py") for name in imported}
    libraries = sorted(path.name for path in package.parent.glob("*.dist-info"))
    variables = {name: environment[name] for name in sorted(environment) if re.match("POOLING|PYTEST|PYTHON", name)}
    return digest_of([*files, *named], libraries, variables, *others)


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
        Where the report and the output of each run are kept. Where there is one of the same package, libraries, tests,
        command and variables in which nothing failed, the file is not run.
    folder : Path
        Where pytest runs.
    environment : mapping
        Its variables.
    package : Path
        The installed package.
    """
    kept = kept.resolve()
    kept.mkdir(parents=True, exist_ok=True)
    bad, sums = 0, dict.fromkeys(COUNTS, 0.0)
    print("".join(f"{name:>12}" for name in COUNTS), flush=True)
    for test in tests:
        name = Path(test).stem
        name = f"{name}-{state_of(package, folder, [name], environment, command)}"
        report, begun, log = (kept / f"{name}.{ending}" for ending in ("xml", "begun", "log"))
        found = counted(report, log)
        if found is None:
            # That of a run that was stopped.
            begun.unlink(missing_ok=True)
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
                print(log.read_text(encoding="utf-8", errors="replace"), f"exit status {run.returncode}", sep="\n")
        sums = {name: sums[name] + (found[name] if found else 0) for name in COUNTS}
        row = "".join(f"{found[name]:>12.0f}" if found else f"{'?':>12}" for name in COUNTS)
        print(row, test, flush=True)
    print("".join(f"{sums[name]:>12.0f}" for name in COUNTS), f"all {len(tests)} files, {bad} did not pass", flush=True)
    return bad
