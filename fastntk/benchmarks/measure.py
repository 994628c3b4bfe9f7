"""The run: every problem by all methods in turn, round by round, after all have agreed on the result."""

import tempfile
from pathlib import Path
from time import sleep

import numpy as np

from ..engine.plan import describe_bytes
from .agreement import tolerance
from .cores import on_cores
from .interleave import PAUSE
from .methods import OURS
from .results import Measurement
from .roofline import measure_roofline
from .worker import MethodFailed, Worker

ROOFLINE_SHARE = 0.1  # of the progress bar
PREPARING = 0.5  # of a problem's part of it: two calls or three, and the first ones compile


def measure(results, methods, progress=None):
    """Measure what is not yet measured in ``results``, in place; what is done when Ctrl-C comes stays.

    Parameters
    ----------
    results : Results
    methods : sequence of Method
        Those that can run.
    progress : callable, optional
        ``progress(fraction, stage)``.
    """
    todo = [cell for cell in results.cells if cell not in results.measured]
    weights = np.cumsum([0.0] + [1.0 + cell.work / max(c.work for c in results.cells) * 4 for cell in todo])
    share = 1 - ROOFLINE_SHARE * (results.roofline is None)
    with tempfile.TemporaryDirectory() as scratch, _Crew(methods) as crew:
        for place, cell in enumerate(todo):
            span = share / weights[-1] * weights[place : place + 2]
            step = _Steps(progress, span, _stage(cell))
            kept = Path(scratch) / "kernel.npy"
            results.measured[cell] = _measure_cell(cell, methods, results, crew, kept, step)
    if results.roofline is None:
        if progress is not None:
            progress(share, "single kernels")
        threads, sizes = results.settings["threads"], results.sizes
        with on_cores(threads):
            numkong = any(method.peer == "numkong" for method in methods)
            results.roofline = measure_roofline(threads, sizes.rounds, sizes.kernel_steps, numkong)


def _stage(cell):
    problem = cell.problem
    if cell.quantity == "limit":
        return f"limit, {problem.n:,} rows"
    threads = f"{problem.threads} thread{'s' * (problem.threads > 1)}"
    return f"n={problem.n} d={problem.d} m={problem.width}, {threads}"  # short: a terminal has 30 letters


class _Steps:
    """Called before each step of a problem, with the share that is done: tells the progress."""

    def __init__(self, progress, span, stage):
        self._progress, self._span, self._stage = progress, span, stage

    def __call__(self, share):
        if self._progress is not None:
            first, last = self._span
            self._progress(first + share * (last - first), self._stage)


class _Crew:
    """A worker for each method, all on so many processors; when another number is asked for, new ones."""

    def __init__(self, methods):
        self._methods, self._workers, self._threads = methods, {}, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self._workers.values():
            worker.close()

    def worker(self, method, threads):
        """The worker of a method."""
        if threads != self._threads:
            self.__exit__()
            self._threads = threads
            self._workers = {each: Worker(each, threads) for each in self._methods}
        return self._workers[method]

    def replace(self, method):
        """Begin a new worker in the place of one that failed."""
        self._workers[method].close()
        self._workers[method] = Worker(method, self._threads)


def _measure_cell(cell, methods, results, crew, kept, step):
    """{name: Measurement} of all methods of the cell's quantity on its problem."""
    problem = cell.problem
    methods = [method for method in methods if method.quantity == cell.quantity]
    held = len(methods) * (4.0 * problem.width * problem.d + 8.0 * problem.n * problem.d)
    found, ready = {}, {}
    kept.unlink(missing_ok=True)
    for place, method in enumerate(methods):
        step(PREPARING * place / len(methods))
        one = found[method.name] = Measurement(
            float(method.nbytes(problem.n, problem.d, problem.width, problem.threads))
        )
        one.stopped = _too_large(method, one, cell, held, results)
        if one.stopped is None and not _is_first(method) and not kept.exists():
            one.stopped = "fastntk's result, to compare with, is not there"
        if one.stopped is None:
            worker = crew.worker(method, problem.threads)
            try:
                _prepare(worker, method, one, cell, kept)
            except MethodFailed as failure:
                one.stopped = str(failure)
                crew.replace(method)
        if one.stopped is None:
            ready[method] = worker
    order = list(ready)
    rounds = results.sizes.rounds
    for number in range(rounds):
        for place, method in enumerate(order):
            step(PREPARING + (1 - PREPARING) * (number + place / len(order)) / rounds)
            sleep(PAUSE)
            try:
                found[method.name].seconds.append(ready[method].time())
            except MethodFailed as failure:
                found[method.name].stopped = str(failure)
                crew.replace(method)
        order = [method for method in reversed(order) if found[method.name].stopped is None]
    for method in order:
        ready[method].release()
    return found


def _is_first(method):
    """Whether others are compared with it."""
    return method.name in (OURS, f"{OURS}-limit")


def _prepare(worker, method, one, cell, kept):
    """Compute once, and compare with this package's result, which comes first and is kept in a file."""
    first = _is_first(method)
    answer = worker.prepare(cell.problem, None if first else kept, kept if first else None)
    one.peak_bytes = answer["peak_bytes"]
    if not first:
        one.difference, one.tolerance = answer["difference"], tolerance(cell.problem, cell.quantity)
    if not one.agrees:
        worker.release()
        one.stopped = (
            f"its result is {one.difference:.1e} away from fastntk's, where {one.tolerance:.1e} is allowed"
        )


def _too_large(method, one, cell, held, results):
    """Why a method is not even begun on a problem, or None."""
    limit = results.settings["memory_limit"]
    if one.estimated_bytes + held > limit:
        return (
            f"needs about {describe_bytes(one.estimated_bytes)}"
            + (f", beside {describe_bytes(held)} that all hold" if held > limit / 20 else "")
            + f"; the limit is {describe_bytes(limit)}"
        )
    earlier = [
        measured[method.name].best
        * max(1.0, cell.most_work / other.most_work)
        * (other.problem.threads / cell.problem.threads)
        for other, measured in results.measured.items()
        if other.quantity == cell.quantity
        and other.problem.threads >= cell.problem.threads
        and method.name in measured
        and measured[method.name].seconds
    ]
    if earlier and min(earlier) > results.sizes.longest:
        return f"would take about {min(earlier):.2g} s a call; the limit is {results.sizes.longest:g} s"
    return None
