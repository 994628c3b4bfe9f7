"""The kernel regime: what a wide network says after any number of steps, also on rows not seen."""

from dataclasses import dataclass

import numpy as np

from ... import validation
from ...figures import regime as figures
from ...forward import outputs
from ...masks import GaussianMask
from ...network import Network
from ...regime import kernel_regime
from ...training import train
from ..table import number, percent
from .part import Part, stages
from .problems import teacher_problem

SIZES = {
    False: {"kappas": (0.0, 0.3, 1.0), "width": 4000, "rows": 24, "draws": 40, "runs": 4, "steps": 400},
    True: {
        "kappas": (0.0, 0.1, 0.3, 1.0),
        "width": 20_000,
        "rows": 40,
        "draws": 80,
        "runs": 8,
        "steps": 1000,
    },
}
DIM, STEP_SIZE = 20, 0.3


@dataclass(frozen=True)
class RegimeStudy:
    """The numbers of :func:`regime_study`; K mask strengths, T numbers of steps, n rows of either kind.

    Attributes
    ----------
    rows, dim, width, draws, runs : int
    step_size : float
    kappas : (K,) float64, steps : (T,) int64
    loss, loss_error, predicted_loss : (K, T) float64
        Clean loss on the rows to train on: mean over the runs, its standard error, and the prediction.
    held_out_loss, predicted_held_out_loss : (K, T) float64
        1/2 |f - y|^2 on rows held out, f the mean outputs over the runs, and predicted.
    outputs, predicted_outputs : (K, 2n) float64
        Mean outputs after the last step, of the rows to train on, then of those held out.
    error : (K, T) float64
        |predicted - mean outputs| on the rows held out, over the norm of their change since the start.
    """

    rows: int
    dim: int
    width: int
    draws: int
    runs: int
    step_size: float
    kappas: np.ndarray
    steps: np.ndarray
    loss: np.ndarray
    loss_error: np.ndarray
    predicted_loss: np.ndarray
    held_out_loss: np.ndarray
    predicted_held_out_loss: np.ndarray
    outputs: np.ndarray
    predicted_outputs: np.ndarray
    error: np.ndarray


def regime_study(
    *,
    kappas,
    width=20_000,
    rows=40,
    draws=80,
    runs=8,
    steps=1000,
    seed=0,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Compare training runs under masks with the kernel regime, on rows trained on and on rows held out.

    Parameters
    ----------
    kappas : sequence of float
        Strengths of the Gaussian mask.
    width, rows, steps : int
        ``rows`` are trained on, as many held out: rows of norm 1 with 20 features, and a small network as
        teacher; step size 0.3.
    draws : int
        Masks for each row in the prediction: an eigenvalue problem of rows * draws.
    runs : int
        Training runs of one network, each with masks of its own.
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.train``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    RegimeStudy

    Examples
    --------
    >>> from fastntk.study import regime_study
    >>> study = regime_study(kappas=[0.1], width=2000, rows=10, draws=10, runs=2, steps=20)
    >>> bool(study.error[0, -1] < 0.2)
    True
    """
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    steps = validation.as_count(steps, "steps", low=10)
    X, y = teacher_problem(2 * rows, DIM, kind="unit", seed=seed)
    times = np.unique(np.geomspace(1, steps, 16).astype(int))
    times = np.concatenate([[0], times])
    network = Network(width, DIM, seed=seed)
    machine = {"threads": threads, "memory_limit": memory_limit}
    measured = []
    for kappa, (_, report) in zip(
        kappas, stages(progress, [f"kappa {kappa:g}" for kappa in kappas]), strict=True
    ):
        mask = GaussianMask(float(kappa)) if kappa else None
        theory = kernel_regime(
            X[:rows],
            y[:rows],
            network=network,
            mask=mask,
            step_size=STEP_SIZE,
            draws=draws,
            seed=seed,
            **machine,
        )
        predicted = theory.outputs(times, X)
        report(0.4)
        found = [
            _one_run(X, y[:rows], network, mask, times, run, machine) for run in range(runs if mask else 1)
        ]
        f, losses = (np.array(values) for values in zip(*found, strict=True))
        measured.append(_compared(f.mean(axis=0), losses, predicted, theory.loss(times), y, rows))
    return RegimeStudy(
        rows=rows,
        dim=DIM,
        width=width,
        draws=draws,
        runs=runs,
        step_size=STEP_SIZE,
        kappas=kappas,
        steps=times,
        **{name: np.array([one[name] for one in measured]) for name in measured[0]},
    )


def _one_run(X, y, network, mask, times, seed, machine):
    """(outputs on all rows (T, 2n), clean losses (T,)) of a training run at these times."""
    rows, run = len(y), None
    seen = [outputs(X, network=network, **machine)]
    for stop in times[1:]:
        run = train(
            X[:rows],
            y,
            network=network,
            mask=mask,
            step_size=STEP_SIZE,
            steps=int(stop),
            record_every=int(times[-1]),
            seed=seed,
            resume=run,
            **machine,
        )
        seen.append(outputs(X, network=run.network, **machine))
    f = np.array(seen)
    return f, 0.5 * np.square(f[:, :rows] - y).sum(axis=1)


def _compared(f, losses, predicted, predicted_loss, y, rows):
    """The fields of RegimeStudy that belong to one strength; f (T, 2n) are mean outputs."""
    unseen = slice(rows, None)
    moved = np.linalg.norm(f[:, unseen] - f[0, unseen], axis=1)
    missed = np.linalg.norm(predicted[:, unseen] - f[:, unseen], axis=1)
    return {
        "loss": losses.mean(axis=0),
        "loss_error": losses.std(axis=0) / np.sqrt(max(len(losses) - 1, 1)),
        "predicted_loss": predicted_loss,
        "held_out_loss": 0.5 * np.square(f[:, unseen] - y[unseen]).sum(axis=1),
        "predicted_held_out_loss": 0.5 * np.square(predicted[:, unseen] - y[unseen]).sum(axis=1),
        "outputs": f[-1],
        "predicted_outputs": predicted[-1],
        "error": np.divide(missed, moved, out=np.zeros_like(moved), where=moved > 0),
    }


def _compute(request, progress, folder):
    return regime_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    meaning = (
        "error of the kernel regime after the last step on rows not seen, of how far their outputs have "
        "moved, at most"
    )
    return [(percent(study.error[:, -1].max()), meaning)]


def _table(study):
    headings = ("kappa", "steps", "loss", "predicted", "held-out loss", "predicted", "error on rows not seen")
    shown = np.unique(np.linspace(1, len(study.steps) - 1, 5).astype(int))
    groups = [
        [
            (
                f"{kappa:g}",
                f"{study.steps[t]:,}",
                f"{number(study.loss[k, t], 3)} \N{PLUS-MINUS SIGN} {number(study.loss_error[k, t], 1)}",
                number(study.predicted_loss[k, t], 3),
                number(study.held_out_loss[k, t], 3),
                number(study.predicted_held_out_loss[k, t], 3),
                percent(study.error[k, t]),
            )
            for t in shown
        ]
        for k, kappa in enumerate(study.kappas)
    ]
    return headings, groups


PART = Part(
    name="regime",
    title="The kernel regime, on rows it has not seen",
    numbers=RegimeStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(6, 90),
)
