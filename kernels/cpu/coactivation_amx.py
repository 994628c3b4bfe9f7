"""Counts of neurons active on two samples by AMX: bits as bytes, and products of bytes added up in int32.

A product of tiles takes 16 cycles, and reading an operand from the second-level cache takes longer.  So
patterns stay bits there.  The bytes of the columns are made in the first-level cache just before they are
multiplied, in the shadow of earlier products: a ring of RING steps, AHEAD of the products.  Those of the
rows stay for DEPTH steps, and the next rows replace them behind the last product that reads them.

A step sums 64 neurons for a pair of tiles on either side.  The order of the neurons in it does not matter,
as long as both sides agree: neuron 32 w + 8 b + s is byte b of the 32-bit column 8 w + s of the left tile,
and so of row 8 w + s of the right one.
"""

from typing import NamedTuple

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
from .layout import aligned, nbytes
from .simd import i32, vector_kernel

PAIR = 2 * TILE  # samples of a pair of tiles
PAIR_BYTES = 2 * TILE_BYTES
STEP_BYTES = 4 * 4 * TILE  # the bits of a pair of tiles in a step: [tile][word][sample]
DEPTH = 8  # steps that the left tiles stay for: 512 neurons, which patterns are whole multiples of
RING, AHEAD = 4, 2
BLOCK_BYTES = 4 * TILE_BYTES  # counts of a pair of tiles by a pair of tiles
LINES_PER_STEP = BLOCK_BYTES // 64 // DEPTH  # of the next such counts, fetched during a step
ROW_BLOCK, COLUMN_BLOCK = 256, 1024  # samples whose counts, 1 MB, stay in the second-level cache ...
SECTION = 16384  # ... while so many neurons are summed
FEWEST_ROWS = 320  # on either side: below, making bytes costs more than is won
ONE_EACH = 0x01010101  # the low bit of every byte


class CountScratch(NamedTuple):
    """Working memory; ``steps`` below are those of a section and DEPTH that are read ahead."""

    left: np.ndarray  # (DEPTH, PAIR_BYTES) uint8 tiles
    ring: np.ndarray  # (RING, PAIR_BYTES) uint8 tiles
    rows: np.ndarray  # (pairs of a row block, steps, 2, 2, TILE) uint32 bits
    columns: np.ndarray  # (pairs of a column block, steps, 2, 2, TILE) uint32 bits
    counts: np.ndarray  # (pairs of a row block, pairs of a column block, 2, 2, TILE, TILE) int32, zero


def count_scratch(rows, columns, make=aligned):
    row_pairs = -(-min(rows, ROW_BLOCK) // PAIR)
    column_pairs = -(-min(columns, COLUMN_BLOCK) // PAIR)
    steps = SECTION // 64 + DEPTH
    return CountScratch(
        left=make((DEPTH, PAIR_BYTES), np.uint8),
        ring=make((RING, PAIR_BYTES), np.uint8),
        rows=make((row_pairs, steps, 2, 2, TILE), np.uint32),
        columns=make((column_pairs, steps, 2, 2, TILE), np.uint32),
        counts=make((row_pairs, column_pairs, 2, 2, TILE, TILE), np.int32, fill=0),
    )


@vector_kernel
def transpose_bits(emit, bits, row_bytes, words, out):
    """The bits of 16 samples, 16 ``words`` of 32 neurons at a time, as one tile of the pair at ``out``."""

    def sixteen(k, _):
        samples = [
            emit.load(i32(TILE), emit.integer(bits) + emit.integer(row_bytes) * sample + k * 64)
            for sample in range(TILE)
        ]
        for number, word in enumerate(emit.transposed(samples)):
            step, half = divmod(number, 2)
            at = emit.integer(out) + k * (8 * STEP_BYTES) + step * STEP_BYTES
            emit.store(word, at, 64 * half, align=64)
        return []

    emit.loop(words, [], sixteen)


def _expand_rows(emit, tile, half, bits, out):
    """Half of a left tile: 16 samples by 64 neurons, of the bits of a step."""
    shifts = emit.lane_constants(i32(TILE), [lane % 8 for lane in range(TILE)])
    low, high = (emit.load(i32(TILE), bits, 128 * tile + 64 * word, align=64) for word in range(2))
    for sample in range(8 * half, 8 * half + 8):
        words = emit.shuffle(low, high, [sample] * 8 + [TILE + sample] * 8)
        emit.store((words >> shifts) & ONE_EACH, out, TILE_BYTES * tile + 64 * sample, align=64)


def _expand_columns(emit, tile, half, bits, out):
    """Half of a right tile: 64 neurons in groups of four by 16 samples, of the bits of a step."""
    words = emit.load(i32(TILE), bits, 128 * tile + 64 * half, align=64)
    for shift in range(8):
        emit.store((words >> shift) & ONE_EACH, out, TILE_BYTES * tile + 64 * (8 * half + shift), align=64)


# (tile, half) of what a step expands: of columns one behind each product, of rows once both tiles are read
QUARTERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
ROW_QUARTERS = [[], QUARTERS[:2], QUARTERS[2:3], QUARTERS[3:]]


@vector_kernel
def expand_first(emit, rows, columns, left, ring):
    """The left tiles of DEPTH steps, and the right ones that the first products need."""
    first = (DEPTH, _expand_rows, rows, left), (AHEAD, _expand_columns, columns, ring)
    for steps, expand, bits, out in first:
        for step in range(steps):
            at = emit.integer(bits) + step * STEP_BYTES, emit.integer(out) + step * PAIR_BYTES
            for quarter in QUARTERS:
                expand(emit, *quarter, *at)


@vector_kernel
def count_pair(emit, last, left, ring, columns, next_columns, next_rows, counts, next_counts):
    """Add DEPTH steps to the counts of a pair of tiles by a pair of tiles.

    The ring has the first steps of ``columns``, and afterwards those of ``next_columns``; with ``last``
    the left tiles become those of ``next_rows``.  The products are spread among the rest by hand.
    """
    for number in range(4):
        load_tile(emit, number, emit.integer(counts) + number * TILE_BYTES, 64)
    for step in range(DEPTH):
        left_at = emit.integer(left) + step * PAIR_BYTES
        right_at = emit.integer(ring) + step % RING * PAIR_BYTES
        coming = step + AHEAD
        source = columns if coming < DEPTH else next_columns
        source_at = emit.integer(source) + coming % DEPTH * STEP_BYTES
        ring_at = emit.integer(ring) + coming % RING * PAIR_BYTES
        load_tile(emit, 4, left_at, 64)
        load_tile(emit, 6, right_at, 64)
        for quarter, (i, j) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
            if (i, j) == (1, 0):
                load_tile(emit, 5, left_at + TILE_BYTES, 64)
            elif (i, j) == (0, 1):
                load_tile(emit, 7, right_at + TILE_BYTES, 64)
            add_byte_products(emit, 2 * i + j, 4 + i, 6 + j)
            _expand_columns(emit, *QUARTERS[quarter], source_at, ring_at)
            for tile, half in ROW_QUARTERS[quarter] if last else []:
                _expand_rows(emit, tile, half, emit.integer(next_rows) + step * STEP_BYTES, left_at)
            for line in range(quarter * LINES_PER_STEP // 4, (quarter + 1) * LINES_PER_STEP // 4):
                emit.prefetch(emit.integer(next_counts) + (step * LINES_PER_STEP + line) * 64)
    for number in range(4):
        store_tile(emit, number, emit.integer(counts) + number * TILE_BYTES, 64)


@vector_kernel
def take_counts(emit, tile, counts, counts_stride):
    """Add a tile to its 16 x 16 counts, and clear it."""
    vector = i32(TILE)
    for row in range(TILE):
        at = emit.integer(counts) + emit.integer(counts_stride) * row
        emit.store(emit.load(vector, at) + emit.load(vector, tile, 64 * row, align=64), at)
        emit.store(emit.constant(vector, 0), tile, 64 * row, align=64)


def tile(path):
    """What the rows of p and of q are multiples of."""
    return TILE, TILE


def scratch_bytes(rows, columns):
    """Bytes beside the arguments."""
    return sum(count_scratch(rows, columns, make=nbytes))


def _transpose_block(bits, start, stop, at, steps, words):
    """Bits of the samples start..stop - 1, from byte ``at`` of a row on, as rows or columns of scratch."""
    row_bytes, tiles = bits.shape[1], (stop - start) // TILE
    for number in range(tiles):
        source = bits.ctypes.data + (start + number * TILE) * row_bytes + at
        transpose_bits(source, row_bytes, steps // 8, words[number // 2, 0, number % 2].ctypes.data)
    if tiles % 2:
        words[tiles // 2, :, 1] = 0


transpose_block = compiled(_transpose_block)


def _count_block(scratch, row_pairs, column_pairs, steps, diagonal):
    """Add so many steps to the counts of a block; of row pair i from column pair ``diagonal`` + i on."""
    left, ring = scratch.left.ctypes.data, scratch.ring.ctypes.data
    rows, columns = scratch.rows.ctypes.data, scratch.columns.ctypes.data
    counts = scratch.counts.ctypes.data
    pair_bytes, row_of_counts = scratch.rows.strides[0], scratch.counts.strides[0]
    expand_first(rows, columns + max(diagonal, 0) * pair_bytes, left, ring)
    for turn in range(steps // DEPTH * row_pairs):
        depth, i = divmod(turn, row_pairs)
        next_depth, next_i = divmod(turn + 1, row_pairs)
        at, next_at = depth * DEPTH * STEP_BYTES, next_depth * DEPTH * STEP_BYTES
        for j in range(max(diagonal + i, 0), column_pairs - 1):
            here = columns + j * pair_bytes + at
            out = counts + i * row_of_counts + j * BLOCK_BYTES
            count_pair(0, left, ring, here, here + pair_bytes, 0, out, out + BLOCK_BYTES)
        here = columns + (column_pairs - 1) * pair_bytes + at
        out = counts + i * row_of_counts + (column_pairs - 1) * BLOCK_BYTES
        next_j = max(diagonal + next_i, 0)
        next_out = counts + next_i * row_of_counts + next_j * BLOCK_BYTES
        next_rows = rows + next_i * pair_bytes + next_at
        count_pair(
            1, left, ring, here, columns + next_j * pair_bytes + next_at, next_rows, out, next_out
        )  # fmt: skip


count_block = compiled(_count_block)


def _add_counts(p, q, count, upper, counts, configuration, scratch):
    counts_stride = counts.strides[0]
    configure_tiles(configuration.ctypes.data)
    for start in range(0, count, SECTION):
        steps = -(-min(SECTION, count - start) // (64 * DEPTH)) * DEPTH
        for j_start in range(0, len(q), COLUMN_BLOCK):
            j_stop = min(j_start + COLUMN_BLOCK, len(q))
            transpose_block(q, j_start, j_stop, start // 8, steps, scratch.columns)
            rows_stop = min(len(p), j_stop) if upper else len(p)
            for i_start in range(0, rows_stop, ROW_BLOCK):
                i_stop = min(i_start + ROW_BLOCK, rows_stop)
                transpose_block(p, i_start, i_stop, start // 8, steps, scratch.rows)
                diagonal = (i_start - j_start) // PAIR if upper else -ROW_BLOCK
                row_pairs, column_pairs = -(-(i_stop - i_start) // PAIR), -(-(j_stop - j_start) // PAIR)
                count_block(scratch, row_pairs, column_pairs, steps, diagonal)
                for i in range(i_start, i_stop, TILE):
                    first = max(j_start, i // PAIR * PAIR) if upper else j_start
                    for j in range(first, j_stop, TILE):
                        i_tile, j_tile = (i - i_start) // TILE, (j - j_start) // TILE
                        block = scratch.counts[i_tile // 2, j_tile // 2, i_tile % 2, j_tile % 2]
                        out = counts.ctypes.data + i * counts_stride + 4 * j
                        take_counts(block.ctypes.data, out, counts_stride)
    release_tiles()


add_counts = compiled(_add_counts)


def make_coactivation(path):
    """The kernel coactivation(p, q, count, upper, counts), as that of coactivation.py.

    Rows of p and q, and the entries of counts, are multiples of TILE.  A few rows are counted as there.
    """
    count_few = coactivation_of_few(path._replace(count_columns=4))  # which divides TILE

    def coactivation(p, q, count, upper, counts):
        if min(len(p), len(q)) < FEWEST_ROWS:
            count_few(p, q, count, upper, counts)
            return
        add_counts(p, q, count, upper, counts, CONFIGURATION, count_scratch(len(p), len(q)))

    return coactivation
