"""The variance of the outputs: all pairs by brute force, terms and bound, linear functions, sampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk import gaussian, gaussian_pairs
from fastntk.kernels import reference
from fastntk.smoothing import output_variance, sampled_variance, variance_terms
from fastntk.smoothing.variance import hard_variance

from ..formulas import U, rounded
from .problems import MASKS, arrays, correlations, network, outputs, rows, sampled, variances, weights_of

by_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def brute_force(X, net, mask):
    """(V (n, q), its Poincare bound, sum_qr |a_q a_r s_q s_r| / m) by all pairs of gaussian_pairs."""
    (W, a), V, m = weights_of(net), variances(mask, X), len(weights_of(net)[0])
    exact, upper, sizes = [], [], []
    for x, v in zip(X, V, strict=True):
        z, s = W @ x, np.sqrt(np.square(W) @ v)
        t = np.divide(z, s, out=np.zeros(m), where=s > 0)
        rho = correlations(W, v)
        covariance = np.outer(s, s) * gaussian_pairs.relu_relu(t[:, None], t, rho)
        both = np.outer(s, s) * rho * gaussian_pairs.both_active(t[:, None], t, rho)
        own = np.square(s) * gaussian.unit_variance(t), np.square(s) * gaussian.probability(z, s)
        for pairs, single, sums in zip((covariance, both), own, (exact, upper), strict=True):
            sums.append((reference.pair_variance(a, pairs) + single @ np.square(a)) / m)
        sizes.append(np.square(np.abs(a).T @ s) / m)
    return np.array(exact), np.array(upper), np.array(sizes)


# -------------------------------------------------------------------------------------- all pairs
@given(
    n=st.integers(1, 20),
    m=st.integers(1, 30),
    d=st.integers(1, 6),
    q=st.integers(1, 3),
    noise=st.sampled_from(["multiplicative", "strong", "additive"]),
    pair=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_against_a_double_sum(n, m, d, q, noise, pair, seed):
    """Good to rounding of (1/m) sum_qr |a_q a_r s_q s_r|."""
    X, (W, a), mask = rows(n, d, seed), arrays(m, d, q, seed), MASKS[noise]
    X[seed % n] = 0
    net = (W, a) if pair else fn.Network.from_arrays(W, a)
    exact, upper, sizes = brute_force(X, net, mask)
    bound = (32 + 2 * (d + 2 * m)) * U * sizes
    found = output_variance(X, network=net, mask=mask)
    assert found.shape == ((n,) if q == 1 else (n, q))
    assert (np.abs(found.reshape(n, q) - exact) <= bound).all()
    terms = variance_terms(X, network=net, mask=mask)
    assert (np.abs(terms.upper.reshape(n, q) - upper) <= bound).all()


@by_mask
def test_terms_by_their_formulas(mask):
    """first, second and hard of the docstring, by explicit sums over features."""
    X = rows(5)
    for kind, q in (("pair", 1), ("given", 3), ("virtual", 2)):
        net = network(kind, q)
        (W, a), V, m = weights_of(net), variances(mask, X), 24
        terms = variance_terms(X, network=net, mask=mask)
        for i, c in np.ndindex(5, q):
            z, s = W @ X[i], np.sqrt(np.square(W) @ V[i])
            P, D = gaussian.probability(z, s), gaussian.density(z, s)
            u = sum(a[r, c] * P[r] * W[r] for r in range(m))
            M = sum(a[r, c] * D[r] * np.outer(W[r], W[r]) for r in range(m))
            hard = sum(a[r, c] * W[r] for r in range(m) if z[r] > 0)
            found = [np.reshape(part, (5, q))[i, c] for part in (terms.first, terms.second, terms.hard)]
            expected = V[i] @ u**2 / m, (np.outer(V[i], V[i]) * M**2).sum() / 2 / m, V[i] @ hard**2 / m
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
        np.testing.assert_array_equal(terms.hard, hard_variance(X, network=net, mask=mask))


# ------------------------------------------------------------------------------------------ order
@by_mask
@pytest.mark.parametrize("q", [1, 3])
def test_terms_and_bound_in_order(mask, q):
    """0 <= first <= first + second <= V <= upper, the last three equal where f is linear."""
    for kind in ("pair", "virtual"):
        X, options = rows(30, seed=3), {"network": network(kind, q), "mask": mask}
        V, terms = output_variance(X, **options), variance_terms(X, **options)
        slack = 1e-13 * brute_force(X, options["network"], mask)[2].reshape(V.shape)
        assert (terms.first >= 0).all()
        assert (terms.second >= 0).all()
        assert (terms.first + terms.second <= V + slack).all()
        assert (terms.upper >= V - slack).all()
        assert (terms.first + terms.second < V).any()
        assert (terms.upper > V).any()


def test_weaker_masks_are_nearer_to_linear():
    """The fractions of first and first + second in V grow towards 1, that of the bound falls to it."""
    X, net = rows(8, 20, seed=5), fn.Network(60, 20, seed=2)
    fractions = []
    for kappa in (2.0, 1.0, 0.3, 0.05):
        options = {"network": net, "mask": fn.GaussianMask(kappa)}
        V, terms = output_variance(X, **options).sum(), variance_terms(X, **options)
        fractions.append(
            [terms.first.sum() / V, (terms.first + terms.second).sum() / V, terms.upper.sum() / V]
        )
    fractions = np.array(fractions)
    assert (np.diff(fractions[:, :2], axis=0) > 0).all()
    assert (np.diff(fractions[:, 2]) < 0).all()
    assert fractions[-1] == pytest.approx(1, abs=0.03)


@by_mask
def test_linear_functions_have_the_variance_of_linear_functions(mask):
    """relu(w . x) - relu(-w . x) = w . x, whatever the mask."""
    X, W = rows(9), arrays(30)[0]
    W = W[W.any(axis=1)]
    both, a = np.concatenate([W, -W]), np.random.default_rng(0).standard_normal(len(W))
    options = {"network": (both, np.concatenate([a, -a])), "mask": mask}
    expected = variances(mask, X) @ np.square(a @ W) / len(both)
    sizes = brute_force(X, options["network"], mask)[2][:, 0]
    V, terms = output_variance(X, **options), variance_terms(X, **options)
    for found in (V, terms.first, terms.hard):
        assert (np.abs(found - expected) <= 1e-13 * sizes).all()
    assert (np.abs(terms.second) <= 1e-13 * sizes).all()
    mean = fn.expected_outputs(X, **options)
    np.testing.assert_allclose(mean, outputs(X, options["network"])[:, 0], rtol=0, atol=1e-13)


def test_neurons_in_one_direction_add_up():
    """a_1 relu(w . x) + a_2 relu(2 w . x) is one neuron: correlations of exactly 1."""
    X, w = rows(6), arrays(1)[0]
    for mask in MASKS.values():
        apart = output_variance(X, network=(np.concatenate([w, 2 * w, 0.5 * w]), [1.0, -3.0, 0.7]), mask=mask)
        together = output_variance(X, network=(w, [1 - 6 + 0.35]), mask=mask) / 3
        size = output_variance(X, network=(w, [1 + 6 + 0.35]), mask=mask) / 3
        assert (np.abs(apart - together) <= 100 * U * size).all()


def test_nearly_parallel_neurons():
    """Their difference is a neuron of its own, whose variance is far below that of each: no digits beyond."""
    X, (w, other) = rows(5), arrays(2)[0]
    for gap in 10.0 ** -np.arange(1, 17):
        net = (np.stack([w, w + gap * other]), np.array([1.0, -1.0]))
        exact, _, sizes = brute_force(X, net, MASKS["additive"])
        found = output_variance(X, network=net, mask=MASKS["additive"])
        assert (np.abs(found - exact[:, 0]) <= 64 * U * sizes[:, 0]).all()


# ---------------------------------------------------------------------------------------- sampled
WIDE = fn.Network(300, 5, outputs=2, seed=4, scale=2.5)  # where a few masks do not make most of the rest


@by_mask
def test_sampled_variance_is_unbiased(mask):
    """Of 10 numbers for each of 5 masks, none beyond 4.5 standard errors."""
    X, options = rows(5, seed=2), {"network": WIDE, "mask": mask}
    expected = output_variance(X, **options)
    found = sampled_variance(X, draws=500, seed=1, **options)
    assert found.variance.shape == found.standard_error.shape == expected.shape
    assert (np.abs(found.variance - expected) <= 4.5 * found.standard_error).all()
    assert (found.variance >= variance_terms(X, **options).first * (1 - 1e-6)).all()


@pytest.mark.parametrize("q", [1, 3])
@by_mask
def test_sampled_variance_by_its_formula(mask, q):
    """The mean of what is left of f beside its linear part, draw by draw, and its standard error."""
    X, net = rows(4), network("given", q)
    (W, a), V = weights_of(net), variances(mask, X)
    z, s = X @ W.T, np.sqrt(V @ np.square(W).T)
    P, mean = gaussian.probability(z, s), gaussian.smoothed_relu(z, s) @ a / np.sqrt(24)
    slopes = np.einsum("ir,rc,rk->ick", P, a, W) / np.sqrt(24)
    rest = []
    for draw in range(7):
        masked = mask.sample(X, seed=9, draw=draw).astype(float)
        rest.append(np.square(outputs(masked, net) - mean - np.einsum("ik,ick->ic", masked - X, slopes)))
    found = sampled_variance(X, network=net, mask=mask, draws=7, seed=9)
    expected = np.einsum("ik,ick->ic", V, slopes**2) + np.mean(rest, axis=0)
    error = np.std(rest, axis=0, ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(found.variance.reshape(4, q), expected, rtol=1e-12)
    np.testing.assert_allclose(found.standard_error.reshape(4, q), error, rtol=1e-9, atol=1e-14)


def test_the_standard_error_is_below_that_of_plain_sampling():
    """By a factor of 7 in this case, so 50 times fewer draws."""
    X, net, mask = rows(5, seed=2), network("virtual"), MASKS["multiplicative"]
    sampled_error = sampled_variance(X, network=net, mask=mask, draws=1000).standard_error
    f = outputs(sampled(mask, X, 1000, np.random.default_rng(0)), net)[..., 0]
    plain_error = np.square(f - f.mean(axis=0)).std(axis=0) / np.sqrt(1000)
    assert (sampled_error < plain_error / 3).all()


def test_sampled_variance_follows_seed_and_row_ids():
    X, options = rows(6), {"network": network("given"), "mask": MASKS["strong"], "draws": 5}
    whole = sampled_variance(X, seed=3, **options)
    part = sampled_variance(X[2:5], seed=3, row_ids=[2, 3, 4], **options)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[2:5], other)
    assert (sampled_variance(X, seed=4, **options).variance != whole.variance).all()
    again = sampled_variance(X, seed=3, threads=2, **options)
    np.testing.assert_array_equal(again.variance, whole.variance)
    wide = sampled_variance(rounded(X), seed=3, **options)
    np.testing.assert_array_equal(wide.variance, whole.variance)


def test_sampled_variance_of_nothing():
    X, net = rows(3), network("given")
    for mask in (None, fn.GaussianMask(0.0)):
        found = sampled_variance(X, network=net, mask=mask, draws=2)
        np.testing.assert_allclose(found.variance, 0, atol=1e-28)
        np.testing.assert_allclose(found.standard_error, 0, atol=1e-28)
