"""Real data, and the page of the documentation."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, add_dummy_feature
from sklearn.svm import SVC

from fastntk.estimators import NetworkClassifier, NetworkRegressor, NTKClassifier, NTKKernel, NTKRegressor

from ..pages import python_blocks

PAGE = Path(__file__).parents[2] / "docs" / "scikit-learn.md"


def score(model, data, folds):
    kind = StratifiedKFold if len(np.unique(data[1])) <= 10 else KFold
    model = make_pipeline(StandardScaler(), FunctionTransformer(add_dummy_feature), model)
    return cross_val_score(model, *data, cv=kind(folds, shuffle=True, random_state=0)).mean()


@pytest.mark.parametrize(
    "model",
    [
        NTKClassifier(width=2000, kappa=0.1, draws=2),
        NTKClassifier("infinite"),
        NetworkClassifier(width=1000, kappa=0.1, steps=400),
        SVC(kernel=NTKKernel(0.1)),
    ],
    ids=repr,
)
def test_digits(model):
    X, y = load_digits(return_X_y=True)
    data = X[:600], y[:600]  # the most frequent class has 0.1
    assert score(model, data, 2) > score(LogisticRegression(max_iter=1000), data, 2) - 0.02 > 0.93


@pytest.mark.parametrize(
    "model",
    [
        NTKClassifier(width=2000),
        NTKClassifier("expected", width=300, kappa=0.1),
        NetworkClassifier(width=1000),
    ],
    ids=repr,
)
def test_iris(model):
    data = load_iris(return_X_y=True)
    assert score(model, data, 3) > 0.92 > score(DummyClassifier(), data, 3)


@pytest.mark.parametrize("model", [NTKClassifier("infinite"), NetworkClassifier(width=1000)], ids=repr)
def test_probabilities_of_iris(model):
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), FunctionTransformer(add_dummy_feature), model)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    P = cross_val_predict(model, X, y, cv=folds, method="predict_proba")
    brier = np.square(P - np.eye(3)[y]).sum(axis=1).mean()
    assert brier < 0.25 * (1 - 1 / 3)  # of that of equal probabilities


@pytest.mark.parametrize(
    "model",
    [
        NTKRegressor(width=1000, kappa=0.5, ridge=1.0),
        NTKRegressor("expected", width=300, kappa=0.5, ridge=1.0),
        NTKRegressor("infinite", kappa=0.5, ridge=1.0),
        NetworkRegressor(width=1000, kappa=0.3, steps=50),
        GaussianProcessRegressor(ConstantKernel(0.1) * NTKKernel(1.0), optimizer=None, normalize_y=True),
    ],
    ids=repr,
)
def test_diabetes(model):
    data = load_diabetes(return_X_y=True)  # noisy: linear regression is about the best there is
    assert score(model, data, 3) > score(LinearRegression(), data, 3) - 0.05 > 0.4


def test_the_page_of_the_documentation():
    names = {}
    for block in python_blocks(PAGE.read_text(encoding="utf-8")):
        exec(block, names)
    assert names["accuracy"] > 0.97
    assert names["species"] > 0.92
    assert names["search"].best_params_["ntkclassifier__width"] == 2000
    assert names["r2"] > 0.4
    assert names["losses"][-1] < 0.6 * names["losses"][0]
    inside = np.abs(names["ytest"] - names["mean"]) < 2 * names["deviation"]
    assert inside.mean() > 0.9
    assert names["report"].keys() <= {"passed", "skipped"}
    assert names["report"]["passed"] > 40
    digits = names["digits"]
    assert names["machine"].score(digits[0][500:], digits[1][500:]) > 0.92
