"""A matrix of any size as a few hundred pixels, its rows and columns sorted by the target."""

from itertools import pairwise

import numpy as np

BLOCK_BYTES = 2**24  # of rows read at once: the matrix may be a map of a file that the memory does not hold
MOST_NAMES = 20  # of classes; there is no room to write more


class SortedPixels:
    """The pixels of matrices over the rows of one data set.

    Parameters
    ----------
    dataset : Dataset
        Its target sorts the rows and columns and labels the axes.
    pixels : int
        The most pixels of a side.

    Attributes
    ----------
    ticks : list of (position in pixels, text)
        The middle of each class, or the target at regular places.
    edges : list of float
        Positions of the boundaries between classes.
    """

    def __init__(self, dataset, pixels):
        self._order = dataset.order()
        n = len(self._order)
        self._starts = np.unique(np.linspace(0, n, min(n, pixels) + 1).astype(int)[:-1])
        self.ticks, self.edges = _axis(dataset, self._order, len(self._starts) / n)

    def shrunk(self, matrix):
        """Means over blocks of entries of an (n, n) matrix, read a few rows at a time.  (p, p) float64."""
        order, starts = self._order, self._starts
        counts = np.diff([*starts, len(order)])
        at_once = max(BLOCK_BYTES // (8 * len(order)), 1)
        sums = np.zeros((len(counts), len(counts)))
        for pixel, (start, count) in enumerate(zip(starts, counts, strict=True)):
            for first in range(start, start + count, at_once):
                rows = order[first : min(first + at_once, start + count)]
                sums[pixel] += np.add.reduceat(matrix[rows].sum(axis=0)[order], starts)
        return sums / np.outer(counts, counts)


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
    if len(names) > MOST_NAMES:  # free text with many values
        return [], []
    return list(zip(middles, names, strict=True)), [start * pixels_per_row for start in starts.tolist()]


def _short(text, length=14):
    """A text that fits beside a picture."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
