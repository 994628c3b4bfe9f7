"""From sums over neurons to the entries of a matrix: block by block, on all threads."""

import numpy as np

from .fixed_point import mirrored
from .products import inner_products
from .workers import run_workers

# Temporaries of a few MB, rows that a disk likes, and more blocks than threads for all but tiny matrices.
BLOCK_ROWS, BLOCK_COLUMNS = 128, 2048


class ArraySum:
    """Blocks are added to an array."""

    def __init__(self, array):
        self.array = array

    def put(self, rows, columns, values):
        """Add values where two indices of the axes say: slices, or arrays of integers."""
        if not isinstance(rows, slice):
            rows = rows[:, None]
            columns = columns if not isinstance(columns, slice) else np.arange(columns.start, columns.stop)
        self.array[rows, columns] += values


def assemble(formula, accumulators, inputs, target, threads, report=None):
    """Put ``formula(sums, products)`` of every block of the matrix of these inputs to its place.

    ``sums`` is a list of (rows, columns) float64, one from each accumulator, and ``products()`` the inner
    products of the inputs.  ``target.put(rows, columns, values)`` is called from several threads at once, for
    entries that are never the same.
    """
    symmetric = len(inputs) == 1
    rows_of, columns_of = inputs[0].places_of, inputs[-1].places_of

    def work(tasks):
        for rows, columns in tasks:
            values = formula(
                [accumulator.block(rows, columns) for accumulator in accumulators],
                lambda here=(rows, columns): inner_products(inputs[0], inputs[-1], *here),
            )
            if symmetric and rows == columns:
                mirrored(values)
            target.put(rows_of(rows), columns_of(columns), values)
            if symmetric and rows != columns:
                target.put(columns_of(columns), rows_of(rows), values.T)
            tasks.report(values.size)

    blocks = split(len(inputs[0]), len(inputs[-1]), inputs[0].kernels.group_width, symmetric)
    run_workers(work, blocks, min(threads, len(blocks)), report)


def split(n, p, panel, symmetric):
    """Blocks of an (n, p) matrix, pairs of slices that begin with a panel; one triangle if ``symmetric``."""
    rows_each, columns_each = (size // panel * panel for size in (BLOCK_ROWS, BLOCK_COLUMNS))
    blocks = []
    for first in range(0, n, rows_each):
        rows = slice(first, min(first + rows_each, n))
        if symmetric:
            blocks.append((rows, rows))
        for start in range(rows.stop if symmetric else 0, p, columns_each):
            blocks.append((rows, slice(start, min(start + columns_each, p))))
    return blocks


def nbytes_block(n, p, kernels, quantities):
    """Bytes of one thread's temporaries."""
    rows, columns = min(n + kernels.group_width, BLOCK_ROWS), min(p + kernels.group_width, BLOCK_COLUMNS)
    return 8 * rows * columns * (len(quantities) + 4)
