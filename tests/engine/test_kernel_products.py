"""Accumulators of products with vectors: merging is exact, and sums equal the plain definition."""

import numpy as np
import pytest

from fastntk.engine.chunk import CHUNK, Chunk, Stopped
from fastntk.engine.inputs import PackedInputs
from fastntk.engine.kernel_products import HiddenProduct, OutputProduct, Vectors
from fastntk.engine.neurons import Neurons
from fastntk.kernels import load

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 5)).astype(np.float32)
Y = RNG.standard_normal((1100, 5)).astype(np.float32)  # more than one chain of samples
WIDTH = CHUNK + 700
WEIGHTS = RNG.standard_normal((WIDTH, 5)).astype(np.float32)
OUTPUT_WEIGHTS = RNG.standard_normal((WIDTH, 3))
RANGES = [(0, CHUNK), (CHUNK, 700)]
U = 2.0**-53

by_quantity = pytest.mark.parametrize("quantity", [HiddenProduct, OutputProduct])
by_columns = pytest.mark.parametrize("columns", [None, Y], ids=["symmetric", "cross"])


def accumulate(quantity, ranges, v, columns=None, stopped=lambda: False):
    """(the accumulator after the given ranges, its vectors)."""
    kernels, neurons = load(), Neurons(WIDTH, 5, 0, 1.0, WEIGHTS, OUTPUT_WEIGHTS)
    inputs = [PackedInputs(side, kernels) for side in (X, columns) if side is not None]
    for side in inputs:
        side.prepared(quantity.needs)
    vectors = Vectors(v, inputs[-1], quantity.needs)
    chunk = Chunk(kernels, neurons, inputs, stopped)
    accumulator = quantity(kernels, inputs, neurons, vectors)
    for place in ranges:
        accumulator.add(chunk.move_to(*place))
    return accumulator, vectors


@by_quantity
@by_columns
def test_sums_are_those_of_the_definition(quantity, columns):
    other = (X if columns is None else columns).astype(float)
    v = RNG.standard_normal((len(other), 2))
    accumulator, vectors = accumulate(quantity, RANGES, v, columns)
    found = vectors.restored(accumulator.finish())
    H, G = X.astype(float) @ WEIGHTS.T.astype(float), other @ WEIGHTS.T.astype(float)
    squares, sizes = np.square(OUTPUT_WEIGHTS).mean(axis=1), np.linalg.norm(other, axis=1)
    if quantity is HiddenProduct:
        expected = (X.astype(float) @ other.T * ((H > 0) * squares @ (G > 0).T)) @ v
        size = squares.sum()
    else:
        expected = np.maximum(H, 0) @ (np.maximum(G, 0).T @ v)
        size = np.square(WEIGHTS.astype(float)).sum()
    bound = 2 * (WIDTH + 3000) * U * size * np.outer(np.linalg.norm(X, axis=1), sizes @ np.abs(v))
    assert (np.abs(found - expected) <= bound).all()


@by_quantity
@by_columns
def test_merging_is_exact_in_any_order(quantity, columns):
    v = RNG.standard_normal((len(X if columns is None else columns), 2))
    whole = accumulate(quantity, RANGES, v, columns)[0].finish()
    for ranges in (RANGES[:1], RANGES[1:], []):
        first = accumulate(quantity, ranges, v, columns)[0]
        rest = [place for place in RANGES if place not in ranges]
        first.merge(accumulate(quantity, rest, v, columns)[0])
        np.testing.assert_array_equal(first.finish(), whole)


@by_quantity
def test_sums_fill_their_fixed_point(quantity):
    """Neither beyond 63 bits, nor so few that rounding shows: equal rows on which all neurons are active."""
    kernels = load()
    rows, weights = np.ones((40, 5), np.float32), np.ones((WIDTH, 5), np.float32)
    neurons, inputs = Neurons(WIDTH, 5, 0, 1.0, weights), [PackedInputs(rows, kernels)]
    vectors = Vectors(np.ones((40, 1)), inputs[0], quantity.needs)
    accumulator = quantity(kernels, inputs, neurons, vectors)
    chunk = Chunk(kernels, neurons, inputs)
    for place in RANGES:
        accumulator.add(chunk.move_to(*place))
    expected = 40 * 5 * WIDTH if quantity is HiddenProduct else 40 * 25 * WIDTH
    np.testing.assert_array_equal(vectors.restored(accumulator.finish()), np.full((40, 1), expected))
    assert 2**58 <= accumulator.fixed.totals.max() <= 2**62


@by_quantity
def test_a_chunk_can_be_stopped(quantity):
    with pytest.raises(Stopped):
        accumulate(quantity, RANGES, np.ones((9, 1)), stopped=lambda: True)


def test_a_block_of_neurons_can_be_stopped_between_vectors():
    """Sixty-four vectors of many rows take their time."""
    answers = iter([False, False, False, True])  # before the block, then before each vector
    with pytest.raises(Stopped):
        accumulate(HiddenProduct, [(0, 100)], np.ones((9, 5)), stopped=lambda: next(answers))
    assert list(answers) == []


def test_vectors_are_scaled_by_powers_of_two():
    inputs = PackedInputs(np.ldexp(X, np.arange(9)[:, None] * 20 - 100), load())
    v = np.ldexp(RNG.standard_normal((9, 4)), [[-900, 0, 900, 0]])
    v[:, 3] = 0
    vectors = Vectors(v, inputs, ("bits",))
    sizes = np.abs(vectors.values) * np.linalg.norm(inputs.rows.astype(float), axis=1)[:, None]
    assert (sizes <= 1).all()
    assert (sizes[:, :3].max(axis=0) > 1 / 8).all()
    assert (vectors.norm_bounds >= sizes.sum(axis=0)).all()
    np.testing.assert_array_equal(vectors.restored(vectors.values), v)
    np.testing.assert_array_equal(vectors.weights[:, :9], vectors.values.T)
    assert not vectors.weights[:, 9:].any()
