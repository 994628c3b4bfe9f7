"""One range of neurons, evaluated on demand for the inputs of a sweep."""

import numpy as np

from . import moments

CHUNK = 16384  # neurons in a float partial sum: part of the definition of every float result
RELU_BLOCK = 384  # neurons whose preactivations are held at a time (whole panels on every path)
OUTPUT_WEIGHT_BYTES = 80  # for each neuron of a chunk, while its signs are made


class Stopped(Exception):
    """Raised in a worker whose sweep has been stopped."""


class Chunk:
    """The neurons [first, first + count) of a network, seen by one worker.

    ``bits(k)``, ``relu_blocks()`` and ``moment_blocks()`` evaluate input k of ``inputs`` (rows, or rows and
    columns) into buffers that the next call reuses.  ``stopped()`` is asked between blocks of neurons.
    """

    def __init__(self, kernels, neurons, inputs, stopped=lambda: False):
        self.kernels = kernels
        self.neurons = neurons
        self.inputs = inputs
        self.stopped = stopped
        self.first = self.count = 0
        self._bits = [None] * len(inputs)
        self._bits_current = [False] * len(inputs)
        self._scratch = None
        self._panels = None
        self._relu = []
        self._moments = None

    def move_to(self, first, count):
        self.first, self.count = first, count
        self._bits_current = [False] * len(self.inputs)
        return self

    def bits(self, k):
        """Pattern bits of input k, (padded rows, bytes) uint8; zero beyond ``count``."""
        if self._scratch is None:
            self._scratch = self._forward.scratch(self.neurons.dim)
        shape = self.kernels.bits_shape(len(self.inputs[k]), self.count)
        if self._bits[k] is None or self._bits[k].shape != shape:
            self._bits[k] = self.kernels.empty(shape, np.uint8, fill=0)
        bits = self._bits[k]
        if not self._bits_current[k]:
            side = self.inputs[k]
            if side.store is None or not side.store.load(side.name, (self.first, self.count), bits):
                self._evaluate(side, bits)
            self._bits_current[k] = True
        return bits

    @property
    def _forward(self):
        return self.kernels.forward(self.neurons.dtype)

    def _evaluate(self, side, bits):
        self._forward.pattern(
            side.pattern_inputs,
            self.neurons.kernel_weights,
            np.uint64(self.neurons.seed),
            self.neurons.stream_word,
            self.first,
            self.count,
            self._scratch,
            bits,
        )
        clear_beyond(bits, self.count)
        if side.store is not None:
            side.store.keep(side.name, (self.first, self.count), bits)

    def blocks(self, size=RELU_BLOCK, first=0, count=None):
        """(first within the chunk, count) of each block of neurons, all or ``count`` from ``first`` on."""
        stop = self.count if count is None else first + count
        for start in range(first, stop, size):
            if self.stopped():
                raise Stopped
            yield start, min(size, stop - start)

    def relu_blocks(self, first=0, count=None):
        """Blocks of neurons in order: (first within the chunk, count, [rectified preactivations]).

        The preactivations of input k are panels (groups, >= count, G) float64, each h = w . x~ one
        chain of fma over the features; weights are unscaled.
        """
        kernels, dim, width = self.kernels, self.neurons.dim, self.kernels.group_width
        if self._panels is None:
            self._panels = np.empty((RELU_BLOCK // width, dim, width))
            self._relu = [np.empty(kernels.product_shape(RELU_BLOCK, len(side))) for side in self.inputs]
        for start, size in self.blocks(RELU_BLOCK, first, count):
            kernels.sums.pack_weights(self.neurons.rows(self.first + start, size, kernels), self._panels)
            for side, relu in zip(self.inputs, self._relu, strict=True):
                relu[:] = 0.0
                kernels.ordered_product(self._panels, side.feature_panels, dim, False, relu)
                kernels.sums.rectify(relu)
            yield start, size, self._relu

    def moment_blocks(self):
        """Blocks of neurons in order: (first within the chunk, unscaled weights, [Moments of each input]).

        Every worker's inputs are ``MomentInputs`` then.
        """
        if self._moments is None:
            self._moments = moments.MomentBuffers(self.kernels, self.neurons.dim, self.inputs)
        for start, count in self.blocks(moments.BLOCK):
            weights = self.neurons.rows(self.first + start, count, self.kernels)
            yield start, weights.astype(np.float64, copy=False), self._moments.evaluate(weights)


def clear_beyond(bits, count):
    """Zero the bits of neurons ``count`` and above."""
    whole, rest = divmod(count, 8)
    if rest:
        bits[:, whole] &= (1 << rest) - 1
        whole += 1
    bits[:, whole:] = 0


def nbytes_chunk(kernels, neurons, sizes, needs):
    """Bytes of one worker's buffers for inputs of the given sizes."""
    dim = neurons.dim
    total = OUTPUT_WEIGHT_BYTES * CHUNK
    if "bits" in needs:
        total += kernels.forward(neurons.dtype).scratch_bytes(dim)
        total += sum(int(np.prod(kernels.bits_shape(n, CHUNK))) for n in sizes)
    if "relu" in needs:
        total += 8 * RELU_BLOCK * dim + 4 * RELU_BLOCK * dim
        total += sum(8 * int(np.prod(kernels.product_shape(RELU_BLOCK, n))) for n in sizes)
    if "moments" in needs:
        total += moments.MomentBuffers.nbytes(kernels, dim, sizes)
    return total
