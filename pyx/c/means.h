/* Means of long windows of float, down the columns of a strip: sums in double, in the order of `windows` of across.pxd,
 * each multiplied by a factor and rounded to float once. Rows of floats are half as much to flip and to keep as rows of
 * doubles are, which is most of the time that windows of 100 rows take.
 */
#ifndef POOLING_MEANS_H
#define POOLING_MEANS_H

#include <math.h>
#include <stddef.h>
#include "windows.h"

#if POOLING_WINDOWS_IN_REGISTERS
static inline __attribute__((always_inline)) void pooling_round_means(float *to, __m256d sums, __m256d factor) {
    /* Every NaN becomes the same one. */
    const __m256d means = _mm256_mul_pd(sums, factor);
    const __m256d nan = _mm256_set1_pd(NAN);
    _mm_storeu_ps(to, _mm256_cvtpd_ps(_mm256_blendv_pd(means, nan, _mm256_cmp_pd(means, means, _CMP_UNORD_Q))));
}

static inline __attribute__((always_inline)) void pooling_mean_window_columns(
    float *dst, ptrdiff_t dst_row, const void **rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t x, double *ends,
    __m256d factor, const int vectors
) {
    __m256d sums[4];
    const float *row = (const float *) rows[taps - 1] + x;
    ptrdiff_t i;
    int v;
    for (v = 0; v < vectors; v++) {
        sums[v] = pooling_first_wide(pooling_load_wide(row + v * 4));
        _mm256_storeu_pd(ends + ((taps - 1) * vectors + v) * 4, sums[v]);
    }
    for (i = taps - 2; i >= 0; i--) {
        row = (const float *) rows[i] + x;
        for (v = 0; v < vectors; v++) {
            sums[v] = _mm256_add_pd(pooling_load_wide(row + v * 4), sums[v]);
            _mm256_storeu_pd(ends + (i * vectors + v) * 4, sums[v]);
        }
    }
    dst += x;
    for (v = 0; v < vectors; v++) {
        pooling_round_means(dst + v * 4, sums[v], factor);
        sums[v] = _mm256_setzero_pd();
    }
    for (i = 1; i < outputs; i++) {
        row = (const float *) rows[taps - 1 + i] + x;
        dst += dst_row;
        for (v = 0; v < vectors; v++) {
            sums[v] = _mm256_add_pd(sums[v], pooling_load_wide(row + v * 4));
            pooling_round_means(
                dst + v * 4, _mm256_add_pd(_mm256_loadu_pd(ends + (i * vectors + v) * 4), sums[v]), factor);
        }
    }
}
#endif

/* The same of any number of columns. */
static inline void pooling_mean_window_block(
    float *dst, ptrdiff_t dst_row, const void **rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t x, ptrdiff_t n,
    double *ends, double factor
) {
    double sums[16];
    ptrdiff_t i, c;
    for (c = 0; c < n; c++)
        sums[c] = 0;
    for (i = taps - 1; i >= 0; i--)
        for (c = 0; c < n; c++) {
            sums[c] += ((const float *) rows[i])[x + c];
            ends[i * 16 + c] = sums[c];
        }
    for (c = 0; c < n; c++)
        sums[c] = 0;
    for (i = 0; i < outputs; i++)
        for (c = 0; c < n; c++) {
            double mean;
            if (i)
                sums[c] += ((const float *) rows[taps - 1 + i])[x + c];
            mean = (i ? ends[i * 16 + c] + sums[c] : ends[c]) * factor;
            dst[i * dst_row + x + c] = (float) (mean == mean ? mean : (double) NAN);
        }
}

/* As `windows`; `ends` has room for 16 values a tap. */
static void pooling_mean_windows(
    float *dst, ptrdiff_t dst_row, const void **rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, double *ends,
    double factor
) {
    ptrdiff_t x = 0;
#if POOLING_WINDOWS_IN_REGISTERS
    const __m256d factors = _mm256_set1_pd(factor);
    for (; x + 16 <= n; x += 16)
        pooling_mean_window_columns(dst, dst_row, rows, taps, outputs, x, ends, factors, 4);
    for (; x + 4 <= n; x += 4)
        pooling_mean_window_columns(dst, dst_row, rows, taps, outputs, x, ends, factors, 1);
#else
    for (; x + 16 <= n; x += 16)
        pooling_mean_window_block(dst, dst_row, rows, taps, outputs, x, 16, ends, factor);
#endif
    if (x < n)
        pooling_mean_window_block(dst, dst_row, rows, taps, outputs, x, n - x, ends, factor);
}

#endif
