"""The mean masked tangent kernel as a covariance function of scikit-learn."""

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from .. import validation
from ..gram import LAYERS
from ..limit import ntk_limit
from ..network import Network
from ..smoothing import expected_ntk
from .expected_slope import expected_diagonal, expected_slopes
from .limit_slope import limit_slopes
from .parameters import as_gaussian_mask

KERNELS = ("expected", "infinite")


class NTKKernel(Kernel):
    """The mean tangent kernel over Gaussian masks, for Gaussian processes, ``SVC(kernel=...)`` and the like.

    k(x, x') = E K(x~, x~'), K the tangent kernel of a two-layer ReLU network and x~, x~' the rows under
    independent masks N(1, kappa^2).  A row has more with itself, as in a ``WhiteKernel``: the diagonal of
    ``kernel(X)`` is E K(x~, x~), both sides under one mask; ``kernel(X, Y)`` has none of that, even of X.

    Parameters
    ----------
    kappa : float or (d,) array
        Strength of the mask, one for all features or one for each.  0 is no mask.
    kappa_bounds : (float, float), (d, 2) array or "fixed"
        Between which kappa is optimised.  It is fixed as well where a kappa is 0, which has no logarithm.
    kernel : {"infinite", "expected"}
        "infinite": the limit of infinite width (:func:`fastntk.ntk_limit`; under a mask an expansion, whose
        error is measured there).  "expected": the mean at this width (:func:`fastntk.expected_ntk`).
    width : int
        Number of neurons; of "expected" alone.
    layers : {"hidden", "output", "both"}
        Which weights the kernel is of.
    random_state : int
        Seed of the weights; of "expected" alone.

    Raises
    ------
    TypeError, ValueError
        When called, naming the parameter, what it was and what it may be.

    Notes
    -----
    *Predictions* of a Gaussian process are the mean over the masks of the row to predict, not those for the
    clean row as in :class:`fastntk.estimators.NTKRegressor`: a covariance does not know which of its rows are
    to be predicted.  Predicted variances count the mask of that row too.  There is no "finite" kernel of
    sampled masks here for the same reason: a row has no number that would say which mask is its own.

    The kernel grows with |x|^2 and has no bias: standardise the features, and multiply by a
    ``ConstantKernel`` for the size of the targets.  The variance that masks bring is noise to a Gaussian
    process, and a ``WhiteKernel`` competes with it.

    *Gradients* are exact derivatives of what is computed, by log kappa.  Cost of the kernel: as there.  Of
    gradients, for each kappa: O(n^2 d) ("infinite", one kappa), O(n^2) (one of d) and O(m n^2 d)
    ("expected"); memory 8 n^2 bytes for each kappa, and some more.

    Source: arXiv 2602.17423 (the masked kernel); docs/mathematics.md, sections 3 and 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import ConstantKernel
    >>> from fastntk.estimators import NTKKernel
    >>> NTKKernel(0.5)([[3.0]])
    array([[5.625]])
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 5))
    >>> kernel = ConstantKernel() * NTKKernel(0.2)
    >>> y = 2 * X[:, 0] + np.abs(X[:, 1]) + rng.standard_normal(60)
    >>> model = GaussianProcessRegressor(kernel).fit(X[:40], y[:40])
    >>> bool(model.score(X[40:], y[40:]) > 0.5)
    True
    """

    def __init__(
        self,
        kappa=0.2,
        kappa_bounds=(1e-3, 2.0),
        *,
        kernel="infinite",
        width=1000,
        layers="hidden",
        random_state=0,
    ):
        self.kappa = kappa
        self.kappa_bounds = kappa_bounds
        self.kernel = kernel
        self.width = width
        self.layers = layers
        self.random_state = random_state

    @property
    def hyperparameter_kappa(self):
        """What scikit-learn optimises: log kappa, or the logarithms."""
        bounds = self.kappa_bounds if np.all(self.kappa) else "fixed"
        return Hyperparameter("kappa", "numeric", bounds, max(np.size(self.kappa), 1))

    def __repr__(self):
        strengths = ", ".join(f"{kappa:.3g}" for kappa in np.ravel(self.kappa))
        strength = f"[{strengths}]" if np.ndim(self.kappa) else strengths
        size = "" if self.kernel == "infinite" else f", width={self.width}"
        return f"NTKKernel(kappa={strength}, kernel={self.kernel!r}{size}, layers={self.layers!r})"

    def __call__(self, X, Y=None, eval_gradient=False):
        """The kernel matrix, and its gradient by log kappa.

        Parameters
        ----------
        X : (n, d) real array
        Y : (p, d) real array, optional
            Columns; without it they are X, and the diagonal is that of equal masks.
        eval_gradient : bool
            Only without Y.

        Returns
        -------
        (n, p) float64, or with ``eval_gradient`` that and (n, n, k) float64 for k kappas that are not fixed
        """
        if eval_gradient and Y is not None:
            raise ValueError(
                "eval_gradient=True is given with Y; the gradient is that of kernel(X). Leave Y out."
            )
        self._check()
        mask = as_gaussian_mask(self.kappa)
        settings = {"mask": mask, "layers": self.layers}
        if self.kernel == "infinite":
            K = ntk_limit(X, Y, **settings)
        else:
            X = validation.as_inputs(X, "X", np.float64)
            K = expected_ntk(X, Y, **settings, network=self._network(X))
        return (K, self._gradient(X, mask)) if eval_gradient else K

    def diag(self, X):
        """The diagonal of ``kernel(X)``, (n,) float64, without the matrix.

        Parameters
        ----------
        X : (n, d) real array
        """
        self._check()
        mask = as_gaussian_mask(self.kappa)
        X, V = self._inputs(X, mask)
        if self.kernel == "infinite":
            return (np.square(X) + V).sum(axis=1) * (1.0 if self.layers == "both" else 0.5)
        return expected_diagonal(X, V, self._network(X), self.layers)

    def is_stationary(self):
        """False: the kernel depends on where its rows are."""
        return False

    def _gradient(self, X, mask):
        """Derivatives of ``kernel(X)`` by the logarithm of each kappa that is not fixed, (n, n, k)."""
        if self.hyperparameter_kappa.fixed:
            return np.empty((len(X), len(X), 0))
        X, V = self._inputs(X, mask)
        if np.ndim(self.kappa) == 0:
            changes = [(slice(None), 2 * V)]  # V = kappa^2 x^2
        else:
            changes = [(slice(k, k + 1), 2 * V[:, k : k + 1]) for k in range(X.shape[1])]
        if self.kernel == "infinite":
            return limit_slopes(X, mask, changes, self.layers)
        return expected_slopes(X, V, changes, self._network(X), self.layers)

    def _inputs(self, X, mask):
        """X as the kernel uses it, and the variances of its masked entries."""
        X = validation.as_inputs(X, "X", np.float64)
        if self.kernel == "infinite":
            X = X.astype(np.float32).astype(np.float64)
        return X, np.zeros_like(X) if mask is None else mask.variance(X)

    def _check(self):
        validation.as_choice(self.kernel, "kernel", KERNELS)
        validation.as_choice(self.layers, "layers", LAYERS)

    def _network(self, X):
        return Network(self.width, np.shape(X)[1], seed=validation.as_seed(self.random_state, "random_state"))
