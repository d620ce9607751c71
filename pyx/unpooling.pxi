# Unpooling: elements go where indices say, and gradients come back from there. Nothing is calculated, so that an
# element is a number of bytes. The indices of one outer element name cells of one output map (of `inner` maps that lie
# side by side in channels_last) and no two threads share a map, so that the last write in row-major order stays.


ctypedef ptrdiff_t (*unpool_fn)(
    void* dst, const void* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells, ptrdiff_t inner
) noexcept nogil


cdef struct unpool_t:
    unpool_fn run
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


cdef unpool_fn unpool_of(bits_t* kind, bint backward) noexcept:
    return <unpool_fn> fetch[bits_t] if backward else <unpool_fn> place[bits_t]


cdef ptrdiff_t unpool_maps(const void* job, char* taken, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Run over outer elements begin to end; return the position of the first index outside its map, or -1."""
    cdef const unpool_t* task = <const unpool_t*> job
    cdef ptrdiff_t outer, at, bad
    for outer in range(begin, end):
        at = outer * task.pooled * task.inner
        bad = task.run(
            task.dst + outer * task.to, task.src + outer * task.of, task.index + at, taken, task.pooled, task.cells,
            task.inner)
        if bad >= 0:
            return at + bad
    return -1


def unpool(
    src, indices, dst, ptrdiff_t outer, ptrdiff_t pooled, ptrdiff_t cells, ptrdiff_t inner, ptrdiff_t itemsize,
    bint backward=False, ptrdiff_t threads=1,
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

    Returns
    -------
    int
        Position of the first index that names no cell, or -1; then `dst` holds nothing of use.
    """
    cdef unpool_t job
    cdef ptrdiff_t small = checked_size((pooled, inner)) * itemsize
    cdef ptrdiff_t large = checked_size((cells, inner)) * itemsize
    if itemsize == 1:
        job.run = unpool_of(<uint8_t*> NULL, backward)
    elif itemsize == 2:
        job.run = unpool_of(<uint16_t*> NULL, backward)
    elif itemsize == 4:
        job.run = unpool_of(<uint32_t*> NULL, backward)
    elif itemsize == 8:
        job.run = unpool_of(<uint64_t*> NULL, backward)
    else:
        raise ValueError("these kernels do not know elements of this size")
    job.pooled = pooled
    job.cells = cells
    job.inner = inner
    job.to = small if backward else large
    job.of = large if backward else small
    cdef Buffer source = Buffer(src, checked_size((outer, job.of)))
    cdef Buffer index = Buffer(indices, checked_size((outer, pooled, inner)) * 8)
    cdef Buffer target = Buffer(dst, checked_size((outer, job.to)), True)
    if outer == 0 or inner == 0:
        return -1
    job.src = source.data
    job.index = <int64_t*> index.data
    job.dst = target.data
    return share(unpool_maps, &job, outer, cells * inner if backward else 0, threads)
