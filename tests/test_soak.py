"""Long runs: what only shows at a thousand million neurons, or after many calls.  ``pytest -m soak``."""

import math

import numpy as np
import pytest
from scipy import stats

import fastntk as fn
from fastntk.kernels import load, reference

pytestmark = pytest.mark.soak

RNG = np.random.default_rng(0)


def test_a_thousand_million_neurons_agree_with_infinitely_many():
    """Each entry is x.x' times a mean of m indicators of probability p, so its standard error is known."""
    X, width = RNG.standard_normal((24, 4)), 10**9
    products = X @ X.T
    K, limit = fn.ntk(X, network=fn.Network(width, 4)), fn.ntk_limit(X)
    p = np.clip(limit / products, 0, 0.5)
    scores = (K - limit) / (np.abs(products) * np.sqrt(p * (1 - p) / width))
    scores = scores[np.triu_indices(24)]
    assert np.abs(scores).max() < 4.5  # 300 correlated entries; inputs are rounded to 1e-8, errors are 1e-5
    assert 0.5 < scores.std() < 2


def test_wide_sums_are_equal_for_every_number_of_threads():
    X = RNG.standard_normal((300, 64))
    network = fn.Network(10**6 + 12345, 64, seed=3)
    mask = fn.GaussianMask(0.3)
    results = [fn.ntk(X, network=network, mask=mask, layers="both", threads=threads) for threads in (1, 2, 7)]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_the_tails_of_many_normals():
    """4 10^8 normals: the numbers beyond 3, 4, 5 standard deviations and the fit of the bulk."""
    kernels, block, counts = load(), np.empty((400_000, 100), np.float32), np.zeros(202, int)
    edges = np.concatenate([[-np.inf], np.linspace(-5, 5, 201), [np.inf]])
    for start in range(0, 4_000_000, len(block)):
        ids = np.arange(start, start + len(block), dtype=np.uint64)
        kernels.random_rows(True, 77, reference.stream_word(0, 0), ids, block)
        counts += np.histogram(block, edges)[0]
    expected = np.diff(stats.norm.cdf(edges)) * counts.sum()
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4
    beyond = counts[0] + counts[-1]
    assert abs(beyond - 2 * stats.norm.sf(5) * counts.sum()) < 5 * math.sqrt(beyond)


def test_many_calls_leave_no_memory_behind():
    import psutil

    X, network, process = RNG.standard_normal((60, 20)), fn.Network(5000, 20), psutil.Process()
    for repeat in range(1500):
        fn.ntk(X, network=network, mask=fn.GaussianMask(0.2), layers="both")
        if repeat == 300:
            before = process.memory_info().rss
    assert process.memory_info().rss < before + 20e6
