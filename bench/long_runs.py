"""Figures of long runs: kernels larger than the memory, very wide networks, checkpoints."""

import tempfile
import time
from pathlib import Path
from statistics import median

from fastntk.benchmarks.interleave import interleave_turns
from fastntk.engine.checkpoint import Checkpoint

from .figures import Figure
from .operations import fastntk_kernel, inputs
from .processes import child

LIMIT = 10**9  # bytes


def _size(quick):
    """(samples, features, neurons, memory limit) of the kernel that does not fit."""
    return (400, 16, 20_000, 12_000_000) if quick else (20_000, 64, 100_000, LIMIT)


def out_of_core_time(quick=False):
    n, d, width, limit = _size(quick)
    X = inputs(n, d)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk: /tmp may be memory

        def seconds_of(**options):
            start = time.perf_counter()
            fastntk_kernel(X, width, threads=2, **options)
            return time.perf_counter() - start

        fastntk_kernel(X[:100], 1000, threads=2)  # compiles
        turns = {
            "disk": lambda: seconds_of(out=f"{folder}/K.npy", memory_limit=limit),
            "memory": seconds_of,
        }
        seconds = interleave_turns(turns, rounds=1 if quick else 2)
    return Figure(
        case=f"kernel to disk under memory_limit={limit / 1e9:g} GB, n={n}, d={d}, m={width:.0e} "
        f"({median(seconds['disk']):.3g} s)",
        against=f"the same in memory ({median(seconds['memory']):.3g} s)",
        value=min(seconds["disk"]) / min(seconds["memory"]),
        unit="x the time",
        at_most=1.5,
        limit="rows are evaluated again in every tile that they are in; the rest is counting, and writing",
        seconds=seconds,
    )


def out_of_core_memory(quick=False):
    n, d, width, limit = _size(quick)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        child("anonymous_bytes", n=40, d=d, width=1000, limit=limit, folder=folder)  # compiles
        peak = child("anonymous_bytes", n=n, d=d, width=width, limit=limit, folder=folder)
    return Figure(
        case=f"peak anonymous memory of the process, n={n}, d={d}, m={width:.0e}, to disk",
        against=f"memory_limit={limit / 1e9:g} GB for a matrix of {8 * n * n / 1e9:.3g} GB",
        value=peak / 1e9,
        unit="GB",
        at_most=1.2,
        limit="counts of a tile for each thread; the interpreter and compiled kernels, which no limit counts",
    )


def width_is_linear(quick=False):
    n, d, narrow, wide = (40, 8, 10**5, 10**6) if quick else (200, 20, 10**7, 10**9)
    X = inputs(n, d)

    def seconds_of(width):
        start = time.perf_counter()
        fastntk_kernel(X, width, threads=2)
        return time.perf_counter() - start

    seconds_of(1000)  # compiles
    turns = {"narrow": lambda: seconds_of(narrow), "wide": lambda: seconds_of(wide)}
    seconds = interleave_turns(turns, rounds=1 if quick else 3)
    per_neuron = {name: min(seconds[name]) / width for name, width in (("narrow", narrow), ("wide", wide))}
    return Figure(
        case=f"hidden-layer NTK, n={n}, d={d}, m={wide:.0e} ({min(seconds['wide']):.3g} s, "
        f"{1e-6 / per_neuron['wide']:.3g} M neurons/s)",
        against=f"{wide // narrow} times the time of m={narrow:.0e}",
        value=per_neuron["wide"] / per_neuron["narrow"],
        unit="x as long",
        at_most=1.1,
        limit="time is linear in the width: every neuron is generated, evaluated on all rows and counted",
        seconds=seconds,
    )


def checkpoint_overhead(quick=False):
    n, d, width = (40, 8, 20_000) if quick else (2000, 20, 10**8)
    X, spent = inputs(n, d), []
    save = Checkpoint.save

    def timed(self, position, arrays, since=None):
        begun = time.monotonic() if since is None else since
        save(self, position, arrays, since)
        spent.append(time.monotonic() - begun)

    Checkpoint.save = timed
    try:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            start = time.perf_counter()
            fastntk_kernel(X, width, threads=2, checkpoint=f"{folder}/checkpoint")
            whole = time.perf_counter() - start
    finally:
        Checkpoint.save = save
    return Figure(
        case=f"time for checkpoints, n={n}, d={d}, m={width:.0e} ({len(spent)} in {whole:.3g} s)",
        against="the whole run, in which it is measured",
        value=100 * sum(spent) / whole,
        unit="%",
        at_most=2.0,
        limit="the matrix of counts is written and hashed; threads wait for the last one to end its chunk",
        seconds={"checkpoints": spent, "run": [whole]},
    )


FIGURES = (out_of_core_time, out_of_core_memory, width_is_linear, checkpoint_overhead)
