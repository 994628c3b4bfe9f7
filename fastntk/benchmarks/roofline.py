"""How near single kernels come to what the cores can do: a roofline of this run."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

import fastntk as fn

from ..kernels import load
from ..kernels.cpu.coactivation import make_coactivation
from ..kernels.cpu.layout_amx import products_of
from ..kernels.cpu.paths import chosen_path
from . import numpy_methods, peaks
from .interleave import interleave
from .peaks import together
from .problem import Problem
from .single_kernels import CHUNK, count_calls, forward_calls, random_patterns

# Beside d multiply-adds a product with the pattern costs d / 4 look-ups, each a load and an addition.
LOOKUPS = 1.25
PEAKS = {  # name: (label, unit)
    "fp32": ("fp32 multiply-adds", "flop/s"),
    "memory": ("memory, a = b + c", "B/s"),
    "popcount": ("and, population count, add", "bit/s"),
    "amx": ("AMX products of bytes", "MAC/s"),
    "amx bfloat16": ("AMX products of bfloat16", "flop/s"),
}
TILE_PRODUCTS = products_of(2)  # of bfloat16, for one of float32


@dataclass(frozen=True)
class KernelRate:
    """One kernel beside the peak that limits it.

    Attributes
    ----------
    label, against : str
        Its name, and a key of PEAKS.
    rate : float
        Operations a second, in the unit of that peak.
    intensity : float
        Operations for each byte that must come from, or go to, memory.
    seconds : list of float
    """

    label: str
    against: str
    rate: float
    intensity: float
    seconds: list


@dataclass(frozen=True)
class Roofline:
    """Peaks (a name of PEAKS: its rate) and kernels of one interleaved run."""

    peaks: dict
    kernels: list


@dataclass(frozen=True)
class _Timed:
    label: str
    against: str
    call: object
    work: float
    bytes_moved: float


def measure_roofline(threads, rounds, steps=1.0, with_numkong=True):
    """Time peaks and kernels in turn.

    Parameters
    ----------
    threads, rounds : int
    steps : float
        Over the usual length of a call, about 0.1 s.
    with_numkong : bool
        Count with NumKong beside the kernels that count.

    Returns
    -------
    Roofline
    """
    with ThreadPoolExecutor(threads) as pool:
        ceilings = _ceilings(pool, threads, steps)
        timed = [
            *_forward(pool, threads, steps),
            *_counts(pool, threads, steps, with_numkong),
            *_products(threads, steps),
        ]
        calls = {name: call for name, (call, _) in ceilings.items()}
        calls |= {kernel.label: kernel.call for kernel in timed}
        seconds = interleave(calls, rounds)
    return Roofline(
        peaks={name: work / min(seconds[name]) for name, (_, work) in ceilings.items()},
        kernels=[
            KernelRate(
                label=kernel.label,
                against=kernel.against,
                rate=kernel.work / min(seconds[kernel.label]),
                intensity=kernel.work / kernel.bytes_moved,
                seconds=seconds[kernel.label],
            )
            for kernel in timed
        ],
    )


def _ceilings(pool, threads, steps):
    """{name: (call, work)} of the peaks that this processor has."""
    made = {
        "fp32": peaks.multiply_add_calls(threads, round(2e7 * steps)),
        "memory": peaks.triad_calls(threads),
        "popcount": peaks.count_calls(threads, round(2e7 * steps)),
    }
    if load().counts_with_amx:
        made["amx"] = peaks.tile_calls(threads, round(3e6 * steps))
    if load().forwards_with_amx:
        calls, products = peaks.tile_calls(threads, round(3e6 * steps), bfloat16=True)
        made["amx bfloat16"] = calls, 2 * products
    return {name: (partial(together, pool, calls), work) for name, (calls, work) in made.items()}


def _forward(pool, threads, steps):
    forward = load().forward("float32")
    ways = {"": ("fp32", 1, forward)}
    if load().forwards_with_amx:
        ways = {"": ("fp32", 1, forward.few), ", by AMX": ("amx bfloat16", TILE_PRODUCTS, forward.many)}
    for n, d, chunks in ((1797, 64, 4), (1000, 784, 1)):
        rows, m = max(1, round(n * min(steps, 1))), CHUNK * chunks * threads
        X = Problem(rows, d, CHUNK, threads).X
        for way, (against, products, kernel) in ways.items():
            yield _Timed(
                f"forward to bits, d={d}{way}",
                against,
                partial(together, pool, forward_calls(kernel, X, chunks, threads)),
                2.0 * rows * d * m * products,
                rows * m / 8 + 4 * rows * d,
            )


def forward_of_peak(roofline):
    """The fp32 multiply-adds that the fastest forward pass stands for, as a share of their peak."""
    return max(
        kernel.rate / (1 if kernel.against == "fp32" else TILE_PRODUCTS) / roofline.peaks["fp32"]
        for kernel in roofline.kernels
        if kernel.label.startswith("forward")
    )


def _counts(pool, threads, steps, with_numkong):
    """Counts of one set of patterns, the upper triangle."""
    kernels, n, chunks = load(), max(400, round(1797 * min(steps, 1))), 2 * threads
    patterns = random_patterns(kernels, n, chunks)
    work, moved = n * (n + 1) / 2 * chunks * CHUNK, n * chunks * CHUNK / 8 + 4.0 * n * n
    ways = {"counts, by population count": ("popcount", make_coactivation(chosen_path()))}
    if kernels.counts_with_amx:
        ways["counts, by AMX"] = ("amx", kernels.coactivation)
    found = {}
    for label, (against, coactivation) in ways.items():
        calls, found[label] = count_calls(kernels, coactivation, n, patterns, threads, 1)
        yield _Timed(label, against, partial(together, pool, calls), work, moved)
    if with_numkong:
        import numkong

        bits = np.ascontiguousarray(np.concatenate([pattern[:n] for pattern in patterns], axis=1))
        out = numkong.zeros((n, n), dtype="uint32")
        calls = numpy_methods.count_calls(bits, out, threads)
        yield _Timed("counts, by NumKong", "popcount", partial(together, pool, calls), work, moved)


def _products(threads, steps):
    """Products with the Jacobian of given weights, and NumPy's product of matrices."""
    n, d, m = 500, 256, max(8192, round(65_536 * min(steps, 1)))
    problem = Problem(n, d, m, threads)
    X, (W, a) = problem.X, problem.weights()
    network, out = fn.Network.from_arrays(W, a), np.empty_like(W)
    u, flops = X[:, 0].copy(), 2.0 * n * d * m
    vjp = partial(fn.vjp, X, u, network=network, out=out, threads=threads)
    jvp = partial(fn.jvp, X, W, network=network, threads=threads)
    yield _Timed(f"vjp, d={d}", "fp32", vjp, LOOKUPS * flops, 8.0 * m * d)
    yield _Timed(f"jvp, d={d}", "fp32", jvp, LOOKUPS * flops, 8.0 * m * d)
    products = np.empty((n, m), np.float32)
    matmul = partial(np.matmul, X, W.T, out=products)
    yield _Timed(f"NumPy's product of X and W, d={d}", "fp32", matmul, flops, 4.0 * m * (n + d))
