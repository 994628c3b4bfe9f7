"""Mehler's series: covariances of functions of two correlated Gaussians, tile by tile.

For two preactivations of deviation 1 and correlation rho, u = t + g and v = t' + g', and any two functions
F and G, Cov(F(u), G(v)) = sum_k rho^k F_k(t) G_k(t'), k = 1, 2, ..., where F_k are the normalised Hermite
coefficients of g -> F(t + g) (Mehler 1866).  Here these are relu, its derivative 1{u > 0}, and the density
delta(u), its second one.  A tile takes as many terms as its largest |rho| needs, by Horner's rule.
"""

import math
from functools import cache

import numpy as np

from .compiling import compiled
from .simd import f64, vector_kernel

RELU, ACTIVE, DENSITY = 0, 1, 2  # whose coefficients
TERM_STEP = 8  # numbers of terms are multiples of it
LARGEST_CORRELATION = 0.9
TOLERANCE = 2.0**-53  # of the terms left out, in units of the deviations
_DOUBLE = f64(1).element


@cache
def reach():
    """reach[i] = the largest |rho| for which TERM_STEP (i + 1) terms do, up to LARGEST_CORRELATION.

    By Cramer's inequality |He_k(t)| phi(t) / sqrt(k!) <= 1.0865 / sqrt(2 pi), so term k of relu with any of
    the three, and of 1{u > 0} with itself, is at most 0.1881 |rho|^k / (k - 1), and what is left out after K
    terms at most 0.1881 |rho|^(K + 1) / (K (1 - |rho|)).
    """
    levels = [0.0]
    while levels[-1] < LARGEST_CORRELATION:
        terms, low, high = TERM_STEP * len(levels), levels[-1], 1.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            rest = 0.1881 * middle ** (terms + 1) / (terms * (1 - middle))
            low, high = (middle, high) if rest <= TOLERANCE else (low, middle)
        levels.append(min(low, LARGEST_CORRELATION))
    return np.array(levels[1:])


def _fill_coefficients(t, active, density, kinds, panels, rows):
    """Hermite coefficients k = 1, 2, ... of neurons with these t, Phi(t) and phi(t), (m,) float64, t finite.

    ``panels`` (3, groups, terms, G) receives those of relu, 1{u > 0} and delta, ``rows`` (2, groups G, terms)
    the first two again, neuron by neuron; for ``kinds`` 1 those of relu alone.
    """
    wide = panels.shape[3]
    # hermite = (-1)^k He_k(t) phi(t) / sqrt(k!), from k = 0 on; before, that of k - 1
    hermite, before, here = np.zeros(wide), np.zeros(wide), np.zeros(wide)
    for g in range(panels.shape[1]):
        count = min(wide, len(t) - g * wide)
        mine = slice(g * wide, g * wide + count)
        before.fill(0.0)
        hermite.fill(0.0)
        here.fill(0.0)
        panels[RELU, g, 0] = 0.0
        hermite[:count], here[:count], panels[RELU, g, 0, :count] = density[mine], t[mine], active[mine]
        for k in range(1, panels.shape[2] + 1):
            root, root_before = math.sqrt(k), math.sqrt(k - 1)
            for j in range(wide):
                following = -(here[j] * hermite[j] + root_before * before[j]) / root
                if k > 1:
                    panels[RELU, g, k - 1, j] = before[j] / (root * root_before)
                if kinds == 3:
                    panels[ACTIVE, g, k - 1, j] = hermite[j] / root
                    panels[DENSITY, g, k - 1, j] = following
                before[j], hermite[j] = hermite[j], following
        for kind in range(min(kinds, 2)):
            for j in range(wide):
                for k in range(panels.shape[2]):
                    rows[kind, g * wide + j, k] = panels[kind, g, k, j]


fill_coefficients = compiled(_fill_coefficients)


@vector_kernel
def series_tile(emit, lanes, fused, rows, rho, left, left_bytes, right, terms, out):
    """out[i, j] = sum_k rho[i, j]^k left[i, k] right[k, j], k = 1 .. terms, for ``rows`` rows of a group."""
    half = lanes // 2
    vector, vector_bytes, row_bytes = f64(half), 4 * lanes, 12 * lanes
    places = [(i, z, i * row_bytes + z * vector_bytes) for i in range(rows) for z in range(3)]
    factors = [emit.load(vector, rho, at, align=8) for _, _, at in places]

    def step(k, sums):
        k = emit.integer(terms) - 1 - k  # the last term first
        columns = [emit.load(vector, right + k * row_bytes, z * vector_bytes, align=8) for z in range(3)]
        own = [emit.load_broadcast(_DOUBLE, half, left + k * 8 + i * left_bytes) for i in range(rows)]
        return [
            emit.multiply_add(fused, total, factor, own[i] * columns[z])
            for (i, z, _), total, factor in zip(places, sums, factors, strict=True)
        ]

    sums = emit.loop(terms, [emit.constant(vector, 0.0) for _ in places], step)
    for (_, _, at), total, factor in zip(places, sums, factors, strict=True):
        emit.store(total * factor, out, at, align=8)


@vector_kernel
def largest_magnitude(emit, lanes, count, values, out):
    """out[0] = the largest magnitude of ``count`` vectors of lanes / 2 values."""
    half = lanes // 2
    largest = emit.absolute(emit.load(f64(half), values, align=8))
    for i in range(1, count):
        value = emit.absolute(emit.load(f64(half), values, 4 * lanes * i, align=8))
        largest = value.above(largest).choose(value, largest)
    emit.store(emit.horizontal_max(largest), out, align=8)
