"""What must not change a bit of a run: threads, where weights are kept, how the problem is said."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from ..simulation import output_error
from ..subprocesses import run_script
from ..test_hosts import FLUSHING, only_linux_on_x86
from .problems import HISTORY, MASK, assert_same, columns, network, rows, targets, train, weights

RECORDED = {"record_every": 2, "eigenvalues_every": 3, "audit_every": 2}
# LAPACK's, whose last bits may depend on its own threads
EIGENVALUES = ("smallest_eigenvalue", "largest_eigenvalue", "masked_eigenvalue")


def given_copy(net):
    """The same network from arrays."""
    return fn.Network.from_arrays(net.weights().astype(np.float32), net.output_weights())


@pytest.fixture(params=available_paths())
def path(request, monkeypatch):
    """Each instruction-set path that this host can run."""
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


# --------------------------------------------------------------------------------------- threads
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("outputs", [1, 3])
def test_threads(path, outputs, batch_size):
    """Enough neurons that every thread has some, not a multiple of anything."""
    net = fn.Network(20_001, 5, outputs=outputs, seed=3)
    options = {"network": net, "outputs": outputs, "batch_size": batch_size, "steps": 5, **RECORDED}
    alone = train(threads=1, **options)
    for threads in (2, 3, 5):
        assert_same(train(threads=threads, **options), alone, but=EIGENVALUES)
    assert_same(train(**options), alone, but=EIGENVALUES)  # as many as there are processors


def test_threads_and_given_weights(path):
    rng = np.random.default_rng(0)
    net = fn.Network.from_arrays(rng.standard_normal((9001, 5)), rng.standard_normal(9001))
    runs = [train(network=net, threads=threads) for threads in (1, 2, 3, 5)]
    for run in runs[1:]:
        assert_same(run, runs[0])


def test_two_runs_at_once():
    """From two threads of the host, on one pool: each gets what it gets alone."""
    jobs = [functools.partial(train, seed=seed, steps=30, network=fn.Network(9000, 5)) for seed in (0, 1)]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(2) as callers:
        together = [callers.submit(jobs[k % 2]) for k in range(4)]
        for k, run in enumerate(together):
            assert_same(run.result(), alone[k % 2])


@only_linux_on_x86
def test_a_host_that_flushes_denormals(tmp_path):
    """Rows that flushing would zero, trained in IEEE arithmetic on every thread all the same."""
    code = (
        FLUSHING
        + """
def digest_of_training(threads):
    rows = np.concatenate([ROUNDED, X])
    run = fn.train(rows, np.arange(15), network=NETWORK, mask=MASK, step_size=1e-3, steps=4, threads=threads,
                   record_every=1, audit_every=1)
    return run.network.weights().tobytes(), run.clean_loss.tobytes(), run.audit_error.tobytes()

expected = digest_of_training(2)
control_word(flush=True)
flushing = control_word()
assert [digest_of_training(threads) == expected for threads in (1, 2)] == [True, True]
assert control_word() == flushing
"""
    )
    run_script(code, cwd=tmp_path)


# ------------------------------------------------------------------------------- places of weights
@pytest.mark.parametrize("q", [1, 2])
def test_out_on_disk_and_in_memory(tmp_path, q):
    expected = train(outputs=q, **RECORDED)
    array = np.full((37, 5), np.nan, np.float32)
    file = tmp_path / "weights.npy"
    on_disk = np.lib.format.open_memmap(file, "w+", np.float32, (37, 5))
    for out in (array, on_disk):
        run = train(outputs=q, out=out, **RECORDED)
        assert_same(run, expected)
        np.testing.assert_array_equal(out, weights(expected))
    on_disk.flush()
    np.testing.assert_array_equal(np.load(file), weights(expected))


def test_given_weights_on_disk(tmp_path):
    """Read from the file, and not written to it."""
    net, file = network(), tmp_path / "weights.npy"
    np.save(file, net.weights().astype(np.float32))
    before = file.read_bytes()
    for mode in ("r", "r+", "c"):
        on_disk = fn.Network.from_arrays(np.load(file, mmap_mode=mode), net.output_weights())
        assert_same(train(network=on_disk), train(network=net))
    assert file.read_bytes() == before


def test_inputs_are_never_written():
    W, a = network().weights().astype(np.float32), network().output_weights()
    net, X, y, ids = fn.Network.from_arrays(W, a), rows(), targets(), np.arange(14)
    kept = [array.copy() for array in (W, a, X, y, ids)]
    run = train(X, y, network=net, row_ids=ids)
    for array, copy in zip((W, a, X, y, ids), kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(net.weights(), kept[0])
    assert run.initial_network is net
    assert not np.shares_memory(run.network.weights(), W)


def test_the_run_does_not_follow_its_inputs():
    """A target array that the caller reuses later changes nothing: resuming still knows the old one."""
    X, y, net = rows(), targets(), network()
    run = train(X, y, network=net, steps=3)
    y[:] = 0
    assert_same(train(rows(), targets(), network=net, steps=6, resume=run), train(network=net, steps=6))


# ------------------------------------------------------------------------------ the same problem
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("q", [1, 3])
def test_virtual_and_given_weights(path, q, scale):
    net = fn.Network(1234, 5, outputs=q, seed=8, scale=scale)
    assert_same(
        train(network=net, outputs=q, **RECORDED), train(network=given_copy(net), outputs=q, **RECORDED)
    )


@pytest.mark.parametrize("batch_size", [None, 4])
def test_labels_and_one_hot_targets(batch_size):
    """Accuracy is recorded for labels only."""
    labels = np.random.default_rng(0).integers(0, 3, 14)
    net, options = network(outputs=3), {"batch_size": batch_size, **RECORDED}
    explicit = train(y=np.eye(3)[labels], network=net, **options)
    assert explicit.accuracy is None
    for kind in (np.int64, np.int8, np.uint16, np.float64):
        run = train(y=labels.astype(kind), network=net, **options)
        assert_same(run, explicit, but=["accuracy"])
        assert run.accuracy.shape == run.recorded_steps.shape
    assert_same(train(y=labels.tolist(), network=net, **options), run)


def test_a_column_of_targets_is_a_vector():
    assert_same(train(y=targets()[:, np.newaxis]), train())


def test_kinds_of_numbers():
    """X counts as float32 whatever it is given as; y is real numbers of any kind."""
    X, y, short = np.round(8 * rows()), np.round(8 * targets()), {"steps": 3, "step_size": 0.002}
    for kind in (np.float64, np.int32, np.float16):  # every value is a whole number
        assert_same(train(X.astype(kind), y.astype(kind), **short), train(X, y, **short))
    strided = train(np.asfortranarray(X)[::2], y[::2], **short)
    assert_same(strided, train(X[::2].copy(), y[::2].copy(), **short))


@pytest.mark.parametrize(
    "mask",
    [None, fn.GaussianMask(0.0), fn.AdditiveMask(0.0), fn.LognormalMask(0.0), fn.BernoulliMask(1.0)],
    ids=repr,
)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_clean_training_is_training_without_a_mask(mask, batch_size):
    options = {"batch_size": batch_size, "step_size": None, **RECORDED}
    expected = train(mode="clean", mask=mask, **options)
    run = train(mask=mask, **options)
    assert_same(
        run, expected, but=["masked_loss"]
    )  # a batch's where it trains on masks, else that of all rows
    np.testing.assert_array_equal(weights(run), weights(train(mode="clean", mask=MASK, **options)))
    if batch_size is None:
        np.testing.assert_allclose(run.masked_loss, run.clean_loss, rtol=1e-5)


def test_what_is_recorded_changes_no_step():
    plain = train(record_every=7)
    for options in ({"record_every": 1}, RECORDED, {"progress": lambda done, total: None}):
        np.testing.assert_array_equal(weights(train(**options)), weights(plain))


def test_seeds_differ():
    first, second = train(seed=0), train(seed=1)
    assert (weights(first) != weights(second)).mean() > 0.5
    assert first.clean_loss[0] == second.clean_loss[0]


# ----------------------------------------------------------------------------- several outputs
def test_a_silent_output_changes_nothing():
    """An output with weights 0 and targets 0 adds zeros: the first output trains as it does alone."""
    net, y = network(), targets()
    a = net.output_weights()
    silent = fn.Network.from_arrays(net.weights(), np.stack([a, 0 * a], axis=1))
    assert_close(train(y=np.stack([y, 0 * y], axis=1), network=silent), train(network=net))


def test_a_repeated_output_is_a_step_twice_as_long():
    net, y = network(), targets()
    repeated = fn.Network.from_arrays(net.weights(), np.stack([net.output_weights()] * 2, axis=1))
    run = train(y=np.stack([y, y], axis=1), network=repeated, step_size=0.15)
    assert_close(run, train(network=net, step_size=0.3))
    np.testing.assert_allclose(run.clean_loss, 2 * train(network=net).clean_loss, rtol=1e-4)


def test_the_order_of_outputs():
    net, y = network(outputs=3), targets(outputs=3)
    turned = fn.Network.from_arrays(net.weights(), net.output_weights()[:, ::-1])
    assert_close(train(y=y[:, ::-1], network=turned), train(y=y, network=net))


@pytest.mark.parametrize("shape", [(37,), (37, 1)])
def test_one_output_in_two_shapes(shape):
    net = network()
    same = fn.Network.from_arrays(net.weights(), net.output_weights().reshape(shape))
    assert_same(train(network=same), train(network=net))


def assert_close(run, other):
    """Equal to rounding: ten times what one step can be off by, for seven that pass it on."""
    X, W, a = rows().astype(float), other.network.weights(), columns(other.network.output_weights())
    error = 10 * 0.3 * output_error(X, W, a).sum() * np.abs(a).max()
    np.testing.assert_allclose(run.network.weights(), W, rtol=0, atol=error)
    assert error < 1e-2 * other.distance[-1] or len(other.distance) == 1


def test_history_has_these_names():
    """That assert_same compares all there is."""
    run = train(steps=1)
    public = {name for name in dir(run) if isinstance(getattr(run, name), np.ndarray)}
    sums = {"expected_loss"}  # of two that are compared
    assert public - {"accuracy"} - sums <= set(HISTORY)
