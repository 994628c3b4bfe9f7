"""The formulas of the network in plain float64, with bounds on what rounding can do to them.

Arguments are float64 arrays; where the library rounds to float32, pass what it rounds to
(:func:`rounded`), and the formulas are those of the very same real numbers.
"""

from typing import NamedTuple

import numpy as np

from fastntk.kernels import load, reference

U = 2.0**-53  # unit roundoff of float64
U32 = 2.0**-24  # of float32
# With AMX the second layer's Gram is summed in fixed point: what is lost of a neuron, in units of the largest
# |w_r|^2 |x~_i| |x~_j| of its block (mathematics.md, section 5); and how far that may be above the mean.
SLICED, SPREAD = 2.0**-46.7, 96


class Entries(NamedTuple):
    """Values of a formula and a bound on the error of any sensible float64 evaluation of it."""

    values: np.ndarray
    bound: np.ndarray


def rounded(array):
    """The float32 numbers that the library sees, as float64."""
    return np.asarray(array, np.float32).astype(np.float64)


def roundings(dim, width):
    """Relative error bound of two float64 evaluations of a kernel entry or output, on its scale.

    An inner product over ``dim`` features is off by dim U of the product of the norms, two of them are
    multiplied, and ``width`` terms are added; 8 more for scaling, the final division and int64 fixed
    point (2^-60 of the scale).  The factor 2 is for the two evaluations that are compared.
    """
    return 2 * (2 * dim + width + 8) * U


def hidden_kernel(X, Y, W, a):
    """(x . y) mean_r a_r^2 1{w_r . x > 0} 1{w_r . y > 0}, the indicators those of exact real numbers.

    For a of shape (m, q), a_r^2 is the mean over the outputs: q more operations.
    """
    squares = np.square(a).reshape(len(W), -1)
    outputs = squares.shape[1]
    squares = squares.mean(axis=1)
    P, Q = reference.pattern(X, W).astype(float), reference.pattern(Y, W).astype(float)
    values = (X @ Y.T) * ((P * squares) @ Q.T) / len(W)
    return Entries(values, roundings(W.shape[1], len(W) + outputs) * norms(X, Y) * np.mean(squares))


def output_kernel(X, Y, W, a=None):
    """mean_r relu(w_r . x) relu(w_r . y)."""
    H, G = np.maximum(X @ W.T, 0), np.maximum(Y @ W.T, 0)
    scale = np.square(np.linalg.norm(W)) / len(W)
    relative = roundings(W.shape[1], len(W)) * scale
    if load().counts_with_amx:
        relative += SLICED * min(np.square(W).sum(axis=1).max(), SPREAD * scale)
    return Entries(H @ G.T / len(W), relative * norms(X, Y))


def both_kernels(X, Y, W, a):
    hidden, output = hidden_kernel(X, Y, W, a), output_kernel(X, Y, W)
    return Entries(hidden.values + output.values, hidden.bound + output.bound)


KERNELS = {"hidden": hidden_kernel, "output": output_kernel, "both": both_kernels}


def outputs(X, W, a):
    """m^{-1/2} sum_r a_r relu(w_r . x), for a of shape (m,) or (m, q)."""
    values = np.maximum(X @ W.T, 0) @ a / np.sqrt(len(W))
    size = np.linalg.norm(X, axis=1) * np.linalg.norm(W) / np.sqrt(len(W))
    scale = np.multiply.outer(size, np.linalg.norm(a, axis=0))
    return Entries(values, roundings(W.shape[1], len(W)) * scale)


def norms(X, Y):
    """|x_i| |y_j|."""
    return np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(Y, axis=1))


def assert_within(actual, expected):
    """|actual - values| <= bound, entry by entry; a bound of zero asks for equality."""
    assert actual.shape == expected.values.shape
    assert actual.dtype == np.float64
    excess = np.abs(actual - expected.values) - expected.bound
    worst = np.unravel_index(excess.argmax(), excess.shape)
    assert (excess <= 0).all(), (
        f"at {worst}: {actual[worst]} is not {expected.values[worst]} within {expected.bound[worst]:.3g}"
    )
