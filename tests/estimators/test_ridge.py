"""Kernel ridge estimators against their formula in plain NumPy."""

import re

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

import fastntk as fn
from fastntk.estimators import NetworkRegressor, NTKClassifier, NTKRegressor

RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((30, 4)), RNG.standard_normal((9, 4))
Y = np.column_stack([np.abs(X[:, 0]) + 3, X[:, 1]])


def plain_kernel(A, B, W):
    """The hidden-layer kernel of rows A and B and weights W."""
    on_a, on_b = A @ W.T > 0, B @ W.T > 0
    return (A @ B.T) * (on_a.astype(float) @ on_b.T) / len(W)


def plain_prediction(K, k, y, ridge):
    """Kernel ridge regression by its formula."""
    system = K + ridge * np.trace(K) / len(K) * np.eye(len(K))
    return y.mean(axis=0) + k @ np.linalg.solve(system, y - y.mean(axis=0))


def single(A):
    """Rows as the finite kernel uses them."""
    return A.astype(np.float32).astype(float)


@pytest.mark.parametrize("seed", [0, 7])
def test_finite_width_is_of_masked_training_rows_and_clean_rows(seed):
    mask, W = fn.GaussianMask(0.3), fn.Network(200, dim=4, seed=seed).weights()
    K, k = 0.0, 0.0
    for draw in range(3):
        masked = mask.sample(X, seed=seed, draw=draw).astype(float)
        K, k = K + plain_kernel(masked, masked, W) / 3, k + plain_kernel(single(Z), masked, W) / 3
    model = NTKRegressor(width=200, kappa=0.3, draws=3, ridge=0.05, random_state=seed).fit(X, Y)
    # condition number below 21 n = 630: 1e-12 of the kernel becomes 1e-9 at most
    np.testing.assert_allclose(model.predict(Z), plain_prediction(K, k, Y, 0.05), atol=1e-9)


def test_finite_width_on_training_rows_is_that_of_the_clean_ones():
    model = NTKRegressor(width=200, kappa=0.5, draws=2).fit(X, Y[:, 0])
    order = RNG.permutation(len(X))
    np.testing.assert_allclose(model.predict(X[order]), model.predict(X)[order], atol=1e-10)
    np.testing.assert_allclose(model.predict(X[3:4]), model.predict(X)[3:4], atol=1e-10)


@pytest.mark.parametrize("layers", ["hidden", "output", "both"])
def test_expected_is_the_limit_of_many_draws(layers):
    def difference(draws, seed):
        settings = {"width": 100, "kappa": 0.4, "layers": layers, "ridge": 0.5, "random_state": seed}
        models = NTKRegressor("expected", **settings), NTKRegressor("finite", draws=draws, **settings)
        return np.subtract(*(model.fit(X, Y[:, 0]).predict(Z) for model in models))

    few, many = (np.sqrt(np.mean([difference(draws, s) ** 2 for s in range(4)])) for draws in (4, 100))
    # sampling errors fall as draws^-1/2: fivefold, give or take a factor of two
    assert 0.1 * few < many < 0.4 * few


def test_infinite_width_without_mask_is_the_arc_cosine_kernel():
    def arc_cosine(A, B):
        a, b = np.linalg.norm(A, axis=1)[:, None], np.linalg.norm(B, axis=1)
        theta = np.arccos(np.clip(A @ B.T / (a * b), -1, 1))
        return A @ B.T * (np.pi - theta) / (2 * np.pi)

    rows, others = single(X), single(Z)
    K = arc_cosine(rows, rows)
    y = Y[:, 0] - Y[:, 0].mean()
    reference = KernelRidge(alpha=0.2 * np.trace(K) / len(K), kernel="precomputed").fit(K, y)
    model = NTKRegressor("infinite", ridge=0.2).fit(X, Y[:, 0])
    found = model.predict(Z) - Y[:, 0].mean()
    # the cosines of equal rows are 1 to 2e-16, their angles 0 to 2e-8: K to 1e-8, times a condition of 200
    np.testing.assert_allclose(found, reference.predict(arc_cosine(others, rows)), atol=1e-6)


def test_infinite_width_is_near_a_large_width():
    finite = NTKRegressor("expected", width=20_000, kappa=0.3).fit(X, Y[:, 0]).predict(Z)
    infinite = NTKRegressor("infinite", kappa=0.3).fit(X, Y[:, 0]).predict(Z)
    assert np.abs(finite - infinite).max() < 0.1 * np.std(infinite)


@pytest.mark.parametrize("kernel", ["finite", "expected", "infinite"])
def test_columns_of_y_are_fitted_each_for_itself(kernel):
    model = NTKRegressor(kernel, width=100, kappa=0.2, draws=2)
    both = model.fit(X, Y).predict(Z)
    assert both.shape == (9, 2)
    for c in range(2):
        np.testing.assert_allclose(model.fit(X, Y[:, c]).predict(Z), both[:, c], atol=1e-10)


@pytest.mark.parametrize("kernel", ["finite", "expected", "infinite"])
@pytest.mark.parametrize("unit", [2.0**-30, 2.0**40])
def test_predictions_do_not_depend_on_the_unit_of_X(kernel, unit):
    model = NTKRegressor(kernel, width=100, kappa=0.2, draws=2)
    found = model.fit(X, Y).predict(Z)
    np.testing.assert_allclose(model.fit(unit * X, Y).predict(unit * Z), found, rtol=1e-10)


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**1000])
def test_predictions_are_in_the_unit_of_y(unit):
    model = NTKRegressor("infinite")
    found = model.fit(X, Y).predict(Z)
    np.testing.assert_allclose(model.fit(X, unit * Y).predict(Z), unit * found, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["finite", "expected", "infinite"])
def test_rows_of_zeros_and_equal_rows(kernel):
    model = NTKRegressor(kernel, width=100, kappa=0.2)
    np.testing.assert_array_equal(model.fit(np.zeros((4, 3)), [1.0, 2, 3, 6]).predict(np.zeros((2, 3))), 3.0)
    y = np.repeat(Y[:10, 0], 2)
    assert model.fit(np.repeat(X[:10], 2, axis=0), y).score(np.repeat(X[:10], 2, axis=0), y) > 0.5


def test_the_same_for_any_number_of_threads():
    found = [NTKRegressor(width=3000, kappa=0.2, threads=t).fit(X, Y).predict(Z) for t in (1, 3)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_where_the_matrix_does_not_fit_the_memory(monkeypatch):
    import fastntk.estimators.ridge as module

    def small(*sides, form, **settings):
        if form == "dense":
            raise MemoryError
        return fn.ntk_operator(*sides, form=form, **settings)

    model = NTKRegressor(width=100, kappa=0.2, draws=2)
    found = model.fit(X, Y).predict(Z)
    monkeypatch.setattr(module, "ntk_operator", small)
    # conjugate gradients to 1e-8 of y, of which 1 / ridge = 10 times reaches the coefficients
    np.testing.assert_allclose(model.fit(X, Y).predict(Z), found, atol=1e-5)


def test_a_classifier_regresses_on_one_hot_targets():
    names = np.array(["b", "c", "a"])[RNG.integers(0, 3, len(X))]
    model = NTKClassifier("infinite", kappa=0.2).fit(X, names)
    regression = NTKRegressor("infinite", kappa=0.2).fit(X, names[:, None] == np.array(["a", "b", "c"]))
    outputs = model.decision_function(Z)
    np.testing.assert_allclose(outputs, regression.predict(Z), atol=1e-12)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(Z), np.array(["a", "b", "c"])[outputs.argmax(axis=1)])


def test_two_classes():
    model = NTKClassifier("infinite").fit(X, X[:, 0] > 0)
    decided = model.decision_function(Z)
    assert decided.shape == (9,)
    np.testing.assert_array_equal(model.predict(Z), decided > 0)
    np.testing.assert_array_equal(model.predict_proba(Z)[:, 1] > 0.5, decided > 0)


@pytest.mark.parametrize(
    ("parameters", "exception", "message"),
    [
        ({"kernel": "wide"}, ValueError, "kernel is 'wide'; it must be one of 'finite', 'expected'"),
        ({"width": 0}, ValueError, "width is 0; it must be from 1"),
        ({"width": 10.5}, TypeError, "width is 10.5; it must be an integer"),
        ({"kappa": -0.1}, ValueError, "kappa is -0.1; it must be from 0"),
        ({"kappa": float("nan")}, ValueError, "kappa is nan"),
        ({"kappa": [0.1, 0.2]}, ValueError, "kappa of GaussianMask is for 2 features but X has 4"),
        ({"kappa": 0.1, "draws": 0}, ValueError, "draws is 0; it must be from 1"),
        ({"layers": "all"}, ValueError, "layers is 'all'"),
        ({"ridge": -1.0}, ValueError, "ridge is -1.0; it must be finite and at least 0"),
        ({"ridge": "much"}, TypeError, "ridge is 'much'; it must be a number"),
        ({"random_state": -1}, ValueError, "random_state is -1; it must be from 0"),
        ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
        ({"threads": 0}, ValueError, "threads is 0"),
    ],
)
def test_wrong_parameters(parameters, exception, message):
    with pytest.raises(exception, match=re.escape(message)):
        NTKRegressor(**({"width": 50} | parameters)).fit(X, Y)


def test_a_singular_kernel_says_what_to_do():
    twice = np.repeat(X[:5], 2, axis=0)
    with pytest.raises(ValueError, match=r"with ridge=0 is singular to rounding.*such as 1e-8"):
        NTKRegressor("infinite", ridge=0).fit(twice, np.arange(10.0))


def test_one_class_alone():
    with pytest.raises(ValueError, match="one class only"):
        NTKClassifier().fit(X, np.ones(len(X)))


@pytest.mark.parametrize("model", [NTKRegressor(width=20), NetworkRegressor(width=20)], ids=repr)
def test_targets_whose_sums_are_no_numbers(model):
    X, y = np.eye(4), np.array([1.0, -1.0, 1.0, 1.0])
    largest = np.finfo(float).max / 16
    assert np.isfinite(model.fit(X, y * largest).predict(X)).all()
    with pytest.raises(ValueError, match=r"y holds 1\.8e\+308; targets may be up to 1\.12e\+307"):
        model.fit(X, y * np.finfo(float).max)


def test_rows_beyond_float32():
    with pytest.raises(ValueError, match="X is not finite after rounding to float32"):
        NTKRegressor("infinite").fit(np.full((3, 2), 1e39), [1.0, 2.0, 3.0])
