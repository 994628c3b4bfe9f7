"""Classes from outputs that squared loss fits to one-hot targets."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


class OutputClassifier(ClassifierMixin):
    """What classifiers of one output for each class have in common; they fill in ``_outputs``."""

    def _checked(self, X, y):
        """Set ``classes_``; training rows, and the place of each label there, (n,) integers."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_[0]!r}; a classifier needs rows of at least two."
            )
        return X, labels

    def decision_function(self, X):
        """The outputs: (n, q) for q classes, and for two the second less the first, (n,).

        Parameters
        ----------
        X : (n, d) real array

        Returns
        -------
        (n,) or (n, q) float64
        """
        outputs = self._checked_outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X):
        """The class of the largest output of each row, (n,).

        Parameters
        ----------
        X : (n, d) real array
        """
        largest = self._checked_outputs(X).argmax(axis=1)
        return self.classes_[largest]

    def predict_proba(self, X):
        """Class probabilities, (n, q) float64 in the order of ``classes_``: see the class's Notes.

        Parameters
        ----------
        X : (n, d) real array
        """
        return nearest_probabilities(self._checked_outputs(X))

    def _checked_outputs(self, X):
        check_is_fitted(self)
        return self._outputs(X)


def nearest_probabilities(F):
    """The nearest probability vector to each row of F in Euclidean distance.

    It is max(f_c - t, 0) with the t for which the entries add up to 1; the order of the entries is that of F.
    As probability vectors are a convex set that holds all one-hot vectors, none of these is farther from the
    result than from the row itself: the Brier score can only improve.

    Parameters
    ----------
    F : (n, q) float64

    Returns
    -------
    (n, q) float64

    Notes
    -----
    Cost O(n q log q).

    Examples
    --------
    >>> from fastntk.estimators.classes import nearest_probabilities
    >>> nearest_probabilities([[0.25, 0.75], [1.5, 0.0], [0.5, 0.7]])
    array([[0.25, 0.75],
           [1.  , 0.  ],
           [0.4 , 0.6 ]])
    """
    F = np.asarray(F, np.float64)
    F = F - F.max(axis=1, keepdims=True)  # the same t for all: 1 - largest is then exact enough for huge rows
    descending = -np.sort(-F, axis=1)
    t = (np.cumsum(descending, axis=1) - 1) / np.arange(1, F.shape[1] + 1)
    kept = (descending > t).sum(axis=1)  # a prefix of the descending order
    P = np.maximum(F - t[np.arange(len(F)), kept - 1][:, None], 0)
    return P / P.sum(axis=1, keepdims=True)
