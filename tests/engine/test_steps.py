"""Passes over the weights: interruption, weights out of range, memory."""

import numpy as np
import pytest

from fastntk import Network
from fastntk.engine.steps import OutOfRange, Steps, nbytes_steps
from fastntk.kernels import load


def started(width=5000, threads=2, network=None, rows=70):
    network = network or Network(width, 6, seed=3)
    weights = np.empty((network.width, network.dim), np.float32)
    steps = Steps(load(), network._neurons, weights, rows, rows, threads)
    steps.fill()
    X = np.random.default_rng(0).standard_normal((rows, network.dim)).astype(np.float32)
    return steps, steps.pack(X)


def test_a_pass_in_a_hurry_still_updates_every_neuron():
    steps, batch = started()
    residuals = steps.advance(batch=batch)
    gradient = steps.gradient(batch, residuals, 0.1)
    steps.advance(gradient, batch)
    expected = steps.weights.copy()

    steps.fill()
    steps.advance(batch=batch)
    steps.hurry.set()
    assert steps.advance(gradient, batch) is None
    assert (steps.weights == expected).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_weight_out_of_range_is_reported_after_the_whole_pass(threads):
    steps, batch = started(threads=threads)
    residuals = steps.advance(batch=batch)
    before = steps.weights.copy()
    steps.weights[4000] = 1e30
    with pytest.raises(OutOfRange):
        steps.advance(steps.gradient(batch, residuals, 0.1), batch)
    others = np.arange(5000) != 4000
    assert (steps.weights[others] != before[others]).any(axis=1).mean() > 0.99


def test_a_failing_worker_does_not_leave_the_others_writing():
    steps, batch = started(threads=4, width=50_000)
    calls = []

    def fails(number, group, scratch):
        calls.append(number)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        steps._run(fails)
    count = len(calls)
    steps.advance(batch=batch)
    assert len(calls) == count


def test_initial_weights_of_given_networks_are_read_and_never_written():
    W = np.random.default_rng(1).standard_normal((3000, 6)).astype(np.float32)
    kept = W.copy()
    steps, batch = started(
        network=Network.from_arrays(W, np.random.default_rng(2).standard_normal((3000, 2)))
    )
    assert (steps.weights == kept).all()
    residuals = steps.advance(batch=batch)
    steps.advance(steps.gradient(batch, residuals, 0.1), batch)
    assert (kept == W).all()
    assert (steps.weights != kept).any()


def test_the_estimate_covers_what_is_allocated():
    network = Network(20_000, 30, outputs=3)
    shared, each = nbytes_steps(load(), network._neurons, 300, 300)
    steps, batch = started(network=network, rows=300, threads=2)
    clean = steps.pack(batch.masked.copy(), keep=True)
    steps.pack(batch.masked.copy())
    steps.remember_initial(clean)
    held = sum(array.nbytes for words in (steps._words, steps._initial_words) for array in words)
    held += sum(array.nbytes for chunk in steps.plan.chunks for array in chunk)
    held += sum(
        array.nbytes for room in (*steps._batches.values(), [clean]) for packed in room for array in packed
    )
    assert held <= shared <= 3 * held
    assert sum(array.nbytes for array in steps._scratch[0]) <= each
