// What a training run asks of a chunk of neurons: weights out of range, bits that have flipped, the distance
// travelled.
constexpr unsigned ALL = 0xFFFFFFFFu;
constexpr int THREADS = 256, NEURONS = 128;

// total[0] += the bits that differ between two patterns of so many words.
extern "C" __global__ void __launch_bounds__(THREADS)
    count_differences(const unsigned* bits, const unsigned* others, long long words,
                      unsigned long long* total) {
    const long long all = static_cast<long long>(gridDim.x) * THREADS;
    unsigned long long different = 0;
    for (long long word = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; word < words;
         word += all)
        different += __popc(bits[word] ^ others[word]);
    for (int apart = 16; apart > 0; apart /= 2) different += __shfl_xor_sync(ALL, different, apart);
    if (threadIdx.x % 32 == 0 && different != 0) atomicAdd(total, different);
}

// sums and largest (blocks,) float64: of ||weights[r] - start[r]||^2 over the NEURONS neurons of a block.
//
// A warp takes a neuron at a time, its lanes every 32nd feature, so memory is read along the features; the
// order of every sum is fixed.
extern "C" __global__ void __launch_bounds__(THREADS)
    distance_moved(const float* weights, const float* start, int count, int dim, double* sums,
                   double* largest) {
    __shared__ double squares[NEURONS];
    const int lane = threadIdx.x % 32;
    for (int place = threadIdx.x / 32; place < NEURONS; place += THREADS / 32) {
        const int neuron = blockIdx.x * NEURONS + place;
        double square = 0.0;
        if (neuron < count) {
            const size_t first = static_cast<size_t>(neuron) * dim;
            for (int k = lane; k < dim; k += 32) {
                const double change =
                    __dadd_rn(weights[first + k], -static_cast<double>(start[first + k]));
                square = __fma_rn(change, change, square);
            }
        }
        for (int apart = 16; apart > 0; apart /= 2)
            square = __dadd_rn(square, __shfl_xor_sync(ALL, square, apart));
        if (lane == 0) squares[place] = square;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    double total = 0.0, most = 0.0;
    for (int place = 0; place < NEURONS; ++place) {
        total = __dadd_rn(total, squares[place]);
        most = squares[place] > most ? squares[place] : most;
    }
    sums[blockIdx.x] = total;
    largest[blockIdx.x] = most;
}

// found[0] = 1 where a factor of a panel is not finite: the squares of a neuron overflow, or one is NaN.
extern "C" __global__ void __launch_bounds__(THREADS)
    find_out_of_range(const float* factors, int neurons, unsigned* found) {
    const int neuron = blockIdx.x * THREADS + threadIdx.x;
    if (neuron < neurons && !(fabsf(factors[neuron]) <= 0x1.fffffep127f)) found[0] = 1u;
}
