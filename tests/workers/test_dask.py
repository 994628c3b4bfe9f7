"""A Dask cluster of two processes: bits, data sent once, and what goes wrong without anybody being killed."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastntk as fn
from fastntk import _version
from fastntk.engine import dask_workers, remote, task_sizes
from fastntk.engine.chunk import CHUNK

from .calls import CALLS, MASK, NETWORK, WIDTH, X, require_same
from .clusters import quiet_cluster

distributed = pytest.importorskip("distributed")
LONG = fn.Network(10**9, 7)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Ten tasks where there would be two."""
    monkeypatch.setattr(task_sizes, "SMALLEST_EXACT", CHUNK)


@pytest.fixture(scope="module")
def client():
    with quiet_cluster() as cluster, distributed.Client(cluster) as client:
        yield client


def tasks_left(client):
    """Keys of ours that the scheduler still knows."""
    return client.run_on_scheduler(
        lambda dask_scheduler: [key for key in dask_scheduler.tasks if str(key).startswith("fastntk")]
    )


@pytest.mark.parametrize("name", CALLS)
def test_bits(name, client):
    require_same(name, client)


def test_threads_of_a_task(client):
    require_same("both, two draws", client, threads=2)


def test_progress(client):
    reports = []
    fn.ntk(X, network=NETWORK, draws=2, executor=client, progress=lambda *report: reports.append(report))
    done, totals = zip(*reports, strict=True)
    assert set(totals) == {2 * WIDTH}
    assert list(done) == sorted(done)
    assert done[-1] == 2 * WIDTH


def test_several_calls_at_once(client):
    names = ["hidden", "general output weights", "outputs"]
    with ThreadPoolExecutor(3) as callers:
        for call in [callers.submit(require_same, name, client) for name in names * 2]:
            call.result()


def test_the_data_are_sent_once(client, monkeypatch):
    scattered, tasks = [], []
    scatter, submit = client.scatter, client.submit

    def scattering(data, **options):
        scattered.append(data)
        return scatter(data, **options)

    def submitting(function, *arguments, **options):
        if function is remote.run_task:
            tasks.append(len(pickle.dumps(arguments[0])))
        return submit(function, *arguments, **options)

    monkeypatch.setattr(client, "scatter", scattering)
    monkeypatch.setattr(client, "submit", submitting)
    require_same("general output weights", client)
    assert len(scattered) == 1
    assert len(tasks) > 5
    assert max(tasks) < 1000


def test_nothing_is_left_on_the_cluster(client):
    require_same("general output weights", client)
    time.sleep(0.5)
    assert tasks_left(client) == []
    assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0


def test_an_interrupted_call_leaves_no_tasks(client):
    begun = []

    def progress(done, total):
        if done:
            begun.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fn.ntk(X, network=LONG, executor=client, progress=progress)
    assert time.monotonic() - begun[0] < 2
    time.sleep(0.5)
    assert tasks_left(client) == []
    require_same("hidden", client)


def test_tiles_and_checkpoint(client, tmp_path, monkeypatch):
    monkeypatch.setattr("fastntk.engine.checkpoint.FIRST_SECONDS", 0.05)
    options = {"network": NETWORK, "mask": MASK, "layers": "both"}
    expected = fn.ntk(X, **options)
    options |= {"out": tmp_path / "K.npy", "checkpoint": tmp_path / "run", "memory_limit": 30_000_000}

    def progress(done, total):
        if done > total / 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fn.ntk(X, executor=client, progress=progress, **options)
    np.testing.assert_array_equal(fn.ntk(X, executor=client, **options), expected)


# ------------------------------------------------------------------------------ bad input
def test_workers_of_another_version(client, monkeypatch):
    monkeypatch.setattr(_version, "__version__", "99")
    with pytest.raises(RuntimeError, match=r"of executor have fastntk .*, here is 99\. Install one"):
        fn.ntk(X, network=NETWORK, executor=client)


def test_workers_without_the_package(client, monkeypatch):
    monkeypatch.setattr(dask_workers, "VERSION", "fastntk_is_not_there:__version__")
    with pytest.raises(ImportError, match="workers of executor cannot import fastntk"):
        fn.ntk(X, network=NETWORK, executor=client)


def test_a_cluster_without_workers(monkeypatch):
    monkeypatch.setattr(dask_workers, "WORKERS_SECONDS", 0.3)
    with (
        quiet_cluster(n_workers=0) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(RuntimeError, match=r"has had no worker for 0 s\. Start some: dask worker tcp://"),
    ):
        fn.ntk(X, network=NETWORK, executor=client)


def test_a_client_that_is_closed(client):
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(RuntimeError, match="client of executor is closed"):
        fn.ntk(X, network=NETWORK, executor=other)


def test_a_client_closed_on_the_way(client):
    other = distributed.Client(client.scheduler.address, set_as_default=False)

    def progress(done, total):
        if done and other.status == "running":
            threading.Thread(target=other.close).start()

    with pytest.raises(RuntimeError, match="client of executor is clos"):
        fn.ntk(X, network=LONG, executor=other, progress=progress)


def test_an_asynchronous_client(client):
    class Asynchronous(distributed.Client):
        def __init__(self):
            pass  # not connected

        asynchronous = True
        __del__ = close = lambda self: None

    with pytest.raises(TypeError, match="asynchronous Dask client"):
        fn.ntk(X, network=NETWORK, executor=Asynchronous())


def test_an_exception_of_a_task(client, monkeypatch):
    def fail(task, problem=None):
        raise ZeroDivisionError("in a kernel")

    fail.__module__ = "__main__"  # travels by value
    monkeypatch.setattr(dask_workers.remote, "run_task", fail)
    with pytest.raises(ZeroDivisionError, match="in a kernel"):
        fn.ntk(X, network=NETWORK, executor=client)


def test_a_worker_joins(client):
    """What joins on the way gets the data from the others."""
    expected, joined = fn.ntk(X, network=(network := fn.Network(3 * 10**6, 7))), []
    cluster = client.cluster

    def progress(done, total):
        if done and not joined:
            joined.append(done)
            cluster.scale(3)

    try:
        K = fn.ntk(X, network=network, executor=client, progress=progress)
    finally:
        cluster.scale(2)
    np.testing.assert_array_equal(K, expected)


def test_a_restart_of_the_whole_cluster(client):
    """Data, tasks and sums are lost at once."""
    expected, restarted = fn.ntk(X, network=(network := fn.Network(3 * 10**6, 7))), []

    def progress(done, total):
        if done and not restarted:
            restarted.append(done)
            client.restart()

    with pytest.warns(fn.ExecutorWarning, match="a worker was lost"):
        K = fn.ntk(X, network=network, executor=client, progress=progress)
    np.testing.assert_array_equal(K, expected)


def test_a_worker_that_goes_while_the_data_is_sent(client, monkeypatch):
    """The scheduler's error is of any kind; the data is sent again."""
    scatter, failures = client.scatter, [OSError("gone"), RuntimeError("ConnectionPool is closed")]

    def unlucky(*arguments, **options):
        if failures:
            raise failures.pop()
        return scatter(*arguments, **options)

    monkeypatch.setattr(client, "scatter", unlucky)
    np.testing.assert_array_equal(fn.ntk(X, network=NETWORK, executor=client), fn.ntk(X, network=NETWORK))
    assert not failures
    failures += [RuntimeError("as ever")] * 5
    with pytest.raises(RuntimeError, match="as ever"):
        fn.ntk(X, network=NETWORK, executor=client)
