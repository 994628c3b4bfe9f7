"""The sweep: every range once, errors and interrupts out of the workers, nothing left running."""

import threading
import time
import types

import pytest

from fastntk.engine import threads
from fastntk.engine.sweep import sweep
from fastntk.kernels import load


class Recorder:
    """An accumulator that keeps the ranges it was given."""

    def __init__(self):
        self.ranges = []

    def add(self, chunk):
        self.ranges.append((chunk.first, chunk.count))

    def merge(self, other):
        self.ranges += other.ranges


RANGES = [(first, 10) for first in range(0, 1000, 10)]


def run(make, workers=3, report=None, ranges=RANGES):
    neurons = types.SimpleNamespace(width=sum(count for _, count in ranges))
    plan = types.SimpleNamespace(threads=workers, backend="cpu", ranges=lambda *_: ranges)
    return sweep(plan, load(), neurons, [], lambda: [make()], report).accumulators


@pytest.mark.parametrize("workers", [1, 3])
def test_every_range_is_added_once(workers):
    (recorder,) = run(Recorder, workers)
    assert sorted(recorder.ranges) == RANGES


def test_progress_is_reported_in_the_calling_thread():
    reports = []
    run(Recorder, report=lambda count: reports.append((count, threading.get_ident())))
    assert reports == [(10, threading.get_ident())] * len(RANGES)


def test_an_error_in_a_worker_reaches_the_caller_and_stops_the_others():
    class Failing(Recorder):
        added = 0

        def add(self, chunk):
            Failing.added += 1
            time.sleep(0.001)
            if chunk.first == 20:
                raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        run(Failing)
    assert Failing.added < len(RANGES)


def test_an_error_in_the_progress_callback_waits_for_the_workers():
    running = []

    class Slow(Recorder):
        def add(self, chunk):
            running.append(1)
            time.sleep(0.02)
            running.pop()

    def report(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Slow, report=report)
    assert not running


def test_there_is_one_pool():
    assert threads.pool() is threads.pool()


def test_sweeps_of_many_threads_share_the_pool_without_deadlock():
    results = []

    def one():
        results.append(sorted(run(Recorder, workers=8)[0].ranges) == RANGES)

    callers = [threading.Thread(target=one) for _ in range(40)]  # 320 tasks for 256 pool threads
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert results == [True] * 40
