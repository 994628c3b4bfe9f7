// The gradient of each neuron: sums over the samples on which it is active, in fp32.
//
//     sums[r, k] = sum_i b_ri t_ri rows[i, k],      t_ri = sum_c a[c, r] u[c, i]
//
// A block makes 128 neurons by 64 features, a thread 8 x 4 of them.  Slabs of 16 samples go through shared
// memory as factors b_ri t_ri and as rows; a thread makes the factors of eight neurons, one byte of the
// pattern.  For each sample a warp makes 32 multiply-adds and reads 4 times 128 bytes of shared memory, so
// arithmetic is the limit.
//
// Chains run over CHAIN samples and are then added in float64, as on the CPU (docs/mathematics.md, section
// 6).
#include "ptx.cuh"

constexpr int NEURONS = 128, FEATURES = 64, SLAB = 16, THREADS = 256;
constexpr int DOWN = 8, ACROSS = 4;  // neurons and features of a thread
constexpr int CHAIN = 256;

struct Slabs {
    float4 factors[2][SLAB][NEURONS / 4];
    float4 rows[2][SLAB][FEATURES / 4];
};

struct Problem {
    const unsigned* bits;  // (>= samples, words), of which those of these neurons begin at first_word
    int words, first_word;
    const float* a;     // (outputs, neurons)
    const float* u;     // (outputs, samples)
    const float* rows;  // (samples, features)
    int outputs, neurons, samples, features;
};

// The factors of one sample and the eight neurons of a byte, as two pieces of four.  Where these go lets
// thread t of sixteen read the neurons 8t .. 8t + 7 as two pieces, each next to those of its neighbours.
__device__ __forceinline__ void store_factors(Slabs& slabs, int stage, const Problem& p, int first_sample,
                                              unsigned active) {
    const int line = threadIdx.x / 16, byte = threadIdx.x % 16;
    const float* a = p.a + blockIdx.y * NEURONS + 8 * byte;
    const float* u = p.u + first_sample + line;
    float4 low = {}, high = {};
    for (int c = 0; c < p.outputs; ++c) {
        const float4 left = *reinterpret_cast<const float4*>(a + static_cast<size_t>(c) * p.neurons);
        const float4 right = *reinterpret_cast<const float4*>(a + static_cast<size_t>(c) * p.neurons + 4);
        const float own = u[static_cast<size_t>(c) * p.samples];
        low = {__fmaf_rn(left.x, own, low.x), __fmaf_rn(left.y, own, low.y), __fmaf_rn(left.z, own, low.z),
               __fmaf_rn(left.w, own, low.w)};
        high = {__fmaf_rn(right.x, own, high.x), __fmaf_rn(right.y, own, high.y),
                __fmaf_rn(right.z, own, high.z), __fmaf_rn(right.w, own, high.w)};
    }
    slabs.factors[stage][line][byte] = {active & 1u ? low.x : 0.0f, active & 2u ? low.y : 0.0f,
                                        active & 4u ? low.z : 0.0f, active & 8u ? low.w : 0.0f};
    slabs.factors[stage][line][byte + 16] = {active & 16u ? high.x : 0.0f, active & 32u ? high.y : 0.0f,
                                             active & 64u ? high.z : 0.0f, active & 128u ? high.w : 0.0f};
}

__device__ __forceinline__ void fetch_rows(Slabs& slabs, int stage, const Problem& p, int first_sample) {
    const int line = threadIdx.x / 16, piece = threadIdx.x % 16;
    const size_t sample = first_sample + line;
    copy_async_16(&slabs.rows[stage][line][piece],
                  p.rows + sample * p.features + blockIdx.x * FEATURES + 4 * piece);
    copy_async_commit();
}

// This thread's byte of the pattern in the slab that begins at ``first_sample``.
__device__ __forceinline__ unsigned fetch_bits(const Problem& p, int first_sample) {
    const size_t sample = first_sample + threadIdx.x / 16;
    const unsigned* tile = p.bits + sample * p.words + p.first_word + blockIdx.y * (NEURONS / 32);
    return reinterpret_cast<const unsigned char*>(tile)[threadIdx.x % 16];
}

__device__ __forceinline__ void add_slab(const Slabs& slabs, int stage, float (&sums)[DOWN][ACROSS]) {
    const int down = threadIdx.x / 16, across = threadIdx.x % 16;
#pragma unroll
    for (int k = 0; k < SLAB; ++k) {
        const float4 low = slabs.factors[stage][k][down], high = slabs.factors[stage][k][down + 16];
        const float4 row = slabs.rows[stage][k][across];
        const float left[DOWN] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        const float right[ACROSS] = {row.x, row.y, row.z, row.w};
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) sums[i][j] = __fmaf_rn(left[i], right[j], sums[i][j]);
    }
}

// The sums of this thread.  samples is a multiple of SLAB.
__device__ __forceinline__ void add_samples(Slabs& slabs, const Problem& p, double (&totals)[DOWN][ACROSS]) {
    float sums[DOWN][ACROSS] = {};
    fetch_rows(slabs, 0, p, 0);
    store_factors(slabs, 0, p, 0, fetch_bits(p, 0));
    for (int start = 0, stage = 0; start < p.samples; start += SLAB, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();  // the slab is there for all, and nobody reads the one before it any more
        const int next = start + SLAB;
        unsigned active = 0;
        if (next < p.samples) {
            fetch_rows(slabs, stage ^ 1, p, next);
            active = fetch_bits(p, next);
        }
        add_slab(slabs, stage, sums);
        if (next < p.samples) store_factors(slabs, stage ^ 1, p, next, active);
        if (next % CHAIN == 0 || next >= p.samples) {
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j) {
                    totals[i][j] = __dadd_rn(totals[i][j], static_cast<double>(sums[i][j]));
                    sums[i][j] = 0.0f;
                }
        }
    }
}

// Calls visit(sum, neuron, feature) for the entries of this thread that are inside of (count, dim).
template <class Visit>
__device__ __forceinline__ void for_each_entry(const double (&totals)[DOWN][ACROSS], int count, int dim,
                                               Visit visit) {
    const int first_neuron = blockIdx.y * NEURONS + DOWN * (threadIdx.x / 16);
    const int first_feature = blockIdx.x * FEATURES + ACROSS * (threadIdx.x % 16);
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
            if (first_neuron + i < count && first_feature + j < dim)
                visit(totals[i][j], static_cast<size_t>(first_neuron + i), first_feature + j);
}

// out (count, dim) = sums[r, k] column_scale[k] neuron_factors[r], rounded once to fp32; ``largest``
// becomes the bits of the largest magnitude written, above those of infinity for NaN.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gradient(const unsigned* bits, int words, int first_word, const float* a, const float* u,
             const float* rows, int outputs, int neurons, int samples, int features,
             const double* column_scale, const double* neuron_factors, int count, int dim, float* out,
             unsigned* largest) {
    __shared__ Slabs slabs;
    const Problem p = {bits, words, first_word, a, u, rows, outputs, neurons, samples, features};
    double totals[DOWN][ACROSS] = {};
    add_samples(slabs, p, totals);
    unsigned magnitude = 0;
    for_each_entry(totals, count, dim, [&](double total, size_t neuron, int feature) {
        const double scaled = __dmul_rn(total, column_scale[feature]);
        const float value = __double2float_rn(__dmul_rn(scaled, neuron_factors[neuron]));
        out[neuron * dim + feature] = value;
        magnitude = max(magnitude, __float_as_uint(fabsf(value)));
    });
    if (magnitude != 0) atomicMax(largest, magnitude);
}

// A step of gradient descent: weights[r, k] += factor column_scale[k] sums[r, k], rounded once more.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    update(const unsigned* bits, int words, int first_word, const float* a, const float* u, const float* rows,
           int outputs, int neurons, int samples, int features, const double* column_scale, double factor,
           int count, int dim, float* weights) {
    __shared__ Slabs slabs;
    const Problem p = {bits, words, first_word, a, u, rows, outputs, neurons, samples, features};
    double totals[DOWN][ACROSS] = {};
    add_samples(slabs, p, totals);
    for_each_entry(totals, count, dim, [&](double total, size_t neuron, int feature) {
        float& weight = weights[neuron * dim + feature];
        const double step = __dmul_rn(__dmul_rn(total, column_scale[feature]), factor);
        weight = __double2float_rn(__dadd_rn(weight, step));
    });
}
