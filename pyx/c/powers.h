/* Sums of powers of floats that lie side by side, in double: sixteen at a time, whose order is the same for every
 * processor. */
#ifndef POOLING_POWERS_H
#define POOLING_POWERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "sums.h"
#include "widening.h"

typedef uint32_t pooling_four_words_t __attribute__((vector_size(16)));
typedef int64_t pooling_masks_t __attribute__((vector_size(32)));

#if defined(__clang__) || __GNUC__ >= 12
#define POOLING_SHUFFLE_DOUBLES(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define POOLING_SHUFFLE_DOUBLES(a, b, ...) __builtin_shuffle(a, b, (pooling_masks_t) {__VA_ARGS__})
#endif

/* |x| ** p, or the power of what is not below `eps`. */
static inline __attribute__((always_inline)) pooling_doubles_t pooling_four_powers(
    pooling_four_floats_t x, const int p, const int lifts, double eps
) {
    pooling_doubles_t v;
    if (!lifts && p % 2)
        x = (pooling_four_floats_t) ((pooling_four_words_t) x & 0x7fffffffu);
    v = pooling_four_doubles_of(x);
    if (lifts) {
        const pooling_doubles_t least = {eps, eps, eps, eps};
        pooling_masks_t below = v < least;
        v = (pooling_doubles_t) (((pooling_masks_t) least & below) | ((pooling_masks_t) v & ~below));
    }
    if (p == 2)
        v = v * v;
    if (p == 3)
        v = v * v * v;
    if (p == 4) {
        v = v * v;
        v = v * v;
    }
    return v;
}

/* Sums of four runs that lie one behind another, of 4 elements or more, whose vectors share the last steps; or of one.
 * Of the last four elements of a run, those are missing that have been added. */
static inline __attribute__((always_inline)) pooling_doubles_t pooling_four_sums_of(
    const float *src, ptrdiff_t n, pooling_masks_t missing, const int p, const int lifts, double eps
) {
    pooling_doubles_t sums[4] = {{0}, {0}, {0}, {0}};
    pooling_four_floats_t x;
    ptrdiff_t i;
    int j;
    for (i = 0; i + 16 <= n; i += 16)
        for (j = 0; j < 4; j++) {
            memcpy(&x, src + i + 4 * j, 16);
            sums[j] += pooling_four_powers(x, p, lifts, eps);
        }
    for (; i + 4 <= n; i += 4) {
        memcpy(&x, src + i, 16);
        sums[0] += pooling_four_powers(x, p, lifts, eps);
    }
    if (i < n) {
        memcpy(&x, src + n - 4, 16);
        sums[1] += (pooling_doubles_t) (~missing & (pooling_masks_t) pooling_four_powers(x, p, lifts, eps));
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* The same of a run of any length. */
static inline __attribute__((always_inline)) double pooling_powers_of(
    const float *src, ptrdiff_t n, const int p, const int lifts, double eps
) {
    pooling_doubles_t four;
    pooling_masks_t missing = {0};
    if (n < 4) {
        pooling_four_floats_t few = {0};
        if (n > 0) {
            const pooling_four_floats_t there = {src[0], n > 1 ? src[1] : src[0], n > 2 ? src[2] : src[0], src[0]};
            few = there;
        }
        missing = (pooling_masks_t) {-(int64_t) (n > 0), -(int64_t) (n > 1), -(int64_t) (n > 2), 0};
        four = (pooling_doubles_t) (missing & (pooling_masks_t) pooling_four_powers(few, p, lifts, eps));
    } else {
        memcpy(&missing, pooling_but_last_long_words + 4 + n % 4, 32);
        four = pooling_four_sums_of(src, n, missing, p, lifts, eps);
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static inline __attribute__((always_inline)) void pooling_runs_of_powers(
    double *dst, const float *src, ptrdiff_t runs, ptrdiff_t n, const int p, const int lifts, double eps
) {
    pooling_masks_t missing;
    pooling_doubles_t v[4];
    memcpy(&missing, pooling_but_last_long_words + 4 + n % 4, 32);
    for (; n >= 4 && runs >= 4; runs -= 4, dst += 4, src += 4 * n) {
        v[0] = pooling_four_sums_of(src, n, missing, p, lifts, eps);
        v[1] = pooling_four_sums_of(src + n, n, missing, p, lifts, eps);
        v[2] = pooling_four_sums_of(src + 2 * n, n, missing, p, lifts, eps);
        v[3] = pooling_four_sums_of(src + 3 * n, n, missing, p, lifts, eps);
        v[0] = POOLING_SHUFFLE_DOUBLES(v[0], v[1], 0, 1, 4, 5) + POOLING_SHUFFLE_DOUBLES(v[0], v[1], 2, 3, 6, 7);
        v[2] = POOLING_SHUFFLE_DOUBLES(v[2], v[3], 0, 1, 4, 5) + POOLING_SHUFFLE_DOUBLES(v[2], v[3], 2, 3, 6, 7);
        v[1] = POOLING_SHUFFLE_DOUBLES(v[0], v[2], 0, 2, 4, 6) + POOLING_SHUFFLE_DOUBLES(v[0], v[2], 1, 3, 5, 7);
        memcpy(dst, v + 1, 32);
    }
    for (; runs > 0; runs--, dst++, src += n)
        *dst = pooling_powers_of(src, n, p, lifts, eps);
}

/* A function for each, so that what stands around a call changes none of their loops. */
#define POOLING_POWERS(NAME, P, LIFTS)                                                                                 \
static __attribute__((noinline)) void pooling_##NAME(                                                                  \
    double *dst, const float *src, ptrdiff_t runs, ptrdiff_t n, double eps                                             \
) {                                                                                                                    \
    pooling_runs_of_powers(dst, src, runs, n, P, LIFTS, eps);                                                          \
}
POOLING_POWERS(sum_magnitudes, 1, 0)
POOLING_POWERS(sum_squares, 2, 0)
POOLING_POWERS(sum_cubes, 3, 0)
POOLING_POWERS(sum_fourths, 4, 0)
POOLING_POWERS(sum_lifted, 1, 1)
POOLING_POWERS(sum_lifted_squares, 2, 1)
POOLING_POWERS(sum_lifted_cubes, 3, 1)
POOLING_POWERS(sum_lifted_fourths, 4, 1)

/* Sums of the powers of two neighbours in each of two rows, rows first. */
static inline __attribute__((always_inline)) void pooling_pairs_of(
    double *dst, const float *src, ptrdiff_t apart, ptrdiff_t n, const int p
) {
    pooling_four_floats_t x[4];
    pooling_doubles_t low, high, pairs;
    ptrdiff_t i;
    for (i = 0; i + 4 <= n; i += 4) {
        memcpy(x, src + 2 * i, 32);
        memcpy(x + 2, src + apart + 2 * i, 32);
        low = pooling_four_powers(x[0], p, 0, 0) + pooling_four_powers(x[2], p, 0, 0);
        high = pooling_four_powers(x[1], p, 0, 0) + pooling_four_powers(x[3], p, 0, 0);
        pairs = POOLING_SHUFFLE_DOUBLES(low, high, 0, 4, 2, 6) + POOLING_SHUFFLE_DOUBLES(low, high, 1, 5, 3, 7);
        pairs = POOLING_SHUFFLE_DOUBLES(pairs, pairs, 0, 2, 1, 3);
        memcpy(dst + i, &pairs, 32);
    }
    for (; i < n; i++) {
        pooling_four_floats_t last = {src[2 * i], src[2 * i + 1], src[apart + 2 * i], src[apart + 2 * i + 1]};
        low = pooling_four_powers(last, p, 0, 0);
        dst[i] = (low[0] + low[2]) + (low[1] + low[3]);
    }
}

#define POOLING_POWER_PAIRS(NAME, P)                                                                                         \
static __attribute__((noinline)) void pooling_##NAME(double *dst, const float *src, ptrdiff_t apart, ptrdiff_t n) {    \
    pooling_pairs_of(dst, src, apart, n, P);                                                                           \
}
POOLING_POWER_PAIRS(pairs_of_magnitudes, 1)
POOLING_POWER_PAIRS(pairs_of_squares, 2)
POOLING_POWER_PAIRS(pairs_of_cubes, 3)
POOLING_POWER_PAIRS(pairs_of_fourths, 4)

static inline void pooling_add_pairs(double *dst, const float *src, ptrdiff_t apart, ptrdiff_t n, int p) {
    switch (p) {
    case 1: pooling_pairs_of_magnitudes(dst, src, apart, n); break;
    case 2: pooling_pairs_of_squares(dst, src, apart, n); break;
    case 3: pooling_pairs_of_cubes(dst, src, apart, n); break;
    default: pooling_pairs_of_fourths(dst, src, apart, n);
    }
}

/* The sums of the powers of 1, 2, 3 or 4 of runs of `n` elements that lie one behind another. */
static inline void pooling_sum_powers(
    double *dst, const float *src, ptrdiff_t runs, ptrdiff_t n, int p, double eps
) {
    if (eps == 0)
        switch (p) {
        case 1: pooling_sum_magnitudes(dst, src, runs, n, eps); break;
        case 2: pooling_sum_squares(dst, src, runs, n, eps); break;
        case 3: pooling_sum_cubes(dst, src, runs, n, eps); break;
        default: pooling_sum_fourths(dst, src, runs, n, eps);
        }
    else
        switch (p) {
        case 1: pooling_sum_lifted(dst, src, runs, n, eps); break;
        case 2: pooling_sum_lifted_squares(dst, src, runs, n, eps); break;
        case 3: pooling_sum_lifted_cubes(dst, src, runs, n, eps); break;
        default: pooling_sum_lifted_fourths(dst, src, runs, n, eps);
        }
}

#endif
