"""Float sums on a device, in the order and with the roundings of the CPU's: the bits are the same.

A sum over the neurons of a chunk is a chain, so several chunks are taken at once, along the first axis of all
arrays.  H (chunks, neurons, samples) holds rectified preactivations of a block of neurons of each chunk in
float64; neurons and samples are multiples of ``TILE``, and what lies beyond the data is zero.
"""

import numpy as np

from .layout import round_up

TILE = 64  # rows and columns of a block of product.cu
THREADS = 256


def feature_panel(device, rows):
    """x~^T of (n, d) fp32 rows on a device, (d, n rounded up to a tile)."""
    n, dim = rows.shape
    panel = np.zeros((dim, round_up(n, TILE)), np.float32)
    panel[:, :n] = rows.T
    return device.upload(panel)


def rectified(device, panels, features, H):
    """H = relu(w . x~), chains of fma over the features.

    fp32 panels (chunks, >= d, neurons) of weights as they are, features (d, samples).
    """
    (chunks, neurons, samples), dim = H.shape, features.shape[0]
    grid = (samples // TILE, neurons // TILE, chunks)
    sizes = (np.int32(dim), np.int32(neurons), np.int32(samples))
    lines = np.int32(panels.shape[1])
    device.launch("product", "rectified_product", grid, THREADS, panels, lines, features, *sizes, H)


def ordered_product(device, a, b, upper, c):
    """c (chunks, rows, columns) += a^T b, one chain of fma for each entry.

    a (chunks, depth, rows), b (chunks, depth, columns), float64.  With ``upper`` only tiles on or above the
    diagonal are complete.
    """
    (chunks, depth, rows), columns = a.shape, b.shape[2]
    grid = (columns // TILE, rows // TILE, chunks)
    sizes = (np.int32(depth), np.int32(rows), np.int32(columns), np.int32(upper))
    device.launch("product", "ordered_product", grid, THREADS, a, b, *sizes, c)


def weighted_sum(device, H, a, partial):
    """partial (chunks, outputs, samples) += a^T H, a (chunks, neurons, outputs) float64."""
    (chunks, neurons, samples), outputs = H.shape, a.shape[2]
    grid = (-(-samples // THREADS), outputs, chunks)
    sizes = (np.int32(neurons), np.int32(samples), np.int32(outputs))
    device.launch("sums", "weighted_sum", grid, THREADS, H, a, *sizes, partial)


def square_sum(device, H, partial):
    """partial (chunks, samples) += the squares of H."""
    chunks, neurons, samples = H.shape
    grid = (-(-samples // THREADS), 1, chunks)
    device.launch("sums", "square_sum", grid, THREADS, H, np.int32(neurons), np.int32(samples), partial)


def weighted_bit_count(device, bits, weights, chunk, partial):
    """partial (chunks, n) += the weights (count,) of the active neurons, ``chunk`` neurons in each.

    bits (>= n, words) uint32 of the neurons of all chunks.
    """
    chunks, n = partial.shape
    grid = (-(-n // THREADS), 1, chunks)
    sizes = (np.int32(len(weights)), np.int32(chunk), np.int32(n))
    words = np.int32(bits.shape[1])
    device.launch("sums", "weighted_bit_count", grid, THREADS, bits, words, weights, *sizes, partial)


def unpack_bits(device, bits, weights, chunk, first, out):
    """out (chunks, neurons, samples) float64 = the weight of a neuron where it is active, else 0.

    The neurons first, first + 1, ... of each chunk; bits, weights and chunk as in ``weighted_bit_count``.
    """
    (chunks, neurons, samples), (lines, words) = out.shape, bits.shape
    grid = (-(-samples // THREADS), neurons, chunks)
    sizes = (np.int32(len(weights)), np.int32(chunk), np.int32(first), np.int32(samples))
    device.launch(
        "sums", "unpack_bits", grid, THREADS, bits, np.int32(lines), np.int32(words), weights, *sizes, out
    )


def add_fixed_point(device, values, row_scale, column_scale, totals):
    """totals (rows, columns) int64 += round(values row_scale column_scale); values (chunks, ...) float64."""
    chunks, rows, columns = values.shape
    sizes = (np.int32(chunks), np.int32(rows), np.int32(columns))
    grid = -(-rows * columns // THREADS)
    device.launch("sums", "add_fixed_point", grid, THREADS, values, *sizes, row_scale, column_scale, totals)
