// From sums to bits: the end of both forward passes.
#pragma once

constexpr int EACH = 8;  // rows and neurons of a thread

__device__ __forceinline__ unsigned char& byte_of(unsigned* words, int place) {
    return reinterpret_cast<unsigned char*>(words)[place];
}

// Bits of sums[i][j], of row row_of(i) and neuron ``neuron`` + j, a multiple of 8.  A sum is certain beyond
// row_factors[row] * neuron_factors[neuron].  Where it is not its bit is 0, and 1 in undecided (rows,
// neurons / 32).  A line of bits has ``words`` words, of which those of these neurons begin at ``first_word``.
template <class RowOf>
__device__ __forceinline__ void write_signs(const float (&sums)[EACH][EACH], RowOf row_of, int neuron,
                                            const float* row_factors, const float* neuron_factors,
                                            int neurons, int words, int first_word, unsigned* bits,
                                            unsigned* undecided) {
    float largest_row = 0.0f, largest_neuron = 0.0f, neuron_factor[EACH];
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        neuron_factor[j] = neuron_factors[neuron + j];
        largest_neuron = fmaxf(largest_neuron, neuron_factor[j]);
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) largest_row = fmaxf(largest_row, row_factors[row_of(i)]);
    const float largest = __fmul_rn(largest_row, largest_neuron);
    bool decided = true;
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) decided &= fabsf(sums[i][j]) > largest;  // false for NaN as well

#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const size_t row = row_of(i);
        unsigned positive = 0, open = 0;
#pragma unroll
        for (int j = 0; j < EACH; ++j) positive |= (sums[i][j] > 0.0f ? 1u : 0u) << j;
        if (!decided) {
            const float factor = row_factors[row];
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                const bool zero = factor == 0.0f || neuron_factor[j] == 0.0f;  // then the sum is 0 exactly
                const bool certain = fabsf(sums[i][j]) > __fmul_rn(factor, neuron_factor[j]);
                open |= (zero || certain ? 0u : 1u) << j;
            }
        }
        byte_of(bits + row * words + first_word, neuron / 8) = static_cast<unsigned char>(positive & ~open);
        byte_of(undecided + row * (neurons / 32), neuron / 8) = static_cast<unsigned char>(open);
    }
}
