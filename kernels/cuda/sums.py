"""Float sums on a device, in the order and with the roundings of the CPU's: the bits are the same.

Matrices are plain and C-contiguous: H (neurons, samples) holds rectified preactivations of a block of neurons
in float64.  Both sizes of it are multiples of ``TILE``, and what lies beyond the data is zero.
"""

import numpy as np

from ..cpu.layout import round_up

TILE = 64  # rows and columns of a block of product.cu
THREADS = 256


def feature_panel(device, rows):
    """x~^T of (n, d) fp32 rows on a device, (d, n rounded up to a tile)."""
    n, dim = rows.shape
    panel = np.zeros((dim, round_up(n, TILE)), np.float32)
    panel[:, :n] = rows.T
    return device.upload(panel)


def rectified(device, panel, features, H):
    """H = relu(w . x~), chains of fma over the features; panel (>= d, neurons), features (d, samples)."""
    (dim, samples), neurons = features.shape, H.shape[0]
    grid = (samples // TILE, neurons // TILE)
    sizes = (np.int32(dim), np.int32(neurons), np.int32(samples))
    device.launch("product", "rectified_product", grid, THREADS, panel, features, *sizes, H)


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
    """partial (outputs, samples) += a^T H for the first neurons, a (count, outputs) float64."""
    (count, outputs), samples = a.shape, H.shape[1]
    sizes = (np.int32(count), np.int32(samples), np.int32(outputs))
    device.launch("sums", "weighted_sum", (-(-samples // THREADS), outputs), THREADS, H, a, *sizes, partial)


def square_sum(device, H, count, partial):
    """partial (samples,) += the squares of the first ``count`` neurons of H."""
    samples = H.shape[1]
    sizes = (np.int32(count), np.int32(samples))
    device.launch("sums", "square_sum", -(-samples // THREADS), THREADS, H, *sizes, partial)


def weighted_bit_count(device, bits, weights, partial):
    """partial (n,) += the weights (count,) of the active neurons of each row of bits (>= n, words)."""
    count, n = len(weights), len(partial)
    sizes = (np.int32(count), np.int32(n))
    grid = -(-n // THREADS)
    device.launch(
        "sums", "weighted_bit_count", grid, THREADS, bits, np.int32(bits.shape[1]), weights, *sizes, partial
    )


def unpack_bits(device, bits, first, weights, out):
    """out (count, samples) = weights[r] where neuron first + r of bits (lines, words) is active, else 0."""
    (count, samples), (lines, words) = out.shape, bits.shape
    device.launch(
        "sums", "unpack_bits", (-(-samples // THREADS), count), THREADS,
        bits, np.int32(words), np.int32(first), weights, np.int32(lines), np.int32(samples), out,
    )  # fmt: skip


def add_fixed_point(device, values, row_scale, column_scale, totals):
    """totals (rows, columns) int64 += round(values row_scale column_scale); values (chunks, ...) float64."""
    chunks, rows, columns = values.shape
    sizes = (np.int32(chunks), np.int32(rows), np.int32(columns))
    grid = -(-rows * columns // THREADS)
    device.launch("sums", "add_fixed_point", grid, THREADS, values, *sizes, row_scale, column_scale, totals)
