"""What a run records, against its own definition at the network of that step."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.spectrum import extreme_eigenvalues

from ..formulas import U, rounded
from ..simulation import exact_step, output_error, outputs
from .problems import MASK, assert_same, columns, network, network_before, rows, targets, train, weights


@pytest.fixture(scope="module", params=[(1, "given"), (3, "given"), (1, "virtual"), (2, "virtual")], ids=str)
def recorded(request):
    """(network, X, y, a run that records everything, the networks before its steps 0, 2, .. 8)."""
    q, kind = request.param
    net = network(outputs=q) if kind == "given" else fn.Network(61, 5, outputs=q, seed=4, scale=0.5)
    X, y = rows(), targets(outputs=q)
    run = train(X, y, network=net, steps=9, record_every=2, eigenvalues_every=4, audit_every=4)
    return net, X, y, run, [network_before(t, X, y, network=net) for t in range(0, 10, 2)]


def test_which_steps(recorded):
    *_, run, _ = recorded
    assert run.status == "finished"
    assert run.steps_done == 9
    assert run.step_size == 0.3
    np.testing.assert_array_equal(run.recorded_steps, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(run.eigenvalue_steps, [0, 4, 8])
    np.testing.assert_array_equal(run.audit_steps, [0, 4, 8])
    for name in ("clean_loss", "masked_loss", "distance", "max_distance", "flipped"):
        assert getattr(run, name).shape == (5,)
        assert getattr(run, name).dtype == np.float64
    for name in ("smallest_eigenvalue", "largest_eigenvalue", "masked_eigenvalue", "audit_error"):
        assert getattr(run, name).shape == (3,)
        assert getattr(run, name).dtype == np.float64


def test_the_state_after_the_last_step():
    """steps a multiple of record_every: the last entry is the trained network."""
    run = train(steps=8, record_every=4, eigenvalues_every=2, audit_every=4)
    np.testing.assert_array_equal(run.recorded_steps, [0, 4, 8])
    np.testing.assert_array_equal(run.eigenvalue_steps, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(run.audit_steps, [0, 4])  # of steps that were done
    f = fn.outputs(rows(), network=run.network)
    assert run.clean_loss[-1] == pytest.approx(0.5 * np.square(f - targets()).sum(), rel=1e-5)
    f = fn.outputs(rows(), network=run.network, mask=MASK, seed=5, draw=8)
    assert run.masked_loss[-1] == pytest.approx(0.5 * np.square(f - targets()).sum(), rel=1e-5)


def test_nothing_unasked():
    run = train(record_every=3)
    assert run.eigenvalue_steps.shape == run.audit_steps.shape == (0,)
    assert run.smallest_eigenvalue.shape == run.audit_error.shape == (0,)
    assert run.accuracy is None


def test_clean_and_masked_loss(recorded):
    """Within what float32 can do to the outputs."""
    _, X, y, run, networks = recorded
    for j, net in enumerate(networks):
        W, a = net.weights(), columns(net.output_weights())
        for mask, found in ((None, run.clean_loss[j]), (MASK, run.masked_loss[j])):
            residual = columns(fn.outputs(X, network=net, mask=mask, seed=5, draw=2 * j)) - columns(y)
            inputs = X if mask is None else mask.sample(X, seed=5, draw=2 * j)
            error = output_error(rounded(inputs), W, a) + 2.0**-23 * np.abs(residual)
            allowed = (np.abs(residual) * error + np.square(error)).sum()
            assert abs(found - 0.5 * np.square(residual).sum()) <= allowed


def test_distances(recorded):
    net, *_, run, networks = recorded
    start = rounded(net.weights())  # virtual weights begin as float32 numbers
    for j, after in enumerate(networks):
        moved = after.weights() - start
        np.testing.assert_allclose(run.distance[j], np.linalg.norm(moved), rtol=1e-12)
        np.testing.assert_allclose(run.max_distance[j], np.linalg.norm(moved, axis=1).max(), rtol=1e-12)
    assert run.distance[0] == run.max_distance[0] == 0


def test_flipped(recorded):
    """On clean inputs, exact bits against exact bits."""
    net, X, _, run, networks = recorded
    start = fn.Network.from_arrays(net.weights(), net.output_weights())
    before = fn.activation_pattern(X, network=start).to_bool()
    for j, after in enumerate(networks):
        now = fn.activation_pattern(X, network=after).to_bool()
        assert run.flipped[j] == np.mean(before != now)
    assert run.flipped[-1] > 0


def test_eigenvalues(recorded):
    """LAPACK's error is about n U of the largest one."""
    _, X, _, run, networks = recorded
    for j, t in enumerate(run.eigenvalue_steps):
        net = networks[t // 2]
        smallest, largest = extreme_eigenvalues(fn.ntk(X, network=net))
        error = 10 * len(X) * U * largest
        assert abs(run.smallest_eigenvalue[j] - smallest) <= error
        assert abs(run.largest_eigenvalue[j] - largest) <= error
        masked = extreme_eigenvalues(fn.ntk(MASK.sample(X, seed=5, draw=t), network=net))[1]
        assert abs(run.masked_eigenvalue[j] - masked) <= 10 * len(X) * U * masked


def test_audit(recorded):
    """r+ = r - eta Keff u exactly, but for what float32 does to the step: |a_r| |x_i| |error of w_r|."""
    _, X, y, run, networks = recorded
    X = rounded(X)
    for j, t in enumerate(run.audit_steps):
        W, a = networks[t // 2].weights(), columns(networks[t // 2].output_weights())
        inputs = rounded(MASK.sample(X, seed=5, draw=t))
        step = exact_step(inputs, columns(y), W, a, 0.3)
        moved = outputs(X, step.values, a) - outputs(X, W, a)
        allowed = np.abs(X) @ step.bound.T @ np.abs(a) / np.sqrt(len(a)) / np.abs(moved).max()
        assert 0 <= run.audit_error[j] <= allowed.max()
        assert allowed.max() < 1e-2


def test_the_audit_of_a_repeated_output_and_of_batches():
    for batch_size in (1, 5):
        run = train(outputs=2, batch_size=batch_size, steps=6, audit_every=1)
        np.testing.assert_array_equal(run.audit_steps, range(6))
        assert (run.audit_error < 1e-4).all()


def test_accuracy():
    labels = np.random.default_rng(0).integers(0, 3, 14)
    run = train(y=labels, outputs=3, steps=40, record_every=10)
    for j, t in enumerate(run.recorded_steps):
        f = fn.outputs(rows(), network=network_before(t, y=labels, outputs=3))
        assert run.accuracy[j] == np.mean(f.argmax(axis=1) == labels)
    assert run.accuracy[-1] > run.accuracy[0]


def test_clean_mode_records_the_masked_loss():
    run = train(mode="clean", steps=4, record_every=2)
    for j, t in enumerate(run.recorded_steps):
        net = network_before(t, mode="clean")
        f = fn.outputs(rows(), network=net, mask=MASK, seed=5, draw=t)
        assert run.masked_loss[j] == pytest.approx(0.5 * np.square(f - targets()).sum(), rel=1e-5)
    assert (run.masked_loss != run.clean_loss).all()


def test_clean_training_obeys_the_kernel():
    """Mode by mode: near the end of a lazy run the loss falls by (1 - step_size lambda_min)^2 a step."""
    X, y = rows(4), targets(4)
    run = train(X, y, network=fn.Network(4000, 5), mask=None, steps=120, step_size=1.0, eigenvalues_every=120)
    rate = run.clean_loss[-1] / run.clean_loss[-2]
    expected = (1 - run.smallest_eigenvalue[-1]) ** 20
    assert rate == pytest.approx(expected, rel=0.05)


# ----------------------------------------------------------------------------- the run as a value
def test_progress_counts_steps():
    import threading

    seen = []
    train(steps=6, threads=3, progress=lambda done, total: seen.append((done, total, threading.get_ident())))
    assert {total for _, total, _ in seen} == {6}
    assert {ident for *_, ident in seen} == {threading.get_ident()}
    done = [count for count, *_ in seen]
    assert done == sorted(done)
    assert done[-1] == 6


def test_networks_of_a_run():
    virtual = fn.Network(50, 5, outputs=2)
    run = train(outputs=2, network=virtual)
    assert run.initial_network is virtual
    assert not run.network.is_virtual
    assert (run.network.width, run.network.dim, run.network.outputs) == (50, 5, 2)
    np.testing.assert_array_equal(run.network.output_weights(), virtual.output_weights())
    assert (weights(run) != virtual.weights()).any()


def test_training_goes_on_from_a_trained_network():
    """Two runs in a row are a new start: the masks are numbered from 0 again."""
    first = train(steps=3)
    second = train(network=first.network, steps=1)
    assert second.distance[0] == 0
    inputs = rounded(MASK.sample(rows(), seed=5))
    a = columns(first.network.output_weights())
    expected = exact_step(inputs, columns(targets()), first.network.weights(), a, 0.3)
    assert (np.abs(second.network.weights() - expected.values) <= expected.bound).all()


def test_repr_is_short():
    assert len(repr(train(steps=1))) < 300


def test_same_call_same_bits():
    assert_same(train(record_every=1, audit_every=1), train(record_every=1, audit_every=1))
