"""The same numbers whatever the threads, the rows at a time, the width, the shape or the path."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastntk as fn
from fastntk import gaussian
from fastntk.engine.chunk import CHUNK
from fastntk.kernels.cpu.paths import VARIABLE, available_paths
from fastntk.smoothing import (
    expected_gradient,
    mean_features,
    output_variance,
    sampled_variance,
    variance_terms,
)

from ..formulas import U
from .problems import MASKS, arrays, kernels, outputs, rows, targets, variances

MASK = MASKS["by feature"]
X, Y = rows(21), rows(13, seed=1)
NETWORKS = {
    "given": fn.Network.from_arrays(*arrays(60)),
    "pair": arrays(30, outputs=3),
    "virtual": fn.Network(50, 5, seed=3, scale=0.5, outputs=2),
}
WIDE = {
    "virtual": fn.Network(2 * CHUNK + 1, 5, outputs=2),
    "given": fn.Network.from_arrays(*arrays(2 * CHUNK + 100)),
}

by_network = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
by_wide_network = pytest.mark.parametrize("net", WIDE.values(), ids=WIDE)


def outputs_of(net):
    return net[1].shape[1] if isinstance(net, tuple) else net.outputs


def linear(net, X=X, Y=Y, **options):
    """(name, array) of what costs a number of operations linear in the width."""
    options = {"network": net, "mask": MASK, **options}
    y = targets(len(X), outputs_of(net))
    for layers in ("hidden", "output", "both"):
        yield f"shared {layers}", fn.expected_ntk(X, layers=layers, **options)
        yield f"independent {layers}", fn.expected_ntk(X, Y, layers=layers, **options)
        yield f"cross {layers}", fn.expected_ntk(X, layers=layers, **{**options, "mask": (None, MASK)})
    yield "outputs", fn.expected_outputs(X, **options)
    yield "proxy", fn.expected_outputs(X, proxy=True, **options)
    yield "first-order", expected_gradient(X, y, regulariser="first-order", **options)
    yield "none", expected_gradient(X, y, regulariser="none", **options)


def quadratic(net, X=X, **options):
    options = {"network": net, "mask": MASK, **options}
    y = targets(len(X), outputs_of(net))
    loss = fn.expected_loss(X, y, **options)
    yield "variance", output_variance(X, **options)
    yield "loss", np.array([loss.smoothed_mse, loss.regulariser])
    yield "gradient", expected_gradient(X, y, **options)
    terms = variance_terms(X, **options)
    yield from terms._asdict().items()


def assert_equal(found, expected):
    expected = dict(expected)
    for name, values in found:
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


# ------------------------------------------------------------------------------------------ threads
@by_network
@pytest.mark.parametrize("threads", [2, None])
def test_threads_of_pairs(net, threads):
    """21 rows are two runs of the variance, 16 of the gradient."""
    assert_equal(quadratic(net, threads=threads), quadratic(net, threads=1))


@by_wide_network
def test_threads_of_wide_networks(net):
    """Three chunks of neurons."""
    X, y = rows(5), targets(5, outputs_of(net))

    def everything(threads):
        options = {"network": net, "mask": MASK, "threads": threads}
        yield "shared", fn.expected_ntk(X, layers="both", **options)
        yield "independent", fn.expected_ntk(X, Y[:3], layers="both", **options)
        yield "outputs", fn.expected_outputs(X, **options)
        if not net.is_virtual:  # whose weights are made group by group: seconds
            yield "gradient", expected_gradient(X, y, regulariser="first-order", **options)

    assert_equal(everything(2), everything(1))


@by_network
def test_threads_of_narrow_networks(net):
    """One chunk, but many groups of neurons in a gradient."""
    assert_equal(linear(net, threads=3), linear(net, threads=1))


def test_threads_of_sampled_variance():
    options = {"network": WIDE["given"], "mask": MASK, "draws": 2}
    for one, other in zip(*(sampled_variance(X[:3], threads=n, **options) for n in (1, 2)), strict=True):
        np.testing.assert_array_equal(one, other)


@by_network
def test_repeated_calls(net):
    assert_equal(linear(net), linear(net))
    assert_equal(quadratic(net), quadratic(net))


# --------------------------------------------------------------------------------- rows at a time
@by_network
def test_subsets_of_rows(net):
    """An entry of a kernel, an output and a variance are those of their rows alone."""
    options = {"network": net, "mask": MASK}
    shared, apart = (fn.expected_ntk(*sides, layers="both", **options) for sides in ((X,), (X, Y)))
    mean, variance = fn.expected_outputs(X, **options), output_variance(X, **options)
    for some in ([0], [20, 3], range(6), range(7, 20), [*range(12), 20]):
        some = np.array(some)
        found = fn.expected_ntk(X[some], layers="both", **options)
        np.testing.assert_array_equal(found, shared[np.ix_(some, some)])
        found = fn.expected_ntk(X[some], Y[3:5], layers="both", **options)
        np.testing.assert_array_equal(found, apart[some, 3:5])
        np.testing.assert_array_equal(fn.expected_outputs(X[some], **options), mean[some])
        found = output_variance(X[some], **options)
        np.testing.assert_allclose(found, variance[some], rtol=0, atol=1e-14 * np.abs(variance).max())


@by_network
def test_symmetry(net):
    """Without Y, and for the same rows under independent masks: equal to the last bit."""
    for sides in ((X,), (X, X)):
        K = fn.expected_ntk(*sides, network=net, mask=MASK, layers="both")
        np.testing.assert_array_equal(K, K.T)
    independent = fn.expected_ntk(X, X, network=net, mask=MASK, layers="both")
    shared = fn.expected_ntk(X, network=net, mask=MASK, layers="both")
    off = ~np.eye(len(X), dtype=bool)
    np.testing.assert_array_equal(independent[off], shared[off])
    assert (np.diag(shared) > np.diag(independent)).all()  # the ridge
    other = fn.expected_ntk(X, Y, network=net, mask=MASK, layers="both")
    turned = fn.expected_ntk(Y, X, network=net, mask=MASK, layers="both")
    np.testing.assert_allclose(turned.T, other, rtol=0, atol=1e-14 * np.abs(other).max())


def test_positive_semidefinite():
    X = np.concatenate([rows(30), rows(3), 2 * rows(3)])
    for sides in ((X,), (X, X)):
        for layers in ("hidden", "output"):
            K = fn.expected_ntk(*sides, network=NETWORKS["virtual"], mask=MASK, layers=layers)
            assert np.linalg.eigvalsh(K).min() > -1e-13 * np.trace(K)


@given(
    n=st.integers(1, 30),
    p=st.integers(1, 30),
    m=st.one_of(st.integers(1, 60), st.sampled_from([383, 384, 385])),
    d=st.one_of(st.integers(1, 9), st.sampled_from([64, 191, 192, 193, 400])),
    q=st.integers(1, 2),
    noise=st.sampled_from(["multiplicative", "additive"]),
    pair=st.booleans(),
)
@example(n=25, p=13, m=49, d=5, q=1, noise="additive", pair=True)
def test_any_shape(n, p, m, d, q, noise, pair):
    """Kernels and outputs against NumPy: a product of mean features, (n m d) x (p m d)."""
    X, Y, (W, a), mask = rows(n, d), rows(p, d, seed=1), arrays(m, d, q), MASKS[noise]
    net = (W, a) if pair else fn.Network.from_arrays(W, a)
    options = {"network": net, "mask": mask}
    squares = np.square(a.reshape(m, q)).mean(axis=1)
    weighted = [np.sqrt(squares)[:, None] * mean_features(Z, **options) for Z in (X, Y)]
    flat = [values.reshape(len(values), -1) for values in weighted]
    hidden = flat[0] @ flat[1].T / m
    sizes = np.outer(*(np.linalg.norm(values, axis=1) for values in flat)) / m
    found = fn.expected_ntk(X, Y, **options)
    assert (np.abs(found - hidden) <= (2 * m * d + 200) * U * sizes + 1e-14).all()
    one = {"network": (W, np.eye(m) * np.sqrt(m)), "mask": mask}
    relu = [fn.expected_outputs(Z, **one).reshape(len(Z), m) for Z in (X, Y)]
    output = fn.expected_ntk(X, Y, layers="output", **options)
    np.testing.assert_allclose(output, relu[0] @ relu[1].T / m, rtol=1e-12, atol=1e-13)
    a = a.reshape(m, q)
    mean = fn.expected_outputs(X, **options).reshape(n, q)
    np.testing.assert_allclose(
        mean, relu[0] @ a / np.sqrt(m), rtol=0, atol=1e-13 * (1 + np.abs(relu[0]).max())
    )


# ------------------------------------------------------------------------------------------- widths
@pytest.mark.parametrize("width", [1, 47, 48, 49, CHUNK - 1, CHUNK, CHUNK + 1, 40_000])
def test_widths_around_the_chunk(width):
    """Without a mask, the clean quantities by NumPy; with one, the sums over two parts of the neurons."""
    W, a = arrays(width, 3)
    some, y = rows(4, 3), targets(4)
    clean = {"network": (W, a), "mask": fn.AdditiveMask(0.0)}
    exact = outputs(some, (W, a))[:, 0]
    np.testing.assert_allclose(fn.expected_outputs(some, **clean), exact, rtol=0, atol=1e-12)
    K = fn.expected_ntk(some, layers="both", **clean)
    np.testing.assert_allclose(K, kernels(some, some, (W, a))["both"], rtol=1e-11)
    options = {"network": (W, a), "mask": fn.AdditiveMask(0.4)}
    cut = width // 3
    if cut:
        parts = [{**options, "network": (W[part], a[part])} for part in (slice(cut), slice(cut, None))]
        for function, power in ((fn.expected_ntk, 1), (fn.expected_outputs, 0.5)):
            sums = [len(part["network"][0]) ** power * function(some, **part) for part in parts]
            whole = width**power * function(some, **options)
            np.testing.assert_allclose(sum(sums), whole, rtol=0, atol=1e-12 * np.abs(sums).max())
    found = expected_gradient(some, y, regulariser="none", **options)
    np.testing.assert_allclose(found, smoothed_gradient(some, y, W, a, options["mask"]), rtol=0, atol=1e-13)


def smoothed_gradient(X, y, W, a, mask):
    """(a_r / sqrt m) sum_i (E f - y)_i E x~_i 1{h_ri > 0}, in NumPy."""
    V = variances(mask, X)
    z, s = X @ W.T, np.sqrt(V @ np.square(W).T)
    P, D = gaussian.probability(z, s), gaussian.density(z, s)
    pull = gaussian.smoothed_relu(z, s) @ a / np.sqrt(len(W)) - y
    by_neuron = (P * pull[:, None]).T @ X + W * ((D * pull[:, None]).T @ V)
    return a[:, None] * by_neuron / np.sqrt(len(W))


@pytest.mark.parametrize(("q", "dim"), [(1, 5), (3, 30)])
def test_virtual_weights_are_those_of_arrays(q, dim):
    """Only the scale of the fixed point is another: 2^-60 of a bound of some 100 m d."""
    virtual = fn.Network(200, dim, outputs=q, seed=9)
    given_arrays = virtual.weights(), virtual.output_weights()
    given = fn.Network.from_arrays(*given_arrays)
    some, mask, y = rows(5, dim), fn.GaussianMask(0.5), targets(5, q)
    for function in (
        lambda net: fn.expected_ntk(some, network=net, mask=mask, layers="both"),
        lambda net: fn.expected_outputs(some, network=net, mask=mask),
        lambda net: output_variance(some, network=net, mask=mask),
        lambda net: expected_gradient(some, y, network=net, mask=mask),
    ):
        expected = function(given_arrays)
        for net in (virtual, given):
            np.testing.assert_allclose(function(net), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


# -------------------------------------------------------------------------------- instruction sets
@by_network
@pytest.mark.parametrize("path", available_paths()[1:])
def test_instruction_sets(net, path, monkeypatch):
    """Chains of fused operations are the same; series are multiplied and added apart on one path."""
    expected, of_pairs = dict(linear(net, threads=1)), dict(quadratic(net, threads=1))
    monkeypatch.setenv(VARIABLE, path)
    assert_equal(linear(net, threads=1), expected)
    for name, values in quadratic(net, threads=1):
        scale = np.abs(of_pairs[name]).max() + np.abs(of_pairs["upper"]).max()
        np.testing.assert_allclose(values, of_pairs[name], rtol=0, atol=1e-13 * scale, err_msg=name)
