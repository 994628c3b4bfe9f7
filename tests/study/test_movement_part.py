"""The part on how far training moves the weights: distances of plain descent, and the slopes of a fit."""

from dataclasses import replace

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import reference
from fastntk.study import movement_study
from fastntk.study.parts.movement import PART
from fastntk.study.parts.problems import teacher_problem

from ..formulas import U32, rounded
from .plain import Descent, assert_column, assert_shown, body

SEED, ROWS, STEPS, WIDTHS, KAPPAS = 2, 16, 60, (60, 240, 960), (0.0, 0.5)


@pytest.fixture(scope="module")
def study():
    return movement_study(widths=WIDTHS, kappas=KAPPAS, rows=ROWS, steps=STEPS, seed=SEED)


@pytest.fixture(scope="module")
def runs():
    X, y = teacher_problem(ROWS, 20, kind="unit", seed=SEED)
    return {
        (k, w): Descent(X, y, fn.Network(width, 20, seed=SEED), kappa, 0.04, STEPS, SEED)
        for k, kappa in enumerate(KAPPAS)
        for w, width in enumerate(WIDTHS)
    }


def test_distances_are_those_of_plain_descent(study, runs):
    """Up to the rounding of weights to float32 in every step, at random."""
    for place, run in runs.items():
        moved = run.weights[-1] - run.weights[0]
        error = 4 * np.sqrt(STEPS) * U32 * np.abs(run.weights).max()
        far = np.linalg.norm(moved, axis=1).max()
        np.testing.assert_allclose(study.farthest[place], far, rtol=1e-5, atol=error * np.sqrt(20))
        np.testing.assert_allclose(study.whole[place], np.linalg.norm(moved), rtol=1e-4)
        np.testing.assert_allclose(study.loss[place], run.clean[-1], rtol=1e-4)


def test_flipped_activations_are_counted(study, runs):
    for place, run in runs.items():
        before, after = (reference.pattern(run.X, rounded(run.weights[t])) for t in (0, -1))
        assert study.flipped[place] == pytest.approx(np.mean(before != after), rel=1e-12)
        assert study.flipped[place] > 0


def test_slopes_are_a_fit_of_logarithms(study, runs):
    x = np.log(WIDTHS)
    x -= x.mean()
    for values, slopes in ((study.farthest, study.slopes[0]), (study.flipped, study.slopes[1])):
        np.testing.assert_allclose(slopes, np.log(values) @ x / (x @ x), rtol=1e-10)
    for k in range(2):
        far = [np.linalg.norm(runs[k, w].weights[-1] - runs[k, w].weights[0], axis=1).max() for w in range(3)]
        expected = np.polyfit(np.log(WIDTHS), np.log(far), 1)[0]
        assert study.slopes[0][k] == pytest.approx(expected, rel=1e-4)


def test_neurons_of_wider_networks_move_less(study):
    """As width^(-1/2); between 60 and 960 neurons the farthest of so few is a matter of chance too."""
    assert ((study.slopes[0] > -0.7) & (study.slopes[0] < -0.3)).all()
    flat = replace(study, farthest=0.3 / np.sqrt(WIDTHS) * np.ones((2, 1)))
    np.testing.assert_allclose(flat.slopes[0], -0.5, rtol=1e-12)


def test_one_width_is_too_few_for_a_slope():
    with pytest.raises(ValueError, match="widths holds 50 alone; give two or more, for a slope"):
        movement_study(widths=[50], kappas=[0.0, 0.2])


def test_where_nothing_flips_there_is_no_slope(study):
    still = replace(study, flipped=study.flipped * [[1], [0]])
    assert np.isfinite(still.slopes[0]).all()
    np.testing.assert_array_equal(np.isnan(still.slopes[1]), [False, True])


def test_the_table_and_the_findings_show_the_numbers(study):
    rows = body(PART, study)
    columns = [
        np.repeat(KAPPAS, 3),
        np.tile(WIDTHS, 2),
        study.farthest,
        study.whole,
        study.flipped,
        study.loss,
    ]
    for column, values in enumerate(columns):
        assert_column(rows, column, values)
    ((slopes, _),) = PART.findings(study)
    for text, value in zip(slopes.split(" to "), sorted(study.slopes[0], reverse=True), strict=True):
        assert_shown(text, value)
