/* Windows of a single element: every second one of a row, or all of it, with one NaN for all where means are made. */
#ifndef POOLING_SINGLES_H
#define POOLING_SINGLES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "types.h"
#if defined(__AVX2__)
    #include <immintrin.h>
#endif

/* What a NaN is known by: bits without the sign above those of infinity. Elements that are none have 0. */
typedef struct { uint64_t infinity, nan; } pooling_nans_t;

#define POOLING_SINGLES(BITS, ELEMENT)                                                                                 \
static inline ELEMENT pooling_single_##BITS(ELEMENT v, ELEMENT infinity, ELEMENT nan) {                                \
    return infinity && (ELEMENT) (v & (ELEMENT) ((ELEMENT) -1 >> 1)) > infinity ? nan : v;                             \
}                                                                                                                      \
                                                                                                                       \
static void pooling_singles_##BITS(                                                                                    \
    ELEMENT *dst, const ELEMENT *src, ptrdiff_t n, ptrdiff_t step, pooling_nans_t nans                                 \
) {                                                                                                                    \
    const ELEMENT infinity = (ELEMENT) nans.infinity, nan = (ELEMENT) nans.nan;                                        \
    ptrdiff_t x;                                                                                                       \
    if (step == 1 && !infinity)                                                                                        \
        memcpy(dst, src, (size_t) n * sizeof(ELEMENT));                                                                \
    else if (step == 1)                                                                                                \
        for (x = 0; x < n; x++) dst[x] = pooling_single_##BITS(src[x], infinity, nan);                                 \
    else                                                                                                               \
        for (x = 0; x < n; x++) dst[x] = pooling_single_##BITS(src[x * step], infinity, nan);                          \
}

POOLING_SINGLES(8, uint8_t)
POOLING_SINGLES(16, uint16_t)
POOLING_SINGLES(32, uint32_t)
POOLING_SINGLES(64, uint64_t)

/* Rows whose every second element is taken in whole vectors: 32 bytes may be written from each row's last vector on,
   and 64 bytes read from there, as far as `dst_end` and `src_end`. Returns how many rows were made. */
#if defined(__AVX2__)
static inline __attribute__((always_inline)) ptrdiff_t pooling_second_of(
    char *dst, ptrdiff_t dst_row, const char *dst_end, const char *src, ptrdiff_t src_row, const char *src_end,
    ptrdiff_t n, ptrdiff_t rows, const int size, const int looks, pooling_nans_t nans, ptrdiff_t ahead
) {
    const ptrdiff_t vectors = (n * size + 31) / 32;
    const __m256i infinity = size == 2 ? _mm256_set1_epi16((short) nans.infinity)
        : size == 4 ? _mm256_set1_epi32((int) nans.infinity) : _mm256_set1_epi64x((long long) nans.infinity);
    const __m256i nan = size == 2 ? _mm256_set1_epi16((short) nans.nan)
        : size == 4 ? _mm256_set1_epi32((int) nans.nan) : _mm256_set1_epi64x((long long) nans.nan);
    const __m256i low = _mm256_set1_epi32(0xffff);
    ptrdiff_t row, i;
    for (row = 0; row < rows; row++, dst += dst_row, src += src_row) {
        if (dst_end - dst < 32 * vectors || src_end - src < 64 * vectors)
            break;
        for (i = 0; i < 64 * vectors && ahead; i += 64)
            __builtin_prefetch(src + ahead * src_row + i, 0, 2);
        for (i = 0; i < vectors; i++) {
            const __m256i a = _mm256_loadu_si256((const __m256i *) (src + 64 * i));
            const __m256i b = _mm256_loadu_si256((const __m256i *) (src + 64 * i + 32));
            __m256i v, above;
            if (size == 2)
                v = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
            else if (size == 4)
                v = _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
            else
                v = _mm256_unpacklo_epi64(a, b);
            v = _mm256_permute4x64_epi64(v, 0xd8);
            if (looks) {
                if (size == 2)
                    above = _mm256_cmpgt_epi16(_mm256_and_si256(v, _mm256_set1_epi16(0x7fff)), infinity);
                else if (size == 4)
                    above = _mm256_cmpgt_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0x7fffffff)), infinity);
                else
                    above = _mm256_cmpgt_epi64(
                        _mm256_and_si256(v, _mm256_set1_epi64x(0x7fffffffffffffff)), infinity);
                v = _mm256_blendv_epi8(v, nan, above);
            }
            _mm256_storeu_si256((__m256i *) (dst + 32 * i), v);
        }
    }
    return row;
}
#define POOLING_SECOND(size) (nans.infinity \
    ? pooling_second_of(dst, dst_row, dst_end, src, src_row, src_end, n, rows, size, 1, nans, ahead) \
    : pooling_second_of(dst, dst_row, dst_end, src, src_row, src_end, n, rows, size, 0, nans, ahead))
#else
#define POOLING_SECOND(size) ( \
    (void) dst, (void) dst_row, (void) dst_end, (void) src, (void) src_row, (void) src_end, (void) n, (void) rows, \
    (void) nans, (void) ahead, 0)
#endif

static ptrdiff_t pooling_second_singles(
    char *dst, ptrdiff_t dst_row, const char *dst_end, const char *src, ptrdiff_t src_row, const char *src_end,
    ptrdiff_t n, ptrdiff_t rows, ptrdiff_t size, pooling_nans_t nans, ptrdiff_t ahead
) {
    switch (size) {
    case 2: return POOLING_SECOND(2);
    case 4: return POOLING_SECOND(4);
    case 8: return POOLING_SECOND(8);
    default: return 0;
    }
}

#endif
