# The leaves of across, argmax, scatter, conversions and division, as the loop nests call them: by bytes, without types.

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
ctypedef void (*mean_windows_fn)(
    void* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, double* ends,
    double factor) noexcept nogil
ctypedef void (*exchange_fn)(int32_t* sums, const void* enters, const void* leaves, ptrdiff_t n) noexcept nogil
ctypedef void (*pick_fn)(
    void* dst, ptrdiff_t outputs, const void* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
    ptrdiff_t taps, bint wide, void* reducer) noexcept nogil
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
    # The same for elements without NaN, which takes a third of the work; NULL where NaN makes no difference.
    across_fn across_plain
    along_fn along, along_stored
    # NULL where long windows are not made in strips.
    windows_fn windows, windows_stored
    # Products of long windows' sums and a factor, of stored rows and as they are stored; otherwise NULL.
    mean_windows_fn mean_windows
    # Adds one stored row to sums and subtracts another one; either may be NULL. NULL where sums are not exact, or not
    # of 32 bits.
    exchange_fn exchange
    # NULL where windows that have no one step are made one by one.
    pick_fn pick
    fill_fn identity, empty
    divide_fn divide
    divide_each_fn divide_each
    # Makes means of what the division left, where more than that is to be known of windows; otherwise NULL.
    divide_fn settle
    # Whether an element may be combined twice: not in a sum.
    bint overlaps
    # Of bytes, by what they are turned to order as unsigned ones do of which the greatest is looked for; to be summed,
    # by what they become unsigned. Otherwise -1.
    int turn


ctypedef void (*take_fn)(
    void* best, void* where, const void* src, int64_t here, ptrdiff_t n, ptrdiff_t step, void* reducer
) noexcept nogil
ctypedef void (*winners_fn)(
    void* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
    int64_t origin, void* reducer
) noexcept nogil
ctypedef void (*argmax_fn)(
    void* best, void* where, const void* src, const void* places, const taps_t* taps, int64_t here, ptrdiff_t n,
    ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, void* reducer
) noexcept nogil
ctypedef ptrdiff_t (*first_equal_fn)(const void* src, ptrdiff_t n, const void* value) noexcept nogil


cdef struct argmax_t:
    ptrdiff_t storage, value
    convert_fn load, store
    argmax_fn across
    take_fn take_wide
    first_equal_fn first_equal
    fill_fn identity, empty
    # NULL for the dtypes that c/winners.h has no loops for.
    winners_fn winners
    # Whether offsets need 64 bits, and whether indices are streamed.
    bint wide, streams
    # Whether values are held in keys, of which long windows are made, and by what they are turned in them.
    bint keyed
    uint8_t turn


ctypedef void (*add_spread_fn)(void* dst, const void* src, ptrdiff_t n, ptrdiff_t step) noexcept nogil
ctypedef void (*repeat_fn)(void* dst, const void* src, ptrdiff_t n, ptrdiff_t times) noexcept nogil
ctypedef void (*add_run_fn)(void* dst, const void* src, ptrdiff_t n) noexcept nogil
ctypedef void (*interleave_fn)(
    void* dst, const void* src, ptrdiff_t apart, ptrdiff_t n, ptrdiff_t ways) noexcept nogil
ctypedef ptrdiff_t (*scatter_fn)(
    void* dst, const void* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells, bint checked, bint skip
) noexcept nogil
ctypedef ptrdiff_t (*scatter_four_fn)(
    void* dst, const void* src, const int64_t* index, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t cells, bint checked,
    bint skip
) noexcept nogil
ctypedef void (*scatter_runs_fn)(
    void* dst, const void* src, const int64_t* index, ptrdiff_t n, ptrdiff_t inner, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t cells
) noexcept nogil


cdef struct gradient_t:
    # The leaves of a sum, and those that only gradients need.
    leaves_t sum
    add_spread_fn add_spread
    repeat_fn repeat
    add_run_fn add_run
    interleave_fn interleave
    scatter_fn scatter
    scatter_four_fn scatter_four
    scatter_runs_fn scatter_runs
