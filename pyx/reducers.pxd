# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""A reducer is a policy: an identity, and a way to combine two values. The leaves know no more of it.

It is a number, and in every leaf that a table holds a constant: all functions here are inlined, so the choice is made
when the leaf is compiled and costs nothing later. Tables name their leaves by tag types, of which Cython makes a
function each; were the tags handed on, all that leaves call would be written out once a reducer, 300,000 lines of C.
"""

from libc.math cimport INFINITY, NAN
from types cimport int32_t, int64_t, pair_t, uint32_t, uint64_t, value_t


# As the tables count them; `*_number` skip NaN, the others let it through.
cdef enum:
    GREATEST, GREATEST_NUMBER, SMALLEST, SMALLEST_NUMBER, TOTAL
    # Sums of what is no NaN, and how many of these there are.
    TOTAL_NUMBER, COUNT_NUMBER, REDUCERS_
    # Of no table: the first and third where it is known that there is no NaN.
    GREATEST_PLAIN, SMALLEST_PLAIN


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

ctypedef fused order_t:
    greatest
    greatest_number
    smallest
    smallest_number

ctypedef fused extreme_t:
    greatest
    smallest

ctypedef fused reducer_t:
    greatest
    greatest_number
    smallest
    smallest_number
    total


cdef inline int number_of(reducer_t* tag) noexcept nogil:
    if reducer_t is greatest:
        return GREATEST
    elif reducer_t is greatest_number:
        return GREATEST_NUMBER
    elif reducer_t is smallest:
        return SMALLEST
    elif reducer_t is smallest_number:
        return SMALLEST_NUMBER
    else:
        return TOTAL


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


cdef inline value_t empty(value_t* kind, const int reducer) noexcept nogil:
    """Result of a window without any element."""
    if reducer == TOTAL:
        return 0
    return lowest(kind) if reducer == GREATEST or reducer == GREATEST_NUMBER else highest(kind)


cdef inline value_t identity(value_t* kind, const int reducer) noexcept nogil:
    """Value that padding holds: combined with anything, it leaves that thing.

    For the reducers that skip NaN it is NaN itself: then a window of nothing but NaN stays NaN.
    """
    if value_t is float or value_t is double:
        if reducer == GREATEST_NUMBER or reducer == SMALLEST_NUMBER:
            return <value_t> NAN
    return empty(kind, reducer)


cdef inline value_t combine(value_t a, value_t b, const int reducer) noexcept nogil:
    """Combine an earlier value with a later one. Written as selects, which compilers turn into vector code."""
    cdef value_t m
    if value_t is pair_t:
        return <value_t> (a + b)
    else:
        if reducer == TOTAL:
            # Of what lies behind the rows of a strip sums are made that nobody reads; they may wrap.
            if value_t is int32_t:
                return <int32_t> (<uint32_t> a + <uint32_t> b)
            elif value_t is int64_t:
                return <int64_t> (<uint64_t> a + <uint64_t> b)
            else:
                return <value_t> (a + b)
        if reducer == GREATEST or reducer == GREATEST_NUMBER or reducer == GREATEST_PLAIN:
            m = b if b > a else a
        else:
            m = b if b < a else a
        if value_t is float or value_t is double:
            if reducer == GREATEST_PLAIN or reducer == SMALLEST_PLAIN:
                return m
            if reducer == GREATEST or reducer == SMALLEST:
                return m if b == b else b
            return m if a == a else b
        else:
            return m


cdef inline bint better(value_t best, value_t v, const int reducer) noexcept nogil:
    """Whether a later value replaces the best so far, so that the first of equals keeps its place."""
    if value_t is pair_t:
        return False
    elif value_t is float or value_t is double:
        if reducer == GREATEST:
            return (not v <= best) & (best == best)
        if reducer == SMALLEST:
            return (not v >= best) & (best == best)
        if reducer == GREATEST_NUMBER:
            return (not v <= best) & (v == v)
        return (not v >= best) & (v == v)
    else:
        if reducer == GREATEST or reducer == GREATEST_NUMBER:
            return v > best
        return v < best
