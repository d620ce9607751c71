# Binomial blurring: a weighted sum along each of two axes. Tables say which cell each tap of each window stands for,
# padding included, so that the loops know no borders. Everything is double, as in norms.pxi.

cdef struct blur_t:
    # Along H and along W: sizes, taps of a window, the cell of each tap (-1 for a zero), the weight of each tap.
    ptrdiff_t inputs[2]
    ptrdiff_t outputs[2]
    ptrdiff_t taps[2]
    const int64_t* cells[2]
    const double* weights[2]
    ptrdiff_t inner
    # The input and the result; of the gradients, that of the result and that of the input.
    const double* src
    double* dst


cdef ptrdiff_t blur_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make output rows begin to end: combine the rows of each window, then slide along the result."""
    cdef const blur_t* blur = <const blur_t*> job
    cdef double* row = <double*> scratch
    cdef ptrdiff_t width = blur.inputs[1] * blur.inner
    cdef ptrdiff_t task, t, x, o, c, cell
    cdef const double* line
    cdef double* out = blur.dst + begin * blur.outputs[1] * blur.inner
    cdef double weight
    for task in range(begin, end):
        memset(row, 0, width * sizeof(double))
        for t in range(blur.taps[0]):
            cell = blur.cells[0][task % blur.outputs[0] * blur.taps[0] + t]
            weight = blur.weights[0][t]
            if cell >= 0:
                line = blur.src + (task // blur.outputs[0] * blur.inputs[0] + cell) * width
                for x in range(width):
                    row[x] += weight * line[x]
        for o in range(blur.outputs[1]):
            for c in range(blur.inner):
                out[c] = 0
            for t in range(blur.taps[1]):
                cell = blur.cells[1][o * blur.taps[1] + t]
                weight = blur.weights[1][t]
                if cell >= 0:
                    for c in range(blur.inner):
                        out[c] += weight * row[cell * blur.inner + c]
            for c in range(blur.inner):
                # Every NaN is the same one.
                out[c] = out[c] if out[c] == out[c] else NAN
            out += blur.inner
    return -1


cdef ptrdiff_t unblur_planes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make the gradients of planes begin to end, the same steps in the opposite order."""
    cdef const blur_t* blur = <const blur_t*> job
    cdef double* row = <double*> scratch
    cdef ptrdiff_t width = blur.inputs[1] * blur.inner
    cdef ptrdiff_t plane, t, x, h, o, c, cell
    cdef const double* grad = blur.src + begin * blur.outputs[0] * blur.outputs[1] * blur.inner
    cdef double* target
    cdef double* line
    cdef double weight
    for plane in range(begin, end):
        target = blur.dst + plane * blur.inputs[0] * width
        memset(target, 0, blur.inputs[0] * width * sizeof(double))
        for h in range(blur.outputs[0]):
            if is_stopped(scratch, width * (blur.taps[0] + blur.taps[1])):
                return -1
            memset(row, 0, width * sizeof(double))
            for o in range(blur.outputs[1]):
                for t in range(blur.taps[1]):
                    cell = blur.cells[1][o * blur.taps[1] + t]
                    weight = blur.weights[1][t]
                    if cell >= 0:
                        for c in range(blur.inner):
                            row[cell * blur.inner + c] += weight * grad[c]
                grad += blur.inner
            for t in range(blur.taps[0]):
                cell = blur.cells[0][h * blur.taps[0] + t]
                weight = blur.weights[0][t]
                if cell >= 0:
                    line = target + cell * width
                    for x in range(width):
                        line[x] += weight * row[x]
        for x in range(blur.inputs[0] * width):
            target[x] = target[x] if target[x] == target[x] else NAN
    return -1


def blur(
    src, dst, ptrdiff_t outer, ptrdiff_t inner, inputs, outputs, cells, weights, bint backward, ptrdiff_t threads=1
):
    """Blur `src` into `dst`, or with `backward` the gradient of the result into that of the input.

    Parameters
    ----------
    src, dst : buffer
        float64, of ``outer * inner`` maps.
    outer, inner : int
        Elements before and behind the two axes.
    inputs, outputs : pair of int
        Sizes of the two axes before and after the blur.
    cells, weights : pair of ndarray
        For each axis: int64 of shape (output, taps), the cell of each tap or -1, and float64 of shape (taps,).
    backward : bool
    threads : int
        At most this many.
    """
    cdef blur_t job
    cdef list buffers = []
    cdef Buffer table
    cdef int i
    job.inner = inner
    for i in range(2):
        job.inputs[i] = inputs[i]
        job.outputs[i] = outputs[i]
        job.taps[i] = len(weights[i])
        table = Buffer(cells[i], job.outputs[i] * job.taps[i] * sizeof(int64_t))
        job.cells[i] = <int64_t*> table.data
        buffers.append(table)
        table = Buffer(weights[i], job.taps[i] * sizeof(double))
        job.weights[i] = <double*> table.data
        buffers.append(table)
    cdef ptrdiff_t read = outer * inner * job.inputs[0] * job.inputs[1]
    cdef ptrdiff_t written = outer * inner * job.outputs[0] * job.outputs[1]
    cdef Buffer source = Buffer(src, (written if backward else read) * sizeof(double))
    cdef Buffer target = Buffer(dst, (read if backward else written) * sizeof(double), True)
    if read == 0:
        return
    job.src = <double*> source.data
    job.dst = <double*> target.data
    share(
        unblur_planes if backward else blur_rows, &job, outer if backward else outer * job.outputs[0],
        job.inputs[1] * inner * sizeof(double), threads,
        0 if backward else job.inputs[1] * inner * (job.taps[0] + job.taps[1]))
