"""Extreme eigenvalues: known spectra, and what is refused."""

import numpy as np
import pytest

from fastntk.spectrum import extreme_eigenvalues


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
