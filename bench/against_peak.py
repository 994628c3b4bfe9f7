"""Figures: single compiled kernels against the machine's peak, against NumKong, and against themselves."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numkong
import numpy as np

from fastntk.benchmarks import numpy_methods, peaks
from fastntk.benchmarks.interleave import interleave
from fastntk.benchmarks.peaks import together
from fastntk.benchmarks.single_kernels import CHUNK, count_calls, forward_calls, random_patterns
from fastntk.kernels import load

from .cores import CORES
from .figures import Figure, speedup
from .operations import inputs


def _forward_against_peak(n, d, chunks, at_least, limit, quick):
    if load().forwards_with_amx:
        at_least = 150
        limit = "three products of bfloat16 by AMX for one of float32; then generating the weights"
    if quick:
        n, chunks = 40, 1
    peak_calls, peak_operations = peaks.multiply_add_calls(CORES, 10_000 if quick else 100_000_000)
    pattern_calls = forward_calls(load().forward("float32"), inputs(n, d), chunks, CORES)
    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            "forward": partial(together, pool, pattern_calls),
            "peak": partial(together, pool, peak_calls),
        }
        seconds = interleave(calls, rounds=1 if quick else 7)
    rates = {
        "forward": 2 * n * d * chunks * CHUNK * CORES / min(seconds["forward"]),
        "peak": peak_operations / min(seconds["peak"]),
    }
    return Figure(
        case=f"forward to bits alone, n={n}, d={d} ({rates['forward'] / 1e9:.0f} GFLOP/s)",
        against=f"fp32 multiply-add peak ({rates['peak'] / 1e9:.0f} GFLOP/s)",
        value=100 * rates["forward"] / rates["peak"],
        unit="% of peak",
        at_least=at_least,
        limit=limit,
        seconds=seconds,
    )


def forward_small_inputs(quick=False):
    limit = "generating the weights, and one store of bits and one bound check for only 64 features"
    return _forward_against_peak(1797, 64, 8, 70, limit, quick)


def forward_large_inputs(quick=False):
    limit = "fp32 multiply-adds; the rest is generating the weights"
    return _forward_against_peak(1000, 784, 2, 80, limit, quick)


def _certification(n, d, chunks, quick):
    """What exact signs cost the pass that the machine takes, and with AMX in words that of multiply-adds."""
    if quick:
        n, chunks = 40, 1
    X, kernels = inputs(n, d), load()
    passes = {name: kernels.make_forward("float32", name == "exact") for name in ("exact", "unchecked")}
    if kernels.forwards_with_amx:
        passes = {name: forward.many for name, forward in passes.items()} | {
            f"{name} by multiply-adds": forward.few for name, forward in passes.items()
        }
    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            name: partial(together, pool, forward_calls(forward, X, chunks, CORES))
            for name, forward in passes.items()
        }
        seconds = interleave(calls, rounds=1 if quick else 9)
    case = f"certified bits, n={n}, d={d}"
    if kernels.forwards_with_amx:
        slower = 100 * (speedup(seconds, "unchecked by multiply-adds", "exact by multiply-adds") - 1)
        longer = speedup(seconds, "exact", "exact by multiply-adds")
        case += f" (multiply-adds in place of AMX: {slower:.1f} % slower, {longer:.1f} x the time)"
    return Figure(
        case=case,
        against="the same kernel, signs of the sums unchecked",
        value=100 * (speedup(seconds, "unchecked", "exact") - 1),
        unit="% slower",
        at_most=5,
        limit="norms of the weights, a smallest magnitude a tile, float64 for the undecided",
        seconds=seconds,
    )


def certification_20_features(quick=False):
    return _certification(1797, 20, 16, quick)


def certification_small_inputs(quick=False):
    return _certification(1797, 64, 8, quick)


def certification_256_features(quick=False):
    return _certification(1000, 256, 4, quick)


def certification_large_inputs(quick=False):
    return _certification(1000, 784, 2, quick)


def certification_3072_features(quick=False):
    return _certification(1000, 3072, 1, quick)


def _repeated(call, times):
    for _ in range(times):
        call()


def coactivation(quick=False):
    # 65536 neurons a call: of 2^14 to 2^18 the number at which NumKong counts fastest.
    n, chunks, repeats = (80, 2, 1) if quick else (1797, 4, 8)
    kernels = load()
    patterns = random_patterns(kernels, n, chunks)
    calls, counts = count_calls(kernels, kernels.coactivation, n, patterns, CORES, repeats)
    joined = np.ascontiguousarray(np.concatenate([bits[:n] for bits in patterns], axis=1))
    gram = numkong.zeros((n, n), dtype="uint32")
    numkong_calls = [
        partial(_repeated, call, repeats) for call in numpy_methods.count_calls(joined, gram, CORES)
    ]
    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            "fastntk": partial(together, pool, calls),
            "numkong": partial(together, pool, numkong_calls),
        }
        seconds = interleave(calls, rounds=1 if quick else 9)
    if not np.array_equal(np.triu(sum(counts)[:n, :n]), np.triu(np.asarray(gram))):
        raise AssertionError("fastntk and NumKong count differently")
    rate = n * n * chunks * CHUNK * repeats / min(seconds["fastntk"])
    limits = {
        False: "one and, one population count and one add for 512 bits, all from L1 and L2",
        True: "products of tiles, a quarter slower with vector work beside them, and counts from L2 and back",
    }
    return Figure(
        case=f"coactivation alone, n={n}, m={chunks * CHUNK} ({rate / 1e12:.1f} T multiply-adds/s)",
        against=f"NumKong dots_symmetric, uint1, {CORES} threads, equal halves of the triangle",
        value=speedup(seconds, "fastntk", "numkong"),
        unit="x faster",
        at_least=1.7 if kernels.counts_with_amx else 1.15,
        limit=limits[kernels.counts_with_amx],
        seconds=seconds,
    )


FIGURES = (
    forward_small_inputs,
    forward_large_inputs,
    certification_20_features,
    certification_small_inputs,
    certification_256_features,
    certification_large_inputs,
    certification_3072_features,
    coactivation,
)
