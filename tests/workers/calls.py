"""The calls that take an executor, on data of every kind, and what they give without one."""

import functools

import numpy as np

import fastntk as fn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 7)).astype(np.float32)
X[3] = X[17] = 0.0
Y = RNG.standard_normal((11, 7)).astype(np.float32)
MASK = fn.GaussianMask(0.2)
WIDTH = 150_001
NETWORK = fn.Network(WIDTH, 7, seed=1)
SEVERAL = fn.Network(WIDTH, 7, seed=2, outputs=3)
GIVEN = fn.Network.from_arrays(
    RNG.standard_normal((WIDTH, 7), dtype=np.float32), RNG.standard_normal((WIDTH, 2))
)

CALLS = {
    "hidden": functools.partial(fn.ntk, X, network=NETWORK),
    "output": functools.partial(fn.ntk, X, network=NETWORK, layers="output"),
    "both, two draws": functools.partial(fn.ntk, X, network=NETWORK, layers="both", mask=MASK, draws=2),
    "cross": functools.partial(fn.ntk, X, Y, network=NETWORK, mask=(None, MASK), layers="both"),
    "general output weights": functools.partial(fn.ntk, X, network=GIVEN, layers="both", mask=MASK),
    "diagonal": functools.partial(fn.ntk_diag, X, network=NETWORK, mask=MASK, draws=2),
    "diagonal, both": functools.partial(fn.ntk_diag, X, network=GIVEN, layers="both"),
    "outputs": functools.partial(fn.outputs, X, network=NETWORK, mask=MASK),
    "several outputs": functools.partial(fn.outputs, X, network=SEVERAL, mask=MASK),
    "general outputs": functools.partial(fn.outputs, X, network=GIVEN),
}


@functools.cache
def here(name):
    """What a call gives without an executor."""
    return CALLS[name]()


def require_same(name, executor, **options):
    """The call has the same bits on an executor."""
    np.testing.assert_array_equal(CALLS[name](executor=executor, **options), here(name))
