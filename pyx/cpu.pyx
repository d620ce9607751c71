# cython: language_level=3
"""What this processor can run, asked before any module that needs more than the baseline is imported.

This module is compiled without instruction-set flags, so importing it is always safe.
"""

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
        #if !defined(__clang__) && __GNUC__ >= 12
            #define pooling_runs_v2() __builtin_cpu_supports("x86-64-v2")
            #define pooling_runs_v3() __builtin_cpu_supports("x86-64-v3")
        #else
            /* Other compilers do not know the levels by name; these features tell them apart. */
            #define pooling_runs_v2() \\
                (__builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") \\
                 && __builtin_cpu_supports("popcnt"))
            #define pooling_runs_v3() \\
                (pooling_runs_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") \\
                 && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
        #endif
        #define pooling_init_cpu() __builtin_cpu_init()
    #else
        #define pooling_runs_v2() 0
        #define pooling_runs_v3() 0
        #define pooling_init_cpu() ((void)0)
    #endif

    #define POOLING_STRING(x) POOLING_STRING_(x)
    #define POOLING_STRING_(x) #x
    #if defined(__clang__)
        #define POOLING_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
        #define POOLING_COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
        #define POOLING_COMPILER "msvc " POOLING_STRING(_MSC_VER)
    #else
        #define POOLING_COMPILER "unknown"
    #endif
    """
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
