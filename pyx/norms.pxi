# Norms and generalised means: (sum v^p)^(1/p) over a window, where v is |x|, or max(x, eps) for a mean. Everything is
# worked out in double, a row or some taps at a time, and rounded once when it is stored.
#
# Forward, the input rows of a block of windows are raised one by one, slid along, and added to the sums of all windows
# that hold them. Sums of powers that overflowed, or of which something may have been lost below the smallest number,
# are made again for that window with its largest value taken out, so [1e200, 1e200] has the 2-norm 1.414e200. Backward,
# this is done for every window.

from elementary cimport (
    bits_of, choose as choose_number, cube_root, log_of, near_log_of, near_power_of, of_bits, part_number, parted_t,
    power, power_of,
)
from libc.math cimport INFINITY, copysign, fabs, isinf, sqrt


cdef struct norm_t:
    double p
    # Smallest v of a generalised mean; 0 for a norm, where v is |x|.
    double eps
    # Sums of powers that need no scaling: nothing overflowed on the way, and what underflowed does not count.
    double low, high
    # Whether results are rounded to float or half. Powers of 3 and 4 are products then, whose two roundings are lost;
    # squares and fourth powers of what is stored neither overflow nor underflow, and their roots are exact enough.
    bint multiplies
    # Whether powers may be a few roundings of double off, since all are of floats, and results become such.
    bint is_near


cdef struct measured_t:
    # The norm of a window is the product of these two.
    double largest, factor
    # Cell of the first NaN, or else of the first of the largest; elements of the window.
    ptrdiff_t first_largest, count


cdef struct norming_t:
    const plan_t* plan
    const norm_t* norm
    # Conversions from and to what is stored; combinations of rows of double.
    const leaves_t* stored
    const leaves_t* rows
    # What makes floats of halves, and halves of floats; NULL for floats.
    convert_fn narrow, shorten
    const char* src
    # Norms forward, the gradient of the input backward.
    char* dst
    const char* grad_output
    # Gradient of p for each window, unless that is NULL.
    double* exponents
    # What has been measured for each window, unless that is NULL.
    measured_t* measured
    # Output rows of a block; parts of a plane.
    ptrdiff_t depths, heights, parts


cdef struct cursor_t:
    # The elements of a window that lie in the input, in row-major order, and the next of them.
    window_t depth, height, width
    ptrdiff_t d, h, w


cdef norm_t norm_with(double p, double eps) noexcept:
    cdef norm_t norm
    norm.p = p
    norm.eps = eps
    if p == 1 or isinf(p):
        norm.low = -1
        # Of a sum that overflowed, the mean may be there.
        norm.high = 1.7976931348623157e308
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
    return power_of(v, p)


cdef inline ptrdiff_t elements_of(const plan_t* plan, bint output) noexcept nogil:
    """Elements of one outer element, before or after pooling."""
    cdef ptrdiff_t cells = plan.inner
    cdef int i
    for i in range(3):
        cells *= plan.axes[i].output_size if output else plan.axes[i].input_size
    return cells


cdef void raise_row(double* row, ptrdiff_t n, const norm_t* norm) noexcept nogil:
    """Make what a norm adds up, in place; for an infinite p, what it compares."""
    cdef double p = norm.p
    cdef double eps = norm.eps
    cdef ptrdiff_t i
    cdef double v
    if p == 2:
        for i in range(n):
            v = lifted(row[i], eps)
            row[i] = v * v
    elif p == 1 or isinf(p):
        for i in range(n):
            row[i] = lifted(row[i], eps)
    elif p == 3 and norm.multiplies:
        for i in range(n):
            v = lifted(row[i], eps)
            row[i] = v * v * v
    elif p == 4 and norm.multiplies:
        for i in range(n):
            v = lifted(row[i], eps)
            v = v * v
            row[i] = v * v
    elif norm.is_near:
        for i in range(n):
            v = lifted(row[i], eps)
            row[i] = near_power_of(v, part_number(v), p)
    else:
        for i in range(n):
            row[i] = power_of(lifted(row[i], eps), p)


cdef inline void read_row(
    const norming_t* norming, double* dst, const char* plane, ptrdiff_t first, ptrdiff_t step, ptrdiff_t n
) noexcept nogil:
    """Read n elements of a plane, from `first` on, as double."""
    cdef const leaves_t* stored = norming.stored
    cdef ptrdiff_t i
    plane += first * stored.storage
    if step == 1 and stored.load == NULL:
        memcpy(dst, plane, n * sizeof(double))
    elif step == 1:
        stored.load(dst, plane, n)
    elif stored.load == NULL:
        for i in range(n):
            dst[i] = (<const double*> plane)[i * step]
    else:
        for i in range(n):
            stored.load(dst + i, plane + i * step * stored.storage, 1)


cdef inline void round_row(const norming_t* norming, char* dst, double* row, ptrdiff_t n) noexcept nogil:
    """Round a row to what arrays store; every NaN is made the same one."""
    cdef ptrdiff_t i
    for i in range(n):
        row[i] = row[i] if row[i] == row[i] else NAN
    if norming.stored.store == NULL:
        if dst != <char*> row:
            memcpy(dst, row, n * sizeof(double))
    else:
        norming.stored.store(dst, row, n)


# --- one window ----------------------------------------------------------------------------------------------------

cdef inline cursor_t cursor_at(const plan_t* plan, ptrdiff_t od, ptrdiff_t oh, ptrdiff_t ow) noexcept nogil:
    cdef cursor_t cursor
    cursor.depth = window_of(&plan.axes[0], od)
    cursor.height = window_of(&plan.axes[1], oh)
    cursor.width = window_of(&plan.axes[2], ow)
    cursor.d = cursor.h = cursor.w = 0
    if cursor.height.count == 0 or cursor.width.count == 0:
        cursor.depth.count = 0
    return cursor


cdef ptrdiff_t next_taps(
    const norming_t* norming, cursor_t* cursor, const char* plane, ptrdiff_t channel, double* values, int64_t* cells
) noexcept nogil:
    """Read the next elements of a window, up to TAPS, and tell where they are; return how many."""
    cdef const plan_t* plan = norming.plan
    cdef ptrdiff_t step = plan.axes[2].dilation * plan.inner
    cdef ptrdiff_t n = 0
    cdef ptrdiff_t first, count, w
    while n < TAPS and cursor.d < cursor.depth.count:
        count = min(cursor.width.count - cursor.w, TAPS - n)
        first = (cursor.depth.first + cursor.d * plan.axes[0].dilation) * plan.axes[1].input_size
        first = (first + cursor.height.first + cursor.h * plan.axes[1].dilation) * plan.axes[2].input_size
        first = (first + cursor.width.first) * plan.inner + channel + cursor.w * step
        read_row(norming, values + n, plane, first, step, count)
        for w in range(count):
            cells[n + w] = first + w * step
        n += count
        cursor.w += count
        if cursor.w == cursor.width.count:
            cursor.w = 0
            cursor.h += 1
            if cursor.h == cursor.height.count:
                cursor.h = 0
                cursor.d += 1
    return n


cdef void raise_ratios(
    double* dst, const double* values, ptrdiff_t n, double largest, double factor, double eps, double p
) noexcept nogil:
    """Raise what a window holds, over its norm."""
    cdef ptrdiff_t t
    for t in range(n):
        dst[t] = lifted(values[t], eps) / largest / factor
    if p == 2:
        for t in range(n):
            dst[t] *= dst[t]
    elif p != 1:
        for t in range(n):
            dst[t] = power_of(dst[t], p)


cdef measured_t measure(
    const norming_t* norming, const char* plane, const cursor_t* window, ptrdiff_t channel, double* values,
    int64_t* cells, double* slope_of_p,
) noexcept nogil:
    """Work out the norm of a window without overflow or underflow, and, unless that is NULL, how it changes with p."""
    cdef const norm_t* norm = norming.norm
    cdef measured_t result
    cdef cursor_t cursor = window[0]
    cdef double* ratios = values + TAPS
    cdef double* logarithms = ratios + TAPS
    cdef ptrdiff_t n, t
    cdef double total = 0
    cdef double v
    result.largest = 0
    result.factor = 1
    result.first_largest = -1
    result.count = window.depth.count * window.height.count * window.width.count
    n = next_taps(norming, &cursor, plane, channel, values, cells)
    while n:
        for t in range(n):
            v = lifted(values[t], norm.eps)
            if result.first_largest < 0 or v > result.largest or (v != v and result.largest == result.largest):
                if result.largest == result.largest:
                    result.largest = v
                    result.first_largest = cells[t]
        if n == result.count:
            break
        n = next_taps(norming, &cursor, plane, channel, values, cells)
    if not (result.largest == 0 or result.largest != result.largest or isinf(result.largest) or isinf(norm.p)):
        cursor = window[0]
        # What is whole among the taps has been read already.
        n = result.count if result.count <= TAPS else next_taps(norming, &cursor, plane, channel, values, cells)
        while n:
            raise_ratios(ratios, values, n, result.largest, 1, norm.eps, norm.p)
            for t in range(n):
                total += ratios[t]
            n = 0 if n == result.count else next_taps(norming, &cursor, plane, channel, values, cells)
        if norm.eps != 0:
            total /= result.count
        if norm.p == 1:
            result.factor = total
        else:
            result.factor = sqrt(total) if norm.p == 2 else power_of(total, 1 / norm.p)
    if slope_of_p != NULL:
        total = 0
        cursor = window[0]
        n = next_taps(norming, &cursor, plane, channel, values, cells)
        while n:
            raise_ratios(ratios, values, n, result.largest, result.factor, norm.eps, norm.p)
            for t in range(n):
                logarithms[t] = log_of(lifted(values[t], norm.eps) / result.largest / result.factor)
            for t in range(n):
                # 0 times infinity where there is nothing to take part.
                total += ratios[t] * logarithms[t] if ratios[t] != 0 else 0
            n = next_taps(norming, &cursor, plane, channel, values, cells)
        slope_of_p[0] = result.largest * (result.factor * (total / result.count / norm.p))
    return result


cdef inline ptrdiff_t window_scratch() noexcept nogil:
    """Bytes for one thread: elements of a window, two numbers for each, and where they are."""
    return TAPS * (3 * sizeof(double) + sizeof(int64_t))


# --- forward -------------------------------------------------------------------------------------------------------

cdef inline bint reads_once(const plan_t* plan) noexcept nogil:
    """Whether windows are too long for a row of all they hold, and do not overlap along it."""
    cdef const axis_t* axis = &plan.axes[2]
    return axis.dilation == 1 and axis.stride >= axis.kernel_size and plan.span * plan.inner > 2 * BLOCK


cdef inline ptrdiff_t norm_row(const plan_t* plan) noexcept nogil:
    """Values of a raised row."""
    return max(BLOCK, plan.inner) if reads_once(plan) else plan.span * plan.inner


cdef inline ptrdiff_t norm_scratch(const norming_t* norming) noexcept nogil:
    """Bytes for one thread: a raised row with its rungs, sums along it, sums of windows, and what a window takes."""
    cdef const plan_t* plan = norming.plan
    cdef ptrdiff_t sums = (norming.depths * norming.heights + 1) * plan.segment * plan.inner
    cdef ptrdiff_t row = norm_row(plan)
    if climbs(&plan.axes[2]) and not reads_once(plan):
        row += ladder_cells(plan.axes[2].kernel_size, row)
    return (row + sums) * sizeof(double) + window_scratch()


cdef inline ptrdiff_t taps_of(const plan_t* plan) noexcept nogil:
    return plan.axes[0].kernel_size * plan.axes[1].kernel_size * plan.axes[2].kernel_size


cdef inline ptrdiff_t norm_tasks(const norming_t* norming) noexcept nogil:
    cdef const plan_t* plan = norming.plan
    return (
        plan.outer * ceil_divide(plan.axes[0].output_size, norming.depths)
        * ceil_divide(plan.axes[1].output_size, norming.heights) * plan.segments)


cdef void sum_long_windows(
    const norming_t* norming, double* dst, double* row, const char* plane, ptrdiff_t at, ptrdiff_t output,
    ptrdiff_t outputs,
) noexcept nogil:
    """Combine the windows of an input row, which begins `at` elements into its plane, one by one in blocks."""
    cdef const plan_t* plan = norming.plan
    cdef const leaves_t* rows = norming.rows
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t together = max(1, BLOCK // inner)
    cdef ptrdiff_t o, x, n
    cdef window_t window
    cdef double p = norming.norm.p
    cdef bint is_product = is_of_products(norming.norm)
    rows.identity(dst, outputs * inner, NULL)
    for o in range(outputs):
        window = window_of(&plan.axes[2], output + o)
        x = 0
        while x < window.count:
            n = min(together, window.count - x)
            if is_product and norming.stored.storage == 4:
                # The powers of floats in one go.
                add_powers(row, (<const float*> plane) + at + (window.first + x) * inner, 0, 1, n * inner, False, p)
            else:
                read_row(norming, row, plane, at + (window.first + x) * inner, 1, n * inner)
                raise_row(row, n * inner, norming.norm)
            if inner == 1:
                rows.along(<char*> (dst + o), <char*> row, 1, 0, n, 1, True, NULL)
            else:
                rows.across(<char*> (dst + o * inner), <char*> row, inner, n, inner, 1, 1, 0, 0, True, NULL)
            x += n


cdef ptrdiff_t forward_norms(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make blocks begin to end of norms."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef const leaves_t* rows = norming.rows
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t width = plan.segment * inner
    cdef double* row = <double*> scratch
    cdef double* line = row + norm_row(plan)
    cdef double* sums = line + width
    cdef double* values = sums + norming.depths * norming.heights * width
    cdef double* norms
    cdef int64_t* cells = <int64_t*> (values + 3 * TAPS)
    cdef char* rungs = <char*> (cells + TAPS)
    cdef bint long_windows = reads_once(plan)
    cdef ptrdiff_t task, rest, od, oh, first_d, first_h, stop_d, stop_h, output, outputs, n, d, h, cell, left, right, at
    cdef ptrdiff_t held
    cdef covering_t ds, hs
    cdef const char* plane
    for task in range(begin, end):
        output = task % plan.segments * plan.segment
        outputs = min(plan.segment, axis.output_size - output)
        n = outputs * inner
        rest = task // plan.segments
        held = ceil_divide(height_axis.output_size, norming.heights)
        first_h = rest % held * norming.heights
        stop_h = min(first_h + norming.heights, height_axis.output_size)
        rest //= held
        held = ceil_divide(depth_axis.output_size, norming.depths)
        first_d = rest % held * norming.depths
        stop_d = min(first_d + norming.depths, depth_axis.output_size)
        rest //= held
        plane = norming.src + rest * elements_of(plan, False) * norming.stored.storage
        rows.identity(sums, (stop_d - first_d) * norming.heights * width, NULL)
        cell = output * axis.stride - axis.pad_begin
        held = (outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
        left = min(max(-cell, 0), held)
        right = min(max(cell + held - axis.input_size, 0), held - left)
        if not long_windows:
            # The cells of the padding stay.
            rows.identity(row, held * inner, NULL)
        for d in range(depth_axis.input_size):
            ds = windows_covering(depth_axis, d, 1)
            ds.first = max(ds.first, first_d)
            ds.stop = min(ds.stop, stop_d)
            if ds.first >= ds.stop:
                continue
            for h in range(
                max(first_h * height_axis.stride - height_axis.pad_begin, 0),
                min(height_axis.input_size, (stop_h - 1) * height_axis.stride - height_axis.pad_begin
                    + (height_axis.kernel_size - 1) * height_axis.dilation + 1)
            ):
                hs = windows_covering(height_axis, h, 1)
                hs.first = max(hs.first, first_h)
                hs.stop = min(hs.stop, stop_h)
                while hs.first < hs.stop and not holds(height_axis, hs.first, h):
                    hs.first += 1
                if hs.first >= hs.stop:
                    continue
                if is_stopped(scratch, 16 * (held * inner + n * (hs.stop - hs.first))):
                    return -1
                at = (d * height_axis.input_size + h) * axis.input_size * inner
                if long_windows:
                    sum_long_windows(norming, line, row, plane, at, output, outputs)
                else:
                    read_row(
                        norming, row + left * inner, plane, at + (cell + left) * inner, 1,
                        (held - left - right) * inner)
                    raise_row(row + left * inner, (held - left - right) * inner, norming.norm)
                    if slides_along(axis, inner):
                        rows.along(
                            <char*> line, <char*> row, outputs, axis.stride, axis.kernel_size, 1, False, NULL)
                    elif climbs(axis):
                        slide_far(plan, rows, <char*> line, <char*> row, outputs, 1, n, held * inner, False, rungs)
                    else:
                        slide(plan, rows, <char*> line, <char*> row, outputs, 1, n, held * inner, False)
                for od in range(ds.first, ds.stop):
                    if not holds(depth_axis, od, d):
                        continue
                    for oh in range(hs.first, hs.stop):
                        if holds(height_axis, oh, h):
                            rows.across(
                                <char*> (sums + ((od - first_d) * norming.heights + oh - first_h) * width),
                                <char*> line, 0, 1, n, 1, 1, 0, 0, True, NULL)
        for od in range(first_d, stop_d):
            for oh in range(first_h, stop_h):
                norms = sums + ((od - first_d) * norming.heights + oh - first_h) * width
                at = ((rest * depth_axis.output_size + od) * height_axis.output_size + oh) * axis.output_size + output
                if rounds_roots(norming):
                    round_roots(norming, norming.dst + at * inner * norming.stored.storage, norms, n)
                    continue
                take_roots(norming, norms, n, plane, od, oh, output, values, cells)
                round_row(norming, norming.dst + at * inner * norming.stored.storage, norms, n)
    return -1


cdef inline double root_of(double total, double p) noexcept nogil:
    """Take the p-th root of a sum; of 3 and 4, whose sums may be far from 1, without a power."""
    if p == 1:
        return total
    if p == 2:
        return sqrt(total)
    if p == 3:
        return cube_root(total)
    if p == 4:
        return sqrt(sqrt(total))
    return power_of(total, 1 / p)


cdef inline void round_roots_of(float* dst, const double* sums, ptrdiff_t n, const int p) noexcept nogil:
    cdef ptrdiff_t i
    cdef double v
    for i in range(n):
        v = cube_root(sums[i]) if p == 3 else sqrt(sums[i])
        if p == 4:
            v = sqrt(v)
        dst[i] = <float> (v if v == v else NAN)


cdef inline bint odd_roots_of(float* dst, const double* sums, ptrdiff_t n, const int p) noexcept nogil:
    """Write roots cut off to floats, the last bit set where anything was: rounded once more, they are right.

    Return whether there are any that floats hold with fewer bits.
    """
    cdef ptrdiff_t i
    cdef double v
    cdef uint64_t bits
    cdef int any_small = 0
    for i in range(n):
        v = cube_root(sums[i]) if p == 3 else sqrt(sums[i])
        if p == 4:
            v = sqrt(v)
        any_small |= (v < 1.1754943508222875e-38) & (v > 0)
        bits = bits_of(v)
        bits |= ((bits & <uint64_t> 0x1fffffff) + <uint64_t> 0x1fffffff) & <uint64_t> 0x20000000
        bits &= ~<uint64_t> 0x1fffffff
        dst[i] = <float> (of_bits(bits) if v == v else NAN)
    return any_small != 0


cdef alone_t round_short_roots(const norming_t* norming, char* dst, double* sums, ptrdiff_t n) noexcept nogil:
    """The same as halves, in blocks; what is too small for that is rounded as it is elsewhere."""
    cdef float odd[256]
    cdef double p = norming.norm.p
    cdef ptrdiff_t i, count
    cdef bint any_small
    while n > 0:
        count = min(n, <ptrdiff_t> 256)
        if p == 2:
            any_small = odd_roots_of(odd, sums, count, 2)
        elif p == 3:
            any_small = odd_roots_of(odd, sums, count, 3)
        else:
            any_small = odd_roots_of(odd, sums, count, 4)
        if any_small:
            for i in range(count):
                sums[i] = root_of(sums[i], p)
            round_row(norming, dst, sums, count)
        else:
            norming.shorten(dst, odd, count)
        dst += count * norming.stored.storage
        sums += count
        n -= count


cdef void round_roots(const norming_t* norming, char* results, double* sums, ptrdiff_t n) noexcept nogil:
    """Write second, third or fourth roots as they are stored; every NaN is made the same one."""
    cdef double p = norming.norm.p
    cdef float* dst = <float*> results
    if norming.shorten != NULL:
        round_short_roots(norming, results, sums, n)
    elif p == 2:
        round_roots_of(dst, sums, n, 2)
    elif p == 3:
        round_roots_of(dst, sums, n, 3)
    else:
        round_roots_of(dst, sums, n, 4)


cdef inline bint rounds_roots(const norming_t* norming) noexcept nogil:
    """Whether a row of sums becomes what is stored in one go: of norms that need no second look at their windows."""
    cdef const norm_t* norm = norming.norm
    return norm.high == INFINITY and norm.eps == 0 and norm.p != 1 and norming.stored.store != NULL


cdef void take_roots(
    const norming_t* norming, double* row, ptrdiff_t n, const char* plane, ptrdiff_t od, ptrdiff_t oh,
    ptrdiff_t output, double* values, int64_t* cells,
) noexcept nogil:
    """Turn the sums of an output row into norms."""
    cdef const plan_t* plan = norming.plan
    cdef const norm_t* norm = norming.norm
    cdef measured_t measured
    cdef cursor_t cursor
    cdef ptrdiff_t i
    cdef ptrdiff_t count = 1
    cdef double total
    cdef double p = norm.p
    cdef double low = norm.low
    cdef double high = norm.high
    cdef bint any_left = False
    if isinf(p):
        for i in range(n):
            # A window without an element has -inf for its maximum.
            row[i] = 0 if row[i] < 0 else row[i]
        return
    if norm.eps != 0:
        # A mean has one window for the whole map.
        count = elements_of(plan, False) // plan.inner
        for i in range(n):
            row[i] /= count
    for i in range(n):
        any_left |= (row[i] < low) | (row[i] > high)
    if any_left:
        for i in range(n):
            total = row[i]
            if low <= total <= high:
                row[i] = root_of(total, p)
            elif total == 0 and norm.multiplies and p <= 7:
                # The seventh power of no number that is stored is 0.
                continue
            elif total == total:
                cursor = cursor_at(plan, od, oh, output + i // plan.inner)
                measured = measure(norming, plane, &cursor, i % plan.inner, values, cells, NULL)
                row[i] = measured.largest * measured.factor
    elif p == 2:
        for i in range(n):
            row[i] = sqrt(row[i])
    elif p == 3:
        for i in range(n):
            row[i] = cube_root(row[i])
    elif p == 4:
        for i in range(n):
            row[i] = sqrt(sqrt(row[i]))
    elif p != 1:
        for i in range(n):
            row[i] = power_of(row[i], 1 / p)


# --- backward ------------------------------------------------------------------------------------------------------

cdef ptrdiff_t measure_windows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Measure windows begin to end."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef double* values = <double*> scratch
    cdef int64_t* cells = <int64_t*> (values + 3 * TAPS)
    cdef ptrdiff_t inputs = elements_of(plan, False) * norming.stored.storage
    cdef ptrdiff_t i, at
    cdef cursor_t cursor
    for i in range(begin, end):
        if is_stopped(scratch, 32 * taps_of(plan)):
            return -1
        at = i % elements_of(plan, True) // plan.inner
        cursor = cursor_at(
            plan, at // plan.axes[2].output_size // plan.axes[1].output_size,
            at // plan.axes[2].output_size % plan.axes[1].output_size, at % plan.axes[2].output_size)
        norming.measured[i] = measure(
            norming, norming.src + i // elements_of(plan, True) * inputs, &cursor, i % plan.inner, values, cells,
            NULL if norming.exponents == NULL else norming.exponents + i)
    return -1


cdef inline void trim(window_t* window, ptrdiff_t dilation, ptrdiff_t first, ptrdiff_t stop) noexcept nogil:
    """Leave of a window only the cells from `first` to `stop`."""
    cdef ptrdiff_t before = 0
    if window.first < first:
        before = min(ceil_divide(first - window.first, dilation), window.count)
    window.first += before * dilation
    window.count = max(0, min(window.count - before, ceil_divide(stop - window.first, dilation)))


cdef ptrdiff_t spread_norms(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make parts begin to end of planes of the gradient."""
    cdef const norming_t* norming = <const norming_t*> job
    cdef const plan_t* plan = norming.plan
    cdef const norm_t* norm = norming.norm
    cdef const leaves_t* stored = norming.stored
    cdef int cut_at = cut_axis(plan)
    cdef const axis_t* cut = &plan.axes[cut_at]
    cdef ptrdiff_t inputs = elements_of(plan, False)
    cdef ptrdiff_t slab = inputs // cut.input_size
    cdef double* values = <double*> scratch
    cdef double* rates = values + TAPS
    cdef int64_t* cells = <int64_t*> (values + 3 * TAPS)
    cdef double* sums = <double*> (cells + TAPS)
    cdef ptrdiff_t task, outer, part, first, stop, base, d, h, w, c, n, t, output
    cdef covering_t held[3]
    cdef cursor_t cursor
    cdef measured_t measured
    cdef const char* plane
    cdef char* target
    cdef double grad, way
    cdef bint infinite = isinf(norm.p)
    cdef int i
    for task in range(begin, end):
        outer = task // norming.parts
        part = task % norming.parts
        first = part * cut.input_size // norming.parts
        stop = (part + 1) * cut.input_size // norming.parts
        base = first * slab
        for i in range(3):
            held[i].first = 0
            held[i].stop = plan.axes[i].output_size
        held[cut_at] = windows_covering(cut, first, stop - first)
        plane = norming.src + outer * inputs * stored.storage
        target = norming.dst + (outer * inputs + base) * stored.storage
        if stored.store == NULL:
            sums = <double*> target
        memset(sums, 0, (stop - first) * slab * sizeof(double))
        for d in range(held[0].first, held[0].stop):
            for h in range(held[1].first, held[1].stop):
                for w in range(held[2].first, held[2].stop):
                    if is_stopped(scratch, 32 * taps_of(plan) * plan.inner):
                        return -1
                    for c in range(plan.inner):
                        output = (
                            (outer * plan.axes[0].output_size + d) * plan.axes[1].output_size + h
                        ) * plan.axes[2].output_size + w
                        output = output * plan.inner + c
                        cursor = cursor_at(plan, d, h, w)
                        if cursor.depth.count == 0:
                            continue
                        if norming.measured != NULL:
                            measured = norming.measured[output]
                        else:
                            measured = measure(norming, plane, &cursor, c, values, cells, NULL)
                        read_row(norming, &grad, norming.grad_output, output, 1, 1)
                        if norming.parts > 1:
                            if cut_at == 0:
                                trim(&cursor.depth, cut.dilation, first, stop)
                            elif cut_at == 1:
                                trim(&cursor.height, cut.dilation, first, stop)
                            else:
                                trim(&cursor.width, cut.dilation, first, stop)
                            if cursor.depth.count == 0 or cursor.height.count == 0 or cursor.width.count == 0:
                                continue
                        # What is whole among the taps may have been read already.
                        n = measured.count
                        if norming.measured != NULL or norming.parts > 1 or n > TAPS:
                            n = next_taps(norming, &cursor, plane, c, values, cells)
                        while n:
                            if not infinite:
                                if norm.p == 1:
                                    for t in range(n):
                                        rates[t] = 1
                                else:
                                    raise_ratios(
                                        rates, values, n, measured.largest, measured.factor, norm.eps, norm.p - 1)
                            for t in range(n):
                                way = slope(values[t], norm.eps)
                                if way == 0 or (infinite and cells[t] != measured.first_largest):
                                    continue
                                way *= 1 if infinite else rates[t]
                                if norm.eps != 0:
                                    way /= measured.count
                                sums[cells[t] - base] += grad * way
                            if n == measured.count:
                                break
                            n = next_taps(norming, &cursor, plane, c, values, cells)
        round_row(norming, target, sums, (stop - first) * slab)
    return -1


# --- entry points --------------------------------------------------------------------------------------------------

cdef int norming_with(norming_t* job, Plan plan, int kind, norm_t* norm) except -1:
    memset(job, 0, sizeof(norming_t))
    cdef int i
    if kind != FLOAT64 and not FLOAT16_AS_64 <= kind <= FLOAT32_AS_64:
        raise ValueError("these kernels know no norms of this dtype")
    for i in range(3):
        if plan.plan.axes[i].adaptive:
            raise ValueError("these kernels know no norms of adaptive windows")
    job.plan = &plan.plan
    job.norm = norm
    job.stored = &LEAVES[TOTAL][kind]
    norm.multiplies = job.stored.store != NULL
    norm.is_near = norm.multiplies and norm.p <= 6 and (norm.eps == 0 or 2.0 ** -126 <= norm.eps <= 2.0 ** 127)
    if norm.multiplies and norm.p in (1, 2, 3, 4) and (norm.eps == 0 or 2.0 ** -149 <= norm.eps <= 2.0 ** 128):
        norm.low = -1
        norm.high = INFINITY
    job.rows = &LEAVES[GREATEST if isinf(norm.p) else TOTAL][FLOAT64]
    if kind == FLOAT16_AS_64 or kind == BFLOAT16_AS_64:
        job.narrow = LEAVES[TOTAL][FLOAT16 if kind == FLOAT16_AS_64 else BFLOAT16].load
        job.shorten = LEAVES[TOTAL][FLOAT16 if kind == FLOAT16_AS_64 else BFLOAT16].store
    return 0


cdef void multiply_exponents(const norming_t* norming, ptrdiff_t n) noexcept nogil:
    """Multiply the slopes of windows by their gradients, where those of p are made."""
    cdef ptrdiff_t i
    cdef double gradient
    for i in range(n if norming.exponents != NULL else 0):
        read_row(norming, &gradient, norming.grad_output, i, 1, 1)
        norming.exponents[i] *= gradient


def norm_forward(Plan plan not None, int kind, src, dst, double p, double eps=0, ptrdiff_t threads=1):
    """Write norms of windows.

    Parameters
    ----------
    plan : Plan
        Of windows that are not adaptive.
    kind : int
        One of `KINDS` whose rows are double.
    src, dst : buffer
        Contiguous, of the sizes that the plan says.
    p : float
        The exponent.
    eps : float
        Smallest value of a generalised mean; 0 for a norm.
    threads : int
        At most this many.
    """
    cdef norm_t norm = norm_with(p, eps)
    cdef norming_t job
    norming_with(&job, plan, kind, &norm)
    cdef Buffer source = Buffer(src, plan.read * job.stored.storage)
    cdef Buffer target = Buffer(dst, plan.written * job.stored.storage, True)
    if plan.written == 0:
        return
    job.src = source.data
    job.dst = target.data
    if is_whole(&job):
        make_whole(&job, threads)
        return
    if adds_products(&job):
        share(
            forward_products, &job, rows_of_output(&plan.plan) * plan.plan.segments, products_scratch(&job), threads)
        return
    cdef ptrdiff_t row = plan.plan.segment * plan.plan.inner
    job.heights = max(1, min(BLOCK_SUMS // row, plan.plan.axes[1].output_size))
    job.depths = max(1, min(BLOCK_SUMS // (row * plan.plan.axes[1].output_size), plan.plan.axes[0].output_size))
    share(forward_norms, &job, norm_tasks(&job), norm_scratch(&job), threads)


def norm_backward(
    Plan plan not None, int kind, src, grad_output, grad_input, exponents, double p, double eps=0, ptrdiff_t threads=1
):
    """Write the gradient of norms; into `exponents`, unless it is None, that of p for each window, as float64.

    `exponents` is made for windows that hold a whole plane; other arguments are as in `norm_forward`.
    """
    cdef norm_t norm = norm_with(p, eps)
    cdef norming_t job
    norming_with(&job, plan, kind, &norm)
    cdef ptrdiff_t size = job.stored.storage
    cdef Buffer source = Buffer(src, plan.read * size)
    cdef Buffer gradient = Buffer(grad_output, plan.written * size)
    cdef Buffer target = Buffer(grad_input, plan.read * size, True)
    cdef Buffer each
    cdef ptrdiff_t nbytes, cut
    job.src = source.data
    job.grad_output = gradient.data
    job.dst = target.data
    if exponents is not None:
        each = Buffer(exponents, plan.written * sizeof(double), True)
        job.exponents = <double*> each.data
    if plan.read == 0:
        return
    if spreads_whole(&job):
        make_whole(&job, threads)
        multiply_exponents(&job, plan.written)
        return
    job.parts = parts_of(&plan.plan, &GRADIENTS[kind], False)
    cdef measured_t* kept = NULL
    try:
        if job.exponents != NULL or (job.parts > 1 and plan.written <= MOST_NORMS and not is_factored(&job)):
            kept = <measured_t*> malloc(max(plan.written, 1) * sizeof(measured_t))
            if kept == NULL:
                raise MemoryError("no memory for the norms of windows")
            job.measured = kept
            share(measure_windows, &job, plan.written, window_scratch(), threads)
        nbytes = factored_scratch(&job) if is_factored(&job) else window_scratch()
        if job.stored.store != NULL and not is_factored(&job):
            cut = plan.plan.axes[cut_axis(&plan.plan)].input_size
            nbytes += plane_cells(&plan.plan) // cut * ceil_divide(cut, job.parts) * sizeof(double)
        share(
            spread_factored if is_factored(&job) else spread_norms, &job, plan.plan.outer * job.parts, nbytes, threads)
        multiply_exponents(&job, plan.written)
    finally:
        free(kept)


def powers(src, dst, double p):
    """Write ``src ** p``, as the kernels work it out."""
    cdef Buffer source = Buffer(src, dst.nbytes)
    cdef Buffer target = Buffer(dst, dst.nbytes, True)
    cdef ptrdiff_t i
    for i in range(target.view.len // <ptrdiff_t> sizeof(double)):
        (<double*> target.data)[i] = power((<double*> source.data)[i], p)


def near_logarithms(src, dst):
    """Write the logarithms that the gradients of exponents are summed from; of numbers above 0 and not denormal."""
    cdef Buffer source = Buffer(src, dst.nbytes)
    cdef Buffer target = Buffer(dst, dst.nbytes, True)
    cdef ptrdiff_t i
    for i in range(target.view.len // <ptrdiff_t> sizeof(double)):
        (<double*> target.data)[i] = near_log_of(part_number((<double*> source.data)[i]))


def near_powers(src, dst, double p):
    """Write ``src ** p`` as it is worked out for what becomes floats: of floats, and of a p of at most 6."""
    cdef Buffer source = Buffer(src, dst.nbytes)
    cdef Buffer target = Buffer(dst, dst.nbytes, True)
    cdef ptrdiff_t i
    cdef double v
    for i in range(target.view.len // <ptrdiff_t> sizeof(double)):
        v = (<double*> source.data)[i]
        (<double*> target.data)[i] = near_power_of(v, part_number(v), p)


def logarithms(src, dst):
    """Write the natural logarithms of `src`, as the kernels work them out."""
    cdef Buffer source = Buffer(src, dst.nbytes)
    cdef Buffer target = Buffer(dst, dst.nbytes, True)
    cdef ptrdiff_t i
    for i in range(target.view.len // <ptrdiff_t> sizeof(double)):
        (<double*> target.data)[i] = log_of((<double*> source.data)[i])
