# Narrow planes whose rows are as long before as after: windows slide along a whole stack of them at once, straight from
# the input into the output, and what they make across the ends of rows is made again.


cdef inline ptrdiff_t flat_scratch(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Bytes of scratch memory for one thread: what windows made of the rows of a stack, its result, and its rows where
    they are converted."""
    cdef const planes_t* planes = &plan.planes
    cdef ptrdiff_t rows = planes.height + planes.result_rows + (planes.height if leaves.across_stored == NULL else 0)
    return planes.stacked * rows * planes.width * leaves.value


cdef inline bint holds_nan_of(const real_t* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    cdef bint found = False
    for x in range(n):
        found |= src[x] != src[x]
    return found


cdef inline bint holds_nan(const leaves_t* leaves, const char* src, ptrdiff_t n) noexcept nogil:
    """Whether there is a NaN among floats or doubles."""
    if leaves.storage == sizeof(float):
        return holds_nan_of(<const float*> src, n)
    return holds_nan_of(<const double*> src, n)


cdef ptrdiff_t forward_flat(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool planes begin to end whose rows stay as long as they are."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef const planes_t* planes = &plan.planes
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t row = planes.width
    cdef ptrdiff_t cells = planes.result_rows * row
    cdef char* slid = scratch
    cdef char* result = slid + planes.stacked * planes.height * row * leaves.value
    cdef char* converted = result + planes.stacked * planes.result_rows * row * leaves.value
    cdef bint stored = leaves.across_stored != NULL
    cdef across_fn across = leaves.across_stored if stored else leaves.across
    cdef across_fn down = leaves.across
    # Where it is worth a look whether there is a NaN: the rest takes a third of the work without one. Windows of 3 x 3
    # take less time than the look.
    cdef bint looks = leaves.across_plain != NULL and height.kernel_size + width.kernel_size > 6
    cdef ptrdiff_t size = leaves.storage if stored else leaves.value
    cdef const char* src
    cdef char* out
    cdef char* target
    cdef ptrdiff_t plane, count, rows, o, p
    cdef window_t window
    plane = begin
    while plane < end:
        count = min(planes.stacked, end - plane)
        if is_stopped(scratch, planes.stacked * planes.height * row * (height.kernel_size + width.kernel_size)):
            return -1
        rows = count * planes.height
        src = pooling.src + plane * planes.height * row * leaves.storage
        if not stored:
            leaves.load(converted, src, rows * row)
            src = converted
        out = pooling.dst + plane * cells * leaves.storage
        target = out if leaves.store == NULL else result
        if looks:
            across = down = leaves.across if holds_nan(leaves, src, rows * row) else leaves.across_plain
        # As if all rows were one; windows that look beyond the ends of theirs are made again.
        across(
            slid + width.begin * leaves.value, src + (width.begin - width.pad_begin) * size, width.dilation,
            width.kernel_size, rows * row - width.begin - (row - width.end), 1, 1, 0, 0, False, NULL)
        for o in range(row):
            if not width.begin <= o < width.end:
                window = window_of(width, o)
                across(
                    slid + o * leaves.value, src + window.first * size, width.dilation, window.count, 1, 1,
                    rows, row, row, False, NULL)
        if height.stride == 1 and planes.result_rows == planes.height:
            # The same again, with rows for cells and planes for rows.
            down(
                target + height.begin * row * leaves.value,
                slid + (height.begin - height.pad_begin) * row * leaves.value, height.dilation * row,
                height.kernel_size, (rows - height.begin - (planes.height - height.end)) * row, 1, 1, 0, 0, False, NULL)
        else:
            for p in range(count):
                down(
                    target + (p * cells + height.begin * row) * leaves.value,
                    slid + (p * planes.height + height.begin * height.stride - height.pad_begin) * row * leaves.value,
                    height.dilation * row, height.kernel_size, row, 1, height.end - height.begin, row,
                    height.stride * row, False, NULL)
        for o in range(height.output_size):
            if not height.begin <= o < height.end:
                window = window_of(height, o)
                down(
                    target + o * row * leaves.value, slid + window.first * row * leaves.value, height.dilation * row,
                    window.count, row, 1, count, cells, planes.height * row, False, NULL)
        if plan.average and not plan.uniform:
            for p in range(count):
                leaves.divide_each(
                    target + p * cells * leaves.value, planes.divisors, planes.divisors32, cells)
        if plan.average and plan.uniform:
            leaves.divide(target, count * cells, plan.divisor)
        if plan.average and leaves.settle != NULL:
            leaves.settle(target, count * cells, plan.number_divisor)
        if leaves.store != NULL:
            leaves.store(out, result, count * cells)
        plane += count
    return -1


cdef bint flat_fits(const call_t* call) noexcept nogil:
    return call.plan.planes.stacked and call.plan.planes.flat


cdef ptrdiff_t flat_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer


cdef ptrdiff_t flat_bytes(const call_t* call) noexcept nogil:
    return flat_scratch(call.plan, call.leaves)
