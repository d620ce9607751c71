# cython: language_level=3
"""What this processor can run, asked before any module that needs more than the baseline is imported.

This module is compiled without instruction-set flags, so importing it is always safe.
"""

cdef extern from "c/cpu.h":
    void init_cpu "pooling_init_cpu"() noexcept
    bint runs_v2 "pooling_runs_v2"() noexcept
    bint runs_v3 "pooling_runs_v3"() noexcept
    const char *POOLING_LEVELS
    const char *POOLING_COMPILER


def built_levels():
    """Return the levels that this build carries, weakest first."""
    return tuple((<bytes>POOLING_LEVELS).decode("ascii").split())


def supported_levels():
    """Return the levels that this processor runs, weakest first: the last one is the best."""
    init_cpu()
    levels = ["generic"]
    if runs_v2():
        levels.append("x86-64-v2")
    if runs_v3():
        levels.append("x86-64-v3")
    return tuple(levels)


def compiler():
    """Return the name and version of the C compiler of this build."""
    return (<bytes>POOLING_COMPILER).decode("utf-8").strip()
