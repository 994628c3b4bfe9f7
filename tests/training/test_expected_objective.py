"""Training on the mean loss over all masks, and records of it: steps, bits, history, and how it ends."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.smoothing import expected_gradient

from ..formulas import U32, rounded
from ..reference_values import cases
from ..simulation import SMALLEST, gradient, loss, masked, outputs
from ..test_bad_input import refused
from .problems import MASK, assert_same, columns, network, network_before, rows, targets, train, weights
from .test_batches import batches
from .test_interrupt import assert_begins, interrupt_at
from .test_memory_of_training import measured

MODES = {"expected": "exact", "first-order": "first-order"}  # and the regulariser of their gradient
MASKS = [MASK, fn.AdditiveMask(0.2), fn.GaussianMask([0.0, 0.2, 0.5, 1.0, 2.0]), fn.AdditiveMask([0.3] * 5)]
EVERYTHING = {"record_every": 2, "expected_every": 3, "eigenvalues_every": 4}


def descent(mode, mask, *, q=1, steps=1, batch_size=None, step_size=0.3, seed=5):
    """The weights before each step and after the last: a loop that rounds them to float32 after each."""
    X, y, net = rounded(rows()), targets(outputs=q), network(outputs=q)
    found, a = [rounded(net.weights())], net.output_weights()
    for batch in batches(np.arange(14, dtype=np.uint64), seed, batch_size or 14, steps):
        part = np.arange(14) if batch_size is None else batch
        G = expected_gradient(X[part], y[part], network=(found[-1], a), mask=mask, regulariser=MODES[mode])
        found.append(rounded(found[-1] - step_size * G))
    return found


def assert_weights(run, expected, roundings=1):
    """Equal up to roundings to float32, which may go the other way; ``roundings`` of them in a row."""
    bound = roundings * (2 * U32 * np.abs(expected) + SMALLEST)
    assert (np.abs(weights(run) - expected) <= bound).all()


# ---------------------------------------------------------------------------------------- steps
@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_one_step_goes_down_the_expected_gradient(mode, q, mask):
    run = train(mode=mode, outputs=q, mask=mask, steps=1, step_size=0.1)
    start, expected = descent(mode, mask, q=q, step_size=0.1)
    assert_weights(run, expected)
    assert np.abs(expected - start).max() > 1e4 * U32


@pytest.mark.parametrize("case", cases("grad_expected", "kappa"), ids=lambda case: case["name"])
def test_reference_gradient(case):
    """Of X and W that are no float32 numbers: the gradient moves by some 2^-24 of its size with them."""
    net = fn.Network.from_arrays(case["W"], case["a"])
    run = train(
        case["X"],
        case["y"],
        network=net,
        mask=fn.GaussianMask(case["kappa"]),
        mode="expected",
        steps=1,
        step_size=case["eta"],
    )
    moved = rounded(case["W"]) - weights(run)
    step = case["eta"] * case["grad_expected"]
    assert (np.abs(moved - step) <= U32 * np.abs(case["W"]) + 1e-6 * np.abs(step).max()).all()


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("mode", MODES)
def test_trajectories_are_those_of_a_loop(mode, batch_size):
    """Every step starts at the library's own weights: roundings that differ would add up otherwise."""
    expected = descent(mode, MASK, steps=6, batch_size=batch_size)
    for steps in (2, 5, 6):  # with batches of 4, the second epoch begins with the fifth step
        run = train(mode=mode, steps=steps, batch_size=batch_size)
        assert_weights(run, expected[steps], roundings=2 * steps)
    other = train(mode="clean", steps=6, batch_size=batch_size)
    assert np.abs(weights(other) - expected[6]).max() > 1e4 * U32


@pytest.mark.parametrize("q", [1, 3])
def test_steps_under_masks_are_such_steps_in_the_mean(q):
    """Weights after one step under 40,000 masks: scores of their mean, standard normal but correlated.

    Of 185 the largest exceeds 4.5 once in 800 seeds.  The step without masks is told apart.
    """
    X, y, net = rounded(rows()), columns(targets(outputs=q)), network(outputs=q)
    W, a, rng = rounded(net.weights()), columns(net.output_weights()), np.random.default_rng(11)
    total, squares = np.zeros((2, *W.shape))
    for _ in range(40):
        inputs = masked(MASK, np.broadcast_to(X, (1000, *X.shape)), rng)
        steps = -0.3 * gradient(inputs, outputs(inputs, W, a) - y, W, a)
        total += steps.sum(axis=0)
        squares += np.square(steps).sum(axis=0)
    mean = total / 40_000
    error = np.sqrt((squares / 40_000 - np.square(mean)) / 40_000)
    scores = ((weights(train(mode="expected", outputs=q, steps=1)) - W) - mean) / error
    assert np.abs(scores).max() < 4.5
    assert 0.5 < np.sqrt(np.mean(np.square(scores))) < 1.5
    clean = ((weights(train(mode="clean", outputs=q, steps=1)) - W) - mean) / error
    assert np.abs(clean).max() > 9


def test_a_mask_that_does_nothing():
    expected = train(mode="clean", mask=None, steps=5)
    for mode in MODES:
        run = train(mode=mode, mask=fn.GaussianMask(0.0), steps=5)
        np.testing.assert_allclose(weights(run), weights(expected), rtol=0, atol=20 * U32)


@pytest.mark.parametrize("mode", MODES)
def test_the_step_size_of_the_rule(mode):
    run, other = (train(mode=one, step_size=None, steps=2) for one in (mode, "masked"))
    assert run.step_size == other.step_size


# -------------------------------------------------------------------------------------- history
@pytest.mark.parametrize("mode", ["masked", "clean", *MODES])
@pytest.mark.parametrize("q", [1, 3])
def test_recorded_expected_losses(q, mode):
    """Those of the network before the step, of all rows, whatever the batches."""
    options = {"mode": mode, "outputs": q, "batch_size": 5, "steps": 7}
    run = train(expected_every=3, **options)
    np.testing.assert_array_equal(run.expected_steps, [0, 3, 6])
    for j, t in enumerate(run.expected_steps):
        net = network_before(t, **{key: value for key, value in options.items() if key != "steps"})
        expected = fn.expected_loss(rows(), targets(outputs=q), network=net, mask=MASK)
        assert run.smoothed_mse[j] == pytest.approx(expected.smoothed_mse, rel=1e-12)
        assert run.regulariser[j] == pytest.approx(expected.regulariser, rel=1e-12)
    np.testing.assert_array_equal(run.expected_loss, run.smoothed_mse + run.regulariser)


def test_other_records_of_a_run_on_the_mean():
    """Losses on the inputs as they are, and on all rows under the masks that the step would have had."""
    X, y = rows(), columns(targets())
    run = train(mode="expected", batch_size=4, steps=4, record_every=2)
    for j, t in enumerate(run.recorded_steps):
        net = network_before(t, mode="expected", batch_size=4)
        W, a = net.weights(), columns(net.output_weights())
        under_mask = rounded(MASK.sample(X, seed=5, draw=t))
        assert run.clean_loss[j] == pytest.approx(loss(rounded(X), y, W, a), rel=1e-5)
        assert run.masked_loss[j] == pytest.approx(loss(under_mask, y, W, a), rel=1e-5)
    assert train(steps=1).expected_loss.shape == train(steps=1).expected_steps.shape == (0,)


def test_without_a_mask_the_expected_loss_is_the_loss():
    run = train(mask=None, steps=4, record_every=2, expected_every=2)
    np.testing.assert_allclose(run.expected_loss, run.clean_loss, rtol=1e-5)
    assert (run.regulariser == 0).all()


def test_each_objective_is_best_learned_by_descending_it():
    """The expected loss falls from record to record, and further than where the clean loss is descended.

    Whereas the clean loss falls further there: the two objectives are not the same.
    """
    X, y, net = rows(6, 8), targets(6), network(dim=8)
    options = {"mask": fn.GaussianMask(0.5), "steps": 200, "step_size": 0.4, "expected_every": 20}
    clean, *runs = (train(X, y, network=net, mode=mode, **options) for mode in ("clean", *MODES))
    for run in runs:
        assert (np.diff(run.expected_loss) < 0).all()
        assert run.expected_loss[-1] < 0.7 * clean.expected_loss[-1]
        assert run.clean_loss[-1] > 10 * clean.clean_loss[-1]


def test_labels():
    labels = np.random.default_rng(0).integers(0, 3, 14)
    for mode in MODES:
        run, explicit = (
            train(y=y, outputs=3, mode=mode, steps=8, expected_every=4, record_every=4)
            for y in (labels, np.eye(3)[labels])
        )
        assert_same(run, explicit, but=["accuracy"])
        f = fn.outputs(rows(), network=run.network)
        assert run.accuracy[-1] == np.mean(f.argmax(axis=1) == labels)


# ----------------------------------------------------------------------------------------- bits
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("mode", MODES)
def test_threads(mode, batch_size):
    X, net = rows(14, 16), fn.Network(301, 16, seed=3)
    options = {"network": net, "mode": mode, "batch_size": batch_size, "record_every": 1, "expected_every": 2}
    alone, two = (train(X, steps=3, threads=threads, **options) for threads in (1, 2))
    assert_same(two, alone)


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("mode", MODES)
def test_stopped_and_resumed(mode, batch_size, tmp_path):
    options = {"mode": mode, "batch_size": batch_size, **EVERYTHING}
    whole, half = train(steps=11, **options), train(steps=4, **options)
    half.save(tmp_path / "run.npz")
    for state in (half, tmp_path / "run.npz", fn.TrainingRun.load(tmp_path / "run.npz")):
        assert_same(train(steps=11, resume=state, **options), whole)
    assert_same(fn.TrainingRun.load(tmp_path / "run.npz"), half)
    for other in {"masked", "clean", *MODES} - {mode}:
        with pytest.raises(ValueError, match=rf"mode \({mode} there, {other} here\)"):
            train(steps=11, resume=half, mode=other, batch_size=batch_size)


@pytest.mark.parametrize("mode", MODES)
def test_out_in_memory_and_on_disk(mode, tmp_path):
    expected = train(mode=mode, **EVERYTHING)
    for out in (
        np.full((37, 5), np.nan, np.float32),
        np.lib.format.open_memmap(tmp_path / "W.npy", "w+", np.float32, (37, 5)),
    ):
        assert_same(train(mode=mode, out=out, **EVERYTHING), expected)
        np.testing.assert_array_equal(out, weights(expected))


def test_records_change_no_step():
    for mode in ("masked", *MODES):
        plain = train(mode=mode)
        for options in (EVERYTHING, {"expected_every": 1}, {"progress": lambda done, total: None}):
            np.testing.assert_array_equal(weights(train(mode=mode, **options)), weights(plain))


# ------------------------------------------------------------------------------------- endings
@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_keeps_the_run(mode):
    options = {"mode": mode, "steps": 1000, "record_every": 3, "expected_every": 40}
    with pytest.raises(fn.TrainingInterrupted) as caught:
        train(progress=interrupt_at(3), **options)
    run = caught.value.run
    assert run.status == "interrupted"
    assert 3 <= run.steps_done < 1000
    assert_begins(train(**{**options, "steps": run.steps_done}), run)
    further = {**options, "steps": run.steps_done + 9}
    assert_same(train(resume=run, **further), train(**further))


def test_ctrl_c_in_the_middle_of_a_step():
    """The sums over pairs are left, and the weights are those before the step."""
    options = {"X": rows(14, 32), "network": fn.Network(600, 32), "mode": "expected", "step_size": 0.05}
    with pytest.raises(fn.TrainingInterrupted) as caught:
        train(steps=50, progress=interrupt_at(1), **options)
    run = caught.value.run
    assert 1 <= run.steps_done < 50
    np.testing.assert_array_equal(weights(run), weights(train(steps=run.steps_done, **options)))


@pytest.mark.parametrize("step_size", [50.0, 1e20])
@pytest.mark.parametrize("mode", MODES)
def test_divergence(mode, step_size):
    """By the loss, and by weights that leave float32; the history up to there is kept."""
    with pytest.warns(fn.TrainingWarning) as caught:
        run = train(mode=mode, step_size=step_size, steps=100, record_every=1, expected_every=1)
    messages = [str(one.message) for one in caught]
    assert "unstable" in messages[0]
    assert "training diverged" in messages[-1]
    assert run.status == "diverged"
    assert 0 < run.steps_done < 20
    assert len(run.clean_loss) == len(run.expected_loss) > 0
    with pytest.raises(ValueError, match="diverged after"):
        train(mode=mode, steps=100, resume=run, step_size=step_size)


WRONG = {
    "no mask": ({"mask": None}, ValueError, "mode; a mean over masks; no mask; mode='clean'"),
    "a lognormal mask": ({"mask": fn.LognormalMask(0.1)}, ValueError, "mask; LognormalMask; GaussianMask"),
    "a Bernoulli mask": ({"mask": fn.BernoulliMask(0.9)}, ValueError, "mask; BernoulliMask; GaussianMask"),
    "audits": ({"audit_every": 2}, ValueError, "audit_every; mode; Leave it out"),
    "expected_every zero": ({"expected_every": 0}, ValueError, "expected_every is 0; at least 1"),
    "expected_every a fraction": ({"expected_every": 1.5}, TypeError, "expected_every is 1.5; integer"),
    "memory": ({"memory_limit": 1000}, MemoryError, "; memory_limit is 1 KB"),
    "other features": ({"mask": fn.GaussianMask([0.1])}, ValueError, "kappa; 1 features; X has 5"),
}


@pytest.mark.parametrize(("changes", "exception", "parts"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("mode", MODES)
def test_wrong_input(mode, changes, exception, parts):
    refused(lambda: train(mode=mode, **changes), exception, parts)


@pytest.mark.parametrize("mode", ["masked", "clean"])
def test_expected_losses_are_for_gaussian_masks(mode):
    for mask in (fn.BernoulliMask(0.9), fn.LognormalMask(0.1)):
        refused(lambda m=mask: train(mode=mode, mask=m, expected_every=1), ValueError, "mask; GaussianMask")


@pytest.mark.parametrize(
    ("mode", "every"), [("expected", None), ("first-order", None), ("clean", 1), ("expected", 1)]
)
@pytest.mark.parametrize(("n", "width"), [(300, 40), pytest.param(10, 400, marks=pytest.mark.soak)])
def test_the_estimate_covers_the_peak(n, width, mode, every):
    """A limit just below what the call really takes must be refused."""
    options = {"network": fn.Network(width, 32), "mode": mode, "expected_every": every}
    options |= {"threads": 1, "steps": 1, "step_size": 1e-3}
    X, y = rows(n, 32), targets(n)
    peak, left = measured(lambda: train(X, y, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        train(X, y, memory_limit=peak - 1, **options)
