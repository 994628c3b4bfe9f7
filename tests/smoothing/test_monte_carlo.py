"""Closed forms against means over many masks, drawn and added up by NumPy alone.

There are some 10 000 numbers in all.  Were they normal and independent, the largest |z| would be above 4.5 in
7 of 100 such families; with these seeds it is 4.2, and 0.93 on average.
"""

import numpy as np
import pytest

import fastntk as fn
from fastntk.smoothing import expected_gradient, mean_features, output_variance, pattern_probability

from .problems import (
    MASKS,
    gradient,
    kernels,
    network,
    outputs,
    rows,
    sampled,
    targets,
    weights_of,
)

DRAWS = 20_000
X, Y = rows(4), rows(3, seed=1)
LARGEST_Z = 4.5
NETWORKS = [("given", 1), ("given", 3), ("virtual", 2), ("pair", 1)]
X[3] = 0

by_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
by_network = pytest.mark.parametrize(
    "net", [network(*one) for one in NETWORKS], ids=[f"{kind}, {q} outputs" for kind, q in NETWORKS]
)


def assert_mean(samples, expected):
    """``expected`` is the mean of the distribution of the samples, along the first axis."""
    error = samples.mean(axis=0) - expected
    # what does not vary: rows of zeros under a multiplicative mask, up to rounding
    standard_error = samples.std(axis=0) / np.sqrt(len(samples)) + 1e-14 * (1 + np.abs(expected))
    assert samples.shape[1:] == np.shape(expected)
    assert (np.abs(error) <= LARGEST_Z * standard_error).all(), np.abs(error / standard_error).max()


def masks_of(mask, seed, Z=X):
    return sampled(mask, Z, DRAWS, np.random.default_rng(seed))


@by_network
@by_mask
def test_expected_ntk(mask, net):
    same, other, columns = masks_of(mask, 1), masks_of(mask, 2), masks_of(mask, 3, Y)
    weak = fn.AdditiveMask(0.2)
    cases = [
        ((X,), mask, kernels(same, same, net)),  # a row and itself share their mask
        ((X, X), mask, kernels(same, other, net)),
        ((X, Y), mask, kernels(same, columns, net)),
        ((X,), (None, mask), kernels(X, same, net)),
        ((X,), (mask, None), kernels(same, X, net)),
        ((X, Y), (weak, mask), kernels(masks_of(weak, 4), columns, net)),
    ]
    for sides, masks, samples in cases:
        for layers, sample in samples.items():
            assert_mean(sample, fn.expected_ntk(*sides, network=net, mask=masks, layers=layers))


@by_network
@by_mask
def test_outputs_variance_loss_and_gradient(mask, net):
    masked, q = masks_of(mask, 5), weights_of(net)[1].shape[1]
    y, f = targets(4, q), outputs(masked, net)
    shape = (4,) if q == 1 else (4, q)
    options = {"network": net, "mask": mask}

    mean, variance = fn.expected_outputs(X, **options), output_variance(X, **options)
    assert_mean(f.reshape(-1, *shape), mean)
    assert_mean(np.square(f.reshape(-1, *shape) - mean), variance)
    loss = fn.expected_loss(X, y, **options)
    assert_mean(0.5 * np.square(f - y.reshape(4, -1)).sum(axis=(1, 2)), loss.total)
    assert loss.smoothed_mse == pytest.approx(0.5 * np.square(mean - y).sum(), rel=1e-13)
    assert loss.regulariser == pytest.approx(0.5 * variance.sum(), rel=1e-13)
    assert_mean(gradient(masked, y, net), expected_gradient(X, y, **options))


@by_network
@by_mask
def test_patterns_and_features(mask, net):
    """Of some bits the means are 1e-9 from 0 or 1: they are weighted with random numbers and added."""
    masked, (W, _) = masks_of(mask, 6), weights_of(net)
    bits = (masked @ W.T > 0).astype(float)
    weights = np.random.default_rng(7).standard_normal((len(W), 8))
    assert_mean(bits @ weights, pattern_probability(X, network=net, mask=mask) @ weights)
    features = mean_features(X, network=net, mask=mask)
    assert_mean(masked[:, :, None] * (bits @ weights)[..., None], np.einsum("irk,rp->ipk", features, weights))


def test_the_proxy_mean_squared_error_leaves_what_depends_on_the_targets():
    """No regulariser above 0 is left: the paper's decomposition holds with the mean, not with the proxy."""
    net, mask = network("given"), MASKS["strong"]
    options = {"network": net, "mask": mask}
    proxy = fn.expected_outputs(X, proxy=True, **options)
    left = []
    for y in (np.zeros(4), 10 * np.ones(4), -10 * np.ones(4)):
        loss = fn.expected_loss(X, y, **options)
        left.append(loss.total - 0.5 * np.square(proxy - y).sum())
        mean = loss.outputs
        expected = loss.regulariser + 0.5 * ((mean - proxy) * (mean + proxy - 2 * y)).sum()
        assert left[-1] == pytest.approx(expected, rel=1e-10)
    assert min(left) < 0 < max(left)
