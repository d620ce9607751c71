# Forward pooling with indices. The taps of a window are compared one after another, in row-major order; the argmax is
# remembered as its offset from the window's first tap, which fits 32 bits in all but absurd planes.


cdef struct indexed_t:
    const plan_t* plan
    const argmax_t* argmax
    const char* src
    char* dst
    int64_t* indices


cdef inline ptrdiff_t indexed_scratch(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    if plan.pieces.stacked:
        return pieces_scratch(plan, argmax)
    return (
        (plan.span * argmax.value + plan.segment * (argmax.value + 24)) * plan.inner
        + (argmax.value + <ptrdiff_t> sizeof(int32_t)) * ARGMAX_LANES + 64
        + (2 * plan.segment * plan.inner * argmax.value if picks_taps(plan, argmax) else 0))


cdef inline bint picks_taps(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Whether the taps of neighbouring windows are laid side by side before they are compared.

    Pixels of few channels that lie apart are no work for vectors: 2 x 2 over RGB took 23 times as long as the maximum.
    """
    return 1 < plan.inner <= FEW_CHANNELS and plan.axes[2].stride > 1 and not plan.axes[2].adaptive and (
        not argmax.wide)


cdef inline bint pads_rows(
    const plan_t* plan, const argmax_t* argmax, ptrdiff_t output, ptrdiff_t outputs
) noexcept nogil:
    """Whether so many windows of a row that are cut off at its ends are laid out with their padding.

    One by one, 2 x 8 over 28 x 8 pixels of three channels took 130 times as long as the maximum.
    """
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t whole = max(min(axis.end, output + outputs) - max(axis.begin, output), 0)
    return plan.inner <= FEW_CHANNELS and not axis.adaptive and not argmax.wide and 8 * (outputs - whole) > outputs


cdef inline void start_offsets(offset_t* where, const plan_t* plan, ptrdiff_t output, ptrdiff_t outputs,
                               ptrdiff_t of_row) noexcept nogil:
    """Let the first valid element of each window hold its place."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef window_t window
    cdef ptrdiff_t o, c
    # All first, and then those that are not whole: a question for each took half of the time of long rows.
    for c in range(outputs * plan.inner):
        where[c] = <offset_t> of_row
    o = 0
    while o < outputs:
        if axis.begin <= output + o < axis.end:
            o = axis.end - output
            continue
        window = window_of(axis, output + o)
        for c in range(plan.inner):
            where[o * plan.inner + c] = <offset_t> (of_row + window.first - origin_of(axis, output + o, &window))
        o += 1


cdef inline void name_pixels(
    int64_t* index, const int32_t* where, ptrdiff_t n, ptrdiff_t step, ptrdiff_t base, const ptrdiff_t inner
) noexcept nogil:
    """Do as `name_places` with pixels of `inner` channels."""
    cdef ptrdiff_t o, c
    for o in range(n):
        for c in range(inner):
            index[o * inner + c] = base + where[o * inner + c]
        base += step


cdef inline void offsets_to_indices(int64_t* index, const offset_t* where, const plan_t* plan, ptrdiff_t output,
                                    ptrdiff_t outputs, ptrdiff_t of_row) noexcept nogil:
    cdef const axis_t* axis = &plan.axes[2]
    cdef window_t window
    cdef ptrdiff_t o, c, base
    if offset_t is int32_t and plan.inner <= FEW_CHANNELS and not axis.adaptive:
        base = of_row + output * axis.stride - axis.pad_begin
        if plan.inner == 1:
            name_places(index, where, outputs, axis.stride, base)
        elif plan.inner == 2:
            name_pixels(index, where, outputs, axis.stride, base, 2)
        elif plan.inner == 3:
            name_pixels(index, where, outputs, axis.stride, base, 3)
        elif plan.inner == 4:
            name_pixels(index, where, outputs, axis.stride, base, 4)
        else:
            name_pixels(index, where, outputs, axis.stride, base, plan.inner)
    else:
        for o in range(outputs):
            window = window_of(axis, output + o)
            base = of_row + origin_of(axis, output + o, &window)
            if offset_t is int32_t:
                name_places(index + o * plan.inner, where + o * plan.inner, plan.inner, 0, base)
            else:
                for c in range(plan.inner):
                    index[o * plan.inner + c] = base + where[o * plan.inner + c]
    if axis.has_empty:
        for o in range(outputs):
            if window_of(axis, output + o).count == 0:
                for c in range(plan.inner):
                    index[o * plan.inner + c] = -1


cdef inline void store_row(const argmax_t* argmax, char* out, const char* row, ptrdiff_t n) noexcept nogil:
    if argmax.store != NULL:
        argmax.store(out, row, n)
    else:
        memcpy(out, row, n * argmax.value)


cdef inline void argmax_run(
    const argmax_t* argmax, char* best, char* where, const char* src, const taps_t* taps, int64_t here,
    ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t inner,
) noexcept nogil:
    """Compare the taps of neighbouring windows in one row with the best so far."""
    cdef ptrdiff_t n = inner
    cdef ptrdiff_t rows = outputs
    cdef ptrdiff_t step = 1
    cdef ptrdiff_t t, o
    if inner == 1 or stride == 1:
        n = outputs * inner
        rows = 1
        step = stride
    if not argmax.wide:
        argmax.across(best, where, src, NULL, taps, here, n, step, rows, inner, stride * inner, True, NULL)
        return
    for t in range(taps.count):
        for o in range(rows):
            argmax.take_wide(
                best + o * inner * argmax.value, where + o * inner * sizeof(int64_t),
                src + (o * stride + t * taps.apart) * inner * argmax.value, here + t * taps.place, n, step, NULL)


cdef inline void pick_blocks(
    char* dst, const char* src, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t size, const ptrdiff_t block
) noexcept nogil:
    """Copy with every pixel what lies behind it, up to a block; the next pixel is then written over that."""
    cdef ptrdiff_t x
    for x in range(n - 1):
        memcpy(dst + x * size, src + x * apart * size, block)
    memcpy(dst + (n - 1) * size, src + (n - 1) * apart * size, size)


cdef inline void pick_pixels(char* dst, const char* src, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t size) noexcept nogil:
    """Copy n pixels of so many bytes, of which there are `apart`, two at least, from one to the next."""
    # The constants make moves of copies.
    if size <= 2:
        pick_blocks(dst, src, n, apart, size, 2)
    elif size <= 4:
        pick_blocks(dst, src, n, apart, size, 4)
    elif size <= 8:
        pick_blocks(dst, src, n, apart, size, 8)
    elif size <= 16:
        pick_blocks(dst, src, n, apart, size, 16)
    elif size <= 32:
        pick_blocks(dst, src, n, apart, size, 32)
    elif size <= 64:
        pick_blocks(dst, src, n, apart, size, 64)
    else:
        pick_blocks(dst, src, n, apart, size, size)


cdef inline void argmax_picked(
    const argmax_t* argmax, char* best, char* where, const char* src, const taps_t* taps, int64_t here,
    ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t inner, char* picked,
) noexcept nogil:
    """Do as `argmax_run`, with two taps at a time laid side by side in `picked`."""
    cdef ptrdiff_t n = outputs * inner
    cdef ptrdiff_t size = inner * argmax.value
    cdef ptrdiff_t t = 0
    cdef ptrdiff_t i
    cdef taps_t few = taps[0]
    few.apart = 1
    few.row = n
    while t < taps.count:
        few.count = min(<ptrdiff_t> 2, taps.count - t)
        for i in range(few.count):
            pick_pixels(picked + i * outputs * size, src + (t + i) * taps.apart * size, outputs, stride, size)
        argmax.across(best, where, picked, NULL, &few, here + t * taps.place, n, 1, 1, n, n, True, NULL)
        t += few.count


cdef void argmax_apart(
    const plan_t* plan, const argmax_t* argmax, const char* src, const row_t* row, char* out, int64_t* index,
    char* scratch,
) noexcept nogil:
    """Do as `argmax_row` with windows that lie apart, one after another: every so many taps are compared among
    themselves, and their argmaxes in the end.

    A tap at a time, windows of 512 x 512 took forty times as long as the maximum alone.
    """
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t size = argmax.value
    cdef int32_t* where = <int32_t*> scratch
    cdef char* best = scratch + ARGMAX_LANES * sizeof(int32_t)
    cdef char* results = best + ARGMAX_LANES * size
    cdef char* converted = results + plan.segment * size
    cdef window_t depth = window_of(depth_axis, row.d)
    cdef window_t height = window_of(height_axis, row.h)
    cdef window_t window
    cdef ptrdiff_t output = row.segment * plan.segment
    cdef ptrdiff_t outputs = min(plan.segment, axis.output_size - output)
    cdef ptrdiff_t o, d, h, i, lanes, steps, tail, cell, first, here
    cdef const char* line
    cdef taps_t one, taps
    one.ways = one.row = one.count = 1
    one.way = one.apart = one.place = 0
    taps = one
    for o in range(outputs):
        window = window_of(axis, output + o)
        if depth.count == 0 or height.count == 0 or window.count == 0:
            argmax.empty(results + o * size, 1, NULL)
            index[o] = -1
            continue
        lanes = min(<ptrdiff_t> ARGMAX_LANES, window.count)
        steps = window.count // lanes
        tail = window.count - steps * lanes
        taps.count = steps
        taps.apart = taps.place = lanes
        first = (depth.first * height_axis.input_size + height.first) * axis.input_size + window.first
        for d in range(depth.count):
            for h in range(height.count):
                cell = ((depth.first + d * depth_axis.dilation) * height_axis.input_size
                        + height.first + h * height_axis.dilation) * axis.input_size + window.first
                line = src + (
                    row.outer * depth_axis.input_size * height_axis.input_size * axis.input_size + cell
                ) * argmax.storage
                if argmax.load != NULL:
                    argmax.load(converted, line, window.count)
                    line = converted
                here = cell - first
                argmax.across(best, where, line, NULL, &taps, here, lanes, 1, 1, 0, 0, d + h > 0, NULL)
                if tail:
                    argmax.across(
                        best, where, line + steps * lanes * size, NULL, &one, here + steps * lanes, tail, 1, 1, 0, 0,
                        True, NULL)
        for i in range(lanes):
            where[i] += <int32_t> i
        # The first of equals wins: of two, the one with the lower place goes first.
        for i in range(1, lanes):
            if where[i] < where[0]:
                argmax.across(best + i * size, where + i, best, where, &one, 0, 1, 1, 1, 0, 0, True, NULL)
                memcpy(best, best + i * size, size)
                where[0] = where[i]
            else:
                argmax.across(best, where, best + i * size, where + i, &one, 0, 1, 1, 1, 0, 0, True, NULL)
        memcpy(results + o * size, best, size)
        index[o] = first + where[0]
    if out != NULL:
        store_row(argmax, out, results, outputs)


cdef void argmax_row(
    const plan_t* plan, const argmax_t* argmax, const char* src, const row_t* row, char* out, int64_t* index,
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
    cdef char* converted = best + plan.segment * inner * argmax.value
    cdef char* where = converted + plan.span * inner * argmax.value
    cdef window_t depth = window_of(depth_axis, row.d)
    cdef window_t height = window_of(height_axis, row.h)
    cdef window_t window
    cdef ptrdiff_t depth_origin = origin_of(depth_axis, row.d, &depth)
    cdef ptrdiff_t height_origin = origin_of(height_axis, row.h, &height)
    cdef ptrdiff_t plane_row = axis.input_size
    cdef ptrdiff_t d, h, o, n, offset, cell, touched
    cdef const char* line
    cdef taps_t taps
    cdef int64_t* names
    cdef ptrdiff_t where_size = 8 if argmax.wide else 4
    if plan.apart and not argmax.wide:
        argmax_apart(plan, argmax, src, row, out, index, scratch)
        return
    # Offsets are 8-byte aligned whatever the sizes before them.
    where = <char*> ((<size_t> where + 7) & ~<size_t> 7)
    cdef bint picks = picks_taps(plan, argmax)
    cdef ptrdiff_t here
    cdef const char* first
    cdef char* picked = where + 16 * plan.segment * inner
    if depth.count == 0 or height.count == 0:
        if out != NULL:
            argmax.empty(best, outputs * inner, NULL)
            store_row(argmax, out, best, outputs * inner)
        for o in range(outputs * inner):
            index[o] = -1
        return
    argmax.identity(best, outputs * inner, NULL)
    offset = ((depth.first - depth_origin) * height_axis.input_size + height.first - height_origin) * plane_row
    if argmax.wide:
        start_offsets(<int64_t*> where, plan, output, outputs, offset)
    else:
        start_offsets(<int32_t*> where, plan, output, outputs, offset)
    taps.apart = taps.place = axis.dilation
    taps.ways = 1
    taps.row = inner
    taps.way = 0
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
    cdef ptrdiff_t front = 0
    cdef bint padded = pads_rows(plan, argmax, output, outputs)
    if padded:
        # Padding is no better than the best so far, which is the same and in the place of an element.
        touched = max(touched, 0)
        front = cell + axis.pad_begin - output * axis.stride
        n = (outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
        front = min(front, n)
        argmax.identity(converted, front * inner, NULL)
        argmax.identity(converted + (front + touched) * inner * argmax.value, (n - front - touched) * inner, NULL)
    for d in range(depth.count):
        for h in range(height.count):
            line = src + (
                ((row.outer * depth_axis.input_size + depth.first + d * depth_axis.dilation) * height_axis.input_size
                 + height.first + h * height_axis.dilation) * in_row + cell * inner) * argmax.storage
            if argmax.load != NULL:
                argmax.load(converted + front * inner * argmax.value, line, touched * inner)
                line = converted
            elif padded:
                memcpy(converted + front * inner * argmax.value, line, touched * inner * argmax.value)
                line = converted
            offset = ((depth.first + d * depth_axis.dilation - depth_origin) * height_axis.input_size
                      + height.first + h * height_axis.dilation - height_origin) * plane_row
            o = 0
            while o < outputs:
                # Whole windows together, others one by one.
                window = window_of(axis, output + o)
                n = 1
                here = offset + window.first - origin_of(axis, output + o, &window)
                first = line + (window.first - cell) * inner * argmax.value
                taps.count = window.count
                if padded:
                    n = outputs
                    here = offset
                    first = line
                    taps.count = axis.kernel_size
                elif axis.begin <= output + o < axis.end:
                    n = min(outputs, axis.end - output) - o
                if n > 1 and picks:
                    argmax_picked(
                        argmax, best + o * inner * argmax.value, where + o * inner * where_size, first, &taps, here,
                        n, axis.stride, inner, picked)
                else:
                    argmax_run(
                        argmax, best + o * inner * argmax.value, where + o * inner * where_size, first, &taps, here,
                        n, axis.stride, inner)
                o += n
    offset = (depth_origin * height_axis.input_size + height_origin) * plane_row
    names = <int64_t*> (where + 8 * outputs * inner) if argmax.streams else index
    if argmax.wide:
        offsets_to_indices(names, <int64_t*> where, plan, output, outputs, offset)
    else:
        offsets_to_indices(names, <int32_t*> where, plan, output, outputs, offset)
    if argmax.streams:
        stream(index, names, outputs * inner * sizeof(int64_t))
    if out != NULL:
        if axis.has_empty:
            for o in range(outputs):
                if window_of(axis, output + o).count == 0:
                    argmax.empty(best + o * inner * argmax.value, inner, NULL)
        store_row(argmax, out, best, outputs * inner)


cdef ptrdiff_t argmax_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make bands begin to end, with their indices."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const argmax_t* argmax = pooling.argmax
    cdef row_t row = row_of(plan, begin)
    cdef row_t line
    cdef ptrdiff_t task, at
    for task in range(begin, end):
        line = row
        while line.h < min(row.h + plan.band, plan.axes[1].output_size):
            if is_stopped(scratch, steps_of(plan, plan.segment * plan.inner)):
                return -1
            at = output_offset(plan, &line)
            argmax_row(
                plan, argmax, pooling.src, &line, pooling.dst + at * argmax.storage, pooling.indices + at, scratch)
            line.h += 1
        advance(plan, &row)
    finish_streams()
    return -1


cdef bint argmax_apart_fits(const call_t* call) noexcept nogil:
    return call.plan.apart


cdef ptrdiff_t argmax_rows_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * bands_of(call.plan)


cdef ptrdiff_t argmax_rows_bytes(const call_t* call) noexcept nogil:
    return indexed_scratch(call.plan, call.argmax)
