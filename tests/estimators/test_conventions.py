"""scikit-learn's own checks of estimators, and what it does with estimators."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastntk import estimators
from fastntk.estimators import NetworkClassifier, NetworkRegressor, NTKClassifier, NTKRegressor

DIABETES, IRIS = load_diabetes(return_X_y=True), load_iris(return_X_y=True)
SMALL = [
    NTKRegressor(width=100, kappa=0.2, draws=2),
    NTKRegressor("infinite"),
    NTKClassifier(width=200, kappa=0.1, draws=2),
    NTKClassifier("expected", width=30, kappa=0.1),
    NetworkRegressor(width=100, kappa=0.1, steps=100),
    NetworkClassifier(width=100, kappa=0.1, steps=50),
]


@parametrize_with_checks(SMALL)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", estimators.__all__)
def test_parameters_are_described(name):
    """Each parameter stands in the docstring of its class, which has an example."""
    public = getattr(estimators, name)
    assert ">>>" in public.__doc__
    for parameter in public().get_params():
        assert parameter in public.__doc__


@pytest.mark.parametrize("estimator", SMALL, ids=repr)
def test_clones_and_pickles_predict_the_same(estimator):
    X, y = IRIS
    fitted = clone(estimator).fit(X, y)
    predicted = fitted.predict(X)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), predicted)
    np.testing.assert_array_equal(clone(fitted).fit(X, y).predict(X), predicted)


def test_grid_search_over_kappa_and_width():
    X, y = DIABETES
    model = make_pipeline(StandardScaler(), NTKRegressor(draws=2, ridge=1.0))
    grid = {"ntkregressor__kappa": [0.0, 0.5], "ntkregressor__width": [50, 2000]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X[:200], y[:200])
    assert search.best_params_["ntkregressor__width"] == 2000
    assert search.score(X[200:], y[200:]) > 0.4


def test_a_strength_for_each_feature():
    X, y = IRIS
    each, one, other = (
        NTKClassifier("infinite", kappa=kappa).fit(X, y).decision_function(X)
        for kappa in (np.full(4, 0.3), 0.3, np.array([0.3, 0.3, 0.3, 0.0]))
    )
    np.testing.assert_allclose(each, one, atol=1e-10)
    assert np.abs(other - one).max() > 1e-3
    assert clone(NTKClassifier(kappa=np.full(4, 0.3))).get_params()["kappa"].tolist() == [0.3] * 4


def test_bagging_gives_every_network_a_seed_of_its_own():
    X, y = DIABETES
    bag = BaggingRegressor(NTKRegressor(width=50), n_estimators=3, random_state=0).fit(X[:50], y[:50])
    assert len({model.seed_ for model in bag.estimators_}) == 3


def test_random_state_may_be_a_generator():
    X, y = IRIS
    first, second = (NTKClassifier(width=50, random_state=np.random.RandomState(s)).fit(X, y) for s in (3, 3))
    assert first.seed_ == second.seed_ == np.random.RandomState(3).randint(2**31)


def test_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn.utils.validation"] = None
try:
    import fastntk.estimators
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'python -m pip install "fastntk[sklearn]"' in done.stdout
