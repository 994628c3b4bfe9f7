"""Kernel ridge regression: linear systems with a kernel, whether it is a matrix or not."""

import warnings
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, cg

from . import validation
from .engine.plan import available_memory
from .symmetric import SymmetricKernel

# Cholesky's n^3 / 6 multiply-adds at some 30 a nanosecond, against some hundreds of products that read n^2
# entries at 2 a nanosecond: even at this size, and every further column of y is free.
CHOLESKY_ROWS = 15_000


@dataclass(frozen=True, eq=False)
class KernelRidge:
    """The solution of a kernel ridge regression; made by :func:`kernel_ridge`.

    Attributes
    ----------
    coefficients : (n,) or (n, q) float64
        alpha, of the shape of y.  Predictions are ``ntk_operator(Xtest, X, ...) @ coefficients``.
    residuals : (q,) float64
        ||y - (K + ridge I) alpha|| / ||y|| of each column, computed from the solution.
    converged : bool
        Whether all of them are within the tolerance.
    products : int
        Products with K that were made.
    method : "cholesky" or "cg"

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> fit = fn.kernel_ridge(np.diag([1.0, 3.0]), [2.0, 4.0], ridge=1.0)
    >>> fit.coefficients, fit.converged, fit.method
    (array([1., 1.]), True, 'cholesky')
    """

    coefficients: np.ndarray = field(repr=False)
    residuals: np.ndarray
    converged: bool
    products: int
    method: str


def kernel_ridge(K, y, *, ridge, tolerance=1e-8, max_products=1000):
    """Solve (K + ridge I) alpha = y: the coefficients of kernel ridge regression.

    Parameters
    ----------
    K : NtkOperator, or (n, n) real array
        ``ntk_operator(X, ...)``, a matrix or a ``np.memmap`` of one; symmetric within 1e-12 of its largest
        entry, positive semidefinite; never written.  Another SciPy operator with ``diagonal()`` is taken at
        its word to be so.
    y : (n,) or (n, q) real array
        Targets.
    ridge : float
        At least 0.  The smaller it is beside the eigenvalues of K, the more products are needed.
    tolerance : float
        Of the relative residuals, from 1e-14 to 0.1.
    max_products : int
        Products with K to make at most for each column of y, where they are made.

    Returns
    -------
    KernelRidge

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; where K + ridge I is not positive definite.

    Warns
    -----
    RuntimeWarning
        A residual is above the tolerance; the result says which, and ``converged`` is False.

    Notes
    -----
    A matrix in memory of up to 15000 rows, one that a dense operator has formed too, is factored by LAPACK
    (Cholesky): n^3 / 6 multiply-adds and a copy of 8 n^2 bytes.  Otherwise conjugate gradients
    (``scipy.sparse.linalg.cg``) with the diagonal as preconditioner, a product at each step for each column:
    about sqrt(c) log(2 / tolerance) / 2 steps, c the condition number of the preconditioned K + ridge I.

    The bits are those of BLAS, which depend on the machine and its threads; with a matrix-free operator only
    those of dot products are.

    Source: the linear theory of training (docs/mathematics.md, section 12): ridge 0 is the network that
    gradient descent ends in, in the kernel regime, less its outputs at the start.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, Xtest = np.eye(3), np.array([[1.0, 1.0, 0.0]])
    >>> kernel = {"network": fn.Network(width=10_000, dim=3)}
    >>> fit = fn.kernel_ridge(fn.ntk_operator(X, **kernel), [1.0, -1.0, 0.0], ridge=1e-3)
    >>> fit.method, fit.converged
    ('cholesky', True)
    >>> prediction = fn.ntk_operator(Xtest, X, **kernel) @ fit.coefficients
    >>> prediction.shape
    (1,)
    """
    kernel = SymmetricKernel(K, "linear systems")
    targets = validation.as_columns(y, "y", length=kernel.size)
    ridge = as_ridge(ridge)
    tolerance = validation.as_positive(tolerance, "tolerance", low=1e-14, high=0.1)
    max_products = validation.as_count(max_products, "max_products")

    exponents = np.frexp(np.abs(targets).max(axis=0))[1]
    targets = np.ldexp(targets, -exponents)  # up to 1, whatever the units: squares of their norms are numbers
    if _is_small(kernel):
        method, solution = "cholesky", _by_cholesky(kernel.matrix, targets, ridge)
    else:
        method, solution = "cg", _by_conjugate_gradients(kernel, targets, ridge, tolerance, max_products)
    sizes = np.linalg.norm(targets, axis=0)
    left = np.linalg.norm(targets - (kernel @ solution + ridge * solution), axis=0)
    residuals = np.divide(left, sizes, out=np.zeros_like(left), where=sizes > 0)
    converged = bool((residuals <= tolerance).all())
    if not converged:
        _warn(residuals, tolerance, method, max_products)
    coefficients = np.ldexp(solution, exponents).reshape(np.shape(y))
    return KernelRidge(coefficients, residuals, converged, kernel.products, method)


def as_ridge(value):
    """A finite real number, at least 0."""
    if isinstance(value, (bool, np.bool_)) or np.asarray(value).dtype.kind not in "fiu" or np.ndim(value):
        raise TypeError(f"ridge is {value!r}; it must be a number, at least 0.")
    if not 0 <= float(value) < np.inf:
        raise ValueError(f"ridge is {value}; it must be finite and at least 0.")
    return float(value)


def _is_small(kernel):
    """Whether to factor: a matrix in memory of up to CHOLESKY_ROWS rows whose copy has room."""
    if kernel.matrix is None or kernel.in_file:
        return False
    return kernel.size <= CHOLESKY_ROWS and 8 * kernel.size**2 <= available_memory()


def _by_cholesky(matrix, targets, ridge):
    system = np.array(matrix, order="F")
    system.reshape(-1, order="F")[:: len(system) + 1] += ridge
    try:
        factor = scipy.linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"K + ridge I is not positive definite to rounding with ridge={ridge:g}: K is singular "
            f"(duplicate rows, or zero rows) or not positive semidefinite. Use a larger ridge, such as "
            f"{1e-10 * max(np.abs(np.diagonal(matrix)).max(), 1e-290):.1g}."
        ) from None
    return scipy.linalg.cho_solve(factor, targets, check_finite=False)


def _by_conjugate_gradients(kernel, targets, ridge, tolerance, max_products):
    n = kernel.size
    diagonal = kernel.diagonal() + ridge
    inverse = np.divide(1.0, diagonal, out=np.ones(n), where=diagonal > 0)

    def product(v):
        found = kernel @ v + ridge * v
        if not v @ found > 0:  # NaN too: what follows would be divisions by zero
            raise ValueError(
                f"K + ridge I is not positive definite to rounding with ridge={ridge:g}: K is singular "
                f"(duplicate rows, or zero rows) or not positive semidefinite. Use a larger ridge."
            )
        return found

    system = LinearOperator((n, n), matvec=product, dtype=np.float64)
    jacobi = LinearOperator((n, n), matvec=lambda v: inverse * v, dtype=np.float64)
    solution = np.zeros_like(targets)
    for k, column in enumerate(targets.T):
        # a little below: the residual of the recurrence is not that of the solution
        solution[:, k], _ = cg(system, column, rtol=tolerance / 2, atol=0.0, maxiter=max_products, M=jacobi)
    return solution


def _warn(residuals, tolerance, method, max_products):
    advice = {
        "cg": f"within {max_products} products a column. Allow more (max_products), or use a larger ridge or "
        f"tolerance",
        "cholesky": "as K + ridge I is too near to singular. Use a larger ridge or tolerance",
    }[method]
    warnings.warn(
        f"kernel_ridge: the relative residual of column {residuals.argmax()} is {residuals.max():.2g}, above "
        f"the tolerance of {tolerance:g}, {advice}.",
        RuntimeWarning,
        stacklevel=3,
    )
