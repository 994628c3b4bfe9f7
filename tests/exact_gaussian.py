"""Moments of the ReLU of one Gaussian, and of two correlated ones, in many digits by mpmath."""

import functools

import mpmath
from mpmath import mp

DIGITS = 60  # of which R2(t) - R(t)^2 loses 32 at t = 1e8


def in_digits(function):
    """Arguments to mpmath numbers, exactly, and the working precision."""

    @functools.wraps(function)
    def wrapper(*arguments):
        with mpmath.workdps(DIGITS):
            return function(*(mp.mpf(float(value)) for value in arguments))

    return wrapper


def distribution(t):
    return mp.erfc(-t / mp.sqrt(2)) / 2


def density(t):
    return mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi)


def _relu(t):
    return t * distribution(t) + density(t)


def _second(t):
    return (1 + t * t) * distribution(t) + t * density(t)


probability = in_digits(distribution)
density_at = in_digits(density)
relu = in_digits(_relu)
second_moment = in_digits(_second)
variance = in_digits(lambda t: _second(t) - _relu(t) ** 2)


def definition(t1, t2, rho, first, second):
    """E first(u) second(v), |rho| < 1, from its definition as an integral; ``first`` is 0 for u < 0.

    ``second(mean, deviation)`` is the mean of a function of a Gaussian: that of v given u.
    """
    with mpmath.workdps(20):
        t1, t2, rho = (mp.mpf(float(value)) for value in (t1, t2, rho))
        root = mp.sqrt((1 - rho) * (1 + rho))

        def integrand(g):
            return first(t1 + g) * density(g) * second(t2 + rho * g, root)

        places = {mp.mpf(-t1)} | {mp.mpf(x) for x in (-6, -2, 0, 2, 6, 14) if x > -t1}
        return mp.quad(integrand, sorted(places))


@in_digits
def pair(t1, t2, rho):
    """(E 1_u 1_v, Cov(relu_u, relu_v), Cov(relu_u, 1_v), E relu_u delta_v - E relu_u E delta_v).

    The bivariate normal distribution by Plackett's integral over the correlation, the other moments from it
    by parts (Rosenbaum 1961).
    """
    root = mp.sqrt((1 - rho) * (1 + rho))
    towards1, towards2 = (
        distribution((a - rho * b) / root) if root else mp.mpf((a > rho * b) + (a >= rho * b)) / 2
        for a, b in ((t1, t2), (t2, t1))
    )
    both = _both_active(t1, t2, rho)
    product = (t1 * t2 + rho) * both + t1 * density(t2) * towards1 + t2 * density(t1) * towards2
    if root:
        product += root * density(t1) * density((t2 - rho * t1) / root)
    relu_active = t1 * both + density(t1) * towards2 + rho * density(t2) * towards1
    given = root * _relu((t1 - rho * t2) / root) if root else max(t1 - rho * t2, mp.mpf(0))
    return (
        both,
        product - _relu(t1) * _relu(t2),
        relu_active - _relu(t1) * distribution(t2),
        density(t2) * (given - _relu(t1)),
    )


def _both_active(t1, t2, rho):
    """From correlation 0, or back from 1 or -1 where that is nearer."""
    ends = {1: distribution(min(t1, t2)), -1: max(distribution(t1) + distribution(t2) - 1, mp.mpf(0))}
    if rho in ends:
        return ends[rho]

    def integrand(angle):
        cosine = mp.cos(angle)
        return mp.exp(-(t1 * t1 + t2 * t2 - 2 * t1 * t2 * mp.sin(angle)) / (2 * cosine * cosine))

    near = abs(rho) > 0.85
    start, value = (
        (mp.sign(rho) * mp.pi / 2, ends[mp.sign(rho)]) if near else (0, distribution(t1) * distribution(t2))
    )
    with mpmath.workdps(60 if max(abs(t1), abs(t2)) > 50 else 30):
        return value + mp.quad(integrand, [start, mp.asin(rho)]) / (2 * mp.pi)
