"""Long runs: one sweep after the other, with progress, checkpoints, and workers elsewhere."""

import math
import time
from contextlib import nullcontext

from ..kernels import load
from .distributed_sweep import DistributedSweep
from .patterns import names_of
from .sweep import Sums, sweep


class Run:
    """The sums of the parts of a problem, in order.

    ::

        for part, inputs, sums in run:   # finished; the parts before a checkpoint are left out
            ...                          # the caller may change the arrays of ``kept``

    The accumulators are gone when the next part begins: both would not fit.

    Parameters
    ----------
    problem : Problem
    parts : list of Part
    plan : Plan
    progress : callable or None
        progress(done, total) in neurons times draws, each part in proportion to its share of the entries.
    checkpoint : Checkpoint or None
        Goes on where it stands, and is saved when due.
    executor : Workers or None
    kept : dict of arrays
        What the caller adds up over the parts: saved and restored with the sums.
    before_save : callable or None
        Puts on the disk what the caller has made of the parts that are done: a save says that it is there.
        The end of the last part is saved then, due or not.
    """

    def __init__(
        self,
        problem,
        parts,
        plan,
        *,
        progress=None,
        checkpoint=None,
        executor=None,
        kept=None,
        before_save=None,
    ):
        self.problem, self.parts, self.plan = problem, parts, plan
        self.progress, self.checkpoint, self.executor = progress, checkpoint, executor
        self.kept, self.before_save = kept or {}, before_save
        self.store = None  # of patterns, where the parts share samples
        self.notes = {}  # JSON values that the caller saves with its position
        self.first, self._saved_sums = 0, None
        if checkpoint is not None and checkpoint.saved is not None:
            self._restore(checkpoint.take())
        self._total = problem.neurons.width * len({part.draw for part in parts})
        self._shares = [share * self._total for share in shares(parts)]
        self._before = sum(self._shares[: self.first])
        self._fraction = 0.0  # of the part at hand

    def __iter__(self):
        try:
            yield from self._finished_sums()
        finally:
            if self.executor is not None:
                self.executor.close()

    def _finished_sums(self):
        width = self.problem.neurons.width
        for number in range(self.first, len(self.parts)):
            part = self.parts[number]
            inputs = self.problem.inputs(part)
            if self.store is not None:
                for side, name in zip(inputs, names_of(part, len(self.problem.sides) == 1), strict=False):
                    side.store, side.name = self.store, name
            sums = self._start(inputs)
            self._fraction = sum(count for _, count in sums.covered) / width
            with self._sweep(part) as advance:
                while sums.gaps(width) or sums.accumulators is None:
                    deadline = math.inf if self.checkpoint is None else self.checkpoint.deadline
                    advance(inputs, sums, lambda count, number=number: self._report(number, count), deadline)
                    if self.checkpoint is not None and sums.gaps(width):
                        self._save(number, sums, since=min(deadline, time.monotonic()))
            self._before += self._shares[number]
            yield part, inputs, sums
            sums.accumulators = None
            if self._is_worth_a_save(number + 1):
                self._save(number + 1, None)

    def _sweep(self, part):
        """A context that gives what adds to the sums of a part."""
        if self.executor is None:
            return nullcontext(self._local)
        return DistributedSweep(self.executor, self.problem, part)

    def _local(self, inputs, sums, report, deadline):
        def make():
            return self.problem.accumulators(inputs)

        sweep(self.plan, load(), self.problem.neurons, inputs, make, report, sums=sums, deadline=deadline)

    def _report(self, number, count):
        self._fraction += count / self.problem.neurons.width
        if self.progress is not None:
            self.progress(round(self._before + self._fraction * self._shares[number]), self._total)

    # -------------------------------------------------------------------------- checkpoints
    def _save(self, number, sums, since=None):
        """Save that the parts before ``number`` are done, and what there is of that one."""
        since = time.monotonic() if since is None else since
        covered, accumulators = ([], []) if sums is None else (sums.covered, sums.accumulators)

        def arrays():
            states = {
                f"sums_{k}_{i}": array
                for k, accumulator in enumerate(accumulators)
                for i, array in enumerate(accumulator.state())
            }
            return states | {f"kept_{name}": array for name, array in self.kept.items()}

        if self.before_save is not None:
            self.before_save()
        self.checkpoint.save({"part": number, "covered": covered, **self.notes}, arrays, since)

    def _is_worth_a_save(self, done):
        """Whether to save that so many parts are done, once one is."""
        if self.checkpoint is None:
            return False
        if self.before_save is not None and done == len(self.parts):
            return True
        return self.checkpoint.is_due and bool(self.kept or self.before_save)

    def _restore(self, saved):
        self.first = saved.position["part"]
        for name, array in self.kept.items():
            array[...] = saved.arrays[f"kept_{name}"]
        covered = [tuple(one) for one in saved.position["covered"]]
        if covered:
            sums = {name: array for name, array in saved.arrays.items() if name.startswith("sums_")}
            self._saved_sums = covered, sums

    def _start(self, inputs):
        """Sums to begin a part with: none, or those of the checkpoint."""
        if self._saved_sums is None:
            return Sums()
        (covered, arrays), self._saved_sums = self._saved_sums, None
        accumulators = self.problem.accumulators(inputs)
        for k, accumulator in enumerate(accumulators):
            names = sorted(name for name in arrays if name.startswith(f"sums_{k}_"))
            accumulator.add_state([arrays[name] for name in names])
        return Sums(accumulators, covered)


def shares(parts):
    """What fraction of all entries each part has."""
    sizes = []
    for part in parts:
        rows, columns = (stop - start for start, stop in (part.rows, part.columns or (0, 1)))
        sizes.append(rows * columns)
    return [size / sum(sizes) for size in sizes]
