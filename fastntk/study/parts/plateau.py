"""Training until nothing but noise moves: the loss there, and the network in the middle of it."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ...dynamics import noise_kept
from ...network import Network
from ...training import TrainingWarning, train
from ...training_run import TrainingRun

SNAPSHOTS = 60  # of the weights, over the window


@dataclass(frozen=True)
class Plateau:
    """The end of a run.

    Attributes
    ----------
    run : TrainingRun
    loss, error : float
        Mean clean loss over the window and its standard error, of means over tenths of it (of the
        records, where these are fewer).
    network : Network or None
        The mean weights over the window; None where the run diverged.
    """

    run: TrainingRun
    loss: float
    error: float
    network: Network | None


def train_to_plateau(X, y, *, network, steps, window, progress=None, **options):
    """The :class:`Plateau` of a run: its last ``window`` steps; ``options`` are those of ``fn.train``."""

    def report(done, total):
        if progress is not None:
            progress(done / steps)

    first = steps - window
    run = train(X, y, network=network, steps=max(first, 1), progress=report, **options)
    weights = np.zeros((network.width, network.dim))
    for stop in np.linspace(first, steps, SNAPSHOTS + 1).astype(int)[1:]:
        if run.status == "diverged":
            return Plateau(run, np.nan, np.nan, None)
        run = train(X, y, network=network, steps=int(stop), resume=run, progress=report, **options)
        weights += run.network.weights() / SNAPSHOTS
    losses = run.clean_loss[run.recorded_steps >= first]
    tenths = np.array([part.mean() for part in np.array_split(losses, min(10, len(losses)))])
    middle = Network.from_arrays(weights, network.output_weights())
    return Plateau(run, float(losses.mean()), float(tenths.std(ddof=1) / np.sqrt(len(tenths))), middle)


@contextmanager
def divergence_is_shown():
    """No warning of a run that diverges: its numbers are NaN, which tables and figures show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        yield


def noise_about_mean(theory, window):
    """The clean loss that noise adds to that of the mean weights of ``window`` steps.

    Less than ``theory.noise_floor``, since slow modes wander so slowly that their noise does not average
    out of the mean weights: the mean over T steps of x_t with autocorrelation phi^k, phi = 1 - step size
    * eigenvalue, has (1 + phi) / (1 - phi) / T - 2 phi (1 - phi^T) / (T (1 - phi))^2 of its variance.
    """
    rate = theory.step_size * theory.eigenvalues
    slow = np.where((rate > 0) & (rate < 2), rate, 1.0)
    phi = 1 - slow
    lost = (1 + phi) / slow / window - 2 * phi * (1 - phi**window) / np.square(window * slow)
    noise = noise_kept(rate, np.inf, theory.noise.sum(axis=1))
    return float(0.5 * ((1 - np.where(slow == rate, lost, 0.0)) * noise).sum())


def padded(values, count):
    """NaN for the records that a diverged run did not make."""
    out = np.full(count, np.nan)
    out[: len(values)] = values[:count]
    return out
