# Regions of interest: the greatest element of each window of a region, and means or greatest of interpolated samples.
#
# Forward, regions and channels are independent; backward, maps and channels are, and each gathers the gradients of
# its regions in their order. So no number of threads changes a bit. All rows are double, and so are the sums of
# gradients: of a map that is stored narrower they are made a strip of rows at a time.

cdef enum:
    SAMPLES_IN_BIN = 1 << 20  # at most, on one axis


MOST_SAMPLES = SAMPLES_IN_BIN


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


cdef struct maximum_t:
    # Where a maximum lies: its pixel in the plane, or -1, and what part of the way it is from there to the next row
    # and column.
    ptrdiff_t at
    double below, right


cdef struct regions_t:
    ptrdiff_t batches, channels, regions
    const int64_t* maps
    bins_t rows, columns
    leaves_t leaves
    bint averaging
    # Rows of a map whose gradients are summed together; and, where that is not all of them, the most windows of a map.
    ptrdiff_t strip, windows
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


cdef inline bint is_on_map(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin, ptrdiff_t i) noexcept nogil:
    return axis.count[region] > 0 and -1.0 <= coordinate(axis, region, bin, i) <= <double> axis.size


cdef inline ptrdiff_t first_on_map(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin) noexcept nogil:
    if is_on_map(axis, region, bin, 0):
        return 0
    return samples_until(axis, region, bin, <double> axis.size if axis.step[region] < 0 else -1.0, False)


cdef inline ptrdiff_t behind_map(const bins_t* axis, ptrdiff_t region, ptrdiff_t bin) noexcept nogil:
    if is_on_map(axis, region, bin, axis.count[region] - 1):
        return axis.count[region]
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


cdef inline bint comes_near(const bins_t* axis, ptrdiff_t region, ptrdiff_t low, ptrdiff_t high) noexcept nogil:
    """Whether samples of a region may touch pixels `low` to `high`: False is certain, however coordinates round."""
    cdef double begin = coordinate(axis, region, 0, 0)
    cdef double end = coordinate(axis, region, axis.bins - 1, max(axis.count[region], 1) - 1)
    cdef double slack = 3 + 1e-6 * <double> axis.size
    return axis.count[region] > 0 and not (
        max(begin, end) < <double> low - slack or min(begin, end) > <double> high + slack)


cdef void lay_samples(
    const bins_t* axis, ptrdiff_t region, bint averaging, ptrdiff_t low, ptrdiff_t high, grid_t* grid
) noexcept nogil:
    """Find the samples of a region on one axis that touch pixels `low` to `high` of the map.

    Pixels just outside may be laid as well, with a part of their weights.
    """
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
        if low > 0 and axis.step[region] < 0:
            end = min(end, samples_until(axis, region, bin, <double> low - 1, False))
        elif low > 0:
            begin = max(begin, samples_until(axis, region, bin, <double> low - 1, True))
        if high < axis.size and axis.step[region] < 0:
            begin = max(begin, samples_until(axis, region, bin, <double> high, True))
        elif high < axis.size:
            end = min(end, samples_until(axis, region, bin, <double> high, False))
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


cdef inline const double* row_values(
    const leaves_t* leaves, const char* plane, ptrdiff_t at, ptrdiff_t first, ptrdiff_t stop, double* row
) noexcept nogil:
    """Return a row that starts `at` elements into a plane, readable from column `first` to `stop`."""
    if leaves.load == NULL:
        return <const double*> plane + at
    leaves.load(row + first, plane + (at + first) * leaves.storage, stop - first)
    return row


cdef inline void put_row(const leaves_t* leaves, char* dst, double* row, ptrdiff_t n) noexcept nogil:
    """Round a row to what arrays store; every NaN is made the same one."""
    cdef ptrdiff_t x
    for x in range(n):
        row[x] = row[x] if row[x] == row[x] else NAN
    if leaves.store != NULL:
        leaves.store(dst, row, n)
    elif dst != <char*> row:
        memcpy(dst, row, n * sizeof(double))


# --- gradients of the greatest -----------------------------------------------------------------------------------

cdef inline ptrdiff_t strip_rows(const regions_t* task) noexcept nogil:
    """Rows whose gradients are summed together. Double are summed where they stay."""
    if task.leaves.load == NULL:
        return task.rows.size
    return max(1, min(task.rows.size, SUMS_BYTES // <ptrdiff_t> sizeof(double) // max(1, task.columns.size)))


cdef inline ptrdiff_t sums_scratch(const regions_t* task, bint keep) noexcept nogil:
    """Bytes for the sums of a strip, and for maxima: those of a row of windows, or of all where they are kept."""
    cdef ptrdiff_t nbytes = 0 if task.leaves.load == NULL else task.strip * task.columns.size * 8
    if keep:
        nbytes += max(task.columns.bins, task.windows) * <ptrdiff_t> sizeof(maximum_t)
    return nbytes


cdef inline void add_corners(
    double* sums, ptrdiff_t width, ptrdiff_t begin, ptrdiff_t end, const maximum_t* maximum, double gradient
) noexcept nogil:
    """Add the gradient of a sample to the pixels around it, as far as they are the pixels `begin` to `end`."""
    cdef double below = maximum.below
    cdef double right = maximum.right
    cdef ptrdiff_t at = maximum.at
    if begin <= at < end:
        sums[at - begin] += ((1 - below) * (1 - right)) * gradient
        if right > 0:
            sums[at - begin + 1] += ((1 - below) * right) * gradient
    at += width
    if below > 0 and begin <= at < end:
        sums[at - begin] += (below * (1 - right)) * gradient
        if right > 0:
            sums[at - begin + 1] += (below * right) * gradient


cdef inline void send_row(
    const regions_t* task, double* sums, ptrdiff_t begin, ptrdiff_t end, const maximum_t* maxima, ptrdiff_t region,
    ptrdiff_t channel, ptrdiff_t bin, double* loaded,
) noexcept nogil:
    """Send the gradients of a row of windows to their maxima among the pixels `begin` to `end`."""
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t b
    cdef ptrdiff_t at = ((region * task.channels + channel) * task.rows.bins + bin) * bins
    cdef const double* gradient = row_values(&task.leaves, task.output, at, 0, bins, loaded)
    for b in range(bins):
        if maxima[b].at >= 0:
            add_corners(sums, task.columns.size, begin, end, &maxima[b], gradient[b])


cdef ptrdiff_t send_kept(
    const regions_t* task, ptrdiff_t t, const maximum_t* maxima, double* sums, double* loaded, char* scratch
) noexcept nogil:
    """Send the gradients of one plane to maxima that have been found for all of it, a strip at a time."""
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t first = 0
    cdef ptrdiff_t rows, region, bin
    cdef const maximum_t* row
    while first < task.rows.size:
        rows = min(task.strip, task.rows.size - first)
        memset(sums, 0, rows * width * sizeof(double))
        row = maxima
        for region in range(task.regions):
            if task.maps[region] != t // task.channels:
                continue
            if is_stopped(scratch, 4 * task.rows.bins * task.columns.bins):
                return -1
            for bin in range(task.rows.bins):
                send_row(
                    task, sums, first * width, (first + rows) * width, row, region, t % task.channels, bin, loaded)
                row += task.columns.bins
        put_row(
            &task.leaves, task.grad_input + (t * task.rows.size + first) * width * task.leaves.storage, sums,
            rows * width)
        first += rows
    return -1


# --- the greatest element of each window -------------------------------------------------------------------------

cdef void greatest_in_windows(
    const regions_t* task, ptrdiff_t region, ptrdiff_t bin, const char* plane, double* row, double* best,
    int64_t* indices,
) noexcept nogil:
    """Find the greatest element of each window in one row of windows, and where in the plane it is, or -1."""
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t width = task.columns.size
    cdef const int64_t* starts = task.columns.starts + region * bins
    cdef const int64_t* stops = task.columns.stops + region * bins
    cdef ptrdiff_t first = width
    cdef ptrdiff_t stop = 0
    cdef ptrdiff_t x, y, b
    cdef const double* values
    cdef double value, greatest_value
    cdef int64_t index
    for b in range(bins):
        best[b] = 0
        indices[b] = -1
        if starts[b] < stops[b]:
            first = min(first, starts[b])
            stop = max(stop, stops[b])
    if first >= stop:
        return
    for y in range(task.rows.starts[region * task.rows.bins + bin], task.rows.stops[region * task.rows.bins + bin]):
        if is_stopped(<char*> indices, stop - first + bins):
            return
        values = row_values(&task.leaves, plane, y * width, first, stop, row)
        for b in range(bins):
            greatest_value = best[b]
            index = indices[b]
            for x in range(starts[b], stops[b]):
                value = values[x]
                if index < 0 or value > greatest_value or (value != value and greatest_value == greatest_value):
                    greatest_value = value
                    index = y * width + x
            best[b] = greatest_value
            indices[b] = index


cdef ptrdiff_t pool_forward(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const regions_t* task = <const regions_t*> job
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef int64_t* indices = <int64_t*> scratch
    cdef double* best = <double*> (scratch + bins * 8)
    cdef double* row = best + bins
    cdef ptrdiff_t t, region, bin
    cdef const char* plane
    for t in range(begin, end):
        region = t // task.channels
        plane = task.input + (task.maps[region] * task.channels + t % task.channels) * cells * task.leaves.storage
        for bin in range(task.rows.bins):
            greatest_in_windows(task, region, bin, plane, row, best, indices)
            put_row(&task.leaves, task.output + (t * task.rows.bins + bin) * bins * task.leaves.storage, best, bins)
    return -1


cdef ptrdiff_t pool_backward(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const regions_t* task = <const regions_t*> job
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef bint cut = task.strip < task.rows.size
    cdef int64_t* places = <int64_t*> scratch
    cdef double* best = <double*> (scratch + bins * 8)
    cdef double* row = best + bins
    cdef maximum_t* maxima = <maximum_t*> (row + max(task.columns.size, bins))
    cdef double* sums = <double*> (maxima + max(bins, task.windows))
    cdef maximum_t* found
    cdef ptrdiff_t t, region, bin, b
    cdef const char* plane
    for t in range(begin, end):
        plane = task.input + t * cells * task.leaves.storage
        if task.leaves.load == NULL:
            sums = <double*> (task.grad_input + t * cells * task.leaves.storage)
        if not cut:
            memset(sums, 0, cells * sizeof(double))
        found = maxima
        for region in range(task.regions):
            if task.maps[region] != t // task.channels:
                continue
            for bin in range(task.rows.bins):
                greatest_in_windows(task, region, bin, plane, row, best, places)
                for b in range(bins):
                    found[b].at = places[b]
                    found[b].below = found[b].right = 0
                if cut:
                    found += bins
                else:
                    send_row(task, sums, 0, cells, found, region, t % task.channels, bin, row)
        if cut:
            send_kept(task, t, maxima, sums, row, scratch)
        else:
            put_row(&task.leaves, task.grad_input + t * cells * task.leaves.storage, sums, cells)
    return -1


# --- samples between the pixels -----------------------------------------------------------------------------------

cdef inline double between(double a, double b, double part) noexcept nogil:
    """Interpolate. Equal numbers give that number, so that ties stay ties; what has no weight is not looked at."""
    if part == 0 or a == b:
        return a
    return (1 - part) * a + part * b


cdef inline bint is_greater(double value, double best, bint any_before) noexcept nogil:
    return not any_before or value > best or (value != value and best == best)


cdef void greatest_in_samples(
    const regions_t* task, const grid_t* rows, const grid_t* columns, ptrdiff_t bin, const char* plane, double* upper,
    double* lower, double* line, double* best, int64_t* indices,
) noexcept nogil:
    """Find the greatest sample in each of a row of bins; `indices` has two numbers a bin: of the samples on each axis.

    A sample off the map is 0 and takes part, as index -1. It is enough to look at the first of them.
    """
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t s, i, x, b, cell
    cdef bint found
    cdef const double* above
    cdef const double* below
    cdef double part
    cdef double value
    cdef bint first_row = True
    for b in range(bins):
        best[b] = 0
        # -2: no sample so far.
        indices[2 * b] = -2
        if (rows.missing[bin] & 1) or (columns.missing[b] & 1):
            indices[2 * b] = -1
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
                if is_greater(value, best[b], indices[2 * b] != -2):
                    best[b] = value
                    indices[2 * b] = s
                    indices[2 * b + 1] = i
            if first_row and (columns.missing[b] & 2) and is_greater(0, best[b], indices[2 * b] != -2):
                best[b] = 0
                indices[2 * b] = -1
        first_row = False
    if rows.missing[bin] & 2:
        for b in range(bins):
            # A bin without samples along the row has none at all.
            found = indices[2 * b] != -2
            if found and is_greater(0, best[b], True):
                best[b] = 0
                indices[2 * b] = -1


cdef void mean_of_samples(
    const regions_t* task, const grid_t* rows, const grid_t* columns, ptrdiff_t bin, const char* plane, double* row,
    double* line, double* means,
) noexcept nogil:
    """Add rows by their weights, then pixels of the sum by theirs."""
    cdef ptrdiff_t s, i, x, b
    cdef const double* values
    cdef double weight, total_value
    for x in range(columns.first, columns.stop):
        line[x] = 0
    for s in range(rows.begins[bin], rows.begins[bin + 1]):
        if is_stopped(<char*> rows.begins, columns.stop - columns.first):
            return
        values = row_values(&task.leaves, plane, rows.cells[s] * task.columns.size, columns.first, columns.stop, row)
        weight = rows.weights[s]
        for x in range(columns.first, columns.stop):
            line[x] += weight * values[x]
    for b in range(task.columns.bins):
        total_value = 0
        for i in range(columns.begins[b], columns.begins[b + 1]):
            total_value += columns.weights[i] * line[columns.cells[i]]
        means[b] = total_value


cdef inline ptrdiff_t align_scratch(const regions_t* task, bint backward) noexcept nogil:
    cdef ptrdiff_t reals = 3 * task.columns.size + 2 * task.columns.bins
    cdef ptrdiff_t nbytes = (
        grid_scratch(&task.rows) + grid_scratch(&task.columns) + task.columns.bins * 16 + reals * task.leaves.value)
    if backward:
        nbytes += sums_scratch(task, not task.averaging)
    return nbytes


cdef ptrdiff_t align_forward(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const regions_t* task = <const regions_t*> job
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef grid_t rows = grid_at(&task.rows, scratch)
    cdef grid_t columns = grid_at(&task.columns, scratch + grid_scratch(&task.rows))
    cdef int64_t* indices = <int64_t*> (scratch + grid_scratch(&task.rows) + grid_scratch(&task.columns))
    cdef double* upper = <double*> (indices + 2 * bins)
    cdef double* lower = upper + width
    cdef double* line = lower + width
    cdef double* best = line + width
    cdef ptrdiff_t t, region, bin
    cdef ptrdiff_t laid = -1
    cdef const char* plane
    for t in range(begin, end):
        region = t // task.channels
        if region != laid:
            lay_samples(&task.rows, region, task.averaging, 0, task.rows.size, &rows)
            lay_samples(&task.columns, region, task.averaging, 0, width, &columns)
            laid = region
        plane = task.input + (task.maps[region] * task.channels + t % task.channels) * cells * task.leaves.storage
        for bin in range(task.rows.bins):
            if task.averaging:
                mean_of_samples(task, &rows, &columns, bin, plane, upper, line, best)
            else:
                greatest_in_samples(task, &rows, &columns, bin, plane, upper, lower, line, best, indices)
            put_row(&task.leaves, task.output + (t * task.rows.bins + bin) * bins * task.leaves.storage, best, bins)
    return -1


cdef ptrdiff_t mean_backward(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const regions_t* task = <const regions_t*> job
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef grid_t rows = grid_at(&task.rows, scratch)
    cdef grid_t columns = grid_at(&task.columns, scratch + grid_scratch(&task.rows))
    cdef double* line = <double*> (scratch + grid_scratch(&task.rows) + grid_scratch(&task.columns))
    cdef double* loaded = line + width
    cdef double* sums = loaded + bins
    cdef ptrdiff_t t, first, stop, region, bin, b, i, s, x, at, rest
    cdef char* target
    cdef const double* gradient
    cdef double weight
    for t in range(begin, end):
        first = 0
        while first < task.rows.size:
            stop = min(first + task.strip, task.rows.size)
            target = task.grad_input + (t * task.rows.size + first) * width * task.leaves.storage
            if task.leaves.load == NULL:
                sums = <double*> target
            memset(sums, 0, (stop - first) * width * sizeof(double))
            rest = 0
            for region in range(task.regions):
                rest += 1
                if task.maps[region] != t // task.channels or not comes_near(&task.rows, region, first, stop):
                    continue
                lay_samples(&task.rows, region, True, first, stop, &rows)
                if rows.begins[task.rows.bins] == 0:
                    continue
                lay_samples(&task.columns, region, True, 0, width, &columns)
                for bin in range(task.rows.bins):
                    if rows.begins[bin] == rows.begins[bin + 1]:
                        continue
                    if is_stopped(scratch, columns.begins[bins] + (columns.stop - columns.first) * (
                        1 + rows.begins[bin + 1] - rows.begins[bin]
                    )):
                        return -1
                    at = ((region * task.channels + t % task.channels) * task.rows.bins + bin) * bins
                    gradient = row_values(&task.leaves, task.output, at, 0, bins, loaded)
                    for x in range(columns.first, columns.stop):
                        line[x] = 0
                    for b in range(bins):
                        for i in range(columns.begins[b], columns.begins[b + 1]):
                            line[columns.cells[i]] += columns.weights[i] * gradient[b]
                    for s in range(rows.begins[bin], rows.begins[bin + 1]):
                        if not first <= rows.cells[s] < stop:
                            continue
                        weight = rows.weights[s]
                        at = (rows.cells[s] - first) * width
                        for x in range(columns.first, columns.stop):
                            sums[at + x] += weight * line[x]
            if is_stopped(scratch, 8 * rest):
                return -1
            put_row(&task.leaves, target, sums, (stop - first) * width)
            first = stop
    return -1


cdef ptrdiff_t greatest_backward(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const regions_t* task = <const regions_t*> job
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef bint cut = task.strip < task.rows.size
    cdef grid_t rows = grid_at(&task.rows, scratch)
    cdef grid_t columns = grid_at(&task.columns, scratch + grid_scratch(&task.rows))
    cdef int64_t* samples = <int64_t*> (scratch + grid_scratch(&task.rows) + grid_scratch(&task.columns))
    cdef double* upper = <double*> (samples + 2 * bins)
    cdef double* lower = upper + width
    cdef double* line = lower + width
    cdef double* best = line + width
    cdef double* loaded = best + bins
    cdef maximum_t* maxima = <maximum_t*> (loaded + bins)
    cdef double* sums = <double*> (maxima + max(bins, task.windows))
    cdef maximum_t* found
    cdef ptrdiff_t t, region, bin, b, s, i
    for t in range(begin, end):
        if task.leaves.load == NULL:
            sums = <double*> (task.grad_input + t * cells * task.leaves.storage)
        if not cut:
            memset(sums, 0, cells * sizeof(double))
        found = maxima
        for region in range(task.regions):
            if task.maps[region] != t // task.channels:
                continue
            lay_samples(&task.rows, region, False, 0, task.rows.size, &rows)
            lay_samples(&task.columns, region, False, 0, width, &columns)
            for bin in range(task.rows.bins):
                greatest_in_samples(
                    task, &rows, &columns, bin, task.input + t * cells * task.leaves.storage, upper, lower, line, best,
                    samples)
                for b in range(bins):
                    found[b].at = -1
                    if samples[2 * b] >= 0:
                        s = samples[2 * b]
                        i = samples[2 * b + 1]
                        found[b].at = rows.cells[s] * width + columns.cells[i]
                        found[b].below = rows.weights[s]
                        found[b].right = columns.weights[i]
                if cut:
                    found += bins
                else:
                    send_row(task, sums, 0, cells, found, region, t % task.channels, bin, loaded)
        if cut:
            send_kept(task, t, maxima, sums, loaded, scratch)
        else:
            put_row(&task.leaves, task.grad_input + t * cells * task.leaves.storage, sums, cells)
    return -1


# --- entry points -------------------------------------------------------------------------------------------------

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
    cdef ptrdiff_t nbytes
    cdef list held = region_buffers(&task, kind, input_shape, result_shape, input, output, maps, grad_input)
    cdef Buffer tops = Buffer(rows[0], task.regions * task.rows.bins * 8)
    cdef Buffer bottoms = Buffer(rows[1], task.regions * task.rows.bins * 8)
    cdef Buffer lefts = Buffer(columns[0], task.regions * task.columns.bins * 8)
    cdef Buffer rights = Buffer(columns[1], task.regions * task.columns.bins * 8)
    task.rows.starts = <const int64_t*> tops.data
    task.rows.stops = <const int64_t*> bottoms.data
    task.columns.starts = <const int64_t*> lefts.data
    task.columns.stops = <const int64_t*> rights.data
    windows_on_map(&task.rows, task.regions)
    windows_on_map(&task.columns, task.regions)
    nbytes = (2 * task.columns.bins + max(task.columns.size, task.columns.bins)) * 8
    cdef work_fn run = pool_forward
    if grad_input is not None:
        nbytes += sums_scratch(&task, True)
        run = pool_backward
    run_regions(&task, run, nbytes, threads)


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
    cdef list held = region_buffers(&task, kind, input_shape, result_shape, input, output, maps, grad_input)
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
    samples_in_bins(&task.rows, task.regions)
    samples_in_bins(&task.columns, task.regions)
    task.rows.single = task.columns.single = single
    task.rows.capacity = most_samples(&task.rows, task.regions)
    task.columns.capacity = most_samples(&task.columns, task.regions)
    if averaging:
        # Each sample lies between two pixels, and pixels are merged.
        task.rows.capacity = min(2 * task.rows.capacity, task.rows.size)
        task.columns.capacity = min(2 * task.columns.capacity, task.columns.size)
    cdef work_fn run = align_forward
    if grad_input is not None:
        run = mean_backward if averaging else greatest_backward
    run_regions(&task, run, align_scratch(&task, grad_input is not None), threads)


cdef int samples_in_bins(const bins_t* axis, ptrdiff_t regions) except -1:
    cdef ptrdiff_t region
    for region in range(regions):
        if axis.count[region] > SAMPLES_IN_BIN:
            raise ValueError(f"a bin of a region has {axis.count[region]} samples, and {SAMPLES_IN_BIN} are the most")
    return 0


cdef int windows_on_map(const bins_t* axis, ptrdiff_t regions) except -1:
    cdef ptrdiff_t i
    for i in range(regions * axis.bins):
        if axis.starts[i] < axis.stops[i] and not 0 <= axis.starts[i] < axis.stops[i] <= axis.size:
            raise ValueError(f"a window of a region holds pixels {axis.starts[i]} to {axis.stops[i]} of {axis.size}")
    return 0


cdef list region_buffers(regions_t* task, int kind, input_shape, result_shape, input, output, maps, grad_input):
    """Take shapes and arrays that fit them, before anything goes over so many bins; return what holds on to these."""
    cdef bint backward = grad_input is not None
    cdef ptrdiff_t region, size, written
    memset(task, 0, sizeof(regions_t))
    size = checked_size(input_shape)
    written = checked_size(result_shape)
    check_row(kind, KINDS_)
    task.batches, task.channels, task.rows.size, task.columns.size = input_shape
    task.regions, channels, task.rows.bins, task.columns.bins = result_shape
    if channels != task.channels:
        raise ValueError(f"{channels} channels of results were given for {task.channels}")
    task.leaves = LEAVES[TOTAL][kind]
    if GRADIENTS[kind].add_run == NULL or task.leaves.value != sizeof(double):
        raise ValueError("these kernels do not know regions of this dtype")
    cdef Buffer source = Buffer(input, size * task.leaves.storage)
    cdef Buffer result = Buffer(output, written * task.leaves.storage, not backward)
    cdef Buffer target
    cdef list held = [source, result]
    task.input = source.data
    task.output = result.data
    if backward:
        target = Buffer(grad_input, size * task.leaves.storage, True)
        task.grad_input = target.data
        held.append(target)
    cdef const int64_t[::1] numbers = maps
    if numbers.shape[0] != task.regions:
        raise ValueError(f"{numbers.shape[0]} maps were given for {task.regions} regions")
    cdef Buffer lying = Buffer(maps, task.regions * 8)
    held.append(lying)
    task.maps = <const int64_t*> lying.data
    for region in range(task.regions):
        if not 0 <= task.maps[region] < task.batches:
            raise ValueError(f"region {region} lies on map {task.maps[region]} of {task.batches}")
    task.strip = strip_rows(task)
    if task.strip < task.rows.size:
        task.windows = <ptrdiff_t> bincount(maps, minlength=1).max() * task.rows.bins * task.columns.bins
    return held


cdef int run_regions(regions_t* task, work_fn run, ptrdiff_t nbytes, ptrdiff_t threads) except -1:
    cdef ptrdiff_t tasks = task.regions * task.channels if task.grad_input == NULL else task.batches * task.channels
    if tasks == 0:
        return 0
    if task.grad_input == NULL and (task.averaging or task.rows.starts != NULL) and goes_in_lanes(task, threads):
        share_lanes(task, threads)
    else:
        share(run, task, tasks, nbytes, threads)
    return 0
