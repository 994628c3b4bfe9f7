"""Activation patterns are signs of exact real numbers; outputs are the plain formula."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from . import formulas
from .adversarial import problems
from .formulas import KERNELS, U32, assert_within, rounded
from .reference_values import cases

TIE = np.array([[1.0, 2.0**-24]], np.float32), np.array([[2.0**-24, -1.0], [-(2.0**-24), 1.0]], np.float32)


def given_network(W, a=None):
    return fn.Network.from_arrays(W, np.ones(len(W)) if a is None else a)


@given(problem=problems(), path=st.sampled_from(available_paths()))
@example(problem=TIE, path=available_paths()[0])
def test_bits_are_exact(problem, path):
    X, W = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, path)
        pattern = fn.activation_pattern(X, network=given_network(W))
    np.testing.assert_array_equal(pattern.to_bool(), reference.pattern(X, W))


@given(problem=problems(), general=st.booleans(), seed=st.integers(0, 100))
def test_kernels_and_outputs_of_awkward_inputs(problem, general, seed):
    X, W = problem
    a = np.random.default_rng(seed).standard_normal(len(W))
    a = a if general else np.sign(a)
    network = given_network(W, a)
    exact_X, exact_W = rounded(X), rounded(W)
    for layers, kernel in KERNELS.items():
        expected = kernel(exact_X, exact_X, exact_W, a)
        assert_within(fn.ntk(X, network=network, layers=layers), expected)
        diagonal = formulas.Entries(np.diag(expected.values), np.diag(expected.bound))
        assert_within(fn.ntk_diag(X, network=network, layers=layers), diagonal)
    assert_within(fn.outputs(X, network=network), formulas.outputs(exact_X, exact_W, a))


@given(
    n=st.integers(1, 14),
    dim=st.one_of(st.integers(1, 9), st.sampled_from([127, 129, 260])),
    width=st.one_of(st.integers(1, 70), st.sampled_from([511, 513])),
    seed=st.integers(0, 2**64 - 1),
    scale=st.sampled_from([1.0, 0.3, 1e-10, 1e20]),
)
def test_virtual_networks_of_ragged_shapes(n, dim, width, seed, scale):
    X = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    network = fn.Network(width, dim, seed=seed, scale=scale)
    unscaled = reference.normals(seed, np.arange(width), dim, reference.WEIGHT_STREAM)
    pattern = fn.activation_pattern(X, network=network)
    np.testing.assert_array_equal(pattern.to_bool(), reference.pattern(X, unscaled))
    expected = formulas.outputs(rounded(X), scale * rounded(unscaled), network.output_weights())
    # the library bounds |w| by 6.8 sqrt(d): fixed point may lose 2^-60 of that
    slack = 2.0**-60 * 4 * 6.8 * np.sqrt(width * dim) * scale * np.linalg.norm(X, axis=1)
    assert_within(fn.outputs(X, network=network), expected._replace(bound=expected.bound + slack))


@pytest.mark.parametrize("case", cases("f_clean"), ids=lambda case: case["name"])
def test_reference_outputs(case):
    """Rounding X and W moves a preactivation by 2.01 U32 of the magnitudes in it, relu by no more."""
    X, W, a = case["X"], case["W"], case["a"]
    f = fn.outputs(X, network=given_network(W, a))
    bound = 2.01 * U32 * (np.abs(X) @ np.abs(W).T) @ np.abs(a) / np.sqrt(len(W))
    assert (np.abs(f - case["f_clean"]) <= bound + 1e-15).all()  # where the bound is 0, so is f
    assert_within(f, formulas.outputs(rounded(X), rounded(W), a))


def test_exact_zeros_are_off():
    """Zero rows, zero neurons, disjoint features and cancelling terms all have the bit 0."""
    X = [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0], [3.0, -3.0, 3.0], [-0.0, -0.0, -0.0]]
    W = [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, -0.0], [1.0, 1.0, 0.0]]
    expected = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    network = given_network(W)
    np.testing.assert_array_equal(fn.activation_pattern(X, network=network).to_bool(), expected)
    np.testing.assert_allclose(fn.outputs(X, network=network), [0, 1, 0, 3, 0], rtol=1e-15)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 513, 16385])
def test_layout_of_the_pattern(width):
    X = np.random.default_rng(0).standard_normal((5, 3))
    pattern = fn.activation_pattern(X, network=fn.Network(width, 3))
    assert pattern.shape == (5, width)
    assert pattern.packed.dtype == np.uint8
    assert pattern.packed.shape == (5, -(-width // 8))
    bits = pattern.to_bool()
    assert bits.dtype == bool
    assert bits.shape == (5, width)
    np.testing.assert_array_equal(
        np.packbits(bits, axis=1, bitorder="little"), pattern.packed
    )  # zeros beyond


def test_a_wider_network_begins_with_a_narrower_one():
    X = np.random.default_rng(1).standard_normal((6, 4))
    narrow, wide = (
        fn.activation_pattern(X, network=fn.Network(m, 4, seed=9)).to_bool() for m in (700, 20_000)
    )
    np.testing.assert_array_equal(narrow, wide[:, :700])


def test_masks_of_patterns_and_outputs():
    X = np.random.default_rng(2).standard_normal((6, 4))
    network, mask = fn.Network(300, 4), fn.AdditiveMask(0.5)
    masked = mask.sample(X, seed=3, draw=7, row_ids=range(10, 16))
    options = {"network": network, "mask": mask, "seed": 3, "draw": 7, "row_ids": range(10, 16)}
    pattern = fn.activation_pattern(X, **options)
    np.testing.assert_array_equal(pattern.packed, fn.activation_pattern(masked, network=network).packed)
    assert (pattern.packed != fn.activation_pattern(X, network=network).packed).any()
    np.testing.assert_array_equal(fn.outputs(X, **options), fn.outputs(masked, network=network))


def test_outputs_are_proportional_to_the_scale():
    X = np.random.default_rng(3).standard_normal((6, 4))
    one, eight = (fn.outputs(X, network=fn.Network(1000, 4, scale=scale)) for scale in (1.0, 8.0))
    np.testing.assert_array_equal(8 * one, eight)


def test_outputs_of_rows_and_their_multiples():
    """relu is positively homogeneous: a power of two passes through every operation."""
    X = np.random.default_rng(4).standard_normal((6, 4)).astype(np.float32)
    network = fn.Network(1000, 4)
    np.testing.assert_array_equal(
        fn.outputs(1024 * X, network=network), 1024 * fn.outputs(X, network=network)
    )


def test_nothing_but_zero_rows():
    nothing = np.zeros((3, 4))
    assert not fn.outputs(nothing, network=fn.Network(100, 4)).any()
    assert not fn.activation_pattern(nothing, network=fn.Network(100, 4)).packed.any()
