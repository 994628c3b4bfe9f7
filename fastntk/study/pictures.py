"""Kernels reduced to heat maps, as they come by: a matrix of any size becomes a few hundred pixels."""

from dataclasses import dataclass

import numpy as np

from .sorted_pixels import SortedPixels

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
        self._pixels = SortedPixels(dataset, PIXELS)
        self.ticks, self.edges = self._pixels.ticks, self._pixels.edges
        self.target_name = dataset.target_name

    def add(self, kappa, width, kernel, limit):
        """The callback ``each_kernel`` of :func:`width_study`."""
        if width == self.width:
            self.kappas.append(kappa)
            picture = self._pixels.shrunk(kernel)
            self.kernels.append(picture)
            self.differences.append(picture - self._pixels.shrunk(limit))

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
