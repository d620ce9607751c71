# Blocks of arrays of any axes that do not overlap. The loops are C, in c/blocks.h; here a call is laid out and checked.


cdef extern from "c/blocks.h":
    enum: POOLING_U8, POOLING_I8, POOLING_U16, POOLING_I16, POOLING_U32, POOLING_I32, POOLING_U64, POOLING_I64
    enum: POOLING_F16, POOLING_BF16, POOLING_F32, POOLING_F64, POOLING_I128, POOLING_KINDS_
    enum: POOLING_SUM, POOLING_MEAN, POOLING_COUNT, POOLING_MAX, POOLING_MIN, POOLING_MEDIAN, POOLING_MODE
    enum: POOLING_FIRST, POOLING_RMS, POOLING_STD, POOLING_VAR, POOLING_OPS_, POOLING_OUTER, POOLING_STAGES
    const int block_sizes_of "pooling_kind_size"[]

    ctypedef struct block_operand_t "pooling_operand_t":
        const char* at
        ptrdiff_t step[5]
        ptrdiff_t row_step, inner_step
    ctypedef struct block_stage_t "pooling_stage_t":
        char* dst
        double* share
        ptrdiff_t cells[5]
        ptrdiff_t outs[5]
        ptrdiff_t factor[5]
        ptrdiff_t span[5]
        ptrdiff_t row_cells, row_outs, row_factor, row_span
        int sum
    ctypedef struct blocks_t "pooling_blocks_t":
        int op, kind, result, rounding, axes, stages, late, checked, weighted, counted, nodata_is, fill_fails
        int64_t nodata_integer
        double nodata
        uint64_t fill
        double min_valid
        ptrdiff_t origin[5]
        ptrdiff_t row_origin, inner
        block_operand_t elements, mask, weight, count
        void* load
        void* store
        char* carry
        int32_t* carry_counts
        ptrdiff_t tasks, nbytes
        block_stage_t stage[33]
    void lay_out_blocks "pooling_blocks_lay_out" (blocks_t* job) nogil
    ptrdiff_t reduce_blocks_of "pooling_reduce_blocks" (
        const void* job, char* scratch, ptrdiff_t begin, ptrdiff_t end) noexcept nogil
    void* block_add_of "pooling_add_of" (int source, int target) nogil
    int block_key_kind "pooling_key_kind" (int kind) nogil


cdef extern from "Python.h":
    enum: PyBUF_STRIDES
    int PyObject_GetBuffer(object, Py_buffer*, int) except -1
    void PyBuffer_Release(Py_buffer*)


BLOCK_OPS = {
    "sum": POOLING_SUM, "mean": POOLING_MEAN, "count": POOLING_COUNT, "max": POOLING_MAX, "min": POOLING_MIN,
    "median": POOLING_MEDIAN, "mode": POOLING_MODE, "first": POOLING_FIRST, "rms": POOLING_RMS, "std": POOLING_STD,
    "var": POOLING_VAR,
}
BLOCK_KINDS = {
    "uint8": POOLING_U8, "int8": POOLING_I8, "uint16": POOLING_U16, "int16": POOLING_I16, "uint32": POOLING_U32,
    "int32": POOLING_I32, "uint64": POOLING_U64, "int64": POOLING_I64, "float16": POOLING_F16,
    "bfloat16": POOLING_BF16, "float32": POOLING_F32, "float64": POOLING_F64, "int128": POOLING_I128,
    "bool": POOLING_U8,
}


cdef class Strided:
    """Hold on to the memory of an array of any strides."""
    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, array, ptrdiff_t itemsize):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDES)
        self.held = True
        if self.view.itemsize != itemsize:
            raise ValueError(f"elements of {self.view.itemsize} bytes were given where {itemsize} are needed")

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef int place_operand(block_operand_t* operand, Strided held, Strided like, int axes) except -1:
    """Say where an operand lies, which must have the shape of the elements: outer axes, rows, and what is behind."""
    cdef int a
    if held.view.ndim != like.view.ndim:
        raise ValueError("the operands of blocks differ in shape")
    for a in range(held.view.ndim):
        if held.view.shape[a] != like.view.shape[a]:
            raise ValueError("the operands of blocks differ in shape")
    operand.at = <const char*> held.view.buf
    for a in range(axes):
        operand.step[a] = held.view.strides[a]
    operand.row_step = held.view.strides[axes]
    operand.inner_step = held.view.strides[axes + 1]
    return 0


cdef bint makes_blocks(int op, int kind, int result):
    """Whether the loops store results of this kind."""
    cdef bint real = POOLING_F16 <= result <= POOLING_F64
    cdef bint of_reals = POOLING_F16 <= kind <= POOLING_F64
    if op == POOLING_SUM:
        return real or (not of_reals and (result == POOLING_I64 or result == POOLING_U64))
    if op == POOLING_MEAN:
        return real or not of_reals
    if op == POOLING_COUNT:
        return result == POOLING_I64
    if op == POOLING_MEDIAN:
        return real or result == kind
    if op == POOLING_RMS or op == POOLING_STD or op == POOLING_VAR:
        return real
    return result == kind


def reduce_blocks(
    int op, int kind, int result, int rounding, elements, stages, origin, spans, int late, nodata, fill,
    double min_valid, mask=None, weights=None, counts=None, carry=None, carry_counts=None, ptrdiff_t threads=1,
):
    """Reduce blocks, in one or more stages.

    Parameters
    ----------
    op, kind, result, rounding : int
        Of `BLOCK_OPS`, `BLOCK_KINDS` for elements and for results, and `ROUNDINGS`.
    elements : ndarray
        Of any strides: outer axes, the axis of rows, and one of values that lie in a cell (of size 1 where there are
        none); up to seven in all, none of size 0.
    stages : list of tuples
        ``(factors, sum, dst, valid, outs)`` each: factors of the outer axes and of the rows; the kind of the sums; an
        array for the results and a float64 one for valid shares, or None; and how many results there are on these
        axes.
    origin, spans : sequence of int
        On these axes, the original elements, and how many of them an element of `elements` stands for.
    late : int
        The outer axis that is added up last, or -1.
    nodata : int, float or None
        What is left out.
    fill : bytes or None
        What a result is without enough valid elements; None where that is a fault.
    mask, weights, counts : ndarray, optional
        uint8, float64 and int32, of the shape of the elements.
    carry, carry_counts : ndarray, optional
        Where the sums of the last stage go, and int32 counts.
    threads : int
        At most this many.

    Returns
    -------
    int
        The first result that cannot be said, or -1.
    """
    cdef blocks_t job
    cdef Strided held, other
    cdef Buffer target
    cdef list buffers = []
    cdef block_stage_t* stage
    cdef int a, s, size
    cdef ptrdiff_t outs
    cdef bytes bits
    check_row(op, POOLING_OPS_)
    check_row(kind, POOLING_KINDS_)
    check_row(result, POOLING_I128)
    check_row(rounding, 4)
    memset(&job, 0, sizeof(job))
    size = block_sizes_of[kind]
    held = Strided(elements, size)
    job.axes = held.view.ndim - 2
    job.stages = len(stages)
    if not (0 <= job.axes <= POOLING_OUTER and 1 <= job.stages <= POOLING_STAGES and -1 <= late < job.axes):
        raise ValueError("blocks of these numbers of axes and stages are not known")
    if job.stages > 1 and op > POOLING_COUNT:
        raise ValueError("these blocks are made in one stage")
    if kind == POOLING_I128 and op > POOLING_MEAN:
        raise ValueError("these blocks are not known for sums")
    job.op = op
    job.kind = kind
    job.result = result
    job.rounding = rounding
    job.late = late
    job.min_valid = min_valid
    place_operand(&job.elements, held, held, job.axes)
    job.inner = held.view.shape[job.axes + 1]
    for a in range(held.view.ndim):
        if held.view.shape[a] < 1:
            raise ValueError("a kernel was given an array without elements")
    if mask is not None:
        other = Strided(mask, 1)
        place_operand(&job.mask, other, held, job.axes)
        buffers.append(other)
    if weights is not None:
        other = Strided(weights, 8)
        place_operand(&job.weight, other, held, job.axes)
        buffers.append(other)
    if counts is not None:
        other = Strided(counts, 4)
        place_operand(&job.count, other, held, job.axes)
        buffers.append(other)
    job.weighted = weights is not None
    job.counted = counts is not None
    job.checked = nodata is not None or mask is not None or weights is not None
    if job.counted and (job.checked or op > POOLING_COUNT):
        raise ValueError("elements that have counts are sums, and none is left out")
    if nodata is not None:
        job.nodata_is = 2 if nodata != nodata else 1
        job.nodata = nodata
        if kind < POOLING_F16:
            # As its bits, which are those of unsigned ones as well.
            job.nodata_integer = <int64_t> <uint64_t> (nodata & 0xffffffffffffffff)
    job.fill_fails = fill is None
    if fill is not None:
        bits = fill
        if len(bits) != block_sizes_of[result]:
            raise ValueError("what stands for no data has another size than the results")
        memcpy(&job.fill, <const char*> bits, len(bits))
    if kind == POOLING_F16:
        job.load = <void*> <convert_fn> widen[double, float16_t]
    elif kind == POOLING_BF16:
        job.load = <void*> <convert_fn> widen[double, bfloat16_t]
    if result == POOLING_F16:
        job.store = <void*> <convert_fn> double_to_float16
    elif result == POOLING_BF16:
        job.store = <void*> <convert_fn> double_to_bfloat16
    if not makes_blocks(op, kind, result):
        raise ValueError("results of blocks of this dtype are not known")
    stage = &job.stage[0]
    for a in range(job.axes + 1):
        if a < job.axes:
            stage.cells[a] = held.view.shape[a]
            stage.span[a] = spans[a]
            job.origin[a] = origin[a]
        else:
            stage.row_cells = held.view.shape[a]
            stage.row_span = spans[a]
            job.row_origin = origin[a]
        if origin[a] < 1 or spans[a] < 1 or ceil_divide(origin[a], spans[a]) != held.view.shape[a]:
            raise ValueError("the elements of blocks are not those of their origin")
    for s in range(1, job.stages + 1):
        stage = &job.stage[s]
        factors, stage.sum, dst, valid, results = stages[s - 1]
        check_row(stage.sum, POOLING_KINDS_)
        outs = job.inner
        for a in range(job.axes + 1):
            if not 1 <= factors[a] <= 1 << 40 or results[a] < 0:
                raise ValueError("factors of blocks are at least 1")
            if a < job.axes:
                stage.factor[a] = factors[a]
                stage.span[a] = job.stage[s - 1].span[a] * stage.factor[a]
                stage.cells[a] = ceil_divide(job.stage[s - 1].cells[a], stage.factor[a])
                stage.outs[a] = min(<ptrdiff_t> results[a], stage.cells[a])
                outs *= stage.outs[a]
            else:
                stage.row_factor = factors[a]
                stage.row_span = job.stage[s - 1].row_span * stage.row_factor
                stage.row_cells = ceil_divide(job.stage[s - 1].row_cells, stage.row_factor)
                stage.row_outs = min(<ptrdiff_t> results[a], stage.row_cells)
                outs *= stage.row_outs
        if late >= 0 and stage.row_factor != 1:
            raise ValueError("the axis of rows is the last that has blocks")
        if op == POOLING_MAX or op == POOLING_MIN:
            if stage.sum != block_key_kind(kind):
                raise ValueError("extremes are found among keys of another kind")
        elif op <= POOLING_MEAN and block_add_of(
                POOLING_F64 if s == 1 and (kind == POOLING_F16 or kind == POOLING_BF16 or job.weighted)
                else kind if s == 1 else job.stage[s - 1].sum, stage.sum) == NULL:
            raise ValueError("sums of this kind are not known")
        if op == POOLING_SUM and (stage.sum == POOLING_F64) != (POOLING_F16 <= result <= POOLING_F64):
            raise ValueError("sums of this kind are no results")
        if dst is not None:
            target = Buffer(dst, outs * block_sizes_of[result], True)
            stage.dst = target.data
            buffers.append(target)
        if valid is not None:
            target = Buffer(valid, outs * 8, True)
            stage.share = <double*> target.data
            buffers.append(target)
        if s == job.stages and carry is not None:
            outs = job.inner * stage.row_cells
            for a in range(job.axes):
                outs *= stage.cells[a]
            target = Buffer(carry, outs * block_sizes_of[stage.sum], True)
            job.carry = target.data
            buffers.append(target)
            if job.counted or job.checked:
                target = Buffer(carry_counts, outs * 4, True)
                job.carry_counts = <int32_t*> target.data
                buffers.append(target)
        if op > POOLING_COUNT and op != POOLING_MAX and op != POOLING_MIN and stage.dst == NULL:
            raise ValueError("results of blocks have no place")
    lay_out_blocks(&job)
    return share(reduce_blocks_of, &job, job.tasks, job.nbytes, threads)
