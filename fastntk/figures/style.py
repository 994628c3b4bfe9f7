"""What all figures share.  They are `Figure` objects alone: no pyplot, no backend, no global style."""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter, StrMethodFormatter

INK = "#22262b"
FAINT = "#d9dde2"
SIZE = 10  # points of type
PREDICTED = {"ls": (0, (4, 2)), "lw": 1.3}  # lines of theory beside those of measurement


def save(figure, path):
    """Write a figure as PNG, 150 pixels per inch."""
    figure.savefig(path, format="png", dpi=150, facecolor="white", bbox_inches="tight", pad_inches=0.08)


def short_count(value):
    """1000 as 10^3, anything else as it is with separators."""
    exponent = round(np.log10(value))
    return f"$10^{{{exponent}}}$" if value == 10**exponent and exponent > 2 else f"{value:,}"


def plain_log_ticks(axes):
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic y axis that is not too long for them."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high / low < 1e4:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=15))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def title(loc="left"):
    """How titles look, for ``Axes.set_title``."""
    return {"loc": loc, "color": INK, "fontsize": SIZE + 1.5}


def finish(axes, grid="both"):
    """Grid, ticks, labels and spines of a finished panel."""
    axes.grid(axis=grid, color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK, labelsize=SIZE - 1, length=0)
    axes.xaxis.label.set(color=INK, fontsize=SIZE)
    axes.yaxis.label.set(color=INK, fontsize=SIZE)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)


def finish_heat_map(axes, edges):
    """No ticks and no frame, and thin lines between classes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0, colors=INK, labelsize=SIZE - 2)
    for edge in edges:
        axes.axhline(edge, color="white", lw=0.4, alpha=0.6)
        axes.axvline(edge, color="white", lw=0.4, alpha=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def finish_bar(bar, label):
    """The colours of a heat map, as a bar beside it."""
    bar.set_label(label, color=INK, fontsize=SIZE)
    bar.ax.tick_params(colors=INK, labelsize=SIZE - 1)
    bar.outline.set_visible(False)


def shades(count):
    """Colours of mask strengths, dark to light as they grow."""
    return mpl.colormaps["plasma"](np.linspace(0.0, 0.86, count) if count > 1 else [0.25])


def kappa_axis(axes, kappas):
    """A logarithmic axis of mask strengths with a tick at each."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(kappas))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{kappa:g}" for kappa in kappas]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(r"mask strength $\kappa$")
