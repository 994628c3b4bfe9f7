"""Which masks the NTK sees: draws, row ids, tiles, pairs of masks and shared masks, by equality."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels.reference import COLUMN_MASK_STREAM, ROW_MASK_STREAM

LAYERS = ["hidden", "output", "both"]
RNG = np.random.default_rng(7)
X = RNG.standard_normal((17, 6)).astype(np.float32)
Y = RNG.standard_normal((8, 6)).astype(np.float32)
NETWORK = fn.Network(width=1300, dim=6, seed=2)
GENERAL = fn.Network.from_arrays(RNG.standard_normal((300, 6)), RNG.standard_normal(300))
MASK = fn.GaussianMask([0.1, 0.2, 0.4, 0.8, 0.0, 0.3])

by_layers = pytest.mark.parametrize("layers", LAYERS)
by_network = pytest.mark.parametrize("network", [NETWORK, GENERAL], ids=["virtual", "given"])


def clean(X, Y=None, network=NETWORK, layers="hidden"):
    """The kernel of inputs that are masked already."""
    return fn.ntk(X, Y, network=network, layers=layers)


@by_layers
@by_network
def test_draws_are_averaged_in_their_order(layers, network):
    K = fn.ntk(X, network=network, mask=MASK, draws=3, seed=11, layers=layers)
    each = [clean(MASK.sample(X, seed=11, draw=draw), None, network, layers) for draw in range(3)]
    np.testing.assert_array_equal(K, ((each[0] + each[1]) + each[2]) / 3)
    diagonal = fn.ntk_diag(X, network=network, mask=MASK, draws=3, seed=11, layers=layers)
    each = [
        fn.ntk_diag(MASK.sample(X, seed=11, draw=draw), network=network, layers=layers) for draw in range(3)
    ]
    np.testing.assert_array_equal(diagonal, ((each[0] + each[1]) + each[2]) / 3)


@by_layers
def test_rows_and_columns_draw_from_two_streams(layers):
    rows = MASK.sample(X, seed=4, stream=ROW_MASK_STREAM)
    for other in (Y, X):  # even where Y is X
        columns = MASK.sample(other, seed=4, stream=COLUMN_MASK_STREAM)
        K = fn.ntk(X, other, network=NETWORK, mask=MASK, seed=4, layers=layers)
        np.testing.assert_array_equal(K, clean(rows, columns, layers=layers))
    assert (fn.ntk(X, network=NETWORK, mask=MASK, seed=4, layers=layers) != K).all()


@by_layers
def test_shared_masks_follow_the_ids(layers):
    whole = fn.ntk(X, network=NETWORK, mask=MASK, seed=4, layers=layers)
    shared = {"network": NETWORK, "mask": MASK, "seed": 4, "layers": layers, "share_masks": True}
    np.testing.assert_array_equal(fn.ntk(X, X, **shared), whole)
    columns = MASK.sample(Y, seed=4, row_ids=range(100, 108))
    K = fn.ntk(X, Y, column_ids=range(100, 108), **shared)
    np.testing.assert_array_equal(K, clean(MASK.sample(X, seed=4), columns, layers=layers))


@by_layers
@by_network
@pytest.mark.parametrize("mask", [MASK, None, (None, MASK), (MASK, None), fn.BernoulliMask(0.4)], ids=repr)
def test_tiles_are_blocks_of_the_whole(layers, network, mask):
    options = {"network": network, "mask": mask, "draws": 2, "seed": 3, "layers": layers}
    whole = fn.ntk(X, **options)
    for rows, columns in [(slice(0, 5), slice(3, 17)), (slice(9, 10), slice(0, 17)), ([16, 2, 7], [2, 2, 0])]:
        ids = np.arange(len(X))
        tile = fn.ntk(
            X[rows], X[columns], row_ids=ids[rows], column_ids=ids[columns], share_masks=True, **options
        )
        np.testing.assert_array_equal(tile, whole[rows][:, columns])


@by_layers
@by_network
def test_subsets_and_reordering_with_ids(layers, network):
    options = {"network": network, "mask": MASK, "draws": 2, "seed": 3, "layers": layers}
    chosen = [12, 3, 4, 0]
    whole = fn.ntk(X, **options)
    np.testing.assert_array_equal(fn.ntk(X[chosen], row_ids=chosen, **options), whole[chosen][:, chosen])
    diagonal = fn.ntk_diag(X, **options)
    np.testing.assert_array_equal(fn.ntk_diag(X[chosen], row_ids=chosen, **options), diagonal[chosen])


def test_ids_are_64_bit_and_default_to_places():
    options = {"network": NETWORK, "mask": MASK}
    whole = fn.ntk(X, **options)
    np.testing.assert_array_equal(fn.ntk(X, row_ids=range(17), **options), whole)
    np.testing.assert_array_equal(fn.ntk(X, row_ids=np.arange(17, dtype=np.uint8), **options), whole)
    far = [fn.ntk(X, row_ids=np.arange(17, dtype=np.uint64) + np.uint64(2**k), **options) for k in (32, 63)]
    assert (far[0] != whole).any()
    assert (far[0] != far[1]).any()


@by_layers
def test_clean_rows_and_masked_columns(layers):
    masked = MASK.sample(X, seed=8)
    K = fn.ntk(X, network=NETWORK, mask=(None, MASK), seed=8, layers=layers)
    np.testing.assert_array_equal(K, clean(X, masked, layers=layers))
    K = fn.ntk(Y, X, network=NETWORK, mask=(None, MASK), seed=8, layers=layers)
    masked = MASK.sample(X, seed=8, stream=COLUMN_MASK_STREAM)
    np.testing.assert_array_equal(K, clean(Y, masked, layers=layers))


def test_two_masks():
    other = fn.LognormalMask(0.5)
    K = fn.ntk(X, Y, network=NETWORK, mask=(MASK, other), seed=1)
    columns = other.sample(Y, seed=1, stream=COLUMN_MASK_STREAM)
    np.testing.assert_array_equal(K, clean(MASK.sample(X, seed=1), columns))
    # without Y both sides see the same random values, through two distributions
    K = fn.ntk(X, network=NETWORK, mask=(MASK, other), seed=1)
    np.testing.assert_array_equal(K, clean(MASK.sample(X, seed=1), other.sample(X, seed=1)))
    same = fn.ntk(X, network=NETWORK, mask=[MASK, fn.GaussianMask(MASK.kappa)], seed=1)
    np.testing.assert_array_equal(same, fn.ntk(X, network=NETWORK, mask=MASK, seed=1))


@by_layers
def test_no_mask_and_a_mask_without_strength_are_the_same(layers):
    expected = clean(X, layers=layers)
    for mask in (
        None,
        fn.GaussianMask(0),
        fn.AdditiveMask(0.0),
        fn.BernoulliMask(1.0),
        (None, fn.GaussianMask(0)),
    ):
        K = fn.ntk(X, network=NETWORK, mask=mask, seed=99, layers=layers)
        np.testing.assert_array_equal(K, expected)
    repeated = fn.ntk(X, network=NETWORK, draws=2, layers=layers)
    np.testing.assert_array_equal(repeated, expected)  # K + K and its half are exact


def test_seed_of_the_masks_and_of_the_network_are_apart():
    base = fn.ntk(X, network=fn.Network(500, 6, seed=0), mask=MASK, seed=0)
    assert (base != fn.ntk(X, network=fn.Network(500, 6, seed=0), mask=MASK, seed=1)).all()
    assert (base != fn.ntk(X, network=fn.Network(500, 6, seed=1), mask=MASK, seed=0)).any()
    np.testing.assert_array_equal(base, fn.ntk(X, network=fn.Network(500, 6, seed=0), mask=MASK, seed=0))


@by_layers
def test_rows_that_a_mask_zeroes(layers):
    """Dropout leaves zero rows behind: their kernel entries are 0, the others what they are without them."""
    mask = fn.BernoulliMask(0.1)
    masked = mask.sample(X, seed=5)
    zero = ~masked.any(axis=1)
    assert zero.any()
    assert not zero.all()
    K = fn.ntk(X, network=NETWORK, mask=mask, seed=5, layers=layers)
    assert not K[zero].any()
    assert not K[:, zero].any()
    np.testing.assert_array_equal(K[~zero][:, ~zero], clean(masked[~zero], layers=layers))
    assert not fn.ntk_diag(X, network=NETWORK, mask=mask, seed=5, layers=layers)[zero].any()


@by_layers
@by_network
def test_nothing_but_zero_rows(layers, network):
    nothing = np.zeros((3, 6))
    assert not fn.ntk(nothing, network=network, layers=layers).any()
    assert not fn.ntk(nothing, Y, network=network, layers=layers).any()
    assert not fn.ntk(Y, nothing, network=network, layers=layers).any()
    assert fn.ntk(Y, nothing, network=network, layers=layers).shape == (8, 3)
    assert not fn.ntk_diag(nothing, network=network, layers=layers).any()
