"""Ask the tests about every mutant that cosmic-ray makes of a module that lays windows out.

    python tests/mutation/run.py MODULE [--sample N] [--seed N] [--jobs N] [--json FILE [--survivors]]

It needs cosmic-ray (``pip install cosmic-ray``), whose operators make the mutants; modules.toml beside this file says
which modules there are, and which tests are asked about them. Nothing is written into the checkout: a process that
has imported the large libraries forks for each mutant, and the fork imports the mutant in place of the module. So a
mutant takes a second, and not the half minute of an interpreter that imports everything anew. A mutant is killed by a
test that fails or by taking a minute of the processor; one that does not compile is not counted.

Mutants that no test can notice are listed in equivalent.toml with the reason. The exit code is 1 where others survive,
and where a listed one is killed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import select
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LARGE = ("pytest", "hypothesis.extra.numpy", "numpy", "ml_dtypes", "onnx", "onnxruntime", "torch")
"""What is imported before the first fork, where it is installed; nothing of this package."""
SLEEPING = 900
"""Seconds after which a process that uses no processor is ended."""
MEMORY = 8 * 2**30
"""Bytes that a mutant may take."""


class Mutant(NamedTuple):
    """One mutant: the operator of cosmic-ray, at which of its places it is applied, and the function that is in."""

    operator: str
    occurrence: int
    function: str


class Answer(NamedTuple):
    """What became of a mutant: ``killed``, ``timeout``, ``survived`` or ``invalid``; its lines, and who killed it."""

    verdict: str
    before: str
    after: str
    by: str
    seconds: float


# ----------------------------------------------------------------------------------------------------------
# Mutants


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where annotations begin and end; ``from __future__ import annotations`` leaves them unevaluated."""
    assert "from __future__ import annotations" in source
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            found.append(node.returns)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in found
        if node is not None
    ]


@cache
def definitions(source: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """List functions and classes, each behind those that hold it."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def function_at(source: str, line: int) -> str:
    """Name the innermost function or class that holds a line, after those that hold it."""
    names = []
    for node in definitions(source):
        begin = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        if begin <= line <= (node.end_lineno or 0):
            names.append(node.name)
    return ".".join(names)


def mutants(source: str) -> Iterator[Mutant]:
    """List the mutants of a module, as ``cosmic-ray init`` does, without those of annotations."""
    plugins, trees = (importlib.import_module(f"cosmic_ray.{name}") for name in ("plugins", "ast"))
    spans = annotations(source)
    nodes = list(trees.ast_nodes(trees.get_ast(source)))
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if operator.arguments():
            continue
        places = (place for node in nodes for place in operator().mutation_positions(node))
        for occurrence, (begin, _) in enumerate(places):
            if not any(first <= begin < last for first, last in spans):
                yield Mutant(name, occurrence, function_at(source, begin[0]))


def mutated(source: str, mutant: Mutant) -> str:
    """Return the module with one mutation."""
    plugins, mutating = (importlib.import_module(f"cosmic_ray.{name}") for name in ("plugins", "mutating"))
    text = mutating.mutate_code(source, plugins.get_operator(mutant.operator)(), mutant.occurrence)
    assert isinstance(text, str)
    return text


def changed(source: str, text: str) -> tuple[str, str]:
    """Return the lines that a mutation changes, before and after."""
    lines = list(difflib.unified_diff(source.splitlines(), text.splitlines(), lineterm="", n=0))[2:]
    before, after = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return before, after


# ----------------------------------------------------------------------------------------------------------
# Tests


class Replaced:
    """A finder that gives one module another text."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        finder, code = self, compile(self.text, self.path, "exec")

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> Any:
                assert fullname == finder.name
                return code

        return importlib.util.spec_from_file_location(name, self.path, loader=Loader(name, str(self.path)))


class FirstFailure:
    """A plugin of pytest that keeps the test that failed first."""

    name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid.rpartition("/")[2]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = f"the import of {report.nodeid.rpartition('/')[2] or 'conftest.py'}"


def tested(row: dict[str, Any], source: str, mutant: Mutant | None) -> dict[str, str]:
    """Run the tests in this process, which a fork has made for it; return what to tell."""
    text = mutated(source, mutant) if mutant else source
    before, after = changed(source, text)
    told = {"before": before, "after": after, "by": ""}
    try:
        sys.meta_path.insert(0, Replaced(row["module"], ROOT / row["path"], text))  # type: ignore[arg-type]
        compile(text, row["path"], "exec")
    except SyntaxError:
        return told | {"verdict": "invalid"}
    import hypothesis
    import pytest

    # A test that fails has nothing to explain here, so that no smaller example is looked for.
    hypothesis.settings.register_profile(
        "unexplained",
        derandomize=True,
        deadline=None,
        max_examples=40,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
    )
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # looking for plugins takes longer than most tests
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-profile=unexplained"]
    failure, code = FirstFailure(), 0
    for name in row["tests"]:
        code = code or int(pytest.main([*options, str(ROOT / "tests" / name)], plugins=[failure]))
    assert importlib.import_module("pooling").__file__ == str(ROOT / "pooling" / "__init__.py") or code
    if not mutant:
        told["by"] = " ".join(name for name in sys.modules if not name.startswith(("pooling", "tests", "_ndpooling")))
        return told | {"verdict": "killed" if code else "survived"}
    return told | {"verdict": "killed" if code else "survived", "by": failure.name or f"exit code {code}"}


def forked(row: dict[str, Any], source: str, mutant: Mutant | None, limit: int) -> tuple[int, int]:
    """Start a process that asks the tests about a mutant; return its number, and where it will tell."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.setsid()
        os.chdir(ROOT)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        # Seconds of the processor: those of a clock say nothing on a busy machine.
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        os.dup2(os.open(os.devnull, os.O_WRONLY) if mutant else 2, 1)
        os.dup2(1, 2)
        told = tested(row, source, mutant)
    except BaseException as error:
        told = {"verdict": "killed", "by": f"{type(error).__name__} on import", "before": "", "after": ""}
    os.write(writing, json.dumps(told).encode())
    os._exit(0)


def asked(row: dict[str, Any], source: str, chosen: list[Mutant | None], jobs: int, limit: int) -> Iterator[Any]:
    """Ask about mutants, a few at a time; yield each with the answer."""
    waiting, running = list(reversed(chosen)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            child, reading = forked(row, source, mutant, limit)
            running[reading] = mutant, child, time.monotonic()
        ready, _, _ = select.select(list(running), [], [], 0.5)
        for reading in list(running):
            mutant, child, begin = running[reading]
            seconds = time.monotonic() - begin
            if reading not in ready and seconds < SLEEPING:
                continue
            text = b"".join(iter(partial(os.read, reading, 2**16), b"")) if reading in ready else b""
            os.close(reading)
            os.killpg(child, signal.SIGKILL if text or reading not in ready else 0)
            _, status = os.waitpid(child, 0)
            del running[reading]
            if text:
                yield mutant, Answer(**json.loads(text), seconds=seconds)
                continue
            # A process that died, or never ends.
            before, after = changed(source, mutated(source, mutant) if mutant else source)
            slow = reading not in ready or os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
            verdict, by = ("timeout", "") if slow else ("killed", "the process died")
            yield mutant, Answer(verdict, before, after, by, seconds)


def sampled(every: list[Mutant], seed: int, number: int | None) -> list[Mutant]:
    """Draw some mutants, or all of them in random order; a smaller sample is the beginning of a larger one."""
    return random.Random(seed).sample(every, len(every))[:number]


def main() -> int:
    """Ask about a module; return the exit code."""
    modules = tomllib.loads((HERE / "modules.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", choices=sorted(modules))
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the mutants, drawn at random")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the generator that draws the sample (default: 0)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--json", type=Path, help="a file for the answers, from which a run goes on that was ended")
    parser.add_argument("--survivors", action="store_true", help="ask again about those that survived by that file")
    options = parser.parse_args()
    row = modules[options.module]
    source = (ROOT / row["path"]).read_text(encoding="utf-8")
    every = list(mutants(source))
    chosen = sampled(every, options.seed, options.sample)
    answers: dict[Mutant, Answer] = {}
    if options.json and options.json.exists():
        for entry in json.loads(options.json.read_text(encoding="utf-8")):
            mutant = Mutant(*entry.pop("mutant"))
            answers[mutant] = Answer(**entry)
    if options.survivors:
        chosen = [mutant for mutant in chosen if mutant in answers and answers[mutant].verdict == "survived"]
        answers = {mutant: answer for mutant, answer in answers.items() if mutant not in chosen}
    sys.path.insert(0, str(ROOT))
    for name in LARGE:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    ((_, alone),) = asked(row, source, [None], 1, 600)
    print(f"{row['path']} itself: {alone.verdict} ({alone.seconds:.1f} s)", flush=True)
    if alone.verdict != "survived":
        return 2
    for name in alone.by.split():
        with suppress(Exception):
            importlib.import_module(name)
    missing: list[Mutant | None] = [mutant for mutant in chosen if mutant not in answers]
    for each, answer in asked(row, source, missing, options.jobs, 60):
        answers[each] = answer
        if options.json:
            entries = [{"mutant": mutant, **given._asdict()} for mutant, given in answers.items()]
            options.json.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return reported(options.module, {mutant: answers[mutant] for mutant in answers if mutant in every}, len(every))


def reported(module: str, answers: dict[Mutant, Answer], every: int) -> int:
    """Say what became of the mutants of a module; return the exit code."""
    known = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8")).get(module, [])
    listed = {(entry["function"], entry["before"], after) for entry in known for after in entry["after"]}
    counts = Counter[str]()
    for mutant, answer in answers.items():
        verdict = answer.verdict
        if (mutant.function, answer.before, answer.after) in listed:
            verdict = {"survived": "equivalent", "killed": "listed as equivalent, but killed"}.get(verdict, verdict)
        counts[verdict] += 1
        if verdict not in ("killed", "timeout", "invalid", "equivalent"):
            print(f"{verdict}: {mutant.function}\n  - {answer.before}\n  + {answer.after}")
    wrong = counts["listed as equivalent, but killed"]
    dead = counts["killed"] + counts["timeout"] + wrong
    total = dead + counts["survived"]
    print(
        f"{module}: {len(answers)} of {every} mutants, {counts['invalid']} of them no Python, {counts['equivalent']} "
        f"equivalent; of the other {total}, {dead} killed ({counts['timeout']} by time), {counts['survived']} survived "
        f"({100 * dead / max(total, 1):.1f} %)"
    )
    return 1 if counts["survived"] or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
