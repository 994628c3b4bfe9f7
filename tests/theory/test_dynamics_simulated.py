"""The linear theory of training under masks against simulation of the nonlinear network."""

import numpy as np
import pytest

import fastntk as fn

from .. import simulation
from .test_dynamics import clean_kernel, problem

# What the theory leaves out, kinks that move within a plateau above all, is -4.5 to 6.8 % of the floor.
FLOOR_ERROR = 0.07
EARLY_ERROR = 0.1  # of the loss over the first steps, from the initial network on


def simulate(X, y, W, a, mask, step_size, *, times, copies, seed=0):
    """Clean losses (len(times), copies) before these steps, and the mean weights at them (copies, m, d)."""
    rng, losses, mean = np.random.default_rng(seed), [], np.zeros((copies, *W.shape))
    W = np.broadcast_to(W, mean.shape)
    rows, y, a = np.broadcast_to(X, (copies, *X.shape)), y[:, np.newaxis], a[:, np.newaxis]
    for t in range(max(times) + 1):
        if t in times:
            losses.append(simulation.loss(X, y, W, a))
            mean += W
        W = simulation.step(simulation.masked(mask, rows, rng), y, W, a, step_size)
    return np.array(losses), mean / len(times)


def floors(kappa, product, *, seed=0, burn=1500, window=1000, copies=8):
    """(predicted, simulated) losses of a plateau for each copy, the prediction at its mean weights there."""
    X, y, W, a = problem(seed)
    step_size = product / np.linalg.eigvalsh(clean_kernel(X, W, a))[-1]
    options = {"mask": fn.GaussianMask(kappa), "step_size": step_size}
    times = range(burn, burn + window)
    losses, centres = simulate(X, y, W, a, *options.values(), times=times, copies=copies, seed=seed)
    theories = [fn.predict_loss(X, y, network=(centre, a), **options) for centre in centres]
    return theories, losses.mean(axis=0)


def assert_floor(theories, losses):
    """Relative error of the mean over the copies at most 7 %, plus 3 standard errors of the differences."""
    errors = [theory.floor for theory in theories] - losses
    allowed = FLOOR_ERROR * losses.mean() + 3 * errors.std(ddof=1) / np.sqrt(len(errors))
    assert abs(errors.mean()) < allowed, errors.mean() / losses.mean()
    assert allowed < 0.2 * losses.mean()  # the simulation can tell


@pytest.mark.parametrize(("kappa", "product"), [(0.05, 0.6), (0.2, 0.1), (0.4, 0.6), (1.0, 0.1)])
def test_the_floor_at_the_network_of_a_plateau(kappa, product):
    """The mean residual is most of it under strong masks: without it the test would fail by far."""
    theories, losses = floors(kappa, product)
    assert_floor(theories, losses)
    noise = np.mean([theory.noise_floor for theory in theories])
    assert noise < (0.99 if kappa < 0.1 else 0.6) * losses.mean()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("product", [0.1, 0.6])
@pytest.mark.parametrize("kappa", [0.05, 0.2, 0.4, 1.0])
def test_floors_of_early_and_late_plateaus(kappa, product, seed):
    """The plateau drifts, and the theory at its network with it."""
    for burn in (2000, 10_000):
        assert_floor(*floors(kappa, product, seed=seed, burn=burn, window=2000, copies=16))


def assert_early(kappa, *, seed, copies, times=(0, 1, 2, 5, 10)):
    """Predicted from the initial network, step size times the largest eigenvalue being 0.1.

    What is left out (mean kernels are smaller, slopes are penalised) makes the loss at kappa 0.2 1 % too low
    after a step, and up to 9 % after ten.  Stronger masks and longer steps make more of it.
    """
    X, y, W, a = problem(seed, m=1000)
    step_size = 0.1 / np.linalg.eigvalsh(clean_kernel(X, W, a))[-1]
    options = {"mask": fn.GaussianMask(kappa), "step_size": step_size}
    losses, _ = simulate(X, y, W, a, *options.values(), times=times, copies=copies, seed=seed)
    expected, error = losses.mean(axis=1), losses.std(axis=1, ddof=1) / np.sqrt(copies)
    found = fn.predict_loss(X, y, network=(W, a), plateau=False, **options).loss(times)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    assert (np.abs(found - expected) <= EARLY_ERROR * expected + 3 * error).all(), found / expected
    assert (error < 0.02 * expected).all()
    assert expected[-1] < 0.5 * expected[0]


@pytest.mark.parametrize("kappa", [0.05, 0.2])
def test_the_first_steps_from_the_initial_network(kappa):
    assert_early(kappa, seed=0, copies=60)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kappa", [0.05, 0.1, 0.2])
def test_the_first_steps_of_many_problems(kappa, seed):
    assert_early(kappa, seed=seed, copies=400)
