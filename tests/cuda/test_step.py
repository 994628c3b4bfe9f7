"""A training step on a device against its definition."""

import numpy as np
import pytest

from fastntk.kernels import reference
from fastntk.kernels.cuda import forward, gradient, step

U = 2.0**-24


def forward_step(device, X, weights, a, first=0, words=12):
    """(bits (n, count), outputs (n, q), what a step reads)"""
    count = len(a)
    inputs = forward.forward_inputs(device, X)
    scratch = forward.forward_scratch(device, len(X), X.shape[1], 256)  # two tiles, then one
    bits = device.zeros((inputs.panel.shape[1], words), np.uint32)
    outputs = step.step_outputs(device, inputs, scratch, a, words)
    settled = device.zeros(2, np.uint64)
    step.forward_step(device, inputs, weights, first, count, scratch, bits, settled, outputs)
    unpacked = np.unpackbits(device.download(bits).view(np.uint8), axis=1, bitorder="little")
    assert not unpacked[:, count:].any()
    totals = np.ldexp(device.download(outputs.totals)[:, : len(X)].T, inputs.exponents[:, None])
    return unpacked[: len(X), :count].astype(bool), totals, bits, outputs


@pytest.mark.parametrize(
    ("n", "dim", "m", "q", "first"), [(1, 1, 1, 1, 0), (9, 5, 300, 2, 3), (3, 140, 40, 1, 0)]
)
def test_forward(device, n, dim, m, q, first):
    rng = np.random.default_rng(dim)
    X = (rng.standard_normal((n, dim)) * 2.0 ** rng.integers(-60, 60, (n, 1))).astype(np.float32)
    W, a = (rng.standard_normal(shape).astype(np.float32) for shape in ((first + m, dim), (m, q)))
    bits, result, *_ = forward_step(device, X, device.upload(W), a, first)
    np.testing.assert_array_equal(bits, reference.pattern(X, W[first:]))
    H = reference.preactivation(X, W[first:])
    # h: d + 2 roundings of its terms; outputs: eight neurons of a thread, then sixteen threads
    magnitude = np.abs(X).astype(float) @ np.abs(W[first:]).T.astype(float)
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
    bits, result, *_ = forward_step(device, X, device.upload(W), np.ones((60, 1), np.float32))
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    assert np.isfinite(result).all()
    W[3, 7] = np.nan
    with np.errstate(invalid="ignore"):
        _, result, *_ = forward_step(device, X, device.upload(W), np.ones((60, 1), np.float32))
    assert np.isnan(result[0, 0])


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_whole_step_is_that_of_the_definition(device, outputs):
    rng = np.random.default_rng(outputs)
    X, W = rng.standard_normal((9, 5)).astype(np.float32), rng.standard_normal((23, 5)).astype(np.float32)
    a = rng.standard_normal((23, outputs)).astype(np.float32)
    y = rng.standard_normal((9, outputs))
    weights = device.upload(W)
    _, totals, bits, room = forward_step(device, X, weights, a)
    f, after = reference.training_step(W.astype(float), a.astype(float), X, y, 0.05)
    ours = totals / np.sqrt(23)
    np.testing.assert_allclose(ours, f, rtol=0, atol=40 * U * np.abs(f).max())
    residuals = ours - y
    exponent = np.frexp(np.abs(residuals).max())[1]
    rows = gradient.weighted_rows(device, X, np.ldexp(residuals, -exponent))
    step.update(device, bits, rows, room.a, -np.ldexp(0.05 / np.sqrt(23), exponent), 0, 23, weights)
    # products, chains of at most 9 samples and 3 outputs, the new weight: below 30 roundings
    np.testing.assert_allclose(device.download(weights), after, rtol=0, atol=30 * U * np.abs(after).max())


def test_an_update_leaves_other_neurons_alone(device):
    rng = np.random.default_rng(5)
    X, W = rng.standard_normal((17, 70)).astype(np.float32), rng.standard_normal((200, 70)).astype(np.float32)
    P, a, u = rng.random((17, 150)) < 0.5, rng.standard_normal((150, 2)), rng.uniform(-1, 1, (17, 2))
    packed = np.zeros((128, 256), bool)
    packed[:17, :150] = P
    bits = device.upload(np.packbits(packed, axis=1, bitorder="little").view(np.uint32))
    by_output = np.zeros((2, 256), np.float32)
    by_output[:, :150] = a.T
    weights, rows = device.upload(W), gradient.weighted_rows(device, X, u)
    step.update(device, bits, rows, device.upload(by_output), 0.25, 20, 150, weights)
    result = device.download(weights)
    np.testing.assert_array_equal(result[:20], W[:20])
    np.testing.assert_array_equal(result[170:], W[170:])
    change = 0.25 * reference.hidden_gradient(P, a, u, X)
    magnitude = 0.25 * (np.abs(a) @ np.abs(u).T) @ np.abs(X)
    expected = W[20:170] + change
    assert (np.abs(result[20:170] - expected) <= 262 * U * magnitude + U * np.abs(expected) * 1.001).all()
