"""The forward pass as products of AMX tiles: the same bits as ``forward.py``, sooner.

A register tile is 32 samples by 32 neurons.  Inputs are multiplied in two bfloat16 parts, and so are weights
of float32; the bound of ``layout_amx.TileInputs`` covers what these leave and the roundings of the products.
"""

import numpy as np

from .amx import (
    CONFIGURATION,
    TILE,
    TILE_BYTES,
    add_bfloat16_products,
    configure_tiles,
    load_tile,
    release_tiles,
    store_tile,
    zero_tile,
)
from .compiling import compiled
from .forward import decide, finish_panel_factors, pack_given_panel
from .layout_amx import (
    BEYOND_SHARE,
    BLOCK_STEPS,
    CHAIN,
    DEPTH,
    LOST_SHARE,
    MULTIPLIED,
    NEURONS,
    PARTS,
    ROWS,
    WHOLE_SHARE,
    products_of,
)
from .philox import random_neuron, random_panel, rounded_to_bfloat16
from .settle import given_neuron, settle_neuron, undecided_neurons
from .simd import f32, vector_kernel

LANES = TILE
PART_BYTES = 2 * TILE_BYTES  # a part of 32 samples or neurons, for a step
X_STEP_BYTES = PARTS * PART_BYTES
PANEL_STEP_BYTES = 4 * DEPTH * NEURONS
SUMS_BYTES = 4 * TILE_BYTES
FETCHED = 4  # lines of the next block of inputs that a step fetches, for each part of the weights


@vector_kernel
def split_block(emit, weight_parts, checked, panel, steps, tiles, squares):
    """Some steps of a panel of float32 weights as tiles of their bfloat16 parts.

    A tile is 16 pairs of features by 16 neurons.  ``checked`` adds the steps to ``squares``, which holds
    (|w|^2, S_w but for multiples of |w|^2) of the steps so far.
    """
    zero = emit.constant(f32(LANES), 0.0)

    def added(values, sums):
        return [emit.fma(value, value, total) for value, total in zip(values, sums, strict=True)]

    def step(k, state):
        rows = emit.integer(panel) + k * PANEL_STEP_BYTES
        out = emit.integer(tiles) + k * (weight_parts * PART_BYTES)
        prefixes, totals = state[:2], state[2:]
        for z in range(2):
            norms = [[zero, zero] for _ in range(1 + weight_parts)]  # of even and of odd features
            for pair in range(TILE):
                left = [emit.load(f32(LANES), rows, 128 * (2 * pair + odd) + 64 * z) for odd in range(2)]
                for part in range(weight_parts):
                    norms[part] = added(left, norms[part])
                    even, odd = (rounded_to_bfloat16(value) for value in left)
                    emit.store((even >> 16) | odd, out, PART_BYTES * part + TILE_BYTES * z + 64 * pair)
                    left = [left[0] - even.bitcast(f32(LANES)), left[1] - odd.bitcast(f32(LANES))]
                norms[-1] = added(left, norms[-1])
            whole, beyond, *lost = (even + odd for even, odd in norms)
            prefixes[z] = prefixes[z] + whole
            totals[z] = totals[z] + prefixes[z] * float(products_of(weight_parts))
            if weight_parts == 2:
                totals[z] = totals[z] + beyond * BEYOND_SHARE + lost[0] * LOST_SHARE
        return [*prefixes, *totals]

    state = emit.loop(steps, [zero] * 4, step)
    if checked:
        for z in range(2):
            at = 4 * LANES * z
            before = emit.load(f32(LANES), squares, at) + state[z]
            emit.store(before, squares, at)
            earlier = emit.load(f32(LANES), squares, 8 * LANES + at)
            emit.store(earlier + state[2 + z] + before, squares, 8 * LANES + at)


@vector_kernel
def sum_tiles(emit, halves, weight_parts, x, w, steps, sums, coming):
    """Sums over some steps in depth for 16 ``halves`` samples and 32 neurons.

    Each step fetches FETCHED lines for each part of the weights from ``coming`` on.
    """
    for number in range(2 * halves):
        zero_tile(emit, number)

    def step(k, _):
        w_at = emit.integer(w) + k * (weight_parts * PART_BYTES)
        x_at = emit.integer(x) + k * X_STEP_BYTES
        loaded = None, None
        lines = FETCHED * weight_parts
        for line in range(lines):
            emit.prefetch(emit.integer(coming) + k * (64 * lines) + 64 * line)
        for w_part, x_part in MULTIPLIED[: products_of(weight_parts)]:
            if w_part != loaded[0]:
                for z in range(2):
                    load_tile(emit, 6 + z, w_at + w_part * PART_BYTES + z * TILE_BYTES, 64)
            if x_part != loaded[1]:
                for half in range(halves):
                    load_tile(emit, 4 + half, x_at + x_part * PART_BYTES + half * TILE_BYTES, 64)
            loaded = w_part, x_part
            for half in range(halves):
                for z in range(2):
                    add_bfloat16_products(emit, 2 * half + z, 4 + half, 6 + z)
        return []

    emit.loop(steps, [], step)
    for number in range(2 * halves):
        store_tile(emit, number, emit.integer(sums) + number * TILE_BYTES, 64)


@vector_kernel
def add_sums(emit, sums, partial):
    """Add the sums of a block of steps to those of the blocks before."""

    def step(k, _):
        place = emit.integer(partial) + k * 64
        total = emit.load(f32(LANES), place) + emit.load(f32(LANES), emit.integer(sums) + k * 64)
        emit.store(total, place)
        return []

    emit.loop(SUMS_BYTES // 64, [], step)


@vector_kernel
def decide_tiles(
    emit, halves, checked, sums, bits, row_bytes, factors, block_factor, panel_factors, suspects
) -> int:  # fmt: skip
    """Bits of the sums; non-zero where a sign is undecided, as ``forward.decide`` says."""

    def sum_of(row, z):
        half, within = divmod(row, TILE)
        return emit.load(f32(LANES), sums, (2 * half + z) * TILE_BYTES + 64 * within, align=64)

    bound = factors, block_factor, panel_factors
    return decide(emit, LANES, halves * TILE, checked, sum_of, bits, row_bytes, *bound, suspects)


@vector_kernel
def add_norms(emit, squares):
    """Add to S_w its multiple of |w|^2."""
    for z in range(2):
        at = 4 * LANES * z
        own = emit.load(f32(LANES), squares, at) * (CHAIN + WHOLE_SHARE)
        emit.store(emit.load(f32(LANES), squares, 8 * LANES + at) + own, squares, 8 * LANES + at)


def _gather_neuron(tiles, j, out):
    """Neuron j of tiles that are whole weights."""
    bits = out.view(np.uint32)
    for step in range(len(tiles)):
        for pair in range(TILE):
            both = tiles[step, 0, j // TILE, pair, j % TILE]
            bits[DEPTH * step + 2 * pair] = both << np.uint32(16)
            bits[DEPTH * step + 2 * pair + 1] = both & np.uint32(0xFFFF0000)


gather_neuron = compiled(_gather_neuron)


def make_pattern(weight_parts, checked=True):
    """The kernel pattern(inputs, weights, seed, stream_word, first, count, scratch, bits) -> settled.

    As ``forward.make_pattern`` has it, for ``layout_amx.TileInputs``: weights are bfloat16 numbers, which
    are one part, or those of float32 in two.  Of ``bits``, the rows are written up to a multiple of 16.
    """
    verify, to_bfloat16, fetched_bytes = int(checked), int(weight_parts == 1), 64 * FETCHED * weight_parts
    w_step_bytes = weight_parts * PART_BYTES

    def pattern(inputs, weights, seed, stream, first, count, scratch, bits, configuration):
        packed, tiles, neuron = inputs.packed, scratch.tiles, scratch.neuron
        blocks, steps, dim = packed.shape[0], packed.shape[1], inputs.rows.shape[1]
        panel, squares = scratch.panel.ctypes.data, scratch.squares.ctypes.data
        sums, suspects = scratch.sums.ctypes.data, scratch.suspects.ctypes.data
        block_bits, row_bytes = scratch.bits.ctypes.data, scratch.bits.strides[0]
        words = bits.view(np.uint32)
        settled = 0
        configure_tiles(configuration.ctypes.data)
        for group_first in range(0, count, len(tiles) * NEURONS):
            in_group = min(len(tiles), -(-(count - group_first) // NEURONS))
            for p in range(in_group):
                panel_first = first + group_first + p * NEURONS
                if len(weights):
                    pack_given_panel(weights, panel_first, scratch.panel)
                else:
                    for j in range(NEURONS):
                        scratch.panel_ids[j] = np.uint64(panel_first + j)
                    ids = scratch.panel_ids.ctypes.data
                    random_panel(LANES, 2, 1, to_bfloat16, seed, stream, ids, -(-dim // 4), panel)
                    scratch.panel[dim:] = np.float32(0.0)  # the rest of the last four features
                scratch.squares.fill(np.float32(0.0))
                for start in range(0, steps, BLOCK_STEPS):
                    here, w = min(BLOCK_STEPS, steps - start), tiles[p, start:].ctypes.data
                    split_block(weight_parts, verify, panel + start * PANEL_STEP_BYTES, here, w, squares)
                if verify:
                    add_norms(squares)
                    finish_panel_factors(LANES, squares, scratch.panel_factors[p].ctypes.data)
            for block in range(blocks):
                row = block * ROWS
                halves = 2 if len(inputs.rows) - row > TILE else 1
                x = packed.ctypes.data + block * packed.strides[0]
                row_factors = inputs.factors.ctypes.data + 4 * row
                block_factor = inputs.block_factors.ctypes.data + 4 * block
                for p in range(in_group):
                    w = tiles.ctypes.data + p * tiles.strides[0]
                    out = block_bits + p * (NEURONS // 8)
                    factors = scratch.panel_factors.ctypes.data + p * scratch.panel_factors.strides[0]
                    before = (
                        p * fetched_bytes
                    )  # that the panels so far have fetched of a step of the next block
                    coming = x + packed.strides[0] + steps * before if before < X_STEP_BYTES else x  # or all
                    # A kernel is compiled for the literal 2 or 1 that it is called with.
                    for start in range(0, steps, BLOCK_STEPS):
                        here = min(BLOCK_STEPS, steps - start)
                        block_sums = sums + (SUMS_BYTES if start else 0)
                        x_at, w_at = x + start * X_STEP_BYTES, w + start * w_step_bytes
                        ahead = coming + start * fetched_bytes
                        if halves == 2:
                            sum_tiles(2, weight_parts, x_at, w_at, here, block_sums, ahead)
                        else:
                            sum_tiles(1, weight_parts, x_at, w_at, here, block_sums, ahead)
                        if start:
                            add_sums(block_sums, sums)
                    if halves == 2:
                        undecided = decide_tiles(
                            2, verify, sums, out, row_bytes, row_factors, block_factor, factors, suspects
                        )
                    else:
                        undecided = decide_tiles(
                            1, verify, sums, out, row_bytes, row_factors, block_factor, factors, suspects
                        )
                    if undecided == 0:
                        continue
                    masks = scratch.suspects[: halves * TILE]
                    neurons = undecided_neurons(masks)
                    for j in range(NEURONS):
                        if neurons >> np.uint32(j) & np.uint32(1):
                            index = first + group_first + p * NEURONS + j
                            if len(weights):
                                given_neuron(weights, index, neuron)
                            elif weight_parts == 1:
                                gather_neuron(tiles[p], j, neuron)
                            else:  # once more: sooner than to keep them whole
                                groups = len(neuron) // (4 * LANES)
                                random_neuron(LANES, 0, seed, stream, index, groups, neuron.ctypes.data)
                            settled += settle_neuron(
                                inputs.rows[row:], neuron, j, masks, scratch.bits.view(np.uint8), p * NEURONS
                            )
                for r in range(halves * TILE):
                    for p in range(in_group):
                        words[row + r, group_first // NEURONS + p] = scratch.bits[r, p]
        release_tiles()
        return settled

    multiply = compiled(pattern)

    def pattern_by_tiles(*arguments):
        return multiply(*arguments, CONFIGURATION)

    return pattern_by_tiles
