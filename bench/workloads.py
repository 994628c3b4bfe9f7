"""The calls that are timed, and the same jobs in plain NumPy."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import special

import fastntk as fn
from fastntk import smoothing

BLOCK = 8192  # neurons at a time in the NumPy versions: the fastest of the powers of two
KAPPA = 0.2  # of the mask in training
STEP_SIZE = 0.005  # a stable one for the sizes here


def inputs(n, d):
    """Rows with standard normal entries, (n, d) float32."""
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def fastntk_kernel(X, width, layers="hidden", dtype="float32", **options):
    """The package's answer; the weights are virtual, so they are generated inside."""
    network = fn.Network(width=width, dim=X.shape[1], seed=0, dtype=dtype)
    return fn.ntk(X, network=network, layers=layers, **options)


def numpy_hidden(X, width):
    """The hidden-layer NTK as one writes it in NumPy when the weights do not fit in memory."""
    rng = np.random.default_rng(0)
    counts = np.zeros((len(X), len(X)), np.float32)
    for start in range(0, width, BLOCK):
        W = rng.standard_normal((min(BLOCK, width - start), X.shape[1]), dtype=np.float32)
        P = (X @ W.T > 0).astype(np.float32)
        counts += P @ P.T
    return (X @ X.T) * counts / width


def numpy_both(X, width):
    """The same for both layers, in float32."""
    rng = np.random.default_rng(0)
    counts = np.zeros((len(X), len(X)), np.float32)
    products = np.zeros_like(counts)
    for start in range(0, width, BLOCK):
        W = rng.standard_normal((min(BLOCK, width - start), X.shape[1]), dtype=np.float32)
        H = X @ W.T
        P = (H > 0).astype(np.float32)
        np.maximum(H, 0, out=H)
        counts += P @ P.T
        products += H @ H.T
    return ((X @ X.T) * counts + products) / width


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


def scipy_variance(X, width):
    """The variance of the output over masks as one writes it with SciPy: a row at a time, pairs r < s."""
    network = fn.Network(width=width, dim=X.shape[1])
    W, a = network.weights().astype(float), network.output_weights().astype(float)
    pair = np.triu_indices(width, 1)
    variances = []
    for x in X.astype(float):
        mean, masked = W @ x, KAPPA * W * x
        spread = np.linalg.norm(masked, axis=1)
        t1, t2 = (mean / spread)[pair[0]], (mean / spread)[pair[1]]
        rho = (masked @ masked.T)[pair] / (spread[pair[0]] * spread[pair[1]])
        root = np.sqrt(1 - rho**2)
        density1, density2 = (np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) for t in (t1, t2))
        gap1, gap2 = (t2 - rho * t1) / root, (t1 - rho * t2) / root
        T = special.owens_t(t1, gap1 / t1) + special.owens_t(t2, gap2 / t2)
        both = (special.ndtr(t1) + special.ndtr(t2)) / 2 - T - (t1 * t2 < 0) / 2
        crossed = t1 * density2 * special.ndtr(gap2) + t2 * density1 * special.ndtr(gap1)
        joint = np.exp(-(t1**2 - 2 * rho * t1 * t2 + t2**2) / (2 * root**2)) * root / (2 * np.pi)
        product = (t1 * t2 + rho) * both + crossed + joint
        t = mean / spread
        active, density = special.ndtr(t), np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        relu = t * active + density
        terms = a * spread
        covariance = (product - relu[pair[0]] * relu[pair[1]]) * terms[pair[0]] * terms[pair[1]]
        own = (t**2 + 1) * active + t * density - relu**2
        variances.append((2 * covariance.sum() + (own * terms**2).sum()) / width)
    return np.array(variances)


def expected_gradient(X, width):
    """All pairs of neurons for every row, with their derivatives."""
    network = fn.Network(width=width, dim=X.shape[1])
    return smoothing.expected_gradient(X, X[:, 0], network=network, mask=fn.GaussianMask(KAPPA))


# What is followed over time (bench_operations.py) and from commit to commit (compare.py): name to
# (call, rows, features, width), each some tenths of a second on two cores.
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
