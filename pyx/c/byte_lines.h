/* Means of bytes along one axis, in windows that slide by one, of so few bytes that sums fit 16 bits.
 *
 * Signed bytes are turned by 128 on the way in and out, so that sums are of numbers from 0 to 255; means are then too
 * large by 128, and sums of negative numbers below 128 * divisor.
 */
#ifndef POOLING_BYTE_LINES_H
#define POOLING_BYTE_LINES_H

#include "byte_means.h"

/* Most bytes of a window, and of one whose bytes are added one by one where it lies along a line. Kernels know which sums
   fit before they come here, up to 128 of them. */
#define POOLING_LINE_TAPS 257
#define POOLING_LINE_FEW 12

#if POOLING_BYTE_MEANS
#define POOLING_LINE_BYTES POOLING_BYTES

typedef struct {
    /* The divisor, what is less by one, and the greatest number of 1 / 65536 that is not above its reciprocal. */
    pooling_bytes_t divisor, last, factor;
    /* 128 where bytes are signed, else 0. */
    pooling_bytes_t zero;
} pooling_line_quotient_t;

POOLING_BYTES_CONSTANT pooling_line_quotient_t pooling_line_quotient(ptrdiff_t divisor, uint8_t turn) {
    pooling_line_quotient_t by;
    by.divisor = POOLING_MEANS_OP(set1_epi16)((short) divisor);
    by.last = POOLING_MEANS_OP(set1_epi16)((short) (divisor - 1));
    by.factor = POOLING_MEANS_OP(set1_epi16)((short) (65536 / divisor));
    by.zero = POOLING_MEANS_OP(set1_epi16)((short) turn);
    return by;
}

/* sum * factor / 65536 is above sum / divisor - 1: a quotient that is too small is so by one, and shows in the rest.
   Rounding is numbered as in division.pxd. */
POOLING_BYTES_CONSTANT pooling_bytes_t pooling_line_mean(
    pooling_bytes_t sum, const pooling_line_quotient_t *by, const int rounding
) {
    const pooling_bytes_t ones = POOLING_MEANS_OP(set1_epi16)(1);
    pooling_bytes_t q = POOLING_MEANS_OP(mulhi_epu16)(sum, by->factor), up;
    pooling_bytes_t rest = POOLING_MEANS_OP(sub_epi16)(sum, POOLING_MEANS_OP(mullo_epi16)(q, by->divisor));
    const pooling_bytes_t small = POOLING_MEANS_OP(cmpgt_epi16)(rest, by->last);
    q = POOLING_MEANS_OP(sub_epi16)(q, small);
    if (rounding == 2) return q;
    rest = POOLING_MEANS_OP(sub_epi16)(rest, POOLING_MEANS_BITS(and)(small, by->divisor));
    if (rounding == 3) {
        up = POOLING_MEANS_BITS(and)(
            POOLING_MEANS_OP(cmpgt_epi16)(by->zero, q),
            POOLING_MEANS_OP(cmpgt_epi16)(rest, POOLING_MEANS_OP(set1_epi16)(0)));
    } else {
        rest = POOLING_MEANS_OP(add_epi16)(rest, rest);
        up = rounding == 1
            ? POOLING_MEANS_OP(cmpgt_epi16)(rest, by->last)
            : POOLING_MEANS_BITS(or)(
                  POOLING_MEANS_OP(cmpgt_epi16)(rest, by->divisor),
                  POOLING_MEANS_BITS(and)(
                      POOLING_MEANS_OP(cmpeq_epi16)(rest, by->divisor),
                      POOLING_MEANS_OP(cmpeq_epi16)(POOLING_MEANS_BITS(and)(q, ones), ones)));
    }
    return POOLING_MEANS_OP(sub_epi16)(q, up);
}

#define POOLING_LINE_LOW(a, b) POOLING_MEANS_OP(unpacklo_epi8)(a, b)
#define POOLING_LINE_HIGH(a, b) POOLING_MEANS_OP(unpackhi_epi8)(a, b)

/* Add a line to sums. The last vector lies over the one before; sums of vectors lie one behind another. */
POOLING_BYTES_ALONE void pooling_lines_add(uint16_t *restrict sums, const uint8_t *line, ptrdiff_t n, uint8_t turn) {
    const pooling_bytes_t zeros = pooling_bytes_all(0), turns = pooling_bytes_all(turn);
    ptrdiff_t at;
    for (at = 0; at < n; at += POOLING_BYTES) {
        const ptrdiff_t x = at + POOLING_BYTES <= n ? at : n - POOLING_BYTES;
        const pooling_bytes_t v = pooling_bytes_turn(pooling_bytes_load(line + x), turns);
        uint16_t *to = sums + at;
        pooling_bytes_store(to, POOLING_MEANS_OP(add_epi16)(pooling_bytes_load(to), POOLING_LINE_LOW(v, zeros)));
        to += POOLING_BYTES / 2;
        pooling_bytes_store(to, POOLING_MEANS_OP(add_epi16)(pooling_bytes_load(to), POOLING_LINE_HIGH(v, zeros)));
    }
}

/* Add a line to sums, make n means of them, and take the first line of the windows away. */
POOLING_BYTES_CONSTANT void pooling_lines_down(
    uint8_t *dst, uint16_t *sums, const uint8_t *added, const uint8_t *dropped, ptrdiff_t n,
    const pooling_line_quotient_t *by, const int rounding, uint8_t turn
) {
    const pooling_bytes_t zeros = pooling_bytes_all(0), turns = pooling_bytes_all(turn);
    ptrdiff_t at;
    for (at = 0; at < n; at += POOLING_BYTES) {
        const ptrdiff_t x = at + POOLING_BYTES <= n ? at : n - POOLING_BYTES;
        const pooling_bytes_t v = pooling_bytes_turn(pooling_bytes_load(added + x), turns);
        const pooling_bytes_t w = pooling_bytes_turn(pooling_bytes_load(dropped + x), turns);
        const pooling_bytes_t low = POOLING_MEANS_OP(add_epi16)(
            pooling_bytes_load(sums + at), POOLING_LINE_LOW(v, zeros));
        const pooling_bytes_t high = POOLING_MEANS_OP(add_epi16)(
            pooling_bytes_load(sums + at + POOLING_BYTES / 2), POOLING_LINE_HIGH(v, zeros));
        pooling_bytes_store(sums + at, POOLING_MEANS_OP(sub_epi16)(low, POOLING_LINE_LOW(w, zeros)));
        pooling_bytes_store(
            sums + at + POOLING_BYTES / 2, POOLING_MEANS_OP(sub_epi16)(high, POOLING_LINE_HIGH(w, zeros)));
        pooling_bytes_store(dst + x, pooling_bytes_turn(
            POOLING_MEANS_OP(packus_epi16)(
                pooling_line_mean(low, by, rounding), pooling_line_mean(high, by, rounding)),
            turns));
    }
}

/* Make n means along a line of windows of few bytes, which lie `apart`. */
POOLING_BYTES_CONSTANT void pooling_lines_few(
    uint8_t *dst, const uint8_t *line, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps,
    const pooling_line_quotient_t *by, const int rounding, uint8_t turn
) {
    const pooling_bytes_t zeros = pooling_bytes_all(0), ones = pooling_bytes_all(1), turns = pooling_bytes_all(turn);
    ptrdiff_t at, t;
    for (at = 0; at < n; at += POOLING_BYTES) {
        const ptrdiff_t x = at + POOLING_BYTES <= n ? at : n - POOLING_BYTES;
        const uint8_t *from = line + x;
        pooling_bytes_t low = zeros, high = zeros, a, b;
        for (t = 0; t < taps - 1; t += 2) {
            a = pooling_bytes_turn(pooling_bytes_load(from), turns);
            b = pooling_bytes_turn(pooling_bytes_load(from + apart), turns);
            low = POOLING_MEANS_OP(add_epi16)(
                low, POOLING_MEANS_OP(maddubs_epi16)(POOLING_LINE_LOW(a, b), ones));
            high = POOLING_MEANS_OP(add_epi16)(
                high, POOLING_MEANS_OP(maddubs_epi16)(POOLING_LINE_HIGH(a, b), ones));
            from += 2 * apart;
        }
        if (t < taps) {
            a = pooling_bytes_turn(pooling_bytes_load(from), turns);
            low = POOLING_MEANS_OP(add_epi16)(low, POOLING_LINE_LOW(a, zeros));
            high = POOLING_MEANS_OP(add_epi16)(high, POOLING_LINE_HIGH(a, zeros));
        }
        pooling_bytes_store(dst + x, pooling_bytes_turn(
            POOLING_MEANS_OP(packus_epi16)(
                pooling_line_mean(low, by, rounding), pooling_line_mean(high, by, rounding)),
            turns));
    }
}

/* Make n means of sums that lie side by side. */
POOLING_BYTES_CONSTANT void pooling_lines_divide(
    uint8_t *dst, const uint16_t *sums, ptrdiff_t n, const pooling_line_quotient_t *by, const int rounding, uint8_t turn
) {
    const pooling_bytes_t turns = pooling_bytes_all(turn);
    ptrdiff_t at;
    for (at = 0; at < n; at += POOLING_BYTES) {
        const ptrdiff_t x = at + POOLING_BYTES <= n ? at : n - POOLING_BYTES;
        pooling_bytes_t means = POOLING_MEANS_OP(packus_epi16)(
            pooling_line_mean(pooling_bytes_load(sums + x), by, rounding),
            pooling_line_mean(pooling_bytes_load(sums + x + POOLING_BYTES / 2), by, rounding));
#if defined(__AVX2__)
        /* Halves of 32 bytes are packed by themselves. */
        means = _mm256_permute4x64_epi64(means, 0xd8);
#endif
        pooling_bytes_store(dst + x, pooling_bytes_turn(means, turns));
    }
}

#define POOLING_LINES_OF(ROUNDING)                                                                                     \
POOLING_BYTES_ALONE void pooling_lines_down_##ROUNDING(                                                                \
    uint8_t *restrict dst, uint16_t *restrict sums, const uint8_t *added, const uint8_t *dropped, ptrdiff_t n,         \
    const pooling_line_quotient_t *by, uint8_t turn                                                                    \
) {                                                                                                                    \
    pooling_lines_down(dst, sums, added, dropped, n, by, ROUNDING, turn);                                              \
}                                                                                                                      \
POOLING_BYTES_ALONE void pooling_lines_few_##ROUNDING(                                                                 \
    uint8_t *restrict dst, const uint8_t *line, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps,                          \
    const pooling_line_quotient_t *by, uint8_t turn                                                                    \
) {                                                                                                                    \
    pooling_lines_few(dst, line, n, apart, taps, by, ROUNDING, turn);                                                  \
}                                                                                                                      \
POOLING_BYTES_ALONE void pooling_lines_divide_##ROUNDING(                                                              \
    uint8_t *restrict dst, const uint16_t *sums, ptrdiff_t n, const pooling_line_quotient_t *by, uint8_t turn          \
) {                                                                                                                    \
    pooling_lines_divide(dst, sums, n, by, ROUNDING, turn);                                                            \
}
POOLING_LINES_OF(0)
POOLING_LINES_OF(1)
POOLING_LINES_OF(2)
POOLING_LINES_OF(3)
/* Each choice is a constant in its own loop. */
#define POOLING_LINES_CALL(NAME, rounding, ...)                                                                        \
    (rounding == 0 ? pooling_lines_##NAME##_0(__VA_ARGS__) : rounding == 1 ? pooling_lines_##NAME##_1(__VA_ARGS__)     \
     : rounding == 2 ? pooling_lines_##NAME##_2(__VA_ARGS__) : pooling_lines_##NAME##_3(__VA_ARGS__))

/* Sums of four runs that lie `step` from each other; each is as long as all before it. */
POOLING_BYTES_ALONE void pooling_lines_fours(
    uint16_t *restrict dst, const uint16_t *restrict src, ptrdiff_t n, ptrdiff_t step
) {
    ptrdiff_t x;
    for (x = 0; x < n; x++)
        dst[x] = (uint16_t) (src[x] + src[x + step] + src[x + 2 * step] + src[x + 3 * step]);
}

/* Add one to three such runs to sums. */
POOLING_BYTES_ALONE void pooling_lines_runs(
    uint16_t *restrict sums, const uint16_t *restrict src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t count
) {
    ptrdiff_t x;
    if (count == 1) for (x = 0; x < n; x++) sums[x] = (uint16_t) (sums[x] + src[x]);
    if (count == 2) for (x = 0; x < n; x++) sums[x] = (uint16_t) (sums[x] + src[x] + src[x + step]);
    if (count == 3)
        for (x = 0; x < n; x++) sums[x] = (uint16_t) (sums[x] + src[x] + src[x + step] + src[x + 2 * step]);
}

POOLING_BYTES_ALONE void pooling_lines_widen(
    uint16_t *restrict dst, const uint8_t *restrict line, ptrdiff_t n, uint8_t turn
) {
    ptrdiff_t x;
    for (x = 0; x < n; x++) dst[x] = (uint16_t) (uint8_t) (line[x] ^ turn);
}

/* Values of memory that `pooling_mean_along` works in. */
#define POOLING_LINE_SUMS(n, apart, taps) (3 * (n) + 2 * ((taps) - 1) * (apart))

/* Make n means along a line, of n + (taps - 1) * apart bytes; n is that of a vector at least. A window is made of runs of
   1, 4, 16, 64 bytes, up to three of each, and the longest ones. */
POOLING_BYTES_ALONE void pooling_mean_along(
    uint8_t *dst, const uint8_t *line, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps, int rounding, uint8_t turn,
    uint16_t *sums
) {
    const pooling_line_quotient_t by = pooling_line_quotient(taps, turn);
    ptrdiff_t have = n + (taps - 1) * apart, left = taps, run = 1, begin = 0;
    uint16_t *runs = sums + n, *next = runs + have, *other;
    if (taps <= POOLING_LINE_FEW) {
        POOLING_LINES_CALL(few, rounding, dst, line, n, apart, taps, &by, turn);
        return;
    }
    memset(sums, 0, (size_t) n * sizeof(*sums));
    pooling_lines_widen(runs, line, have, turn);
    while (left) {
        const ptrdiff_t count = left % 4, step = run * apart;
        pooling_lines_runs(sums, runs + begin, n, step, count);
        begin += count * step;
        left /= 4;
        if (!left) break;
        have -= 3 * step;
        pooling_lines_fours(next, runs, have, step);
        other = runs;
        runs = next;
        next = other;
        run *= 4;
    }
    POOLING_LINES_CALL(divide, rounding, dst, sums, n, &by, turn);
}

/* Make `rows` lines of n means, each of as many lines as `taps` says, of which the first begins at lines[0]; n is that
   of a vector at least, and `sums` is memory for a line of vectors. */
POOLING_BYTES_ALONE void pooling_mean_down(
    uint8_t *dst, ptrdiff_t dst_row, const uint8_t *src, ptrdiff_t src_row, const uint8_t *padding, ptrdiff_t first,
    ptrdiff_t lines, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t taps, int rounding, uint8_t turn, uint16_t *sums
) {
    const pooling_line_quotient_t by = pooling_line_quotient(taps, turn);
    ptrdiff_t y;
#define POOLING_LINE(y) ((y) >= 0 && (y) < lines ? src + (y) * src_row : padding)
    memset(sums, 0, (size_t) ((n + POOLING_BYTES - 1) / POOLING_BYTES * POOLING_BYTES) * sizeof(*sums));
    for (y = 0; y < taps - 1; y++) pooling_lines_add(sums, POOLING_LINE(first + y), n, turn);
    for (y = 0; y < rows; y++) {
        const uint8_t *added = POOLING_LINE(first + y + taps - 1), *dropped = POOLING_LINE(first + y);
        POOLING_LINES_CALL(down, rounding, dst + y * dst_row, sums, added, dropped, n, &by, turn);
    }
#undef POOLING_LINE
}
#else
#define POOLING_LINE_BYTES 1
#define POOLING_LINE_SUMS(n, apart, taps) 0
#define pooling_mean_along(dst, line, n, apart, taps, rounding, turn, sums) ((void) 0)
#define pooling_mean_down(                                                                                             \
    dst, dst_row, src, src_row, padding, first, lines, rows, n, taps, rounding, turn, sums) ((void) 0)
#endif

#endif
