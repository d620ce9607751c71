# Fractional max pooling: each map has windows of its own, all of one size, whose starts come as tables. Maps are pooled
# one by one; one that does not lie in a piece, or in half precision, is first laid out as a row of floats, and a large
# one of these a few rows at a time.


cdef struct fractional_t:
    ptrdiff_t inner, storage
    ptrdiff_t input_size[3]
    ptrdiff_t output_size[3]
    ptrdiff_t kernel_size[3]
    # For each axis the first cell of each window: (maps, outputs). Or NULL, and each thread places the windows of a map
    # when it comes to it, `places` bytes into its memory, by the numbers of the samples of (maps, axes) that the axes
    # of the map have.
    const int64_t* starts[3]
    const char* samples
    ptrdiff_t axes, sample_size, places
    ptrdiff_t sample_of[3]
    # Of half precision only.
    convert_fn load
    bint copied
    # Of a large map that is copied, so many rows are held at a time, else 0; with `keeps` all those of a window, so
    # that the next windows need only rows that are new.
    ptrdiff_t slots
    bint keeps
    const char* src
    char* dst
    # NULL where nobody asks for them.
    int64_t* indices


cdef inline ptrdiff_t place_axis(
    int64_t* starts, real_t phase, ptrdiff_t count, ptrdiff_t last
) noexcept nogil:
    """Place the windows of one axis of a map, the last of which begins at `last`."""
    cdef real_t step = <real_t> last / <real_t> max(count - 1, 1)
    cdef int64_t begin
    cdef ptrdiff_t o
    if not 0 <= phase < 1:
        return 1
    begin = <int64_t> (phase * step)
    for o in range(count - 1):
        starts[o] = min(<int64_t> ((<real_t> o + phase) * step) - begin, <int64_t> last)
    starts[count - 1] = last
    return 0


cdef const int64_t* starts_of_map(
    const fractional_t* task, ptrdiff_t plane, int axis, char* scratch
) noexcept nogil:
    """Return where the windows of an axis of a map begin."""
    cdef int64_t* starts = <int64_t*> (scratch + task.places)
    cdef const char* sample
    cdef ptrdiff_t last = task.input_size[axis] - task.kernel_size[axis]
    cdef float single
    cdef double phase
    cdef int i
    if task.starts[axis] != NULL:
        return task.starts[axis] + plane * task.output_size[axis]
    for i in range(axis):
        starts += task.output_size[i]
    sample = task.samples + (plane * task.axes + task.sample_of[axis]) * task.sample_size
    if task.sample_size == 4:
        single = (<const float*> sample)[0]
        # Samples were checked, but another thread may have written to them since.
        place_axis(starts, single if 0 <= single < 1 else <float> 0, task.output_size[axis], last)
    else:
        phase = (<const double*> sample)[0]
        place_axis(starts, phase if 0 <= phase < 1 else <double> 0, task.output_size[axis], last)
    return starts


cdef void pool_maps(
    real_t* row, bits_t* dst, const fractional_t* task, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    """Pool maps begin to end into `dst`, the result of the task; `row` is memory for one of them.

    Maxima are copied as they are stored, so that rows of floats serve half precision without any rounding.
    """
    cdef ptrdiff_t inner = task.inner
    cdef ptrdiff_t height = task.input_size[1]
    cdef ptrdiff_t width = task.input_size[2]
    cdef ptrdiff_t cells = task.input_size[0] * height * width
    cdef ptrdiff_t outputs = task.output_size[0] * task.output_size[1] * task.output_size[2]
    cdef ptrdiff_t steps = 2 * task.kernel_size[0] * task.kernel_size[1] * task.kernel_size[2]
    # Outputs of a row between two looks at signals.
    cdef ptrdiff_t together = max(1, (1 << 16) // steps)
    cdef ptrdiff_t plane, x, od, oh, ow, d, h, at, first, index, out, part, stop
    cdef const int64_t* depth_starts
    cdef const int64_t* height_starts
    cdef const int64_t* width_starts
    cdef const bits_t* src = <const bits_t*> task.src
    cdef const bits_t* map
    cdef const real_t* line
    cdef real_t best
    cdef ptrdiff_t is_greater
    for plane in range(begin, end):
        map = src + plane // inner * cells * inner + plane % inner
        line = <const real_t*> map
        if task.copied:
            if task.load != NULL and inner == 1:
                task.load(row, map, cells)
            elif task.load != NULL:
                for x in range(cells):
                    task.load(row + x, map + x * inner, 1)
            else:
                for x in range(cells):
                    row[x] = line[x * inner]
            line = row
        depth_starts = starts_of_map(task, plane, 0, <char*> row)
        height_starts = starts_of_map(task, plane, 1, <char*> row)
        width_starts = starts_of_map(task, plane, 2, <char*> row)
        out = plane // inner * outputs * inner + plane % inner
        for od in range(task.output_size[0]):
            for oh in range(task.output_size[1]):
                part = 0
                while part < task.output_size[2]:
                    stop = min(part + together, task.output_size[2])
                    if is_stopped(<char*> row, (stop - part) * steps):
                        return
                    for ow in range(part, stop):
                        first = (depth_starts[od] * height + height_starts[oh]) * width + width_starts[ow]
                        index = first
                        best = line[first]
                        for d in range(task.kernel_size[0]):
                            for h in range(task.kernel_size[1]):
                                at = first + (d * height + h) * width
                                for x in range(at, at + task.kernel_size[2]):
                                    # Without a branch, since nobody can guess which of two numbers is greater.
                                    is_greater = -<ptrdiff_t> better(best, line[x], GREATEST)
                                    index ^= (index ^ x) & is_greater
                                    best = combine(best, line[x], GREATEST)
                        if dst != NULL:
                            dst[out] = map[index * inner]
                        if task.indices != NULL:
                            task.indices[out] = index
                        out += inner
                    part = stop


cdef void pool_sparse_maps(
    real_t* taps, bits_t* dst, const fractional_t* task, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    """Do the same and read of a map no more than its windows hold; `taps` is memory for a row of one of them."""
    cdef ptrdiff_t inner = task.inner
    cdef ptrdiff_t height = task.input_size[1]
    cdef ptrdiff_t width = task.input_size[2]
    cdef ptrdiff_t cells = task.input_size[0] * height * width
    cdef ptrdiff_t outputs = task.output_size[0] * task.output_size[1] * task.output_size[2]
    cdef ptrdiff_t along = task.kernel_size[2]
    cdef ptrdiff_t plane, od, oh, ow, d, h, x, at, first, index, out
    cdef const int64_t* fronts
    cdef const int64_t* tops
    cdef const int64_t* lefts
    cdef const bits_t* map
    cdef const real_t* line
    cdef real_t best
    for plane in range(begin, end):
        map = <const bits_t*> task.src + plane // inner * cells * inner + plane % inner
        fronts = starts_of_map(task, plane, 0, <char*> taps)
        tops = starts_of_map(task, plane, 1, <char*> taps)
        lefts = starts_of_map(task, plane, 2, <char*> taps)
        out = plane // inner * outputs * inner + plane % inner
        for od in range(task.output_size[0]):
            for oh in range(task.output_size[1]):
                for ow in range(task.output_size[2]):
                    if is_stopped(<char*> taps, 8 * task.kernel_size[0] * task.kernel_size[1] * along):
                        return
                    first = (fronts[od] * height + tops[oh]) * width + lefts[ow]
                    index = -1
                    best = 0
                    for d in range(task.kernel_size[0]):
                        for h in range(task.kernel_size[1]):
                            at = first + (d * height + h) * width
                            if task.load == NULL and inner == 1:
                                line = <const real_t*> map + at
                            else:
                                lay_cells(taps, map + at * inner, task, along)
                                line = taps
                            for x in range(along):
                                if index < 0 or better(best, line[x], GREATEST):
                                    best = line[x]
                                    index = at + x
                    if dst != NULL:
                        dst[out] = map[index * inner]
                    if task.indices != NULL:
                        task.indices[out] = index
                    out += inner


cdef inline void lay_cells(
    real_t* row, const bits_t* src, const fractional_t* task, ptrdiff_t n
) noexcept nogil:
    """Copy n cells of a row of a map, which lie `inner` apart, as floats."""
    cdef ptrdiff_t inner = task.inner
    cdef const real_t* line = <const real_t*> src
    cdef ptrdiff_t x
    if task.load != NULL and inner == 1:
        task.load(row, src, n)
    elif task.load != NULL:
        for x in range(n):
            task.load(row + x, src + x * inner, 1)
    else:
        for x in range(n):
            row[x] = line[x * inner]


cdef inline void lay_row(real_t* row, const bits_t* src, const fractional_t* task) noexcept nogil:
    """Copy a row of a map."""
    lay_cells(row, src, task, task.input_size[2])


cdef void pool_large_maps(
    real_t* best_values, bits_t* dst, const fractional_t* task, char* scratch, ptrdiff_t begin, ptrdiff_t end
) noexcept nogil:
    """Do the same with some rows of a map at a time: windows of more rows go on from what was greatest before."""
    cdef ptrdiff_t inner = task.inner
    cdef ptrdiff_t height = task.input_size[1]
    cdef ptrdiff_t width = task.input_size[2]
    cdef ptrdiff_t cells = task.input_size[0] * height * width
    cdef ptrdiff_t columns = task.output_size[2]
    cdef ptrdiff_t outputs = task.output_size[0] * task.output_size[1] * columns
    cdef ptrdiff_t down = task.kernel_size[1]
    cdef ptrdiff_t along = task.kernel_size[2]
    cdef ptrdiff_t rows = task.kernel_size[0] * down
    cdef ptrdiff_t slots = task.slots
    cdef int64_t* indices = <int64_t*> scratch
    cdef real_t* held = best_values + columns
    cdef ptrdiff_t plane, od, oh, ow, r, y, at, first, count, slot, begin_held, end_held, index, out, x, d0, h0
    cdef const int64_t* fronts
    cdef const int64_t* tops
    cdef const int64_t* starts
    cdef const bits_t* map
    cdef const real_t* line
    cdef real_t best
    for plane in range(begin, end):
        map = <const bits_t*> task.src + plane // inner * cells * inner + plane % inner
        fronts = starts_of_map(task, plane, 0, scratch)
        tops = starts_of_map(task, plane, 1, scratch)
        starts = starts_of_map(task, plane, 2, scratch)
        out = plane // inner * outputs * inner + plane % inner
        for od in range(task.output_size[0]):
            d0 = fronts[od]
            begin_held = end_held = 0
            for oh in range(task.output_size[1]):
                h0 = tops[oh]
                first = 0
                while first < rows:
                    count = min(slots, rows - first)
                    for r in range(first, first + count):
                        y = h0 + r % down
                        if task.keeps and begin_held <= y < end_held:
                            continue
                        if is_stopped(scratch, 4 * width):
                            return
                        slot = y % slots if task.keeps else r - first
                        lay_row(held + slot * width, map + ((d0 + r // down) * height + y) * width * inner, task)
                    for ow in range(columns):
                        if ow % 16 == 0 and is_stopped(scratch, 32 * count * along):
                            return
                        if first:
                            best = best_values[ow]
                            index = indices[ow]
                        else:
                            slot = h0 % slots if task.keeps else 0
                            best = held[slot * width + starts[ow]]
                            index = (d0 * height + h0) * width + starts[ow]
                        slot = h0 % slots if task.keeps else 0
                        for r in range(first, first + count):
                            line = held + slot * width
                            at = ((d0 + r // down) * height + h0 + r % down) * width
                            for x in range(starts[ow], starts[ow] + along):
                                if better(best, line[x], GREATEST):
                                    best = line[x]
                                    index = at + x
                            slot = 0 if slot + 1 == slots else slot + 1
                        best_values[ow] = best
                        indices[ow] = index
                    first += count
                begin_held, end_held = h0, h0 + down
                for ow in range(columns):
                    if dst != NULL:
                        dst[out] = map[indices[ow] * inner]
                    if task.indices != NULL:
                        task.indices[out] = indices[ow]
                    out += inner


cdef inline ptrdiff_t large_scratch(const fractional_t* task, ptrdiff_t size) noexcept nogil:
    """Bytes for one thread: the greatest of a row of windows, where they lie, and the rows that are held."""
    return task.output_size[2] * (8 + size) + task.slots * task.input_size[2] * size


cdef ptrdiff_t fractional_half(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    if task.slots:
        pool_large_maps(
            <float*> (scratch + task.output_size[2] * 8), <uint16_t*> task.dst, task, scratch, begin, end)
    else:
        pool_maps(<float*> scratch, <uint16_t*> task.dst, task, begin, end)
    return -1


cdef ptrdiff_t fractional_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    if task.slots:
        pool_large_maps(
            <float*> (scratch + task.output_size[2] * 8), <uint32_t*> task.dst, task, scratch, begin, end)
    else:
        pool_maps(<float*> scratch, <uint32_t*> task.dst, task, begin, end)
    return -1


cdef ptrdiff_t fractional_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    if task.slots:
        pool_large_maps(
            <double*> (scratch + task.output_size[2] * 8), <uint64_t*> task.dst, task, scratch, begin, end)
    else:
        pool_maps(<double*> scratch, <uint64_t*> task.dst, task, begin, end)
    return -1


# Apart from the loops above, which compilers make with branches when these are in the same function: 40 x 40 windows of
# 2 x 2 took three times as long.

cdef ptrdiff_t sparse_half(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    pool_sparse_maps(<float*> scratch, <uint16_t*> task.dst, task, begin, end)
    return -1


cdef ptrdiff_t sparse_float(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    pool_sparse_maps(<float*> scratch, <uint32_t*> task.dst, task, begin, end)
    return -1


cdef ptrdiff_t sparse_double(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const fractional_t* task = <const fractional_t*> job
    pool_sparse_maps(<double*> scratch, <uint64_t*> task.dst, task, begin, end)
    return -1


cdef ptrdiff_t bad_sample(const real_t* samples, ptrdiff_t count) noexcept nogil:
    """Return the position of the first sample that is not at least 0 and less than 1, or -1."""
    cdef ptrdiff_t i
    for i in range(count):
        if not 0 <= samples[i] < 1:
            return i
    return -1


cdef int read_tables(fractional_t* task, starts, ptrdiff_t maps) except -1:
    """Check tables of starts."""
    cdef const int64_t[:, ::1] table
    cdef ptrdiff_t i, t, o, last
    for i in range(3):
        table = starts[i]
        last = task.input_size[i] - task.kernel_size[i]
        if table.shape[0] != maps or table.shape[1] != task.output_size[i]:
            raise ValueError("the table of starts has another shape than the result")
        for t in range(maps):
            for o in range(task.output_size[i]):
                if not 0 <= table[t, o] <= last:
                    raise ValueError("a window of the table lies outside the map")
        task.starts[i] = &table[0, 0] if maps and task.output_size[i] else NULL
    return 0


cdef ptrdiff_t read_samples(
    fractional_t* task, Buffer samples, ptrdiff_t maps, ptrdiff_t axes, ptrdiff_t itemsize
) except -2:
    """Check samples; return the position of the first that is not at least 0 and less than 1, or -1."""
    cdef ptrdiff_t i
    if itemsize != 4 and itemsize != 8:
        raise ValueError("these kernels do not know samples of this size")
    for i in range(3):
        task.starts[i] = NULL
        # Of three axes in their order; of two the last one first, and the axis in front of them has a single window.
        task.sample_of[i] = i if axes == 3 else max(2 - i, 0) % axes
        if task.output_size[i] < 1 or task.input_size[i] < task.kernel_size[i]:
            raise ValueError("an axis of fractional windows has no window, or no cell")
    task.samples = samples.data
    task.axes = axes
    task.sample_size = itemsize
    if itemsize == 4:
        return bad_sample(<const float*> samples.data, maps * axes)
    return bad_sample(<const double*> samples.data, maps * axes)


def fractional_max(
    src, dst, indices, ptrdiff_t outer, ptrdiff_t inner, input_size, output_size, kernel_size, starts, int kind,
    ptrdiff_t threads=1, samples=None, ptrdiff_t axes=2, ptrdiff_t itemsize=8,
):
    """Take the greatest element of windows whose starts stand in tables, or follow from samples.

    Parameters
    ----------
    src, dst : buffer
        Contiguous, ``(outer, *input_size, inner)`` and ``(outer, *output_size, inner)`` of a dtype of floats; `dst` may
        be None where only indices are asked for.
    indices : buffer or None
        Where to write the int64 index of each maximum in its map.
    input_size, output_size, kernel_size : sequence of three int
    starts : sequence of three int64 arrays, or None
        For each axis ``(outer * inner, output_size)``: the first cell of each window, which must lie in the map whole.
    kind : int
        One of `KINDS`.
    threads : int
        At most this many.
    samples : buffer, optional
        Without `starts`, what these follow from in the arithmetic of the samples: ``(outer * inner, axes)`` of float32
        or float64, of two axes in the order W, H, of three in the order D, H, W.
    axes, itemsize : int
        Samples of a map, 2 or 3, and bytes of a sample, 4 or 8.

    Returns
    -------
    int
        Position of the first sample that is not at least 0 and less than 1, with nothing written, or -1.
    """
    cdef fractional_t task
    cdef work_fn work
    cdef ptrdiff_t i, bad
    cdef ptrdiff_t maps = checked_size((outer, inner))
    cdef ptrdiff_t size, rows, nbytes
    cdef ptrdiff_t read = checked_size((outer, inner, *input_size))
    cdef ptrdiff_t written = checked_size((outer, inner, *output_size))
    checked_size(kernel_size)
    if kind == FLOAT16 or kind == BFLOAT16:
        work = fractional_half
        task.storage = 2
    elif kind == FLOAT32:
        work = fractional_float
        task.storage = 4
    elif kind == FLOAT64:
        work = fractional_double
        task.storage = 8
    else:
        raise ValueError("these kernels do not know this dtype")
    task.inner = inner
    task.load = GRADIENTS[kind].sum.load
    task.copied = inner > 1 or task.load != NULL
    for i in range(3):
        task.input_size[i] = input_size[i]
        task.output_size[i] = output_size[i]
        task.kernel_size[i] = kernel_size[i]
        if task.kernel_size[i] < 1:
            raise ValueError("a window of the table holds no cell")
    cdef Buffer phases
    if starts is not None:
        read_tables(&task, starts, maps)
    else:
        if axes != 2 and axes != 3 or (axes == 2 and task.output_size[0] != 1):
            raise ValueError("fractional windows have samples for two axes, or for three")
        phases = Buffer(samples, checked_size((maps, axes)) * itemsize)
        bad = read_samples(&task, phases, maps, axes, itemsize)
        if bad >= 0:
            return bad
    cdef Buffer source = Buffer(src, read * task.storage)
    cdef Buffer target
    cdef Buffer index
    task.dst = NULL
    if dst is not None:
        target = Buffer(dst, written * task.storage, True)
        task.dst = target.data
    task.indices = NULL
    if indices is not None:
        index = Buffer(indices, written * 8, True)
        task.indices = <int64_t*> index.data
    if written == 0:
        return -1
    task.src = source.data
    # Bytes of an element of a row of floats.
    size = max(4, task.storage)
    nbytes = read // maps * size if task.copied else 0
    task.slots = 0
    task.keeps = False
    # Windows that hold so little of a map that their rows are read one by one.
    cdef bint sparse = task.copied and (
        <double> written * <double> task.kernel_size[0] * <double> task.kernel_size[1] * <double> task.kernel_size[2]
        <= 0.5 * <double> read)
    if sparse:
        nbytes = task.kernel_size[2] * size
        work = sparse_half if task.storage == 2 else sparse_float if task.storage == 4 else sparse_double
    elif nbytes > MAP_BYTES:
        rows = task.kernel_size[0] * task.kernel_size[1]
        task.slots = max(1, min(rows, <ptrdiff_t> MAP_BYTES // (task.input_size[2] * size)))
        task.keeps = task.kernel_size[0] == 1 and task.slots == rows
        nbytes = large_scratch(&task, size)
    task.places = round_up(nbytes, 8)
    if starts is None:
        nbytes = task.places + (task.output_size[0] + task.output_size[1] + task.output_size[2]) * 8
    share(work, &task, maps, nbytes, threads)
    return -1
