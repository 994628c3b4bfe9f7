"""The kernel as a linear operator: products with vectors, with or without the matrix."""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import validation
from .annotations import Array, Floats, Numbers
from .engine.plan import checked_options
from .gram import checked_draws, ntk, ntk_diag, planned_ntk
from .matrix_free import MatrixFreeKernel
from .network import as_network
from .product_cost import dense_is_cheaper
from .sides import kernel_sides

FORMS = ("auto", "dense", "matrix-free")


def ntk_operator(
    X,
    Y=None,
    *,
    network,
    mask=None,
    draws=1,
    seed=0,
    layers="hidden",
    row_ids=None,
    column_ids=None,
    share_masks=False,
    threads=None,
    memory_limit=None,
    form="auto",
):
    """The empirical NTK as a SciPy linear operator: products with vectors where the matrix does not fit.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32; copied.
    Y : (p, d) real array, optional
        Inputs of the columns, copied.  Without it the columns are X and the operator is symmetric.
    network, mask, draws, seed, layers, row_ids, column_ids, share_masks
        Which kernel, as in :func:`fastntk.ntk`.
    threads, memory_limit
        Of each product, as in :func:`fastntk.ntk`.
    form : "auto", "dense" or "matrix-free"
        "dense" forms the matrix at the first product, by :func:`fastntk.ntk`, and keeps it.  "matrix-free"
        goes through the neurons at every product.  "auto" is dense where that fits the memory and is
        expected to be faster over 30 products, forming the matrix included.

    Returns
    -------
    NtkOperator
        A ``scipy.sparse.linalg.LinearOperator``, shape (n, p), dtype float64: ``@``, ``matvec``, ``matmat``
        and those of the transpose, ``rmatvec``, ``rmatmat``; ``diagonal()``, and ``form``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.  Of a product: a vector that is not finite, or a
        result beyond float64.
    MemoryError
        Before anything is allocated, with the estimate and what would help.  Of a product too, where the
        memory has gone since.

    Notes
    -----
    Cost of a matrix-free product, for each draw: O(m (n + p) d), in the hidden layer a forward pass and two
    table look-ups in float64, for the output layer float64 throughout.  The vectors of ``matmat`` share the
    forward pass, 64 at a time.  Memory O(threads (n + p)) numbers and bits of a range of neurons, whatever
    the width; no array of n p entries.

    Error of entry i of a matrix-free product: 1e-12 of sum_j |x~_i| |x~_j| |v_j| times the mean of a_r^2
    (hidden) or of |w_r|^2 (output) up to a million rows and 2000 features; docs/mathematics.md, section 12,
    has the bounds.  The same bits for any number of threads, for a vector alone or among others, and on every
    CPU path.  Products of the dense form are BLAS's: the last bits depend on the machine and its threads.

    Source: the masked network of arXiv 2602.17423; docs/mathematics.md, sections 2 and 12.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> from scipy.sparse.linalg import cg
    >>> X, network = np.eye(3) + 1, fn.Network(width=10_000, dim=3)
    >>> K = fn.ntk_operator(X, network=network, form="matrix-free")
    >>> K
    <NtkOperator 3 x 3, hidden layer, matrix-free, Network(width=10000, dim=3, seed=0, scale=1.0)>
    >>> bool(np.allclose(K @ np.ones(3), fn.ntk(X, network=network) @ np.ones(3), rtol=1e-12))
    True
    >>> solution, failed = cg(K, np.ones(3), rtol=1e-10)
    >>> failed
    0
    """
    rows, columns = kernel_sides(
        X, Y, mask=mask, row_ids=row_ids, column_ids=column_ids, share_masks=share_masks
    )
    network = as_network(network, rows.X)
    draws, seed = checked_draws(draws, seed, layers)
    form = validation.as_choice(form, "form", FORMS)
    options = checked_options(threads, memory_limit, None)
    symmetric = columns is rows
    rows = rows._replace(X=rows.X.copy())  # the caller's array may change between products
    columns = rows if symmetric else columns._replace(X=rows.X if Y is None else columns.X.copy())
    kernel = MatrixFreeKernel(rows, columns, network, layers, draws, seed, options)
    if form == "auto":
        form = "dense" if _dense_is_better(kernel) else "matrix-free"
    # what is wrong or too large is found now, not at the first product
    if form == "dense":
        _plan_dense(kernel)
    else:
        kernel.planned()
    for side in (rows, columns):
        side.masked(seed, 0)
    arguments = {
        "X": rows.X,
        "Y": None if Y is None else columns.X,
        "network": network,
        "mask": mask,
        "draws": draws,
        "seed": seed,
        "layers": layers,
        "row_ids": rows.ids,
        "column_ids": None if Y is None else columns.ids,
        "share_masks": share_masks,
        "threads": threads,
        "memory_limit": memory_limit,
    }
    return NtkOperator(kernel, arguments, form)


def _dense_is_better(kernel):
    """Whether the matrix fits the memory and is expected to pay for itself."""
    n, p = len(kernel.rows.X), None if kernel.columns is kernel.rows else len(kernel.columns.X)
    if not dense_is_cheaper(kernel.network._neurons, n, p, kernel.layers):
        return False
    try:
        _plan_dense(kernel)
    except MemoryError:
        return False
    return True


def _plan_dense(kernel):
    """MemoryError where the matrix does not fit."""
    sizes = len(kernel.rows.X), len(kernel.columns.X)
    planned_ntk(kernel.network._neurons, *sizes, kernel.layers, kernel.options)


class NtkOperator(LinearOperator):
    """An empirical NTK that multiplies vectors; :func:`ntk_operator` makes it and describes it.

    Attributes
    ----------
    shape : (n, p)
    dtype : float64
    form : "dense" or "matrix-free"

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> K = fn.ntk_operator(np.eye(3), network=fn.Network(width=10_000, dim=3))
    >>> K.shape, K.symmetric, K.diagonal().shape, (K @ np.ones((3, 2))).shape
    ((3, 3), True, (3,), (3, 2))
    """

    def __init__(self, kernel, arguments, form):
        super().__init__(np.float64, (len(kernel.rows.X), len(kernel.columns.X)))
        self.form = form
        self._kernel = kernel
        self._arguments = arguments
        self._matrix = None

    def __repr__(self):
        kernel, mask = self._kernel, self._arguments["mask"]
        layers = {"hidden": "hidden layer", "output": "output layer", "both": "both layers"}[kernel.layers]
        parts = [f"{self.shape[0]} x {self.shape[1]}", layers, self.form, repr(kernel.network)]
        if mask is not None:
            parts.append(repr(mask))
        if kernel.draws > 1:
            parts.append(f"{kernel.draws} draws")
        return f"<NtkOperator {', '.join(parts)}>"

    @property
    def symmetric(self) -> bool:
        """Whether rows and columns are the same samples under the same masks."""
        return self._kernel.columns is self._kernel.rows

    def diagonal(self) -> Floats:
        """The diagonal of a symmetric kernel, (n,) float64, as :func:`fastntk.ntk_diag`.

        Read from the matrix in the dense form, else O(m n d) for each draw, a forward pass.  ValueError where
        rows and columns are not the same.
        """
        if not self.symmetric:
            raise ValueError(
                "diagonal() is of a symmetric kernel, but rows and columns differ here. Leave out Y, and "
                "give one mask rather than a pair."
            )
        if self.form == "dense":
            return self.formed().diagonal().copy()
        left_out = ("Y", "column_ids", "share_masks", "mask")
        arguments = {name: value for name, value in self._arguments.items() if name not in left_out}
        return ntk_diag(mask=self._kernel.rows.mask, **arguments)

    def matvec(self, x: Numbers | Array) -> Floats:
        """K x, (n,) float64, of a vector (p,); (n, 1) of (p, 1)."""
        return super().matvec(_vectors(x, "x", self.shape[1], one=True))

    def matmat(self, X: Numbers | Array) -> Floats:
        """K X, (n, k) float64, of vectors (p, k)."""
        return super().matmat(_vectors(X, "X", self.shape[1]))

    def rmatvec(self, x: Numbers | Array) -> Floats:
        """K^T x, (p,) float64, of a vector (n,); (p, 1) of (n, 1)."""
        return super().rmatvec(_vectors(x, "x", self.shape[0], one=True))

    def rmatmat(self, X: Numbers | Array) -> Floats:
        """K^T X, (p, k) float64, of vectors (n, k)."""
        return super().rmatmat(_vectors(X, "X", self.shape[0]))

    def _matvec(self, x):
        return self._matmat(x)

    def _rmatvec(self, x):
        return self._rmatmat(x)

    def _matmat(self, X):
        X = _as_columns(X)
        return _finite(_dense_product(self.formed(), X) if self.form == "dense" else self._kernel.product(X))

    def _rmatmat(self, X):
        X = _as_columns(X)
        if self.form == "dense":
            return _finite(_dense_product(self.formed().T, X))
        return _finite(self._kernel.transposed().product(X))

    def _transpose(self):
        return self if self.symmetric else super()._transpose()

    def _adjoint(self):
        return self if self.symmetric else super()._adjoint()

    def formed(self) -> Floats:
        """The matrix, (n, p) float64, made by :func:`fastntk.ntk` at the first call and kept.

        Not to be written.  The dense form calls this itself.
        """
        if self._matrix is None:
            self._matrix = ntk(**self._arguments)
        return self._matrix


def _vectors(value, name, length, *, one=False):
    """A finite real array (length,) or (length, k) as float64 of the same shape; with ``one``, k = 1."""
    columns = validation.as_columns(value, name, length=length)
    if one and columns.shape[1] != 1:
        raise ValueError(
            f"{name} has shape {columns.shape}; one vector is expected, ({length},) or ({length}, 1). "
            f"Several at once are for matmat, or for @."
        )
    return columns.reshape(np.shape(value))


def _dense_product(K, X):
    with np.errstate(over="ignore", invalid="ignore"):  # looked for by _finite
        return K @ X


def _finite(products):
    """Products (n, k), all of which are numbers."""
    if not np.isfinite(products).all():
        row, k = (int(i) for i in np.argwhere(~np.isfinite(products))[0])
        raise ValueError(
            f"the product with vector {k} is beyond float64 at row {row}. Scale the vector down."
        )
    return products


def _as_columns(X):
    """SciPy's algebra of operators hands over (length,) or (length, k) of any type, unchecked."""
    return validation.as_columns(X, "X", length=len(X))
