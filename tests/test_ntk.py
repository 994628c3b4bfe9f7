"""The NTK against the reference values, the plain formulas, Jacobians and its infinite-width limit."""

import numpy as np
import pytest

import fastntk as fn

from . import formulas
from .formulas import KERNELS, U32, assert_within, rounded
from .reference_values import cases

LAYERS = ["hidden", "output", "both"]
CASES = cases("K_W_11", "K_a_11", "K_W_12", "K_a_12", "K_W_clean")
by_layers = pytest.mark.parametrize("layers", LAYERS)
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])


def problem(n=9, p=4, dim=5, width=700, seed=0):
    """(X, Y, W, a), X, Y and W float64 arrays of float32 numbers."""
    rng = np.random.default_rng(seed)
    X, Y, W = (rounded(rng.standard_normal((rows, dim))) for rows in (n, p, width))
    return X, Y, W, rng.standard_normal(width)


def rounding_bounds(X, Y, W, a):
    """How far rounding X, Y and W to float32 can move the hidden and the output kernel.

    Each entry moves by at most U32 of itself, so an inner product moves by at most 2.01 U32 times the
    sum of the magnitudes of its terms.  A bit changes only where that reaches zero, which moves the
    hidden kernel by all of that neuron's share; relu moves by no more than its argument.
    """
    moved_x, moved_y = (2.01 * U32 * np.abs(Z) @ np.abs(W).T for Z in (X, Y))
    H, G = X @ W.T, Y @ W.T
    fickle_x, fickle_y = (np.abs(H) <= moved_x) & (moved_x > 0), (np.abs(G) <= moved_y) & (moved_y > 0)
    assert not fickle_x.any()  # else the reference values would say nothing about the bits
    assert not fickle_y.any()
    hidden = 2.01 * U32 * (np.abs(X) @ np.abs(Y).T) * np.mean(a**2)
    output = (np.abs(H) @ moved_y.T + moved_x @ np.abs(G).T + moved_x @ moved_y.T) / len(W)
    return {"hidden": hidden, "output": output, "both": hidden + output}


def assert_kernel(K, X, Y, W, a, layers):
    assert_within(K, KERNELS[layers](rounded(X), rounded(Y), rounded(W), a))


@by_layers
@by_case
@pytest.mark.parametrize("columns", ["1", "2"])
def test_reference_values_at_masked_inputs(case, layers, columns):
    X, Y, W, a = case["X_masked_1"], case[f"X_masked_{columns}"], case["W"], case["a"]
    K = fn.ntk(X, None if columns == "1" else Y, network=fn.Network.from_arrays(W, a), layers=layers)
    parts = {"hidden": case[f"K_W_1{columns}"], "output": case[f"K_a_1{columns}"]}
    expected = parts["hidden"] + parts["output"] if layers == "both" else parts[layers]
    assert (np.abs(K - expected) <= rounding_bounds(X, Y, W, a)[layers]).all()
    assert_kernel(K, X, Y, W, a, layers)


@by_case
def test_reference_values_at_clean_inputs(case):
    X, W, a = case["X"], case["W"], case["a"]
    K = fn.ntk(X, network=fn.Network.from_arrays(W, a))
    assert (np.abs(K - case["K_W_clean"]) <= rounding_bounds(X, X, W, a)["hidden"]).all()
    assert_kernel(K, X, X, W, a, "hidden")


@by_layers
def test_plain_formulas_with_general_output_weights(layers):
    X, Y, W, a = problem()
    network = fn.Network.from_arrays(W, a)
    assert_kernel(fn.ntk(X, network=network, layers=layers), X, X, W, a, layers)
    assert_kernel(fn.ntk(X, Y, network=network, layers=layers), X, Y, W, a, layers)


@by_layers
def test_plain_formulas_with_virtual_weights(layers):
    X, Y, *_ = problem()
    network = fn.Network(width=1500, dim=5, seed=3, scale=0.5)
    W, a = network.weights(), network.output_weights()
    assert_kernel(fn.ntk(X, Y, network=network, layers=layers), X, Y, W, a, layers)


def test_output_weights_of_one_magnitude():
    X, _, W, a = problem()
    a = 0.3 * np.sign(a)
    assert_kernel(fn.ntk(X, network=fn.Network.from_arrays(W, a)), X, X, W, a, "hidden")


@pytest.mark.parametrize("magnitude", [1e-50, 1e-20, 1e50])
@pytest.mark.parametrize("layers", ["hidden", "both"])
def test_output_weights_of_any_magnitude(magnitude, layers):
    """The bound is relative to the size of the weights: nothing is lost to a fixed scale."""
    X, Y, W, a = problem(width=50)
    a *= magnitude / np.abs(a).max()
    network = fn.Network.from_arrays(W * 1e-10, a)
    W = rounded(W * 1e-10)
    assert_kernel(fn.ntk(X, Y, network=network, layers=layers), X, Y, W, a, layers)


@by_layers
@pytest.mark.parametrize("general", [False, True], ids=["signs", "general"])
def test_symmetric_kernel_is_exactly_symmetric_and_semidefinite(layers, general):
    X, _, W, a = problem(n=40, width=2000)
    network = fn.Network.from_arrays(W, a if general else np.sign(a))
    K = fn.ntk(X, network=network, layers=layers)
    np.testing.assert_array_equal(K, K.T)
    # within the entries' bound E, eigenvalues are off by at most its norm
    bound = np.linalg.norm(KERNELS[layers](X, X, W, network.output_weights()).bound)
    assert np.linalg.eigvalsh(K)[0] >= -2 * bound
    np.testing.assert_array_equal(fn.ntk(X, X, network=network, layers=layers), K)


@by_layers
@pytest.mark.parametrize("general", [False, True], ids=["signs", "general"])
def test_diagonal(layers, general):
    X, _, W, a = problem(n=30, width=2000)
    network = fn.Network.from_arrays(W, a if general else np.sign(a))
    mask = fn.GaussianMask(0.3)
    diagonal = fn.ntk_diag(X, network=network, mask=mask, draws=3, seed=5, layers=layers)
    K = fn.ntk(X, network=network, mask=mask, draws=3, seed=5, layers=layers)
    bound = np.diag(KERNELS[layers](X, X, W, network.output_weights()).bound)
    # masked rows are longer: |x~| <= (1 + 0.3 * 6.8) |x|
    assert_within(diagonal, formulas.Entries(np.diag(K), 10 * bound))
    if layers == "hidden" and not general:
        np.testing.assert_array_equal(diagonal, np.diag(K))


def test_both_layers_are_the_sum():
    X, Y, W, a = problem(width=20000)
    for network in (fn.Network.from_arrays(W, a), fn.Network(width=20000, dim=5, scale=2.0)):
        hidden, output, both = (fn.ntk(X, Y, network=network, layers=layers) for layers in LAYERS)
        np.testing.assert_array_equal(hidden + output, both)


def test_transposed_cross_kernel():
    X, Y, W, a = problem()
    network = fn.Network.from_arrays(W, a)
    for layers in LAYERS:
        K = fn.ntk(X, Y, network=network, layers=layers)
        transposed = fn.ntk(Y, X, network=network, layers=layers)
        assert_within(transposed.T, formulas.Entries(K, KERNELS[layers](X, Y, W, a).bound))
    signs = fn.Network.from_arrays(W, np.sign(a))
    np.testing.assert_array_equal(fn.ntk(X, Y, network=signs), fn.ntk(Y, X, network=signs).T)


def test_scale_of_the_weights():
    """Bits do not depend on it; powers of two pass through every rounding unchanged."""
    X, Y, *_ = problem()
    one, four = (fn.Network(width=900, dim=5, scale=scale) for scale in (1.0, 4.0))
    np.testing.assert_array_equal(fn.ntk(X, Y, network=four), fn.ntk(X, Y, network=one))
    outputs = (fn.ntk(X, Y, network=network, layers="output") for network in (four, one))
    np.testing.assert_array_equal(next(outputs), 16 * next(outputs))


@pytest.mark.parametrize("general", [False, True], ids=["signs", "general"])
def test_kernel_is_the_gram_matrix_of_the_jacobian(general):
    """J J^T with J from central differences of the network function.

    The function is piecewise linear in W and linear in a, so the differences are exact but for
    rounding: (few operations) U |f| / step each.
    """
    X, _, W, a = problem(n=6, dim=3, width=11)
    a = a if general else np.sign(a)
    step = 2.0**-12
    assert np.abs(X @ W.T).min() > step * np.abs(X).max()  # no kink on the way

    def f(parameters):
        W_, a_ = parameters[: W.size].reshape(W.shape), parameters[W.size :]
        return np.maximum(X @ W_.T, 0) @ a_ / np.sqrt(len(a))

    start = np.concatenate([W.ravel(), a])
    shifts = step * np.eye(len(start))
    J = np.array([(f(start + shift) - f(start - shift)) / (2 * step) for shift in shifts]).T
    error = 30 * formulas.U * np.abs(f(start)).max() / step * np.abs(J).max() * 2 * len(start)
    K = fn.ntk(X, network=fn.Network.from_arrays(W, a), layers="both")
    assert error < 1e-8
    np.testing.assert_allclose(K, J @ J.T, rtol=0, atol=error)


# ------------------------------------------------------------------------- towards infinite width
PAIR = rounded([[1.0, 0.5, -0.3, 0.2], [0.4, -1.0, 0.7, 0.1]])


def spread_at_width_one(x, y):
    """Standard deviations of one neuron's term of the hidden and of the output kernel.

    E (relu relu')^2 is the arc-cosine kernel of order 2 (Cho & Saul 2009, equation 1 with n = 2).
    """
    size = np.linalg.norm(x) * np.linalg.norm(y)
    theta = np.arccos(x @ y / size)
    p = (np.pi - theta) / (2 * np.pi)
    first = size * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    second = 3 * np.sin(theta) * np.cos(theta) + (np.pi - theta) * (1 + 2 * np.cos(theta) ** 2)
    return {
        "hidden": abs(x @ y) * np.sqrt(p * (1 - p)),
        "output": np.sqrt(size**2 * second / (2 * np.pi) - first**2),
    }


@pytest.mark.parametrize("layers", ["hidden", "output"])
@pytest.mark.parametrize("width", [200, 20000])
def test_fluctuations_around_the_infinite_width_limit(layers, width):
    """sqrt(m) (K - K_inf) has mean 0 and the spread of one neuron's term, over independent networks."""
    networks = 150
    entries = [
        fn.ntk(PAIR, network=fn.Network(width, 4, seed=seed), layers=layers, threads=1)[0, 1]
        for seed in range(networks)
    ]
    limit = fn.ntk_limit(PAIR, layers=layers)[0, 1]
    z = (np.array(entries) - limit) * np.sqrt(width) / spread_at_width_one(*PAIR)[layers]
    assert abs(z.sum()) / np.sqrt(networks) < 4  # standard errors of the mean
    # the mean square of near-normal z has standard error sqrt(2 / networks) = 0.12
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / networks)


@by_layers
def test_masked_kernel_tends_to_the_limit_at_the_same_masked_inputs(layers):
    X = problem(n=12)[0]
    mask, width = fn.GaussianMask(0.6), 400_000
    K = fn.ntk(X, network=fn.Network(width, 5), mask=mask, draws=2, seed=9, layers=layers)
    limit = fn.ntk_limit(X, mask=mask, draws=2, seed=9, layers=layers)
    masked = [mask.sample(X, seed=9, draw=draw).astype(float) for draw in range(2)]
    # one neuron's term has a spread of at most |x||y| (1/2 + sqrt(15)/2) over the two layers
    spread = sum(formulas.norms(x, x) for x in masked) / 2 * (0.5 + np.sqrt(15) / 2) / np.sqrt(width)
    assert (np.abs(K - limit) < 5 * spread).all()
    clean_limit = fn.ntk_limit(X, layers=layers)
    assert (np.abs(K - clean_limit) > 5 * spread).any()  # the test can fail
