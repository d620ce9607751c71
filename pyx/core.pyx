# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
# cython: emit_code_comments=False, freethreading_compatible=True
"""What kernels of all levels share, whatever the processor: this module is compiled without instruction-set flags, so
that importing it is always safe, and what this processor can run is asked here first.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cython.parallel cimport prange, threadid
from libc.math cimport NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from tuning cimport (
    ARGMAX_LANES, BAND_CELLS, BLOCK, FLAT_SHARE, LADDER_CELLS, LONG, MANY_PLANES, MOST_REACH, MOST_SPAN, NARROW,
    RUN_BAND_CELLS, GRADIENT_STACK_CELLS, LEAST_CACHE, MOST_CACHE, STACK_CELLS, STRAIGHT, USUAL_CACHE,
    SERIAL_BLUR, SERIAL_COPY, SERIAL_FRACTIONAL, SERIAL_INDICES, SERIAL_NORM, SERIAL_NORM_GRADIENT, SERIAL_POOL,
    SERIAL_REGIONS, SERIAL_SCATTER, SERIAL_SEARCH, SERIAL_SPREAD, SERIAL_UNPOOLING,
)
from types cimport int64_t
from views cimport MOST_AXES, gather, lay_view, maps_t, view_t

from contextvars import ContextVar
from math import prod

from numpy import dtype as numpy_dtype
from numpy import empty, int64, ndarray

# --- levels ---

cdef extern from "c/cpu.h":
    void init_cpu "pooling_init_cpu"() noexcept
    bint runs_v2 "pooling_runs_v2"() noexcept
    bint runs_v3 "pooling_runs_v3"() noexcept
    const char *POOLING_LEVELS
    const char *POOLING_COMPILER


def built_levels():
    """Return the levels that this build carries, weakest first."""
    return tuple((<bytes>POOLING_LEVELS).decode("ascii").split())


def supported_levels():
    """Return the levels that this processor runs, weakest first: the last one is the best."""
    init_cpu()
    levels = ["generic"]
    if runs_v2():
        levels.append("x86-64-v2")
    if runs_v3():
        levels.append("x86-64-v3")
    return tuple(levels)


cdef extern from "c/caches.h":
    ptrdiff_t reported_cache "pooling_reported_cache"() noexcept

# Asked once: a virtual machine may take some microseconds to answer.
cdef ptrdiff_t CACHE = reported_cache()
CACHE = min(max(CACHE, LEAST_CACHE), MOST_CACHE) if CACHE else USUAL_CACHE


cdef ptrdiff_t last_level_cache() noexcept nogil:
    return CACHE


def cache_size():
    """Return the bytes of the last-level cache that the kernels reckon with."""
    return CACHE


def compiler():
    """Return the name and version of the C compiler of this build."""
    return (<bytes>POOLING_COMPILER).decode("utf-8").strip()


# --- threads that share one job: the team of c/team.h, or those of OpenMP ---

cdef extern from "c/signals.h" nogil:
    const char* POOLING_THREADING
    const int POOLING_MOST_THREADS
    ptrdiff_t main_thread "pooling_main_thread"
    ptrdiff_t load "pooling_load" (ptrdiff_t* at)
    void store "pooling_store" (ptrdiff_t* at, ptrdiff_t value)
    ptrdiff_t slot_bytes "pooling_stride" (ptrdiff_t nbytes)
    void keep_workers_of_team "pooling_keep_workers" (ptrdiff_t workers)
    ptrdiff_t count_workers_of_team "pooling_count_workers" ()
    ctypedef struct run_t "pooling_run_t":
        ptrdiff_t threads, parts
    void do_part_in "pooling_do_part_in" (run_t* run, ptrdiff_t slot, ptrdiff_t part)
    void (*do_parallel "pooling_do_parallel")(run_t* run) noexcept

cdef extern from "c/lookup.h":
    object look_up "pooling_look_up" (dict dictionary, key)

cdef extern from "c/floating.h" nogil:
    ctypedef struct mode_t "pooling_mode_t":
        pass
    mode_t enter_default_mode "pooling_enter_default_mode" ()
    void leave_default_mode "pooling_leave_default_mode" (mode_t before)

cdef extern from "c/signals.h":
    # Not to be called without the GIL, which it lets go.
    ptrdiff_t share_freely "pooling_share_freely" (
        work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t steps, char* memory, ptrdiff_t nbytes,
        ptrdiff_t threads) noexcept


cdef void do_parts_in_parallel(run_t* run) noexcept nogil:
    """Do all parts of a job, where this module was compiled for OpenMP; otherwise nobody calls it."""
    cdef ptrdiff_t part
    for part in prange(run.parts, schedule="dynamic", chunksize=1, num_threads=<int> run.threads):
        do_part_in(run, threadid(), part)


do_parallel = do_parts_in_parallel


cdef ptrdiff_t share(
    work_fn work, const void* job, ptrdiff_t tasks, ptrdiff_t nbytes, ptrdiff_t threads, ptrdiff_t steps=0
) except -2:
    """Do tasks 0 to `tasks` of a job on at most so many threads, each with `nbytes` of scratch memory.

    A task takes so many `steps`, of a nanosecond or some, or asks `is_stopped` itself. A thread that finds the team at
    work for another does its job alone. Returns -1, or the first position at fault.
    Raises what a signal handler raises, such as KeyboardInterrupt, with the job unfinished.
    """
    cdef ptrdiff_t fault
    cdef char* memory
    threads = max(1, min(threads, min(tasks, <ptrdiff_t> POOLING_MOST_THREADS)))
    memory = <char*> malloc(threads * slot_bytes(nbytes))
    if memory == NULL:
        raise MemoryError(f"no memory for {threads} threads to work in, {nbytes} bytes each")
    fault = share_freely(work, job, tasks, steps, memory, nbytes, threads)
    free(memory)
    return fault


# --- how many threads a call uses ---

# "team", "openmp", or "none" where the compiler has neither atomic operations nor OpenMP.
THREADING = (<bytes> POOLING_THREADING).decode("ascii")
# It is read by every call while another thread may set it, as `serial_bytes` and `main_thread` are.
cdef ptrdiff_t default_threads = 1
# What the calls of a family move at least where more than one thread does them; for all of them it is `serial_bytes`
# where that is not negative.
cdef dict LEAST = {
    "pool": SERIAL_POOL, "indices": SERIAL_INDICES, "scatter": SERIAL_SCATTER, "search": SERIAL_SEARCH,
    "spread": SERIAL_SPREAD, "copy": SERIAL_COPY, "norm": SERIAL_NORM, "norm gradient": SERIAL_NORM_GRADIENT,
    "blur": SERIAL_BLUR, "regions": SERIAL_REGIONS, "unpooling": SERIAL_UNPOOLING, "fractional": SERIAL_FRACTIONAL,
}
cdef ptrdiff_t serial_bytes = -1
# The number inside of a `pooling.threads` block.
THREADS_HERE = ContextVar("pooling_threads", default=None)


def set_default_threads(ptrdiff_t threads):
    """Set the number of threads for whoever asks for no other."""
    store(&default_threads, threads)


def set_serial_bytes(ptrdiff_t nbytes):
    """Let calls run on one thread that move fewer bytes than this, or than their own limits where it is negative;
    return what it was before."""
    cdef ptrdiff_t before = load(&serial_bytes)
    store(&serial_bytes, nbytes)
    return before


cpdef ptrdiff_t get_num_threads() except -1:
    """Return the number of threads that a large call would use here and now."""
    if THREADING == "none":
        return 1
    return THREADS_HERE.get() or load(&default_threads)


cpdef ptrdiff_t threads_for(ptrdiff_t nbytes, str family="copy") except -1:
    """Return the number of threads for a call of a family of `LEAST` that moves so many bytes."""
    cdef ptrdiff_t least = load(&serial_bytes)
    if least < 0:
        least = LEAST[family]
    return 1 if nbytes < least else get_num_threads()


def keep_workers(ptrdiff_t workers):
    """End the threads that wait for work, beyond so many: at once, or when the present call of another is done."""
    with nogil:
        keep_workers_of_team(workers)


def count_workers():
    """Return how many threads of this process wait for work, or do it, beside their callers."""
    return count_workers_of_team()


def answer_signals_in(unsigned long thread):
    """Say in which thread, by its `threading.get_ident`, Python answers signals: long calls there look for them."""
    store(&main_thread, <ptrdiff_t> thread)


@cython.final
cdef class DefaultMode:
    """Inside ``with DefaultMode():`` this thread rounds to nearest and keeps subnormal numbers, as kernels do."""

    cdef mode_t before

    def __enter__(self):
        self.before = enter_default_mode()

    def __exit__(self, *error):
        leave_default_mode(self.before)

# --- buffers ---

cdef class Buffer:
    """Hold on to the memory of a contiguous array of known size."""

    def __cinit__(self, array, ptrdiff_t nbytes, bint writable=False):
        PyObject_GetBuffer(array, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True
        if self.view.len != nbytes:
            raise ValueError(f"a buffer of {self.view.len} bytes was given where the plan needs {nbytes}")
        self.data = <char*> self.view.buf

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


# --- plans ---

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
    """Windows that cover the same input cell, at most."""
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
    """Whether windows are many lanes of comparisons wide and overlap so little that argmaxes are found one by one."""
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


cdef gradient_stack_t lay_gradient_stack(const plan_t* plan) noexcept:
    """Lay out the gradients of planes; `stacked` is 0 where rows are better made one by one."""
    cdef const axis_t* height = &plan.axes[1]
    cdef const axis_t* width = &plan.axes[2]
    cdef gradient_stack_t gradient_stack
    cdef ptrdiff_t cells
    cdef int i
    memset(&gradient_stack, 0, sizeof(gradient_stack))
    for i in range(1, 3):
        if (
            plan.axes[i].adaptive or plan.axes[i].dilation > 1 or plan.axes[i].output_size == 0
            or plan.axes[i].kernel_size > GRADIENT_STACK_CELLS or plan.axes[i].stride > GRADIENT_STACK_CELLS
            or plan.axes[i].pad_begin > GRADIENT_STACK_CELLS or plan.axes[i].input_size > GRADIENT_STACK_CELLS
        ):
            return gradient_stack
    if plan.inner != 1 or not plan.uniform or plan.axes[0].input_size > 1 or plan.axes[0].output_size > 1:
        return gradient_stack
    if plan.axes[0].has_empty:
        return gradient_stack
    # Threads do not share a plane. The choice must not depend on their number: roundings do depend on it.
    if plan.outer < MANY_PLANES:
        return gradient_stack
    cells = max(width.pad_begin + width.input_size, reach_of(width))
    gradient_stack.width = ceil_divide(cells, width.stride)
    cells = height.input_size * gradient_stack.width * width.stride
    if cells <= GRADIENT_STACK_CELLS:
        gradient_stack.stacked = max(1, STACK_CELLS // cells)
    return gradient_stack


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
        read = written = outer * inner
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
            if min(outer, inner, axis.input_size, axis.output_size, axis.kernel_size) < 0 or not (
                0 <= axis.begin <= axis.end <= axis.output_size
                and len(first) == len(count) == len(divisor) == axis.output_size - (axis.end - axis.begin)
            ):
                raise ValueError("a plan has a negative size, or a table that does not hold the windows of its axis")
            if len(first):
                table = first
                axis.first = &table[0]
                table = count
                axis.count = &table[0]
                for o in range(table.shape[0]):
                    axis.has_empty |= table[o] == 0
                    if table[o] and not 0 <= axis.first[o] <= axis.input_size - 1 - (table[o] - 1) * axis.dilation:
                        raise ValueError("a table of a plan has a window that is not in its axis")
                table = divisor
                axis.divisor = &table[0]
                for o in range(table.shape[0]):
                    axis.whole_divisor &= table[o] == axis.kernel_size
            plan.taps *= <double> axis.kernel_size
            plan.uniform &= axis.whole_divisor
            read *= axis.input_size
            written *= axis.output_size
        # Both raise OverflowError beyond what memory can be.
        self.read = read
        self.written = written
        plan.in_row = plan.axes[2].input_size * inner
        plan.in_plane = plan.axes[1].input_size * plan.in_row
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
            if reduces_rows(plan):
                # Results are one cell each, of which whole vectors are made.
                plan.band = max(1, min(RUN_BAND_CELLS // plan.span, plan.axes[1].output_size))
                plan.band -= plan.band % (32 if plan.band >= 32 else 8 if plan.band >= 8 else 1)
        plan.band = max(1, plan.band)
        plan.divisor = plan.taps
        if divisor_override == divisor_override:
            plan.uniform = True
            plan.divisor = divisor_override
        plan.planes = stack_planes(plan)
        plan.apart = lie_apart(plan)
        plan.pieces = lay_pieces(plan)
        plan.gradient_stack = lay_gradient_stack(plan)

    def __dealloc__(self):
        free(self.plan.planes.divisors)

    @property
    def summation_depth(self):
        """Roundings on the longest way from an element of a window to its average, in the order of these kernels."""
        cdef ptrdiff_t depth = 1
        cdef ptrdiff_t i, taps, vectors
        # All rows of a window, those of further planes behind those of the first, are groups that are added one by one;
        # a ladder has no longer way.
        taps = self.plan.axes[1].kernel_size
        depth += tree_depth(taps) + (self.plan.axes[0].kernel_size - 1) * ceil_divide(taps, 4)
        taps = self.plan.axes[2].kernel_size
        if slides_along(&self.plan.axes[2], self.plan.inner):
            # c/sums.h: a tree of vectors of 256 elements, these groups one by one, three halves of a vector; blocks one
            # by one.
            if taps < 8:
                depth += taps - 1
            else:
                vectors = ceil_divide(min(taps, 256), 8)
                depth += 3 + ceil_divide(min(taps, BLOCK), 256) - 1 + taps // (BLOCK + 1)
                while vectors > 1:
                    vectors = ceil_divide(vectors, 2)
                    depth += 1
        else:
            depth += tree_depth(taps)
        if not self.plan.planes.stacked and needs_cores(&self.plan, sizeof(float)):
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
        if self.plan.gradient_stack.stacked:
            return 1 + tree_depth(rows) + tree_depth(columns)
        return 1 + (most_covering(&self.plan.axes[0]) * rows - 1) + (columns - 1)


# --- calls like earlier ones, from the arguments of a public function to its kernel ---

# What is not as usual goes to Python (pooling/calls.py): arguments that are new or not plain, what is no plain ndarray
# or does not lie in memory as kernels read it, and an `out` that may have to be refused.

cdef object TRUE = object()
cdef object FALSE = object()


# The types themselves: what is derived from them may say something else each time it is asked.
cdef frozenset NUMPY_INTEGERS = frozenset([numpy_dtype(code).type for code in "bBhHiIlLqQ"])


cdef bint all_integers(tuple entries):
    for entry in entries:
        if type(entry) is not int:
            return False
    return True


cdef object token(value, ptrdiff_t depth):
    """Return what stands for an argument in a signature: the same only for arguments that mean the same.

    Raises TypeError for everything but plain values, which nobody can change while they are remembered: integers,
    numbers, words, None, and tuples and lists of them that are no deeper than those of any good argument.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is bool:
        # For a dictionary True is 1.
        return TRUE if value else FALSE
    if (kind is tuple or kind is list) and depth < 2:
        # First, since another thread may change a list.
        entries = tuple(value)
        return entries if all_integers(entries) else tuple([token(entry, depth + 1) for entry in entries])
    if kind is float:
        # For a dictionary 1.0 is 1, too.
        return kind, value
    if kind in NUMPY_INTEGERS:
        return int(value)
    raise TypeError("no plain value")


cpdef tuple signature(function, array, tuple arguments):
    """Return the key of a call: function, shape and dtype of the input, and arguments."""
    cdef Py_ssize_t i
    cdef tuple key = PyTuple_New(len(arguments) + 3)
    for i in range(len(arguments) + 3):
        value = function if i == 0 else array.shape if i == 1 else array.dtype if i == 2 else token(arguments[i - 3], 0)
        Py_INCREF(value)
        PyTuple_SET_ITEM(key, i, value)
    return key


cdef bint lies_ready(array, ptrdiff_t nbytes, ptrdiff_t alignment, tuple shape, memory_t* memory) except -1:
    """Tell where the elements of an ndarray lie, and whether kernels can read them as they do.

    Its shape is looked at unless `shape` is None.
    """
    cdef Py_buffer view
    cdef bint ready
    cdef Py_ssize_t i, size
    # NumPy takes no note of who looks at an array; its memory stays as long as the array does.
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    ready = view.len == nbytes and PyBuffer_IsContiguous(&view, b"C") and (
        nbytes == 0 or <size_t> view.buf % alignment == 0)
    if ready and shape is not None:
        ready = view.ndim == len(shape)
        for i in range(view.ndim if ready else 0):
            size = shape[i]
            ready &= view.shape[i] == size
    memory.begin = <char*> view.buf
    memory.end = memory.begin + view.len
    memory.writable = not view.readonly
    PyBuffer_Release(&view)
    return ready


cdef inline bint meet(const memory_t* one, const memory_t* other) noexcept:
    """Whether two pieces of memory have a byte in common."""
    return one.begin < other.end and other.begin < one.end


cdef object INDEX = numpy_dtype(int64)
cdef type NDARRAY = ndarray
cdef object EMPTY = empty


cdef bint is_index(dtype):
    """Whether indices are of this dtype; arrays that were unpickled have an object of their own for it."""
    return dtype is INDEX or dtype == INDEX


# --- arrays that do not lie side by side ---

cdef struct copying_t:
    view_t view
    const char* src
    char* dst


cdef ptrdiff_t gather_tasks(const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil:
    cdef const copying_t* copying = <const copying_t*> job
    gather(&copying.view, copying.dst, copying.src, begin, end)
    return -1


cdef bint are_moved(ptrdiff_t itemsize) noexcept:
    """Whether there are copies of elements of so many bytes."""
    return itemsize == 1 or itemsize == 2 or itemsize == 4 or itemsize == 8


def gathered(array not None):
    """Copy an ndarray of this machine's byte order to where its elements lie side by side, on as many threads as help.

    Parameters
    ----------
    array : ndarray
        Of any strides, at any address.

    Returns
    -------
    ndarray
        Contiguous and aligned, of the same shape and dtype.
    """
    cdef Py_buffer view
    cdef copying_t copying
    cdef memory_t memory
    result = EMPTY(array.shape, array.dtype)
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    try:
        lies_ready(result, view.len, 1, None, &memory)
        if view.len == 0:
            return result
        if view.ndim <= MOST_AXES and are_moved(view.itemsize):
            lay_view(
                &copying.view, view.ndim, <const ptrdiff_t*> view.shape, <const ptrdiff_t*> view.strides, view.itemsize)
            copying.src = <const char*> view.buf
            copying.dst = memory.begin
            share(
                gather_tasks, &copying, copying.view.tasks, 0, threads_for(2 * view.len, "copy"),
                max(1, view.len // copying.view.tasks))
            return result
    finally:
        PyBuffer_Release(&view)
    result[...] = array
    return result


cdef bint lay_maps(const Py_buffer* view, ptrdiff_t first, maps_t* maps) noexcept:
    """Say where the maps of an array lie, whose axes are those from `first` on; return whether they can be copied a few
    at a time."""
    cdef ptrdiff_t nearest = 0
    cdef size_t places = <size_t> view.buf
    cdef ptrdiff_t step, axis
    cdef int i
    if not 0 <= first <= 2 or not 1 <= view.ndim - first <= 4 or not are_moved(view.itemsize) or view.len == 0:
        return False
    maps.begin = <const char*> view.buf
    maps.itemsize = view.itemsize
    maps.axes = <int> (view.ndim - first)
    maps.nbytes = view.itemsize
    maps.lying = maps.rows_lying = True
    maps.crossed = False
    for i in range(maps.axes - 1, -1, -1):
        maps.rows_lying = maps.lying
        maps.sizes[i] = view.shape[first + i]
        maps.steps[i] = view.strides[first + i]
        maps.lying &= maps.sizes[i] == 1 or maps.steps[i] == maps.nbytes
        maps.nbytes *= maps.sizes[i]
        step = max(maps.steps[i], -maps.steps[i])
        if maps.sizes[i] > 1 and step and (nearest == 0 or step < nearest):
            nearest = step
    maps.count = 1
    for i in range(2):
        axis = first - 2 + i
        maps.outer_sizes[i] = view.shape[axis] if axis >= 0 else 1
        maps.outer_steps[i] = view.strides[axis] if axis >= 0 else 0
        maps.count *= maps.outer_sizes[i]
        places |= <size_t> maps.outer_steps[i]
        step = max(maps.outer_steps[i], -maps.outer_steps[i])
        if maps.outer_sizes[i] > 1 and step and step < nearest:
            # Of neighbours on the first axis each would read the same memory as the others.
            if i == 0:
                return False
            maps.crossed = True
    maps.lying &= places % view.itemsize == 0
    maps.rows_lying &= (places | <size_t> maps.steps[0]) % view.itemsize == 0
    return True


cdef ptrdiff_t work_of(const plan_t* plan, ptrdiff_t read, ptrdiff_t written, ptrdiff_t itemsize) noexcept:
    """Bytes that would be read in the time that a call without indices takes, where its data are in the caches.

    Of rows, columns and planes those of a window are combined one after another; what the last axis leaves out has been
    combined along the others. Elements of a byte take twice as long as longer ones for each byte, and those of two,
    which are mostly converted, three times (docs/tuning.md).
    """
    cdef double combined = 0
    cdef double apart = 1
    cdef ptrdiff_t taps
    cdef const axis_t* axis
    cdef int i
    for i in range(2, -1, -1):
        axis = &plan.axes[i]
        taps = axis.kernel_size - 1
        # Long windows share what they combine.
        combined += <double> (min(taps, 6) + (taps > 6) * 2) * apart
        apart *= <double> axis.input_size / <double> max(1, axis.output_size)
    return <ptrdiff_t> min(
        (<double> read + 2 * <double> written * combined) * (2 if itemsize == 1 else 3 if itemsize == 2 else 1), 1e18)


# What makes gradients.
cdef dict WAYS = {"scatter": SCATTERS, "spread": SPREADS, "gather": GATHERS}


cdef inline void set_once(int* word, int value) noexcept:
    """Set a word that other loops of the call may have set to the same, and that another thread may be reading."""
    if word[0] != value:
        word[0] = value


cdef class Runner:
    """Runs a resolved call; each level has a class of its own, which knows its kernels.

    Plans are asked of the call, which lays them, when they are first run. Where there is no lock of the interpreter,
    that is done under the lock of this object, and an atomic word that is set last says that it was done: whoever reads
    it there sees the rest as well. Asking the call may let go of the lock, so a second thread may have been faster.

    Parameters
    ----------
    call : pooling.calls.Call
    """

    def __cinit__(self, call):
        cdef ptrdiff_t itemsize
        self.call = call
        self.dtype = call.dtype
        self.input_shape = call.maps.shape
        self.output_shape = call.output_shape
        itemsize = self.dtype.itemsize
        self.alignment = self.dtype.alignment
        self.read = itemsize * <ptrdiff_t> prod(self.input_shape)
        self.indexed = 8 * <ptrdiff_t> prod(self.output_shape)
        self.written = self.indexed // 8 * itemsize

    cdef int pool(self, const char* src, char* dst, ptrdiff_t threads) except -1:
        raise NotImplementedError

    cdef int find(self, const char* src, char* dst, int64_t* indices, ptrdiff_t threads) except -1:
        raise NotImplementedError

    cdef ptrdiff_t send_back(
        self, const char* src, const int64_t* indices, const char* gradient, char* dst, ptrdiff_t threads
    ) except -2:
        raise NotImplementedError

    cdef int divide_windows(self, const char* src, char* dst, ptrdiff_t threads) except -1:
        raise NotImplementedError

    cdef int pool_maps(self, const maps_t* maps, char* dst, ptrdiff_t threads) except -1:
        raise NotImplementedError

    cdef int find_maps(self, const maps_t* maps, char* dst, int64_t* indices, ptrdiff_t threads) except -1:
        raise NotImplementedError

    cdef int lay_pool(self) except -1:
        cdef Plan plan
        cdef int reducer, kind, rounding
        if load(&self.pool_laid):
            return 0
        with cython.critical_section(self):
            plan, reducer, kind, rounding = self.call.loops
            if self.plan is None:
                self.work = work_of(&plan.plan, self.read, self.written, self.dtype.itemsize)
                set_once(&self.reducer, reducer)
                set_once(&self.kind, kind)
                self.rounding = rounding
                self.plan = plan
                store(&self.pool_laid, 1)
        return 0

    cdef ptrdiff_t threads_of_find(self) except -1:
        return threads_for(self.read + self.written + self.indexed, "indices")

    cdef int lay_find(self) except -1:
        cdef Plan plan
        cdef int reducer, kind
        if load(&self.find_laid):
            return 0
        with cython.critical_section(self):
            plan, reducer, kind = self.call.index_loops
            if self.index_plan is None:
                set_once(&self.reducer, reducer)
                set_once(&self.kind, kind)
                self.index_plan = plan
                store(&self.find_laid, 1)
        return 0

    cdef bint lay_gradient(self) except -1:
        """Return whether kernels make gradients of this call; Python makes the others, a part at a time."""
        cdef Plan plan
        cdef int reducer, kind, gradient_kind, way
        cdef bint finds_first
        if load(&self.gradient_laid):
            return self.gradient_plan is not None
        with cython.critical_section(self):
            loops = self.call.gradient_loops
            if loops is None:
                store(&self.gradient_laid, 1)
                return False
            name, plan, reducer, kind, gradient_kind, divides = loops
            way = WAYS[name]
            finds_first = way == SCATTERS and self.call.finds_first
            if self.gradient_plan is None:
                self.way, self.finds_first, self.divides = way, finds_first, divides
                set_once(&self.reducer, reducer)
                set_once(&self.kind, kind)
                self.gradient_kind = gradient_kind
                self.gradient_plan = plan
                store(&self.gradient_laid, 1)
        return True

    cdef bint is_native(self, array):
        dtype = array.dtype
        return dtype is self.dtype or dtype == self.dtype

    cdef object target(self, out, tuple shape, ptrdiff_t nbytes, memory_t* memory):
        """Allocate a result, or return `out` if it can be one; None where Python must look at it."""
        if out is None:
            out = EMPTY(shape, self.dtype)
            shape = None
        elif type(out) is not NDARRAY or not self.is_native(out):
            return None
        return out if lies_ready(out, nbytes, self.alignment, shape, memory) and memory.writable else None

    cpdef object forward(self, array, out, bint indexed):
        """Pool an ndarray of the resolved shape; return None, having done nothing, where Python must look at it."""
        cdef memory_t source, target, places
        if not self.is_native(array) or not lies_ready(array, self.read, self.alignment, None, &source):
            return None
        result = self.target(out, self.output_shape, self.written, &target)
        if result is None or (out is not None and meet(&source, &target)):
            return None
        if not indexed:
            self.lay_pool()
            self.pool(source.begin, target.begin, threads_for(self.work, "pool"))
            return result
        self.lay_find()
        indices = EMPTY(self.output_shape, INDEX)
        lies_ready(indices, self.indexed, 8, None, &places)
        self.find(source.begin, target.begin, <int64_t*> places.begin, self.threads_of_find())
        return result, indices

    cpdef object forward_view(self, array, out, bint indexed):
        """Pool an ndarray of the resolved shape that does not lie side by side, a few maps or rows at a time.

        Returns None where all of it has to be copied first: where that is done faster, kernels cannot pool a part as
        they pool the whole, or Python must look at something.
        """
        cdef Py_buffer view
        cdef maps_t maps
        cdef memory_t target, places
        cdef bint laid
        if not self.is_native(array) or array.shape != self.input_shape:
            return None
        PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
        laid = lay_maps(&view, self.call.maps.spatial.start, &maps)
        PyBuffer_Release(&view)
        if not laid:
            return None
        result = self.target(out, self.output_shape, self.written, &target)
        if result is None or self.written == 0:
            return None
        if not indexed:
            self.lay_pool()
            return result if self.pool_maps(&maps, target.begin, threads_for(self.work, "pool")) else None
        self.lay_find()
        indices = EMPTY(self.output_shape, INDEX)
        lies_ready(indices, self.indexed, 8, None, &places)
        if self.find_maps(&maps, target.begin, <int64_t*> places.begin, self.threads_of_find()):
            return result, indices
        return None

    cdef object forward_moved(self, array, bint indexed):
        """Pool an ndarray that lies as the other layout has it, by the call that does so; or return None."""
        way = self.call.moved_way
        if way is None:
            return None
        axes, back, runner = way
        made = (<Runner> runner).forward(array.transpose(axes), None, indexed)
        if made is None:
            return None
        return (made[0].transpose(back), made[1].transpose(back)) if indexed else made.transpose(back)

    cdef object backward_moved(self, grad_output, array, indices):
        """Return the gradient of such arrays, if all that are read lie so; or None."""
        way = self.call.moved_way
        if way is None or not (indices is None or type(indices) is NDARRAY):
            return None
        axes, back, runner = way
        if grad_output.shape != self.output_shape or indices is not None and indices.shape != self.output_shape:
            return None
        made = (<Runner> runner).backward(
            grad_output.transpose(axes), array.transpose(axes), None if indices is None else indices.transpose(axes),
            None)
        return None if made is None else made.transpose(back)

    cpdef object backward(self, grad_output, array, indices, out):
        """Return the gradient of the input, or None, having done nothing, where Python must look at what it is given.

        The `array` may be None if it is not read: where there are indices, and for means.
        """
        cdef memory_t gradient, source, places, target
        cdef const int64_t* given = NULL
        cdef ptrdiff_t bad, threads
        if not self.lay_gradient():
            return None
        if not self.is_native(grad_output) or not lies_ready(
            grad_output, self.written, self.alignment, self.output_shape, &gradient
        ):
            return None
        source.begin = source.end = places.begin = places.end = NULL
        if self.way == SCATTERS:
            if indices is None and (array is None or self.finds_first):
                return None
            if array is not None and (
                not self.is_native(array) or not lies_ready(array, self.read, self.alignment, None, &source)
            ):
                return None
            if indices is not None:
                if type(indices) is not NDARRAY or not is_index(indices.dtype) or not lies_ready(
                    indices, self.indexed, 8, self.output_shape, &places
                ):
                    return None
                given = <const int64_t*> places.begin
        result = self.target(out, self.input_shape, self.read, &target)
        if result is None or (out is not None and (
            meet(&gradient, &target) or meet(&source, &target) or meet(&places, &target)
        )):
            return None
        threads = threads_for(
            self.read + self.written,
            "spread" if self.way != SCATTERS else "search" if indices is None else "scatter")
        if self.divides is not None:
            divided = self.target(None, self.output_shape, self.written, &source)  # no-cython-lint
            self.divide_windows(gradient.begin, source.begin, threads)
            gradient = source
        bad = self.send_back(source.begin, given, gradient.begin, target.begin, threads)
        if bad >= 0:
            self.call.refuse_index(indices, bad)
        return result


@cython.final
cdef class Entry:
    """What the public functions do.

    Parameters
    ----------
    known : dict
        The `Runner` of each earlier call by its `signature`.
    forward_otherwise : callable
        Takes ``(function, input, out, return_indices, arguments)`` where `forward` finds no call or cannot run it.
    backward_otherwise : callable
        Takes ``(function, grad_output, input, indices, out, arguments)`` where `backward` does not.
    """

    cdef dict known
    cdef object forward_otherwise, backward_otherwise

    def __cinit__(self, dict known not None, forward_otherwise, backward_otherwise):
        self.known = known
        self.forward_otherwise = forward_otherwise
        self.backward_otherwise = backward_otherwise

    cdef Runner earlier(self, function, input, tuple arguments):
        try:
            return look_up(self.known, signature(function, input, arguments))
        except TypeError:
            return None

    def forward(self, function, input, out, return_indices, *arguments):
        """Pool like an earlier call; `arguments` are those of the function that tell its windows and what they make."""
        cdef Runner earlier
        if type(input) is NDARRAY and type(return_indices) is bool:
            earlier = self.earlier(function, input, arguments)
            if earlier is not None:
                result = earlier.forward(input, out, return_indices)
                if result is None and out is None:
                    result = earlier.forward_moved(input, return_indices)
                if result is not None:
                    return result
        return self.forward_otherwise(function, input, out, return_indices, arguments)

    def backward(self, function, grad_output, input, indices, out, *arguments):
        """Return the gradient of such a call; `indices` are those that the forward call returned, or None."""
        cdef Runner earlier
        if type(input) is NDARRAY and type(grad_output) is NDARRAY:
            earlier = self.earlier(function, input, arguments)
            if earlier is not None:
                result = earlier.backward(grad_output, input, indices, out)
                if result is None and out is None:
                    result = earlier.backward_moved(grad_output, input, indices)
                if result is not None:
                    return result
        return self.backward_otherwise(function, grad_output, input, indices, out, arguments)
