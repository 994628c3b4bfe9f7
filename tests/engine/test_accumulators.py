"""Accumulators: merging is exact, whatever the split, and equals the plain definition."""

import math

import numpy as np
import pytest

from fastntk.engine import accumulators as acc
from fastntk.engine.chunk import CHUNK, Chunk, clear_beyond
from fastntk.engine.fixed_point import FixedPoint, mirrored
from fastntk.engine.inputs import PackedInputs
from fastntk.engine.neurons import Neurons
from fastntk.kernels import load, reference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 5)).astype(np.float32)
Y = RNG.standard_normal((4, 5)).astype(np.float32)
WIDTH = 2 * CHUNK + 700
WEIGHTS = RNG.standard_normal((WIDTH, 5)).astype(np.float32)
OUTPUT_WEIGHTS = RNG.standard_normal((WIDTH, 3))
OTHER_WEIGHTS = RNG.standard_normal((WIDTH, 2))

GRAMS = [acc.CoactivationCounts, acc.WeightedCoactivation, acc.ReluGram]
VECTORS = [acc.ActivationCounts, acc.WeightedActivation, acc.ReluSquares, acc.OutputSums]
RANGES = [(0, CHUNK), (CHUNK, CHUNK), (2 * CHUNK, 700)]


def neurons():
    return Neurons(WIDTH, 5, 0, 1.0, WEIGHTS, OUTPUT_WEIGHTS)


def accumulate(quantity, ranges, *sides):
    """One accumulator after the given ranges."""
    kernels = load()
    inputs = [PackedInputs(side, kernels) for side in sides]
    chunk = Chunk(kernels, neurons(), inputs)
    accumulator = quantity(kernels, inputs, neurons())
    for place in ranges:
        accumulator.add(chunk.move_to(*place))
    return accumulator


def expected(quantity, rows, columns):
    """The definition in plain float64, with the sum of magnitudes that bounds its rounding."""
    H, G = rows.astype(float) @ WEIGHTS.T.astype(float), columns.astype(float) @ WEIGHTS.T.astype(float)
    P, Q, squares = (H > 0).astype(float), (G > 0).astype(float), (OUTPUT_WEIGHTS**2).mean(axis=1)
    R, S = np.maximum(H, 0), np.maximum(G, 0)
    return {
        acc.CoactivationCounts: lambda: P @ Q.T,
        acc.WeightedCoactivation: lambda: (P * squares) @ Q.T,
        acc.ReluGram: lambda: R @ S.T,
        acc.ActivationCounts: lambda: P.sum(axis=1),
        acc.WeightedActivation: lambda: P @ squares,
        acc.ReluSquares: lambda: (R**2).sum(axis=1),
        acc.OutputSums: lambda: R @ OUTPUT_WEIGHTS,
    }[quantity]()


@pytest.mark.parametrize("quantity", GRAMS + VECTORS)
def test_merging_is_exact_in_any_order(quantity):
    whole = accumulate(quantity, RANGES, X).finish()
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        parts = [accumulate(quantity, [RANGES[k]], X) for k in order]
        for other in parts[1:]:
            parts[0].merge(other)
        np.testing.assert_array_equal(parts[0].finish(), whole)


@pytest.mark.parametrize("quantity", GRAMS + VECTORS)
def test_sums_are_those_of_the_definition(quantity):
    result = accumulate(quantity, RANGES, X).finish()
    reference_values = expected(quantity, X, X)
    scale = np.abs(reference_values).max() + math.sqrt(WIDTH)
    np.testing.assert_allclose(result, reference_values, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("quantity", GRAMS)
def test_rows_and_columns(quantity):
    result = accumulate(quantity, RANGES, X, Y).finish()
    assert result.shape == (9, 4)
    np.testing.assert_allclose(result, expected(quantity, X, Y), rtol=1e-12)


@pytest.mark.parametrize("quantity", [q for q in GRAMS + VECTORS if q.exact])
def test_exact_sums_do_not_depend_on_the_chunks(quantity):
    odd = [(0, 512), (512, 1024), (1536, CHUNK), (1536 + CHUNK, WIDTH - 1536 - CHUNK)]
    np.testing.assert_array_equal(
        accumulate(quantity, odd, X).finish(), accumulate(quantity, RANGES, X).finish()
    )


@pytest.mark.parametrize("quantity", GRAMS + VECTORS)
def test_stated_bytes_cover_the_arrays(quantity):
    accumulator = accumulate(quantity, [], X)
    held = [value for value in vars(accumulator).values() if isinstance(value, np.ndarray)]
    if hasattr(accumulator, "fixed"):
        held += [value for value in vars(accumulator.fixed).values() if isinstance(value, np.ndarray)]
    stated = quantity.nbytes(load(), len(X), len(X))
    assert sum(array.nbytes for array in held) <= stated + 10_000  # scales and the like


def test_outputs_with_other_weights_than_the_networks():
    class Tangent(acc.OutputSums):
        def __init__(self, kernels, inputs, neurons):
            super().__init__(kernels, inputs, neurons, weights_of=neurons.with_output_weights(OTHER_WEIGHTS))

    R = np.maximum(X.astype(float) @ WEIGHTS.T.astype(float), 0)
    np.testing.assert_allclose(accumulate(Tangent, RANGES, X).finish(), R @ OTHER_WEIGHTS, atol=1e-9)


def test_fixed_point_keeps_62_bits_of_the_bound():
    fixed = FixedPoint((1, 2, 1), 3.0, np.array([0, 1]), np.array([5]))
    values = np.array([[[3.0 * 32], [-(3.0 * 64)]]])
    fixed.add(load(), values)
    fixed.add(load(), values * 2.0**-59)
    np.testing.assert_allclose(fixed.finish(), values * (1 + 2.0**-59), rtol=2.0**-53)
    assert np.abs(fixed.totals).max() < 2**62
    assert (fixed.totals != 0).all()


def test_fixed_point_with_a_bound_for_each_row():
    """A row keeps its own 62 bits beside one that is larger by far."""
    fixed = FixedPoint((1, 2, 1), np.array([1e40, 1e-40]), np.zeros(1, int), np.array([2]))
    values = np.array([[[1e40], [-1e-40]]])
    fixed.add(load(), values)
    np.testing.assert_allclose(fixed.finish(), values, rtol=2.0**-53)


def test_zero_rows_never_enter_a_sweep():
    padded = np.concatenate([np.zeros((1, 5)), X, np.zeros((2, 5))]).astype(np.float32)
    inputs = PackedInputs(padded, load())
    assert len(inputs) == 9
    np.testing.assert_array_equal(inputs.rows, X)
    spread = inputs.spread_rows(np.ones((9, 3)))
    assert spread.shape == (12, 3)
    assert spread.sum() == 27
    assert not spread[0].any()


def test_clear_beyond():
    bits = np.full((2, 4), 255, np.uint8)
    clear_beyond(bits, 11)
    np.testing.assert_array_equal(bits, [[255, 7, 0, 0]] * 2)


def test_relu_blocks_are_the_preactivations_of_the_definition():
    kernels = load()
    inputs = [PackedInputs(X, kernels)]
    chunk = Chunk(kernels, neurons(), inputs).move_to(16000, 600)
    for start, count, (relu,) in chunk.relu_blocks():
        block = kernels.from_panels(relu, count, len(X))
        weights = WEIGHTS[16000 + start : 16000 + start + count]
        exact = np.maximum(reference.preactivation(X, weights), 0).T
        np.testing.assert_allclose(block, exact, rtol=0, atol=5 * 2.0**-53 * 25)


def test_mirrored():
    upper = np.triu(np.random.default_rng(1).standard_normal((600, 600)))
    full = mirrored(upper.copy())
    np.testing.assert_array_equal(full, full.T)
    np.testing.assert_array_equal(np.triu(full), upper)
