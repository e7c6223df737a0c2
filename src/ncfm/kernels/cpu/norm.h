// Instance normalisation, ReLU and average pooling 2x2 of one image, forward and backward.

#pragma once

#include <cmath>

#include "vectors.h"

// Some channels of an image of h x w pixels, `stride` floats from pixel to pixel.
struct Image {
    const float *data;
    int64_t stride, h, w;
};

// What the norm of these channels works with: two parameters, and the moments of this image.
struct Norm {
    const float *gamma, *beta;
    float *mean, *rstd;  // rstd = 1 / sqrt(variance + eps)

    Norm from(int64_t at) const { return {gamma + at, beta + at, mean + at, rstd + at}; }
};

// Sum and sum of squares of two neighbouring chains of additions, which do not wait for each other.
struct Sums {
    vec sum[2] = {}, squares[2] = {};

    void add(int chain, vec value) {
        sum[chain] += value;
        squares[chain] += value * value;
    }
};

template <int64_t WIDTH>
static inline void moments(Image x, float eps, Norm norm) {
    // Shifted by the first pixel, so that the squares do not cancel; summed by rows, so that rounding stays small.
    const vec shift = load<WIDTH>(x.data);
    vec sum = {}, squares = {};
    for (int64_t r = 0; r < x.h; r++) {
        const float *in = x.data + r * x.w * x.stride;
        Sums row;
        int64_t q = 0;
        for (; q + 2 <= x.w; q += 2, in += 2 * x.stride) {
            row.add(0, load<WIDTH>(in) - shift);
            row.add(1, load<WIDTH>(in + x.stride) - shift);
        }
        if (q < x.w) row.add(0, load<WIDTH>(in) - shift);
        sum += row.sum[0] + row.sum[1], squares += row.squares[0] + row.squares[1];
    }
    const float share = 1.f / (float)(x.h * x.w);
    const vec offset = share * sum, variance = share * squares - offset * offset;
    store<WIDTH>(norm.mean, offset + shift);
    for (int64_t i = 0; i < WIDTH; i++) norm.rstd[i] = 1.f / std::sqrt((variance[i] < 0 ? 0 : variance[i]) + eps);
}

// y[h/2][w/2] = mean over 2x2 of max(0, gamma (x - mean) rstd + beta), `y_stride` a pixel, and the moments. An odd last
// row or column is dropped by the pooling but counts in the moments.
static void norm_relu_pool(Image x, int64_t channels, Norm norm, float eps, float *y, int64_t y_stride) {
    each_panel(channels, [&](auto width, int64_t at) {
        const Norm own = norm.from(at);
        moments<width>({x.data + at, x.stride, x.h, x.w}, eps, own);
        const vec slope = load<width>(own.rstd) * load<width>(own.gamma);
        const vec mean = load<width>(own.mean), beta = load<width>(own.beta);
        const int64_t window[4] = {0, x.stride, x.w * x.stride, (x.w + 1) * x.stride};
        float *out = y + at;
        for (int64_t r = 0; r + 2 <= x.h; r += 2) {
            const float *corner = x.data + r * x.w * x.stride + at;
            for (int64_t q = 0; q + 2 <= x.w; q += 2, corner += 2 * x.stride, out += y_stride) {
                vec total = {};
                for (int64_t pixel : window) {
                    const vec z = slope * (load<width>(corner + pixel) - mean) + beta;
                    total += z < 0.f ? vec{} : z;  // this way round a NaN passes
                }
                store<width>(out, 0.25f * total);
            }
        }
    });
}

// The gradients of one panel, in two passes: the sums over all pixels, from which beta and gamma get theirs, and then
// that of every pixel.
template <int64_t WIDTH>
struct NormBackward {
    Image x;
    vec mean, rstd, slope, beta, dbeta = {}, dgamma = {};

    NormBackward(Image x, Norm norm)
        : x(x),
          mean(load<WIDTH>(norm.mean)),
          rstd(load<WIDTH>(norm.rstd)),
          slope(rstd * load<WIDTH>(norm.gamma)),
          beta(load<WIDTH>(norm.beta)) {}

    // The part of a pixel's gradient that the ReLU lets pass.
    vec passed(vec centred, vec grad) const { return slope * centred + beta > 0.f ? grad : vec{}; }

    void sum(const float *g, int64_t g_stride) {
        const int64_t window[4] = {0, x.stride, x.w * x.stride, (x.w + 1) * x.stride};
        for (int64_t r = 0; r + 2 <= x.h; r += 2) {
            const float *corner = x.data + r * x.w * x.stride;
            for (int64_t q = 0; q + 2 <= x.w; q += 2, corner += 2 * x.stride, g += g_stride) {
                const vec grad = 0.25f * load<WIDTH>(g);
                vec all = {}, weighted = {};
                for (int64_t pixel : window) {
                    const vec centred = load<WIDTH>(corner + pixel) - mean, some = passed(centred, grad);
                    all += some;
                    weighted += some * centred;
                }
                dbeta += all, dgamma += weighted;
            }
        }
        dgamma *= rstd;
    }

    // dx = slope (passed - (dbeta + unit dgamma) / pixels) with unit = centred rstd; it may lie over x.
    void spread(const float *g, int64_t g_stride, float *dx, int64_t dx_stride) const {
        const vec share = slope / (float)(x.h * x.w), level = share * dbeta, tilt = share * rstd * dgamma;
        for (int64_t r = 0; r < x.h; r++)
            for (int64_t q = 0; q < x.w; q++) {
                const vec centred = load<WIDTH>(x.data + (r * x.w + q) * x.stride) - mean;
                const bool pooled = r < x.h / 2 * 2 && q < x.w / 2 * 2;
                const vec grad = pooled ? 0.25f * load<WIDTH>(g + (r / 2 * (x.w / 2) + q / 2) * g_stride) : vec{};
                store<WIDTH>(dx + (r * x.w + q) * dx_stride, slope * passed(centred, grad) - (level + tilt * centred));
            }
    }
};

// Gradients of norm_relu_pool for the output gradient g: dx like x, which it may overwrite, dgamma and dbeta.
static void norm_relu_pool_backward(const float *g, int64_t g_stride, Image x, int64_t channels, Norm norm, float *dx,
                                    int64_t dx_stride, float *dgamma, float *dbeta) {
    each_panel(channels, [&](auto width, int64_t at) {
        NormBackward<width> panel({x.data + at, x.stride, x.h, x.w}, norm.from(at));
        panel.sum(g + at, g_stride);
        panel.spread(g + at, g_stride, dx + at, dx_stride);
        store<width>(dgamma + at, panel.dgamma);
        store<width>(dbeta + at, panel.dbeta);
    });
}
