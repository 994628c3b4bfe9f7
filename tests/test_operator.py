"""The kernel as an operator: its products are those of ntk(), in every form, and SciPy's algebra takes it."""

import os
import signal
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, cg

import fastntk as fn
from fastntk import matrix_free, operator
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from .adversarial import problems
from .test_memory import measured

U = 2.0**-53
LAYERS = ["hidden", "output", "both"]
RNG = np.random.default_rng(31)
X = RNG.standard_normal((37, 9)).astype(np.float32)
X[3] = 0
X[8] = X[7]
Y = RNG.standard_normal((21, 9)).astype(np.float32)
Y[5] = 0
WEIGHTS = RNG.standard_normal((700, 9))
NETWORKS = {
    "virtual": fn.Network(width=2000, dim=9, seed=2, scale=1.5),
    "given": fn.Network.from_arrays(WEIGHTS, RNG.standard_normal(700)),
    "constant |a|": fn.Network.from_arrays(WEIGHTS, 3.0 * RNG.choice([-1, 1], 700)),
    "several outputs": fn.Network.from_arrays(WEIGHTS, RNG.standard_normal((700, 3))),
    "several signs": fn.Network(width=500, dim=9, outputs=4),
}
MASKS = {
    "none": None,
    "gaussian": fn.GaussianMask(0.3),
    "additive": fn.AdditiveMask(0.2),
    "lognormal": fn.LognormalMask(0.4),
    "bernoulli": fn.BernoulliMask(0.6),
    "clean rows": (None, fn.GaussianMask(0.3)),
    "clean columns": (fn.BernoulliMask(0.5), None),
}

by_layers = pytest.mark.parametrize("layers", LAYERS)
by_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
by_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def matrix_free_operator(*inputs, **options):
    return fn.ntk_operator(*inputs, form="matrix-free", **options)


def scale(network, layers):
    """What a kernel entry is bounded by, over |x~_i| |x~_j|: the mean of a_r^2 and of |w_r|^2."""
    squares = np.square(network.output_weights()).mean()
    norms = network.dim * np.square(network.weights()).mean()
    return {"hidden": squares, "output": norms, "both": squares + norms}[layers]


def assert_product(found, expected, rows, columns, v, size, factor=2.0**-43):
    """|found - expected| <= factor size |x~_i| sum_j |x~_j| |v_j|, the factor 1e-13 by default."""
    rows, columns = (np.linalg.norm(np.asarray(side, float), axis=-1) for side in (rows, columns))
    bound = factor * size * np.multiply.outer(rows, columns @ np.abs(v))
    assert found.dtype == np.float64
    assert (np.abs(found - expected) <= bound).all()


# -------------------------------------------------------------------------------- the same as ntk
@by_layers
@by_network
@by_mask
@pytest.mark.parametrize("other", [None, Y], ids=["symmetric", "cross"])
def test_products_are_those_of_the_matrix(layers, network, mask, other):
    options = {
        "network": network,
        "mask": mask,
        "draws": 1 if mask is None else 2,
        "seed": 5,
        "layers": layers,
    }
    K, A = fn.ntk(X, other, **options), matrix_free_operator(X, other, **options)
    assert isinstance(A, LinearOperator)
    assert (A.shape, A.dtype, A.form) == (K.shape, np.float64, "matrix-free")
    v, u = RNG.standard_normal((K.shape[1], 3)), RNG.standard_normal((K.shape[0], 2))
    size = 10 * scale(network, layers)  # masked rows are longer
    left, right = np.abs(X) + 1, np.abs(X if other is None else other) + 1
    assert_product(A @ v, K @ v, left, right, v, size)
    assert_product(A.rmatmat(u), K.T @ u, right, left, u, size)
    np.testing.assert_array_equal(A.matvec(v[:, 0]), (A @ v)[:, 0])
    np.testing.assert_array_equal(A.T @ u, A.rmatmat(u))
    np.testing.assert_array_equal(A.rmatvec(u[:, :1]), A.rmatmat(u)[:, :1])


@by_layers
def test_ids_and_shared_masks(layers):
    options = {"network": NETWORKS["given"], "mask": MASKS["gaussian"], "seed": 1, "layers": layers}
    options |= {"row_ids": np.arange(37)[::-1], "column_ids": range(100, 121), "share_masks": True}
    K, A = fn.ntk(X, Y, **options), matrix_free_operator(X, Y, **options)
    v = RNG.standard_normal(21)
    assert_product(A @ v, K @ v, np.abs(X) + 1, np.abs(Y) + 1, v, 10 * scale(NETWORKS["given"], layers))


@by_layers
@by_network
def test_the_diagonal_is_that_of_the_kernel(layers, network):
    options = {"network": network, "mask": MASKS["gaussian"], "draws": 2, "layers": layers}
    expected = fn.ntk_diag(X, **options)
    for form in ("dense", "matrix-free"):
        np.testing.assert_allclose(fn.ntk_operator(X, form=form, **options).diagonal(), expected, rtol=1e-13)


def exact_product(rows, columns, W, squares, v, layers):
    """K v in rational numbers, rounded once; squares are the means of a_rc^2."""

    def fractions(array):
        return [[Fraction(float(x)) for x in row] for row in array]

    P, Q = reference.pattern(rows, W), reference.pattern(columns, W)
    rows, columns, W, v = fractions(rows), fractions(columns), fractions(W), [Fraction(float(x)) for x in v]

    def dot(x, y):
        return sum(a * b for a, b in zip(x, y, strict=True))

    result = []
    for i, x in enumerate(rows):
        total = Fraction(0)
        for j, y in enumerate(columns):
            both = P[i] & Q[j]
            entry = Fraction(0)
            if layers != "output":
                entry += dot(x, y) * sum((Fraction(float(a)) for a in squares[both]), Fraction(0))
            if layers != "hidden":
                entry += sum((dot(W[r], x) * dot(W[r], y) for r in np.flatnonzero(both)), Fraction(0))
            total += entry * v[j]
        result.append(float(total / len(W)))
    return np.array(result)


@by_layers
@settings(max_examples=25)
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_the_definition_on_adversarial_rows(layers, problem, seed):
    """Zero, duplicate, huge, denormal and orthogonal rows, and vectors of all sizes: within the bound."""
    rows, W = problem
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(len(W))
    v = rng.standard_normal(len(rows)) * 10.0 ** rng.integers(-40, 40, len(rows))
    network = fn.Network.from_arrays(W, a)
    sizes = np.linalg.norm(rows.astype(float), axis=1)
    expected = exact_product(rows, rows, W, a * a, v, layers)
    exponent = np.frexp(max(np.abs(W).max(), 1e-30))[1]  # so that squares of norms are numbers
    norms = np.ldexp(np.square(np.ldexp(W.astype(float), -exponent)).sum() / len(W), 2 * exponent)
    size = {"hidden": np.mean(a * a), "output": norms, "both": np.mean(a * a) + norms}[layers]
    found = matrix_free_operator(rows, network=network, layers=layers) @ v
    bound = 1000 * U * sizes * (sizes @ np.abs(v)) * size
    assert (np.abs(found - expected) <= bound + 5e-324).all()


SIZES = st.one_of(st.integers(1, 30), st.sampled_from([63, 64, 65, 130]))


@given(
    n=SIZES,
    p=SIZES,
    d=st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 130])),
    m=st.one_of(st.integers(1, 200), st.sampled_from([511, 513, 1023, 1025, 16_384, 16_400])),
    layers=st.sampled_from(LAYERS),
    seed=st.integers(0, 2**32),
)
@example(n=1, p=1, d=1, m=1, layers="both", seed=0)
def test_ragged_shapes(n, p, d, m, layers, seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.standard_normal((n, d)), rng.standard_normal((p, d))
    network = fn.Network(width=m, dim=d, seed=seed)
    v, u = rng.standard_normal(p), rng.standard_normal(n)
    K = fn.ntk(rows, columns, network=network, layers=layers)
    A = matrix_free_operator(rows, columns, network=network, layers=layers)
    size = scale(network, layers)
    assert_product(A @ v, K @ v, rows, columns, v, size, factor=2 * (1500 + 2 * d + m) * U)
    assert_product(A.T @ u, K.T @ u, columns, rows, u, size, factor=2 * (1500 + 2 * d + m) * U)
    gap = abs(u @ (A @ v) - (A.T @ u) @ v)
    lengths = np.linalg.norm(rows, axis=1) @ np.abs(u) * (np.linalg.norm(columns, axis=1) @ np.abs(v))
    assert gap <= 2 * (1500 + 2 * d) * U * size * lengths


@by_layers
def test_vectors_of_any_size(layers):
    """Each is scaled by itself; and what is beyond float64 is an error, not an infinity."""
    A = matrix_free_operator(X, network=NETWORKS["given"], layers=layers)
    v = RNG.standard_normal(37)
    expected = A @ v
    together = A @ np.column_stack([np.ldexp(v, -900), v, 0 * v, np.ldexp(v, 900)])
    for k, exponent in ((0, -900), (1, 0), (3, 900)):
        np.testing.assert_array_equal(together[:, k], np.ldexp(expected, exponent))
    assert not together[:, 2].any()
    for form in ("dense", "matrix-free"):
        huge = fn.ntk_operator(3e37 * X, network=NETWORKS["given"], layers=layers, form=form)
        with pytest.raises(ValueError, match=r"with vector 1 is beyond float64 at row .*Scale the vector"):
            huge @ np.column_stack([v, 1e300 * v])


# ------------------------------------------------------------------------------------ same bits
MANY = fn.Network(width=50_000, dim=9)


@by_layers
def test_the_same_bits_whatever_the_threads_and_the_company(layers):
    options = {"network": MANY, "layers": layers, "mask": MASKS["gaussian"], "seed": 3}
    V = RNG.standard_normal((37, 5))
    expected = matrix_free_operator(X, threads=1, **options) @ V
    for threads in (None, 2, 3, 4):
        A = matrix_free_operator(X, threads=threads, **options)
        np.testing.assert_array_equal(A @ V, expected)
        np.testing.assert_array_equal(A @ V[:, 3], expected[:, 3])


@by_layers
@pytest.mark.parametrize("path", available_paths())
def test_the_same_bits_on_every_path(layers, path, monkeypatch):
    V = RNG.standard_normal((21, 2))
    expected = matrix_free_operator(X, Y, network=MANY, layers=layers) @ V
    monkeypatch.setenv(VARIABLE, path)
    np.testing.assert_array_equal(matrix_free_operator(X, Y, network=MANY, layers=layers) @ V, expected)


def test_more_vectors_than_share_a_pass(monkeypatch):
    A = matrix_free_operator(X, network=NETWORKS["given"])
    V = RNG.standard_normal((37, 7))
    expected = A @ V
    monkeypatch.setattr(matrix_free, "VECTORS", 3)
    np.testing.assert_array_equal(A @ V, expected)


def test_the_caller_may_write_into_its_inputs():
    rows, v = X.copy(), RNG.standard_normal(37)
    A = matrix_free_operator(rows, network=NETWORKS["given"])
    expected = A @ v
    rows[:] = 7
    np.testing.assert_array_equal(A @ v, expected)


# ------------------------------------------------------------------------------ SciPy's algebra
def test_algebra_of_operators():
    network, v = NETWORKS["given"], RNG.standard_normal(37)
    K, A = fn.ntk(X, network=network), matrix_free_operator(X, network=network)
    identity = LinearOperator((37, 37), matvec=lambda v: v, dtype=float)
    for found, expected in [
        ((A + 2 * identity) @ v, K @ v + 2 * v),
        ((2 * A) @ v, 2 * K @ v),
        ((A @ A) @ v, K @ (K @ v)),
        (A.H @ v, K @ v),
        (A**2 @ v, K @ (K @ v)),
        (A @ np.arange(37), K @ np.arange(37)),
        (A @ v.astype(np.float32)[:, None], K @ v.astype(np.float32)[:, None]),
    ]:
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_conjugate_gradients_directly():
    network, y = NETWORKS["virtual"], RNG.standard_normal(21)
    y[5] = 0  # of a zero row
    A = matrix_free_operator(Y, network=network)
    solution, failed = cg(A, y, rtol=1e-10)
    assert not failed
    np.testing.assert_allclose(fn.ntk(Y, network=network) @ solution, y, atol=1e-8)


# --------------------------------------------------------------------------------------- forms
def test_the_dense_form_is_the_matrix_formed_once(monkeypatch):
    made = []
    monkeypatch.setattr(operator, "ntk", lambda **arguments: made.append(1) or fn.ntk(**arguments))
    options = {
        "network": NETWORKS["given"],
        "mask": MASKS["clean rows"],
        "seed": 4,
        "draws": 2,
        "row_ids": range(37),
    }
    A = fn.ntk_operator(X, Y, form="dense", column_ids=range(5, 26), share_masks=True, **options)
    assert not made
    K, v = fn.ntk(X, Y, column_ids=range(5, 26), share_masks=True, **options), RNG.standard_normal((21, 2))
    np.testing.assert_array_equal(A.formed(), K)
    np.testing.assert_array_equal(A @ v, K @ v)
    np.testing.assert_array_equal(A.rmatvec(K[:, 0]), K.T @ K[:, 0])
    assert made == [1]


def test_the_form_is_chosen_by_cost_and_memory():
    network = fn.Network(width=4096, dim=64)
    many = np.ones((3000, 64))
    assert fn.ntk_operator(many, network=network).form == "dense"
    assert fn.ntk_operator(many, network=network, memory_limit=10**8).form == "matrix-free"
    # n^2 pairs of bits are more than 30 times the n d numbers of a product
    wide = np.broadcast_to(np.float32(1), (500_000, 3))
    network = fn.Network(width=4096, dim=3)
    assert fn.ntk_operator(wide, network=network, memory_limit=10**14).form == "matrix-free"


def test_representations():
    A = fn.ntk_operator(
        X, Y, network=NETWORKS["given"], mask=MASKS["clean rows"], layers="both", form="dense"
    )
    assert repr(A) == (
        "<NtkOperator 37 x 21, both layers, dense, Network.from_arrays(W=<700 x 9>, a=<700>), "
        "(None, GaussianMask(kappa=0.3))>"
    )
    A = matrix_free_operator(X, network=MANY, mask=fn.BernoulliMask(0.5), draws=3)
    assert repr(A) == (
        "<NtkOperator 37 x 37, hidden layer, matrix-free, "
        "Network(width=50000, dim=9, seed=0, scale=1.0), BernoulliMask(keep=0.5), 3 draws>"
    )
    assert A.symmetric
    assert A.T is A
    assert A.H is A
    assert not matrix_free_operator(X, X, network=MANY).symmetric


# ---------------------------------------------------------------------------- memory, interrupts
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize(
    ("n", "p", "dim", "vectors"), [(3000, None, 16, 1), (900, 2500, 40, 7), (600, None, 300, 3)]
)
def test_the_estimate_covers_the_peak(layers, n, p, dim, vectors):
    rows = RNG.standard_normal((n, dim)).astype(np.float32)
    columns = None if p is None else RNG.standard_normal((p, dim)).astype(np.float32)
    options = {"network": fn.Network(2000, dim), "layers": layers, "threads": 1}
    V = RNG.standard_normal((p or n, vectors))
    A = matrix_free_operator(rows, columns, **options)
    peak, left = measured(lambda: A @ V)
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        matrix_free_operator(rows, columns, memory_limit=peak // 2, **options) @ V
    needed = matrix_free.MatrixFreeKernel.planned(A._kernel, vectors).plan.nbytes
    assert peak <= needed


def test_memory_does_not_depend_on_the_width():
    rows, v = RNG.standard_normal((300, 16)), np.ones(300)
    peaks = [
        measured(lambda m=m: matrix_free_operator(rows, network=fn.Network(m, 16), threads=2) @ v)[0]
        for m in (50_000, 300_000)
    ]
    assert peaks[1] < peaks[0] + 1_000_000


@by_layers
def test_an_interrupt_is_answered_soon(layers):
    """In the middle of a chunk: all chunks would take minutes, one of this many rows some seconds."""
    A = matrix_free_operator(RNG.standard_normal((2000, 30)), network=fn.Network(10**8, 30), layers=layers)
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        A @ np.ones(2000)
    assert time.perf_counter() - start < 10


# ---------------------------------------------------------------------------------- wrong input
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda A: A @ np.ones(20), ValueError, r"x has length 20; 21 is expected"),
        (lambda A: A @ np.ones((37, 3)), ValueError, r"X has 37 rows \(shape \(37, 3\)\); 21 are expected"),
        (lambda A: A.matvec(np.ones((21, 2))), ValueError, r"x has shape \(21, 2\); one vector .* matmat"),
        (lambda A: A.rmatvec(np.ones(21)), ValueError, r"x has length 21; 37 is expected"),
        (lambda A: A.rmatmat(np.ones((21, 2))), ValueError, r"X has 21 rows .*; 37 are expected"),
        (lambda A: A @ np.full(21, np.nan), ValueError, r"x is not finite: x\[0\] is nan"),
        (lambda A: A @ (1j * np.ones(21)), TypeError, "x has dtype complex128; .*real"),
        (lambda A: A.T @ np.full(37, np.inf), ValueError, r"X is not finite"),
        (lambda A: A.diagonal(), ValueError, r"diagonal\(\) is of a symmetric kernel.*Leave out Y"),
    ],
)
@pytest.mark.parametrize("form", ["dense", "matrix-free"])
def test_wrong_vectors(form, call, error, message):
    with pytest.raises(error, match=message):
        call(fn.ntk_operator(X, Y, network=NETWORKS["given"], form=form))


def test_a_pair_of_masks_has_no_symmetric_diagonal():
    A = matrix_free_operator(X, network=MANY, mask=MASKS["clean rows"])
    with pytest.raises(ValueError, match="one mask rather than a pair"):
        A.diagonal()


@pytest.mark.soak
def test_many_rows_and_neurons():
    rows = RNG.standard_normal((2500, 64))
    network, v = fn.Network(width=60_000, dim=64), RNG.standard_normal(2500)
    for layers in LAYERS:
        K = fn.ntk(rows, network=network, layers=layers)
        size = {"hidden": 1, "output": 64, "both": 65}[layers]
        A = matrix_free_operator(rows, network=network, layers=layers)
        assert_product(A @ v, K @ v, rows, rows, v, size, factor=1e-14)
