# Windows of a single element, which is the result: 1 x 1 with a stride, as residual networks skip pixels, and results
# of the input's own size. Nothing is converted; means have one NaN for all, as a division makes it.

cdef extern from "c/singles.h":
    ctypedef struct nans_t "pooling_nans_t":
        uint64_t infinity, nan
    void singles_8 "pooling_singles_8" (
        uint8_t* dst, const uint8_t* src, ptrdiff_t n, ptrdiff_t step, nans_t nans) noexcept nogil
    void singles_16 "pooling_singles_16" (
        uint16_t* dst, const uint16_t* src, ptrdiff_t n, ptrdiff_t step, nans_t nans) noexcept nogil
    void singles_32 "pooling_singles_32" (
        uint32_t* dst, const uint32_t* src, ptrdiff_t n, ptrdiff_t step, nans_t nans) noexcept nogil
    void singles_64 "pooling_singles_64" (
        uint64_t* dst, const uint64_t* src, ptrdiff_t n, ptrdiff_t step, nans_t nans) noexcept nogil
    ptrdiff_t second_singles "pooling_second_singles" (
        char* dst, ptrdiff_t dst_row, const char* dst_end, const char* src, ptrdiff_t src_row, const char* src_end,
        ptrdiff_t n, ptrdiff_t rows, ptrdiff_t size, nans_t nans, ptrdiff_t ahead) noexcept nogil


cdef inline nans_t nans_of(const forward_t* pooling) noexcept nogil:
    """Return what the elements of a mean are looked at for; zeros where all are copied as they are."""
    cdef nans_t nans
    cdef int kind = pooling.kind
    nans.infinity = nans.nan = 0
    if not pooling.plan.average:
        return nans
    if kind == FLOAT16 or kind == FLOAT16_AS_64:
        nans.infinity, nans.nan = 0x7c00, 0x7e00
    elif kind == BFLOAT16 or kind == BFLOAT16_AS_64:
        nans.infinity, nans.nan = 0x7f80, 0x7fc0
    elif kind == FLOAT32 or kind == FLOAT32_AS_64:
        nans.infinity, nans.nan = 0x7f800000, 0x7fc00000
    elif kind == FLOAT64:
        nans.infinity, nans.nan = <uint64_t> 0x7ff << 52, <uint64_t> 0xfff << 51
    return nans


cdef inline void take_singles(
    char* dst, const char* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t size, nans_t nans
) noexcept nogil:
    """Take every `step`-th of a row of elements of so many bytes."""
    if size == 1:
        singles_8(<uint8_t*> dst, <const uint8_t*> src, n, step, nans)
    elif size == 2:
        singles_16(<uint16_t*> dst, <const uint16_t*> src, n, step, nans)
    elif size == 4:
        singles_32(<uint32_t*> dst, <const uint32_t*> src, n, step, nans)
    else:
        singles_64(<uint64_t*> dst, <const uint64_t*> src, n, step, nans)


cdef inline bint copies_all(const plan_t* plan) noexcept nogil:
    """Whether the result is the input, in one piece."""
    cdef int i
    for i in range(3):
        if plan.axes[i].stride != 1 and plan.axes[i].output_size > 1 or (
                plan.axes[i].input_size != plan.axes[i].output_size):
            return False
    return plan.in_row == plan.axes[2].input_size * plan.inner and (
        plan.in_plane == plan.axes[1].input_size * plan.in_row)


cdef inline ptrdiff_t cells_of_output(const plan_t* plan) noexcept nogil:
    return rows_of_output(plan) * plan.axes[2].output_size * plan.inner


cdef ptrdiff_t forward_singles(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make segments begin to end of rows."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t size = pooling.leaves.storage
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t row_bytes = axis.output_size * inner * size
    cdef ptrdiff_t step_bytes = height.stride * plan.in_row * size
    cdef ptrdiff_t ahead = max(1, FETCHED_BYTES // max(1, step_bytes)) if pooling.fetches else 0
    cdef nans_t nans = nans_of(pooling)
    cdef bint whole_rows = plan.segments == 1
    # Vectors may reach beyond their rows where memory is in one piece, and only as far as it goes.
    cdef bint together = whole_rows and inner == 1 and axis.stride == 2 and (
        plan.in_row == axis.input_size and plan.in_plane == height.input_size * plan.in_row)
    cdef const char* src_end = pooling.src + plan.outer * plan.axes[0].input_size * plan.in_plane * size
    cdef const char* dst_end = pooling.dst + end * row_bytes
    cdef ptrdiff_t task = begin
    # Rows that follow one another from plane to plane as they do in one.
    cdef bint regular = whole_rows and plan.axes[0].output_size == plan.axes[0].input_size and (
        plan.in_plane == height.output_size * height.stride * plan.in_row)
    cdef ptrdiff_t most = max(1, BAND_CELLS * 8 // max(1, axis.output_size * inner))
    cdef ptrdiff_t row, output, outputs, h, d, rows, o
    cdef const char* src
    cdef char* dst
    if copies_all(plan):
        for task in range(begin, end):
            outputs = min(<ptrdiff_t> BLOCK, cells_of_output(plan) - task * BLOCK)
            if is_stopped(scratch, outputs):
                return -1
            o = task * BLOCK * size
            take_singles(pooling.dst + o, pooling.src + o, outputs, 1, size, nans)
        return -1
    while task < end:
        row = task // plan.segments
        output = task % plan.segments * plan.segment
        outputs = min(plan.segment, axis.output_size - output)
        h = row % height.output_size
        d = row // height.output_size
        src = pooling.src + (
            (d // plan.axes[0].output_size * plan.axes[0].input_size
             + d % plan.axes[0].output_size * plan.axes[0].stride) * plan.in_plane
            + h * height.stride * plan.in_row + output * axis.stride * inner) * size
        dst = pooling.dst + row * row_bytes + output * inner * size
        rows = 1
        if regular:
            rows = min(most, end - task)
        elif whole_rows:
            rows = min(min(most, height.output_size - h), end - task)
        if is_stopped(scratch, rows * outputs * inner):
            return -1
        o = 0
        if together:
            o = second_singles(
                dst, row_bytes, dst_end, src, step_bytes, src_end, outputs, rows, size, nans, ahead)
        task += rows
        src += o * step_bytes
        dst += o * row_bytes
        for row in range(o, rows):
            if inner == 1 or axis.stride == 1:
                take_singles(dst, src, outputs * inner, axis.stride, size, nans)
            else:
                for o in range(outputs):
                    take_singles(dst + o * inner * size, src + o * axis.stride * inner * size, inner, 1, size, nans)
            src += step_bytes
            dst += row_bytes
    return -1


cdef bint singles_fits(const call_t* call) noexcept nogil:
    cdef const plan_t* plan = call.plan
    cdef const leaves_t* leaves = call.leaves
    cdef const axis_t* axis
    cdef int i
    for i in range(3):
        axis = &plan.axes[i]
        if axis.kernel_size != 1 or axis.adaptive or axis.pad_begin or axis.begin or axis.end != axis.output_size:
            return False
    if plan.average:
        return plan.uniform and plan.divisor == 1 and leaves.settle == NULL and leaves.storage <= 8
    return leaves.load == NULL and leaves.store == NULL and leaves.settle == NULL and (
        leaves.storage == leaves.value and leaves.storage <= 8)


cdef ptrdiff_t singles_tasks(const call_t* call) noexcept nogil:
    if copies_all(call.plan):
        return ceil_divide(cells_of_output(call.plan), BLOCK)
    return rows_of_output(call.plan) * call.plan.segments


cdef ptrdiff_t singles_bytes(const call_t* call) noexcept nogil:
    return 0
