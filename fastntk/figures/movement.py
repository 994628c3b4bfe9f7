"""The figure of the part movement: how far weights move and how many activations flip, against the width."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import INK, SIZE, finish, plain_log_ticks, shades, short_count, title


def figures(study):
    """{name: Figure} of a MovementStudy."""
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    panels = (
        ("Movement of the weights", study.farthest, r"$\max_r |w_r - w_{r0}|$"),
        ("Activations that have flipped", 100 * study.flipped, "per cent of neurons × rows"),
    )
    colours = shades(len(study.kappas))
    ends = np.array([study.widths[0] / 1.3, study.widths[-1] * 1.3])
    for axes, (name, values, label) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.set_title(name, **title())
        for colour, line in zip(colours, values, strict=True):
            axes.plot(study.widths, line, "o-", color=colour, lw=1.6, ms=5)
        middle = len(study.widths) // 2
        guide = values[0, middle] * np.sqrt(study.widths[middle] / ends) / 1.6
        axes.plot(ends, guide, color=INK, lw=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("width (neurons)")
        axes.set_ylabel(label)
        axes.set_xticks(study.widths, [short_count(width) for width in study.widths])
        axes.minorticks_off()
        plain_log_ticks(axes)
        finish(axes)
    keys = [
        Line2D([], [], color=colour, marker="o", ms=5, lw=1.6, label=rf"$\kappa$ = {kappa:g}")
        for colour, kappa in zip(colours, study.kappas, strict=True)
    ]
    keys.append(Line2D([], [], color=INK, lw=1, label="width$^{-1/2}$"))
    figure.legend(
        handles=keys, loc="outside lower center", ncols=6, frameon=False, fontsize=SIZE, labelcolor=INK
    )
    return {"movement": figure}
