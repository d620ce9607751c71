/* Windows over rows of at most sixteen floats, eight of them at most: their taps are picked out of two registers. */
#ifndef POOLING_PICKS_H
#define POOLING_PICKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Without these instructions a pick takes longer than eight loads. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__AVX2__)
    #define POOLING_PICKS 1
    typedef float pooling_picked_t __attribute__((vector_size(32)));
    typedef int32_t pooling_places_t __attribute__((vector_size(32)));
    #define POOLING_CHOSEN(mask, a, b) \
        ((pooling_picked_t) (((mask) & (pooling_places_t) (a)) | (~(mask) & (pooling_places_t) (b))))

    /* As `combine` of reducers.pxd: `sums` adds, `numbers` leaves NaN out, `greatest` and otherwise the smallest. */
    #define POOLING_JOINED(a, b, sums, numbers, greatest) ( \
        (sums) ? (a) + (b) \
        : (numbers) ? POOLING_CHOSEN( \
            (a) == (a), POOLING_CHOSEN((greatest) ? (b) > (a) : (b) < (a), b, a), b) \
        : POOLING_CHOSEN( \
            (b) == (b), POOLING_CHOSEN((greatest) ? (b) > (a) : (b) < (a), b, a), b))

    static inline __attribute__((always_inline)) void pooling_pick(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        const int taps, const int wide, const int sums, const int numbers, const int greatest
    ) {
        pooling_places_t place[3], there[3];
        ptrdiff_t row;
        int t;
        for (t = 0; t < taps; t++) {
            memcpy(&place[t], places + 8 * t, sizeof(pooling_places_t));
            there[t] = place[t] >= 0;
            place[t] &= there[t];
        }
        for (row = 0; row < rows; row++) {
            pooling_picked_t low, high, made;
            memcpy(&low, src + row * src_row, sizeof(low));
            memcpy(&high, src + row * src_row + 8 * wide, sizeof(high));
            made = __builtin_shuffle(low, high, place[0]);
            for (t = 1; t < taps; t++) {
                const pooling_picked_t tap = __builtin_shuffle(low, high, place[t]);
                const pooling_picked_t joined = POOLING_JOINED(made, tap, sums, numbers, greatest);
                made = POOLING_CHOSEN(there[t], joined, made);
            }
            /* What is written behind a row is written over by the next one. */
            if ((rows - row) * outputs >= 8)
                memcpy(dst + row * outputs, &made, sizeof(made));
            else
                memcpy(dst + row * outputs, &made, outputs * sizeof(float));
        }
    }

    #define POOLING_PICK(name, sums, numbers, greatest) \
        static void name( \
            float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, \
            const int32_t* places, ptrdiff_t taps, int wide \
        ) { \
            if (taps == 2) \
                pooling_pick(dst, outputs, src, src_row, rows, places, 2, wide, sums, numbers, greatest); \
            else \
                pooling_pick(dst, outputs, src, src_row, rows, places, 3, wide, sums, numbers, greatest); \
        }
    POOLING_PICK(pooling_pick_sums, 1, 0, 0)
    POOLING_PICK(pooling_pick_greatest, 0, 0, 1)
    POOLING_PICK(pooling_pick_smallest, 0, 0, 0)
    POOLING_PICK(pooling_pick_greatest_number, 0, 1, 1)
    POOLING_PICK(pooling_pick_smallest_number, 0, 1, 0)
#else
    #define POOLING_PICKS 0
    #define pooling_pick_sums(dst, outputs, src, src_row, rows, places, taps, wide) ((void) 0)
    #define pooling_pick_greatest(dst, outputs, src, src_row, rows, places, taps, wide) ((void) 0)
    #define pooling_pick_smallest(dst, outputs, src, src_row, rows, places, taps, wide) ((void) 0)
    #define pooling_pick_greatest_number(dst, outputs, src, src_row, rows, places, taps, wide) ((void) 0)
    #define pooling_pick_smallest_number(dst, outputs, src, src_row, rows, places, taps, wide) ((void) 0)
#endif

#endif
