"""What the cores in use can do at most: multiply-adds, population counts, products of tiles, memory.

Independent chains of one instruction, and nothing else; for memory, sums of arrays that no cache holds.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from time import perf_counter

import numpy as np

from ..kernels.cpu.compiling import compiled
from ..kernels.cpu.paths import chosen_path
from ..kernels.cpu.simd import f32, f64, i64, vector_kernel

CHAINS = 12  # more than latency times issue width of any current core, fewer than the registers
TRIAD_BYTES = 3 * 2**26  # of the three arrays of a thread: more than its share of a cache


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


@vector_kernel
def count_chains(emit, lanes, chains, steps, values):
    """values[c] <- values[c] + popcount(values[c] & values[chains]), 64 bits a lane."""
    vector, bytes_each = i64(lanes), 8 * lanes
    mask = emit.load(vector, values, bytes_each * chains)

    def step(_, sums):
        return [total + emit.population_count(total & mask) for total in sums]

    sums = emit.loop(steps, [emit.load(vector, values, bytes_each * c) for c in range(chains)], step)
    for c, total in enumerate(sums):
        emit.store(total, values, bytes_each * c)


@cache
def make_peak(lanes, itemsize=4):
    """The kernel peak(steps, values): values (CHAINS + 2, lanes) of float32, or float64 if itemsize is 8."""

    def peak(steps, values):
        multiply_add_chains(lanes, itemsize, CHAINS, steps, values.ctypes.data)

    return compiled(peak)


@cache
def make_count_peak(lanes):
    """The kernel peak(steps, values): values (CHAINS + 1, lanes) of int64."""

    def peak(steps, values):
        count_chains(lanes, CHAINS, steps, values.ctypes.data)

    return compiled(peak)


def operations(lanes, steps):
    """Floating-point operations of one call: a multiply-add is two."""
    return 2 * lanes * CHAINS * steps


def together(pool, calls):
    """Run the calls at once, one a thread, and wait for all."""
    for future in [pool.submit(call) for call in calls]:
        future.result()


def multiply_add_calls(cores, steps, dtype=np.float32):
    """(one call for each core, the floating-point operations of all of them)."""
    itemsize = np.dtype(dtype).itemsize
    lanes = chosen_path().lanes * 4 // itemsize
    kernel = make_peak(lanes, itemsize)
    values = [np.full((CHAINS + 2, lanes), 0.5, dtype) for _ in range(cores)]
    return [partial(kernel, steps, one) for one in values], cores * operations(lanes, steps)


def count_calls(cores, steps):
    """(one call for each core, the bits that all of them and, count and add)."""
    lanes = chosen_path().lanes // 2
    kernel = make_count_peak(lanes)
    values = [np.full((CHAINS + 1, lanes), 0x5A, np.int64) for _ in range(cores)]
    return [partial(kernel, steps, one) for one in values], cores * 64 * lanes * CHAINS * steps


def tile_calls(cores, steps, bfloat16=False):
    """(one call for each core, the multiply-adds of bytes, or of bfloat16, of all); with AMX only."""
    from ..kernels.cpu.amx import CONFIGURATION
    from .tile_peak import make_tile_peak, products_of_a_step

    kernel = make_tile_peak(bfloat16)
    calls = [partial(kernel, steps, CONFIGURATION) for _ in range(cores)]
    return calls, cores * steps * products_of_a_step(bfloat16)


def triad_calls(cores):
    """(one call for each core, the bytes read and written by all of them): a = b + c."""
    arrays = [np.ones((3, TRIAD_BYTES // 12), np.float32) for _ in range(cores)]
    return [partial(np.add, b, c, out=a) for a, b, c in arrays], cores * TRIAD_BYTES


def peak_turn(multiply_adds, cores, quick=False, dtype=np.float32):
    """A turn for ``interleave_turns``: seconds of so many multiply-adds at the peak of the cores."""
    calls, done = multiply_add_calls(cores, 10_000 if quick else 30_000_000, dtype)
    for call in calls:
        call()  # compiles

    def turn():
        with ThreadPoolExecutor(cores) as pool:
            start = perf_counter()
            together(pool, calls)
            seconds = perf_counter() - start
        return seconds * 2 * multiply_adds / done

    return turn
