"""The fused masked forward pass: weights made in cache, pattern bits out, nothing else stored.

A register tile is ``forward_rows`` samples by a panel of ``2 * lanes`` neurons.  Its fp32 sums are
compared with the rigorous bound of ``layout.PatternInputs``: one smallest magnitude and one compare
for the tile, lane by lane only where that fails, and what is then undecided goes to ``settle``.
"""

import math

import numpy as np

from .compiling import compiled
from .layout import DEPTH_BLOCK
from .philox import random_neuron, random_panel
from .settle import given_neuron, settle_neuron, undecided_neurons
from .simd import f32, vector_kernel

UNROLL = 4
_FLOAT = f32(1).element


def _accumulate(emit, lanes, rows, fused, x, w, depth):
    """rows x 2 vectors of sums over ``depth`` features (a multiple of UNROLL)."""
    x_bytes, w_bytes = 4 * rows, 8 * lanes

    def step(k, sums):
        sums = list(sums)
        x_at, w_at = x + k * (UNROLL * x_bytes), w + k * (UNROLL * w_bytes)
        for u in range(UNROLL):
            weights = [emit.load(f32(lanes), w_at, u * w_bytes + 4 * lanes * z) for z in range(2)]
            for row in range(rows):
                value = emit.load_broadcast(_FLOAT, lanes, x_at, u * x_bytes + 4 * row)
                for z in range(2):
                    place = 2 * row + z
                    if fused:
                        sums[place] = emit.fma(value, weights[z], sums[place])
                    else:
                        sums[place] = value * weights[z] + sums[place]
        return sums

    zero = emit.constant(f32(lanes), 0.0)
    return emit.loop(emit.integer(depth) >> 2, [zero] * (2 * rows), step)


def decide(
    emit, lanes, rows, checked, sum_of, bits, row_bytes, factors, block_factor, panel_factors, suspects
):
    """Bits of a tile of ``rows`` samples by 2 ``lanes`` neurons; non-zero where a sign is undecided.

    ``sum_of(row, z)`` is a vector of sums.  ``suspects`` then holds a mask of undecided neurons for each row.
    """

    def joined(masks):
        low, high = (mask.mask_bits(2 * lanes) for mask in masks)
        return low | (high << lanes)

    smallest = []  # four magnitudes in turn, so that no instruction waits for the one before
    for row in range(rows):
        sums = [sum_of(row, z) for z in range(2)]
        positive = [total.above(0.0) for total in sums]
        at = emit.integer(bits) + emit.integer(row_bytes) * row
        if lanes % 8:
            emit.store(joined(positive), at)
        else:  # each by itself, which takes a store and nothing else
            for z, mask in enumerate(positive):
                emit.store(mask.mask_bits(lanes), at, z * (lanes // 8))
        if row < 2:
            smallest += sums
        else:
            smallest = smallest[2:] + [
                emit.smaller_magnitude(*pair) for pair in zip(smallest[:2], sums, strict=True)
            ]
    if not checked:
        return emit.integer(0)

    while len(smallest) > 1:
        pairs = zip(smallest[::2], smallest[1::2], strict=True)
        smallest = [emit.smaller_magnitude(a, b) for a, b in pairs]
    largest_bound = emit.load(_FLOAT, block_factor) * emit.load(_FLOAT, panel_factors, 8 * lanes)
    undecided = smallest[0].not_above(emit.broadcast(largest_bound, lanes)).mask_bits(lanes)

    def lane_by_lane():
        any_suspect = None
        panel = [emit.load(f32(lanes), panel_factors, 4 * lanes * z) for z in range(2)]
        for row in range(rows):
            factor = emit.load_broadcast(_FLOAT, lanes, factors, 4 * row)
            masks = [emit.absolute(sum_of(row, z)).not_above(factor * panel[z]) for z in range(2)]
            suspect = emit.widen(joined(masks), 32)
            emit.store(suspect, suspects, 4 * row)
            any_suspect = suspect if any_suspect is None else any_suspect | suspect
        return emit.widen(any_suspect, 64)

    return emit.when(undecided.differs(0), lane_by_lane)


@vector_kernel
def partial_tile(emit, lanes, rows, fused, x, w, depth, partial):
    """Add the sums over a depth block that is not the last."""
    for place, total in enumerate(_accumulate(emit, lanes, rows, fused, x, w, depth)):
        at = 4 * lanes * place
        emit.store(emit.load(f32(lanes), partial, at) + total, partial, at)


@vector_kernel
def finish_tile(
    emit, lanes, rows, fused, blocked, checked, x, w, depth, partial, bits, row_bytes,
    factors, block_factor, panel_factors, suspects,
) -> int:  # fmt: skip
    """Sums over the last depth block; bits out; non-zero where a sign is undecided.

    ``suspects`` then holds a mask of undecided neurons for each row of the tile.
    """
    sums = _accumulate(emit, lanes, rows, fused, x, w, depth)
    if blocked:
        sums = [emit.load(f32(lanes), partial, 4 * lanes * place) + total for place, total in enumerate(sums)]
    bound = factors, block_factor, panel_factors
    return decide(
        emit, lanes, rows, checked, lambda row, z: sums[2 * row + z], bits, row_bytes, *bound, suspects
    )


@vector_kernel
def add_block_squares(emit, lanes, w, depth, squares):
    """Add a depth block of a panel to S_w: squares holds (sum over earlier blocks, S_w)."""
    zero = emit.constant(f32(lanes), 0.0)
    for z in range(2):
        at = 4 * lanes * z

        def step(k, state, at=at):
            prefix, total = state
            weight = emit.load(f32(lanes), emit.integer(w) + k * (8 * lanes), at)
            prefix = emit.fma(weight, weight, prefix)
            return [prefix, total + prefix]

        prefix, total = emit.loop(depth, [zero, zero], step)
        before = emit.load(f32(lanes), squares, at) + prefix
        emit.store(before, squares, at)
        emit.store(emit.load(f32(lanes), squares, 8 * lanes + at) + total + before, squares, 8 * lanes + at)


@vector_kernel
def finish_panel_factors(emit, lanes, squares, factors):
    """factors = sqrt(S_w) for each neuron, then their largest."""
    roots = [emit.sqrt(emit.load(f32(lanes), squares, 8 * lanes + 4 * lanes * z)) for z in range(2)]
    for z, root in enumerate(roots):
        emit.store(root, factors, 4 * lanes * z)
    larger = roots[0].above(roots[1]).choose(roots[0], roots[1])
    emit.store(emit.horizontal_max(larger), factors, 8 * lanes)


def _pack_given_panel(weights, first, panel):
    """Rows first.. of given weights as a panel, each scaled by a power of two to a largest entry in [1, 2).

    Past the end the last neuron is repeated, so that every lane holds something decidable.
    """
    count, dim = weights.shape
    for j in range(panel.shape[1]):
        row = weights[min(first + j, count - 1)]
        largest = 0.0
        for k in range(dim):
            largest = max(largest, abs(np.float64(row[k])))
        scale = math.ldexp(1.0, 1 - math.frexp(largest)[1])
        for k in range(dim):
            panel[k, j] = np.float32(np.float64(row[k]) * scale)
        for k in range(dim, panel.shape[0]):
            panel[k, j] = np.float32(0.0)


pack_given_panel = compiled(_pack_given_panel)


def make_pattern(path, checked=True, rounded=False):
    """The kernel pattern(inputs, weights, seed, stream_word, first, count, scratch, bits) -> settled.

    ``bits`` (>= blocks * forward_rows, bytes) uint8 receives neuron first + j of each row at bit j,
    little bit order, for ``count`` neurons rounded up to a whole panel; ``weights`` is (m, d) fp32, or
    (0, d) where they are the virtual ones of ``seed``, which ``rounded`` rounds to bfloat16.
    Returns the number of signs settled exactly.
    """
    lanes, rows, fused = path.lanes, path.forward_rows, path.fused
    verify, to_bfloat16 = int(checked), int(rounded)

    def pattern(inputs, weights, seed, stream, first, count, scratch, bits):
        packed, panels, squares = inputs.packed, scratch.panels, scratch.squares
        blocks, depth = packed.shape[0], packed.shape[1]
        dim, width = inputs.rows.shape[1], 2 * lanes
        row_bytes = bits.shape[1]
        x_block_bytes, panel_bytes = 4 * depth * rows, 4 * depth * width
        factor_bytes = 4 * scratch.panel_factors.shape[1]
        partial, suspects = scratch.partial.ctypes.data, scratch.suspects.ctypes.data
        last_start = (depth - 1) // DEPTH_BLOCK * DEPTH_BLOCK  # where the last depth block begins
        last_depth = depth - last_start
        settled = 0
        for group_first in range(0, count, len(panels) * width):
            in_group = min(len(panels), -(-(count - group_first) // width))
            for p in range(in_group):
                neuron = first + group_first + p * width
                w = panels.ctypes.data + p * panel_bytes
                if len(weights):
                    pack_given_panel(weights, neuron, panels[p])
                else:
                    for j in range(width):
                        scratch.panel_ids[j] = np.uint64(neuron + j)
                    ids = scratch.panel_ids.ctypes.data
                    random_panel(lanes, 2, 1, to_bfloat16, seed, stream, ids, depth // 4, w)
                if verify:
                    squares.fill(np.float32(0.0))
                    for start in range(0, dim, DEPTH_BLOCK):
                        here = min(DEPTH_BLOCK, dim - start)
                        add_block_squares(lanes, w + start * 4 * width, here, squares.ctypes.data)
                    factors = scratch.panel_factors.ctypes.data + p * factor_bytes
                    finish_panel_factors(lanes, squares.ctypes.data, factors)
            for block in range(blocks):
                x = packed.ctypes.data + block * x_block_bytes
                row = block * rows
                row_factors = inputs.factors.ctypes.data + 4 * row
                block_factor = inputs.block_factors.ctypes.data + 4 * block
                for p in range(in_group):
                    w = panels.ctypes.data + p * panel_bytes
                    bit = group_first + p * width
                    out = bits.ctypes.data + row * row_bytes + bit // 8
                    factors = scratch.panel_factors.ctypes.data + p * factor_bytes
                    if last_start == 0:
                        undecided = finish_tile(
                            lanes, rows, fused, 0, verify, x, w, depth, partial, out, row_bytes,
                            row_factors, block_factor, factors, suspects,
                        )  # fmt: skip
                    else:
                        scratch.partial.fill(np.float32(0.0))
                        for k in range(0, last_start, DEPTH_BLOCK):
                            x_at, w_at = x + k * 4 * rows, w + k * 4 * width
                            partial_tile(lanes, rows, fused, x_at, w_at, DEPTH_BLOCK, partial)
                        x_at, w_at = x + last_start * 4 * rows, w + last_start * 4 * width
                        undecided = finish_tile(
                            lanes, rows, fused, 1, verify, x_at, w_at, last_depth, partial, out, row_bytes,
                            row_factors, block_factor, factors, suspects,
                        )  # fmt: skip
                    if undecided == 0:
                        continue
                    neurons = undecided_neurons(scratch.suspects)
                    for j in range(width):
                        if neurons >> np.uint32(j) & np.uint32(1):
                            index = first + bit + j
                            if len(weights):
                                given_neuron(weights, index, scratch.neuron)
                            else:  # once more: sooner than to gather them
                                groups, whole = len(scratch.neuron) // (4 * lanes), scratch.neuron.ctypes.data
                                random_neuron(lanes, to_bfloat16, seed, stream, index, groups, whole)
                            settled += settle_neuron(
                                inputs.rows[row:], scratch.neuron, j, scratch.suspects, bits[row:], bit
                            )
        return settled

    return compiled(pattern)
