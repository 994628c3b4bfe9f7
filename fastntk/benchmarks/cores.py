"""Some of the processors, for this thread, its BLAS, and the processes and threads that it starts."""

import os
from contextlib import contextmanager

from ..engine.threads import available_cpus


@contextmanager
def on_cores(count):
    """Keep to ``count`` of the processors that this process may use."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if available_cpus() < count:
        raise ValueError(f"{count} processors are asked for; this process may use {available_cpus()}.")
    pinned = hasattr(os, "sched_getaffinity")  # else the system chooses which
    if pinned:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        with threadpool_limits(count):
            yield
    finally:
        if pinned:
            os.sched_setaffinity(0, allowed)
