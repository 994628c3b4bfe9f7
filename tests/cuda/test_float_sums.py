"""Float sums of a device have the bits of the CPU's: chains of fma and sums in the same order."""

import numpy as np
import pytest

from fastntk.engine import accumulators
from fastntk.engine.chunk import Chunk
from fastntk.engine.inputs import PackedInputs
from fastntk.engine.neurons import Neurons
from fastntk.kernels import load, reference
from fastntk.kernels.cuda import forward, sums

TILE = sums.TILE


def normals(rng, *shape):
    return rng.standard_normal(shape)


@pytest.mark.parametrize(("chunks", "depth", "rows", "columns"), [(1, 1, 1, 1), (2, 37, 1, 2), (1, 16, 2, 1)])
def test_product_is_a_chain_of_fma(device, chunks, depth, rows, columns):
    rng = np.random.default_rng(depth)
    A, B = normals(rng, chunks, depth, TILE * rows), normals(rng, chunks, depth, TILE * columns)
    C = normals(rng, chunks, TILE * rows, TILE * columns)
    c = device.upload(C)
    sums.ordered_product(device, device.upload(A), device.upload(B), False, c)
    result = device.download(c)
    some, others = slice(None, None, 13), slice(5, None, 17)  # all of them would take long
    for chunk in range(chunks):
        expected = reference.ordered_product(A[chunk, :, some], B[chunk, :, others], C[chunk, some, others])
        np.testing.assert_array_equal(result[chunk, some, others], expected)


def test_every_entry_of_a_product(device):
    """Of integers, where sums are exact; tiles below the diagonal stay as they are with ``upper``."""
    rng = np.random.default_rng(1)
    A = rng.integers(-9, 10, (1, 50, 3 * TILE)).astype(float)
    for upper in (False, True):
        c = device.zeros((1, 3 * TILE, 3 * TILE), np.float64)
        a = device.upload(A)
        sums.ordered_product(device, a, a, upper, c)
        result, expected = device.download(c)[0], A[0].T @ A[0]
        np.testing.assert_array_equal(np.triu(result), np.triu(expected))
        np.testing.assert_array_equal(result[2 * TILE :, :TILE], 0 if upper else expected[2 * TILE :, :TILE])


def rectified_block(device, X, weights=None, *, seed=0, first=0, count=TILE):
    """H (neurons rounded up, samples rounded up) on the device; given weights as they are."""
    dim = X.shape[1]
    neurons = -(-count // 128) * 128
    scratch = forward.forward_scratch(device, len(X), dim, neurons)
    given = None if weights is None else device.upload(weights)
    forward.fill_panel(device, scratch, given, seed, 0, first, count, dim, neurons, scaled=False)
    features = sums.feature_panel(device, X)
    H = device.empty((neurons, features.shape[1]), np.float64)
    sums.rectified(device, scratch.panel, features, H)
    return H


@pytest.mark.parametrize("virtual", [False, True])
def test_rectified_preactivations(device, virtual):
    rng = np.random.default_rng(2)
    X = normals(rng, 70, 9).astype(np.float32)
    given = np.ldexp(normals(rng, 30, 9), rng.integers(-120, 90, (30, 1))).astype(np.float32)
    weights = None if virtual else given
    H = device.download(rectified_block(device, X, weights, seed=2**35, first=10, count=20))
    W = reference.normals(2**35, np.arange(10, 30), 9, 0) if virtual else given[10:]
    expected = np.maximum(reference.ordered_product(W.T, X.T, np.zeros((20, 70))), 0)
    np.testing.assert_array_equal(H[:20, :70], expected)
    assert not H[20:].any()
    assert not H[:, 70:].any()


def test_sums_over_neurons_in_order(device):
    rng = np.random.default_rng(3)
    H, a = np.maximum(normals(rng, 40, 5 * TILE), 0), normals(rng, 33, 3)
    start = normals(rng, 3, 5 * TILE)
    weighted, squares = start.copy(), start[0].copy()
    for r in range(33):
        weighted += a[r][:, None] * H[r]
        squares += H[r] * H[r]
    on_device, partial = device.upload(H), device.upload(start)
    sums.weighted_sum(device, on_device, device.upload(a), partial)
    np.testing.assert_array_equal(device.download(partial), weighted)
    partial = device.upload(start[0])
    sums.square_sum(device, on_device, 33, partial)
    np.testing.assert_array_equal(device.download(partial), squares)


def test_weighted_bits(device):
    rng = np.random.default_rng(4)
    P, weights = rng.random((13, 128)) < 0.5, rng.random(70)
    bits = device.upload(np.packbits(P, axis=1, bitorder="little").view(np.uint32))
    out = device.empty((60, TILE), np.float64)
    sums.unpack_bits(device, bits, 10, device.upload(weights[:60]), out)
    expected = np.zeros((60, TILE))
    expected[:, :13] = (P[:, 10:70] * weights[:60]).T
    np.testing.assert_array_equal(device.download(out), expected)

    partial = np.zeros(11)
    for r in range(70):
        partial += P[:11, r] * weights[r]
    counted = device.zeros(11, np.float64)
    sums.weighted_bit_count(device, bits, device.upload(weights), counted)
    np.testing.assert_array_equal(device.download(counted), partial)


def test_fixed_point_rounds_once(device):
    values = np.array([[[1.25, -2.75], [1e-3, 5.0]], [[0.5, 0.25], [-1.5, 2.0**60]]])
    totals = device.upload(np.array([[1, 1], [0, 0]], np.int64))
    scales = device.upload(np.array([1.0, 2.0])), device.upload(np.array([4.0, 1.0]))
    sums.add_fixed_point(device, device.upload(values), *scales, totals)
    np.testing.assert_array_equal(device.download(totals), [[1 + 5 + 2, 1 - 3 + 0], [0 - 12, 10 + 2**61]])


def cpu_state(kind, X, neurons):
    """What a CPU accumulator holds after one chunk of all neurons."""
    kernels = load()
    inputs = [PackedInputs(X, kernels).prepared({"bits", "relu"})]
    accumulator = kind(kernels, inputs, neurons)
    accumulator.add(Chunk(kernels, neurons, inputs).move_to(0, neurons.width))
    return accumulator, accumulator.state()[0]


def scales(device, fixed, lines, columns):
    """The scales of a CPU accumulator, padded for the device."""
    row, column = np.ones(lines), np.ones(columns)
    row[: len(fixed.row_scale)] = fixed.row_scale[:lines]
    own = fixed.column_scale.reshape(-1)[:columns]
    column[: len(own)] = own
    return device.upload(row), device.upload(column)


@pytest.mark.parametrize("virtual", [False, True])
def test_states_of_the_cpu_and_of_a_device_are_equal(device, virtual):
    """Second-layer Gram, its diagonal and outputs of 200 neurons in two blocks: the same integers."""
    rng = np.random.default_rng(5)
    n, dim, q = 37, 6, 2
    X = normals(rng, n, dim).astype(np.float32)
    W = None if virtual else normals(rng, 200, dim).astype(np.float32)
    neurons = Neurons(200, dim, seed=11, scale=1.0, weights=W, output_weights=normals(rng, 200, q))
    gram = device.zeros((1, TILE, TILE), np.float64)
    diagonal = device.zeros(TILE, np.float64)
    outputs = device.zeros((q, TILE), np.float64)
    for first, count in ((0, 128), (128, 72)):
        H = rectified_block(device, X, W, seed=11, first=first, count=count)
        block = H.reshape(1, *H.shape)
        sums.ordered_product(device, block, block, True, gram)
        sums.square_sum(device, H, count, diagonal)
        a = device.upload(neurons.output_weights(first, count))
        sums.weighted_sum(device, H, a, outputs)
    for kind, partial, lines in (
        (accumulators.ReluGram, gram, TILE),
        (accumulators.ReluSquares, diagonal.reshape(1, 1, TILE), 1),
        (accumulators.OutputSums, outputs.reshape(1, q, TILE), q),
    ):
        accumulator, expected = cpu_state(kind, X, neurons)
        totals = device.zeros((lines, TILE), np.int64)
        sums.add_fixed_point(device, partial, *scales(device, accumulator.fixed, lines, TILE), totals)
        here = device.download(totals)[: len(expected), :n]
        if kind is accumulators.ReluGram:
            here, expected = np.triu(here), np.triu(expected)
        np.testing.assert_array_equal(here, expected)
        assert here.any()
