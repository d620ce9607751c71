# Windows too large for the rows that they are combined from to be kept. A few neighbouring outputs are made at a time,
# a tile: what all of its windows hold, their core, is combined once, and what they do not share group by group, from
# the beginning of one window to that of the next and from the end of one to that of the next. Each window is then the
# core with the last groups before it and the first behind it. The memory is that of the groups, however large the
# windows.


cdef struct lattice_t:
    # How the outputs of an axis fall into tiles of up to `side`. With dilation, only windows `apart` outputs from one
    # another have cells in common.
    ptrdiff_t apart, side, blocks


cdef struct tiling_t:
    axis_t width
    lattice_t rows, columns
    # Values of a cell, those that are made together, and in how many parts they all are.
    ptrdiff_t inner, slice, slices


cdef struct groups_t:
    # Outputs of a tile that share a core, on one axis: the first, how many, and where their windows begin and end in
    # cells of the lattice; `base` is the input cell where that begins, and `dilation` how far its cells lie apart.
    ptrdiff_t output, count, apart, base, dilation
    ptrdiff_t first[1024]
    ptrdiff_t stop[1024]


cdef inline ptrdiff_t common_divisor(ptrdiff_t a, ptrdiff_t b) noexcept nogil:
    cdef ptrdiff_t rest
    while b:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline lattice_t lattice_of(const axis_t* axis, ptrdiff_t side) noexcept nogil:
    cdef lattice_t lattice
    lattice.apart = 1
    if not axis.adaptive:
        lattice.apart = axis.dilation // common_divisor(axis.dilation, axis.stride)
    lattice.apart = max(1, min(lattice.apart, axis.output_size))
    lattice.side = max(1, min(side, ceil_divide(axis.output_size, lattice.apart)))
    if axis.kernel_size == 1 and not axis.adaptive:
        lattice.side = 1
    lattice.blocks = ceil_divide(ceil_divide(axis.output_size, lattice.apart), lattice.side)
    return lattice


cdef tiling_t tiling_of(const plan_t* plan) noexcept nogil:
    cdef tiling_t tiling
    tiling.width = plan.axes[2]
    tiling.inner = plan.inner
    if (
        tiling.width.kernel_size == 1 and tiling.width.stride == 1 and not tiling.width.adaptive
        and not tiling.width.pad_begin and tiling.width.input_size == tiling.width.output_size
    ):
        # Cells of a row that no window joins are values of one cell.
        tiling.inner *= tiling.width.input_size
        tiling.width.input_size = tiling.width.output_size = tiling.width.end = 1
        tiling.width.begin = 0
    tiling.rows = lattice_of(&plan.axes[1], TILE_SIDE)
    tiling.slice = max(1, min(tiling.inner, <ptrdiff_t> CORE_CELLS))
    if tiling.rows.side > 1 or tiling.width.output_size > 1:
        tiling.slice = min(tiling.slice, <ptrdiff_t> TILE_SIDE)
    tiling.rows.side = max(1, min(tiling.rows.side, TILE_OUTPUTS // tiling.slice))
    tiling.columns = lattice_of(&tiling.width, TILE_SIDE if tiling.rows.side > 1 else 1024)
    while tiling.rows.side > 1 and tiling.columns.side > 1 and (
        tiling.rows.side * tiling.columns.side * tiling.slice > TILE_OUTPUTS
    ):
        tiling.rows.side = (tiling.rows.side + 1) // 2
        tiling.columns.side = (tiling.columns.side + 1) // 2
    tiling.columns.side = max(1, min(tiling.columns.side, TILE_OUTPUTS // (tiling.rows.side * tiling.slice)))
    tiling.rows.blocks = ceil_divide(ceil_divide(plan.axes[1].output_size, tiling.rows.apart), tiling.rows.side)
    tiling.columns.blocks = ceil_divide(
        ceil_divide(tiling.width.output_size, tiling.columns.apart), tiling.columns.side)
    tiling.slices = ceil_divide(tiling.inner, tiling.slice)
    return tiling


cdef inline ptrdiff_t cores_of(const plan_t* plan) noexcept nogil:
    """Number of tiles of an outer element."""
    cdef tiling_t tiling = tiling_of(plan)
    return plan.axes[0].output_size * tiling.rows.apart * tiling.rows.blocks * tiling.columns.apart * (
        tiling.columns.blocks * tiling.slices)


cdef inline ptrdiff_t cores_scratch(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Bytes for one thread: groups, windows of rows, sums of groups, the tile, rows combined and loaded, as stored."""
    cdef tiling_t tiling = tiling_of(plan)
    cdef ptrdiff_t regions = 2 * tiling.rows.side - 1
    cdef ptrdiff_t tile = tiling.rows.side * tiling.columns.side
    cdef ptrdiff_t cells = (
        (3 * tiling.columns.side - 1) * regions + max(regions, tiling.columns.side) + 2 * tile) * tiling.slice
    return (cells + 2 * CORE_CELLS) * leaves.value + tiling.columns.side * 16 + 8 * 64


cdef ptrdiff_t share_core(
    groups_t* groups, const axis_t* axis, const lattice_t* lattice, ptrdiff_t output, ptrdiff_t most
) noexcept nogil:
    """Find the longest run of windows from `output` on that share a core; return how many there are."""
    cdef window_t window = window_of(axis, output)
    cdef ptrdiff_t i, first
    groups.output = output
    groups.apart = lattice.apart
    groups.base = window.first
    groups.dilation = 1 if axis.adaptive else axis.dilation
    groups.first[0] = 0
    groups.stop[0] = window.count
    groups.count = 1
    for i in range(1, most if window.count else 1):
        output += lattice.apart
        window = window_of(axis, output)
        first = (window.first - groups.base) // groups.dilation
        if window.count == 0 or first >= groups.stop[0]:
            break
        groups.first[i] = first
        groups.stop[i] = first + window.count
        groups.count = i + 1
    return groups.count


cdef inline ptrdiff_t group_begin(const groups_t* groups, ptrdiff_t group) noexcept nogil:
    """Where a group begins; those before the core come first, then the core, then those behind it."""
    if group < groups.count:
        return groups.first[group]
    return groups.stop[group - groups.count]


cdef inline ptrdiff_t group_end(const groups_t* groups, ptrdiff_t group) noexcept nogil:
    if group < groups.count - 1:
        return groups.first[group + 1]
    return groups.stop[group - groups.count + 1]


cdef bint combine_region(
    char* slot, const plan_t* plan, const leaves_t* leaves, const tiling_t* tiling, char* dst, ptrdiff_t regions,
    const char* src, ptrdiff_t rows, ptrdiff_t row_step, const groups_t* columns, ptrdiff_t width, char* values,
    char* loaded,
) noexcept nogil:
    """Add the cells of some rows to each group of columns.

    `src` points at the cell of the first column in the first row, `dst` at this region's value of the first group;
    `width` values of a cell are made. Returns whether the thread in this `slot` was stopped.
    """
    cdef ptrdiff_t storage = leaves.storage
    cdef ptrdiff_t value = leaves.value
    cdef ptrdiff_t step = columns.dilation * tiling.inner
    cdef ptrdiff_t groups = 2 * columns.count - 1
    cdef ptrdiff_t end = columns.stop[columns.count - 1]
    cdef ptrdiff_t together = max(1, CORE_CELLS // width)
    cdef ptrdiff_t group, begin, cell, stop, done, taps, x, y
    cdef ptrdiff_t group_step = regions * width * value
    if rows == 1 and step == 1 and width == 1 and leaves.along_stored != NULL:
        for group in range(groups):
            begin = group_begin(columns, group)
            taps = group_end(columns, group) - begin
            if taps > 0:
                leaves.along_stored(dst + group * group_step, src + begin * storage, 1, 0, taps, 1, True, NULL)
        return is_stopped(slot, end)
    done = 0
    while done < rows:
        taps = min(rows - done, <ptrdiff_t> CORE_ROWS)
        cell = 0
        group = 0
        while cell < end:
            stop = min(cell + together, end)
            if is_stopped(slot, taps * (stop - cell) * width):
                return True
            # Rows are combined cell by cell where their values do not follow one another.
            x = cell
            while x < stop:
                begin = stop - x if step == width or width == 1 else 1
                if leaves.across_stored != NULL:
                    leaves.across_stored(
                        values + (x - cell) * width * value, src + (done * row_step + x * step) * storage, row_step,
                        taps, begin * width if step == width else begin if width == 1 else width,
                        step if width == 1 else 1, 1, 0, 0, False, NULL)
                else:
                    begin = stop - x if step == width else 1
                    for y in range(taps):
                        leaves.load(
                            loaded, src + ((done + y) * row_step + x * step) * storage, begin * width)
                        leaves.across(
                            values + (x - cell) * width * value, loaded, 0, 1, begin * width, 1, 1, 0, 0, y > 0, NULL)
                x += begin
            # Groups that reach into these cells.
            while group < groups:
                begin = max(group_begin(columns, group), cell)
                x = min(group_end(columns, group), stop)
                if begin < x:
                    if width == 1:
                        leaves.along(
                            dst + group * group_step, values + (begin - cell) * value, 1, 0, x - begin, 1, True, NULL)
                    else:
                        leaves.across(
                            dst + group * group_step, values + (begin - cell) * width * value, width, x - begin, width,
                            1, 1, 0, 0, True, NULL)
                if group_end(columns, group) > stop:
                    break
                group += 1
            cell = stop
        done += taps
    return False


cdef inline void add_values(
    const leaves_t* leaves, char* dst, const char* src, ptrdiff_t n, bint accumulate
) noexcept nogil:
    leaves.across(dst, src, 0, 1, n, 1, 1, 0, 0, accumulate, NULL)


cdef void divide_tile(
    const plan_t* plan, const leaves_t* leaves, const axis_t* width, char* row, const groups_t* columns,
    ptrdiff_t slice, double of_rows, double* divisors,
) noexcept nogil:
    """Divide a row of a tile."""
    cdef float* divisors32 = <float*> (divisors + columns.count)
    cdef ptrdiff_t j
    if plan.uniform:
        leaves.divide(row, columns.count * slice, plan.divisor)
        return
    for j in range(columns.count):
        divisors[j] = of_rows * <double> window_of(width, columns.output + j * columns.apart).divisor
        divisors32[j] = <float> divisors[j]
    if slice == 1:
        leaves.divide_each(row, divisors, divisors32, columns.count)
    else:
        for j in range(columns.count):
            leaves.divide(row + j * slice * leaves.value, slice, divisors[j])


cdef ptrdiff_t forward_cores(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tiles begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef const axis_t* height = &plan.axes[1]
    cdef tiling_t tiling = tiling_of(plan)
    cdef const axis_t* width = &tiling.width
    cdef ptrdiff_t value = leaves.value
    cdef ptrdiff_t most = 2 * tiling.rows.side - 1
    cdef ptrdiff_t tile = tiling.rows.side * tiling.columns.side * tiling.slice
    cdef char* slot = scratch
    cdef char* sums = take_scratch(&scratch, (2 * tiling.columns.side - 1) * most * tiling.slice * value)
    cdef char* slid = take_scratch(&scratch, tiling.columns.side * most * tiling.slice * value)
    cdef char* running = take_scratch(&scratch, max(most, tiling.columns.side) * tiling.slice * value)
    cdef char* result = take_scratch(&scratch, tile * value)
    cdef char* stored = take_scratch(&scratch, tile * value)
    cdef char* values = take_scratch(&scratch, CORE_CELLS * value)
    cdef char* loaded = take_scratch(&scratch, CORE_CELLS * value)
    cdef double* divisors = <double*> take_scratch(&scratch, tiling.columns.side * 16)
    cdef ptrdiff_t in_row = width.input_size * tiling.inner
    cdef ptrdiff_t out_row = width.output_size * tiling.inner
    cdef ptrdiff_t in_plane = height.input_size * in_row
    cdef ptrdiff_t task, rest, slice, first, row, column, rows, columns, last, stop_row, stop_column, i, region, regions
    cdef ptrdiff_t outer, d, t
    cdef window_t depth
    cdef groups_t down, along
    for task in range(begin, end):
        slice = task % tiling.slices * tiling.slice
        rest = task // tiling.slices
        columns = rest % tiling.columns.blocks
        rest //= tiling.columns.blocks
        column = rest % tiling.columns.apart + columns * tiling.columns.side * tiling.columns.apart
        rest //= tiling.columns.apart
        rows = rest % tiling.rows.blocks
        rest //= tiling.rows.blocks
        first = rest % tiling.rows.apart + rows * tiling.rows.side * tiling.rows.apart
        rest //= tiling.rows.apart
        d = rest % plan.axes[0].output_size
        outer = rest // plan.axes[0].output_size
        depth = window_of(&plan.axes[0], d)
        stop_row = min(first + tiling.rows.side * tiling.rows.apart, height.output_size)
        stop_column = min(column + tiling.columns.side * tiling.columns.apart, width.output_size)
        while column < stop_column:
            columns = share_core(
                &along, width, &tiling.columns, column, ceil_divide(stop_column - column, tiling.columns.apart))
            row = first
            while row < stop_row:
                rows = share_core(
                    &down, height, &tiling.rows, row, ceil_divide(stop_row - row, tiling.rows.apart))
                last = min(tiling.slice, tiling.inner - slice)
                if depth.count == 0 or down.stop[0] == 0 or along.stop[0] == 0:
                    leaves.empty(result, rows * columns * last, NULL)
                else:
                    regions = 2 * rows - 1
                    leaves.identity(sums, (2 * columns - 1) * regions * last, NULL)
                    for t in range(depth.count):
                        for region in range(regions):
                            i = group_begin(&down, region)
                            if group_end(&down, region) > i and combine_region(
                                    slot, plan, leaves, &tiling, sums + region * last * value, regions,
                                    pooling.src + (
                                        (outer * plan.axes[0].input_size + depth.first + t * plan.axes[0].dilation)
                                        * in_plane + (down.base + i * down.dilation) * in_row
                                        + along.base * tiling.inner + slice) * leaves.storage,
                                    group_end(&down, region) - i, down.dilation * in_row, &along, last, values, loaded):
                                return -1
                    slide_groups(leaves, slid, sums, running, columns, regions * last)
                    join_regions(leaves, result, slid, running, rows, columns, last)
                if plan.average:
                    for i in range(rows):
                        divide_tile(
                            plan, leaves, width, result + i * columns * last * value, &along, last,
                            <double> depth.divisor
                            * <double> window_of(height, row + i * tiling.rows.apart).divisor, divisors)
                    if leaves.settle != NULL:
                        leaves.settle(result, rows * columns * last, plan.number_divisor)
                if leaves.store != NULL:
                    leaves.store(stored, result, rows * columns * last)
                place_tile(
                    pooling.dst + (
                        ((outer * plan.axes[0].output_size + d) * height.output_size + row) * out_row
                        + column * tiling.inner + slice) * leaves.storage,
                    result if leaves.store == NULL else stored, rows, tiling.rows.apart * out_row * leaves.storage,
                    columns, tiling.columns.apart * tiling.inner * leaves.storage, last * leaves.storage)
                row += rows * tiling.rows.apart
            column += columns * tiling.columns.apart
    return -1


cdef void slide_groups(
    const leaves_t* leaves, char* dst, const char* sums, char* running, ptrdiff_t count, ptrdiff_t n
) noexcept nogil:
    """Make `count` windows of the groups of n values each: of the core, groups before it and groups behind it."""
    cdef ptrdiff_t size = n * leaves.value
    cdef const char* core = sums + (count - 1) * size
    cdef ptrdiff_t i
    for i in range(count):
        add_values(leaves, dst + i * size, core, n, False)
    leaves.identity(running, n, NULL)
    for i in range(count - 2, -1, -1):
        add_values(leaves, running, sums + i * size, n, True)
        add_values(leaves, dst + i * size, running, n, True)
    leaves.identity(running, n, NULL)
    for i in range(1, count):
        add_values(leaves, running, core + i * size, n, True)
        add_values(leaves, dst + i * size, running, n, True)


cdef void add_region(
    const leaves_t* leaves, char* dst, const char* slid, ptrdiff_t region, ptrdiff_t regions, ptrdiff_t columns,
    ptrdiff_t width, bint accumulate
) noexcept nogil:
    """Add what windows along rows made of a region."""
    slid += region * width * leaves.value
    if width == 1:
        leaves.across(dst, slid, 0, 1, columns, regions, 1, 0, 0, accumulate, NULL)
    else:
        leaves.across(dst, slid, 0, 1, width, 1, columns, width, regions * width, accumulate, NULL)


cdef void join_regions(
    const leaves_t* leaves, char* dst, const char* slid, char* running, ptrdiff_t rows, ptrdiff_t columns,
    ptrdiff_t width,
) noexcept nogil:
    """Make rows of windows of what windows along rows made of each region: as `slide_groups`, the other way."""
    cdef ptrdiff_t regions = 2 * rows - 1
    cdef ptrdiff_t n = columns * width
    cdef ptrdiff_t size = n * leaves.value
    cdef ptrdiff_t i
    for i in range(rows):
        add_region(leaves, dst + i * size, slid, rows - 1, regions, columns, width, False)
    leaves.identity(running, n, NULL)
    for i in range(rows - 2, -1, -1):
        add_region(leaves, running, slid, i, regions, columns, width, True)
        add_values(leaves, dst + i * size, running, n, True)
    leaves.identity(running, n, NULL)
    for i in range(1, rows):
        add_region(leaves, running, slid, rows - 1 + i, regions, columns, width, True)
        add_values(leaves, dst + i * size, running, n, True)


cdef void place_tile(
    char* dst, const char* src, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t columns, ptrdiff_t dst_column,
    ptrdiff_t nbytes
) noexcept nogil:
    """Copy a tile to where its outputs belong."""
    cdef ptrdiff_t i, j
    for i in range(rows):
        if dst_column == nbytes:
            memcpy(dst + i * dst_row, src, columns * nbytes)
            src += columns * nbytes
        else:
            for j in range(columns):
                memcpy(dst + i * dst_row + j * dst_column, src, nbytes)
                src += nbytes


cdef bint cores_fits(const call_t* call) noexcept nogil:
    return needs_cores(call.plan, call.leaves.value)


cdef ptrdiff_t cores_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * cores_of(call.plan)


cdef ptrdiff_t cores_bytes(const call_t* call) noexcept nogil:
    return cores_scratch(call.plan, call.leaves)
