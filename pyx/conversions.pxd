# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Between what arrays store and what rows hold, where the two differ.

Half-precision values are compared as 16-bit keys that order as they do, and summed in float; integers are summed in as
many bits as cannot overflow.
"""

from libc.math cimport floor, floorf, rint, rintf, trunc, truncf
from reducers cimport highest
from types cimport (
    bfloat16_t, float16_t, int16_t, int32_t, int64_t, int128_t, integer_t, real_t, stored_t, sum_t, uint16_t, uint32_t,
    wide_t,
)

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    static inline float pooling_as_float(uint32_t bits) { float f; memcpy(&f, &bits, 4); return f; }
    static inline uint32_t pooling_as_bits(float f) { uint32_t bits; memcpy(&bits, &f, 4); return bits; }

    /* Compilers do not make loops over halves into loops of these instructions, which convert eight of them at once: a
       plane of means took a fifth of the time. Functions of eights tell how many values they have done. */
    #if defined(__F16C__)
    #include <immintrin.h>

    static inline float pooling_as_single(pooling_float16_t half) { return _cvtsh_ss(half.bits); }

    static inline __m256 pooling_eight(const pooling_float16_t *src) {
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) src));
    }

    static inline ptrdiff_t pooling_sum_eights(
        float *dst, const pooling_float16_t *src, ptrdiff_t stride, int taps, ptrdiff_t n, int accumulate
    ) {
        ptrdiff_t x;
        for (x = 0; x + 8 <= n; x += 8) {
            __m256 sum = pooling_eight(src + x);
            if (taps > 1)
                sum = _mm256_add_ps(sum, pooling_eight(src + x + stride));
            if (taps == 3)
                sum = _mm256_add_ps(sum, pooling_eight(src + x + 2 * stride));
            if (taps == 4)
                sum = _mm256_add_ps(sum, _mm256_add_ps(
                    pooling_eight(src + x + 2 * stride), pooling_eight(src + x + 3 * stride)));
            if (accumulate)
                sum = _mm256_add_ps(_mm256_loadu_ps(dst + x), sum);
            _mm256_storeu_ps(dst + x, sum);
        }
        return x;
    }

    static inline ptrdiff_t pooling_round_eights(pooling_float16_t *dst, const float *src, ptrdiff_t n) {
        const __m128i sign = _mm_set1_epi16((short) 0x8000), infinity = _mm_set1_epi16(0x7c00);
        ptrdiff_t x;
        for (x = 0; x + 8 <= n; x += 8) {
            __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(src + x), _MM_FROUND_TO_NEAREST_INT);
            /* Every NaN loses its payload, as it does below. */
            __m128i nan = _mm_cmpgt_epi16(_mm_andnot_si128(sign, half), infinity);
            __m128i quiet = _mm_or_si128(_mm_and_si128(half, sign), _mm_set1_epi16(0x7e00));
            _mm_storeu_si128((__m128i *) (dst + x), _mm_blendv_epi8(half, quiet, nan));
        }
        return x;
    }
    #else
    static inline float pooling_as_single(pooling_float16_t half) {
        /* Multiplying by 2**112 moves the exponent to where float has it, subnormal numbers included. */
        uint32_t bits = (uint32_t) (int16_t) half.bits << 13 & 0x8fffe000u;
        bits = pooling_as_bits(pooling_as_float(bits) * pooling_as_float(0x77800000));
        return pooling_as_float((int32_t) (bits & 0x7fffffff) >= 0x47800000 ? bits | 0x7f800000 : bits);
    }

    static inline ptrdiff_t pooling_sum_eights(
        float *dst, const pooling_float16_t *src, ptrdiff_t stride, int taps, ptrdiff_t n, int accumulate
    ) {
        return 0;
    }

    static inline ptrdiff_t pooling_round_eights(pooling_float16_t *dst, const float *src, ptrdiff_t n) {
        return 0;
    }
    #endif

    /* Sixteen keys at once. Loops over them are not for compilers: in lanes of 16 bits gcc 12 makes wrong code, and in
       wider ones the conversion took more time than the pooling. */
    #if defined(__GNUC__)
    typedef int16_t pooling_sixteen_t __attribute__((vector_size(32)));
    typedef uint16_t pooling_sixteen_bits_t __attribute__((vector_size(32)));

    static inline ptrdiff_t pooling_to_keys(
        int16_t *dst, const uint16_t *src, ptrdiff_t n, int16_t infinity, int16_t nan_key
    ) {
        ptrdiff_t x;
        for (x = 0; x + 16 <= n; x += 16) {
            pooling_sixteen_t half, sign, magnitude, nan;
            memcpy(&half, src + x, 32);
            sign = half >> 15;
            magnitude = half & 0x7fff;
            nan = magnitude > infinity;
            half = (((magnitude ^ sign) - sign) & ~nan) | (nan & nan_key);
            memcpy(dst + x, &half, 32);
        }
        return x;
    }

    static inline ptrdiff_t pooling_from_keys(uint16_t *dst, const int16_t *src, ptrdiff_t n, int16_t nan_key) {
        ptrdiff_t x;
        for (x = 0; x + 16 <= n; x += 16) {
            pooling_sixteen_t key, sign, nan;
            pooling_sixteen_bits_t magnitude;
            memcpy(&key, src + x, 32);
            sign = key >> 15;
            nan = key == nan_key;
            /* Without signs, since the magnitude of the least key is none of a signed number. */
            magnitude = (pooling_sixteen_bits_t) (key ^ sign) - (pooling_sixteen_bits_t) sign;
            key = (((pooling_sixteen_t) magnitude | (sign & INT16_MIN)) & ~nan) | (nan & 0x7fff);
            memcpy(dst + x, &key, 32);
        }
        return x;
    }
    #else
    static inline ptrdiff_t pooling_to_keys(
        int16_t *dst, const uint16_t *src, ptrdiff_t n, int16_t infinity, int16_t nan_key
    ) {
        return 0;
    }

    static inline ptrdiff_t pooling_from_keys(uint16_t *dst, const int16_t *src, ptrdiff_t n, int16_t nan_key) {
        return 0;
    }
    #endif
    """
    float as_float "pooling_as_float"(uint32_t bits) noexcept nogil
    uint32_t as_bits "pooling_as_bits"(float f) noexcept nogil
    float as_single "pooling_as_single"(float16_t half) noexcept nogil
    ptrdiff_t sum_eights "pooling_sum_eights"(
        float* dst, const float16_t* src, ptrdiff_t stride, int taps, ptrdiff_t n, bint accumulate) noexcept nogil
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
    if stored_t is float16_t:
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
    for x in range(n):
        bits = as_bits(src[x])
        rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
        dst[x].bits = <uint16_t> ((bits >> 16) | 0x40 if (bits & 0x7fffffff) > 0x7f800000 else rounded)


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


cdef inline real_t real_quotient(real_t a, real_t b, const rounding_t rounding) noexcept nogil:
    """Divide whole numbers, |a| < 2**22 in float or 2**51 in double and b > 0, and round as asked.

    That is exact, and a loop over it is one over vectors. Whole numbers, and halves of them, are themselves float, and
    a quotient that is none of these lies 1 / (2 * b) or more from all of them: more than it is rounded by, which is at
    most 2**-24 (2**-53) of |a / b|. A b that float cannot hold is so large that only the sign of a matters.
    """
    cdef real_t q = a / b
    cdef real_t whole
    if real_t is float:
        if rounding == HALF_EVEN:
            return rintf(q)
        if rounding == TRUNC:
            return truncf(q)
        whole = floorf(q)
    else:
        if rounding == HALF_EVEN:
            return rint(q)
        if rounding == TRUNC:
            return trunc(q)
        whole = floor(q)
    return whole + 1 if rounding == HALF_UP and q - whole >= <real_t> 0.5 else whole


cdef inline void divide_integers(sum_t* row, ptrdiff_t n, double divisor, const rounding_t rounding) noexcept nogil:
    """Divide sums in place, exactly for every divisor with up to 40 binary places."""
    cdef ptrdiff_t x
    cdef sum_t d
    cdef int128_t wide, scaled
    cdef int128_t sign = -1 if divisor < 0 else 1
    cdef int128_t limit = highest(row)
    cdef int places = 0
    if 1 <= divisor <= 9007199254740992.0 and divisor == <double> <int64_t> divisor:
        d = <sum_t> <int64_t> divisor
        for x in range(n):
            if sum_t is int16_t:
                row[x] = <sum_t> real_quotient(<float> row[x], <float> divisor, rounding)
            elif sum_t is int32_t:
                row[x] = <sum_t> real_quotient(<double> row[x], divisor, rounding)
            else:
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
        # What the sums cannot hold is stored saturated anyway.
        if sizeof(sum_t) <= 8:
            scaled = limit if scaled > limit else scaled
            scaled = -limit if scaled < -limit else scaled
        row[x] = <sum_t> scaled


cdef inline void divide_integers_each(
    sum_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n, const rounding_t rounding
) noexcept nogil:
    cdef ptrdiff_t x
    for x in range(n):
        if sum_t is int16_t:
            row[x] = <sum_t> real_quotient(<float> row[x], divisors32[x], rounding)
        elif sum_t is int32_t:
            row[x] = <sum_t> real_quotient(<double> row[x], divisors64[x], rounding)
        else:
            row[x] = quotient(row[x], <sum_t> <int64_t> divisors64[x], rounding)
