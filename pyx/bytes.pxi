# Images of bytes: maxima and minima of windows of few taps that slide by one, and means of 2 x 2. The loops are C, in
# c/bytes.h, and take a row of pixels as one line of bytes, whatever its channels.

cdef extern from "c/bytes.h":
    enum: MOST_BYTE_TAPS "POOLING_BYTES_TAPS"
    enum: BYTES_BEHIND "POOLING_BYTES_BEHIND"
    const bint HALVES "POOLING_HALVES"
    void bytes_down "pooling_bytes_down" (
        uint8_t* dst, ptrdiff_t dst_row, const uint8_t** lines, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t taps,
        uint8_t turn) noexcept nogil
    void bytes_along "pooling_bytes_along" (
        uint8_t* dst, const uint8_t* src, uint8_t* fours, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps, uint8_t turn
    ) noexcept nogil
    void halve_bytes "pooling_halve" (
        uint8_t* dst, const uint8_t* above, const uint8_t* below, ptrdiff_t n, ptrdiff_t channels, int rounding,
        uint8_t turn) noexcept nogil


cdef struct byte_tiles_t:
    # Output rows of a tile and bytes of them, how many tiles there are each way, and how far rows lie apart in the
    # memory of a thread.
    ptrdiff_t rows, bytes, bands, segments, row


cdef inline byte_tiles_t byte_tiles_of(const plan_t* plan) noexcept nogil:
    """Cut the result of a plane into tiles of much the same size."""
    cdef byte_tiles_t tiles
    cdef ptrdiff_t rows = max(plan.axes[1].output_size, 1)
    cdef ptrdiff_t row = max(plan.axes[2].output_size * plan.inner, 1)
    tiles.bands = ceil_divide(rows, BYTE_ROWS)
    tiles.rows = ceil_divide(rows, tiles.bands)
    tiles.bands = ceil_divide(rows, tiles.rows)
    tiles.segments = ceil_divide(row, BYTE_COLUMNS)
    tiles.bytes = round_up(ceil_divide(row, tiles.segments), 64)
    tiles.segments = ceil_divide(row, tiles.bytes)
    tiles.row = round_up(tiles.bytes + (plan.axes[2].kernel_size - 1) * plan.inner + BYTES_BEHIND, 64)
    return tiles


cdef ptrdiff_t forward_bytes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tiles begin to end of maxima or minima."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* depth = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef uint8_t turn = <uint8_t> pooling.leaves.turn
    cdef byte_tiles_t tiles = byte_tiles_of(plan)
    cdef ptrdiff_t in_row = width.input_size * plan.inner
    cdef ptrdiff_t out_row = width.output_size * plan.inner
    cdef ptrdiff_t reach = (width.kernel_size - 1) * plan.inner
    cdef char* slot = scratch
    cdef uint8_t* combined = <uint8_t*> take_scratch(&scratch, tiles.rows * tiles.row)
    cdef uint8_t* padding = <uint8_t*> take_scratch(&scratch, tiles.row)
    cdef uint8_t* fours = <uint8_t*> take_scratch(&scratch, tiles.row)
    cdef uint8_t* result = <uint8_t*> take_scratch(&scratch, tiles.row)
    cdef const uint8_t* lines[BYTE_ROWS + MOST_BYTE_TAPS]
    cdef ptrdiff_t task, rest, row, rows, x, n, left, right, from_row, y, at
    cdef const uint8_t* plane
    cdef uint8_t* out
    # What is turned to the least byte.
    memset(padding, turn, tiles.row)
    if tiles.segments == 1:
        # The cells of the padding are the same for every tile and never written to.
        memset(combined, 0, tiles.rows * tiles.row)
    for task in range(begin, end):
        if is_stopped(slot, tiles.rows * tiles.row):
            return -1
        x = task % tiles.segments * tiles.bytes
        n = min(tiles.bytes, out_row - x)
        rest = task // tiles.segments
        row = rest % tiles.bands * tiles.rows
        rows = min(tiles.rows, height.output_size - row)
        rest //= tiles.bands
        plane = <const uint8_t*> pooling.src + (
            rest // depth.output_size * depth.input_size + window_of(depth, rest % depth.output_size).first
        ) * height.input_size * in_row
        out = <uint8_t*> pooling.dst + (rest * height.output_size + row) * out_row + x
        # Bytes of the input that lie under these windows, and of the padding before and behind them.
        from_row = x - width.pad_begin * plan.inner
        left = max(-from_row, 0)
        right = max(from_row + n + reach - in_row, 0)
        for y in range(rows + height.kernel_size - 1):
            at = row + y - height.pad_begin
            lines[y] = plane + at * in_row + from_row + left if 0 <= at < height.input_size else padding
        if tiles.segments > 1 and left + right:
            for y in range(rows):
                memset(combined + y * tiles.row, 0, left)
                memset(combined + y * tiles.row + n + reach - right, 0, right)
        bytes_down(combined + left, tiles.row, lines, rows, n + reach - left - right, height.kernel_size, turn)
        for y in range(rows):
            if pooling.streams:
                bytes_along(result, combined + y * tiles.row, fours, n, plan.inner, width.kernel_size, turn)
                stream(<char*> out + y * out_row, <char*> result, n)
            else:
                bytes_along(out + y * out_row, combined + y * tiles.row, fours, n, plan.inner, width.kernel_size, turn)
    finish_streams()
    return -1


cdef inline bint slides_bytes(const axis_t* axis) noexcept nogil:
    """Whether there are loops for windows along an axis: each reaches into the input."""
    return 2 <= axis.kernel_size <= MOST_BYTE_TAPS and axis.stride == 1 and axis.dilation == 1 and (
        not axis.adaptive and not axis.has_empty)


cdef inline bint keeps_planes(const axis_t* depth) noexcept nogil:
    return depth.kernel_size == 1 and not depth.adaptive and not depth.has_empty


cdef bint bytes_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    # Windows of 3 x 3 take less time to begin with.
    cdef ptrdiff_t fewest = FEWEST_BYTES if height.kernel_size + width.kernel_size > 6 else 2 * FEWEST_BYTES
    return (
        call.leaves.value == 1 and call.leaves.turn >= 0 and keeps_planes(&plan.axes[0])
        and slides_bytes(height) and slides_bytes(width)
        and width.input_size * plan.inner >= fewest
        and (width.kernel_size - 1) * plan.inner <= BYTE_COLUMNS // 2)


cdef ptrdiff_t bytes_tasks(const call_t* call) noexcept nogil:
    cdef byte_tiles_t tiles = byte_tiles_of(call.plan)
    return call.plan.outer * call.plan.axes[0].output_size * tiles.bands * tiles.segments


cdef ptrdiff_t bytes_bytes(const call_t* call) noexcept nogil:
    cdef byte_tiles_t tiles = byte_tiles_of(call.plan)
    return (tiles.rows + 3) * tiles.row + 4 * 64


cdef inline ptrdiff_t halves_rows(const plan_t* plan) noexcept nogil:
    """Output rows that are made together."""
    return max(1, BYTE_COLUMNS * 8 // (plan.axes[2].output_size * plan.inner + 1))


cdef ptrdiff_t forward_halves(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make some rows of means of 2 x 2 pixels each, begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* depth = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t in_row = plan.axes[2].input_size * plan.inner
    cdef ptrdiff_t out_row = plan.axes[2].output_size * plan.inner
    cdef ptrdiff_t together = halves_rows(plan)
    cdef ptrdiff_t bands = ceil_divide(height.output_size, together)
    cdef ptrdiff_t task, rest, row, y
    cdef const uint8_t* plane
    cdef const uint8_t* above
    cdef uint8_t* out
    for task in range(begin, end):
        if is_stopped(scratch, together * out_row):
            return -1
        row = task % bands * together
        rest = task // bands
        plane = <const uint8_t*> pooling.src + (
            rest // depth.output_size * depth.input_size + window_of(depth, rest % depth.output_size).first
        ) * height.input_size * in_row
        out = <uint8_t*> pooling.dst + rest * height.output_size * out_row
        for y in range(row, min(row + together, height.output_size)):
            above = plane + 2 * y * in_row
            halve_bytes(
                out + y * out_row, above, above + in_row, out_row, plan.inner, pooling.rounding,
                <uint8_t> pooling.leaves.turn)
    return -1


cdef inline bint is_halved(const axis_t* axis) noexcept nogil:
    return axis.kernel_size == 2 and axis.stride == 2 and axis.dilation == 1 and axis.pad_begin == 0 and (
        not axis.adaptive and axis.begin == 0 and axis.end == axis.output_size)


cdef bint halves_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    return (
        HALVES and plan.average and call.leaves.value == 2 and call.leaves.turn >= 0 and 1 <= plan.inner <= 4
        and plan.uniform and plan.divisor == 4 and keeps_planes(&plan.axes[0]) and is_halved(&plan.axes[1])
        and is_halved(&plan.axes[2]) and plan.axes[2].output_size * plan.inner >= FEWEST_HALVES)


cdef ptrdiff_t halves_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * call.plan.axes[0].output_size * ceil_divide(
        call.plan.axes[1].output_size, halves_rows(call.plan))


cdef ptrdiff_t halves_bytes(const call_t* call) noexcept nogil:
    return 64
