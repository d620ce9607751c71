# Forward pooling that also says which element won. The taps of a window compete one after another, in row-major order;
# the winner is remembered as its offset from the window's first tap, which fits 32 bits in all but absurd planes.

ctypedef void (*take_fn)(
    void* best, void* where, const void* src, int64_t here, ptrdiff_t n, ptrdiff_t step, void* reducer
) noexcept nogil


cdef struct contest_t:
    ptrdiff_t storage, value
    convert_fn load, store
    take_fn take, take_wide
    fill_fn identity, empty
    # Whether offsets need 64 bits.
    bint wide


cdef struct indexed_t:
    const plan_t* plan
    const contest_t* contest
    const char* src
    char* dst
    int64_t* indices


cdef inline ptrdiff_t indexed_scratch(const plan_t* plan, const contest_t* contest) noexcept nogil:
    return (plan.span * contest.value + plan.segment * (contest.value + 16)) * plan.inner + 64


cdef inline void start_offsets(offset_t* where, const plan_t* plan, ptrdiff_t output, ptrdiff_t outputs,
                               ptrdiff_t of_row) noexcept nogil:
    """Let the first valid element of each window hold its place."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef window_t window
    cdef ptrdiff_t o, c, offset
    for o in range(outputs):
        offset = of_row
        if not axis.begin <= output + o < axis.end:
            window = window_of(axis, output + o)
            offset += window.first - origin_of(axis, output + o, &window)
        for c in range(plan.inner):
            where[o * plan.inner + c] = <offset_t> offset


cdef inline void offsets_to_indices(int64_t* index, const offset_t* where, const plan_t* plan, ptrdiff_t output,
                                    ptrdiff_t outputs, ptrdiff_t of_row) noexcept nogil:
    cdef const axis_t* axis = &plan.axes[2]
    cdef window_t window
    cdef ptrdiff_t o, c, base
    if plan.inner == 1 and not axis.adaptive:
        for o in range(outputs):
            index[o] = of_row + (output + o) * axis.stride - axis.pad_begin + where[o]
    else:
        for o in range(outputs):
            window = window_of(axis, output + o)
            base = of_row + origin_of(axis, output + o, &window)
            for c in range(plan.inner):
                index[o * plan.inner + c] = base + where[o * plan.inner + c]
    if axis.has_empty:
        for o in range(outputs):
            if window_of(axis, output + o).count == 0:
                for c in range(plan.inner):
                    index[o * plan.inner + c] = -1


cdef inline void store_row(const contest_t* contest, char* out, const char* row, ptrdiff_t n) noexcept nogil:
    if contest.store != NULL:
        contest.store(out, row, n)
    else:
        memcpy(out, row, n * contest.value)


cdef void contest_row(
    const plan_t* plan, const contest_t* contest, const char* src, const row_t* row, char* out, int64_t* index,
    char* scratch,
) noexcept nogil:
    """Make one output row and its indices; `out` may be NULL."""
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t in_row = axis.input_size * inner
    cdef ptrdiff_t output = row.segment * plan.segment
    cdef ptrdiff_t outputs = min(plan.segment, axis.output_size - output)
    cdef char* best = scratch
    cdef char* converted = best + plan.segment * inner * contest.value
    cdef char* where = converted + plan.span * inner * contest.value
    cdef window_t depth = window_of(depth_axis, row.d)
    cdef window_t height = window_of(height_axis, row.h)
    cdef window_t window
    cdef ptrdiff_t depth_origin = origin_of(depth_axis, row.d, &depth)
    cdef ptrdiff_t height_origin = origin_of(height_axis, row.h, &height)
    cdef ptrdiff_t plane_row = axis.input_size
    cdef ptrdiff_t d, h, t, o, offset, cell, touched, tap, first_output, stop
    cdef const char* line
    cdef take_fn take_tap = contest.take_wide if contest.wide else contest.take
    cdef ptrdiff_t where_size = 8 if contest.wide else 4
    # Offsets are 8-byte aligned whatever the sizes before them.
    where = <char*> ((<size_t> where + 7) & ~<size_t> 7)
    if depth.count == 0 or height.count == 0:
        if out != NULL:
            contest.empty(best, outputs * inner, NULL)
            store_row(contest, out, best, outputs * inner)
        for o in range(outputs * inner):
            index[o] = -1
        return
    contest.identity(best, outputs * inner, NULL)
    offset = ((depth.first - depth_origin) * height_axis.input_size + height.first - height_origin) * plane_row
    if contest.wide:
        start_offsets(<int64_t*> where, plan, output, outputs, offset)
    else:
        start_offsets(<int32_t*> where, plan, output, outputs, offset)
    # Input cells that this row can touch.
    if axis.adaptive:
        cell = window_of(axis, output).first
        window = window_of(axis, output + outputs - 1)
        touched = window.first + window.count - cell
    else:
        cell = max(output * axis.stride - axis.pad_begin, 0)
        touched = min(
            (output + outputs - 1) * axis.stride - axis.pad_begin + (axis.kernel_size - 1) * axis.dilation + 1,
            axis.input_size) - cell
    for d in range(depth.count):
        for h in range(height.count):
            line = src + (
                ((row.outer * depth_axis.input_size + depth.first + d * depth_axis.dilation) * height_axis.input_size
                 + height.first + h * height_axis.dilation) * in_row + cell * inner) * contest.storage
            if contest.load != NULL:
                contest.load(converted, line, touched * inner)
                line = converted
            offset = ((depth.first + d * depth_axis.dilation - depth_origin) * height_axis.input_size
                      + height.first + h * height_axis.dilation - height_origin) * plane_row
            if axis.adaptive:
                for o in range(outputs):
                    window = window_of(axis, output + o)
                    for t in range(window.count):
                        take_tap(
                            best + o * inner * contest.value, where + o * inner * where_size,
                            line + (window.first + t - cell) * inner * contest.value, offset + t, inner, 1, NULL)
                continue
            for t in range(axis.kernel_size):
                # Outputs whose tap t lies inside the input.
                first_output = max(output, ceil_divide(axis.pad_begin - t * axis.dilation, axis.stride))
                stop = min(
                    output + outputs,
                    ceil_divide(axis.input_size + axis.pad_begin - t * axis.dilation, axis.stride))
                if first_output >= stop:
                    continue
                o = first_output - output
                tap = first_output * axis.stride - axis.pad_begin + t * axis.dilation - cell
                if inner == 1 or axis.stride == 1:
                    take_tap(
                        best + o * inner * contest.value, where + o * inner * where_size,
                        line + tap * inner * contest.value, offset + t * axis.dilation,
                        (stop - first_output) * inner, axis.stride if inner == 1 else 1, NULL)
                else:
                    for o in range(first_output - output, stop - output):
                        take_tap(
                            best + o * inner * contest.value, where + o * inner * where_size,
                            line + tap * inner * contest.value, offset + t * axis.dilation, inner, 1, NULL)
                        tap += axis.stride
    offset = (depth_origin * height_axis.input_size + height_origin) * plane_row
    if contest.wide:
        offsets_to_indices(index, <int64_t*> where, plan, output, outputs, offset)
    else:
        offsets_to_indices(index, <int32_t*> where, plan, output, outputs, offset)
    if out != NULL:
        if axis.has_empty:
            for o in range(outputs):
                if window_of(axis, output + o).count == 0:
                    contest.empty(best + o * inner * contest.value, inner, NULL)
        store_row(contest, out, best, outputs * inner)


cdef ptrdiff_t contest_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make bands begin to end, with their indices."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const contest_t* contest = pooling.contest
    cdef row_t row = row_of(plan, begin)
    cdef row_t line
    cdef ptrdiff_t task, at
    for task in range(begin, end):
        line = row
        while line.h < min(row.h + plan.band, plan.axes[1].output_size):
            at = output_offset(plan, &line)
            contest_row(
                plan, contest, pooling.src, &line, pooling.dst + at * contest.storage, pooling.indices + at, scratch)
            line.h += 1
        advance(plan, &row)
    return -1
