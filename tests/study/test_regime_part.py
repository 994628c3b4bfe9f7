"""The part on the kernel regime: predictions by matrices in NumPy, measurements by plain descent."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.study import regime_study
from fastntk.study.parts.problems import teacher_problem
from fastntk.study.parts.regime import PART

from .plain import Descent, assert_column, assert_shown, body, kernel

SEED, WIDTH, ROWS, DRAWS, RUNS, STEPS, STEP_SIZE = 3, 800, 5, 6, 3, 40, 0.3
KAPPAS = (0.0, 0.4)
X, Y = teacher_problem(2 * ROWS, 20, kind="unit", seed=SEED)
NETWORK = fn.Network(WIDTH, 20, seed=SEED)


@pytest.fixture(scope="module")
def study():
    sizes = {"width": WIDTH, "rows": ROWS, "draws": DRAWS, "runs": RUNS, "steps": STEPS}
    return regime_study(kappas=KAPPAS, **sizes, seed=SEED)


@pytest.fixture(scope="module")
def runs():
    """Of each strength: one for every run of the study, under masks of its own."""
    count = {0.0: 1, 0.4: RUNS}
    problem = X[:ROWS], Y[:ROWS], NETWORK
    return [
        [Descent(*problem, kappa, STEP_SIZE, STEPS, run) for run in range(count[kappa])] for kappa in KAPPAS
    ]


def under_masks(kappa, draws):
    mask = fn.GaussianMask(kappa)
    return np.concatenate([mask.sample(X[:ROWS], seed=SEED, draw=draw) for draw in draws])


def linear(rows, learned, times):
    """f_t = f_0 - K(., learned) sum_{s < t} (I - eta K)^s eta (f_0(learned) - y), by powers of the matrix."""
    copies = len(learned) // ROWS
    K, across = kernel(learned, learned, NETWORK) / copies, kernel(rows, learned, NETWORK) / copies
    start = np.maximum(learned @ NETWORK.weights().T, 0) @ NETWORK.output_weights() / np.sqrt(WIDTH)
    residual = start - np.tile(Y[:ROWS], copies)
    f = np.maximum(rows @ NETWORK.weights().T, 0) @ NETWORK.output_weights() / np.sqrt(WIDTH)
    A = np.eye(len(K)) - STEP_SIZE * K
    sums = [sum((np.linalg.matrix_power(A, s) for s in range(t)), np.zeros_like(A)) for t in times]
    return np.array([f - STEP_SIZE * across @ (one @ residual) for one in sums])


def test_recorded_steps_are_spread_from_the_first_to_the_last(study):
    assert (study.steps[0], study.steps[1], study.steps[-1]) == (0, 1, STEPS)
    assert (np.diff(study.steps) > 0).all()
    assert study.predicted_loss.shape == (2, len(study.steps))


@pytest.mark.parametrize("k", range(2))
def test_predictions_are_descent_with_the_kernel_of_the_masked_rows(study, k):
    learned = under_masks(KAPPAS[k], range(DRAWS)) if k else X[:ROWS]
    f = linear(X, learned, study.steps)
    np.testing.assert_allclose(study.predicted_outputs[k], f[-1], rtol=1e-5, atol=1e-6)
    unseen = 0.5 * np.square(f[:, ROWS:] - Y[ROWS:]).sum(axis=1)
    np.testing.assert_allclose(study.predicted_held_out_loss[k], unseen, rtol=1e-5)
    loss = 0.5 * np.square(f[:, :ROWS] - Y[:ROWS]).sum(axis=1)
    if k:  # and x^2 sum_{s < t} (1 - x)^(2 s) of the variance over fresh masks, for each mode of clean rows
        values, modes = np.linalg.eigh(kernel(X[:ROWS], X[:ROWS], NETWORK))
        fresh = linear(under_masks(KAPPAS[k], range(DRAWS, 2 * DRAWS)), learned, study.steps)
        variance = fresh.reshape(-1, DRAWS, ROWS).var(axis=1, ddof=1) @ np.square(modes)
        rate = STEP_SIZE * values
        kept = [rate**2 * sum((1 - rate) ** (2 * s) for s in range(t)) for t in study.steps]
        loss += 0.5 * (np.array(kept) * variance).sum(axis=1)
    np.testing.assert_allclose(study.predicted_loss[k], loss, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("k", range(2))
def test_measurements_are_means_over_runs_of_plain_descent(study, runs, k):
    f = np.mean([run.outputs(X)[study.steps] for run in runs[k]], axis=0)
    losses = np.array([run.clean[study.steps] for run in runs[k]])
    np.testing.assert_allclose(study.outputs[k], f[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(study.loss[k], losses.mean(axis=0), rtol=1e-4)
    error = losses.std(axis=0, ddof=1) / np.sqrt(RUNS) if k else 0 * losses[0]
    np.testing.assert_allclose(study.loss_error[k], error, rtol=1e-3, atol=1e-6)
    unseen = 0.5 * np.square(f[:, ROWS:] - Y[ROWS:]).sum(axis=1)
    np.testing.assert_allclose(study.held_out_loss[k], unseen, rtol=1e-4)
    predicted = linear(X, under_masks(KAPPAS[k], range(DRAWS)) if k else X[:ROWS], study.steps)[:, ROWS:]
    moved, missed = (np.linalg.norm(f[1:, ROWS:] - other, axis=1) for other in (f[0, ROWS:], predicted[1:]))
    assert study.error[k, 0] == 0
    np.testing.assert_allclose(study.error[k, 1:], missed / moved, rtol=1e-3, atol=1e-4)


def test_wide_networks_train_as_predicted_on_rows_not_seen():
    """Without a mask what is left out is of the order width^(-1/2)."""
    narrow, wide = (
        regime_study(kappas=[0.0], width=width, rows=ROWS, draws=2, runs=1, steps=STEPS, seed=SEED)
        for width in (200, 12_800)
    )
    assert wide.error.max() < 4 / np.sqrt(12_800)
    assert wide.error[0, -1] < 0.5 * narrow.error[0, -1]
    np.testing.assert_allclose(wide.loss, wide.predicted_loss, rtol=0, atol=0.05 * wide.loss[0, 0])


def test_the_table_and_the_findings_show_the_numbers(study):
    rows = body(PART, study)
    shown = np.unique(np.linspace(1, len(study.steps) - 1, 5).astype(int))
    assert_column(rows, 0, np.repeat(KAPPAS, len(shown)))
    assert_column(rows, 1, np.tile(study.steps[shown], 2))
    columns = (
        study.loss,
        study.predicted_loss,
        study.held_out_loss,
        study.predicted_held_out_loss,
        study.error,
    )
    for column, values in enumerate(columns, start=2):
        assert_column(rows, column, values[:, shown])
    ((error, _),) = PART.findings(study)
    assert_shown(error, study.error[:, -1].max())
