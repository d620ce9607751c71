# Gradients of norms where no power of a stored number leaves double. That of x is ``sign(x) * abs(x) ** (p - 1)`` times
# the sum of ``grad * norm ** (1 - p)``, the factors, over the windows that hold it: a power for each element and each
# window, and not for each tap. The factors of a part of a plane are made first; for each input row, those of the
# windows over it are then added up, those of output rows before those along the row.


cdef struct factored_t:
    # Cells of an input row that are made together, and most outputs over them.
    ptrdiff_t cells, outputs
    # Factors of the windows over a part.
    double* factors
    # Powers of the columns of a row of windows; powers of a row, or its elements.
    double* columns
    double* row
    double* gradients
    # Factors of a row of windows, and of the cells under them.
    double* line
    double* spread
    # What halves become.
    float* floats


cdef inline ptrdiff_t factored_outputs(const plan_t* plan) noexcept nogil:
    """Outputs of a row whose factors are made together."""
    return max(1, min(plan.axes[2].output_size, SPREAD_CELLS // plan.inner))


cdef inline ptrdiff_t factored_row(const plan_t* plan) noexcept nogil:
    """Values of the cells under them."""
    cdef const axis_t* axis = &plan.axes[2]
    return ((factored_outputs(plan) - 1) * axis.stride + extent_of(axis)) * plan.inner


cdef inline bint is_factored(const norming_t* norming) noexcept nogil:
    """Whether gradients are made in this way: of floats, the sixth power of the largest is 1e231."""
    cdef const norm_t* norm = norming.norm
    return norm.is_near and norm.eps == 0 and norm.p >= 1 and factored_row(norming.plan) <= SPREAD_ROW_CELLS


cdef inline ptrdiff_t extent_of(const axis_t* axis) noexcept nogil:
    return (axis.kernel_size - 1) * axis.dilation + 1


cdef inline ptrdiff_t most_covering(const axis_t* axis, ptrdiff_t cells) noexcept nogil:
    """Most windows that hold any of some neighbouring cells."""
    return min(axis.output_size, ceil_divide(cells + extent_of(axis) - 1, axis.stride))


cdef ptrdiff_t factored_with(factored_t* buffers, const norming_t* norming, char* scratch) noexcept nogil:
    """Lay out the scratch memory of one thread, and return its bytes."""
    cdef const plan_t* plan = norming.plan
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t row = factored_row(plan)
    cdef ptrdiff_t factors = inner
    cdef double* end = <double*> scratch
    cdef ptrdiff_t cells
    cdef int i
    buffers.cells = max(1, min(axis.input_size, 2 * SPREAD_CELLS // inner))
    buffers.outputs = most_covering(axis, buffers.cells)
    cells = buffers.cells * inner
    for i in range(3):
        if i == cut_axis(plan):
            factors *= most_covering(&plan.axes[i], ceil_divide(plan.axes[i].input_size, norming.parts))
        else:
            factors *= plan.axes[i].output_size
    buffers.factors = end
    buffers.columns = buffers.factors + factors
    buffers.row = buffers.columns + row
    buffers.gradients = buffers.row + max(row, cells)
    buffers.line = buffers.gradients + factored_outputs(plan) * inner
    buffers.spread = buffers.line + buffers.outputs * inner
    end = buffers.spread + cells + 2 * extent_of(axis) * inner
    buffers.floats = <float*> end
    return (<char*> end) - scratch + (max(MOST_POWERS * row, cells) * sizeof(float) if norming.narrow != NULL else 0)


cdef inline ptrdiff_t factored_scratch(const norming_t* norming) noexcept nogil:
    """Bytes for one thread."""
    cdef factored_t buffers
    return factored_with(&buffers, norming, NULL)


# --- factors -------------------------------------------------------------------------------------------------------

cdef void divide_by_norms(double* sums, const double* gradients, ptrdiff_t n, double p) noexcept nogil:
    """Turn sums of powers into ``grad * norm ** (1 - p)``; a window of zeros has none."""
    cdef ptrdiff_t i
    cdef double total
    if p == 1:
        for i in range(n):
            sums[i] = gradients[i]
    elif p == 2:
        for i in range(n):
            total = gradients[i] / sqrt(sums[i])
            sums[i] = 0 if sums[i] == 0 else total
    elif p == 3:
        for i in range(n):
            total = cube_root(sums[i])
            total = gradients[i] / (total * total)
            sums[i] = 0 if sums[i] == 0 else total
    elif p == 4:
        for i in range(n):
            total = sqrt(sums[i])
            total = gradients[i] / (total * sqrt(total))
            sums[i] = 0 if sums[i] == 0 else total
    else:
        for i in range(n):
            total = gradients[i] * near_power_of(sums[i], part_number(sums[i]), 1 / p - 1)
            sums[i] = 0 if sums[i] == 0 else total


cdef alone_t add_lines(double* dst, const double* a, const double* b, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        dst[i] = a[i] + b[i]


cdef void add_columns(
    const norming_t* norming, const factored_t* buffers, double* sums, const char* plane, ptrdiff_t cell, ptrdiff_t n,
    const window_t* depth, const window_t* height
) noexcept nogil:
    """Add up the powers of n elements from a cell of a row on, over all rows of a window."""
    cdef const plan_t* plan = norming.plan
    cdef const axis_t* axis = &plan.axes[1]
    cdef ptrdiff_t in_row = plan.axes[2].input_size * plan.inner
    cdef ptrdiff_t storage = norming.stored.storage
    cdef ptrdiff_t apart = axis.dilation * in_row
    cdef bint multiplies = is_of_products(norming.norm)
    cdef ptrdiff_t d, h, t, count
    cdef const char* src
    cdef const float* line
    for d in range(depth.count):
        h = 0
        while h < height.count:
            count = min(height.count - h, <ptrdiff_t> MOST_POWERS) if multiplies else 1
            src = plane + (
                ((depth.first + d * plan.axes[0].dilation) * axis.input_size + height.first + h * axis.dilation)
                * in_row + cell * plan.inner) * storage
            if not multiplies:
                read_row(norming, buffers.row, src, 0, 1, n)
                raise_row(buffers.row, n, norming.norm)
                if d == 0 and h == 0:
                    memcpy(sums, buffers.row, n * sizeof(double))
                else:
                    add_lines(sums, sums, buffers.row, n)
            elif norming.narrow == NULL:
                add_powers(sums, <const float*> src, apart, count, n, d > 0 or h > 0, norming.norm.p)
            else:
                line = buffers.floats
                for t in range(count):
                    norming.narrow(buffers.floats + t * n, src + t * apart * storage, n)
                add_powers(sums, line, n, count, n, d > 0 or h > 0, norming.norm.p)
            h += count


cdef void add_windows(
    const norming_t* norming, const factored_t* buffers, double* dst, const char* plane, ptrdiff_t output,
    ptrdiff_t outputs, const window_t* depth, const window_t* height
) noexcept nogil:
    """Add up the powers of windows that follow each other."""
    cdef const plan_t* plan = norming.plan
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t cell = output * axis.stride - axis.pad_begin
    cdef ptrdiff_t held = (outputs - 1) * axis.stride + extent_of(axis)
    cdef ptrdiff_t left = min(max(-cell, 0), held)
    cdef ptrdiff_t right = min(max(cell + held - axis.input_size, 0), held - left)
    cdef ptrdiff_t n = (held - left - right) * inner
    cdef const leaves_t* rows = norming.rows
    cdef char* columns = <char*> buffers.columns
    if (norming.narrow == NULL and is_of_products(norming.norm) and takes_pairs(plan) and left == 0 and right == 0
            and height.count == 2 and depth.count == 1):
        plane += (height.first * axis.input_size + cell) * sizeof(float)
        add_pairs(
            dst, <const float*> plane, plan.axes[1].dilation * axis.input_size, outputs, <int> norming.norm.p)
        return
    memset(buffers.columns, 0, left * inner * sizeof(double))
    memset(buffers.columns + left * inner + n, 0, right * inner * sizeof(double))
    if n > 0:
        add_columns(norming, buffers, buffers.columns + left * inner, plane, cell + left, n, depth, height)
    if slides_along(axis, inner):
        rows.along(<char*> dst, columns, outputs, axis.stride, axis.kernel_size, 1, False, NULL)
    else:
        slide(plan, rows, <char*> dst, columns, outputs, 1, 0, 0, False)


cdef bint make_factors(
    const norming_t* norming, const factored_t* buffers, ptrdiff_t outer, const covering_t* held, char* scratch
) noexcept nogil:
    """Write the factors of the windows over a part of a plane; return whether the call is to end."""
    cdef const plan_t* plan = norming.plan
    cdef const char* plane = norming.src + outer * elements_of(plan, False) * norming.stored.storage
    cdef ptrdiff_t inner = plan.inner
    cdef double* factors = buffers.factors
    cdef ptrdiff_t od, oh, ow, n, at
    cdef window_t depth, height
    for od in range(held[0].first, held[0].stop):
        depth = window_of(&plan.axes[0], od)
        for oh in range(held[1].first, held[1].stop):
            height = window_of(&plan.axes[1], oh)
            ow = held[2].first
            while ow < held[2].stop:
                n = min(factored_outputs(plan), held[2].stop - ow)
                if is_stopped(scratch, 8 * factored_row(plan) * (depth.count * height.count + 1)):
                    return True
                at = (outer * plan.axes[0].output_size + od) * plan.axes[1].output_size + oh
                at = (at * plan.axes[2].output_size + ow) * inner
                if norming.norm.p == 1:
                    read_row(norming, factors, norming.grad_output, at, 1, n * inner)
                elif depth.count == 0 or height.count == 0:
                    memset(factors, 0, n * inner * sizeof(double))
                else:
                    add_windows(norming, buffers, factors, plane, ow, n, &depth, &height)
                    read_row(norming, buffers.gradients, norming.grad_output, at, 1, n * inner)
                    divide_by_norms(factors, buffers.gradients, n * inner, norming.norm.p)
                factors += n * inner
                ow += n
    return False


# --- gradients -----------------------------------------------------------------------------------------------------

cdef const double* add_rows(
    const norming_t* norming, const factored_t* buffers, const covering_t* held, ptrdiff_t z, ptrdiff_t y,
    const covering_t* outputs
) noexcept nogil:
    """Add up factors of the output rows over an input row; return them, or NULL if there are none."""
    cdef const plan_t* plan = norming.plan
    cdef covering_t ds = windows_covering(&plan.axes[0], z, 1)
    cdef covering_t hs = windows_covering(&plan.axes[1], y, 1)
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t row = (held[2].stop - held[2].first) * inner
    cdef ptrdiff_t od, oh
    cdef const double* sums = NULL
    cdef const double* line
    for od in range(ds.first, ds.stop):
        if not holds(&plan.axes[0], od, z):
            continue
        for oh in range(hs.first, hs.stop):
            if not holds(&plan.axes[1], oh, y):
                continue
            line = buffers.factors + (outputs.first - held[2].first) * inner + row * (
                (od - held[0].first) * (held[1].stop - held[1].first) + oh - held[1].first)
            if sums == NULL:
                sums = line
                continue
            add_lines(buffers.line, sums, line, (outputs.stop - outputs.first) * inner)
            sums = buffers.line
    return sums


cdef alone_t spread_pairs(double* dst, const double* line, ptrdiff_t n, bint threes) noexcept nogil:
    """Give each of n values to two cells, or to the first of the next pair too."""
    cdef ptrdiff_t i
    dst[0] = line[0]
    dst[1] = line[0]
    if threes:
        for i in range(1, n):
            dst[2 * i] = line[i] + line[i - 1]
            dst[2 * i + 1] = line[i]
        dst[2 * n] = line[n - 1]
    else:
        for i in range(1, n):
            dst[2 * i] = line[i]
            dst[2 * i + 1] = line[i]


cdef void spread_line(
    double* dst, const double* line, ptrdiff_t n, const axis_t* axis, ptrdiff_t inner
) noexcept nogil:
    """Add each of n values to the cells of its window; `dst` holds zeros."""
    cdef ptrdiff_t apart = axis.stride * inner
    cdef ptrdiff_t w, o, x
    cdef double* target
    if inner == 1 and axis.stride == 2 and axis.dilation == 1 and 2 <= axis.kernel_size <= 3:
        spread_pairs(dst, line, n, axis.kernel_size == 3)
        return
    for w in range(axis.kernel_size):
        target = dst + w * axis.dilation * inner
        if axis.stride == 1:
            add_lines(target, target, line, n * inner)
        elif inner == 1:
            for o in range(n):
                target[o * apart] += line[o]
        else:
            for o in range(n):
                for x in range(inner):
                    target[o * apart + x] += line[o * inner + x]


cdef const double* spread_over(
    const norming_t* norming, const factored_t* buffers, const double* line, const covering_t* outputs, ptrdiff_t cell
) noexcept nogil:
    """Add up the factors of each cell from `cell` on; return them."""
    cdef const axis_t* axis = &norming.plan.axes[2]
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t n = outputs.stop - outputs.first
    cdef ptrdiff_t begin = outputs.first * axis.stride - axis.pad_begin
    cdef ptrdiff_t first = min(begin, cell)
    memset(buffers.spread, 0, (buffers.cells + 2 * extent_of(axis)) * inner * sizeof(double))
    if line != NULL and n > 0:
        spread_line(buffers.spread + (begin - first) * inner, line, n, axis, inner)
        return buffers.spread + (cell - first) * inner
    return buffers.spread


cdef inline bint write_slopes_as(
    double* wide, float* dst, const double* sums, const float* src, ptrdiff_t n, double p, const int whole_p,
    const bint narrow
) noexcept nogil:
    cdef ptrdiff_t i
    cdef double x, w
    cdef bint is_nan
    cdef int any_nan = 0
    for i in range(n):
        x = src[i]
        if whole_p == 1:
            w = sums[i] * copysign(1.0, x)
        elif whole_p == 2:
            w = sums[i] * x
        elif whole_p == 3:
            w = sums[i] * (x * fabs(x))
        elif whole_p == 4:
            w = sums[i] * (x * x * x)
        else:
            w = sums[i] * copysign(near_power_of(fabs(x), part_number(fabs(x)), p - 1), x)
        # By masks, or compilers make a way of its own for NaN, and no vectors.
        w = choose_number(x == 0, 0, w)
        is_nan = w != w
        any_nan |= is_nan
        w = choose_number(is_nan, NAN, w)
        if narrow:
            dst[i] = <float> w
        else:
            wide[i] = w
    return any_nan != 0


cdef inline bint write_slopes_of(
    double* wide, float* dst, const double* sums, const float* src, ptrdiff_t n, double p, const bint narrow
) noexcept nogil:
    if p == 1:
        return write_slopes_as(wide, dst, sums, src, n, p, 1, narrow)
    if p == 2:
        return write_slopes_as(wide, dst, sums, src, n, p, 2, narrow)
    if p == 3:
        return write_slopes_as(wide, dst, sums, src, n, p, 3, narrow)
    if p == 4:
        return write_slopes_as(wide, dst, sums, src, n, p, 4, narrow)
    return write_slopes_as(wide, dst, sums, src, n, p, 0, narrow)


cdef bint write_slopes(float* dst, const double* sums, const float* src, ptrdiff_t n, double p) noexcept nogil:
    """Multiply sums of factors by ``sign(x) * abs(x) ** (p - 1)``, 0 where x is; return whether any is NaN."""
    return write_slopes_of(NULL, dst, sums, src, n, p, True)


cdef bint write_wide_slopes(double* dst, const double* sums, const float* src, ptrdiff_t n, double p) noexcept nogil:
    return write_slopes_of(dst, NULL, sums, src, n, p, False)


cdef inline bint is_covered(const plan_t* plan, ptrdiff_t element) noexcept nogil:
    """Whether a window holds an element of a plane."""
    cdef ptrdiff_t cells[3]
    cdef covering_t held
    cdef bint found
    cdef int i
    element //= plan.inner
    for i in range(2, -1, -1):
        cells[i] = element % plan.axes[i].input_size
        element //= plan.axes[i].input_size
    for i in range(3):
        held = windows_covering(&plan.axes[i], cells[i], 1)
        found = False
        while held.first < held.stop and not found:
            found = holds(&plan.axes[i], held.first, cells[i])
            held.first += 1
        if not found:
            return False
    return True


cdef void make_slopes(
    const norming_t* norming, const factored_t* buffers, const double* sums, const char* plane, char* target,
    ptrdiff_t element, ptrdiff_t n
) noexcept nogil:
    """Write n gradients from an element of a plane on. What no window holds has none, whatever it is."""
    cdef const plan_t* plan = norming.plan
    cdef double p = norming.norm.p
    cdef const float* src = floats_of(norming, buffers.floats, plane + element * norming.stored.storage, n)
    cdef float* dst = <float*> (target + element * norming.stored.storage)
    cdef double* wide = buffers.row
    cdef ptrdiff_t i
    if norming.narrow == NULL:
        if write_slopes(dst, sums, src, n, p):
            for i in range(n):
                if dst[i] != dst[i] and not is_covered(plan, element + i):
                    dst[i] = 0
        return
    if write_wide_slopes(wide, sums, src, n, p):
        for i in range(n):
            if wide[i] != wide[i] and not is_covered(plan, element + i):
                wide[i] = 0
    round_row(norming, <char*> dst, wide, n)


cdef ptrdiff_t spread_factored(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make parts begin to end of planes of the gradient, an input row at a time."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef int cut_at = cut_axis(plan)
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t inputs = elements_of(plan, False)
    cdef ptrdiff_t storage = norming.stored.storage
    cdef ptrdiff_t task, outer, part, z, y, x, n, element
    cdef ptrdiff_t first[3]
    cdef ptrdiff_t stop[3]
    cdef covering_t held[3]
    cdef covering_t outputs
    cdef factored_t buffers
    cdef const double* sums
    cdef int i
    factored_with(&buffers, norming, scratch)
    for task in range(begin, end):
        outer = task // norming.parts
        part = task % norming.parts
        for i in range(3):
            first[i] = 0
            stop[i] = plan.axes[i].input_size
            if i == cut_at:
                first[i] = part * plan.axes[i].input_size // norming.parts
                stop[i] = (part + 1) * plan.axes[i].input_size // norming.parts
            held[i] = windows_covering(&plan.axes[i], first[i], stop[i] - first[i])
            held[i].stop = max(held[i].first, held[i].stop)
        if make_factors(norming, &buffers, outer, held, scratch):
            return -1
        for z in range(first[0], stop[0]):
            for y in range(first[1], stop[1]):
                x = first[2]
                while x < stop[2]:
                    n = min(buffers.cells, stop[2] - x)
                    if is_stopped(scratch, 8 * n * inner * (plan.axes[0].kernel_size + plan.axes[1].kernel_size)):
                        return -1
                    outputs = windows_covering(&plan.axes[2], x, n)
                    sums = add_rows(norming, &buffers, held, z, y, &outputs)
                    sums = spread_over(norming, &buffers, sums, &outputs, x)
                    element = ((z * plan.axes[1].input_size + y) * plan.axes[2].input_size + x) * inner
                    make_slopes(
                        norming, &buffers, sums, norming.src + outer * inputs * storage,
                        norming.dst + outer * inputs * storage, element, n * inner)
                    x += n
    return -1
