# Norms and generalised means of whole maps, and their gradients: the powers of a map are added up in one go, and each
# element of the gradient is a number of its map times a power of the element. Large maps are cut into parts, whose size
# does not depend on the number of threads, and neither does the order of sums.
#
# Gradients are made in this way of what is stored in fewer bits than double, and of powers for which no sum of them
# leaves double. The gradient of p takes the logarithm of each element over the first of its map, so that equal elements
# have exactly 0.

cdef extern from "c/powers.h":
    void sum_powers "pooling_sum_powers"(
        double* dst, const float* src, ptrdiff_t runs, ptrdiff_t n, int p, double eps) noexcept nogil


cdef struct whole_t:
    const norming_t* norming
    # Maps; cells of each, of a part of one, and parts; maps whose work is one task, where these are not cut.
    ptrdiff_t maps, cells, part, parts, together
    # Whether the powers of a map are kept until its gradient is made.
    bint keeps
    # Where maps are cut: sums of powers for each part, of which the first becomes that of the map, or what its gradient
    # is multiplied by; and the same of powers times logarithms, or NULL.
    double* sums
    double* logs


cdef struct whole_buffers_t:
    # What `take_roots` works in.
    double* values
    int64_t* cells
    # Elements, their powers, and these times logarithms.
    float* line
    double* row
    double* weighted
    # Gradients of some maps, the logarithms of their first elements, and their sums.
    double* gradients
    double* starts
    double* sums
    double* logs


cdef inline bint holds_axis(const axis_t* axis) noexcept nogil:
    return axis.output_size == 1 and axis.pad_begin == 0 and axis.kernel_size == axis.input_size and (
        axis.dilation == 1 or axis.kernel_size == 1)


cdef inline bint is_whole(const norming_t* norming) noexcept nogil:
    """Whether each window holds a map, and these are made in this way."""
    cdef const axis_t* axes = &norming.plan.axes[0]
    return holds_axis(&axes[0]) and holds_axis(&axes[1]) and holds_axis(&axes[2]) and not isinf(norming.norm.p)


cdef inline bint spreads_whole(const norming_t* norming) noexcept nogil:
    """Whether gradients are: no power of a stored number is far from leaving double."""
    cdef const norm_t* norm = norming.norm
    return is_whole(norming) and norm.is_near and norm.p >= (1 if norm.eps == 0 else 0.5)


cdef inline bint is_product(const norm_t* norm) noexcept nogil:
    return norm.multiplies and (norm.p == 1 or norm.p == 2 or norm.p == 3 or norm.p == 4)


cdef whole_t whole_with(const norming_t* norming) noexcept nogil:
    """Cut maps into parts. Of a pixel with many channels a part has some, so that sums are fewer than elements."""
    cdef const plan_t* plan = norming.plan
    cdef whole_t whole
    whole.norming = norming
    whole.maps = plan.outer
    whole.cells = elements_of(plan, False) // plan.inner
    whole.part = max(ceil_divide(NORM_PART, plan.inner), <ptrdiff_t> 16)
    whole.parts = ceil_divide(whole.cells, whole.part) if whole.cells >= 2 * whole.part else 1
    whole.part = whole.part if whole.parts > 1 else whole.cells
    whole.together = max(1, BLOCK // (whole.cells * plan.inner)) if whole.parts == 1 else 1
    whole.keeps = norming.exponents != NULL and not is_product(norming.norm) and whole.cells * plan.inner <= BLOCK
    whole.sums = NULL
    whole.logs = NULL
    return whole


cdef inline bint sums_at_once(const whole_t* whole) noexcept nogil:
    """Whether the powers of several maps are added up in one call."""
    cdef const norming_t* norming = whole.norming
    return (
        norming.exponents == NULL and is_product(norming.norm) and norming.plan.inner == 1
        and whole.cells * whole.together <= BLOCK)


cdef inline ptrdiff_t whole_row(const whole_t* whole) noexcept nogil:
    """Elements that are worked on together."""
    return max(whole.norming.plan.inner, <ptrdiff_t> (BLOCK if whole.keeps else TAPS))


cdef inline ptrdiff_t whole_line(const whole_t* whole) noexcept nogil:
    return max(whole_row(whole), <ptrdiff_t> BLOCK)


cdef inline ptrdiff_t whole_scratch(const whole_t* whole) noexcept nogil:
    """Bytes for one thread."""
    return window_scratch() + round_up(whole_line(whole) * sizeof(float), 64) + (
        2 * whole_row(whole) + 4 * whole.together * whole.norming.plan.inner) * sizeof(double)


cdef inline whole_buffers_t whole_buffers(const whole_t* whole, char* scratch) noexcept nogil:
    cdef whole_buffers_t buffers
    cdef ptrdiff_t outputs = whole.together * whole.norming.plan.inner
    buffers.values = <double*> scratch
    buffers.cells = <int64_t*> (buffers.values + 3 * TAPS)
    buffers.line = <float*> (scratch + window_scratch())
    buffers.row = <double*> (scratch + window_scratch() + round_up(whole_line(whole) * sizeof(float), 64))
    buffers.weighted = buffers.row + whole_row(whole)
    buffers.gradients = buffers.weighted + whole_row(whole)
    buffers.starts = buffers.gradients + outputs
    buffers.sums = buffers.starts + outputs
    buffers.logs = buffers.sums + outputs
    return buffers


# --- sums ----------------------------------------------------------------------------------------------------------

cdef inline void weigh_as(
    double* powers, double* weighted, const float* src, ptrdiff_t n, const double* starts, const bint each, double eps,
    double p, const int whole_p
) noexcept nogil:
    cdef ptrdiff_t i
    cdef double v, w
    cdef double start = starts[0]
    cdef parted_t parts
    for i in range(n):
        v = lifted_above(src[i], eps)
        parts = part_number(v)
        if whole_p == 0:
            w = near_power_of(v, parts, p)
        else:
            w = product_of(v, whole_p)
        powers[i] = w
        weighted[i] = w * (near_log_of(parts) - (starts[i] if each else start))


cdef inline double lifted_above(double x, double eps) noexcept nogil:
    return eps if x < eps else x


cdef alone_t weigh(
    double* powers, double* weighted, const float* src, ptrdiff_t n, const double* starts, bint each, double eps,
    double p
) noexcept nogil:
    """Raise what is not below eps, and multiply by its logarithm less that of `starts`: for each, or of all."""
    if each:
        if p == 1:
            weigh_as(powers, weighted, src, n, starts, True, eps, p, 1)
        elif p == 2:
            weigh_as(powers, weighted, src, n, starts, True, eps, p, 2)
        elif p == 3:
            weigh_as(powers, weighted, src, n, starts, True, eps, p, 3)
        elif p == 4:
            weigh_as(powers, weighted, src, n, starts, True, eps, p, 4)
        else:
            weigh_as(powers, weighted, src, n, starts, True, eps, p, 0)
    elif p == 1:
        weigh_as(powers, weighted, src, n, starts, False, eps, p, 1)
    elif p == 2:
        weigh_as(powers, weighted, src, n, starts, False, eps, p, 2)
    elif p == 3:
        weigh_as(powers, weighted, src, n, starts, False, eps, p, 3)
    elif p == 4:
        weigh_as(powers, weighted, src, n, starts, False, eps, p, 4)
    else:
        weigh_as(powers, weighted, src, n, starts, False, eps, p, 0)


cdef inline void add_pixels(
    const norming_t* norming, double* sums, const double* row, ptrdiff_t cells
) noexcept nogil:
    """Add up what cells hold, channel by channel."""
    cdef ptrdiff_t inner = norming.plan.inner
    if inner == 1:
        norming.rows.along(sums, row, 1, 0, cells, 1, True, NULL)
    else:
        norming.rows.across(sums, row, inner, cells, inner, 1, 1, 0, 0, True, NULL)


cdef inline const float* floats_of(
    const norming_t* norming, float* line, const char* src, ptrdiff_t n
) noexcept nogil:
    """Convert halves; floats stay where they are."""
    if norming.narrow == NULL:
        return <const float*> src
    norming.narrow(line, src, n)
    return line


cdef void start_logs(const whole_t* whole, const whole_buffers_t* buffers, const char* src) noexcept nogil:
    """Take logarithms of the first elements of a map."""
    cdef ptrdiff_t inner = whole.norming.plan.inner
    cdef const float* first = floats_of(whole.norming, buffers.line, src, inner)
    cdef ptrdiff_t c
    for c in range(inner):
        buffers.starts[c] = near_log_of(part_number(lifted_above(first[c], whole.norming.norm.eps)))


cdef void add_cells(
    const whole_t* whole, const whole_buffers_t* buffers, double* sums, double* logs, const char* src, ptrdiff_t cells
) noexcept nogil:
    """Add up the powers of cells of a map and, unless `logs` is NULL, these times logarithms."""
    cdef const norming_t* norming = whole.norming
    cdef const norm_t* norm = norming.norm
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t together = max(1, TAPS // inner)
    cdef bint multiplies = logs == NULL and is_product(norm) and (inner == 1 or norm.eps == 0)
    cdef ptrdiff_t at = 0
    cdef ptrdiff_t n, x
    cdef double total
    cdef const float* line
    if whole.keeps:
        together = cells
    elif multiplies:
        together = cells if norming.narrow == NULL else max(1, BLOCK // inner)
    while at < cells:
        n = min(together, cells - at)
        if multiplies:
            line = floats_of(norming, buffers.line, src, n * inner)
            if inner == 1:
                sum_powers(&total, line, 1, n, <int> norm.p, norm.eps)
                sums[0] += total
            else:
                add_powers(sums, line, inner, n, inner, True, norm.p)
        elif logs != NULL:
            line = floats_of(norming, buffers.line, src, n * inner)
            if inner == 1:
                weigh(buffers.row, buffers.weighted, line, n, buffers.starts, False, norm.eps, norm.p)
            else:
                for x in range(n):
                    weigh(
                        buffers.row + x * inner, buffers.weighted + x * inner, line + x * inner, inner, buffers.starts,
                        True, norm.eps, norm.p)
            add_pixels(norming, sums, buffers.row, n)
            add_pixels(norming, logs, buffers.weighted, n)
        else:
            read_row(norming, buffers.row, src, 0, 1, n * inner)
            raise_row(buffers.row, n * inner, norm)
            add_pixels(norming, sums, buffers.row, n)
        src += n * inner * norming.stored.storage
        at += n


# --- results and gradients -----------------------------------------------------------------------------------------

cdef void finish_norms(
    const whole_t* whole, const whole_buffers_t* buffers, double* sums, ptrdiff_t map, ptrdiff_t count
) noexcept nogil:
    """Turn the sums of `count` maps into norms."""
    cdef const norming_t* norming = whole.norming
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t n = count * inner
    cdef ptrdiff_t nbytes = whole.cells * inner * norming.stored.storage
    cdef ptrdiff_t m
    if rounds_roots(norming):
        round_roots(norming, norming.dst + map * inner * norming.stored.storage, sums, n)
        return
    if norming.norm.high == INFINITY:
        # None is worked out again, so that it does not matter whose they are.
        take_roots(norming, sums, n, norming.src + map * nbytes, 0, 0, 0, buffers.values, buffers.cells)
    else:
        for m in range(count):
            take_roots(
                norming, sums + m * inner, inner, norming.src + (map + m) * nbytes, 0, 0, 0, buffers.values,
                buffers.cells)
    round_row(norming, norming.dst + map * inner * norming.stored.storage, sums, n)


cdef double slope_of_power(
    const whole_t* whole, const whole_buffers_t* buffers, double total, double log, double start, const char* src,
    ptrdiff_t channel
) noexcept nogil:
    """How the mean of a map changes with p, of the sums of its powers, and of these times logarithms."""
    cdef const norming_t* norming = whole.norming
    cdef double p = norming.norm.p
    cdef double eps = norming.norm.eps
    cdef double mean = root_of(total / whole.cells, p)
    cdef ptrdiff_t inner = norming.plan.inner
    cdef double first, value
    cdef ptrdiff_t i
    if log != 0:
        return mean / p * (log / total - (near_log_of(part_number(mean)) - start))
    # Of equal elements there is no slope.
    read_row(norming, &value, src, channel, 1, 1)
    first = lifted(value, eps)
    for i in range(1, whole.cells):
        read_row(norming, &value, src, i * inner + channel, 1, 1)
        if lifted(value, eps) != first:
            return mean / p * (log / total - (near_log_of(part_number(mean)) - start))
    return 0


cdef void finish_factors(
    const whole_t* whole, const whole_buffers_t* buffers, double* sums, const double* logs, ptrdiff_t map
) noexcept nogil:
    """Turn the sums of a map into what the powers of its elements are multiplied by, and write the gradient of p."""
    cdef const norming_t* norming = whole.norming
    cdef ptrdiff_t inner = norming.plan.inner
    cdef const char* src = norming.src + map * whole.cells * inner * norming.stored.storage
    cdef double* gradients = buffers.gradients
    cdef ptrdiff_t c
    read_row(norming, gradients, norming.grad_output, map * inner, 1, inner)
    if norming.norm.eps != 0:
        if logs != NULL:
            for c in range(inner):
                norming.exponents[map * inner + c] = slope_of_power(
                    whole, buffers, sums[c], logs[c], buffers.starts[c], src, c)
        for c in range(inner):
            sums[c] /= whole.cells
            gradients[c] /= whole.cells
    divide_by_norms(sums, gradients, inner, norming.norm.p)


cdef inline void scale_slopes_as(
    double* dst, const float* src, ptrdiff_t n, const double* factors, const bint each, const bint lifts, double eps,
    double p, const int whole_p
) noexcept nogil:
    cdef ptrdiff_t i
    cdef double x, v, w
    cdef double factor = factors[0]
    for i in range(n):
        x = src[i]
        v = x if lifts else fabs(x)
        w = factors[i] if each else factor
        if whole_p == 2:
            w *= v
        elif whole_p == 3:
            w *= v * v
        elif whole_p == 4:
            w *= v * v * v
        elif whole_p == 0:
            w *= near_power_of(v, part_number(v), p - 1)
        if lifts:
            dst[i] = 0 if x < eps else w
        else:
            w = copysign(1.0, x) * w
            dst[i] = 0 if x == 0 else w


cdef inline void scale_slopes_of(
    double* dst, const float* src, ptrdiff_t n, const double* factors, bint each, const bint lifts, double eps,
    double p, const int whole_p
) noexcept nogil:
    if each:
        scale_slopes_as(dst, src, n, factors, True, lifts, eps, p, whole_p)
    else:
        scale_slopes_as(dst, src, n, factors, False, lifts, eps, p, whole_p)


cdef alone_t scale_slopes(
    double* dst, const float* src, ptrdiff_t n, const double* factors, bint each, double eps, double p
) noexcept nogil:
    """Multiply derivatives of powers by factors: one for each, or one for all."""
    if eps == 0:
        if p == 1:
            scale_slopes_of(dst, src, n, factors, each, False, eps, p, 1)
        elif p == 2:
            scale_slopes_of(dst, src, n, factors, each, False, eps, p, 2)
        elif p == 3:
            scale_slopes_of(dst, src, n, factors, each, False, eps, p, 3)
        elif p == 4:
            scale_slopes_of(dst, src, n, factors, each, False, eps, p, 4)
        else:
            scale_slopes_of(dst, src, n, factors, each, False, eps, p, 0)
    elif p == 1:
        scale_slopes_of(dst, src, n, factors, each, True, eps, p, 1)
    elif p == 2:
        scale_slopes_of(dst, src, n, factors, each, True, eps, p, 2)
    elif p == 3:
        scale_slopes_of(dst, src, n, factors, each, True, eps, p, 3)
    elif p == 4:
        scale_slopes_of(dst, src, n, factors, each, True, eps, p, 4)
    else:
        scale_slopes_of(dst, src, n, factors, each, True, eps, p, 0)


cdef alone_t scale_ratios(
    double* powers, const float* src, ptrdiff_t n, const double* factors, ptrdiff_t inner, double eps
) noexcept nogil:
    """Turn powers of pixels into their derivatives times factors."""
    cdef ptrdiff_t c
    cdef ptrdiff_t i = 0
    cdef double x, w
    cdef double factor = factors[0]
    if inner == 1:
        for i in range(n):
            x = src[i]
            w = powers[i] / x * factor
            powers[i] = 0 if x < eps else w
        return
    while i < n:
        for c in range(inner):
            x = src[i + c]
            w = powers[i + c] / x * factors[c]
            powers[i + c] = 0 if x < eps else w
        i += inner


cdef void spread_cells(
    const whole_t* whole, const whole_buffers_t* buffers, const double* factors, ptrdiff_t first, ptrdiff_t cells
) noexcept nogil:
    """Make the gradient of cells; `first` counts those of all maps."""
    cdef const norming_t* norming = whole.norming
    cdef const norm_t* norm = norming.norm
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t together = max(1, TAPS // inner)
    cdef ptrdiff_t at = first * inner
    cdef ptrdiff_t stop = (first + cells) * inner
    cdef ptrdiff_t storage = norming.stored.storage
    cdef ptrdiff_t n, x
    cdef const float* line
    if whole.keeps:
        together = cells
    while at < stop:
        n = min(together * inner, stop - at)
        line = floats_of(norming, buffers.line, norming.src + at * storage, n)
        if whole.keeps:
            scale_ratios(buffers.row, line, n, factors, inner, norm.eps)
        elif inner == 1:
            scale_slopes(buffers.row, line, n, factors, False, norm.eps, norm.p)
        else:
            x = 0
            while x < n:
                scale_slopes(buffers.row + x, line + x, inner, factors, True, norm.eps, norm.p)
                x += inner
        round_row(norming, norming.dst + at * storage, buffers.row, n)
        at += n


# --- tasks ---------------------------------------------------------------------------------------------------------

cdef ptrdiff_t whole_maps(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make norms or gradients of groups begin to end of maps that are not cut."""
    cdef const whole_t* whole = <const whole_t*> job
    cdef const norming_t* norming = whole.norming
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t elements = whole.cells * inner
    cdef ptrdiff_t storage = norming.stored.storage
    cdef whole_buffers_t buffers = whole_buffers(whole, scratch)
    cdef ptrdiff_t task, first, count, m
    cdef double* sums
    cdef double* logs = NULL
    cdef const char* src
    cdef bint at_once = sums_at_once(whole)
    for task in range(begin, end):
        first = task * whole.together
        count = min(whole.together, whole.maps - first)
        if is_stopped(scratch, (16 if norming.grad_output != NULL else 4) * count * elements):
            return -1
        if at_once:
            src = norming.src + first * elements * storage
            sum_powers(
                buffers.sums, floats_of(norming, buffers.line, src, count * elements), count, elements,
                <int> norming.norm.p, norming.norm.eps)
            if norming.grad_output == NULL:
                finish_norms(whole, &buffers, buffers.sums, first, count)
                continue
        else:
            memset(buffers.sums, 0, count * inner * sizeof(double))
        for m in range(count):
            sums = buffers.sums + m * inner
            src = norming.src + (first + m) * elements * storage
            if norming.exponents != NULL:
                logs = buffers.logs
                memset(logs, 0, inner * sizeof(double))
                start_logs(whole, &buffers, src)
            if not at_once:
                add_cells(whole, &buffers, sums, logs, src, whole.cells)
            if norming.grad_output != NULL:
                finish_factors(whole, &buffers, sums, logs, first + m)
                spread_cells(whole, &buffers, sums, (first + m) * whole.cells, whole.cells)
        if norming.grad_output == NULL:
            finish_norms(whole, &buffers, buffers.sums, first, count)
    return -1


cdef ptrdiff_t sum_parts(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Add up parts begin to end of maps."""
    cdef const whole_t* whole = <const whole_t*> job
    cdef const norming_t* norming = whole.norming
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t storage = norming.stored.storage
    cdef whole_buffers_t buffers = whole_buffers(whole, scratch)
    cdef ptrdiff_t task, cell, cells
    cdef double* logs = NULL
    cdef const char* src
    for task in range(begin, end):
        cell = task % whole.parts * whole.part
        cells = min(whole.part, whole.cells - cell)
        if is_stopped(scratch, 4 * cells * inner):
            return -1
        src = norming.src + task // whole.parts * whole.cells * inner * storage
        memset(whole.sums + task * inner, 0, inner * sizeof(double))
        if norming.exponents != NULL:
            logs = whole.logs + task * inner
            memset(logs, 0, inner * sizeof(double))
            start_logs(whole, &buffers, src)
        add_cells(whole, &buffers, whole.sums + task * inner, logs, src + cell * inner * storage, cells)
    return -1


cdef inline void add_parts(double* sums, ptrdiff_t parts, ptrdiff_t inner) noexcept nogil:
    cdef ptrdiff_t part, c
    for part in range(1, parts):
        for c in range(inner):
            sums[c] += sums[part * inner + c]


cdef ptrdiff_t join_parts(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make norms, or what gradients are multiplied by, of maps begin to end that were cut."""
    cdef const whole_t* whole = <const whole_t*> job
    cdef const norming_t* norming = whole.norming
    cdef ptrdiff_t inner = norming.plan.inner
    cdef ptrdiff_t step = whole.parts * inner
    cdef whole_buffers_t buffers = whole_buffers(whole, scratch)
    cdef ptrdiff_t map
    cdef double* logs = NULL
    for map in range(begin, end):
        if is_stopped(scratch, step):
            return -1
        add_parts(whole.sums + map * step, whole.parts, inner)
        if norming.grad_output == NULL:
            finish_norms(whole, &buffers, whole.sums + map * step, map, 1)
            continue
        if norming.exponents != NULL:
            logs = whole.logs + map * step
            add_parts(logs, whole.parts, inner)
            start_logs(whole, &buffers, norming.src + map * whole.cells * inner * norming.stored.storage)
        finish_factors(whole, &buffers, whole.sums + map * step, logs, map)
    return -1


cdef ptrdiff_t spread_parts(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make parts begin to end of gradients."""
    cdef const whole_t* whole = <const whole_t*> job
    cdef ptrdiff_t inner = whole.norming.plan.inner
    cdef whole_buffers_t buffers = whole_buffers(whole, scratch)
    cdef ptrdiff_t task, map, cell, cells
    for task in range(begin, end):
        map = task // whole.parts
        cell = task % whole.parts * whole.part
        cells = min(whole.part, whole.cells - cell)
        if is_stopped(scratch, 4 * cells * inner):
            return -1
        spread_cells(
            whole, &buffers, whole.sums + map * whole.parts * inner, map * whole.cells + cell, cells)
    return -1


cdef int make_whole(const norming_t* norming, ptrdiff_t threads) except -1:
    """Make norms of whole maps, or gradients where those of results are given."""
    cdef whole_t whole = whole_with(norming)
    cdef ptrdiff_t nbytes = whole_scratch(&whole)
    cdef ptrdiff_t sums = whole.maps * whole.parts * norming.plan.inner
    if whole.parts == 1:
        share(whole_maps, &whole, ceil_divide(whole.maps, whole.together), nbytes, threads)
        return 0
    whole.sums = <double*> malloc(sums * sizeof(double) * (1 if norming.exponents == NULL else 2))
    if whole.sums == NULL:
        raise MemoryError("no memory for sums of the parts of maps")
    try:
        if norming.exponents != NULL:
            whole.logs = whole.sums + sums
        share(sum_parts, &whole, whole.maps * whole.parts, nbytes, threads)
        share(join_parts, &whole, whole.maps, nbytes, threads)
        if norming.grad_output != NULL:
            share(spread_parts, &whole, whole.maps * whole.parts, nbytes, threads)
    finally:
        free(whole.sums)
    return 0
