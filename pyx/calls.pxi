# Calls like earlier ones, from the arguments of a public function to its kernel. What is not as usual goes to Python
# (pooling/calls.py): arguments that are new, arrays that must be copied first, an `out` that may have to be refused.

cdef object TRUE = object()
cdef object FALSE = object()


cdef bint all_integers(entries):
    for entry in entries:
        if type(entry) is not int:
            return False
    return True


cdef object token(value):
    """Return what stands for an argument in a signature: the same only for equal arguments of the same types.

    Raises TypeError for what may change while it is remembered.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is bool:
        # For a dictionary True is 1.
        return TRUE if value else FALSE
    if kind is tuple:
        return value if all_integers(<tuple> value) else tuple([token(entry) for entry in <tuple> value])
    if kind is list and all_integers(<list> value):
        return kind, tuple(<list> value)
    hash(value)
    return kind, value


cdef tuple signature(function, shape, dtype, tuple arguments):
    cdef Py_ssize_t i
    cdef tuple key = PyTuple_New(len(arguments) + 3)
    for i in range(len(arguments) + 3):
        value = function if i == 0 else shape if i == 1 else dtype if i == 2 else token(arguments[i - 3])
        Py_INCREF(value)
        PyTuple_SET_ITEM(key, i, value)
    return key


cdef inline bint as_kernels_need_it(const Py_buffer* view, ptrdiff_t nbytes, ptrdiff_t alignment) noexcept:
    return view.len == nbytes and <size_t> view.buf % alignment == 0 and PyBuffer_IsContiguous(view, b"C")


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
    cdef Plan plan
    cdef int reducer, kind, rounding
    cdef object output_shape, dtype, threads_for, nbytes
    cdef ptrdiff_t itemsize, alignment

    def __cinit__(self, call, threads_for):
        self.call = call
        self.plan = call.plan
        self.reducer = call.reducer
        self.kind = call.kind
        self.rounding = call.rounding
        self.output_shape = call.output_shape
        self.dtype = call.dtype
        self.itemsize = self.dtype.itemsize
        self.alignment = self.dtype.alignment
        self.threads_for = threads_for
        self.nbytes = call.nbytes

    cdef object run(self, array, dtype, out):
        """Pool an ndarray of the resolved shape; return None, having done nothing, where it takes Python to do so."""
        cdef Py_buffer source, target
        cdef ptrdiff_t written = self.plan.written * self.itemsize
        if dtype is not self.dtype and dtype != self.dtype:
            return None
        if out is None:
            result = empty(self.output_shape, self.dtype)
        elif type(out) is ndarray and out.dtype is self.dtype and out.shape == self.output_shape:
            result = out
        else:
            return None
        PyObject_GetBuffer(array, &source, PyBUF_STRIDES)
        try:
            if not as_kernels_need_it(&source, self.plan.read * self.itemsize, self.alignment):
                return None
            PyObject_GetBuffer(result, &target, PyBUF_STRIDES)
            try:
                if out is not None and (
                    target.readonly or not as_kernels_need_it(&target, written, self.alignment) or (
                        <char*> target.buf < <char*> source.buf + source.len
                        and <char*> source.buf < <char*> target.buf + target.len)
                ):
                    return None
                pool_into(
                    self.plan, self.reducer, self.kind, self.rounding, <char*> source.buf, <char*> target.buf,
                    self.threads_for(self.nbytes))
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)
        return result


@cython.final
cdef class Calls:
    """Calls that were resolved, by their signature: function, shape and dtype of the input, and arguments.

    Parameters
    ----------
    most : int
        Number of calls to remember.
    otherwise : callable
        Takes ``(function, input, out, return_indices, arguments)`` where `forward` finds no call or cannot run it.
    """

    cdef dict known
    cdef Py_ssize_t most
    cdef object otherwise

    def __cinit__(self, Py_ssize_t most, otherwise):
        self.known = {}
        self.most = most
        self.otherwise = otherwise

    def find(self, function, array, tuple arguments not None):
        """Return the `Forward` with this signature or None; raise TypeError for arguments that cannot be hashed."""
        return self.known.get(signature(function, array.shape, array.dtype, arguments))

    def remember(self, function, array, tuple arguments not None, Forward forward not None):
        """Let `find` find a call."""
        key = signature(function, array.shape, array.dtype, arguments)
        if len(self.known) >= self.most:
            self.known.clear()
        self.known[key] = forward

    def forward(self, function, input, out, return_indices, *arguments):
        """Pool like an earlier call; `arguments` are those of the function that tell its windows and what they make."""
        if type(input) is ndarray and return_indices is False:
            dtype = input.dtype
            try:
                found = self.known.get(signature(function, input.shape, dtype, arguments))
            except TypeError:
                found = None
            if found is not None:
                result = (<Forward> found).run(input, dtype, out)
                if result is not None:
                    return result
        return self.otherwise(function, input, out, return_indices, arguments)
