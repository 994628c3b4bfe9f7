// The masked inputs of a training step, and what its passes read of them.
#include "random.cuh"

constexpr unsigned ALL = 0xFFFFFFFFu;
constexpr int THREADS = 256, TILE = 32, SHARE = 8;

// The exponent e of a magnitude in [2^(e - 1), 2^e), that of frexp; of a value that is not 0.
__device__ __forceinline__ int exponent_of(float value) {
    return static_cast<int>((__double_as_longlong(value) >> 52) & 0x7FF) - 1022;
}

// 2^exponent, of exponents from -1022 to 1023.
__device__ __forceinline__ double power_of_two(int exponent) {
    return __longlong_as_double((exponent + 1023LL) << 52);
}

// value 2^exponent, rounded once to fp32; exponents up to 1023.
__device__ __forceinline__ float times_power(float value, int exponent) {
    if (exponent < -600) return 0.0f;  // far below every float
    return __double2float_rn(__dmul_rn(value, power_of_two(exponent)));
}

// out (count, dim): rows rows[sources[i]] of the data, masked as masks.py does: x fma(scale, z, 1) with
// ``multiplies``, else fma(scale, z, x), z the normals of the row's id.  found[0] = 1 where one is not finite.
// A thread makes four features.
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_rows(const float* rows, const unsigned long long* ids, const int* sources, const float* scale,
                int multiplies, u64 seed, unsigned stream_word, int count, int dim, float* out,
                unsigned* found) {
    const int blocks = (dim + 3) / 4;
    const size_t place = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (place >= static_cast<size_t>(count) * blocks) return;
    const size_t row = place / blocks, source = sources[row];
    const int block = static_cast<int>(place % blocks);
    const float4 normals = random_normals(seed, ids[source], block, stream_word);
    const float z[4] = {normals.x, normals.y, normals.z, normals.w};
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        const int feature = 4 * block + part;
        if (feature >= dim) break;
        const float x = rows[source * dim + feature];
        const float value = multiplies ? __fmul_rn(x, __fmaf_rn(scale[feature], z[part], 1.0f))
                                       : __fmaf_rn(scale[feature], z[part], x);
        out[row * dim + feature] = value;
        if (!isfinite(value)) found[0] = 1u;
    }
}

// out (count, dim) = rows[sources[i]] as they are.
extern "C" __global__ void __launch_bounds__(THREADS)
    chosen_rows(const float* rows, const int* sources, int count, int dim, float* out) {
    const size_t place = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (place < static_cast<size_t>(count) * dim)
        out[place] = rows[static_cast<size_t>(sources[place / dim]) * dim + place % dim];
}

// For each row: exponents[i], 2^-exponents[i] of which brings its largest entry into [1, 2), and factors[i],
// at least ``bound`` sqrt(sum_k prefix_counts[k] x_k^2) of the row so scaled.  ``bound`` has room for the
// rounding of the sum; a zero row has the factor 0 and the exponent -1, that of frexp less 1.
//
// A warp takes a row, its lanes every 32nd feature.
extern "C" __global__ void __launch_bounds__(THREADS)
    measure_rows(const float* rows, const float* prefix_counts, double bound, int count, int dim, int lines,
                 int* exponents, float* factors) {
    const int lane = threadIdx.x % 32, line = (blockIdx.x * THREADS + threadIdx.x) / 32;
    if (line >= lines) return;
    const float* row = rows + static_cast<size_t>(line) * dim;
    float largest = 0.0f;
    for (int k = lane; line < count && k < dim; k += 32) largest = fmaxf(largest, fabsf(row[k]));
    for (int apart = 16; apart > 0; apart /= 2) largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, apart));
    const int exponent = largest > 0.0f ? exponent_of(largest) - 1 : -1;
    double square = 0.0;
    for (int k = lane; largest > 0.0f && k < dim; k += 32) {
        const double value = times_power(row[k], -exponent);
        square = __fma_rn(__dmul_rn(prefix_counts[k], value), value, square);
    }
    for (int apart = 16; apart > 0; apart /= 2)
        square = __dadd_rn(square, __shfl_xor_sync(ALL, square, apart));
    if (lane != 0) return;
    exponents[line] = exponent;
    factors[line] = __double2float_ru(__dmul_rn(bound, __dsqrt_rn(square)));
}

// panel (depth, lines): the rows, each times 2^-exponents[i], zeros beyond; memory is read along the features
// and written along the rows.  A block has 32 rows and 32 features.
extern "C" __global__ void __launch_bounds__(TILE* SHARE)
    scaled_panel(const float* rows, const int* exponents, int count, int dim, int depth, int lines,
                 float* panel) {
    __shared__ float tile[TILE][TILE + 1];
    const int first_row = blockIdx.x * TILE, first_feature = blockIdx.y * TILE;
    for (int part = threadIdx.y; part < TILE; part += SHARE) {
        const int row = first_row + part, feature = first_feature + threadIdx.x;
        const bool inside = row < count && feature < dim;
        tile[part][threadIdx.x] =
            inside ? times_power(rows[static_cast<size_t>(row) * dim + feature], -exponents[row]) : 0.0f;
    }
    __syncthreads();
    for (int part = threadIdx.y; part < TILE; part += SHARE) {
        const int feature = first_feature + part;
        if (feature < depth)
            panel[static_cast<size_t>(feature) * lines + first_row + threadIdx.x] = tile[threadIdx.x][part];
    }
}

constexpr int NONE = -0x7FFFFFFF - 1;  // the exponent of 0

// exponents[k] raised to the largest of those of 2^own[i] rows[i, k].  A thread has a feature, a block of the
// grid's second dimension ``share`` rows.
extern "C" __global__ void __launch_bounds__(THREADS)
    raise_exponents(const float* rows, const int* own, int count, int dim, int share, int* exponents) {
    const int feature = blockIdx.x * THREADS + threadIdx.x;
    if (feature >= dim) return;
    const int first = blockIdx.y * share, last = min(first + share, count);
    int largest = NONE;
    for (int row = first; row < last; ++row) {
        const float value = rows[static_cast<size_t>(row) * dim + feature];
        if (value != 0.0f && own[row] != NONE) largest = max(largest, exponent_of(value) + own[row]);
    }
    if (largest != NONE) atomicMax(&exponents[feature], largest);
}

// out (lines, features) = 2^(own[i] - exponents[k]) rows[i, k], zeros beyond (count, dim), and
// scale[k] = 2^exponents[k], 1 for columns of zeros.
extern "C" __global__ void __launch_bounds__(THREADS)
    weighted_rows(const float* rows, const int* own, const int* exponents, int count, int dim, int lines,
                  int features, float* out, double* scale) {
    const size_t place = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (place >= static_cast<size_t>(lines) * features) return;
    const int row = static_cast<int>(place / features), feature = static_cast<int>(place % features);
    const bool inside = row < count && feature < dim;
    const float value = inside && own[row] != NONE ? rows[static_cast<size_t>(row) * dim + feature] : 0.0f;
    out[place] = value == 0.0f ? 0.0f : times_power(value, own[row] - exponents[feature]);
    if (row == 0 && feature < dim) {
        const int exponent = exponents[feature] == NONE ? 0 : exponents[feature], half = exponent / 2;
        scale[feature] = __dmul_rn(power_of_two(half), power_of_two(exponent - half));
    }
}
