/* Argmaxes of windows two or three columns wide, whose taps are compared in registers, a row of outputs at a time.
 *
 * Rows hold float, double, 16-bit integers (keys of halves among them) or bytes; each lane of a vector is one window.
 * With a stride of two, lanes of integers are twice as wide as elements, so that shifts take every other one; those of
 * floats are shuffled within halves of a vector, and put in order at the end.
 */
#ifndef POOLING_WINNERS_H
#define POOLING_WINNERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "sums.h"

/* The outputs of a row, those of whole windows, and where windows lie. */
typedef struct {
    ptrdiff_t outputs, begin, end, stride, pad, taps, size;
} pooling_across_row_t;

/* Vectors of 32 bytes: of eights, fours and sixteens. */
typedef int32_t pooling_signed8_t __attribute__((vector_size(32)));
typedef int64_t pooling_signed4_t __attribute__((vector_size(32)));
typedef int16_t pooling_signed16_t __attribute__((vector_size(32)));
typedef uint16_t pooling_unsigned16_t __attribute__((vector_size(32)));

/* What is left of `a` where all bits of the mask are set, and of `b` elsewhere. */
#if defined(__AVX2__)
#define POOLING_CHOOSE(VECTOR, mask, a, b) ((VECTOR) _mm256_blendv_epi8((__m256i) (b), (__m256i) (a), (__m256i) (mask)))
#else
#define POOLING_CHOOSE(VECTOR, mask, a, b) ((VECTOR) (                                                                 \
    ((pooling_signed8_t) (mask) & (pooling_signed8_t) (a)) | (~(pooling_signed8_t) (mask) & (pooling_signed8_t) (b))))
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define POOLING_SHUFFLE_LONG POOLING_SHUFFLE
#else
#define POOLING_SHUFFLE_LONG(a, b, ...) __builtin_shuffle(a, b, (pooling_long_words_t) {__VA_ARGS__})
#endif

/* Numbers of the orders in reducers.pxd. */
enum { POOLING_GREATEST, POOLING_GREATEST_NUMBER, POOLING_SMALLEST, POOLING_SMALLEST_NUMBER };

/* Whether a later value replaces the best so far: as `better` says. */
#define POOLING_BETTER_REAL(best, v, order) (                                                                          \
    (order) == POOLING_GREATEST ? ~((v) <= (best)) & ((best) == (best))                                                \
    : (order) == POOLING_SMALLEST ? ~((v) >= (best)) & ((best) == (best))                                              \
    : (order) == POOLING_GREATEST_NUMBER ? ~((v) <= (best)) & ((v) == (v))                                             \
    : ~((v) >= (best)) & ((v) == (v)))
#define POOLING_BETTER_WHOLE(best, v, order) ((order) <= POOLING_GREATEST_NUMBER ? (v) > (best) : (v) < (best))

#define POOLING_LOAD(VECTOR, name, from) VECTOR name; memcpy(&name, from, sizeof(name))

/* Tap `t` of neighbouring windows, of which `src` points at the first. */
static inline __attribute__((always_inline)) pooling_floats_t pooling_tap_float(const float *src, int t, int stride) {
    POOLING_LOAD(pooling_floats_t, a, src + (t == 1 && stride == 2 ? 0 : t));
    if (stride == 2) {
        /* Nothing behind the last tap is read. */
        POOLING_LOAD(pooling_floats_t, b, src + (t == 2 ? 9 : 8));
        return t == 0 ? POOLING_SHUFFLE(a, b, 0, 2, 8, 10, 4, 6, 12, 14)
            : t == 1 ? POOLING_SHUFFLE(a, b, 1, 3, 9, 11, 5, 7, 13, 15)
            : POOLING_SHUFFLE(a, b, 0, 2, 9, 11, 4, 6, 13, 15);
    }
    return a;
}

static inline __attribute__((always_inline)) pooling_doubles_t pooling_tap_double(
    const double *src, int t, int stride
) {
    POOLING_LOAD(pooling_doubles_t, a, src + (t == 1 && stride == 2 ? 0 : t));
    if (stride == 2) {
        POOLING_LOAD(pooling_doubles_t, b, src + (t == 2 ? 5 : 4));
        return t == 0 ? POOLING_SHUFFLE_LONG(a, b, 0, 4, 2, 6)
            : t == 1 ? POOLING_SHUFFLE_LONG(a, b, 1, 5, 3, 7)
            : POOLING_SHUFFLE_LONG(a, b, 0, 5, 2, 7);
    }
    return a;
}

static inline __attribute__((always_inline)) pooling_signed8_t pooling_tap_int16(
    const int16_t *src, int t, int stride
) {
    if (stride == 2) {
        POOLING_LOAD(pooling_signed8_t, pairs, src + t / 2);
        return (t ? pairs : (pooling_signed8_t) ((pooling_words_t) pairs << 16)) >> 16;
    } else {
#if defined(__AVX2__)
        return (pooling_signed8_t) _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *) (src + t)));
#else
        typedef int16_t eight_t __attribute__((vector_size(16)));
        POOLING_LOAD(eight_t, v, src + t);
        return __builtin_convertvector(v, pooling_signed8_t);
#endif
    }
}

static inline __attribute__((always_inline)) pooling_signed16_t pooling_tap_uint8(
    const uint8_t *src, int t, int stride
) {
    if (stride == 2) {
        POOLING_LOAD(pooling_unsigned16_t, pairs, src + t / 2);
        return (pooling_signed16_t) (t ? pairs >> 8 : pairs & 255);
    } else {
#if defined(__AVX2__)
        return (pooling_signed16_t) _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *) (src + t)));
#else
        typedef uint8_t sixteen_t __attribute__((vector_size(16)));
        POOLING_LOAD(sixteen_t, v, src + t);
        return __builtin_convertvector(v, pooling_signed16_t);
#endif
    }
}

/* Put lanes in order, whose places go with them. */
#define POOLING_IN_ORDER_EIGHT(VECTOR, v) ((VECTOR) POOLING_SHUFFLE_LONG(                                              \
    (pooling_signed4_t) (v), (pooling_signed4_t) (v), 0, 2, 1, 3))
#define POOLING_IN_ORDER_float(v, stride) ((stride) == 2 ? POOLING_IN_ORDER_EIGHT(pooling_floats_t, v) : (v))
#define POOLING_IN_ORDER_double(v, stride) ((stride) == 2 ? POOLING_SHUFFLE_LONG(v, v, 0, 2, 1, 3) : (v))
#define POOLING_IN_ORDER_int16(v, stride) (v)
#define POOLING_IN_ORDER_uint8(v, stride) (v)
#define POOLING_PLACES_IN_ORDER_float(v, stride) ((stride) == 2 ? POOLING_IN_ORDER_EIGHT(pooling_signed8_t, v) : (v))
#define POOLING_PLACES_IN_ORDER_double(v, stride) ((stride) == 2 ? POOLING_SHUFFLE_LONG(v, v, 0, 2, 1, 3) : (v))
#define POOLING_PLACES_IN_ORDER_int16(v, stride) (v)
#define POOLING_PLACES_IN_ORDER_uint8(v, stride) (v)

static inline __attribute__((always_inline)) void pooling_store_float(float *to, pooling_floats_t v) {
    memcpy(to, &v, 32);
}

static inline __attribute__((always_inline)) void pooling_store_double(double *to, pooling_doubles_t v) {
    memcpy(to, &v, 32);
}

static inline __attribute__((always_inline)) void pooling_store_int16(int16_t *to, pooling_signed8_t v) {
#if defined(__AVX2__)
    __m128i low = _mm256_castsi256_si128((__m256i) v), high = _mm256_extracti128_si256((__m256i) v, 1);
    _mm_storeu_si128((__m128i *) to, _mm_packs_epi32(low, high));
#else
    int i;
    for (i = 0; i < 8; i++)
        to[i] = (int16_t) v[i];
#endif
}

static inline __attribute__((always_inline)) void pooling_store_uint8(uint8_t *to, pooling_signed16_t v) {
#if defined(__AVX2__)
    __m128i low = _mm256_castsi256_si128((__m256i) v), high = _mm256_extracti128_si256((__m256i) v, 1);
    _mm_storeu_si128((__m128i *) to, _mm_packus_epi16(low, high));
#else
    int i;
    for (i = 0; i < 16; i++)
        to[i] = (uint8_t) v[i];
#endif
}

/* Write the indices of eight, four or sixteen windows, which lie `stride` cells apart. */
static inline __attribute__((always_inline)) void pooling_name_eight(
    int64_t *index, pooling_signed8_t where, int64_t origin, int stride
) {
    int i;
    where += (pooling_signed8_t) {0, 1, 2, 3, 4, 5, 6, 7} * stride;
#if defined(__AVX2__)
    for (i = 0; i < 2; i++) {
        __m128i half = i ? _mm256_extracti128_si256((__m256i) where, 1) : _mm256_castsi256_si128((__m256i) where);
        _mm256_storeu_si256(
            (__m256i *) (index + 4 * i), _mm256_add_epi64(_mm256_cvtepi32_epi64(half), _mm256_set1_epi64x(origin)));
    }
#else
    for (i = 0; i < 8; i++)
        index[i] = origin + where[i];
#endif
}

static inline __attribute__((always_inline)) void pooling_name_float(
    int64_t *index, pooling_signed8_t where, int64_t origin, int stride
) {
    pooling_name_eight(index, where, origin, stride);
}

static inline __attribute__((always_inline)) void pooling_name_int16(
    int64_t *index, pooling_signed8_t where, int64_t origin, int stride
) {
    pooling_name_eight(index, where, origin, stride);
}

static inline __attribute__((always_inline)) void pooling_name_double(
    int64_t *index, pooling_signed4_t where, int64_t origin, int stride
) {
    where += (pooling_signed4_t) {0, 1, 2, 3} * stride + origin;
    memcpy(index, &where, 32);
}

static inline __attribute__((always_inline)) void pooling_name_uint8(
    int64_t *index, pooling_signed16_t where, int64_t origin, int stride
) {
    pooling_signed8_t half;
    int i;
    for (i = 0; i < 2; i++) {
#if defined(__AVX2__)
        half = (pooling_signed8_t) _mm256_cvtepi16_epi32(
            i ? _mm256_extracti128_si256((__m256i) where, 1) : _mm256_castsi256_si128((__m256i) where));
#else
        int lane;
        for (lane = 0; lane < 8; lane++)
            half[lane] = where[8 * i + lane];
#endif
        pooling_name_eight(index + 8 * i, half, origin + 8 * i * stride, stride);
    }
}

/* The argmaxes of a row of outputs under `rows` rows of input, 1 at least, whose places begin at `places`; `origin` is
   the index of the first cell of the first row. `best` may be NULL. Of whole windows there are at least as many as
   lanes. */
#define POOLING_WINNERS(KIND, ELEMENT, LANES, VALUES, PLACES, PLACE, BETTER)                                           \
static inline __attribute__((always_inline)) void pooling_keep_##KIND(                                                 \
    VALUES *best, PLACES *where, VALUES v, PLACES place, const int order                                               \
) {                                                                                                                    \
    PLACES taken = (PLACES) (BETTER(*best, v, order));                                                                 \
    *best = POOLING_CHOOSE(VALUES, taken, v, *best);                                                                   \
    *where = POOLING_CHOOSE(PLACES, taken, place, *where);                                                             \
}                                                                                                                      \
                                                                                                                       \
/* The argmaxes of one row under neighbouring windows, their places counted from the first tap. */                     \
static inline __attribute__((always_inline)) VALUES pooling_one_row_##KIND(                                            \
    const ELEMENT *src, PLACES *where, const int taps, const int stride, const int order                               \
) {                                                                                                                    \
    const PLACES none = {0};                                                                                           \
    VALUES v = pooling_tap_##KIND(src, 0, stride);                                                                     \
    *where = none;                                                                                                     \
    pooling_keep_##KIND(&v, where, pooling_tap_##KIND(src, 1, stride), none + 1, order);                               \
    if (taps == 3)                                                                                                     \
        pooling_keep_##KIND(&v, where, pooling_tap_##KIND(src, 2, stride), none + 2, order);                           \
    return v;                                                                                                          \
}                                                                                                                      \
                                                                                                                       \
static inline __attribute__((always_inline)) void pooling_whole_##KIND(                                                \
    ELEMENT *best, int64_t *index, const void **rows, const int32_t *places, int count, ptrdiff_t column,              \
    ptrdiff_t n, int64_t origin, const int taps, const int stride, const int order                                     \
) {                                                                                                                    \
    ptrdiff_t x = 0;                                                                                                   \
    for (;;) {                                                                                                         \
        PLACES where, w;                                                                                               \
        ptrdiff_t at = column + x * stride;                                                                            \
        VALUES v, found = pooling_one_row_##KIND((const ELEMENT *) rows[0] + at, &where, taps, stride, order);         \
        int row;                                                                                                       \
        for (row = 1; row < count; row++) {                                                                            \
            v = pooling_one_row_##KIND((const ELEMENT *) rows[row] + at, &w, taps, stride, order);                     \
            pooling_keep_##KIND(&found, &where, v, w + (PLACE) places[row], order);                                    \
        }                                                                                                              \
        if (best != NULL)                                                                                              \
            pooling_store_##KIND(best + x, POOLING_IN_ORDER_##KIND(found, stride));                                    \
        where = POOLING_PLACES_IN_ORDER_##KIND(where, stride);                                                         \
        pooling_name_##KIND(index + x, where, origin + at, stride);                                                    \
        if (x + LANES >= n)                                                                                            \
            break;                                                                                                     \
        x = x + 2 * LANES <= n ? x + LANES : n - LANES;                                                                \
    }                                                                                                                  \
}                                                                                                                      \
                                                                                                                       \
/* Those of windows from output `x` to `end`, which are cut off, one by one. */                                        \
static inline __attribute__((always_inline)) void pooling_cut_##KIND(                                                  \
    ELEMENT *best, int64_t *index, const void **rows, const int32_t *places, int count,                                \
    const pooling_across_row_t *across, ptrdiff_t x, ptrdiff_t end, int64_t origin, const int order                    \
) {                                                                                                                    \
    for (; x < end; x++) {                                                                                             \
        ptrdiff_t at, first = x * across->stride - across->pad, last = first + across->taps;                           \
        VALUES found;                                                                                                  \
        PLACES where;                                                                                                  \
        int row;                                                                                                       \
        first = first > 0 ? first : 0;                                                                                 \
        last = last < across->size ? last : across->size;                                                              \
        /* Without branches, which nobody could predict. */                                                            \
        found = ((const ELEMENT *) rows[0])[first] - (VALUES) {0};                                                     \
        where = (PLACES) {0} + (PLACE) first;                                                                          \
        for (row = 0; row < count; row++)                                                                              \
            for (at = first; at < last; at++)                                                                          \
                /* The first tap is no better than itself. */                                                          \
                pooling_keep_##KIND(                                                                                   \
                    &found, &where, ((const ELEMENT *) rows[row])[at] - (VALUES) {0},                                  \
                    (PLACES) {0} + (PLACE) (places[row] + at), order);                                                 \
        if (best != NULL)                                                                                              \
            best[x] = found[0];                                                                                        \
        index[x] = origin + where[0];                                                                                  \
    }                                                                                                                  \
}                                                                                                                      \
                                                                                                                       \
static inline __attribute__((always_inline)) void pooling_winners_##KIND(                                              \
    void *values, int64_t *index, const void **rows, const int32_t *places, int count,                                 \
    const pooling_across_row_t *across, int64_t origin, const int order                                                \
) {                                                                                                                    \
    ELEMENT *best = (ELEMENT *) values;                                                                                \
    ptrdiff_t n = across->end - across->begin, column = across->begin * across->stride - across->pad;                  \
    pooling_cut_##KIND(best, index, rows, places, count, across, 0, across->begin, origin, order);                     \
    pooling_cut_##KIND(best, index, rows, places, count, across, across->end, across->outputs, origin, order);         \
    best = best == NULL ? NULL : best + across->begin;                                                                 \
    index += across->begin;                                                                                            \
    if (across->taps == 2 && across->stride == 2)                                                                      \
        pooling_whole_##KIND(best, index, rows, places, count, column, n, origin, 2, 2, order);                        \
    else if (across->taps == 2)                                                                                        \
        pooling_whole_##KIND(best, index, rows, places, count, column, n, origin, 2, 1, order);                        \
    else if (across->stride == 2)                                                                                      \
        pooling_whole_##KIND(best, index, rows, places, count, column, n, origin, 3, 2, order);                        \
    else                                                                                                               \
        pooling_whole_##KIND(best, index, rows, places, count, column, n, origin, 3, 1, order);                        \
}

POOLING_WINNERS(
    float, float, 8, pooling_floats_t, pooling_signed8_t, int32_t, POOLING_BETTER_REAL)
POOLING_WINNERS(
    double, double, 4, pooling_doubles_t, pooling_signed4_t, int64_t, POOLING_BETTER_REAL)
POOLING_WINNERS(
    int16, int16_t, 8, pooling_signed8_t, pooling_signed8_t, int32_t, POOLING_BETTER_WHOLE)
POOLING_WINNERS(
    uint8, uint8_t, 16, pooling_signed16_t, pooling_signed16_t, int16_t, POOLING_BETTER_WHOLE)

#endif
