"""The gradient of each neuron: the weighted inputs of the samples on which it is active, summed.

The sums are those of ``lookup``: fp32 over SUM_PANELS words of 64 samples (DENSE_PANELS where every
neuron has its own weights), 256 additions in a chain either way, then float64.  So that fp32 neither
overflows nor loses small values, each column of the weighted inputs is scaled by a power of two to a
largest entry in [1/2, 1), which ``write_gradient`` undoes in float64.
"""

from typing import NamedTuple

import numpy as np

from .compiling import compiled
from .layout import aligned, round_up
from .lookup import PANEL, clear, dense_slab, gradient_slab, lookup_table, slab_vectors, slab_width
from .simd import f32, f64, vector_kernel

SUM_PANELS = 16  # panels whose table entries, one for four samples, are added in fp32
DENSE_PANELS = 4  # panels whose products are
ITEMS = 1536  # neurons whose sums are held at a time: 384 KB (a multiple of 512 and of all tiles)
ROWS_PER_BLOCK = 1024  # rows weighted at a time, to bound the temporaries
_DOUBLE = f64(1).element


class WeightedRows(NamedTuple):
    """weights[i] inputs[i, k] = rows[i, k] 2^exponents[k], rounded once to fp32."""

    rows: np.ndarray  # (slabs, 64 ceil(n / 64), features of a slab) fp32, zeros beyond n and d
    ones: np.ndarray  # (64 ceil(n / 64),) fp32: the weights that ``gradient_slab`` asks for
    exponents: np.ndarray  # (d,) integers


class GradientScratch(NamedTuple):
    """Working memory of one worker."""

    words: np.ndarray  # (panels, >= ITEMS) uint64: bits of 64 samples for each neuron
    block: np.ndarray  # (64, 8) uint64: bits on their way through a transposition
    table: np.ndarray  # TABLE_BYTES, aligned to 4096
    sums: np.ndarray  # (ITEMS, slab) fp32
    totals: np.ndarray  # (ITEMS, slab) float64
    coefficients: np.ndarray  # (tile neurons, 64 DENSE_PANELS) fp32
    largest: np.ndarray  # (1,) fp32


def weighted_rows(inputs, weights, path):
    """:class:`WeightedRows` of (n, d) fp32 inputs and (n,) float64 weights of magnitude at most 1."""
    n, dim = inputs.shape
    blocks = [slice(start, min(start + ROWS_PER_BLOCK, n)) for start in range(0, n, ROWS_PER_BLOCK)]
    largest = np.zeros(dim)
    for block in blocks:
        np.maximum(largest, np.abs(weights[block, None] * inputs[block]).max(axis=0), out=largest)
    exponents = np.frexp(largest)[1]
    slab = slab_width(path)
    rows = aligned((-(-dim // slab), round_up(n, PANEL), slab), np.float32, fill=0)
    for block in blocks:
        scaled = np.ldexp(weights[block, None] * inputs[block], -exponents)
        for first in range(0, dim, slab):
            here = scaled[:, first : first + slab]
            rows[first // slab, block, : here.shape[1]] = here
    return WeightedRows(rows, np.ones(rows.shape[1], np.float32), exponents)


def words_shape(panels):
    """Shape of an array of words for ITEMS items; whole lines apart, but not whole pages."""
    return panels, ITEMS + 8


def gradient_scratch(samples, path):
    slab = slab_width(path)
    return GradientScratch(
        words=aligned(words_shape(-(-samples // PANEL)), np.uint64, fill=0),
        block=aligned((PANEL, 8), np.uint64),
        table=lookup_table(),
        sums=aligned((ITEMS, slab), np.float32),
        totals=aligned((ITEMS, slab), np.float64),
        coefficients=aligned((path.step_neurons, PANEL * DENSE_PANELS), np.float32),
        largest=np.empty(1, np.float32),
    )


def gradient_scratch_bytes(samples, path):
    words = 8 * np.prod(words_shape(-(-samples // PANEL)))
    return int(words) + sum(array.nbytes for array in gradient_scratch(0, path)) + 8192


def _transpose_bits(bits, rows, first_word, count, block, words):
    """words[p, j] = the bits of neuron 64 first_word + j on rows 64p .. 64p + 63, the lowest first.

    bits (n, words of 64 neurons) uint64, of which the first ``rows`` rows count and are whole lines of
    eight words; ``count`` neurons, rounded up to a line.  The eight 64 x 64 blocks of a line are
    transposed beside each other: six steps, each of which swaps the off-diagonal quarters of blocks half
    as large as the step before.
    """
    for panel in range(len(words)):
        for line in range(0, -(-count // 64), 8):
            for s in range(64):
                row = panel * 64 + s
                for z in range(8):
                    block[s, z] = bits[row, first_word + line + z] if row < rows else np.uint64(0)
            size, low = 32, np.uint64(0x00000000FFFFFFFF)
            while size:
                shift = np.uint64(size)
                for pair in range(32):
                    upper = pair // size * 2 * size + pair % size
                    lower = upper + size
                    for z in range(8):
                        change = ((block[upper, z] >> shift) ^ block[lower, z]) & low
                        block[lower, z] ^= change
                        block[upper, z] ^= change << shift
                size //= 2
                low ^= low << np.uint64(size)
            for z in range(8):
                for s in range(64):
                    words[panel, (line + z) * 64 + s] = block[s, z]


transpose_bits = compiled(_transpose_bits)


def _add_sums(sums, count, fresh, totals):
    """totals[j] += sums[j] in float64; with ``fresh`` the totals begin here."""
    for j in range(count):
        totals[j] = np.float64(sums[j]) if fresh else totals[j] + np.float64(sums[j])


add_sums = compiled(_add_sums)


@vector_kernel
def write_gradient(
    emit, lanes, several, sums, totals, slab_bytes, items, columns, column_scale, item_factors,
    out, out_bytes, largest,
):  # fmt: skip
    """out[r, k] = (totals[r, k] + sums[r, k]) column_scale[k] item_factors[r] in fp32, rounded once.

    The totals count where there are ``several`` sums.  The largest magnitude written goes to ``largest``.
    """
    sums, totals, out, column_scale, item_factors, columns = map(
        emit.integer, (sums, totals, out, column_scale, item_factors, columns)
    )
    whole = columns // lanes

    def one_item(item, magnitudes):
        sums_at, totals_at = sums + item * slab_bytes, totals + item * slab_bytes * 2
        out_at = out + item * out_bytes
        factor = emit.load(_DOUBLE, item_factors + item * 8, align=8)

        def write(width, first):
            def step(k, magnitude):
                at = k * (4 * width) + first
                value = emit.load(f32(width), sums_at + at).widened(f64(width))
                if several:
                    value = emit.load(f64(width), totals_at + at * 2) + value
                value = value * emit.load(f64(width), column_scale + at * 2) * emit.broadcast(factor, width)
                result = value.rounded(f32(width))
                emit.store(result, out_at + at)
                size = emit.absolute(result)
                return [size.above(magnitude[0]).choose(size, magnitude[0])]

            return step

        wide = emit.loop(whole, magnitudes[:1], write(lanes, 0))
        rest = emit.loop(columns - whole * lanes, magnitudes[1:], write(1, whole * (4 * lanes)))
        return wide + rest

    zeros = [emit.constant(f32(lanes), 0.0), emit.constant(f32(1), 0.0)]
    wide, rest = emit.loop(items, zeros, one_item)
    wide = emit.broadcast(emit.horizontal_max(wide), 1)
    emit.store(wide.above(rest).choose(wide, rest), largest)


def make_gradient_by_lookup(path):
    """The kernel gradient_by_lookup(words, items, rows, ones, column_scale, item_factors, scratch, out).

    out[r, k] = item_factors[r] column_scale[k] sum_i bit_i(r) rows[i, k] in fp32, (items, d); words
    (panels, >= items) uint64; rows and ones as in :class:`WeightedRows`.  Returns the largest magnitude
    written, infinity where something is beyond fp32.
    """
    lanes, widest = path.lanes, slab_width(path) // path.lanes

    def gradient_by_lookup(words, items, rows, ones, column_scale, item_factors, scratch, out):
        dim, panels = len(column_scale), len(words)
        panel_bytes, row_bytes, out_bytes = 8 * words.shape[1], 4 * rows.shape[2], 4 * out.shape[1]
        sums, totals = scratch.sums.reshape(-1), scratch.totals.reshape(-1)
        table, into, before = scratch.table.ctypes.data, sums.ctypes.data, totals.ctypes.data
        factors, largest = item_factors.ctypes.data, scratch.largest.ctypes.data
        magnitude = 0.0
        for first in range(0, dim, lanes * widest):
            columns = min(dim - first, lanes * widest)
            vectors = slab_vectors(columns, lanes, widest)
            width = lanes * vectors
            for start in range(0, panels, SUM_PANELS):
                here = min(SUM_PANELS, panels - start)
                bits = words.ctypes.data + start * panel_bytes
                at = (
                    rows.ctypes.data + (first // (lanes * widest) * rows.shape[1] + start * PANEL) * row_bytes
                )
                own = ones.ctypes.data + 4 * start * PANEL
                clear(sums, items * width)
                gradient_slab(
                    lanes, widest, vectors, bits, panel_bytes, items, here, at, row_bytes, own, table, into
                )
                if start + here < panels:
                    add_sums(sums, items * width, start == 0, totals)
            scale, to = column_scale.ctypes.data + 8 * first, out.ctypes.data + 4 * first
            if panels > SUM_PANELS:
                write_gradient(
                    lanes, 1, into, before, 4 * width, items, columns, scale, factors, to, out_bytes, largest
                )
            else:
                write_gradient(
                    lanes, 0, into, before, 4 * width, items, columns, scale, factors, to, out_bytes, largest
                )
            magnitude = max(magnitude, np.float64(scratch.largest[0]))
        return magnitude

    return compiled(gradient_by_lookup)


def make_dense_gradient(path):
    """The kernel dense_gradient(words, items, rows, weights, item_weights, column_scale, item_factors, ...).

    As ``gradient_by_lookup``, scratch and out included, with weights of the neuron's own: in place of
    bit_i(r) stands bit_i(r) (item_weights[r] . weights[:, i]), weights (q, 64 panels) fp32, item_weights
    (items rounded up to a tile, q) fp32.
    """
    lanes, fused, widest = path.lanes, path.fused, slab_width(path) // path.lanes
    tile, tile_vectors = path.step_neurons, path.step_vectors

    def dense_gradient(words, items, rows, weights, item_weights, column_scale, item_factors, scratch, out):
        dim, panels, outputs = len(column_scale), len(words), len(weights)
        padded = -(-items // tile) * tile
        panel_bytes, row_bytes, out_bytes = 8 * words.shape[1], 4 * rows.shape[2], 4 * out.shape[1]
        sums, totals, weights_bytes = (
            scratch.sums.reshape(-1),
            scratch.totals.reshape(-1),
            4 * weights.shape[1],
        )
        own, coefficients = item_weights.ctypes.data, scratch.coefficients.ctypes.data
        into, before = sums.ctypes.data, totals.ctypes.data
        factors, largest = item_factors.ctypes.data, scratch.largest.ctypes.data
        magnitude = 0.0
        for first in range(0, dim, lanes * widest):
            columns = min(dim - first, lanes * widest)
            vectors = slab_vectors(columns, lanes, widest)
            width = lanes * vectors
            for start in range(0, panels, DENSE_PANELS):
                here = min(DENSE_PANELS, panels - start)
                bits = words.ctypes.data + start * panel_bytes
                at = (
                    rows.ctypes.data + (first // (lanes * widest) * rows.shape[1] + start * PANEL) * row_bytes
                )
                shared = weights.ctypes.data + 4 * start * PANEL
                clear(sums, padded * width)
                dense_slab(
                    lanes, widest, vectors, tile, tile_vectors, fused, bits, panel_bytes, padded, here, at,
                    row_bytes, outputs, own, shared, weights_bytes, coefficients, into,
                )  # fmt: skip
                if start + here < panels:
                    add_sums(sums, items * width, start == 0, totals)
            scale, to = column_scale.ctypes.data + 8 * first, out.ctypes.data + 4 * first
            if panels > DENSE_PANELS:
                write_gradient(
                    lanes, 1, into, before, 4 * width, items, columns, scale, factors, to, out_bytes, largest
                )
            else:
                write_gradient(
                    lanes, 0, into, before, 4 * width, items, columns, scale, factors, to, out_bytes, largest
                )
            magnitude = max(magnitude, np.float64(scratch.largest[0]))
        return magnitude

    return compiled(dense_gradient)


def _sum_over_samples(H, u, count, out):
    """out[r, c] += sum_i u[i, c] H[g, r, j] for the first ``count`` neurons, samples i = g G + j in order."""
    n, width = len(u), H.shape[2]
    for g in range(H.shape[0]):
        for j in range(min(width, n - g * width)):
            for r in range(count):
                for c in range(u.shape[1]):
                    out[r, c] += u[g * width + j, c] * H[g, r, j]


sum_over_samples = compiled(_sum_over_samples)
