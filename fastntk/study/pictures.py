"""Kernels reduced to heat maps, as they come by: a matrix of any size becomes a few hundred pixels."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PIXELS = 300


@dataclass(frozen=True)
class KernelPictures:
    """Heat maps of the kernels of one width, one for each mask strength.

    Attributes
    ----------
    width : int
    kappas : (K,) float64
    kernels, differences : (K, p, p) float64
        Means over blocks of entries of the kernel, and of its difference from the limit; p at most `PIXELS`.
    tick_places, tick_names : (t,) float64 in pixels, (t,) texts
        The middle of each class, or the target at regular places.
    edges : (e,) float64
        Positions of the boundaries between classes.
    """

    width: int
    kappas: np.ndarray
    kernels: np.ndarray
    differences: np.ndarray
    tick_places: np.ndarray
    tick_names: tuple
    edges: np.ndarray


class Pictures:
    """Collects, for one width, the heat map of each kernel and of its difference from the limit.

    Parameters
    ----------
    dataset : Dataset
        Its target sorts the rows and columns and labels the axes.
    width : int
        The width whose kernels are kept.

    Attributes
    ----------
    kappas : list of float
    kernels, differences : list of (p, p) float64
        Means over blocks of entries, p at most `PIXELS`.
    ticks : list of (position in pixels, text)
        The middle of each class, or the target at regular places.
    edges : list of float
        Positions of the boundaries between classes.
    """

    def __init__(self, dataset, width):
        self.width = width
        self.kappas, self.kernels, self.differences = [], [], []
        self._order = dataset.order()
        n = len(self._order)
        self._starts = np.unique(np.linspace(0, n, min(n, PIXELS) + 1).astype(int)[:-1])
        self.ticks, self.edges = _axis(dataset, self._order, len(self._starts) / n)
        self.target_name = dataset.target_name

    def add(self, kappa, width, kernel, limit):
        """The callback ``each_kernel`` of :func:`width_study`."""
        if width == self.width:
            self.kappas.append(kappa)
            self.kernels.append(self._shrunk(kernel))
            self.differences.append(self._shrunk(kernel) - self._shrunk(limit))

    def finished(self):
        """What has been collected, as :class:`KernelPictures`."""
        return KernelPictures(
            width=self.width,
            kappas=np.array(self.kappas),
            kernels=np.array(self.kernels),
            differences=np.array(self.differences),
            tick_places=np.array([place for place, _ in self.ticks], float),
            tick_names=tuple(name for _, name in self.ticks),
            edges=np.array(self.edges, float),
        )

    def _shrunk(self, matrix):
        counts = np.diff([*self._starts, len(self._order)])
        sums = np.empty((len(counts), len(self._order)))
        for i, (start, count) in enumerate(zip(self._starts, counts, strict=True)):  # no sorted copy
            sums[i] = matrix[self._order[start : start + count]].sum(axis=0)
        sums = np.add.reduceat(sums[:, self._order], self._starts, axis=1)
        return sums / np.outer(counts, counts)


def _short(text, length=14):
    """A text that fits beside a picture."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _axis(dataset, order, pixels_per_row):
    """Tick labels and class boundaries of the sorted rows."""
    n = len(order)
    if dataset.target is None:
        return [(row * pixels_per_row, f"{row}") for row in np.linspace(0, n - 1, 4).astype(int)], []
    target = dataset.target[order]
    if dataset.class_names is None:
        places = np.linspace(0, n - 1, 5).astype(int)
        return [((row + 0.5) * pixels_per_row, f"{target[row]:.4g}") for row in places], []
    starts = np.flatnonzero(np.diff(target)) + 1
    bounds = [0, *starts.tolist(), n]
    middles = [(a + b) / 2 * pixels_per_row for a, b in pairwise(bounds)]
    names = [_short(dataset.class_names[target[a]]) for a in bounds[:-1]]
    if len(names) > 20:  # free text with many values: no room to write them
        return [], []
    return list(zip(middles, names, strict=True)), [start * pixels_per_row for start in starts.tolist()]
