# Gradients of blurred maxima in one pass: of windows of 2 x 2 cells, one cell apart, behind a binomial filter of 3 taps
# that goes two further, over planes of floats. Rows of the gradients of maxima, in double, live no longer than one row
# of windows.

cdef extern from "c/max_blur_gradients.h":
    bint has_odd "pooling_has_odd"(const float* src, ptrdiff_t n, bint infinite) noexcept nogil
    void add_weighted "pooling_add_weighted"(
        double* sums, const float* src, double weight, ptrdiff_t n
    ) noexcept nogil
    void share_sums "pooling_share_sums"(double* dst, const double* sums, ptrdiff_t n) noexcept nogil
    void send_maxima "pooling_send_maxima"(
        float* dst, const float* upper, const float* lower, const double* gradients, double* kept, ptrdiff_t n
    ) noexcept nogil

cdef enum:
    # Rows of windows of a task, and numbers that vectors may go beyond a row.
    SENT_ROWS = 64
    SENT_MARGIN = 8


cdef struct sent_t:
    # The blur of the maxima, turned round: `src` are gradients, and rows of its results never lie in memory.
    blur_t blur
    const float* input
    float* dst


cdef inline ptrdiff_t sent_groups(const blur_t* blur) noexcept nogil:
    """Return the number of groups of rows of windows of a plane."""
    return ceil_divide(blur.outputs[0], SENT_ROWS)


cdef ptrdiff_t sent_bytes(const blur_t* blur) noexcept nogil:
    """Return how much memory a thread needs: sums, gradients of maxima, what is kept, and a row that nobody reads."""
    return (blur.inputs[1] + 3 * (blur.outputs[1] + 1 + SENT_MARGIN)) * <ptrdiff_t> sizeof(double)


cdef void sum_cells(
    const blur_t* blur, double* made, const double* sums, ptrdiff_t cell, ptrdiff_t stop
) noexcept nogil:
    """Make some gradients of a row of maxima by the table."""
    cdef ptrdiff_t c, k
    cdef double total
    for c in range(cell, stop):
        total = 0
        for k in range(blur.starts[1][c], blur.starts[1][c + 1]):
            total += blur.weights[1][k] * sums[blur.cells[1][k]]
        made[c] = total


cdef void maxima_row(
    const blur_t* blur, double* made, double* sums, const float* gradients, ptrdiff_t y
) noexcept nogil:
    """Make the gradients of a row of maxima, the same as `blur_rows` does, and zeros behind them."""
    cdef ptrdiff_t first = blur.cells[1][blur.starts[1][blur.regular]]
    cdef ptrdiff_t width = blur.inputs[1]
    cdef ptrdiff_t k
    memset(sums, 0, width * sizeof(double))
    for k in range(blur.starts[0][y], blur.starts[0][y + 1]):
        add_weighted(sums, gradients + blur.cells[0][k] * width, blur.weights[0][k], width)
    share_sums(made + blur.regular, sums + first, (blur.irregular - blur.regular) // 2)
    sum_cells(blur, made, sums, 0, blur.regular)
    sum_cells(blur, made, sums, blur.irregular, blur.outputs[1])
    memset(made + blur.outputs[1], 0, SENT_MARGIN * sizeof(double))


cdef bint are_even(
    const blur_t* blur, const float* gradients, const float* input, ptrdiff_t y, ptrdiff_t stop
) noexcept nogil:
    """Whether what some rows of windows read has no NaN, and of gradients no infinity."""
    cdef ptrdiff_t first = blur.inputs[0]
    cdef ptrdiff_t last = -1
    cdef ptrdiff_t k
    for k in range(blur.starts[0][y], blur.starts[0][stop]):
        first = min(first, <ptrdiff_t> blur.cells[0][k])
        last = max(last, <ptrdiff_t> blur.cells[0][k])
    if last >= 0 and has_odd(gradients + first * blur.inputs[1], (last + 1 - first) * blur.inputs[1], True):
        return False
    return not has_odd(input + y * (blur.outputs[1] + 1), (stop + 1 - y) * (blur.outputs[1] + 1), False)


cdef ptrdiff_t send_maxima_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make groups begin to end of rows; return the first that has numbers which only other loops know."""
    cdef const sent_t* sent = <const sent_t*> job
    cdef const blur_t* blur = &sent.blur
    cdef ptrdiff_t groups = sent_groups(blur)
    cdef ptrdiff_t width = blur.outputs[1] + 1
    cdef double* sums = <double*> scratch
    cdef double* made = sums + blur.inputs[1]
    cdef double* kept = made + width + SENT_MARGIN
    cdef float* unread = <float*> (kept + width + SENT_MARGIN)
    cdef ptrdiff_t task, plane, y, start, stop, x
    cdef const float* gradients
    cdef const float* input
    cdef float* target
    for task in range(begin, end):
        plane = task // groups
        start = task % groups * SENT_ROWS
        stop = min(start + SENT_ROWS, blur.outputs[0])
        if is_stopped(scratch, 2 * (stop - start) * width):
            return -1
        gradients = <const float*> blur.src + plane * blur.inputs[0] * blur.inputs[1]
        input = sent.input + plane * (blur.outputs[0] + 1) * width
        target = sent.dst + plane * (blur.outputs[0] + 1) * width
        # Rows of windows before this group send something to its first row.
        y = max(start - 1, 0)
        if not are_even(blur, gradients, input, y, stop):
            return task
        memset(kept, 0, (width + SENT_MARGIN) * sizeof(double))
        while y < stop:
            maxima_row(blur, made, sums, gradients, y)
            send_maxima(
                target + y * width if y >= start else unread, input + y * width, input + (y + 1) * width, made, kept,
                width)
            y += 1
        if stop == blur.outputs[0]:
            for x in range(width):
                target[stop * width + x] = <float> kept[x]
    return -1


def send_through_blur(
    src, input, dst, ptrdiff_t outer, inputs, outputs, tables, ptrdiff_t threads=1
) -> bool:
    """Send the gradient of blurred maxima to the float32 elements that were the maxima of 2 x 2 windows.

    Returns False, with `dst` in no known state, if the filter or a number is not one that these loops know: NaN, and
    infinite gradients.

    Parameters
    ----------
    src, input, dst : buffer
        Gradient of the result, input, and its gradient: float32 arrays of `outer` planes.
    outer : int
        Planes.
    inputs, outputs : pair of int
        Sizes of the two axes of `src`, and of the maxima: one less than those of `input`.
    tables : pair of tuples of ndarray
        Of the gradient of the blur, as for `blur`.
    threads : int
        At most this many.
    """
    cdef sent_t job
    cdef list buffers = []
    cdef tuple sizes
    lay_tables(&job.blur, inputs, outputs, tables, buffers)
    sizes = (outer, job.blur.outputs[0] + 1, job.blur.outputs[1] + 1)
    cdef Buffer source = Buffer(src, checked_size((outer, *inputs)) * sizeof(float))
    cdef Buffer cells = Buffer(input, checked_size(sizes) * sizeof(float))
    cdef Buffer target = Buffer(dst, checked_size(sizes) * sizeof(float), True)
    find_regular(&job.blur)
    if not BLUR_GRADIENTS or not lay_gradients(&job.blur):
        return False
    if target.view.len == 0:
        return True
    job.blur.src = source.data
    job.input = <const float*> cells.data
    job.dst = <float*> target.data
    return share(send_maxima_rows, &job, outer * sent_groups(&job.blur), sent_bytes(&job.blur), threads) == -1
