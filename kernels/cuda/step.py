"""A training step on a device: the weights of a chunk updated, and run forward with their outputs.

The weights (count, d) fp32 stay on the device, and are packed anew by each pass.  Gradients are those of
``gradient.py``, bits those of ``forward.py``; outputs are added in fp32 over a tile of 128 neurons, then in
float64 tile by tile, so the order of every sum is fixed.
"""

from typing import NamedTuple

import numpy as np

from . import forward, history
from .gradient import FEATURES, NEURONS
from .layout import round_up
from .sums import THREADS


class StepOutputs(NamedTuple):
    """Outputs of a pass over the weights."""

    partial: object  # (tiles of neurons of a group, q, n rounded up) fp32
    totals: object  # (q, n rounded up) float64, added to
    out_of_range: object  # (1,) uint32: becomes 1 where a weight is too large to go on, or NaN
    settled: object  # (2,) uint64, as for ``forward.pattern``


def step_outputs(device, inputs, scratch, outputs):
    """Room for ``outputs`` outputs of a pass."""
    lines, tiles = inputs.panel.shape[1], scratch.panel.shape[1] // forward.TILE
    return StepOutputs(
        partial=device.empty((tiles, outputs, lines), np.float32),
        totals=device.zeros((outputs, lines), np.float64),
        out_of_range=device.zeros(1, np.uint32),
        settled=device.zeros(2, np.uint64),
    )


def output_weights(device, a):
    """Output weights (count, q) as passes read them: (q, count rounded up to a tile) fp32, 0 beyond."""
    padded = np.zeros((a.shape[1], round_up(len(a), forward.TILE)), np.float32)
    padded[:, : len(a)] = a.T
    return device.upload(padded)


def room_for_bits(device, rows, neurons):
    """Words of the pattern of a chunk, for batches of at most so many rows."""
    words = round_up(neurons, forward.TILE) // forward.WORD_BITS
    return device.empty((round_up(rows, forward.TILE), words), np.uint32)


def forward_step(device, inputs, weights, a, scratch, bits, outputs):
    """As ``forward.pattern`` of all given weights, and totals += sum_r a_rc relu(w_r . scaled x~_i).

    ``a`` is from :func:`output_weights`.  The outputs of a row are those of the scaled row: 2^exponents of
    the inputs takes that back.
    """
    count, dim = weights.shape
    outputs_count, lines = outputs.totals.shape
    for start, neurons in forward.groups(bits, scratch):
        here = min(max(count - start, 0), neurons)
        forward.fill_panel(device, scratch, weights, 0, 0, start, here, dim, neurons, scaled=False)
        history.find_out_of_range(device, scratch.factors, neurons, outputs.out_of_range)
        more = (a, np.int32(outputs_count), np.int32(a.shape[1]), outputs.partial)
        forward.multiply(device, "forward_step", inputs, scratch, start, neurons, bits, *more)
        forward.settle(device, inputs, weights, start, scratch, start, neurons, bits, outputs.settled)
        entries, tiles = outputs_count * lines, neurons // forward.TILE
        grid = -(-entries // THREADS)
        device.launch(
            "forward", "add_outputs", grid, THREADS,
            outputs.partial, np.int32(tiles), np.int32(entries), outputs.totals,
        )  # fmt: skip


def update(device, bits, rows, a, factor, weights):
    """weights[r] += factor sum_ic b_ri a[c, r] u_ic x~_i.

    ``bits`` and ``a`` are those of the last :func:`forward_step`, ``rows`` u and x~ of its batch, packed by
    ``gradient.weighted_rows``.  A weight is rounded once more than that sum.
    """
    outputs, neurons = a.shape
    count, dim = weights.shape
    samples, features = rows.rows.shape
    sizes = map(np.int32, (outputs, neurons, samples, features))
    device.launch(
        "gradient", "update", (features // FEATURES, -(-count // NEURONS)), 256,
        bits, np.int32(bits.shape[1]), np.int32(0), a, rows.values, rows.rows, *sizes, rows.scale,
        np.float64(factor), np.int32(count), np.int32(dim), weights,
    )  # fmt: skip
