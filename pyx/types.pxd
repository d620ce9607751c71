# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""The dtype vocabulary: every fused type is named for what it holds."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "c/types.h":
    # Cython need not know its size.
    ctypedef long long int128_t "pooling_int128_t"
    ctypedef struct float16_t "pooling_float16_t":
        uint16_t bits
    ctypedef struct bfloat16_t "pooling_bfloat16_t":
        uint16_t bits
    # Nothing but sums is made of these.
    ctypedef long double pair_t "pooling_pair_t"
    pair_t pair "pooling_pair"(double number, double missing) noexcept nogil

# What sums of floating-point values, and gradients, are accumulated in.
ctypedef fused real_t:
    float
    double

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

# What a row holds while windows are reduced.
ctypedef fused value_t:
    integer_t
    int128_t
    real_t
    pair_t

# What arrays hold whose sums are accumulated in a wider type, and those types.
ctypedef fused stored_t:
    integer_t
    float16_t
    bfloat16_t
    real_t

ctypedef fused wide_t:
    sum_t
    real_t
    pair_t

# Distance of a tap from the first tap of its window, in cells of the plane.
ctypedef fused offset_t:
    int32_t
    int64_t

# Elements that are only moved, by their size.
ctypedef fused bits_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
