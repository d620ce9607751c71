/* Binomial filters of 3 and 5 taps over rows of floats, one or two cells apart: four rows of results at a time are made
 * of the rows above one another, in double, and then along.
 *
 * Weights are whole numbers here, whose products with a float a double holds, and results are scaled at the end; so sums
 * have the bits of those of blurs.pxi, which add the same products in the same order, with and without fused additions.
 */
#ifndef POOLING_BINOMIALS_H
#define POOLING_BINOMIALS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "widening.h"

#if defined(__GNUC__)
#define POOLING_BINOMIALS 1
#if !defined(__clang__)
/* Vectors of 32 bytes are passed only to functions that are inlined. */
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

typedef int64_t pooling_four_places_t __attribute__((vector_size(32)));

#if defined(__FMA__) && defined(__AVX__)
#include <immintrin.h>
/* Only for products that a double holds, so that fusing rounds as often as not. */
#define POOLING_ADD_EXACT(weight, v, sum) \
    ((pooling_four_doubles_t) _mm256_fmadd_pd((__m256d) (weight), (__m256d) (v), (__m256d) (sum)))
#else
#define POOLING_ADD_EXACT(weight, v, sum) ((weight) * (v) + (sum))
#endif

#if defined(__clang__)
#define POOLING_EVENS(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define POOLING_ODDS(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#else
#define POOLING_EVENS(a, b) __builtin_shuffle(a, b, (pooling_four_places_t) {0, 2, 4, 6})
#define POOLING_ODDS(a, b) __builtin_shuffle(a, b, (pooling_four_places_t) {1, 3, 5, 7})
#endif

#define POOLING_BLUR_ROWS 4
#define POOLING_BLUR_LINES(taps, stride) ((taps) + (stride) * (POOLING_BLUR_ROWS - 1))

static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_four_wide(const float *src) {
    pooling_four_floats_t v;
    memcpy(&v, src, sizeof(v));
    return pooling_four_doubles_of(v);
}

static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_four_at(const double *src) {
    pooling_four_doubles_t v;
    memcpy(&v, src, sizeof(v));
    return v;
}

static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_binomial_down(
    const pooling_four_doubles_t *v, const int taps
) {
    const pooling_four_doubles_t two = {2, 2, 2, 2}, four = {4, 4, 4, 4}, six = {6, 6, 6, 6};
    if (taps == 3)
        return POOLING_ADD_EXACT(two, v[1], v[0]) + v[2];
    return POOLING_ADD_EXACT(four, v[3], POOLING_ADD_EXACT(six, v[2], POOLING_ADD_EXACT(four, v[1], v[0]))) + v[4];
}

/* Along a row, sums have more bits than floats, and six times one need not be exact. */
static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_binomial_along(
    pooling_four_doubles_t a, pooling_four_doubles_t b, pooling_four_doubles_t c, pooling_four_doubles_t d,
    pooling_four_doubles_t e, const int taps
) {
    const pooling_four_doubles_t two = {2, 2, 2, 2}, four = {4, 4, 4, 4}, six = {6, 6, 6, 6};
    if (taps == 3)
        return POOLING_ADD_EXACT(two, b, a) + c;
    return POOLING_ADD_EXACT(four, d, POOLING_ADD_EXACT(four, b, a) + six * c) + e;
}

/* Sum n columns, a multiple of eight, down `rows` windows that lie `stride` lines apart. With a stride the even columns
   of a row go to its first half, which has `apart / 2` places, and the odd ones to the other. */
static inline __attribute__((always_inline)) void pooling_blur_down_of(
    double *dst, ptrdiff_t apart, const float *const *lines, ptrdiff_t first, ptrdiff_t n, const int rows,
    const int taps, const int stride
) {
    ptrdiff_t x;
    for (x = 0; x < n; x += 4 * stride) {
        pooling_four_doubles_t sums[2][POOLING_BLUR_ROWS];
        int half, i, t;
#pragma GCC unroll 2
        for (half = 0; half < stride; half++) {
            pooling_four_doubles_t cells[POOLING_BLUR_LINES(5, 2)];
#pragma GCC unroll 4
            for (i = 0; i < rows; i++) {
                /* Those of the window before are there. */
#pragma GCC unroll 5
                for (t = i ? taps - stride : 0; t < taps; t++)
                    cells[i * stride + t] = pooling_four_wide(lines[i * stride + t] + first + x + 4 * half);
                sums[half][i] = pooling_binomial_down(cells + i * stride, taps);
            }
        }
#pragma GCC unroll 4
        for (i = 0; i < rows; i++) {
            if (stride == 1) {
                memcpy(dst + i * apart + x, &sums[0][i], sizeof(sums[0][i]));
            } else {
                const pooling_four_doubles_t evens = POOLING_EVENS(sums[0][i], sums[1][i]);
                const pooling_four_doubles_t odds = POOLING_ODDS(sums[0][i], sums[1][i]);
                memcpy(dst + i * apart + x / 2, &evens, sizeof(evens));
                memcpy(dst + i * apart + apart / 2 + x / 2, &odds, sizeof(odds));
            }
        }
    }
}

/* Make n results, four or more, along a row of sums (with a stride, of every other one and those between); returns whether one is NaN, or their sum is. */
static inline __attribute__((always_inline)) int pooling_blur_along_of(
    float *dst, const double *row, const double *odd, ptrdiff_t n, double scale, const int taps, const int stride
) {
    const pooling_four_doubles_t scales = {scale, scale, scale, scale}, zeros = {0, 0, 0, 0};
    pooling_four_floats_t all = {0, 0, 0, 0};
    ptrdiff_t x;
    float sum;
    for (x = 0; x < n; x += 4) {
        pooling_four_doubles_t total;
        pooling_four_floats_t made;
        /* The last ones are made again with those before them. */
        const ptrdiff_t at = x < n - 4 ? x : n - 4;
        if (stride == 1)
            total = pooling_binomial_along(
                pooling_four_at(row + at), pooling_four_at(row + at + 1), pooling_four_at(row + at + 2),
                taps > 3 ? pooling_four_at(row + at + 3) : zeros, taps > 3 ? pooling_four_at(row + at + 4) : zeros,
                taps);
        else
            total = pooling_binomial_along(
                pooling_four_at(row + at), pooling_four_at(odd + at), pooling_four_at(row + at + 1),
                taps > 3 ? pooling_four_at(odd + at + 1) : zeros, taps > 3 ? pooling_four_at(row + at + 2) : zeros,
                taps);
        /* A sum that began with zero is never -0. */
        total = POOLING_ADD_EXACT(scales, total, zeros);
        made = __builtin_convertvector(total, pooling_four_floats_t);
        memcpy(dst + at, &made, sizeof(made));
        all += made;
    }
    sum = (all[0] + all[1]) + (all[2] + all[3]);
    return sum != sum;
}

#define POOLING_BLUR(TAPS, STRIDE)                                                                                     \
static __attribute__((noinline)) void pooling_blur_down_##TAPS##_##STRIDE(                                             \
    double *dst, ptrdiff_t apart, const float *const *lines, ptrdiff_t first, ptrdiff_t n, int rows                    \
) {                                                                                                                    \
    if (rows == POOLING_BLUR_ROWS)                                                                                     \
        pooling_blur_down_of(dst, apart, lines, first, n, POOLING_BLUR_ROWS, TAPS, STRIDE);                            \
    else                                                                                                               \
        pooling_blur_down_of(dst, apart, lines, first, n, 1, TAPS, STRIDE);                                            \
}                                                                                                                      \
static __attribute__((noinline)) int pooling_blur_along_##TAPS##_##STRIDE(                                             \
    float *dst, const double *row, const double *odd, ptrdiff_t n, double scale                                        \
) {                                                                                                                    \
    return pooling_blur_along_of(dst, row, odd, n, scale, TAPS, STRIDE);                                               \
}
POOLING_BLUR(3, 1)
POOLING_BLUR(3, 2)
POOLING_BLUR(5, 1)
POOLING_BLUR(5, 2)

/* Sum columns down POOLING_BLUR_ROWS windows or one. */
static void pooling_blur_down(
    double *dst, ptrdiff_t apart, const float *const *lines, ptrdiff_t first, ptrdiff_t n, int rows, int taps,
    int stride
) {
    if (taps == 3 && stride == 1)
        pooling_blur_down_3_1(dst, apart, lines, first, n, rows);
    else if (taps == 3)
        pooling_blur_down_3_2(dst, apart, lines, first, n, rows);
    else if (stride == 1)
        pooling_blur_down_5_1(dst, apart, lines, first, n, rows);
    else
        pooling_blur_down_5_2(dst, apart, lines, first, n, rows);
}

static int pooling_blur_along(
    float *dst, const double *row, const double *odd, ptrdiff_t n, double scale, int taps, int stride
) {
    if (taps == 3)
        return stride == 1 ? pooling_blur_along_3_1(dst, row, odd, n, scale)
                           : pooling_blur_along_3_2(dst, row, odd, n, scale);
    return stride == 1 ? pooling_blur_along_5_1(dst, row, odd, n, scale)
                       : pooling_blur_along_5_2(dst, row, odd, n, scale);
}

#else
#define POOLING_BINOMIALS 0
#define POOLING_BLUR_ROWS 4
#define pooling_blur_down(dst, apart, lines, first, n, rows, taps, stride) ((void) 0)
#define pooling_blur_along(dst, row, odd, n, scale, taps, stride) 0
#endif
#endif
