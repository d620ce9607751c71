# One table tells which leaves serve which reducer and dtype; a combination that is not in it does not exist.

REDUCERS = {
    "greatest": GREATEST, "greatest_number": GREATEST_NUMBER, "smallest": SMALLEST, "smallest_number": SMALLEST_NUMBER,
    "total": TOTAL, "total_number": TOTAL_NUMBER, "count_number": COUNT_NUMBER,
}

ROUNDINGS = {"half_even": 0, "half_up": 1, "floor": 2, "trunc": 3}

cdef enum:
    # Dtype of the arrays; what rows hold follows from it, but for sums of narrow floats, which may also be double.
    INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT16, BFLOAT16, FLOAT32, FLOAT64, FLOAT16_AS_64,
    BFLOAT16_AS_64, FLOAT32_AS_64, KINDS_

KINDS = {
    "int8": INT8, "int16": INT16, "int32": INT32, "int64": INT64,
    "uint8": UINT8, "uint16": UINT16, "uint32": UINT32, "uint64": UINT64, "bool": UINT8,
    "float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32, "float64": FLOAT64,
    "float16->float64": FLOAT16_AS_64, "bfloat16->float64": BFLOAT16_AS_64, "float32->float64": FLOAT32_AS_64,
}

cdef leaves_t LEAVES[REDUCERS_][KINDS_]
# Sums of so few small integers that 16 bits can hold them, and 32.
cdef leaves_t SHORT_SUMS[2][KINDS_]
cdef argmax_t ARGMAX[TOTAL + 1][KINDS_]
cdef gradient_t GRADIENTS[KINDS_]
# Division of integer sums by rounding: of 16, 32, 64 and 128 bits.
cdef divide_fn DIVIDE[4][4]
cdef divide_each_fn DIVIDE_EACH[4][4]


cdef inline int width_of(ptrdiff_t size) noexcept:
    """Position in those tables of sums of so many bytes."""
    return (size > 2) + (size > 4) + (size > 8)


# The leaves under the signatures that the nests call.

cdef void widen(wide_t* dst, const stored_t* src, ptrdiff_t n) noexcept nogil:
    widen_group(dst, src, 0, 1, n, 1, 1, 0, 0, False)


cdef void scale_double(double* row, ptrdiff_t n, double divisor) noexcept nogil:
    """Divide what is going to be rounded to float: the error of a reciprocal in double is far below that rounding."""
    cdef ptrdiff_t x
    cdef double v
    cdef double reciprocal = 1 / divisor
    if not 1 <= divisor <= 9007199254740992.0:
        divide(row, n, divisor)
        return
    for x in range(n):
        v = row[x] * reciprocal
        row[x] = v if v == v else NAN


cdef void narrow_double(float* dst, const double* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = <float> src[x]


# Means of what is no NaN: a division subtracts the NaN from the elements that count, which leaves the numbers.

cdef inline double numbers_among(double elements, double missing) noexcept nogil:
    """How many elements are numbers; -1 for none of none."""
    return -1 if elements == 0 and missing == 0 else elements - missing


cdef void count_numbers(pair_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    cdef double* parts = <double*> row
    cdef ptrdiff_t x
    for x in range(n):
        parts[2 * x + 1] = numbers_among(divisor, parts[2 * x + 1])


cdef void count_numbers_each(
    pair_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    cdef double* parts = <double*> row
    cdef ptrdiff_t x
    for x in range(n):
        parts[2 * x + 1] = numbers_among(divisors64[x], parts[2 * x + 1])


cdef void settle_means(pair_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    """Divide by the numbers, or by a divisor that is no NaN."""
    cdef double* parts = <double*> row
    cdef ptrdiff_t x
    cdef double v
    if divisor == divisor:
        for x in range(n):
            v = parts[2 * x] / divisor
            parts[2 * x] = v if v == v and parts[2 * x + 1] != 0 else NAN
    else:
        for x in range(n):
            v = parts[2 * x] / parts[2 * x + 1]
            parts[2 * x] = v if v == v and parts[2 * x + 1] > 0 else NAN


cdef void settle_counts(pair_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    cdef double* parts = <double*> row
    cdef ptrdiff_t x
    for x in range(n):
        parts[2 * x] = max(parts[2 * x + 1], 0)


cdef void store_numbers(real_t* dst, const pair_t* src, ptrdiff_t n) noexcept nogil:
    cdef const double* parts = <const double*> src
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = <real_t> parts[2 * x]


cdef void double_to_float16(float16_t* dst, const double* src, ptrdiff_t n) noexcept nogil:
    cdef float odd[64]
    cdef ptrdiff_t x
    cdef ptrdiff_t count
    for x in range(0, n, 64):
        count = min(n - x, 64)
        round_to_odd(odd, src + x, count)
        float_to_float16(dst + x, odd, count)


cdef void double_to_bfloat16(bfloat16_t* dst, const double* src, ptrdiff_t n) noexcept nogil:
    cdef float odd[64]
    cdef ptrdiff_t x
    cdef ptrdiff_t count
    for x in range(0, n, 64):
        count = min(n - x, 64)
        round_to_odd(odd, src + x, count)
        float_to_bfloat16(dst + x, odd, count)


cdef void store_float16_numbers(float16_t* dst, const pair_t* src, ptrdiff_t n) noexcept nogil:
    cdef double numbers[64]
    cdef ptrdiff_t x, count
    for x in range(0, n, 64):
        count = min(n - x, 64)
        store_numbers(numbers, src + x, count)
        double_to_float16(dst + x, numbers, count)


cdef void store_bfloat16_numbers(bfloat16_t* dst, const pair_t* src, ptrdiff_t n) noexcept nogil:
    cdef double numbers[64]
    cdef ptrdiff_t x, count
    for x in range(0, n, 64):
        count = min(n - x, 64)
        store_numbers(numbers, src + x, count)
        double_to_bfloat16(dst + x, numbers, count)


cdef alone_t across_rare_as(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, reducer_t* reducer,
) noexcept nogil:
    across_rare(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, number_of(reducer))


cdef alone_t across_usual_as(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, reducer_t* reducer,
) noexcept nogil:
    across(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, number_of(reducer))


cdef void across_as(
    value_t* dst, const value_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, reducer_t* reducer,
) noexcept nogil:
    if is_rare(dst, stride, taps, n, step, rows, dst_row, src_row, accumulate):
        across_rare_as(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, reducer)
    else:
        # Alone as well: whatever stands beside these loops changes what compilers make of them.
        across_usual_as(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, reducer)


cdef void across_plain_as(
    real_t* dst, const real_t* src, ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate, extreme_t* reducer,
) noexcept nogil:
    if extreme_t is greatest:
        across(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, GREATEST_PLAIN)
    else:
        across(dst, src, stride, taps, n, step, rows, dst_row, src_row, accumulate, SMALLEST_PLAIN)


cdef void along_as(
    value_t* dst, const value_t* src, ptrdiff_t n, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t dst_step,
    bint accumulate, reducer_t* reducer,
) noexcept nogil:
    along(dst, src, n, step, taps, dst_step, accumulate, number_of(reducer))


cdef void windows_as(
    value_t* dst, ptrdiff_t dst_row, const void** rows, ptrdiff_t taps, ptrdiff_t outputs, ptrdiff_t n, value_t* ends,
    reducer_t* reducer,
) noexcept nogil:
    windows(dst, dst_row, rows, taps, outputs, n, ends, number_of(reducer))


cdef void pick_as(
    float* dst, ptrdiff_t outputs, const float* src, ptrdiff_t src_row, ptrdiff_t rows, const int32_t* places,
    ptrdiff_t taps, bint wide, reducer_t* reducer,
) noexcept nogil:
    if reducer_t is total:
        pick_sums(dst, outputs, src, src_row, rows, places, taps, wide)
    elif reducer_t is greatest:
        pick_greatest(dst, outputs, src, src_row, rows, places, taps, wide)
    elif reducer_t is smallest:
        pick_smallest(dst, outputs, src, src_row, rows, places, taps, wide)
    elif reducer_t is greatest_number:
        pick_greatest_number(dst, outputs, src, src_row, rows, places, taps, wide)
    else:
        pick_smallest_number(dst, outputs, src, src_row, rows, places, taps, wide)


cdef void identity_as(value_t* dst, ptrdiff_t n, reducer_t* reducer) noexcept nogil:
    fill_identity(dst, n, number_of(reducer))


cdef void empty_as(value_t* dst, ptrdiff_t n, reducer_t* reducer) noexcept nogil:
    fill_empty(dst, n, number_of(reducer))


cdef void argmax_tap_as(
    value_t* best, int64_t* where, const value_t* src, int64_t here, ptrdiff_t n, ptrdiff_t step, order_t* reducer
) noexcept nogil:
    argmax_tap(best, where, src, here, n, step, number_of(reducer))


cdef void argmax_as(
    value_t* best, int32_t* where, const value_t* src, const int32_t* places, const taps_t* taps, int64_t here,
    ptrdiff_t n, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t dst_row, ptrdiff_t src_row, bint accumulate,
    order_t* reducer,
) noexcept nogil:
    argmax_across(
        best, where, src, places, taps, <int32_t> here, n, step, rows, dst_row, src_row, accumulate, number_of(reducer))


cdef void winners_as(
    value_t* best, int64_t* index, const void** rows, const int32_t* places, int count, const across_row_t* across,
    int64_t origin, order_t* reducer,
) noexcept nogil:
    winners(best, index, rows, places, count, across, origin, number_of(reducer))


cdef void load_float16_nan_above(int16_t* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    half_to_key(dst, src, n, FLOAT16_INFINITY, NAN_ABOVE)


cdef void load_float16_nan_below(int16_t* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    half_to_key(dst, src, n, FLOAT16_INFINITY, NAN_BELOW)


cdef void load_bfloat16_nan_above(int16_t* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    half_to_key(dst, src, n, BFLOAT16_INFINITY, NAN_ABOVE)


cdef void load_bfloat16_nan_below(int16_t* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    half_to_key(dst, src, n, BFLOAT16_INFINITY, NAN_BELOW)


cdef void fill_key(int16_t* dst, ptrdiff_t n, int16_t key) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = key


# A window without any element: minus infinity for the greatest, infinity for the smallest.

cdef void float16_none_greatest(int16_t* dst, ptrdiff_t n, void* _reducer) noexcept nogil:
    fill_key(dst, n, -FLOAT16_INFINITY)


cdef void float16_none_smallest(int16_t* dst, ptrdiff_t n, void* _reducer) noexcept nogil:
    fill_key(dst, n, FLOAT16_INFINITY)


cdef void bfloat16_none_greatest(int16_t* dst, ptrdiff_t n, void* _reducer) noexcept nogil:
    fill_key(dst, n, -BFLOAT16_INFINITY)


cdef void bfloat16_none_smallest(int16_t* dst, ptrdiff_t n, void* _reducer) noexcept nogil:
    fill_key(dst, n, BFLOAT16_INFINITY)


cdef void store_integers(integer_t* dst, const sum_t* src, ptrdiff_t n) noexcept nogil:
    saturate(dst, src, n, lowest(dst), highest(dst))


cdef void divide_half_even(sum_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    divide_integers(row, n, divisor, HALF_EVEN)


cdef void divide_half_up(sum_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    divide_integers(row, n, divisor, HALF_UP)


cdef void divide_floor(sum_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    divide_integers(row, n, divisor, FLOOR)


cdef void divide_trunc(sum_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    divide_integers(row, n, divisor, TRUNC)


cdef void divide_each_half_even(
    sum_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    divide_integers_each(row, divisors64, divisors32, n, HALF_EVEN)


cdef void divide_each_half_up(
    sum_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    divide_integers_each(row, divisors64, divisors32, n, HALF_UP)


cdef void divide_each_floor(
    sum_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    divide_integers_each(row, divisors64, divisors32, n, FLOOR)


cdef void divide_each_trunc(
    sum_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    divide_integers_each(row, divisors64, divisors32, n, TRUNC)


cdef inline bint has_quick_quotients(double divisor) noexcept nogil:
    """Whether c/running.h divides by this; powers of two are shifts."""
    return 1 <= divisor <= 4194304.0 and divisor == <double> <int32_t> divisor and (
        <int32_t> divisor & (<int32_t> divisor - 1)) != 0


cdef void divide_short_half_even(int32_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    if has_quick_quotients(divisor):
        quotients_half_even(row, n, <int32_t> divisor)
    else:
        divide_half_even(row, n, divisor)


cdef void divide_short_half_up(int32_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    if has_quick_quotients(divisor):
        quotients_half_up(row, n, <int32_t> divisor)
    else:
        divide_half_up(row, n, divisor)


cdef void divide_short_floor(int32_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    if has_quick_quotients(divisor):
        quotients_floor(row, n, <int32_t> divisor)
    else:
        divide_floor(row, n, divisor)


cdef void divide_short_trunc(int32_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    if has_quick_quotients(divisor):
        quotients_trunc(row, n, <int32_t> divisor)
    else:
        divide_trunc(row, n, divisor)


cdef void enter_quick_quotients() noexcept:
    """Quotients of sums of 32 bits by reciprocals, in the place of divisions."""
    DIVIDE[0][width_of(4)] = <divide_fn> divide_short_half_even
    DIVIDE[1][width_of(4)] = <divide_fn> divide_short_half_up
    DIVIDE[2][width_of(4)] = <divide_fn> divide_short_floor
    DIVIDE[3][width_of(4)] = <divide_fn> divide_short_trunc


cdef void enter_roundings(sum_t* kind) noexcept:
    cdef int wide = width_of(sizeof(sum_t))
    DIVIDE[0][wide] = <divide_fn> divide_half_even[sum_t]
    DIVIDE[1][wide] = <divide_fn> divide_half_up[sum_t]
    DIVIDE[2][wide] = <divide_fn> divide_floor[sum_t]
    DIVIDE[3][wide] = <divide_fn> divide_trunc[sum_t]
    DIVIDE_EACH[0][wide] = <divide_each_fn> divide_each_half_even[sum_t]
    DIVIDE_EACH[1][wide] = <divide_each_fn> divide_each_half_up[sum_t]
    DIVIDE_EACH[2][wide] = <divide_each_fn> divide_each_floor[sum_t]
    DIVIDE_EACH[3][wide] = <divide_each_fn> divide_each_trunc[sum_t]


cdef void enter(value_t* kind, reducer_t* reducer, leaves_t* leaves) noexcept:
    leaves.storage = sizeof(value_t)
    leaves.value = sizeof(value_t)
    leaves.load = NULL
    leaves.store = NULL
    leaves.across = <across_fn> across_as[value_t, reducer_t]
    leaves.along = <along_fn> along_as[value_t, reducer_t]
    leaves.across_stored = leaves.across
    leaves.across_plain = NULL
    leaves.along_stored = leaves.along
    leaves.windows = NULL
    if reducer_t is not total and sizeof(value_t) <= 8:
        leaves.windows = <windows_fn> windows_as[value_t, reducer_t]
    leaves.windows_stored = leaves.windows
    leaves.mean_windows = NULL
    leaves.exchange = NULL
    leaves.pick = NULL
    if value_t is float:
        if PICKS:
            leaves.pick = <pick_fn> pick_as[reducer_t]
    leaves.identity = <fill_fn> identity_as[value_t, reducer_t]
    leaves.empty = <fill_fn> empty_as[value_t, reducer_t]
    leaves.divide = NULL
    leaves.divide_each = NULL
    leaves.settle = NULL
    leaves.overlaps = reducer_t is not total
    leaves.turn = -1
    if value_t is uint8_t and reducer_t is not total:
        leaves.turn = 0 if reducer_t is greatest else 255
    if value_t is int8_t and reducer_t is not total:
        leaves.turn = 128 if reducer_t is greatest else 127
    if reducer_t is total:
        if value_t is float or value_t is double:
            leaves.divide = <divide_fn> divide[value_t]
            leaves.divide_each = <divide_each_fn> divide_each[value_t]


cdef void enter_argmax(value_t* kind, order_t* reducer, argmax_t* argmax) noexcept:
    argmax.storage = sizeof(value_t)
    argmax.value = sizeof(value_t)
    argmax.load = NULL
    argmax.store = NULL
    argmax.across = <argmax_fn> argmax_as[value_t, order_t]
    argmax.take_wide = <take_fn> argmax_tap_as[value_t, order_t]
    argmax.first_equal = <first_equal_fn> first_equal[value_t]
    argmax.winners = NULL
    if has_winners(kind):
        argmax.winners = <winners_fn> winners_as[value_t, order_t]
    argmax.identity = <fill_fn> identity_as[value_t, order_t]
    argmax.empty = <fill_fn> empty_as[value_t, order_t]


cdef void convert(leaves_t* leaves, ptrdiff_t storage, convert_fn load, convert_fn store) noexcept:
    """Let rows hold something else than the arrays."""
    leaves.storage = storage
    leaves.load = load
    leaves.store = store
    leaves.across_stored = NULL
    leaves.along_stored = NULL
    leaves.windows_stored = NULL


cdef void enter_wide(wide_t* wide, stored_t* stored, convert_fn store, leaves_t* leaves) noexcept:
    """Sum in a wider type than the arrays hold."""
    enter(wide, <total*> NULL, leaves)
    convert(leaves, sizeof(stored_t), <convert_fn> widen[wide_t, stored_t], store)
    leaves.across_stored = <across_fn> widen_across[wide_t, stored_t]
    leaves.along_stored = <along_fn> widen_along[wide_t, stored_t]
    # A sum of halves in float would have as many roundings as a window has rows.
    if wide_t is not float and 4 <= sizeof(wide_t) <= 8:
        leaves.windows = <windows_fn> windows_as[wide_t, total]
        leaves.windows_stored = <windows_fn> widen_windows[wide_t, stored_t]


cdef void enter_numbers(stored_t* stored, convert_fn store, int number) noexcept:
    """Sum what is no NaN, and count it."""
    enter_wide(<pair_t*> NULL, stored, store, &LEAVES[TOTAL_NUMBER][number])
    LEAVES[TOTAL_NUMBER][number].divide = <divide_fn> count_numbers
    LEAVES[TOTAL_NUMBER][number].divide_each = <divide_each_fn> count_numbers_each
    LEAVES[TOTAL_NUMBER][number].settle = <divide_fn> settle_means
    if stored_t is float or stored_t is double:
        LEAVES[COUNT_NUMBER][number] = LEAVES[TOTAL_NUMBER][number]
        LEAVES[COUNT_NUMBER][number].settle = <divide_fn> settle_counts


cdef void enter_order(value_t* kind, int number) noexcept:
    enter(kind, <greatest*> NULL, &LEAVES[GREATEST][number])
    enter(kind, <smallest*> NULL, &LEAVES[SMALLEST][number])
    enter_argmax(kind, <greatest*> NULL, &ARGMAX[GREATEST][number])
    enter_argmax(kind, <smallest*> NULL, &ARGMAX[SMALLEST][number])
    if value_t is float or value_t is double:
        enter(kind, <greatest_number*> NULL, &LEAVES[GREATEST_NUMBER][number])
        enter(kind, <smallest_number*> NULL, &LEAVES[SMALLEST_NUMBER][number])
        enter_argmax(kind, <greatest_number*> NULL, &ARGMAX[GREATEST_NUMBER][number])
        enter_argmax(kind, <smallest_number*> NULL, &ARGMAX[SMALLEST_NUMBER][number])
    else:
        # Integers, and the keys that stand for halves, have no NaN to skip: one leaf serves both, which spares
        # the compiler a quarter of its work.
        LEAVES[GREATEST_NUMBER][number] = LEAVES[GREATEST][number]
        LEAVES[SMALLEST_NUMBER][number] = LEAVES[SMALLEST][number]
        ARGMAX[GREATEST_NUMBER][number] = ARGMAX[GREATEST][number]
        ARGMAX[SMALLEST_NUMBER][number] = ARGMAX[SMALLEST][number]


cdef void enter_plain(real_t* kind, int number) noexcept:
    LEAVES[GREATEST][number].across_plain = <across_fn> across_plain_as[real_t, greatest]
    LEAVES[SMALLEST][number].across_plain = <across_fn> across_plain_as[real_t, smallest]


cdef void enter_half(
    int number, convert_fn nan_above, convert_fn nan_below, fill_fn none_greatest, fill_fn none_smallest,
) noexcept:
    cdef int reducer
    enter_order(<int16_t*> NULL, number)
    for reducer in range(TOTAL):
        # NaN wins where it propagates, and loses where it is skipped.
        convert(
            &LEAVES[reducer][number], 2, nan_above if reducer == GREATEST or reducer == SMALLEST_NUMBER else nan_below,
            <convert_fn> key_to_half)
        LEAVES[reducer][number].empty = none_greatest if reducer <= GREATEST_NUMBER else none_smallest
        ARGMAX[reducer][number].load = LEAVES[reducer][number].load
        ARGMAX[reducer][number].store = LEAVES[reducer][number].store
        ARGMAX[reducer][number].empty = LEAVES[reducer][number].empty


cdef void enter_gradient(real_t* kind, int number) noexcept:
    """Gradients of the sums that are in the table already."""
    GRADIENTS[number].sum = LEAVES[TOTAL][number]
    GRADIENTS[number].add_spread = <add_spread_fn> add_spread[real_t]
    GRADIENTS[number].repeat = <repeat_fn> repeat[real_t]
    GRADIENTS[number].add_run = <add_run_fn> add_run[real_t]
    GRADIENTS[number].interleave = <interleave_fn> interleave[real_t]
    GRADIENTS[number].scatter = <scatter_fn> scatter[real_t]
    GRADIENTS[number].scatter_four = <scatter_four_fn> scatter_four[real_t]
    GRADIENTS[number].scatter_runs = <scatter_runs_fn> scatter_runs[real_t]


cdef void enter_long_halves(int number, ptrdiff_t storage, convert_fn load, convert_fn store) noexcept:
    """Sums of so many halves that float would round too often, on the loops of double."""
    enter(<double*> NULL, <total*> NULL, &LEAVES[TOTAL][number])
    convert(&LEAVES[TOTAL][number], storage, load, store)
    enter_gradient(<double*> NULL, number)


cdef inline exchange_fn exchange_of(integer_t* kind) noexcept:
    if integer_t is int8_t:
        return <exchange_fn> exchange_int8
    elif integer_t is uint8_t:
        return <exchange_fn> exchange_uint8
    elif integer_t is int16_t:
        return <exchange_fn> exchange_int16
    elif integer_t is uint16_t:
        return <exchange_fn> exchange_uint16
    else:
        return NULL


cdef void enter_integer(integer_t* kind, int number) noexcept:
    enter_order(kind, number)
    if integer_t is int64_t or integer_t is uint64_t:
        enter_wide(<int128_t*> NULL, kind, <convert_fn> store_integers[integer_t, int128_t], &LEAVES[TOTAL][number])
    else:
        enter_wide(<int64_t*> NULL, kind, <convert_fn> store_integers[integer_t, int64_t], &LEAVES[TOTAL][number])
    if sizeof(integer_t) < 4:
        enter_wide(<int32_t*> NULL, kind, <convert_fn> store_integers[integer_t, int32_t], &SHORT_SUMS[1][number])
        SHORT_SUMS[1][number].exchange = exchange_of(kind)
    if sizeof(integer_t) < 2:
        enter_wide(<int16_t*> NULL, kind, <convert_fn> store_integers[integer_t, int16_t], &SHORT_SUMS[0][number])
        SHORT_SUMS[0][number].turn = 128 if integer_t is int8_t else 0


cdef void enter_all() noexcept:
    memset(LEAVES, 0, sizeof(LEAVES))
    memset(SHORT_SUMS, 0, sizeof(SHORT_SUMS))
    memset(ARGMAX, 0, sizeof(ARGMAX))
    memset(GRADIENTS, 0, sizeof(GRADIENTS))
    enter_integer(<int8_t*> NULL, INT8)
    enter_integer(<int16_t*> NULL, INT16)
    enter_integer(<int32_t*> NULL, INT32)
    enter_integer(<int64_t*> NULL, INT64)
    enter_integer(<uint8_t*> NULL, UINT8)
    enter_integer(<uint16_t*> NULL, UINT16)
    enter_integer(<uint32_t*> NULL, UINT32)
    enter_integer(<uint64_t*> NULL, UINT64)
    enter_roundings(<int16_t*> NULL)
    enter_roundings(<int32_t*> NULL)
    enter_roundings(<int64_t*> NULL)
    enter_roundings(<int128_t*> NULL)
    enter_quick_quotients()
    enter_half(
        FLOAT16, <convert_fn> load_float16_nan_above, <convert_fn> load_float16_nan_below,
        <fill_fn> float16_none_greatest, <fill_fn> float16_none_smallest)
    enter_half(
        BFLOAT16, <convert_fn> load_bfloat16_nan_above, <convert_fn> load_bfloat16_nan_below,
        <fill_fn> bfloat16_none_greatest, <fill_fn> bfloat16_none_smallest)
    enter_order(<float*> NULL, FLOAT32)
    enter_order(<double*> NULL, FLOAT64)
    enter_plain(<float*> NULL, FLOAT32)
    enter_plain(<double*> NULL, FLOAT64)
    enter_wide(<float*> NULL, <float16_t*> NULL, <convert_fn> float_to_float16, &LEAVES[TOTAL][FLOAT16])
    enter_wide(<float*> NULL, <bfloat16_t*> NULL, <convert_fn> float_to_bfloat16, &LEAVES[TOTAL][BFLOAT16])
    enter(<float*> NULL, <total*> NULL, &LEAVES[TOTAL][FLOAT32])
    enter(<double*> NULL, <total*> NULL, &LEAVES[TOTAL][FLOAT64])
    enter_wide(<double*> NULL, <float*> NULL, <convert_fn> narrow_double, &LEAVES[TOTAL][FLOAT32_AS_64])
    LEAVES[TOTAL][FLOAT32_AS_64].divide = <divide_fn> scale_double
    LEAVES[TOTAL][FLOAT32_AS_64].mean_windows = <mean_windows_fn> mean_windows
    enter_numbers(<float16_t*> NULL, <convert_fn> store_float16_numbers, FLOAT16)
    enter_numbers(<bfloat16_t*> NULL, <convert_fn> store_bfloat16_numbers, BFLOAT16)
    enter_numbers(<float*> NULL, <convert_fn> store_numbers[float], FLOAT32)
    enter_numbers(<double*> NULL, <convert_fn> store_numbers[double], FLOAT64)
    enter_gradient(<float*> NULL, FLOAT16)
    enter_gradient(<float*> NULL, BFLOAT16)
    enter_gradient(<float*> NULL, FLOAT32)
    enter_gradient(<double*> NULL, FLOAT64)
    enter_gradient(<double*> NULL, FLOAT32_AS_64)
    enter_long_halves(FLOAT16_AS_64, 2, <convert_fn> widen[double, float16_t], <convert_fn> double_to_float16)
    enter_long_halves(BFLOAT16_AS_64, 2, <convert_fn> widen[double, bfloat16_t], <convert_fn> double_to_bfloat16)


enter_all()
