# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Arrays that do not lie side by side, and copies of parts of them that do."""

cdef extern from "c/views.h" nogil:
    int MOST_AXES "POOLING_MOST_AXES"
    ctypedef struct view_t "pooling_view_t":
        int axes, across
        ptrdiff_t itemsize, together, tiles, tasks
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
    cdef ptrdiff_t sizes[4]
    cdef int i
    cdef ptrdiff_t number
    for i in range(maps.axes):
        sizes[i] = maps.sizes[i]
    sizes[0] = rows
    lay_view(&view, maps.axes, sizes, maps.steps, maps.itemsize)
    for number in range(first, first + count):
        gather(&view, dst, map_at(maps, number) + row * maps.steps[0], 0, view.tasks)
        dst += maps.nbytes // maps.sizes[0] * rows
