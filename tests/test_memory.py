"""Memory: the estimate covers the peak, does not grow with the width, and everything is given back."""

import gc
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import load

from .samples import some

RNG = np.random.default_rng(0)
MASK = fn.GaussianMask(0.3)


def rows(n, dim, zero_every=None):
    X = RNG.standard_normal((n, dim)).astype(np.float32)
    if zero_every:
        X[::zero_every] = 0
    return X


def measured(call):
    """(peak, left) bytes that NumPy and Python allocate in ``call`` and leave behind, garbage included."""
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
        return peak, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()


NETWORK = fn.Network(width=100_000, dim=16)
GENERAL = fn.Network.from_arrays(RNG.standard_normal((20_000, 16)), RNG.standard_normal(20_000))
SEVERAL = fn.Network.from_arrays(RNG.standard_normal((20_000, 16)), RNG.standard_normal((20_000, 40)))
DEEP = fn.Network(width=2000, dim=300)
SEVERAL_THREADS = {"hidden", "diagonal", "pattern", "outputs"}
# name: (function, shapes of the inputs and perhaps how often a row is zero, options)
CASES = {
    "hidden": (fn.ntk, [(1200, 16)], {"network": NETWORK}),
    "output": (fn.ntk, [(700, 16)], {"network": GENERAL, "layers": "output"}),
    "both": (fn.ntk, [(700, 16)], {"network": GENERAL, "layers": "both"}),
    "both, signs": (fn.ntk, [(700, 16)], {"network": NETWORK, "layers": "both"}),
    "zero rows": (fn.ntk, [(700, 16, 5)], {"network": NETWORK}),
    "cross": (fn.ntk, [(900, 16), (300, 16)], {"network": GENERAL, "layers": "both"}),
    "many rows": (fn.ntk, [(1500, 16)], {"network": fn.Network(512, 16)}),
    "many rows, both": (fn.ntk, [(1100, 3)], {"network": fn.Network(99, 3), "layers": "both"}),
    "few rows": (fn.ntk, [(2, 16)], {"network": GENERAL, "layers": "both"}),
    "masked": (fn.ntk, [(600, 300)], {"network": DEEP, "mask": MASK, "draws": 2}),
    "diagonal": (fn.ntk_diag, [(3000, 16)], {"network": NETWORK}),
    "diagonal, both": (fn.ntk_diag, [(1000, 16)], {"network": GENERAL, "layers": "both"}),
    "diagonal, masked": (fn.ntk_diag, [(600, 300)], {"network": DEEP, "mask": MASK}),
    "pattern": (fn.activation_pattern, [(1000, 16)], {"network": NETWORK}),
    "bfloat16": (fn.ntk, [(1000, 300)], {"network": fn.Network(20_000, 300, dtype="bfloat16")}),
    "bfloat16, few features": (
        fn.ntk_diag,
        [(3000, 2)],
        {"network": fn.Network(20_000, 2, dtype="bfloat16")},
    ),
    "pattern, zero rows": (fn.activation_pattern, [(1000, 16, 5)], {"network": NETWORK}),
    "outputs": (fn.outputs, [(1000, 16)], {"network": GENERAL}),
    "outputs, few rows": (fn.outputs, [(2, 16)], {"network": NETWORK}),
    "several outputs": (fn.outputs, [(1000, 16)], {"network": fn.Network(100_000, 16, outputs=30)}),
    "several outputs, few rows": (fn.outputs, [(2, 16)], {"network": SEVERAL}),
    "more outputs than rows": (fn.outputs, [(30, 16, 5)], {"network": fn.Network(5000, 16, outputs=900)}),
    "kernel of several outputs": (fn.ntk, [(700, 16)], {"network": SEVERAL, "layers": "both"}),
    "diagonal of several outputs": (fn.ntk_diag, [(700, 16)], {"network": SEVERAL}),
    "outputs, masked": (fn.outputs, [(600, 300)], {"network": DEEP, "mask": MASK}),
}


QUICK = "hidden", "both", "cross", "masked", "diagonal, masked", "bfloat16", "pattern, zero rows", "outputs"


@pytest.mark.parametrize("name", some(CASES, *QUICK))
def test_the_estimate_covers_the_peak(name):
    """A limit just below what the call really takes must be refused: the estimate is above it."""
    function, shapes, options = CASES[name]
    inputs = [rows(*shape) for shape in shapes]  # the caller's, made before the measurement
    options = {"threads": 3 if name in SEVERAL_THREADS else 1, **options}
    peak, left = measured(lambda: function(*inputs, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        function(*inputs, memory_limit=peak - 1, **options)


def test_inputs_are_packed_once_whatever_the_threads(monkeypatch):
    """Also where workers start at the same time: what they share is made before them, not by each."""
    kernels, packed = load(), []
    forward = kernels.forward("float32")
    counting = SimpleNamespace(
        inputs=lambda X: packed.append(len(X)) or forward.inputs(X),
        scratch=forward.scratch,
        scratch_bytes=forward.scratch_bytes,
        pattern=forward.pattern,
    )
    monkeypatch.setattr(kernels, "forward", {"float32": counting}.get)
    fn.ntk_diag(rows(20_000, 50), network=fn.Network(4096, 50), threads=4)
    assert packed == [20_000]


@pytest.mark.parametrize("function", [fn.ntk, fn.ntk_diag, fn.outputs, fn.activation_pattern])
def test_a_refused_call_has_allocated_nothing(function):
    """One bool for each value, to find NaN and infinities, is all that comes before the estimate."""
    X = rows(2000, 300)

    def refused():
        with pytest.raises(MemoryError):
            function(X, network=DEEP, mask=MASK, memory_limit=1000)

    peak, left = measured(refused)
    assert peak < X.size + 100_000
    assert left < 100_000


def test_memory_does_not_depend_on_the_width():
    """Of a kernel, not of a pattern, which is the width's by nature."""
    X = rows(200, 16)
    for layers in ("hidden", "both"):
        peaks = [
            measured(lambda m=m, c=layers: fn.ntk(X, network=fn.Network(m, 16), layers=c, threads=2))[0]
            for m in (50_000, 300_000)
        ]
        assert peaks[1] < peaks[0] + 1_000_000  # the weights alone would be 16 MB more, the bits 6 MB


def test_a_failed_call_gives_its_memory_back():
    X = rows(600, 16)

    def failing():
        def progress(done, total):
            raise RuntimeError

        with pytest.raises(RuntimeError):
            fn.ntk(X, network=NETWORK, layers="both", threads=2, progress=progress)

    _, left = measured(failing)
    assert left < 100_000
