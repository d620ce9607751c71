# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The dtype vocabulary: every fused type is named for what it holds."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


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
