"""Training learns: real data of scikit-learn, held-out rows, input masks, narrow networks."""

import numpy as np
import pytest

import fastntk as fn

datasets = pytest.importorskip("sklearn.datasets")


def halves(X, target, seed=0):
    """Rows for training, rows held out, and their targets."""
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: 2 * len(X) // 3], order[2 * len(X) // 3 :]
    return X[train], X[test], target[train], target[test]


def standardized(X, reference):
    """With a constant feature for an offset, about unit norm."""
    spread = reference.std(axis=0)
    Z = (X - reference.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.column_stack([Z / np.sqrt(X.shape[1]), np.ones(len(X))])


def accuracy(X, labels, network):
    return np.mean(fn.outputs(X, network=network).argmax(axis=1) == labels)


@pytest.mark.parametrize("batch_size", [None, 256])
def test_digits(batch_size):
    """Ten classes; every training input multiplied by N(1, 0.2^2): above 0.93 of those held out."""
    data = datasets.load_digits()
    X, X_test, labels, labels_test = halves((data.data - data.data.mean(axis=0)) / 16, data.target)
    network = fn.Network(400, 64, outputs=10, seed=0, scale=0.5)
    run = fn.train(
        X,
        labels,
        network=network,
        mask=fn.GaussianMask(0.2),
        steps=200,
        batch_size=batch_size,
        record_every=50,
    )
    assert run.status == "finished"
    assert run.clean_loss[-1] < 0.2 * run.clean_loss[0]
    assert run.accuracy[0] < 0.4
    assert run.accuracy[-1] > 0.95
    assert accuracy(X_test, labels_test, run.network) >= 0.93


def test_breast_cancer():
    """Two classes as targets -1 and 1 of one output."""
    data = datasets.load_breast_cancer()
    X, X_test, labels, labels_test = halves(data.data, 2.0 * data.target - 1)
    X, X_test = standardized(X, X), standardized(X_test, X)
    run = fn.train(X, labels, network=fn.Network(500, 31), mask=fn.GaussianMask(0.2), steps=200)
    found = np.sign(fn.outputs(X_test, network=run.network))
    assert np.mean(found == labels_test) >= 0.93


def test_diabetes():
    """A quantity of low signal: as good as ridge regression, within 0.05 of its R^2, by stopping early."""
    from sklearn.linear_model import RidgeCV

    data = datasets.load_diabetes()
    target = (data.target - data.target.mean()) / data.target.std()
    X, X_test, y, y_test = halves(data.data, target)
    ridge = RidgeCV(np.logspace(-4, 2, 13)).fit(X, y).score(X_test, y_test)
    X, X_test = standardized(X, X), standardized(X_test, X)
    network = fn.Network(500, 11, scale=0.5)
    run = fn.train(X, y, network=network, mask=fn.GaussianMask(0.5), steps=60, seed=1)
    residual = y_test - fn.outputs(X_test, network=run.network)
    score = 1 - np.square(residual).sum() / np.square(y_test - y_test.mean()).sum()
    assert 0.3 < ridge - 0.05 < score < ridge + 0.1


def test_masks_cost_training_loss_and_buy_small_weights_on_masked_inputs():
    """The floor: with the masks on, masked training ends below clean training; on clean inputs above."""
    data = datasets.load_diabetes()
    X, y = standardized(data.data, data.data)[:60], (data.target[:60] - data.target.mean()) / 100
    network, mask = fn.Network(400, 11), fn.GaussianMask(0.5)
    runs = {
        mode: fn.train(X, y, network=network, mask=mask, mode=mode, steps=400, step_size=0.05)
        for mode in ("masked", "clean")
    }
    late = slice(-10, None)
    assert runs["masked"].masked_loss[late].mean() < runs["clean"].masked_loss[late].mean()
    assert runs["clean"].clean_loss[-1] < runs["masked"].clean_loss[-1]
