"""What is not bad input: any layout and real type, odd floating-point settings, and nothing is written."""

import tracemalloc

import numpy as np
import pytest

import fastntk as fn

NETWORK = fn.Network(width=100, dim=3)
X = np.random.default_rng(0).standard_normal((4, 3))


def _product(K):
    return K @ np.ones(K.shape[1])


FUNCTIONS = {
    "ntk": fn.ntk,
    "ntk_diag": fn.ntk_diag,
    "activation_pattern": fn.activation_pattern,
    "outputs": fn.outputs,
    "ntk_operator": lambda X, **options: _product(fn.ntk_operator(X, form="matrix-free", **options)),
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


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_blocks_of_an_iterator(function):
    expected, found = function(X, network=NETWORK), function(iter([X[:1], X[1:]]), network=NETWORK)
    if function is fn.activation_pattern:
        expected, found = expected.packed, found.packed
    np.testing.assert_array_equal(found, expected)


def test_an_iterator_where_float64_is_used():
    mask = fn.GaussianMask(0.2)
    found = fn.ntk_limit((X[i : i + 2] for i in (0, 2)), mask=mask)
    np.testing.assert_array_equal(found, fn.ntk_limit(X, mask=mask))


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "X is an iterator without blocks"),
        ([X, X[:, :2]], r"block 1 of X has 2 features \(shape \(4, 2\)\); 3 are expected"),
        ([X, np.full((1, 3), np.nan)], r"block 1 of X is not finite: block 1 of X\[0, 0\] is nan"),
        ([X[0]], "block 0 of X has shape"),
    ],
)
def test_bad_blocks(blocks, message):
    with pytest.raises(ValueError, match=message):
        fn.ntk(iter(blocks), network=NETWORK)


def test_a_memory_map_is_read_by_tiles(tmp_path):
    """Of a file, only what a tile needs is ever in memory."""
    rows = np.random.default_rng(2).standard_normal((3000, 500)).astype(np.float32)
    np.save(tmp_path / "X.npy", rows)
    mapped, network = np.load(tmp_path / "X.npy", mmap_mode="r"), fn.Network(width=600, dim=500)
    expected = fn.ntk(rows, network=network)
    tracemalloc.start()
    try:
        K = fn.ntk(mapped, network=network, out=tmp_path / "K.npy", memory_limit=15_000_000, threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15_000_000
    np.testing.assert_array_equal(K, expected)


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
