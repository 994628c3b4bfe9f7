"""Kernels at infinite width: reference values, awkward rows, masks, mask means, and the width error."""

import math

import mpmath
import numpy as np
import pytest

from fastntk import arccosine, masks
from fastntk.kernels.reference import COLUMN_MASK_STREAM
from fastntk.limit import nngp_limit, ntk_limit, width_error
from fastntk.masks import AdditiveMask, BernoulliMask, GaussianMask, LognormalMask

from .reference_values import cases

U32 = 2.0**-24  # unit roundoff of float32
LAYERS = {"W": (1.0, 0.0), "a": (0.0, 1.0)}  # weights (hidden, output) of the private functions


def inputs(n, d, seed=0):
    """Rows of norm about 1, in float64 but exact in float32."""
    X = np.random.default_rng(seed).standard_normal((n, d)) / math.sqrt(d)
    return X.astype(np.float32).astype(float)


def sizes(X, Y):
    return np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Y, axis=1)


def plain_kernels(X, Y):
    """(hidden, output) from arccos of normalised dot products, over leading axes."""
    dot = X @ np.swapaxes(Y, -1, -2)
    norms = np.linalg.norm(X, axis=-1)[..., :, None] * np.linalg.norm(Y, axis=-1)[..., None, :]
    theta = np.arccos(np.clip(np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0), -1, 1))
    hidden = dot * (np.pi - theta) / (2 * np.pi)
    return hidden, norms * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)


def exact_kernels(x, y):
    """(hidden, output) of two rows in 40 digits."""
    with mpmath.workdps(60):
        x, y = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        norm_x, norm_y = mpmath.sqrt(mpmath.fdot(x, x)), mpmath.sqrt(mpmath.fdot(y, y))
        dot = mpmath.fdot(x, y)
        theta = mpmath.atan2(mpmath.sqrt(max(0, (norm_x * norm_y) ** 2 - dot**2)), dot)
        hidden = dot * (mpmath.pi - theta) / (2 * mpmath.pi)
        output = norm_x * norm_y * mpmath.sin(theta) + (mpmath.pi - theta) * dot
        return hidden, output / (2 * mpmath.pi)


# ------------------------------------------------------------------------- at given inputs
@pytest.mark.parametrize("case", cases("Kinf_W_11"), ids=lambda case: case["name"])
def test_reference_values(case):
    first, second = case["X_masked_1"], case["X_masked_2"]
    for name, field in (("W", "Kinf_W_{}"), ("a", "Kinf_a_{}_nu1")):
        for pair, Y in (("11", None), ("12", second)):
            expected = case[field.format(pair)]
            got = arccosine.kernel(first, Y, *LAYERS[name])
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
            # the public function rounds its inputs to float32: norms move by U32, angles by 2 U32
            public = ntk_limit(first, Y, layers={"W": "hidden", "a": "output"}[name])
            bound = 4 * U32 * sizes(first, first if Y is None else Y)
            assert (np.abs(public - expected) <= bound).all()


@pytest.mark.parametrize("d", [1, 3, 64])
@pytest.mark.parametrize("sign", [1, -1])
def test_accuracy_at_all_angles(d, sign):
    rng = np.random.default_rng(d)
    for gap in [0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 2e-3, 4e-3, 5e-3, 1e-2, 0.1, 1]:
        x = rng.standard_normal((1, d))
        y = sign * 2.7 * (x + gap * rng.standard_normal((1, d)))
        got = [arccosine.kernel(x, y, *LAYERS[name])[0, 0] for name in "Wa"]
        for value, exact in zip(got, exact_kernels(x[0], y[0]), strict=True):
            # from a cosine alone the angle has an error eps / sin: 1e-13 where the switch is made
            assert abs(value - exact) <= 5e-14 * sizes(x, y)[0, 0], gap


def test_equal_opposite_and_zero_rows():
    x = np.arange(-8.0, 12.0)  # whole numbers, so that 3 x is exact in float32
    X = np.stack([x, x, -x, np.zeros(20), 3 * x])
    square = x @ x
    hidden, output = ntk_limit(X), nngp_limit(X)
    expected = np.array([[1, 1, 0, 0, 3], [1, 1, 0, 0, 3], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [3, 3, 0, 0, 9]])
    for got in (hidden, output):
        np.testing.assert_allclose(got, expected * square / 2, rtol=0, atol=1e-15 * 9 * square)
    assert (hidden[:2, 2] == 0).all()
    assert (hidden[3] == 0).all()
    assert (output[3] == 0).all()


def test_output_kernel_is_not_negative_next_to_opposite_rows():
    rng = np.random.default_rng(0)
    gap = 10 ** rng.uniform(-10, -1, (400, 1))
    X = rng.standard_normal((400, 3))
    assert (arccosine.kernel(X, -(X + gap * rng.standard_normal((400, 3))), 0, 1) >= 0).all()


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_huge_and_tiny_rows(scale):
    X = inputs(6, 10)
    scaled = (X * scale).astype(np.float32)
    scaled[3] = 0
    scaled[4] *= 1e-5
    for layers, name in (("hidden", "W"), ("output", "a")):
        got = ntk_limit(scaled, layers=layers) / scale / scale
        expected = arccosine.kernel(scaled.astype(float) / scale, None, *LAYERS[name])
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-300)


def test_denormal_rows_and_rows_of_very_different_features():
    X = np.array([[3e-45, 1e-40], [1e38, 1e-38], [1e-38, -3e38], [1e-45, 0]], np.float32)
    hidden, output = ntk_limit(X), nngp_limit(X)
    for i in range(4):
        for j in range(4):
            size = sizes(X[i : i + 1].astype(float), X[j : j + 1].astype(float))[0, 0]
            for got, exact in zip((hidden, output), exact_kernels(X[i], X[j]), strict=True):
                assert abs(got[i, j] - exact) <= 1e-13 * size


def test_symmetric_and_the_same_in_tiles(monkeypatch):
    X, Y = inputs(23, 5), inputs(11, 5, seed=1)
    X[20] = X[3]
    spread = GaussianMask(0.4).spread(X)
    other = BernoulliMask(0.5).spread(Y)

    def everything():
        return [
            arccosine.kernel(X, None, 1, 1),
            arccosine.mean_kernel(X, spread, None, None, 1, 1),
            arccosine.kernel(X, Y, 1, 1),
            arccosine.mean_kernel(X, spread, Y, other, 1, 1),
            np.array(width_error(X, width=10)),
        ]

    whole = everything()
    monkeypatch.setattr(arccosine, "TILE", 4)
    monkeypatch.setattr(arccosine, "GATHERED_VALUES", 7)
    tiled = everything()
    for one, other_way in zip(whole, tiled, strict=True):
        np.testing.assert_allclose(other_way, one, rtol=0, atol=1e-13)
    for square in (*whole[:2], *tiled[:2]):
        np.testing.assert_array_equal(square, square.T)


def test_layers_and_scales():
    X, Y = inputs(4, 6), inputs(3, 6, seed=1)
    hidden, output = plain_kernels(X, Y)
    options = {"scale": 3.0, "output_weight_square": 0.25}
    np.testing.assert_allclose(ntk_limit(X, Y, **options), 0.25 * hidden, atol=1e-14)
    np.testing.assert_allclose(ntk_limit(X, Y, layers="output", **options), 9 * output, atol=1e-14)
    np.testing.assert_allclose(
        ntk_limit(X, Y, layers="both", **options), 0.25 * hidden + 9 * output, atol=1e-14
    )
    np.testing.assert_array_equal(nngp_limit(X, Y, scale=3.0), ntk_limit(X, Y, layers="output", scale=3.0))


# ------------------------------------------------------------------------------ with draws
@pytest.mark.parametrize("mask", [GaussianMask(0.5), BernoulliMask(0.7)], ids=repr)
def test_draws_are_the_average_at_the_sampled_inputs(mask):
    X, Y = inputs(5, 8), inputs(3, 8, seed=1)
    ids = [9, 4, 0, 2, 7]

    def average(rows, columns):
        return sum(plain_kernels(rows(draw), columns(draw))[0] for draw in range(3)) / 3

    def row(draw):
        return mask.sample(X, seed=6, draw=draw, row_ids=ids).astype(float)

    def column(draw, **keys):
        return mask.sample(Y, seed=6, draw=draw, **keys).astype(float)

    options = {"draws": 3, "seed": 6, "row_ids": ids}
    tolerance = {"rtol": 0, "atol": 1e-7}  # of arccos next to the diagonal, in plain_kernels
    np.testing.assert_allclose(ntk_limit(X, mask=mask, **options), average(row, row), **tolerance)
    np.testing.assert_allclose(
        ntk_limit(X, mask=(None, mask), **options), average(lambda _: X, row), **tolerance
    )
    np.testing.assert_allclose(
        ntk_limit(X, mask=(mask, None), **options), average(row, lambda _: X), **tolerance
    )
    np.testing.assert_allclose(
        ntk_limit(X, Y, mask=mask, **options),
        average(row, lambda draw: column(draw, stream=COLUMN_MASK_STREAM)),
        **tolerance,
    )
    np.testing.assert_allclose(
        ntk_limit(X, Y, mask=mask, column_ids=[0, 9, 1], share_masks=True, **options),
        average(row, lambda draw: column(draw, row_ids=[0, 9, 1])),
        **tolerance,
    )


def test_y_being_x_has_its_own_masks():
    X = inputs(4, 8)
    mask = GaussianMask(0.5)
    own = ntk_limit(X, X, mask=mask, draws=1)
    assert not np.allclose(own, ntk_limit(X, mask=mask, draws=1))
    shared = ntk_limit(X, X, mask=mask, draws=1, share_masks=True)
    np.testing.assert_allclose(shared, ntk_limit(X, mask=mask, draws=1), atol=1e-14)


def test_without_a_mask_draws_change_nothing():
    X = inputs(4, 8)
    np.testing.assert_array_equal(ntk_limit(X, draws=5), ntk_limit(X))
    np.testing.assert_allclose(ntk_limit(X, mask=GaussianMask(0), draws=2), ntk_limit(X), atol=1e-15)
    np.testing.assert_allclose(ntk_limit(X, mask=GaussianMask(0)), ntk_limit(X), atol=1e-15)


# ---------------------------------------------------------------------------- the mask mean
@pytest.mark.parametrize("case", cases("Kinf_delta_W_order2"), ids=lambda case: case["name"])
def test_mask_mean_reference_values(case):
    X, mask = case["X"], GaussianMask(case["kappa"])
    for name, weights in LAYERS.items():
        for order in (0, 2):
            got = arccosine.mean_kernel(X, mask.spread(X), None, None, *weights, order=order)
            np.testing.assert_allclose(got, case[f"Kinf_delta_{name}_order{order}"], rtol=0, atol=1e-12)
    public = ntk_limit(X, mask=mask)
    # order 2 at inputs rounded to float32; its derivatives are up to some 1 / sin^3 of the angles
    np.testing.assert_allclose(
        public, case["Kinf_delta_W_order2"], rtol=0, atol=100 * U32 * sizes(X, X).max()
    )


def simulated_mean(X, row_mask, Y, column_mask, draws, seed):
    """[(mean, standard error) of the hidden, of the output kernel] over independent masks.

    Y None: the masks of the rows serve the columns.
    """

    def masked(mask, Z, seed):
        """(draws, n, d): one row id for every row of every draw."""
        many = np.tile(Z, (draws, 1))
        return masks.sample(mask, many, seed=seed).astype(float).reshape(draws, *Z.shape)

    rows = masked(row_mask, X, seed)
    columns = rows if Y is None else masked(column_mask, Y, seed + 1)
    return [(K.mean(axis=0), K.std(axis=0) / math.sqrt(draws)) for K in plain_kernels(rows, columns)]


def correlated_inputs(d):
    """Six rows: nearly independent ones, a pair with cosine about .9, one about -.8, and a duplicate."""
    X = inputs(6, d, seed=d)
    X[1] = 0.9 * X[0] + 0.44 * X[1]
    X[3] = -0.8 * X[2] + 0.6 * X[3]
    X[5] = X[4]
    return X.astype(np.float32).astype(float)


MEAN_MASKS = [
    GaussianMask(0.25),
    GaussianMask(np.linspace(0, 0.5, 60)),
    AdditiveMask(0.05),
    LognormalMask(0.2),
    BernoulliMask(0.9),
]


@pytest.mark.parametrize("mask", MEAN_MASKS, ids=lambda mask: type(mask).__name__)
def test_mask_mean_against_simulation_in_standard_errors(mask):
    """The truncation error is below the standard error here; order 0 alone would fail."""
    X = correlated_inputs(60)
    simulated = simulated_mean(X, mask, None, None, draws=8000, seed=3)
    off_diagonal = ~np.eye(len(X), dtype=bool)
    for layers, (mean, error) in zip(("hidden", "output"), simulated, strict=True):
        z = (ntk_limit(X, mask=mask, layers=layers) - mean) / error
        assert np.abs(z).max() < 5, layers
    order_0 = arccosine.mean_kernel(X, mask.spread(X), None, None, 1, 0, order=0)
    mean, error = simulated[0]
    assert np.abs((order_0 - mean) / error)[off_diagonal].max() > 5


@pytest.mark.parametrize(
    ("row_mask", "column_mask"),
    [
        (GaussianMask(0.25), GaussianMask(0.25)),
        (None, GaussianMask(0.25)),
        (BernoulliMask(0.9), None),
        (LognormalMask(0.2), AdditiveMask(0.05)),
    ],
)
def test_mask_mean_of_two_sides_against_simulation(row_mask, column_mask):
    """Rows and columns are the same data here: independent masks on the diagonal as well."""
    X = correlated_inputs(60)
    for layers, (mean, error) in zip(
        ("hidden", "output"), simulated_mean(X, row_mask, X, column_mask, draws=8000, seed=8), strict=True
    ):
        z = (ntk_limit(X, X, mask=(row_mask, column_mask), layers=layers) - mean) / error
        assert np.abs(z).max() < 5, layers


def test_cross_kernel_without_y_is_that_with_y():
    """With one side clean there is no mask to share."""
    X, mask = inputs(5, 9), GaussianMask(0.4)
    np.testing.assert_allclose(
        ntk_limit(X, mask=(None, mask)), ntk_limit(X, X, mask=(None, mask)), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("kappa", [1e-4, 1e-2, 0.1])
def test_mask_mean_of_equal_rows_under_weak_masks(kappa):
    """Where rho -> 1: the missing angle, of order kappa, is right to a tenth of what order 0 misses."""
    rng = np.random.default_rng(5)
    x = inputs(1, 20)
    draws = 20_000
    first, second = (x * (1 + kappa * rng.standard_normal((draws, 20))) for _ in range(2))
    # the angle of nearly parallel vectors from their difference; half the dot product is taken off
    # both sides, since its mean is known
    unit_first, unit_second = (v / np.linalg.norm(v, axis=1)[:, None] for v in (first, second))
    theta = 2 * np.arcsin(np.linalg.norm(unit_first - unit_second, axis=1) / 2)
    lost = (first * second).sum(axis=1) * theta / (2 * np.pi)
    spread = GaussianMask(kappa).spread(x)
    order_0, order_2 = (
        (x @ x.T - 2 * arccosine.mean_kernel(x, spread, x, spread, 1, 0, order=order))[0, 0] / 2
        for order in (0, 2)
    )
    standard_error = lost.std() / math.sqrt(draws)
    assert abs(order_0 - lost.mean()) > 20 * standard_error
    assert abs(order_2 - lost.mean()) < abs(order_0 - lost.mean()) / 10 + 4 * standard_error


def test_mask_mean_diagonal_is_exact():
    X = inputs(4, 3) * 2
    for mask in (GaussianMask(1.5), AdditiveMask(0.7), LognormalMask(1.0), BernoulliMask(0.3)):
        second = mask.moments(X).second.sum(axis=1)
        both = ntk_limit(X, mask=mask, layers="both", scale=2.0, output_weight_square=0.5)
        np.testing.assert_allclose(np.diag(both), (0.5 + 4) * second / 2, rtol=1e-14)


def test_mask_mean_of_zero_and_extreme_rows():
    X = np.array([[0, 0, 0], [1e30, -1e30, 1e-30], [1e-40, 2e-45, 0], [1, 2, 3], [1, 2, 3]], np.float32)
    for mask in (
        GaussianMask(0.5),
        LognormalMask(5),
        BernoulliMask(1e-6),
        GaussianMask(1e6),
        AdditiveMask(0.5),
        AdditiveMask(1e-100),
    ):
        for layers in ("hidden", "output"):
            K = ntk_limit(X, mask=mask, layers=layers)
            assert np.isfinite(K).all()
            np.testing.assert_array_equal(K, K.T)
            if mask != AdditiveMask(0.5):
                assert (np.abs(K[0]) < 1e-60).all()


def test_heavy_tails_fall_back_to_order_0():
    """Order 2 would be off by more than the kernel itself."""
    X, mask = correlated_inputs(20), LognormalMask(2.0)
    got = ntk_limit(X, mask=mask)
    np.testing.assert_array_equal(got, arccosine.mean_kernel(X, mask.spread(X), None, None, 1, 0, order=0))
    assert (np.abs(got) <= np.sqrt(np.outer(np.diag(got), np.diag(got)))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mask": GaussianMask(0.1), "Y": np.eye(2), "share_masks": True},
            "share_masks=True with Y .* draws=",
        ),
        ({"mask": (GaussianMask(0.1), GaussianMask(0.2))}, "pair of different masks without Y.* draws="),
        ({"mask": GaussianMask(0.1), "row_ids": [4, 4]}, "row_ids holds an id more than once.* draws="),
    ],
)
def test_no_closed_form(options, message):
    with pytest.raises(ValueError, match=message):
        ntk_limit(np.eye(2), **options)
    assert np.isfinite(ntk_limit(np.eye(2), draws=1, **options)).all()


# ------------------------------------------------------------------------- the width error
@pytest.mark.parametrize("mask", [None, GaussianMask(0.6)], ids=repr)
def test_width_error_against_simulated_networks(mask):
    X = inputs(8, 5)
    X[1], X[2], X[3] = X[0], -X[0], 0
    masked = masks.sample(mask, X, seed=2, draw=1).astype(float)
    width, count = 50, 4000
    limit = arccosine.kernel(masked, None, 1, 0)
    bits = np.random.default_rng(1).standard_normal((count, width, 5)) @ masked.T > 0
    bits = bits.astype(np.float32)
    K = masked @ masked.T * (np.swapaxes(bits, 1, 2) @ bits) / width
    square = ((K - limit) ** 2).sum(axis=(1, 2))
    expected = width_error(X, width=width, mask=mask, seed=2, draw=1) ** 2
    assert abs(square.mean() - expected) < 5 * square.std() / math.sqrt(count)


def test_width_error_falls_as_the_square_root_of_the_width():
    X = inputs(7, 4)
    assert width_error(X, width=10**8) == pytest.approx(width_error(X, width=100) / 1000, rel=1e-14)
    assert width_error(X[:1], width=25) == pytest.approx(X[0] @ X[0] / 10, rel=1e-14)


def test_width_error_follows_the_row_ids():
    X, mask = inputs(6, 4), GaussianMask(1.0)
    masked = mask.sample(X, row_ids=np.arange(6) + 3)
    assert width_error(X, width=9, mask=mask, row_ids=np.arange(6) + 3) == width_error(masked, width=9)


# --------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": "first"}, ValueError, "layers is 'first'"),
        ({"scale": 0}, ValueError, "scale is 0.0"),
        ({"output_weight_square": -1}, ValueError, "output_weight_square is -1.0"),
        ({"draws": 0}, ValueError, "draws is 0"),
        ({"draws": 1.5}, TypeError, "draws is 1.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"mask": "gaussian"}, TypeError, "mask is 'gaussian'; it must be None or a mask"),
        ({"mask": (None, 0.2)}, TypeError, r"mask\[1\] is 0.2"),
        ({"mask": (None, None, None)}, TypeError, "it must be None or a mask"),
        ({"Y": np.ones((2, 4))}, ValueError, "Y has 4 features .* 3 are expected"),
        ({"Y": np.ones(3)}, ValueError, "Y has shape"),
        ({"row_ids": [0]}, ValueError, "row_ids has shape"),
        ({"Y": np.ones((2, 3)), "column_ids": [0]}, ValueError, "column_ids has shape"),
        ({"column_ids": [0, 1]}, ValueError, "column_ids is given without Y"),
        (
            {"mask": GaussianMask([0.1, 0.2])},
            ValueError,
            "kappa of GaussianMask is for 2 features but X has 3",
        ),
        (
            {"Y": np.full((2, 3), 3e38), "mask": (None, GaussianMask(2.0)), "draws": 1},
            ValueError,
            "Y is not finite in float32 after GaussianMask",
        ),
    ],
)
def test_refused_options(options, error, message):
    with pytest.raises(error, match=message):
        ntk_limit(np.ones((2, 3)), **options)


def test_refused_inputs():
    for call in (ntk_limit, nngp_limit, lambda X: width_error(X, width=5)):
        with pytest.raises(ValueError, match=r"X\[0, 1\] is nan"):
            call([[1.0, math.nan]])
        with pytest.raises(ValueError, match="after rounding to float32"):
            call([[1e39]])
    with pytest.raises(ValueError, match="width is 0"):
        width_error([[1.0]], width=0)
