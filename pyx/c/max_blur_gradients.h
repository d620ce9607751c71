/* Gradients of blurred maxima of 2 x 2 windows, one cell apart, over planes of floats without NaN: that of each maximum
 * in double, which goes to the first of the four cells that hold it, and one rounding at the end.
 *
 * A row of windows is compared in vectors. What its windows send down is kept in double until the next row of windows
 * has been; so each cell adds up what the windows above it and then those below it send, as nests of scatter.pxi do.
 */
#ifndef POOLING_MAX_BLUR_GRADIENTS_H
#define POOLING_MAX_BLUR_GRADIENTS_H

#include "blur_gradients.h"

#if POOLING_BLUR_GRADIENTS
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef int32_t pooling_four_signs_t __attribute__((vector_size(16)));

#if defined(__clang__)
#define POOLING_DOUBLES_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define POOLING_DOUBLES_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define POOLING_DOUBLES_NEXT(a, b) __builtin_shufflevector(a, b, 3, 4, 5, 6)
#else
#define POOLING_DOUBLES_LOW(a, b) __builtin_shuffle(a, b, (pooling_four_places_t) {0, 4, 1, 5})
#define POOLING_DOUBLES_HIGH(a, b) __builtin_shuffle(a, b, (pooling_four_places_t) {2, 6, 3, 7})
#define POOLING_DOUBLES_NEXT(a, b) __builtin_shuffle(a, b, (pooling_four_places_t) {3, 4, 5, 6})
#endif

static inline __attribute__((always_inline)) pooling_four_floats_t pooling_four_floats_at(const float *src) {
    pooling_four_floats_t v;
    memcpy(&v, src, sizeof(v));
    return v;
}

/* The greater of two numbers that are not NaN; of zeros either. */
static inline __attribute__((always_inline)) pooling_four_floats_t pooling_four_greater(
    pooling_four_floats_t a, pooling_four_floats_t b
) {
#if defined(__SSE2__)
    return (pooling_four_floats_t) _mm_max_ps((__m128) a, (__m128) b);
#else
    const pooling_four_signs_t second = b > a;
    return (pooling_four_floats_t) (((pooling_four_signs_t) b & second) | ((pooling_four_signs_t) a & ~second));
#endif
}

static inline __attribute__((always_inline)) pooling_four_doubles_t pooling_four_where(
    pooling_four_places_t mask, pooling_four_doubles_t v
) {
    return (pooling_four_doubles_t) (mask & (pooling_four_places_t) v);
}

static inline __attribute__((always_inline)) pooling_four_places_t pooling_four_masks(pooling_four_signs_t signs) {
#if defined(__AVX2__)
    return (pooling_four_places_t) _mm256_cvtepi32_epi64((__m128i) signs);
#else
    return __builtin_convertvector(signs, pooling_four_places_t);
#endif
}

/* Whether one of n numbers is NaN, or if `infinite` also not finite. */
static __attribute__((noinline)) int pooling_has_odd(const float *src, ptrdiff_t n, int infinite) {
    const float factor = infinite ? 0 : 1;
    pooling_eight_places_t odd = {0};
    ptrdiff_t x;
    int i, found = 0;
    for (x = 0; x + 8 <= n; x += 8) {
        const pooling_eight_floats_t v = pooling_eight_at(src + x) * factor;
        odd |= v != v;
    }
    for (; x < n; x++) {
        const float v = src[x] * factor;
        found |= v != v;
    }
    for (i = 0; i < 8; i++)
        found |= odd[i] != 0;
    return found;
}

/* Add n weighted numbers to sums. */
static __attribute__((noinline)) void pooling_add_weighted(double *sums, const float *src, double weight, ptrdiff_t n) {
    ptrdiff_t x;
    for (x = 0; x < n; x++)
        sums[x] += weight * src[x];
}

/* Of n + 1 sums of gradients, the shares of 2 * n cells of a row; n is 4 or more. */
static __attribute__((noinline)) void pooling_share_sums(double *dst, const double *sums, ptrdiff_t n) {
    ptrdiff_t x;
    for (x = 0; x < n; x += 4) {
        const ptrdiff_t at = x < n - 4 ? x : n - 4;
        const pooling_four_doubles_t here = pooling_four_at(sums + at), next = pooling_four_at(sums + at + 1);
        const pooling_four_doubles_t under = 0.5 * here, between = 0.25 * here + 0.25 * next;
        const pooling_four_doubles_t low = POOLING_DOUBLES_LOW(under, between);
        const pooling_four_doubles_t high = POOLING_DOUBLES_HIGH(under, between);
        memcpy(dst + 2 * at, &low, sizeof(low));
        memcpy(dst + 2 * at + 4, &high, sizeof(high));
    }
}

/* Four windows of two rows: what they send to the right is carried on, what they send down kept. */
static inline __attribute__((always_inline)) void pooling_send_four(
    float *dst, const float *upper, const float *lower, const double *gradients, double *kept,
    pooling_four_doubles_t carried[2]
) {
    const pooling_four_floats_t a = pooling_four_floats_at(upper), b = pooling_four_floats_at(upper + 1);
    const pooling_four_floats_t c = pooling_four_floats_at(lower), d = pooling_four_floats_at(lower + 1);
    const pooling_four_places_t is_down = pooling_four_masks(pooling_four_greater(c, d) > pooling_four_greater(a, b));
    const pooling_four_places_t is_b = pooling_four_masks(b > a), is_d = pooling_four_masks(d > c);
    const pooling_four_doubles_t gradient = pooling_four_at(gradients);
    const pooling_four_doubles_t down = pooling_four_where(is_down, gradient);
    const pooling_four_doubles_t up = pooling_four_where(~is_down, gradient);
    const pooling_four_doubles_t to_b = pooling_four_where(is_b, up), to_d = pooling_four_where(is_d, down);
    const pooling_four_doubles_t total =
        pooling_four_at(kept) + POOLING_DOUBLES_NEXT(carried[0], to_b) + pooling_four_where(~is_b, up);
    const pooling_four_doubles_t below = POOLING_DOUBLES_NEXT(carried[1], to_d) + pooling_four_where(~is_d, down);
    const pooling_four_floats_t made = __builtin_convertvector(total, pooling_four_floats_t);
    carried[0] = to_b;
    carried[1] = to_d;
    memcpy(kept, &below, sizeof(below));
    memcpy(dst, &made, sizeof(made));
}

/* Make a row of n gradients of which nothing is missing but what windows of it and the next row send, whose gradients
   end in zeros; `kept` has three places more. */
static __attribute__((noinline)) void pooling_send_maxima(
    float *dst, const float *upper, const float *lower, const double *gradients, double *kept, ptrdiff_t n
) {
    pooling_four_doubles_t carried[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    float tails[2][5] = {{0}, {0}}, made[4];
    ptrdiff_t x;
    for (x = 0; x + 5 <= n; x += 4)
        pooling_send_four(dst + x, upper + x, lower + x, gradients + x, kept + x, carried);
    /* One to four are left, and behind them nothing that could be read. */
    memcpy(tails[0], upper + x, (n - x) * sizeof(float));
    memcpy(tails[1], lower + x, (n - x) * sizeof(float));
    pooling_send_four(made, tails[0], tails[1], gradients + x, kept + x, carried);
    memcpy(dst + x, made, (n - x) * sizeof(float));
}

#else
#define pooling_has_odd(src, n, infinite) 0
#define pooling_add_weighted(sums, src, weight, n) ((void) 0)
#define pooling_share_sums(dst, sums, n) ((void) 0)
#define pooling_send_maxima(dst, upper, lower, gradients, kept, n) ((void) 0)
#endif
#endif
