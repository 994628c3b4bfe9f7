"""Extreme eigenvalues: known spectra, of matrices and of operators, and what is refused."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import fastntk as fn
from fastntk.spectrum import extreme_eigenvalues, spectrum_ends


@pytest.mark.parametrize("n", [2, 7, 300])
def test_known_spectrum(n):
    rng = np.random.default_rng(n)
    values = rng.uniform(-1, 3, n)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    K = (basis * values) @ basis.T
    smallest, largest = extreme_eigenvalues((K + K.T) / 2)
    tolerance = 10 * n * np.finfo(float).eps * 3
    assert abs(smallest - values.min()) < tolerance
    assert abs(largest - values.max()) < tolerance


def test_one_row():
    assert extreme_eigenvalues([[2.5]]) == (2.5, 2.5)


def test_returns_python_floats():
    assert all(type(value) is float for value in extreme_eigenvalues(np.eye(3)))


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales(scale):
    smallest, largest = extreme_eigenvalues(scale * np.array([[2.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose([smallest / scale, largest / scale], [1, 3], rtol=1e-14)


def test_any_layout_and_type_and_no_writing():
    K = np.array([[2, 1, 0], [1, 3, 1], [0, 1, 4]])
    expected = extreme_eigenvalues(K.astype(float))
    frozen = K.astype(float)
    frozen.flags.writeable = False
    strided = np.zeros((6, 6))[::2, ::2] + K
    for same in (K, K.astype(np.float32), frozen, np.asfortranarray(K, float), strided, K.tolist()):
        assert extreme_eigenvalues(same) == expected
    assert np.array_equal(frozen, K)


def test_rounding_is_no_asymmetry():
    K = np.eye(3) + 1e-14 * np.arange(9).reshape(3, 3)
    assert extreme_eigenvalues(K)[1] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (np.ones((2, 3)), r"K has shape \(2, 3\).*square"),
        (np.ones(4), r"K has shape \(4,\).*two dimensions"),
        (np.ones((0, 0)), "at least one row"),
        ([[1.0, 2.0], [3.0, 1.0]], r"not symmetric: K\[0, 1\] is 2.0 but K\[1, 0\] is 3.0"),
        ([[1.0, np.nan], [np.nan, 1.0]], r"not finite.*K\[0, 1\] is nan"),
        ([[np.inf]], r"K\[0, 0\] is inf"),
    ],
)
def test_refused_values(K, message):
    with pytest.raises(ValueError, match=message):
        extreme_eigenvalues(K)


def test_asymmetry_is_found_in_every_block():
    K = np.eye(600)
    K[10, 590] = 1e-6
    with pytest.raises(ValueError, match=r"K\[10, 590\] is 1e-06 but K\[590, 10\] is 0.0"):
        extreme_eigenvalues(K)


@pytest.mark.parametrize("dtype", [complex, object])
def test_refused_types(dtype):
    with pytest.raises(TypeError, match="K has dtype"):
        extreme_eigenvalues(np.eye(2).astype(dtype))


# ---------------------------------------------------------------------------------- both ends
ROWS = np.random.default_rng(3).standard_normal((160, 12))
NETWORK = fn.Network(width=1000, dim=12, seed=1)


def with_spectrum(values, seed=0):
    """A matrix of these eigenvalues."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    K = (basis * values) @ basis.T
    return (K + K.T) / 2


def assert_ends(ends, values, trace, tolerance):
    """The ends of the spectrum, each within its residual (and rounding) of an eigenvalue: the right one."""
    rounding = 1e-12 * np.abs(values).max()
    assert abs(ends.smallest - values.min()) <= ends.smallest_residual + rounding
    assert abs(ends.largest - values.max()) <= ends.largest_residual + rounding
    for residual in (ends.smallest_residual, ends.largest_residual):
        assert 0 <= residual <= 2 * tolerance * np.abs(values).max() + rounding
    assert ends.effective_rank == pytest.approx(trace / values.max(), rel=2 * tolerance + 1e-12)


@pytest.mark.parametrize("layers", ["hidden", "both"])
def test_ends_of_a_kernel_in_every_form(layers, tmp_path):
    options = {"network": NETWORK, "layers": layers, "mask": fn.GaussianMask(0.2)}
    K = fn.ntk(ROWS, **options)
    values = np.linalg.eigvalsh(K)
    file = np.lib.format.open_memmap(tmp_path / "K.npy", "w+", float, K.shape)
    file[:] = K
    for same in (
        K,
        file,
        *(fn.ntk_operator(ROWS, form=form, **options) for form in ("dense", "matrix-free")),
    ):
        ends = spectrum_ends(same, tolerance=1e-6)
        assert_ends(ends, values, np.trace(K), 1e-6)
        assert 20 < ends.products < 1000
    assert np.array_equal(file, K)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 101, 250])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_ends_of_any_size(n, scale):
    values = np.linspace(0.5, 3, n)
    ends = spectrum_ends(scale * with_spectrum(values), tolerance=1e-8)
    found = [ends.smallest / scale, ends.largest / scale]
    np.testing.assert_allclose(found, [values.min(), values.max()], rtol=1e-7)
    assert ends.smallest_residual <= 1e-7 * scale


@pytest.mark.parametrize(
    ("K", "expected"),
    [
        (np.eye(300), (1, 1, 300)),
        (np.zeros((300, 300)), (0, 0, 0)),
        (np.ones((300, 300)), (0, 300, 1)),
        (np.diag(np.r_[np.zeros(299), 4.0]), (0, 4, 1)),
    ],
    ids=["identity", "zero", "ones", "one entry"],
)
def test_degenerate_spectra(K, expected):
    ends = spectrum_ends(K)
    np.testing.assert_allclose([ends.smallest, ends.largest, ends.effective_rank], expected, atol=1e-3)


def test_small_operators_are_made_matrices():
    A = fn.ntk_operator(ROWS[:50], network=NETWORK, form="matrix-free")
    ends = spectrum_ends(A)
    np.testing.assert_allclose(
        [ends.smallest, ends.largest], extreme_eigenvalues(fn.ntk(ROWS[:50], network=NETWORK)), rtol=1e-9
    )
    assert ends.products == 50


def test_the_same_twice():
    K = fn.ntk(ROWS, network=NETWORK)
    assert spectrum_ends(K).smallest == pytest.approx(spectrum_ends(K).smallest, rel=1e-12)


@pytest.mark.parametrize(("products", "which"), [(5, "largest"), (80, "smallest")])
def test_what_has_not_converged_is_an_error(products, which):
    K = fn.ntk(ROWS, network=NETWORK)
    message = (
        rf"the {which} eigenvalue has not converged .* in {products} products. Allow more \(max_products\)"
    )
    with pytest.raises(RuntimeError, match=message):
        spectrum_ends(K, tolerance=1e-10, max_products=products)


def test_products_stay_within_the_limit():
    made = []

    class Counted(LinearOperator):
        def __init__(self):
            super().__init__(float, (300, 300))

        def _matvec(self, v):
            made.append(1)
            return np.arange(300.0) * v.reshape(-1)

        def diagonal(self):
            return np.arange(300.0)

    ends = spectrum_ends(Counted())
    assert ends.products == len(made)
    made.clear()
    with pytest.raises(RuntimeError):
        spectrum_ends(Counted(), tolerance=1e-12, max_products=37)
    assert len(made) <= 37


@pytest.mark.parametrize(
    ("K", "options", "error", "message"),
    [
        (np.ones((2, 3)), {}, ValueError, r"K has shape \(2, 3\); eigenvalues need a square"),
        ([[1.0, 2.0], [3.0, 1.0]], {}, ValueError, "not symmetric"),
        ([[1.0, np.nan], [np.nan, 1.0]], {}, ValueError, "not finite"),
        (np.eye(2) * 1j, {}, TypeError, "K has dtype complex128"),
        (aslinearoperator(np.eye(3)), {}, TypeError, r"an operator without diagonal\(\), which eigenvalues"),
        (fn.ntk_operator(ROWS, ROWS[:5], network=NETWORK), {}, ValueError, r"K has shape \(160, 5\)"),
        (fn.ntk_operator(ROWS, ROWS, network=NETWORK), {}, ValueError, "rows and columns differ"),
        (np.eye(2), {"tolerance": 0}, ValueError, "tolerance is 0.0; it must be finite and above 0"),
        (np.eye(2), {"tolerance": 0.5}, ValueError, "tolerance is 0.5; it must be from 1e-14 to 0.1"),
        (np.eye(2), {"tolerance": "small"}, TypeError, "tolerance is 'small'"),
        (np.eye(2), {"max_products": 0}, ValueError, "max_products is 0; it must be at least 1"),
    ],
)
def test_ends_of_nothing_else(K, options, error, message):
    with pytest.raises(error, match=message):
        spectrum_ends(K, **options)


def test_an_operator_is_not_a_matrix():
    with pytest.raises(TypeError, match=r"K is NtkOperator, an operator; spectrum_ends\(K\) takes operators"):
        extreme_eigenvalues(fn.ntk_operator(ROWS, network=NETWORK))


@pytest.mark.soak
def test_ends_of_a_large_kernel():
    rows, network = np.random.default_rng(5).standard_normal((3000, 64)), fn.Network(width=50_000, dim=64)
    values = np.linalg.eigvalsh(fn.ntk(rows, network=network))
    ends = spectrum_ends(fn.ntk_operator(rows, network=network, form="matrix-free"), tolerance=1e-5)
    assert_ends(ends, values, values.sum(), 1e-5)
