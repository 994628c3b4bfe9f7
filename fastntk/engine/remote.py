"""What runs on a worker elsewhere: a range of neurons of a problem, and the sum of two such sums."""

import threading

from .. import _version
from ..kernels import load
from .environment import in_ieee_arithmetic
from .neuron_sums import plan_sums
from .plan import Options
from .ranges import gaps
from .sweep import Sums, sweep

_lock = threading.Lock()
_held: dict = {}  # in a worker process: the last problem and the last inputs, each under its name


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
            f"this worker has fastntk {_version.__version__}, the caller {task.version}. Install one version "
            f"everywhere."
        )
    if problem is None:
        problem = task.problem
        if problem is not None:
            _hold("problem", task.token, lambda: problem)
        else:
            problem = _held.get(("problem", task.token))
    if problem is None:
        return None
    inputs = _hold("inputs", (task.token, task.part), lambda: problem.inputs(task.part))
    return add_range(problem, inputs, task.part, task.first, task.count, task.threads)


def add_range(problem, inputs, part, first, count, threads):
    """The state of every accumulator after the neurons first .. first + count - 1."""
    sums = Sums(covered=gaps([(first, count)], problem.neurons.width))
    add_here(problem, inputs, part, sums, threads)
    return [accumulator.state() for accumulator in sums.accumulators]


def add_here(problem, inputs, part, sums, threads=None, report=None):
    """Add to ``sums`` what they lack, in this process; raises MemoryError where that does not fit."""
    rows, columns = (None if place is None else place[1] - place[0] for place in (part.rows, part.columns))
    neurons, outputs = problem.neurons, problem.neurons.outputs
    plan = plan_sums(neurons, problem.quantities, rows, columns, Options(threads), values=outputs)
    sweep(plan, load(), neurons, inputs, lambda: problem.accumulators(inputs), report, sums=sums)


def merged(left, right):
    """The sum of two states."""
    return [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(left, right, strict=True)]


def _hold(kind, name, make):
    """What is held under a name; made, in place of the last of its kind, where it is not."""
    with _lock:
        if (kind, name) not in _held:
            for key in [key for key in _held if key[0] == kind]:
                del _held[key]
            _held[kind, name] = make()
        return _held[kind, name]
