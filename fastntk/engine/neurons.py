"""The neurons of a network as a sweep sees them: weights by range, and bounds on their norms."""

import math
from functools import cached_property

import numpy as np

from ..kernels import load, reference

BLOCK = 65536  # values looked at together where all of them are


class Neurons:
    """Weights and output weights made from a seed, or read from arrays.

    ``weights`` is None or (m, d) float32, ``output_weights`` None (random signs of ``outputs`` outputs)
    or (m, q) float64.  With ``dtype`` "bfloat16", normals are rounded to bfloat16, and given weights are
    bfloat16 numbers.
    """

    stream_word = reference.stream_word(reference.WEIGHT_STREAM, 0)

    def __init__(
        self, width, dim, seed, scale, weights=None, output_weights=None, outputs=1, dtype="float32"
    ):
        self.width = width
        self.dim = dim
        self.seed = seed
        self.scale = scale
        self.dtype = dtype
        self.given_weights = weights
        self.given_output_weights = output_weights
        self.outputs = outputs if output_weights is None else output_weights.shape[1]

    def with_output_weights(self, output_weights):
        """The same neurons with other output weights, (m, q) float64: ``OutputSums`` of a tangent."""
        arrays = self.given_weights, output_weights
        return Neurons(self.width, self.dim, self.seed, self.scale, *arrays, dtype=self.dtype)

    def __getstate__(self):
        """What travels to workers: the given arrays once."""
        return {name: value for name, value in vars(self).items() if name != "kernel_weights"}

    @cached_property
    def kernel_weights(self):
        """What the forward kernel takes for weights: no rows means virtual ones.

        Read-only like given weights, so that one compiled kernel serves both.
        """
        weights = np.empty((0, self.dim), np.float32) if self.given_weights is None else self.given_weights
        return read_only(weights)

    def rows(self, first, count, kernels=None):
        """Unscaled weights of the neurons first .. first + count - 1, (count, d) float32."""
        if self.given_weights is not None:
            return self.given_weights[first : first + count]
        return self.virtual_rows(np.arange(first, first + count, dtype=np.uint64), kernels or load())

    def virtual_rows(self, ids, kernels):
        """Unscaled virtual weights of the neurons ``ids`` (uint64), (len(ids), d) float32."""
        out = np.empty((len(ids), self.dim), np.float32)
        kernels.random_rows(True, self.seed, self.stream_word, ids, out)
        return reference.round_to_bfloat16(out) if self.dtype == "bfloat16" else out

    def output_weights(self, first, count):
        """(count, q) float64."""
        if self.given_output_weights is not None:
            return self.given_output_weights[first : first + count]
        ids = np.arange(first, first + count, dtype=np.uint64)
        return reference.output_signs(self.seed, ids, np.arange(self.outputs))

    def output_squares(self, first, count):
        """The means of a_rc^2 over the outputs, (count,) float64, added in order: the bits are our own."""
        if self.given_output_weights is None:
            return np.ones(count)
        weights = self.output_weights(first, count)
        total = np.zeros(len(weights))
        for column in weights.T:
            total += np.square(column)
        return total / self.outputs

    @cached_property
    def constant_square(self):
        """The mean of a_rc^2 over the outputs where it is the same for all neurons, else None."""
        if self.given_output_weights is None:
            return 1.0
        square = self.output_squares(0, 1)[0]
        rows = max(BLOCK // self.outputs, 1)
        blocks = (self.output_squares(first, rows) for first in range(0, self.width, rows))
        return float(square) if all((block == square).all() for block in blocks) else None

    @cached_property
    def weight_norm_bound(self):
        """At least the Frobenius norm of the unscaled weights."""
        if self.given_weights is None:
            return reference.LARGEST_NORMAL * math.sqrt(self.width * self.dim)
        return float(_norm_bounds(self.given_weights.reshape(-1, 1))[0])

    @cached_property
    def output_norm_bounds(self):
        """At least the norm of the weights of each output, (q,)."""
        if self.given_output_weights is None:
            return np.full(self.outputs, math.sqrt(self.width))
        return _norm_bounds(self.given_output_weights)

    @cached_property
    def output_square_bound(self):
        """At least the sum of ``output_squares`` over all neurons."""
        return float(np.mean(np.square(self.output_norm_bounds)))


def read_only(array):
    """A view that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def _norm_bounds(array):
    """At least the norm of each column of (m, q), (q,); however small, as squares are of scaled columns."""
    rows = max(BLOCK // array.shape[1], 1)
    blocks = [array[first : first + rows] for first in range(0, len(array), rows)]
    largest = np.max([np.abs(block).max(axis=0) for block in blocks], axis=0)
    exponents = np.maximum(np.frexp(largest)[1], -1000)
    shrink = np.ldexp(1.0, -exponents)[:, None]
    squares = [
        np.square(np.multiply(block.T, shrink, order="C", dtype=np.float64)).sum(axis=1) for block in blocks
    ]
    norms = np.sqrt([math.fsum(column) for column in zip(*squares, strict=True)])
    return np.ldexp(norms * (1 + 1e-9), exponents)
