# Forward pooling that also says which element won. The taps of a window compete one after another, in row-major order;
# the winner is remembered as its offset from the window's first tap, which fits 32 bits in all but absurd planes.

ctypedef void (*take_fn)(
    void* best, void* where, const void* src, int64_t here, ptrdiff_t n, ptrdiff_t step, void* reducer
) noexcept nogil
ctypedef void (*contend_fn)(
    void* best, void* where, const void* src, const void* places, const taps_t* taps, int64_t here, ptrdiff_t n,
    ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, void* reducer
) noexcept nogil


cdef struct contest_t:
    ptrdiff_t storage, value
    convert_fn load, store
    contend_fn contend
    take_fn take_wide
    fill_fn identity, empty
    # Whether offsets need 64 bits, and whether indices are streamed.
    bint wide, streams
    # Whether values are held in keys, of which long windows are made, and by what they are turned in them.
    bint keyed
    uint8_t turn


cdef struct indexed_t:
    const plan_t* plan
    const contest_t* contest
    const char* src
    char* dst
    int64_t* indices


cdef inline ptrdiff_t indexed_scratch(const plan_t* plan, const contest_t* contest) noexcept nogil:
    if plan.pieces.stacked:
        return pieces_scratch(plan, contest)
    return (
        (plan.span * contest.value + plan.segment * (contest.value + 24)) * plan.inner
        + (contest.value + <ptrdiff_t> sizeof(int32_t)) * CONTEST_LANES + 64
        + (2 * plan.segment * plan.inner * contest.value if picks_taps(plan, contest) else 0))


cdef inline bint picks_taps(const plan_t* plan, const contest_t* contest) noexcept nogil:
    """Whether the taps of neighbouring windows are laid side by side before they compete.

    Pixels of few channels that lie apart are no work for vectors: 2 x 2 over RGB took 23 times as long as the maximum.
    """
    return 1 < plan.inner <= FEW_CHANNELS and plan.axes[2].stride > 1 and not plan.axes[2].adaptive and (
        not contest.wide)


cdef inline bint pads_rows(
    const plan_t* plan, const contest_t* contest, ptrdiff_t output, ptrdiff_t outputs
) noexcept nogil:
    """Whether so many windows of a row that are cut off at its ends are laid out with their padding.

    One by one, 2 x 8 over 28 x 8 pixels of three channels took 130 times as long as the maximum.
    """
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t whole = max(min(axis.end, output + outputs) - max(axis.begin, output), 0)
    return plan.inner <= FEW_CHANNELS and not axis.adaptive and not contest.wide and 8 * (outputs - whole) > outputs


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


cdef inline void store_row(const contest_t* contest, char* out, const char* row, ptrdiff_t n) noexcept nogil:
    if contest.store != NULL:
        contest.store(out, row, n)
    else:
        memcpy(out, row, n * contest.value)


cdef inline void contend_run(
    const contest_t* contest, char* best, char* where, const char* src, const taps_t* taps, int64_t here,
    ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t inner,
) noexcept nogil:
    """Let the taps of neighbouring windows in one row compete with the best so far."""
    cdef ptrdiff_t n = inner
    cdef ptrdiff_t rows = outputs
    cdef ptrdiff_t step = 1
    cdef ptrdiff_t t, o
    if inner == 1 or stride == 1:
        n = outputs * inner
        rows = 1
        step = stride
    if not contest.wide:
        contest.contend(best, where, src, NULL, taps, here, n, step, rows, inner, stride * inner, True, NULL)
        return
    for t in range(taps.count):
        for o in range(rows):
            contest.take_wide(
                best + o * inner * contest.value, where + o * inner * sizeof(int64_t),
                src + (o * stride + t * taps.apart) * inner * contest.value, here + t * taps.place, n, step, NULL)


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


cdef inline void contend_picked(
    const contest_t* contest, char* best, char* where, const char* src, const taps_t* taps, int64_t here,
    ptrdiff_t outputs, ptrdiff_t stride, ptrdiff_t inner, char* picked,
) noexcept nogil:
    """Do as `contend_run`, with two taps at a time laid side by side in `picked`."""
    cdef ptrdiff_t n = outputs * inner
    cdef ptrdiff_t size = inner * contest.value
    cdef ptrdiff_t t = 0
    cdef ptrdiff_t i
    cdef taps_t few = taps[0]
    few.apart = 1
    few.row = n
    while t < taps.count:
        few.count = min(<ptrdiff_t> 2, taps.count - t)
        for i in range(few.count):
            pick_pixels(picked + i * outputs * size, src + (t + i) * taps.apart * size, outputs, stride, size)
        contest.contend(best, where, picked, NULL, &few, here + t * taps.place, n, 1, 1, n, n, True, NULL)
        t += few.count


cdef void contest_apart(
    const plan_t* plan, const contest_t* contest, const char* src, const row_t* row, char* out, int64_t* index,
    char* scratch,
) noexcept nogil:
    """Do as `contest_row` with windows that lie apart, one after another: every so many taps compete among themselves,
    and the winners of that in the end.

    A tap at a time, windows of 512 x 512 took forty times as long as the maximum alone.
    """
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t size = contest.value
    cdef int32_t* where = <int32_t*> scratch
    cdef char* best = scratch + CONTEST_LANES * sizeof(int32_t)
    cdef char* results = best + CONTEST_LANES * size
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
            contest.empty(results + o * size, 1, NULL)
            index[o] = -1
            continue
        lanes = min(<ptrdiff_t> CONTEST_LANES, window.count)
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
                ) * contest.storage
                if contest.load != NULL:
                    contest.load(converted, line, window.count)
                    line = converted
                here = cell - first
                contest.contend(best, where, line, NULL, &taps, here, lanes, 1, 1, 0, 0, d + h > 0, NULL)
                if tail:
                    contest.contend(
                        best, where, line + steps * lanes * size, NULL, &one, here + steps * lanes, tail, 1, 1, 0, 0,
                        True, NULL)
        for i in range(lanes):
            where[i] += <int32_t> i
        # The first of equals wins: of two, the one with the lower place goes first.
        for i in range(1, lanes):
            if where[i] < where[0]:
                contest.contend(best + i * size, where + i, best, where, &one, 0, 1, 1, 1, 0, 0, True, NULL)
                memcpy(best, best + i * size, size)
                where[0] = where[i]
            else:
                contest.contend(best, where, best + i * size, where + i, &one, 0, 1, 1, 1, 0, 0, True, NULL)
        memcpy(results + o * size, best, size)
        index[o] = first + where[0]
    if out != NULL:
        store_row(contest, out, results, outputs)


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
    cdef ptrdiff_t d, h, o, n, offset, cell, touched
    cdef const char* line
    cdef taps_t taps
    cdef int64_t* names
    cdef ptrdiff_t where_size = 8 if contest.wide else 4
    if plan.apart and not contest.wide:
        contest_apart(plan, contest, src, row, out, index, scratch)
        return
    # Offsets are 8-byte aligned whatever the sizes before them.
    where = <char*> ((<size_t> where + 7) & ~<size_t> 7)
    cdef bint picks = picks_taps(plan, contest)
    cdef ptrdiff_t here
    cdef const char* first
    cdef char* picked = where + 16 * plan.segment * inner
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
    cdef bint padded = pads_rows(plan, contest, output, outputs)
    if padded:
        # Padding is no better than the best so far, which is the same and in the place of an element.
        touched = max(touched, 0)
        front = cell + axis.pad_begin - output * axis.stride
        n = (outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
        front = min(front, n)
        contest.identity(converted, front * inner, NULL)
        contest.identity(converted + (front + touched) * inner * contest.value, (n - front - touched) * inner, NULL)
    for d in range(depth.count):
        for h in range(height.count):
            line = src + (
                ((row.outer * depth_axis.input_size + depth.first + d * depth_axis.dilation) * height_axis.input_size
                 + height.first + h * height_axis.dilation) * in_row + cell * inner) * contest.storage
            if contest.load != NULL:
                contest.load(converted + front * inner * contest.value, line, touched * inner)
                line = converted
            elif padded:
                memcpy(converted + front * inner * contest.value, line, touched * inner * contest.value)
                line = converted
            offset = ((depth.first + d * depth_axis.dilation - depth_origin) * height_axis.input_size
                      + height.first + h * height_axis.dilation - height_origin) * plane_row
            o = 0
            while o < outputs:
                # Whole windows together, others one by one.
                window = window_of(axis, output + o)
                n = 1
                here = offset + window.first - origin_of(axis, output + o, &window)
                first = line + (window.first - cell) * inner * contest.value
                taps.count = window.count
                if padded:
                    n = outputs
                    here = offset
                    first = line
                    taps.count = axis.kernel_size
                elif axis.begin <= output + o < axis.end:
                    n = min(outputs, axis.end - output) - o
                if n > 1 and picks:
                    contend_picked(
                        contest, best + o * inner * contest.value, where + o * inner * where_size, first, &taps, here,
                        n, axis.stride, inner, picked)
                else:
                    contend_run(
                        contest, best + o * inner * contest.value, where + o * inner * where_size, first, &taps, here,
                        n, axis.stride, inner)
                o += n
    offset = (depth_origin * height_axis.input_size + height_origin) * plane_row
    names = <int64_t*> (where + 8 * outputs * inner) if contest.streams else index
    if contest.wide:
        offsets_to_indices(names, <int64_t*> where, plan, output, outputs, offset)
    else:
        offsets_to_indices(names, <int32_t*> where, plan, output, outputs, offset)
    if contest.streams:
        stream(index, names, outputs * inner * sizeof(int64_t))
    if out != NULL:
        if axis.has_empty:
            for o in range(outputs):
                if window_of(axis, output + o).count == 0:
                    contest.empty(best + o * inner * contest.value, inner, NULL)
        store_row(contest, out, best, outputs * inner)


cdef inline ptrdiff_t phase_cells(const plan_t* plan, const contest_t* contest) noexcept nogil:
    """Cells of a phase, with room behind it for pieces that rows are copied in and for what its last windows see."""
    cdef const pieces_t* pieces = &plan.pieces
    return (
        pieces.stacked * pieces.phase_rows * pieces.width + 2 * PIECE // contest.value
        + (plan.axes[2].kernel_size - 1) * plan.axes[2].dilation + plan.axes[2].stride)


cdef inline ptrdiff_t pieces_scratch(const plan_t* plan, const contest_t* contest) noexcept nogil:
    """Bytes of scratch memory for one thread: the phases; the winners of the rows of each, and of the windows, with
    their places; a margin; a row of indices."""
    return (
        phases_size(plan, contest) + (plan.axes[1].stride + 1) * winners_size(plan, contest) + 4 * PIECE
        + plan.axes[2].output_size * <ptrdiff_t> sizeof(int64_t))


cdef inline ptrdiff_t winners_cells(const plan_t* plan) noexcept nogil:
    """Cells of the winners of a stack, in whole cache lines whatever the type."""
    return round_up(plan.pieces.stacked * plan.pieces.phase_rows * plan.pieces.columns, 64)


cdef inline ptrdiff_t winners_size(const plan_t* plan, const contest_t* contest) noexcept nogil:
    """Bytes of the winners of a stack and of their places."""
    return winners_cells(plan) * (contest.value + <ptrdiff_t> sizeof(int32_t))


cdef inline ptrdiff_t phases_size(const plan_t* plan, const contest_t* contest) noexcept nogil:
    return round_up(plan.axes[1].stride * phase_cells(plan, contest) * contest.value, 64)


cdef void lay_piece(
    const plan_t* plan, const contest_t* contest, char* phases, const char* src, ptrdiff_t plane, ptrdiff_t first,
    const char* margin,
) noexcept nogil:
    """Lay out the input rows of one piece of an input plane, whose first output row is `first`."""
    cdef const pieces_t* pieces = &plan.pieces
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_row = width.input_size * contest.storage
    cdef ptrdiff_t out_row = pieces.width * contest.value
    cdef ptrdiff_t columns = min(width.input_size, reach_of(width) - width.pad_begin)
    cdef ptrdiff_t top = first * height.stride - height.pad_begin
    cdef ptrdiff_t phase, begin, end, row, rows, behind
    cdef char* dst
    for phase in range(height.stride):
        dst = phases + phase * phase_cells(plan, contest) * contest.value + width.pad_begin * contest.value
        # Rows of this phase that lie in the plane.
        begin = min(max(ceil_divide(-top - phase, height.stride), 0), pieces.phase_rows)
        end = min(max(ceil_divide(height.input_size - top - phase, height.stride), begin), pieces.phase_rows)
        if pieces.bands > 1:
            # Another piece may have left its rows where this one has padding.
            for row in range(pieces.phase_rows):
                if not begin <= row < end:
                    contest.identity(dst + row * out_row, columns, NULL)
        rows = end - begin
        if rows == 0:
            continue
        row = plane * height.input_size + top + phase + begin * height.stride
        dst += begin * out_row
        if contest.load != NULL:
            for begin in range(rows):
                contest.load(dst + begin * out_row, src + (row + begin * height.stride) * in_row, columns)
            continue
        # The last rows of the array have nothing behind them that could be read.
        behind = plan.outer * plan.axes[0].input_size * height.input_size - row - (rows - 1) * height.stride - 1
        copy_rows(
            dst, out_row, src + row * in_row, height.stride * in_row, columns * contest.value, rows, margin,
            max(PIECE // in_row + 1 - behind, 0))


cdef inline ptrdiff_t first_tap(const axis_t* axis, ptrdiff_t output) noexcept nogil:
    """Cells from the first tap of a window to the first that is no padding."""
    return max(ceil_divide(axis.pad_begin - output * axis.stride, axis.dilation), 0) * axis.dilation


cdef inline void leave_padding(
    const plan_t* plan, int32_t* where, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t rows
) noexcept nogil:
    """Give the places of `rows` rows of winners from row `first` on that lie in the padding to the first element.

    Where padding has won, nothing was better than it: all elements of the window are equal to it, and the first wins.
    """
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t i, x
    cdef int32_t place
    for x in range(min(ceil_divide(width.pad_begin, width.stride), width.output_size)):
        place = <int32_t> first_tap(width, x)
        for i in range(rows):
            where[i * columns + x] = max(where[i * columns + x], place)
    for i in range(min(ceil_divide(height.pad_begin, height.stride) - first, rows)):
        place = <int32_t> (first_tap(height, first + i) * width.input_size)
        for x in range(width.output_size):
            where[i * columns + x] = max(where[i * columns + x], place + <int32_t> first_tap(width, x))


cdef void contest_straight(
    const plan_t* plan, const contest_t* contest, char* best, int32_t* where, const char* src, ptrdiff_t plane,
    ptrdiff_t first, ptrdiff_t outputs,
) noexcept nogil:
    """Find the winners of all input rows under `outputs` output rows from row `first` on, as the rows lie in the input.

    In order: by phases 2 x 2 over 224 x 224 x 64 took 3.4 ms of one thread, and so 2.2.
    """
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t columns = plan.pieces.columns
    cdef ptrdiff_t top = first * height.stride - height.pad_begin
    cdef ptrdiff_t rows = (outputs - 1) * height.stride + (height.kernel_size - 1) * height.dilation + 1
    cdef ptrdiff_t begin = min(max(-top, 0), rows)
    cdef ptrdiff_t end = min(max(height.input_size - top, begin), rows)
    cdef ptrdiff_t row, n, o, i
    cdef window_t window
    cdef taps_t taps
    taps.apart = taps.place = width.dilation
    taps.ways = taps.row = 1
    taps.way = 0
    for row in range(rows):
        if not begin <= row < end:
            contest.identity(best + row * columns * contest.value, width.output_size, NULL)
            memset(where + row * columns, 0, width.output_size * sizeof(int32_t))
    src += (plane * height.input_size + top + begin) * width.input_size * contest.value
    o = 0
    while o < width.output_size:
        # Whole windows together, those at the ends of rows one by one.
        window = window_of(width, o)
        n = width.end - width.begin if o == width.begin else 1
        taps.count = window.count
        i = begin * columns + o
        if n == columns and width.input_size == n * width.stride:
            # Rows follow one another without a gap.
            n *= end - begin
            end = begin + 1
        contest.contend(
            best + i * contest.value, where + i, src + window.first * contest.value, NULL, &taps,
            window.first - origin_of(width, o, &window), n, width.stride, end - begin, columns, width.input_size,
            False, NULL)
        o += n


cdef void contest_adaptive(
    const plan_t* plan, const contest_t* contest, const char* src, char* out, int64_t* index, char* scratch,
    ptrdiff_t plane, ptrdiff_t count,
) noexcept nogil:
    """Do as `contest_pieces` where windows have no one step: column by column, and then row by row.

    A call a window would take fifteen times as long for planes of 13 x 13.
    """
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_plane = height.input_size * width.input_size
    cdef ptrdiff_t pooled = height.output_size * width.output_size
    cdef ptrdiff_t rows_plane = height.input_size * width.output_size
    cdef ptrdiff_t cells = winners_cells(plan)
    cdef char* loaded = scratch
    cdef char* best = loaded + phases_size(plan, contest)
    cdef char* row_best = best + cells * contest.value
    cdef int32_t* where = <int32_t*> (row_best + plan.axes[1].stride * cells * contest.value)
    cdef int32_t* row_where = where + cells
    cdef ptrdiff_t o
    cdef window_t window
    cdef taps_t taps
    taps.ways = taps.row = 1
    taps.way = 0
    src += plane * in_plane * contest.storage
    if contest.load != NULL:
        contest.load(loaded, src, count * in_plane)
        src = loaded
    elif out != NULL:
        best = out
    for o in range(width.output_size):
        window = window_of(width, o)
        taps.count = window.count
        taps.apart = taps.place = width.dilation
        contest.contend(
            row_best + o * contest.value, row_where + o, src + window.first * contest.value, NULL, &taps, window.first,
            1, 1, count * height.input_size, width.output_size, width.input_size, False, NULL)
    for o in range(height.output_size):
        window = window_of(height, o)
        taps.count = window.count
        taps.apart = height.dilation * width.output_size
        taps.place = height.dilation * width.input_size
        contest.contend(
            best + o * width.output_size * contest.value, where + o * width.output_size,
            row_best + window.first * width.output_size * contest.value, row_where + window.first * width.output_size,
            &taps, window.first * width.input_size, width.output_size, 1, count, pooled, rows_plane, False, NULL)
    name_places(index, where, count * pooled, 0, 0)
    if out != NULL and contest.store != NULL:
        contest.store(out, best, count * pooled)


cdef void contest_pieces(
    const plan_t* plan, const contest_t* contest, const char* src, char* out, int64_t* index, char* scratch,
    ptrdiff_t piece, ptrdiff_t count,
) noexcept nogil:
    """Make `count` pieces, which follow one another in `out` and `index`; `out` may be NULL.

    `scratch` is as `start_pieces` or the last call left it.
    """
    cdef const pieces_t* pieces = &plan.pieces
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t phase_size = phase_cells(plan, contest) * contest.value
    cdef ptrdiff_t piece_rows = pieces.phase_rows * pieces.width * contest.value
    cdef ptrdiff_t more = pieces.phase_rows - pieces.rows
    cdef ptrdiff_t n = (count * pieces.phase_rows - more) * pieces.columns
    cdef ptrdiff_t cells = winners_cells(plan)
    cdef char* phases = scratch
    cdef char* best = phases + phases_size(plan, contest)
    cdef char* row_best = best + cells * contest.value
    cdef int32_t* where = <int32_t*> (row_best + height.stride * cells * contest.value)
    cdef int32_t* row_where = where + cells
    cdef char* margin = <char*> (row_where + height.stride * cells) + PIECE
    cdef int64_t* names = <int64_t*> (margin + 3 * PIECE)
    cdef ptrdiff_t out_row = width.output_size * contest.storage
    cdef ptrdiff_t result_columns = pieces.columns
    cdef ptrdiff_t result_rows = 1
    cdef ptrdiff_t lines_apart = 0
    cdef ptrdiff_t taps = 1
    cdef ptrdiff_t d, i, p, rows, first, plane, phase, origin
    cdef bint straight = pieces.straight and contest.load == NULL
    cdef window_t depth
    cdef taps_t columns, lines
    if pieces.adaptive:
        contest_adaptive(plan, contest, src, out, index, scratch, piece, count)
        return
    columns.count = width.kernel_size
    columns.apart = columns.place = width.dilation
    columns.ways = columns.row = 1
    columns.way = 0
    lines.count = height.kernel_size
    lines.apart = height.dilation
    lines.place = height.dilation * width.input_size
    lines.ways = height.stride
    lines.way = cells
    lines.row = pieces.columns
    if straight:
        n = result_columns = width.output_size
        result_rows = min(pieces.rows, height.output_size - piece % pieces.bands * pieces.rows)
        lines.ways = 1
        lines_apart = height.stride * pieces.columns
        if out != NULL:
            best = out
    # The windows of a stack may hold different numbers of planes, but only where they are 3-D.
    for p in range(count):
        depth = window_of(depth_axis, (piece + p) // pieces.bands % depth_axis.output_size)
        taps = max(taps, depth.count)
    for d in range(taps):
        for p in range(count):
            plane = (piece + p) // pieces.bands
            depth = window_of(depth_axis, plane % depth_axis.output_size)
            if d >= depth.count:
                clear_piece(plan, contest, phases + p * piece_rows)
                continue
            plane = plane // depth_axis.output_size * depth_axis.input_size + depth.first + d * depth_axis.dilation
            first = (piece + p) % pieces.bands * pieces.rows
            if straight:
                contest_straight(plan, contest, row_best, row_where, src, plane, first, result_rows)
            else:
                lay_piece(plan, contest, phases + p * piece_rows, src, plane, first, margin)
        for phase in range(0 if straight else height.stride):
            contest.contend(
                row_best + phase * cells * contest.value, row_where + phase * cells, phases + phase * phase_size, NULL,
                &columns, 0, count * pieces.phase_rows * pieces.columns, width.stride, 1, 0, 0, False, NULL)
        # In 3-D, places count from the first plane of the window that exists.
        contest.contend(
            best, where, row_best, row_where, &lines,
            d * depth_axis.dilation * height.input_size * width.input_size, n, 1, result_rows,
            result_columns, lines_apart, d > 0, NULL)
    for p in range(count):
        first = (piece + p) % pieces.bands * pieces.rows
        rows = min(pieces.rows, height.output_size - first)
        depth = window_of(depth_axis, (piece + p) // pieces.bands % depth_axis.output_size)
        row_best = best + p * pieces.phase_rows * pieces.columns * contest.value
        row_where = where + p * pieces.phase_rows * pieces.columns
        leave_padding(plan, row_where, result_columns, first, rows)
        plane = depth.first * height.input_size + first * height.stride - height.pad_begin
        for i in range(rows):
            for d in range(depth.count if straight else 0):
                # The rows of the next piece come in while this one is written, which uses memory less.
                fetch_ahead(
                    src + (((piece + p) // pieces.bands // depth_axis.output_size * depth_axis.input_size + depth.first
                            + d * depth_axis.dilation) * height.input_size
                           + (first + i + pieces.rows) * height.stride) * width.input_size * contest.storage,
                    height.stride * width.input_size * contest.storage)
            origin = (plane + i * height.stride) * width.input_size - width.pad_begin
            if contest.streams:
                name_places(names, row_where + i * result_columns, width.output_size, width.stride, origin)
                stream(index, names, width.output_size * sizeof(int64_t))
            else:
                name_places(index, row_where + i * result_columns, width.output_size, width.stride, origin)
            index += width.output_size
        if out == NULL or best == out:
            continue
        if contest.store != NULL:
            for i in range(rows):
                contest.store(
                    out + i * out_row, row_best + i * result_columns * contest.value, width.output_size)
        else:
            copy_rows(
                out, out_row, row_best, result_columns * contest.value, out_row, rows, NULL,
                max(PIECE // out_row + 1 - (count - p - 1) * rows, 0))
        out += rows * out_row


cdef inline void clear_piece(const plan_t* plan, const contest_t* contest, char* phases) noexcept nogil:
    """Lay out nothing but padding."""
    cdef ptrdiff_t phase
    for phase in range(plan.axes[1].stride):
        contest.identity(
            phases + phase * phase_cells(plan, contest) * contest.value,
            plan.pieces.phase_rows * plan.pieces.width, NULL)


cdef inline void start_pieces(const plan_t* plan, const contest_t* contest, char* scratch) noexcept nogil:
    """Make the padding, which is never written to, and the margin that is put behind rows."""
    contest.identity(scratch, plan.axes[1].stride * phase_cells(plan, contest), NULL)
    scratch += phases_size(plan, contest) + (plan.axes[1].stride + 1) * winners_size(plan, contest) + PIECE
    contest.identity(scratch, PIECE // contest.value, NULL)


cdef ptrdiff_t contest_stacks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make pieces begin to end, with their indices."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef ptrdiff_t piece = begin
    cdef ptrdiff_t count, at
    start_pieces(plan, pooling.contest, scratch)
    while piece < end:
        count = min(plan.pieces.stacked, end - piece)
        if is_stopped(scratch, found_together(plan) * (
            plan.axes[0].kernel_size * (plan.axes[1].kernel_size + plan.axes[2].kernel_size * plan.axes[1].stride)
        )):
            return -1
        at = (
            piece // plan.pieces.bands * plan.axes[1].output_size + piece % plan.pieces.bands * plan.pieces.rows
        ) * plan.axes[2].output_size
        contest_pieces(
            plan, pooling.contest, pooling.src, pooling.dst + at * pooling.contest.storage, pooling.indices + at,
            scratch, piece, count)
        piece += count
    finish_streams()
    return -1


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
            if is_stopped(scratch, steps_of(plan, plan.segment * plan.inner)):
                return -1
            at = output_offset(plan, &line)
            contest_row(
                plan, contest, pooling.src, &line, pooling.dst + at * contest.storage, pooling.indices + at, scratch)
            line.h += 1
        advance(plan, &row)
    finish_streams()
    return -1
