# Binomial blurring: a weighted sum along each of two axes. Tables say of which cells each result is made and with which
# weights, padding included, so that the loops know no borders; the gradient is the same with the tables turned round.
# Sums are double whatever arrays hold, as in norms.pxi.


cdef struct blur_t:
    # Along H and along W: sizes of what is read and of what is made; of result o, the places in the other two tables
    # from starts[o] to starts[o + 1], which hold cells and their weights.
    ptrdiff_t inputs[2]
    ptrdiff_t outputs[2]
    const int64_t* starts[2]
    const int64_t* cells[2]
    const double* weights[2]
    # Values of a cell, those made together and in how many parts; results of a row made together, and in how many
    # parts; most cells that one of these parts reads.
    ptrdiff_t inner, slice, slices, segment, segments, span
    # Results of a row from `regular` to `irregular` are made alike: each of as many neighbours as the one `period`
    # before it, `shift` cells further on and with the same weights.
    ptrdiff_t regular, irregular, period, shift
    # Where they are made in vectors: cells before and behind theirs that the other results of a row are made of.
    ptrdiff_t before, behind
    convert_fn load, store
    ptrdiff_t size
    const char* src
    # Where the input ends.
    const char* stop
    char* dst


cdef void store_double(double* dst, const double* src, ptrdiff_t n) noexcept nogil:
    memcpy(dst, src, n * sizeof(double))


cdef struct extent_t:
    ptrdiff_t first, count


cdef extent_t cells_read(const blur_t* blur, ptrdiff_t output, ptrdiff_t outputs) noexcept nogil:
    """Cells of a row, from the first to the last, of which some neighbouring results are made."""
    cdef extent_t extent
    cdef ptrdiff_t k
    cdef ptrdiff_t first = blur.inputs[1]
    cdef ptrdiff_t last = -1
    for k in range(blur.starts[1][output], blur.starts[1][output + outputs]):
        first = min(first, <ptrdiff_t> blur.cells[1][k])
        last = max(last, <ptrdiff_t> blur.cells[1][k])
    extent.first = first
    extent.count = max(last + 1 - first, 0)
    return extent


cdef bint are_alike(const blur_t* blur, ptrdiff_t output, ptrdiff_t other, ptrdiff_t shift) noexcept nogil:
    """Whether two results of a row are made of neighbours, `shift` cells apart, with the same weights."""
    cdef ptrdiff_t begin = blur.starts[1][output]
    cdef ptrdiff_t of_other = blur.starts[1][other]
    cdef ptrdiff_t taps = blur.starts[1][output + 1] - begin
    cdef ptrdiff_t t
    if taps == 0 or blur.starts[1][other + 1] - of_other != taps:
        return False
    for t in range(taps):
        if blur.cells[1][begin + t] != blur.cells[1][begin] + t or blur.weights[1][begin + t] != (
                blur.weights[1][of_other + t]) or blur.cells[1][begin + t] - blur.cells[1][of_other + t] != shift:
            return False
    return True


cdef void find_regular(blur_t* blur) noexcept nogil:
    """Find the results of a row that are made alike: all but those at its ends, in as many ways as there are steps."""
    cdef ptrdiff_t outputs = blur.outputs[1]
    cdef ptrdiff_t middle = outputs // 2
    cdef ptrdiff_t period, shift, first, stop
    blur.regular = blur.irregular = 0
    for period in range(1, min(<ptrdiff_t> MOST_PHASES, middle) + 1):
        if blur.starts[1][middle] == blur.starts[1][middle + 1] or (
                blur.starts[1][middle - period] == blur.starts[1][middle - period + 1]):
            continue
        shift = blur.cells[1][blur.starts[1][middle]] - blur.cells[1][blur.starts[1][middle - period]]
        first = middle + 1
        while first > period and are_alike(blur, first - 1, first - 1 - period, shift):
            first -= 1
        stop = middle + 1
        while first <= middle and stop < outputs and are_alike(blur, stop, stop - period, shift):
            stop += 1
        # The first of each way has been looked at only as the one before another.
        if shift > 0 and stop - first >= period and stop - first + period > blur.irregular - blur.regular:
            blur.regular = first - period
            blur.irregular = stop
            blur.period = period
            blur.shift = shift


cdef inline void blur_alike_of(
    double* made, const double* row, const double* weights, ptrdiff_t n, const ptrdiff_t taps, const ptrdiff_t period,
    const ptrdiff_t shift,
) noexcept nogil:
    cdef ptrdiff_t i, t
    cdef double total
    for i in range(n):
        total = 0
        for t in range(taps):
            total += weights[t] * row[i * shift + t]
        # Every NaN is the same one.
        made[i * period] = total if total == total else NAN


cdef inline void blur_alike_by(
    double* made, const double* row, const double* weights, ptrdiff_t n, const ptrdiff_t taps, ptrdiff_t period,
    ptrdiff_t shift,
) noexcept nogil:
    if period == 1 and shift == 1:
        blur_alike_of(made, row, weights, n, taps, 1, 1)
    elif period == 1 and shift == 2:
        blur_alike_of(made, row, weights, n, taps, 1, 2)
    else:
        blur_alike_of(made, row, weights, n, taps, period, shift)


cdef void blur_alike(
    double* made, const double* row, const double* weights, ptrdiff_t n, ptrdiff_t taps, ptrdiff_t period,
    ptrdiff_t shift,
) noexcept nogil:
    """Make n results that lie `period` apart of so many neighbours, `shift` cells further on for each."""
    if taps == 1:
        blur_alike_by(made, row, weights, n, 1, period, shift)
    elif taps == 2:
        blur_alike_by(made, row, weights, n, 2, period, shift)
    elif taps == 3:
        blur_alike_by(made, row, weights, n, 3, period, shift)
    elif taps == 4:
        blur_alike_by(made, row, weights, n, 4, period, shift)
    elif taps == 5:
        blur_alike_by(made, row, weights, n, 5, period, shift)
    else:
        blur_alike_of(made, row, weights, n, taps, period, shift)


cdef void blur_cells(
    const blur_t* blur, double* made, const double* row, ptrdiff_t output, ptrdiff_t outputs, ptrdiff_t first
) noexcept nogil:
    """Make neighbouring results of a row, which begins with the cell `first`, by their tables alone."""
    cdef ptrdiff_t o, k
    cdef double total
    for o in range(outputs):
        total = 0
        for k in range(blur.starts[1][output + o], blur.starts[1][output + o + 1]):
            total += blur.weights[1][k] * row[blur.cells[1][k] - first]
        made[o] = total if total == total else NAN


cdef void blur_row(
    const blur_t* blur, double* made, const double* row, ptrdiff_t output, ptrdiff_t outputs, ptrdiff_t first
) noexcept nogil:
    """Do the same, with those that are made alike in loops over all of them."""
    cdef ptrdiff_t begin = min(max(blur.regular, output), output + outputs)
    cdef ptrdiff_t stop = max(min(blur.irregular, output + outputs), begin)
    cdef ptrdiff_t o, at
    blur_cells(blur, made, row, output, begin - output, first)
    for o in range(begin, min(begin + blur.period, stop) if begin < stop else begin):
        at = blur.starts[1][o]
        blur_alike(
            made + o - output, row + blur.cells[1][at] - first, blur.weights[1] + at,
            ceil_divide(stop - o, blur.period), blur.starts[1][o + 1] - at, blur.period, blur.shift)
    blur_cells(blur, made + stop - output, row, stop, output + outputs - stop, first)


cdef ptrdiff_t blur_rows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make parts begin to end of rows: combine the rows of each window, then slide along the result."""
    cdef const blur_t* blur = <const blur_t*> job
    cdef ptrdiff_t width = blur.inputs[1] * blur.inner
    cdef double* row = <double*> scratch
    cdef double* loaded = row + blur.span * blur.slice
    cdef double* made = loaded + blur.span * blur.slice
    cdef ptrdiff_t task, rest, segment, slice, values, output, outputs, y, k, o, x, c, n
    cdef extent_t extent
    cdef double* out
    cdef const double* taps
    cdef const char* line
    cdef char* target
    cdef double weight
    for task in range(begin, end):
        slice = task % blur.slices * blur.slice
        rest = task // blur.slices
        segment = rest % blur.segments
        rest //= blur.segments
        y = rest % blur.outputs[0]
        values = min(blur.slice, blur.inner - slice)
        output = segment * blur.segment
        outputs = min(blur.segment, blur.outputs[1] - output)
        extent = cells_read(blur, output, outputs)
        n = extent.count * values
        if is_stopped(scratch, n * (blur.starts[0][y + 1] - blur.starts[0][y]) + values * (
                blur.starts[1][output + outputs] - blur.starts[1][output])):
            return -1
        memset(row, 0, n * sizeof(double))
        for k in range(blur.starts[0][y], blur.starts[0][y + 1]):
            weight = blur.weights[0][k]
            line = blur.src + (
                (rest // blur.outputs[0] * blur.inputs[0] + blur.cells[0][k]) * width + extent.first * blur.inner
                + slice) * blur.size
            if values == blur.inner:
                blur.load(loaded, line, n)
            else:
                for x in range(extent.count):
                    blur.load(loaded + x * values, line + x * blur.inner * blur.size, values)
            for x in range(n):
                row[x] += weight * loaded[x]
        if values == 1:
            blur_row(blur, made, row, output, outputs, extent.first)
        for o in range(outputs if values > 1 else 0):
            out = made + o * values
            for c in range(values):
                out[c] = 0
            for k in range(blur.starts[1][output + o], blur.starts[1][output + o + 1]):
                weight = blur.weights[1][k]
                taps = row + (blur.cells[1][k] - extent.first) * values
                for c in range(values):
                    out[c] += weight * taps[c]
            for c in range(values):
                # Every NaN is the same one.
                out[c] = out[c] if out[c] == out[c] else NAN
        target = blur.dst + ((rest * blur.outputs[1] + output) * blur.inner + slice) * blur.size
        if values == blur.inner:
            blur.store(target, made, outputs * values)
        else:
            for o in range(outputs):
                blur.store(target + o * blur.inner * blur.size, made + o * values, values)
    return -1


# Filters of 3 and 5 taps over planes of floats, in vectors.

cdef extern from "c/binomials.h":
    enum:
        BINOMIALS "POOLING_BINOMIALS"
        BLUR_ROWS "POOLING_BLUR_ROWS"
    void blur_down "pooling_blur_down"(
        double* dst, ptrdiff_t apart, const float** lines, ptrdiff_t first, ptrdiff_t n, int rows, int taps, int stride
    ) noexcept nogil
    bint blur_along "pooling_blur_along"(
        float* dst, const double* evens, const double* odds, ptrdiff_t n, double scale, int taps, int stride
    ) noexcept nogil

cdef enum:
    # Rows of the input that so many rows of results are made of, and columns that vectors may go beyond the last.
    BLUR_LINES = 5 + 2 * 3
    BLUR_MARGIN = 8


cdef bint is_binomial(const blur_t* blur, int axis, ptrdiff_t output, ptrdiff_t taps) noexcept nogil:
    """Whether a result is made of all taps of such a filter; where it is, they follow one another in the tables."""
    cdef ptrdiff_t begin = blur.starts[axis][output]
    cdef double weight = 1
    cdef ptrdiff_t t
    if blur.starts[axis][output + 1] - begin != taps:
        return False
    for t in range(taps):
        if blur.weights[axis][begin + t] * <double> (1 << (taps - 1)) != weight:
            return False
        weight = weight * <double> (taps - 1 - t) / <double> (t + 1)
    return True


cdef inline ptrdiff_t vector_outputs(const blur_t* blur, ptrdiff_t output) noexcept nogil:
    """Results from `output` on that are made at once: a segment, and what would be too few for one of their own."""
    cdef ptrdiff_t rest = blur.irregular - output
    return rest if rest < BLUR_CELLS // 8 + 4 else BLUR_CELLS // 8


cdef extent_t cells_of(const blur_t* blur, ptrdiff_t output, ptrdiff_t stop, ptrdiff_t taps) noexcept nogil:
    """Cells of neighbouring results that are made alike, one at least."""
    cdef extent_t extent
    extent.first = blur.cells[1][blur.starts[1][output]]
    extent.count = (stop - output - 1) * blur.shift + taps
    return extent


cdef bint lay_vectors(blur_t* blur) noexcept nogil:
    """Whether most results are made of so many neighbours in both directions, as far apart in one as in the other, and
    those at the ends of a row of the cells of its first and its last segment, and of a few before and behind."""
    cdef ptrdiff_t taps, last
    cdef extent_t first, final, ends
    if blur.irregular - blur.regular < 4 or blur.period != 1 or not 1 <= blur.shift <= 2:
        return False
    taps = blur.starts[1][blur.regular + 1] - blur.starts[1][blur.regular]
    if taps != 3 and taps != 5 or not is_binomial(blur, 1, blur.regular, taps) or not is_binomial(
            blur, 0, blur.outputs[0] // 2, taps):
        return False
    last = blur.regular
    while last + vector_outputs(blur, last) < blur.irregular:
        last += vector_outputs(blur, last)
    first = cells_of(blur, blur.regular, blur.regular + vector_outputs(blur, blur.regular), taps)
    final = cells_of(blur, last, blur.irregular, taps)
    blur.before = blur.behind = 0
    if blur.regular > 0:
        ends = cells_read(blur, 0, blur.regular)
        if ends.count:
            blur.before = max(first.first - ends.first, 0)
            if ends.first + ends.count > first.first + first.count:
                return False
    if blur.irregular < blur.outputs[1]:
        ends = cells_read(blur, blur.irregular, blur.outputs[1] - blur.irregular)
        if ends.count:
            blur.behind = max(ends.first + ends.count - final.first - final.count, 0)
            if ends.first < final.first - (blur.before if last == blur.regular else 0):
                return False
    return blur.before <= BLUR_MARGIN and blur.behind <= BLUR_MARGIN


cdef bint find_lines(
    const blur_t* blur, const float** lines, ptrdiff_t plane, ptrdiff_t y, int rows, int taps
) noexcept nogil:
    """Find the rows that some neighbouring rows of results are made of, if these share them as windows do."""
    cdef const float* line
    cdef int i, t, shared
    for i in range(rows):
        if not is_binomial(blur, 0, y + i, taps):
            return False
        shared = taps - <int> blur.shift if i else 0
        for t in range(taps):
            line = <const float*> blur.src + (
                plane * blur.inputs[0] + blur.cells[0][blur.starts[0][y + i] + t]) * blur.inputs[1]
            if t < shared and lines[i * <int> blur.shift + t] != line:
                return False
            lines[i * <int> blur.shift + t] = line
    return True


cdef void blur_ends(
    const blur_t* blur, float* made, const double* row, ptrdiff_t apart, ptrdiff_t first, double scale,
    ptrdiff_t output, ptrdiff_t stop,
) noexcept nogil:
    """Make results by the tables, of a segment of sums that begins with the cell `first`."""
    cdef ptrdiff_t o, k, at
    cdef double total
    for o in range(output, stop):
        total = 0
        for k in range(blur.starts[1][o], blur.starts[1][o + 1]):
            at = blur.cells[1][k] - first
            total += blur.weights[1][k] * row[at if blur.shift == 1 else at // 2 + at % 2 * (apart // 2)]
        total *= scale
        made[o] = <float> (total if total == total else NAN)


cdef void blur_lines(
    const blur_t* blur, double* sums, const float** lines, float* made, int rows, int taps
) noexcept nogil:
    """Make rows of results, one behind the other, of the rows above them, a segment after the other."""
    cdef int stride = <int> blur.shift
    cdef int count = taps + stride * (rows - 1)
    cdef double scale = 1.0 / <double> (1 << (taps - 1))
    cdef ptrdiff_t output = blur.regular
    cdef const float* end = <const float*> blur.stop
    cdef float tails[BLUR_LINES][BLUR_MARGIN]
    cdef const float* tail_lines[BLUR_LINES]
    cdef ptrdiff_t n, cells, whole, apart, first, beyond, before, x
    cdef extent_t extent
    cdef float* target
    cdef const double* evens
    cdef const double* odds
    cdef int i
    while output < blur.irregular:
        n = vector_outputs(blur, output)
        extent = cells_of(blur, output, output + n, taps)
        before = blur.before if output == blur.regular else 0
        first = extent.first - before
        cells = before + extent.count + (blur.behind if output + n == blur.irregular else 0)
        whole = round_up(cells, 4 * stride)
        # So that the halves of a row do not lie a multiple of the cache's ways apart.
        apart = whole + 2 * BLUR_MARGIN
        beyond = 0
        for i in range(count):
            beyond = max(beyond, first + whole - (end - lines[i]))
        if beyond:
            # Behind the last row there is nothing that could be read.
            whole -= 4 * stride
            for i in range(count):
                memset(&tails[i][0], 0, BLUR_MARGIN * sizeof(float))
                memcpy(&tails[i][0], lines[i] + first + whole, (cells - whole) * sizeof(float))
                tail_lines[i] = &tails[i][0]
            blur_down(sums + whole // stride, apart, tail_lines, 0, 4 * stride, rows, taps, stride)
        blur_down(sums, apart, lines, first, whole, rows, taps, stride)
        for i in range(rows):
            target = made + i * blur.outputs[1]
            # Every other cell of a row lies in one of its halves, from the first cell of the first window on.
            evens = sums + i * apart + before // stride
            odds = evens + apart // 2
            if before % stride:
                evens, odds = odds, evens + 1
            if blur_along(target + output, evens, odds, n, scale * scale, taps, stride):
                for x in range(output, output + n):
                    # Every NaN is the same one.
                    target[x] = target[x] if target[x] == target[x] else <float> NAN
            if output == blur.regular:
                blur_ends(blur, target, sums + i * apart, apart, first, scale, 0, blur.regular)
            if output + n == blur.irregular:
                blur_ends(blur, target, sums + i * apart, apart, first, scale, blur.irregular, blur.outputs[1])
        output += n


cdef ptrdiff_t blur_vectors(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Do as `blur_rows` with groups begin to end of rows."""
    cdef const blur_t* blur = <const blur_t*> job
    cdef ptrdiff_t groups = ceil_divide(blur.outputs[0], BLUR_ROWS)
    cdef int taps = <int> (blur.starts[1][blur.regular + 1] - blur.starts[1][blur.regular])
    cdef const float* lines[BLUR_LINES]
    cdef ptrdiff_t task, plane, y
    cdef int rows, i
    cdef float* made
    for task in range(begin, end):
        plane = task // groups
        y = task % groups * BLUR_ROWS
        rows = <int> min(<ptrdiff_t> BLUR_ROWS, blur.outputs[0] - y)
        if is_stopped(scratch, rows * blur.inputs[1]):
            return -1
        made = <float*> blur.dst + (plane * blur.outputs[0] + y) * blur.outputs[1]
        if rows == BLUR_ROWS and find_lines(blur, lines, plane, y, rows, taps):
            blur_lines(blur, <double*> scratch, lines, made, rows, taps)
            continue
        for i in range(rows):
            if find_lines(blur, lines, plane, y + i, 1, taps):
                blur_lines(blur, <double*> scratch, lines, made + i * blur.outputs[1], 1, taps)
            else:
                blur_rows(
                    job, scratch, (plane * blur.outputs[0] + y + i) * blur.segments,
                    (plane * blur.outputs[0] + y + i + 1) * blur.segments)
    return -1


cdef const int64_t* table_of(Buffer table, ptrdiff_t count, ptrdiff_t below) except NULL:
    """Return whole numbers from 0 to below `below`."""
    cdef const int64_t* numbers = <const int64_t*> table.data
    cdef ptrdiff_t i
    for i in range(count):
        if not 0 <= numbers[i] < below:
            raise ValueError("a table of a blur names a cell that is not there")
    return numbers


cdef ptrdiff_t lay_tables(blur_t* blur, inputs, outputs, tables, list buffers) except -1:
    """Take sizes and tables, whose memory `buffers` keeps; return the most cells along W that one result is made of."""
    cdef Buffer table
    cdef ptrdiff_t o, count
    cdef ptrdiff_t most = 1
    cdef int i
    checked_size(outputs)
    for i in range(2):
        blur.inputs[i] = inputs[i]
        blur.outputs[i] = outputs[i]
        starts, cells, weights = tables[i]
        count = len(cells)
        table = Buffer(starts, (blur.outputs[i] + 1) * sizeof(int64_t))
        blur.starts[i] = table_of(table, blur.outputs[i] + 1, count + 1)
        buffers.append(table)
        for o in range(blur.outputs[i]):
            if blur.starts[i][o + 1] < blur.starts[i][o]:
                raise ValueError("the table of a blur does not ascend")
            if i:
                most = max(most, blur.starts[i][o + 1] - blur.starts[i][o])
        table = Buffer(cells, count * sizeof(int64_t))
        blur.cells[i] = table_of(table, count, blur.inputs[i])
        buffers.append(table)
        table = Buffer(weights, count * sizeof(double))
        blur.weights[i] = <double*> table.data
        buffers.append(table)
    return most


def blur(int kind, src, dst, ptrdiff_t outer, ptrdiff_t inner, inputs, outputs, tables, ptrdiff_t threads=1):
    """Blur `src` into `dst`, or with other tables the gradient of the result into that of the input.

    Parameters
    ----------
    kind : int
        One of `KINDS`, of floats: the dtype of both arrays.
    src, dst : buffer
        Arrays of ``outer * inner`` maps.
    outer, inner : int
        Elements before and behind the two axes.
    inputs, outputs : pair of int
        Sizes of the two axes, of `src` and of `dst`.
    tables : pair of tuples of ndarray
        For each axis: int64 of shape (output + 1,), where the cells of each result begin in the other two; int64
        cells; and their float64 weights.
    threads : int
        At most this many.
    """
    cdef blur_t job
    cdef list buffers = []
    cdef ptrdiff_t o, most
    job.size = 2 if kind == FLOAT16 or kind == BFLOAT16 else 4 if kind == FLOAT32 else 8
    if kind == FLOAT16:
        job.load = <convert_fn> widen[double, float16_t]
        job.store = <convert_fn> double_to_float16
    elif kind == BFLOAT16:
        job.load = <convert_fn> widen[double, bfloat16_t]
        job.store = <convert_fn> double_to_bfloat16
    elif kind == FLOAT32:
        job.load = <convert_fn> widen[double, float]
        job.store = <convert_fn> narrow_double
    elif kind == FLOAT64:
        job.load = <convert_fn> store_double
        job.store = <convert_fn> store_double
    else:
        raise ValueError("these kernels blur floats only")
    job.inner = inner
    most = lay_tables(&job, inputs, outputs, tables, buffers)
    cdef Buffer source = Buffer(src, checked_size((outer, inner, *inputs)) * job.size)
    cdef Buffer target = Buffer(dst, checked_size((outer, inner, *outputs)) * job.size, True)
    if target.view.len == 0:
        return
    job.slice = min(inner, max(<ptrdiff_t> 16, BLUR_CELLS // most))
    job.slices = ceil_divide(inner, job.slice)
    # As many results as read a segment's worth of cells, or are one themselves.
    job.segment = BLUR_CELLS // job.slice * job.outputs[1] // max(job.inputs[1], job.outputs[1])
    job.segment = max(1, min(job.segment, job.outputs[1]))
    job.segments = ceil_divide(job.outputs[1], job.segment)
    find_regular(&job)
    job.span = 1
    o = 0
    while o < job.outputs[1]:
        job.span = max(job.span, cells_read(&job, o, min(job.segment, job.outputs[1] - o)).count)
        o += job.segment
    job.src = source.data
    job.stop = source.data + source.view.len
    job.dst = target.data
    o = (2 * job.span + job.segment) * job.slice * sizeof(double)
    if BINOMIALS and kind == FLOAT32 and inner == 1 and lay_vectors(&job):
        o = max(o, <ptrdiff_t> (BLUR_ROWS * (2 * (BLUR_CELLS // 8 + 4) + 5 + 5 * BLUR_MARGIN) * sizeof(double)))
        share(blur_vectors, &job, outer * ceil_divide(job.outputs[0], BLUR_ROWS), o, threads)
    elif BLUR_GRADIENTS and kind == FLOAT32 and inner == 1 and lay_gradients(&job):
        share(blur_gradient_rows, &job, outer * gradient_groups(&job), o, threads)
    else:
        share(blur_rows, &job, outer * job.outputs[0] * job.segments * job.slices, o, threads)
