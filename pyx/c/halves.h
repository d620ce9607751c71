/* Half-precision numbers: converted to float and back, and to keys that order as they do. */
#ifndef POOLING_HALVES_H
#define POOLING_HALVES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "types.h"

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

#if defined(__AVX2__)
#include <immintrin.h>

static inline __m256 pooling_eight_of_bfloat16(const pooling_bfloat16_t *src) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) src)), 16));
}

static inline ptrdiff_t pooling_sum_eights_bfloat16(
    float *dst, const pooling_bfloat16_t *src, ptrdiff_t stride, int taps, ptrdiff_t n, int accumulate
) {
    ptrdiff_t x;
    for (x = 0; x + 8 <= n; x += 8) {
        __m256 sum = pooling_eight_of_bfloat16(src + x);
        if (taps > 1)
            sum = _mm256_add_ps(sum, pooling_eight_of_bfloat16(src + x + stride));
        if (taps == 3)
            sum = _mm256_add_ps(sum, pooling_eight_of_bfloat16(src + x + 2 * stride));
        if (taps == 4)
            sum = _mm256_add_ps(sum, _mm256_add_ps(
                pooling_eight_of_bfloat16(src + x + 2 * stride), pooling_eight_of_bfloat16(src + x + 3 * stride)));
        if (accumulate)
            sum = _mm256_add_ps(_mm256_loadu_ps(dst + x), sum);
        _mm256_storeu_ps(dst + x, sum);
    }
    return x;
}

static inline __m256i pooling_rounded_bfloat16(__m256 v) {
    __m256i bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(
        _mm256_srli_epi32(rounded, 16), quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

static inline ptrdiff_t pooling_round_sixteens_bfloat16(pooling_bfloat16_t *dst, const float *src, ptrdiff_t n) {
    ptrdiff_t x;
    for (x = 0; x + 16 <= n; x += 16) {
        __m256i both = _mm256_packus_epi32(
            pooling_rounded_bfloat16(_mm256_loadu_ps(src + x)), pooling_rounded_bfloat16(_mm256_loadu_ps(src + x + 8)));
        _mm256_storeu_si256((__m256i *) (dst + x), _mm256_permute4x64_epi64(both, 0xd8));
    }
    return x;
}
#else
static inline ptrdiff_t pooling_sum_eights_bfloat16(
    float *dst, const pooling_bfloat16_t *src, ptrdiff_t stride, int taps, ptrdiff_t n, int accumulate
) {
    return 0;
}

static inline ptrdiff_t pooling_round_sixteens_bfloat16(pooling_bfloat16_t *dst, const float *src, ptrdiff_t n) {
    return 0;
}
#endif

/* Sixteen keys at once. Loops over them are not for compilers: in lanes of 16 bits gcc 12 makes wrong code, and in
   wider ones the conversion took more time than the pooling. Functions tell how many values they have done: all of
   eight or more, since the last vector may overlap those before. It is read first, as values may be converted where
   they are. */
#if defined(__GNUC__)
typedef int16_t pooling_sixteen_t __attribute__((vector_size(32)));
typedef uint16_t pooling_sixteen_bits_t __attribute__((vector_size(32)));
typedef int16_t pooling_eight_t __attribute__((vector_size(16)));
typedef uint16_t pooling_eight_bits_t __attribute__((vector_size(16)));

#define POOLING_SIXTEENS(NAME, TO, FROM, PARAMETERS, CONVERT)                                                          \
static inline ptrdiff_t NAME(TO *dst, const FROM *src, ptrdiff_t n, PARAMETERS) {                                      \
    ptrdiff_t x;                                                                                                       \
    if (n >= 16) {                                                                                                     \
        pooling_sixteen_t v, last;                                                                                     \
        memcpy(&last, src + n - 16, 32);                                                                               \
        for (x = 0; x + 16 < n; x += 16) {                                                                             \
            memcpy(&v, src + x, 32);                                                                                   \
            CONVERT(v, pooling_sixteen_t, pooling_sixteen_bits_t)                                                      \
            memcpy(dst + x, &v, 32);                                                                                   \
        }                                                                                                              \
        CONVERT(last, pooling_sixteen_t, pooling_sixteen_bits_t)                                                       \
        memcpy(dst + n - 16, &last, 32);                                                                               \
        return n;                                                                                                      \
    }                                                                                                                  \
    if (n >= 8) {                                                                                                      \
        pooling_eight_t v, last;                                                                                       \
        memcpy(&v, src, 16);                                                                                           \
        memcpy(&last, src + n - 8, 16);                                                                                \
        CONVERT(v, pooling_eight_t, pooling_eight_bits_t)                                                              \
        CONVERT(last, pooling_eight_t, pooling_eight_bits_t)                                                           \
        memcpy(dst, &v, 16);                                                                                           \
        memcpy(dst + n - 8, &last, 16);                                                                                \
        return n;                                                                                                      \
    }                                                                                                                  \
    return 0;                                                                                                          \
}

#define POOLING_TO_KEYS(half, VECTOR, BITS) {                                                                          \
    VECTOR sign = half >> 15, magnitude = half & 0x7fff, nan = magnitude > infinity;                                   \
    half = (((magnitude ^ sign) - sign) & ~nan) | (nan & nan_key);                                                     \
}

/* Without signs, since the magnitude of the least key is none of a signed number. */
#define POOLING_FROM_KEYS(key, VECTOR, BITS) {                                                                         \
    VECTOR sign = key >> 15, nan = key == nan_key;                                                                     \
    BITS magnitude = (BITS) (key ^ sign) - (BITS) sign;                                                                \
    key = (((VECTOR) magnitude | (sign & INT16_MIN)) & ~nan) | (nan & 0x7fff);                                         \
}

#define POOLING_OF_HALVES int16_t infinity, int16_t nan_key
#define POOLING_OF_KEYS int16_t nan_key

POOLING_SIXTEENS(pooling_to_keys, int16_t, uint16_t, POOLING_OF_HALVES, POOLING_TO_KEYS)
POOLING_SIXTEENS(pooling_from_keys, uint16_t, int16_t, POOLING_OF_KEYS, POOLING_FROM_KEYS)
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

#endif
