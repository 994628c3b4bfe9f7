"""Products of float64 matrices in the package's own fixed order and never from BLAS.

The bits of a BLAS product change with threads, tiles and processors; these depend on the two columns.
"""

import numpy as np


def inner_products(rows, columns, row_slice, column_slice):
    """x~_i . x~_j of packed inputs, for two slices that begin with a panel; float64.

    The entry (i, j) has the bits of the entry (j, i): a chain of fma is symmetric.
    """
    kernels, width = rows.kernels, rows.kernels.group_width
    left, right = (
        side.feature_panels[here.start // width : -(-here.stop // width)]
        for side, here in ((rows, row_slice), (columns, column_slice))
    )
    sizes = [here.stop - here.start for here in (row_slice, column_slice)]
    return kernels.from_panels(panel_product(kernels, left, right), *sizes)


def panel_product(kernels, left, right):
    """The product of the columns of two operands in panels, as panels."""
    out = np.zeros((len(right), len(left) * kernels.group_width, kernels.group_width))
    kernels.ordered_product(left, right, left.shape[1], False, out)
    return out


def square_norms(inputs):
    """||x~_i||^2, (n,) float64: the diagonal of :func:`inner_products`, with the same bits."""
    kernels, panels = inputs.kernels, inputs.feature_panels
    out = np.empty((len(panels), kernels.group_width))
    for group in range(len(panels)):
        one = panels[group : group + 1]
        out[group] = np.diagonal(panel_product(kernels, one, one)[0])
    return out.reshape(-1)[: len(inputs)]
