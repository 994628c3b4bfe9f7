"""The multiply-add peak of the cores in use: independent chains of vector fma, nothing else."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from time import perf_counter

import numpy as np

from fastntk.kernels.cpu.compiling import compiled
from fastntk.kernels.cpu.paths import chosen_path
from fastntk.kernels.cpu.simd import f32, f64, vector_kernel

from .interleave import CORES

CHAINS = 12  # more than latency times issue width of any current core, fewer than the registers


@vector_kernel
def multiply_add_chains(emit, lanes, itemsize, chains, steps, values):
    """values[c] <- values[c] * values[chains] + values[chains + 1], ``steps`` times for each chain c."""
    vector, bytes_each = (f32 if itemsize == 4 else f64)(lanes), itemsize * lanes
    factor, term = (emit.load(vector, values, bytes_each * (chains + i)) for i in range(2))

    def step(_, sums):
        return [emit.fma(total, factor, term) for total in sums]

    sums = emit.loop(steps, [emit.load(vector, values, bytes_each * c) for c in range(chains)], step)
    for c, total in enumerate(sums):
        emit.store(total, values, bytes_each * c)


@cache
def make_peak(lanes, itemsize=4):
    """The kernel peak(steps, values): values (CHAINS + 2, lanes) of float32, or float64 if itemsize is 8."""

    def peak(steps, values):
        multiply_add_chains(lanes, itemsize, CHAINS, steps, values.ctypes.data)

    return compiled(peak)


def operations(lanes, steps):
    """Floating-point operations of one call: a multiply-add is two."""
    return 2 * lanes * CHAINS * steps


def peak_turn(multiply_adds, quick=False, dtype=np.float32):
    """A turn for ``interleave_turns``: seconds of so many multiply-adds at the peak of the cores."""
    itemsize = np.dtype(dtype).itemsize
    lanes = chosen_path().lanes * 4 // itemsize
    steps = 10_000 if quick else 30_000_000
    kernel = make_peak(lanes, itemsize)
    values = [np.full((CHAINS + 2, lanes), 0.5, dtype) for _ in range(CORES)]
    for one in values:
        kernel(1, one)  # compiles

    def turn():
        with ThreadPoolExecutor(CORES) as pool:
            start = perf_counter()
            for done in [pool.submit(kernel, steps, one) for one in values]:
                done.result()
            seconds = perf_counter() - start
        return seconds * 2 * multiply_adds / (CORES * operations(lanes, steps))

    return turn
