// What a chip can do at most: independent chains of one instruction, and nothing else.
//
// Each thread keeps CHAINS sums and continues every one of them ``steps`` times, so nothing waits for memory and
// little for a result.  Operands come from an array and sums go back to it: nothing can be left out.
#include "ptx.cuh"

constexpr int THREADS = 256;
constexpr int CHAINS = 8;

// One product of fragments for each chain and step, in each warp.  operands (6, 32) words, those of a lane side
// by side; sums (threads of the grid, CHAINS, 4).
template <class Sum, class Multiply>
__device__ __forceinline__ void product_chains(const unsigned* operands, int steps, Sum* sums, Multiply multiply) {
    unsigned a[4], b[2];
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = operands[32 * i + lane];
#pragma unroll
    for (int i = 0; i < 2; i++) b[i] = operands[32 * (4 + i) + lane];
    Sum own[CHAINS][4] = {};
    for (int step = 0; step < steps; step++)
#pragma unroll
        for (int chain = 0; chain < CHAINS; chain++) multiply(own[chain], a, b);
    sums += (static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x) * CHAINS * 4;
#pragma unroll
    for (int chain = 0; chain < CHAINS; chain++)
#pragma unroll
        for (int e = 0; e < 4; e++) sums[4 * chain + e] = own[chain][e];
}

extern "C" __global__ void __launch_bounds__(THREADS) products_b1(const unsigned* operands, int steps, int* sums) {
    product_chains(operands, steps, sums, [](int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_b1(c, a, b); });
}
extern "C" __global__ void __launch_bounds__(THREADS) products_u8(const unsigned* operands, int steps, int* sums) {
    product_chains(operands, steps, sums, [](int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_u8(c, a, b); });
}
extern "C" __global__ void __launch_bounds__(THREADS) products_bf16(const unsigned* operands, int steps, float* sums) {
    product_chains(operands, steps, sums, [](float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_bf16(c, a, b); });
}

// values (threads of the grid, CHAINS): each is continued by next(value, operands[0], operands[1]).
template <class Value, class Next>
__device__ __forceinline__ void value_chains(const Value* operands, int steps, Value* values, Next next) {
    const Value first = operands[0], second = operands[1];
    values += (static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x) * CHAINS;
    Value own[CHAINS];
#pragma unroll
    for (int chain = 0; chain < CHAINS; chain++) own[chain] = values[chain];
#pragma unroll 16  // a loop takes a few instructions more
    for (int step = 0; step < steps; step++)
#pragma unroll
        for (int chain = 0; chain < CHAINS; chain++) own[chain] = next(own[chain], first, second);
#pragma unroll
    for (int chain = 0; chain < CHAINS; chain++) values[chain] = own[chain];
}

extern "C" __global__ void __launch_bounds__(THREADS) fma_f32(const float* operands, int steps, float* values) {
    value_chains(operands, steps, values, [](float value, float factor, float term) { return __fmaf_rn(value, factor, term); });
}
extern "C" __global__ void __launch_bounds__(THREADS) fma_f64(const double* operands, int steps, double* values) {
    value_chains(operands, steps, values, [](double value, double factor, double term) { return __fma_rn(value, factor, term); });
}
// 32 bits: an and, a count and an add.
extern "C" __global__ void __launch_bounds__(THREADS) counts(const unsigned* operands, int steps, unsigned* values) {
    value_chains(operands, steps, values,
                 [](unsigned value, unsigned mask, unsigned) { return value + static_cast<unsigned>(__popc(value & mask)); });
}

// to = from, ``count`` pieces of 16 bytes; four loads of a thread are under way at a time.
extern "C" __global__ void __launch_bounds__(THREADS) copy(const float* from, long long count, float* to) {
    constexpr int EACH = 4;
    const float4* pieces = reinterpret_cast<const float4*>(from);
    float4* places = reinterpret_cast<float4*>(to);
    const size_t first = static_cast<size_t>(blockIdx.x) * EACH * THREADS + threadIdx.x;
    float4 kept[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++)
        if (first + i * THREADS < count) kept[i] = pieces[first + i * THREADS];
#pragma unroll
    for (int i = 0; i < EACH; i++)
        if (first + i * THREADS < count) places[first + i * THREADS] = kept[i];
}
