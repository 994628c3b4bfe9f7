"""One neuron under a Gaussian mask: reference values, many digits, no spread, and what lies below what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastntk import gaussian

from . import exact_gaussian as exact
from .formulas import U
from .reference_values import cases, load

RNG = np.random.default_rng(3)
LEFT = np.concatenate([np.linspace(-37, -1, 90), -1 - 10.0 ** np.arange(-12, 0)])
RIGHT = np.concatenate([np.linspace(-1, 40, 120), 10.0 ** np.arange(-20, 9), -(10.0 ** np.arange(-20, 0))])
FUNCTIONS = {
    "z": lambda z, s: z,
    "P": gaussian.probability,
    "sigma_bar": gaussian.smoothed_relu,
    "sigma_proxy": gaussian.proxy_relu,
    "relu_sq": gaussian.second_moment,
}
reals = st.floats(-1e30, 1e30)
deviations = st.one_of(st.just(0.0), st.floats(1e-30, 1e30))


def errors(got, function, t):
    """|got - exact| and |exact|, as floats."""
    values = [function(one) for one in t]
    gaps = [float(abs(value - float(one))) for value, one in zip(values, got, strict=True)]
    return np.array(gaps), np.array([float(abs(value)) for value in values])


# ------------------------------------------------------------------------------ reference values
def test_reference_table():
    table = load()["smoothed_relu_unit"]
    t, expected = (np.array([row[key] for row in table], float) for key in ("t", "R"))
    # at t = -37, 1 + t M(-t) = 7e-4 is left of numbers near 1
    np.testing.assert_allclose(gaussian.unit_relu(t), expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(gaussian.smoothed_relu(3 * t, 3.0), 3 * expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", cases("sigma_bar"), ids=lambda case: case["name"])
@pytest.mark.parametrize("field", FUNCTIONS)
def test_reference_cases(case, field):
    z, s = case["X"] @ case["W"].T, np.sqrt(case["V"] @ np.square(case["W"]).T)
    np.testing.assert_allclose(s, case["s"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(FUNCTIONS[field](z, s), case[field], rtol=0, atol=1e-12)


# --------------------------------------------------------------------------------- many digits
def test_relu_has_full_relative_precision_on_the_right():
    gaps, sizes = errors(gaussian.unit_relu(RIGHT), exact.relu, RIGHT)
    # -t Phi(t) < 2 R(t) and phi(t) < 3 R(t) down to t = -1: a few roundings of these
    assert (gaps <= 10 * U * sizes).all()


def test_relu_loses_the_square_of_t_on_the_left():
    """R(t) = phi(t) (1 - |t| M(|t|)), and the difference is about 1 / (1 + t^2)."""
    gaps, sizes = errors(gaussian.unit_relu(LEFT), exact.relu, LEFT)
    assert (gaps <= 8 * U * (1 + LEFT**2) * sizes).all()


def test_second_moment_is_good_to_rounding_of_its_terms():
    t = np.concatenate([LEFT, RIGHT])
    gaps, _ = errors(gaussian.unit_second_moment(t), exact.second_moment, t)
    terms = np.where(t < 0, (2 + np.abs(t) ** 2) * gaussian.normal_density(t), 1 + t**2)
    assert (gaps <= 8 * U * terms).all()


def test_variance_has_no_cancellation():
    """It is between 0 and 1; the second moment and the square of the mean are 1e16 at t = 1e8."""
    t = np.concatenate([LEFT, RIGHT])
    gaps, sizes = errors(gaussian.unit_variance(t), exact.variance, t)
    assert (gaps <= 8 * U * np.minimum(1, (2 + np.abs(t) ** 2) * gaussian.normal_density(t) + (t > 0))).all()
    assert (gaps <= 10 * U * sizes)[t >= -1].all()
    assert (gaussian.unit_variance(t) >= 0).all()
    assert gaussian.variance(1e8, 1.0) == 1
    assert gaussian.variance(3e8, 2.0) == 4


def test_probability_and_density():
    t = np.concatenate([LEFT, RIGHT])
    for function, expected in (
        (gaussian.probability, exact.probability),
        (gaussian.density, exact.density_at),
    ):
        gaps, sizes = errors(function(t, np.ones_like(t)), expected, t)
        # exp(-t^2 / 2) of a rounded exponent
        assert (gaps <= 8 * U * (1 + t**2) * sizes + 1e-323).all()


# ------------------------------------------------------------------------------------ no spread
def test_without_spread_the_formulas_are_those_of_the_number():
    """relu'(0) = 0, and the density is 0: a neuron that no mask moves."""
    z, zero = np.array([2.5, 0.0, -0.0, -2.5]), np.zeros(4)
    relu = np.array([2.5, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(gaussian.standardised(z, zero), [np.inf, -np.inf, -np.inf, -np.inf])
    np.testing.assert_array_equal(gaussian.probability(z, zero), z > 0)
    np.testing.assert_array_equal(gaussian.density(z, zero), zero)
    np.testing.assert_array_equal(gaussian.smoothed_relu(z, zero), relu)
    np.testing.assert_array_equal(gaussian.proxy_relu(z, zero), relu)
    np.testing.assert_array_equal(gaussian.second_moment(z, zero), relu**2)
    np.testing.assert_array_equal(gaussian.variance(z, zero), zero)


@pytest.mark.parametrize("z", [2.5, -2.5])
def test_vanishing_spread_tends_to_none(z):
    """What is left at t = 37 is below rounding."""
    for s in (abs(z) / 39, 1e-10, 1e-100):
        assert gaussian.smoothed_relu(z, s) == pytest.approx(max(z, 0.0), rel=2 * U, abs=1e-300)
        assert gaussian.probability(z, s) == pytest.approx(float(z > 0), abs=1e-300)
        assert gaussian.density(z, s) <= 1e-300
        assert gaussian.variance(z, s) == pytest.approx(s**2 * (z > 0), rel=2 * U, abs=1e-300)


@pytest.mark.parametrize(("z", "s"), [(1e200, 1.0), (-1e200, 1.0), (1.0, 1e-300), (1e300, 1e-300)])
def test_any_ratio_of_mean_and_deviation(z, s):
    """No NaN where the square of z / s, or z / s itself, overflows."""
    with np.errstate(all="ignore"):
        assert gaussian.smoothed_relu(z, s) == pytest.approx(max(z, 0.0), rel=4 * U)
        assert gaussian.proxy_relu(z, s) == max(z, 0.0)
        assert gaussian.probability(z, s) == float(z > 0)
        assert gaussian.density(z, s) == 0
        assert gaussian.variance(z, s) == pytest.approx(s**2 * (z > 0), rel=2 * U)


# ------------------------------------------------------------------------ what is below what
@given(z=reals, s=deviations)
def test_the_proxy_is_below_and_the_mean_above_the_relu(z, s):
    """By s phi(t) together, of which the mean takes the smaller part: sbar - relu <= relu - shat.

    Roundings are those of |z| and s.
    """
    slack = 8 * U * (abs(z) + s)
    relu, smoothed, proxy = max(z, 0.0), gaussian.smoothed_relu(z, s), gaussian.proxy_relu(z, s)
    assert proxy <= relu + slack
    assert smoothed >= relu - slack
    assert smoothed - proxy >= smoothed - relu - slack
    assert abs(smoothed - proxy - s * s * gaussian.density(z, s)) <= slack
    assert gaussian.second_moment(z, s) >= smoothed**2 - 8 * U * (abs(z) + s) ** 2
    assert 0 <= gaussian.variance(z, s) <= s * s * (1 + 8 * U)


@given(z=reals, s=deviations)
def test_relu_of_h_and_of_minus_h_differ_by_h(z, s):
    slack = 8 * U * (abs(z) + s)
    assert abs(gaussian.smoothed_relu(z, s) - gaussian.smoothed_relu(-z, s) - z) <= slack
    if s > 0:
        assert abs(gaussian.probability(z, s) + gaussian.probability(-z, s) - 1) <= 4 * U


@given(z=reals, s=deviations, power=st.integers(-60, 60))
def test_scaling_by_a_power_of_two_is_exact(z, s, power):
    scale = 2.0**power
    for function, degree in ((gaussian.smoothed_relu, 1), (gaussian.proxy_relu, 1), (gaussian.variance, 2)):
        assert function(scale * z, scale * s) == scale**degree * function(z, s)
    assert gaussian.density(scale * z, scale * s) * scale == gaussian.density(z, s)
    assert gaussian.probability(scale * z, scale * s) == gaussian.probability(z, s)


def test_scaling_by_any_number():
    z, s = RNG.standard_normal(300), RNG.uniform(0.1, 2, 300)
    for scale in (3.0, 1e-30, 1e30):
        np.testing.assert_allclose(
            gaussian.smoothed_relu(scale * z, scale * s), scale * gaussian.smoothed_relu(z, s), rtol=1e-12
        )
        np.testing.assert_allclose(
            gaussian.variance(scale * z, scale * s), scale**2 * gaussian.variance(z, s), rtol=1e-11
        )


def test_arrays_broadcast_and_keep_their_shape():
    z, s = RNG.standard_normal((5, 1)), RNG.uniform(0, 1, 4)
    for function in (*FUNCTIONS.values(), gaussian.density, gaussian.variance):
        out = function(z, s)
        if function is not FUNCTIONS["z"]:
            assert out.shape == (5, 4)
            np.testing.assert_array_equal(out[3, 2], function(z[3, 0], s[2]))


def test_moments_by_sampling():
    """4 quantities at 6 points: none beyond 4.5 standard errors."""
    g = np.random.default_rng(11).standard_normal((200_000, 1))
    z, s = np.array([-2.0, -0.5, 0.0, 0.3, 1.5, 4.0]), np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0])
    h = z + s * g
    relu = np.maximum(h, 0)
    for sample, expected in (
        (h > 0, gaussian.probability(z, s)),
        (relu, gaussian.smoothed_relu(z, s)),
        (relu**2, gaussian.second_moment(z, s)),
        ((relu - gaussian.smoothed_relu(z, s)) ** 2, gaussian.variance(z, s)),
    ):
        standard_error = sample.std(axis=0) / np.sqrt(len(g))
        assert (np.abs(sample.mean(axis=0) - expected) < 4.5 * standard_error).all()


def test_a_deviation_is_not_negative():
    for function in (gaussian.smoothed_relu, gaussian.proxy_relu, gaussian.probability, gaussian.variance):
        with pytest.raises(ValueError, match="s holds -1; it is a standard deviation"):
            function([0.0, 1.0], [2.0, -1.0])
