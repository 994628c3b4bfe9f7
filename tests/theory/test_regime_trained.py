"""What the kernel regime predicts, against training runs of wide networks."""

import numpy as np
import pytest

import fastntk as fn

from .test_regime import unit_rows

# As the docstring of kernel_regime has it, of networks of width 4000 under masks of kappa up to 1.
CHANGE, EARLY, PLATEAU = 0.1, 0.1, 0.3


# --------------------------------------------------------------------------------- without a mask
def worst_errors(width, seed, steps=12, step_size=1.0):
    """Largest errors of outputs over their change, on rows trained on and others, and the share of flips."""
    X, Z, y = unit_rows(6, 10), unit_rows(5, 10, seed=7), np.random.default_rng(seed).standard_normal(6)
    net = fn.Network(width, 10, seed=seed)
    theory = fn.kernel_regime(X, y, network=net, step_size=step_size)
    run = fn.train(X, y, network=net, step_size=step_size, steps=steps, record_every=1)
    losses = np.abs(theory.loss(run.recorded_steps) / run.clean_loss - 1)
    errors = []
    for rows in (X, Z):
        found, expected = theory.outputs(steps, rows), fn.outputs(rows, network=run.network)
        change = np.linalg.norm(expected - fn.outputs(rows, network=net))
        errors.append(np.linalg.norm(found - expected) / change)
    return np.array([*errors, losses.max()]), run.flipped[-1]


def test_a_very_wide_network_trains_as_predicted():
    """An entry of the kernel changes by the neurons whose bit flips on either row: twice their share at most.

    Outputs are off by no more than that share of their change, and the loss, their square, falls by a factor
    3000 meanwhile.  Flips are as many as neurons move, m^{-1/2}: errors fall tenfold for a hundred times the
    width, if not for every seed alike.
    """
    mean = {}
    for width in (2000, 200_000):
        found = [worst_errors(width, seed) for seed in range(4)]
        for errors, flipped in found:
            assert 0 < flipped < 4 / np.sqrt(width)
            assert (errors[:2] < 2 * flipped).all(), (errors, flipped)
        mean[width] = np.mean([errors for errors, _ in found], axis=0)
    assert (mean[200_000] < [3e-3, 3e-3, 0.03]).all(), mean
    assert (mean[200_000] < mean[2000] / 4).all(), mean


# ----------------------------------------------------------------------------------- under masks
def masked_runs(kappa, *, n, draws, runs, times, product=0.5, width=4000, dim=10):
    """Predicted and trained outputs (times, rows), predicted and trained losses (times,), standard errors.

    The rows are those trained on, as they are; step_size is ``product`` over the largest eigenvalue.
    """
    X, y = unit_rows(n, dim), np.random.default_rng(1).standard_normal(n)
    options = {"network": fn.Network(width, dim), "mask": fn.GaussianMask(kappa)}
    top = fn.kernel_regime(X, y, step_size=1.0, draws=4, **options).eigenvalues[-1]
    options["step_size"] = product / top
    theory = fn.kernel_regime(X, y, draws=draws, **options)
    outputs, losses = [], []
    for seed in range(1000, 1000 + runs):
        run, seen = None, []
        for t in times:
            run = fn.train(X, y, steps=t, seed=seed, record_every=t, resume=run, threads=1, **options)
            seen.append(fn.outputs(X, network=run.network, threads=1))
        outputs.append(seen)
        losses.append(0.5 * np.square(np.array(seen) - y).sum(axis=1))
    start = fn.outputs(X, network=options["network"])
    return start, (theory.outputs(times), *mean(outputs)), (theory.loss(times), *mean(losses))


def mean(runs):
    """And its standard error."""
    return np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs))


def assert_predicted(kappa, *, times, early, **options):
    """Mean outputs within 10 % of their change; losses within 10 % up to a time, and 30 % later; plus errors.

    Added are 3 standard errors of the runs.
    """
    start, (found, expected, error), (losses, trained, spread) = masked_runs(kappa, times=times, **options)
    change = np.linalg.norm(expected - start, axis=1)
    off = np.linalg.norm(found - expected, axis=1)
    assert (off < CHANGE * change + 3 * np.linalg.norm(error, axis=1)).all(), off / change
    allowed = np.where(np.array(times) <= early, EARLY, PLATEAU) * trained + 3 * spread
    assert (np.abs(losses - trained) < allowed).all(), losses / trained
    assert (np.linalg.norm(error, axis=1) < 0.1 * change).all()  # the runs can tell


def test_mean_outputs_and_losses_of_masked_runs():
    assert_predicted(0.3, n=12, draws=80, runs=30, times=(1, 3, 10, 60), early=10)


@pytest.mark.soak
@pytest.mark.parametrize("kappa", [0.1, 0.3, 1.0])
def test_many_masked_runs(kappa):
    assert_predicted(kappa, n=20, draws=80, runs=200, times=(1, 3, 10, 30, 100, 300), early=10)
