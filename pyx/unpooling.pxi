# Unpooling: elements go where indices say, and gradients come back from there. Nothing is calculated, so that an
# element is a number of bytes. The indices of one outer element name cells of one output map (of `inner` maps that lie
# side by side in channels_last) and no two threads share a map, so that the last write in row-major order stays.

cdef extern from "c/unpool.h" nogil:
    int PAIR_LINES "POOLING_PAIR_LINES"
    # Whether an index lies outside of its window.
    bint fetch_pairs8 "pooling_fetch_pairs8"(
        uint8_t* dst, const uint8_t* src, const int64_t* index, const uint32_t* lines, int count, ptrdiff_t n)
    bint fetch_pairs16 "pooling_fetch_pairs16"(
        uint16_t* dst, const uint16_t* src, const int64_t* index, const uint32_t* lines, int count, ptrdiff_t n)
    bint fetch_pairs32 "pooling_fetch_pairs32"(
        uint32_t* dst, const uint32_t* src, const int64_t* index, const uint32_t* lines, int count, ptrdiff_t n)
    bint fetch_pairs64 "pooling_fetch_pairs64"(
        uint64_t* dst, const uint64_t* src, const int64_t* index, const uint32_t* lines, int count, ptrdiff_t n)


ctypedef ptrdiff_t (*unpool_fn)(
    void* dst, const void* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells, ptrdiff_t inner
) noexcept nogil


cdef struct windows_t:
    # For each of three axes: windows, cells of the map, cells of a window and between two, and padding in front.
    ptrdiff_t count[3]
    ptrdiff_t size[3]
    ptrdiff_t taps[3]
    ptrdiff_t step[3]
    ptrdiff_t begin[3]


ctypedef bint (*apart_fn)(
    void* dst, const void* src, const int64_t* index, char* taken, const windows_t* windows, ptrdiff_t inner
) noexcept nogil


cdef struct unpool_t:
    unpool_fn run
    # NULL unless the windows that the indices come from lie apart.
    apart_fn run_apart
    windows_t windows
    char* dst
    const char* src
    const int64_t* index
    ptrdiff_t pooled, cells, inner
    # Bytes of an outer element in `dst` and in `src`.
    ptrdiff_t to, of


cdef inline ptrdiff_t place_some(
    bits_t* dst, const bits_t* src, const int64_t* index, ptrdiff_t first, ptrdiff_t stop, ptrdiff_t cells,
    const ptrdiff_t inner,
) noexcept nogil:
    cdef ptrdiff_t x, c, at
    cdef ptrdiff_t bad = -1
    cdef int64_t i
    for x in range(first, stop):
        for c in range(inner):
            at = x * inner + c
            i = index[at]
            if <uint64_t> i < <uint64_t> cells:
                dst[i * inner + c] = src[at]
            elif bad < 0:
                bad = at
    return bad


cdef ptrdiff_t place(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells,
    ptrdiff_t inner,
) noexcept nogil:
    """``dst[index[x, c], c] = src[x, c]`` among zeros; return the position of the first index outside, or -1."""
    cdef ptrdiff_t stop, found
    cdef ptrdiff_t bad = -1
    cdef ptrdiff_t first = 0
    memset(dst, 0, cells * inner * sizeof(bits_t))
    while first < pooled:
        if is_stopped(taken, TOGETHER * inner):
            return -1
        stop = min(first + TOGETHER, pooled)
        # A loop over one channel would take longer than what it does.
        if inner == 1:
            found = place_some(dst, src, index, first, stop, cells, 1)
        else:
            found = place_some(dst, src, index, first, stop, cells, inner)
        bad = found if bad < 0 else bad
        first = stop
    return bad


cdef inline ptrdiff_t fetch_some(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, ptrdiff_t first, ptrdiff_t stop,
    ptrdiff_t cells, const ptrdiff_t inner,
) noexcept nogil:
    cdef ptrdiff_t x, c, at, to
    cdef ptrdiff_t bad = -1
    cdef int64_t i
    for x in range(stop - 1, first - 1, -1):
        for c in range(inner):
            at = x * inner + c
            i = index[at]
            if <uint64_t> i < <uint64_t> cells:
                to = i * inner + c
                dst[at] = 0 if taken[to] else src[to]
                taken[to] = 1
            elif bad < 0 or at < bad:
                bad = at
    return bad


cdef inline bint fetch_distinct(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells
) noexcept nogil:
    """``dst[x] = src[index[x]]`` if each index names a cell of its own, as those of windows that lie apart; else False.

    A cell is marked and nobody looks whether it was: in the end as many must be as there are indices.
    """
    cdef ptrdiff_t x, stop
    cdef ptrdiff_t first = 0
    cdef ptrdiff_t marked = 0
    cdef uint32_t some
    cdef int64_t i
    if pooled > cells:
        return False
    while first < pooled:
        stop = min(first + TOGETHER, pooled)
        if is_stopped(taken, TOGETHER):
            return True
        if stray(index + first, stop - first, 0, cells, False) >= 0:
            return False
        for x in range(first, stop):
            i = index[x]
            dst[x] = src[i]
            taken[i] = 1
        first = stop
    first = 0
    while first < cells:
        stop = min(first + TOGETHER, cells)
        some = 0
        for x in range(first, stop):
            some += taken[x]
        marked += some
        first = stop
    return marked == pooled


cdef ptrdiff_t fetch(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells,
    ptrdiff_t inner,
) noexcept nogil:
    """``dst[x, c] = src[index[x, c], c]`` for the last x that names a cell, 0 for those before; return as `place`."""
    cdef ptrdiff_t first, found
    cdef ptrdiff_t bad = -1
    cdef ptrdiff_t stop = pooled
    memset(taken, 0, cells * inner)
    if inner == 1:
        if fetch_distinct(dst, src, index, taken, pooled, cells):
            return -1
        memset(taken, 0, cells)
    while stop > 0:
        if is_stopped(taken, TOGETHER * inner):
            return -1
        first = max(stop - TOGETHER, 0)
        if inner == 1:
            found = fetch_some(dst, src, index, taken, first, stop, cells, 1)
        else:
            found = fetch_some(dst, src, index, taken, first, stop, cells, inner)
        bad = bad if found < 0 else found
        stop = first
    return bad


cdef inline bint strays_from_windows(
    const int64_t* index, ptrdiff_t first, ptrdiff_t stop, ptrdiff_t inner, const uint32_t* lines,
    const ptrdiff_t count, const windows_t* windows,
) noexcept nogil:
    """Whether an index of windows `first` to `stop` of a row, all of them inside the map, lies in none of its lines.

    Cells of the map are fewer than 2**31, so that 32 bits tell them apart, once no index has any bit above these.
    """
    cdef uint32_t taps = <uint32_t> windows.taps[2]
    cdef uint32_t strays = 0
    cdef uint64_t bits = 0
    cdef uint32_t left, cell, inside
    cdef ptrdiff_t x, c, i
    for x in range(first, stop):
        left = <uint32_t> (x * windows.step[2] - windows.begin[2])
        for c in range(inner):
            bits |= <uint64_t> index[x * inner + c]
            cell = <uint32_t> index[x * inner + c] - left
            inside = 0
            for i in range(count):
                inside |= cell - lines[i] < taps
            strays |= inside ^ 1
    return strays != 0 or bits >> 31 != 0


cdef bint strays_at_border(
    const int64_t* index, ptrdiff_t first, ptrdiff_t stop, ptrdiff_t inner, const uint32_t* lines, ptrdiff_t count,
    const windows_t* windows,
) noexcept nogil:
    """The same for windows that reach over the ends of rows."""
    cdef ptrdiff_t x, c, i, left, low, high
    cdef bint inside
    for x in range(first, stop):
        left = x * windows.step[2] - windows.begin[2]
        low = max(left, 0)
        high = min(left + windows.taps[2], windows.size[2])
        for c in range(inner):
            inside = False
            for i in range(count):
                inside |= <ptrdiff_t> lines[i] + low <= index[x * inner + c] < <ptrdiff_t> lines[i] + high
            if not inside:
                return True
    return False


cdef inline bint strays_of_row(
    const int64_t* index, ptrdiff_t first, ptrdiff_t stop, ptrdiff_t inner, const uint32_t* lines, ptrdiff_t count,
    const windows_t* windows,
) noexcept nogil:
    """As `strays_from_windows`, for the numbers of lines that are common."""
    if inner > 1:
        return strays_from_windows(index, first, stop, inner, lines, count, windows)
    if count == 1:
        return strays_from_windows(index, first, stop, 1, lines, 1, windows)
    if count == 2:
        return strays_from_windows(index, first, stop, 1, lines, 2, windows)
    if count == 4:
        return strays_from_windows(index, first, stop, 1, lines, 4, windows)
    return strays_from_windows(index, first, stop, 1, lines, count, windows)


cdef inline void fetch_row(
    bits_t* dst, const bits_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner
) noexcept nogil:
    cdef ptrdiff_t x, c
    if inner == 1:
        for x in range(n):
            dst[x] = src[index[x]]
        return
    for x in range(n):
        for c in range(inner):
            dst[x * inner + c] = src[index[x * inner + c] * inner + c]


cdef inline void whole_windows(const windows_t* windows, ptrdiff_t* first, ptrdiff_t* stop) noexcept nogil:
    """Find the windows of a row that do not reach over its ends."""
    cdef ptrdiff_t last = windows.size[2] + windows.begin[2] - windows.taps[2]
    first[0] = min(ceil_divide(windows.begin[2], windows.step[2]), windows.count[2])
    stop[0] = max(first[0], min(windows.count[2], last // windows.step[2] + 1)) if last >= 0 else first[0]


cdef inline ptrdiff_t lines_of(
    const windows_t* windows, ptrdiff_t front, ptrdiff_t top, uint32_t* lines
) noexcept nogil:
    """Find the cells at which the rows of the map begin that a row of windows looks at; return how many."""
    cdef ptrdiff_t d, h, z, y
    cdef ptrdiff_t count = 0
    for d in range(windows.taps[0]):
        z = front * windows.step[0] - windows.begin[0] + d
        if not 0 <= z < windows.size[0]:
            continue
        for h in range(windows.taps[1]):
            y = top * windows.step[1] - windows.begin[1] + h
            if 0 <= y < windows.size[1]:
                lines[count] = <uint32_t> ((z * windows.size[1] + y) * windows.size[2])
                count += 1
    return count


cdef bint fetch_apart(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, const windows_t* windows, ptrdiff_t inner
) noexcept nogil:
    """``dst[x, c] = src[index[x, c], c]`` if each index lies in the window that it comes from; else False.

    These windows share no cell, so that no two indices name the same.
    """
    cdef uint32_t lines[MOST_LINES]
    cdef ptrdiff_t row = windows.count[2] * inner
    cdef ptrdiff_t first, stop, front, top, count
    whole_windows(windows, &first, &stop)
    for front in range(windows.count[0]):
        for top in range(windows.count[1]):
            if is_stopped(taken, 2 * row):
                return True
            count = lines_of(windows, front, top, lines)
            if (
                strays_of_row(index, first, stop, inner, lines, count, windows)
                or strays_at_border(index, 0, first, inner, lines, count, windows)
                or strays_at_border(index, stop, windows.count[2], inner, lines, count, windows)
            ):
                return False
            fetch_row(dst, src, index, windows.count[2], inner)
            index += row
            dst += row
    return True


cdef inline bint fetch_pairs(
    bits_t* dst, const bits_t* src, const int64_t* index, const uint32_t* lines, int count, ptrdiff_t n
) noexcept nogil:
    if bits_t is uint8_t:
        return fetch_pairs8(dst, src, index, lines, count, n)
    elif bits_t is uint16_t:
        return fetch_pairs16(dst, src, index, lines, count, n)
    elif bits_t is uint32_t:
        return fetch_pairs32(dst, src, index, lines, count, n)
    else:
        return fetch_pairs64(dst, src, index, lines, count, n)


cdef bint fetch_paired(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, const windows_t* windows, ptrdiff_t inner
) noexcept nogil:
    """As `fetch_apart`, where `are_pairs`."""
    cdef uint32_t lines[MOST_LINES]
    cdef uint32_t whole[MOST_LINES]
    cdef ptrdiff_t row = windows.count[2]
    cdef ptrdiff_t first, stop, front, top, count, i
    whole_windows(windows, &first, &stop)
    for front in range(windows.count[0]):
        for top in range(windows.count[1]):
            if is_stopped(taken, row):
                return True
            count = lines_of(windows, front, top, lines)
            if count == 0:
                return False
            for i in range(count):
                whole[i] = lines[i] + <uint32_t> (2 * first - windows.begin[2])
            if (
                fetch_pairs(dst + first, src, index + first, whole, <int> count, stop - first)
                or strays_at_border(index, 0, first, 1, lines, count, windows)
                or strays_at_border(index, stop, row, 1, lines, count, windows)
            ):
                return False
            fetch_row(dst, src, index, first, 1)
            fetch_row(dst + stop, src, index + stop, row - stop, 1)
            index += row
            dst += row
    return True


cdef apart_fn paired_of(bits_t* kind) noexcept:
    return <apart_fn> fetch_paired[bits_t]


cdef apart_fn apart_of(bits_t* kind) noexcept:
    return <apart_fn> fetch_apart[bits_t]


cdef unpool_fn unpool_of(bits_t* kind, bint backward) noexcept:
    return <unpool_fn> fetch[bits_t] if backward else <unpool_fn> place[bits_t]


cdef ptrdiff_t unpool_maps(const void* job, char* taken, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Run over outer elements begin to end; return the position of the first index outside its map, or -1."""
    cdef const unpool_t* task = <const unpool_t*> job
    cdef ptrdiff_t outer, at, bad
    for outer in range(begin, end):
        at = outer * task.pooled * task.inner
        if task.run_apart != NULL and task.run_apart(
            task.dst + outer * task.to, task.src + outer * task.of, task.index + at, taken, &task.windows, task.inner
        ):
            continue
        bad = task.run(
            task.dst + outer * task.to, task.src + outer * task.of, task.index + at, taken, task.pooled, task.cells,
            task.inner)
        if bad >= 0:
            return at + bad
    return -1


cdef bint lie_apart(unpool_t* job, windows) except -1:
    """Read the windows that indices come from, and say whether no two of them share a cell."""
    cdef windows_t* laid = &job.windows
    cdef bint apart = job.cells < <ptrdiff_t> 1 << 31
    cdef int i
    for i in range(3):
        laid.count[i], laid.size[i], laid.taps[i], laid.step[i], laid.begin[i] = windows[i]
        apart &= (
            0 <= laid.begin[i] < <ptrdiff_t> 1 << 31 and 0 < laid.count[i] < <ptrdiff_t> 1 << 31
            and 0 < laid.taps[i] <= laid.step[i] < <ptrdiff_t> 1 << 31)
    if (
        checked_size((laid.count[0], laid.count[1], laid.count[2])) != job.pooled
        or checked_size((laid.size[0], laid.size[1], laid.size[2])) != job.cells
    ):
        raise ValueError("the windows of indices have other sizes than what they are indices of")
    # More lines would take longer than to mark cells.
    return apart and laid.taps[0] * laid.taps[1] <= MOST_LINES


cdef bint are_pairs(const unpool_t* job) noexcept:
    """Whether windows are two cells of some lines, one behind another, of maps that lie on their own."""
    cdef const windows_t* laid = &job.windows
    return (
        job.inner == 1 and laid.taps[2] == 2 and laid.step[2] == 2 and laid.taps[0] * laid.taps[1] <= PAIR_LINES)


def unpool(
    src, indices, dst, ptrdiff_t outer, ptrdiff_t pooled, ptrdiff_t cells, ptrdiff_t inner, ptrdiff_t itemsize,
    bint backward=False, ptrdiff_t threads=1, windows=None,
):
    """Put each element of `src` where its index says, or bring gradients back from there.

    Parameters
    ----------
    src, indices, dst : buffer
        Contiguous: elements and int64 indices of ``(outer, pooled, inner)``, result of ``(outer, cells, inner)``;
        backward the gradient of the latter, the indices, and the gradient of the former.
    itemsize : int
        Bytes of an element: 1, 2, 4 or 8.
    threads : int
        At most this many.
    windows : sequence of three tuples, optional
        The windows that indices came from, on three axes: their number, cells of the map, of a window and from one to
        the next, and the padding in front. Gradients are faster by them; indices may lie elsewhere.

    Returns
    -------
    int
        Position of the first index that names no cell, or -1; then `dst` holds nothing of use.
    """
    cdef unpool_t job
    cdef ptrdiff_t small = checked_size((pooled, inner)) * itemsize
    cdef ptrdiff_t large = checked_size((cells, inner)) * itemsize
    cdef apart_fn run_apart, run_paired
    if itemsize == 1:
        job.run = unpool_of(<uint8_t*> NULL, backward)
        run_apart = apart_of(<uint8_t*> NULL)
        run_paired = paired_of(<uint8_t*> NULL)
    elif itemsize == 2:
        job.run = unpool_of(<uint16_t*> NULL, backward)
        run_apart = apart_of(<uint16_t*> NULL)
        run_paired = paired_of(<uint16_t*> NULL)
    elif itemsize == 4:
        job.run = unpool_of(<uint32_t*> NULL, backward)
        run_apart = apart_of(<uint32_t*> NULL)
        run_paired = paired_of(<uint32_t*> NULL)
    elif itemsize == 8:
        job.run = unpool_of(<uint64_t*> NULL, backward)
        run_apart = apart_of(<uint64_t*> NULL)
        run_paired = paired_of(<uint64_t*> NULL)
    else:
        raise ValueError("these kernels do not know elements of this size")
    job.pooled = pooled
    job.cells = cells
    job.inner = inner
    job.to = small if backward else large
    job.of = large if backward else small
    job.run_apart = NULL
    if backward and windows is not None and lie_apart(&job, windows):
        job.run_apart = run_paired if are_pairs(&job) else run_apart
    cdef Buffer source = Buffer(src, checked_size((outer, job.of)))
    cdef Buffer index = Buffer(indices, checked_size((outer, pooled, inner)) * 8)
    cdef Buffer target = Buffer(dst, checked_size((outer, job.to)), True)
    if outer == 0 or inner == 0:
        return -1
    job.src = source.data
    job.index = <int64_t*> index.data
    job.dst = target.data
    return share(unpool_maps, &job, outer, cells * inner if backward else 0, threads)
