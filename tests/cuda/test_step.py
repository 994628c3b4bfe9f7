"""A training step on a device against its definition."""

import numpy as np
import pytest

from fastntk.kernels import reference
from fastntk.kernels.cuda import forward, gradient, history, step

U = 2.0**-24


def forward_step(device, X, weights, a):
    """(bits (n, count), outputs (n, q), and on the device the bits, output weights and outputs)"""
    inputs = forward.forward_inputs(device, X)
    scratch = forward.forward_scratch(device, len(X), X.shape[1], 256)  # two tiles, then one
    bits = step.room_for_bits(device, len(X), len(a))
    outputs = step.step_outputs(device, inputs, scratch, a.shape[1])
    weights_of_outputs = step.output_weights(device, a)
    step.forward_step(device, inputs, weights, weights_of_outputs, scratch, bits, outputs)
    unpacked = np.unpackbits(device.download(bits).view(np.uint8), axis=1, bitorder="little")
    assert not unpacked[:, len(a) :].any()
    assert not unpacked[len(X) :].any()
    totals = np.ldexp(device.download(outputs.totals)[:, : len(X)].T, inputs.exponents[:, None])
    return unpacked[: len(X), : len(a)].astype(bool), totals, bits, weights_of_outputs, outputs


@pytest.mark.parametrize(("n", "dim", "m", "q"), [(1, 1, 1, 1), (9, 5, 300, 2), (3, 140, 40, 1)])
def test_forward(device, n, dim, m, q):
    rng = np.random.default_rng(dim)
    X = (rng.standard_normal((n, dim)) * 2.0 ** rng.integers(-60, 60, (n, 1))).astype(np.float32)
    W, a = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, dim), (m, q)))
    bits, result, *_, outputs = forward_step(device, X, device.upload(W), a)
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert not device.download(outputs.out_of_range).any()
    H = reference.preactivation(X, W)
    # h: d + 2 roundings of its terms; outputs: eight neurons of a thread, then sixteen threads
    magnitude = np.abs(X).astype(float) @ np.abs(W).T.astype(float)
    bound = 1.001 * U * ((dim + 2) * magnitude + 25 * np.maximum(H, 0)) @ np.abs(a)
    assert (np.abs(result - reference.outputs(H, a.astype(float))) <= bound).all()


def test_weights_of_any_size(device):
    """Tiny, huge and denormal weights as they are: the bits stay exact."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((4, 20)).astype(np.float32)
    X[1] = 0
    W = np.ldexp(rng.standard_normal((60, 20)), rng.integers(-147, 60, (60, 1))).astype(np.float32)
    W[5] = 0
    W[30:] = np.ldexp(rng.standard_normal((30, 20)), -148)  # a few bits, whose squares are 0
    W[6:26, 0] = 1e20  # beyond this squares overflow and nothing is certain in fp32
    bits, result, *_, outputs = forward_step(device, X, device.upload(W), np.ones((60, 1), np.float32))
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert np.isfinite(result).all()
    assert device.download(outputs.out_of_range).any()


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1e20])
def test_a_weight_out_of_range(device, weight):
    W = np.ones((300, 3), np.float32)
    W[257, 2] = weight
    with np.errstate(invalid="ignore"):
        *_, outputs = forward_step(
            device, np.ones((2, 3), np.float32), device.upload(W), np.ones((300, 1), np.float32)
        )
    assert device.download(outputs.out_of_range).any()


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_whole_step_is_that_of_the_definition(device, outputs):
    rng = np.random.default_rng(outputs)
    X, W = rng.standard_normal((9, 5)).astype(np.float32), rng.standard_normal((23, 5)).astype(np.float32)
    a = rng.standard_normal((23, outputs)).astype(np.float32)
    y = rng.standard_normal((9, outputs))
    weights = device.upload(W)
    _, totals, bits, on_device, _ = forward_step(device, X, weights, a)
    f, after = reference.training_step(W.astype(float), a.astype(float), X, y, 0.05)
    ours = totals / np.sqrt(23)
    np.testing.assert_allclose(ours, f, rtol=0, atol=40 * U * np.abs(f).max())
    residuals = ours - y
    exponent = np.frexp(np.abs(residuals).max())[1]
    rows = gradient.weighted_rows(device, X, np.ldexp(residuals, -exponent))
    step.update(device, bits, rows, on_device, -np.ldexp(0.05 / np.sqrt(23), exponent), weights)
    # products, chains of at most 9 samples and 3 outputs, the new weight: below 30 roundings
    np.testing.assert_allclose(device.download(weights), after, rtol=0, atol=30 * U * np.abs(after).max())


def test_update(device):
    rng = np.random.default_rng(5)
    X, W = rng.standard_normal((17, 70)).astype(np.float32), rng.standard_normal((150, 70)).astype(np.float32)
    P, a, u = rng.random((17, 150)) < 0.5, rng.standard_normal((150, 2)), rng.uniform(-1, 1, (17, 2))
    packed = np.zeros((128, 256), bool)
    packed[:17, :150] = P
    bits = device.upload(np.packbits(packed, axis=1, bitorder="little").view(np.uint32))
    weights, rows = device.upload(W), gradient.weighted_rows(device, X, u)
    step.update(device, bits, rows, step.output_weights(device, a), 0.25, weights)
    expected = W + 0.25 * reference.hidden_gradient(P, a, u, X)
    magnitude = 0.25 * (np.abs(a) @ np.abs(u).T) @ np.abs(X)
    error = np.abs(device.download(weights) - expected)
    assert (error <= 262 * U * magnitude + U * np.abs(expected) * 1.001).all()


def test_bits_that_have_flipped(device):
    rng = np.random.default_rng(1)
    bits, others = (rng.integers(0, 2**32, (128, 12), np.uint32) for _ in range(2))
    total = device.zeros(1, np.uint64)
    for _ in range(2):
        history.count_differences(device, device.upload(bits), device.upload(others), total)
    assert device.download(total)[0] == 2 * np.bitwise_count(bits ^ others).sum()


@pytest.mark.parametrize(("count", "dim"), [(1, 1), (130, 33)])
def test_distance_moved(device, count, dim):
    rng = np.random.default_rng(dim)
    W, start = (rng.standard_normal((count, dim)).astype(np.float32) for _ in range(2))
    sums, largest = history.distance_moved(device, device.upload(W), device.upload(start))
    squares = np.square(W.astype(float) - start).sum(axis=1)
    np.testing.assert_allclose(sums.sum(), squares.sum(), rtol=1e-13)
    np.testing.assert_allclose(largest.max(), squares.max(), rtol=1e-13)
