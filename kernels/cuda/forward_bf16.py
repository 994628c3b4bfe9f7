"""The forward pass of bfloat16 weights on tensor cores: the bits of ``forward.py`` if these add as assumed.

NVIDIA does not specify how a tensor core rounds.  What is measured (docs/mathematics.md, section 4, has the
sources): products are exact; 4, 8 or 16 of them and the sum so far are cut to 23 to 25 bits below the leading
one of the largest, added, and cut to fp32.  So a product of 16 features is off by at most 48, 22 and 10.5 u
(|c| + sum_k |x_k w_k|) on Volta, Ampere and Hopper, c the sum so far.  **Assumed** is ``MOST_ERROR`` = 192,
as if Volta's cores had two bits less, and nothing about the order.

Because it is an assumption, :func:`is_chosen` says no unless FASTNTK_TENSOR_FORWARD says yes.
"""

import os
from typing import NamedTuple

import numpy as np

from ..cpu.layout import UNIT_ROUNDOFF, scaled_by_power_of_two
from ..reference import round_to_bfloat16
from . import forward
from .forward import TILE
from .layout import WORD_BITS, round_up

VARIABLE = "FASTNTK_TENSOR_FORWARD"

SLAB = 32  # features whose products are summed from 0
PRODUCT = 16  # features of a product of tensor cores
PARTS = 2  # bfloat16 numbers that an input is the sum of, but for a rest
STAGES = 3  # slabs in shared memory
STAGE_BYTES = (PARTS + 1) * TILE * 2 * SLAB

MOST_ERROR = 192  # of a product, in units of u (|c| + sum_k |x_k w_k|): the assumption
REST_SHARE = 6.0  # how the bound |rest| |w| is shared between the factors: near sqrt(|rest| / (u |x|))


class TensorInputs(NamedTuple):
    """Masked inputs in two bfloat16 parts, x = x1 + x2 + rest, on a device.

    A slab is four products, one after the other from 0: x2 and then x1, each of the first and the second 16
    features.  What is summed passes through all products after it, so with |x1| at most 1 + 2^-8 and |x2| at
    most 2^-8 times |x|, a slab is off by at most (1 + 2^-5) u MOST_ERROR (2 |x_t| |w_t| + |x_t'| |w_t'|),
    t and t' its first and second features.  N slabs are added in fp32.  So the computed h is off by at most
    (1 + 2^-5) u / (1 - N u) times

        MOST_ERROR sum_t n_t |x_t| |w_t| + sum_slabs |x_<=slab| |w_<=slab|,    n_t = 2 or 1,

    and |rest| |w|: by Cauchy-Schwarz at most sqrt(S_x S_w) of that factor, where

        S_x = sum_k error_counts[k] x_k^2 + |rest|^2 / (u REST_SHARE)^2,

    and S_w the same with REST_SHARE^2 |w|^2 in the end.
    """

    rows: object  # (n, d) fp32, as given: what the exact sign is the sign of
    parts: (
        object  # (slabs, PARTS, n rounded up to a tile, SLAB / 2) uint32, each row scaled by a power of two
    )
    factors: object  # (n rounded up,) fp32, the rows' half of the bound; 0 where a row is 0


class TensorScratch(NamedTuple):
    """``forward.ForwardScratch`` with room for the weights as tensor cores read them."""

    panel: object  # (depth, neurons) fp32 weights
    factors: object  # (neurons,) fp32: the neurons' half of the bound
    prefix_counts: object  # (depth,) fp32: error_counts + REST_SHARE^2, what sums of squares are weighted by
    undecided: object  # (n rounded up, neurons / 32) uint32
    rounded: bool  # True
    tiles: object  # (slabs, neurons, SLAB / 2) uint32: pairs of weights, the even feature low


def is_chosen():
    """Whether FASTNTK_TENSOR_FORWARD asks for this forward pass where weights are bfloat16."""
    value = os.environ.get(VARIABLE) or "0"
    if value not in ("0", "1"):
        raise ValueError(
            f"{VARIABLE} is {value!r}; it must be '1' (patterns of bfloat16 networks on tensor cores, "
            f"exact if they round as measured) or '0' (certified whatever the device does)."
        )
    return value == "1"


def forward_inputs(device, rows):
    """Pack (n, d) fp32 rows."""
    n, dim = rows.shape
    slabs, lines = -(-dim // SLAB), round_up(n, TILE)
    rest = np.zeros((lines, slabs * SLAB), np.float32)
    rest[:n, :dim] = scaled_by_power_of_two(rows)
    total = np.square(rest[:n, :dim], dtype=np.float64) @ error_counts(dim)
    parts = np.empty((slabs, PARTS, lines, SLAB), np.uint16)
    for part in range(PARTS):
        rounded = round_to_bfloat16(rest)
        rest -= rounded  # exact
        halves = (rounded.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
        parts[:, part] = halves.reshape(lines, slabs, SLAB).transpose(1, 0, 2)
    total += np.square(rest[:n], dtype=np.float64).sum(axis=1) / (UNIT_ROUNDOFF * REST_SHARE) ** 2
    factors = np.zeros(lines, np.float32)
    factors[:n] = relative_bound(dim) * np.sqrt(total)
    return TensorInputs(device.upload(rows), device.upload(parts.view(np.uint32)), device.upload(factors))


def error_counts(dim):
    """How often the square of each feature is in S_x: (d,) float64."""
    place = np.arange(dim)
    products = np.where(place % SLAB < PRODUCT, 2, 1)
    slabs_from_here = -(-dim // SLAB) - place // SLAB
    return (MOST_ERROR * products + slabs_from_here).astype(float)


def relative_bound(dim):
    """The factor of sqrt(S_x S_w); its slack covers fp32 factors, and all that falls below 2^-126."""
    slabs = -(-dim // SLAB)
    return (1 + 2.0**-5) * UNIT_ROUNDOFF / (1 - slabs * UNIT_ROUNDOFF) * (1 + (dim + 64) * 2.0**-22)


def forward_scratch(device, n, dim, count):
    """Room for ``n`` samples and chunks of at most ``count`` neurons."""
    common = forward.forward_scratch(device, n, dim, count, rounded=True)
    depth, neurons = common.panel.shape
    counts = np.zeros(depth, np.float32)
    counts[:dim] = error_counts(dim) + REST_SHARE**2
    tiles = device.empty((-(-dim // SLAB), neurons, SLAB // 2), np.uint32)
    common = common._replace(prefix_counts=device.upload(counts))
    return TensorScratch(**common._asdict(), tiles=tiles)


def pattern(device, inputs, weights, seed, stream_word, first, count, scratch, bits, settled):
    """As ``forward.pattern`` of weights that are bfloat16 numbers, given or virtual."""
    dim = inputs.rows.shape[1]
    for start, neurons in forward.groups(bits, scratch):
        here = min(max(count - start, 0), neurons)
        forward.fill_panel(device, scratch, weights, seed, stream_word, first + start, here, dim, neurons)
        pack(device, scratch, neurons)
        multiply(device, inputs, scratch, start, neurons, bits)
        forward.settle(device, inputs, weights, first + start, scratch, start, neurons, bits, settled)


def pack(device, scratch, neurons):
    """The panel at hand as tiles; what is below 2^-133 beside a largest weight of 1 is lost."""
    depth, slabs = scratch.panel.shape[0], scratch.tiles.shape[0]
    sizes = np.int32(depth), np.int32(neurons)
    grid, block = (neurons // WORD_BITS, slabs), (WORD_BITS, SLAB // 8)
    device.launch("forward_bf16", "pack_weights", grid, block, scratch.panel, *sizes, scratch.tiles)


def multiply(device, inputs, scratch, start, neurons, bits):
    """Bits and undecided ones of the tiles at hand, whose first neuron has bit ``start``."""
    slabs, _, lines, _ = inputs.parts.shape
    sizes = (slabs, lines, neurons, bits.shape[1], start // WORD_BITS)
    device.launch(
        "forward_bf16", "forward_bf16", (neurons // TILE, lines // TILE), 256,
        inputs.parts, scratch.tiles, inputs.factors, scratch.factors, *map(np.int32, sizes),
        bits, scratch.undecided, shared=STAGES * STAGE_BYTES,
    )  # fmt: skip
