"""The sweep: workers take neuron ranges, each adds into its own accumulators, the sums are merged."""

import queue
import threading

from .chunk import Chunk, Stopped
from .environment import ieee_arithmetic
from .threads import pool

POLL_SECONDS = 0.2  # how soon an interrupt is seen where signals do not wake a waiting thread


def sweep(plan, kernels, neurons, inputs, make_accumulators, report=None):
    """Add every range of the plan; the merged accumulators, in the order they were made.

    ``report(count)`` is called in the calling thread after each range.  On an exception or Ctrl-C the
    workers finish the range they are in, and the exception goes on.
    """
    remaining = iter(plan.ranges)
    take = threading.Lock()
    stop = threading.Event()
    done: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # neuron counts, then one None from each worker

    def work():
        try:
            with ieee_arithmetic():
                accumulators = make_accumulators()
                chunk = Chunk(kernels, neurons, inputs, stop.is_set)
                while not stop.is_set():
                    with take:
                        current = next(remaining, None)
                    if current is None:
                        break
                    chunk.move_to(*current)
                    for accumulator in accumulators:
                        accumulator.add(chunk)
                    done.put(current[1])
                return accumulators
        except Stopped:
            return None  # the exception that stopped the sweep is on its way
        except BaseException:
            stop.set()  # the other workers need not go on
            raise
        finally:
            done.put(None)

    workers = []
    try:
        workers += [pool().submit(work) for _ in range(plan.threads)]
        running = len(workers)
        while running:
            try:
                count = done.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if count is None:
                running -= 1
            elif report is not None:
                report(count)
        results = [worker.result() for worker in workers]
    except BaseException:
        stop.set()
        for worker in workers:
            worker.cancel()
        for worker in workers:
            if not worker.cancelled():
                worker.exception()  # wait: nothing may still write into the caller's arrays
        raise
    finally:
        del workers  # a future keeps its exception, the exception this frame: no cycle, no late memory
    merged = results[0]
    for other in results[1:]:
        for left, right in zip(merged, other, strict=True):
            left.merge(right)
    return merged
