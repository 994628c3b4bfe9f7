"""What parameters of an estimator stand for: a mask, a seed."""

import numbers

import numpy as np
from sklearn.utils import check_random_state

from .. import validation
from ..masks import GaussianMask


def as_gaussian_mask(kappa):
    """GaussianMask(kappa), or None where it changes nothing."""
    mask = GaussianMask(kappa)
    return mask if np.any(mask.kappa) else None


def as_seed(random_state):
    """An integer as it is; what else scikit-learn takes for a ``random_state`` draws one."""
    if isinstance(random_state, numbers.Integral):
        return validation.as_seed(random_state, "random_state")
    return int(check_random_state(random_state).randint(2**31))
