/* Copies of elements that lie anywhere in memory, as NumPy's strides say, to where they lie side by side. */
#ifndef POOLING_VIEWS_H
#define POOLING_VIEWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define POOLING_MOST_AXES 8
/* Bytes of a tile: so much is read and written before the next, in the first-level cache. */
#define POOLING_TILE_BYTES (1 << 14)
/* Elements of a block of a tile whose lines lie across. */
#define POOLING_BLOCK_SIDE 8

/* Elements of `axes` axes, the last of which varies fastest in the copy. Axes that lie one behind another are one. */
typedef struct {
    int axes;
    /* The axis along which neighbours lie nearest to each other in the source, if that is not the last; or -1. */
    int across;
    ptrdiff_t itemsize;
    /* Elements of the last axis that are copied together, along all of `across`, and how many times that makes; tasks
       in all. */
    ptrdiff_t together, tiles, tasks;
    /* Elements, and bytes from one to the next in the source and in the copy. */
    ptrdiff_t size[POOLING_MOST_AXES], step[POOLING_MOST_AXES], place[POOLING_MOST_AXES];
} pooling_view_t;

static inline ptrdiff_t pooling_distance(ptrdiff_t step) {
    return step < 0 ? -step : step;
}

/* Lay a view out for `pooling_gather`; no size is 0, and there are at most `POOLING_MOST_AXES`. */
static inline void pooling_lay_view(
    pooling_view_t *view, int axes, const ptrdiff_t *sizes, const ptrdiff_t *steps, ptrdiff_t itemsize
) {
    int i, n = 0, last;
    ptrdiff_t place = itemsize, nearest;
    for (i = 0; i < axes; i++) {
        if (sizes[i] == 1) continue;
        if (n && view->step[n - 1] == steps[i] * sizes[i]) {
            view->size[n - 1] *= sizes[i];
            view->step[n - 1] = steps[i];
        } else {
            view->size[n] = sizes[i];
            view->step[n] = steps[i];
            n++;
        }
    }
    if (n == 0) {
        view->size[0] = 1;
        view->step[0] = itemsize;
        n = 1;
    }
    last = n - 1;
    view->axes = n;
    view->itemsize = itemsize;
    view->across = -1;
    nearest = pooling_distance(view->step[last]);
    for (i = last; i >= 0; i--) {
        view->place[i] = place;
        place *= view->size[i];
        /* A step of 0 is the same element again, and no neighbour. */
        if (view->step[i] && pooling_distance(view->step[i]) < nearest) {
            view->across = i;
            nearest = pooling_distance(view->step[i]);
        }
    }
    view->together = POOLING_TILE_BYTES / itemsize;
    if (view->across >= 0) {
        view->together /= view->size[view->across];
        /* Whole cache lines of the copy, and no more lines of the source than its cache holds side by side. */
        if (view->together > 256) view->together = 256;
        view->together -= view->together % (64 / itemsize);
        if (view->together < 64 / itemsize) view->together = 64 / itemsize;
    }
    if (view->together > view->size[last]) view->together = view->size[last];
    view->tiles = (view->size[last] + view->together - 1) / view->together;
    view->tasks = view->tiles;
    for (i = 0; i < last; i++)
        if (i != view->across) view->tasks *= view->size[i];
}

/* Copy a row that overlaps nothing; short ones by pieces, the last of which overlaps the one before. */
static inline void pooling_copy_row(char *to, const char *from, ptrdiff_t nbytes) {
    ptrdiff_t i;
    if (nbytes < 16 || nbytes > 256) {
        memcpy(to, from, nbytes);
        return;
    }
    for (i = 0; i + 16 <= nbytes; i += 16) memcpy(to + i, from + i, 16);
    if (i < nbytes) memcpy(to + nbytes - 16, from + nbytes - 16, 16);
}

/* Elements of each size: they may lie at any address. */
#define POOLING_ELEMENTS(BITS) \
    typedef uint##BITS##_t __attribute__((aligned(1), may_alias)) pooling_element##BITS##_t; \
    \
    static void pooling_line##BITS(char *to, const char *from, ptrdiff_t step, ptrdiff_t n) { \
        pooling_element##BITS##_t *dst = (pooling_element##BITS##_t *) to; \
        const pooling_element##BITS##_t *src = (const pooling_element##BITS##_t *) from; \
        const ptrdiff_t size = BITS / 8; \
        ptrdiff_t i; \
        if (step == size) \
            pooling_copy_row(to, from, n * size); \
        else if (step == 2 * size) \
            for (i = 0; i < n; i++) dst[i] = src[2 * i]; \
        else if (step == -size) \
            for (i = 0; i < n; i++) dst[i] = src[-i]; \
        else \
            for (i = 0; i < n; i++) dst[i] = *(const pooling_element##BITS##_t *) (from + i * step); \
    } \
    \
    /* Lines of the source, `step` bytes apart, become columns of the copy, whose rows are `place` bytes apart. */ \
    static void pooling_tile##BITS( \
        char *to, ptrdiff_t place, const char *from, ptrdiff_t step, ptrdiff_t near, ptrdiff_t lines, ptrdiff_t n \
    ) { \
        enum { SIDE = POOLING_BLOCK_SIDE }; \
        const ptrdiff_t size = BITS / 8; \
        pooling_element##BITS##_t block[SIDE][SIDE]; \
        ptrdiff_t i, j, k, l, whole = near == size ? lines - lines % SIDE : 0; \
        for (j = 0; j < whole; j += SIDE) \
            for (i = 0; i + SIDE <= n; i += SIDE) { \
                for (k = 0; k < SIDE; k++) memcpy(block[k], from + (i + k) * step + j * size, sizeof block[k]); \
                for (l = 0; l < SIDE; l++) \
                    for (k = 0; k < SIDE; k++) \
                        ((pooling_element##BITS##_t *) (to + (j + l) * place))[i + k] = block[k][l]; \
            } \
        i = n - n % SIDE; \
        for (j = 0; j < whole && i < n; j++) \
            pooling_line##BITS(to + j * place + i * size, from + i * step + j * size, step, n - i); \
        for (j = whole; j < lines; j++) pooling_line##BITS(to + j * place, from + j * near, step, n); \
    }

POOLING_ELEMENTS(8)
POOLING_ELEMENTS(16)
POOLING_ELEMENTS(32)
POOLING_ELEMENTS(64)

/* Copy so many elements of the last axis, along all of the axis across. */
static inline void pooling_gather_tile(const pooling_view_t *view, char *dst, const char *src, ptrdiff_t n) {
    const ptrdiff_t step = view->step[view->axes - 1];
    #define POOLING_GATHER_TILE(BITS) \
        if (view->across < 0) \
            pooling_line##BITS(dst, src, step, n); \
        else \
            pooling_tile##BITS( \
                dst, view->place[view->across], src, step, view->step[view->across], view->size[view->across], n);
    if (view->itemsize == 4) {
        POOLING_GATHER_TILE(32)
    } else if (view->itemsize == 8) {
        POOLING_GATHER_TILE(64)
    } else if (view->itemsize == 2) {
        POOLING_GATHER_TILE(16)
    } else {
        POOLING_GATHER_TILE(8)
    }
    #undef POOLING_GATHER_TILE
}

/* Copy rows, `place` bytes apart in the copy and `apart` in the source, that lie side by side in both. */
static inline void pooling_copy_rows(
    char *to, ptrdiff_t place, const char *from, ptrdiff_t apart, ptrdiff_t nbytes, ptrdiff_t rows
) {
    for (; rows > 0; rows--) {
        pooling_copy_row(to, from, nbytes);
        to += place;
        from += apart;
    }
}

/* Do tasks begin to end of a copy; `src` is the first element of the view. */
static void pooling_gather(
    const pooling_view_t *view, char *dst, const char *src, ptrdiff_t begin, ptrdiff_t end
) {
    const int last = view->axes - 1;
    ptrdiff_t at[POOLING_MOST_AXES];
    ptrdiff_t rest = begin / view->tiles, tile = begin % view->tiles, first, n;
    int i;
    for (i = last - 1; i >= 0; i--) {
        if (i == view->across) continue;
        at[i] = rest % view->size[i];
        rest /= view->size[i];
        src += at[i] * view->step[i];
        dst += at[i] * view->place[i];
    }
    if (last && view->across < 0 && view->tiles == 1 && view->step[last] == view->itemsize) {
        /* What one row at a time costs to begin is more than short rows take. */
        n = view->size[last - 1] - at[last - 1];
        if (n > end - begin) n = end - begin;
        while (n) {
            pooling_copy_rows(
                dst, view->place[last - 1], src, view->step[last - 1], view->size[last] * view->itemsize, n);
            begin += n;
            dst += n * view->place[last - 1];
            src += n * view->step[last - 1];
            at[last - 1] += n;
            for (i = last - 1; i > 0 && at[i] == view->size[i]; i--) {
                at[i] = 0;
                at[i - 1]++;
                src += view->step[i - 1] - view->size[i] * view->step[i];
            }
            n = view->size[last - 1] < end - begin ? view->size[last - 1] : end - begin;
        }
        return;
    }
    for (; begin < end; begin++) {
        first = tile * view->together;
        n = view->size[last] - first < view->together ? view->size[last] - first : view->together;
        pooling_gather_tile(view, dst + first * view->itemsize, src + first * view->step[last], n);
        if (++tile < view->tiles) continue;
        tile = 0;
        for (i = last - 1; i >= 0; i--) {
            if (i == view->across) continue;
            src += view->step[i];
            dst += view->place[i];
            if (++at[i] < view->size[i]) break;
            src -= view->size[i] * view->step[i];
            dst -= view->size[i] * view->place[i];
            at[i] = 0;
        }
    }
}

#endif
