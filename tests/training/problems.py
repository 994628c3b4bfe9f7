"""A small problem that the tests of training share, and what they ask of its runs."""

import numpy as np

import fastntk as fn

MASK = fn.GaussianMask(0.3)


def rows(n=14, dim=5, seed=0):
    """Inputs of about unit norm, (n, dim) float32."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) / np.sqrt(dim)).astype(np.float32)


def targets(n=14, outputs=1, seed=0):
    """(n,) for one output, (n, outputs) for more; float32 numbers as float64."""
    y = np.random.default_rng([seed, 1]).standard_normal((n, outputs)).astype(np.float32).astype(float)
    return y[:, 0] if outputs == 1 else y


def network(width=37, dim=5, outputs=1, seed=0):
    """Given weights, and output weights of every size."""
    rng = np.random.default_rng([seed, 2])
    W, a = rng.standard_normal((width, dim)), rng.standard_normal((width, outputs))
    return fn.Network.from_arrays(W, a[:, 0] if outputs == 1 else a)


def columns(values):
    """Targets or output weights as (n, q) or (m, q) float64."""
    values = np.asarray(values, float)
    return values.reshape(len(values), -1)


def train(X=None, y=None, *, outputs=1, steps=7, step_size=0.3, mask=MASK, seed=5, **options):
    """A run on the small problem, or on what is given instead of it."""
    X = rows() if X is None else X
    y = targets(len(X), outputs) if y is None else y
    if "network" not in options:
        options["network"] = network(dim=X.shape[1], outputs=outputs)
    return fn.train(X, y, steps=steps, step_size=step_size, mask=mask, seed=seed, **options)


def network_before(step, *arguments, **options):
    """The network before a step: the one that a run of so many steps ends with."""
    if step:
        return train(*arguments, steps=step, **options).network
    start = options.get("network") or network(outputs=options.get("outputs", 1))
    return fn.Network.from_arrays(start.weights(), start.output_weights())


def weights(run):
    """(m, d) float32: the trained weights, every one of which is a float32 number."""
    exact = run.network.weights()
    assert (exact == exact.astype(np.float32)).all()
    return exact.astype(np.float32)


HISTORY = (
    "recorded_steps",
    "clean_loss",
    "masked_loss",
    "distance",
    "max_distance",
    "flipped",
    "accuracy",
    "eigenvalue_steps",
    "smallest_eigenvalue",
    "largest_eigenvalue",
    "masked_eigenvalue",
    "audit_steps",
    "audit_error",
    "expected_steps",
    "smoothed_mse",
    "regulariser",
)


def assert_same(run, other, but=()):
    """Weights and history of two runs are equal, bit by bit."""
    np.testing.assert_array_equal(weights(run), weights(other))
    assert run.step_size == other.step_size
    assert run.steps_done == other.steps_done
    for name in HISTORY:
        if name not in but:
            np.testing.assert_array_equal(getattr(run, name), getattr(other, name), err_msg=name)
