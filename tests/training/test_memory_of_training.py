"""Memory of training: the estimate comes before anything is allocated and covers the peak."""

import gc
import tracemalloc

import numpy as np
import pytest

import fastntk as fn

from ..samples import some
from .problems import columns, rows, targets, train


def measured(call):
    """(peak, left) bytes that NumPy and Python allocate in ``call`` and leave behind."""
    result = call()  # compiled, imported, cached
    del result
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        peak = tracemalloc.get_traced_memory()[1] - before
        del result
        gc.collect()
        return peak, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()


RNG = np.random.default_rng(0)
WIDE = fn.Network(width=100_000, dim=16)
GENERAL = fn.Network.from_arrays(RNG.standard_normal((40_000, 16)), RNG.standard_normal((40_000, 3)))
CASES = {
    "virtual": (300, {"network": WIDE}),
    "given": (300, {"network": GENERAL}),
    "several outputs": (300, {"network": fn.Network(60_000, 16, outputs=4)}),
    "batches": (2000, {"network": fn.Network(20_000, 16), "batch_size": 100}),
    "many rows": (3000, {"network": fn.Network(2000, 16)}),
    "everything recorded": (
        700,
        {"network": fn.Network(5000, 16), "eigenvalues_every": 1, "audit_every": 1, "record_every": 1},
    ),
    "rule": (700, {"network": fn.Network(3000, 16), "step_size": None}),
    "very many rows of one feature": (60_000, {"network": fn.Network(50, 1), "step_size": 1e-6}),
    "very many rows and outputs": (20_000, {"network": fn.Network(300, 4, outputs=12), "step_size": 1e-6}),
    "few rows": (2, {"network": GENERAL}),
    "many features": (500, {"network": fn.Network(2000, 300)}),
    "three threads": (300, {"network": WIDE, "threads": 3}),
}


QUICK = "virtual", "batches", "rule", "very many rows of one feature", "few rows"


@pytest.mark.parametrize("name", some(CASES, *QUICK))
def test_the_estimate_covers_the_peak(name):
    """A limit just below what the call really takes must be refused."""
    n, options = CASES[name]
    net = options["network"]
    X = rows(n, net.dim)
    y = columns(targets(n, net.outputs)) if net.outputs > 1 else targets(n)
    options = {"threads": 1, "steps": 2, "step_size": 1e-3, **options}
    peak, left = measured(lambda: train(X, y, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        train(X, y, memory_limit=peak - 1, **options)


def test_a_refused_call_has_allocated_nothing():
    """One bool for each value, to find NaN and infinities, and copies of y, come before the estimate."""
    X, y = rows(3000, 300), targets(3000)
    net = fn.Network(10**6, 300)

    def refused():
        with pytest.raises(MemoryError, match=r"1,?000,?000 neurons|width|neurons"):
            train(X, y, network=net, memory_limit=10**6)

    peak, left = measured(refused)
    assert peak < X.size + 40 * len(y) + 100_000
    assert left < 100_000


def test_weights_that_do_not_fit():
    """4 m d bytes whatever else: refused at once."""
    with pytest.raises(MemoryError):
        train(rows(10, 64), targets(10), network=fn.Network(2**31 - 1, 64), memory_limit=10**9)


def test_out_is_the_callers_memory():
    """The trained weights in an array of the caller's take nothing of the limit."""
    X, y, options = rows(50, 16), targets(50), {"network": WIDE, "steps": 1, "threads": 1, "step_size": 1e-3}
    out = np.empty((100_000, 16), np.float32)
    own = measured(lambda: train(X, y, **options))[0]
    lent = measured(lambda: train(X, y, out=out, **options))[0]
    assert lent < own - 0.9 * out.nbytes


def test_a_failed_call_gives_its_memory_back():
    X, y = rows(300, 16), targets(300)

    def progress(done, total):
        raise LookupError

    def failing():
        with pytest.raises(LookupError):
            train(X, y, network=WIDE, steps=3, step_size=1e-3, progress=progress)

    assert measured(failing)[1] < 100_000
