"""The part on losses over the steps: runs in NumPy under the same masks, and the theory called directly."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.study import trajectory_study
from fastntk.study.parts import plateau
from fastntk.study.parts.problems import teacher_problem
from fastntk.study.parts.trajectories import PART

from .plain import Descent, assert_column, assert_shown, body, kernel

SEED, ROWS, WIDTH, STEPS, EVERY, WINDOW = 1, 16, 40, 300, 3, 60
KAPPAS, STEP_SIZES = (0.0, 0.3, 8.0), {"unit": 0.04, "normal": 0.005}
SNAPSHOTS = slice(STEPS - WINDOW + 4, None, 4)  # of the weights that are averaged
WIDE, WIDE_KAPPAS = (100, 2000), (0.0, 0.2)
FLOAT32 = 1e-5  # of the norm of the residuals, and of that at the start: measured is a tenth of it


@pytest.fixture(scope="module")
def study():
    sizes = {"rows": ROWS, "width": WIDTH, "steps": STEPS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plateau, "SNAPSHOTS", WINDOW // 4)
        return trajectory_study(kappas=KAPPAS, wide_kappas=WIDE_KAPPAS, wide_widths=WIDE, seed=SEED, **sizes)


@pytest.fixture(scope="module")
def problems():
    return {kind: teacher_problem(ROWS, 20, kind=kind, seed=SEED) for kind in STEP_SIZES}


@pytest.fixture(scope="module")
def plain(problems):
    """Runs in NumPy by kind and strength; the last strength is for divergence."""
    network = fn.Network(WIDTH, 20, seed=SEED)
    return {
        (p, k): Descent(*problems[kind], network, kappa, step_size, STEPS, SEED)
        for p, (kind, step_size) in enumerate(STEP_SIZES.items())
        for k, kappa in enumerate(KAPPAS)
    }


def assert_losses(found, expected):
    """As residuals: where little is left of them, float32 outputs are off by a share of what there was."""
    size = np.sqrt(np.max(expected))
    np.testing.assert_allclose(np.sqrt(found), np.sqrt(expected), rtol=FLOAT32, atol=FLOAT32 * size)


WEAK = [(p, k) for p in range(2) for k in range(2)]


def test_the_problems_have_the_same_directions_and_standard_answers(problems):
    (unit, y), (normal, z) = problems["unit"], problems["normal"]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    norms = np.linalg.norm(normal.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, normal / norms, rtol=1e-6)
    for answers in (y, z):
        np.testing.assert_allclose((answers.mean(), answers.std()), (0, 1), rtol=0, atol=1e-14)


def test_losses_are_those_of_plain_descent_under_the_same_masks(study, plain):
    np.testing.assert_array_equal(study.steps, np.arange(0, STEPS + 1, EVERY))
    for place in WEAK:
        assert_losses(study.loss[place], plain[place].clean[::EVERY])
        assert_losses(study.masked_loss[place], plain[place].masked[::EVERY])


def test_floors_are_means_of_the_last_fifth_of_the_steps(study, plain):
    for place in WEAK:
        run = plain[place]
        losses = run.clean[STEPS - WINDOW :: EVERY]
        tenths = [part.mean() for part in np.array_split(losses, 10)]
        np.testing.assert_allclose(study.floor[place], losses.mean(), rtol=3e-4)
        np.testing.assert_allclose(study.floor_error[place], np.std(tenths, ddof=1) / np.sqrt(10), rtol=1e-3)
        middle = run.weights[SNAPSHOTS].mean(axis=0)
        np.testing.assert_allclose(study.floor_mean[place], run.loss(middle), rtol=3e-4)


def test_the_noise_of_the_floor_is_that_of_theory_at_the_mean_weights(study, plain, problems):
    """The variance of the mean of the window by all pairs of steps; no noise without a mask."""
    assert (study.floor_noise[:, 0] == 0).all()
    for p, (kind, step_size) in enumerate(STEP_SIZES.items()):
        X, run = problems[kind][0], plain[p, 1]
        middle = fn.Network.from_arrays(run.weights[SNAPSHOTS].mean(axis=0), run.a[:, 0])
        mask = fn.GaussianMask(KAPPAS[1])
        values, modes = np.linalg.eigh(kernel(X, X, middle))
        noise = np.square(modes).T @ fn.smoothing.output_variance(X, network=middle, mask=mask)
        rate = step_size * values
        between = np.abs(np.subtract.outer(np.arange(WINDOW), np.arange(WINDOW)))
        kept = [1 - np.mean((1 - x) ** between.astype(float)) for x in rate]
        expected = 0.5 * np.sum(kept * rate / (2 - rate) * noise)
        np.testing.assert_allclose(study.floor_noise[p, 1], expected, rtol=1e-4)
    np.testing.assert_array_equal(study.predicted_floor, study.floor_mean + study.floor_noise)


def test_predictions_are_those_of_the_theory_at_the_initial_network(study, problems):
    network = fn.Network(WIDTH, 20, seed=SEED)
    for p, (kind, step_size) in enumerate(STEP_SIZES.items()):
        for k, kappa in enumerate(KAPPAS):
            options = {"mask": fn.GaussianMask(kappa), "step_size": step_size, "plateau": False}
            theory = fn.predict_loss(*problems[kind], network=network, **options)
            np.testing.assert_array_equal(study.predicted[p, k], theory.loss(study.steps))
    np.testing.assert_allclose(study.loss[:, :, 0], study.predicted[:, :, 0], rtol=1e-6)


def test_stability_is_step_size_times_the_largest_eigenvalue_of_masked_kernels(study, problems):
    network = fn.Network(WIDTH, 20, seed=SEED)
    for p, (kind, step_size) in enumerate(STEP_SIZES.items()):
        for k, kappa in enumerate(KAPPAS):
            rows = [fn.GaussianMask(kappa).sample(problems[kind][0], seed=0, draw=draw) for draw in range(3)]
            largest = np.mean([np.linalg.eigvalsh(kernel(X, X, network))[-1] for X in rows])
            np.testing.assert_allclose(study.stability[p, k], step_size * largest, rtol=1e-9)


def test_runs_diverge_where_the_step_size_is_over_the_limit_and_their_numbers_are_missing(
    study, plain, problems
):
    answers = 0.5 * np.square(problems["normal"][1]).sum()
    grown = np.array([[plain[p, k].masked.max() for k in range(3)] for p in range(2)])
    np.testing.assert_array_equal(study.diverged, grown > 1e6 * (study.masked_loss[:, :, 0] + answers))
    np.testing.assert_array_equal(study.diverged, [[False] * 3, [False, False, True]])
    assert study.stability[study.diverged].min() > 2.8
    assert study.stability[:, :2].max() < 2
    for values in (study.floor, study.floor_error, study.floor_mean, study.floor_noise):
        np.testing.assert_array_equal(np.isnan(values), study.diverged)
    missing = np.isnan(study.loss)
    np.testing.assert_array_equal(missing.any(axis=2), study.diverged)
    np.testing.assert_array_equal(missing, np.isnan(study.masked_loss))
    assert not missing[..., 0].any()
    assert (np.diff(missing.astype(int), axis=2) >= 0).all()


def test_wide_networks_without_a_mask_follow_the_linear_model(study, problems):
    """r <- (I - eta K) r: what is left out falls as m^(-1/2), to 1 / 4.5 of itself."""
    X, y = problems["unit"]
    network = fn.Network(WIDE[-1], 20, seed=SEED)
    residual = np.maximum(X @ network.weights().T, 0) @ network.output_weights() / np.sqrt(WIDE[-1]) - y
    step, losses = np.eye(ROWS) - STEP_SIZES["unit"] * kernel(X, X, network), []
    for _ in range(STEPS + 1):
        losses.append(0.5 * residual @ residual)
        residual = step @ residual
    np.testing.assert_allclose(study.wide_predicted[0], losses[::EVERY], rtol=1e-6)
    errors = np.abs(np.sqrt(study.wide_loss[0] / losses[0]) - np.sqrt(losses[::EVERY] / losses[0])).max(
        axis=1
    )
    assert errors[1] < 1 / np.sqrt(WIDE[1])
    assert 2 * errors[1] < errors[0]
    assert losses[-1] < 0.2 * losses[0]


def test_wide_losses_are_runs_of_train(study, problems):
    for k, kappa in enumerate(WIDE_KAPPAS):
        for w, width in enumerate(WIDE):
            run = fn.train(
                *problems["unit"],
                network=fn.Network(width, 20, seed=SEED),
                mask=fn.GaussianMask(kappa),
                step_size=STEP_SIZES["unit"],
                steps=STEPS,
                record_every=EVERY,
                seed=SEED,
            )
            np.testing.assert_array_equal(study.wide_loss[k, w], run.clean_loss)


def test_the_table_and_the_findings_show_the_numbers(study):
    rows = body(PART, study)
    assert [row[0] for row in rows] == ["unit"] * 3 + ["normal"] * 3
    assert_column(rows, 1, np.tile(KAPPAS, 2))
    assert_column(rows, 2, study.stability)
    assert rows[5][3:7] == ("diverged", "", "", "")
    kept = ~study.diverged.ravel()
    shown = [study.floor, study.predicted_floor, study.floor_mean, study.floor_noise]
    for column, values in enumerate([*shown, study.predicted[..., -1]], start=3):
        assert_column(
            [row for row, there in zip(rows, kept, strict=True) if there], column, values.ravel()[kept] / ROWS
        )
    (ratios, _), (diverged, meaning) = PART.findings(study)
    found = (study.floor / study.predicted_floor)[:, 1:]
    for text, value in zip(ratios.split(" to "), (np.nanmin(found), np.nanmax(found)), strict=True):
        assert_shown(text, value)
    assert diverged == "\N{GREEK SMALL LETTER KAPPA} = 8"
    assert f"= {study.stability[1, 2]:.1f} " in meaning


def test_a_wide_network_may_diverge():
    study = trajectory_study(
        kappas=[0.1], rows=24, width=30, steps=20, wide_kappas=[30.0, 0.0], wide_widths=[1000, 100]
    )
    np.testing.assert_array_equal(study.wide_kappas, [0, 30])
    np.testing.assert_array_equal(study.wide_widths, [100, 1000])
    assert study.wide_loss.shape == (2, 2, 21)
    assert np.isfinite(study.wide_loss[0]).all()
    assert np.isnan(study.wide_loss[1, :, -1]).all()
    assert np.isfinite(study.floor_error).all()  # of four records


def test_wide_strengths_need_widths():
    with pytest.raises(ValueError, match="wide_widths is empty"):
        trajectory_study(kappas=[0.1], rows=5, wide_kappas=[0.1])
