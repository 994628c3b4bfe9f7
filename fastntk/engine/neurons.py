"""The neurons of a network as a sweep sees them: weights by range, and bounds on their norms."""

import math
from functools import cached_property

import numpy as np

from ..kernels import load, reference


class Neurons:
    """Weights and output weights made from a seed, or read from arrays.

    ``weights`` is None or (m, d) float32, ``output_weights`` None (random signs) or (m,) float64.
    """

    stream_word = reference.stream_word(reference.WEIGHT_STREAM, 0)

    def __init__(self, width, dim, seed, scale, weights=None, output_weights=None):
        self.width = width
        self.dim = dim
        self.seed = seed
        self.scale = scale
        self.given_weights = weights
        self.given_output_weights = output_weights

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
        out = np.empty((count, self.dim), np.float32)
        ids = np.arange(first, first + count, dtype=np.uint64)
        (kernels or load()).random_rows(True, self.seed, self.stream_word, ids, out)
        return out

    def output_weights(self, first, count):
        """(count,) float64."""
        if self.given_output_weights is not None:
            return self.given_output_weights[first : first + count]
        return reference.output_signs(self.seed, np.arange(first, first + count, dtype=np.uint64))

    @cached_property
    def constant_square(self):
        """a_r^2 where it is the same for all neurons, else None."""
        if self.given_output_weights is None:
            return 1.0
        magnitudes = np.abs(self.given_output_weights)
        return float(magnitudes[0] ** 2) if (magnitudes == magnitudes[0]).all() else None

    @cached_property
    def weight_norm_bound(self):
        """At least the Frobenius norm of the unscaled weights."""
        if self.given_weights is None:
            return reference.LARGEST_NORMAL * math.sqrt(self.width * self.dim)
        return _norm_bound(self.given_weights)

    @cached_property
    def output_norm_bound(self):
        """At least the Euclidean norm of the output weights."""
        if self.given_output_weights is None:
            return math.sqrt(self.width)
        return _norm_bound(self.given_output_weights)


def read_only(array):
    """A view that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def _norm_bound(array):
    flat = array.reshape(-1)
    squares = (np.square(flat[i : i + 65536], dtype=np.float64).sum() for i in range(0, flat.size, 65536))
    return math.sqrt(math.fsum(squares)) * (1 + 1e-9)
