"""Sweeps on workers elsewhere: ranges of neurons are tasks, and a lost one is done again.

    DistributedSweep   which ranges are where, which are done, what to do about failures; for any workers
    Pool               workers of a concurrent.futures executor
    (dask_workers)     workers of a Dask cluster

What a task returns are integers (the states of accumulators), so sums may be merged anywhere, in any order.
"""

import concurrent.futures
import importlib.metadata
import statistics
import sys
import time
import uuid
import warnings
from abc import ABC, abstractmethod
from collections import deque
from typing import NamedTuple

from .. import _version
from . import remote
from .chunk import CHUNK
from .threads import available_cpus

POLL_SECONDS = 0.2
TASKS_EACH = 4  # for each worker, where the tasks are not too small then
CHUNKS_EACH = 16  # at least, in a task: its result is a matrix that has to travel
ATTEMPTS = 4  # of a range, before its failure is the caller's
STALLED_SECONDS = 60.0  # how long a task may take without comment, if others have been faster


class ExecutorWarning(UserWarning):
    """Workers that were lost: what they had is done again, and the result is the same."""


class Lost(Exception):
    """A task whose worker or data has gone; the same task can be done again."""


class Unknown(Exception):
    """A worker that has not seen the problem yet; the next submission carries it."""


class Broken(Exception):
    """An executor that takes no more tasks."""


class Workers(ABC):
    """Where tasks go.  ``submit`` gives a handle, ``result`` its value or raises Lost."""

    threads: int  # of a task
    merges = False  # whether sums are merged where they are

    @property
    @abstractmethod
    def count(self):
        """How many tasks run at once."""

    @abstractmethod
    def start(self, problem):
        """Make a problem known; called before its first task."""

    @abstractmethod
    def submit(self, part, inputs, first, count, avoid=None):
        """Begin a range, not where the handle ``avoid`` is running; raises Broken."""

    @abstractmethod
    def wait(self, handles, seconds):
        """Those of the handles that have an end, as soon as there is one."""

    @abstractmethod
    def result(self, handle):
        """What became of a handle that has an end; raises Lost, or what the task raised."""

    def merge(self, left, right):
        """Begin the sum of two finished handles."""
        raise NotImplementedError

    def fetch(self, handle):
        """Bring the sums of a finished handle here; raises Lost."""
        return self.result(handle)

    def drop(self, handle):
        """A handle whose result is not wanted any more."""
        handle.cancel()

    def begin(self, problem, part):
        """What adds a part to sums, for ``runs.Run``."""
        return DistributedSweep(self, problem, part).advance


class Piece(NamedTuple):
    """A task on its way, or sums that are done, and the ranges in them."""

    ranges: list[tuple[int, int]]
    since: float
    is_merge: bool = False


class DistributedSweep:
    """The neurons of one part on workers."""

    def __init__(self, workers, problem, part):
        self.workers, self.problem, self.part = workers, problem, part
        self.waiting: deque = deque()  # ranges that nobody has
        self.running: dict = {}  # handle: Piece
        self.done: dict = {}  # handle: Piece, finished where it is
        self.attempts: dict = {}
        self.seconds: list[float] = []  # that tasks took
        self.is_split = False
        workers.start(problem)

    def advance(self, inputs, sums, report, deadline):
        """Add to ``sums`` what it lacks, or what there is at the deadline."""
        if sums.accumulators is None:
            sums.accumulators = self.problem.accumulators(inputs)
        if not self.is_split:
            exact = all(quantity.exact for quantity in self.problem.quantities)
            self.waiting.extend(split(sums.gaps(self.problem.neurons.width), self.workers.count, exact))
            self.is_split = True
        try:
            while self.waiting or self.running:
                self._submit(inputs)
                for handle in self.workers.wait(list(self.running), POLL_SECONDS):
                    self._end(handle, sums, report)
                self._look_after_the_slow(inputs)
                report(0)
                if time.monotonic() >= deadline:
                    break
            self._collect(sums)
        except Broken as error:
            self._finish_here(inputs, sums, report, error)
        except BaseException:
            for handle in [*self.running, *self.done]:
                self.workers.drop(handle)
            raise

    # ------------------------------------------------------------------------------- tasks
    def _submit(self, inputs):
        """Keep every worker busy, and a task for each in reserve."""
        while self.waiting and len(self.running) < 2 * self.workers.count:
            one = self.waiting.popleft()
            try:
                handle = self.workers.submit(self.part, inputs, *one)
            except Broken:
                self.waiting.appendleft(one)
                raise
            self.running[handle] = Piece([one], time.monotonic())

    def _end(self, handle, sums, report):
        """Take what a task has come to."""
        piece = self.running.pop(handle, None)
        if piece is None:
            return  # a twin of one that was faster
        try:
            value = self.workers.result(handle)
        except Unknown:
            self.waiting.extendleft(piece.ranges)
            return
        except Lost as error:
            self._again(piece.ranges, error)
            return
        if not piece.is_merge:
            self.seconds.append(time.monotonic() - piece.since)
            for twin in [other for other, theirs in self.running.items() if theirs.ranges == piece.ranges]:
                del self.running[twin]
                self.workers.drop(twin)
            report(piece.ranges[0][1])
        if not self.workers.merges:
            _add(sums, value, piece.ranges)
            return
        self.done[handle] = piece
        if len(self.done) > 1:
            (left, a), (right, b) = [self.done.popitem() for _ in range(2)]
            both = self.workers.merge(left, right)
            self.running[both] = Piece(a.ranges + b.ranges, time.monotonic(), is_merge=True)

    def _again(self, ranges, error):
        """Ranges that were lost wait once more."""
        for one in ranges:
            self.attempts[one] = self.attempts.get(one, 1) + 1
            if self.attempts[one] > ATTEMPTS:
                raise RuntimeError(
                    f"neurons {one[0]} to {sum(one) - 1} were lost {ATTEMPTS} times on the workers of "
                    f"executor, at last: {error}. See the workers' logs: they may be short of memory."
                ) from error
            self.waiting.append(one)
        warnings.warn(
            f"a worker was lost ({error}); its neurons are done again", ExecutorWarning, stacklevel=2
        )

    def _look_after_the_slow(self, inputs):
        """Where nothing else is left to do, give what takes too long to another worker as well."""
        if self.waiting or not self.seconds:
            return
        patience = max(STALLED_SECONDS, 4 * statistics.median(self.seconds))
        now = time.monotonic()
        for handle, piece in list(self.running.items()):
            twins = [other for other, theirs in self.running.items() if theirs.ranges == piece.ranges]
            if now - max(self.running[twin].since for twin in twins) < patience:
                continue
            if piece.is_merge:  # its sums stand on a worker that does not answer: do them again
                del self.running[handle]
                self.workers.drop(handle)
                self._again(piece.ranges, "no answer")
            elif len(twins) < ATTEMPTS:
                other = self.workers.submit(self.part, inputs, *piece.ranges[0], avoid=handle)
                self.running[other] = Piece(piece.ranges, now)

    # -------------------------------------------------------------------------------- sums
    def _collect(self, sums):
        """Bring finished sums here."""
        for handle, piece in list(self.done.items()):
            del self.done[handle]
            try:
                value = self.workers.fetch(handle)
            except Lost as error:
                self._again(piece.ranges, error)
            else:
                _add(sums, value, piece.ranges)

    def _finish_here(self, inputs, sums, report, error):
        """Do the rest in this process: slower, but it ends."""
        warnings.warn(
            f"executor has failed ({error}); the neurons that are left are done in this process",
            ExecutorWarning,
            stacklevel=2,
        )
        self.running.clear()
        self.waiting.clear()
        remote.add_here(self.problem, inputs, self.part, sums, report=report)


def _add(sums, states, ranges):
    for accumulator, state in zip(sums.accumulators, states, strict=True):
        accumulator.add_state(state)
    sums.cover(ranges)


def split(ranges, workers, exact):
    """Tasks for the neurons of some ranges: whole chunks, a few tasks for each worker."""
    chunks = sum(-(-count // CHUNK) for _, count in ranges)
    each = max(-(-chunks // (TASKS_EACH * workers)), min(CHUNKS_EACH, -(-chunks // workers)))
    size = each * CHUNK
    if exact:  # any split will do: as even as can be
        neurons = sum(count for _, count in ranges)
        tasks = -(-neurons // size)
        size = -(-neurons // (-(-tasks // workers) * workers * 512)) * 512
    return [
        (start, min(size, first + count - start))
        for first, count in ranges
        for start in range(first, first + count, size)
    ]


class Pool(Workers):
    """The workers of a concurrent.futures executor: threads, processes, or an MPI pool.

    The problem travels with the first tasks, and with those of workers that turn out not to have it.
    """

    def __init__(self, executor, threads=None):
        self.executor, self.threads = executor, threads or 1
        self.is_here = isinstance(executor, concurrent.futures.ThreadPoolExecutor)
        self.problem = self.token = None
        self.to_send = 0

    @property
    def count(self):
        return getattr(self.executor, "_max_workers", None) or available_cpus()

    def start(self, problem):
        if self.problem is problem:
            return
        self.problem, self.token, self.to_send = problem, uuid.uuid4().hex, self.count
        if not self.is_here:
            try:
                require_version(self.executor.submit(importlib.metadata.version, "fastntk").result)
            except concurrent.futures.BrokenExecutor as error:
                raise Broken(error) from error

    def submit(self, part, inputs, first, count, avoid=None):
        try:
            if self.is_here:
                run = remote.add_range
                return self.executor.submit(run, self.problem, inputs, part, first, count, self.threads)
            problem = self.problem if self.to_send > 0 else None
            self.to_send -= problem is not None
            task = remote.Task(self.token, problem, part, first, count, self.threads)
            return self.executor.submit(remote.run_task, task)
        except concurrent.futures.BrokenExecutor as error:
            raise Broken(error) from error

    def wait(self, handles, seconds):
        first = concurrent.futures.FIRST_COMPLETED
        return concurrent.futures.wait(handles, seconds, return_when=first).done

    def result(self, handle):
        try:
            value = handle.result()
        except concurrent.futures.BrokenExecutor as error:
            raise Broken(error) from error
        except concurrent.futures.CancelledError as error:
            raise Lost("cancelled") from error
        if value is None:
            self.to_send += 1
            raise Unknown
        return value


def require_version(ask):
    """Raise unless ``ask()``, the version of the package on a worker, is the version here."""
    try:
        theirs = ask()
    except ImportError as error:
        raise ImportError(
            f"the workers of executor cannot import fastntk ({error}). Install it in their environment, the "
            f"same version as here ({_version.__version__})."
        ) from error
    if theirs != _version.__version__:
        raise RuntimeError(
            f"the workers of executor have fastntk {theirs}, here is {_version.__version__}. Install one "
            f"version everywhere."
        )


def as_workers(executor, threads=None):
    """The workers of an executor or a Dask client; None for None."""
    if executor is None:
        return None
    if isinstance(executor, concurrent.futures.Executor):
        return Pool(executor, threads)
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(executor, distributed.Client):
        from .dask_workers import DaskWorkers

        return DaskWorkers(executor, threads)
    raise TypeError(
        f"executor is {executor!r}; it must be a concurrent.futures.Executor (such as ProcessPoolExecutor, "
        f"or mpi4py's MPIPoolExecutor) or a dask.distributed.Client."
    )
