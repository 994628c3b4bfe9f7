"""Real targets, one column or several."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data


class SeveralTargets(RegressorMixin):
    """What regressors of targets (n,) or (n, q) have in common."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, X, y):
        """Training rows and their targets in float64."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32))
        return X, np.asarray(y, np.float64)
