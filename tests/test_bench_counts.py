"""Counts of instructions: dumps of callgrind are read, loops are found in them, and the page follows."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rich")  # the extra "cli"

from benchmarks import counts
from pooling.benchmark.cases import CASES, BenchmarkCase

DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 1
cmd: python
part: 2

desc: Trigger: --dump-before=getsid

positions: instr line
events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
summary: 1000 300 100 1 40 10 1 4 2

ob=/x/_kernels_x86_64_v3.so
fl=???
fn=0x1000
0x1000 0 1 1
0x1004 0 100 100
0x1008 0 100
0x100c 0 100
cob=/lib/libc.so.6
cfn=memcpy
calls=3 0x5000 0
0x1010 0 500 7
0x1010 0 3
ob=/lib/libc.so.6
fn=memcpy
0x5000 0 500
totals: 1000 300 100 1 40 10 1 4 2
"""


def test_a_dump_is_read() -> None:
    found = counts.parsed(DUMP)
    assert found.events == {
        "Ir": 1000, "Dr": 300, "Dw": 100, "I1mr": 1, "D1mr": 40, "D1mw": 10, "ILmr": 1, "DLmr": 4, "DLmw": 2,
    }  # fmt: skip
    assert found.instructions["/x/_kernels_x86_64_v3.so"] == {
        0x1000: 1, 0x1004: 100, 0x1008: 100, 0x100C: 100, 0x1010: 3,
    }  # fmt: skip
    assert found.instructions["/lib/libc.so.6"] == {0x5000: 500}


LISTING = {
    0x0FF0: "xor    %eax,%eax",
    0x1000: "mov    %rdx,%rcx",
    0x1004: "vmovups (%rdi,%rax,1),%ymm0",
    0x1008: "vmaxps (%rsi,%rax,1),%ymm0,%ymm0",
    0x100C: "ja     1018",
    0x1010: "vmovups %ymm0,(%rdx,%rax,1)",
    0x1014: "add    $0x20,%rax",
    0x1018: "cmp    %rax,%rcx",
    0x101C: "jne    1004",
    0x1020: "vmovups %ymm9,%ymm8",
    0x1024: "jne    1000",
    0x1028: "ret",
}


def test_innermost_loops_are_found_without_jumps_and_rare_paths() -> None:
    often = dict.fromkeys(LISTING, 5) | dict.fromkeys(range(0x1004, 0x1020, 4), 80)
    often[0x1010] = 3
    (loop,) = counts.loops_of(LISTING, often)
    assert loop.code == (LISTING[0x1004], LISTING[0x1008], LISTING[0x1014], LISTING[0x1018])
    assert (loop.rounds, loop.executed) == (80, 6 * 80 + 3)


def test_what_was_not_executed_or_calls_others_is_no_loop() -> None:
    assert counts.loops_of(LISTING, {}) == []
    calling = LISTING | {0x1008: "call   400"}
    assert counts.loops_of(calling, dict.fromkeys(LISTING, 5)) == []


@pytest.mark.skipif(shutil.which("llvm-mca") is None, reason="llvm-mca is not installed")
def test_a_chain_of_additions_is_far_from_what_ports_allow() -> None:
    chain = ["vaddps %ymm1,%ymm0,%ymm0"]
    answer = counts.predicted(chain, "skylake-avx512")
    assert answer is not None
    cycles, bound = answer
    assert cycles >= 3.9  # the latency of an addition
    assert bound <= 1
    apart = counts.predicted(["vaddps %ymm1,%ymm2,%ymm3"], "skylake-avx512")
    assert apart is not None
    assert apart[0] <= 1.1
    assert counts.predicted(["no such instruction"], "znver3") is None
    assert counts.predicted(chain, "abacus") is None


def row(ratio: float) -> dict[str, object]:
    numbers = {"instructions": 1.5, "first": 1.0, "last": 0.25, "covered": 0.9}
    return numbers | {"cycles": {"znver3": (0.5, 1.0), "icelake-server": (0.75, ratio)}}


def test_the_page_names_what_is_far_from_its_bound() -> None:
    text = counts.section({"near": row(1.4), "far": row(2.25)}, ["znver3", "icelake-server"])
    assert "| near | 1.50 | 1.00 | 0.25 | 90% | 0.50 (1.0) | 0.75 (1.4) |\n" in text
    assert "| Call | Instructions | First level | Last level | In loops | Zen 3 | Ice Lake |\n" in text
    assert text.endswith("Far from the bound of the ports on one of these processors at least: far (2.2).\n")
    plain = counts.section({"near": row(math.inf)}, [])
    assert "| near | 1.50 | 1.00 | 0.25 |\n" in plain
    assert "Far from" not in plain


def test_rows_of_the_page_exist_and_the_page_has_a_place_for_them() -> None:
    assert set(counts.ROWS) <= {case.name for case in CASES}
    text = counts.PAGE.read_text(encoding="utf-8")
    assert text.count(f"{counts.BEGIN}\n") == text.count(f"{counts.END}\n") == 1
    assert text.index(counts.BEGIN) < text.index(counts.END)


@pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("objdump") is None, reason="valgrind is not installed"
)
def test_a_call_under_callgrind_reads_and_writes_what_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    case = BenchmarkCase("copy", "", "max_pool", (1, 4, 64, 64), 2, 2)
    twice = BenchmarkCase("twice", "", "max_pool", (1, 8, 64, 64), 2, 2)
    found = counts.count([case, twice, replace(case, name="again")])
    one, other, again = (found[name].events for name in ("copy", "twice", "again"))
    # Twice the work are twice the instructions, but for those before it.
    assert 1.2 * one["Ir"] < other["Ir"] < 2.2 * one["Ir"]
    # 64 KiB of input do not fit into 32 KiB: each line is fetched once.
    lines = sum(case.moved) // counts.LINE
    assert 0.8 * lines <= one["D1mr"] + one["D1mw"] <= 1.6 * lines
    assert abs(again["Ir"] - one["Ir"]) < 0.1 * one["Ir"]
