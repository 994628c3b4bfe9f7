"""The part on the ReLU under a mask: closed forms from integrals, and simulations made again."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import fastntk as fn
from fastntk.study import smoothing_study
from fastntk.study.parts.problems import teacher_problem
from fastntk.study.parts.smoothing import PART

from .. import exact_gaussian
from .plain import assert_column, assert_shown, body

SEED, KAPPAS, NEURONS, DRAWS, ROWS = 3, (0.2, 1.0), 30, 3000, 4


@pytest.fixture(scope="module")
def study():
    return smoothing_study(kappas=KAPPAS, neurons=NEURONS, draws=DRAWS, rows=ROWS, seed=SEED)


def relu_mean(z, s):
    """E relu(N(z, s^2)) by its integral, (...)."""

    def one(z, s):
        ends = max(z - 10 * s, 0.0), max(z, 0.0) + 10 * s
        mean = quad(lambda h: h * math.exp(-0.5 * ((h - z) / s) ** 2), *ends, epsabs=0, epsrel=1e-11)[0]
        return mean / (s * math.sqrt(2 * math.pi))

    return np.vectorize(one)(z, s)


def neurons_again(kappa, rng, X, W):
    """Preactivations of all neurons under the masks that the study drew, (neurons, draws)."""
    return np.array([(1 + kappa * rng.standard_normal((DRAWS, X.shape[1]))) @ products for products in X * W])


@pytest.mark.parametrize("k", range(2))
def test_the_curve_is_the_mean_of_relu_of_a_gaussian(study, k):
    some, kappa = slice(None, None, 16), KAPPAS[k]
    z = study.curve_z[some]
    assert (z.min(), z.max()) == (-3, 3)
    np.testing.assert_allclose(study.curve_mean[k, some], relu_mean(z, kappa), rtol=1e-9)
    np.testing.assert_allclose(study.curve_proxy[k, some], z * norm.cdf(z / kappa), rtol=1e-12, atol=0)


def test_simulated_points_lie_on_the_curve_within_their_errors(study):
    for k, kappa in enumerate(KAPPAS):
        z = study.sample_z[k]
        on = norm.cdf(z / kappa) * DRAWS >= 30
        deviation = kappa * np.sqrt([float(exact_gaussian.variance(t)) for t in z / kappa])
        scores = (study.sample_mean[k] - relu_mean(z, kappa)) / deviation * np.sqrt(DRAWS)
        assert np.abs(scores[on]).max() < 4
        assert np.square(scores[on]).mean() > 0.2
        many = z > 0  # a standard deviation of almost Gaussian draws is known to 1 / sqrt(2 draws)
        expected = (deviation / np.sqrt(DRAWS))[many]
        np.testing.assert_allclose(study.sample_error[k, many], expected, rtol=5 / np.sqrt(2 * DRAWS))


def test_the_gaps_are_those_of_the_same_masks_against_integrals(study):
    rng = np.random.default_rng([SEED, 1])
    X = rng.standard_normal((NEURONS, 20))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    W, kappa = rng.standard_normal(X.shape), KAPPAS[0]
    h, z, s = neurons_again(kappa, rng, X, W), np.sum(X * W, axis=1), kappa * np.linalg.norm(X * W, axis=1)
    relu, exact, t = np.maximum(h, 0), relu_mean(z, s), z / s
    spread = np.linalg.norm(z)
    for name, values in {
        "mean_gap": exact - relu.mean(axis=1),
        "proxy_gap": z * norm.cdf(t) - relu.mean(axis=1),
        "plain_gap": np.maximum(z, 0) - relu.mean(axis=1),
        "simulation_error": relu.std(axis=1, ddof=1) / np.sqrt(DRAWS),
    }.items():
        np.testing.assert_allclose(getattr(study, name)[0], np.linalg.norm(values) / spread, rtol=1e-8)
    scores = (
        (exact - relu.mean(axis=1)) / s / np.sqrt([float(exact_gaussian.variance(one)) / DRAWS for one in t])
    )
    seen = norm.cdf(t) * DRAWS >= 30
    np.testing.assert_allclose(study.largest_score[0], np.abs(scores[seen]).max(), rtol=1e-6)
    np.testing.assert_allclose(study.flips[0], np.mean((h > 0) != (z > 0)[:, np.newaxis]), rtol=1e-12)
    np.testing.assert_allclose(study.predicted_flips[0], norm.sf(np.abs(t)).mean(), rtol=1e-12)


def test_simulation_and_closed_form_agree_within_the_error_of_the_simulation(study):
    """Mean squares of 30 scores have a standard deviation of 0.26 if they count alike, and do not."""
    np.testing.assert_allclose(study.mean_gap / study.simulation_error, 1, atol=0.6)
    assert (study.largest_score < 4.5).all()
    assert (study.proxy_gap > 10 * study.simulation_error).all()
    error = np.sqrt(study.predicted_flips / DRAWS / NEURONS)
    assert (np.abs(study.flips - study.predicted_flips) < 4 * error).all()


@pytest.mark.parametrize("k", range(2))
def test_the_loss_of_a_network_has_the_two_parts_of_its_formula(study, k):
    X, y = teacher_problem(ROWS, 20, kind="unit", seed=SEED)
    X, kappa, draws = X.astype(float), KAPPAS[k], 4000
    network = fn.Network(100, 20, seed=SEED)
    W, a = network.weights(), network.output_weights() / 10  # the root of the width
    z, s = X @ W.T, kappa * np.sqrt(np.square(X) @ np.square(W).T)
    mean = relu_mean(z, s)
    for name, relu in {"smoothed_mse": mean, "proxy_mse": z * norm.cdf(z / s)}.items():
        np.testing.assert_allclose(getattr(study, name)[k], 0.5 * np.square(relu @ a - y).sum(), rtol=1e-9)
    rng = np.random.default_rng(11)
    f = np.maximum((X * (1 + kappa * rng.standard_normal((draws, *X.shape)))) @ W.T, 0) @ a
    shares = 0.5 * np.square(f - mean @ a)
    error = np.sqrt(shares.var(axis=0, ddof=1).sum() / draws)
    assert abs(study.regulariser[k] - shares.mean(axis=0).sum()) < 4 * error
    assert error < 0.05 * study.regulariser[k]
    assert abs(study.loss[k] - study.smoothed_mse[k] - study.regulariser[k]) < 4 * study.loss_error[k]
    losses = 0.5 * np.square(f - y).sum(axis=1)
    np.testing.assert_allclose(study.loss_error[k], losses.std() / np.sqrt(DRAWS), rtol=0.1)


def test_the_table_and_the_findings_show_the_numbers(study):
    rows = body(PART, study)
    sums = study.smoothed_mse + study.regulariser
    columns = [study.kappas, study.mean_gap, study.simulation_error, study.proxy_gap, study.plain_gap]
    columns += [study.flips, study.predicted_flips, study.loss, study.smoothed_mse, study.regulariser, sums]
    for column, values in enumerate([*columns, study.proxy_mse]):
        assert_column(rows, column, values)
    (score, _), (ratio, meaning) = PART.findings(study)
    assert_shown(score, study.largest_score.max())
    assert_shown(ratio.removesuffix(" \N{MULTIPLICATION SIGN}"), study.proxy_gap[1] / study.plain_gap[1])
    assert meaning.endswith("= 1")
