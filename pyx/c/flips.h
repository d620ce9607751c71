/* Squares of cells, turned so that rows become columns. */
#ifndef POOLING_FLIPS_H
#define POOLING_FLIPS_H

#include <stddef.h>
#include <stdint.h>

/* Eight rows of eight, or four of four, in registers: compilers make single loads and stores of such a loop. */
#if defined(__GNUC__) && !defined(__clang__)
    typedef uint32_t pooling_eight32_t __attribute__((vector_size(32), aligned(4), may_alias));
    typedef uint64_t pooling_four64_t __attribute__((vector_size(32), aligned(8), may_alias));

    static void pooling_flip_eights(char* to, ptrdiff_t to_row, const char* from, ptrdiff_t from_row) {
        const pooling_eight32_t low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
        const pooling_eight32_t lows = {0, 1, 8, 9, 4, 5, 12, 13}, highs = {2, 3, 10, 11, 6, 7, 14, 15};
        const pooling_eight32_t left = {0, 1, 2, 3, 8, 9, 10, 11}, right = {4, 5, 6, 7, 12, 13, 14, 15};
        pooling_eight32_t a[8], b[8];
        int i;
        for (i = 0; i < 8; i++)
            a[i] = *(const pooling_eight32_t*) (from + i * from_row);
        for (i = 0; i < 8; i += 2) {
            b[i] = __builtin_shuffle(a[i], a[i + 1], low);
            b[i + 1] = __builtin_shuffle(a[i], a[i + 1], high);
        }
        for (i = 0; i < 8; i += 4) {
            a[i] = __builtin_shuffle(b[i], b[i + 2], lows);
            a[i + 1] = __builtin_shuffle(b[i], b[i + 2], highs);
            a[i + 2] = __builtin_shuffle(b[i + 1], b[i + 3], lows);
            a[i + 3] = __builtin_shuffle(b[i + 1], b[i + 3], highs);
        }
        for (i = 0; i < 4; i++) {
            *(pooling_eight32_t*) (to + i * to_row) = __builtin_shuffle(a[i], a[i + 4], left);
            *(pooling_eight32_t*) (to + (i + 4) * to_row) = __builtin_shuffle(a[i], a[i + 4], right);
        }
    }

    static void pooling_flip_fours(char* to, ptrdiff_t to_row, const char* from, ptrdiff_t from_row) {
        const pooling_four64_t low = {0, 4, 2, 6}, high = {1, 5, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
        pooling_four64_t a[4], b[4];
        int i;
        for (i = 0; i < 4; i++)
            a[i] = *(const pooling_four64_t*) (from + i * from_row);
        for (i = 0; i < 4; i += 2) {
            b[i] = __builtin_shuffle(a[i], a[i + 1], low);
            b[i + 1] = __builtin_shuffle(a[i], a[i + 1], high);
        }
        for (i = 0; i < 2; i++) {
            *(pooling_four64_t*) (to + i * to_row) = __builtin_shuffle(b[i], b[i + 2], left);
            *(pooling_four64_t*) (to + (i + 2) * to_row) = __builtin_shuffle(b[i], b[i + 2], right);
        }
    }
    #define POOLING_FLIPS 1
#else
    #define POOLING_FLIPS 0
    #define pooling_flip_eights(to, to_row, from, from_row) ((void) 0)
    #define pooling_flip_fours(to, to_row, from, from_row) ((void) 0)
#endif

#endif
