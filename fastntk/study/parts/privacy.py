"""Part 6: membership inference against training under masks, by likelihood ratios from shadow models."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from ... import validation
from ...datasets import load, preprocess
from ...figures import privacy as figures
from ...forward import outputs
from ...masks import GaussianMask
from ...network import Network
from ...training import train
from ..table import percent
from .part import Part, stages

SIZES = {
    False: {
        "rows": 200,
        "kappas": (0.0, 0.3, 1.0),
        "models": 16,
        "width": 500,
        "checkpoints": (3, 10, 30, 100, 200, 400),
    },
    True: {
        "rows": 200,
        "kappas": (0.0, 0.1, 0.3, 0.6, 1.0),
        "models": 24,
        "width": 1000,
        "checkpoints": (3, 10, 30, 100, 300, 600, 1000),
    },
}
BUILT_IN = "digits"
FALSE_ALARM_RATE = 0.01  # at which the share of the trained rows that are found is given: "1 %" in the texts
ROC_RATES = np.geomspace(1e-3, 1, 121)
MEASURES = ("auc", "threshold_auc", "found", "unseen_accuracy", "seen_accuracy")


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
        Area under the ROC curve of the likelihood-ratio attack (:func:`attack_scores`), all models and rows.
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
    (:func:`attack_scores`).  Halves, initial weights and step size are the same for all mask strengths.

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


def complementary_halves(models, rows, rng):
    """(models, rows) bool: random halves of the rows, each followed by its complement."""
    halves = rng.permuted(np.tile(np.arange(rows) < rows // 2, (models // 2, 1)), axis=1)
    return np.stack([halves, ~halves], axis=1).reshape(models, rows)


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


# ------------------------------------------------------------------------------------ the attack


def attack_scores(scores, members):
    """Log likelihood ratios that a row was trained on: LiRA, each model in turn the target.

    A row's scores are taken to be normal, with one mean over the models that were trained on it and another
    over the others.  The two variances are means over all rows: of a single one, few models know little.  The
    target and its complement are left out, so the two means come from equally many models, and where nothing
    leaks neither side is favoured.

    Parameters
    ----------
    scores : (M, n) real array
        A number for each model and row that membership moves.
    members : (M, n) bool array
        Which rows a model was trained on.  M is even and at least 6; models 2j and 2j + 1 share no row and
        have all of them together.

    Returns
    -------
    (M, n) float64
        The larger, the more it seems that the row was trained on.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.

    Notes
    -----
    Source: N. Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022
    (arXiv 2112.03570): the online attack, with variances over all rows, as there for few models.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.study.parts.privacy import attack_scores
    >>> members = np.array([[True, False], [False, True]] * 3)
    >>> scores = members + 0.1 * np.random.default_rng(0).standard_normal((6, 2))
    >>> ratios = attack_scores(scores, members)
    >>> bool(ratios[members].min() > ratios[~members].max())
    True
    """
    scores = validation.as_matrix(scores, "scores", dtype=np.float64)
    members = _as_members(members, scores.shape)
    ratios = np.empty_like(scores)
    for first in range(0, len(scores), 2):
        targets = slice(first, first + 2)
        others, trained = np.delete(scores, targets, axis=0), np.delete(members, targets, axis=0)
        inside = _log_density(scores[targets], others, trained)
        ratios[targets] = inside - _log_density(scores[targets], others, ~trained)
    return ratios


def _log_density(at, scores, those):
    """Of the normal distribution of each row's scores in ``those`` models, (2, n)."""
    variance = scores.var(axis=0, ddof=1, where=those).mean()
    if variance == 0:
        raise ValueError("scores are the same for all models of a kind, in every row; they must vary.")
    return norm.logpdf(at, scores.mean(axis=0, where=those), np.sqrt(variance))


def measures(members, scores, correct):
    """The MEASURES of models with these scores and right answers (M, n), and their standard errors.

    A jackknife over pairs of complementary models.  A pair is taken from the targets and from the attacker:
    attacks that share shadow models are not independent, and their scatter alone is too small an error.
    """

    def of(models):
        who, right = members[models], correct[models]
        ratios = attack_scores(scores[models], who)
        return [
            roc_auc_score(who.ravel(), ratios.ravel()),
            roc_auc_score(who.ravel(), scores[models].ravel()),
            found_at(FALSE_ALARM_RATE, who, ratios),
            right[~who].mean(),
            right[who].mean(),
        ]

    models = np.arange(len(members))
    without = np.array([of(np.delete(models, [first, first + 1])) for first in models[::2]])
    return of(models), np.sqrt((len(without) - 1) * without.var(axis=0))


def found_at(rates, members, ratios):
    """The largest true positive rates that go with false positive rates of at most ``rates``."""
    false, true, _ = roc_curve(members.ravel(), ratios.ravel(), drop_intermediate=False)
    return true[np.searchsorted(false, rates, side="right") - 1]


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


def _as_members(members, shape):
    """The bool array that :func:`attack_scores` describes."""
    members = validation.as_array(members, "members")
    if members.dtype != bool or members.shape != shape:
        raise ValueError(
            f"members is {members.dtype} of shape {members.shape}; it must be bool, of the shape of scores, "
            f"{shape}."
        )
    if len(members) < 6 or len(members) % 2:
        raise ValueError(f"members has {len(members)} models; it must have an even number, at least 6.")
    if (members[::2] == members[1::2]).any():
        raise ValueError("members has a row in both or none of models 2j and 2j + 1; it must be in one.")
    return members


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


def _normal(kind):
    """MathML of the density of a score where the row was (in) or was not (out) trained on."""
    return f"""<mrow><mi mathvariant="script">N</mi><mo>(</mo><mi>&phi;</mi><mo>;</mo>
<msub><mi>&mu;</mi><mtext>{kind}</mtext></msub><mo>(</mo><mi>x</mi><mo>)</mo><mo>,</mo>
<msubsup><mi>&sigma;</mi><mtext>{kind}</mtext><mn>2</mn></msubsup><mo>)</mo></mrow>"""


RATIO = f"""<math display="block">
<mi mathvariant="normal">&Lambda;</mi><mo>(</mo><mi>x</mi><mo>)</mo><mo>=</mo>
<mi>log</mi><mspace width="0.2em"/><mfrac>{_normal("in")}{_normal("out")}</mfrac>
<mo>,</mo><mspace width="1.2em"/><mi>&phi;</mi><mo>=</mo><mo>&minus;</mo>
<mi>log</mi><mspace width="0.2em"/><mfrac><mn>1</mn><mn>2</mn></mfrac>
<msup><mrow><mo>|</mo><mi>f</mi><mo>(</mo><mi>x</mi><mo>)</mo><mo>&minus;</mo><mi>y</mi><mo>|</mo></mrow>
<mn>2</mn></msup></math>"""

TEXT = (
    """
<p>Someone has a row of data and may ask a trained network about it. Can they tell whether the network was
trained on that row? This is called membership inference. A network that fits its rows exactly gives them
away: its loss is near zero on them and on no others. Under masks, {{ formulas.MASKED|safe }}, training never
sees a row as it is, and noise that never ends keeps it from fitting any of them exactly.</p>
<p>The attack is the likelihood-ratio attack of Carlini et al. (2022). The attacker trains networks of their
own, called shadow models, in the same way on random halves of the rows, so that every row has networks that
saw it and as many that did not. How well a network does on a row is a score &phi;, with means
&mu;<sub>in</sub>(<em>x</em>) and &mu;<sub>out</sub>(<em>x</em>) over the two kinds (and one variance of each
kind for all rows). The network under attack gives the row a score, too; which of two normal distributions
makes it likelier?</p>
<div class="formula">"""
    + RATIO
    + """</div>
<p><em>AUC</em>, the area under the ROC curve, is how often &Lambda; is larger for a row that was trained on
than for one that was not: 0.5 is guessing, 1 is certainty. For comparison, the simplest attack needs no
shadow models: it puts one threshold on the loss, for all rows.</p>
<p>For each &kappa;, {{ study.models }} networks of {{ "{:,}".format(study.width) }} neurons are trained on
halves of {{ study.rows }} rows{% if study.data %} of {{ study.data }}{% endif %} ({{ study.features }}
features, {{ study.classes }} classes), each from weights and with masks of its own. Each in turn is under
attack, and the others are the shadow models, save the one on the complementary half. The step size is {{
"%.3g"|format(study.step_size) }} for all &kappa;; every step takes all rows, so steps are epochs.{% if
study.note %} {{ study.note }}{% endif %}</p>
<figure>
{{ image("privacy-steps", "AUC of two attacks, and accuracy on unseen rows, over the steps for each kappa") }}
<figcaption><b>Over the steps:</b> both attacks, and the accuracy on rows, as they are, that a network was not
trained on. Bands: &plusmn;&nbsp;2 standard errors over networks and halves (a jackknife). <em>Look for:</em>
attacks that do better the longer training lasts, and how much of that a mask takes away. Where there is
little to find, the simple attack can be ahead: the mean scores of a row, over {{ study.models // 2 - 1 }}
networks of each kind, are too uncertain then.</figcaption>
</figure>
<figure>
{{ image("privacy-trade", "AUC against accuracy on unseen rows; rows found against false alarms") }}
<figcaption><b>Left: privacy against accuracy.</b> Small points are the checkpoints, large ones the last of
them, with &plusmn;&nbsp;2 standard errors. A mask also slows training down, which alone makes an attack
harder, so compare at equal accuracy. <em>Look for:</em> lines of stronger masks below the others: at the same
accuracy they give away less than stopping earlier does. <b>Right: the attack by likelihood ratios in
detail</b>, after {{ "{:,}".format(study.checkpoints[-1]) }} steps: the share of the trained rows that is
found, against the share of the others that is wrongly accused. <em>Look for:</em> the left end, where hardly
any row is wrongly accused. There are {{ "{:,}".format(study.unseen_pairs) }} pairs of a network and a row
that it was not trained on, so 1&nbsp;% are {{ study.unseen_pairs // 100 }} false alarms; further to the left
a handful decides.</figcaption>
</figure>
<p class="notice"><b>This is no guarantee, and no differential privacy.</b> It measures what one attack finds:
that much leaks at least. With more shadow models, by asking about a row in many variations, or from the
weights, others may find more. AUC is an average: single unusual rows can be exposed where it is near 0.5.
Differential privacy bounds every attack on every row; no such bound follows from these masks. And the numbers
belong to this kind of network, these rows and this many steps: the standard errors do not cover the choice of
the rows.</p>
"""
)

PART = Part(
    name="privacy",
    title="Can one tell that a row was trained on?",
    numbers=PrivacyStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    text=TEXT,
    seconds=(15, 120),
)
