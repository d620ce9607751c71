/* Doubles of floats that lie side by side. */
#ifndef POOLING_WIDENING_H
#define POOLING_WIDENING_H

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
/* No vector leaves this module, so that no other convention than this compiler's counts. */
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

typedef float pooling_four_floats_t __attribute__((vector_size(16)));
typedef double pooling_four_doubles_t __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_four_doubles_of(pooling_four_floats_t x) {
#if defined(__AVX2__)
    /* gcc 12 makes four instructions of the conversion. */
    return (pooling_four_doubles_t) _mm256_cvtps_pd((__m128) x);
#else
    return __builtin_convertvector(x, pooling_four_doubles_t);
#endif
}

#endif
