"""Products of the kernel with vectors, as sums of a sweep over the neurons.

    HiddenProduct   sum_r a_r^2 b_ri (S_r . x~_i),  S_r = sum_j b_rj v_j x~_j     by look-up, in float64
    OutputProduct   sum_r relu(h_ri) z_r,           z_r = sum_j relu(h_rj) v_j

i runs over the samples of inputs[0], j over those of inputs[-1].  Each vector has the bits it has alone.
"""

import numpy as np

from .accumulators import FixedPointOutputs
from .chunk import RELU_BLOCK, Stopped

SAMPLES_PER_SUM = 1008  # of z_r that are added in a chain: whole panels on every path


class Vectors:
    """q vectors v with an entry for each sample, packed once for all workers.

    ``inputs`` are the samples of the entries.  Each vector is scaled by a power of two, taken out here and
    put back in ``restored``, so that every v_j x~_j is at most 1 in norm: whatever the sizes of both, sums
    neither overflow nor lose what counts.
    """

    def __init__(self, v, inputs, needs):
        v = v[inputs.places]
        own = np.frexp(v)[1] + inputs.norm_exponents[:, np.newaxis]
        self.exponents = np.where(v != 0, own, -4000).max(axis=0)
        self.exponents[self.exponents == -4000] = 0  # of a vector of zeros
        self.values = np.ldexp(v, -self.exponents)
        norms = np.abs(np.ldexp(self.values, inputs.norm_exponents[:, np.newaxis]))
        self.norm_bounds = norms.sum(axis=0) * (1 + 1e-9)  # at least sum_j |v_j| |x~_j|
        if "bits" in needs:
            padded = -(-len(v) // 64) * 64
            self.weights = np.zeros((v.shape[1], padded))
            self.weights[:, : len(v)] = self.values.T

    @staticmethod
    def nbytes(n, q):
        """Bytes of q vectors of n entries, temporaries included."""
        return 64 * (n + 64) * q

    def restored(self, products):
        """(n, q) products of the scaled vectors, as those of the given ones."""
        return np.ldexp(products, self.exponents)


class HiddenProduct(FixedPointOutputs):
    """(n, q) sums of a_r^2 b_ri b_rj (x~_i . x~_j) v_jc.

    Bounded by |x~_i| sum_r a_r^2 sum_j |v_jc| |x~_j|.
    """

    needs = ("bits",)

    def __init__(self, kernels, inputs, neurons, vectors):
        super().__init__(kernels, inputs, neurons.output_square_bound * vectors.norm_bounds)
        self.neurons = neurons
        self.vectors = vectors
        self.scratch = kernels.product_scratch(len(inputs[-1]), neurons.dim)
        self.sums = np.empty((len(vectors.norm_bounds), len(inputs[0])))

    @staticmethod
    def nbytes(kernels, n, p):
        return FixedPointOutputs.nbytes(kernels, n, p) + 8 * n * p

    def _add_partial(self, chunk):
        rows, columns = self.inputs[0], self.inputs[-1]
        row_bits = chunk.bits(0).view(np.uint64)
        column_bits = chunk.bits(len(self.inputs) - 1).view(np.uint64)
        squares = self.neurons.output_squares(chunk.first, chunk.count)
        kernels, scratch, dim = self.kernels, self.scratch, self.neurons.dim
        self.sums[:] = 0.0
        for start, count in chunk.blocks(kernels.kernel_products.PRODUCT_NEURONS):
            kernels.gradients.transpose_bits(
                column_bits, len(columns), start // 64, count, scratch.block, scratch.by_neuron
            )
            scratch.squares[:count] = squares[start : start + count]
            for weights, sums in zip(self.vectors.weights, self.sums, strict=True):
                if chunk.stopped():
                    raise Stopped
                kernels.sums_by_neuron(count, columns.double_rows, dim, weights, scratch)
                kernels.project_by_sample(row_bits, start // 64, count, rows.double_rows, dim, scratch, sums)
        groups, outputs, width = self.partial.shape
        padded = np.zeros(groups * width)
        for c in range(outputs):
            padded[: len(rows)] = self.sums[c]
            self.partial[:, c] = padded.reshape(groups, width)


class OutputProduct(FixedPointOutputs):
    """(n, q) sums of relu(h_ri) relu(h_rj) v_jc over unscaled weights, in float64."""

    needs = ("relu",)

    def __init__(self, kernels, inputs, neurons, vectors):
        super().__init__(kernels, inputs, neurons.weight_norm_bound**2 * vectors.norm_bounds)
        self.values = vectors.values
        self.block = np.empty_like(self.partial)

    @staticmethod
    def nbytes(kernels, n, p):
        return FixedPointOutputs.nbytes(kernels, n, p) + 8 * p * (
            2 * RELU_BLOCK + kernels.groups(n) * kernels.group_width
        )

    def _add_partial(self, chunk):
        for _, count, relu in chunk.relu_blocks():
            self.block[:] = 0.0
            self.kernels.sums.weighted_sum(relu[0], self._neuron_sums(relu[-1], count), self.block)
            self.partial += self.block

    def _neuron_sums(self, relu, count):
        """z_r of the neurons of a block, (count, q)."""
        total = np.zeros((count, self.values.shape[1]))
        step = SAMPLES_PER_SUM // self.kernels.group_width
        for group in range(0, len(relu), step):
            first = group * self.kernels.group_width
            sums = np.zeros_like(total)
            values = self.values[first : first + SAMPLES_PER_SUM]
            self.kernels.gradients.sum_over_samples(relu[group : group + step], values, count, sums)
            total += sums
        return total


def nbytes_scratch(kernels, dim, samples, needs):
    """Bytes of one worker's scratch that its results do not tell."""
    return kernels.product_scratch_bytes(samples, dim) if "bits" in needs else 0
