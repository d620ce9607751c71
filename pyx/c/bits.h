/* Doubles as bits, and choices between them without branches. */
#ifndef POOLING_BITS_H
#define POOLING_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint64_t pooling_bits_of(double d) { uint64_t bits; memcpy(&bits, &d, 8); return bits; }
static inline double pooling_of_bits(uint64_t bits) { double d; memcpy(&d, &bits, 8); return d; }

/* By masks: of two choices that hang together, compilers make two ways through all that follows, and no vectors. */
static inline double pooling_choose(int condition, double a, double b) {
    uint64_t mask = -(uint64_t) condition;
    return pooling_of_bits((pooling_bits_of(a) & mask) | (pooling_bits_of(b) & ~mask));
}

#endif
