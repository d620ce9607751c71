# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A reducer is a policy: an identity, and a way to combine two values. The leaves in rows.pxd know no more of it.

Reducers are named by empty tag types, so that the choice is made when a leaf is compiled and costs nothing later.
"""

from libc.math cimport INFINITY, NAN
from types cimport int32_t, int64_t, pair_t, uint32_t, uint64_t, value_t


ctypedef struct greatest:
    char unused

ctypedef struct greatest_number:
    char unused

ctypedef struct smallest:
    char unused

ctypedef struct smallest_number:
    char unused

ctypedef struct total:
    char unused

# The order reducers; `*_number` skip NaN, the others let it through.
ctypedef fused order_t:
    greatest
    greatest_number
    smallest
    smallest_number

ctypedef fused reducer_t:
    greatest
    greatest_number
    smallest
    smallest_number
    total


cdef inline value_t lowest(value_t* kind) noexcept nogil:
    """Least value of the type; of a type wider than 64 bits, the least of those."""
    if value_t is float or value_t is double or value_t is pair_t:
        return <value_t> -INFINITY
    elif <value_t> -1 > 0:
        return 0
    else:
        return <value_t> -((((<int64_t> 1) << min(8 * <int> sizeof(value_t) - 2, 62)) - 1) * 2 + 1) - 1


cdef inline value_t highest(value_t* kind) noexcept nogil:
    """Greatest value of the type; of a type wider than 64 bits, the greatest of those."""
    if value_t is float or value_t is double or value_t is pair_t:
        return <value_t> INFINITY
    elif <value_t> -1 > 0:
        return <value_t> -1
    else:
        return <value_t> ((((<int64_t> 1) << min(8 * <int> sizeof(value_t) - 2, 62)) - 1) * 2 + 1)


cdef inline value_t empty(value_t* kind, reducer_t* reducer) noexcept nogil:
    """Result of a window without any element."""
    if reducer_t is total:
        return 0
    elif reducer_t is greatest or reducer_t is greatest_number:
        return lowest(kind)
    else:
        return highest(kind)


cdef inline value_t identity(value_t* kind, reducer_t* reducer) noexcept nogil:
    """Value that padding holds: combined with anything, it leaves that thing.

    For the reducers that skip NaN it is NaN itself: then a window of nothing but NaN stays NaN.
    """
    if reducer_t is greatest_number or reducer_t is smallest_number:
        if value_t is float or value_t is double:
            return <value_t> NAN
        else:
            return empty(kind, reducer)
    else:
        return empty(kind, reducer)


cdef inline value_t combine(value_t a, value_t b, reducer_t* reducer) noexcept nogil:
    """Combine an earlier value with a later one. Written as selects, which compilers turn into vector code."""
    cdef value_t m
    if reducer_t is total:
        # Of what lies behind the rows of a strip sums are made that nobody reads; they may wrap.
        if value_t is int32_t:
            return <int32_t> (<uint32_t> a + <uint32_t> b)
        elif value_t is int64_t:
            return <int64_t> (<uint64_t> a + <uint64_t> b)
        else:
            return <value_t> (a + b)
    elif value_t is pair_t:
        return a
    elif reducer_t is greatest:
        m = b if b > a else a
        if value_t is float or value_t is double:
            return m if b == b else b
        else:
            return m
    elif reducer_t is smallest:
        m = b if b < a else a
        if value_t is float or value_t is double:
            return m if b == b else b
        else:
            return m
    elif reducer_t is greatest_number:
        m = b if b > a else a
        if value_t is float or value_t is double:
            return m if a == a else b
        else:
            return m
    else:
        m = b if b < a else a
        if value_t is float or value_t is double:
            return m if a == a else b
        else:
            return m


cdef inline bint better(value_t best, value_t v, order_t* reducer) noexcept nogil:
    """Whether a later value replaces the best so far, so that the first of equals keeps its place."""
    if value_t is pair_t:
        return False
    elif order_t is greatest:
        if value_t is float or value_t is double:
            return (not v <= best) & (best == best)
        else:
            return v > best
    elif order_t is smallest:
        if value_t is float or value_t is double:
            return (not v >= best) & (best == best)
        else:
            return v < best
    elif order_t is greatest_number:
        if value_t is float or value_t is double:
            return (not v <= best) & (v == v)
        else:
            return v > best
    else:
        if value_t is float or value_t is double:
            return (not v >= best) & (v == v)
        else:
            return v < best
