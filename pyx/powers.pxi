# Norms of narrow types with the powers that are products, 1 to 4, of windows that share few rows: the powers of all
# rows of a window are added up in one go, and windows slide along the sums. No row of powers is ever stored.


cdef extern from "c/powers.h":
    void add_pairs "pooling_add_pairs"(
        double* dst, const float* src, ptrdiff_t apart, ptrdiff_t n, int p) noexcept nogil


cdef inline double product_of(double v, const int p) noexcept nogil:
    """Raise |v| to a power."""
    if p == 1:
        return fabs(v)
    if p == 2:
        return v * v
    if p == 3:
        v = fabs(v)
        return v * v * v
    v = v * v
    return v * v


cdef inline void add_products_of(
    double* sums, const float* src, ptrdiff_t apart, const int taps, ptrdiff_t n, const bint accumulate, const int p
) noexcept nogil:
    """Sum the powers of one to four taps of each of n cells."""
    cdef ptrdiff_t x
    cdef double total
    for x in range(n):
        total = product_of(src[x], p)
        if taps > 1:
            total += product_of(src[apart + x], p)
        if taps > 2:
            total += product_of(src[2 * apart + x], p)
        if taps > 3:
            total += product_of(src[3 * apart + x], p)
        sums[x] = sums[x] + total if accumulate else total


cdef inline void add_taps_of(
    double* sums, const float* src, ptrdiff_t apart, ptrdiff_t taps, ptrdiff_t n, bint accumulate, const int p
) noexcept nogil:
    while taps > 0:
        if accumulate:
            if taps == 1:
                add_products_of(sums, src, apart, 1, n, True, p)
            elif taps == 2:
                add_products_of(sums, src, apart, 2, n, True, p)
            elif taps == 3:
                add_products_of(sums, src, apart, 3, n, True, p)
            else:
                add_products_of(sums, src, apart, 4, n, True, p)
        elif taps == 1:
            add_products_of(sums, src, apart, 1, n, False, p)
        elif taps == 2:
            add_products_of(sums, src, apart, 2, n, False, p)
        elif taps == 3:
            add_products_of(sums, src, apart, 3, n, False, p)
        else:
            add_products_of(sums, src, apart, 4, n, False, p)
        accumulate = True
        taps -= 4
        src += 4 * apart


cdef void add_powers(
    double* sums, const float* src, ptrdiff_t apart, ptrdiff_t taps, ptrdiff_t n, bint accumulate, double p
) noexcept nogil:
    """``sums[x] = |src[x]| ** p + |src[x + apart]| ** p + ...`` over `taps` taps, for x below n, in order."""
    if p == 2:
        add_taps_of(sums, src, apart, taps, n, accumulate, 2)
    elif p == 1:
        add_taps_of(sums, src, apart, taps, n, accumulate, 1)
    elif p == 3:
        add_taps_of(sums, src, apart, taps, n, accumulate, 3)
    else:
        add_taps_of(sums, src, apart, taps, n, accumulate, 4)


cdef inline bint takes_pairs(const plan_t* plan) noexcept nogil:
    """Whether windows of pairs of neighbours follow each other, so that powers of two rows are sums of windows."""
    cdef const axis_t* axis = &plan.axes[2]
    return plan.inner == 1 and axis.kernel_size == 2 and axis.stride == 2 and axis.dilation == 1 and (
        plan.axes[0].kernel_size == 1)


cdef inline bint lies_apart(const axis_t* axis) noexcept nogil:
    """Whether windows share no cell."""
    return axis.stride >= (axis.kernel_size - 1) * axis.dilation + 1


cdef inline bint takes_pixels(const plan_t* plan) noexcept nogil:
    """Whether the taps along a row, too, are added up in one go: pixels of enough channels, each of one window."""
    return plan.inner >= PIXEL_CHANNELS and lies_apart(&plan.axes[2])


cdef inline bint is_of_products(const norm_t* norm) noexcept nogil:
    return norm.multiplies and norm.eps == 0 and (norm.p == 1 or norm.p == 2 or norm.p == 3 or norm.p == 4)


cdef inline bint adds_products(const norming_t* norming) noexcept nogil:
    """Whether norms are made in this way."""
    cdef const plan_t* plan = norming.plan
    cdef const axis_t* depth = &plan.axes[0]
    cdef const axis_t* height = &plan.axes[1]
    if not is_of_products(norming.norm):
        return False
    if reads_once(plan) or climbs(&plan.axes[2]):
        return False
    return depth.kernel_size * height.kernel_size <= MOST_POWERS or (lies_apart(depth) and lies_apart(height))


cdef inline ptrdiff_t products_scratch(const norming_t* norming) noexcept nogil:
    """Bytes for one thread: sums of columns, sums of windows, what a window takes, and converted rows."""
    cdef const plan_t* plan = norming.plan
    cdef ptrdiff_t row = plan.span * plan.inner
    return (row + plan.segment * plan.inner) * sizeof(double) + window_scratch() + (
        MOST_POWERS * row * sizeof(float) if norming.narrow != NULL else 0)


cdef ptrdiff_t forward_products(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make segments begin to end of rows of norms."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef const leaves_t* rows = norming.rows
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef double p = norming.norm.p
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t storage = norming.stored.storage
    cdef ptrdiff_t in_row = axis.input_size * inner
    cdef double* sums = <double*> scratch
    cdef double* norms = sums + plan.span * inner
    cdef double* values = norms + plan.segment * inner
    cdef int64_t* cells = <int64_t*> (values + 3 * TAPS)
    cdef float* converted = <float*> (cells + TAPS)
    cdef bint pixels = takes_pixels(plan)
    cdef bint pairs = takes_pairs(plan)
    cdef bint started
    cdef bint done
    cdef ptrdiff_t task, rest, output, outputs, oh, od, cell, held, left, right, n, d, h, count, o, t, apart, at
    cdef window_t depth, height, width
    cdef const char* src
    cdef const float* line
    for task in range(begin, end):
        output = task % plan.segments * plan.segment
        outputs = min(plan.segment, axis.output_size - output)
        rest = task // plan.segments
        oh = rest % height_axis.output_size
        rest //= height_axis.output_size
        od = rest % depth_axis.output_size
        rest //= depth_axis.output_size
        depth = window_of(depth_axis, od)
        height = window_of(height_axis, oh)
        cell = output * axis.stride - axis.pad_begin
        held = (outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
        left = min(max(-cell, 0), held)
        right = min(max(cell + held - axis.input_size, 0), held - left)
        n = (held - left - right) * inner
        if is_stopped(scratch, 4 * (n * depth.count * height.count + outputs * inner * axis.kernel_size)):
            return -1
        started = False
        done = pairs and left == 0 and right == 0 and height.count == 2 and depth.count == 1
        if pixels:
            memset(norms, 0, outputs * inner * sizeof(double))
        else:
            memset(sums, 0, left * inner * sizeof(double))
            memset(sums + left * inner, 0, n * sizeof(double) if depth.count * height.count == 0 else 0)
            memset(sums + left * inner + n, 0, right * inner * sizeof(double))
        for d in range(depth.count if n else 0):
            h = 0
            while h < height.count:
                count = min(height.count - h, <ptrdiff_t> MOST_POWERS)
                at = (rest * depth_axis.input_size + depth.first + d * depth_axis.dilation) * height_axis.input_size
                at = (at + height.first + h * height_axis.dilation) * in_row + (cell + left) * inner
                src = norming.src + at * storage
                line = <const float*> src
                apart = height_axis.dilation * in_row
                if norming.narrow != NULL:
                    for t in range(count):
                        norming.narrow(converted + t * n, src + t * apart * storage, n)
                    line = converted
                    apart = n
                if done:
                    add_pairs(norms, line, apart, outputs, <int> p)
                elif not pixels:
                    add_powers(sums + left * inner, line, apart, count, n, started, p)
                else:
                    for o in range(outputs):
                        width = window_of(axis, output + o)
                        for t in range(count):
                            add_powers(
                                norms + o * inner, line + t * apart + (width.first - cell - left) * inner,
                                axis.dilation * inner, width.count, inner, True, p)
                started = True
                h += count
        if not pixels and not done:
            if slides_along(axis, inner):
                rows.along(<char*> norms, <char*> sums, outputs, axis.stride, axis.kernel_size, 1, False, NULL)
            else:
                slide(plan, rows, <char*> norms, <char*> sums, outputs, 1, outputs * inner, held * inner, False)
        at = ((rest * depth_axis.output_size + od) * height_axis.output_size + oh) * axis.output_size + output
        if rounds_roots(norming):
            round_roots(norming, norming.dst + at * inner * storage, norms, outputs * inner)
            continue
        take_roots(
            norming, norms, outputs * inner, norming.src + rest * elements_of(plan, False) * storage, od, oh, output,
            values, cells)
        round_row(norming, norming.dst + at * inner * storage, norms, outputs * inner)
    return -1
