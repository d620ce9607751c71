/* Regions of several channels at once: a pixel of eight channels is one vector.
 *
 * The sums of a mean are those of `mean_of_samples` in regions.pxi, in the same order and in double, so that both give
 * the same bits: rows by their weights, then pixels of the sum by theirs.
 */
#ifndef POOLING_REGIONS_H
#define POOLING_REGIONS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "widening.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define POOLING_REGION_LANES 8

/* Bytes of the vectors that instructions know; compilers make poor code of wider ones. */
#if defined(__AVX2__)
#define POOLING_REGION_BYTES 32
#else
#define POOLING_REGION_BYTES 16
#endif

typedef double pooling_piece_double_t __attribute__((vector_size(POOLING_REGION_BYTES)));
typedef int64_t pooling_marks_double_t __attribute__((vector_size(POOLING_REGION_BYTES)));
typedef float pooling_piece_float_t __attribute__((vector_size(POOLING_REGION_BYTES)));
typedef int32_t pooling_marks_float_t __attribute__((vector_size(POOLING_REGION_BYTES)));
typedef float pooling_few_floats_t __attribute__((vector_size(POOLING_REGION_BYTES / 2)));

enum {
    /* Doubles of a vector, and vectors of the lanes in double. */
    POOLING_REGION_DOUBLES = POOLING_REGION_BYTES / 8,
    POOLING_REGION_SUMS = POOLING_REGION_LANES / POOLING_REGION_DOUBLES
};

static inline __attribute__((always_inline)) void pooling_widen_float(pooling_piece_double_t *to, const float *from) {
    pooling_few_floats_t few;
    memcpy(&few, from, sizeof few);
#if defined(__AVX2__)
    *to = pooling_four_doubles_of(few);
#else
    *to = __builtin_convertvector(few, pooling_piece_double_t);
#endif
}

static inline __attribute__((always_inline)) void pooling_widen_double(pooling_piece_double_t *to, const double *from) {
    memcpy(to, from, sizeof *to);
}

#define POOLING_REGION_LANES_OF(REAL) \
    /* Pixels of up to eight planes, `apart` elements from one to the next, side by side; lanes beyond them are 0. */ \
    static __attribute__((noinline)) void pooling_lay_lanes_##REAL( \
        REAL *dst, const REAL *src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t lanes \
    ) { \
        ptrdiff_t x, c; \
        if (lanes < POOLING_REGION_LANES) { \
            for (x = 0; x < n; x++) \
                for (c = 0; c < POOLING_REGION_LANES; c++) \
                    dst[x * POOLING_REGION_LANES + c] = c < lanes ? src[c * apart + x] : 0; \
            return; \
        } \
        for (x = 0; x < n; x++) \
            for (c = 0; c < POOLING_REGION_LANES; c++) dst[x * POOLING_REGION_LANES + c] = src[c * apart + x]; \
    } \
    \
    /* The mean of the samples of a bin, which lie on these rows and columns with these weights. */ \
    static __attribute__((noinline)) void pooling_mean_of_lanes_##REAL( \
        double *made, const REAL *map, ptrdiff_t width, const int64_t *rows, const double *below, ptrdiff_t height, \
        const int64_t *columns, const double *right, ptrdiff_t length \
    ) { \
        pooling_piece_double_t sums[POOLING_REGION_SUMS] = {{0}}; \
        ptrdiff_t i, s; \
        int p; \
        for (i = 0; i < length; i++) { \
            const REAL *column = map + columns[i] * POOLING_REGION_LANES; \
            pooling_piece_double_t line[POOLING_REGION_SUMS] = {{0}}; \
            for (s = 0; s < height; s++) { \
                const REAL *at = column + rows[s] * width * POOLING_REGION_LANES; \
                for (p = 0; p < POOLING_REGION_SUMS; p++) { \
                    pooling_piece_double_t value; \
                    pooling_widen_##REAL(&value, at + p * POOLING_REGION_DOUBLES); \
                    line[p] += below[s] * value; \
                } \
            } \
            for (p = 0; p < POOLING_REGION_SUMS; p++) sums[p] += right[i] * line[p]; \
        } \
        memcpy(made, sums, sizeof sums); \
    } \
    \
    /* The greatest of the pixels between these rows and columns, of which there are some. */ \
    static __attribute__((noinline)) void pooling_greatest_of_lanes_##REAL( \
        double *made, const REAL *map, ptrdiff_t width, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t left, \
        ptrdiff_t right \
    ) { \
        const REAL *line = map + (top * width + left) * POOLING_REGION_LANES; \
        const ptrdiff_t step = width * POOLING_REGION_LANES, n = (right - left) * POOLING_REGION_LANES; \
        enum { PIECES = POOLING_REGION_LANES * sizeof(REAL) / POOLING_REGION_BYTES }; \
        pooling_piece_##REAL##_t best[PIECES]; \
        pooling_marks_##REAL##_t missing[PIECES] = {{0}}; \
        REAL found[POOLING_REGION_LANES]; \
        ptrdiff_t y, x; \
        int c, p; \
        memcpy(best, line, sizeof best); \
        for (y = top; y < bottom; y++, line += step) \
            for (x = 0; x < n; x += POOLING_REGION_LANES) \
                for (p = 0; p < PIECES; p++) { \
                    pooling_piece_##REAL##_t value; \
                    pooling_marks_##REAL##_t taken; \
                    memcpy(&value, line + x + p * (ptrdiff_t) (POOLING_REGION_BYTES / sizeof(REAL)), sizeof value); \
                    missing[p] |= value != value; \
                    taken = value > best[p]; \
                    best[p] = (pooling_piece_##REAL##_t) ( \
                        (taken & (pooling_marks_##REAL##_t) value) | (~taken & (pooling_marks_##REAL##_t) best[p])); \
                } \
        /* All bits set are a NaN. */ \
        for (p = 0; p < PIECES; p++) \
            best[p] = (pooling_piece_##REAL##_t) ((pooling_marks_##REAL##_t) best[p] | missing[p]); \
        memcpy(found, best, sizeof found); \
        for (c = 0; c < POOLING_REGION_LANES; c++) made[c] = found[c]; \
    }

#else
#define POOLING_REGION_LANES 0

/* Never called. */
#define POOLING_REGION_LANES_OF(REAL) \
    static void pooling_lay_lanes_##REAL( \
        REAL *dst, const REAL *src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t lanes \
    ) {} \
    static void pooling_mean_of_lanes_##REAL( \
        double *made, const REAL *map, ptrdiff_t width, const int64_t *rows, const double *below, ptrdiff_t height, \
        const int64_t *columns, const double *right, ptrdiff_t length \
    ) {} \
    static void pooling_greatest_of_lanes_##REAL( \
        double *made, const REAL *map, ptrdiff_t width, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t left, \
        ptrdiff_t right \
    ) {}
#endif

POOLING_REGION_LANES_OF(float)
POOLING_REGION_LANES_OF(double)

#endif
