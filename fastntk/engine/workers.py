"""Workers that share tasks: in order, with reports, stopped by an exception or Ctrl-C."""

import queue
import threading

from .chunk import Stopped
from .environment import ieee_arithmetic
from .threads import pool

POLL_SECONDS = 0.2  # how soon an interrupt is seen where signals do not wake a waiting thread


class Tasks:
    """What a worker sees: an iterator over the tasks it gets, ``stopped()``, and ``report(count)``."""

    def __init__(self, tasks, done):
        self._remaining = iter(tasks)
        self._take = threading.Lock()
        self._stop = threading.Event()
        self._done = done
        self.stopped = self._stop.is_set
        self.stop = self._stop.set
        self.report = done.put

    def __iter__(self):
        while not self.stopped():
            with self._take:
                task = next(self._remaining, None)
            if task is None:
                return
            yield task


def run_workers(work, tasks, threads, report=None):
    """The results of ``threads`` calls of ``work(tasks)`` at once, each with the :class:`Tasks` they share.

    What a worker reports is given to ``report`` in the calling thread, and 0 while there is nothing.  On an
    exception or Ctrl-C the workers end where they next look, and the exception goes on.
    """
    done: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # reports, then one None from each worker
    shared = Tasks(tasks, done)

    def worker():
        try:
            with ieee_arithmetic():
                return work(shared)
        except Stopped:
            return None  # the exception that stopped the workers is on its way
        except BaseException:
            shared.stop()  # the others need not go on
            raise
        finally:
            done.put(None)

    workers = []
    try:
        workers += [pool().submit(worker) for _ in range(threads)]
        running = len(workers)
        while running:
            try:
                count = done.get(timeout=POLL_SECONDS)
            except queue.Empty:
                count = 0  # a report may raise, to end the run
            if count is None:
                running -= 1
            elif report is not None:
                report(count)
        return [one.result() for one in workers]
    except BaseException:
        shared.stop()
        for one in workers:
            one.cancel()
        for one in workers:
            if not one.cancelled():
                one.exception()  # wait: nothing may still write into the caller's arrays
        raise
    finally:
        del workers  # a future keeps its exception, the exception this frame: no cycle, no late memory
