"""Two neurons under one mask: reference values, many digits at every correlation, and identities."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

from fastntk import gaussian
from fastntk.gaussian_pairs import both_active, relu_active, relu_density, relu_relu

from . import exact_gaussian as exact
from .formulas import U
from .reference_values import load

FUNCTIONS = {  # in the order of exact_gaussian.pair
    "both_active": both_active,
    "relu_relu": relu_relu,
    "relu_active": relu_active,
    "relu_density": relu_density,
}
by_function = pytest.mark.parametrize("name", FUNCTIONS)
GOOD_TO = 8 * U  # "a few 1e-16"
PAIRS = [
    (0.0, 0.0),
    (0.3, -0.7),
    (1.2, 1.2),
    (1.2, 1.2000001),
    (-2.0, 0.0),
    (-0.7, -1.1),
    (5.0, -3.0),
    (9.0, 4.0),
]
PAIRS += [(-0.7, 0.3), (0.0, -2.0), (-3.0, 5.0)]
FAR = [(1e6, -1e6), (1e3, 1e3), (-40.0, 30.0), (0.3, 1e6)]
CORRELATIONS = [1e-9, 0.4, 0.9, 0.95, 1 - 1e-4, 1 - 1e-8, 1 - 1e-12, 1 - 1e-16, 1.0]
deviates = st.one_of(st.floats(-8, 8), st.floats(-1e6, 1e6), st.just(0.0)).map(
    lambda t: t if abs(t) > 1e-100 else 0.0  # smaller ones have a test of their own
)
correlations = st.one_of(st.floats(-1, 1), st.floats(1e-16, 1e-2).map(lambda gap: 1 - gap))


@functools.cache
def points():
    """(arguments (3, n), exact moments of each), at correlations of both signs."""
    found = [*itertools.product(PAIRS, CORRELATIONS), *itertools.product(FAR, CORRELATIONS[1::3])]
    arguments = [(t1, t2, sign * rho) for (t1, t2), rho in found for sign in (1, -1)]
    return np.array(arguments).T, [exact.pair(*one) for one in arguments]


# ------------------------------------------------------------------------------ reference values
def test_reference_table():
    table = load()["bivariate"]
    t1, t2, rho, both, product, covariance = (
        np.array([row[key] for row in table], float) for key in ("t1", "t2", "rho", "Phi2", "pair", "cov")
    )
    np.testing.assert_allclose(both_active(t1, t2, rho), both, rtol=0, atol=1e-14)
    np.testing.assert_allclose(relu_relu(t1, t2, rho), covariance, rtol=0, atol=1e-14)
    means = gaussian.unit_relu(t1) * gaussian.unit_relu(t2)
    np.testing.assert_allclose(relu_relu(t1, t2, rho) + means, product, rtol=1e-14, atol=1e-14)


# --------------------------------------------------------------------------------- many digits
@by_function
def test_good_to_a_few_roundings_everywhere(name):
    """Absolute errors: however large t1 and t2, and up to correlations of 1 and -1."""
    arguments, moments = points()
    got = FUNCTIONS[name](*arguments)
    expected = [moment[list(FUNCTIONS).index(name)] for moment in moments]
    errors = np.array([float(abs(float(x) - y)) for x, y in zip(got, expected, strict=True)])
    worst = errors.argmax()
    assert errors[worst] <= GOOD_TO, (arguments[:, worst], got[worst], float(expected[worst]))


@pytest.mark.parametrize(("t1", "t2", "rho"), [(0.3, -0.7, 0.5), (1.2, 2.0, -0.9), (-2.0, 0.4, 0.99)])
def test_the_exact_moments_are_integrals_of_their_definitions(t1, t2, rho):
    """A mistake in the integration by parts would be in both otherwise.  1e-15: of the quadrature."""

    def mean_relu(mean, deviation):
        return mean * exact.distribution(mean / deviation) + deviation * exact.density(mean / deviation)

    def mean_active(mean, deviation):
        return exact.distribution(mean / deviation)

    def mean_density(mean, deviation):
        return exact.density(mean / deviation) / deviation

    both, relus, active, delta = exact.pair(t1, t2, rho)
    own = exact.relu(t1)
    for expected, first, second in (
        (both, lambda u: 1, mean_active),
        (relus + own * exact.relu(t2), lambda u: u, mean_relu),
        (active + own * exact.probability(t2), lambda u: u, mean_active),
        (delta + own * exact.density_at(t2), lambda u: u, mean_density),
    ):
        assert abs(exact.definition(t1, t2, rho, first, second) - expected) < 1e-15


# ---------------------------------------------------------------------------------- identities
@given(t1=deviates, t2=deviates, rho=correlations)
def test_symmetric_in_the_two_neurons(t1, t2, rho):
    for function in (both_active, relu_relu):
        assert abs(function(t1, t2, rho) - function(t2, t1, rho)) <= GOOD_TO


@given(t1=deviates, t2=deviates, rho=correlations)
def test_either_v_or_minus_v_is_active(t1, t2, rho):
    """1{v > 0} + 1{-v > 0} = 1 and relu(v) - relu(-v) = v, of which all moments are known."""
    total = both_active(t1, t2, rho) + both_active(t1, -t2, -rho)
    assert abs(total - gaussian.probability(t1, 1.0)) <= 2 * GOOD_TO
    assert abs(relu_active(t1, t2, rho) + relu_active(t1, -t2, -rho)) <= 2 * GOOD_TO
    difference = relu_relu(t1, t2, rho) - relu_relu(t1, -t2, -rho)
    assert abs(difference - rho * gaussian.probability(t1, 1.0)) <= 2 * GOOD_TO
    assert abs(relu_density(t1, t2, rho) - relu_density(t1, -t2, -rho)) <= 2 * GOOD_TO


@given(t1=deviates, t2=deviates, rho=correlations)
def test_within_the_bounds_of_any_covariance(t1, t2, rho):
    P1, P2 = gaussian.probability(t1, 1.0), gaussian.probability(t2, 1.0)
    both = both_active(t1, t2, rho)
    assert max(P1 + P2 - 1, 0) - GOOD_TO <= both <= min(P1, P2) + GOOD_TO
    root = np.sqrt(gaussian.unit_variance(t1) * gaussian.unit_variance(t2))
    covariance = relu_relu(t1, t2, rho)
    assert abs(covariance) <= root + GOOD_TO
    # Price: Cov(F(u), G(v)) has the sign of rho where F and G increase
    assert np.sign(rho) * covariance >= -GOOD_TO
    assert np.sign(rho) * (both - P1 * P2) >= -GOOD_TO
    assert np.sign(rho) * relu_active(t1, t2, rho) >= -GOOD_TO


@given(t1=deviates, t2=deviates)
def test_independent_neurons(t1, t2):
    for name in ("relu_relu", "relu_active", "relu_density"):
        assert abs(FUNCTIONS[name](t1, t2, 0.0)) <= GOOD_TO
    product = gaussian.probability(t1, 1.0) * gaussian.probability(t2, 1.0)
    assert abs(both_active(t1, t2, 0.0) - product) <= GOOD_TO


@given(t=deviates)
def test_a_neuron_with_itself(t):
    P, R = gaussian.probability(t, 1.0), gaussian.unit_relu(t)
    assert abs(both_active(t, t, 1.0) - P) <= GOOD_TO
    assert abs(relu_relu(t, t, 1.0) - gaussian.unit_variance(t)) <= GOOD_TO
    # relu 1 = relu; R (1 - P) loses t times rounding of 1 - P unless that is Phi(-t)
    assert abs(relu_active(t, t, 1.0) - R * gaussian.probability(-t, 1.0)) <= GOOD_TO
    assert abs(relu_density(t, t, 1.0) + R * gaussian.normal_density(t)) <= GOOD_TO


@given(t=deviates)
def test_a_neuron_with_its_opposite(t):
    """relu(u) relu(-u) = 0."""
    assert both_active(t, -t, -1.0) <= GOOD_TO
    product = gaussian.unit_relu(-abs(t)) * abs(t) + gaussian.unit_relu(-abs(t)) ** 2
    assert abs(relu_relu(t, -t, -1.0) + product) <= GOOD_TO


def test_derivatives_by_the_correlation():
    """Price: d/drho E F(u) G(v) = E F'(u) G'(v); differences of second order of step h are off by h^2."""
    t1, t2 = np.meshgrid([-1.5, -0.2, 0.0, 0.8, 2.0], [-1.1, 0.0, 0.4, 1.7])
    h = 1e-5
    for rho in (-0.8, -0.3, 0.0, 0.5, 0.85):
        root = np.sqrt(1 - rho**2)
        density2 = gaussian.normal_density(t1) * gaussian.normal_density((t2 - rho * t1) / root) / root
        towards = gaussian.probability((t1 - rho * t2) / root, 1.0) * gaussian.normal_density(t2)
        for function, expected in (
            (relu_relu, both_active(t1, t2, rho)),
            (relu_active, towards),
            (both_active, density2),
        ):
            slope = (function(t1, t2, rho + h) - function(t1, t2, rho - h)) / (2 * h)
            # third derivatives by rho of these are below 60 for |rho| <= 0.85; and rounding over h
            np.testing.assert_allclose(slope, expected, rtol=0, atol=10 * h**2 + 2 * GOOD_TO / h)


def test_derivatives_by_the_threshold():
    """d/dt2 of E relu(u) relu(v), of E relu(u) 1{v > 0}."""
    t1, t2 = np.meshgrid([-1.5, -0.2, 0.0, 0.8, 2.0], [-1.1, 0.1, 0.4, 1.7])
    h = 1e-5
    for rho in (-0.8, -0.3, 0.0, 0.5, 0.85):
        for function, derivative in ((relu_relu, relu_active), (relu_active, relu_density)):
            slope = (function(t1, t2 + h, rho) - function(t1, t2 - h, rho)) / (2 * h)
            np.testing.assert_allclose(
                slope, derivative(t1, t2, rho), rtol=0, atol=10 * h**2 + 2 * GOOD_TO / h
            )


# --------------------------------------------------------------------------------- other inputs
@by_function
def test_thresholds_whose_product_is_below_the_smallest_float(name):
    for t1, t2 in itertools.product([-1e-200, 0.0, 1e-200], repeat=2):
        for rho in (-1.0, -0.95, 0.3, 1.0):
            got, expected = FUNCTIONS[name](t1, t2, rho), FUNCTIONS[name](0.0, 0.0, rho)
            assert abs(got - expected) <= GOOD_TO, (t1, t2, rho)


@by_function
def test_thresholds_whose_product_is_above_the_largest_float(name):
    """Those of neurons that are always or never active."""
    for t1, t2 in itertools.product([-1e200, 1e200], [-1e200, 0.5, 1e200]):
        for rho in (-0.95, 0.3):
            with np.errstate(all="ignore"):
                got, expected = (
                    FUNCTIONS[name](t1, t2, rho),
                    FUNCTIONS[name](*np.clip([t1, t2], -50, 50), rho),
                )
            assert abs(got - expected) <= GOOD_TO, (t1, t2, rho)


@by_function
def test_correlations_beyond_one_by_rounding(name):
    for sign in (1, -1):
        beyond = FUNCTIONS[name](0.3, -0.2, sign * (1 + 4 * U))
        assert beyond == FUNCTIONS[name](0.3, -0.2, float(sign))


@by_function
def test_arrays_broadcast(name):
    t1, t2, rho = np.array([0.1, -2.0])[:, None, None], np.array([[0.5], [3.0]]), np.array([0.2, -0.9, 1.0])
    out = FUNCTIONS[name](t1, t2, rho)
    assert out.shape == (2, 2, 3)
    assert out[1, 0, 2] == FUNCTIONS[name](-2.0, 0.5, 1.0)


def test_both_active_at_known_angles():
    """Two thresholds of 0 make a wedge: 1/4 + asin(rho) / 2 pi."""
    for rho in np.linspace(-1, 1, 21):
        assert abs(both_active(0.0, 0.0, rho) - float(mp.mpf(1) / 4 + mp.asin(rho) / (2 * mp.pi))) <= GOOD_TO


def test_a_correlation_is_at_most_one():
    assert both_active(0.0, 0.0, 1 + 1e-12) == 0.5  # rounding
    for function in (both_active, relu_relu, relu_active):
        with pytest.raises(ValueError, match=r"rho holds -1\.5; it must be from -1 to 1"):
            function(0.0, [1.0, 2.0], [0.0, -1.5])
