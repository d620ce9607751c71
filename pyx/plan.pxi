# A plan is a geometry laid out for the loops: outer elements, three window axes (the last one varies fastest), inner
# elements. Anything simpler is filled up with axes of size 1 by pooling/plan.py.

cdef struct axis_t:
    ptrdiff_t input_size, output_size
    ptrdiff_t kernel_size, stride, dilation, pad_begin
    # Outputs in [begin, end) have whole windows; all others stand in the tables, in the order of their outputs.
    ptrdiff_t begin, end
    const int64_t *first
    const int64_t *count
    const int64_t *divisor
    # Whether windows follow from the sizes; the tables then have all of them.
    bint adaptive
    # Whether some window holds no element, and whether all have the kernel's size as their divisor.
    bint has_empty, whole_divisor


cdef struct window_t:
    ptrdiff_t first, count, divisor


cdef struct planes_t:
    # Narrow planes are pooled many at a time: stacked with their padding in one buffer of `height` rows a plane and
    # `width` cells a row, so that each pass is one long loop. Neighbours share the padding between them.
    ptrdiff_t stacked, height, width
    # Input rows and columns that windows reach, and rows and columns of the result, junk included.
    ptrdiff_t rows, columns, result_rows, result_columns
    # Whether windows look beyond the elements of a row.
    bint margin
    # Whether rows are combined straight from the input, which leaves only the rows of the result to be stacked.
    bint gather
    # Whether the input is such a buffer as it lies, and the output such a result.
    bint direct, direct_result
    # Or no buffer is needed: rows are as long before as after, so that windows slide along a whole stack at once.
    bint flat
    # One divisor for each cell of a plane's result, as both types of sums take it; NULL where one holds for all.
    double* divisors
    float* divisors32


cdef struct pieces_t:
    # Where winners are asked for, input rows are laid out with their padding so that each tap of all windows is one
    # loop. A piece is `rows` output rows of a plane, of which there are `bands`; `stacked` pieces are made together, or
    # none if planes are not of this kind. Rows that lie the stride apart make a phase, which holds `phase_rows` of each
    # piece, `width` cells long; a row of the result has `columns` cells, junk included.
    ptrdiff_t stacked, rows, bands, phase_rows, width, columns
    # Whether rows of the result are long enough to be made one by one, straight from the input and into the output.
    bint straight
    # Whether windows have no one step, so that the outputs of a column, and then of a row, are made together instead.
    bint adaptive


cdef struct sheaf_t:
    # How gradients of means are spread over whole planes: `stacked` of them together, or none if planes are not of this
    # kind. `width` gradients are a row, those behind it included that make the rows of cells long enough.
    ptrdiff_t stacked, width


cdef struct plan_t:
    ptrdiff_t outer, inner
    axis_t axes[3]
    # Outputs of the last axis are made in segments, so that a row stays in the first-level cache however long it is.
    ptrdiff_t segment, segments
    # Output rows that are made together; each call of a leaf then does as many.
    ptrdiff_t band
    # Input cells of the last axis that the windows of one segment span.
    ptrdiff_t span
    # Largest distance from the first tap of a window to its last one, in cells of the plane.
    ptrdiff_t reach
    # Most elements of a window.
    double taps
    bint average
    double divisor_override
    # Whether every window has the same divisor, and which.
    bint uniform
    double divisor
    # Divisor of sums that leave NaN out; NaN for the numbers that they hold. The divisors above count elements then.
    double number_divisor
    planes_t planes
    pieces_t pieces
    sheaf_t sheaf
    # Whether the winners of windows are found one window after another.
    bint apart


cdef inline window_t window_of(const axis_t* axis, ptrdiff_t output) noexcept nogil:
    cdef window_t window
    cdef ptrdiff_t i
    if axis.begin <= output < axis.end:
        window.first = output * axis.stride - axis.pad_begin
        window.count = axis.kernel_size
        window.divisor = axis.kernel_size
    else:
        i = output if output < axis.begin else output - (axis.end - axis.begin)
        window.first = axis.first[i]
        window.count = axis.count[i]
        window.divisor = axis.divisor[i]
    return window


cdef inline ptrdiff_t origin_of(const axis_t* axis, ptrdiff_t output, const window_t* window) noexcept nogil:
    """Cell of the first tap, which may lie in the padding."""
    return window.first if axis.adaptive else output * axis.stride - axis.pad_begin


cdef inline ptrdiff_t ceil_divide(ptrdiff_t a, ptrdiff_t b) noexcept nogil:
    """Round a / b up, for b > 0; C division rounds towards zero."""
    return a // b + (a % b > 0)


cdef inline bint slides_along(const axis_t* axis, ptrdiff_t inner) noexcept nogil:
    """Whether windows of the last axis are reduced one by one: long runs that hardly overlap."""
    return inner == 1 and axis.dilation == 1 and (
        axis.adaptive or (axis.kernel_size >= LANES and 2 * axis.stride >= axis.kernel_size))


cdef inline bint climbs(const axis_t* axis) noexcept nogil:
    """Whether windows overlap enough for the rungs to be shared."""
    return not axis.adaptive and axis.kernel_size >= LONG and axis.kernel_size >= 3 * axis.stride


cdef inline bint climbs_rows(const plan_t* plan) noexcept nogil:
    """Whether the rows of windows are combined so; those of several planes are not."""
    return climbs(&plan.axes[1]) and plan.axes[0].kernel_size == 1 and not plan.axes[0].adaptive


cdef inline ptrdiff_t rows_spanned(const axis_t* axis, ptrdiff_t outputs) noexcept nogil:
    """Rows from the first tap of the first of so many whole windows to the last tap of the last."""
    return min((outputs - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1, axis.input_size)


cdef inline ptrdiff_t round_up(ptrdiff_t a, ptrdiff_t b) noexcept nogil:
    return ceil_divide(a, b) * b


cdef inline ptrdiff_t reach_of(const axis_t* axis) noexcept nogil:
    """Cells, padding included, from the first tap of the first window to the last tap of the last."""
    if axis.adaptive:
        return axis.input_size
    return (axis.output_size - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1


cdef planes_t stack_planes(const plan_t* plan) except *:
    """Lay out narrow planes; `stacked` is 0 where rows are better pooled one by one."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef bint adaptive = height.adaptive or width.adaptive
    cdef planes_t planes
    cdef ptrdiff_t reach, cells, h, w
    cdef window_t row, column
    memset(&planes, 0, sizeof(planes))
    if (
        plan.outer == 0 or height.output_size == 0 or width.output_size == 0 or plan.inner != 1
        or plan.axes[0].has_empty or height.has_empty or width.has_empty or width.input_size > NARROW
        or (plan.average and not plan.uniform and not plan.axes[0].whole_divisor)
        or (slides_along(width, 1) and not width.adaptive) or height.input_size > STACK_CELLS
        or height.kernel_size * height.dilation > 32 or width.kernel_size * width.dilation > 32
    ):
        return planes
    planes.flat = (
        plan.axes[0].input_size == 1 and plan.axes[0].output_size == 1 and width.stride == 1
        and width.input_size == width.output_size and width.begin < width.end and height.begin < height.end
        and width.kernel_size < LONG and height.kernel_size < LONG
        and FLAT_SHARE * (width.output_size - (width.end - width.begin)) <= width.output_size)
    reach = reach_of(height)
    planes.rows = min(height.input_size, reach - height.pad_begin)
    planes.height = round_up(max(height.pad_begin + planes.rows, reach - height.pad_begin), height.stride)
    reach = reach_of(width)
    planes.columns = min(width.input_size, reach - width.pad_begin)
    planes.margin = width.pad_begin > 0 or planes.columns < reach_of(width)
    planes.width = round_up(max(width.pad_begin + planes.columns, reach - width.pad_begin), width.stride)
    # With a stride, most rows that a stack would hold combined are never asked for; adaptive windows have no one step.
    planes.gather = height.stride > 1 or adaptive
    if planes.gather:
        planes.height = height.output_size * height.stride
        # The passes go row by row; rows of whole vectors spare them what is left over.
        planes.width = round_up(planes.width, 8 if width.stride == 2 else 8 * width.stride)
    planes.direct = (
        not adaptive and plan.axes[0].input_size == 1 and plan.axes[0].output_size == 1
        and height.pad_begin == 0 and width.pad_begin == 0
        and height.input_size % height.stride == 0 and width.input_size % width.stride == 0
        and height.dilation * (height.kernel_size - 1) < height.stride
        and width.dilation * (width.kernel_size - 1) < width.stride)
    if planes.direct:
        planes.gather = False
        planes.height = height.input_size
        planes.width = width.input_size
    planes.result_rows = planes.height // height.stride
    planes.result_columns = planes.width // width.stride
    if planes.flat:
        planes.height = height.input_size
        planes.width = width.input_size
        planes.result_rows = height.output_size
        planes.result_columns = planes.width
    if width.adaptive:
        planes.width = round_up(max(planes.width, width.output_size), 8)
        planes.result_columns = width.output_size
    planes.direct_result = (
        planes.result_rows == height.output_size and planes.result_columns == width.output_size)
    if planes.height * planes.width > 2 * STACK_CELLS:
        return planes
    planes.stacked = max(1, STACK_CELLS // (planes.height * planes.width))
    if plan.average and not plan.uniform:
        cells = planes.result_rows * planes.result_columns
        planes.divisors = <double*> malloc(cells * (sizeof(double) + sizeof(float)))
        if planes.divisors == NULL:
            raise MemoryError("no memory for the divisors of a plane")
        planes.divisors32 = <float*> (planes.divisors + cells)
        for h in range(planes.result_rows):
            row = window_of(height, min(h, height.output_size - 1))
            for w in range(planes.result_columns):
                column = window_of(width, min(w, width.output_size - 1))
                planes.divisors[h * planes.result_columns + w] = <double> (
                    plan.axes[0].kernel_size * row.divisor * column.divisor)
        for h in range(cells):
            planes.divisors32[h] = <float> planes.divisors[h]
    return planes


cdef inline ptrdiff_t tree_depth(ptrdiff_t taps) noexcept:
    """Roundings of `across`: groups of four, added one by one; three make no full tree."""
    return taps - 1 if taps < 4 else ceil_divide(taps, 4) + 1


cdef ptrdiff_t most_covering(const axis_t* axis) noexcept:
    """Windows that hold the same input cell, at most."""
    cdef ptrdiff_t most = 1
    cdef ptrdiff_t step = axis.stride
    cdef ptrdiff_t other = axis.dilation
    if axis.adaptive:
        if axis.input_size == 0 or axis.input_size % max(1, axis.output_size) == 0:
            return 1
        # Windows that only touch a cell lie on both sides of those inside it.
        return ceil_divide(axis.output_size, axis.input_size) + (axis.output_size % axis.input_size > 0)
    # Taps that fall on one cell lie a multiple of this apart.
    while other:
        step, other = other, step % other
    return max(1, min(ceil_divide(axis.kernel_size, axis.stride // step), axis.output_size))


cdef bint lie_apart(const plan_t* plan) noexcept:
    """Whether windows are many lanes of comparisons wide and overlap so little that winners are found one by one."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t taps = axis.input_size // max(1, axis.output_size) if axis.adaptive else axis.kernel_size
    return (
        plan.inner == 1 and axis.dilation == 1 and plan.reach <= MOST_REACH and taps >= 2 * ARGMAX_LANES
        and taps <= axis.input_size and taps * axis.output_size <= 4 * axis.input_size)


cdef pieces_t lay_pieces(const plan_t* plan) noexcept:
    """Lay out the pieces of planes; `stacked` is 0 where outputs are better made row by row."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef ptrdiff_t more, reach
    cdef pieces_t pieces
    cdef int i
    memset(&pieces, 0, sizeof(pieces))
    if plan.apart:
        return pieces
    pieces.adaptive = (
        (height.adaptive or width.adaptive) and plan.axes[0].input_size == 1 and plan.axes[0].output_size == 1
        and plan.inner == 1 and 0 < height.input_size * max(width.input_size, width.output_size) <= 2 * STACK_CELLS)
    if pieces.adaptive:
        pieces.width = width.input_size
        pieces.columns = width.output_size
        pieces.rows = height.output_size
        pieces.phase_rows = max(height.input_size, height.output_size)
        pieces.bands = 1
        pieces.stacked = max(1, STACK_CELLS // (pieces.phase_rows * max(pieces.width, pieces.columns)))
        return pieces
    for i in range(3):
        if plan.axes[i].adaptive or plan.axes[i].has_empty or plan.axes[i].output_size == 0:
            return pieces
        if plan.axes[i].kernel_size * plan.axes[i].dilation > 256 or plan.axes[i].stride > 256:
            return pieces
    if plan.inner != 1 or plan.segments != 1 or plan.reach > MOST_REACH:
        return pieces
    # The padding behind a row is the padding in front of the next.
    reach = reach_of(width) - width.pad_begin
    pieces.width = round_up(max(width.pad_begin + min(width.input_size, reach), reach), width.stride)
    pieces.columns = pieces.width // width.stride
    # Rows of a phase that windows reach beyond their first.
    more = (height.kernel_size - 1) * height.dilation // height.stride
    pieces.rows = height.output_size
    if height.stride * (pieces.rows + more) * pieces.width > 2 * STACK_CELLS:
        pieces.rows = max(1, 2 * STACK_CELLS // (height.stride * pieces.width) - more)
    pieces.bands = ceil_divide(height.output_size, pieces.rows)
    pieces.phase_rows = pieces.rows + more
    pieces.stacked = 1
    pieces.straight = width.end - width.begin >= STRAIGHT
    if pieces.bands == 1 and not pieces.straight:
        pieces.stacked = max(1, STACK_CELLS // (height.stride * pieces.phase_rows * pieces.width))
    return pieces


cdef sheaf_t lay_sheaf(const plan_t* plan) noexcept:
    """Lay out the gradients of planes; `stacked` is 0 where rows are better made one by one."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef sheaf_t sheaf
    cdef ptrdiff_t cells
    cdef int i
    memset(&sheaf, 0, sizeof(sheaf))
    for i in range(1, 3):
        if (
            plan.axes[i].adaptive or plan.axes[i].dilation > 1 or plan.axes[i].output_size == 0
            or plan.axes[i].kernel_size > SHEAF_CELLS or plan.axes[i].stride > SHEAF_CELLS
            or plan.axes[i].pad_begin > SHEAF_CELLS or plan.axes[i].input_size > SHEAF_CELLS
        ):
            return sheaf
    if plan.inner != 1 or not plan.uniform or plan.axes[0].input_size > 1 or plan.axes[0].output_size > 1:
        return sheaf
    if plan.axes[0].has_empty:
        return sheaf
    # Threads do not share a plane. The choice must not depend on their number: roundings do depend on it.
    if plan.outer < MANY_PLANES:
        return sheaf
    cells = max(width.pad_begin + width.input_size, reach_of(width))
    sheaf.width = ceil_divide(cells, width.stride)
    cells = height.input_size * sheaf.width * width.stride
    if cells <= SHEAF_CELLS:
        sheaf.stacked = max(1, STACK_CELLS // cells)
    return sheaf


cdef ptrdiff_t adaptive_span(const plan_t* plan) noexcept:
    """Most cells from the first of a segment to its last."""
    cdef const axis_t* axis = &plan.axes[2]
    cdef ptrdiff_t span = 1
    cdef ptrdiff_t output = 0
    cdef window_t window
    while output < axis.output_size:
        window = window_of(axis, min(output + plan.segment, axis.output_size) - 1)
        span = max(span, window.first + window.count - window_of(axis, output).first)
        output += plan.segment
    return span


@cython.final
cdef class Plan:
    """The loops of one pooling call: made by pooling/plan.py, read by every kernel.

    Parameters
    ----------
    outer, inner : int
        Elements before and behind the window axes.
    axes : sequence of 3 tuples
        ``(input_size, output_size, kernel_size, stride, dilation, pad_begin, begin, end, first, count, divisor,
        adaptive)``, where the three tables are int64 arrays.
    average : bool
        Whether sums are divided.
    divisor_override : float
        Divisor of every window; NaN for the counts in the tables.
    number_divisor : float
        Divisor of sums that leave NaN out, if it is not the count of the numbers.
    """

    cdef plan_t plan
    cdef object tables
    # Elements of input and output: what the buffers of a call must hold.
    cdef ptrdiff_t read, written

    def __cinit__(self, outer, inner, axes, bint average=False, double divisor_override=NAN, double number_divisor=NAN):
        cdef plan_t* plan = &self.plan
        cdef axis_t* axis
        cdef axis_t* height
        cdef const int64_t[::1] table
        cdef ptrdiff_t i, o
        cdef ptrdiff_t budget
        plan.outer = outer
        plan.inner = inner
        plan.average = average
        plan.divisor_override = divisor_override
        plan.number_divisor = number_divisor
        plan.uniform = True
        plan.taps = 1
        self.tables = tuple(axes)
        self.read = outer * inner
        self.written = outer * inner
        for i in range(3):
            axis = &plan.axes[i]
            (axis.input_size, axis.output_size, axis.kernel_size, axis.stride, axis.dilation, axis.pad_begin,
             axis.begin, axis.end, first, count, divisor, axis.adaptive) = axes[i]
            # The dilation of a single tap and the stride of a single window mean nothing, and may be too large to
            # calculate with.
            if axis.kernel_size == 1:
                axis.dilation = 1
            if axis.output_size == 1 and not axis.adaptive:
                axis.stride = (axis.kernel_size - 1) * axis.dilation + 1
            axis.has_empty = False
            axis.whole_divisor = not axis.adaptive
            if len(first):
                table = first
                axis.first = &table[0]
                table = count
                axis.count = &table[0]
                for o in range(table.shape[0]):
                    axis.has_empty |= table[o] == 0
                table = divisor
                axis.divisor = &table[0]
                for o in range(table.shape[0]):
                    axis.whole_divisor &= table[o] == axis.kernel_size
            plan.taps *= <double> axis.kernel_size
            plan.uniform &= axis.whole_divisor
            self.read *= axis.input_size
            self.written *= axis.output_size
        plan.reach = 0
        for i in range(3):
            axis = &plan.axes[i]
            plan.reach = min(plan.reach, 1 << 40) * min(axis.input_size, 1 << 20)
            plan.reach += (axis.kernel_size - 1) * axis.dilation
        axis = &plan.axes[2]
        # The fewer the cells, the more evenly memory is read; a segment that is shorter than four kernels would spend
        # its time on the cells it shares with the next one.
        budget = max(1, BAND_CELLS // max(1, plan.inner))
        if axis.kernel_size == 1 and axis.stride == 1 and not axis.adaptive:
            # Nothing is shared: shorter segments are work for more threads. Global average of 7 x 7 x 2048.
            budget = max(1, budget // 4)
        if climbs_rows(plan):
            # A band is several windows high, and stays with its rungs in the second-level cache.
            height = &plan.axes[1]
            plan.band = min(3 * (height.kernel_size - 1) * height.dilation // height.stride + 1, height.output_size)
            budget = max(1, LADDER_CELLS // max(1, rows_spanned(height, plan.band)))
            budget = max(1, budget // max(1, plan.inner))
        plan.segment = max(1, max(budget, 4 * (axis.kernel_size - 1) * axis.dilation) // axis.stride)
        plan.segment = max(1, min(plan.segment, axis.output_size))
        plan.segments = ceil_divide(axis.output_size, plan.segment)
        plan.span = (plan.segment - 1) * axis.stride + (axis.kernel_size - 1) * axis.dilation + 1
        if axis.adaptive:
            plan.span = adaptive_span(plan)
            while plan.segment > 1 and plan.span * max(1, plan.inner) > MOST_SPAN:
                plan.segment = ceil_divide(plan.segment, 2)
                plan.segments = ceil_divide(axis.output_size, plan.segment)
                plan.span = adaptive_span(plan)
        if not climbs_rows(plan):
            plan.band = max(1, min(BAND_CELLS // max(1, plan.span * plan.inner), plan.axes[1].output_size))
        plan.band = max(1, plan.band)
        plan.divisor = plan.taps
        if divisor_override == divisor_override:
            plan.uniform = True
            plan.divisor = divisor_override
        plan.planes = stack_planes(plan)
        plan.apart = lie_apart(plan)
        plan.pieces = lay_pieces(plan)
        plan.sheaf = lay_sheaf(plan)

    def __dealloc__(self):
        free(self.plan.planes.divisors)

    @property
    def summation_depth(self):
        """Roundings on the longest way from an element of a window to its average, in the order of these kernels."""
        cdef call_t call = forward_call(&self.plan, &LEAVES[TOTAL][FLOAT32])
        cdef ptrdiff_t depth = 1
        cdef ptrdiff_t i, taps, rest
        for i in range(3):
            taps = self.plan.axes[i].kernel_size
            if i == 2 and slides_along(&self.plan.axes[2], self.plan.inner):
                # `run`: lanes, a half and a quarter of them, four folds, single elements; blocks one by one.
                rest = taps % LANES
                if taps < LANES:
                    depth += taps - 1
                elif taps <= BLOCK:
                    depth += taps // LANES - 1 + (rest >= 8) + (rest % 8 >= 4) + 4 + rest % 4
                else:
                    depth += BLOCK // LANES + 8 + taps // BLOCK
            else:
                # A ladder has no longer way.
                depth += tree_depth(taps)
        if choose(FORWARD, &call).work == forward_cores:
            # Groups are added one by one, on both sides of the core.
            for i in range(1, 3):
                depth += min(2 * self.plan.axes[i].kernel_size, 2048)
        return depth

    @property
    def overlaps(self):
        """Windows that hold the same input cell, at most."""
        cdef ptrdiff_t most = 1
        cdef int i
        for i in range(3):
            most *= most_covering(&self.plan.axes[i])
        return most

    @property
    def spreading_depth(self):
        """Roundings on the longest way from a gradient to the sum of an input cell, in the order of `spread_rows` or
        `spread_planes`."""
        cdef ptrdiff_t rows = most_covering(&self.plan.axes[1])
        cdef ptrdiff_t columns = most_covering(&self.plan.axes[2])
        if self.plan.sheaf.stacked:
            return 1 + tree_depth(rows) + tree_depth(columns)
        return 1 + (most_covering(&self.plan.axes[0]) * rows - 1) + (columns - 1)


cdef struct row_t:
    # Where an output row stands: its outer element, the outputs of the first two axes and the segment of the last.
    ptrdiff_t outer, d, h, segment


cdef inline row_t row_of(const plan_t* plan, ptrdiff_t band) noexcept nogil:
    """First row of a band."""
    cdef row_t row
    cdef ptrdiff_t bands = ceil_divide(plan.axes[1].output_size, plan.band)
    row.segment = band % plan.segments
    band //= plan.segments
    row.h = band % bands * plan.band
    band //= bands
    row.d = band % plan.axes[0].output_size
    row.outer = band // plan.axes[0].output_size
    return row


cdef inline void advance(const plan_t* plan, row_t* row) noexcept nogil:
    """Go to the first row of the next band."""
    row.segment += 1
    if row.segment == plan.segments:
        row.segment = 0
        row.h += plan.band
        if row.h >= plan.axes[1].output_size:
            row.h = 0
            row.d += 1
            if row.d == plan.axes[0].output_size:
                row.d = 0
                row.outer += 1


cdef inline ptrdiff_t bands_of(const plan_t* plan) noexcept nogil:
    """Number of bands in an outer element."""
    return plan.axes[0].output_size * ceil_divide(plan.axes[1].output_size, plan.band) * plan.segments


cdef inline ptrdiff_t pieces_of(const plan_t* plan) noexcept nogil:
    """Number of pieces in all."""
    return plan.outer * plan.axes[0].output_size * plan.pieces.bands


cdef inline ptrdiff_t rows_of_output(const plan_t* plan) noexcept nogil:
    """Number of output rows in all."""
    return plan.outer * plan.axes[0].output_size * plan.axes[1].output_size


cdef inline ptrdiff_t output_offset(const plan_t* plan, const row_t* row) noexcept nogil:
    """Where an output row begins in the output, in elements."""
    return (
        ((row.outer * plan.axes[0].output_size + row.d) * plan.axes[1].output_size + row.h) * plan.axes[2].output_size
        + row.segment * plan.segment) * plan.inner
