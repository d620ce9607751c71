# Long windows that slide by one in both directions. Rows are dealt in blocks of as many as a window has. A window is
# then the end of one block and the beginning of the next, and one pass over each block combines all its ends and
# another all its beginnings: three combinations a window, however long it is (van Herk, 1992; Gil and Werman, 1993).
# That goes down the columns of a strip; its result is flipped, so that the same goes along rows as fast. Of pixels of
# few channels each channel is a column, and its windows along rows are made of every so many flipped columns.

cdef extern from "c/flips.h":
    const bint FLIPS "POOLING_FLIPS"
    void flip_eights "pooling_flip_eights" (char* to, ptrdiff_t to_row, const char* source, ptrdiff_t from_row) nogil
    void flip_fours "pooling_flip_fours" (char* to, ptrdiff_t to_row, const char* source, ptrdiff_t from_row) nogil


cdef inline void flip_square(
    bits_t* dst, ptrdiff_t dst_row, const bits_t* src, ptrdiff_t src_row
) noexcept nogil:
    if sizeof(bits_t) == 4:
        flip_eights(<char*> dst, dst_row * sizeof(bits_t), <const char*> src, src_row * sizeof(bits_t))
    else:
        flip_fours(<char*> dst, dst_row * sizeof(bits_t), <const char*> src, src_row * sizeof(bits_t))


cdef inline void flip_cells(
    bits_t* dst, ptrdiff_t dst_row, const bits_t* src, ptrdiff_t src_row, ptrdiff_t rows, ptrdiff_t columns
) noexcept nogil:
    """Let rows become columns; sizes and strides count elements."""
    cdef ptrdiff_t side = 32 // sizeof(bits_t)
    cdef ptrdiff_t r = 0
    cdef ptrdiff_t c
    if not FLIPS or sizeof(bits_t) < 4 or rows < side or columns < side:
        for c in range(columns):
            for r in range(rows):
                dst[c * dst_row + r] = src[r * src_row + c]
        return
    # What is left at the ends lies in squares that overlap with those before.
    while r < rows:
        r = min(r, rows - side)
        c = 0
        while c < columns:
            c = min(c, columns - side)
            flip_square(dst + c * dst_row + r, dst_row, src + r * src_row + c, src_row)
            c += side
        r += side


cdef inline void flip(
    char* dst, ptrdiff_t dst_row, const char* src, ptrdiff_t src_row, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t size
) noexcept nogil:
    if size == 1:
        flip_cells(<uint8_t*> dst, dst_row, <const uint8_t*> src, src_row, rows, columns)
    elif size == 2:
        flip_cells(<uint16_t*> dst, dst_row, <const uint16_t*> src, src_row, rows, columns)
    elif size == 4:
        flip_cells(<uint32_t*> dst, dst_row, <const uint32_t*> src, src_row, rows, columns)
    else:
        flip_cells(<uint64_t*> dst, dst_row, <const uint64_t*> src, src_row, rows, columns)


cdef extern from "c/means.h":
    void mean_windows "pooling_mean_windows" (
        float* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, double* ends,
        double factor) noexcept nogil


cdef inline bint makes_means(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Whether windows down columns are rounded to what the arrays hold before those along rows are made of them.

    That is one rounding more; what is kept of a strip takes half the memory, and 101 x 101 half the time.
    """
    return leaves.mean_windows != NULL and plan.average and plan.uniform and 1 <= plan.divisor <= 9007199254740992.0


cdef struct strip_t:
    # Output rows of a strip; the same in whole blocks; flipped input columns that are kept; outputs of a row that are
    # flipped back together, one of each channel.
    ptrdiff_t rows, padded_rows, kept, outputs


cdef inline strip_t strip_of(const plan_t* plan, bint means) noexcept nogil:
    cdef strip_t strip
    cdef ptrdiff_t taps = plan.axes[1].kernel_size
    cdef ptrdiff_t blocks
    cdef double best = 0
    cdef double filled
    for blocks in range(1, max(1, 2 * STRIP // taps) + 1):
        filled = <double> (blocks * taps) / <double> round_up(blocks * taps, STRIP)
        if filled > best + 0.01:
            best = filled
            strip.rows = blocks * taps
    strip.padded_rows = round_up(strip.rows, MEANS_TOGETHER if means else STRIP)
    taps = plan.axes[2].kernel_size
    strip.outputs = max(STRIP // (taps * plan.inner), 1) * taps
    # A ring, in which what comes next does not reach those that windows still see.
    strip.kept = round_up((strip.outputs + taps) * plan.inner, STRIP) + STRIP
    return strip


cdef inline ptrdiff_t strips_scratch(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Bytes for one thread: windows of a strip down its columns; those that are kept, flipped; windows along rows, and
    as they are stored; ends of blocks; padding; where lines begin; divisors."""
    cdef bint means = makes_means(plan, leaves)
    cdef strip_t strip = strip_of(plan, means)
    cdef ptrdiff_t taps = max(plan.axes[1].kernel_size, plan.axes[2].kernel_size)
    cdef ptrdiff_t columns = STRIP + strip.kept + (1 if means else 2) * strip.outputs * plan.inner
    cdef ptrdiff_t values = strip.padded_rows * columns + max(strip.padded_rows, <ptrdiff_t> STRIP)
    cdef ptrdiff_t others = 2 * taps * <ptrdiff_t> sizeof(void*) + 3 * strip.padded_rows * 8 + 8 * 64
    return values * (leaves.storage if means else leaves.value) + (taps + 1) * STRIP * leaves.value + others


cdef inline bint has_strips(const plan_t* plan, const leaves_t* leaves) noexcept nogil:
    """Whether these windows are made in strips. The answer must not depend on threads, since sums do depend on it."""
    cdef const axis_t* axis
    cdef int i
    if leaves.windows_stored == NULL or plan.inner > STRIP_CHANNELS:
        return False
    if leaves.value < 4 and not needs_cores(plan, leaves.value):
        # Smaller values are flipped one by one, which costs more than a ladder, and less than cores.
        return False
    if plan.axes[0].kernel_size > 1 or plan.axes[0].adaptive:
        return False
    for i in range(1, 3):
        axis = &plan.axes[i]
        if (
            axis.adaptive or axis.stride > 1 or axis.dilation > 1 or not FEWEST_TAPS <= axis.kernel_size <= MOST_TAPS
            or axis.has_empty or axis.output_size < axis.kernel_size
        ):
            return False
    # Of wide pixels and long windows, a strip takes more than a thread may.
    return strips_scratch(plan, leaves) <= WORKING_BYTES


cdef inline ptrdiff_t strips_of(const plan_t* plan, bint means) noexcept nogil:
    """Number of strips of an outer element."""
    return plan.axes[0].output_size * ceil_divide(plan.axes[1].output_size, strip_of(plan, means).rows)


cdef inline char* take_scratch(char** memory, ptrdiff_t nbytes) noexcept nogil:
    """Take so many bytes of the scratch memory, in whole cache lines."""
    cdef char* piece = <char*> ((<size_t> memory[0] + 63) & ~<size_t> 63)
    memory[0] = piece + nbytes
    return piece


cdef void divide_strip(
    const plan_t* plan, const leaves_t* leaves, char* values, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t padded_rows,
    ptrdiff_t output, ptrdiff_t outputs, double* divisors,
) noexcept nogil:
    """Divide flipped sums: of `rows` windows from row `row` on for each channel of `outputs` cells."""
    cdef double* of_rows = divisors
    cdef double* each = of_rows + padded_rows
    cdef float* each32 = <float*> (each + padded_rows)
    cdef ptrdiff_t o, i
    cdef double of_column
    if plan.uniform:
        leaves.divide(values, outputs * plan.inner * padded_rows, plan.divisor)
        return
    for i in range(padded_rows):
        of_rows[i] = <double> window_of(&plan.axes[1], row + min(i, rows - 1)).divisor
    for o in range(outputs):
        of_column = <double> window_of(&plan.axes[2], output + o).divisor
        for i in range(padded_rows):
            each[i] = of_rows[i] * of_column
            each32[i] = <float> each[i]
        for i in range(o * plan.inner, (o + 1) * plan.inner):
            leaves.divide_each(values + i * padded_rows * leaves.value, each, each32, padded_rows)


cdef ptrdiff_t forward_strips(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Make strips begin to end."""
    cdef const forward_t* pooling = <const forward_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const leaves_t* leaves = pooling.leaves
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef bint means = makes_means(plan, leaves)
    cdef strip_t strip = strip_of(plan, means)
    cdef ptrdiff_t size = leaves.storage if means else leaves.value
    cdef ptrdiff_t column = strip.padded_rows
    cdef ptrdiff_t inner = plan.inner
    cdef ptrdiff_t columns = width.input_size * inner
    cdef ptrdiff_t in_row = plan.in_row * leaves.storage
    cdef ptrdiff_t out_row = width.output_size * inner * leaves.storage
    cdef ptrdiff_t strips = strips_of(plan, means)
    cdef ptrdiff_t taps = max(height.kernel_size, width.kernel_size)
    cdef char* slot = scratch
    cdef char* down = take_scratch(&scratch, column * STRIP * size)
    cdef char* flipped = take_scratch(&scratch, column * strip.kept * size)
    cdef char* pooled = take_scratch(&scratch, column * strip.outputs * inner * size)
    cdef char* stored = pooled if means else take_scratch(&scratch, column * strip.outputs * inner * size)
    cdef char* ends = take_scratch(&scratch, (taps + 1) * STRIP * leaves.value)
    cdef char* padding = take_scratch(&scratch, max(column, <ptrdiff_t> STRIP) * size)
    cdef const void** lines = <const void**> take_scratch(&scratch, 2 * taps * <ptrdiff_t> sizeof(void*))
    cdef double* divisors = <double*> take_scratch(&scratch, 3 * column * <ptrdiff_t> sizeof(double))
    cdef ptrdiff_t task, row, rows, stop, live, n, i, block, made, made_rows, output, outputs, at, channel
    cdef const char* plane
    cdef char* out
    # Means of columns are a power of two smaller than their sums, which float might not hold.
    cdef double smaller = 1
    while smaller < <double> height.kernel_size:
        smaller *= 2
    # Sums may be wider than what is stored, but zeros are zeros.
    if means:
        memset(padding, 0, max(column, <ptrdiff_t> STRIP) * size)
        # Rows behind the last one are summed as well, and should be numbers.
        memset(down, 0, column * STRIP * size)
    else:
        leaves.identity(padding, column, NULL)
    for task in range(begin, end):
        row = task % strips * strip.rows
        rows = min(strip.rows, height.output_size - row)
        plane = pooling.src + task // strips * plan.in_plane * leaves.storage
        out = pooling.dst + (task // strips * height.output_size + row) * out_row
        # Columns before `stop` have been made.
        stop = 0
        output = 0
        while output < width.output_size:
            outputs = min(strip.outputs, width.output_size - output)
            if is_stopped(slot, 3 * column * (outputs + taps) * inner):
                return -1
            live = (output - width.pad_begin) * inner
            made = min(live + (width.kernel_size - 1 + outputs) * inner, columns)
            while stop < made:
                n = min(<ptrdiff_t> STRIP, columns - stop)
                block = 0
                while block < rows:
                    made_rows = min(height.kernel_size, rows - block)
                    for i in range(height.kernel_size - 1 + made_rows):
                        at = row + block + i - height.pad_begin
                        lines[i] = padding
                        if 0 <= at < height.input_size:
                            lines[i] = plane + at * in_row + stop * leaves.storage
                            # What comes next lies rows apart, where processors do not look for it.
                            fetch_ahead(<const char*> lines[i] + n * leaves.storage, n * leaves.storage)
                    if means:
                        leaves.mean_windows(
                            down + block * STRIP * size, STRIP, lines, height.kernel_size, made_rows, n,
                            <double*> ends, 1 / smaller)
                    else:
                        leaves.windows_stored(
                            down + block * STRIP * size, STRIP, lines, height.kernel_size, made_rows, n, ends, NULL)
                    block += made_rows
                flip(flipped + stop % strip.kept * column * size, column, down, STRIP, column, n, size)
                stop += n
            for i in range(rows):
                fetch_to_write(
                    out + i * out_row + output * inner * leaves.storage, outputs * inner * leaves.storage)
            block = 0
            while block < outputs:
                n = min(width.kernel_size, outputs - block)
                for channel in range(inner):
                    for i in range(width.kernel_size - 1 + n):
                        at = live + (block + i) * inner + channel
                        lines[i] = flipped + at % strip.kept * column * size if 0 <= at < columns else padding
                    if means:
                        leaves.mean_windows(
                            pooled + (block * inner + channel) * column * size, inner * column, lines,
                            width.kernel_size, n, column, <double*> ends, smaller / plan.divisor)
                    else:
                        leaves.windows(
                            pooled + (block * inner + channel) * column * size, inner * column, lines,
                            width.kernel_size, n, column, ends, NULL)
                block += n
            if plan.average and not means:
                divide_strip(plan, leaves, pooled, row, rows, column, output, outputs, divisors)
            if leaves.store != NULL and not means:
                leaves.store(stored, pooled, outputs * inner * column)
            flip(
                out + output * inner * leaves.storage, width.output_size * inner,
                pooled if leaves.store == NULL else stored, column, outputs * inner, rows, leaves.storage)
            output += outputs
    return -1


cdef bint strips_fits(const call_t* call) noexcept nogil:
    return has_strips(call.plan, call.leaves)


cdef ptrdiff_t strips_tasks(const call_t* call) noexcept nogil:
    return call.plan.outer * strips_of(call.plan, makes_means(call.plan, call.leaves))


cdef ptrdiff_t strips_bytes(const call_t* call) noexcept nogil:
    return strips_scratch(call.plan, call.leaves)
