"""The forward pass on a device: certified pattern bits of a chunk of neurons.

Three kernels for a group of neurons: ``panels.cu`` makes or packs their weights, ``forward.cu`` multiplies
and compares with the rigorous bound of ``cpu/layout.py``, and ``settle.cu`` looks again at what that leaves
open.  Nothing is waited for and nothing comes back to the host.
"""

from typing import NamedTuple

import numpy as np

from ..cpu.batch import prefix_counts
from ..cpu.layout import DEPTH_BLOCK, prefix_square_sum, relative_bound, scaled_by_power_of_two
from .layout import WORD_BITS, round_up

TILE = 128  # samples and neurons of a block of forward.cu
SLAB = 16  # features that it reads at a time
PANEL_BYTES = 32 << 20  # of weights at a time: about half of the second-level cache


class ForwardInputs(NamedTuple):
    """Masked inputs as the forward pass reads them, on a device.

    ``factors`` is the rows' half of the bound; 0 says that a row is zero, and its bits are 0.
    """

    rows: object  # (n, d) fp32, as given: what the exact sign is the sign of
    panel: object  # (depth, n rounded up to a tile) fp32, each row scaled by a power of two
    factors: object  # (n rounded up,) fp32
    exponents: np.ndarray  # (n,) integers, on the host: row = scaled row times 2^exponent


class ForwardScratch(NamedTuple):
    """Working memory of the forward pass, for groups of as many neurons as fit."""

    panel: object  # (depth, neurons) fp32 weights
    factors: object  # (neurons,) fp32: the neurons' half of the bound
    prefix_counts: object  # (depth,) fp32: the number of partial sums that a feature is in
    undecided: object  # (n rounded up, neurons / 32) uint32
    rounded: bool  # whether virtual weights are rounded to bfloat16


def forward_inputs(device, rows):
    """Pack (n, d) fp32 rows."""
    n, dim = rows.shape
    scaled = scaled_by_power_of_two(rows)
    panel = np.zeros((round_up(dim, SLAB), round_up(n, TILE)), np.float32)
    panel[:dim, :n] = scaled.T
    factors = np.zeros(panel.shape[1], np.float32)
    factors[:n] = relative_bound(dim, fused=True) * np.sqrt(prefix_square_sum(scaled))
    exponents = np.frexp(np.abs(rows).max(axis=1))[1] - 1
    return ForwardInputs(device.upload(rows), device.upload(panel), device.upload(factors), exponents)


def forward_scratch(device, n, dim, count, rounded=False):
    """Room for ``n`` samples and chunks of at most ``count`` neurons; ``rounded`` as there."""
    depth = round_up(dim, SLAB)
    fitting = PANEL_BYTES // (4 * depth) // TILE * TILE
    neurons = min(max(fitting, TILE), round_up(count, TILE))
    return ForwardScratch(
        panel=device.empty((depth, neurons), np.float32),
        factors=device.empty(neurons, np.float32),
        prefix_counts=device.upload(padded_prefix_counts(dim, depth)),
        undecided=device.empty((round_up(n, TILE), neurons // WORD_BITS), np.uint32),
        rounded=rounded,
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
    dim, depth = inputs.rows.shape[1], len(inputs.panel)
    kernel = "forward" if depth <= DEPTH_BLOCK else "forward_deep"
    for start, neurons in groups(bits, scratch):
        here = min(max(count - start, 0), neurons)
        fill_panel(device, scratch, weights, seed, stream_word, first + start, here, dim, neurons)
        multiply(device, kernel, inputs, scratch, start, neurons, bits)
        settle(device, inputs, weights, first + start, scratch, start, neurons, bits, settled)


def groups(bits, scratch):
    """(first, number) of the neurons that are taken at a time, counted from those of the first word."""
    total, most = WORD_BITS * bits.shape[1], scratch.panel.shape[1]
    return [(start, min(most, total - start)) for start in range(0, total, most)]


def multiply(device, kernel, inputs, scratch, start, neurons, bits, *more):
    """Bits and undecided ones of the panel at hand, whose first neuron has bit ``start``."""
    depth, lines = inputs.panel.shape
    sizes = (depth, lines, neurons, bits.shape[1], start // WORD_BITS)
    device.launch(
        "forward", kernel, (neurons // TILE, lines // TILE), 256,
        inputs.panel, scratch.panel, inputs.factors, scratch.factors, *map(np.int32, sizes),
        bits, scratch.undecided, *more,
    )  # fmt: skip


def settle(device, inputs, weights, first, scratch, start, neurons, bits, settled):
    """Exact signs where a product left them open; neuron ``first`` of all has bit ``start``."""
    dim, lines, words = inputs.rows.shape[1], len(inputs.factors), neurons // WORD_BITS
    if weights is None:  # then the panel has them as they are, feature by feature
        stored, places = scratch.panel, (0, 1, neurons)
    else:
        stored, places = weights, (first, dim, 1)
    sizes = (dim, lines, words, bits.shape[1], start // WORD_BITS)
    device.launch(
        "settle", "settle", -(-lines * words // 256), 256,
        inputs.rows, stored, *map(np.int64, places), *map(np.int32, sizes), bits, scratch.undecided, settled,
    )  # fmt: skip


def fill_panel(device, scratch, weights, seed, stream_word, first, count, dim, neurons, scaled=True):
    """Weights of the neurons [first, first + count) as a panel (depth, neurons), zeros beyond.

    Given ones are scaled by powers of two for the forward pass, unless ``scaled`` is False: then they are as
    they are, and nothing of the bound is lost as long as their squares do not overflow.
    """
    depth = scratch.panel.shape[0]
    sizes = (np.int32(count), np.int32(dim), np.int32(depth), np.int32(neurons))
    outputs = (scratch.prefix_counts, scratch.panel, scratch.factors)
    grid, block = neurons // WORD_BITS, (WORD_BITS, 8)
    if weights is None:
        keys = (np.uint64(seed), np.uint32(stream_word), np.uint64(first), np.int32(scratch.rounded))
        device.launch("panels", "random_panel", grid, block, *keys, *sizes, *outputs)
    else:
        given = (weights, np.int64(first), np.int32(scaled))
        device.launch("panels", "given_panel", grid, block, *given, *sizes, *outputs)
