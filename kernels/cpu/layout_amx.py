"""What the forward pass of bfloat16 weights on AMX reads: inputs in two bfloat16 parts, as matrix tiles."""

from typing import NamedTuple

import numpy as np

from ..reference import round_to_bfloat16
from .amx import TILE
from .layout import UNIT_ROUNDOFF, aligned, scaled_by_power_of_two

ROWS = 2 * TILE  # samples of a block
NEURONS = 2 * TILE  # neurons of a panel
DEPTH = 32  # features of a tile product
PARTS = 2  # bfloat16 numbers that an input is the sum of, but for a rest
BLOCK_STEPS = 32  # tile products in depth that add up in one register before the sums are added
CACHE_BYTES = 900_000  # what a group of weight panels may take of the second-level cache

CHAIN = 16  # roundings in a tile product: 15 in a chain whose first product is exact, 1 where two meet
REST_SHARE = 6.0  # how the bound |rest| |w| is shared between the factors: near sqrt(|rest| / (u |x|))


class TileInputs(NamedTuple):
    """Masked inputs as tiles: x = x1 + x2 + rest, the bfloat16 parts multiplied and the rest in the bound.

    The products of bfloat16 numbers are exact in float32.  As ``amx.add_bfloat16_products`` has it, the
    computed h is off by at most u / (1 - K u) times the sum of the magnitudes of all true partial sums
    (``layout.PatternInputs``), plus |rest . w|.  In a tile product of features t these partial sums are at
    most CHAIN |x_t| |w_t| in all for x1, and 2^-8 of it for x2; after it, for each part, the sum so far,
    |x_<=t| |w_<=t|, from the start of a block of BLOCK_STEPS; after a block, the sum of the blocks so far.
    By Cauchy-Schwarz all of it is at most sqrt(S_x S_w),

        S_x = CHAIN |x|^2 + 2 sum_t |x_<=t|^2 + sum_blocks |x_<=block|^2 + |rest|^2 / (u REST_SHARE)^2,

    S_w the same with REST_SHARE^2 |w|^2 in the end.  |x1| and |x1 + x2| are at most 1 + 2^-8 times |x|, so a
    factor 1 + 2^-6 covers the parts.  Rows are scaled to a largest entry in [1, 2), so that the slack of the
    float32 bound covers what is below 2^-126 and counts as 0.
    """

    rows: np.ndarray  # (n, d) fp32, as given: what the exact sign is the sign of
    packed: np.ndarray  # (blocks, steps, PARTS, 2, TILE, DEPTH) uint16, each row scaled by a power of two
    factors: np.ndarray  # (blocks * ROWS,) fp32: the bound but for sqrt(S_w)
    block_factors: np.ndarray  # (blocks,) fp32, the largest factor of each block


class TileScratch(NamedTuple):
    """Working memory of one worker's forward pass."""

    panels: np.ndarray  # (group, steps, 2, TILE, TILE) uint32: pairs of weights, the even feature low
    panel_factors: np.ndarray  # (group, 3 TILE) fp32: sqrt(S_w), then the largest of them
    squares: np.ndarray  # (3, NEURONS) fp32: running sums behind panel_factors
    sums: np.ndarray  # (2, 2, TILE, TILE) fp32: those of a block of tile products
    partial: np.ndarray  # the same, of all blocks
    suspects: np.ndarray  # (ROWS,) uint32: undecided neurons of a tile
    panel_ids: np.ndarray  # (NEURONS,) uint64
    neuron: np.ndarray  # (steps * DEPTH,) fp32: one weight vector, for the exact sign


def steps_of(dim):
    """Tile products that a sum over the features takes."""
    return -(-dim // DEPTH)


def prefix_square_sum(squares, block_steps=BLOCK_STEPS):
    """2 sum_t |x_<=t|^2 + sum_blocks |x_<=block|^2 of the squares (n, steps) of the features of each step."""
    total, before = np.zeros(len(squares)), np.zeros(len(squares))
    for start in range(0, squares.shape[1], block_steps):
        prefixes = np.cumsum(squares[:, start : start + block_steps], axis=1)
        before += prefixes[:, -1]
        total += 2 * prefixes.sum(axis=1) + before
    return total


def relative_bound(dim):
    """The factor u / (1 - K u) of the bound, with its slack."""
    steps = steps_of(dim)
    roundings = CHAIN + 1 + PARTS * min(steps, BLOCK_STEPS) + -(-steps // BLOCK_STEPS)
    parts = 1 + 2.0**-6
    return UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF) * parts * (1 + (dim + 64) * 2.0**-22)


def tile_inputs(rows):
    """Pack (n, d) fp32 rows."""
    n, dim = rows.shape
    steps, blocks = steps_of(dim), -(-n // ROWS)
    last = np.minimum(np.arange(blocks * ROWS), n - 1)  # pad with copies of the last row
    packed = aligned((blocks, steps, PARTS, 2, TILE, DEPTH), np.uint16)
    rest = np.zeros((n, steps * DEPTH), np.float32)
    rest[:, :dim] = scaled_by_power_of_two(rows)
    squares = np.square(rest.reshape(n, steps, DEPTH), dtype=np.float64).sum(axis=2)
    for part in range(PARTS):
        rounded = round_to_bfloat16(rest)
        rest -= rounded  # exact
        halves = (rounded.view(np.uint32) >> np.uint32(16)).astype(np.uint16)[last]
        packed[:, :, part] = halves.reshape(blocks, 2, TILE, steps, DEPTH).transpose(0, 3, 1, 2, 4)
    rest_square = np.square(rest, dtype=np.float64).sum(axis=1) / (UNIT_ROUNDOFF * REST_SHARE) ** 2
    total = CHAIN * squares.sum(axis=1) + prefix_square_sum(squares) + rest_square
    bound = relative_bound(dim) * np.sqrt(total)
    bound[~rows.any(axis=1)] = -1  # a zero row gives 0 exactly, which no magnitude is at or below
    factors = bound.astype(np.float32)[last]
    return TileInputs(rows, packed, factors, factors.reshape(blocks, -1).max(axis=1))


def tile_scratch(dim):
    steps = steps_of(dim)
    group = int(np.clip(CACHE_BYTES // (2 * DEPTH * NEURONS * steps), 1, 64))
    return TileScratch(
        panels=aligned((group, steps, 2, TILE, TILE), np.uint32, fill=0),
        panel_factors=aligned((group, 3 * TILE), np.float32),
        squares=aligned((3, NEURONS), np.float32),
        sums=aligned((2, 2, TILE, TILE), np.float32),
        partial=aligned((2, 2, TILE, TILE), np.float32),
        suspects=np.empty(ROWS, np.uint32),
        panel_ids=np.empty(NEURONS, np.uint64),
        neuron=np.empty(steps * DEPTH, np.float32),
    )
