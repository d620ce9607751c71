"""Networks one after another, each in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pooling._version import __version__
from pooling.benchmark.race import load, machine

from .listing import NETWORKS, Network
from .records import Key, Record, append, key_of, read

__all__ = ["BATCHES", "LIBRARIES", "LIMIT", "THREADS", "run"]

BATCHES = (1, 8)
THREADS = (1, 2)
LIMIT = 900.0
"""Seconds that one setting of one network may take."""
LIBRARIES = ("torch", "torchvision", "timm")
MODULE = f"{__package__}.measure"
Progress = Callable[[int, int, str], None]


def run(
    path: str | os.PathLike[str],
    networks: Sequence[Network] = NETWORKS,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    *,
    seconds: float,
    rounds: int,
    progress: Progress = lambda done, total, what: None,
) -> list[Record]:
    """Measure what a file does not hold yet, and append it.

    Parameters
    ----------
    path : path
        The file; it may be there from an earlier run that was stopped.
    networks, batches, threads : sequences
        What to measure: all combinations.
    seconds, rounds
        As `pooling.benchmark.networks.measure.measure` takes them.
    progress : callable
        Is told how many combinations are done, of how many, and which is next.

    Returns
    -------
    list of dict
        The records of the combinations that were asked for.
    """
    known = {key_of(record): record for record in read(path)}
    wanted = [(each, Key(each.name, batch, count)) for each in networks for batch in batches for count in threads]
    for network in networks:
        missing = [key for each, key in wanted if each is network and key not in known]
        if not missing:
            continue
        with _Process(network) as process:
            for key in missing:
                progress(len([each for _, each in wanted if each in known]), len(wanted), _told(key))
                setting = {"batch": key.batch, "threads": key.threads, "seconds": seconds, "rounds": rounds}
                record = {**_head(key), **process.ask(setting)}
                append(path, [record])
                known[key] = record
    return [known[key] for _, key in wanted]


def _told(key: Key) -> str:
    return f"{key.network}, batch {key.batch}, {key.threads} thread{'s' * (key.threads > 1)}"


def _head(key: Key) -> Record:
    """Return what a record begins with: what it is about, when, where, beside what else, and of which versions."""
    versions = {"pooling": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {**key._asdict(), "date": date, "machine": machine(), "busy": load(), "versions": versions}


class _Process:
    """The process of a network, started again where it ended."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def ask(self, setting: dict[str, Any]) -> Record:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, self._network.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(setting), file=self._process.stdin, flush=True)
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                if not selector.select(LIMIT):
                    self.__exit__()
                    return {"cannot": f"not measured in {LIMIT:g} s"}
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process = self._process
            self.__exit__()
            return {"cannot": f"the process ended with code {process.returncode}"}
        answer: Record = json.loads(line)
        return answer
