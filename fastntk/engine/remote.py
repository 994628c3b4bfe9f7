"""What runs on a worker elsewhere: a range of neurons of a problem, and the sum of two such sums."""

import math

from .. import _version
from ..kernels import load
from .chunk import Stopped
from .environment import in_ieee_arithmetic
from .held import held
from .neuron_sums import plan_sums
from .plan import Options
from .ranges import gaps
from .sweep import Sums, sweep


class Task:
    """One range of neurons of a part.

    ``problem`` is None where the worker should have it already, under ``token``.
    """

    def __init__(self, token, problem, part, first, count, threads):
        self.token, self.problem, self.part = token, problem, part
        self.first, self.count, self.threads = first, count, threads
        self.version = _version.__version__


@in_ieee_arithmetic
def run_task(task, problem=None):
    """The state of every accumulator after the range; None where the problem is not known here."""
    if task.version != _version.__version__:
        raise RuntimeError(
            f"a worker of executor has fastntk {_version.__version__}, the caller {task.version}. Install "
            f"one version everywhere."
        )
    with held(task.token, task.problem if problem is None else problem) as known:
        if known is None:
            return None
        inputs = known.inputs(task.part)
        return range_states(known.problem, inputs, task.part, task.first, task.count, task.threads)


def range_states(problem, inputs, part, first, count, threads, stopped=None):
    """The state of every accumulator after the neurons first .. first + count - 1.

    ``stopped()``, where it is given, is asked a few times a second, and ends the range.
    """

    def stop_if_asked(_):
        if stopped():
            raise Stopped

    sums = Sums(covered=gaps([(first, count)], problem.neurons.width))
    add_here(problem, inputs, part, sums, threads, None if stopped is None else stop_if_asked)
    return [accumulator.state() for accumulator in sums.accumulators]


def add_here(problem, inputs, part, sums, threads=None, report=None, deadline=math.inf):
    """Add to ``sums`` what they lack, in this process; raises MemoryError where that does not fit."""
    rows, columns = (None if place is None else place[1] - place[0] for place in (part.rows, part.columns))
    neurons, outputs = problem.neurons, problem.neurons.outputs
    options = Options(threads, backend=problem.backend)
    plan = plan_sums(neurons, problem.quantities, rows, columns, options, values=outputs)

    def make():
        return problem.accumulators(inputs)

    sweep(plan, load(), neurons, inputs, make, report, sums=sums, deadline=deadline)


def merged(left, right):
    """The sum of two states."""
    return [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(left, right, strict=True)]
