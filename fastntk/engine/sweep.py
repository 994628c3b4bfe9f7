"""The sweep: workers take neuron ranges, each adds into its own accumulators, the sums are merged."""

import math
import time
from collections.abc import Callable
from functools import partial

from .chunk import Chunk
from .devices import devices_of
from .ranges import gaps, union
from .workers import run_workers


class Sums:
    """What has been added up so far: the accumulators, and which neurons are in them."""

    def __init__(self, accumulators=None, covered=()):
        self.accumulators = accumulators
        self.covered = list(covered)

    def cover(self, ranges):
        self.covered = union([*self.covered, *ranges])

    def gaps(self, width):
        """The neurons that are missing, as ranges in order."""
        return gaps(self.covered, width)


class Worker:
    """A thread that adds ranges of neurons to accumulators of its own."""

    def __init__(self, kernels, neurons, inputs, accumulators, stopped):
        self.accumulators = accumulators
        self.chunk = Chunk(kernels, neurons, inputs, stopped)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        pass  # all that was added is in the accumulators

    def add(self, first, count):
        self.chunk.move_to(first, count)
        for accumulator in self.accumulators:
            accumulator.add(self.chunk)


def sweep(plan, kernels, neurons, inputs, make_accumulators, report=None, *, sums=None, deadline=math.inf):
    """Add to ``sums`` (by default none) what it lacks, up to a deadline on the clock of ``time.monotonic``.

    ``report(count)`` is called in the calling thread after each range.  On an exception or Ctrl-C the
    workers finish the range they are in, and the exception goes on; ``sums`` is of no use then.
    """
    sums = Sums() if sums is None else sums
    devices = devices_of(plan.backend)
    ranges = [one for gap in sums.gaps(neurons.width) for one in plan.ranges(*gap, len(devices))]
    carried = [] if sums.accumulators is None else [sums.accumulators]
    idle: list[Callable]
    if devices:
        from .device_worker import DeviceWorker

        idle = [partial(DeviceWorker, device) for device in devices]
    else:
        idle = [partial(Worker, kernels)] * plan.threads
    taken = []

    def until_deadline():
        for one in ranges:
            taken.append(one)
            yield one
            if time.monotonic() >= deadline:
                return

    def work(tasks):
        try:
            accumulators = carried.pop()
        except IndexError:
            accumulators = make_accumulators()
        with idle.pop()(neurons, inputs, accumulators, tasks.stopped) as worker:
            for first, count in tasks:
                worker.add(first, count)
                tasks.report(count)
        return accumulators

    results = run_workers(work, until_deadline(), min(len(idle), max(len(ranges), 1)), report)
    merged = results[0]
    for other in results[1:]:
        for left, right in zip(merged, other, strict=True):
            left.merge(right)
    sums.accumulators = merged
    sums.cover(taken)
    return sums
