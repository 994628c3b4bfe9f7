"""The extreme eigenvalues of a kernel: of a matrix to rounding, of an operator by Lanczos iteration."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from . import validation
from .symmetric import SymmetricKernel, symmetric_matrix

BASIS = 40  # Lanczos vectors kept between restarts
SMALL = 100  # rows up to which an operator is made a matrix


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
    runs on BLAS, so the last bits depend on the machine and its threads.  :func:`spectrum_ends` is for a
    matrix that is too large for it, and for an operator.

    Examples
    --------
    >>> from fastntk.spectrum import extreme_eigenvalues
    >>> smallest, largest = extreme_eigenvalues([[2.0, 1.0], [1.0, 2.0]])
    >>> round(smallest, 12), round(largest, 12)
    (1.0, 3.0)
    """
    if isinstance(K, LinearOperator):
        raise TypeError(f"K is {type(K).__name__}, an operator; spectrum_ends(K) takes operators.")
    K = symmetric_matrix(K, "eigenvalues")
    # the transpose of a C-ordered matrix is what LAPACK reads without reordering
    values = scipy.linalg.eigvalsh(K.T, lower=False, check_finite=False)
    return float(values[0]), float(values[-1])


def rounding(rows, largest):
    """What rounding leaves in the eigenvalues of a matrix of so many rows: below it they are noise."""
    return rows * np.finfo(float).eps * largest


@dataclass(frozen=True)
class SpectrumEnds:
    """The ends of the spectrum of a kernel; made by :func:`spectrum_ends`.

    Attributes
    ----------
    smallest, largest : float
        Rayleigh quotients of the vectors v found, of norm 1.
    smallest_residual, largest_residual : float
        ||K v - lambda v||: an eigenvalue is at most that far, and where it is the one sought, the quotient is
        off by at most its square over the distance to the next eigenvalue.
    effective_rank : float
        The trace over the largest eigenvalue: r_0 of Bartlett, Long, Lugosi and Tsigler, "Benign overfitting
        in linear regression" (2020).  From 1, one direction, to n, all alike.
    products : int
        Products with K that were made.
    """

    smallest: float
    largest: float
    smallest_residual: float
    largest_residual: float
    effective_rank: float
    products: int


def spectrum_ends(K, *, tolerance=1e-6, max_products=2000):
    """The smallest and the largest eigenvalue of a kernel from products with vectors, and its effective rank.

    Parameters
    ----------
    K : NtkOperator, or (n, n) real array
        ``ntk_operator(X, ...)``, a matrix or a ``np.memmap`` of one, symmetric within 1e-12 of its largest
        entry.  Another SciPy operator with ``diagonal()`` is taken at its word to be real and symmetric.
    tolerance : float
        Of the residuals, relative to the largest magnitude of an eigenvalue, from 1e-14 to 0.1.
    max_products : int
        Products to make at most, for both ends.

    Returns
    -------
    SpectrumEnds

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.
    RuntimeError
        Not converged in ``max_products`` products.

    Notes
    -----
    ARPACK's restarted Lanczos iteration (``scipy.sparse.linalg.eigsh``), for the largest eigenvalue on K
    and for the smallest on 2 largest I - K, so that both tolerances are relative to the same.  The largest
    takes some tens of products, the smallest some hundreds: the closer the next eigenvalue is, the more.
    Memory 40 n numbers beside what a product takes.  Up to 100 rows LAPACK does it, of
    a matrix, whatever ``max_products`` is.

    The start is random and always the same.  An end can be missed in theory, for an eigenvalue inside, where
    its eigenvector is orthogonal to the start to rounding; residuals cannot tell.

    Source: Bartlett et al., arXiv 1906.11300, for the effective rank.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.spectrum import spectrum_ends
    >>> ends = spectrum_ends(np.diag(np.arange(1.0, 301.0)))
    >>> round(ends.smallest, 3), round(ends.largest, 3), round(ends.effective_rank, 3)
    (1.0, 300.0, 150.5)
    """
    kernel = SymmetricKernel(K, "eigenvalues")
    tolerance = validation.as_positive(tolerance, "tolerance", low=1e-14, high=0.1)
    max_products = validation.as_count(max_products, "max_products")
    trace = kernel.diagonal().sum()
    small = kernel.size <= SMALL
    pairs = _of_small_matrix(kernel) if small else _by_lanczos(kernel, tolerance, max_products)
    (smallest, smallest_residual), (largest, largest_residual) = pairs
    rank = trace / largest if largest > 0 else 0.0
    return SpectrumEnds(smallest, largest, smallest_residual, largest_residual, float(rank), kernel.products)


def _of_small_matrix(kernel):
    """(eigenvalue, residual) of both ends by LAPACK."""
    matrix = kernel @ np.eye(kernel.size) if kernel.matrix is None else kernel.matrix
    exponent = int(np.frexp(np.abs(matrix).max())[1])
    scaled = np.ldexp(matrix, -exponent)  # so that squares of norms are numbers
    _, vectors = scipy.linalg.eigh(scaled, check_finite=False)
    return [_rayleigh(vectors[:, end], scaled @ vectors[:, end], exponent) for end in (0, -1)]


class _OutOfProducts(Exception):
    pass


def _by_lanczos(kernel, tolerance, max_products):
    """(eigenvalue, residual) of both ends by ARPACK."""
    n = kernel.size
    start = np.random.default_rng(0).standard_normal(n)
    size = np.abs(kernel @ start).max()
    if size == 0:
        return [(0.0, 0.0), (0.0, 0.0)]
    exponent = int(np.frexp(size)[1])  # ARPACK has absolute thresholds: it sees a matrix of size 1

    def scaled(v):
        if kernel.products >= max_products - 1:  # the last one is for the residual
            raise _OutOfProducts
        return np.ldexp(kernel @ v.reshape(-1), -exponent)

    def end(product, allowed, name):
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        try:
            _, vectors = eigsh(
                operator, 1, which="LA", v0=start, tol=allowed, ncv=BASIS, maxiter=max_products
            )
        except _OutOfProducts:
            raise RuntimeError(
                f"the {name} eigenvalue has not converged to a residual of {tolerance:g} of the largest "
                f"in {max_products} products. Allow more (max_products), or a larger tolerance."
            ) from None
        return _rayleigh(vectors[:, 0], np.ldexp(kernel @ vectors[:, 0], -exponent), exponent)

    largest = end(scaled, tolerance, "largest")
    shift = np.ldexp(2 * largest[0], -exponent)  # twice: for a multiple of I, the difference is not zero
    smallest = end(lambda v: shift * v.reshape(-1) - scaled(v), tolerance / 2, "smallest")
    return [smallest, largest]


def _rayleigh(vector, product, exponent):
    """(Rayleigh quotient, norm of the residual) of a vector of norm 1 and its product, times 2^exponent."""
    value = vector @ product
    residual = np.linalg.norm(product - value * vector)
    return float(np.ldexp(value, exponent)), float(np.ldexp(residual, exponent))
