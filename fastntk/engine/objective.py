"""The gradient of the expected loss, a row for each neuron: sums over the samples, in float64."""

import math
from typing import NamedTuple

import numpy as np

from ..kernels import load
from .moments import fill_moments
from .workers import run_workers

GROUPS = 16  # panels of neurons that a worker takes at a time


class Regulariser(NamedTuple):
    """The gradient of sum_ic m V_ic / 2 by w_r: sum_i (by_relu x_i + by_density v_i * w_r) + by_weights."""

    by_relu: np.ndarray  # (n, m)
    by_density: np.ndarray  # (n, m)
    by_weights: np.ndarray  # (m, d)


class ObjectiveGradient:
    """Gradients of 1/2 sum_ic (E f_c(x~_i) - y_ic)^2 and a regulariser, by unscaled weights.

    Parameters
    ----------
    neurons : Neurons
    X, V : (n, d) float64
    residuals : (n, q) float64
        E f - y.
    regulariser : Regulariser or None
    directions : (n, q, d) float64 or None
        sum_r a_rc P_ri w_r (``MeanDirections``): with them the first-order regulariser is added,
        1/2 sum_ic (1/m) sum_k v_ik directions_ick^2.
    """

    def __init__(self, neurons, X, V, residuals, regulariser=None, directions=None):
        self.neurons, self.residuals, self.regulariser = neurons, residuals, regulariser
        self.kernels = kernels = load()
        self.features, self.variances = kernels.to_panels(X.T), kernels.to_panels(V.T)
        self.by_sample, self.variances_by_sample = kernels.to_panels(X), kernels.to_panels(V)
        self.n, self.dim = X.shape
        self.pulls = []
        if directions is not None:
            pulls = V[:, np.newaxis] * directions
            self.pulls = [(kernels.to_panels(p), kernels.to_panels(p.T)) for p in pulls.transpose(1, 0, 2)]

    def run(self, out, threads, progress=None):
        """Fill ``out`` (m, d) float64; ``progress(done, total)`` in neurons."""
        wide, width = self.kernels.group_width, self.neurons.width
        size, done = GROUPS * wide, 0

        def work(starts):
            for first in starts:
                count = min(size, width - first)
                weights = self.neurons.rows(first, count, self.kernels).astype(np.float64)
                a = self.neurons.output_weights(first, count)
                for start in range(0, count, wide):
                    here = slice(first + start, min(first + start + wide, first + count))
                    own = slice(start, start + wide)
                    out[here] = self._group(here, weights[own], a[own])
                starts.report(count)

        def report(count):
            nonlocal done
            done += count
            if progress is not None:
                progress(done, width)

        run_workers(work, range(0, width, size), max(1, min(threads, -(-width // size))), report)
        return out

    def _group(self, here, weights, a):
        """The gradients of a slice of neurons of these weights, (count, d)."""
        count, root = len(weights), math.sqrt(self.neurons.width)
        own, squares = (self.kernels.to_panels(power.T) for power in (weights, np.square(weights)))
        mean = self._over_features(self.features, own)
        one = fill_moments(mean, np.sqrt(self._over_features(self.variances, squares)))
        active, density = (panel[0, : self.n, :count] for panel in (one.active, one.density))

        pull = sum(self.residuals[:, c, np.newaxis] * a[:, c] for c in range(a.shape[1])) / root
        by_relu, by_density = pull * active, pull * density
        rest = 0.0
        if self.regulariser is not None:
            by_relu += self.regulariser.by_relu[:, here] / self.neurons.width
            by_density += self.regulariser.by_density[:, here] / self.neurons.width
            rest = self.regulariser.by_weights[here] / self.neurons.width
        if self.pulls:
            along = 0.0
            for (by_sample, by_feature), column in zip(self.pulls, a.T, strict=True):
                along = along + column * self._over_features(by_feature, own)[0, : self.n, :count]
                rest = rest + column[:, np.newaxis] * self._over_samples(by_sample, active)
            along = along * density / self.neurons.width
            rest = rest / self.neurons.width
            variance = np.square(one.deviation[0, : self.n, :count])
            by_relu += along
            by_density -= along * mean[0, : self.n, :count] / np.where(variance > 0, variance, 1.0)
        return (
            self._over_samples(self.by_sample, by_relu)
            + weights * self._over_samples(self.variances_by_sample, by_density)
            + rest
        )

    def _over_features(self, samples, own):
        """sum_k samples_ik own_kr, one panel (1, samples, G)."""
        out = np.zeros((1, len(samples) * self.kernels.group_width, self.kernels.group_width))
        self.kernels.ordered_product(samples, own, self.dim, False, out)
        return out

    def _over_samples(self, by_sample, coefficients):
        """sum_i coefficients_ir by_sample_ik, (count, d)."""
        out = np.zeros((1, len(by_sample) * self.kernels.group_width, self.kernels.group_width))
        self.kernels.ordered_product(by_sample, self.kernels.to_panels(coefficients), self.n, False, out)
        return self.kernels.from_panels(out, self.dim, coefficients.shape[1]).T

    @staticmethod
    def nbytes(width, dim, n, outputs):
        """Bytes beyond the result and the regulariser."""
        return 8 * ((4 + 2 * outputs) * (n + 24) * (dim + 24) + 24 * 40 * n)
