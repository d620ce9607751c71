/* Windows of few taps over images of bytes, and halves of such images, in whole vectors of bytes.
 *
 * Bytes are turned on the way in (exclusive or with one byte) so that every extreme is a maximum of unsigned ones,
 * whose least is 0; and turned back on the way out.
 */
#ifndef POOLING_BYTES_H
#define POOLING_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define POOLING_BYTES_CONSTANT static inline __attribute__((always_inline))
/* Begun at a line of the cache: short loops took up to 1.3 times as long where other code had moved them. */
#define POOLING_BYTES_ALONE static __attribute__((noinline, aligned(64)))
#else
#define POOLING_BYTES_CONSTANT static inline
#define POOLING_BYTES_ALONE static
#endif

/* Most taps of a window along an axis. */
#define POOLING_BYTES_TAPS 15

#if defined(__AVX2__)
#include <immintrin.h>
#define POOLING_BYTES 32
typedef __m256i pooling_bytes_t;
#define pooling_bytes_load(from) _mm256_loadu_si256((const __m256i *) (from))
#define pooling_bytes_store(to, v) _mm256_storeu_si256((__m256i *) (to), v)
#define pooling_bytes_all(byte) _mm256_set1_epi8((char) (byte))
#define pooling_bytes_turn(a, b) _mm256_xor_si256(a, b)
#define pooling_bytes_best(a, b) _mm256_max_epu8(a, b)
#if defined(__clang__)
/* It takes only numbers that are written down for shifts, not arguments of functions that it has put in place. */
#define POOLING_BYTES_SHIFT 0
#else
#define POOLING_BYTES_SHIFT 1
/* What lies n bytes behind the beginning of `a`, where `b` lies behind `a`. */
#define pooling_bytes_behind(a, b, n)                                                                                  \
    ((n) == 16 ? _mm256_permute2x128_si256(a, b, 0x21)                                                                 \
     : (n) < 16 ? _mm256_alignr_epi8(_mm256_permute2x128_si256(a, b, 0x21), a, (n) & 15)                               \
     : _mm256_alignr_epi8(b, _mm256_permute2x128_si256(a, b, 0x21), (n) & 15))
#endif
#elif defined(__SSE2__)
#include <emmintrin.h>
#define POOLING_BYTES 16
typedef __m128i pooling_bytes_t;
#define pooling_bytes_load(from) _mm_loadu_si128((const __m128i *) (from))
#define pooling_bytes_store(to, v) _mm_storeu_si128((__m128i *) (to), v)
#define pooling_bytes_all(byte) _mm_set1_epi8((char) (byte))
#define pooling_bytes_turn(a, b) _mm_xor_si128(a, b)
#define pooling_bytes_best(a, b) _mm_max_epu8(a, b)
#define POOLING_BYTES_SHIFT 0
#else
/* Loops of one length, of which compilers make vectors. */
#define POOLING_BYTES 16
typedef struct { uint8_t at[POOLING_BYTES]; } pooling_bytes_t;
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_bytes_load(const uint8_t *from) {
    pooling_bytes_t v;
    memcpy(&v, from, sizeof(v));
    return v;
}
POOLING_BYTES_CONSTANT void pooling_bytes_store(void *to, pooling_bytes_t v) { memcpy(to, &v, sizeof(v)); }
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_bytes_all(int byte) {
    pooling_bytes_t v;
    memset(&v, byte, sizeof(v));
    return v;
}
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_bytes_turn(pooling_bytes_t a, pooling_bytes_t b) {
    int i;
    for (i = 0; i < POOLING_BYTES; i++) a.at[i] = (uint8_t) (a.at[i] ^ b.at[i]);
    return a;
}
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_bytes_best(pooling_bytes_t a, pooling_bytes_t b) {
    int i;
    for (i = 0; i < POOLING_BYTES; i++) a.at[i] = a.at[i] > b.at[i] ? a.at[i] : b.at[i];
    return a;
}
#define POOLING_BYTES_SHIFT 0
#endif

/* --- extremes --- */

/* The best of 2, 4 and 8 neighbours is that of two runs half as long, and a window is two runs that overlap. What later
   neighbours need of runs stays in registers: one load, one store and at most four comparisons a window. */
POOLING_BYTES_CONSTANT void pooling_bytes_column(
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t *const *lines, ptrdiff_t rows, ptrdiff_t x, pooling_bytes_t turn,
    const int taps
) {
    const int run = taps >= 8 ? 8 : taps >= 4 ? 4 : 2, rest = taps - run;
    const pooling_bytes_t none = pooling_bytes_all(0);
    pooling_bytes_t last, a0, a1, b0, b1, b2, b3, c0, c1, c2, c3, c4, c5, c6, v, w;
    ptrdiff_t y;
    last = a0 = a1 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = c4 = c5 = c6 = none;
#define POOLING_BYTES_ROW(Y) {                                                                                         \
    v = pooling_bytes_turn(pooling_bytes_load(lines[Y] + x), turn);                                                    \
    w = pooling_bytes_best(last, v);                                                                                   \
    last = v;                                                                                                          \
    v = w;                                                                                                             \
    if (run >= 4) { w = pooling_bytes_best(a0, v); a0 = a1; a1 = v; v = w; }                                           \
    if (run >= 8) { w = pooling_bytes_best(b0, v); b0 = b1; b1 = b2; b2 = b3; b3 = v; v = w; }                         \
    if (rest >= 1) {                                                                                                   \
        w = pooling_bytes_best(c0, v);                                                                                 \
        if (rest >= 2) c0 = c1;                                                                                        \
        if (rest >= 3) c1 = c2;                                                                                        \
        if (rest >= 4) c2 = c3;                                                                                        \
        if (rest >= 5) c3 = c4;                                                                                        \
        if (rest >= 6) c4 = c5;                                                                                        \
        if (rest >= 7) c5 = c6;                                                                                        \
        if (rest == 1) c0 = v;                                                                                         \
        if (rest == 2) c1 = v;                                                                                         \
        if (rest == 3) c2 = v;                                                                                         \
        if (rest == 4) c3 = v;                                                                                         \
        if (rest == 5) c4 = v;                                                                                         \
        if (rest == 6) c5 = v;                                                                                         \
        if (rest == 7) c6 = v;                                                                                         \
        v = w;                                                                                                         \
    }                                                                                                                  \
}
#define POOLING_BYTES_MADE(Y) { POOLING_BYTES_ROW(Y) pooling_bytes_store(dst, v); dst += dst_row; }
    dst += x;
    rows += taps - 1;
    for (y = 0; y < taps - 1; y++) POOLING_BYTES_ROW(y)
    for (; y + 8 <= rows; y += 8) {
        POOLING_BYTES_MADE(y) POOLING_BYTES_MADE(y + 1) POOLING_BYTES_MADE(y + 2) POOLING_BYTES_MADE(y + 3)
        POOLING_BYTES_MADE(y + 4) POOLING_BYTES_MADE(y + 5) POOLING_BYTES_MADE(y + 6) POOLING_BYTES_MADE(y + 7)
    }
    for (; y < rows; y++) POOLING_BYTES_MADE(y)
#undef POOLING_BYTES_ROW
#undef POOLING_BYTES_MADE
}

/* Combine the rows of windows: row i of `rows` is made of lines i to i + taps - 1, of n turned bytes each. */
typedef void (*pooling_bytes_down_t)(
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t *const *lines, ptrdiff_t rows, ptrdiff_t n, uint8_t turn);

#define POOLING_BYTES_DOWN(TAPS)                                                                                       \
POOLING_BYTES_ALONE void pooling_bytes_down_##TAPS(                                                                    \
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t *const *lines, ptrdiff_t rows, ptrdiff_t n, uint8_t turn            \
) {                                                                                                                    \
    const pooling_bytes_t turns = pooling_bytes_all(turn);                                                             \
    ptrdiff_t x, y, i;                                                                                                 \
    for (x = 0; x < n && n >= POOLING_BYTES; x += POOLING_BYTES)                                                       \
        pooling_bytes_column(                                                                                          \
            dst, dst_row, lines, rows, x + POOLING_BYTES <= n ? x : n - POOLING_BYTES, turns, TAPS);                   \
    for (y = 0; y < rows && n < POOLING_BYTES; y++)                                                                    \
        for (x = 0; x < n; x++) {                                                                                      \
            uint8_t best = 0;                                                                                          \
            for (i = y; i < y + TAPS; i++) best = (uint8_t) (lines[i][x] ^ turn) > best                                \
                ? (uint8_t) (lines[i][x] ^ turn) : best;                                                               \
            dst[y * dst_row + x] = best;                                                                               \
        }                                                                                                              \
}
POOLING_BYTES_DOWN(2)
POOLING_BYTES_DOWN(3)
POOLING_BYTES_DOWN(4)
POOLING_BYTES_DOWN(5)
POOLING_BYTES_DOWN(6)
POOLING_BYTES_DOWN(7)
POOLING_BYTES_DOWN(8)
POOLING_BYTES_DOWN(9)
POOLING_BYTES_DOWN(10)
POOLING_BYTES_DOWN(11)
POOLING_BYTES_DOWN(12)
POOLING_BYTES_DOWN(13)
POOLING_BYTES_DOWN(14)
POOLING_BYTES_DOWN(15)

static const pooling_bytes_down_t pooling_bytes_downs[POOLING_BYTES_TAPS + 1] = {
    NULL, NULL, pooling_bytes_down_2, pooling_bytes_down_3, pooling_bytes_down_4, pooling_bytes_down_5,
    pooling_bytes_down_6, pooling_bytes_down_7, pooling_bytes_down_8, pooling_bytes_down_9, pooling_bytes_down_10,
    pooling_bytes_down_11, pooling_bytes_down_12, pooling_bytes_down_13, pooling_bytes_down_14, pooling_bytes_down_15,
};

/* Store what there is room for of a vector whose bytes are turned back. */
POOLING_BYTES_CONSTANT void pooling_bytes_put(uint8_t *dst, pooling_bytes_t v, pooling_bytes_t turn, ptrdiff_t room) {
    uint8_t all[POOLING_BYTES];
    v = pooling_bytes_turn(v, turn);
    if (room >= POOLING_BYTES) {
        pooling_bytes_store(dst, v);
        return;
    }
    pooling_bytes_store(all, v);
    memcpy(dst, all, (size_t) room);
}

/* Bytes behind a combined row that may be read: vectors that are begun, and runs of four that reach beyond. */
#define POOLING_BYTES_BEHIND (8 * POOLING_BYTES)

POOLING_BYTES_CONSTANT void pooling_bytes_along_few(
    uint8_t *dst, const uint8_t *src, ptrdiff_t n, ptrdiff_t apart, const int taps, pooling_bytes_t turns
) {
    pooling_bytes_t v;
    ptrdiff_t x;
    for (x = 0; x < n; x += POOLING_BYTES) {
        v = pooling_bytes_best(pooling_bytes_load(src + x), pooling_bytes_load(src + x + apart));
        if (taps > 2) v = pooling_bytes_best(v, pooling_bytes_load(src + x + 2 * apart));
        if (taps > 3) v = pooling_bytes_best(v, pooling_bytes_load(src + x + 3 * apart));
        pooling_bytes_put(dst + x, v, turns, n - x);
    }
}

/* Slide windows of two taps or more along n bytes of a combined row, of which those that are taken lie `apart` from
   each other. */
POOLING_BYTES_ALONE void pooling_bytes_along_memory(
    uint8_t *dst, const uint8_t *src, uint8_t *fours, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps, uint8_t turn
) {
    const pooling_bytes_t turns = pooling_bytes_all(turn);
    const ptrdiff_t more = (taps - 4) * apart;
    pooling_bytes_t v;
    ptrdiff_t x;
    if (taps == 2) pooling_bytes_along_few(dst, src, n, apart, 2, turns);
    if (taps == 3) pooling_bytes_along_few(dst, src, n, apart, 3, turns);
    if (taps == 4) pooling_bytes_along_few(dst, src, n, apart, 4, turns);
    if (taps < 5) return;
    for (x = 0; x < n + more; x += POOLING_BYTES)
        pooling_bytes_store(fours + x, pooling_bytes_best(
            pooling_bytes_best(pooling_bytes_load(src + x), pooling_bytes_load(src + x + apart)),
            pooling_bytes_best(pooling_bytes_load(src + x + 2 * apart), pooling_bytes_load(src + x + 3 * apart))));
    for (x = 0; x < n; x += POOLING_BYTES) {
        v = pooling_bytes_best(pooling_bytes_load(fours + x), pooling_bytes_load(fours + x + more));
        if (taps > 8) v = pooling_bytes_best(v, pooling_bytes_load(fours + x + 4 * apart));
        if (taps > 12) v = pooling_bytes_best(v, pooling_bytes_load(fours + x + 8 * apart));
        pooling_bytes_put(dst + x, v, turns, n - x);
    }
}

#if POOLING_BYTES_SHIFT
/* The same of pixels of one to four bytes: neighbours are brought together in registers. Each step makes runs twice
   as long as the step before, a vector later. */
POOLING_BYTES_CONSTANT void pooling_bytes_along_pixels(
    uint8_t *dst, const uint8_t *src, ptrdiff_t n, const int apart, const int taps, uint8_t turn
) {
    const int run = taps >= 8 ? 8 : taps >= 4 ? 4 : 2, rest = (taps - run) * apart;
    const pooling_bytes_t turns = pooling_bytes_all(turn), none = pooling_bytes_all(0);
    pooling_bytes_t last = pooling_bytes_load(src), a = none, b = none, c = none, v, w;
    ptrdiff_t x = -POOLING_BYTES * ((run >= 4) + (run >= 8) + (rest > 0));
#define POOLING_BYTES_STEP {                                                                                           \
    src += POOLING_BYTES;                                                                                              \
    w = pooling_bytes_load(src);                                                                                       \
    v = pooling_bytes_best(last, pooling_bytes_behind(last, w, apart));                                                \
    last = w;                                                                                                          \
    if (run >= 4) { w = v; v = pooling_bytes_best(a, pooling_bytes_behind(a, w, 2 * apart)); a = w; }                  \
    if (run >= 8) { w = v; v = pooling_bytes_best(b, pooling_bytes_behind(b, w, 4 * apart)); b = w; }                  \
    if (rest) { w = v; v = pooling_bytes_best(c, pooling_bytes_behind(c, w, rest)); c = w; }                           \
}
    for (; x < 0; x += POOLING_BYTES) POOLING_BYTES_STEP
    for (; x + POOLING_BYTES <= n; x += POOLING_BYTES) {
        POOLING_BYTES_STEP
        pooling_bytes_store(dst + x, pooling_bytes_turn(v, turns));
    }
    if (x < n) {
        POOLING_BYTES_STEP
        pooling_bytes_put(dst + x, v, turns, n - x);
    }
#undef POOLING_BYTES_STEP
}

#define POOLING_BYTES_EACH_TAPS(X)                                                                                     \
    X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define POOLING_BYTES_CASE(TAPS) case TAPS: pooling_bytes_along_pixels(dst, src, n, apart, TAPS, turn); return;
#define POOLING_BYTES_ALONG(APART)                                                                                     \
POOLING_BYTES_ALONE void pooling_bytes_along_##APART(                                                                  \
    uint8_t *dst, const uint8_t *src, ptrdiff_t n, ptrdiff_t taps, uint8_t turn                                        \
) {                                                                                                                    \
    enum { apart = APART };                                                                                            \
    switch (taps) { POOLING_BYTES_EACH_TAPS(POOLING_BYTES_CASE) }                                                      \
}
POOLING_BYTES_ALONG(1)
POOLING_BYTES_ALONG(2)
POOLING_BYTES_ALONG(3)
POOLING_BYTES_ALONG(4)
#undef POOLING_BYTES_CASE
#undef POOLING_BYTES_EACH_TAPS
#endif

static void pooling_bytes_along(
    uint8_t *dst, const uint8_t *src, uint8_t *fours, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps, uint8_t turn
) {
#if POOLING_BYTES_SHIFT
    switch (apart) {
    case 1: pooling_bytes_along_1(dst, src, n, taps, turn); return;
    case 2: pooling_bytes_along_2(dst, src, n, taps, turn); return;
    case 3: pooling_bytes_along_3(dst, src, n, taps, turn); return;
    case 4: pooling_bytes_along_4(dst, src, n, taps, turn); return;
    default: break;
    }
#endif
    pooling_bytes_along_memory(dst, src, fours, n, apart, taps, turn);
}

static void pooling_bytes_down(
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t *const *lines, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t taps,
    uint8_t turn
) {
    pooling_bytes_downs[taps](dst, dst_row, lines, rows, n, turn);
}

/* --- halves --- */

#if defined(__SSSE3__)
#include <tmmintrin.h>
#define POOLING_HALVES 1

/* The means of sums of four bytes, rounded as asked (as in division.pxd: to even, up, floor, towards zero). Turned
   signed bytes are 128 too large, and so are their means. */
#define POOLING_HALVES_ROUNDED(VECTOR, ADD, AND, SHIFT, GREATER, ALL)                                                  \
POOLING_BYTES_CONSTANT VECTOR pooling_halves_rounded(VECTOR sum, const int rounding) {                                 \
    if (rounding == 0) sum = ADD(sum, ADD(ALL(1), AND(SHIFT(sum, 2), ALL(1))));                                        \
    if (rounding == 1) sum = ADD(sum, ALL(2));                                                                         \
    if (rounding == 3) sum = ADD(sum, AND(GREATER(ALL(512), sum), ALL(3)));                                            \
    return SHIFT(sum, 2);                                                                                              \
}

/* The order that brings neighbours of one channel side by side, and the one that brings together what three channels
   leave in each half of 16 bytes. */
POOLING_BYTES_CONSTANT __m128i pooling_halves_order(const int channels) {
    if (channels == 2) return _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    if (channels == 3) return _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, 12, 15, 12, 15);
    return _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
}

POOLING_BYTES_CONSTANT __m128i pooling_halves_close(void) {
    return _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1);
}

/* Make the means of 4 * step bytes of each of two rows, where 16 bytes hold `step` of whole pairs of pixels: 2 * step
   bytes. Up to 64 bytes of the rows are read, and 32 of the result are written. */
#if defined(__AVX2__)
POOLING_HALVES_ROUNDED(
    __m256i, _mm256_add_epi16, _mm256_and_si256, _mm256_srli_epi16, _mm256_cmpgt_epi16, _mm256_set1_epi16)

POOLING_BYTES_CONSTANT __m256i pooling_halves_pairs(
    const uint8_t *row, const int step, __m256i turns, const int channels
) {
    __m256i v = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *) row)),
        _mm_loadu_si128((const __m128i *) (row + 2 * step)), 1);
    if (channels > 1) v = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(pooling_halves_order(channels)));
    return _mm256_maddubs_epi16(_mm256_xor_si256(v, turns), _mm256_set1_epi8(1));
}

POOLING_BYTES_CONSTANT void pooling_halves_block(
    uint8_t *dst, const uint8_t *above, const uint8_t *below, const int channels, uint8_t turn, const int rounding
) {
    const int step = channels == 3 ? 12 : 16;
    const __m256i turns = _mm256_set1_epi8((char) turn);
    __m256i first = _mm256_add_epi16(
        pooling_halves_pairs(above, step, turns, channels), pooling_halves_pairs(below, step, turns, channels));
    __m256i second = _mm256_add_epi16(
        pooling_halves_pairs(above + step, step, turns, channels),
        pooling_halves_pairs(below + step, step, turns, channels));
    __m256i bytes = _mm256_xor_si256(
        turns, _mm256_packus_epi16(pooling_halves_rounded(first, rounding), pooling_halves_rounded(second, rounding)));
    if (channels == 3) {
        bytes = _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(pooling_halves_close()));
        _mm_storeu_si128((__m128i *) dst, _mm256_castsi256_si128(bytes));
        _mm_storeu_si128((__m128i *) (dst + 12), _mm256_extracti128_si256(bytes, 1));
    } else {
        pooling_bytes_store(dst, bytes);
    }
}
#else
POOLING_HALVES_ROUNDED(__m128i, _mm_add_epi16, _mm_and_si128, _mm_srli_epi16, _mm_cmpgt_epi16, _mm_set1_epi16)

POOLING_BYTES_CONSTANT __m128i pooling_halves_pairs(const uint8_t *row, __m128i turns, const int channels) {
    __m128i v = _mm_loadu_si128((const __m128i *) row);
    if (channels > 1) v = _mm_shuffle_epi8(v, pooling_halves_order(channels));
    return _mm_maddubs_epi16(_mm_xor_si128(v, turns), _mm_set1_epi8(1));
}

POOLING_BYTES_CONSTANT void pooling_halves_block(
    uint8_t *dst, const uint8_t *above, const uint8_t *below, const int channels, uint8_t turn, const int rounding
) {
    const int step = channels == 3 ? 12 : 16;
    const __m128i turns = _mm_set1_epi8((char) turn);
    int half;
    for (half = 0; half < 2; half++) {
        __m128i first = _mm_add_epi16(
            pooling_halves_pairs(above, turns, channels), pooling_halves_pairs(below, turns, channels));
        __m128i second = _mm_add_epi16(
            pooling_halves_pairs(above + step, turns, channels), pooling_halves_pairs(below + step, turns, channels));
        __m128i bytes = _mm_xor_si128(
            turns, _mm_packus_epi16(pooling_halves_rounded(first, rounding), pooling_halves_rounded(second, rounding)));
        if (channels == 3) bytes = _mm_shuffle_epi8(bytes, pooling_halves_close());
        _mm_storeu_si128((__m128i *) dst, bytes);
        above += 2 * step;
        below += 2 * step;
        dst += step;
    }
}
#endif

POOLING_BYTES_CONSTANT void pooling_halves_row(
    uint8_t *dst, const uint8_t *above, const uint8_t *below, ptrdiff_t n, const int channels, uint8_t turn,
    const int rounding
) {
    const ptrdiff_t made = channels == 3 ? 24 : 32;
    uint8_t first[64], second[64], means[32];
    ptrdiff_t x = 0;
    for (; x + 32 <= n; x += made)
        pooling_halves_block(dst + x, above + 2 * x, below + 2 * x, channels, turn, rounding);
    if (x == n) return;
    if (channels != 3 && n >= made) {
        x = n - made;
        pooling_halves_block(dst + x, above + 2 * x, below + 2 * x, channels, turn, rounding);
        return;
    }
    memset(first, 0, sizeof(first));
    memset(second, 0, sizeof(second));
    for (; x < n; x += made) {
        if (n >= made) {
            /* Copies of a known length are short. */
            x = x + made <= n ? x : n - made;
            memcpy(first, above + 2 * x, (size_t) (2 * made));
            memcpy(second, below + 2 * x, (size_t) (2 * made));
            pooling_halves_block(means, first, second, channels, turn, rounding);
            memcpy(dst + x, means, (size_t) made);
        } else {
            memcpy(first, above, (size_t) (2 * n));
            memcpy(second, below, (size_t) (2 * n));
            pooling_halves_block(means, first, second, channels, turn, rounding);
            memcpy(dst, means, (size_t) n);
        }
    }
}

#define POOLING_HALVES_OF(CHANNELS)                                                                                    \
POOLING_BYTES_ALONE void pooling_halves_##CHANNELS(                                                                    \
    uint8_t *dst, const uint8_t *above, const uint8_t *below, ptrdiff_t n, int rounding, uint8_t turn                  \
) {                                                                                                                    \
    if (rounding == 0) pooling_halves_row(dst, above, below, n, CHANNELS, turn, 0);                                    \
    else if (rounding == 1) pooling_halves_row(dst, above, below, n, CHANNELS, turn, 1);                               \
    else if (rounding == 3 && turn) pooling_halves_row(dst, above, below, n, CHANNELS, turn, 3);                       \
    else pooling_halves_row(dst, above, below, n, CHANNELS, turn, 2);                                                  \
}
POOLING_HALVES_OF(1)
POOLING_HALVES_OF(2)
POOLING_HALVES_OF(3)
POOLING_HALVES_OF(4)

/* Make n bytes of means of 2 x 2 pixels of one to four channels. Signed bytes are turned by 128. */
static void pooling_halve(
    uint8_t *dst, const uint8_t *above, const uint8_t *below, ptrdiff_t n, ptrdiff_t channels, int rounding,
    uint8_t turn
) {
    switch (channels) {
    case 1: pooling_halves_1(dst, above, below, n, rounding, turn); return;
    case 2: pooling_halves_2(dst, above, below, n, rounding, turn); return;
    case 3: pooling_halves_3(dst, above, below, n, rounding, turn); return;
    default: pooling_halves_4(dst, above, below, n, rounding, turn);
    }
}
#else
#define POOLING_HALVES 0
#define pooling_halve(dst, above, below, n, channels, rounding, turn) ((void) 0)
#endif

#endif
