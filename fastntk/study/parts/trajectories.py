"""Losses over the steps of masked training, predicted and measured, narrow and wide."""

from dataclasses import dataclass

import numpy as np

from ... import validation
from ...dynamics import predict_loss
from ...figures import trajectories as figures
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..table import number
from .part import Part, as_fields, stages
from .plateau import divergence_is_shown, noise_about_mean, padded, train_to_plateau
from .problems import ROWS, teacher_problem

SIZES = {
    False: {
        "kappas": (0.0, 0.05, 0.2, 0.4, 0.6, 1.0, 2.0),
        "rows": 500,
        "width": 100,
        "steps": 700,
        "wide_kappas": (0.0, 0.2, 0.6),
        "wide_widths": (1000, 4000),
    },
    True: {
        "kappas": (0.0, 0.05, 0.2, 0.4, 0.6, 1.0, 2.0),
        "rows": 500,
        "width": 100,
        "steps": 2000,
        "wide_kappas": (0.0, 0.2, 0.6),
        "wide_widths": (1000, 10_000, 100_000),
    },
}
DIM = 20
STEP_SIZES = {"unit": 0.04, "normal": 0.005}  # the paper's for normal entries; unit rows allow a larger one
RECORDS = 100  # in a run
WINDOW = 0.2  # of the steps, the last ones, over which a floor is measured


@dataclass(frozen=True)
class TrajectoryStudy:
    """The numbers of :func:`trajectory_study`: two kinds of rows, K mask strengths, T recorded steps.

    Attributes
    ----------
    kinds : (2,) texts
        "unit" and "normal" (``problems.ROWS``).
    rows, dim, width, step_count : int
    step_sizes : (2,) float64
    kappas : (K,) float64
    steps : (T,) int64
    loss, masked_loss, predicted : (2, K, T) float64
        Clean and masked losses before the steps, and the clean loss that the linear theory at the initial
        network predicts; losses are NaN after a divergence.
    stability : (2, K) float64
        Step size times the mean largest eigenvalue of the masked kernel at the start.
    diverged : (2, K) bool
    floor, floor_error : (2, K) float64
        Mean clean loss over the last fifth of the steps and its standard error; NaN after a divergence.
    floor_mean, floor_noise : (2, K) float64
        What the floor should be: the clean loss at the mean weights of that time, and the noise about it.
    wide_kappas : (k,), wide_widths : (W,)
    wide_loss : (k, W, T) float64
        Clean losses of wider networks on unit rows; NaN after a divergence.
    wide_predicted : (k, T) float64
        What the linear theory predicts at the largest width from the initial network.
    """

    kinds: tuple
    rows: int
    dim: int
    width: int
    step_count: int
    step_sizes: np.ndarray
    kappas: np.ndarray
    steps: np.ndarray
    loss: np.ndarray
    masked_loss: np.ndarray
    predicted: np.ndarray
    stability: np.ndarray
    diverged: np.ndarray
    floor: np.ndarray
    floor_error: np.ndarray
    floor_mean: np.ndarray
    floor_noise: np.ndarray
    wide_kappas: np.ndarray
    wide_widths: np.ndarray
    wide_loss: np.ndarray
    wide_predicted: np.ndarray

    @property
    def predicted_floor(self):
        """floor_mean + floor_noise, (2, K)."""
        return self.floor_mean + self.floor_noise


def trajectory_study(
    *,
    kappas,
    rows=500,
    width=100,
    steps=2000,
    wide_kappas=(),
    wide_widths=(),
    seed=0,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Train a network under masks of several strengths, and compare with what theory says beforehand.

    On rows of norm 1 and on rows of standard normal entries, 20 features each, with a small network as the
    teacher; step sizes are the same for all strengths, 0.04 and 0.005, so that a strong mask may diverge.

    Parameters
    ----------
    kappas, wide_kappas : sequences of float
        Strengths of the Gaussian mask; the second ones for the wide networks.
    rows, width, steps : int
    wide_widths : sequence of int
        At least one with ``wide_kappas``.
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.train``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    TrajectoryStudy

    Notes
    -----
    Cost: 2 len(kappas) training runs of the narrow width and as many of each wide one and strength.

    Examples
    --------
    >>> from fastntk.study import trajectory_study
    >>> study = trajectory_study(kappas=[0.0, 0.4], rows=30, steps=100)
    >>> study.loss.shape, bool((study.loss[:, :, -1] < study.loss[:, :, 0]).all())
    ((2, 2, 101), True)
    """
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    wide_kappas = np.array(validation.as_ascending(wide_kappas, "wide_kappas") if len(wide_kappas) else [])
    if len(wide_kappas):
        wide_widths = validation.as_ascending(wide_widths, "wide_widths")
    steps = validation.as_count(steps, "steps", low=20)
    every = max(1, steps // RECORDS)
    network = Network(width, DIM, seed=seed)
    machine = {"threads": threads, "memory_limit": memory_limit}
    options = {"steps": steps, "record_every": every, "seed": seed, **machine}
    names = [f"{ROWS[kind]}, kappa {kappa:g}" for kind in ROWS for kappa in kappas]
    names += [f"width {m:,}, kappa {kappa:g}" for kappa in wide_kappas for m in wide_widths]
    stage = stages(progress, names)

    measured = []
    for kind in ROWS:
        X, y = teacher_problem(rows, DIM, kind=kind, seed=seed)
        task = X, y, network, STEP_SIZES[kind], options, machine
        measured.append([_one_run(kappa, *task, next(stage)[1]) for kappa in kappas])
    X, y = teacher_problem(rows, DIM, kind="unit", seed=seed)
    wide_loss = np.array(
        [[_wide_loss(kappa, m, X, y, options, next(stage)[1]) for m in wide_widths] for kappa in wide_kappas]
    )
    recorded = np.arange(0, steps + 1, every)
    wide_predicted = [
        _theory(kappa, Network(max(wide_widths), DIM, seed=seed), X, y, STEP_SIZES["unit"], machine).loss(
            recorded
        )
        for kappa in wide_kappas
    ]
    return TrajectoryStudy(
        kinds=tuple(ROWS),
        rows=rows,
        dim=DIM,
        width=width,
        step_count=steps,
        step_sizes=np.array([STEP_SIZES[kind] for kind in ROWS]),
        kappas=kappas,
        steps=recorded,
        **as_fields(measured),
        wide_kappas=wide_kappas,
        wide_widths=np.array(wide_widths, int),
        wide_loss=wide_loss,
        wide_predicted=np.array(wide_predicted),
    )


def _one_run(kappa, X, y, network, step_size, options, machine, report):
    """The fields of TrajectoryStudy that belong to one kind of rows and one strength."""
    theory = _theory(kappa, network, X, y, step_size, machine)
    window = int(WINDOW * options["steps"])
    with divergence_is_shown():
        end = train_to_plateau(
            X,
            y,
            network=network,
            mask=GaussianMask(float(kappa)),
            step_size=step_size,
            window=window,
            progress=report,
            **options,
        )
    run, steps = end.run, np.arange(0, options["steps"] + 1, options["record_every"])
    floor_mean = floor_noise = np.nan
    if end.network is not None:
        there = _theory(kappa, end.network, X, y, step_size, machine)
        floor_mean, floor_noise = there.loss(0), noise_about_mean(there, window)
    return {
        "loss": padded(run.clean_loss, len(steps)),
        "masked_loss": padded(run.masked_loss, len(steps)),
        "predicted": theory.loss(steps),
        "stability": theory.stability,
        "diverged": run.status == "diverged",
        "floor": end.loss,
        "floor_error": end.error,
        "floor_mean": floor_mean,
        "floor_noise": floor_noise,
    }


def _theory(kappa, network, X, y, step_size, machine):
    mask = GaussianMask(float(kappa))
    return predict_loss(X, y, network=network, mask=mask, step_size=step_size, plateau=False, **machine)


def _wide_loss(kappa, width, X, y, options, report):
    with divergence_is_shown():
        run = train(
            X,
            y,
            network=Network(width, DIM, seed=options["seed"]),
            mask=GaussianMask(float(kappa)),
            step_size=STEP_SIZES["unit"],
            progress=lambda done, total: report(done / total),
            **options,
        )
    return padded(run.clean_loss, options["steps"] // options["record_every"] + 1)


def _compute(request, progress, folder):
    return trajectory_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    ratio = (study.floor / study.predicted_floor)[:, study.kappas > 0]
    found = [
        (
            f"{np.nanmin(ratio):.2f} to {np.nanmax(ratio):.2f}",
            "measured over predicted loss at the end, over mask strengths and two kinds of rows",
        )
    ]
    normal = study.kinds.index("normal")
    diverged = [f"{kappa:g}" for kappa in study.kappas[study.diverged[normal]]]
    if diverged:
        product = study.stability[normal, study.diverged[normal]].min()
        meaning = (
            "diverges on rows of normal entries, as step size \N{MULTIPLICATION SIGN} eigenvalue = "
            f"{product:.1f} predicts"
        )
        found.append((f"\N{GREEK SMALL LETTER KAPPA} = {', '.join(diverged)}", meaning))
    return found


def _table(study):
    headings = (
        "rows",
        "kappa",
        "step size x eigenvalue",
        "loss at the end",
        "predicted",
        "of the mean weights",
        "noise",
        "predicted at the start",
    )

    def per_row(value, digits=3):
        return number(value / study.rows, digits) if np.isfinite(value) else ""

    def line(p, k):
        measured = f"{per_row(study.floor[p, k])} \N{PLUS-MINUS SIGN} {per_row(study.floor_error[p, k], 1)}"
        return (
            study.kinds[p],
            f"{study.kappas[k]:g}",
            f"{study.stability[p, k]:.2f}",
            "diverged" if study.diverged[p, k] else measured,
            per_row(study.predicted_floor[p, k]),
            per_row(study.floor_mean[p, k]),
            per_row(study.floor_noise[p, k]),
            per_row(study.predicted[p, k, -1]),
        )

    return headings, [[line(p, k) for k in range(len(study.kappas))] for p in range(2)]


PART = Part(
    name="training",
    title="Losses over the steps",
    numbers=TrajectoryStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(24, 265),
)
