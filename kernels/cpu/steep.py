"""Covariances of two neurons under one mask in closed form, for correlations too large for Mehler's series.

The compiled twin of ``fastntk.gaussian_pairs``, whose formulas and names these are: u = t1 + g, v = t2 + g'
with standard normal g, g' of correlation rho.  Owen's T function is the caller's, called by its address.
"""

import math

from .compiling import compiled
from .simd import f64, vector_kernel

FAR = 40.0  # phi(t) and Phi(-t) are 0 beyond it
_DOUBLE = f64(1).element


@vector_kernel
def call_of_two(emit, function, values):
    """values[2] = function(values[0], values[1]), a C function of doubles given by its address."""
    arguments = [emit.load(_DOUBLE, values, 8 * i, align=8) for i in range(2)]
    emit.store(emit.call_address(function, _DOUBLE, *arguments), values, 16, align=8)


def _distribution(t):
    return 0.5 * math.erfc(-t * math.sqrt(0.5))


distribution = compiled(_distribution)


def _density(t):
    return math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


density = compiled(_density)


def _gap(k, h, rho):
    """k - rho h without cancellation where rho is near 1 or -1."""
    return (k - h) + (1 - rho) * h if rho >= 0 else (k + h) - (1 + rho) * h


gap = compiled(_gap)


def _ratio(top, bottom):
    """top / bottom for bottom >= 0; infinite with the sign of the top where it is 0, and 0 for 0 / 0."""
    if bottom > 0.0:
        return top / bottom
    return 0.0 if top == 0.0 else math.copysign(math.inf, top)


ratio = compiled(_ratio)


def _both_active(owens_t, room, t1, t2, rho, root):
    """P(u > 0, v > 0); ``root`` = sqrt(1 - rho^2), ``room`` three float64."""
    if t1 == 0.0 and t2 == 0.0:
        return 0.25 + math.asin(rho) / (2 * math.pi)
    total = 0.5 * (distribution(t1) + distribution(t2))
    h, k = t1, t2
    for _ in range(2):
        distance = gap(k, h, rho)
        if h == 0.0:
            total -= 0.0 if distance == 0.0 else math.copysign(0.25, distance)
        else:
            room[0], room[1] = h, ratio(math.copysign(1.0, h) * distance, abs(h) * root)
            call_of_two(owens_t, room.ctypes.data)
            total -= room[2]
        h, k = k, h
    if min(t1, t2) < 0.0 <= max(t1, t2):
        total -= 0.5
    return min(max(total, 0.0), 1.0)


both_active = compiled(_both_active)


def _relu_mean(t):
    """E relu(u), within rounding of its terms."""
    return t * distribution(t) + density(t)


relu_mean = compiled(_relu_mean)


def _relu_relu(owens_t, room, t1, t2, rho):
    """Cov(relu(u), relu(v))."""
    linear = 0.0
    if t1 > 0.0:
        linear = 1 - distribution(-t1) - distribution(-t2) if t2 > 0.0 else distribution(t2)
    elif t2 > 0.0:
        linear = distribution(t1)
    a, b, inner = -min(abs(t1), FAR), -min(abs(t2), FAR), rho if (t1 > 0.0) == (t2 > 0.0) else -rho
    root = math.sqrt(max((1 - rho) * (1 + rho), 0.0))
    far_b = ratio(gap(b, a, inner), root)
    product = (a * b + inner) * both_active(owens_t, room, a, b, inner, root)
    product += a * density(b) * distribution(ratio(gap(a, b, inner), root)) + b * density(a) * distribution(
        far_b
    )
    product += root * density(a) * density(far_b)
    return rho * linear + max(product, 0.0) - relu_mean(a) * relu_mean(b)


relu_relu = compiled(_relu_relu)


def _relu_active(owens_t, room, t1, t2, rho):
    """Cov(relu(u), 1{v > 0})."""
    a, b, inner = -min(abs(t1), FAR), -min(abs(t2), FAR), rho if (t1 > 0.0) == (t2 > 0.0) else -rho
    root = math.sqrt(max((1 - rho) * (1 + rho), 0.0))
    product = a * both_active(owens_t, room, a, b, inner, root)
    product += density(a) * distribution(ratio(gap(b, a, inner), root))
    product += inner * density(b) * distribution(ratio(gap(a, b, inner), root))
    covariance = max(product, 0.0) - relu_mean(a) * distribution(b)
    linear = rho * density(t2) if t1 > 0.0 else 0.0
    return linear - covariance if t2 > 0.0 else linear + covariance


relu_active = compiled(_relu_active)


def _relu_density(t1, t2, rho):
    """E relu(u) delta(v) - E relu(u) E delta(v)."""
    a, inner = -min(abs(t1), FAR), -rho if t1 > 0.0 else rho
    root = math.sqrt(max((1 - rho) * (1 + rho), 0.0))
    distance = gap(a, t2, inner)
    conditional = root * relu_mean(distance / root) if root > 0.0 else max(distance, 0.0)
    linear = -rho * t2 if t1 > 0.0 else 0.0
    return density(t2) * (linear + conditional - relu_mean(a))


relu_density = compiled(_relu_density)
