"""Figures: whole kernels against NumPy, weights generated on both sides, and thread scaling."""

from functools import partial

from fastntk.benchmarks.interleave import interleave
from fastntk.benchmarks.problem import BLOCK
from fastntk.kernels import load

from .cores import CORES
from .figures import Figure, speedup
from .numpy_jobs import numpy_both, numpy_hidden
from .operations import fastntk_kernel, inputs

NUMPY = f"NumPy, blocks of {BLOCK} float32 weights, threaded BLAS"


def _against_numpy(n, d, width, layers, peer, at_least, limit, quick, dtype="float32"):
    if quick:
        n, width = 40, 2 * BLOCK
    X = inputs(n, d)
    calls = {
        "fastntk": partial(fastntk_kernel, X, width, layers, dtype, threads=CORES),
        "numpy": partial(peer, X, width),
    }
    seconds = interleave(calls, rounds=1 if quick else 5)
    what = "both layers" if layers == "both" else "hidden-layer NTK"
    weights = "" if dtype == "float32" else f" of {dtype} weights"
    return Figure(
        case=f"{what}{weights}, n={n}, d={d}, m={width:.0e}",
        against=NUMPY,
        value=speedup(seconds, "fastntk", "numpy"),
        unit="x faster",
        at_least=at_least,
        limit=limit,
        seconds=seconds,
    )


def hidden_small_inputs(quick=False):
    limit = (
        "forward pass (three products of bfloat16 for one of float32) and counts (products of bytes)"
        if load().forwards_with_amx
        else "forward pass (fp32 multiply-adds) and counts (population counts), about half each"
    )
    return _against_numpy(1797, 64, 1_000_000, "hidden", numpy_hidden, 12, limit, quick)


def hidden_large_inputs(quick=False):
    limit = "forward pass: fp32 multiply-adds, near the machine's peak on both sides"
    if load().forwards_with_amx:
        limit = "forward pass: three products of bfloat16 for one of float32, at about half their peak"
    return _against_numpy(1000, 784, 200_000, "hidden", numpy_hidden, 3.7, limit, quick)


def _bfloat16(n, d, width, at_least, quick):
    with_amx = load().forwards_with_amx
    limit = "coactivation counts, then tile products" if with_amx else "no AMX here: as with float32 weights"
    target = at_least if with_amx else None
    return _against_numpy(n, d, width, "hidden", numpy_hidden, target, limit, quick, "bfloat16")


def bfloat16_small_inputs(quick=False):
    return _bfloat16(1797, 64, 1_000_000, 20, quick)


def bfloat16_large_inputs(quick=False):
    return _bfloat16(1000, 784, 200_000, 10, quick)


def both_layers(quick=False):
    limits = {
        False: "second-layer Gram: multiply-adds in float64, half the float32 rate, over one triangle",
        True: "second-layer Gram: 21 products of bytes for one to 1e-12, half to two thirds of the AMX peak",
    }
    sliced = load().slices is not None
    return _against_numpy(
        1797, 64, 100_000, "both", numpy_both, 2.2 if sliced else 1.5, limits[sliced], quick
    )


def thread_scaling(quick=False):
    n, d, width = (40, 64, 65_536) if quick else (1797, 64, 262_144)
    X = inputs(n, d)
    calls = {f"{k} threads": partial(fastntk_kernel, X, width, threads=k) for k in (1, CORES)}
    seconds = interleave(calls, rounds=1 if quick else 5)
    return Figure(
        case=f"hidden-layer NTK on {CORES} threads, n={n}, d={d}, m={width:.0e}",
        against="the same on one thread",
        value=speedup(seconds, f"{CORES} threads", "1 threads"),
        unit="x faster",
        limit="shared cache and memory, and the clock rate with both cores busy",
        seconds=seconds,
    )


FIGURES = (
    hidden_small_inputs,
    hidden_large_inputs,
    bfloat16_small_inputs,
    bfloat16_large_inputs,
    both_layers,
    thread_scaling,
)
