// The loops of `ncfm.kernels` that a CPU spends its time in. Plain functions on float32 arrays, called through ctypes.
//
// Every array is dense. Images are channels-last: x[n][row][column][channel]; channels are a multiple of 8, except for
// the input channels of the thin convolution. Each function fills its whole output, each output element is written by
// one thread, and sums run in a fixed order: the same input gives the same bits for any number of threads.
//
// A thread takes an image, or a few, through all steps of a function before it takes the next: what lies between the
// steps stays in its second-level cache.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

typedef float vec __attribute__((vector_size(32)));  // 8 floats: one AVX register, two of SSE or NEON
static const int64_t LANES = 8;
static const int64_t PANEL = 2 * LANES;              // columns of a packed matrix that lie together
static const int64_t WIDE = 4 * LANES;               // channels of a thin convolution that are taken at once
static const int64_t ROWS = 6;                       // of a product that fit into registers: 12 of 16 hold sums
static const int TILE = 4, SPAN = 6, POSITIONS = 36;  // output pixels of a tile per side, input pixels, their square
static const int64_t BLOCK = 24;                     // tiles that are multiplied by the filters at once

// Loops over registers: unrolled early, so that no sum goes through memory.
#define UNROLL _Pragma("GCC unroll 16")

static inline vec load(const float *p) {
    vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, vec v) { std::memcpy(p, &v, sizeof v); }

// ---- Winograd F(4x4, 3x3): the one-dimensional transforms and their transposes ------------------------------------

static inline void transform_span(const vec d[SPAN], vec v[SPAN]) {  // v = B^T d
    vec even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1], e = d[4] - d[2], o = 2.f * (d[3] - d[1]);
    v[0] = 4.f * d[0] - 5.f * d[2] + d[4];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = e + o;
    v[4] = e - o;
    v[5] = 4.f * d[1] - 5.f * d[3] + d[5];
}

static inline void transform_span_transposed(const vec v[SPAN], vec d[SPAN]) {  // d = B v
    vec s12 = v[1] + v[2], d12 = v[1] - v[2], s34 = v[3] + v[4], d34 = v[3] - v[4];
    d[0] = 4.f * v[0];
    d[1] = 4.f * v[5] - 4.f * d12 - 2.f * d34;
    d[2] = -5.f * v[0] - 4.f * s12 - s34;
    d[3] = d12 + 2.f * d34 - 5.f * v[5];
    d[4] = v[0] + s12 + s34;
    d[5] = v[5];
}

static inline void transform_product(const vec m[SPAN], vec y[TILE]) {  // y = A^T m
    vec s12 = m[1] + m[2], d12 = m[1] - m[2], s34 = m[3] + m[4], d34 = m[3] - m[4];
    y[0] = m[0] + s12 + s34;
    y[1] = d12 + 2.f * d34;
    y[2] = s12 + 4.f * s34;
    y[3] = d12 + 8.f * d34 + m[5];
}

static inline void transform_product_transposed(const vec y[TILE], vec m[SPAN]) {  // m = A y
    vec even = y[0] + y[2], odd = y[1] + y[3], e = y[0] + 4.f * y[2], o = 2.f * y[1] + 8.f * y[3];
    m[0] = y[0];
    m[1] = even + odd;
    m[2] = even - odd;
    m[3] = e + o;
    m[4] = e - o;
    m[5] = y[3];
}

static inline void transform_filter(const vec g[3], vec u[SPAN]) {  // u = G g
    vec even = (g[0] + g[2]) / -6.f, odd = g[1] / -6.f, e = g[0] / 24.f + g[2] / 6.f, o = g[1] / 12.f;
    u[0] = g[0] / 4.f;
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = e + o;
    u[4] = e - o;
    u[5] = g[2];
}

// Apply a one-dimensional transform to the columns and then to the rows of a block: out = T block T^T.
template <int IN, int OUT, typename Transform>
static inline void both_ways(const vec (&block)[IN][IN], vec (&out)[OUT][OUT], Transform transform) {
    vec half[OUT][IN];
    for (int j = 0; j < IN; j++) {
        vec column[IN], changed[OUT];
        for (int i = 0; i < IN; i++) column[i] = block[i][j];
        transform(column, changed);
        for (int i = 0; i < OUT; i++) half[i][j] = changed[i];
    }
    for (int i = 0; i < OUT; i++) transform(half[i], out[i]);
}

static inline int64_t tiles_per(int64_t pixels) { return (pixels + TILE - 1) / TILE; }

// ---- The four maps between a tile of an image and its 36 positions -------------------------------------------------
//
// `image` points at the first of `width` channels, `c` apart from pixel to pixel; positions are `stride` apart.

struct Tile {
    int64_t row, column, h, w;  // of its first output pixel, in an image of h x w

    Tile(int64_t number, int64_t h, int64_t w)
        : row(number / tiles_per(w) * TILE), column(number % tiles_per(w) * TILE), h(h), w(w) {}

    // Where a pixel of the tile (or, from -1 on, of its span) lies in the image, in pixels; -1 if outside.
    int64_t pixel(int64_t i, int64_t j) const {
        const int64_t r = row + i, q = column + j;
        return r >= 0 && r < h && q >= 0 && q < w ? r * w + q : -1;
    }
};

// v = B^T d B of the 6x6 span d around a tile; the image is zero outside.
static void spread_tile(const float *image, Tile tile, int64_t c, int64_t width, float *v, int64_t stride) {
    for (int64_t at = 0; at < width; at += LANES) {
        vec d[SPAN][SPAN], out[SPAN][SPAN];
        for (int i = 0; i < SPAN; i++)
            for (int j = 0; j < SPAN; j++) {
                const int64_t pixel = tile.pixel(i - 1, j - 1);
                d[i][j] = pixel >= 0 ? load(image + pixel * c + at) : vec{};
            }
        both_ways(d, out, transform_span);
        for (int p = 0; p < POSITIONS; p++) store(v + p * stride + at, out[p / SPAN][p % SPAN]);
    }
}

// The transpose of spread_tile: B v B^T is added to the span, as neighbouring spans overlap.
static void spread_tile_transposed(const float *v, int64_t stride, Tile tile, int64_t c, int64_t width, float *image) {
    for (int64_t at = 0; at < width; at += LANES) {
        vec block[SPAN][SPAN], d[SPAN][SPAN];
        for (int p = 0; p < POSITIONS; p++) block[p / SPAN][p % SPAN] = load(v + p * stride + at);
        both_ways(block, d, transform_span_transposed);
        for (int i = 0; i < SPAN; i++)
            for (int j = 0; j < SPAN; j++) {
                const int64_t pixel = tile.pixel(i - 1, j - 1);
                if (pixel < 0) continue;
                float *to = image + pixel * c + at;
                store(to, load(to) + d[i][j]);
            }
    }
}

// y = A^T m A of a tile's 36 products.
static void gather_tile(const float *m, int64_t stride, Tile tile, int64_t c, int64_t width, float *image) {
    for (int64_t at = 0; at < width; at += LANES) {
        vec block[SPAN][SPAN], out[TILE][TILE];
        for (int p = 0; p < POSITIONS; p++) block[p / SPAN][p % SPAN] = load(m + p * stride + at);
        both_ways(block, out, transform_product);
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) {
                const int64_t pixel = tile.pixel(i, j);
                if (pixel >= 0) store(image + pixel * c + at, out[i][j]);
            }
    }
}

// The transpose of gather_tile: m = A y A^T, with y zero outside the image.
static void gather_tile_transposed(const float *image, Tile tile, int64_t c, int64_t width, float *m, int64_t stride) {
    for (int64_t at = 0; at < width; at += LANES) {
        vec block[TILE][TILE], out[SPAN][SPAN];
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) {
                const int64_t pixel = tile.pixel(i, j);
                block[i][j] = pixel >= 0 ? load(image + pixel * c + at) : vec{};
            }
        both_ways(block, out, transform_product_transposed);
        for (int p = 0; p < POSITIONS; p++) store(m + p * stride + at, out[p / SPAN][p % SPAN]);
    }
}

// ---- Products with packed filters ----------------------------------------------------------------------------------

// out[r][VECS] = sum over i of a[r][i] (scalar) times panel[i][VECS].
template <int COUNT, int VECS>
static inline void rows_times_panel(const float *a, int64_t depth, const float *panel, float *out) {
    vec sum[COUNT][VECS] = {};
    for (int64_t i = 0; i < depth; i++, panel += VECS * LANES) {
        vec column[VECS];
        for (int v = 0; v < VECS; v++) column[v] = load(panel + v * LANES);
        for (int r = 0; r < COUNT; r++)
            for (int v = 0; v < VECS; v++) sum[r][v] += a[r * depth + i] * column[v];
    }
    UNROLL for (int r = 0; r < COUNT; r++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + r * PANEL + v * LANES, sum[r][v]);
}

// All rows, in even parts that fit into registers.
template <int VECS>
static void times_panel(const float *a, int64_t rows, int64_t depth, const float *panel, float *out) {
    for (int64_t parts = (rows + ROWS - 1) / ROWS; parts > 0; parts--) {
        const int64_t count = (rows + parts - 1) / parts;
        switch (count) {
            case 6: rows_times_panel<6, VECS>(a, depth, panel, out); break;
            case 5: rows_times_panel<5, VECS>(a, depth, panel, out); break;
            case 4: rows_times_panel<4, VECS>(a, depth, panel, out); break;
            case 3: rows_times_panel<3, VECS>(a, depth, panel, out); break;
            case 2: rows_times_panel<2, VECS>(a, depth, panel, out); break;
            default: rows_times_panel<1, VECS>(a, depth, panel, out);
        }
        a += count * depth, out += count * PANEL, rows -= count;
    }
}

// A thread's arrays for `by_tiles`: what the images were mapped to, and its products with one panel of filters.
struct Workspace {
    std::vector<float> positions, products;
    explicit Workspace(int64_t c) : positions(POSITIONS * BLOCK * c), products(POSITIONS * BLOCK * PANEL) {}
};

// Convolve some images x[images][h][w][c] to y[images][h][w][k], or with BACK, by filters of swapped sides, take the
// gradient y of a convolution's output to that of its input. Filters are packed: f[36][panel][c][16].
template <bool BACK>
static void by_tiles(const float *x, const float *f, float *y, int64_t images, int64_t h, int64_t w, int64_t c,
                     int64_t k, Workspace &space) {
    const int64_t each = tiles_per(h) * tiles_per(w), tiles = images * each, area = h * w;
    float *positions = space.positions.data(), *products = space.products.data();
    if (BACK) std::memset(y, 0, sizeof(float) * images * area * k);
    for (int64_t first = 0; first < tiles; first += BLOCK) {
        const int64_t count = std::min(BLOCK, tiles - first);
        for (int64_t i = 0; i < count; i++) {
            const float *image = x + (first + i) / each * area * c;
            const Tile tile((first + i) % each, h, w);
            if (BACK)
                gather_tile_transposed(image, tile, c, c, positions + i * c, BLOCK * c);
            else
                spread_tile(image, tile, c, c, positions + i * c, BLOCK * c);
        }
        for (int64_t at = 0; at < k; at += PANEL) {
            const int64_t width = std::min(PANEL, k - at);
            for (int64_t p = 0; p < POSITIONS; p++) {
                const float *rows = positions + p * BLOCK * c, *panel = f + (p * k + at) * c;
                float *out = products + p * BLOCK * PANEL;
                width == PANEL ? times_panel<2>(rows, count, c, panel, out)
                               : times_panel<1>(rows, count, c, panel, out);
            }
            for (int64_t i = 0; i < count; i++) {
                float *image = y + (first + i) / each * area * k + at;
                const Tile tile((first + i) % each, h, w);
                if (BACK)
                    spread_tile_transposed(products + i * PANEL, BLOCK * PANEL, tile, k, width, image);
                else
                    gather_tile(products + i * PANEL, BLOCK * PANEL, tile, k, width, image);
            }
        }
    }
}

// So many images are taken together as fill a block of tiles, where one has fewer.
static inline int64_t images_together(int64_t h, int64_t w) {
    return std::max<int64_t>(BLOCK / (tiles_per(h) * tiles_per(w)), 1);
}

// ---- Instance normalisation, ReLU, average pooling 2x2 of one image ------------------------------------------------

// Mean and 1 / sqrt(variance + eps) of VECS * 8 channels over `pixels` pixels, `stride` apart in rows of w.
template <int VECS>
static inline void moments(const float *in, int64_t stride, int64_t h, int64_t w, float eps, float *mean, float *rstd) {
    // Shifted by the first pixel, so that the squares do not cancel; summed by rows, so that rounding stays small.
    vec shift[VECS], sum[VECS] = {}, squares[VECS] = {};
    for (int v = 0; v < VECS; v++) shift[v] = load(in + v * LANES);
    for (int64_t r = 0; r < h; r++) {
        vec row[VECS] = {}, row_squares[VECS] = {};
        for (int64_t q = 0; q < w; q++, in += stride)
            for (int v = 0; v < VECS; v++) {
                const vec value = load(in + v * LANES) - shift[v];
                row[v] += value;
                row_squares[v] += value * value;
            }
        for (int v = 0; v < VECS; v++) sum[v] += row[v], squares[v] += row_squares[v];
    }
    for (int v = 0; v < VECS; v++) {
        const vec offset = sum[v] / (float)(h * w), variance = squares[v] / (float)(h * w) - offset * offset;
        store(mean + v * LANES, offset + shift[v]);
        for (int64_t i = 0; i < LANES; i++)
            rstd[v * LANES + i] = 1.f / std::sqrt((variance[i] < 0 ? 0 : variance[i]) + eps);
    }
}

// y[h/2][w/2] = mean over 2x2 of max(0, gamma (x - mean) rstd + beta) for `channels` channels; an odd last row or
// column is dropped by the pooling but counts in the moments, which are written too.
static void norm_relu_pool(const float *x, int64_t stride, int64_t channels, const float *gamma, const float *beta,
                           float *y, int64_t y_stride, float *mean, float *rstd, int64_t h, int64_t w, float eps) {
    int64_t at = 0;
    for (; at + WIDE <= channels; at += WIDE) moments<4>(x + at, stride, h, w, eps, mean + at, rstd + at);
    for (; at < channels; at += LANES) moments<1>(x + at, stride, h, w, eps, mean + at, rstd + at);
    std::vector<float> line(2 * channels);  // slope and offset of each channel
    for (at = 0; at < channels; at += LANES) {
        const vec slope = load(rstd + at) * load(gamma + at);
        store(line.data() + at, slope);
        store(line.data() + channels + at, load(beta + at) - slope * load(mean + at));
    }
    for (int64_t r = 0; r < h / 2; r++)
        for (int64_t q = 0; q < w / 2; q++) {
            const float *corner = x + (2 * r * w + 2 * q) * stride;
            float *out = y + (r * (w / 2) + q) * y_stride;
            const int64_t window[4] = {0, stride, w * stride, (w + 1) * stride};
            for (at = 0; at < channels; at += LANES) {
                const vec slope = load(line.data() + at), offset = load(line.data() + channels + at);
                vec total = {};
                for (int64_t pixel : window) {
                    const vec z = slope * load(corner + pixel + at) + offset;
                    total += z < 0.f ? vec{} : z;  // this way round a NaN passes
                }
                store(out + at, 0.25f * total);
            }
        }
}

// Gradients of norm_relu_pool for the output gradient g (`g_stride` a pixel): dx like x, dgamma and dbeta. `dx` may be
// `x`.
static void norm_relu_pool_backward(const float *g, int64_t g_stride, const float *x, int64_t stride, int64_t channels,
                                    const float *gamma, const float *beta, const float *mean, const float *rstd,
                                    float *dx, int64_t dx_stride, float *dgamma, float *dbeta, int64_t h, int64_t w) {
    const int64_t rows = h / 2, columns = w / 2, window[4] = {0, stride, w * stride, (w + 1) * stride};
    const float share = 1.f / (float)(h * w);
    std::memset(dgamma, 0, sizeof(float) * channels);
    std::memset(dbeta, 0, sizeof(float) * channels);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < columns; q++)
            for (int64_t at = 0; at < channels; at += LANES) {
                const float *corner = x + (2 * r * w + 2 * q) * stride + at;
                const vec scale = load(rstd + at), centre = load(mean + at), slope = load(gamma + at);
                const vec bias = load(beta + at), grad = 0.25f * load(g + (r * columns + q) * g_stride + at);
                vec sum = {}, weighted = {};
                for (int64_t pixel : window) {
                    const vec unit = (load(corner + pixel) - centre) * scale;
                    const vec passed = slope * unit + bias > 0.f ? grad : vec{};
                    sum += passed;
                    weighted += passed * unit;
                }
                store(dbeta + at, load(dbeta + at) + sum);
                store(dgamma + at, load(dgamma + at) + weighted);
            }
    for (int64_t r = 0; r < h; r++)
        for (int64_t q = 0; q < w; q++) {
            const bool pooled = r < 2 * rows && q < 2 * columns;
            for (int64_t at = 0; at < channels; at += LANES) {
                const vec scale = load(rstd + at), slope = load(gamma + at);
                const vec unit = (load(x + (r * w + q) * stride + at) - load(mean + at)) * scale;
                const vec grad = pooled ? 0.25f * load(g + (r / 2 * columns + q / 2) * g_stride + at) : vec{};
                const vec passed = slope * unit + load(beta + at) > 0.f ? grad : vec{};
                const vec level = share * (load(dbeta + at) + unit * load(dgamma + at));
                store(dx + (r * w + q) * dx_stride + at, slope * scale * (passed - level));
            }
        }
}

// ---- 3x3 convolution of few channels: the inner loops --------------------------------------------------------------

static std::vector<float> with_border(const float *x, int64_t h, int64_t w, int64_t c) {
    std::vector<float> padded((h + 2) * (w + 2) * c);
    for (int64_t r = 0; r < h; r++)
        std::memcpy(padded.data() + ((r + 1) * (w + 2) + 1) * c, x + r * w * c, sizeof(float) * w * c);
    return padded;
}

// out[p][VECS] = sum over taps of pixel (scalar) times filter, for COUNT neighbouring pixels p of C channels.
template <int C, int COUNT, int VECS>
static inline void thin_pixels(const float *corner, int64_t line, int64_t channels, const float *f, int64_t k,
                               float *out, int64_t stride) {
    const int64_t c = C ? C : channels;  // known to the compiler for grey and RGB
    vec sum[COUNT][VECS] = {};
    for (int64_t i = 0; i < 3; i++)
        for (int64_t tap = 0; tap < 3 * c; tap++, f += k) {
            vec filter[VECS];
            UNROLL for (int v = 0; v < VECS; v++) filter[v] = load(f + v * LANES);
            UNROLL for (int p = 0; p < COUNT; p++)
                UNROLL for (int v = 0; v < VECS; v++) sum[p][v] += corner[i * line + tap + p * c] * filter[v];
        }
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + p * stride + v * LANES, sum[p][v]);
}

// out[tap][vectors] = sum over all pixels of x (scalar) times g (vectors), for three consecutive taps.
template <int VECS>
static inline void thin_taps(const float *x, const float *g, float *out, int64_t h, int64_t w, int64_t c, int64_t k) {
    vec sum[3][VECS] = {};
    for (int64_t r = 0; r < h; r++)
        for (int64_t q = 0; q < w; q++, g += k) {
            const float *pixel = x + (r * (w + 2) + q) * c;
            for (int v = 0; v < VECS; v++) {
                const vec up = load(g + v * LANES);
                for (int tap = 0; tap < 3; tap++) sum[tap][v] += pixel[tap] * up;
            }
        }
    UNROLL for (int tap = 0; tap < 3; tap++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + tap * k + v * LANES, sum[tap][v]);
}

// out[p][VECS of taps] += sum over k of g[p][k] (scalar) times t[k][taps], for COUNT neighbouring pixels p.
template <int COUNT, int VECS>
static inline void thin_spread(const float *g, int64_t stride, int64_t k, const float *t, float *out, int64_t taps) {
    vec sum[COUNT][VECS];
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) sum[p][v] = load(out + p * taps + v * LANES);
    for (int64_t channel = 0; channel < k; channel++, t += taps) {
        vec filter[VECS];
        UNROLL for (int v = 0; v < VECS; v++) filter[v] = load(t + v * LANES);
        UNROLL for (int p = 0; p < COUNT; p++)
            UNROLL for (int v = 0; v < VECS; v++) sum[p][v] += g[p * stride + channel] * filter[v];
    }
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + p * taps + v * LANES, sum[p][v]);
}

// The convolution of one image, with its border, to `width` channels of y, `stride` a pixel; filters f[9 c][k] from the
// first of these channels on.
template <int C>
static void thin_image_of(const float *padded, const float *f, int64_t k, float *y, int64_t stride, int64_t width,
                          int64_t h, int64_t w, int64_t c) {
    const int64_t line = (w + 2) * c;
    for (int64_t r = 0; r < h; r++)
        for (int64_t q = 0, pixels; q < w; q += pixels) {
            pixels = q + ROWS <= w ? ROWS : q + 2 <= w ? 2 : 1;
            for (int64_t at = 0; at < width; at += PANEL) {
                const float *corner = padded + r * line + q * c, *filters = f + at;
                float *out = y + (r * w + q) * stride + at;
                const bool both = at + PANEL <= width;
                if (pixels == ROWS)
                    both ? thin_pixels<C, 6, 2>(corner, line, c, filters, k, out, stride)
                         : thin_pixels<C, 6, 1>(corner, line, c, filters, k, out, stride);
                else if (pixels == 2)
                    both ? thin_pixels<C, 2, 2>(corner, line, c, filters, k, out, stride)
                         : thin_pixels<C, 2, 1>(corner, line, c, filters, k, out, stride);
                else
                    both ? thin_pixels<C, 1, 2>(corner, line, c, filters, k, out, stride)
                         : thin_pixels<C, 1, 1>(corner, line, c, filters, k, out, stride);
            }
        }
}

static void thin_image(const float *padded, const float *f, int64_t k, float *y, int64_t stride, int64_t width,
                       int64_t h, int64_t w, int64_t c) {
    if (c == 3) return thin_image_of<3>(padded, f, k, y, stride, width, h, w, c);
    if (c == 1) return thin_image_of<1>(padded, f, k, y, stride, width, h, w, c);
    thin_image_of<0>(padded, f, k, y, stride, width, h, w, c);
}

// Gradient of the convolution in one image, first half: what each pixel of g, of k channels `stride` a pixel, adds to
// its taps, sums[pixels][taps]. Filters come as t[k][taps]: transposed, the 9 c taps filled up with zeros to 8 n.
static void thin_image_spread(const float *g, int64_t stride, int64_t k, const float *t, float *sums, int64_t pixels,
                              int64_t taps) {
    for (int64_t q = 0, count; q < pixels; q += count) {
        count = q + ROWS <= pixels ? ROWS : q + 2 <= pixels ? 2 : 1;
        for (int64_t at = 0; at < taps; at += PANEL) {
            const float *up = g + q * stride, *filters = t + at;
            float *out = sums + q * taps + at;
            const bool both = at + PANEL <= taps;
            if (count == ROWS)
                both ? thin_spread<6, 2>(up, stride, k, filters, out, taps)
                     : thin_spread<6, 1>(up, stride, k, filters, out, taps);
            else if (count == 2)
                both ? thin_spread<2, 2>(up, stride, k, filters, out, taps)
                     : thin_spread<2, 1>(up, stride, k, filters, out, taps);
            else
                both ? thin_spread<1, 2>(up, stride, k, filters, out, taps)
                     : thin_spread<1, 1>(up, stride, k, filters, out, taps);
        }
    }
}

// Second half: dx[h][w][c], every pixel with what the taps that lie on it were given.
static void thin_image_collect(const float *sums, int64_t taps, float *dx, int64_t h, int64_t w, int64_t c) {
    const int64_t line = (w + 2) * c;
    std::vector<float> padded((h + 2) * line);
    for (int64_t r = 0; r < h; r++)
        for (int64_t q = 0; q < w; q++, sums += taps)
            for (int64_t i = 0; i < 3; i++) {
                float *to = padded.data() + (r + i) * line + q * c;
                for (int64_t j = 0; j < 3 * c; j++) to[j] += sums[i * 3 * c + j];
            }
    for (int64_t r = 0; r < h; r++)
        std::memcpy(dx + r * w * c, padded.data() + (r + 1) * line + c, sizeof(float) * w * c);
}

static inline int64_t whole_taps(int64_t c) { return (9 * c + LANES - 1) / LANES * LANES; }

extern "C" {

// ---- Convolution of many channels, by tiles. Filters are packed, see by_tiles --------------------------------------

// f = G g G^T of 3x3 filters, as rows x columns matrices packed into panels of 16 columns. The filter of a row and a
// column begins at g + row * row_stride + column * column_stride.
void winograd_filters(const float *g, float *f, int64_t rows, int64_t columns, int64_t row_stride,
                      int64_t column_stride) {
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += LANES) {
        const int64_t panel = first / PANEL * PANEL, width = std::min(PANEL, columns - panel);
        for (int64_t row = 0; row < rows; row++) {
            vec filter[3][3], out[SPAN][SPAN];
            for (int64_t lane = 0; lane < LANES; lane++)
                for (int64_t tap = 0; tap < 9; tap++)
                    filter[tap / 3][tap % 3][lane] = g[row * row_stride + (first + lane) * column_stride + tap];
            both_ways(filter, out, transform_filter);
            for (int64_t p = 0; p < POSITIONS; p++)
                store(f + (p * columns + panel) * rows + row * width + first - panel, out[p / SPAN][p % SPAN]);
        }
    }
}

void winograd_convolve(const float *x, const float *f, float *y, int64_t n, int64_t h, int64_t w, int64_t c,
                       int64_t k) {
    const int64_t step = images_together(h, w);
#pragma omp parallel
    {
        Workspace space(c);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += step)
            by_tiles<false>(x + i * h * w * c, f, y + i * h * w * k, std::min(step, n - i), h, w, c, k, space);
    }
}

// Gradient of winograd_convolve in its input: dx[n][h][w][c] for g[n][h][w][k]; filters packed with sides swapped.
void winograd_to_input(const float *g, const float *f, float *dx, int64_t n, int64_t h, int64_t w, int64_t c,
                       int64_t k) {
    const int64_t step = images_together(h, w);
#pragma omp parallel
    {
        Workspace space(k);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += step)
            by_tiles<true>(g + i * h * w * k, f, dx + i * h * w * c, std::min(step, n - i), h, w, k, c, space);
    }
}

// What the gradient in the filters is a product of: v[36][tiles][c] of the input, m[36][tiles][k] of the gradient.
void winograd_spread(const float *x, float *v, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t each = tiles_per(h) * tiles_per(w), tiles = n * each;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++)
        spread_tile(x + t / each * h * w * c, Tile(t % each, h, w), c, c, v + t * c, tiles * c);
}

void winograd_gather_transposed(const float *y, float *m, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t each = tiles_per(h) * tiles_per(w), tiles = n * each;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++)
        gather_tile_transposed(y + t / each * h * w * c, Tile(t % each, h, w), c, c, m + t * c, tiles * c);
}

// The convolution, instance norm, ReLU and pooling: out[n][h/2][w/2][k], mean and rstd [n][k]; the convolution's output
// is kept in y unless that is null.
void winograd_block(const float *x, const float *f, const float *gamma, const float *beta, float *y, float *out,
                    float *mean, float *rstd, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, float eps) {
    const int64_t step = images_together(h, w), area = h * w, pooled = (h / 2) * (w / 2);
#pragma omp parallel
    {
        Workspace space(c);
        std::vector<float> own(y ? 0 : step * area * k);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += step) {
            const int64_t images = std::min(step, n - i);
            float *between = y ? y + i * area * k : own.data();
            by_tiles<false>(x + i * area * c, f, between, images, h, w, c, k, space);
            for (int64_t j = 0; j < images; j++)
                norm_relu_pool(between + j * area * k, k, k, gamma, beta, out + (i + j) * pooled * k, k,
                               mean + (i + j) * k, rstd + (i + j) * k, h, w, eps);
        }
    }
}

// Gradients of winograd_block for g[n][h/2][w/2][k]: in its input (dx, filters with sides swapped), in the convolution's
// output (dy), either null if it is not wanted, and by image in gamma and beta, [n][k].
void winograd_block_backward(const float *g, const float *y, const float *f, const float *gamma, const float *beta,
                             const float *mean, const float *rstd, float *dx, float *dy, float *dgamma, float *dbeta,
                             int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
    const int64_t step = images_together(h, w), area = h * w, pooled = (h / 2) * (w / 2);
#pragma omp parallel
    {
        Workspace space(k);
        std::vector<float> own(dy ? 0 : step * area * k);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += step) {
            const int64_t images = std::min(step, n - i);
            float *between = dy ? dy + i * area * k : own.data();
            for (int64_t j = 0; j < images; j++)
                norm_relu_pool_backward(g + (i + j) * pooled * k, k, y + (i + j) * area * k, k, k, gamma, beta,
                                        mean + (i + j) * k, rstd + (i + j) * k, between + j * area * k, k,
                                        dgamma + (i + j) * k, dbeta + (i + j) * k, h, w);
            if (dx) by_tiles<true>(between, f, dx + i * area * c, images, h, w, k, c, space);
        }
    }
}

// ---- Convolution of few channels (a first layer), too thin for tiles -----------------------------------------------
//
// Filters are f[9 c][k], taps in the order (row, column, channel), so that the taps of a row are consecutive in a padded
// image; or transposed, t[k][taps], see thin_image_spread. Each inner loop keeps 12 vectors of sums in registers.

void thin_convolve(const float *x, const float *f, float *y, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        const std::vector<float> padded = with_border(x + image * h * w * c, h, w, c);
        thin_image(padded.data(), f, k, y + image * h * w * k, k, k, h, w, c);
    }
}

void thin_to_input(const float *g, const float *t, float *dx, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
    const int64_t taps = whole_taps(c);
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        std::vector<float> sums(h * w * taps);
        thin_image_spread(g + image * h * w * k, k, k, t, sums.data(), h * w, taps);
        thin_image_collect(sums.data(), taps, dx + image * h * w * c, h, w, c);
    }
}

// Gradient of thin_convolve in the filters, image by image: df[n][9 c][k].
void thin_to_filters(const float *x, const float *g, float *df, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        const std::vector<float> padded = with_border(x + image * h * w * c, h, w, c);
        const float *up = g + image * h * w * k;
        for (int64_t tap = 0; tap < 9 * c; tap += 3) {
            const float *first = padded.data() + tap / (3 * c) * (w + 2) * c + tap % (3 * c);
            float *out = df + (image * 9 * c + tap) * k;
            int64_t at = 0;
            for (; at + 4 * LANES <= k; at += 4 * LANES) thin_taps<4>(first, up + at, out + at, h, w, c, k);
            for (; at < k; at += LANES) thin_taps<1>(first, up + at, out + at, h, w, c, k);
        }
    }
}

// As winograd_block; a few channels of the convolution's output are made at a time, and none are kept.
void thin_block(const float *x, const float *f, const float *gamma, const float *beta, float *out, float *mean,
                float *rstd, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, float eps) {
    const int64_t pooled = (h / 2) * (w / 2);
#pragma omp parallel
    {
        std::vector<float> y(h * w * WIDE);
#pragma omp for schedule(static)
        for (int64_t image = 0; image < n; image++) {
            const std::vector<float> padded = with_border(x + image * h * w * c, h, w, c);
            for (int64_t at = 0; at < k; at += WIDE) {
                const int64_t width = std::min(WIDE, k - at);
                thin_image(padded.data(), f + at, k, y.data(), width, width, h, w, c);
                norm_relu_pool(y.data(), width, width, gamma + at, beta + at, out + image * pooled * k + at, k,
                               mean + image * k + at, rstd + image * k + at, h, w, eps);
            }
        }
    }
}

// As winograd_block_backward; the convolution's output is made again.
void thin_block_backward(const float *g, const float *x, const float *f, const float *t, const float *gamma,
                         const float *beta, const float *mean, const float *rstd, float *dx, float *dy, float *dgamma,
                         float *dbeta, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
    const int64_t area = h * w, pooled = (h / 2) * (w / 2), taps = whole_taps(c);
#pragma omp parallel
    {
        std::vector<float> y(area * WIDE), sums(area * taps);
#pragma omp for schedule(static)
        for (int64_t image = 0; image < n; image++) {
            const std::vector<float> padded = with_border(x + image * area * c, h, w, c);
            std::fill(sums.begin(), sums.end(), 0.f);
            for (int64_t at = 0; at < k; at += WIDE) {
                const int64_t width = std::min(WIDE, k - at), stride = dy ? k : width;
                float *between = dy ? dy + image * area * k + at : y.data();  // over y itself, if nobody wants it
                thin_image(padded.data(), f + at, k, y.data(), width, width, h, w, c);
                norm_relu_pool_backward(g + image * pooled * k + at, k, y.data(), width, width, gamma + at, beta + at,
                                        mean + image * k + at, rstd + image * k + at, between, stride,
                                        dgamma + image * k + at, dbeta + image * k + at, h, w);
                if (dx) thin_image_spread(between, stride, width, t + at * taps, sums.data(), area, taps);
            }
            if (dx) thin_image_collect(sums.data(), taps, dx + image * area * c, h, w, c);
        }
    }
}

}  // extern "C"
