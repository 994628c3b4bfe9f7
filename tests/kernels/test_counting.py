"""Coactivation counts are exact integers on every path, whatever the shape."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastntk.kernels import cpu, load, reference
from fastntk.kernels.cpu.paths import PATHS, available_paths

WAYS = {name: load(name) for name in available_paths()}
if any(kernels.counts_with_amx for kernels in WAYS.values()):
    with mock.patch.object(cpu, "counts_with_amx", return_value=False):
        WAYS["avx512 without amx"] = cpu.CpuKernels(PATHS["avx512"])


@pytest.fixture(params=WAYS)
def kernels(request):
    return WAYS[request.param]


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
@settings(max_examples=40)
def test_counts_equal_the_reference(n, p, m, density):
    rng = np.random.default_rng(n * 1000 + p)
    P, Q = rng.random((n, m)) < density, rng.random((p, m)) < density
    expected, own = reference.coactivation(P, Q), np.triu(reference.coactivation(P, P))
    for kernels in WAYS.values():
        np.testing.assert_array_equal(coactivation(kernels, P, Q, upper=False), expected)
        np.testing.assert_array_equal(np.triu(coactivation(kernels, P, P, upper=True)), own)


@pytest.mark.parametrize("n", [1000, 1041, 1300, 2100])
def test_many_rows(kernels, n):
    """More rows than a block of columns holds, ragged ones too."""
    P = np.random.default_rng(0).random((n, 600)) < 0.5
    expected = P.astype(np.float32) @ P.astype(np.float32).T  # integers below 2^24: exact
    np.testing.assert_array_equal(coactivation(kernels, P, P, upper=False), expected)
    np.testing.assert_array_equal(np.triu(coactivation(kernels, P, P, upper=True)), np.triu(expected))


@pytest.mark.parametrize(("n", "p"), [(513, 561), (400, 1040), (1025, 390), (16, 1040), (1025, 17)])
def test_ragged_blocks(kernels, n, p):
    """One row or one tile more than a block holds, on either side."""
    rng = np.random.default_rng(n)
    P, Q = (rng.random((rows, 1090)) < 0.5 for rows in (n, p))
    expected = P.astype(np.float32) @ Q.astype(np.float32).T
    np.testing.assert_array_equal(coactivation(kernels, P, Q, upper=False), expected)


@given(
    n=st.integers(385, 700),
    p=st.integers(385, 700),
    m=st.one_of(st.integers(1, 1100), st.sampled_from([2048, 2049, 16384])),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
@settings(max_examples=8)
def test_counts_of_more_rows(n, p, m, density):
    """As many as are counted by matrix tiles, where there are such."""
    rng = np.random.default_rng(n * 1000 + p)
    P, Q = rng.random((n, m)) < density, rng.random((p, m)) < density
    expected = P.astype(np.float32) @ Q.astype(np.float32).T
    symmetric = np.triu(P.astype(np.float32) @ P.astype(np.float32).T)
    for kernels in WAYS.values():
        np.testing.assert_array_equal(coactivation(kernels, P, Q, upper=False), expected)
        np.testing.assert_array_equal(np.triu(coactivation(kernels, P, P, upper=True)), symmetric)


def test_many_rows_and_neurons(kernels):
    """More than are summed at a time, on both sides."""
    P = np.random.default_rng(0).random((340, 33_000)) < 0.5
    expected = P.astype(np.float32) @ P.astype(np.float32).T
    np.testing.assert_array_equal(coactivation(kernels, P, P, upper=False), expected)
    np.testing.assert_array_equal(np.triu(coactivation(kernels, P, P, upper=True)), np.triu(expected))


def test_more_neurons_than_two_bytes_count(kernels):
    """All active: the largest sums there can be, in whatever they are kept."""
    P = np.ones((130, 70_001), bool)
    counts = coactivation(kernels, P, P, upper=False)
    np.testing.assert_array_equal(counts, P.shape[1])


def test_counts_are_added_to(kernels):
    P = np.ones((3, 10), bool)
    counts = np.full(kernels.counts_shape(3, 3), 5, np.int32)
    kernels.coactivation(packed(kernels, P), packed(kernels, P), 10, False, counts)
    np.testing.assert_array_equal(counts[:3, :3], 15)


def test_without_a_grant_of_tiles_they_are_not_used(monkeypatch):
    monkeypatch.setattr(cpu.paths, "_tiles_are_granted", lambda: False)
    assert not any(cpu.CpuKernels(PATHS[name]).counts_with_amx for name in available_paths())
