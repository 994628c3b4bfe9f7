"""What is followed over time (bench_operations.py) and from commit to commit (compare.py).

Of this package only what is public, so that other commits can run it.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

import fastntk as fn
from fastntk import smoothing

KAPPA = 0.2  # of the mask in training
STEP_SIZE = 0.005  # a stable one for the sizes here


def inputs(n, d):
    """Rows with standard normal entries, (n, d) float32."""
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def fastntk_kernel(X, width, layers="hidden", dtype="float32", **options):
    """The package's answer; the weights are virtual, so they are generated inside."""
    network = fn.Network(width=width, dim=X.shape[1], seed=0, dtype=dtype)
    return fn.ntk(X, network=network, layers=layers, **options)


class Regression(NamedTuple):
    """Something to train on: unit rows, random targets, virtual weights."""

    X: np.ndarray  # (n, d) float32
    y: np.ndarray  # (n, q) float32
    network: fn.Network


def regression(n, d, width, outputs=1):
    X = inputs(n, d)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.random.default_rng(1).standard_normal((n, outputs), dtype=np.float32)
    return Regression(X, y, fn.Network(width=width, dim=d, outputs=outputs, seed=0))


def fastntk_training(problem, steps, **options):
    """A run of full-batch masked steps that records nothing but the start."""
    options = {"mask": fn.GaussianMask(KAPPA), "step_size": STEP_SIZE, "record_every": 10**9} | options
    X, y, network = problem
    return fn.train(X, y, network=network, steps=steps, **options)


def masked(X, width):
    """Two mask draws, rows against other rows."""
    network = fn.Network(width=width, dim=X.shape[1], seed=0)
    half = len(X) // 2
    return fn.ntk(X[:half], X[half:], network=network, mask=fn.GaussianMask(0.3), draws=2)


def pattern(X, width):
    return fn.activation_pattern(X, network=fn.Network(width=width, dim=X.shape[1], seed=0))


def outputs(X, width):
    return fn.outputs(X, network=fn.Network(width=width, dim=X.shape[1], seed=0))


def limit(X):
    return fn.ntk_limit(X, mask=fn.GaussianMask(0.3), layers="both")


def gradient(X, width):
    return fn.vjp(X, X[:, 0], network=fn.Network(width=width, dim=X.shape[1], seed=0))


def tangent(X, width):
    direction = np.ones((width, X.shape[1]), np.float32)
    return fn.jvp(X, direction, network=fn.Network(width=width, dim=X.shape[1], seed=0))


def training(X, width, outputs=1):
    """Ten steps, and what comes before them: the weights, the check of the step size, the first record."""
    return fastntk_training(regression(*X.shape, width, outputs), 10)


def expected_kernel(X, width):
    """The kernel in the mean over independent masks, in closed form."""
    return fn.expected_ntk(X, network=fn.Network(width=width, dim=X.shape[1]), mask=fn.GaussianMask(KAPPA))


def expected_loss(X, width):
    """All pairs of neurons for every row."""
    network = fn.Network(width=width, dim=X.shape[1])
    return fn.expected_loss(X, X[:, 0], network=network, mask=fn.GaussianMask(KAPPA))


def expected_gradient(X, width):
    """All pairs of neurons for every row, with their derivatives."""
    network = fn.Network(width=width, dim=X.shape[1])
    return smoothing.expected_gradient(X, X[:, 0], network=network, mask=fn.GaussianMask(KAPPA))


# Name to (call, rows, features, width), each some tenths of a second on two cores.
OPERATIONS = {
    "hidden, d=64": (fastntk_kernel, 1797, 64, 131_072),
    "hidden, d=784": (fastntk_kernel, 1000, 784, 65_536),
    "hidden, d=784, bfloat16": (partial(fastntk_kernel, dtype="bfloat16"), 1000, 784, 65_536),
    "both layers": (partial(fastntk_kernel, layers="both"), 1797, 64, 32_768),
    "masked cross kernel": (masked, 1797, 64, 131_072),
    "activation pattern": (pattern, 1797, 64, 131_072),
    "outputs": (outputs, 1797, 64, 131_072),
    "gradient product": (gradient, 1797, 64, 131_072),
    "tangent product": (tangent, 1797, 64, 131_072),
    "training, d=64": (training, 1797, 64, 32_768),
    "training, ten outputs": (partial(training, outputs=10), 500, 64, 65_536),
    "limit": (limit, 1000, 64, None),
    "expected kernel": (expected_kernel, 500, 20, 8192),
    "expected loss": (expected_loss, 100, 20, 1000),
    "expected gradient": (expected_gradient, 100, 20, 200),
}


def operation(name, quick=False):
    """The named operation as a call without arguments."""
    call, n, d, width = OPERATIONS[name]
    if quick:
        n, width = 40, width and 2048
    return partial(call, inputs(n, d), *([width] if width else []))
