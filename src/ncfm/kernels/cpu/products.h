// Matrix products of blocks of tiles, position by position, with the sums in registers.

#pragma once

#include "vectors.h"

static const int64_t PAIR = 2 * LANES;  // columns of a product that are made at once

static inline int64_t panels(int64_t channels) { return parts(channels, LANES); }

// Rows and panels of a gradient whose sums fit into the registers.
static const int64_t GRADIENT_ROWS = LANES == 16 ? 8 : 4, GRADIENT_PANELS = 3;

// A scalar of rows times a vector of packed rows, added to a sum: the whole difference between the kinds of products.
// DEPTH terms are added at once.
template <typename Rows>
struct Multiply;

template <>
struct Multiply<float> {
    static const int64_t DEPTH = 1;
    using Vector = vec;

    static inline Vector vector(const float *p) { return load(p); }
    static inline void add(vec &sum, const float *scalar, Vector v) { sum += *scalar * v; }
};

#ifdef __AVX512BF16__

struct MultiplyPairs {
    static const int64_t DEPTH = 2;
    using Vector = __m512bh;

    static inline Vector vector(const paired *p) { return (__m512bh)_mm512_loadu_si512(p); }
    template <typename Rows>
    static inline void add(vec &sum, const Rows *pair, Vector v) {
        int32_t both;
        std::memcpy(&both, pair, sizeof both);
        sum = (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(both), v);
    }
};

template <>
struct Multiply<bf16> : MultiplyPairs {};
template <>
struct Multiply<paired> : MultiplyPairs {};

#endif

// What a thread needs while it makes products of a kind of so many terms.
template <typename Kind>
struct Registers {
    explicit Registers(int64_t) {}
};

// ---- Rows times packed filters: out[row][k] = sum over c of a[row][c] f[c][k] ---------------------------------------
//
// a[panels of c][rows][LANES], f[panels of k][c][LANES], out[panels of k][rows][LANES]; their panels are `stride`,
// `f_stride` and `out_stride` apart. With ADD the products are added to what is there.

template <bool ADD, int COUNT, int VECS, typename Rows, typename Packed>
static inline void rows_times_panels(const Rows *a, int64_t stride, int64_t depth, const Packed *f, int64_t f_stride,
                                     float *out, int64_t out_stride) {
    using M = Multiply<Rows>;
    vec sum[COUNT][VECS] = {};
    if constexpr (ADD)
        UNROLL for (int r = 0; r < COUNT; r++)
            UNROLL for (int v = 0; v < VECS; v++) sum[r][v] = load(out + v * out_stride + r * LANES);
    for (; depth > 0; depth -= LANES, a += stride)
        for (int64_t i = 0; i < std::min(LANES, depth); i += M::DEPTH, f += M::DEPTH * LANES) {
            typename M::Vector column[VECS];
            UNROLL for (int v = 0; v < VECS; v++) column[v] = M::vector(f + v * f_stride);
            UNROLL for (int r = 0; r < COUNT; r++)
                UNROLL for (int v = 0; v < VECS; v++) M::add(sum[r][v], a + r * LANES + i, column[v]);
        }
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + v * out_stride + r * LANES, sum[r][v]);
}

// All rows, in parts; one or two panels of k.
template <bool ADD = false, typename Rows, typename Packed>
static inline void times_panels(const Rows *a, int64_t rows, int64_t stride, int64_t depth, const Packed *f,
                                int64_t f_stride, int64_t panels, float *out, int64_t out_stride) {
    each_part(rows, [&](auto count, int64_t first) {
        const Rows *from = a + first * LANES;
        float *to = out + first * LANES;
        panels == 2 ? rows_times_panels<ADD, count, 2>(from, stride, depth, f, f_stride, to, out_stride)
                    : rows_times_panels<ADD, count, 1>(from, stride, depth, f, f_stride, to, out_stride);
    });
}

// The same for a block of tiles, by a kind.
template <typename Kind>
static inline void block_times_panels(Kind, const typename Kind::Rows *a, int64_t rows, int64_t stride, int64_t depth,
                                      const typename Kind::Packed *f, int64_t f_stride, int64_t panels, float *out,
                                      int64_t out_stride) {
    times_panels(a, rows, stride, depth, f, f_stride, panels, out, out_stride);
}

// ---- Columns times rows: out[c][k] += sum over tiles of v[tile][c] d[tile][k] ---------------------------------------

// Some tiles in blocks of `block` tiles, of which the last may be shorter. From block to block v moves by `v_stride`,
// d by `d_stride`.
struct Blocks {
    int64_t tiles, block, v_stride, d_stride;
};

// For COUNT of the channels c of a panel and VECS panels of k, `stride` apart; out is k wide.
template <int COUNT, int VECS, typename Packed>
static inline void add_columns_times_rows(const Packed *v, const Packed *d, int64_t stride, Blocks blocks, float *out,
                                          int64_t k) {
    using M = Multiply<Packed>;
    vec sum[COUNT][VECS];
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int j = 0; j < VECS; j++) sum[r][j] = load(out + r * k + j * LANES);
    for (int64_t left = blocks.tiles; left > 0; left -= blocks.block, v += blocks.v_stride, d += blocks.d_stride) {
        const int64_t tiles = std::min(left, blocks.block);
        for (int64_t t = 0; t < tiles; t += M::DEPTH) {
            typename M::Vector row[VECS];
            UNROLL for (int j = 0; j < VECS; j++) row[j] = M::vector(d + t * LANES + j * stride);
            UNROLL for (int r = 0; r < COUNT; r++)
                UNROLL for (int j = 0; j < VECS; j++) M::add(sum[r][j], v + t * LANES + r * M::DEPTH, row[j]);
        }
    }
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int j = 0; j < VECS; j++) store(out + r * k + j * LANES, sum[r][j]);
}

// For a panel of channels c and all panels of k, `stride` apart.
template <typename Kind>
static inline void add_panel_times_rows(Kind, const typename Kind::Packed *v, const typename Kind::Packed *d,
                                        int64_t stride, int64_t panels, Blocks blocks, float *out, int64_t width) {
    for (int64_t at = 0; at < panels; at += GRADIENT_PANELS)
        for (int64_t row = 0; row < LANES; row += GRADIENT_ROWS)
            with_count<GRADIENT_PANELS>(std::min(panels - at, GRADIENT_PANELS), [&](auto vecs) {
                add_columns_times_rows<GRADIENT_ROWS, vecs>(v + row * Multiply<typename Kind::Packed>::DEPTH,
                                                            d + at * stride, stride, blocks,
                                                            out + row * width + at * LANES, width);
            });
}
