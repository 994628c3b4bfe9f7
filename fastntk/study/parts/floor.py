"""What is left of the loss in the end, against the strength of the mask."""

from dataclasses import dataclass

import numpy as np

from ... import validation
from ...dynamics import predict_loss
from ...figures import floor as figures
from ...masks import GaussianMask
from ...network import Network
from ..table import number
from .part import Part, as_fields, stages
from .plateau import divergence_is_shown, noise_about_mean, train_to_plateau
from .problems import teacher_problem

SIZES = {
    False: {"kappas": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0), "steps": 1200},
    True: {"kappas": (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0), "steps": 6000},
}
DIM = 20
# Two problems of one size at two step sizes, which converge before the floor is measured, and the paper's.
PROBLEMS = {
    "small step": {"kind": "unit", "rows": 60, "width": 300, "step_size": 0.1},
    "large step": {"kind": "unit", "rows": 60, "width": 300, "step_size": 0.5},
    "paper": {"kind": "normal", "rows": 500, "width": 100, "step_size": 0.005},
}
WINDOW = 0.4  # of the steps, the last ones


@dataclass(frozen=True)
class FloorStudy:
    """The numbers of :func:`floor_study`; P problems, K mask strengths.

    Attributes
    ----------
    problems : (P,) texts
        "small step", "large step" and "paper".
    rows, widths : (P,) int64
    step_sizes : (P,) float64
    dim, steps : int
    kappas : (K,) float64
    floor, error : (P, K) float64
        Mean clean loss over the last two fifths of the steps, and its standard error.
    mean_part, noise : (P, K) float64
        The clean loss at the mean weights of that time, and what noise should add about them.
    noise_floor, small_mask_floor, small_step_floor : (P, K) float64
        What noise should keep up at these weights: from the stationary covariance, to lowest order in the
        mask, and in the step size as well.
    """

    problems: tuple
    rows: np.ndarray
    widths: np.ndarray
    step_sizes: np.ndarray
    dim: int
    steps: int
    kappas: np.ndarray
    floor: np.ndarray
    error: np.ndarray
    mean_part: np.ndarray
    noise: np.ndarray
    noise_floor: np.ndarray
    small_mask_floor: np.ndarray
    small_step_floor: np.ndarray

    @property
    def predicted(self):
        """mean_part + noise, (P, K)."""
        return self.mean_part + self.noise


def floor_study(*, kappas, steps=1200, seed=0, threads=None, memory_limit=None, progress=None):
    """Measure the loss that masks keep up, and compare it with what the linear theory says at the plateau.

    Parameters
    ----------
    kappas : sequence of float
        Strengths of the Gaussian mask, above 0.
    steps : int
        Of each run.
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.train``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    FloorStudy

    Notes
    -----
    Cost: 3 len(kappas) training runs of 100 to 300 neurons on 60 to 500 rows.

    Examples
    --------
    >>> from fastntk.study import floor_study
    >>> study = floor_study(kappas=[0.1, 0.4], steps=200)
    >>> study.floor.shape, bool((study.floor[:, 1] > study.floor[:, 0]).all())
    ((3, 2), True)
    """
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    steps = validation.as_count(steps, "steps", low=100)
    stage = stages(progress, [f"{name}, kappa {kappa:g}" for name in PROBLEMS for kappa in kappas])
    machine = {"threads": threads, "memory_limit": memory_limit}
    measured = [
        [_one_run(kappa, problem, steps, seed, machine, next(stage)[1]) for kappa in kappas]
        for problem in PROBLEMS.values()
    ]
    return FloorStudy(
        problems=tuple(PROBLEMS),
        rows=np.array([problem["rows"] for problem in PROBLEMS.values()]),
        widths=np.array([problem["width"] for problem in PROBLEMS.values()]),
        step_sizes=np.array([problem["step_size"] for problem in PROBLEMS.values()]),
        dim=DIM,
        steps=steps,
        kappas=kappas,
        **as_fields(measured),
    )


def _one_run(kappa, problem, steps, seed, machine, report):
    """The fields of FloorStudy that belong to one problem and one strength."""
    X, y = teacher_problem(problem["rows"], DIM, kind=problem["kind"], seed=seed)
    mask, step_size, window = GaussianMask(float(kappa)), problem["step_size"], int(WINDOW * steps)
    with divergence_is_shown():
        end = train_to_plateau(
            X,
            y,
            network=Network(problem["width"], DIM, seed=seed),
            mask=mask,
            step_size=step_size,
            steps=steps,
            window=window,
            record_every=2,
            seed=seed,
            **machine,
            progress=report,
        )
    names = ("mean_part", "noise", "noise_floor", "small_mask_floor", "small_step_floor")
    values = dict.fromkeys(names, np.nan)
    if end.network is not None:
        there = predict_loss(
            X, y, network=end.network, mask=mask, step_size=step_size, plateau=False, **machine
        )
        floors = there.noise_floor, there.small_mask_noise_floor, there.small_step_noise_floor
        parts = float(there.loss(0)), noise_about_mean(there, window), *floors
        values = dict(zip(names, parts, strict=True))
    return {"floor": end.loss, "error": end.error, **values}


def _compute(request, progress, folder):
    return floor_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    ratio = study.floor / study.predicted
    share = (study.floor / np.square(study.kappas))[study.problems.index("paper")]
    square = "\N{GREEK SMALL LETTER KAPPA}\N{SUPERSCRIPT TWO}"
    varies = (
        f"is by how much floor / {square} varies in the paper's setting: the floor is not simply "
        f"proportional to {square}"
    )
    return [
        (
            f"{np.nanmin(ratio):.2f} to {np.nanmax(ratio):.2f}",
            "measured over predicted floor, over problems and mask strengths",
        ),
        (f"{number(np.nanmax(share) / np.nanmin(share), 2)} \N{MULTIPLICATION SIGN}", varies),
    ]


def _table(study):
    headings = (
        "problem",
        "kappa",
        "floor",
        "predicted",
        "ratio",
        "of the mean weights",
        "noise about them",
        "noise floor",
        "for weak masks",
        "floor / kappa^2",
    )

    def line(p, k):
        kappa, floor = study.kappas[k], study.floor[p, k]
        if not np.isfinite(floor):
            return (study.problems[p], f"{kappa:g}", "diverged", *[""] * 7)
        return (
            study.problems[p],
            f"{kappa:g}",
            f"{number(floor, 3)} \N{PLUS-MINUS SIGN} {number(study.error[p, k], 1)}",
            number(study.predicted[p, k], 3),
            f"{floor / study.predicted[p, k]:.2f}",
            number(study.mean_part[p, k], 3),
            number(study.noise[p, k], 3),
            number(study.noise_floor[p, k], 3),
            number(study.small_mask_floor[p, k], 3),
            number(floor / kappa**2, 3),
        )

    return headings, [[line(p, k) for k in range(len(study.kappas))] for p in range(len(study.problems))]


PART = Part(
    name="floor",
    title="The floor against the strength of the mask",
    numbers=FloorStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(20, 105),
)
