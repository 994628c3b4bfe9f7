"""What runs in a fresh interpreter: ``python -m bench.child TASK '{"argument": value}'`` prints JSON."""

import json
import sys
import threading
from time import perf_counter


def peak_bytes(n, d, width):
    """Peak resident memory of one process that computes one kernel; Linux only."""
    from fastntk.benchmarks.memory import resident

    from .operations import fastntk_kernel, inputs

    fastntk_kernel(inputs(n, d), width, threads=2)
    return resident("VmHWM")  # the system's ru_maxrss begins at the peak of the process that started this one


def anonymous_bytes(n, d, width, limit, folder):
    """Peak of the memory that is no file's, of a process that writes one kernel to disk; Linux only."""
    from fastntk.benchmarks.memory import resident

    from .operations import fastntk_kernel, inputs

    done, peaks = threading.Event(), [0]

    def watch():
        while not done.wait(0.002):
            peaks.append(resident("RssAnon"))

    watching = threading.Thread(target=watch)
    watching.start()
    fastntk_kernel(inputs(n, d), width, threads=2, out=f"{folder}/{n}.npy", memory_limit=limit)
    done.set()
    watching.join()
    return max(peaks)


def training_bytes(n, d, width):
    """Peak memory of a training run beyond the weights, in a process that has trained before; Linux only."""
    from fastntk.benchmarks.memory import resident, restart_peak

    from .operations import fastntk_training, regression

    def train(problem):
        return fastntk_training(problem, 3, record_every=1, threads=2)

    train(regression(64, d, 4096))  # imports, compiles, starts the threads
    problem = regression(n, d, width)
    before = resident("VmRSS")
    restart_peak()
    train(problem)
    return resident("VmHWM") - before - 4 * width * d


def import_seconds():
    start = perf_counter()
    import fastntk  # noqa: F401

    return perf_counter() - start


def first_call_seconds():
    """From the import to the first small kernel."""
    start = perf_counter()
    from .operations import fastntk_kernel, inputs

    fastntk_kernel(inputs(20, 8), 100)
    return perf_counter() - start


def hidden_against_numpy(quick):
    from .against_numpy import hidden_small_inputs
    from .cores import two_cores

    with two_cores():
        return hidden_small_inputs(quick).record()


TASKS = {
    task.__name__: task
    for task in (
        peak_bytes,
        anonymous_bytes,
        training_bytes,
        import_seconds,
        first_call_seconds,
        hidden_against_numpy,
    )
}

if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    print(json.dumps(TASKS[name](**json.loads(arguments))))
