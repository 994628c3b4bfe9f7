"""Ctrl-C: the run so far is kept, and goes on to the same bits."""

import threading

import numpy as np
import pytest

import fastntk as fn

from ..samples import some
from ..subprocesses import run_script
from .problems import HISTORY, assert_same, train, weights


def interrupt_at(step):
    def progress(done, total):
        if done >= step:
            raise KeyboardInterrupt

    return progress


def assert_begins(whole, run):
    """An interrupted run has the weights of its steps, and their history perhaps without the last entry."""
    np.testing.assert_array_equal(weights(run), weights(whole))
    for name in HISTORY:
        found, expected = getattr(run, name), getattr(whole, name)
        if found is not None:
            assert len(expected) - 1 <= len(found) <= len(expected), name
            np.testing.assert_array_equal(found, expected[: len(found)], err_msg=name)


@pytest.mark.parametrize("step", some([1, 30], 30))
def test_interrupt_from_the_callback(step, tmp_path):
    """Training does not wait for the callback, and is somewhat further by then."""
    options = {"steps": 2000, "record_every": 3, "eigenvalues_every": 500, "audit_every": 100}
    with pytest.raises(fn.TrainingInterrupted) as caught:
        train(progress=interrupt_at(step), **options)
    assert isinstance(caught.value, KeyboardInterrupt)
    run = caught.value.run
    assert run.status == "interrupted"
    assert step <= run.steps_done < 2000
    assert_begins(train(**{**options, "steps": run.steps_done}), run)
    run.save(tmp_path / "run.npz")
    assert fn.TrainingRun.load(tmp_path / "run.npz").status == "interrupted"
    for state in (run, tmp_path / "run.npz", str(tmp_path / "run.npz")):
        whole = train(resume=state, **options)
        assert whole.status == "finished"
        assert_same(whole, train(**options))


def test_interrupt_again_and_again():
    run, options = None, {"steps": 2000, "record_every": 7}
    for step in (1, 20, 20, 100):
        with pytest.raises(fn.TrainingInterrupted) as caught:
            train(progress=interrupt_at(step), resume=run, **options)
        run = caught.value.run
    assert_same(train(resume=run, **options), train(**options))


def test_interrupt_with_out():
    out = np.zeros((37, 5), np.float32)
    with pytest.raises(fn.TrainingInterrupted) as caught:
        train(progress=interrupt_at(3), out=out, steps=2000)
    np.testing.assert_array_equal(out, weights(caught.value.run))


def test_another_error_of_the_callback_is_passed_on():
    def progress(done, total):
        raise LookupError("ours")

    threads = threading.active_count()
    with pytest.raises(LookupError, match="ours"):
        train(progress=progress)
    assert threading.active_count() <= threads + 1  # of the pool, if any
    assert_same(train(), train())


def test_a_real_signal(tmp_path):
    """SIGINT at any moment of steps on many neurons: the state is that between two steps."""
    code = """
    import os, signal, threading, time
    net = fn.Network(60_000, 5)
    options = dict(network=net, mask=MASK, step_size=0.1, seed=2, record_every=4)
    y = np.linspace(-1, 1, 9)
    fn.train(X, y, steps=2, **options)  # compiled
    for delay in (0.0, 0.03, 0.07):
        started = threading.Event()
        def send():
            started.wait()
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)
        sender = threading.Thread(target=send)
        sender.start()
        try:
            fn.train(X, y, steps=10**6, progress=lambda done, total: started.set(), **options)
            raise SystemExit("not interrupted")
        except fn.TrainingInterrupted as error:
            run = error.run
        sender.join()
        assert run.status == "interrupted"
        assert run.steps_done < 10**5, run.steps_done
        run.save("run.npz")
        done = run.steps_done
        whole = fn.train(X, y, steps=done + 5, **options)
        for state in (run, "run.npz"):
            resumed = fn.train(X, y, steps=done + 5, resume=state, **options)
            assert (resumed.network.weights() == whole.network.weights()).all()
            assert (resumed.clean_loss == whole.clean_loss).all()
    """
    run_script(code, cwd=tmp_path)


@pytest.mark.soak
def test_many_signals(tmp_path):
    """One, two or three of them, a few milliseconds apart: no run hangs, and nearly every one is kept.

    A second signal may come when the run is about to be handed over, and is a KeyboardInterrupt like any
    other then.
    """
    code = """
    import os, signal, threading, time
    options = dict(network=fn.Network(3000, 5), mask=MASK, step_size=0.05, seed=2)
    y, random, kept = np.linspace(-1, 1, 9), np.random.default_rng(0), 0
    for repeat in range(2000):
        started, over = threading.Event(), threading.Event()
        def send():
            started.wait()
            for pause in random.uniform(0, 0.01, repeat % 3 + 1):
                time.sleep(pause)
                if not over.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
        sender = threading.Thread(target=send)
        sender.start()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            fn.train(X, y, steps=10**7, progress=lambda done, total: started.set(), **options)
            raise SystemExit("not interrupted")
        except fn.TrainingInterrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            kept += 1
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            assert repeat % 3 > 0
        over.set()
        sender.join()
        assert not [thread.name for thread in threading.enumerate() if "train" in thread.name]
    assert kept > 1950, kept
    """
    run_script(code, cwd=tmp_path, timeout=300)
