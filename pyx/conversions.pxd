# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Between what arrays store and what rows hold, where the two differ.

Half-precision values are compared as 16-bit keys that order as they do, and summed in float; integers are summed in as
many bits as cannot overflow.
"""

from types cimport (
    bfloat16_t, float16_t, int16_t, integer_t, pair, pair_t, stored_t, sum_t, uint16_t, uint32_t, wide_t,
)

cdef extern from "c/halves.h":
    float as_float "pooling_as_float"(uint32_t bits) noexcept nogil
    uint32_t as_bits "pooling_as_bits"(float f) noexcept nogil
    float as_single "pooling_as_single"(float16_t half) noexcept nogil
    ptrdiff_t sum_eights "pooling_sum_eights"(
        float* dst, const float16_t* src, ptrdiff_t stride, int taps, ptrdiff_t n, bint accumulate) noexcept nogil
    ptrdiff_t sum_eights_bfloat16 "pooling_sum_eights_bfloat16"(
        float* dst, const bfloat16_t* src, ptrdiff_t stride, int taps, ptrdiff_t n, bint accumulate) noexcept nogil
    ptrdiff_t round_sixteens_bfloat16 "pooling_round_sixteens_bfloat16"(
        bfloat16_t* dst, const float* src, ptrdiff_t n) noexcept nogil
    ptrdiff_t round_eights "pooling_round_eights"(float16_t* dst, const float* src, ptrdiff_t n) noexcept nogil
    ptrdiff_t to_keys "pooling_to_keys"(
        int16_t* dst, const uint16_t* src, ptrdiff_t n, int16_t infinity, int16_t nan_key) noexcept nogil
    ptrdiff_t from_keys "pooling_from_keys"(
        uint16_t* dst, const int16_t* src, ptrdiff_t n, int16_t nan_key) noexcept nogil


# Magnitude bits of infinity: every magnitude above is a NaN.
cdef enum:
    FLOAT16_INFINITY = 0x7c00
    BFLOAT16_INFINITY = 0x7f80
    # Keys of NaN: above all numbers, or below them.
    NAN_ABOVE = 32767
    NAN_BELOW = -32768


cdef inline void half_to_key(
    int16_t* dst, const uint16_t* src, ptrdiff_t n, const int infinity, const int nan_key
) noexcept nogil:
    """Map half-precision bits to integers in the same order; both zeros are 0."""
    cdef ptrdiff_t x
    cdef int magnitude, key
    for x in range(to_keys(dst, src, n, infinity, nan_key), n):
        magnitude = src[x] & 0x7fff
        key = -magnitude if src[x] >> 15 else magnitude
        dst[x] = <int16_t> (nan_key if magnitude > infinity else key)


cdef inline void key_to_half(uint16_t* dst, const int16_t* src, ptrdiff_t n) noexcept nogil:
    """Map keys back; the NaN keys become the quiet NaN of all ones."""
    cdef ptrdiff_t x
    cdef int key, bits
    for x in range(from_keys(dst, src, n, NAN_BELOW), n):
        key = src[x]
        bits = (0x8000 | -key) if key < 0 else key
        dst[x] = <uint16_t> (0x7fff if key == NAN_BELOW else bits)


cdef inline wide_t widened(stored_t v, wide_t* kind) noexcept nogil:
    """Convert a stored element to what sums of it are made in; every one of its values has an equal there."""
    cdef double number
    if wide_t is pair_t:
        number = widened(v, &number)
        return pair(number if number == number else 0, 0 if number == number else 1)
    elif stored_t is float16_t:
        return <wide_t> as_single(v)
    elif stored_t is bfloat16_t:
        return <wide_t> as_float(<uint32_t> v.bits << 16)
    else:
        return <wide_t> v


cdef inline void float_to_float16(float16_t* dst, const float* src, ptrdiff_t n) noexcept nogil:
    """Round to nearest, ties to even."""
    cdef ptrdiff_t x
    cdef uint32_t bits, magnitude, normal, subnormal, large, half
    for x in range(round_eights(dst, src, n), n):
        bits = as_bits(src[x])
        magnitude = bits & 0x7fffffff
        normal = (magnitude - <uint32_t> 0x37fff001 + ((magnitude >> 13) & 1)) >> 13
        # Below 2**-14, adding 0.5 leaves float exactly the bits that a subnormal half has.
        subnormal = as_bits(as_float(magnitude) + as_float(0x3f000000)) - 0x3f000000
        large = 0x7e00 if magnitude > 0x7f800000 else FLOAT16_INFINITY
        half = subnormal if magnitude < 0x38800000 else normal
        half = large if magnitude >= 0x47800000 else half
        dst[x].bits = <uint16_t> (half | ((bits >> 16) & 0x8000))


cdef inline void float_to_bfloat16(bfloat16_t* dst, const float* src, ptrdiff_t n) noexcept nogil:
    """Round to nearest, ties to even."""
    cdef ptrdiff_t x
    cdef uint32_t bits, rounded
    for x in range(round_sixteens_bfloat16(dst, src, n), n):
        bits = as_bits(src[x])
        rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
        dst[x].bits = <uint16_t> ((bits >> 16) | 0x40 if (bits & 0x7fffffff) > 0x7f800000 else rounded)


cdef inline void round_to_odd(float* dst, const double* src, ptrdiff_t n) noexcept nogil:
    """Round such that rounding once more, to half precision, is as if there had been no float between.

    What is not exact becomes the one of its two neighbours that ends in a 1, which no tie does.
    """
    cdef ptrdiff_t x
    cdef double back
    cdef uint32_t bits, inexact
    for x in range(n):
        dst[x] = <float> src[x]
        back = <double> dst[x]
        bits = as_bits(dst[x])
        inexact = (back < src[x]) | (back > src[x])
        inexact &= ~bits & 1
        # The magnitude grows where it was rounded down.
        dst[x] = as_float(bits + inexact if (back < src[x]) == (src[x] > 0) else bits - inexact)


cdef inline void saturate(integer_t* dst, const sum_t* src, ptrdiff_t n, integer_t low, integer_t high) noexcept nogil:
    """Store sums as integers of the array; only a divisor of the user's own can make one too large."""
    cdef ptrdiff_t x
    cdef sum_t v
    cdef sum_t least = low
    cdef sum_t most = high
    for x in range(n):
        v = src[x]
        v = most if v > most else v
        v = least if v < least else v
        dst[x] = <integer_t> v
