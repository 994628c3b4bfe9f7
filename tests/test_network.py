"""Networks: weights as a function of seed and place, given arrays, what is kept and what is not."""

import copy
import pickle

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

X = np.random.default_rng(0).standard_normal((4, 3))


def test_virtual_weights_are_those_of_the_wire_format():
    network = fn.Network(width=500, dim=7, seed=2**63 + 5)
    expected = reference.normals(2**63 + 5, np.arange(500), 7, reference.WEIGHT_STREAM)
    np.testing.assert_array_equal(network.weights(), expected.astype(np.float64))
    np.testing.assert_array_equal(network.output_weights(), reference.output_signs(2**63 + 5, np.arange(500)))
    assert network.weights().dtype == network.output_weights().dtype == np.float64


def test_ranges_of_weights():
    network = fn.Network(width=10**9, dim=5, seed=1)
    first = network.weights(stop=100)
    np.testing.assert_array_equal(network.weights(40, 100), first[40:])
    np.testing.assert_array_equal(network.output_weights(40, 100), network.output_weights(stop=100)[40:])
    assert network.weights(10**9 - 3).shape == (3, 5)
    assert network.output_weights(10**9 - 3).shape == (3,)
    np.testing.assert_array_equal(fn.Network(width=100, dim=5, seed=1).weights(), first)
    # features come in blocks of four: a narrower network has the first features of a wider one
    np.testing.assert_array_equal(fn.Network(width=100, dim=3, seed=1).weights(), first[:, :3])


def test_scale_multiplies_the_weights():
    one, scaled = fn.Network(50, 3), fn.Network(50, 3, scale=0.3)
    np.testing.assert_array_equal(scaled.weights(), 0.3 * one.weights())
    np.testing.assert_array_equal(scaled.output_weights(), one.output_weights())


@pytest.mark.parametrize("path", available_paths())
def test_weights_do_not_depend_on_the_path(path, monkeypatch):
    expected = fn.Network(100, 6).weights()
    monkeypatch.setenv(VARIABLE, path)
    np.testing.assert_array_equal(fn.Network(100, 6).weights(), expected)


def test_seeds_give_different_networks():
    weights = [fn.Network(100, 4, seed=seed).weights() for seed in (0, 1, 2**32, 2**64 - 1)]
    for k, one in enumerate(weights):
        for other in weights[:k]:
            assert (one != other).mean() > 0.99


def test_distribution_of_the_weights():
    """Mean, variance and fourth moment of 4e5 normals within 5 standard errors; signs as often + as -."""
    network = fn.Network(100_000, 4, seed=3)
    w = network.weights().ravel()
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((w**power).mean() - mean) < 5 * np.sqrt(variance / w.size)
    signs = network.output_weights()
    assert set(signs) == {-1.0, 1.0}
    assert abs(signs.mean()) < 5 / np.sqrt(signs.size)


def test_given_arrays():
    W, a = np.arange(6.0).reshape(3, 2) / 3, np.array([1.0, 0.1, -2.0])
    network = fn.Network.from_arrays(W, a)
    assert (network.width, network.dim, network.is_virtual) == (3, 2, False)
    np.testing.assert_array_equal(network.weights(), W.astype(np.float32))  # rounded
    np.testing.assert_array_equal(network.output_weights(), a)  # kept
    np.testing.assert_array_equal(network.weights(1, 2), W[1:2].astype(np.float32))
    assert fn.Network(3, 2).is_virtual


def test_given_arrays_of_any_layout_and_type():
    W = np.arange(-6, 6).reshape(4, 3)
    a = np.array([1, -1, 1, 1])
    expected = fn.ntk(X, network=fn.Network.from_arrays(W, a), layers="both")
    frozen = W.astype(np.float32)
    frozen.flags.writeable = False
    forms = [
        W.tolist(),
        W.astype(np.float16),
        W.astype(np.int8),
        W.astype(">f8"),
        np.asfortranarray(W, np.float32),
        np.repeat(W, 2, axis=1)[:, ::2],
        W.astype(np.float32)[::-1][::-1],
        frozen,
    ]
    for form in forms:
        network = fn.Network.from_arrays(form, a.astype(np.int8))
        np.testing.assert_array_equal(fn.ntk(X, network=network, layers="both"), expected)


def test_given_arrays_are_not_written_or_locked():
    W, a = np.ones((4, 3), np.float32), np.ones(4)
    network = fn.Network.from_arrays(W, a)
    fn.ntk(X, network=network, layers="both")
    np.testing.assert_array_equal(W, 1)
    np.testing.assert_array_equal(a, 1)
    assert W.flags.writeable
    assert a.flags.writeable


def test_returned_weights_belong_to_the_caller():
    network = fn.Network.from_arrays(np.ones((4, 3)), np.ones(4))
    expected = fn.outputs(X, network=network)
    for array in (network.weights(), network.output_weights()):
        if array.flags.writeable:
            array[:] = 7
    np.testing.assert_array_equal(fn.outputs(X, network=network), expected)


def pickled(network):
    return pickle.loads(pickle.dumps(network))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("used", [False, True])
def test_copies_and_pickles(duplicate, used):
    given = fn.Network.from_arrays(np.arange(12.0).reshape(4, 3), [1.0, 2.0, 3.0, 4.0])
    for network in (given, fn.Network(50, 3, seed=4, scale=2.0)):
        expected = fn.ntk(X, network=network, layers="both")
        again = duplicate(network if used else copy.copy(network))
        assert repr(again) == repr(network)
        np.testing.assert_array_equal(fn.ntk(X, network=again, layers="both"), expected)


def test_a_network_is_a_value_that_does_not_change():
    network = fn.Network(10, 3)
    with pytest.raises(AttributeError):
        network.width = 20
    assert {network: 1}[network] == 1
