"""How long hidden-layer kernels take: a model fitted on this machine, and what it says of larger ones.

    python -m bench.cost_model

prints the fit and the extrapolation, and writes them to bench/results/cost-model-<hardware>.json.
Per neuron,

    seconds = a d + b n + c n d + e n^2

for making the weights, for what a row costs whatever its length, for the multiply-adds of the forward pass,
and for counting.  The coefficients are fitted to the relative error and cannot be negative; kernels that
were not fitted to say how far the model can be trusted.
"""

import argparse
import json
import sys
import time

import numpy as np
from scipy.optimize import nnls

from . import hardware
from .__main__ import RESULTS
from .interleave import two_cores
from .workloads import fastntk_kernel, inputs

FITTED = [(n, d) for n in (100, 400, 1500, 4000) for d in (16, 64, 256, 784)]
HELD_OUT = [(250, 32), (1797, 64), (1000, 784), (8000, 64)]
ASKED = [
    (200, 20, 10**9),
    (1797, 64, 10**8),
    (1797, 64, 10**9),
    (10_000, 784, 10**6),
    (60_000, 784, 10**6),
    (10**6, 64, 10**5),
    (10**6, 64, 10**9),
]
NAMES = ("d", "n", "n d", "n^2")
SECONDS = 2.0  # that a measurement takes, about


def terms(n, d):
    return np.array([d, n, n * d, n * n], float)


def seconds_per_neuron(n, d, seconds):
    """Measured on as many neurons as take so long; the better of two."""
    X, width = inputs(n, d), 16384
    while True:
        best = min(_seconds(X, width) for _ in range(2))
        if best > seconds / 3:
            return best / width
        width *= 4


def _seconds(X, width):
    start = time.perf_counter()
    fastntk_kernel(X, width, threads=2)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.cost_model", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test the harness; writes no file")
    quick = parser.parse_args().quick
    fitted, held_out = ([(30, 8), (60, 8), (30, 30), (60, 30)], [(40, 8)]) if quick else (FITTED, HELD_OUT)
    seconds = 0.01 if quick else SECONDS
    with two_cores():
        fastntk_kernel(inputs(50, 8), 1000, threads=2)  # compiles
        measured = {size: seconds_per_neuron(*size, seconds) for size in [*fitted, *held_out]}
    rows = np.array([terms(*size) / measured[size] for size in fitted])
    coefficients, _ = nnls(rows, np.ones(len(rows)))

    errors = {size: terms(*size) @ coefficients / measured[size] - 1 for size in measured}
    told = {f"n={n}, d={d}": 100 * errors[n, d] for n, d in errors}
    asked = {
        f"n={n}, d={d}, m={m:.0e}": terms(n, d) @ coefficients * m for n, d, m in ([] if quick else ASKED)
    }
    named = dict(zip(NAMES, coefficients, strict=True))
    print("seconds a neuron = " + " + ".join(f"{value:.3g} {name}" for name, value in named.items()))
    for name, error in told.items():
        print(f"{error:+7.1f} %  {name}")
    for name, long in asked.items():
        print(f"{long:12.4g} s  {name}")
    if not quick:
        record = {
            **hardware.describe(),
            "seconds per neuron": named,
            "error, percent": told,
            "held out": [f"n={n}, d={d}" for n, d in HELD_OUT],
            "seconds, extrapolated": asked,
        }
        path = RESULTS / f"cost-model-{hardware.slug(hardware.processor())}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
