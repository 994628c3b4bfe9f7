"""What a Gaussian mask makes of the neurons of a chunk: means, probabilities and densities, in float64."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import special

from ..gaussian import ROOT_2_PI

BLOCK = 48  # neurons evaluated at a time (whole panels on every path)


class MomentInputs:
    """One side of a kernel before its masks: rows of mean X and variances V, (n, d) float64."""

    places = slice(None)

    def __init__(self, X, V, kernels):
        self.X, self.V, self.kernels = X, V, kernels
        self.total = len(X)

    def __len__(self):
        return len(self.X)

    def prepared(self):
        """Itself, with packed what workers that start together would each pack for themselves."""
        self.mean_panels, self.variance_panels, self.norm_exponents  # noqa: B018
        return self

    @cached_property
    def mean_panels(self):
        """X^T in panels."""
        return self.kernels.to_panels(self.X.T)

    @cached_property
    def variance_panels(self):
        """V^T in panels."""
        return self.kernels.to_panels(self.V.T)

    @cached_property
    def norm_exponents(self):
        """Integers e with E |x~_i|^2 <= 4^e_i, (n,).

        So |E x~ 1{h > 0}| <= 2^e, E |x~|^2 1{h > 0} <= 4^e and E relu(h)^2 <= |w|^2 4^e.
        """
        sizes = np.sqrt(np.square(self.X).sum(axis=1) + self.V.sum(axis=1))
        return np.frexp(sizes * (1 + 1e-9))[1]


class Moments(NamedTuple):
    """Neurons of a block under the masks of a side, (groups, neurons, G) panels."""

    mean: np.ndarray  # z
    deviation: np.ndarray  # s
    active: np.ndarray  # Phi(z / s); 1{z > 0} where s = 0
    slope: np.ndarray  # phi(z / s), 0 where s = 0
    density: np.ndarray  # phi(z / s) / s, 0 where s = 0


class MomentBuffers:
    """Evaluates blocks of neurons into arrays that the next block reuses."""

    def __init__(self, kernels, dim, inputs):
        self.kernels, self.inputs = kernels, inputs
        self._weights = np.empty((2, BLOCK // kernels.group_width, dim, kernels.group_width))
        self._values = [Moments(*np.empty((5, *kernels.product_shape(BLOCK, len(side))))) for side in inputs]

    def evaluate(self, weights):
        """:class:`Moments` for each side, of neurons with these unscaled weights (count, d)."""
        pack, multiply = self.kernels.sums.pack_weights, self.kernels.ordered_product
        pack(weights, self._weights[0])
        pack(np.square(weights, dtype=np.float64), self._weights[1])
        dim = weights.shape[1]
        for side, out in zip(self.inputs, self._values, strict=True):
            out.mean[:] = out.deviation[:] = 0.0
            multiply(self._weights[0], side.mean_panels, dim, False, out.mean)
            multiply(self._weights[1], side.variance_panels, dim, False, out.deviation)
            np.sqrt(out.deviation, out=out.deviation)
            fill_moments(*out)
        return self._values

    @staticmethod
    def nbytes(kernels, dim, sizes):
        weights = 8 * 4 * BLOCK * dim
        return weights + 8 * 6 * sum(int(np.prod(kernels.product_shape(BLOCK, n))) for n in sizes)


def fill_moments(mean, deviation, *rest):
    """:class:`Moments` of these means and deviations, in the arrays ``rest`` where they are given."""
    active, slope, density = rest or (np.empty_like(mean) for _ in range(3))
    fixed = deviation == 0
    some_fixed = fixed.any()
    t = np.divide(mean, deviation, out=density)
    if some_fixed:
        t[fixed] = np.where(mean[fixed] > 0, np.inf, -np.inf)
    special.ndtr(t, out=active)
    np.square(t, out=slope)
    slope *= -0.5
    np.exp(slope, out=slope)
    slope /= ROOT_2_PI
    np.divide(slope, deviation, out=density)
    if some_fixed:
        density[fixed] = 0.0
    return Moments(mean, deviation, active, slope, density)


def nbytes_moment_inputs(n, dim, kernels):
    """Bytes of one side, X, V and what they are made of included."""
    return 16 * kernels.groups(n) * kernels.group_width * dim + 16 * n + 40 * n * dim
