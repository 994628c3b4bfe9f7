"""A sweep on workers elsewhere: ranges of neurons are tasks, and a lost one is done again.

What a task returns are integers (the states of accumulators), so sums may be merged anywhere, in any order.
"""

import logging
import statistics
import time
import warnings
from collections import Counter, deque
from contextlib import suppress
from typing import Any, NamedTuple

from . import remote
from .task_sizes import Uncut
from .workers_elsewhere import Broken, Cancelled, Lost, NoWorkers, Unknown

POLL_SECONDS = 0.2
ATTEMPTS = 4  # of a range, before its failure is the caller's
STALLED_SECONDS = 60.0  # a task that takes longer, and four times as long as others, is done elsewhere too
COLLECT_SECONDS = 30.0  # how long sums may be on a worker, which may die, before they are fetched

log = logging.getLogger("fastntk")


class ExecutorWarning(UserWarning):
    """Workers of an executor that were lost: what they had is done again, and the result is the same.

    Examples
    --------
    >>> import warnings, fastntk as fn
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", fn.ExecutorWarning)  # rather an exception than another try
    ...     K = fn.ntk([[1.0]], network=fn.Network(width=1000, dim=1))
    """


class Piece(NamedTuple):
    """A task on its way, or sums that are finished, and the ranges in them."""

    ranges: list[tuple[int, int]]
    since: float  # when the task was submitted
    is_merge: bool = False
    age_from: float | None = None  # when the oldest of its sums was finished

    @property
    def neurons(self):
        return _total(self.ranges)


class DistributedSweep:
    """The neurons of one part on workers; a context that leaves no task behind.

    Each neuron that the sums lack is in one place: uncut, in a running piece (which may have twins, the same
    range on another worker), or in a finished one.
    """

    def __init__(self, workers, problem, part):
        self.workers, self.problem, self.part = workers, problem, part
        self.uncut: Any = None  # an Uncut, once there are workers
        self.running: dict = {}  # handle: Piece
        self.finished: dict = {}  # handle: Piece
        self.attempts: Counter = Counter()
        self.seconds: deque = deque(maxlen=64)  # that tasks took, the last ones
        self.lacking: int | None = None  # neurons, at first
        self.neurons = self.told = 0  # added up so far, here or on workers; reported so far
        self.lost: list = []  # reasons
        self.has_workers, self.is_broken = True, False
        self.begun = self.last_end = time.monotonic()

    def __enter__(self):
        return self.advance

    def __exit__(self, kind, error, traceback):
        self._drop_all()

    def _drop_all(self):
        for handle in [*self.running, *self.finished]:
            self.workers.drop(handle)
        self.running.clear()
        self.finished.clear()

    def advance(self, inputs, sums, report, deadline):
        """Add to ``sums`` what it lacks, or what there is at the deadline."""
        if sums.accumulators is None:
            sums.accumulators = self.problem.accumulators(inputs)
        if self.lacking is None:
            self.lacking = _total(sums.gaps(self.problem.neurons.width))
        if not self.is_broken:
            try:
                self._advance(inputs, sums, report, deadline)
            except Broken as error:
                self._give_up(sums, error)
        if self.is_broken:
            self._advance_here(inputs, sums, report, deadline)

    def _advance(self, inputs, sums, report, deadline):
        self.workers.start(self.problem)
        if self.uncut is None:
            exact = all(quantity.exact for quantity in self.problem.quantities)
            gaps = sums.gaps(self.problem.neurons.width)
            self.uncut = Uncut(gaps, exact, self.workers.count)
            self.begun = time.monotonic()
        while True:
            self._submit(inputs)
            for handle in self.workers.wait(list(self.running), POLL_SECONDS):
                self._end(handle, sums)
            self._look_after_the_slow(inputs)
            is_over = time.monotonic() >= deadline or not (self.uncut or self.running)
            self._collect(sums, everything=is_over)
            self._warn()
            self._tell(report)
            if is_over:
                return

    # ------------------------------------------------------------------------------- tasks
    def _submit(self, inputs):
        """Keep every worker busy, and a task for each in reserve."""
        workers = self.workers.count
        while self.uncut and len(self.running) < 2 * max(workers, 1):
            one = self.uncut.take(workers, self._speed(workers))
            try:
                handle = self.workers.submit(self.part, inputs, *one)
            except NoWorkers:
                self.uncut.put_back(one)
                return
            except BaseException:
                self.uncut.put_back(one)
                raise
            self.running[handle] = Piece([one], time.monotonic())

    def _speed(self, workers):
        """Neurons a second of one worker, None before the first task has ended."""
        if not (self.seconds and workers):
            return None
        return self.neurons / max(self.last_end - self.begun, 1e-3) / workers

    def _end(self, handle, sums):
        """Take what a task has come to."""
        piece = self.running.pop(handle, None)
        if piece is None:
            return  # a twin of one that was faster
        try:
            value = self.workers.result(handle)
        except Unknown:
            if not self._twins(piece):
                self.uncut.put_back(piece.ranges[0])
            return
        except (Lost, MemoryError) as error:
            if not self._twins(piece):
                self._again(piece, error, was_finished=piece.is_merge)
            return
        now = time.monotonic()
        if not piece.is_merge:
            self.last_end = now
            self.seconds.append(now - piece.since)
            self.neurons += piece.neurons
            for twin in self._twins(piece):
                del self.running[twin]
                self.workers.drop(twin)
        if not self.workers.merges:
            _add(sums, value, piece.ranges)
            return
        self.finished[handle] = piece if piece.is_merge else piece._replace(age_from=now)
        young = [one for one, theirs in self.finished.items() if now - theirs.age_from < COLLECT_SECONDS]
        if len(young) > 1:
            a, b = (self.finished.pop(one) for one in young[:2])
            both = self.workers.merge(*young[:2])
            self.running[both] = Piece(a.ranges + b.ranges, now, True, min(a.age_from, b.age_from))

    def _twins(self, piece):
        return [handle for handle, other in self.running.items() if other.ranges == piece.ranges]

    def _again(self, piece, error, was_finished):
        """The ranges of a piece that was lost are done once more."""
        self.neurons -= piece.neurons if was_finished else 0
        for one in piece.ranges:
            self.attempts[one] += not isinstance(error, Cancelled)
            if self.attempts[one] < ATTEMPTS:
                self.uncut.put_back(one)
            elif isinstance(error, MemoryError):
                raise error
            else:
                raise RuntimeError(
                    f"neurons {one[0]} to {sum(one) - 1} were lost {ATTEMPTS} times on the workers of "
                    f"executor, at last: {error}. See the workers' logs: they may be short of memory."
                ) from error
        self.lost.append(error)

    def _look_after_the_slow(self, inputs):
        """Give what takes too long to another worker as well."""
        now = time.monotonic()
        has_workers = self.workers.count > 0
        if not has_workers:  # nobody is slow where nobody is
            self.running = {handle: piece._replace(since=now) for handle, piece in self.running.items()}
            if self.has_workers:
                warnings.warn("executor has no workers; waiting for some", ExecutorWarning, stacklevel=2)
        self.has_workers = has_workers
        usual = 4 * statistics.median(self.seconds) if self.seconds else 10 * STALLED_SECONDS
        patience = max(STALLED_SECONDS, usual)
        for handle, piece in list(self.running.items()):
            twins = self._twins(piece)
            if now - max((self.running[twin].since for twin in twins), default=now) < patience:
                continue
            if piece.is_merge:  # its sums are on a worker that does not answer
                del self.running[handle]
                self.workers.drop(handle)
                self._again(piece, Lost("no answer"), was_finished=True)
            elif len(twins) < ATTEMPTS:
                log.info("neurons from %d on have taken %.0f s: once more", piece.ranges[0][0], patience)
                with suppress(NoWorkers):
                    other = self.workers.submit(self.part, inputs, *piece.ranges[0], avoid=twins)
                    self.running[other] = piece._replace(since=now)
            else:
                raise Broken(f"no answer for {ATTEMPTS * patience:.0f} s")

    # -------------------------------------------------------------------------------- sums
    def _collect(self, sums, everything):
        """Bring finished sums here, or those of them that have been elsewhere for long."""
        now = time.monotonic()
        for handle, piece in list(self.finished.items()):
            if not everything and now - piece.age_from < COLLECT_SECONDS:
                continue
            del self.finished[handle]
            try:
                value = self.workers.fetch(handle)
            except Lost as error:
                self._again(piece, error, was_finished=True)
            else:
                _add(sums, value, piece.ranges)

    def _give_up(self, sums, error):
        """The rest is for this process: slower, but it ends."""
        self._drop_all()
        self.is_broken = True
        left = _total(sums.gaps(self.problem.neurons.width))
        self.neurons = self.lacking - left
        warnings.warn(
            f"executor has failed ({error}); the {left} neurons that are left are done in this process",
            ExecutorWarning,
            stacklevel=2,
        )

    def _advance_here(self, inputs, sums, report, deadline):
        def tell(count):
            self.neurons += count
            self._tell(report)

        remote.add_here(self.problem, inputs, self.part, sums, report=tell, deadline=deadline)

    # ----------------------------------------------------------------------------- reports
    def _tell(self, report):
        """Report what has been added up since; neurons that were lost are not reported twice."""
        report(max(self.neurons - self.told, 0))
        self.told = max(self.neurons, self.told)

    def _warn(self):
        if self.lost:
            reasons = ", ".join(sorted({f"{error}" for error in self.lost}))
            message = f"a worker was lost ({reasons}); what it had is done again"
            self.lost.clear()
            warnings.warn(message, ExecutorWarning, stacklevel=2)


def _add(sums, states, ranges):
    sums.cover(ranges)  # raises where a neuron would be in them twice
    for accumulator, state in zip(sums.accumulators, states, strict=True):
        accumulator.add_state(state)


def _total(ranges):
    return sum(count for _, count in ranges)
