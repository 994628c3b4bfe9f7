"""What a certificate claims, on runs with random masks and with the worst ones that its event allows."""

import functools

import numpy as np
import pytest

import fastntk as fn

from .. import simulation
from .test_certificate import problem

STEP_SIZE, STEPS = 1.0, 50
MASKS = {
    "none": None,
    "weak": fn.GaussianMask(2e-5),
    "strong": fn.GaussianMask(1e-4),
    "additive": fn.AdditiveMask(1e-5),
    "per feature": fn.GaussianMask([0.0, 3e-5, 1e-4] * 10),
}


@functools.cache
def certified(mask, seeds):
    """(X, y, W, a, certificate) of those of the random problems that are certified."""
    runs = []
    for seed in seeds:
        X, y, W, a = problem(seed)
        found = fn.certify(X, y, network=(W, a), mask=mask, step_size=STEP_SIZE, steps=STEPS)
        runs += [(X, y, W, a, found)] if found.ok else []
    return runs


def variances(mask, X):
    return np.zeros_like(X) if mask is None else mask.variance(X)


def residuals(X, y, W, a):
    return simulation.outputs(X, W, a[:, np.newaxis])[:, 0] - y


def assert_run(X, y, W, a, found, masked):
    """Float64 training on the inputs ``masked(t, W)``: within the bounds at every step."""
    start, y_column, a_column = W, y[:, np.newaxis], a[:, np.newaxis]
    for t in range(STEPS + 1):
        assert np.linalg.norm(residuals(X, y, W, a)) <= found.bound(t) * (1 + 1e-12) + 1e-13
        assert np.linalg.norm(W - start, axis=1).max() <= found.radius
        W = simulation.step(masked(t, W), y_column, W, a_column, STEP_SIZE)
    assert np.linalg.norm(W - start, axis=1).max() > 0.1 * found.radius  # the bound is not an idle one


# ------------------------------------------------------------------------------------ random masks
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_certified_runs_stay_within_their_bounds(mask):
    """Those of fn.train, up to float32: an output is off by 1e-6, which shows where a run has converged."""
    runs = certified(mask, range(4))
    assert len(runs) >= 2
    for seed, (X, y, W, a, found) in enumerate(runs):
        net, rng = fn.Network.from_arrays(W, a), np.random.default_rng(seed)
        options = {"step_size": STEP_SIZE, "steps": STEPS, "record_every": 1, "seed": seed}
        run = fn.train(X, y, network=net, mask=mask, **options)
        assert (np.sqrt(2 * run.clean_loss) <= found.bound(run.recorded_steps) * (1 + 1e-6) + 1e-5).all()
        assert run.max_distance.max() <= found.radius
        assert_run(X, y, W, a, found, lambda t, W, X=X, rng=rng: simulation.masked(mask, X, rng))


@pytest.mark.soak
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_many_certified_runs(mask):
    runs = certified(mask, range(100, 160))
    assert len(runs) >= 30
    for seed, (X, y, W, a, found) in enumerate(runs):
        rng = np.random.default_rng(seed)
        assert_run(X, y, W, a, found, lambda t, W, X=X, rng=rng: simulation.masked(mask, X, rng))


def test_without_a_mask_for_ever():
    X, y, W, a = problem(m=20_000)
    found = fn.certify(X, y, network=(W, a), mask=fn.GaussianMask(0.0), step_size=STEP_SIZE, steps=np.inf)
    assert found.ok
    assert found.ball == found.tau == 0
    assert found.bound(np.inf) == 0
    assert_run(X, y, W, a, found, lambda t, W: X)


# ------------------------------------------------------------------------------------- worst masks
def worst(mask, X, y, tau, sign):
    """Masks of norm ``tau`` in standard deviations, which the event allows in any direction.

    Each pushes the residual of its row away from 0 as fast as it can, or all of them one way.
    """
    roots = np.sqrt(variances(mask, X))

    def inputs(t, W, a):
        slopes = ((X @ W.T > 0) * a) @ W / np.sqrt(len(a))
        push = roots * slopes
        size = np.linalg.norm(push, axis=1, keepdims=True)
        way = np.sign(residuals(X, y, W, a))[:, np.newaxis] if sign is None else sign(t)
        return X + tau * way * roots * push / np.where(size > 0, size, 1)

    return inputs


@pytest.mark.parametrize("sign", [None, lambda t: 1, lambda t: (-1) ** t], ids=["away", "up", "in turn"])
@pytest.mark.parametrize("name", list(MASKS)[1:])
def test_the_worst_masks_of_the_event_stay_within_the_bounds(name, sign):
    """A certificate is about all masks of its event, so about these: nothing is left to chance."""
    runs = certified(MASKS[name], range(4))
    assert len(runs) >= 2
    for X, y, W, a, found in runs:
        inputs = worst(MASKS[name], X, y, found.tau, sign)
        assert_run(X, y, W, a, found, lambda t, W, inputs=inputs, a=a: inputs(t, W, a))


@pytest.mark.parametrize("mask", [fn.GaussianMask(0.01), fn.AdditiveMask(0.003), None], ids=repr)
@pytest.mark.parametrize("radius", [0.01, 0.2])
def test_no_kernel_and_no_output_within_the_radius_is_further_off_than_bounded(mask, radius):
    """Neurons moved by the whole radius, masks of norm tau: Keff of a step and masked outputs, both exactly.

    Directions are random, or those that move preactivations of a row towards 0, or outputs most.
    """
    X, y, W, a = problem(1, n=4, d=6, m=500)
    options = {"network": (W, a), "mask": mask, "step_size": STEP_SIZE, "steps": STEPS}
    found = fn.certify(X, y, radius=radius, **options)
    roots, rng, clean = np.sqrt(variances(mask, X)), np.random.default_rng(0), X @ W.T
    slopes = ((clean > 0) * a) @ W / np.sqrt(len(a))
    K = (X @ X.T) * (((clean > 0) * a) @ ((clean > 0) * a).T) / len(a)
    largest = [0.0, 0.0]
    for trial in range(40):
        moves = rng.standard_normal((2, *W.shape))
        if trial % 2:
            row = rng.integers(4)
            moves[:] = -np.sign(clean[row])[:, np.newaxis] * X[row]
        before, after = W + radius * moves / np.linalg.norm(moves, axis=2, keepdims=True)
        random, steepest = rng.standard_normal(X.shape), roots * slopes * rng.choice([-1.0, 1.0], (4, 1))
        g = random if trial % 4 < 2 else steepest
        size = np.linalg.norm(g, axis=1, keepdims=True)
        masked = X + found.tau * roots * g / np.where(size > 0, size, 1)
        h, h_after = X @ before.T, X @ after.T
        risen = np.maximum(h_after, 0) - np.maximum(h, 0)
        beta = np.where(h_after == h, h > 0, risen / np.where(h_after == h, 1, h_after - h))
        effective = (X @ masked.T) * ((beta * np.square(a)) @ (masked @ before.T > 0).T) / len(a)
        seen = residuals(masked, y, before, a) - residuals(X, y, before, a)
        off = np.linalg.norm(effective - K, 2), np.linalg.norm(seen)
        assert off[0] <= found.kernel_error * (1 + 1e-12)
        assert off[1] <= found.output_error * (1 + 1e-12) + 1e-13
        largest = np.maximum(largest, off)
    # How close it comes: the bounds are not so wide that the test says nothing.
    assert largest[0] > 0.05 * found.kernel_error
    assert mask is None or largest[1] > 0.05 * found.output_error
