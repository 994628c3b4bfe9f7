"""Zero, huge, tiny, denormal and opposite rows and neurons, and masks of any strength."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk import gaussian, gaussian_pairs
from fastntk.smoothing import expected_gradient, mean_features, output_variance, variance_terms

from ..adversarial import problems
from ..formulas import U
from ..samples import some
from .problems import MASKS, arrays, correlations, rows, targets, variances

ROWS = np.array(
    [
        [0, 0, 0],
        [1, -2, 3],
        [-1, 2, -3],
        [1e30, -1e30, 1e-30],
        [1e-30, 2e-30, -1e-30],
        [3e-45, -1e-45, 1e-40],
        [3e38, 3e38, -3e38],
        [1e38, 1e-38, 0],
        [0, 0, 5],
    ],
    np.float32,
).astype(float)
NEURONS = np.concatenate([arrays(9, 3)[0], ROWS * [1e-3, 2e-3, 1e-3], 1e20 * arrays(4, 3)[0]])


# ----------------------------------------------------------------------------- plain formulas
def one_by_one(X, V, W):
    """(z, s, P, D) of all rows and neurons, (n, m) each."""
    z, s = X @ W.T, np.sqrt(V @ np.square(W).T)
    return z, s, gaussian.probability(z, s), gaussian.density(z, s)


def kernels_by_hand(X, V, W, a):
    """(hidden, output) of rows of independent masks, and their diagonals for one mask."""
    z, s, P, D = one_by_one(X, V, W)
    features = P[..., None] * X[:, None] + D[..., None] * (V[:, None] * W)
    relu = gaussian.smoothed_relu(z, s)
    hidden = np.einsum("irk,jrk,r->ij", features, features, a**2) / len(W)
    output = relu @ relu.T / len(W)
    mixed, fourth = (X * V) @ W.T, np.square(V) @ np.square(W).T
    ratio, fourth = (np.divide(part, s, out=np.zeros_like(z), where=s > 0) for part in (z, fourth))
    squares = (np.square(X).sum(axis=1) + V.sum(axis=1))[:, None] * P + (2 * mixed - ratio * fourth) * D
    second = gaussian.second_moment(z, s)
    return hidden, output, squares @ a**2 / len(W), second.sum(axis=1) / len(W)


def gradient_by_hand(X, V, W, a, y):
    """sum_i of (a_r / sqrt m) (m^{-1/2} sum_q a_q E[relu_q 1_r x~] - y E[1_r x~]), and its magnitude."""
    m, total, size = len(W), np.zeros_like(W), np.zeros_like(W)
    for x, v, target in zip(X, V, y, strict=True):
        z, s, P, D = (part[0] for part in one_by_one(x[None], v[None], W))
        t = np.divide(z, s, out=np.zeros(m), where=s > 0)
        rho, spread = correlations(W, v), np.outer(s > 0, s > 0)
        R, inverse = gaussian.smoothed_relu(z, s), np.divide(1, s, out=np.zeros(m), where=s > 0)
        pair = t[:, None], t[None, :], rho
        active = np.where(spread, s[:, None] * gaussian_pairs.relu_active(*pair), 0) + np.outer(R, P)
        both = np.where(spread, gaussian_pairs.both_active(*pair), np.outer(P, P))
        density = np.where(spread, np.outer(s, inverse) * gaussian_pairs.relu_density(*pair), 0) + np.outer(
            R, D
        )
        own = np.diag_indices(m)
        active[own], both[own], density[own] = R, P, 0  # relu 1 = relu, and relu delta = 0
        left = a @ active / np.sqrt(m) - target * P
        along = a @ density / np.sqrt(m) - target * D
        weights = (a[:, None] * both).T @ W / np.sqrt(m)
        total += left[:, None] * x + v * (weights + along[:, None] * W)
        a_, W_ = np.abs(a), np.abs(W)
        left = a_ @ np.abs(active) / np.sqrt(m) + abs(target) * P
        along = a_ @ np.abs(density) / np.sqrt(m) + abs(target) * D
        size += left[:, None] * np.abs(x) + v * (
            (a_[:, None] * both).T @ W_ / np.sqrt(m) + along[:, None] * W_
        )
        # mean outputs are good to rounding of |W| |a| |x~|, s_q Cov(relu_q, 1_r) to that of s_q
        scale = np.linalg.norm(W) * np.linalg.norm(a) * np.sqrt(x @ x + v.sum()) / np.sqrt(m)
        size += scale * (P[:, None] * np.abs(x) + v * D[:, None] * W_)
        size += (a_ @ s / np.sqrt(m)) * (np.abs(x) + v * W_ * inverse[:, None])
    scale = a[:, None] / np.sqrt(m)
    return scale * total, np.abs(scale) * size


def assert_near(found, expected, bound):
    assert np.isfinite(found).all()
    excess = np.abs(found - expected) - bound
    assert (excess <= 0).all(), (excess.max(), found.flat[excess.argmax()], expected.flat[excess.argmax()])


@given(
    problem=problems(), kappa=st.sampled_from([0.3, 1.0, 2.0]), pair=st.booleans(), seed=st.integers(0, 99)
)
def test_awkward_inputs_under_multiplicative_masks(problem, kappa, pair, seed):
    """Under these t <= sqrt(d) / kappa, and its rounding moves nothing by more than d^{3/2} U / kappa."""
    X, W = (array.astype(float) for array in problem)
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(len(W)) * rng.choice([1.0, 1e-12, 1e15])
    net = (W, a) if pair else fn.Network.from_arrays(W, a)
    options, (m, d) = {"network": net, "mask": fn.GaussianMask(kappa)}, W.shape
    V = np.square(kappa * X)
    _, s, _, _ = one_by_one(X, V, W)
    roundings = (8 * d**1.5 / kappa + 6 * m + 200) * U
    lengths = np.sqrt(np.square(X).sum(axis=1) + V.sum(axis=1))
    norms = np.linalg.norm(W)

    hidden, output, diagonal, second = kernels_by_hand(X, V, W, a)
    off = ~np.eye(len(X), dtype=bool)
    found = fn.expected_ntk(X, **options)
    sizes = np.outer(lengths, lengths) * (a @ a) / m
    assert_near(found[off], hidden[off], roundings * sizes[off])
    assert_near(np.diag(found), diagonal, roundings * np.diag(sizes))
    assert_near(fn.expected_ntk(X, X, **options), hidden, roundings * sizes)
    sizes = np.outer(lengths, lengths) * norms**2 / m
    found = fn.expected_ntk(X, layers="output", **options)
    assert_near(found[off], output[off], roundings * sizes[off])
    assert_near(np.diag(found), second, roundings * np.diag(sizes))

    mean = gaussian.smoothed_relu(X @ W.T, s) @ a / np.sqrt(m)
    assert_near(
        fn.expected_outputs(X, **options), mean, roundings * lengths * norms * np.linalg.norm(a) / np.sqrt(m)
    )
    variance, terms = output_variance(X, **options), variance_terms(X, **options)
    slack = roundings * np.square(s @ np.abs(a)) / m
    assert np.isfinite(variance).all()
    assert (terms.first + terms.second <= variance + slack).all()
    assert (variance <= terms.upper + slack).all()


@given(problem=problems(), kappa=st.sampled_from([0.5, 1.5]), seed=st.integers(0, 99))
def test_gradients_of_awkward_inputs(problem, kappa, seed):
    X, W = (array.astype(float) for array in problem)
    X, W = X[:5], W[:14]
    rng = np.random.default_rng(seed)
    a, y = rng.standard_normal(len(W)), rng.standard_normal(len(X))
    expected, size = gradient_by_hand(X, np.square(kappa * X), W, a, y)
    found = expected_gradient(X, y, network=(W, a), mask=fn.GaussianMask(kappa))
    assert_near(found, expected, (20 * W.shape[1] ** 1.5 / kappa + 10 * len(W) + 400) * U * size)


# ------------------------------------------------------------------------- scales and symmetries
@pytest.mark.parametrize("power", some([-90, -40, 40, 90], -90, 40))
def test_powers_of_two_scale_exactly(power):
    """Rows and deviations: whatever is linear or quadratic in them keeps its digits; so do the weights."""
    X, (W, a), scale = rows(9, 3), arrays(20, 3), 2.0**power
    y = targets(9)
    for mask, scaled in (
        (fn.GaussianMask(0.7), fn.GaussianMask(0.7)),
        (fn.AdditiveMask(0.25), fn.AdditiveMask(0.25 * scale)),
    ):
        options, by_rows = ({"network": (W, a), "mask": one} for one in (mask, scaled))
        by_weights = {"network": (scale * W, a), "mask": mask}
        for function, degree in ((fn.expected_outputs, 1), (output_variance, 2)):
            expected = scale**degree * function(X, **options)
            np.testing.assert_array_equal(function(scale * X, **by_rows), expected)
            np.testing.assert_array_equal(function(X, **by_weights), expected)
        for layers in ("hidden", "output", "both"):
            K = fn.expected_ntk(X, layers=layers, **options)
            np.testing.assert_array_equal(fn.expected_ntk(scale * X, layers=layers, **by_rows), scale**2 * K)
        np.testing.assert_array_equal(fn.expected_ntk(X, **by_weights), fn.expected_ntk(X, **options))
        gradient = expected_gradient(X, y, **options)
        np.testing.assert_array_equal(expected_gradient(scale * X, scale * y, **by_rows), scale**2 * gradient)
        np.testing.assert_array_equal(expected_gradient(X, scale * y, **by_weights), scale * gradient)


@pytest.mark.parametrize("mask", [fn.GaussianMask(0.6), fn.AdditiveMask(0.4), None], ids=repr)
def test_opposite_rows(mask):
    """f(x) - f(-x) is linear, under the same mask: means differ by it, and E relu^2 add up to E h^2."""
    X, (W, a) = rows(5), arrays(20)
    options = {"network": (W, a), "mask": mask}
    both = np.concatenate([X, -X])
    mean = fn.expected_outputs(both, **options)
    np.testing.assert_allclose(mean[:5] - mean[5:], X @ (W.T @ a) / np.sqrt(20), rtol=0, atol=1e-13)
    K = np.diag(fn.expected_ntk(both, layers="output", **options))
    z, s, _, _ = one_by_one(X, variances(mask, X), W)
    np.testing.assert_allclose(K[:5] + K[5:], (z**2 + s**2).mean(axis=1), rtol=1e-13)


def test_zero_rows():
    """No mask moves them but noise that is added, under which they see the noise alone."""
    X, (W, a), tau = np.zeros((3, 5)), arrays(20), 0.5
    for mask in (None, MASKS["strong"]):
        options = {"network": (W, a), "mask": mask}
        assert not fn.expected_ntk(X, layers="both", **options).any()
        assert not fn.expected_outputs(X, **options).any()
        assert not output_variance(X, **options).any()
        assert not mean_features(X, **options).any()
        assert not expected_gradient(X, targets(3), **options).any()
    options = {"network": (W, a), "mask": fn.AdditiveMask(tau)}
    norms = np.linalg.norm(W, axis=1)
    mean = tau * norms @ a / np.sqrt(2 * np.pi) / np.sqrt(20)
    np.testing.assert_allclose(fn.expected_outputs(X, **options), mean, rtol=1e-13)
    K = fn.expected_ntk(X, layers="both", **options)
    hidden, output = (a[norms > 0] ** 2).sum() / 20, (norms**2).mean()
    # E |x~|^2 1{h > 0} = 5 tau^2 / 2, E relu^2 = s^2 / 2; and off the diagonal squares of means
    np.testing.assert_allclose(np.diag(K), tau**2 * (2.5 * hidden + output / 2), rtol=1e-13)
    np.testing.assert_allclose(K[0, 1], tau**2 * (hidden + output) / (2 * np.pi), rtol=1e-13)


def test_rows_of_every_size_beside_each_other():
    """An entry does not know the size of other rows."""
    X, W = ROWS, NEURONS
    a = np.random.default_rng(0).standard_normal(len(W))
    options = {"network": (W, a), "mask": fn.GaussianMask(0.5)}
    K, V = fn.expected_ntk(X, layers="both", **options), output_variance(X, **options)
    G = expected_gradient(X, np.zeros(len(X)), **options)
    assert all(np.isfinite(values).all() for values in (K, V, G))
    np.testing.assert_array_equal(K, K.T)
    assert not K[0].any()
    for i, j in np.ndindex(len(X), len(X)):
        if i != j:
            pair = fn.expected_ntk(X[[i, j]], layers="both", **options)
            np.testing.assert_array_equal(pair, K[np.ix_([i, j], [i, j])])
    for i, x in enumerate(X):
        np.testing.assert_array_equal(
            fn.expected_outputs(x[None], **options), fn.expected_outputs(X, **options)[[i]]
        )
        np.testing.assert_allclose(output_variance(x[None], **options), V[[i]], rtol=1e-13)
    alone = np.array([expected_gradient(x[None], [0.0], **options) for x in X])
    np.testing.assert_allclose(G, alone.sum(axis=0), rtol=0, atol=1e-12 * np.abs(alone).sum(axis=0).max())


# -------------------------------------------------------------------------- masks of any strength
@pytest.mark.parametrize("strength", [1e-300, 1e-100, 1e-30, 1e-10])
@pytest.mark.parametrize("mask", [fn.GaussianMask, fn.AdditiveMask])
def test_masks_that_change_next_to_nothing(mask, strength):
    """No preactivation is near 0, so that all means are the clean ones, and no pattern changes."""
    X, (W, a), y = rows(6), arrays(20), targets(6)
    assert (np.abs(X @ W.T)[:, W.any(axis=1)] > 1e-3).all()
    weak, clean = ({"network": (W, a), "mask": one} for one in (mask(strength), None))
    for layers in ("hidden", "output"):
        np.testing.assert_allclose(
            fn.expected_ntk(X, layers=layers, **weak),
            fn.expected_ntk(X, layers=layers, **clean),
            rtol=0,
            atol=1e-9 * strength + 1e-12,
        )
    np.testing.assert_allclose(fn.expected_outputs(X, **weak), fn.expected_outputs(X, **clean), atol=1e-13)
    found, hard = output_variance(X, **weak), variance_terms(X, **weak).hard
    np.testing.assert_allclose(found, hard, rtol=1e-12, atol=1e-12 * strength**2)
    for regulariser in ("exact", "first-order", "none"):
        np.testing.assert_allclose(
            expected_gradient(X, y, regulariser=regulariser, **weak),
            expected_gradient(X, y, regulariser=regulariser, **clean),
            rtol=0,
            atol=1e-12 + 100 * strength**2,
        )


@pytest.mark.parametrize("tau", [1e-150, 1e-155, 1e-160])
def test_noise_whose_ratios_have_no_square(tau):
    """z / s up to 1e160: their products overflow, and the variance is that of two active neurons."""
    options = {"network": ([[1.0], [2.0], [-1.0]], [1.0, 1.0, 1.0]), "mask": fn.AdditiveMask(tau)}
    np.testing.assert_allclose(output_variance([[1.0]], **options), [3 * tau**2], rtol=1e-12, atol=1e-322)
    assert np.isfinite(expected_gradient([[1.0]], [0.0], **options)).all()
    np.testing.assert_allclose(fn.expected_ntk([[1.0]], layers="both", **options), [[7 / 3]], rtol=1e-12)


@pytest.mark.parametrize(("sign", "active"), [(1, 1), (-1, 0)])
def test_the_largest_rows_and_weights(sign, active):
    """z sum v^2 w^2 is beyond float64; with t = sqrt(d) / kappa = 38 the neuron is always or never active."""
    x, kappa = np.full((1, 129), 3.4e38), 0.3
    options = {"network": (sign * x, [1.0]), "mask": fn.GaussianMask(kappa)}
    expected = active * (1 + kappa**2) * np.vdot(x, x)
    np.testing.assert_allclose(fn.expected_ntk(x, **options), [[expected]], rtol=1e-12, atol=1e60)


def test_ratios_whose_product_is_below_the_smallest_float():
    """t = 1e-200 is 0 for every purpose."""
    options = {"network": ([[1.0], [2.0]], [1.0, 1.0]), "mask": fn.AdditiveMask(1.0)}
    at_zero = output_variance([[0.0]], **options)
    for x in (1e-200, -1e-200):
        np.testing.assert_allclose(output_variance([[x]], **options), at_zero, rtol=1e-13)
        np.testing.assert_allclose(
            expected_gradient([[x]], [0.0], **options),
            expected_gradient([[0.0]], [0.0], **options),
            rtol=1e-13,
        )
        terms = variance_terms([[x]], **options)
        np.testing.assert_allclose(terms.upper, variance_terms([[0.0]], **options).upper, rtol=1e-13)


@pytest.mark.parametrize("kappa", [1e3, 1e6])
def test_overwhelming_masks(kappa):
    """t is 0 but for 1 / kappa: each neuron is active half of the time, and s times its density is all."""
    X, (W, a) = rows(4), arrays(20)
    options = {"network": (W, a), "mask": fn.GaussianMask(kappa)}
    s = kappa * np.sqrt(np.square(X) @ np.square(W).T)
    mean = s @ a / np.sqrt(2 * np.pi) / np.sqrt(20)
    np.testing.assert_allclose(
        fn.expected_outputs(X, **options), mean, rtol=0, atol=3 * np.abs(s).max() / kappa * 20
    )
    variance, terms = output_variance(X, **options), variance_terms(X, **options)
    assert (terms.first + terms.second <= variance).all()
    assert (variance <= terms.upper).all()
    zero = fn.AdditiveMask(1.0)
    for i, x in enumerate(X):  # the variance of the noise alone, in units of kappa x
        noise = output_variance(np.zeros((1, 5)), network=(W * x, a), mask=zero)
        np.testing.assert_allclose(variance[i] / kappa**2, noise[0], rtol=20 / kappa)
