"""Figures of the part data: losses and scores on real data."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from .style import INK, PREDICTED, SIZE, finish, shades, title

TRAINING, HELD_OUT, MASKED = "#1b4f9c", "#d1572c", "#eab08f"
COLUMNS = 4  # of panels


def figures(study):
    """{name: Figure} of a DataStudy."""
    return {"data-losses": losses(study), "data-scores": scores(study)}


def losses(study):
    """Clean loss per row over the steps for each data set, with predictions."""
    figure, panels = _panels(len(study.names))
    colours = shades(len(study.kappas))
    for d, axes in enumerate(panels):
        axes.set_title(study.names[d].replace("_", " "), **title())
        for k, colour in enumerate(colours):
            axes.plot(study.steps, study.loss[d, k], color=colour, lw=1.7)
            axes.plot(study.steps, study.predicted[d, k], color=colour, **PREDICTED)
            floor = study.predicted_floor[d, k]
            axes.plot(study.steps[-1] * 1.03, floor, "<", color=colour, ms=7, clip_on=False, zorder=5)
        axes.set_yscale("log")
        lowest = np.nanmin(study.loss[d])
        axes.set_ylim(bottom=lowest / 2)
        axes.set_xlim(0, study.steps[-1] * 1.03)
        axes.set_xlabel("step")
        finish(axes)
    panels[0].set_ylabel("clean loss per row")
    keys = [
        Line2D([], [], color=colour, lw=2, label=rf"$\kappa$ = {kappa:g}")
        for colour, kappa in zip(colours, study.kappas, strict=True)
    ]
    keys += [
        Line2D([], [], color=INK, label="predicted from the start", **PREDICTED),
        Line2D([], [], color=INK, marker="<", lw=0, ms=7, label="predicted at the end"),
    ]
    _legend(figure, keys)
    return figure


def scores(study):
    """Scores against the mask strength."""
    figure, panels = _panels(len(study.names))
    places = np.arange(len(study.kappas))
    for d, axes in enumerate(panels):
        accuracy = study.score_names[d] == "accuracy"
        name = "accuracy" if accuracy else "$R^2$"
        axes.set_title(f"{study.names[d].replace('_', ' ')}: {name}", **title())
        axes.plot(places, study.score[d], "o-", color=TRAINING, lw=1.6, ms=5)
        axes.plot(places, study.held_out_score[d], "s-", color=HELD_OUT, lw=1.6, ms=5)
        axes.errorbar(
            places,
            study.masked_score[d],
            study.masked_spread[d],
            color=MASKED,
            fmt="D-",
            ms=5,
            capsize=3,
            lw=1.6,
        )
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{kappa:g}" for kappa in study.kappas]))
        axes.set_xlabel(r"mask strength $\kappa$")
        if accuracy:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g} %"))
        else:
            axes.set_ylim(bottom=max(axes.get_ylim()[0], -1.0))
        finish(axes)
    keys = [
        Line2D([], [], color=TRAINING, marker="o", lw=1.6, ms=5, label="rows to train on"),
        Line2D([], [], color=HELD_OUT, marker="s", lw=1.6, ms=5, label="rows held out"),
        Line2D([], [], color=MASKED, marker="D", lw=1.6, ms=5, label="rows held out, under masks"),
    ]
    _legend(figure, keys)
    return figure


def _panels(count):
    """A figure and so many panels, COLUMNS in a row."""
    columns = min(count, COLUMNS)
    lines = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns + 0.4, 3.5 * lines + 0.6), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def _legend(figure, keys):
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 1.6}
    figure.legend(handles=keys, loc="outside lower center", ncols=6, **style)
