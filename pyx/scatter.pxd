# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Leaf loops of gradients: numbers that are sent to the cells they belong to, and added there."""

from types cimport int64_t, real_t, uint64_t


cdef inline void add_spread(real_t* dst, const real_t* src, ptrdiff_t n, ptrdiff_t step) noexcept nogil:
    """``dst[x * step] += src[x]`` for x below n."""
    cdef ptrdiff_t x
    if step == 1:
        for x in range(n):
            dst[x] += src[x]
    elif step == 2:
        for x in range(n):
            dst[2 * x] += src[x]
    else:
        for x in range(n):
            dst[x * step] += src[x]


cdef inline void interleave_step(
    real_t* dst, const real_t* src, ptrdiff_t apart, ptrdiff_t n, const ptrdiff_t ways
) noexcept nogil:
    cdef ptrdiff_t x, way
    for x in range(n):
        for way in range(ways):
            dst[x * ways + way] = src[way * apart + x]


cdef inline void interleave(
    real_t* dst, const real_t* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t ways
) noexcept nogil:
    """``dst[x * ways + w] = src[w * apart + x]``, for x below n."""
    if ways == 2:
        interleave_step(dst, src, apart, n, 2)
    else:
        interleave_step(dst, src, apart, n, ways)


cdef inline void repeat_step(
    real_t* dst, const real_t* src, ptrdiff_t n, const ptrdiff_t times
) noexcept nogil:
    cdef ptrdiff_t x, i
    cdef real_t v
    for x in range(n):
        v = src[x]
        for i in range(times):
            dst[x * times + i] = v


cdef inline void repeat(real_t* dst, const real_t* src, ptrdiff_t n, ptrdiff_t times) noexcept nogil:
    """Write each of n values so many times."""
    if times == 2:
        repeat_step(dst, src, n, 2)
    elif times == 3:
        repeat_step(dst, src, n, 3)
    elif times == 4:
        repeat_step(dst, src, n, 4)
    else:
        repeat_step(dst, src, n, times)


cdef inline void add_run(real_t* dst, const real_t* src, ptrdiff_t n) noexcept nogil:
    """Add one value to n neighbours."""
    cdef ptrdiff_t x
    cdef real_t v = src[0]
    for x in range(n):
        dst[x] += v


cdef inline ptrdiff_t scatter(
    real_t* dst, const real_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells, bint checked, bint skip,
) noexcept nogil:
    """``dst[index[x, c] - first, c] += src[x, c]`` for cells from `first` on, and for so many of `inner` channels.

    If indices are to be checked, return the position of the first that names none of these cells, or -1. With `skip`,
    -1 is an index too: that of a window without any element, which has no gradient.
    """
    cdef ptrdiff_t x, c, bad = -1
    cdef int64_t i
    if inner == 1:
        for x in range(n):
            i = index[x] - first
            if <uint64_t> i < <uint64_t> cells:
                dst[i] += src[x]
            elif checked and not (skip and index[x] == -1) and bad < 0:
                bad = x
    else:
        for x in range(n // channels):
            for c in range(channels):
                i = index[x * channels + c] - first
                if <uint64_t> i < <uint64_t> cells:
                    dst[i * inner + c] += src[x * channels + c]
                elif checked and not (skip and index[x * channels + c] == -1) and bad < 0:
                    bad = x * channels + c
    return bad


cdef inline ptrdiff_t scatter_four(
    real_t* dst, const real_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t cells, bint checked,
    bint skip,
) noexcept nogil:
    """Do as `scatter` with n gradients of each of four planes of one channel, which lie `apart` gradients and `cells`
    cells apart, in turns: additions to one cell wait for each other, those of another plane do not.
    """
    cdef ptrdiff_t x
    cdef int p
    cdef int64_t i
    cdef ptrdiff_t bad[4]
    bad[0] = bad[1] = bad[2] = bad[3] = -1
    for x in range(n):
        for p in range(4):
            i = index[p * apart + x]
            if <uint64_t> i < <uint64_t> cells:
                dst[p * cells + i] += src[p * apart + x]
            elif checked and not (skip and i == -1) and bad[p] < 0:
                bad[p] = x
    for p in range(4):
        if bad[p] >= 0:
            return p * apart + bad[p]
    return -1


cdef inline void scatter_runs(
    real_t* dst, const real_t* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells,
) noexcept nogil:
    """Do as `scatter` where neighbours often name the same cell: an addition in memory waits for the one before it."""
    cdef ptrdiff_t x, c
    cdef int64_t named, i
    cdef real_t amount
    for c in range(channels):
        x = c
        while x < n:
            named = index[x]
            i = named - first
            if not <uint64_t> i < <uint64_t> cells:
                x += channels
                continue
            amount = dst[i * inner + c]
            while x < n and index[x] == named:
                amount += src[x]
                x += channels
            dst[i * inner + c] = amount
