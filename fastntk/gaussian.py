"""Means of the ReLU of a Gaussian, elementwise: what a mask does to one neuron on one sample.

h ~ N(z, s^2) is the preactivation of a neuron under a Gaussian mask, z = w . x its value without, and
s^2 = sum_k v_k w_k^2 with v the variances of the masked inputs.  With t = z / s, Phi and phi the standard
normal distribution and density,

    probability      E 1{h > 0}  = Phi(t)
    density          E delta(h)  = phi(t) / s
    smoothed_relu    E relu(h)   = s R(t),            R(t) = t Phi(t) + phi(t)
    second_moment    E relu(h)^2 = s^2 R2(t),         R2(t) = (1 + t^2) Phi(t) + t phi(t)
    variance         their difference, without cancellation

Where s = 0 they are those of the number z, and the density is 0.  All take arrays that broadcast, in
float64; the special functions are SciPy's.  Source: docs/mathematics.md, section 8.
"""

import math

import numpy as np
from scipy import special

ROOT_2 = math.sqrt(2)
ROOT_2_PI = math.sqrt(2 * math.pi)
TAIL = -1.0  # below it, R and R2 come from the scaled error function: their terms cancel
FAR = 40.0  # beyond it, phi(t) and Phi(-t) are 0 in float64


def standardised(z, s):
    """t = z / s; where s = 0, infinity with the sign of z, and minus infinity for z = 0 (relu'(0) = 0)."""
    z, s = np.broadcast_arrays(np.asarray(z, float), np.asarray(s, float))
    if (s < 0).any():
        raise ValueError(f"s holds {s[s < 0].flat[0]:g}; it is a standard deviation and must not be below 0.")
    return np.where(s > 0, z / np.where(s > 0, s, 1.0), np.where(z > 0, np.inf, -np.inf))


def normal_density(t):
    """phi(t)."""
    return np.exp(-0.5 * np.square(t)) / ROOT_2_PI


def probability(z, s):
    """P(h > 0)."""
    return special.ndtr(standardised(z, s))


def density(z, s):
    """The density of h at 0; 0 where s = 0."""
    t = standardised(z, s)
    return np.where(np.isinf(t), 0.0, normal_density(t) / np.where(np.isinf(t), 1.0, s))


def smoothed_relu(z, s):
    """E relu(h)."""
    t = standardised(z, s)
    return np.where(np.isinf(t), np.maximum(z, 0.0), s * unit_relu(np.where(np.isinf(t), 0.0, t)))


def proxy_relu(z, s):
    """z Phi(t): the paper's simpler smoothed ReLU, below relu(z) where :func:`smoothed_relu` is above."""
    return z * probability(z, s)


def second_moment(z, s):
    """E relu(h)^2."""
    t = standardised(z, s)
    inside = np.square(z) * special.ndtr(t) + s * (s * special.ndtr(t) + z * normal_density(t))
    return np.where(t < TAIL, np.square(s) * unit_second_moment(np.minimum(t, TAIL)), inside)


def variance(z, s):
    """Var relu(h), to rounding of s^2 however large t is."""
    t = standardised(z, s)
    return np.square(s) * unit_variance(np.where(np.isinf(t), 0.0, t))


# ------------------------------------------------------------------------------ unit deviation


def mills(x):
    """Phi(-x) / phi(x) for x >= 0."""
    return math.sqrt(math.pi / 2) * special.erfcx(x / ROOT_2)


def unit_relu(t):
    """R(t), to about 8 2^-53 (1 + t^2) of itself on the left of 0, to a few 2^-53 on the right."""
    tail = normal_density(t) * (1 - np.maximum(-t, 0.0) * mills(np.maximum(-t, 0.0)))
    return np.where(t < TAIL, tail, t * special.ndtr(t) + normal_density(t))


def unit_second_moment(t):
    """R2(t), within rounding of its terms."""
    t = np.maximum(t, -FAR)
    x = np.maximum(-t, 0.0)
    tail = normal_density(t) * ((1 + x * x) * mills(x) - x)
    return np.where(t < TAIL, tail, (1 + t * t) * special.ndtr(t) + t * normal_density(t))


def unit_variance(t):
    """R2(t) - R(t)^2.

    For t > 0 it is 1 - 2 Phi(-t) + the same at -t, as relu(h) = h + relu(-h): nothing large is subtracted.
    """
    away = -np.minimum(np.abs(t), FAR)
    there = unit_second_moment(away) - np.square(unit_relu(away))
    return np.where(t > 0, 1 - 2 * special.ndtr(away) + there, there)
