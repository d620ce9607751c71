# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
# cython: emit_code_comments=False, freethreading_compatible=True
"""All kernels, compiled once for every instruction-set level.

Arrays come in as contiguous buffers whose meaning a `Plan` tells; every check of arguments has been made in Python, but
what memory is reached by is checked here once more: sizes of buffers, numbers that tables are read at, and cells that a
table names. So no caller can make a kernel write beyond a buffer (tests/test_buffers.py tries).
"""

cimport cython
from libc.math cimport NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from across cimport (
    across, across_rare, along, fill_empty, fill_identity, is_rare, widen_across, widen_along, widen_group,
    widen_windows, windows,
)
from argmax cimport across_row_t, argmax_across, argmax_tap, has_winners, name_places, taps_t, winners
from conversions cimport (
    BFLOAT16_INFINITY, FLOAT16_INFINITY, NAN_ABOVE, NAN_BELOW, float_to_bfloat16, float_to_float16, half_to_key,
    key_to_half, round_to_odd, saturate,
)
from division cimport (
    FLOOR, HALF_EVEN, HALF_UP, TRUNC, divide, divide_each, divide_integers, divide_integers_each,
)
from views cimport gather_maps, map_at, maps_t
from pooling._core cimport (
    advance, axis_t, bands_cells, bands_of, Buffer, ceil_divide, climbs, climbs_rows, is_stopped, last_level_cache,
    ladder_cells, needs_cores, origin_of, output_offset, pieces_of, pieces_t, Plan, plan_t, planes_t, reach_of,
    reduces_rows, round_up, row_of, row_t, rows_of_output, rows_spanned, share, slides_along, steps_of, top_rung,
    window_of, window_t, work_fn, GATHERS, Runner as AnyRunner, SPREADS,
)
from reducers cimport (
    COUNT_NUMBER, GREATEST, GREATEST_NUMBER, GREATEST_PLAIN, REDUCERS_, SMALLEST, SMALLEST_NUMBER, SMALLEST_PLAIN,
    TOTAL, TOTAL_NUMBER, better, combine, extreme_t, greatest, greatest_number, highest, lowest, number_of, order_t,
    reducer_t, smallest, smallest_number, total,
)
from scatter cimport add_run, add_spread, repeat, scatter, scatter_four, scatter_runs, interleave
from tuning cimport (
    ADAPTIVE_CELLS, ARGMAX_LANES, BAND_CELLS, BLOCK, BLOCK_SUMS, BLUR_CELLS, BYTE_COLUMNS, BYTE_MEAN_ROWS, BYTE_ROWS,
    CACHE_BY_INDICES, CONVERTED_CELLS, CORE_CELLS, CORE_ROWS, COST_OF_HALVES, COST_OF_LEVEL, COST_OF_LONG,
    COST_OF_OVERLAP, COST_OF_RING, COST_OF_ROW, COST_OF_STEP, COST_OF_STEP_16, COST_OF_STEP_8, DIVISORS, FETCHED_BYTES,
    FEWEST_BYTES, FEWEST_BYTE_MEANS, FEWEST_CHANNELS, FEWEST_FETCHED, FEWEST_HALVES, FEWEST_IN_REGISTERS, FEWEST_LANES,
    FEWEST_LINE_BYTES, FEWEST_TAPS, FEW_CHANNELS, FOUND_CELLS, LANES, LANES_AT_ONCE, LANES_GRIDS, LANES_HELD,
    LANES_TOGETHER, LEVELS_TO_CONVERT, LINE_COLUMNS, LINE_ROWS, LINE_TILE, LONG_BYTES, LONG_ROW_CELLS, LYING_BYTES,
    MANY_PLANES, MAP_BYTES, MEANS_TOGETHER, MOST_LEVELS, MOST_LINES, MOST_LONG_ROWS, MOST_NORMS, MOST_OF_RUNS,
    MOST_PHASES, MOST_POWERS, MOST_REACH, MOST_TAPS, MOST_VIEWED_BYTES, NORM_PART, PIECE, PIXEL_CHANNELS,
    ROUNDINGS_OF_ROWS, RUNGS, RUNNING_CELLS, RUNNING_LINE_TAPS, RUNNING_TAPS, RUNNING_WIDTH, RUN_CELLS, RUN_CHANNELS,
    RUN_OVERLAP, SEARCHED_ADAPTIVE_TAPS, SEARCHED_ROW, SEARCHED_TAPS, SPARSE_OUTPUTS, SPREAD_CELLS, SPREAD_ROW_CELLS,
    STACK_CELLS, STRIP, STRIP_CHANNELS, SUMS_BYTES, TAPS, TILE_OUTPUTS, TILE_SIDE, TOGETHER, VIEWED_BYTES,
    WORKING_BYTES,
)
from types cimport (
    bfloat16_t, bits_t, float16_t, int8_t, int16_t, int32_t, int64_t, int128_t, integer_t, offset_t, pair_t, real_t,
    stored_t, sum_t, uint8_t, uint16_t, uint32_t, uint64_t, value_t, wide_t,
)

from numpy import bincount

cdef extern from *:
    """
    #define POOLING_ALONE_VOID __attribute__((noinline)) void
    """
    # The result of a function that is compiled by itself, wherever it is called.
    ctypedef void alone_t "POOLING_ALONE_VOID"

cdef extern from "c/level.h":
    const char* POOLING_LEVEL

LEVEL = (<bytes> POOLING_LEVEL).decode("ascii")

cdef ptrdiff_t checked_size(sizes) except -1:
    """Multiply sizes; none is negative, and memory can hold the product."""
    product = 1
    for size in sizes:
        if size < 0:
            raise ValueError(f"a size of {size} elements was given to a kernel")
        product *= max(size, 1)
    if product >= 1 << 58:
        raise ValueError(f"a kernel was given sizes of {product} elements, which no memory holds")
    return 0 if 0 in sizes else product


cdef int check_row(int row, int rows) except -1:
    """Refuse a number that a table of leaves has no row for."""
    if not 0 <= row < rows:
        raise ValueError(f"these kernels know no reducer, dtype or rounding of number {row}")
    return row


include "memory.pxi"
include "leaves.pxi"
include "strategy.pxi"
include "ladder.pxi"
include "bands.pxi"
include "stacks.pxi"
include "flat.pxi"
include "strips.pxi"
include "running.pxi"
include "cores.pxi"
include "bytes.pxi"
include "byte_means.pxi"
include "byte_lines.pxi"
include "singles.pxi"
include "argmax_rows.pxi"
include "argmax_stacks.pxi"
include "argmax_long.pxi"
include "argmax_search.pxi"
include "spread.pxi"
include "spread_runs.pxi"
include "scatter.pxi"
include "strategies.pxi"
include "relaid.pxi"
include "tables.pxi"
include "leaf_tests.pxi"
include "norms.pxi"
include "powers.pxi"
include "factors.pxi"
include "whole_norms.pxi"
include "blurs.pxi"
include "blur_gradients.pxi"
include "max_blur_gradients.pxi"
include "regions.pxi"
include "region_lanes.pxi"
include "unpooling.pxi"
include "fractional.pxi"
include "blocks.pxi"


cdef const leaves_t* leaves_for(int reducer, int kind) except NULL:
    check_row(reducer, REDUCERS_)
    check_row(kind, KINDS_)
    if LEAVES[reducer][kind].across == NULL:
        raise ValueError("these kernels do not know this reducer for this dtype")
    return &LEAVES[reducer][kind]


cdef const leaves_t* leaves_of(const plan_t* plan, int reducer, int kind) except NULL:
    """Choose the leaves of a forward call: sums of integers are made in as few bits as can hold them."""
    cdef const leaves_t* leaves = leaves_for(reducer, kind)
    cdef int width
    for width in range(2 if reducer == TOTAL else 0):
        if width == 0 and SHORT_SUMS[1][kind].exchange != NULL and runs_on(plan) and not (
            SHORT_SUMS[0][kind].turn >= 0 and lies_in_lines(plan)
        ):
            continue
        leaves = &SHORT_SUMS[width][kind]
        if leaves.across != NULL and plan.taps <= <double> (<int64_t> 1 << 8 * (leaves.value - leaves.storage) - 1):
            return leaves
    return leaves_for(reducer, kind)


cdef argmax_t argmax_of(const plan_t* plan, int reducer, int kind) except *:
    """Return the leaves that find indices."""
    cdef argmax_t argmax
    check_row(kind, KINDS_)
    if not 0 <= reducer <= TOTAL or ARGMAX[reducer][kind].across == NULL:
        raise ValueError("these kernels do not know this reducer for this dtype")
    argmax = ARGMAX[reducer][kind]
    argmax.wide = plan.reach > MOST_REACH
    argmax.streams = False
    return argmax


cdef const gradient_t* gradient_of(int kind) except NULL:
    if GRADIENTS[check_row(kind, KINDS_)].scatter == NULL:
        raise ValueError("these kernels know no gradient for this dtype")
    return &GRADIENTS[kind]


cdef const leaves_t* leaves_of_rows(const plan_t* plan, const leaves_t* leaves, int reducer, int kind) noexcept:
    """Choose the leaves that combine the rows of windows."""
    if kind == FLOAT32_AS_64 and widens_late(plan):
        return &LEAVES[reducer][FLOAT32]
    return leaves


cdef int lay_forward(
    Plan plan, int reducer, int kind, int rounding, const char* src, char* dst, forward_t* job, leaves_t* leaves
) except -1:
    """Say what is pooled into what, by which leaves."""
    cdef ptrdiff_t moved
    leaves[0] = leaves_of(&plan.plan, reducer, kind)[0]
    if leaves.divide == NULL:
        leaves.divide = DIVIDE[rounding][width_of(leaves.value)]
        leaves.divide_each = DIVIDE_EACH[rounding][width_of(leaves.value)]
    job.plan = &plan.plan
    job.leaves = leaves
    job.rows = leaves_of_rows(&plan.plan, leaves, reducer, kind)
    job.src = src
    job.dst = dst
    job.rounding = rounding
    job.kind = kind
    moved = (plan.read + plan.written) * leaves.storage
    job.fetches = moved > last_level_cache() // CACHE_BY_INDICES and not climbs_rows(&plan.plan) and (
        slides_down(&plan.plan) or reduces_rows(&plan.plan) or skips_down(&plan.plan))
    job.streams = slides_down(&plan.plan) and moved > last_level_cache() and leaves.store == NULL
    return 0


cdef int pool_into(
    Plan plan, int reducer, int kind, int rounding, const char* src, char* dst, ptrdiff_t threads
) except -1:
    """Pool memory that has been checked."""
    cdef leaves_t leaves
    cdef call_t call
    cdef const strategy_t* strategy
    cdef forward_t job
    cdef plan_t laid
    if plan.written == 0:
        return 0
    lay_forward(plan, reducer, kind, rounding, src, dst, &job, &leaves)
    call = forward_call(&plan.plan, &leaves)
    strategy = choose(FORWARD, &call)
    if strategy.work == forward_bands and lay_again(&job, threads, &laid):
        job.plan = call.plan = &laid
    share(strategy.work, &job, strategy.tasks(&call), strategy.scratch(&call), threads)
    return 0


def forward(Plan plan not None, int reducer, int kind, src, dst, ptrdiff_t threads=1, int rounding=0):
    """Pool `src` into `dst`.

    Parameters
    ----------
    plan : Plan
    reducer : int
        One of `REDUCERS`.
    kind : int
        One of `KINDS`: the dtype of the arrays and that of the rows.
    src, dst : buffer
        Contiguous, of the sizes that the plan says.
    threads : int
        At most this many.
    rounding : int
        One of `ROUNDINGS`, for averages of integers.
    """
    check_row(rounding, 4)
    cdef const leaves_t* leaves = leaves_for(reducer, kind)
    cdef Buffer source = Buffer(src, plan.read * leaves.storage)
    cdef Buffer target = Buffer(dst, plan.written * leaves.storage, True)
    pool_into(plan, reducer, kind, rounding, source.data, target.data, threads)


cdef bint streams_indices(Plan plan, ptrdiff_t storage) noexcept:
    """Whether indices go past the caches, which hold less than the call moves."""
    return plan.read * storage + plan.written * (storage + 8) > last_level_cache() // CACHE_BY_INDICES


cdef int find_into(
    Plan plan, int reducer, int kind, const char* src, char* dst, int64_t* indices, ptrdiff_t threads
) except -1:
    """Pool memory that has been checked, and find the indices."""
    cdef argmax_t argmax = argmax_of(&plan.plan, reducer, kind)
    cdef argmax_t keyed
    cdef long_t sizes
    cdef call_t call
    cdef const strategy_t* strategy
    cdef indexed_t job
    if plan.written == 0:
        return 0
    argmax.streams = streams_indices(plan, argmax.storage)
    job.plan = &plan.plan
    job.argmax = &argmax
    job.src = src
    job.dst = dst
    job.indices = indices
    keyed = argmax_of_long(&plan.plan, &argmax)
    sizes = lay_long(&plan.plan, &keyed, False)
    call = argmax_call(&plan.plan, &argmax, &keyed, &sizes)
    strategy = choose(INDICES, &call)
    if strategy.work == argmax_long:
        job.argmax = &keyed
    if strategy.work == search_windows:
        # What is looked for are the maxima.
        pool_into(plan, reducer, kind, 0, src, dst, threads)
    share(strategy.work, &job, strategy.tasks(&call), strategy.scratch(&call), threads)
    return 0


def forward_indexed(Plan plan not None, int reducer, int kind, src, dst, indices, ptrdiff_t threads=1):
    """Pool `src` into `dst` and write the int64 index of each argmax into `indices`; arguments as in `forward`."""
    cdef argmax_t argmax = argmax_of(&plan.plan, reducer, kind)
    cdef Buffer source = Buffer(src, plan.read * argmax.storage)
    cdef Buffer target = Buffer(dst, plan.written * argmax.storage, True)
    cdef Buffer index = Buffer(indices, plan.written * 8, True)
    find_into(plan, reducer, kind, source.data, target.data, <int64_t*> index.data, threads)


cdef int spread_into(Plan plan, int kind, const char* grad_output, char* grad_input, ptrdiff_t threads) except -1:
    """Spread gradients over memory that has been checked."""
    cdef gradient_t leaves = gradient_of(kind)[0]
    cdef call_t call
    cdef const strategy_t* strategy
    cdef spreading_t job
    if plan.read == 0:
        return 0
    job.plan = &plan.plan
    job.leaves = &leaves
    job.grad_output = grad_output
    job.grad_input = grad_input
    call = mean_gradient_call(&plan.plan, &leaves)
    strategy = choose(MEANS, &call)
    share(strategy.work, &job, strategy.tasks(&call), strategy.scratch(&call), threads)
    return 0


def average_backward(Plan plan not None, int kind, grad_output, grad_input, ptrdiff_t threads=1):
    """Write the gradient of an average, or of a sum, into `grad_input`; arguments as in `forward`."""
    cdef const gradient_t* leaves = gradient_of(kind)
    cdef Buffer source = Buffer(grad_output, plan.written * leaves.sum.storage)
    cdef Buffer target = Buffer(grad_input, plan.read * leaves.sum.storage, True)
    spread_into(plan, kind, source.data, target.data, threads)


cdef int divide_into(Plan plan, int kind, const char* src, char* dst, ptrdiff_t threads) except -1:
    """Divide memory that has been checked."""
    cdef const leaves_t* leaves = &GRADIENTS[kind].sum
    cdef quotients_t job
    if leaves.load != NULL or leaves.divide_each == NULL:
        raise ValueError("these kernels divide float32 and float64 only")
    if plan.written == 0:
        return 0
    job.plan = &plan.plan
    job.leaves = leaves
    job.src = src
    job.dst = dst
    job.rows = plan.written // (plan.plan.axes[2].output_size * plan.plan.inner)
    share(
        divide_cells, &job, ceil_divide(job.rows, divided_together(&plan.plan)), sizeof(divisors_t), threads,
        divided_together(&plan.plan) * plan.plan.axes[2].output_size * plan.plan.inner)
    return 0


def divide_by_place(Plan plan not None, int kind, src, dst, ptrdiff_t threads=1):
    """Divide `src`, of the size of the plan's result, into `dst`: each cell by the divisor of its window.

    `kind` is one of `KINDS` whose rows hold the arrays' own dtype.
    """
    cdef ptrdiff_t value = GRADIENTS[check_row(kind, KINDS_)].sum.value
    cdef Buffer source = Buffer(src, plan.written * value)
    cdef Buffer target = Buffer(dst, plan.written * value, True)
    divide_into(plan, kind, source.data, target.data, threads)


cdef ptrdiff_t scatter_into(
    Plan plan, int reducer, int kind, int gradient_kind, const char* src, const int64_t* indices,
    const char* grad_output, char* grad_input, ptrdiff_t threads,
) except -2:
    """Send gradients to elements of memory that has been checked; `indices` may be NULL, or else `src`."""
    cdef gradient_t leaves = gradient_of(gradient_kind)[0]
    cdef argmax_t argmax = argmax_of(&plan.plan, reducer, kind)
    cdef ptrdiff_t fault, rows
    cdef long_t sizes
    cdef call_t call
    cdef const strategy_t* strategy
    cdef scattering_t job
    cdef char* memory
    if plan.read == 0:
        return -1
    if indices == NULL and is_searched(&plan.plan):
        # There are few, and they are looked for over the whole of a window, whatever part of a plane is made.
        memory = <char*> malloc(plan.written * (8 + argmax.storage) + 1)
        if memory == NULL:
            raise MemoryError("no memory for the indices of windows")
        try:
            find_into(plan, reducer, kind, src, memory + plan.written * 8, <int64_t*> memory, threads)
            return scatter_into(
                plan, reducer, kind, gradient_kind, src, <int64_t*> memory, grad_output, grad_input, threads)
        finally:
            free(memory)
    job.plan = &plan.plan
    job.leaves = &leaves
    job.argmax = &argmax
    job.input = src
    job.indices = indices
    job.grad_output = grad_output
    job.grad_input = grad_input
    job.parts = parts_of(&plan.plan, &leaves, indices != NULL)
    job.local = True
    if indices != NULL and job.parts > 1:
        # Each part reads the indices of windows that reach it; should others name it as well, all of them.
        rows = rows_of_output(&plan.plan) * plan.plan.segments
        job.local = share(check_indices, &job, rows, 0, threads) < 0
        if not job.local:
            fault = share(check_indices, &job, rows, 0, threads)
            if fault >= 0:
                return fault
    sizes = lay_long(&plan.plan, &argmax, True)
    call = gradient_call(&plan.plan, &argmax, &leaves, &sizes, indices == NULL, job.parts)
    strategy = choose(SCATTERED, &call)
    return share(strategy.work, &job, strategy.tasks(&call), strategy.scratch(&call), threads)


def scatter_backward(
    Plan plan not None, int reducer, int kind, int gradient_kind, src, indices, grad_output, grad_input,
    ptrdiff_t threads=1,
):
    """Write the gradient of a maximum or minimum into `grad_input`.

    `indices` are those of the forward call; where it is None they are found again in `src`. Returns the position in
    `indices` of the first that names no element of its plane, or -1 when all do.
    """
    cdef ptrdiff_t storage = gradient_of(gradient_kind).sum.storage
    cdef Buffer source, index
    cdef Buffer gradient = Buffer(grad_output, plan.written * storage)
    cdef Buffer target = Buffer(grad_input, plan.read * storage, True)
    cdef const char* read = NULL
    cdef const int64_t* given = NULL
    if indices is None:
        source = Buffer(src, plan.read * argmax_of(&plan.plan, reducer, kind).storage)
        read = source.data
    else:
        index = Buffer(indices, plan.written * 8)
        given = <const int64_t*> index.data
    return scatter_into(plan, reducer, kind, gradient_kind, read, given, gradient.data, target.data, threads)


include "views.pxi"


@cython.final
cdef class Runner(AnyRunner):
    """Runs a resolved call with the kernels of this level."""

    cdef int pool(self, const char* src, char* dst, ptrdiff_t threads) except -1:
        return pool_into(self.plan, self.reducer, self.kind, self.rounding, src, dst, threads)

    cdef int find(self, const char* src, char* dst, int64_t* indices, ptrdiff_t threads) except -1:
        return find_into(self.index_plan, self.reducer, self.kind, src, dst, indices, threads)

    cdef int pool_maps(self, const maps_t* maps, char* dst, ptrdiff_t threads) except -1:
        return pool_maps_into(self.plan, self.reducer, self.kind, self.rounding, maps, dst, threads)

    cdef int find_maps(self, const maps_t* maps, char* dst, int64_t* indices, ptrdiff_t threads) except -1:
        return find_maps_into(self.index_plan, self.reducer, self.kind, maps, dst, indices, threads)

    cdef int divide_windows(self, const char* src, char* dst, ptrdiff_t threads) except -1:
        return divide_into(self.divides, self.kind, src, dst, threads)

    cdef ptrdiff_t send_back(
        self, const char* src, const int64_t* indices, const char* gradient, char* dst, ptrdiff_t threads
    ) except -2:
        if self.way == GATHERS:
            pool_into(self.gradient_plan, TOTAL, self.gradient_kind, 0, gradient, dst, threads)
        elif self.way == SPREADS:
            spread_into(self.gradient_plan, self.gradient_kind, gradient, dst, threads)
        else:
            return scatter_into(
                self.gradient_plan, self.reducer, self.kind, self.gradient_kind, src, indices, gradient, dst, threads)
        return -1
