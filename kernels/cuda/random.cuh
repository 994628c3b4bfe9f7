// The random values of the wire format, operation by operation as reference.py defines them.
//
// Only integer operations and explicitly rounded fp32 ones: every value has the same 32 bits everywhere.
#pragma once
#include "wire_format.cuh"

typedef unsigned long long u64;

// Philox4x32-10: four words from a counter of four words, keyed by the seed.
__device__ __forceinline__ uint4 philox(uint4 counter, u64 seed) {
    unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
    for (int round = 0; round < PHILOX_ROUNDS; ++round) {
        const u64 product0 = static_cast<u64>(PHILOX_MULTIPLIERS[0]) * counter.x;
        const u64 product1 = static_cast<u64>(PHILOX_MULTIPLIERS[1]) * counter.z;
        counter =
            uint4{static_cast<unsigned>(product1 >> 32) ^ counter.y ^ key0, static_cast<unsigned>(product1),
                  static_cast<unsigned>(product0 >> 32) ^ counter.w ^ key1, static_cast<unsigned>(product0)};
        key0 += PHILOX_WEYL[0];
        key1 += PHILOX_WEYL[1];
    }
    return counter;
}

// The words of block ``block`` (features 4 block .. 4 block + 3) of a neuron or row.
__device__ __forceinline__ uint4 random_words(u64 seed, u64 id, unsigned block, unsigned stream_word) {
    return philox(uint4{static_cast<unsigned>(id), static_cast<unsigned>(id >> 32), block, stream_word},
                  seed);
}

// -log u for u in (0, 1] made of a word, split as u = 2^e m with m in [2/3, 4/3).
__device__ __forceinline__ float minus_log_uniform(unsigned word) {
    const auto& c = LOG_COEFFICIENTS;
    const float u = __fmaf_rn(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
    const unsigned exponent = (__float_as_uint(u) - 0x3F2AAAABu) & 0xFF800000u;  // e * 2^23
    const float f = __fadd_rn(1.0f, -__uint_as_float(__float_as_uint(u) - exponent));
    const float s = __fmul_rn(f, f);
    float q = __fmaf_rn(c[8], s, __fmaf_rn(c[7], f, c[6]));
    q = __fmaf_rn(q, s, __fmaf_rn(c[5], f, c[4]));
    q = __fmaf_rn(q, s, __fmaf_rn(c[3], f, c[2]));
    q = __fmaf_rn(q, s, __fmaf_rn(c[1], f, c[0]));
    const float whole = static_cast<float>(static_cast<int>(exponent));
    return __fmaf_rn(whole, LOG_PER_EXPONENT, __fmaf_rn(q, s, f));
}

// Two standard normals from two words; the polynomials carry the factor sqrt(2) of the radius.
__device__ __forceinline__ float2 box_muller(unsigned for_radius, unsigned for_angle) {
    const float radius = __fsqrt_rn(minus_log_uniform(for_radius));

    // the low 30 bits are a place in [-1, 1) quarter turns / 2, the top two a quadrant
    const float t = __fmul_rn(static_cast<float>(static_cast<int>(for_angle << 2)), 0x1p-31f);
    const float t2 = __fmul_rn(t, t);
    const auto& a = SIN_COEFFICIENTS;
    const float sine = __fmul_rn(__fmaf_rn(__fmaf_rn(__fmaf_rn(a[3], t2, a[2]), t2, a[1]), t2, a[0]), t);
    const auto& b = COS_COEFFICIENTS;
    float cosine = __fmaf_rn(__fmaf_rn(__fmaf_rn(__fmaf_rn(b[4], t2, b[3]), t2, b[2]), t2, b[1]), t2, b[0]);
    cosine = __uint_as_float(__float_as_uint(cosine) ^ (for_angle & 0x80000000u));
    const bool swap = (for_angle & 0x40000000u) != 0;
    return float2{__fmul_rn(radius, swap ? sine : cosine), __fmul_rn(radius, swap ? cosine : sine)};
}

// Rounded to bfloat16, to nearest, ties to even: as reference.round_to_bfloat16.
__device__ __forceinline__ float round_to_bfloat16(float value) {
    const unsigned bits = __float_as_uint(value);
    return __uint_as_float((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

// The standard normals of features 4 block .. 4 block + 3.
__device__ __forceinline__ float4 random_normals(u64 seed, u64 id, unsigned block, unsigned stream_word) {
    const uint4 words = random_words(seed, id, block, stream_word);
    const float2 first = box_muller(words.x, words.y), second = box_muller(words.z, words.w);
    return float4{first.x, first.y, second.x, second.y};
}
