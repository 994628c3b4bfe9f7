"""The masked inputs of a training step, made and packed on a device.

The masked rows have the bits of masks.py.  What passes read of them is that of ``forward.forward_inputs`` and
``gradient.weighted_rows``, made here of rows that are on the device already.
"""

import numpy as np

from ..cpu.layout import relative_bound
from .forward import SLAB, TILE, ForwardInputs
from .gradient import FEATURES, WeightedRows, scaled_values
from .gradient import SLAB as GRADIENT_SLAB
from .layout import round_up
from .sums import THREADS

SIDE = 32  # rows and features of a block of scaled_panel
NONE = np.iinfo(np.int32).min  # the exponent of 0
SHARE = 256  # rows of a thread of raise_exponents


def masked_rows(device, rows, ids, sources, scale, multiplies, seed, stream_word, found):
    """Masked rows of a batch, (count, d) fp32: the rows ``sources`` (count,) int32 of ``rows`` (n, d).

    Of the normals z of their ``ids`` (n,) uint64 they are x fma(scale, z, 1) with ``multiplies``, else
    fma(scale, z, x), scale (d,) fp32.  found (1,) uint32 becomes 1 where one is not finite.
    """
    count, dim = len(sources), rows.shape[1]
    out = device.empty((count, dim), np.float32)
    keys = np.int32(multiplies), np.uint64(seed), np.uint32(stream_word), np.int32(count), np.int32(dim)
    grid = -(-count * -(-dim // 4) // THREADS)
    device.launch("batch", "masked_rows", grid, THREADS, rows, ids, sources, scale, *keys, out, found)
    return out


def chosen_rows(device, rows, sources):
    """The rows ``sources`` (count,) int32 of ``rows`` (n, d) fp32."""
    count, dim = len(sources), rows.shape[1]
    out = device.empty((count, dim), np.float32)
    sizes = np.int32(count), np.int32(dim)
    device.launch("batch", "chosen_rows", -(-count * dim // THREADS), THREADS, rows, sources, *sizes, out)
    return out


def forward_inputs(device, rows, prefix_counts):
    """As ``forward.forward_inputs``, of (n, d) fp32 rows on the device; prefix_counts as in its scratch.

    The factors are those or larger by a few parts in 2^24.
    """
    n, dim = rows.shape
    lines, depth = round_up(n, TILE), round_up(dim, SLAB)
    # a sum of d squares in float64, each rounded twice, and the square root
    bound = relative_bound(dim, fused=True) * (1 + (dim + 64) * 2.0**-51)
    exponents, factors = device.empty(lines, np.int32), device.empty(lines, np.float32)
    sizes = tuple(map(np.int32, (n, dim, lines)))
    device.launch(
        "batch", "measure_rows", -(-32 * lines // THREADS), THREADS,
        rows, prefix_counts, np.float64(bound), *sizes, exponents, factors,
    )  # fmt: skip
    panel = device.empty((depth, lines), np.float32)
    grid, sizes = (lines // SIDE, -(-depth // SIDE)), tuple(map(np.int32, (n, dim, depth, lines)))
    device.launch("batch", "scaled_panel", grid, (SIDE, 8), rows, exponents, *sizes, panel)
    return ForwardInputs(rows, panel, factors, device.download(exponents)[:n])


def weighted_rows(device, rows, u):
    """As ``gradient.weighted_rows``, of (n, d) fp32 rows on the device; u (n, q) comes from the host."""
    n, dim = rows.shape
    lines, features = round_up(n, GRADIENT_SLAB), round_up(dim, FEATURES)
    values, own, is_any = scaled_values(u, lines)
    on_device = device.upload(np.where(is_any, own, NONE).astype(np.int32))
    exponents = device.upload(np.full(dim, NONE, np.int32))
    grid, sizes = (-(-dim // THREADS), -(-n // SHARE)), tuple(map(np.int32, (n, dim, SHARE)))
    device.launch("batch", "raise_exponents", grid, THREADS, rows, on_device, *sizes, exponents)
    out, scale = device.empty((lines, features), np.float32), device.empty(dim, np.float64)
    sizes = tuple(map(np.int32, (n, dim, lines, features)))
    device.launch(
        "batch", "weighted_rows", -(-lines * features // THREADS), THREADS,
        rows, on_device, exponents, *sizes, out, scale,
    )  # fmt: skip
    return WeightedRows(out, device.upload(values), scale)
