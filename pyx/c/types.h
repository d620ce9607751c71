/* Types that C has not, or not by a name of its own. */
#ifndef POOLING_TYPES_H
#define POOLING_TYPES_H

#include <stdint.h>

#if defined(__SIZEOF_INT128__)
    typedef __int128 pooling_int128_t;
#else
    #error "pooling sums 64-bit integers in 128 bits: compile it for a 64-bit system, with gcc or clang (CC=clang)"
#endif

/* Types of their own, which tell the two from each other and from integers. */
typedef struct { uint16_t bits; } pooling_float16_t;
typedef struct { uint16_t bits; } pooling_bfloat16_t;

/* A sum of numbers, and how many NaN were left out of it. That addition works part by part is what complex numbers
   are taken for. */
typedef double _Complex pooling_pair_t;

static inline pooling_pair_t pooling_pair(double number, double missing) {
    pooling_pair_t pair;
    ((double *) &pair)[0] = number;
    ((double *) &pair)[1] = missing;
    return pair;
}

#endif
