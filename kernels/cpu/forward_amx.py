"""The forward pass of bfloat16 weights as products of AMX tiles: the same bits as ``forward.py``, sooner.

A register tile is 32 samples by 32 neurons.  An input is multiplied in two bfloat16 parts; the bound of
``layout_amx.TileInputs`` covers what these leave and the roundings of the products.
"""

import math

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
from .forward import decide, finish_panel_factors, settle_tile
from .layout_amx import BLOCK_STEPS, CHAIN, DEPTH, NEURONS, PARTS, REST_SHARE, ROWS
from .philox import random_tiles
from .simd import f32, i32, vector_kernel

LANES = TILE
W_STEP_BYTES = 2 * TILE_BYTES
X_STEP_BYTES = PARTS * 2 * TILE_BYTES
SUMS = 4 * LANES * LANES  # values in the four tiles of sums
NORM_SHARE = CHAIN + REST_SHARE**2  # of |w|^2 in S_w


@vector_kernel
def sum_tiles(emit, halves, x, w, steps, sums):
    """Sums over some steps in depth for 16 ``halves`` samples and 32 neurons."""
    for number in range(2 * halves):
        zero_tile(emit, number)

    def step(k, _):
        w_at, x_at = emit.integer(w) + k * W_STEP_BYTES, emit.integer(x) + k * X_STEP_BYTES
        for z in range(2):
            load_tile(emit, 6 + z, w_at + z * TILE_BYTES, 64)
        for part in range(PARTS):
            for half in range(halves):
                load_tile(emit, 4 + half, x_at + (2 * part + half) * TILE_BYTES, 64)
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

    emit.loop(SUMS // LANES, [], step)


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
def add_block_squares(emit, w, steps, squares):
    """Add a block of steps of a panel: squares holds (sums over earlier blocks, S_w but for |w|^2)."""
    zero = emit.constant(f32(LANES), 0.0)

    def step(k, state):
        prefixes, totals = state[:2], state[2:]
        for z in range(2):
            own = [zero, zero]  # of the even and of the odd features: chains that do not wait for each other
            for pair in range(TILE):
                both = emit.load(i32(LANES), emit.integer(w) + k * W_STEP_BYTES, z * TILE_BYTES + 64 * pair)
                for odd, weight in enumerate((both << 16, both & -0x10000)):
                    weight = weight.bitcast(f32(LANES))
                    own[odd] = emit.fma(weight, weight, own[odd])
            prefixes[z] = prefixes[z] + (own[0] + own[1])
            totals[z] = totals[z] + prefixes[z]
        return [*prefixes, *totals]

    state = emit.loop(steps, [zero] * 4, step)
    for z in range(2):
        at = 4 * LANES * z
        before = emit.load(f32(LANES), squares, at) + state[z]
        emit.store(before, squares, at)
        earlier = emit.load(f32(LANES), squares, 8 * LANES + at)
        emit.store(earlier + state[2 + z] * 2.0 + before, squares, 8 * LANES + at)


@vector_kernel
def add_norms(emit, squares):
    """Add to S_w its multiple of |w|^2."""
    for z in range(2):
        at = 4 * LANES * z
        own = emit.load(f32(LANES), squares, at) * float(NORM_SHARE)
        emit.store(emit.load(f32(LANES), squares, 8 * LANES + at) + own, squares, 8 * LANES + at)


def _pack_given_tiles(weights, first, neuron, panel):
    """Rows first.. of given weights as a panel, each scaled by a power of two to a largest entry in [1, 2).

    Past the end the last neuron is repeated, so that every lane holds something decidable.
    """
    count, dim = weights.shape
    bits = neuron.view(np.uint32)
    neuron[dim:] = np.float32(0.0)
    for j in range(NEURONS):
        row = weights[min(first + j, count - 1)]
        largest = 0.0
        for k in range(dim):
            largest = max(largest, abs(np.float64(row[k])))
        scale = math.ldexp(1.0, 1 - math.frexp(largest)[1])
        for k in range(dim):
            neuron[k] = np.float32(np.float64(row[k]) * scale)
        for step in range(len(panel)):
            for pair in range(TILE):
                low, high = bits[DEPTH * step + 2 * pair], bits[DEPTH * step + 2 * pair + 1]
                panel[step, j // TILE, pair, j % TILE] = (low >> np.uint32(16)) | (
                    high & np.uint32(0xFFFF0000)
                )


pack_given_tiles = compiled(_pack_given_tiles)


def make_pattern(checked=True):
    """The kernel pattern(inputs, weights, seed, stream_word, first, count, scratch, bits) -> settled.

    As ``forward.make_pattern`` has it, for ``layout_amx.TileInputs``; the entries of given weights are
    bfloat16 numbers.  Of ``bits``, the rows are written up to a multiple of 16.
    """
    verify = int(checked)

    def pattern(inputs, weights, seed, stream, first, count, scratch, bits, configuration):
        packed, panels, squares = inputs.packed, scratch.panels, scratch.squares
        blocks, steps = packed.shape[0], packed.shape[1]
        n, dim = inputs.rows.shape
        row_bytes = bits.shape[1]
        panel_bytes, factor_bytes = steps * W_STEP_BYTES, 4 * scratch.panel_factors.shape[1]
        sums, partial = scratch.sums.ctypes.data, scratch.partial.ctypes.data
        suspects = scratch.suspects.ctypes.data
        settled = 0
        configure_tiles(configuration.ctypes.data)
        for group_first in range(0, count, len(panels) * NEURONS):
            in_group = min(len(panels), -(-(count - group_first) // NEURONS))
            for p in range(in_group):
                neuron = first + group_first + p * NEURONS
                w = panels.ctypes.data + p * panel_bytes
                if len(weights):
                    pack_given_tiles(weights, neuron, scratch.neuron, panels[p])
                else:
                    for j in range(NEURONS):
                        scratch.panel_ids[j] = np.uint64(neuron + j)
                    random_tiles(seed, stream, scratch.panel_ids.ctypes.data, -(-dim // 4), w)
                if verify:
                    squares.fill(np.float32(0.0))
                    for start in range(0, steps, BLOCK_STEPS):
                        here = min(BLOCK_STEPS, steps - start)
                        add_block_squares(w + start * W_STEP_BYTES, here, squares.ctypes.data)
                    add_norms(squares.ctypes.data)
                    factors = scratch.panel_factors.ctypes.data + p * factor_bytes
                    finish_panel_factors(LANES, squares.ctypes.data, factors)
            for block in range(blocks):
                row = block * ROWS
                halves = 2 if n - row > TILE else 1
                x = packed.ctypes.data + block * steps * X_STEP_BYTES
                row_factors = inputs.factors.ctypes.data + 4 * row
                block_factor = inputs.block_factors.ctypes.data + 4 * block
                for p in range(in_group):
                    w = panels.ctypes.data + p * panel_bytes
                    bit = group_first + p * NEURONS
                    out = bits.ctypes.data + row * row_bytes + bit // 8
                    factors = scratch.panel_factors.ctypes.data + p * factor_bytes
                    decided = sums
                    if steps > BLOCK_STEPS:
                        scratch.partial.fill(np.float32(0.0))
                        decided = partial
                    for start in range(0, steps, BLOCK_STEPS):
                        here = min(BLOCK_STEPS, steps - start)
                        x_at, w_at = x + start * X_STEP_BYTES, w + start * W_STEP_BYTES
                        if halves == 2:
                            sum_tiles(2, x_at, w_at, here, sums)
                        else:
                            sum_tiles(1, x_at, w_at, here, sums)
                        if steps > BLOCK_STEPS:
                            add_sums(sums, partial)
                    if halves == 2:
                        undecided = decide_tiles(
                            2, verify, decided, out, row_bytes, row_factors, block_factor, factors, suspects
                        )
                    else:
                        undecided = decide_tiles(
                            1, verify, decided, out, row_bytes, row_factors, block_factor, factors, suspects
                        )
                    if undecided != 0:
                        settled += settle_tile(
                            inputs.rows, row, weights, first + bit, panels[p],
                            scratch.suspects[: halves * TILE], scratch.neuron, bits, bit,
                        )  # fmt: skip
        release_tiles()
        return settled

    multiply = compiled(pattern)

    def pattern_by_tiles(*arguments):
        return multiply(*arguments, CONFIGURATION)

    return pattern_by_tiles
