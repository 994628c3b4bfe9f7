"""Arrays and data frames of other libraries: the numbers of NumPy, in the library that they came from."""

import contextlib
import importlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

import fastntk as fn
from fastntk.arrays import as_numpy
from fastntk.explained import EXTRAS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 3))
Y = RNG.standard_normal((4, 3))
NETWORK = fn.Network(width=500, dim=3, seed=2)
TWO = fn.Network(width=500, dim=3, outputs=2, seed=2)
MASK = fn.GaussianMask(0.3)
V = RNG.standard_normal((500, 3))
U = RNG.standard_normal((6, 2))

CALLS = {
    "ntk": lambda of: fn.ntk(of(X), network=NETWORK, mask=MASK, layers="both"),
    "cross ntk": lambda of: fn.ntk(of(X), of(Y), network=NETWORK, mask=MASK),
    "ntk of keywords": lambda of: fn.ntk(X=of(X), network=NETWORK, row_ids=of(np.arange(6)), mask=MASK),
    "ntk_diag": lambda of: fn.ntk_diag(of(X), network=NETWORK),
    "ntk_limit": lambda of: fn.ntk_limit(of(X), of(Y), mask=MASK),
    "nngp_limit": lambda of: fn.nngp_limit(of(X)),
    "outputs": lambda of: fn.outputs(of(X), network=NETWORK, mask=MASK),
    "two outputs": lambda of: fn.outputs(of(X), network=TWO),
    "expected_ntk": lambda of: fn.expected_ntk(of(X), network=NETWORK, mask=MASK),
    "expected_outputs": lambda of: fn.expected_outputs(of(X), network=NETWORK, mask=MASK),
    "vjp": lambda of: fn.vjp(of(X), of(U), network=TWO),
    "jvp": lambda of: fn.jvp(of(X), of(V), network=NETWORK),
}


def torch_tensor(array):
    return pytest.importorskip("torch").from_numpy(array)


def jax_array(array):
    return pytest.importorskip("jax").numpy.asarray(array)


def standard_array(array):
    return pytest.importorskip("array_api_strict").asarray(array)


def pandas_frame(array):
    pandas = pytest.importorskip("pandas")
    return (
        pandas.DataFrame(array, index=range(5, 5 + len(array))) if array.ndim == 2 else pandas.Series(array)
    )


def polars_frame(array):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(array) if array.ndim == 2 else polars.Series(array)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("of", [torch_tensor, standard_array])
def test_results_are_of_the_library_of_the_input(call, of):
    """float64 comes back as float64 (float32 where NumPy's is, for vjp), with the same bits."""
    expected, found = call(np.asarray), call(of)
    assert type(found) is type(of(X))
    assert as_numpy(found, "found").dtype == expected.dtype
    np.testing.assert_array_equal(as_numpy(found, "found"), expected)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("x64", [False, True])
def test_jax(call, x64):
    """The same bits with x64; without, results are rounded to float32, and so are the inputs."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64(x64):
        found = call(jax_array)
        assert isinstance(found, jax.Array)
        expected = call(np.asarray if x64 else _rounded)
        assert found.dtype == (expected.dtype if x64 else np.float32)
        np.testing.assert_array_equal(np.asarray(found), expected.astype(found.dtype))


def _rounded(array):
    return array.astype(np.float32) if array.dtype == np.float64 else array


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("of", [pandas_frame, polars_frame])
def test_frames_give_numpy(call, of):
    expected, found = call(np.asarray), call(of)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("of", [torch_tensor, jax_array, standard_array])
def test_activation_pattern(of):
    expected, found = (fn.activation_pattern(X, network=NETWORK) for X in (X, of(X)))
    for name in ("packed", "to_bool"):
        part, whole = getattr(found, name), getattr(expected, name)
        part, whole = (part(), whole()) if callable(whole) else (part, whole)
        assert type(part) is type(of(X))
        np.testing.assert_array_equal(as_numpy(part, name), whole)


def test_pairs_and_numpy_among_them():
    torch = pytest.importorskip("torch")
    expected = fn.vjp(X, U, network=TWO, layers="both")
    found = fn.vjp(X, torch.from_numpy(U), network=TWO, layers="both")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)
    direction = V, RNG.standard_normal(500)
    expected = fn.jvp(X, direction, network=NETWORK, layers="both")
    found = fn.jvp(X.tolist(), tuple(map(torch.from_numpy, direction)), network=NETWORK, layers="both")
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("rows", [2, 3])
def test_a_list_of_tensors_is_a_list(rows):
    tensor = torch_tensor(X[:rows])
    network = fn.Network(100, X.shape[1])
    found = fn.ntk(list(tensor), network=network)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, fn.ntk(X[:rows], network=network))


def test_files_and_given_arrays_stay_what_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    K = fn.ntk(torch.from_numpy(X), network=NETWORK, out=tmp_path / "K.npy")
    assert isinstance(K, np.memmap)
    out = np.empty((500, 3), np.float32)
    assert fn.vjp(torch.from_numpy(X), torch.from_numpy(U), network=TWO, out=out) is out


def test_what_else_takes_arrays():
    """Weights, targets, masks and training take them too."""
    torch = pytest.importorskip("torch")
    given = fn.Network.from_arrays(torch.from_numpy(V), torch.ones(500))
    plain = fn.Network.from_arrays(V, np.ones(500))
    np.testing.assert_array_equal(fn.ntk(X, network=given), fn.ntk(X, network=plain))
    options = {"network": NETWORK, "mask": MASK, "step_size": 0.1, "steps": 3}
    run = fn.train(torch.from_numpy(X), torch.from_numpy(U[:, 0]), **options)
    np.testing.assert_array_equal(run.clean_loss, fn.train(X, U[:, 0], **options).clean_loss)
    np.testing.assert_array_equal(MASK.sample(torch.from_numpy(X), seed=1), MASK.sample(X, seed=1))


def test_tensors_of_any_layout_and_type():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(X)
    expected = fn.ntk(X, network=NETWORK)
    for form in (tensor.T.contiguous().T, tensor.repeat(2, 2)[::2][:3], torch._neg_view(-tensor)):
        np.testing.assert_array_equal(
            fn.ntk(form[:, :3], network=NETWORK), fn.ntk(form.numpy(force=True)[:, :3], network=NETWORK)
        )
    for dtype in (torch.bfloat16, torch.float16, torch.int16, torch.uint8, torch.bool):
        rounded = (2 * tensor).abs().to(dtype)
        np.testing.assert_array_equal(
            fn.ntk(rounded, network=NETWORK), fn.ntk(rounded.double().numpy(), network=NETWORK)
        )
    parameter = torch.nn.Parameter(tensor)
    with torch.no_grad():
        np.testing.assert_array_equal(fn.ntk(parameter, network=NETWORK).numpy(), expected)
    before = tensor.clone()
    fn.ntk(tensor, network=NETWORK, mask=MASK)
    assert torch.equal(tensor, before)


def test_jax_types():
    jax = pytest.importorskip("jax")
    rounded = jax.numpy.asarray(X, "bfloat16")
    exact = np.asarray(rounded.astype("float32"))
    np.testing.assert_array_equal(
        np.asarray(fn.ntk(rounded, network=NETWORK)), fn.ntk(exact, network=NETWORK).astype(np.float32)
    )


TENSORS = {
    "requires grad": (
        lambda t: t.ones(2, 3, requires_grad=True),
        r"X .*requires grad.*X\.detach\(\).*fastntk\.torch",
    ),
    "on no processor": (lambda t: t.ones(2, 3, device="meta"), r"X .*on meta.*X\.cpu\(\)"),
    "sparse": (lambda t: t.eye(3).to_sparse(), r"X .*sparse_coo.*X\.to_dense\(\)"),
    "complex": (lambda t: t.ones(2, 3, dtype=t.complex64), "X has dtype complex64"),
}


@pytest.mark.parametrize(("make", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors_refused(make, message):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=message):
        fn.ntk(make(torch), network=NETWORK)


def test_traced_arrays_are_refused():
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match=r"X is traced.*fastntk\.jax"):
        jax.jit(lambda X: fn.ntk(X, network=NETWORK))(jax_array(X))
    with pytest.raises(TypeError, match="u is traced"):
        jax.grad(lambda u: fn.vjp(X, u, network=TWO).sum())(jax_array(U))


def test_libraries_are_not_mixed():
    with pytest.raises(TypeError, match="X of PyTorch, Y of JAX"):
        fn.ntk(torch_tensor(X), jax_array(Y), network=NETWORK)


def test_arrays_of_cupy(monkeypatch):
    """They come from their device and results go back to it; a stand-in, as there may be no device."""
    cupy = types.ModuleType("cupy")
    current = []

    @contextlib.contextmanager
    def device():
        current.append("device 1")
        yield
        current.pop()

    class Array:
        def __init__(self, values, device=None):
            self._values, self.device = values, device

        def get(self):
            return self._values

    cupy.ndarray = Array
    cupy.asarray = lambda values: Array(values, current[-1])
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    K = fn.ntk(Array(X, device()), network=NETWORK, backend="cpu")
    assert K.device == "device 1"
    np.testing.assert_array_equal(K.get(), fn.ntk(X, network=NETWORK))


def test_an_array_that_stays_on_its_device():
    class Far:
        """An array of the standard whose memory the processor cannot read (kDLCUDA is 2)."""

        device = "cuda:0"

        def __array_namespace__(self):
            raise AssertionError

        def __dlpack_device__(self):
            return 2, 0

    with pytest.raises(TypeError, match=r"X .*DLPack.*on the device cuda:0.*\.cpu\(\)"):
        fn.ntk(Far(), network=NETWORK)


def test_columns_of_any_numeric_type():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"a": [1.5, 2.0], "b": [True, False], "c": [3, -1]}
    expected = fn.ntk([[1.5, 1, 3], [2, 0, -1]], network=NETWORK)
    frame = pandas.DataFrame(columns)
    forms = (frame, frame.convert_dtypes(), frame.astype("category").astype(float), polars.DataFrame(columns))
    for form in forms:
        np.testing.assert_array_equal(fn.ntk(form, network=NETWORK), expected)
    decimals = polars.DataFrame(columns).with_columns(polars.col("a").cast(polars.Decimal(10, 2)))
    np.testing.assert_array_equal(fn.ntk(decimals, network=NETWORK), expected)


def test_columns_that_are_no_numbers():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"a": [1.0, 2.0], "name": ["x", "y"], "c": [3, 4]}
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns)):
        with pytest.raises(TypeError, match="the column 'name' of X is not numeric"):
            fn.ntk(frame, network=NETWORK)
    times = pandas.DataFrame({"a": [1.0], "when": pandas.to_datetime(["2020-01-01"]), "c": [1j]})
    with pytest.raises(TypeError, match="the column 'when' of X"):
        fn.ntk(times, network=NETWORK)
    with pytest.raises(TypeError, match="the column 'c' of Y"):
        fn.ntk(X, times.drop(columns="when").assign(d=1.0), network=NETWORK)
    with pytest.raises(TypeError, match=r"X is a LazyFrame.*X\.collect\(\)"):
        fn.ntk(polars.DataFrame(columns).lazy(), network=NETWORK)


def test_missing_values_are_refused():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"a": [1, 2], "b": [True, None], "c": [3.0, 4.0]}
    for frame in (pandas.DataFrame(columns).convert_dtypes(), polars.DataFrame(columns)):
        with pytest.raises(ValueError, match=r"X is not finite: X\[1, 1\] is nan"):
            fn.ntk(frame, network=NETWORK)


def test_columns_in_another_order():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for of in (pandas.DataFrame, polars.DataFrame):
        rows = of({"a": [1.0], "b": [2.0], "c": [3.0]})
        columns = rows[["a", "c", "b"]]
        with pytest.raises(ValueError, match=r"number 1 is 'b' in X and 'c' in Y.*Y\[list\(X.columns\)\]"):
            fn.ntk(rows, columns, network=NETWORK)
        fn.ntk(rows, columns[list(rows.columns)], network=NETWORK)


def test_no_library_is_imported():
    code = """
import sys, numpy as np, fastntk as fn
fn.ntk(np.eye(3), network=fn.Network(100, 3))
fn.train(np.eye(3), np.ones(3), network=fn.Network(100, 3), steps=1, step_size=0.1)
print({"torch", "jax", "pandas", "polars", "array_api_strict"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_a_missing_library_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"fastntk.{library}", raising=False)
    told = rf'fastntk\.{library} needs .* pip install "fastntk\[{library}\]"\. {re.escape(EXTRAS)}'
    with pytest.raises(ImportError, match=told):
        importlib.import_module(f"fastntk.{library}")
