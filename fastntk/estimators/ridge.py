"""Kernel ridge regression and classification with the masked tangent kernel."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import validation
from ..limit import ntk_limit
from ..network import Network
from ..operator import ntk_operator
from ..ridge import kernel_ridge
from ..smoothing import expected_ntk
from .classes import OutputClassifier
from .parameters import as_gaussian_mask, as_seed
from .targets import SeveralTargets

KERNELS = ("finite", "expected", "infinite")


class _NTKRidge(BaseEstimator):
    """The kernel of the parameters and the system that is solved with it."""

    def __init__(
        self,
        kernel="finite",
        *,
        width=10_000,
        kappa=0.0,
        draws=16,
        layers="hidden",
        ridge=0.1,
        random_state=0,
        threads=None,
    ):
        self.kernel = kernel
        self.width = width
        self.kappa = kappa
        self.draws = draws
        self.layers = layers
        self.ridge = ridge
        self.random_state = random_state
        self.threads = threads

    def _solve(self, X, Y):
        """Fit the columns of Y (n, q); sets what a prediction needs."""
        self.seed_ = as_seed(self.random_state)
        self.X_fit_ = X
        K = self._kernel_of(X)
        diagonal = K.diagonal().mean()
        self.offset_ = Y.mean(axis=0)
        ridge = validation.as_not_negative(self.ridge, "ridge")
        ridge *= diagonal or 1.0  # rows of zeros: the mean, for any ridge
        try:
            self.dual_coef_ = kernel_ridge(K, Y - self.offset_, ridge=ridge).coefficients
        except ValueError:  # in units of the diagonal, unlike that of kernel_ridge
            raise ValueError(
                f"the kernel of the training rows with ridge={self.ridge!r} is singular to rounding: rows "
                f"are equal, proportional or zero, or more than the weights. Use a larger one, such as 1e-8."
            ) from None

    def _outputs(self, X):
        """Predictions (n, q) for clean rows."""
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self._kernel_of(self.X_fit_, X) @ self.dual_coef_ + self.offset_

    def _kernel_of(self, X, clean=None):
        """The kernel of the masked rows X, or of the rows ``clean`` and the masked columns X."""
        validation.as_choice(self.kernel, "kernel", KERNELS)
        mask = as_gaussian_mask(self.kappa)
        sides, masks = ([X], mask) if clean is None else ([clean, X], (None, mask))
        settings = {"mask": masks, "layers": self.layers}
        if self.kernel == "infinite":
            return ntk_limit(*sides, **settings)
        network = Network(self.width, X.shape[1], seed=self.seed_)
        if self.kernel == "expected":
            return expected_ntk(*sides, **settings, network=network, threads=self.threads)
        settings |= {"network": network, "draws": self.draws if mask else 1, "seed": self.seed_}
        settings["share_masks"] = clean is not None  # column i has the mask of row i of the training kernel
        try:  # conjugate gradients may need many products with a kernel that Cholesky solves at once
            return ntk_operator(*sides, **settings, threads=self.threads, form="dense")
        except MemoryError:
            return ntk_operator(*sides, **settings, threads=self.threads, form="matrix-free")


class NTKRegressor(SeveralTargets, _NTKRidge):
    """Kernel ridge regression with the tangent kernel of a wide two-layer ReLU network under input masks.

    Parameters
    ----------
    kernel : {"finite", "expected", "infinite"}
        Of the masked training rows.  "finite": at this width, averaged over ``draws`` masks
        (:func:`fastntk.ntk`).  "expected": at this width, averaged over all masks, in closed form
        (:func:`fastntk.expected_ntk`).  "infinite": the limit of infinite width, averaged over all masks
        (:func:`fastntk.ntk_limit`; under a mask an expansion, whose error is measured there).
    width : int
        Number of neurons; "infinite" has none.
    kappa : float or (d,) array
        Strength of the mask: training rows are multiplied by N(1, kappa^2).  0 is no mask.
    draws : int
        Masks to average over; of "finite" alone.
    layers : {"hidden", "output", "both"}
        Which weights the kernel is of.
    ridge : float
        At least 0, in units of the mean diagonal entry of the training kernel: what is added to the diagonal
        is ridge * tr(K) / n.  A prediction then does not depend on the unit of X.
    random_state : int, RandomState or None
        The seed of the weights and of the masks.  An integer is used as it is: the network is
        ``fastntk.Network(width, d, seed=random_state)``.
    threads : int, optional
        As in :func:`fastntk.ntk`; give 1 where scikit-learn runs fits side by side (``n_jobs``).

    Attributes
    ----------
    X_fit_ : (n, d) array
        The training rows, before the mask.
    dual_coef_ : (n,) or (n, q) float64
    offset_ : float or (q,) float64
        The mean of y.
    seed_ : int
    n_features_in_ : int

    Raises
    ------
    TypeError, ValueError
        In ``fit``, naming the parameter, what it was and what it may be; where K + ridge is singular.

    Notes
    -----
    With K the kernel of the masked training rows and k(x) that of the clean row x with them,

        f(x) = mean(y) + k(x) (K + ridge tr(K)/n I)^-1 (y - mean(y)).

    *Which masks.* Training row i has mask i of the seed, the same one in K and in k(x), in every draw.  A row
    to predict has none: masks belong to training, as in ``fastntk.train``, and so the prediction for a
    training row is that for the clean row.  The kernel of all these rows together, masked and clean, is
    positive semidefinite in every draw and so in the mean.  On its diagonal masks leave more than between two
    rows, which acts as a ridge.

    Cost of a fit: that of the kernel, and n^3 / 6 multiply-adds; "finite" solves by products with K where the
    matrix would not fit the memory.  Results of "finite" and "expected" are the same for any number of
    threads up to the rounding of BLAS.

    Source: arXiv 2602.17423 (the masked kernel); docs/mathematics.md, sections 2, 3, 8 and 12.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastntk.estimators import NTKRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NTKRegressor("infinite", kappa=0.5, ridge=1.0))
    >>> bool(cross_val_score(model, X, y).mean() > 0.45)
    True
    """

    def fit(self, X, y):
        """Solve for the coefficients.

        Parameters
        ----------
        X : (n, d) real array
            Finite; "finite" and "infinite" round it to float32.
        y : (n,) or (n, q) real array

        Returns
        -------
        self
        """
        X, y = self._checked(X, y)
        self._solve(X, y)
        return self

    def predict(self, X):
        """f(x) for clean rows, (n,) or (n, q) float64 as y was.

        Parameters
        ----------
        X : (n, d) real array
        """
        check_is_fitted(self)
        return self._outputs(X)


class NTKClassifier(OutputClassifier, _NTKRidge):
    """Classification by kernel ridge regression on one-hot targets; the kernel is that of a masked network.

    Parameters
    ----------
    kernel, width, kappa, draws, layers, ridge, random_state, threads
        As for :class:`NTKRegressor`.

    Attributes
    ----------
    classes_ : (q,) array
    X_fit_, dual_coef_, offset_, seed_, n_features_in_
        As for :class:`NTKRegressor`; ``offset_`` is the share of each class.

    Notes
    -----
    Output c is the regression of :class:`NTKRegressor` on the target 1 for rows of class c and 0 for the
    others.  The outputs of a row add up to 1, and the class is that of the largest.

    *Probabilities.* Squared loss on one-hot targets is least in the mean at the probabilities of the classes,
    so the outputs estimate them, but they may lie outside [0, 1].  ``predict_proba`` is the nearest vector of
    probabilities to them (Euclidean; ``fastntk.estimators.classes.nearest_probabilities``).  They are not
    calibrated, and some are exactly 0; ``sklearn.calibration.CalibratedClassifierCV`` calibrates.

    Masks, cost and source: as for :class:`NTKRegressor`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastntk.estimators import NTKClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NTKClassifier(width=2000, kappa=0.1).fit(X[::2], y[::2])
    >>> bool(model.score(X[1::2], y[1::2]) > 0.9), model.predict_proba(X[:4]).shape
    (True, (4, 3))
    """

    def fit(self, X, y):
        """Solve for the coefficients.

        Parameters
        ----------
        X : (n, d) real array
        y : (n,) labels of at least two classes

        Returns
        -------
        self
        """
        X, labels = self._checked(X, y)
        self._solve(X, np.eye(len(self.classes_))[labels])
        return self
