"""Kernel ridge regression: every form of a kernel gives the solution of the linear system."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

import fastntk as fn
from fastntk import ridge as ridge_module

RNG = np.random.default_rng(17)
X = RNG.standard_normal((150, 10))
X[4] = 0
NETWORK = fn.Network(width=3000, dim=10, seed=1)
K = fn.ntk(X, network=NETWORK)
Y = RNG.standard_normal((150, 3))


def in_file(matrix, folder):
    file = np.lib.format.open_memmap(folder / "K.npy", "w+", float, matrix.shape)
    file[:] = matrix
    return file


def assert_solves(fit, y, ridge, tolerance, matrix=K):
    """The reported residuals are those of the coefficients, and within the tolerance."""
    assert fit.coefficients.shape == y.shape
    assert fit.coefficients.dtype == np.float64
    left = y - (matrix @ fit.coefficients + ridge * fit.coefficients)
    residuals = np.atleast_1d(np.linalg.norm(left, axis=0) / np.linalg.norm(y, axis=0))
    np.testing.assert_allclose(fit.residuals, residuals, rtol=1e-3, atol=1e-13)
    assert fit.converged
    assert (fit.residuals <= tolerance).all()


@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], Y], ids=["one", "one column", "several"])
@pytest.mark.parametrize("ridge", [0.01, 1, 100.0])
def test_every_form_of_a_kernel(y, ridge, tmp_path):
    forms = {
        "cholesky": [K, K.tolist(), np.asfortranarray(K), fn.ntk_operator(X, network=NETWORK, form="dense")],
        "cg": [in_file(K, tmp_path), fn.ntk_operator(X, network=NETWORK, form="matrix-free")],
    }
    expected = np.linalg.solve(K + ridge * np.eye(150), y)
    for method, kernels in forms.items():
        for kernel in kernels:
            fit = fn.kernel_ridge(kernel, y, ridge=ridge, tolerance=1e-10)
            assert fit.method == method
            assert_solves(fit, y, ridge, 1e-10)
            # the smallest eigenvalue of the system is at least the ridge
            sizes = np.linalg.norm(y, axis=0)
            assert (np.linalg.norm(fit.coefficients - expected, axis=0) <= 2e-10 / ridge * sizes).all()


def test_predictions_interpolate():
    """With little ridge the regression goes through its targets, but at the zero row: no features."""
    fit = fn.kernel_ridge(fn.ntk_operator(X, network=NETWORK), Y, ridge=1e-7)
    prediction = fn.ntk_operator(X[:7], X, network=NETWORK, form="matrix-free") @ fit.coefficients
    expected = Y[:7].copy()
    expected[4] = 0
    np.testing.assert_allclose(prediction, expected, atol=1e-5)


def test_no_ridge_at_all():
    kernel = np.delete(np.delete(K, 4, 0), 4, 1)
    y = np.delete(Y, 4, 0)
    fit = fn.kernel_ridge(kernel, y, ridge=0)
    assert_solves(fit, y, 0, 1e-8, kernel)


@given(n=st.integers(1, 60), q=st.integers(0, 3), power=st.integers(-250, 250), seed=st.integers(0, 2**32))
def test_any_size_and_unit(n, q, power, seed):
    """Targets from 1e-250 to 1e250, kernels from 1e-50 to 1e50: by both methods."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 2 * n))
    scale = 10.0 ** (power / 5)
    kernel = scale * (features @ features.T)
    y = 10.0**power * rng.standard_normal((n, q) if q else n)
    for cholesky_rows in (0, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ridge_module, "CHOLESKY_ROWS", cholesky_rows)
            fit = fn.kernel_ridge(kernel, y, ridge=scale, tolerance=1e-9)
        assert fit.method == ("cholesky" if cholesky_rows else "cg")
        assert fit.coefficients.shape == y.shape
        assert fit.converged
        size = np.abs(y).max() / scale
        np.testing.assert_allclose(
            fit.coefficients / size,
            np.linalg.solve(kernel / scale + np.eye(n), y / scale / size),
            atol=1e-7,
        )


def test_a_column_of_zeros():
    y = Y.copy()
    y[:, 1] = 0
    for kernel in (K, fn.ntk_operator(X, network=NETWORK, form="matrix-free")):
        fit = fn.kernel_ridge(kernel, y, ridge=1)
        assert not fit.coefficients[:, 1].any()
        assert fit.residuals[1] == 0
        assert fit.converged


def test_inputs_are_not_written():
    kernel, y = K.copy(), Y.copy()
    kernel.flags.writeable = y.flags.writeable = False
    fn.kernel_ridge(kernel, y, ridge=1)
    np.testing.assert_array_equal(kernel, K)


def test_products_are_counted():
    A = fn.ntk_operator(X, network=NETWORK, form="matrix-free")
    few = fn.kernel_ridge(A, Y[:, 0], ridge=1e4)
    many = fn.kernel_ridge(A, Y[:, 0], ridge=1)
    assert 1 < few.products < many.products
    assert fn.kernel_ridge(K, Y, ridge=1).products == 3  # of the residuals


# --------------------------------------------------------------------------- what does not work
def test_non_convergence_is_a_warning_and_a_status():
    A = fn.ntk_operator(X, network=NETWORK, form="matrix-free")
    message = (
        r"kernel_ridge: the relative residual of column \d is .*above the tolerance of 1e-08.*max_products"
    )
    with pytest.warns(RuntimeWarning, match=message):
        fit = fn.kernel_ridge(A, Y, ridge=0.1, max_products=4)
    assert not fit.converged
    assert fit.products == 3 * 4 + 3
    left = Y - (K @ fit.coefficients + 0.1 * fit.coefficients)
    np.testing.assert_allclose(
        fit.residuals, np.linalg.norm(left, axis=0) / np.linalg.norm(Y, axis=0), rtol=1e-9
    )


def test_a_nearly_singular_matrix_is_reported():
    kernel = np.diag([1.0, 1e-14])
    kernel[0, 1] = kernel[1, 0] = 1e-7 * (1 - 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = fn.kernel_ridge(kernel, [1.0, 1.0], ridge=0, tolerance=1e-14)
    assert fit.converged == (fit.residuals[0] <= 1e-14)


ROWS_AND_COLUMNS = fn.ntk_operator(X, X[:9], network=NETWORK)


@pytest.mark.parametrize(
    ("kernel", "y", "options", "error", "message"),
    [
        (K, Y[:9], {}, ValueError, r"y has 9 rows \(shape \(9, 3\)\); 150 are expected"),
        (K, Y[:, 0][:9], {}, ValueError, "y has length 9; 150 is expected"),
        (K, Y + 1j, {}, TypeError, "y has dtype complex128"),
        (K, np.full(150, np.inf), {}, ValueError, r"y is not finite: y\[0\] is inf"),
        (K[:9], Y, {}, ValueError, r"K has shape \(9, 150\); linear systems need a square"),
        (K + np.triu(K), Y, {}, ValueError, "K is not symmetric"),
        (
            aslinearoperator(K),
            Y,
            {},
            TypeError,
            r"an operator without diagonal\(\), which linear systems need",
        ),
        (ROWS_AND_COLUMNS, Y, {}, ValueError, r"K has shape \(150, 9\)"),
        (fn.ntk_operator(X, X, network=NETWORK), Y, {}, ValueError, "rows and columns differ"),
        (K, Y, {"ridge": -1}, ValueError, "ridge is -1; it must be finite and at least 0"),
        (K, Y, {"ridge": np.nan}, ValueError, "ridge is nan; it must be finite and at least 0"),
        (K, Y, {"ridge": True}, TypeError, "ridge is True; it must be a number"),
        (K, Y, {"ridge": "1"}, TypeError, "ridge is '1'; it must be a number"),
        (K, Y, {"ridge": [1.0]}, TypeError, r"ridge is \[1.0\]; it must be a number"),
        (K, Y, {"ridge": None}, TypeError, "ridge is None; it must be a number"),
        (K, Y, {"tolerance": 1.0}, ValueError, "tolerance is 1.0; it must be from 1e-14 to 0.1"),
        (K, Y, {"max_products": 0}, ValueError, "max_products is 0; it must be at least 1"),
        (K, Y, {"ridge": 0}, ValueError, "not positive definite to rounding with ridge=0: .*larger ridge"),
    ],
)
def test_wrong_input(kernel, y, options, error, message):
    with pytest.raises(error, match=message):
        fn.kernel_ridge(kernel, y, **{"ridge": 1.0, **options})


def test_the_ridge_is_asked_for():
    with pytest.raises(TypeError, match="ridge"):
        fn.kernel_ridge(K, Y)
