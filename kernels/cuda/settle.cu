// The signs that fp32 left open: float64 first, integers where that is not enough.
//
// A warp takes 32 words of ``undecided`` and settles their bits one by one, all lanes together.
constexpr unsigned ALL = 0xFFFFFFFFu;

// A product of two fp32 values is an integer below 2^48 times 2^(p - 298), p from 0 to 506.  Lane i holds
// bits 32i .. 32i + 31 of the exact sum, in 64 with a sign, which is room for 2^31 products.
constexpr int LIMBS = 18;

// A vector of features at any distance from each other.
struct Vector {
    const float* first;
    size_t stride;
    __device__ __forceinline__ float operator[](int k) const { return first[k * stride]; }
};

__device__ __forceinline__ unsigned mantissa(unsigned bits) {
    return (bits & 0x7FFFFFu) | ((bits & 0x7F800000u) != 0 ? 0x800000u : 0u);
}

__device__ __forceinline__ int exponent(unsigned bits) {  // at least 1: what denormals have in common
    const int stored = static_cast<int>(bits >> 23) & 0xFF;
    return stored != 0 ? stored : 1;
}

__device__ __forceinline__ bool exact_sum_is_positive(Vector x, Vector w, int dim, int lane) {
    long long limb = 0;
    for (int k = 0; k < dim; ++k) {
        const unsigned left = __float_as_uint(x[k]), right = __float_as_uint(w[k]);
        const unsigned long long product = static_cast<unsigned long long>(mantissa(left)) * mantissa(right);
        const int offset = 32 * lane - (exponent(left) + exponent(right) - 2);  // of the limb in the product
        const bool apart = offset <= -32 || offset >= 48;
        const unsigned long long shifted = offset >= 0 ? product >> (offset & 63) : product << (-offset & 63);
        const long long part = apart ? 0 : static_cast<long long>(shifted & 0xFFFFFFFFu);
        limb += (left ^ right) >> 31 ? -part : part;
    }
    long long carry = 0;
    bool any_digit = false;
#pragma unroll 1
    for (int place = 0; place < LIMBS; ++place) {
        const long long total = __shfl_sync(ALL, limb, place) + carry;
        any_digit |= (total & 0xFFFFFFFF) != 0;
        carry = total >> 32;  // arithmetic: the digit left behind is never negative
    }
    return carry > 0 || (carry == 0 && any_digit);
}

// The products are exact in float64.  Each goes through at most dim / 32 + 6 additions, each off by 2^-53 of
// its result, so the factor below is more than twice what they can do.
__device__ __forceinline__ bool is_positive(Vector x, Vector w, int dim, int lane, unsigned& exact) {
    double total = 0.0, magnitude = 0.0;
    for (int k = lane; k < dim; k += 32) {
        const double product = __dmul_rn(x[k], w[k]);
        total = __dadd_rn(total, product);
        magnitude = __dadd_rn(magnitude, fabs(product));
    }
    for (int apart = 16; apart > 0; apart /= 2) {  // a + b = b + a: all lanes end with the same bits
        total = __dadd_rn(total, __shfl_xor_sync(ALL, total, apart));
        magnitude = __dadd_rn(magnitude, __shfl_xor_sync(ALL, magnitude, apart));
    }
    if (fabs(total) > __dmul_rn(__dmul_rn(dim + 16.0, 0x1p-52), magnitude)) return total > 0.0;
    exact += 1;
    return exact_sum_is_positive(x, w, dim, lane);
}

// x (n, dim) as given; neuron r is weights[(first_neuron + r) * neuron_stride], feature_stride between its
// features.  undecided (lines, open_words) is of the words of bits (lines, words) from ``first_word`` on.
// settled[0] counts all signs, settled[1] those that float64 left open.
extern "C" __global__ void __launch_bounds__(256)
    settle(const float* x, const float* weights, long long first_neuron, long long neuron_stride,
           long long feature_stride, int dim, int lines, int open_words, int words, int first_word,
           unsigned* bits, const unsigned* undecided, unsigned long long* settled) {
    const int lane = threadIdx.x % 32;
    const size_t first = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x - lane;
    const bool inside = first + lane < static_cast<size_t>(lines) * open_words;
    const unsigned open = inside ? undecided[first + lane] : 0u;
    unsigned signs = 0, exact = 0;
    for (unsigned lanes = __ballot_sync(ALL, open != 0); lanes != 0; lanes &= lanes - 1) {
        const int source = __ffs(lanes) - 1;
        const size_t line = (first + source) / open_words, word = (first + source) % open_words;
        const Vector row = {x + line * dim, 1};
        unsigned positive = 0;
        for (unsigned todo = __shfl_sync(ALL, open, source); todo != 0; todo &= todo - 1) {
            const int bit = __ffs(todo) - 1;
            const size_t neuron = first_neuron + 32 * word + bit;
            const Vector weight = {weights + neuron * neuron_stride, static_cast<size_t>(feature_stride)};
            positive |= (is_positive(row, weight, dim, lane, exact) ? 1u : 0u) << bit;
            signs += 1;
        }
        if (lane == 0) bits[line * words + first_word + word] |= positive;
    }
    if (lane == 0 && signs != 0) {
        atomicAdd(&settled[0], static_cast<unsigned long long>(signs));
        atomicAdd(&settled[1], static_cast<unsigned long long>(exact));
    }
}
