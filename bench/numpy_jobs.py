"""The same jobs in plain NumPy and SciPy."""

import numpy as np
from scipy import special

import fastntk as fn
from fastntk.benchmarks.numpy_methods import hidden_kernel
from fastntk.benchmarks.problem import BLOCK

from .operations import KAPPA


def random_blocks(dim, width):
    """Blocks of normal float32 weights, made one by one."""
    rng = np.random.default_rng(0)
    for start in range(0, width, BLOCK):
        yield rng.standard_normal((min(BLOCK, width - start), dim), dtype=np.float32)


def numpy_hidden(X, width):
    """The hidden-layer NTK as one writes it in NumPy when the weights do not fit in memory."""
    return hidden_kernel(X, random_blocks(X.shape[1], width), width)


def numpy_both(X, width):
    """The same for both layers, in float32."""
    counts = np.zeros((len(X), len(X)), np.float32)
    products = np.zeros_like(counts)
    for W in random_blocks(X.shape[1], width):
        H = X @ W.T
        P = (H > 0).astype(np.float32)
        np.maximum(H, 0, out=H)
        counts += P @ P.T
        products += H @ H.T
    return ((X @ X.T) * counts + products) / width


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
