# Gradients of means: themselves a pooling. Each input row gathers the output rows whose windows cover it, so rows are
# independent.

cdef struct spreading_t:
    const plan_t* plan
    const gradient_t* leaves
    const char* grad_output
    char* grad_input


cdef struct quotients_t:
    const plan_t* plan
    const leaves_t* leaves
    const char* src
    char* dst
    # Rows of the last axis altogether.
    ptrdiff_t rows


cdef struct covering_t:
    # The outputs whose windows may hold an input cell; with dilation, not all of them do.
    ptrdiff_t first, stop


cdef inline covering_t windows_covering(const axis_t* axis, ptrdiff_t cell, ptrdiff_t cells) noexcept nogil:
    """Outputs that `cells` neighbouring input cells belong to."""
    cdef covering_t covering
    cdef ptrdiff_t last = cell + cells - 1
    if axis.adaptive:
        # From floor(cell * O / I) to ceil((last + 1) * O / I), as windows lie over cells.
        covering.first = <ptrdiff_t> (<int128_t> cell * axis.output_size // axis.input_size)
        covering.stop = <ptrdiff_t> (
            (<int128_t> (last + 1) * axis.output_size + axis.input_size - 1) // axis.input_size)
    else:
        covering.first = max(
            ceil_divide(cell + axis.pad_begin - (axis.kernel_size - 1) * axis.dilation, axis.stride), 0)
        covering.stop = min((last + axis.pad_begin) // axis.stride + 1, axis.output_size)
    return covering


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
    const char* src, const covering_t* covering,
) noexcept nogil:
    """Add each output's share to the cells of its window; `dst` begins at input cell `begin`."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t size = leaves.sum.value
    cdef ptrdiff_t outputs = covering.stop - covering.first
    cdef ptrdiff_t t, o, start, stop, x
    cdef window_t window
    if axis.adaptive or (axis.dilation == 1 and axis.kernel_size > outputs):
        for o in range(outputs):
            window = window_of(axis, covering.first + o)
            start = max(window.first, cell)
            stop = min(window.first + window.count, cell + cells)
            if inner == 1:
                leaves.add_run(dst + (start - begin) * size, src + o * size, stop - start)
            else:
                for x in range(start, stop):
                    leaves.add_spread(dst + (x - begin) * inner * size, src + o * inner * size, inner, 1)
        return
    for t in range(axis.kernel_size):
        start = covering.first * axis.stride - axis.pad_begin + t * axis.dilation - begin
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
    cdef covering_t depths, heights, covering
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
        covering = windows_covering(axis, cell, cells)
        depths = windows_covering(depth_axis, d, 1)
        heights = windows_covering(height_axis, h, 1)
        outputs = max(covering.stop - covering.first, 0)
        first_cell = cell
        stop_cell = cell + cells
        if not axis.adaptive and outputs:
            first_cell = min(cell, covering.first * axis.stride - axis.pad_begin)
            stop_cell = max(stop_cell, (covering.stop - 1) * axis.stride - axis.pad_begin
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
                     + covering.first) * inner) * leaves.sum.storage
                if leaves.sum.load == NULL:
                    leaves.sum.across(one, src, 0, 1, outputs * inner, 1, 1, 0, 0, False, NULL)
                else:
                    leaves.sum.load(one, src, outputs * inner)
                divide_row(plan, &leaves.sum, one, covering.first, outputs,
                           <double> depth.divisor * <double> height.divisor)
                leaves.sum.across(summed, one, 0, 1, outputs * inner, 1, 1, 0, 0, any_row, NULL)
                any_row = True
        if any_row:
            spread_row(plan, leaves, row, cell, cells, first_cell, summed, &covering)
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


cdef inline ptrdiff_t gradient_stack_before(const plan_t* plan) noexcept nogil:
    """Zeros in front of the summed rows: the taps of the first windows that are not there."""
    return round_up(plan.axes[2].kernel_size // plan.axes[2].stride + 1, 16)


cdef inline ptrdiff_t gradient_stack_scratch(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Bytes for one thread: gradients as they are summed, their sums over rows, of each phase, and interleaved."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t stacked = plan.gradient_stack.stacked
    cdef ptrdiff_t summed = stacked * height.input_size * plan.gradient_stack.width
    cdef ptrdiff_t cells = gradient_stack_before(plan) + summed * (1 + 2 * width.stride) + 2 * PIECE
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
    cdef ptrdiff_t stacked = plan.gradient_stack.stacked
    cdef ptrdiff_t sums_row = plan.gradient_stack.width
    cdef ptrdiff_t sums = stacked * height.input_size * sums_row
    cdef ptrdiff_t pooled = height.output_size * width.output_size
    cdef ptrdiff_t in_row = width.input_size * leaves.storage
    cdef char* summed = scratch + gradient_stack_before(plan) * size
    cdef char* phases = summed + sums * size
    cdef char* interleaved = phases + sums * width.stride * size
    cdef char* converted = interleaved + (sums * width.stride + 2 * PIECE) * size
    cdef const char* gradients
    cdef const char* line
    cdef char* stored
    cdef char* out
    cdef ptrdiff_t plane, count, rows, h, p, phase, taps, n
    cdef covering_t covering
    leaves.identity(scratch, gradient_stack_before(plan) + sums, NULL)
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
            covering = windows_covering(height, h, 1)
            if covering.stop > covering.first:
                leaves.across(
                    summed + h * sums_row * size, gradients + covering.first * width.output_size * size,
                    width.output_size, covering.stop - covering.first, width.output_size, 1, count,
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
            pooling.leaves.interleave(interleaved, phases, sums, n, width.stride)
            line = interleaved
        leaves.divide(<char*> line, n * width.stride, plan.divisor)
        out = pooling.grad_input + plane * height.input_size * in_row
        if leaves.store != NULL:
            # As a whole, in long loops; rows are copied out afterwards where they are not one behind the other.
            stored = phases if line == interleaved else interleaved
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


cdef bint spread_long_tiles_fits(const call_t* call) noexcept nogil:
    return is_tiled(call.plan) and has_long_rows(call.plan)


cdef bint spread_tiles_fits(const call_t* call) noexcept nogil:
    return is_tiled(call.plan)


cdef ptrdiff_t spread_tiles_tasks(const call_t* call) noexcept nogil:
    return rows_of_output(call.plan)


cdef ptrdiff_t spread_tiles_bytes(const call_t* call) noexcept nogil:
    return tiled_scratch(call.plan, call.gradient)


cdef bint spread_planes_fits(const call_t* call) noexcept nogil:
    return call.plan.gradient_stack.stacked


cdef ptrdiff_t spread_planes_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer


cdef ptrdiff_t spread_planes_bytes(const call_t* call) noexcept nogil:
    return gradient_stack_scratch(call.plan, call.gradient)


cdef ptrdiff_t spread_rows_tasks(const call_t* call) noexcept nogil:
    cdef const axis_t* axis = &call.plan.axes[2]
    return (
        call.plan.outer * call.plan.axes[0].input_size * call.plan.axes[1].input_size
        * ceil_divide(axis.input_size, gradient_segment(call.plan)))


cdef ptrdiff_t spread_rows_bytes(const call_t* call) noexcept nogil:
    return gradient_scratch(call.plan, call.gradient)
