"""What a CUDA device adds up for an accumulator of ``accumulators.py``.

One is made from (device, accumulator, neurons, inputs) and has

    add(chunk)      add a range of neurons, a ``DeviceChunk``
    finish()        bring what has been added to the accumulator

Float sums run in the order of the CPU's and are rounded where those are.
"""

import math
from abc import ABC, abstractmethod

import numpy as np

from ..kernels.cuda import coactivation, layout, random, sums
from ..kernels.cuda.layout import round_up
from .chunk import CHUNK
from .ranges import DEVICE_CHUNK

ROUNDS = 4  # of tiles on all multiprocessors, that a launch should have at least


def nbytes_sums(quantities, rows, columns):
    """Bytes that the sums of (rows, columns) matrices take on a device: of integers, and of floats."""
    entries = math.prod(layout.counts_shape(rows, columns))
    return sum(entries * (4 if one.exact else 16) for one in quantities)


class Coactivation:
    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.accumulator = device, accumulator
        self.shape = len(inputs[0]), len(inputs[-1])
        self.counts = device.zeros(layout.counts_shape(*self.shape), np.int32)

    def add(self, chunk):
        rows, columns = chunk.bits(0), chunk.bits(-1)
        words = layout.pattern_shape(1, chunk.count)[1]
        symmetric = self.accumulator.symmetric
        coactivation.coactivation(self.device, rows, columns, words, symmetric, self.counts)

    def finish(self):
        n, p = self.shape
        self.accumulator.add_state([self.device.download(self.counts)[:n, :p]])


class Activation:
    """Whole numbers, which float64 adds exactly in any order."""

    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.accumulator = device, accumulator
        self.counts = device.zeros((DEVICE_CHUNK // CHUNK, len(inputs[0])), np.float64)

    def add(self, chunk):
        ones = self.device.upload(np.ones(chunk.count))
        sums.weighted_bit_count(self.device, chunk.bits(0), ones, CHUNK, self.counts)

    def finish(self):
        counts = self.device.download(self.counts).sum(axis=0)
        self.accumulator.add_state([counts.astype(np.int64)])


class Pattern:
    """Written at once, into the array that all workers share."""

    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.accumulator, self.rows = device, accumulator, len(inputs[0])

    def add(self, chunk):
        bits = self.device.download(chunk.bits(0)).view(np.uint8)
        self.accumulator.put(bits, chunk.first, chunk.count, self.rows)

    def finish(self):
        pass


class FixedPoint(ABC):
    """A float64 partial sum (rows, columns) for each chunk of CHUNK neurons, added as int64 fixed point.

    Its scales are those of the accumulator.
    """

    at_once = DEVICE_CHUNK // CHUNK  # chunks

    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.accumulator, self.neurons = device, accumulator, neurons
        rows, columns = accumulator.extent
        self.padded = rows, round_up(columns, sums.TILE)
        self._make_totals()

    def _make_totals(self):
        fixed, (rows, columns) = self.accumulator.fixed, self.padded
        self.row_scale = _on_device(self.device, fixed.row_scale, rows)
        self.column_scale = _on_device(self.device, fixed.column_scale, columns)
        self.totals = self.device.zeros(self.padded, np.int64)

    @abstractmethod
    def _add_partial(self, chunk, start, chunks, partial):
        """Add the terms of so many chunks from ``start`` on to partial (chunks, rows, columns)."""

    def add(self, chunk):
        for start, chunks in chunk.groups(self.at_once):
            partial = self.device.zeros((chunks, *self.padded), np.float64)
            self._add_partial(chunk, start, chunks, partial)
            sums.add_fixed_point(self.device, partial, self.row_scale, self.column_scale, self.totals)

    def finish(self):
        rows, columns = self.accumulator.extent
        self.accumulator.add_state([self.device.download(self.totals)[:rows, :columns]])


class Gram(FixedPoint):
    """Sums (n, p): of more chunks at once the smaller they are, to have work for the whole device."""

    def __init__(self, device, accumulator, neurons, inputs):
        self.symmetric = accumulator.symmetric
        super().__init__(device, accumulator, neurons, inputs)

    def _make_totals(self):
        self.padded = round_up(self.padded[0], sums.TILE), self.padded[1]
        tiles = math.prod(self.padded) // sums.TILE**2
        wanted = -(-ROUNDS * self.device.multiprocessors // tiles)
        self.at_once = min(wanted, FixedPoint.at_once)
        super()._make_totals()


class ReluGram(Gram):
    def _add_partial(self, chunk, start, chunks, partial):
        for _, _, relu in chunk.relu_blocks(start, chunks):
            sums.ordered_product(self.device, relu[0], relu[-1], self.symmetric, partial)


class WeightedCoactivation(Gram):
    def _add_partial(self, chunk, start, chunks, partial):
        squares = self.device.upload(self.neurons.output_squares(chunk.first, chunk.count))
        ones = self.device.upload(np.ones(chunk.count))
        size = chunk.block(chunks)
        weighted, plain = (self.device.empty((chunks, size, width), np.float64) for width in self.padded)
        for first, _ in chunk.blocks(start, chunks, size):
            for k, weights, out in ((0, squares, weighted), (-1, ones, plain)):
                sums.unpack_bits(self.device, chunk.bits(k), weights, CHUNK, start + first, out)
            sums.ordered_product(self.device, weighted, plain, self.symmetric, partial)


class ReluSquares(FixedPoint):
    def _add_partial(self, chunk, start, chunks, partial):
        for _, _, relu in chunk.relu_blocks(start, chunks):
            sums.square_sum(self.device, relu[0], partial)


class WeightedActivation(FixedPoint):
    def _add_partial(self, chunk, start, chunks, partial):
        squares = self.device.upload(self.neurons.output_squares(chunk.first, chunk.count))
        sums.weighted_bit_count(self.device, chunk.bits(0), squares, CHUNK, partial[:, 0])


class Outputs(FixedPoint):
    def __init__(self, device, accumulator, neurons, inputs):
        super().__init__(device, accumulator, accumulator.neurons, inputs)

    def _add_partial(self, chunk, start, chunks, partial):
        for first, counts, relu in chunk.relu_blocks(start, chunks):
            a = output_weights(
                self.device, self.neurons, chunk.first + start + first, counts, relu[0].shape[1]
            )
            sums.weighted_sum(self.device, relu[0], a, partial)


def output_weights(device, neurons, first, counts, size):
    """(chunks, size, q) float64, zeros beyond ``counts``.

    The first chunk's begin with neuron ``first``, each other's CHUNK neurons further on.
    """
    weights = device.zeros((len(counts), size, neurons.outputs), np.float64)
    given = np.zeros(weights.shape)
    for chunk, count in enumerate(counts):
        own = first + chunk * CHUNK
        if neurons.given_output_weights is not None:
            given[chunk, :count] = neurons.output_weights(own, count)
        elif count:
            random.output_signs(device, neurons.seed, own, weights[chunk, :count])
    return weights if neurons.given_output_weights is None else device.upload(given)


def _on_device(device, scale, size):
    """A scale of ``fixed_point.FixedPoint`` for so many entries; beyond its own it multiplies zeros."""
    padded = np.ones(size)
    own = scale.reshape(-1)[:size]
    padded[: len(own)] = own
    return device.upload(padded)
