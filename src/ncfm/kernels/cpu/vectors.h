// Registers, panels of channels, and memory: what all loops are written with.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

// Floats of a register, and rows of a matrix product whose sums fit into the registers with two vectors each. Machines
// with AVX-512 have 32 registers of 16 floats; with AVX2 16 of 8. Elsewhere the compiler makes 8 of what there is.
#ifdef __AVX512F__
static const int64_t LANES = 16, ROWS = 12;
#else
static const int64_t LANES = 8, ROWS = 6;
#endif
static const int64_t HALF = 8;  // channels are a multiple of this: a last panel of 16 may be half full

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef vec vec_at __attribute__((aligned(4), may_alias));  // anywhere in memory

// Loops over registers: unrolled early, so that no sum goes through memory.
#define UNROLL _Pragma("GCC unroll 16")

// The first WIDTH lanes; the others are zero.
template <int64_t WIDTH = LANES>
static inline vec load(const float *p) {
    if constexpr (WIDTH == LANES) return *(const vec_at *)p;
    vec v = {};
    std::memcpy(&v, p, sizeof(float) * WIDTH);
    return v;
}

template <int64_t WIDTH = LANES>
static inline void store(float *p, vec v) {
    if constexpr (WIDTH == LANES) *(vec_at *)p = v;
    else std::memcpy(p, &v, sizeof(float) * WIDTH);
}

// Call body(count) with a number from 1 to MOST as a constant to the compiler.
template <int64_t MOST, typename Body>
static inline void with_count(int64_t count, Body body) {
    if (count == MOST) return body(std::integral_constant<int64_t, MOST>());
    if constexpr (MOST > 1) with_count<MOST - 1>(count, body);
}

// Call body(count, first) for parts of some rows that fit into the registers; the count is a constant to the compiler.
// Few sizes, since each is compiled for every loop.
template <typename Body>
static inline void each_part(int64_t rows, Body body) {
    static const int64_t MIDDLE = ROWS * 2 / 3, FEW = ROWS / 3;
    for (int64_t first = 0, count; first < rows; first += count) {
        const int64_t left = rows - first;
        count = left >= ROWS && left != 2 * MIDDLE ? ROWS : left >= MIDDLE ? MIDDLE : left >= FEW ? FEW : 1;
        if (count == ROWS) body(std::integral_constant<int64_t, ROWS>(), first);
        else if (count == MIDDLE) body(std::integral_constant<int64_t, MIDDLE>(), first);
        else if (count == FEW) body(std::integral_constant<int64_t, FEW>(), first);
        else body(std::integral_constant<int64_t, 1>(), first);
    }
}

static inline int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// Call body(width, at) for each panel of channels. The width, LANES or for a last half panel HALF, is a constant to the
// compiler.
template <typename Body>
static inline void each_panel(int64_t channels, Body body) {
    int64_t at = 0;
    for (; at + LANES <= channels; at += LANES) body(std::integral_constant<int64_t, LANES>(), at);
    if (at < channels) body(std::integral_constant<int64_t, HALF>(), at);
}

// An array whose vectors do not cross cache lines. It is not filled: to write memory twice takes time.
template <typename T>
struct Buffer {
    T *data;

    explicit Buffer(int64_t size) : data(static_cast<T *>(std::aligned_alloc(64, parts(size * sizeof(T), 64) * 64))) {
        if (size && !data) throw std::bad_alloc();
    }
    ~Buffer() { std::free(data); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    operator T *() const { return data; }
};

// ---- Rows of a panel, [rows][LANES]: the operands of matrix products ------------------------------------------------

template <typename T>
constexpr int64_t TOGETHER = 1;  // rows that lie together, element by element

static inline void put_row(float *panel, int64_t row, vec v) { store(panel + row * LANES, v); }

struct Float32 {
    using Rows = float;              // of scalars
    using Packed = float;            // of vectors
    static const int64_t TERMS = 1;  // of a sum that are added at once
};

#ifdef __AVX512BF16__

#include <immintrin.h>

struct bf16 {
    uint16_t bits;
};

// Rows in pairs, [rows / 2][LANES][2], for the instruction that adds two products.
struct paired {
    uint16_t bits;
};

typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint32_t wholes __attribute__((vector_size(4 * LANES)));

static inline halves rounded(vec v) { return (halves)_mm512_cvtneps_pbh((__m512)v); }

static inline void put_row(bf16 *panel, int64_t row, vec v) {
    const halves to = rounded(v);
    std::memcpy(panel + row * LANES, &to, sizeof to);
}

static inline void put_row(paired *panel, int64_t row, vec v) {
    const wholes wide = __builtin_convertvector(rounded(v), wholes);
    paired *to = panel + row / 2 * 2 * LANES;
    row % 2 ? _mm512_mask_storeu_epi16(to, 0xaaaaaaaa, (__m512i)(wide << 16))
            : _mm512_mask_storeu_epi16(to, 0x55555555, (__m512i)wide);
}

// Two rows at once, the first of an even number.
static inline void put_pair(paired *panel, int64_t row, vec first, vec second) {
    typedef uint16_t both __attribute__((vector_size(4 * LANES)));
    const both in_turns = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                           8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const both rows = __builtin_shuffle((both)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first), in_turns);
    std::memcpy(panel + row * LANES, &rows, sizeof rows);
}

template <>
constexpr int64_t TOGETHER<paired> = 2;

struct BFloat16 {
    using Rows = bf16;
    using Packed = paired;
    static const int64_t TERMS = 2;
};

// By the matrix registers of AMX, see amx.h.
struct Amx : BFloat16 {
    static const int64_t TERMS = 32;
};

#endif

static bool amx_enabled = false;

// Call body(kind) for the kind of products: the one place that knows what the processor has.
template <typename Body>
static inline void with_products(bool bfloat16, Body body) {
#ifdef __AVX512BF16__
    if (bfloat16) return body(BFloat16());
#endif
    (void)bfloat16;
    body(Float32());
}

// The same where there are many channels, which fill the registers of AMX.
template <typename Body>
static inline void with_products_of_many(bool bfloat16, Body body) {
#ifdef __AMX_BF16__
    if (bfloat16 && amx_enabled) return body(Amx());
#endif
    with_products(bfloat16, body);
}
