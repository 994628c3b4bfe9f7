"""Sums over all pairs of neurons under one mask, sample by sample: the variance of the outputs, its gradient.

Workers share the samples; sums over the samples are made in a fixed number of runs, so that the number of
threads cannot show.
"""

from abc import ABC, abstractmethod
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import special

from .. import gaussian
from ..explained import MEMORY
from ..kernels import load
from .chunk import Stopped
from .plan import allowed_memory, describe_bytes
from .products import panel_product
from .threads import MAX_THREADS, available_cpus
from .workers import run_workers

BLOCK = 16  # samples whose special functions are evaluated together
RUNS = 16  # of samples whose gradients are added up one after the other


class OneByOne(NamedTuple):
    """What the masks of some samples do to each neuron, (samples, neurons) each."""

    t: np.ndarray  # mean over deviation, within FAR; 0 where the deviation is
    s: np.ndarray  # deviation
    active: np.ndarray  # Phi(t), or 1{mean > 0}
    density: np.ndarray  # phi(t), or 0


class PairSums(ABC):
    """Sums over the pairs of a network on n samples; the memory is checked when it is made.

    Parameters
    ----------
    neurons : Neurons
        Their weights, unscaled, are held in float64.
    X, V : (n, d) float64
        Means and variances of the masked inputs.
    options : Options
    """

    kinds: int  # of coefficients that the kernel needs

    def __init__(self, neurons, X, V, options):
        self.X, self.V = X, V
        self.kernels = kernels = load()
        self.progress, self.done = options.progress, 0
        self.runs = self._split()
        self.threads = self._plan(neurons, options)
        W, a = neurons.rows(0, neurons.width).astype(np.float64), neurons.output_weights(0, neurons.width)
        padded = np.zeros((kernels.groups(len(W)) * kernels.group_width, W.shape[1] + a.shape[1]))
        padded[: len(W)] = np.hstack([W, a])
        by_neuron, self.a = padded[:, : W.shape[1]], np.ascontiguousarray(padded[:, W.shape[1] :])
        self.neurons = kernels.pairs.PairNeurons(W, self.a, kernels.to_panels(by_neuron))
        self.panels, self.square_panels = kernels.to_panels(W.T), kernels.to_panels(np.square(W.T))

    # ------------------------------------------------------------------------ what subclasses say
    @abstractmethod
    def _split(self):
        """Runs of samples, ranges, each of which one worker takes in order."""

    @staticmethod
    @abstractmethod
    def _result_bytes(n, width, dim, outputs):
        """Bytes of the sums."""

    @abstractmethod
    def _add_own(self, samples, own):
        """Add each neuron of a slice of samples with itself."""

    @abstractmethod
    def _add_pairs(self, run, i, scratch):
        """Add the pairs for sample i."""

    # ------------------------------------------------------------------------------------ the run
    def run(self):
        """Add up everything."""

        def work(tasks):
            scratch = self.kernels.pair_scratch(*self.neurons.W.shape, _owens_t())
            for run, samples in tasks:
                for first in range(samples.start, samples.stop, BLOCK):
                    block = slice(first, min(first + BLOCK, samples.stop))
                    self._add_block(run, block, scratch, tasks.stopped)
                    tasks.report(block.stop - first)

        run_workers(
            work,
            enumerate(self.runs),
            min(self.threads, len(self.runs)),
            None if self.progress is None else self._report,
        )
        return self

    def _report(self, count):
        self.done += count
        self.progress(self.done, len(self.X))

    def _add_block(self, run, samples, scratch, stopped):
        own = self._one_by_one(samples)
        self._add_own(samples, own)
        for i, *values in zip(range(samples.start, samples.stop), *own, strict=True):
            if stopped():
                raise Stopped
            self.kernels.pairs.fill_pair_scratch(self.neurons, self.V[i], *values, self.kinds, scratch)
            self._add_pairs(run, i, scratch)

    def _one_by_one(self, samples):
        kernels = self.kernels
        z, square = (
            kernels.from_panels(
                panel_product(kernels, kernels.to_panels(values[samples].T), panels),
                samples.stop - samples.start,
                len(self.neurons.W),
            )
            for values, panels in ((self.X, self.panels), (self.V, self.square_panels))
        )
        s = np.sqrt(square)
        t = np.clip(np.divide(z, s, out=np.zeros_like(z), where=s > 0), -gaussian.FAR, gaussian.FAR)
        active = np.where(s > 0, special.ndtr(t), z > 0)
        return OneByOne(t, s, active, np.where(s > 0, gaussian.normal_density(t), 0.0))

    def _plan(self, neurons, options):
        """The number of threads; MemoryError where there is too little memory."""
        shared, each = self.nbytes(self.kernels, neurons, len(self.X))
        limit, source = allowed_memory(options.memory_limit)
        wanted = min(options.threads or min(available_cpus(), MAX_THREADS), len(self.runs))
        fitting = int((limit - shared) // each)
        if fitting < (wanted if options.threads else 1):
            need = shared + each * (wanted if options.threads else 1)
            raise MemoryError(
                f"sums over pairs of {neurons.width} neurons of {neurons.dim} features need about "
                f"{describe_bytes(need)}, but {source} is {describe_bytes(limit)}. Use "
                f"{'fewer threads, ' if options.threads else ''}a narrower network, or a larger memory_limit."
                f" {MEMORY}"
            )
        return min(wanted, fitting)

    @classmethod
    def nbytes(cls, kernels, neurons, n):
        """(bytes taken once, bytes of each thread)."""
        width, dim = neurons.width + 24, neurons.dim
        shared = 8 * width * (6 * dim + 3 * neurons.outputs) + cls._result_bytes(
            n, width, dim, neurons.outputs
        )
        each = kernels.pair_scratch_bytes(width, dim)
        each += 8 * 12 * BLOCK * (width + dim)
        return shared, each


class PairVariance(PairSums):
    """``out`` (n, q): sum_qr a_qc a_rc Cov(relu_q, relu_r), m times the variance of the outputs."""

    kinds = 1

    def __init__(self, neurons, X, V, options):
        super().__init__(neurons, X, V, options)
        self.out = np.zeros((len(X), neurons.outputs))

    def _split(self):
        return even_ranges(len(self.X), -(-len(self.X) // BLOCK))

    @staticmethod
    def _result_bytes(n, width, dim, outputs):
        return 16 * n * outputs

    def _add_own(self, samples, own):
        variances = np.square(own.s) * gaussian.unit_variance(own.t)
        squares = np.square(self.a[: variances.shape[1]])
        self.out[samples] += (variances[:, :, np.newaxis] * squares).sum(axis=1)

    def _add_pairs(self, run, i, scratch):
        self.kernels.pair_variance(self.neurons, self.V[i], scratch, self.out[i])


class PoincareBound(PairVariance):
    """``out`` (n, q): sum_qr a_qc a_rc C_qr E(1_q 1_r), m times an upper bound of the variance."""

    kinds = 3

    def _add_own(self, samples, own):
        terms = np.square(own.s) * own.active
        squares = np.square(self.a[: terms.shape[1]])
        self.out[samples] += (terms[:, :, np.newaxis] * squares).sum(axis=1)

    def _add_pairs(self, run, i, scratch):
        self.kernels.pair_poincare(self.neurons, self.V[i], scratch, self.out[i])


class PairGradient(PairSums):
    """The gradient of sum_ic m V_ic / 2 by w_r: sum_i (by_relu x_i + by_density v_i * w_r) + by_weights.

    After :meth:`run`, ``by_relu`` and ``by_density`` are (n, m) and ``by_weights`` (m, d).
    """

    kinds = 3

    def __init__(self, neurons, X, V, options):
        super().__init__(neurons, X, V, options)
        self._by_relu, self._by_density = (np.zeros((len(X), len(self.a))) for _ in range(2))
        self._by_weights = np.zeros((len(self.runs), *self.panels.shape))

    def _split(self):
        return even_ranges(len(self.X), RUNS)

    @staticmethod
    def _result_bytes(n, width, dim, outputs):
        return 8 * width * (2 * n + (RUNS + 3) * dim)

    def _add_own(self, samples, own):
        width = own.t.shape[1]
        weighted = np.square(self.a[:width]).sum(axis=1) * gaussian.unit_relu(own.t)
        self._by_relu[samples, :width] += weighted * own.s * (1 - own.active)
        self._by_density[samples, :width] -= weighted * own.density

    def _add_pairs(self, run, i, scratch):
        sums = self.kernels.pairs.PairGradientSums(
            self._by_relu[i], self._by_density[i], self._by_weights[run]
        )
        self.kernels.pair_gradient(self.neurons, self.V[i], scratch, sums)

    @property
    def by_relu(self):
        return self._by_relu[:, : len(self.neurons.W)]

    @property
    def by_density(self):
        return self._by_density[:, : len(self.neurons.W)]

    @property
    def by_weights(self):
        width, dim = self.neurons.W.shape
        return self.kernels.from_panels(self._by_weights.sum(axis=0), dim, width).T


@cache
def _owens_t():
    """The address of SciPy's Owen's T function of two doubles."""
    from numba.extending import get_cython_function_address

    return get_cython_function_address("scipy.special.cython_special", "owens_t")


def even_ranges(n, parts):
    """Ranges of as equal lengths as can be, as many as ``parts`` where there are so many samples."""
    bounds = np.linspace(0, n, min(parts, n) + 1).astype(int).tolist()
    return [range(a, b) for a, b in pairwise(bounds)]
