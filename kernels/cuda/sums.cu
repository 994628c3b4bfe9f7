// Plain sums over a block of neurons, and their conversion to fixed point.
//
// A thread has one sum and runs over the neurons in order, one multiply and one add each, as the loops of
// kernels/cpu/sums.py do: the bits are the same.  A sum is a chain, so there are as many threads as sums;
// several chunks of neurons at once (blockIdx.z, each with its own partial sums) keep the device busy. H
// (chunks, neurons, samples) holds rectified preactivations: neighbouring threads read neighbouring
// samples.

// partial (chunks, outputs, samples) += a[r, c] H[r, i]; a (chunks, neurons, outputs).
extern "C" __global__ void __launch_bounds__(256)
    weighted_sum(const double* H, const double* a, int neurons, int samples, int outputs, double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x, output = blockIdx.y;
    if (sample >= samples) return;
    const size_t first = static_cast<size_t>(blockIdx.z) * neurons;
    double& place = partial[(static_cast<size_t>(blockIdx.z) * outputs + output) * samples + sample];
    double sum = place;
    for (int r = 0; r < neurons; ++r) {
        const double weight = a[(first + r) * outputs + output];
        sum = __dadd_rn(sum, __dmul_rn(weight, H[(first + r) * samples + sample]));
    }
    place = sum;
}

// partial (chunks, samples) += H[r, i]^2.
extern "C" __global__ void __launch_bounds__(256)
    square_sum(const double* H, int neurons, int samples, double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= samples) return;
    const size_t first = static_cast<size_t>(blockIdx.z) * neurons;
    double& place = partial[static_cast<size_t>(blockIdx.z) * samples + sample];
    double sum = place;
    for (int r = 0; r < neurons; ++r) {
        const double value = H[(first + r) * samples + sample];
        sum = __dadd_rn(sum, __dmul_rn(value, value));
    }
    place = sum;
}

// partial (chunks, samples) += the weights of the active neurons of the chunk; weights (count,), and bits
// (>= samples, words) of neurons from the first chunk on, ``chunk`` neurons each.
extern "C" __global__ void __launch_bounds__(256)
    weighted_bit_count(const unsigned* bits, int words, const double* weights, int count, int chunk,
                       int samples, double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= samples) return;
    const int first = blockIdx.z * chunk, end = min(first + chunk, count);
    double& place = partial[static_cast<size_t>(blockIdx.z) * samples + sample];
    double sum = place;
    for (int r = first; r < end; ++r) {
        const unsigned word = bits[static_cast<size_t>(sample) * words + r / 32];
        if ((word >> (r % 32)) & 1u) sum = __dadd_rn(sum, weights[r]);
    }
    place = sum;
}

// out (chunks, neurons, samples): weights[r] where neuron r is active on the sample, else 0, for the
// neurons r = first, first + 1, ... of each chunk.  Products of it are sums of weights of neurons active on
// both.
extern "C" __global__ void __launch_bounds__(256)
    unpack_bits(const unsigned* bits, int lines, int words, const double* weights, int count, int chunk,
                int first, int samples, double* out) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= samples) return;
    const int neuron = blockIdx.z * chunk + first + blockIdx.y;
    double weight = 0.0;
    if (sample < lines && neuron < count) {
        const unsigned word = bits[static_cast<size_t>(sample) * words + neuron / 32];
        if ((word >> (neuron % 32)) & 1u) weight = weights[neuron];
    }
    out[(static_cast<size_t>(blockIdx.z) * gridDim.y + blockIdx.y) * samples + sample] = weight;
}

// totals (lines, columns) += round(values (chunks, lines, columns) row_scale[i] column_scale[j]) as int64.
// The scales are powers of two, so only the rounding loses anything, and sums of integers do not depend on
// their order.
extern "C" __global__ void __launch_bounds__(256)
    add_fixed_point(const double* values, int chunks, int lines, int columns, const double* row_scale,
                    const double* column_scale, long long* totals) {
    const size_t place = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const size_t entries = static_cast<size_t>(lines) * columns;
    if (place >= entries) return;
    const double left = row_scale[place / columns], right = column_scale[place % columns];
    long long total = totals[place];
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const double value = values[chunk * entries + place];
        total += __double2ll_rn(__dmul_rn(__dmul_rn(value, left), right));
    }
    totals[place] = total;
}
