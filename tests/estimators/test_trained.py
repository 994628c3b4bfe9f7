"""Trained networks as estimators: what they do is what fastntk.train does."""

import re

import numpy as np
import pytest

import fastntk as fn
from fastntk.estimators import NetworkClassifier, NetworkRegressor

RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((20, 3)), RNG.standard_normal((7, 3))
Y = np.column_stack([10 * X[:, 0] + 5, np.abs(X[:, 1])])


def trained(targets, outputs=1, **settings):
    network = fn.Network(300, dim=3, outputs=outputs, seed=3, scale=0.1)
    run = fn.train(X, targets, network=network, mask=fn.GaussianMask(0.2), steps=40, seed=3, **settings)
    return fn.outputs(Z, network=run.network)


def settings(**others):
    return {"width": 300, "kappa": 0.2, "steps": 40, "random_state": 3} | others


@pytest.mark.parametrize("others", [{}, {"batch_size": 5, "step_size": 0.02}], ids=["default", "batches"])
def test_regressor(others):
    y = Y[:, 0]
    expected = y.mean() + y.std() * trained((y - y.mean()) / y.std(), **others)
    model = NetworkRegressor(**settings(**others)).fit(X, y)
    # targets differ in their last bits, and what a step does with them is float32
    np.testing.assert_allclose(model.predict(Z), expected, atol=1e-4 * y.std())
    assert (model.run_.steps_done, model.run_.status, model.seed_) == (40, "finished", 3)


def test_regressor_of_several_columns():
    expected = Y.mean(axis=0) + Y.std(axis=0) * trained((Y - Y.mean(axis=0)) / Y.std(axis=0), outputs=2)
    found = NetworkRegressor(**settings()).fit(X, Y).predict(Z)
    np.testing.assert_allclose(found, expected, atol=1e-4 * Y.std())
    column = NetworkRegressor(**settings()).fit(X, Y[:, :1]).predict(Z)
    np.testing.assert_array_equal(column[:, 0], NetworkRegressor(**settings()).fit(X, Y[:, 0]).predict(Z))


def test_classifier():
    labels = RNG.integers(0, 3, len(X))
    names = np.array(["a", "b", "c"])
    model = NetworkClassifier(**settings()).fit(X, names[labels])
    expected = trained(labels, outputs=3)
    np.testing.assert_array_equal(model.decision_function(Z), expected)
    np.testing.assert_array_equal(model.predict(Z), names[expected.argmax(axis=1)])
    assert model.run_.accuracy[-1] == model.score(X, names[labels])


@pytest.mark.parametrize("targets", [np.full(20, 3.0), np.column_stack([np.full(20, 3.0), Y[:, 0]])])
def test_a_constant_target_is_predicted_nearly(targets):
    found = NetworkRegressor(**settings(kappa=0.0, steps=1000)).fit(X, targets).predict(X)
    # the network is trained from outputs of size 0.1 |x| / sqrt(2) towards 0
    assert np.abs(found.reshape(20, -1)[:, 0] - 3).max() < 0.1


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**1000])
def test_predictions_are_in_the_unit_of_y(unit):
    found = NetworkRegressor(**settings()).fit(X, Y[:, 0]).predict(Z)
    np.testing.assert_array_equal(
        NetworkRegressor(**settings()).fit(X, unit * Y[:, 0]).predict(Z), unit * found
    )


def test_a_step_size_that_diverges_is_told():
    with pytest.warns(fn.TrainingWarning):
        model = NetworkRegressor(**settings(step_size=1e3)).fit(X, Y[:, 0])
    assert model.run_.status == "diverged"


def test_the_same_bits_for_any_number_of_threads():
    one, three = (NetworkRegressor(**settings(width=5000, threads=t)).fit(X, Y).predict(Z) for t in (1, 3))
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    ("parameters", "exception", "message"),
    [
        ({"width": -1}, ValueError, "width is -1; it must be from 1"),
        ({"kappa": "weak"}, TypeError, "kappa is 'weak'"),
        ({"steps": 0}, ValueError, "steps is 0; it must be from 1"),
        ({"step_size": -0.1}, ValueError, "step_size is -0.1"),
        ({"batch_size": 21}, ValueError, "batch_size is 21; it must be from 1 to 20"),
        ({"scale": 0}, ValueError, "scale is 0.0; it must be finite and above 0"),
        ({"random_state": 2**64}, ValueError, "random_state is 18446744073709551616; it must be from 0"),
    ],
)
def test_wrong_parameters(parameters, exception, message):
    for estimator, y in ((NetworkRegressor, Y[:, 0]), (NetworkClassifier, X[:, 0] > 0)):
        with pytest.raises(exception, match=re.escape(message)):
            estimator(**settings(**parameters)).fit(X, y)
