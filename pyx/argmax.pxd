# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Leaf loops over rows that also find where the best value lies, as a distance from the first tap of its window."""

from reducers cimport GREATEST, SMALLEST, better
from types cimport int16_t, int32_t, int64_t, offset_t, uint8_t, value_t


cdef extern from "c/winners.h":
    # The outputs of a row, those of whole windows, and where windows lie.
    ctypedef struct across_row_t "pooling_across_row_t":
        ptrdiff_t outputs, begin, end, stride, pad, taps, size
    void winners_float "pooling_winners_float"(
        void* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
        int64_t origin, const int order) noexcept nogil
    void winners_double "pooling_winners_double"(
        void* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
        int64_t origin, const int order) noexcept nogil
    void winners_int16 "pooling_winners_int16"(
        void* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
        int64_t origin, const int order) noexcept nogil
    void winners_uint8 "pooling_winners_uint8"(
        void* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
        int64_t origin, const int order) noexcept nogil


cdef inline void argmax_tap_step(
    value_t* best, offset_t* where, const value_t* src, offset_t here, ptrdiff_t n, const ptrdiff_t step,
    const int reducer,
) noexcept nogil:
    cdef ptrdiff_t x
    cdef value_t v, b
    cdef offset_t w
    cdef bint taken
    for x in range(n):
        v = src[x * step]
        b = best[x]
        w = where[x]
        taken = better(b, v, reducer)
        best[x] = v if taken else b
        where[x] = here if taken else w


cdef inline void argmax_tap(
    value_t* best, offset_t* where, const value_t* src, offset_t here, ptrdiff_t n, ptrdiff_t step,
    const int reducer,
) noexcept nogil:
    """Compare tap `here` of n windows with the best so far."""
    if step == 1:
        argmax_tap_step(best, where, src, here, n, 1, reducer)
    elif step == 2:
        argmax_tap_step(best, where, src, here, n, 2, reducer)
    else:
        argmax_tap_step(best, where, src, here, n, step, reducer)


cdef struct taps_t:
    # The taps of windows along one axis: how many, how many rows apart, and by how much their places differ. Rows are
    # dealt in turn to `ways` buffers that begin `way` elements apart; in each they follow one another every `row`.
    ptrdiff_t count, apart, place
    ptrdiff_t ways, way, row


# What is compared: cells of the input, so far apart, or argmaxes of earlier comparisons, which are neighbours.
cdef enum:
    ADJACENT, ALTERNATE, SPREAD, ARGMAXES


cdef inline void keep_better(value_t* best, int32_t* where, value_t v, int32_t place, const int reducer) noexcept nogil:
    """Compare a later value with the best of earlier ones."""
    cdef bint taken = better(best[0], v, reducer)
    best[0] = v if taken else best[0]
    where[0] = place if taken else where[0]


cdef inline void argmax_group(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, ptrdiff_t first,
    const int group, int32_t here, ptrdiff_t n, ptrdiff_t any_step, ptrdiff_t rows, ptrdiff_t dst_row,
    ptrdiff_t src_row, const bint accumulate, const int reducer, const int compared,
) noexcept nogil:
    """Compare two or three: so many taps, and the best so far before them if they accumulate. Or write down one."""
    cdef const value_t* tap[3]
    cdef const int32_t* of_tap[3]
    cdef int32_t name[3]
    cdef ptrdiff_t x, row, _y
    cdef int t
    # What is compared, in the order of their places.
    cdef value_t v, second, third
    cdef int32_t w, of_second, of_third
    cdef int begin = 0 if accumulate else 1
    cdef int others = group - begin
    cdef bint placed = compared == ARGMAXES
    cdef ptrdiff_t step = 2 if compared == ALTERNATE else any_step if compared == SPREAD else 1
    for t in range(group):
        row = (first + t) * taps.apart
        # Divisions would cost as much as a short loop.
        row = row * taps.row if taps.ways == 1 else row % taps.ways * taps.way + row // taps.ways * taps.row
        tap[t] = src + row
        of_tap[t] = places + row
        name[t] = here + <int32_t> ((first + t) * taps.place)
    for _y in range(rows):
        for x in range(n):
            if accumulate:
                v = best[x]
                w = where[x]
            else:
                v = tap[0][x * step]
                w = name[0] + of_tap[0][x] if placed else name[0]
            if others > 0:
                second = tap[begin][x * step]
                of_second = name[begin] + of_tap[begin][x] if placed else name[begin]
            if others > 1:
                third = tap[begin + 1][x * step]
                of_third = name[begin + 1] + of_tap[begin + 1][x] if placed else name[begin + 1]
            # The value that `better` tests for NaN must be fresh from memory: of others gcc keeps the answer from the
            # comparison before, as a flag, and then has no vector code.
            if reducer == GREATEST or reducer == SMALLEST:
                if others > 1:
                    keep_better(&second, &of_second, third, of_third, reducer)
                if others > 0:
                    keep_better(&v, &w, second, of_second, reducer)
            else:
                if others > 0:
                    keep_better(&v, &w, second, of_second, reducer)
                if others > 1:
                    keep_better(&v, &w, third, of_third, reducer)
            best[x] = v
            where[x] = w
        best += dst_row
        where += dst_row
        for t in range(group):
            tap[t] += src_row
            of_tap[t] += src_row


cdef inline void argmax_step(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, int32_t here,
    ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
    const int reducer, const int compared,
) noexcept nogil:
    # The constants let the compiler make one straight vector loop for each line. Of argmaxes that may lie where places
    # do, as bytes and 32-bit integers may for all it knows, it does so for two only; loops over three were scalar and
    # took three times as long.
    cdef ptrdiff_t t = 0
    cdef bint two = compared == ARGMAXES and (
        sizeof(value_t) == 1 or (sizeof(value_t) == 4 and value_t is not float))
    if not accumulate:
        if taps.count == 1:
            argmax_group(
                best, where, src, places, taps, 0, 1, here, n, step, rows, dst_row, src_row, False, reducer, compared)
            return
        if two or taps.count == 2 or taps.count == 4:
            argmax_group(
                best, where, src, places, taps, 0, 2, here, n, step, rows, dst_row, src_row, False, reducer, compared)
            t = 2
        else:
            argmax_group(
                best, where, src, places, taps, 0, 3, here, n, step, rows, dst_row, src_row, False, reducer, compared)
            t = 3
    while taps.count - t >= 2:
        argmax_group(
            best, where, src, places, taps, t, 2, here, n, step, rows, dst_row, src_row, True, reducer, compared)
        t += 2
    if t < taps.count:
        argmax_group(
            best, where, src, places, taps, t, 1, here, n, step, rows, dst_row, src_row, True, reducer, compared)


cdef inline void argmax_across(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, int32_t here,
    ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
    const int reducer,
) noexcept nogil:
    """Find the first of the best taps of n windows, in each of `rows`, and its place: `here` for the first tap.

    Taps that are argmaxes of earlier comparisons bring their `places`, which count from their own.
    """
    if places != NULL:
        argmax_step(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, ARGMAXES)
    elif step == 1:
        argmax_step(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, ADJACENT)
    elif step == 2:
        argmax_step(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, ALTERNATE)
    else:
        argmax_step(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, SPREAD)


cdef inline bint has_winners(value_t* kind) noexcept nogil:
    """Whether c/winners.h has loops for what rows hold."""
    return value_t is float or value_t is double or value_t is int16_t or value_t is uint8_t


cdef inline void winners(
    value_t* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
    int64_t origin, const int reducer,
) noexcept nogil:
    """Find the argmaxes of a row of windows two or three columns wide, and their indices.

    `rows` are the rows of the input under them, whose places begin at `places`; `origin` is the index of the first cell
    of the first. `best` may be NULL.
    """
    if value_t is float:
        winners_float(best, index, rows, places, count, across, origin, reducer)
    elif value_t is double:
        winners_double(best, index, rows, places, count, across, origin, reducer)
    elif value_t is int16_t:
        winners_int16(best, index, rows, places, count, across, origin, reducer)
    elif value_t is uint8_t:
        winners_uint8(best, index, rows, places, count, across, origin, reducer)


cdef inline void name_steps(
    int64_t* index, const int32_t* where, ptrdiff_t n, const int32_t step, int64_t origin
) noexcept nogil:
    cdef int32_t x
    for x in range(<int32_t> n):
        index[x] = origin + <int32_t> (x * step + where[x])


cdef inline void name_places(
    int64_t* index, const int32_t* where, ptrdiff_t n, ptrdiff_t step, int64_t origin
) noexcept nogil:
    """Turn places, which count from the first taps of windows, into indices."""
    if step == 1:
        name_steps(index, where, n, 1, origin)
    elif step == 2:
        name_steps(index, where, n, 2, origin)
    else:
        name_steps(index, where, n, <int32_t> step, origin)
