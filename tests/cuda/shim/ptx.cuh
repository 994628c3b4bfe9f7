// The functions of kernels/cuda/ptx.cuh for the CPU, with the layout of fragments that PTX defines.
#pragma once

// Fragments of the three products lie in the same bytes: rows of 32 bytes, of which lane 4 g + t holds bytes
// 4t .. 4t + 3 of either half; A has rows g and g + 8, B (by columns) the column g.
template <class Item, class Sum, class Dot>
void multiply_fragments(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], const char* what,
                        std::source_location where, Dot dot) {
    struct Both { unsigned a[4], b[2]; } own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    auto lanes = cuda_cpu::meet_warp(~0u, own, what, where);
    auto of = [lanes](unsigned lane) { return reinterpret_cast<const Both*>(&lanes[lane]); };
    constexpr unsigned ITEMS = 32 / sizeof(Item);
    unsigned lane = cuda_cpu::current % 32, words[8];
    Item left[2][ITEMS], right[2][ITEMS];
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned word = 0; word < 8; word++) words[word] = of(lane / 4 * 4 + word % 4)->a[word / 4 * 2 + i];
        memcpy(left[i], words, 32);
        unsigned column = lane % 4 * 2 + i;
        for (unsigned word = 0; word < 8; word++) words[word] = of(column * 4 + word % 4)->b[word / 4];
        memcpy(right[i], words, 32);
    }
    for (unsigned e = 0; e < 4; e++) c[e] = dot(c[e], left[e / 2], right[e % 2]);
}

inline void mma_b1(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments<uint64_t>(c, a, b, "mma_b1", where, [](int sum, auto& left, auto& right) {
        for (unsigned k = 0; k < 4; k++) sum += std::popcount(left[k] & right[k]);
        return sum;
    });
}

inline void mma_u8(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments<uint8_t>(c, a, b, "mma_u8", where, [](int sum, auto& left, auto& right) {
        for (unsigned k = 0; k < 32; k++) sum += left[k] * right[k];
        return sum;
    });
}

// How a tensor core rounds is not specified, so here it is a setting.  It takes ``step`` products at a time and
// the sum so far, cuts each to ``bits`` below the exponent of the largest, adds what is left exactly and cuts
// the sum to fp32, or to as many bits; always in one direction.
namespace cuda_cpu {

enum Direction : int { TOWARD_ZERO, DOWN, UP, AWAY_FROM_ZERO };

inline int exponent(double value) {  // that of 2^-126 for what is smaller, as the hardware has it
    return std::max(int(std::bit_cast<uint64_t>(value) >> 52 & 2047) - 1023, -126);
}

inline double power_of_two(int exponent) { return std::bit_cast<double>(uint64_t(exponent + 1023) << 52); }

inline double cut(double value, int last_bit) {  // exact but for the cut: multiples of powers of two
    double scaled = value * power_of_two(-last_bit);
    bool up = tensor_core.direction == UP || (tensor_core.direction == AWAY_FROM_ZERO && value > 0) ||
              (tensor_core.direction == TOWARD_ZERO && value < 0);
    return (up ? std::ceil(scaled) : std::floor(scaled)) * power_of_two(last_bit);
}

inline float add_products(float sum, const uint16_t (&left)[16], const uint16_t (&right)[16]) {
    auto value = [](uint16_t bits) { return double(__uint_as_float(unsigned(bits) << 16)); };
    for (int first = 0; first < 16; first += tensor_core.step) {
        int largest = exponent(sum);
        double products[16], total = 0;
        for (int i = 0; i < tensor_core.step; i++) {
            int k = tensor_core.backward ? 15 - first - i : first + i;
            double a = value(left[k]), b = value(right[k]);
            products[i] = a * b;
            if (products[i] != 0) largest = std::max(largest, exponent(a) + exponent(b));
        }
        int last_bit = largest - tensor_core.bits;
        for (int i = 0; i < tensor_core.step; i++)
            if (products[i] != 0) total += cut(products[i], last_bit);
        total += cut(sum, last_bit);
        sum = float(cut(total, exponent(total) - std::min(tensor_core.bits, 23)));
    }
    return sum;
}

}  // namespace cuda_cpu

inline void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments<uint16_t>(c, a, b, "mma_bf16", where, [](float sum, auto& left, auto& right) {
        return cuda_cpu::add_products(sum, left, right);
    });
}

// Rows in the same banks would cost time only: no kernel needs them to be.
inline void load_matrices(unsigned (&r)[4], const void* row, HERE) {
    if (uintptr_t(row) % 16) cuda_cpu::fail(uintptr_t(row), "load_matrices: a row that is not aligned to 16 bytes");
    auto lanes = cuda_cpu::meet_warp(~0u, row, "load_matrices", where);
    unsigned lane = cuda_cpu::current % 32, banks = 0;
    for (unsigned i = 0; i < 8; i++) banks |= 1u << cuda_cpu::of_lane<uintptr_t>(lanes, lane / 8 * 8 + i) / 16 % 8;
    if (banks != 255) cuda_cpu::fail(0, "load_matrices: two of eight rows in the same banks");
    for (unsigned i = 0; i < 4; i++)
        r[i] = cuda_cpu::of_lane<const unsigned*>(lanes, i * 8 + lane / 4)[lane % 4];
}

// A copy may happen at any time between its start and the wait: the place holds nonsense until then.
inline void copy_async_16(void* shared, const void* global) {
    if ((uintptr_t(shared) | uintptr_t(global)) % 16) cuda_cpu::fail(0, "copy_async_16: not aligned to 16 bytes");
    memset(shared, cuda_cpu::POISON, 16);
    cuda_cpu::fibers[cuda_cpu::current].copies.back().push_back({shared, global});
}
inline void copy_async_commit() { cuda_cpu::fibers[cuda_cpu::current].copies.emplace_back(); }

template <int PENDING>
void copy_async_wait() {
    cuda_cpu::finish_copies(PENDING + 1);  // one more: the open group
}
