# Unpooling: elements go where indices say, and gradients come back from there. Nothing is calculated, so that an
# element is a number of bytes. The indices of one outer element name cells of one output map (of `inner` maps that lie
# side by side in channels_last) and no two threads share a map, so that the last write in row-major order stays.

from types cimport bits_t

ctypedef ptrdiff_t (*unpool_fn)(
    void* dst, const void* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells, ptrdiff_t inner
) noexcept nogil


cdef ptrdiff_t place(
    bits_t* dst, const bits_t* src, const int64_t* index, char* _taken, ptrdiff_t pooled, ptrdiff_t cells,
    ptrdiff_t inner,
) noexcept nogil:
    """``dst[index[x, c], c] = src[x, c]`` among zeros; return the position of the first index outside, or -1."""
    cdef ptrdiff_t x, c, at, bad = -1
    cdef int64_t i
    memset(dst, 0, cells * inner * sizeof(bits_t))
    for x in range(pooled):
        for c in range(inner):
            at = x * inner + c
            i = index[at]
            if <uint64_t> i < <uint64_t> cells:
                dst[i * inner + c] = src[at]
            elif bad < 0:
                bad = at
    return bad


cdef ptrdiff_t fetch(
    bits_t* dst, const bits_t* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells,
    ptrdiff_t inner,
) noexcept nogil:
    """``dst[x, c] = src[index[x, c], c]`` for the last x that names a cell, 0 for those before; return as `place`."""
    cdef ptrdiff_t x, c, at, to, bad = -1
    cdef int64_t i
    memset(taken, 0, cells * inner)
    for x in range(pooled - 1, -1, -1):
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


cdef unpool_fn unpool_of(bits_t* kind, bint backward) noexcept:
    return <unpool_fn> fetch[bits_t] if backward else <unpool_fn> place[bits_t]


cdef ptrdiff_t unpool_maps(
    unpool_fn run, char* dst, const char* src, const int64_t* index, char* taken, ptrdiff_t pooled, ptrdiff_t cells,
    ptrdiff_t inner, ptrdiff_t to, ptrdiff_t of, ptrdiff_t begin, ptrdiff_t end,
) noexcept nogil:
    """Run over outer elements begin to end, whose maps have `to` bytes in `dst` and `of` bytes in `src`."""
    cdef ptrdiff_t outer, bad
    for outer in range(begin, end):
        bad = run(
            dst + outer * to, src + outer * of, index + outer * pooled * inner, taken, pooled, cells, inner)
        if bad >= 0:
            return outer * pooled * inner + bad
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
    cdef unpool_fn run
    cdef ptrdiff_t small = pooled * inner * itemsize
    cdef ptrdiff_t large = cells * inner * itemsize
    cdef ptrdiff_t to = small if backward else large
    cdef ptrdiff_t of = large if backward else small
    cdef ptrdiff_t t, nbytes, first_bad = -1
    if itemsize == 1:
        run = unpool_of(<uint8_t*> NULL, backward)
    elif itemsize == 2:
        run = unpool_of(<uint16_t*> NULL, backward)
    elif itemsize == 4:
        run = unpool_of(<uint32_t*> NULL, backward)
    elif itemsize == 8:
        run = unpool_of(<uint64_t*> NULL, backward)
    else:
        raise ValueError("these kernels do not know elements of this size")
    cdef Buffer source = Buffer(src, outer * of)
    cdef Buffer index = Buffer(indices, outer * pooled * inner * 8)
    cdef Buffer target = Buffer(dst, outer * to, True)
    if outer == 0 or inner == 0:
        return -1
    threads = max(1, min(threads, outer))
    nbytes = round_up(cells * inner if backward else 1, 64)
    cdef char* taken = scratch_for(threads, nbytes)
    cdef ptrdiff_t* bads = <ptrdiff_t*> malloc(threads * sizeof(ptrdiff_t))
    if bads == NULL:
        free(taken)
        raise MemoryError(f"no memory for the answers of {threads} threads")
    with nogil:
        if threads == 1:
            bads[0] = unpool_maps(
                run, target.data, source.data, <int64_t*> index.data, taken, pooled, cells, inner, to, of, 0, outer)
        else:
            for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                bads[t] = unpool_maps(
                    run, target.data, source.data, <int64_t*> index.data, taken + t * nbytes, pooled, cells, inner, to,
                    of, outer * t // threads, outer * (t + 1) // threads)
        for t in range(threads):
            if bads[t] >= 0:
                first_bad = bads[t]
                break
        free(bads)
        free(taken)
    return first_bad
