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
_DOUBLE, _I32 = f64(1).element, ir.IntType(32)


def _prefetch(emit, address):
    options = (ir.Constant(_I32, number) for number in (0, 3, 1))  # to read, into the first level, data
    emit.call("llvm.prefetch.p0", ir.VoidType(), emit.pointer(address), *options)


@vector_kernel
def multiply_slices(emit, left, right, steps, sums):
    """Sums of products of slices over 64 ``steps`` neurons, for p + p' = 2 .. 7, into six tiles."""
    for number in range(SLICES):
        zero_tile(emit, number)

    def step(k, _):
        left_at, right_at = emit.integer(left) + k * STEP_BYTES, emit.integer(right) + k * STEP_BYTES
        ahead = [right_at + STEP_BYTES + 64 * line for line in range(STEP_BYTES // 64)]
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
        return []

    emit.loop(steps, [], step)
    for number in range(SLICES):
        store_tile(emit, number, emit.integer(sums) + number * TILE_BYTES, 64)


@vector_kernel
def add_sums(emit, sums, rows, row_units, column_units, out, out_stride):
    """out[i, j] += u_i v_j sum_g sums_g[i, j] 2^(8 (7 - g)) for ``rows`` rows and 8 columns."""
    vector = f64(8)
    columns = emit.load(vector, column_units, align=8)

    def step(i, _):
        parts = [
            emit.load(i32(8), emit.integer(sums) + i * 64, g * TILE_BYTES).signed_to_float(vector)
            for g in range(SLICES)
        ]
        byte = emit.constant(vector, 256.0)
        high, low = (
            emit.fma(emit.fma(parts[g], byte, parts[g + 1]), byte, parts[g + 2]) for g in (0, 3)
        )  # exact
        total = emit.fma(high, emit.constant(vector, 2.0**24), low)
        units = emit.load_broadcast(_DOUBLE, 8, emit.integer(row_units) + i * 8) * columns
        place = emit.integer(out) + emit.integer(out_stride) * i
        emit.store(emit.fma(total, units, emit.load(vector, place, align=8)), place, align=8)
        return []

    emit.loop(rows, [], step)


def make_sliced_gram(path):
    """The kernel sliced_gram(left, right, steps, row_units, column_units, upper, c).

    Adds to c (column groups, rows, G) the sums over the first 64 ``steps`` neurons of two operands (see
    slices.py), entry (i, j) in units of row_units[i] column_units[j] 2^40; the units are for all entries of
    c and for whole tiles.  With ``upper`` only entries on or above the diagonal are complete.
    """
    half = path.lanes // 2

    def sliced_gram(left, right, steps, row_units, column_units, upper, configuration, sums, c):
        rows, width = c.shape[1], c.shape[2]
        columns = len(c) * width
        row_stride, sums_at = 8 * width, sums.ctypes.data
        block = max(CACHED_BYTES // (steps * STEP_BYTES), 1)
        configure_tiles(configuration.ctypes.data)
        for j_start in range(0, len(right), block):
            j_stop = min(j_start + block, len(right))
            for i in range(min(len(left), j_stop) if upper else len(left)):
                for j in range(max(i, j_start) if upper else j_start, j_stop):
                    multiply_slices(left[i].ctypes.data, right[j].ctypes.data, steps, sums_at)
                    here = min(TILE, rows - i * TILE)
                    for column in range(j * TILE, min((j + 1) * TILE, columns), half):
                        out = c[column // width, i * TILE].ctypes.data + 8 * (column % width)
                        add_sums(
                            sums_at + 4 * (column % TILE), here, row_units.ctypes.data + 8 * i * TILE,
                            column_units.ctypes.data + 8 * column, out, row_stride,
                        )  # fmt: skip
        release_tiles()

    sliced_gram = compiled(sliced_gram)

    def run(left, right, steps, row_units, column_units, upper, c):
        sums = aligned((SLICES, TILE_BYTES), np.uint8)
        sliced_gram(left, right, steps, row_units, column_units, upper, CONFIGURATION, sums, c)

    return run
