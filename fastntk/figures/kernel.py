"""Figures of a width study."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from ..spectrum import rounding
from .style import INK, SIZE, finish, finish_bar, finish_heat_map, plain_log_ticks, short_count, title

MARKERS = "osD^vPX*"
MOST_COLUMNS = 5  # heat maps side by side; of more mask strengths some are shown


def distance_figure(study):
    """Distance to the infinite-width kernel against width, and its ratio to the prediction.

    Parameters
    ----------
    study : WidthStudy

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _width_axis(left, study)
    left.set_yscale("log")
    left.set_ylabel("relative distance to the limit, per cent")
    left.set_title("Distance falls as width$^{-1/2}$", **title())
    scale = 100 / study.limit_norm[:, None]
    ends = study.widths[0] / 1.5, study.widths[-1] * 1.5
    expected = scale * study.predicted[:, :1] * np.sqrt(study.widths[0] / np.array(ends))  # at both ends
    usual = expected[:, None, :] * study.typical[:, :, None]
    shade = {"color": INK, "alpha": 0.1, "lw": 0}
    left.fill_between(ends, usual.min(axis=(0, 1)), usual.max(axis=(0, 1)), **shade)
    apart = 10 ** (0.16 * _places(study))  # so that no point hides another
    for k, style in enumerate(_styles(study)):
        left.plot(ends, expected[k], "-", color=style["color"], lw=1.4, zorder=1)
        left.plot(study.widths * apart[k], (study.distance * scale)[k], linestyle="none", **style)
    left.set_xlim(ends)
    plain_log_ticks(left)
    finish(left)
    keys = [
        *_kappa_keys(study),
        Line2D([], [], color=INK, lw=1.4, label="exact prediction"),
        Patch(**shade, label="95 % of random networks"),
    ]
    _legend_below(figure, keys)

    right.set_title("Measured distance / predicted distance", **title())
    right.axhline(1, color=INK, lw=1, zorder=0)
    columns = np.arange(len(study.widths))
    thickness = 0.5 / max(len(study.kappas), 4)
    right.use_sticky_edges = False  # a margin below the bars
    for k, style in enumerate(_styles(study)):
        at = columns + 0.62 * _places(study)[k]
        low, high = study.typical[k]
        right.bar(at, high - low, thickness, low, color=style["color"], alpha=0.2)
        right.plot(at, study.ratio[k], linestyle="none", **style)
    right.xaxis.set_major_locator(FixedLocator(columns))
    right.xaxis.set_major_formatter(FixedFormatter([short_count(width) for width in study.widths]))
    right.set_xlabel("width (neurons)")
    right.set_xlim(-0.6, len(columns) - 0.4)
    finish(right, grid="y")
    return figure


def eigenvalue_figure(study):
    """The smallest and the largest eigenvalue against width, with those of the limit.  A Figure."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = (
        ("Smallest eigenvalue", study.smallest, study.limit_smallest),
        ("Largest eigenvalue", study.largest, study.limit_largest),
    )
    # below this an eigenvalue in float64 is rounding noise, which a logarithm must not show
    noise = rounding(study.rows, study.limit_largest.max())
    for axes, (name, values, limits) in zip(figure.subplots(1, 2), panels, strict=True):
        _width_axis(axes, study)
        axes.set_title(name, **title())
        smallest_shown = min(values.min(), limits.min())
        if smallest_shown > noise and max(values.max(), limits.max()) > 4 * smallest_shown:
            axes.set_yscale("log")
        for k, style in enumerate(_styles(study)):
            axes.axhline(limits[k], color=style["color"], lw=1.4, ls=(0, (5, 3)), zorder=1)
            axes.plot(study.widths, values[k], lw=1, **style)
        axes.set_ylabel("eigenvalue")
        plain_log_ticks(axes)
        finish(axes)
    keys = [*_kappa_keys(study), Line2D([], [], color=INK, lw=1.4, ls=(0, (5, 3)), label="infinite width")]
    _legend_below(figure, keys)
    return figure


def kernel_figure(pictures):
    """Heat maps of the kernels at the largest width, and of their differences from the limit.

    Parameters
    ----------
    pictures : fastntk.study.pictures.KernelPictures

    Returns
    -------
    matplotlib.figure.Figure
    """
    count = len(pictures.kappas)
    shown = np.unique(np.linspace(0, count - 1, min(count, MOST_COLUMNS)).astype(int))
    kernels, differences = ([images[k] for k in shown] for images in (pictures.kernels, pictures.differences))
    places = pictures.tick_places
    names = [text.replace("$", r"\$") for text in pictures.tick_names]  # a user's text is no formula
    upright = max(map(len, names), default=0) > 3
    size = 2.75 * len(shown) + 1.1 + 0.5 * upright, 5.8 + 0.7 * upright
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False)
    top = max(np.percentile(kernel, 99.8) for kernel in kernels)
    bottom = min(np.percentile(kernel, 0.2) for kernel in kernels)
    span = max(np.percentile(np.abs(gap), 99.8) for gap in differences)
    rows = (
        (kernels, "viridis", bottom, top, "kernel entry"),
        (differences, "RdBu_r", -span, span, "difference from the limit"),
    )
    for axes, k in zip(grid[0], shown, strict=True):
        axes.set_title(rf"$\kappa$ = {pictures.kappas[k]:g}", **title(loc="center"))
    for axes_row, (images, colours, low, high, label) in zip(grid, rows, strict=True):
        for axes, image in zip(axes_row, images, strict=True):
            place = {"extent": (0, len(image), len(image), 0), "interpolation": "nearest"}
            drawn = axes.imshow(image, cmap=colours, vmin=low, vmax=high, **place)
            finish_heat_map(axes, pictures.edges)
        axes_row[0].set_yticks(places, names)
        bar = figure.colorbar(drawn, ax=axes_row.tolist(), shrink=0.85, pad=0.01, extend="both")
        finish_bar(bar, label)
    for axes in grid[1]:
        axes.set_xticks(places, names, rotation=90 * upright)
    return figure


def ridge_figure(study):
    """What the mask does to the diagonal and to the spectrum, at the largest width.  A Figure."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("The mask lifts the diagonal", **title())
    fine = np.linspace(0, study.kappas[-1] * 1.05, 200)
    left.plot(fine, (1 + fine**2) / 2 * study.squared_norm, color=INK, lw=1.4, zorder=1)
    left.plot(study.kappas, study.off_diagonal[:, -1], color=INK, lw=1, ls=":", zorder=1)
    for k, style in enumerate(_styles(study)):
        left.plot(study.kappas[k], study.diagonal[k, -1], **style)
        left.plot(study.kappas[k], study.off_diagonal[k, -1], **style | {"markerfacecolor": "white"})
    low, high = left.get_ylim()
    left.set_ylim(min(low, 0), high + 0.12 * (high - min(low, 0)))
    left.set_xlabel(r"mask strength $\kappa$")
    left.set_ylabel("mean kernel entry")
    keys = [
        Line2D([], [], color=INK, marker="o", lw=0, label="diagonal"),
        Line2D([], [], color=INK, lw=1.4, label=r"its mean over masks, $(1+\kappa^2)\,\overline{\|x\|^2}/2$"),
        Line2D(
            [], [], color=INK, marker="o", lw=1, ls=":", markerfacecolor="white", label="off the diagonal"
        ),
    ]
    left.legend(handles=keys, frameon=False, fontsize=SIZE, labelcolor=INK)
    finish(left)

    right.set_title(f"All eigenvalues at width {study.widths[-1]:,}", **title())
    rank = np.arange(1, study.rows + 1)
    noise = rounding(study.rows, study.spectrum.max())
    for k, style in enumerate(_styles(study)):
        values = study.spectrum[k, ::-1]
        kept = values > noise
        right.plot(rank[kept], values[kept], color=style["color"], lw=1.8, label=style["label"])
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("rank")
    right.set_ylabel("eigenvalue")
    right.legend(frameon=False, fontsize=SIZE, labelcolor=INK)
    finish(right)
    return figure


# ------------------------------------------------------------------------------------- pieces


def _styles(study):
    """Colour and marker of each mask strength: the same in every figure, dark to light as it grows."""
    shades = np.linspace(0.0, 0.82, len(study.kappas)) if len(study.kappas) > 1 else [0.25]
    for k, (kappa, shade) in enumerate(zip(study.kappas, shades, strict=True)):
        yield {
            "color": mpl.colormaps["plasma"](shade),
            "marker": MARKERS[k % len(MARKERS)],
            "markersize": 6,
            "label": rf"$\kappa$ = {kappa:g}",
        }


def _places(study):
    """Places of the mask strengths side by side, from -1/2 to 1/2."""
    count = len(study.kappas)
    return (np.arange(count) - (count - 1) / 2) / max(count, 4)


def _kappa_keys(study):
    return [Line2D([], [], linestyle="none", **style) for style in _styles(study)]


def _legend_below(figure, keys):
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK}
    figure.legend(handles=keys, loc="outside lower center", ncols=6, columnspacing=1.5, **style)


def _width_axis(axes, study):
    axes.set_xscale("log")
    axes.set_xlabel("width (neurons)")
    if len(study.widths) <= 6:
        axes.xaxis.set_major_locator(FixedLocator(study.widths))
        axes.xaxis.set_major_formatter(FixedFormatter([short_count(width) for width in study.widths]))
        axes.xaxis.set_minor_formatter(NullFormatter())
