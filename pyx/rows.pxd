# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Leaf loops over rows that are hot in the first-level cache. Sizes and strides count elements, never bytes.

`across` combines rows element by element, `along` reduces runs inside one row; every pooling is made of the two.
"""

from libc.math cimport NAN
from libc.string cimport memcpy
from conversions cimport sum_eights, widened
from types cimport float16_t, int32_t, int64_t, offset_t, pair_t, real_t, stored_t, uint64_t, value_t, wide_t
from reducers cimport GREATEST, SMALLEST, TOTAL, better, combine, empty, identity

# `along` keeps this many partial results side by side. The number is part of what a float sum means: it is the same on
# every instruction set, however many of them one register holds.
cdef enum:
    LANES = 16
    BLOCK = 4096
    # Cells of a strip of long windows that are made in one go.
    STRIP = 64


cdef inline value_t tap_group(
    const value_t* src, ptrdiff_t stride, const int taps, const int reducer
) noexcept nogil:
    """Combine one to four taps of one output."""
    if taps == 1:
        return src[0]
    if taps == 2:
        return combine(src[0], src[stride], reducer)
    if taps == 3:
        return combine(combine(src[0], src[stride], reducer), src[2 * stride], reducer)
    return combine(
        combine(src[0], src[stride], reducer), combine(src[2 * stride], src[3 * stride], reducer), reducer
    )


cdef inline void across_group(
    value_t* dst, const value_t* src, ptrdiff_t stride, const int taps, const ptrdiff_t n, const ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, const bint accumulate, const int reducer,
) noexcept nogil:
    cdef ptrdiff_t x, _y
    for _y in range(rows):
        for x in range(n):
            if accumulate:
                dst[x] = combine(dst[x], tap_group(src + x * step, stride, taps, reducer), reducer)
            else:
                dst[x] = tap_group(src + x * step, stride, taps, reducer)
        dst += dst_row
        src += src_row


cdef inline void across_step(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, const ptrdiff_t n, const ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, const int reducer,
) noexcept nogil:
    # The constants let the compiler make one straight vector loop for each line.
    if not accumulate:
        if taps == 1:
            across_group(dst, src, stride, 1, n, step, rows, dst_row, src_row, False, reducer)
            return
        if taps == 2:
            across_group(dst, src, stride, 2, n, step, rows, dst_row, src_row, False, reducer)
            return
        if taps == 3:
            across_group(dst, src, stride, 3, n, step, rows, dst_row, src_row, False, reducer)
            return
        across_group(dst, src, stride, 4, n, step, rows, dst_row, src_row, False, reducer)
        taps -= 4
        src += 4 * stride
    while taps >= 4:
        across_group(dst, src, stride, 4, n, step, rows, dst_row, src_row, True, reducer)
        taps -= 4
        src += 4 * stride
    if taps == 3:
        across_group(dst, src, stride, 3, n, step, rows, dst_row, src_row, True, reducer)
    elif taps == 2:
        across_group(dst, src, stride, 2, n, step, rows, dst_row, src_row, True, reducer)
    elif taps == 1:
        across_group(dst, src, stride, 1, n, step, rows, dst_row, src_row, True, reducer)


cdef inline void across(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, const int reducer,
) noexcept nogil:
    """``dst[x] = src[x * step] . src[x * step + stride] . ...`` over `taps` taps, for x below n, in each of `rows`."""
    if n == 1:
        across_step(dst, src, stride, taps, 1, 1, rows, dst_row, src_row, accumulate, reducer)
    elif step == 1:
        across_step(dst, src, stride, taps, n, 1, rows, dst_row, src_row, accumulate, reducer)
    elif step == 2 and stride == 1:
        across_step(dst, src, 1, taps, n, 2, rows, dst_row, src_row, accumulate, reducer)
    else:
        across_step(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, reducer)


cdef inline void fold(value_t* lanes, const value_t* src, const ptrdiff_t width, const int reducer) noexcept nogil:
    """Combine `width` neighbours into as many lanes."""
    cdef ptrdiff_t lane
    for lane in range(width):
        lanes[lane] = combine(lanes[lane], src[lane], reducer)


cdef inline void join_cells(
    value_t* dst, const value_t* first, const value_t* second, const ptrdiff_t n, const int reducer
) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = combine(first[x], second[x], reducer)


cdef inline void windows_block(
    value_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t x,
    const ptrdiff_t n, value_t* ends, const int reducer,
) noexcept nogil:
    cdef const value_t* beginning = (<const value_t*> rows[taps - 1]) + x
    cdef value_t* joined = ends + taps * STRIP
    cdef value_t* end = ends + (taps - 1) * STRIP
    cdef ptrdiff_t i
    memcpy(end, beginning, n * sizeof(value_t))
    for i in range(taps - 2, -1, -1):
        end = ends + i * STRIP
        join_cells(end, (<const value_t*> rows[i]) + x, end + STRIP, n, reducer)
    memcpy(dst, end, n * sizeof(value_t))
    for i in range(1, outputs):
        if i == 1:
            beginning = (<const value_t*> rows[taps]) + x
        else:
            join_cells(joined, beginning, (<const value_t*> rows[taps - 1 + i]) + x, n, reducer)
            beginning = joined
        join_cells(dst + i * dst_row, ends + i * STRIP, beginning, n, reducer)


cdef inline void windows(
    value_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, value_t* ends,
    const int reducer,
) noexcept nogil:
    """``dst[i * dst_row + x] = rows[i][x] . rows[i + 1][x] . ...`` over `taps` rows, for i below `outputs`, x below n.

    There may be as many outputs as taps; `ends` has room for STRIP values a tap, and as many again.
    """
    cdef ptrdiff_t x = 0
    # Known lengths are worth it: 1.8 ns for eight windows, and otherwise 3.4.
    while x + STRIP <= n:
        windows_block(dst + x, dst_row, rows, taps, outputs, x, STRIP, ends, reducer)
        x += STRIP
    if x < n:
        windows_block(dst + x, dst_row, rows, taps, outputs, x, n - x, ends, reducer)


cdef inline value_t run(const value_t* src, ptrdiff_t n, const int reducer) noexcept nogil:
    """Reduce n >= 1 neighbouring values."""
    cdef value_t lanes[LANES]
    cdef value_t result
    cdef ptrdiff_t i, lane
    if n < LANES:
        result = src[0]
        for i in range(1, n):
            result = combine(result, src[i], reducer)
        return result
    for lane in range(LANES):
        lanes[lane] = src[lane]
    i = LANES
    while i + LANES <= n:
        fold(lanes, src + i, LANES, reducer)
        i += LANES
    # What is left goes to the lanes in halves; known widths keep the lanes in registers.
    if n - i >= 8:
        fold(lanes, src + i, 8, reducer)
        i += 8
    fold(lanes, lanes + 8, 8, reducer)
    if n - i >= 4:
        fold(lanes, src + i, 4, reducer)
        i += 4
    fold(lanes, lanes + 4, 4, reducer)
    fold(lanes, lanes + 2, 2, reducer)
    result = combine(lanes[0], lanes[1], reducer)
    while i < n:
        result = combine(result, src[i], reducer)
        i += 1
    return result


cdef inline void along(
    value_t* dst, const value_t* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t dst_step,
    bint accumulate, const int reducer,
) noexcept nogil:
    """``dst[x * dst_step]`` = all of ``src[x * step : x * step + taps]``, for x below n; in blocks, which keeps sums
    accurate."""
    cdef ptrdiff_t x, i
    cdef value_t result
    for x in range(n):
        i = min(taps, BLOCK)
        result = run(src + x * step, i, reducer)
        while i < taps:
            result = combine(result, run(src + x * step + i, min(taps - i, BLOCK), reducer), reducer)
            i += BLOCK
        dst[x * dst_step] = combine(dst[x * dst_step], result, reducer) if accumulate else result


cdef inline void fill_identity(value_t* dst, ptrdiff_t n, const int reducer) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = identity(dst, reducer)


# Sums of what is stored in a narrower type, converted on the way. Large windows of float are summed in double, but up
# to four taps in float first: three roundings in all, whatever the window, at nearly the cost of a sum in float.


cdef inline wide_t widened_group(
    const stored_t* src, ptrdiff_t stride, const int taps, wide_t* kind
) noexcept nogil:
    """Sum one to four taps of one output."""
    cdef wide_t values[4]
    cdef int tap
    if stored_t is float and wide_t is not pair_t:
        return <wide_t> tap_group(src, stride, taps, TOTAL)
    else:
        for tap in range(taps):
            values[tap] = widened(src[tap * stride], kind)
        return tap_group(values, 1, taps, TOTAL)


cdef inline void widen_group(
    wide_t* dst, const stored_t* src, ptrdiff_t stride, const int taps, const ptrdiff_t n, const ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, const bint accumulate,
) noexcept nogil:
    cdef ptrdiff_t x, _y
    cdef ptrdiff_t done = 0
    for _y in range(rows):
        if stored_t is float16_t and wide_t is float:
            if step == 1:
                done = sum_eights(dst, src, stride, taps, n, accumulate)
        for x in range(done, n):
            if accumulate:
                dst[x] = <wide_t> (dst[x] + widened_group(src + x * step, stride, taps, dst))
            else:
                dst[x] = widened_group(src + x * step, stride, taps, dst)
        dst += dst_row
        src += src_row


cdef inline void widen_step(
    wide_t* dst, const stored_t* src, ptrdiff_t stride, ptrdiff_t taps, const ptrdiff_t n, const ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
) noexcept nogil:
    while taps > 0:
        if taps == 1:
            widen_group(dst, src, stride, 1, n, step, rows, dst_row, src_row, accumulate)
        elif taps == 2:
            widen_group(dst, src, stride, 2, n, step, rows, dst_row, src_row, accumulate)
        elif taps == 3:
            widen_group(dst, src, stride, 3, n, step, rows, dst_row, src_row, accumulate)
        else:
            widen_group(dst, src, stride, 4, n, step, rows, dst_row, src_row, accumulate)
        accumulate = True
        taps -= 4
        src += 4 * stride


cdef inline void widen_across(
    wide_t* dst, const stored_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, void* _reducer,
) noexcept nogil:
    """Sum elements as `across` sums values."""
    if step == 1:
        widen_step(dst, src, stride, taps, n, 1, rows, dst_row, src_row, accumulate)
    elif step == 2 and stride == 1:
        widen_step(dst, src, 1, taps, n, 2, rows, dst_row, src_row, accumulate)
    else:
        widen_step(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate)


cdef inline void widen_cells(
    wide_t* dst, const stored_t* stored, const wide_t* sums, const ptrdiff_t n
) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = <wide_t> (sums[x] + widened(stored[x], dst))


cdef inline void widen_windows_block(
    wide_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t x,
    const ptrdiff_t n, wide_t* ends, stored_t* kind,
) noexcept nogil:
    cdef wide_t* joined = ends + taps * STRIP
    cdef wide_t* end = ends + (taps - 1) * STRIP
    cdef ptrdiff_t i
    fill_identity(joined, n, TOTAL)
    widen_cells(end, (<const stored_t*> rows[taps - 1]) + x, joined, n)
    for i in range(taps - 2, -1, -1):
        end = ends + i * STRIP
        widen_cells(end, (<const stored_t*> rows[i]) + x, end + STRIP, n)
    memcpy(dst, end, n * sizeof(wide_t))
    for i in range(1, outputs):
        widen_cells(joined, (<const stored_t*> rows[taps - 1 + i]) + x, joined, n)
        join_cells(dst + i * dst_row, ends + i * STRIP, joined, n, TOTAL)


cdef inline void widen_windows(
    wide_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, wide_t* ends,
    stored_t* kind,
) noexcept nogil:
    """Sum elements as `windows` combines values."""
    cdef ptrdiff_t x = 0
    while x + STRIP <= n:
        widen_windows_block(dst + x, dst_row, rows, taps, outputs, x, STRIP, ends, kind)
        x += STRIP
    if x < n:
        widen_windows_block(dst + x, dst_row, rows, taps, outputs, x, n - x, ends, kind)


cdef inline wide_t widen_run(const stored_t* src, ptrdiff_t n, wide_t* kind) noexcept nogil:
    """Sum n neighbouring elements."""
    cdef wide_t lanes[LANES]
    cdef wide_t result = 0
    cdef ptrdiff_t i = 0
    if wide_t is float or wide_t is double or wide_t is pair_t:
        fill_identity(lanes, LANES, TOTAL)
        while i + 4 * LANES <= n:
            widen_group(lanes, src + i, LANES, 4, LANES, 1, 1, 0, 0, True)
            i += 4 * LANES
        while i + LANES <= n:
            widen_group(lanes, src + i, 0, 1, LANES, 1, 1, 0, 0, True)
            i += LANES
        if n - i >= 8:
            widen_group(lanes, src + i, 0, 1, 8, 1, 1, 0, 0, True)
            i += 8
        fold(lanes, lanes + 8, 8, TOTAL)
        if n - i >= 4:
            widen_group(lanes, src + i, 0, 1, 4, 1, 1, 0, 0, True)
            i += 4
        fold(lanes, lanes + 4, 4, TOTAL)
        fold(lanes, lanes + 2, 2, TOTAL)
        result = <wide_t> (lanes[0] + lanes[1])
    # Integers may be added in any order, which is left to compilers: gcc 12 makes wrong code of lanes of 16 bits.
    for i in range(i, n):
        result = <wide_t> (result + widened(src[i], kind))
    return result


cdef inline void widen_along(
    wide_t* dst, const stored_t* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t dst_step,
    bint accumulate, void* _reducer,
) noexcept nogil:
    """Sum elements as `along` sums values."""
    cdef ptrdiff_t x, i
    cdef wide_t result
    cdef double blocks
    for x in range(n):
        result = 0
        blocks = 0
        i = 0
        while i < taps:
            if wide_t is float:
                # There may be more blocks than float has units.
                blocks += <double> widen_run(src + x * step + i, min(taps - i, BLOCK), dst)
            else:
                result = combine(result, widen_run(src + x * step + i, min(taps - i, BLOCK), dst), TOTAL)
            i += BLOCK
        if wide_t is float:
            result = <float> blocks
        dst[x * dst_step] = combine(dst[x * dst_step], result, TOTAL) if accumulate else result


cdef inline void fill_empty(value_t* dst, ptrdiff_t n, const int reducer) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = empty(dst, reducer)


cdef inline void take_step(
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


cdef inline void take(
    value_t* best, offset_t* where, const value_t* src, offset_t here, ptrdiff_t n, ptrdiff_t step,
    const int reducer,
) noexcept nogil:
    """Let tap `here` of n windows compete with the best so far."""
    if step == 1:
        take_step(best, where, src, here, n, 1, reducer)
    elif step == 2:
        take_step(best, where, src, here, n, 2, reducer)
    else:
        take_step(best, where, src, here, n, step, reducer)


cdef struct taps_t:
    # The taps of windows along one axis: how many, how many rows apart, and by how much their places differ. Rows are
    # dealt in turn to `ways` buffers that begin `way` elements apart; in each they follow one another every `row`.
    ptrdiff_t count, apart, place
    ptrdiff_t ways, way, row


# Who meets in a contest: cells of the input, so far apart, or winners of earlier contests, which are neighbours.
cdef enum:
    ADJACENT, ALTERNATE, SPREAD, WINNERS


cdef inline void challenge(value_t* best, int32_t* where, value_t v, int32_t place, const int reducer) noexcept nogil:
    """Let a later value compete with the best of earlier ones."""
    cdef bint taken = better(best[0], v, reducer)
    best[0] = v if taken else best[0]
    where[0] = place if taken else where[0]


cdef inline void contend_group(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, ptrdiff_t first,
    const int group, int32_t here, ptrdiff_t n, ptrdiff_t any_step, ptrdiff_t rows, ptrdiff_t dst_row,
    ptrdiff_t src_row, const bint accumulate, const int reducer, const int contenders,
) noexcept nogil:
    """Let two or three compete: so many taps, and the best so far before them if they accumulate. Or write down one."""
    cdef const value_t* tap[3]
    cdef const int32_t* of_tap[3]
    cdef int32_t name[3]
    cdef ptrdiff_t x, row, _y
    cdef int t
    # Who competes, in the order of their places.
    cdef value_t v, second, third
    cdef int32_t w, of_second, of_third
    cdef int begin = 0 if accumulate else 1
    cdef int rivals = group - begin
    cdef bint placed = contenders == WINNERS
    cdef ptrdiff_t step = 2 if contenders == ALTERNATE else any_step if contenders == SPREAD else 1
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
            if rivals > 0:
                second = tap[begin][x * step]
                of_second = name[begin] + of_tap[begin][x] if placed else name[begin]
            if rivals > 1:
                third = tap[begin + 1][x * step]
                of_third = name[begin + 1] + of_tap[begin + 1][x] if placed else name[begin + 1]
            # The value that `better` tests for NaN must be fresh from memory: of others gcc keeps the answer from the
            # contest before, as a flag, and then has no vector code.
            if reducer == GREATEST or reducer == SMALLEST:
                if rivals > 1:
                    challenge(&second, &of_second, third, of_third, reducer)
                if rivals > 0:
                    challenge(&v, &w, second, of_second, reducer)
            else:
                if rivals > 0:
                    challenge(&v, &w, second, of_second, reducer)
                if rivals > 1:
                    challenge(&v, &w, third, of_third, reducer)
            best[x] = v
            where[x] = w
        best += dst_row
        where += dst_row
        for t in range(group):
            tap[t] += src_row
            of_tap[t] += src_row


cdef inline void contend_groups(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, int32_t here,
    ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
    const int reducer, const int contenders,
) noexcept nogil:
    # The constants let the compiler make one straight vector loop for each line. Of winners that may lie where places
    # do, as bytes and 32-bit integers may for all it knows, it does so for two only; loops over three were scalar and
    # took three times as long.
    cdef ptrdiff_t t = 0
    cdef bint two = contenders == WINNERS and (
        sizeof(value_t) == 1 or (sizeof(value_t) == 4 and value_t is not float))
    if not accumulate:
        if taps.count == 1:
            contend_group(
                best, where, src, places, taps, 0, 1, here, n, step, rows, dst_row, src_row, False, reducer, contenders)
            return
        if two or taps.count == 2 or taps.count == 4:
            contend_group(
                best, where, src, places, taps, 0, 2, here, n, step, rows, dst_row, src_row, False, reducer, contenders)
            t = 2
        else:
            contend_group(
                best, where, src, places, taps, 0, 3, here, n, step, rows, dst_row, src_row, False, reducer, contenders)
            t = 3
    while taps.count - t >= 2:
        contend_group(
            best, where, src, places, taps, t, 2, here, n, step, rows, dst_row, src_row, True, reducer, contenders)
        t += 2
    if t < taps.count:
        contend_group(
            best, where, src, places, taps, t, 1, here, n, step, rows, dst_row, src_row, True, reducer, contenders)


cdef inline void contend(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, int32_t here,
    ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
    const int reducer,
) noexcept nogil:
    """Find the first of the best taps of n windows, in each of `rows`, and its place: `here` for the first tap.

    Taps that are winners of earlier contests bring their `places`, which count from their own.
    """
    if places != NULL:
        contend_groups(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, WINNERS)
    elif step == 1:
        contend_groups(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, ADJACENT)
    elif step == 2:
        contend_groups(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, ALTERNATE)
    else:
        contend_groups(
            best, where, src, places, taps, here, n, step, rows, dst_row, src_row, accumulate, reducer, SPREAD)


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


cdef inline void divide(real_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    """Divide in place; a small power of two by its exact reciprocal, which is the same and several times faster.

    Other divisors are no case for a reciprocal: the mean of seven threes would be less than three. Every NaN becomes
    the same one, since which of two NaN an addition keeps is up to the compiler.
    """
    cdef ptrdiff_t x
    cdef real_t v
    cdef real_t d = <real_t> divisor
    cdef real_t reciprocal = 1 / d
    if divisor == 1 or divisor == 2 or divisor == 4 or divisor == 8 or divisor == 16:
        for x in range(n):
            v = row[x] * reciprocal
            row[x] = v if v == v else <real_t> NAN
    elif real_t is float and <double> d != divisor:
        # Half precision: the divisor of a user's own, which may be 0 or infinite as float.
        for x in range(n):
            v = <real_t> (<double> row[x] / divisor)
            row[x] = v if v == v else <real_t> NAN
    else:
        for x in range(n):
            v = row[x] / d
            row[x] = v if v == v else <real_t> NAN


cdef inline void divide_each(
    real_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    """Divide each value by its own divisor."""
    cdef ptrdiff_t x
    cdef real_t v
    for x in range(n):
        if real_t is float:
            v = row[x] / divisors32[x]
        else:
            v = row[x] / divisors64[x]
        row[x] = v if v == v else <real_t> NAN


cdef inline void add_spread(real_t* dst, const real_t* src, ptrdiff_t n, ptrdiff_t step) noexcept nogil:
    """``dst[x * step] += src[x]`` for x below n."""
    cdef ptrdiff_t x
    if step == 1:
        for x in range(n):
            dst[x] += src[x]
    elif step == 2:
        for x in range(n):
            dst[2 * x] += src[x]
    else:
        for x in range(n):
            dst[x * step] += src[x]


cdef inline void weave_step(
    real_t* dst, const real_t* src, ptrdiff_t apart, ptrdiff_t n, const ptrdiff_t ways
) noexcept nogil:
    cdef ptrdiff_t x, way
    for x in range(n):
        for way in range(ways):
            dst[x * ways + way] = src[way * apart + x]


cdef inline void weave(real_t* dst, const real_t* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t ways) noexcept nogil:
    """``dst[x * ways + w] = src[w * apart + x]``, for x below n."""
    if ways == 2:
        weave_step(dst, src, apart, n, 2)
    else:
        weave_step(dst, src, apart, n, ways)


cdef inline void repeat_step(
    real_t* dst, const real_t* src, ptrdiff_t n, const ptrdiff_t times
) noexcept nogil:
    cdef ptrdiff_t x, i
    cdef real_t v
    for x in range(n):
        v = src[x]
        for i in range(times):
            dst[x * times + i] = v


cdef inline void repeat(real_t* dst, const real_t* src, ptrdiff_t n, ptrdiff_t times) noexcept nogil:
    """Write each of n values so many times."""
    if times == 2:
        repeat_step(dst, src, n, 2)
    elif times == 3:
        repeat_step(dst, src, n, 3)
    elif times == 4:
        repeat_step(dst, src, n, 4)
    else:
        repeat_step(dst, src, n, times)


cdef inline void add_run(real_t* dst, const real_t* src, ptrdiff_t n) noexcept nogil:
    """Add one value to n neighbours."""
    cdef ptrdiff_t x
    cdef real_t v = src[0]
    for x in range(n):
        dst[x] += v


cdef inline ptrdiff_t scatter(
    real_t* dst, const real_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells, bint checked, bint skip,
) noexcept nogil:
    """``dst[index[x, c] - first, c] += src[x, c]`` for cells from `first` on, and for so many of `inner` channels.

    If indices are to be checked, return the position of the first that names none of these cells, or -1. With `skip`,
    -1 is an index too: that of a window without any element, which has no gradient.
    """
    cdef ptrdiff_t x, c, bad = -1
    cdef int64_t i
    if inner == 1:
        for x in range(n):
            i = index[x] - first
            if <uint64_t> i < <uint64_t> cells:
                dst[i] += src[x]
            elif checked and not (skip and index[x] == -1) and bad < 0:
                bad = x
    else:
        for x in range(n // channels):
            for c in range(channels):
                i = index[x * channels + c] - first
                if <uint64_t> i < <uint64_t> cells:
                    dst[i * inner + c] += src[x * channels + c]
                elif checked and not (skip and index[x * channels + c] == -1) and bad < 0:
                    bad = x * channels + c
    return bad


cdef inline void scatter_runs(
    real_t* dst, const real_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells,
) noexcept nogil:
    """Do as `scatter` where neighbours often name the same cell: an addition in memory waits for the one before it."""
    cdef ptrdiff_t x, c
    cdef int64_t named, i
    cdef real_t amount
    for c in range(channels):
        x = c
        while x < n:
            named = index[x]
            i = named - first
            if not <uint64_t> i < <uint64_t> cells:
                x += channels
                continue
            amount = dst[i * inner + c]
            while x < n and index[x] == named:
                amount += src[x]
                x += channels
            dst[i * inner + c] = amount
