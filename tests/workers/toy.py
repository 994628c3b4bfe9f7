"""A problem without kernels, and workers that lose, delay, reorder and fail its tasks as they are told.

Sums are how often each block of 512 neurons has been added: all ones at the end, or something is wrong.
Time is a number that waiting moves on, so that nothing here takes any.
"""

import math
from types import SimpleNamespace

import numpy as np

from fastntk.engine import distributed_sweep, remote
from fastntk.engine.distributed_sweep import DistributedSweep
from fastntk.engine.sweep import Sums
from fastntk.engine.workers_elsewhere import Workers

BLOCK = 512


class Times:
    """The accumulator."""

    def __init__(self, blocks):
        self.times = np.zeros(blocks, int)

    def state(self):
        return [self.times]

    def add_state(self, state):
        self.times += state[0]


class ToyProblem:
    def __init__(self, width, exact=True):
        self.neurons = SimpleNamespace(width=width)
        self.quantities = [SimpleNamespace(exact=exact)]
        self.blocks = -(-width // BLOCK)

    def accumulators(self, inputs):
        return [Times(self.blocks)]

    def states(self, first, count):
        accumulator = Times(self.blocks)
        assert first % BLOCK == 0
        accumulator.times[first // BLOCK : -(-(first + count) // BLOCK)] += 1
        return [accumulator.state()]


class Clock:
    """What the engine takes for the module ``time``."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Handle:
    """A task; ``fate`` is what becomes of it: an exception, or None."""

    def __init__(self, value, ends, fate, place):
        self.value, self.ends, self.fate, self.place = value, ends, fate, place
        self.is_dropped = False


class ToyWorkers(Workers):
    """``plan(workers, what)`` gives (seconds, fate) of the next task, ``what`` a range or "merge"."""

    threads = 1

    def __init__(self, clock, plan, count=3, merges=False):
        self.clock, self.plan, self.merges = clock, plan, merges
        self.handles, self.workers = [], count
        self.started, self.broken = 0, None
        self.watch = lambda: None  # called at every wait

    @property
    def count(self):
        return self.workers

    def start(self, problem):
        self.problem = problem
        self.started += 1

    def submit(self, part, inputs, first, count, avoid=()):
        if self.broken is not None:
            raise self.broken
        return self._handle(self.problem.states(first, count), (first, count))

    def _handle(self, value, what):
        seconds, fate = self.plan(self, what)
        handle = Handle(value, self.clock.now + seconds, fate, what)
        self.handles.append(handle)
        return handle

    def wait(self, handles, seconds):
        self.watch()
        assert all(not handle.is_dropped for handle in handles)
        ends = min((handle.ends for handle in handles), default=math.inf)
        self.clock.now = max(self.clock.now + 1e-3, min(ends, self.clock.now + seconds))
        return [handle for handle in handles if handle.ends <= self.clock.now]

    def result(self, handle):
        if handle.fate is not None:
            raise handle.fate
        return handle if self.merges else handle.value

    def merge(self, left, right):
        assert not any(handle.is_dropped for handle in (left, right))
        return self._handle(remote.merged(left.value, right.value), "merge")

    def fetch(self, handle):
        if handle.fate is not None:
            raise handle.fate
        return handle.value

    def drop(self, handle):
        handle.is_dropped = True


class Toy:
    """A clock for the engine, and sweeps of toy problems."""

    def __init__(self, monkeypatch):
        self.clock = Clock()
        monkeypatch.setattr(distributed_sweep, "time", self.clock)
        monkeypatch.setattr(remote, "add_here", self._add_here)
        self.added_here = []

    def _add_here(self, problem, inputs, part, sums, threads=None, report=None, deadline=math.inf):
        for one in sums.gaps(problem.neurons.width):
            for accumulator, state in zip(sums.accumulators, problem.states(*one), strict=True):
                accumulator.add_state(state)
            sums.cover([one])
            report(one[1])
            self.added_here.append(one)

    def sweep(self, workers, width=10**6, exact=True, every=math.inf, report=lambda count: None):
        """The sums, as a run makes them: with a deadline every so many seconds."""
        problem, sums = ToyProblem(width, exact), Sums()
        reports = []

        def tell(count):
            assert count >= 0
            reports.append(count)
            report(count)

        sweep = DistributedSweep(workers, problem, None)
        workers.watch = lambda: check_places(sweep, sums, width)
        with sweep as advance:
            while sums.gaps(width):
                advance([], sums, tell, self.clock.now + every)
        assert (sums.accumulators[0].times == 1).all()
        assert sum(reports) == width
        assert sweep.running == sweep.finished == {}
        return sums


def check_places(sweep, sums, width):
    """Every neuron is in one place."""
    running = {tuple(piece.ranges): piece for piece in sweep.running.values()}  # twins once
    pieces = [*running.values(), *sweep.finished.values()]
    places = [*sums.covered, *sweep.uncut.ranges, *sweep.uncut.returned]
    places += [one for piece in pieces for one in piece.ranges]
    times = np.zeros(-(-width // BLOCK), int)
    for first, count in places:
        times[first // BLOCK : -(-(first + count) // BLOCK)] += 1
    assert (times == 1).all()
