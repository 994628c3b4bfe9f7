"""The fp32 multiply-add peak of the cores in use: independent chains of vector fma, nothing else."""

from functools import cache

from fastntk.kernels.cpu.compiling import compiled
from fastntk.kernels.cpu.simd import f32, vector_kernel

CHAINS = 12  # more than latency times issue width of any current core, fewer than the registers


@vector_kernel
def multiply_add_chains(emit, lanes, chains, steps, values):
    """values[c] <- values[c] * values[chains] + values[chains + 1], ``steps`` times for each chain c."""
    bytes_each = 4 * lanes
    factor, term = (emit.load(f32(lanes), values, bytes_each * (chains + i)) for i in range(2))

    def step(_, sums):
        return [emit.fma(total, factor, term) for total in sums]

    sums = emit.loop(steps, [emit.load(f32(lanes), values, bytes_each * c) for c in range(chains)], step)
    for c, total in enumerate(sums):
        emit.store(total, values, bytes_each * c)


@cache
def make_peak(lanes):
    """The kernel peak(steps, values): values ((CHAINS + 2), lanes) float32."""

    def peak(steps, values):
        multiply_add_chains(lanes, CHAINS, steps, values.ctypes.data)

    return compiled(peak)


def operations(lanes, steps):
    """Floating-point operations of one call: a multiply-add is two."""
    return 2 * lanes * CHAINS * steps
