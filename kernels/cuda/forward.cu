// The forward pass: certified bits of X W^T > 0; the fp32 sums never leave the registers.
//
// A block makes a tile of 128 samples by 128 neurons, a thread 8 x 8 of it.  Slabs of 16 features of both
// sides go through shared memory, three of them in flight.  For each feature a warp reads 6 rows of 128
// bytes of it and makes 64 multiply-adds, so it is these that limit the kernel: 128 x 128 of them for 1 KB
// from the cache.
//
// Sums run in chains of DEPTH_BLOCK fused multiply-adds whose results are added, which is what the bound
// row_factors[i] * neuron_factors[j] on their error is for (kernels/cpu/layout.py).  A sign that it leaves
// open is marked in ``undecided`` (signs.cuh), and settle.cu looks at it again.
#include "ptx.cuh"
#include "signs.cuh"

constexpr int TILE = 128, SLAB = 16, THREADS = 256, STAGES = 3;
constexpr int DEPTH_BLOCK = 128;
constexpr int QUARTER = TILE / 4;  // a row of a slab in pieces of four floats

struct Slabs {
    float4 x[STAGES][SLAB][QUARTER], w[STAGES][SLAB][QUARTER];
};

// Starts the copy of the slab that begins at ``feature``.  Where pieces of w go lets thread t of sixteen
// read its neurons 8t .. 8t + 7 as two pieces, each next to those of its neighbours: one byte of the
// pattern a thread.
__device__ __forceinline__ void fetch(Slabs& slabs, int stage, const float* x, const float* w, int feature,
                                      int rows, int neurons) {
    for (int piece = threadIdx.x; piece < SLAB * QUARTER; piece += THREADS) {
        const int k = piece / QUARTER, column = piece % QUARTER;
        const size_t line = feature + k;
        copy_async_16(&slabs.x[stage][k][column], x + line * rows + 4 * column);
        copy_async_16(&slabs.w[stage][k][column / 2 + column % 2 * (QUARTER / 2)],
                      w + line * neurons + 4 * column);
    }
}

__device__ __forceinline__ void spread(float4 low, float4 high, float (&values)[EACH]) {
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

// The samples of a thread within the tile: two runs of four.
__device__ __forceinline__ int row_of(int thread, int i) { return 4 * thread + i % 4 + i / 4 * (TILE / 2); }

// partial (outputs, rows) = sum_r a[c, r] relu(h_ri) over the tile, of a (outputs, neurons): chains over
// the eight neurons of a thread, then over the sixteen threads.  NaN stays NaN.
__device__ __forceinline__ void write_outputs(Slabs& slabs, const float (&sums)[EACH][EACH], const float* a,
                                              int outputs, int neurons, int rows, float* partial) {
    float (&by_thread)[16][TILE] = *reinterpret_cast<float (*)[16][TILE]>(&slabs);
    const int across = threadIdx.x % 16, down = threadIdx.x / 16;
    for (int c = 0; c < outputs; ++c) {
        __syncthreads();  // what is in shared memory has been read
        const float* own = a + static_cast<size_t>(c) * neurons + EACH * across;
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            float sum = 0.0f;
#pragma unroll
            for (int j = 0; j < EACH; ++j)
                sum = __fmaf_rn(own[j], sums[i][j] < 0.0f ? 0.0f : sums[i][j], sum);
            by_thread[across][row_of(down, i)] = sum;
        }
        __syncthreads();
        if (threadIdx.x < TILE) {
            float total = 0.0f;
            for (int thread = 0; thread < 16; ++thread)
                total = __fadd_rn(total, by_thread[thread][threadIdx.x]);
            partial[static_cast<size_t>(c) * rows + threadIdx.x] = total;
        }
    }
}

// x (depth, rows), w (depth, neurons); the rest as write_signs has it.
template <bool DEEP, class Finish>
__device__ __forceinline__ void forward_tile(Slabs& slabs, const float* x, const float* w,
                                             const float* row_factors, const float* neuron_factors, int depth,
                                             int rows, int neurons, int words, int first_word, unsigned* bits,
                                             unsigned* undecided, Finish finish) {
    const int across = threadIdx.x % 16, down = threadIdx.x / 16;
    const int first_row = blockIdx.y * TILE, first_neuron = blockIdx.x * TILE;
    x += first_row;
    w += first_neuron;
    float sums[EACH][EACH] = {}, totals[EACH][EACH] = {};

    const int count = depth / SLAB;
    for (int slab = 0; slab < STAGES - 1; ++slab) {
        if (slab < count) fetch(slabs, slab, x, w, slab * SLAB, rows, neurons);
        copy_async_commit();
    }
    for (int slab = 0; slab < count; ++slab) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();  // the slab is there for all, and nobody reads the one before it any more
        const int next = slab + STAGES - 1;
        if (next < count) fetch(slabs, next % STAGES, x, w, next * SLAB, rows, neurons);
        copy_async_commit();
        if (DEEP && slab != 0 && slab % (DEPTH_BLOCK / SLAB) == 0) {
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) {
                    totals[i][j] = __fadd_rn(totals[i][j], sums[i][j]);
                    sums[i][j] = 0.0f;
                }
        }
        const int stage = slab % STAGES;
#pragma unroll
        for (int k = 0; k < SLAB; ++k) {
            float left[EACH], right[EACH];
            spread(slabs.x[stage][k][down], slabs.x[stage][k][down + QUARTER / 2], left);
            spread(slabs.w[stage][k][across], slabs.w[stage][k][across + QUARTER / 2], right);
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sums[i][j] = __fmaf_rn(left[i], right[j], sums[i][j]);
        }
    }

    if (DEEP) {
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < EACH; ++j) sums[i][j] = __fadd_rn(totals[i][j], sums[i][j]);
    }
    write_signs(sums, [=](int i) { return first_row + row_of(down, i); }, first_neuron + EACH * across,
                row_factors, neuron_factors, neurons, words, first_word, bits, undecided);
    finish(sums);
}

struct Nothing {
    __device__ __forceinline__ void operator()(const float (&)[EACH][EACH]) const {}
};

// depth is a multiple of SLAB, rows and neurons are multiples of TILE.  Up to DEPTH_BLOCK features:
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    forward(const float* x, const float* w, const float* row_factors, const float* neuron_factors, int depth,
            int rows, int neurons, int words, int first_word, unsigned* bits, unsigned* undecided) {
    __shared__ Slabs slabs;
    forward_tile<false>(slabs, x, w, row_factors, neuron_factors, depth, rows, neurons, words, first_word,
                        bits, undecided, Nothing{});
}

// More of them: the sums of the depth blocks take as many registers again.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    forward_deep(const float* x, const float* w, const float* row_factors, const float* neuron_factors,
                 int depth, int rows, int neurons, int words, int first_word, unsigned* bits,
                 unsigned* undecided) {
    __shared__ Slabs slabs;
    forward_tile<true>(slabs, x, w, row_factors, neuron_factors, depth, rows, neurons, words, first_word,
                       bits, undecided, Nothing{});
}

// Both of a training step, any depth: and partial (neurons / TILE, outputs, rows), the outputs of each tile
// of neurons.  a (outputs, all_neurons), of which these begin at first_word.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    forward_step(const float* x, const float* w, const float* row_factors, const float* neuron_factors,
                 int depth, int rows, int neurons, int words, int first_word, unsigned* bits,
                 unsigned* undecided, const float* a, int outputs, int all_neurons, float* partial) {
    __shared__ Slabs slabs;
    a += 32 * first_word + blockIdx.x * TILE;
    partial += static_cast<size_t>(blockIdx.x) * outputs * rows + blockIdx.y * TILE;
    forward_tile<true>(slabs, x, w, row_factors, neuron_factors, depth, rows, neurons, words, first_word,
                       bits, undecided, [&](const float (&sums)[EACH][EACH]) {
                           write_outputs(slabs, sums, a, outputs, all_neurons, rows, partial);
                       });
}

// totals (outputs, rows) += partial (tiles, outputs, rows) in float64, tile by tile.
extern "C" __global__ void __launch_bounds__(THREADS)
    add_outputs(const float* partial, int tiles, int entries, double* totals) {
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= entries) return;
    double total = totals[place];
    for (size_t tile = 0; tile < tiles; ++tile)
        total = __dadd_rn(total, static_cast<double>(partial[tile * entries + place]));
    totals[place] = total;
}
