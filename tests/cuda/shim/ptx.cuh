// The functions of kernels/cuda/ptx.cuh for the CPU, with the layout of fragments that PTX defines.
#pragma once

// Fragments of the three products lie in the same bytes: rows of 32 bytes, of which lane 4 g + t holds bytes
// 4t .. 4t + 3 of either half; A has rows g and g + 8, B (by columns) the column g.
template <class Sum, class Dot>
void multiply_fragments(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], const char* what,
                        std::source_location where, Dot dot) {
    struct Both { unsigned a[4], b[2]; } own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    auto lanes = cuda_cpu::meet_warp(~0u, own, what, where);
    auto left = [&](unsigned row, unsigned word) {
        return reinterpret_cast<const Both*>(&lanes[row % 8 * 4 + word % 4])->a[word / 4 * 2 + row / 8];
    };
    auto right = [&](unsigned column, unsigned word) {
        return reinterpret_cast<const Both*>(&lanes[column * 4 + word % 4])->b[word / 4];
    };
    unsigned lane = cuda_cpu::current % 32;
    for (unsigned e = 0; e < 4; e++) c[e] = dot(c[e], left, lane / 4 + e / 2 * 8, right, lane % 4 * 2 + e % 2);
}

inline void mma_b1(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments(c, a, b, "mma_b1", where, [](int sum, auto left, unsigned i, auto right, unsigned j) {
        for (unsigned word = 0; word < 8; word++) sum += std::popcount(left(i, word) & right(j, word));
        return sum;
    });
}

inline void mma_u8(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments(c, a, b, "mma_u8", where, [](int sum, auto left, unsigned i, auto right, unsigned j) {
        for (unsigned word = 0; word < 8; word++)
            for (unsigned at = 0; at < 32; at += 8) sum += (left(i, word) >> at & 255) * (right(j, word) >> at & 255);
        return sum;
    });
}

// How a tensor core rounds is not specified: here once, at the end.
inline void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], HERE) {
    multiply_fragments(c, a, b, "mma_bf16", where, [](float sum, auto left, unsigned i, auto right, unsigned j) {
        double total = sum;
        for (unsigned word = 0; word < 8; word++)
            for (unsigned half = 0; half < 32; half += 16) {
                auto value = [half](unsigned both) { return double(__uint_as_float(both >> half << 16)); };
                total += value(left(i, word)) * value(right(j, word));
            }
        return float(total);
    });
}

inline void load_matrices(unsigned (&r)[4], const void* row, HERE) {
    if (uintptr_t(row) % 16) cuda_cpu::fail(uintptr_t(row), "load_matrices: a row that is not aligned to 16 bytes");
    auto lanes = cuda_cpu::meet_warp(~0u, row, "load_matrices", where);
    unsigned lane = cuda_cpu::current % 32;
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
    auto& groups = cuda_cpu::fibers[cuda_cpu::current].copies;
    while (groups.size() > PENDING + 1) {  // one more: the open group
        for (const cuda_cpu::Copy& copy : groups.front()) memcpy(copy.to, copy.from, 16);
        groups.erase(groups.begin());
    }
}
