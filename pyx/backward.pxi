# Gradients. The average's is itself a pooling: each input row gathers the output rows whose windows hold it, so rows
# are independent. The maximum's goes where an index says, plane by plane.

ctypedef void (*add_spread_fn)(void* dst, const void* src, ptrdiff_t n, ptrdiff_t step) noexcept nogil
ctypedef void (*repeat_fn)(void* dst, const void* src, ptrdiff_t n, ptrdiff_t times) noexcept nogil
ctypedef void (*add_run_fn)(void* dst, const void* src, ptrdiff_t n) noexcept nogil
ctypedef void (*weave_fn)(
    void* dst, const void* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t ways) noexcept nogil
ctypedef ptrdiff_t (*scatter_fn)(
    void* dst, const void* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells, bint checked, bint skip
) noexcept nogil
ctypedef void (*scatter_runs_fn)(
    void* dst, const void* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells
) noexcept nogil


cdef struct gradient_t:
    # The leaves of a sum, and those that only gradients need.
    leaves_t sum
    add_spread_fn add_spread
    repeat_fn repeat
    add_run_fn add_run
    weave_fn weave
    scatter_fn scatter
    scatter_runs_fn scatter_runs


cdef struct spreading_t:
    const plan_t* plan
    const gradient_t* leaves
    const char* grad_output
    char* grad_input


cdef struct scattering_t:
    const plan_t* plan
    const gradient_t* leaves
    const contest_t* contest
    # Indices are read, or found again in the input where there are none.
    const char* input
    const int64_t* indices
    const char* grad_output
    char* grad_input
    # Planes are made in so many parts; whether indices that are given lie in the rows of their windows.
    ptrdiff_t parts
    bint local


cdef enum:
    # Sums that are wider than the array are made of so many bytes at a time.
    SUMS_BYTES = 1 << 22
    # Most channels, and fewest steps in a window, where gradients are summed in runs.
    RUN_CHANNELS = 8
    RUN_OVERLAP = 10
    # Cells, or outputs if these are more, that gradients of adaptive windows are made of at a time.
    ADAPTIVE_CELLS = 1 << 16


cdef struct quotients_t:
    const plan_t* plan
    const leaves_t* leaves
    const char* src
    char* dst
    # Rows of the last axis altogether.
    ptrdiff_t rows


cdef struct holders_t:
    # The outputs whose windows may hold an input cell; with dilation, not all of them do.
    ptrdiff_t first, stop


cdef inline holders_t holders_of(const axis_t* axis, ptrdiff_t cell, ptrdiff_t cells) noexcept nogil:
    """Outputs that `cells` neighbouring input cells belong to."""
    cdef holders_t holders
    cdef ptrdiff_t last = cell + cells - 1
    if axis.adaptive:
        # From floor(cell * O / I) to ceil((last + 1) * O / I), as windows lie over cells.
        holders.first = <ptrdiff_t> (<int128_t> cell * axis.output_size // axis.input_size)
        holders.stop = <ptrdiff_t> (
            (<int128_t> (last + 1) * axis.output_size + axis.input_size - 1) // axis.input_size)
    else:
        holders.first = max(
            ceil_divide(cell + axis.pad_begin - (axis.kernel_size - 1) * axis.dilation, axis.stride), 0)
        holders.stop = min((last + axis.pad_begin) // axis.stride + 1, axis.output_size)
    return holders


cdef inline bint holds(const axis_t* axis, ptrdiff_t output, ptrdiff_t cell) noexcept nogil:
    return axis.adaptive or (cell + axis.pad_begin - output * axis.stride) % axis.dilation == 0


cdef inline ptrdiff_t gradient_segment(const plan_t* plan) noexcept nogil:
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t cells = max(4096 // max(1, plan.inner), 4 * (axis.kernel_size - 1) * axis.dilation)
    if axis.adaptive:
        # Windows hold few neighbours of a segment, so that long segments save little, and rows of networks are whole.
        cells = ADAPTIVE_CELLS // max(1, plan.inner) // max(1, ceil_divide(axis.output_size, axis.input_size))
    return max(1, min(cells, axis.input_size))


cdef inline ptrdiff_t gradient_scratch(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Bytes for one thread: a row of gradients, their sum over rows, and the spread row with its margins."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t cells = gradient_segment(plan)
    cdef ptrdiff_t margin = 0 if axis.adaptive else (axis.kernel_size - 1) * axis.dilation + axis.stride
    cdef ptrdiff_t outputs = (cells + margin) // axis.stride + 2
    if axis.adaptive:
        outputs = <ptrdiff_t> (<int128_t> cells * axis.output_size // axis.input_size) + 3
    outputs = min(outputs, axis.output_size)
    return (2 * outputs + cells + 2 * margin) * plan.inner * leaves.sum.value


cdef void spread_row(
    const plan_t* plan, const gradient_t* leaves, char* dst, ptrdiff_t cell, ptrdiff_t cells, ptrdiff_t begin,
    const char* src, const holders_t* holders,
) noexcept nogil:
    """Add each output's share to the cells of its window; `dst` begins at input cell `begin`."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t size = leaves.sum.value
    cdef ptrdiff_t outputs = holders.stop - holders.first
    cdef ptrdiff_t t, o, start, stop, x
    cdef window_t window
    if axis.adaptive or (axis.dilation == 1 and axis.kernel_size > outputs):
        for o in range(outputs):
            window = window_of(axis, holders.first + o)
            start = max(window.first, cell)
            stop = min(window.first + window.count, cell + cells)
            if inner == 1:
                leaves.add_run(dst + (start - begin) * size, src + o * size, stop - start)
            else:
                for x in range(start, stop):
                    leaves.add_spread(dst + (x - begin) * inner * size, src + o * inner * size, inner, 1)
        return
    for t in range(axis.kernel_size):
        start = holders.first * axis.stride - axis.pad_begin + t * axis.dilation - begin
        if inner == 1 or axis.stride == 1:
            leaves.add_spread(dst + start * inner * size, src, outputs * inner, axis.stride)
        else:
            for o in range(outputs):
                leaves.add_spread(
                    dst + (start + o * axis.stride) * inner * size, src + o * inner * size, inner, 1)


cdef ptrdiff_t spread_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make rows begin to end of the average's gradient."""
    cdef const spreading_t* pooling = <const spreading_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t size = leaves.sum.value
    cdef ptrdiff_t segment = gradient_segment(plan)
    cdef ptrdiff_t segments = ceil_divide(axis.input_size, segment)
    cdef ptrdiff_t task, rest, cell, cells, d, h, od, oh, outputs, first_cell, stop_cell
    cdef holders_t depths, heights, holders
    cdef window_t depth, height
    cdef bint any_row
    cdef char* one
    cdef char* summed
    cdef char* row
    cdef const char* src
    for task in range(begin, end):
        cell = task % segments * segment
        cells = min(segment, axis.input_size - cell)
        rest = task // segments
        h = rest % height_axis.input_size
        rest //= height_axis.input_size
        d = rest % depth_axis.input_size
        rest //= depth_axis.input_size
        holders = holders_of(axis, cell, cells)
        depths = holders_of(depth_axis, d, 1)
        heights = holders_of(height_axis, h, 1)
        outputs = max(holders.stop - holders.first, 0)
        first_cell = cell
        stop_cell = cell + cells
        if not axis.adaptive and outputs:
            first_cell = min(cell, holders.first * axis.stride - axis.pad_begin)
            stop_cell = max(stop_cell, (holders.stop - 1) * axis.stride - axis.pad_begin
                            + (axis.kernel_size - 1) * axis.dilation + 1)
        one = scratch
        summed = one + outputs * inner * size
        row = summed + outputs * inner * size
        leaves.sum.identity(row, (stop_cell - first_cell) * inner, NULL)
        any_row = False
        for od in range(depths.first, depths.stop if outputs else depths.first):
            if not holds(depth_axis, od, d):
                continue
            depth = window_of(depth_axis, od)
            for oh in range(heights.first, heights.stop):
                if not holds(height_axis, oh, h):
                    continue
                if is_stopped(scratch, outputs * inner):
                    return -1
                height = window_of(height_axis, oh)
                src = pooling.grad_output + (
                    (((rest * depth_axis.output_size + od) * height_axis.output_size + oh) * axis.output_size
                     + holders.first) * inner) * leaves.sum.storage
                if leaves.sum.load == NULL:
                    leaves.sum.across(one, src, 0, 1, outputs * inner, 1, 1, 0, 0, False, NULL)
                else:
                    leaves.sum.load(one, src, outputs * inner)
                divide_row(plan, &leaves.sum, one, holders.first, outputs,
                           <double> depth.divisor * <double> height.divisor)
                leaves.sum.across(summed, one, 0, 1, outputs * inner, 1, 1, 0, 0, any_row, NULL)
                any_row = True
        if any_row:
            spread_row(plan, leaves, row, cell, cells, first_cell, summed, &holders)
        row += (cell - first_cell) * inner * size
        # Dividing by 1 makes every NaN the same one.
        leaves.sum.divide(row, cells * inner, 1)
        src = row
        row = pooling.grad_input + task_offset(plan, task, segment, segments) * leaves.sum.storage
        if leaves.sum.store == NULL:
            memcpy(row, src, cells * inner * size)
        else:
            leaves.sum.store(row, src, cells * inner)
    return -1


cdef inline ptrdiff_t sheaf_before(const plan_t* plan) noexcept nogil:
    """Zeros in front of the summed rows: the taps of the first windows that are not there."""
    return round_up(plan.axes[2].kernel_size // plan.axes[2].stride + 1, 16)


cdef inline ptrdiff_t sheaf_scratch(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Bytes for one thread: gradients as they are summed, their sums over rows, those of each phase, and woven."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t stacked = plan.sheaf.stacked
    cdef ptrdiff_t summed = stacked * height.input_size * plan.sheaf.width
    cdef ptrdiff_t cells = sheaf_before(plan) + summed * (1 + 2 * width.stride) + 2 * PIECE
    if leaves.sum.load != NULL:
        cells += stacked * height.output_size * width.output_size
    return cells * leaves.sum.value


cdef ptrdiff_t spread_planes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make planes begin to end of the average's gradient, a stack at a time."""
    cdef const spreading_t* pooling = <const spreading_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = &pooling.leaves.sum
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t size = leaves.value
    cdef ptrdiff_t stacked = plan.sheaf.stacked
    cdef ptrdiff_t sums_row = plan.sheaf.width
    cdef ptrdiff_t sums = stacked * height.input_size * sums_row
    cdef ptrdiff_t pooled = height.output_size * width.output_size
    cdef ptrdiff_t in_row = width.input_size * leaves.storage
    cdef char* summed = scratch + sheaf_before(plan) * size
    cdef char* phases = summed + sums * size
    cdef char* woven = phases + sums * width.stride * size
    cdef char* converted = woven + (sums * width.stride + 2 * PIECE) * size
    cdef const char* gradients
    cdef const char* line
    cdef char* stored
    cdef char* out
    cdef ptrdiff_t plane, count, rows, h, p, phase, taps, n
    cdef holders_t holders
    leaves.identity(scratch, sheaf_before(plan) + sums, NULL)
    plane = begin
    while plane < end:
        count = min(stacked, end - plane)
        rows = count * height.input_size
        n = rows * sums_row
        if is_stopped(scratch, n * (height.kernel_size + width.kernel_size + width.stride)):
            return -1

        gradients = pooling.grad_output + plane * pooled * leaves.storage
        if leaves.load != NULL:
            leaves.load(converted, gradients, count * pooled)
            gradients = converted
        for h in range(height.input_size):
            holders = holders_of(height, h, 1)
            if holders.stop > holders.first:
                leaves.across(
                    summed + h * sums_row * size, gradients + holders.first * width.output_size * size,
                    width.output_size, holders.stop - holders.first, width.output_size, 1, count,
                    height.input_size * sums_row, pooled, False, NULL)
            else:
                for p in range(count):
                    leaves.identity(
                        summed + (p * height.input_size + h) * sums_row * size, width.output_size, NULL)
        for phase in range(width.stride):
            # Taps that fall on cells of this phase; those of the windows before come first.
            taps = ceil_divide(width.kernel_size - phase, width.stride) if phase < width.kernel_size else 0
            if taps > 0:
                leaves.across(
                    phases + phase * sums * size, summed - (taps - 1) * size, 1, taps, n, 1, 1, 0, 0, False, NULL)
            else:
                leaves.identity(phases + phase * sums * size, n, NULL)
        line = phases
        if width.stride > 1:
            pooling.leaves.weave(woven, phases, sums, n, width.stride)
            line = woven
        leaves.divide(<char*> line, n * width.stride, plan.divisor)
        out = pooling.grad_input + plane * height.input_size * in_row
        if leaves.store != NULL:
            # As a whole, in long loops; rows are copied out afterwards where they are not one behind the other.
            stored = phases if line == woven else woven
            if sums_row * width.stride == width.input_size:
                stored = out
            leaves.store(stored, line, n * width.stride)
            line = stored
        if line != out:
            # Nothing may be written behind the last row; another thread may have made it.
            copy_rows(
                out, in_row, line + width.pad_begin * leaves.storage, sums_row * width.stride * leaves.storage, in_row,
                rows, NULL, PIECE // in_row + 1)
        plane += count
    return -1


cdef enum:
    # Divisors that are laid out: of a plane, or of a row where planes are larger.
    DIVISORS = 4096


cdef struct divisors_t:
    bint any_empty
    double each[4096]
    float each32[4096]


cdef inline ptrdiff_t divided_together(const plan_t* plan) noexcept nogil:
    """Rows that are divided as one task."""
    return max(1, BLOCK // max(1, plan.axes[2].output_size * plan.inner))


cdef inline double divisor_of_row(const plan_t* plan, ptrdiff_t row) noexcept nogil:
    """Taps that count of the windows of a row, on the first two axes."""
    cdef ptrdiff_t height = plan.axes[1].output_size
    return <double> window_of(&plan.axes[1], row % height).divisor * <double> (
        window_of(&plan.axes[0], row // height % plan.axes[0].output_size).divisor)


cdef void lay_divisors(const plan_t* plan, divisors_t* divisors, ptrdiff_t row, ptrdiff_t rows) noexcept nogil:
    """Lay out the divisors of some rows."""
    cdef ptrdiff_t width = plan.axes[2].output_size
    cdef ptrdiff_t r, o
    cdef double of_row, divisor
    divisors.any_empty = False
    for r in range(rows):
        of_row = divisor_of_row(plan, row + r)
        for o in range(width):
            divisor = of_row * <double> window_of(&plan.axes[2], o).divisor
            divisors.any_empty |= divisor == 0
            divisors.each[r * width + o] = divisor
            divisors.each32[r * width + o] = <float> divisor


cdef void divide_places(
    const quotients_t* division, divisors_t* divisors, ptrdiff_t row, ptrdiff_t stop
) noexcept nogil:
    """Divide rows that are no longer than divisors are laid out for, each cell by that of its window."""
    cdef const plan_t* plan = division.plan
    cdef const leaves_t* leaves = division.leaves
    cdef ptrdiff_t width = plan.axes[2].output_size
    cdef ptrdiff_t rows = plan.axes[0].output_size * plan.axes[1].output_size
    cdef bint whole = rows * width <= DIVISORS
    cdef ptrdiff_t at, n, x
    cdef double of_row
    cdef double laid = -1
    cdef char* out
    if whole:
        lay_divisors(plan, divisors, 0, rows)
    while row < stop:
        n = 1
        at = 0
        if whole:
            at = row % rows
            n = min(rows - at, stop - row)
        else:
            of_row = divisor_of_row(plan, row)
            if of_row != laid:
                lay_divisors(plan, divisors, row, 1)
                laid = of_row
        out = division.dst + row * width * leaves.value
        memcpy(out, division.src + row * width * leaves.value, n * width * leaves.value)
        leaves.divide_each(out, divisors.each + at * width, divisors.each32 + at * width, n * width)
        if divisors.any_empty:
            for x in range(n * width):
                if divisors.each[at * width + x] == 0:
                    leaves.identity(out + x * leaves.value, 1, NULL)
        row += n


cdef ptrdiff_t divide_cells(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Divide blocks begin to end of rows by the divisors of their windows; a window that counts nothing gives zeros."""
    cdef const quotients_t* division = <const quotients_t*> job
    cdef const plan_t* plan = division.plan
    cdef const leaves_t* leaves = division.leaves
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t cells = axis.output_size * plan.inner
    cdef ptrdiff_t together = divided_together(plan)
    cdef ptrdiff_t row, o
    cdef double of_rows
    cdef char* out
    if plan.inner == 1 and axis.output_size <= DIVISORS:
        divide_places(division, <divisors_t*> scratch, begin * together, min(end * together, division.rows))
        return -1
    for row in range(begin * together, min(end * together, division.rows)):
        out = division.dst + row * cells * leaves.value
        of_rows = divisor_of_row(plan, row)
        if of_rows == 0:
            leaves.identity(out, cells, NULL)
            continue
        memcpy(out, division.src + row * cells * leaves.value, cells * leaves.value)
        divide_row(plan, leaves, out, 0, axis.output_size, of_rows)
        o = 0
        while o < axis.output_size and not axis.adaptive:
            if axis.begin <= o < axis.end:
                o = axis.end
            else:
                if window_of(axis, o).divisor == 0:
                    leaves.identity(out + o * plan.inner * leaves.value, plan.inner, NULL)
                o += 1
    return -1


cdef inline bint is_tiled(const plan_t* plan) noexcept nogil:
    """Whether every cell lies in exactly one window, so that a gradient is written to all cells of its own."""
    cdef const axis_t* axis
    cdef int i
    for i in range(3):
        axis = &plan.axes[i]
        if (
            axis.adaptive or axis.dilation > 1 or axis.pad_begin or axis.stride != axis.kernel_size
            or axis.input_size % axis.stride or axis.input_size // axis.stride != axis.output_size
        ):
            return False
    return plan.uniform


cdef inline ptrdiff_t tiled_rows(const plan_t* plan) noexcept nogil:
    """Rows made together: enough for long loops, and few enough for the first-level cache."""
    return max(1, BLOCK // (plan.axes[2].input_size * plan.inner))


cdef inline ptrdiff_t tiled_scratch(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Bytes for one thread: divided gradients, and rows of cells as they are summed and stored."""
    cdef ptrdiff_t cells = plan.axes[2].output_size + 2 * plan.axes[2].input_size
    if has_long_rows(plan):
        return 3 * BLOCK * leaves.sum.value
    return tiled_rows(plan) * cells * plan.inner * leaves.sum.value + 2 * PIECE


cdef enum:
    # Cells of a row that is written in pieces: whole rows would be kept twice.
    LONG_ROW_CELLS = 1 << 14


cdef inline bint has_long_rows(const plan_t* plan) noexcept nogil:
    return plan.axes[2].input_size * plan.inner > LONG_ROW_CELLS


cdef ptrdiff_t spread_long_tiles(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Do the same for long rows: a few gradients, or some values of one, at a time."""
    cdef const spreading_t* pooling = <const spreading_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = &pooling.leaves.sum
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t taps = width.kernel_size
    cdef ptrdiff_t together = max(1, BLOCK // taps) if inner == 1 else 1
    cdef ptrdiff_t slice = min(inner, <ptrdiff_t> BLOCK)
    cdef ptrdiff_t storage = leaves.storage
    cdef ptrdiff_t in_row = width.input_size * inner * storage
    cdef char* divided = scratch
    cdef char* repeated = divided + BLOCK * leaves.value
    cdef char* stored = repeated + BLOCK * leaves.value
    cdef ptrdiff_t row, plane, x, c, d, h, k, count, values, n, piece
    cdef const char* line
    cdef char* out
    for row in range(begin, end):
        plane = row // height.output_size * plan.axes[0].kernel_size
        h = row % height.output_size * height.kernel_size
        x = 0
        while x < width.output_size:
            c = 0
            while c < inner:
                count = min(together, width.output_size - x)
                values = count if inner == 1 else min(slice, inner - c)
                line = pooling.grad_output + ((row * width.output_size + x) * inner + c) * storage
                if leaves.load == NULL:
                    leaves.across(divided, line, 0, 1, values, 1, 1, 0, 0, False, NULL)
                else:
                    leaves.load(divided, line, values)
                leaves.divide(divided, values, plan.divisor)
                line = divided
                # Elements to write one behind the other, and how often.
                n = values
                if inner == 1:
                    piece = min(taps, <ptrdiff_t> BLOCK)
                    n = count * piece
                    pooling.leaves.repeat(repeated, divided, count, piece)
                    line = repeated
                if leaves.store != NULL:
                    leaves.store(stored, line, n)
                    line = stored
                for d in range(plan.axes[0].kernel_size * height.kernel_size):
                    out = pooling.grad_input + (
                        (plane + d // height.kernel_size) * height.input_size + h + d % height.kernel_size) * in_row
                    out += (x * taps * inner + c) * storage
                    if inner > 1:
                        for k in range(taps):
                            memcpy(out + k * inner * storage, line, n * storage)
                    else:
                        k = 0
                        while k < count * taps:
                            piece = min(n, count * taps - k)
                            memcpy(out + k * storage, line, piece * storage)
                            k += piece
                c += slice
            x += together
    return -1


cdef ptrdiff_t spread_tiles(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Spread rows begin to end of the gradients over windows that lie side by side."""
    cdef const spreading_t* pooling = <const spreading_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = &pooling.leaves.sum
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t pooled = width.output_size * inner
    cdef ptrdiff_t cells = width.input_size * inner
    cdef ptrdiff_t nbytes = cells * leaves.storage
    cdef ptrdiff_t depths = plan.axes[0].kernel_size
    cdef ptrdiff_t together = tiled_rows(plan)
    cdef bint once = depths == 1 and height.kernel_size == 1
    cdef char* divided = scratch
    cdef char* repeated = divided + together * pooled * leaves.value
    cdef char* stored = repeated + together * cells * leaves.value
    cdef const char* src
    cdef const char* line
    cdef char* out
    cdef char* target
    cdef ptrdiff_t row, rows, plane, h, d, x, y, exact
    row = begin
    while row < end:
        rows = min(together, end - row)
        if is_stopped(scratch, rows * cells * depths * height.kernel_size):
            return -1
        src = pooling.grad_output + row * pooled * leaves.storage
        if leaves.load == NULL:
            leaves.across(divided, src, 0, 1, rows * pooled, 1, 1, 0, 0, False, NULL)
        else:
            leaves.load(divided, src, rows * pooled)
        leaves.divide(divided, rows * pooled, plan.divisor)
        target = repeated
        if once and leaves.store == NULL:
            target = pooling.grad_input + row * nbytes
        if inner == 1:
            pooling.leaves.repeat(target, divided, rows * pooled, width.kernel_size)
        else:
            for x in range(rows * width.output_size):
                leaves.across(
                    target + x * width.kernel_size * inner * leaves.value, divided + x * inner * leaves.value, 0, 1,
                    inner, 1, width.kernel_size, inner, 0, False, NULL)
        line = target
        if leaves.store != NULL:
            line = pooling.grad_input + row * nbytes if once else stored
            leaves.store(<char*> line, target, rows * cells)
        for y in range(0 if once else rows):
            plane = (row + y) // height.output_size
            h = (row + y) % height.output_size
            # A piece may reach into the rows that are written next; behind those of another plane or thread it may not.
            exact = height.kernel_size
            if depths == 1 and y + PIECE // nbytes + 1 < rows:
                exact = 0
            for d in range(depths):
                out = pooling.grad_input + (
                    (plane * depths + d) * height.input_size + h * height.kernel_size) * nbytes
                copy_rows(out, nbytes, line + y * nbytes, 0, nbytes, height.kernel_size, NULL, exact)
        row += rows
    return -1


cdef inline ptrdiff_t task_offset(
    const plan_t* plan, ptrdiff_t task, ptrdiff_t segment, ptrdiff_t segments
) noexcept nogil:
    return (task // segments * plan.axes[2].input_size + task % segments * segment) * plan.inner


cdef inline ptrdiff_t plane_cells(const plan_t* plan) noexcept nogil:
    return plan.axes[0].input_size * plan.axes[1].input_size * plan.axes[2].input_size * plan.inner


cdef inline ptrdiff_t found_together(const plan_t* plan) noexcept nogil:
    """Most indices that are found in one go."""
    if plan.pieces.stacked:
        return plan.pieces.stacked * plan.pieces.rows * plan.axes[2].output_size
    return plan.segment * plan.inner


cdef inline ptrdiff_t scatter_scratch(
    const plan_t* plan, const gradient_t* leaves, const contest_t* contest, ptrdiff_t parts
) noexcept nogil:
    """Bytes for one thread: indices found together, and where gradients are stored narrower than they are summed, their
    gradients converted and the sums of a part of a plane."""
    cdef ptrdiff_t found = max(found_together(plan), plan.segment * plan.inner)
    cdef ptrdiff_t nbytes = round_up(found * 8, 64) + round_up(indexed_scratch(plan, contest), 64)
    cdef ptrdiff_t size = plan.axes[cut_axis(plan)].input_size
    if leaves.sum.load != NULL:
        nbytes += round_up((found + plane_cells(plan) // size * ceil_divide(size, parts)) * leaves.sum.value, 64)
    return nbytes


cdef ptrdiff_t scatter_stacks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Find the winners of planes begin to end again, and send the gradients there."""
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const contest_t* contest = pooling.contest
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t per_plane = plan.axes[0].output_size * plan.pieces.bands
    cdef ptrdiff_t found_size = found_together(plan)
    cdef int64_t* found = <int64_t*> scratch
    cdef char* contest_memory = scratch + round_up(found_size * 8, 64)
    cdef char* converted = contest_memory + round_up(indexed_scratch(plan, contest), 64)
    cdef char* sums = converted + found_size * leaves.sum.value
    cdef ptrdiff_t piece = begin * per_plane
    cdef const char* gradient = pooling.grad_output + (
        begin * plan.axes[0].output_size * height.output_size * plan.axes[2].output_size * size)
    cdef const char* values
    cdef const int64_t* index
    cdef ptrdiff_t count, p, n, plane
    start_pieces(plan, contest, contest_memory)
    while piece < end * per_plane:
        count = min(plan.pieces.stacked, end * per_plane - piece)
        if is_stopped(scratch, found_size * plan.axes[0].kernel_size * (height.kernel_size + plan.axes[2].kernel_size)):
            return -1
        contest_pieces(plan, contest, pooling.input, NULL, found, contest_memory, piece, count)
        index = found
        for p in range(piece, piece + count):
            plane = p // per_plane
            if leaves.sum.load == NULL:
                sums = pooling.grad_input + plane * elements * size
            if p % per_plane == 0:
                memset(sums, 0, elements * leaves.sum.value)
            n = min(
                plan.pieces.rows, height.output_size - p % plan.pieces.bands * plan.pieces.rows
            ) * plan.axes[2].output_size
            values = gradient
            if leaves.sum.load != NULL:
                leaves.sum.load(converted, gradient, n)
                values = converted
            leaves.scatter(sums, values, index, n, 1, 1, 0, elements, False, False)
            if leaves.sum.load != NULL and p % per_plane == per_plane - 1:
                leaves.sum.store(pooling.grad_input + plane * elements * size, sums, elements)
            gradient += n * size
            index += n
        piece += count
    return -1


cdef inline int cut_axis(const plan_t* plan) noexcept nogil:
    """The axis across which a plane is cut."""
    if plan.axes[0].input_size > 1:
        return 0
    return 1 if plan.axes[1].input_size > 1 else 2


cdef inline ptrdiff_t parts_of(
    const plan_t* plan, const gradient_t* leaves, const int64_t* indices
) noexcept nogil:
    """Parts of a plane that are made apart, so that few planes are work for several threads, and wide sums take no more
    than so many bytes.

    Winners near a cut are found for both sides.
    """
    cdef const axis_t* axis = &plan.axes[cut_axis(plan)]
    cdef ptrdiff_t parts = 1
    if indices == NULL and plan.outer < MANY_PLANES and cut_axis(plan) < 2:
        parts = max(1, min(<ptrdiff_t> MANY_PLANES, axis.input_size // (4 * axis.kernel_size) // axis.dilation))
    if leaves.sum.load != NULL:
        parts = max(parts, ceil_divide(plane_cells(plan) * leaves.sum.value, SUMS_BYTES))
    return max(1, min(parts, axis.input_size))


cdef inline ptrdiff_t stray(
    const int64_t* index, ptrdiff_t n, int64_t first, int64_t stop, bint skip
) noexcept nogil:
    """Return the position of the first index outside, or -1; with `skip`, -1 is never outside."""
    cdef ptrdiff_t x
    cdef bint any_outside = False
    for x in range(n):
        any_outside |= <uint64_t> (index[x] - first) >= <uint64_t> (stop - first)
    if any_outside:
        for x in range(n):
            if not first <= index[x] < stop and not (skip and index[x] == -1):
                return x
    return -1


cdef inline bint has_empty_windows(const plan_t* plan) noexcept nogil:
    return plan.axes[0].has_empty or plan.axes[1].has_empty or plan.axes[2].has_empty


cdef ptrdiff_t check_indices(const void* job, char* _scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Look for the first index of output rows begin to end that names no element of its plane, or, with `local`, of
    the rows of its window."""
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* cut = &plan.axes[cut_axis(plan)]
    cdef ptrdiff_t slab = plane_cells(plan) // plan.inner // cut.input_size
    cdef ptrdiff_t width = plan.axes[2].output_size
    cdef bint skip = has_empty_windows(plan)
    cdef ptrdiff_t task, row, first, output, last, bad
    cdef ptrdiff_t start = 0
    cdef ptrdiff_t stop = cut.input_size
    cdef window_t window
    for task in range(begin, end):
        row = task // plan.segments
        first = task % plan.segments * plan.segment
        last = min(first + plan.segment, width) - 1
        if pooling.local:
            output = first
            if cut_axis(plan) < 2:
                output = row % plan.axes[1].output_size
                if cut_axis(plan) == 0:
                    output = row // plan.axes[1].output_size % plan.axes[0].output_size
            start = window_of(cut, output).first
            window = window_of(cut, last if cut_axis(plan) == 2 else output)
            stop = max(window.first + (window.count - 1) * cut.dilation + 1, start)
        bad = stray(
            pooling.indices + (row * width + first) * plan.inner, (last - first + 1) * plan.inner, start * slab,
            stop * slab, skip)
        if bad >= 0:
            return (row * width + first) * plan.inner + bad
    return -1


cdef ptrdiff_t scatter_planes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Send each gradient to the element that its index names, for parts begin to end of planes.

    Returns the position of the first index that names no element, or -1.
    """
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const contest_t* contest = pooling.contest
    cdef const axis_t* cut = &plan.axes[cut_axis(plan)]
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t slab = elements // cut.input_size
    cdef ptrdiff_t parts = pooling.parts
    cdef ptrdiff_t at, n, task, bad, part, first, cells, d, h, segment, first_segment, stop_segment
    cdef int64_t* found = <int64_t*> scratch
    cdef char* contest_memory = scratch + round_up(plan.segment * inner * 8, 64)
    cdef char* converted = contest_memory + round_up(indexed_scratch(plan, contest), 64)
    cdef char* sums = converted + plan.segment * inner * leaves.sum.value
    cdef char* target
    cdef const int64_t* index
    cdef const char* gradient
    cdef row_t row
    cdef holders_t depths, heights, held
    # Of planes in parts, indices have been checked before.
    cdef bint checked = pooling.indices != NULL and parts == 1
    cdef bint empty_windows = has_empty_windows(plan)
    # Neighbours then share their winner more often than not.
    cdef bint in_runs = not checked and inner <= RUN_CHANNELS and span_of(&plan.axes[2]) >= (
        RUN_OVERLAP * plan.axes[2].stride)
    for task in range(begin, end):
        row.outer = task // parts
        part = task % parts
        first = part * cut.input_size // parts
        cells = (part + 1) * cut.input_size // parts - first
        depths.first = heights.first = 0
        depths.stop = plan.axes[0].output_size
        heights.stop = plan.axes[1].output_size
        first_segment = 0
        stop_segment = plan.segments
        if parts > 1 and pooling.local:
            held = holders_of(cut, first, cells)
            if cut_axis(plan) == 0:
                depths = held
            elif cut_axis(plan) == 1:
                heights = held
            else:
                first_segment = held.first // plan.segment
                stop_segment = ceil_divide(held.stop, plan.segment)
        first *= slab
        cells *= slab
        target = pooling.grad_input + (row.outer * elements + first) * size
        if leaves.sum.load == NULL:
            sums = target
        memset(sums, 0, cells * leaves.sum.value)
        for d in range(depths.first, depths.stop):
            for h in range(heights.first, heights.stop):
                for segment in range(first_segment, stop_segment):
                    row.d, row.h, row.segment = d, h, segment
                    n = min(plan.segment, plan.axes[2].output_size - row.segment * plan.segment) * inner
                    if is_stopped(scratch, 4 * n if pooling.indices != NULL else steps_of(plan, n)):
                        return -1
                    at = output_offset(plan, &row)
                    if pooling.indices == NULL:
                        index = found
                        contest_row(plan, contest, pooling.input, &row, NULL, found, contest_memory)
                    else:
                        index = pooling.indices + at
                    gradient = pooling.grad_output + at * size
                    if leaves.sum.load != NULL:
                        leaves.sum.load(converted, gradient, n)
                        gradient = converted
                    if in_runs:
                        leaves.scatter_runs(
                            sums, gradient, index, n, inner, inner, first // inner, cells // inner)
                        continue
                    bad = leaves.scatter(
                        sums, gradient, index, n, inner, inner, first // inner, cells // inner, checked, empty_windows)
                    if bad >= 0:
                        return at + bad
        if leaves.sum.load != NULL:
            leaves.sum.store(target, sums, cells)
    return -1


cdef inline ptrdiff_t parts_of_long(
    const plan_t* plan, const gradient_t* leaves, const long_t* sizes
) noexcept nogil:
    """Parts of a plane that are made apart. Those of a row are much longer than a window, since the windows that reach
    across a cut are searched for both sides."""
    cdef ptrdiff_t cell
    if not sizes.one_axis:
        return parts_of(plan, leaves, NULL)
    if leaves.sum.load == NULL or sizes.rows > 1:
        return 1
    cell = plan.inner * leaves.sum.value
    return max(1, ceil_divide(
        plane_cells(plan) * leaves.sum.value, max(<ptrdiff_t> SUMS_BYTES, 4 * sizes.spans[2] * cell)))


cdef inline ptrdiff_t scatter_long_scratch(
    const plan_t* plan, const gradient_t* leaves, const contest_t* contest, const long_t* sizes
) noexcept nogil:
    """Bytes for one thread: indices found together; what finding them takes; a row of gradients; and, where gradients
    are stored narrower than they are summed, the sums of planes."""
    cdef ptrdiff_t nbytes = round_up(found_cells(plan, sizes) * 8, 64) + round_up(
        long_scratch(plan, contest, sizes), 64)
    nbytes += round_up(sizes.together * sizes.channels * leaves.sum.value, 64)
    cdef ptrdiff_t size = plan.axes[cut_axis(plan)].input_size
    if leaves.sum.load != NULL:
        nbytes += (plane_cells(plan) // size * ceil_divide(size, parts_of_long(plan, leaves, sizes))
                   * (sizes.rows if sizes.one_axis else 1) * leaves.sum.value)
    return nbytes


cdef inline ptrdiff_t scatter_long_tasks(
    const plan_t* plan, const gradient_t* leaves, const long_t* sizes
) noexcept nogil:
    return ceil_divide(plan.outer, sizes.rows if sizes.one_axis else 1) * parts_of_long(plan, leaves, sizes)


cdef ptrdiff_t scatter_long(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Find the winners of long windows again, for parts begin to end of planes, and send the gradients there."""
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const axis_t* cut = &plan.axes[cut_axis(plan)]
    cdef long_t sizes = lay_long(plan, pooling.contest, True)
    cdef search_t search
    cdef tile_t* tile = &search.tile
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t slab = elements // cut.input_size
    cdef ptrdiff_t parts = parts_of_long(plan, leaves, &sizes)
    cdef int64_t* found = <int64_t*> scratch
    cdef char* memory = scratch + round_up(found_cells(plan, &sizes) * 8, 64)
    cdef char* converted = memory + round_up(long_scratch(plan, pooling.contest, &sizes), 64)
    cdef char* own_sums = converted + round_up(sizes.together * sizes.channels * leaves.sum.value, 64)
    cdef ptrdiff_t out_row = plan.axes[2].output_size
    cdef ptrdiff_t task, part, first, cells, outers, outer, channel, column, columns, nbytes, r, d, h, x, n, at, rows
    cdef ptrdiff_t first_column, stop_column
    cdef char* sums
    cdef char* target
    cdef const char* gradient
    cdef const int64_t* index
    cdef holders_t depths, heights, held
    memset(&search, 0, sizeof(search))
    search.plan = plan
    search.contest = pooling.contest
    search.src = pooling.input
    search.scratch = scratch
    start_search(&search, &sizes, memory, &nbytes)
    # Neighbours then share their winner more often than not, and cells of one channel lie near each other.
    cdef bint in_runs = sizes.channels <= RUN_CHANNELS and sizes.spans[2] >= RUN_OVERLAP * plan.axes[2].stride
    for task in range(begin, end):
        outer = task // parts * (sizes.rows if sizes.one_axis else 1)
        outers = min(sizes.rows, plan.outer - outer) if sizes.one_axis else 1
        part = task % parts
        first = part * cut.input_size // parts
        cells = (part + 1) * cut.input_size // parts - first
        depths.first = heights.first = 0
        depths.stop = plan.axes[0].output_size
        heights.stop = plan.axes[1].output_size
        first_column = 0
        stop_column = out_row
        if parts > 1:
            held = holders_of(cut, first, cells)
            if cut_axis(plan) == 0:
                depths = held
            elif cut_axis(plan) == 1:
                heights = held
            else:
                first_column = held.first // sizes.together * sizes.together
                stop_column = held.stop
        first *= slab
        cells *= slab
        target = pooling.grad_input + (outer * elements + first) * size
        sums = target if leaves.sum.load == NULL else own_sums
        memset(sums, 0, outers * cells * leaves.sum.value)
        tile.outer = outer
        for channel in range(sizes.chunks):
            tile.depth = depths.first
            while tile.depth < depths.stop:
                tile.depths = min(sizes.outputs[0], depths.stop - tile.depth)
                tile.row = heights.first
                while tile.row < heights.stop:
                    tile.rows = min(sizes.outputs[1], heights.stop - tile.row)
                    rows = outers if sizes.one_axis else tile.depths * tile.rows
                    column = first_column
                    while column < stop_column:
                        columns = min(sizes.together, out_row - column)
                        # All tiles of a row, or one tile of a longer row.
                        for x in range(column // sizes.outputs[2], ceil_divide(column + columns, sizes.outputs[2])):
                            cut_tile(&search, channel, x)
                            search.sink.of_cell = tile.channels
                            search.sink.of_row = columns * tile.channels
                            search.sink.of_depth = tile.rows * search.sink.of_row
                            if sizes.one_axis:
                                search.sink.indices = found - column * tile.channels
                                find_rows(&search, outer, outers, 1)
                            else:
                                search.sink.indices = found - (
                                    tile.depth * search.sink.of_depth + tile.row * search.sink.of_row
                                    + column * tile.channels)
                                find_tile(&search)
                        # A search that stopped has left some indices unwritten.
                        if is_stopped(scratch, 32 * rows * columns * tile.channels):
                            return -1
                        n = columns * tile.channels
                        index = found
                        for r in range(rows):
                            d = tile.depth + r // tile.rows
                            h = tile.row + r % tile.rows
                            at = 0
                            if sizes.one_axis:
                                at = r * cells
                                d = r
                                h = 0
                            gradient = pooling.grad_output + (
                                (((outer * plan.axes[0].output_size + d) * plan.axes[1].output_size + h) * out_row
                                 + column) * inner + tile.channel) * size
                            if leaves.sum.load != NULL or tile.channels < inner:
                                for x in range(1 if tile.channels == inner else columns):
                                    copy_gradients(
                                        leaves, converted + x * tile.channels * leaves.sum.value,
                                        gradient + x * inner * size,
                                        n if tile.channels == inner else tile.channels)
                                gradient = converted
                            if in_runs:
                                leaves.scatter_runs(
                                    sums + (at + tile.channel) * leaves.sum.value, gradient, index, n, inner,
                                    tile.channels, first // inner, cells // inner)
                            else:
                                leaves.scatter(
                                    sums + (at + tile.channel) * leaves.sum.value, gradient, index, n, inner,
                                    tile.channels, first // inner, cells // inner, False, False)
                            index += n
                        column += columns
                    tile.row += tile.rows
                tile.depth += tile.depths
        if leaves.sum.load != NULL:
            leaves.sum.store(target, sums, outers * cells)
    return -1


cdef inline void copy_gradients(const gradient_t* leaves, char* dst, const char* src, ptrdiff_t n) noexcept nogil:
    if leaves.sum.load != NULL:
        leaves.sum.load(dst, src, n)
    else:
        memcpy(dst, src, n * leaves.sum.value)
