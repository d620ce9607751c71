# Means of long windows of small integers. Their sums are exact in any order, and so each is made from the one before:
# down the columns, the row that enters the windows is added and the one that leaves them subtracted; along such a row
# of sums, the same is done with columns. However long windows are, that is four additions each.

cdef extern from "c/running.h":
    void exchange_int8 "pooling_exchange_int8" (
        int32_t* sums, const int8_t* enters, const int8_t* leaves, ptrdiff_t n) noexcept nogil
    void exchange_uint8 "pooling_exchange_uint8" (
        int32_t* sums, const uint8_t* enters, const uint8_t* leaves, ptrdiff_t n) noexcept nogil
    void exchange_int16 "pooling_exchange_int16" (
        int32_t* sums, const int16_t* enters, const int16_t* leaves, ptrdiff_t n) noexcept nogil
    void exchange_uint16 "pooling_exchange_uint16" (
        int32_t* sums, const uint16_t* enters, const uint16_t* leaves, ptrdiff_t n) noexcept nogil
    void slide_sums "pooling_slide_sums" (
        int32_t* dst, const int32_t* columns, ptrdiff_t outputs, ptrdiff_t inner, ptrdiff_t taps) noexcept nogil
    void quotients_half_even "pooling_quotients_half_even" (int32_t* row, ptrdiff_t n, int32_t divisor) noexcept nogil
    void quotients_half_up "pooling_quotients_half_up" (int32_t* row, ptrdiff_t n, int32_t divisor) noexcept nogil
    void quotients_floor "pooling_quotients_floor" (int32_t* row, ptrdiff_t n, int32_t divisor) noexcept nogil
    void quotients_trunc "pooling_quotients_trunc" (int32_t* row, ptrdiff_t n, int32_t divisor) noexcept nogil


cdef struct running_t:
    # The axes that windows slide down and along, and values of a cell.
    axis_t height, width
    ptrdiff_t inner
    # Outputs of a task: rows, of which there are `chunks`, and cells of a row, in `segments`; input cells under these.
    ptrdiff_t rows, chunks, outputs, segments, span


cdef inline bint slides_wide_cells(const plan_t* plan) noexcept nogil:
    """Whether windows slide along the last axis alone, and its cells are as wide as rows."""
    return plan.axes[1].input_size == 1 and plan.axes[1].output_size == 1 and plan.axes[1].kernel_size == 1 and (
        plan.inner >= RUNNING_WIDTH)


cdef inline running_t running_of(const plan_t* plan) noexcept nogil:
    """Divide outputs into tasks. Each begins with sums of whole windows, so it has about twice as many rows as they."""
    cdef running_t running
    cdef const axis_t* height = &running.height
    cdef const axis_t* width = &running.width
    running.height = plan.axes[1]
    running.width = plan.axes[2]
    running.inner = plan.inner
    if slides_wide_cells(plan):
        running.height = plan.axes[2]
        running.width = plan.axes[1]
        running.width.begin = 0
        running.width.input_size = running.width.output_size = running.width.end = plan.inner
        running.inner = 1
    running.rows = max(min(2 * height.kernel_size, ceil_divide(height.output_size, 4)), 16)
    running.chunks = ceil_divide(height.output_size, running.rows)
    running.rows = ceil_divide(height.output_size, running.chunks)
    running.chunks = ceil_divide(height.output_size, running.rows)
    running.outputs = max(4 * width.kernel_size, RUNNING_CELLS // running.inner)
    running.segments = ceil_divide(width.output_size, running.outputs)
    running.outputs = ceil_divide(width.output_size, running.segments)
    running.segments = ceil_divide(width.output_size, running.outputs)
    running.span = running.outputs + width.kernel_size - 1
    return running


cdef inline bint runs_on(const plan_t* plan) noexcept nogil:
    """Whether sums of these windows may be made so, where integers are summed in 32 bits."""
    cdef const axis_t* axis
    cdef int i
    axis = &plan.axes[0]
    if axis.kernel_size > 1 or axis.adaptive or axis.stride > 1 or axis.output_size != axis.input_size:
        return False
    if max(plan.axes[1].kernel_size, plan.axes[2].kernel_size) < RUNNING_TAPS:
        return False
    if plan.axes[1].kernel_size == 1 or plan.axes[2].kernel_size == 1:
        # These may be summed in 16 bits otherwise.
        if plan.axes[1].kernel_size * plan.axes[2].kernel_size < RUNNING_LINE_TAPS:
            return False
        if plan.axes[1].kernel_size == 1 and 4 < plan.inner < RUNNING_WIDTH:
            return False
    for i in range(1, 3):
        axis = &plan.axes[i]
        if axis.adaptive or axis.stride > 1 or axis.dilation > 1 or axis.has_empty:
            return False
        if axis.kernel_size > 1 and axis.output_size * 2 < axis.kernel_size:
            return False
    return running_scratch(plan, 4) <= WORKING_BYTES


cdef inline ptrdiff_t running_scratch(const plan_t* plan, ptrdiff_t value) noexcept nogil:
    """Bytes for one thread: sums of columns and of windows, and divisors."""
    cdef running_t running = running_of(plan)
    cdef ptrdiff_t cells = (running.span + running.outputs) * running.inner + 2 * 4
    return cells * value + running.outputs * running.inner * <ptrdiff_t> sizeof(double) + 3 * 64


cdef void divide_each_column(
    const axis_t* axis, ptrdiff_t inner, const leaves_t* leaves, int32_t* row, ptrdiff_t output, ptrdiff_t outputs,
    double of_rows, double* divisors,
) noexcept nogil:
    """Divide sums whose windows are cut off at the ends of a row each by its own divisor, the others by theirs."""
    cdef ptrdiff_t end = output + outputs
    cdef ptrdiff_t stop, n, i, c
    while output < end:
        if axis.begin <= output < axis.end:
            stop = min(axis.end, end)
            leaves.divide(row, (stop - output) * inner, of_rows * <double> axis.kernel_size)
        else:
            stop = end if output >= axis.begin else min(axis.begin, end)
            n = 0
            for i in range(output, stop):
                for c in range(inner):
                    divisors[n] = of_rows * <double> window_of(axis, i).divisor
                    n += 1
            leaves.divide_each(row, divisors, NULL, n)
        row += (stop - output) * inner
        output = stop


cdef ptrdiff_t forward_running(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make tasks begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef running_t running = running_of(plan)
    cdef const axis_t* height = &running.height
    cdef const axis_t* width = &running.width
    cdef ptrdiff_t inner = running.inner
    cdef ptrdiff_t in_row = width.input_size * inner * leaves.storage
    cdef ptrdiff_t out_row = width.output_size * inner * leaves.storage
    cdef char* slot = scratch
    cdef int32_t* columns = <int32_t*> take_scratch(&scratch, (running.span * inner + 4) * 4)
    cdef int32_t* sums = <int32_t*> take_scratch(&scratch, (running.outputs * inner + 4) * 4)
    cdef double* divisors = <double*> take_scratch(
        &scratch, running.outputs * inner * <ptrdiff_t> sizeof(double))
    cdef ptrdiff_t task, rest, row, stop, output, outputs, cell, left, inside, n, y, enters, taps
    cdef const char* plane
    cdef char* out
    for task in range(begin, end):
        output = task % running.segments * running.outputs
        rest = task // running.segments
        row = rest % running.chunks * running.rows
        # Planes of the first axis lie one behind another, as outer elements do.
        rest //= running.chunks
        outputs = min(running.outputs, width.output_size - output)
        stop = min(row + running.rows, height.output_size)
        cell = output - width.pad_begin
        left = max(-cell, 0)
        inside = min(cell + outputs + width.kernel_size - 1, width.input_size) - cell - left
        plane = pooling.src + rest * height.input_size * in_row + (cell + left) * inner * leaves.storage
        out = pooling.dst + (rest * height.output_size + row) * out_row + output * inner * leaves.storage
        n = max(inside, 0) * inner
        memset(columns, 0, (running.span * inner + 4) * 4)
        taps = height.kernel_size
        for y in range(max(row - height.pad_begin, 0), min(row - height.pad_begin + taps - 1, height.input_size)):
            leaves.exchange(columns + left * inner, plane + y * in_row, NULL, n)
        if is_stopped(slot, taps * n):
            return -1
        enters = row - height.pad_begin + taps - 1
        for y in range(row, stop):
            if is_stopped(slot, 4 * outputs * inner):
                return -1
            leaves.exchange(
                columns + left * inner, plane + enters * in_row if 0 <= enters < height.input_size else NULL,
                plane + (enters - taps) * in_row if y > row and 0 <= enters - taps < height.input_size else NULL, n)
            enters += 1
            if width.kernel_size > 1:
                slide_sums(sums, columns, outputs, inner, width.kernel_size)
            else:
                memcpy(sums, columns, outputs * inner * 4)
            if plan.average:
                if plan.uniform:
                    leaves.divide(sums, outputs * inner, plan.divisor)
                elif plan.divisor_override == plan.divisor_override:
                    leaves.divide(sums, outputs * inner, plan.divisor_override)
                else:
                    divide_each_column(
                        width, inner, leaves, sums, output, outputs, <double> window_of(height, y).divisor, divisors)
            leaves.store(out, sums, outputs * inner)
            out += out_row
    return -1


cdef bint running_fits(const call_t* call) noexcept nogil:
    return call.leaves.exchange != NULL and runs_on(call.plan)


cdef ptrdiff_t running_tasks(const call_t* call) noexcept nogil:
    cdef running_t running = running_of(call.plan)
    return call.plan.outer * call.plan.axes[0].output_size * running.chunks * running.segments


cdef ptrdiff_t running_bytes(const call_t* call) noexcept nogil:
    return running_scratch(call.plan, call.leaves.value)
