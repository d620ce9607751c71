# Regions of interest, eight channels at a time: of a map that holds many regions, the pixels of eight channels are laid
# side by side once, so that each step of a region is one of vectors. All results are those of `pool_forward` and
# `align_forward`, to the bit: a call may be made in either way.

cdef extern from "c/regions.h" nogil:
    # Channels that lie side by side; 0 where compilers have no vectors.
    ptrdiff_t REGION_LANES "POOLING_REGION_LANES"
    void lay_lanes_float "pooling_lay_lanes_float"(
        float* dst, const float* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t lanes)
    void lay_lanes_double "pooling_lay_lanes_double"(
        double* dst, const double* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t lanes)
    void mean_of_lanes_float "pooling_mean_of_lanes_float"(
        double* made, const float* map, ptrdiff_t width, const int64_t* rows, const double* below, ptrdiff_t height,
        const int64_t* columns, const double* right, ptrdiff_t length)
    void mean_of_lanes_double "pooling_mean_of_lanes_double"(
        double* made, const double* map, ptrdiff_t width, const int64_t* rows, const double* below, ptrdiff_t height,
        const int64_t* columns, const double* right, ptrdiff_t length)
    void greatest_of_lanes_float "pooling_greatest_of_lanes_float"(
        double* made, const float* map, ptrdiff_t width, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t left,
        ptrdiff_t right)
    void greatest_of_lanes_double "pooling_greatest_of_lanes_double"(
        double* made, const double* map, ptrdiff_t width, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t left,
        ptrdiff_t right)


cdef struct lanes_t:
    const regions_t* regions
    # Bytes of an element that lies beside its neighbours; groups of channels.
    ptrdiff_t size, groups
    # For each map its first region, and for each region the next one on the same map; -1 behind the last.
    int64_t* heads
    int64_t* following
    # Samples of all regions, or NULL where these would take too much: then each thread finds them again.
    char* grids
    ptrdiff_t grid_bytes
    # Bins whose results are held until they are written.
    ptrdiff_t held


cdef inline ptrdiff_t size_in_lanes(const regions_t* task) noexcept nogil:
    return 8 if task.leaves.storage == 8 else 4


cdef inline bint goes_in_lanes(const regions_t* task, ptrdiff_t threads) noexcept nogil:
    """Whether it pays to lay channels side by side: regions read a map often enough, and there are channels for all.

    To lay a pixel takes about as long as a sixty-fourth of a bin takes longer in the other way.
    """
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    return (
        REGION_LANES > 0 and 2 * task.channels >= REGION_LANES
        and task.batches * ceil_divide(task.channels, max(REGION_LANES, 1)) >= threads
        and 0 < cells <= SUMS_BYTES // (8 * size_in_lanes(task))
        and 64.0 * <double> task.regions * <double> task.rows.bins * <double> task.columns.bins
        >= <double> task.batches * <double> cells)


cdef void lay_halves(
    float* dst, const char* src, const leaves_t* leaves, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t lanes, double* row
) noexcept nogil:
    """Lay pixels of half precision side by side, in pieces that `row` has place for."""
    cdef ptrdiff_t x, c, count
    cdef ptrdiff_t at = 0
    memset(dst, 0, n * REGION_LANES * sizeof(float))
    while at < n:
        count = min(<ptrdiff_t> LANES_AT_ONCE, n - at)
        for c in range(lanes):
            leaves.load(row, src + (c * apart + at) * leaves.storage, count)
            for x in range(count):
                dst[(at + x) * REGION_LANES + c] = <float> row[x]
        at += count


cdef void lay_lanes(
    const lanes_t* job, char* dst, const char* src, ptrdiff_t lanes, double* row, char* scratch
) noexcept nogil:
    """Lay the pixels of so many planes side by side."""
    cdef const regions_t* task = job.regions
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t count
    cdef ptrdiff_t first = 0
    while first < cells:
        if is_stopped(scratch, TOGETHER * 8):
            return
        count = min(<ptrdiff_t> TOGETHER, cells - first)
        if task.leaves.storage == 8:
            lay_lanes_double(<double*> dst + first * REGION_LANES, <const double*> src + first, cells, count, lanes)
        elif task.leaves.storage == 4:
            lay_lanes_float(<float*> dst + first * REGION_LANES, <const float*> src + first, cells, count, lanes)
        else:
            lay_halves(
                <float*> dst + first * REGION_LANES, src + first * task.leaves.storage, &task.leaves, cells, count,
                lanes, row)
        first += count


cdef void greatest_of_row(
    const lanes_t* job, ptrdiff_t region, ptrdiff_t bin, const char* map, double* made, char* scratch
) noexcept nogil:
    """Find the greatest elements of a row of windows."""
    cdef const regions_t* task = job.regions
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t top = task.rows.starts[region * task.rows.bins + bin]
    cdef ptrdiff_t bottom = task.rows.stops[region * task.rows.bins + bin]
    cdef ptrdiff_t b, y, left, right
    for b in range(bins):
        left = task.columns.starts[region * bins + b]
        right = task.columns.stops[region * bins + b]
        if is_stopped(scratch, 2 + 2 * max(bottom - top, 0) * max(right - left, 0)):
            return
        if top >= bottom or left >= right:
            memset(made, 0, REGION_LANES * sizeof(double))
        elif job.size == 8:
            greatest_of_lanes_double(made, <const double*> map, width, top, bottom, left, right)
        else:
            greatest_of_lanes_float(made, <const float*> map, width, top, bottom, left, right)
        made += REGION_LANES


cdef void means_of_row(
    const lanes_t* job, const grid_t* rows, const grid_t* columns, ptrdiff_t bin, const char* map, double* made,
    char* scratch,
) noexcept nogil:
    """Find the means of a row of bins."""
    cdef const regions_t* task = job.regions
    cdef ptrdiff_t width = task.columns.size
    cdef ptrdiff_t top = rows.begins[bin]
    cdef ptrdiff_t height = rows.begins[bin + 1] - top
    cdef ptrdiff_t b, left, length
    for b in range(task.columns.bins):
        left = columns.begins[b]
        length = columns.begins[b + 1] - left
        if is_stopped(scratch, 2 + 4 * height * length):
            return
        if job.size == 8:
            mean_of_lanes_double(
                made, <const double*> map, width, rows.cells + top, rows.weights + top, height,
                columns.cells + left, columns.weights + left, length)
        else:
            mean_of_lanes_float(
                made, <const float*> map, width, rows.cells + top, rows.weights + top, height,
                columns.cells + left, columns.weights + left, length)
        made += REGION_LANES


cdef void put_lanes(
    const regions_t* task, char* dst, const double* made, ptrdiff_t bins, ptrdiff_t lanes, double* row
) noexcept nogil:
    """Write so many bins of each channel; `dst` is where those of the first one go."""
    cdef ptrdiff_t b, c
    for c in range(lanes):
        for b in range(bins):
            row[b] = made[b * REGION_LANES + c]
        put_row(&task.leaves, dst + c * task.rows.bins * task.columns.bins * task.leaves.storage, row, bins)


cdef ptrdiff_t regions_in_lanes(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Pool groups of channels `begin` to `end` of all maps."""
    cdef const lanes_t* lying = <const lanes_t*> job
    cdef const regions_t* task = lying.regions
    cdef ptrdiff_t cells = task.rows.size * task.columns.size
    cdef ptrdiff_t bins = task.columns.bins
    cdef double* made = <double*> (scratch + cells * REGION_LANES * lying.size)
    cdef double* row = made + lying.held * REGION_LANES
    cdef char* grid = <char*> (row + max(lying.held, <ptrdiff_t> LANES_AT_ONCE))
    cdef grid_t rows, columns
    cdef ptrdiff_t t, map, first, lanes, region, bin, kept, at
    for t in range(begin, end):
        map = t // lying.groups
        first = t % lying.groups * REGION_LANES
        lanes = min(REGION_LANES, task.channels - first)
        region = lying.heads[map]
        if region < 0:
            continue
        lay_lanes(
            lying, scratch, task.input + (map * task.channels + first) * cells * task.leaves.storage, lanes, row,
            scratch)
        while region >= 0:
            if task.rows.starts == NULL:
                if lying.grids != NULL:
                    grid = lying.grids + region * lying.grid_bytes
                rows = grid_at(&task.rows, grid)
                columns = grid_at(&task.columns, grid + grid_scratch(&task.rows))
                if lying.grids == NULL:
                    lay_region(task, region, &rows, &columns)
            kept = 0
            at = (region * task.channels + first) * task.rows.bins * bins
            for bin in range(task.rows.bins):
                if task.rows.starts != NULL:
                    greatest_of_row(lying, region, bin, scratch, made + kept * REGION_LANES, scratch)
                else:
                    means_of_row(lying, &rows, &columns, bin, scratch, made + kept * REGION_LANES, scratch)
                kept += bins
                if kept + bins > lying.held or bin + 1 == task.rows.bins:
                    put_lanes(task, task.output + at * task.leaves.storage, made, kept, lanes, row)
                    at += kept
                    kept = 0
            if is_stopped(scratch, 1):
                return -1
            region = lying.following[region]
    return -1


cdef inline void lay_region(const regions_t* task, ptrdiff_t region, grid_t* rows, grid_t* columns) noexcept nogil:
    lay_samples(&task.rows, region, True, 0, task.rows.size, rows)
    lay_samples(&task.columns, region, True, 0, task.columns.size, columns)


cdef ptrdiff_t lay_regions(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Find the samples of regions `begin` to `end`."""
    cdef const lanes_t* lying = <const lanes_t*> job
    cdef const regions_t* task = lying.regions
    cdef grid_t rows, columns
    cdef ptrdiff_t region
    for region in range(begin, end):
        rows = grid_at(&task.rows, lying.grids + region * lying.grid_bytes)
        columns = grid_at(&task.columns, lying.grids + region * lying.grid_bytes + grid_scratch(&task.rows))
        lay_region(task, region, &rows, &columns)
        if is_stopped(scratch, 2 * (task.rows.bins + task.columns.bins)):
            return -1
    return -1


cdef int share_lanes(const regions_t* task, ptrdiff_t threads) except -1:
    """Pool all groups of channels."""
    cdef lanes_t job
    cdef ptrdiff_t bins = task.columns.bins
    cdef ptrdiff_t kept_bytes, region, nbytes
    cdef bint averaging = task.rows.starts == NULL
    cdef char* memory
    job.regions = task
    job.size = size_in_lanes(task)
    job.groups = ceil_divide(task.channels, REGION_LANES)
    job.held = max(bins, min(task.rows.bins * bins, <ptrdiff_t> LANES_HELD // bins * bins))
    job.grid_bytes = grid_scratch(&task.rows) + grid_scratch(&task.columns) if averaging else 0
    kept_bytes = task.regions * job.grid_bytes if job.grid_bytes <= LANES_GRIDS // task.regions else 0
    nbytes = (
        task.rows.size * task.columns.size * REGION_LANES * job.size
        + (job.held * REGION_LANES + max(job.held, <ptrdiff_t> LANES_AT_ONCE)) * <ptrdiff_t> sizeof(double)
        + (0 if kept_bytes else job.grid_bytes))
    memory = <char*> malloc((task.batches + task.regions) * <ptrdiff_t> sizeof(int64_t) + kept_bytes)
    if memory == NULL:
        raise MemoryError("no memory for the order of regions")
    job.heads = <int64_t*> memory
    job.following = job.heads + task.batches
    job.grids = <char*> (job.following + task.regions) if kept_bytes else NULL
    memset(job.heads, -1, task.batches * sizeof(int64_t))
    for region in range(task.regions - 1, -1, -1):
        job.following[region] = job.heads[task.maps[region]]
        job.heads[task.maps[region]] = region
    try:
        if kept_bytes:
            share(lay_regions, &job, task.regions, 0, threads)
        share(regions_in_lanes, &job, task.batches * job.groups, nbytes, threads)
    finally:
        free(memory)
    return 0
