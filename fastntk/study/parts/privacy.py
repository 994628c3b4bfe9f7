"""Membership inference against training under masks, by likelihood ratios from shadow models."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ... import validation
from ...datasets import load, preprocess
from ...figures import privacy as figures
from ...forward import outputs
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..table import percent
from .membership import MEASURES, attack_scores, complementary_halves, found_at, measures
from .part import Part, stages

SIZES = {
    False: {
        "rows": 200,
        "kappas": (0.0, 0.3, 1.0),
        "models": 12,
        "width": 500,
        "checkpoints": (3, 10, 30, 100, 200, 400),
    },
    True: {
        "rows": 200,
        "kappas": (0.0, 0.1, 0.3, 0.6, 1.0),
        "models": 20,
        "width": 1000,
        "checkpoints": (3, 10, 30, 100, 300, 600, 1000),
    },
}
BUILT_IN = "digits"
ROC_RATES = np.geomspace(1e-3, 1, 121)


@dataclass(frozen=True)
class PrivacyStudy:
    """The numbers of :func:`privacy_study`; K mask strengths, C checkpoints, M models, n rows.

    Every measure comes with its standard error, a jackknife over pairs of models.

    Attributes
    ----------
    kappas : (K,) float64
    checkpoints : (C,) int64
        Steps, which are epochs: a step takes all rows.
    models, width, rows, features, classes : int
    step_size : float
    members : (M, n) bool
        Which rows a model was trained on; models 2j and 2j + 1 share none and have all of them together.
    scores : (K, C, M, n) float64
        -log(1/2 |f(x) - y|^2) on the rows as they are.
    auc, auc_error : (K, C) float64
        Area under the ROC curve of the likelihood-ratio attack (``attack_scores``), all models and rows.
    threshold_auc, threshold_auc_error : (K, C) float64
        The same of one threshold on the loss for all models and rows.
    found, found_error : (K, C) float64
        True positive rate of the likelihood-ratio attack at a false positive rate of at most 1 %.
    unseen_accuracy, unseen_accuracy_error : (K, C) float64
        On the rows, as they are, that a model was not trained on.
    seen_accuracy, seen_accuracy_error : (K, C) float64
        On those that it was trained on.
    roc_rates, roc : (P,), (K, P) float64
        False positive rates, and the true positive rates there after the last checkpoint.
    data, note : str
        The name of the data set, and why it is not the one that was asked for; set by ``fastntk study``.
    """

    kappas: np.ndarray
    checkpoints: np.ndarray
    models: int
    width: int
    rows: int
    features: int
    classes: int
    step_size: float
    members: np.ndarray
    scores: np.ndarray
    auc: np.ndarray
    auc_error: np.ndarray
    threshold_auc: np.ndarray
    threshold_auc_error: np.ndarray
    found: np.ndarray
    found_error: np.ndarray
    unseen_accuracy: np.ndarray
    unseen_accuracy_error: np.ndarray
    seen_accuracy: np.ndarray
    seen_accuracy_error: np.ndarray
    roc_rates: np.ndarray
    roc: np.ndarray
    data: str = ""
    note: str = ""

    @property
    def unseen_pairs(self):
        """The number of pairs of a model and a row that it was not trained on."""
        return int((~self.members).sum())


# ------------------------------------------------------------------------------------ the study


def privacy_study(
    X,
    y,
    *,
    kappas,
    models=16,
    width=1000,
    checkpoints=(10, 30, 100, 300),
    seed=0,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Attack networks trained under Gaussian masks: can one tell which rows they were trained on?

    For every mask strength ``models`` networks are trained by ``fastntk.train`` (full batches, fresh masks at
    every step), each from weights and with masks of its own, on a random half of the rows; models 2j and
    2j + 1 on complementary halves.  Each model in turn is the target of an attacker who has the others
    (``attack_scores``).  Halves, initial weights and step size are the same for all mask strengths.

    Parameters
    ----------
    X : (n, d) real array
        Rounded to float32.
    y : (n,) integer array
        Class labels; at least two classes.
    kappas : sequence of float
        Strengths of the Gaussian mask, from 0 (no mask).
    models : int
        An even number from 8.
    width : int
    checkpoints : sequence of int
        The steps after which all rows are scored; the last one ends the training.
    seed : int
    threads, memory_limit : int, optional
        As in :func:`fastntk.train`.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    PrivacyStudy

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.
    MemoryError
        As in :func:`fastntk.train`.

    Notes
    -----
    An attack, not a guarantee: what it finds leaks at least, and nothing follows for other attacks.

    The step size is the smaller of those that ``fastntk.train`` advises for the first two models under the
    strongest mask.  These have all rows between them, so the kernel of no half has an eigenvalue of more than
    the sum of their largest ones, up to the randomness of networks and masks, and training is stable.

    Cost: len(kappas) * models * checkpoints[-1] steps on n / 2 rows.  The same bits for every number of
    threads.

    Source: N. Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022
    (arXiv 2112.03570); the networks are those of arXiv 2602.17423.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.study.parts.privacy import privacy_study
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((20, 5)), rng.integers(2, size=20)
    >>> study = privacy_study(X, y, kappas=[0.0], models=8, width=200, checkpoints=[1, 100])
    >>> bool(study.auc[0, 0] < study.auc[0, 1])
    True
    """
    X = validation.as_matrix(X, "X")
    labels, classes = _as_labels(y, len(X))
    kappas = np.array(validation.as_ascending(kappas, "kappas"), float)
    masks = [GaussianMask(float(kappa)) if kappa else None for kappa in kappas]
    models = _as_models(models)
    checkpoints = validation.as_ascending(checkpoints, "checkpoints")
    checkpoints = [validation.as_count(steps, "checkpoints") for steps in checkpoints]
    rng = np.random.default_rng(validation.as_seed(seed))
    members = complementary_halves(models, len(X), rng)
    networks = [
        Network(width, X.shape[1], outputs=classes, seed=int(own))
        for own in rng.integers(1 << 64, size=models, dtype=np.uint64)
    ]
    machine = {"threads": threads, "memory_limit": memory_limit}
    population = _Population(X, labels, members, networks, machine)

    step_size = min(population.train(model, mask=masks[-1], steps=1).step_size for model in (0, 1))
    names = [f"kappa {kappa:g}" for kappa in kappas]
    scores, measured = [], []
    for mask, (_, report) in zip(masks, stages(progress, names), strict=True):
        f = population.outputs_over_training(checkpoints, report, mask=mask, step_size=step_size)
        scores.append(-np.log(0.5 * np.square(f - np.eye(classes)[labels]).sum(axis=-1)))
        correct = f.argmax(axis=-1) == labels
        measured.append([measures(members, *step) for step in zip(scores[-1], correct, strict=True)])
    value, error = np.moveaxis(np.array(measured), 2, 0)
    return PrivacyStudy(
        kappas=kappas,
        checkpoints=np.array(checkpoints),
        models=models,
        width=width,
        rows=len(X),
        features=X.shape[1],
        classes=classes,
        step_size=step_size,
        members=members,
        scores=np.array(scores),
        roc_rates=ROC_RATES,
        roc=np.array([found_at(ROC_RATES, members, attack_scores(last, members)) for *_, last in scores]),
        **{name: value[..., m] for m, name in enumerate(MEASURES)},
        **{f"{name}_error": error[..., m] for m, name in enumerate(MEASURES)},
    )


class _Population(NamedTuple):
    """Networks to train: each has its rows, and with its seed its masks."""

    X: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    networks: list[Network]
    machine: dict

    def train(self, model, **options):
        """A TrainingRun of one of them."""
        rows, network = np.flatnonzero(self.members[model]), self.networks[model]
        own = {"network": network, "seed": network.seed, "row_ids": rows}
        return train(self.X[rows], self.labels[rows], **own, **self.machine, **options)

    def outputs_over_training(self, checkpoints, report, **options):
        """(C, M, n, classes) float64: what each of them says of all rows after so many steps."""
        models = len(self.networks)
        f = np.empty((len(checkpoints), *self.members.shape, self.networks[0].outputs))
        for model in range(models):
            run = None
            for c, steps in enumerate(checkpoints):
                run = self.train(model, steps=steps, record_every=checkpoints[-1], resume=run, **options)
                f[c, model] = outputs(self.X, network=run.network, **self.machine)
            report((model + 1) / models)
        return f


# ------------------------------------------------------------------------------------ checks


def _as_labels(y, rows):
    """((n,) labels from 0 without gaps, number of classes)."""
    array = validation.as_array(y, "y")
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"y has dtype {array.dtype}; it must be class labels as integers. "
            f"np.unique(y, return_inverse=True)[1] numbers classes that have names."
        )
    if array.shape != (rows,):
        raise ValueError(f"y has shape {array.shape}; it must be ({rows},), a label for each row of X.")
    classes, labels = np.unique(array, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y is {classes[0]} in every row; it must have at least two classes.")
    return labels, len(classes)


def _as_models(models):
    """An even number; the jackknife takes two away, and four of the other six are left to the attacker."""
    if validation.as_count(models, "models", low=8) % 2:
        raise ValueError(f"models is {models}; it must be even: models come in complementary pairs.")
    return models


# ------------------------------------------------------------------------------------ the part


def _compute(request, progress, folder):
    sizes = dict(SIZES[request.full])
    if request.kappas is not None:
        sizes["kappas"] = request.kappas
    dataset, note = _with_classes(request.data)
    rng = np.random.default_rng([request.seed, 1])
    rows = rng.permutation(len(dataset.features))[: sizes.pop("rows")]
    study = privacy_study(
        preprocess(dataset.features[rows], request.preprocessing),
        dataset.target[rows],
        **sizes,
        **request.machine,
        seed=request.seed,
        progress=progress,
    )
    return replace(study, data=dataset.name, note=note)


def _with_classes(dataset):
    """(the user's data set or the built-in one, why it is not the user's where there is one)."""
    if dataset is None:
        return load(BUILT_IN), ""
    if dataset.class_names is None:
        target = "no target" if dataset.target is None else "a target that is not a class"
        return load(BUILT_IN), f"{dataset.name} has {target}; this part takes {BUILT_IN} in its place."
    return dataset, ""


def _findings(study):
    kappas = " to ".join(f"{kappa:g}" for kappa in np.unique(study.kappas[[0, -1]]))
    ranks = "how often an attack ranks a trained row above another (AUC; 0.5 is guessing)"

    def ends(values, text):
        """After the last step, for the weakest and the strongest mask."""
        return " \N{RIGHTWARDS ARROW} ".join(map(text, values[:: max(len(values) - 1, 1), -1]))

    return [
        (ends(study.auc, "{:.2f}".format), f"{ranks}, \N{GREEK SMALL LETTER KAPPA} = {kappas}"),
        (ends(study.found, percent), "of the trained rows are found at 1 % of false alarms"),
        (ends(study.unseen_accuracy, percent), "accuracy on rows that were not trained on"),
    ]


def _table(study):
    headings = (
        "kappa",
        "steps",
        "AUC, likelihood ratios",
        "AUC, one threshold",
        "found at 1 % false alarms",
        "accuracy, unseen rows",
        "accuracy, trained rows",
    )

    def line(k, c):
        def with_error(name, scale, decimals):
            value, error = (scale * getattr(study, field)[k, c] for field in (name, f"{name}_error"))
            return f"{value:.{decimals}f} \N{PLUS-MINUS SIGN} {error:.{decimals}f}"

        return (
            f"{study.kappas[k]:g}",
            f"{study.checkpoints[c]:,}",
            *(with_error(name, 1, 3) for name in ("auc", "threshold_auc")),
            *(f"{with_error(name, 100, 1)} %" for name in ("found", "unseen_accuracy", "seen_accuracy")),
        )

    return headings, [[line(k, c) for c in range(len(study.checkpoints))] for k in range(len(study.kappas))]


PART = Part(
    name="privacy",
    title="Can one tell that a row was trained on?",
    numbers=PrivacyStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(15, 120),
)
