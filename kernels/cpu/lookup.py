"""Sums of chosen rows: what the gradient of a ReLU network is made of.

The gradient of neuron r is a sum of those rows x~_i, weighted by a residual, whose bit b_ri is set.  With
one weight per row, the sixteen subset sums of four rows are put in a table, and each neuron adds one
entry per four samples, chosen by four of its bits ("four Russians"): a quarter of the additions, and
no multiplication.  Where the weights depend on the neuron as well, :func:`dense_slab` multiplies.
:func:`double_slab` is the look-up in float64, with half as many numbers in the same bytes.

Bits are words of 64: bits 64p .. 64p + 63 of item i are the little-endian word at
``words + p * panel_bytes + 8 i``.  Sums are taken over a slab of ``lanes * vectors`` columns: ``vectors``
is the widest there is, a half or a quarter of it, as :func:`slab_vectors` says.
"""

import numpy as np

from .compiling import compiled
from .layout import aligned
from .simd import Value, f32, f64, i32, vector_kernel

_FLOAT, _DOUBLE, _WORD = f32(1).element, f64(1).element, i32(1).element
TABLE_BYTES = 1 << 15  # a set of tables: most of the first-level cache
ENTRIES = 16  # subset sums of four rows
PANEL, WORD_BYTES = 64, 8  # bits and bytes of a word


def slab_width(path):
    """Features in the widest slab of the gradient."""
    return 64 if path.lanes >= 8 else 32


def lookup_table():
    """Room for the tables of ``gradient_slab``."""
    raw = aligned(TABLE_BYTES + 4096, np.uint8)
    start = -raw.ctypes.data % 4096
    return raw[start : start + TABLE_BYTES].view(np.float32)


def _slab_vectors(columns, lanes, widest):
    """The fewest vectors that hold so many columns: a quarter of the widest slab, a half, or all of it."""
    vectors = widest // 4
    while vectors < widest and lanes * vectors < columns:
        vectors *= 2
    return vectors


slab_vectors = compiled(_slab_vectors)


def _for_width(emit, widest, vectors, body):
    """body(v) for the one of the three widths v that ``vectors`` is when the kernel runs."""
    for width in (widest, widest // 2, widest // 4):

        def run(width=width):
            body(width)
            return emit.integer(0)

        emit.when(emit.integer(vectors).equals(width), run)


def _number_bytes(vector):
    return 4 if vector.element == _FLOAT else 8


def _build_tables(emit, vector, vectors, groups, rows, row_bytes, weights, table):
    """The sixteen subset sums of each group of four weighted rows; entry s sums the rows of its set bits."""
    number = _number_bytes(vector)
    vector_bytes = number * vector.count
    entry_bytes = vector_bytes * vectors

    def one_group(group, _):
        first_row, first_weight = rows + group * (row_bytes * 4), weights + group * (4 * number)
        first_entry = table + group * (ENTRIES * entry_bytes)
        scale = [
            emit.load_broadcast(vector.element, vector.count, first_weight, number * j) for j in range(4)
        ]
        for at in range(0, entry_bytes, vector_bytes):
            entries: list[Value] = []
            for j in range(4):
                term = emit.load(vector, first_row + row_bytes * j, at) * scale[j]
                entries += [term, *(entry + term for entry in entries)]
            emit.store(emit.constant(vector, 0.0), first_entry, at, align=16)
            for s, entry in enumerate(entries, start=1):
                emit.store(entry, first_entry, s * entry_bytes + at, align=16)
        return []

    emit.loop(groups, [], one_group)


def _add_chosen(emit, vector, vectors, groups, bits, items, table, sums):
    """Add to the sums of each item the entries that its next ``4 * groups`` bits choose."""
    vector_bytes = _number_bytes(vector) * vector.count
    entry_bytes = vector_bytes * vectors
    shift = entry_bytes.bit_length() - 1

    def one_item(item, _):
        sums_at, bits_at = sums + item * entry_bytes, bits + item * WORD_BYTES
        totals = [emit.load(vector, sums_at, vector_bytes * v, align=16) for v in range(vectors)]
        for group in range(groups):
            if group % 8 == 0:
                word = emit.widen(emit.load(_WORD, bits_at, group // 2), 64)
            place = 4 * (group % 8)
            nibble = word >> (place - shift) if place >= shift else word << (shift - place)
            # or-ed, not added: the table is aligned, and an address made this way is not folded into an
            # indexed load, which takes the processor two steps
            entry = table | (nibble & (15 * entry_bytes))
            for v in range(vectors):
                at = group * ENTRIES * entry_bytes + vector_bytes * v
                totals[v] += emit.load(vector, entry, at, align=16)
        for v, total in enumerate(totals):
            emit.store(total, sums_at, vector_bytes * v, align=16)
        return []

    emit.loop(items, [], one_item)


def _look_up(
    emit, vector, widest, vectors, words, panel_bytes, items, panels, rows, row_bytes, weights, table, sums
):
    """:func:`gradient_slab` of numbers as ``vector`` has them."""
    words, panel_bytes, rows, row_bytes, weights, table, sums = map(
        emit.integer, (words, panel_bytes, rows, row_bytes, weights, table, sums)
    )
    number = _number_bytes(vector)

    def with_vectors(vectors):
        entry_bytes = number * vector.count * vectors
        groups = min(TABLE_BYTES // (ENTRIES * entry_bytes), 16)  # of four rows, whose tables fit

        def one_panel(panel, _):
            for first in range(0, PANEL, 4 * groups):
                row = panel * PANEL + first
                features, own = rows + row * row_bytes, weights + row * number
                _build_tables(emit, vector, vectors, groups, features, row_bytes, own, table)
                bits = words + panel * panel_bytes + first // 8
                _add_chosen(emit, vector, vectors, groups, bits, items, table, sums)
            return []

        emit.loop(panels, [], one_panel)

    _for_width(emit, widest, vectors, with_vectors)


@vector_kernel
def gradient_slab(
    emit, lanes, widest, vectors, words, panel_bytes, items, panels, rows, row_bytes, weights, table, sums
):
    """sums[i, :] += sum over j < 64 panels of bit_j(i) weights[j] rows[j, :], for every item i.

    ``rows`` is the address of 64 * panels fp32 rows, ``row_bytes`` apart and readable over the slab,
    ``weights`` of as many fp32 numbers; ``table`` of TABLE_BYTES, aligned to 4096; ``sums`` of
    (items, lanes * vectors) fp32 without gaps.  Each sum adds its table entries in order.
    """
    _look_up(
        emit, f32(lanes), widest, vectors, words, panel_bytes, items, panels, rows, row_bytes, weights,
        table, sums,
    )  # fmt: skip


@vector_kernel
def double_slab(
    emit, lanes, widest, vectors, words, panel_bytes, items, panels, rows, row_bytes, weights, table, sums
):
    """:func:`gradient_slab` in float64: rows, weights, and sums (items, lanes / 2 * vectors)."""
    _look_up(
        emit, f64(lanes // 2), widest, vectors, words, panel_bytes, items, panels, rows, row_bytes, weights,
        table, sums,
    )  # fmt: skip


@vector_kernel
def dense_slab(
    emit, lanes, widest, vectors, tile_items, tile_vectors, fused, words, panel_bytes, items, panels,
    rows, row_bytes, outputs, item_weights, weights, weights_bytes, coefficients, sums,
):  # fmt: skip
    """sums[i, :] += sum over j < 64 panels of bit_j(i) (item_weights[i] . weights[:, j]) rows[j, :].

    ``item_weights`` is the address of (items, outputs) fp32 without gaps, ``weights`` of (outputs,
    64 * panels) fp32, ``weights_bytes`` from row to row; ``coefficients`` of scratch for
    tile_items * 64 * panels fp32.  ``items`` is a multiple of ``tile_items``.
    """
    words, panel_bytes, rows, row_bytes, outputs, item_weights, weights, weights_bytes = map(
        emit.integer, (words, panel_bytes, rows, row_bytes, outputs, item_weights, weights, weights_bytes)
    )
    coefficients, sums, samples = emit.integer(coefficients), emit.integer(sums), emit.integer(panels) * 64
    zero = emit.constant(f32(lanes), 0.0)

    def one_tile(tile, _):
        first = tile * tile_items
        own_weights = item_weights + first * outputs * 4
        bits = words + first * WORD_BYTES

        def weigh(place, _):
            """The coefficients of one vector of samples, for each item of the tile."""
            sample = place * lanes

            def one_output(c, dots):
                shared = emit.load(f32(lanes), weights + c * weights_bytes, sample * 4)
                own = [
                    emit.load_broadcast(_FLOAT, lanes, own_weights + (outputs * t + c) * 4)
                    for t in range(tile_items)
                ]
                return [emit.multiply_add(fused, own[t], shared, dots[t]) for t in range(tile_items)]

            dots = emit.loop(outputs, [zero] * tile_items, one_output)
            word = bits + (sample >> 6) * panel_bytes + ((sample >> 5) & 1) * 4
            for t, dot in enumerate(dots):
                here = emit.load(_WORD, word, WORD_BYTES * t)
                chosen = emit.bits_mask(emit.widen(here, 64) >> (sample & 31), lanes)
                emit.store(chosen.choose(dot, zero), coefficients + (samples * t + sample) * 4)
            return []

        emit.loop(samples // lanes, [], weigh)

        def multiply(vectors):
            entry_bytes, tile_width = 4 * lanes * vectors, min(tile_vectors, vectors)
            tile_sums = sums + first * entry_bytes
            for v in range(0, vectors, tile_width):

                def one_sample(j, totals, v=v):
                    right = [
                        emit.load(f32(lanes), rows + j * row_bytes, 4 * lanes * (v + z))
                        for z in range(tile_width)
                    ]
                    totals = list(totals)
                    for t in range(tile_items):
                        left = emit.load_broadcast(_FLOAT, lanes, coefficients + (samples * t + j) * 4)
                        for z in range(tile_width):
                            place = tile_width * t + z
                            totals[place] = emit.multiply_add(fused, left, right[z], totals[place])
                    return totals

                places = [
                    t * entry_bytes + 4 * lanes * (v + z)
                    for t in range(tile_items)
                    for z in range(tile_width)
                ]
                totals = [emit.load(f32(lanes), tile_sums, at, align=16) for at in places]
                totals = emit.loop(samples, totals, one_sample)
                for at, total in zip(places, totals, strict=True):
                    emit.store(total, tile_sums, at, align=16)

        _for_width(emit, widest, vectors, multiply)
        return []

    emit.loop(emit.integer(items) // tile_items, [], one_tile)


def _clear(sums, count):
    """The first ``count`` of flat sums set to zero."""
    for j in range(count):
        sums[j] = np.float32(0.0)


clear = compiled(_clear)
