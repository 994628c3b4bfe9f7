"""The step size: the rule where none is given, the warning where it is too long, and divergence."""

import re
import warnings

import numpy as np
import pytest

import fastntk as fn
from fastntk.spectrum import extreme_eigenvalues

from .problems import MASK, assert_same, columns, network, rows, targets, train
from .test_batches import batches

THREE_DIGITS = 5.1e-3  # the rule gives three, which no BLAS can disagree about


def eigenvalue(X, net, mask, seed, chosen=None):
    """Mean over draws 0, 1, 2 of the largest eigenvalue of the masked kernel, for the outputs together."""
    ids = np.arange(len(X), dtype=np.uint64)
    values = []
    for draw in range(3):
        batch = ids.astype(int) if chosen is None else chosen[draw]
        inputs = X[batch] if mask is None else mask.sample(X[batch], seed=seed, draw=draw, row_ids=ids[batch])
        values.append(extreme_eigenvalues(fn.ntk(inputs, network=net))[1])
    a = columns(net.output_weights())
    return np.mean(values) * a.shape[1] * np.linalg.eigvalsh(a.T @ a)[-1] / np.square(a).sum()


@pytest.mark.parametrize("mask", [MASK, None, fn.BernoulliMask(0.5)], ids=repr)
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("kind", ["given", "virtual"])
def test_rule(mask, q, kind):
    net = network(outputs=q) if kind == "given" else fn.Network(77, 5, outputs=q, scale=2.0)
    run = train(outputs=q, network=net, mask=mask, step_size=None, steps=1)
    assert run.step_size == pytest.approx(1 / eigenvalue(rows(), net, mask, 5), rel=THREE_DIGITS)
    assert run.step_size == float(f"{run.step_size:.2e}")


def test_rule_of_clean_training():
    run = train(mode="clean", step_size=None, steps=1)
    assert run.step_size == pytest.approx(1 / eigenvalue(rows(), network(), None, 5), rel=THREE_DIGITS)


def test_rule_of_batches():
    run = train(batch_size=4, step_size=None, steps=1)
    expected = 1 / eigenvalue(rows(), network(), MASK, 5, batches(np.arange(14, dtype=np.uint64), 5, 4, 3))
    assert run.step_size == pytest.approx(expected, rel=THREE_DIGITS)


def test_rule_gives_the_steps_of_its_number():
    free = train(step_size=None)
    assert_same(free, train(step_size=free.step_size))


def test_rule_makes_loss_fall():
    """Whatever the scale of the data, without a word of warning."""
    for scale in (1e-6, 1.0, 1e3):
        for q in (1, 3):
            X, y = np.float32(scale) * rows(), targets(outputs=q)
            run = train(X, y, outputs=q, step_size=None, mask=fn.GaussianMask(0.1), steps=200)
            assert run.status == "finished"
            assert run.clean_loss[-1] < 0.5 * run.clean_loss[0]


def test_warning_names_the_number():
    net = network()
    limit = 2 / eigenvalue(rows(), net, MASK, 5)
    with pytest.warns(fn.TrainingWarning) as caught:
        train(network=net, step_size=1.001 * limit, steps=1)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "step_size" in message
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*(?:e[+-]?\d+)?", message)]
    assert any(number == pytest.approx(2.002, rel=1e-2) for number in numbers) or any(
        number == pytest.approx(2 / limit, rel=1e-2) for number in numbers
    ), message
    assert caught[0].filename == __file__ or "problems" in caught[0].filename  # the caller's line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(network=net, step_size=0.999 * limit, steps=1)


def test_a_warning_is_a_warning():
    assert issubclass(fn.TrainingWarning, UserWarning)


def gaussian_data():
    """n = 500 standard normal rows of 20 features, targets of a teacher, 100 neurons."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 20)).astype(np.float32)
    teacher = fn.Network(100, 20, seed=1)
    return X, fn.outputs(X, network=teacher), fn.Network(100, 20, seed=2)


def test_divergence():
    """kappa = 2 at step size .005: step size times largest eigenvalue is about 5, and the loss explodes."""
    X, y, net = gaussian_data()
    options = {"network": net, "mask": fn.GaussianMask(2.0), "step_size": 0.005, "record_every": 1}
    with pytest.warns(fn.TrainingWarning) as caught:
        run = train(X, y, steps=3000, **options)
    assert len(caught) == 2  # before the first step, and when it happens
    assert "diverge" in str(caught[-1].message)
    assert run.status == "diverged"
    assert run.steps_done < 3000
    assert run.clean_loss.shape == run.recorded_steps.shape
    assert run.recorded_steps[-1] <= run.steps_done
    assert run.clean_loss[0] < 1e4
    assert run.masked_loss[-1] > 1e6 * run.masked_loss[0] or run.steps_done > run.recorded_steps[-1]
    with pytest.raises(ValueError, match="diverged"):
        train(X, y, steps=3000, resume=run, **options)


@pytest.mark.filterwarnings("ignore::fastntk.TrainingWarning")
def test_divergence_of_a_resumed_run():
    """What loss is too large is set at the start: a run resumed on its way up ends where it would have."""
    X, y, net = gaussian_data()
    options = {"network": net, "mask": fn.GaussianMask(2.0), "step_size": 0.005, "record_every": 1}
    whole = train(X, y, steps=500, **options)
    half = train(X, y, steps=whole.steps_done - 1, **options)
    assert half.status == "finished"
    assert half.masked_loss[-1] > 10 * half.masked_loss[0]
    assert_same(train(X, y, steps=500, resume=half, **options), whole)


@pytest.mark.parametrize("kappa", [0.0, 0.2, 0.6, 1.0])
def test_no_divergence_of_weaker_masks(kappa):
    X, y, net = gaussian_data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if kappa == 1 else "error")  # 2 within its spread over draws
        run = train(X, y, network=net, mask=fn.GaussianMask(kappa), step_size=0.005, steps=300)
    assert run.status == "finished"
    assert run.clean_loss[-1] < 0.5 * run.clean_loss[0]
    assert np.isfinite(run.network.weights()).all()


def test_a_wild_step_ends_at_once():
    """Weights beyond float32: no NaN reaches the caller as a finished run."""
    with pytest.warns(fn.TrainingWarning):
        run = train(step_size=1e30, steps=50)
    assert run.status == "diverged"
    assert run.steps_done < 50
    assert run.recorded_steps[0] == 0
    assert np.isfinite(run.clean_loss[0])
