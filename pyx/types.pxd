# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The dtype vocabulary: every fused type is named for what it holds."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>

    #if defined(__SIZEOF_INT128__)
        typedef __int128 pooling_int128_t;
    #else
        #error "pooling sums 64-bit integers in 128 bits: compile it for a 64-bit system, with gcc or clang (CC=clang)"
    #endif

    /* Types of their own, which tell the two from each other and from integers. */
    typedef struct { uint16_t bits; } pooling_float16_t;
    typedef struct { uint16_t bits; } pooling_bfloat16_t;
    """
    # Cython need not know its size.
    ctypedef long long int128_t "pooling_int128_t"
    ctypedef struct float16_t "pooling_float16_t":
        uint16_t bits
    ctypedef struct bfloat16_t "pooling_bfloat16_t":
        uint16_t bits

# What a row holds while windows are reduced.
ctypedef fused value_t:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    int128_t
    float
    double

# What sums of floating-point values, and gradients, are accumulated in.
ctypedef fused real_t:
    float
    double

# Distance of a tap from the first tap of its window, in cells of the plane.
ctypedef fused offset_t:
    int32_t
    int64_t

# What arrays of integers hold, and what their sums are accumulated in.
ctypedef fused integer_t:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

ctypedef fused sum_t:
    int16_t
    int32_t
    int64_t
    int128_t

# What arrays hold whose sums are accumulated in a wider type, and those types.
ctypedef fused stored_t:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    float16_t
    bfloat16_t
    float

ctypedef fused wide_t:
    int16_t
    int32_t
    int64_t
    int128_t
    float
    double

# Elements that are only moved, by their size.
ctypedef fused bits_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
