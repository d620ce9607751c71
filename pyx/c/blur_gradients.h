/* Gradients of binomial blurs of 3 taps that go two cells further, over planes of floats: the cell under the middle of
 * a window has its share of one gradient, the cell between two windows its shares of two; so a row of gradients makes
 * the row under it, and two rows that between them.
 *
 * What is made of one or two gradients needs no double: products with a power of two are exact where no number is so
 * small or so large that pooling_plain_row says no, and the one sum that remains is rounded as it would be from double.
 * What is made of four is summed in double. So results have the bits of those of blurs.pxi.
 */
#ifndef POOLING_BLUR_GRADIENTS_H
#define POOLING_BLUR_GRADIENTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "binomials.h"

#if POOLING_BINOMIALS
#define POOLING_BLUR_GRADIENTS 1

typedef float pooling_eight_floats_t __attribute__((vector_size(32)));
typedef int32_t pooling_eight_places_t __attribute__((vector_size(32)));

#if defined(__clang__)
#define POOLING_PAIRS_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define POOLING_PAIRS_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define POOLING_PAIRS_LOW(a, b) __builtin_shuffle(a, b, (pooling_eight_places_t) {0, 8, 1, 9, 2, 10, 3, 11})
#define POOLING_PAIRS_HIGH(a, b) __builtin_shuffle(a, b, (pooling_eight_places_t) {4, 12, 5, 13, 6, 14, 7, 15})
#endif

static inline __attribute__((always_inline)) pooling_eight_floats_t pooling_eight_at(const float *src) {
    pooling_eight_floats_t v;
    memcpy(&v, src, sizeof(v));
    return v;
}

/* Whether each of n numbers is zero, or of a magnitude from 2**-100 to below 2**120. */
static __attribute__((noinline)) int pooling_plain_row(const float *src, ptrdiff_t n) {
    const int32_t low = (127 - 100) << 23, high = (127 + 120) << 23;
    pooling_eight_places_t bad = {0};
    ptrdiff_t x;
    int i, found = 0;
    for (x = 0; x + 8 <= n; x += 8) {
        pooling_eight_places_t v;
        memcpy(&v, src + x, sizeof(v));
        v &= 0x7fffffff;
        bad |= (v >= high) | ((v < low) & (v > 0));
    }
    for (; x < n; x++) {
        int32_t v;
        memcpy(&v, src + x, sizeof(v));
        v &= 0x7fffffff;
        found |= v >= high || (v < low && v > 0);
    }
    for (i = 0; i < 8; i++)
        found |= bad[i] != 0;
    return !found;
}

static inline __attribute__((always_inline)) void pooling_write_pairs(
    float *dst, pooling_eight_floats_t under, pooling_eight_floats_t between
) {
    const pooling_eight_floats_t low = POOLING_PAIRS_LOW(under, between);
    const pooling_eight_floats_t high = POOLING_PAIRS_HIGH(under, between);
    memcpy(dst, &low, sizeof(low));
    memcpy(dst + 8, &high, sizeof(high));
}

static inline __attribute__((always_inline)) pooling_four_floats_t pooling_four_between(const float *a, const float *b) {
    const pooling_four_doubles_t zeros = {0, 0, 0, 0};
    const pooling_four_doubles_t share = {0.0625, 0.0625, 0.0625, 0.0625};
    pooling_four_doubles_t total = pooling_four_wide(a) + pooling_four_wide(b);
    total += pooling_four_wide(a + 1) + pooling_four_wide(b + 1);
    total = POOLING_ADD_EXACT(share, total, zeros);
    return __builtin_convertvector(total, pooling_four_floats_t);
}

/* Of two rows of gradients n + 1 long, the shares of 2 * n cells of the row under the first, and of that between
   them; n is 8 or more. */
static __attribute__((noinline)) void pooling_blur_gradients(
    float *under, float *between, const float *a, const float *b, ptrdiff_t n
) {
    const pooling_eight_floats_t zeros = {0};
    ptrdiff_t x;
    for (x = 0; x < n; x += 8) {
        /* The last ones are made again with those before them. */
        const ptrdiff_t at = x < n - 8 ? x : n - 8;
        const pooling_eight_floats_t here = pooling_eight_at(a + at), below = pooling_eight_at(b + at);
        const pooling_four_floats_t low = pooling_four_between(a + at, b + at);
        const pooling_four_floats_t high = pooling_four_between(a + at + 4, b + at + 4);
        pooling_eight_floats_t both;
        /* A sum that begins with zero is never -0. */
        pooling_write_pairs(under + 2 * at, here * 0.25f + zeros, (here + pooling_eight_at(a + at + 1)) * 0.125f + zeros);
#if defined(__FMA__) && defined(__AVX__)
        /* gcc 12 takes halves through memory. */
        both = (pooling_eight_floats_t) _mm256_insertf128_ps(_mm256_castps128_ps256((__m128) low), (__m128) high, 1);
#else
        memcpy(&both, &low, sizeof(low));
        memcpy((char *) &both + sizeof(low), &high, sizeof(high));
#endif
        pooling_write_pairs(between + 2 * at, (here + below) * 0.125f + zeros, both);
    }
}

#else
#define POOLING_BLUR_GRADIENTS 0
#define pooling_plain_row(src, n) 0
#define pooling_blur_gradients(under, between, a, b, n) ((void) 0)
#endif
#endif
