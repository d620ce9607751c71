# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Leaf loops over rows that are hot in the first-level cache. Sizes and strides count elements, never bytes.

`across` combines rows element by element, `along` reduces runs inside one row; every pooling is made of the two.
"""

from libc.string cimport memcpy
from conversions cimport sum_eights_bfloat16, sum_eights, widened
from reducers cimport TOTAL, combine, empty, identity
from tuning cimport BLOCK, LANES, RUN_FETCHED_BYTES, STRIP, WIDE_LANES
from types cimport (
    bfloat16_t, float16_t, int8_t, int16_t, int32_t, int64_t, pair_t, stored_t, uint8_t, uint16_t, uint32_t, value_t,
    wide_t,
)

cdef extern from "c/sums.h":
    void eight_runs_float "pooling_eight_runs_float"(
        float* sums, const float* src, ptrdiff_t step, ptrdiff_t taps, int count) noexcept nogil
    void eight_runs_float16 "pooling_eight_runs_float16"(
        float* sums, const float16_t* src, ptrdiff_t step, ptrdiff_t taps, int count) noexcept nogil
    void eight_runs_bfloat16 "pooling_eight_runs_bfloat16"(
        float* sums, const bfloat16_t* src, ptrdiff_t step, ptrdiff_t taps, int count) noexcept nogil
    double run_double "pooling_run_double"(const double* src, ptrdiff_t n) noexcept nogil
    double run_wide "pooling_run_wide"(const float* src, ptrdiff_t n) noexcept nogil
    int64_t run_bytes "pooling_run_bytes"(const uint8_t* src, ptrdiff_t n, uint8_t flip) noexcept nogil

cdef extern from "c/stream.h":
    void prefetch "pooling_prefetch" (const void* at) nogil

cdef extern from "c/windows.h":
    const bint WINDOWS_IN_REGISTERS "POOLING_WINDOWS_IN_REGISTERS"
    void windows_float "pooling_windows_float"(
        float* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, float* ends,
        const int reducer) noexcept nogil
    void windows_double "pooling_windows_double"(
        double* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        double* ends, const int reducer) noexcept nogil
    void windows_wide "pooling_windows_wide"(
        double* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        double* ends, const int reducer) noexcept nogil
    void windows_int8 "pooling_windows_int8"(
        int8_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        int8_t* ends, const int reducer) noexcept nogil
    void windows_uint8 "pooling_windows_uint8"(
        uint8_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        uint8_t* ends, const int reducer) noexcept nogil
    void windows_int16 "pooling_windows_int16"(
        int16_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        int16_t* ends, const int reducer) noexcept nogil
    void windows_uint16 "pooling_windows_uint16"(
        uint16_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        uint16_t* ends, const int reducer) noexcept nogil
    void windows_int32 "pooling_windows_int32"(
        int32_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        int32_t* ends, const int reducer) noexcept nogil
    void windows_uint32 "pooling_windows_uint32"(
        uint32_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n,
        uint32_t* ends, const int reducer) noexcept nogil


cdef inline value_t tap_group(
    const value_t* src, ptrdiff_t stride, const int taps, const int reducer
) noexcept nogil:
    """Combine one to eight taps of one output: what is beyond four by itself, and the two last."""
    if taps > 4:
        return combine(
            tap_group(src, stride, 4, reducer), tap_group(src + 4 * stride, stride, taps - 4, reducer), reducer)
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
    # The constants let the compiler make one straight vector loop for each line. Taps beyond four are another pass,
    # but where most windows of more are made.
    if step == 1 and n != 1 and not accumulate:
        if taps == 5:
            across_group(dst, src, stride, 5, n, 1, rows, dst_row, src_row, False, reducer)
            return
        if taps == 6:
            across_group(dst, src, stride, 6, n, 1, rows, dst_row, src_row, False, reducer)
            return
        if taps == 7:
            across_group(dst, src, stride, 7, n, 1, rows, dst_row, src_row, False, reducer)
            return
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


cdef inline void across_pixel(
    value_t* dst, const value_t* src, ptrdiff_t stride, const int taps, const ptrdiff_t together, ptrdiff_t n,
    ptrdiff_t rows, ptrdiff_t src_row, const int reducer,
) noexcept nogil:
    across_group(dst, src, stride, taps, together, 1, rows - 1, n, src_row, False, reducer)
    across_group(
        dst + (rows - 1) * n, src + (rows - 1) * src_row, stride, taps, n, 1, 1, 0, 0, False, reducer)


cdef inline void across_pixels(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t src_row,
    const int reducer,
) noexcept nogil:
    """Combine pixels of three or four channels, in rows without gaps: with every pixel but the last one a fourth value,
    which is written over."""
    if taps == 2:
        across_pixel(dst, src, stride, 2, 4, n, rows, src_row, reducer)
    elif taps == 3:
        across_pixel(dst, src, stride, 3, 4, n, rows, src_row, reducer)
    else:
        across_pixel(dst, src, stride, 4, 4, n, rows, src_row, reducer)


cdef inline bint is_rare(
    value_t* dst, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row,
    ptrdiff_t src_row, bint accumulate,
) noexcept nogil:
    """Whether `across_rare` has loops for such rows: pixels, and steps of 3 and 4 in float."""
    cdef bint steps = False
    if value_t is float:
        steps = 3 <= step <= 4 and stride == 1 and n > 1
    return steps or sizeof(value_t) > 1 and step == 1 and 3 <= n <= 4 and dst_row == n and 2 <= taps <= 4 and (
        not accumulate and src_row > 0 and rows > 1)


cdef inline void across_rare(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, const int reducer,
) noexcept nogil:
    """Do as `across` for rows that `is_rare` names. It is a function of its own, since these loops beside the others
    made those of windows 3 wide slower by a fifth."""
    if step == 1:
        across_pixels(dst, src, stride, taps, n, rows, src_row, reducer)
    elif step == 4:
        across_step(dst, src, 1, taps, n, 4, rows, dst_row, src_row, accumulate, reducer)
    elif taps == 7 and not accumulate:
        # Compilers make shuffles of these steps; others would be loops over single elements.
        across_group(dst, src, 1, 7, n, 3, rows, dst_row, src_row, False, reducer)
    else:
        across_step(dst, src, 1, taps, n, 3, rows, dst_row, src_row, accumulate, reducer)


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
    if WINDOWS_IN_REGISTERS and n * <ptrdiff_t> sizeof(value_t) >= 32:
        if value_t is float:
            windows_float(dst, dst_row, rows, taps, outputs, n, ends, reducer)
            return
        elif value_t is double:
            windows_double(dst, dst_row, rows, taps, outputs, n, ends, reducer)
            return
        elif reducer != TOTAL:
            if value_t is int8_t:
                windows_int8(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
            elif value_t is uint8_t:
                windows_uint8(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
            elif value_t is int16_t:
                windows_int16(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
            elif value_t is uint16_t:
                windows_uint16(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
            elif value_t is int32_t:
                windows_int32(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
            elif value_t is uint32_t:
                windows_uint32(dst, dst_row, rows, taps, outputs, n, ends, reducer)
                return
    # Known lengths are worth it: 1.8 ns for eight windows, and otherwise 3.4.
    while x + STRIP <= n:
        windows_block(dst + x, dst_row, rows, taps, outputs, x, STRIP, ends, reducer)
        x += STRIP
    if x < n:
        windows_block(dst + x, dst_row, rows, taps, outputs, x, n - x, ends, reducer)


# Runs are summed in the order of c/sums.h, which takes eight elements at least; fewer are added one by one. Other
# reducers keep partial results in lanes.


cdef inline void sum_eight_runs(
    float* sums, const stored_t* src, ptrdiff_t step, ptrdiff_t taps, int count
) noexcept nogil:
    """Sum up to eight runs of floats or halves."""
    if stored_t is float:
        eight_runs_float(sums, src, step, taps, count)
    elif stored_t is float16_t:
        eight_runs_float16(sums, src, step, taps, count)
    elif stored_t is bfloat16_t:
        eight_runs_bfloat16(sums, src, step, taps, count)


cdef inline void sum_runs(
    float* dst, const stored_t* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t dst_step, bint accumulate,
) noexcept nogil:
    """Sum n runs of no more than a block."""
    cdef float sums[8]
    cdef ptrdiff_t x, i
    for x in range(0, n, 8):
        sum_eight_runs(sums, src + x * step, step, taps, <int> min(n - x, 8))
        for i in range(min(n - x, 8)):
            dst[(x + i) * dst_step] = dst[(x + i) * dst_step] + sums[i] if accumulate else sums[i]


cdef inline value_t run(const value_t* src, ptrdiff_t n, const int reducer) noexcept nogil:
    """Reduce n >= 1 neighbouring values."""
    cdef value_t lanes[LANES]
    cdef value_t wide[WIDE_LANES]
    cdef value_t result
    cdef ptrdiff_t i, lane, at
    if reducer == TOTAL and n >= 8:
        if value_t is float:
            eight_runs_float(lanes, src, 0, n, 1)
            return lanes[0]
        elif value_t is double:
            return run_double(src, n)
    if n < LANES:
        result = src[0]
        for i in range(1, n):
            result = combine(result, src[i], reducer)
        return result
    i = 0
    if reducer != TOTAL and n >= 4 * WIDE_LANES:
        # A comparison waits for the one before it in the same lane: many lanes keep the processor busy.
        for lane in range(WIDE_LANES):
            wide[lane] = src[lane]
        i = WIDE_LANES
        while n >= BLOCK and i + WIDE_LANES <= n:
            for at in range(0, <ptrdiff_t> (WIDE_LANES * sizeof(value_t)), 64):
                prefetch((<const char*> (src + i)) + RUN_FETCHED_BYTES + at)
            fold(wide, src + i, WIDE_LANES, reducer)
            i += WIDE_LANES
        while i + WIDE_LANES <= n:
            fold(wide, src + i, WIDE_LANES, reducer)
            i += WIDE_LANES
        fold(wide, wide + 2 * LANES, 2 * LANES, reducer)
        fold(wide, wide + LANES, LANES, reducer)
        for lane in range(LANES):
            lanes[lane] = wide[lane]
    else:
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
    if value_t is float:
        if reducer == TOTAL and 8 <= taps <= BLOCK:
            sum_runs(dst, src, n, step, taps, dst_step, accumulate)
            return
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
        elif stored_t is bfloat16_t and wide_t is float:
            if step == 1:
                done = sum_eights_bfloat16(dst, src, stride, taps, n, accumulate)
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
    if WINDOWS_IN_REGISTERS and n >= 4:
        if wide_t is double and stored_t is float:
            windows_wide(dst, dst_row, rows, taps, outputs, n, ends, TOTAL)
            return
    while x + STRIP <= n:
        widen_windows_block(dst + x, dst_row, rows, taps, outputs, x, STRIP, ends, kind)
        x += STRIP
    if x < n:
        widen_windows_block(dst + x, dst_row, rows, taps, outputs, x, n - x, ends, kind)


cdef inline wide_t widen_run(const stored_t* src, ptrdiff_t n, wide_t* kind) noexcept nogil:
    """Sum n neighbouring elements."""
    cdef float sums[8]
    cdef wide_t lanes[LANES]
    cdef wide_t result = 0
    cdef ptrdiff_t i = 0
    if n >= 8:
        if wide_t is float and (stored_t is float16_t or stored_t is bfloat16_t):
            sum_eight_runs(sums, src, 0, n, 1)
            return sums[0]
        elif wide_t is double and stored_t is float:
            return run_wide(src, n)
        elif wide_t is not pair_t and wide_t is not float and wide_t is not double:
            # Integers may be added in any order.
            if stored_t is uint8_t:
                return <wide_t> run_bytes(src, n, 0)
            elif stored_t is int8_t:
                return <wide_t> (run_bytes(<const uint8_t*> src, n, 128) - 128 * n)
    if wide_t is pair_t:
        fill_identity(lanes, LANES, TOTAL)
        while i + LANES <= n:
            widen_group(lanes, src + i, 0, 1, LANES, 1, 1, 0, 0, True)
            i += LANES
        fold(lanes, lanes + 8, 8, TOTAL)
        fold(lanes, lanes + 4, 4, TOTAL)
        fold(lanes, lanes + 2, 2, TOTAL)
        result = <wide_t> (lanes[0] + lanes[1])
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
    if wide_t is float and (stored_t is float16_t or stored_t is bfloat16_t):
        if 8 <= taps <= BLOCK:
            sum_runs(dst, src, n, step, taps, dst_step, accumulate)
            return
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
