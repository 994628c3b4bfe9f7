"""Telling from scores which rows a network was trained on: likelihood ratios from shadow models."""

import numpy as np
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from ... import validation

FALSE_ALARM_RATE = 0.01  # at which the share of the trained rows that are found is given: "1 %" in the texts
MEASURES = ("auc", "threshold_auc", "found", "unseen_accuracy", "seen_accuracy")


def complementary_halves(models, rows, rng):
    """(models, rows) bool: random halves of the rows, each followed by its complement."""
    halves = rng.permuted(np.tile(np.arange(rows) < rows // 2, (models // 2, 1)), axis=1)
    return np.stack([halves, ~halves], axis=1).reshape(models, rows)


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
    >>> from fastntk.study.parts.membership import attack_scores
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
