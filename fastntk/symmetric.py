"""Symmetric kernels of any kind, checked: what eigenvalues and linear systems are computed from."""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import validation
from .operator import NtkOperator

TOLERANCE = 1e-12  # of the largest entry: above rounding in float64, far below float32
ROWS_PER_BLOCK = 256


def symmetric_matrix(K, what, name="K"):
    """A finite symmetric real matrix in float64: K itself where it is one, a memmap too.

    ``what`` needs it, in the plural, for the error.
    """
    K = validation.as_array(K, name)
    if K.dtype != np.float64 or K.ndim != 2 or 0 in K.shape:
        K = validation.as_matrix(K, name, dtype=np.float64)
    if K.shape[0] != K.shape[1]:
        raise ValueError(
            f"{name} has shape {K.shape}; {what} need a square matrix, such as ntk(X, ...) without Y."
        )
    _require_finite(K, name)
    _require_symmetric(K, name)
    return K


class SymmetricKernel:
    """A symmetric matrix or operator that counts its products with vectors.

    ``matrix`` is None for an operator that has none; ``in_file`` says that it is a memmap.
    """

    def __init__(self, K, what):
        self.in_file = isinstance(K, np.memmap)
        self.matrix = None
        self.products = 0
        if isinstance(K, NtkOperator) and K.form == "dense":
            self.matrix = self._kernel = _of_symmetric(K, what).formed()
        elif isinstance(K, LinearOperator):
            self._kernel = _of_symmetric(K, what)
        else:
            self.matrix = self._kernel = symmetric_matrix(K, what)
        self.size = self._kernel.shape[0]

    def __matmul__(self, V):
        """K V of float64 vectors (n,) or (n, k)."""
        self.products += 1 if V.ndim == 1 else V.shape[1]
        return self._kernel @ V

    def diagonal(self):
        return validation.as_vector(self._kernel.diagonal(), "the diagonal of K", length=self.size)


def _of_symmetric(K, what):
    """An operator itself, where it is square and has a diagonal."""
    if K.shape[0] != K.shape[1] or K.shape[0] == 0:
        raise ValueError(
            f"K has shape {K.shape}; {what} need a square one, such as ntk_operator(X, ...) without Y."
        )
    if not hasattr(K, "diagonal"):
        raise TypeError(
            f"K is {type(K).__name__}, an operator without diagonal(), which {what} need. Pass "
            f"ntk_operator(X, ...) itself, or a matrix."
        )
    if isinstance(K, NtkOperator) and not K.symmetric:
        raise ValueError(
            f"K is a kernel whose rows and columns differ; {what} need a symmetric one: ntk_operator(X, ...) "
            f"without Y, and with one mask rather than a pair."
        )
    return K


def _require_finite(K, name):
    """Raise with the place and value of the first NaN or infinity; block by block, no copy of K."""
    for start in range(0, len(K), ROWS_PER_BLOCK):
        if not np.isfinite(K[start : start + ROWS_PER_BLOCK]).all():
            validation.require_finite(K, name)


def _require_symmetric(K, name):
    """Raise with the worst entry where K differs from its transpose; block by block, no copy of K."""
    allowed = TOLERANCE * max(K.max(), -K.min())
    for start in range(0, len(K), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        gap = np.abs(K[rows] - K[:, rows].T)
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        if gap[i, j] > allowed:
            i, j = int(i) + start, int(j)
            raise ValueError(
                f"{name} is not symmetric: {name}[{i}, {j}] is {K[i, j]} but {name}[{j}, {i}] is {K[j, i]}. "
                f"It must be the kernel of one set of rows, ntk(X, ...); where it is only rounding, pass "
                f"(K + K.T) / 2."
            )
