"""Random input masks: what they are, how they are sampled, and their moments.

Four distributions of the masked input x~ given x (arXiv 2602.17423 studies the first):

================  ===========================  =========  ===================
mask              x~                           E x~       Var x~
================  ===========================  =========  ===================
GaussianMask      x c, c ~ N(1, kappa^2)       x          kappa^2 x^2
AdditiveMask      x + tau g, g ~ N(0, 1)       x          tau^2
LognormalMask     x exp(kappa g - kappa^2/2)   x          (e^{kappa^2} - 1) x^2
BernoulliMask     x/keep or 0, P = keep        x          (1/keep - 1) x^2
================  ===========================  =========  ===================

``None`` is no mask.  All of them leave the mean of an entry where it was, and entries are independent.

A mask value is a function of (seed, stream, draw, row id, feature) and of nothing else, so a subset
of the rows, given with its row ids, sees the masks it has in the whole; every operation on the way
is a single correctly rounded one, so the bits are the same on every machine.
"""

from dataclasses import dataclass

import numpy as np

from .annotations import Array, Numbers, Real
from .exponential import exponential
from .kernels import load
from .kernels.reference import stream_word
from .masking import Mask, Moments, Spread, as_mask, sample

__all__ = [
    "AdditiveMask",
    "BernoulliMask",
    "GaussianMask",
    "LognormalMask",
    "Mask",
    "Moments",
    "Spread",
    "as_mask",
    "sample",
]

GAUSSIAN_KAPPA_LIMIT = 1e6  # c stays far inside fp32, x~ of any x below 1e31 too
ADDITIVE_TAU_LIMIT = 1e37  # tau times the largest normal (6.8) is below the largest fp32
LOGNORMAL_KAPPA_LIMIT = 5.0  # the fourth moment e^{6 kappa^2} x^4 stays inside float64 for every fp32 x
BERNOULLI_KEEP_LIMIT = 1e-6  # P(keep) is a multiple of 2^-32: relative error below 1.2e-4


@dataclass(frozen=True, init=False)
class GaussianMask(Mask):
    """Gaussian multiplicative mask: x~ = x c, c ~ N(1, kappa^2), independent entries.

    Parameters
    ----------
    kappa : float or (d,) array
        Standard deviation of c, one for all features or one for each; from 0 (no change) to 1e6.

    Notes
    -----
    Mean one, Var c = kappa^2.  c = fma(kappa, z, 1) and x~ = x c, each rounded once to float32.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.GaussianMask(0.2)
    GaussianMask(kappa=0.2)
    >>> fn.GaussianMask([0.0, 0.5]).variance([[1.0, 2.0]])
    array([[0., 1.]])
    """

    kappa: float | tuple[float, ...]

    def __init__(self, kappa: Real | Numbers | Array) -> None:
        object.__setattr__(self, "kappa", _strength(kappa, "kappa", GAUSSIAN_KAPPA_LIMIT))

    def _apply(self, X, ids, seed, stream, draw):
        z = _normals(seed, ids, X.shape[1], stream, draw)
        return X * _fma(self.kappa, z, np.ones_like(z))

    def _normal_form(self, dim):
        return _by_feature(self.kappa, dim), True

    def _spread(self, X):
        return _gaussian_spread(X, np.square(np.asarray(self.kappa) * X))


@dataclass(frozen=True, init=False)
class AdditiveMask(Mask):
    """Gaussian additive noise: x~ = x + tau g, g ~ N(0, 1), independent entries.

    Parameters
    ----------
    tau : float or (d,) array
        Standard deviation of the noise, one for all features or one for each; from 0 to 1e37.

    Notes
    -----
    E x~ = x, Var x~ = tau^2.  x~ = fma(tau, z, x), rounded once to float32.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.AdditiveMask(0.5).variance([[1.0, 0.0]])
    array([[0.25, 0.25]])
    """

    tau: float | tuple[float, ...]

    def __init__(self, tau: Real | Numbers | Array) -> None:
        object.__setattr__(self, "tau", _strength(tau, "tau", ADDITIVE_TAU_LIMIT))

    def _apply(self, X, ids, seed, stream, draw):
        z = _normals(seed, ids, X.shape[1], stream, draw)
        return _fma(self.tau, z, X)

    def _normal_form(self, dim):
        return _by_feature(self.tau, dim), False

    def _spread(self, X):
        return _gaussian_spread(X, np.broadcast_to(np.square(self.tau), X.shape))


@dataclass(frozen=True)
class LognormalMask(Mask):
    """Lognormal mask: x~ = x exp(kappa g - kappa^2 / 2), g ~ N(0, 1), independent entries.

    Parameters
    ----------
    kappa : float
        Standard deviation of log c, from 0 (no change) to 5, where the median of c is 4e-6 already.

    Notes
    -----
    Mean one, Var c = exp(kappa^2) - 1, never negative.  The exponential is our own float64 one
    (relative error below 4e-16, the same bits everywhere), rounded once to float32; so is x c.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.LognormalMask(1.0).variance([[1.0]]).round(6)
    array([[1.718282]])
    """

    kappa: float

    def __post_init__(self):
        object.__setattr__(self, "kappa", _number(self.kappa, "kappa", 0.0, LOGNORMAL_KAPPA_LIMIT))

    def _apply(self, X, ids, seed, stream, draw):
        z = _normals(seed, ids, X.shape[1], stream, draw).astype(np.float64)
        return X * exponential(self.kappa * z - 0.5 * (self.kappa * self.kappa)).astype(np.float32)

    def _spread(self, X):
        s = self.kappa**2
        return Spread(
            np.expm1(s) * X**2,
            np.exp(s) * np.expm1(2 * s) * X**3,
            np.exp(2 * s) * np.expm1(4 * s) * X**4,
        )


@dataclass(frozen=True)
class BernoulliMask(Mask):
    """Inverted dropout: x~ = x / keep with probability ``keep``, else 0, independent entries.

    Parameters
    ----------
    keep : float
        Probability of keeping an entry, from 1e-6 to 1 (no change).

    Notes
    -----
    Mean one, Var c = 1/keep - 1.  An entry is kept where its 32-bit word is below keep 2^32, rounded
    to an integer; c = 1/keep and x~ = x c are each rounded once to float32.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.BernoulliMask(0.5).sample([[1.0, 1.0, 1.0]], seed=2).max()
    np.float32(2.0)
    """

    keep: float

    def __post_init__(self):
        object.__setattr__(self, "keep", _number(self.keep, "keep", BERNOULLI_KEEP_LIMIT, 1.0))

    def _apply(self, X, ids, seed, stream, draw):
        kept = _words(seed, ids, X.shape[1], stream, draw) < np.uint64(round(self.keep * 2.0**32))
        return X * np.where(kept, np.float32(1 / self.keep), np.float32(0))

    def _spread(self, X):
        top, excess = 1 / self.keep, (1 - self.keep) / self.keep
        return Spread(excess * X**2, top * excess * X**3, top**2 * excess * X**4)


# ------------------------------------------------------------------------- the random numbers
def _normals(seed, ids, dim, stream, draw):
    """(len(ids), dim) float32 standard normals of the wire format."""
    return _random_rows(np.float32, seed, ids, dim, stream, draw)


def _words(seed, ids, dim, stream, draw):
    """(len(ids), dim) uint32 words of the wire format."""
    return _random_rows(np.uint32, seed, ids, dim, stream, draw)


def _random_rows(dtype, seed, ids, dim, stream, draw):
    out = np.empty((len(ids), dim), dtype)
    load().random_rows(dtype is np.float32, seed, stream_word(stream, draw), ids, out)
    return out


def _fma(strength, values, shift):
    """strength * values + shift in float32, rounded once; strength a number or one for each feature."""
    out = np.empty_like(values)
    load().fma_rows(_by_feature(strength, values.shape[1]), values, shift, out)
    return out


def _by_feature(strength, dim):
    """A strength as (d,) float32."""
    scale = np.empty(dim, np.float32)
    scale[:] = strength
    return scale


# ------------------------------------------------------------------------------- small pieces
def _gaussian_spread(X, V):
    """Spread of N(X, V)."""
    return Spread(V, 2 * X * V, (4 * X * X + 2 * V) * V)


def _number(value, name, low, high):
    """A real number in [low, high] as a float."""
    if (
        isinstance(value, (bool, np.bool_))
        or np.ndim(value) != 0
        or np.asarray(value).dtype.kind not in "fiu"
    ):
        raise TypeError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}.")
    number = float(value)
    if not low <= number <= high:  # NaN fails too
        raise ValueError(f"{name} is {number}; it must be from {low:g} to {high:g}.")
    return number


def _strength(value, name, high):
    """A number in [0, high], or one for each feature as a tuple of floats."""
    if np.ndim(value) == 0:
        return _number(value, name, 0.0, high)
    if np.ndim(value) != 1 or np.size(value) == 0:
        raise ValueError(
            f"{name} has shape {np.shape(value)}; it must be a number or a vector, one per feature."
        )
    return tuple(_number(one, f"{name}[{k}]", 0.0, high) for k, one in enumerate(np.asarray(value)))
