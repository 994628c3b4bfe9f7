"""The two halves of the kernel times a vector against their definitions, on every path."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastntk.kernels import load, reference
from fastntk.kernels.cpu import kernel_product
from fastntk.kernels.cpu.paths import available_paths

U = 2.0**-53
MOST = kernel_product.PRODUCT_NEURONS
DIMS = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100]))


def pattern(kernels, P):
    """Words of 64 neurons as the engine has them: padded rows are not zero, neurons beyond the last are."""
    bits = kernels.empty(kernels.bits_shape(*P.shape), np.uint8, fill=0)
    packed = np.packbits(P, axis=1, bitorder="little")
    bits[: len(P), : packed.shape[1]] = packed
    bits[len(P) :, : packed.shape[1]] = 255
    return bits.view(np.uint64)


def scratch_of(kernels, P, dim):
    """Scratch with the bits of a pattern (n, m <= MOST); what was there before is not zero."""
    scratch = kernels.product_scratch(len(P), dim)
    scratch.by_neuron[:] = np.uint64(0x5555555555555555)
    scratch.by_sample[:] = np.uint64(0x5555555555555555)
    scratch.neuron_sums[:] = np.nan
    bits = pattern(kernels, P)
    kernels.gradients.transpose_bits(bits, len(P), 0, P.shape[1], scratch.block, scratch.by_neuron)
    return scratch


def padded(v):
    """Weights of samples as the kernel reads them."""
    weights = np.zeros(-(-len(v) // 64) * 64)
    weights[: len(v)] = v
    return weights


def sums_by_neuron(kernels, P, v, X):
    """(m, d): S_r."""
    m, dim = P.shape[1], X.shape[1]
    scratch = scratch_of(kernels, P, dim)
    kernels.sums_by_neuron(m, kernels.double_rows(X), dim, padded(v), scratch)
    return scratch.neuron_sums.transpose(1, 0, 2).reshape(MOST, -1)[:m, :dim]


def projected(kernels, P, squares, S, X, first=0):
    """(n,): the sums of the neurons from ``first`` on, projected on the samples."""
    m, dim = len(S), X.shape[1]
    scratch = scratch_of(kernels, P[:, first : first + m], dim)
    slabs, _, slab = scratch.neuron_sums.shape
    flat = np.zeros((m, slabs * slab))
    flat[:, :dim] = S
    scratch.neuron_sums[:, :m] = flat.reshape(m, slabs, slab).transpose(1, 0, 2)
    scratch.squares[:m] = squares
    out = np.zeros(len(X))
    kernels.project_by_sample(pattern(kernels, P), first // 64, m, kernels.double_rows(X), dim, scratch, out)
    return out


def problem(n, m, d, seed):
    rng = np.random.default_rng(seed)
    P = rng.random((n, m)) < rng.choice([0.02, 0.5, 1.0])
    return P, rng.standard_normal((n, d)).astype(np.float32), rng


@given(n=st.integers(1, 140), m=st.integers(1, 20), d=DIMS, seed=st.integers(0, 2**32))
@example(n=64, m=MOST, d=3, seed=0)
def test_sums_by_neuron(n, m, d, seed):
    """The bound of docs/mathematics.md, section 12; and the same bits on every path."""
    P, X, rng = problem(n, m, d, seed)
    v = rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n)
    expected = reference.hidden_gradient(P, np.ones((m, 1)), v[:, None], X)
    bound = 261 * U * (np.abs(v) @ np.abs(X).astype(float))
    results = [sums_by_neuron(load(name), P, v, X) for name in available_paths()]
    for found in results:
        assert (np.abs(found - expected) <= bound).all()
        np.testing.assert_array_equal(found, results[0])


@given(n=st.integers(1, 90), m=st.integers(1, 140), d=DIMS, seed=st.integers(0, 2**32))
@example(n=5, m=MOST, d=3, seed=0)
@example(n=1540, m=100, d=17, seed=1)
def test_projections_by_sample(n, m, d, seed):
    P, X, rng = problem(n, m, d, seed)
    S, squares = rng.standard_normal((m, d)), rng.uniform(0, 2, m)
    expected = reference.hidden_tangent(P, squares[:, None], S, X)[:, 0]
    bound = (267 + d / 4) * U * np.abs(X).astype(float) @ (squares @ np.abs(S))
    results = [projected(load(name), P, squares, S, X) for name in available_paths()]
    for found in results:
        assert (np.abs(found - expected) <= bound).all()
        np.testing.assert_array_equal(found, results[0])


def test_projections_of_a_range_of_neurons(kernels):
    P, X, rng = problem(70, 400, 20, 3)
    S, squares = rng.standard_normal((128, 20)), rng.uniform(0, 2, 128)
    expected = projected(kernels, P[:, 192:320].copy(), squares, S, X)
    np.testing.assert_array_equal(projected(kernels, P, squares, S, X, first=192), expected)


def test_projections_are_added(kernels):
    P, X, _ = problem(7, 30, 5, 4)
    dim, scratch = 5, scratch_of(kernels, P, 5)
    scratch.neuron_sums[:, :30] = 0
    out = np.arange(7.0)
    kernels.project_by_sample(pattern(kernels, P), 0, 30, kernels.double_rows(X), dim, scratch, out)
    np.testing.assert_array_equal(out, np.arange(7.0))


@pytest.mark.parametrize("n", [1023, 1024, 1025, 2100])
def test_chains_end_after_1024_samples(kernels, n):
    """1 and then 2^-55: half an ulp of 1 for four samples, which a chain that begins with the 1 loses."""
    P, X, v = np.ones((n, 3), bool), np.ones((n, 20), np.float32), np.full(n, 2.0**-55)
    v[0] = 1
    np.testing.assert_array_equal(sums_by_neuron(kernels, P, v, X), 1 + max(n - 1024, 0) * 2.0**-55)


@pytest.mark.parametrize("size", [1e-38, 1e38])
@pytest.mark.parametrize("size_v", [1e-200, 1e200])
def test_float64_has_room(kernels, size, size_v):
    P, X, rng = problem(90, 11, 40, 3)
    X *= np.float32(size / 5)
    v = size_v * rng.standard_normal(90)
    expected = reference.hidden_gradient(P, np.ones((11, 1)), v[:, None], X)
    error = np.abs(sums_by_neuron(kernels, P, v, X) - expected)
    assert (error <= 261 * U * (np.abs(v) @ np.abs(X).astype(float))).all()


def test_a_product_with_the_kernel(kernels):
    """Both halves, one after the other, against the definition."""
    P, X, rng = problem(40, 30, 9, 5)
    v, squares = rng.standard_normal(40), rng.uniform(0, 2, 30)
    found = projected(kernels, P, squares, sums_by_neuron(kernels, P, v, X), X)
    expected = reference.hidden_product(P, P, squares, X, X, v)
    sizes = np.linalg.norm(X, axis=1)
    assert (np.abs(found - expected) <= 540 * U * sizes * (sizes @ np.abs(v)) * squares.sum()).all()


def test_double_rows(kernels):
    X = np.random.default_rng(6).standard_normal((66, 70)).astype(np.float32)
    rows = kernels.double_rows(X)
    slabs, count, width = rows.shape
    flat = rows.transpose(1, 0, 2).reshape(count, slabs * width)
    assert count % 64 == 0
    np.testing.assert_array_equal(flat[:66, :70], X)
    assert not flat[66:].any()
    assert not flat[:, 70:].any()
    assert rows.nbytes <= kernels.double_rows_bytes(66, 70)
