"""The workers of a Dask cluster: the problem is sent once, sums are merged where they are."""

import importlib.metadata
import time
import uuid

import distributed

from . import remote
from .executors import Broken, Lost, Workers, require_version

WORKERS_SECONDS = 60.0  # how long a cluster may take to have its first worker
FETCH_SECONDS = 120.0  # how long a finished sum may take on its way here

GONE = (
    distributed.scheduler.KilledWorker,
    distributed.client.FutureCancelledError,
    distributed.core.CommClosedError,
    distributed.TimeoutError,
)


class DaskWorkers(Workers):
    """Tasks of ``remote.run_task`` on a cluster, each of one thread unless told otherwise."""

    merges = True

    def __init__(self, client, threads=None):
        self.client, self.threads = client, threads or 1
        self.problem = self.sent = None

    @property
    def count(self):
        return max(sum(self.client.nthreads().values()), 1)

    def start(self, problem):
        if self.problem is problem:
            return
        self._wait_for_workers()
        require_version(self.client.submit(importlib.metadata.version, "fastntk", pure=False).result)
        self.problem, self.token = problem, uuid.uuid4().hex
        self._send()

    def _wait_for_workers(self):
        try:
            self.client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except distributed.TimeoutError:
            raise RuntimeError(
                f"executor is a Dask client of {self.client.scheduler.address}, which has had no worker for "
                f"{WORKERS_SECONDS:.0f} s. Start some: dask worker {self.client.scheduler.address}"
            ) from None

    def _send(self):
        """Once to every worker there is; those that join later get it from these."""
        [self.sent] = self.client.scatter([self.problem], broadcast=True, hash=False)

    def submit(self, part, inputs, first, count, avoid=None):
        task = remote.Task(self.token, None, part, first, count, self.threads)
        self._require_running()
        if self.sent.status in ("cancelled", "lost", "error"):
            self._send()
        others = None if avoid is None else self._others(avoid)
        return self.client.submit(
            remote.run_task,
            task,
            self.sent,
            key=f"fastntk-{first}-{uuid.uuid4().hex}",
            pure=False,
            workers=others,
            allow_other_workers=bool(others),
        )

    def _others(self, handle):
        """The workers that are not running a task, or None (any) where it is on all."""
        busy = {worker for worker, keys in self.client.processing().items() if handle.key in keys}
        return [worker for worker in self.client.nthreads() if worker not in busy] or None

    def _require_running(self):
        if self.client.status != "running":
            raise Broken(f"the Dask client is {self.client.status}")

    def wait(self, handles, seconds):
        if not handles:
            time.sleep(seconds)
            return []
        try:
            distributed.wait(handles, timeout=seconds, return_when="FIRST_COMPLETED")
        except distributed.TimeoutError:
            self._require_running()
        return [handle for handle in handles if handle.status != "pending"]

    def result(self, handle):
        """Nothing is brought here yet: a finished handle stands for its sums."""
        if handle.status == "finished":
            return handle
        if handle.status == "error":
            error = handle.exception()
            if not isinstance(error, GONE):
                raise error
            raise Lost(f"{type(error).__name__}: {error}")
        raise Lost(f"its result is {handle.status}")

    def merge(self, left, right):
        return self.client.submit(
            remote.merged, left, right, key=f"fastntk-merge-{uuid.uuid4().hex}", pure=False
        )

    def fetch(self, handle):
        try:
            return handle.result(timeout=FETCH_SECONDS)
        except GONE as error:
            raise Lost(f"{type(error).__name__}: {error}") from error

    def drop(self, handle):
        handle.release()
