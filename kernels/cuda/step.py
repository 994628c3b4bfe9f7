"""A training step on a device: the weights of a chunk updated, and run forward with their outputs.

The weights stay on the device, (m, d) fp32, and are packed anew by each pass.  Gradients are those of
``gradient.py``, bits those of ``forward.py``; outputs are added in fp32 over a tile of 128 neurons, then in
float64 tile by tile, so the order of every sum is fixed.
"""

from typing import NamedTuple

import numpy as np

from . import forward
from .gradient import FEATURES, NEURONS
from .sums import THREADS


class StepOutputs(NamedTuple):
    """Outputs of a forward pass."""

    a: object  # (q, neurons of the chunk, padded as its bits) fp32, 0 beyond the last
    partial: object  # (tiles of neurons of a group, q, n rounded up) fp32
    totals: object  # (q, n rounded up) float64, added to


def step_outputs(device, inputs, scratch, a, words):
    """Room for the outputs of a chunk with output weights ``a`` (count, q) and a pattern of so many words."""
    padded = np.zeros((a.shape[1], forward.WORD_BITS * words), np.float32)
    padded[:, : len(a)] = a.T
    lines = inputs.panel.shape[1]
    tiles = scratch.panel.shape[1] // forward.TILE
    return StepOutputs(
        a=device.upload(padded),
        partial=device.empty((tiles, a.shape[1], lines), np.float32),
        totals=device.zeros((a.shape[1], lines), np.float64),
    )


def forward_step(device, inputs, weights, first, count, scratch, bits, settled, outputs):
    """As ``forward.pattern`` of given weights, and totals += sum_r a_rc relu(w_r . scaled x~_i).

    The outputs of a row are those of the scaled row: 2^exponents of the inputs takes that back.  Totals that
    are not finite say that a weight is too large, or NaN.
    """
    dim = inputs.rows.shape[1]
    outputs_count, lines = outputs.totals.shape
    for start, neurons in forward.groups(bits, scratch):
        here = min(max(count - start, 0), neurons)
        forward.fill_panel(device, scratch, weights, 0, 0, first + start, here, dim, neurons, scaled=False)
        sizes = np.int32(outputs_count), np.int32(outputs.a.shape[1])
        more = (outputs.a, *sizes, outputs.partial)
        forward.multiply(device, "forward_step", inputs, scratch, start, neurons, bits, *more)
        forward.settle(device, inputs, weights, first + start, scratch, start, neurons, bits, settled)
        entries, tiles = outputs_count * lines, neurons // forward.TILE
        grid = -(-entries // THREADS)
        device.launch(
            "forward", "add_outputs", grid, THREADS,
            outputs.partial, np.int32(tiles), np.int32(entries), outputs.totals,
        )  # fmt: skip


def update(device, bits, rows, a, factor, first, count, weights):
    """weights[first + r] += factor sum_ic b_ri a[c, r] u_ic x~_i for ``count`` neurons.

    ``bits`` and ``a`` are those of the chunk (:class:`StepOutputs`), ``rows`` u and x~ of the batch that the
    bits are of, packed by ``gradient.weighted_rows``.  A weight is rounded once more than that sum.
    """
    outputs, neurons = a.shape
    samples, features = rows.rows.shape
    sizes = map(np.int32, (outputs, neurons, samples, features))
    device.launch(
        "gradient", "update", (features // FEATURES, -(-count // NEURONS)), 256,
        bits, np.int32(bits.shape[1]), np.int32(0), a, rows.values, rows.rows, *sizes, rows.scale,
        np.float64(factor), np.int64(first), np.int32(count), np.int32(weights.shape[1]), weights,
    )  # fmt: skip
