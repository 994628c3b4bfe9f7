"""Clients whose features fade or are missing, federated averaging against central training."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ... import datasets, validation
from ...figures import federated as figures
from ...network import Network
from ..table import number, percent
from ..task import Task, make_task
from .clients import Federation, Training, View, by_feature, deal, stable_step_size
from .part import Part, stages

SIZES: dict[bool, dict[str, Any]] = {
    False: {
        "fading": (0.0, 0.5, 1.0, 2.0),
        "missing": 0.3,
        "steps": 80,
        "local_steps": (5, 20, 40),
        "width": 200,
    },
    True: {
        "fading": (0.0, 0.5, 1.0, 2.0),
        "missing": 0.3,
        "steps": 200,
        "local_steps": (1, 5, 20, 100),
        "width": 400,
    },
}
CLIENTS = 5
MOST_ROWS = {False: (500, 350), True: (1000, 500)}  # to train on, held out
HELD_OUT = 0.25
LARGEST_FADING = 10.0  # such a feature is noise from end to end


@dataclass(frozen=True)
class FederatedStudy:
    """The numbers of :func:`federated_study`.

    F fading strengths, C clients, d features, P recorded steps, and M runs: central on clean rows, central
    through the channels, federated with each number of local steps, and the clients alone.

    Attributes
    ----------
    data : str
    rows, held_out, width, classes : int
        Rows to train on and held out; ``classes`` is 0 where the answers are a quantity.
    fading : (F,) float64
    kappas : (F, C, d) float64
        The standard deviations of the clients' channels.
    received : (C, d) bool
        Whether the client has the feature.
    client_rows : (C,) int64
        Rows of each client to train on.
    runs : tuple of M str
    local_steps : (M,) int64
        Steps between two averagings; 0 where nothing is averaged.
    step_size : float
        Of every run, on the mean loss over its rows.
    recorded_steps : (P,) int64
    clean_score, channel_score : (F, M, P) float64
        Accuracy (or R^2) on the held-out rows, as they are and through the clients' channels; NaN between
        two averagings.  Of the clients alone, a mean over them.
    loss : (F, M, P) float64
        1/2 |f(x) - y|^2 on the rows to train on, clean and complete, a mean over the rows.
    movement : (F, M - 1, d) float64
        How far the weights of each feature have moved in the end, |W[:, k] - W_0[:, k]|, in the runs that
        end with one network.
    sensitivity : (F, M - 1, d) float64
        Root mean square of df/dx_k over the rows to train on, in the end.
    client_movement, client_sensitivity : (F, C, d) float64
        The same of the clients alone.
    """

    data: str
    rows: int
    held_out: int
    width: int
    classes: int
    fading: np.ndarray
    kappas: np.ndarray
    received: np.ndarray
    client_rows: np.ndarray
    runs: tuple
    local_steps: np.ndarray
    step_size: float
    recorded_steps: np.ndarray
    clean_score: np.ndarray
    channel_score: np.ndarray
    loss: np.ndarray
    movement: np.ndarray
    sensitivity: np.ndarray
    client_movement: np.ndarray
    client_sensitivity: np.ndarray

    @property
    def score_name(self):
        """What the scores are."""
        return "accuracy" if self.classes else "R\N{SUPERSCRIPT TWO}"

    @property
    def shown(self):
        """Which fading strength is shown in detail."""
        return len(self.fading) // 2

    @property
    def example(self):
        """Which federated run stands for all: that of the fewest local steps above one, if there is any."""
        return 2 + int(np.argmax(self.local_steps[2:-1] > 1))

    @property
    def varied(self):
        """(d,) bool: the features that are not 0 in all rows to train on."""
        return self.movement[0, 0] > 0

    def relative(self, name):
        """Movement or sensitivity over the same after training on clean rows, of the features that vary.

        (F, M - 1, v) of the runs that end with one network, and (F, C, v) of the clients alone.
        """
        values = getattr(self, name)[..., self.varied]
        return values / values[:, :1], getattr(self, f"client_{name}")[..., self.varied] / values[:, :1]

    def by_reception(self, name):
        """Medians of ``relative(name)`` over the clients alone, at the strongest fading.

        Over the third of their features that arrives best, and over the third that fades most.
        """
        _, clients = self.relative(name)
        received = self.received[:, self.varied]
        kappas, values = self.kappas[-1][:, self.varied][received], clients[-1][received]
        best, worst = np.quantile(kappas, (1 / 3, 2 / 3))
        return np.median(values[kappas <= best]), np.median(values[kappas >= worst])


def federated_study(
    X,
    y,
    held_out_X,
    held_out_y,
    *,
    clients,
    fading,
    missing,
    steps,
    local_steps,
    width,
    record_every=10,
    data="data",
    seed=0,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Train one network on the rows of many clients, whose features fade or are missing, in several ways.

    Rows are dealt to the clients at random.  A client lacks a random share of the features (they are 0), and
    each of the others is multiplied, in every row and at every step, by a fresh normal number of mean 1 and
    deviation kappa_ck, itself drawn between 0 and ``fading``, once for each client c and feature k.  With the
    same number of steps, of the same size on the mean loss over the rows, are trained

        one network on all rows, clean and complete,
        one network on all rows as the clients see them,
        one network by federated averaging: all clients take ``local_steps`` steps from the server's weights,
        the server takes the average of what they come to, weighted by their rows, and so on,
        every client for itself.

    Parameters
    ----------
    X, held_out_X : (n, d), (h, d) real array
        Rows to train on, and rows that only scores see.
    y, held_out_y : (n,), (h,) array
        Class numbers from 0 (integers), or a quantity (floats).
    clients : int
        How many there are, at most as many as rows to train on or held out.
    fading : sequence of float
        Largest deviations of the channels, from 0 to 10.  The clients are the same at all of them.
    missing : float
        The share of the features that a client lacks, from 0 to below 1; rounded down to whole features.
    steps : int
        Gradient steps of every run.
    local_steps : sequence of int
        Steps between two averagings, divisors of ``steps``: steps / local_steps rounds of averaging.
    width : int
        Neurons of the network.
    record_every : int
        Steps between the recorded scores, a divisor of ``steps``.  A federated run has those at which one of
        its rounds ends.
    data : str
        What the data are called.
    seed : int
        Of the network, the dealing, the channels and the masks.
    threads, memory_limit : int, optional
        As in :func:`fastntk.train`.
    progress : callable, optional
        ``progress(fraction, stage)``.

    Returns
    -------
    FederatedStudy

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.

    Notes
    -----
    At gradient step t a row meets draw t of the mask of its own id, in every run.  So masks are fresh in
    every round, no two clients share one, and runs are compared under the same masks.  Averaging after every
    step is then central training through the channels, to the rounding of float32.

    The step size is half of what is stable (``fastntk.stability``) for the client and the fading that allow
    the least, and for the clean rows.  A client divides it by the number of its own rows, so that the average
    of single steps is a step on the loss of all rows.

    Cost: O(n width (d + q)) a step for q outputs, and some milliseconds for each client in each round.

    Source: federated averaging of McMahan et al. (2017), in the setting of arXiv 2602.17423.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.study import federated_study
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> y = X[:, 0] - X[:, 1]
    >>> study = federated_study(
    ...     *(X[:40], y[:40], X[40:], y[40:]), clients=2, fading=[0.3], missing=0.2,
    ...     steps=20, local_steps=[10], width=100,
    ... )
    >>> study.runs[2]
    'averaged every 10 steps'
    >>> bool(study.loss[0, 2, -1] < study.loss[0, 2, 0])
    True
    """
    task = _as_task(X, y, held_out_X, held_out_y)
    fading = _as_fading(fading)
    steps = validation.as_count(steps, "steps")
    local_steps = [
        _as_divisor(n, "local_steps", steps) for n in validation.as_ascending(local_steps, "local_steps")
    ]
    record_every = _as_divisor(record_every, "record_every", steps)
    width, seed = validation.as_count(width, "width"), validation.as_seed(seed)
    clients = validation.as_count(clients, "clients", high=min(len(task.X), len(task.held_out_X)))
    dealt = deal(task, clients, _as_share(missing, "missing"), seed)
    kappas = fading[:, np.newaxis, np.newaxis] * dealt.quality

    options = {"seed": seed, "threads": threads, "memory_limit": memory_limit}
    network = Network(width, task.X.shape[1], outputs=task.outputs, seed=seed)
    clean = View(task.X, task.y, task.ids, None)
    federations = [Federation(task, dealt, one, seed) for one in kappas]
    views = [clean, *(view for federation in federations for view in federation.members)]
    step_size = min(stable_step_size(view, network, options) for view in views)
    training = Training(network, step_size, steps, options)

    names = (
        "central, clean rows",
        "central, through the channels",
        *(f"averaged every {every} steps" if every > 1 else "averaged every step" for every in local_steps),
        "clients alone",
    )
    scores = np.full((3, len(fading), len(names), steps // record_every + 1), np.nan)
    features: list[list] = [[] for _ in fading]  # of each network that a run ends with
    reports = stages(progress, [f"fading {strength:g}, {name}" for strength in fading for name in names])
    on_clean_rows = list(training.rounds([clean], record_every))  # the same at every fading
    for f, federation in enumerate(federations):
        runs = (
            on_clean_rows,
            training.rounds([federation.whole], record_every),
            *(training.rounds(federation.members, every, average=True) for every in local_steps),
            training.rounds(federation.members, record_every),
        )
        for m, run in enumerate(runs):
            _, report = next(reports)
            scores[:, f, m, 0] = federation.scores([network], threads)
            for step, networks in run:
                if step % record_every == 0:
                    scores[:, f, m, step // record_every] = federation.scores(networks, threads)
                report(step / steps)
            features[f] += [by_feature(one, network, task.X, threads) for one in networks]
    report(1.0)
    movement, sensitivity = np.moveaxis(np.array(features), 2, 0)
    ended = len(names) - 1  # runs that end with one network
    return FederatedStudy(
        data=data,
        rows=len(task.X),
        held_out=len(task.held_out_X),
        width=width,
        classes=task.classes,
        fading=fading,
        kappas=kappas,
        received=dealt.received,
        client_rows=np.bincount(dealt.owners[task.ids]),
        runs=names,
        local_steps=np.array([0, 1, *local_steps, 0]),
        step_size=step_size,
        recorded_steps=np.arange(0, steps + 1, record_every),
        clean_score=scores[0],
        channel_score=scores[1],
        loss=scores[2],
        movement=movement[:, :ended],
        sensitivity=sensitivity[:, :ended],
        client_movement=movement[:, ended:],
        client_sensitivity=sensitivity[:, ended:],
    )


# -------------------------------------------------------------------------------------- checks


def _as_task(X, y, held_out_X, held_out_y):
    """The arrays as a Task, whose rows are numbered through."""
    X = validation.as_matrix(X, "X")
    held_out_X = validation.as_matrix(held_out_X, "held_out_X", columns=X.shape[1])
    y, held_out_y = _as_answers(y, "y", len(X)), _as_answers(held_out_y, "held_out_y", len(held_out_X))
    if y.dtype != held_out_y.dtype:
        raise TypeError(
            f"held_out_y has dtype {held_out_y.dtype} but y has {y.dtype}; both must be class numbers "
            f"(integers), or both a quantity (floats)."
        )
    if (y == y[0]).all():
        raise ValueError(f"y is {y[0]} in all rows; there must be something to learn.")
    classes, mean, deviation = 0, 0.0, 1.0
    if y.dtype == np.int64:
        classes = int(max(y.max(), held_out_y.max())) + 1
    else:
        mean, deviation = float(y.mean()), float(y.std())
        y, held_out_y = (y - mean) / deviation, (held_out_y - mean) / deviation
    ids, names = np.arange(len(X) + len(held_out_X)), np.arange(classes).astype(str)
    held_out = (held_out_X, held_out_y, ids[len(X) :])
    return Task(X, y, ids[: len(X)], *held_out, class_names=names, mean=mean, deviation=deviation)


def _as_answers(values, name, length):
    """Class numbers as int64, or a quantity as float64."""
    values = validation.as_array(values, name)
    if values.dtype.kind not in "iu":
        return validation.as_vector(values, name, length=length)
    values = validation.as_vector(values, name, length=length, dtype=np.int64)
    if values.min() < 0:
        raise ValueError(f"{name} holds {values.min()}; class numbers are integers from 0.")
    return values


def _as_fading(values):
    """Fading strengths in order."""
    fading = validation.as_vector(validation.as_ascending(values, "fading"), "fading")
    if fading[0] < 0 or fading[-1] > LARGEST_FADING:
        wrong = fading[0] if fading[0] < 0 else fading[-1]
        raise ValueError(f"fading holds {wrong:g}; strengths must be from 0 to {LARGEST_FADING:g}.")
    return fading


def _as_share(value, name):
    """A number from 0 to below 1."""
    if isinstance(value, (bool, np.bool_)) or np.ndim(value) or np.asarray(value).dtype.kind not in "fiu":
        raise TypeError(f"{name} is {value!r}; it must be a number from 0 to below 1.")
    if not 0 <= value < 1:  # NaN fails too
        raise ValueError(f"{name} is {value}; it must be from 0 to below 1.")
    return float(value)


def _as_divisor(value, name, steps):
    """A count that divides the number of steps."""
    count = validation.as_count(value, name, high=steps)
    if steps % count:
        raise ValueError(f"{name} is {count}, which does not divide steps={steps}; it must.")
    return count


# --------------------------------------------------------------------------------- how it is shown
def _compute(request, progress, folder):
    dataset, preprocessing = request.data, request.preprocessing
    if dataset is None or dataset.target is None:  # nothing to learn
        dataset, preprocessing = datasets.load("digits"), "standardize"
    task = make_task(dataset, preprocessing=preprocessing, test_fraction=HELD_OUT, seed=request.seed)
    rng = np.random.default_rng(request.seed)
    rows, held_out = (
        rng.permutation(there)[:most]
        for there, most in zip((len(task.X), len(task.held_out_X)), MOST_ROWS[request.full], strict=True)
    )
    return federated_study(
        task.X[rows],
        task.y[rows],
        task.held_out_X[held_out],
        task.held_out_y[held_out],
        clients=min(CLIENTS, len(rows), len(held_out)),
        data=dataset.name,
        seed=request.seed,
        progress=progress,
        **SIZES[request.full],
        **request.machine,
    )


def _findings(study):
    shown = _shown(study)
    clean, through_channels = study.clean_score[study.shown, :, -1], study.channel_score[-1, :, -1]
    received, faded = study.by_reception("sensitivity")
    kappa, run = "\N{GREEK SMALL LETTER KAPPA}", study.example
    averaging = (
        f"{study.score_name} of {len(study.client_rows)} clients on clean rows, {study.runs[run]}, {kappa} "
        f"to {study.fading[study.shown]:g}; {shown(clean[1])} trained centrally, {shown(clean[-1])} alone"
    )
    channels = (
        f"through channels of {kappa} up to {study.fading[-1]:g} after central training through them; "
        f"{shown(through_channels[0])} after training on clean rows"
    )
    dependence = (
        "as much as after clean training do the outputs of a client depend on the features that fade most; "
        f"{number(received, 2)} \N{MULTIPLICATION SIGN} on those that arrive best"
    )
    return [
        (shown(clean[run]), averaging),
        (shown(through_channels[1]), channels),
        (f"{number(faded, 2)} \N{MULTIPLICATION SIGN}", dependence),
    ]


def _table(study):
    headings = (
        "fading",
        "training",
        "averagings",
        f"held-out {study.score_name}",
        "through the channels",
        "loss per row",
    )
    shown = _shown(study)
    groups = [
        [
            (
                f"{fading:g}",
                run,
                f"{study.recorded_steps[-1] // every}" if every else "",
                shown(study.clean_score[f, m, -1]),
                shown(study.channel_score[f, m, -1]),
                number(study.loss[f, m, -1], 3),
            )
            for m, (run, every) in enumerate(zip(study.runs, study.local_steps, strict=True))
        ]
        for f, fading in enumerate(study.fading)
    ]
    return headings, groups


def _shown(study):
    """How a score is written: a function to text."""
    return percent if study.classes else partial(number, digits=3)


PART = Part(
    name="federated",
    title="Clients whose features fade",
    numbers=FederatedStudy,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(13, 80),
)
