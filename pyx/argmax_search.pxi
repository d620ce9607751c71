# Argmaxes of long windows that hardly overlap: the maxima are made as without indices, and each is then looked for in
# its window, in the order of places, up to the first that equals it. Both are loops over many values at once, and the
# second of them goes through half of a window or so.


cdef inline bint any_equals(const value_t* src, const ptrdiff_t n, value_t v) noexcept nogil:
    """Whether one of n values equals v; a NaN equals every other."""
    cdef ptrdiff_t x
    # As wide as the values, so that comparisons need no conversion.
    cdef int64_t any64 = 0
    cdef int32_t any32 = 0
    cdef int16_t any16 = 0
    cdef int8_t any8 = 0
    if value_t is float or value_t is double:
        if v != v:
            for x in range(n):
                if value_t is float:
                    any32 |= src[x] != src[x]
                else:
                    any64 |= src[x] != src[x]
            return any32 != 0 or any64 != 0
    for x in range(n):
        if sizeof(value_t) == 1:
            any8 |= src[x] == v
        elif sizeof(value_t) == 2:
            any16 |= src[x] == v
        elif sizeof(value_t) == 4:
            any32 |= src[x] == v
        else:
            any64 |= src[x] == v
    return any8 != 0 or any16 != 0 or any32 != 0 or any64 != 0


cdef inline ptrdiff_t first_equal(const value_t* src, ptrdiff_t n, const value_t* value) noexcept nogil:
    """Return the place of the first of n values that equals another, or n."""
    cdef value_t v = value[0]
    cdef ptrdiff_t x = 0
    while x + 32 <= n and not any_equals(src + x, 32, v):
        x += 32
    while x + 8 <= n and not any_equals(src + x, 8, v):
        x += 8
    while x < n and not any_equals(src + x, 1, v):
        x += 1
    return x


cdef inline bint is_searched(const plan_t* plan) noexcept nogil:
    """Whether windows are so long, and overlap so little, that their argmaxes are found in this way."""
    cdef double inputs = 1
    cdef double outputs = 1
    cdef double least = SEARCHED_TAPS
    cdef int i
    if plan.inner != 1 or plan.axes[2].dilation != 1 or plan.axes[2].kernel_size < SEARCHED_ROW:
        return False
    for i in range(3):
        inputs *= <double> plan.axes[i].input_size
        outputs *= <double> plan.axes[i].output_size
        if plan.axes[i].adaptive:
            # The other ways make these one window after another.
            least = SEARCHED_ADAPTIVE_TAPS
    return plan.taps >= least and outputs * plan.taps <= 4 * inputs


cdef inline ptrdiff_t search_scratch(const plan_t* plan, const argmax_t* argmax) noexcept nogil:
    """Bytes for one thread: a value that is looked for, and a block of values."""
    return (BLOCK + 8) * argmax.value if argmax.load != NULL else 0


cdef inline ptrdiff_t place_in_line(
    const argmax_t* argmax, const char* line, ptrdiff_t n, const char* value, char* block
) noexcept nogil:
    """Return the place of the first of n stored elements that equals a value, or n."""
    cdef ptrdiff_t x, count, place
    if argmax.load == NULL:
        return argmax.first_equal(line, n, value)
    x = 0
    while x < n:
        # Of halves few at a time: what lies behind the place is converted for nothing.
        count = min(n - x, <ptrdiff_t> BLOCK // 8)
        argmax.load(block, line + x * argmax.storage, count)
        place = argmax.first_equal(block, count, value)
        if place < count:
            return x + place
        x += count
    return n


cdef ptrdiff_t search_windows(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    """Find the places of the maxima of output rows begin to end."""
    cdef const indexed_t* pooling = <const indexed_t*> job
    cdef const plan_t* plan = pooling.plan
    cdef const argmax_t* argmax = pooling.argmax
    cdef const axis_t* depth_axis = &plan.axes[0]
    cdef const axis_t* height_axis = &plan.axes[1]
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t storage = argmax.storage
    cdef ptrdiff_t cells = depth_axis.input_size * height_axis.input_size * axis.input_size
    cdef char* block = scratch + 8 * argmax.value
    cdef const char* plane
    cdef const char* value
    cdef char* result
    cdef ptrdiff_t row, rest, o, d, h, at, place, index
    cdef window_t depth, height, window
    for row in range(begin, end):
        height = window_of(height_axis, row % height_axis.output_size)
        rest = row // height_axis.output_size
        depth = window_of(depth_axis, rest % depth_axis.output_size)
        plane = pooling.src + rest // depth_axis.output_size * cells * storage
        for o in range(axis.output_size):
            window = window_of(axis, o)
            result = pooling.dst + (row * axis.output_size + o) * storage
            if is_stopped(scratch, depth.count * height.count * (8 + window.count)):
                return -1
            value = result
            if argmax.load != NULL:
                argmax.load(scratch, result, 1)
                value = scratch
            index = -1
            for d in range(depth.count if window.count else 0):
                for h in range(height.count):
                    at = ((depth.first + d * depth_axis.dilation) * height_axis.input_size + height.first
                          + h * height_axis.dilation) * axis.input_size + window.first
                    place = place_in_line(argmax, plane + at * storage, window.count, value, block)
                    if place < window.count:
                        index = at + place
                        break
                if index >= 0:
                    break
            pooling.indices[row * axis.output_size + o] = index
            if index >= 0 and argmax.load == NULL:
                # Of two zeros, or of several NaN, the first.
                memcpy(result, plane + index * storage, storage)
    return -1


cdef bint argmax_search_fits(const call_t* call) noexcept nogil:
    return is_searched(call.plan)


cdef ptrdiff_t argmax_search_tasks(const call_t* call) noexcept nogil:
    return rows_of_output(call.plan)


cdef ptrdiff_t argmax_search_bytes(const call_t* call) noexcept nogil:
    return search_scratch(call.plan, call.argmax)
