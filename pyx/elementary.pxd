# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Power and logarithm, so that their bits come from these sources and not from a C library.

Only additions, multiplications and divisions of double, each rounded to nearest, so that every processor and every
instruction-set level makes the same bits; without branches, so that loops over them become vector code. Logarithms are
sums of two doubles with a relative error below 2**-63, powers are within 0.8 units in the last place, logarithms within
0.51 (tests/test_elementary.py measures both). Special cases are those of C99, Annex F. Functions that begin with `near`
are for what becomes float, of which a few roundings of double more are lost; tests/test_whole_norms.py measures them.
"""

from libc.math cimport INFINITY, NAN, fabs
from types cimport uint64_t

cdef extern from "c/bits.h":
    double choose "pooling_choose"(bint condition, double a, double b) noexcept nogil
    uint64_t bits_of "pooling_bits_of"(double d) noexcept nogil
    double of_bits "pooling_of_bits"(uint64_t bits) noexcept nogil


# A value and what it lacks.
cdef struct pair_t:
    double high, low


cdef inline pair_t product(double a, double b) noexcept nogil:
    """The exact product, of factors whose halves can be split (Dekker 1971)."""
    cdef pair_t result
    cdef double wide_a = a * 134217729.0
    cdef double wide_b = b * 134217729.0
    cdef double a_high = wide_a - (wide_a - a)
    cdef double b_high = wide_b - (wide_b - b)
    cdef double a_low = a - a_high
    cdef double b_low = b - b_high
    result.high = a * b
    result.low = ((a_high * b_high - result.high) + a_high * b_low + a_low * b_high) + a_low * b_low
    return result


cdef inline pair_t sum_of(double larger, double smaller) noexcept nogil:
    """The exact sum, where the first number is the larger one, or 0."""
    cdef pair_t result
    result.high = larger + smaller
    result.low = smaller - (result.high - larger)
    return result


cdef inline double within(double x, double most) noexcept nogil:
    """The nearest number whose magnitude is not above `most`."""
    return choose(x > most, most, choose(x < -most, -most, x))


cdef inline pair_t log_pair(double x) noexcept nogil:
    """Logarithm of a finite number above 0."""
    cdef bint tiny = x < 2.2250738585072014e-308
    cdef double scaled = choose(tiny, x * 18014398509481984.0, x)
    cdef uint64_t bits = bits_of(scaled)
    # x = m * 2**k with m between sqrt(1/2) and sqrt(2).
    cdef double k = of_bits((bits >> 52) | <uint64_t> 0x4330000000000000) - (4503599627370496.0 + 1023.0)
    cdef double m = of_bits((bits & <uint64_t> 0x000fffffffffffff) | <uint64_t> 0x3ff0000000000000)
    cdef bint large = m > 1.4142135623730951
    cdef double f, z, tail
    cdef pair_t denominator, s, square, third, all_of_it, quotient
    k = choose(tiny, k - 54, k)
    k = choose(large, k + 1, k)
    m = choose(large, 0.5 * m, m)
    # log(m) = 2 atanh(s) = 2 s (1 + z / 3 + z**2 / 5 + ...), with s = (m - 1) / (m + 1) and z = s**2.
    f = m - 1
    denominator.high = m + 1
    # Exact whichever of the two is larger, since m is less than 2.
    denominator.low = m - (denominator.high - 1)
    s.high = f / denominator.high
    quotient = product(s.high, denominator.high)
    s.low = (((f - quotient.high) - quotient.low) - s.high * denominator.low) / denominator.high
    square = product(s.high, s.high)
    square.low += 2 * s.high * s.low
    z = square.high
    tail = 1.0 / 27
    tail = 1.0 / 25 + z * tail
    tail = 1.0 / 23 + z * tail
    tail = 1.0 / 21 + z * tail
    tail = 1.0 / 19 + z * tail
    tail = 1.0 / 17 + z * tail
    tail = 1.0 / 15 + z * tail
    tail = 1.0 / 13 + z * tail
    tail = 1.0 / 11 + z * tail
    tail = 1.0 / 9 + z * tail
    tail = 1.0 / 7 + z * tail
    tail = 1.0 / 5 + z * tail
    # 1 / 3 is a pair as well.
    third = product(z, 0.3333333333333333)
    third.low += z * 1.850371707708594e-17 + square.low * 0.3333333333333333 + z * z * tail
    third = sum_of(third.high, third.low)
    # 2 s (1 + third)
    quotient = product(2 * s.high, third.high)
    quotient.low += 2 * (s.high * third.low + s.low * third.high)
    all_of_it = sum_of(2 * s.high, quotient.high)
    all_of_it.low += quotient.low + 2 * s.low
    # log(2) in two parts, the first with so few bits that its product with k is exact.
    quotient = sum_of(k * 0.6931471805598903, all_of_it.high)
    quotient.low += all_of_it.low + k * 5.497923018708371e-14
    return sum_of(quotient.high, quotient.low)


cdef inline double exp_pair(double high, double low) noexcept nogil:
    """Exponential of a sum; beyond the range of double 0 or infinity."""
    cdef double bounded = within(high, 800.0)
    # Adding and subtracting 1.5 * 2**52 rounds to a whole number.
    cdef double n = (bounded * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
    cdef double half = (0.5 * n + 6755399441055744.0) - 6755399441055744.0
    cdef double rest = n - half
    cdef double r, tail, first, second
    cdef pair_t part, begun
    low = choose(high == bounded, low, 0)
    part = sum_of(bounded - n * 0.6931471805598903, low - n * 5.497923018708371e-14)
    r = part.high
    tail = 1.0 / 87178291200.0
    tail = 1.0 / 6227020800.0 + r * tail
    tail = 1.0 / 479001600.0 + r * tail
    tail = 1.0 / 39916800.0 + r * tail
    tail = 1.0 / 3628800.0 + r * tail
    tail = 1.0 / 362880.0 + r * tail
    tail = 1.0 / 40320.0 + r * tail
    tail = 1.0 / 5040.0 + r * tail
    tail = 1.0 / 720.0 + r * tail
    tail = 1.0 / 120.0 + r * tail
    tail = 1.0 / 24.0 + r * tail
    tail = 1.0 / 6.0 + r * tail
    tail = 0.5 + r * tail
    begun = sum_of(1, r)
    tail = begun.high + (begun.low + (part.low * (1 + r) + r * r * tail))
    # 2**n in two factors, of which each is a double.
    first = of_bits((bits_of(half + 6755399441055744.0) + 1023) << 52)
    second = of_bits((bits_of(rest + 6755399441055744.0) + 1023) << 52)
    return tail * first * second


cdef inline double log_of(double x) noexcept nogil:
    """Natural logarithm."""
    cdef pair_t result = log_pair(choose((0 < x) & (x < INFINITY), x, 1.0))
    cdef double v = result.high + result.low
    v = choose(x == INFINITY, x, v)
    v = choose(x == 0, -INFINITY, v)
    return choose((x < 0) | (x != x), NAN, v)


# A number as a power of 2, and the logarithm of the rest, between sqrt(1/2) and sqrt(2).
cdef struct parted_t:
    double k, log


cdef inline parted_t part_number(double x) noexcept nogil:
    """Take a number above 0 apart that is not denormal, by the method of fdlibm; infinity and NaN give any number."""
    # Beyond the bits of sqrt(1/2), so that the exponent is that of a number between it and sqrt(2).
    cdef uint64_t bits = bits_of(x)
    cdef uint64_t beyond = bits - <uint64_t> 0x3fe6a09e667f3bcd
    cdef double m = of_bits(bits - (beyond & <uint64_t> 0xfff0000000000000))
    cdef double f, s, z, w, half, odd, even
    cdef parted_t result
    result.k = of_bits(((beyond + (<uint64_t> 1024 << 52)) >> 52) | <uint64_t> 0x4330000000000000) - (
        4503599627370496.0 + 1024.0)
    f = m - 1
    s = f / (2 + f)
    z = s * s
    w = z * z
    half = 0.5 * f * f
    # Two halves of a polynomial, neither of which waits for the other.
    odd = 1.818357216161805012e-01 + w * 1.479819860511658591e-01
    odd = 2.857142874366239149e-01 + w * odd
    odd = 6.666666666666735130e-01 + w * odd
    even = 2.222219843214978396e-01 + w * 1.531383769920937332e-01
    even = 3.999999999940941908e-01 + w * even
    result.log = f - (half - s * (half + z * (odd + z * even)))
    return result


cdef inline double near_log_of(parted_t x) noexcept nogil:
    """Natural logarithm, within a unit and a half in the last place."""
    return x.k * 6.93147180369123816490e-01 + (x.log + x.k * 1.90821492927058770002e-10)


cdef inline double near_power_of(double v, parted_t parts, double y) noexcept nogil:
    """``v ** y`` for a float v >= 0 that has been taken apart, and a y that is not 0 and at most 6.

    Within two and a half roundings for each whole number in y, which is nothing to a result that becomes a float.
    """
    # The first forty bits of y, whose product with a power of 2 is exact.
    cdef double wide = 8193.0 * y
    cdef double high = wide - (wide - y)
    cdef double whole = high * parts.k
    cdef double part = y * parts.log
    cdef double n = (whole + part * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
    cdef double r = (whole - n) * 0.6931471805599453 + (part + ((y - high) * 0.6931471805599453) * parts.k)
    cdef double square = r * r
    cdef double fourth = square * square
    # Short sums, which wait for each other as little as they can.
    cdef double low = (0.5 + r * (1.0 / 6.0)) + square * (1.0 / 24.0 + r * (1.0 / 120.0))
    cdef double middle = (1.0 / 720.0 + r * (1.0 / 5040.0)) + square * (1.0 / 40320.0 + r * (1.0 / 362880.0))
    cdef double high_terms = (1.0 / 3628800.0 + r * (1.0 / 39916800.0)) + square * (
        1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
    cdef double tail = low + fourth * (middle + fourth * high_terms)
    tail = 1 + (r + square * tail)
    tail = tail * of_bits((bits_of(n + 6755399441055744.0) + 1023) << 52)
    tail = choose(v == 0, choose(y > 0, 0, INFINITY), tail)
    tail = choose(v == INFINITY, choose(y > 0, INFINITY, 0), tail)
    return choose(v != v, v, tail)


cdef inline double power_of(double v, double y) noexcept nogil:
    """``v ** y`` for v >= 0, infinity or NaN, and a finite y that is not 0."""
    cdef pair_t logarithm = log_pair(choose((0 < v) & (v < INFINITY), v, 1.0))
    # Every larger exponent has the same effect.
    cdef double bounded = within(y, 1e21)
    cdef pair_t exponent = product(bounded, logarithm.high)
    cdef double result = exp_pair(exponent.high, exponent.low + bounded * logarithm.low)
    result = choose(v == 0, choose(y > 0, 0, INFINITY), result)
    result = choose(v == INFINITY, choose(y > 0, INFINITY, 0), result)
    return choose(v != v, v, result)


cdef inline double power(double x, double y) noexcept nogil:
    """``x ** y`` of any two numbers, as C99 has it."""
    cdef double magnitude = fabs(x)
    cdef double result
    cdef double size = fabs(y)
    cdef bint whole = size >= 9007199254740992.0 or size == <double> <uint64_t> size
    cdef bint odd = whole and size < 9007199254740992.0 and <uint64_t> size & 1
    cdef bint negative = bits_of(x) >> 63
    if y == 0 or x == 1:
        return 1
    if x != x or y != y:
        return NAN
    if size == INFINITY:
        if magnitude == 1:
            return 1
        return INFINITY if (magnitude > 1) == (y > 0) else 0.0
    if x < 0 and not whole and magnitude != INFINITY:
        return NAN
    result = power_of(magnitude, y)
    return -result if negative and odd else result


cdef inline double cube_root(double x) noexcept nogil:
    """Cube root of what is no denormal number and not below 0, within two units in the last place."""
    # A third of the exponent, and with it of the fraction, has five right bits (Kahan); each step of Halley's method
    # has three times as many as the one before.
    cdef double y = of_bits(((((bits_of(x) >> 32) * <uint64_t> 0xaaaaaaab) >> 33) + <uint64_t> 715094163) << 32)
    cdef double cube
    cube = y * y * y
    y = y * ((cube + 2 * x) / (2 * cube + x))
    cube = y * y * y
    y = y * ((cube + 2 * x) / (2 * cube + x))
    cube = y * y * y
    y = y * ((cube + 2 * x) / (2 * cube + x))
    return choose((x == 0) | (x == INFINITY), x, y)
