"""The same bits whatever the threads, the instruction-set path, the width or the weights' origin."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels import load
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from .formulas import KERNELS, SLICED, SPREAD, assert_within

LAYERS = ["hidden", "output", "both"]
RNG = np.random.default_rng(21)
X = RNG.standard_normal((23, 7)).astype(np.float32)
Y = RNG.standard_normal((13, 7)).astype(np.float32)
MASK = fn.GaussianMask(0.3)
VIRTUAL = fn.Network(width=40_000, dim=7, seed=6)
GIVEN = fn.Network.from_arrays(RNG.standard_normal((34_000, 7)), RNG.standard_normal(34_000))

by_network = pytest.mark.parametrize("network", [VIRTUAL, GIVEN], ids=["virtual", "given"])


def everything(network, **options):
    """All quantities of a network, as (name, array)."""
    for layers in LAYERS:
        common = {"network": network, "mask": MASK, "seed": 3, "layers": layers, **options}
        yield f"ntk {layers}", fn.ntk(X, **common)
        yield f"cross ntk {layers}", fn.ntk(X, Y, **common)
        yield f"ntk_diag {layers}", fn.ntk_diag(X, **common)
    common = {"network": network, "mask": MASK, "seed": 3, **options}
    yield "outputs", fn.outputs(X, **common)
    yield "activation_pattern", fn.activation_pattern(X, **common).packed


@pytest.fixture(scope="module")
def expected():
    """On one thread and the default path."""
    return {network: dict(everything(network, threads=1)) for network in (VIRTUAL, GIVEN)}


def assert_equal_everywhere(found, expected):
    for name, values in found:
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@by_network
@pytest.mark.parametrize("threads", [None, 2, 3, 5])
def test_threads(network, threads, expected):
    assert_equal_everywhere(everything(network, threads=threads), expected[network])


@pytest.fixture(scope="module")
def plain():
    """On the path that every processor has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "plain")
        return {network: dict(everything(network)) for network in (VIRTUAL, GIVEN)}


@by_network
@pytest.mark.parametrize("path", available_paths()[:-1])
def test_instruction_sets(network, path, plain, monkeypatch):
    """Bits and counts are promised; float sums agree as well: each is one chain of rounded operations.

    AMX alone sums the second layer's Gram in another way, to what fixed point of 48 bits loses.
    """
    monkeypatch.setenv(VARIABLE, path)
    squares = np.square(network.weights().astype(float)).sum(axis=1)
    lost = SLICED * min(squares.max(), SPREAD * squares.mean()) * 30.0**2  # |x~| < 30
    for name, values in everything(network, threads=2):
        sliced = load(path).counts_with_amx and "hidden" not in name and "ntk " in name
        np.testing.assert_allclose(values, plain[network][name], rtol=0, atol=lost * sliced, err_msg=name)


@by_network
def test_a_small_memory_limit_changes_threads_only(network, expected):
    limit = 1000
    while True:  # the first limit that one thread fits
        try:
            fn.ntk(X, network=network, layers="both", mask=MASK, seed=3, threads=1, memory_limit=limit)
            break
        except MemoryError:
            limit = int(limit * 1.5)
    K = fn.ntk(X, network=network, layers="both", mask=MASK, seed=3, memory_limit=limit)
    np.testing.assert_array_equal(K, expected[network]["ntk both"])


@pytest.mark.parametrize("width", [1, 2, 31, 512, 513, 16383, 16384, 16385, 40_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_width(width, threads):
    """Integer inputs have exact inner products, so K is known to the last bit from the pattern."""
    rows = np.random.default_rng(width).integers(-9, 10, (11, 5)).astype(float)
    network = fn.Network(width, 5, seed=1)
    bits = fn.activation_pattern(rows, network=network, threads=threads).to_bool().astype(float)
    K = fn.ntk(rows, network=network, threads=threads)
    np.testing.assert_array_equal(K, (rows @ rows.T) * ((bits @ bits.T) / width))
    both = fn.ntk(rows, network=network, threads=threads, layers="both")
    W, a = network.weights(), network.output_weights()
    if width <= 513:
        assert_within(both, KERNELS["both"](rows, rows, W, a))
    else:  # the exact indicators of the formula come from the pattern: math.fsum over all would take minutes
        expected = KERNELS["output"](rows, rows, W)
        assert_within(both, expected._replace(values=expected.values + K))


@pytest.mark.parametrize("dim", [1, 3, 64, 127, 128, 129, 300])
def test_any_dim(dim):
    rng = np.random.default_rng(dim)
    rows, W = (rng.standard_normal((n, dim)).astype(np.float32).astype(float) for n in (5, 40))
    a = rng.standard_normal(40)
    for layers in LAYERS:
        K = fn.ntk(rows, network=fn.Network.from_arrays(W, a), layers=layers)
        assert_within(K, KERNELS[layers](rows, rows, W, a))


def test_given_weights_equal_to_virtual_ones():
    """Bits and counts are the same; float sums too, but for a different scale of their fixed point."""
    given = fn.Network.from_arrays(VIRTUAL.weights(), VIRTUAL.output_weights())
    found = dict(everything(given))
    for name, values in everything(VIRTUAL):
        if "output" in name or "both" in name:
            # 2^-60 of |W|_F^2 |x||x'| or |W|_F |a| |x| in each, twice; |w| <= 6.8 sqrt(7), |x~| < 30
            np.testing.assert_allclose(found[name], values, rtol=0, atol=2 * 2.0**-60 * 6.8**2 * 7 * 30**2)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_wider_network_begins_with_a_narrower_one():
    """Counts of the first neurons, plus those of the rest, are the counts of all."""
    narrow, wide = fn.Network(700, 7, seed=6), fn.Network(1900, 7, seed=6)
    W, a = wide.weights(), wide.output_weights()
    rest = fn.Network.from_arrays(W[700:], a[700:])
    rows = np.rint(3 * X)  # exact inner products
    sums = [fn.ntk(rows, network=network) * network.width for network in (narrow, rest, wide)]
    np.testing.assert_allclose(sums[0] + sums[1], sums[2], rtol=8 * 2.0**-53, atol=0)


def test_repeated_calls():
    first, second = (dict(everything(GIVEN)) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
