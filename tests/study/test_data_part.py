"""The part on real data: its numbers from the calls themselves, and rows held out that stay unseen."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import fastntk as fn
from fastntk.datasets import Dataset, load
from fastntk.kernels.reference import DRAW_LIMIT
from fastntk.study import data_study
from fastntk.study.parts import data, plateau
from fastntk.study.parts.data import PART
from fastntk.study.parts.part import Request
from fastntk.study.parts.plateau import noise_about_mean
from fastntk.study.task import make_task

from .plain import assert_column, assert_shown, body

SEED, WIDTH, STEPS, EVERY, WINDOW, KAPPAS = 5, 60, 200, 2, 60, (0.0, 0.5)
RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((40, 5)) * [1, 10, 0.1, 1, 1] + [0, 5, 0, 0, 1]
SETS = {
    "classes": Dataset(
        "classes", FEATURES, np.argmax(FEATURES[:, [0, 3, 4]], axis=1), ("a", "b", "c"), "kind"
    ),
    "quantity": Dataset("quantity", FEATURES, 100 + FEATURES @ [3, 1, 0, 0, -2], None, "size"),
}
SMALL = {False: {"kappas": KAPPAS, "width": 40, "steps": 60, "most_rows": 30}}


@pytest.fixture(scope="module")
def tasks():
    options = {"preprocessing": "standardize", "test_fraction": 0.25, "seed": SEED}
    return {name: make_task(one, **options) for name, one in SETS.items()}


def study_of(tasks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plateau, "SNAPSHOTS", WINDOW // 4)
        return data_study(tasks, kappas=KAPPAS, width=WIDTH, steps=STEPS, seed=SEED)


@pytest.fixture(scope="module")
def study(tasks):
    return study_of(tasks)


PLACES = list(itertools.product(range(2), range(2)))


@pytest.fixture(scope="module")
def runs(tasks, study):
    """A call of train for each set and strength, and its weights in the last 60 steps."""
    found = {}
    for (d, task), (k, kappa) in itertools.product(enumerate(tasks.values()), enumerate(KAPPAS)):
        options = {
            "network": fn.Network(WIDTH, 5, outputs=task.outputs, seed=SEED),
            "mask": fn.GaussianMask(kappa),
            "step_size": study.step_sizes[d],
            "row_ids": task.ids,
            "record_every": EVERY,
            "seed": SEED,
        }
        run, weights = None, []
        for steps in range(STEPS - WINDOW, STEPS + 1, 4):
            run = fn.train(task.X, task.y, steps=steps, resume=run, **options)
            weights.append(run.network.weights())
        found[d, k] = task, run, np.mean(weights[1:], axis=0)
    return found


def answers(task, y):
    return np.eye(task.outputs)[y] if task.classes else y[:, np.newaxis]


def scored(task, f, y):
    """Accuracy, or the share of the variance about the mean of the rows to train on, which is 0."""
    if task.classes:
        return np.mean(np.argmax(f, axis=1) == y)
    return 1 - np.square(f[:, 0] - y).sum() / np.square(y).sum()


def outputs(X, network, **masked):
    return fn.outputs(X, network=network, **masked).reshape(len(X), -1)


# ----------------------------------------------------------------------------------- the numbers


def test_losses_and_floors_are_those_of_train(study, runs):
    np.testing.assert_array_equal(study.steps, np.arange(0, STEPS + 1, EVERY))
    for place, (task, run, _) in runs.items():
        rows = len(task.X)
        np.testing.assert_array_equal(study.loss[place], run.clean_loss / rows)
        losses = run.clean_loss[run.recorded_steps >= STEPS - WINDOW]
        tenths = [part.mean() for part in np.array_split(losses, 10)]
        np.testing.assert_allclose(study.floor[place], losses.mean() / rows, rtol=1e-12)
        error = np.std(tenths, ddof=1) / np.sqrt(10) / rows
        np.testing.assert_allclose(study.floor_error[place], error, rtol=1e-10)


def test_predicted_floors_are_those_at_the_mean_weights(study, runs):
    for place, (task, run, middle) in runs.items():
        network = fn.Network.from_arrays(middle, run.network.output_weights())
        residuals = outputs(task.X, network) - answers(task, task.y)
        expected = 0.5 * np.square(residuals).sum() / len(task.X)
        np.testing.assert_allclose(study.floor_mean[place], expected, rtol=1e-5)
        options = {"mask": fn.GaussianMask(KAPPAS[place[1]]), "step_size": study.step_sizes[place[0]]}
        there = fn.predict_loss(task.X, task.y, network=network, plateau=False, **options)
        noise = noise_about_mean(there, WINDOW) / len(task.X)
        np.testing.assert_allclose(study.floor_noise[place], noise, rtol=1e-4)


def test_predictions_are_those_of_the_theory(study, runs):
    for (d, k), (task, _, _) in runs.items():
        theory = fn.predict_loss(
            *(task.X, task.y),
            network=fn.Network(WIDTH, 5, outputs=task.outputs, seed=SEED),
            mask=fn.GaussianMask(KAPPAS[k]),
            step_size=study.step_sizes[d],
            plateau=False,
        )
        np.testing.assert_array_equal(study.predicted[d, k], theory.loss(study.steps) / len(task.X))
    assert (study.floor_noise[:, 0] == 0).all()
    assert (study.floor_noise[:, 1] > 0).all()
    np.testing.assert_array_equal(study.predicted_floor, study.floor_mean + study.floor_noise)


def test_step_sizes_are_what_train_advises_under_the_strongest_mask(study, tasks):
    for d, task in enumerate(tasks.values()):
        network = fn.Network(WIDTH, 5, outputs=task.outputs, seed=SEED)
        options = {"mask": fn.GaussianMask(KAPPAS[-1]), "row_ids": task.ids, "seed": SEED, "steps": 1}
        assert study.step_sizes[d] == fn.train(task.X, task.y, network=network, **options).step_size


def test_scores_are_those_of_the_outputs_of_the_last_network(study, runs):
    assert study.score_names == ("accuracy", "R^2")
    for place, (task, run, _) in runs.items():
        clean = [
            scored(task, outputs(X, run.network), y)
            for X, y in ((task.X, task.y), (task.held_out_X, task.held_out_y))
        ]
        masked = [
            scored(
                task,
                outputs(
                    task.held_out_X,
                    run.network,
                    mask=fn.GaussianMask(KAPPAS[place[1]]),
                    seed=SEED,
                    draw=DRAW_LIMIT - 1 - draw,
                    row_ids=task.held_out_ids,
                ),
                task.held_out_y,
            )
            for draw in range(8)
        ]
        np.testing.assert_allclose(study.score[place], clean[0], rtol=1e-12)
        np.testing.assert_allclose(study.held_out_score[place], clean[1], rtol=1e-12)
        np.testing.assert_allclose(study.masked_score[place], np.mean(masked), rtol=1e-12)
        np.testing.assert_allclose(study.masked_spread[place], np.std(masked), rtol=1e-9, atol=1e-12)
    assert (study.score[:, 0] > 0.8).all()
    np.testing.assert_allclose(study.masked_score[:, 0], study.held_out_score[:, 0], rtol=1e-12)
    np.testing.assert_allclose(study.masked_spread[:, 0], 0, atol=1e-12)


def test_the_table_and_the_findings_show_the_numbers(study):
    rows = body(PART, study)
    assert [row[0] for row in rows] == ["classes"] * 2 + ["quantity"] * 2
    columns = [np.tile(KAPPAS, 2), study.floor, study.predicted_floor, study.floor_mean, study.floor_noise]
    for column, values in enumerate(
        [*columns, study.score, study.held_out_score, study.masked_score], start=1
    ):
        assert_column(rows, column, values)
    (ratios, _), (accuracies, meaning) = PART.findings(study)
    found = study.floor / study.predicted[..., -1]
    for text, value in zip(ratios.split(" to "), (found.min(), found.max()), strict=True):
        assert_shown(text, value)
    for text, value in zip(accuracies.split(" \N{RIGHTWARDS ARROW} "), study.held_out_score[0], strict=True):
        assert_shown(text, value)
    assert "held out of classes, " in meaning


# --------------------------------------------------------------------------------- rows held out


def test_every_row_is_either_trained_on_or_held_out(study, tasks):
    for d, (name, task) in enumerate(tasks.items()):
        assert (study.rows[d], study.held_out[d], study.features[d]) == (30, 10, 5)
        np.testing.assert_array_equal(np.sort([*task.ids, *task.held_out_ids]), np.arange(40))
        known = SETS[name].features[task.ids]
        for X, ids in ((task.X, task.ids), (task.held_out_X, task.held_out_ids)):
            scaled = (SETS[name].features[ids] - known.mean(axis=0)) / known.std(axis=0)
            scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
            np.testing.assert_allclose(X, scaled, rtol=1e-5, atol=1e-7)


def test_rows_held_out_serve_for_scores_only(study, tasks):
    """Other rows and answers there, from the file on: the rows to train on and all of training stay."""
    others = {}
    for name, task in tasks.items():
        features, target = SETS[name].features.copy(), SETS[name].target.copy()
        features[task.held_out_ids] *= -7
        target[task.held_out_ids] = target[task.held_out_ids][::-1]
        changed = replace(SETS[name], features=features, target=target)
        others[name] = make_task(changed, preprocessing="standardize", test_fraction=0.25, seed=SEED)
    other = study_of(others)
    for name in ("step_sizes", "loss", "predicted", "floor", "floor_mean", "floor_noise", "score"):
        np.testing.assert_array_equal(getattr(other, name), getattr(study, name))
    assert (other.held_out_score[:, 0] != study.held_out_score[:, 0]).all()


def test_fewer_rows_to_train_on_are_some_of_them_and_the_same_are_held_out(tasks):
    task = tasks["classes"]
    fewer, fewest = (data._some_rows(task, most, SEED) for most in (20, 10))
    assert set(fewest.ids) < set(fewer.ids) < set(task.ids)
    assert (len(fewer.ids), len(fewest.ids)) == (20, 10)
    for one in (fewer, fewest):
        places = np.searchsorted(task.ids, one.ids)
        np.testing.assert_array_equal(one.X, task.X[places])
        np.testing.assert_array_equal(one.y, task.y[places])
        assert one.held_out_X is task.held_out_X
    assert data._some_rows(task, 30, SEED) is task


# ---------------------------------------------------------------------------------- a user's file


def small(monkeypatch):
    monkeypatch.setattr(data, "SIZES", SMALL)
    monkeypatch.setattr(data, "DATA", {"iris": "standardize"})
    monkeypatch.setattr(plateau, "SNAPSHOTS", 5)


@pytest.mark.parametrize(("classes", "preprocessing"), [(True, "standardize"), (False, "unit")])
def test_a_csv_file_is_one_more_data_set(tmp_path, monkeypatch, classes, preprocessing):
    target = [*"abc"] if classes else None
    column = [target[i % 3] if classes else repr(float(100 + 3.5 * row[0])) for i, row in enumerate(FEATURES)]
    lines = ["p,q,answer,r,s,t"]
    for row, answer in zip(FEATURES, column, strict=True):
        cells = [repr(float(value)) for value in row]
        lines.append(",".join([*cells[:2], answer, *cells[2:]]))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    small(monkeypatch)
    request = Request(data=load(path, target="answer"), preprocessing=preprocessing, seed=SEED)
    study = PART.compute(request, None, None)
    assert study.names == ("iris", "mine.csv")
    assert study.score_names == ("accuracy", "accuracy" if classes else "R^2")
    assert study.rows.tolist() == [30, 30]  # at most so many; the file has 32 after those held out
    assert study.held_out.tolist() == [30, 8]
    assert study.outputs.tolist() == [3, 3 if classes else 1]
    assert study.features.tolist() == [4, 5]

    answer = np.arange(40) % 3 if classes else 100 + 3.5 * FEATURES[:, 0]
    mine = Dataset("mine.csv", FEATURES, answer, ("a", "b", "c") if classes else None, "answer")
    task = make_task(mine, preprocessing=preprocessing, test_fraction=0.2, seed=SEED)
    one = data_study(
        {"mine.csv": data._some_rows(task, 30, SEED)}, kappas=KAPPAS, width=40, steps=60, seed=SEED
    )
    for name in ("loss", "predicted", "held_out_score", "masked_score"):
        np.testing.assert_allclose(getattr(study, name)[1], getattr(one, name)[0], rtol=1e-6)


def test_a_file_without_a_target_is_left_out(monkeypatch):
    small(monkeypatch)
    study = PART.compute(Request(data=Dataset("rows", FEATURES)), None, None)
    assert study.names == ("iris",)


def test_no_data_set_is_an_error():
    with pytest.raises(ValueError, match="tasks is empty"):
        data_study({}, kappas=[0.1])


def test_a_run_that_diverges_has_no_score(tasks, monkeypatch):
    """No mask of a data set here makes one: the step size is taken for one that does."""
    monkeypatch.setattr(data, "_stable_step_size", lambda *_: 100.0)
    study = data_study({"quantity": tasks["quantity"]}, kappas=[0.0], width=20, steps=20, seed=SEED)
    assert np.isfinite(study.loss[0, 0, 0])
    assert np.isnan(study.loss[0, 0, -1])
    ends = study.floor, study.predicted_floor, study.score, study.held_out_score, study.masked_score
    assert np.isnan(ends).all()
    for figure in PART.figures(study).values():
        figure.draw_without_rendering()
