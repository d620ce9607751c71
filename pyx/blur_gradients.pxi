# Gradients of binomial filters of 3 taps that go two cells further, over planes of floats: two rows at a time.

cdef extern from "c/blur_gradients.h":
    enum:
        BLUR_GRADIENTS "POOLING_BLUR_GRADIENTS"
    bint plain_row "pooling_plain_row"(const float* src, ptrdiff_t n) noexcept nogil
    void blur_gradients "pooling_blur_gradients"(
        float* under, float* between, const float* a, const float* b, ptrdiff_t n
    ) noexcept nogil

cdef enum:
    # Rows of a task.
    GRADIENT_ROWS = 16


cdef inline ptrdiff_t under_of(const blur_t* blur, int axis, ptrdiff_t cell) noexcept nogil:
    """Return the window under whose middle a cell lies, if the next cell lies between it and the following window, and
    neither belongs to any other window; otherwise -1."""
    cdef const int64_t* starts = blur.starts[axis] + cell
    cdef const int64_t* windows = blur.cells[axis] + starts[0]
    cdef const double* weights = blur.weights[axis] + starts[0]
    if starts[1] - starts[0] != 1 or starts[2] - starts[1] != 2 or weights[0] != 0.5:
        return -1
    if weights[1] != 0.25 or weights[2] != 0.25 or windows[1] != windows[0] or windows[2] != windows[0] + 1:
        return -1
    return windows[0]


cdef bint lay_gradients(blur_t* blur) noexcept nogil:
    """Whether the gradients of most cells of a row come in such pairs; if so, let `regular` be the first of a pair."""
    cdef ptrdiff_t cell = blur.regular
    if blur.period != 2 or blur.shift != 1 or blur.irregular - cell < 17:
        return False
    if under_of(blur, 1, cell) < 0:
        cell += 1
        if under_of(blur, 1, cell) < 0:
            return False
    blur.regular = cell
    blur.irregular = cell + (blur.irregular - cell) // 2 * 2
    return True


cdef inline ptrdiff_t first_pair(const blur_t* blur) noexcept nogil:
    """Return 1 if pairs of rows begin with odd ones, else 0."""
    return (blur.outputs[0] // 2 + (under_of(blur, 0, blur.outputs[0] // 2) < 0)) % 2 if blur.outputs[0] > 3 else 0


cdef inline ptrdiff_t gradient_groups(const blur_t* blur) noexcept nogil:
    """Return the number of groups of rows of a plane, the first of which may be a row shorter."""
    return ceil_divide(blur.outputs[0] + first_pair(blur), GRADIENT_ROWS)


cdef void gradient_ends(
    const blur_t* blur, float* under, float* between, const float* a, const float* b, ptrdiff_t cell, ptrdiff_t stop
) noexcept nogil:
    """Make gradients of two rows by the table."""
    cdef ptrdiff_t c, k, x
    cdef double first, second
    for c in range(cell, stop):
        first = second = 0
        for k in range(blur.starts[1][c], blur.starts[1][c + 1]):
            x = blur.cells[1][k]
            first += blur.weights[1][k] * (0.5 * <double> a[x])
            second += blur.weights[1][k] * (0.25 * <double> a[x] + 0.25 * <double> b[x])
        under[c] = <float> first
        between[c] = <float> second


cdef ptrdiff_t blur_gradient_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Do as `blur_rows` with groups begin to end of rows."""
    cdef const blur_t* blur = <const blur_t*> job
    cdef ptrdiff_t rows = blur.outputs[0]
    cdef ptrdiff_t width = blur.outputs[1]
    cdef ptrdiff_t odd = first_pair(blur)
    cdef ptrdiff_t groups = gradient_groups(blur)
    cdef ptrdiff_t first = blur.cells[1][blur.starts[1][blur.regular]]
    cdef ptrdiff_t task, plane, y, stop, window, made
    cdef const float* a
    cdef const float* b
    # The last row that is known to be plain.
    cdef const float* plain = NULL
    cdef float* target
    for task in range(begin, end):
        plane = task // groups
        y = task % groups * GRADIENT_ROWS - odd
        stop = min(y + GRADIENT_ROWS, rows)
        y = max(y, 0)
        if is_stopped(scratch, (stop - y) * width):
            return -1
        while y < stop:
            window = under_of(blur, 0, y) if y + 1 < stop else -1
            made = 1
            if window >= 0:
                a = <const float*> blur.src + (plane * blur.inputs[0] + window) * blur.inputs[1]
                b = a + blur.inputs[1]
                made = 2
                if (a == plain or plain_row(a, blur.inputs[1])) and plain_row(b, blur.inputs[1]):
                    plain = b
                    target = <float*> blur.dst + (plane * rows + y) * width
                    blur_gradients(
                        target + blur.regular, target + width + blur.regular, a + first, b + first,
                        (blur.irregular - blur.regular) // 2)
                    gradient_ends(blur, target, target + width, a, b, 0, blur.regular)
                    gradient_ends(blur, target, target + width, a, b, blur.irregular, width)
                    y += 2
                    continue
            blur_rows(
                job, scratch, (plane * rows + y) * blur.segments, (plane * rows + y + made) * blur.segments)
            y += made
    return -1
