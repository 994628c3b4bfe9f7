"""The float64 product and the loops around it: fixed order, hence equal bits on every path."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastntk.kernels import load, reference
from fastntk.kernels.cpu.paths import available_paths


def product(kernels, A, B, C=None, *, upper=False):
    """C + A^T B by the kernel."""
    n, p = A.shape[1], B.shape[1]
    out = np.zeros(kernels.product_shape(n, p))
    if C is not None:
        start = kernels.to_panels(C)  # (groups of columns, n, G)
        out[:, :n] = start
    kernels.ordered_product(kernels.to_panels(A), kernels.to_panels(B), len(A), upper, out)
    return kernels.from_panels(out, n, p)


@given(n=st.integers(1, 30), p=st.integers(1, 30), depth=st.integers(1, 9), seed=st.integers(0, 100))
def test_product_is_a_chain_of_fma(n, p, depth, seed):
    rng = np.random.default_rng(seed)
    A, B, C = (rng.standard_normal(shape) for shape in ((depth, n), (depth, p), (n, p)))
    expected = reference.ordered_product(A, B, C)
    for name in available_paths():
        np.testing.assert_array_equal(product(load(name), A, B, C), expected)


def test_splitting_the_depth_changes_nothing(kernels):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((100, 40)), rng.standard_normal((100, 17))
    whole = product(kernels, A, B)
    parts = product(kernels, A[33:], B[33:], product(kernels, A[:33], B[:33]))
    np.testing.assert_array_equal(parts, whole)


def test_upper_triangle_of_a_symmetric_product(kernels):
    A = np.random.default_rng(1).standard_normal((50, 61))
    np.testing.assert_array_equal(
        np.triu(product(kernels, A, A, upper=True)), np.triu(product(kernels, A, A))
    )


def test_loops_over_neurons(kernels):
    """Against math.fsum: a chain of m terms is off by at most m 2^-53 of the sum of magnitudes."""
    rng = np.random.default_rng(3)
    n, m, q = 29, 200, 3
    H, a = rng.standard_normal((n, m)), rng.standard_normal((m, q))
    panels = kernels.to_panels(H.T)  # (groups, neurons, G): samples are the columns
    rectified = panels.copy()
    kernels.sums.rectify(rectified)
    np.testing.assert_array_equal(rectified, np.maximum(panels, 0))

    out = np.zeros((panels.shape[0], q, panels.shape[2]))
    kernels.sums.weighted_sum(rectified, a, out)
    tolerance = (m + 1) * 2.0**-53 * np.maximum(H, 0) @ np.abs(a)
    assert (np.abs(kernels.from_panels(out, q, n).T - reference.outputs(H, a)) <= tolerance).all()
    for c in range(q):  # the outputs know nothing of each other
        alone = np.zeros((panels.shape[0], 1, panels.shape[2]))
        kernels.sums.weighted_sum(rectified, a[:, c : c + 1], alone)
        np.testing.assert_array_equal(alone[:, 0], out[:, c])

    out = np.zeros((panels.shape[0], panels.shape[2]))
    kernels.sums.square_sum(rectified, m, out)
    expected = np.diagonal(reference.relu_gram(H, H))
    assert (np.abs(out.reshape(-1)[:n] - expected) <= (m + 1) * 2.0**-53 * expected).all()


def test_weighted_bits(kernels):
    rng = np.random.default_rng(4)
    P, weights = rng.random((13, 70)) < 0.5, rng.random(70)
    bits = np.packbits(P, axis=1, bitorder="little")
    panels = np.full((kernels.groups(13), 60, kernels.group_width), np.nan)
    kernels.sums.unpack_bits(bits, 10, weights[10:], panels)
    expected = kernels.to_panels((P[:, 10:] * weights[10:]).T)
    np.testing.assert_array_equal(panels, expected)
    ones = np.full_like(panels, np.nan)
    kernels.sums.unpack_bits(bits, 10, np.ones(60), ones)
    gram = np.zeros(kernels.product_shape(13, 13))
    kernels.ordered_product(panels, ones, 60, False, gram)
    expected = reference.weighted_coactivation(P[:, 10:], P[:, 10:], weights[10:])
    np.testing.assert_allclose(kernels.from_panels(gram, 13, 13), expected, rtol=60 * 2.0**-53)
    out = np.zeros(13)
    kernels.sums.weighted_bit_count(bits, weights, out)
    np.testing.assert_allclose(out, P @ weights, rtol=70 * 2.0**-53)


def test_packing_weights(kernels):
    W = np.random.default_rng(5).standard_normal((30, 7)).astype(np.float32)
    W.flags.writeable = False
    panels = np.full((kernels.groups(40), 7, kernels.group_width), np.nan)
    kernels.sums.pack_weights(W, panels)
    expected = np.zeros((len(panels) * kernels.group_width, 7))
    expected[:30] = W
    np.testing.assert_array_equal(panels, kernels.to_panels(expected.T))


def test_fixed_point_conversion_rounds_once(kernels):
    values = np.array([[[1.25, -2.75], [1e-3, 5.0]]])
    totals = np.array([[[1, 1], [0, 0]]], np.int64)
    kernels.sums.add_fixed_point(values, np.array([1.0, 2.0]), np.array([[4.0, 1.0]]), totals)
    np.testing.assert_array_equal(totals, [[[6, -2], [0, 10]]])
