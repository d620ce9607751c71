# Narrow planes, many at a time. A loop over seven cells costs as much to begin as to run, so planes are stacked with
# their padding in one buffer, and both passes run over all of it; what they make of cells that belong together only by
# neighbourhood is never copied out.


cdef extern from "c/picks.h":
    const int PICKS "POOLING_PICKS"
    void pick_sums "pooling_pick_sums"(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        ptrdiff_t taps, bint wide) noexcept nogil
    void pick_greatest "pooling_pick_greatest"(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        ptrdiff_t taps, bint wide) noexcept nogil
    void pick_smallest "pooling_pick_smallest"(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        ptrdiff_t taps, bint wide) noexcept nogil
    void pick_greatest_number "pooling_pick_greatest_number"(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        ptrdiff_t taps, bint wide) noexcept nogil
    void pick_smallest_number "pooling_pick_smallest_number"(
        float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
        ptrdiff_t taps, bint wide) noexcept nogil


cdef inline bint picks_columns(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Whether the windows along a row, which have no one step, are picked out of two registers."""
    cdef const axis_t* width = &plan.axes[2]
    return leaves.pick != NULL and width.adaptive and width.input_size <= 16 and width.output_size <= 8 and (
        2 <= width.kernel_size <= 3 and plan.planes.width % 8 == 0)


cdef inline void lay_places(const axis_t* width, int32_t* places) noexcept nogil:
    """Lay out the cells of each tap of up to eight windows; -1 where a window has no such tap."""
    cdef ptrdiff_t o, t
    cdef window_t window
    for o in range(8):
        window.first = window.count = 0
        if o < width.output_size:
            window = window_of(width, o)
        for t in range(3):
            places[8 * t + o] = <int32_t> (window.first + t) if t < window.count else -1


cdef inline void copy_pieces(
    char* dst, ptrdiff_t dst_row, const char* src, ptrdiff_t src_row, ptrdiff_t nbytes, ptrdiff_t rows,
    const ptrdiff_t pieces, const char* margin,
) noexcept nogil:
    cdef ptrdiff_t h, i
    cdef char keep[PIECE]
    if margin != NULL:
        memcpy(keep, margin, PIECE)
    for h in range(rows):
        for i in range(pieces):
            memcpy(dst + i * PIECE, src + i * PIECE, PIECE)
        if margin != NULL:
            memcpy(dst + nbytes, keep, PIECE)
        dst += dst_row
        src += src_row


cdef inline void copy_rows(
    char* dst, ptrdiff_t dst_row, const char* src, ptrdiff_t src_row, ptrdiff_t nbytes, ptrdiff_t rows,
    const char* margin, ptrdiff_t exact,
) noexcept nogil:
    """Copy rows of nbytes in whole pieces, and put `margin` behind each; the last `exact` rows are not overrun."""
    cdef ptrdiff_t pieces = ceil_divide(nbytes, PIECE)
    cdef ptrdiff_t h
    exact = min(exact, rows)
    if pieces * PIECE == nbytes:
        exact = 0
        margin = NULL
    # A known number of pieces is a loop without branches.
    if pieces == 1:
        copy_pieces(dst, dst_row, src, src_row, nbytes, rows - exact, 1, margin)
    elif pieces == 2:
        copy_pieces(dst, dst_row, src, src_row, nbytes, rows - exact, 2, margin)
    elif pieces == 3:
        copy_pieces(dst, dst_row, src, src_row, nbytes, rows - exact, 3, margin)
    elif pieces == 4:
        copy_pieces(dst, dst_row, src, src_row, nbytes, rows - exact, 4, margin)
    else:
        copy_pieces(dst, dst_row, src, src_row, nbytes, rows - exact, pieces, margin)
    for h in range(rows - exact, rows):
        memcpy(dst + h * dst_row, src + h * src_row, nbytes)


cdef inline ptrdiff_t planes_slack(const plan_t* plan) noexcept nogil:
    """Cells that the last windows of a stack read beyond it, and pieces reach."""
    return (
        (plan.axes[1].kernel_size - 1) * plan.axes[1].dilation * plan.planes.width
        + (plan.axes[2].kernel_size - 1) * plan.axes[2].dilation + plan.planes.width + 2 * PIECE)


cdef inline ptrdiff_t stacks_scratch(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Bytes of scratch memory for one thread: the stack, its combined rows and its result."""
    cdef const planes_t* planes = &plan.planes
    cdef ptrdiff_t cells = planes.stacked * planes.height * planes.width + planes_slack(plan)
    cdef ptrdiff_t rungs = 0
    cdef int i
    for i in range(1, 3):
        if climbs(&plan.axes[i]):
            rungs = max(rungs, ladder_cells(plan.axes[i].kernel_size, cells))
    return (3 * cells + rungs) * leaves.value + 4 * PIECE


cdef void stack_plane(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* src, ptrdiff_t depths, const char* margin,
    ptrdiff_t exact, bint loaded,
) noexcept nogil:
    """Copy one plane into the stack, `depths` planes of a 3-D window combined; `src` may have been loaded before."""
    cdef const planes_t* planes = &plan.planes
    cdef ptrdiff_t in_row = plan.in_row * (leaves.value if loaded else leaves.storage)
    cdef ptrdiff_t out_row = planes.width * leaves.value
    cdef ptrdiff_t depth_step = plan.axes[0].dilation * plan.in_plane
    cdef ptrdiff_t h
    dst += (plan.axes[1].pad_begin * planes.width + plan.axes[2].pad_begin) * leaves.value
    if loaded:
        copy_rows(dst, out_row, src, in_row, planes.columns * leaves.value, planes.rows, margin, 0)
    elif leaves.across_stored == NULL:
        for h in range(planes.rows):
            leaves.load(dst + h * out_row, src + h * in_row, planes.columns)
    elif depths > 1 or leaves.load != NULL:
        leaves.across_stored(
            dst, src, depth_step, depths, planes.columns, 1, planes.rows, planes.width, plan.in_row, False,
            NULL)
    else:
        copy_rows(dst, out_row, src, in_row, planes.columns * leaves.value, planes.rows, margin, exact)


cdef inline void gather_rows(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* src, const window_t* depth, ptrdiff_t output,
    ptrdiff_t columns, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row,
) noexcept nogil:
    """Combine the rows of window `output`, and of those that lie `src_row` elements apart behind it."""
    cdef const axis_t* height = &plan.axes[1]
    cdef window_t window = window_of(height, output)
    cdef ptrdiff_t d
    for d in range(depth.count):
        leaves.across_stored(
            dst + output * plan.planes.width * leaves.value,
            src + ((depth.first + d * plan.axes[0].dilation) * plan.in_plane + window.first * plan.in_row)
            * leaves.storage,
            height.dilation * plan.in_row, window.count, columns, 1, rows, dst_row, src_row, d > 0, NULL)


cdef inline void gather_plane(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* src, const window_t* depth, ptrdiff_t columns,
) noexcept nogil:
    """Combine the rows of all whole windows of a plane."""
    cdef const axis_t* height = &plan.axes[1]
    if height.begin < height.end:
        gather_rows(
            plan, leaves, dst, src, depth, height.begin, columns, height.end - height.begin, plan.planes.width,
            height.stride * plan.in_row)


cdef void gather_planes(
    const plan_t* plan, const leaves_t* leaves, char* dst, const char* src, ptrdiff_t plane, ptrdiff_t count,
    const char* margin,
) noexcept nogil:
    """Combine the rows of the windows of a stack of planes."""
    cdef const planes_t* planes = &plan.planes
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t begin = plan.axes[2].pad_begin
    cdef ptrdiff_t in_row = plan.in_row
    cdef ptrdiff_t in_plane = plan.in_plane
    cdef ptrdiff_t out_plane = planes.result_rows * planes.width
    cdef bint flat = depth_axis.input_size == 1 and depth_axis.output_size == 1
    # Whole vectors are faster. What they take from the next row is never asked for, or put right below: cells behind a
    # row that windows look at, and those before the next row.
    cdef ptrdiff_t vectors = round_up(planes.columns, 8)
    cdef ptrdiff_t behind = max(reach_of(&plan.axes[2]) - begin - planes.columns, 0)
    cdef ptrdiff_t before = max(begin + vectors - planes.width, 0)
    cdef bint whole = flat and max(behind, before) * leaves.value <= PIECE
    # Planes of this stack with enough cells behind them.
    cdef ptrdiff_t followed = min(plan.outer - plane - ceil_divide(8, in_plane), count)
    cdef ptrdiff_t p, o
    cdef window_t depth
    if not whole:
        vectors = planes.columns
        followed = 0
    dst += begin * leaves.value
    if flat:
        depth.first = plane
        depth.count = 1
        if (
            followed == count and height.begin < height.end
            and height.stride * planes.result_rows == height.input_size and in_plane == height.input_size * in_row
        ):
            # Windows follow one another from plane to plane. Those at the ends of a plane are made again below.
            gather_rows(
                plan, leaves, dst, src, &depth, height.begin, vectors,
                (count - 1) * planes.result_rows + height.end - height.begin, planes.width, height.stride * in_row)
        else:
            for p in range(count):
                gather_plane(
                    plan, leaves, dst + p * out_plane * leaves.value, src + p * in_plane * leaves.storage, &depth,
                    vectors if p < followed else planes.columns)
        for o in range(height.output_size):
            if not height.begin <= o < height.end:
                gather_rows(
                    plan, leaves, dst, src, &depth, o, vectors if followed == count else planes.columns, count,
                    out_plane, in_plane)
    else:
        for p in range(count):
            depth = window_of(depth_axis, (plane + p) % depth_axis.output_size)
            depth.first += (plane + p) // depth_axis.output_size * depth_axis.input_size
            gather_plane(plan, leaves, dst + p * out_plane * leaves.value, src, &depth, planes.columns)
            for o in range(height.output_size):
                if not height.begin <= o < height.end:
                    gather_rows(
                        plan, leaves, dst + p * out_plane * leaves.value, src, &depth, o, planes.columns, 1, 0, 0)
    if whole and behind:
        leaves.across(
            dst + planes.columns * leaves.value, margin, 0, 1, behind, 1, count * planes.result_rows, planes.width, 0,
            False, NULL)
    if whole and before:
        leaves.across(
            dst + (planes.width - begin) * leaves.value, margin, 0, 1, before, 1, count * planes.result_rows,
            planes.width, 0, False, NULL)


cdef ptrdiff_t forward_stacks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool planes begin to end; a plane is one output of the depth axis."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef const char* src = pooling.src
    cdef const planes_t* planes = &plan.planes
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t in_plane = plan.in_plane * leaves.storage
    cdef ptrdiff_t out_plane = height.output_size * width.output_size * leaves.storage
    cdef ptrdiff_t stack_plane_size = planes.height * planes.width * leaves.value
    cdef ptrdiff_t result_plane = planes.result_rows * planes.result_columns
    cdef ptrdiff_t cells = planes.stacked * planes.height * planes.width
    cdef char* stack = scratch
    cdef char* rows = stack + (cells + planes_slack(plan)) * leaves.value
    cdef char* result = rows + (cells + planes_slack(plan)) * leaves.value
    cdef char* margin = result + (cells + planes_slack(plan)) * leaves.value
    cdef char* rungs = margin + 2 * PIECE
    cdef ladder_t ladder
    # Rows near the end of an array, behind which a piece could reach beyond it.
    cdef ptrdiff_t exact_rows = PIECE // (width.input_size * leaves.storage) + 1
    cdef ptrdiff_t exact_results = PIECE // (width.output_size * leaves.storage) + 1
    cdef bint flat = depth_axis.input_size == 1 and depth_axis.output_size == 1
    cdef const char* values
    cdef char* target
    cdef char* out
    cdef char* line
    cdef ptrdiff_t plane, count, p, o, n, columns, exact, left
    cdef window_t depth, window
    cdef bint direct = planes.direct and leaves.across_stored != NULL
    cdef bint direct_result = planes.direct_result and leaves.store == NULL
    # Values that are converted are so together, in memory that is needed later, if they all have room.
    cdef ptrdiff_t plane_cells = height.input_size * width.input_size
    cdef bint loads = leaves.across_stored == NULL and flat and plan.in_plane == plane_cells and (
        planes.stacked * plane_cells <= cells + planes_slack(plan) - 2 * PIECE)
    # The first pass is over elements as they are stored where these lie as rows do.
    cdef across_fn across
    # Where a result is converted as it lies; its rows are then copied.
    cdef char* converted = stack if planes.gather else rows
    cdef ptrdiff_t out_row = width.output_size * leaves.storage
    cdef bint picked = picks_columns(plan, leaves)
    cdef int32_t places[24]
    lay_places(width, places)
    if planes.gather:
        leaves.identity(rows, cells + planes_slack(plan), NULL)
    elif not direct:
        leaves.identity(stack, cells + planes_slack(plan), NULL)
    leaves.identity(margin, PIECE // leaves.value, NULL)
    plane = begin
    while plane < end:
        count = min(planes.stacked, end - plane)
        if is_stopped(scratch, cells * (depth_axis.kernel_size + height.kernel_size + width.kernel_size)):
            return -1
        if pooling.fetches and direct:
            fetch_ahead(src + (plane + count) * in_plane, count * in_plane)
        if planes.gather:
            gather_planes(plan, leaves, rows, pooling.src, plane, count, margin)
        if loads:
            leaves.load(rows, src + plane * in_plane, count * plane_cells)
        for p in range(0 if direct or planes.gather else count):
            depth.first = plane + p
            depth.count = 1
            exact = exact_rows
            if flat:
                exact = max(exact_rows - (plan.outer - 1 - plane - p) * height.input_size, 0)
            else:
                depth = window_of(depth_axis, (plane + p) % depth_axis.output_size)
                depth.first += (plane + p) // depth_axis.output_size * depth_axis.input_size
            values = src + depth.first * in_plane
            if loads:
                values = rows + p * plane_cells * leaves.value
            stack_plane(
                plan, leaves, stack + p * stack_plane_size, values, depth.count, margin, exact, loads)
        values = src + plane * in_plane if direct else stack
        n = count * planes.result_rows
        out = pooling.dst + plane * out_plane
        target = out if direct_result else result
        across = leaves.across_stored if direct else leaves.across
        if planes.gather:
            values = rows
        elif height.kernel_size > 1 or height.stride > 1:
            if height.stride == 1 and climbs(height):
                climb_cells(
                    &ladder, leaves, values,
                    (n + (height.kernel_size - 1) * height.dilation) * planes.width, height.kernel_size,
                    height.dilation * planes.width, 0, rungs, False)
                join_runs(&ladder, leaves, rows, 0, n * planes.width, 1, 1, 0)
            elif height.stride == 1:
                across(
                    rows, values, height.dilation * planes.width, height.kernel_size, n * planes.width, 1, 1, 0, 0,
                    False, NULL)
            else:
                # Whole vectors are faster, if there are elements to fill the last one. What they make behind a row is
                # made again, since up to four taps are combined in one go.
                columns = planes.width
                if height.kernel_size <= 4 and (not direct or (plan.outer - plane - count) * in_plane >= PIECE):
                    columns = round_up(columns, PIECE // leaves.storage)
                across(
                    rows, values, height.dilation * planes.width, height.kernel_size, columns, 1, n,
                    planes.width, height.stride * planes.width, False, NULL)
            # The last windows look for the padding that the next row would have before it.
            leaves.identity(
                rows + n * planes.width * leaves.value, (width.kernel_size - 1) * width.dilation, NULL)
            values = rows
            across = leaves.across
        if picked:
            leaves.pick(
                target, width.output_size, values, planes.width, n, places, width.kernel_size, width.input_size > 8,
                NULL)
        elif width.adaptive:
            for o in range(width.output_size):
                window = window_of(width, o)
                across(
                    target + o * leaves.value, values + window.first * leaves.value, 1, window.count, 1, 1, n,
                    planes.result_columns, planes.width, False, NULL)
        elif climbs(width):
            climb_cells(
                &ladder, leaves, values,
                (n * planes.result_columns - 1) * width.stride + (width.kernel_size - 1) * width.dilation + 1,
                width.kernel_size, width.dilation, 0, rungs, False)
            join_runs(&ladder, leaves, target, 0, n * planes.result_columns, width.stride, 1, 0)
        else:
            across(
                target, values, width.dilation, width.kernel_size, n * planes.result_columns, width.stride, 1, 0, 0,
                False, NULL)
        if plan.average:
            if plan.uniform:
                leaves.divide(target, n * planes.result_columns, plan.divisor)
            else:
                for p in range(count):
                    leaves.divide_each(
                        target + p * result_plane * leaves.value, planes.divisors, planes.divisors32, result_plane)
            if leaves.settle != NULL:
                leaves.settle(target, n * planes.result_columns, plan.number_divisor)
        line = result
        if leaves.store != NULL:
            # As a whole, in long loops; rows are copied out afterwards.
            line = out if planes.direct_result else converted
            leaves.store(line, result, count * result_plane)
        if not planes.direct_result:
            for p in range(count):
                left = (end - plane - p - 1) * height.output_size
                copy_rows(
                    out, out_row, line, planes.result_columns * leaves.storage, out_row, height.output_size, NULL,
                    max(exact_results - left, 0))
                line += result_plane * leaves.storage
                out += out_plane
        plane += count
    return -1


cdef bint stacks_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    return plan.planes.stacked and not plan.planes.flat and (
        call.leaves.across_stored != NULL or (plan.axes[0].kernel_size == 1 and not plan.planes.gather))


cdef ptrdiff_t stacks_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * call.plan.axes[0].output_size


cdef ptrdiff_t stacks_bytes(const call_t* call) noexcept nogil:
    return stacks_scratch(call.plan, call.leaves)
