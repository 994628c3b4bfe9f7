"""The workers of a concurrent.futures executor: threads here, or processes wherever it has them.

Of an executor nothing is used but ``submit`` and the futures that it gives.  How many workers it has is a
hint, where there is one (``num_workers`` of mpi4py, ``_max_workers`` of the standard library).
"""

import concurrent.futures
import pkgutil
import sys
import threading
import uuid

from . import remote
from .threads import available_cpus
from .workers_elsewhere import VERSION, Broken, Lost, Unknown, Workers, require_version


def as_workers(executor, threads=None):
    """The workers of an executor or a Dask client; None for None."""
    if executor is None:
        return None
    if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        return ThreadWorkers(executor, threads)
    if isinstance(executor, concurrent.futures.Executor):
        return ProcessWorkers(executor, threads)
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(executor, distributed.Client):
        from .dask_workers import DaskWorkers

        return DaskWorkers(executor, threads)
    raise TypeError(
        f"executor is {executor!r}; it must be a concurrent.futures.Executor (such as ProcessPoolExecutor, "
        f"or mpi4py's MPIPoolExecutor) or a dask.distributed.Client."
    )


class ExecutorWorkers(Workers):
    """What all executors have in common."""

    def __init__(self, executor, threads=None):
        self.executor, self.threads = executor, threads or 1

    @property
    def count(self):
        for name in ("num_workers", "_max_workers"):
            if count := getattr(self.executor, name, None):
                return count
        return available_cpus()

    def _submit(self, function, *arguments):
        try:
            return self.executor.submit(function, *arguments)
        except concurrent.futures.BrokenExecutor as error:
            raise Broken(error) from error
        except RuntimeError as error:
            raise RuntimeError(f"executor takes no tasks: {error}.") from error

    def wait(self, handles, seconds):
        concurrent.futures.wait(handles, seconds, return_when=concurrent.futures.FIRST_COMPLETED)
        return [handle for handle in handles if handle.done()]  # a pool shut down cancels without a sign

    def result(self, handle):
        try:
            return handle.result()
        except (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError) as error:
            raise Lost(f"{type(error).__name__} {error}".strip()) from error


class ThreadWorkers(ExecutorWorkers):
    """Threads of this process: nothing is sent, and a range can be stopped."""

    def __init__(self, executor, threads=None):
        super().__init__(executor, threads)
        self.problem = None
        self._stopped = threading.Event()

    def start(self, problem):
        self.problem = problem

    def submit(self, part, inputs, first, count, avoid=()):
        return self._submit(
            remote.range_states, self.problem, inputs, part, first, count, self.threads, self._stopped.is_set
        )

    def close(self):
        self._stopped.set()


class ProcessWorkers(ExecutorWorkers):
    """Processes: the problem travels with the first tasks, and after tasks that found it unknown."""

    def __init__(self, executor, threads=None):
        super().__init__(executor, threads)
        self.problem = self.token = None
        self.to_send = 0  # how many of the next tasks carry the problem

    def start(self, problem):
        if self.problem is problem:
            return
        version = self._submit(pkgutil.resolve_name, VERSION)
        try:
            require_version(lambda: self.result(version))
        except Lost as error:
            raise Broken(error) from error
        finally:
            version.cancel()
        self.problem, self.token, self.to_send = problem, uuid.uuid4().hex, self.count

    def submit(self, part, inputs, first, count, avoid=()):
        problem = self.problem if self.to_send > 0 else None
        handle = self._submit(
            remote.run_task, remote.Task(self.token, problem, part, first, count, self.threads)
        )
        self.to_send -= problem is not None
        return handle

    def result(self, handle):
        value = super().result(handle)
        if value is None:
            self.to_send += 1
            raise Unknown
        return value
