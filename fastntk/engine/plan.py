"""The plan of a sweep: how many threads, which neuron ranges, and whether the memory is there."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from .. import validation
from ..explained import MEMORY
from .chunk import CHUNK
from .ranges import DEVICE_CHUNK, even_ranges, fixed_ranges
from .threads import MAX_THREADS, available_cpus


class Options(NamedTuple):
    """What a caller may choose about a sweep."""

    threads: int | None = None  # all processors
    memory_limit: int | None = None  # the available memory
    progress: Callable[[int, int], None] | None = None
    backend: str = "cpu"  # or "cuda"


class Plan(NamedTuple):
    threads: int
    exact: bool  # whether any split of the neurons gives the same sums
    nbytes: int  # estimated peak of the memory that the call adds
    backend: str = "cpu"

    def ranges(self, first, count, devices=0):
        """Neurons first .. first + count - 1 as the ranges that threads, or devices, take in order."""
        size = DEVICE_CHUNK if devices else CHUNK
        if not self.exact:
            return fixed_ranges(first, count, size)
        return even_ranges(first, count, devices or self.threads, size)


def make_plan(width, *, exact, shared_bytes, worker_bytes, threads=None, memory_limit=None, subject):
    """Plan a sweep over ``width`` neurons.

    ``shared_bytes`` are taken once and ``worker_bytes`` by each thread; without a given number of
    threads there are as many as processors, fewer where that does not fit the memory.  ``subject``
    says in words what is large, for the error.
    """
    limit, source = allowed_memory(memory_limit)
    wanted = threads or min(available_cpus(), MAX_THREADS)
    wanted = min(wanted, -(-width // CHUNK) if not exact else -(-width // 512))
    fitting = int((limit - shared_bytes) // worker_bytes)
    if fitting < (wanted if threads else 1):
        need = shared_bytes + worker_bytes * (wanted if threads else 1)
        hint = "fewer threads, " if threads and threads > 1 else ""
        raise MemoryError(
            f"{subject} need about {describe_bytes(need)} with {wanted if threads else 1} thread(s), but "
            f"{source} is {describe_bytes(limit)}. Use {hint}fewer rows at a time (row_ids keep the masks "
            f"the same), or a larger memory_limit. {MEMORY}"
        )
    wanted = min(wanted, fitting)
    return Plan(wanted, exact, shared_bytes + worker_bytes * wanted)


def allowed_memory(memory_limit):
    """(bytes that a call may add, what an error calls them)."""
    if memory_limit is None:
        return available_memory(), "available memory"
    return memory_limit, "memory_limit"


def require_memory(needed, memory_limit, subject, advice):
    """MemoryError where ``needed`` bytes are not there; ``advice`` is what to use instead."""
    limit, source = allowed_memory(memory_limit)
    if needed > limit:
        raise MemoryError(
            f"{subject} need about {describe_bytes(needed)}, but {source} is {describe_bytes(limit)}. "
            f"Use {advice}, or a larger memory_limit. {MEMORY}"
        )


def available_memory(control_group=Path("/sys/fs/cgroup")):
    """Bytes this process may still take: the machine's, or what its container leaves."""
    available = psutil.virtual_memory().available
    try:
        limit, used = (int((control_group / name).read_text()) for name in ("memory.max", "memory.current"))
        lines = (control_group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no container, or "max"
        return available
    files = sum(
        int(line.split()[1]) for line in lines if line.startswith("inactive_file ")
    )  # given up at need
    return min(available, max(limit - used + files, 0))


def describe_bytes(count):
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB" if count < 1000 else f"{count:,.0f} GB"


def checked_options(threads, memory_limit, progress, backend="cpu"):
    """Options from what a caller gave; ``backend`` from :func:`fastntk.engine.devices.checked_backend`."""
    if threads is not None:
        threads = validation.as_count(threads, "threads", high=MAX_THREADS)
    if memory_limit is not None:
        memory_limit = validation.as_count(memory_limit, "memory_limit")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}; it must be a function progress(done, total) or None.")
    return Options(threads, memory_limit, progress, backend)
