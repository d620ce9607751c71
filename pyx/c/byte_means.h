/* Means of 3 x 3 bytes of an image, in whole vectors.
 *
 * Signed bytes are turned by 128 on the way in and out: a sum of nine is then 9 * 128 too large, whichever of its cells
 * are padding, and a mean by 1152 / divisor, which is whole and even for all the divisors there are (2, 3, 4, 6, 9).
 */
#ifndef POOLING_BYTE_MEANS_H
#define POOLING_BYTE_MEANS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "bytes.h"

#if defined(__SSSE3__)
#define POOLING_BYTE_MEANS 1

#if defined(__AVX2__)
#define POOLING_MEANS_OP(NAME) _mm256_##NAME
#define POOLING_MEANS_BITS(NAME) _mm256_##NAME##_si256
#else
#define POOLING_MEANS_OP(NAME) _mm_##NAME
#define POOLING_MEANS_BITS(NAME) _mm_##NAME##_si128
#endif

/* How sums of nine bytes become means by one divisor. */
typedef struct {
    /* Added to a sum; the same once more to sums below `zero`. */
    pooling_bytes_t bias, zero, below;
    /* The divisor and the least number of 1 / 65536 that is not less than its reciprocal. */
    pooling_bytes_t divisor, factor;
    /* What a half that was rounded up to an odd number is lowered by; and by what means are too large. */
    pooling_bytes_t odd, excess;
} pooling_byte_quotient_t;

/* Rounding is numbered as in division.pxd. */
POOLING_BYTES_CONSTANT pooling_byte_quotient_t pooling_byte_quotient(int divisor, int rounding, uint8_t turn) {
    pooling_byte_quotient_t by;
    const int zero = 9 * turn;
    by.bias = POOLING_MEANS_OP(set1_epi16)((short) (rounding < 2 ? divisor / 2 : 0));
    by.zero = POOLING_MEANS_OP(set1_epi16)((short) zero);
    by.below = POOLING_MEANS_OP(set1_epi16)((short) (rounding == 3 ? divisor - 1 : 0));
    by.divisor = POOLING_MEANS_OP(set1_epi16)((short) divisor);
    by.factor = POOLING_MEANS_OP(set1_epi16)((short) ((65536 + divisor - 1) / divisor));
    by.odd = POOLING_MEANS_OP(set1_epi16)((short) (rounding == 0 && divisor % 2 == 0));
    by.excess = POOLING_MEANS_OP(set1_epi16)((short) (zero / divisor - turn));
    return by;
}

/* For n <= 9 * 255 + 8 and divisors up to 9, n * factor / 65536 is less than n / divisor + 1 / divisor: the floor is
   that of the quotient. */
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_byte_mean(pooling_bytes_t sum, const pooling_byte_quotient_t *by) {
    pooling_bytes_t below = POOLING_MEANS_BITS(and)(POOLING_MEANS_OP(cmpgt_epi16)(by->zero, sum), by->below);
    pooling_bytes_t n = POOLING_MEANS_OP(add_epi16)(POOLING_MEANS_OP(add_epi16)(sum, by->bias), below);
    pooling_bytes_t q = POOLING_MEANS_OP(mulhi_epu16)(n, by->factor);
    pooling_bytes_t half = POOLING_MEANS_OP(cmpeq_epi16)(POOLING_MEANS_OP(mullo_epi16)(q, by->divisor), n);
    q = POOLING_MEANS_OP(sub_epi16)(q, POOLING_MEANS_BITS(and)(half, POOLING_MEANS_BITS(and)(q, by->odd)));
    return POOLING_MEANS_OP(sub_epi16)(q, by->excess);
}

/* Ninths have no halves, so that the nearest whole number is the one: sum * 3641 / 32768 is too large by less than
   1 / 100 for sums up to 9 * 255, and no ninth lies nearer than 1 / 18 to a half. */
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_byte_ninth(pooling_bytes_t sum) {
    return POOLING_MEANS_OP(mulhrs_epi16)(sum, POOLING_MEANS_OP(set1_epi16)(3641));
}

POOLING_BYTES_CONSTANT pooling_bytes_t pooling_byte_sum(pooling_bytes_t a, pooling_bytes_t b, pooling_bytes_t c) {
    return POOLING_MEANS_OP(add_epi16)(POOLING_MEANS_OP(add_epi16)(a, b), c);
}

/* Sums of three bytes that lie `apart`, in the order in which bytes are unpacked and packed again. */
POOLING_BYTES_CONSTANT void pooling_byte_threes(
    pooling_bytes_t *low, pooling_bytes_t *high, const uint8_t *line, ptrdiff_t apart, const uint8_t turn
) {
    const pooling_bytes_t ones = pooling_bytes_all(1), zeros = pooling_bytes_all(0), turns = pooling_bytes_all(turn);
    pooling_bytes_t a = pooling_bytes_load(line), b = pooling_bytes_load(line + apart);
    pooling_bytes_t c = pooling_bytes_load(line + 2 * apart);
    if (turn) {
        a = pooling_bytes_turn(a, turns);
        b = pooling_bytes_turn(b, turns);
        c = pooling_bytes_turn(c, turns);
    }
    *low = POOLING_MEANS_OP(add_epi16)(
        POOLING_MEANS_OP(maddubs_epi16)(POOLING_MEANS_OP(unpacklo_epi8)(a, b), ones),
        POOLING_MEANS_OP(unpacklo_epi8)(c, zeros));
    *high = POOLING_MEANS_OP(add_epi16)(
        POOLING_MEANS_OP(maddubs_epi16)(POOLING_MEANS_OP(unpackhi_epi8)(a, b), ones),
        POOLING_MEANS_OP(unpackhi_epi8)(c, zeros));
}

/* Make sums of a line's threes, and with those of the two lines before n means, where `dst` is not NULL. The last
   vector lies over the one before, in `dst`; sums of vectors lie one behind another. */
POOLING_BYTES_CONSTANT void pooling_byte_means_line(
    uint8_t *dst, uint16_t *sums, const uint16_t *before, const uint16_t *last, const uint8_t *line, ptrdiff_t n,
    ptrdiff_t apart, const pooling_byte_quotient_t *by, const uint8_t turn
) {
    pooling_bytes_t low, high, means;
    ptrdiff_t at, x;
    for (at = 0; at < n; at += POOLING_BYTES) {
        x = at + POOLING_BYTES <= n ? at : n - POOLING_BYTES;
        pooling_byte_threes(&low, &high, line + x, apart, turn);
        pooling_bytes_store(sums + at, low);
        pooling_bytes_store(sums + at + POOLING_BYTES / 2, high);
        if (!dst) continue;
        low = pooling_byte_sum(low, pooling_bytes_load(before + at), pooling_bytes_load(last + at));
        high = pooling_byte_sum(
            high, pooling_bytes_load(before + at + POOLING_BYTES / 2),
            pooling_bytes_load(last + at + POOLING_BYTES / 2));
        means = by
            ? POOLING_MEANS_OP(packus_epi16)(pooling_byte_mean(low, by), pooling_byte_mean(high, by))
            : POOLING_MEANS_OP(packus_epi16)(pooling_byte_ninth(low), pooling_byte_ninth(high));
        if (turn) means = pooling_bytes_turn(means, pooling_bytes_all(turn));
        pooling_bytes_store(dst + x, means);
    }
}

#define POOLING_BYTE_MEANS_OF(NAME, TURN)                                                                              \
POOLING_BYTES_ALONE void pooling_byte_threes_##NAME(                                                                   \
    uint16_t *sums, const uint8_t *line, ptrdiff_t n, ptrdiff_t apart                                                  \
) {                                                                                                                    \
    pooling_byte_means_line(NULL, sums, NULL, NULL, line, n, apart, NULL, TURN);                                       \
}                                                                                                                      \
POOLING_BYTES_ALONE void pooling_byte_ninths_##NAME(                                                                   \
    uint8_t *restrict dst, uint16_t *restrict sums, const uint16_t *before, const uint16_t *last,                      \
    const uint8_t *restrict line, ptrdiff_t n, ptrdiff_t apart                                                         \
) {                                                                                                                    \
    if (dst) pooling_byte_means_line(dst, sums, before, last, line, n, apart, NULL, TURN);                             \
}                                                                                                                      \
POOLING_BYTES_ALONE void pooling_byte_quotients_##NAME(                                                                \
    uint8_t *restrict dst, uint16_t *restrict sums, const uint16_t *before, const uint16_t *last,                      \
    const uint8_t *restrict line, ptrdiff_t n, ptrdiff_t apart, int divisor, int rounding                              \
) {                                                                                                                    \
    const pooling_byte_quotient_t by = pooling_byte_quotient(divisor, rounding, TURN);                                 \
    if (dst) pooling_byte_means_line(dst, sums, before, last, line, n, apart, &by, TURN);                              \
}
POOLING_BYTE_MEANS_OF(unsigned, 0)
POOLING_BYTE_MEANS_OF(signed, 128)

/* The sums of a line's first or last pixel with its one neighbour. */
POOLING_BYTES_CONSTANT void pooling_byte_twos(uint16_t *sums, const uint8_t *line, ptrdiff_t apart, uint8_t turn) {
    ptrdiff_t i;
    for (i = 0; i < apart; i++)
        sums[i] = (uint16_t) ((line[i] ^ turn) + (line[apart + i] ^ turn) + turn);
}

/* The means of such a pixel. Sums of three lines lie `row` from each other. */
POOLING_BYTES_CONSTANT void pooling_byte_end(
    uint8_t *dst, const uint16_t *sums, ptrdiff_t row, ptrdiff_t apart, const pooling_byte_quotient_t *by, uint8_t turn
) {
    uint8_t means[POOLING_BYTES];
    ptrdiff_t i, x;
    for (x = 0; x < apart; x += POOLING_BYTES / 2) {
        const pooling_bytes_t mean = pooling_byte_mean(pooling_byte_sum(
            pooling_bytes_load(sums + x), pooling_bytes_load(sums + row + x), pooling_bytes_load(sums + 2 * row + x)),
            by);
        pooling_bytes_store(means, pooling_bytes_turn(
            POOLING_MEANS_OP(packus_epi16)(mean, mean), pooling_bytes_all(turn)));
        for (i = 0; i < POOLING_BYTES / 2 && x + i < apart; i++)
            /* Halves of 32 bytes are packed by themselves. */
            dst[x + i] = means[i / 8 * 16 + i % 8];
    }
}

/* A tile: `rows` lines of n means from the bytes of rows + 2 lines, each n + 2 * apart long, and of the pixels before
   and behind them where their divisors are not 0. */
typedef struct {
    ptrdiff_t rows, n, apart;
    /* Divisors along a line: of what lies before it, in it and behind it. */
    int before, within, behind;
    int rounding;
    uint8_t turn;
} pooling_byte_tile_t;

/* Values of a line's sums, those of its first and last pixel included. */
#define POOLING_BYTE_SUMS(n, apart) ((((n) + 31) / 32 + ((apart) + 15) / 16) * 32)

/* Make a tile. `divisors` has that of each line down the columns; `sums` is memory for three lines of sums. */
POOLING_BYTES_ALONE void pooling_mean_bytes(
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t **lines, const ptrdiff_t *divisors, const pooling_byte_tile_t *tile,
    uint16_t *sums
) {
    const ptrdiff_t n = tile->n, apart = tile->apart, row = POOLING_BYTE_SUMS(n, apart);
    const ptrdiff_t first = (n + 31) / 32 * 32, last = first + (apart + 15) / 16 * 16;
    const uint8_t turn = tile->turn;
    const int nearest = tile->rounding < 2;
    pooling_byte_quotient_t by_before, by_behind;
    int made = 0;
    ptrdiff_t y;
    memset(&by_before, 0, sizeof(by_before));
    memset(&by_behind, 0, sizeof(by_behind));
    for (y = 0; y < tile->rows + 2; y++) {
        uint16_t *to = sums + y % 3 * row;
        const uint16_t *one = sums + (y + 1) % 3 * row, *two = sums + (y + 2) % 3 * row;
        uint8_t *out = dst + (y - 2) * dst_row;
        const int down = y < 2 ? 0 : (int) divisors[y - 2];
        if (tile->before) pooling_byte_twos(to + first, lines[y], apart, turn);
        if (tile->behind) pooling_byte_twos(to + last, lines[y] + n, apart, turn);
        if (y < 2) {
            if (turn) pooling_byte_threes_signed(to, lines[y], n, apart);
            else pooling_byte_threes_unsigned(to, lines[y], n, apart);
            continue;
        }
        if (down != made) {
            /* Most lines have the same divisor, and to find what it needs takes longer than the pixels do. */
            if (tile->before) by_before = pooling_byte_quotient(down * tile->before, tile->rounding, turn);
            if (tile->behind) by_behind = pooling_byte_quotient(down * tile->behind, tile->rounding, turn);
            made = down;
        }
        if (down * tile->within == 9 && nearest) {
            if (turn) pooling_byte_ninths_signed(out, to, one, two, lines[y], n, apart);
            else pooling_byte_ninths_unsigned(out, to, one, two, lines[y], n, apart);
        } else {
            const int divisor = down * tile->within;
            if (turn) pooling_byte_quotients_signed(out, to, one, two, lines[y], n, apart, divisor, tile->rounding);
            else pooling_byte_quotients_unsigned(out, to, one, two, lines[y], n, apart, divisor, tile->rounding);
        }
        if (tile->before) pooling_byte_end(out - apart, sums + first, row, apart, &by_before, turn);
        if (tile->behind) pooling_byte_end(out + n, sums + last, row, apart, &by_behind, turn);
    }
}
#else
#define POOLING_BYTE_MEANS 0
typedef struct {
    ptrdiff_t rows, n, apart;
    int before, within, behind, rounding;
    uint8_t turn;
} pooling_byte_tile_t;
#define POOLING_BYTE_SUMS(n, apart) 0
#define pooling_mean_bytes(dst, dst_row, lines, divisors, tile, sums) ((void) 0)
#endif

#endif
