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


def rectified_block(device, X, weights=None, *, seed=0, firsts=(0,), counts=(TILE,), neurons=TILE):
    """H (chunks, neurons, samples rounded up) on the device; given weights as they are."""
    dim = X.shape[1]
    scratch = forward.forward_scratch(device, len(X), dim, 128)
    given = None if weights is None else device.upload(weights)
    panels = device.empty((len(firsts), scratch.panel.shape[0], neurons), np.float32)
    for panel, first, count in zip(panels, firsts, counts, strict=True):
        here = scratch._replace(panel=panel)
        forward.fill_panel(device, here, given, seed, 0, first, count, dim, neurons, scaled=False)
    features = sums.feature_panel(device, X)
    H = device.empty((len(firsts), neurons, features.shape[1]), np.float64)
    sums.rectified(device, panels, features, H)
    return H


@pytest.mark.parametrize("virtual", [False, True])
def test_rectified_preactivations(device, virtual):
    rng = np.random.default_rng(2)
    X = normals(rng, 70, 9).astype(np.float32)
    given = np.ldexp(normals(rng, 30, 9), rng.integers(-120, 90, (30, 1))).astype(np.float32)
    weights = None if virtual else given
    H = device.download(rectified_block(device, X, weights, seed=2**35, firsts=(10, 3), counts=(20, 2)))
    W = reference.normals(2**35, np.arange(30), 9, 0) if virtual else given
    expected = np.maximum(reference.ordered_product(W.T, X.T, np.zeros((30, 70))), 0)
    np.testing.assert_array_equal(H[0, :20, :70], expected[10:])
    np.testing.assert_array_equal(H[1, :2, :70], expected[3:5])
    assert not H[0, 20:].any()
    assert not H[1, 2:].any()
    assert not H[:, :, 70:].any()


def test_sums_over_neurons_in_order(device):
    rng = np.random.default_rng(3)
    H, a = np.maximum(normals(rng, 2, 40, 5 * TILE), 0), normals(rng, 2, 40, 3)
    start = normals(rng, 2, 3, 5 * TILE)
    weighted, squares = start.copy(), start[:, 0].copy()
    for r in range(40):
        weighted += a[:, r, :, None] * H[:, r, None]
        squares += H[:, r] * H[:, r]
    on_device, partial = device.upload(H), device.upload(start)
    sums.weighted_sum(device, on_device, device.upload(a), partial)
    np.testing.assert_array_equal(device.download(partial), weighted)
    partial = device.upload(start[:, 0])
    sums.square_sum(device, on_device, partial)
    np.testing.assert_array_equal(device.download(partial), squares)


def test_weighted_bits(device):
    """Chunks of 40 neurons, the second of which has only 30."""
    rng = np.random.default_rng(4)
    P, weights = rng.random((13, 128)) < 0.5, rng.random(70)
    bits = device.upload(np.packbits(P, axis=1, bitorder="little").view(np.uint32))
    out = device.empty((2, 25, TILE), np.float64)
    sums.unpack_bits(device, bits, device.upload(weights), 40, 10, out)
    expected = np.zeros((2, 25, TILE))
    expected[0, :, :13] = (P[:, 10:35] * weights[10:35]).T
    expected[1, :20, :13] = (P[:, 50:70] * weights[50:70]).T
    np.testing.assert_array_equal(device.download(out), expected)

    partial = np.zeros((2, 11))
    for r in range(70):
        partial[r // 40] += P[:11, r] * weights[r]
    counted = device.zeros((2, 11), np.float64)
    sums.weighted_bit_count(device, bits, device.upload(weights), 40, counted)
    np.testing.assert_array_equal(device.download(counted), partial)


def test_fixed_point_rounds_once(device):
    values = np.array([[[1.25, -2.75], [1e-3, 5.0]], [[0.5, 0.25], [-1.5, 2.0**60]]])
    totals = device.upload(np.array([[1, 1], [0, 0]], np.int64))
    scales = device.upload(np.array([1.0, 2.0])), device.upload(np.array([4.0, 1.0]))
    sums.add_fixed_point(device, device.upload(values), *scales, totals)
    np.testing.assert_array_equal(device.download(totals), [[1 + 5 + 2, 1 - 3 + 0], [0 - 12, 10 + 2**61]])


# ------------------------------------------------------------------- the same states as the CPU's
WIDTH, CHUNK = 333, 200  # neurons, and those of a chunk: so that there are two


def cpu_accumulator(kind, X, neurons):
    """A CPU accumulator that has all neurons, in the chunks of this test."""
    kernels = load()
    inputs = [PackedInputs(X, kernels).prepared({"bits", "relu"})]
    accumulator, chunk = kind(kernels, inputs, neurons), Chunk(kernels, neurons, inputs)
    for first in range(0, WIDTH, CHUNK):
        accumulator.add(chunk.move_to(first, min(CHUNK, WIDTH - first)))
    return accumulator


def assert_states_are_equal(device, kind, X, neurons, partial):
    """``partial`` (chunks, lines, TILE) in fixed point against the integers of the CPU."""
    accumulator = cpu_accumulator(kind, X, neurons)
    expected, fixed = accumulator.state()[0], accumulator.fixed
    lines, columns = partial.shape[1:]
    row, column = np.ones(lines), np.ones(columns)
    row[: len(fixed.row_scale)] = fixed.row_scale[:lines]
    column[:] = np.resize(fixed.column_scale, columns)
    totals = device.zeros((lines, columns), np.int64)
    sums.add_fixed_point(device, partial, device.upload(row), device.upload(column), totals)
    result = device.download(totals)[: len(expected), : len(X)]
    if getattr(accumulator, "symmetric", False):
        result, expected = np.triu(result), np.triu(expected)
    np.testing.assert_array_equal(result, expected)
    assert result.any()


@pytest.mark.usefixtures("sums_in_float64")
@pytest.mark.parametrize("virtual", [False, True])
def test_states_of_sums_of_preactivations(device, virtual):
    """Second-layer Gram, its diagonal and outputs: two chunks in blocks of 128 neurons."""
    rng = np.random.default_rng(5)
    n, dim, q = 37, 6, 2
    X = normals(rng, n, dim).astype(np.float32)
    W = None if virtual else normals(rng, WIDTH, dim).astype(np.float32)
    neurons = Neurons(WIDTH, dim, 11, 1.0, weights=W, output_weights=normals(rng, WIDTH, q))
    gram = device.zeros((2, TILE, TILE), np.float64)
    diagonal = device.zeros((2, 1, TILE), np.float64)
    outputs = device.zeros((2, q, TILE), np.float64)
    for start in range(0, CHUNK, 128):
        firsts = [chunk * CHUNK + start for chunk in (0, 1)]
        counts = [max(min(128, CHUNK - start, WIDTH - first), 0) for first in firsts]
        H = rectified_block(device, X, W, seed=11, firsts=firsts, counts=counts, neurons=128)
        a = np.zeros((2, 128, q))
        for own, first, count in zip(a, firsts, counts, strict=True):
            own[:count] = neurons.output_weights(first, count)
        sums.ordered_product(device, H, H, True, gram)
        sums.square_sum(device, H, diagonal)
        sums.weighted_sum(device, H, device.upload(a), outputs)
    assert_states_are_equal(device, accumulators.ReluGram, X, neurons, gram)
    assert_states_are_equal(device, accumulators.ReluSquares, X, neurons, diagonal)
    assert_states_are_equal(device, accumulators.OutputSums, X, neurons, outputs)


def test_states_of_weighted_counts(device):
    """Weighted coactivation and its diagonal."""
    rng = np.random.default_rng(6)
    X = normals(rng, 37, 6).astype(np.float32)
    neurons = Neurons(WIDTH, 6, 12, 1.0, output_weights=normals(rng, WIDTH, 3))
    P = reference.pattern(X, reference.normals(12, np.arange(WIDTH), 6, 0))
    packed = np.packbits(np.pad(P, ((0, 0), (0, 384 - WIDTH))), axis=1, bitorder="little")
    bits = device.upload(packed.view(np.uint32))
    squares, ones = device.upload(neurons.output_squares(0, WIDTH)), device.upload(np.ones(WIDTH))
    gram = device.zeros((2, TILE, TILE), np.float64)
    weighted, plain = (device.empty((2, 50, TILE), np.float64) for _ in range(2))
    for start in range(0, CHUNK, 50):
        sums.unpack_bits(device, bits, squares, CHUNK, start, weighted)
        sums.unpack_bits(device, bits, ones, CHUNK, start, plain)
        sums.ordered_product(device, weighted, plain, True, gram)
    assert_states_are_equal(device, accumulators.WeightedCoactivation, X, neurons, gram)
    diagonal = device.zeros((2, 37), np.float64)
    sums.weighted_bit_count(device, bits, squares, CHUNK, diagonal)
    assert_states_are_equal(device, accumulators.WeightedActivation, X, neurons, diagonal.reshape(2, 1, 37))
