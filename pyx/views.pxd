# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Arrays that do not lie side by side, and copies of parts of them that do."""

cdef extern from "c/views.h" nogil:
    int MOST_AXES "POOLING_MOST_AXES"
    ctypedef struct view_t "pooling_view_t":
        int axes, across
        ptrdiff_t itemsize, together, tasks
    void lay_view "pooling_lay_view"(
        view_t* view, int axes, const ptrdiff_t* sizes, const ptrdiff_t* steps, ptrdiff_t itemsize)
    void gather "pooling_gather"(const view_t* view, char* dst, const char* src, ptrdiff_t begin, ptrdiff_t end)


cdef struct maps_t:
    # Maps of an array that lie anywhere: so many, each of so many bytes and of `axes` axes.
    const char* begin
    ptrdiff_t count, nbytes, itemsize
    int axes
    ptrdiff_t sizes[4]
    ptrdiff_t steps[4]
    # Sizes and steps of the two axes that count maps; 1 and 0 where there are fewer.
    ptrdiff_t outer_sizes[2]
    ptrdiff_t outer_steps[2]
    # Whether each map lies as kernels read it, or each row of its first axis does; whether neighbours in memory are
    # elements of different maps.
    bint lying, rows_lying, crossed


cdef inline const char* map_at(const maps_t* maps, ptrdiff_t number) noexcept nogil:
    """Where a map begins."""
    return (
        maps.begin + number // maps.outer_sizes[1] * maps.outer_steps[0]
        + number % maps.outer_sizes[1] * maps.outer_steps[1])


cdef inline void gather_maps(
    const maps_t* maps, char* dst, ptrdiff_t first, ptrdiff_t count, ptrdiff_t row, ptrdiff_t rows
) noexcept nogil:
    """Copy so many maps, of each so many rows of its first axis, to where they lie side by side."""
    cdef view_t view
    cdef ptrdiff_t sizes[5]
    cdef ptrdiff_t steps[5]
    cdef int i
    cdef ptrdiff_t more
    for i in range(maps.axes):
        sizes[i + 1] = maps.sizes[i]
        steps[i + 1] = maps.steps[i]
    sizes[1] = rows
    steps[0] = maps.outer_steps[1]
    while count:
        # As many as lie at equal distances.
        more = min(count, maps.outer_sizes[1] - first % maps.outer_sizes[1])
        sizes[0] = more
        lay_view(&view, maps.axes + 1, sizes, steps, maps.itemsize)
        gather(&view, dst, map_at(maps, first) + row * maps.steps[0], 0, view.tasks)
        dst += maps.nbytes // maps.sizes[0] * rows * more
        first += more
        count -= more
