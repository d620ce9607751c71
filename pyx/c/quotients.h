/* Quotients by whole numbers, rounded as a division rounds them (after Markstein, 1990).
 *
 * With r the rounded reciprocal of a whole number b, q = a * r is wrong by less than two units in its last place. What
 * is left, q * b - a, is a whole number of such units, at most 2 * b of them, and so exact in one fused step; the
 * second, q - r * (q * b - a), has an error of at most 2**-22 units (2**-51 in double) before it is rounded. Rounding
 * changes at halves of units, or at quarters just below a power of two. No quotient by b is one of these, and none is
 * nearer to one than 1 / (4 * b) units: with b up to 2**16 the second step rounds as the division does. Zeros keep
 * their sign. All that holds where a unit is a normal number; other numbers, infinities and NaN are divided.
 */
#ifndef POOLING_QUOTIENTS_H
#define POOLING_QUOTIENTS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define POOLING_MOST_DIVISOR 65536
#define POOLING_DIVIDED_TOGETHER 64

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define POOLING_FUSES 1
static inline float pooling_quotient_float(float a, float b, float r) {
    float q = a * r;
    return __builtin_fmaf(__builtin_fmaf(q, b, -a), -r, q);
}
static inline double pooling_quotient_double(double a, double b, double r) {
    double q = a * r;
    return __builtin_fma(__builtin_fma(q, b, -a), -r, q);
}
#else
#define POOLING_FUSES 0
static inline float pooling_quotient_float(float a, float b, float r) { (void) r; return a / b; }
static inline double pooling_quotient_double(double a, double b, double r) { (void) r; return a / b; }
#endif

/* Whether all are zeros or finite numbers far from the least ones: magnitudes as whole numbers, less one so that zero
   is the largest. */
#define POOLING_ARE_PLAIN(REAL, BITS, LEAST, INFINITE, ALL)                                                            \
static inline int pooling_are_plain_##REAL(const REAL *row, ptrdiff_t n) {                                             \
    BITS most = 0, least = ALL;                                                                                        \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        BITS bits;                                                                                                     \
        memcpy(&bits, row + x, sizeof(bits));                                                                          \
        bits &= ALL;                                                                                                   \
        most = bits > most ? bits : most;                                                                              \
        bits = (BITS) (bits - 1) & ALL;                                                                                \
        least = bits < least ? bits : least;                                                                           \
    }                                                                                                                  \
    return most < INFINITE && least >= LEAST;                                                                          \
}

/* 2**-100 and 2**-1000. */
POOLING_ARE_PLAIN(float, int32_t, 0x0d800000, 0x7f800000, INT32_MAX)
POOLING_ARE_PLAIN(double, int64_t, 0x0170000000000000, 0x7ff0000000000000, INT64_MAX)

/* Divide in place by `each[x]`, or where that is NULL all by b. Every NaN becomes the same one. */
#define POOLING_DIVIDE(REAL)                                                                                           \
static inline void pooling_divide_whole_##REAL(                                                                        \
    REAL *row, ptrdiff_t n, REAL b, const REAL *each, const REAL *reciprocals                                          \
) {                                                                                                                    \
    const REAL r = 1 / b;                                                                                              \
    while (n > 0) {                                                                                                    \
        ptrdiff_t x, m = n < POOLING_DIVIDED_TOGETHER ? n : POOLING_DIVIDED_TOGETHER;                                  \
        if (POOLING_FUSES && pooling_are_plain_##REAL(row, m)) {                                                       \
            if (each == NULL)                                                                                          \
                for (x = 0; x < m; x++)                                                                                \
                    row[x] = pooling_quotient_##REAL(row[x], b, r);                                                    \
            else                                                                                                       \
                for (x = 0; x < m; x++)                                                                                \
                    row[x] = pooling_quotient_##REAL(row[x], each[x], reciprocals[x]);                                 \
        } else {                                                                                                       \
            for (x = 0; x < m; x++) {                                                                                  \
                REAL v = row[x] / (each == NULL ? b : each[x]);                                                        \
                row[x] = v == v ? v : (REAL) NAN;                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        row += m;                                                                                                      \
        n -= m;                                                                                                        \
        if (each != NULL) {                                                                                            \
            each += m;                                                                                                 \
            reciprocals += m;                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
}

POOLING_DIVIDE(float)
POOLING_DIVIDE(double)

#endif
