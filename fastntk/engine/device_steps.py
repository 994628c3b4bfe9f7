"""Training steps on a CUDA device: the weights stay there, and come to the host when they are read."""

import math
import threading
from typing import Any, NamedTuple

import numpy as np

from ..kernels.cuda import forward, gradient, history, random, step
from ..kernels.cuda.batch import weighted_rows
from ..kernels.cuda.layout import round_up
from .device_batches import DeviceBatches, pack
from .plan import describe_bytes
from .ranges import DEVICE_CHUNK
from .step_chunks import output_exponent
from .steps import Observation, OutOfRange

ADVICE = "Use a smaller network, fewer rows, a smaller batch_size, or backend='cpu'."
PARTIAL_BYTES = 1 << 28  # of outputs of tiles of neurons, before they are added up


class DeviceGradient(NamedTuple):
    """The gradient of a batch, before its neurons: what a pass adds to the weights."""

    rows: gradient.WeightedRows
    factor: float  # - step size, the exponents taken out, and width^{-1/2}


class DeviceChunk(NamedTuple):
    """Some neurons; the order of sums does not depend on how many, so that they only bound the memory."""

    first: int
    stop: int
    weights: Any  # (count, d) fp32
    a: Any  # output weights, ``step.output_weights``, in units of 2^exponent
    bits: Any  # of the last batch
    initial_bits: Any  # of the initial weights on the clean inputs


class DeviceSteps:
    """The weights in training, and passes over them: the counterpart of ``steps.Steps`` on a device.

    Outputs are added in fp32 over the 128 neurons of a tile, then in float64 tile by tile: the same bits for
    every run on devices, while a step differs from the CPU's by what fp32 may lose.  ``weights`` is written
    by :meth:`host_weights` alone; the other arguments are those of ``Steps``.
    """

    def __init__(self, device, neurons, weights, rows, total_rows):
        self.device, self.neurons = device, neurons
        self.hurry = threading.Event()  # set: updates only, so that an interrupted pass ends soon
        self.exponent = output_exponent(neurons)
        self._rows, self._total_rows = rows, total_rows
        self._host, self._host_is_old = weights, False
        self._chunks: list[DeviceChunk] = []
        self._scratch: Any = None
        self._batches: DeviceBatches | None = None

    def close(self):
        """Give the memory back to the device; the host has the weights that were read last."""
        self._chunks, self._scratch, self._batches = [], None, None
        self.device.free_memory()

    # ------------------------------------------------------------------------------ weights
    def fill(self, weights=None):
        """Set the weights to the initial ones, or to given ones (m, d); makes room for all there is."""
        most = min(DEVICE_CHUNK, self.neurons.width)
        samples = max(self._rows, self._total_rows)
        at_once = _neurons_at_once(samples, self.neurons.outputs, most)
        try:
            self._scratch = forward.forward_scratch(self.device, samples, self.neurons.dim, at_once)
            self._chunks = [
                self._chunk(first, min(first + most, self.neurons.width), weights)
                for first in range(0, self.neurons.width, most)
            ]
        except MemoryError as error:
            raise MemoryError(f"{error}. {ADVICE}") from error
        self._host_is_old = True

    def host_weights(self):
        """The weights as they are now, (m, d) float32: the array that was given."""
        if self._host_is_old:
            for chunk in self._chunks:
                self._host[chunk.first : chunk.stop] = self.device.download(chunk.weights)
            self._host_is_old = False
        return self._host

    # ------------------------------------------------------------------------------ passes
    def pack(self, masked, *, keep=False):
        """Masked inputs (n, d) float32 as passes take them."""
        return pack(self.device, self.device.upload(masked), self._scratch.prefix_counts)

    def pack_step(self, batches, step):
        """The masked inputs of a step, made on the device."""
        if self._batches is None:
            self._batches = DeviceBatches(self.device, batches, self._scratch.prefix_counts)
        return self._batches.of_step(step)

    def gradient(self, batch, residuals, step_size):
        """As ``Steps.gradient``."""
        exponent = int(np.frexp(np.abs(residuals).max())[1])  # so that values are up to 1
        rows = weighted_rows(self.device, batch.inputs.rows, np.ldexp(residuals, -exponent))
        factor = -np.ldexp(step_size / np.sqrt(self.neurons.width), exponent + self.exponent)
        return DeviceGradient(rows, factor)

    def advance(self, gradient=None, batch=None):
        """As ``Steps.advance``."""
        outputs = None if batch is None else self._room_for_outputs(batch)
        self._host_is_old |= gradient is not None
        for chunk in self._chunks:
            if gradient is not None:
                step.update(self.device, chunk.bits, gradient.rows, chunk.a, gradient.factor, chunk.weights)
            if batch is not None and not self.hurry.is_set():
                self._forward(chunk.weights, chunk, batch, chunk.bits, outputs)
            self.device.synchronize()  # so that whoever is in a hurry does not wait for more than a chunk
        return None if batch is None or self.hurry.is_set() else self._outputs(batch, outputs)

    def evaluate(self, batch):
        """Outputs (n, q) float64 on other inputs, without a trace."""
        outputs = self._room_for_outputs(batch)
        for chunk in self._chunks:
            bits = self._room_for_bits(len(batch), chunk)
            self._forward(chunk.weights, chunk, batch, bits, outputs)
        return self._outputs(batch, outputs)

    def remember_initial(self, clean):
        """Keep the bits of the initial weights on the packed clean inputs, for :meth:`observe`."""
        outputs = self._room_for_outputs(clean)
        for chunk in self._chunks:
            initial = self._initial(chunk.first, chunk.stop)
            self._forward(initial, chunk, clean, chunk.initial_bits, outputs)
        self._outputs(clean, outputs)

    def observe(self, clean):
        """An ``Observation`` on the packed clean inputs that :meth:`remember_initial` was given."""
        outputs, moved = self._room_for_outputs(clean), []
        flipped = self.device.zeros(1, np.uint64)
        for chunk in self._chunks:
            bits = self._room_for_bits(self._total_rows, chunk)
            self._forward(chunk.weights, chunk, clean, bits, outputs)
            history.count_differences(self.device, bits, chunk.initial_bits, flipped)
            initial = self._initial(chunk.first, chunk.stop)
            moved.append(history.distance_moved(self.device, chunk.weights, initial))
        squares, largest = map(np.concatenate, zip(*moved, strict=True))
        return Observation(
            outputs=self._outputs(clean, outputs),
            flipped=int(self.device.download(flipped)[0]),
            square_distance=math.fsum(squares),
            largest_square=float(largest.max()),
        )

    # ------------------------------------------------------------------------------ pieces
    def _chunk(self, first, stop, weights):
        device, count = self.device, stop - first
        a = np.ldexp(self.neurons.output_weights(first, count), -self.exponent)
        return DeviceChunk(
            first=first,
            stop=stop,
            weights=self._initial(first, stop) if weights is None else device.upload(weights[first:stop]),
            a=step.output_weights(device, a),
            bits=step.room_for_bits(device, self._rows, count),
            initial_bits=step.room_for_bits(device, self._total_rows, count),
        )

    def _initial(self, first, stop):
        """Initial weights of some neurons, (count, d) fp32."""
        neurons = self.neurons
        if neurons.given_weights is not None:
            return self.device.upload(neurons.given_weights[first:stop])
        out = self.device.empty((stop - first, neurons.dim), np.float32)
        random.random_rows(
            self.device, neurons.seed, neurons.stream_word, first, out,
            scale=neurons.scale, bfloat16=neurons.dtype == "bfloat16",
        )  # fmt: skip
        return out

    def _room_for_bits(self, rows, chunk):
        return step.room_for_bits(self.device, rows, chunk.stop - chunk.first)

    def _room_for_outputs(self, batch):
        return step.step_outputs(self.device, batch.inputs, self._scratch, self.neurons.outputs)

    def _forward(self, weights, chunk, batch, bits, outputs):
        step.forward_step(self.device, batch.inputs, weights, chunk.a, self._scratch, bits, outputs)

    def _outputs(self, batch, outputs):
        """Outputs (n, q) float64 of a pass; OutOfRange where a weight cannot be used any more."""
        sums = self.device.download(outputs.totals)[:, : len(batch)].T
        if self.device.download(outputs.out_of_range)[0]:
            raise OutOfRange
        exponents = batch.inputs.exponents + self.exponent
        return np.ldexp(sums / np.sqrt(self.neurons.width), exponents[:, None])


def _neurons_at_once(samples, outputs, most):
    """Neurons whose tiles have their outputs in memory before they are added up."""
    tile = 4 * outputs * round_up(samples, forward.TILE)
    return min(most, max(PARTIAL_BYTES // tile, 1) * forward.TILE)


def nbytes_device(neurons, rows, total_rows):
    """Bytes that training takes on a device, its weights among them."""
    width, dim, outputs = neurons.width, neurons.dim, neurons.outputs
    batch, every = round_up(rows, forward.TILE), round_up(total_rows, forward.TILE)
    samples, most = max(batch, every), min(DEVICE_CHUNK, width)
    bits = width * (batch + every) // 8 + 2 * samples * most // 8
    # a batch and the next, the clean rows, a probe: as rows, as a panel, and with residuals; and the data
    depth = round_up(dim, gradient.FEATURES)
    batches = 12 * depth * (2 * batch + 2 * every) + 4 * outputs * batch + 8 * every
    at_once = _neurons_at_once(samples, outputs, most)
    tiles = round_up(at_once, forward.TILE) // forward.TILE
    panel = max(forward.PANEL_BYTES, 4 * depth * forward.TILE) + samples * at_once // 8
    sums = outputs * samples * (4 * tiles + 16)
    chunk = 4 * most * dim  # of initial weights, to compare with
    return width * (4 * dim + 4 * outputs) + bits + batches + panel + sums + chunk


def nbytes_host(neurons, rows, total_rows):
    """Bytes that it takes on the host, beyond the weights."""
    dim, outputs = neurons.dim, neurons.outputs
    chunk = min(DEVICE_CHUNK, neurons.width) * (4 * dim + 24 * outputs)
    return chunk + 16 * dim * (rows + total_rows) + 64 * outputs * (rows + total_rows)


def require_room(device, neurons, rows, total_rows):
    """MemoryError where training is more than the device holds."""
    needed = nbytes_device(neurons, rows, total_rows)
    if needed > device.memory_bytes:
        weights = 4 * neurons.width * neurons.dim
        raise MemoryError(
            f"training {neurons.width} neurons of {neurons.dim} features on {total_rows} rows needs about "
            f"{describe_bytes(needed)} on a device, of which the weights {describe_bytes(weights)}, but "
            f"{device.name} has {describe_bytes(device.memory_bytes)}. {ADVICE}"
        )
