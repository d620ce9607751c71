# Plans that a call is done by in the place of its own: with the same windows, and sums in the same order.


cdef inline bint joins_rows(const plan_t* plan) noexcept nogil:
    """Whether rows that lie one behind the other are as good as one: windows of single rows that lie side by side."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef const axis_t* other
    cdef int i
    for i in range(2):
        other = &plan.axes[i]
        if (
            other.kernel_size != 1 or other.stride != 1 or other.adaptive or other.begin != 0
            or other.end != other.output_size or other.input_size != other.output_size
        ):
            return False
    return (
        plan.inner == 1 and plan.uniform and not axis.adaptive and axis.pad_begin == 0 and axis.begin == 0
        and axis.end == axis.output_size and axis.stride * axis.output_size == axis.input_size
        and (axis.kernel_size - 1) * axis.dilation < axis.stride and axis.output_size > 1
        and axis.input_size <= BAND_CELLS and rows_of_output(plan) > 1)


cdef bint lay_again(const forward_t* pooling, ptrdiff_t threads, plan_t* laid) noexcept nogil:
    """Lay a plan of bands out for as many threads and for how its memory is read; return whether that is another."""
    cdef const plan_t* plan = pooling.plan
    cdef axis_t* axis = &laid.axes[2]
    cdef ptrdiff_t tasks = plan.outer * bands_of(plan)
    cdef ptrdiff_t row_bytes, rows
    if joins_rows(plan):
        rows = rows_of_output(plan)
        laid[0] = plan[0]
        memset(&laid.planes, 0, sizeof(planes_t))
        laid.outer = 1
        laid.axes[0] = laid.axes[1] = plan.axes[0]
        laid.axes[0].input_size = laid.axes[0].output_size = laid.axes[0].end = 1
        laid.axes[1] = laid.axes[0]
        axis.input_size *= rows
        axis.output_size *= rows
        axis.end *= rows
        laid.in_row = laid.in_plane = axis.input_size
        laid.segment = min(max(1, BAND_CELLS // axis.stride), axis.output_size)
        # Results of whole vectors.
        laid.segment -= laid.segment % 8 if laid.segment > 8 else 0
        laid.band = 1
    elif (
        tasks < threads and plan.axes[2].kernel_size == 1 and plan.axes[2].stride == 1 and plan.axes[2].pad_begin == 0
        and not plan.axes[2].adaptive and plan.segment >= 2 * FEWEST_CHANNELS and plan.inner == 1
    ):
        # Of a map that is pooled as a whole each thread takes some channels.
        laid[0] = plan[0]
        laid.segment = max(<ptrdiff_t> FEWEST_CHANNELS, round_up(ceil_divide(
            plan.segment, ceil_divide(threads, tasks)), 16))
    elif pooling.fetches and skips_down(plan) and plan.axes[2].output_size > 1:
        # What is fetched ahead at a time has to find room.
        row_bytes = plan.span * plan.inner * pooling.leaves.storage * plan.axes[1].stride
        rows = max(1, FETCHED_BYTES // row_bytes)
        if rows >= plan.band:
            return False
        laid[0] = plan[0]
        laid.band = rows
        return True
    else:
        return False
    laid.segments = ceil_divide(axis.output_size, laid.segment)
    laid.span = (laid.segment - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
    return True
