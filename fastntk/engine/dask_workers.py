"""The workers of a Dask cluster: the problem is sent once, sums are merged where they are."""

import pkgutil
import time
import uuid
from typing import Any

import distributed

from . import remote
from .workers_elsewhere import VERSION, Cancelled, Lost, NoWorkers, Workers, require_version

WORKERS_SECONDS = 60.0  # how long a cluster may take to have its first worker
FETCH_SECONDS = 120.0  # how long a finished sum may take on its way here
LOOK_SECONDS = 0.01  # how often ended tasks are looked for
COUNT_SECONDS = 2.0  # how often the workers are counted
SENDINGS = 5  # of the problem, at most, where workers go while it is sent
LOST_SECONDS = 0.1  # between two looks for a connection

CANCELLED = distributed.client.CancelledError  # of one future, and of several
GONE = (
    distributed.scheduler.KilledWorker,
    CANCELLED,
    distributed.TimeoutError,
    distributed.core.CommClosedError,
)


class DaskWorkers(Workers):
    """Tasks of ``remote.run_task`` on a cluster, each of one thread unless told otherwise."""

    merges = True

    def __init__(self, client, threads=None):
        if client.asynchronous:
            raise TypeError("executor is an asynchronous Dask client; make it without asynchronous=True.")
        self.client, self.threads = client, threads or 1
        self.problem = None
        self.sent: Any = None  # a future of the problem
        self._count, self._counted = 0, float("-inf")

    @property
    def count(self):
        if time.monotonic() > self._counted + COUNT_SECONDS:
            self._count, self._counted = sum(self._asked(self.client.nthreads).values()), time.monotonic()
        return self._count

    def start(self, problem):
        if self.problem is problem:
            return
        self._require_connection()
        self._wait_for_workers()
        require_version(self.client.submit(pkgutil.resolve_name, VERSION, pure=False).result)
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
        """Once to the cluster, which gives it to every worker; those that join later get it from these."""
        for attempt in range(1, SENDINGS + 1):
            try:
                [self.sent] = self.client.scatter([self.problem], broadcast=True, hash=False)
                return
            except Exception:  # whatever the scheduler met at a worker that went meanwhile
                self._require_connection()
                if attempt == SENDINGS:
                    raise

    def submit(self, part, inputs, first, count, avoid=()):
        self._require_connection()
        if self.sent.status != "finished":  # lost with the last worker that had it, or in a restart
            if not self._asked(self.client.nthreads):
                raise NoWorkers
            self._send()
        others = self._others(avoid) if avoid else None
        return self.client.submit(
            remote.run_task,
            remote.Task(self.token, None, part, first, count, self.threads),
            self.sent,
            key=f"fastntk-{uuid.uuid4().hex}",
            pure=False,
            workers=others,
            allow_other_workers=bool(others),
        )

    def _others(self, handles):
        """The workers that do not have one of these tasks, or None (any) where all do."""
        keys = {handle.key for handle in handles}
        busy = {worker for worker, tasks in self._asked(self.client.processing).items() if keys & set(tasks)}
        return [worker for worker in self._asked(self.client.nthreads) if worker not in busy] or None

    def _asked(self, question):
        """What the scheduler answers, asked again where the connection is lost meanwhile."""
        while True:
            self._require_connection()
            try:
                return question()
            except OSError:  # CommClosedError is one; the client finds out that it has to connect again
                time.sleep(LOST_SECONDS)

    def _require_connection(self):
        """Wait while the client connects again."""
        while self.client.status == "connecting":
            time.sleep(LOST_SECONDS)
        if self.client.status != "running":
            raise RuntimeError(
                f"the Dask client of executor is {self.client.status}: its cluster is gone, and with it what "
                f"it had added up. Make the call again with another client; with checkpoint= it goes on "
                f"from the last save."
            )

    def wait(self, handles, seconds):
        until = time.monotonic() + seconds
        while True:  # what is asked for is known here; distributed.wait raises, and keeps our frames
            self._require_connection()
            ended = [handle for handle in handles if handle.status != "pending"]
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(LOOK_SECONDS)

    def result(self, handle):
        """Nothing is brought here yet: a finished handle stands for its sums."""
        if handle.status == "finished":
            return handle
        if handle.status == "cancelled":
            raise Cancelled("it was cancelled")
        if handle.status != "error":
            raise Lost(f"its result is {handle.status}")
        error = handle.exception()
        if isinstance(error, GONE):
            raise Lost(f"{type(error).__name__}: {error}")
        raise error

    def merge(self, left, right):
        key = f"fastntk-merge-{uuid.uuid4().hex}"
        both = self.client.submit(remote.merged, left, right, key=key, pure=False, priority=1)
        self.drop(left)  # the cluster keeps what the sum needs
        self.drop(right)
        return both

    def fetch(self, handle):
        try:
            return handle.result(timeout=FETCH_SECONDS)
        except GONE as error:
            self._require_connection()
            raise Lost(f"{type(error).__name__}: {error}") from error
        finally:
            self.drop(handle)

    def drop(self, handle):
        handle.release()

    def close(self):
        if self.sent is not None:
            self.drop(self.sent)
        self.problem = self.sent = None
