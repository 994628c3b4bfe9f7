// counts[i, j] += popcount(rows[i] & columns[j]): a matrix product of bits, on tensor cores.
//
// A block makes 128 x 256 counts for a range of steps of 1024 neurons.  Each step is copied into one of STAGES
// parts of shared memory while earlier ones are multiplied: 384 lines of 128 bytes, whose eight pieces of 16
// bytes are exchanged (piece ^ row % 8), so that the eight rows that a matrix load takes at a time lie in all 32
// banks.  Each of the 8 warps keeps 64 x 64 counts in 128 registers.
//
// Work of a step, in each block: 128 * 256 * 1024 = 2^25 multiply-adds from
//     48 KB from the second-level cache                       683 multiply-adds a byte
//     8 warps * 4 * (64 + 64) * 32 bytes = 128 KB from shared memory     256 multiply-adds a byte
// and 1024 products of bits (m16n8k256) or 8192 of bytes (m16n8k32).  At 128 bytes a cycle shared memory is busy
// for 1024 cycles with these loads and for 384 with the copies, so it would limit what does more than 2^25 / 1408
// = 23800 multiply-adds a cycle: products of bytes do not (an H100: 4096), those of bits could, on a chip that
// does them at 8 times the rate of bytes (an A100: 16384).  A block ends by adding 128 KB of counts in the
// second-level cache; 16 steps keep that to a seventh of the bytes that pass through it.  Bytes are made of the
// registers that products of bits take: (word >> s) & 0x01010101 are four neurons, the same ones on both sides,
// for 64 integer operations beside 32 products.
#include "ptx.cuh"

constexpr int STEP_WORDS = 32;  // of each row in a step: 128 bytes
constexpr int ROWS = 128, COLUMNS = 256, THREADS = 256;
constexpr int WARP_ROWS = 64, WARP_COLUMNS = 64;
constexpr int STAGE_WORDS = (ROWS + COLUMNS) * STEP_WORDS;
constexpr int PIECES = STEP_WORDS / 4;  // of 16 bytes, in a row of a step

struct Bits {
    static __device__ __forceinline__ void multiply(int (&sums)[4][8][4], const unsigned (&a)[4][4], const unsigned (&b)[8][2]) {
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) mma_b1(sums[i][j], a[i], b[j]);
    }
};

struct Bytes {
    static __device__ __forceinline__ void multiply(int (&sums)[4][8][4], const unsigned (&a)[4][4], const unsigned (&b)[8][2]) {
        constexpr unsigned ONES = 0x01010101;
#pragma unroll
        for (int s = 0; s < 8; s++) {
            unsigned left[4][4];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int word = 0; word < 4; word++) left[i][word] = a[i][word] >> s & ONES;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const unsigned right[2] = {b[j][0] >> s & ONES, b[j][1] >> s & ONES};
#pragma unroll
                for (int i = 0; i < 4; i++) mma_u8(sums[i][j], left[i], right);
            }
        }
    }
};

// Where a piece of 16 bytes of a row is in a stage.
__device__ __forceinline__ unsigned* piece_of(unsigned* stage, int row, int piece) {
    return stage + row * STEP_WORDS + (piece ^ (row % 8)) * 4;
}

// Start copying a step of rows of a pattern; eight neighbouring threads take a line.
template <int COUNT>
__device__ __forceinline__ void copy_rows(unsigned* stage, const unsigned* pattern, int stride) {
#pragma unroll
    for (int i = 0; i < COUNT * PIECES / THREADS; i++) {
        const int number = i * THREADS + threadIdx.x, row = number / PIECES, piece = number % PIECES;
        copy_async_16(piece_of(stage, row, piece), pattern + static_cast<size_t>(row) * stride + piece * 4);
    }
}

template <class Form>
__device__ __forceinline__ void count(const unsigned* rows, const unsigned* columns, int rows_stride, int columns_stride,
                                      int steps, int steps_per_block, int symmetric, int* counts, int counts_stride) {
    extern __shared__ __align__(16) unsigned stages[];
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    if (symmetric && first_row >= first_column + COLUMNS) return;  // all of it is below the diagonal
    const int first_step = blockIdx.z * steps_per_block;
    const int own_steps = min(steps_per_block, steps - first_step);
    rows += static_cast<size_t>(first_row) * rows_stride + first_step * STEP_WORDS;
    columns += static_cast<size_t>(first_column) * columns_stride + first_step * STEP_WORDS;

    auto start_copy = [&](int step) {
        if (step < own_steps) {
            unsigned* stage = stages + step % STAGES * STAGE_WORDS;
            copy_rows<ROWS>(stage, rows + step * STEP_WORDS, rows_stride);
            copy_rows<COLUMNS>(stage + ROWS * STEP_WORDS, columns + step * STEP_WORDS, columns_stride);
        }
        copy_async_commit();  // of nothing, at the end: so that the groups after a step are always as many
    };

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warp_row = warp % 2 * WARP_ROWS, warp_column = warp / 2 * WARP_COLUMNS;
    // Which row and half a lane addresses for the four blocks of a matrix load: of a fragment of the left
    // side (rows 0-7 and 8-15, then the other half), and of two of the right side (halves first).
    const int left_row = warp_row + lane % 16, left_half = lane / 16;
    const int right_row = warp_column + lane % 8 + lane / 16 * 8, right_half = lane / 8 % 2;

    int sums[4][8][4] = {};
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) start_copy(step);
    for (int step = 0; step < own_steps; step++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();  // the copies of all threads are there, and all are done with the step before
        start_copy(step + STAGES - 1);
        unsigned* left = stages + step % STAGES * STAGE_WORDS;
        unsigned* right = left + ROWS * STEP_WORDS;
#pragma unroll
        for (int piece = 0; piece < PIECES; piece += 2) {
            unsigned a[4][4], b[8][2];
#pragma unroll
            for (int i = 0; i < 4; i++) load_matrices(a[i], piece_of(left, left_row + i * 16, piece + left_half));
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                unsigned both[4];
                load_matrices(both, piece_of(right, right_row + j * 8, piece + right_half));
                b[j][0] = both[0], b[j][1] = both[1];
                b[j + 1][0] = both[2], b[j + 1][1] = both[3];
            }
            Form::multiply(sums, a, b);
        }
    }

    counts += static_cast<size_t>(first_row + warp_row + lane / 4) * counts_stride + first_column + warp_column + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                atomicAdd(counts + static_cast<size_t>(i * 16 + e / 2 * 8) * counts_stride + j * 8 + e % 2, sums[i][j][e]);
}

#define KERNEL_ARGUMENTS                                                                                    \
    const unsigned *rows, const unsigned *columns, int rows_stride, int columns_stride, int steps,          \
        int steps_per_block, int symmetric, int *counts, int counts_stride
#define FORWARDED rows, columns, rows_stride, columns_stride, steps, steps_per_block, symmetric, counts, counts_stride

extern "C" __global__ void __launch_bounds__(THREADS, 1) count_b1(KERNEL_ARGUMENTS) { count<Bits>(FORWARDED); }
extern "C" __global__ void __launch_bounds__(THREADS, 1) count_u8(KERNEL_ARGUMENTS) { count<Bytes>(FORWARDED); }
