"""The end of a run: its loss, the mean weights, and the noise about them."""

from types import SimpleNamespace

import numpy as np
import pytest

import fastntk as fn
from fastntk.study.parts.plateau import noise_about_mean, train_to_plateau
from fastntk.study.parts.problems import teacher_problem

from ..formulas import U32
from .plain import Descent

SEED, DIM, WIDTH, KAPPA, STEP_SIZE = 2, 20, 40, 0.3, 0.1
STEPS, WINDOW = 300, 60  # as many snapshots as the window has steps
X, Y = teacher_problem(12, DIM, kind="unit", seed=SEED)
NETWORK = fn.Network(WIDTH, DIM, seed=SEED)


def theory(rates, noise, step_size=0.5):
    """Modes of these rates under noise of these variances."""
    return SimpleNamespace(
        step_size=step_size,
        eigenvalues=np.array(rates) / step_size,
        noise=np.reshape(noise, (len(rates), -1)),
    )


def about_mean(rate, noise, window):
    """1/2 E (x_t - mean)^2 over a window of x <- (1 - rate) x - rate xi: all pairs of steps, one by one."""
    stationary = noise * sum(rate**2 * (1 - rate) ** (2 * s) for s in range(20_000))
    pairs = np.abs(np.subtract.outer(np.arange(window), np.arange(window)))
    return 0.5 * stationary * (1 - np.mean((1 - rate) ** pairs.astype(float)))


@pytest.mark.parametrize("window", [1, 2, 7, 100])
@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0, 1.6, 1.99])
def test_noise_about_the_mean_is_that_of_all_pairs_of_steps(rate, window):
    found = noise_about_mean(theory([rate], [3.0]), window)
    np.testing.assert_allclose(found, about_mean(rate, 3.0, window), rtol=1e-10, atol=1e-14)


def test_noise_of_modes_and_outputs_adds_up():
    rates, noise = [0.05, 0.4, 1.2], np.array([[1.0, 0.5], [0.2, 0.0], [2.0, 1.0]])
    expected = sum(about_mean(rate, one.sum(), 30) for rate, one in zip(rates, noise, strict=True))
    for step_size in (0.5, 0.01):  # of which only the rates know
        np.testing.assert_allclose(
            noise_about_mean(theory(rates, noise, step_size), 30), expected, rtol=1e-10
        )


def test_noise_about_the_mean_of_a_simulated_sequence():
    rng, rate, window, copies = np.random.default_rng(0), 0.1, 25, 20_000
    x, seen = np.sqrt(rate / (2 - rate)) * rng.standard_normal(copies), []  # the stationary distribution
    for _ in range(window):
        x = (1 - rate) * x - rate * rng.standard_normal(copies)
        seen.append(x)
    losses = 0.5 * np.var(seen, axis=0)
    error = losses.std() / np.sqrt(copies)
    assert abs(noise_about_mean(theory([rate], [1.0]), window) - losses.mean()) < 4 * error
    assert error < 0.01 * losses.mean()


def test_modes_that_do_not_learn_keep_no_noise_and_unstable_ones_keep_no_bound():
    assert noise_about_mean(theory([0.0], [1.0]), 10) == 0
    assert noise_about_mean(theory([0.3], [0.0]), 10) == 0
    assert noise_about_mean(theory([2.1], [1.0]), 10) == np.inf
    assert noise_about_mean(theory([2.1, 0.1], [0.0, 1.0]), 10) == pytest.approx(about_mean(0.1, 1.0, 10))


# ------------------------------------------------------------------------------------------ a run


@pytest.fixture(scope="module")
def plain():
    return Descent(X, Y, NETWORK, KAPPA, STEP_SIZE, STEPS, SEED)


def plateau(every=1, **changes):
    options = {"mask": fn.GaussianMask(KAPPA), "step_size": STEP_SIZE, "record_every": every, "seed": SEED}
    return train_to_plateau(X, Y, network=NETWORK, steps=STEPS, window=WINDOW, **options | changes)


@pytest.mark.parametrize("every", [1, 3])
def test_loss_and_error_are_those_of_the_records_in_the_window(plain, every):
    end, losses = plateau(every), plain.clean[STEPS - WINDOW :: every]
    np.testing.assert_array_equal(end.run.recorded_steps, np.arange(0, STEPS + 1, every))
    np.testing.assert_allclose(end.run.clean_loss, plain.clean[::every], rtol=1e-5)
    np.testing.assert_allclose(end.loss, losses.mean(), rtol=1e-5)
    tenths = [part.mean() for part in np.array_split(losses, 10)]
    np.testing.assert_allclose(end.error, np.std(tenths, ddof=1) / np.sqrt(10), rtol=1e-4)


def test_the_network_has_the_mean_weights_of_the_window(plain):
    """Every step rounds the weights to float32; the errors add up at random."""
    end, moved = plateau(), np.abs(plain.weights[-1] - plain.weights[0]).max()
    rounding = 4 * np.sqrt(STEPS) * U32 * np.abs(plain.weights).max()
    mean = plain.weights[STEPS - WINDOW + 1 :].mean(axis=0)
    np.testing.assert_allclose(end.network.weights(), mean, rtol=0, atol=rounding)
    np.testing.assert_array_equal(end.network.output_weights(), NETWORK.output_weights())
    np.testing.assert_allclose(end.run.network.weights(), plain.weights[-1], rtol=0, atol=rounding)
    assert np.abs(mean - plain.weights[-1]).max() > max(1e-3 * moved, 10 * rounding)


def test_progress_goes_on_through_all_steps():
    shares = []
    plateau(progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_run_that_diverges_has_no_plateau():
    with pytest.warns(fn.TrainingWarning):
        end = plateau(step_size=50.0)
    assert end.run.status == "diverged"
    assert np.isnan([end.loss, end.error]).all()
    assert end.network is None
