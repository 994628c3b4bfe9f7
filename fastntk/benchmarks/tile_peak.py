"""The peaks of AMX: products of tiles of bytes, or of bfloat16, into four sums, and nothing else.

Only for processes that may use them: ``paths.counts_with_amx`` and ``paths.forwards_with_amx`` say so.
"""

from functools import cache

from ..kernels.cpu.amx import (
    TILE,
    add_bfloat16_products,
    add_byte_products,
    configure_tiles,
    release_tiles,
)
from ..kernels.cpu.compiling import compiled
from ..kernels.cpu.simd import vector_kernel


@vector_kernel
def tile_products(emit, bfloat16, steps):
    """Four products a step; the registers hold zeros, which take as long as anything else."""

    def step(*_):
        for tiles in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)):
            (add_bfloat16_products if bfloat16 else add_byte_products)(emit, *tiles)
        return []

    emit.loop(steps, [], step)


def products_of_a_step(bfloat16):
    """Multiply-adds: a row of a tile is 64 bytes."""
    return 4 * TILE * TILE * (32 if bfloat16 else 64)


@cache
def make_tile_peak(bfloat16):
    """The kernel peak(steps, configuration), the latter that of the kernels."""
    kind = int(bfloat16)

    def tile_peak(steps, configuration):
        configure_tiles(configuration.ctypes.data)
        tile_products(kind, steps)
        release_tiles()

    return compiled(tile_peak)
