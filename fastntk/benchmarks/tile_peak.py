"""The peak of AMX: products of tiles of bytes into four sums, and nothing else.

Only for processes that may use it: ``paths.counts_with_amx`` says so.
"""

from ..kernels.cpu.amx import TILE, add_byte_products, configure_tiles, release_tiles
from ..kernels.cpu.compiling import compiled
from ..kernels.cpu.simd import vector_kernel

PRODUCTS = 4 * TILE * TILE * 64  # multiply-adds of a step


@vector_kernel
def tile_products(emit, steps):
    """Four products a step; the registers hold zeros, which take as long as anything else."""

    def step(*_):
        for sums, left, right in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)):
            add_byte_products(emit, sums, left, right)
        return []

    emit.loop(steps, [], step)


@compiled
def tile_peak(steps, configuration):
    """Run so many steps; ``configuration`` is that of the kernels."""
    configure_tiles(configuration.ctypes.data)
    tile_products(steps)
    release_tiles()
