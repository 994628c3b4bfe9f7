"""Masked rows of a step made on a device, and packed there: what the host makes of them."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cuda import batch, forward, gradient

MASK_WORD = reference.stream_word(reference.ROW_MASK_STREAM, 12)


def rows_of_all_sizes(n, dim):
    """Rows and columns of every size, zero ones and denormals among them."""
    rng = np.random.default_rng(dim)
    X = np.ldexp(rng.standard_normal((n, dim)), rng.integers(-60, 60, (n, 1)) + rng.integers(-60, 60, dim))
    X[n // 3] = 0
    X[n // 2] = np.ldexp(rng.integers(-8, 8, dim), -149)
    X[:, dim // 2] = 0
    X[-1, -1] = 3e38
    return X.astype(np.float32)


@pytest.mark.parametrize("mask", [fn.GaussianMask(0.3), fn.AdditiveMask(2.0), "by feature"])
@pytest.mark.parametrize("dim", [1, 7, 40])
def test_masked_rows(device, mask, dim):
    if mask == "by feature":
        mask = fn.GaussianMask(np.linspace(0, 1.7, dim))
    rng = np.random.default_rng(dim)
    X = rng.standard_normal((50, dim)).astype(np.float32)
    ids = rng.integers(0, 2**64, 50, np.uint64)
    sources = rng.permutation(50)[:33].astype(np.int32)
    scale, multiplies = mask._normal_form(dim)
    found = device.zeros(1, np.uint32)
    arrays = map(device.upload, (X, ids, sources, scale))
    masked = batch.masked_rows(device, *arrays, multiplies, 2**40 + 3, MASK_WORD, found)
    expected = mask.sample(X[sources], seed=2**40 + 3, draw=12, row_ids=ids[sources])
    np.testing.assert_array_equal(device.download(masked).view(np.uint32), expected.view(np.uint32))
    assert not device.download(found).any()
    chosen = batch.chosen_rows(device, *map(device.upload, (X, sources)))
    np.testing.assert_array_equal(device.download(chosen), X[sources])


def test_a_masked_value_outside_float32(device):
    found = device.zeros(1, np.uint32)
    X, ids = np.ones((40, 3), np.float32), np.arange(40, dtype=np.uint64)
    X[20, 1] = 3e38
    arrays = map(device.upload, (X, ids, np.arange(40, dtype=np.int32), np.full(3, 1e3, np.float32)))
    batch.masked_rows(device, *arrays, True, 0, MASK_WORD, found)
    assert device.download(found)[0] == 1


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (3, 17), (130, 40), (2, 200)])
def test_inputs_of_the_forward_pass(device, n, dim):
    X = rows_of_all_sizes(n, dim)
    expected = forward.forward_inputs(device, X)
    counts = device.upload(forward.padded_prefix_counts(dim, len(expected.panel)))
    inputs = batch.forward_inputs(device, device.upload(X), counts)
    np.testing.assert_array_equal(inputs.exponents, expected.exponents)
    np.testing.assert_array_equal(device.download(inputs.panel), device.download(expected.panel))
    factors, least = device.download(inputs.factors), device.download(expected.factors)
    assert (factors >= least).all()
    assert (factors <= least * (1 + 2.0**-22)).all()


@pytest.mark.parametrize(("n", "dim", "q"), [(1, 1, 1), (300, 5, 2), (20, 70, 3)])
def test_rows_of_the_gradient(device, n, dim, q):
    X = rows_of_all_sizes(n, dim)
    rng = np.random.default_rng(q)
    u = np.ldexp(rng.uniform(-1, 1, (n, q)), -rng.integers(0, 300, (n, 1)))
    u[n // 5] = 0
    expected = gradient.weighted_rows(device, X, u)
    rows = batch.weighted_rows(device, device.upload(X), u)
    for name in ("rows", "values", "scale"):
        ours, theirs = (device.download(getattr(one, name)) for one in (rows, expected))
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_residuals_that_are_all_zero(device):
    rows = batch.weighted_rows(device, device.upload(np.ones((2, 3), np.float32)), np.zeros((2, 1)))
    assert not device.download(rows.rows).any()
    assert (device.download(rows.scale) == 1).all()
