// Winograd F(4x4, 3x3): the maps between a tile of an image and its 36 positions.
//
// y = A^T [(G g G^T) . (B^T d B)] A for the 6x6 span d around a tile of 4x4 outputs and a 3x3 filter g. The polynomial
// behind it is evaluated at 0, a, -a, b, -b and infinity. With a = 2/3, b = 3/2 rounding is amplified half as much as
// at the usual 1 and 2, and a b = 1 saves multiplications.

#pragma once

#include "vectors.h"

static const int TILE = 4, SPAN = 6, POSITIONS = 36;  // output pixels of a tile per side, input pixels, their square
static const float A1 = 2.f / 3, A2 = 4.f / 9, A3 = 8.f / 27, B1 = 1.5f, B2 = 2.25f, B3 = 3.375f;  // powers of a and b
static const float AB = A2 + B2;
static const float GA = 1 / (2 * A2 * (A2 - B2)), GB = 1 / (2 * B2 * (B2 - A2));

// ---- The one-dimensional transforms and their transposes ------------------------------------------------------------
//
// Each yields its elements in pairs that share terms: out[ROWS[pair][0]] and out[ROWS[pair][1]].

struct SpanTransform {  // v = B^T d
    static constexpr int IN = SPAN, OUT = SPAN, ROWS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

    template <int PAIR>
    static inline void pair(const vec *d, vec &v, vec &w) {
        if constexpr (PAIR == 0) {
            v = d[0] + d[4] - AB * d[2];
            w = d[1] + d[5] - AB * d[3];
        } else {
            const float q = PAIR == 1 ? B2 : A2, point = PAIR == 1 ? A1 : B1;
            const vec even = d[4] - q * d[2], odd = d[3] - q * d[1];
            v = even + point * odd;
            w = even - point * odd;
        }
    }
};

struct SpanTransposed {  // d = B v
    static constexpr int IN = SPAN, OUT = SPAN, ROWS[3][2] = {{0, 5}, {1, 3}, {2, 4}};

    template <int PAIR>
    static inline void pair(const vec *v, vec &d, vec &e) {
        if constexpr (PAIR == 0) {
            d = v[0];
            e = v[5];
        } else if constexpr (PAIR == 1) {
            const vec d12 = A1 * (v[1] - v[2]), d34 = B1 * (v[3] - v[4]);
            d = v[5] - B2 * d12 - A2 * d34;
            e = d12 + d34 - AB * v[5];
        } else {
            const vec s12 = v[1] + v[2], s34 = v[3] + v[4];
            d = -AB * v[0] - B2 * s12 - A2 * s34;
            e = v[0] + s12 + s34;
        }
    }
};

struct ProductTransform {  // y = A^T m
    static constexpr int IN = SPAN, OUT = TILE, ROWS[2][2] = {{0, 2}, {1, 3}};

    template <int PAIR>
    static inline void pair(const vec *m, vec &y, vec &z) {
        if constexpr (PAIR == 0) {
            const vec s12 = m[1] + m[2], s34 = m[3] + m[4];
            y = m[0] + s12 + s34;
            z = A2 * s12 + B2 * s34;
        } else {
            const vec d12 = m[1] - m[2], d34 = m[3] - m[4];
            y = A1 * d12 + B1 * d34;
            z = m[5] + A3 * d12 + B3 * d34;
        }
    }
};

struct ProductTransposed {  // m = A y
    static constexpr int IN = TILE, OUT = SPAN, ROWS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

    template <int PAIR>
    static inline void pair(const vec *y, vec &m, vec &n) {
        if constexpr (PAIR == 0) {
            m = y[0];
            n = y[3];
        } else {
            const float p1 = PAIR == 1 ? A1 : B1, p2 = PAIR == 1 ? A2 : B2, p3 = PAIR == 1 ? A3 : B3;
            const vec even = y[0] + p2 * y[2], odd = p1 * y[1] + p3 * y[3];
            m = even + odd;
            n = even - odd;
        }
    }
};

struct FilterTransform {  // u = G g
    static constexpr int IN = 3, OUT = SPAN, ROWS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

    template <int PAIR>
    static inline void pair(const vec *g, vec &u, vec &v) {
        if constexpr (PAIR == 0) {
            u = g[0];
            v = g[2];
        } else {
            const float scale = PAIR == 1 ? GA : GB, p1 = PAIR == 1 ? A1 : B1, p2 = PAIR == 1 ? A2 : B2;
            const vec even = scale * (g[0] + p2 * g[2]), odd = (scale * p1) * g[1];
            u = even + odd;
            v = even - odd;
        }
    }
};

struct FilterTransposed {  // g = G^T u; of the last pair only the first is an element
    static constexpr int IN = SPAN, OUT = 3, ROWS[2][2] = {{0, 2}, {1, 1}};

    template <int PAIR>
    static inline void pair(const vec *u, vec &g, vec &h) {
        if constexpr (PAIR == 0) {
            const vec s12 = GA * (u[1] + u[2]), s34 = GB * (u[3] + u[4]);
            g = u[0] + s12 + s34;
            h = u[5] + A2 * s12 + B2 * s34;
        } else {
            h = g = (GA * A1) * (u[1] - u[2]) + (GB * B1) * (u[3] - u[4]);
        }
    }
};

// T block T^T: `read(i, j)` returns an element of the block, `write(i, j, element)` takes one of the result. Two rows
// of T block are in registers at a time: all would not fit. What several pairs of rows need is read again.
template <typename T, int PAIR = 0, typename Read, typename Write>
static inline void both_ways(Read read, Write write) {
    vec half[2][T::IN];
    UNROLL for (int j = 0; j < T::IN; j++) {
        vec column[T::IN];
        UNROLL for (int i = 0; i < T::IN; i++) column[i] = read(i, j);
        T::template pair<PAIR>(column, half[0][j], half[1][j]);
    }
    UNROLL for (int r = 0; r < 2; r++) {
        const int i = T::ROWS[PAIR][r];
        vec a, b;
        T::template pair<0>(half[r], a, b), write(i, T::ROWS[0][0], a), write(i, T::ROWS[0][1], b);
        T::template pair<1>(half[r], a, b), write(i, T::ROWS[1][0], a), write(i, T::ROWS[1][1], b);
        if constexpr (T::OUT == SPAN)
            T::template pair<2>(half[r], a, b), write(i, T::ROWS[2][0], a), write(i, T::ROWS[2][1], b);
    }
    if constexpr (2 * (PAIR + 1) < T::OUT) both_ways<T, PAIR + 1>(read, write);
}

// ---- Tiles and positions --------------------------------------------------------------------------------------------

static inline int64_t tiles_per(int64_t pixels) { return parts(pixels, TILE); }

// What a block of tiles is mapped to: [panels][36][tiles][LANES], where the lanes of a last half panel are zero. The
// positions of a tile's panel lie close together, on few pages of memory.
template <typename T>
struct Positions {
    T *data;
    int64_t panels, tiles;

    // From a position to the next: a cache line more than the data, or all 36 would compete for the same lines.
    int64_t stride() const { return tiles * LANES + 64 / (int64_t)sizeof(T); }
    int64_t panel_stride() const { return POSITIONS * stride(); }
    int64_t size() const { return panels * panel_stride(); }
    T *at(int64_t position, int64_t panel) const { return data + panel * panel_stride() + position * stride(); }

    // Fill the positions of a tile with zeros.
    void clear(int64_t tile) const {
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t p = 0; p < POSITIONS; p++) put_row(at(p, panel), tile, vec{});
    }
};

// Where the SIDE x SIDE pixels of a tile's output, or with SIDE = SPAN of its input, lie in an image of h x w pixels of
// c channels. Pixels outside are at `outside`.
template <int SIDE, typename Float>
struct Window {
    Float *at[SIDE][SIDE];

    void place(Float *image, int64_t tile, int64_t h, int64_t w, int64_t c, Float *outside) {
        const int64_t border = (SIDE - TILE) / 2;
        const int64_t row = tile / tiles_per(w) * TILE - border, column = tile % tiles_per(w) * TILE - border;
        for (int64_t i = 0; i < SIDE; i++)
            for (int64_t j = 0; j < SIDE; j++) {
                const int64_t r = row + i, q = column + j;
                at[i][j] = r >= 0 && r < h && q >= 0 && q < w ? image + (r * w + q) * c : outside;
            }
    }
};

// ---- The four maps, for the panel of a tile's channels from `channel` on --------------------------------------------

// v = B^T d B of the span d around a tile.
template <int64_t WIDTH, typename T>
static inline void spread(const Window<SPAN, const float> &d, int64_t channel, T *v, int64_t stride, int64_t tile) {
    both_ways<SpanTransform>([&](int i, int j) { return load<WIDTH>(d.at[i][j] + channel); },
                             [&](int i, int j, vec to) { put_row(v + (i * SPAN + j) * stride, tile, to); });
}

// The transpose: B v B^T is added to the span, as neighbouring spans overlap.
template <int64_t WIDTH>
static inline void spread_transposed(const float *v, int64_t stride, const Window<SPAN, float> &d, int64_t channel) {
    both_ways<SpanTransposed>([&](int i, int j) { return load(v + (i * SPAN + j) * stride); },
                              [&](int i, int j, vec more) {
                                  float *to = d.at[i][j] + channel;
                                  store<WIDTH>(to, load<WIDTH>(to) + more);
                              });
}

// y = A^T m A of a tile's products.
template <int64_t WIDTH>
static inline void gather(const float *m, int64_t stride, const Window<TILE, float> &y, int64_t channel) {
    both_ways<ProductTransform>([&](int i, int j) { return load(m + (i * SPAN + j) * stride); },
                                [&](int i, int j, vec to) { store<WIDTH>(y.at[i][j] + channel, to); });
}

// The transpose: m = A y A^T.
template <int64_t WIDTH, typename T>
static inline void gather_transposed(const Window<TILE, const float> &y, int64_t channel, T *m, int64_t stride,
                                     int64_t tile) {
    both_ways<ProductTransposed>([&](int i, int j) { return load<WIDTH>(y.at[i][j] + channel); },
                                 [&](int i, int j, vec to) { put_row(m + (i * SPAN + j) * stride, tile, to); });
}
