"""Gradient products on a CUDA device, for the accumulators of ``gradients.py``; as in ``device_sums.py``.

The rows of a gradient are each the business of one neuron: they are written at once.
"""

import numpy as np

from ..kernels.cuda import forward, gradient, step, sums
from ..kernels.cuda.layout import WORD_BITS, round_up
from .chunk import CHUNK
from .device_sums import FixedPoint, output_weights
from .gradients import raise_not_finite

BLOCK = 16384  # neurons whose gradients are held at a time


class HiddenGradient:
    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.neurons, self.cotangent = device, neurons, accumulator.cotangent
        self.rows = gradient.weighted_rows(device, inputs[0].rows, self.cotangent.values)

    def add(self, chunk):
        bits, largest = chunk.bits(0), self.device.zeros(1, np.uint32)
        for start, (count,) in chunk.blocks_of_range(BLOCK):
            first = chunk.first + start
            a = self.neurons.output_weights(first, count)
            exponents = np.frexp(np.abs(a).max(axis=1))[1]
            by_output = step.output_weights(self.device, np.ldexp(a, -exponents[:, None]))
            factors = np.ldexp(1 / np.sqrt(self.neurons.width), exponents + self.cotangent.exponent)
            out = self.device.empty((count, self.neurons.dim), np.float32)
            gradient.hidden_gradient(
                self.device,
                bits,
                start // WORD_BITS,
                self.rows,
                by_output,
                self.device.upload(factors),
                out,
                largest,
            )
            self.cotangent.hidden[first : first + count] = self.device.download(out)
            if not self.device.download(largest).view(np.float32)[0] < np.inf:
                raise_not_finite(self.cotangent.hidden[first : first + count], first)

    def finish(self):
        pass


class OutputGradient:
    """Samples and neurons change places: a product with the inputs on the left is summed over the samples."""

    def __init__(self, device, accumulator, neurons, inputs):
        self.device, self.neurons, self.cotangent = device, neurons, accumulator.cotangent
        samples, values = round_up(len(inputs[0]), sums.TILE), self.cotangent.values
        by_sample = np.zeros((1, samples, values.shape[1]))
        by_sample[0, : len(values)] = values
        self.values = device.upload(by_sample)

    def add(self, chunk):
        size, features = chunk.block(1), chunk.features[0]
        panels = self.device.empty((1, round_up(self.neurons.dim, forward.SLAB), size), np.float32)
        relu = self.device.empty((1, features.shape[1], size), np.float64)
        for start, counts in chunk.blocks_of_range(size):
            chunk.fill_panels(start, counts, panels)
            sums.rectified(self.device, features[None], panels[0, : self.neurons.dim], relu)
            out = self.device.zeros((1, self.values.shape[2], size), np.float64)
            sums.weighted_sum(self.device, relu, self.values, out)
            first, count = chunk.first + start, counts[0]
            self.cotangent.output[first : first + count] = self.device.download(out)[0, :, :count].T

    def finish(self):
        pass


class HiddenTangent(FixedPoint):
    def _add_partial(self, chunk, start, chunks, partial):
        size, features = chunk.block(chunks), chunk.features[0]
        projected = self.device.empty((chunks, size, features.shape[1]), np.float64)
        bits, tangent = chunk.bits(0), self.accumulator.tangent
        for first, counts in chunk.blocks(start, chunks, size):
            own = chunk.first + start + first
            panels = np.zeros((chunks, self.neurons.dim, size), np.float32)
            for place, count in enumerate(counts):
                if count:
                    panels[place, :, :count] = tangent.rows(own + place * CHUNK, count).T
            gradient.masked_product(
                self.device, self.device.upload(panels), features, bits, CHUNK, start + first, projected
            )
            a = output_weights(self.device, self.neurons, own, counts, size)
            sums.weighted_sum(self.device, projected, a, partial)
