# Means of 3 x 3 bytes of an image, in windows that slide by one. The loops are C, in c/byte_means.h, and take a row of
# pixels as one line of bytes, whatever its channels; only the first and the last pixel of a row are made by themselves.

cdef extern from "c/byte_means.h":
    const bint BYTE_MEANS "POOLING_BYTE_MEANS"
    ptrdiff_t byte_sums "POOLING_BYTE_SUMS" (ptrdiff_t n, ptrdiff_t apart) noexcept nogil

    ctypedef struct byte_tile_t "pooling_byte_tile_t":
        ptrdiff_t rows, n, apart
        int before, within, behind, rounding
        uint8_t turn

    void mean_bytes "pooling_mean_bytes" (
        uint8_t* dst, ptrdiff_t dst_row, const uint8_t** lines, const ptrdiff_t* divisors, const byte_tile_t* tile,
        uint16_t* sums) noexcept nogil

cdef enum:
    # Sums of vectors, and of the pixels at the ends, are loaded whole.
    BEHIND_SUMS = 64


cdef struct byte_means_t:
    # Output rows of a tile and bytes of them, of which the last tile of a row may have up to twice as many; how many
    # tiles there are each way; bytes of a row whose windows lie in the input.
    ptrdiff_t rows, bytes, bands, segments, whole


cdef inline byte_means_t byte_means_of(const plan_t* plan) noexcept nogil:
    """Cut the result of a plane into tiles, each as wide as a vector at least."""
    cdef byte_means_t tiles
    cdef ptrdiff_t rows = max(plan.axes[1].output_size, 1)
    tiles.bands = ceil_divide(rows, BYTE_MEAN_ROWS)
    tiles.rows = ceil_divide(rows, tiles.bands)
    tiles.bands = ceil_divide(rows, tiles.rows)
    tiles.whole = (plan.axes[2].input_size - 2) * plan.inner
    tiles.bytes = BYTE_COLUMNS
    tiles.segments = max(tiles.whole // tiles.bytes, 1)
    return tiles


cdef inline ptrdiff_t most_mean_bytes(const byte_means_t* tiles) noexcept nogil:
    """Bytes of the widest tile."""
    return tiles.whole - (tiles.segments - 1) * tiles.bytes


cdef ptrdiff_t forward_byte_means(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tiles begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* depth = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef byte_means_t tiles = byte_means_of(plan)
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t in_row = plan.in_row
    cdef ptrdiff_t out_row = width.output_size * inner
    cdef ptrdiff_t widest = most_mean_bytes(&tiles)
    cdef char* slot = scratch
    cdef uint16_t* sums = <uint16_t*> take_scratch(&scratch, (3 * byte_sums(widest, inner) + BEHIND_SUMS) * 2)
    cdef uint8_t* padding = <uint8_t*> take_scratch(&scratch, widest + 2 * inner)
    cdef const uint8_t* lines[BYTE_MEAN_ROWS + 2]
    cdef ptrdiff_t divisors[BYTE_MEAN_ROWS]
    cdef ptrdiff_t task, rest, row, x, y, at
    cdef const uint8_t* plane
    cdef uint8_t* out
    cdef byte_tile_t tile
    tile.apart = inner
    tile.within = 3
    tile.rounding = pooling.rounding
    tile.turn = <uint8_t> pooling.leaves.turn
    memset(sums, 0, (3 * byte_sums(widest, inner) + BEHIND_SUMS) * 2)
    memset(padding, 0, widest + 2 * inner)
    for task in range(begin, end):
        x = task % tiles.segments * tiles.bytes
        tile.n = tiles.bytes if x + 2 * tiles.bytes <= tiles.whole else tiles.whole - x
        tile.before = 0
        tile.behind = 0
        if x == 0 and width.pad_begin > 0:
            tile.before = <int> window_of(width, 0).divisor
        if x + tile.n == tiles.whole and width.output_size * inner > width.pad_begin * inner + tiles.whole:
            tile.behind = <int> window_of(width, width.output_size - 1).divisor
        rest = task // tiles.segments
        row = rest % tiles.bands * tiles.rows
        tile.rows = min(tiles.rows, height.output_size - row)
        if is_stopped(slot, tile.rows * tile.n):
            return -1
        rest //= tiles.bands
        plane = <const uint8_t*> pooling.src + (
            rest // depth.output_size * depth.input_size + window_of(depth, rest % depth.output_size).first
        ) * plan.in_plane + x
        out = <uint8_t*> pooling.dst + (rest * height.output_size + row) * out_row + width.pad_begin * inner + x
        for y in range(tile.rows + 2):
            at = row + y - height.pad_begin
            lines[y] = plane + at * in_row if 0 <= at < height.input_size else padding
        for y in range(tile.rows):
            divisors[y] = window_of(height, row + y).divisor
        mean_bytes(out, out_row, lines, divisors, &tile, sums)
    return -1


cdef inline bint is_byte_mean(const axis_t* axis) noexcept nogil:
    """Whether windows of an axis are of three cells, with at most one of the padding at each end."""
    return axis.kernel_size == 3 and slides_bytes(axis) and axis.pad_begin <= 1 and (
        axis.output_size + 2 - axis.pad_begin <= axis.input_size + 1)


cdef bint byte_means_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    return (
        BYTE_MEANS and plan.average and call.leaves.value == 2 and call.leaves.turn >= 0
        and plan.divisor_override != plan.divisor_override and keeps_planes(&plan.axes[0])
        and is_byte_mean(&plan.axes[1]) and is_byte_mean(&plan.axes[2])
        and (plan.axes[2].input_size - 2) * plan.inner >= FEWEST_BYTE_MEANS
        and plan.inner <= BYTE_COLUMNS)


cdef ptrdiff_t byte_means_tasks(const call_t* call) noexcept nogil:
    cdef byte_means_t tiles = byte_means_of(call.plan)
    return call.plan.outer * call.plan.axes[0].output_size * tiles.bands * tiles.segments


cdef ptrdiff_t byte_means_bytes(const call_t* call) noexcept nogil:
    cdef byte_means_t tiles = byte_means_of(call.plan)
    cdef ptrdiff_t widest = most_mean_bytes(&tiles)
    return (3 * byte_sums(widest, call.plan.inner) + BEHIND_SUMS) * 2 + widest + 2 * call.plan.inner + 2 * 64
