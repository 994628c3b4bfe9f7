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
        y = np.asarray(y, np.float64)
        largest, limit = np.abs(y).max(), np.finfo(y.dtype).max / (4 * len(y))
        if largest > limit:  # sums and differences of targets are numbers
            raise ValueError(
                f"y holds {largest:.3g}; targets may be up to {limit:.3g}. Divide y by a number."
            )
        return X, y
