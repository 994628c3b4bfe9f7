"""Gradient products as sums of a sweep over the neurons.

    HiddenGradient, OutputGradient   the rows of a gradient, each the business of one neuron
    HiddenTangent, OutputTangent     derivatives of the outputs along a direction, sums over the neurons

Powers of two are taken out of every factor beforehand and put back in float64, so that fp32 sums neither
overflow nor lose small values.
"""

import math

import numpy as np

from .accumulators import OutputSums
from .chunk import Stopped
from .environment import ieee_arithmetic
from .fixed_point import FixedPointOutputs
from .neurons import read_only
from .threads import available_cpus, pool


class Cotangent:
    """The weights u of the outputs in a vector-Jacobian product, packed once for all workers.

    u is (n, q) with a row for each row of X; ``hidden`` (m, d) float32 and ``output`` (m, q) float64 zeros
    are the arrays that the gradient is written to, or None.  Magnitudes of u up to 1e180 leave room for
    those of output weights in float64.
    """

    def __init__(self, u, inputs, neurons, hidden=None, output=None):
        self.hidden, self.output = hidden, output
        u = u[inputs.places]
        self.exponent = int(np.frexp(np.abs(u).max())[1])
        self.values = np.ldexp(u, -self.exponent)  # magnitudes below 1
        self.factor = neurons.scale / math.sqrt(neurons.width)
        if hidden is None:
            return
        weights = self.values[:, 0]
        if neurons.outputs > 1:
            largest = np.abs(self.values).max(axis=1)
            own = np.frexp(largest)[1]
            weights = np.where(largest > 0, np.ldexp(1.0, own), 0.0)
        self.rows = inputs.kernels.weighted_rows(inputs.rows, weights)
        self.column_scale = np.ldexp(1.0, self.rows.exponents)
        if neurons.outputs > 1:
            self.by_output = np.zeros((neurons.outputs, len(self.rows.ones)), np.float32)
            self.by_output[:, : len(u)] = np.ldexp(self.values, -own[:, np.newaxis]).T

    @staticmethod
    def nbytes(n, dim, outputs):
        """Bytes of one, temporaries included."""
        return 4 * (n + 64) * (dim + 65) + 32 * min(n, 1024) * dim + 48 * (n + 64) * outputs


class HiddenGradient:
    """sum_ic u_ic grad_w f_c(x~_i), a row for each neuron, written into one array that all workers share.

    Each row is a sum over the samples in their order, so any split of the neurons gives the same.
    """

    needs, exact = ("bits",), True

    def __init__(self, kernels, inputs, neurons, cotangent):
        self.kernels = kernels
        self.samples = len(inputs[0])
        self.neurons = neurons
        self.cotangent = cotangent
        self.scratch = kernels.gradient_scratch(self.samples)

    @staticmethod
    def nbytes(kernels, n, p):
        return kernels.gradient_scratch_bytes(n) + kernels.gradients.ITEMS * (36 * p + 32)

    def add(self, chunk):
        bits, scratch, most = chunk.bits(0).view(np.uint64), self.scratch, self.kernels.gradients.ITEMS
        for start in range(0, chunk.count, most):
            if chunk.stopped():
                raise Stopped
            first, count = chunk.first + start, min(most, chunk.count - start)
            self.kernels.gradients.transpose_bits(
                bits, self.samples, start // 64, count, scratch.block, scratch.words
            )
            self._write(first, count, self.cotangent.hidden[first : first + count])

    def _write(self, first, count, out):
        """The gradients of the neurons whose words are in the scratch."""
        u, a = self.cotangent, self.neurons.output_weights(first, count)
        factor = 1 / math.sqrt(self.neurons.width)
        if a.shape[1] == 1:
            magnitude = self.kernels.gradient_by_lookup(
                self.scratch.words,
                count,
                u.rows.rows,
                u.rows.ones,
                u.column_scale,
                np.ldexp(a[:, 0] * factor, u.exponent),
                self.scratch,
                out,
            )
        else:
            exponents = np.frexp(np.abs(a).max(axis=1))[1]
            tile = self.kernels.path.step_neurons
            weights = np.zeros((-(-count // tile) * tile, a.shape[1]), np.float32)
            weights[:count] = np.ldexp(a, -exponents[:, np.newaxis])
            magnitude = self.kernels.dense_gradient(
                self.scratch.words,
                count,
                u.rows.rows,
                u.by_output,
                weights,
                u.column_scale,
                np.ldexp(factor, exponents + u.exponent),
                self.scratch,
                out,
            )
        if not magnitude < np.inf:
            raise_not_finite(out, first)

    def merge(self, other):
        pass  # both wrote into the same array

    def finish(self):
        return self.cotangent.hidden


def raise_not_finite(gradient, first):
    """The error for gradients of the neurons from ``first`` on, (count, d), which are not all finite."""
    row, feature = (int(i) for i in np.argwhere(~np.isfinite(gradient))[0])
    raise ValueError(
        f"the gradient of the hidden weights is beyond float32: entry [{first + row}, {feature}] is "
        f"larger than {np.finfo(np.float32).max:.3g}. Scale u down."
    )


class OutputGradient:
    """sum_i u_ic df_c(x~_i)/da_rc, (m, q) float64, up to ``finish`` without its factor."""

    needs, exact = ("relu",), True

    def __init__(self, kernels, inputs, neurons, cotangent):
        self.kernels = kernels
        self.cotangent = cotangent

    @staticmethod
    def nbytes(kernels, n, p):
        return 0  # the array is the caller's

    def add(self, chunk):
        for start, count, relu in chunk.relu_blocks():
            out = self.cotangent.output[chunk.first + start : chunk.first + start + count]
            self.kernels.gradients.sum_over_samples(relu[0], self.cotangent.values, count, out)

    def merge(self, other):
        pass  # both wrote into the same array

    def finish(self):
        out = self.cotangent.output
        out *= self.cotangent.factor
        return np.ldexp(out, self.cotangent.exponent, out=out)


class Tangent:
    """A direction in the space of the weights: V (m, d), read by blocks, and Va (m, q), either or both."""

    def __init__(self, neurons, V=None, Va=None):
        self.V = np.empty((0, neurons.dim), np.float32) if V is None else V.view(np.ndarray)
        self.norm_bound = 0.0
        self.exponent = 0
        self.output_neurons = None
        if Va is not None:
            self.exponent = int(np.frexp(np.abs(Va).max())[1])
            self.output_neurons = neurons.with_output_weights(np.ldexp(Va, -self.exponent))

    @staticmethod
    def nbytes(neurons, V, Va, threads):
        """Bytes of one, and of the blocks of V that are converted to float32 at a time."""
        converted = V is not None and not (V.dtype == np.float32 and V.flags.c_contiguous)
        blocks = 4 * 1024 * neurons.dim * (threads or available_cpus()) if converted else 0
        return blocks + (24 * neurons.width * neurons.outputs if Va is not None else 0)

    def rows(self, first, count):
        """V of the neurons first .. first + count - 1, (count, d) float32."""
        return read_only(np.require(self.V[first : first + count], np.float32, ["C", "A"]))

    def measure(self, kernels, threads):
        """Set ``norm_bound``, at least the Frobenius norm of V.

        Returns the first neuron of a block in which V is not finite, else None.
        """
        size = kernels.tangents.TANGENT_NEURONS
        starts = range(0, len(self.V), size)
        totals = np.empty(len(starts))

        def every_so_many(first):
            with ieee_arithmetic():
                squares = np.empty(self.V.shape[1])
                for block in range(first, len(starts), threads):
                    squares[:] = 0.0
                    kernels.tangents.add_squares(self.rows(starts[block], size), squares)
                    totals[block] = squares.sum()

        for worker in [pool().submit(every_so_many, first) for first in range(threads)]:
            worker.result()
        if not np.isfinite(totals).all():
            return starts[int(np.flatnonzero(~np.isfinite(totals))[0])]
        self.norm_bound = math.sqrt(math.fsum(totals)) * (1 + 2.0**-10)  # fp32 sums may be a little larger
        return None


class HiddenTangent(FixedPointOutputs):
    """(n, q) sums of a_rc b_ri v_r . x~_i: directions are added in fp32, their projections in float64."""

    needs = ("bits",)

    def __init__(self, kernels, inputs, neurons, tangent):
        super().__init__(kernels, inputs, tangent.norm_bound * neurons.output_norm_bounds)
        self.neurons = neurons
        self.tangent = tangent
        self.scratch = kernels.tangent_scratch()
        self.chains = np.empty((len(inputs[0]), kernels.tangents.CHAINS))

    @staticmethod
    def nbytes(kernels, n, p):
        scratch = kernels.tangent_scratch_bytes() + 8 * n * (kernels.tangents.CHAINS + 2)
        return FixedPointOutputs.nbytes(kernels, n, p) + scratch + 24 * kernels.tangents.TANGENT_NEURONS * p

    def _add_partial(self, chunk):
        bits, size = chunk.bits(0).view(np.uint64), self.kernels.tangents.TANGENT_NEURONS
        groups, outputs, width = self.partial.shape
        for c in range(outputs):
            self.chains[:] = 0.0
            for start in range(0, chunk.count, size):
                if chunk.stopped():
                    raise Stopped
                first, count = chunk.first + start, min(size, chunk.count - start)
                directions, a = self.tangent.rows(first, count), self.neurons.output_weights(first, count)
                self.kernels.tangent(
                    bits,
                    start // 64,
                    directions,
                    a[:, c].copy(),
                    self.inputs[0].rows,
                    self.scratch,
                    self.chains,
                )
            sums = np.zeros(groups * width)
            for chain in self.chains.T:
                sums[: len(chain)] += chain
            self.partial[:, c] = sums.reshape(groups, width)


class OutputTangent(OutputSums):
    """(n, q) sums of va_rc relu(h_ri) over unscaled weights, up to ``Tangent.exponent``."""

    def __init__(self, kernels, inputs, neurons, tangent):
        super().__init__(kernels, inputs, neurons, tangent.output_neurons)
