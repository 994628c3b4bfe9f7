"""Mini-batches: which rows, in which order, with which masks; all from ids and the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.kernels import reference

from ..formulas import rounded
from ..simulation import exact_step
from .problems import MASK, assert_same, columns, network, network_before, rows, targets, train, weights

BATCH_STREAM = 4  # of the wire format: the order of an epoch is the order of 64-bit words


def epoch(ids, seed, number):
    """Places of the rows in the order of an epoch: by random word, then by id."""
    words = reference.words(seed, ids, 4, BATCH_STREAM, draw=number).astype(np.uint64)
    return np.lexsort([ids, words[:, 0] | words[:, 1] << np.uint64(32)])


def batches(ids, seed, batch_size, count):
    """Places of the rows of the first ``count`` batches; the last of an epoch may be smaller."""
    found, number = [], 0
    while len(found) < count:
        order = epoch(ids, seed, number)
        found += [order[start : start + batch_size] for start in range(0, len(ids), batch_size)]
        number += 1
    return found[:count]


def assert_steps(X, y, net, ids, *, batch_size, steps, seed=5, mask=MASK):
    W, a = net.weights(), columns(net.output_weights())
    for t, batch in enumerate(batches(ids, seed, batch_size, steps)):
        run = train(X, y, network=net, steps=t + 1, batch_size=batch_size, row_ids=ids, seed=seed, mask=mask)
        inputs = X[batch] if mask is None else mask.sample(X[batch], seed=seed, draw=t, row_ids=ids[batch])
        expected = exact_step(rounded(inputs), columns(y)[batch], W, a, 0.3)
        W = run.network.weights()
        assert (np.abs(W - expected.values) <= expected.bound).all(), f"step {t}"


@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 13])
def test_every_step(batch_size, q):
    """Beyond the first epoch for all but batches of 1; the last batch of an epoch is smaller for 4 and 13."""
    ids = np.arange(14, dtype=np.uint64)
    assert_steps(rows(), targets(outputs=q), network(outputs=q), ids, batch_size=batch_size, steps=6)


def test_ids_of_64_bits():
    ids = np.random.default_rng(0).integers(0, 2**64, 14, np.uint64, endpoint=False)
    assert_steps(rows(), targets(), network(), ids, batch_size=5, steps=4)


def test_without_a_mask():
    assert_steps(
        rows(), targets(), network(), np.arange(14, dtype=np.uint64), batch_size=5, steps=4, mask=None
    )


@given(n=st.integers(1, 20), data=st.data())
def test_any_sizes(n, data):
    batch_size = data.draw(st.integers(1, n))
    seed = data.draw(st.integers(0, 2**64 - 1))
    ids, X, y, net = np.arange(n, dtype=np.uint64), rows(n, 3), targets(n), network(6, 3)
    steps = data.draw(st.integers(1, 3 + n // batch_size))
    before, after = (
        network_before(count, X, y, network=net, batch_size=batch_size, seed=seed).weights()
        for count in (steps - 1, steps)
    )
    batch = batches(ids, seed, batch_size, steps)[-1]
    inputs = rounded(MASK.sample(X[batch], seed=seed, draw=steps - 1, row_ids=ids[batch]))
    a = columns(net.output_weights())
    expected = exact_step(inputs, columns(y)[batch], before, a, 0.3)
    assert (np.abs(after - expected.values) <= expected.bound).all()


def test_rows_in_another_order_with_their_ids():
    """The batches are those of the ids, and within a batch the order is too: not a bit differs."""
    X, y, order = rows(), targets(), np.random.default_rng(0).permutation(14)
    for batch_size in (1, 4, 14):
        options = {"batch_size": batch_size, "steps": 9}
        expected = train(X, y, **options)
        run = train(X[order], y[order], row_ids=order, **options)
        np.testing.assert_array_equal(weights(run), weights(expected))


def test_one_batch_of_everything_is_the_full_batch():
    """Up to rounding, for a batch is summed in the order of its epoch, the full batch in that of the rows."""
    X, y, net = rows(), targets(), network()
    W, a = net.weights(), columns(net.output_weights())
    expected = exact_step(rounded(MASK.sample(X, seed=5)), columns(y), W, a, 0.3)
    for batch_size in (None, 14):
        found = train(X, y, network=net, steps=1, batch_size=batch_size).network.weights()
        assert (np.abs(found - expected.values) <= expected.bound).all()
    full, batch = (train(X, y, network=net, steps=30, batch_size=size, record_every=5) for size in (None, 14))
    np.testing.assert_allclose(batch.clean_loss, full.clean_loss, rtol=1e-4)
    np.testing.assert_allclose(batch.masked_loss, full.masked_loss, rtol=1e-4)


def test_recorded_loss_of_a_batch():
    """The loss of the batch at hand, on its masked inputs, times n over its rows."""
    X, y, net, ids = rows(), targets(), network(), np.arange(14, dtype=np.uint64)
    run = train(X, y, network=net, batch_size=4, steps=6, record_every=1)
    for t, batch in enumerate(batches(ids, 5, 4, 7)):
        before = network_before(t, X, y, network=net, batch_size=4)
        f = fn.outputs(X[batch], network=before, mask=MASK, seed=5, draw=t, row_ids=ids[batch])
        expected = 0.5 * np.square(f - y[batch]).sum() * 14 / len(batch)
        assert run.masked_loss[t] == pytest.approx(expected, rel=1e-4)
        assert run.clean_loss[t] == pytest.approx(
            0.5 * np.square(fn.outputs(X, network=before) - y).sum(), rel=1e-4
        )


def test_same_ids_see_the_same_mask_in_every_batch():
    """All rows alike, ids and all: every order of them is the same training."""
    X, y = np.tile(rows(1), (6, 1)), np.full(6, 0.7)
    ids = np.zeros(6, np.uint64)
    run = train(X, y, row_ids=ids, batch_size=2, steps=3)
    assert_same(run, train(X, y, row_ids=ids, batch_size=2, steps=3))
    single = train(X[:2], y[:2], row_ids=ids[:2], batch_size=2, steps=3)
    np.testing.assert_array_equal(weights(run), weights(single))
