"""Sums over pairs of neurons, and mean features, against their definitions, on every path."""

import math

import numpy as np
import pytest
from numba.extending import get_cython_function_address
from scipy import special

from fastntk import gaussian, gaussian_pairs
from fastntk.kernels import reference
from fastntk.kernels.cpu import mehler, pairs, steep

U = 2.0**-53
GOOD_TO = 8 * U  # what gaussian_pairs is good to
# A chain of up to 300 terms rho^k F_k G_k, |rho| <= 0.9: their magnitudes add up to 1, the coefficients are
# off by some k U, and what is left out is 2^-53.
SERIES_GOOD_TO = 17 * U
OWENS_T = get_cython_function_address("scipy.special.cython_special", "owens_t")
WIDTHS = [1, 5, 11, 12, 13, 23, 24, 25, 49]  # around the 6, 12 or 24 neurons of a group


def one_by_one(z, s):
    """(t, P, phi) as the engine has them; t = 0 and phi = 0 where s = 0."""
    t = np.divide(z, s, out=np.zeros_like(z), where=s > 0)
    return t, np.where(s > 0, special.ndtr(t), z > 0), np.where(s > 0, gaussian.normal_density(t), 0.0)


def filled(kernels, W, a, V, z, s, kinds=3, scratch=None):
    """(neurons, scratch) of the kernels for one sample."""
    padded = np.zeros((kernels.groups(len(W)) * kernels.group_width, W.shape[1] + a.shape[1]))
    padded[: len(W)] = np.hstack([W, a])
    weights, own = padded[:, : W.shape[1]], np.ascontiguousarray(padded[:, W.shape[1] :])
    neurons = pairs.PairNeurons(W, own, kernels.to_panels(weights))
    scratch = scratch or kernels.pair_scratch(*W.shape, OWENS_T)
    pairs.fill_pair_scratch(neurons, V, *_in_order(z, s), kinds, scratch)
    return neurons, scratch


def _in_order(z, s):
    t, P, phi = one_by_one(z, s)
    return t, s, P, phi


def gradient_sums(kernels, neurons, W, V, scratch):
    groups, wide = len(neurons.a) // kernels.group_width, kernels.group_width
    out = pairs.PairGradientSums(
        np.zeros(len(neurons.a)), np.zeros(len(neurons.a)), np.zeros((groups, W.shape[1], wide))
    )
    kernels.pair_gradient(neurons, V, scratch, out)
    return out


# ------------------------------------------------------------------------------- single pairs
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0, 2 * np.pi])
@pytest.mark.parametrize("sizes", [0.1, 3.0, 9.0, 30.0])
def test_covariances_of_a_group(kernels, spread, sizes):
    """All pairs of a group, their correlations the cosines of differences of angles, some next to 1 or -1."""
    rng, count = np.random.default_rng([int(100 * spread), int(sizes)]), kernels.group_width
    for repeat in range(3):
        angles = rng.uniform(0, spread, count)
        angles[1], angles[2] = angles[0] + 10.0 ** -rng.integers(2, 17), angles[0] + np.pi
        W, V, s = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.ones(2), np.ones(count)
        t = rng.uniform(-sizes, sizes, count)
        t[rng.integers(count, size=2 * repeat)] = 0
        neurons, scratch = filled(kernels, W, np.ones((count, 1)), V, t, s)
        pairs_of = (t[:, None], t[None, :])
        kernels.pair_variance(neurons, V, scratch, np.zeros(1))
        rho = scratch.rho.copy()
        np.testing.assert_allclose(
            rho + np.eye(count), np.cos(angles[:, None] - angles), rtol=0, atol=GOOD_TO
        )
        bound = np.where(np.abs(rho) <= mehler.LARGEST_CORRELATION, SERIES_GOOD_TO, 2 * GOOD_TO)
        bound[np.diag_indices(count)] = np.inf  # a neuron with itself is not a pair

        def assert_close(found, function, rho=rho, bound=bound, pairs_of=pairs_of):
            assert (np.abs(found - function(*pairs_of, rho)) <= bound).all()

        assert_close(scratch.sums[0], gaussian_pairs.relu_relu)
        gradient_sums(kernels, neurons, W, V, scratch)
        assert_close(scratch.sums[0], gaussian_pairs.relu_active)
        assert_close(scratch.sums[1], gaussian_pairs.relu_density)
        assert_close(scratch.sums[2], gaussian_pairs.both_active)  # a_q a_r = 1
        kernels.pair_poincare(neurons, V, scratch, np.zeros(1))
        assert_close(scratch.sums[0], lambda *pair: pair[2] * gaussian_pairs.both_active(*pair))


def test_closed_forms_for_large_correlations():
    """The compiled ones against those of the package."""
    rng, room = np.random.default_rng(8), np.empty(3)
    gaps = 10.0 ** np.arange(-17.0, -1)
    rho = np.concatenate([[1, -1], 1 - gaps, gaps - 1])
    compiled = {
        gaussian_pairs.both_active: lambda *pair: steep.both_active(
            OWENS_T, room, *pair, math.sqrt((1 - pair[2]) * (1 + pair[2]))
        ),
        gaussian_pairs.relu_relu: lambda *pair: steep.relu_relu(OWENS_T, room, *pair),
        gaussian_pairs.relu_active: lambda *pair: steep.relu_active(OWENS_T, room, *pair),
        gaussian_pairs.relu_density: steep.relu_density,
    }
    pairs_of = [rng.uniform(-9, 9, (30, 2)), rng.integers(-2, 3, (30, 2)), rng.uniform(-1e6, 1e6, (9, 2))]
    for t1, t2 in np.concatenate(pairs_of).astype(float).tolist():
        for function, twin in compiled.items():
            got = [twin(t1, t2, one) for one in rho.tolist()]
            assert (np.abs(got - function(t1, t2, rho)) <= GOOD_TO).all(), (function, t1, t2)


def test_closed_forms_of_tiny_and_huge_thresholds():
    """Products of two thresholds that are 0, or infinite, as floats."""
    room = np.empty(3)
    for size, like in ((1e-200, 0.0), (1e200, 50.0)):
        for first in (size, -size):
            for second in (size, -size):
                there = math.copysign(like, first), math.copysign(like, second)
                got = steep.relu_relu(OWENS_T, room, first, second, 0.95)
                assert abs(got - gaussian_pairs.relu_relu(*there, 0.95)) <= GOOD_TO, (first, second)
                both = steep.both_active(OWENS_T, room, first, second, -0.95, math.sqrt(1 - 0.95**2))
                assert abs(both - gaussian_pairs.both_active(*there, -0.95)) <= GOOD_TO, (first, second)


# ------------------------------------------------------------------------------------- the sums
def sample(width, dim, outputs, seed):
    """(W, a, V, z, s) with zero, duplicate and opposite neurons, neurons without spread, fixed features."""
    rng = np.random.default_rng([width, dim, outputs, seed])
    W, a = rng.standard_normal((width, dim)), rng.standard_normal((width, outputs))
    x, V = rng.standard_normal(dim), rng.uniform(0.1, 2, dim) ** 2
    V[1::3] = 0
    for r, change in (
        (1, lambda: W[0]),
        (3, lambda: -2 * W[0]),
        (4, lambda: 0),
        (7, lambda: (V == 0) * W[7]),
    ):
        if r < width:
            W[r] = change()
    if width > 9:
        W[9], x[0] = 0.25 * W[2], 0.0 if dim == 1 else x[0]
    return W, a, V, W @ x, np.sqrt(np.square(W) @ V)


def correlations(W, V, s):
    """All pairs; those of neurons in the same or opposite direction exactly 1 and -1."""
    directions = np.divide(W * np.sqrt(V), s[:, None], out=np.zeros_like(W), where=s[:, None] > 0)
    rho = directions @ directions.T
    for sign in (1, -1):
        gap = np.square(directions[:, None] - sign * directions).sum(axis=2)
        rho = np.where(gap < 0.1, sign * (1 - gap / 2), rho)
    return rho


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dim", [1, 4, 26])
@pytest.mark.parametrize("width", WIDTHS)
def test_pair_sums(kernels, width, dim, outputs):
    """Errors of a covariance, and of a chain of the neurons, in units of |B| s_q s_r."""
    W, a, V, z, s = sample(width, dim, outputs, 0)
    t, P, _ = one_by_one(z, s)
    rho = correlations(W, V, s)
    spread = np.outer(s > 0, s > 0)
    pair = t[:, None], t[None, :], rho
    both = np.where(spread, gaussian_pairs.both_active(*pair), np.outer(P, P))
    both[np.diag_indices(width)] = P
    covariance, active, delta = (
        np.where(spread, function(*pair), 0.0)
        for function in (gaussian_pairs.relu_relu, gaussian_pairs.relu_active, gaussian_pairs.relu_density)
    )
    neurons, scratch = filled(kernels, W, a, V, z, s)
    roundings = 2 * SERIES_GOOD_TO + 4 * (width + dim + outputs + 8) * U
    sizes = np.square(np.abs(a).T @ s)

    variance, upper = np.full((2, outputs), 0.5)  # what they add to
    kernels.pair_variance(neurons, V, scratch, variance)
    expected = reference.pair_variance(a, np.outer(s, s) * covariance)
    assert (np.abs(variance - 0.5 - expected) <= roundings * (sizes + 1)).all()
    kernels.pair_poincare(neurons, V, scratch, upper)
    expected = reference.pair_variance(a, np.outer(s, s) * rho * both)
    assert (np.abs(upper - 0.5 - expected) <= roundings * (sizes + 1)).all()

    sums = gradient_sums(kernels, neurons, W, V, scratch)
    by_relu, by_density, by_weights = reference.pair_gradient(a, W, V, s, active, delta, both)
    B = np.abs(a @ a.T)
    assert (np.abs(sums.by_relu[:width] - by_relu) <= roundings * (B @ s)).all()
    inverse = np.divide(1, s, out=np.zeros(width), where=s > 0)
    assert (np.abs(sums.by_density[:width] - by_density) <= roundings * (B @ s) * inverse).all()
    found = kernels.from_panels(sums.by_weights, dim, width).T
    assert (np.abs(found - by_weights) <= roundings * V * (B @ np.abs(W))).all()
    for padding in (sums.by_relu[width:], sums.by_density[width:]):
        assert not padding.any()


def test_scratch_of_another_sample_leaves_nothing_behind(kernels):
    W, a, V, z, s = sample(30, 3, 2, 1)
    scratch, results = None, []
    for number in (0, 1, 0):
        if number:
            other = filled(kernels, W[::-1].copy(), a, V, 3 - z, np.sqrt(np.square(W[::-1]) @ V), 3, scratch)
            gradient_sums(kernels, other[0], W, V, other[1])
            continue
        neurons, scratch = filled(kernels, W, a, V, z, s, 3, scratch)
        total = np.zeros(2)
        kernels.pair_variance(neurons, V, scratch, total)
        sums = gradient_sums(kernels, neurons, W, V, scratch)
        results.append([total, *sums])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_scratch_takes_the_bytes_it_says(kernels):
    for width, dim in ((1, 1), (50, 7), (300, 40)):
        scratch = kernels.pair_scratch(width, dim, OWENS_T)
        taken = sum(array.nbytes for array in scratch)
        assert 0.98 * taken <= kernels.pair_scratch_bytes(width, dim) <= 1.5 * taken + 50_000


# -------------------------------------------------------------------------------- mean features
@pytest.mark.parametrize(
    ("n", "count", "dim"), [(1, 1, 1), (13, 7, 5), (25, 3, 70), (6, 48, 4), (30, 2, 200)]
)
def test_mean_features(kernels, n, count, dim):
    """In pieces of 192 rows (neuron, feature), as the engine asks for them: most begin within a neuron."""
    rng = np.random.default_rng(n)
    X, V, W = rng.standard_normal((n, dim)), rng.uniform(0, 2, (n, dim)), rng.standard_normal((count, dim))
    P, D, factors = rng.random((n, count)), rng.random((n, count)), rng.uniform(0, 3, count)
    D[:, 0], V[:, 0] = 0, 0
    expected = factors[:, None] * reference.mean_features(X, V, W, P, D)
    size = factors[:, None] * reference.mean_features(np.abs(X), V, np.abs(W), P, D)
    panels = [kernels.to_panels(values.T) for values in (X, V, P, D)]
    for step in (192, 5, 1):
        pieces = []
        for row in range(0, count * dim, step):
            out = np.full((kernels.groups(n), min(step, count * dim - row), kernels.group_width), np.nan)
            kernels.sums.mean_features(*panels[:2], W, factors, *panels[2:], *divmod(row, dim), out)
            pieces.append(kernels.from_panels(out, out.shape[1], n))
        found = np.concatenate(pieces).T.reshape(n, count, dim)
        assert (np.abs(found - expected) <= 4 * U * size).all()
