/* Which instruction-set levels this processor runs, and which compiler made this: for pooling._core, and for the program
   that asks during the build. */
#ifndef POOLING_CPU_H
#define POOLING_CPU_H

#if defined(__x86_64__) && defined(__GNUC__)
    #include <cpuid.h>
    /* The kernels of v3 convert half precision; not every compiler knows this feature by name. */
    static inline int pooling_converts_halves(void) {
        unsigned int a, b, c, d;
        return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
    }
    #if !defined(__clang__) && __GNUC__ >= 12
        #define pooling_runs_v2() __builtin_cpu_supports("x86-64-v2")
        #define pooling_runs_v3() __builtin_cpu_supports("x86-64-v3")
    #else
        /* Other compilers do not know the levels by name; these features tell them apart. */
        #define pooling_runs_v2() \
            (__builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") \
             && __builtin_cpu_supports("popcnt"))
        #define pooling_runs_v3() \
            (pooling_runs_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") \
             && pooling_converts_halves() && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
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

#endif
