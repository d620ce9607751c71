"""A plugin of pytest that writes down which tests passed, and leaves those out the next time.

Usage: python -m pytest -p journal --journal=FILE, with this folder on the path. FILE has a record of JSON in each line:
which test began, how it ended behind how many seconds, and with which exit status pytest finished. A test that failed
runs again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest


class Journal:
    """Writes the records of one session behind those of earlier ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = self.skipped = False
        self.begin = 0.0
        self.done: set[str] = set()
        text = path.read_text() if path.exists() else ""
        if text and not text.endswith("\n"):
            self.path.write_text(text + "\n")
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                # The last line of a session that was stopped.
                continue
            if "test" in record:
                (self.done.discard if record["outcome"] == "failed" else self.done.add)(record["test"])

    def write(self, **record: Any) -> None:
        """Add one record."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what has passed before."""
        left_out = [item for item in items if item.nodeid in self.done]
        items[:] = [item for item in items if item.nodeid not in self.done]
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Write that a test begins: where a session dies, it is the last."""
        self.failed = self.skipped = False
        self.begin = time.monotonic()
        self.write(began=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write how a test ended, behind its last phase."""
        self.failed |= report.failed
        self.skipped |= report.skipped
        if report.when == "teardown":
            outcome = "failed" if self.failed else "skipped" if self.skipped else "passed"
            self.write(test=report.nodeid, outcome=outcome, seconds=round(time.monotonic() - self.begin, 2))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write that nothing ended the session before."""
        self.write(finished=int(exitstatus))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option."""
    parser.addoption("--journal", type=Path, help="write down which tests passed, and leave those out")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the journal that is asked for."""
    if path := config.getoption("--journal"):
        config.pluginmanager.register(Journal(path), "journal-of-tests")
