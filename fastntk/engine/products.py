"""Products of float64 matrices in the package's own fixed order and never from BLAS.

The bits of a BLAS product change with threads, tiles and processors; these depend on the two columns.
"""

import numpy as np

from .accumulators import mirrored
from .environment import ieee_arithmetic
from .threads import pool


def inner_products(rows, columns, threads=1):
    """x~_i . x~_j, (n, p) float64, of packed inputs.

    Where both sides are the same, one triangle is computed and mirrored: a chain of fma is symmetric.
    """
    symmetric = rows is columns
    out = panel_product(rows.kernels, rows.feature_panels, columns.feature_panels, symmetric, threads)
    products = rows.kernels.from_panels(out, len(rows), len(columns))
    return mirrored(products) if symmetric else products


def panel_product(kernels, left, right, symmetric=False, threads=1):
    """The product of the columns of two operands in panels, as panels; one triangle where ``symmetric``."""
    out = np.zeros((len(right), len(left) * kernels.group_width, kernels.group_width))

    def every_so_many(first):
        """A worker's share: groups of columns, interleaved as they grow longer in a triangle."""
        with ieee_arithmetic():
            for group in range(first, len(right), threads):
                needed = left[: group + 1] if symmetric else left
                here = slice(group, group + 1)
                kernels.ordered_product(needed, right[here], left.shape[1], False, out[here])

    if threads == 1:  # perhaps in a worker, which must not wait for others
        every_so_many(0)
        return out
    for worker in [pool().submit(every_so_many, first) for first in range(threads)]:
        worker.result()
    return out


def square_norms(inputs):
    """||x~_i||^2, (n,) float64: the diagonal of :func:`inner_products`, with the same bits."""
    kernels, panels = inputs.kernels, inputs.feature_panels
    out = np.empty((len(panels), kernels.group_width))
    for group in range(len(panels)):
        one = panels[group : group + 1]
        square = np.zeros((1, kernels.group_width, kernels.group_width))
        kernels.ordered_product(one, one, one.shape[1], False, square)
        out[group] = np.diagonal(square[0])
    return out.reshape(-1)[: len(inputs)]
