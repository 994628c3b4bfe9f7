"""The wire format: known answers, golden values, and the distribution of the normals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastntk.kernels import load, reference

# Known-answer vectors of the Random123 library (Salmon et al. 2011), philox4x32-10.
PHILOX_KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

# (seed, id, stream, draw) -> bits of the normals of features 0..4.  A change here is a new wire format.
GOLDEN_NORMALS = {
    (0, 0, 0, 0): (0xBF6CB6B1, 0xBF7DBB32, 0xBF1E1B9F, 0x3EF6D1B2, 0xBED9C6B3),
    (2**64 - 1, 2**31 - 2, 0, 0): (0xBF51766B, 0xBEE6E0AC, 0x3E0AD686, 0x3F9AC13F, 0xBCFAD435),
    (12345678901234567890, 2**40 + 3, 2, 7): (0xBF945A95, 0xBED549EB, 0x3F167008, 0x3FB626A4, 0xBE2ED5E3),
    (1, 5, 3, 2**28 - 1): (0xBEF30B05, 0x3F4417CC, 0xBDDD1ADC, 0x4013AD98, 0xBF0800A3),
}


def draw(kernels, seed, ids, dim, stream, number=0, as_normals=True):
    out = np.empty((len(ids), dim), np.float32 if as_normals else np.uint32)
    word = reference.stream_word(stream, number)
    kernels.random_rows(as_normals, seed, word, np.asarray(ids, np.uint64), out)
    return out


@pytest.mark.parametrize(("counter", "key", "answer"), PHILOX_KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, answer):
    assert tuple(int(word) for word in reference.philox(counter, key)) == answer


@pytest.mark.parametrize("place", GOLDEN_NORMALS)
def test_golden_normals(kernels, place):
    seed, row, stream, number = place
    bits = draw(kernels, seed, [row], 5, stream, number).view(np.uint32)[0]
    assert tuple(int(word) for word in bits) == GOLDEN_NORMALS[place]


def one_neuron(lanes, rounded, seed, word, neuron, groups):
    """What random_neuron writes."""
    from numba import njit

    from fastntk.kernels.cpu.philox import random_neuron

    to_bfloat16 = int(rounded)

    @njit
    def write(seed, word, neuron, groups, out):
        random_neuron(lanes, to_bfloat16, seed, word, neuron, groups, out.ctypes.data)

    out = np.empty(4 * lanes * groups, np.float32)
    write(np.uint64(seed), word, neuron, groups, out)
    return out


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("neuron", [0, 2**31 - 2, 2**40 + 3])
def test_a_neuron_by_itself(kernels, neuron, rounded):
    word = reference.stream_word(reference.WEIGHT_STREAM, 0)
    out = one_neuron(kernels.path.lanes, rounded, 2**64 - 1, word, neuron, 3)
    expected = reference.normals(2**64 - 1, np.array([neuron]), len(out), 0)[0]
    expected = reference.round_to_bfloat16(expected) if rounded else expected
    np.testing.assert_array_equal(out, expected)


def test_golden_output_signs():
    signs = reference.output_signs(0, np.arange(12))
    assert signs.tolist() == [-1, 1, -1, -1, -1, 1, -1, 1, 1, 1, 1, 1]
    assert reference.output_signs(9, np.array([127, 128, 2**31 - 2])).tolist() == [-1, 1, -1]


def test_golden_signs_of_further_outputs():
    """Output c reads block c of the counter: each a call of its own."""
    assert reference.output_signs(0, np.arange(12), 1).tolist() == [-1, 1, -1, 1, 1, 1, 1, 1, 1, -1, 1, -1]
    for c in (0, 1, 7):
        counter = (3, 0, c, reference.stream_word(reference.SIGN_STREAM, 0))
        word = reference.philox(counter, (9, 1))[2]  # seed 2^32 + 9; neurons 3 * 128 + 2 * 32 ...
        signs = [1 - 2 * (int(word) >> bit & 1) for bit in range(32)]
        np.testing.assert_array_equal(reference.output_signs(2**32 + 9, 448 + np.arange(32), c), signs)


def test_signs_of_two_outputs_are_independent():
    first, second = (reference.output_signs(4, np.arange(10**6), c) for c in (0, 1))
    for signs in (second, first * second, first[1:] * second[:-1]):
        assert abs(signs.mean()) * 1e3 < 4  # standard errors


def test_output_signs_are_balanced():
    signs = reference.output_signs(4, np.arange(10**6))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) * 1e3 < 4  # standard errors


@given(
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**63),
    count=st.integers(1, 70),
    dim=st.integers(1, 19),
    stream=st.integers(0, 15),
    number=st.integers(0, 2**28 - 1),
)
def test_random_rows_equal_the_reference(seed, first, count, dim, stream, number):
    ids = first + np.arange(count, dtype=np.uint64) * np.uint64(977)
    for name in ("avx512", "avx2", "plain"):
        try:
            kernels = load(name)
        except ValueError:
            continue  # not on this host
        normals = draw(kernels, seed, ids, dim, stream, number)
        expected = reference.normals(seed, ids, dim, stream, number)
        np.testing.assert_array_equal(normals.view(np.uint32), expected.view(np.uint32))
        words = draw(kernels, seed, ids, dim, stream, number, as_normals=False)
        np.testing.assert_array_equal(words, reference.words(seed, ids, dim, stream, number))


def test_features_and_ids_are_functions_of_their_place(kernels):
    whole = draw(kernels, 3, np.arange(100), 64, 0)
    np.testing.assert_array_equal(draw(kernels, 3, np.arange(40, 60), 64, 0), whole[40:60])
    np.testing.assert_array_equal(draw(kernels, 3, np.arange(100), 7, 0), whole[:, :7])


def test_fma_is_rounded_once(kernels):
    rng = np.random.default_rng(0)
    scale, z, shift = (rng.standard_normal(s).astype(np.float32) for s in (50, (40, 50), (40, 50)))
    shift[0] = -(scale * z[0])  # cancellation: the low half of the product is the result
    out = np.empty_like(z)
    kernels.fma_rows(scale, z, shift, out)
    exact = np.array(
        [
            [fma_by_fractions(s, value, c) for s, value, c in zip(scale, row, shifts, strict=True)]
            for row, shifts in zip(z, shift, strict=True)
        ]
    )
    np.testing.assert_array_equal(out, exact)
    np.testing.assert_array_equal(reference.fma32(scale, z, shift), exact)


def fma_by_fractions(a, b, c):
    """fp32 a b + c rounded once, by exact rationals: the candidate neighbours of the float64 result."""
    from fractions import Fraction

    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    guess = np.float32(float(exact))
    candidates = [
        np.nextafter(guess, np.float32(-math.inf)),
        guess,
        np.nextafter(guess, np.float32(math.inf)),
    ]

    def distance(value):
        return abs(Fraction(float(value)) - exact), int(np.float32(value).view(np.uint32)) & 1  # ties to even

    return min(candidates, key=distance)


@pytest.fixture(scope="module")
def many_normals():
    return draw(load(), 11, np.arange(60_000), 64, 0).astype(np.float64)


def test_box_muller_is_accurate(many_normals):
    """Against float64 logarithm, sine and cosine: absolute error below 7e-7."""
    words = reference.words(11, np.arange(2000), 64, 0)
    x0, x1 = words[:, 0::2].astype(np.float64), words[:, 1::2]
    u = np.minimum((x0.astype(np.float32).astype(np.float64) * 2.0**-32 + 2.0**-33).astype(np.float32), 1)
    radius = np.sqrt(-2 * np.log(u.astype(np.float64)))
    angle = (x1 << np.uint32(2)).view(np.int32) * (2.0**-31 * math.pi / 4)
    sine, cosine = np.sin(angle), np.cos(angle) * np.where(x1 >> np.uint32(31), -1.0, 1.0)
    swap = (x1 >> np.uint32(30)) & np.uint32(1) == 1
    np.testing.assert_allclose(
        many_normals[:2000, 0::2], radius * np.where(swap, sine, cosine), atol=7e-7, rtol=0
    )
    np.testing.assert_allclose(
        many_normals[:2000, 1::2], radius * np.where(swap, cosine, sine), atol=7e-7, rtol=0
    )


def test_normals_have_the_moments_of_a_normal(many_normals):
    z = many_normals.ravel()
    variances = {1: 1, 2: 2, 3: 15, 4: 96}  # of z^p
    means = {1: 0, 2: 1, 3: 0, 4: 3}
    for power, variance in variances.items():
        standard_error = math.sqrt(variance / z.size)
        assert abs((z**power).mean() - means[power]) < 4.5 * standard_error, power


def test_normals_fit_the_normal_distribution(many_normals):
    counts, _ = np.histogram(stats.norm.cdf(many_normals.ravel()), bins=1000, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.kstest(many_normals.ravel()[:400_000], "norm").pvalue > 1e-4


def test_features_are_uncorrelated(many_normals):
    n, d = many_normals.shape
    correlation = many_normals.T @ many_normals / n - np.eye(d)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() * math.sqrt(n) < 5.5  # 2016 pairs


def test_no_normal_exceeds_the_stated_largest():
    """The radius is largest at word 0, and the angle polynomials stay below 1 + 1e-6."""
    angles = np.linspace(0, 2**32 - 1, 100_001).astype(np.uint32)
    pair = reference.box_muller(np.zeros_like(angles), angles)
    largest = max(np.abs(values).max() for values in pair)
    assert 6.7 < largest < reference.LARGEST_NORMAL
