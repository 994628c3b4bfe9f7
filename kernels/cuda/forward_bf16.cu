// The forward pass of bfloat16 weights on tensor cores: bits of X W^T > 0, certain if these add as
// forward_bf16.py assumes.
//
// An input is the sum of two bfloat16 numbers and a rest, which the bound has.  A block makes a tile of 128
// samples by 128 neurons, a warp 64 by 32 of it.  Slabs of 32 features, of both parts of x and of w, go through
// shared memory, three of them in flight: 24 KB each for 2^20 products of two numbers, 80 KB of matrix loads.
// Every slab is summed from 0, the second parts of x first while the sum is small, and then added to the sums
// of the slabs before in fp32: what a tensor core loses it loses of a slab only.
#include "ptx.cuh"
#include "signs.cuh"

constexpr int TILE = 128, SLAB = 32, PARTS = 2, THREADS = 256, STAGES = 3;
constexpr int WARP_ROWS = 64, WARP_NEURONS = 32;
constexpr int LINE = SLAB / 2, PIECES = LINE / 4;  // words, and pieces of 16 bytes, of a row in a slab
constexpr int TILE_WORDS = TILE * LINE, STAGE_WORDS = (PARTS + 1) * TILE_WORDS;

// Pieces of a row are exchanged so that eight rows of a matrix load lie in all 32 banks, of which one row takes
// half: of x eight neighbours, of w four pairs that are eight rows apart.
__device__ __forceinline__ unsigned* x_piece(unsigned* tile, int row, int piece) {
    return tile + row * LINE + (piece ^ (row / 2) % PIECES) * 4;
}
__device__ __forceinline__ unsigned* w_piece(unsigned* tile, int row, int piece) {
    return tile + row * LINE + (piece ^ (row / 8) % PIECES) * 4;
}

// The neuron within 32 that column c of fragment j belongs to: so lane t of four neighbours gets, of all four
// fragments, the neurons 8t .. 8t + 7, which are a byte of the pattern.
__device__ __forceinline__ int neuron_of(int j, int c) { return c / 2 * 8 + j * 2 + c % 2; }

// The row of a thread within 64: sums[i] is of fragment i / 2 and its upper or lower half.
__device__ __forceinline__ int row_of(int lane, int i) { return i / 2 * 16 + i % 2 * 8 + lane / 4; }

__device__ __forceinline__ void fetch(unsigned* stage, const unsigned* x, const unsigned* w, size_t slab,
                                      int rows, int neurons) {
#pragma unroll
    for (int number = threadIdx.x; number < TILE * PIECES; number += THREADS) {
        const int row = number / PIECES, piece = number % PIECES;
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
            copy_async_16(x_piece(stage + part * TILE_WORDS, row, piece),
                          x + (slab * PARTS + part) * rows * LINE + number * 4);
        copy_async_16(w_piece(stage + PARTS * TILE_WORDS, row, piece), w + slab * neurons * LINE + number * 4);
    }
}

// x (slabs, PARTS, rows, LINE) and w (slabs, neurons, LINE), pairs of bfloat16 with the even feature low.
__device__ __forceinline__ void multiply_tile(const unsigned* x, const unsigned* w, int slabs, int rows,
                                              int neurons, float (&sums)[EACH][EACH]) {
    extern __shared__ __align__(16) unsigned stages[];
    x += static_cast<size_t>(blockIdx.y) * TILE_WORDS;
    w += static_cast<size_t>(blockIdx.x) * TILE_WORDS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int x_row = warp % 2 * WARP_ROWS + lane % 16, w_row = warp / 2 * WARP_NEURONS;

    for (int slab = 0; slab < STAGES - 1; ++slab) {
        if (slab < slabs) fetch(stages + slab * STAGE_WORDS, x, w, slab, rows, neurons);
        copy_async_commit();
    }
    for (int slab = 0; slab < slabs; ++slab) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();  // the slab is there for all, and nobody reads the one before it any more
        const int next = slab + STAGES - 1;
        if (next < slabs) fetch(stages + next % STAGES * STAGE_WORDS, x, w, next, rows, neurons);
        copy_async_commit();

        unsigned* stage = stages + slab % STAGES * STAGE_WORDS;
        unsigned b[4][4];  // the pieces of a row, two for each product of 16 features
#pragma unroll
        for (int j = 0; j < 4; ++j)
            load_matrices(b[j], w_piece(stage + PARTS * TILE_WORDS, w_row + neuron_of(j, lane % 8), lane / 8));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            unsigned a[PARTS][2][4];
#pragma unroll
            for (int part = 0; part < PARTS; ++part)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    load_matrices(a[part][half],
                                  x_piece(stage + part * TILE_WORDS, x_row + 16 * i, 2 * half + lane / 16));
            float slab_sums[4][4] = {};
#pragma unroll
            for (int part = PARTS - 1; part >= 0; --part)
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const unsigned pieces[2] = {b[j][2 * half], b[j][2 * half + 1]};
                        mma_bf16(slab_sums[j], a[part][half], pieces);
                    }
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    float& total = sums[2 * i + e / 2][2 * j + e % 2];
                    total = __fadd_rn(total, slab_sums[j][e]);
                }
        }
    }
}

// rows and neurons are multiples of TILE; bits and undecided as write_signs has them.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    forward_bf16(const unsigned* x, const unsigned* w, const float* row_factors, const float* neuron_factors,
                 int slabs, int rows, int neurons, int words, int first_word, unsigned* bits,
                 unsigned* undecided) {
    float sums[EACH][EACH] = {};
    multiply_tile(x, w, slabs, rows, neurons, sums);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int first_row = blockIdx.y * TILE + warp % 2 * WARP_ROWS;
    const int neuron = blockIdx.x * TILE + warp / 2 * WARP_NEURONS + lane % 4 * EACH;
    write_signs(sums, [=](int i) { return first_row + row_of(lane, i); }, neuron, row_factors, neuron_factors,
                neurons, words, first_word, bits, undecided);
}

__device__ __forceinline__ unsigned pair(float even, float odd) {
    return __float_as_uint(even) >> 16 | (__float_as_uint(odd) & 0xFFFF0000u);
}

// w (gridDim.y slabs, neurons, LINE) of a panel (depth, neurons) of fp32 values that are bfloat16 numbers.
// A block takes 32 neurons, thread (n, p) piece p of neuron n.
extern "C" __global__ void __launch_bounds__(32 * PIECES)
    pack_weights(const float* panel, int depth, int neurons, uint4* w) {
    const size_t neuron = blockIdx.x * 32 + threadIdx.x;
    const int first = blockIdx.y * SLAB + threadIdx.y * 8;
    float values[8];
#pragma unroll
    for (int k = 0; k < 8; ++k)
        values[k] = first + k < depth ? panel[static_cast<size_t>(first + k) * neurons + neuron] : 0.0f;
    w[(blockIdx.y * static_cast<size_t>(neurons) + neuron) * PIECES + threadIdx.y] =
        uint4{pair(values[0], values[1]), pair(values[2], values[3]), pair(values[4], values[5]),
              pair(values[6], values[7])};
}
