"""What a sweep adds up for the mean over Gaussian masks: kernels, outputs, and the linear part of these.

Terms are float64, added within a chunk and then as fixed point like all float sums (``accumulators``); sides
are :class:`~fastntk.engine.moments.MomentInputs`.  The formulas are in docs/mathematics.md, section 8.
"""

from abc import abstractmethod

import numpy as np

from .accumulators import OutputWeights
from .fixed_point import FixedPoint, FixedPointGram, FixedPointOutputs, FixedPointSum
from .moments import BLOCK

FEATURE_ROWS = 192  # neurons times features whose mean features are held at a time


class MaskedGram(FixedPointGram):
    """(n, p) sums over the neurons of products of what a mask leaves of two rows.

    With ``shared``, a row and itself have the same mask: the diagonal holds means of squares instead.
    """

    needs = ("moments",)

    def __init__(self, kernels, inputs, neurons, bound, shared):
        super().__init__(kernels, inputs, bound, [side.norm_exponents for side in inputs])
        self.neurons, self.shared = neurons, shared

    @staticmethod
    def nbytes(kernels, n, p):
        """And temporaries of a block, of which there are some six."""
        return FixedPointGram.nbytes(kernels, n, p) + 6 * 8 * int(np.prod(kernels.product_shape(BLOCK, n)))

    def _add_partial(self, chunk):
        squares = self.neurons.output_squares(chunk.first, chunk.count)
        diagonal = 0.0
        for start, weights, moments in chunk.moment_blocks():
            own = squares[start : start + len(weights)]
            self._add_block(weights, own, moments)
            if self.shared:
                terms = self._mean_squares(weights, own, moments[0])
                diagonal = diagonal + terms[:, : len(weights)].sum(axis=1)
        if self.shared:
            groups, _, wide = self.partial.shape
            row, place = np.arange(groups)[:, np.newaxis], np.arange(wide)
            self.partial[row, row * wide + place, place] = diagonal

    @abstractmethod
    def _add_block(self, weights, squares, moments):
        """Add neurons of these unscaled weights and a_r^2, the mean of a_rc^2 over the outputs."""

    @abstractmethod
    def _mean_squares(self, weights, squares, one):
        """What they add to the diagonal, panels (groups, neurons, G)."""


class MeanFeatureGram(MaskedGram):
    """(n, p) sums of a_r^2 E(x~_i 1_ri) . E(x~_j 1_rj); of a_r^2 E |x~_i|^2 1_ri on a shared diagonal."""

    def __init__(self, kernels, inputs, neurons, shared):
        super().__init__(kernels, inputs, neurons, neurons.output_square_bound, shared)
        shapes = [(kernels.groups(len(side)), FEATURE_ROWS, kernels.group_width) for side in inputs]
        self.features = [np.empty(shape) for shape in shapes]
        if shared:
            X, V = inputs[0].X, inputs[0].V
            norms = np.square(X).sum(axis=1) + V.sum(axis=1)
            self.norms = kernels.to_panels(norms[np.newaxis])
            self.mixed, self.fourth = kernels.to_panels((X * V).T), kernels.to_panels(np.square(V).T)

    @staticmethod
    def nbytes(kernels, n, p):
        panels = 8 * FEATURE_ROWS * kernels.group_width * (kernels.groups(n) + kernels.groups(p))
        return MaskedGram.nbytes(kernels, n, p) + panels

    def _add_block(self, weights, squares, moments):
        factors, dim = np.sqrt(squares), weights.shape[1]
        for row in range(0, weights.size, FEATURE_ROWS):
            rows = min(FEATURE_ROWS, weights.size - row)
            for side, one, out in zip(self.inputs, moments, self.features, strict=True):
                panels = side.mean_panels, side.variance_panels, weights, factors, one.active, one.density
                self.kernels.sums.mean_features(*panels, *divmod(row, dim), out[:, :rows])
            left, right = self.features[0], self.features[-1]
            self.kernels.ordered_product(left, right, rows, self.symmetric, self.partial)

    def _mean_squares(self, weights, squares, one):
        linear = self._product(weights, self.mixed, one)
        quadratic = self._product(np.square(weights), self.fourth, one)
        # E |x~|^2 1 = E |x~|^2 P + (2 sum x v w - z / s^2 sum v^2 w^2) D, s^2 taken out bit by bit
        deviation = np.where(one.deviation > 0, one.deviation, 1.0)
        quadratic /= deviation
        quadratic *= one.mean / deviation
        terms = self.norms * one.active + (2 * linear - quadratic) * one.density
        terms[:, : len(squares)] *= squares[:, np.newaxis]
        return terms

    def _product(self, weights, panels, one):
        """sum_k w_rk panels_k in the layout of the moments."""
        out = np.zeros_like(one.mean)
        self.kernels.ordered_product(self.kernels.to_panels(weights.T), panels, weights.shape[1], False, out)
        return out


class SmoothedReluGram(MaskedGram):
    """(n, p) sums of E relu(h_ri) E relu(h_rj); of E relu(h_ri)^2 on a shared diagonal."""

    def __init__(self, kernels, inputs, neurons, shared):
        super().__init__(kernels, inputs, neurons, neurons.weight_norm_bound**2, shared)

    def _add_block(self, weights, squares, moments):
        relu = [smoothed_relu(one) for one in moments]
        self.kernels.ordered_product(relu[0], relu[-1], len(weights), self.symmetric, self.partial)

    def _mean_squares(self, weights, squares, one):
        terms = (np.square(one.mean) + np.square(one.deviation)) * one.active
        terms += one.mean * one.deviation * one.slope
        return terms


class SmoothedOutputs(FixedPointOutputs):
    """(n, q) sums of a_rc E relu(h_ri); of a_rc z_ri P_ri where ``proxy``.

    Like all float sums they resolve about 2^-60 of their bound, here |W|_F |a_c| E|x~|: one huge weight on a
    feature that is 0 everywhere takes digits from the rest.
    """

    needs = ("moments",)

    def __init__(self, kernels, inputs, neurons, proxy=False):
        super().__init__(kernels, inputs, neurons.weight_norm_bound * neurons.output_norm_bounds)
        self.neurons, self.proxy = neurons, proxy

    def _add_partial(self, chunk):
        weights_at = OutputWeights(self.neurons, chunk)
        for start, weights, (one,) in chunk.moment_blocks():
            relu = one.mean * one.active if self.proxy else smoothed_relu(one)
            self.kernels.sums.weighted_sum(relu, weights_at(start, len(weights)), self.partial)


class MeanDirections(FixedPointSum):
    """(n, q, d) sums of a_rc P_ri w_r: the linear part of the outputs as functions of the mask."""

    needs = ("moments",)

    def __init__(self, kernels, inputs, neurons):
        self.kernels, self.inputs, self.neurons = kernels, inputs, neurons
        groups, wide = kernels.groups(len(inputs[0])), kernels.group_width
        shape = (neurons.outputs * groups, kernels.groups(neurons.dim) * wide, wide)
        self.partial = np.empty(shape)
        bound = neurons.weight_norm_bound * float(neurons.output_norm_bounds.max())
        self.fixed = FixedPoint(shape, bound, np.zeros(1, int), np.zeros(1, int))

    @staticmethod
    def nbytes(kernels, n, p):
        """``p`` counts numbers for each sample: those of all outputs and features, in whole panels."""
        return 32 * kernels.groups(n) * kernels.group_width * p

    def _add_partial(self, chunk):
        weights_at = OutputWeights(self.neurons, chunk)
        for start, weights, (one,) in chunk.moment_blocks():
            a = weights_at(start, len(weights))
            by_output = self.partial.reshape(a.shape[1], -1, *self.partial.shape[1:])
            for column, out in zip(a.T, by_output, strict=True):
                own = self.kernels.to_panels(column[:, np.newaxis] * weights)
                self.kernels.ordered_product(own, one.active, len(weights), False, out)

    @property
    def extent(self):
        groups, rows, width = self.fixed.totals.shape
        return rows, groups * width

    def finish(self):
        n, dim, sums = len(self.inputs[0]), self.neurons.dim, self.fixed.finish()
        by_output = sums.reshape(self.neurons.outputs, -1, *sums.shape[1:])
        return np.stack([self.kernels.from_panels(one, dim, n).T for one in by_output], axis=1)


def smoothed_relu(one):
    """E relu(h) = z P + s phi of :class:`~fastntk.engine.moments.Moments`, within rounding of its terms."""
    return one.mean * one.active + one.deviation * one.slope
