"""The sweep: workers take neuron ranges, each adds into its own accumulators, the sums are merged."""

from .chunk import Chunk
from .workers import run_workers


def sweep(plan, kernels, neurons, inputs, make_accumulators, report=None):
    """Add every range of the plan; the merged accumulators, in the order they were made.

    ``report(count)`` is called in the calling thread after each range.  On an exception or Ctrl-C the
    workers finish the range they are in, and the exception goes on.
    """

    def work(ranges):
        accumulators = make_accumulators()
        chunk = Chunk(kernels, neurons, inputs, ranges.stopped)
        for first, count in ranges:
            chunk.move_to(first, count)
            for accumulator in accumulators:
                accumulator.add(chunk)
            ranges.report(count)
        return accumulators

    results = run_workers(work, plan.ranges, plan.threads, report)
    merged = results[0]
    for other in results[1:]:
        for left, right in zip(merged, other, strict=True):
            left.merge(right)
    return merged
