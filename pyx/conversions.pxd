# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Between what arrays store and what rows hold, where the two differ.

Half-precision values are compared as 16-bit keys that order as they do, and summed in float; integers are summed in
64 bits, or in 128 where those could overflow.
"""

from types cimport int128_t, int16_t, int32_t, int64_t, integer_t, sum_t, uint16_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline float pooling_as_float(uint32_t bits) { float f; memcpy(&f, &bits, 4); return f; }
    static inline uint32_t pooling_as_bits(float f) { uint32_t bits; memcpy(&bits, &f, 4); return bits; }
    """
    float as_float "pooling_as_float"(uint32_t bits) noexcept nogil
    uint32_t as_bits "pooling_as_bits"(float f) noexcept nogil


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
    for x in range(n):
        magnitude = src[x] & 0x7fff
        key = -magnitude if src[x] >> 15 else magnitude
        dst[x] = <int16_t> (nan_key if magnitude > infinity else key)


cdef inline void key_to_half(uint16_t* dst, const int16_t* src, ptrdiff_t n) noexcept nogil:
    """Map keys back; the NaN keys become the quiet NaN of all ones."""
    cdef ptrdiff_t x
    cdef int key, bits
    for x in range(n):
        key = src[x]
        bits = (0x8000 | -key) if key < 0 else key
        dst[x] = <uint16_t> (0x7fff if key == NAN_BELOW else bits)


cdef inline void float16_to_float(float* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    cdef uint32_t magnitude, bits
    for x in range(n):
        magnitude = src[x] & 0x7fff
        # Multiplying by 2**112 moves the exponent to where float has it, subnormal numbers included.
        bits = as_bits(as_float(magnitude << 13) * as_float(0x77800000))
        bits = bits | 0x7f800000 if magnitude >= FLOAT16_INFINITY else bits
        dst[x] = as_float(bits | (<uint32_t> (src[x] & 0x8000) << 16))


cdef inline void float_to_float16(uint16_t* dst, const float* src, ptrdiff_t n) noexcept nogil:
    """Round to nearest, ties to even."""
    cdef ptrdiff_t x
    cdef uint32_t bits, magnitude, normal, subnormal, large, half
    for x in range(n):
        bits = as_bits(src[x])
        magnitude = bits & 0x7fffffff
        normal = (magnitude - <uint32_t> 0x37fff001 + ((magnitude >> 13) & 1)) >> 13
        # Below 2**-14, adding 0.5 leaves float exactly the bits that a subnormal half has.
        subnormal = as_bits(as_float(magnitude) + as_float(0x3f000000)) - 0x3f000000
        large = 0x7e00 if magnitude > 0x7f800000 else FLOAT16_INFINITY
        half = subnormal if magnitude < 0x38800000 else normal
        half = large if magnitude >= 0x47800000 else half
        dst[x] = <uint16_t> (half | ((bits >> 16) & 0x8000))


cdef inline void bfloat16_to_float(float* dst, const uint16_t* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = as_float(<uint32_t> src[x] << 16)


cdef inline void float_to_bfloat16(uint16_t* dst, const float* src, ptrdiff_t n) noexcept nogil:
    """Round to nearest, ties to even."""
    cdef ptrdiff_t x
    cdef uint32_t bits, rounded
    for x in range(n):
        bits = as_bits(src[x])
        rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
        dst[x] = <uint16_t> ((bits >> 16) | 0x40 if (bits & 0x7fffffff) > 0x7f800000 else rounded)


cdef inline void widen_integers(sum_t* dst, const integer_t* src, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        dst[x] = src[x]


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


cdef enum rounding_t:
    HALF_EVEN
    HALF_UP
    FLOOR
    TRUNC


cdef inline sum_t quotient(sum_t a, sum_t b, const rounding_t rounding) noexcept nogil:
    """Divide by b > 0 and round as asked."""
    cdef sum_t q = a // b
    cdef sum_t r = a % b
    if rounding == TRUNC:
        return q
    # C rounds towards zero; from here on q is the floor and 0 <= r < b.
    if r < 0:
        q -= 1
        r += b
    if rounding == FLOOR:
        return q
    if rounding == HALF_UP:
        return q + 1 if r >= b - r else q
    return q + 1 if r > b - r or (r == b - r and q & 1) else q


cdef inline void divide_integers(sum_t* row, ptrdiff_t n, double divisor, const rounding_t rounding) noexcept nogil:
    """Divide sums in place, exactly for every divisor with up to 40 binary places."""
    cdef ptrdiff_t x
    cdef sum_t d
    cdef int128_t wide, scaled
    cdef int128_t sign = -1 if divisor < 0 else 1
    cdef int128_t limit = <int64_t> 0x7fffffffffffffff
    cdef int places = 0
    if 1 <= divisor <= 9007199254740992.0 and divisor == <double> <int64_t> divisor:
        d = <sum_t> <int64_t> divisor
        for x in range(n):
            row[x] = quotient(row[x], d, rounding)
        return
    divisor *= <double> sign
    while divisor != <double> <int64_t> divisor and places < 40 and divisor < 4503599627370496.0:
        divisor *= 2
        places += 1
    wide = <int128_t> divisor if divisor < 1e36 else <int128_t> 1e36
    wide = wide if wide > 0 else 1
    for x in range(n):
        scaled = quotient(sign * <int128_t> row[x] * (<int128_t> 1 << places), wide, rounding)
        # What 64 bits cannot hold is stored saturated anyway.
        if sizeof(sum_t) == 8:
            scaled = limit if scaled > limit else scaled
            scaled = -limit if scaled < -limit else scaled
        row[x] = <sum_t> scaled


cdef inline void divide_integers_each(
    sum_t* row, const double* divisors, ptrdiff_t n, const rounding_t rounding
) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        row[x] = quotient(row[x], <sum_t> <int64_t> divisors[x], rounding)
