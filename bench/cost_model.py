"""How long hidden-layer kernels take: a model fitted on this machine, and what it says of larger ones.

    python -m bench.cost_model

prints the fit and the extrapolation, and writes them to bench/results/cost-model-<hardware>.json.

    seconds = m (a d + b n + c n d + e n^2) + f n^2

for making the weights, for what a row costs whatever its length, for the multiply-adds of the forward pass,
for counting; and, once, for the matrix: its memory, the sums of the threads, the scaling.  The coefficients
are fitted to the relative error and cannot be negative; kernels that were not fitted to say how far the
model can be trusted.
"""

import argparse
import json
import sys
import time

import numpy as np
from scipy.optimize import nnls

from . import machine
from .__main__ import RESULTS
from .cores import two_cores
from .operations import fastntk_kernel, inputs

FITTED = [(n, d) for n in (100, 400, 1500, 4000, 8000) for d in (16, 64, 256, 784)]
HELD_OUT = [(250, 32), (1797, 64), (1000, 784), (12_000, 128)]
ASKED = [
    (200, 20, 10**9),
    (1797, 64, 10**8),
    (1797, 64, 10**9),
    (10_000, 784, 10**6),
    (60_000, 784, 10**6),
    (10**6, 64, 10**5),
    (10**6, 64, 10**9),
]
NAMES = ("m d", "m n", "m n d", "m n^2", "n^2")
SECONDS = 2.0  # that a measurement takes, about


def terms(n, d, m):
    return np.array([m * d, m * n, m * n * d, m * n * n, n * n], float)


def measure(n, d, seconds):
    """``[((n, d, m), seconds)]`` for a width that takes so long and a quarter of it, the better of two."""
    X, width, measured = inputs(n, d), 4096, []
    while not measured or measured[-1][1] < seconds:
        width *= 4
        measured.append(((n, d, width), min(_seconds(X, width) for _ in range(2))))
    return measured[-2:]


def _name(n, d, m):
    return f"n={n}, d={d}, m={m:.2g}"


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
        seen = {sizes: measure(*sizes, seconds) for sizes in [*fitted, *held_out]}
    rows = [terms(*size) / took for sizes in fitted for size, took in seen[sizes]]
    coefficients, _ = nnls(np.array(rows), np.ones(len(rows)))

    errors = {
        _name(*size): 100 * (terms(*size) @ coefficients / took - 1)
        for sizes in seen
        for size, took in seen[sizes]
    }
    asked = {_name(*size): terms(*size) @ coefficients for size in ([] if quick else ASKED)}
    named = dict(zip(NAMES, coefficients, strict=True))
    print("seconds = " + " + ".join(f"{value:.3g} {name}" for name, value in named.items()))
    for name, error in errors.items():
        print(f"{error:+7.1f} %  {name}")
    for name, long in asked.items():
        print(f"{long:12.4g} s  {name}")
    if not quick:
        record = {
            **machine.describe(),
            "seconds": named,
            "error, percent": errors,
            "held out": [f"n={n}, d={d}" for n, d in HELD_OUT],
            "seconds, extrapolated": asked,
        }
        path = RESULTS / f"cost-model-{machine.name()}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
