# cython: language_level=3, wraparound=False, cdivision=True, initializedcheck=False
"""Leaf loops that make means of sums: division of floats, and of integers with a rounding of the caller's choice."""

from libc.math cimport NAN, floor, floorf, rint, rintf, trunc, truncf
from libc.string cimport memcpy
from reducers cimport highest
from types cimport int16_t, int32_t, int64_t, int128_t, real_t, sum_t, uint64_t


cdef inline bint is_power_of_two(double divisor) noexcept nogil:
    """Whether it is a power of two from 1 to 2**62, by whose reciprocal to multiply is the same."""
    return 1 <= divisor <= 4611686018427387904.0 and divisor == <double> <int64_t> divisor and (
        <int64_t> divisor & (<int64_t> divisor - 1)) == 0


cdef inline void divide(real_t* row, ptrdiff_t n, double divisor) noexcept nogil:
    """Divide in place; a power of two by its exact reciprocal, which is the same and several times faster.

    Other divisors are no case for a reciprocal: the mean of seven threes would be less than three. Every NaN becomes
    the same one, since which of two NaN an addition keeps is up to the compiler.
    """
    cdef ptrdiff_t x
    cdef real_t v
    cdef real_t d = <real_t> divisor
    cdef real_t reciprocal = 1 / d
    if is_power_of_two(divisor):
        for x in range(n):
            v = row[x] * reciprocal
            row[x] = v if v == v else <real_t> NAN
    elif real_t is float and <double> d != divisor:
        # Half precision: the divisor of a user's own, which may be 0 or infinite as float.
        for x in range(n):
            v = <real_t> (<double> row[x] / divisor)
            row[x] = v if v == v else <real_t> NAN
    else:
        for x in range(n):
            v = row[x] / d
            row[x] = v if v == v else <real_t> NAN


cdef inline void divide_each(
    real_t* row, const double* divisors64, const float* divisors32, ptrdiff_t n
) noexcept nogil:
    """Divide each value by its own divisor."""
    cdef ptrdiff_t x
    cdef real_t v
    for x in range(n):
        if real_t is float:
            v = row[x] / divisors32[x]
        else:
            v = row[x] / divisors64[x]
        row[x] = v if v == v else <real_t> NAN


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


cdef inline void shift_integers(sum_t* row, ptrdiff_t n, const int places, const rounding_t rounding) noexcept nogil:
    """Divide in place by 2**places, and round as asked, in lanes no wider than the sums."""
    cdef ptrdiff_t x
    cdef sum_t q, r, more
    cdef sum_t half = <sum_t> (<int64_t> 1 << places >> 1)
    cdef sum_t mask = <sum_t> ((<int64_t> 1 << places) - 1)
    for x in range(n):
        # The shift is the floor, and 0 <= r < 2**places.
        q = row[x] >> places
        r = row[x] & mask
        if rounding == FLOOR:
            more = 0
        elif rounding == TRUNC:
            more = (row[x] < 0) & (r != 0)
        elif rounding == HALF_UP:
            more = r >= half
        else:
            # More than a half, or a half above an odd number.
            more = <sum_t> (r + (q & 1)) > half
        row[x] = <sum_t> (q + more)


cdef inline void divide_integers(sum_t* row, ptrdiff_t n, double divisor, const rounding_t rounding) noexcept nogil:
    """Divide sums in place, exactly for every finite divisor but 0."""
    cdef ptrdiff_t x
    cdef sum_t d
    cdef int128_t wide, scaled, most, limit
    cdef int128_t sign = -1 if divisor < 0 else 1
    cdef uint64_t bits, odd
    cdef int exponent
    cdef int places = 0
    if 1 <= divisor <= 9007199254740992.0 and divisor == <double> <int64_t> divisor:
        d = <sum_t> <int64_t> divisor
        if sizeof(sum_t) <= 4 and (divisor == 2 or divisor == 4 or divisor == 16):
            # Each a loop of its own, with constant shifts.
            if divisor == 2:
                shift_integers(row, n, 1, rounding)
            elif divisor == 4:
                shift_integers(row, n, 2, rounding)
            else:
                shift_integers(row, n, 4, rounding)
            return
        for x in range(n):
            if sum_t is int16_t:
                row[x] = <sum_t> real_quotient(<float> row[x], <float> divisor, rounding)
            elif sum_t is int32_t:
                row[x] = <sum_t> real_quotient(<double> row[x], divisor, rounding)
            else:
                row[x] = quotient(row[x], d, rounding)
        return
    # The divisor is sign * odd * 2**exponent.
    memcpy(&bits, &divisor, sizeof(bits))
    exponent = <int> (bits >> 52 & 0x7ff)
    odd = bits & ((<uint64_t> 1 << 52) - 1)
    if exponent:
        odd |= <uint64_t> 1 << 52
    exponent = max(exponent, 1) - 1075
    while odd & 1 == 0:
        odd >>= 1
        exponent += 1
    wide = <int128_t> odd
    while exponent > 0 and wide < <int128_t> 1 << 120:
        # No sum has more than 112 bits: of a quotient by what is larger still, only the sign matters.
        wide <<= 1
        exponent -= 1
    if exponent < 0:
        places = -exponent
    if sizeof(sum_t) < 8 and places <= 63 - 8 * <int> sizeof(sum_t) and wide < <int128_t> 1 << 62:
        divide_scaled(row, n, <int64_t> sign, <int64_t> wide, places, rounding)
        return
    # Sums whose scaled value would not fit have quotients above 2**73, and no dtype holds those.
    most = <int128_t> 1 << (126 - min(places, 126))
    if places > 126:
        most = 0
        places = 0
    limit = (<int128_t> 1 << 100) if sizeof(sum_t) > 8 else <int128_t> highest(row)
    for x in range(n):
        scaled = sign * <int128_t> row[x]
        if scaled > most:
            scaled = limit
        elif scaled < -most:
            scaled = -limit
        else:
            scaled = quotient(scaled * (<int128_t> 1 << places), wide, rounding)
            # What sums cannot hold, no result can.
            scaled = limit if scaled > limit else scaled
            scaled = -limit if scaled < -limit else scaled
        row[x] = <sum_t> scaled


cdef inline void divide_scaled(
    sum_t* row, ptrdiff_t n, int64_t sign, int64_t divisor, const int places, const rounding_t rounding
) noexcept nogil:
    """Divide by sign * divisor / 2**places where 64 bits hold all that it takes."""
    cdef ptrdiff_t x
    cdef int64_t q
    cdef int64_t limit = <int64_t> highest(row)
    for x in range(n):
        q = quotient(sign * <int64_t> row[x] * (<int64_t> 1 << places), divisor, rounding)
        q = limit if q > limit else q
        row[x] = <sum_t> (-limit if q < -limit else q)


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
