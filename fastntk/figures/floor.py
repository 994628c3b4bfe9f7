"""The figure of the part floor: the floor against the strength of the mask."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import INK, SIZE, finish, kappa_axis, title

COLOURS = ("#1b4f9c", "#3f9b6c", "#d1572c")
MARKERS = ("o", "s", "D")


def figures(study):
    """{name: Figure} of a FloorStudy."""
    figure = Figure(figsize=(10.4, 4.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("The floor of the clean loss", **title())
    right.set_title(r"The floor over $\kappa^2$", **title())
    square = np.square(study.kappas)
    for p, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=True)):
        for axes, scale in ((left, 1.0), (right, 1 / square)):
            axes.plot(study.kappas, study.predicted[p] * scale, color=colour, lw=1.5)
            axes.plot(study.kappas, study.noise_floor[p] * scale, color=colour, lw=1.1, ls=(0, (1.5, 1.5)))
            axes.errorbar(
                study.kappas,
                study.floor[p] * scale,
                2 * study.error[p] * scale,
                color=colour,
                fmt=marker,
                ms=5.5,
                capsize=2.5,
                lw=1,
            )
    lowest = np.nanargmin(study.floor[:, 0])
    guide = study.floor[lowest, 0] / square[0] * square / 3
    left.plot(study.kappas, guide, color=INK, lw=1)
    left.annotate(
        r"proportional to $\kappa^2$",
        (study.kappas[len(square) // 2], guide[len(square) // 2]),
        (6, -12),
        textcoords="offset points",
        color=INK,
        fontsize=SIZE - 1,
    )
    for axes in (left, right):
        axes.set_yscale("log")
        kappa_axis(axes, study.kappas)
        finish(axes)
    left.set_ylabel(r"$\frac{1}{2}\sum_i (f(x_i) - y_i)^2$")
    names = [
        f"{name}: {rows} rows, width {width}, step size {step:g}"
        for name, rows, width, step in zip(
            study.problems, study.rows, study.widths, study.step_sizes, strict=True
        )
    ]
    keys = [
        Line2D([], [], color=colour, marker=marker, lw=0, ms=6, label=name)
        for colour, marker, name in zip(COLOURS, MARKERS, names, strict=True)
    ]
    keys += [
        Line2D([], [], color=INK, lw=1.5, label="predicted at the plateau"),
        Line2D([], [], color=INK, lw=1.1, ls=(0, (1.5, 1.5)), label="noise floor"),
    ]
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 1.6}
    figure.legend(handles=keys, loc="outside lower center", ncols=2, **style)
    return {"floor": figure}
