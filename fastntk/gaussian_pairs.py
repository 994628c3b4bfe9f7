"""Two neurons under one mask, elementwise: moments of a pair of correlated Gaussians.

u = t1 + g and v = t2 + g' with standard normal g, g' of correlation rho (preactivations in units of their
standard deviations; multiply by these again):

    both_active          E 1{u > 0} 1{v > 0}               the bivariate normal distribution Phi2(t1, t2; rho)
    relu_relu            Cov(relu(u), relu(v))
    relu_active          Cov(relu(u), 1{v > 0})
    relu_density         E relu(u) delta(v) - E relu(u) E delta(v)

They are good to a few 1e-16 for every t and for rho up to -1 and 1, where closed forms of the bare moments
would lose t1 t2 times that: relu(u) = u + relu(-u) and 1{v > 0} = 1 - 1{v <= 0} bring both t to the left of
0, where all terms are small, and Gaussian covariances of u itself are known.  Arrays broadcast; float64.

Source: docs/mathematics.md, section 8; Owen (1956) for Phi2.
"""

import numpy as np
from scipy import special

from .gaussian import FAR, normal_density, unit_relu


def both_active(t1, t2, rho):
    """P(u > 0, v > 0) by Owen's T function."""
    t1, t2, rho = _broadcast(t1, t2, rho)
    root = _root(rho)
    # where one of them is 0: the limit of T(h, a / h) as h -> 0 is the sign of a over 4
    T = sum(
        np.where(h == 0, np.sign(gap) / 4, special.owens_t(h, _ratio(np.sign(h) * gap, np.abs(h) * root)))
        for h, gap in ((t1, _gap(t2, t1, rho)), (t2, _gap(t1, t2, rho)))
    )
    opposite = (np.minimum(t1, t2) < 0) & (np.maximum(t1, t2) >= 0)
    out = (special.ndtr(t1) + special.ndtr(t2)) / 2 - T - opposite / 2
    out = np.where((t1 == 0) & (t2 == 0), 0.25 + np.arcsin(rho) / (2 * np.pi), out)
    return np.clip(out, 0.0, 1.0)


def relu_relu(t1, t2, rho):
    """Cov(relu(u), relu(v))."""
    a, b, rho = _broadcast(t1, t2, rho)
    # relu(u) = u + relu(-u), and Cov(u, F(v)) = rho E F'(v)
    linear = np.where(
        a > 0, np.where(b > 0, 1 - special.ndtr(-a) - special.ndtr(-b), special.ndtr(b)), 0.0
    ) + np.where((a <= 0) & (b > 0), special.ndtr(a), 0.0)
    return rho * linear + _left_relu_relu(-np.abs(a), -np.abs(b), np.where((a > 0) == (b > 0), rho, -rho))


def relu_active(t1, t2, rho):
    """Cov(relu(u), 1{v > 0})."""
    a, b, rho = _broadcast(t1, t2, rho)
    linear = np.where(a > 0, rho * normal_density(b), 0.0)
    inner = np.where((a > 0) == (b > 0), rho, -rho)
    return linear + np.where(b > 0, -1.0, 1.0) * _left_relu_active(-np.abs(a), -np.abs(b), inner)


def relu_density(t1, t2, rho):
    """E relu(u) delta(v) - E relu(u) E delta(v)."""
    a, b, rho = _broadcast(t1, t2, rho)
    left, inner, root = -np.abs(a), np.where(a > 0, -rho, rho), _root(rho)
    gap = _gap(left, b, inner)
    conditional = np.where(
        root > 0, root * unit_relu(gap / np.where(root > 0, root, 1.0)), np.maximum(gap, 0.0)
    )
    linear = np.where(a > 0, -rho * b, 0.0)
    return normal_density(b) * (linear + conditional - unit_relu(left))


# ------------------------------------------------------------------------------ t1, t2 <= 0


def _left_relu_relu(t1, t2, rho):
    root = _root(rho)
    density1, density2 = normal_density(t1), normal_density(t2)
    towards1 = special.ndtr(_ratio(_gap(t1, t2, rho), root))
    towards2 = special.ndtr(_ratio(_gap(t2, t1, rho), root))
    product = (t1 * t2 + rho) * both_active(t1, t2, rho)
    product += t1 * density2 * towards1 + t2 * density1 * towards2
    # phi(t1) phi((t2 - rho t1) / root), symmetric in the two
    product += root * density1 * normal_density(_ratio(_gap(t2, t1, rho), root))
    return np.maximum(product, 0.0) - unit_relu(t1) * unit_relu(t2)


def _left_relu_active(t1, t2, rho):
    root = _root(rho)
    product = t1 * both_active(t1, t2, rho)
    product += normal_density(t1) * special.ndtr(_ratio(_gap(t2, t1, rho), root))
    product += rho * normal_density(t2) * special.ndtr(_ratio(_gap(t1, t2, rho), root))
    return np.maximum(product, 0.0) - unit_relu(t1) * special.ndtr(t2)


# ------------------------------------------------------------------------------------- pieces


def _broadcast(t1, t2, rho):
    """The three as float64 arrays of one shape; rho within [-1, 1], t where its size still matters."""
    far = np.abs(rho) > 1 + 1e-9  # beyond rounding
    if far.any():
        raise ValueError(f"rho holds {np.asarray(rho)[far].flat[0]:g}; it must be from -1 to 1.")
    limits = (FAR, FAR, 1.0)
    clipped = [np.clip(np.asarray(v, float), -far, far) for v, far in zip((t1, t2, rho), limits, strict=True)]
    return np.broadcast_arrays(*clipped)


def _root(rho):
    """sqrt(1 - rho^2)."""
    return np.sqrt(np.maximum((1 - rho) * (1 + rho), 0.0))


def _gap(k, h, rho):
    """k - rho h without cancellation where rho is near 1 or -1."""
    return np.where(rho >= 0, (k - h) + (1 - rho) * h, (k + h) - (1 + rho) * h)


def _ratio(top, bottom):
    """top / bottom; where the bottom is 0, infinite with the sign of the top, and 0 for 0 / 0."""
    zero = bottom == 0
    return np.where(
        zero, np.where(top == 0, 0.0, np.copysign(np.inf, top)), top / np.where(zero, 1.0, bottom)
    )
