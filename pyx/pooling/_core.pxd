# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""What kernels of all levels share: plans, the thread team, buffers, calls like earlier ones.

Compiled once, without instruction-set flags, into pooling._core; kernels.pyx cimports this file, which lies in a folder
named pooling since Cython takes the name of a module from there.
"""

from tuning cimport BLOCK, LANES, LONG, MOST_LONG_ROWS, STRIP, WORKING_BYTES
from types cimport int64_t
from views cimport maps_t

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
    # Where argmaxes are asked for, input rows are laid out with their padding so that each tap of all windows is one
    # loop. A piece is `rows` output rows of a plane, of which there are `bands`; `stacked` pieces are made together, or
    # none if planes are not of this kind. Rows that lie the stride apart make a phase, which holds `phase_rows` of each
    # piece, `width` cells long; a row of the result has `columns` cells, junk included.
    ptrdiff_t stacked, rows, bands, phase_rows, width, columns
    # Whether rows of the result are long enough to be made one by one, straight from the input and into the output.
    bint straight
    # Whether windows have no one step, so that the outputs of a column, and then of a row, are made together instead.
    bint adaptive


cdef struct gradient_stack_t:
    # How gradients of means are spread over whole planes: `stacked` of them together, or none if planes are not of this
    # kind. `width` gradients are a row, those behind it included that make the rows of cells long enough.
    ptrdiff_t stacked, width


cdef struct plan_t:
    ptrdiff_t outer, inner
    axis_t axes[3]
    # Elements from one row of the input to the next, and from one plane to the next: those of a row and of a plane, or
    # more in a view.
    ptrdiff_t in_row, in_plane
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
    gradient_stack_t gradient_stack
    # Whether the argmaxes of windows are found one window after another.
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


cdef inline bint reduces_rows(const plan_t* plan) noexcept nogil:
    """Whether each row is one window, which is read from one end to the other."""
    return plan.axes[2].output_size == 1 and slides_along(&plan.axes[2], plan.inner)


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


cdef inline int top_rung(ptrdiff_t taps, bint overlaps) noexcept nogil:
    # Two runs may overlap; without that, up to seven of them beat a rung more: of 31 taps 6.2 ms and not 6.9.
    cdef int top = 0
    while taps >= (4 if overlaps else 8):
        taps >>= 2
        top += 1
    return top


cdef inline ptrdiff_t ladder_cells(ptrdiff_t taps, ptrdiff_t cells) noexcept nogil:
    """Cells that the rungs over so many cells take, the lowest one included."""
    return (top_rung(taps, True) + 1) * cells


cdef inline ptrdiff_t bands_cells(const plan_t* plan) noexcept nogil:
    """Values that a thread works in where windows are made in bands: combined rows, a converted one, rows of the
    result, a block, rungs."""
    cdef const axis_t* height = &plan.axes[1]
    cdef ptrdiff_t row = plan.span * plan.inner
    cdef ptrdiff_t cells = (plan.band + 1) * row + plan.band * plan.segment * plan.inner + BLOCK
    cdef ptrdiff_t rungs = 0
    if climbs(&plan.axes[2]):
        rungs = ladder_cells(plan.axes[2].kernel_size, plan.band * row)
    if climbs_rows(plan):
        rungs = max(
            rungs, ladder_cells(height.kernel_size, rows_spanned(height, plan.band) * row)
            + (min(height.kernel_size, <ptrdiff_t> MOST_LONG_ROWS) + 1) * STRIP)
    return cells + rungs


cdef inline bint needs_cores(const plan_t* plan, ptrdiff_t value) noexcept nogil:
    """Whether bands of values so wide would take more than a thread may: windows are made of cores then."""
    return bands_cells(plan) * value > WORKING_BYTES


cdef inline ptrdiff_t steps_of(const plan_t* plan, ptrdiff_t outputs) noexcept nogil:
    """Steps to make so many outputs of windows tap by tap."""
    return <ptrdiff_t> min(<double> outputs * max(plan.taps, 1.0), 1e15)


# Bytes of the cache that is the last before memory.
cdef ptrdiff_t last_level_cache() noexcept nogil

cdef extern from "c/signals.h" nogil:
    # Where a task takes longer than some milliseconds it asks now and then, telling the steps since it last asked, and
    # returns when it shall stop.
    bint is_stopped "pooling_stops" (char* scratch, ptrdiff_t steps)

# Do tasks begin to end of a job; the scratch memory is this thread's own. Returns -1, or the position of the first
# element at fault.
ctypedef ptrdiff_t (*work_fn)(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil


cdef ptrdiff_t share(
    work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t nbytes, ptrdiff_t threads, ptrdiff_t steps=*
) except -2


cdef struct memory_t:
    char* begin
    char* end
    bint writable


cdef class Buffer:
    cdef Py_buffer view
    cdef bint held
    cdef char* data


cdef class Plan:
    cdef plan_t plan
    cdef object tables
    # Elements of input and output: what the buffers of a call must hold.
    cdef ptrdiff_t read, written


# Whether gradients are sent to single elements, spread over windows, or pooled.
cdef enum:
    SCATTERS, SPREADS, GATHERS


cdef class Runner:
    cdef readonly object call
    cdef object dtype
    cdef tuple input_shape, output_shape
    # Bytes of the input, of the result, and of its indices.
    cdef ptrdiff_t read, written, indexed, alignment
    # What `work_of` says of a call without indices.
    cdef ptrdiff_t work
    cdef Plan plan, index_plan, gradient_plan, divides
    # Whether what each of them needs is set; without a `gradient_plan` gradients are made by Python, a part at a time.
    cdef ptrdiff_t pool_laid, find_laid, gradient_laid
    cdef int reducer, kind, rounding, gradient_kind, way
    # Whether argmaxes are found before gradients are made.
    cdef bint finds_first
    cdef int pool(self, const char* src, char* dst, ptrdiff_t threads) except -1
    cdef int find(self, const char* src, char* dst, int64_t* indices, ptrdiff_t threads) except -1
    cdef ptrdiff_t send_back(
        self, const char* src, const int64_t* indices, const char* gradient, char* dst, ptrdiff_t threads
    ) except -2
    cdef int divide_windows(self, const char* src, char* dst, ptrdiff_t threads) except -1
    cdef int pool_maps(self, const maps_t* maps, char* dst, ptrdiff_t threads) except -1
    cdef int find_maps(self, const maps_t* maps, char* dst, int64_t* indices, ptrdiff_t threads) except -1
    cdef int lay_pool(self) except -1
    cdef int lay_find(self) except -1
    cdef bint lay_gradient(self) except -1
    cdef ptrdiff_t threads_of_find(self) except -1
    cdef bint is_native(self, array)
    cdef object target(self, out, tuple shape, ptrdiff_t nbytes, memory_t* memory)
    cpdef object forward(self, array, out, bint indexed)
    cpdef object forward_view(self, array, out, bint indexed)
    cdef object forward_moved(self, array, bint indexed)
    cdef object backward_moved(self, grad_output, array, indices)
    cpdef object backward(self, grad_output, array, indices, out)
