"""Gradients of neurons and tangents of samples against their definitions, on every path."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastntk.kernels import load, reference
from fastntk.kernels.cpu import gradient, tangent
from fastntk.kernels.cpu.paths import available_paths

U = 2.0**-24
DIMS = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 130]))
EXTREMES = [1e-38, 1e-20, 1.0, 1e20, 1e38]


def pattern(kernels, P):
    """A pattern as the engine has it: padded rows are not zero, neurons beyond the last are."""
    bits = kernels.empty(kernels.bits_shape(*P.shape), np.uint8, fill=0)
    packed = np.packbits(P, axis=1, bitorder="little")
    bits[: len(P), : packed.shape[1]] = packed
    bits[len(P) :, : packed.shape[1]] = 255
    return bits


def transposed(kernels, P, first=0, count=None):
    """Scratch whose words are those of the neurons first, ..., first + count - 1."""
    scratch = kernels.gradient_scratch(len(P))
    scratch.words[:] = np.uint64(0x5555555555555555)  # what an earlier block left behind
    bits = pattern(kernels, P).view(np.uint64)
    count = P.shape[1] - first if count is None else count
    gradient.transpose_bits(bits, len(P), first // 64, count, scratch.block, scratch.words)
    return scratch


def by_lookup(kernels, P, u, X, factors):
    """(m, d) gradients of one output, and the magnitude the kernel returns."""
    scratch, rows = transposed(kernels, P), kernels.weighted_rows(X, u)
    out = np.full((P.shape[1], X.shape[1]), np.nan, np.float32)
    scale = np.ldexp(1.0, rows.exponents)
    magnitude = kernels.gradient_by_lookup(
        scratch.words, len(out), rows.rows, rows.ones, scale, factors, scratch, out
    )
    return out, magnitude


def dense(kernels, P, a, u, X, factors):
    """(m, d) gradients of q outputs."""
    scratch, rows = transposed(kernels, P), kernels.weighted_rows(X, np.ones(len(X)))
    out = np.full((P.shape[1], X.shape[1]), np.nan, np.float32)
    tile = kernels.path.step_neurons
    own = np.zeros((-(-len(a) // tile) * tile, a.shape[1]), np.float32)
    own[: len(a)] = a
    shared = np.zeros((u.shape[1], len(rows.ones)), np.float32)
    shared[:, : len(u)] = u.T
    scale = np.ldexp(1.0, rows.exponents)
    kernels.dense_gradient(scratch.words, len(out), rows.rows, shared, own, scale, factors, scratch, out)
    return out


def sums_of_directions(kernels, P, a, V, X):
    """(n,) tangents of one output."""
    bits = pattern(kernels, P).view(np.uint64)
    scratch, chains = kernels.tangent_scratch(), np.zeros((len(X), tangent.CHAINS))
    V, X = V.view(), X.view()
    V.flags.writeable = X.flags.writeable = False
    for start in range(0, len(V), tangent.TANGENT_NEURONS):
        block = slice(start, start + tangent.TANGENT_NEURONS)
        kernels.tangent(bits, start // 64, V[block], a[block], X, scratch, chains)
    return chains.sum(axis=1)


def problem(n, m, d, seed):
    rng = np.random.default_rng(seed)
    P = rng.random((n, m)) < rng.choice([0.02, 0.5, 1.0])
    X, V = (rng.standard_normal((rows, d)).astype(np.float32) for rows in (n, m))
    return P, X, V, rng


def magnitudes(weights, X):
    """sum_i |weights_i x_ik|."""
    return np.abs(weights) @ np.abs(X).astype(float)


# ------------------------------------------------------------------------------------- words
@given(n=st.integers(1, 200), m=st.one_of(st.integers(1, 70), st.sampled_from([511, 512, 513, 1030])))
def test_transposed_bits(n, m):
    P = np.random.default_rng(n * m).random((n, m)) < 0.5
    for name in available_paths():
        words = transposed(load(name), P).words
        np.testing.assert_array_equal(words[:, :m], reference.words_of_samples(P))


def test_transposed_bits_of_a_range(kernels):
    P = np.random.default_rng(0).random((70, 1700)) < 0.5
    words = transposed(kernels, P, first=512, count=1100).words
    np.testing.assert_array_equal(words[:, :1100], reference.words_of_samples(P[:, 512:1612]))


def test_words_are_bits_of_samples():
    """The definition itself, one bit at a time."""
    P = np.random.default_rng(1).random((66, 3)) < 0.5
    words = reference.words_of_samples(P)
    for i, r in np.ndindex(P.shape):
        assert bool(words[i // 64, r] >> np.uint64(i % 64) & np.uint64(1)) == P[i, r]


# -------------------------------------------------------------------------------- one output
@given(n=st.integers(1, 140), m=st.integers(1, 20), d=DIMS, seed=st.integers(0, 2**32))
@example(n=64, m=7, d=64, seed=0)
def test_gradient_by_lookup(n, m, d, seed):
    """The bound of docs/mathematics.md, section 6; and the same bits on every path."""
    P, X, _, rng = problem(n, m, d, seed)
    u, factors = rng.uniform(-1, 1, n), rng.standard_normal(m)
    expected = factors[:, None] * reference.hidden_gradient(P, np.ones((m, 1)), u[:, None], X)
    bound = 260 * U * np.abs(factors)[:, None] * magnitudes(u, X) + U * np.abs(expected)
    results = [by_lookup(load(name), P, u, X, factors) for name in available_paths()]
    for out, magnitude in results:
        assert (np.abs(out - expected) <= bound).all()
        assert magnitude == np.abs(out).max()
        np.testing.assert_array_equal(out, results[0][0])


@pytest.mark.parametrize("n", [1023, 1024, 1025, 2100])
def test_chains_end_after_1024_samples(kernels, n):
    """1 and then 2^-26: half an ulp of 1 for four samples, which a chain that begins with the 1 loses."""
    P, X = np.ones((n, 3), bool), np.full((n, 20), 2.0**-26, np.float32)
    X[0] = 1
    out, _ = by_lookup(kernels, P, np.ones(n), X, np.ones(3))
    np.testing.assert_array_equal(out, np.float32(1 + max(n - 1024, 0) * 2.0**-26))


@pytest.mark.parametrize("size_x", EXTREMES)
@pytest.mark.parametrize("size_factor", [1e-60, 1.0, 1e60])
def test_extreme_magnitudes(kernels, size_x, size_factor):
    """Columns of any size beside each other; what is beyond fp32 is reported, and 0 stays 0."""
    P, X, _, rng = problem(90, 11, 40, 3)
    X *= np.float32(size_x / 5)
    X[:, ::3] = rng.choice(EXTREMES, X[:, ::3].shape) * np.sign(X[:, ::3])
    X[:, 5] = 0
    u, factors = rng.uniform(-1, 1, 90), size_factor * rng.standard_normal(11)
    factors[3] = 0
    P[:, 4] = False
    expected = factors[:, None] * reference.hidden_gradient(P, np.ones((11, 1)), u[:, None], X)
    out, magnitude = by_lookup(kernels, P, u, X, factors)
    assert not out[:, 5].any()
    assert not out[[3, 4]].any()
    beyond = np.abs(expected) > float(np.finfo(np.float32).max)
    np.testing.assert_array_equal(np.isinf(out), beyond)
    assert np.isinf(magnitude) == beyond.any()
    bound = 260 * U * np.abs(factors)[:, None] * magnitudes(u, X) + U * np.abs(expected) + 2.0**-150
    assert (np.abs(out - expected)[~beyond] <= bound[~beyond]).all()


def test_weighted_rows(kernels):
    """Columns between 1/2 and 1 at most, whatever the sizes; zeros beyond the samples and features."""
    rng = np.random.default_rng(5)
    X = (rng.choice(EXTREMES, 70) * rng.standard_normal((66, 70)) / 5).astype(np.float32)
    X[:, 7] = 0
    u = rng.uniform(-1, 1, 66) * rng.choice([1.0, 1e-30], 66)
    rows = kernels.weighted_rows(X, u)
    slabs, count, width = rows.rows.shape
    flat = rows.rows.transpose(1, 0, 2).reshape(count, slabs * width)
    assert not flat[66:].any()
    assert not flat[:, 70:].any()
    largest = np.abs(flat[:66, :70]).max(axis=0)
    np.testing.assert_array_equal(np.flatnonzero((largest < 0.5) | (largest > 1)), [7])
    exact = u[:, None] * X.astype(float)
    back = np.ldexp(flat[:66, :70].astype(float), rows.exponents)
    assert (
        np.abs(back - exact) <= (U + 2.0**-52) * np.abs(exact) + np.ldexp(2.0**-149, rows.exponents)
    ).all()
    assert (rows.ones == 1).all()
    assert len(rows.ones) == count


# ---------------------------------------------------------------------------- several outputs
@given(n=st.integers(1, 140), m=st.integers(1, 20), d=DIMS, q=st.integers(1, 12), seed=st.integers(0, 2**32))
@example(n=700, m=13, d=70, q=3, seed=0)
def test_dense_gradient(n, m, d, q, seed):
    P, X, _, rng = problem(n, m, d, seed)
    a, u = rng.uniform(-1, 1, (m, q)), rng.uniform(-1, 1, (n, q))
    factors = rng.standard_normal(m)
    expected = factors[:, None] * reference.hidden_gradient(P, a, u, X)
    scale = np.abs(factors)[:, None] * magnitudes(np.abs(a) @ np.abs(u).T, X)
    for name in available_paths():
        out = dense(load(name), P, a, u, X, factors)
        assert (np.abs(out - expected) <= (260 + q) * U * scale + U * np.abs(expected)).all()


# ----------------------------------------------------------------------------------- tangents
@given(n=st.integers(1, 90), m=st.integers(1, 140), d=DIMS, seed=st.integers(0, 2**32))
@example(n=5, m=1030, d=3, seed=0)
@example(n=1540, m=3, d=17, seed=1)
def test_tangent(n, m, d, seed):
    P, X, V, rng = problem(n, m, d, seed)
    a = rng.standard_normal(m)
    expected = reference.hidden_tangent(P, a[:, None], V, X)[:, 0]
    bound = 260 * U * np.abs(X).astype(float) @ magnitudes(a, V)
    results = [sums_of_directions(load(name), P, a, V, X) for name in available_paths()]
    for found in results:
        assert (np.abs(found - expected) <= bound).all()
        np.testing.assert_array_equal(found, results[0])


@pytest.mark.parametrize("size_a", [1e-60, 1e60])
@pytest.mark.parametrize("size_x", [1e-38, 1e38])
def test_tangents_of_extreme_magnitudes(kernels, size_a, size_x):
    P, X, V, rng = problem(20, 70, 40, 6)
    X *= np.float32(size_x / 5)
    V *= (rng.choice(EXTREMES, (70, 40)) / 5).astype(np.float32)
    V[:, 5] = 0
    a = size_a * rng.standard_normal(70)
    a[3] = 0
    expected = reference.hidden_tangent(P, a[:, None], V, X)[:, 0]
    bound = 260 * U * np.abs(X).astype(float) @ magnitudes(a, V)
    assert (np.abs(sums_of_directions(kernels, P, a, V, X) - expected) <= bound).all()


# ------------------------------------------------------------------------------- plain loops
def test_sums_over_samples(kernels):
    rng = np.random.default_rng(7)
    n, m, q = 29, 60, 3
    H, u = rng.standard_normal((n, m)), rng.standard_normal((n, q))
    panels = kernels.to_panels(np.maximum(H, 0).T)  # samples are the columns
    out = np.zeros((m - 2, q))
    gradient.sum_over_samples(panels, u, m - 2, out)
    expected = reference.output_gradient(H, u)[: m - 2]
    assert (np.abs(out - expected) <= n * 2.0**-53 * (np.maximum(H, 0).T @ np.abs(u))[: m - 2]).all()


def test_squares():
    V = (np.random.default_rng(8).standard_normal((30, 7)) * [1e-45, 1e-30, 1, 1, 1e10, 1e30, 3e37]).astype(
        "f4"
    )
    V.flags.writeable = False
    squares = np.ones(7)
    tangent.add_squares(V, squares)
    np.testing.assert_allclose(squares, 1 + (V.astype(float) ** 2).sum(axis=0), rtol=40 * 2.0**-53)
