"""Float sums whose order does not matter: float64 within a chunk of neurons, int64 fixed point between.

The scale of the fixed point comes beforehand from a bound of the whole sum, so merging is integer addition
and the result does not depend on threads, machines, or where a run was stopped.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..kernels.cpu import CpuKernels

SMALLEST_BOUND_EXPONENT = -500  # keeps the scales of fixed point finite; sums below 2^-562 are lost


class FixedPoint:
    """int64 sums of float64 panels (groups, rows, G), entry (i, j) in units of 2^(e_i + f_j - shift).

    ``bound`` is one for all rows of the panels, or one for each.
    """

    def __init__(self, shape, bound, row_exponents, column_exponents):
        groups, rows, width = shape
        shift = 62 - np.maximum(np.frexp(bound)[1], SMALLEST_BOUND_EXPONENT)
        row = np.zeros(rows, int)
        row[: len(row_exponents)] = row_exponents
        column = np.zeros(groups * width, int)
        column[: len(column_exponents)] = column_exponents
        self.row_scale = np.ldexp(1.0, shift - row)
        self.column_scale = np.ldexp(1.0, -column).reshape(groups, width)
        self.totals = np.zeros(shape, np.int64)

    def add(self, kernels, partial):
        kernels.sums.add_fixed_point(partial, self.row_scale, self.column_scale, self.totals)

    def merge(self, other):
        self.totals += other.totals

    def finish(self, groups=slice(None), rows=slice(None)):
        """The sums of some panels and rows, float64 panels."""
        sums = self.totals[groups, rows] / self.row_scale[rows, None]
        sums /= self.column_scale[groups, None, :]
        return sums

    def state(self, rows, columns):
        """The integers of that many rows and columns, (rows, columns) int64, whatever the panels."""
        out = np.empty((rows, columns), np.int64)
        for here, panel in self._by_panel(out):
            here[...] = panel
        return out

    def add_state(self, state):
        for here, panel in self._by_panel(state):
            panel += here

    def _by_panel(self, matrix):
        """(columns of the matrix, the entries of the panel that stand for them), panel by panel."""
        rows, width = len(matrix), self.totals.shape[2]
        for group, panel in enumerate(self.totals):
            here = matrix[:, group * width : (group + 1) * width]
            yield here, panel[:rows, : here.shape[1]]


class GramSum(ABC):
    """What (n, p) sums have in common; ``symmetric`` ones keep one triangle."""

    symmetric: bool
    inputs: list

    @abstractmethod
    def block(self, rows, columns):
        """Entries of two slices as float64, the first column a whole number of panels; see ``symmetric``."""

    def finish(self):
        n, p = len(self.inputs[0]), len(self.inputs[-1])
        sums = self.block(slice(0, n), slice(0, p))
        return mirrored(sums) if self.symmetric else sums


class FixedPointSum(ABC):
    """Float terms: a float64 partial sum for each chunk, added as int64 fixed point."""

    exact = False
    kernels: "CpuKernels"
    partial: np.ndarray  # panels, the sum over the chunk at hand
    fixed: "FixedPoint"

    @abstractmethod
    def _add_partial(self, chunk):
        """Add the terms of a chunk to ``partial``."""

    def add(self, chunk):
        self.partial[:] = 0.0
        self._add_partial(chunk)
        self.fixed.add(self.kernels, self.partial)

    def merge(self, other):
        self.fixed.merge(other.fixed)

    @property
    @abstractmethod
    def extent(self):
        """(rows, columns) of the panels that hold sums."""

    def state(self):
        return [self.fixed.state(*self.extent)]

    def add_state(self, state):
        self.fixed.add_state(state[0])


class FixedPointGram(FixedPointSum, GramSum):
    """(n, p) sums, entry (i, j) bounded by ``bound`` 2^(e_i + f_j) with e, f the two ``exponents``."""

    def __init__(self, kernels, inputs, bound, exponents):
        self.kernels = kernels
        self.inputs = inputs
        self.symmetric = len(inputs) == 1
        shape = kernels.product_shape(len(inputs[0]), len(inputs[-1]))
        self.partial = np.empty(shape)
        self.fixed = FixedPoint(shape, bound, exponents[0], exponents[-1])

    @staticmethod
    def nbytes(kernels, n, p):
        return 16 * int(np.prod(kernels.product_shape(n, p)))

    @property
    def extent(self):
        return len(self.inputs[0]), len(self.inputs[-1])

    def block(self, rows, columns):
        first = columns.start // self.kernels.group_width
        groups = slice(first, first + self.kernels.groups(columns.stop - columns.start))
        sums = self.fixed.finish(groups, rows)
        return self.kernels.from_panels(sums, rows.stop - rows.start, columns.stop - columns.start)


class FixedPointVector(FixedPointSum):
    """(n,) sums, entry i bounded by ``bound`` 2^e_i."""

    def __init__(self, kernels, inputs, bound, exponents):
        self.kernels = kernels
        self.inputs = inputs
        shape = (kernels.groups(len(inputs[0])), 1, kernels.group_width)
        self.partial = np.empty(shape)
        self.fixed = FixedPoint(shape, bound, np.zeros(1, int), exponents)

    @staticmethod
    def nbytes(kernels, n, p):
        return 16 * kernels.groups(n) * kernels.group_width

    @property
    def extent(self):
        return 1, len(self.inputs[0])

    def finish(self):
        return self.fixed.finish().reshape(-1)[: len(self.inputs[0])]


class FixedPointOutputs(FixedPointSum):
    """(n, q) sums, entry (i, c) bounded by ``bounds[c]`` 2^e_i, e the ``norm_exponents`` of the inputs."""

    def __init__(self, kernels, inputs, bounds):
        self.kernels = kernels
        self.inputs = inputs
        shape = (kernels.groups(len(inputs[0])), len(bounds), kernels.group_width)
        self.partial = np.empty(shape)
        self.fixed = FixedPoint(shape, bounds, np.zeros(1, int), inputs[0].norm_exponents)

    @staticmethod
    def nbytes(kernels, n, p):
        """Two panels, a third while they are finished."""
        return 24 * kernels.groups(n) * kernels.group_width * p

    @property
    def extent(self):
        return self.fixed.totals.shape[1], len(self.inputs[0])

    def finish(self):
        sums = self.fixed.finish()
        return np.ascontiguousarray(self.kernels.from_panels(sums, sums.shape[1], len(self.inputs[0])).T)


def mirrored(upper):
    """The symmetric matrix with this upper triangle, in place."""
    for start in range(0, len(upper), 256):  # in blocks: no second matrix
        stop = min(start + 256, len(upper))
        upper[stop:, start:stop] = upper[start:stop, stop:].T
        block = upper[start:stop, start:stop]
        block[...] = np.triu(block) + np.triu(block, 1).T
    return upper
