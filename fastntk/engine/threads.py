"""The one thread pool: made on first use, forgotten in a forked child."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

MAX_THREADS = 256

_lock = threading.Lock()
_pool = None


def pool():
    """The shared executor.  Its tasks never wait for each other, so concurrent sweeps cannot deadlock."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="fastntk")
        return _pool


def _forget_pool():
    """A forked child has none of the parent's threads, and may have copied a held lock."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def available_cpus():
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
