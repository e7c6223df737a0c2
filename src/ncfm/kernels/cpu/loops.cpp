// The loops of `ncfm.kernels` that a CPU spends its time in. Plain functions on float32 arrays, called through ctypes.
//
// Every array is dense. Images are channels-last: x[n][row][column][channel]; weights are w[k][c][3][3]. Channels are a
// multiple of 8, except for the input channels c of a thin layer. Each function fills its whole output, each output
// element is written by one thread, and sums run in a fixed order: the same input gives the same bits for any number of
// threads.
//
// A thread takes an image, or a few, through all steps of a function before it takes the next: what lies between the
// steps stays in its second-level cache.

#include <optional>

#include "norm.h"
#include "thin.h"
#include "winograd.h"

template <typename T = float>
static Filters<T> filters_of(const float *weight, Sizes s) {
    return Filters<T>(weight, s.c, s.k, 9, 9 * s.c);
}

template <typename T = float>
static Filters<T> swapped_filters_of(const float *weight, Sizes s) {
    return Filters<T>(weight, s.k, s.c, 9 * s.c, 9);
}

extern "C" {

// ---- Many channels, by tiles ----------------------------------------------------------------------------------------

void winograd_convolve(const float *x, const float *weight, float *y, int64_t n, int64_t h, int64_t w, int64_t c,
                       int64_t k) {
    const Sizes s = {h, w, c, k};
    const Filters<float> filters = filters_of(weight, s);
#pragma omp parallel
    {
        Workspace<Float32> space(c);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += s.images())
            by_tiles<false>(x + i * s.area() * c, filters, y + i * s.area() * k, std::min(s.images(), n - i), s, space);
    }
}

// The gradient of the input, dx[n][h][w][c], for g[n][h][w][k].
void winograd_to_input(const float *g, const float *weight, float *dx, int64_t n, int64_t h, int64_t w, int64_t c,
                       int64_t k) {
    const Sizes s = {h, w, c, k};
    const Filters<float> filters = swapped_filters_of(weight, s);
#pragma omp parallel
    {
        Workspace<Float32> space(k);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += s.images())
            by_tiles<true>(g + i * s.area() * k, filters, dx + i * s.area() * c, std::min(s.images(), n - i),
                           s.swapped(), space);
    }
}

// The gradient of the weight, dw[k][c][3][3].
void winograd_to_weight(const float *x, const float *g, float *dw, int64_t n, int64_t h, int64_t w, int64_t c,
                        int64_t k) {
    WeightGradient<Float32> gradient({h, w, c, k}, omp_get_max_threads());
#pragma omp parallel
    gradient.add(x, g, n);
    gradient.finish(dw);
}

// The convolution, instance norm, ReLU and pooling: out[n][h/2][w/2][k], mean and rstd [n][k]; the convolution's output
// is kept in y unless that is null.
void winograd_block(const float *x, const float *weight, const float *gamma, const float *beta, float *y, float *out,
                    float *mean, float *rstd, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, float eps,
                    int64_t bfloat16) {
    const Sizes s = {h, w, c, k};
    const int64_t pooled = (h / 2) * (w / 2);
    with_products_of_many(bfloat16, [&](auto kind) {
        using Kind = decltype(kind);
        const auto filters = filters_of<typename Kind::Packed>(weight, s);
#pragma omp parallel
        {
            Workspace<Kind> space(c);
            Buffer<float> own(y ? 0 : s.images() * s.area() * k);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i += s.images()) {
                const int64_t images = std::min(s.images(), n - i);
                float *between = y ? y + i * s.area() * k : own.data;
                by_tiles<false>(x + i * s.area() * c, filters, between, images, s, space);
                for (int64_t j = i; j < i + images; j++)
                    norm_relu_pool({between + (j - i) * s.area() * k, k, h, w}, k,
                                   {gamma, beta, mean + j * k, rstd + j * k}, eps, out + j * pooled * k, k);
            }
        }
    });
}

// Gradients of winograd_block for g[n][h/2][w/2][k]: of its input (dx) and of the weight (dw), null if not wanted, and
// by image of gamma and beta, [n][k].
void winograd_block_backward(const float *g, const float *x, const float *y, const float *weight, const float *gamma,
                             const float *beta, float *mean, float *rstd, float *dx, float *dw, float *dgamma,
                             float *dbeta, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t bfloat16) {
    const Sizes s = {h, w, c, k};
    const int64_t pooled = (h / 2) * (w / 2), threads = omp_get_max_threads();
    const int64_t step = 4 * threads * s.images();  // images whose dy is in memory, or in the last-level cache
    with_products_of_many(bfloat16, [&](auto kind) {
        using Kind = decltype(kind);
        const auto filters = swapped_filters_of<typename Kind::Packed>(weight, s);
        std::optional<WeightGradient<Kind>> gradient;
        if (dw) gradient.emplace(s, threads);
        Buffer<float> dy(std::min(step, n) * s.area() * k);
#pragma omp parallel
        {
            Workspace<Kind> space(k);
            for (int64_t first = 0; first < n; first += step) {
                const int64_t last = std::min(first + step, n);
#pragma omp for schedule(static)
                for (int64_t i = first; i < last; i += s.images()) {
                    const int64_t images = std::min(s.images(), last - i);
                    float *between = dy + (i - first) * s.area() * k;
                    for (int64_t j = i; j < i + images; j++)
                        norm_relu_pool_backward(g + j * pooled * k, k, {y + j * s.area() * k, k, h, w}, k,
                                                {gamma, beta, mean + j * k, rstd + j * k},
                                                between + (j - i) * s.area() * k, k, dgamma + j * k, dbeta + j * k);
                    if (dx) by_tiles<true>(between, filters, dx + i * s.area() * c, images, s.swapped(), space);
                }
                if (dw) gradient->add(x + first * s.area() * c, dy, last - first);
            }
        }
        if (dw) gradient->finish(dw);
    });
}

// Whether the argument bfloat16 makes a difference.
int64_t multiplies_bfloat16() {
    bool found = false;
    with_products(true, [&](auto kind) { found = sizeof(typename decltype(kind)::Rows) == 2; });
    return found;
}

// Whether the matrix registers of AMX multiply from now on; they do not where there are none, or the system denies them.
int64_t enable_amx(int64_t on) {
#ifdef __AMX_BF16__
    amx_enabled = on && amx_is_granted();
#endif
    (void)on;
    return amx_enabled;
}

// ---- Few channels, directly -----------------------------------------------------------------------------------------

void thin_convolve(const float *x, const float *weight, float *y, int64_t n, int64_t h, int64_t w, int64_t c,
                   int64_t k) {
    const ThinSizes s = {h, w, c, k};
    const ThinFilters<Float32> filters(weight, s);
#pragma omp parallel
    {
        Bordered image(s);
        Scalars<float> scalars(s);
        Buffer<float> own(s.area() * SLICE);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            image.fill(x + i * s.area() * c);
            scalars.fill(image);
            for (int64_t at = 0; at < k; at += SLICE) {
                const Slice slice(at, k);
                thin_convolve_slice(scalars, filters, slice, own);
                from_slice(own, s, slice, y + i * s.area() * k);
            }
        }
    }
}

void thin_to_input(const float *g, const float *weight, float *dx, int64_t n, int64_t h, int64_t w, int64_t c,
                   int64_t k) {
    const ThinSizes s = {h, w, c, k};
    const ThinFilters<Float32> filters(weight, s);
#pragma omp parallel
    {
        Bordered gradient(s);
        TapSums sums(s);
        Buffer<float> own(s.area() * SLICE);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            sums.clear();
            for (int64_t at = 0; at < k; at += SLICE) {
                const Slice slice(at, k);
                to_slice(g + i * s.area() * k, s, slice, own);
                sums.add(own, filters, slice);
            }
            sums.to_image(gradient, dx + i * s.area() * c);
        }
    }
}

void thin_to_weight(const float *x, const float *g, float *dw, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k) {
    const ThinSizes s = {h, w, c, k};
    FilterSums sums(s, n);
#pragma omp parallel
    {
        Bordered image(s);
        Scalars<float> scalars(s);
        Buffer<float> own(s.area() * SLICE);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            image.fill(x + i * s.area() * c);
            scalars.fill(image);
            for (int64_t at = 0; at < k; at += SLICE) {
                const Slice slice(at, k);
                to_slice(g + i * s.area() * k, s, slice, own);
                sums.add(scalars, own.data, slice, i);
            }
        }
    }
    sums.finish(dw);
}

// As winograd_block; a slice of the convolution's output is made at a time, and none are kept.
void thin_block(const float *x, const float *weight, const float *gamma, const float *beta, const float *, float *out,
                float *mean, float *rstd, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, float eps,
                int64_t bfloat16) {
    const ThinSizes s = {h, w, c, k};
    const int64_t pooled = (h / 2) * (w / 2);
    with_products(bfloat16, [&](auto kind) {
        using Kind = decltype(kind);
        const ThinFilters<Kind> filters(weight, s);
#pragma omp parallel
        {
            Bordered image(s);
            Scalars<typename Kind::Rows> scalars(s);
            Buffer<float> y(s.area() * SLICE);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++) {
                const Norm norm = {gamma, beta, mean + i * k, rstd + i * k};
                image.fill(x + i * s.area() * c);
                scalars.fill(image);
                for (int64_t at = 0; at < k; at += SLICE) {
                    const Slice slice(at, k);
                    thin_convolve_slice(scalars, filters, slice, y);
                    each_panel(slice.channels, [&](auto width, int64_t panel) {
                        norm_relu_pool({y + panel * s.area(), LANES, h, w}, width, norm.from(at + panel), eps,
                                       out + i * pooled * k + at + panel, k);
                    });
                }
            }
        }
    });
}

// As winograd_block_backward; the convolution's output is made again.
void thin_block_backward(const float *g, const float *x, const float *, const float *weight, const float *gamma,
                         const float *beta, float *mean, float *rstd, float *dx, float *dw, float *dgamma, float *dbeta,
                         int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t bfloat16) {
    const ThinSizes s = {h, w, c, k};
    const int64_t pooled = (h / 2) * (w / 2);
    with_products(bfloat16, [&](auto kind) {
        using Kind = decltype(kind);
        const ThinFilters<Kind> filters(weight, s);
        FilterSums to_filters(s, dw ? n : 0);
#pragma omp parallel
        {
            Bordered image(s), gradient(s);
            Scalars<typename Kind::Rows> scalars(s);
            Scalars<typename Kind::Packed> by_pixels(s);
            SliceRows<typename Kind::Rows> rows(s);
            SliceRows<typename Kind::Packed> packed(s);
            TapSums to_taps(s);
            Buffer<float> y(s.area() * SLICE);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++) {
                const Norm norm = {gamma, beta, mean + i * k, rstd + i * k};
                image.fill(x + i * s.area() * c);
                scalars.fill(image);
                if (dw) by_pixels.fill(image);
                if (dx) to_taps.clear();
                for (int64_t at = 0; at < k; at += SLICE) {
                    const Slice slice(at, k);
                    thin_convolve_slice(scalars, filters, slice, y);
                    each_panel(slice.channels, [&](auto width, int64_t panel) {
                        float *own = y + panel * s.area();
                        norm_relu_pool_backward(g + i * pooled * k + at + panel, k, {own, LANES, h, w}, width,
                                                norm.from(at + panel), own, LANES, dgamma + i * k + at + panel,
                                                dbeta + i * k + at + panel);
                    });
                    if (dw) to_filters.add(by_pixels, packed.of(y, slice.panels), slice, i);
                    if (dx) to_taps.add(rows.of(y, slice.panels), filters, slice);
                }
                if (dx) to_taps.to_image(gradient, dx + i * s.area() * c);
            }
        }
        if (dw) to_filters.finish(dw);
    });
}

}  // extern "C"
