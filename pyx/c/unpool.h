/* Gradients of unpooling by windows of two cells along a row, one behind another: an index says which of the two it
 * means, so that nothing is looked up in memory and rows are made of whole vectors. */
#ifndef POOLING_UNPOOL_H
#define POOLING_UNPOOL_H

#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define POOLING_PAIRS_WITHIN static inline __attribute__((always_inline))
#define POOLING_PAIRS_ALONE static __attribute__((noinline))
#else
#define POOLING_PAIRS_WITHIN static inline
#define POOLING_PAIRS_ALONE static
#endif

/* Most lines of such a window: of more, cells are marked faster than lines are compared. */
#define POOLING_PAIR_LINES 2

/* Windows that `pooling_fetch_vectors` makes of n, and whether each of their indices lies in a line of its window. */
#define POOLING_PAIRS_NONE(BITS) \
    POOLING_PAIRS_WITHIN ptrdiff_t pooling_fetch_vectors##BITS( \
        uint##BITS##_t *dst, const uint##BITS##_t *src, const int64_t *index, const uint32_t *lines, const int count, \
        ptrdiff_t n, int *strays \
    ) { \
        return 0; \
    }

POOLING_PAIRS_NONE(8)
POOLING_PAIRS_NONE(16)
POOLING_PAIRS_NONE(64)
#if defined(__AVX2__)
/* Eight windows at a time. Lower halves of indices, and left and right cells, are taken out of two vectors in one order
 * of their own, 0 1 4 5 2 3 6 7, which is put right in the end. */
POOLING_PAIRS_WITHIN ptrdiff_t pooling_fetch_vectors32(
    uint32_t *dst, const uint32_t *src, const int64_t *index, const uint32_t *lines, const int count, ptrdiff_t n,
    int *strays
) {
    __m256i first = _mm256_setr_epi32(0, 2, 8, 10, 4, 6, 12, 14), inside = _mm256_set1_epi32(-1);
    __m256i high = _mm256_setzero_si256(), line[POOLING_PAIR_LINES];
    ptrdiff_t x;
    int i;
    for (i = 0; i < count; i++) line[i] = _mm256_set1_epi32((int) lines[i]);
    for (x = 0; x + 8 <= n; x += 8) {
        const __m256 a = _mm256_loadu_ps((const float *) (index + x));
        const __m256 b = _mm256_loadu_ps((const float *) (index + x + 4));
        const __m256i cell = _mm256_sub_epi32(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), first);
        __m256i within = _mm256_setzero_si256();
        __m256 found = _mm256_setzero_ps();
        high = _mm256_or_si256(high, _mm256_castps_si256(_mm256_or_ps(a, b)));
        for (i = 0; i < count; i++) {
            const float *from = (const float *) (src + lines[i] + 2 * x);
            const __m256 c = _mm256_loadu_ps(from), d = _mm256_loadu_ps(from + 8);
            const __m256i left = _mm256_cmpeq_epi32(cell, line[i]);
            const __m256i right = _mm256_cmpeq_epi32(_mm256_sub_epi32(cell, _mm256_set1_epi32(1)), line[i]);
            found = _mm256_blendv_ps(found, _mm256_shuffle_ps(c, d, 0x88), _mm256_castsi256_ps(left));
            found = _mm256_blendv_ps(found, _mm256_shuffle_ps(c, d, 0xdd), _mm256_castsi256_ps(right));
            within = _mm256_or_si256(within, _mm256_or_si256(left, right));
        }
        inside = _mm256_and_si256(inside, within);
        first = _mm256_add_epi32(first, _mm256_set1_epi32(16));
        _mm256_storeu_pd((double *) (dst + x), _mm256_permute4x64_pd(_mm256_castps_pd(found), 0xd8));
    }
    high = _mm256_srli_epi64(high, 31);
    *strays |= !_mm256_testz_si256(high, high) | (_mm256_movemask_epi8(inside) != -1);
    return x;
}
#else
POOLING_PAIRS_NONE(32)
#endif

/* Elements of so many bits. `index` holds one cell of a map for each of n windows, the first of which begins at the
 * cells `lines[i]` of the map; cells are fewer than 2**31. Returns whether an index lies in no line of its window,
 * and then has written what is of no use. */
#define POOLING_PAIRS(BITS) \
    POOLING_PAIRS_WITHIN int pooling_fetch_lines##BITS( \
        uint##BITS##_t *restrict dst, const uint##BITS##_t *src, const int64_t *index, const uint32_t *lines, \
        const int count, ptrdiff_t n \
    ) { \
        uint32_t strays = 0, line[POOLING_PAIR_LINES]; \
        uint64_t bits = 0; \
        ptrdiff_t x; \
        int i, many = 0; \
        for (i = 0; i < count; i++) line[i] = lines[i]; \
        for (x = pooling_fetch_vectors##BITS(dst, src, index, lines, count, n, &many); x < n; x++) { \
            const uint32_t cell = (uint32_t) index[x] - 2 * (uint32_t) x; \
            uint32_t inside = 0; \
            uint##BITS##_t found = 0; \
            for (i = 0; i < count; i++) { \
                const uint##BITS##_t left = src[line[i] + 2 * x], right = src[line[i] + 2 * x + 1]; \
                const uint32_t is_left = cell == line[i], is_right = cell == line[i] + 1; \
                inside |= is_left | is_right; \
                found = is_left ? left : found; \
                found = is_right ? right : found; \
            } \
            bits |= (uint64_t) index[x]; \
            strays |= inside ^ 1; \
            dst[x] = found; \
        } \
        return many | (strays != 0) | (bits >> 31 != 0); \
    } \
    \
    POOLING_PAIRS_ALONE int pooling_fetch_pairs##BITS( \
        uint##BITS##_t *dst, const uint##BITS##_t *src, const int64_t *index, const uint32_t *lines, int count, \
        ptrdiff_t n \
    ) { \
        if (count == 1) return pooling_fetch_lines##BITS(dst, src, index, lines, 1, n); \
        return pooling_fetch_lines##BITS(dst, src, index, lines, 2, n); \
    }

POOLING_PAIRS(8)
POOLING_PAIRS(16)
POOLING_PAIRS(32)
POOLING_PAIRS(64)
#undef POOLING_PAIRS

#endif
