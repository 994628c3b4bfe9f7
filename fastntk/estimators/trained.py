"""Networks trained by gradient descent under masks, as estimators."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from ..forward import outputs
from ..network import Network
from ..training import train
from .classes import OutputClassifier
from .parameters import as_gaussian_mask, as_seed
from .targets import SeveralTargets


class _Trained(BaseEstimator):
    """Training with the parameters, and the outputs of the trained network."""

    def __init__(
        self,
        width=10_000,
        *,
        kappa=0.0,
        steps=500,
        step_size=None,
        batch_size=None,
        scale=0.1,
        random_state=0,
        threads=None,
    ):
        self.width = width
        self.kappa = kappa
        self.steps = steps
        self.step_size = step_size
        self.batch_size = batch_size
        self.scale = scale
        self.random_state = random_state
        self.threads = threads

    def _train(self, X, y, outputs):
        """Train a network of so many outputs on the targets, or class numbers, y; sets ``run_``."""
        self.seed_ = as_seed(self.random_state)
        network = Network(self.width, X.shape[1], outputs=outputs, seed=self.seed_, scale=self.scale)
        self.run_ = train(
            X,
            y,
            network=network,
            mask=as_gaussian_mask(self.kappa),
            steps=self.steps,
            step_size=self.step_size,
            batch_size=self.batch_size,
            seed=self.seed_,
            threads=self.threads,
        )

    def _outputs(self, X):
        """What the trained network makes of clean rows."""
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return outputs(X, network=self.run_.network, threads=self.threads)


class NetworkRegressor(SeveralTargets, _Trained):
    """A two-layer ReLU network trained on squared loss by gradient descent under fresh masks at every step.

    Parameters
    ----------
    width : int
        Number of neurons.
    kappa : float or (d,) array
        Strength of the mask: in every step, rows are multiplied by fresh N(1, kappa^2).  0 is no mask.
    steps, step_size, batch_size
        As in :func:`fastntk.train`; without a step size it is half of what is stable.
    scale : float
        Standard deviation of the initial weights.  Untrained outputs are of size scale |x| / sqrt(2), beside
        targets of variance 1; the kernel does not depend on it.
    random_state : int, RandomState or None
        The seed of the weights, the masks and the order of batches.  An integer is used as it is.
    threads : int, optional
        As in :func:`fastntk.ntk`; give 1 where scikit-learn runs fits side by side (``n_jobs``).

    Attributes
    ----------
    run_ : TrainingRun
        History and trained network.
    offset_, unit_ : float or (q,) float64
        Mean and standard deviation of y; targets of the network are ``(y - offset_) / unit_``.
    seed_ : int
    n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, MemoryError
        In ``fit``, naming the parameter, what it was and what it may be.

    Warns
    -----
    TrainingWarning
        In ``fit``: a step size that cannot converge, or a run that has diverged.

    Notes
    -----
    Hidden weights are trained, output weights stay random signs, and there is no bias: standardise the
    features, and add a column of ones where a bias is wanted.  Predictions are those for clean rows.

    Cost O(m n d) a step; a pickle holds the weights, 4 m d bytes.  The same bits for any number of threads,
    on one instruction-set path.  Source: arXiv 2602.17423; docs/mathematics.md, section 7.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from fastntk.estimators import NetworkRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = scale(X)
    >>> model = NetworkRegressor(width=1000, kappa=0.5, steps=50).fit(X[::2], y[::2])
    >>> bool(model.score(X[1::2], y[1::2]) > 0.3), model.run_.status
    (True, 'finished')
    """

    def fit(self, X, y):
        """Train from the initial weights.

        Parameters
        ----------
        X : (n, d) real array
            Finite, rounded to float32.
        y : (n,) or (n, q) real array

        Returns
        -------
        self
        """
        X, y = self._checked(X, y)
        self.offset_ = y.mean(axis=0)
        targets = y - self.offset_
        largest = np.abs(targets).max(axis=0)
        targets = targets / np.where(largest > 0, largest, 1.0)  # whatever the units, squares are numbers
        spread = targets.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)  # a constant needs no network
        self.unit_ = np.where(largest > 0, largest * spread, 1.0)
        self._train(X, targets / spread, 1 if y.ndim == 1 else y.shape[1])
        self._one_column = y.shape[1:] == (1,)
        return self

    def predict(self, X):
        """The outputs for clean rows, (n,) or (n, q) float64 as y was.

        Parameters
        ----------
        X : (n, d) real array
        """
        check_is_fitted(self)
        found = self._outputs(X)
        return self.offset_ + self.unit_ * (found[:, np.newaxis] if self._one_column else found)


class NetworkClassifier(OutputClassifier, _Trained):
    """Classification by a network of one output for each class, trained under masks on one-hot targets.

    Parameters
    ----------
    width, kappa, steps, step_size, batch_size, scale, random_state, threads
        As for :class:`NetworkRegressor`.

    Attributes
    ----------
    classes_ : (q,) array
    run_ : TrainingRun
        History, with the accuracy on the training rows, and trained network.
    seed_, n_features_in_ : int

    Notes
    -----
    Targets are 1 for the class of a row and 0 for the others, the loss is the squared one, and the class of a
    row is that of its largest output.  ``predict_proba`` is the nearest vector of probabilities to the
    outputs, as in :class:`NTKClassifier`: not calibrated, and some are exactly 0.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastntk.estimators import NetworkClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NetworkClassifier(width=1000, kappa=0.1).fit(X[::2], y[::2])
    >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
    True
    """

    def fit(self, X, y):
        """Train from the initial weights.

        Parameters
        ----------
        X : (n, d) real array
        y : (n,) labels of at least two classes

        Returns
        -------
        self
        """
        X, labels = self._checked(X, y)
        self._train(X, labels, len(self.classes_))
        return self
