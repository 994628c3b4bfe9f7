"""The kernels of the infinitely wide network, and how far a finite width is from them.

At given (masked) inputs these are the arc-cosine kernels (Cho & Saul 2009), for w ~ N(0, scale^2 I),
theta the angle between x and x':

    hidden   E a^2  x.x' (pi - theta) / 2 pi
    output   scale^2 |x| |x'| (sin theta + (pi - theta) cos theta) / 2 pi

With masks, they are averaged over draws, or over the masks in closed form.  Everything is float64 on
BLAS: the last bits depend on the machine.
"""

import math

import numpy as np

from . import arccosine, masks, validation
from .arrays import like_its_arrays
from .engine.environment import in_ieee_arithmetic
from .sides import kernel_sides, require_closed_form

_DRAWS = "give draws=, the number of draws to average over"


@like_its_arrays
@in_ieee_arithmetic
def ntk_limit(
    X,
    Y=None,
    *,
    mask=None,
    draws=None,
    seed=0,
    layers="hidden",
    scale=1.0,
    output_weight_square=1.0,
    row_ids=None,
    column_ids=None,
    share_masks=False,
):
    """The neural tangent kernel at infinite width.

    Parameters
    ----------
    X : (n, d) real array
        Rows, rounded to float32.
    Y : (p, d) real array, optional
        Columns; X itself by default.
    mask : mask, None, or a pair (row mask, column mask)
        As for ``ntk``.
    draws : int, optional
        With a number: the average over that many draws of the kernel at the same masked inputs as
        ``ntk(..., draws=draws, seed=seed)`` sees, the limit of that very kernel.  Without: the mean
        over all masks, no random numbers (Notes).
    seed : int
        Seed of the masks.
    layers : {"hidden", "output", "both"}
        Which weights are trained.
    scale : float
        Standard deviation of the hidden weights; enters the output layer's kernel alone.
    output_weight_square : float
        E a^2 of the output weights; enters the hidden layer's kernel alone.
    row_ids, column_ids, share_masks
        As for ``ntk``.

    Returns
    -------
    (n, p) float64
        Exactly symmetric where the two sides are the same.

    Raises
    ------
    ValueError
        Without draws, where rows and columns share masks in a way that has no closed form
        (``share_masks`` with Y; two different masks without Y; repeated row ids).

    Notes
    -----
    *Given inputs* (no mask, or draws): absolute error below 1e-12 |x| |x'|; zero rows give 0.

    *Mask mean* (mask, no draws): the diagonal is exact where rows and columns are the same.  An entry
    of two rows with independent masks is expanded to second order in the fluctuations of |x~|^2,
    |x~'|^2 and x~.x~' (delta method), with the exact moments of the mask.  The error falls with the
    number of features that matter and grows with the mask.  Measured for x ~ N(0, I/d), pairs with
    cosines up to 0.9, hidden layer: at d = 20 below 2e-3 for GaussianMask(0.6), 2e-2 for GaussianMask(2),
    2e-3 for BernoulliMask(0.5), 3e-2 for BernoulliMask(0.2), 6e-3 for LognormalMask(0.5); at d = 5, .02
    to .03 for GaussianMask(1).  Use draws where that is not enough, and for LognormalMask(0.7) and
    beyond.  The expansion stops at order 0 for a pair whose mean angle is so close to 0 or pi that its
    squared sine is below 1e-12, or where Var |x~|^2 of a row exceeds 2.1 (E |x~|^2)^2, which no Gaussian
    mask does.

    Cost O(n p d) per draw on BLAS plus about 30 ns an entry; memory 8 n p bytes (twice that with
    several draws).  Source: arXiv 2602.17423 (the masked network); Cho & Saul 2009 (the kernels).

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.ntk_limit([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    array([[0.5  , 0.   , 0.375],
           [0.   , 2.   , 0.75 ],
           [0.375, 0.75 , 1.   ]])
    >>> fn.ntk_limit([[3.0]], mask=fn.GaussianMask(0.5))
    array([[5.625]])
    """
    validation.as_choice(layers, "layers", ("hidden", "output", "both"))
    hidden = validation.as_positive(output_weight_square, "output_weight_square") * (layers != "output")
    output = validation.as_positive(scale, "scale") ** 2 * (layers != "hidden")
    seed = validation.as_seed(seed)
    rows, columns = kernel_sides(
        X, Y, mask=mask, row_ids=row_ids, column_ids=column_ids, share_masks=share_masks
    )
    if draws is not None:
        draws = validation.as_count(draws, "draws")
    if rows.mask is None and columns.mask is None:
        return arccosine.kernel(rows.X, None if columns is rows else columns.X, hidden, output)
    if draws is None:
        require_closed_form(rows, columns, Y is not None, share_masks, _DRAWS)
        X, Y = rows.X.astype(np.float64), None if columns is rows else columns.X.astype(np.float64)
        other_spread = None if Y is None else _spread(columns.mask, Y)
        return arccosine.mean_kernel(X, _spread(rows.mask, X), Y, other_spread, hidden, output)
    total = 0.0
    for draw in range(draws):
        masked = rows.masked(seed, draw)
        total += arccosine.kernel(
            masked, None if columns is rows else columns.masked(seed, draw), hidden, output
        )
    return total / draws


@in_ieee_arithmetic
def nngp_limit(
    X,
    Y=None,
    *,
    mask=None,
    draws=None,
    seed=0,
    scale=1.0,
    row_ids=None,
    column_ids=None,
    share_masks=False,
):
    """The covariance E f(x) f(x') of the infinitely wide network (NNGP), for E a^2 = 1.

    It is the tangent kernel of the output layer, ``ntk_limit(..., layers="output")``: parameters,
    accuracy, errors and cost as there.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.nngp_limit([[1.0, 0.0]], [[2.0, 0.0], [-1.0, 0.0]])
    array([[1., 0.]])
    """
    return ntk_limit(
        X,
        Y,
        mask=mask,
        draws=draws,
        seed=seed,
        layers="output",
        scale=scale,
        row_ids=row_ids,
        column_ids=column_ids,
        share_masks=share_masks,
    )


@in_ieee_arithmetic
def width_error(X, *, width, mask=None, seed=0, draw=0, row_ids=None):
    """How far, in Frobenius norm, a hidden-layer kernel of this width is expected to be from its limit.

    The square root of the exact E |K(width) - K(infinity)|_F^2 over random weights with |a_r| = 1, for
    the masked inputs of one draw (MSE = (1/width) sum_ij (x_i.x_j)^2 p_ij (1 - p_ij) with
    p = (pi - theta) / 2 pi): it falls as width^-1/2.

    Parameters
    ----------
    X : (n, d) real array
        Rounded to float32.
    width : int
    mask, seed, draw, row_ids
        The masked inputs, as in ``mask.sample``; one mask or None.

    Returns
    -------
    float

    Notes
    -----
    Cost O(n^2 d), no n x n array is kept.

    Examples
    --------
    >>> from fastntk.limit import width_error
    >>> width_error([[2.0]], width=100)
    0.2
    """
    width = validation.as_count(width, "width")
    X = masks.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids)
    unit, norm = arccosine.unit_rows(X)
    total = 0.0
    for rows, columns in arccosine.tiles(len(X)):
        cosine, sine = arccosine.cosine_sine(unit[rows], unit[columns])
        p = np.arctan2(sine, -cosine) / (2 * np.pi)
        variance = np.square(norm[rows, None] * norm[columns] * cosine) * p * (1 - p)
        mirrored = rows != columns  # a tile below the diagonal stands for the one above as well
        total += variance.sum() * (2 if mirrored else 1)
    return math.sqrt(total / width)


def _spread(mask, X):
    """``masks.Spread`` of X; zeros without a mask."""
    return masks.Spread(*[np.zeros_like(X)] * 3) if mask is None else mask.spread(X)
