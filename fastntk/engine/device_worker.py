"""A CUDA device as a worker of a sweep."""

from typing import Any

from ..kernels.cuda.layout import round_up
from . import accumulators, device_gradients, device_sums, gradients
from .chunk import CHUNK
from .device_chunk import DeviceChunk
from .plan import describe_bytes
from .ranges import DEVICE_CHUNK

ADVICE = (
    "Use fewer rows at a time (row_ids keep the masks the same), out with a smaller memory_limit, or "
    "backend='cpu'."
)


SUMS: dict[type, Any] = {
    accumulators.CoactivationCounts: device_sums.Coactivation,
    accumulators.ActivationCounts: device_sums.Activation,
    accumulators.PatternBits: device_sums.Pattern,
    accumulators.WeightedCoactivation: device_sums.WeightedCoactivation,
    accumulators.WeightedActivation: device_sums.WeightedActivation,
    accumulators.ReluGram: device_sums.ReluGram,
    accumulators.ReluSquares: device_sums.ReluSquares,
    accumulators.OutputSums: device_sums.Outputs,
    gradients.HiddenGradient: device_gradients.HiddenGradient,
    gradients.OutputGradient: device_gradients.OutputGradient,
    gradients.HiddenTangent: device_gradients.HiddenTangent,
    gradients.OutputTangent: device_sums.Outputs,
}


class DeviceWorker:
    """Adds ranges of neurons on a device; ``accumulators`` get the sums at the end of a ``with`` block."""

    def __init__(self, device, neurons, inputs, accumulators, stopped):
        self.device, self.accumulators = device, accumulators
        self.sums: list[Any] = []
        self.chunk: Any = None
        self.most = min(DEVICE_CHUNK, neurons.width)
        self._arguments = neurons, inputs, {need for one in accumulators for need in one.needs}, stopped

    def __enter__(self):
        neurons, inputs, *_ = self._arguments
        try:
            self.sums = [SUMS[type(one)](self.device, one, neurons, inputs) for one in self.accumulators]
            self.chunk = self._largest_chunk()
        except MemoryError as error:
            self._give_back()
            raise MemoryError(f"{error}. {ADVICE}") from error
        return self

    def __exit__(self, failure, *_):
        try:
            if failure is None:
                for one in self.sums:
                    one.finish()
        finally:
            self._give_back()

    def add(self, first, count):
        for start in range(first, first + count, self.most):
            self.chunk.move_to(start, min(self.most, first + count - start))
            for one in self.sums:
                one.add(self.chunk)
        self.device.synchronize()  # what is reported is done, not only asked for

    def _largest_chunk(self):
        """Room for as many neurons as there is: whole chunks of those that sums of floats are defined by."""
        while True:
            try:
                return DeviceChunk(self.device, *self._arguments, self.most)
            except MemoryError:
                if self.most <= CHUNK:
                    raise
            self.most = round_up(self.most // 2, CHUNK)
            self.device.free_memory()

    def _give_back(self):
        self.sums, self.chunk = [], None
        self.device.free_memory()


def require_room(devices, quantities, rows, columns):
    """MemoryError where the sums of an (n, p) matrix are more than one of the devices holds."""
    needed = device_sums.nbytes_sums(quantities, rows, columns)
    smallest = min(devices, key=lambda device: device.memory_bytes)
    if needed > smallest.memory_bytes:
        raise MemoryError(
            f"{rows} x {columns} samples need about {describe_bytes(needed)} on each device, but "
            f"{smallest.name} has {describe_bytes(smallest.memory_bytes)}. {ADVICE}"
        )
