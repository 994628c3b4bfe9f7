"""Small problems that the tests of the closed forms share, and the masked network in plain NumPy."""

import functools

import numpy as np

import fastntk as fn

DIM = 5
KAPPAS = (0.3, 0.0, 1.2, 0.7, 0.1)
TAUS = (0.5, 0.2, 0.0, 1.0, 0.3)
MASKS = {
    "multiplicative": fn.GaussianMask(0.6),
    "strong": fn.GaussianMask(1.5),
    "by feature": fn.GaussianMask(KAPPAS),
    "additive": fn.AdditiveMask(0.4),
    "additive by feature": fn.AdditiveMask(TAUS),
}


def rows(n=4, dim=DIM, seed=0):
    """Inputs that float32 holds, as float64."""
    return np.random.default_rng([seed, n, dim]).standard_normal((n, dim)).astype(np.float32).astype(float)


def targets(n=4, outputs=1, seed=0):
    y = np.random.default_rng([seed, n, 1]).standard_normal((n, outputs))
    return y[:, 0] if outputs == 1 else y


def arrays(width=24, dim=DIM, outputs=1, seed=0):
    """(W, a), the weights in float32 too; neurons of zeros, twice the same, and opposite ones."""
    rng = np.random.default_rng([seed, width, dim, 2])
    W = rng.standard_normal((width, dim)).astype(np.float32).astype(float)
    a = rng.standard_normal((width, outputs))
    if width > 6:
        W[2], W[4], W[5] = 0, W[3], -W[3]
    return W, a[:, 0] if outputs == 1 else a


@functools.cache
def network(kind, outputs=1):
    """A network of the given kind on rows of 5 features."""
    if kind == "pair":
        return arrays(outputs=outputs)
    if kind == "given":
        return fn.Network.from_arrays(*arrays(outputs=outputs))
    return fn.Network(width=24, dim=DIM, outputs=outputs, seed=4, scale=2.5)


def weights_of(net):
    """(W, a (m, q)) of a network or pair."""
    W, a = net if isinstance(net, tuple) else (net.weights(), net.output_weights())
    return W, np.reshape(a, (len(W), -1))


def sampled(mask, X, draws, rng):
    """(draws, n, d) masked inputs, by the definition of the masks in NumPy."""
    g = rng.standard_normal((draws, *X.shape))
    if isinstance(mask, fn.GaussianMask):
        return X * (1 + np.asarray(mask.kappa) * g)
    return X + np.asarray(mask.tau) * g


def variances(mask, X):
    if mask is None:
        return np.zeros_like(X)
    if isinstance(mask, fn.GaussianMask):
        return np.square(np.asarray(mask.kappa) * X)
    return np.broadcast_to(np.square(mask.tau), X.shape)


def correlations(W, v):
    """Of the preactivations of all pairs of neurons, from differences of directions where they are near.

    An inner product of 1 - 1e-16 loses half the digits of the angle.
    """
    s = np.sqrt(np.square(W) @ v)[:, None]
    directions = np.divide(W * np.sqrt(v), s, out=np.zeros_like(W), where=s > 0)
    rho = directions @ directions.T
    for sign in (1, -1):
        gap = np.square(directions[:, None] - sign * directions).sum(axis=2)
        rho = np.where(gap < 0.1, sign * (1 - gap / 2), rho)
    return rho


def outputs(X, net):
    """f (..., q) of rows X (..., d)."""
    W, a = weights_of(net)
    return np.maximum(X @ W.T, 0) @ a / np.sqrt(len(W))


def kernels(X, Y, net):
    """{layers: K} of rows X and Y over leading axes."""
    W, a = weights_of(net)
    H, G = X @ W.T, Y @ W.T
    hidden = ((H > 0) * np.square(a).mean(axis=1)) @ np.swapaxes(G > 0, -1, -2) / len(W)
    hidden = hidden * (X @ np.swapaxes(Y, -1, -2))
    output = np.maximum(H, 0) @ np.swapaxes(np.maximum(G, 0), -1, -2) / len(W)
    return {"hidden": hidden, "output": output, "both": hidden + output}


def gradient(X, y, net):
    """(..., m, d): the gradient by W of 1/2 sum_ic (f_ic - y_ic)^2 at rows X (..., n, d)."""
    W, a = weights_of(net)
    residuals = outputs(X, net) - np.reshape(y, (len(y), -1))
    pull = (X @ W.T > 0) * (residuals @ a.T) / np.sqrt(len(W))
    return np.swapaxes(pull, -1, -2) @ X
