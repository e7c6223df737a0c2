// Matrix products of blocks of tiles, position by position, with the sums in registers.

#pragma once

#include "vectors.h"

static const int64_t PAIR = 2 * LANES;  // columns of a product that are made at once

// ---- Rows times packed filters: out[row][k] = sum over c of a[row][c] f[c][k] -----------------------------------------
//
// a[panels of c][rows][LANES], f[panels of k][c][LANES], out[panels of k][rows][LANES]; the panels of a and of out are
// `stride` apart, those of f `depth` vectors.

template <int COUNT, int VECS>
static inline void rows_times_panels(const float *a, int64_t stride, int64_t depth, const float *f, float *out) {
    vec sum[COUNT][VECS] = {};
    for (int64_t panel = 0; panel < depth; panel += LANES, a += stride)
        for (int64_t i = 0; i < LANES; i++, f += LANES) {
            vec column[VECS];
            UNROLL for (int v = 0; v < VECS; v++) column[v] = load(f + v * depth * LANES);
            UNROLL for (int r = 0; r < COUNT; r++)
                UNROLL for (int v = 0; v < VECS; v++) sum[r][v] += a[r * LANES + i] * column[v];
        }
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + v * stride + r * LANES, sum[r][v]);
}

// rows_times_panels for a number of rows that is known at run time.
template <int VECS, int COUNT = ROWS, typename T>
static inline void some_rows(int64_t count, const T *a, int64_t stride, int64_t depth, const T *f, float *out) {
    if (count == COUNT) return rows_times_panels<COUNT, VECS>(a, stride, depth, f, out);
    if constexpr (COUNT > 1) some_rows<VECS, COUNT - 1>(count, a, stride, depth, f, out);
}

// All rows, in even parts that fit into registers; one or two panels of k.
template <typename T>
static inline void times_panels(const T *a, int64_t rows, int64_t stride, int64_t depth, const T *f, int64_t panels,
                                float *out) {
    for (int64_t left = parts(rows, ROWS); left > 0; left--) {
        const int64_t count = parts(rows, left);
        panels == 2 ? some_rows<2>(count, a, stride, depth, f, out) : some_rows<1>(count, a, stride, depth, f, out);
        a += count * LANES, out += count * LANES, rows -= count;
    }
}

// ---- Columns times rows: out[c][k] += sum over tiles of v[tile][c] d[tile][k] -----------------------------------------

// For COUNT of the channels c of a panel and VECS panels of k, `d_stride` apart; out is k wide.
template <int COUNT, int VECS>
static inline void add_columns_times_rows(const float *v, const float *d, int64_t d_stride, int64_t tiles, float *out,
                                          int64_t k) {
    vec sum[COUNT][VECS];
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int j = 0; j < VECS; j++) sum[r][j] = load(out + r * k + j * LANES);
    for (int64_t t = 0; t < tiles; t++, v += LANES, d += LANES) {
        vec row[VECS];
        UNROLL for (int j = 0; j < VECS; j++) row[j] = load(d + j * d_stride);
        UNROLL for (int r = 0; r < COUNT; r++)
            UNROLL for (int j = 0; j < VECS; j++) sum[r][j] += v[r] * row[j];
    }
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int j = 0; j < VECS; j++) store(out + r * k + j * LANES, sum[r][j]);
}
