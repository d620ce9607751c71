/* Copies of elements that lie anywhere in memory, as NumPy's strides say, to where they lie side by side. */
#ifndef POOLING_VIEWS_H
#define POOLING_VIEWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define POOLING_MOST_AXES 8
/* Bytes of a tile: so much is read and written before the next, in the first-level cache. */
#define POOLING_TILE_BYTES (1 << 14)
/* Most lines of a tile that lie across, and elements of each where the caches hold few, side by side. */
#define POOLING_MOST_LINES 64
#define POOLING_LINES_OF_PAGES 8
#define POOLING_PAGE_BYTES 4096

/* Elements of `axes` axes, the last of which varies fastest in the copy. Axes that lie one behind another are one. */
typedef struct {
    int axes;
    /* The axis along which neighbours lie nearest to each other in the source, if that is not the last; or -1. */
    int across;
    ptrdiff_t itemsize;
    /* Elements of the last axis that are copied together, and of `across` (1 without); tasks in all. */
    ptrdiff_t together, lines, tasks;
    /* The loops over tasks: the one that goes least far in the source comes first, so that a line of the caches is read
       once. `tiled` is the one over the last axis, or -1, and `crossed` the one over `across`. */
    int loops, tiled, crossed;
    ptrdiff_t loop_size[POOLING_MOST_AXES], loop_step[POOLING_MOST_AXES], loop_place[POOLING_MOST_AXES];
    /* Elements, and bytes from one to the next in the source and in the copy. */
    ptrdiff_t size[POOLING_MOST_AXES], step[POOLING_MOST_AXES], place[POOLING_MOST_AXES];
} pooling_view_t;

static inline ptrdiff_t pooling_distance(ptrdiff_t step) {
    return step < 0 ? -step : step;
}

static inline void pooling_move_loop(pooling_view_t *view, int to, int from) {
    view->loop_size[to] = view->loop_size[from];
    view->loop_step[to] = view->loop_step[from];
    view->loop_place[to] = view->loop_place[from];
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
    view->lines = 1;
    if (view->across >= 0) {
        view->lines = view->size[view->across];
        if (view->lines > POOLING_MOST_LINES) view->lines = POOLING_MOST_LINES;
        view->together /= view->lines;
        /* Whole cache lines of the copy, and no more lines of the source than its cache holds side by side: of those
           that lie whole pages apart it holds few. */
        if (view->together > 256) view->together = 256;
        view->together -= view->together % (64 / itemsize);
        if (view->together < 64 / itemsize) view->together = 64 / itemsize;
        if (view->step[last] % POOLING_PAGE_BYTES == 0) view->together = POOLING_LINES_OF_PAGES;
    }
    if (view->together > view->size[last]) view->together = view->size[last];
    view->tasks = 1;
    view->loops = 0;
    view->tiled = view->crossed = -1;
    for (i = last; i >= 0; i--) {
        const ptrdiff_t each = i == last ? view->together : i == view->across ? view->lines : 1;
        const ptrdiff_t count = (view->size[i] + each - 1) / each, step = view->step[i] * each;
        if (count == 1) continue;
        for (n = view->loops++; n && pooling_distance(view->loop_step[n - 1]) > pooling_distance(step); n--)
            pooling_move_loop(view, n, n - 1);
        view->loop_size[n] = count;
        view->loop_step[n] = step;
        view->loop_place[n] = view->place[i] * each;
        if (view->tiled >= n) view->tiled++;
        if (view->crossed >= n) view->crossed++;
        if (i == last) view->tiled = n;
        if (i == view->across) view->crossed = n;
        view->tasks *= count;
    }
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

/* Squares of elements in registers, turned so that rows become columns: in each step what lies in the upper half of
   registers changes places with the highest bit that tells registers apart. */
#if defined(__GNUC__) && !defined(__clang__)
    typedef uint8_t pooling_sixteen8_t __attribute__((vector_size(16), aligned(1), may_alias));
    typedef uint16_t pooling_eight16_t __attribute__((vector_size(16), aligned(1), may_alias));
    typedef uint32_t pooling_four32_t __attribute__((vector_size(16), aligned(1), may_alias));
    typedef uint64_t pooling_two64_t __attribute__((vector_size(16), aligned(1), may_alias));

    static inline void pooling_turn8(char *to, ptrdiff_t place, const char *from, ptrdiff_t step) {
        const pooling_sixteen8_t low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
        const pooling_sixteen8_t high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        /* Two rows to a register: 0 and 2, 1 and 3, 4 and 6, 5 and 7. */
        pooling_sixteen8_t a[4], b[4];
        pooling_two64_t pair;
        int i;
        for (i = 0; i < 4; i++) {
            const char *row = from + (i + (i & 2)) * step;
            memcpy(&pair, row, 8);
            memcpy((char *) &pair + 8, row + 2 * step, 8);
            a[i] = (pooling_sixteen8_t) pair;
        }
        for (i = 0; i < 2; i++) {
            b[i] = __builtin_shuffle(a[i], a[i + 2], low);
            b[i + 2] = __builtin_shuffle(a[i], a[i + 2], high);
        }
        for (i = 0; i < 2; i++) {
            a[i] = __builtin_shuffle(b[i], b[i + 2], low);
            a[i + 2] = __builtin_shuffle(b[i], b[i + 2], high);
        }
        for (i = 0; i < 4; i += 2) {
            b[i] = __builtin_shuffle(a[i], a[i + 1], low);
            b[i + 1] = __builtin_shuffle(a[i], a[i + 1], high);
        }
        for (i = 0; i < 4; i++) {
            pair = (pooling_two64_t) b[i];
            memcpy(to + 2 * i * place, &pair, 8);
            memcpy(to + (2 * i + 1) * place, (const char *) &pair + 8, 8);
        }
    }

    static inline void pooling_turn16(char *to, ptrdiff_t place, const char *from, ptrdiff_t step) {
        const pooling_eight16_t low = {0, 8, 1, 9, 2, 10, 3, 11}, high = {4, 12, 5, 13, 6, 14, 7, 15};
        pooling_eight16_t a[8], b[8];
        int i;
        for (i = 0; i < 8; i++) a[i] = *(const pooling_eight16_t *) (from + i * step);
        for (i = 0; i < 4; i++) {
            b[i] = __builtin_shuffle(a[i], a[i + 4], low);
            b[i + 4] = __builtin_shuffle(a[i], a[i + 4], high);
        }
        for (i = 0; i < 8; i++) {
            if (i & 2) continue;
            a[i] = __builtin_shuffle(b[i], b[i + 2], low);
            a[i + 2] = __builtin_shuffle(b[i], b[i + 2], high);
        }
        for (i = 0; i < 8; i += 2) {
            *(pooling_eight16_t *) (to + i * place) = __builtin_shuffle(a[i], a[i + 1], low);
            *(pooling_eight16_t *) (to + (i + 1) * place) = __builtin_shuffle(a[i], a[i + 1], high);
        }
    }

    static inline void pooling_turn32(char *to, ptrdiff_t place, const char *from, ptrdiff_t step) {
        const pooling_four32_t low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
        pooling_four32_t a[4], b[4];
        int i;
        for (i = 0; i < 4; i++) a[i] = *(const pooling_four32_t *) (from + i * step);
        for (i = 0; i < 2; i++) {
            b[i] = __builtin_shuffle(a[i], a[i + 2], low);
            b[i + 2] = __builtin_shuffle(a[i], a[i + 2], high);
        }
        for (i = 0; i < 4; i += 2) {
            *(pooling_four32_t *) (to + i * place) = __builtin_shuffle(b[i], b[i + 1], low);
            *(pooling_four32_t *) (to + (i + 1) * place) = __builtin_shuffle(b[i], b[i + 1], high);
        }
    }

    static inline void pooling_turn64(char *to, ptrdiff_t place, const char *from, ptrdiff_t step) {
        const pooling_two64_t low = {0, 2}, high = {1, 3};
        const pooling_two64_t a = *(const pooling_two64_t *) from, b = *(const pooling_two64_t *) (from + step);
        *(pooling_two64_t *) to = __builtin_shuffle(a, b, low);
        *(pooling_two64_t *) (to + place) = __builtin_shuffle(a, b, high);
    }
#else
    #define POOLING_TURN(BITS, SIDE) \
        static inline void pooling_turn##BITS(char *to, ptrdiff_t place, const char *from, ptrdiff_t step) { \
            uint##BITS##_t block[SIDE][SIDE]; \
            int k, l; \
            for (k = 0; k < SIDE; k++) memcpy(block[k], from + k * step, sizeof block[k]); \
            for (l = 0; l < SIDE; l++) \
                for (k = 0; k < SIDE; k++) memcpy(to + l * place + k * (BITS / 8), &block[k][l], BITS / 8); \
        }
    POOLING_TURN(8, 8)
    POOLING_TURN(16, 8)
    POOLING_TURN(32, 4)
    POOLING_TURN(64, 2)
    #undef POOLING_TURN
#endif

/* Elements of each size: they may lie at any address. */
#define POOLING_ELEMENTS(BITS, SIDE) \
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
        const ptrdiff_t size = BITS / 8; \
        ptrdiff_t i, j, whole = near == size ? lines - lines % SIDE : 0; \
        for (j = 0; j < whole; j += SIDE) \
            for (i = 0; i + SIDE <= n; i += SIDE) \
                pooling_turn##BITS(to + j * place + i * size, place, from + i * step + j * size, step); \
        i = n - n % SIDE; \
        for (j = 0; j < whole && i < n; j++) \
            pooling_line##BITS(to + j * place + i * size, from + i * step + j * size, step, n - i); \
        for (j = whole; j < lines; j++) pooling_line##BITS(to + j * place, from + j * near, step, n); \
    }

POOLING_ELEMENTS(8, 8)
POOLING_ELEMENTS(16, 8)
POOLING_ELEMENTS(32, 4)
POOLING_ELEMENTS(64, 2)

/* Copy so many elements of the last axis, along so many of the axis across. */
static inline void pooling_gather_tile(
    const pooling_view_t *view, char *dst, const char *src, ptrdiff_t n, ptrdiff_t lines
) {
    const ptrdiff_t step = view->step[view->axes - 1];
    #define POOLING_GATHER_TILE(BITS) \
        if (view->across < 0) \
            pooling_line##BITS(dst, src, step, n); \
        else \
            pooling_tile##BITS(dst, view->place[view->across], src, step, view->step[view->across], lines, n);
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

/* What is left of an axis at a place of a loop that takes `together` of its elements at a time. */
static inline ptrdiff_t pooling_left(ptrdiff_t size, ptrdiff_t together, ptrdiff_t at) {
    const ptrdiff_t left = size - at * together;
    return left < together ? left : together;
}

/* Copy so many rows of a known number of pieces of so many bytes, and the last bytes again: a loop without branches. */
static inline void pooling_copy_pieces(
    char *to, ptrdiff_t place, const char *from, ptrdiff_t apart, ptrdiff_t nbytes, ptrdiff_t rows, const int pieces,
    const int piece
) {
    int i;
    for (; rows > 0; rows--) {
        for (i = 0; i < pieces; i++) memcpy(to + i * piece, from + i * piece, piece);
        memcpy(to + nbytes - piece, from + nbytes - piece, piece);
        to += place;
        from += apart;
    }
}

/* Copy rows, `place` bytes apart in the copy and `apart` in the source, that lie side by side in both. */
static void pooling_copy_rows(
    char *to, ptrdiff_t place, const char *from, ptrdiff_t apart, ptrdiff_t nbytes, ptrdiff_t rows
) {
    #define POOLING_PIECES(PIECES, PIECE) \
        pooling_copy_pieces(to, place, from, apart, nbytes, rows, PIECES, PIECE); \
        return;
    if (nbytes >= 32) {
        switch ((nbytes - 1) / 32) {
        case 0: POOLING_PIECES(0, 32)
        case 1: POOLING_PIECES(1, 32)
        case 2: POOLING_PIECES(2, 32)
        case 3: POOLING_PIECES(3, 32)
        case 4: POOLING_PIECES(4, 32)
        case 5: POOLING_PIECES(5, 32)
        case 6: POOLING_PIECES(6, 32)
        case 7: POOLING_PIECES(7, 32)
        }
    } else if (nbytes >= 16) {
        POOLING_PIECES(1, 16)
    } else if (nbytes >= 8) {
        POOLING_PIECES(1, 8)
    } else if (nbytes >= 4) {
        POOLING_PIECES(1, 4)
    }
    #undef POOLING_PIECES
    for (; rows > 0; rows--) {
        memcpy(to, from, nbytes);
        to += place;
        from += apart;
    }
}

/* Do tasks begin to end of a copy; `src` is the first element of the view. */
static void pooling_gather(
    const pooling_view_t *view, char *dst, const char *src, ptrdiff_t begin, ptrdiff_t end
) {
    const int last = view->axes - 1;
    const int rows = view->across < 0 && view->tiled < 0 && view->step[last] == view->itemsize && view->loops;
    ptrdiff_t at[POOLING_MOST_AXES];
    ptrdiff_t rest = begin, n = view->together, lines = view->lines;
    int i;
    for (i = 0; i < view->loops; i++) {
        at[i] = rest % view->loop_size[i];
        rest /= view->loop_size[i];
        src += at[i] * view->loop_step[i];
        dst += at[i] * view->loop_place[i];
    }
    while (begin < end) {
        ptrdiff_t made = 1;
        if (rows) {
            /* What one row at a time costs to begin is more than short rows take. */
            made = view->loop_size[0] - at[0];
            if (made > end - begin) made = end - begin;
            pooling_copy_rows(
                dst, view->loop_place[0], src, view->loop_step[0], view->size[last] * view->itemsize, made);
        } else {
            if (view->tiled >= 0) n = pooling_left(view->size[last], view->together, at[view->tiled]);
            if (view->crossed >= 0) lines = pooling_left(view->size[view->across], view->lines, at[view->crossed]);
            pooling_gather_tile(view, dst, src, n, lines);
        }
        begin += made;
        for (i = 0; i < view->loops; i++) {
            src += made * view->loop_step[i];
            dst += made * view->loop_place[i];
            at[i] += made;
            if (at[i] < view->loop_size[i]) break;
            src -= view->loop_size[i] * view->loop_step[i];
            dst -= view->loop_size[i] * view->loop_place[i];
            at[i] = 0;
            made = 1;
        }
    }
}

#endif
