"""What the forward pass on AMX reads: inputs and weights in bfloat16 parts, as matrix tiles."""

from typing import NamedTuple

import numpy as np

from ..reference import round_to_bfloat16
from .amx import TILE
from .layout import UNIT_ROUNDOFF, aligned, neuron_length, scaled_by_power_of_two, sum_of_prefixes

ROWS = 2 * TILE  # samples of a block
NEURONS = 2 * TILE  # neurons of a panel
DEPTH = 32  # features of a tile product
PARTS = 2  # bfloat16 numbers that an input is the sum of, but for a rest
# (part of the weights, part of the inputs): the first two where weights are one part
MULTIPLIED = (0, 1), (0, 0), (1, 0)
BLOCK_STEPS = 32  # steps in depth that add up in one register before the sums are added
BLOCKS_AT_ONCE = 8  # of inputs, while they are packed: what is in between stays in the cache
FEWEST_ROWS = 80  # below, splitting the weights into parts costs more than is won
CACHE_BYTES = 900_000  # what a group of weight panels may take of the second-level cache

CHAIN = 16  # roundings in a tile product: 15 in a chain whose first product is exact, 1 where two meet
# How |rest| |v| is shared between the factors of the bound: in units of the squares of the whole, of what is
# beyond the first part, and of the rest.  Near |v|^2 : |rest|^2, so that both factors are about as large.
WHOLE_SHARE, BEYOND_SHARE, LOST_SHARE = 36.0, 1 / UNIT_ROUNDOFF, 1 / (36.0 * UNIT_ROUNDOFF**2)


class TileInputs(NamedTuple):
    """Masked inputs as tiles: x = x1 + x2 + rest, with bfloat16 x1 and x2.

    Weights are one bfloat16 part, or w = w1 + w2 + rest for those of float32.  Multiplied are x2 w1, x1 w1
    and x1 w2, in float32, in which products of bfloat16 numbers are exact.  As
    ``amx.add_bfloat16_products`` has it, the computed h is off by at most u / (1 - K u) times the sum of the
    magnitudes of all true partial sums (``layout.PatternInputs``), plus what is not multiplied:

        |rest_x . w1| + |(x - x1) . w2| + |x . rest_w|.

    In a step over the features t, the partial sums within tile products are at most CHAIN |x_t| |w_t| in
    all for x1 w1, and 2^-8 of it for each other product; after each product, the sum so far,
    |x_<=t| |w_<=t|, from the start of a block of BLOCK_STEPS; after a block, the sum of the blocks so far.
    By Cauchy-Schwarz all of it is at most sqrt(S_x S_w),

        S_x = CHAIN |x|^2 + products sum_t |x_<=t|^2 + sum_blocks |x_<=block|^2
              + a |x|^2 + |x - x1|^2 / u + |rest_x|^2 / (a u^2),

    a = WHOLE_SHARE, and S_w the same: the last three terms are those of what is not multiplied, from the
    last to the first in S_w.  (Where weights are one part, only the last of them is in S_x.)  |x1|,
    |x1 + x2|, |w1|, and |w2| over |w - w1| are at most 1 + 2^-8, so a factor 1 + 2^-5 covers the parts.
    Rows are scaled to a largest entry in [1, 2), so that the slack of the float32 bound covers what is
    below 2^-126 and counts as 0.
    """

    rows: np.ndarray  # (n, d) fp32, as given: what the exact sign is the sign of
    packed: np.ndarray  # (blocks, steps, PARTS, 2, TILE, DEPTH) uint16, each row scaled by a power of two
    factors: np.ndarray  # (blocks * ROWS,) fp32: the bound but for sqrt(S_w)
    block_factors: np.ndarray  # (blocks,) fp32, the largest factor of each block


class TileScratch(NamedTuple):
    """Working memory of one worker's forward pass."""

    panel: np.ndarray  # (steps * DEPTH, NEURONS) fp32: the weights of one panel
    tiles: np.ndarray  # (group, steps, weight parts, 2, TILE, TILE) uint32: pairs, the even feature low
    panel_factors: np.ndarray  # (group, 3 TILE) fp32: sqrt(S_w), then the largest of them
    squares: np.ndarray  # (2, NEURONS) fp32: running sums behind panel_factors
    sums: np.ndarray  # (2, 2, 2, TILE, TILE) fp32: of all steps, and of a block of them
    bits: np.ndarray  # (ROWS, group + 1) uint32: those of a block, whose rows are no power of two apart
    suspects: np.ndarray  # (ROWS,) uint32: undecided neurons of a tile
    panel_ids: np.ndarray  # (NEURONS,) uint64
    neuron: np.ndarray  # (>= d,) fp32: the weights of one neuron, for the exact sign


def steps_of(dim):
    """Steps that a sum over the features takes."""
    return -(-dim // DEPTH)


def products_of(weight_parts):
    """Tile products of a step, for inputs in two parts."""
    return 1 + weight_parts


def relative_bound(dim, products):
    """The factor u / (1 - K u) of the bound, with its slack."""
    steps = steps_of(dim)
    roundings = CHAIN + 1 + products * min(steps, BLOCK_STEPS) + -(-steps // BLOCK_STEPS)
    parts = 1 + 2.0**-5
    return UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF) * parts * (1 + (dim + 64) * 2.0**-22)


def tile_inputs(rows, weight_parts):
    """Pack (n, d) fp32 rows, for weights of so many parts."""
    n, dim = rows.shape
    blocks = -(-n // ROWS)
    packed = aligned((blocks, steps_of(dim), PARTS, 2, TILE, DEPTH), np.uint16)
    factors = np.empty((blocks, ROWS), np.float32)
    for first in range(0, blocks, BLOCKS_AT_ONCE):
        here = slice(first, min(first + BLOCKS_AT_ONCE, blocks))
        last = np.minimum(np.arange(here.start * ROWS, here.stop * ROWS), n - 1)  # padded with the last row
        factors[here] = _pack(rows[last], weight_parts, packed[here]).reshape(-1, ROWS)
    return TileInputs(rows, packed, factors.reshape(-1), factors.max(axis=1))


def _pack(rows, weight_parts, packed):
    """Fill whole blocks; their factors."""
    n, dim = rows.shape
    blocks, steps = packed.shape[:2]
    rest = np.zeros((n, steps * DEPTH), np.float32)
    rest[:, :dim] = scaled_by_power_of_two(rows)
    squares = np.square(rest.reshape(n, steps, DEPTH), dtype=np.float64).sum(axis=2)
    norms = [squares.sum(axis=1)]  # of x, and of what is left after each part
    for part in range(PARTS):
        rounded = round_to_bfloat16(rest)
        rest -= rounded  # exact
        norms.append(np.square(rest, dtype=np.float64).sum(axis=1))
        halves = rounded.view(np.uint16)[:, 1::2]  # little-endian, as all processors with AMX
        packed[:, :, part] = halves.reshape(blocks, 2, TILE, steps, DEPTH).transpose(0, 3, 1, 2, 4)
    products = products_of(weight_parts)
    whole, beyond, lost = norms
    total = CHAIN * whole + sum_of_prefixes(squares, BLOCK_STEPS, products) + LOST_SHARE * lost
    if weight_parts == 2:
        total += WHOLE_SHARE * whole + BEYOND_SHARE * beyond
    bound = relative_bound(dim, products) * np.sqrt(total)
    bound[~rows.any(axis=1)] = -1  # a zero row gives 0 exactly, which no magnitude is at or below
    return bound


def tile_scratch(dim, weight_parts, make=aligned):
    steps = steps_of(dim)
    group = int(np.clip(CACHE_BYTES // (2 * DEPTH * NEURONS * steps * weight_parts), 1, 64))
    return TileScratch(
        panel=make((steps * DEPTH, NEURONS), np.float32),
        tiles=make((group, steps, weight_parts, 2, TILE, TILE), np.uint32),
        panel_factors=make((group, 3 * TILE), np.float32),
        squares=make((2, NEURONS), np.float32),
        sums=make((2, 2, 2, TILE, TILE), np.float32),
        bits=make((ROWS, group + 1), np.uint32),
        suspects=make(ROWS, np.uint32),
        panel_ids=make(NEURONS, np.uint64),
        neuron=make(neuron_length(dim, TILE), np.float32),
    )
