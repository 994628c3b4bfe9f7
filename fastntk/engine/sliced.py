"""The Gram of rectified preactivations by AMX: blocks of neurons in fixed point."""

import numpy as np

BLOCK = 1024  # neurons of one fixed point: part of the definition of the sums, as CHUNK is
SPREAD = 96  # how far the largest |w_r|^2 of a block may be above the mean


class SlicedGram:
    """Adds blocks of neurons to the panels of a Gram of rectified preactivations.

    relu(h_ri) is at most W |x~_i|, W the largest |w_r| of the block, and is cut into bytes below that bound.
    Where W^2 is at most SPREAD times the mean of |w_r|^2, what is lost is below 5e-13 of that mean times
    |x~_i| |x~_j| (docs/mathematics.md, section 5); blocks with other weights are refused.
    """

    def __init__(self, kernels, dim, inputs):
        self.kernels, self.inputs = kernels, inputs
        self._scratch = kernels.cut_scratch(dim)
        self._left = kernels.slices.empty_operand(len(inputs[0]), BLOCK)
        self._right = kernels.slices.empty_operand(max(map(len, inputs)), BLOCK)
        self._squares = np.empty(BLOCK)

    @staticmethod
    def nbytes(kernels, n, p):
        return sum(kernels.slices.operand_bytes(count, BLOCK) for count in (n, max(n, p)))

    def add(self, weights, partial):
        """Add the neurons with these unscaled weights, at most BLOCK, or return False: they are refused."""
        squares = self._squares[: len(weights)]
        self.kernels.sums.row_squares(weights, squares)
        if squares.max() * len(squares) > SPREAD * squares.cumsum()[-1]:  # cumsum: in order, whatever NumPy
            return False
        bound = np.sqrt(squares.max()) * (1 + 1e-9)
        rows, columns = self.inputs[0], self.inputs[-1]
        right, row_units = self._cut(rows, weights, bound)
        self.kernels.slices.transpose_tiles(right, self._left)
        column_units = row_units
        if columns is not rows:
            right, column_units = self._cut(columns, weights, bound)
        steps = -(-len(weights) // self.kernels.slices.STEP)
        self.kernels.sliced_gram(self._left, right, steps, row_units, column_units, columns is rows, partial)
        return True

    def _cut(self, side, weights, bound):
        """The slices of one side, in the right operand, and what its integers are units of."""
        slices, panels = self.kernels.slices, side.feature_panels
        right = self._right[: slices.tiles(len(side))]
        largest = bound * side.norm_bounds
        factors = np.zeros(max(len(panels) * panels.shape[2], len(right) * slices.TILE))
        np.divide(slices.LARGEST, largest, out=factors[: len(side)], where=largest > 0.0)
        by_panel = factors[: len(panels) * panels.shape[2]].reshape(len(panels), -1)
        self.kernels.cut_rectified(weights, panels, by_panel, self._scratch, right)
        units = np.zeros_like(factors)
        units[: len(side)] = largest * (slices.UNIT / slices.LARGEST)
        return right, units
