"""Where a proof of convergence applies: the certificate over widths and mask strengths."""

from dataclasses import dataclass

import numpy as np

from ... import validation
from ...certificate import certify
from ...figures import certificate as figures
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..table import number
from .part import Part, stages

SIZES = {
    False: {"widths": (500, 2000, 8000, 32_000), "kappas": (0.0, 1e-5, 1e-4, 1e-3, 1e-2)},
    True: {"widths": (500, 2000, 8000, 32_000, 128_000), "kappas": (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 1e-2)},
}
ROWS, DIM, STEP_SIZE = 4, 50, 1.0


@dataclass(frozen=True)
class CertificateStudy:
    """The numbers of :func:`certificate_study`; K mask strengths, W widths.

    Attributes
    ----------
    rows, dim, steps : int
    step_size, delta : float
    kappas : (K,) float64, widths : (W,) int64
    ok : (K, W) bool
        Whether there is a certificate.
    rate, ball, slack : (K, W) float64
        Those of the best radius; infinite or 0 where a hypothesis fails before they are defined.
    residual : (K, W) float64
        |r| after the last step of a training run with the same network and strength.
    shown : (2,) int64
        Places (k, w) of the certificate whose run is kept: the strongest mask of those that are certified, at
        the largest width, or else the first of all.
    shown_residuals, shown_bound : (steps + 1,) float64
        |r_t| of that run, and what the certificate allows.
    """

    rows: int
    dim: int
    steps: int
    step_size: float
    delta: float
    kappas: np.ndarray
    widths: np.ndarray
    ok: np.ndarray
    rate: np.ndarray
    ball: np.ndarray
    slack: np.ndarray
    residual: np.ndarray
    shown: np.ndarray
    shown_residuals: np.ndarray
    shown_bound: np.ndarray


def certificate_study(
    *, widths, kappas, steps=50, delta=0.01, seed=0, threads=None, memory_limit=None, progress=None
):
    """Look for certificates over widths and mask strengths on a small problem, and train each network too.

    Four random unit rows of 50 features with random answers; step size 1.

    Parameters
    ----------
    widths : sequence of int
    kappas : sequence of float
    steps : int
    delta : float
        Probability that a certificate may fail, over the masks.
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.certify``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    CertificateStudy

    Examples
    --------
    >>> from fastntk.study import certificate_study
    >>> study = certificate_study(widths=[500, 32_000], kappas=[0.0, 0.1], steps=20)
    >>> study.ok
    array([[False,  True],
           [False, False]])
    """
    widths, kappas = (validation.as_ascending(*pair) for pair in ((widths, "widths"), (kappas, "kappas")))
    rng = np.random.default_rng([seed, 4])
    X = rng.standard_normal((ROWS, DIM))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    y = rng.standard_normal(ROWS)
    stage = stages(progress, [f"width {m:,}, kappa {kappa:g}" for kappa in kappas for m in widths])
    found, residuals = [], []
    for kappa in kappas:
        for width in widths:
            next(stage)
            problem = {"network": Network(width, DIM, seed=seed), "mask": GaussianMask(float(kappa))}
            options = {
                "step_size": STEP_SIZE,
                "steps": steps,
                "threads": threads,
                "memory_limit": memory_limit,
            }
            found.append(certify(X, y, delta=delta, **problem, **options))
            run = train(X, y, seed=seed, record_every=1, **problem, **options)
            residuals.append(np.sqrt(2 * run.clean_loss))
    shape = len(kappas), len(widths)

    def over(values, kind=float):
        return np.array(list(values), kind).reshape(shape)

    ok = over((one.ok for one in found), bool)
    k = np.flatnonzero(ok[:, -1])[-1] if ok[:, -1].any() else 0
    place = int(k) * len(widths) + len(widths) - 1
    return CertificateStudy(
        rows=ROWS,
        dim=DIM,
        steps=steps,
        step_size=STEP_SIZE,
        delta=delta,
        kappas=np.array(kappas, float),
        widths=np.array(widths, int),
        ok=ok,
        rate=over(one.rate for one in found),
        ball=over(one.ball for one in found),
        slack=over(one.slack for one in found),
        residual=over(values[-1] for values in residuals),
        shown=np.array([k, len(widths) - 1]),
        shown_residuals=residuals[place],
        shown_bound=found[place].bound(np.arange(steps + 1)),
    )


def _compute(request, progress, folder):
    return certificate_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    worst = number(study.residual.max(), 2)
    meaning = (
        "small networks have a proof that their training converges; all of them did, to "
        f"|f \N{MINUS SIGN} y| = {worst} or less"
    )
    return [(f"{np.count_nonzero(study.ok)} of {study.ok.size}", meaning)]


def _table(study):
    headings = (
        "kappa",
        "width",
        "proof",
        "rate",
        "radius / movement",
        "allowed at the end",
        "|f - y| at the end",
    )
    groups = [
        [
            (
                f"{kappa:g}",
                f"{width:,}",
                "yes" if study.ok[k, w] else "no",
                number(study.rate[k, w], 3),
                f"{study.slack[k, w]:.2f}",
                number(study.ball[k, w], 2) if study.ok[k, w] else "",
                number(study.residual[k, w], 2),
            )
            for w, width in enumerate(study.widths)
        ]
        for k, kappa in enumerate(study.kappas)
    ]
    return headings, groups


PART = Part(
    name="certificate",
    title="Where a proof applies",
    numbers=CertificateStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(6, 25),
)
