"""What all masks have in common: sampling by row id, moments, checks; the distributions are in masks.py."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import validation
from .annotations import Array, Count, Floats, Numbers, Rows
from .engine.environment import in_ieee_arithmetic
from .kernels.reference import DRAW_LIMIT, ROW_MASK_STREAM

STREAM_COUNT = 16
VALUES_PER_BLOCK = 1 << 20  # rows are masked in blocks of about this many values, to bound the temporaries


class Moments(NamedTuple):
    """Raw moments E x~^p, p = 1..4, one (n, d) float64 array each."""

    mean: np.ndarray
    second: np.ndarray
    third: np.ndarray
    fourth: np.ndarray


class Spread(NamedTuple):
    """Var x~, Cov(x~, x~^2) and Var x~^2, (n, d) float64 each, without cancellation.

    With the mean these are the raw moments up to the fourth; as differences of raw moments they
    would lose all their digits for weak masks.
    """

    variance: np.ndarray
    covariance_with_square: np.ndarray
    variance_of_square: np.ndarray


class Mask(ABC):
    """What all masks do; the distributions below fill in ``_apply`` and ``_spread``."""

    def sample(
        self,
        X: Rows,
        *,
        seed: Count = 0,
        draw: Count = 0,
        row_ids: Numbers | Array | None = None,
        stream: Count = ROW_MASK_STREAM,
    ) -> NDArray[np.float32]:
        """Masked inputs x~ of draw number ``draw``.

        Parameters
        ----------
        X : (n, d) real array
            Rounded to float32; never written.
        seed, draw : int
            0 <= seed < 2^64, 0 <= draw < 2^28.
        row_ids : (n,) integers, optional
            The ids that key the masks, 0..n-1 by default.  Rows with the same id have the same mask
            values.
        stream : int
            Which family of masks, 0..15; rows and columns of a kernel use different ones.

        Returns
        -------
        (n, d) float32
            A new array, the same bits on every machine.  Cost O(n d).

        Raises
        ------
        ValueError
            A per-feature strength of a length other than d, or a masked value outside float32 (the
            message says which).

        Examples
        --------
        >>> import numpy as np, fastntk as fn
        >>> X = np.ones((3, 2))
        >>> mask = fn.GaussianMask(0.1)
        >>> whole = mask.sample(X, seed=1)
        >>> part = mask.sample(X[2:], seed=1, row_ids=[2])
        >>> bool((whole[2:] == part).all())
        True
        """
        return sample(self, X, seed=seed, draw=draw, row_ids=row_ids, stream=stream)

    def moments(self, X: Rows) -> Moments:
        """Raw moments 1 to 4 of the masked entries: ``Moments`` of (n, d) float64 arrays.

        Closed forms in float64 at the float64 values of X and of the strength (``sample`` rounds both
        to float32 first).  Cost O(n d).

        Examples
        --------
        >>> import fastntk as fn
        >>> fn.BernoulliMask(0.5).moments([[3.0]]).second
        array([[18.]])
        """
        mean = np.array(validation.as_matrix(X, "X", dtype=np.float64))
        spread = self.spread(mean)
        second = mean * mean + spread.variance
        third = mean * second + spread.covariance_with_square
        fourth = second * second + spread.variance_of_square
        return Moments(mean, second, third, fourth)

    def variance(self, X: Rows) -> Floats:
        """Var x~, (n, d) float64: the V of every formula written in (x, V), kappa^2 x^2 for the Gaussian."""
        return self.spread(X).variance

    def spread(self, X: Rows) -> Spread:
        """``Spread`` of the masked entries of X, (n, d), in float64."""
        rows = validation.as_matrix(X, "X", dtype=np.float64)
        self._check_features(rows.shape[1], "X")
        return self._spread(rows)

    def _check_features(self, dim, name):
        """Refuse a per-feature strength of the wrong length."""
        for field, value in vars(self).items():
            if isinstance(value, tuple) and len(value) != dim:
                raise ValueError(
                    f"{field} of {type(self).__name__} is for {len(value)} features but {name} has {dim}; "
                    f"give one for each feature, or a single number."
                )

    @abstractmethod
    def _apply(self, X, ids, seed, stream, draw):
        """Masked rows X, (n, d) float32, with ids (n,) uint64."""

    def _normal_form(self, dim):
        """How devices make masked rows of standard normals z; None where only this machine does.

        (scale (d,) float32, True) for x fma(scale, z, 1), (scale, False) for fma(scale, z, x).
        """
        return

    @abstractmethod
    def _spread(self, X):
        """``Spread`` of (n, d) float64 rows X."""


@in_ieee_arithmetic
def sample(mask, X, *, seed=0, draw=0, row_ids=None, stream=ROW_MASK_STREAM, name="X"):
    """``mask.sample(X, ...)``, and X rounded to float32 (perhaps X itself) for ``mask=None``.

    ``name`` is what errors call X.  Arguments, errors and reproducibility: ``Mask.sample``.
    """
    as_mask(mask, "mask")
    X = validation.as_matrix(X, name)
    seed = validation.as_seed(seed)
    draw = validation.as_count(draw, "draw", low=0, high=DRAW_LIMIT - 1)
    stream = validation.as_count(stream, "stream", low=0, high=STREAM_COUNT - 1)
    ids = validation.as_ids(row_ids, "row_ids", len(X))
    if mask is None:
        return X
    mask._check_features(X.shape[1], name)
    masked = np.empty_like(X)
    step = max(1, VALUES_PER_BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        masked[rows] = mask._apply(X[rows], ids[rows], seed, stream, draw)
    validation.require_finite(
        masked, name, f"in float32 after {type(mask).__name__} (seed {seed}, draw {draw})"
    )
    return masked


def as_mask(mask, name="mask"):
    """``mask`` itself, where it is a mask or None."""
    if mask is not None and not isinstance(mask, Mask):
        raise TypeError(
            f"{name} is {mask!r}; it must be None or a mask: GaussianMask(kappa), AdditiveMask(tau), "
            f"LognormalMask(kappa) or BernoulliMask(keep)."
        )
    return mask
