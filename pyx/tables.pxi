# One table tells which leaves serve which reducer and dtype; a combination that is not in it does not exist.

REDUCERS = {"greatest": 0, "greatest_number": 1, "smallest": 2, "smallest_number": 3, "total": 4}

# Dtype of the arrays and, behind the arrow, what rows hold where that differs.
KINDS = {
    name: number for number, name in enumerate((
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
        "float32->float64",
    ))
}

cdef leaves_t LEAVES[5][11]
cdef contest_t CONTESTS[5][11]
cdef gradient_t GRADIENTS[11]


cdef void widen(double* dst, const float* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = src[x]


cdef void narrow(float* dst, const double* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = <float> src[x]


cdef void take_as(
    value_t* best, offset_t* where, const value_t* src, int64_t here, ptrdiff_t n, ptrdiff_t step, order_t* reducer
) noexcept nogil:
    """Give `take` the signature that all offsets share."""
    take(best, where, src, <offset_t> here, n, step, reducer)


cdef void enter(value_t* kind, reducer_t* reducer, leaves_t* leaves) noexcept:
    leaves.storage = sizeof(value_t)
    leaves.value = sizeof(value_t)
    leaves.load = NULL
    leaves.store = NULL
    leaves.across = <across_fn> across[value_t, reducer_t]
    leaves.along = <along_fn> along[value_t, reducer_t]
    leaves.across_stored = leaves.across
    leaves.along_stored = leaves.along
    leaves.identity = <fill_fn> fill_identity[value_t, reducer_t]
    leaves.empty = <fill_fn> fill_empty[value_t, reducer_t]
    leaves.divide = NULL
    leaves.divide_each = NULL
    if reducer_t is total:
        if value_t is float or value_t is double:
            leaves.divide = <divide_fn> divide[value_t]
            leaves.divide_each = <divide_each_fn> divide_each[value_t]


cdef void enter_contest(value_t* kind, order_t* reducer, contest_t* contest) noexcept:
    contest.storage = sizeof(value_t)
    contest.value = sizeof(value_t)
    contest.load = NULL
    contest.store = NULL
    contest.take = <take_fn> take_as[value_t, int32_t, order_t]
    contest.take_wide = <take_fn> take_as[value_t, int64_t, order_t]
    contest.identity = <fill_fn> fill_identity[value_t, order_t]
    contest.empty = <fill_fn> fill_empty[value_t, order_t]


cdef void enter_dtype(value_t* kind, int number) noexcept:
    enter(kind, <greatest*> NULL, &LEAVES[0][number])
    enter(kind, <greatest_number*> NULL, &LEAVES[1][number])
    enter(kind, <smallest*> NULL, &LEAVES[2][number])
    enter(kind, <smallest_number*> NULL, &LEAVES[3][number])
    enter_contest(kind, <greatest*> NULL, &CONTESTS[0][number])
    enter_contest(kind, <greatest_number*> NULL, &CONTESTS[1][number])
    enter_contest(kind, <smallest*> NULL, &CONTESTS[2][number])
    enter_contest(kind, <smallest_number*> NULL, &CONTESTS[3][number])


cdef void enter_sum(real_t* kind, int number) noexcept:
    enter(kind, <total*> NULL, &LEAVES[4][number])
    GRADIENTS[number].sum = LEAVES[4][number]
    GRADIENTS[number].add_spread = <add_spread_fn> add_spread[real_t]
    GRADIENTS[number].add_run = <add_run_fn> add_run[real_t]
    GRADIENTS[number].scatter = <scatter_fn> scatter[real_t]


cdef void enter_all() noexcept:
    memset(LEAVES, 0, sizeof(LEAVES))
    memset(CONTESTS, 0, sizeof(CONTESTS))
    memset(GRADIENTS, 0, sizeof(GRADIENTS))
    enter_dtype(<int8_t*> NULL, 0)
    enter_dtype(<int16_t*> NULL, 1)
    enter_dtype(<int32_t*> NULL, 2)
    enter_dtype(<int64_t*> NULL, 3)
    enter_dtype(<uint8_t*> NULL, 4)
    enter_dtype(<uint16_t*> NULL, 5)
    enter_dtype(<uint32_t*> NULL, 6)
    enter_dtype(<uint64_t*> NULL, 7)
    enter_dtype(<float*> NULL, 8)
    enter_dtype(<double*> NULL, 9)
    enter_sum(<float*> NULL, 8)
    enter_sum(<double*> NULL, 9)
    LEAVES[4][10] = LEAVES[4][9]
    LEAVES[4][10].storage = sizeof(float)
    LEAVES[4][10].load = <convert_fn> widen
    LEAVES[4][10].across_stored = <across_fn> widen_across
    LEAVES[4][10].along_stored = <along_fn> widen_along
    LEAVES[4][10].store = <convert_fn> narrow
    GRADIENTS[10] = GRADIENTS[9]
    GRADIENTS[10].sum = LEAVES[4][10]
    GRADIENTS[10].scatter = NULL


enter_all()
