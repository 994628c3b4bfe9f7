"""The forward pass on a device: certified pattern bits of a chunk of neurons.

Three kernels for a group of neurons: ``panels.cu`` makes or packs their weights, ``forward.cu`` multiplies
and compares with the rigorous bound of ``cpu/layout.py``, and ``settle.cu`` looks again at what that leaves
open.  Nothing is waited for and nothing comes back to the host.
"""

from typing import NamedTuple

import numpy as np

from ..cpu.batch import prefix_counts
from ..cpu.layout import DEPTH_BLOCK, prefix_square_sum, relative_bound, round_up, scaled_by_power_of_two

TILE = 128  # samples and neurons of a block of forward.cu
SLAB = 16  # features that it reads at a time
WORD = 32  # neurons in a word of the pattern
PANEL_BYTES = 32 << 20  # of weights at a time: about half of the second-level cache


class ForwardInputs(NamedTuple):
    """Masked inputs as the forward pass reads them, on a device.

    ``factors`` is the rows' half of the bound; 0 says that a row is zero, and its bits are 0.
    """

    rows: object  # (n, d) fp32, as given: what the exact sign is the sign of
    panel: object  # (depth, n rounded up to a tile) fp32, each row scaled by a power of two
    factors: object  # (n rounded up,) fp32


class ForwardScratch(NamedTuple):
    """Working memory of the forward pass, for groups of as many neurons as fit."""

    panel: object  # (depth, neurons) fp32 weights
    factors: object  # (neurons,) fp32: the neurons' half of the bound
    prefix_counts: object  # (depth,) fp32: the number of partial sums that a feature is in
    undecided: object  # (n rounded up, neurons / 32) uint32


def forward_inputs(device, rows):
    """Pack (n, d) fp32 rows."""
    n, dim = rows.shape
    scaled = scaled_by_power_of_two(rows)
    panel = np.zeros((round_up(dim, SLAB), round_up(n, TILE)), np.float32)
    panel[:dim, :n] = scaled.T
    factors = np.zeros(panel.shape[1], np.float32)
    factors[:n] = relative_bound(dim, fused=True) * np.sqrt(prefix_square_sum(scaled))
    return ForwardInputs(device.upload(rows), device.upload(panel), device.upload(factors))


def forward_scratch(device, n, dim, count):
    """Room for ``n`` samples and chunks of at most ``count`` neurons."""
    depth = round_up(dim, SLAB)
    fitting = PANEL_BYTES // (4 * depth) // TILE * TILE
    neurons = min(max(fitting, TILE), round_up(count, TILE))
    return ForwardScratch(
        panel=device.empty((depth, neurons), np.float32),
        factors=device.empty(neurons, np.float32),
        prefix_counts=device.upload(padded_prefix_counts(dim, depth)),
        undecided=device.empty((round_up(n, TILE), neurons // WORD), np.uint32),
    )


def padded_prefix_counts(dim, depth):
    """Of :func:`fastntk.kernels.cpu.batch.prefix_counts`, (depth,) fp32, zero from ``dim`` on."""
    counts = np.zeros(depth, np.float32)
    counts[:dim] = prefix_counts(dim)
    return counts


def pattern(device, inputs, weights, seed, stream_word, first, count, scratch, bits, settled):
    """Fill ``bits`` with the pattern of the neurons [first, first + count).

    ``bits`` (at least the inputs' padded rows, words) uint32 has neuron first + j at bit j % 32 of word
    j // 32; words is a multiple of 4 and holds at least ``count`` neurons, and bits beyond are set to 0.
    ``weights`` is a device array (m, d) fp32, or None where they are the virtual ones of ``seed``.
    ``settled`` (2,) uint64 counts the signs that fp32 left open and, of these, those that float64 did too.
    """
    dim = inputs.rows.shape[1]
    depth, lines = inputs.panel.shape
    words = bits.shape[1]
    kernel = "forward" if depth <= DEPTH_BLOCK else "forward_deep"
    for start in range(0, WORD * words, scratch.panel.shape[1]):
        neurons = min(scratch.panel.shape[1], WORD * words - start)
        here = min(max(count - start, 0), neurons)
        fill_panel(device, scratch, weights, seed, stream_word, first + start, here, dim, neurons)
        device.launch(
            "forward", kernel, (neurons // TILE, lines // TILE), 256,
            inputs.panel, scratch.panel, inputs.factors, scratch.factors, np.int32(depth), np.int32(lines),
            np.int32(neurons), np.int32(words), np.int32(start // WORD), bits, scratch.undecided,
        )  # fmt: skip
        if weights is None:  # then the panel has them as they are, feature by feature
            stored, from_neuron, neuron_stride, feature_stride = scratch.panel, 0, 1, neurons
        else:
            stored, from_neuron, neuron_stride, feature_stride = weights, first + start, dim, 1
        device.launch(
            "settle", "settle", -(-lines * (neurons // WORD) // 256), 256,
            inputs.rows, stored, np.int64(from_neuron), np.int64(neuron_stride), np.int64(feature_stride),
            np.int32(dim), np.int32(lines), np.int32(neurons // WORD), np.int32(words),
            np.int32(start // WORD), bits, scratch.undecided, settled,
        )  # fmt: skip


def fill_panel(device, scratch, weights, seed, stream_word, first, count, dim, neurons, scaled=True):
    """Weights of the neurons [first, first + count) as a panel (depth, neurons), zeros beyond.

    Given ones are scaled by powers of two for the forward pass, unless ``scaled`` is False.
    """
    depth = scratch.panel.shape[0]
    sizes = (np.int32(count), np.int32(dim), np.int32(depth), np.int32(neurons))
    outputs = (scratch.prefix_counts, scratch.panel, scratch.factors)
    grid, block = neurons // WORD, (WORD, 8)
    if weights is None:
        keys = (np.uint64(seed), np.uint32(stream_word), np.uint64(first))
        device.launch("panels", "random_panel", grid, block, *keys, *sizes, *outputs)
    else:
        given = (weights, np.int64(first), np.int32(scaled))
        device.launch("panels", "given_panel", grid, block, *given, *sizes, *outputs)
