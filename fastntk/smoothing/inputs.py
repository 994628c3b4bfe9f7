"""What the closed forms take: inputs in float64, Gaussian masks as variances, weights in float64."""

import numpy as np

from .. import masking, validation
from ..explained import CLOSED_FORMS
from ..masks import AdditiveMask, BernoulliMask, GaussianMask, LognormalMask
from ..network import as_neurons


def as_problem(X, network, mask):
    """(X, V, neurons): inputs (n, d) float64, variances of their entries under the mask, and the neurons."""
    X = validation.as_inputs(X, "X", np.float64)
    neurons = as_neurons(network, X)
    return X, variances(mask, X, "X"), neurons


def variances(mask, X, name):
    """Var x~, (n, d) float64, under a Gaussian mask or none; other masks are refused."""
    if masking.as_mask(mask) is None:
        return np.zeros_like(X)
    if not isinstance(mask, (GaussianMask, AdditiveMask)):
        raise ValueError(
            f"mask is {mask!r}; closed forms are for masks under which preactivations are Gaussian: "
            f"GaussianMask and AdditiveMask. {matched(mask)!r} has the same mean and variance. "
            f"{CLOSED_FORMS}"
        )
    mask._check_features(X.shape[1], name)
    return mask.variance(X)


def matched(mask):
    """The GaussianMask with the mean and variance of a lognormal or Bernoulli mask, kappa in 6 digits."""
    if isinstance(mask, LognormalMask):
        variance = np.expm1(mask.kappa**2)
    elif isinstance(mask, BernoulliMask):
        variance = 1 / mask.keep - 1
    else:
        return mask
    return GaussianMask(float(f"{np.sqrt(variance):.6g}"))
