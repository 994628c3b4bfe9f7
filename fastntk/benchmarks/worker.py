"""A process for one method: it is told what to prepare, times it when it is its turn, and lets go of it.

A method has the processors that its process is given, whatever its library would take; its peak of memory
is that of the process; and no library's idle threads are in another one's way.
"""

import multiprocessing
import signal
from contextlib import contextmanager
from multiprocessing import resource_tracker
from time import perf_counter
from typing import Any

import numpy as np

from .agreement import difference
from .cores import on_cores
from .memory import MEASURED, give_back, resident, restart_peak
from .problem import Problem

SHORTEST = 0.05  # seconds of a turn: shorter calls are repeated, and the mean counts
MOST_REPEATS = 50
TINY = {"n": 16, "d": 4, "width": 512}  # what a process computes first


class MethodFailed(Exception):
    """A method's process raised, or died; the message says what."""


class Worker:
    """The process of a method, on so many processors; it begins while others do."""

    def __init__(self, method, threads):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (method, threads, theirs)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with on_cores(threads), _ctrl_c_held():  # the child inherits both, before it imports anything
            self._process.start()
        theirs.close()
        self._connection.send(("start",))
        self._started = False

    def prepare(self, problem, expected=None, keep=None):
        """Compute once, check against the file ``expected`` or write the file ``keep``, and measure.

        Returns {"difference", "peak_bytes"}: the bytes of the inputs, and of a call beyond what stays.
        """
        return self._ask("prepare", problem, expected, keep)

    def time(self):
        """Seconds of a call: the mean over as many as make a turn."""
        return self._ask("time")

    def release(self):
        """Let go of the problem."""
        return self._ask("release")

    def close(self):
        """End the process."""
        self._process.terminate()
        self._process.join()
        self._connection.close()

    def _ask(self, *question):
        try:
            if not self._started:
                self._started = True
                _, error = self._connection.recv()
                if error is not None:
                    raise MethodFailed(error)
            self._connection.send(question)
            answer, error = self._connection.recv()
        except (EOFError, OSError) as lost:
            self._process.join(1)
            code = self._process.exitcode
            raise MethodFailed(f"its process ended with status {code}, perhaps out of memory") from lost
        if error is not None:
            raise MethodFailed(error)
        return answer


@contextmanager
def _ctrl_c_held():
    """Ctrl-C reaches all processes of a terminal, and is the parent's, who ends the others."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(method, threads, connection):
    """The child: questions in, (answer, error) out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it came with no mask
    desk = _Desk(method, threads)
    while True:
        try:
            name, *arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((getattr(desk, name)(*arguments), None))
        except Exception as error:
            desk.release()
            connection.send((None, f"{type(error).__name__}: {error}"))


def _resident():
    return resident() if MEASURED else 0


class _Desk:
    """What a worker has at hand."""

    def __init__(self, method, threads):
        self.method, self.threads = method, threads
        self.call: Any = None
        self.repeats = 1

    def start(self):
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        self.begin = self.method.load()
        threadpool_limits(self.threads)
        self.begin(Problem(**TINY, threads=self.threads))()

    def prepare(self, problem, expected, keep):
        give_back()
        before = _resident()
        self.call = self.begin(problem)
        inputs = _resident() - before
        K = self.call()  # compiles for these sizes
        apart = 0.0
        if keep is not None:
            np.save(keep, K)
        if expected is not None:
            apart = difference(K, np.load(expected), problem.X)
        del K
        give_back()
        if MEASURED:
            restart_peak()
        between = _resident()
        start = perf_counter()
        self.call()
        seconds = perf_counter() - start
        peak = inputs + resident("VmHWM") - between if MEASURED else None
        self.repeats = min(MOST_REPEATS, max(1, round(SHORTEST / seconds)))
        return {"difference": apart, "peak_bytes": peak}

    def time(self):
        start = perf_counter()
        for _ in range(self.repeats):
            self.call()
        return (perf_counter() - start) / self.repeats

    def release(self):
        self.call = None
