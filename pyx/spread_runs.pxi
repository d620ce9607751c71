# Gradients of means over long adaptive windows. Between two cells where a window begins or ends all cells have the same
# gradient: a row is a few runs of equal values, and rows under the same windows are copies of one.


cdef inline bint lies_in_runs(const axis_t* axis) noexcept nogil:
    """Whether windows cover every cell, and are long enough to be worth a run."""
    if axis.adaptive:
        return axis.input_size >= 2 * axis.output_size
    return axis.dilation == 1 and axis.pad_begin == 0 and axis.stride == axis.kernel_size and (
        axis.input_size == axis.stride * axis.output_size)


cdef inline ptrdiff_t first_beyond(const axis_t* axis, covering_t* held, ptrdiff_t cell) noexcept nogil:
    """Go on to the windows that hold a cell, and return the first cell that others hold."""
    cdef window_t window
    cdef ptrdiff_t until = axis.input_size
    while held.stop < axis.output_size:
        window = window_of(axis, held.stop)
        if window.first > cell:
            until = window.first
            break
        held.stop += 1
    while held.first < held.stop:
        window = window_of(axis, held.first)
        if window.first + window.count > cell:
            return min(until, window.first + window.count)
        held.first += 1
    return until


cdef inline ptrdiff_t most_runs(const plan_t* plan) noexcept nogil:
    """Runs of a segment, at most."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t cells = gradient_segment(plan)
    return min(cells, 2 * (<ptrdiff_t> (<int128_t> cells * axis.output_size // axis.input_size) + 3))


cdef inline ptrdiff_t runs_outputs(const plan_t* plan) noexcept nogil:
    """Outputs over a segment, at most."""
    cdef const axis_t* axis = &plan.axes[2]
    return min(
        <ptrdiff_t> (<int128_t> gradient_segment(plan) * axis.output_size // axis.input_size) + 3, axis.output_size)


cdef inline ptrdiff_t runs_scratch(const plan_t* plan, const gradient_t* leaves) noexcept nogil:
    """Bytes for one thread: gradients of a row of outputs, their sum, the values of runs as they are summed and as they
    are stored, and the lengths of the runs."""
    cdef ptrdiff_t cells = 2 * runs_outputs(plan) + 2 * most_runs(plan)
    return round_up(cells * plan.inner * leaves.sum.value, 64) + most_runs(plan) * <ptrdiff_t> sizeof(ptrdiff_t)


cdef inline void fill_cells(bits_t* dst, const char* value, ptrdiff_t n) noexcept nogil:
    cdef bits_t v = (<const bits_t*> value)[0]
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = v


cdef inline void repeat_bytes(char* dst, ptrdiff_t size, ptrdiff_t nbytes) noexcept nogil:
    """Write the first `size` bytes again and again, up to `nbytes`."""
    cdef ptrdiff_t n
    while size < nbytes:
        n = min(size, nbytes - size)
        memcpy(dst + size, dst, n)
        size += n


cdef inline void fill_run(char* dst, const char* value, ptrdiff_t size, ptrdiff_t inner, ptrdiff_t n) noexcept nogil:
    """Write n times a cell of `inner` elements of so many bytes."""
    if inner > 1:
        memcpy(dst, value, inner * size)
        repeat_bytes(dst, inner * size, n * inner * size)
    elif size == 2:
        fill_cells(<uint16_t*> dst, value, n)
    elif size == 4:
        fill_cells(<uint32_t*> dst, value, n)
    else:
        fill_cells(<uint64_t*> dst, value, n)


cdef inline void sum_windows(real_t* value, const real_t* summed, ptrdiff_t windows) noexcept nogil:
    """Sum the gradients of neighbouring windows: mostly one, or two."""
    cdef ptrdiff_t o
    cdef real_t total = summed[0]
    for o in range(1, windows):
        total += summed[o]
    value[0] = total


cdef void sum_gradients_above(
    const spreading_t* pooling, char* summed, char* one, ptrdiff_t outer, const covering_t* depths,
    const covering_t* heights, const covering_t* held,
) noexcept nogil:
    """Divide the gradients of the outputs over a row of cells, and sum those that lie one above the other."""
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* sum = &pooling.leaves.sum
    cdef ptrdiff_t outputs = held.stop - held.first
    cdef ptrdiff_t n = outputs * plan.inner
    cdef ptrdiff_t od, oh
    cdef const char* src
    cdef char* target
    cdef bint any_row = False
    for od in range(depths.first, depths.stop):
        for oh in range(heights.first, heights.stop):
            src = pooling.grad_output + (
                ((outer * plan.axes[0].output_size + od) * plan.axes[1].output_size + oh) * plan.axes[2].output_size
                + held.first) * plan.inner * sum.storage
            target = one if any_row else summed
            if sum.load == NULL:
                memcpy(target, src, n * sum.value)
            else:
                sum.load(target, src, n)
            divide_row(
                plan, sum, target, held.first, outputs,
                <double> window_of(&plan.axes[0], od).divisor * <double> window_of(&plan.axes[1], oh).divisor)
            if any_row:
                sum.across(summed, one, 0, 1, n, 1, 1, 0, 0, True, NULL)
            any_row = True


cdef ptrdiff_t spread_runs(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make segments begin to end of rows of the average's gradient."""
    cdef const spreading_t* pooling = <const spreading_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* sum = &pooling.leaves.sum
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t size = inner * sum.value
    cdef ptrdiff_t stored = inner * sum.storage
    cdef ptrdiff_t segment = gradient_segment(plan)
    cdef ptrdiff_t segments = ceil_divide(axis.input_size, segment)
    cdef ptrdiff_t nbytes = axis.input_size * stored
    cdef char* one = scratch
    cdef char* summed = one + runs_outputs(plan) * size
    cdef char* values = summed + runs_outputs(plan) * size
    cdef char* cells = values + most_runs(plan) * size
    cdef ptrdiff_t* lengths = <ptrdiff_t*> (scratch + round_up(
        2 * (runs_outputs(plan) + most_runs(plan)) * size, 64))
    cdef ptrdiff_t task = begin
    cdef ptrdiff_t rest, cell, stop, h, d, rows, runs, r, o
    cdef covering_t depths, heights, covering, held
    cdef char* out
    while task < end:
        cell = task % segments * segment
        stop = min(cell + segment, axis.input_size)
        rest = task // segments
        h = rest % height_axis.input_size
        rest //= height_axis.input_size
        d = rest % depth_axis.input_size
        rest //= depth_axis.input_size
        depths = windows_covering(depth_axis, d, 1)
        # Rows that are made together; of those in segments each is made for itself.
        rows = 1
        if segments > 1:
            heights = windows_covering(height_axis, h, 1)
            covering = windows_covering(axis, cell, stop - cell)
        else:
            covering.first = 0
            covering.stop = axis.output_size
            if task == begin:
                heights = windows_covering(height_axis, h, 1)
            elif h == 0:
                heights.first = heights.stop = 0
            rows = min(first_beyond(height_axis, &heights, h) - h, end - task)
        if is_stopped(scratch, rows * (stop - cell) * inner):
            return -1
        sum_gradients_above(pooling, summed, one, rest, &depths, &heights, &covering)
        held.first = held.stop = covering.first
        runs = 0
        while cell < stop:
            lengths[runs] = min(first_beyond(axis, &held, cell), stop) - cell
            cell += lengths[runs]
            o = held.first - covering.first
            if inner > 1:
                sum.across(
                    values + runs * size, summed + o * size, inner, held.stop - held.first, inner, 1, 1, 0, 0, False,
                    NULL)
            elif sum.value == sizeof(float):
                sum_windows((<float*> values) + runs, (<float*> summed) + o, held.stop - held.first)
            else:
                sum_windows((<double*> values) + runs, (<double*> summed) + o, held.stop - held.first)
            runs += 1
        # Dividing by 1 makes every NaN the same one.
        sum.divide(values, runs * inner, 1)
        if sum.store != NULL:
            sum.store(cells, values, runs * inner)
        out = pooling.grad_input + task_offset(plan, task, segment, segments) * sum.storage
        o = 0
        for r in range(runs):
            fill_run(
                out + o * stored, (values if sum.store == NULL else cells) + r * stored, sum.storage, inner, lengths[r])
            o += lengths[r]
        repeat_bytes(out, nbytes, rows * nbytes if segments == 1 else 0)
        task += rows
    return -1


cdef bint spread_runs_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    cdef bint any_adaptive = False
    cdef int i
    for i in range(3):
        if not lies_in_runs(&plan.axes[i]) or plan.axes[i].output_size == 0:
            return False
        any_adaptive |= plan.axes[i].adaptive
    return any_adaptive


cdef ptrdiff_t spread_runs_bytes(const call_t* call) noexcept nogil:
    return runs_scratch(call.plan, call.gradient)
