"""Safe inside other programs: threads, forks, interrupts, failing callbacks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine import threads as engine_threads

from .subprocesses import run_script

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 12)).astype(np.float32)
NETWORK = fn.Network(width=60_000, dim=12)
MASK = fn.GaussianMask(0.2)


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """What a plain process computes."""
    return run_script("print(digest(1))", cwd=tmp_path_factory.mktemp("plain"))


def test_import_loads_nothing_and_starts_nothing(tmp_path):
    code = """
    import sys, threading
    assert threading.active_count() == 1, threading.enumerate()
    assert "numba" not in sys.modules
    assert "scipy" not in sys.modules
    """
    # the preamble has made a network and a mask by then: only computing compiles
    run_script(code, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_concurrent_calls():
    """Different jobs from four threads at once, on one pool: each gets what it gets alone."""
    jobs = [
        lambda: fn.ntk(X, network=NETWORK, mask=MASK, threads=2),
        lambda: fn.ntk(X, X[:7], network=NETWORK, mask=MASK, layers="both", threads=3),
        lambda: fn.outputs(X, network=NETWORK, mask=MASK, threads=1),
        lambda: fn.activation_pattern(X, network=NETWORK, seed=2, threads=4).packed,
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(4) as callers:
        together = [callers.submit(jobs[k % 4]) for k in range(16)]
        for k, result in enumerate(together):
            np.testing.assert_array_equal(result.result(), alone[k % 4])


def test_concurrent_first_use(tmp_path, digest):
    """Four threads compile, or load from the cache, at the same time."""
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as callers:
        found = {result.result() for result in [callers.submit(digest) for _ in range(4)]}
    assert len(found) == 1
    print(found.pop())
    """
    assert run_script(code, cwd=tmp_path) == digest


def test_fork_after_use(tmp_path, digest):
    """The child has none of the parent's threads; both go on working."""
    code = """
    import os, warnings
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    before = digest()
    child = os.fork()
    if child == 0:
        os._exit(0 if digest() == before else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    print(digest())
    """
    assert run_script(code, cwd=tmp_path) == digest


def test_fork_while_another_thread_sweeps(tmp_path):
    code = """
    import os, threading, warnings
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    before = digest()
    halfway = threading.Event()
    wide = fn.Network(width=3_000_000, dim=5)
    sweep = threading.Thread(
        target=fn.ntk, args=(X,), kwargs={"network": wide, "progress": lambda done, total: halfway.set()}
    )
    sweep.start()
    halfway.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if digest() == before else 1)
    _, status = os.waitpid(child, 0)
    sweep.join()
    assert os.waitstatus_to_exitcode(status) == 0
    """
    run_script(code, cwd=tmp_path)


@pytest.mark.parametrize("layers", ["hidden", "both"])
def test_interrupt(tmp_path, layers, digest):
    """Ctrl-C during a sweep of hours: KeyboardInterrupt within 2 s, and the process goes on."""
    code = """
    import os, signal, sys, threading, time
    digest()
    sent = []
    def interrupt(done, total):
        if not sent:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
    rows = np.random.default_rng(0).standard_normal((300, 16))
    try:
        fn.ntk(rows, network=fn.Network(width=2**31 - 1, dim=16), layers=sys.argv[1], progress=interrupt)
    except KeyboardInterrupt:
        assert time.monotonic() - sent[0] < 2
        print(digest())
    """
    assert run_script(code, layers, cwd=tmp_path) == digest


@pytest.mark.parametrize("call", ["outputs", "ntk"])
def test_interrupt_without_a_progress_callback(tmp_path, digest, call):
    """The waiting main thread sees the signal by itself, and workers stop within a range of neurons.

    16384 neurons take several seconds in the second call.
    """
    code = """
    import os, signal, sys, threading, time
    digest()
    def interrupt():
        time.sleep(0.3)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    sent = []
    vast, many = fn.Network(width=2**31 - 1, dim=5), np.random.default_rng(0).standard_normal((3000, 5))
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        fn.outputs(X, network=vast) if sys.argv[1] == "outputs" else fn.ntk(many, network=vast, layers="both")
    except KeyboardInterrupt:
        assert time.monotonic() - sent[0] < 2
        print(digest())
    """
    assert run_script(code, call, cwd=tmp_path) == digest


@pytest.mark.parametrize("function", [fn.ntk, fn.ntk_diag, fn.outputs, fn.activation_pattern])
def test_an_exception_in_the_callback_ends_the_call(function):
    class Enough(Exception):
        pass

    calls = []
    wide = fn.Network(width=10**6 if function is fn.activation_pattern else 10**9, dim=12)

    def progress(done, total):
        calls.append(done)
        raise Enough

    with pytest.raises(Enough):
        function(X, network=wide, threads=2, progress=progress)
    assert len(calls) == 1
    assert function(X, network=NETWORK) is not None


def test_an_interrupted_call_leaves_no_work_behind():
    """Nothing runs on in the pool: workers have stopped when the exception arrives."""

    def progress(done, total):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fn.ntk(X, network=fn.Network(width=10**9, dim=12), threads=2, progress=progress)
    assert engine_threads.pool()._work_queue.empty()
    start = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - start < 0.1


def test_a_callback_may_call_the_library():
    inner = []
    K = fn.ntk(
        X, network=NETWORK, threads=2, progress=lambda done, total: inner.append(fn.ntk(X, network=NETWORK))
    )
    for other in inner:
        np.testing.assert_array_equal(other, K)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("function", "draws"), [(fn.ntk, 3), (fn.ntk_diag, 2), (fn.outputs, None), (fn.activation_pattern, None)]
)
def test_progress_rises_to_the_total(function, draws, threads):
    reports, callers = [], set()

    def progress(done, total):
        reports.append((done, total))
        callers.add(threading.get_ident())

    options = {} if draws is None else {"draws": draws}
    function(X, network=NETWORK, mask=MASK, threads=threads, progress=progress, **options)
    done, totals = zip(*reports, strict=True)
    assert set(totals) == {NETWORK.width * (draws or 1)}
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[-1]
    assert callers == {threading.get_ident()}
