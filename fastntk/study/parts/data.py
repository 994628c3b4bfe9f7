"""Floors and scores on real data, predicted and measured."""

from dataclasses import dataclass, replace

import numpy as np

from ... import datasets, validation
from ...dynamics import predict_loss
from ...figures import data as figures
from ...kernels.reference import HOLD_OUT_STREAM, shuffled
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..scores import final_score
from ..table import number, percent
from ..task import make_task
from .part import Part, as_fields, stages
from .plateau import divergence_is_shown, noise_about_mean, padded, train_to_plateau

SIZES = {
    False: {"kappas": (0.0, 0.1, 0.3, 1.0), "width": 384, "steps": 300, "most_rows": 400},
    True: {"kappas": (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0), "width": 1024, "steps": 1000, "most_rows": 1500},
}
DATA = {
    "digits": "unit",
    "diabetes": "standardize",
    "breast_cancer": "standardize",
}  # and how rows are scaled
TEST_FRACTION = 0.2
WINDOW = 0.3  # of the steps, the last ones, over which a floor is measured
RECORDS = 100
AT_THE_END = (
    "floor_mean",
    "floor_noise",
    "score",
    "held_out_score",
    "masked_score",
    "masked_spread",
)


@dataclass(frozen=True)
class DataStudy:
    """The numbers of :func:`data_study`; D data sets, K mask strengths, T recorded steps; losses per row.

    Attributes
    ----------
    names, score_names : (D,) texts
        Data sets; "accuracy" or "R^2".
    rows, held_out, features, outputs : (D,) int64
    width, step_count : int
    step_sizes : (D,) float64
        The same for all strengths of a data set: half of what is stable under the strongest.  Should a run
        diverge all the same, its losses from there on, floors and scores are NaN.
    kappas : (K,) float64
    steps : (T,) int64
    loss, predicted : (D, K, T) float64
        Clean loss on the rows to train on; and what the linear theory at the initial network predicts.
    floor, floor_error, floor_mean, floor_noise : (D, K) float64
        The mean loss over the last steps and its standard error; the loss at the mean weights of that time,
        and what noise should add about them.
    score, held_out_score : (D, K) float64
        Of the last network on the rows as they are.
    masked_score, masked_spread : (D, K) float64
        On rows held out under new masks: mean and standard deviation over eight draws.
    """

    names: tuple
    score_names: tuple
    rows: np.ndarray
    held_out: np.ndarray
    features: np.ndarray
    outputs: np.ndarray
    width: int
    step_count: int
    step_sizes: np.ndarray
    kappas: np.ndarray
    steps: np.ndarray
    loss: np.ndarray
    predicted: np.ndarray
    floor: np.ndarray
    floor_error: np.ndarray
    floor_mean: np.ndarray
    floor_noise: np.ndarray
    score: np.ndarray
    held_out_score: np.ndarray
    masked_score: np.ndarray
    masked_spread: np.ndarray

    @property
    def predicted_floor(self):
        """floor_mean + floor_noise, (D, K)."""
        return self.floor_mean + self.floor_noise


def data_study(
    tasks, *, kappas, width=1024, steps=1500, seed=0, threads=None, memory_limit=None, progress=None
):
    """Train on data sets under masks of several strengths; compare with theory, and test on rows held out.

    Parameters
    ----------
    tasks : dict of str to Task
        Data sets by name (``fastntk.study.task.make_task``).
    kappas : sequence of float
    width, steps : int
    seed : int
    threads, memory_limit : int, optional
        As for ``fn.train``.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    DataStudy

    Notes
    -----
    Cost: one training run and two predictions (O(rows^3)) for each data set and strength.

    Examples
    --------
    >>> from fastntk.datasets import load
    >>> from fastntk.study import data_study
    >>> from fastntk.study.task import make_task
    >>> task = make_task(load("iris"), preprocessing="standardize", test_fraction=0.2, seed=0)
    >>> study = data_study({"iris": task}, kappas=[0.1], width=200, steps=100)
    >>> bool(study.held_out_score[0, 0] > 0.8)
    True
    """
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    steps = validation.as_count(steps, "steps", low=20)
    if not tasks:
        raise ValueError("tasks is empty; give at least one data set.")
    stage = stages(progress, [f"{name}, kappa {kappa:g}" for name in tasks for kappa in kappas])
    machine = {"threads": threads, "memory_limit": memory_limit}
    step_sizes, measured = [], []
    for task in tasks.values():
        network = Network(width, task.X.shape[1], outputs=task.outputs, seed=seed)
        step_size = _stable_step_size(task, network, kappas[-1], seed, machine)
        step_sizes.append(step_size)
        measured.append(
            [
                _one_run(kappa, task, network, step_size, steps, seed, machine, next(stage)[1])
                for kappa in kappas
            ]
        )
    every = max(1, steps // RECORDS)
    return DataStudy(
        names=tuple(tasks),
        score_names=tuple("accuracy" if task.classes else "R^2" for task in tasks.values()),
        rows=np.array([len(task.X) for task in tasks.values()]),
        held_out=np.array([len(task.held_out_X) for task in tasks.values()]),
        features=np.array([task.X.shape[1] for task in tasks.values()]),
        outputs=np.array([task.outputs for task in tasks.values()]),
        width=width,
        step_count=steps,
        step_sizes=np.array(step_sizes),
        kappas=kappas,
        steps=np.arange(0, steps + 1, every),
        **as_fields(measured),
    )


def _stable_step_size(task, network, kappa, seed, machine):
    """Half of what is stable under the strongest mask: what ``train`` advises."""
    mask = GaussianMask(float(kappa))
    run = train(task.X, task.y, network=network, mask=mask, row_ids=task.ids, seed=seed, steps=1, **machine)
    return run.step_size


def _one_run(kappa, task, network, step_size, steps, seed, machine, report):
    """The fields of DataStudy that belong to one data set and one strength."""
    mask, window, every = GaussianMask(float(kappa)), int(WINDOW * steps), max(1, steps // RECORDS)
    rows = len(task.X)

    def theory(network):
        return predict_loss(
            task.X, task.y, network=network, mask=mask, step_size=step_size, plateau=False, **machine
        )

    with divergence_is_shown():
        end = train_to_plateau(
            task.X,
            task.y,
            network=network,
            mask=mask,
            step_size=step_size,
            steps=steps,
            window=window,
            record_every=every,
            row_ids=task.ids,
            seed=seed,
            **machine,
            progress=report,
        )
    recorded = np.arange(0, steps + 1, every)
    found = {
        "loss": padded(end.run.clean_loss, len(recorded)) / rows,
        "predicted": theory(network).loss(recorded) / rows,
        "floor": end.loss / rows,
        "floor_error": end.error / rows,
    }
    if end.network is None:
        return found | dict.fromkeys(AT_THE_END, np.nan)
    there = theory(end.network)
    options = {"mask": mask, "seed": seed, **machine}
    held_out = final_score(
        task, end.run.network, task.held_out_X, task.held_out_y, task.held_out_ids, **options
    )
    known = final_score(task, end.run.network, task.X, task.y, task.ids, **options)
    values = (
        float(there.loss(0)) / rows,
        noise_about_mean(there, window) / rows,
        known.score,
        held_out.score,
        held_out.masked_score,
        held_out.masked_score_spread,
    )
    return found | dict(zip(AT_THE_END, values, strict=True))


def _compute(request, progress, folder):
    sizes = dict(SIZES[request.full])
    most_rows = sizes.pop("most_rows")
    sources = {name: (datasets.load(name), scaling) for name, scaling in DATA.items()}
    if request.data is not None and request.data.target is not None:
        sources[request.data.name] = (request.data, request.preprocessing)
    tasks = {}
    for name, (dataset, preprocessing) in sources.items():
        task = make_task(dataset, preprocessing=preprocessing, test_fraction=TEST_FRACTION, seed=request.seed)
        tasks[name] = _some_rows(task, most_rows, request.seed)
    return data_study(tasks, **sizes, seed=request.seed, progress=progress, **request.machine)


def _some_rows(task, most, seed):
    """A task with at most so many rows to train on, chosen by their numbers alone."""
    if len(task.X) <= most:
        return task
    kept = np.sort(shuffled(seed, task.ids, HOLD_OUT_STREAM, draw=1)[:most])
    return replace(task, X=task.X[kept], y=task.y[kept], ids=task.ids[kept])


def _findings(study):
    ratio = study.floor / study.predicted[:, :, -1]
    meaning = (
        "measured loss at the end over what the initial networks predict, over data sets and mask strengths"
    )
    found = [(f"{np.nanmin(ratio):.2f} to {np.nanmax(ratio):.2f}", meaning)]
    for d in np.flatnonzero(study.outputs > 1)[:1]:
        first, last = study.held_out_score[d, [0, -1]]
        meaning = (
            f"accuracy on rows held out of {study.names[d]}, from \N{GREEK SMALL LETTER KAPPA} = "
            f"{study.kappas[0]:g} to {study.kappas[-1]:g}"
        )
        found.append((f"{percent(first)} \N{RIGHTWARDS ARROW} {percent(last)}", meaning))
    return found


def _table(study):
    headings = (
        "data",
        "kappa",
        "loss per row at the end",
        "predicted",
        "of the mean weights",
        "noise",
        "score",
        "held out",
        "held out, masked",
    )

    def line(d, k):
        show = percent if study.score_names[d] == "accuracy" else (lambda value: number(value, 3))
        error = number(study.floor_error[d, k], 1)
        return (
            study.names[d],
            f"{study.kappas[k]:g}",
            f"{number(study.floor[d, k], 3)} \N{PLUS-MINUS SIGN} {error}",
            number(study.predicted_floor[d, k], 3),
            number(study.floor_mean[d, k], 3),
            number(study.floor_noise[d, k], 3),
            show(study.score[d, k]),
            show(study.held_out_score[d, k]),
            show(study.masked_score[d, k]),
        )

    return headings, [[line(d, k) for k in range(len(study.kappas))] for d in range(len(study.names))]


PART = Part(
    name="data",
    title="The same on real data",
    numbers=DataStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(16, 165),
)
