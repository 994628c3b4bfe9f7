"""How well a network does, on rows it was trained on and on rows held out, with and without masks."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from ..forward import outputs
from ..kernels.reference import DRAW_LIMIT
from .table import number, percent

DRAWS = 8  # of the masks, for the masked scores


@dataclass(frozen=True)
class Score:
    """The result on some rows; `masked_...` are means over `DRAWS` masks, `..._spread` standard deviations.

    `loss` is 1/2 |f(x) - y|^2, a mean over the rows.  `score` is the share of rows whose largest output is
    that of their class (accuracy), or the share of the answers' variance about the mean of the rows to
    train on that is explained (R^2).
    """

    rows: int
    loss: float
    score: float
    masked_loss: float
    masked_loss_spread: float
    masked_score: float
    masked_score_spread: float


def clean_score(task, network, X, y, **options):
    """(loss, score) of a network on rows as they are; `options` as for ``fn.outputs``."""
    f = outputs(X, network=network, **options).reshape(len(X), -1)
    answers = np.eye(task.classes)[y] if task.classes else y[:, None]
    loss = 0.5 * float(np.square(f - answers).sum(axis=1).mean())
    if task.classes:
        return loss, float((f.argmax(axis=1) == y).mean())
    return loss, explained(loss, y)


def explained(loss, y):
    """R^2 from the mean loss; `y` has mean 0 over the rows to train on."""
    variance = float(np.square(y).mean())
    return 1 - 2 * loss / variance if variance else float("nan")


def final_score(task, network, X, y, ids, *, mask, seed, **options):
    """The :class:`Score` of a network on the rows X with answers y and numbers ids.

    The masks are draws that training never reaches, so they are new to the network.
    """
    loss, score = clean_score(task, network, X, y, **options)
    masked = np.array(
        [
            clean_score(
                task, network, X, y, mask=mask, seed=seed, draw=DRAW_LIMIT - 1 - k, row_ids=ids, **options
            )
            for k in range(DRAWS if mask is not None else 1)
        ]
    )
    (masked_loss, masked_score), (loss_spread, score_spread) = masked.mean(axis=0), masked.std(axis=0)
    return Score(
        len(X), loss, score, *(float(v) for v in (masked_loss, loss_spread, masked_score, score_spread))
    )


def headings(task, masked):
    """The heads of the columns of :func:`rows`."""
    name = task.score_name
    return ("", "rows", "loss per row", name, *(("masked loss", f"masked {name}") if masked else ()))


def rows(scores, task, masked):
    """One tuple of texts for each :class:`Score` of the dictionary `scores`."""

    def cells(score):
        yield from (f"{score.rows:,}", number(score.loss), shown(task)(score.score))
        if masked:
            yield with_spread(score.masked_loss, score.masked_loss_spread)
            yield score_with_spread(task, score)

    return [(name, *cells(score)) for name, score in scores.items()]


def shown(task):
    """How a score is written: a function to text."""
    return percent if task.classes else lambda value: number(value, 3)


def score_with_spread(task, score):
    """The masked score with its standard deviation as a text."""
    if task.classes:
        return with_spread(100 * score.masked_score, 100 * score.masked_score_spread) + " %"
    return with_spread(score.masked_score, score.masked_score_spread)


def with_spread(value, spread):
    """A value and its standard deviation as a text, with two digits of the latter."""
    if not 0 < spread < math.inf:
        return f"{number(value)} \N{PLUS-MINUS SIGN} {spread:g}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{value:,.{decimals}f} \N{PLUS-MINUS SIGN} {spread:,.{decimals}f}"


def finite_or_none(value):
    """A number as JSON can hold it: null for what is not finite."""
    return value if math.isfinite(value) else None


def as_numbers(scores):
    """The scores for a JSON file: what is not finite becomes null."""
    return {
        name: {key: finite_or_none(value) for key, value in asdict(score).items()}
        for name, score in scores.items()
    }


def from_numbers(numbers):
    """What :func:`as_numbers` made a JSON file's contents of."""
    scores = {}
    for name, values in numbers.items():
        known: dict = {key: math.nan if value is None else value for key, value in values.items()}
        scores[name] = Score(**known)
    return scores
