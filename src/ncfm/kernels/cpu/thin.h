// Convolution 3x3 of few channels (a first layer), too thin for tiles: directly, for one image and a slice of its
// output channels at a time.
//
// Taps are in the order (row, column, channel), so that those of a row are consecutive in an image with a border.

#pragma once

#include "products.h"

static const int64_t SLICE = 32;                  // output channels that are made at a time
static const int64_t TAPS = LANES == 16 ? 9 : 3;  // taps whose gradients fit into the registers with a slice

// The sizes of a thin convolution: images of h x w pixels, from c to k channels.
struct ThinSizes {
    int64_t h, w, c, k;

    int64_t area() const { return h * w; }
    int64_t line() const { return (w + 2) * c; }  // of an image with a border
    int64_t taps() const { return 9 * c; }
};

// Some of an image's output channels, in panels [panels][pixels][LANES].
struct Slice {
    int64_t at, channels, panels;  // the first, how many, and these in panels

    Slice(int64_t at, int64_t k) : at(at), channels(std::min(SLICE, k - at)), panels(::panels(channels)) {}
};

// ---- Operands -------------------------------------------------------------------------------------------------------

// An image with a border of zeros, and some more of them, since operands are read beyond the end.
struct Bordered {
    ThinSizes s;
    int64_t size;
    Buffer<float> data;

    explicit Bordered(ThinSizes s) : s(s), size((s.h + 2) * s.line() + 2 * (LANES + s.c)), data(size) { clear(); }
    void clear() { std::memset(data, 0, sizeof(float) * size); }
    float *row(int64_t r) const { return data + (r + 1) * s.line() + s.c; }

    void fill(const float *x) {
        for (int64_t r = 0; r < s.h; r++) std::memcpy(row(r), x + r * s.w * s.c, sizeof(float) * s.w * s.c);
    }
    void copy_to(float *x) const {
        for (int64_t r = 0; r < s.h; r++) std::memcpy(x + r * s.w * s.c, row(r), sizeof(float) * s.w * s.c);
    }
};

// A bordered image as scalars of products. Where these take pixels in pairs, each element is followed by that of the
// next pixel.
template <typename T>
struct Scalars {
    static const int64_t EACH = TOGETHER<T>;
    ThinSizes s;
    int64_t size;
    Buffer<T> data;

    explicit Scalars(ThinSizes s) : s(s), size(parts((s.h + 2) * s.line() + 1, LANES) * LANES), data(size * EACH) {}
    const T *at(int64_t r, int64_t q) const { return data + (r * s.line() + q * s.c) * EACH; }

    void fill(const Bordered &x) {
        for (int64_t i = 0; i < size; i += LANES)
            for (int64_t next = 0; next < EACH; next++) put_row(data + i * EACH, next, load(x.data + i + next * s.c));
    }
};

// Rows of products of a line of pixels, which may be taken in pairs.
template <typename T>
static inline int64_t rows_of_line(int64_t w) {
    return parts(w, TOGETHER<T>) * TOGETHER<T>;
}

// The panels of a slice as rows of products, line by line: in pairs of pixels, of which a last odd one has zeros for a
// partner.
template <typename T>
struct SliceRows {
    int64_t h, w, line;
    Buffer<T> own;

    explicit SliceRows(ThinSizes s)
        : h(s.h),
          w(s.w),
          line(rows_of_line<T>(s.w)),
          own(std::is_same_v<T, float> ? 0 : SLICE * h * line) {}

    const T *of(const float *y, int64_t panels) {
        if constexpr (std::is_same_v<T, float>) return y;
        else
            for (int64_t r = 0; r < panels * h; r++, y += w * LANES) {
                T *to = own + r * line * LANES;
                for (int64_t q = 0; q < w; q += TOGETHER<T>) {
                    const float *pixel = y + q * LANES;
                    if constexpr (TOGETHER<T> == 1) put_row(to, q, load(pixel));
                    else put_pair(to, q, load(pixel), q + 1 < w ? load(pixel + LANES) : vec{});
                }
            }
        return own;
    }
};

// Filters as vectors of products: by taps, [panels of k][3 rows][taps of a row][LANES], and for the gradient of the
// input by channels, [panels of taps][k][LANES]; filled up with zeros.
template <typename Kind>
struct ThinFilters {
    using T = typename Kind::Packed;
    ThinSizes s;
    int64_t depth;  // taps of a row that are multiplied
    Buffer<T> taps, channels;

    ThinFilters(const float *weight, ThinSizes s)
        : s(s),
          depth(parts(3 * s.c, Multiply<T>::DEPTH) * Multiply<T>::DEPTH),
          taps(panels(s.k) * stride()),
          channels(panels(s.taps()) * s.k * LANES) {
        for (int64_t panel = 0; panel < panels(s.k); panel++)
            for (int64_t row = 0; row < 3; row++)
                for (int64_t tap = 0; tap < depth; tap++)
                    put_row(taps + panel * stride(), row * depth + tap, lanes([&](int64_t lane) {
                                return tap < 3 * s.c ? at(weight, panel * LANES + lane, row * 3 * s.c + tap) : 0;
                            }));
        for (int64_t panel = 0; panel < panels(s.taps()); panel++)
            for (int64_t k = 0; k < s.k; k++)
                put_row(channels + panel * s.k * LANES, k,
                        lanes([&](int64_t lane) { return at(weight, k, panel * LANES + lane); }));
    }

    int64_t stride() const { return 3 * depth * LANES; }  // from panel to panel of `taps`

   private:
    float at(const float *weight, int64_t k, int64_t tap) const {
        return k < s.k && tap < s.taps() ? weight[(k * s.c + tap % s.c) * 9 + tap / s.c] : 0;
    }
    template <typename At>
    static vec lanes(At at) {
        vec v;
        for (int64_t lane = 0; lane < LANES; lane++) v[lane] = at(lane);
        return v;
    }
};

// ---- Inner loops: products of scalars and vectors, COUNT x VECS sums in registers -----------------------------------

// out[VECS][p][LANES] = sum over taps of pixel times filter, for COUNT neighbouring pixels p of C channels.
template <int C, int VECS, int COUNT, typename Kind>
static inline void thin_pixels(const typename Kind::Rows *corner, const ThinFilters<Kind> &filters, int64_t panel,
                               float *out, int64_t out_stride) {
    using M = Multiply<typename Kind::Packed>;
    const int64_t c = C ? C : filters.s.c, depth = C ? parts(3 * C, M::DEPTH) * M::DEPTH : filters.depth;
    const typename Kind::Packed *f = filters.taps + panel * filters.stride();
    vec sum[COUNT][VECS] = {};
    for (int64_t row = 0; row < 3; row++, corner += filters.s.line())
        for (int64_t tap = 0; tap < depth; tap += M::DEPTH, f += M::DEPTH * LANES) {
            typename M::Vector filter[VECS];
            UNROLL for (int v = 0; v < VECS; v++) filter[v] = M::vector(f + v * filters.stride());
            UNROLL for (int p = 0; p < COUNT; p++)
                UNROLL for (int v = 0; v < VECS; v++) M::add(sum[p][v], corner + p * c + tap, filter[v]);
        }
    UNROLL for (int p = 0; p < COUNT; p++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + v * out_stride + p * LANES, sum[p][v]);
}

// out[tap][VECS] = sum over all pixels of x times g, for COUNT consecutive taps from `first` on.
template <int COUNT, int VECS, typename T>
static inline void thin_taps(const Scalars<T> &x, int64_t row, int64_t first, const T *g, int64_t stride, float *out,
                             int64_t width) {
    using M = Multiply<T>;
    const ThinSizes s = x.s;
    vec sum[COUNT][VECS] = {};
    for (int64_t r = 0; r < s.h; r++)
        for (int64_t q = 0; q < s.w; q += M::DEPTH, g += M::DEPTH * LANES) {
            const T *pixel = x.at(r + row, q) + first * M::DEPTH;
            typename M::Vector up[VECS];
            UNROLL for (int v = 0; v < VECS; v++) up[v] = M::vector(g + v * stride);
            UNROLL for (int tap = 0; tap < COUNT; tap++)
                UNROLL for (int v = 0; v < VECS; v++) M::add(sum[tap][v], pixel + tap * M::DEPTH, up[v]);
        }
    UNROLL for (int tap = 0; tap < COUNT; tap++)
        UNROLL for (int v = 0; v < VECS; v++) store(out + tap * width + v * LANES, sum[tap][v]);
}

// ---- A slice of an image's output channels, or of their gradients: y[panels][pixels][LANES] -------------------------

template <int C, typename Kind>
static void thin_convolve_of(const Scalars<typename Kind::Rows> &x, const ThinFilters<Kind> &filters, Slice slice,
                             float *y) {
    const ThinSizes s = x.s;
    const int64_t stride = s.area() * LANES, first = slice.at / LANES;
    for (int64_t r = 0; r < s.h; r++)
        each_part(s.w, [&](auto count, int64_t q) {
            for (int64_t panel = 0; panel < slice.panels; panel += 2) {
                float *to = y + panel * stride + (r * s.w + q) * LANES;
                slice.panels - panel > 1 ? thin_pixels<C, 2, count>(x.at(r, q), filters, first + panel, to, stride)
                                         : thin_pixels<C, 1, count>(x.at(r, q), filters, first + panel, to, stride);
            }
        });
}

// y = the convolution of x.
template <typename Kind>
static void thin_convolve_slice(const Scalars<typename Kind::Rows> &x, const ThinFilters<Kind> &filters, Slice slice,
                                float *y) {
    if (x.s.c == 3) return thin_convolve_of<3>(x, filters, slice, y);  // known to the compiler for grey and RGB
    if (x.s.c == 1) return thin_convolve_of<1>(x, filters, slice, y);
    thin_convolve_of<0>(x, filters, slice, y);
}

// ---- The gradients --------------------------------------------------------------------------------------------------

// The gradient of the filters: sums by image, df[n][9 c][width], so that any thread may take any image.
class FilterSums {
   public:
    FilterSums(ThinSizes s, int64_t n) : s(s), n(n), width(panels(s.k) * LANES), df(n * s.taps() * width) {}

    // What a slice of the gradient dy of image i contributes.
    template <typename T>
    void add(const Scalars<T> &x, const T *dy, Slice slice, int64_t i) {
        const int64_t stride = s.h * rows_of_line<T>(s.w) * LANES;
        const auto add = [&](auto taps, int64_t row, int64_t tap) {
            float *out = df + ((i * 3 + row) * 3 * s.c + tap) * width + slice.at;
            with_count<SLICE / LANES>(
                slice.panels, [&](auto vecs) { thin_taps<taps, vecs>(x, row, tap, dy, stride, out, width); });
        };
        for (int64_t row = 0; row < 3; row++) {
            int64_t tap = 0;
            for (; tap + TAPS <= 3 * s.c; tap += TAPS) add(std::integral_constant<int64_t, TAPS>(), row, tap);
            for (; tap < 3 * s.c; tap += 3) add(std::integral_constant<int64_t, 3>(), row, tap);
        }
    }

    // dw[k][c][3][3] = the sum over the images, in their order.
    void finish(float *dw) const {
#pragma omp parallel for schedule(static)
        for (int64_t tap = 0; tap < s.taps(); tap++)
            for (int64_t k = 0; k < width; k += LANES) {
                vec sum = {};
                for (int64_t i = 0; i < n; i++) sum += load(df + (i * s.taps() + tap) * width + k);
                for (int64_t lane = 0; lane < std::min(LANES, s.k - k); lane++)
                    dw[((k + lane) * s.c + tap % s.c) * 9 + tap / s.c] = sum[lane];
            }
    }

   private:
    ThinSizes s;
    int64_t n, width;
    Buffer<float> df;
};

// The gradient of the input: what each pixel of an output gradient gives to its taps, [panels of taps][pixels][LANES].
class TapSums {
   public:
    explicit TapSums(ThinSizes s) : s(s), size(panels(s.taps()) * s.area() * LANES), sums(size) {}
    void clear() { std::memset(sums, 0, sizeof(float) * size); }

    template <typename Kind>
    void add(const typename Kind::Rows *dy, const ThinFilters<Kind> &filters, Slice slice) {
        const int64_t stride = s.area() * LANES, all = panels(s.taps());
        for (int64_t panel = 0; panel < all; panel += 2)
            times_panels<true>(dy, s.area(), stride, slice.channels,
                               filters.channels + (panel * s.k + slice.at) * LANES, s.k * LANES,
                               std::min<int64_t>(2, all - panel), sums + panel * stride, stride);
    }

    // dx: every pixel with what the taps that lie on it were given.
    void to_image(Bordered &image, float *dx) const {
        image.clear();
        for (int64_t tap = 0; tap < s.taps(); tap++) {
            const float *from = sums + tap / LANES * s.area() * LANES + tap % LANES;
            for (int64_t r = 0; r < s.h; r++) {
                float *to = image.data + (r + tap / (3 * s.c)) * s.line() + tap % (3 * s.c);
                for (int64_t q = 0; q < s.w; q++, from += LANES) to[q * s.c] += *from;
            }
        }
        image.copy_to(dx);
    }

   private:
    ThinSizes s;
    int64_t size;
    Buffer<float> sums;
};

// ---- Images of k channels and the panels of a slice -----------------------------------------------------------------

static void from_slice(const float *y, ThinSizes s, Slice slice, float *image) {
    each_panel(slice.channels, [&](auto width, int64_t at) {
        for (int64_t p = 0; p < s.area(); p++)
            store<width>(image + p * s.k + slice.at + at, load<width>(y + at * s.area() + p * LANES));
    });
}

static void to_slice(const float *image, ThinSizes s, Slice slice, float *y) {
    each_panel(slice.channels, [&](auto width, int64_t at) {
        for (int64_t p = 0; p < s.area(); p++)
            store(y + at * s.area() + p * LANES, load<width>(image + p * s.k + slice.at + at));
    });
}
