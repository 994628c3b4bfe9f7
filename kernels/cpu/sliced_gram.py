"""Sums of products of rectified preactivations by AMX: slices of a byte, exact in int32.

With q = sum_p a_p 2^(8 (6 - p)), p = 1 .. 6, the sum of q q' over the neurons is made of sums of products of
slices a_p a'_p', exact integers.  Those with p + p' at most 7 are formed, all of one p + p' in one register;
the others are below 2^48.4 for each neuron, of 2^96 (docs/mathematics.md, section 3).
"""

import numpy as np
from llvmlite import ir

from .amx import (
    CONFIGURATION,
    TILE,
    TILE_BYTES,
    add_byte_products,
    configure_tiles,
    load_tile,
    release_tiles,
    store_tile,
    zero_tile,
)
from .compiling import compiled
from .layout import aligned
from .product import group_width
from .simd import f64, i32, vector_kernel
from .slices import SLICES, STEP_BYTES

LEFT, RIGHT = 6, 7  # the registers of the operands; the others are sums, of p + p' = 2 .. 7
# All pairs (p, p') with p + p' at most 7, in an order that changes one operand at a time.
PAIRS = (
    *((1, q) for q in (6, 5, 4, 3, 2, 1)),
    *((2, q) for q in (1, 5, 2, 3, 4)),
    *((3, q) for q in (4, 1, 2, 3)),
    *((4, q) for q in (3, 1, 2)),
    *((5, q) for q in (2, 1)),
    (6, 1),
)
CACHED_BYTES = 1 << 20  # right tiles that stay in the second-level cache
HALF = 8  # columns of a vector of results
_DOUBLE, _I32, _I64 = f64(1).element, ir.IntType(32), ir.IntType(64)
# The record of a tile: addresses of its sums, of the units, and of the two halves of its results.
RECORD = 5
SUMS, ROW_UNITS, COLUMN_UNITS, FIRST_HALF, SECOND_HALF = range(RECORD)


@vector_kernel
def multiply_slices(emit, left, right, steps, tile, before, rows, both, stride):
    """Sums of products of slices over 64 ``steps`` neurons, for p + p' = 2 .. 7, as the six sums of ``tile``.

    Meanwhile ``rows`` rows of the sums of the tile ``before`` are added to its results, ``both`` = min(steps,
    rows) of them between products, which leave the vector units idle.  Rows of results are ``stride`` bytes
    apart.
    """
    left, right, stride = map(emit.integer, (left, right, stride))
    own = [emit.load(_I64, tile, 8 * item) for item in range(RECORD)]
    done, row_units, column_units, *halves = (emit.load(_I64, before, 8 * item) for item in range(RECORD))
    columns = [emit.load(f64(HALF), column_units, 8 * HALF * half, align=8) for half in range(2)]

    def multiply(k):
        left_at, right_at = left + k * STEP_BYTES, right + k * STEP_BYTES
        ahead = [right_at + STEP_BYTES + 64 * line for line in range(STEP_BYTES // 64)]
        ahead += [own[half] + stride * k for half in (FIRST_HALF, SECOND_HALF)]
        each = -(-len(ahead) // len(PAIRS))
        held = None, None
        for number, (p, q) in enumerate(PAIRS):
            if held[0] != p:
                load_tile(emit, LEFT, left_at + (p - 1) * TILE_BYTES, 64)
            if held[1] != q:
                load_tile(emit, RIGHT, right_at + (q - 1) * TILE_BYTES, 64)
            held = p, q
            add_byte_products(emit, p + q - 2, LEFT, RIGHT, left_signed=p > 1, right_signed=q > 1)
            for address in ahead[number * each : (number + 1) * each]:
                _prefetch(emit, address)

    def add_row(i):
        unit = emit.load_broadcast(_DOUBLE, HALF, row_units + i * 8)
        for half, place in enumerate(halves):
            total = _row_of_sums(emit, done + i * 64 + 4 * HALF * half)
            at = place + stride * i
            result = emit.fma(total, unit * columns[half], emit.load(f64(HALF), at, align=8))
            emit.store(result, at, align=8)

    def multiply_and_add(k, _):
        multiply(k)
        add_row(k)
        return []

    def multiply_alone(k, _):
        multiply(k + both)
        return []

    def add_alone(i, _):
        add_row(i + both)
        return []

    for number in range(SLICES):
        zero_tile(emit, number)
    emit.loop(both, [], multiply_and_add)
    emit.loop(emit.integer(steps) - both, [], multiply_alone)
    emit.loop(emit.integer(rows) - both, [], add_alone)
    for number in range(SLICES):
        store_tile(emit, number, own[SUMS] + number * TILE_BYTES, 64)


def _row_of_sums(emit, address):
    """sum_g S_g 2^(8 (7 - g)), g = 2 .. 7, of 8 sums of each kind: exact but for the last operation."""
    vector = f64(HALF)
    sums = [emit.load(i32(HALF), address, g * TILE_BYTES).signed_to_float(vector) for g in range(SLICES)]
    byte = emit.constant(vector, 2.0**8)
    high, low = (emit.fma(emit.fma(sums[g], byte, sums[g + 1]), byte, sums[g + 2]) for g in (0, 3))
    return emit.fma(high, emit.constant(vector, 2.0**24), low)


def _prefetch(emit, address):
    options = (ir.Constant(_I32, number) for number in (0, 3, 1))  # to read, into the first level, data
    emit.call("llvm.prefetch.p0", ir.VoidType(), emit.pointer(address), *options)


def make_sliced_gram(path):
    """The kernel sliced_gram(left, right, steps, row_units, column_units, upper, c).

    Adds to c (column groups, rows, G) the sums over the first 64 ``steps`` neurons of two operands (see
    slices.py), entry (i, j) in units of row_units[i] column_units[j] 2^40; the units are for all entries of
    c and for whole tiles.  With ``upper`` only entries on or above the diagonal are complete.
    """
    width = group_width(path)

    def sliced_gram(left, right, steps, row_units, column_units, upper, configuration, scratch, c):
        sums, records, nowhere = scratch
        stride, columns, rows, turn = 8 * width, len(c) * width, 0, 0
        for number in range(2):
            records[number, SUMS] = sums[number].ctypes.data
            records[number, COLUMN_UNITS] = column_units.ctypes.data
        block = max(CACHED_BYTES // (steps * STEP_BYTES), 1)
        configure_tiles(configuration.ctypes.data)
        for j_start in range(0, len(right), block):
            j_stop = min(j_start + block, len(right))
            for i in range(min(len(left), j_stop) if upper else len(left)):
                for j in range(max(i, j_start) if upper else j_start, j_stop):
                    tile = records[turn]
                    tile[ROW_UNITS] = row_units.ctypes.data + 8 * TILE * i
                    tile[COLUMN_UNITS] = column_units.ctypes.data + 8 * TILE * j
                    for half in range(2):
                        column = j * TILE + half * HALF
                        at = nowhere.ctypes.data
                        if column < columns:
                            at = c[column // width, i * TILE].ctypes.data + 8 * (column % width)
                        tile[FIRST_HALF + half] = at
                    multiply_slices(
                        left[i].ctypes.data, right[j].ctypes.data, steps, tile.ctypes.data,
                        records[1 - turn].ctypes.data, rows, min(steps, rows), stride,
                    )  # fmt: skip
                    turn, rows = 1 - turn, min(TILE, c.shape[1] - i * TILE)
        multiply_slices(
            left.ctypes.data, right.ctypes.data, 0, records[turn].ctypes.data,
            records[1 - turn].ctypes.data, rows, 0, stride,
        )  # fmt: skip
        release_tiles()

    sliced_gram = compiled(sliced_gram)

    def run(left, right, steps, row_units, column_units, upper, c):
        scratch = (
            aligned((2, SLICES, TILE_BYTES), np.uint8),
            np.empty((2, RECORD), np.int64),
            np.empty(TILE * width),  # for results beyond the columns
        )
        sliced_gram(left, right, steps, row_units, column_units, upper, CONFIGURATION, scratch, c)

    return run
