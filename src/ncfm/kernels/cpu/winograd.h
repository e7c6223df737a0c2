// Convolution 3x3 of many channels by tiles, a block of tiles at a time, and its two gradients.

#pragma once

#include <omp.h>

#include "amx.h"
#include "tiles.h"

static const int64_t BLOCK = 32;  // tiles that are multiplied by the filters at once: their positions fit a cache

// The sizes of a convolution: images of h x w pixels, from c to k channels.
struct Sizes {
    int64_t h, w, c, k;

    int64_t area() const { return h * w; }
    int64_t tiles() const { return tiles_per(h) * tiles_per(w); }  // of an image
    int64_t images() const { return std::max<int64_t>(BLOCK / tiles(), 1); }  // that fill a block
    Sizes swapped() const { return {h, w, k, c}; }
};

// G g G^T of filters, packed for times_panels: [36][panels of columns][rows][LANES], filled up with zeros.
template <typename T>
struct Filters {
    int64_t depth, columns;
    Buffer<T> data;

    // Of `rows` inputs and `columns` outputs: the filter of a row and a column begins at
    // weight + row * row_stride + column * column_stride.
    Filters(const float *weight, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride)
        : depth(panels(rows) * LANES), columns(panels(columns)), data(POSITIONS * stride()) {
#pragma omp parallel for schedule(static)
        for (int64_t panel = 0; panel < this->columns; panel++)
            for (int64_t row = 0; row < depth; row++) {
                vec filter[3][3] = {};
                const int64_t width = row < rows ? std::min(LANES, columns - panel * LANES) : 0;
                const float *first = weight + row * row_stride + panel * LANES * column_stride;
                for (int64_t lane = 0; lane < width; lane++)
                    for (int64_t tap = 0; tap < 9; tap++)
                        filter[tap / 3][tap % 3][lane] = first[lane * column_stride + tap];
                T *to = data + panel * depth * LANES;
                const auto put = [&](int i, int j, vec u) { put_row(to + (i * SPAN + j) * stride(), row, u); };
                both_ways<FilterTransform>([&](int i, int j) { return filter[i][j]; }, put);
            }
    }

    int64_t stride() const { return depth * columns * LANES + 64 / (int64_t)sizeof(T); }  // as that of Positions
    const T *at(int64_t position, int64_t panel) const { return data + position * stride() + panel * depth * LANES; }
};

// ---- Images to images -----------------------------------------------------------------------------------------------

// A thread's memory: the positions of a block, and its products with a pair of panels of filters.
template <typename Kind>
struct Workspace {
    Positions<typename Kind::Rows> positions;
    Positions<float> products;
    Buffer<typename Kind::Rows> own_positions;
    Buffer<float> own_products;

    explicit Workspace(int64_t c)
        : positions{nullptr, panels(c), BLOCK},
          products{nullptr, 2, BLOCK},
          own_positions(positions.size()),
          own_products(products.size()) {
        positions.data = own_positions, products.data = own_products;
    }
};

// Some tiles in a row of consecutive images.
struct Block {
    int64_t first, count;
};

// The windows of a block's tiles, in images of the sizes s with `channels` channels.
template <int SIDE, typename Float>
struct Windows {
    Window<SIDE, Float> of[BLOCK];
    Buffer<float> outside;  // read as zeros; or written, but never read

    Windows(Float *images, Sizes s, int64_t channels, Block block) : outside(panels(channels) * LANES) {
        std::memset(outside, 0, sizeof(float) * channels);
        for (int64_t i = 0; i < block.count; i++) {
            const int64_t tile = block.first + i;
            Float *image = images + tile / s.tiles() * s.area() * channels;
            of[i].place(image, tile % s.tiles(), s.h, s.w, channels, outside);
        }
    }
};

// Map a block of tiles to its positions: those of the input, or with BACK of an output gradient. What follows in memory
// is asked for at the pace at which this block is read: the processor does not foresee the order by panels.
template <bool BACK, typename T>
static void to_positions(const float *x, Sizes s, Block block, const Positions<T> &v) {
    const Windows<BACK ? TILE : SPAN, const float> windows(x, s, s.c, block);
    const float *next = x + (block.first + block.count) * TILE * TILE * s.c;
    each_panel(s.c, [&](auto width, int64_t at) {
        for (int64_t i = 0; i < block.count; i++, next += TILE * TILE * LANES) {
            UNROLL for (int64_t pixel = 0; pixel < TILE * TILE; pixel++) __builtin_prefetch(next + pixel * LANES, 0, 2);
            if constexpr (BACK)
                gather_transposed<width>(windows.of[i], at, v.at(0, at / LANES), v.stride(), i);
            else
                spread<width>(windows.of[i], at, v.at(0, at / LANES), v.stride(), i);
        }
    });
}

template <bool BACK>
using OutputWindows = Windows<BACK ? SPAN : TILE, float>;

// Map products of up to two panels, the `channels` from `first` on, to pixels.
template <bool BACK>
static void to_pixels(const Positions<float> &m, const OutputWindows<BACK> &windows, int64_t tiles, int64_t first,
                      int64_t channels) {
    each_panel(channels, [&](auto width, int64_t at) {
        for (int64_t i = 0; i < tiles; i++) {
            const float *from = m.at(0, at / LANES) + i * LANES;
            if constexpr (BACK)
                spread_transposed<width>(from, m.stride(), windows.of[i], first + at);
            else
                gather<width>(from, m.stride(), windows.of[i], first + at);
        }
    });
}

// Convolve some images x[images][h][w][c] to y[images][h][w][k], or with BACK, by filters of swapped sides, take the
// gradient x of a convolution's output to that of its input.
template <bool BACK, typename Kind>
static void by_tiles(const float *x, const Filters<typename Kind::Packed> &f, float *y, int64_t images, Sizes s,
                     Workspace<Kind> &space) {
    const int64_t tiles = images * s.tiles();
    const Registers<Kind> registers(LANES);
    if (BACK) std::memset(y, 0, sizeof(float) * images * s.area() * s.k);
    for (int64_t first = 0; first < tiles; first += BLOCK) {
        const Block block = {first, std::min(BLOCK, tiles - first)};
        const OutputWindows<BACK> windows(y, s, s.k, block);
        to_positions<BACK>(x, s, block, space.positions);
        for (int64_t at = 0; at < s.k; at += PAIR) {
            const int64_t channels = std::min(PAIR, s.k - at);
            for (int64_t p = 0; p < POSITIONS; p++)
                block_times_panels(Kind(), space.positions.at(p, 0), block.count, space.positions.panel_stride(),
                                   f.depth, f.at(p, at / LANES), f.depth * LANES, panels(channels),
                                   space.products.at(p, 0), space.products.panel_stride());
            to_pixels<BACK>(space.products, windows, block.count, at, channels);
        }
    }
}

// ---- Images to filters ----------------------------------------------------------------------------------------------
//
// The gradient of the filters is, by position, a sum over the tiles of all images. Threads share the positions: each
// maps some tiles, and then sums some rows of the gradient over the tiles of all threads. Each sum runs in the order of
// the tiles, however many threads there are.

template <typename Kind>
class WeightGradient {
    using T = typename Kind::Packed;

   public:
    // Made outside a parallel region, for up to `threads` threads.
    WeightGradient(Sizes s, int64_t threads)
        : s(s),
          width(panels(s.k) * LANES),
          held(HELD * threads),
          inputs(held * positions(s.c, nullptr).size()),
          outputs(held * positions(s.k, nullptr).size()),
          sums(POSITIONS * stride()) {
        std::memset(sums, 0, sizeof(float) * POSITIONS * stride());
    }

    // Add what some images and the gradients of their outputs contribute. Called by all threads of a parallel region.
    void add(const float *x, const float *g, int64_t images) {
        const int64_t tiles = images * s.tiles(), blocks = parts(tiles, BLOCK);
        for (int64_t first = 0; first < blocks; first += held) {
            const int64_t last = std::min(first + held, blocks);
#pragma omp for schedule(static)
            for (int64_t i = first; i < last; i++) {
                const Block block = {i * BLOCK, std::min(BLOCK, tiles - i * BLOCK)};
                to_positions<false>(x, s, block, input(i - first));
                to_positions<true>(g, s.swapped(), block, output(i - first));
                for (int64_t tile = block.count; tile % Kind::TERMS; tile++) {
                    input(i - first).clear(tile);
                    output(i - first).clear(tile);
                }
            }
            const Registers<Kind> registers(Kind::TERMS);
#pragma omp for collapse(2) schedule(static)
            for (int64_t p = 0; p < POSITIONS; p++)
                for (int64_t panel = 0; panel < panels(s.c); panel++)
                    add_rows(p, panel, std::min(held * BLOCK, tiles - first * BLOCK));
        }
    }

    // The gradient of the weight dw[k][c][3][3]: the transpose of G . G^T.
    void finish(float *dw) const {
#pragma omp parallel for schedule(static)
        for (int64_t c = 0; c < s.c; c++)
            for (int64_t k = 0; k < s.k; k += LANES) {
                vec taps[3][3];
                const float *from = sums + c * width + k;
                both_ways<FilterTransposed>([&](int i, int j) { return load(from + (i * SPAN + j) * stride()); },
                                            [&](int i, int j, vec tap) { taps[i][j] = tap; });
                for (int64_t lane = 0; lane < std::min(LANES, s.k - k); lane++)
                    for (int64_t tap = 0; tap < 9; tap++)
                        dw[((k + lane) * s.c + c) * 9 + tap] = taps[tap / 3][tap % 3][lane];
            }
    }

   private:
    // The sums are too many for the second-level cache: several blocks are added while some are in registers. In
    // float32 the positions of several blocks would be too many.
    static const int64_t HELD = sizeof(T) == sizeof(float) ? 1 : 4;

    Sizes s;
    int64_t width;              // of a row of sums
    int64_t held;               // blocks that are mapped before the products, HELD by each thread
    Buffer<T> inputs, outputs;  // positions of these blocks
    Buffer<float> sums;         // [36][c][k], filled up to panels

    int64_t stride() const { return panels(s.c) * LANES * width + LANES; }
    static Positions<T> positions(int64_t channels, T *data) { return {data, panels(channels), BLOCK}; }
    Positions<T> input(int64_t i) const { return positions(s.c, inputs + i * positions(s.c, nullptr).size()); }
    Positions<T> output(int64_t i) const { return positions(s.k, outputs + i * positions(s.k, nullptr).size()); }

    // The rows of one panel of c, for all of k and the tiles of the held blocks.
    void add_rows(int64_t p, int64_t panel, int64_t tiles) {
        const Positions<T> v = input(0), d = output(0);
        add_panel_times_rows(Kind(), v.at(p, panel), d.at(p, 0), d.panel_stride(), d.panels,
                             {tiles, BLOCK, v.size(), d.size()}, sums + p * stride() + panel * LANES * width, width);
    }
};
