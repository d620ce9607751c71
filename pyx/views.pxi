# Pooling of arrays that do not lie side by side: each task copies some maps, or some rows of one, into its scratch
# memory, and pools them from there, in the caches. No copy of the whole array is made. Maps whose rows only lie apart,
# as those of a crop do, are pooled where they lie.

cdef struct viewed_t:
    const maps_t* maps
    work_fn work
    # Bytes that `work` works in; behind them lies what was copied.
    ptrdiff_t scratch
    # Maps of a task, or bands of rows, and how many tasks that makes of a map.
    ptrdiff_t together, slabs
    # Bytes of the result of a map.
    ptrdiff_t written
    # Whether anything is copied: maps that lie as kernels read them are not.
    bint copies
    # The plan of that many maps and that of the last ones, and the tasks that each is for `work`.
    plan_t part, rest
    ptrdiff_t part_tasks, rest_tasks
    forward_t forward
    indexed_t indexed


cdef bint cut_plan(const plan_t* plan, ptrdiff_t maps, ptrdiff_t count, plan_t* part) noexcept nogil:
    """Make the plan of some maps from that of all, so that they are pooled in the same way; return whether it can be.

    Only the number of maps differs: which leaves sums are made by must not depend on where arrays lie.
    """
    cdef axis_t* axis = &part.axes[1]
    part[0] = plan[0]
    if plan.outer >= maps and plan.outer % maps == 0:
        part.outer = plan.outer // maps * count
        return True
    # Outer elements may be an axis (pooling/plan.py).
    if (
        plan.outer != 1 or axis.kernel_size != 1 or axis.stride != 1 or axis.adaptive or axis.input_size % maps
        or axis.begin != 0 or axis.end != axis.input_size or axis.output_size != axis.input_size
        or plan.planes.stacked
    ):
        return False
    axis.input_size = axis.input_size // maps * count
    axis.output_size = axis.input_size
    axis.end = axis.input_size
    part.in_plane = axis.input_size * part.in_row
    return True


cdef ptrdiff_t view_maps(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool some maps after some others."""
    cdef const viewed_t* viewed = <const viewed_t*> job
    cdef const maps_t* maps = viewed.maps
    cdef char* values = scratch + viewed.scratch
    cdef ptrdiff_t task, first, count
    cdef forward_t forward
    for task in range(begin, end):
        first = task * viewed.together
        count = min(viewed.together, maps.count - first)
        if is_stopped(scratch, count * maps.nbytes):
            return -1
        forward = viewed.forward
        forward.plan = &viewed.part if count == viewed.together else &viewed.rest
        if viewed.copies:
            gather_maps(maps, values, first, count, 0, maps.sizes[0])
            forward.src = values
        else:
            forward.src = map_at(maps, first)
        forward.dst += first * viewed.written
        viewed.work(&forward, scratch, 0, viewed.part_tasks if count == viewed.together else viewed.rest_tasks)
    return -1


cdef ptrdiff_t view_indexed_maps(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool some maps after some others, and find indices."""
    cdef const viewed_t* viewed = <const viewed_t*> job
    cdef const maps_t* maps = viewed.maps
    cdef char* values = scratch + viewed.scratch
    cdef ptrdiff_t task, first, count
    cdef indexed_t indexed
    for task in range(begin, end):
        first = task * viewed.together
        count = min(viewed.together, maps.count - first)
        if is_stopped(scratch, count * maps.nbytes):
            return -1
        indexed = viewed.indexed
        indexed.plan = &viewed.part if count == viewed.together else &viewed.rest
        if viewed.copies:
            gather_maps(maps, values, first, count, 0, maps.sizes[0])
            indexed.src = values
        else:
            indexed.src = map_at(maps, first)
        indexed.dst += first * viewed.written
        indexed.indices += first * (viewed.written // maps.itemsize)
        viewed.work(&indexed, scratch, 0, viewed.part_tasks if count == viewed.together else viewed.rest_tasks)
    return -1


cdef ptrdiff_t view_slabs(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool some bands of a map after some others."""
    cdef const viewed_t* viewed = <const viewed_t*> job
    cdef const maps_t* maps = viewed.maps
    cdef const plan_t* plan = viewed.forward.plan
    cdef const axis_t* height = &plan.axes[1]
    cdef char* values = scratch + viewed.scratch
    cdef ptrdiff_t bands = bands_of(plan) // plan.segments
    cdef ptrdiff_t row_bytes = maps.nbytes // height.input_size
    cdef const char* src
    cdef ptrdiff_t task, number, band, more, row, first, last
    cdef window_t window
    cdef forward_t forward = viewed.forward
    for task in range(begin, end):
        number = task // viewed.slabs
        band = task % viewed.slabs * viewed.together
        more = min(viewed.together, bands - band)
        first = height.input_size
        last = 0
        for row in range(band * plan.band, min((band + more) * plan.band, height.output_size)):
            window = window_of(height, row)
            if window.count:
                first = min(first, window.first)
                last = max(last, window.first + (window.count - 1) * height.dilation + 1)
        if is_stopped(scratch, max(0, last - first) * row_bytes):
            return -1
        src = map_at(maps, number) + first * row_bytes
        if viewed.copies:
            src = values
            if first < last:
                gather_maps(maps, values, number, 1, first, last - first)
        # As if the whole map lay there, and all maps before it.
        forward.src = src - (number * height.input_size + first) * row_bytes
        viewed.work(
            &forward, scratch, (number * bands + band) * plan.segments, (number * bands + band + more) * plan.segments)
    return -1


cdef bint lay_apart(
    const plan_t* plan, const leaves_t* leaves, const maps_t* maps, const strategy_t* strategy, plan_t* apart
) noexcept nogil:
    """Make the plan of maps whose rows and planes lie apart, so that they are pooled where they lie; return whether
    they can be."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef planes_t* planes = &apart.planes
    cdef ptrdiff_t row = maps.steps[0]
    cdef ptrdiff_t plane = maps.outer_steps[1] if maps.outer_sizes[1] > 1 else maps.outer_steps[0]
    if maps.count == 1:
        plane = maps.sizes[0] * row
    if (
        strategy.work != forward_bands and strategy.work != forward_stacks and strategy.work != forward_strips
        and strategy.work != forward_singles
        or maps.axes < 2 or not maps.rows_lying or plan.outer != maps.count or maps.sizes[0] != height.input_size
        or plan.axes[0].input_size != 1 or plan.axes[0].output_size != 1 or plan.axes[0].has_empty
        or maps.nbytes != height.input_size * width.input_size * plan.inner * maps.itemsize
        or row < maps.nbytes // height.input_size or plane < (height.input_size - 1) * row + (
            maps.nbytes // height.input_size)
        or (min(maps.outer_sizes[0], maps.outer_sizes[1]) > 1
            and maps.outer_steps[0] != maps.outer_sizes[1] * maps.outer_steps[1])
    ):
        return False
    apart[0] = plan[0]
    apart.in_row = row // maps.itemsize
    apart.in_plane = plane // maps.itemsize
    if planes.stacked and planes.direct:
        # Such a buffer no longer lies there: a stack is made of combined rows, in the same order.
        if planes.divisors != NULL:
            return False
        planes.direct = False
        if leaves.across_stored == NULL:
            return True
        planes.gather = True
        planes.height = height.output_size * height.stride
        planes.width = round_up(round_up(planes.columns, width.stride), 8 if width.stride == 2 else 8 * width.stride)
        planes.margin = planes.columns < reach_of(width)
        planes.result_rows = height.output_size
        planes.result_columns = planes.width // width.stride
        planes.direct_result = planes.result_columns == width.output_size
        planes.stacked = max(1, STACK_CELLS // (planes.height * planes.width))
    return True


cdef inline ptrdiff_t maps_together(const maps_t* maps, ptrdiff_t threads) noexcept nogil:
    """Maps of a task: as many as stay in a cache, and as few as let every thread have several tasks; 0 if a map is too
    large."""
    cdef ptrdiff_t line = 64 // maps.itemsize
    cdef ptrdiff_t few = min(max(1, VIEWED_BYTES // maps.nbytes), ceil_divide(maps.count, 4 * threads))
    # Whole lines of the caches, which hold elements of as many maps.
    few = min(round_up(max(few, 1), line), maps.count) if maps.crossed else max(few, 1)
    return few if few * maps.nbytes <= MOST_VIEWED_BYTES else 0


cdef bint lay_parts(const plan_t* plan, const maps_t* maps, ptrdiff_t threads, viewed_t* viewed) noexcept nogil:
    """Cut a call into tasks of some maps; return whether it can be."""
    cdef ptrdiff_t rest
    viewed.copies = not maps.lying or maps.nbytes < LYING_BYTES
    if viewed.copies:
        viewed.together = maps_together(maps, threads)
    else:
        # Large ones are made by several threads each, where that can be.
        viewed.together = 1 if maps.nbytes <= MOST_VIEWED_BYTES or maps.count >= 4 * threads else 0
    if viewed.together == 0:
        return False
    rest = maps.count % viewed.together
    return cut_plan(plan, maps.count, viewed.together, &viewed.part) and cut_plan(
        plan, maps.count, rest if rest else viewed.together, &viewed.rest)


cdef bint lay_slabs(const plan_t* plan, const maps_t* maps, ptrdiff_t threads, viewed_t* viewed) noexcept nogil:
    """Cut a call of large maps into tasks of some bands; return whether it can be."""
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t bands = bands_of(plan) // plan.segments
    cdef ptrdiff_t span = (height.kernel_size - 1) * height.dilation + 1
    # Rows of the input that a band reads that the one before did not, and those that both read.
    cdef ptrdiff_t step = plan.band * (ceil_divide(height.input_size, height.output_size) if height.adaptive else (
        height.stride))
    cdef ptrdiff_t shared = 2 if height.adaptive else max(0, span - height.stride)
    cdef ptrdiff_t row_bytes, few, most
    if (
        plan.outer != maps.count or plan.axes[0].input_size != 1 or plan.axes[0].output_size != 1
        or plan.axes[0].has_empty or maps.sizes[0] != height.input_size or bands == 0 or maps.crossed
    ):
        return False
    viewed.copies = not maps.lying
    row_bytes = maps.nbytes // height.input_size
    # Rows that are copied twice are a quarter of a task at most.
    few = ceil_divide(4 * shared, step)
    most = MOST_VIEWED_BYTES // row_bytes - shared
    if most < step or few * step > most:
        return False
    viewed.together = min(max(few, min(ceil_divide(bands * maps.count, 4 * threads), VIEWED_BYTES // (
        step * row_bytes))), most // step)
    viewed.together = max(1, min(viewed.together, bands))
    viewed.slabs = ceil_divide(bands, viewed.together)
    return True


cdef int pool_maps_into(
    Plan plan, int reducer, int kind, int rounding, const maps_t* maps, char* dst, ptrdiff_t threads
) except -1:
    """Pool maps that lie anywhere; return 0, having done nothing, if they have to be copied first."""
    cdef leaves_t leaves
    cdef call_t call
    cdef const strategy_t* strategy
    cdef viewed_t viewed
    cdef plan_t apart
    cdef ptrdiff_t held
    lay_forward(plan, reducer, kind, rounding, maps.begin, dst, &viewed.forward, &leaves)
    call = forward_call(&plan.plan, &leaves)
    strategy = choose(FORWARD, &call)
    if lay_apart(&plan.plan, &leaves, maps, strategy, &apart):
        call.plan = viewed.forward.plan = &apart
        share(strategy.work, &viewed.forward, strategy.tasks(&call), strategy.scratch(&call), threads)
        return 1
    # What lies ahead in memory is not what comes next.
    viewed.forward.fetches = False
    viewed.maps = maps
    viewed.work = strategy.work
    viewed.written = plan.written // maps.count * leaves.storage
    if lay_parts(&plan.plan, maps, threads, &viewed):
        call.plan = &viewed.rest
        viewed.rest_tasks = strategy.tasks(&call)
        call.plan = &viewed.part
        viewed.part_tasks = strategy.tasks(&call)
        viewed.scratch = round_up(strategy.scratch(&call), 64)
        held = viewed.together * maps.nbytes + 64 if viewed.copies else 0
        share(
            view_maps, &viewed, ceil_divide(maps.count, viewed.together), viewed.scratch + held, threads)
        return 1
    if strategy.work == forward_bytes or strategy.work == forward_halves or strategy.work == forward_singles:
        # Slabs are whole bands.
        strategy = &FORWARD[FORWARD_ROWS - 1]
        viewed.work = strategy.work
    if strategy.work == forward_bands and lay_slabs(&plan.plan, maps, threads, &viewed):
        viewed.scratch = round_up(strategy.scratch(&call), 64)
        held = MOST_VIEWED_BYTES + 64 if viewed.copies else 0
        share(view_slabs, &viewed, maps.count * viewed.slabs, viewed.scratch + held, threads)
        return 1
    return 0


cdef int find_maps_into(
    Plan plan, int reducer, int kind, const maps_t* maps, char* dst, int64_t* indices, ptrdiff_t threads
) except -1:
    """Pool maps that lie anywhere, and find indices; return 0, having done nothing, if they have to be copied first."""
    cdef argmax_t argmax = argmax_of(&plan.plan, reducer, kind)
    cdef argmax_t keyed = argmax_of_long(&plan.plan, &argmax)
    cdef long_t sizes = lay_long(&plan.plan, &keyed, False)
    cdef call_t call = argmax_call(&plan.plan, &argmax, &keyed, &sizes)
    cdef const strategy_t* strategy = choose(INDICES, &call)
    cdef viewed_t viewed
    # Others make tiles that depend on how many maps there are, or need the maxima beforehand.
    if strategy.work != argmax_stacks and strategy.work != argmax_rows:
        return 0
    if not lay_parts(&plan.plan, maps, threads, &viewed):
        return 0
    argmax.streams = streams_indices(plan, argmax.storage)
    viewed.maps = maps
    viewed.work = strategy.work
    viewed.written = plan.written // maps.count * argmax.storage
    viewed.indexed.argmax = &argmax
    viewed.indexed.dst = dst
    viewed.indexed.indices = indices
    call.plan = &viewed.rest
    viewed.rest_tasks = strategy.tasks(&call)
    call.plan = &viewed.part
    viewed.part_tasks = strategy.tasks(&call)
    viewed.scratch = round_up(strategy.scratch(&call), 64)
    share(
        view_indexed_maps, &viewed, ceil_divide(maps.count, viewed.together),
        viewed.scratch + (viewed.together * maps.nbytes + 64 if viewed.copies else 0), threads)
    return 1
