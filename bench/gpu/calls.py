"""Whole kernels against the fastest of the plain formulations of peers.py, in turn, on one device.

Inputs are on the device and so is the result, on all sides; weights are made on the device, anew in every
call.
"""

import numpy as np

import fastntk as fn
from fastntk.benchmarks.interleave import interleave

from ..figures import Figure, speedup
from . import peers

# rows, features, neurons
PROBLEMS = ((10_000, 784, 1_000_000), (1797, 64, 10_000_000))
QUICK = ((24, 5, 300),)
PART = 1000  # rows of which a kernel of fewer neurons is compared with the processors' first
PART_WIDTH = 65_536
ROUNDS = 3
OURS = "fastntk"
LIMIT = "the forward pass in fp32 multiply-adds, which the peers' tf32 and bf16 do on tensor cores"


def require_equality(lab, X, width):
    """AssertionError where the device and the processors differ in a bit."""
    network, rows = fn.Network(min(width, PART_WIDTH), X.shape[1]), X[:PART]
    with lab.backend():
        ours = fn.ntk(rows, network=network, backend="cuda")
    if not np.array_equal(ours, fn.ntk(rows, network=network, backend="cpu")):
        raise AssertionError(f"the kernels of the device and of the processors differ for d = {X.shape[1]}")


def usable(calls, width):
    """({name: call}, {name: why not}): each tried once, on few neurons, before anything is timed."""
    kept, failed = {}, {}
    for name, call in calls.items():
        try:
            call(min(width, 4096))
            kept[name] = call
        except Exception as error:  # of another library: the others are still measured
            failed[name] = f"{type(error).__name__}: {error}"
    return kept, failed


def measure(lab, n, d, width, formulations=peers.formulations):
    """(figure, {peer: why it was left out})."""
    X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    require_equality(lab, X, width)
    on_device, network = lab.on_device(X), fn.Network(width, d)
    found, missing = formulations(X)
    found, failed = usable(found, width)
    calls = {name: (lambda call=call: call(width)) for name, call in found.items()}

    def ours():
        fn.ntk(on_device, network=network, backend="cuda")
        lab.device.synchronize()

    calls[OURS] = ours
    with lab.backend():
        seconds = interleave(calls, 1 if lab.quick else ROUNDS)
    best = min(found, key=lambda name: min(seconds[name]), default=None)
    figure = Figure(
        case=f"hidden kernel on a GPU, n={n}, d={d}, m={width} ({min(seconds[OURS]):.3g} s)",
        against=f"{best} ({min(seconds[best]):.3g} s)" if best else "nothing: seconds",
        value=speedup(seconds, OURS, best) if best else min(seconds[OURS]),
        unit="x faster" if best else "s",
        limit=LIMIT,
        seconds=seconds,
    )
    return figure, missing | failed


def run(lab, say):
    """The part "calls"."""
    figures, left_out = {}, {}
    for n, d, width in QUICK if lab.quick else PROBLEMS:
        figure, failed = measure(lab, n, d, width)
        for name, times in sorted(figure.seconds.items(), key=lambda item: min(item[1])):
            say(f"{min(times):10.4g} s  {name}, n={n}, d={d}, m={width}")
        for name, reason in failed.items():
            say(f"left out: {name}: {reason.splitlines()[0]}")
        figures[f"n={n}, d={d}, m={width}"] = figure.record()
        left_out |= failed
    return {"figures": figures, "left out": left_out}
