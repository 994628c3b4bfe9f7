"""How far training moves the weights, against the width."""

from dataclasses import dataclass

import numpy as np

from ... import validation
from ...figures import movement as figures
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..table import number, percent
from .part import Part, stages
from .problems import teacher_problem

SIZES = {
    False: {"widths": (100, 1000, 10_000), "kappas": (0.0, 0.2, 0.6), "rows": 200, "steps": 300},
    True: {"widths": (100, 1000, 10_000, 100_000), "kappas": (0.0, 0.2, 0.6, 1.0), "rows": 200, "steps": 500},
}
DIM, STEP_SIZE = 20, 0.04


@dataclass(frozen=True)
class MovementStudy:
    """The numbers of :func:`movement_study`; K mask strengths, W widths.

    Attributes
    ----------
    rows, dim, steps : int
    step_size : float
    kappas : (K,) float64, widths : (W,) int64
    farthest, whole : (K, W) float64
        max_r |w_r - w_r0| and |W - W_0|_F after the last step.
    flipped : (K, W) float64
        Share of the activation bits that are not what they were.
    loss : (K, W) float64
        Clean loss after the last step.
    """

    rows: int
    dim: int
    steps: int
    step_size: float
    kappas: np.ndarray
    widths: np.ndarray
    farthest: np.ndarray
    whole: np.ndarray
    flipped: np.ndarray
    loss: np.ndarray

    @property
    def slopes(self):
        """Slopes of log farthest and of log flipped against log width, (K,) each; NaN where a value is 0."""
        return tuple(
            np.array([_slope(self.widths, line) for line in values])
            for values in (self.farthest, self.flipped)
        )


def movement_study(
    *, widths, kappas, rows=200, steps=500, seed=0, threads=None, memory_limit=None, progress=None
):
    """Train networks of growing width on one problem and record how far their weights move.

    Parameters
    ----------
    widths : sequence of int
        At least two.
    kappas : sequence of float
    rows, steps : int
        Rows of norm 1 with 20 features and a small network as their teacher; step size 0.04.
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.train``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    MovementStudy

    Examples
    --------
    >>> from fastntk.study import movement_study
    >>> study = movement_study(widths=[100, 400, 1600], kappas=[0.0], rows=20, steps=50)
    >>> bool(-0.7 < study.slopes[0][0] < -0.3)
    True
    """
    widths, kappas = (validation.as_ascending(*pair) for pair in ((widths, "widths"), (kappas, "kappas")))
    if len(widths) < 2:
        raise ValueError(f"widths holds {widths[0]} alone; give two or more, for a slope.")
    X, y = teacher_problem(rows, DIM, kind="unit", seed=seed)
    stage = stages(progress, [f"width {m:,}, kappa {kappa:g}" for kappa in kappas for m in widths])
    ends = np.empty((4, len(kappas), len(widths)))
    for k, kappa in enumerate(kappas):
        for w, width in enumerate(widths):
            _, report = next(stage)
            run = train(
                X,
                y,
                network=Network(width, DIM, seed=seed),
                mask=GaussianMask(float(kappa)),
                step_size=STEP_SIZE,
                steps=steps,
                record_every=steps,
                seed=seed,
                threads=threads,
                memory_limit=memory_limit,
                progress=lambda done, total, report=report: report(done / total),
            )
            ends[:, k, w] = run.max_distance[-1], run.distance[-1], run.flipped[-1], run.clean_loss[-1]
    farthest, whole, flipped, loss = ends
    return MovementStudy(
        rows=rows,
        dim=DIM,
        steps=steps,
        step_size=STEP_SIZE,
        kappas=np.array(kappas, float),
        widths=np.array(widths, int),
        farthest=farthest,
        whole=whole,
        flipped=flipped,
        loss=loss,
    )


def _slope(widths, values):
    return np.polyfit(np.log(widths), np.log(values), 1)[0] if values.all() else np.nan


def _compute(request, progress, folder):
    return movement_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    slopes = sorted(f"\N{MINUS SIGN}{-slope:.2f}" for slope in study.slopes[0])
    meaning = (
        "slope of the movement of the farthest neuron against width, log against log; "
        "\N{MINUS SIGN}0.50 is expected"
    )
    return [(" to ".join(dict.fromkeys((slopes[0], slopes[-1]))), meaning)]


def _table(study):
    headings = ("kappa", "width", "farthest neuron", "all weights", "flipped", "loss at the end")
    groups = [
        [
            (
                f"{kappa:g}",
                f"{width:,}",
                number(study.farthest[k, w], 3),
                number(study.whole[k, w], 3),
                percent(study.flipped[k, w]),
                number(study.loss[k, w], 3),
            )
            for w, width in enumerate(study.widths)
        ]
        for k, kappa in enumerate(study.kappas)
    ]
    return headings, groups


PART = Part(
    name="movement",
    title="How far training moves the weights",
    numbers=MovementStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(3, 40),
)
