"""Executors of the standard library, and one that does what it can to spoil the sums."""

import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastntk as fn
from fastntk import _version
from fastntk.engine import distributed_sweep, held, remote, task_sizes
from fastntk.engine.chunk import CHUNK
from fastntk.engine.executors import ThreadWorkers

from .calls import CALLS, GIVEN, MASK, NETWORK, WIDTH, X, here, require_same
from .unreliable import Unreliable

LONG = fn.Network(10**9, 7)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Ten tasks where there would be two."""
    monkeypatch.setattr(task_sizes, "SMALLEST_EXACT", CHUNK)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module", params=["fork", "spawn"])
def processes(request):
    with ProcessPoolExecutor(2, multiprocessing.get_context(request.param)) as executor:
        yield executor


@pytest.mark.parametrize("name", CALLS)
def test_threads(name, threads):
    require_same(name, threads)


@pytest.mark.parametrize("name", CALLS)
def test_processes(name, processes):
    require_same(name, processes)


@pytest.mark.parametrize("name", CALLS)
def test_an_executor_with_a_hundred_workers(name):
    with Unreliable(num_workers=100) as executor:
        require_same(name, executor)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.filterwarnings("ignore::fastntk.ExecutorWarning")
def test_anything_may_happen_to_tasks(seed, monkeypatch):
    monkeypatch.setattr(distributed_sweep, "ATTEMPTS", 50)
    chance = random.Random(seed)

    def fate(executor):
        if executor.begun == 1:
            return "run"  # what asks for the version
        kinds = ["run", "twice", "cancel", "restart", MemoryError("as planned"), "break"]
        return chance.choices(kinds, [50, 10, 15, 15, 5, 1])[0]

    with Unreliable(fate, num_workers=3, seed=seed) as executor:
        require_same("both, two draws", executor)


def test_threads_of_a_task(processes):
    require_same("both, two draws", processes, threads=2)


def test_progress(threads, processes):
    for executor in (threads, processes):
        done, totals = [], set()

        def progress(neurons, total, done=done, totals=totals):
            done.append(neurons)
            totals.add(total)

        fn.ntk(X, network=NETWORK, draws=2, executor=executor, progress=progress)
        assert totals == {2 * WIDTH}
        assert list(done) == sorted(done)
        assert done[-1] == 2 * WIDTH
        assert len(set(done)) > 5


def test_several_calls_at_once(processes):
    names = ["hidden", "general output weights", "outputs", "several outputs"]
    with ThreadPoolExecutor(4) as callers:
        for call in [callers.submit(require_same, name, processes) for name in names * 2]:
            call.result()


# ------------------------------------------------------------------------------------ data
def test_the_data_are_sent_once_to_each_worker():
    data = GIVEN._neurons.given_weights.nbytes + GIVEN._neurons.given_output_weights.nbytes
    unknown = []

    def fate(executor):
        if executor.begun == 6:
            unknown.append(1)
            return "restart"
        return "run"

    with Unreliable(fate, num_workers=3) as executor:
        require_same("general output weights", executor)
    large = [sent for sent in executor.sent if sent > data / 2]
    unknown += [received for received in executor.received if received < 10]  # a pickled None
    assert len(large) <= executor.num_workers + len(unknown)
    assert max(large) < 1.01 * data + 5000  # the weights once, not once more as what the kernels read
    assert all(sent < 2000 for sent in executor.sent if sent not in large)


def test_what_comes_back_is_a_matrix_a_task():
    n, network = 100, fn.Network(40 * CHUNK, 7)
    with Unreliable() as executor:
        fn.ntk(np.ones((n, 7)), network=network, executor=executor)
    sums = [received for received in executor.received if received > 100]
    assert all(4 * n * n < received < 4 * n * n + 500 for received in sums)
    assert len(sums) < 45


def test_a_pickled_problem_has_its_arrays_once():
    here("general output weights")  # which caches what kernels read
    weights = GIVEN._neurons.given_weights
    assert len(pickle.dumps(GIVEN._neurons)) < weights.nbytes * (1 + 4 / 7) + 5000


def test_a_worker_forgets(monkeypatch):
    """Two problems at most, and none when no task has come for a while."""
    monkeypatch.setattr(held, "FORGET_SECONDS", 0.2)
    for name in "abc":
        with held.held(name, object()) as one:
            assert one is not None
    assert list(held._held) == ["b", "c"]
    with held.held("b"), held.held("c") as one:
        time.sleep(0.4)
        assert one is not None
        assert list(held._held) == ["b", "c"]  # a task that takes longer keeps what it has
    time.sleep(0.4)
    assert not held._held
    with held.held("c") as one:
        assert one is None


# ------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize("function", [fn.ntk, fn.ntk_diag, fn.outputs])
@pytest.mark.parametrize("executor", [3, "processes", ThreadPoolExecutor, object()])
def test_what_is_no_executor(function, executor):
    with pytest.raises(TypeError, match=r"^executor is .*; it must be a concurrent\.futures\.Executor"):
        function(X, network=NETWORK, executor=executor)


def test_workers_without_the_package():
    error = ModuleNotFoundError("No module named 'fastntk'")
    with (
        Unreliable(lambda executor: error) as executor,
        pytest.raises(
            ImportError, match=rf"cannot import fastntk .*same version as here \({fn.__version__}\)"
        ),
    ):
        fn.ntk(X, network=NETWORK, executor=executor)


def test_workers_of_another_version(monkeypatch):
    """The caller's is another one than that of a process started before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        executor.submit(fn.ntk, X, network=NETWORK).result()
        monkeypatch.setattr(_version, "__version__", "99")
        with pytest.raises(RuntimeError, match=r"of executor have fastntk .*, here is 99\. Install one"):
            fn.ntk(X, network=NETWORK, executor=executor)
        task = remote.Task("token", None, None, 0, 1, 1)  # on a worker that was not asked
        with pytest.raises(RuntimeError, match=r"a worker of executor has fastntk .*, the caller 99"):
            executor.submit(remote.run_task, task).result()


def test_an_executor_that_was_shut_down(threads):
    for executor in (ThreadPoolExecutor(1), ProcessPoolExecutor(1), Unreliable()):
        executor.shutdown()
        with pytest.raises(RuntimeError, match="executor takes no tasks: cannot schedule new futures"):
            fn.ntk(X, network=NETWORK, executor=executor)


def test_shut_down_on_the_way():
    with ProcessPoolExecutor(2) as executor:

        def progress(done, total):
            if done:
                executor.shutdown(wait=False, cancel_futures=True)

        with pytest.raises(RuntimeError, match="executor takes no tasks"):
            fn.ntk(X, network=LONG, executor=executor, progress=progress)


# ---------------------------------------------------------------------------- exceptions
def test_an_exception_of_a_task_is_the_callers_at_once():
    class Ours(Exception):
        pass

    error = Ours("as it was")
    with (
        Unreliable(lambda executor: error if executor.begun == 4 else "run") as executor,
        pytest.raises(Ours, match=r"^as it was$") as caught,
    ):
        fn.ntk(X, network=LONG, executor=executor)
    assert caught.value is error
    assert not executor.tasks or all(future.cancelled() for future, _ in executor.tasks)


def test_a_callback_that_raises_leaves_nothing_running(threads):
    def progress(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fn.ntk(X, network=LONG, executor=threads, progress=progress)
    time.sleep(0.5)
    begun = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_ctrl_c(kind, monkeypatch):
    """Within two seconds, with nothing queued behind but what had begun."""
    monkeypatch.setattr(task_sizes, "TASK_SECONDS", 0.5)
    pressed = []

    def press():
        time.sleep(1.0)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    rows = np.random.default_rng(0).standard_normal((300, 7))
    with kind(2) as executor:
        fn.ntk(X, network=NETWORK, executor=executor)  # processes are started, kernels compiled
        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            fn.ntk(rows, network=LONG, layers="both", executor=executor)
        assert time.monotonic() - pressed[0] < 2
        begun = time.monotonic()
        require_same("hidden", executor)
        assert time.monotonic() - begun < 10


# --------------------------------------------------------------------------------- kills
def test_a_killed_process():
    """The pool is broken then: what is left is done here, to the same bits."""
    expected, killed = fn.ntk(X, network=(network := fn.Network(3 * 10**6, 7))), []
    with ProcessPoolExecutor(2) as executor:

        def kill(done, total):
            if done and not killed:
                killed.append(next(iter(executor._processes)))
                os.kill(killed[0], signal.SIGKILL)

        with (
            pytest.warns(fn.ExecutorWarning, match=r"a worker was lost \(BrokenProcessPool"),
            pytest.warns(fn.ExecutorWarning, match=r"executor has failed .*are done in this process"),
        ):
            K = fn.ntk(X, network=network, executor=executor, progress=kill)
        np.testing.assert_array_equal(K, expected)
        with pytest.warns(fn.ExecutorWarning):
            require_same("both, two draws", executor)  # a pool that was broken before


@pytest.mark.filterwarnings("ignore:executor has failed .no answer")
def test_a_stopped_process(monkeypatch):
    """It does not answer; its range goes to the other one.  Stopped as it waits for a task it holds the lock
    of the queue, and then the other one gets none either: the caller's process does the rest.
    """
    monkeypatch.setattr(distributed_sweep, "STALLED_SECONDS", 0.5)
    expected, stopped = fn.ntk(X, network=(network := fn.Network(10**7, 7))), []
    with ProcessPoolExecutor(2) as executor:

        def stop(done, total):
            if done and not stopped:
                stopped.append(next(iter(executor._processes)))
                os.kill(stopped[0], signal.SIGSTOP)

        try:
            K = fn.ntk(X, network=network, executor=executor, progress=stop)
        finally:
            os.kill(stopped[0], signal.SIGCONT)
    np.testing.assert_array_equal(K, expected)


# ------------------------------------------------------------------------- long runs
class Barely(Executor):
    """No more than the interface asks for."""

    def submit(self, function, /, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_nothing_but_submit_is_needed():
    require_same("both, two draws", Barely())
    assert ThreadWorkers(Barely()).count >= 1


def test_tiles_into_a_file(processes, tmp_path):
    expected = fn.ntk(X, network=NETWORK, mask=MASK, layers="both", draws=2)
    K = fn.ntk(
        X,
        network=NETWORK,
        mask=MASK,
        layers="both",
        draws=2,
        executor=processes,
        out=tmp_path / "K.npy",
        memory_limit=30_000_000,
    )
    np.testing.assert_array_equal(K, expected)


@pytest.mark.parametrize("layers", ["hidden", "both"])
def test_a_checkpoint_beside_an_executor(threads, tmp_path, monkeypatch, layers):
    """Stopped again and again on one executor or another, saved with tasks on their way."""
    monkeypatch.setattr("fastntk.engine.checkpoint.FIRST_SECONDS", 0.05)
    monkeypatch.setattr("fastntk.engine.checkpoint.COST_FACTOR", 0)
    monkeypatch.setattr(distributed_sweep, "POLL_SECONDS", 0.02)
    network = fn.Network(3 * 10**7 if layers == "hidden" else 5 * 10**6, 7)
    expected = fn.ntk(X, network=network, layers=layers)
    first = []
    with Unreliable() as other:
        for attempt in range(60):
            stop_at = time.monotonic() + 0.15

            def progress(done, total, stop_at=stop_at, seen=[]):  # noqa: B006
                seen.append(done)
                if time.monotonic() > stop_at:
                    first.append(seen[0])
                    raise TimeoutError

            executor = (threads, other, None)[attempt % 3]
            try:
                K = fn.ntk(
                    X,
                    network=network,
                    layers=layers,
                    checkpoint=tmp_path / "run",
                    executor=executor,
                    progress=progress,
                )
                break
            except TimeoutError:
                pass
    np.testing.assert_array_equal(K, expected)
    assert len(first) >= 2
