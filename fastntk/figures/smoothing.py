"""Figures of the part smoothing: the smoothed ReLU, how far off it is, and the mean loss in two parts."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from .style import INK, SIZE, finish, kappa_axis, plain_log_ticks, title

MEAN, PROXY, PLAIN = "#1b4f9c", "#d1572c", "#8a929b"
SECOND = "#8fb2e0"
MOST_CURVES = 4


def figures(study):
    """{name: Figure} of a SmoothingStudy."""
    return {"smoothing-curves": curves(study), "smoothing-gaps": gaps(study)}


def curves(study):
    """The smoothed ReLU and its proxy at some mask strengths, with simulated points."""
    count = len(study.kappas)
    shown = np.unique(np.linspace(min(2, count - 1), count - 1, min(count, MOST_CURVES)).astype(int))
    figure = Figure(figsize=(2.6 * len(shown) + 0.4, 3.3), layout="constrained")
    for axes, k in zip(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0], shown, strict=True):
        axes.set_title(rf"$\kappa$ = {study.kappas[k]:g}", **title())
        axes.plot(study.curve_z, np.maximum(study.curve_z, 0), color=PLAIN, lw=1.2, label="ReLU")
        axes.plot(study.curve_z, study.curve_proxy[k], color=PROXY, lw=1.6, ls=(0, (5, 2)), label="proxy")
        axes.plot(study.curve_z, study.curve_mean[k], color=MEAN, lw=1.8, label="mean, closed form")
        axes.plot(
            study.sample_z[k], study.sample_mean[k], "o", color=INK, ms=4.5, label="mean, simulated", zorder=5
        )
        axes.set_xlabel("preactivation $z$")
        finish(axes)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=SIZE, labelcolor=INK
    )
    return figure


def gaps(study):
    """Left: distances to the simulated mean.  Right: the mean loss and its parts."""
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Distance to the simulated mean of the ReLU", **title())
    left.set_ylabel("in units of the spread of $z$")
    for values, color, marker, label in (
        (study.proxy_gap, PROXY, "s", "proxy"),
        (study.plain_gap, PLAIN, "v", "ReLU, not smoothed"),
        (study.mean_gap, MEAN, "o", "closed form"),
    ):
        left.plot(study.kappas, values, color=color, marker=marker, ms=5, lw=1.6, label=label)
    bottom = min(study.mean_gap.min(), study.simulation_error.min()) / 3
    left.fill_between(
        study.kappas, bottom, study.simulation_error, color=INK, alpha=0.1, lw=0, label="simulation error"
    )
    left.set_yscale("log")
    left.set_ylim(bottom=bottom)
    kappa_axis(left, study.kappas)
    plain_log_ticks(left)
    left.legend(frameon=False, fontsize=SIZE - 1, labelcolor=INK)
    finish(left)

    right.set_title("The mean of the masked loss", **title())
    places = np.arange(len(study.kappas))
    right.bar(places, study.smoothed_mse, 0.62, color=MEAN, label="smoothed MSE")
    right.bar(places, study.regulariser, 0.62, study.smoothed_mse, color=SECOND, label="regulariser")
    right.errorbar(
        places,
        study.loss,
        2 * study.loss_error,
        color=INK,
        fmt="o",
        ms=4.5,
        capsize=3,
        label="simulated, ± 2 s.e.",
    )
    right.hlines(
        study.proxy_mse,
        places - 0.42,
        places + 0.42,
        color=PROXY,
        lw=1.8,
        ls=(0, (3, 1)),
        label="MSE of the proxy",
    )
    right.xaxis.set_major_locator(FixedLocator(places))
    right.xaxis.set_major_formatter(FixedFormatter([f"{kappa:g}" for kappa in study.kappas]))
    right.set_xlabel(r"mask strength $\kappa$")
    right.legend(frameon=False, fontsize=SIZE - 1, labelcolor=INK, loc="upper left")
    right.set_ylim(top=1.25 * max(study.loss.max(), study.proxy_mse.max()))
    finish(right, grid="y")
    return figure
