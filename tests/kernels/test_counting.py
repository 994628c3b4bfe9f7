"""Coactivation counts are exact integers on every path, whatever the shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastntk.kernels import load, reference
from fastntk.kernels.cpu.paths import available_paths


def packed(kernels, P):
    """Pattern bits in the layout of the kernels."""
    out = kernels.empty(kernels.bits_shape(*P.shape), np.uint8, fill=0)
    bits = np.packbits(P, axis=1, bitorder="little")
    out[: bits.shape[0], : bits.shape[1]] = bits
    return out


def coactivation(kernels, P, Q, *, upper):
    counts = np.zeros(kernels.counts_shape(len(P), len(Q)), np.int32)
    kernels.coactivation(packed(kernels, P), packed(kernels, Q), P.shape[1], upper, counts)
    return counts[: len(P), : len(Q)]


@given(
    n=st.integers(1, 130),
    p=st.integers(1, 70),
    m=st.one_of(st.integers(1, 1100), st.sampled_from([16384, 16385, 33000])),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_counts_equal_the_reference(n, p, m, density):
    rng = np.random.default_rng(n * 1000 + p)
    P, Q = rng.random((n, m)) < density, rng.random((p, m)) < density
    for name in available_paths():
        kernels = load(name)
        np.testing.assert_array_equal(coactivation(kernels, P, Q, upper=False), reference.coactivation(P, Q))
        symmetric = coactivation(kernels, P, P, upper=True)
        np.testing.assert_array_equal(np.triu(symmetric), np.triu(reference.coactivation(P, P)))


def test_many_rows(kernels):
    """More rows than a block of columns holds."""
    P = np.random.default_rng(0).random((1000, 600)) < 0.5
    expected = P.astype(np.float32) @ P.astype(np.float32).T  # integers below 2^24: exact
    np.testing.assert_array_equal(coactivation(kernels, P, P, upper=False), expected)
    np.testing.assert_array_equal(np.triu(coactivation(kernels, P, P, upper=True)), np.triu(expected))


def test_counts_are_added_to(kernels):
    P = np.ones((3, 10), bool)
    counts = np.full(kernels.counts_shape(3, 3), 5, np.int32)
    kernels.coactivation(packed(kernels, P), packed(kernels, P), 10, False, counts)
    np.testing.assert_array_equal(counts[:3, :3], 15)
