# Calls like earlier ones, from the arguments of a public function to its kernel. What is not as usual goes to Python
# (pooling/calls.py): arguments that are new or not plain, what is no plain ndarray or does not lie in memory as kernels
# read it, and an `out` that may have to be refused.

cdef object TRUE = object()
cdef object FALSE = object()


# The types themselves: what is derived from them may say something else each time it is asked.
cdef frozenset NUMPY_INTEGERS = frozenset([numpy_dtype(code).type for code in "bBhHiIlLqQ"])


cdef bint all_integers(entries):
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
        if all_integers(value):
            return tuple(value)
        return tuple([token(entry, depth + 1) for entry in value])
    if kind is float:
        # For a dictionary 1.0 is 1, too.
        return kind, value
    if kind in NUMPY_INTEGERS:
        return int(value)
    raise TypeError("no plain value")


cdef tuple signed(function, shape, dtype, tuple arguments):
    cdef Py_ssize_t i
    cdef tuple key = PyTuple_New(len(arguments) + 3)
    for i in range(len(arguments) + 3):
        value = function if i == 0 else shape if i == 1 else dtype if i == 2 else token(arguments[i - 3], 0)
        Py_INCREF(value)
        PyTuple_SET_ITEM(key, i, value)
    return key


def signature(function, array, tuple arguments not None):
    """Return the key of a call: function, shape and dtype of the input, and arguments."""
    return signed(function, array.shape, array.dtype, arguments)


cdef struct memory_t:
    char* begin
    char* end
    bint writable


cdef bint lies_ready(array, ptrdiff_t nbytes, ptrdiff_t alignment, memory_t* memory) except -1:
    """Tell where the elements of an ndarray lie, and whether kernels can read them as they do."""
    cdef Py_buffer view
    cdef bint ready
    # NumPy takes no note of who looks at an array; its memory stays as long as the array does.
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    ready = view.len == nbytes and <size_t> view.buf % alignment == 0 and PyBuffer_IsContiguous(&view, b"C")
    memory.begin = <char*> view.buf
    memory.end = memory.begin + view.len
    memory.writable = not view.readonly
    PyBuffer_Release(&view)
    return ready


@cython.final
cdef class Forward:
    """A resolved forward call.

    Parameters
    ----------
    call : pooling.calls.Call
    threads_for : callable
        Tells how many threads a call uses that moves so many bytes.
    """

    cdef readonly object call
    cdef Plan plan, index_plan
    cdef int reducer, kind, rounding
    cdef object output_shape, dtype, threads_for, nbytes, nbytes_indexed
    cdef ptrdiff_t read, written, alignment

    def __cinit__(self, call, threads_for):
        self.call = call
        self.plan = call.plan
        self.index_plan = call.index_plan
        self.reducer = call.reducer
        self.kind = call.kind
        self.rounding = call.rounding
        self.output_shape = call.output_shape
        self.dtype = call.dtype
        self.threads_for = threads_for
        self.read = self.plan.read * <ptrdiff_t> self.dtype.itemsize
        self.written = self.plan.written * <ptrdiff_t> self.dtype.itemsize
        self.alignment = self.dtype.alignment
        self.nbytes = call.nbytes
        self.nbytes_indexed = call.nbytes + 8 * self.plan.written

    cdef object run(self, array, dtype, out, bint indexed):
        """Pool an ndarray of the resolved shape; return None, having done nothing, where Python must look at it."""
        cdef memory_t source, target
        cdef bint ready = (dtype is self.dtype or dtype == self.dtype) and lies_ready(
            array, self.read, self.alignment, &source)
        if not ready:
            return None
        if out is None:
            result = empty(self.output_shape, self.dtype)
        elif type(out) is ndarray and out.dtype is self.dtype and out.shape == self.output_shape:
            result = out
        else:
            return None
        if not lies_ready(result, self.written, self.alignment, &target) or not target.writable or (
            target.begin < source.end and source.begin < target.end
        ):
            return None
        if indexed:
            indices = empty(self.output_shape, int64)
            forward_indexed(
                self.index_plan, self.reducer, self.kind, array, result, indices, self.threads_for(self.nbytes_indexed))
            return result, indices
        pool_into(
            self.plan, self.reducer, self.kind, self.rounding, source.begin, target.begin,
            self.threads_for(self.nbytes))
        return result


@cython.final
cdef class Pooling:
    """What the public functions do.

    Parameters
    ----------
    known : dict
        The `Forward` of each earlier call by its `signature`.
    otherwise : callable
        Takes ``(function, input, out, return_indices, arguments)`` where `forward` finds no call or cannot run it.
    """

    cdef dict known
    cdef object otherwise

    def __cinit__(self, dict known not None, otherwise):
        self.known = known
        self.otherwise = otherwise

    cdef Forward earlier(self, function, input, dtype, tuple arguments):
        try:
            return self.known.get(signed(function, input.shape, dtype, arguments))
        except TypeError:
            return None

    def find(self, function, array, tuple arguments not None):
        """Return an earlier call with the same arguments, or None."""
        cdef Forward earlier = self.earlier(function, array, array.dtype, arguments)
        return None if earlier is None else earlier.call

    def forward(self, function, input, out, return_indices, *arguments):
        """Pool like an earlier call; `arguments` are those of the function that tell its windows and what they make."""
        cdef Forward earlier
        if type(input) is ndarray and type(return_indices) is bool:
            dtype = input.dtype
            earlier = self.earlier(function, input, dtype, arguments)
            if earlier is not None:
                result = earlier.run(input, dtype, out, return_indices)
                if result is not None:
                    return result
        return self.otherwise(function, input, out, return_indices, arguments)
