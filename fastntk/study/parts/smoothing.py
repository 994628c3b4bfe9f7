"""What a Gaussian mask makes of a ReLU, exact and by the paper's proxy, against Monte Carlo."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ... import validation
from ...figures import smoothing as figures
from ...gaussian import proxy_relu, smoothed_relu, variance
from ...masks import GaussianMask
from ...network import Network
from ...smoothing import expected_loss, expected_outputs
from ..table import number, percent
from .part import Part, stages
from .problems import teacher_problem

SIZES = {
    False: {"kappas": (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0), "neurons": 150, "draws": 3000, "rows": 40},
    True: {"kappas": (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.4, 2.0), "neurons": 300, "draws": 20_000, "rows": 100},
}
DIM = 20
WIDTH = 100  # of the network whose loss is decomposed
CURVE = np.linspace(
    -3, 3, 241
)  # preactivations at which the smoothed ReLU is drawn, in units of their spread


@dataclass(frozen=True)
class SmoothingStudy:
    """The numbers of :func:`smoothing_study`; K mask strengths.

    Attributes
    ----------
    kappas : (K,) float64
    dim, neurons, draws, width, rows : int
    mean_gap, proxy_gap, plain_gap : (K,) float64
        Root mean square over the neurons, in units of the spread of their preactivations, of the difference
        between the simulated mean of relu(h~) and the closed form, the proxy, and relu(h).
    simulation_error : (K,) float64
        Root mean square of the standard errors of the simulated means, in the same units.
    largest_score : (K,) float64
        The largest difference between closed form and simulation, in standard errors, over the neurons that
        30 masks or more should switch on.
    flips, predicted_flips : (K,) float64
        The share of masks under which a neuron switches, simulated, and Phi(-|t|); means over the neurons.
    curve_z, curve_mean, curve_proxy : (P,), (K, P), (K, P) float64
        The smoothed ReLU and its proxy against the preactivation, at the mean deviation of each kappa.
    sample_z, sample_mean, sample_error : (K, Q) float64
        Simulated points of the curve.
    loss, loss_error : (K,) float64
        Simulated mean of the masked loss of a network, and its standard error.
    smoothed_mse, regulariser : (K,) float64
        The two parts of the mean loss in closed form.
    proxy_mse : (K,) float64
        The first part with the proxy in place of the mean.
    """

    kappas: np.ndarray
    dim: int
    neurons: int
    draws: int
    width: int
    rows: int
    mean_gap: np.ndarray
    proxy_gap: np.ndarray
    plain_gap: np.ndarray
    simulation_error: np.ndarray
    largest_score: np.ndarray
    flips: np.ndarray
    predicted_flips: np.ndarray
    curve_z: np.ndarray
    curve_mean: np.ndarray
    curve_proxy: np.ndarray
    sample_z: np.ndarray
    sample_mean: np.ndarray
    sample_error: np.ndarray
    loss: np.ndarray
    loss_error: np.ndarray
    smoothed_mse: np.ndarray
    regulariser: np.ndarray
    proxy_mse: np.ndarray


def smoothing_study(
    *, kappas, neurons=200, draws=4000, rows=40, seed=0, threads=None, memory_limit=None, progress=None
):
    """Compare the mean of a masked ReLU, and of a masked loss, with their closed forms.

    Random unit inputs of 20 features and random neurons, one mask for each neuron and draw; and a network of
    100 neurons on ``rows`` inputs with a teacher's answers.

    Parameters
    ----------
    kappas : sequence of float
        Strengths of the Gaussian mask, above 0.
    neurons, draws, rows : int
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.expected_loss``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    SmoothingStudy

    Notes
    -----
    Cost: len(kappas) * neurons * draws * 20 normals, and as many as 100 * rows * draws preactivations.

    Examples
    --------
    >>> from fastntk.study import smoothing_study
    >>> study = smoothing_study(kappas=[0.2, 1.0], neurons=50, draws=400, rows=5)
    >>> bool((study.mean_gap < study.proxy_gap).all())
    True
    """
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    validation.as_count(draws, "draws", low=2)
    machine = {"threads": threads, "memory_limit": memory_limit}
    rng = np.random.default_rng([seed, 1])
    X = rng.standard_normal((validation.as_count(neurons, "neurons"), DIM))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    W = rng.standard_normal(X.shape)
    problem = teacher_problem(rows, DIM, kind="unit", seed=seed)
    measured = []
    for kappa, (_, report) in zip(
        kappas, stages(progress, [f"kappa {kappa:g}" for kappa in kappas]), strict=True
    ):
        one = _neurons_under(kappa, X, W, draws, rng) | _curve_under(kappa, draws, rng)
        report(0.5)
        measured.append(one | _loss_under(kappa, problem, draws, seed, rng, machine))
    return SmoothingStudy(
        kappas=kappas,
        dim=DIM,
        neurons=neurons,
        draws=draws,
        width=WIDTH,
        rows=rows,
        curve_z=CURVE,
        **{name: np.array([one[name] for one in measured]) for name in measured[0]},
    )


def _neurons_under(kappa, X, W, draws, rng):
    """Differences between simulation and closed forms, over the neurons."""
    z, s = (X * W).sum(axis=1), kappa * np.linalg.norm(X * W, axis=1)
    mean, error, flipped = np.empty((3, len(X)))
    for r, products in enumerate(X * W):
        h = (1 + kappa * rng.standard_normal((draws, DIM))) @ products
        relu = np.maximum(h, 0)
        mean[r], error[r] = relu.mean(), relu.std(ddof=1) / np.sqrt(draws)
        flipped[r] = ((h > 0) != (z[r] > 0)).mean()
    spread = np.sqrt(np.mean(np.square(z)))

    def size(values):
        return np.sqrt(np.mean(np.square(values))) / spread

    seen = (
        ndtr(z / s) * draws >= 30
    )  # enough masks switch the neuron on for a standard error to mean something
    exact = np.sqrt(variance(z, s) / draws)
    return {
        "mean_gap": size(smoothed_relu(z, s) - mean),
        "proxy_gap": size(proxy_relu(z, s) - mean),
        "plain_gap": size(np.maximum(z, 0) - mean),
        "simulation_error": size(error),
        "largest_score": np.abs((smoothed_relu(z, s) - mean)[seen] / exact[seen]).max(),
        "flips": flipped.mean(),
        "predicted_flips": ndtr(-np.abs(z) / s).mean(),
    }


def _curve_under(kappa, draws, rng):
    """The smoothed ReLU of a neuron of deviation kappa, drawn and simulated."""
    at = np.linspace(-2.5, 2.5, 11)
    relu = np.maximum(at[:, np.newaxis] + kappa * rng.standard_normal((len(at), draws)), 0)
    return {
        "curve_mean": smoothed_relu(CURVE, kappa),
        "curve_proxy": proxy_relu(CURVE, kappa),
        "sample_z": at,
        "sample_mean": relu.mean(axis=1),
        "sample_error": relu.std(axis=1, ddof=1) / np.sqrt(draws),
    }


def _loss_under(kappa, problem, draws, seed, rng, machine):
    """The masked loss of a network, simulated and in two parts."""
    X, y = problem
    network, mask = Network(WIDTH, DIM, seed=seed), GaussianMask(float(kappa))
    expected = expected_loss(X, y, network=network, mask=mask, **machine)
    proxy = expected_outputs(X, network=network, mask=mask, proxy=True, **machine)
    W, a = network.weights(), network.output_weights()
    losses = np.empty(draws)
    for draw in range(draws):
        masked = X * (1 + kappa * rng.standard_normal(X.shape))
        losses[draw] = 0.5 * np.square(np.maximum(masked @ W.T, 0) @ a / np.sqrt(WIDTH) - y).sum()
    return {
        "loss": losses.mean(),
        "loss_error": losses.std(ddof=1) / np.sqrt(draws),
        "smoothed_mse": expected.smoothed_mse,
        "regulariser": expected.regulariser,
        "proxy_mse": 0.5 * np.square(proxy - y).sum(),
    }


def _compute(request, progress, folder):
    return smoothing_study(**SIZES[request.full], seed=request.seed, progress=progress, **request.machine)


def _findings(study):
    count, ratio = study.neurons * len(study.kappas), study.proxy_gap[-1] / study.plain_gap[-1]
    closed = f"standard errors at most between closed form and simulation, over {count:,} neurons and masks"
    proxy = (
        "as far from the mean of the ReLU is the proxy as no smoothing at all, at "
        f"\N{GREEK SMALL LETTER KAPPA} = {study.kappas[-1]:g}"
    )
    return [
        (f"{study.largest_score.max():.1f}", closed),
        (f"{number(ratio, 2)} \N{MULTIPLICATION SIGN}", proxy),
    ]


def _table(study):
    headings = (
        "kappa",
        "mean off by",
        "simulation error",
        "proxy off by",
        "plain ReLU off by",
        "flips",
        "predicted",
        "mean loss, simulated",
        "smoothed MSE",
        "regulariser",
        "their sum",
        "MSE of the proxy",
    )
    rows = [
        (
            f"{kappa:g}",
            number(study.mean_gap[k], 2),
            number(study.simulation_error[k], 2),
            number(study.proxy_gap[k], 3),
            number(study.plain_gap[k], 3),
            percent(study.flips[k]),
            percent(study.predicted_flips[k]),
            f"{number(study.loss[k])} \N{PLUS-MINUS SIGN} {number(study.loss_error[k], 1)}",
            number(study.smoothed_mse[k]),
            number(study.regulariser[k]),
            number(study.smoothed_mse[k] + study.regulariser[k]),
            number(study.proxy_mse[k]),
        )
        for k, kappa in enumerate(study.kappas)
    ]
    return headings, [rows]


PART = Part(
    name="smoothing",
    title="The ReLU under a mask",
    numbers=SmoothingStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(5, 40),
)
