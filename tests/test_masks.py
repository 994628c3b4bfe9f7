"""Masks: the definition of every value, its keys, its moments, and what is refused."""

import ctypes
import math
import platform
import sys
import zlib
from contextlib import contextmanager
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from fastntk import masking
from fastntk.exponential import exponential
from fastntk.kernels import reference
from fastntk.kernels.reference import COLUMN_MASK_STREAM, ROW_MASK_STREAM
from fastntk.masks import AdditiveMask, BernoulliMask, GaussianMask, LognormalMask, sample

from .reference_values import cases

MASKS = [
    GaussianMask(0.3),
    GaussianMask([0.0, 0.5, 2.0]),
    AdditiveMask(0.7),
    AdditiveMask([0.1, 0.0, 3.0]),
    LognormalMask(0.4),
    BernoulliMask(0.6),
]
NO_CHANGE = [GaussianMask(0), AdditiveMask(0), LognormalMask(0), BernoulliMask(1), GaussianMask([0, 0, 0])]
F32_MAX = float(np.finfo(np.float32).max)


def inputs(n=6, d=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def rounded(exact):
    """A Fraction rounded once to float32: the nearest, ties to even."""
    guess = np.float32(float(exact))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    distance = [abs(Fraction(float(value)) - exact) for value in near]
    best = [value for value, gap in zip(near, distance, strict=True) if gap == min(distance)]
    return best[0] if len(best) == 1 else next(v for v in best if int(v.view(np.uint32)) % 2 == 0)


def exact_masked(mask, x, feature, z, word):
    """One masked value from the definition, in rational arithmetic."""
    x = Fraction(float(x))
    if isinstance(mask, AdditiveMask):
        tau = np.float32(np.broadcast_to(mask.tau, 3)[feature])
        return rounded(Fraction(float(tau)) * Fraction(float(z)) + x)
    if isinstance(mask, GaussianMask):
        kappa = np.float32(np.broadcast_to(mask.kappa, 3)[feature])
        c = rounded(Fraction(float(kappa)) * Fraction(float(z)) + 1)
    elif isinstance(mask, LognormalMask):
        c = np.float32(exponential(np.float64(mask.kappa * float(z) - mask.kappa**2 / 2)))
    else:
        c = rounded(1 / Fraction(mask.keep)) if int(word) < round(mask.keep * 2**32) else 0
    return rounded(x * Fraction(float(c)))


# ------------------------------------------------------------------------------- the values
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_every_value_is_the_definition(mask):
    X, ids = inputs(n=30), np.arange(100, 130)
    masked = mask.sample(X, seed=5, draw=2, row_ids=ids, stream=COLUMN_MASK_STREAM)
    z = reference.normals(5, ids, 3, COLUMN_MASK_STREAM, 2)
    word = reference.words(5, ids, 3, COLUMN_MASK_STREAM, 2)
    expected = [[exact_masked(mask, X[i, k], k, z[i, k], word[i, k]) for k in range(3)] for i in range(30)]
    assert masked.dtype == np.float32
    np.testing.assert_array_equal(masked, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("mask", "golden"),
    [
        (
            GaussianMask(kappa=0.3),
            [
                "0x1.0e7a8e0000000p+0",
                "-0x1.d1fe540000000p+0",
                "0x1.f58b140000000p+1",
                "0x1.44e0e20000000p-1",
                "0x1.9221180000000p+2",
            ],
        ),
        (
            AdditiveMask(tau=0.7),
            [
                "0x1.21c8a00000000p+0",
                "-0x1.1ad64e0000000p+1",
                "0x1.db6c2c0000000p+1",
                "0x1.20b7620000000p+0",
                "0x1.b0b5b20000000p+2",
            ],
        ),
        (
            LognormalMask(kappa=0.4),
            [
                "0x1.fda7c40000000p-1",
                "-0x1.a345360000000p+0",
                "0x1.0a91940000000p+2",
                "0x1.524b9a0000000p-1",
                "0x1.68c8200000000p+2",
            ],
        ),
        (
            BernoulliMask(keep=0.6),
            ["0x0.0p+0", "-0x0.0p+0", "0x1.4000000000000p+2", "0x1.aaaaaa0000000p-1", "0x0.0p+0"],
        ),
    ],
    ids=repr,
)
def test_golden_values(mask, golden):
    """The wire format: a change of these is a new version of it."""
    masked = mask.sample([[1.0, -2.0, 3.0, 0.5, 7.0]], seed=2**40 + 7, draw=3, row_ids=[2**33 + 5])
    assert [float(value).hex() for value in masked[0]] == golden


@pytest.mark.parametrize("mask", NO_CHANGE, ids=repr)
def test_zero_strength_changes_nothing(mask):
    X = np.array([[1.5, -2.0, 0.0], [1e-45, -1e-40, F32_MAX], [1e-30, 3e38, -7e-39]], np.float32)
    np.testing.assert_array_equal(mask.sample(X, seed=9), X)
    np.testing.assert_array_equal(mask.variance(X), np.zeros_like(X))


def test_no_mask_is_the_rounded_input():
    X = np.array([[0.1, 1e-50], [2.0, -3.0]])
    masked = sample(None, X)
    assert masked.dtype == np.float32
    np.testing.assert_array_equal(masked, X.astype(np.float32))


@pytest.mark.parametrize("keep", [1e-6, 0.3, 0.5, 1.0])
def test_bernoulli_takes_two_values(keep):
    masked = BernoulliMask(keep).sample(np.ones((1000, 4)))
    assert set(np.unique(masked)) <= {np.float32(0), np.float32(1 / keep)}


def test_lognormal_factor_is_positive_and_at_most_one_unit_from_the_exact_one():
    for kappa in (0.01, 1.0, 5.0):
        c = LognormalMask(kappa).sample(np.ones((50, 3)), seed=1)
        z = reference.normals(1, np.arange(50), 3, ROW_MASK_STREAM)
        for value, normal in zip(c.ravel(), z.ravel(), strict=True):
            exact = mpmath.exp(mpmath.mpf(kappa) * float(normal) - mpmath.mpf(kappa) ** 2 / 2)
            assert value > 0
            assert abs(float(value) - exact) <= np.spacing(value)


def test_exponential_against_mpmath():
    x = np.concatenate([np.linspace(-110, 700, 4001), np.linspace(-1, 1, 2001), [0.0, 1e-300, -1e-17]])
    worst = max(
        abs(float(value) / mpmath.exp(float(at)) - 1) for at, value in zip(x, exponential(x), strict=True)
    )
    assert worst < 4e-16
    assert exponential(np.array([0.0]))[0] == 1.0
    assert np.float32(exponential(np.array([-1e9]))[0]) == 0.0


def test_exponential_has_the_same_bits_everywhere():
    """Part of the wire format of the lognormal mask."""
    assert zlib.crc32(exponential(np.arange(-880, 200) / 8).astype("<f8").tobytes()) == 0x0709CB9B


# ---------------------------------------------------------------------------------- the keys
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_a_subset_with_its_ids_sees_the_same_masks(mask, monkeypatch):
    X = inputs(n=50)
    whole = mask.sample(X, seed=3, draw=1)
    chosen = [49, 7, 7, 0]
    np.testing.assert_array_equal(mask.sample(X[chosen], seed=3, draw=1, row_ids=chosen), whole[chosen])
    monkeypatch.setattr(masking, "VALUES_PER_BLOCK", 8)
    np.testing.assert_array_equal(mask.sample(X, seed=3, draw=1), whole)


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_seed_draw_stream_and_id_each_change_the_mask(mask):
    X = np.ones((40, 3))
    ids = np.arange(40)
    variants = [
        mask.sample(X),
        mask.sample(X, seed=1),
        mask.sample(X, seed=2**32),
        mask.sample(X, draw=1),
        mask.sample(X, stream=COLUMN_MASK_STREAM),
        mask.sample(X, row_ids=ids + 40),
        mask.sample(X, row_ids=ids.astype(np.uint64) + np.uint64(2**32)),
    ]
    assert len({variant.tobytes() for variant in variants}) == len(variants)


@contextmanager
def denormals_flushed():
    """A host that has set flush-to-zero and denormals-are-zero in this thread."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the layout of fenv_t is that of Linux on x86-64")
    library = ctypes.CDLL("libm.so.6")
    saved = (ctypes.c_uint32 * 8)()
    library.fegetenv(saved)
    flushing = (ctypes.c_uint32 * 8)(*saved)
    flushing[7] |= 0x8040  # the control bits of MXCSR
    library.fesetenv(flushing)
    try:
        yield
    finally:
        library.fesetenv(saved)


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_flush_to_zero_of_the_host_changes_nothing(mask):
    X = np.array([[1e-40, -3e-42, 2e-38], [1e-45, 1.2e-38, 0.0]], np.float32)
    expected = mask.sample(X, seed=1)
    with denormals_flushed():
        flushed = X * np.float32(0.5)
        masked = mask.sample(X, seed=1)
        flushed_after = X * np.float32(0.5)
    assert not flushed[:, 0].any()
    np.testing.assert_array_equal(flushed, flushed_after)  # the host has its settings back
    np.testing.assert_array_equal(masked, expected)


def test_any_layout_and_type_and_no_writing():
    X = np.arange(12).reshape(4, 3)
    mask = GaussianMask(0.5)
    expected = mask.sample(X.astype(np.float32))
    frozen = X.astype(np.float32)
    frozen.flags.writeable = False
    for same in (X, X.astype(np.float16), frozen, np.asfortranarray(X, np.float32), X.tolist()):
        np.testing.assert_array_equal(mask.sample(same), expected)
    np.testing.assert_array_equal(mask.sample(np.repeat(X, 2, axis=1)[:, ::2]), expected)
    assert np.array_equal(frozen, X)


# ------------------------------------------------------------------------------- the moments
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_moments_against_samples_in_standard_errors(mask):
    x = np.array([[1.0, -2.0, 0.5]])
    count = 200_000
    masked = mask.sample(np.repeat(x, count, axis=0), seed=11).astype(float)
    for power, moment in enumerate(mask.moments(x), start=1):
        values = masked**power
        error = values.mean(axis=0) - moment[0]
        standard_error = values.std(axis=0) / math.sqrt(count)
        assert (np.abs(error) <= 5 * standard_error + 1e-6 * np.abs(moment[0])).all(), power


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_features_and_rows_are_uncorrelated(mask):
    count = 100_000
    masked = mask.sample(np.ones((count, 3)), seed=4).astype(float)
    deviation = masked - 1
    scale = masked.std(axis=0)
    for first, second in [(deviation[:, 0], deviation[:, 2]), (deviation[:-1, 2], deviation[1:, 2])]:
        assert abs((first * second).mean()) <= 5 * scale.max() ** 2 / math.sqrt(count - 1)


def test_moments_of_gaussian_and_lognormal_by_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    x = 1.7
    shapes = {
        GaussianMask(0.8): x * (1 + 0.8 * nodes),
        AdditiveMask(0.8): x + 0.8 * nodes,
        LognormalMask(0.8): x * np.exp(0.8 * nodes - 0.32),
    }
    for mask, values in shapes.items():
        got = [float(moment[0, 0]) for moment in mask.moments([[x]])]
        np.testing.assert_allclose(got, [weights @ values**p for p in (1, 2, 3, 4)], rtol=1e-12)


def test_moments_of_bernoulli():
    got = [float(moment[0, 0]) for moment in BernoulliMask(0.3).moments([[2.0]])]
    np.testing.assert_allclose(got, [0.3 * (2 / 0.3) ** p for p in (1, 2, 3, 4)], rtol=1e-14)


@pytest.mark.parametrize("case", cases("kappa"), ids=lambda case: case["name"])
def test_variance_is_that_of_the_reference(case):
    np.testing.assert_allclose(GaussianMask(case["kappa"]).variance(case["X"]), case["V"], rtol=1e-14)


def test_weak_masks_keep_their_digits():
    """Differences of raw moments would have none left."""
    x, kappa = np.array([[3.0]]), 1e-9
    expected = [kappa**2 * 9, 2 * kappa**2 * 27, 4 * kappa**2 * 81]
    for mask in (GaussianMask(kappa), LognormalMask(kappa)):
        np.testing.assert_allclose([float(part[0, 0]) for part in mask.spread(x)], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "mask", [GaussianMask(1e6), AdditiveMask(1e37), LognormalMask(5), BernoulliMask(1e-6)]
)
def test_moments_are_finite_at_the_limits(mask):
    X = np.array([[F32_MAX, 1e-45, 0.0]])
    assert all(np.isfinite(moment).all() for moment in mask.moments(X))


# --------------------------------------------------------------------------------- as objects
def test_masks_are_values():
    assert GaussianMask(0.2) == GaussianMask(np.float64(0.2))
    assert GaussianMask([0.1, 0.2]) == GaussianMask(np.array([0.1, 0.2]))
    assert GaussianMask(0.2) != LognormalMask(0.2)
    assert len({GaussianMask(1), GaussianMask(1.0), GaussianMask(2), GaussianMask([1, 2])}) == 3
    assert [repr(mask) for mask in (GaussianMask([1, 2]), AdditiveMask(0.5), BernoulliMask(1))] == [
        "GaussianMask(kappa=(1.0, 2.0))",
        "AdditiveMask(tau=0.5)",
        "BernoulliMask(keep=1.0)",
    ]
    with pytest.raises(AttributeError):
        GaussianMask(0.2).kappa = 0.3


# ------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("make", "value", "message"),
    [
        (GaussianMask, -0.1, "kappa is -0.1; it must be from 0 to 1e[+]06"),
        (GaussianMask, 1e7, "kappa is 10000000.0"),
        (GaussianMask, math.nan, "kappa is nan"),
        (GaussianMask, math.inf, "kappa is inf"),
        (GaussianMask, [0.1, -1.0], r"kappa\[1\] is -1.0"),
        (GaussianMask, [], r"kappa has shape \(0,\)"),
        (GaussianMask, [[0.1]], r"kappa has shape \(1, 1\)"),
        (AdditiveMask, 1e38, "tau is 1e[+]38"),
        (AdditiveMask, -1, "tau is -1.0"),
        (LognormalMask, 5.1, "kappa is 5.1; it must be from 0 to 5"),
        (BernoulliMask, 0, "keep is 0.0; it must be from 1e-06 to 1"),
        (BernoulliMask, 1.01, "keep is 1.01"),
    ],
)
def test_refused_strengths(make, value, message):
    with pytest.raises(ValueError, match=message):
        make(value)


@pytest.mark.parametrize("make", [GaussianMask, AdditiveMask, LognormalMask, BernoulliMask])
@pytest.mark.parametrize("value", ["0.5", None, True, 0.5j])
def test_refused_types(make, value):
    with pytest.raises(TypeError, match="must be a number"):
        make(value)


@pytest.mark.parametrize("make", [LognormalMask, BernoulliMask])
def test_one_number_only(make):
    with pytest.raises(TypeError, match="must be a number"):
        make([0.5, 0.5])


def test_wrong_number_of_features():
    mask = GaussianMask([0.1, 0.2])
    for call in (mask.sample, mask.moments, mask.variance):
        with pytest.raises(ValueError, match="kappa of GaussianMask is for 2 features but X has 3"):
            call(np.ones((4, 3)))


@pytest.mark.parametrize(
    "mask", [GaussianMask(1e6), AdditiveMask(1e37), LognormalMask(5), BernoulliMask(1e-6)]
)
def test_overflow_says_where(mask):
    X = np.zeros((400_000, 2), np.float32)
    X[7:, 1] = F32_MAX
    with pytest.raises(
        ValueError, match=rf"X is not finite in float32 after {type(mask).__name__}.*X\[\d+, 1\] is"
    ):
        mask.sample(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is"),
        ({"draw": 2**28}, "draw is"),
        ({"draw": -1}, "draw is -1"),
        ({"stream": 16}, "stream is 16"),
        ({"row_ids": [0, 1]}, "row_ids has shape"),
        ({"row_ids": [0, -1, 2]}, "row ids are not negative"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianMask(0.1).sample(np.ones((3, 2)), **options)


@pytest.mark.parametrize("mask", ["gaussian", 0.2, GaussianMask, (None, 3)])
def test_not_a_mask(mask):
    with pytest.raises(TypeError, match="it must be None or a mask"):
        sample(mask, np.ones((3, 2)))
