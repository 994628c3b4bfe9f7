"""Progress reports, and exceptions or Ctrl-C in them."""

import threading
import time

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine.pairs import PairGradient, PairVariance
from fastntk.smoothing import expected_gradient, output_variance, sampled_variance

from .problems import MASKS, arrays, rows, targets

X, Y = rows(40), targets(40, 2)
NARROW = {"network": fn.Network.from_arrays(*arrays(50, outputs=2)), "mask": MASKS["by feature"]}
WIDE = {"network": fn.Network.from_arrays(*arrays(35_000)), "mask": MASKS["by feature"]}
CALLS = {  # and how many neurons, rows or draws there are to do
    "expected_ntk": (lambda **options: fn.expected_ntk(X[:9], **WIDE, **options), 35_000),
    "expected_outputs": (lambda **options: fn.expected_outputs(X[:9], **WIDE, **options), 35_000),
    "output_variance": (lambda **options: output_variance(X, **NARROW, **options), 40),
    "expected_loss": (lambda **options: fn.expected_loss(X, Y, **NARROW, **options).variance, 40),
    "expected_gradient": (lambda **options: gradient(X, **NARROW, **options), 40),
    "sampled_variance": (lambda **options: sampled_variance(X, draws=6, **NARROW, **options).variance, 6),
}


def gradient(X, **options):
    return expected_gradient(X, targets(len(X), 2), **options)


by_call = pytest.mark.parametrize(("call", "total"), CALLS.values(), ids=CALLS)


@by_call
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_reaches_its_total(call, total, threads):
    seen, caller = [], threading.get_ident()

    def progress(done, all_):
        assert threading.get_ident() == caller
        seen.append((done, all_))

    call(progress=progress, threads=threads)
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {total}
    assert list(done) == sorted(done)
    assert done[-1] == total


@by_call
@pytest.mark.parametrize("error", [KeyboardInterrupt, LookupError])
def test_an_exception_of_the_callback_goes_through(call, total, error):
    """And the same call right after it takes its usual course."""

    def stop(done, total):
        raise error("ours")

    before = call()
    with pytest.raises(error, match="ours"):
        call(progress=stop, threads=2)
    np.testing.assert_array_equal(call(), before)


@pytest.mark.parametrize(("kind", "function"), [(PairVariance, output_variance), (PairGradient, gradient)])
def test_ctrl_c_leaves_nothing_running(kind, function, monkeypatch):
    """Stopped at its first report, while another worker is busy: it ends before the exception comes out."""
    busy, add_pairs = [], kind._add_pairs

    def slowly(self, *arguments):
        busy.append(self)
        time.sleep(0.02)
        add_pairs(self, *arguments)
        busy.pop()

    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "_add_pairs", slowly)
    many, started = rows(3000), time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        function(many, progress=stop, threads=2, **NARROW)
    assert not busy
    assert time.perf_counter() - started < 20  # of 60 seconds
    used = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - used < 0.1


@pytest.mark.parametrize("regulariser", ["first-order", "none"])
def test_progress_of_cheap_gradients(regulariser):
    """The argument is that of the exact ones."""
    seen = []
    expected_gradient(X, Y, regulariser=regulariser, progress=lambda *done: seen.append(done), **NARROW)
    assert seen
    assert seen[-1][0] == seen[-1][1]
