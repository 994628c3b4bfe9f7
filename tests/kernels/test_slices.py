"""Rectified preactivations in bytes, and their Gram by AMX: integers, so by equality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastntk.engine.inputs import PackedInputs
from fastntk.engine.sliced import BLOCK, SPREAD, SlicedGram
from fastntk.kernels import load, reference

from ..formulas import SLICED, U

kernels = load()
pytestmark = pytest.mark.skipif(not kernels.counts_with_amx, reason="needs AMX")
STEP = 64
LARGEST = 2.0**48 - 2.0**40


def cut(X, W, factors):
    """Slices (n, neurons in whole steps, 6) of relu(X W^T), as the kernel leaves them in a right operand."""
    features = kernels.to_panels(X.T.astype(float))
    by_panel = np.zeros(features.shape[::2])
    by_panel.reshape(-1)[: len(X)] = factors
    right = kernels.slices.empty_operand(len(X), len(W))
    kernels.cut_rectified(W, features, by_panel, kernels.cut_scratch(X.shape[1]), right)
    return right


def digits(right, n):
    """The slices of an operand, (n, neurons, 6) integers."""
    tiles, steps = right.shape[:2]
    parts = right.reshape(tiles, steps, 6, 16, 16, 4)  # tile, step, slice, four neurons, sample, neuron
    parts = parts.transpose(0, 4, 1, 3, 5, 2).reshape(16 * tiles, STEP * steps, 6)[:n]
    return np.where(np.arange(6) > 0, parts.astype(np.int8), parts.astype(int))


def transposed(right, n):
    """The left operand of a right one."""
    left = kernels.slices.empty_operand(n, STEP * right.shape[1])
    kernels.slices.transpose_tiles(right, left)
    return left


@given(n=st.integers(1, 50), m=st.integers(1, 260), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_slices_equal_the_definition(n, m, seed):
    """One feature: preactivations are products of two fp32 numbers, exact in float64."""
    rng = np.random.default_rng(seed)
    X, W = (rng.standard_normal((rows, 1)).astype(np.float32) for rows in (n, m))
    W[rng.random(m) < 0.1] = 0.0
    H = X.astype(float) @ W.T.astype(float)
    factors = LARGEST / np.maximum(np.abs(H).max(axis=1), 1e-9)
    found = digits(cut(X, W, factors), n)
    np.testing.assert_array_equal(found[:, :m], reference.slices(H, factors))
    assert not found[:, m:].any()


def test_the_largest_value_and_halves():
    X, W = np.ones((1, 1), np.float32), np.array([[1.0], [0.5], [-1.0], [0.0]], np.float32)
    for factor in (LARGEST, 1.0, 3.0, 2.0**40 - 1):
        found = digits(cut(X, W, np.array([factor])), 1)[:, :4]
        np.testing.assert_array_equal(found, reference.slices(W.T.astype(float), np.array([factor])))


@given(n=st.integers(1, 60), p=st.integers(1, 60), steps=st.sampled_from([1, 2, 16]), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_gram_equals_the_definition(n, p, steps, seed):
    """Any bytes at all, those of largest magnitude among them."""
    rng = np.random.default_rng(seed)
    choices = np.array([0, 1, 127, 128, 255] if seed % 2 else range(256), np.uint8)  # or the extremes
    operands = [kernels.slices.empty_operand(count, STEP * steps) for count in (n, p)]
    for operand in operands:
        operand[:] = rng.choice(choices, operand.shape)
    left = transposed(operands[0], n)
    A, B = digits(operands[0], n), digits(operands[1], p)
    some = rng.integers(0, n, 3), rng.integers(0, p, 3)
    expected = reference.sliced_gram(A[some[0]], B[some[1]])
    units = np.ones(max(kernels.groups(max(n, p)) * kernels.group_width, 64))
    found = product(left, operands[1], steps, units, n, p)
    np.testing.assert_array_equal(found[np.ix_(*some)], expected)
    pairs = [(i, j) for i in range(6) for j in range(6 - i)]  # and every entry, in Python integers too
    exact = sum(256 ** (5 - i - j) * (A[:, :, i] @ B[:, :, j].T).astype(object) for i, j in pairs)
    np.testing.assert_array_equal(found, exact.astype(float))


def product(left, right, steps, units, n, p, *, upper=False):
    out = np.zeros(kernels.product_shape(n, p))
    kernels.sliced_gram(left, right, steps, units, units, upper, out)
    return kernels.from_panels(out, n, p)


def test_upper_triangle_and_fewer_steps():
    rng = np.random.default_rng(3)
    right = kernels.slices.empty_operand(201, BLOCK)
    right[:] = rng.integers(0, 256, right.shape)
    left = transposed(right, 201)
    units = rng.random(216) + 0.5
    for steps in (1, 9, BLOCK // STEP):
        whole = product(left, right, steps, units, 201, 201)
        half = product(left, right, steps, units, 201, 201, upper=True)
        np.testing.assert_array_equal(np.triu(half), np.triu(whole))
        np.testing.assert_array_equal(whole, whole.T)


# ------------------------------------------------------------------------------ blocks of neurons
def gram(weights, X, Y=None):
    """What SlicedGram adds for a block of neurons, or None."""
    inputs = [PackedInputs(side, kernels) for side in ([X] if Y is None else [X, Y])]
    out = np.zeros(kernels.product_shape(len(X), len(inputs[-1])))
    if not SlicedGram(kernels, X.shape[1], inputs).add(weights, out):
        return None
    return kernels.from_panels(out, len(X), len(inputs[-1]))


def assert_close(found, weights, X, Y):
    """Within what is lost: the fixed point, and the rounding of preactivations and of a few sums."""
    weights, X, Y = (array.astype(np.longdouble) for array in (weights, X, Y))
    expected = np.maximum(X @ weights.T, 0) @ np.maximum(Y @ weights.T, 0).T
    squares = np.square(weights).sum(axis=1)
    bound = len(weights) * SLICED * squares.max() + (2 * X.shape[1] + 8) * U * squares.sum()
    scale = np.sqrt(np.outer(np.square(X).sum(axis=1), np.square(Y).sum(axis=1)))
    assert (np.abs(found - expected) <= bound * scale).all()


@given(n=st.integers(1, 70), p=st.integers(1, 70), m=st.integers(1, BLOCK), d=st.integers(1, 9))
@settings(max_examples=20)
def test_random_blocks(n, p, m, d):
    rng = np.random.default_rng(m)
    X, Y, W = (rng.standard_normal((rows, d)).astype(np.float32) for rows in (n, p, m))
    cross = gram(W, X, Y)
    assert_close(cross, W, X, Y)
    symmetric = gram(W, np.concatenate([X, Y]))  # an entry does not know what else is there
    np.testing.assert_array_equal(symmetric[:n, n:], cross)


ROWS = {
    "aligned": np.ones((5, 4)),
    "huge and tiny": np.outer([3e37, 1.0, 1e-38, 1e-44, 1.0], [1.0, 0.5, -0.25, 1.0]),
    "nearly orthogonal": np.eye(4, 4) + 1e-7,
    "duplicates and opposites": np.array([[1.0, 2, 3, 4]] * 2 + [[-1.0, -2, -3, -4]]),
}
WEIGHTS = {
    "equal": np.ones((BLOCK, 4)),
    "huge": np.full((100, 4), 3e37),
    "denormal": np.full((100, 4), 1e-44),
    "as far apart as they may be": np.concatenate([np.full((1, 4), 9.0), np.full((BLOCK - 1, 4), 0.875)]),
    "one of many": np.concatenate([np.ones((SPREAD // 2, 4)), np.zeros((SPREAD // 2, 4))]),
    "zero": np.zeros((70, 4)),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rows", ROWS)
def test_adversarial_blocks(rows, weights):
    X, W = ROWS[rows].astype(np.float32), WEIGHTS[weights].astype(np.float32)
    assert_close(gram(W, X, X), W, X, X)


def test_blocks_of_very_unequal_weights_are_refused():
    W = np.zeros((SPREAD + 1, 3), np.float32)
    W[0] = 1.0
    assert gram(W, np.ones((2, 3), np.float32)) is None
    assert gram(W[:SPREAD], np.ones((2, 3), np.float32)) is not None


def test_zero_rows():
    assert not gram(np.ones((10, 3), np.float32), np.zeros((1, 3), np.float32)).any()
