/* The floating-point mode of a thread: rounding, flushing of subnormal numbers, traps. Kernels run in the default one,
   whatever a library of the program has set, so that bits depend neither on it nor on who did which part of a job. */
#ifndef POOLING_FLOATING_H
#define POOLING_FLOATING_H

#if defined(__GNUC__) && defined(__SSE2__)
    typedef unsigned int pooling_mode_t;

    /* The six lowest bits are flags of what happened, no mode. */
    #define POOLING_MODE_FLAGS 0x3fu
    #define POOLING_DEFAULT_MODE 0x1f80u

    /* Enter the default mode; return the one before. */
    static inline pooling_mode_t pooling_enter_default_mode(void) {
        unsigned int mode = __builtin_ia32_stmxcsr();
        if ((mode & ~POOLING_MODE_FLAGS) != POOLING_DEFAULT_MODE) __builtin_ia32_ldmxcsr(POOLING_DEFAULT_MODE);
        return mode;
    }

    static inline void pooling_leave_default_mode(pooling_mode_t before) {
        if ((before & ~POOLING_MODE_FLAGS) != POOLING_DEFAULT_MODE) __builtin_ia32_ldmxcsr(before);
    }
#elif defined(__GNUC__) && defined(__aarch64__)
    #include <stdint.h>

    typedef uint64_t pooling_mode_t;

    static inline pooling_mode_t pooling_enter_default_mode(void) {
        uint64_t mode, none = 0;
        __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
        if (mode) __asm__ __volatile__("msr fpcr, %0" : : "r"(none) : "memory");
        return mode;
    }

    static inline void pooling_leave_default_mode(pooling_mode_t before) {
        if (before) __asm__ __volatile__("msr fpcr, %0" : : "r"(before) : "memory");
    }
#else
    #include <fenv.h>

    typedef fenv_t pooling_mode_t;

    static inline pooling_mode_t pooling_enter_default_mode(void) {
        fenv_t mode;
        fegetenv(&mode);
        fesetenv(FE_DFL_ENV);
        return mode;
    }

    static inline void pooling_leave_default_mode(pooling_mode_t before) {
        fesetenv(&before);
    }
#endif

#endif
