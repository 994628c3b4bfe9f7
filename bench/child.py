"""What runs in a fresh interpreter: ``python -m bench.child TASK '{"argument": value}'`` prints JSON."""

import json
import resource
import sys
import threading
from pathlib import Path
from time import perf_counter


def peak_bytes(n, d, width):
    """Peak resident memory of one process that computes one kernel."""
    from .workloads import fastntk_kernel, inputs

    fastntk_kernel(inputs(n, d), width, threads=2)
    if sys.platform == "linux":
        return _resident("VmHWM")  # ru_maxrss begins at the peak of the process that started this one
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_bytes(n, d, width, limit, folder):
    """Peak of the memory that is no file's, of a process that writes one kernel to disk; Linux only."""
    from .workloads import fastntk_kernel, inputs

    done, peaks = threading.Event(), [0]

    def watch():
        while not done.wait(0.002):
            peaks.append(_resident("RssAnon"))

    watching = threading.Thread(target=watch)
    watching.start()
    fastntk_kernel(inputs(n, d), width, threads=2, out=f"{folder}/{n}.npy", memory_limit=limit)
    done.set()
    watching.join()
    return max(peaks)


def training_bytes(n, d, width):
    """Peak memory of a training run beyond the weights, in a process that has trained before; Linux only."""
    from .workloads import fastntk_training, regression

    def train(problem):
        return fastntk_training(problem, 3, record_every=1, threads=2)

    train(regression(64, d, 4096))  # imports, compiles, starts the threads
    problem = regression(n, d, width)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here
    train(problem)
    return _resident("VmHWM") - before - 4 * width * d


def _resident(entry):
    """An entry of the process's memory, in bytes; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


def import_seconds():
    start = perf_counter()
    import fastntk  # noqa: F401

    return perf_counter() - start


def first_call_seconds():
    """From the import to the first small kernel."""
    start = perf_counter()
    from .workloads import fastntk_kernel, inputs

    fastntk_kernel(inputs(20, 8), 100)
    return perf_counter() - start


def hidden_against_numpy(quick):
    from .against_numpy import hidden_small_inputs
    from .cores import two_cores

    with two_cores():
        return hidden_small_inputs(quick).record()


def operation_seconds(names, quick):
    """Best of three of each operation, for compare.py; None where this version cannot run it."""
    from fastntk.benchmarks.interleave import interleave

    from .cores import two_cores
    from .workloads import operation

    best = {}
    with two_cores():
        for name in names:
            try:
                best[name] = min(interleave({name: operation(name, quick)}, rounds=3)[name])
            except (AttributeError, TypeError, ValueError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                best[name] = None
    return best


TASKS = {
    task.__name__: task
    for task in (
        peak_bytes,
        anonymous_bytes,
        training_bytes,
        import_seconds,
        first_call_seconds,
        hidden_against_numpy,
        operation_seconds,
    )
}

if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    print(json.dumps(TASKS[name](**json.loads(arguments))))
