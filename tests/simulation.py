"""Masked training in plain float64 NumPy, from the formulas alone, with masks and orders of its own.

Shapes: inputs (..., n, d), weights (..., m, d), output weights (m, q), targets (..., n, q); the dots are
copies of the experiment, each with weights, masks and batches of its own, run side by side.
"""

import numpy as np

import fastntk as fn
from fastntk.kernels import reference

from .formulas import U32, Entries

# ---------------------------------------------------------------------------- the formulas


def outputs(X, W, a):
    """f_c(x_i) = m^{-1/2} sum_r a_rc relu(w_r . x_i), (..., n, q)."""
    return np.maximum(X @ np.swapaxes(W, -1, -2), 0) @ a / np.sqrt(len(a))


def gradient(X, u, W, a):
    """sum_ic u_ic grad_W f_c(x_i), (..., m, d), the derivative of relu at 0 being 0."""
    active = X @ np.swapaxes(W, -1, -2) > 0
    return np.swapaxes(active * (u @ a.T), -1, -2) @ X / np.sqrt(len(a))


def loss(X, y, W, a):
    """1/2 sum_ic (f_c(x_i) - y_ic)^2, one number for each copy."""
    return 0.5 * np.square(outputs(X, W, a) - y).sum((-1, -2))


def step(X, y, W, a, step_size):
    """W after one step of gradient descent on the inputs X."""
    return W - step_size * gradient(X, outputs(X, W, a) - y, W, a)


# ------------------------------------------------------------------------------- the inputs


def masked(mask, X, rng):
    """Masked copies of X, (..., n, d), from NumPy's generator."""
    normal = rng.standard_normal(X.shape)
    match mask:
        case None:
            return X
        case fn.GaussianMask(kappa):
            return X * (1 + np.asarray(kappa) * normal)
        case fn.AdditiveMask(tau):
            return X + np.asarray(tau) * normal
        case fn.LognormalMask(kappa):
            return X * np.exp(kappa * normal - kappa**2 / 2)
        case fn.BernoulliMask(keep):
            return X * (rng.random(X.shape) < keep) / keep
    raise TypeError(mask)


def independent(mask, X, rng, copies, batch_size=None):
    """A source of masks and of orders of NumPy's own: step number -> rows (copies, b), their inputs."""
    size = batch_size or len(X)
    order = np.empty((copies, 0), int)

    def source(step_number):
        nonlocal order
        if order.shape[1] == 0:  # a new epoch
            order = rng.permuted(np.tile(np.arange(len(X)), (copies, 1)), axis=1)
        rows, order = order[:, :size], order[:, size:]
        return rows, masked(mask, X[rows], rng)

    return source


def of_the_library(mask, X, seed):
    """A source of the masks that full-batch training with this seed sees."""

    def source(step_number):
        inputs = X if mask is None else mask.sample(X, seed=seed, draw=step_number)
        return np.arange(len(X)), inputs.astype(float)

    return source


def train(X, y, W, a, *, source, step_size, times):
    """Clean losses before the steps ``times``, (len(times), ...)."""
    losses = []
    for t in range(max(times) + 1):
        if t in times:
            losses.append(loss(X, y, W, a))
        rows, inputs = source(t)
        W = step(inputs, y[rows], W, a, step_size)
    return np.array(losses)


# ------------------------------------------------------------- one step of float32 numbers, exactly

FLOAT32_NEURONS = 256  # outputs of at most so many are added in float32, their sums in float64
SMALLEST = 2.0**-149  # twice what one float32 operation loses to underflow


def output_error(X, W, a):
    """What float32 can do to the outputs of float32 inputs and weights, (n, q).

    d products and sums for a preactivation, one sum a neuron and 8 more for conversions and scaling, each
    off by at most U32 of the sum of magnitudes.  Relu makes no error larger.
    """
    magnitudes = (np.abs(X) @ np.abs(W).T) @ np.abs(a) / np.sqrt(len(a))
    underflow = 2 * SMALLEST * W.shape[1] * np.abs(a).sum(0) / np.sqrt(len(a))
    return (W.shape[1] + min(len(W), FLOAT32_NEURONS) + 8) * U32 * magnitudes + underflow


def exact_step(X, y, W, a, step_size):
    """``Entries``: W after one step, its activation bits exact, and what float32 can do to it.

    A residual is off by the error of its output and two roundings; a sum over n samples and q outputs takes
    n + q products and sums, and 8 more for scaling; adding the step to W rounds twice.  Terms in SMALLEST
    are for products that underflow.
    """
    active = reference.pattern(X, W).T  # (m, n)
    residual = outputs(X, W, a) - y
    scale = step_size / np.sqrt(len(a))
    after = W - scale * (active * (a @ residual.T)) @ X
    uncertain = 1.01 * (output_error(X, W, a) + U32 * (np.abs(y) + 2 * np.abs(residual)))
    terms = (len(X) + a.shape[1] + 8) * U32 * np.abs(residual) + uncertain
    sums = scale * (active * (np.abs(a) @ terms.T)) @ np.abs(X)
    underflow = 2 * len(X) * SMALLEST * scale * (np.abs(a).sum(1) + a.shape[1])[:, np.newaxis]
    return Entries(after, sums + 2.01 * U32 * np.abs(after) + underflow + SMALLEST)
