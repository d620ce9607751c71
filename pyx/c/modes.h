/* Modes of blocks of 2 x 2 and 2 x 2 x 2 integers, of which nothing is left out. No block takes another way than others,
 * so that a vector of them is made at a time. Rows are read as they lie.
 */
#ifndef POOLING_MODES_H
#define POOLING_MODES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define POOLING_MODES_ALONE static __attribute__((noinline))
#else
#define POOLING_MODES_ALONE static
#endif

#define POOLING_ORDERED(T, A, B) { T u = A, v = B; A = v < u ? v : u; B = v < u ? u : v; }

/* The elements are put in order, so that equal ones are neighbours. Of four, the first two neighbours that are equal have
   the mode: no other value is more frequent, and none that is as frequent is smaller. */
#define POOLING_MODES(NAME, T)                                                                                         \
POOLING_MODES_ALONE void pooling_modes_of_4_##NAME(                                                                    \
    T *restrict dst, const T *restrict p, const T *restrict q, ptrdiff_t n                                             \
) {                                                                                                                    \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        T a = p[2 * x], b = p[2 * x + 1], c = q[2 * x], d = q[2 * x + 1], best;                                        \
        POOLING_ORDERED(T, a, b) POOLING_ORDERED(T, c, d) POOLING_ORDERED(T, a, c) POOLING_ORDERED(T, b, d)            \
        POOLING_ORDERED(T, b, c)                                                                                       \
        best = c == d ? c : a;                                                                                         \
        best = b == c ? b : best;                                                                                      \
        dst[x] = a == b ? a : best;                                                                                    \
    }                                                                                                                  \
}                                                                                                                      \
POOLING_MODES_ALONE void pooling_modes_of_8_##NAME(                                                                    \
    T *restrict dst, const T *restrict p, const T *restrict q, const T *restrict r, const T *restrict s, ptrdiff_t n   \
) {                                                                                                                    \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        T a = p[2 * x], b = p[2 * x + 1], c = q[2 * x], d = q[2 * x + 1], e = r[2 * x], f = r[2 * x + 1], g = s[2 * x];\
        T h = s[2 * x + 1], best;                                                                                      \
        POOLING_ORDERED(T, a, b) POOLING_ORDERED(T, c, d) POOLING_ORDERED(T, e, f) POOLING_ORDERED(T, g, h)            \
        POOLING_ORDERED(T, a, c) POOLING_ORDERED(T, b, d) POOLING_ORDERED(T, e, g) POOLING_ORDERED(T, f, h)            \
        POOLING_ORDERED(T, b, c) POOLING_ORDERED(T, f, g) POOLING_ORDERED(T, a, e) POOLING_ORDERED(T, d, h)            \
        POOLING_ORDERED(T, b, f) POOLING_ORDERED(T, c, g)                                                              \
        POOLING_ORDERED(T, b, e) POOLING_ORDERED(T, d, g)                                                              \
        POOLING_ORDERED(T, c, e) POOLING_ORDERED(T, d, f)                                                              \
        POOLING_ORDERED(T, d, e)                                                                                       \
        /* The least that is equal to its next; then to the next but one, and so on up to four; of five there is       \
           one at most. */                                                                                             \
        best = a;                                                                                                      \
        best = g == h ? g : best; best = f == g ? f : best; best = e == f ? e : best; best = d == e ? d : best;        \
        best = c == d ? c : best; best = b == c ? b : best; best = a == b ? a : best;                                  \
        best = f == h ? f : best; best = e == g ? e : best; best = d == f ? d : best; best = c == e ? c : best;        \
        best = b == d ? b : best; best = a == c ? a : best;                                                            \
        best = e == h ? e : best; best = d == g ? d : best; best = c == f ? c : best; best = b == e ? b : best;        \
        best = a == d ? a : best;                                                                                      \
        best = d == h ? d : best; best = c == g ? c : best; best = b == f ? b : best; best = a == e ? a : best;        \
        dst[x] = best;                                                                                                 \
    }                                                                                                                  \
}

POOLING_MODES(u8, uint8_t)
POOLING_MODES(i8, int8_t)
POOLING_MODES(u16, uint16_t)
POOLING_MODES(i16, int16_t)
POOLING_MODES(u32, uint32_t)
POOLING_MODES(i32, int32_t)
POOLING_MODES(u64, uint64_t)
POOLING_MODES(i64, int64_t)

/* Elements of a row of labels that are narrowed at once. */
#define POOLING_MODES_NARROWED 128

/* Keep the lower halves of numbers, and return the bits that the upper ones do not share. */
POOLING_MODES_ALONE uint64_t pooling_modes_narrow(uint32_t *restrict dst, const uint64_t *restrict src, ptrdiff_t n) {
    uint64_t first = src[0], other = 0;
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        other |= src[x] ^ first;
        dst[x] = (uint32_t) src[x];
    }
    return other >> 32;
}

/* Find modes of two or four rows of 64-bit integers, signed or not, among their lower halves: labels that lie beside one
   another mostly have the same upper half, and vectors hold twice as many of half the size. Return 0 where they have
   not. At most POOLING_MODES_NARROWED elements of a row. */
POOLING_MODES_ALONE int pooling_modes_of_halves(uint64_t *dst, const char *const *rows, int count, ptrdiff_t n) {
    uint32_t low[4][POOLING_MODES_NARROWED], made[POOLING_MODES_NARROWED / 2];
    const uint64_t upper = ((const uint64_t *) rows[0])[0] >> 32 << 32;
    ptrdiff_t x;
    int r;
    for (r = 0; r < count; r++) {
        const uint64_t *row = (const uint64_t *) rows[r];
        if ((row[0] ^ upper) >> 32 || pooling_modes_narrow(low[r], row, 2 * n)) return 0;
    }
    if (count == 2) pooling_modes_of_4_u32(made, low[0], low[1], n);
    else pooling_modes_of_8_u32(made, low[0], low[1], low[2], low[3], n);
    for (x = 0; x < n; x++) dst[x] = upper | made[x];
    return 1;
}

#endif
