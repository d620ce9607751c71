# Regions of interest: the greatest element of each window of a region, and means or greatest of interpolated samples.
#
# Forward, regions and channels are independent; backward, maps and channels are, and each gathers the gradients of
# its regions in their order. So no number of threads changes a bit. Rows of float are worked on as double, half
# precision as float.

cdef struct bins_t:
    # One axis of the regions.
    ptrdiff_t size, bins
    # Windows of whole pixels, for each region and bin.
    const int64_t* starts
    const int64_t* stops
    # Or samples: for each region the first coordinate, the extent of a bin, and the samples in it; all calculated in
    # float if single.
    const double* first
    const double* step
    const int64_t* count
    bint single
    # Samples or pixels of one bin, at most.
    ptrdiff_t capacity


cdef struct grid_t:
    # Samples of one region on one axis. Averaging, they are merged to pixels with weights; else a sample lies
    # `weights` behind the pixel `cells`, and `missing` says for each bin whether samples lie off the map: 1 for some
    # before the others, 2 for some behind.
    int64_t* begins
    int64_t* cells
    int64_t* missing
    double* weights
    # All pixels lie between these.
    ptrdiff_t first, stop


cdef struct regions_t:
    ptrdiff_t batches, channels, regions
    const int64_t* maps
    bins_t rows, columns
    leaves_t leaves
    bint averaging
    # The input is not read by the gradient of a mean; backward, `output` holds the gradient that came in.
    const char* input
    char* output
    char* grad_input


cdef inline double coordinate(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin, ptrdiff_t i) noexcept nogil:
    """Place sample i of a bin; every step is rounded to the type of the coordinates."""
    cdef double first = axis.first[region]
    cdef double step = axis.step[region]
    cdef float start, offset
    if axis.single:
        start = <float> first + <float> bin * <float> step
        offset = <float> (<double> i + 0.5) * <float> step / <float> axis.count[region]
        return <float> (start + offset)
    return first + <double> bin * step + (<double> i + 0.5) * step / <double> axis.count[region]


cdef inline ptrdiff_t samples_until(
    const bins_t* axis, ptrdiff_t region, ptrdiff_t bin, double bound, bint with_bound
) noexcept nogil:
    """Count the samples before `bound`, on the way that the samples of a bin go; they are in order."""
    cdef ptrdiff_t low = 0
    cdef ptrdiff_t high = axis.count[region]
    cdef ptrdiff_t middle
    cdef double at
    cdef bint backwards = axis.step[region] < 0
    while low < high:
        middle = (low + high) // 2
        at = coordinate(axis, region, bin, middle)
        if (at > bound if backwards else at < bound) or (with_bound and at == bound):
            low = middle + 1
        else:
            high = middle
    return low


cdef inline ptrdiff_t first_on_map(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin) noexcept nogil:
    return samples_until(axis, region, bin, <double> axis.size if axis.step[region] < 0 else -1.0, False)


cdef inline ptrdiff_t behind_map(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin) noexcept nogil:
    return samples_until(axis, region, bin, -1.0 if axis.step[region] < 0 else <double> axis.size, True)


cdef ptrdiff_t most_samples(const bins_t* axis, ptrdiff_t regions) noexcept nogil:
    """Count the samples on the map of the bin that has most."""
    cdef ptrdiff_t region, bin
    cdef ptrdiff_t most = 0
    for region in range(regions):
        if axis.count[region] > most:
            for bin in range(axis.bins):
                most = max(most, behind_map(axis, region, bin) - first_on_map(axis, region, bin))
    return most


cdef inline ptrdiff_t grid_scratch(const bins_t* axis) noexcept nogil:
    return (2 * axis.bins + 1 + 2 * axis.bins * axis.capacity) * 8


cdef inline grid_t grid_at(const bins_t* axis, char* scratch) noexcept nogil:
    cdef grid_t grid
    grid.begins = <int64_t*> scratch
    grid.missing = grid.begins + axis.bins + 1
    grid.cells = grid.missing + axis.bins
    grid.weights = <double*> (grid.cells + axis.bins * axis.capacity)
    grid.first = 0
    grid.stop = 0
    return grid


cdef void lay_samples(const bins_t* axis, ptrdiff_t region, bint averaging, grid_t* grid) noexcept nogil:
    """Find the samples of a region on one axis that lie on the map."""
    cdef ptrdiff_t count = axis.count[region]
    cdef ptrdiff_t bin, i, j, begin, end, cell, used
    cdef ptrdiff_t n = 0
    cdef double at, part
    grid.first = axis.size
    grid.stop = 0
    for bin in range(axis.bins):
        grid.begins[bin] = n
        begin = first_on_map(axis, region, bin)
        end = behind_map(axis, region, bin)
        grid.missing[bin] = (begin > 0) + 2 * (end < count)
        for j in range(begin, end):
            # Averaging, always towards higher pixels, so that equal pixels meet.
            i = begin + end - 1 - j if averaging and axis.step[region] < 0 else j
            at = min(max(coordinate(axis, region, bin, i), 0.0), <double> (axis.size - 1))
            cell = <ptrdiff_t> at
            part = at - <double> cell
            grid.first = min(grid.first, cell)
            grid.stop = max(grid.stop, cell + (2 if part > 0 else 1))
            if not averaging:
                grid.cells[n] = cell
                grid.weights[n] = part
                n += 1
                continue
            # The pixel is the last one, the last but one, or new.
            used = n
            while used > grid.begins[bin] and grid.cells[used - 1] > cell:
                used -= 1
            if used == grid.begins[bin] or grid.cells[used - 1] < cell:
                grid.cells[n] = cell
                grid.weights[n] = 0
                n += 1
                used = n
            grid.weights[used - 1] += 1 - part
            if part > 0:
                if used == n:
                    grid.cells[n] = cell + 1
                    grid.weights[n] = 0
                    n += 1
                grid.weights[used] += part
        if averaging:
            for i in range(grid.begins[bin], n):
                grid.weights[i] /= <double> count
    grid.begins[axis.bins] = n


cdef inline const real_t* row_values(
    const leaves_t* leaves, const char* plane, ptrdiff_t at, ptrdiff_t first, ptrdiff_t stop, real_t* row
) noexcept nogil:
    """Return a row that starts `at` elements into a plane, readable from column `first` to `stop`."""
    if leaves.load == NULL:
        return <const real_t*> plane + at
    leaves.load(row + first, plane + (at + first) * leaves.storage, stop - first)
    return row


cdef inline void put_row(const leaves_t* leaves, char* dst, real_t* row, ptrdiff_t n) noexcept nogil:
    """Round a row to what arrays store; every NaN is made the same one."""
    cdef ptrdiff_t x
    for x in range(n):
        row[x] = row[x] if row[x] == row[x] else <real_t> NAN
    if leaves.store == NULL:
        memcpy(dst, row, n * sizeof(real_t))
    else:
        leaves.store(dst, row, n)


# --- the greatest element of each window -------------------------------------------------------------------------

cdef void greatest_in_windows(
    const regions_t* task, ptrdiff_t region, ptrdiff_t bin, const char* plane, real_t* row, real_t* best,
    int64_t* winners,
) noexcept nogil:
    """Find the greatest element of each window in one row of windows, and where in the plane it is, or -1."""
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t width = task.columns.size
    cdef const int64_t* starts = task.columns.starts + region * bins
    cdef const int64_t* stops = task.columns.stops + region * bins
    cdef ptrdiff_t first = width
    cdef ptrdiff_t stop = 0
    cdef ptrdiff_t x, y, b
    cdef const real_t* values
    cdef real_t value, greatest_value
    cdef int64_t winner
    for b in range(bins):
        best[b] = 0
        winners[b] = -1
        if starts[b] < stops[b]:
            first = min(first, starts[b])
            stop = max(stop, stops[b])
    if first >= stop:
        return
    for y in range(task.rows.starts[region * task.rows.bins + bin], task.rows.stops[region * task.rows.bins + bin]):
        if is_stopped(<char*> winners, stop - first + bins):
            return
        values = row_values(&task.leaves, plane, y * width, first, stop, row)
        for b in range(bins):
            greatest_value = best[b]
            winner = winners[b]
            for x in range(starts[b], stops[b]):
                value = values[x]
                if winner < 0 or value > greatest_value or (value != value and greatest_value == greatest_value):
                    greatest_value = value
                    winner = y * width + x
            best[b] = greatest_value
            winners[b] = winner


cdef void pool_regions_as(
    real_t* kind, const regions_t* task, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef int64_t* winners = <int64_t*> scratch
    cdef real_t* best = <real_t*> (scratch + bins * 8)
    cdef real_t* row = best + bins
    cdef ptrdiff_t t, region, bin
    cdef const char* plane
    for t in range(begin, end):
        region = t // task.channels
        plane = task.input + (task.maps[region] * task.channels + t % task.channels) * cells * task.leaves.storage
        for bin in range(task.rows.bins):
            greatest_in_windows(task, region, bin, plane, row, best, winners)
            put_row(&task.leaves, task.output + (t * task.rows.bins + bin) * bins * task.leaves.storage, best, bins)


cdef void pool_regions_backward_as(
    real_t* kind, const regions_t* task, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef int64_t* winners = <int64_t*> scratch
    cdef real_t* best = <real_t*> (scratch + bins * 8)
    cdef real_t* row = best + bins
    cdef real_t* sums = row + max(task.columns.size, bins)
    cdef ptrdiff_t t, region, bin, b, at
    cdef const char* plane
    cdef const real_t* gradient
    for t in range(begin, end):
        plane = task.input + t * cells * task.leaves.storage
        memset(sums, 0, cells * sizeof(real_t))
        for region in range(task.regions):
            if task.maps[region] != t // task.channels:
                continue
            for bin in range(task.rows.bins):
                greatest_in_windows(task, region, bin, plane, row, best, winners)
                at = ((region * task.channels + t % task.channels) * task.rows.bins + bin) * bins
                gradient = row_values(&task.leaves, task.output, at, 0, bins, row)
                for b in range(bins):
                    if winners[b] >= 0:
                        sums[winners[b]] += gradient[b]
        put_row(&task.leaves, task.grad_input + t * cells * task.leaves.storage, sums, cells)


# --- samples between the pixels -----------------------------------------------------------------------------------

cdef inline real_t between(real_t a, real_t b, double part) noexcept nogil:
    """Interpolate. Equal numbers give that number, so that ties stay ties; what has no weight is not looked at."""
    if part == 0 or a == b:
        return a
    return <real_t> (1 - part) * a + <real_t> part * b


cdef inline bint beats(real_t value, real_t best, bint any_before) noexcept nogil:
    return not any_before or value > best or (value != value and best == best)


cdef void greatest_in_samples(
    const regions_t* task, const grid_t* rows, const grid_t* columns, ptrdiff_t bin, const char* plane, real_t* upper,
    real_t* lower, real_t* line, real_t* best, int64_t* winners,
) noexcept nogil:
    """Find the greatest sample in each of a row of bins; winners are two numbers a bin: of the samples on each axis.

    A sample off the map is 0 and takes part, as winner -1. It is enough to look at the first of them.
    """
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t s, i, x, b, cell
    cdef bint found
    cdef const real_t* above
    cdef const real_t* below
    cdef double part
    cdef real_t value
    cdef bint first_row = True
    for b in range(bins):
        best[b] = 0
        # -2: no sample so far.
        winners[2 * b] = -2
        if (rows.missing[bin] & 1) or (columns.missing[b] & 1):
            winners[2 * b] = -1
    for s in range(rows.begins[bin], rows.begins[bin + 1]):
        if is_stopped(<char*> rows.begins, columns.stop - columns.first + columns.begins[bins]):
            return
        cell = rows.cells[s]
        part = rows.weights[s]
        above = row_values(&task.leaves, plane, cell * width, columns.first, columns.stop, upper)
        if part > 0:
            below = row_values(&task.leaves, plane, (cell + 1) * width, columns.first, columns.stop, lower)
            for x in range(columns.first, columns.stop):
                line[x] = between(above[x], below[x], part)
            above = line
        for b in range(bins):
            for i in range(columns.begins[b], columns.begins[b + 1]):
                x = columns.cells[i]
                value = between(above[x], above[x + 1] if columns.weights[i] > 0 else above[x], columns.weights[i])
                if beats(value, best[b], winners[2 * b] != -2):
                    best[b] = value
                    winners[2 * b] = s
                    winners[2 * b + 1] = i
            if first_row and (columns.missing[b] & 2) and beats(<real_t> 0, best[b], winners[2 * b] != -2):
                best[b] = 0
                winners[2 * b] = -1
        first_row = False
    if rows.missing[bin] & 2:
        for b in range(bins):
            # A bin without samples along the row has none at all.
            found = winners[2 * b] != -2
            if found and beats(<real_t> 0, best[b], True):
                best[b] = 0
                winners[2 * b] = -1


cdef void mean_of_samples(
    const regions_t* task, const grid_t* rows, const grid_t* columns, ptrdiff_t bin, const char* plane, real_t* row,
    real_t* line, real_t* means,
) noexcept nogil:
    """Add rows by their weights, then pixels of the sum by theirs."""
    cdef ptrdiff_t s, i, x, b
    cdef const real_t* values
    cdef real_t weight, total_value
    for x in range(columns.first, columns.stop):
        line[x] = 0
    for s in range(rows.begins[bin], rows.begins[bin + 1]):
        if is_stopped(<char*> rows.begins, columns.stop - columns.first):
            return
        values = row_values(&task.leaves, plane, rows.cells[s] * task.columns.size, columns.first, columns.stop, row)
        weight = <real_t> rows.weights[s]
        for x in range(columns.first, columns.stop):
            line[x] += weight * values[x]
    for b in range(task.columns.bins):
        total_value = 0
        for i in range(columns.begins[b], columns.begins[b + 1]):
            total_value += <real_t> columns.weights[i] * line[columns.cells[i]]
        means[b] = total_value


cdef inline ptrdiff_t align_scratch(const regions_t* task, bint backward) noexcept nogil:
    cdef ptrdiff_t reals = 3 * task.columns.size + 2 * task.columns.bins
    if backward:
        reals += task.rows.size * task.columns.size
    return (
        grid_scratch(&task.rows) + grid_scratch(&task.columns) + task.columns.bins * 16 + reals * task.leaves.value)


cdef void align_regions_as(
    real_t* kind, const regions_t* task, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef grid_t rows = grid_at(&task.rows, scratch)
    cdef grid_t columns = grid_at(&task.columns, scratch + grid_scratch(&task.rows))
    cdef int64_t* winners = <int64_t*> (scratch + grid_scratch(&task.rows) + grid_scratch(&task.columns))
    cdef real_t* upper = <real_t*> (winners + 2 * bins)
    cdef real_t* lower = upper + width
    cdef real_t* line = lower + width
    cdef real_t* best = line + width
    cdef ptrdiff_t t, region, bin
    cdef ptrdiff_t laid = -1
    cdef const char* plane
    for t in range(begin, end):
        region = t // task.channels
        if region != laid:
            lay_samples(&task.rows, region, task.averaging, &rows)
            lay_samples(&task.columns, region, task.averaging, &columns)
            laid = region
        plane = task.input + (task.maps[region] * task.channels + t % task.channels) * cells * task.leaves.storage
        for bin in range(task.rows.bins):
            if task.averaging:
                mean_of_samples(task, &rows, &columns, bin, plane, upper, line, best)
            else:
                greatest_in_samples(task, &rows, &columns, bin, plane, upper, lower, line, best, winners)
            put_row(&task.leaves, task.output + (t * task.rows.bins + bin) * bins * task.leaves.storage, best, bins)


cdef inline void add_corners(
    real_t* sums, ptrdiff_t width, ptrdiff_t y, double below, ptrdiff_t x, double right, real_t gradient
) noexcept nogil:
    """Add the gradient of a sample to the pixels around it."""
    cdef ptrdiff_t at = y * width + x
    sums[at] += <real_t> ((1 - below) * (1 - right)) * gradient
    if right > 0:
        sums[at + 1] += <real_t> ((1 - below) * right) * gradient
    if below > 0:
        sums[at + width] += <real_t> (below * (1 - right)) * gradient
        if right > 0:
            sums[at + width + 1] += <real_t> (below * right) * gradient


cdef void align_regions_backward_as(
    real_t* kind, const regions_t* task, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef grid_t rows = grid_at(&task.rows, scratch)
    cdef grid_t columns = grid_at(&task.columns, scratch + grid_scratch(&task.rows))
    cdef int64_t* winners = <int64_t*> (scratch + grid_scratch(&task.rows) + grid_scratch(&task.columns))
    cdef real_t* upper = <real_t*> (winners + 2 * bins)
    cdef real_t* lower = upper + width
    cdef real_t* line = lower + width
    cdef real_t* best = line + width
    cdef real_t* loaded = best + bins
    cdef real_t* sums = loaded + bins
    cdef ptrdiff_t t, region, bin, b, i, s, x, at
    cdef const real_t* gradient
    cdef real_t weight
    for t in range(begin, end):
        memset(sums, 0, cells * sizeof(real_t))
        for region in range(task.regions):
            if task.maps[region] != t // task.channels:
                continue
            lay_samples(&task.rows, region, task.averaging, &rows)
            lay_samples(&task.columns, region, task.averaging, &columns)
            for bin in range(task.rows.bins):
                at = ((region * task.channels + t % task.channels) * task.rows.bins + bin) * bins
                gradient = row_values(&task.leaves, task.output, at, 0, bins, loaded)
                if task.averaging:
                    for x in range(columns.first, columns.stop):
                        line[x] = 0
                    for b in range(bins):
                        for i in range(columns.begins[b], columns.begins[b + 1]):
                            line[columns.cells[i]] += <real_t> columns.weights[i] * gradient[b]
                    for s in range(rows.begins[bin], rows.begins[bin + 1]):
                        weight = <real_t> rows.weights[s]
                        at = rows.cells[s] * width
                        for x in range(columns.first, columns.stop):
                            sums[at + x] += weight * line[x]
                    continue
                greatest_in_samples(
                    task, &rows, &columns, bin, task.input + t * cells * task.leaves.storage, upper, lower, line, best,
                    winners)
                for b in range(bins):
                    if winners[2 * b] >= 0:
                        s = winners[2 * b]
                        i = winners[2 * b + 1]
                        add_corners(
                            sums, width, rows.cells[s], rows.weights[s], columns.cells[i], columns.weights[i],
                            gradient[b])
        put_row(&task.leaves, task.grad_input + t * cells * task.leaves.storage, sums, cells)


# --- entry points -------------------------------------------------------------------------------------------------

cdef ptrdiff_t pool_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    pool_regions_as(<float*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t pool_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    pool_regions_as(<double*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t pool_backward_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    pool_regions_backward_as(<float*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t pool_backward_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    pool_regions_backward_as(<double*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t align_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    align_regions_as(<float*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t align_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    align_regions_as(<double*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t align_backward_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    align_regions_backward_as(<float*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


cdef ptrdiff_t align_backward_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    align_regions_backward_as(<double*> NULL, <const regions_t*> job, scratch, begin, end)
    return -1


def pool_regions(
    int kind, input_shape, result_shape, input, output, maps, rows, columns, grad_input=None, ptrdiff_t threads=1
):
    """Write the greatest element of each window into `output`, or send the gradients in it back to `grad_input`.

    Parameters
    ----------
    kind : int
        One of `KINDS`: the dtype of the arrays and that of the rows.
    input_shape, result_shape : tuple of int
        ``(N, C, H, W)`` and ``(R, C, rows, columns)``.
    input, output : buffer
        Contiguous, of these shapes.
    maps : buffer of int64
        The map that each region lies on.
    rows, columns : pair of buffers of int64
        For each region and bin, the first pixel and the one behind the last.
    grad_input : buffer, optional
        Contiguous, of the shape of the input.
    threads : int
        At most this many.
    """
    cdef regions_t task
    cdef ptrdiff_t reals
    region_shapes(&task, kind, input_shape, result_shape)
    cdef Buffer tops = Buffer(rows[0], task.regions * task.rows.bins * 8)
    cdef Buffer bottoms = Buffer(rows[1], task.regions * task.rows.bins * 8)
    cdef Buffer lefts = Buffer(columns[0], task.regions * task.columns.bins * 8)
    cdef Buffer rights = Buffer(columns[1], task.regions * task.columns.bins * 8)
    task.rows.starts = <const int64_t*> tops.data
    task.rows.stops = <const int64_t*> bottoms.data
    task.columns.starts = <const int64_t*> lefts.data
    task.columns.stops = <const int64_t*> rights.data
    reals = task.columns.bins + max(task.columns.size, task.columns.bins)
    cdef bint single = task.leaves.value == sizeof(float)
    cdef work_fn run = pool_float if single else pool_double
    if grad_input is not None:
        reals += task.rows.size * task.columns.size
        run = pool_backward_float if single else pool_backward_double
    run_regions(&task, run, input, output, maps, grad_input, task.columns.bins * 8 + reals * task.leaves.value, threads)


def align_regions(
    int kind, input_shape, result_shape, input, output, maps, rows, columns, bint single, bint averaging,
    grad_input=None, ptrdiff_t threads=1,
):
    """Write the means of samples, or the greatest of them, into `output`; or send the gradients in it back.

    Parameters are those of `pool_regions`, but for:

    rows, columns : triple of buffers
        For each region the first coordinate and the extent of a bin, of double, and the samples in a bin, of int64.
    single : bool
        Whether coordinates are calculated in float.
    averaging : bool
        Whether means are taken; then the input of a gradient is not read.
    """
    cdef regions_t task
    region_shapes(&task, kind, input_shape, result_shape)
    task.averaging = averaging
    cdef Buffer tops = Buffer(rows[0], task.regions * 8)
    cdef Buffer heights = Buffer(rows[1], task.regions * 8)
    cdef Buffer row_counts = Buffer(rows[2], task.regions * 8)
    cdef Buffer lefts = Buffer(columns[0], task.regions * 8)
    cdef Buffer widths = Buffer(columns[1], task.regions * 8)
    cdef Buffer column_counts = Buffer(columns[2], task.regions * 8)
    task.rows.first = <const double*> tops.data
    task.rows.step = <const double*> heights.data
    task.rows.count = <const int64_t*> row_counts.data
    task.columns.first = <const double*> lefts.data
    task.columns.step = <const double*> widths.data
    task.columns.count = <const int64_t*> column_counts.data
    task.rows.single = task.columns.single = single
    task.rows.capacity = most_samples(&task.rows, task.regions)
    task.columns.capacity = most_samples(&task.columns, task.regions)
    if averaging:
        # Each sample lies between two pixels, and pixels are merged.
        task.rows.capacity = min(2 * task.rows.capacity, task.rows.size)
        task.columns.capacity = min(2 * task.columns.capacity, task.columns.size)
    cdef bint narrow = task.leaves.value == sizeof(float)
    cdef work_fn run = align_float if narrow else align_double
    if grad_input is not None:
        run = align_backward_float if narrow else align_backward_double
    run_regions(&task, run, input, output, maps, grad_input, align_scratch(&task, grad_input is not None), threads)


cdef int region_shapes(regions_t* task, int kind, input_shape, result_shape) except -1:
    memset(task, 0, sizeof(regions_t))
    task.batches, task.channels, task.rows.size, task.columns.size = input_shape
    task.regions, _, task.rows.bins, task.columns.bins = result_shape
    task.leaves = LEAVES[4][kind]
    if GRADIENTS[kind].add_run == NULL:
        raise ValueError("these kernels do not know regions of this dtype")
    return 0


cdef int run_regions(
    regions_t* task, work_fn run, input, output, maps, grad_input, ptrdiff_t nbytes, ptrdiff_t threads
) except -1:
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.rows.bins * task.columns.bins
    cdef ptrdiff_t tasks = task.regions * task.channels
    cdef ptrdiff_t region
    cdef bint backward = grad_input is not None
    cdef Buffer source = Buffer(input, task.batches * task.channels * cells * task.leaves.storage)
    cdef Buffer result = Buffer(output, tasks * bins * task.leaves.storage, not backward)
    cdef Buffer lying = Buffer(maps, task.regions * 8)
    cdef Buffer target
    task.input = source.data
    task.output = result.data
    task.maps = <const int64_t*> lying.data
    for region in range(task.regions):
        if not 0 <= task.maps[region] < task.batches:
            raise ValueError(f"region {region} lies on map {task.maps[region]} of {task.batches}")
    if backward:
        target = Buffer(grad_input, task.batches * task.channels * cells * task.leaves.storage, True)
        task.grad_input = target.data
        tasks = task.batches * task.channels
    if tasks == 0:
        return 0
    share(run, task, tasks, nbytes, threads)
    return 0
