"""Figures: single compiled kernels against the machine's peak, against NumKong, and against themselves."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numkong
import numpy as np

from fastntk.benchmarks.interleave import interleave
from fastntk.kernels import load
from fastntk.kernels.cpu.forward import make_pattern
from fastntk.kernels.cpu.layout import aligned, pattern_inputs, pattern_scratch, round_up
from fastntk.kernels.cpu.paths import chosen_path
from fastntk.kernels.reference import WEIGHT_STREAM, stream_word

from . import peak
from .cores import CORES
from .figures import Figure, speedup
from .workloads import inputs

CHUNK = 16384  # neurons at a time in a thread, as in the engine
SEED = 0


def together(pool, calls):
    """Run the calls at once, one a thread, and wait for all."""
    for future in [pool.submit(call) for call in calls]:
        future.result()


def forward_calls(X, chunks, checked):
    """One call a thread: patterns of ``chunks`` chunks of neurons, generated, multiplied, packed."""
    path = chosen_path()
    kernel = make_pattern(path, checked)
    packed = pattern_inputs(X, path)
    given = np.empty((0, X.shape[1]), np.float32)  # no given weights: the virtual ones

    def run(first, scratch, bits):
        for chunk in range(chunks):
            start = first + chunk * CHUNK
            kernel(packed, given, SEED, stream_word(WEIGHT_STREAM, 0), start, CHUNK, scratch, bits)

    rows = round_up(len(X), path.forward_rows)
    return [
        partial(
            run,
            thread * chunks * CHUNK,
            pattern_scratch(X.shape[1], path),
            aligned((rows, CHUNK // 8), np.uint8, fill=0),
        )
        for thread in range(CORES)
    ]


def _forward_against_peak(n, d, chunks, at_least, limit, quick):
    if quick:
        n, chunks = 40, 1
    path = chosen_path()
    steps = 10_000 if quick else 100_000_000
    values = [np.full((peak.CHAINS + 2, path.lanes), 0.5, np.float32) for _ in range(CORES)]
    peak_calls = [partial(peak.make_peak(path.lanes), steps, one) for one in values]
    pattern_calls = forward_calls(inputs(n, d), chunks, checked=True)
    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            "forward": partial(together, pool, pattern_calls),
            "peak": partial(together, pool, peak_calls),
        }
        seconds = interleave(calls, rounds=1 if quick else 7)
    rates = {
        "forward": 2 * n * d * chunks * CHUNK * CORES / min(seconds["forward"]),
        "peak": peak.operations(path.lanes, steps) * CORES / min(seconds["peak"]),
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
    if quick:
        n, chunks = 40, 1
    X = inputs(n, d)
    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            name: partial(together, pool, forward_calls(X, chunks, checked))
            for name, checked in (("exact", True), ("unchecked", False))
        }
        seconds = interleave(calls, rounds=1 if quick else 9)
    return Figure(
        case=f"certified bits, n={n}, d={d}",
        against="the same kernel, signs of the fp32 sums unchecked",
        value=100 * (speedup(seconds, "unchecked", "exact") - 1),
        unit="% slower",
        at_most=10,
        limit="norms of the weights, a smallest magnitude and a compare a tile, float64 for the undecided",
        seconds=seconds,
    )


def certification_small_inputs(quick=False):
    return _certification(1797, 64, 8, quick)


def certification_large_inputs(quick=False):
    return _certification(1000, 784, 2, quick)


def coactivation(quick=False):
    # 65536 neurons a call: of 2^14 to 2^18 the number at which NumKong counts fastest.
    n, chunks, repeats = (80, 2, 1) if quick else (1797, 4, 8)
    kernels, rng = load(), np.random.default_rng(0)
    kernel = kernels.coactivation
    patterns = [aligned(kernels.bits_shape(n, CHUNK), np.uint8, fill=0) for _ in range(chunks)]
    for bits in patterns:
        bits[:n] = rng.integers(0, 256, (n, CHUNK // 8), np.uint8)
    counts = [aligned(kernels.counts_shape(n, n), np.int32, fill=0) for _ in range(CORES)]

    def count(thread):
        for _ in range(repeats):
            counts[thread][:] = 0
            for bits in patterns[thread::CORES]:
                kernel(bits, bits, CHUNK, True, counts[thread])

    joined = np.ascontiguousarray(np.concatenate([bits[:n] for bits in patterns], axis=1))
    gram = numkong.zeros((n, n), dtype="uint32")
    middle = round(n * (1 - 0.5**0.5))  # the rows above and below fill equal halves of the triangle

    def numkong_rows(start, stop):
        for _ in range(repeats):
            numkong.dots_symmetric(joined, dtype="uint1", out=gram, start_row=start, end_row=stop)

    with ThreadPoolExecutor(CORES) as pool:
        calls = {
            "fastntk": partial(together, pool, [partial(count, thread) for thread in range(CORES)]),
            "numkong": partial(
                together, pool, [partial(numkong_rows, 0, middle), partial(numkong_rows, middle, n)]
            ),
        }
        seconds = interleave(calls, rounds=1 if quick else 9)
    if not np.array_equal(np.triu(sum(counts)[:n, :n]), np.triu(np.asarray(gram))):
        raise AssertionError("fastntk and NumKong count differently")
    rate = n * n * chunks * CHUNK * repeats / min(seconds["fastntk"])
    limits = {
        False: "one and, one population count and one add for 512 bits, all from L1 and L2",
        True: "tiles of the right operand from L2: four loads for four products of 16384 multiply-adds each",
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
    certification_small_inputs,
    certification_large_inputs,
    coactivation,
)
