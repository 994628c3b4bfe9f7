"""What is learned from a data set: the rows held out, the answers, and the scores."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import fastntk as fn
from fastntk.datasets import DataError, Dataset, hold_out, load, preprocess
from fastntk.kernels.reference import philox
from fastntk.study import scores
from fastntk.study.task import Task, make_task

# --------------------------------------------------------------------------- rows held out


def test_the_rows_with_the_smallest_words_are_held_out():
    seed, rows = 12345678901234567, 50
    words = []
    for row in range(rows):
        low, high, _, _ = philox((row, 0, 0, 5 << 28), (seed & 0xFFFFFFFF, seed >> 32))
        words.append(int(low) | int(high) << 32)
    expected = np.isin(np.arange(rows), np.argsort(words)[:10])
    np.testing.assert_array_equal(hold_out(rows, 0.2, seed), expected)


def test_a_larger_share_holds_out_the_same_rows_and_more():
    smaller, larger = hold_out(1000, 0.1, 3), hold_out(1000, 0.4, 3)
    assert (smaller.sum(), larger.sum()) == (100, 400)
    assert larger[smaller].all()
    assert not np.array_equal(hold_out(1000, 0.1, 4), smaller)


def test_the_split_is_fair():
    """Over 200 seeds every one of 40 rows is held out about a quarter of the times: within 5 sigma."""
    counts = sum(hold_out(40, 0.25, seed).astype(int) for seed in range(200))
    assert np.abs(counts - 50).max() < 5 * math.sqrt(200 * 0.25 * 0.75)


@pytest.mark.parametrize(("rows", "share", "count"), [(10, 0, 0), (10, 0.01, 1), (10, 0.25, 2), (3, 0.5, 2)])
def test_shares_become_whole_rows(rows, share, count):
    assert hold_out(rows, share).sum() == count


@pytest.mark.parametrize(("rows", "share"), [(10, 1), (10, -0.1), (10, math.nan), (10, 0.99), (1, 0.2)])
def test_shares_that_leave_nothing(rows, share):
    with pytest.raises(DataError, match="--test-fraction"):
        hold_out(rows, share)


# ---------------------------------------------------------------------------------- answers


def test_classes_and_rows_are_those_of_the_data():
    digits = load("digits")
    task = make_task(digits, preprocessing="unit", test_fraction=0.2, seed=1)
    held_out = hold_out(1797, 0.2, 1)
    np.testing.assert_array_equal(task.held_out_ids, np.flatnonzero(held_out))
    np.testing.assert_array_equal(np.sort(np.r_[task.ids, task.held_out_ids]), np.arange(1797))
    np.testing.assert_array_equal(task.y, digits.target[task.ids])
    np.testing.assert_array_equal(task.held_out_y, digits.target[task.held_out_ids])
    X = preprocess(digits.features, "unit").astype(np.float32)
    np.testing.assert_array_equal(task.X, X[task.ids])
    np.testing.assert_array_equal(task.held_out_X, X[task.held_out_ids])
    assert (task.outputs, task.classes, task.score_name) == (10, 10, "accuracy")


def test_nothing_is_learned_from_rows_held_out():
    """Means and variances of features and of the answer are those of the rows to train on."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)) * 5 + 2, rng.standard_normal(60) * 7 + 100
    task = make_task(Dataset("d", X, y), preprocessing="standardize", test_fraction=0.3, seed=2)
    known, unknown = task.ids, task.held_out_ids
    mean, deviation = X[known].mean(axis=0), X[known].std(axis=0)
    for rows, found in ((known, task.X), (unknown, task.held_out_X)):
        scaled = (X[rows] - mean) / deviation
        np.testing.assert_allclose(found, scaled / np.linalg.norm(scaled, axis=1)[:, None], rtol=1e-6)
    np.testing.assert_allclose(task.held_out_y, (y[unknown] - y[known].mean()) / y[known].std(), rtol=1e-12)
    np.testing.assert_allclose((task.y.mean(), task.y.std()), (0, 1), atol=1e-12)
    changed = np.where(np.isin(np.arange(60), unknown), 1e6, y)
    again = make_task(Dataset("d", X, changed), preprocessing="standardize", test_fraction=0.3, seed=2)
    np.testing.assert_array_equal(again.y, task.y)


@pytest.mark.parametrize(
    ("target", "names", "message"),
    [
        (None, None, "d has no target to learn: name it with --target"),
        (np.full(20, 3.5), None, "the same in all rows"),
        (np.zeros(20, int), ("a",), "the same in all rows"),
    ],
)
def test_there_has_to_be_something_to_learn(target, names, message):
    data = Dataset("d", np.ones((20, 2)), target, names)
    with pytest.raises(DataError, match=message):
        make_task(data, preprocessing="unit", test_fraction=0.2, seed=0)


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_task_comes_back_from_its_file(tmp_path, name):
    task = make_task(load(name), preprocessing="unit", test_fraction=0.2, seed=0)
    task.save(tmp_path / "data.npz")
    again = Task.load(tmp_path / "data.npz")
    for field, value in vars(task).items():
        np.testing.assert_array_equal(getattr(again, field), value)
        assert np.asarray(getattr(again, field)).dtype == np.asarray(value).dtype
    assert again.outputs == task.outputs


# ----------------------------------------------------------------------------------- scores


def test_scores_are_those_of_scikit_learn():
    for name in ("iris", "diabetes"):
        task = make_task(load(name), preprocessing="unit", test_fraction=0, seed=0)
        network = fn.Network(300, task.X.shape[1], outputs=task.outputs, seed=4)
        f = fn.outputs(task.X, network=network)
        loss, score = scores.clean_score(task, network, task.X, task.y)
        if task.classes:
            assert score == accuracy_score(task.y, f.argmax(axis=1))
            answers = task.y[:, None] == np.arange(3)
        else:
            np.testing.assert_allclose(score, r2_score(task.y, f), rtol=1e-9)
            f, answers = f[:, None], task.y[:, None]
        np.testing.assert_allclose(loss, ((f - answers) ** 2).sum() / 2 / len(f), rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.09078, 7.176e-4, "0.09078 ± 0.00072"),
        (97.953, 0.2284, "97.95 ± 0.23"),
        (3.0, 0.0, "3.000 ± 0"),
        (1234.5, 67.8, "1,234 ± 68"),
        (math.nan, math.nan, "nan ± nan"),
    ],
)
def test_a_spread_has_two_digits(value, spread, text):
    assert scores.with_spread(value, spread) == text
