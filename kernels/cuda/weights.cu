// Virtual weights and output signs as plain arrays, for what needs them stored.
#include "random.cuh"

// out (count, dim): the normals of the ids first .. first + count - 1, rounded to bfloat16 with ``bfloat16``,
// times ``scale`` in float64.  A thread makes four features.
extern "C" __global__ void __launch_bounds__(256)
    random_rows(u64 seed, unsigned stream_word, u64 first, int bfloat16, double scale, int count, int dim,
                float* out) {
    const int blocks = (dim + 3) / 4;
    const size_t place = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place >= static_cast<size_t>(count) * blocks) return;
    const size_t row = place / blocks;
    const int block = static_cast<int>(place % blocks);
    const float4 normals = random_normals(seed, first + row, block, stream_word);
    float* features = out + row * dim + 4 * block;
    const int here = dim - 4 * block;
    const float values[4] = {normals.x, normals.y, normals.z, normals.w};
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        const float value = bfloat16 ? round_to_bfloat16(values[part]) : values[part];
        if (part < here) features[part] = __double2float_rn(__dmul_rn(value, scale));
    }
}

// out (count, outputs): +1 or -1 for the neurons first .. first + count - 1.  A thread makes one of them,
// and neighbours that share a call of Philox make it each for themselves: 10 rounds beside 8 bytes stored.
extern "C" __global__ void __launch_bounds__(256)
    output_signs(u64 seed, u64 first, int count, int outputs, double* out) {
    const size_t place = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place >= static_cast<size_t>(count) * outputs) return;
    const u64 neuron = first + place / outputs;
    const unsigned output = static_cast<unsigned>(place % outputs);
    const uint4 words = random_words(seed, neuron / SIGNS_PER_CALL, output, SIGN_WORD);
    const int which = static_cast<int>(neuron % SIGNS_PER_CALL) / 32;
    const unsigned word = which == 0 ? words.x : which == 1 ? words.y : which == 2 ? words.z : words.w;
    out[place] = (word >> (neuron % 32)) & 1u ? -1.0 : 1.0;
}
