// The weights of a chunk of neurons as the forward pass reads them: feature by feature, (depth, neurons).
//
// A chunk of 16384 neurons of 64 features takes 4 MB: it is made once, stays in the second-level cache, and
// is read by every tile of samples.  (A weight takes about as many instructions as 25 multiply-adds; made
// inside each tile of 128 samples it would cost a fifth of the tile.)
//
// Beside a panel go the neurons' halves of the bound on fp32 errors, sqrt(S_w), S_w = sum_k
// prefix_counts[k] w_k^2 (kernels/cpu/layout.py has the derivation).  A half is 0 for a neuron that is zero
// or past ``count``: its bits are 0 without a look.
//
// A block takes 32 neurons, thread (x, y) every eighth feature (or four of them) of neuron x.
#include "random.cuh"

constexpr int NEURONS = 32, SHARE = 8;  // blockDim

// One value of each thread of the block.
struct Shares {
    float of[SHARE][NEURONS];
};

__device__ __forceinline__ void finish_factor(Shares& squares, float square, float* factors) {
    squares.of[threadIdx.y][threadIdx.x] = square;
    __syncthreads();
    if (threadIdx.y != 0) return;
    for (int share = 1; share < SHARE; ++share) square = __fadd_rn(square, squares.of[share][threadIdx.x]);
    factors[blockIdx.x * NEURONS + threadIdx.x] = __fsqrt_rn(square);
}

// Virtual weights of the neurons first .. first + count - 1, rounded with ``bfloat16``.  prefix_counts (depth,) is 0
// from ``dim`` on.
extern "C" __global__ void __launch_bounds__(NEURONS* SHARE)
    random_panel(u64 seed, unsigned stream_word, u64 first, int bfloat16, int count, int dim, int depth,
                 int neurons, const float* prefix_counts, float* panel, float* factors) {
    __shared__ Shares squares;
    const int neuron = blockIdx.x * NEURONS + threadIdx.x;
    float square = 0.0f;
    for (int block = threadIdx.y; 4 * block < depth; block += SHARE) {
        float4 normals = {0.0f, 0.0f, 0.0f, 0.0f};
        if (neuron < count && 4 * block < dim)
            normals = random_normals(seed, first + neuron, block, stream_word);
        const float values[4] = {normals.x, normals.y, normals.z, normals.w};
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int feature = 4 * block + part;
            const float normal = feature < dim ? values[part] : 0.0f;
            const float value = bfloat16 ? round_to_bfloat16(normal) : normal;
            panel[static_cast<size_t>(feature) * neurons + neuron] = value;
            square = __fmaf_rn(__fmul_rn(prefix_counts[feature], value), value, square);
        }
    }
    finish_factor(squares, square, factors);
}

// The power of two that brings a magnitude into [1, 2), in float64: its exponent can be 149.
__device__ __forceinline__ double scale_to_one(float magnitude) {
    const int exponent = static_cast<int>(__double_as_longlong(magnitude) >> 52) - 1023;
    return __longlong_as_double(static_cast<long long>(1023 - exponent) << 52);
}

// 32 features of 32 neurons; the extra column keeps the reads along a column on different banks.
struct Tile {
    float of[NEURONS][NEURONS + 1];
};

// Calls visit(feature, value) for this thread's share of its neuron; memory is read along the features.
template <class Visit>
__device__ __forceinline__ void for_each_feature(Tile& tile, const float* weights, int count, int dim,
                                                 int depth, Visit visit) {
    for (int start = 0; start < depth; start += NEURONS) {
        __syncthreads();
        for (int row = threadIdx.y; row < NEURONS; row += SHARE) {
            const int neuron = blockIdx.x * NEURONS + row, feature = start + threadIdx.x;
            const bool inside = neuron < count && feature < dim;
            tile.of[row][threadIdx.x] = inside ? weights[static_cast<size_t>(neuron) * dim + feature] : 0.0f;
        }
        __syncthreads();
        for (int part = threadIdx.y; part < NEURONS && start + part < depth; part += SHARE)
            visit(start + part, tile.of[threadIdx.x][part]);
    }
}

// Added to S_w of weights that are not scaled: whatever falls below 2^-126 anywhere is far below its root.
constexpr float SMALLEST_SQUARE = 0x1p-110f;

// Given weights, ``count`` of them from weights[first_neuron] (dim) on.  With ``scaled`` each neuron is
// multiplied by the power of two that brings its largest entry into [1, 2), which leaves its signs
// alone.
extern "C" __global__ void __launch_bounds__(NEURONS* SHARE)
    given_panel(const float* weights, long long first_neuron, int scaled, int count, int dim, int depth,
                int neurons, const float* prefix_counts, float* panel, float* factors) {
    __shared__ Shares shares;
    __shared__ Tile tile;
    weights += first_neuron * dim;
    const int neuron = blockIdx.x * NEURONS + threadIdx.x;
    double scale = 1.0;
    if (scaled) {
        float mine = 0.0f;
        for_each_feature(tile, weights, count, dim, depth,
                         [&](int, float value) { mine = fmaxf(mine, fabsf(value)); });
        shares.of[threadIdx.y][threadIdx.x] = mine;
        __syncthreads();
        for (int share = 0; share < SHARE; ++share) mine = fmaxf(mine, shares.of[share][threadIdx.x]);
        scale = scale_to_one(mine);
    }
    float square = 0.0f;
    for_each_feature(tile, weights, count, dim, depth, [&](int feature, float value) {
        const float entry = static_cast<float>(__dmul_rn(value, scale));
        panel[static_cast<size_t>(feature) * neurons + neuron] = entry;
        square = __fmaf_rn(__fmul_rn(prefix_counts[feature], entry), entry, square);
    });
    finish_factor(shares, scaled || neuron >= count ? square : __fadd_rn(square, SMALLEST_SQUARE), factors);
}
