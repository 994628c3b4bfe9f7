// The float64 product in a fixed order: what every float sum of the package is made of.
//
// C[i, j] is continued by one chain of fused multiply-adds over k, in order, whatever the tile and the
// grid, so its bits are those of the other backends.  A (depth, rows) and B (depth, columns) are stored
// line by line of k, along which their tiles are read.
//
// A block makes 64 x 64 of C, a thread 4 x 4.  For each k a warp makes 16 multiply-adds, 32 cycles of one
// of the four schedulers, and reads 6 times 128 bytes of shared memory: for 8 warps 64 cycles of
// arithmetic, 48 of reading, so arithmetic is the limit.
constexpr int TILE = 64, SLAB = 16, THREADS = 256, EACH = 4;

struct Slabs {
    __align__(16) double left[2][SLAB][TILE];
    __align__(16) double right[2][SLAB][TILE];
};

// Thread t of sixteen has columns 2t, 2t + 1, 32 + 2t, 33 + 2t: pieces of 16 bytes beside its neighbours'.
__device__ __forceinline__ int column_of(int thread, int j) {
    return 2 * thread + j % 2 + j / 2 * (TILE / 2);
}

template <class Operand>
__device__ __forceinline__ void fetch(double (&slab)[SLAB][TILE], const Operand* matrix, int start, int depth,
                                      int columns) {
#pragma unroll
    for (int turn = 0; turn < SLAB * TILE / THREADS; ++turn) {
        const int line = turn * (THREADS / TILE) + threadIdx.x / TILE, column = threadIdx.x % TILE;
        const size_t k = start + line;
        slab[line][column] = k < depth ? static_cast<double>(matrix[k * columns + column]) : 0.0;
    }
}

__device__ __forceinline__ void read_columns(const double (&line)[TILE], int thread, double (&values)[EACH]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const double2 pair = *reinterpret_cast<const double2*>(&line[column_of(thread, 2 * half)]);
        values[2 * half] = pair.x;
        values[2 * half + 1] = pair.y;
    }
}

// Continues the sums of this thread over ``depth`` lines of the tiles that begin at a and b.
template <class Operand>
__device__ __forceinline__ void add_products(Slabs& slabs, const Operand* a, const Operand* b, int depth,
                                             int rows, int columns, double (&sums)[EACH][EACH]) {
    fetch(slabs.left[0], a, 0, depth, rows);
    fetch(slabs.right[0], b, 0, depth, columns);
    for (int start = 0, stage = 0; start < depth; start += SLAB, stage ^= 1) {
        __syncthreads();  // the slab is there for all, and nobody reads the one before it any more
        if (start + SLAB < depth) {
            fetch(slabs.left[stage ^ 1], a, start + SLAB, depth, rows);
            fetch(slabs.right[stage ^ 1], b, start + SLAB, depth, columns);
        }
#pragma unroll
        for (int k = 0; k < SLAB; ++k) {
            double x[EACH], y[EACH];
            read_columns(slabs.left[stage][k], threadIdx.x / 16, x);
            read_columns(slabs.right[stage][k], threadIdx.x % 16, y);
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sums[i][j] = __fma_rn(x[i], y[j], sums[i][j]);
        }
    }
}

// Calls visit(entry of C, its sum, its row and column) for the 4 x 4 entries of this thread.
template <class Visit>
__device__ __forceinline__ void for_each_entry(double* c, int columns, double (&sums)[EACH][EACH],
                                               Visit visit) {
    const int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            const int row = first_row + column_of(threadIdx.x / 16, i);
            const int column = first_column + column_of(threadIdx.x % 16, j);
            visit(c[static_cast<size_t>(row) * columns + column], sums[i][j], row, column);
        }
}

// c (chunks, rows, columns) = the positive part of A^T B: the rectified preactivations of ``rows`` neurons
// of each chunk, from their weights a (chunks, lines >= depth, rows) and the inputs b (depth, columns) in
// fp32. blockIdx.z is the chunk; rows and columns are multiples of TILE.
extern "C" __global__ void __launch_bounds__(THREADS)
    rectified_product(const float* a, int lines, const float* b, int depth, int rows, int columns,
                      double* c) {
    __shared__ Slabs slabs;
    const size_t chunk = blockIdx.z;
    a += chunk * lines * rows + blockIdx.y * TILE;
    b += blockIdx.x * TILE;
    c += chunk * rows * columns;
    double sums[EACH][EACH] = {};
    add_products(slabs, a, b, depth, rows, columns, sums);
    for_each_entry(c, columns, sums,
                   [](double& entry, double sum, int, int) { entry = sum > 0.0 ? sum : 0.0; });
}

// The same for directions in the place of weights, and 0 where the neuron is not active on the sample: bits
// (samples, words) of all chunks, ``neurons`` in each, of which these are ``first``, first + 1, ...
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_product(const float* a, int lines, const float* b, int depth, int rows, int columns,
                   const unsigned* bits, int samples, int words, int neurons, int first, double* c) {
    __shared__ Slabs slabs;
    const size_t chunk = blockIdx.z;
    a += chunk * lines * rows + blockIdx.y * TILE;
    b += blockIdx.x * TILE;
    c += chunk * rows * columns;
    first += blockIdx.z * neurons;
    double sums[EACH][EACH] = {};
    add_products(slabs, a, b, depth, rows, columns, sums);
    for_each_entry(c, columns, sums, [&](double& entry, double sum, int row, int column) {
        const int neuron = first + row;
        const bool known = column < samples && neuron / 32 < words;
        const unsigned word = known ? bits[static_cast<size_t>(column) * words + neuron / 32] : 0u;
        entry = (word >> (neuron % 32)) & 1u ? sum : 0.0;
    });
}

// c (chunks, rows, columns) continued by A^T B, a (chunks, depth, rows) and b (chunks, depth, columns).
// With ``upper`` tiles below the diagonal are left alone.
extern "C" __global__ void __launch_bounds__(THREADS)
    ordered_product(const double* a, const double* b, int depth, int rows, int columns, int upper,
                    double* c) {
    __shared__ Slabs slabs;
    if (upper && blockIdx.y > blockIdx.x) return;
    const size_t chunk = blockIdx.z;
    a += chunk * depth * rows + blockIdx.y * TILE;
    b += chunk * depth * columns + blockIdx.x * TILE;
    c += chunk * rows * columns;
    double sums[EACH][EACH];
    for_each_entry(c, columns, sums, [](double& entry, double& sum, int, int) { sum = entry; });
    add_products(slabs, a, b, depth, rows, columns, sums);
    for_each_entry(c, columns, sums, [](double& entry, double sum, int, int) { entry = sum; });
}
