"""Figures: gradient products of given weights against NumPy."""

from functools import partial

import numpy as np

import fastntk as fn
from fastntk.benchmarks.interleave import interleave_turns, repeated
from fastntk.benchmarks.peaks import peak_turn

from .cores import CORES
from .figures import Figure
from .operations import inputs

BLOCKS = (512, 2048, 8192)  # neurons at a time


def numpy_vjp(X, u, W, a, out, block, by_sample):
    """out_r = a_r sum_i b_ri u_i x_i, the pattern made into float32 for the product with u_i x_i."""
    weighted = u[:, np.newaxis] * X
    for start in range(0, len(W), block):
        rows = slice(start, start + block)
        active = active_neurons(X, W[rows], by_sample)
        np.matmul(active, weighted, out=out[rows])
        out[rows] *= a[rows, np.newaxis]
    return out


def numpy_jvp(X, V, W, a, block, by_sample):
    """sum_r a_r b_ri v_r . x_i: first the sum over the neurons, (n, d), then the product with x_i."""
    sums = np.zeros_like(X)
    for start in range(0, len(W), block):
        rows = slice(start, start + block)
        active = active_neurons(X, W[rows], by_sample)
        sums += active.T @ (a[rows, np.newaxis] * V[rows])
    return np.einsum("ij,ij->i", sums, X)


def active_neurons(X, W, by_sample):
    """The pattern (neurons, n) as float32, with the samples of a neuron side by side or the other way."""
    active = (X @ W.T).T if by_sample else W @ X.T
    return np.greater(active, 0, out=active)


def formulations(call):
    """Name to the partially applied call, over block sizes and memory orders."""
    return {
        f"blocks of {block}, {layout}": partial(call, block=block, by_sample=layout == "by sample")
        for block in BLOCKS
        for layout in ("by neuron", "by sample")
    }


def _gradient_product(product, n, d, at_least, quick):
    width, times, rounds = 65_536, 2, 5
    if quick:
        n, width, times, rounds = 40, max(BLOCKS), 1, 1
    rng = np.random.default_rng(2)
    X, u = inputs(n, d), rng.standard_normal(n, dtype=np.float32)
    W, V = (rng.standard_normal((width, d), dtype=np.float32) for _ in range(2))
    a = rng.choice([-1.0, 1.0], width)
    network = fn.Network.from_arrays(W, a)
    a = (a / np.sqrt(width)).astype(np.float32)
    out = np.empty_like(W)
    if product == "vjp":
        ours = partial(fn.vjp, X, u, network=network, out=out, threads=CORES)
        peers = formulations(partial(numpy_vjp, X, u, W, a, np.empty_like(W)))
    else:
        ours = partial(fn.jvp, X, V, network=network, threads=CORES)
        peers = formulations(partial(numpy_jvp, X, V, W, a))
    check_same(ours, peers)

    turns = {name: repeated(call, times) for name, call in ({"fastntk": ours} | peers).items()}
    turns["peak"] = peak_turn(2 * n * d * width, CORES, quick)
    seconds = interleave_turns(turns, rounds)

    best = min(peers, key=lambda name: min(seconds[name]))
    ours, theirs, products = (min(seconds[name]) for name in ("fastntk", best, "peak"))
    needed = products * 1.25 / 2  # d multiply-adds, then d / 4 look-ups: each a load and an addition
    return Figure(
        case=f"{product} of given weights, n={n}, d={d}, m={width} ({1e3 * ours:.3g} ms)",
        against=f"NumPy, float32, threaded BLAS, the fastest of {len(peers)} formulations ({best})",
        value=theirs / ours,
        unit="x faster",
        at_least=at_least,
        limit="forward multiply-adds, two thirds of the time, then look-ups; at the fp32 peak, they take "
        f"{100 * needed / ours:.0f} % of it (NumPy's products {100 * products / theirs:.0f} % of its own)",
        seconds=seconds,
    )


def check_same(ours, peers):
    """All products agree, up to preactivations that round to the other side of 0."""
    expected = np.array(ours(), np.float64)
    for name, call in peers.items():
        error = np.linalg.norm(call() - expected) / np.linalg.norm(expected)
        if not error < 0.01:
            raise AssertionError(f"fastntk and NumPy ({name}) differ by {error:.2g}")


def vjp_small_inputs(quick=False):
    return _gradient_product("vjp", 1797, 64, 1.5, quick)


def jvp_small_inputs(quick=False):
    return _gradient_product("jvp", 1797, 64, 1.5, quick)


def vjp_large_inputs(quick=False):
    return _gradient_product("vjp", 500, 784, None, quick)


def jvp_large_inputs(quick=False):
    return _gradient_product("jvp", 500, 784, None, quick)


FIGURES = (vjp_small_inputs, jvp_small_inputs, vjp_large_inputs, jvp_large_inputs)
