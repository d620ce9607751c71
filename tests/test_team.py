"""The thread team of pyx/c/team.h: every order of its steps in a model, and the real one under stress."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# --- the model --------------------------------------------------------------------------------------------------------
#
# A state is what is shared and where everybody is; every step that another thread can see is a step of the model.
# Callers run programs of jobs ("job", slots) and requests ("keep", workers). Two designs of the word of state are told
# apart: "counted" is that of team.h; "compared" is one that we had, whose workers compared the number inside with the
# slots of a job, read one after the other.


class Worker(NamedTuple):
    at: str
    seen: int = 0
    word: tuple[int, ...] = ()
    slot: int = 0
    asleep: bool = False
    event: bool = False
    leaves: bool = False


class Caller(NamedTuple):
    at: str = "begin"
    done: int = 0
    i: int = 0
    keeps: int = 0
    holds: bool = False


class State(NamedTuple):
    turn: int
    free: int
    inside: int
    awaited: bool
    slots: int  # of the memory that the open job has; 0 when it is freed
    taken: bool
    wanted: int
    all_left: bool
    hired: int
    workers: tuple[Worker, ...]
    callers: tuple[Caller, ...]


CLOSED = -1


class Model:
    def __init__(self, design: str, programs: list[list[tuple[str, int]]], workers: int) -> None:
        self.counted = design == "counted"
        self.programs = programs
        self.most = workers
        self.faults: set[str] = set()

    def word(self, state: State) -> tuple[int, ...]:
        """Return what a worker compares and swaps."""
        if self.counted:
            return state.turn, state.free, state.inside, state.awaited
        return int(state.free == CLOSED), state.inside, state.awaited

    def steps_of_worker(self, state: State, i: int) -> Iterator[State]:
        worker = state.workers[i]

        def to(at: str, before: State = state, **changes: Any) -> State:
            workers = list(before.workers)
            workers[i] = before.workers[i]._replace(at=at, **changes)
            return before._replace(workers=tuple(workers))

        if worker.at == "look":
            called = state.turn != worker.seen
            yield to("called", seen=state.turn) if called else to("mark")
        elif worker.at == "mark":
            yield to("look again", asleep=True)
        elif worker.at == "look again":
            yield to("sleep") if state.turn == worker.seen else to("unmark")
        elif worker.at == "unmark":
            yield to("look", asleep=False) if worker.asleep else to("sleep")
        elif worker.at == "sleep":
            if worker.event:
                yield to("look", event=False)
        elif worker.at == "called":
            yield to("ended") if worker.leaves else to("enter")
        elif worker.at == "enter":
            word = self.word(state)
            if self.counted:
                yield to("swap", word=word) if state.free > 0 else to("look", word=())
            else:
                yield to("look", word=()) if word[0] else to("compare", word=word)
        elif worker.at == "compare":
            yield to("swap") if worker.word[1] < state.slots else to("look", word=())
        elif worker.at == "swap":
            if worker.word != self.word(state):
                yield to("enter", word=())
                return
            slot = state.free if self.counted else state.inside + 1
            if slot > state.slots:
                self.faults.add("a slot beyond the memory")
            elif any(other.slot == slot for other in state.workers):
                self.faults.add("two workers on one slot")
            free = state.free - 1 if self.counted else state.free
            yield to("inside", state._replace(free=free, inside=state.inside + 1), slot=slot, word=())
        elif worker.at == "inside":
            after = state._replace(inside=state.inside - 1)
            yield to("ring" if after.awaited and not after.inside else "look", after, slot=0)
        elif worker.at == "ring":
            yield to("look", state._replace(all_left=True))

    def steps_of_caller(self, state: State, i: int) -> Iterator[State]:
        caller = state.callers[i]

        def to(at: str, before: State = state, **changes: Any) -> State:
            callers = list(before.callers)
            callers[i] = before.callers[i]._replace(at=at, **changes)
            return before._replace(callers=tuple(callers))

        def changed(n: int, **changes: Any) -> State:
            workers = list(state.workers)
            workers[n] = workers[n]._replace(**changes)
            return state._replace(workers=tuple(workers))

        program = self.programs[i]
        kind, number = program[caller.done] if caller.done < len(program) else ("", 0)
        if caller.at == "begin":
            if kind == "keep":
                yield to("asked", state._replace(wanted=number + 1), done=caller.done + 1)
            elif kind and state.taken:
                yield to("begin", done=caller.done + 1)  # the job is done alone
            elif kind:
                yield to("hire", state._replace(taken=True), holds=True)
        elif caller.at == "hire":
            workers = list(state.workers)
            for n in range(state.hired, min(number, self.most)):
                workers[n] = Worker("look")
            yield to("run", state._replace(workers=tuple(workers), hired=max(state.hired, min(number, self.most))))
        elif caller.at == "run":
            yield to("open", state._replace(slots=number), i=0)
        elif caller.at == "open":
            if self.counted:
                yield to("wake", state._replace(turn=state.turn + 1, free=number, awaited=False))
            else:
                yield to("turn", state._replace(free=number, awaited=False))
        elif caller.at == "turn":
            yield to("wake", state._replace(turn=state.turn + 1))
        elif caller.at == "wake":
            if caller.i == min(number, state.hired):
                yield to("parts")
            elif state.workers[caller.i].asleep:
                yield to("ring", changed(caller.i, asleep=False))
            else:
                yield to("wake", i=caller.i + 1)
        elif caller.at == "ring":
            yield to("wake", changed(caller.i, event=True), i=caller.i + 1)
        elif caller.at == "parts":
            yield to("wait", state._replace(free=0 if self.counted else CLOSED))
        elif caller.at == "wait":
            yield to("hear", state._replace(awaited=True)) if state.inside else to("free")
        elif caller.at == "hear":
            if state.all_left:
                yield to("free", state._replace(all_left=False))
        elif caller.at == "free":
            if any(worker.slot for worker in state.workers):
                self.faults.add("a worker in memory that is freed")
            yield to("give back", state._replace(slots=0), done=caller.done + 1)
        elif caller.at == "give back":
            yield to("asked", state._replace(taken=False), holds=False)
        elif caller.at == "asked":
            if not state.wanted or state.taken:
                yield to("begin", i=0)
            else:
                yield to("answer", state._replace(taken=True), holds=True)
        elif caller.at == "answer":
            keeps = state.wanted - 1
            after = state._replace(wanted=0)
            fewer = 0 <= keeps < state.hired
            yield to("dismiss", after, keeps=keeps, i=keeps) if fewer else to("give back", after)
        elif caller.at == "dismiss":
            if caller.i < state.hired:
                yield to("dismiss", changed(caller.i, leaves=True), i=caller.i + 1)
            else:
                free = 0 if self.counted else CLOSED
                yield to("end", state._replace(turn=state.turn + 1, free=free, awaited=False), i=caller.keeps)
        elif caller.at == "end":
            if caller.i == state.hired:
                yield to("join")
            elif state.workers[caller.i].asleep:
                yield to("end ring", changed(caller.i, asleep=False))
            else:
                yield to("end", i=caller.i + 1)
        elif caller.at == "end ring":
            yield to("end", changed(caller.i, event=True), i=caller.i + 1)
        elif caller.at == "join" and all(worker.at == "ended" for worker in state.workers[caller.keeps : state.hired]):
            yield to("give back", state._replace(hired=caller.keeps), keeps=0)

    def explore(self) -> int:
        """Go through all states that can come; return how many there are."""
        start = State(
            0,
            0 if self.counted else CLOSED,
            0,
            False,
            0,
            False,
            0,
            False,
            0,
            (Worker("ended"),) * self.most,
            (Caller(),) * len(self.programs),
        )
        seen, todo = {start}, [start]
        while todo:
            state = todo.pop()
            steps = [step for i in range(self.most) for step in self.steps_of_worker(state, i)]
            steps += [step for i in range(len(self.programs)) for step in self.steps_of_caller(state, i)]
            if not steps:
                if any(
                    caller.done < len(program) for caller, program in zip(state.callers, self.programs, strict=True)
                ):
                    self.faults.add("everybody waits")
                if any(caller.at != "begin" for caller in state.callers):
                    self.faults.add("a caller waits for ever")
                if state.wanted:
                    self.faults.add("a request is forgotten")
            for step in steps:
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
        return len(seen)


PROGRAMS: dict[str, tuple[int, list[list[tuple[str, int]]]]] = {
    "two workers, fewer slots": (2, [[("job", 2), ("job", 1)]]),
    "two workers, more slots": (2, [[("job", 1), ("job", 2)]]),
    "three workers": (3, [[("job", 3), ("job", 1)]]),
    "more jobs": (2, [[("job", 2), ("job", 1), ("job", 2)]]),
    "two callers": (2, [[("job", 2)], [("job", 1)]]),
    "workers end": (2, [[("job", 2), ("job", 1)], [("keep", 0)]]),
    "workers end and come back": (2, [[("job", 2), ("keep", 1), ("job", 2)]]),
    "two requests": (1, [[("job", 1), ("keep", 0)], [("keep", 0), ("job", 1)]]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_order_of_steps_is_wrong(name: str) -> None:
    workers, programs = PROGRAMS[name]
    model = Model("counted", programs, workers)
    assert model.explore() > 500
    assert not model.faults


def test_the_model_finds_what_was_wrong_with_an_earlier_word_of_state() -> None:
    workers, programs = PROGRAMS["two workers, fewer slots"]
    model = Model("compared", programs, workers)
    model.explore()
    assert "a slot beyond the memory" in model.faults


def test_the_model_finds_a_worker_that_sleeps_without_a_second_look() -> None:
    class Careless(Model):
        def steps_of_worker(self, state: State, i: int) -> Iterator[State]:
            for step in super().steps_of_worker(state, i):
                worker = step.workers[i]
                if worker.at == "look again":  # goes to sleep at once, and takes its own mark away first
                    yield step._replace(
                        workers=(*step.workers[:i], worker._replace(at="sleep", asleep=False), *step.workers[i + 1 :])
                    )
                else:
                    yield step

    model = Careless("counted", [[("job", 1), ("keep", 0)]], 1)
    model.explore()
    assert "a caller waits for ever" in model.faults


def test_every_atomic_operation_has_the_order_that_the_model_takes_for_granted() -> None:
    """The model knows one order of all steps, which weaker operations of ARM need not have.

    Programs without data races, which ThreadSanitizer looks for whatever the processor, have one when every atomic
    operation is sequentially consistent.
    """
    files = [path for path in (ROOT / "pyx").rglob("*") if path.suffix in (".h", ".pxd", ".pxi", ".pyx")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert set(re.findall(r"__ATOMIC_\w+|memory_order\w*|__sync_\w+|stdatomic", text)) == {"__ATOMIC_SEQ_CST"}


# --- the real one -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the stress program as it is."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    if sys.platform == "win32" or not shutil.which(compiler[0]):
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("stress") / "team_stress"
    source = ROOT / "tests/team_stress.c"
    subprocess.run([*compiler, "-O1", "-pthread", f"-I{ROOT / 'pyx'}", source, "-o", program], check=True)
    return program


def test_no_worker_has_a_slot_that_the_memory_has_not(stress: Path) -> None:
    """Jobs of two slots wait for a third thread to come, where seven workers are there."""
    answer = subprocess.run([stress, "1"], capture_output=True, text=True, timeout=120, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
