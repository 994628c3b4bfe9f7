"""Networks of q outputs: each output is a network of its own, and the kernel is the mean of theirs."""

import copy
import pickle

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from . import formulas
from .formulas import KERNELS, assert_within, rounded

RNG = np.random.default_rng(8)
X = rounded(RNG.standard_normal((23, 5)))
Y = rounded(RNG.standard_normal((6, 5)))
W = rounded(RNG.standard_normal((700, 5)))
A = RNG.standard_normal((700, 3))
GIVEN = fn.Network.from_arrays(W, A)
VIRTUAL = fn.Network(20_000, 5, outputs=4, seed=3, scale=0.5)
SINGLE = [fn.Network.from_arrays(W, a) for a in A.T]


# ---------------------------------------------------------------------------------- networks
def test_virtual_output_weights_are_those_of_the_wire_format():
    network = fn.Network(500, 7, outputs=5, seed=2**63 + 5)
    a = network.output_weights()
    assert (network.outputs, a.shape, a.dtype) == (5, (500, 5), np.float64)
    for c in range(5):
        np.testing.assert_array_equal(a[:, c], reference.output_signs(2**63 + 5, np.arange(500), c))
    np.testing.assert_array_equal(network.output_weights(130, 300), a[130:300])
    np.testing.assert_array_equal(network.weights(), fn.Network(500, 7, seed=2**63 + 5).weights())


def test_fewer_outputs_are_the_first_of_more():
    more, one = fn.Network(300, 5, outputs=9, seed=1), fn.Network(300, 5, seed=1)
    np.testing.assert_array_equal(more.output_weights()[:, 0], one.output_weights())
    np.testing.assert_array_equal(fn.outputs(X, network=more)[:, 0], fn.outputs(X, network=one))


def test_given_output_weights():
    assert (GIVEN.width, GIVEN.dim, GIVEN.outputs, GIVEN.is_virtual) == (700, 5, 3, False)
    np.testing.assert_array_equal(GIVEN.output_weights(), A)
    np.testing.assert_array_equal(GIVEN.output_weights(10, 12), A[10:12])
    for form in (A.tolist(), np.asfortranarray(A), A[::-1].copy()[::-1], A.astype(">f8")):
        other = fn.Network.from_arrays(W, form)
        np.testing.assert_array_equal(other.output_weights(), A)
        np.testing.assert_array_equal(fn.outputs(X, network=other), fn.outputs(X, network=GIVEN))


def test_one_column_is_one_output():
    column, flat = fn.Network.from_arrays(W, A[:, :1]), SINGLE[0]
    assert column.outputs == flat.outputs == fn.Network(3, 2).outputs == 1
    assert column.output_weights().shape == (700,)
    assert repr(column) == repr(flat)
    assert fn.outputs(X, network=column).shape == (23,)
    np.testing.assert_array_equal(fn.outputs(X, network=column), fn.outputs(X, network=flat))
    np.testing.assert_array_equal(fn.ntk(X, network=column), fn.ntk(X, network=flat))


@pytest.mark.parametrize("network", [GIVEN, VIRTUAL], ids=["given", "virtual"])
def test_copies_pickles_and_names(network):
    expected = fn.outputs(X, network=network)
    for again in (copy.copy(network), copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert repr(again) == repr(network)
        np.testing.assert_array_equal(fn.outputs(X, network=again), expected)
    assert repr(GIVEN) == "Network.from_arrays(W=<700 x 5>, a=<700 x 3>)"
    assert repr(VIRTUAL) == "Network(width=20000, dim=5, outputs=4, seed=3, scale=0.5)"
    assert "outputs" not in repr(fn.Network(10, 3))


# ----------------------------------------------------------------------------------- outputs
def test_outputs_are_the_plain_formula():
    assert_within(fn.outputs(X, network=GIVEN), formulas.outputs(X, W, A))
    expected = formulas.outputs(X, VIRTUAL.weights(), VIRTUAL.output_weights())
    assert_within(fn.outputs(X, network=VIRTUAL), expected)


def test_each_output_has_the_bits_it_has_alone():
    """Also beside outputs that are larger or smaller by any factor."""
    factors = np.array([1.0, 1e50, 1e-200])
    together = fn.outputs(X, network=fn.Network.from_arrays(W, A * factors))
    for c in range(2):
        alone = fn.Network.from_arrays(W, A[:, c] * factors[c])
        np.testing.assert_array_equal(together[:, c], fn.outputs(X, network=alone))
    # bounds below 2^-500 are raised to it: what is lost is 2^-562 |x| of each term
    values = formulas.outputs(X, W, A[:, 2]).values * 1e-200
    assert (np.abs(together[:, 2] - values) <= 700 * 2.0**-562 * np.linalg.norm(X, axis=1)).all()


def test_outputs_of_nothing():
    silent = fn.Network.from_arrays(W, A * [1, 0, 1])
    found = fn.outputs(X, network=silent)
    assert not found[:, 1].any()
    np.testing.assert_array_equal(found[:, ::2], fn.outputs(X, network=GIVEN)[:, ::2])
    assert not fn.outputs(np.zeros((3, 5)), network=GIVEN).any()
    assert fn.outputs(np.zeros((3, 5)), network=GIVEN).shape == (3, 3)
    with_zeros = np.insert(X, [0, 7], 0, axis=0)
    found = fn.outputs(with_zeros, network=GIVEN)
    np.testing.assert_array_equal(found[with_zeros.any(axis=1)], fn.outputs(X, network=GIVEN))
    assert not found[[0, 8]].any()


@pytest.mark.parametrize("network", [GIVEN, VIRTUAL], ids=["given", "virtual"])
def test_outputs_have_the_same_bits_everywhere(network, monkeypatch):
    mask = {"mask": fn.GaussianMask(0.4), "seed": 5, "draw": 2}
    expected = fn.outputs(X, network=network, threads=1, **mask)
    assert expected.flags.c_contiguous
    np.testing.assert_array_equal(fn.outputs(X, network=network, threads=3, **mask), expected)
    for path in available_paths():
        monkeypatch.setenv(VARIABLE, path)
        np.testing.assert_array_equal(fn.outputs(X, network=network, **mask), expected)
    masked = mask["mask"].sample(X, seed=5, draw=2)
    np.testing.assert_array_equal(fn.outputs(masked, network=network), expected)


# ----------------------------------------------------------------------------------- kernels
@pytest.mark.parametrize("layers", KERNELS)
def test_the_kernel_is_the_plain_formula(layers):
    for columns in (None, Y):
        K = fn.ntk(X, columns, network=GIVEN, layers=layers)
        expected = KERNELS[layers](X, X if columns is None else columns, W, A)
        assert_within(K, expected)
        alone = np.mean([fn.ntk(X, columns, network=network, layers=layers) for network in SINGLE], axis=0)
        assert_within(alone, expected)
    diagonal = KERNELS[layers](X, X, W, A)
    diagonal = formulas.Entries(np.diag(diagonal.values), np.diag(diagonal.bound))
    assert_within(fn.ntk_diag(X, network=GIVEN, layers=layers), diagonal)


@pytest.mark.parametrize("layers", KERNELS)
def test_signs_of_several_outputs_give_the_kernel_of_one(layers):
    one = fn.Network(20_000, 5, seed=3, scale=0.5)
    for function in (fn.ntk, fn.ntk_diag):
        expected = function(X, network=one, layers=layers)
        np.testing.assert_array_equal(function(X, network=VIRTUAL, layers=layers), expected)


def test_neurons_of_equal_mean_square():
    """Counts serve for them; the sum of squares is what has to be equal, not each weight."""
    a = np.where(np.arange(700)[:, None] % 2, [3.0, -4.0], [-5.0, 0.0])
    network = fn.Network.from_arrays(W, a)
    signs = fn.Network.from_arrays(W, np.ones(700))
    np.testing.assert_array_equal(fn.ntk(X, network=network), fn.ntk(X, network=signs) * 12.5)
    unequal = fn.Network.from_arrays(W, np.where(np.arange(700)[:, None] == 699, [3.0, 4.1], a))
    assert (fn.ntk(X, network=unequal) != fn.ntk(X, network=network)).any()


def test_the_kernel_is_the_mean_of_the_diagonal_blocks_of_the_jacobian():
    """Central differences in W and a, as in tests/test_ntk.py; blocks of two outputs are left out."""
    rows, step = X[:5, :3], 2.0**-12
    no_kink = np.abs(rows @ W[:, :3].T).min(axis=0) > step * np.abs(rows).max()  # on the way
    hidden, a = W[no_kink, :3][:11], A[:11]

    def f(parameters):
        W_, a_ = parameters[: hidden.size].reshape(hidden.shape), parameters[hidden.size :].reshape(a.shape)
        return np.maximum(rows @ W_.T, 0) @ a_ / np.sqrt(len(a))

    start = np.concatenate([hidden.ravel(), a.ravel()])
    shifts = step * np.eye(len(start))
    J = np.array([(f(start + shift) - f(start - shift)) / (2 * step) for shift in shifts])  # (p, n, q)
    blocks = np.einsum("pic,pjc->cij", J, J)
    error = 30 * formulas.U * np.abs(f(start)).max() / step * np.abs(J).max() * 2 * len(start)
    assert error < 1e-8
    K = fn.ntk(rows, network=fn.Network.from_arrays(hidden, a), layers="both")
    np.testing.assert_allclose(K, blocks.mean(axis=0), rtol=0, atol=error)
