"""The figure of one kernel matrix: a heat map and, where they are known, its eigenvalues."""

import numpy as np
from matplotlib.figure import Figure

from ..spectrum import rounding
from .style import INK, SIZE, finish, finish_bar, finish_heat_map, title

LETTERS_IN_A_LINE = 70  # below a heat map
COLOUR = "#1b4f9c"


def figure(image, ticks, edges, *, name, rows_as, about, entries_as="kernel entry", eigenvalues=None):
    """The kernel as a heat map, and beside it the eigenvalues by rank.

    Parameters
    ----------
    image : (p, p) float64
        Means over blocks of entries.
    ticks : list of (position in pixels, text)
    edges : list of float
        Positions of the boundaries between classes, in pixels.
    name : str
        Of the data.
    rows_as, about, entries_as : str
        How the rows are sorted, what kernel it is, and what a pixel stands for, in words.
    eigenvalues : (n,) float64, ascending, or None
        Those that rounding leaves of float64 are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with_spectrum = eigenvalues is not None
    drawn = Figure(figsize=(12.4 if with_spectrum else 6.8, 5.8), layout="constrained")
    drawn.get_layout_engine().set(wspace=0.06)
    left, *rest = np.ravel(drawn.subplots(1, 1 + with_spectrum, width_ratios=(1.35, 1)[: 1 + with_spectrum]))
    _heat_map(drawn, left, image, ticks, edges, entries_as)
    left.set_title(f"Kernel of {_plain(name)}, {rows_as}\n{about}", **title())
    for axes in rest:
        _spectrum(axes, eigenvalues)
    return drawn


def _heat_map(drawn, axes, image, ticks, edges, entries_as):
    low, high = np.percentile(image, [0.2, 99.8])  # a bright diagonal would leave one colour for the rest
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}
    extend = beyond[bool(image.min() < low), bool(image.max() > high)]
    place = {"extent": (0, len(image), len(image), 0)}
    heat = axes.imshow(image, cmap="viridis", vmin=low, vmax=high, **place)
    finish_heat_map(axes, edges)
    places, names = [at for at, _ in ticks], [_plain(text) for _, text in ticks]
    crowded = sum(len(name) + 1 for name in names) > LETTERS_IN_A_LINE
    axes.set_xticks(places, names, rotation=90 * crowded)
    axes.set_yticks(places, names)
    finish_bar(drawn.colorbar(heat, ax=axes, shrink=0.85, pad=0.02, extend=extend), entries_as)


def _spectrum(axes, eigenvalues):
    largest_first = eigenvalues[::-1]
    kept = largest_first > rounding(len(eigenvalues), largest_first[0])
    axes.set_title("Its eigenvalues", **title())
    rank = np.arange(1, len(eigenvalues) + 1)
    axes.plot(rank[kept], largest_first[kept], ".", color=COLOUR, ms=4)
    axes.set_xscale("log")
    if kept.any():  # a matrix of zeros has none
        axes.set_yscale("log")
    axes.set_xlabel("rank")
    axes.set_ylabel("eigenvalue")
    if not kept.all():
        missing = f"{np.count_nonzero(~kept):,} below rounding are left out"
        axes.text(0.03, 0.03, missing, transform=axes.transAxes, color=INK, fontsize=SIZE - 1)
    finish(axes)


def _plain(text):
    """A user's text is no formula."""
    return text.replace("$", r"\$")
