// The instructions of AMX on a processor without them: a handler of SIGILL reads the bytes of the instruction at which
// the process stopped, does what Intel's manual says, and goes on behind it.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TILESTORED,
// TILEZERO, TILERELEASE, TDPBF16PS, and the VEX prefix (volume 2, 2.3). The manual's sums round as this one's but for
// the order within a pair.

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

extern "C" int64_t executed;  // instructions, in all

namespace {

struct Tiles {
    uint8_t configuration[64];
    uint8_t data[8][16][64];

    int bytes(int tile) const {
        uint16_t found;
        std::memcpy(&found, configuration + 16 + 2 * tile, 2);
        return found;
    }
    int rows(int tile) const { return configuration[48 + tile]; }
};

thread_local Tiles *tiles __attribute__((tls_model("initial-exec"))) = nullptr;
struct sigaction before;

int64_t general(const ucontext_t *context, int number) {  // in the order of their encoding
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[places[number]];
}

float from_bfloat16(const uint8_t *at) {
    uint16_t bits;
    std::memcpy(&bits, at, 2);
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

// An operand in memory: its address, the stride by an index, and how many bytes encode it.
struct Operand {
    uint8_t *address;
    int64_t stride;
    int length;
};

Operand memory(const uint8_t *modrm, int base_high, int index_high, const ucontext_t *context) {
    const int mode = modrm[0] >> 6;
    int length = 1, base = (modrm[0] & 7) | base_high;
    int64_t stride = 0;
    if ((modrm[0] & 7) == 4) {  // a byte of scale, index and base follows
        const uint8_t sib = modrm[length++];
        const int index = (sib >> 3 & 7) | index_high;
        base = (sib & 7) | base_high;
        if (index != 4) stride = general(context, index) << (sib >> 6);
    }
    if (mode == 3 || (mode == 0 && (base & 7) == 5)) std::abort();  // never written by the loops
    int64_t displacement = 0;
    if (mode == 1) displacement = int8_t(modrm[length]), length += 1;
    if (mode == 2) {
        int32_t wide;
        std::memcpy(&wide, modrm + length, 4);
        displacement = wide, length += 4;
    }
    return {reinterpret_cast<uint8_t *>(general(context, base) + displacement), stride, length};
}

void multiply(int c, int a, int b) {
    // What an instruction asks of its registers; else the processor raises an exception.
    if (tiles->rows(c) != tiles->rows(a) || tiles->bytes(c) != tiles->bytes(b)) std::abort();
    if (tiles->bytes(a) != 4 * tiles->rows(b)) std::abort();
    for (int row = 0; row < tiles->rows(c); row++)
        for (int column = 0; column < tiles->bytes(c); column += 4) {
            float sum;
            std::memcpy(&sum, tiles->data[c][row] + column, 4);
            for (int pair = 0; pair < tiles->rows(b); pair++)
                for (int half = 0; half < 4; half += 2)
                    sum += from_bfloat16(tiles->data[a][row] + 4 * pair + half) *
                           from_bfloat16(tiles->data[b][pair] + column + half);
            std::memcpy(tiles->data[c][row] + column, &sum, 4);
        }
}

// Execute the instruction at `code`; its length, or 0 if it is none of AMX.
int execute(const uint8_t *code, const ucontext_t *context) {
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2) return 0;  // three bytes of VEX, the map 0F38
    const int index_high = code[1] & 0x40 ? 0 : 8, base_high = code[1] & 0x20 ? 0 : 8;
    const int third = ~code[2] >> 3 & 15, prefix = code[2] & 3;  // prefix: 0 none, 1 66, 2 F3, 3 F2
    const uint8_t opcode = code[3], *modrm = code + 4;
    const int reg = modrm[0] >> 3 & 7, rm = modrm[0] & 7;
    const bool in_memory = modrm[0] >> 6 != 3;
    if (opcode == 0x49 && prefix == 0 && in_memory) {
        const Operand from = memory(modrm, base_high, index_high, context);
        if (!tiles) tiles = static_cast<Tiles *>(std::malloc(sizeof *tiles));
        std::memset(tiles, 0, sizeof *tiles);
        std::memcpy(tiles->configuration, from.address, 64);
        if (tiles->configuration[0] != 1) std::abort();
        return 4 + from.length;
    }
    if (!tiles) std::abort();  // not configured
    if (opcode == 0x49 && prefix == 0) return std::memset(tiles, 0, sizeof *tiles), 5;
    if (opcode == 0x49 && prefix == 3) return std::memset(tiles->data[reg], 0, sizeof tiles->data[reg]), 5;
    if (opcode == 0x4b && (prefix == 3 || prefix == 2)) {
        const Operand at = memory(modrm, base_high, index_high, context);
        if (prefix == 3) std::memset(tiles->data[reg], 0, sizeof tiles->data[reg]);
        if (tiles->rows(reg) == 0) std::abort();
        for (int row = 0; row < tiles->rows(reg); row++) {
            uint8_t *own = tiles->data[reg][row], *other = at.address + row * at.stride;
            prefix == 3 ? std::memcpy(own, other, tiles->bytes(reg)) : std::memcpy(other, own, tiles->bytes(reg));
        }
        return 4 + at.length;
    }
    if (opcode == 0x5c && prefix == 2 && !in_memory) return multiply(reg, rm, third), 5;
    return 0;
}

void handle(int, siginfo_t *, void *given) {
    ucontext_t *context = static_cast<ucontext_t *>(given);
    greg_t &next = context->uc_mcontext.gregs[REG_RIP];
    const int length = execute(reinterpret_cast<const uint8_t *>(next), context);
    if (length == 0) {
        sigaction(SIGILL, &before, nullptr);  // the instruction is met again, and ends the process
        return;
    }
    next += length;
    __atomic_add_fetch(&executed, 1, __ATOMIC_RELAXED);
}

}  // namespace

extern "C" {

int64_t executed = 0;

void begin_emulation() {
    struct sigaction own = {};
    own.sa_sigaction = handle;
    own.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &own, &before);
}

void end_emulation() { sigaction(SIGILL, &before, nullptr); }
}
