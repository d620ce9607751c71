/* Pyramids of images and volumes of bytes: two levels at once, and means of 2 x 2 x 2, of sums that stay in registers. */
#ifndef POOLING_QUARTERS_H
#define POOLING_QUARTERS_H

#include "bytes.h"
#include "stream.h"

#if POOLING_HALVES
#define POOLING_QUARTERS 1
/* Bytes of a row that are read at once. */
#define POOLING_QUARTERS_STEP 64

/* The means of sums of 2**bits bytes, rounded as `pooling_halves_rounded` rounds those of four. */
#define POOLING_QUARTERS_ROUNDED(VECTOR, ADD, AND, SHIFT, GREATER, ALL)                                                \
POOLING_BYTES_CONSTANT VECTOR pooling_quarters_rounded(VECTOR sum, const int bits, const int rounding) {               \
    const short half = (short) (1 << (bits - 1));                                                                      \
    if (rounding == 0) sum = ADD(sum, ADD(ALL((short) (half - 1)), AND(SHIFT(sum, bits), ALL(1))));                    \
    if (rounding == 1) sum = ADD(sum, ALL(half));                                                                      \
    if (rounding == 3) sum = ADD(sum, AND(GREATER(ALL((short) (256 * half)), sum), ALL((short) (2 * half - 1))));      \
    return SHIFT(sum, bits);                                                                                           \
}

/* Make 4 * step means of each of two pairs of rows, where 16 bytes hold `step` of whole pairs of pixels, and half as
   many of all four, whose sums go to `sums` unless it is NULL. Up to 64 bytes of a row are read; up to 32, 16 and 16 of
   results are written. */
#if defined(__AVX2__)
POOLING_QUARTERS_ROUNDED(
    __m256i, _mm256_add_epi16, _mm256_and_si256, _mm256_srli_epi16, _mm256_cmpgt_epi16, _mm256_set1_epi16)

POOLING_BYTES_CONSTANT __m256i pooling_quarters_pairs(
    const uint8_t *row, ptrdiff_t apart, const int step, __m256i turns, const int channels
) {
    return _mm256_add_epi16(
        pooling_halves_pairs(row, step, turns, channels), pooling_halves_pairs(row + apart, step, turns, channels));
}

/* Add neighbours, so that those of `a` come before those of `b` in each half. */
POOLING_BYTES_CONSTANT __m256i pooling_quarters_join(__m256i a, __m256i b, const int channels) {
    if (channels == 1) return _mm256_hadd_epi16(a, b);
    if (channels == 2) return _mm256_hadd_epi32(a, b);
    if (channels == 4) return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    a = _mm256_add_epi16(a, _mm256_srli_si256(a, 6));
    b = _mm256_add_epi16(b, _mm256_srli_si256(b, 6));
    return _mm256_blend_epi16(a, _mm256_slli_si256(b, 6), 0x38);
}

POOLING_BYTES_CONSTANT void pooling_quarters_store(uint8_t *dst, __m256i bytes, const int channels) {
    if (channels != 3) {
        pooling_bytes_store(dst, bytes);
        return;
    }
    bytes = _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(pooling_halves_close()));
    _mm_storeu_si128((__m128i *) dst, _mm256_castsi256_si128(bytes));
    _mm_storeu_si128((__m128i *) (dst + 12), _mm256_extracti128_si256(bytes, 1));
}

POOLING_BYTES_CONSTANT void pooling_quarters_block(
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart,
    const int channels, uint8_t turn, const int rounding
) {
    const int step = channels == 3 ? 12 : 16;
    const __m256i turns = _mm256_set1_epi8((char) turn);
    __m256i a = pooling_quarters_pairs(row, apart, step, turns, channels);
    __m256i b = pooling_quarters_pairs(row + step, apart, step, turns, channels);
    __m256i c = pooling_quarters_pairs(row + 2 * apart, apart, step, turns, channels);
    __m256i d = pooling_quarters_pairs(row + 2 * apart + step, apart, step, turns, channels);
    __m256i sum = pooling_quarters_join(_mm256_add_epi16(a, c), _mm256_add_epi16(b, d), channels);
    __m256i words = pooling_quarters_rounded(sum, 4, rounding);
    __m128i means = _mm_xor_si128(
        _mm256_castsi256_si128(turns),
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    pooling_quarters_store(first, _mm256_xor_si256(turns, _mm256_packus_epi16(
        pooling_halves_rounded(a, rounding), pooling_halves_rounded(b, rounding))), channels);
    pooling_quarters_store(second, _mm256_xor_si256(turns, _mm256_packus_epi16(
        pooling_halves_rounded(c, rounding), pooling_halves_rounded(d, rounding))), channels);
    if (sums) {
        sum = _mm256_sub_epi16(sum, _mm256_set1_epi16((short) (16 * turn)));
        _mm_storeu_si128((__m128i *) sums, _mm256_castsi256_si128(sum));
        _mm_storeu_si128((__m128i *) (sums + step / 2), _mm256_extracti128_si256(sum, 1));
    }
    /* Three channels leave six of eight. */
    if (channels == 3)
        means = _mm_shuffle_epi8(means, _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1));
    _mm_storeu_si128((__m128i *) dst, means);
}

POOLING_BYTES_CONSTANT __m256i pooling_eighths_sum(
    const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d
) {
    const __m256i none = _mm256_setzero_si256();
    return _mm256_add_epi16(
        _mm256_add_epi16(pooling_halves_pairs(a, 16, none, 1), pooling_halves_pairs(b, 16, none, 1)),
        _mm256_add_epi16(pooling_halves_pairs(c, 16, none, 1), pooling_halves_pairs(d, 16, none, 1)));
}

/* Make 32 means of 64 bytes of each of four rows, and store their sums unless `sums` is NULL. */
POOLING_BYTES_CONSTANT void pooling_eighths_block(
    uint8_t *dst, uint16_t *sums, const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
    const int rounding
) {
    __m256i left = pooling_eighths_sum(a, b, c, d), right = pooling_eighths_sum(a + 16, b + 16, c + 16, d + 16);
    if (sums) {
        _mm256_storeu_si256((__m256i *) sums, _mm256_permute2x128_si256(left, right, 0x20));
        _mm256_storeu_si256((__m256i *) (sums + 16), _mm256_permute2x128_si256(left, right, 0x31));
    }
    pooling_bytes_store(dst, _mm256_packus_epi16(
        pooling_quarters_rounded(left, 3, rounding), pooling_quarters_rounded(right, 3, rounding)));
}
#else
POOLING_QUARTERS_ROUNDED(__m128i, _mm_add_epi16, _mm_and_si128, _mm_srli_epi16, _mm_cmpgt_epi16, _mm_set1_epi16)

POOLING_BYTES_CONSTANT __m128i pooling_quarters_pairs(
    const uint8_t *row, ptrdiff_t apart, __m128i turns, const int channels
) {
    return _mm_add_epi16(
        pooling_halves_pairs(row, turns, channels), pooling_halves_pairs(row + apart, turns, channels));
}

POOLING_BYTES_CONSTANT __m128i pooling_quarters_join(__m128i a, __m128i b, const int channels) {
    if (channels == 1) return _mm_hadd_epi16(a, b);
    if (channels == 2) return _mm_hadd_epi32(a, b);
    if (channels == 4) return _mm_add_epi16(_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
    a = _mm_add_epi16(a, _mm_srli_si128(a, 6));
    b = _mm_add_epi16(b, _mm_srli_si128(b, 6));
    return _mm_or_si128(
        _mm_and_si128(a, _mm_setr_epi16(-1, -1, -1, 0, 0, 0, 0, 0)),
        _mm_slli_si128(_mm_and_si128(b, _mm_setr_epi16(-1, -1, -1, 0, 0, 0, 0, 0)), 6));
}

POOLING_BYTES_CONSTANT void pooling_quarters_store(uint8_t *dst, __m128i bytes, const int channels) {
    if (channels == 3) bytes = _mm_shuffle_epi8(bytes, pooling_halves_close());
    _mm_storeu_si128((__m128i *) dst, bytes);
}

POOLING_BYTES_CONSTANT void pooling_quarters_block(
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart,
    const int channels, uint8_t turn, const int rounding
) {
    const int step = channels == 3 ? 12 : 16;
    const __m128i turns = _mm_set1_epi8((char) turn);
    int half;
    for (half = 0; half < 2; half++) {
        __m128i a = pooling_quarters_pairs(row, apart, turns, channels);
        __m128i b = pooling_quarters_pairs(row + step, apart, turns, channels);
        __m128i c = pooling_quarters_pairs(row + 2 * apart, apart, turns, channels);
        __m128i d = pooling_quarters_pairs(row + 2 * apart + step, apart, turns, channels);
        __m128i sum = pooling_quarters_join(_mm_add_epi16(a, c), _mm_add_epi16(b, d), channels);
        __m128i words = pooling_quarters_rounded(sum, 4, rounding);
        pooling_quarters_store(first, _mm_xor_si128(turns, _mm_packus_epi16(
            pooling_halves_rounded(a, rounding), pooling_halves_rounded(b, rounding))), channels);
        pooling_quarters_store(second, _mm_xor_si128(turns, _mm_packus_epi16(
            pooling_halves_rounded(c, rounding), pooling_halves_rounded(d, rounding))), channels);
        if (sums) {
            _mm_storeu_si128((__m128i *) sums, _mm_sub_epi16(sum, _mm_set1_epi16((short) (16 * turn))));
            sums += step / 2;
        }
        _mm_storel_epi64((__m128i *) dst, _mm_xor_si128(turns, _mm_packus_epi16(words, words)));
        row += 2 * step;
        first += step;
        second += step;
        dst += step / 2;
    }
}

POOLING_BYTES_CONSTANT void pooling_eighths_block(
    uint8_t *dst, uint16_t *sums, const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
    const int rounding
) {
    const __m128i none = _mm_setzero_si128();
    int at;
    for (at = 0; at < 64; at += 32) {
        __m128i part[2];
        int i;
        for (i = 0; i < 2; i++) {
            const int x = at + 16 * i;
            part[i] = _mm_add_epi16(
                _mm_add_epi16(pooling_halves_pairs(a + x, none, 1), pooling_halves_pairs(b + x, none, 1)),
                _mm_add_epi16(pooling_halves_pairs(c + x, none, 1), pooling_halves_pairs(d + x, none, 1)));
            if (sums) _mm_storeu_si128((__m128i *) (sums + x / 2), part[i]);
        }
        _mm_storeu_si128((__m128i *) (dst + at / 2), _mm_packus_epi16(
            pooling_quarters_rounded(part[0], 3, rounding), pooling_quarters_rounded(part[1], 3, rounding)));
    }
}
#endif

/* Make the last block of a row in memory of its own, since it would read and write more than there is. */
POOLING_BYTES_CONSTANT void pooling_quarters_last(
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart,
    const int channels, uint8_t turn, const int rounding
) {
    const size_t made = channels == 3 ? 48 : 64;
    uint8_t rows[4 * 64], one[32], two[32], both[16];
    uint16_t more[16];
    int r;
    memset(rows, 0, sizeof(rows));
    for (r = 0; r < 4; r++) memcpy(rows + 64 * r, row + r * apart, made);
    pooling_quarters_block(one, two, both, more, rows, 64, channels, turn, rounding);
    memcpy(first, one, made / 2);
    memcpy(second, two, made / 2);
    memcpy(dst, both, made / 4);
    if (sums) memcpy(sums, more, made / 2);
}

POOLING_BYTES_CONSTANT void pooling_quarters_row(
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart, ptrdiff_t n,
    ptrdiff_t ahead, const int channels, uint8_t turn, const int rounding
) {
    const ptrdiff_t made = channels == 3 ? 48 : 64;
    ptrdiff_t x, r;
    for (x = 0; x + 64 <= n; x += made) {
        if (ahead) for (r = 0; r < 4; r++) pooling_prefetch(row + r * apart + x + ahead);
        pooling_quarters_block(
            first + x / 2, second + x / 2, dst + x / 4, sums ? sums + x / 4 : NULL, row + x, apart, channels, turn,
            rounding);
    }
    for (; x < n; x += made) {
        /* Together with some of those before. */
        if (x + made > n) x = n - made;
        pooling_quarters_last(
            first + x / 2, second + x / 2, dst + x / 4, sums ? sums + x / 4 : NULL, row + x, apart, channels, turn,
            rounding);
    }
}

#define POOLING_QUARTERS_OF(CHANNELS)                                                                                  \
POOLING_BYTES_ALONE void pooling_quarters_##CHANNELS(                                                                  \
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart, ptrdiff_t n,   \
    ptrdiff_t ahead, int rounding, uint8_t turn                                                                        \
) {                                                                                                                    \
    if (rounding == 0)                                                                                                 \
        pooling_quarters_row(first, second, dst, sums, row, apart, n, ahead, CHANNELS, turn, 0);                       \
    else if (rounding == 1)                                                                                            \
        pooling_quarters_row(first, second, dst, sums, row, apart, n, ahead, CHANNELS, turn, 1);                       \
    else if (rounding == 3 && turn)                                                                                    \
        pooling_quarters_row(first, second, dst, sums, row, apart, n, ahead, CHANNELS, turn, 3);                       \
    else pooling_quarters_row(first, second, dst, sums, row, apart, n, ahead, CHANNELS, turn, 2);                      \
}
POOLING_QUARTERS_OF(1)
POOLING_QUARTERS_OF(2)
POOLING_QUARTERS_OF(3)
POOLING_QUARTERS_OF(4)

/* Make means of 2 x 2 (two rows) and of 4 x 4 pixels of four rows of n bytes that lie `apart`, n whole pixels of the
   latter and at least POOLING_QUARTERS_STEP; `sums` is NULL or gets the sums of 4 x 4, of signed bytes too, which are
   turned by 128. The rows that are read next lie `ahead`, or 0. */
static void pooling_quarter(
    uint8_t *first, uint8_t *second, uint8_t *dst, uint16_t *sums, const uint8_t *row, ptrdiff_t apart, ptrdiff_t n,
    ptrdiff_t ahead, ptrdiff_t channels, int rounding, uint8_t turn
) {
    switch (channels) {
    case 1: pooling_quarters_1(first, second, dst, sums, row, apart, n, ahead, rounding, turn); return;
    case 2: pooling_quarters_2(first, second, dst, sums, row, apart, n, ahead, rounding, turn); return;
    case 3: pooling_quarters_3(first, second, dst, sums, row, apart, n, ahead, rounding, turn); return;
    default: pooling_quarters_4(first, second, dst, sums, row, apart, n, ahead, rounding, turn);
    }
}

POOLING_BYTES_CONSTANT void pooling_eighths_row(
    uint8_t *dst, uint16_t *sums, const uint8_t *const *rows, ptrdiff_t n, ptrdiff_t ahead, const int rounding
) {
    const uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    ptrdiff_t x = 0;
    for (;;) {
        for (; x + POOLING_QUARTERS_STEP <= n; x += POOLING_QUARTERS_STEP) {
            pooling_prefetch(a + x + ahead);
            pooling_prefetch(b + x + ahead);
            pooling_prefetch(c + x + ahead);
            pooling_prefetch(d + x + ahead);
            pooling_eighths_block(dst + x / 2, sums ? sums + x / 2 : NULL, a + x, b + x, c + x, d + x, rounding);
        }
        if (x == n) return;
        x = n - POOLING_QUARTERS_STEP;
    }
}

/* Make means of pairs of four rows of n bytes, n even and at least POOLING_QUARTERS_STEP. */
POOLING_BYTES_ALONE void pooling_eighth(
    uint8_t *dst, uint16_t *sums, const uint8_t *const *rows, ptrdiff_t n, ptrdiff_t ahead, int rounding
) {
    if (rounding == 0) pooling_eighths_row(dst, sums, rows, n, ahead, 0);
    else if (rounding == 1) pooling_eighths_row(dst, sums, rows, n, ahead, 1);
    else pooling_eighths_row(dst, sums, rows, n, ahead, 2);
}
#else
#define POOLING_QUARTERS 0
#define POOLING_QUARTERS_STEP 64
#define pooling_quarter(first, second, dst, sums, row, apart, n, ahead, channels, rounding, turn) ((void) 0)
#define pooling_eighth(dst, sums, rows, n, ahead, rounding) ((void) 0)
#endif

#endif
