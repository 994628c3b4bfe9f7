"""Figures of the part privacy: how well an attack does over the steps, and at what accuracy."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .style import INK, SIZE, finish, shades, title

GUESSING = {"color": INK, "lw": 1.1, "ls": (0, (5, 3)), "zorder": 1}
PANELS = {
    "auc": "Attack by likelihood ratios",
    "threshold_auc": "Attack by one threshold",
    "unseen_accuracy": "Accuracy on unseen rows",
}


def figures(study):
    """{name: Figure} of a PrivacyStudy."""
    return {"privacy-steps": over_steps(study), "privacy-trade": trade(study)}


def over_steps(study):
    """AUC of both attacks and accuracy on unseen rows over the steps, a line for each mask strength."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = ratio, threshold, accuracy = figure.subplots(1, 3)
    threshold.sharey(ratio)
    for axes, (name, heading) in zip(panels, PANELS.items(), strict=True):
        axes.set_title(heading, **title())
        values, errors = getattr(study, name), getattr(study, f"{name}_error")
        for colour, value, error in zip(shades(len(study.kappas)), values, errors, strict=True):
            band = value - 2 * error, value + 2 * error
            axes.fill_between(study.checkpoints, *band, color=colour, alpha=0.2, lw=0)
            axes.plot(study.checkpoints, value, color=colour, marker="o", ms=4, lw=1.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("step")
        finish(axes)
    for axes in (ratio, threshold):
        axes.axhline(0.5, **GUESSING)
        axes.set_ylabel("AUC")
    accuracy.yaxis.set_major_formatter(_percent())
    _legend(figure, study)
    return figure


def trade(study):
    """Left: AUC against accuracy, from checkpoint to checkpoint.  Right: ROC curves after the last."""
    figure = Figure(figsize=(10, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Privacy against accuracy", **title())
    right.set_title(f"Rows found after {study.checkpoints[-1]:,} steps", **title())
    for k, colour in enumerate(shades(len(study.kappas))):
        accuracy, auc = study.unseen_accuracy[k], study.auc[k]
        left.plot(accuracy, auc, color=colour, lw=1.2, marker="o", ms=3.5)
        spread = 2 * study.auc_error[k, -1], 2 * study.unseen_accuracy_error[k, -1]
        last = {"color": colour, "fmt": "o", "ms": 7.5, "capsize": 2.5, "lw": 1.2, "zorder": 4}
        left.errorbar(accuracy[-1], auc[-1], *spread, **last)
        found = study.roc[k] > 0  # a logarithmic axis has no zero
        right.step(study.roc_rates[found], study.roc[k][found], color=colour, lw=1.8, where="post")
    left.axhline(0.5, **GUESSING)
    left.set_xlabel("accuracy on unseen rows")
    left.set_ylabel("AUC of the attack by likelihood ratios")
    left.xaxis.set_major_formatter(_percent())
    right.plot(study.roc_rates, study.roc_rates, **GUESSING)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlim(study.roc_rates[0], 1)
    right.set_xlabel("false alarms among unseen rows")
    right.set_ylabel("found among trained rows")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(_percent())
        axis.set_minor_formatter(NullFormatter())
    for axes in (left, right):
        finish(axes)
    _legend(figure, study)
    return figure


def _percent():
    """A formatter of shares; every axis needs its own."""
    return FuncFormatter(lambda share, _: f"{100 * share:.4g} %")


def _legend(figure, study):
    """A key for each mask strength, and for guessing."""
    keys = [
        Line2D([], [], color=colour, marker="o", ms=5, lw=1.8, label=rf"$\kappa$ = {kappa:g}")
        for colour, kappa in zip(shades(len(study.kappas)), study.kappas, strict=True)
    ]
    keys.append(Line2D([], [], **GUESSING, label="guessing"))
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK}
    figure.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 6), **style)
