/* Windows down the columns of a strip, a few vectors of columns at a time, whose partial results stay in registers.
 *
 * The order is that of `windows` in across.pxd: of each block of rows the ends are combined from the last row upwards,
 * the beginnings of the next block from its first row downwards, and a window is an end and a beginning.
 */
#ifndef POOLING_WINDOWS_H
#define POOLING_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#define POOLING_WINDOWS_IN_REGISTERS 1

/* As `combine` of reducers.pxd, with its numbers of reducers. A maximum of x86 is its second operand where one is NaN
   or both are equal. */
static inline __attribute__((always_inline)) __m256 pooling_combine_float(__m256 a, __m256 b, const int reducer) {
    __m256 best = reducer < 2 ? _mm256_max_ps(b, a) : _mm256_min_ps(b, a);
    __m256 tested = reducer % 2 ? a : b;
    return _mm256_blendv_ps(best, b, _mm256_cmp_ps(tested, tested, _CMP_UNORD_Q));
}

static inline __attribute__((always_inline)) __m256d pooling_combine_double(__m256d a, __m256d b, const int reducer) {
    __m256d best, tested = reducer % 2 ? a : b;
    if (reducer == 4)
        return _mm256_add_pd(a, b);
    best = reducer < 2 ? _mm256_max_pd(b, a) : _mm256_min_pd(b, a);
    return _mm256_blendv_pd(best, b, _mm256_cmp_pd(tested, tested, _CMP_UNORD_Q));
}

/* Integers, and the keys of halves. */
#define POOLING_COMBINE_WHOLE(KIND, MOST, LEAST)                                                                       \
static inline __attribute__((always_inline)) __m256i pooling_combine_##KIND(__m256i a, __m256i b, const int reducer) { \
    return reducer < 2 ? MOST(a, b) : LEAST(a, b);                                                                     \
}
POOLING_COMBINE_WHOLE(int8, _mm256_max_epi8, _mm256_min_epi8)
POOLING_COMBINE_WHOLE(uint8, _mm256_max_epu8, _mm256_min_epu8)
POOLING_COMBINE_WHOLE(int16, _mm256_max_epi16, _mm256_min_epi16)
POOLING_COMBINE_WHOLE(uint16, _mm256_max_epu16, _mm256_min_epu16)
POOLING_COMBINE_WHOLE(int32, _mm256_max_epi32, _mm256_min_epi32)
POOLING_COMBINE_WHOLE(uint32, _mm256_max_epu32, _mm256_min_epu32)

#define pooling_load_whole(from) _mm256_loadu_si256((const __m256i *) (from))
#define pooling_store_whole(to, v) _mm256_storeu_si256((__m256i *) (to), v)
#define pooling_load_int8 pooling_load_whole
#define pooling_load_uint8 pooling_load_whole
#define pooling_load_int16 pooling_load_whole
#define pooling_load_uint16 pooling_load_whole
#define pooling_load_int32 pooling_load_whole
#define pooling_load_uint32 pooling_load_whole
#define pooling_first_int8(v) (v)
#define pooling_first_uint8(v) (v)
#define pooling_first_int16(v) (v)
#define pooling_first_uint16(v) (v)
#define pooling_first_int32(v) (v)
#define pooling_first_uint32(v) (v)

#define pooling_combine_wide pooling_combine_double
#define pooling_load_float _mm256_loadu_ps
#define pooling_load_double _mm256_loadu_pd
#define pooling_load_wide(from) _mm256_cvtps_pd(_mm_loadu_ps(from))
/* Of a sum in a wider type, the first row is added to zero. */
#define pooling_first_float(v) (v)
#define pooling_first_double(v) (v)
#define pooling_first_wide(v) _mm256_add_pd(_mm256_setzero_pd(), v)

#define POOLING_WINDOWS(KIND, STORED, VALUE, VECTOR, LANES, LOAD_VALUE, STORE_VALUE)                                   \
static inline __attribute__((always_inline)) void pooling_columns_##KIND(                                              \
    VALUE *dst, ptrdiff_t dst_row, const void **rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t x, VALUE *ends,     \
    const int reducer, const int vectors                                                                               \
) {                                                                                                                    \
    VECTOR sums[4];                                                                                                    \
    const STORED *row = (const STORED *) rows[taps - 1] + x;                                                           \
    ptrdiff_t i;                                                                                                       \
    int v;                                                                                                             \
    for (v = 0; v < vectors; v++) {                                                                                    \
        sums[v] = pooling_first_##KIND(pooling_load_##KIND(row + v * LANES));                                          \
        STORE_VALUE(ends + ((taps - 1) * vectors + v) * LANES, sums[v]);                                               \
    }                                                                                                                  \
    for (i = taps - 2; i >= 0; i--) {                                                                                  \
        row = (const STORED *) rows[i] + x;                                                                            \
        for (v = 0; v < vectors; v++) {                                                                                \
            sums[v] = pooling_combine_##KIND(pooling_load_##KIND(row + v * LANES), sums[v], reducer);                  \
            STORE_VALUE(ends + (i * vectors + v) * LANES, sums[v]);                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    dst += x;                                                                                                          \
    for (v = 0; v < vectors; v++)                                                                                      \
        STORE_VALUE(dst + v * LANES, sums[v]);                                                                         \
    for (i = 1; i < outputs; i++) {                                                                                    \
        row = (const STORED *) rows[taps - 1 + i] + x;                                                                 \
        dst += dst_row;                                                                                                \
        for (v = 0; v < vectors; v++) {                                                                                \
            VECTOR value = pooling_load_##KIND(row + v * LANES);                                                       \
            sums[v] = i == 1 ? pooling_first_##KIND(value) : pooling_combine_##KIND(sums[v], value, reducer);          \
            STORE_VALUE(                                                                                               \
                dst + v * LANES,                                                                                       \
                pooling_combine_##KIND(LOAD_VALUE(ends + (i * vectors + v) * LANES), sums[v], reducer));               \
        }                                                                                                              \
    }                                                                                                                  \
}                                                                                                                      \
                                                                                                                       \
/* Of n columns, as many as a vector has at least; `ends` has room for 64 values a tap. */                             \
static inline __attribute__((always_inline)) void pooling_windows_##KIND(                                              \
    VALUE *dst, ptrdiff_t dst_row, const void **rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, VALUE *ends,     \
    const int reducer                                                                                                  \
) {                                                                                                                    \
    enum { MANY = 4 * LANES <= 64 ? 4 : 64 / LANES };                                                                  \
    ptrdiff_t x = 0;                                                                                                   \
    while (x < n) {                                                                                                    \
        if (x + MANY * LANES <= n) {                                                                                   \
            pooling_columns_##KIND(dst, dst_row, rows, taps, outputs, x, ends, reducer, MANY);                         \
            x += MANY * LANES;                                                                                         \
        } else {                                                                                                       \
            x = x + LANES <= n ? x : n - LANES;                                                                        \
            pooling_columns_##KIND(dst, dst_row, rows, taps, outputs, x, ends, reducer, 1);                            \
            x += LANES;                                                                                                \
        }                                                                                                              \
    }                                                                                                                  \
}

POOLING_WINDOWS(float, float, float, __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps)
POOLING_WINDOWS(double, double, double, __m256d, 4, _mm256_loadu_pd, _mm256_storeu_pd)
POOLING_WINDOWS(wide, float, double, __m256d, 4, _mm256_loadu_pd, _mm256_storeu_pd)
POOLING_WINDOWS(int8, int8_t, int8_t, __m256i, 32, pooling_load_whole, pooling_store_whole)
POOLING_WINDOWS(uint8, uint8_t, uint8_t, __m256i, 32, pooling_load_whole, pooling_store_whole)
POOLING_WINDOWS(int16, int16_t, int16_t, __m256i, 16, pooling_load_whole, pooling_store_whole)
POOLING_WINDOWS(uint16, uint16_t, uint16_t, __m256i, 16, pooling_load_whole, pooling_store_whole)
POOLING_WINDOWS(int32, int32_t, int32_t, __m256i, 8, pooling_load_whole, pooling_store_whole)
POOLING_WINDOWS(uint32, uint32_t, uint32_t, __m256i, 8, pooling_load_whole, pooling_store_whole)

#else
#define POOLING_WINDOWS_IN_REGISTERS 0
#define pooling_windows_float(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_double(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_wide(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_int8(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_uint8(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_int16(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_uint16(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_int32(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#define pooling_windows_uint32(dst, dst_row, rows, taps, outputs, n, ends, reducer) ((void) 0)
#endif

#endif
