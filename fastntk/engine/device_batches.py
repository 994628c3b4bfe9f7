"""Masked inputs of training steps, made on a CUDA device from the rows of the data, which stay there."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels import reference
from ..kernels.cuda import batch, forward


@dataclass(frozen=True)
class DeviceBatch:
    """Masked inputs of one step."""

    device: Any
    inputs: forward.ForwardInputs

    def __len__(self):
        return self.inputs.rows.shape[0]

    @property
    def masked(self):
        """(n, d) float32, on the host."""
        return self.device.download(self.inputs.rows)


class DeviceBatches:
    """The masked inputs of each step of ``batches.Batches``.

    Masks that are no function of normals (``Mask._normal_form``) are sampled by the processor and sent.
    """

    def __init__(self, device, batches, prefix_counts):
        self.device, self.batches, self._prefix_counts = device, batches, prefix_counts
        form = None if batches.mask is None else batches.mask._normal_form(batches.X.shape[1])
        self._is_made_here = batches.mask is None or form is not None
        if self._is_made_here:
            self._rows = device.upload(batches.X)
        if form is not None:
            self._ids, self._scale, self._multiplies = (
                device.upload(batches.ids),
                device.upload(form[0]),
                form[1],
            )

    def of_step(self, step):
        """The :class:`DeviceBatch` of a step; errors are those of ``Batches.masked``."""
        batches, device = self.batches, self.device
        if not self._is_made_here:
            return self._pack(device.upload(batches.masked(step)))
        sources = device.upload(np.arange(len(batches.X), dtype=np.int32)[batches.rows(step)])
        if batches.mask is None:
            return self._pack(batch.chosen_rows(device, self._rows, sources))
        found = device.zeros(1, np.uint32)
        word = reference.stream_word(reference.ROW_MASK_STREAM, step)
        rows = batch.masked_rows(
            device, self._rows, self._ids, sources, self._scale, self._multiplies, batches.seed, word, found
        )
        if device.download(found)[0]:
            batches.masked(step)  # says which value is outside float32
        return self._pack(rows)

    def _pack(self, rows):
        return pack(self.device, rows, self._prefix_counts)


def pack(device, rows, prefix_counts):
    """The :class:`DeviceBatch` of (n, d) fp32 rows on a device; ``prefix_counts`` as in its scratch."""
    return DeviceBatch(device, batch.forward_inputs(device, rows, prefix_counts))
