"""One range of neurons, evaluated on a CUDA device for the inputs of a sweep."""

from functools import cached_property
from typing import Any

import numpy as np

from ..kernels.cuda import forward, forward_bf16, layout, sums
from .chunk import CHUNK, Stopped

BLOCK_BYTES = 1 << 30  # of preactivations held at a time
MOST_BLOCK = 2048  # neurons of a chunk whose preactivations are held at a time


class DeviceChunk:
    """The neurons [first, first + count) of a network on a device: the counterpart of ``chunk.Chunk``.

    ``bits(k)`` and ``relu_blocks(...)`` evaluate input k of ``inputs`` (rows, or rows and columns).  Arrays
    for the bits of ``most`` neurons are made here.  Float sums are defined by chunks of CHUNK neurons, of
    which a range has several: a device adds up some of them at once.  ``stopped()`` is asked between blocks
    of neurons.
    """

    def __init__(self, device, neurons, inputs, needs, stopped, most):
        self.device, self.neurons, self.inputs, self.stopped = device, neurons, inputs, stopped
        self.first = self.count = 0
        self._weights = None  # of the range, where they are given
        self._has_bits = [False] * len(inputs)
        sizes, rounded = (max(map(len, inputs)), neurons.dim, most), neurons.dtype == "bfloat16"
        if rounded and forward_bf16.is_chosen():
            self._forward: Any = forward_bf16
            self._scratch = forward_bf16.forward_scratch(device, *sizes)
        else:
            self._forward = forward
            self._scratch = forward.forward_scratch(device, *sizes, rounded)
        if "bits" in needs:
            self._settled = device.zeros(2, np.uint64)  # signs that fp32, and float64, left open
            self._rows = [self._forward.forward_inputs(device, side.rows) for side in inputs]
            self._bits = [device.zeros(layout.pattern_shape(len(side), most), np.uint32) for side in inputs]

    @cached_property
    def features(self):
        """x~^T of each input, fp32 panels: what all reads but counts and patterns."""
        return [sums.feature_panel(self.device, side.rows) for side in self.inputs]

    def move_to(self, first, count):
        self.first, self.count = first, count
        weights = self.neurons.given_weights
        if weights is not None:
            self._weights = self.device.upload(weights[first : first + count])
        self._has_bits = [False] * len(self.inputs)
        return self

    def bits(self, k):
        """Pattern of input k, (padded rows, words) uint32; zero beyond ``count``."""
        bits = self._bits[k]
        if not self._has_bits[k]:
            what = self.device, self._rows[k], *self._source(0), self.count
            self._forward.pattern(*what, self._scratch, bits, self._settled)
            self._has_bits[k] = True
        return bits

    def groups(self, at_once):
        """(first within the range, number of chunks) of at most so many chunks each."""
        for start in range(0, self.count, at_once * CHUNK):
            yield start, -(-min(at_once * CHUNK, self.count - start) // CHUNK)

    def blocks(self, start, chunks, size):
        """Blocks of ``size`` neurons of each chunk of a group: (first within a chunk, [how many neurons])."""
        ends = [min(start + chunk * CHUNK + CHUNK, self.count) for chunk in range(chunks)]
        lengths = [end - start - chunk * CHUNK for chunk, end in enumerate(ends)]
        for first in range(0, max(lengths), size):
            if self.stopped():
                raise Stopped
            yield first, [min(max(length - first, 0), size) for length in lengths]

    def blocks_of_range(self, size):
        """(first within the range, [count]) of blocks that need not mind where a chunk ends."""
        for first in range(0, self.count, size):
            if self.stopped():
                raise Stopped
            yield first, [min(size, self.count - first)]

    def relu_blocks(self, start, chunks):
        """Blocks of a group in order: (first within a chunk, [numbers of neurons], [preactivations]).

        Those of input k are rectified, H (chunks, block, samples) float64, with zeros beyond the data.
        """
        size = self.block(chunks)
        panels = self.device.empty((chunks, len(self._scratch.panel), size), np.float32)
        relu = [self.device.empty((chunks, size, x.shape[1]), np.float64) for x in self.features]
        for first, counts in self.blocks(start, chunks, size):
            self.fill_panels(start + first, counts, panels)
            for features, out in zip(self.features, relu, strict=True):
                sums.rectified(self.device, panels, features, out)
            yield first, counts, relu

    def block(self, chunks):
        """Neurons of each of so many chunks that are held at a time: a power of two, which divides CHUNK."""
        fitting = BLOCK_BYTES // (8 * chunks * sum(x.shape[1] for x in self.features))
        most = max(min(fitting, len(self._scratch.factors), MOST_BLOCK), forward.TILE)
        return 1 << most.bit_length() - 1

    def fill_panels(self, start, counts, panels):
        """Fill (chunks, depth, block) with weights, zeros beyond ``counts``.

        The first panel begins with neuron ``start`` of the range, each other one CHUNK neurons further on.
        """
        for chunk, count in enumerate(counts):
            scratch = self._scratch._replace(panel=panels[chunk])
            source, size = self._source(start + chunk * CHUNK), panels.shape[2]
            forward.fill_panel(self.device, scratch, *source, count, self.neurons.dim, size, scaled=False)

    def _source(self, start) -> tuple[object, int, int, int]:
        """What kernels make the weights from ``start`` on of: (given weights, seed, stream word, first)."""
        if self._weights is not None:
            return self._weights, 0, 0, start
        return None, self.neurons.seed, self.neurons.stream_word, self.first + start
