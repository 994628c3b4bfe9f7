"""The expected loss and its gradient: other ways of differentiating, its parts, and no mask."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.scipy.stats import norm
from hypothesis import example, given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.smoothing import expected_gradient, output_variance, variance_terms
from fastntk.smoothing.objective import regulariser_gradient

from ..formulas import U32, U
from .problems import MASKS, arrays, gradient, network, outputs, rows, targets, variances, weights_of

REGULARISERS = ("exact", "first-order", "none")

by_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
by_outputs = pytest.mark.parametrize("q", [1, 3])


def loss_terms(X, y, options):
    """{regulariser: what its gradient is that of}."""
    loss, terms = fn.expected_loss(X, y, **options), variance_terms(X, **options)
    return {
        "exact": loss.total,
        "first-order": loss.smoothed_mse + 0.5 * terms.first.sum(),
        "none": loss.smoothed_mse,
    }


# ------------------------------------------------------------------------------- finite differences
@by_outputs
@by_mask
def test_finite_differences(mask, q):
    """Along random directions: two steps, extrapolated, so that the error is of the fourth order in the step.

    A neuron of zeros is a kink (no mask moves it), and stays where it is.
    """
    X, y, (W, a) = rows(5), targets(5, q), arrays(10, outputs=q)
    moving, step = W.any(axis=1)[:, None], 1e-3
    assert not moving.all()
    found = {
        kind: expected_gradient(X, y, network=(W, a), mask=mask, regulariser=kind) for kind in REGULARISERS
    }
    for seed in range(3):
        direction = moving * np.random.default_rng(seed).standard_normal(W.shape)
        direction /= np.linalg.norm(direction)
        at = {
            h: loss_terms(X, y, {"network": (W + h * direction, a), "mask": mask})
            for h in (step, -step, 2 * step, -2 * step)
        }
        for kind, whole in found.items():
            slopes = [(at[h][kind] - at[-h][kind]) / (2 * h) for h in (step, 2 * step)]
            slope = (4 * slopes[0] - slopes[1]) / 3
            # the step to the fourth times fifth derivatives of some 1000, where deviations are some 0.2
            assert np.vdot(whole, direction) == pytest.approx(slope, rel=0, abs=1e-9), kind


@by_outputs
@by_mask
def test_smoothed_part_by_automatic_differentiation(mask, q):
    X, y, (W, a) = rows(6), targets(6, q), arrays(outputs=q)
    V, columns = variances(mask, X), np.reshape(a, (len(W), -1))

    def smoothed_mse(W):
        z, s = anp.dot(X, W.T), anp.sqrt(anp.dot(V, W.T**2))
        mean = z * norm.cdf(z / s) + s * norm.pdf(z / s)
        return 0.5 * anp.sum((anp.dot(mean, columns) / np.sqrt(len(W)) - y.reshape(6, -1)) ** 2)

    def first_order(W):
        active = norm.cdf(anp.dot(X, W.T) / anp.sqrt(anp.dot(V, W.T**2)))
        slopes = anp.einsum("ir,rc,rk->ick", active, columns, W) / np.sqrt(len(W))
        return 0.5 * anp.sum(V[:, None] * slopes**2)

    W = W[W.any(axis=1)]
    a, columns = a[: len(W)], columns[: len(W)]
    options = {"network": (W, a), "mask": mask}
    expected = autograd.grad(smoothed_mse)(W)
    found = expected_gradient(X, y, regulariser="none", **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    of_first = autograd.grad(first_order)(W)
    both = expected_gradient(X, y, regulariser="first-order", **options)
    np.testing.assert_allclose(both, expected + of_first, rtol=0, atol=1e-13 * np.abs(both).max())
    alone = regulariser_gradient(X, kind="first-order", **options)
    np.testing.assert_allclose(alone, of_first, rtol=0, atol=1e-13 * np.abs(of_first).max())


# ---------------------------------------------------------------------------------------- its parts
@by_outputs
@by_mask
def test_the_loss_is_the_sum_of_its_parts(mask, q):
    X, y = rows(6), targets(6, q)
    for kind in ("pair", "given", "virtual"):
        options = {"network": network(kind, q), "mask": mask}
        loss = fn.expected_loss(X, y, **options)
        assert loss.total == loss.smoothed_mse + loss.regulariser
        assert loss.regulariser >= 0
        np.testing.assert_array_equal(loss.outputs, fn.expected_outputs(X, **options))
        np.testing.assert_array_equal(loss.variance, output_variance(X, **options))
        assert loss.smoothed_mse == pytest.approx(0.5 * np.square(loss.outputs - y).sum(), rel=1e-14)
        assert loss.regulariser == pytest.approx(0.5 * loss.variance.sum(), rel=1e-14)
        assert loss.outputs.shape == loss.variance.shape == ((6,) if q == 1 else (6, 3))
        of_parts = expected_gradient(X, y, regulariser="none", **options) + regulariser_gradient(
            X, kind="exact", **options
        )
        whole = expected_gradient(X, y, **options)
        np.testing.assert_allclose(whole, of_parts, rtol=0, atol=1e-14 * np.abs(whole).max())


def test_class_labels_are_one_hot_targets():
    X, labels = rows(5), np.array([0, 2, 1, 2, 0])
    options = {"network": network("given", 3), "mask": MASKS["multiplicative"]}
    one_hot = np.eye(3)[labels]
    assert fn.expected_loss(X, labels, **options).total == fn.expected_loss(X, one_hot, **options).total
    np.testing.assert_array_equal(
        expected_gradient(X, labels, **options), expected_gradient(X, one_hot, **options)
    )


def test_the_regulariser_does_not_know_the_targets():
    X, options = rows(5), {"network": network("given"), "mask": MASKS["strong"]}
    losses = [fn.expected_loss(X, y, **options) for y in (np.zeros(5), targets(5), 1e3 * targets(5))]
    assert len({loss.regulariser for loss in losses}) == 1
    gradients = [
        expected_gradient(X, y, **options) - expected_gradient(X, y, regulariser="none", **options)
        for y in (np.zeros(5), targets(5))
    ]
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-13)


def test_outputs_are_regularised_one_by_one():
    """Variances of each output are those of the network that has it alone."""
    X, (W, a), mask = rows(5), arrays(outputs=3), MASKS["by feature"]
    whole = output_variance(X, network=(W, a), mask=mask)
    y = targets(5, 3)
    total = np.zeros_like(W)
    for c in range(3):
        alone = {"network": (W, a[:, c]), "mask": mask}
        np.testing.assert_allclose(whole[:, c], output_variance(X, **alone), rtol=1e-13)
        total += expected_gradient(X, y[:, c], **alone)
    found = expected_gradient(X, y, network=(W, a), mask=mask)
    np.testing.assert_allclose(found, total, rtol=0, atol=1e-13 * np.abs(total).max())


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_gradients_of_scaled_networks(regulariser):
    """By the weights themselves, not by the unscaled ones: virtual weights against the same ones given."""
    X, y, mask = rows(5), targets(5, 2), MASKS["multiplicative"]
    virtual = network("virtual", 2)
    given = expected_gradient(X, y, network=weights_of(virtual), mask=mask, regulariser=regulariser)
    found = expected_gradient(X, y, network=virtual, mask=mask, regulariser=regulariser)
    np.testing.assert_allclose(found, given, rtol=0, atol=1e-13 * np.abs(given).max())


# ------------------------------------------------------------------------------------------ no mask
@by_outputs
@pytest.mark.parametrize("mask", [None, fn.GaussianMask(0.0), fn.AdditiveMask(0.0)], ids=repr)
def test_without_noise_everything_is_clean(mask, q):
    X, y, net = rows(6), targets(6, q), network("given", q)
    options = {"network": net, "mask": mask}
    loss, clean = fn.expected_loss(X, y, **options), fn.outputs(X, network=net)
    np.testing.assert_allclose(loss.outputs, clean, rtol=0, atol=40 * U * np.abs(clean).max())
    assert loss.regulariser == 0
    assert loss.total == pytest.approx(0.5 * np.square(clean - y).sum(), rel=1e-13)
    assert not output_variance(X, **options).any()
    residuals = fn.outputs(X, network=net) - y
    expected = fn.vjp(X, residuals, network=net)
    for kind in REGULARISERS:
        found = expected_gradient(X, y, regulariser=kind, **options)
        # vjp is in float32: 260 roundings of it
        np.testing.assert_allclose(found, expected, rtol=0, atol=300 * U32 * np.abs(expected).max())
        np.testing.assert_allclose(found, gradient(X, y, net), rtol=0, atol=1e-13 * np.abs(expected).max())
    for layers in ("hidden", "output", "both"):
        K = fn.ntk(X, network=net, layers=layers)
        for Y in (None, X):
            mean = fn.expected_ntk(X, Y, layers=layers, **options)
            np.testing.assert_allclose(mean, K, rtol=0, atol=1e-13 * np.abs(K).max())


def test_weak_noise_is_nearly_none():
    """Where no preactivation is near 0, a weak mask changes nothing but by its variance."""
    X, y, net = rows(6), targets(6), network("pair")
    z = np.abs(X @ weights_of(net)[0].T)
    assert z[z > 0].min() > 1e-3
    loss = fn.expected_loss(X, y, network=net, mask=fn.AdditiveMask(1e-6))
    np.testing.assert_allclose(loss.outputs[:, None], outputs(X, net), rtol=0, atol=1e-6)
    hard = variance_terms(X, network=net, mask=fn.AdditiveMask(1e-6)).hard
    # neurons of zeros have no noise; pairs of opposite ones cancel nothing
    np.testing.assert_allclose(loss.variance, hard, rtol=1e-12)


# ----------------------------------------------------------------------------------- ragged shapes
@given(
    n=st.integers(1, 27),
    m=st.integers(1, 27),
    d=st.integers(1, 7),
    q=st.integers(1, 3),
    noise=st.sampled_from(["multiplicative", "additive"]),
    pair=st.booleans(),
    seed=st.integers(0, 99),
)
@example(n=17, m=49, d=3, q=2, noise="additive", pair=True, seed=0)
def test_any_shape(n, m, d, q, noise, pair, seed):
    """What bounds what, and a derivative along one direction."""
    X, y, (W, a), mask = rows(n, d, seed), targets(n, q, seed), arrays(m, d, q, seed), MASKS[noise]
    net = (W, a) if pair else fn.Network.from_arrays(W, a)
    loss = fn.expected_loss(X, y, network=net, mask=mask)
    terms = variance_terms(X, network=net, mask=mask)
    size = 1 + np.abs(loss.variance).max()
    assert (terms.first + terms.second <= loss.variance + 1e-12 * size).all()
    assert (loss.variance <= terms.upper + 1e-12 * size).all()
    gradients = [expected_gradient(X, y, network=net, mask=mask, regulariser=kind) for kind in REGULARISERS]
    assert all(one.shape == (m, d) and np.isfinite(one).all() for one in gradients)
    direction = W.any(axis=1)[:, None] * np.random.default_rng(seed).standard_normal((m, d))
    direction /= np.linalg.norm(direction)
    step, V = 1e-5, variances(mask, X)
    s = np.sqrt(V @ np.square(W).T)
    step *= min(1.0, s[s > 0].min())  # a weight near 0 is a neuron near a kink
    ends = [loss_terms(X, y, {"network": (W + sign * step * direction, a), "mask": mask}) for sign in (1, -1)]
    for kind, whole in zip(REGULARISERS, gradients, strict=True):
        slope = (ends[0][kind] - ends[1][kind]) / (2 * step)
        rounding = 1e-14 * (1 + abs(ends[0][kind])) * (n + m) / step
        assert abs(np.vdot(whole, direction) - slope) <= 1e-6 * (1 + abs(slope)) + rounding, kind
