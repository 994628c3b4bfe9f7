"""What a sweep adds up.

An accumulator is made for one worker from (kernels, inputs, neurons), ``inputs`` being [rows] or
[rows, columns], and has

    needs           "bits", "relu" or both: what it asks a chunk for
    exact           whether any split of the neurons gives the same result (sums of integers), or only
                    the fixed chunks do (float partial sums)
    nbytes(...)     what one worker's copy takes for a result (n, p)
    add(chunk)      add a range of neurons
    merge(other)    add another worker's sum: integer addition, so the order does not matter
    finish()        the sum, as float64; for matrices also block(rows, columns)
    state()         what has been added, as integer arrays that do not depend on the instruction set
    add_state(...)  add what another one had: integer addition too (files and other machines speak states)
"""

import numpy as np

from .chunk import CHUNK, RELU_BLOCK
from .fixed_point import FixedPointGram, FixedPointOutputs, FixedPointVector, GramSum
from .sliced import BLOCK, SlicedGram


class CoactivationCounts(GramSum):
    """(n, p) counts of neurons active on row i and on column j."""

    needs, exact = ("bits",), True

    def __init__(self, kernels, inputs, neurons):
        self.kernels = kernels
        self.inputs = inputs
        self.symmetric = len(inputs) == 1
        self.counts = np.zeros(kernels.counts_shape(len(inputs[0]), len(inputs[-1])), np.int32)

    @staticmethod
    def nbytes(kernels, n, p):
        return 4 * int(np.prod(kernels.counts_shape(n, p))) + kernels.coactivation_scratch_bytes(n, p)

    def add(self, chunk):
        rows, columns = chunk.bits(0), chunk.bits(len(self.inputs) - 1)
        self.kernels.coactivation(rows, columns, chunk.count, self.symmetric, self.counts)

    def merge(self, other):
        self.counts += other.counts

    def block(self, rows, columns):
        return self.counts[rows, columns].astype(np.float64)

    def state(self):
        return [self._unpadded()]

    def add_state(self, state):
        self._unpadded()[...] += state[0]

    def _unpadded(self):
        """The counts without the padding of the rows and columns."""
        return self.counts[: len(self.inputs[0]), : len(self.inputs[-1])]


class ReluGram(FixedPointGram):
    """(n, p) sums of relu(h_ri) relu(h_rj) over unscaled weights."""

    needs = ("relu",)

    def __init__(self, kernels, inputs, neurons):
        exponents = [side.norm_exponents for side in inputs]
        super().__init__(kernels, inputs, neurons.weight_norm_bound**2, exponents)
        self.sliced = SlicedGram(kernels, neurons.dim, inputs) if kernels.slices else None

    @staticmethod
    def nbytes(kernels, n, p):
        sliced = SlicedGram.nbytes(kernels, n, p) if kernels.slices else 0
        return FixedPointGram.nbytes(kernels, n, p) + sliced

    def _add_partial(self, chunk):
        if self.sliced is None:
            self._add_in_float64(chunk.relu_blocks())
            return
        for start, count in chunk.blocks(BLOCK):
            weights = chunk.neurons.rows(chunk.first + start, count, self.kernels)
            if not self.sliced.add(weights, self.partial):
                self._add_in_float64(chunk.relu_blocks(start, count))

    def _add_in_float64(self, blocks):
        for _, count, relu in blocks:
            self.kernels.ordered_product(relu[0], relu[-1], count, self.symmetric, self.partial)


class WeightedCoactivation(FixedPointGram):
    """(n, p) sums of a_r^2 over the neurons active on row i and on column j.

    Here and below a_r^2 is the mean of a_rc^2 over the outputs.
    """

    needs = ("bits",)

    def __init__(self, kernels, inputs, neurons):
        exponents = [np.zeros(len(side), int) for side in inputs]
        super().__init__(kernels, inputs, neurons.output_square_bound, exponents)
        self.neurons = neurons
        width = kernels.group_width
        self.weighted = np.empty((kernels.groups(len(inputs[0])), RELU_BLOCK, width))
        self.plain = np.empty((kernels.groups(len(inputs[-1])), RELU_BLOCK, width))

    @staticmethod
    def nbytes(kernels, n, p):
        width = kernels.group_width
        panels = 8 * RELU_BLOCK * width * (kernels.groups(n) + kernels.groups(p))
        return FixedPointGram.nbytes(kernels, n, p) + panels

    def _add_partial(self, chunk):
        rows, columns = chunk.bits(0), chunk.bits(len(self.inputs) - 1)
        squares = self.neurons.output_squares(chunk.first, chunk.count)
        for start, count in chunk.blocks():
            weights = squares[start : start + count]
            self.kernels.sums.unpack_bits(rows, start, weights, self.weighted)
            self.kernels.sums.unpack_bits(columns, start, np.ones(len(weights)), self.plain)
            self.kernels.ordered_product(
                self.weighted, self.plain, len(weights), self.symmetric, self.partial
            )


class ReluSquares(FixedPointVector):
    """(n,) sums of relu(h_ri)^2: the diagonal of :class:`ReluGram`."""

    needs = ("relu",)

    def __init__(self, kernels, inputs, neurons):
        super().__init__(kernels, inputs, neurons.weight_norm_bound**2, 2 * inputs[0].norm_exponents)

    def _add_partial(self, chunk):
        for _, count, relu in chunk.relu_blocks():
            self.kernels.sums.square_sum(relu[0], count, self.partial[:, 0])


class WeightedActivation(FixedPointVector):
    """(n,) sums of a_r^2 over the active neurons: the diagonal of :class:`WeightedCoactivation`."""

    needs = ("bits",)

    def __init__(self, kernels, inputs, neurons):
        super().__init__(kernels, inputs, neurons.output_square_bound, np.zeros(len(inputs[0]), int))
        self.neurons = neurons

    def _add_partial(self, chunk):
        squares = self.neurons.output_squares(chunk.first, chunk.count)
        out = self.partial.reshape(-1)[: len(self.inputs[0])]
        self.kernels.sums.weighted_bit_count(chunk.bits(0), squares, out)


class OutputSums(FixedPointOutputs):
    """(n, q) sums of a_rc relu(h_ri) over unscaled weights, each output with the bits it has alone.

    a are the output weights of ``neurons``, or those of ``weights_of``: other :class:`Neurons` of the
    same width (``neurons.with_output_weights(V)``).
    """

    needs = ("relu",)

    def __init__(self, kernels, inputs, neurons, weights_of=None):
        self.neurons = neurons if weights_of is None else weights_of
        super().__init__(kernels, inputs, neurons.weight_norm_bound * self.neurons.output_norm_bounds)

    @staticmethod
    def nbytes(kernels, n, p):
        """And the output weights at hand, while the signs of the next ones are made."""
        return FixedPointOutputs.nbytes(kernels, n, p) + 32 * (CHUNK + RELU_BLOCK * p)

    def _add_partial(self, chunk):
        weights_at = OutputWeights(self.neurons, chunk)
        for start, count, relu in chunk.relu_blocks():
            self.kernels.sums.weighted_sum(relu[0], weights_at(start, count), self.partial)


class OutputWeights:
    """Output weights of blocks of a chunk, made for many neurons at a time: about CHUNK numbers."""

    def __init__(self, neurons, chunk):
        self.neurons, self.chunk = neurons, chunk
        self.first, self.made = 0, np.empty((0, neurons.outputs))

    def __call__(self, start, count):
        """(count, q) float64 of the neurons from ``start`` of the chunk on; starts ascend."""
        if start + count > self.first + len(self.made):
            size = max(count, CHUNK // self.neurons.outputs)
            self.first = start
            self.made = self.neurons.output_weights(
                self.chunk.first + start, min(size, self.chunk.count - start)
            )
        place = start - self.first
        return self.made[place : place + count]


class ActivationCounts:
    """(n,) numbers of active neurons: the diagonal of :class:`CoactivationCounts`."""

    needs, exact = ("bits",), True

    def __init__(self, kernels, inputs, neurons):
        self.counts = np.zeros(len(inputs[0]), np.int64)

    @staticmethod
    def nbytes(kernels, n, p):
        return 8 * n

    def add(self, chunk):
        bits = chunk.bits(0)
        for start in range(0, len(self.counts), 256):  # in blocks: no second pattern
            rows = slice(start, min(start + 256, len(self.counts)))
            self.counts[rows] += np.bitwise_count(bits[rows]).sum(axis=1, dtype=np.int64)

    def merge(self, other):
        self.counts += other.counts

    def finish(self):
        return self.counts.astype(np.float64)

    def state(self):
        return [self.counts]

    def add_state(self, state):
        self.counts += state[0]


class PatternBits:
    """The pattern itself, written into one (n, bytes) array that all workers share."""

    needs, exact = ("bits",), True

    def __init__(self, kernels, inputs, neurons, packed):
        self.packed = packed
        self.places = inputs[0].places

    @staticmethod
    def nbytes(kernels, n, p):
        return 0  # the array is the caller's

    def add(self, chunk):
        self.put(chunk.bits(0), chunk.first, chunk.count, len(chunk.inputs[0]))

    def put(self, bits, first, count, rows):
        """Write the bits of neurons; ``bits`` may have more rows and bytes than those."""
        first, size = first // 8, -(-count // 8)
        self.packed[self.places, first : first + size] = bits[:rows, :size]

    def merge(self, other):
        pass  # both wrote into the same array

    def add_state(self, state):
        pass

    def finish(self):
        return self.packed
