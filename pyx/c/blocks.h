/* Blocks that do not overlap, of arrays of up to six axes and any strides.
 *
 * An array has outer axes, one axis of rows, and `inner` values of a cell (channels), which blocks never join. Results
 * are made in stages: a cell of stage s joins `factor` cells of stage s - 1 on each axis. Rows of a stage are made one
 * after another from those of the stage before, as they are needed, so that an array is read once and a thread works in
 * one row of each stage. Sums are carried from stage to stage; any of them may be divided and stored.
 *
 * The order of sums of floats is a definition (docs/semantics.md): within a stage along all axes but the last one that
 * has blocks, row by row, then along that one; sums are double.
 */
#ifndef POOLING_BLOCKS_H
#define POOLING_BLOCKS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "bytes.h"
#include "halves.h"
#include "modes.h"
#include "quarters.h"
#include "signals.h"
#include "stream.h"
#include "types.h"

enum {
    POOLING_U8, POOLING_I8, POOLING_U16, POOLING_I16, POOLING_U32, POOLING_I32, POOLING_U64, POOLING_I64,
    POOLING_F16, POOLING_BF16, POOLING_F32, POOLING_F64, POOLING_I128, POOLING_KINDS_
};
enum {
    POOLING_SUM, POOLING_MEAN, POOLING_COUNT, POOLING_MAX, POOLING_MIN, POOLING_MEDIAN, POOLING_MODE, POOLING_FIRST,
    POOLING_RMS, POOLING_STD, POOLING_VAR, POOLING_OPS_
};
enum { POOLING_HALF_EVEN, POOLING_HALF_UP, POOLING_FLOOR, POOLING_TRUNC };

#define POOLING_OUTER 5
#define POOLING_STAGES 32
/* Elements of a block that are sorted in planes. */
#define POOLING_PLANES 32
/* Rows that the first stage adds at once. */
#define POOLING_ROWS_AT_ONCE 8

/* Where arguments that are constants make other loops, which compilers may leave out otherwise. */
#if defined(__GNUC__)
#define POOLING_CONSTANT static inline __attribute__((always_inline))
/* And loops that are made into no vectors where they are called from. */
#define POOLING_ALONE static __attribute__((noinline))
#else
#define POOLING_CONSTANT static inline
#define POOLING_ALONE static
#endif

static const int pooling_kind_size[POOLING_KINDS_] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 16};

typedef void (*pooling_convert_t)(void *dst, const void *src, ptrdiff_t n);
/* Adds pairs of cells of some rows at once. */
typedef void (*pooling_pairs_t)(void *dst, const char *const *rows, int count, ptrdiff_t n);

/* Something that has a value for each element, with steps in bytes. */
typedef struct {
    const char *at;
    ptrdiff_t step[POOLING_OUTER], row_step, inner_step;
} pooling_operand_t;

typedef struct {
    /* Where results and the shares of valid elements go; NULL where nobody wants them. */
    char *dst;
    double *share;
    /* On each axis: cells, those of them that are results, cells of the stage before and elements that make one. */
    ptrdiff_t cells[POOLING_OUTER], outs[POOLING_OUTER], factor[POOLING_OUTER], span[POOLING_OUTER];
    ptrdiff_t row_cells, row_outs, row_factor, row_span;
    /* Kind of the sums, or of the keys of extremes. */
    int sum;
    /* How pairs are added, or NULL; and whether those are floats of which some are left out. */
    pooling_pairs_t pairs;
    int numbers;
    /* Where a thread has its rows: being added up, and done (and how far those lie apart that the next stage adds at
       once); the same of counts and of weights. */
    ptrdiff_t adding, done, done_step, adding_counts, counts, adding_weights, weights;
} pooling_stage_t;

typedef struct {
    int op, kind, result, rounding;
    int axes, stages;
    /* The last axis with blocks among the outer ones, where that of rows has none; else -1. */
    int late;
    /* Whether elements may be left out, whether they have weights, and whether they are sums that counts belong to. */
    int checked, weighted, counted;
    /* 1 for a number that is left out, 2 for NaN. */
    int nodata_is;
    /* Whether results are integers that cannot say that a block has no valid element. */
    int fill_fails;
    int64_t nodata_integer;
    double nodata;
    uint64_t fill;
    double min_valid;
    ptrdiff_t origin[POOLING_OUTER], row_origin;
    ptrdiff_t inner;
    pooling_operand_t elements, mask, weight, count;
    pooling_convert_t load, store;
    /* Sums of the last stage and their counts, to go on from. */
    char *carry;
    int32_t *carry_counts;
    /* Cells of a row that are read together, and in how many parts a row of results is made. */
    ptrdiff_t segment, outs_together, segments, tasks;
    int chunked;
    /* Whether `pooling_halve` makes the results, and `pooling_quarter` those of the first two stages. */
    int halves, quarters;
    /* Where a thread has what it makes of a row of elements. */
    ptrdiff_t raw, raw_mask, raw_weights, values, valid, work, more, planes, nbytes;
    pooling_stage_t stage[POOLING_STAGES + 1];
} pooling_blocks_t;

typedef struct {
    const pooling_blocks_t *job;
    char *memory;
    ptrdiff_t begin[POOLING_STAGES + 1], width[POOLING_STAGES + 1];
    /* Where the row of sums that each stage makes goes. */
    char *done[POOLING_STAGES + 1];
    ptrdiff_t fault;
} pooling_blocks_run_t;

#define POOLING_EACH_INTEGER(X)                                                                                        \
    X(u8, uint8_t, POOLING_U8) X(i8, int8_t, POOLING_I8) X(u16, uint16_t, POOLING_U16) X(i16, int16_t, POOLING_I16)    \
    X(u32, uint32_t, POOLING_U32) X(i32, int32_t, POOLING_I32) X(u64, uint64_t, POOLING_U64)                           \
    X(i64, int64_t, POOLING_I64)
#define POOLING_EACH_NUMBER(X) POOLING_EACH_INTEGER(X) X(f32, float, POOLING_F32) X(f64, double, POOLING_F64)
#define POOLING_EACH_KEY(X)                                                                                            \
    X(i8, int8_t, INT8_MIN, INT8_MAX) X(i16, int16_t, INT16_MIN, INT16_MAX) X(i32, int32_t, INT32_MIN, INT32_MAX)      \
    X(i64, int64_t, INT64_MIN, INT64_MAX)

static inline ptrdiff_t pooling_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t pooling_up(ptrdiff_t a, ptrdiff_t b) { return a / b + (a % b > 0); }

/* --- rows of elements --- */

/* Return a row of cells as it lies, or gathered. */
static const char *pooling_gather_rows(
    char *buffer, const char *at, ptrdiff_t cells, ptrdiff_t inner, ptrdiff_t step, ptrdiff_t inner_step, int size
) {
    ptrdiff_t x, c;
    if ((step == inner * size || cells == 1) && (inner == 1 || inner_step == size)) return at;
#define POOLING_GATHER(T)                                                                                              \
    for (x = 0; x < cells; x++)                                                                                        \
        for (c = 0; c < inner; c++)                                                                                    \
            memcpy(buffer + (x * inner + c) * sizeof(T), at + x * step + c * inner_step, sizeof(T));
    switch (size) {
    case 1: POOLING_GATHER(uint8_t) break;
    case 2: POOLING_GATHER(uint16_t) break;
    case 4: POOLING_GATHER(uint32_t) break;
    case 8: POOLING_GATHER(uint64_t) break;
    default: POOLING_GATHER(pooling_int128_t)
    }
#undef POOLING_GATHER
    return buffer;
}

static const char *pooling_row_at(
    const pooling_blocks_run_t *run, const pooling_operand_t *operand, const ptrdiff_t *cell
) {
    const char *at = operand->at + run->begin[0] * operand->row_step;
    int a;
    for (a = 0; a < run->job->axes; a++) at += cell[a] * operand->step[a];
    return at;
}

static const char *pooling_fetch(
    const pooling_blocks_run_t *run, const pooling_operand_t *operand, const ptrdiff_t *cell, ptrdiff_t buffer, int size
) {
    return pooling_gather_rows(
        run->memory + buffer, pooling_row_at(run, operand, cell), run->width[0], run->job->inner, operand->row_step,
        operand->inner_step, size);
}

#define POOLING_TO_DOUBLE(NAME, T, KIND)                                                                               \
static void pooling_##NAME##_to_double(double *restrict dst, const T *restrict src, ptrdiff_t n) {                     \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) dst[x] = (double) src[x];                                                                  \
}
POOLING_EACH_NUMBER(POOLING_TO_DOUBLE)

static void pooling_doubles_of(const pooling_blocks_t *job, double *dst, const void *src, ptrdiff_t n) {
    switch (job->kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND: pooling_##NAME##_to_double(dst, (const T *) src, n); break;
    POOLING_EACH_NUMBER(POOLING_CASE)
#undef POOLING_CASE
    default: job->load(dst, src, n);
    }
}

#define POOLING_VALID(NAME, T, KIND)                                                                                   \
static void pooling_valid_##NAME(uint8_t *restrict valid, const T *restrict src, T nodata, ptrdiff_t n) {              \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) valid[x] = src[x] != nodata;                                                               \
}
POOLING_EACH_NUMBER(POOLING_VALID)

#define POOLING_NUMBERS(NAME, T)                                                                                       \
static void pooling_numbers_##NAME(uint8_t *restrict valid, const T *restrict src, ptrdiff_t n) {                      \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) valid[x] = src[x] == src[x];                                                               \
}
POOLING_NUMBERS(f32, float)
POOLING_NUMBERS(f64, double)

/* Say which elements of a row count; of halves, `doubles` has the same numbers. */
static void pooling_find_valid(
    const pooling_blocks_run_t *run, const ptrdiff_t *cell, const void *raw, const double *doubles
) {
    const pooling_blocks_t *job = run->job;
    ptrdiff_t x, n = run->width[0] * job->inner;
    uint8_t *valid = (uint8_t *) run->memory + job->valid;
    int half = job->kind == POOLING_F16 || job->kind == POOLING_BF16;
    if (job->nodata_is == 0)
        memset(valid, 1, (size_t) n);
    else if (job->nodata_is == 2 && job->kind == POOLING_F32)
        pooling_numbers_f32(valid, (const float *) raw, n);
    else if (job->nodata_is == 2)
        pooling_numbers_f64(valid, half ? doubles : (const double *) raw, n);
    else if (half)
        pooling_valid_f64(valid, doubles, job->nodata, n);
    else switch (job->kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND:                                                                         \
        pooling_valid_##NAME(valid, (const T *) raw, (T) job->nodata_integer, n); break;
    POOLING_EACH_INTEGER(POOLING_CASE)
#undef POOLING_CASE
    case POOLING_F32: pooling_valid_f32(valid, (const float *) raw, (float) job->nodata, n); break;
    default: pooling_valid_f64(valid, (const double *) raw, job->nodata, n);
    }
    if (job->mask.at) {
        const uint8_t *mask = (const uint8_t *) pooling_fetch(run, &job->mask, cell, job->raw_mask, 1);
        for (x = 0; x < n; x++) valid[x] &= (uint8_t) (mask[x] == 0);
    }
    if (job->weighted) {
        const double *weights = (const double *) pooling_fetch(run, &job->weight, cell, job->raw_weights, 8);
        for (x = 0; x < n; x++) valid[x] &= (uint8_t) (weights[x] > 0);
    }
}

/* --- sums, and extremes of keys --- */

typedef void (*pooling_add_t)(void *acc, const void *row, ptrdiff_t n, int first);

#define POOLING_ADD(TO, S, FROM, T)                                                                                    \
static void pooling_add_##FROM##_##TO(void *to, const void *from, ptrdiff_t n, int first) {                            \
    S *restrict acc = (S *) to;                                                                                        \
    const T *restrict row = (const T *) from;                                                                          \
    ptrdiff_t x;                                                                                                       \
    if (first) for (x = 0; x < n; x++) acc[x] = (S) row[x];                                                            \
    else for (x = 0; x < n; x++) acc[x] = (S) (acc[x] + (S) row[x]);                                                   \
}
POOLING_ADD(u16, uint16_t, u8, uint8_t)
POOLING_ADD(i32, int32_t, u8, uint8_t)
POOLING_ADD(i64, int64_t, u8, uint8_t)
POOLING_ADD(i16, int16_t, i8, int8_t)
POOLING_ADD(i32, int32_t, i8, int8_t)
POOLING_ADD(i64, int64_t, i8, int8_t)
POOLING_ADD(u16, uint16_t, u16, uint16_t)
POOLING_ADD(i32, int32_t, u16, uint16_t)
POOLING_ADD(i64, int64_t, u16, uint16_t)
POOLING_ADD(i16, int16_t, i16, int16_t)
POOLING_ADD(i32, int32_t, i16, int16_t)
POOLING_ADD(i64, int64_t, i16, int16_t)
POOLING_ADD(i64, int64_t, u32, uint32_t)
POOLING_ADD(i32, int32_t, i32, int32_t)
POOLING_ADD(i64, int64_t, i32, int32_t)
POOLING_ADD(i64, int64_t, i64, int64_t)
POOLING_ADD(i128, pooling_int128_t, u64, uint64_t)
POOLING_ADD(i128, pooling_int128_t, i64, int64_t)
POOLING_ADD(i128, pooling_int128_t, i128, pooling_int128_t)
POOLING_ADD(f64, double, f32, float)
POOLING_ADD(f64, double, f64, double)

#define POOLING_JOIN(NAME, T, BETTER)                                                                                  \
static void pooling_##NAME(void *to, const void *from, ptrdiff_t n, int first) {                                       \
    T *restrict acc = (T *) to;                                                                                        \
    const T *restrict row = (const T *) from;                                                                          \
    ptrdiff_t x;                                                                                                       \
    if (first) memcpy(acc, row, (size_t) n * sizeof(T));                                                               \
    else for (x = 0; x < n; x++) acc[x] = row[x] BETTER acc[x] ? row[x] : acc[x];                                      \
}
#define POOLING_EXTREMES(NAME, T, LOW, HIGH) POOLING_JOIN(max_##NAME, T, >) POOLING_JOIN(min_##NAME, T, <)
POOLING_EACH_KEY(POOLING_EXTREMES)

/* Sums of floats but for those that are equal to `nodata`, or NaN, and how many there are. */
POOLING_ALONE void pooling_add_numbers(
    double *restrict acc, int32_t *restrict counts, const float *restrict row, float nodata, int nan, ptrdiff_t n,
    int first
) {
    ptrdiff_t x;
    if (first) {
        memset(acc, 0, (size_t) n * sizeof(double));
        memset(counts, 0, (size_t) n * sizeof(int32_t));
    }
    if (nan)
        for (x = 0; x < n; x++) {
            float v = row[x];
            acc[x] += v == v ? v : 0.0f;
            counts[x] += v == v;
        }
    else
        for (x = 0; x < n; x++) {
            float v = row[x];
            acc[x] += v != nodata ? v : 0.0f;
            counts[x] += v != nodata;
        }
}

static pooling_add_t pooling_add_of(int from, int to) {
#define POOLING_PAIR(FROM, TO, NAME) if (from == FROM && to == TO) return pooling_add_##NAME;
    POOLING_PAIR(POOLING_U8, POOLING_U16, u8_u16)
    POOLING_PAIR(POOLING_U8, POOLING_I32, u8_i32)
    POOLING_PAIR(POOLING_U8, POOLING_I64, u8_i64)
    POOLING_PAIR(POOLING_I8, POOLING_I16, i8_i16)
    POOLING_PAIR(POOLING_I8, POOLING_I32, i8_i32)
    POOLING_PAIR(POOLING_I8, POOLING_I64, i8_i64)
    POOLING_PAIR(POOLING_U16, POOLING_U16, u16_u16)
    POOLING_PAIR(POOLING_U16, POOLING_I32, u16_i32)
    POOLING_PAIR(POOLING_U16, POOLING_I64, u16_i64)
    POOLING_PAIR(POOLING_I16, POOLING_I16, i16_i16)
    POOLING_PAIR(POOLING_I16, POOLING_I32, i16_i32)
    POOLING_PAIR(POOLING_I16, POOLING_I64, i16_i64)
    POOLING_PAIR(POOLING_U32, POOLING_I64, u32_i64)
    POOLING_PAIR(POOLING_I32, POOLING_I32, i32_i32)
    POOLING_PAIR(POOLING_I32, POOLING_I64, i32_i64)
    POOLING_PAIR(POOLING_I64, POOLING_I64, i64_i64)
    POOLING_PAIR(POOLING_U64, POOLING_I128, u64_i128)
    POOLING_PAIR(POOLING_I64, POOLING_I128, i64_i128)
    POOLING_PAIR(POOLING_I128, POOLING_I128, i128_i128)
    POOLING_PAIR(POOLING_F32, POOLING_F64, f32_f64)
    POOLING_PAIR(POOLING_F64, POOLING_F64, f64_f64)
#undef POOLING_PAIR
    return NULL;
}

static pooling_add_t pooling_join_of(const pooling_blocks_t *job, int from, int to) {
    if (job->op == POOLING_MAX)
        return to == POOLING_I8 ? pooling_max_i8 : to == POOLING_I16 ? pooling_max_i16
            : to == POOLING_I32 ? pooling_max_i32 : pooling_max_i64;
    if (job->op == POOLING_MIN)
        return to == POOLING_I8 ? pooling_min_i8 : to == POOLING_I16 ? pooling_min_i16
            : to == POOLING_I32 ? pooling_min_i32 : pooling_min_i64;
    return pooling_add_of(from, to);
}

/* Join so many neighbouring cells each; the last may be fewer, and `on` says that there is a result to go on from. */
#define POOLING_FOLD(NAME, T, JOIN)                                                                                    \
POOLING_CONSTANT void pooling_each_##NAME(                                                                             \
    T *restrict dst, const T *restrict src, ptrdiff_t whole, ptrdiff_t factor, ptrdiff_t inner                         \
) {                                                                                                                    \
    ptrdiff_t o, k, c;                                                                                                 \
    for (o = 0; o < whole; o++)                                                                                        \
        for (c = 0; c < inner; c++) {                                                                                  \
            T v = src[o * factor * inner + c];                                                                         \
            for (k = 1; k < factor; k++) {                                                                             \
                T w = src[(o * factor + k) * inner + c];                                                               \
                v = JOIN;                                                                                              \
            }                                                                                                          \
            dst[o * inner + c] = v;                                                                                    \
        }                                                                                                              \
}                                                                                                                      \
static void pooling_fold_##NAME(                                                                                       \
    void *to, const void *from, ptrdiff_t cells, ptrdiff_t factor, ptrdiff_t inner, int on                             \
) {                                                                                                                    \
    T *dst = (T *) to;                                                                                                 \
    const T *src = (const T *) from;                                                                                   \
    ptrdiff_t whole = cells / factor, k, c;                                                                            \
    if (on) {                                                                                                          \
        for (k = 0; k < cells; k++)                                                                                    \
            for (c = 0; c < inner; c++) {                                                                              \
                T v = dst[c], w = src[k * inner + c];                                                                  \
                dst[c] = JOIN;                                                                                         \
            }                                                                                                          \
        return;                                                                                                        \
    }                                                                                                                  \
    if (factor == 1) memcpy(dst, src, (size_t) (cells * inner) * sizeof(T));                                           \
    else if (inner == 1) switch (factor) {                                                                             \
    case 2: pooling_each_##NAME(dst, src, whole, 2, 1); break;                                                         \
    case 3: pooling_each_##NAME(dst, src, whole, 3, 1); break;                                                         \
    case 4: pooling_each_##NAME(dst, src, whole, 4, 1); break;                                                         \
    case 8: pooling_each_##NAME(dst, src, whole, 8, 1); break;                                                         \
    default: pooling_each_##NAME(dst, src, whole, factor, 1);                                                          \
    } else if (factor == 2) switch (inner) {                                                                           \
    case 2: pooling_each_##NAME(dst, src, whole, 2, 2); break;                                                         \
    case 3: pooling_each_##NAME(dst, src, whole, 2, 3); break;                                                         \
    case 4: pooling_each_##NAME(dst, src, whole, 2, 4); break;                                                         \
    default: pooling_each_##NAME(dst, src, whole, 2, inner);                                                           \
    } else pooling_each_##NAME(dst, src, whole, factor, inner);                                                        \
    if (cells % factor)                                                                                                \
        pooling_each_##NAME(dst + whole * inner, src + whole * factor * inner, 1, cells % factor, inner);              \
}
POOLING_FOLD(u16, uint16_t, (uint16_t) (v + w))
POOLING_FOLD(i16, int16_t, (int16_t) (v + w))
POOLING_FOLD(i32, int32_t, v + w)
POOLING_FOLD(i64, int64_t, v + w)
POOLING_FOLD(i128, pooling_int128_t, v + w)
POOLING_FOLD(f64, double, v + w)
#define POOLING_FOLD_EXTREMES(NAME, T, LOW, HIGH)                                                                      \
    POOLING_FOLD(max_##NAME, T, w > v ? w : v) POOLING_FOLD(min_##NAME, T, w < v ? w : v)
POOLING_EACH_KEY(POOLING_FOLD_EXTREMES)

static void pooling_fold(
    const pooling_blocks_t *job, int kind, void *dst, const void *src, ptrdiff_t cells, ptrdiff_t factor, int on
) {
#define POOLING_KEYS_FOLD(OP)                                                                                          \
    switch (kind) {                                                                                                    \
    case POOLING_I8: pooling_fold_##OP##_i8(dst, src, cells, factor, job->inner, on); break;                           \
    case POOLING_I16: pooling_fold_##OP##_i16(dst, src, cells, factor, job->inner, on); break;                         \
    case POOLING_I32: pooling_fold_##OP##_i32(dst, src, cells, factor, job->inner, on); break;                         \
    default: pooling_fold_##OP##_i64(dst, src, cells, factor, job->inner, on);                                         \
    }
    if (job->op == POOLING_MAX) POOLING_KEYS_FOLD(max)
    else if (job->op == POOLING_MIN) POOLING_KEYS_FOLD(min)
    else switch (kind) {
    case POOLING_U16: pooling_fold_u16(dst, src, cells, factor, job->inner, on); break;
    case POOLING_I16: pooling_fold_i16(dst, src, cells, factor, job->inner, on); break;
    case POOLING_I32: pooling_fold_i32(dst, src, cells, factor, job->inner, on); break;
    case POOLING_I64: pooling_fold_i64(dst, src, cells, factor, job->inner, on); break;
    case POOLING_I128: pooling_fold_i128(dst, src, cells, factor, job->inner, on); break;
    default: pooling_fold_f64(dst, src, cells, factor, job->inner, on);
    }
#undef POOLING_KEYS_FOLD
}

/* Bytes that a processor reads at once, and pairs of bytes that are added while others are on their way. */
#define POOLING_LINE 64
#define POOLING_PAIRS_AT_ONCE 128
/* Bytes of a row of other elements that are: of 64-bit ones, as many as are narrowed for modes. */
#define POOLING_BYTES_AT_ONCE (8 * POOLING_MODES_NARROWED)

/* Sums of pairs of cells of several rows: two elements are read as one number of twice their bits. */
typedef uint16_t __attribute__((may_alias, aligned(1))) pooling_two_bytes_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) pooling_two_words_t;

#define POOLING_PAIRS(NAME, S, T, SUM)                                                                                 \
POOLING_CONSTANT void pooling_pairs_of_##NAME(                                                                         \
    S *restrict dst, const char *const *rows, const int count, ptrdiff_t n) {                                          \
    ptrdiff_t x;                                                                                                       \
    int r;                                                                                                             \
    for (x = 0; x < n; x++) {                                                                                          \
        S sum = 0;                                                                                                     \
        for (r = 0; r < count; r++) {                                                                                  \
            T v = ((const T *) rows[r])[x];                                                                            \
            sum = (S) (sum + SUM);                                                                                     \
        }                                                                                                              \
        dst[x] = sum;                                                                                                  \
    }                                                                                                                  \
}                                                                                                                      \
static void pooling_pairs_##NAME(S *dst, const char *const *rows, int count, ptrdiff_t n) {                            \
    switch (count) {                                                                                                   \
    case 1: pooling_pairs_of_##NAME(dst, rows, 1, n); break;                                                           \
    case 2: pooling_pairs_of_##NAME(dst, rows, 2, n); break;                                                           \
    case 4: pooling_pairs_of_##NAME(dst, rows, 4, n); break;                                                           \
    default: pooling_pairs_of_##NAME(dst, rows, count, n);                                                             \
    }                                                                                                                  \
}
POOLING_PAIRS(u8_u16, uint16_t, pooling_two_bytes_t, (v & 0xff) + (v >> 8))
POOLING_PAIRS(u16_i32, int32_t, pooling_two_words_t, (int32_t) (v & 0xffff) + (int32_t) (v >> 16))

/* Column by column, as floats have to be added. */
#define POOLING_COLUMNS(NAME, S, T)                                                                                    \
POOLING_CONSTANT void pooling_columns_of_##NAME(                                                                       \
    S *restrict dst, const char *const *rows, const int count, ptrdiff_t n) {                                          \
    ptrdiff_t x;                                                                                                       \
    int r;                                                                                                             \
    for (x = 0; x < n; x++) {                                                                                          \
        S left = (S) ((const T *) rows[0])[2 * x], right = (S) ((const T *) rows[0])[2 * x + 1];                       \
        for (r = 1; r < count; r++) {                                                                                  \
            left = (S) (left + (S) ((const T *) rows[r])[2 * x]);                                                      \
            right = (S) (right + (S) ((const T *) rows[r])[2 * x + 1]);                                                \
        }                                                                                                              \
        dst[x] = (S) (left + right);                                                                                   \
    }                                                                                                                  \
}                                                                                                                      \
static void pooling_pairs_##NAME(S *dst, const char *const *rows, int count, ptrdiff_t n) {                            \
    switch (count) {                                                                                                   \
    case 1: pooling_columns_of_##NAME(dst, rows, 1, n); break;                                                         \
    case 2: pooling_columns_of_##NAME(dst, rows, 2, n); break;                                                         \
    case 4: pooling_columns_of_##NAME(dst, rows, 4, n); break;                                                         \
    default: pooling_columns_of_##NAME(dst, rows, count, n);                                                           \
    }                                                                                                                  \
}
POOLING_COLUMNS(i32_i32, int32_t, int32_t)
POOLING_COLUMNS(i64_i64, int64_t, int64_t)
POOLING_COLUMNS(f32_f64, double, float)
POOLING_COLUMNS(f64_f64, double, double)

/* Sums that 16 bits hold are added two at a time: nothing is carried from one into the other. */
POOLING_CONSTANT void pooling_packed(uint16_t *restrict dst, const char *const *rows, const int count, ptrdiff_t n) {
    ptrdiff_t x;
    int r;
    for (x = 0; x < n; x++) {
        uint32_t v = ((const pooling_two_words_t *) rows[0])[x];
        for (r = 1; r < count; r++) v += ((const pooling_two_words_t *) rows[r])[x];
        dst[x] = (uint16_t) (v + (v >> 16));
    }
}

static void pooling_pairs_u16_u16(uint16_t *dst, const char *const *rows, int count, ptrdiff_t n) {
    switch (count) {
    case 1: pooling_packed(dst, rows, 1, n); break;
    case 2: pooling_packed(dst, rows, 2, n); break;
    case 4: pooling_packed(dst, rows, 4, n); break;
    default: pooling_packed(dst, rows, count, n);
    }
}

/* Sums of the numbers of pairs, and how many there are; of a cell that is left behind the pairs too. */
POOLING_CONSTANT void pooling_pair_numbers_of(
    double *restrict dst, int32_t *restrict counts, const char *const *rows, float nodata, const int count,
    const int nan, ptrdiff_t begin, ptrdiff_t end, const int single
) {
    ptrdiff_t x;
    int r;
    for (x = begin; x < end; x++) {
        double left = 0, right = 0;
        int32_t found = 0;
        for (r = 0; r < count; r++) {
            float a = ((const float *) rows[r])[2 * x], b = single ? 0 : ((const float *) rows[r])[2 * x + 1];
            int has = nan ? a == a : a != nodata, also = single ? 0 : nan ? b == b : b != nodata;
            left += has ? a : 0.0f;
            right += also ? b : 0.0f;
            found += has + also;
        }
        dst[x] = left + right;
        counts[x] = found;
    }
}

POOLING_ALONE void pooling_pair_numbers(
    double *dst, int32_t *counts, const char *const *rows, int count, float nodata, int nan, ptrdiff_t n, int more
) {
    if (nan && count == 2) pooling_pair_numbers_of(dst, counts, rows, nodata, 2, 1, 0, n, 0);
    else if (nan && count == 4) pooling_pair_numbers_of(dst, counts, rows, nodata, 4, 1, 0, n, 0);
    else if (nan) pooling_pair_numbers_of(dst, counts, rows, nodata, count, 1, 0, n, 0);
    else if (count == 2) pooling_pair_numbers_of(dst, counts, rows, nodata, 2, 0, 0, n, 0);
    else if (count == 4) pooling_pair_numbers_of(dst, counts, rows, nodata, 4, 0, 0, n, 0);
    else pooling_pair_numbers_of(dst, counts, rows, nodata, count, 0, 0, n, 0);
    if (more) pooling_pair_numbers_of(dst, counts, rows, nodata, count, nan, n, n + 1, 1);
}

/* Sums of the pairs of one, two or four rows of bytes. Each row is an argument of its own: an array of pointers might
   be changed by the bytes that are stored, for all that compilers know. */
POOLING_CONSTANT uint16_t pooling_pair_sum(
    const pooling_two_bytes_t *a, const pooling_two_bytes_t *b, const pooling_two_bytes_t *c,
    const pooling_two_bytes_t *d, const int count, ptrdiff_t x
) {
    uint16_t v = a[x], sum = (uint16_t) ((v & 0xff) + (v >> 8));
    if (count > 1) { v = b[x]; sum = (uint16_t) (sum + (uint16_t) ((v & 0xff) + (v >> 8))); }
    if (count > 2) {
        v = c[x]; sum = (uint16_t) (sum + (uint16_t) ((v & 0xff) + (v >> 8)));
        v = d[x]; sum = (uint16_t) (sum + (uint16_t) ((v & 0xff) + (v >> 8)));
    }
    return sum;
}

/* Their means, of 2**bits bytes; `done` gets the sums as well, unless it is NULL. */
POOLING_CONSTANT void pooling_mean_pairs_of(
    uint8_t *restrict dst, uint16_t *restrict done, const pooling_two_bytes_t *restrict a,
    const pooling_two_bytes_t *restrict b, const pooling_two_bytes_t *restrict c,
    const pooling_two_bytes_t *restrict d, const int bits, const int even, ptrdiff_t n
) {
    const uint16_t half = (uint16_t) (1 << (bits - 1)), below = (uint16_t) (half - 1);
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        uint16_t sum = pooling_pair_sum(a, b, c, d, 1 << (bits - 1), x);
        if (done) done[x] = sum;
        if (even) sum = (uint16_t) (sum + below + ((sum >> bits) & 1));
        else sum = (uint16_t) (sum + half);
        dst[x] = (uint8_t) (sum >> bits);
    }
}

/* A part at a time, and before each part that of the rows `ahead` is asked for: processors follow rows of a page each
   only until their end, and wait for the first lines of the next ones. */
POOLING_CONSTANT void pooling_mean_pairs_ahead(
    uint8_t *dst, uint16_t *done, const pooling_two_bytes_t *a, const pooling_two_bytes_t *b,
    const pooling_two_bytes_t *c, const pooling_two_bytes_t *d, const int bits, const int even, ptrdiff_t n,
    ptrdiff_t ahead
) {
    ptrdiff_t at, x;
    for (at = 0; at + POOLING_PAIRS_AT_ONCE <= n; at += POOLING_PAIRS_AT_ONCE) {
        for (x = at; x < at + POOLING_PAIRS_AT_ONCE; x += POOLING_LINE / 2) {
            pooling_prefetch((const char *) (a + x) + ahead);
            if (bits > 1) pooling_prefetch((const char *) (b + x) + ahead);
            if (bits > 2) pooling_prefetch((const char *) (c + x) + ahead);
            if (bits > 2) pooling_prefetch((const char *) (d + x) + ahead);
        }
        pooling_mean_pairs_of(
            dst + at, done ? done + at : NULL, a + at, b + at, c + at, d + at, bits, even, POOLING_PAIRS_AT_ONCE);
    }
    pooling_mean_pairs_of(dst + at, done ? done + at : NULL, a + at, b + at, c + at, d + at, bits, even, n - at);
}

POOLING_ALONE int pooling_mean_pairs(
    uint8_t *dst, uint16_t *done, const char *const *rows, int count, int rounding, ptrdiff_t n, ptrdiff_t ahead
) {
    const pooling_two_bytes_t *row[4];
    int r, even = rounding == POOLING_HALF_EVEN;
    if (count == 3 || count > 4 || (!even && rounding != POOLING_HALF_UP)) return 0;
    for (r = 0; r < 4; r++) row[r] = (const pooling_two_bytes_t *) rows[r < count ? r : 0];
#define POOLING_MEAN_PAIRS(BITS)                                                                                       \
    if (even && done) pooling_mean_pairs_ahead(dst, done, row[0], row[1], row[2], row[3], BITS, 1, n, ahead);          \
    else if (even) pooling_mean_pairs_ahead(dst, NULL, row[0], row[1], row[2], row[3], BITS, 1, n, ahead);             \
    else if (done) pooling_mean_pairs_ahead(dst, done, row[0], row[1], row[2], row[3], BITS, 0, n, ahead);             \
    else pooling_mean_pairs_ahead(dst, NULL, row[0], row[1], row[2], row[3], BITS, 0, n, ahead);
    if (count == 1) { POOLING_MEAN_PAIRS(1) }
    else if (count == 2) { POOLING_MEAN_PAIRS(2) }
    else { POOLING_MEAN_PAIRS(3) }
#undef POOLING_MEAN_PAIRS
    return 1;
}

/* --- keys: integers that order as elements do --- */

#define POOLING_INTEGER_KEYS(NAME, T, KIND)                                                                            \
static void pooling_keys_##NAME(void *to, const void *from, ptrdiff_t n, T flip) {                                     \
    T *restrict dst = (T *) to;                                                                                        \
    const T *restrict src = (const T *) from;                                                                          \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) dst[x] = (T) (src[x] ^ flip);                                                              \
}
POOLING_INTEGER_KEYS(u8, uint8_t, 0)
POOLING_INTEGER_KEYS(u16, uint16_t, 0)
POOLING_INTEGER_KEYS(u32, uint32_t, 0)
POOLING_INTEGER_KEYS(u64, uint64_t, 0)

/* Both zeros are 0; the keys of infinities leave two above and two below. */
#define POOLING_FLOAT_KEYS(NAME, K, U, BITS, INFINITE)                                                                 \
static void pooling_keys_##NAME(void *to, const void *from, ptrdiff_t n, K nan) {                                      \
    K *restrict dst = (K *) to;                                                                                        \
    const K *restrict src = (const K *) from;                                                                          \
    const K most = (K) (((U) 1 << (BITS - 1)) - 1);                                                                    \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        K magnitude = src[x] & most, sign = src[x] >> (BITS - 1);                                                      \
        K key = (magnitude ^ sign) - sign;                                                                             \
        dst[x] = magnitude > INFINITE ? nan : key;                                                                     \
    }                                                                                                                  \
}                                                                                                                      \
static void pooling_##NAME##_of_keys(void *to, const void *from, ptrdiff_t n) {                                        \
    K *restrict dst = (K *) to;                                                                                        \
    const K *restrict src = (const K *) from;                                                                          \
    const K most = (K) (((U) 1 << (BITS - 1)) - 1);                                                                    \
    const K quiet = (K) (INFINITE | ((U) 1 << (BITS == 32 ? 22 : 51)));                                                \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        K key = src[x], sign = key >> (BITS - 1);                                                                      \
        K magnitude = (K) (((U) key ^ (U) sign) - (U) sign);                                                           \
        K value = magnitude | (sign & ~most);                                                                          \
        dst[x] = key == most || key == ~most ? quiet : value;                                                          \
    }                                                                                                                  \
}
POOLING_FLOAT_KEYS(f32, int32_t, uint32_t, 32, INT32_C(0x7f800000))
POOLING_FLOAT_KEYS(f64, int64_t, uint64_t, 64, INT64_C(0x7ff0000000000000))

/* As in conversions.pxd, whose loops these are. */
static void pooling_keys_half(int16_t *dst, const uint16_t *src, ptrdiff_t n, int infinity, int nan) {
    ptrdiff_t x;
    for (x = pooling_to_keys(dst, src, n, (int16_t) infinity, (int16_t) nan); x < n; x++) {
        int magnitude = src[x] & 0x7fff, key = src[x] >> 15 ? -magnitude : magnitude;
        dst[x] = (int16_t) (magnitude > infinity ? nan : key);
    }
}

static void pooling_half_of_keys(uint16_t *dst, const int16_t *src, ptrdiff_t n) {
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        int key = src[x], bits = key < 0 ? 0x8000 | -key : key;
        dst[x] = (uint16_t) (key == INT16_MAX || key == INT16_MIN ? 0x7fff : bits);
    }
}

static int pooling_key_kind(int kind) {
    return kind == POOLING_F16 || kind == POOLING_BF16 ? POOLING_I16 : kind == POOLING_F32 ? POOLING_I32
        : kind == POOLING_F64 ? POOLING_I64 : kind | 1;
}

static int pooling_is_float(int kind) { return kind >= POOLING_F16 && kind <= POOLING_F64; }

#define POOLING_INVALID_KEYS(NAME, T, LOW, HIGH)                                                                       \
static void pooling_invalid_##NAME(void *keys, const uint8_t *restrict valid, T key, ptrdiff_t n) {                    \
    T *restrict dst = (T *) keys;                                                                                      \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) dst[x] = valid[x] ? dst[x] : key;                                                          \
}
POOLING_EACH_KEY(POOLING_INVALID_KEYS)

/* Make the keys of a row: NaN wins, and what is not valid loses, or comes behind all numbers where keys are sorted. */
static const void *pooling_load_keys(const pooling_blocks_run_t *run, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    ptrdiff_t n = run->width[0] * job->inner;
    const void *raw = pooling_fetch(run, &job->elements, cell, job->raw, pooling_kind_size[job->kind]);
    void *keys = run->memory + job->values;
    const uint8_t *valid = (const uint8_t *) run->memory + job->valid;
    int high = job->op != POOLING_MIN, floats = pooling_is_float(job->kind);
    int half = job->kind == POOLING_F16 || job->kind == POOLING_BF16;
    switch (job->kind) {
    case POOLING_U8: pooling_keys_u8(keys, raw, n, 0x80); break;
    case POOLING_U16: pooling_keys_u16(keys, raw, n, 0x8000); break;
    case POOLING_U32: pooling_keys_u32(keys, raw, n, UINT32_C(0x80000000)); break;
    case POOLING_U64: pooling_keys_u64(keys, raw, n, UINT64_C(0x8000000000000000)); break;
    case POOLING_F16: pooling_keys_half(keys, raw, n, 0x7c00, high ? INT16_MAX : INT16_MIN); break;
    case POOLING_BF16: pooling_keys_half(keys, raw, n, 0x7f80, high ? INT16_MAX : INT16_MIN); break;
    case POOLING_F32: pooling_keys_f32(keys, raw, n, high ? INT32_MAX : INT32_MIN); break;
    case POOLING_F64: pooling_keys_f64(keys, raw, n, high ? INT64_MAX : INT64_MIN); break;
    default:
        if (!job->checked) return raw;
        memcpy(keys, raw, (size_t) n * pooling_kind_size[job->kind]);
    }
    if (!job->checked) return keys;
    if (half) job->load(run->memory + job->work, raw, n);
    pooling_find_valid(run, cell, raw, (const double *) (run->memory + job->work));
    switch (pooling_key_kind(job->kind)) {
#define POOLING_CASE(NAME, T, KIND, LOW, HIGH)                                                                         \
    case KIND: pooling_invalid_##NAME(                                                                                 \
        keys, valid, job->op == POOLING_MAX ? LOW : job->op == POOLING_MIN || !floats ? HIGH : HIGH - 1, n); break;
    POOLING_CASE(i8, int8_t, POOLING_I8, INT8_MIN, INT8_MAX)
    POOLING_CASE(i16, int16_t, POOLING_I16, INT16_MIN, INT16_MAX)
    POOLING_CASE(i32, int32_t, POOLING_I32, INT32_MIN, INT32_MAX)
    POOLING_CASE(i64, int64_t, POOLING_I64, INT64_MIN, INT64_MAX)
#undef POOLING_CASE
    }
    return keys;
}

static void pooling_store_keys(const pooling_blocks_t *job, void *dst, const void *keys, ptrdiff_t n) {
    switch (job->kind) {
    case POOLING_U8: pooling_keys_u8(dst, keys, n, 0x80); break;
    case POOLING_U16: pooling_keys_u16(dst, keys, n, 0x8000); break;
    case POOLING_U32: pooling_keys_u32(dst, keys, n, UINT32_C(0x80000000)); break;
    case POOLING_U64: pooling_keys_u64(dst, keys, n, UINT64_C(0x8000000000000000)); break;
    case POOLING_F16: case POOLING_BF16: pooling_half_of_keys(dst, keys, n); break;
    case POOLING_F32: pooling_f32_of_keys(dst, keys, n); break;
    case POOLING_F64: pooling_f64_of_keys(dst, keys, n); break;
    default: memcpy(dst, keys, (size_t) n * pooling_kind_size[job->kind]);
    }
}

/* --- means --- */

static inline double pooling_quotient(double sum, double count, const int rounding) {
    switch (rounding) {
    /* No quotient of integers below 2**51 comes closer to a tie, or to an integer, than double can tell. */
    case POOLING_HALF_EVEN: return __builtin_rint(sum / count);
    case POOLING_HALF_UP: return __builtin_floor((2 * sum + count) / (2 * count));
    case POOLING_FLOOR: return __builtin_floor(sum / count);
    default: return __builtin_trunc(sum / count);
    }
}

#define POOLING_SHORT_MEANS(NAME, S)                                                                                   \
POOLING_CONSTANT void pooling_means_##NAME(                                                                            \
    int32_t *restrict dst, const S *restrict sums, const int32_t *restrict counts, double count, ptrdiff_t n,          \
    const int rounding                                                                                                 \
) {                                                                                                                    \
    ptrdiff_t x;                                                                                                       \
    if (counts)                                                                                                        \
        for (x = 0; x < n; x++) {                                                                                      \
            double each = counts[x] > 0 ? (double) counts[x] : 1.0;                                                    \
            dst[x] = (int32_t) pooling_quotient((double) sums[x], each, rounding);                                     \
        }                                                                                                              \
    else for (x = 0; x < n; x++) dst[x] = (int32_t) pooling_quotient((double) sums[x], count, rounding);               \
}                                                                                                                      \
static void pooling_short_##NAME(                                                                                      \
    int32_t *dst, const void *sums, const int32_t *counts, double count, ptrdiff_t n, int rounding                     \
) {                                                                                                                    \
    switch (rounding) {                                                                                                \
    case POOLING_HALF_EVEN: pooling_means_##NAME(dst, (const S *) sums, counts, count, n, POOLING_HALF_EVEN); break;   \
    case POOLING_HALF_UP: pooling_means_##NAME(dst, (const S *) sums, counts, count, n, POOLING_HALF_UP); break;       \
    case POOLING_FLOOR: pooling_means_##NAME(dst, (const S *) sums, counts, count, n, POOLING_FLOOR); break;           \
    default: pooling_means_##NAME(dst, (const S *) sums, counts, count, n, POOLING_TRUNC);                             \
    }                                                                                                                  \
}
POOLING_SHORT_MEANS(u16, uint16_t)
POOLING_SHORT_MEANS(i16, int16_t)
POOLING_SHORT_MEANS(i32, int32_t)

#define POOLING_LONG_MEANS(NAME, S)                                                                                    \
static void pooling_long_##NAME(                                                                                       \
    int64_t *restrict dst, const S *restrict sums, const int32_t *restrict counts, double count, ptrdiff_t n,          \
    int rounding                                                                                                       \
) {                                                                                                                    \
    const S small = (S) 1 << 50;                                                                                       \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        S sum = sums[x], each = counts ? (counts[x] > 0 ? counts[x] : 1) : (S) count, floor, rest;                     \
        if (sum < small && sum > -small) {                                                                             \
            dst[x] = (int64_t) pooling_quotient((double) sum, (double) each, rounding);                                \
            continue;                                                                                                  \
        }                                                                                                              \
        floor = sum / each;                                                                                            \
        rest = sum - floor * each;                                                                                     \
        if (rest < 0) { floor -= 1; rest += each; }                                                                    \
        switch (rounding) {                                                                                            \
        case POOLING_HALF_EVEN: floor += rest > each - rest || (rest == each - rest && (floor & 1)); break;            \
        case POOLING_HALF_UP: floor += rest >= each - rest; break;                                                     \
        case POOLING_TRUNC: floor += rest > 0 && floor < 0; break;                                                     \
        }                                                                                                              \
        dst[x] = (int64_t) floor;                                                                                      \
    }                                                                                                                  \
}
POOLING_LONG_MEANS(i64, int64_t)
POOLING_LONG_MEANS(i128, pooling_int128_t)

/* Of blocks of 2**bits bytes, without a division. */
POOLING_CONSTANT void pooling_shifted(
    uint8_t *restrict dst, const uint16_t *restrict sums, const int bits, ptrdiff_t n, const int rounding
) {
    const uint16_t half = (uint16_t) (bits ? 1 << (bits - 1) : 0), below = (uint16_t) (bits ? half - 1 : 0);
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        uint16_t s = sums[x];
        if (rounding == POOLING_HALF_EVEN && bits) s = (uint16_t) (s + below + ((s >> bits) & 1));
        else if (rounding == POOLING_HALF_UP) s = (uint16_t) (s + half);
        dst[x] = (uint8_t) (s >> bits);
    }
}

static void pooling_shift(uint8_t *dst, const uint16_t *sums, int bits, ptrdiff_t n, int rounding) {
#define POOLING_SHIFT(BITS)                                                                                            \
    if (rounding == POOLING_HALF_EVEN) pooling_shifted(dst, sums, BITS, n, POOLING_HALF_EVEN);                         \
    else if (rounding == POOLING_HALF_UP) pooling_shifted(dst, sums, BITS, n, POOLING_HALF_UP);                        \
    else pooling_shifted(dst, sums, BITS, n, POOLING_FLOOR);
    switch (bits) {
    case 2: POOLING_SHIFT(2) break;
    case 3: POOLING_SHIFT(3) break;
    case 4: POOLING_SHIFT(4) break;
    default: POOLING_SHIFT(bits)
    }
#undef POOLING_SHIFT
}

/* The same of sums in 32 bits. */
POOLING_CONSTANT void pooling_shifted_words(
    int32_t *restrict dst, const int32_t *restrict sums, const int bits, ptrdiff_t n, const int rounding
) {
    const int32_t half = bits ? (int32_t) 1 << (bits - 1) : 0, below = bits ? half - 1 : 0, mask = half + below;
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        int32_t s = sums[x];
        if (rounding == POOLING_HALF_EVEN && bits) s += below + ((s >> bits) & 1);
        else if (rounding == POOLING_HALF_UP) s += half;
        else if (rounding == POOLING_TRUNC) s += (s >> 31) & mask;
        dst[x] = s >> bits;
    }
}

static void pooling_shift_words(int32_t *dst, const int32_t *sums, int bits, ptrdiff_t n, int rounding) {
    switch (rounding) {
    case POOLING_HALF_EVEN: pooling_shifted_words(dst, sums, bits, n, POOLING_HALF_EVEN); break;
    case POOLING_HALF_UP: pooling_shifted_words(dst, sums, bits, n, POOLING_HALF_UP); break;
    case POOLING_FLOOR: pooling_shifted_words(dst, sums, bits, n, POOLING_FLOOR); break;
    default: pooling_shifted_words(dst, sums, bits, n, POOLING_TRUNC);
    }
}

#define POOLING_NARROW(TO, T, FROM, S)                                                                                 \
static void pooling_##FROM##_to_##TO(T *restrict dst, const S *restrict src, ptrdiff_t n) {                            \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) dst[x] = (T) src[x];                                                                       \
}
POOLING_NARROW(u8, uint8_t, i32, int32_t)
POOLING_NARROW(u16, uint16_t, i32, int32_t)
POOLING_NARROW(u8, uint8_t, i64, int64_t)
POOLING_NARROW(u16, uint16_t, i64, int64_t)
POOLING_NARROW(u32, uint32_t, i64, int64_t)
POOLING_NARROW(f32, float, f64, double)
POOLING_NARROW(i64, int64_t, u16, uint16_t)
POOLING_NARROW(i64, int64_t, i16, int16_t)
POOLING_NARROW(i64, int64_t, i32, int32_t)

static void pooling_narrow_words(int kind, void *dst, const int32_t *src, ptrdiff_t n) {
    if (pooling_kind_size[kind] == 1) pooling_i32_to_u8((uint8_t *) dst, src, n);
    else pooling_i32_to_u16((uint16_t *) dst, src, n);
}

static void pooling_narrow_longs(int kind, void *dst, const int64_t *src, ptrdiff_t n) {
    switch (pooling_kind_size[kind]) {
    case 1: pooling_i64_to_u8((uint8_t *) dst, src, n); break;
    case 2: pooling_i64_to_u16((uint16_t *) dst, src, n); break;
    case 4: pooling_i64_to_u32((uint32_t *) dst, src, n); break;
    default: memcpy(dst, src, (size_t) n * 8);
    }
}

static void pooling_store_doubles(const pooling_blocks_t *job, void *dst, const double *src, ptrdiff_t n) {
    if (job->result == POOLING_F64) memcpy(dst, src, (size_t) n * 8);
    else if (job->result == POOLING_F32) pooling_f64_to_f32((float *) dst, src, n);
    else job->store(dst, src, n);
}

#define POOLING_REAL(NAME, S)                                                                                          \
static void pooling_real_##NAME(double *restrict dst, const S *restrict src, ptrdiff_t n) {                            \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) dst[x] = (double) src[x];                                                                  \
}
POOLING_REAL(i128, pooling_int128_t)

static void pooling_real(int sum, double *dst, const void *src, ptrdiff_t n) {
    switch (sum) {
    case POOLING_U16: pooling_u16_to_double(dst, (const uint16_t *) src, n); break;
    case POOLING_I16: pooling_i16_to_double(dst, (const int16_t *) src, n); break;
    case POOLING_I32: pooling_i32_to_double(dst, (const int32_t *) src, n); break;
    case POOLING_I64: pooling_i64_to_double(dst, (const int64_t *) src, n); break;
    case POOLING_I128: pooling_real_i128(dst, (const pooling_int128_t *) src, n); break;
    default: memcpy(dst, src, (size_t) n * 8);
    }
}

/* Round doubles to integers, which weighted means may have left by a rounding. */
static void pooling_round_doubles(int kind, int rounding, void *dst, const double *src, ptrdiff_t n) {
    ptrdiff_t x;
    for (x = 0; x < n; x++) {
        double v = rounding == POOLING_HALF_EVEN ? __builtin_rint(src[x]) : rounding == POOLING_TRUNC
            ? __builtin_trunc(src[x]) : __builtin_floor(src[x]);
        if (rounding == POOLING_HALF_UP && src[x] - v >= 0.5) v += 1;
        switch (kind) {
#define POOLING_STORE(KIND, T, LOW, HIGH)                                                                              \
        case KIND: ((T *) dst)[x] = v != v ? 0 : v <= (double) LOW ? LOW : v >= (double) HIGH ? HIGH : (T) v; break;
        POOLING_STORE(POOLING_U8, uint8_t, 0, UINT8_MAX)
        POOLING_STORE(POOLING_I8, int8_t, INT8_MIN, INT8_MAX)
        POOLING_STORE(POOLING_U16, uint16_t, 0, UINT16_MAX)
        POOLING_STORE(POOLING_I16, int16_t, INT16_MIN, INT16_MAX)
        POOLING_STORE(POOLING_U32, uint32_t, 0, UINT32_MAX)
        POOLING_STORE(POOLING_I32, int32_t, INT32_MIN, INT32_MAX)
        POOLING_STORE(POOLING_U64, uint64_t, 0, UINT64_MAX)
        POOLING_STORE(POOLING_I64, int64_t, INT64_MIN, INT64_MAX)
#undef POOLING_STORE
        }
    }
}

/* By weights, or else by counts, or else all by one, whose inverse is `factor` if that is exact. */
POOLING_ALONE void pooling_divide_doubles(
    double *dst, const double *src, const double *weights, const int32_t *counts, double count, double factor,
    ptrdiff_t n
) {
    ptrdiff_t x;
    if (weights) for (x = 0; x < n; x++) dst[x] = src[x] / weights[x];
    else if (counts) for (x = 0; x < n; x++) dst[x] = src[x] / (double) counts[x];
    else if (factor != 0) for (x = 0; x < n; x++) dst[x] = src[x] * factor;
    else for (x = 0; x < n; x++) dst[x] = src[x] / count;
}

/* Divide sums by their counts, or all by one, and store them. */
static void pooling_store_means(
    const pooling_blocks_run_t *run, int sum, char *dst, const char *sums, const int32_t *counts, const double *weights,
    ptrdiff_t count, ptrdiff_t n
) {
    const pooling_blocks_t *job = run->job;
    double *work = (double *) (run->memory + job->work);
    int power = count > 0 && (count & (count - 1)) == 0, bits = 0;
    while (power && (ptrdiff_t) 1 << bits < count) bits++;
    if (sum == POOLING_F64 || job->result >= POOLING_F16) {
        const double *values = (const double *) sums;
        double factor = 1.0 / (double) count;
        if (sum != POOLING_F64) {
            pooling_real(sum, work, sums, n);
            values = work;
        }
        pooling_divide_doubles(work, values, weights, counts, (double) count, power ? factor : 0, n);
        if (job->result >= POOLING_F16) pooling_store_doubles(job, dst, work, n);
        else pooling_round_doubles(job->result, job->rounding, dst, work, n);
    } else if (sum == POOLING_I64 || sum == POOLING_I128) {
        int64_t *longs = (int64_t *) work;
        if (sum == POOLING_I64)
            pooling_long_i64(longs, (const int64_t *) sums, counts, (double) count, n, job->rounding);
        else pooling_long_i128(longs, (const pooling_int128_t *) sums, counts, (double) count, n, job->rounding);
        pooling_narrow_longs(job->result, dst, longs, n);
    } else if (sum == POOLING_U16 && job->result == POOLING_U8 && !counts && power) {
        pooling_shift((uint8_t *) dst, (const uint16_t *) sums, bits, n, job->rounding);
    } else {
        int32_t *words = (int32_t *) work;
        if (sum == POOLING_I32 && !counts && power)
            pooling_shift_words(words, (const int32_t *) sums, bits, n, job->rounding);
        else if (sum == POOLING_U16) pooling_short_u16(words, sums, counts, (double) count, n, job->rounding);
        else if (sum == POOLING_I16) pooling_short_i16(words, sums, counts, (double) count, n, job->rounding);
        else pooling_short_i32(words, sums, counts, (double) count, n, job->rounding);
        pooling_narrow_words(job->result, dst, words, n);
    }
}

/* Store sums, of blocks of `extent` elements each, or `tail` from the result `last` on; return the first that does not
   fit, or -1. */
static ptrdiff_t pooling_store_sums(
    const pooling_blocks_run_t *run, int sum, char *dst, const char *sums, const int32_t *counts, double extent,
    double tail, ptrdiff_t last, ptrdiff_t n
) {
    const pooling_blocks_t *job = run->job;
    int64_t *longs = (int64_t *) dst;
    ptrdiff_t x, fault = -1;
    switch (sum) {
    case POOLING_F64: pooling_store_doubles(job, dst, (const double *) sums, n); break;
    case POOLING_I64: memcpy(dst, sums, (size_t) n * 8); break;
    case POOLING_U16: pooling_u16_to_i64(longs, (const uint16_t *) sums, n); break;
    case POOLING_I16: pooling_i16_to_i64(longs, (const int16_t *) sums, n); break;
    case POOLING_I32: pooling_i32_to_i64(longs, (const int32_t *) sums, n); break;
    default:
        for (x = 0; x < n; x++) {
            pooling_int128_t v = ((const pooling_int128_t *) sums)[x];
            longs[x] = (int64_t) v;
            if (fault >= 0 || (job->result == POOLING_U64
                    ? v == (pooling_int128_t) (uint64_t) v : v == (pooling_int128_t) (int64_t) v)) continue;
            /* A block with too few valid elements has no sum. */
            if (!counts || (counts[x] > 0 && counts[x] / (x < last ? extent : tail) >= job->min_valid)) fault = x;
        }
    }
    return fault;
}

/* --- what all reductions share: where results go, and blocks without enough valid elements --- */

/* Return elements of the array in a cell, by its outer axes. */
static ptrdiff_t pooling_extent(const pooling_blocks_t *job, int s, const ptrdiff_t *cell) {
    const pooling_stage_t *stage = &job->stage[s];
    ptrdiff_t count = 1;
    int a;
    for (a = 0; a < job->axes; a++)
        count *= pooling_least(stage->span[a], job->origin[a] - cell[a] * stage->span[a]);
    return count;
}

/* Elements along the row in each cell but the last, and in the last of n cells. */
static ptrdiff_t pooling_last_extent(const pooling_blocks_t *job, int s, ptrdiff_t cell) {
    const pooling_stage_t *stage = &job->stage[s];
    return pooling_least(stage->row_span, job->row_origin - cell * stage->row_span);
}

/* Say where results of a row begin, or carried sums, and how many there are; 0 where nothing is stored. */
static ptrdiff_t pooling_results_at(
    const pooling_blocks_run_t *run, int s, const ptrdiff_t *cell, int carried, ptrdiff_t *offset
) {
    const pooling_stage_t *stage = &run->job->stage[s];
    ptrdiff_t at = 0, row = carried ? stage->row_cells : stage->row_outs;
    int a;
    for (a = 0; a < run->job->axes; a++) {
        ptrdiff_t most = carried ? stage->cells[a] : stage->outs[a];
        if (cell[a] >= most) return 0;
        at = at * most + cell[a];
    }
    *offset = (at * row + run->begin[s]) * run->job->inner;
    at = pooling_least(run->width[s], row - run->begin[s]);
    return at > 0 ? at : 0;
}

/* Put nodata where too few elements are valid, and store shares; keep the first place where that cannot be said. */
static void pooling_patch(
    pooling_blocks_run_t *run, int s, ptrdiff_t offset, ptrdiff_t cells, ptrdiff_t extent, const int32_t *counts
) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[s];
    ptrdiff_t o, c, x = 0;
    int size = pooling_kind_size[job->result];
    char *dst = stage->dst ? stage->dst + offset * size : NULL;
    if (!stage->share && job->min_valid <= 0) {
        if (!dst || job->op == POOLING_COUNT) return;
        for (x = 0; x < cells * job->inner; x++) {
            if (x % 64 == 0) {
                /* Most of the time none is without. */
                ptrdiff_t i, end = pooling_least(x + 64, cells * job->inner);
                int32_t least = 1;
                for (i = x; i < end; i++) least = counts[i] < least ? counts[i] : least;
                if (least > 0) { x = end - 1; continue; }
            }
            if (counts[x] > 0) continue;
            if (job->fill_fails && run->fault < 0) run->fault = offset + x;
            memcpy(dst + x * size, &job->fill, (size_t) size);
        }
        return;
    }
    for (o = 0; o < cells; o++) {
        double there = (double) (extent * pooling_last_extent(job, s, run->begin[s] + o));
        for (c = 0; c < job->inner; c++, x++) {
            double share = (double) counts[x] / there;
            if (stage->share) stage->share[offset + x] = share;
            if (!dst || job->op == POOLING_COUNT || (counts[x] > 0 && share >= job->min_valid)) continue;
            if (job->fill_fails && run->fault < 0) run->fault = offset + x;
            memcpy(dst + x * size, &job->fill, (size_t) size);
        }
    }
}

/* --- sums and extremes, stage by stage --- */

/* Whether all that is left out of floats is one number, or NaN, for which there are loops. */
static int pooling_adds_numbers(const pooling_blocks_t *job) {
    return job->kind == POOLING_F32 && job->nodata_is && !job->mask.at && !job->weighted && job->op <= POOLING_MEAN;
}

static void pooling_add_row(pooling_blocks_run_t *run, const ptrdiff_t *cell, int first) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t x, n = run->width[0] * job->inner;
    int kind = job->kind, half = kind == POOLING_F16 || kind == POOLING_BF16;
    const void *values;
    if (pooling_adds_numbers(job)) {
        values = pooling_fetch(run, &job->elements, cell, job->raw, 4);
        pooling_add_numbers(
            (double *) (run->memory + stage->adding), (int32_t *) (run->memory + stage->adding_counts),
            (const float *) values, (float) job->nodata, job->nodata_is == 2, n, first);
        return;
    }
    if (job->op == POOLING_MAX || job->op == POOLING_MIN) {
        values = pooling_load_keys(run, cell);
        kind = stage->sum;
    } else {
        values = pooling_fetch(run, &job->elements, cell, job->raw, pooling_kind_size[kind]);
        if (half || job->weighted) {
            double *doubles = (double *) (run->memory + job->values);
            pooling_doubles_of(job, doubles, values, n);
            if (job->checked) pooling_find_valid(run, cell, values, doubles);
            values = doubles;
            kind = POOLING_F64;
        } else if (job->checked)
            pooling_find_valid(run, cell, values, NULL);
    }
    if (job->checked) {
        const uint8_t *valid = (const uint8_t *) run->memory + job->valid;
        if (job->weighted) {
            double *restrict doubles = (double *) (run->memory + job->values);
            double *restrict work = (double *) (run->memory + job->work);
            const double *restrict weights = (const double *) pooling_fetch(
                run, &job->weight, cell, job->raw_weights, 8);
            for (x = 0; x < n; x++) {
                doubles[x] = valid[x] ? doubles[x] * weights[x] : 0;
                work[x] = valid[x] ? weights[x] : 0;
            }
            pooling_add_f64_f64(run->memory + stage->adding_weights, work, n, first);
        } else if (job->op == POOLING_SUM || job->op == POOLING_MEAN) {
            void *to = run->memory + job->values;
            switch (kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND: {                                                                       \
                T *kept = (T *) to;                                                                                    \
                const T *all = (const T *) values;                                                                     \
                for (x = 0; x < n; x++) kept[x] = valid[x] ? all[x] : 0;                                               \
                break;                                                                                                 \
            }
            POOLING_EACH_NUMBER(POOLING_CASE)
#undef POOLING_CASE
            }
            values = to;
        }
        pooling_add_u8_i32(run->memory + stage->adding_counts, valid, n, first);
    } else if (job->counted)
        pooling_add_i32_i32(
            run->memory + stage->adding_counts, pooling_fetch(run, &job->count, cell, job->raw_mask, 4), n, first);
    if (job->op != POOLING_COUNT)
        pooling_join_of(job, kind, stage->sum)(run->memory + stage->adding, values, n, first);
}

static int pooling_keeps_counts(const pooling_blocks_t *job) { return job->checked || job->counted; }

/* Divide, store and patch a row of a stage. */
static void pooling_emit(pooling_blocks_run_t *run, int s, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[s];
    ptrdiff_t offset = 0, cells, n, extent, last, main, fault;
    const char *sums = run->done[s];
    const int32_t *counts = pooling_keeps_counts(job) ? (const int32_t *) (run->memory + stage->counts) : NULL;
    const double *weights = job->weighted ? (const double *) (run->memory + stage->weights) : NULL;
    int size = pooling_kind_size[job->result], sum_size = pooling_kind_size[stage->sum];
    if (s == job->stages && job->carry) {
        cells = pooling_results_at(run, s, cell, 1, &offset);
        if (job->op != POOLING_COUNT)
            memcpy(job->carry + offset * sum_size, sums, (size_t) (cells * job->inner * sum_size));
        if (counts) memcpy(job->carry_counts + offset, counts, (size_t) (cells * job->inner) * 4);
    }
    if (!stage->dst && !stage->share) return;
    cells = pooling_results_at(run, s, cell, 0, &offset);
    n = cells * job->inner;
    if (!n) return;
    extent = pooling_extent(job, s, cell);
    if (stage->dst) {
        char *dst = stage->dst + offset * size;
        switch (job->op) {
        case POOLING_MEAN:
            last = pooling_last_extent(job, s, run->begin[s] + cells - 1);
            main = last == stage->row_span ? n : n - job->inner;
            pooling_store_means(run, stage->sum, dst, sums, counts, weights, extent * stage->row_span, main);
            if (main < n)
                pooling_store_means(
                    run, stage->sum, dst + main * size, sums + main * sum_size, counts ? counts + main : NULL,
                    weights ? weights + main : NULL, extent * last, n - main);
            break;
        case POOLING_SUM:
            last = pooling_last_extent(job, s, run->begin[s] + cells - 1);
            fault = pooling_store_sums(
                run, stage->sum, dst, sums, counts, (double) (extent * stage->row_span), (double) (extent * last),
                n - job->inner, n);
            if (fault >= 0 && run->fault < 0) run->fault = offset + fault;
            break;
        case POOLING_COUNT:
            for (last = 0; last < n; last++) ((int64_t *) dst)[last] = counts[last];
            break;
        default: pooling_store_keys(job, dst, sums, n);
        }
    }
    if (counts) pooling_patch(run, s, offset, cells, extent, counts);
}

static void pooling_make_stage(pooling_blocks_run_t *run, int s, const ptrdiff_t *cell);

/* Add up what makes a row of a stage, without the cells of the row. */
static void pooling_collect(pooling_blocks_run_t *run, int s, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[s], *before = &job->stage[s - 1];
    ptrdiff_t child[POOLING_OUTER], stop[POOLING_OUTER], n = run->width[s - 1] * job->inner, late, lates = 1;
    int a, first, counts = pooling_keeps_counts(job);
    for (a = 0; a < job->axes; a++) {
        ptrdiff_t most = s == 1 ? job->stage[0].cells[a] : before->cells[a];
        child[a] = cell[a] * stage->factor[a];
        stop[a] = pooling_least(child[a] + stage->factor[a], most);
    }
    if (job->late >= 0) lates = stop[job->late] - child[job->late];
    for (late = 0; late < lates; late++) {
        first = 1;
        for (;;) {
            if (s == 1) pooling_add_row(run, child, first);
            else {
                run->done[s - 1] = run->memory + before->done;
                pooling_make_stage(run, s - 1, child);
                if (job->op != POOLING_COUNT)
                    pooling_join_of(job, before->sum, stage->sum)(
                        run->memory + stage->adding, run->done[s - 1], n, first);
                if (counts) pooling_add_i32_i32(
                    run->memory + stage->adding_counts, run->memory + before->counts, n, first);
                if (job->weighted) pooling_add_f64_f64(
                    run->memory + stage->adding_weights, run->memory + before->weights, n, first);
            }
            first = 0;
            for (a = job->axes - 1; a >= 0; a--) {
                if (a == job->late) continue;
                if (++child[a] < stop[a]) break;
                child[a] = cell[a] * stage->factor[a];
            }
            if (a < 0) break;
        }
        if (job->late >= 0) {
            if (job->op != POOLING_COUNT)
                pooling_join_of(job, stage->sum, stage->sum)(
                    run->done[s], run->memory + stage->adding, n, late == 0);
            if (counts) pooling_add_i32_i32(
                run->memory + stage->counts, run->memory + stage->adding_counts, n, late == 0);
            if (job->weighted) pooling_add_f64_f64(
                run->memory + stage->weights, run->memory + stage->adding_weights, n, late == 0);
            child[job->late]++;
        }
    }
}

/* Join neighbouring cells of what was added up. */
static void pooling_fold_stage(pooling_blocks_run_t *run, int s, ptrdiff_t factor, int on) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[s];
    ptrdiff_t cells = run->width[s - 1];
    if (job->late >= 0) return;
    if (job->op != POOLING_COUNT)
        pooling_fold(job, stage->sum, run->done[s], run->memory + stage->adding, cells, factor, on);
    if (pooling_keeps_counts(job))
        pooling_fold_i32(
            run->memory + stage->counts, run->memory + stage->adding_counts, cells, factor, job->inner, on);
    if (job->weighted)
        pooling_fold_f64(
            run->memory + stage->weights, run->memory + stage->adding_weights, cells, factor, job->inner, on);
}

/* Whether a stage adds pairs of cells of all its rows at once, and how. */
static pooling_pairs_t pooling_pairs_for(const pooling_blocks_t *job, int s) {
    const pooling_stage_t *stage = &job->stage[s];
    int from = s == 1 ? job->kind : job->stage[s - 1].sum, a;
    ptrdiff_t count = 1;
    for (a = 0; a < job->axes; a++) count *= stage->factor[a];
    if (job->op > POOLING_MEAN || stage->row_factor != 2 || job->inner != 1 || count > POOLING_ROWS_AT_ONCE
        || (pooling_keeps_counts(job) && !(s == 1 && pooling_adds_numbers(job)))
        || (s == 1 && job->elements.row_step != pooling_kind_size[from])) return NULL;
#define POOLING_PAIR(FROM, TO, NAME)                                                                                   \
    if (from == FROM && stage->sum == TO) return (pooling_pairs_t) pooling_pairs_##NAME;
    POOLING_PAIR(POOLING_U8, POOLING_U16, u8_u16)
    POOLING_PAIR(POOLING_U16, POOLING_U16, u16_u16)
    POOLING_PAIR(POOLING_U16, POOLING_I32, u16_i32)
    POOLING_PAIR(POOLING_I32, POOLING_I32, i32_i32)
    POOLING_PAIR(POOLING_I64, POOLING_I64, i64_i64)
    POOLING_PAIR(POOLING_F32, POOLING_F64, f32_f64)
    POOLING_PAIR(POOLING_F64, POOLING_F64, f64_f64)
#undef POOLING_PAIR
    return NULL;
}

/* Bytes of rows that are on their way: those of short rows would come too late if only the next ones were asked for. */
#define POOLING_BYTES_AHEAD 4096

/* Bytes from a row of elements to the one at its place in a cell that is made soon. */
static ptrdiff_t pooling_ahead(const pooling_blocks_t *job) {
    int a = job->axes - 1;
    ptrdiff_t next = a < 0 ? 0 : job->stage[1].factor[a] * job->elements.step[a];
    return next > 0 && next < POOLING_BYTES_AHEAD ? pooling_up(POOLING_BYTES_AHEAD, next) * next : next;
}

/* Add pairs of the rows of elements, a part at a time. */
static void pooling_add_pairs_of_bytes(pooling_blocks_run_t *run, const char *const *rows, int count, ptrdiff_t pairs) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    const char *parts[POOLING_ROWS_AT_ONCE];
    int32_t *counts = (int32_t *) (run->memory + stage->counts);
    ptrdiff_t size = 2 * pooling_kind_size[job->kind], some = POOLING_BYTES_AT_ONCE / size, at, n, x;
    ptrdiff_t ahead = pooling_ahead(job), sum = pooling_kind_size[stage->sum];
    int r;
    for (at = 0; at < pairs; at += n) {
        n = pooling_least(some, pairs - at);
        for (r = 0; r < count; r++) {
            parts[r] = rows[r] + at * size;
            for (x = 0; x < n * size; x += POOLING_LINE) pooling_prefetch(parts[r] + x + ahead);
        }
        if (stage->numbers)
            pooling_pair_numbers(
                (double *) run->done[1] + at, counts + at, parts, count, (float) job->nodata, job->nodata_is == 2, n,
                (int) (at + n == pairs && run->width[0] % 2));
        else stage->pairs(run->done[1] + at * sum, parts, count, n);
    }
}

/* Make means of bytes without a row of sums between, or beside one that is needed. */
static int pooling_make_means(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, const char *const *rows, int count, ptrdiff_t pairs
) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t offset = 0;
    int needed = job->stages > 1 || job->carry != NULL;
    if (job->op != POOLING_MEAN || job->kind != POOLING_U8 || job->result != POOLING_U8 || !stage->dst
        || stage->share || pooling_extent(job, 1, cell) != count || stage->row_span != 2) return 0;
    /* Of partial cells, and of those that are no results, the other way makes sure. */
    if (run->width[0] % 2 || pooling_results_at(run, 1, cell, 0, &offset) != pairs) return 0;
    if (POOLING_QUARTERS && count == 4 && run->width[0] >= POOLING_QUARTERS_STEP) {
        pooling_eighth(
            (uint8_t *) stage->dst + offset, needed ? (uint16_t *) run->done[1] : NULL, (const uint8_t *const *) rows,
            run->width[0], pooling_ahead(job), job->rounding);
        return 1;
    }
    return pooling_mean_pairs(
        (uint8_t *) stage->dst + offset, needed ? (uint16_t *) run->done[1] : NULL, rows, count, job->rounding, pairs,
        pooling_ahead(job));
}

/* Make a row of a stage at once, where pairs of cells are added as they lie. Return 2 if it has been stored as well. */
static int pooling_make_pairs(pooling_blocks_run_t *run, int s, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[s], *before = &job->stage[s - 1];
    const char *rows[POOLING_ROWS_AT_ONCE];
    pooling_pairs_t add = stage->pairs;
    ptrdiff_t child[POOLING_OUTER], stop[POOLING_OUTER], pairs = run->width[s - 1] / 2;
    int a, count = 0, size = pooling_kind_size[s == 1 ? job->kind : before->sum];
    if (add == NULL) return 0;
    for (a = 0; a < job->axes; a++) {
        child[a] = cell[a] * stage->factor[a];
        stop[a] = pooling_least(child[a] + stage->factor[a], before->cells[a]);
    }
    for (;;) {
        if (s == 1) rows[count++] = pooling_row_at(run, &job->elements, child);
        else {
            run->done[s - 1] = run->memory + before->done + count * before->done_step;
            rows[count++] = run->done[s - 1];
            pooling_make_stage(run, s - 1, child);
        }
        for (a = job->axes - 1; a >= 0; a--) {
            if (++child[a] < stop[a]) break;
            child[a] = cell[a] * stage->factor[a];
        }
        if (a < 0) break;
    }
    if (stage->numbers && !pairs) {
        /* The cell behind the pairs is one of which the second element is left out. */
        pooling_pair_numbers(
            (double *) run->done[s], (int32_t *) (run->memory + stage->counts), rows, count, (float) job->nodata,
            job->nodata_is == 2, 0, (int) (run->width[0] % 2));
        return 1;
    }
    if (s == 1 && pooling_make_means(run, cell, rows, count, pairs)) return 2;
    if (s == 1) pooling_add_pairs_of_bytes(run, rows, count, pairs);
    else add(run->done[s], rows, count, pairs);
    if (stage->numbers) return 1;
    if (run->width[s - 1] % 2) {
        /* One cell is left, which is a column. */
        int kind = s == 1 ? job->kind : before->sum, r;
        char *last = run->done[s] + pairs * pooling_kind_size[stage->sum];
        for (r = 0; r < count; r++) pooling_add_of(kind, stage->sum)(last, rows[r] + 2 * pairs * size, 1, r == 0);
    }
    return 1;
}

/* Whether means of bytes are nothing but those of 2 x 2 pixels of an image as it lies. */
static int pooling_halves_bytes(const pooling_blocks_t *job) {
    const pooling_stage_t *stage = &job->stage[1];
    int a, halved = 0;
    if (!POOLING_HALVES || job->op != POOLING_MEAN || job->kind > POOLING_I8 || job->result != job->kind
        || job->stages > 1 || job->carry || pooling_keeps_counts(job) || !stage->dst || stage->share || job->late >= 0
        || stage->row_factor != 2 || stage->row_span != 2 || job->inner > 4 || job->elements.row_step != job->inner
        || (job->inner > 1 && job->elements.inner_step != 1)) return 0;
    for (a = 0; a < job->axes; a++) {
        if (stage->factor[a] > 2 || stage->span[a] != stage->factor[a]) return 0;
        halved += stage->factor[a] == 2;
    }
    return halved == 1;
}

/* Make a row of such means; 0 where the other ways have to do it, since a pixel of it is of less than four. */
static int pooling_make_halves(pooling_blocks_run_t *run, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t child[POOLING_OUTER], pixels = run->width[0] / 2, below = 0, offset = 0;
    const uint8_t *above;
    int a;
    if (!job->halves || run->width[0] % 2 || pooling_extent(job, 1, cell) != 2
        || pooling_results_at(run, 1, cell, 0, &offset) != pixels) return 0;
    for (a = 0; a < job->axes; a++) {
        child[a] = cell[a] * stage->factor[a];
        if (stage->factor[a] == 2) below = job->elements.step[a];
    }
    above = (const uint8_t *) pooling_row_at(run, &job->elements, child);
    pooling_halve(
        (uint8_t *) stage->dst + offset, above, above + below, pixels * job->inner, job->inner, job->rounding,
        job->kind == POOLING_I8 ? 128 : 0);
    return 1;
}

/* Whether the first two stages are means of 2 x 2 and of 4 x 4 pixels of an image of bytes as it lies. */
static int pooling_quarters_bytes(const pooling_blocks_t *job) {
    const pooling_stage_t *stage = &job->stage[1];
    int a, s, halved = 0, sum = job->kind == POOLING_I8 ? POOLING_I16 : POOLING_U16;
    if (!POOLING_QUARTERS || job->op != POOLING_MEAN || job->kind > POOLING_I8 || job->result != job->kind
        || job->stages < 2 || pooling_keeps_counts(job) || job->late >= 0 || job->inner > 4
        || job->elements.row_step != job->inner || (job->inner > 1 && job->elements.inner_step != 1)) return 0;
    for (s = 1; s <= 2; s++)
        if (!job->stage[s].dst || job->stage[s].share || job->stage[s].sum != sum || job->stage[s].row_factor != 2
            || job->stage[s].row_span != 1 << s) return 0;
    for (a = 0; a < job->axes; a++) {
        if (stage->factor[a] > 2 || stage->span[a] != stage->factor[a] || stage[1].factor[a] != stage->factor[a])
            return 0;
        halved += stage->factor[a] == 2;
    }
    return halved == 1;
}

/* Make rows of such means; 0 where the other ways have to do it, since a pixel of one is of fewer than others. */
static int pooling_make_quarters(pooling_blocks_run_t *run, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[2];
    ptrdiff_t child[POOLING_OUTER], pixels = run->width[0], apart, first = 0, second = 0, both = 0;
    const uint8_t *rows;
    int a, axis = 0;
    if (!job->quarters || pixels % 4 || pixels * job->inner < POOLING_QUARTERS_STEP || pooling_extent(job, 2, cell) != 4
        || pooling_results_at(run, 2, cell, 0, &both) != pixels / 4) return 0;
    for (a = 0; a < job->axes; a++) {
        child[a] = cell[a] * stage->factor[a];
        if (stage->factor[a] == 2) axis = a;
    }
    if (pooling_results_at(run, 1, child, 0, &first) != pixels / 2) return 0;
    child[axis]++;
    if (pooling_results_at(run, 1, child, 0, &second) != pixels / 2) return 0;
    child[axis] = 4 * cell[axis];
    apart = job->elements.step[axis];
    rows = (const uint8_t *) pooling_row_at(run, &job->elements, child);
    pooling_quarter(
        (uint8_t *) job->stage[1].dst + first, (uint8_t *) job->stage[1].dst + second, (uint8_t *) stage->dst + both,
        job->stages > 2 || job->carry ? (uint16_t *) run->done[2] : NULL, rows, apart, pixels * job->inner,
        axis == job->axes - 1 ? 4 * apart : 0, job->inner, job->rounding, job->kind == POOLING_I8 ? 128 : 0);
    return 1;
}

static void pooling_make_stage(pooling_blocks_run_t *run, int s, const ptrdiff_t *cell) {
    int made;
    if (pooling_make_halves(run, cell)) return;
    made = s == 2 && pooling_make_quarters(run, cell) ? 2 : pooling_make_pairs(run, s, cell);
    if (!made) {
        pooling_collect(run, s, cell);
        pooling_fold_stage(run, s, run->job->stage[s].row_factor, 0);
    }
    if (made < 2 || (s == run->job->stages && run->job->carry)) pooling_emit(run, s, cell);
}

/* Begin to read a row at a cell of the first stage. */
static void pooling_begin(pooling_blocks_run_t *run, ptrdiff_t begin, ptrdiff_t width) {
    const pooling_blocks_t *job = run->job;
    int s;
    run->begin[0] = begin;
    run->width[0] = pooling_least(width, job->stage[0].row_cells - begin);
    for (s = 1; s <= job->stages; s++) {
        run->begin[s] = run->begin[s - 1] / job->stage[s].row_factor;
        run->width[s] = pooling_up(run->width[s - 1], job->stage[s].row_factor);
    }
}

/* Cells of the array that make a cell of the last stage, on the axis of rows. */
static ptrdiff_t pooling_row_block(const pooling_blocks_t *job) {
    ptrdiff_t block = 1;
    int s;
    for (s = 1; s <= job->stages; s++) block *= job->stage[s].row_factor;
    return block;
}

static void pooling_sum_task(pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t segment) {
    const pooling_blocks_t *job = run->job;
    ptrdiff_t block = pooling_row_block(job), at = segment * block, stop;
    int s = job->stages, on = 0;
    if (!job->chunked) {
        pooling_begin(run, segment * job->segment, job->segment);
        pooling_make_stage(run, s, cell);
        return;
    }
    stop = pooling_least(at + block, job->stage[0].row_cells);
    for (; at < stop; at += job->segment) {
        pooling_begin(run, at, pooling_least(job->segment, stop - at));
        pooling_collect(run, s, cell);
        pooling_fold_stage(run, s, job->stage[s].row_factor, on);
        on = 1;
    }
    run->width[s] = 1;
    pooling_emit(run, s, cell);
}

/* --- deviations: two passes over the elements of a block, three where squares might leave double --- */

typedef void (*pooling_visit_t)(pooling_blocks_run_t *run, const ptrdiff_t *cell, void *context);

/* Call for each row of a block, or for those at one place of the axis that is added up last. */
static void pooling_visit(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t tap, pooling_visit_t visit, void *context
) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t child[POOLING_OUTER], start[POOLING_OUTER], stop[POOLING_OUTER];
    int a;
    for (a = 0; a < job->axes; a++) {
        start[a] = cell[a] * stage->factor[a];
        stop[a] = pooling_least(start[a] + stage->factor[a], job->stage[0].cells[a]);
        if (tap >= 0 && a == job->late) {
            start[a] += tap;
            stop[a] = start[a] + 1;
        }
        child[a] = start[a];
    }
    for (;;) {
        visit(run, child, context);
        for (a = job->axes - 1; a >= 0; a--) {
            if (++child[a] < stop[a]) break;
            child[a] = start[a];
        }
        if (a < 0) return;
    }
}

typedef struct {
    int pass;
    /* Of each result: greatest magnitude, factor, valid elements, sum of weights, mean, sums of deviations and of
       squares. */
    double *peak, *factor, *count, *weight, *mean, *first, *second;
    /* Of each element of a row: factor and mean of its block, and what was added up over rows. */
    double *factors, *means, *sums, *squares, *weights, *counts;
} pooling_deviations_t;

static void pooling_deviate(pooling_blocks_run_t *run, const ptrdiff_t *cell, void *context) {
    const pooling_blocks_t *job = run->job;
    pooling_deviations_t *made = (pooling_deviations_t *) context;
    ptrdiff_t n = run->width[0] * job->inner, x;
    const void *raw = pooling_fetch(run, &job->elements, cell, job->raw, pooling_kind_size[job->kind]);
    double *restrict values = (double *) (run->memory + job->values);
    double *restrict sums = made->sums, *restrict squares = made->squares, *restrict work;
    const double *restrict factors = made->factors, *restrict means = made->means;
    const uint8_t *restrict valid = (const uint8_t *) run->memory + job->valid;
    pooling_doubles_of(job, values, raw, n);
    if (job->kind == POOLING_F64) for (x = 0; x < n; x++) values[x] *= factors[x];
    if (job->checked) {
        pooling_find_valid(run, cell, raw, values);
        work = (double *) (run->memory + job->work);
        if (job->weighted) {
            const double *weights = (const double *) pooling_fetch(run, &job->weight, cell, job->raw_weights, 8);
            for (x = 0; x < n; x++) work[x] = valid[x] ? weights[x] : 0;
        } else for (x = 0; x < n; x++) work[x] = valid[x];
        /* What is left out adds nothing, whatever it is. */
        for (x = 0; x < n; x++) values[x] = valid[x] ? values[x] : made->pass == 2 ? means[x] : 0;
        if (made->pass == 1)
            for (x = 0; x < n; x++) {
                sums[x] += work[x] * values[x];
                made->weights[x] += work[x];
                made->counts[x] += valid[x];
            }
        else if (made->pass == 2)
            for (x = 0; x < n; x++) {
                double v = values[x] - means[x];
                v = valid[x] ? v : 0;
                sums[x] += work[x] * v;
                squares[x] += work[x] * (v * v);
            }
    } else if (made->pass == 1)
        for (x = 0; x < n; x++) {
            sums[x] += values[x];
            made->counts[x] += 1;
        }
    else if (made->pass == 2)
        for (x = 0; x < n; x++) {
            double v = values[x] - means[x];
            sums[x] += v;
            squares[x] += v * v;
        }
    if (made->pass == 0)
        for (x = 0; x < n; x++) {
            double v = fabs(values[x]);
            sums[x] = v > sums[x] || v != v ? v : sums[x];
        }
}

/* Add what was added up over rows to the results that it belongs to, or take the greatest. */
static void pooling_join_columns(
    const pooling_blocks_run_t *run, double *dst, const double *columns, int greatest
) {
    const pooling_blocks_t *job = run->job;
    ptrdiff_t factor = job->stage[1].row_factor, inner = job->inner, o, k, c;
    for (o = 0; o * factor < run->width[0]; o++) {
        ptrdiff_t taps = pooling_least(factor, run->width[0] - o * factor);
        for (k = 0; k < taps; k++)
            for (c = 0; c < inner; c++) {
                double *to = dst + o * inner + c, v = columns[(o * factor + k) * inner + c];
                *to = !greatest ? *to + v : v > *to || v != v ? v : *to;
            }
    }
}

static void pooling_spread_columns(const pooling_blocks_run_t *run, double *columns, const double *src) {
    const pooling_blocks_t *job = run->job;
    ptrdiff_t factor = job->stage[1].row_factor, inner = job->inner, x, c;
    for (x = 0; x < run->width[0]; x++)
        for (c = 0; c < inner; c++) columns[x * inner + c] = src[x / factor * inner + c];
}

static void pooling_deviation_task(pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t segment) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t block = stage->row_factor, begin = segment * job->outs_together, outs, n, m, x, at, stop, offset = 0;
    ptrdiff_t tap, taps = 1;
    pooling_deviations_t made;
    double *memory = (double *) (run->memory + job->more), *work = (double *) (run->memory + job->work);
    int32_t *counts = (int32_t *) (run->memory + stage->counts);
    outs = pooling_least(job->outs_together, stage->row_cells - begin);
    n = outs * job->inner;
    m = pooling_least(job->segment, job->stage[0].row_cells) * job->inner;
    made.peak = memory;
    made.factor = memory + n;
    made.count = memory + 2 * n;
    made.weight = memory + 3 * n;
    made.mean = memory + 4 * n;
    made.first = memory + 5 * n;
    made.second = memory + 6 * n;
    memset(memory, 0, (size_t) (7 * n) * sizeof(double));
    made.factors = memory + 7 * n;
    made.means = made.factors + m;
    made.sums = made.means + m;
    made.squares = made.sums + m;
    made.weights = made.squares + m;
    made.counts = made.weights + m;
    for (x = 0; x < n; x++) made.factor[x] = 1;
    if (job->late >= 0)
        taps = pooling_least(
            stage->factor[job->late], job->stage[0].cells[job->late] - cell[job->late] * stage->factor[job->late]);
    for (made.pass = job->kind == POOLING_F64 ? 0 : 1; made.pass < 3; made.pass++) {
        stop = pooling_least((begin + outs) * block, job->stage[0].row_cells);
        for (at = begin * block; at < stop; at += job->segment) {
            pooling_begin(run, at, pooling_least(job->segment, stop - at));
            pooling_spread_columns(run, made.factors, made.factor);
            pooling_spread_columns(run, made.means, made.mean);
            for (tap = 0; tap < taps; tap++) {
                memset(made.sums, 0, (size_t) (4 * m) * sizeof(double));
                pooling_visit(run, cell, tap, pooling_deviate, &made);
                if (made.pass == 0) pooling_join_columns(run, made.peak, made.sums, 1);
                else if (made.pass == 1) {
                    pooling_join_columns(run, made.mean, made.sums, 0);
                    pooling_join_columns(run, made.count, made.counts, 0);
                    pooling_join_columns(run, made.weight, job->checked ? made.weights : made.counts, 0);
                } else {
                    pooling_join_columns(run, made.first, made.sums, 0);
                    pooling_join_columns(run, made.second, made.squares, 0);
                }
            }
        }
        if (made.pass == 0)
            for (x = 0; x < n; x++) {
                int power;
                if (!(made.peak[x] > 0 && made.peak[x] < INFINITY)) continue;
                frexp(made.peak[x], &power);
                /* Where the factor is no double itself, one that is comes close enough. */
                made.factor[x] = ldexp(1.0, power < -1000 ? 1000 : -power);
            }
        if (made.pass == 1)
            for (x = 0; x < n; x++) made.mean[x] = job->op == POOLING_RMS ? 0 : made.mean[x] / made.weight[x];
    }
    for (x = 0; x < n; x++) {
        double v = made.second[x], w = made.weight[x];
        if (job->op != POOLING_RMS) {
            v -= made.first[x] * made.first[x] / w;
            v = v < 0 ? 0 : v;
        }
        v /= w;
        work[x] = job->op == POOLING_VAR ? v / made.factor[x] / made.factor[x] : sqrt(v) / made.factor[x];
        counts[x] = (int32_t) made.count[x];
    }
    run->begin[1] = begin;
    run->width[1] = outs;
    outs = pooling_results_at(run, 1, cell, 0, &offset);
    if (!outs) return;
    pooling_store_doubles(job, stage->dst + offset * pooling_kind_size[job->result], work, outs * job->inner);
    if (job->checked) pooling_patch(run, 1, offset, outs, pooling_extent(job, 1, cell), counts);
}

/* --- medians, modes and first elements --- */

/* Bytes of a plane that are ordered together. */
#define POOLING_ORDER_TOGETHER 512

#define POOLING_ORDER(NAME, K, LOW, HIGH)                                                                              \
static void pooling_compare_##NAME(K *restrict a, K *restrict b, ptrdiff_t n) {                                        \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x++) {                                                                                          \
        K u = a[x], v = b[x];                                                                                          \
        a[x] = v < u ? v : u;                                                                                          \
        b[x] = v < u ? u : v;                                                                                          \
    }                                                                                                                  \
}                                                                                                                      \
/* Batcher's merge exchange, of any number of planes. */                                                               \
static void pooling_sort_planes_##NAME(K *planes, ptrdiff_t count, ptrdiff_t n, ptrdiff_t step) {                      \
    ptrdiff_t p, k, i, j;                                                                                              \
    for (p = 1; p < count; p += p)                                                                                     \
        for (k = p; k >= 1; k /= 2)                                                                                    \
            for (j = k % p; j + k < count; j += 2 * k)                                                                 \
                for (i = 0; i < k && i + j + k < count; i++)                                                           \
                    if ((i + j) / (2 * p) == (i + j + k) / (2 * p))                                                    \
                        pooling_compare_##NAME(planes + (i + j) * step, planes + (i + j + k) * step, n);               \
}                                                                                                                      \
static int pooling_uniform_##NAME(const K *planes, ptrdiff_t count, ptrdiff_t n, ptrdiff_t step) {                     \
    ptrdiff_t x, k;                                                                                                    \
    for (k = 1; k < count; k++) {                                                                                      \
        K other = 0;                                                                                                   \
        for (x = 0; x < n; x++) other = (K) (other | (planes[k * step + x] ^ planes[x]));                              \
        if (other) return 0;                                                                                           \
    }                                                                                                                  \
    return 1;                                                                                                          \
}                                                                                                                      \
/* The longest run of equals among the first `counts` of sorted planes, or all: the first of several. */               \
static void pooling_longest_run_##NAME(                                                                                \
    K *restrict best, K *restrict length, K *restrict most, const K *planes, const K *restrict counts,                 \
    ptrdiff_t count, ptrdiff_t n, ptrdiff_t step                                                                       \
) {                                                                                                                    \
    ptrdiff_t x, k;                                                                                                    \
    for (x = 0; x < n; x++) { best[x] = planes[x]; length[x] = 1; most[x] = 1; }                                       \
    for (k = 1; k < count; k++) {                                                                                      \
        const K *restrict plane = planes + k * step, *restrict before = planes + (k - 1) * step;                       \
        if (counts)                                                                                                    \
            for (x = 0; x < n; x++) {                                                                                  \
                K run = (K) (plane[x] == before[x] ? length[x] + 1 : 1);                                               \
                run = (K) k < counts[x] ? run : 0;                                                                     \
                length[x] = run;                                                                                       \
                best[x] = run > most[x] ? plane[x] : best[x];                                                          \
                most[x] = run > most[x] ? run : most[x];                                                               \
            }                                                                                                          \
        else                                                                                                           \
            for (x = 0; x < n; x++) {                                                                                  \
                K run = (K) (plane[x] == before[x] ? length[x] + 1 : 1);                                               \
                length[x] = run;                                                                                       \
                best[x] = run > most[x] ? plane[x] : best[x];                                                          \
                most[x] = run > most[x] ? run : most[x];                                                               \
            }                                                                                                          \
    }                                                                                                                  \
}                                                                                                                      \
static void pooling_middle_##NAME(                                                                                     \
    K *restrict low, K *restrict high, const K *planes, const K *restrict counts, ptrdiff_t count, ptrdiff_t n,        \
    ptrdiff_t step                                                                                                     \
) {                                                                                                                    \
    ptrdiff_t x, k;                                                                                                    \
    if (!counts) {                                                                                                     \
        memcpy(low, planes + (count - 1) / 2 * step, (size_t) n * sizeof(K));                                          \
        memcpy(high, planes + count / 2 * step, (size_t) n * sizeof(K));                                               \
        return;                                                                                                        \
    }                                                                                                                  \
    for (x = 0; x < n; x++) low[x] = high[x] = planes[x];                                                              \
    for (k = 1; k < count; k++) {                                                                                      \
        const K *restrict plane = planes + k * step;                                                                   \
        for (x = 0; x < n; x++) {                                                                                      \
            K m = counts[x];                                                                                           \
            low[x] = (K) ((m - 1) / 2) == (K) k && m > 0 ? plane[x] : low[x];                                          \
            high[x] = (K) (m / 2) == (K) k ? plane[x] : high[x];                                                       \
        }                                                                                                              \
    }                                                                                                                  \
}                                                                                                                      \
/* Sort runs of sixteen by insertion, and merge them; return where the result is. */                                   \
static K *pooling_sort_##NAME(K *keys, K *spare, ptrdiff_t n) {                                                        \
    ptrdiff_t run, i, j, a, b, end, middle;                                                                            \
    for (run = 0; run < n; run += 16) {                                                                                \
        end = pooling_least(run + 16, n);                                                                              \
        for (i = run + 1; i < end; i++) {                                                                              \
            K key = keys[i];                                                                                           \
            for (j = i; j > run && keys[j - 1] > key; j--) keys[j] = keys[j - 1];                                      \
            keys[j] = key;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    for (run = 16; run < n; run *= 2) {                                                                                \
        K *other = keys;                                                                                               \
        for (i = 0; i < n; i += 2 * run) {                                                                             \
            middle = pooling_least(i + run, n);                                                                        \
            end = pooling_least(i + 2 * run, n);                                                                       \
            for (a = i, b = middle, j = i; j < end; j++)                                                               \
                spare[j] = b >= end || (a < middle && keys[a] <= keys[b]) ? keys[a++] : keys[b++];                     \
        }                                                                                                              \
        keys = spare;                                                                                                  \
        spare = other;                                                                                                 \
    }                                                                                                                  \
    return keys;                                                                                                       \
}                                                                                                                      \
/* The same of one block, whose keys are no planes. */                                                                 \
static void pooling_order_one_##NAME(                                                                                  \
    int op, K *keys, K *spare, ptrdiff_t count, int floats, K *low, K *high                                            \
) {                                                                                                                    \
    ptrdiff_t i, run = 0, most = 0;                                                                                    \
    const K *sorted;                                                                                                   \
    if (count == 0) { *low = *high = 0; return; }                                                                      \
    if (op == POOLING_FIRST) { *low = *high = keys[0]; return; }                                                       \
    if (sizeof(K) == 1 && count > 64) {                                                                                \
        ptrdiff_t have[256], under = 0;                                                                                \
        memset(have, 0, sizeof(have));                                                                                 \
        for (i = 0; i < count; i++) have[(int) keys[i] + 128]++;                                                       \
        if (op == POOLING_MODE) {                                                                                      \
            for (i = 0; i < 256; i++)                                                                                  \
                if (have[i] > most) { most = have[i]; *low = (K) (i - 128); }                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (i = 0; i < 256; i++) {                                                                                    \
            if (under <= (count - 1) / 2 && (count - 1) / 2 < under + have[i]) *low = (K) (i - 128);                   \
            if (under <= count / 2 && count / 2 < under + have[i]) *high = (K) (i - 128);                              \
            under += have[i];                                                                                          \
        }                                                                                                              \
        return;                                                                                                        \
    }                                                                                                                  \
    sorted = pooling_sort_##NAME(keys, spare, count);                                                                  \
    *low = sorted[(count - 1) / 2];                                                                                    \
    *high = sorted[count / 2];                                                                                         \
    if (op == POOLING_MODE)                                                                                            \
        for (i = 0; i < count; i++) {                                                                                  \
            run = i && sorted[i] == sorted[i - 1] ? run + 1 : 1;                                                       \
            if (run > most) { most = run; *low = sorted[i]; }                                                          \
        }                                                                                                              \
    if (floats && sorted[count - 1] == HIGH) *low = *high = HIGH;                                                      \
}                                                                                                                      \
/* Take neighbouring cells apart: cell o * factor + k of the row goes to place o of plane k. */                        \
POOLING_CONSTANT void pooling_apart_of_##NAME(                                                                         \
    K *restrict planes, const K *restrict row, K flip, ptrdiff_t outs, ptrdiff_t factor, ptrdiff_t inner, ptrdiff_t n  \
) {                                                                                                                    \
    ptrdiff_t o, k, c;                                                                                                 \
    for (k = 0; k < factor; k++)                                                                                       \
        for (o = 0; o < outs; o++)                                                                                     \
            for (c = 0; c < inner; c++)                                                                                \
                planes[k * n + o * inner + c] = row[(o * factor + k) * inner + c] ^ flip;                              \
}                                                                                                                      \
static void pooling_apart_##NAME(                                                                                      \
    K *planes, const K *row, K flip, ptrdiff_t outs, ptrdiff_t factor, ptrdiff_t inner, ptrdiff_t n                    \
) {                                                                                                                    \
    if (inner != 1) pooling_apart_of_##NAME(planes, row, flip, outs, factor, inner, n);                                \
    else switch (factor) {                                                                                             \
    case 2: pooling_apart_of_##NAME(planes, row, flip, outs, 2, 1, n); break;                                          \
    case 3: pooling_apart_of_##NAME(planes, row, flip, outs, 3, 1, n); break;                                          \
    case 4: pooling_apart_of_##NAME(planes, row, flip, outs, 4, 1, n); break;                                          \
    default: pooling_apart_of_##NAME(planes, row, flip, outs, factor, 1, n);                                           \
    }                                                                                                                  \
}                                                                                                                      \
/* Modes of blocks that have one or two values each, which most blocks of labels do; 0 where one has more. */          \
POOLING_CONSTANT int pooling_two_of_##NAME(                                                                            \
    K *restrict low, const K *restrict planes, const int count, ptrdiff_t n, ptrdiff_t step                            \
) {                                                                                                                    \
    K more = 0;                                                                                                        \
    ptrdiff_t x;                                                                                                       \
    int k;                                                                                                             \
    for (x = 0; x < n; x++) {                                                                                          \
        K least = planes[x], most = planes[x], first = 0, last = 0;                                                    \
        for (k = 1; k < count; k++) {                                                                                  \
            K v = planes[k * step + x];                                                                                \
            least = v < least ? v : least;                                                                             \
            most = v > most ? v : most;                                                                                \
        }                                                                                                              \
        for (k = 0; k < count; k++) {                                                                                  \
            K v = planes[k * step + x];                                                                                \
            first = (K) (first + (v == least));                                                                        \
            last = (K) (last + (v == most));                                                                           \
        }                                                                                                              \
        more = (K) (more | (least != most && first + last != count));                                                  \
        low[x] = 2 * first >= count ? least : most;                                                                    \
    }                                                                                                                  \
    return !more;                                                                                                      \
}                                                                                                                      \
POOLING_ALONE int pooling_two_##NAME(K *low, const K *planes, ptrdiff_t count, ptrdiff_t n, ptrdiff_t step) {          \
    if (count == 4) return pooling_two_of_##NAME(low, planes, 4, n, step);                                             \
    if (count == 8) return pooling_two_of_##NAME(low, planes, 8, n, step);                                             \
    return 0;                                                                                                          \
}                                                                                                                      \
/* The results of n places of planes that lie a step apart, into `low` and `high`. */                                  \
static void pooling_order_some_##NAME(                                                                                 \
    const pooling_blocks_t *job, K *planes, ptrdiff_t count, ptrdiff_t n, ptrdiff_t step, const int32_t *found,        \
    K *low, K *high, K *spare                                                                                          \
) {                                                                                                                    \
    ptrdiff_t x;                                                                                                       \
    K *counts = NULL;                                                                                                  \
    if (pooling_uniform_##NAME(planes, count, n, step)) {                                                              \
        memcpy(low, planes, (size_t) n * sizeof(K));                                                                   \
        memcpy(high, planes, (size_t) n * sizeof(K));                                                                  \
        return;                                                                                                        \
    }                                                                                                                  \
    if (job->op == POOLING_MODE && !found && !pooling_is_float(job->kind)                                              \
        && pooling_two_##NAME(low, planes, count, n, step)) return;                                                    \
    if (found) {                                                                                                       \
        counts = spare;                                                                                                \
        spare += n;                                                                                                    \
        for (x = 0; x < n; x++) counts[x] = (K) found[x];                                                              \
    }                                                                                                                  \
    pooling_sort_planes_##NAME(planes, count, n, step);                                                                \
    if (job->op == POOLING_MODE) pooling_longest_run_##NAME(low, high, spare, planes, counts, count, n, step);         \
    else pooling_middle_##NAME(low, high, planes, counts, count, n, step);                                             \
    if (pooling_is_float(job->kind)) {                                                                                 \
        const K *last = planes + (count - 1) * step;                                                                   \
        for (x = 0; x < n; x++) low[x] = last[x] == HIGH ? HIGH : low[x];                                              \
        if (job->op != POOLING_MODE) for (x = 0; x < n; x++) high[x] = last[x] == HIGH ? HIGH : high[x];               \
    }                                                                                                                  \
}                                                                                                                      \
static void pooling_order_planes_##NAME(                                                                               \
    const pooling_blocks_t *job, K *planes, ptrdiff_t count, ptrdiff_t n, const int32_t *found, K *low, K *high,       \
    K *spare                                                                                                           \
) {                                                                                                                    \
    /* Few at a time, of which all blocks may have one value each. */                                                  \
    const ptrdiff_t some = (ptrdiff_t) (                                                                               \
        (job->op == POOLING_MODE && count <= 8 ? POOLING_ORDER_TOGETHER / 4 : POOLING_ORDER_TOGETHER) / sizeof(K));    \
    ptrdiff_t x;                                                                                                       \
    for (x = 0; x < n; x += some)                                                                                      \
        pooling_order_some_##NAME(                                                                                     \
            job, planes + x, count, pooling_least(some, n - x), n, found ? found + x : NULL, low + x, high + x,        \
            spare);                                                                                                    \
}                                                                                                                      \
static void pooling_put_##NAME(                                                                                        \
    const pooling_blocks_run_t *run, const K *row, ptrdiff_t most, int32_t *found                                      \
) {                                                                                                                    \
    const pooling_blocks_t *job = run->job;                                                                            \
    const uint8_t *valid = (const uint8_t *) run->memory + job->valid;                                                 \
    K *blocks = (K *) (run->memory + job->planes);                                                                     \
    ptrdiff_t factor = job->stage[1].row_factor, inner = job->inner, n = run->width[0] * inner, x;                     \
    for (x = 0; x < n; x++) {                                                                                          \
        ptrdiff_t at = x / inner / factor * inner + x % inner;                                                         \
        if (!job->checked || valid[x]) blocks[at * most + found[at]++] = row[x];                                       \
    }                                                                                                                  \
}
POOLING_EACH_KEY(POOLING_ORDER)

/* Elements as they are, of which the first keeps its sign of zero. */
POOLING_ALONE const void *pooling_load_firsts(const pooling_blocks_run_t *run, const ptrdiff_t *cell) {
    const pooling_blocks_t *job = run->job;
    const void *raw = pooling_fetch(run, &job->elements, cell, job->raw, pooling_kind_size[job->kind]);
    double *work = (double *) (run->memory + job->work);
    if (job->kind == POOLING_F16 || job->kind == POOLING_BF16) job->load(work, raw, run->width[0] * job->inner);
    if (job->checked) pooling_find_valid(run, cell, raw, work);
    return raw;
}

typedef struct {
    /* Keys of a block at most; rows so far; whether they go into planes. */
    ptrdiff_t most, rows, whole;
    int planes;
    int32_t *found;
} pooling_order_t;

static void pooling_order_row(pooling_blocks_run_t *run, const ptrdiff_t *cell, void *context) {
    const pooling_blocks_t *job = run->job;
    pooling_order_t *order = (pooling_order_t *) context;
    ptrdiff_t factor = job->stage[1].row_factor, inner = job->inner, n = order->whole * inner, x, k, c;
    char *planes = run->memory + job->planes;
    int size = pooling_kind_size[job->kind];
    /* Integers become keys as they are taken apart. */
    int plain = order->planes && !job->checked && job->kind < POOLING_F16;
    const void *keys = plain ? pooling_fetch(run, &job->elements, cell, job->raw, size)
        : job->op == POOLING_FIRST ? pooling_load_firsts(run, cell) : pooling_load_keys(run, cell);
    uint64_t flip = plain && job->kind % 2 == 0 ? UINT64_C(1) << (8 * size - 1) : 0;
    if (!order->planes) {
        switch (pooling_key_kind(job->kind)) {
        case POOLING_I8: pooling_put_i8(run, (const int8_t *) keys, order->most, order->found); break;
        case POOLING_I16: pooling_put_i16(run, (const int16_t *) keys, order->most, order->found); break;
        case POOLING_I32: pooling_put_i32(run, (const int32_t *) keys, order->most, order->found); break;
        default: pooling_put_i64(run, (const int64_t *) keys, order->most, order->found);
        }
        return;
    }
#define POOLING_APART(NAME, K) pooling_apart_##NAME(                                                                   \
        (K *) planes + order->rows * factor * n, (const K *) keys, (K) flip, order->whole, factor, inner, n); break;
    switch (pooling_key_kind(job->kind)) {
    case POOLING_I8: POOLING_APART(i8, int8_t)
    case POOLING_I16: POOLING_APART(i16, int16_t)
    case POOLING_I32: POOLING_APART(i32, int32_t)
    default: POOLING_APART(i64, int64_t)
    }
#undef POOLING_APART
    if (job->checked) {
        const uint8_t *valid = (const uint8_t *) run->memory + job->valid;
        int32_t *restrict found = order->found;
        if (inner == 1 && factor == 2) for (x = 0; x < n; x++) found[x] += valid[2 * x] + valid[2 * x + 1];
        else if (inner == 1)
            for (x = 0; x < n; x++)
                for (k = 0; k < factor; k++) found[x] += valid[x * factor + k];
        else for (k = 0; k < factor; k++)
            for (x = 0; x < order->whole; x++)
                for (c = 0; c < inner; c++) found[x * inner + c] += valid[(x * factor + k) * inner + c];
    }
    order->rows++;
}

/* Means of the two in the middle. */
static void pooling_store_middle(
    const pooling_blocks_run_t *run, char *dst, const char *low, const char *high, ptrdiff_t n
) {
    const pooling_blocks_t *job = run->job;
    double *work = (double *) (run->memory + job->work), *more = (double *) (run->memory + job->more);
    char *values = (char *) work, *others = (char *) more;
    ptrdiff_t x;
    int integers = !pooling_is_float(job->kind) && !pooling_is_float(job->result);
    if (integers && !memcmp(low, high, (size_t) (n * pooling_kind_size[job->kind]))) {
        pooling_store_keys(job, dst, low, n);
        return;
    }
    pooling_store_keys(job, values, low, n);
    pooling_store_keys(job, others, high, n);
    if (integers) {
        switch (job->kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND:                                                                         \
            for (x = 0; x < n; x++) {                                                                                  \
                T a = ((T *) values)[x], b = ((T *) others)[x], less = (T) ((a & b) + ((a ^ b) >> 1));                 \
                int odd = (int) ((a ^ b) & 1);                                                                         \
                int up = job->rounding == POOLING_HALF_UP || (job->rounding == POOLING_HALF_EVEN && (less & 1))        \
                    || (job->rounding == POOLING_TRUNC && less < (T) 0);                                               \
                ((T *) dst)[x] = (T) (less + (odd & up));                                                              \
            }                                                                                                          \
            break;
        POOLING_EACH_INTEGER(POOLING_CASE)
#undef POOLING_CASE
        }
        return;
    }
    /* From the end: the doubles take more room than what they are made of. */
    for (x = n - 1; x >= 0; x--) {
        double a, b, sum;
        switch (job->kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND: a = (double) ((T *) values)[x]; b = (double) ((T *) others)[x];         \
            if (sizeof(T) == 8 && KIND != POOLING_F64) {                                                               \
                pooling_int128_t both = (pooling_int128_t) ((T *) values)[x] + (pooling_int128_t) ((T *) others)[x];   \
                a = (double) both;                                                                                     \
                b = 0;                                                                                                 \
            }                                                                                                          \
            break;
        POOLING_EACH_NUMBER(POOLING_CASE)
#undef POOLING_CASE
        default:
            job->load(&a, values + 2 * x, 1);
            job->load(&b, others + 2 * x, 1);
        }
        sum = a + b;
        work[x] = fabs(sum) < INFINITY ? sum * 0.5 : a * 0.5 + b * 0.5;
    }
    pooling_store_doubles(job, dst, work, n);
}

/* Order the blocks of some whole cells of a row, or of one that is cut. */
static void pooling_order_part(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t begin, ptrdiff_t outs, int whole
) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t factor = stage->row_factor, n = outs * job->inner, rows = pooling_extent(job, 1, cell), x, offset = 0;
    pooling_order_t order;
    int result = pooling_kind_size[job->result], floats = pooling_is_float(job->kind);
    char *low = run->memory + stage->adding, *high = run->memory + stage->done, *blocks = run->memory + job->planes;
    char *spare = run->memory + stage->weights;
    pooling_begin(run, begin * factor, outs * factor);
    run->begin[1] = begin;
    run->width[1] = outs;
    order.found = (int32_t *) (run->memory + stage->counts);
    order.most = rows * pooling_least(factor, run->width[0]);
    order.planes = whole && order.most <= POOLING_PLANES && job->op != POOLING_FIRST;
    order.rows = 0;
    order.whole = outs;
    memset(order.found, 0, (size_t) n * 4);
    pooling_visit(run, cell, -1, pooling_order_row, &order);
#define POOLING_CASE(NAME, K)                                                                                          \
    if (order.planes)                                                                                                  \
        pooling_order_planes_##NAME(                                                                                   \
            job, (K *) blocks, order.most, n, job->checked ? order.found : NULL, (K *) low, (K *) high, (K *) spare);  \
    else for (x = 0; x < n; x++)                                                                                       \
        pooling_order_one_##NAME(                                                                                      \
            job->op, (K *) blocks + x * order.most, (K *) spare, order.found[x], floats, (K *) low + x,                \
            (K *) high + x);
    switch (pooling_key_kind(job->kind)) {
    case POOLING_I8: POOLING_CASE(i8, int8_t) break;
    case POOLING_I16: POOLING_CASE(i16, int16_t) break;
    case POOLING_I32: POOLING_CASE(i32, int32_t) break;
    default: POOLING_CASE(i64, int64_t)
    }
#undef POOLING_CASE
    outs = pooling_results_at(run, 1, cell, 0, &offset);
    if (!outs) return;
    if (job->op == POOLING_MEDIAN)
        pooling_store_middle(run, stage->dst + offset * result, low, high, outs * job->inner);
    else if (job->op == POOLING_FIRST)
        memcpy(stage->dst + offset * result, low, (size_t) (outs * job->inner * result));
    else pooling_store_keys(job, stage->dst + offset * result, low, outs * job->inner);
    if (job->checked) pooling_patch(run, 1, offset, outs, rows, order.found);
}

/* Take the only value of each of n blocks of two columns, if each has but one. */
#define POOLING_SAME(NAME, T)                                                                                          \
static int pooling_same_##NAME(T *restrict dst, const char *const *rows, ptrdiff_t count, ptrdiff_t n) {               \
    const T *restrict first = (const T *) rows[0];                                                                     \
    T other = 0;                                                                                                       \
    ptrdiff_t x, r;                                                                                                    \
    for (x = 0; x < n; x++) {                                                                                          \
        other = (T) (other | (first[2 * x] ^ first[2 * x + 1]));                                                       \
        dst[x] = first[2 * x];                                                                                         \
    }                                                                                                                  \
    for (r = 1; r < count && !other; r++) {                                                                            \
        const T *restrict row = (const T *) rows[r];                                                                   \
        for (x = 0; x < 2 * n; x++) other = (T) (other | (row[x] ^ first[x]));                                         \
    }                                                                                                                  \
    return !other;                                                                                                     \
}
POOLING_SAME(1, uint8_t)
POOLING_SAME(2, uint16_t)

/* Whether blocks of one value can be taken as they lie: their results are that value, or nodata where that is it. Of
   elements of four bytes and more the other way is no slower. */
static int pooling_takes_same(const pooling_blocks_t *job) {
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t rows = 1;
    int a;
    for (a = 0; a < job->axes; a++) rows *= stage->factor[a];
    return rows <= POOLING_ROWS_AT_ONCE && job->inner == 1 && stage->row_factor == 2 && job->op != POOLING_FIRST
        && job->kind < POOLING_F16 && job->result == job->kind && !job->mask.at && !stage->share
        && pooling_kind_size[job->kind] <= 2 && job->elements.row_step == pooling_kind_size[job->kind];
}

/* Whether modes can be found in rows as they lie: of two or four, in which nothing is left out. */
static int pooling_takes_modes(const pooling_blocks_t *job) {
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t rows = 1;
    int a;
    for (a = 0; a < job->axes; a++) rows *= stage->factor[a];
    return (rows == 2 || rows == 4) && job->inner == 1 && stage->row_factor == 2 && job->op == POOLING_MODE
        && job->kind < POOLING_F16 && job->result == job->kind && !job->checked
        && job->elements.row_step == pooling_kind_size[job->kind];
}

/* Starts of the rows of elements that make a row of results; return how many there are. */
static int pooling_rows_of(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t begin, const char **starts
) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t child[POOLING_OUTER], stop[POOLING_OUTER];
    int a, count = 0;
    for (a = 0; a < job->axes; a++) {
        child[a] = cell[a] * stage->factor[a];
        stop[a] = pooling_least(child[a] + stage->factor[a], job->stage[0].cells[a]);
    }
    run->begin[0] = begin * stage->row_factor;
    for (;;) {
        starts[count++] = pooling_row_at(run, &job->elements, child);
        for (a = job->axes - 1; a >= 0; a--) {
            if (++child[a] < stop[a]) break;
            child[a] = cell[a] * stage->factor[a];
        }
        if (a < 0) return count;
    }
}

/* Find the modes of whole cells, or return 0 where rows are missing. */
static int pooling_find_modes(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t begin, ptrdiff_t outs, char *dst
) {
    const pooling_blocks_t *job = run->job;
    const char *rows[POOLING_ROWS_AT_ONCE];
    ptrdiff_t size = pooling_kind_size[job->kind], some = POOLING_BYTES_AT_ONCE / 2 / size, at, n, x, wanted = 1;
    ptrdiff_t ahead = pooling_ahead(job);
    int count = pooling_rows_of(run, cell, begin, rows), a, r, found;
    for (a = 0; a < job->axes; a++) wanted *= job->stage[1].factor[a];
    if (count != wanted) return 0;
    for (at = 0; at < outs; at += n) {
        n = pooling_least(some, outs - at);
        for (r = 0; r < count; r++)
            for (x = 0; x < 2 * n * size; x += POOLING_LINE) pooling_prefetch(rows[r] + x + ahead);
        found = 0;
        if (job->kind == POOLING_U64 || job->kind == POOLING_I64)
            found = pooling_modes_of_halves((uint64_t *) dst + at, rows, count, n);
        if (!found) switch (job->kind) {
#define POOLING_CASE(NAME, T, KIND) case KIND:                                                                         \
            if (count == 2) pooling_modes_of_4_##NAME((T *) dst + at, (const T *) rows[0], (const T *) rows[1], n);    \
            else pooling_modes_of_8_##NAME(                                                                            \
                (T *) dst + at, (const T *) rows[0], (const T *) rows[1], (const T *) rows[2], (const T *) rows[3], n);\
            break;
        POOLING_EACH_INTEGER(POOLING_CASE)
#undef POOLING_CASE
        }
        for (r = 0; r < count; r++) rows[r] += 2 * n * size;
    }
    return 1;
}

/* Cells that are looked at together. */
#define POOLING_SAME_CELLS 64

static void pooling_order_or_take(
    pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t begin, ptrdiff_t outs, char *dst
) {
    const pooling_blocks_t *job = run->job;
    const char *starts[POOLING_ROWS_AT_ONCE], *rows[POOLING_ROWS_AT_ONCE];
    ptrdiff_t count = pooling_rows_of(run, cell, begin, starts), at, n, r, from = 0;
    int size = pooling_kind_size[job->kind], same;
    for (at = 0; at < outs; at += POOLING_SAME_CELLS) {
        n = pooling_least(POOLING_SAME_CELLS, outs - at);
        for (r = 0; r < count; r++) rows[r] = starts[r] + 2 * at * size;
        if (size == 1) same = pooling_same_1((uint8_t *) dst + at, rows, count, n);
        else same = pooling_same_2((uint16_t *) dst + at, rows, count, n);
        if (!same) continue;
        if (from < at) pooling_order_part(run, cell, begin + from, at - from, 1);
        from = at + n;
    }
    if (from < outs) pooling_order_part(run, cell, begin + from, outs - from, 1);
}

static void pooling_order_task(pooling_blocks_run_t *run, const ptrdiff_t *cell, ptrdiff_t segment) {
    const pooling_blocks_t *job = run->job;
    const pooling_stage_t *stage = &job->stage[1];
    ptrdiff_t begin = segment * job->outs_together, outs, whole, offset = 0;
    outs = pooling_least(job->outs_together, stage->row_cells - begin);
    whole = pooling_least(outs, job->stage[0].row_cells / stage->row_factor - begin);
    run->begin[1] = begin;
    run->width[1] = outs;
    if (!pooling_results_at(run, 1, cell, 0, &offset)) return;
    if (whole > 0) {
        char *dst = stage->dst + offset * pooling_kind_size[job->result];
        if (pooling_takes_modes(job) && pooling_find_modes(run, cell, begin, whole, dst));
        else if (pooling_takes_same(job)) pooling_order_or_take(run, cell, begin, whole, dst);
        else pooling_order_part(run, cell, begin, whole, 1);
    }
    /* The cell behind them that is cut. */
    if (whole < outs) pooling_order_part(run, cell, begin + whole, 1, 0);
}

/* --- laying out, and doing --- */

static ptrdiff_t pooling_room(ptrdiff_t *total, ptrdiff_t nbytes) {
    ptrdiff_t at = *total;
    *total = (at + nbytes + 63) / 64 * 64;
    return at;
}

/* Cells of a row that sums read together. */
#define POOLING_SEGMENT 8192
/* Bytes of the sums of the first stage that are made together. */
#define POOLING_SUM_BYTES 16384
/* Bytes of the keys that are ordered together, at least where a block has no more. */
#define POOLING_ORDER_BYTES 16384

static void pooling_blocks_lay_out(pooling_blocks_t *job) {
    ptrdiff_t block = pooling_row_block(job), before, cells, n, total = 0, outs, most = 1, lanes;
    pooling_stage_t *last = &job->stage[job->stages];
    int s, a, size = pooling_kind_size[job->kind];
    int orders = job->op >= POOLING_MEDIAN && job->op <= POOLING_FIRST, deviates = job->op >= POOLING_RMS;
    before = block / last->row_factor;
    job->halves = pooling_halves_bytes(job);
    job->quarters = pooling_quarters_bytes(job);
    for (a = 0; a < job->axes; a++) most *= last->factor[a];
    most *= last->row_factor;
    job->chunked = 0;
    if (orders) {
        /* The valid elements of each block lie together, or as planes. */
        outs = POOLING_ORDER_BYTES / size / most / job->inner;
        outs = outs < 1 ? 1 : outs;
        job->outs_together = pooling_least(outs, last->row_cells);
        job->segment = job->outs_together * block;
    } else if (deviates) {
        outs = POOLING_SEGMENT / block / job->inner;
        outs = outs < 1 ? 1 : outs;
        job->outs_together = pooling_least(outs, last->row_cells);
        job->segment = job->outs_together * block;
        if (outs == 1) job->segment = pooling_least(job->segment, POOLING_SEGMENT);
    } else if (block <= 8 * POOLING_SEGMENT) {
        outs = POOLING_SUM_BYTES / pooling_kind_size[job->stage[1].sum] / block / job->inner;
        outs = outs < 1 ? 1 : outs;
        job->outs_together = pooling_least(outs, last->row_cells);
        job->segment = job->outs_together * block;
    } else {
        job->chunked = 1;
        job->outs_together = 1;
        job->segment = pooling_up(POOLING_SEGMENT, before) * before;
    }
    if (job->outs_together < 1) job->outs_together = 1;
    job->segments = pooling_up(last->row_cells, job->outs_together);
    job->tasks = job->segments;
    for (a = 0; a < job->axes; a++) job->tasks *= last->cells[a];
    cells = pooling_least(job->segment, job->stage[0].row_cells);
    n = cells * job->inner;
    lanes = job->outs_together * job->inner;
    job->raw = pooling_room(&total, n * size);
    job->raw_mask = pooling_room(&total, n * 4);
    job->raw_weights = pooling_room(&total, job->weighted ? n * 8 : 0);
    job->values = pooling_room(&total, n * (size < 8 ? 8 : size));
    job->valid = pooling_room(&total, n);
    job->work = pooling_room(&total, n * 8);
    job->more = pooling_room(&total, deviates ? lanes * 56 + n * 48 : lanes * 8);
    job->planes = pooling_room(&total, orders ? lanes * most * size : 0);
    for (s = 1; s <= job->stages; s++) {
        pooling_stage_t *stage = &job->stage[s];
        int sum;
        stage->pairs = pooling_pairs_for(job, s);
        stage->numbers = stage->pairs != NULL && pooling_keeps_counts(job);
        sum = orders ? size : pooling_kind_size[stage->sum];
        ptrdiff_t made, children;
        stage->adding = pooling_room(&total, n * sum);
        stage->adding_counts = pooling_room(&total, pooling_keeps_counts(job) ? n * 4 : 0);
        stage->adding_weights = pooling_room(&total, job->weighted ? n * 8 : 0);
        made = job->late >= 0 ? n : pooling_up(n, stage->row_factor) + job->inner;
        stage->done_step = (made * sum + 63) / 64 * 64;
        children = 1;
        if (s < job->stages)
            for (a = 0; a < job->axes; a++) children *= pooling_least(stage[1].factor[a], POOLING_ROWS_AT_ONCE);
        stage->done = pooling_room(&total, stage->done_step * pooling_least(children, POOLING_ROWS_AT_ONCE));
        stage->counts = pooling_room(&total, made * 4);
        stage->weights = pooling_room(
            &total, orders ? (2 * lanes > most ? 2 * lanes : most) * size : job->weighted ? made * 8 : 0);
        n = made;
    }
    job->nbytes = total;
}

/* Do tasks begin to end: each makes some results of a row. Return the first that cannot be said, or -1. */
static ptrdiff_t pooling_reduce_blocks(const void *work, char *scratch, ptrdiff_t begin, ptrdiff_t end) {
    const pooling_blocks_t *job = (const pooling_blocks_t *) work;
    const pooling_stage_t *last = &job->stage[job->stages];
    pooling_blocks_run_t run;
    ptrdiff_t task, rest, steps = 1, cell[POOLING_OUTER];
    int a;
    run.job = job;
    run.memory = scratch;
    run.fault = -1;
    for (a = 1; a <= job->stages; a++) run.done[a] = scratch + job->stage[a].done;
    for (a = 0; a < job->axes; a++) steps *= pooling_least(last->span[a], job->stage[0].cells[a]);
    steps *= pooling_least(pooling_row_block(job) * job->outs_together, job->stage[0].row_cells) * job->inner;
    for (task = begin; task < end && run.fault < 0; task++) {
        rest = task / job->segments;
        for (a = job->axes - 1; a >= 0; a--) {
            cell[a] = rest % last->cells[a];
            rest /= last->cells[a];
        }
        if (pooling_stops(scratch, steps)) return -1;
        if (job->op >= POOLING_RMS) pooling_deviation_task(&run, cell, task % job->segments);
        else if (job->op >= POOLING_MEDIAN) pooling_order_task(&run, cell, task % job->segments);
        else pooling_sum_task(&run, cell, task % job->segments);
    }
    return run.fault;
}

#endif
