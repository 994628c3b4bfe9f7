"""One value, or a few, for each row, from sums over neurons."""

import numpy as np

from .neuron_sums import plan_sums
from .problem import Part
from .runs import Run


def row_values(problem, values, draws, finish, options, checkpoint=None, executor=None):
    """The mean over some draws of ``finish(sums, inputs)``: (n, values) float64.

    ``sums`` is a list of arrays, one of each quantity, for the rows that ``inputs`` has; what is finished may
    be (rows,) or (rows, values).
    """
    n = len(problem.sides[0].X)
    if executor is not None:
        options = options._replace(threads=None)  # they are a task's
    plan = plan_sums(
        problem.neurons, problem.quantities, n, None, options, values=values, result_bytes=40 * n * values
    )
    total = np.zeros((n, values))
    run = Run(
        problem,
        [Part(draw, (0, n)) for draw in draws],
        plan,
        progress=options.progress,
        checkpoint=checkpoint,
        executor=executor,
        kept={"total": total} if len(draws) > 1 else {},
    )
    for _, (inputs,), sums in run:
        finished = finish([accumulator.finish() for accumulator in sums.accumulators], inputs)
        total += inputs.spread_rows(finished.reshape(-1, values))
    return total / len(draws)
