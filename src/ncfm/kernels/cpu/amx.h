// Products of blocks of tiles by the matrix registers of AMX, for processors that have them.
//
// A register holds 16 rows of up to 64 bytes. One instruction adds to C[16][16] in float32 the product of A[16][terms]
// and B[terms][16] in bfloat16, B in pairs of rows: what `bf16` and `paired` are laid out for. The instructions are
// written here, and not by the compiler's intrinsics, which want the number of a register as a literal.

#pragma once

#include "products.h"

#ifdef __AMX_BF16__

#include <sys/syscall.h>
#include <unistd.h>

// ---- Registers: four of C, two of A, two of B -----------------------------------------------------------------------

static const int C0 = 0, A0 = 4, B0 = 6;
static const int64_t SIDE = 16;  // rows of a register, and columns of C

template <int REGISTER>
static inline void clear_register() {
    asm volatile("tilezero %%tmm%c0" ::"i"(REGISTER));
}

template <int REGISTER>
static inline void load_register(const void *first, int64_t bytes_per_row) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(first), "r"(bytes_per_row), "i"(REGISTER) : "memory");
}

template <int REGISTER>
static inline void store_register(void *first, int64_t bytes_per_row) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(first), "r"(bytes_per_row), "i"(REGISTER) : "memory");
}

template <int C, int A, int B>
static inline void multiply_registers() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

// The shapes of a thread's registers while it multiplies so many terms at once.
template <>
struct Registers<Amx> {
    explicit Registers(int64_t terms) {
        struct alignas(64) {
            uint8_t palette = 1, first_row = 0, reserved[14] = {};
            uint16_t bytes_per_row[16] = {};
            uint8_t rows[16] = {};
        } shapes;
        for (int i = C0; i < B0 + 2; i++) {
            shapes.rows[i] = i < B0 ? SIDE : terms / 2;
            shapes.bytes_per_row[i] = i >= A0 && i < B0 ? 2 * terms : 64;
        }
        asm volatile("ldtilecfg (%0)" ::"r"(&shapes) : "memory");
    }
    ~Registers() { asm volatile("tilerelease"); }
    Registers(const Registers &) = delete;
    Registers &operator=(const Registers &) = delete;
};

// Call body(number) for the numbers below COUNT, as constants to the compiler.
template <int COUNT, typename Body>
static inline void each_number(Body body) {
    if constexpr (COUNT > 0) {
        each_number<COUNT - 1>(body);
        body(std::integral_constant<int, COUNT - 1>());
    }
}

// ---- Rows times packed filters --------------------------------------------------------------------------------------

template <int ROWS, int VECS>
static inline void amx_rows_times_panels(const bf16 *a, int64_t stride, int64_t depth, const paired *f,
                                         int64_t f_stride, float *out, int64_t out_stride) {
    const auto each_sum = [](auto body) {
        each_number<ROWS>([&](auto r) { each_number<VECS>([&](auto v) { body(r, v); }); });
    };
    each_sum([](auto r, auto v) { clear_register<C0 + 2 * r + v>(); });
    for (; depth > 0; depth -= LANES, a += stride, f += LANES * LANES) {
        each_number<VECS>([&](auto v) { load_register<B0 + v>(f + v * f_stride, 64); });
        each_number<ROWS>([&](auto r) { load_register<A0 + r>(a + r * SIDE * LANES, sizeof(bf16) * LANES); });
        each_sum([](auto r, auto v) { multiply_registers<C0 + 2 * r + v, A0 + r, B0 + v>(); });
    }
    each_sum([&](auto r, auto v) {
        store_register<C0 + 2 * r + v>(out + v * out_stride + r * SIDE * LANES, sizeof(float) * LANES);
    });
}

// As times_panels. Rows are made by 16: what lies behind the last one of a block is read, and written, as if it were
// one.
static inline void block_times_panels(Amx, const bf16 *a, int64_t rows, int64_t stride, int64_t depth, const paired *f,
                                      int64_t f_stride, int64_t panels, float *out, int64_t out_stride) {
    for (int64_t first = 0; first < rows; first += 2 * SIDE)
        with_count<2>(std::min<int64_t>(parts(rows - first, SIDE), 2), [&](auto count) {
            with_count<2>(panels, [&](auto vecs) {
                amx_rows_times_panels<count, vecs>(a + first * LANES, stride, depth, f, f_stride, out + first * LANES,
                                                   out_stride);
            });
        });
}

// ---- Columns times rows ---------------------------------------------------------------------------------------------

// Exchange rows and columns of squares of STEP elements, in a square of 16 registers.
template <int STEP>
static inline void exchange(wholes *rows) {
    wholes low, high;
    UNROLL for (int j = 0; j < LANES; j++) {
        low[j] = j & STEP ? LANES + j - STEP : j;
        high[j] = j & STEP ? LANES + j : j + STEP;
    }
    UNROLL for (int i = 0; i < LANES; i++)
        if (!(i & STEP)) {
            const wholes a = rows[i], b = rows[i + STEP];
            rows[i] = __builtin_shuffle(a, b, low);
            rows[i + STEP] = __builtin_shuffle(a, b, high);
        }
}

// Pairs of rows [16][LANES][2] as columns [LANES][16][2].
static inline void transpose_pairs(const paired *from, paired *to) {
    wholes rows[LANES];
    std::memcpy(rows, from, sizeof rows);
    exchange<1>(rows), exchange<2>(rows), exchange<4>(rows), exchange<8>(rows);
    std::memcpy(to, rows, sizeof rows);
}

// Add to VECS panels of out what all blocks give, with their columns v.
template <int VECS>
static inline void amx_add_columns_times_rows(const paired *v, const paired *d, int64_t stride, Blocks blocks,
                                              float *out, int64_t width) {
    each_number<VECS>([&](auto j) { load_register<C0 + j>(out + j * LANES, sizeof(float) * width); });
    for (int64_t left = blocks.tiles; left > 0; left -= blocks.block, v += Amx::TERMS * LANES, d += blocks.d_stride) {
        load_register<A0>(v, sizeof(paired) * Amx::TERMS);
        each_number<VECS>([&](auto j) {
            load_register<B0 + j % 2>(d + j * stride, 64);
            multiply_registers<C0 + j, A0, B0 + j % 2>();
        });
    }
    each_number<VECS>([&](auto j) { store_register<C0 + j>(out + j * LANES, sizeof(float) * width); });
}

// As the general form, for blocks of TERMS tiles, of which those that are missing in the last one are zero.
static inline void add_panel_times_rows(Amx, const paired *v, const paired *d, int64_t stride, int64_t panels,
                                        Blocks blocks, float *out, int64_t width) {
    const int64_t square = Amx::TERMS * LANES, count = parts(blocks.tiles, blocks.block);
    Buffer<paired> columns(count * square);
    for (int64_t i = 0; i < count; i++) transpose_pairs(v + i * blocks.v_stride, columns + i * square);
    for (int64_t at = 0; at < panels; at += A0)
        with_count<A0>(std::min<int64_t>(panels - at, A0), [&](auto vecs) {
            amx_add_columns_times_rows<vecs>(columns, d + at * stride, stride, blocks, out + at * LANES, width);
        });
}

// ---- Whether they work here -----------------------------------------------------------------------------------------

// The system grants the registers on request, since they lengthen every switch of threads.
static inline bool amx_is_granted() {
#ifdef NCFM_AMX_EMULATED
    return true;
#else
    static const long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // asm/prctl.h: ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#endif
}

#endif
