"""Sums over pairs of neurons that see one sample under one Gaussian mask.

Correlations of all neurons with those of a group, then covariances, by series in them (``mehler``) or, where
they are too large for that, in closed form (``steep``), then sums over the neurons.

Neurons stand in panels of G = 3 lanes / 2, as in ``product``; those beyond the last one are zero.
"""

import math
from typing import NamedTuple

import numpy as np

from .compiling import compiled
from .layout import aligned, round_up
from .mehler import (
    ACTIVE,
    DENSITY,
    LARGEST_CORRELATION,
    RELU,
    TERM_STEP,
    fill_coefficients,
    largest_magnitude,
    reach,
    series_tile,
)
from .product import group_width, product_tile
from .steep import both_active, relu_active, relu_density, relu_relu

VARIANCE, POINCARE, GRADIENT = range(3)  # what is summed
BOTH = (0, 0, 2)  # and where among the sums covariances of 1_q and 1_r are


class PairNeurons(NamedTuple):
    """The neurons of a network, in float64."""

    W: np.ndarray  # (m, d)
    a: np.ndarray  # (groups G, q) output weights
    panels: (
        np.ndarray
    )  # (groups of d, groups G, G) weights: features stand beside each other, neurons in rows


class PairScratch(NamedTuple):
    """Working memory of one worker for one sample."""

    directions: np.ndarray  # (groups, d, G) sqrt(v) w / s of the neurons: unit vectors
    panels: np.ndarray  # (3, groups, terms, G) coefficients of relu, 1{u > 0} and delta
    rows: np.ndarray  # (2, groups G, terms) the first two again, neuron by neuron
    deviations: np.ndarray  # (groups G,) s
    inverses: np.ndarray  # (groups G,) 1 / s, 0 where s is 0
    active: np.ndarray  # (groups G,) Phi(t)
    rho: np.ndarray  # (groups G, G) correlations of all neurons with those of a group
    sums: np.ndarray  # (3, groups G, G) covariances: relu relu; or relu active, relu density, active active
    product: np.ndarray  # (d rounded up to groups, G) sums of weights over the neurons
    totals: np.ndarray  # (G,)
    means: np.ndarray  # (groups G,) t
    largest: np.ndarray  # (1,)
    reach: np.ndarray  # (levels,)
    steep: np.ndarray  # (pairs of a tile,) correlations that are too large for the series
    room: np.ndarray  # (3,) arguments and result of a function
    owens_t: np.ndarray  # (1,) int64: the address of Owen's T function of two doubles


class PairGradientSums(NamedTuple):
    """What ``pair_gradient`` adds to; sums over the neurons q, with B = a_q . a_r."""

    by_relu: np.ndarray  # (groups G,) sum_q B s_q Cov(relu_q, 1_r)
    by_density: np.ndarray  # (groups G,) sum_q B s_q (E relu_q delta_r - E relu_q E delta_r) / s_r
    by_weights: np.ndarray  # (groups, d, G) v_k sum_q B E(1_q 1_r) w_qk, own pairs q = r included


def tile_rows(path):
    """A tile of the series is so many neurons by the neurons of a group."""
    return 4 if path.lanes == 16 else 2


def pair_scratch(width, dim, owens_t, path):
    wide = group_width(path)
    neurons, terms = round_up(width, wide), TERM_STEP * len(reach())
    return PairScratch(
        directions=np.zeros((neurons // wide, dim, wide)),
        panels=aligned((3, neurons // wide, terms, wide), np.float64),
        rows=aligned((2, neurons, terms), np.float64),
        deviations=np.zeros(neurons),
        inverses=np.zeros(neurons),
        active=np.zeros(neurons),
        rho=aligned((neurons, wide), np.float64),
        sums=aligned((3, neurons, wide), np.float64),
        product=np.empty((round_up(dim, wide), wide)),
        totals=np.empty(wide),
        means=np.zeros(neurons),
        largest=np.empty(1),
        reach=reach(),
        steep=np.empty(tile_rows(path) * wide),
        room=np.empty(3),
        owens_t=np.array([owens_t], np.int64),
    )


def pair_scratch_bytes(width, dim, path):
    """Without making one."""
    wide = group_width(path)
    neurons, terms = round_up(width, wide), TERM_STEP * len(reach())
    return 8 * (neurons * (dim + 4 + 5 * terms + 4 * wide) + (dim + 10 * wide) * wide)


def _fill_pair_scratch(neurons, variances, t, s, active, density, kinds, scratch):
    """What the sums need of all neurons on one sample.

    ``variances`` (d,); t, the mean over the deviation s, active = Phi(t) and density = phi(t) are (m,), t
    finite; all float64.  ``kinds`` is 1 where the coefficients of relu are enough, otherwise 3.
    """
    W, directions = neurons.W, scratch.directions
    wide = directions.shape[2]
    for r in range(len(W)):
        scratch.means[r], scratch.deviations[r], scratch.active[r] = t[r], s[r], active[r]
        scratch.inverses[r] = 1 / s[r] if s[r] > 0.0 else 0.0
        for k in range(W.shape[1]):
            direction = W[r, k] * math.sqrt(variances[k]) * scratch.inverses[r]
            directions[r // wide, k, r % wide] = direction
    fill_coefficients(t, active, density, kinds, scratch.panels, scratch.rows)


fill_pair_scratch = compiled(_fill_pair_scratch)


def _set_steep_apart(first, rows, scratch):
    """Move correlations of ``rows`` neurons from ``first`` on that are too large for the series to ``steep``.

    They become 0 in ``rho``, and those of the others are 0 in ``steep``.  Returns the largest |rho| left.
    """
    rho, steep, largest = scratch.rho, scratch.steep, 0.0
    wide = rho.shape[1]
    for q in range(rows):
        for j in range(wide):
            value = rho[first + q, j]
            if abs(value) <= LARGEST_CORRELATION:
                largest = max(largest, abs(value))
                steep[q * wide + j] = 0.0
            else:
                steep[q * wide + j] = value
                rho[first + q, j] = 0.0
    return largest


set_steep_apart = compiled(_set_steep_apart)


def _settle_steep(what, first, rows, group, scratch):
    """Replace the series by closed forms for the correlations in ``steep``, which return to ``rho``."""
    rho, t, owens_t, room = scratch.rho, scratch.means, scratch.owens_t[0], scratch.room
    wide = rho.shape[1]
    for place in range(rows * wide):
        if scratch.steep[place] != 0.0:
            q, j = first + place // wide, place % wide
            r = group * wide + j
            # 1 - |rho| from the difference of the unit vectors, so that it keeps its digits
            sign, square = math.copysign(1.0, scratch.steep[place]), 0.0
            for k in range(scratch.directions.shape[1]):
                own, other = scratch.directions[q // wide, k, q % wide], scratch.directions[group, k, j]
                square += (own - sign * other) ** 2
            value = sign * (1 - square / 2)
            rho[q, j] = value
            root = math.sqrt(max((1 - value) * (1 + value), 0.0))
            if what == VARIANCE:
                scratch.sums[0, q, j] = relu_relu(owens_t, room, t[q], t[r], value)
            else:
                both = both_active(owens_t, room, t[q], t[r], value, root)
                scratch.sums[BOTH[what], q, j] = both - scratch.active[q] * scratch.active[r]
            if what == GRADIENT:
                scratch.sums[0, q, j] = relu_active(owens_t, room, t[q], t[r], value)
                scratch.sums[1, q, j] = relu_density(t[q], t[r], value)


settle_steep = compiled(_settle_steep)


def _add_variance(group, a, scratch, out):
    """out[c] += 2 sum_{q < r} a_qc a_rc s_q s_r covariance[q, r] over the neurons r of a group."""
    covariance, s, totals = scratch.sums[0], scratch.deviations, scratch.totals
    wide = covariance.shape[1]
    first = group * wide
    for c in range(a.shape[1]):
        totals.fill(0.0)
        for q in range(first):
            weight = a[q, c] * s[q]
            for j in range(wide):
                totals[j] += weight * covariance[q, j]
        for j in range(wide):
            for q in range(first, first + j):
                totals[j] += a[q, c] * s[q] * covariance[q, j]
            out[c] += 2.0 * a[first + j, c] * s[first + j] * totals[j]


add_variance = compiled(_add_variance)


def _weigh_by_correlation(group, count, scratch):
    """Covariances of 1_q and 1_r become rho E 1_q 1_r."""
    rho, both_active, active = scratch.rho, scratch.sums[0], scratch.active
    first = group * both_active.shape[1]
    for q in range(count):
        for j in range(both_active.shape[1]):
            both_active[q, j] = rho[q, j] * (active[q] * active[first + j] + both_active[q, j])


weigh_by_correlation = compiled(_weigh_by_correlation)


def _add_gradient(group, a, scratch, out):
    """Add to ``by_relu`` and ``by_density``, and weigh the third covariances: they become B E 1_q 1_r."""
    relu_active, relu_density, both_active = scratch.sums[0], scratch.sums[1], scratch.sums[2]
    s, inverses, active = scratch.deviations, scratch.inverses, scratch.active
    wide = both_active.shape[1]
    first = group * wide
    for q in range(len(a)):
        for j in range(wide):
            B = 0.0
            for c in range(a.shape[1]):
                B += a[q, c] * a[first + j, c]
            out.by_relu[first + j] += B * s[q] * relu_active[q, j]
            out.by_density[first + j] += B * s[q] * inverses[first + j] * relu_density[q, j]
            both_active[q, j] = B * (active[q] * active[first + j] + both_active[q, j])
    for j in range(wide):
        both_active[first + j, j] = np.square(a[first + j]).sum() * active[first + j]


add_gradient = compiled(_add_gradient)


def _add_scaled(product, variances, total):
    """total[k, j] += variances[k] product[k, j]."""
    for k in range(len(variances)):
        for j in range(product.shape[1]):
            total[k, j] += variances[k] * product[k, j]


add_scaled = compiled(_add_scaled)


def make_pair_sums(path, what):
    """The kernel pair_sums(neurons, variances, scratch, out), ``scratch`` filled for the sample.

    VARIANCE  out (q,): out[c] += 2 sum_{q < r} a_qc a_rc Cov(relu_q, relu_r)
    POINCARE  the same with C_qr E(1_q 1_r), C the covariance of the preactivations, in place of Cov
    GRADIENT  out is :class:`PairGradientSums`
    """
    lanes, fused, tile, wide = path.lanes, path.fused, tile_rows(path), group_width(path)
    half, vectors, left_bytes = lanes // 2, 3 * tile, 8 * TERM_STEP * len(reach())
    gradient, poincare = int(what == GRADIENT), int(what == POINCARE)

    def pair_sums(neurons, variances, scratch, out):
        rho, sums, panels, rows = scratch.rho, scratch.sums, scratch.panels, scratch.rows
        directions, largest_at = scratch.directions, scratch.largest.ctypes.data
        groups, dim = directions.shape[0], directions.shape[1]
        for group in range(groups):
            count = len(rho) if gradient else (group + 1) * wide
            rho[:count] = 0.0
            here = directions[group].ctypes.data
            for start in range(0, count, half):
                left = directions[start // wide].ctypes.data + 8 * (start % wide)
                product_tile(lanes, left, here, 8 * wide, dim, rho[start].ctypes.data)
            for j in range(wide):
                rho[group * wide + j, j] = 0.0  # a neuron with itself is not a pair
            of_relu, of_active = panels[RELU, group].ctypes.data, panels[ACTIVE, group].ctypes.data
            of_density = panels[DENSITY, group].ctypes.data
            for start in range(0, count, tile):
                at = rho[start].ctypes.data
                largest_magnitude(lanes, vectors, at, largest_at)
                largest = scratch.largest[0]
                some_steep = not largest <= LARGEST_CORRELATION
                if some_steep:
                    largest = set_steep_apart(start, tile, scratch)
                terms = TERM_STEP * (1 + np.searchsorted(scratch.reach, largest))
                relu, active = rows[RELU, start].ctypes.data, rows[ACTIVE, start].ctypes.data
                to, to_second = sums[0, start].ctypes.data, sums[1, start].ctypes.data
                to_third = sums[2, start].ctypes.data
                if gradient:
                    series_tile(lanes, fused, tile, at, relu, left_bytes, of_active, terms, to)
                    series_tile(lanes, fused, tile, at, relu, left_bytes, of_density, terms, to_second)
                    series_tile(lanes, fused, tile, at, active, left_bytes, of_active, terms, to_third)
                elif poincare:
                    series_tile(lanes, fused, tile, at, active, left_bytes, of_active, terms, to)
                else:
                    series_tile(lanes, fused, tile, at, relu, left_bytes, of_relu, terms, to)
                if some_steep:
                    settle_steep(what, start, tile, group, scratch)
            if poincare:
                weigh_by_correlation(group, count, scratch)
            if gradient:
                add_gradient(group, neurons.a, scratch, out)
                product, right = scratch.product, sums[2].ctypes.data
                product.fill(0.0)
                for start in range(0, len(product), half):
                    left = neurons.panels[start // wide].ctypes.data + 8 * (start % wide)
                    product_tile(lanes, left, right, 8 * wide, count, product[start].ctypes.data)
                add_scaled(product, variances, out.by_weights[group])
            else:
                add_variance(group, neurons.a, scratch, out)

    return compiled(pair_sums)
