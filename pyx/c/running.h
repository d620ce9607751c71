/* Sums of long windows of small integers, which are exact in whatever order they are made: down the columns and along
 * the rows, what enters a window is added to the sum of the one before, and what leaves it subtracted.
 */
#ifndef POOLING_RUNNING_H
#define POOLING_RUNNING_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* Add one row to sums of n columns and subtract another one; either may be NULL. */
#define POOLING_EXCHANGE(NAME, KIND)                                                                                   \
static void pooling_exchange_##NAME(                                                                                   \
    int32_t *restrict sums, const KIND *restrict enters, const KIND *restrict leaves, ptrdiff_t n                      \
) {                                                                                                                    \
    ptrdiff_t i;                                                                                                       \
    if (enters && leaves)                                                                                              \
        for (i = 0; i < n; i++)                                                                                        \
            sums[i] += (int32_t) enters[i] - (int32_t) leaves[i];                                                      \
    else if (enters)                                                                                                   \
        for (i = 0; i < n; i++)                                                                                        \
            sums[i] += (int32_t) enters[i];                                                                            \
    else if (leaves)                                                                                                   \
        for (i = 0; i < n; i++)                                                                                        \
            sums[i] -= (int32_t) leaves[i];                                                                            \
}
POOLING_EXCHANGE(int8, int8_t)
POOLING_EXCHANGE(uint8, uint8_t)
POOLING_EXCHANGE(int16, int16_t)
POOLING_EXCHANGE(uint16, uint16_t)

static inline void pooling_slide_pixel(
    int32_t *restrict dst, const int32_t *restrict before, const int32_t *restrict enters,
    const int32_t *restrict leaves, ptrdiff_t inner
) {
    ptrdiff_t c;
    for (c = 0; c < inner; c++)
        dst[c] = before[c] + (enters[c] - leaves[c]);
}

/* Along a row of single values each sum waits for the one before; a vector of differences is summed in steps of 1, 2
   and 4, and only what it adds up to is waited for. */
static inline void pooling_slide_values(int32_t *dst, const int32_t *columns, ptrdiff_t outputs, ptrdiff_t taps) {
    ptrdiff_t x = 1;
#if defined(__AVX2__)
    const __m256i last = _mm256_set1_epi32(7);
    __m256i sum = _mm256_set1_epi32(dst[0]);
    for (; x + 8 <= outputs; x += 8) {
        __m256i v = _mm256_sub_epi32(
            _mm256_loadu_si256((const __m256i *) (columns + x + taps - 1)),
            _mm256_loadu_si256((const __m256i *) (columns + x - 1)));
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 4));
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 8));
        v = _mm256_add_epi32(v, _mm256_shuffle_epi32(_mm256_permute2x128_si256(v, v, 0x08), 0xff));
        _mm256_storeu_si256((__m256i *) (dst + x), _mm256_add_epi32(sum, v));
        sum = _mm256_add_epi32(sum, _mm256_permutevar8x32_epi32(v, last));
    }
#endif
    for (; x < outputs; x++)
        dst[x] = dst[x - 1] + (columns[x + taps - 1] - columns[x - 1]);
}

#if defined(__GNUC__) && !defined(__clang__)
#define POOLING_SLIDES_FEW 1
typedef int32_t pooling_pixel_t __attribute__((vector_size(16)));
typedef int32_t pooling_values_t __attribute__((vector_size(16), aligned(4), may_alias));

static inline __attribute__((always_inline)) pooling_pixel_t pooling_change(
    const int32_t *enters, const int32_t *leaves
) {
    return *(const pooling_values_t *) enters - *(const pooling_values_t *) leaves;
}

/* Pixels of two to four channels, each the beginning of a vector of four; four pixels at a time, so that only one
   addition in four waits for another, and whole vectors are stored: ones that overlap took one and a half as long. */
static inline __attribute__((always_inline)) void pooling_slide_few(
    int32_t *dst, const int32_t *columns, ptrdiff_t outputs, const int inner, ptrdiff_t taps
) {
    const int32_t *enters = columns + taps * inner;
    pooling_pixel_t sum = *(const pooling_values_t *) dst, sums[4], changes[4];
    ptrdiff_t x = 1;
    int i;
    dst += inner;
    for (; x + 4 <= outputs; x += 4) {
        for (i = 0; i < 4; i++)
            changes[i] = pooling_change(enters + i * inner, columns + i * inner);
        changes[1] += changes[0];
        changes[3] += changes[2];
        for (i = 0; i < 2; i++)
            sums[i] = sum + changes[i];
        for (i = 2; i < 4; i++)
            sums[i] = sum + (changes[1] + changes[i]);
        sum = sums[3];
        if (inner == 2) {
            const pooling_pixel_t pairs = {0, 1, 4, 5};
            for (i = 0; i < 2; i++)
                *(pooling_values_t *) (dst + 4 * i) = __builtin_shuffle(sums[2 * i], sums[2 * i + 1], pairs);
        } else if (inner == 3) {
            const pooling_pixel_t begin = {0, 1, 2, 4}, middle = {1, 2, 4, 5}, end = {2, 4, 5, 6};
            *(pooling_values_t *) dst = __builtin_shuffle(sums[0], sums[1], begin);
            *(pooling_values_t *) (dst + 4) = __builtin_shuffle(sums[1], sums[2], middle);
            *(pooling_values_t *) (dst + 8) = __builtin_shuffle(sums[2], sums[3], end);
        } else {
            for (i = 0; i < 4; i++)
                *(pooling_values_t *) (dst + 4 * i) = sums[i];
        }
        dst += 4 * inner;
        enters += 4 * inner;
        columns += 4 * inner;
    }
    for (; x < outputs; x++) {
        pooling_slide_pixel(dst, dst - inner, enters, columns, inner);
        dst += inner;
        enters += inner;
        columns += inner;
    }
}
#else
#define POOLING_SLIDES_FEW 0
#endif

/* Sums of `taps` pixels of `inner` values for `outputs` windows. Memory holds four values more than `columns` and sums. */
static void pooling_slide_sums(
    int32_t *dst, const int32_t *columns, ptrdiff_t outputs, ptrdiff_t inner, ptrdiff_t taps
) {
    ptrdiff_t x, i;
    if (inner == 1) {
        int32_t sum = 0;
        for (i = 0; i < taps; i++)
            sum += columns[i];
        dst[0] = sum;
        pooling_slide_values(dst, columns, outputs, taps);
        return;
    }
    for (i = 0; i < inner; i++)
        dst[i] = columns[i];
    for (x = 1; x < taps; x++)
        for (i = 0; i < inner; i++)
            dst[i] += columns[x * inner + i];
#if POOLING_SLIDES_FEW
    if (inner == 2) {
        pooling_slide_few(dst, columns, outputs, 2, taps);
        return;
    }
    if (inner == 3) {
        pooling_slide_few(dst, columns, outputs, 3, taps);
        return;
    }
    if (inner == 4) {
        pooling_slide_few(dst, columns, outputs, 4, taps);
        return;
    }
#endif
    for (x = 1; x < outputs; x++)
        pooling_slide_pixel(
            dst + x * inner, dst + (x - 1) * inner, columns + (x + taps - 1) * inner, columns + (x - 1) * inner, inner);
}

/* Quotients of whole numbers by a whole number, rounded as `rounding_t` of division.pxd numbers it.
 *
 * A product with the reciprocal is off by at most 2**-23 (in double 2**-52) of itself; a quotient that is no half lies
 * 1 / (2 * divisor) from all halves at least. So of |a| < 2**22 (any a) the nearest whole number is found, or of a half
 * either of the two; the remainder, which is exact, tells what is left to do.
 */
#define POOLING_QUOTIENTS(NAME, REAL, RINT)                                                                            \
static inline __attribute__((always_inline)) void pooling_quotients_##NAME(                                            \
    int32_t *row, ptrdiff_t n, int32_t divisor, const int rounding, const int halves                                   \
) {                                                                                                                    \
    const REAL d = (REAL) divisor, reciprocal = 1 / d;                                                                 \
    ptrdiff_t i;                                                                                                       \
    for (i = 0; i < n; i++) {                                                                                          \
        const REAL a = (REAL) row[i];                                                                                  \
        const REAL q = RINT(a * reciprocal);                                                                           \
        const REAL rest = a - q * d;                                                                                   \
        int32_t whole = (int32_t) q;                                                                                   \
        if (rounding == 0 && halves)                                                                                   \
            whole += (whole & (2 * rest == d)) - (whole & (2 * rest == -d));                                           \
        else if (rounding == 1 && halves)                                                                              \
            whole += 2 * rest == d;                                                                                    \
        else if (rounding == 2)                                                                                        \
            whole -= rest < 0;                                                                                         \
        else if (rounding == 3)                                                                                        \
            whole += ((rest > 0) & (a < 0)) - ((rest < 0) & (a > 0));                                                  \
        row[i] = whole;                                                                                                \
    }                                                                                                                  \
}
POOLING_QUOTIENTS(float, float, rintf)
POOLING_QUOTIENTS(double, double, rint)

/* Of sums by a divisor from 1 to 2**22. */
static inline __attribute__((always_inline)) void pooling_quotients(
    int32_t *row, ptrdiff_t n, int32_t divisor, const int rounding
) {
    ptrdiff_t begin, count, i;
    for (begin = 0; begin < n; begin += count) {
        uint32_t bits = 0;
        count = n - begin < 512 ? n - begin : 512;
        for (i = begin; i < begin + count; i++)
            bits |= (uint32_t) (row[i] ^ (row[i] >> 31));
        if (bits < 1u << 22 && divisor & 1)
            pooling_quotients_float(row + begin, count, divisor, rounding, 0);
        else if (bits < 1u << 22)
            pooling_quotients_float(row + begin, count, divisor, rounding, 1);
        else
            pooling_quotients_double(row + begin, count, divisor, rounding, 1);
    }
}

static void pooling_quotients_half_even(int32_t *row, ptrdiff_t n, int32_t divisor) {
    pooling_quotients(row, n, divisor, 0);
}
static void pooling_quotients_half_up(int32_t *row, ptrdiff_t n, int32_t divisor) {
    pooling_quotients(row, n, divisor, 1);
}
static void pooling_quotients_floor(int32_t *row, ptrdiff_t n, int32_t divisor) {
    pooling_quotients(row, n, divisor, 2);
}
static void pooling_quotients_trunc(int32_t *row, ptrdiff_t n, int32_t divisor) {
    pooling_quotients(row, n, divisor, 3);
}

#endif
