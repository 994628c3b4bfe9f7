"""Figures: closed forms under Gaussian masks, against the machine's peak and against SciPy."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from fastntk.benchmarks.interleave import interleave, interleave_turns, repeated
from fastntk.benchmarks.peaks import peak_turn

from .cores import CORES
from .figures import Figure, speedup
from .numpy_jobs import scipy_variance
from .operations import expected_gradient, expected_kernel, expected_loss, inputs


def expected_kernel_against_peak(quick=False):
    n, d, width = (40, 20, 2048) if quick else (500, 20, 100_000)
    turns = {
        "fastntk": repeated(partial(expected_kernel, inputs(n, d), width), 1),
        "peak": peak_turn(n * (n + 1) // 2 * d * width, CORES, quick, np.float64),
    }
    seconds = interleave_turns(turns, rounds=1 if quick else 3)
    return Figure(
        case=f"expected kernel, n={n}, d={d}, m={width} ({min(seconds['fastntk']):.2f} s)",
        against="its n (n + 1) / 2 d m multiply-adds at the float64 peak",
        value=speedup(seconds, "peak", "fastntk"),
        unit="x as long",
        at_most=2,
        limit="BLAS at 80 to 90 % of the peak, over blocks that cover somewhat more than the triangle; and a "
        "normal distribution and density for each neuron and row",
        seconds=seconds,
    )


def expected_loss_of_all_pairs(quick=False):
    n, d, width = (10, 20, 100) if quick else (500, 20, 1000)
    seconds = interleave({"fastntk": partial(expected_loss, inputs(n, d), width)}, rounds=1 if quick else 3)
    return Figure(
        case=f"exact expected loss, n={n}, d={d}, m={width}: {n * width * (width + 1) // 2:.2g} pairs",
        against="nothing: seconds",
        value=min(seconds["fastntk"]),
        unit="s",
        at_most=60,
        limit="Horner's rule for the series in the correlation, and a product of weights for it, in float64",
        seconds=seconds,
    )


def expected_loss_against_scipy(quick=False):
    n, d, width = (4, 20, 100) if quick else (20, 20, 1000)
    X = inputs(n, d)

    def scipy():
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(partial(scipy_variance, width=width), np.split(X, n)))

    calls = {"fastntk": partial(expected_loss, X, width), "scipy": scipy}
    seconds = interleave(calls, rounds=1 if quick else 3)
    return Figure(
        case=f"exact expected loss, n={n}, d={d}, m={width}",
        against=f"the closed form of a pair in SciPy, all pairs of a row at once, rows on {CORES} threads",
        value=speedup(seconds, "fastntk", "scipy"),
        unit="x faster",
        limit="as above; SciPy evaluates Owen's T function twice for a pair",
        seconds=seconds,
    )


def expected_gradient_of_all_pairs(quick=False):
    n, d, width = (10, 20, 50) if quick else (500, 20, 100)
    calls = {"fastntk": partial(expected_gradient, inputs(n, d), width)}
    seconds = interleave(calls, rounds=1 if quick else 5)
    return Figure(
        case=f"exact gradient of the expected loss, n={n}, d={d}, m={width}: a step of mode expected",
        against="nothing: seconds",
        value=min(seconds["fastntk"]),
        unit="s",
        limit="two series for each pair and one multiply-add a feature, in float64",
        seconds=seconds,
    )


FIGURES = (
    expected_kernel_against_peak,
    expected_loss_of_all_pairs,
    expected_loss_against_scipy,
    expected_gradient_of_all_pairs,
)
