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

// How a tensor core rounds is not specified: here once, at the end.
inline void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments<uint16_t>(c, a, b, "mma_bf16", where, [](float sum, auto& left, auto& right) {
        auto value = [](uint16_t bits) { return double(__uint_as_float(unsigned(bits) << 16)); };
        double total = sum;
        for (unsigned k = 0; k < 16; k++) total += value(left[k]) * value(right[k]);
        return float(total);
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
