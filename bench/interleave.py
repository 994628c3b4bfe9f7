"""Interleaved timing: what disturbs the machine disturbs both sides."""

import os
from contextlib import contextmanager
from time import perf_counter

from threadpoolctl import threadpool_limits

CORES = 2  # every figure is stated for two cores


@contextmanager
def two_cores():
    """This process, its threads and BLAS on two of the cores it may use."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < CORES:
        raise SystemExit(f"the figures are stated for {CORES} cores; this process may use {len(allowed)}")
    os.sched_setaffinity(0, sorted(allowed)[:CORES])
    try:
        with threadpool_limits(CORES):
            yield
    finally:
        os.sched_setaffinity(0, allowed)


def interleave(operations, rounds):
    """Seconds of each operation, ``rounds`` times each: {name: [seconds, ...]}.

    ``operations`` maps names to calls without arguments.  Each runs once untimed (compilation, first
    touch of memory); then all run in turn, the order reversed from round to round.
    """
    for call in operations.values():
        call()
    seconds = {name: [] for name in operations}
    order = list(operations)
    for _ in range(rounds):
        for name in order:
            start = perf_counter()
            operations[name]()
            seconds[name].append(perf_counter() - start)
        order.reverse()
    return seconds
