# Forward pooling without indices: for a band of output rows, the rows of each window are combined into one, and windows
# slide along those. The nest below knows bytes and leaves, no types.

cdef struct forward_t:
    const plan_t* plan
    const leaves_t* leaves
    # Those that combine the rows of whole windows: narrower ones where that loses nothing.
    const leaves_t* rows
    const char* src
    char* dst
    # Whether bands fetch the rows of the next ones, and write past the caches.
    bint fetches, streams
    # How means of integers are rounded, and one of `KINDS`.
    int rounding, kind


cdef inline bint widens_late(const plan_t* plan) noexcept nogil:
    """Whether sums over rows may be in float where those over windows have to be in double."""
    cdef ptrdiff_t taps = plan.axes[1].kernel_size
    cdef ptrdiff_t roundings = 0
    while taps >= 4:
        # A rung is a tree of four; what is left beside it is added.
        roundings += 2 + (taps % 4 > 0)
        taps >>= 2
    roundings += taps - 1
    return climbs_rows(plan) and climbs(&plan.axes[2]) and roundings <= ROUNDINGS_OF_ROWS


cdef inline bint slides_down(const plan_t* plan) noexcept nogil:
    """Whether windows slide from row to row one by one, so that a band reads few rows that those before have not.

    With larger steps processors fetch well enough: 3 x 3 s2 over 103 MB took 7.7 ms of one thread, and 11.1 with rows
    fetched ahead.
    """
    cdef const axis_t* axis = &plan.axes[1]
    return axis.stride == 1 and axis.kernel_size > 1 and not axis.adaptive


cdef inline bint skips_down(const plan_t* plan) noexcept nogil:
    """Whether windows lie one below the other, so that a band reads none of the rows of the one before.

    Two rows read at a time are what processors take for neither one stream nor two: 2 x 2 over 64 x 224 x 224 doubles
    took 1.5 ms of one thread, and with rows fetched ahead 0.8.
    """
    cdef const axis_t* axis = &plan.axes[1]
    return plan.inner == 1 and not axis.adaptive and axis.output_size > 1 and (
        1 < axis.stride <= 4 and axis.kernel_size <= axis.stride)


cdef inline bint climbs_now(const plan_t* plan, const window_t* height, ptrdiff_t rows) noexcept nogil:
    """Whether so many windows, like this one, are worth a ladder."""
    cdef const axis_t* axis = &plan.axes[1]
    return climbs_rows(plan) and height.count == axis.kernel_size and 2 * rows * axis.stride >= axis.kernel_size


cdef inline ptrdiff_t bands_scratch(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Bytes of scratch memory for one thread."""
    return (bands_cells(plan) + (most_converted(plan) if leaves.across_stored == NULL else 0)) * leaves.value


cdef inline ptrdiff_t most_converted(const plan_t* plan) noexcept nogil:
    """Values of the rows under the windows of a band, which are converted together unless they are too many."""
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t cells = min(rows_spanned(height, plan.band), plan.band * height.kernel_size) * plan.span * plan.inner
    return cells if cells <= CONVERTED_CELLS else 0


cdef void reduce_runs(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* row, ptrdiff_t row_cell, ptrdiff_t output,
    ptrdiff_t outputs, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t values_row, bint stored, char* block,
) noexcept nogil:
    """Reduce the windows of rows run by run; a stored row is converted block by block on the way."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t size = leaves.storage if stored else leaves.value
    cdef along_fn along = leaves.along_stored if stored else leaves.along
    cdef across_fn across = leaves.across_stored if stored else leaves.across
    cdef ptrdiff_t o, y
    cdef window_t window
    cdef const char* src
    if axis.adaptive and across != NULL:
        for o in range(outputs):
            window = window_of(axis, output + o)
            src = row + (window.first - row_cell) * plan.inner * size
            if plan.inner == 1 and window.count >= LANES:
                along(dst, src, rows, values_row, window.count, dst_row, False, NULL)
            else:
                across(
                    dst, src, plan.inner, window.count, plan.inner, 1, rows, dst_row, values_row, False, NULL)
            dst += plan.inner * leaves.value
        return
    if not axis.adaptive and along != NULL:
        # The rows have the padding's identities in them, so every window is whole.
        if outputs == 1:
            along(dst, row, rows, values_row, axis.kernel_size, dst_row, False, NULL)
        else:
            for o in range(rows):
                along(
                    dst + o * dst_row * leaves.value, row + o * values_row * size, outputs, axis.stride,
                    axis.kernel_size, 1, False, NULL)
        return
    for y in range(rows):
        reduce_row(
            plan, leaves, dst + y * dst_row * leaves.value, row + y * values_row * size, row_cell, output, outputs,
            stored, block)


cdef void reduce_row(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* row, ptrdiff_t row_cell, ptrdiff_t output,
    ptrdiff_t outputs, bint stored, char* block,
) noexcept nogil:
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t size = leaves.storage if stored else leaves.value
    cdef along_fn along = leaves.along_stored if stored else leaves.along
    cdef across_fn across = leaves.across_stored if stored else leaves.across
    cdef ptrdiff_t o, i, n
    cdef window_t window
    cdef const char* src
    for o in range(outputs):
        window = window_of(axis, output + o)
        if not axis.adaptive:
            window.first = (output + o) * axis.stride - axis.pad_begin
            window.count = axis.kernel_size
        src = row + (window.first - row_cell) * plan.inner * size
        if plan.inner > 1:
            across(dst, src, plan.inner, window.count, plan.inner, 1, 1, 0, 0, False, NULL)
        elif along != NULL:
            along(dst, src, 1, 0, window.count, 1, False, NULL)
        else:
            i = 0
            while i < window.count:
                n = min(window.count - i, <ptrdiff_t> BLOCK)
                leaves.load(block, src + i * size, n)
                leaves.along(dst, block, 1, 0, n, 1, i > 0, NULL)
                i += n
        dst += plan.inner * leaves.value


cdef void slide_far(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* values, ptrdiff_t outputs, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t values_row, bint stored, char* memory,
) noexcept nogil:
    """Slide long windows along rows, of values or as they are stored."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t apart = axis.dilation * inner
    cdef ptrdiff_t y
    cdef ladder_t ladder
    if inner == 1 or axis.stride == 1:
        climb_cells(&ladder, leaves, values, rows * values_row, axis.kernel_size, apart, values_row, memory, stored)
        join_runs(&ladder, leaves, dst, 0, outputs * inner, axis.stride if inner == 1 else 1, rows, dst_row)
        return
    climb_cells(
        &ladder, leaves, values, rows * values_row, axis.kernel_size, apart, axis.stride * inner, memory, stored)
    for y in range(rows):
        # The outputs of a row are the rows of this call.
        join_runs(&ladder, leaves, dst + y * dst_row * leaves.value, y * values_row, inner, 1, outputs, inner)


cdef void slide(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* values, ptrdiff_t outputs, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t values_row, bint stored,
) noexcept nogil:
    """Slide the windows of a regular axis along rows, of values or as they are stored."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t taps = axis.kernel_size
    cdef ptrdiff_t apart = axis.dilation * inner
    cdef ptrdiff_t size = leaves.storage if stored else leaves.value
    cdef across_fn across = leaves.across_stored if stored else leaves.across
    cdef ptrdiff_t y
    if inner == 1:
        across(dst, values, apart, taps, outputs, axis.stride, rows, dst_row, values_row, False, NULL)
    elif axis.stride == 1:
        across(dst, values, apart, taps, outputs * inner, 1, rows, dst_row, values_row, False, NULL)
    else:
        for y in range(rows):
            # The outputs of a row are the rows of this call.
            across(
                dst + y * dst_row * leaves.value, values + y * values_row * size, apart, taps, inner, 1, outputs,
                inner, axis.stride * inner, False, NULL)


cdef inline bint slides_windows(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Whether rows of long windows are combined as those of strips are: three combinations a window.

    Of sums that is another order, with more roundings.
    """
    cdef const axis_t* axis = &plan.axes[1]
    return leaves.windows != NULL and leaves.overlaps and axis.stride == 1 and axis.dilation == 1 and (
        axis.kernel_size <= MOST_LONG_ROWS)


cdef void slide_windows(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* src, ptrdiff_t n, ptrdiff_t rows,
    ptrdiff_t dst_row, char* memory,
) noexcept nogil:
    """Combine the rows of `rows` whole windows; `src` points at n stored elements of the first row of the first."""
    cdef ptrdiff_t taps = plan.axes[1].kernel_size
    cdef ptrdiff_t in_row = plan.in_row * leaves.storage
    cdef ptrdiff_t row = 0
    cdef ptrdiff_t i, made
    cdef const void* lines[2 * MOST_LONG_ROWS]
    cdef char* ends = memory
    if leaves.load != NULL:
        ends += (rows + taps - 1) * n * leaves.value
        for i in range(rows + taps - 1):
            leaves.load(memory + i * n * leaves.value, src + i * in_row, n)
        src = memory
        in_row = n * leaves.value
    while row < rows:
        made = min(taps, rows - row)
        for i in range(taps - 1 + made):
            lines[i] = src + (row + i) * in_row
        leaves.windows(dst + row * dst_row * leaves.value, dst_row, lines, taps, made, n, ends, NULL)
        row += made


cdef inline bint combines_far(
    const plan_t* plan, const leaves_t* leaves, ptrdiff_t rows, ptrdiff_t taps
) noexcept nogil:
    """Whether a single window is so many rows high that those ahead are worth fetching: few of them are in the caches.

    Processors lose track of four rows that are read side by side: the mean of 8 x 56 x 56 pixels of 224 floats took
    0.86 ms of one thread, and so 0.38.
    """
    return rows == 1 and taps >= FEWEST_FETCHED and leaves.across_stored != NULL and (
        plan.outer * plan.axes[0].input_size * plan.in_plane * leaves.storage > last_level_cache() // CACHE_BY_INDICES)


cdef alone_t combine_far(
    const leaves_t* leaves, char* dst, const char* src, ptrdiff_t n, ptrdiff_t row, ptrdiff_t taps, bint accumulate,
) noexcept nogil:
    """Combine so many rows into one, some at a time: in groups of four, one after another, as the leaf does alone."""
    cdef ptrdiff_t nbytes = n * leaves.storage
    cdef ptrdiff_t together = max(4, 4096 // max(1, nbytes) // 4 * 4)
    cdef ptrdiff_t ahead = max(together, FETCHED_BYTES // max(1, nbytes))
    cdef ptrdiff_t done = 0
    cdef ptrdiff_t count, y
    while done < taps:
        # The last ones have one or more groups of four, too.
        count = taps - done if taps - done < 2 * together else together
        for y in range(done + ahead, done + ahead + count):
            fetch_ahead(src + y * row * leaves.storage, nbytes)
        leaves.across_stored(
            dst, src + done * row * leaves.storage, row, count, n, 1, 1, 0, 0, accumulate or done > 0, NULL)
        done += count


cdef void combine_rows(
    const plan_t* plan, const leaves_t* leaves, char* dst, char* converted, const char* src, ptrdiff_t n,
    const window_t* depth, const window_t* height, ptrdiff_t rows, ptrdiff_t dst_row, char* memory, char* scratch,
) noexcept nogil:
    """Combine the rows of `rows` windows; `src` points at n stored elements of the first row of the first window.

    Behind what bands work in anyway there is room to convert rows.
    """
    cdef ptrdiff_t row = plan.in_row
    cdef ptrdiff_t height_step = plan.axes[1].dilation * row
    cdef ptrdiff_t depth_step = plan.axes[0].dilation * plan.in_plane
    cdef ptrdiff_t src_row = plan.axes[1].stride * row
    cdef const axis_t* axis = &plan.axes[1]
    cdef ptrdiff_t spanned = (rows - 1) * axis.stride + (height.count - 1) * axis.dilation + 1
    cdef ptrdiff_t d, h, y
    cdef char* values
    cdef ladder_t ladder
    if depth.count == 0 or height.count == 0:
        for y in range(rows):
            leaves.empty(dst + y * dst_row * leaves.value, n, NULL)
        return
    if climbs_now(plan, height, rows) and slides_windows(plan, leaves):
        slide_windows(plan, leaves, dst, src, n, rows, dst_row, memory)
        return
    if climbs_now(plan, height, rows):
        climb_rows(&ladder, leaves, src, row, n, rows_spanned(axis, rows), axis, memory)
        join_runs(&ladder, leaves, dst, 0, n, 1, rows, dst_row)
        return
    for d in range(depth.count):
        if is_stopped(scratch, rows * n * height.count):
            return
        if combines_far(plan, leaves, rows, height.count):
            combine_far(leaves, dst, src, n, height_step, height.count, d > 0)
        elif leaves.across_stored != NULL:
            leaves.across_stored(dst, src, height_step, height.count, n, 1, rows, dst_row, src_row, d > 0, NULL)
        elif spanned <= rows * height.count and spanned * n <= most_converted(plan):
            values = scratch + bands_cells(plan) * leaves.value
            if n == row:
                leaves.load(values, src, spanned * n)
            else:
                for y in range(spanned):
                    leaves.load(values + y * n * leaves.value, src + y * row * leaves.storage, n)
            leaves.across(
                dst, values, axis.dilation * n, height.count, n, 1, rows, dst_row, axis.stride * n, d > 0, NULL)
        else:
            for y in range(rows):
                for h in range(height.count):
                    if d == 0 and h == 0:
                        leaves.load(dst + y * dst_row * leaves.value, src + y * src_row * leaves.storage, n)
                    else:
                        leaves.load(converted, src + (y * src_row + h * height_step) * leaves.storage, n)
                        leaves.across(
                            dst + y * dst_row * leaves.value, converted, 0, 1, n, 1, 1, 0, 0, True, NULL)
        src += depth_step * leaves.storage


cdef void divide_row(
    const plan_t* plan, const leaves_t* leaves, char* row, ptrdiff_t output, ptrdiff_t outputs, double of_rows
) noexcept nogil:
    """Divide each sum by the number of taps that count."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t end = output + outputs
    cdef ptrdiff_t n, i
    cdef window_t window
    cdef double divisors[64]
    cdef float divisors32[64]
    if plan.divisor_override == plan.divisor_override:
        leaves.divide(row, outputs * plan.inner, plan.divisor_override)
        return
    while output < end and axis.adaptive and plan.inner == 1:
        n = min(end - output, 64)
        for i in range(n):
            divisors[i] = of_rows * <double> window_of(axis, output + i).divisor
            divisors32[i] = <float> divisors[i]
        leaves.divide_each(row, divisors, divisors32, n)
        row += n * leaves.value
        output += n
    while output < end:
        window = window_of(axis, output)
        n = min(axis.end, end) - output if axis.begin <= output < axis.end else 1
        leaves.divide(row, n * plan.inner, of_rows * <double> window.divisor)
        row += n * plan.inner * leaves.value
        output += n


cdef ptrdiff_t forward_bands(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make bands begin to end; a band is up to `plan.band` output rows of one segment."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t in_row = plan.in_row
    cdef ptrdiff_t out_row = axis.output_size * inner
    cdef bint runs = axis.adaptive or slides_along(axis, inner)
    cdef bint slides = axis.kernel_size > 1 or axis.stride > 1 or axis.adaptive
    cdef bint one_row = depth_axis.kernel_size == 1 and height_axis.kernel_size == 1 and (
        not depth_axis.adaptive and not height_axis.adaptive)
    cdef ptrdiff_t values_row = plan.span * inner
    cdef char* combined = scratch
    cdef char* converted = combined + plan.band * values_row * leaves.value
    cdef char* result = converted + values_row * leaves.value
    cdef char* block = result + plan.band * plan.segment * inner * leaves.value
    cdef char* rungs = block + BLOCK * leaves.value
    cdef bint far = climbs(axis)
    cdef bint direct = leaves.store == NULL and not pooling.streams
    # Of elements some steps apart vectors are made of floats only.
    cdef bint converts_first = inner == 1 and not runs and leaves.storage == 2 and leaves.value == 4 and (
        3 <= axis.stride <= 4 and axis.dilation == 1)
    # Combined rows are then as narrow as stored ones.
    cdef bint late = pooling.rows != leaves
    cdef ptrdiff_t size = pooling.rows.value
    cdef row_t row = row_of(plan, begin)
    cdef ptrdiff_t task, output, outputs, cell, left, right, cells, inside, rows, y, n, o, target_row
    cdef window_t depth, height, window
    cdef const char* plane
    cdef const char* line
    cdef char* out
    cdef char* target
    if plan.segments == 1:
        # The cells of the padding are the same for every band and never written to.
        pooling.rows.identity(combined, plan.band * values_row, NULL)
    for task in range(begin, end):
        output = row.segment * plan.segment
        outputs = min(plan.segment, axis.output_size - output)
        if is_stopped(scratch, plan.band * (plan.span + outputs * axis.kernel_size) * inner):
            return -1
        rows = min(plan.band, height_axis.output_size - row.h)
        out = pooling.dst + output_offset(plan, &row) * leaves.storage
        target = out if direct else result
        target_row = out_row if direct else outputs * inner
        depth = window_of(depth_axis, row.d)
        if axis.adaptive:
            cell = window_of(axis, output).first
            window = window_of(axis, output + outputs - 1)
            cells = window.first + window.count - cell
            left = 0
            right = 0
        else:
            cell = output * axis.stride - axis.pad_begin
            cells = (outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
            left = min(max(-cell, 0), cells)
            right = min(max(cell + cells - axis.input_size, 0), cells - left)
        plane = pooling.src + (
            (row.outer * depth_axis.input_size + depth.first) * plan.in_plane
            + (cell + left) * inner) * leaves.storage
        if pooling.fetches:
            y = (row.h + rows - 1) * height_axis.stride - height_axis.pad_begin + 1 + (
                (height_axis.kernel_size - 1) * height_axis.dilation)
            for y in range(y, y + rows * min(height_axis.stride, 4)):
                fetch_ahead(
                    plane + y * in_row * leaves.storage, (cells - left - right) * inner * leaves.storage)
        if one_row and slides and not far and left + right == 0 and not converts_first and (
            leaves.across_stored != NULL or (runs and inner == 1)
        ):
            # Nothing needs to be done to the rows: read them where they lie.
            line = plane + row.h * height_axis.stride * in_row * leaves.storage
            if runs:
                reduce_runs(
                    plan, leaves, target, line, cell, output, outputs, rows, target_row, height_axis.stride * in_row,
                    True, block)
            else:
                slide(plan, leaves, target, line, outputs, rows, target_row, height_axis.stride * in_row, True)
        else:
            if slides and plan.segments > 1 and left + right:
                for y in range(rows):
                    pooling.rows.identity(combined + y * values_row * size, left * inner, NULL)
                    pooling.rows.identity(
                        combined + (y * values_row + (cells - right) * inner) * size, right * inner, NULL)
            y = 0
            while y < rows:
                # All whole windows at once, the others one by one.
                n = 1
                if height_axis.begin <= row.h + y < height_axis.end:
                    n = min(rows - y, height_axis.end - row.h - y)
                height = window_of(height_axis, row.h + y)
                line = plane + height.first * in_row * leaves.storage
                inside = (cells - left - right) * inner
                if late and not climbs_now(plan, &height, n):
                    # Not enough of them to share roundings.
                    n = 1
                    combine_rows(
                        plan, leaves, converted, NULL, line, inside, &depth, &height, 1, 0, NULL, scratch)
                    leaves.store(combined + (y * values_row + left * inner) * size, converted, inside)
                elif slides:
                    combine_rows(
                        plan, pooling.rows, combined + (y * values_row + left * inner) * size, converted, line,
                        inside, &depth, &height, n, values_row, rungs, scratch)
                else:
                    combine_rows(
                        plan, leaves, target + y * target_row * leaves.value, converted, line, cells * inner, &depth,
                        &height, n, target_row, rungs, scratch)
                y += n
            if runs:
                reduce_runs(
                    plan, leaves, target, combined, cell, output, outputs, rows, target_row, values_row, False, block)
            elif far:
                slide_far(
                    plan, leaves, target, combined, outputs, rows, target_row, values_row, late, rungs)
            elif slides:
                slide(plan, leaves, target, combined, outputs, rows, target_row, values_row, False)
        if axis.has_empty:
            for y in range(rows):
                for o in range(outputs):
                    if window_of(axis, output + o).count == 0:
                        leaves.empty(target + (y * target_row + o * inner) * leaves.value, inner, NULL)
        if plan.average:
            if plan.uniform and target_row == outputs * inner:
                leaves.divide(target, rows * target_row, plan.divisor)
            else:
                for y in range(rows):
                    height = window_of(height_axis, row.h + y)
                    divide_row(
                        plan, leaves, target + y * target_row * leaves.value, output, outputs,
                        <double> (depth.divisor * height.divisor))
            if leaves.settle != NULL:
                leaves.settle(target, rows * target_row, plan.number_divisor)
        # Rows that follow one another are one.
        o = 1 if out_row == target_row else rows
        n = rows // o * target_row
        if leaves.store != NULL:
            for y in range(o):
                leaves.store(out + y * out_row * leaves.storage, result + y * target_row * leaves.value, n)
        elif not direct:
            for y in range(o):
                stream(
                    out + y * out_row * leaves.storage, result + y * target_row * leaves.value, n * leaves.storage)
        advance(plan, &row)
    finish_streams()
    return -1


cdef ptrdiff_t bands_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * bands_of(call.plan)


cdef ptrdiff_t bands_bytes(const call_t* call) noexcept nogil:
    return bands_scratch(call.plan, call.leaves)
