"""Gradient products on a device: each neuron's sum over the samples, each sample's sum over the neurons.

The hidden layer's gradient is added in fp32, with the roundings and so the bound that the CPU's has for
several outputs (docs/mathematics.md, section 6), whatever their number.  Tangents are float64 throughout: the
masked products below, summed by ``sums.weighted_sum``.  So is the output layer's gradient: ``sums.rectified``
with the features as left operand gives (samples, neurons), and its ``sums.weighted_sum`` with u runs over the
samples.
"""

from typing import NamedTuple

import numpy as np

from .layout import round_up
from .sums import THREADS
from .sums import TILE as PRODUCT_TILE

NEURONS, FEATURES, SLAB = 128, 64, 16  # tiles of gradient.cu


class WeightedRows(NamedTuple):
    """Inputs and weights of the outputs as the gradient reads them, on a device.

    u_ic x~_ik = values[c, i] rows[i, k] 2^exponents[k], each factor rounded once to fp32.
    """

    rows: object  # (n rounded up, d rounded up) fp32, columns scaled to a largest entry in [1/2, 1)
    values: object  # (q, n rounded up) fp32, each sample scaled to the same
    scale: object  # (d,) float64: 2^exponents


def scaled_values(u, lines):
    """(``values`` of :class:`WeightedRows`, the exponents (n,) of their units, whether a sample has any)."""
    largest = np.abs(u).max(axis=1)
    exponents = np.frexp(largest)[1]
    values = np.zeros((u.shape[1], lines), np.float32)
    values[:, : len(u)] = np.ldexp(u, -exponents[:, None]).T
    return values, exponents, largest > 0


def weighted_rows(device, inputs, u):
    """:class:`WeightedRows` of (n, d) fp32 inputs and (n, q) float64 weights of magnitudes at most 1."""
    n, dim = inputs.shape
    rows = np.zeros((round_up(n, SLAB), round_up(dim, FEATURES)), np.float32)
    values, own, is_any = scaled_values(u, len(rows))
    weighted = np.where(is_any, np.ldexp(1.0, own), 0.0)[:, None] * inputs
    exponents = np.frexp(np.abs(weighted).max(axis=0))[1]
    rows[:n, :dim] = np.ldexp(weighted, -exponents)
    return WeightedRows(device.upload(rows), device.upload(values), device.upload(np.ldexp(1.0, exponents)))


def hidden_gradient(device, bits, first_word, rows, a, factors, out, largest):
    """out (count, d) fp32 = factors[r] sum_ic b_ri a[c, r] u_ic x~_ik.

    bits (>= n rounded up, words) uint32, whose word ``first_word`` begins with the first of these neurons;
    a (q, count rounded up to 128) fp32, 0 beyond ``count``; factors (count,) float64.  largest (1,) uint32 is
    raised to the bits of the largest magnitude written: beyond those of infinity where one is NaN.
    """
    (count, dim), (outputs, neurons) = out.shape, a.shape
    samples, features = rows.rows.shape
    sizes = (np.int32(outputs), np.int32(neurons), np.int32(samples), np.int32(features))
    device.launch(
        "gradient", "gradient", (features // FEATURES, neurons // NEURONS), 256,
        bits, np.int32(bits.shape[1]), np.int32(first_word), a, rows.values, rows.rows, *sizes,
        rows.scale, factors, np.int32(count), np.int32(dim), out, largest,
    )  # fmt: skip


def masked_product(device, panels, features, bits, chunk, first, H):
    """H (chunks, neurons, samples) = v . x~ where the neuron is active on the sample, else 0, in float64.

    As ``sums.rectified``, with directions v in the place of weights.  bits (lines, words) uint32 of the
    neurons of all chunks, ``chunk`` in each; H is of the neurons first, first + 1, ... of each.
    """
    (chunks, neurons, samples), dim = H.shape, features.shape[0]
    grid = (samples // PRODUCT_TILE, neurons // PRODUCT_TILE, chunks)
    sizes = (np.int32(dim), np.int32(neurons), np.int32(samples))
    pattern = (bits, *(np.int32(size) for size in (*bits.shape, chunk, first)))
    lines = np.int32(panels.shape[1])
    device.launch("product", "masked_product", grid, THREADS, panels, lines, features, *sizes, *pattern, H)
