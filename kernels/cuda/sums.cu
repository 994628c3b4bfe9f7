// Plain sums over a block of neurons, and their conversion to fixed point.
//
// A thread has one sum and runs over the neurons in order, one multiply and one add each, as the loops of
// kernels/cpu/sums.py do: the bits are the same.  H (neurons, samples) holds rectified preactivations, so
// that neighbouring threads read neighbouring samples.

// partial (outputs, samples) += a[r, c] H[r, i]; a (count, outputs).
extern "C" __global__ void __launch_bounds__(256)
    weighted_sum(const double* H, const double* a, int count, int samples, int outputs, double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x, output = blockIdx.y;
    if (sample >= samples) return;
    double sum = partial[static_cast<size_t>(output) * samples + sample];
    for (int r = 0; r < count; ++r) {
        const double weight = a[static_cast<size_t>(r) * outputs + output];
        sum = __dadd_rn(sum, __dmul_rn(weight, H[static_cast<size_t>(r) * samples + sample]));
    }
    partial[static_cast<size_t>(output) * samples + sample] = sum;
}

// partial (samples,) += H[r, i]^2.
extern "C" __global__ void __launch_bounds__(256)
    square_sum(const double* H, int count, int samples, double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= samples) return;
    double sum = partial[sample];
    for (int r = 0; r < count; ++r) {
        const double value = H[static_cast<size_t>(r) * samples + sample];
        sum = __dadd_rn(sum, __dmul_rn(value, value));
    }
    partial[sample] = sum;
}

// partial (samples,) += the weights (count,) of the active neurons; bits (>= samples, words).
extern "C" __global__ void __launch_bounds__(256)
    weighted_bit_count(const unsigned* bits, int words, const double* weights, int count, int samples,
                       double* partial) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= samples) return;
    double sum = partial[sample];
    for (int r = 0; r < count; ++r) {
        const unsigned word = bits[static_cast<size_t>(sample) * words + r / 32];
        if ((word >> (r % 32)) & 1u) sum = __dadd_rn(sum, weights[r]);
    }
    partial[sample] = sum;
}

// out (count, samples): weights[r] where neuron first + r is active on the sample, else 0.  Its products
// with itself are sums of weights over the neurons active on both.
extern "C" __global__ void __launch_bounds__(256)
    unpack_bits(const unsigned* bits, int words, int first, const double* weights, int lines, int samples,
                double* out) {
    const int sample = blockIdx.x * blockDim.x + threadIdx.x, neuron = blockIdx.y;
    if (sample >= samples) return;
    const int place = first + neuron;
    const bool active =
        sample < lines && (bits[static_cast<size_t>(sample) * words + place / 32] >> (place % 32)) & 1u;
    out[static_cast<size_t>(neuron) * samples + sample] = active ? weights[neuron] : 0.0;
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
