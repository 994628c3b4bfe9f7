"""What is not bad input: any layout and real type, odd floating-point settings, and nothing is written."""

import numpy as np
import pytest

import fastntk as fn

NETWORK = fn.Network(width=100, dim=3)
X = np.random.default_rng(0).standard_normal((4, 3))
FUNCTIONS = {
    "ntk": fn.ntk,
    "ntk_diag": fn.ntk_diag,
    "activation_pattern": fn.activation_pattern,
    "outputs": fn.outputs,
    "ntk_operator": lambda X, **options: fn.ntk_operator(X, form="matrix-free", **options) @ np.ones(len(X)),
}

FORMS = {
    "float64": X,
    "Fortran order": np.asfortranarray(X),
    "strided": np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": X[::-1].copy()[::-1],
    "big-endian": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
    "float32": X.astype(np.float32),
    "list": X.tolist(),
    "tuple of rows": tuple(X),
    "unaligned": np.frombuffer(b"?" + X.tobytes(), offset=1).reshape(X.shape),
    "unaligned float32": np.frombuffer(b"?" + X.astype("f4").tobytes(), "f4", offset=1).reshape(X.shape),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_any_layout(function, form):
    expected, found = function(X, network=NETWORK), function(form, network=NETWORK)
    if function is fn.activation_pattern:
        expected, found = expected.packed, found.packed
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_any_real_type(dtype):
    whole = np.random.default_rng(1).integers(0, 2, (5, 3)).astype(dtype)
    expected = fn.ntk(whole.astype(np.float32), network=NETWORK, layers="both")
    np.testing.assert_array_equal(fn.ntk(whole, whole, network=NETWORK, layers="both"), expected)


def test_integers_as_numpy_scalars():
    expected = fn.ntk(X, network=NETWORK, draws=2, seed=3, threads=2)
    network = fn.Network(np.int64(100), np.uint8(3), seed=np.uint64(0), scale=np.float32(1))
    found = fn.ntk(X, network=network, draws=np.int8(2), seed=np.uint64(3), threads=np.int32(2))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("mask", [None, fn.GaussianMask(0.2)], ids=repr)
def test_inputs_are_never_written(function, mask):
    rows = np.asfortranarray(np.vstack([X, np.zeros(3)]).astype(np.float32))
    for given in (rows, np.ascontiguousarray(rows)):
        before, ids = given.copy(), np.arange(5, dtype=np.uint64)
        given.flags.writeable = ids.flags.writeable = False
        function(given, network=NETWORK, mask=mask, row_ids=ids)
        np.testing.assert_array_equal(given, before)
        given.flags.writeable = True
        function(given, network=NETWORK, mask=mask)
        np.testing.assert_array_equal(given, before)
        assert given.flags.writeable


def test_strict_floating_point_errors_of_the_host_raise_nothing():
    """np.seterr(all="raise") is for the host's own arithmetic."""
    awkward = np.array([[1e-300, 1e-42, 1.0], [3e38, 1e-38, 0.0], [1e-45, 0.0, 0.0]])
    W = np.array([[1e-45, 1e-41, 0.0], [1.0, -1e-30, 3e38]])
    with np.errstate(all="raise"):
        for network in (NETWORK, fn.Network.from_arrays(W, [1.0, 1e-59])):
            for mask in (None, fn.GaussianMask(1e-50), fn.AdditiveMask(1e-44), fn.BernoulliMask(0.9)):
                for layers in ("hidden", "both"):
                    K = fn.ntk(awkward, network=network, mask=mask, layers=layers)
                    assert np.isfinite(K).all()
                fn.ntk_diag(awkward, network=network, mask=mask, layers="both")
                fn.outputs(awkward, network=network, mask=mask)
                fn.activation_pattern(awkward, network=network, mask=mask)
