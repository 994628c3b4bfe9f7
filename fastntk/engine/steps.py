"""Training steps: one pass over the weights each, fused with the forward pass of the next step."""

import math
import threading
from typing import NamedTuple

import numpy as np

from .environment import ieee_arithmetic
from .neurons import read_only
from .step_chunks import BLOCK, CHUNK, NEURONS_PER_CLASS, StepChunks, group_size
from .threads import pool


class Gradient(NamedTuple):
    """The gradient of a batch, before its neurons: what a pass adds to the weights."""

    rows: np.ndarray  # the packed samples of the batch whose bits stand in the words
    panels: int
    residuals: np.ndarray  # (q, n) float64, in units that leave sums over the outputs at most 1
    by_output: np.ndarray  # (q, 64 panels) fp32: the same, zeros beyond
    factor: np.float32  # - step size, the exponents taken out, and width^{-1/2}


class Observation(NamedTuple):
    """The network between two steps, seen on the clean inputs."""

    outputs: np.ndarray  # (n, q) float64
    flipped: int  # bits that differ from those of the initial weights
    square_distance: float  # ||W - W0||_F^2
    largest_square: float  # max_r ||w_r - w_r0||^2


class OutOfRange(Exception):
    """A weight has become too large to go on, or NaN."""


class Steps:
    """The weights in training, and passes over them.

    A pass takes one chunk of neurons after the other: it updates their weights with the gradient of the
    last batch, then runs them forward under the next one while they are in cache.  Only bits and residuals
    pass from one step to the next.  The order of every sum over neurons is fixed: fp32 within some tiles,
    float64 over the chunks of a group, then over the groups; threads take whole groups.

    Parameters
    ----------
    kernels : CpuKernels
    neurons : Neurons
        The initial network.
    weights : (m, d) float32
        What is trained: changed in place.
    rows : int
        The largest batch.
    total_rows : int
        Rows of the data set: clean inputs, and what the groups are chosen for.
    threads : int
    """

    def __init__(self, kernels, neurons, weights, rows, total_rows, threads):
        self.kernels = kernels
        self.neurons = neurons
        self.weights = weights
        self.plan = StepChunks(neurons, kernels.path.step_neurons)
        self.groups = self.plan.groups(total_rows * neurons.outputs)
        self.hurry = threading.Event()  # set: updates only, so that an interrupted pass ends soon
        self._words = [_room_for_bits(chunk, rows) for chunk in self.plan.chunks]
        self._initial_words: list[np.ndarray] = []
        self._batches: dict[int, list] = {}
        samples = max(rows, total_rows)
        self._scratch = [
            kernels.step_scratch(min(CHUNK, neurons.width), neurons.dim, neurons.outputs, samples)
            for _ in range(min(threads, len(self.groups)))
        ]

    # ------------------------------------------------------------------------------ passes
    def fill(self, weights=None):
        """Set the weights to the initial ones, or to given ones (m, d), which may be the same array."""
        if weights is None:
            for chunk in self.plan.chunks:
                self.weights[chunk.order] = self._initial(chunk.order)
        elif not np.may_share_memory(self.weights, weights):
            self.weights[:] = weights

    def host_weights(self):
        """The weights as they are now, (m, d) float32."""
        return self.weights

    def close(self):
        """Nothing is held that the garbage collector would not find."""

    def pack(self, masked, *, keep=False):
        """Masked inputs (n, d) float32 as passes take them.

        The room is used again by the next but one batch of as many rows, unless ``keep``.
        """
        if keep:
            batch = self.kernels.make_batch(*masked.shape)
        else:
            room = self._batches.setdefault(len(masked), [])
            batch = room.pop(0) if len(room) == 2 else self.kernels.make_batch(*masked.shape)
            room.append(batch)
        batch.masked[:] = masked
        self.kernels.pack_batch(batch)
        return batch

    def pack_step(self, batches, step):
        """As :meth:`pack`, of the masked inputs of a step of ``batches.Batches``."""
        return self.pack(batches.masked(step))

    def gradient(self, batch, residuals, step_size):
        """What the next pass adds: - step_size times the gradient of 1/2 ||residuals||^2 of a batch.

        ``residuals`` is (n, q) float64: f - y at the batch of the last pass.
        """
        largest = np.ldexp(np.abs(residuals).sum(axis=1), batch.exponents).max()
        exponent = np.frexp(largest)[1]  # so that directions, of entries up to 1, leave values up to 1
        values = np.ldexp(residuals.T, batch.exponents - exponent)
        by_output = np.zeros((len(values), len(batch.bounds)), np.float32)
        by_output[:, : len(residuals)] = values
        factor = -np.ldexp(step_size / np.sqrt(self.neurons.width), exponent + self.plan.exponent)
        return Gradient(batch.rows, len(batch.panels), values, by_output, np.float32(factor))

    def advance(self, gradient=None, batch=None):
        """One pass: update with ``gradient``, forward under ``batch``; its outputs (n, q) float64.

        Either may be None.  Where :attr:`hurry` is set in the meantime the update is finished and the
        result is None.  Raises OutOfRange after the pass where a weight cannot be used any more.
        """
        totals = np.empty(0) if batch is None else self._totals(batch)

        def work(number, group, scratch):
            chunk, words = self.plan.chunks[number], self._words[number]
            if gradient is not None:
                self._update(chunk, words[: gradient.panels], gradient, scratch)
            if batch is None or self.hurry.is_set():
                return True
            return self._forward(chunk, self.weights, chunk.order, batch, words, totals[group], scratch)

        self._run(work)
        return None if batch is None or self.hurry.is_set() else self._outputs(totals, batch)

    def evaluate(self, batch):
        """Outputs (n, q) float64 on other inputs, without a trace."""
        totals = self._totals(batch)

        def work(number, group, scratch):
            chunk = self.plan.chunks[number]
            words = _room_for_bits(chunk, len(batch.masked))
            return self._forward(chunk, self.weights, chunk.order, batch, words, totals[group], scratch)

        self._run(work)
        return self._outputs(totals, batch)

    def remember_initial(self, clean):
        """Keep the bits of the initial weights on the packed clean inputs, for :meth:`observe`."""
        totals = self._totals(clean)
        self._initial_words = [_room_for_bits(chunk, len(clean.masked)) for chunk in self.plan.chunks]

        def work(number, group, scratch):
            chunk, words = self.plan.chunks[number], self._initial_words[number]
            places = np.arange(len(chunk.order))
            return self._forward(
                chunk, self._initial(chunk.order), places, clean, words, totals[group], scratch
            )

        self._run(work)

    def observe(self, clean):
        """An :class:`Observation` on the packed clean inputs that :meth:`remember_initial` was given."""
        totals, rows = self._totals(clean), len(clean.masked)
        seen = [(0, 0.0, 0.0)] * len(self.plan.chunks)

        def work(number, group, scratch):
            chunk, before = self.plan.chunks[number], self._initial_words[number]
            words = np.empty_like(before)
            good = self._forward(chunk, self.weights, chunk.order, clean, words, totals[group], scratch)
            flipped = self.kernels.history.count_differences(words, before, rows, len(chunk.order))
            start = read_only(self._initial(chunk.order))
            moved = self.kernels.history.distance_moved(read_only(self.weights), chunk.order, start)
            seen[number] = (flipped, *moved)
            return good

        self._run(work)
        flipped, squares, largest = zip(*seen, strict=True)
        return Observation(self._outputs(totals, clean), sum(flipped), math.fsum(squares), max(largest))

    # ------------------------------------------------------------------------------ pieces
    def _update(self, chunk, words, gradient, scratch):
        factors = chunk.scale * gradient.factor
        if len(chunk.stops):
            by_class = np.empty((len(chunk.stops), gradient.by_output.shape[1]), np.float32)
            self.kernels.combine(chunk.directions, gradient.residuals, scratch.totals, by_class)
            update, residuals = self.kernels.update_by_lookup, (by_class, chunk.stops)
        else:
            update, residuals = self.kernels.update_dense, (chunk.a, gradient.by_output)
        update(self.weights, chunk.order, factors, words, gradient.rows, *residuals, scratch)

    def _forward(self, chunk, weights, order, batch, words, totals, scratch):
        """Forward one chunk whose neurons are the rows ``order`` of ``weights``; whether all is in range."""
        words = words[: len(batch.panels)]
        settled = self.kernels.forward_chunk(
            read_only(weights), order, chunk.a, batch, words, totals, scratch
        )
        return settled >= 0

    def _initial(self, ids):
        """Initial weights of some neurons, (count, d) float32."""
        neurons = self.neurons
        if neurons.given_weights is not None:
            contiguous = (np.diff(ids) == 1).all()
            return neurons.given_weights[slice(ids[0], ids[-1] + 1) if contiguous else ids]
        rows = neurons.virtual_rows(ids.astype(np.uint64), self.kernels)
        return rows if neurons.scale == 1 else (neurons.scale * rows.astype(np.float64)).astype(np.float32)

    def _totals(self, batch):
        """Sums of the outputs, (groups, panels, q, 64) float64."""
        panels, _, samples = batch.panels.shape
        return np.zeros((len(self.groups), panels, self.neurons.outputs, samples))

    def _outputs(self, totals, batch):
        sums = totals.sum(axis=0).transpose(0, 2, 1).reshape(-1, self.neurons.outputs)[: len(batch.masked)]
        exponents = batch.exponents + self.plan.exponent
        return np.ldexp(sums / np.sqrt(self.neurons.width), exponents[:, None])

    def _run(self, work):
        """work(chunk, group, scratch) for every chunk; raises OutOfRange in the end if one returned false.

        Threads take whole groups, this one among them.
        """
        remaining, take, in_range = iter(enumerate(self.groups)), threading.Lock(), []

        def worker(scratch):
            with ieee_arithmetic():
                while True:
                    with take:
                        group, chunks = next(remaining, (0, None))
                    if chunks is None:
                        return
                    in_range.extend([work(number, group, scratch) for number in chunks])

        others = [pool().submit(worker, scratch) for scratch in self._scratch[1:]]
        try:
            worker(self._scratch[0])
        finally:
            failures = [other.exception() for other in others]  # wait: they write into the weights
        for failure in failures:
            if failure is not None:
                raise failure
        if not all(in_range):
            raise OutOfRange


def _room_for_bits(chunk, rows):
    """Words of 64 samples for each neuron of a chunk."""
    return np.empty((-(-rows // 64), len(chunk.a)), np.uint64)


def nbytes_steps(kernels, neurons, rows, total_rows):
    """(bytes beyond the weights that do not depend on the threads, bytes of each thread)."""
    width, dim, outputs = neurons.width, neurons.dim, neurons.outputs
    panels = -(-total_rows // 64)
    bits = 8 * width * (-(-rows // 64) + panels)  # of the step, and of the initial weights
    chunks = width * (8 + 4 + 4 * outputs) + min(width, BLOCK) * (40 + 24 * outputs)
    # two batches in flight and two shorter ones, the clean rows, a probe, and masked rows on their way
    batches = (
        4 * kernels.batch_bytes(rows, dim) + 2 * kernels.batch_bytes(total_rows, dim) + 12 * total_rows * dim
    )
    chunk_count = -(-width // CHUNK)
    groups = -(-chunk_count // group_size(chunk_count, total_rows * outputs))
    sums = 8 * outputs * 64 * panels * (groups + 8)  # and targets, residuals and the like
    scratch = kernels.step_scratch(min(CHUNK, width), dim, outputs, max(rows, total_rows))
    here = min(CHUNK, width)
    passing = here * (12 * dim + 8 * panels) + 256 * panels * (here // NEURONS_PER_CLASS + 1)
    return bits + chunks + batches + sums, sum(array.nbytes for array in scratch) + passing
