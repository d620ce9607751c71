# Gradients of maxima and minima: they go where an index says, plane by plane.

cdef struct scattering_t:
    const plan_t* plan
    const gradient_t* leaves
    const argmax_t* argmax
    # Indices are read, or found again in the input where there are none.
    const char* input
    const int64_t* indices
    const char* grad_output
    char* grad_input
    # Planes are made in so many parts; whether indices that are given lie in the rows of their windows.
    ptrdiff_t parts
    bint local


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
    const plan_t* plan, const gradient_t* leaves, const argmax_t* argmax, ptrdiff_t parts
) noexcept nogil:
    """Bytes for one thread: indices found together, and where gradients are stored narrower than they are summed, their
    gradients converted and the sums of a part of a plane."""
    cdef ptrdiff_t found = max(found_together(plan), plan.segment * plan.inner)
    cdef ptrdiff_t nbytes = round_up(found * 8, 64) + round_up(indexed_scratch(plan, argmax), 64)
    cdef ptrdiff_t size = plan.axes[cut_axis(plan)].input_size
    if leaves.sum.load != NULL:
        nbytes += round_up((found + plane_cells(plan) // size * ceil_divide(size, parts)) * leaves.sum.value, 64)
    if takes_four(plan, leaves, parts):
        nbytes = max(nbytes, four_cells(plan) * leaves.sum.value)
    return nbytes


cdef inline ptrdiff_t four_cells(const plan_t* plan) noexcept nogil:
    """Cells and outputs of four planes."""
    return 4 * (plane_cells(plan) + pooled_cells(plan))


cdef inline bint takes_four(const plan_t* plan, const gradient_t* leaves, ptrdiff_t parts) noexcept nogil:
    """Whether four planes are so small that their sums are made in turns, though these are wider than the planes."""
    return leaves.sum.load != NULL and plan.inner == 1 and parts == 1 and (
        four_cells(plan) * leaves.sum.value <= MAP_BYTES // 4)


cdef ptrdiff_t scatter_stacks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Find the argmaxes of planes begin to end again, and send the gradients there."""
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const argmax_t* argmax = pooling.argmax
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t per_plane = plan.axes[0].output_size * plan.pieces.bands
    cdef ptrdiff_t found_size = found_together(plan)
    cdef int64_t* found = <int64_t*> scratch
    cdef char* argmax_memory = scratch + round_up(found_size * 8, 64)
    cdef char* converted = argmax_memory + round_up(indexed_scratch(plan, argmax), 64)
    cdef char* sums = converted + found_size * leaves.sum.value
    cdef ptrdiff_t piece = begin * per_plane
    cdef const char* gradient = pooling.grad_output + (
        begin * plan.axes[0].output_size * height.output_size * plan.axes[2].output_size * size)
    cdef const char* values
    cdef const int64_t* index
    cdef ptrdiff_t count, p, n, plane, first
    start_pieces(plan, argmax, argmax_memory)
    while piece < end * per_plane:
        count = min(plan.pieces.stacked, end * per_plane - piece)
        if is_stopped(scratch, found_size * plan.axes[0].kernel_size * (height.kernel_size + plan.axes[2].kernel_size)):
            return -1
        argmax_pieces(plan, argmax, pooling.input, NULL, found, argmax_memory, piece, count)
        index = found
        first = piece
        while per_plane == 1 and leaves.sum.load == NULL and first + 4 <= piece + count:
            # Additions to one plane wait for each other.
            n = height.output_size * plan.axes[2].output_size
            sums = pooling.grad_input + first * elements * size
            memset(sums, 0, 4 * elements * size)
            leaves.scatter_four(sums, gradient, index, n, n, elements, False, False)
            gradient += 4 * n * size
            index += 4 * n
            first += 4
        for p in range(first, piece + count):
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


cdef inline ptrdiff_t parts_of(const plan_t* plan, const gradient_t* leaves, bint given) noexcept nogil:
    """Parts of a plane that are made apart, so that few planes are work for several threads, and wide sums take no more
    than so many bytes.

    Argmaxes near a cut are found for both sides.
    """
    cdef const axis_t* axis = &plan.axes[cut_axis(plan)]
    cdef ptrdiff_t parts = 1
    if not given and plan.outer < MANY_PLANES and cut_axis(plan) < 2:
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


cdef inline ptrdiff_t pooled_cells(const plan_t* plan) noexcept nogil:
    return plan.axes[0].output_size * plan.axes[1].output_size * plan.axes[2].output_size * plan.inner


cdef inline bint is_sparse(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Whether planes of halves have so few outputs that sums of gradients need no plane of their own."""
    return leaves.sum.load != NULL and plan.inner == 1 and pooled_cells(plan) <= SPARSE_OUTPUTS and (
        plane_cells(plan) >= 16 * pooled_cells(plan))


cdef ptrdiff_t scatter_few_of(
    const leaves_t* sum, char* dst, const real_t* gradients, const int64_t* index, ptrdiff_t n, ptrdiff_t first,
    ptrdiff_t cells, bint checked, bint skip,
) noexcept nogil:
    cdef ptrdiff_t x, y
    cdef ptrdiff_t bad = -1
    cdef int64_t i
    cdef real_t total
    for x in range(n):
        i = index[x] - first
        if not <uint64_t> i < <uint64_t> cells:
            if checked and not (skip and index[x] == -1) and bad < 0:
                bad = x
            continue
        y = 0
        while y < x and index[y] != index[x]:
            y += 1
        if y < x:
            # It is in the sum of the first that names this cell.
            continue
        total = 0
        for y in range(x, n):
            if index[y] == index[x]:
                total += gradients[y]
        sum.store(dst + i * sum.storage, &total, 1)
    return bad


cdef inline ptrdiff_t scatter_few(
    const leaves_t* sum, char* dst, const char* gradients, const int64_t* index, ptrdiff_t n, ptrdiff_t first,
    ptrdiff_t cells, bint checked, bint skip,
) noexcept nogil:
    """Do as `scatter` for all outputs of a plane, and store the cells: zeros, and sums where indices are."""
    memset(dst, 0, cells * sum.storage)
    if sum.value == sizeof(float):
        return scatter_few_of(sum, dst, <const float*> gradients, index, n, first, cells, checked, skip)
    return scatter_few_of(sum, dst, <const double*> gradients, index, n, first, cells, checked, skip)


cdef inline ptrdiff_t scatter_given(
    const scattering_t* pooling, char* scratch, ptrdiff_t plane, ptrdiff_t planes
) noexcept nogil:
    """Send the gradients of whole planes of one channel to the elements that given indices name, not row by row.

    Returns the position of the first index that names no element, -1, or -2 where it shall stop.
    """
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t outputs = plan.axes[0].output_size * plan.axes[1].output_size * plan.axes[2].output_size
    cdef ptrdiff_t at = plane * outputs
    cdef bint skip = has_empty_windows(plan)
    cdef char* dst = pooling.grad_input + plane * elements * size
    cdef ptrdiff_t n, bad
    cdef ptrdiff_t x = 0
    cdef ptrdiff_t first = -1
    memset(dst, 0, planes * elements * size)
    while x < outputs:
        n = min(outputs - x, <ptrdiff_t> TOGETHER)
        if is_stopped(scratch, 4 * planes * n):
            return -2
        if planes == 4:
            bad = leaves.scatter_four(
                dst, pooling.grad_output + (at + x) * size, pooling.indices + at + x, n, outputs, elements, True, skip)
        else:
            bad = leaves.scatter(
                dst, pooling.grad_output + (at + x) * size, pooling.indices + at + x, n, 1, 1, 0, elements, True, skip)
        if bad >= 0 and (first < 0 or at + x + bad < first):
            first = at + x + bad
        x += n
    return first


cdef ptrdiff_t scatter_fours(
    const scattering_t* pooling, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    """Do as `scatter_given` four planes at a time, in sums that are wider than planes; returns -1 where all is well."""
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t outputs = pooled_cells(plan)
    cdef char* sums = scratch + 4 * outputs * leaves.sum.value
    cdef ptrdiff_t plane, bad
    for plane in range(begin, end, 4):
        if is_stopped(scratch, 16 * outputs + elements):
            return -2
        leaves.sum.load(scratch, pooling.grad_output + plane * outputs * leaves.sum.storage, 4 * outputs)
        memset(sums, 0, 4 * elements * leaves.sum.value)
        bad = leaves.scatter_four(
            sums, scratch, pooling.indices + plane * outputs, outputs, outputs, elements, True, has_empty_windows(plan))
        if bad >= 0:
            return plane * outputs + bad
        leaves.sum.store(pooling.grad_input + plane * elements * leaves.sum.storage, sums, 4 * elements)
    return -1


cdef ptrdiff_t scatter_planes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Send each gradient to the element that its index names, for parts begin to end of planes.

    Returns the position of the first index that names no element, or -1.
    """
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const argmax_t* argmax = pooling.argmax
    cdef const axis_t* cut = &plan.axes[cut_axis(plan)]
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t slab = elements // cut.input_size
    cdef ptrdiff_t parts = pooling.parts
    cdef ptrdiff_t at, n, task, bad, part, first, cells, d, h, segment, first_segment, stop_segment
    cdef int64_t* found = <int64_t*> scratch
    cdef char* argmax_memory = scratch + round_up(plan.segment * inner * 8, 64)
    cdef char* converted = argmax_memory + round_up(indexed_scratch(plan, argmax), 64)
    cdef char* sums = converted + plan.segment * inner * leaves.sum.value
    cdef char* target
    cdef const int64_t* index
    cdef const char* gradient
    cdef row_t row
    cdef covering_t depths, heights, held
    # Of planes in parts, indices have been checked before.
    cdef bint checked = pooling.indices != NULL and parts == 1
    cdef bint empty_windows = has_empty_windows(plan)
    cdef bint sparse = pooling.indices != NULL and is_sparse(plan, leaves)
    cdef ptrdiff_t pooled = pooled_cells(plan)
    cdef double few[SPARSE_OUTPUTS]
    # Neighbours then share their argmax more often than not.
    cdef bint in_runs = not checked and inner <= RUN_CHANNELS and span_of(&plan.axes[2]) >= (
        RUN_OVERLAP * plan.axes[2].stride)
    if checked and inner == 1 and leaves.sum.load == NULL:
        task = begin
        while task < end:
            n = 4 if task + 4 <= end else 1
            bad = scatter_given(pooling, scratch, task, n)
            if bad != -1:
                return max(bad, -1)
            task += n
        return -1
    if checked and not sparse and takes_four(plan, leaves, parts):
        task = begin + (end - begin) // 4 * 4
        bad = scatter_fours(pooling, scratch, begin, task)
        if bad != -1:
            return max(bad, -1)
        begin = task
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
            held = windows_covering(cut, first, cells)
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
        if sparse:
            if is_stopped(scratch, cells // 8 + pooled * pooled):
                return -1
            at = row.outer * pooled
            leaves.sum.load(few, pooling.grad_output + at * size, pooled)
            bad = scatter_few(
                &leaves.sum, target, <char*> few, pooling.indices + at, pooled, first, cells, checked, empty_windows)
            if bad >= 0:
                return at + bad
            continue
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
                        argmax_row(plan, argmax, pooling.input, &row, NULL, found, argmax_memory)
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
        return parts_of(plan, leaves, False)
    if leaves.sum.load == NULL or sizes.rows > 1:
        return 1
    cell = plan.inner * leaves.sum.value
    return max(1, ceil_divide(
        plane_cells(plan) * leaves.sum.value, max(<ptrdiff_t> SUMS_BYTES, 4 * sizes.spans[2] * cell)))


cdef inline ptrdiff_t scatter_long_scratch(
    const plan_t* plan, const gradient_t* leaves, const argmax_t* argmax, const long_t* sizes
) noexcept nogil:
    """Bytes for one thread: indices found together; what finding them takes; a row of gradients; and, where gradients
    are stored narrower than they are summed, the sums of planes."""
    cdef ptrdiff_t nbytes = round_up(found_cells(plan, sizes) * 8, 64) + round_up(
        long_scratch(plan, argmax, sizes), 64)
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
    """Find the argmaxes of long windows again, for parts begin to end of planes, and send the gradients there."""
    cdef const scattering_t* pooling = <const scattering_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const gradient_t* leaves = pooling.leaves
    cdef const axis_t* cut = &plan.axes[cut_axis(plan)]
    cdef long_t sizes = lay_long(plan, pooling.argmax, True)
    cdef search_t search
    cdef tile_t* tile = &search.tile
    cdef ptrdiff_t size = leaves.sum.storage
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t elements = plane_cells(plan)
    cdef ptrdiff_t slab = elements // cut.input_size
    cdef ptrdiff_t parts = parts_of_long(plan, leaves, &sizes)
    cdef int64_t* found = <int64_t*> scratch
    cdef char* memory = scratch + round_up(found_cells(plan, &sizes) * 8, 64)
    cdef char* converted = memory + round_up(long_scratch(plan, pooling.argmax, &sizes), 64)
    cdef char* own_sums = converted + round_up(sizes.together * sizes.channels * leaves.sum.value, 64)
    cdef ptrdiff_t out_row = plan.axes[2].output_size
    cdef ptrdiff_t task, part, first, cells, outers, outer, channel, column, columns, nbytes, r, d, h, x, n, at, rows
    cdef ptrdiff_t first_column, stop_column
    cdef char* sums
    cdef char* target
    cdef const char* gradient
    cdef const int64_t* index
    cdef covering_t depths, heights, held
    memset(&search, 0, sizeof(search))
    search.plan = plan
    search.argmax = pooling.argmax
    search.src = pooling.input
    search.scratch = scratch
    start_search(&search, &sizes, memory, &nbytes)
    # Neighbours then share their argmax more often than not, and cells of one channel lie near each other.
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
            held = windows_covering(cut, first, cells)
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


cdef bint scatter_long_fits(const call_t* call) noexcept nogil:
    return call.finds and has_long(call.plan, call.sizes)


cdef ptrdiff_t scatter_long_tasks_of(const call_t* call) noexcept nogil:
    return scatter_long_tasks(call.plan, call.gradient, call.sizes)


cdef ptrdiff_t scatter_long_bytes(const call_t* call) noexcept nogil:
    return scatter_long_scratch(call.plan, call.gradient, call.argmax, call.sizes)


cdef bint scatter_stacks_fits(const call_t* call) noexcept nogil:
    cdef const leaves_t* sum = &call.gradient.sum
    return call.finds and call.plan.pieces.stacked and call.plan.outer > 1 and (
        sum.load == NULL or plane_cells(call.plan) * sum.value <= SUMS_BYTES)


cdef ptrdiff_t scatter_stacks_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer


cdef ptrdiff_t scatter_stacks_bytes(const call_t* call) noexcept nogil:
    return scatter_scratch(call.plan, call.gradient, call.argmax, 1)


cdef ptrdiff_t scatter_planes_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * call.parts


cdef ptrdiff_t scatter_planes_bytes(const call_t* call) noexcept nogil:
    return scatter_scratch(call.plan, call.gradient, call.argmax, call.parts)
