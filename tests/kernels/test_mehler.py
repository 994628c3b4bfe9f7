"""Hermite coefficients and how many terms of Mehler's series are enough, against their definitions."""

import math

import mpmath
import numpy as np
import pytest
from scipy import special

from fastntk import gaussian, gaussian_pairs
from fastntk.kernels import reference
from fastntk.kernels.cpu import mehler

U = 2.0**-53
DEVIATES = np.array([0, 0.5, -1, 3, -6, 9.25, -15, 22, -30, 36.5, 0.015625, -2.25, 1.75])
TERMS = mehler.TERM_STEP * len(mehler.reach())


# --------------------------------------------------------------------------------- coefficients
def envelopes(t):
    """Cramer's bounds of the three coefficients, (3, terms)."""
    k = np.arange(1, TERMS + 1)
    largest = 1.0865 * math.exp(-t * t / 4) / math.sqrt(2 * math.pi)
    return largest * np.array([1 / np.sqrt(np.maximum(k * (k - 1.0), 1)), 1 / np.sqrt(k), np.ones(TERMS)])


def test_coefficients(kernels):
    """A recurrence of three roundings in each step, whose errors grow no faster than the number of steps."""
    t, wide = DEVIATES, kernels.group_width
    groups = kernels.groups(len(t))
    panels, rows = np.full((3, groups, TERMS, wide), np.nan), np.full((2, groups * wide, TERMS), np.nan)
    mehler.fill_coefficients(t, special.ndtr(t), gaussian.normal_density(t), 3, panels, rows)
    found = panels.transpose(1, 3, 0, 2).reshape(-1, 3, TERMS)
    for one, deviate in zip(found, t, strict=False):
        expected = reference.hermite_coefficients(deviate, TERMS)
        bound = 2 * (np.arange(TERMS) + 2) * U * envelopes(deviate)
        bound[0, 0] = 4 * U
        assert (np.abs(one - expected) <= bound).all(), deviate
        assert (np.abs(expected) <= envelopes(deviate))[:, 1:].all()
    assert not found[len(t) :].any()
    np.testing.assert_array_equal(rows, found[:, :2].transpose(1, 0, 2))


def test_coefficients_of_relu_alone(kernels):
    """With one kind, the other two are left as they are."""
    t = DEVIATES[:5]
    shapes = (3, kernels.groups(5), TERMS, kernels.group_width), (2, kernels.group_width, TERMS)
    three, one = (tuple(np.full(shape, 7.0) for shape in shapes) for _ in range(2))
    for kinds, (panels, rows) in ((3, three), (1, one)):
        rows = rows[:, : panels.shape[1] * panels.shape[3]]
        mehler.fill_coefficients(t, special.ndtr(t), gaussian.normal_density(t), kinds, panels, rows)
    np.testing.assert_array_equal(one[0][0], three[0][0])
    np.testing.assert_array_equal(one[1][0], three[1][0])
    assert (one[0][1:] == 7).all()
    assert (one[1][1] == 7).all()


@pytest.mark.parametrize("t", [0.0, -1.25, 2.5])
def test_coefficients_are_projections_on_hermite_polynomials(t):
    """The definition of the definition, E F(t + g) He_k(g) / sqrt(k!), as an integral."""
    coefficients = reference.hermite_coefficients(t, 6)
    for k in range(1, 7):

        def projected(g, k=k):
            he = mpmath.hermite(k, g / mpmath.sqrt(2)) / mpmath.sqrt(2) ** k
            return he * mpmath.npdf(g) / mpmath.sqrt(mpmath.factorial(k))

        over = [-t, max(-t, 0) + 3, 20]
        relu = mpmath.quad(lambda g: (t + g) * projected(g), over)
        active = mpmath.quad(projected, over)
        expected = [float(value) for value in (relu, active, projected(mpmath.mpf(-t)))]
        np.testing.assert_allclose(coefficients[:, k - 1], expected, rtol=0, atol=1e-13)


# ----------------------------------------------------------------------------------- the series
def test_reach_keeps_the_bound_of_its_docstring():
    reach, steps = mehler.reach(), mehler.TERM_STEP * (1 + np.arange(len(mehler.reach())))
    assert (np.diff(reach) > 0).all()
    assert reach[-1] == mehler.LARGEST_CORRELATION

    def left_out(rho):
        return 0.1881 * rho ** (steps + 1) / (steps * (1 - rho))

    assert mehler.TOLERANCE == U
    assert (left_out(reach) <= U).all()
    assert (left_out(reach + 2e-6)[:-1] > U).all()  # and no more terms than it asks for


def test_what_the_series_leaves_out_is_below_the_tolerance():
    """Of every pair of functions and thresholds, at the largest correlation of each number of terms."""
    coefficients = np.abs([reference.hermite_coefficients(t, TERMS + 200) for t in DEVIATES])
    relu, active, delta = coefficients.transpose(1, 0, 2)
    for level, rho in enumerate(mehler.reach()):
        rest = slice(mehler.TERM_STEP * (level + 1), None)
        powers = rho ** np.arange(1, TERMS + 201)[rest]
        for F, G in ((relu, relu), (relu, active), (relu, delta), (active, active)):
            assert ((F[:, rest] * powers) @ G[:, rest].T <= U).all()


def test_the_series_of_the_reference_is_the_covariance():
    """The definition against the other definition; 350 terms leave out what is below rounding."""
    for t1, t2, rho in ((0.0, 0.0, 0.5), (1.5, -0.5, -0.8), (-2.0, -2.0, 0.9), (4.0, 0.25, 0.3)):
        F, G = (reference.hermite_coefficients(t, 350) for t in (t1, t2))
        for got, expected in (
            (reference.mehler_series(F[0], G[0], rho), gaussian_pairs.relu_relu(t1, t2, rho)),
            (reference.mehler_series(F[0], G[1], rho), gaussian_pairs.relu_active(t1, t2, rho)),
            (reference.mehler_series(F[0], G[2], rho), gaussian_pairs.relu_density(t1, t2, rho)),
            (
                reference.mehler_series(F[1], G[1], rho) + special.ndtr(t1) * special.ndtr(t2),
                gaussian_pairs.both_active(t1, t2, rho),
            ),
        ):
            assert abs(got - expected) <= 64 * U
