"""Numbers of our calls that no other process can disturb: ``python -m benchmarks.counts``, for docs/tuning.md.

Instructions and cache misses are counted by callgrind, of one warm call on one thread, less what the process does
without it. Where llvm-mca is installed (Debian: apt install llvm), it predicts the cycles that the inner loops take on
several processors, and what their ports allow at best: a loop that is far from the latter waits for something.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pooling.benchmark.cases import CASES, BenchmarkCase
from pooling.benchmark.worker import with_pooling
from pooling.dispatch import kernels, level
from pooling.files import write_whole

__all__ = ["ROWS", "Counts", "Loop", "count", "loops_of", "main", "parsed", "predicted", "section"]

PAGE = Path(__file__).parent.parent / "docs" / "tuning.md"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"
ROWS = (
    "ResNet stem, batch 1",
    "ResNet stem, batch 1, channels_last",
    "ResNet stem, batch 1, uint8",
    "ResNet stem, batch 1, float16",
    "ResNet stem, batch 1, float64",
    "ResNet stem, batch 1, indices",
    "ResNet stem, batch 1, backward",
    "VGG block 1, batch 1",
    "VGG block 1, batch 1, uint8",
    "VGG block 1, batch 1, indices",
    "YOLO SPPF 5x5",
    "YOLO SPPF 5x5, backward",
    "YOLO SPP 13x13",
    "Inception maximum 3x3",
    "Inception average 3x3",
    "PoolFormer average 3x3",
    "DenseNet transition",
    "ShuffleNet average 3x3 s2",
    "global average 7x7x2048",
    "adaptive average 13 to 7",
    "adaptive maximum 13 to 7",
    "audio 1-D",
    "3-D U-Net 2x2x2",
    "I3D 3x3x3 s2",
    "31x31 maximum, HD",
    "31x31 average, HD",
    "31x31 average, HD RGB",
    "halving HD RGB, uint8",
    "15x15 maximum, HD, uint8",
    "width 7, 1024 channels",
    "width 7, 832 channels, average",
    "4x4 s4",
    "7x7 s3",
    "dilation 2",
    "Lp p=2, 3x3 s2",
    "blur 3x3 s2",
)
PROCESSORS = {
    "znver3": "Zen 3",
    "znver4": "Zen 4",
    "skylake-avx512": "Skylake",
    "icelake-server": "Ice Lake",
    "neoverse-v1": "Neoverse V1",
}
"""What llvm-mca calls processors, and their names."""
CACHES = ("--I1=32768,8,64", "--D1=32768,8,64", "--LL=33554432,16,64")
"""The same on any machine: 32 KiB and 32 MiB, in lines of 64 bytes."""
LINE = 64
MARK = "getsid"
"""A function of the C library that nobody else calls: callgrind writes down what it has counted when it begins."""
ENOUGH = 0.9
"""Part of the instructions of a call in the loops that are looked at."""
LEAST = 0.02
"""Part of them in a loop that is worth looking at."""
ITERATIONS = 200
FEW = 0.5
"""Part of the instructions in loops; below it, what lies between them takes the time."""
FAR = 1.5
"""Cycles by those that the ports allow; from here on a loop is far from its bound."""


@dataclass
class Counts:
    """What callgrind counted of a call."""

    events: dict[str, int]
    """``Ir`` instructions, ``D1mr`` and ``D1mw`` misses of the first level, ``DLmr`` and ``DLmw`` of the last."""
    instructions: dict[str, dict[int, int]]
    """How often the instruction at each address of each file was executed."""


@dataclass(frozen=True)
class Loop:
    """An innermost loop: its instructions as an assembler reads them, and how often it went round."""

    code: tuple[str, ...]
    rounds: int
    executed: int
    """Instructions that were executed in it altogether."""


# --- callgrind -------------------------------------------------------------------------------------------------------


def parsed(text: str) -> Counts:
    """Read one dump of callgrind, written with full names and positions."""
    events: list[str] = []
    totals: dict[str, int] = {}
    executed: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    where, skip = "", False
    for line in text.splitlines():
        if line.startswith("events:"):
            events = line.split()[1:]
        elif line.startswith(("summary:", "totals:")):
            numbers = [int(number) for number in line.split()[1:]]
            totals = dict(zip(events, numbers + [0] * (len(events) - len(numbers)), strict=True))
        elif line.startswith("ob="):
            where = re.sub(r"^\(\d+\)\s*", "", line[3:])
        elif line.startswith("calls="):
            skip = True  # the next line has what the callee did
        elif line.startswith("0x"):
            address, _, *numbers = line.split()
            if not skip:
                executed[where][int(address, 16)] += int(numbers[0]) if numbers else 0
            skip = False
    return Counts(totals, executed)


def count(cases: Sequence[BenchmarkCase]) -> dict[str, Counts]:
    """Run each case once under callgrind, warm; the counts of a call of nothing are subtracted from the sums."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--cache-sim=yes",
            *CACHES,
            "--dump-instr=yes",
            "--compress-pos=no",
            "--compress-strings=no",
            f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/counts",
            sys.executable,
            "-m",
            __spec__.name if __spec__ else __name__,
            "--child",
            json.dumps([case.to_json() for case in cases]),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"count: valgrind ended with code {done.returncode}: {done.stderr[-500:]}")
        dumps = sorted(Path(folder).glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        # Every second dump is that of a call; the others are those of what lies between.
        calls = [
            parsed(path.read_text(encoding="utf-8", errors="replace")) for path in dumps[1 : 2 * len(cases) + 2 : 2]
        ]
    nothing, *rest = calls
    for counts in rest:
        counts.events = {name: max(0, number - nothing.events[name]) for name, number in counts.events.items()}
    return dict(zip((case.name for case in cases), rest, strict=True))


def _child(cases: Sequence[BenchmarkCase]) -> None:
    """Make the calls, each between two marks; the first of them does nothing."""
    mark = getattr(os, MARK)

    def nothing() -> None:
        """Cost what it costs to call something."""

    for prepare in (lambda: nothing, *(lambda case=case: with_pooling(case, 1) for case in cases)):
        call = prepare()
        call()
        mark(0)
        call()
        mark(0)


# --- loops -----------------------------------------------------------------------------------------------------------

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
JUMP = re.compile(r"^j\w+\s+(?:0x)?([0-9a-f]+)")


def _listing(file: str, first: int, last: int) -> dict[int, str]:
    """Disassemble a part of a file: instructions by address."""
    command = ["objdump", "-d", "--no-show-raw-insn", f"--start-address={first}", f"--stop-address={last + 16}", file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (INSTRUCTION.match(line) for line in text.splitlines())
    return {int(each[1], 16): each[2].split("#")[0].split("<")[0].strip() for each in found if each}


def loops_of(listing: dict[int, str], executed: dict[int, int]) -> list[Loop]:
    """Find the innermost loops among instructions, those that executed most first.

    A loop is what lies between the target of a jump backwards and the jump; what was executed less than half as often
    as the jump is on another path, and jumps inside it cost next to nothing.
    """
    ends = []
    for address, text in listing.items():
        jump = JUMP.match(text)
        if jump and executed.get(address) and int(jump[1], 16) <= address:
            ends.append((int(jump[1], 16), address))
    inner = [
        (begin, end)
        for begin, end in ends
        if not any(begin <= other and last <= end and (other, last) != (begin, end) for other, last in ends)
    ]
    loops = []
    for begin, end in inner:
        inside = [address for address in listing if begin <= address <= end]
        often = [address for address in inside if 2 * executed.get(address, 0) >= executed[end]]
        code = tuple(listing[address] for address in often if not JUMP.match(listing[address]))
        if code and not any(text.startswith(("call", "ret")) for text in code):
            loops.append(Loop(code, executed[end], sum(executed.get(address, 0) for address in inside)))
    return sorted(loops, key=lambda loop: -loop.executed)


def _hot_loops(counts: Counts) -> Iterator[Loop]:
    """Yield the loops of the kernels in which a call spends its instructions."""
    total = counts.events["Ir"]
    found: list[Loop] = []
    for file, executed in counts.instructions.items():
        if not Path(file).name.startswith("_kernels"):
            continue
        addresses = sorted(executed)
        groups: list[list[int]] = []
        for address in addresses:
            if not groups or address - groups[-1][-1] > 4096:
                groups.append([])
            groups[-1].append(address)
        for group in groups:
            if sum(executed[address] for address in group) >= LEAST * total:
                found += loops_of(_listing(file, group[0], group[-1]), executed)
    reached = 0
    for loop in sorted(found, key=lambda loop: -loop.executed):
        if loop.executed < LEAST * total or reached >= ENOUGH * total:
            break
        reached += loop.executed
        yield loop


def predicted(code: Sequence[str], processor: str) -> tuple[float, float] | None:
    """Cycles of a round as llvm-mca predicts them, and those that the ports allow; None where it knows no answer."""
    if shutil.which("llvm-mca") is None:
        return None
    triple = "aarch64" if processor.startswith("neoverse") else "x86_64"
    command = ["llvm-mca", f"-mtriple={triple}", f"-mcpu={processor}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(code) + "\n", capture_output=True, text=True, check=False)
    cycles = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    bound = re.search(r"^Block RThroughput:\s+([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or not cycles or not bound:
        return None
    return int(cycles[1]) / ITERATIONS, float(bound[1])


# --- the table -------------------------------------------------------------------------------------------------------


def _elements(case: BenchmarkCase) -> int:
    """Elements that the call makes."""
    return math.prod(case.shape if case.direction == "backward" else case.output_shape)


def _row(case: BenchmarkCase, counts: Counts, processors: Sequence[str]) -> dict[str, Any]:
    elements, moved = _elements(case), sum(case.moved)
    events = counts.events
    loops = list(_hot_loops(counts)) if processors else []
    row: dict[str, Any] = {
        "instructions": events["Ir"] / elements,
        # 1 where every line of input and result is fetched once.
        "first": (events["D1mr"] + events["D1mw"]) * LINE / moved,
        "last": (events["DLmr"] + events["DLmw"]) * LINE / moved,
        "covered": sum(loop.executed for loop in loops) / events["Ir"],
        "cycles": {},
    }
    for processor in processors:
        answers = [(loop, predicted(loop.code, processor)) for loop in loops]
        known = [(loop.rounds, *answer) for loop, answer in answers if answer]
        if known:
            cycles = sum(rounds * each for rounds, each, _ in known)
            bound = sum(rounds * each for rounds, _, each in known)
            row["cycles"][processor] = (cycles / elements, cycles / bound if bound else math.inf)
    return row


def _cells(row: dict[str, Any], processors: Sequence[str]) -> list[str]:
    cells = [f"{row['instructions']:.2f}", f"{row['first']:.2f}", f"{row['last']:.2f}"]
    if processors:
        cells.append(f"{row['covered']:.0%}")
    for processor in processors:
        answer = row["cycles"].get(processor)
        cells.append(f"{answer[0]:.2f} ({answer[1]:.1f})" if answer else "–")
    return cells


def section(rows: dict[str, dict[str, Any]], processors: Sequence[str]) -> str:
    """Write the part of docs/tuning.md that is made of counts."""
    head = ["Call", "Instructions", "First level", "Last level"]
    head += ["In loops", *(PROCESSORS[name] for name in processors)] if processors else []
    lines = [
        "`python -m benchmarks.counts --page` writes this table from callgrind"
        + (" and llvm-mca" if processors else "")
        + f": one warm call of one thread, kernels of {level}. Instructions are those for each element of the result "
        "(of a gradient, of the input). Misses of a first level of 32 KiB and a last one of 32 MiB are bytes of lines "
        "by the bytes that the call must move: 1 means that each line is fetched once, and 0 that all stays in the "
        "cache.",
        "",
    ]
    if processors:
        lines += [
            "`In loops` is the share of the instructions that lies in the inner loops that were looked at. For these "
            "follow cycles for each element as llvm-mca predicts them, everything in the first level, and in brackets "
            f"by those that the ports of the processor allow: {FAR} and more is far from the bound, and means a chain "
            "of instructions that wait for each other.",
            "",
        ]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {name} | {' | '.join(_cells(row, processors))} |" for name, row in rows.items()]
    far = [
        (max(ratio for _, ratio in row["cycles"].values()), name)
        for name, row in rows.items()
        if row["cycles"] and max(ratio for _, ratio in row["cycles"].values()) >= FAR
    ]
    unknown = [PROCESSORS[name] for name in PROCESSORS if name not in processors]
    if processors and unknown:
        about = f"{', '.join(unknown)}: the kernels that were counted are no code for it, or llvm-mca does not know it"
        lines += ["", f"Not predicted for {about}."]
    if processors:
        said = "; ".join(f"{name} ({ratio:.1f})" for ratio, name in sorted(far, reverse=True))
        few = "; ".join(f"{name} ({row['covered']:.0%})" for name, row in rows.items() if row["covered"] < FEW)
        lines += ["", f"Most instructions lie between the loops, whose rows are short, in: {few or 'none'}."]
        lines += ["", f"Far from the bound of the ports on one of these processors at least: {said or 'none'}."]
    return "\n".join(lines) + "\n"


def _write_page(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
    write_whole(PAGE, pattern.sub(lambda _: f"{BEGIN}\n{text}{END}\n", page))


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, count, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="all cases whose name holds TEXT (default: those of the page)")
    parser.add_argument("--page", action="store_true", help="write docs/tuning.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    if arguments.child:
        _child([BenchmarkCase.from_json(fields) for fields in json.loads(arguments.child)])
        return 0
    for tool in ("valgrind", "objdump"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not installed")
    chosen = [case for case in CASES if case.name in ROWS]
    if arguments.only is not None:
        chosen = [case for case in CASES if arguments.only.lower() in case.name.lower()]
    if not chosen:
        parser.error(f"no case's name holds {arguments.only!r}")
    processors = [name for name in PROCESSORS if _runs_here(name) and predicted(["nop"], name)]
    rows = {
        name: _row(case, counts, processors) for case, (name, counts) in zip(chosen, count(chosen).items(), strict=True)
    }
    text = section(rows, processors)
    print(text, end="")
    if not processors:
        print("there is no llvm-mca that knows these processors: no cycles are predicted", file=sys.stderr)
    if arguments.page:
        _write_page(text)
    return 0


def _runs_here(processor: str) -> bool:
    """Whether the kernels of this machine are code for a processor: llvm-mca reads one instruction set at a time."""
    x86 = "x86_64" in Path(kernels.__file__).name
    return x86 != processor.startswith("neoverse")


if __name__ == "__main__":
    sys.exit(main())
