"""Figures that need fresh processes: peak memory, import and compile time, the AVX2 path."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from .figures import Figure, speedup

BENCH_ROOT = Path(__file__).resolve().parent.parent

# What LLVM calls a Haswell: the first processor with AVX2 and fused multiply-add.
HASWELL = (
    "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fsgsbase,+fxsr,+invpcid,+lzcnt,+mmx,"
    "+movbe,+pclmul,+popcnt,+rdrnd,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave,+xsaveopt"
)


def child(task, environment=None, **arguments):
    """The result of a function of child.py in a fresh interpreter."""
    command = [sys.executable, "-m", "bench.child", task, json.dumps(arguments)]
    environment = os.environ | (environment or {})
    done = subprocess.run(
        command, cwd=BENCH_ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def peak_memory(quick=False):
    n, d, narrow, wide = (40, 16, 20_000, 200_000) if quick else (1797, 64, 100_000, 10_000_000)
    # The first process would carry the compiler's memory, the second not: fill the cache beforehand.
    child("peak_bytes", n=n, d=d, width=1000)
    peaks = {width: child("peak_bytes", n=n, d=d, width=width) for width in (narrow, wide)}
    return Figure(
        case=f"peak resident memory, n={n}, d={d}, m={wide:.0e} ({peaks[wide] / 2**20:.0f} MiB)",
        against=f"the same at m={narrow:.0e} ({peaks[narrow] / 2**20:.0f} MiB)",
        value=peaks[wide] / peaks[narrow],
        unit="x as much",
        at_most=1.1,
        limit="one (n, n) array of counts for each thread, and the result; nothing depends on the width",
    )


def _training_memory(n, d, quick):
    width = 4096 if quick else 65_536
    child("training_bytes", n=40, d=d, width=4096)  # fills the cache of compiled kernels
    patterns = 2 * n * width / 8
    return Figure(
        case=f"memory of training beyond the weights, n={n}, d={d}, m={width}, recording every step",
        against=f"two patterns of n m / 8 bytes ({patterns / 1e6:.0f} MB) and 64 MB",
        value=child("training_bytes", n=n, d=d, width=width) / 1e6,
        unit="MB",
        at_most=patterns / 1e6 + 64,
        limit="the pattern of the step, and that of the initial weights for the fraction of flipped bits; "
        "batches in two layouts, and sums of the outputs",
    )


def training_memory_large_inputs(quick=False):
    return _training_memory(500, 784, quick)


def training_memory_small_inputs(quick=False):
    return _training_memory(1797, 64, quick)


def avx2_path(quick=False):
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": HASWELL,
            "NUMBA_CACHE_DIR": cache,
            "FASTNTK_CPU_PATH": "avx2",
        }
        result = child("hidden_against_numpy", environment, quick=quick)
    return Figure(
        case=f"AVX2 path (process compiled for AVX2 alone): {result['case']}",
        against=result["against"] + ", free to use all instructions",
        value=speedup(result["seconds"], "fastntk", "numpy"),
        unit="x faster",
        at_least=5,
        limit="AVX2 has no vector population count: counts are looked up, a load and an addition for "
        "5 neurons and 32 columns; that is 60 % of the time, and the forward pass the rest",
        seconds=result["seconds"],
    )


def import_time(quick=False):
    runs = [child("import_seconds") for _ in range(1 if quick else 7)]
    return Figure(
        case="import fastntk",
        against="nothing: seconds, in a fresh interpreter",
        value=median(runs),
        unit="s",
        limit="the import is lazy: NumPy, Numba and the kernels are loaded by the first call",
        seconds={"import": runs},
    )


def _first_call(quick, cached):
    runs = []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as cache:
            environment = {"NUMBA_CACHE_DIR": cache}
            if cached:
                child("first_call_seconds", environment)
            runs.append(child("first_call_seconds", environment))
    return runs


def cold_compile(quick=False):
    runs = _first_call(quick, cached=False)
    return Figure(
        case="first ntk() of a process, nothing compiled before",
        against="nothing: seconds, imports included",
        value=median(runs),
        unit="s",
        limit="importing Numba, then LLVM: one thread, for one instruction set",
        seconds={"first call": runs},
    )


def cached_compile(quick=False):
    runs = _first_call(quick, cached=True)
    return Figure(
        case="first ntk() of a process, kernels in the disk cache",
        against="nothing: seconds, imports included",
        value=median(runs),
        unit="s",
        limit="importing Numba, and reading machine code from the cache",
        seconds={"first call": runs},
    )


FIGURES = (
    peak_memory,
    training_memory_large_inputs,
    training_memory_small_inputs,
    avx2_path,
    import_time,
    cold_compile,
    cached_compile,
)
