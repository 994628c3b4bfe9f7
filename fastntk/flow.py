"""Gradient flow with a kernel at hand, in its eigenvectors, by the conventions of neural-tangents.

With N the number of targets (rows times outputs) the loss is |f - y|^2 / (2 N), and flow moves outputs by

    f_t(X) = f_0(X) - (I - exp(-s K)) (f_0(X) - y),                      s = learning_rate t / N,
    f_t(x) = f_0(x) - K(x, X) K^{-1} (I - exp(-s K)) (f_0(X) - y),       K = K(X, X) + regulariser.
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import validation
from .engine.plan import require_memory
from .symmetric import symmetric_matrix

WHAT = "predictions"


class Flow:
    """Gradient flow with a kernel, in its eigenvectors ``modes``; outputs have q columns in here."""

    def __init__(self, kernel, name, y, learning_rate, diag_reg, absolute):
        learning_rate, diag_reg, absolute = checked_settings(learning_rate, diag_reg, absolute)
        if isinstance(kernel, LinearOperator):
            raise TypeError(
                f"{name} is an operator; predictions at all times need the matrix: ntk(X, ...). For t=None "
                f"alone, kernel_ridge takes operators."
            )
        kernel = validation.as_array(kernel, name)
        epsilon = np.finfo(kernel.dtype if kernel.dtype in (np.float16, np.float32) else float).eps
        kernel = symmetric_matrix(kernel, WHAT, name)
        self.rows = len(kernel)
        self.targets = validation.as_columns(y, "y_train", length=self.rows)
        self.one_column = np.ndim(y) == 1
        subject = f"the eigenvectors of {name}, {self.rows} rows,"
        require_memory(24 * self.rows**2, None, subject, "fewer rows, or kernel_ridge for t=None")
        eigenvalues, self.modes = np.linalg.eigh(kernel)
        eigenvalues += diag_reg * (1.0 if absolute else np.diagonal(kernel).mean())
        largest = eigenvalues[-1]
        if eigenvalues[0] < -np.sqrt(epsilon) * abs(largest):
            raise ValueError(
                f"{name} is not positive semidefinite: with diag_reg its eigenvalues are from "
                f"{eigenvalues[0]:.3g} to {largest:.3g}, so flow would diverge. Give a kernel, such as "
                f"ntk(X, ...) without Y, or a larger diag_reg."
            )
        self.learned = eigenvalues > self.rows * epsilon * largest  # the others are rounding
        self.eigenvalues = np.where(self.learned, eigenvalues, 0.0)
        self.pace = learning_rate / self.targets.size

    def _exponents(self, times):
        """-s lambda (times, n), for modes that are not learned of any lambda."""
        return -np.multiply.outer(self.pace * times, np.where(self.learned, self.eigenvalues, 1.0))

    def left(self, times):
        """exp(-s lambda): what is left of the residual of each mode, (times, n)."""
        return np.where(self.learned, np.exp(self._exponents(times)), 1.0)

    def shares(self, times):
        """(1 - exp(-s lambda)) / lambda: how far test rows follow each mode, (times, n)."""
        done = -np.expm1(self._exponents(times))
        return np.where(self.learned, done / np.where(self.learned, self.eigenvalues, 1.0), 0.0)

    def train(self, times, gap):
        """(exp(-s K) - I) gap, (times, n, q)."""
        moved = np.where(self.learned, np.expm1(self._exponents(times)), 0.0)
        return self.modes @ (moved[:, :, np.newaxis] * (self.modes.T @ gap))

    def test(self, times, across, gap):
        """-K(x, X) K^{-1} (I - exp(-s K)) gap, (times, p, q)."""
        return -(across @ self.modes) @ (self.shares(times)[:, :, np.newaxis] * (self.modes.T @ gap))

    def outputs(self, value, name, rows):
        """Outputs at the start as (rows, q), or (1, 1) for a number."""
        value = validation.as_array(value, name)
        if value.ndim == 0:
            return validation.as_matrix(value.reshape(1, 1), name, dtype=np.float64)
        columns = validation.as_columns(value, name, length=rows)
        wanted = (rows,) if self.one_column else (rows, self.targets.shape[1])
        if value.shape != wanted:
            raise ValueError(
                f"{name} has shape {value.shape}; it must be a number, or {wanted} as y_train is."
            )
        return columns

    def shaped(self, shape, values):
        """(*shape of t, rows) or (*shape of t, rows, q), as the targets are."""
        values = values[..., 0] if self.one_column else values
        return values.reshape(*shape, *values.shape[1:])


def checked_settings(learning_rate, diag_reg, absolute):
    return (
        validation.as_positive(learning_rate, "learning_rate"),
        validation.as_not_negative(diag_reg, "diag_reg"),
        validation.as_flag(absolute, "diag_reg_absolute_scale"),
    )


def as_times(t):
    """(shape of t, times (T,) float64), infinity for None."""
    array = validation.as_array(np.inf if t is None else t, "t")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"t has dtype {array.dtype}; it must be times from 0 on, or None for infinity.")
    times = array.astype(np.float64)
    wrong = ~(times >= 0)
    if wrong.any():
        raise ValueError(f"t holds {times[wrong].ravel()[0]:g}; it must be from 0 to infinity.")
    return times.shape, times.ravel()


def as_kernel(kernel, name, rows, columns):
    """A real matrix (rows, columns) in float64, of any number of rows where that is None."""
    kernel = validation.as_matrix(kernel, name, columns=columns, dtype=np.float64)
    if rows is not None and len(kernel) != rows:
        raise ValueError(f"{name} has {len(kernel)} rows (shape {kernel.shape}); {rows} are expected.")
    return kernel
