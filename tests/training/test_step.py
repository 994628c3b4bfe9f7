"""One step is W - eta sum (f - y) grad f with exact activation bits, to within float32 rounding."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from ..adversarial import orthogonal_to
from ..formulas import U32, rounded
from ..reference_values import cases
from ..simulation import exact_step, loss, outputs
from .problems import columns, network, rows, targets, train, weights

pytestmark = pytest.mark.filterwarnings("ignore::fastntk.TrainingWarning")  # steps too long to converge

CASES = cases("X_masked_1", "masked_grad_1", "W_next")
MASKS = [
    fn.GaussianMask(0.4),
    fn.GaussianMask([0.0, 0.2, 0.5, 1.0, 2.0]),
    fn.AdditiveMask(0.3),
    fn.LognormalMask(0.6),
    fn.BernoulliMask(0.7),
    None,
]


def assert_step(X, y, W, a, step_size, found):
    """``found`` is W after one step on the float32 inputs X, within what float32 can do to it."""
    expected = exact_step(rounded(X), columns(y), rounded(W), columns(a), step_size)
    excess = np.abs(found - expected.values) - expected.bound
    assert (excess <= 0).all(), f"off by {excess.max():.3g} more than the bound"
    return expected


def one_step(X, y, W, a, step_size, **options):
    return train(
        X, y, network=fn.Network.from_arrays(W, a), steps=1, step_size=step_size, mask=None, **options
    )


# ------------------------------------------------------------------------------ the reference values
@pytest.fixture(params=CASES, ids=lambda case: f"{case['name']}, kappa={case['kappa']}")
def case(request):
    """A reference case, a run of one step on its masked inputs, and a bound on the weights after it.

    The values are of numbers that float32 rounds: that shifts residuals and gradients by no more than the
    arithmetic may (:func:`exact_step`), and W itself by U32 of it.
    """
    case = request.param
    X, W, a, y = case["X_masked_1"], case["W"], case["a"], case["y"]
    # whatever is computed below is continuous: rounding changes no bit
    np.testing.assert_array_equal(reference.pattern(X, W), X @ W.T > 0)
    run = one_step(X, y, W, a, case["eta"], record_every=1)
    bound = 2 * exact_step(rounded(X), columns(y), rounded(W), columns(a), case["eta"]).bound
    return case, run, bound + U32 * np.abs(W)


def test_reference_weights(case):
    case, run, bound = case
    found = run.network.weights()
    assert (np.abs(found - case["W_next"]) <= bound).all()
    moved = rounded(case["W"]) - found
    assert (np.abs(moved - case["eta"] * case["masked_grad_1"]) <= bound).all()


def test_reference_history(case):
    case, run, bound = case
    f = outputs(case["X_masked_1"], case["W"], columns(case["a"]))[:, 0]
    assert loss_error(case, case["X_masked_1"], case["W"], U32 * np.abs(case["W"])) < 1e-4 * (1 + f @ f)
    allowed = loss_error(case, case["X_masked_1"], case["W"], U32 * np.abs(case["W"]))
    assert abs(run.masked_loss[0] - case["masked_loss_1"]) <= allowed
    assert run.masked_loss[0] == run.clean_loss[0]  # the masked inputs are the data
    assert abs(run.distance[1] - case["move_fro"]) <= np.linalg.norm(bound)
    assert abs(run.max_distance[1] - case["move_max"]) <= np.linalg.norm(bound, axis=1).max()


def test_reference_network_after_the_step(case):
    case, run, bound = case
    X, y = case["X"], case["y"]
    found = 0.5 * np.square(fn.outputs(X, network=run.network) - y).sum()
    assert abs(found - case["clean_loss_next"]) <= loss_error(case, X, case["W_next"], bound)
    before, after = (
        fn.activation_pattern(X, network=net).to_bool()
        for net in (fn.Network.from_arrays(case["W"], case["a"]), run.network)
    )
    assert np.mean(before != after) == case["flip_fraction_next"]


def loss_error(case, X, W, weight_error):
    """What the loss is off by where W is off by ``weight_error``, X rounded, and all evaluated in float32."""
    a = np.abs(case["a"])
    residual = np.abs(outputs(X, W, columns(case["a"]))[:, 0] - case["y"])
    magnitudes = np.abs(X) @ (weight_error + (X.shape[1] + len(W) + 9) * U32 * np.abs(W)).T
    error = magnitudes @ a / np.sqrt(len(W)) + 2 * U32 * (np.abs(case["y"]) + residual)
    return residual @ error + error @ error + 2 * len(X) * U32 * residual @ residual


# ------------------------------------------------------------------------------------- ragged shapes
@given(
    n=st.one_of(st.integers(1, 12), st.sampled_from([31, 32, 33, 63, 64, 65, 129])),
    dim=st.one_of(st.integers(1, 9), st.sampled_from([15, 17, 63, 64, 65, 129])),
    width=st.one_of(st.integers(1, 14), st.sampled_from([31, 33, 65])),
    q=st.sampled_from([1, 1, 2, 3, 5]),
    signs=st.booleans(),
    path=st.sampled_from(available_paths()),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@hypothesis.example(1, 1, 1, 1, True, available_paths()[0], 1, 0)
@hypothesis.example(1, 1, 1, 5, False, available_paths()[-1], 2, 1)
def test_ragged_shapes(n, dim, width, q, signs, path, threads, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, dim)).astype(np.float32), targets(n, q, seed)
    W, a = rng.standard_normal((width, dim)).astype(np.float32), rng.standard_normal((width, q))
    a = np.sign(a) if signs else a
    a = a[:, 0] if q == 1 else a
    step_size = 1 / np.square(X).sum()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, path)
        run = one_step(X, y, W, a, step_size, threads=threads)
    assert_step(X, y, W, a, step_size, weights(run))


@pytest.mark.parametrize("path", available_paths())
@pytest.mark.parametrize("q", [1, 3])
def test_more_neurons_than_a_chunk(path, q, monkeypatch):
    """Virtual weights, and signs as output weights."""
    monkeypatch.setenv(VARIABLE, path)
    net = fn.Network(5003, 3, outputs=q, seed=9, scale=0.7)
    X, y = rows(5, 3), targets(5, q)
    run = train(X, y, network=net, steps=1, mask=None, step_size=0.5)
    W = rounded(net.weights())
    expected = assert_step(X, y, W, net.output_weights(), 0.5, weights(run))
    assert np.abs(expected.values - W).max() > 50 * expected.bound.max()  # the bound can tell a step


# -------------------------------------------------------------------------------- adversarial inputs
KINDS = ("ordinary", "zero", "duplicate", "opposite", "tiny", "denormal", "one feature", "orthogonal", "1e18")


def adversarial_row(kind, before, W, rng):
    base = rng.standard_normal(W.shape[1])
    return {
        "ordinary": lambda: base,
        "zero": lambda: -0.0 * base,
        "duplicate": lambda: before[-1] if before else base,
        "opposite": lambda: -before[-1] if before else base,
        "tiny": lambda: 1e-30 * base,
        "denormal": lambda: 2.0**-149 * np.rint(9 * base),
        "one feature": lambda: base * (np.arange(len(base)) == rng.integers(len(base))),
        "orthogonal": lambda: orthogonal_to(W[0], rng, ulps=int(rng.integers(-1, 2))),
        "1e18": lambda: 1e18 * np.sign(base) / np.sqrt(len(base)),
    }[kind]()


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=7),
    neurons=st.lists(st.sampled_from(KINDS[:-2]), max_size=4),
    dim=st.integers(1, 9),
    q=st.sampled_from([1, 2]),
    path=st.sampled_from(available_paths()),
    seed=st.integers(0, 2**32),
)
@hypothesis.example(["1e18"], [], 3, 1, available_paths()[0], 1)
@hypothesis.example(["denormal", "denormal"], [], 3, 1, available_paths()[0], 1)
@hypothesis.example(
    ["1e18", "tiny", "opposite", "zero"], ["zero", "denormal"], 4, 2, available_paths()[-1], 1
)
def test_awkward_rows_and_neurons(kinds, neurons, dim, q, path, seed):
    """A step whose every product is a float32 number, if sometimes a denormal one."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((9, dim)).astype(np.float32)
    for r, kind in enumerate(neurons, start=1):
        W[r] = adversarial_row(kind, list(W[:r]), W, rng)
    X = []
    for kind in kinds:
        X.append(adversarial_row(kind, X, W, rng).astype(np.float32))
    X, a = np.array(X), rng.uniform(-1, 1, (9, q))
    a = a[:, 0] if q == 1 else a
    y = targets(len(X), q, seed)
    step_size = 0.1 / max(1, np.square(X.astype(float)).sum())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, path)
        run = one_step(X, y, W, a, step_size)
    assert_step(X, y, W, a, step_size, weights(run))


def test_zero_rows_change_nothing():
    X, y, net = rows(), targets(), network()
    with_zeros = np.insert(X, [0, 7, 14], 0, axis=0)
    found = train(with_zeros, np.insert(y, [0, 7, 14], 3.0), network=net, mask=None, steps=1)
    assert_step(X, y, net.weights(), net.output_weights(), 0.3, weights(found))
    nothing = train(0 * X, y, network=net, steps=3)
    np.testing.assert_array_equal(weights(nothing), rounded(net.weights()))


@pytest.mark.parametrize("q", [1, 3])
def test_neurons_without_output_weights(q):
    """They stay; so do neurons of a few directions of output weights, in several lengths, beside them."""
    rng, X, y = np.random.default_rng(0), rows(), targets(outputs=q)
    a = rng.integers(-1, 2, (300, q)) * 2.0 ** rng.integers(-3, 3, (300, 1))
    silent = ~a.any(axis=1)
    assert 0 < silent.sum() < 300
    W = rng.standard_normal((300, 5)).astype(np.float32)
    a = a[:, 0] if q == 1 else a
    run = one_step(X, y, W, a, 0.1)
    assert_step(X, y, W, a, 0.1, weights(run))
    np.testing.assert_array_equal(weights(run)[silent], W[silent])
    nothing = one_step(X, y, W, 0 * a, 0.1)
    np.testing.assert_array_equal(weights(nothing), W)


# --------------------------------------------------------------------------------------- many steps
@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize("q", [1, 3])
def test_every_step_of_masked_training(mask, q):
    """Given the weights before a step and its masks, those after it: step by step, not in the end only."""
    X, y, net = rows(), targets(outputs=q), network(outputs=q)
    W, moved = net.weights(), 0
    for t in range(6):
        inputs = X if mask is None else mask.sample(X, seed=5, draw=t)
        after = weights(train(X, y, network=net, mask=mask, steps=t + 1))
        expected = assert_step(inputs, y, W, net.output_weights(), 0.3, after)
        assert np.abs(after - W).max() > 50 * expected.bound.max()  # the bound can tell a step from none
        moved += np.linalg.norm(after - W)
        W = after.astype(float)
    assert moved > 0.1


def test_row_ids_say_which_masks():
    X, y, net, ids = rows(), targets(), network(), np.arange(14, dtype=np.uint64) * 2**60
    mask = fn.GaussianMask(0.8)
    run = train(X, y, network=net, mask=mask, steps=1, row_ids=ids)
    masked = mask.sample(X, seed=5, row_ids=ids)
    assert_step(masked, y, net.weights(), net.output_weights(), 0.3, weights(run))
    inputs = rounded(masked)
    expected = loss(inputs, columns(y), net.weights(), columns(net.output_weights()))
    assert run.masked_loss[0] == pytest.approx(expected, rel=1e-5)


def test_clean_mode_trains_on_the_data():
    X, y, net = rows(), targets(), network()
    mask = fn.GaussianMask(0.8)
    run = train(X, y, network=net, mask=mask, mode="clean", steps=1)
    assert_step(X, y, net.weights(), net.output_weights(), 0.3, weights(run))
