"""Figures of the part training: losses over the steps, narrow and wide."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import INK, PREDICTED, SIZE, finish, shades, title

KINDS = {"unit": "Rows of norm 1", "normal": "Rows of standard normal entries"}


def figures(study):
    """{name: Figure} of a TrajectoryStudy."""
    out = {"training-narrow": narrow(study)}
    if len(study.wide_kappas):
        out["training-wide"] = wide(study)
    return out


def narrow(study):
    """Loss per row over the steps for each mask strength, with what is predicted."""
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    colours = shades(len(study.kappas))
    for p, axes in enumerate(figure.subplots(1, 2)):
        axes.set_title(KINDS[study.kinds[p]], **title())
        for k, colour in enumerate(colours):
            loss = study.loss[p, k] / study.rows
            axes.plot(study.steps, loss, color=colour, lw=1.7, zorder=2)
            axes.plot(study.steps, study.predicted[p, k] / study.rows, color=colour, zorder=3, **PREDICTED)
            if study.diverged[p, k]:
                last = np.flatnonzero(np.isfinite(loss))[-1]
                axes.plot(study.steps[last], loss[last], "x", color=colour, ms=9, mew=2)
            else:
                floor = study.predicted_floor[p, k] / study.rows
                axes.plot(study.steps[-1] * 1.03, floor, "<", color=colour, ms=7, clip_on=False, zorder=5)
        finite = study.loss[p][np.isfinite(study.loss[p])] / study.rows
        axes.set_yscale("log")
        axes.set_ylim(max(finite.min() / 2, 1e-9), 20 * np.nanmax(study.loss[p, :, 0]) / study.rows)
        axes.set_xlim(0, study.steps[-1] * 1.03)
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        finish(axes)
        if p == 0:
            axes.set_ylabel(r"clean loss per row, $\frac{1}{2}(f(x) - y)^2$")
    keys = [
        Line2D([], [], color=colour, lw=2, label=rf"$\kappa$ = {kappa:g}")
        for colour, kappa in zip(colours, study.kappas, strict=True)
    ]
    keys += [
        Line2D([], [], color=INK, label="predicted from the start", **PREDICTED),
        Line2D([], [], color=INK, marker="<", lw=0, ms=7, label="predicted floor"),
        Line2D([], [], color=INK, marker="x", lw=0, ms=8, mew=2, label="diverged"),
    ]
    _legend(figure, keys)
    return figure


def wide(study):
    """Loss per row of wider networks, with the prediction from the start."""
    count = len(study.wide_kappas)
    figure = Figure(figsize=(3.3 * count + 0.5, 4.1), layout="constrained")
    colours = mpl.colormaps["viridis"](np.linspace(0.75, 0.05, len(study.wide_widths)))
    for k, axes in enumerate(figure.subplots(1, count, sharey=True, squeeze=False)[0]):
        axes.set_title(rf"$\kappa$ = {study.wide_kappas[k]:g}", **title())
        for colour, loss in zip(colours, study.wide_loss[k], strict=True):
            axes.plot(study.steps, loss / study.rows, color=colour, lw=1.7)
        axes.plot(study.steps, study.wide_predicted[k] / study.rows, color=INK, zorder=4, **PREDICTED)
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        finish(axes)
        if k == 0:
            axes.set_ylabel("clean loss per row")
    keys = [
        Line2D([], [], color=colour, lw=2, label=f"width {width:,}")
        for colour, width in zip(colours, study.wide_widths, strict=True)
    ]
    keys.append(Line2D([], [], color=INK, label="predicted from the start", **PREDICTED))
    _legend(figure, keys)
    return figure


def _legend(figure, keys):
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 1.6}
    figure.legend(handles=keys, loc="outside lower center", ncols=5, **style)
