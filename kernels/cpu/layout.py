"""The CPU backend's own layouts: what the kernels read, packed once per set of masked inputs."""

from typing import NamedTuple

import numpy as np

DEPTH_BLOCK = 128  # features summed in one chain before the block sums are added
UNIT_ROUNDOFF = 2.0**-24
CACHE_BYTES = 1 << 19  # what a group of weight panels may take of the second-level cache


class PatternInputs(NamedTuple):
    """Masked inputs as the forward pass reads them.

    The bound behind ``factors``: with x and w summed in chains of DEPTH_BLOCK fused multiply-adds whose
    results are then added, the computed h is off by at most

        u / (1 - K u) * (sum of the magnitudes of all true partial sums),

    K the number of roundings of one term.  A partial sum over a set of features is at most the product
    of the norms of x and w over it, and by Cauchy-Schwarz the sum of those products is at most
    sqrt(S_x S_w), S the sum of squared prefix norms.  ``factors`` is u / (1 - K u) sqrt(S_x), and the
    panels carry sqrt(S_w); a small relative slack covers the rounding of the two factors themselves
    and, as rows are scaled to a largest entry in [1, 2), everything that falls below 2^-126.
    """

    rows: np.ndarray  # (n, d) fp32, as given: what the exact sign is the sign of
    packed: np.ndarray  # (blocks, depth, forward_rows) fp32, each row scaled by a power of two
    factors: np.ndarray  # (blocks * forward_rows,) fp32
    block_factors: np.ndarray  # (blocks,) fp32, the largest factor of each block


class PatternScratch(NamedTuple):
    """Working memory of one worker's forward pass."""

    panels: np.ndarray  # (group, depth, 2 lanes) fp32 weights
    panel_factors: np.ndarray  # (group, 3 lanes) fp32: sqrt(S_w), then the largest of them
    squares: np.ndarray  # (3, 2 lanes) fp32: running sums behind panel_factors
    partial: np.ndarray  # (forward_rows, 2 lanes) fp32: sums of earlier depth blocks
    suspects: np.ndarray  # (forward_rows,) uint32: undecided neurons of a tile
    panel_ids: np.ndarray  # (2 lanes,) uint64
    neuron: np.ndarray  # (>= d,) fp32: the weights of one neuron, for the exact sign


def aligned(shape, dtype, fill=None):
    """An array that starts on a cache line."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = np.empty(count * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + count * dtype.itemsize].view(dtype).reshape(shape)
    if fill is not None:
        out[...] = fill
    return out


def nbytes(shape, dtype, fill=None):
    """Bytes of what :func:`aligned` makes, which is not made."""
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def round_up(count, multiple):
    return -(-count // multiple) * multiple


def neuron_length(dim, lanes):
    """Length of the scratch for the weights of one neuron: whole groups of ``philox.random_neuron``."""
    return round_up(dim, 4 * lanes)


def scaled_by_power_of_two(rows):
    """Each row times the power of two that brings its largest entry into [1, 2); zero rows stay."""
    _, exponent = np.frexp(np.abs(rows).max(axis=1).astype(np.float64))
    scales = np.ldexp(1.0, 1 - exponent)  # float64: beyond the range of float32 where rows are denormal
    return np.multiply(rows, scales[:, None], dtype=np.float64).astype(np.float32)


def prefix_square_sum(rows):
    """S of :class:`PatternInputs`, (n,) float64."""
    return sum_of_prefixes(np.square(rows, dtype=np.float64), DEPTH_BLOCK)


def sum_of_prefixes(squares, block, additions=1):
    """additions sum_k |x_<=k|^2 + sum_blocks |x_<=block|^2 of squares (n, K) float64, (n,).

    The prefixes of the first sum begin with a block of so many k, those of the second with the first one.
    """
    total, before = np.zeros(len(squares)), np.zeros(len(squares))
    for start in range(0, squares.shape[1], block):
        prefixes = np.cumsum(squares[:, start : start + block], axis=1)
        before += prefixes[:, -1]
        total += additions * prefixes.sum(axis=1) + before
    return total


def relative_bound(dim, fused):
    """The factor u / (1 - K u) of the bound of :class:`PatternInputs`, with its slack."""
    roundings = min(dim, DEPTH_BLOCK) + -(-dim // DEPTH_BLOCK)
    if not fused:
        roundings *= 2
    bound = UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF) * (1 + (dim + 64) * 2.0**-22)
    # without fma the products round too, and their magnitudes add up to at most sqrt(S_x S_w)
    return bound if fused else 2 * bound


def pattern_inputs(rows, path):
    """Pack (n, d) fp32 rows."""
    n, dim = rows.shape
    depth = round_up(dim, 4)
    blocks = -(-n // path.forward_rows)
    last = np.minimum(np.arange(blocks * path.forward_rows), n - 1)  # pad with copies of the last row
    scaled = scaled_by_power_of_two(rows)
    packed = aligned((blocks, depth, path.forward_rows), np.float32, fill=0)
    packed[:, :dim, :] = scaled[last].reshape(blocks, path.forward_rows, dim).transpose(0, 2, 1)
    bound = relative_bound(dim, path.fused) * np.sqrt(prefix_square_sum(scaled))
    bound[~rows.any(axis=1)] = -1  # a zero row gives 0 exactly, which no magnitude is at or below
    factors = bound.astype(np.float32)[last]
    return PatternInputs(rows, packed, factors, factors.reshape(blocks, -1).max(axis=1))


def pattern_scratch(dim, path, make=aligned):
    depth, width = round_up(dim, 4), 2 * path.lanes
    group = int(np.clip(CACHE_BYTES // (4 * depth * width), 1, 128))
    return PatternScratch(
        panels=make((group, depth, width), np.float32),
        panel_factors=make((group, 3 * path.lanes), np.float32),
        squares=make((3, width), np.float32),
        partial=make((path.forward_rows, width), np.float32),
        suspects=make(path.forward_rows, np.uint32),
        panel_ids=make(width, np.uint64),
        neuron=make(neuron_length(dim, path.lanes), np.float32),
    )
