"""The tangent of each sample: the weighted directions of the neurons active on it, summed and projected.

The sums over TANGENT_NEURONS neurons are those of ``lookup``, 256 fp32 additions in a chain; each is then
multiplied by the sample's features in float64.  As in ``gradient``, columns are scaled by powers of two.
"""

import math
from typing import NamedTuple

import numpy as np

from .compiling import compiled
from .gradient import ITEMS, SUM_PANELS, words_shape
from .layout import aligned
from .lookup import PANEL, clear, gradient_slab, lookup_table, slab_vectors, slab_width
from .simd import f32, f64, vector_kernel

TANGENT_NEURONS = PANEL * SUM_PANELS
CHAINS = 16  # float64 chains of additions for each sample: feature k is in chain k % 16
_DOUBLE = f64(1).element


class TangentScratch(NamedTuple):
    """Working memory of one worker."""

    words: np.ndarray  # (SUM_PANELS, >= ITEMS) uint64: bits of 64 neurons for each sample
    rows: np.ndarray  # (TANGENT_NEURONS, slab) fp32: weighted directions
    ones: np.ndarray  # (TANGENT_NEURONS,) fp32
    scale: np.ndarray  # (slab,) float64: powers of two
    inverse: np.ndarray  # (slab,) float64
    table: np.ndarray  # TABLE_BYTES, aligned to 4096
    sums: np.ndarray  # (ITEMS, slab) fp32


def tangent_scratch(path):
    slab = slab_width(path)
    return TangentScratch(
        words=aligned(words_shape(SUM_PANELS), np.uint64, fill=0),
        rows=aligned((TANGENT_NEURONS, slab), np.float32, fill=0),
        ones=np.ones(TANGENT_NEURONS, np.float32),
        scale=np.empty(slab),
        inverse=np.empty(slab),
        table=lookup_table(),
        sums=aligned((ITEMS, slab), np.float32),
    )


def tangent_scratch_bytes(path):
    return sum(array.nbytes for array in tangent_scratch(path)) + 8192


def _gather_bits(bits, first_row, rows, first_word, panels, words):
    """words[p, i] = word first_word + p of row first_row + i."""
    for i in range(rows):
        for panel in range(panels):
            words[panel, i] = bits[first_row + i, first_word + panel]


gather_bits = compiled(_gather_bits)


def _weighted(emit, width, directions, row_bytes, a, r):
    """a[r] times ``width`` entries of direction r, in float64."""
    weight = emit.load_broadcast(_DOUBLE, width, emit.integer(a) + r * 8)
    row = emit.integer(directions) + r * row_bytes
    return emit.load(f32(width), row).widened(f64(width)) * weight


@vector_kernel
def largest_weighted(emit, width, directions, row_bytes, a, count, largest):
    """largest[k] = max_r |a[r] directions[r, k]| for ``width`` columns, in float64."""

    def step(r, state):
        size = emit.absolute(_weighted(emit, width, directions, row_bytes, a, r))
        return [size.above(state[0]).choose(size, state[0])]

    (magnitude,) = emit.loop(count, [emit.constant(f64(width), 0.0)], step)
    emit.store(magnitude, largest)


@vector_kernel
def write_weighted(emit, width, directions, row_bytes, a, count, inverse, out, out_bytes):
    """out[r, k] = a[r] directions[r, k] inverse[k] for ``width`` columns, rounded once to fp32."""
    factor = emit.load(f64(width), inverse)

    def step(r, _):
        value = _weighted(emit, width, directions, row_bytes, a, r) * factor
        emit.store(value.rounded(f32(width)), emit.integer(out) + r * out_bytes)
        return []

    emit.loop(count, [], step)


def _weigh_directions(directions, a, first, columns, scratch):
    """rows[r, k] = a[r] directions[r, first + k] / scale[k] for k < columns, magnitudes below 1.

    Further rows keep what they hold: the bits of neurons beyond the last are zero.
    """
    count, rows, scale, inverse = len(a), scratch.rows, scratch.scale, scratch.inverse
    row_bytes, out_bytes = 4 * directions.shape[1], 4 * rows.shape[1]
    weights, whole = a.ctypes.data, columns // CHAINS * CHAINS
    source, to = directions.ctypes.data + 4 * first, rows.ctypes.data
    for k in range(0, whole, CHAINS):
        largest_weighted(CHAINS, source + 4 * k, row_bytes, weights, count, scale.ctypes.data + 8 * k)
    for k in range(whole, columns):
        largest_weighted(1, source + 4 * k, row_bytes, weights, count, scale.ctypes.data + 8 * k)
    for k in range(columns):
        exponent = max(math.frexp(scale[k])[1], -1000)
        scale[k], inverse[k] = math.ldexp(1.0, exponent), math.ldexp(1.0, -exponent)
    for k in range(0, whole, CHAINS):
        factors = inverse.ctypes.data + 8 * k
        write_weighted(CHAINS, source + 4 * k, row_bytes, weights, count, factors, to + 4 * k, out_bytes)
    for k in range(whole, columns):
        write_weighted(
            1, source + 4 * k, row_bytes, weights, count, inverse.ctypes.data + 8 * k, to + 4 * k, out_bytes
        )


weigh_directions = compiled(_weigh_directions)


@vector_kernel
def project(emit, sums, slab_bytes, items, columns, scale, inputs, row_bytes, chains):
    """chains[i, k % 16] += sums[i, k] scale[k] inputs[i, k], k in order, in float64; chains (items, 16)."""
    sums, columns, scale, inputs, chains = map(emit.integer, (sums, columns, scale, inputs, chains))
    whole = columns // CHAINS
    done = whole * (4 * CHAINS)

    def one_item(item, _):
        sums_at, inputs_at = sums + item * slab_bytes, inputs + item * row_bytes
        own = chains + item * (8 * CHAINS)

        def term(width, at):
            tangent = emit.load(f32(width), sums_at + at).widened(f64(width))
            tangent = tangent * emit.load(f64(width), scale + at * 2)
            return tangent * emit.load(f32(width), inputs_at + at).widened(f64(width))

        def features(k, total):
            return [total[0] + term(CHAINS, k * (4 * CHAINS))]

        def feature(k, _):
            total = emit.load(f64(1), own + k * 8) + term(1, done + k * 4)
            emit.store(total, own + k * 8)
            return []

        (total,) = emit.loop(whole, [emit.load(f64(CHAINS), own)], features)
        emit.store(total, own)
        emit.loop(columns - whole * CHAINS, [], feature)
        return []

    emit.loop(items, [], one_item)


def make_tangent(path):
    """The kernel tangent(bits, first_word, directions, a, inputs, scratch, chains).

    chains[i, 0] + ... + chains[i, 15] gains sum_r bit_r(i) a[r] directions[r] . inputs[i], r over at most
    TANGENT_NEURONS neurons, whose bits begin at word ``first_word`` of the rows of bits (>= n, words of 64)
    uint64; directions (count, d) fp32, a (count,) float64, inputs (n, d) fp32, chains (n, 16) float64.
    """
    lanes, widest = path.lanes, slab_width(path) // path.lanes

    def tangent(bits, first_word, directions, a, inputs, scratch, chains):
        n, dim = inputs.shape
        panels = -(-len(a) // PANEL)
        words, sums = scratch.words.ctypes.data, scratch.sums.reshape(-1)
        panel_bytes, row_bytes = 8 * scratch.words.shape[1], 4 * scratch.rows.shape[1]
        rows, ones, table = scratch.rows.ctypes.data, scratch.ones.ctypes.data, scratch.table.ctypes.data
        into = sums.ctypes.data
        for first_row in range(0, n, ITEMS):
            items = min(ITEMS, n - first_row)
            gather_bits(bits, first_row, items, first_word, panels, scratch.words)
            own = chains.ctypes.data + 8 * CHAINS * first_row
            for first in range(0, dim, lanes * widest):
                columns = min(dim - first, lanes * widest)
                vectors = slab_vectors(columns, lanes, widest)
                weigh_directions(directions, a, first, columns, scratch)
                clear(sums, items * lanes * vectors)
                gradient_slab(
                    lanes, widest, vectors, words, panel_bytes, items, panels, rows, row_bytes,
                    ones, table, into,
                )  # fmt: skip
                features = inputs.ctypes.data + 4 * (first_row * dim + first)
                scale = scratch.scale.ctypes.data
                project(into, 4 * lanes * vectors, items, columns, scale, features, 4 * dim, own)

    return compiled(tangent)


def _add_squares(rows, squares):
    """squares[k] += rows[r, k]^2 in float64, r in order."""
    for r in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            squares[k] += np.float64(rows[r, k]) * np.float64(rows[r, k])


add_squares = compiled(_add_squares)
