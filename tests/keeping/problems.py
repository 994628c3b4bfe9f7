"""Small runs that the tests of keeping share, and ways to stop them."""

import numpy as np

import fastntk as fn

DIM = 6


def rows(n=23, seed=0, zero=()):
    """(n, DIM) inputs; those with an index in ``zero`` are zero, the last is the first."""
    X = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    X[-1] = X[0]
    X[list(zero)] = 0
    return X


X, Y = rows(), rows(11, seed=1)
WITH_ZEROS = rows(zero=(0, 3, 4, 5, 11, 12, 22))
MASK = fn.GaussianMask(0.3)
NETWORK = fn.Network(width=50_001, dim=DIM, seed=3)  # 4 chunks, the last one ragged
_RNG = np.random.default_rng(5)
GENERAL = fn.Network.from_arrays(_RNG.standard_normal((50_001, DIM)), _RNG.standard_normal((50_001, 2)))

# name: positional arguments and options of fn.ntk
KERNELS = {
    "hidden": ((X,), {}),
    "output": ((X,), {"layers": "output"}),
    "both, masked": ((X,), {"layers": "both", "mask": MASK, "draws": 3}),
    "bfloat16": ((X,), {"network": fn.Network(width=50_001, dim=DIM, seed=3, dtype="bfloat16")}),
    "general": ((X,), {"network": GENERAL}),
    "general, both": ((X,), {"network": GENERAL, "layers": "both", "mask": MASK}),
    "cross": ((X, Y), {"layers": "both"}),
    "cross, masked": ((Y, X), {"mask": MASK, "draws": 3}),
    "pair of masks": ((X, Y), {"mask": (None, MASK), "draws": 3, "network": GENERAL}),
    "the same rows twice": ((X, X), {"mask": MASK}),
    "zero rows": ((WITH_ZEROS,), {"layers": "both"}),
    "zero rows, cross": ((WITH_ZEROS, rows(11, 1, zero=(1, 10))), {"mask": MASK, "draws": 3}),
    "nothing but zeros": ((0 * X,), {}),
}


def kernel(name, **options):
    inputs, given = KERNELS[name]
    return fn.ntk(*inputs, **{"network": NETWORK, "threads": 1, **given, **options})


class Stop(Exception):
    """Raised by the progress callback, as an impatient caller would."""


def impatient(after, error=Stop, seen=lambda: None):
    """A progress callback that raises at the report of the ``after``-th range; one of nothing new is none."""
    reports = [-1]

    def progress(done, total):
        seen()
        if done > max(reports[-1], 0):
            reports.append(done)
        if len(reports) > after:
            raise error

    return progress


def until_done(attempt):
    """(result, stops) of ``attempt(k, progress)``, stopped at the second range of each try.

    The first one has been saved where every range is, so that each try begins further on.
    """
    for stops in range(200):
        try:
            return attempt(stops, impatient(2)), stops
        except Stop:
            pass
    raise AssertionError("the run does not come further")


def assert_equal_bits(found, expected):
    np.testing.assert_array_equal(
        np.ascontiguousarray(found).view(np.uint64), np.ascontiguousarray(expected).view(np.uint64)
    )


def assert_tidy(folder):
    """A checkpoint and nothing else: one manifest, at most one set of arrays, and no pickle."""
    names = {path.name for path in folder.iterdir()}
    arrays = {name for name in names if name.startswith("arrays-")}
    assert names - arrays <= {"manifest.json", "lock"}
    assert len(arrays) <= 1
    for name in arrays:
        with np.load(folder / name, allow_pickle=False) as archive:
            assert all(isinstance(archive[key], np.ndarray) for key in archive.files)
