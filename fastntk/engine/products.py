"""Inner products of the masked inputs, in the package's own fixed order and never from BLAS.

The bits of a BLAS product change with threads, tiles and processors; these depend on the two rows.
"""

import numpy as np


def inner_products(rows, columns):
    """x~_i . x~_j, (n, p) float64, of packed inputs; exactly symmetric where both are the same."""
    kernels = rows.kernels
    out = np.zeros(kernels.product_shape(len(rows), len(columns)))
    kernels.ordered_product(rows.feature_panels, columns.feature_panels, rows.rows.shape[1], False, out)
    return kernels.from_panels(out, len(rows), len(columns))


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
