"""Wrong input never reaches a kernel: one exception that names argument, value and what is allowed."""

import re

import numpy as np
import pytest

import fastntk as fn

NETWORK = fn.Network(width=100, dim=3)
X = np.random.default_rng(0).standard_normal((4, 3))
NAN, INF = X.copy(), X.copy()
NAN[2, 1], INF[3, 0] = np.nan, -np.inf
HUGE = np.full((2, 3), 3e38)
RAGGED = [[1.0, 2.0, 3.0], [1.0]]

FUNCTIONS = {
    "ntk": fn.ntk,
    "ntk_diag": fn.ntk_diag,
    "activation_pattern": fn.activation_pattern,
    "outputs": fn.outputs,
}

# id: (arguments in place of X and network=NETWORK, exception, parts of its message from the start)
COMMON = {
    "X of one dimension": ({"X": X[0]}, ValueError, "X has shape (3,); two dimensions"),
    "X of three dimensions": ({"X": X[None]}, ValueError, "X has shape (1, 4, 3); two dimensions"),
    "X a number": ({"X": 1.0}, ValueError, "X has shape (); two dimensions"),
    "X without rows": ({"X": X[:0]}, ValueError, "X has shape (0, 3); at least one row"),
    "X without features": ({"X": X[:, :0]}, ValueError, "X has shape (4, 0); at least one"),
    "X ragged": ({"X": RAGGED}, ValueError, "X; inhomogeneous"),
    "X missing": ({"X": None}, TypeError, "X has dtype object; real"),
    "X NaN": ({"X": NAN}, ValueError, "X; not finite; X[2, 1] is nan; Remove or impute"),
    "X infinite": ({"X": INF}, ValueError, "X; not finite; X[3, 0] is -inf"),
    "X beyond float32": (
        {"X": np.full((4, 3), 1e39)},
        ValueError,
        "X; not finite; float32; X[0, 0] is 1e+39; Scale X down",
    ),
    "X integer beyond float32": ({"X": [[10**400, 1, 1]]}, TypeError, "X has dtype object; real"),
    "X complex": ({"X": X + 0j}, TypeError, "X has dtype complex128; real"),
    "X of objects": ({"X": X.astype(object)}, TypeError, "X has dtype object; real; np.asarray"),
    "X of strings": ({"X": [["a", "b", "c"]]}, TypeError, "X has dtype <U1; real"),
    "X a masked array": ({"X": np.ma.array(X, mask=X > 0)}, TypeError, "X is a masked array; X.filled"),
    "X of dates": ({"X": np.zeros((2, 3), "M8[s]")}, TypeError, "X has dtype datetime64; real"),
    "X of other features": ({"X": X[:, :2]}, ValueError, "X has 2 features; dim=3"),
    "network missing": ({"network": None}, TypeError, "network is None; Network"),
    "network an array": ({"network": X}, TypeError, "network is array; from_arrays"),
    "mask a number": ({"mask": 0.1}, TypeError, "mask is 0.1; GaussianMask(kappa)"),
    "mask a class": ({"mask": fn.GaussianMask}, TypeError, "mask is; GaussianMask"),
    "mask for other features": (
        {"mask": fn.GaussianMask([0.1, 0.2])},
        ValueError,
        "kappa; 2 features; X has 3; one for each feature",
    ),
    "additive mask for other features": (
        {"mask": fn.AdditiveMask([0.1] * 4)},
        ValueError,
        "tau; 4 features; X has 3",
    ),
    "mask beyond float32": (
        {"X": HUGE, "mask": fn.GaussianMask(10.0)},
        ValueError,
        "X is not finite; after GaussianMask; X[0, 0] is",
    ),
    "seed negative": ({"seed": -1}, ValueError, "seed is -1; from 0 to 18446744073709551615"),
    "seed too large": ({"seed": 2**64}, ValueError, "seed is 18446744073709551616; from 0"),
    "seed a fraction": ({"seed": 0.5}, TypeError, "seed is 0.5; integer"),
    "seed none": ({"seed": None}, TypeError, "seed is None; integer"),
    "row_ids too few": ({"row_ids": [1, 2]}, ValueError, "row_ids has shape (2,); 4 rows"),
    "row_ids of two dimensions": (
        {"row_ids": [[1, 2, 3, 4]]},
        ValueError,
        "row_ids has shape (1, 4); 4 rows",
    ),
    "row_ids fractions": (
        {"row_ids": [0.0, 1.0, 2.0, 3.0]},
        TypeError,
        "row_ids has dtype float64; integers",
    ),
    "row_ids bool": ({"row_ids": [True] * 4}, TypeError, "row_ids has dtype bool; integers"),
    "row_ids negative": ({"row_ids": [0, -5, 1, 2]}, ValueError, "row_ids holds -5; negative"),
    "row_ids too large": ({"row_ids": [0, 2**64, 1, 2]}, TypeError, "row_ids has dtype object; integers"),
    "threads none at all": ({"threads": 0}, ValueError, "threads is 0; from 1 to 256"),
    "threads too many": ({"threads": 257}, ValueError, "threads is 257; from 1 to 256"),
    "threads a fraction": ({"threads": 1.5}, TypeError, "threads is 1.5; integer"),
    "threads a bool": ({"threads": True}, TypeError, "threads is True; integer"),
    "memory_limit zero": ({"memory_limit": 0}, ValueError, "memory_limit is 0; at least 1"),
    "memory_limit a string": ({"memory_limit": "1GB"}, TypeError, "memory_limit is '1GB'; integer"),
    "memory_limit too small": (
        {"memory_limit": 1000},
        MemoryError,
        "; samples of 3 features; memory_limit is 1 KB",
    ),
    "progress not callable": (
        {"progress": True},
        TypeError,
        "progress is True; function progress(done, total)",
    ),
    "an unknown argument": ({"widht": 3}, TypeError, "; widht"),
}

DRAWS = {
    "draws zero": ({"draws": 0}, ValueError, "draws is 0; from 1 to"),
    "draws too many": ({"draws": 2**28 + 1}, ValueError, "draws is 268435457; to 268435456"),
    "draws a fraction": ({"draws": 2.0}, TypeError, "draws is 2.0; integer"),
    "layers unknown": ({"layers": "all"}, ValueError, "layers is 'all'; 'hidden', 'output', 'both'"),
    "layers none": ({"layers": None}, ValueError, "layers is None; 'hidden', 'output', 'both'"),
    "layers an array": ({"layers": np.array(["hidden", "both"])}, ValueError, "layers is array; 'hidden'"),
    "layers a list": ({"layers": ["hidden"]}, ValueError, "layers is ['hidden']; 'hidden', 'output', 'both'"),
}

ONE_DRAW = {
    "draw negative": ({"draw": -1}, ValueError, "draw is -1; from 0 to"),
    "draw too large": ({"draw": 2**28}, ValueError, "draw is 268435456; to 268435455"),
    "a pair of masks": ({"mask": (None, fn.GaussianMask(0.1))}, TypeError, "mask is (None,; None or a mask"),
}

CROSS = {
    "Y of one dimension": ({"Y": X[0]}, ValueError, "Y has shape (3,); two dimensions"),
    "Y of other features": ({"Y": X[:, :2]}, ValueError, "Y has 2 features; 3"),
    "Y NaN": ({"Y": NAN}, ValueError, "Y; not finite; Y[2, 1] is nan"),
    "Y beyond float32": ({"Y": np.full((4, 3), -1e39)}, ValueError, "Y; not finite; float32"),
    "Y complex": ({"Y": X + 1j}, TypeError, "Y has dtype complex128"),
    "Y not finite after its mask": (
        {"Y": HUGE, "mask": (None, fn.GaussianMask(10.0))},
        ValueError,
        "Y is not finite; after GaussianMask; Y[0, 0] is",
    ),
    "column_ids without Y": ({"column_ids": [0, 1, 2, 3]}, ValueError, "column_ids; without Y; row_ids"),
    "column_ids too few": ({"Y": X, "column_ids": [0]}, ValueError, "column_ids has shape (1,); 4 rows"),
    "share_masks a word": ({"Y": X, "share_masks": "no"}, TypeError, "share_masks is 'no'; True or False"),
    "three masks": ({"mask": (None, None, None)}, TypeError, "mask is (None, None, None); None or a mask"),
    "row mask wrong": ({"mask": ("x", None)}, TypeError, "mask[0] is 'x'; GaussianMask"),
    "column mask wrong": ({"mask": (None, "x")}, TypeError, "mask[1] is 'x'; GaussianMask"),
}


def refused(call, exception, parts):
    """``call`` raises exactly this type, with a message that begins with the parts between "; ", in order."""
    with pytest.raises((TypeError, ValueError, MemoryError, ArithmeticError, RuntimeError)) as caught:
        call()
    assert caught.type is exception, f"{caught.type.__name__}: {caught.value}"
    pattern = ".*".join(re.escape(part) for part in parts.split("; "))
    assert re.match(pattern, str(caught.value), re.DOTALL), str(caught.value)


def cases(*tables):
    return [pytest.param(*case, id=name) for table in tables for name, case in table.items()]


def call(function, changes):
    arguments = {"X": X, "network": NETWORK, **changes}
    return lambda: function(arguments.pop("X"), **arguments)


OPERATORS = {
    "form unknown": ({"form": "sparse"}, ValueError, "form is 'sparse'; 'auto', 'dense', 'matrix-free'"),
    "form none": ({"form": None}, ValueError, "form is None; 'auto', 'dense', 'matrix-free'"),
    "dense beyond the memory": (
        {"form": "dense", "memory_limit": 1000},
        MemoryError,
        "4 x 4 samples of 3 features; memory_limit is 1 KB",
    ),
    "matrix-free beyond the memory": (
        {"form": "matrix-free", "memory_limit": 1000},
        MemoryError,
        "4 samples of 3 features; memory_limit is 1 KB",
    ),
}
NO_OPERATOR = {"progress not callable"}  # an operator has no progress


@pytest.mark.parametrize(
    ("changes", "exception", "parts"),
    cases({name: case for name, case in COMMON.items() if name not in NO_OPERATOR}, DRAWS, CROSS, OPERATORS),
)
def test_operators(changes, exception, parts):
    """When they are made, not at the first product."""
    refused(call(fn.ntk_operator, changes), exception, parts)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize(("changes", "exception", "parts"), cases(COMMON))
def test_any_function(function, changes, exception, parts):
    refused(call(function, changes), exception, parts)


@pytest.mark.parametrize("function", [fn.ntk, fn.ntk_diag])
@pytest.mark.parametrize(("changes", "exception", "parts"), cases(DRAWS))
def test_kernels(function, changes, exception, parts):
    refused(call(function, changes), exception, parts)


@pytest.mark.parametrize("function", [fn.activation_pattern, fn.outputs])
@pytest.mark.parametrize(("changes", "exception", "parts"), cases(ONE_DRAW))
def test_functions_of_one_draw(function, changes, exception, parts):
    refused(call(function, changes), exception, parts)


@pytest.mark.parametrize(("changes", "exception", "parts"), cases(CROSS))
def test_cross_kernel(changes, exception, parts):
    refused(call(fn.ntk, changes), exception, parts)


NETWORKS = {
    "width zero": ({"width": 0}, ValueError, "width is 0; from 1 to 2147483647"),
    "width negative": ({"width": -5}, ValueError, "width is -5; from 1"),
    "width above the counts": ({"width": 2**31}, ValueError, "width is 2147483648; to 2147483647"),
    "width a fraction": ({"width": 1e6}, TypeError, "width is 1000000.0; integer"),
    "width a bool": ({"width": True}, TypeError, "width is True; integer"),
    "dim zero": ({"dim": 0}, ValueError, "dim is 0; from 1 to 1048576"),
    "dim too large": ({"dim": 2**20 + 1}, ValueError, "dim is 1048577; to 1048576"),
    "dim a string": ({"dim": "3"}, TypeError, "dim is '3'; integer"),
    "no outputs": ({"outputs": 0}, ValueError, "outputs is 0; from 1 to 65536"),
    "too many outputs": ({"outputs": 2**16 + 1}, ValueError, "outputs is 65537; from 1 to 65536"),
    "outputs a fraction": ({"outputs": 2.0}, TypeError, "outputs is 2.0; integer"),
    "seed negative": ({"seed": -1}, ValueError, "seed is -1; from 0"),
    "scale zero": ({"scale": 0}, ValueError, "scale is 0"),
    "scale negative": ({"scale": -1.0}, ValueError, "scale is -1.0"),
    "scale NaN": ({"scale": np.nan}, ValueError, "scale is nan"),
    "scale infinite": ({"scale": np.inf}, ValueError, "scale is inf"),
    "scale a string": ({"scale": "2"}, TypeError, "scale is '2'"),
    "scale a bool": ({"scale": True}, TypeError, "scale is True"),
    "scale complex": ({"scale": 1j}, TypeError, "scale is 1j"),
    "scale whose square overflows": ({"scale": 1e200}, ValueError, "scale is 1e+200"),
    "scale whose square underflows": ({"scale": 1e-200}, ValueError, "scale is 1e-200"),
}


@pytest.mark.parametrize(("changes", "exception", "parts"), cases(NETWORKS))
def test_networks(changes, exception, parts):
    refused(lambda: fn.Network(**{"width": 10, "dim": 3, **changes}), exception, parts)


W = X  # four neurons of three features
ARRAYS = {
    "W of one dimension": ((W[0], [1.0]), ValueError, "W has shape (3,); two dimensions"),
    "W empty": ((W[:0], []), ValueError, "W has shape (0, 3); at least one"),
    "W NaN": ((NAN, np.ones(4)), ValueError, "W; not finite; W[2, 1] is nan"),
    "W beyond float32": ((np.full((4, 3), 1e39), np.ones(4)), ValueError, "W; not finite; float32"),
    "W complex": ((W + 0j, np.ones(4)), TypeError, "W has dtype complex128"),
    "W ragged": ((RAGGED, np.ones(2)), ValueError, "W; inhomogeneous"),
    "a of other length": ((W, np.ones(3)), ValueError, "a has length 3; 4"),
    "a of other rows": ((W, np.ones((3, 2))), ValueError, "a has 3 rows; (3, 2); 4"),
    "a transposed": ((W, np.ones((2, 4))), ValueError, "a has 2 rows; (2, 4); 4; a.T"),
    "a without columns": ((W, np.ones((4, 0))), ValueError, "a has 0 columns; (4, 0); from 1 to 65536"),
    "a of too many columns": (
        (W, np.broadcast_to(1.0, (4, 2**16 + 1))),
        ValueError,
        "a has 65537 columns; output; from 1 to 65536",
    ),
    "a of three dimensions": ((W, np.ones((4, 2, 1))), ValueError, "a has shape (4, 2, 1); one; two"),
    "a a number": ((W, 1.0), ValueError, "a has shape (); one dimension; two"),
    "a missing": ((W, None), TypeError, "a has dtype object; real"),
    "a NaN": ((W, [1, np.nan, 1, 1]), ValueError, "a; not finite; a[1] is nan"),
    "a NaN in a column": ((W, [[1, 1], [1, np.nan]] * 2), ValueError, "a; not finite; a[1, 1] is nan"),
    "a of complex columns": ((W, np.ones((4, 2)) * 1j), TypeError, "a has dtype complex128; real"),
    "a complex": ((W, np.ones(4) * 1j), TypeError, "a has dtype complex128; real"),
    "a ragged": ((W, [[1.0], [2.0, 3.0], [1.0], [1.0]]), ValueError, "a ; inhomogeneous"),
    "a too large": ((W, [1.0, 1e61, 1.0, 1.0]), ValueError, "a; 1e+61; 1e+60"),
    "a too small": ((W, np.full(4, 1e-100)), ValueError, "a; 1e-100; 1e-60"),
}


@pytest.mark.parametrize(("arguments", "exception", "parts"), cases(ARRAYS))
def test_networks_from_arrays(arguments, exception, parts):
    refused(lambda: fn.Network.from_arrays(*arguments), exception, parts)


def test_ranges_of_weights():
    for start, stop, parts in [
        (-1, None, "start is -1; from 0 to 99"),
        (100, None, "start is 100; from 0 to 99"),
        (5, 5, "stop is 5; from 6 to 100"),
        (0, 101, "stop is 101; from 1 to 100"),
    ]:
        refused(lambda a=start, b=stop: NETWORK.weights(a, b), ValueError, parts)
        refused(lambda a=start, b=stop: NETWORK.output_weights(a, b), ValueError, parts)


MASKS = {
    "kappa negative": (lambda: fn.GaussianMask(-0.1), ValueError, "kappa is -0.1; from 0 to 1e+06"),
    "kappa huge": (lambda: fn.GaussianMask(1e7), ValueError, "kappa is 10000000.0; from 0 to 1e+06"),
    "kappa NaN": (lambda: fn.GaussianMask(np.nan), ValueError, "kappa is nan; from 0"),
    "kappa a string": (lambda: fn.GaussianMask("0.1"), TypeError, "kappa is '0.1'; number"),
    "kappa empty": (lambda: fn.GaussianMask([]), ValueError, "kappa; (0,); one per feature"),
    "kappa a matrix": (lambda: fn.GaussianMask([[0.1]]), ValueError, "kappa; (1, 1); one per feature"),
    "one kappa negative": (lambda: fn.GaussianMask([0.1, -1.0]), ValueError, "kappa[1] is -1.0; from 0"),
    "kappa complex": (lambda: fn.GaussianMask(1j), TypeError, "kappa is 1j; number"),
    "tau negative": (lambda: fn.AdditiveMask(-1.0), ValueError, "tau is -1.0; from 0"),
    "lognormal kappa huge": (lambda: fn.LognormalMask(10.0), ValueError, "kappa is 10.0; from 0 to 5"),
    "keep zero": (lambda: fn.BernoulliMask(0.0), ValueError, "keep is 0.0; to 1"),
    "keep above one": (lambda: fn.BernoulliMask(1.5), ValueError, "keep is 1.5; to 1"),
}


@pytest.mark.parametrize(("make", "exception", "parts"), cases(MASKS))
def test_masks(make, exception, parts):
    refused(make, exception, parts)


def test_an_impossible_size_is_refused_before_anything_is_allocated():
    """36 TB of kernel: the message names the sizes, the estimate, the limit and the way out."""
    wide = np.broadcast_to(np.float32(1), (10**6, 3))
    refused(
        lambda: fn.ntk(wide, network=NETWORK),
        MemoryError,
        "1000000 x 1000000 samples of 3 features; GB; available memory is; fewer rows",
    )
    refused(
        lambda: fn.ntk(wide, network=NETWORK, threads=2, memory_limit=10**9),
        MemoryError,
        "1000000 x 1000000 samples of 3 features; GB; memory_limit is 1 GB; fewer threads; memory_limit",
    )
