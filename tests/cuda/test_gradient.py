"""Gradient products of a device, within the bounds of docs/mathematics.md, section 6."""

import numpy as np
import pytest

from fastntk.kernels import reference
from fastntk.kernels.cuda import forward, gradient, sums

U = 2.0**-24
TILE = sums.TILE


def packed(device, P, rows=None, words=None):
    """A pattern on the device, with more words than it needs."""
    rows = rows or -(-len(P) // 128) * 128
    bits = np.zeros((rows, 32 * (words or -(-P.shape[1] // 128) * 4)), bool)
    bits[: len(P), : P.shape[1]] = P
    return device.upload(np.packbits(bits, axis=1, bitorder="little").view(np.uint32))


def hidden_gradient(device, P, a, u, X, factors, first_word=0):
    """((m, d) gradient, the largest magnitude); the pattern's neurons begin at a word."""
    count, dim = len(a), X.shape[1]
    rows = gradient.weighted_rows(device, X, u)
    by_output = np.zeros((a.shape[1], -(-count // 128) * 128), np.float32)
    by_output[:, :count] = a.T
    out = device.upload(np.full((count, dim), np.nan, np.float32))
    largest = device.zeros(1, np.uint32)
    bits = packed(
        device,
        np.hstack([np.ones((len(P), 32 * first_word), bool), P]),
        words=first_word + by_output.shape[1] // 32,
    )
    gradient.hidden_gradient(
        device, bits, first_word, rows, device.upload(by_output), device.upload(factors), out, largest
    )
    return device.download(out), device.download(largest).view(np.float32)[0]


@pytest.mark.parametrize(
    ("n", "m", "d", "q"), [(1, 1, 1, 1), (17, 130, 65, 1), (300, 5, 3, 2), (33, 20, 70, 5)]
)
def test_hidden_gradient(device, n, m, d, q):
    rng = np.random.default_rng(n)
    P, X = rng.random((n, m)) < 0.5, rng.standard_normal((n, d)).astype(np.float32)
    a, u, factors = rng.standard_normal((m, q)), rng.uniform(-1, 1, (n, q)), rng.standard_normal(m)
    a = a.astype(np.float32).astype(float)
    out, largest = hidden_gradient(device, P, a, u, X, factors, first_word=n % 3 * 4)
    expected = factors[:, None] * reference.hidden_gradient(P, a, u, X)
    magnitude = np.abs(factors)[:, None] * ((np.abs(a) @ np.abs(u).T) @ np.abs(X))
    assert (np.abs(out - expected) <= (260 + q) * U * magnitude + U * np.abs(expected)).all()
    assert largest == np.abs(out).max()


@pytest.mark.parametrize("n", [255, 256, 257, 600])
def test_chains_end_after_256_samples(device, n):
    """1 and then 2^-25: a quarter of an ulp of 1, which the chain that begins with the 1 loses."""
    X = np.full((n, 2), 2.0**-25, np.float32)
    X[0] = 1
    out, _ = hidden_gradient(device, np.ones((n, 3), bool), np.ones((3, 1)), np.ones((n, 1)), X, np.ones(3))
    np.testing.assert_array_equal(out, np.float32(1 + max(n - 256, 0) * 2.0**-25))


def test_magnitudes_of_any_size(device):
    """Columns and samples of any size beside each other; 0 stays 0, and what is beyond fp32 is reported."""
    rng = np.random.default_rng(1)
    X = np.ldexp(rng.standard_normal((20, 9)), rng.integers(-120, 100, 9)).astype(np.float32)
    X[:, 4] = 0
    u = np.ldexp(rng.uniform(-1, 1, (20, 2)), rng.integers(-80, 1, (20, 1)))
    u[3] = 0
    P, a = rng.random((20, 6)) < 0.7, rng.standard_normal((6, 2)).astype(np.float32).astype(float)
    out, largest = hidden_gradient(device, P, a, u, X, np.ones(6))
    expected = reference.hidden_gradient(P, a, u, X)
    # beyond the bound of the sums: what the scaling of whole columns leaves below 2^-126
    magnitude = (np.abs(a) @ np.abs(u).T) @ np.abs(X)
    lost = 2.0**-120 * np.abs(a).max() * np.abs(X).max(axis=0) + 2.0**-149
    assert (np.abs(out - expected) <= 262 * U * magnitude + U * np.abs(expected) + lost).all()
    assert not out[:, 4].any()
    assert np.isfinite(largest)
    _, largest = hidden_gradient(device, P, a, u, X, np.full(6, 1e60))
    assert largest == np.inf


def test_output_gradient(device):
    """sum_i u_ic relu(h_ri): the features are the left operand, and the sum runs over the samples."""
    rng = np.random.default_rng(2)
    X, u = rng.standard_normal((50, 7)).astype(np.float32), rng.standard_normal((50, 2))
    W = reference.normals(3, np.arange(40), 7, 0)
    scratch = forward.forward_scratch(device, 50, 7, 128)
    forward.fill_panel(device, scratch, None, 3, 0, 0, 40, 7, 128)
    H = device.empty((1, TILE, 128), np.float64)
    features = sums.feature_panel(device, X)
    sums.rectified(device, features.reshape(1, *features.shape), scratch.panel[:7], H)
    by_sample = np.zeros((1, TILE, 2))
    by_sample[0, :50] = u
    partial = device.zeros((1, 2, 128), np.float64)
    sums.weighted_sum(device, H, device.upload(by_sample), partial)
    result = device.download(partial)[0, :, :40].T
    h = reference.preactivation(X, W)
    magnitude = np.abs(u).T @ (np.abs(X).astype(float) @ np.abs(W).T.astype(float))
    tolerance = (7 + 51) * 2.0**-53 * magnitude.T  # chains over features, then over samples
    assert (np.abs(result - reference.output_gradient(h, u)) <= tolerance).all()


def test_hidden_tangent(device):
    """sum_r a_rc b_ri v_r . x~_i in float64, two chunks of 100 neurons in blocks of 64."""
    rng = np.random.default_rng(4)
    n, m, d, q, chunk = 20, 170, 5, 2, 100
    P, X = rng.random((n, m)) < 0.5, rng.standard_normal((n, d)).astype(np.float32)
    V, a = rng.standard_normal((m, d)).astype(np.float32), rng.standard_normal((m, q))
    bits, features = packed(device, P), sums.feature_panel(device, X)
    partial = device.zeros((2, q, TILE), np.float64)
    directions = np.zeros((2, 128, d), np.float32)
    weights = np.zeros((2, 128, q))
    for z, count in enumerate((chunk, m - chunk)):
        directions[z, :count], weights[z, :count] = V[z * chunk :][:count], a[z * chunk :][:count]
    for start in (0, 64):
        block = slice(start, start + 64)
        panels = device.upload(directions[:, block].transpose(0, 2, 1))
        H = device.empty((2, 64, TILE), np.float64)
        gradient.masked_product(device, panels, features, bits, chunk, start, H)
        sums.weighted_sum(device, H, device.upload(weights[:, block]), partial)
    result = device.download(partial).sum(axis=0)[:, :n].T
    magnitude = (np.abs(X).astype(float) @ np.abs(V).T) @ np.abs(a)
    tolerance = (d + m + 3) * 2.0**-53 * magnitude
    assert (np.abs(result - reference.hidden_tangent(P, a, V, X)) <= tolerance).all()
