# Argmaxes of planes, a piece of some rows at a time: rows are laid out with their padding and dealt to phases, so that
# each tap of all windows of a piece is one loop. Small planes are stacked, many in a piece.


cdef inline ptrdiff_t phase_cells(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Cells of a phase, with room behind it for pieces that rows are copied in and for what its last windows see."""
    cdef const pieces_t* pieces = &plan.pieces
    return (
        pieces.stacked * pieces.phase_rows * pieces.width + 2 * PIECE // argmax.value
        + (plan.axes[2].kernel_size - 1) * plan.axes[2].dilation + plan.axes[2].stride)


cdef inline ptrdiff_t pieces_scratch(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Bytes of scratch memory for one thread: the phases; the argmaxes of the rows of each, and of the windows, with
    their places; a margin; a row of indices."""
    return (
        phases_size(plan, argmax) + (plan.axes[1].stride + 1) * argmax_stack_size(plan, argmax) + 4 * PIECE
        + plan.axes[2].output_size * <ptrdiff_t> sizeof(int64_t))


cdef inline ptrdiff_t argmax_stack_cells(const plan_t* plan) noexcept nogil:
    """Cells of the argmaxes of a stack, in whole cache lines whatever the type."""
    return round_up(plan.pieces.stacked * plan.pieces.phase_rows * plan.pieces.columns, 64)


cdef inline ptrdiff_t argmax_stack_size(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Bytes of the argmaxes of a stack and of their places."""
    return argmax_stack_cells(plan) * (argmax.value + <ptrdiff_t> sizeof(int32_t))


cdef inline ptrdiff_t phases_size(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    return round_up(plan.axes[1].stride * phase_cells(plan, argmax) * argmax.value, 64)


cdef void lay_piece(
    const plan_t* plan, const argmax_t* argmax, char* phases, const char* src, ptrdiff_t plane, ptrdiff_t first,
    const char* margin,
) noexcept nogil:
    """Lay out the input rows of one piece of an input plane, whose first output row is `first`."""
    cdef const pieces_t* pieces = &plan.pieces
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_row = width.input_size * argmax.storage
    cdef ptrdiff_t out_row = pieces.width * argmax.value
    cdef ptrdiff_t columns = min(width.input_size, reach_of(width) - width.pad_begin)
    cdef ptrdiff_t top = first * height.stride - height.pad_begin
    cdef ptrdiff_t phase, begin, end, row, rows, behind
    cdef char* dst
    for phase in range(height.stride):
        dst = phases + phase * phase_cells(plan, argmax) * argmax.value + width.pad_begin * argmax.value
        # Rows of this phase that lie in the plane.
        # Divisions took a tenth of a tiny call.
        begin = 0
        end = pieces.phase_rows
        if top + phase < 0:
            begin = min(ceil_divide(-top - phase, height.stride), end)
        if top + phase + (end - 1) * height.stride >= height.input_size:
            end = min(max(ceil_divide(height.input_size - top - phase, height.stride), begin), end)
        if pieces.bands > 1:
            # Another piece may have left its rows where this one has padding.
            for row in range(pieces.phase_rows):
                if not begin <= row < end:
                    argmax.identity(dst + row * out_row, columns, NULL)
        rows = end - begin
        if rows == 0:
            continue
        row = plane * height.input_size + top + phase + begin * height.stride
        dst += begin * out_row
        if argmax.load != NULL:
            for begin in range(rows):
                argmax.load(dst + begin * out_row, src + (row + begin * height.stride) * in_row, columns)
            continue
        # The last rows of the array have nothing behind them that could be read.
        behind = plan.outer * plan.axes[0].input_size * height.input_size - row - (rows - 1) * height.stride - 1
        copy_rows(
            dst, out_row, src + row * in_row, height.stride * in_row, columns * argmax.value, rows, margin,
            max(PIECE // in_row + 1 - behind, 0))


cdef inline ptrdiff_t first_tap(const axis_t* axis, ptrdiff_t output) noexcept nogil:
    """Cells from the first tap of a window to the first that is no padding."""
    return max(ceil_divide(axis.pad_begin - output * axis.stride, axis.dilation), 0) * axis.dilation


cdef inline void leave_padding(
    const plan_t* plan, int32_t* where, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t rows
) noexcept nogil:
    """Give the places of `rows` rows of argmaxes from row `first` on that lie in the padding to the first element.

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


cdef void argmax_straight(
    const plan_t* plan, const argmax_t* argmax, char* best, int32_t* where, const char* src, ptrdiff_t plane,
    ptrdiff_t first, ptrdiff_t outputs,
) noexcept nogil:
    """Find the argmaxes of all input rows under `outputs` output rows from row `first` on, as rows lie in the input.

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
            argmax.identity(best + row * columns * argmax.value, width.output_size, NULL)
            memset(where + row * columns, 0, width.output_size * sizeof(int32_t))
    src += (plane * height.input_size + top + begin) * width.input_size * argmax.value
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
        argmax.across(
            best + i * argmax.value, where + i, src + window.first * argmax.value, NULL, &taps,
            window.first - origin_of(width, o, &window), n, width.stride, end - begin, columns, width.input_size,
            False, NULL)
        o += n


cdef void argmax_adaptive(
    const plan_t* plan, const argmax_t* argmax, const char* src, char* out, int64_t* index, char* scratch,
    ptrdiff_t plane, ptrdiff_t count,
) noexcept nogil:
    """Do as `argmax_pieces` where windows have no one step: column by column, and then row by row.

    A call a window would take fifteen times as long for planes of 13 x 13.
    """
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_plane = height.input_size * width.input_size
    cdef ptrdiff_t pooled = height.output_size * width.output_size
    cdef ptrdiff_t rows_plane = height.input_size * width.output_size
    cdef ptrdiff_t cells = argmax_stack_cells(plan)
    cdef char* loaded = scratch
    cdef char* best = loaded + phases_size(plan, argmax)
    cdef char* row_best = best + cells * argmax.value
    cdef int32_t* where = <int32_t*> (row_best + plan.axes[1].stride * cells * argmax.value)
    cdef int32_t* row_where = where + cells
    cdef ptrdiff_t o
    cdef window_t window
    cdef taps_t taps
    taps.ways = taps.row = 1
    taps.way = 0
    src += plane * in_plane * argmax.storage
    if argmax.load != NULL:
        argmax.load(loaded, src, count * in_plane)
        src = loaded
    elif out != NULL:
        best = out
    for o in range(width.output_size):
        window = window_of(width, o)
        taps.count = window.count
        taps.apart = taps.place = width.dilation
        argmax.across(
            row_best + o * argmax.value, row_where + o, src + window.first * argmax.value, NULL, &taps, window.first,
            1, 1, count * height.input_size, width.output_size, width.input_size, False, NULL)
    for o in range(height.output_size):
        window = window_of(height, o)
        taps.count = window.count
        taps.apart = height.dilation * width.output_size
        taps.place = height.dilation * width.input_size
        argmax.across(
            best + o * width.output_size * argmax.value, where + o * width.output_size,
            row_best + window.first * width.output_size * argmax.value, row_where + window.first * width.output_size,
            &taps, window.first * width.input_size, width.output_size, 1, count, pooled, rows_plane, False, NULL)
    name_places(index, where, count * pooled, 0, 0)
    if out != NULL and argmax.store != NULL:
        argmax.store(out, best, count * pooled)


cdef inline bint in_registers(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Whether all taps of a window are compared in registers, by c/winners.h, and its index is written at once.

    By rows first, 3 x 3 s2 over 112 x 112 x 64 took 361 us of one thread, and so 195. Where more windows share a row
    that is the other way round: 3 x 3 s1 over 56 x 56 x 64 took 120 us by rows, and so 181.
    """
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    return (
        argmax.winners != NULL and plan.pieces.stacked and not plan.pieces.adaptive and width.dilation == 1
        and 2 <= width.kernel_size <= 3 and width.stride <= 2
        and height.kernel_size <= height.stride + (width.stride == 2)
        and plan.axes[0].kernel_size * plan.axes[1].kernel_size <= MOST_LINES
        and width.end - width.begin >= FEWEST_IN_REGISTERS
        # Planes that are converted are so one at a time, and places in bytes take 16 bits.
        and (argmax.load == NULL or plan.axes[0].kernel_size == 1) and (argmax.value > 1 or plan.reach < 1 << 15))


cdef void argmax_in_registers(
    const plan_t* plan, const argmax_t* argmax, const char* src, char* out, int64_t* index, char* scratch,
    ptrdiff_t piece, ptrdiff_t count,
) noexcept nogil:
    """Do as `argmax_pieces` a row of outputs at a time."""
    cdef const pieces_t* pieces = &plan.pieces
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_row = width.input_size
    cdef ptrdiff_t out_row = width.output_size
    # Converted rows, and the results of a piece of them; a row of indices.
    cdef char* loaded = scratch
    cdef char* results = loaded + phases_size(plan, argmax)
    cdef int64_t* names = <int64_t*> (
        results + (height.stride + 1) * argmax_stack_size(plan, argmax) + 4 * PIECE)
    cdef const void* lines[MOST_LINES]
    cdef int32_t places[MOST_LINES]
    cdef across_row_t across
    cdef ptrdiff_t p, d, y, i, rows, first, row, top, plane
    cdef int n
    cdef char* best
    cdef const char* plane_src
    cdef window_t depth, window, last
    across.outputs = out_row
    across.begin = width.begin
    across.end = width.end
    across.stride = width.stride
    across.pad = width.pad_begin
    across.taps = width.kernel_size
    across.size = in_row
    for p in range(count):
        plane = (piece + p) // pieces.bands
        depth = window_of(depth_axis, plane % depth_axis.output_size)
        first = (piece + p) % pieces.bands * pieces.rows
        rows = min(pieces.rows, height.output_size - first)
        plane_src = src + (
            plane // depth_axis.output_size * depth_axis.input_size + depth.first
        ) * height.input_size * in_row * argmax.storage
        top = 0
        if argmax.load != NULL:
            top = window_of(height, first).first
            last = window_of(height, first + rows - 1)
            argmax.load(
                loaded, plane_src + top * in_row * argmax.storage,
                (last.first + (last.count - 1) * height.dilation + 1 - top) * in_row)
            plane_src = loaded
        for i in range(rows):
            window = window_of(height, first + i)
            n = 0
            for d in range(depth.count):
                # The rows of the next piece come in while this one is written, which uses memory less.
                if argmax.streams and argmax.load == NULL:
                    fetch_ahead(
                        plane_src + (
                            d * depth_axis.dilation * height.input_size + (first + i + pieces.rows) * height.stride
                        ) * in_row * argmax.storage,
                        height.stride * in_row * argmax.storage)
                for y in range(window.count):
                    row = d * depth_axis.dilation * height.input_size + y * height.dilation
                    lines[n] = plane_src + (window.first + row - top) * in_row * argmax.value
                    places[n] = <int32_t> (row * in_row)
                    n += 1
            best = out
            if argmax.store != NULL and out != NULL:
                best = results + i * out_row * argmax.value
            argmax.winners(
                best, names if argmax.streams else index, lines, places, n, &across,
                (depth.first * height.input_size + window.first) * in_row, NULL)
            if argmax.streams:
                stream(index, names, out_row * sizeof(int64_t))
            index += out_row
            if out != NULL and argmax.store == NULL:
                out += out_row * argmax.value
        if out != NULL and argmax.store != NULL:
            argmax.store(out, results, rows * out_row)
            out += rows * out_row * argmax.storage


cdef void argmax_pieces(
    const plan_t* plan, const argmax_t* argmax, const char* src, char* out, int64_t* index, char* scratch,
    ptrdiff_t piece, ptrdiff_t count,
) noexcept nogil:
    """Make `count` pieces, which follow one another in `out` and `index`; `out` may be NULL.

    `scratch` is as `start_pieces` or the last call left it.
    """
    cdef const pieces_t* pieces = &plan.pieces
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t phase_size = phase_cells(plan, argmax) * argmax.value
    cdef ptrdiff_t piece_rows = pieces.phase_rows * pieces.width * argmax.value
    cdef ptrdiff_t more = pieces.phase_rows - pieces.rows
    cdef ptrdiff_t n = (count * pieces.phase_rows - more) * pieces.columns
    cdef ptrdiff_t cells = argmax_stack_cells(plan)
    cdef char* phases = scratch
    cdef char* best = phases + phases_size(plan, argmax)
    cdef char* row_best = best + cells * argmax.value
    cdef int32_t* where = <int32_t*> (row_best + height.stride * cells * argmax.value)
    cdef int32_t* row_where = where + cells
    cdef char* margin = <char*> (row_where + height.stride * cells) + PIECE
    cdef int64_t* names = <int64_t*> (margin + 3 * PIECE)
    cdef ptrdiff_t out_row = width.output_size * argmax.storage
    cdef ptrdiff_t result_columns = pieces.columns
    cdef ptrdiff_t result_rows = 1
    cdef ptrdiff_t lines_apart = 0
    cdef ptrdiff_t taps = 1
    cdef ptrdiff_t d, i, p, rows, first, plane, phase, origin
    cdef bint straight = pieces.straight and argmax.load == NULL
    cdef window_t depth
    cdef taps_t columns, lines
    if in_registers(plan, argmax):
        argmax_in_registers(plan, argmax, src, out, index, scratch, piece, count)
        return
    if pieces.adaptive:
        argmax_adaptive(plan, argmax, src, out, index, scratch, piece, count)
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
                clear_piece(plan, argmax, phases + p * piece_rows)
                continue
            plane = plane // depth_axis.output_size * depth_axis.input_size + depth.first + d * depth_axis.dilation
            first = (piece + p) % pieces.bands * pieces.rows
            if straight:
                argmax_straight(plan, argmax, row_best, row_where, src, plane, first, result_rows)
            else:
                lay_piece(plan, argmax, phases + p * piece_rows, src, plane, first, margin)
        for phase in range(0 if straight else height.stride):
            argmax.across(
                row_best + phase * cells * argmax.value, row_where + phase * cells, phases + phase * phase_size, NULL,
                &columns, 0, count * pieces.phase_rows * pieces.columns, width.stride, 1, 0, 0, False, NULL)
        # In 3-D, places count from the first plane of the window that exists.
        argmax.across(
            best, where, row_best, row_where, &lines,
            d * depth_axis.dilation * height.input_size * width.input_size, n, 1, result_rows,
            result_columns, lines_apart, d > 0, NULL)
    for p in range(count):
        first = (piece + p) % pieces.bands * pieces.rows
        rows = min(pieces.rows, height.output_size - first)
        depth = window_of(depth_axis, (piece + p) // pieces.bands % depth_axis.output_size)
        row_best = best + p * pieces.phase_rows * pieces.columns * argmax.value
        row_where = where + p * pieces.phase_rows * pieces.columns
        leave_padding(plan, row_where, result_columns, first, rows)
        plane = depth.first * height.input_size + first * height.stride - height.pad_begin
        for i in range(rows):
            for d in range(depth.count if straight else 0):
                # The rows of the next piece come in while this one is written, which uses memory less.
                fetch_ahead(
                    src + (((piece + p) // pieces.bands // depth_axis.output_size * depth_axis.input_size + depth.first
                            + d * depth_axis.dilation) * height.input_size
                           + (first + i + pieces.rows) * height.stride) * width.input_size * argmax.storage,
                    height.stride * width.input_size * argmax.storage)
            origin = (plane + i * height.stride) * width.input_size - width.pad_begin
            if argmax.streams:
                name_places(names, row_where + i * result_columns, width.output_size, width.stride, origin)
                stream(index, names, width.output_size * sizeof(int64_t))
            else:
                name_places(index, row_where + i * result_columns, width.output_size, width.stride, origin)
            index += width.output_size
        if out == NULL or best == out:
            continue
        if argmax.store != NULL:
            for i in range(rows):
                argmax.store(
                    out + i * out_row, row_best + i * result_columns * argmax.value, width.output_size)
        elif result_columns == width.output_size:
            memcpy(out, row_best, rows * out_row)
        else:
            copy_rows(
                out, out_row, row_best, result_columns * argmax.value, out_row, rows, NULL,
                max(PIECE // out_row + 1 - (count - p - 1) * rows, 0))
        out += rows * out_row


cdef inline void clear_piece(const plan_t* plan, const argmax_t* argmax, char* phases) noexcept nogil:
    """Lay out nothing but padding."""
    cdef ptrdiff_t phase
    for phase in range(plan.axes[1].stride):
        argmax.identity(
            phases + phase * phase_cells(plan, argmax) * argmax.value,
            plan.pieces.phase_rows * plan.pieces.width, NULL)


cdef inline void start_pieces(const plan_t* plan, const argmax_t* argmax, char* scratch) noexcept nogil:
    """Make the padding, which is never written to, and the margin that is put behind rows."""
    if in_registers(plan, argmax):
        return
    argmax.identity(scratch, plan.axes[1].stride * phase_cells(plan, argmax), NULL)
    scratch += phases_size(plan, argmax) + (plan.axes[1].stride + 1) * argmax_stack_size(plan, argmax) + PIECE
    argmax.identity(scratch, PIECE // argmax.value, NULL)


cdef ptrdiff_t argmax_stacks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make pieces begin to end, with their indices."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef ptrdiff_t piece = begin
    cdef ptrdiff_t count, at
    start_pieces(plan, pooling.argmax, scratch)
    while piece < end:
        count = min(plan.pieces.stacked, end - piece)
        if is_stopped(scratch, found_together(plan) * (
            plan.axes[0].kernel_size * (plan.axes[1].kernel_size + plan.axes[2].kernel_size * plan.axes[1].stride)
        )):
            return -1
        at = (
            piece // plan.pieces.bands * plan.axes[1].output_size + piece % plan.pieces.bands * plan.pieces.rows
        ) * plan.axes[2].output_size
        argmax_pieces(
            plan, pooling.argmax, pooling.src, pooling.dst + at * pooling.argmax.storage, pooling.indices + at,
            scratch, piece, count)
        piece += count
    finish_streams()
    return -1


cdef bint argmax_stacks_fits(const call_t* call) noexcept nogil:
    return call.plan.pieces.stacked


cdef ptrdiff_t argmax_stacks_tasks(const call_t* call) noexcept nogil:
    return pieces_of(call.plan)


cdef ptrdiff_t argmax_stacks_bytes(const call_t* call) noexcept nogil:
    return indexed_scratch(call.plan, call.argmax)
