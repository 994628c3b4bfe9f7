"""Pattern bits of a device are the signs of exact real numbers, like the CPU's."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fastntk.kernels import reference
from fastntk.kernels.cpu.layout import prefix_square_sum, scaled_by_power_of_two
from fastntk.kernels.cuda import forward, layout
from fastntk.kernels.cuda.coactivation import coactivation

from ..adversarial import orthogonal_to, problems
from .patterns import WEIGHT_WORD, pattern

ON_EVERY_DEVICE = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("n", "dim", "count", "first", "seed"),
    [
        (1, 1, 1, 0, 0),
        (3, 5, 200, 2**32 - 100, 2**64 - 1),
        (130, 17, 129, 10**9 + 7, 2**33),
        (5, 128, 40, 3, 1),
        (5, 129, 40, 3, 1),
        (2, 400, 130, 0, 5),
    ],
)
def test_virtual_weights(device, n, dim, count, first, seed):
    X = np.random.default_rng(dim).standard_normal((n, dim)).astype(np.float32)
    W = reference.normals(seed, np.arange(first, first + count, dtype=np.uint64), dim, 0)
    bits, _ = pattern(device, X, seed=seed, first=first, count=count)
    np.testing.assert_array_equal(bits, reference.pattern(X, W))


def test_groups_and_words_to_spare(device):
    """Neurons past the last one of a chunk give zero bits, in all words that the pattern has."""
    X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    W = reference.normals(9, np.arange(70, 370), 3, 0)
    expected = reference.pattern(X, W)
    for group in (128, 256, 1024):
        bits, _ = pattern(device, X, seed=9, first=70, count=300, words=24, group=group)
        np.testing.assert_array_equal(bits, expected)
        bits, _ = pattern(device, X, np.concatenate([W[:70], W]), first=70, words=24, group=group)
        np.testing.assert_array_equal(bits, expected)


def test_patterns_are_what_is_counted(device):
    """From the seed to the counts, in the layout that both kernels share."""
    X = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    inputs, scratch = forward.forward_inputs(device, X), forward.forward_scratch(device, 6, 4, 512)
    bits = device.zeros(layout.pattern_shape(6, 1100), np.uint32)
    counts = device.zeros(layout.counts_shape(6, 6), np.int32)
    settled = device.zeros(2, np.uint64)
    forward.pattern(device, inputs, None, 3, WEIGHT_WORD, 20, 1100, scratch, bits, settled)
    coactivation(device, bits, bits, bits.shape[1], True, counts)
    P = reference.pattern(X, reference.normals(3, np.arange(20, 1120), 4, 0))
    expected = np.triu(reference.coactivation(P, P))
    np.testing.assert_array_equal(np.triu(device.download(counts)[:6, :6]), expected)


@ON_EVERY_DEVICE
@given(problem=problems())
def test_adversarial_rows_and_neurons(device, problem):
    X, W = problem
    np.testing.assert_array_equal(pattern(device, X, W)[0], reference.pattern(X, W))


@pytest.mark.soak
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems())
def test_many_adversarial_rows_and_neurons(device, problem):
    X, W = problem
    np.testing.assert_array_equal(pattern(device, X, W)[0], reference.pattern(X, W))


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e18])
def test_nearly_orthogonal_pairs(device, scale):
    """x . w exactly zero, or little to either side of it: a case for integers, or for float64."""
    rng = np.random.default_rng(1)
    v = rng.integers(-(2**11), 2**11, (4, 20)).astype(float)
    ones = np.ones((4, 1))
    W = np.hstack([v[:, ::-1], -v[:, ::-1], ones])
    rests = [0.0, 2.0**-40, -(2.0**-40), 2.0**-10, -(2.0**-10)]  # beside sums of about 2^25
    X = np.vstack([np.hstack([v, v, rest * ones]) for rest in rests])
    X, W = (X * scale).astype(np.float32), W.astype(np.float32)
    bits, settled = pattern(device, X, W)
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert bits[::4, 0].tolist() == [rest > 0 for rest in rests]
    assert settled.tolist() == [20 * 4, 12 * 4]  # each row with each neuron


@pytest.mark.parametrize("dim", [2, 33, 300])
def test_sums_that_float64_cannot_tell_from_zero(device, dim):
    """Rows exactly orthogonal to a neuron, and off it by an ulp of one entry, in the whole range of fp32."""
    rng = np.random.default_rng(dim)
    W = np.ldexp(rng.standard_normal((3, dim)), rng.integers(-140, 90, (3, dim))).astype(np.float32)
    X = np.array([orthogonal_to(w, rng, ulps) for w in W for ulps in (0, -1, 1)])
    bits, settled = pattern(device, X, W)
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert settled[1] >= 3


def test_cancellation_that_float64_cannot_see(device):
    """2^-48 beside terms of size 2^30: a float64 sum has the sign of its rounding errors."""
    rng = np.random.default_rng(3)
    X, W = [], []
    for sign in 8 * (1, -1):
        x, w = rng.standard_normal(20) * 2.0**30, rng.standard_normal(20)
        order = rng.permutation(41)
        X.append(np.concatenate([x, -x, [2.0**-24]])[order])
        W.append(np.concatenate([w, w, [sign * 2.0**-24]])[order])
    X, W = np.array(X, np.float32), np.array(W, np.float32)
    bits, settled = pattern(device, X, W)
    np.testing.assert_array_equal(np.diagonal(bits), np.tile([True, False], 8))
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert settled[1] >= 16


def test_carries_from_one_end_of_fp32_to_the_other(device):
    """2^p - (2^p - 2^(p-24)) - 2^(p-24) is 0 and leaves the sign to the smallest product there is."""
    tiny = np.float64(np.finfo(np.float32).smallest_subnormal)
    X = [[2.0**a, 2.0**a * (2.0**-24 - 1), -(2.0 ** (a - 12)), tiny] for a in range(-100, 128, 3)]
    W = [
        [2.0**b, 2.0**b, 2.0 ** (b - 12), sign * tiny]
        for b in (-100, -31, 0, 1, 100, 127)
        for sign in (1, -1)
    ]
    bits, settled = pattern(device, np.array(X), np.array(W))
    np.testing.assert_array_equal(bits, np.tile([True, False], (len(X), 6)))
    assert settled.tolist() == [bits.size, bits.size]


def test_chains_end_after_128_features(device):
    """A longer chain would lose half an ulp at each of 1024 steps: more than the bound allows, and the sign.

    From 1024 on, 1 + 2^-14.03 added to a sum rounds to 1 added; in chains of 128 next to nothing is lost.
    """
    small = np.float32(0.49 * 2.0**-13)
    W = np.repeat(np.array([1, -1], np.float32), 2048)
    W[:2048] += small
    W[-1] -= np.float32(2048 * small - 0.03)
    X = np.ones((1, 4096), np.float32)
    exact = reference.preactivation(X, W[None])[0, 0]
    one_chain = np.cumsum(W, dtype=np.float32)[-1]
    factors = forward.forward_inputs(device, X).factors
    bound = device.download(factors)[0] * np.sqrt(prefix_square_sum(W[None]))[0]
    assert one_chain < -bound < 0 < bound < exact
    bits, _ = pattern(device, X, W[None])
    assert bits.all()


def test_what_is_zero_is_not_looked_at_again(device):
    X, W = np.zeros((2, 6), np.float32), np.zeros((3, 6), np.float32)
    X[1], W[1] = 1.0, 1.0
    bits, settled = pattern(device, X, W)
    assert bits.tolist() == [[False] * 3, [False, True, False]]
    assert settled.tolist() == [0, 0]


def test_few_signs_of_random_data_are_settled(device):
    """About 5 in 10^5 at 64 features (docs/mathematics.md, section 4), none of them beyond float64."""
    X = np.random.default_rng(0).standard_normal((128, 64)).astype(np.float32)
    bits, settled = pattern(device, X, count=512, group=512)
    np.testing.assert_array_equal(bits, X.astype(float) @ reference.normals(0, np.arange(512), 64, 0).T > 0)
    assert settled[0] < 2e-4 * bits.size
    assert settled[1] == 0


@pytest.mark.parametrize("dim", [3, 128, 129, 300])
def test_panels(device, dim):
    """What the forward pass reads: weights by feature, scaled where given, and their half of the bound."""
    rng = np.random.default_rng(dim)
    W = np.ldexp(rng.standard_normal((40, dim)), rng.integers(-147, 100, (40, 1))).astype(np.float32)
    W[7] = 0
    scratch = forward.forward_scratch(device, 1, dim, 128)
    for weights, expected in (
        (device.upload(W), scaled_by_power_of_two(W[5:])),
        (None, reference.normals(1, np.arange(5, 40), dim, 0)),
    ):
        forward.fill_panel(device, scratch, weights, 1, WEIGHT_WORD, 5, 35, dim, 128)
        panel, factors = device.download(scratch.panel), device.download(scratch.factors)
        np.testing.assert_array_equal(panel[:dim, :35].T, expected)
        assert not panel[dim:].any()
        assert not panel[:, 35:].any()
        # two roundings of a term and at most dim additions, all of them inside of a root
        np.testing.assert_allclose(
            factors[:35], np.sqrt(prefix_square_sum(expected)), rtol=(dim + 4) * 2.0**-25
        )
        assert not factors[35:].any()


def test_no_sum_is_off_by_more_than_its_bound(device):
    """The sums of the kernel, made of the same chains by exact fma, against sums rounded once."""
    rng = np.random.default_rng(2)
    for dim in (5, 128, 300):
        X, W = (rng.standard_normal((rows, dim)).astype(np.float32) for rows in (4, 40))
        scratch = forward.forward_scratch(device, 4, dim, 128)
        forward.fill_panel(device, scratch, device.upload(W), 0, 0, 0, 40, dim, 128)
        inputs = forward.forward_inputs(device, X)
        x, w = device.download(inputs.panel)[:, :4].T, device.download(scratch.panel)[:, :40].T
        total = np.zeros((4, 40), np.float32)
        for start in range(0, x.shape[1], 128):
            block = np.zeros((4, 40), np.float32)
            for k in range(start, min(start + 128, x.shape[1])):
                block = reference.fma32(x[:, k, None], w[None, :, k], block)
            total += block
        factors = device.download(inputs.factors)[:4], device.download(scratch.factors)[:40]
        bound = np.multiply.outer(*(factor.astype(float) for factor in factors))
        error = np.abs(total - reference.preactivation(x, w))
        assert (error <= bound).all()
        assert error.max() > bound.min() / 500  # and is not absurdly loose
