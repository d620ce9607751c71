# The leaves of rows.pxd and conversions.pxd, as the loop nests call them: by bytes, without types.

ctypedef void (*convert_fn)(void* dst, const void* src, ptrdiff_t n) noexcept nogil
ctypedef void (*across_fn)(
    void* dst, const void* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, void* reducer) noexcept nogil
ctypedef void (*along_fn)(
    void* dst, const void* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t dst_step,
    bint accumulate, void* reducer
) noexcept nogil
ctypedef void (*windows_fn)(
    void* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, void* ends,
    void* reducer) noexcept nogil
ctypedef void (*fill_fn)(void* dst, ptrdiff_t n, void* reducer) noexcept nogil
ctypedef void (*divide_fn)(void* row, ptrdiff_t n, double divisor) noexcept nogil
ctypedef void (*divide_each_fn)(
    void* row, const double* divisors64, const float* divisors32, ptrdiff_t n) noexcept nogil


cdef struct leaves_t:
    # Bytes of an element in the arrays, and of a value in the rows.
    ptrdiff_t storage, value
    # NULL where rows hold the array's own dtype, or leaves read it as it is stored.
    convert_fn load
    # NULL where rows hold the array's own dtype.
    convert_fn store
    across_fn across, across_stored
    along_fn along, along_stored
    # NULL where long windows are not made in strips.
    windows_fn windows, windows_stored
    fill_fn identity, empty
    divide_fn divide
    divide_each_fn divide_each
    # Makes means of what the division left, where more than that is to be known of windows; otherwise NULL.
    divide_fn settle
    # Whether an element may be combined twice: not in a sum.
    bint overlaps
