"""Counts of neurons active on two samples by AMX: bits as bytes, and products of bytes added up in int32.

A tile product sums 64 neurons.  The order of the neurons in it does not matter, as long as it is that of both
operands: here neuron 32 w + 8 b + s of the 64 is byte b of the 32-bit column 2 s + w of the left operand,
and so of row 2 s + w of the right one.
"""

import numpy as np

from .amx import (
    CONFIGURATION,
    TILE,
    TILE_BYTES,
    add_byte_products,
    configure_tiles,
    load_tile,
    release_tiles,
    store_tile,
)
from .coactivation import make_coactivation as coactivation_of_few
from .compiling import compiled
from .layout import aligned
from .simd import i32, i64, vector_kernel

TILE_BITS = 64  # neurons of a tile product
BLOCK_STEPS = 16  # tile products at a time: the left tiles of two stay in the first-level cache ...
BLOCK = 512  # ... and the right tiles of so many samples, 1 MB, in the second-level cache
FEWEST_ROWS = 384  # on either side: below, expanding the bits costs more than is won
ONE_EACH = 0x01010101  # the low bit of every byte
_TWO_WORDS = i64(1).element


@vector_kernel
def expand_left(emit, p, p_stride, steps, out, out_step):
    """Bits of 16 samples as tiles of bytes, each of 16 samples by 64 neurons."""
    vector = i32(16)
    shifts = emit.lane_constants(vector, [lane // 2 for lane in range(16)])

    def step(k, _):
        at = emit.integer(out) + emit.integer(out_step) * k
        for sample in range(TILE):
            row = emit.integer(p) + emit.integer(p_stride) * sample
            words = emit.load_broadcast(_TWO_WORDS, 8, row, k * 8)
            emit.store((words.bitcast(vector) >> shifts) & ONE_EACH, at, 64 * sample, align=64)
        return []

    emit.loop(steps, [], step)


@vector_kernel
def expand_right(emit, q, q_stride, steps, out):
    """Bits of 16 samples as tiles of bytes, each of 64 neurons in groups of four by 16 samples."""
    vector = i32(16)

    def step(k, _):
        at = emit.integer(out) + k * TILE_BYTES
        for word in range(2):
            places = [
                emit.integer(q) + emit.integer(q_stride) * sample + k * 8 + 4 * word for sample in range(TILE)
            ]
            bits = emit.gather(vector, places)
            for shift in range(8):
                emit.store((bits >> shift) & ONE_EACH, at, 64 * (2 * shift + word), align=64)
        return []

    emit.loop(steps, [], step)


@vector_kernel
def count_tiles(emit, rows, columns, left, right, right_stride, steps, counts, counts_stride):
    """Add to rows x columns tiles of counts what so many tile products sum; both at most 2."""
    places = [
        emit.integer(counts) + emit.integer(counts_stride) * (TILE * i) + 4 * TILE * j
        for i in range(rows)
        for j in range(columns)
    ]
    for number, place in enumerate(places):
        load_tile(emit, number, place, counts_stride)

    def step(k, _):
        for i in range(rows):
            load_tile(emit, 4 + i, emit.integer(left) + k * (rows * TILE_BYTES) + i * TILE_BYTES, 64)
        for j in range(columns):
            load_tile(emit, 6 + j, emit.integer(right) + emit.integer(right_stride) * j + k * TILE_BYTES, 64)
            for i in range(rows):
                add_byte_products(emit, i * columns + j, 4 + i, 6 + j)
        return []

    emit.loop(steps, [], step)
    for number, place in enumerate(places):
        store_tile(emit, number, place, counts_stride)


def tile(path):
    """What the rows of p and of q are multiples of."""
    return TILE, TILE


def scratch_bytes(rows, columns):
    """Bytes of the expanded tiles."""
    return (2 + -(-min(columns, BLOCK) // TILE)) * BLOCK_STEPS * TILE_BYTES


def make_coactivation(path):
    """The kernel coactivation(p, q, count, upper, counts), as that of coactivation.py.

    Rows of p and q, and the entries of counts, are multiples of TILE.  A few rows are counted as there.
    """
    count_few = coactivation_of_few(path._replace(count_columns=4))

    def add_counts(p, q, count, upper, counts, configuration, scratch):
        p_stride, q_stride, counts_stride = p.shape[1], q.shape[1], counts.shape[1] * 4
        left, rights = scratch.ctypes.data, scratch.ctypes.data + 2 * BLOCK_STEPS * TILE_BYTES
        configure_tiles(configuration.ctypes.data)
        for j_start in range(0, len(q), BLOCK):
            j_stop = min(j_start + BLOCK, len(q))
            for i_start in range(0, min(len(p), j_stop) if upper else len(p), BLOCK):
                i_stop = min(i_start + BLOCK, len(p))
                for start in range(0, count, BLOCK_STEPS * TILE_BITS):
                    steps = -(-min(BLOCK_STEPS * TILE_BITS, count - start) // TILE_BITS)
                    right_step = steps * TILE_BYTES
                    p_at, q_at = p.ctypes.data + start // 8, q.ctypes.data + start // 8
                    for j in range(j_start, j_stop, TILE):
                        right = rights + (j - j_start) // TILE * right_step
                        expand_right(q_at + j * q_stride, q_stride, steps, right)
                    for i in range(i_start, i_stop, 2 * TILE):
                        pair = i + TILE < i_stop
                        left_step = (2 if pair else 1) * TILE_BYTES
                        expand_left(p_at + i * p_stride, p_stride, steps, left, left_step)
                        if pair:
                            second = p_at + (i + TILE) * p_stride
                            expand_left(second, p_stride, steps, left + TILE_BYTES, left_step)
                        for j in range(max(j_start, i) if upper else j_start, j_stop, 2 * TILE):
                            right = rights + (j - j_start) // TILE * right_step
                            out = counts.ctypes.data + i * counts_stride + j * 4
                            if pair and j + TILE < j_stop:
                                count_tiles(2, 2, left, right, right_step, steps, out, counts_stride)
                            elif pair:
                                count_tiles(2, 1, left, right, right_step, steps, out, counts_stride)
                            elif j + TILE < j_stop:
                                count_tiles(1, 2, left, right, right_step, steps, out, counts_stride)
                            else:
                                count_tiles(1, 1, left, right, right_step, steps, out, counts_stride)
        release_tiles()

    add_counts = compiled(add_counts)

    def coactivation(p, q, count, upper, counts):
        if min(len(p), len(q)) < FEWEST_ROWS:
            count_few(p, q, count, upper, counts)
            return
        add_counts(
            p, q, count, upper, counts, CONFIGURATION, aligned(scratch_bytes(len(p), len(q)), np.uint8)
        )

    return coactivation
