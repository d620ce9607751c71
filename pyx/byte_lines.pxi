# Means of bytes along the last window axis, in windows that slide by one. The loops are C, in c/byte_lines.h: where an
# axis has many inner elements, lines of them are added and taken away; where it has few, runs of bytes are added.

cdef extern from "c/byte_lines.h":
    enum: MOST_LINE_TAPS "POOLING_LINE_TAPS"
    enum: LINE_BYTES "POOLING_LINE_BYTES"
    ptrdiff_t line_sums "POOLING_LINE_SUMS" (ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps) noexcept nogil
    void mean_along "pooling_mean_along" (
        uint8_t* dst, const uint8_t* line, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t taps, int rounding, uint8_t turn,
        uint16_t* sums) noexcept nogil
    void mean_down "pooling_mean_down" (
        uint8_t* dst, ptrdiff_t dst_row, const uint8_t* src, ptrdiff_t src_row, const uint8_t* padding, ptrdiff_t first,
        ptrdiff_t lines, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t taps, int rounding, uint8_t turn, uint16_t* sums
    ) noexcept nogil


cdef struct byte_lines_t:
    # Whether lines of inner elements are added; bytes of a tile, and how many there are beside one another. The last
    # one may have up to twice as many. Outputs of a tile along the axis, and how many lie behind one another.
    bint down
    ptrdiff_t bytes, segments, whole, rows, bands


cdef inline byte_lines_t byte_lines_of(const plan_t* plan) noexcept nogil:
    """Cut the result of a line into tiles, each as wide as a vector at least."""
    cdef const axis_t* width = &plan.axes[2]
    cdef byte_lines_t tiles
    cdef ptrdiff_t outputs = max(width.output_size, 1)
    tiles.down = plan.inner >= LINE_COLUMNS
    tiles.whole = plan.inner if tiles.down else outputs * plan.inner
    tiles.bytes = LINE_TILE if tiles.down else BYTE_COLUMNS
    tiles.segments = max(tiles.whole // tiles.bytes, 1)
    # What a tile begins with is made of as many lines as a window has, and should be little of its work.
    tiles.bands = ceil_divide(outputs, max(LINE_ROWS, 4 * width.kernel_size)) if tiles.down else 1
    tiles.rows = ceil_divide(outputs, tiles.bands)
    tiles.bands = ceil_divide(outputs, tiles.rows)
    return tiles


cdef inline ptrdiff_t most_line_bytes(const byte_lines_t* tiles) noexcept nogil:
    """Bytes of the widest tile."""
    return tiles.whole - (tiles.segments - 1) * tiles.bytes


cdef ptrdiff_t forward_byte_lines(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tiles begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* depth = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef uint8_t turn = <uint8_t> pooling.leaves.turn
    cdef byte_lines_t tiles = byte_lines_of(plan)
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t taps = width.kernel_size
    cdef ptrdiff_t in_row = width.input_size * inner
    cdef ptrdiff_t out_row = width.output_size * inner
    cdef ptrdiff_t widest = most_line_bytes(&tiles)
    cdef char* slot = scratch
    cdef uint16_t* sums = <uint16_t*> take_scratch(&scratch, byte_lines_sums(plan, &tiles))
    # A line of zeros, or one of the input with its padding.
    cdef uint8_t* padded = <uint8_t*> take_scratch(&scratch, byte_lines_padded(plan, &tiles))
    cdef ptrdiff_t task, rest, x, n, band, row, rows, left, right, reach
    cdef const uint8_t* line
    cdef uint8_t* out
    if tiles.down:
        memset(padded, 0, widest)
    for task in range(begin, end):
        x = task % tiles.segments * tiles.bytes
        n = tiles.bytes if x + 2 * tiles.bytes <= tiles.whole else tiles.whole - x
        rest = task // tiles.segments
        band = rest % tiles.bands
        rest //= tiles.bands
        row = band * tiles.rows
        rows = min(tiles.rows, width.output_size - row)
        if is_stopped(slot, n * (rows if tiles.down else 8)):
            return -1
        out = <uint8_t*> pooling.dst + rest * out_row
        line = <const uint8_t*> pooling.src + window_of(height, rest % height.output_size).first * plan.in_row
        rest //= height.output_size
        line += (
            rest // depth.output_size * depth.input_size + window_of(depth, rest % depth.output_size).first
        ) * plan.in_plane
        if tiles.down:
            mean_down(
                out + row * inner + x, inner, line + x, inner, padded, row - width.pad_begin, width.input_size, rows, n,
                taps, pooling.rounding, turn, sums)
            continue
        reach = n + (taps - 1) * inner
        left = max(width.pad_begin * inner - x, 0)
        right = max(x - width.pad_begin * inner + reach - in_row, 0)
        if left + right:
            memset(padded, 0, min(left, reach))
            memset(padded + reach - min(right, reach), 0, min(right, reach))
            if left + right < reach:
                memcpy(padded + left, line + x - width.pad_begin * inner + left, reach - left - right)
            mean_along(out + x, padded, n, inner, taps, pooling.rounding, turn, sums)
        else:
            mean_along(
                out + x, line + x - width.pad_begin * inner, n, inner, taps, pooling.rounding, turn, sums)
    return -1


cdef inline ptrdiff_t byte_lines_sums(const plan_t* plan, const byte_lines_t* tiles) noexcept nogil:
    """Bytes of sums."""
    cdef ptrdiff_t widest = most_line_bytes(tiles)
    if tiles.down:
        return round_up(widest, LINE_BYTES) * 2
    return line_sums(widest, plan.inner, plan.axes[2].kernel_size) * 2


cdef inline ptrdiff_t byte_lines_padded(const plan_t* plan, const byte_lines_t* tiles) noexcept nogil:
    cdef ptrdiff_t widest = most_line_bytes(tiles)
    return widest if tiles.down else widest + (plan.axes[2].kernel_size - 1) * plan.inner


cdef bint byte_lines_fits(const call_t* call) noexcept nogil:
    return call.leaves.value == 2 and call.leaves.turn >= 0 and lies_in_lines(call.plan)


cdef bint lies_in_lines(const plan_t* plan) noexcept nogil:
    """Whether there are loops for the means of a plan, if its elements are bytes."""
    cdef const axis_t* width = &plan.axes[2]
    return (
        BYTE_MEANS and plan.average and plan.divisor_override != plan.divisor_override
        and plan.uniform and plan.divisor == width.kernel_size
        and keeps_planes(&plan.axes[0]) and keeps_planes(&plan.axes[1])
        and 2 <= width.kernel_size <= MOST_LINE_TAPS and width.stride == 1 and width.dilation == 1
        and not width.adaptive and not width.has_empty
        and width.output_size * plan.inner >= FEWEST_LINE_BYTES)


cdef ptrdiff_t byte_lines_tasks(const call_t* call) noexcept nogil:
    cdef byte_lines_t tiles = byte_lines_of(call.plan)
    return rows_of_output(call.plan) * tiles.segments * tiles.bands


cdef ptrdiff_t byte_lines_bytes(const call_t* call) noexcept nogil:
    cdef byte_lines_t tiles = byte_lines_of(call.plan)
    return byte_lines_sums(call.plan, &tiles) + byte_lines_padded(call.plan, &tiles) + 2 * 64
