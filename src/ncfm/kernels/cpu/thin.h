// Convolution 3x3 of few channels (a first layer), too thin for tiles: directly, for one image and a slice of its
// output channels at a time.
//
// Taps are in the order (row, column, channel), so that those of a row are consecutive in an image with a border.

#pragma once

#include "vectors.h"

static const int64_t SLICE = 32;                  // output channels that are made at a time
static const int64_t TAPS = LANES == 16 ? 9 : 3;  // taps whose gradients fit into the registers with a slice

static inline int64_t whole(int64_t channels) { return parts(channels, LANES) * LANES; }

// The sizes of a thin convolution: images of h x w pixels, from c to k channels.
struct ThinSizes {
    int64_t h, w, c, k;

    int64_t area() const { return h * w; }
    int64_t line() const { return (w + 2) * c; }  // of an image with a border
};

// An image with a border of zeros.
struct Bordered {
    Buffer<float> data;
    ThinSizes s;

    explicit Bordered(ThinSizes s) : data((s.h + 2) * s.line()), s(s) { clear(); }
    void clear() { std::memset(data, 0, sizeof(float) * (s.h + 2) * s.line()); }
    float *row(int64_t r) const { return data + (r + 1) * s.line() + s.c; }

    void fill(const float *x) {
        for (int64_t r = 0; r < s.h; r++) std::memcpy(row(r), x + r * s.w * s.c, sizeof(float) * s.w * s.c);
    }
    void copy_to(float *x) const {
        for (int64_t r = 0; r < s.h; r++) std::memcpy(x + r * s.w * s.c, row(r), sizeof(float) * s.w * s.c);
    }
};

// Filters as f[9 c][k] and transposed, t[k][9 c], both filled up with zeros to whole registers.
struct ThinFilters {
    int64_t width, taps;
    Buffer<float> f, t;

    ThinFilters(const float *weight, ThinSizes s)
        : width(whole(s.k)), taps(whole(9 * s.c)), f(9 * s.c * width), t(s.k * taps) {
        std::memset(f, 0, sizeof(float) * 9 * s.c * width);
        std::memset(t, 0, sizeof(float) * s.k * taps);
        for (int64_t k = 0; k < s.k; k++)
            for (int64_t c = 0; c < s.c; c++)
                for (int64_t tap = 0; tap < 9; tap++)
                    f[(tap * s.c + c) * width + k] = t[k * taps + tap * s.c + c] = weight[(k * s.c + c) * 9 + tap];
    }
};

// ---- Inner loops: products of scalars and vectors, COUNT x VECS sums in registers -----------------------------------

// out[p][VECS] = sum over taps of pixel times filter, for COUNT neighbouring pixels p of C channels.
template <int C, int VECS, int COUNT>
static inline void thin_pixels(const float *corner, int64_t line, int64_t channels, const float *f, int64_t width,
                               float *out, int64_t stride) {
    const int64_t c = C ? C : channels;  // known to the compiler for grey and RGB
    vec sum[COUNT][VECS] = {};
    for (int64_t i = 0; i < 3; i++, corner += line) {
        const float *pixel = corner;
        for (int64_t tap = 0; tap < 3 * c; tap++, pixel++, f += width) {
            vec filter[VECS];
            UNROLL for (int v = 0; v < VECS; v++) filter[v] = load(f + v * LANES);
            UNROLL for (int p = 0; p < COUNT; p++)
                UNROLL for (int v = 0; v < VECS; v++) sum[p][v] += pixel[p * c] * filter[v];
        }
    }
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + p * stride + v * LANES, sum[p][v]);
}

// out[tap][VECS] += sum over all pixels of x times g, for COUNT consecutive taps.
template <int COUNT, int VECS>
static inline void thin_taps(const float *x, ThinSizes s, const float *g, int64_t stride, float *out, int64_t width) {
    vec sum[COUNT][VECS] = {};
    for (int64_t r = 0; r < s.h; r++)
        for (int64_t q = 0; q < s.w; q++, g += stride) {
            const float *pixel = x + r * s.line() + q * s.c;
            vec up[VECS];
            UNROLL for (int v = 0; v < VECS; v++) up[v] = load(g + v * LANES);
            UNROLL for (int tap = 0; tap < COUNT; tap++)
                UNROLL for (int v = 0; v < VECS; v++) sum[tap][v] += pixel[tap] * up[v];
        }
    UNROLL for (int tap = 0; tap < COUNT; tap++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + tap * width + v * LANES, sum[tap][v]);
}

// out[p][VECS of taps] += sum over channels of g[p] times t[channel][taps], for COUNT neighbouring pixels p.
template <int VECS, int COUNT>
static inline void thin_spread(const float *g, int64_t stride, int64_t channels, const float *t, int64_t taps,
                               float *out) {
    vec sum[COUNT][VECS];
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) sum[p][v] = load(out + p * taps + v * LANES);
    for (int64_t k = 0; k < channels; k++, t += taps) {
        vec filter[VECS];
        UNROLL for (int v = 0; v < VECS; v++) filter[v] = load(t + v * LANES);
        UNROLL for (int p = 0; p < COUNT; p++)
            UNROLL for (int v = 0; v < VECS; v++) sum[p][v] += g[p * stride + k] * filter[v];
    }
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + p * taps + v * LANES, sum[p][v]);
}

// Call body(vecs, at) for one or two panels of channels at a time, `width` in all, in whole panels.
template <typename Body>
static inline void each_pair(int64_t width, Body body) {
    int64_t at = 0;
    for (; at + 2 * LANES <= width; at += 2 * LANES) body(std::integral_constant<int, 2>(), at);
    if (at < width) body(std::integral_constant<int, 1>(), at);
}

// ---- A slice of an image's output channels, or of their gradients: y[pixels][stride] --------------------------------

struct Slice {
    int64_t at, channels, stride;  // the first, how many, and these in whole panels

    Slice(int64_t at, int64_t k) : at(at), channels(std::min(SLICE, k - at)), stride(whole(channels)) {}
};

template <int C>
static void thin_convolve_of(const Bordered &x, const ThinFilters &filters, Slice slice, float *y) {
    const ThinSizes s = x.s;
    for (int64_t r = 0; r < s.h; r++)
        each_part(s.w, [&](auto count, int64_t q) {
            each_pair(slice.stride, [&](auto vecs, int64_t at) {
                thin_pixels<C, vecs, count>(x.data + r * s.line() + q * s.c, s.line(), s.c,
                                            filters.f + slice.at + at, filters.width,
                                            y + (r * s.w + q) * slice.stride + at, slice.stride);
            });
        });
}

// y = the convolution of x.
static void thin_convolve_slice(const Bordered &x, const ThinFilters &filters, Slice slice, float *y) {
    if (x.s.c == 3) return thin_convolve_of<3>(x, filters, slice, y);
    if (x.s.c == 1) return thin_convolve_of<1>(x, filters, slice, y);
    thin_convolve_of<0>(x, filters, slice, y);
}

// The gradient of the filters, df[9 c][width], in the columns of this slice.
static void thin_to_filters(const Bordered &x, const float *dy, Slice slice, float *df, int64_t width) {
    for (int64_t row = 0; row < 3; row++)
        for (int64_t tap = 0, count; tap < 3 * x.s.c; tap += count) {
            count = 3 * x.s.c - tap >= TAPS ? TAPS : 3;
            const float *first = x.data + row * x.s.line() + tap;
            float *out = df + (row * 3 * x.s.c + tap) * width + slice.at;
            int64_t at = 0;
            for (; at + SLICE <= slice.stride; at += SLICE)
                count == TAPS ? thin_taps<TAPS, SLICE / LANES>(first, x.s, dy + at, slice.stride, out + at, width)
                              : thin_taps<3, SLICE / LANES>(first, x.s, dy + at, slice.stride, out + at, width);
            for (; at < slice.stride; at += LANES)
                count == TAPS ? thin_taps<TAPS, 1>(first, x.s, dy + at, slice.stride, out + at, width)
                              : thin_taps<3, 1>(first, x.s, dy + at, slice.stride, out + at, width);
        }
}

// What each pixel of a gradient gives to its taps is added to sums[pixels][taps].
static void thin_to_taps(const float *dy, const ThinFilters &filters, Slice slice, int64_t pixels, float *sums) {
    each_part(pixels, [&](auto count, int64_t p) {
        each_pair(filters.taps, [&](auto vecs, int64_t at) {
            thin_spread<vecs, count>(dy + p * slice.stride, slice.stride, slice.channels,
                                     filters.t + slice.at * filters.taps + at, filters.taps,
                                     sums + p * filters.taps + at);
        });
    });
}

// dx: every pixel with what the taps that lie on it were given.
static void taps_to_image(const float *sums, int64_t taps, Bordered &image, float *dx) {
    const ThinSizes s = image.s;
    image.clear();
    for (int64_t r = 0; r < s.h; r++)
        for (int64_t q = 0; q < s.w; q++, sums += taps)
            for (int64_t i = 0; i < 3; i++) {
                float *to = image.data + (r + i) * s.line() + q * s.c;
                for (int64_t j = 0; j < 3 * s.c; j++) to[j] += sums[i * 3 * s.c + j];
            }
    image.copy_to(dx);
}

// dw[k][c][3][3] = the sum of df[n][9 c][width] over the images, in their order.
static void sum_of_images(const float *df, int64_t n, int64_t width, ThinSizes s, float *dw) {
#pragma omp parallel for schedule(static)
    for (int64_t tap = 0; tap < 9 * s.c; tap++)
        for (int64_t k = 0; k < width; k += LANES) {
            vec sum = {};
            for (int64_t i = 0; i < n; i++) sum += load(df + (i * 9 * s.c + tap) * width + k);
            for (int64_t lane = 0; lane < std::min(LANES, s.k - k); lane++)
                dw[((k + lane) * s.c + tap % s.c) * 9 + tap / s.c] = sum[lane];
        }
}

// Copy the channels of a slice between images of `from_stride` and `to_stride` floats a pixel.
static void copy_channels(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t channels,
                          int64_t pixels) {
    for (int64_t p = 0; p < pixels; p++) std::memcpy(to + p * to_stride, from + p * from_stride, 4 * channels);
}
