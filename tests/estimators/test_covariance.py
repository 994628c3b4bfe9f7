"""The kernel object: its values, its gradient, and Gaussian processes and support vectors with it."""

import pickle
import re

import mpmath as mp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import fastntk as fn
from fastntk.estimators import NTKKernel

RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((12, 4)), RNG.standard_normal((5, 4))
STRENGTHS = {"one": 0.3, "each": np.array([0.2, 0.5, 1.2, 0.01])}
SETTINGS = [
    {"kernel": kernel, "layers": layers}
    for kernel in ("infinite", "expected")
    for layers in ("hidden", "output", "both")
]


# --------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
@pytest.mark.parametrize("kappa", [0.0, 0.3, STRENGTHS["each"]], ids=["none", "one", "each"])
def test_values_are_those_of_the_mean_kernels(settings, kappa):
    kernel = NTKKernel(kappa, width=150, random_state=2, **settings)
    mask, layers = fn.GaussianMask(kappa), settings["layers"]
    if settings["kernel"] == "infinite":
        K, k = fn.ntk_limit(X, mask=mask, layers=layers), fn.ntk_limit(Z, X, mask=mask, layers=layers)
    else:
        of = {"network": fn.Network(150, dim=4, seed=2), "mask": mask, "layers": layers}
        K, k = fn.expected_ntk(X, **of), fn.expected_ntk(Z, X, **of)
    np.testing.assert_allclose(kernel(X), K, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(kernel(Z, X), k, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(kernel.diag(X), np.diag(K), rtol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_all_rows_together_are_positive_semidefinite(settings):
    kernel = NTKKernel(0.5, width=60, **settings)
    joint = np.block([[kernel(X), kernel(X, Z)], [kernel(Z, X), kernel(Z)]])
    assert np.linalg.eigvalsh(joint)[0] > -1e-12
    assert np.linalg.eigvalsh(kernel(X, X))[0] > -1e-12  # what SVC fits


def test_a_row_with_itself_has_more_under_one_mask_than_under_two():
    kernel = NTKKernel(0.5, kernel="expected")
    same, independent = kernel(X), kernel(X, X)
    assert (np.diag(same) > np.diag(independent)).all()
    np.fill_diagonal(independent, np.diag(same))
    np.testing.assert_allclose(same, independent, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------- gradients


def by_differences(kernel, rows, h=1e-3):
    """Derivatives of kernel(rows) by theta, to fourth order: h^4 / 30 of the fifth, and rounding / h."""
    slopes = []
    for step in np.eye(kernel.n_dims) * h:
        at = [kernel.clone_with_theta(kernel.theta + j * step)(rows) for j in (-2, -1, 1, 2)]
        slopes.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h))
    return np.stack(slopes, axis=2)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
@pytest.mark.parametrize("kappa", STRENGTHS.values(), ids=STRENGTHS)
@pytest.mark.parametrize("size", [1.0, 1e-12, 1e12])
def test_gradient_is_the_derivative_of_the_kernel(settings, kappa, size):
    rows = X.copy()
    rows[3] = 0  # a row of zeros, equal and opposite ones, entries of zero, one feature alone
    rows[4], rows[5] = rows[6], -rows[6]
    rows[1, 2] = 0
    rows[2, 1:] = 0
    rows *= size
    kernel = NTKKernel(kappa, width=80, **settings)
    K, gradient = kernel(rows, eval_gradient=True)
    assert gradient.shape == (12, 12, np.size(kappa))
    np.testing.assert_array_equal(gradient, gradient.transpose(1, 0, 2))
    # differences: h^4 = 1e-12 times a fifth derivative of some tens, eps / h = 2e-13 of the largest entry
    np.testing.assert_allclose(gradient, by_differences(kernel, rows), rtol=0, atol=1e-9 * K.max())


def limit_entry(x, y, log_kappa):
    """The infinite hidden-layer kernel of two rows by the delta method, all derivatives numerical."""
    k2 = mp.exp(2 * log_kappa)

    def value(A, B, D):
        return D * (mp.pi - mp.acos(D / mp.sqrt(A * B))) / (2 * mp.pi)

    def moments(u):
        """E |u~|^2 and Var |u~|^2 of u~ ~ N(u, k2 u^2)."""
        V = [k2 * e**2 for e in u]
        return mp.fsum(e**2 + v for e, v in zip(u, V, strict=True)), mp.fsum(
            4 * e**2 * v + 2 * v**2 for e, v in zip(u, V, strict=True)
        )

    (A, var_a), (B, var_b) = moments(x), moments(y)
    pairs = list(zip(x, y, strict=True))
    D = mp.fsum(e * f for e, f in pairs)
    var_d = mp.fsum((k2 + k2 + k2**2) * e**2 * f**2 for e, f in pairs)
    cov_a, cov_b = (
        mp.fsum(2 * k2 * e * f * g**2 for (e, f), g in zip(pairs, u, strict=True)) for u in (x, y)
    )
    second = {
        (2, 0, 0): var_a,
        (0, 2, 0): var_b,
        (0, 0, 2): var_d,
        (1, 0, 1): 2 * cov_a,
        (0, 1, 1): 2 * cov_b,
    }
    return value(A, B, D) + mp.fsum(c * mp.diff(value, (A, B, D), n) for n, c in second.items()) / 2


def test_gradient_at_infinite_width_in_many_digits():
    rows = X[:2].astype(np.float32).astype(float)
    x, y = ([mp.mpf(e) for e in row] for row in rows)
    K, gradient = NTKKernel(0.3)(rows, eval_gradient=True)
    with mp.workdps(60):
        at = mp.log(mp.mpf(0.3))
        assert abs(limit_entry(x, y, at) - K[0, 1]) < 1e-14
        assert abs(mp.diff(lambda t: limit_entry(x, y, t), at) - gradient[0, 1, 0]) < 1e-14


def test_gradient_at_finite_width_in_many_digits():
    W = fn.Network(6, dim=4).weights()
    K, gradient = NTKKernel(0.3, kernel="expected", width=6)(X[:2], eval_gradient=True)

    def features(x, w, k2):
        z, s = mp.fsum(x * w), mp.sqrt(k2 * mp.fsum(x**2 * w**2))
        return [e * mp.ncdf(z / s) + k2 * e**2 * v * mp.npdf(z / s) / s for e, v in zip(x, w, strict=True)]

    def entry(log_kappa):
        k2 = mp.exp(2 * log_kappa)
        total = mp.mpf(0)
        for w in W:
            total += mp.fsum(a * b for a, b in zip(*(features(x, w, k2) for x in X[:2]), strict=True))
        return total / 6

    with mp.workdps(30):
        at = mp.log(mp.mpf(0.3))
        assert abs(entry(at) - K[0, 1]) < 1e-14
        assert abs(mp.diff(entry, at) - gradient[0, 1, 0]) < 1e-14


@pytest.mark.parametrize(
    "fixed", [{"kappa_bounds": "fixed"}, {"kappa": 0.0}, {"kappa": [0.0, 0.1, 0.2, 0.3]}]
)
def test_nothing_to_optimise(fixed):
    kernel = NTKKernel(**fixed)
    assert kernel.n_dims == 0
    assert kernel(X, eval_gradient=True)[1].shape == (12, 12, 0)


# --------------------------------------------------------------------- in the hands of scikit-learn


@pytest.mark.parametrize("kind", ["infinite", "expected"])
def test_gaussian_process_is_its_formula(kind):
    y = np.abs(X[:, 0])
    kernel = NTKKernel(0.4, kernel=kind, width=100)
    model = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None).fit(X, y)
    system = kernel(X) + 0.1 * np.eye(12)
    k = kernel(Z, X)
    mean, covariance = model.predict(Z, return_cov=True)
    np.testing.assert_allclose(mean, k @ np.linalg.solve(system, y), atol=1e-11)
    np.testing.assert_allclose(covariance, kernel(Z) - k @ np.linalg.solve(system, k.T), atol=1e-11)
    deviation = model.predict(Z, return_std=True)[1]
    np.testing.assert_allclose(deviation**2, np.diag(covariance), rtol=1e-10)


@pytest.mark.parametrize("kappa", [0.05, np.full(4, 0.05)], ids=["one", "each"])
def test_likelihood_is_climbed_along_its_gradient(kappa):
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((60, 4))
    y = rng.multivariate_normal(np.zeros(60), NTKKernel(0.6)(rows) + 1e-2 * np.eye(60))
    kernel = ConstantKernel(1.0, "fixed") * NTKKernel(kappa) + WhiteKernel(1e-2, "fixed")
    model = GaussianProcessRegressor(kernel).fit(rows, y)
    start, found = kernel.theta, model.kernel_.theta
    assert model.log_marginal_likelihood(found) > model.log_marginal_likelihood(start) + 1
    _, slope = model.log_marginal_likelihood(start, eval_gradient=True)
    h = 1e-5
    for j, step in enumerate(np.eye(len(start)) * h):
        up, down = (model.log_marginal_likelihood(start + sign * step) for sign in (1, -1))
        assert slope[j] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-5)
    if np.ndim(kappa) == 0:
        assert 0.4 < np.exp(found[0]) < 0.9  # drawn at 0.6, from 60 numbers


def test_support_vectors():
    labels = np.abs(X).sum(axis=1) > 3
    kernel = NTKKernel(0.2)
    given = SVC(kernel="precomputed").fit(kernel(X, X), labels)
    model = SVC(kernel=kernel).fit(X, labels)
    np.testing.assert_allclose(model.decision_function(Z), given.decision_function(kernel(Z, X)), atol=1e-10)


def test_pipelines_and_searches():
    labels = np.abs(X).sum(axis=1) > 3
    model = make_pipeline(StandardScaler(), GaussianProcessClassifier(NTKKernel(), optimizer=None))
    grid = {"gaussianprocessclassifier__kernel__kappa": [0.0, 0.2]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, labels)
    assert search.predict(Z).shape == (5,)


def test_clones_pickles_and_equality():
    kernel = NTKKernel(0.3, kernel="expected", width=50, layers="both", random_state=4)
    for copy in (clone(kernel), pickle.loads(pickle.dumps(kernel)), kernel.clone_with_theta(kernel.theta)):
        assert repr(copy) == repr(kernel)
        np.testing.assert_allclose(copy(X), kernel(X), rtol=1e-14)
    assert clone(kernel) == kernel != clone(kernel).set_params(kappa=0.4)
    assert repr(kernel) == "NTKKernel(kappa=0.3, kernel='expected', width=50, layers='both')"
    assert repr(NTKKernel([0.1, 0.2])) == "NTKKernel(kappa=[0.1, 0.2], kernel='infinite', layers='hidden')"
    assert kernel.theta == np.log(0.3)
    assert kernel.requires_vector_input
    assert not kernel.is_stationary()


@pytest.mark.parametrize(
    ("parameters", "rows", "message"),
    [
        ({"kernel": "finite"}, X, "kernel is 'finite'; it must be one of 'expected', 'infinite'."),
        ({"layers": "all"}, X, "layers is 'all'"),
        ({"kappa": -1.0}, X, "kappa is -1.0; it must be from 0"),
        ({"kappa": [0.1, 0.2]}, X, "kappa of GaussianMask is for 2 features but X has 4"),
        ({"kernel": "expected", "width": 0}, X, "width is 0; it must be from 1"),
        ({"kernel": "expected", "random_state": -1}, X, "random_state is -1; it must be from 0"),
        ({}, X[0], "X has shape (4,); it must have two dimensions"),
        ({}, np.where(X.max() == X, np.nan, X), "X is not finite"),
        ({}, np.full((2, 3), 1e39), "X is not finite after rounding to float32"),
    ],
)
def test_wrong_input(parameters, rows, message):
    for call in (lambda k: k(rows), lambda k: k.diag(rows)):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(NTKKernel(**parameters))


def test_no_gradient_between_two_sets_of_rows():
    with pytest.raises(ValueError, match="eval_gradient=True is given with Y"):
        NTKKernel()(X, Z, eval_gradient=True)
