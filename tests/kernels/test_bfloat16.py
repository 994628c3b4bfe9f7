"""Weights that are bfloat16 numbers: their definition, and their patterns on every path and by AMX."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastntk.kernels import reference

from ..adversarial import problems
from .forward_ways import WAYS
from .test_pattern import adversarial_rows, pattern

LARGEST = np.float32(2.0**127 * (2 - 2.0**-7))  # of the bfloat16 numbers


@pytest.fixture(params=WAYS)
def kernels(request):
    return WAYS[request.param]


def require_bits(kernels, X, W):
    """Bits of given weights, rounded first, are those of the definition; how many were settled."""
    W = reference.round_to_bfloat16(np.clip(W, -LARGEST, LARGEST))
    bits, settled = pattern(kernels, X, W, dtype="bfloat16")
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    return settled


# ------------------------------------------------------------------------------- the definition
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 2.0**-8, 1.0),  # a tie, to even
        (1 + 3 * 2.0**-8, 1 + 2.0**-6),  # a tie, to even
        (1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-7),  # just above one
        (1 + 2.0**-7 + 2.0**-8 - 2.0**-23, 1 + 2.0**-7),  # just below one
        (2 - 2.0**-9, 2.0),  # the carry runs into the exponent
        (LARGEST, LARGEST),
        (2.0**127 * (2 - 2.0**-8), np.inf),
        (np.finfo(np.float32).max, np.inf),
        (3 * 2.0**-134, 2.0**-132),  # denormals, a tie
        (2.0**-134, 0.0),
        (2.0**-149, 0.0),
        (2.0**-126 - 2.0**-149, 2.0**-126),
        (0.0, 0.0),
    ],
)
def test_golden_values_of_the_rounding(value, expected):
    rounded = reference.round_to_bfloat16(np.array([value, -value], np.float32))
    np.testing.assert_array_equal(rounded, np.array([expected, -expected], np.float32))
    np.testing.assert_array_equal(np.signbit(rounded), [False, True])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_the_rounding_is_to_the_nearest(word):
    value = np.array([word], np.uint32).view(np.float32)
    if not np.isfinite(value[0]) or abs(value[0]) > LARGEST:
        return
    rounded = reference.round_to_bfloat16(value).view(np.uint32)
    assert rounded[0] & 0xFFFF == 0
    neighbours = np.array([word & 0xFFFF0000, (word & 0xFFFF0000) + 0x10000], np.uint64).astype(np.uint32)
    exact, below, above = (Fraction(float(v)) for v in (value[0], *neighbours.view(np.float32)))
    if abs(exact - below) != abs(exact - above):
        expected = neighbours[int(abs(exact - below) > abs(exact - above))]
    else:
        expected = neighbours[int(neighbours[0] >> 16 & 1)]
    assert rounded[0] == expected


def test_the_rounding_is_that_of_torch():
    torch = pytest.importorskip("torch")
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = words.view(np.float32)[np.isfinite(words.view(np.float32))]
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(reference.round_to_bfloat16(values), expected)


# --------------------------------------------------------------------------------- the patterns
@given(
    n=st.integers(1, 70),
    dim=st.one_of(st.integers(1, 12), st.sampled_from([31, 32, 33, 64, 131, 300])),
    count=st.integers(1, 100),
    first=st.integers(0, 10**6),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=30)
def test_virtual_weights_on_ragged_shapes(n, dim, count, first, seed):
    X = np.random.default_rng(seed % 1000).standard_normal((n, dim)).astype(np.float32)
    normals = reference.normals(seed, np.arange(first, first + count), dim, 0)
    expected = reference.pattern(X, reference.round_to_bfloat16(normals))
    for kernels in WAYS.values():
        bits, _ = pattern(kernels, X, seed=seed, first=first, count=count, dtype="bfloat16")
        np.testing.assert_array_equal(bits, expected)


@given(problems())
@settings(max_examples=60)
def test_rows_and_weights_that_fp32_gets_wrong(problem):
    for kernels in WAYS.values():
        require_bits(kernels, *problem)


@pytest.mark.parametrize("dim", [1, 3, 64, 130, 1100])
def test_adversarial_rows(kernels, dim):
    rng = np.random.default_rng(dim)
    X = adversarial_rows(dim, rng)
    X = X[(X != 0).any(axis=1)]
    ordinary, small = rng.standard_normal((30, dim)), rng.standard_normal((20, dim)) * 1e-25
    weights = np.concatenate([ordinary, small, adversarial_rows(dim, rng), np.zeros((2, dim))])
    require_bits(kernels, X, weights.astype(np.float32))
    bits, _ = pattern(kernels, X, seed=5, count=70, dtype="bfloat16")
    virtual = reference.round_to_bfloat16(reference.normals(5, np.arange(70), dim, 0))
    np.testing.assert_array_equal(bits, reference.pattern(X, virtual))


@pytest.mark.parametrize("scale", [1.0, 2.0**-90, 2.0**60])
def test_nearly_orthogonal_pairs(kernels, scale):
    """x . w exactly zero, and one last place to either side of it, between products of all sizes."""
    rng = np.random.default_rng(1)
    rows, weights = [], []
    for _ in range(12):
        v, w = rng.integers(-(2**22), 2**22, 20) * 1.0, rng.integers(-(2**7), 2**7, 20) * 1.0
        rows += [np.concatenate([v, v, [last]]) for last in (0.0, 2.0**-40, -(2.0**-40))]
        weights.append(np.concatenate([w, -w, [1.0]]))
    X, W = (np.array(rows) * scale).astype(np.float32), np.array(weights).astype(np.float32)
    settled = require_bits(kernels, X, W)
    assert settled >= 36  # each neuron sees its three near-zero rows


def test_many_features(kernels):
    """More than one block of tile products, and a last one that is not full."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((5, 2100)).astype(np.float32)
    W = rng.standard_normal((40, 2100)).astype(np.float32)
    W[1] = -W[0]
    X[0, ::2], X[0, 1::2] = reference.round_to_bfloat16(W[2])[1::2], -reference.round_to_bfloat16(W[2])[::2]
    assert require_bits(kernels, X, W)


def test_zero_rows_are_decided_without_a_second_look(kernels):
    bits, settled = pattern(kernels, np.zeros((20, 7)), count=500, dtype="bfloat16")
    assert not bits.any()
    assert settled == 0


@pytest.mark.parametrize("dim", [20, 784])
def test_few_signs_are_settled(kernels, dim):
    """The certificate is tight enough: on random data about 4e-6 sqrt(d) of the signs need float64."""
    X = np.random.default_rng(0).standard_normal((200, dim)).astype(np.float32)
    _, settled = pattern(kernels, X, count=4096, dtype="bfloat16")
    assert settled < 200 * 4096 * 1e-5 * np.sqrt(dim)
