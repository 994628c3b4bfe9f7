"""Figures: products of the kernel with a vector, without the matrix, against forming it."""

from time import perf_counter

import numpy as np

import fastntk as fn
from fastntk.benchmarks.interleave import interleave_turns

from .cores import CORES
from .figures import Figure, speedup
from .operations import inputs


def product_against_forming(quick=False):
    n, d, width, rounds = (300, 16, 20_000, 1) if quick else (20_000, 64, 100_000, 2)
    X, v = inputs(n, d), np.random.default_rng(1).standard_normal(n)
    network = fn.Network(width=width, dim=d)

    def form(X):
        return fn.ntk(X, network=network, threads=CORES)

    def product(X, v):
        return fn.ntk_operator(X, network=network, threads=CORES, form="matrix-free") @ v

    few = slice(0, 300)  # compiles both, and checks that they agree
    np.testing.assert_allclose(product(X[few], v[few]), form(X[few]) @ v[few], rtol=1e-9, atol=1e-9)

    def turn(call, *arguments):
        def timed():
            start = perf_counter()
            call(*arguments)
            return perf_counter() - start

        return timed

    seconds = interleave_turns({"product": turn(product, X, v), "forming": turn(form, X)}, rounds)
    ours, theirs = min(seconds["product"]), min(seconds["forming"])
    return Figure(
        case=f"matrix-free product with a vector, n={n}, d={d}, m={width:.0e} ({ours:.3g} s)",
        against=f"forming the matrix with ntk() ({theirs:.3g} s, {8e-9 * n * n:.2g} GB)",
        value=speedup(seconds, "product", "forming"),
        unit="x faster",
        limit="the forward pass in fp32, then two table look-ups in float64: each a load and an addition for "
        "four samples or neurons; the matrix pays for itself after about that many products, where it fits",
        seconds=seconds,
    )


FIGURES = (product_against_forming,)
