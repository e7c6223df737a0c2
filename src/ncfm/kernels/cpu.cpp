// The loops of `ncfm.kernels` that a CPU spends its time in. Plain functions on float32 arrays, called through ctypes.
//
// Every array is dense. Images are channels-last: x[n][row][column][channel]; channels are a multiple of 8, except for
// the input channels of the thin convolution. Each function fills its whole output, each output element is written by one thread, and sums run in a
// fixed order: the same input gives the same bits for any number of threads.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

typedef float vec __attribute__((vector_size(32)));  // 8 floats: one AVX register, two of SSE or NEON
static const int64_t LANES = 8;
static const int TILE = 4, SPAN = 6;  // output pixels of a tile per side, and input pixels they depend on

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

// ---- 3x3 convolution of few channels: the inner loops --------------------------------------------------------------

static std::vector<float> with_border(const float *x, int64_t h, int64_t w, int64_t c) {
    std::vector<float> padded((h + 2) * (w + 2) * c);
    for (int64_t r = 0; r < h; r++)
        std::memcpy(padded.data() + ((r + 1) * (w + 2) + 1) * c, x + r * w * c, sizeof(float) * w * c);
    return padded;
}

// out[p][vectors] = sum over taps of pixel (scalar) times filter (vectors), for neighbouring pixels p.
template <int PIXELS, int VECS>
static inline void thin_pixels(const float *corner, int64_t line, int64_t c, const float *f, float *out, int64_t k) {
    vec sum[PIXELS][VECS] = {};
    for (int64_t i = 0; i < 3; i++)
        for (int64_t tap = 0; tap < 3 * c; tap++, f += k)
            for (int v = 0; v < VECS; v++) {
                const vec filter = load(f + v * LANES);
                for (int p = 0; p < PIXELS; p++) sum[p][v] += corner[i * line + tap + p * c] * filter;
            }
    for (int p = 0; p < PIXELS; p++)
        for (int v = 0; v < VECS; v++) store(out + p * k + v * LANES, sum[p][v]);
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
    for (int tap = 0; tap < 3; tap++)
        for (int v = 0; v < VECS; v++) store(out + tap * k + v * LANES, sum[tap][v]);
}

// out[p][taps] = sum over k of g[p][k] (scalar) times t[k][taps] (vectors), for neighbouring pixels p.
template <int PIXELS, int VECS>
static inline void thin_spread(const float *g, const float *t, float *out, int64_t taps, int64_t k) {
    vec sum[PIXELS][VECS] = {};
    for (int64_t channel = 0; channel < k; channel++, t += taps)
        for (int v = 0; v < VECS; v++) {
            const vec filter = load(t + v * LANES);
            for (int p = 0; p < PIXELS; p++) sum[p][v] += g[p * k + channel] * filter;
        }
    for (int p = 0; p < PIXELS; p++)
        for (int v = 0; v < VECS; v++) store(out + p * taps + v * LANES, sum[p][v]);
}

extern "C" {

// v[36][tiles][c] = B^T d B of the 6x6 span d of x around each 4x4 tile; x is zero outside the image.
void winograd_spread(const float *x, float *v, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t down = tiles_per(h), across = tiles_per(w), tiles = n * down * across;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t image = t / (down * across), row = t / across % down * TILE - 1, column = t % across * TILE - 1;
        for (int64_t at = 0; at < c; at += LANES) {
            vec d[SPAN][SPAN], out[SPAN][SPAN];
            for (int i = 0; i < SPAN; i++)
                for (int j = 0; j < SPAN; j++) {
                    const int64_t r = row + i, q = column + j;
                    const bool inside = r >= 0 && r < h && q >= 0 && q < w;
                    d[i][j] = inside ? load(x + ((image * h + r) * w + q) * c + at) : vec{};
                }
            both_ways(d, out, transform_span);
            for (int i = 0; i < SPAN; i++)
                for (int j = 0; j < SPAN; j++) store(v + ((i * SPAN + j) * tiles + t) * c + at, out[i][j]);
        }
    }
}

// The transpose of winograd_spread: x[n][h][w][c] = sum over tiles of B v B^T, overlapping spans added.
void winograd_spread_transposed(const float *v, float *x, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t down = tiles_per(h), across = tiles_per(w), tiles = n * down * across;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        std::memset(x + image * h * w * c, 0, sizeof(float) * h * w * c);
        for (int64_t t = image * down * across; t < (image + 1) * down * across; t++) {
            const int64_t row = t / across % down * TILE - 1, column = t % across * TILE - 1;
            for (int64_t at = 0; at < c; at += LANES) {
                vec block[SPAN][SPAN], d[SPAN][SPAN];
                for (int i = 0; i < SPAN; i++)
                    for (int j = 0; j < SPAN; j++) block[i][j] = load(v + ((i * SPAN + j) * tiles + t) * c + at);
                both_ways(block, d, transform_span_transposed);
                for (int i = 0; i < SPAN; i++)
                    for (int j = 0; j < SPAN; j++) {
                        const int64_t r = row + i, q = column + j;
                        if (r < 0 || r >= h || q < 0 || q >= w) continue;
                        float *p = x + ((image * h + r) * w + q) * c + at;
                        store(p, load(p) + d[i][j]);
                    }
            }
        }
    }
}

// y[n][h][w][c] = A^T m A of each tile's 36 products m[36][tiles][c].
void winograd_gather(const float *m, float *y, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t down = tiles_per(h), across = tiles_per(w), tiles = n * down * across;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t image = t / (down * across), row = t / across % down * TILE, column = t % across * TILE;
        for (int64_t at = 0; at < c; at += LANES) {
            vec block[SPAN][SPAN], out[TILE][TILE];
            for (int i = 0; i < SPAN; i++)
                for (int j = 0; j < SPAN; j++) block[i][j] = load(m + ((i * SPAN + j) * tiles + t) * c + at);
            both_ways(block, out, transform_product);
            for (int i = 0; i < TILE && row + i < h; i++)
                for (int j = 0; j < TILE && column + j < w; j++)
                    store(y + ((image * h + row + i) * w + column + j) * c + at, out[i][j]);
        }
    }
}

// The transpose of winograd_gather: m[36][tiles][c] = A y A^T, with y zero outside the image.
void winograd_gather_transposed(const float *y, float *m, int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t down = tiles_per(h), across = tiles_per(w), tiles = n * down * across;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t image = t / (down * across), row = t / across % down * TILE, column = t % across * TILE;
        for (int64_t at = 0; at < c; at += LANES) {
            vec block[TILE][TILE], out[SPAN][SPAN];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < TILE; j++) {
                    const bool inside = row + i < h && column + j < w;
                    block[i][j] = inside ? load(y + ((image * h + row + i) * w + column + j) * c + at) : vec{};
                }
            both_ways(block, out, transform_product_transposed);
            for (int i = 0; i < SPAN; i++)
                for (int j = 0; j < SPAN; j++) store(m + ((i * SPAN + j) * tiles + t) * c + at, out[i][j]);
        }
    }
}

// ---- 3x3 convolution of few channels (a first layer), too thin for tiles -------------------------------------------
//
// Filters are f[9 c][k], taps in the order (row, column, channel), so that the taps of a row are consecutive in a padded
// image. Each inner loop keeps 12 vectors of sums in registers.

// y[n][h][w][k] = sum over taps of x f; zero padding 1.
void thin_convolve(const float *x, const float *f, float *y, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        const std::vector<float> padded = with_border(x + image * h * w * c, h, w, c);
        const int64_t line = (w + 2) * c;
        for (int64_t r = 0; r < h; r++)
            for (int64_t q = 0; q < w;) {
                const float *corner = padded.data() + r * line + q * c;
                float *out = y + ((image * h + r) * w + q) * k;
                const int64_t pixels = q + 3 <= w ? 3 : 1;
                int64_t at = 0;
                for (; at + 4 * LANES <= k; at += 4 * LANES)
                    pixels == 3 ? thin_pixels<3, 4>(corner, line, c, f + at, out + at, k)
                                : thin_pixels<1, 4>(corner, line, c, f + at, out + at, k);
                for (; at < k; at += LANES)
                    pixels == 3 ? thin_pixels<3, 1>(corner, line, c, f + at, out + at, k)
                                : thin_pixels<1, 1>(corner, line, c, f + at, out + at, k);
                q += pixels;
            }
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

// Gradient of thin_convolve in the image: dx[n][h][w][c]. Filters come as t[k][taps]: transposed, the 9 c taps filled
// up with zeros to a multiple of LANES.
void thin_to_input(const float *g, const float *t, float *dx, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
    const int64_t taps = (9 * c + LANES - 1) / LANES * LANES, line = (w + 2) * c;
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        std::vector<float> padded((h + 2) * line), sums(3 * taps);
        for (int64_t r = 0; r < h; r++)
            for (int64_t q = 0; q < w;) {
                const float *up = g + ((image * h + r) * w + q) * k;
                const int64_t pixels = q + 3 <= w ? 3 : 1;
                int64_t at = 0;
                for (; at + 4 * LANES <= taps; at += 4 * LANES)
                    pixels == 3 ? thin_spread<3, 4>(up, t + at, sums.data() + at, taps, k)
                                : thin_spread<1, 4>(up, t + at, sums.data() + at, taps, k);
                for (; at < taps; at += LANES)
                    pixels == 3 ? thin_spread<3, 1>(up, t + at, sums.data() + at, taps, k)
                                : thin_spread<1, 1>(up, t + at, sums.data() + at, taps, k);
                for (int64_t p = 0; p < pixels; p++, q++)
                    for (int64_t i = 0; i < 3; i++) {
                        float *to = padded.data() + (r + i) * line + q * c;
                        const float *from = sums.data() + p * taps + i * 3 * c;
                        for (int64_t j = 0; j < 3 * c; j++) to[j] += from[j];
                    }
            }
        for (int64_t r = 0; r < h; r++)
            std::memcpy(dx + (image * h + r) * w * c, padded.data() + (r + 1) * line + c, sizeof(float) * w * c);
    }
}

// ---- instance normalisation, ReLU, average pooling 2x2 in two reads of x ------------------------------------------

// y[n][h/2][w/2][c] = mean over 2x2 of max(0, gamma (x - mean) rstd + beta); an odd last row or column is dropped by
// the pooling but counts in the statistics. mean, rstd: [n][c].
void norm_relu_pool(const float *x, const float *gamma, const float *beta, float *y, float *mean, float *rstd,
                    int64_t n, int64_t h, int64_t w, int64_t c, float eps) {
    const int64_t rows = h / 2, columns = w / 2, window[4] = {0, c, w * c, (w + 1) * c};
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        const float *in = x + image * h * w * c;
        float *mu = mean + image * c, *scale = rstd + image * c;
        for (int64_t at = 0; at < c; at += LANES) {
            // Shifted by the first pixel, so that the squares do not cancel; 4 partial sums for the pipeline.
            const vec shift = load(in + at);
            vec sum[4] = {}, squares[4] = {};
            for (int64_t p = 0; p < h * w; p++) {
                const vec value = load(in + p * c + at) - shift;
                sum[p & 3] += value;
                squares[p & 3] += value * value;
            }
            const vec offset = (sum[0] + sum[1] + sum[2] + sum[3]) / (float)(h * w);
            const vec square = (squares[0] + squares[1] + squares[2] + squares[3]) / (float)(h * w);
            const vec variance = square - offset * offset;
            store(mu + at, offset + shift);
            for (int64_t k = 0; k < LANES; k++) scale[at + k] = 1.f / std::sqrt((variance[k] < 0 ? 0 : variance[k]) + eps);
        }
        for (int64_t r = 0; r < rows; r++)
            for (int64_t q = 0; q < columns; q++) {
                const float *corner = in + (2 * r * w + 2 * q) * c;
                float *out = y + ((image * rows + r) * columns + q) * c;
                for (int64_t at = 0; at < c; at += LANES) {
                    const vec slope = load(scale + at) * load(gamma + at);
                    const vec bias = load(beta + at) - slope * load(mu + at);
                    vec total = {};
                    for (int64_t pixel : window) {
                        const vec z = slope * load(corner + pixel + at) + bias;
                        total += z < 0.f ? vec{} : z;  // this way round a NaN passes
                    }
                    store(out + at, 0.25f * total);
                }
            }
    }
}

// Gradients of norm_relu_pool for the output gradient g: dx like x, and per image dgamma[n][c], dbeta[n][c].
void norm_relu_pool_backward(const float *g, const float *x, const float *gamma, const float *beta, const float *mean,
                             const float *rstd, float *dx, float *dgamma, float *dbeta, int64_t n, int64_t h,
                             int64_t w, int64_t c) {
    const int64_t rows = h / 2, columns = w / 2, window[4] = {0, c, w * c, (w + 1) * c};
    const float share = 1.f / (float)(h * w);
#pragma omp parallel for schedule(static)
    for (int64_t image = 0; image < n; image++) {
        const float *in = x + image * h * w * c, *up = g + image * rows * columns * c;
        float *out = dx + image * h * w * c, *to_gamma = dgamma + image * c, *to_beta = dbeta + image * c;
        std::memset(to_gamma, 0, sizeof(float) * c);
        std::memset(to_beta, 0, sizeof(float) * c);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t q = 0; q < columns; q++)
                for (int64_t at = 0; at < c; at += LANES) {
                    const float *corner = in + (2 * r * w + 2 * q) * c + at;
                    const vec scale = load(rstd + image * c + at), centre = load(mean + image * c + at);
                    const vec slope = load(gamma + at), bias = load(beta + at);
                    const vec grad = 0.25f * load(up + (r * columns + q) * c + at);
                    vec sum = {}, weighted = {};
                    for (int64_t pixel : window) {
                        const vec unit = (load(corner + pixel) - centre) * scale;
                        const vec passed = slope * unit + bias > 0.f ? grad : vec{};
                        sum += passed;
                        weighted += passed * unit;
                    }
                    store(to_beta + at, load(to_beta + at) + sum);
                    store(to_gamma + at, load(to_gamma + at) + weighted);
                }
        for (int64_t r = 0; r < h; r++)
            for (int64_t q = 0; q < w; q++) {
                const bool pooled = r < 2 * rows && q < 2 * columns;
                for (int64_t at = 0; at < c; at += LANES) {
                    const vec scale = load(rstd + image * c + at), slope = load(gamma + at);
                    const vec unit = (load(in + (r * w + q) * c + at) - load(mean + image * c + at)) * scale;
                    const vec grad = pooled ? 0.25f * load(up + (r / 2 * columns + q / 2) * c + at) : vec{};
                    const vec passed = slope * unit + load(beta + at) > 0.f ? grad : vec{};
                    const vec level = share * (load(to_beta + at) + unit * load(to_gamma + at));
                    store(out + (r * w + q) * c + at, slope * scale * (passed - level));
                }
            }
    }
}

}  // extern "C"
