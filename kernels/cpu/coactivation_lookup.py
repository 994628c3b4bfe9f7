"""Counts of neurons active on two samples by table, for processors without a vector population count.

What five neurons add to the counts of a row with 64 columns depends on the row by five bits alone: a table
of 32 sums, each of 64 bytes, in the first-level cache.  A row then takes one load and addition for five
neurons and 32 columns, 160 pairs, where counting the bits of a vector takes ten operations for 256.
"""

import numpy as np
from llvmlite import ir

from .coactivation import make_coactivation as coactivation_of_few
from .compiling import compiled
from .layout import aligned
from .simd import i32, i64, vector_kernel

COLUMNS = 64  # of a table entry, a byte each
GROUPS = (*[5] * 12, 4)  # neurons of each table, 64 in all: 25 KB of tables
NEURONS = sum(GROUPS)
STARTS = tuple(sum(GROUPS[:g]) for g in range(len(GROUPS)))  # the first neuron of each
PLACES = tuple(COLUMNS * sum(2**bits for bits in GROUPS[:g]) for g in range(len(GROUPS) + 1))  # its table
WORDS_PER_SUM = 255 // NEURONS  # words of 64 neurons whose counts fit a byte ...
WORDS_PER_TOTAL = 65535 // NEURONS  # ... and two bytes
FEWEST_ROWS = 128  # on either side: below, making tables costs more than is won
_WORD = i64(1).element
_BYTES, _SIXTEEN_BYTES = (ir.VectorType(ir.IntType(8), count) for count in (32, 16))
_SIXTEEN = ir.VectorType(ir.IntType(16), 16)


@vector_kernel
def fill_tables(emit, bits, tables):
    """All tables of 64 neurons, from bytes ``bits`` (8, COLUMNS) of eight neurons each."""
    halves = range(0, COLUMNS, 32)
    for start, place, size in zip(STARTS, PLACES, GROUPS, strict=False):
        table = emit.integer(tables) + place
        for half in halves:
            emit.store(emit.constant(_BYTES, 0), table, half, align=32)
        for number in range(size):
            row, bit = divmod(start + number, 8)
            packed = [emit.load(i32(8), bits, COLUMNS * row + half, align=32) for half in halves]
            columns = [((words >> bit) & 0x01010101).bitcast(_BYTES) for words in packed]
            filled = COLUMNS << number  # sums of the neurons before, without this one

            def add_neuron(k, _, table=table, columns=columns, filled=filled):
                at = table + k * COLUMNS
                for half, column in zip(halves, columns, strict=True):
                    emit.store(emit.load(_BYTES, at, half, align=32) + column, at, filled + half, align=32)
                return []

            emit.loop(1 << number, [], add_neuron)


@vector_kernel
def look_up(emit, words, rows, tables, sums):
    """sums[i] += the table entries that the 64 bits words[i] choose, (rows, COLUMNS) bytes."""
    halves = range(0, COLUMNS, 32)

    def step(i, _):
        word = emit.load(_WORD, emit.integer(words) + i * 8, align=8)
        at = emit.integer(sums) + i * COLUMNS
        totals = [emit.load(_BYTES, at, half, align=32) for half in halves]
        for start, place, size in zip(STARTS, PLACES, GROUPS, strict=False):
            entry = emit.integer(tables) + ((word >> start) & ((1 << size) - 1)) * COLUMNS
            totals = [
                total + emit.load(_BYTES, entry, place + half, align=32)
                for total, half in zip(totals, halves, strict=True)
            ]
        for total, half in zip(totals, halves, strict=True):
            emit.store(total, at, half, align=32)
        return []

    emit.loop(rows, [], step)


@vector_kernel
def flush(emit, rows, sums, totals):
    """totals[i] += sums[i], and sums[i] = 0, for rows of COLUMNS bytes; totals are uint16."""

    def step(i, _):
        for start in range(0, COLUMNS, 16):
            at, to = emit.integer(sums) + i * COLUMNS, emit.integer(totals) + i * (2 * COLUMNS)
            more = emit.load(_SIXTEEN_BYTES, at, start, align=16)
            total = emit.load(_SIXTEEN, to, 2 * start, align=32) + more.zero_extended(_SIXTEEN)
            emit.store(total, to, 2 * start, align=32)
            emit.store(emit.constant(_SIXTEEN_BYTES, 0), at, start, align=16)
        return []

    emit.loop(rows, [], step)


def tile(path):
    """What the rows of p and of q are multiples of."""
    return path.count_rows, path.count_columns


def scratch_bytes(rows, columns):
    """Bytes beside the arguments, for 16384 neurons: the bits of the rows again, and their sums."""
    return PLACES[-1] + 8 * COLUMNS + rows * (16384 // 8 + 3 * COLUMNS)


def make_coactivation(path):
    """The kernel coactivation(p, q, count, upper, counts) of coactivation.py; a few rows go to that."""
    count_few = coactivation_of_few(path)

    def add_counts(words, q, upper, counts, scratch):
        bits, tables, sums, totals = scratch
        for j_start in range(0, len(q), COLUMNS):
            columns = min(COLUMNS, len(q) - j_start)
            rows = min(words.shape[1], j_start + columns) if upper else words.shape[1]
            bits[:, columns:] = 0
            sums[:rows] = 0
            for first in range(0, len(words), WORDS_PER_TOTAL):
                totals[:rows] = 0
                last = min(first + WORDS_PER_TOTAL, len(words))
                for k in range(first, last):
                    for j in range(columns):
                        for byte in range(8):
                            bits[byte, j] = q[j_start + j, 8 * k + byte]
                    fill_tables(bits.ctypes.data, tables.ctypes.data)
                    look_up(words[k].ctypes.data, rows, tables.ctypes.data, sums.ctypes.data)
                    if (k - first) % WORDS_PER_SUM == WORDS_PER_SUM - 1 or k == last - 1:
                        flush(rows, sums.ctypes.data, totals.ctypes.data)
                for i in range(rows):
                    for j in range(columns):
                        counts[i, j_start + j] += np.int32(totals[i, j])

    add_counts = compiled(add_counts)

    def coactivation(p, q, count, upper, counts):
        if min(len(p), len(q)) < FEWEST_ROWS:
            count_few(p, q, count, upper, counts)
            return
        words = np.ascontiguousarray(p.view(np.uint64)[:, : -(-count // NEURONS)].T)
        scratch = (
            aligned((8, COLUMNS), np.uint8),
            aligned(PLACES[-1], np.uint8),
            aligned((len(p), COLUMNS), np.uint8),
            aligned((len(p), COLUMNS), np.uint16),
        )
        add_counts(words, q, upper, counts, scratch)

    return coactivation
