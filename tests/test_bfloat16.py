"""Networks of bfloat16 weights: the same answers as those of a network that is given the rounded weights."""

import concurrent.futures
import pickle

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine import checkpoint
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

WIDTH, DIM = 20_000, 6
X = np.random.default_rng(0).standard_normal((40, DIM))
NETWORK = fn.Network(WIDTH, DIM, seed=3, scale=2.0, outputs=2, dtype="bfloat16")
ROUNDED = reference.round_to_bfloat16(reference.normals(3, np.arange(WIDTH), DIM, reference.WEIGHT_STREAM))
SIGNS = reference.output_signs(3, np.arange(WIDTH), np.arange(2))
MASK = fn.GaussianMask(0.3)
U = np.random.default_rng(1).standard_normal((40, 2))
V = np.random.default_rng(2).standard_normal((WIDTH, DIM))


def test_golden_weights():
    """The upper halves of the float32 weights, which are the bfloat16 numbers."""
    words = fn.Network(4, 5, seed=0, dtype="bfloat16").weights().astype(np.float32).view(np.uint32)
    expected = [
        [0xBF6D, 0xBF7E, 0xBF1E, 0x3EF7, 0xBEDA],
        [0x3E1D, 0x3E39, 0x3F55, 0x3E4A, 0x3ECF],
        [0x3F98, 0x4023, 0x3E8A, 0x3FFB, 0xBF37],
        [0xBEB4, 0x3F18, 0xBEE4, 0x3F66, 0xBFB5],
    ]
    np.testing.assert_array_equal(words, np.array(expected, np.uint32) << np.uint32(16))


def test_weights_are_rounded_before_the_scale():
    np.testing.assert_array_equal(NETWORK.weights(), 2.0 * ROUNDED.astype(np.float64))
    np.testing.assert_array_equal(NETWORK.output_weights(), SIGNS)
    np.testing.assert_array_equal(NETWORK.weights(19_990), NETWORK.weights()[19_990:])
    assert NETWORK.dtype == "bfloat16"
    assert fn.Network(3, 2).dtype == "float32"


CALLS = {
    "ntk": lambda network: fn.ntk(X, network=network, mask=MASK, draws=2),
    "cross": lambda network: fn.ntk(X[:7], X, network=network, mask=(None, MASK)),
    "both layers": lambda network: fn.ntk(X, network=network, layers="both"),
    "diagonal": lambda network: fn.ntk_diag(X, network=network, layers="both"),
    "pattern": lambda network: fn.activation_pattern(X, network=network).packed,
    "outputs": lambda network: fn.outputs(X, network=network, mask=MASK),
    "vjp": lambda network: fn.vjp(X, U, network=network),
    "jvp": lambda network: fn.jvp(X, V, network=network),
    "operator": lambda network: fn.ntk_operator(X, network=network, form="matrix-free") @ U,
    "expected kernel": lambda network: fn.expected_ntk(X, network=network, mask=MASK),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_all_results_are_those_of_the_rounded_weights(call):
    given = fn.Network.from_arrays(2.0 * ROUNDED, SIGNS, dtype="bfloat16")
    expected = call(fn.Network.from_arrays(2.0 * ROUNDED, SIGNS))
    np.testing.assert_array_equal(call(given), expected)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(call(NETWORK), expected, rtol=0, atol=1e-6 * largest)  # vjp, jvp: float32


@pytest.mark.parametrize("call", [CALLS["ntk"], CALLS["pattern"]])
def test_the_bits_are_those_of_every_path_and_thread_count(call, monkeypatch):
    one_output = fn.Network(WIDTH, DIM, seed=3, dtype="bfloat16")
    expected = call(fn.Network.from_arrays(ROUNDED, SIGNS[:, 0]))
    for path in available_paths():
        monkeypatch.setenv(VARIABLE, path)
        np.testing.assert_array_equal(call(one_output), expected)


def test_threads_and_executors_give_the_same_bits():
    expected = fn.ntk(X, network=NETWORK, threads=1)
    np.testing.assert_array_equal(fn.ntk(X, network=NETWORK, threads=3), expected)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(fn.ntk(X, network=NETWORK, executor=pool), expected)
    again = pickle.loads(pickle.dumps(NETWORK))
    assert repr(again) == repr(NETWORK)
    np.testing.assert_array_equal(fn.ntk(X, network=again), expected)


def test_training_starts_from_the_rounded_weights_and_moves_them_in_float32():
    y = np.sin(X[:, 0])
    network = fn.Network(500, DIM, seed=1, scale=1.5, dtype="bfloat16")
    run = fn.train(X, y, network=network, steps=5, mask=MASK)
    loss = 0.5 * ((fn.outputs(X, network=network) - y) ** 2).sum()
    np.testing.assert_allclose(run.clean_loss[0], loss, rtol=1e-5)
    assert run.flipped[0] == run.distance[0] == 0
    assert run.network.dtype == "float32"
    weights = run.network.weights().astype(np.float32)
    assert (weights != reference.round_to_bfloat16(weights)).any()
    start = fn.Network.from_arrays(network.weights(), network.output_weights())
    other = fn.train(X, y, network=start, steps=5, mask=MASK, step_size=run.step_size)
    np.testing.assert_allclose(other.network.weights(), weights, rtol=0, atol=1e-5)


def test_a_run_does_not_go_on_as_one_of_other_weights():
    y = np.sin(X[:, 0])
    run = fn.train(X, y, network=fn.Network(300, DIM, dtype="bfloat16"), steps=2)
    with pytest.raises(ValueError, match="network"):
        fn.train(X, y, network=fn.Network(300, DIM), steps=4, resume=run)


def test_a_checkpoint_is_of_one_type_of_weights(tmp_path, monkeypatch):
    for name in ("FIRST_SECONDS", "COST_FACTOR"):  # saved at once
        monkeypatch.setattr(checkpoint, name, 0.0)

    def stop(done, total):
        if done == total:  # what was done before has been saved
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fn.ntk(X, network=NETWORK, checkpoint=tmp_path, progress=stop, threads=1)
    other = fn.Network(WIDTH, DIM, seed=3, scale=2.0, outputs=2)
    with pytest.raises(ValueError, match="rounded to bfloat16"):
        fn.ntk(X, network=other, checkpoint=tmp_path)
    found = fn.ntk(X, network=NETWORK, checkpoint=tmp_path)
    np.testing.assert_array_equal(found, fn.ntk(X, network=NETWORK))


def test_how_they_are_shown():
    assert repr(fn.Network(9, 2, dtype="bfloat16")) == (
        "Network(width=9, dim=2, seed=0, scale=1.0, dtype='bfloat16')"
    )
    given = fn.Network.from_arrays(np.ones((3, 2)), np.ones(3), dtype="bfloat16")
    assert repr(given) == "Network.from_arrays(W=<3 x 2>, a=<3>, dtype='bfloat16')"


def test_given_weights_are_rounded():
    W = np.random.default_rng(5).standard_normal((50, 4)).astype(np.float32)
    kept = W.copy()
    network = fn.Network.from_arrays(W, np.ones(50), dtype="bfloat16")
    np.testing.assert_array_equal(network.weights(), reference.round_to_bfloat16(W))
    np.testing.assert_array_equal(W, kept)
    again = fn.Network.from_arrays(network.weights(), np.ones(50), dtype="bfloat16")
    np.testing.assert_array_equal(again.weights(), network.weights())


@pytest.mark.parametrize("dtype", ["float16", "bf16", np.float32, None, ["float32"]])
def test_an_unknown_type_is_refused(dtype):
    for make in (
        lambda: fn.Network(9, 2, dtype=dtype),
        lambda: fn.Network.from_arrays(np.ones((3, 2)), np.ones(3), dtype=dtype),
    ):
        with pytest.raises(ValueError, match=r"dtype is .*; it must be one of 'float32', 'bfloat16'"):
            make()


def test_given_weights_beyond_the_largest_are_refused():
    W = np.array([[1.0, -3.4e38]])
    with pytest.raises(ValueError, match=r"W holds magnitudes up to 3.4e\+38, which dtype='bfloat16' rounds"):
        fn.Network.from_arrays(W, [1.0], dtype="bfloat16")
    assert fn.Network.from_arrays(W, [1.0]).width == 1
