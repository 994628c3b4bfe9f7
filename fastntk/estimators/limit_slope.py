"""How the mask mean of the infinitely wide kernel changes with the strength of the mask.

The mean kernel (``fastntk.arccosine.mean_kernel``, order 2, whose symbols these are) is N / 2 pi times

    hidden  rho phi + Q / s,   Q = l + rho^2 v / 8 + rho^2 l / (2 s^2)
    output  s + rho phi + l / (2 s) - s v / 8

with phi = pi - arccos rho.  Let the variances of the entries change by dV, a_i = sum_k dV_ik / E |x~_i|^2 and
nu = (a_i + a_j) / 2.  Then D log N = nu, D rho = - rho nu, D s = rho^2 nu / s, D phi = - rho nu / s; the
first terms of the layers change by - N nu rho^2 / s and N nu s: nothing is subtracted.  The rest follows from

    D v_D  =  sum_k (dV_ik E x~_jk^2 + E x~_ik^2 dV_jk) / N^2  -  2 nu v_D
    D v    =  sum over both sides of  sum_k 4 E x~_k^2 dV_k / (E |x~|^2)^2  -  2 a Var |x~|^2 / (E |x~|^2)^2
    D w    =  sum over both sides of  sum_k 2 x_ik dV_ik x_jk / (E |x~_i|^2 N)  -  (a_i + nu) w_i

the last two for Gaussian masks.  The diagonal, (hidden + output) / 2 E |x~|^2, changes by that of sum_k dV_k.
"""

from typing import NamedTuple

import numpy as np

from .. import arccosine
from ..engine.environment import in_ieee_arithmetic


@in_ieee_arithmetic
def limit_slopes(X, mask, changes, layers):
    """The derivatives of ``ntk_limit(X, mask=mask, layers=layers)`` as the variances of entries change.

    Parameters
    ----------
    X : (n, d) float64
        Numbers that float32 holds.
    mask : GaussianMask
    changes : list of (columns, dV)
        The features that change, as a slice, and by how much, (n, their number) float64.
    layers : {"hidden", "output", "both"}

    Returns
    -------
    (n, n, len(changes)) float64, symmetric

    Notes
    -----
    Cost O(n^2 d) for each change of all features, O(n^2) for one of a single feature.
    """
    hidden, output = float(layers != "output"), float(layers != "hidden")
    rows = arccosine.moment_rows(X, mask.spread(X))
    slopes = np.empty((len(X), len(X), len(changes)))
    for k, (columns, dV) in enumerate(changes):
        sizes = rows.size[:, None]
        change = _Change(columns, np.divide(dV, np.square(sizes), out=np.zeros_like(dV), where=sizes > 0))
        for r, c in arccosine.tiles(len(X)):
            block = _tile(rows, change, r, c, hidden, output)
            if r == c:  # symmetric but for rounding
                block = np.tril(block) + np.tril(block, -1).T
            slopes[r, c, k], slopes[c, r, k] = block, block.T
        np.fill_diagonal(slopes[:, :, k], (hidden + output) / 2 * dV.sum(axis=1))
    return slopes


class _Change(NamedTuple):
    columns: slice
    relative: np.ndarray  # dV / E |x~|^2


def _tile(rows, change, r, c, hidden, output):
    """The derivatives for the rows r and the columns c."""
    a, b = arccosine.take_rows(rows, r), arccosine.take_rows(rows, c)
    k, da, db = change.columns, change.relative[r], change.relative[c]
    growth_a, growth_b = da.sum(axis=1)[:, None], db.sum(axis=1)
    nu = (growth_a + growth_b) / 2
    cosine, sine = arccosine.cosine_sine(a.unit, b.unit)
    rho, s_square = arccosine.mean_angle(a, b, cosine, sine)
    rho_square = np.square(rho)

    # the mean angle
    s = np.sqrt(s_square)
    out = output * nu * s
    if hidden:
        out -= np.divide(nu * rho_square, s, out=np.zeros_like(s), where=s > 0)

    # the second order
    usable = arccosine.has_second_order(a, b, s_square)
    s_square = np.where(usable, s_square, 1.0)
    s = np.sqrt(s_square)
    fall = rho_square * nu / s_square  # D log s
    v_dot, v, w_a, w_b = arccosine.second_moments(a, b)
    d_dot = da @ b.second[:, k].T + a.second[:, k] @ db.T - 2 * nu * v_dot
    dv = 4 * ((a.second[:, k] * da).sum(axis=1)[:, None] + (b.second[:, k] * db).sum(axis=1))
    dv -= 2 * (growth_a * a.variance_of_norm[:, None] + growth_b * b.variance_of_norm)
    dw = 2 * ((a.mean[:, k] * da) @ b.mean[:, k].T + a.mean[:, k] @ (b.mean[:, k] * db).T)
    dw -= (growth_a + nu) * w_a + (growth_b + nu) * w_b
    w = w_a + w_b
    variance = v_dot + rho_square * v / 4 - rho * w
    d_variance = d_dot + rho_square * (dv / 4 - nu * v / 2) + rho * (nu * w - dw)

    half = rho_square / (2 * s_square)
    Q = variance + rho_square * v / 8 + half * variance
    dQ = d_variance * (1 + half) + rho_square * (dv / 8 - nu * v / 4) - 2 * half * variance * (nu + fall)
    term = hidden / s * (dQ + (nu - fall) * Q)
    term += output * ((d_variance + (nu - fall) * variance) / (2 * s) - s / 8 * (dv + (nu + fall) * v))
    out += np.where(usable, term, 0.0)
    return out * (a.size[:, None] * b.size) / (2 * np.pi)
