# A strategy is a way to do a call: a row of a table in strategies.pxi. Each has a file with its loops, and there says
# which calls it fits, into how many tasks they fall and how many bytes a thread works in.

cdef struct long_t

cdef struct call_t:
    # What a strategy may ask about a call: its windows; the leaves of a forward call, those that find indices and those
    # of gradients, as far as it needs them. None of the answers depends on the number of threads: sums depend on them.
    const plan_t* plan
    const leaves_t* leaves
    const argmax_t* argmax
    const gradient_t* gradient
    # How tiles of long windows are laid out, and the leaves for them.
    const long_t* sizes
    const argmax_t* keyed
    # Whether a gradient finds indices again, and parts that its planes are made in where no strategy has its own.
    bint finds
    ptrdiff_t parts


cdef struct strategy_t:
    const char* name
    bint (*fits)(const call_t* call) noexcept nogil
    ptrdiff_t (*tasks)(const call_t* call) noexcept nogil
    ptrdiff_t (*scratch)(const call_t* call) noexcept nogil
    work_fn work


cdef inline bint fits_all(const call_t* call) noexcept nogil:
    return True
