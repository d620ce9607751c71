"""Processes of runtimes: what they leave behind, and whom they talk to."""

from __future__ import annotations

import importlib.util
import os
import selectors
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pooling.validation.runners.processes import Limits, RuntimeProcess, quiet_environment

HOME = """
import os, pathlib, sys
from pooling.validation.runners.base import Unsupported, Runtime as Base
class Runtime(Base):
    name = 'home'
    def version(self): return '1'
    def run(self, model, inputs):
        pathlib.Path.home().joinpath('trace').write_text('here')
        raise Unsupported(f"{pathlib.Path.home()} {os.getpgrp() == os.getsid(0) == os.getpid()} {os.environ['CI']}")
"""
IMPORT = """
import sys
from pooling.validation.runners import runtime_of
hooked = ("os.fork", "os.posix_spawn", "socket.getaddrinfo", "socket.connect")
sys.addaudithook(lambda event, args: event in hooked and print(event, args[:2], flush=True))
runtime_of("openvino").load(1)
import openvino, time
time.sleep(1)
print("openvino_telemetry" in sys.modules, openvino.Core is not None)
"""


def test_a_runtime_has_a_session_and_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "athome.py").write_text(HOME)
    monkeypatch.syspath_prepend(str(tmp_path))
    with RuntimeProcess("athome:Runtime") as process:
        home, leads, ci = process.ask(b"", {}).unsupported.split()  # type: ignore[union-attr]
        assert (leads, ci) == ("True", "true")
        assert Path(home) != Path.home()
        assert (Path(home) / "trace").read_text() == "here"
    assert not Path(home).exists()


def test_everything_that_names_a_home_names_the_other_one(tmp_path: Path) -> None:
    before = dict(os.environ)
    environment = quiet_environment(tmp_path)
    assert dict(os.environ) == before
    named = {name for name, value in environment.items() if str(tmp_path) in value}
    assert named >= {"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")
def test_importing_openvino_forks_nothing_writes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    unknown = ("CI", "TF_BUILD", "JENKINS_URL")  # by which its telemetry knows a CI job
    environment = {**{k: v for k, v in os.environ.items() if k not in unknown}, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, check=True, encoding="utf-8"
    )
    assert done.stdout == "False True\n"
    assert list(tmp_path.rglob("*")) == []


def test_who_waits_for_an_answer_notices_that_the_process_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is closed under a thread that waits on it may tell it nothing."""

    class Silent(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            time.sleep(0.01)
            return []

    monkeypatch.setattr(selectors, "DefaultSelector", Silent)
    with RuntimeProcess("pooling", Limits(seconds=600)) as process, ThreadPoolExecutor(1) as pool:
        process.launch()
        waiting = pool.submit(process._wait, 20.0)
        process.close()
        answer = waiting.result()
        assert answer is not None
        assert answer.crash == "was stopped"


def test_who_begins_to_wait_when_the_process_is_being_closed_notices() -> None:
    with RuntimeProcess("pooling") as process:
        process.launch()
        started = process._process
        assert started is not None
        assert started.stdout is not None
        started.stdout.close()  # as closing does, before it forgets the process
        answer = process._wait(20.0)
    assert answer is not None
    assert answer.crash == "was stopped"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32:replace", "cp037"])
def test_the_encoding_of_the_terminal_is_not_that_of_the_processes(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    with RuntimeProcess("pooling") as process:
        assert process.ask(b"", {}).unsupported == "the model has 0 nodes; it is asked for one at a time here"
