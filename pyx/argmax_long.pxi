# Argmaxes of long windows. Along each axis in turn, first of rows, then of columns, then in depth, a line is a row of
# cells that lie side by side, and a window is made of the lines it holds in two parts: the last ones up to a pivot,
# whose argmaxes have been found from the pivot backwards, and those behind the pivot, whose argmax goes forward with
# the window (van Herk, 1992; for windows of any kind whose ends never go back: Tangwongsan et al., 2015, "two stacks").
# So each line is compared twice and each window once, however long it is. The earlier of equals wins in each
# comparison, and the axes come in this order, so that the argmax is the first in row-major order.
#
# Along rows whose windows span no more than some thousand cells it is faster still to leave cells as they lie: the
# argmaxes of runs of up to three cells are compared in threes, which may overlap, and become argmaxes of longer runs,
# up to whole windows.
#
# Values of 8 bits become keys of 32 then: the value, turned so that the greatest wins, and below it the complement of
# the place. The greatest key is the first of the greatest values, and a comparison a plain maximum.


cdef enum:
    # The place in a key; that of padding, which has lost to all others, is this one.
    KEY_PLACE = (1 << 24) - 1


cdef struct queue_t:
    # The last lines of an axis, in a ring, with the places of their cells; behind them a line for each residue of the
    # dilation, which holds the argmaxes behind the pivot.
    const argmax_t* argmax
    char* values
    int32_t* places
    # No position of the ring's axis is so large that there are more than so many residues.
    ptrdiff_t cells, capacity, dilation, residues
    # Positions of the pivot, and of the last line behind it, of each residue.
    ptrdiff_t* pivots
    ptrdiff_t* ends


cdef struct long_t:
    # Outputs of a tile along each axis, and how many tiles there are; channels of a tile, and tiles of channels.
    ptrdiff_t outputs[3]
    ptrdiff_t tiles[3]
    ptrdiff_t channels, chunks
    # Input cells that one window spans, and most that are held of an axis.
    ptrdiff_t spans[3]
    ptrdiff_t held[3]
    # Outputs of a row that a gradient finds in one go.
    ptrdiff_t together
    # Bytes of a value as it is stored.
    ptrdiff_t storage
    # Rows that are flipped together; in one dimension, pieces of one row instead (`pieces` is then their number).
    ptrdiff_t rows, pieces
    # Whether rows are all there is to be pooled, whether windows have a depth, and whether rows are pooled at all.
    bint one_axis, deep, along
    # Whether rows are made of runs, one row after another.
    bint in_runs


cdef struct sink_t:
    # Where the results of a tile go; strides count elements.
    char* values
    int64_t* indices
    ptrdiff_t of_depth, of_row, of_cell


cdef struct tile_t:
    ptrdiff_t outer, depth, depths, row, rows, column, columns, channel, channels


cdef struct search_t:
    const plan_t* plan
    const argmax_t* argmax
    const char* src
    long_t sizes
    queue_t queues[3]
    tile_t tile
    sink_t sink
    # Lines of argmaxes of rows; of the other axes, of which `best` is the last; cells in front of flipping.
    char* row_best
    int32_t* row_where
    char* best
    int32_t* where
    char* deep_best
    int32_t* deep_where
    char* loaded
    # Places of the first cells of rows, or, with runs, of the windows of a tile from its first on.
    int32_t* bases
    ptrdiff_t bases_channels
    # Input plane and row from which places count.
    ptrdiff_t base_depth, base_row
    # What `is_stopped` is asked with.
    char* scratch


cdef inline ptrdiff_t span_of(const axis_t* axis) noexcept nogil:
    """Most cells from the first tap of a window to its last one."""
    cdef ptrdiff_t span = 1
    cdef ptrdiff_t o
    if not axis.adaptive:
        return (axis.kernel_size - 1) * axis.dilation + 1
    for o in range(axis.output_size):
        span = max(span, window_of(axis, o).count)
    return span


cdef inline ptrdiff_t reached_by(const axis_t* axis, ptrdiff_t output) noexcept nogil:
    """Cell before which neither this window nor a later one begins; with dilation, a later one may begin before this
    one, whose first taps lie in the padding."""
    if axis.adaptive:
        return window_of(axis, output).first
    return min(max(output * axis.stride - axis.pad_begin, 0), axis.input_size)


cdef inline bint is_pooled(const axis_t* axis) noexcept nogil:
    return axis.adaptive or axis.kernel_size > 1 or axis.stride > 1 or axis.input_size != axis.output_size


cdef inline ptrdiff_t spanned(const long_t* sizes, const axis_t* axis, int which, ptrdiff_t outputs) noexcept nogil:
    """Most cells from the first tap of so many windows to their last one."""
    if axis.adaptive:
        return min(axis.input_size, ceil_divide(outputs * axis.input_size, axis.output_size) + sizes.spans[which] + 1)
    return (outputs - 1) * axis.stride + sizes.spans[which]


cdef long_t lay_long(const plan_t* plan, const argmax_t* argmax, bint finds) noexcept nogil:
    """Lay out the tiles; those of a gradient, which `finds`, have whole rows in the order of the outputs."""
    cdef const axis_t* width = &plan.axes[2]
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t pair = argmax.value + <ptrdiff_t> sizeof(int32_t)
    cdef ptrdiff_t lanes, steps, cells
    cdef long_t sizes
    cdef int i
    memset(&sizes, 0, sizeof(sizes))
    sizes.storage = argmax.storage
    for i in range(3):
        sizes.spans[i] = span_of(&plan.axes[i])
    sizes.one_axis = plan.axes[0].input_size * height.input_size == 1 and not (
        is_pooled(&plan.axes[0]) or is_pooled(height) or plan.axes[0].pad_begin or height.pad_begin)
    sizes.deep = is_pooled(&plan.axes[0]) or plan.axes[0].pad_begin > 0
    sizes.along = is_pooled(width) or width.pad_begin > 0
    steps = max(1, ceil_divide(width.input_size, max(1, width.output_size))) if width.adaptive else width.stride
    lanes = min(
        <ptrdiff_t> LANES_TOGETHER, max(<ptrdiff_t> FEWEST_LANES, LONG_BYTES // (2 * sizes.spans[2] * pair)))
    sizes.channels = min(plan.inner, lanes)
    sizes.chunks = ceil_divide(plan.inner, sizes.channels)
    sizes.in_runs = sizes.along and not width.adaptive and sizes.spans[2] * sizes.channels <= MOST_OF_RUNS
    sizes.rows = 1 if sizes.in_runs else max(1, lanes // sizes.channels)
    sizes.pieces = 1
    sizes.held[1] = min(sizes.spans[1], height.input_size) + sizes.rows
    cells = min(width.output_size, max(
        4 * sizes.spans[2] // steps, RUN_CELLS // sizes.channels // steps if sizes.in_runs else 0, 64))
    if not sizes.one_axis:
        cells = min(cells, max(16, LONG_BYTES // (sizes.held[1] * sizes.channels * pair)))
    cells = min(cells, max(16, LONG_BYTES // (sizes.rows * sizes.channels * pair) // steps))
    if finds:
        cells = min(cells, FOUND_CELLS // sizes.channels)
    if not sizes.in_runs and sizes.one_axis and plan.inner == 1 and not width.adaptive and (
        plan.outer < lanes // 4 or (finds and width.output_size * steps > 2 * FEWEST_LANES * sizes.spans[2])
    ):
        # A piece is at least a window long, since the next one begins with as many cells again.
        sizes.rows = 1
        sizes.pieces = max(1, min(lanes, width.output_size * steps // (2 * sizes.spans[2])))
        cells = min(
            ceil_divide(width.output_size, sizes.pieces),
            max(2 * sizes.spans[2] // steps, LONG_BYTES // (lanes * pair) // steps, 64))
        cells *= sizes.pieces
    elif sizes.one_axis:
        sizes.rows = max(1, min(sizes.rows, plan.outer))
        if finds:
            sizes.rows = max(1, min(
                sizes.rows, FOUND_CELLS // (max(width.output_size, width.input_size) * plan.inner)))
    sizes.outputs[2] = max(1, cells)
    sizes.outputs[1] = min(height.output_size, max(4 * sizes.spans[1] // max(1, height.stride), 32))
    sizes.outputs[0] = plan.axes[0].output_size
    if sizes.deep:
        sizes.held[0] = min(sizes.spans[0], plan.axes[0].input_size) + 1
        cells = sizes.held[0] * sizes.outputs[2] * sizes.channels * pair
        sizes.outputs[1] = max(1, min(sizes.outputs[1], max(LONG_BYTES // cells, 8)))
    else:
        sizes.outputs[0] = 1
    if finds:
        # In the order of the outputs, so that sums are made in that order too.
        sizes.together = width.output_size
        if width.output_size * sizes.channels > FOUND_CELLS:
            sizes.together = sizes.outputs[2]
        cells = max(1, FOUND_CELLS // max(1, width.output_size * sizes.channels))
        if sizes.deep and height.output_size <= cells:
            sizes.outputs[0] = min(sizes.outputs[0], cells // max(1, height.output_size))
        else:
            sizes.outputs[0] = 1
            sizes.outputs[1] = min(sizes.outputs[1], cells)
    for i in range(3):
        sizes.outputs[i] = max(1, sizes.outputs[i])
        sizes.tiles[i] = ceil_divide(plan.axes[i].output_size, sizes.outputs[i])
    sizes.held[2] = spanned(&sizes, width, 2, sizes.outputs[2] // sizes.pieces)
    return sizes


cdef inline double most_places(const plan_t* plan, const long_t* sizes) noexcept nogil:
    """More than the places within a tile count to."""
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t rows = spanned(sizes, height, 1, sizes.outputs[1])
    if sizes.deep:
        rows = plan.axes[0].input_size * min(height.input_size, 1 << 30)
    return <double> (rows + 1) * <double> (plan.axes[2].input_size + 2 * sizes.held[2])


cdef argmax_t argmax_of_long(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """The leaves that long windows are made by: those of keys, where there are such."""
    cdef argmax_t keyed = argmax[0]
    cdef long_t sizes
    if argmax.value == 1 and argmax.storage == 1:
        keyed.keyed = True
        keyed.value = sizeof(uint32_t)
        # Turned by it, the value that loses to all others is 0.
        argmax.identity(&keyed.turn, 1, NULL)
        sizes = lay_long(plan, &keyed, False)
        if sizes.in_runs and most_places(plan, &sizes) < <double> KEY_PLACE:
            return keyed
    return argmax[0]


cdef inline ptrdiff_t run_below(ptrdiff_t taps) noexcept nogil:
    """Length of the runs of which three, evenly apart, make one of so many taps."""
    cdef ptrdiff_t run = ceil_divide(taps, 3)
    return run + (taps - run) % 2


cdef double cost_of_short(const plan_t* plan, const long_t* sizes, double outputs) noexcept nogil:
    """Comparisons where every tap is compared."""
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t stride = plan.axes[2].stride
    cdef double kd = <double> sizes.spans[0] if plan.axes[0].adaptive else <double> plan.axes[0].kernel_size
    cdef double kh = <double> sizes.spans[1] if height.adaptive else <double> height.kernel_size
    cdef double kw = <double> sizes.spans[2] if plan.axes[2].adaptive else <double> plan.axes[2].kernel_size
    if plan.inner == 1 and not plan.axes[2].adaptive and not plan.apart and stride > 2:
        kw *= COST_OF_STEP_8 if sizes.storage == 1 else COST_OF_STEP_16 if sizes.storage == 2 else COST_OF_STEP
    # Rows of columns that are made for the rows of a piece.
    cdef double lines = <double> (height.stride * plan.pieces.phase_rows)
    if plan.pieces.straight:
        lines = <double> (plan.pieces.rows - 1) * <double> height.stride + <double> sizes.spans[1]
    if plan.pieces.stacked and not plan.pieces.adaptive:
        return outputs * kd * (kh + kw * lines / <double> plan.pieces.rows)
    if plan.pieces.adaptive:
        return outputs * kd * (kh + kw * <double> height.input_size / <double> height.output_size)
    if sizes.storage > 1:
        kw *= COST_OF_OVERLAP if stride == 1 else COST_OF_HALVES if sizes.storage == 2 else 1
    return outputs * kd * kh * kw


cdef double cost_of_long(const plan_t* plan, const long_t* sizes, double inputs, double outputs) noexcept nogil:
    """The same of long windows."""
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t taps = width.kernel_size
    cdef double level = COST_OF_LEVEL if sizes.storage > 1 else COST_OF_LEVEL / 4.0
    cdef double levels = 1 if sizes.storage > 2 else 1 + LEVELS_TO_CONVERT
    cdef double rows = inputs / <double> width.input_size / <double> sizes.channels
    cdef double cells = <double> ((width.output_size - 1) * width.stride + sizes.spans[2])
    if not sizes.in_runs:
        return COST_OF_LONG * (outputs + inputs)
    while taps > 3:
        taps = run_below(taps)
        levels += 1
    cells *= level * levels
    if not sizes.one_axis:
        cells += COST_OF_RING * <double> width.output_size
    return rows * (cells * <double> sizes.channels + COST_OF_ROW) + outputs


cdef bint has_long(const plan_t* plan, const long_t* sizes) noexcept nogil:
    """Whether windows are so long, and overlap so much, that they are made so."""
    cdef const axis_t* width = &plan.axes[2]
    cdef double outputs = 1
    cdef double inputs = 1
    cdef int i
    for i in range(3):
        outputs *= <double> plan.axes[i].output_size
        inputs *= <double> min(
            plan.axes[i].input_size, spanned(sizes, &plan.axes[i], i, plan.axes[i].output_size))
    # Rows are laid out with their padding; windows that are mostly padding have few elements anyway.
    if outputs == 0 or sizes.spans[2] > 2 * width.input_size + STACK_CELLS:
        return False
    if cost_of_short(plan, sizes, outputs) < cost_of_long(plan, sizes, inputs, outputs):
        return False
    # Places within a tile take 32 bits.
    return most_places(plan, sizes) < 2e9 and (
        <double> sizes.pieces * <double> sizes.outputs[2] * <double> width.stride < 1e9)


cdef inline ptrdiff_t long_cells(const long_t* sizes) noexcept nogil:
    return sizes.outputs[2] * sizes.channels


cdef void start_search(search_t* search, const long_t* sizes, char* scratch, ptrdiff_t* nbytes) noexcept nogil:
    """Deal out the scratch memory, or, where there is none, tell how much of it is needed."""
    cdef const plan_t* plan = search.plan
    cdef ptrdiff_t size = search.argmax.value
    cdef ptrdiff_t lanes = sizes.channels * sizes.rows * sizes.pieces
    cdef ptrdiff_t cells[3]
    cdef ptrdiff_t dilation, residues
    cdef char* memory = scratch
    cdef queue_t* queue
    cdef int i
    search.sizes = sizes[0]
    cells[2] = lanes
    cells[1] = long_cells(sizes)
    cells[0] = sizes.outputs[1] * long_cells(sizes)
    for i in range(3):
        queue = &search.queues[i]
        dilation = 1 if plan.axes[i].adaptive else plan.axes[i].dilation
        residues = min(dilation, sizes.held[i])
        queue.argmax = search.argmax
        queue.cells = cells[i]
        queue.capacity = sizes.held[i]
        queue.dilation = dilation
        if (i == 0 and not sizes.deep) or (i == 1 and sizes.one_axis):
            continue
        queue.residues = residues
        queue.values = take_scratch(&memory, (queue.capacity + residues) * queue.cells * size)
        queue.places = <int32_t*> take_scratch(&memory, (queue.capacity + residues) * queue.cells * 4)
        queue.pivots = <ptrdiff_t*> take_scratch(&memory, residues * <ptrdiff_t> sizeof(ptrdiff_t))
        queue.ends = <ptrdiff_t*> take_scratch(&memory, residues * <ptrdiff_t> sizeof(ptrdiff_t))
    # With runs, a buffer like the ring of columns, with which it takes turns.
    cells[0] = max(long_cells(sizes) * sizes.rows, sizes.held[2] * lanes if sizes.in_runs else 0)
    search.row_best = take_scratch(&memory, cells[0] * size)
    search.row_where = <int32_t*> take_scratch(&memory, cells[0] * 4)
    search.best = take_scratch(&memory, long_cells(sizes) * (sizes.rows if sizes.one_axis else 1) * size)
    search.where = <int32_t*> take_scratch(&memory, long_cells(sizes) * (sizes.rows if sizes.one_axis else 1) * 4)
    if sizes.deep:
        cells[0] = sizes.outputs[1] * long_cells(sizes)
        search.deep_best = take_scratch(&memory, cells[0] * size)
        search.deep_where = <int32_t*> take_scratch(&memory, cells[0] * 4)
    search.loaded = take_scratch(&memory, max(sizes.held[2] * lanes, long_cells(sizes)) * size)
    search.bases = <int32_t*> take_scratch(&memory, max(lanes, long_cells(sizes)) * 4)
    search.bases_channels = 0
    nbytes[0] = memory - scratch + 128


cdef inline ptrdiff_t long_scratch(const plan_t* plan, const argmax_t* argmax, const long_t* sizes) noexcept nogil:
    cdef search_t search
    cdef ptrdiff_t nbytes
    search.plan = plan
    search.argmax = argmax
    start_search(&search, sizes, NULL, &nbytes)
    return nbytes


cdef inline void start_queue(queue_t* queue) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(queue.residues):
        queue.pivots[i] = -1


cdef inline void highest_keys(
    uint32_t* dst, const uint32_t* src, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t count
) noexcept nogil:
    """Find the greatest of one, two or three keys that lie `apart`."""
    cdef ptrdiff_t x
    if count == 1:
        memcpy(dst, src, n * sizeof(uint32_t))
    elif count == 2:
        for x in range(n):
            dst[x] = max(src[x], src[x + apart])
    else:
        for x in range(n):
            dst[x] = max(max(src[x], src[x + apart]), src[x + 2 * apart])


cdef inline void raise_keys(uint32_t* best, const uint32_t* later, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        best[x] = max(best[x], later[x])


cdef inline void make_keys(
    uint32_t* keys, const uint8_t* src, ptrdiff_t cells, ptrdiff_t channels, uint8_t turn, int32_t place
) noexcept nogil:
    """Make the keys of cells in a row; `place` is that of the first."""
    cdef uint32_t first = <uint32_t> (KEY_PLACE - place)
    cdef ptrdiff_t x, c
    if channels == 1:
        for x in range(cells):
            keys[x] = (<uint32_t> (src[x] ^ turn) << 24) | (first - <uint32_t> x)
        return
    for x in range(cells):
        for c in range(channels):
            keys[x * channels + c] = (<uint32_t> (src[x * channels + c] ^ turn) << 24) | (first - <uint32_t> x)


cdef inline void split_keys(
    uint8_t* values, int32_t* places, const uint32_t* keys, ptrdiff_t n, uint8_t turn
) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        values[x] = <uint8_t> (keys[x] >> 24) ^ turn
    for x in range(n):
        places[x] = KEY_PLACE - <int32_t> (keys[x] & KEY_PLACE)


cdef inline void fill_none(const argmax_t* argmax, char* values, ptrdiff_t n) noexcept nogil:
    """Write values that lose to all others."""
    if argmax.keyed:
        memset(values, 0, n * sizeof(uint32_t))
    else:
        argmax.identity(values, n, NULL)


cdef inline void clear_line(const argmax_t* argmax, char* values, int32_t* places, ptrdiff_t n) noexcept nogil:
    """Begin without an argmax."""
    fill_none(argmax, values, n)
    memset(places, 0, n * sizeof(int32_t))


cdef inline void compare_lines(const queue_t* queue, ptrdiff_t best, ptrdiff_t later, ptrdiff_t lines) noexcept nogil:
    """Compare line `later` of the ring with an earlier one, in place; then the two before them, and so on."""
    cdef taps_t taps
    cdef ptrdiff_t size = queue.argmax.value
    cdef ptrdiff_t apart = -queue.dilation * queue.cells
    cdef ptrdiff_t line
    if queue.argmax.keyed:
        for line in range(lines):
            raise_keys(
                <uint32_t*> queue.values + best * queue.cells + line * apart,
                <uint32_t*> queue.values + later * queue.cells + line * apart, queue.cells)
        return
    taps.ways = taps.row = taps.count = 1
    taps.place = taps.way = taps.apart = 0
    queue.argmax.across(
        queue.values + best * queue.cells * size, queue.places + best * queue.cells,
        queue.values + later * queue.cells * size, queue.places + later * queue.cells, &taps, 0, queue.cells, 1, lines,
        apart, apart, True, NULL)


cdef inline void join_lines(
    const queue_t* queue, ptrdiff_t first, ptrdiff_t second, char* values, int32_t* places
) noexcept nogil:
    """Write the better of two lines."""
    cdef taps_t taps
    if queue.argmax.keyed:
        highest_keys(
            <uint32_t*> values, <uint32_t*> queue.values + first * queue.cells, queue.cells,
            (second - first) * queue.cells, 2)
        return
    taps.ways = taps.row = 1
    taps.place = taps.way = 0
    taps.count = 2
    taps.apart = (second - first) * queue.cells
    queue.argmax.across(
        values, places, queue.values + first * queue.cells * queue.argmax.value, queue.places + first * queue.cells,
        &taps, 0, queue.cells, 1, 1, 0, 0, False, NULL)


cdef inline void copy_line(const queue_t* queue, ptrdiff_t line, char* values, int32_t* places) noexcept nogil:
    cdef ptrdiff_t size = queue.argmax.value
    memcpy(values, queue.values + line * queue.cells * size, queue.cells * size)
    if not queue.argmax.keyed:
        memcpy(places, queue.places + line * queue.cells, queue.cells * 4)


cdef void find_window(
    queue_t* queue, ptrdiff_t first, ptrdiff_t last, char* values, int32_t* places
) noexcept nogil:
    """Find the argmaxes of the lines from `first` to `last`, which come no earlier than those of the window before."""
    cdef ptrdiff_t residue = first % queue.dilation
    cdef ptrdiff_t behind = queue.capacity + residue
    cdef ptrdiff_t size = queue.argmax.value
    cdef ptrdiff_t line, lines, slot
    if queue.pivots[residue] < first:
        queue.pivots[residue] = queue.ends[residue] = last
        line = last - queue.dilation
        while line >= first:
            # As many lines as lie before one another in the ring.
            slot = line % queue.capacity
            lines = 1
            if slot + queue.dilation < queue.capacity:
                lines = min(slot, line - first) // queue.dilation + 1
            compare_lines(queue, slot, (slot + queue.dilation) % queue.capacity, lines)
            line -= lines * queue.dilation
    while queue.ends[residue] < last:
        line = (queue.ends[residue] + queue.dilation) % queue.capacity
        if queue.ends[residue] == queue.pivots[residue]:
            copy_line(
                queue, line, queue.values + behind * queue.cells * size, queue.places + behind * queue.cells)
        else:
            compare_lines(queue, behind, line, 1)
        queue.ends[residue] += queue.dilation
    if queue.ends[residue] == queue.pivots[residue]:
        copy_line(queue, first % queue.capacity, values, places)
    else:
        join_lines(queue, first % queue.capacity, behind, values, places)


cdef inline void flip_blocks(
    char* dst, ptrdiff_t dst_row, const char* src, ptrdiff_t src_row, ptrdiff_t src_cell, ptrdiff_t dst_cell,
    ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t block, ptrdiff_t size,
) noexcept nogil:
    """Let rows of blocks become columns of them; strides count elements."""
    cdef ptrdiff_t r, c
    if block == 1 and src_cell == 1 and dst_cell == 1:
        flip(dst, dst_row, src, src_row, rows, columns, size)
        return
    for c in range(columns):
        for r in range(rows):
            memcpy(dst + (c * dst_row + r * dst_cell) * size, src + (r * src_row + c * src_cell) * size, block * size)


cdef inline void name_line(int32_t* places, const int32_t* bases, ptrdiff_t n, int32_t x) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        places[i] = bases[i] + x


cdef inline void raise_line(int32_t* places, const int32_t* bases, ptrdiff_t n, int32_t x) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        places[i] = max(places[i], bases[i] + x)


cdef void load_rows(
    search_t* search, const char* src, ptrdiff_t src_row, ptrdiff_t rows, ptrdiff_t origin, ptrdiff_t cells
) noexcept nogil:
    """Flip `cells` cells of some rows from cell `origin` on into the ring, or such pieces of one row."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef queue_t* queue = &search.queues[2]
    cdef ptrdiff_t channels = search.tile.channels
    cdef ptrdiff_t lanes = queue.cells
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t size = argmax.value
    cdef ptrdiff_t begin, end, r, x, whole_begin, whole_end
    cdef ptrdiff_t input_size = plan.axes[2].input_size
    cdef char* dst = queue.values
    if search.sizes.pieces == 1:
        begin = min(max(-origin, 0), cells)
        end = max(min(cells, input_size - origin), begin)
        if begin:
            argmax.identity(dst, begin * lanes, NULL)
        if end < cells:
            argmax.identity(dst + end * lanes * size, (cells - end) * lanes, NULL)
        src += (origin + begin) * inner * argmax.storage
        dst += begin * lanes * size
        if argmax.load == NULL:
            flip_blocks(dst, lanes, src, src_row, inner, channels, rows, end - begin, channels, size)
            return
        for r in range(rows):
            if channels == inner:
                argmax.load(
                    search.loaded + r * (end - begin) * channels * size, src + r * src_row * argmax.storage,
                    (end - begin) * channels)
            else:
                for x in range(end - begin):
                    argmax.load(
                        search.loaded + (r * (end - begin) + x) * channels * size,
                        src + (r * src_row + x * inner) * argmax.storage, channels)
        flip_blocks(
            dst, lanes, search.loaded, (end - begin) * channels, channels, channels, rows, end - begin, channels, size)
        return
    # Pieces that lie in the row as a whole, and others cell by cell.
    whole_begin = min(rows, ceil_divide(max(-origin, 0), src_row))
    whole_end = whole_begin
    while whole_end < rows and origin + whole_end * src_row + cells <= input_size:
        whole_end += 1
    for r in range(rows):
        if whole_begin <= r < whole_end and argmax.load == NULL:
            continue
        begin = min(max(-(origin + r * src_row), 0), cells)
        end = max(min(cells, input_size - origin - r * src_row), begin)
        argmax.identity(search.loaded, cells, NULL)
        if argmax.load != NULL:
            argmax.load(
                search.loaded + begin * size, src + (origin + r * src_row + begin) * argmax.storage, end - begin)
        else:
            memcpy(
                search.loaded + begin * size, src + (origin + r * src_row + begin) * size, (end - begin) * size)
        flip(dst + r * size, lanes, search.loaded, cells, 1, cells, size)
    if argmax.load == NULL and whole_end > whole_begin:
        flip(
            dst + whole_begin * size, lanes, src + (origin + whole_begin * src_row) * size, src_row,
            whole_end - whole_begin, cells, size)


cdef void find_along(
    search_t* search, const char* src, ptrdiff_t src_row, ptrdiff_t rows, char* best, int32_t* where,
    ptrdiff_t dst_row, ptrdiff_t columns,
) noexcept nogil:
    """Find the argmaxes along some rows, or pieces of one row; `bases` has the place of the first cell of each."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const axis_t* axis = &plan.axes[2]
    cdef queue_t* queue = &search.queues[2]
    cdef ptrdiff_t channels = search.tile.channels
    cdef ptrdiff_t lanes = rows * channels
    cdef ptrdiff_t size = argmax.value
    cdef ptrdiff_t output = search.tile.column
    cdef ptrdiff_t origin, cells, o, x, r, first, last
    cdef window_t window
    # The ring of this queue holds all, and lines are as long as they have to be.
    queue.cells = lanes
    for r in range(rows - 1, -1, -1):
        for x in range(channels):
            search.bases[r * channels + x] = search.bases[r]
    if axis.adaptive:
        origin = window_of(axis, output).first
        window = window_of(axis, output + columns - 1)
        cells = window.first + window.count - origin
    else:
        origin = output * axis.stride - axis.pad_begin
        cells = (columns - 1) * axis.stride + search.sizes.spans[2]
    load_rows(search, src, src_row, rows, origin, cells)
    for x in range(cells):
        name_line(queue.places + x * lanes, search.bases, lanes, <int32_t> (origin + x))
    start_queue(queue)
    for o in range(columns):
        if axis.adaptive:
            window = window_of(axis, output + o)
            first = window.first - origin
            last = first + window.count - 1
        else:
            first = o * axis.stride
            last = first + search.sizes.spans[2] - 1
        if last < first:
            argmax.identity(search.row_best + o * lanes * size, lanes, NULL)
            memset(search.row_where + o * lanes, 0, lanes * 4)
            continue
        find_window(queue, first, last, search.row_best + o * lanes * size, search.row_where + o * lanes)
        if axis.pad_begin > 0 and not axis.adaptive:
            # Where padding has won, nothing was better than it: all elements are equal to it, and the first wins.
            for r in range(rows if search.sizes.pieces > 1 else 1):
                x = output + o + r * columns
                if x * axis.stride >= axis.pad_begin or x >= axis.output_size:
                    break
                window = window_of(axis, x)
                if search.sizes.pieces > 1:
                    raise_line(
                        search.row_where + o * lanes + r, search.bases + r, 1, <int32_t> (window.first - r * src_row))
                else:
                    raise_line(search.row_where + o * lanes, search.bases, lanes, <int32_t> window.first)
    flip_blocks(best, dst_row, search.row_best, lanes, channels, channels, columns, rows, channels, size)
    flip_blocks(
        <char*> where, dst_row, <char*> search.row_where, lanes, channels, channels, columns, rows, channels, 4)


cdef inline void pick_cells(
    char* dst, const char* src, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t block, ptrdiff_t size
) noexcept nogil:
    """Copy n blocks of elements that lie `apart`."""
    cdef ptrdiff_t x
    if block == 1 and size == 4:
        for x in range(n):
            (<int32_t*> dst)[x] = (<const int32_t*> src)[x * apart]
    elif block == 1 and size == 1:
        for x in range(n):
            dst[x] = src[x * apart]
    else:
        for x in range(n):
            memcpy(dst + x * block * size, src + x * apart * size, block * size)


cdef inline void load_run(search_t* search, char* dst, const char* src, ptrdiff_t cells, int32_t place) noexcept nogil:
    """Load cells of a row, of which the first has this place."""
    cdef const argmax_t* argmax = search.argmax
    cdef ptrdiff_t channels = search.tile.channels
    cdef ptrdiff_t inner = search.plan.inner
    cdef ptrdiff_t x
    # All in one go, or the channels of the tile cell by cell.
    cdef ptrdiff_t together = cells if channels == inner else 1
    for x in range(cells // max(together, 1)):
        if argmax.keyed:
            make_keys(
                <uint32_t*> dst + x * channels, <const uint8_t*> src + x * inner, together, channels, argmax.turn,
                place + <int32_t> x)
        else:
            store_cells(
                argmax, dst + x * channels * argmax.value, src + x * inner * argmax.storage, together * channels)


cdef void find_in_runs(
    search_t* search, const char* src, char* best, int32_t* where, int32_t place
) noexcept nogil:
    """Find the argmaxes along a row of the tile; `place` is that of the first cell of the row."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t channels = search.tile.channels
    cdef ptrdiff_t columns = search.tile.columns
    cdef ptrdiff_t size = argmax.value
    cdef ptrdiff_t dilation = axis.dilation
    cdef ptrdiff_t origin = search.tile.column * axis.stride - axis.pad_begin
    cdef ptrdiff_t cells = (columns - 1) * axis.stride + search.sizes.spans[2]
    cdef ptrdiff_t begin = min(max(-origin, 0), cells)
    cdef ptrdiff_t end = max(min(cells, axis.input_size - origin), begin)
    cdef ptrdiff_t runs[MOST_LEVELS]
    cdef ptrdiff_t levels = 1
    cdef ptrdiff_t x, c, n, level
    cdef const char* line = src + origin * plan.inner * argmax.storage
    cdef const int32_t* names = NULL
    cdef char* values
    cdef int32_t* places
    cdef int32_t first
    cdef window_t window
    cdef taps_t taps
    runs[0] = axis.kernel_size
    while runs[levels - 1] > 3:
        runs[levels] = run_below(runs[levels - 1])
        levels += 1
    if argmax.keyed or begin > 0 or end < cells or argmax.load != NULL or channels < plan.inner:
        line = src + (origin + begin) * plan.inner * argmax.storage
        fill_none(argmax, search.loaded, begin * channels)
        fill_none(argmax, search.loaded + end * channels * size, (cells - end) * channels)
        load_run(
            search, search.loaded + begin * channels * size, line, end - begin, place + <int32_t> (origin + begin))
        line = search.loaded
    taps.ways = 1
    taps.way = 0
    taps.row = channels
    for level in range(levels - 1, -1, -1):
        # The two buffers take turns; the last argmaxes go where they shall be, unless only some of them are asked for.
        values = search.queues[2].values if level % 2 else search.row_best
        places = search.queues[2].places if level % 2 else search.row_where
        if level == 0 and axis.stride == 1:
            values = best
            places = where
        taps.count = runs[level]
        taps.apart = dilation
        if level < levels - 1:
            taps.count = 3
            taps.apart = (runs[level] - runs[level + 1]) // 2 * dilation
        taps.place = taps.apart
        n = (cells - (runs[level] - 1) * dilation) * channels
        if argmax.keyed:
            highest_keys(<uint32_t*> values, <const uint32_t*> line, n, taps.apart * channels, taps.count)
        else:
            argmax.across(values, places, line, names, &taps, 0, n, 1, 1, 0, 0, False, NULL)
        line = values
        names = places
    if axis.stride > 1:
        pick_cells(best, line, columns, axis.stride * channels, channels, size)
    if argmax.keyed:
        return
    if axis.stride > 1:
        pick_cells(<char*> where, <const char*> names, columns, axis.stride * channels, channels, 4)
    if search.bases_channels != channels:
        search.bases_channels = channels
        for x in range(search.sizes.outputs[2]):
            for c in range(channels):
                search.bases[x * channels + c] = <int32_t> (x * axis.stride)
    first = place + <int32_t> origin
    for x in range(columns * channels):
        where[x] += search.bases[x] + first
    # Where padding has won, nothing was better than it: all elements are equal to it, and the first wins.
    for x in range(columns):
        if (search.tile.column + x) * axis.stride >= axis.pad_begin:
            break
        window = window_of(axis, search.tile.column + x)
        for c in range(channels):
            where[x * channels + c] = max(where[x * channels + c], place + <int32_t> window.first)


cdef void put_argmaxes(
    search_t* search, ptrdiff_t depth, ptrdiff_t row, const char* best, const int32_t* where, bint none, int64_t base
) noexcept nogil:
    """Write the values and indices of an output row of the tile; with `none`, of windows without any element."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const tile_t* tile = &search.tile
    cdef const sink_t* sink = &search.sink
    cdef ptrdiff_t channels = tile.channels
    cdef ptrdiff_t n = tile.columns * channels
    cdef ptrdiff_t at = depth * sink.of_depth + row * sink.of_row + tile.column * sink.of_cell
    cdef ptrdiff_t run = n if sink.of_cell == channels else channels
    cdef ptrdiff_t x, c
    cdef char* line = search.loaded
    cdef ptrdiff_t size = argmax.storage if argmax.keyed else argmax.value
    if argmax.keyed and not none:
        split_keys(<uint8_t*> line, search.row_where, <const uint32_t*> best, n, argmax.turn)
        best = line
        where = search.row_where
    if none:
        argmax.empty(line, n, NULL)
        best = line
    elif plan.axes[2].has_empty and sink.values != NULL:
        if best != line:
            memcpy(line, best, n * size)
        for x in range(tile.columns):
            if window_of(&plan.axes[2], tile.column + x).count == 0:
                argmax.empty(line + x * channels * size, channels, NULL)
        best = line
    for x in range(n // run):
        if none:
            memset(sink.indices + at, 0xff, run * sizeof(int64_t))
        else:
            name_places(sink.indices + at, where + x * run, run, 0, base)
        if sink.values != NULL:
            if argmax.store != NULL:
                argmax.store(sink.values + at * argmax.storage, best + x * run * size, run)
            else:
                memcpy(sink.values + at * size, best + x * run * size, run * size)
        at += sink.of_cell
    if plan.axes[2].has_empty:
        at = depth * sink.of_depth + row * sink.of_row + tile.column * sink.of_cell
        for x in range(tile.columns):
            if window_of(&plan.axes[2], tile.column + x).count == 0:
                for c in range(channels):
                    sink.indices[at + x * sink.of_cell + c] = -1


cdef void load_lines(search_t* search, ptrdiff_t depth, ptrdiff_t row, ptrdiff_t rows) noexcept nogil:
    """Find the argmaxes along some input rows, and put them into the ring of rows, where they lie side by side."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const tile_t* tile = &search.tile
    cdef queue_t* queue = &search.queues[1]
    cdef ptrdiff_t in_row = plan.axes[2].input_size * plan.inner
    cdef ptrdiff_t slot = row % queue.capacity
    cdef ptrdiff_t size = argmax.value
    cdef ptrdiff_t n = queue.cells
    cdef ptrdiff_t r, x, c, place
    cdef const char* src = search.src + (
        ((tile.outer * plan.axes[0].input_size + depth) * plan.axes[1].input_size + row) * in_row + tile.channel
    ) * argmax.storage
    place = ((depth - search.base_depth) * plan.axes[1].input_size + row - search.base_row) * plan.axes[2].input_size
    if search.sizes.in_runs:
        find_in_runs(search, src, queue.values + slot * n * size, queue.places + slot * n, <int32_t> place)
        return
    if search.sizes.along:
        for r in range(rows):
            search.bases[r] = <int32_t> (place + r * plan.axes[2].input_size)
        find_along(
            search, src, in_row, rows, queue.values + slot * n * size, queue.places + slot * n, n, tile.columns)
        return
    for r in range(rows):
        for x in range(tile.columns):
            for c in range(tile.channels):
                queue.places[(slot + r) * n + x * tile.channels + c] = <int32_t> (
                    place + r * plan.axes[2].input_size + tile.column + x)
            if plan.inner > 1:
                store_cells(
                    argmax, queue.values + ((slot + r) * n + x * tile.channels) * size,
                    src + (r * in_row + (tile.column + x) * plan.inner) * argmax.storage, tile.channels)
        if plan.inner == 1:
            store_cells(
                argmax, queue.values + (slot + r) * n * size, src + (r * in_row + tile.column) * argmax.storage, n)


cdef inline void store_cells(const argmax_t* argmax, char* dst, const char* src, ptrdiff_t n) noexcept nogil:
    if argmax.load != NULL:
        argmax.load(dst, src, n)
    else:
        memcpy(dst, src, n * argmax.value)


cdef void find_down(search_t* search, ptrdiff_t depth, ptrdiff_t output, char* best, int32_t* where) noexcept nogil:
    """Find the argmaxes down an input plane for the rows of the tile: into lines, or, with `best` NULL, into the sink
    as output plane `output`. Leave it unfinished when the job shall stop."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const axis_t* axis = &plan.axes[1]
    cdef const tile_t* tile = &search.tile
    cdef queue_t* queue = &search.queues[1]
    cdef ptrdiff_t loaded = 0
    cdef ptrdiff_t n = tile.columns * tile.channels
    cdef ptrdiff_t o, rows, last
    cdef char* line
    cdef int32_t* names
    cdef window_t window
    queue.cells = n
    start_queue(queue)
    for o in range(tile.rows):
        window = window_of(axis, tile.row + o)
        line = search.best
        names = search.where
        if best != NULL:
            line = best + o * n * argmax.value
            names = where + o * n
        if window.count == 0:
            if best == NULL:
                put_argmaxes(search, output, tile.row + o, NULL, NULL, True, 0)
            else:
                clear_line(argmax, line, names, n)
            continue
        last = window.first + (window.count - 1) * queue.dilation
        loaded = max(loaded, reached_by(axis, tile.row + o))
        while loaded <= last:
            rows = min(min(search.sizes.rows, axis.input_size - loaded), queue.capacity - loaded % queue.capacity)
            if is_stopped(search.scratch, 32 * rows * n):
                return
            load_lines(search, depth, loaded, rows)
            loaded += rows
        find_window(queue, window.first, last, line, names)
        if best == NULL:
            put_argmaxes(
                search, output, tile.row + o, line, names, False,
                (<int64_t> search.base_depth * axis.input_size + search.base_row) * plan.axes[2].input_size)


cdef void find_tile(search_t* search) noexcept nogil:
    """Find the argmaxes of a tile."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef const axis_t* axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const tile_t* tile = &search.tile
    cdef queue_t* queue = &search.queues[0]
    cdef ptrdiff_t n = tile.columns * tile.channels
    cdef ptrdiff_t loaded = 0
    cdef ptrdiff_t o, y, last, slot
    cdef window_t window
    search.base_row = reached_by(height, tile.row)
    if not search.sizes.deep:
        for o in range(tile.depths):
            search.base_depth = tile.depth + o
            find_down(search, tile.depth + o, tile.depth + o, NULL, NULL)
        return
    search.base_depth = reached_by(axis, tile.depth)
    queue.cells = tile.rows * n
    start_queue(queue)
    for o in range(tile.depths):
        window = window_of(axis, tile.depth + o)
        if window.count:
            last = window.first + (window.count - 1) * queue.dilation
            loaded = max(loaded, reached_by(axis, tile.depth + o))
            while loaded <= last:
                slot = loaded % queue.capacity
                find_down(
                    search, loaded, 0, queue.values + slot * queue.cells * argmax.value,
                    queue.places + slot * queue.cells)
                loaded += 1
            find_window(queue, window.first, last, search.deep_best, search.deep_where)
        for y in range(tile.rows):
            put_argmaxes(
                search, tile.depth + o, tile.row + y, search.deep_best + y * n * argmax.value,
                search.deep_where + y * n, window.count == 0 or window_of(height, tile.row + y).count == 0,
                (<int64_t> search.base_depth * height.input_size + search.base_row) * plan.axes[2].input_size)


cdef void find_rows(search_t* search, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t apart) noexcept nogil:
    """Find the argmaxes of a tile of some rows in which all is that there is to be pooled; results lie `apart`."""
    cdef const plan_t* plan = search.plan
    cdef const argmax_t* argmax = search.argmax
    cdef tile_t* tile = &search.tile
    cdef ptrdiff_t in_row = plan.axes[2].input_size * plan.inner
    cdef ptrdiff_t n = tile.columns * tile.channels
    cdef ptrdiff_t r
    cdef ptrdiff_t pieces = search.sizes.pieces
    cdef ptrdiff_t columns = ceil_divide(tile.columns, pieces)
    cdef ptrdiff_t stride = plan.axes[2].stride
    cdef const char* src = search.src + (row * in_row + tile.channel) * argmax.storage
    if search.sizes.in_runs:
        find_in_runs(search, src, search.best, search.where, 0)
    elif pieces > 1:
        pieces = ceil_divide(tile.columns, columns)
        for r in range(pieces):
            search.bases[r] = <int32_t> (r * columns * stride)
        find_along(search, src, columns * stride, pieces, search.best, search.where, columns, columns)
    else:
        for r in range(rows):
            search.bases[r] = 0
        find_along(search, src, in_row, rows, search.best, search.where, n, tile.columns)
    for r in range(rows):
        put_argmaxes(search, 0, r * apart, search.best + r * n * argmax.value, search.where + r * n, False, 0)


cdef inline ptrdiff_t long_tasks(const plan_t* plan, const long_t* sizes) noexcept nogil:
    """Number of tiles."""
    if sizes.one_axis:
        return ceil_divide(plan.outer, sizes.rows) * sizes.chunks * sizes.tiles[2]
    return plan.outer * sizes.chunks * sizes.tiles[0] * sizes.tiles[1] * sizes.tiles[2]


cdef inline void cut_tile(search_t* search, ptrdiff_t channel, ptrdiff_t column) noexcept nogil:
    """Let the tile have these of the tiles of channels and of columns."""
    cdef const plan_t* plan = search.plan
    cdef tile_t* tile = &search.tile
    tile.channel = channel * search.sizes.channels
    tile.channels = min(search.sizes.channels, plan.inner - tile.channel)
    tile.column = column * search.sizes.outputs[2]
    tile.columns = min(search.sizes.outputs[2], plan.axes[2].output_size - tile.column)


cdef inline ptrdiff_t found_cells(const plan_t* plan, const long_t* sizes) noexcept nogil:
    """Most indices that a gradient finds in one go."""
    return sizes.together * sizes.channels * (
        sizes.rows if sizes.one_axis else sizes.outputs[0] * sizes.outputs[1])


cdef ptrdiff_t argmax_long(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tiles begin to end, with their indices."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef long_t sizes = lay_long(plan, pooling.argmax, False)
    cdef search_t search
    cdef tile_t* tile = &search.tile
    cdef ptrdiff_t task, rest, rows, at, nbytes, channel
    cdef ptrdiff_t in_depth = plan.axes[1].output_size * plan.axes[2].output_size * plan.inner
    cdef ptrdiff_t steps = 32 * sizes.channels * sizes.outputs[2] * (
        sizes.rows if sizes.one_axis else sizes.outputs[0] * sizes.outputs[1])
    memset(&search, 0, sizeof(search))
    search.plan = plan
    search.argmax = pooling.argmax
    search.src = pooling.src
    search.scratch = scratch
    start_search(&search, &sizes, scratch, &nbytes)
    search.sink.of_cell = plan.inner
    search.sink.of_row = plan.axes[2].output_size * plan.inner
    search.sink.of_depth = in_depth
    for task in range(begin, end):
        if is_stopped(scratch, steps):
            return -1
        rest = task
        channel = rest % sizes.chunks
        rest //= sizes.chunks
        cut_tile(&search, channel, rest % sizes.tiles[2])
        rest //= sizes.tiles[2]
        if sizes.one_axis:
            tile.outer = rest * sizes.rows
            at = tile.outer * in_depth + tile.channel
        else:
            tile.row = rest % sizes.tiles[1] * sizes.outputs[1]
            tile.rows = min(sizes.outputs[1], plan.axes[1].output_size - tile.row)
            rest //= sizes.tiles[1]
            tile.depth = rest % sizes.tiles[0] * sizes.outputs[0]
            tile.depths = min(sizes.outputs[0], plan.axes[0].output_size - tile.depth)
            tile.outer = rest // sizes.tiles[0]
            at = tile.outer * plan.axes[0].output_size * in_depth + tile.channel
        search.sink.values = pooling.dst + at * search.argmax.storage
        search.sink.indices = pooling.indices + at
        if sizes.one_axis:
            rows = min(sizes.rows, plan.outer - tile.outer)
            find_rows(&search, tile.outer, rows, 1)
        else:
            find_tile(&search)
    return -1


cdef bint argmax_long_fits(const call_t* call) noexcept nogil:
    return has_long(call.plan, call.sizes)


cdef ptrdiff_t argmax_long_tasks(const call_t* call) noexcept nogil:
    return long_tasks(call.plan, call.sizes)


cdef ptrdiff_t argmax_long_bytes(const call_t* call) noexcept nogil:
    return long_scratch(call.plan, call.keyed, call.sizes)
