# Long windows. To combine k taps one by one takes k steps for every output. Here each rung of a ladder combines four
# neighbours of the rung below, so that rung r holds runs of 4**r taps, and a window of any length is a few such runs:
# overlapping ones where an element may count twice, side by side in a sum.


cdef struct rung_t:
    const char* data
    across_fn across
    # Bytes of a cell; cells from one tap to the next, and from the windows of one row to those of the next.
    ptrdiff_t size, apart, row


cdef struct ladder_t:
    rung_t rungs[RUNGS]
    int top
    ptrdiff_t taps
    # Where the next rung goes.
    char* memory


cdef inline void climb(
    ladder_t* ladder, const leaves_t* leaves, ptrdiff_t cells, ptrdiff_t row, ptrdiff_t apart, int first
) noexcept nogil:
    """Make the rungs from `first` on; the one below has so many cells in a piece."""
    cdef ptrdiff_t power = <ptrdiff_t> 1 << (2 * (first - 1))
    cdef rung_t* below
    cdef rung_t* rung
    cdef int r
    for r in range(first, ladder.top + 1):
        below = &ladder.rungs[r - 1]
        rung = &ladder.rungs[r]
        rung.data = ladder.memory
        rung.across = leaves.across
        rung.size = leaves.value
        rung.apart = apart
        rung.row = row
        ladder.memory += cells * leaves.value
        cells -= 3 * power * apart
        below.across(
            <char*> rung.data, below.data, power * apart, 4, cells, 1, 1, 0, 0, False, NULL)
        power *= 4


cdef inline void climb_cells(
    ladder_t* ladder, const leaves_t* leaves, const char* values, ptrdiff_t cells, ptrdiff_t taps, ptrdiff_t apart,
    ptrdiff_t row, char* memory, bint stored,
) noexcept nogil:
    """Make a ladder over cells that lie in a piece, of values or as they are stored."""
    ladder.top = top_rung(taps, leaves.overlaps)
    ladder.taps = taps
    ladder.memory = memory
    ladder.rungs[0].data = values
    ladder.rungs[0].across = leaves.across_stored if stored else leaves.across
    ladder.rungs[0].size = leaves.storage if stored else leaves.value
    ladder.rungs[0].apart = apart
    ladder.rungs[0].row = row
    climb(ladder, leaves, cells, row, apart, 1)


cdef inline void climb_rows(
    ladder_t* ladder, const leaves_t* leaves, const char* src, ptrdiff_t src_row, ptrdiff_t n, ptrdiff_t rows,
    const axis_t* axis, char* memory,
) noexcept nogil:
    """Make a ladder over `rows` stored rows of n elements."""
    cdef rung_t* rung = &ladder.rungs[0]
    cdef ptrdiff_t y
    ladder.top = top_rung(axis.kernel_size, leaves.overlaps)
    ladder.taps = axis.kernel_size
    ladder.memory = memory
    if leaves.across_stored == NULL:
        for y in range(rows):
            leaves.load(ladder.memory + y * n * leaves.value, src + y * src_row * leaves.storage, n)
        ladder.memory += rows * n * leaves.value
        climb_cells(
            ladder, leaves, memory, rows * n, axis.kernel_size, axis.dilation * n, axis.stride * n, ladder.memory,
            False)
        return
    rung.data = src
    rung.across = leaves.across_stored
    rung.size = leaves.storage
    rung.apart = axis.dilation * src_row
    rung.row = axis.stride * src_row
    rung = &ladder.rungs[1]
    rung.data = ladder.memory
    rung.across = leaves.across
    rung.size = leaves.value
    rung.apart = axis.dilation * n
    rung.row = axis.stride * n
    rows -= 3 * axis.dilation
    leaves.across_stored(
        ladder.memory, src, axis.dilation * src_row, 4, n, 1, rows, n, src_row, False, NULL)
    ladder.memory += rows * n * leaves.value
    climb(ladder, leaves, rows * n, rung.row, rung.apart, 2)


cdef void join_runs(
    const ladder_t* ladder, const leaves_t* leaves, char* dst, ptrdiff_t first, ptrdiff_t n, ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t dst_row,
) noexcept nogil:
    """Make windows of runs, as `across` makes them of elements; `first` is the cell of the first tap."""
    cdef int r = ladder.top
    cdef const rung_t* rung = &ladder.rungs[r]
    cdef ptrdiff_t power = <ptrdiff_t> 1 << (2 * r)
    cdef ptrdiff_t count = ladder.taps // power
    cdef ptrdiff_t rest = ladder.taps - count * power
    cdef const char* src = rung.data + first * rung.size
    if leaves.overlaps and rest and count == 1:
        rung.across(dst, src, rest * rung.apart, 2, n, step, rows, dst_row, rung.row, False, NULL)
        return
    rung.across(dst, src, power * rung.apart, count, n, step, rows, dst_row, rung.row, False, NULL)
    if leaves.overlaps and rest:
        src += (ladder.taps - power) * rung.apart * rung.size
        rung.across(dst, src, 0, 1, n, step, rows, dst_row, rung.row, True, NULL)
        return
    while rest:
        r -= 1
        rung = &ladder.rungs[r]
        power >>= 2
        count = rest // power
        if count:
            src = rung.data + (first + (ladder.taps - rest) * rung.apart) * rung.size
            rung.across(dst, src, power * rung.apart, count, n, step, rows, dst_row, rung.row, True, NULL)
            rest -= count * power
