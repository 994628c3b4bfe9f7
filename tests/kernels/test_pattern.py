"""Pattern bits are the signs of exact real numbers, on every path and for every shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastntk.kernels import load, reference
from fastntk.kernels.cpu.layout import pattern_inputs, scaled_by_power_of_two

from .forward_ways import WAYS

WEIGHT_WORD = reference.stream_word(reference.WEIGHT_STREAM, 0)


@pytest.fixture(params=WAYS)
def kernels(request):
    return WAYS[request.param]


def pattern(kernels, X, weights=None, *, seed=0, first=0, count=None, dtype="float32"):
    """(n, count) bool bits of the kernel, and how many signs were settled exactly."""
    X = np.ascontiguousarray(X, np.float32)
    n, dim = X.shape
    count = len(weights) - first if count is None else count
    given_weights = (
        np.empty((0, dim), np.float32) if weights is None else np.ascontiguousarray(weights, np.float32)
    )
    for array in (X, given_weights):
        array.flags.writeable = False
    bits = kernels.empty(kernels.bits_shape(n, count), np.uint8, fill=0)
    forward = kernels.forward(dtype)
    settled = forward.pattern(
        forward.inputs(X),
        given_weights,
        np.uint64(seed),
        WEIGHT_WORD,
        first,
        count,
        forward.scratch(dim),
        bits,
    )
    return np.unpackbits(bits, axis=1, bitorder="little")[:n, :count].astype(bool), settled


@given(
    n=st.integers(1, 30),
    dim=st.one_of(st.integers(1, 12), st.sampled_from([127, 128, 129, 131, 257, 300])),
    count=st.integers(1, 100),
    first=st.integers(0, 10**6),
    seed=st.integers(0, 2**64 - 1),
)
def test_virtual_weights_on_ragged_shapes(n, dim, count, first, seed):
    X = np.random.default_rng(seed % 1000).standard_normal((n, dim)).astype(np.float32)
    expected = reference.pattern(X, reference.normals(seed, np.arange(first, first + count), dim, 0))
    for kernels in WAYS.values():
        bits, _ = pattern(kernels, X, seed=seed, first=first, count=count)
        np.testing.assert_array_equal(bits, expected)


@given(n=st.integers(1, 20), dim=st.integers(1, 40), m=st.integers(1, 90), seed=st.integers(0, 1000))
def test_given_weights_on_ragged_shapes(n, dim, m, seed):
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((n, dim)).astype(np.float32), rng.standard_normal((m, dim)).astype(np.float32)
    expected = reference.pattern(X, W)
    for kernels in WAYS.values():
        np.testing.assert_array_equal(pattern(kernels, X, W)[0], expected)


def adversarial_rows(dim, rng):
    """Rows that fp32 arithmetic gets wrong: each nonzero, finite, and of an awkward kind."""
    base = rng.standard_normal((6, dim))
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    rows = [
        base[0] * 3e37,
        base[1] * 1e-38,
        base[2] * 1e-44,  # denormals of a few bits
        np.where(np.arange(dim) % 2, 1e38, 1e-38) * np.sign(base[3]),
        np.full(dim, tiny),
        np.where(np.arange(dim) == dim // 2, huge, 0.0),
        np.where(np.arange(dim) == 0, tiny, 0.0),
        base[4],
        -base[4],
        base[4],
        base[5] * np.exp2(rng.integers(-140, 120, dim).astype(float)),
    ]
    return np.clip(np.array(rows), -huge, huge).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 3, 64, 130, 300])
def test_adversarial_rows(kernels, dim):
    rng = np.random.default_rng(dim)
    X = adversarial_rows(dim, rng)
    X = X[(X != 0).any(axis=1)]
    weights = np.concatenate(
        [
            rng.standard_normal((40, dim)),
            rng.standard_normal((20, dim)) * 1e-25,
            adversarial_rows(dim, rng),
            np.zeros((2, dim)),
        ]
    ).astype(np.float32)
    np.testing.assert_array_equal(pattern(kernels, X, weights)[0], reference.pattern(X, weights))
    bits, _ = pattern(kernels, X, seed=5, count=70)
    virtual = reference.normals(5, np.arange(70), dim, 0)
    np.testing.assert_array_equal(bits, reference.pattern(X, virtual))


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e18])
def test_nearly_orthogonal_pairs(kernels, scale):
    """x . w exactly zero, and one last place to either side of it: float32 and float64 cannot tell."""
    rng = np.random.default_rng(1)
    rows, weights = [], []
    for _ in range(12):
        v = rng.integers(-(2**11), 2**11, 20).astype(float)
        x, w = np.concatenate([v, v, [0.0]]), np.concatenate([v[::-1], -v[::-1], [1.0]])
        rows += [x, np.concatenate([v, v, [2.0**-40]]), np.concatenate([v, v, [-(2.0**-40)]])]
        weights.append(w)
    X, W = np.array(rows) * scale, np.array(weights)
    X, W = X.astype(np.float32), W.astype(np.float32)
    bits, settled = pattern(kernels, X, W)
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert settled >= 36  # each neuron sees its three near-zero rows
    assert not bits[0, 0]
    assert bits[1, 0]
    assert not bits[2, 0]


def test_zero_rows_are_decided_without_a_second_look(kernels):
    bits, settled = pattern(kernels, np.zeros((20, 7)), count=500)
    assert not bits.any()
    assert settled == 0


def test_bits_beyond_the_bound_are_never_settled(kernels):
    """The certificate is tight enough: on random data about d u sqrt(...) of the signs need float64."""
    X = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    _, settled = pattern(kernels, X, count=8192)
    assert settled < 200 * 8192 * 2e-4


def test_the_bound_covers_the_error_of_fp32_sums():
    """The stated bound holds for the sums as the kernels form them, emulated with exact fma."""
    rng = np.random.default_rng(2)
    path = load().path
    for dim in (5, 128, 400):
        X, W = rng.standard_normal((8, dim)), rng.standard_normal((50, dim))
        X, W = (scaled_by_power_of_two(rows.astype(np.float32)) for rows in (X, W))
        total = np.zeros((8, 50), np.float32)
        for start in range(0, dim, 128):
            block = np.zeros((8, 50), np.float32)
            for k in range(start, min(start + 128, dim)):
                block = reference.fma32(X[:, k, None], W[None, :, k], block)
            total += block
        factors = pattern_inputs(X, path).factors[:8].astype(float)
        from fastntk.kernels.cpu.layout import prefix_square_sum

        bound = factors[:, None] * np.sqrt(prefix_square_sum(W))[None, :]
        error = np.abs(total - reference.preactivation(X, W))
        assert (error <= bound).all()
        assert error.max() > bound.min() / 500  # and is not absurdly loose


def test_scaling_by_a_power_of_two_is_exact():
    rows = np.array([[3e38, 1.0], [1e-45, 0.0], [-5.0, 0.75], [0.0, 0.0]], np.float32)
    scaled = scaled_by_power_of_two(rows)
    assert ((np.abs(scaled).max(axis=1) >= 1) & (np.abs(scaled).max(axis=1) < 2))[:3].all()
    assert not scaled[3].any()
    ratio = scaled[:3, 0].astype(float) / rows[:3, 0].astype(float)
    np.testing.assert_array_equal(np.frexp(ratio)[0], 0.5)
