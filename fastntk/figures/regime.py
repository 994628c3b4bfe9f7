"""The figure of the part regime: training runs and the kernel regime."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import INK, PREDICTED, SIZE, finish, shades, title

SMALLEST = 1e-6  # loss that is shown


def figures(study):
    """{name: Figure} of a RegimeStudy."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    colours = shades(len(study.kappas))
    steps = np.maximum(study.steps, 0.7)  # step 0 at the left end of a logarithmic axis
    for axes, name, measured, predicted, scale in (
        (left, "Loss, rows trained on", study.loss, study.predicted_loss, "log"),
        (middle, "Loss, rows held out", study.held_out_loss, study.predicted_held_out_loss, "linear"),
    ):
        axes.set_title(name, **title())
        for k, colour in enumerate(colours):
            axes.plot(steps, measured[k], "o", color=colour, ms=5)
            axes.plot(steps, predicted[k], color=colour, **PREDICTED)
        axes.set_xscale("log")
        axes.set_yscale(scale)
        if scale == "log":
            axes.set_ylim(bottom=max(measured.min(), SMALLEST) / 2)
        axes.set_xlabel("steps")
        finish(axes)
    right.set_title("Outputs after the last step", **title())
    ends = np.array([study.outputs.min(), study.outputs.max()])
    right.plot(ends, ends, color=INK, lw=1)
    for k, colour in enumerate(colours):
        for rows, face in ((slice(None, study.rows), colour), (slice(study.rows, None), "white")):
            x, y = study.predicted_outputs[k, rows], study.outputs[k, rows]
            right.plot(x, y, "o", color=colour, markerfacecolor=face, ms=5)
    right.set_xlabel("predicted")
    right.set_ylabel("mean of the runs")
    finish(right)
    keys = [
        Line2D([], [], color=colour, marker="o", ms=5, lw=0, label=rf"$\kappa$ = {kappa:g}")
        for colour, kappa in zip(colours, study.kappas, strict=True)
    ]
    keys += [
        Line2D([], [], color=INK, label="kernel regime", **PREDICTED),
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", ms=5, lw=0, label="row held out"),
    ]
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 1.8}
    figure.legend(handles=keys, loc="outside lower center", ncols=6, **style)
    return {"regime": figure}
