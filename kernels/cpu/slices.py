"""Rectified preactivations in fixed point, cut into bytes for products by AMX.

relu(h) of a sample and a neuron becomes the integer q = round(f max(h, 0)) below 2^48, f a factor of the
sample, and q six slices of a byte, the highest first.  All but that one are signed, from -128 to 127, so
that products of slices that are left out have no bias.  The slices of 16 samples and 64 neurons are tiles:

    right   row t holds neurons 4 t .. 4 t + 3 of sample 0, of sample 1, ...
    left    row i holds the 64 neurons of sample i: the right tile with its 32-bit entries transposed

An operand is an array (tiles of samples, steps of 64 neurons, SLICES, TILE_BYTES) of bytes.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir

from .amx import TILE, TILE_BYTES
from .compiling import compiled
from .layout import aligned
from .product import group_width, product_tile
from .simd import f64, i32, i64, vector_kernel
from .sums import pack_weights

SLICES = 6
STEP = 64  # neurons of a tile
STRIP = 192  # neurons evaluated at a time: whole panels and whole steps
STEP_BYTES = SLICES * TILE_BYTES
LARGEST = 2.0**48 - 2.0**40  # what factors bring the largest value to: the signs carry into the highest slice
UNIT = 2.0**20  # units of two samples multiply to the 2^40 that sliced_gram counts in
_HALVES = 0x8080808080  # 128 in each signed slice
_MAGIC = 2.0**52 + _HALVES  # a float64 from 2^52 to 2^53 has its integer part in its low bits
_BYTES = ir.VectorType(ir.IntType(8), 64)
_PAIRS = ir.VectorType(ir.IntType(16), 32)


class CutScratch(NamedTuple):
    """Working memory of ``cut_rectified``."""

    panels: np.ndarray  # (groups, d, G) float64 weights of a strip
    strip: np.ndarray  # (STRIP, G) float64 preactivations


def cut_scratch(dim, path):
    width = group_width(path)
    return CutScratch(np.empty((STRIP // width, dim, width)), aligned((STRIP, width), np.float64))


def tiles(samples):
    """Tiles that so many samples take."""
    return -(-samples // TILE)


def empty_operand(samples, neurons):
    """An operand of that many samples and neurons, its bytes not set."""
    return aligned((tiles(samples), -(-neurons // STEP), SLICES, TILE_BYTES), np.uint8)


def operand_bytes(samples, neurons):
    return tiles(samples) * -(-neurons // STEP) * STEP_BYTES


def _bytes_of_two(first, count):
    """Picks from two vectors of 8 integers: bytes first .. first + count - 1 of one beside the other's."""
    bytes_of = range(first, first + count)
    picks = [8 * j + byte + 64 * which for j in range(8) for byte in bytes_of for which in (0, 1)]
    return picks + [0] * (64 - len(picks))


@vector_kernel
def cut(emit, h, h_stride, factors, quads, out):
    """Rows ``h`` of 8 samples, of 4 ``quads`` neurons, to slices: half rows of right tiles at ``out``."""
    vector, magic = f64(8), emit.constant(f64(8), _MAGIC)
    factor = emit.load(vector, factors, align=8)

    def step(k, _):
        at = emit.integer(h) + emit.integer(h_stride) * 4 * k
        integers = []
        for neuron in range(4):
            value = emit.fma(emit.load(vector, at + emit.integer(h_stride) * neuron, align=8), factor, magic)
            integer = value.above(magic).choose(value, magic).bitcast(i64(8)) ^ _HALVES
            integers.append(integer.bitcast(_BYTES))
        tile, row = k // 16, k & 15
        place = emit.integer(out) + tile * STEP_BYTES + row * 64
        for first, count in ((0, 4), (4, 2)):
            picks = _bytes_of_two(first, count)
            halves = [emit.shuffle(*integers[i : i + 2], picks).bitcast(_PAIRS) for i in (0, 2)]
            for byte in range(count):
                picks = [count * j + byte + 32 * which for j in range(8) for which in (0, 1)]
                slice_number = SLICES - 1 - (first + byte)  # the highest byte first
                emit.store(emit.shuffle(*halves, picks), place, slice_number * TILE_BYTES, align=32)
        return []

    emit.loop(quads, [], step)


@vector_kernel
def transpose_tile(emit, right, left):
    """The left tile of a right one: 16 x 16 entries of 32 bits, by four rounds of interleaving."""
    vector = i32(16)
    rows = [emit.load(vector, right, 64 * i, align=64) for i in range(16)]
    low = [place for j in range(8) for place in (j, 16 + j)]
    high = [place + 8 for place in low]
    for _ in range(4):
        rows = [emit.shuffle(rows[i], rows[i + 8], picks) for i in range(8) for picks in (low, high)]
    for i, row in enumerate(rows):
        emit.store(row, left, 64 * i, align=64)


def make_cut_rectified(path):
    """The kernel cut_rectified(weights, features, factors, scratch, right).

    Preactivations of the neurons ``weights`` (count, d) fp32 on all samples of ``features`` (sample groups,
    d, G), each one chain of fused multiply-adds over the features, cut with ``factors`` (sample groups, G)
    into ``right``; what is left of its last step is zero.
    """
    lanes = path.lanes

    def cut_rectified(weights, features, factors, scratch, right):
        half, width, depth = lanes // 2, features.shape[2], features.shape[1]
        panels, strip = scratch.panels, scratch.strip
        for first in range(0, len(weights), STRIP):
            pack_weights(weights[first : first + STRIP], panels)
            neurons = min(STRIP, -(-(len(weights) - first) // STEP) * STEP)
            for group in range(len(features)):
                strip[:neurons] = 0.0
                for start in range(0, neurons, half):
                    a_at = panels[start // width].ctypes.data + 8 * (start % width)
                    product_tile(
                        lanes, a_at, features[group].ctypes.data, 8 * width, depth, strip[start].ctypes.data
                    )
                for part in range(0, width, half):
                    sample = group * width + part
                    if sample < len(right) * TILE:
                        out = right[sample // TILE, first // STEP].ctypes.data + sample % TILE * 4
                        cut(
                            strip.ctypes.data + 8 * part, 8 * width, factors[group].ctypes.data + 8 * part,
                            neurons // 4, out,
                        )  # fmt: skip

    return compiled(cut_rectified)


def _transpose_tiles(right, left):
    """left, an operand of the same samples and neurons as ``right``."""
    for i in range(right.shape[0]):
        for k in range(right.shape[1]):
            for s in range(right.shape[2]):
                transpose_tile(right[i, k, s].ctypes.data, left[i, k, s].ctypes.data)


transpose_tiles = compiled(_transpose_tiles)
