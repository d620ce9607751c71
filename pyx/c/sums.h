/* Sums of runs of neighbours, in vectors of eight.
 *
 * Of a block of up to 64 elements the vectors are added as a tree, and what is missing of them, -0, changes nothing;
 * four blocks are a tree again, and these groups are added one by one; last the halves, quarters and eighths of the
 * vector. The order is the same for every processor. Eight runs are made together, whose vectors share the last steps.
 */
#ifndef POOLING_SUMS_H
#define POOLING_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "halves.h"
#include "types.h"
#include "widening.h"
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
/* No vector leaves this module, so that no other convention than this compiler's counts. */
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

typedef float pooling_floats_t __attribute__((vector_size(32)));
typedef double pooling_doubles_t __attribute__((vector_size(32)));
typedef uint32_t pooling_words_t __attribute__((vector_size(32)));
typedef uint64_t pooling_long_words_t __attribute__((vector_size(32)));
/* Eight doubles. */
typedef struct { pooling_doubles_t low, high; } pooling_octet_t;

#if defined(__clang__) || __GNUC__ >= 12
#define POOLING_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define POOLING_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (pooling_words_t) {__VA_ARGS__})
#endif

/* All but the last `rest` of eight. */
static const uint32_t pooling_but_last_words[16] = {
    ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint64_t pooling_but_last_long_words[16] = {
    ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, 0, 0, 0, 0, 0, 0, 0, 0};

static inline pooling_floats_t pooling_last_floats(pooling_floats_t v, ptrdiff_t rest) {
    pooling_words_t missing, bits = (pooling_words_t) v;
    memcpy(&missing, pooling_but_last_words + rest, 32);
    return (pooling_floats_t) ((bits & ~missing) | (missing & 0x80000000u));
}

static inline pooling_octet_t pooling_last_doubles(pooling_octet_t v, ptrdiff_t rest) {
    pooling_long_words_t below, above, low = (pooling_long_words_t) v.low, high = (pooling_long_words_t) v.high;
    memcpy(&below, pooling_but_last_long_words + rest, 32);
    memcpy(&above, pooling_but_last_long_words + rest + 4, 32);
    v.low = (pooling_doubles_t) ((low & ~below) | (below & 0x8000000000000000u));
    v.high = (pooling_doubles_t) ((high & ~above) | (above & 0x8000000000000000u));
    return v;
}

static inline pooling_floats_t pooling_eight_float(const float *src) {
    pooling_floats_t v;
    memcpy(&v, src, 32);
    return v;
}

static inline pooling_floats_t pooling_eight_bfloat16(const pooling_bfloat16_t *src) {
#if defined(__AVX2__)
    /* Of a conversion gcc makes two, of four elements each. */
    return (pooling_floats_t) pooling_eight_of_bfloat16(src);
#else
    typedef uint16_t eight_t __attribute__((vector_size(16)));
    eight_t v;
    memcpy(&v, src, 16);
    return (pooling_floats_t) (__builtin_convertvector(v, pooling_words_t) << 16);
#endif
}

static inline pooling_floats_t pooling_eight_float16(const pooling_float16_t *src) {
#if defined(__F16C__)
    return (pooling_floats_t) pooling_eight(src);
#else
    /* As pooling_as_single does it. */
    typedef int16_t eight_t __attribute__((vector_size(16)));
    typedef int32_t signed_words_t __attribute__((vector_size(32)));
    eight_t v;
    signed_words_t bits, large;
    memcpy(&v, src, 16);
    bits = (signed_words_t) ((pooling_words_t) __builtin_convertvector(v, signed_words_t) << 13 & 0x8fffe000u);
    bits = (signed_words_t) ((pooling_floats_t) bits * pooling_as_float(0x77800000));
    large = (bits & 0x7fffffff) >= 0x47800000;
    return (pooling_floats_t) (bits | (large & 0x7f800000));
#endif
}

static inline pooling_octet_t pooling_eight_double(const double *src) {
    pooling_octet_t v;
    memcpy(&v.low, src, 32);
    memcpy(&v.high, src + 4, 32);
    return v;
}

static inline pooling_floats_t pooling_add_floats(pooling_floats_t a, pooling_floats_t b) { return a + b; }

static inline pooling_octet_t pooling_add_octets(pooling_octet_t a, pooling_octet_t b) {
    a.low += b.low;
    a.high += b.high;
    return a;
}

/* Each of eight vectors as one sum: lane i and lane i + 4, of these i and i + 2, and the last two. */
static inline pooling_floats_t pooling_halve_floats(const pooling_floats_t v[8]) {
    pooling_floats_t four[4], two[2];
    int i;
    for (i = 0; i < 4; i++)
        four[i] = POOLING_SHUFFLE(v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11)
            + POOLING_SHUFFLE(v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    for (i = 0; i < 2; i++)
        two[i] = POOLING_SHUFFLE(four[2 * i], four[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13)
            + POOLING_SHUFFLE(four[2 * i], four[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return POOLING_SHUFFLE(two[0], two[1], 0, 2, 8, 10, 4, 6, 12, 14)
        + POOLING_SHUFFLE(two[0], two[1], 1, 3, 9, 11, 5, 7, 13, 15);
}

static inline double pooling_halve_octet(pooling_octet_t v) {
    pooling_doubles_t four = v.low + v.high;
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static inline pooling_octet_t pooling_octet_of(pooling_floats_t v) {
    pooling_four_floats_t half[2];
    pooling_octet_t wide;
    memcpy(half, &v, 32);
    wide.low = pooling_four_doubles_of(half[0]);
    wide.high = pooling_four_doubles_of(half[1]);
    return wide;
}

/* The vectors of a block of up to 64 elements, added as a tree. `n` is 8 at least, or there are eight elements before
   `src` that may be read. */
#define POOLING_BLOCKS(KIND, ELEMENT, VECTOR, ADD, LAST)                                                               \
static inline __attribute__((always_inline)) VECTOR pooling_vector_##KIND(                                             \
    const ELEMENT *src, ptrdiff_t n, int i, int vectors                                                                \
) {                                                                                                                    \
    if (i == vectors - 1 && n % 8)                                                                                     \
        return LAST(pooling_eight_##KIND(src + n - 8), n % 8);                                                         \
    return pooling_eight_##KIND(src + 8 * i);                                                                          \
}                                                                                                                      \
                                                                                                                       \
static inline __attribute__((always_inline)) VECTOR pooling_tree_##KIND(                                               \
    const ELEMENT *src, ptrdiff_t n, int vectors                                                                       \
) {                                                                                                                    \
    VECTOR v[4];                                                                                                       \
    int i, pairs = (vectors + 1) / 2;                                                                                  \
    for (i = 0; i < pairs; i++) {                                                                                      \
        v[i] = pooling_vector_##KIND(src, n, 2 * i, vectors);                                                          \
        if (2 * i + 1 < vectors)                                                                                       \
            v[i] = ADD(v[i], pooling_vector_##KIND(src, n, 2 * i + 1, vectors));                                       \
    }                                                                                                                  \
    if (pairs > 1)                                                                                                     \
        v[0] = ADD(v[0], v[1]);                                                                                        \
    if (pairs > 3)                                                                                                     \
        v[2] = ADD(v[2], v[3]);                                                                                        \
    return pairs > 2 ? ADD(v[0], v[2]) : v[0];                                                                         \
}                                                                                                                      \
                                                                                                                       \
static inline __attribute__((always_inline)) VECTOR pooling_block_##KIND(const ELEMENT *src, ptrdiff_t n) {            \
    switch ((n + 7) / 8) {                                                                                             \
    case 1: return pooling_tree_##KIND(src, n, 1);                                                                     \
    case 2: return pooling_tree_##KIND(src, n, 2);                                                                     \
    case 3: return pooling_tree_##KIND(src, n, 3);                                                                     \
    case 4: return pooling_tree_##KIND(src, n, 4);                                                                     \
    case 5: return pooling_tree_##KIND(src, n, 5);                                                                     \
    case 6: return pooling_tree_##KIND(src, n, 6);                                                                     \
    case 7: return pooling_tree_##KIND(src, n, 7);                                                                     \
    default: return pooling_tree_##KIND(src, n, 8);                                                                    \
    }                                                                                                                  \
}                                                                                                                      \
                                                                                                                       \
/* The same of any number of elements, 8 at least. */                                                                  \
static inline __attribute__((always_inline)) VECTOR pooling_lanes_##KIND(const ELEMENT *src, ptrdiff_t n) {            \
    VECTOR sum, group, pair;                                                                                           \
    ptrdiff_t i;                                                                                                       \
    for (i = 0; i < n; i += 256) {                                                                                     \
        const ELEMENT *from = src + i;                                                                                 \
        ptrdiff_t left = n - i;                                                                                        \
        if (left >= 256) {                                                                                             \
            group = ADD(pooling_tree_##KIND(from, 64, 8), pooling_tree_##KIND(from + 64, 64, 8));                      \
            pair = ADD(pooling_tree_##KIND(from + 128, 64, 8), pooling_tree_##KIND(from + 192, 64, 8));                \
            group = ADD(group, pair);                                                                                  \
        } else {                                                                                                       \
            VECTOR last = pooling_block_##KIND(from + (left - 1) / 64 * 64, (left - 1) % 64 + 1);                      \
            group = left > 64 ? pooling_tree_##KIND(from, 64, 8) : last;                                               \
            if (left > 64)                                                                                             \
                group = ADD(group, left > 128 ? pooling_tree_##KIND(from + 64, 64, 8) : last);                         \
            if (left > 192)                                                                                            \
                last = ADD(pooling_tree_##KIND(from + 128, 64, 8), last);                                              \
            if (left > 128)                                                                                            \
                group = ADD(group, last);                                                                              \
        }                                                                                                              \
        sum = i ? ADD(sum, group) : group;                                                                             \
    }                                                                                                                  \
    return sum;                                                                                                        \
}

POOLING_BLOCKS(float, float, pooling_floats_t, pooling_add_floats, pooling_last_floats)
POOLING_BLOCKS(float16, pooling_float16_t, pooling_floats_t, pooling_add_floats, pooling_last_floats)
POOLING_BLOCKS(bfloat16, pooling_bfloat16_t, pooling_floats_t, pooling_add_floats, pooling_last_floats)
POOLING_BLOCKS(double, double, pooling_octet_t, pooling_add_octets, pooling_last_doubles)

/* Sums of `count` runs, eight at most, that lie `step` elements apart. */
#define POOLING_EIGHT_RUNS(KIND, ELEMENT)                                                                              \
static inline void pooling_eight_runs_##KIND(                                                                          \
    float *sums, const ELEMENT *src, ptrdiff_t step, ptrdiff_t taps, int count                                         \
) {                                                                                                                    \
    pooling_floats_t lanes[8];                                                                                         \
    int i;                                                                                                             \
    if (count < 8)                                                                                                     \
        memset(lanes, 0, sizeof(lanes));                                                                               \
    switch (taps <= 64 ? (taps + 7) / 8 : 0) {                                                                         \
    case 1: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 1); break;                \
    case 2: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 2); break;                \
    case 3: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 3); break;                \
    case 4: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 4); break;                \
    case 5: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 5); break;                \
    case 6: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 6); break;                \
    case 7: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 7); break;                \
    case 8: for (i = 0; i < count; i++) lanes[i] = pooling_tree_##KIND(src + i * step, taps, 8); break;                \
    default: for (i = 0; i < count; i++) lanes[i] = pooling_lanes_##KIND(src + i * step, taps);                        \
    }                                                                                                                  \
    *(pooling_floats_t *) lanes = pooling_halve_floats(lanes);                                                         \
    memcpy(sums, lanes, 32);                                                                                           \
}

POOLING_EIGHT_RUNS(float, float)
POOLING_EIGHT_RUNS(float16, pooling_float16_t)
POOLING_EIGHT_RUNS(bfloat16, pooling_bfloat16_t)

static inline double pooling_run_double(const double *src, ptrdiff_t n) {
    return pooling_halve_octet(n <= 64 ? pooling_block_double(src, n) : pooling_lanes_double(src, n));
}

/* Floats of a run from which on those so far ahead are fetched: the mean of three planes of 2160 x 3840 took 2.9 ms of
   one thread, and so 2.1; those 4 KiB ahead, which processors fetch themselves, gain half of that. */
#define POOLING_FETCHED_RUN 4096
#define POOLING_FETCHED_AHEAD 16384

/* Blocks of 64 floats are summed in float, which is four roundings at most with the last one, and these in double. */
static inline double pooling_run_wide(const float *src, ptrdiff_t n) {
    pooling_octet_t sum = pooling_octet_of(pooling_block_float(src, n < 64 ? n : 64));
    ptrdiff_t i = 64;
    /* A long run is a part of a plane beyond the caches more often than not. */
    if (n >= POOLING_FETCHED_RUN)
        for (; i + 64 <= n; i += 64) {
            int line;
            for (line = 0; line < 64; line += 16)
                __builtin_prefetch(src + i + line + POOLING_FETCHED_AHEAD);
            sum = pooling_add_octets(sum, pooling_octet_of(pooling_tree_float(src + i, 64, 8)));
        }
    for (; i + 64 <= n; i += 64)
        sum = pooling_add_octets(sum, pooling_octet_of(pooling_tree_float(src + i, 64, 8)));
    if (i < n)
        sum = pooling_add_octets(sum, pooling_octet_of(pooling_block_float(src + i, n - i)));
    return pooling_halve_octet(sum);
}

/* Sums of bytes, in any order, with the bits of `flip` turned over. */
static inline int64_t pooling_run_bytes(const uint8_t *src, ptrdiff_t n, uint8_t flip) {
    int64_t sum = 0;
    ptrdiff_t i = 0;
#if defined(__SSE2__)
    if (n >= 16) {
        const __m128i zero = _mm_setzero_si128();
        const __m128i flips = _mm_set1_epi8((char) flip);
        __m128i sums = zero;
        for (; i + 16 <= n; i += 16) {
            __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *) (src + i)), flips);
            sums = _mm_add_epi64(sums, _mm_sad_epu8(bytes, zero));
        }
        if (i < n) {
            /* Of the last sixteen those that have not been added. */
            static const uint8_t masks[32] = {
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
            __m128i last = _mm_xor_si128(_mm_loadu_si128((const __m128i *) (src + n - 16)), flips);
            last = _mm_and_si128(last, _mm_loadu_si128((const __m128i *) (masks + (n - i))));
            sums = _mm_add_epi64(sums, _mm_sad_epu8(last, zero));
        }
        sums = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        return _mm_cvtsi128_si64(sums);
    }
#endif
    for (; i < n; i++)
        sum += src[i] ^ flip;
    return sum;
}

#endif
