"""The part on what is left of the loss: measured by NumPy, predicted by the equation of Lyapunov."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import fastntk as fn
from fastntk.smoothing import output_variance
from fastntk.study import floor_study
from fastntk.study.parts import floor, plateau
from fastntk.study.parts.floor import PART
from fastntk.study.parts.problems import teacher_problem

from .plain import Descent, assert_column, assert_shown, body, kernel

SEED, STEPS, WINDOW, KAPPAS = 4, 700, 280, (0.1, 0.4)
PROBLEMS = {
    "small step": {"kind": "unit", "rows": 10, "width": 60, "step_size": 0.1},
    "large step": {"kind": "unit", "rows": 10, "width": 60, "step_size": 0.6},
    "paper": {"kind": "normal", "rows": 14, "width": 40, "step_size": 0.01},
}
SNAPSHOTS = np.linspace(STEPS - WINDOW, STEPS, 11).astype(int)[1:]  # of the weights that are averaged
THEORY_ERROR = 0.1  # of a floor: what the linear theory leaves out, as in theory/test_dynamics_simulated.py
PLACES = [(p, k) for p in range(3) for k in range(2)]


def small_study(**changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor, "PROBLEMS", PROBLEMS)
        patch.setattr(plateau, "SNAPSHOTS", len(SNAPSHOTS))
        return floor_study(**{"kappas": KAPPAS, "steps": STEPS, "seed": SEED} | changes)


@pytest.fixture(scope="module")
def study():
    return small_study()


@pytest.fixture(scope="module")
def runs():
    """Plain runs by problem and strength, and the networks of their mean weights."""
    found = {}
    for p, one in enumerate(PROBLEMS.values()):
        X, y = teacher_problem(one["rows"], 20, kind=one["kind"], seed=SEED)
        network = fn.Network(one["width"], 20, seed=SEED)
        for k, kappa in enumerate(KAPPAS):
            run = Descent(X, y, network, kappa, one["step_size"], STEPS, SEED)
            middle = run.weights[SNAPSHOTS].mean(axis=0)
            found[p, k] = run, X, fn.Network.from_arrays(middle, network.output_weights())
    return found


def clean_gradients(X, network):
    """By the inputs, (n, d)."""
    W, a = network.weights(), network.output_weights()
    return (X @ W.T > 0) * a @ W / np.sqrt(len(W))


def test_floors_are_means_of_every_other_clean_loss_of_plain_descent(study, runs):
    for place in PLACES:
        losses = runs[place][0].clean[STEPS - WINDOW :: 2]
        tenths = [part.mean() for part in np.array_split(losses, 10)]
        np.testing.assert_allclose(study.floor[place], losses.mean(), rtol=1e-4)
        np.testing.assert_allclose(study.error[place], np.std(tenths, ddof=1) / np.sqrt(10), rtol=1e-3)


def test_the_mean_part_is_the_loss_of_the_mean_weights(study, runs):
    for place in PLACES:
        run, _, middle = runs[place]
        np.testing.assert_allclose(study.mean_part[place], run.loss(middle.weights()), rtol=1e-3)


@pytest.mark.parametrize("p", range(3))
def test_noise_floors_solve_the_equation_of_lyapunov(study, runs, p):
    """C = (I - eta K) C (I - eta K) + eta^2 K V K, for the variance V and its lowest order in the mask."""
    for k, kappa in enumerate(KAPPAS):
        run, X, middle = runs[p, k]
        K = run.step_size * kernel(X, X, middle)
        exact = output_variance(X, network=middle, mask=fn.GaussianMask(kappa))
        lowest = kappa**2 * np.square(X * clean_gradients(X, middle)).sum(axis=1)
        floors = []
        for V in (exact, lowest):
            C = solve_discrete_lyapunov(np.eye(len(X)) - K, K @ np.diag(V) @ K)
            floors.append(0.5 * np.trace(C))
        np.testing.assert_allclose(study.noise_floor[p, k], floors[0], rtol=1e-4)
        np.testing.assert_allclose(study.small_mask_floor[p, k], floors[1], rtol=1e-4)
        np.testing.assert_allclose(study.small_step_floor[p, k], 0.25 * np.diag(K) @ lowest, rtol=1e-4)

        # Of the same C, what does not average out of the mean over the window.
        A, left, C = (
            np.eye(len(X)) - K,
            np.eye(len(X)),
            solve_discrete_lyapunov(np.eye(len(X)) - K, K * exact @ K),
        )
        kept = 0.0
        for lag in range(WINDOW):
            kept += (2 if lag else 1) * (WINDOW - lag) * np.trace(C @ left) / WINDOW**2
            left = left @ A
        np.testing.assert_allclose(study.noise[p, k], 0.5 * (np.trace(C) - kept), rtol=1e-4)
        assert study.noise[p, k] < study.noise_floor[p, k]


def test_predicted_floors_are_those_measured_within_their_errors(study):
    np.testing.assert_array_equal(study.predicted, study.mean_part + study.noise)
    allowed = THEORY_ERROR * study.floor + 4 * study.error
    assert (np.abs(study.predicted - study.floor) < allowed).all(), study.predicted / study.floor
    assert (study.error < 0.1 * study.floor).all()
    assert (study.floor[:, 1] > 4 * study.floor[:, 0]).all()


def test_for_weak_masks_the_lowest_order_is_all():
    study = small_study(kappas=[0.002], steps=100)
    np.testing.assert_allclose(study.noise_floor, study.small_mask_floor, rtol=0.05)
    assert (study.small_mask_floor >= study.small_step_floor).all()  # by 2 / (2 - rate)


def test_problems_are_described(study):
    assert study.problems == tuple(PROBLEMS)
    for values, name in ((study.rows, "rows"), (study.widths, "width"), (study.step_sizes, "step_size")):
        np.testing.assert_array_equal(values, [one[name] for one in PROBLEMS.values()])


def test_the_table_and_the_findings_show_the_numbers(study):
    rows, ratio = body(PART, study), study.floor / study.predicted
    assert [row[0] for row in rows] == [name for name in PROBLEMS for _ in KAPPAS]
    columns = [np.tile(KAPPAS, 3), study.floor, study.predicted, ratio, study.mean_part, study.noise]
    columns += [study.noise_floor, study.small_mask_floor, study.floor / np.square(KAPPAS)]
    for column, values in enumerate(columns, start=1):
        assert_column(rows, column, values)
    (ratios, _), (varies, _) = PART.findings(study)
    for text, value in zip(ratios.split(" to "), (ratio.min(), ratio.max()), strict=True):
        assert_shown(text, value)
    share = study.floor[2] / np.square(KAPPAS)
    assert_shown(varies.removesuffix(" \N{MULTIPLICATION SIGN}"), share.max() / share.min())


def test_a_mask_that_diverges_leaves_its_place_empty():
    study = small_study(kappas=[0.1, 30.0], steps=100)
    assert np.isnan(study.floor[2, 1])
    assert np.isnan(study.predicted[2, 1])
    assert np.isfinite(study.predicted[:, 0]).all()
    assert body(PART, study)[5][1:4] == ("30", "diverged", "")
    assert "nan" not in str(PART.findings(study))
