"""The extreme eigenvalues of a kernel matrix."""

import numpy as np
import scipy.linalg

from . import validation

SYMMETRY_TOLERANCE = 1e-12  # of the largest entry: above rounding in float64, far below float32
ROWS_PER_BLOCK = 256


def extreme_eigenvalues(K):
    """The smallest and the largest eigenvalue of a symmetric matrix.

    Parameters
    ----------
    K : (n, n) real array
        Symmetric within 1e-12 of its largest entry, as ``ntk(X, ...)`` and ``ntk_limit(X, ...)``
        return it; never written.  The lower triangle is what counts.

    Returns
    -------
    smallest, largest : float
        In float64, with an error of about n eps times the largest eigenvalue in absolute value (so a
        smallest eigenvalue below that is noise, and can come out negative).

    Raises
    ------
    TypeError, ValueError
        K is not real, not square, not finite or not symmetric.

    Notes
    -----
    LAPACK's dense solver: O(n^3) operations (4/3 n^3 multiply-adds), and a copy of 8 n^2 bytes.  It
    runs on BLAS, so the last bits depend on the machine and its threads.

    Examples
    --------
    >>> from fastntk.spectrum import extreme_eigenvalues
    >>> smallest, largest = extreme_eigenvalues([[2.0, 1.0], [1.0, 2.0]])
    >>> round(smallest, 12), round(largest, 12)
    (1.0, 3.0)
    """
    K = validation.as_matrix(K, "K", dtype=np.float64)
    if K.shape[0] != K.shape[1]:
        raise ValueError(
            f"K has shape {K.shape}; eigenvalues need a square matrix, such as ntk(X, ...) without Y."
        )
    _require_symmetric(K)
    # the transpose of a C-ordered matrix is what LAPACK reads without reordering
    values = scipy.linalg.eigvalsh(K.T, lower=False, check_finite=False)
    return float(values[0]), float(values[-1])


def _require_symmetric(K):
    """Raise with the worst entry where K differs from its transpose; block by block, no copy of K."""
    allowed = SYMMETRY_TOLERANCE * max(K.max(), -K.min())
    for start in range(0, len(K), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        gap = np.abs(K[rows] - K[:, rows].T)
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        if gap[i, j] > allowed:
            i, j = int(i) + start, int(j)
            raise ValueError(
                f"K is not symmetric: K[{i}, {j}] is {K[i, j]} but K[{j}, {i}] is {K[j, i]}. It must be "
                f"the kernel of one set of rows, ntk(X, ...); where it is only rounding, pass (K + K.T) / 2."
            )
