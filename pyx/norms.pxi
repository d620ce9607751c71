# Norms and generalised means: (sum v^p)^(1/p) over a window, where v is |x|, or max(x, eps) for a mean. Everything is
# double; arrays of narrower dtypes are converted before and rounded once afterwards.

from libc.math cimport INFINITY, copysign, fabs, isinf, log, pow as power, sqrt


cdef struct norm_t:
    double p
    # Smallest v of a generalised mean; 0 for a norm, where v is |x|.
    double eps
    # Sums of powers that need no scaling: nothing overflowed on the way, and what underflowed does not count.
    double low, high


cdef struct norming_t:
    const plan_t* plan
    const norm_t* norm
    const double* src
    # Forward, sums become norms; backward, the gradients of norms become those of elements, and of p for each window
    # unless that is NULL.
    const double* grad_output
    double* dst
    double* exponents


cdef struct raising_t:
    const double* src
    double* dst
    double p, eps


cdef struct gathered_t:
    # The elements of a window that lie in the input, in row-major order: where they are, and v.
    int64_t* cells
    double* values
    ptrdiff_t count
    # The norm is the product of these two.
    double largest, factor
    ptrdiff_t first_largest


cdef norm_t norm_with(double p, double eps) noexcept:
    cdef norm_t norm
    norm.p = p
    norm.eps = eps
    if p == 1 or isinf(p):
        norm.low = -1
        norm.high = INFINITY
    elif p == 2:
        norm.low = 2.0 ** -900
        norm.high = 2.0 ** 1000
    else:
        # The root of a sum far from 1 makes much of the rounding of 1 / p; with p < 1, that of every sum.
        norm.low = 2.0 ** -64 if p > 1 else INFINITY
        norm.high = 2.0 ** 64
    return norm


cdef inline double lifted(double x, double eps) noexcept nogil:
    if eps == 0:
        return fabs(x)
    return eps if x < eps else x


cdef inline double slope(double x, double eps) noexcept nogil:
    """Derivative of `lifted`; 0 where |x| has none."""
    if eps == 0:
        return copysign(1.0, x) if x != 0 else 0
    return 0 if x < eps else 1


cdef inline double raised(double v, double p) noexcept nogil:
    """Raise to a power; 1 and 2, which most norms have, without a call."""
    if p == 1:
        return v
    if p == 2:
        return v * v
    return power(v, p)


cdef inline ptrdiff_t most_taps(const plan_t* plan) noexcept nogil:
    """Elements that a window can hold: a bound for what is gathered."""
    cdef ptrdiff_t taps = 1
    cdef int i
    for i in range(3):
        taps *= min(plan.axes[i].kernel_size, plan.axes[i].input_size)
    return taps


cdef inline ptrdiff_t norm_scratch(const plan_t* plan) noexcept nogil:
    """Bytes of scratch memory for one thread: where the elements of a window are, and what they count."""
    return most_taps(plan) * (sizeof(int64_t) + sizeof(double))


cdef void gather(
    const plan_t* plan, const norm_t* norm, gathered_t* window, const double* plane, ptrdiff_t od, ptrdiff_t oh,
    ptrdiff_t ow, ptrdiff_t channel,
) noexcept nogil:
    """Collect the elements of a window of one plane, and work out their norm without overflow or underflow."""
    cdef window_t depth = window_of(&plan.axes[0], od)
    cdef window_t height = window_of(&plan.axes[1], oh)
    cdef window_t width = window_of(&plan.axes[2], ow)
    cdef ptrdiff_t d, h, w, row, t
    cdef ptrdiff_t n = 0
    cdef ptrdiff_t step = plan.axes[2].dilation * plan.inner
    cdef double largest = 0
    cdef double total = 0
    cdef double v
    window.first_largest = -1
    for d in range(depth.count):
        for h in range(height.count):
            row = (depth.first + d * plan.axes[0].dilation) * plan.axes[1].input_size
            row = (row + height.first + h * plan.axes[1].dilation) * plan.axes[2].input_size
            row = (row + width.first) * plan.inner + channel
            for w in range(width.count):
                window.cells[n] = row + w * step
                v = lifted(plane[row + w * step], norm.eps)
                window.values[n] = v
                # The first NaN, or else the first of the largest.
                if window.first_largest < 0 or v > largest or (v != v and largest == largest):
                    if largest == largest:
                        largest = v
                        window.first_largest = n
                n += 1
    window.count = n
    window.largest = largest
    window.factor = 1
    if largest == 0 or largest != largest or isinf(largest) or isinf(norm.p):
        return
    for t in range(n):
        total += raised(window.values[t] / largest, norm.p)
    if norm.eps != 0:
        total /= n
    if norm.p == 1:
        window.factor = total
    else:
        window.factor = sqrt(total) if norm.p == 2 else power(total, 1 / norm.p)


cdef inline ptrdiff_t elements_of(const plan_t* plan, bint output) noexcept nogil:
    """Elements of one outer element, before or after pooling."""
    cdef ptrdiff_t cells = plan.inner
    cdef int i
    for i in range(3):
        cells *= plan.axes[i].output_size if output else plan.axes[i].input_size
    return cells


cdef ptrdiff_t take_roots(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Turn the sums begin to end into norms."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef const norm_t* norm = norming.norm
    cdef double* dst = norming.dst
    cdef gathered_t window
    cdef ptrdiff_t i, at
    cdef ptrdiff_t inputs = elements_of(plan, False)
    cdef ptrdiff_t outputs = elements_of(plan, True)
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t widths = plan.axes[2].output_size
    cdef ptrdiff_t heights = plan.axes[1].output_size
    cdef ptrdiff_t cells = 1
    cdef double total
    window.cells = <int64_t*> scratch
    window.values = <double*> (scratch + most_taps(plan) * sizeof(int64_t))
    if norm.eps != 0:
        # A mean has one window for the whole map.
        cells = inputs // inner
    for i in range(begin, end):
        total = dst[i] / cells
        if isinf(norm.p):
            # A window without an element has -inf for its maximum.
            total = 0 if total < 0 else total
        elif norm.low <= total <= norm.high:
            if norm.p != 1:
                total = sqrt(total) if norm.p == 2 else power(total, 1 / norm.p)
        elif total == total:
            at = i % outputs
            if is_stopped(scratch, 32 * most_taps(plan)):
                return -1
            gather(
                plan, norm, &window, norming.src + i // outputs * inputs, at // inner // widths // heights,
                at // inner // widths % heights, at // inner % widths, at % inner)
            total = window.largest * window.factor
        dst[i] = total if total == total else NAN
    return -1


cdef ptrdiff_t spread_norms(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make the gradients of planes begin to end; the gradient of p too, for each window, where asked."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef const norm_t* norm = norming.norm
    cdef double* exponents = norming.exponents
    cdef gathered_t window
    cdef ptrdiff_t plane, o, t, d, h, w, c
    cdef ptrdiff_t inputs = elements_of(plan, False)
    cdef ptrdiff_t output = begin * elements_of(plan, True)
    cdef const double* values
    cdef double* target
    cdef double grad, rate, ratio, way, mean
    window.cells = <int64_t*> scratch
    window.values = <double*> (scratch + most_taps(plan) * sizeof(int64_t))
    memset(norming.dst + begin * inputs, 0, (end - begin) * inputs * sizeof(double))
    for plane in range(begin, end):
        values = norming.src + plane * inputs
        target = norming.dst + plane * inputs
        for d in range(plan.axes[0].output_size):
            for h in range(plan.axes[1].output_size):
                for w in range(plan.axes[2].output_size):
                    for c in range(plan.inner):
                        if is_stopped(scratch, 64 * most_taps(plan)):
                            return -1
                        gather(plan, norm, &window, values, d, h, w, c)
                        grad = norming.grad_output[output]
                        mean = 0
                        for t in range(window.count):
                            way = slope(values[window.cells[t]], norm.eps)
                            ratio = window.values[t] / window.largest / window.factor
                            if exponents != NULL and ratio != 0:
                                mean += raised(ratio, norm.p) * log(ratio)
                            if way == 0 or (isinf(norm.p) and t != window.first_largest):
                                continue
                            rate = 1
                            if norm.p != 1 and not isinf(norm.p):
                                rate = raised(ratio, norm.p - 1)
                            if norm.eps != 0:
                                rate /= window.count
                            target[window.cells[t]] += grad * (way * rate)
                        if exponents != NULL:
                            exponents[output] = grad * (window.largest * window.factor / norm.p * mean / window.count)
                        output += 1
        for o in range(inputs):
            target[o] = target[o] if target[o] == target[o] else NAN
    return -1


cdef ptrdiff_t raise_each(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make elements begin to end of what a norm adds up."""
    cdef const raising_t* raising = <const raising_t*> job
    cdef const double* src = raising.src
    cdef double* dst = raising.dst
    cdef double p = raising.p
    cdef double eps = raising.eps
    cdef ptrdiff_t i
    cdef double v
    if p == 2:
        for i in range(begin, end):
            v = lifted(src[i], eps)
            dst[i] = v * v
    elif p == 1 or isinf(p):
        for i in range(begin, end):
            dst[i] = lifted(src[i], eps)
    else:
        for i in range(begin, end):
            dst[i] = power(lifted(src[i], eps), p)
    return -1


def raise_to(src, dst, double p, double eps=0, ptrdiff_t threads=1):
    """Write what a norm adds up: |x|^p, or max(x, eps)^p; without the power for an infinite p. Both are float64."""
    cdef Buffer source = Buffer(src, dst.nbytes)
    cdef Buffer target = Buffer(dst, dst.nbytes, True)
    cdef raising_t job
    job.src = <double*> source.data
    job.dst = <double*> target.data
    job.p = p
    job.eps = eps
    share(raise_each, &job, dst.size, 0, threads, 32)


def norm_forward(Plan plan not None, src, dst, double p, double eps=0, ptrdiff_t threads=1):
    """Turn sums of powers, or the maximum for an infinite p, into norms.

    Parameters
    ----------
    plan : Plan
    src, dst : buffer
        The input and the sums, both float64.
    p : float
        The exponent.
    eps : float
        Smallest value of a generalised mean; 0 for a norm.
    threads : int
        At most this many.
    """
    cdef norm_t norm = norm_with(p, eps)
    cdef Buffer source = Buffer(src, plan.read * sizeof(double))
    cdef Buffer target = Buffer(dst, plan.written * sizeof(double), True)
    cdef norming_t job
    memset(&job, 0, sizeof(norming_t))
    job.plan = &plan.plan
    job.norm = &norm
    job.src = <double*> source.data
    job.dst = <double*> target.data
    share(take_roots, &job, plan.written, norm_scratch(&plan.plan), threads, 64)


def norm_backward(
    Plan plan not None, src, grad_output, grad_input, exponents, double p, double eps=0, ptrdiff_t threads=1
):
    """Write the gradient of a norm; into `exponents`, unless it is None, that of p for each window. All are float64."""
    cdef norm_t norm = norm_with(p, eps)
    cdef Buffer source = Buffer(src, plan.read * sizeof(double))
    cdef Buffer gradient = Buffer(grad_output, plan.written * sizeof(double))
    cdef Buffer target = Buffer(grad_input, plan.read * sizeof(double), True)
    cdef Buffer each
    cdef norming_t job
    job.plan = &plan.plan
    job.norm = &norm
    job.src = <double*> source.data
    job.grad_output = <double*> gradient.data
    job.dst = <double*> target.data
    job.exponents = NULL
    if exponents is not None:
        each = Buffer(exponents, plan.written * sizeof(double), True)
        job.exponents = <double*> each.data
    if plan.read == 0:
        return
    share(spread_norms, &job, plan.plan.outer, norm_scratch(&plan.plan), threads)
