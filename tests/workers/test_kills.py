"""Dask workers killed, stopped and restarted while they work: the same bits, or a clear error."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine import distributed_sweep, task_sizes

from ..samples import some
from .clusters import quiet_cluster

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::fastntk.ExecutorWarning")

X = np.random.default_rng(0).standard_normal((60, 7)).astype(np.float32)
NETWORK = fn.Network(2 * 10**7, 7, seed=3)


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    """Seconds where there are minutes."""
    monkeypatch.setattr(task_sizes, "TASK_SECONDS", 0.3)
    monkeypatch.setattr(distributed_sweep, "STALLED_SECONDS", 2.0)
    monkeypatch.setattr(distributed_sweep, "COLLECT_SECONDS", 0.5)


@pytest.fixture(scope="module")
def expected():
    return fn.ntk(X, network=NETWORK)


class Chaos:
    """Does something to a worker when the run has got so far, in a thread of its own."""

    def __init__(self, cluster, client, act, shares):
        self.cluster, self.client, self.act, self.shares = cluster, client, act, sorted(shares)
        self.acts, self.restarting = [], threading.Lock()

    def __call__(self, done, total):
        while self.shares and done >= self.shares[0] * total:
            self.shares.pop(0)
            self.acts.append(threading.Thread(target=self.act, args=(self,)))
            self.acts[-1].start()

    def join(self):
        for act in self.acts:
            act.join()

    def a_process(self):
        return random.choice([worker.pid for worker in self.cluster.workers.values() if worker.pid])


def send(process, *signals, between=4.0):
    with contextlib.suppress(ProcessLookupError):
        for number, one in enumerate(signals):
            if number:
                time.sleep(between)
            os.kill(process, one)


def kill(chaos):
    send(chaos.a_process(), signal.SIGKILL)


def stop_and_go_on(chaos):
    send(chaos.a_process(), signal.SIGSTOP, signal.SIGCONT)


def restart(chaos):
    """One after the other: of two at once Dask may lose a worker for good."""
    with chaos.restarting, contextlib.suppress(TimeoutError):
        chaos.client.restart()


def run(cluster, client, act, shares, expected):
    """How many times something was done to the workers."""
    chaos = Chaos(cluster, client, act, shares)
    try:
        K = fn.ntk(X, network=NETWORK, executor=client, progress=chaos)
    finally:
        chaos.join()
    np.testing.assert_array_equal(K, expected)
    return len(chaos.acts)


@pytest.mark.parametrize("act", some([kill, stop_and_go_on], kill))
def test_a_worker_goes(act, expected):
    with quiet_cluster() as cluster, distributed.Client(cluster) as client:
        assert run(cluster, client, act, [0.3], expected) == 1


@pytest.mark.soak
def test_twenty_kills_stops_and_restarts(expected):
    """At random instants, one to three in a run, on one cluster after another."""
    chance, count = random.Random(0), 0
    while count < 20:
        with quiet_cluster() as cluster, distributed.Client(cluster) as client:
            for act in (kill, stop_and_go_on, restart, kill):
                shares = [chance.uniform(0.01, 0.95) for _ in range(chance.randint(1, 3))]
                count += run(cluster, client, act, shares, expected)
                try:
                    client.wait_for_workers(2, timeout=60)
                except TimeoutError:  # not all come back from a restart amid kills: a new cluster then
                    break


@contextlib.contextmanager
def worker_process(scheduler):
    """``dask worker`` without a nanny: nobody starts it again."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--nthreads=1"]
    process = subprocess.Popen(
        [*command, "--no-dashboard"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.soak
@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGSTOP]])
def test_workers_without_a_nanny(expected, signals):
    """One of two goes for good; a third one comes."""
    with quiet_cluster(n_workers=0) as cluster, distributed.Client(cluster) as client:
        address = client.scheduler.address
        with worker_process(address) as first, worker_process(address), contextlib.ExitStack() as later:
            client.wait_for_workers(2, timeout=60)

            def act(chaos):
                send(first.pid, *signals)
                later.enter_context(worker_process(address))

            run(cluster, client, act, [0.3], expected)


@pytest.mark.soak
def test_all_workers_go_and_others_come(expected):
    """Data, tasks and sums are gone; the run waits for new workers."""
    with quiet_cluster(n_workers=0) as cluster, distributed.Client(cluster) as client:
        address = client.scheduler.address
        with contextlib.ExitStack() as processes:
            one = processes.enter_context(worker_process(address))
            client.wait_for_workers(1, timeout=60)

            def act(chaos):
                send(one.pid, signal.SIGKILL)
                time.sleep(3)
                processes.enter_context(worker_process(address))

            run(cluster, client, act, [0.3], expected)


@pytest.mark.soak
def test_the_scheduler_goes(expected):
    """An error that says so, and soon."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port=0", "--no-dashboard"]
    with (
        subprocess.Popen([*command, "--host=127.0.0.1"], stderr=subprocess.PIPE, text=True) as scheduler,
        contextlib.ExitStack() as others,
    ):
        address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at" in line)
        threading.Thread(target=scheduler.stderr.read, daemon=True).start()
        others.enter_context(worker_process(address))
        client = others.enter_context(distributed.Client(address, timeout=5))
        client.wait_for_workers(1, timeout=60)

        def progress(done, total):
            if done:
                scheduler.kill()

        with pytest.raises(RuntimeError, match="client of executor is clos"):
            fn.ntk(X, network=NETWORK, executor=client, progress=progress)
