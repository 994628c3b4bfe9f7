"""Interleaved timing: what disturbs the machine disturbs both sides."""

from time import perf_counter, sleep

PAUSE = 0.1  # seconds after which the idle threads of PyTorch and OpenBLAS no longer spin


def interleave(operations, rounds):
    """Seconds of each operation, ``rounds`` times each: {name: [seconds, ...]}.

    ``operations`` maps names to calls without arguments.  Each runs once untimed (compilation, first
    touch of memory); then all run in turn, the order reversed from round to round.
    """
    for call in operations.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in operations}
    order = list(operations)
    for _ in range(rounds):
        for name in order:
            start = perf_counter()
            operations[name]()
            seconds[name].append(perf_counter() - start)
        order.reverse()
    return seconds


def interleave_turns(turns, rounds):
    """The same for calls that return their seconds themselves, and for pools of threads that spin when idle.

    A turn measures what comes in numbers, such as the steps of a training run, and leaves out what comes
    first: compilation, copies, a cache that another left behind.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    order = list(turns)
    for _ in range(rounds):
        for name in order:
            sleep(PAUSE)
            seconds[name].append(turns[name]())
        order.reverse()
    return seconds


def repeated(call, times):
    """A turn: seconds of a call, the mean over ``times`` calls after an untimed one."""

    def turn():
        call()
        start = perf_counter()
        for _ in range(times):
            call()
        return (perf_counter() - start) / times

    return turn
