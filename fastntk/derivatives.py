"""Derivatives with respect to the inputs, with the activation pattern held fixed, and through masks.

The pattern is constant almost everywhere, so these are the derivatives wherever there are any; at a kink,
w_r . x~_i = 0, they are those of relu'(0) = 0.  They serve the differentiable functions of
``fastntk.torch`` and ``fastntk.jax``.
"""

import numpy as np

from . import validation
from .engine.environment import in_ieee_arithmetic
from .engine.plan import checked_options, require_memory
from .forward import activation_pattern
from .gradient import for_outputs
from .gram import mean_coactivation
from .kernels.reference import ROW_MASK_STREAM
from .masks import AdditiveMask
from .network import as_network
from .sides import kernel_sides

VALUES_PER_BLOCK = 1 << 21  # neurons times rows at a time


@in_ieee_arithmetic
def input_gradient(X, u, *, network, threads=None, memory_limit=None):
    """The gradient of sum_ic u_ic f_c(x_i) with respect to the inputs: row i is sum_c u_ic grad f_c(x_i).

    With b the activation pattern,

        G_i = m^{-1/2} sum_r b_ri (sum_c a_rc u_ic) w_r.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, masked where there are masks; rounded to float32.
    u : (n,) real array, (n, q) for a network of q outputs
    network : Network
    threads, memory_limit
        As for :func:`fastntk.ntk`.

    Returns
    -------
    (n, d) float64

    Notes
    -----
    Cost O(m n (d + q)) in float64 on BLAS after a forward pass: the last bits depend on the machine.  Memory
    n m / 8 bytes of pattern, and some blocks of 16 MB.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.derivatives import input_gradient
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]], [1.0, -1.0, 1.0, 1.0])
    >>> input_gradient([[1.0, 2.0], [-1.0, 0.0]], [1.0, 1.0], network=net)
    array([[ 0.5, -1. ],
           [-0.5,  0. ]])
    """
    X = validation.as_matrix(X, "X")
    network = as_network(network, X)
    u = for_outputs(u, "u", len(X), network.outputs)
    options = checked_options(threads, memory_limit, None)
    neurons, (n, dim) = network._neurons, X.shape
    count = max(8, VALUES_PER_BLOCK // n // 8 * 8)
    needed = n * neurons.width // 8 + 8 * n * dim + 24 * min(count, neurons.width) * (n + dim)
    require_memory(needed, options.memory_limit, f"gradients of {n} inputs", "fewer rows")
    pattern = activation_pattern(X, network=network, threads=threads, memory_limit=memory_limit)
    total = np.zeros((n, dim))
    for first in range(0, neurons.width, count):
        some = min(count, neurons.width - first)
        bits = np.unpackbits(
            pattern.packed[:, first // 8 : -(-(first + some) // 8)], axis=1, count=some, bitorder="little"
        )
        weighted = u @ neurons.output_weights(first, some).T
        weighted *= bits
        total += weighted @ neurons.rows(first, some).astype(np.float64)
    return total * (neurons.scale / np.sqrt(neurons.width))


def mask_factor(mask, X, *, seed, draw, row_ids=None, stream=ROW_MASK_STREAM):
    """The derivative of each masked entry by the entry, (n, d) float32: what a mask multiplies by.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.derivatives import mask_factor
    >>> mask_factor(fn.BernoulliMask(0.5), [[7.0, 0.0, 1.0]], seed=2, draw=0)
    array([[2., 0., 2.]], dtype=float32)
    """
    ones = np.ones(np.shape(X), np.float32)
    if mask is None or isinstance(mask, AdditiveMask):
        return ones
    return mask.sample(ones, seed=seed, draw=draw, row_ids=row_ids, stream=stream)


@in_ieee_arithmetic
def kernel_factor(X, Y=None, *, network, threads=None, memory_limit=None):
    """What multiplies x_i . y_j in the hidden-layer kernel, (1/m) sum_r a_r^2 b_ri b_rj: (n, p) float64.

    So the gradient of sum_ij G_ij K_ij with respect to x_i, with the pattern fixed, is
    sum_j G_ij kernel_factor_ij y_j.  Arguments, cost and errors as for :func:`fastntk.ntk` without a mask.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.derivatives import kernel_factor
    >>> kernel_factor([[1.0], [-2.0]], network=fn.Network.from_arrays([[1.0], [-1.0]], [1.0, 3.0]))
    array([[0.5, 0. ],
           [0. , 4.5]])
    """
    rows, columns = kernel_sides(X, Y)
    network = as_network(network, rows.X)
    return mean_coactivation(rows, columns, network, checked_options(threads, memory_limit, None))


@in_ieee_arithmetic
def kernel_gradient(G, X, Y=None, *, network, mask=None, draws=1, seed=0):
    """The gradient of sum_ij G_ij K_ij, K the hidden-layer kernel, with respect to X and Y: a pair.

    Parameters
    ----------
    G : (n, p) array
    X, Y, network, mask, draws, seed
        As for :func:`fastntk.ntk`.

    Returns
    -------
    (n, d) float64, and (p, d) float64 or None without Y

    Notes
    -----
    Cost of ``fastntk.ntk(X, Y)`` and O(n p d).

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.derivatives import kernel_gradient
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, -1.0]], [1.0, 1.0])
    >>> kernel_gradient([[1.0]], [[1.0, 2.0]], network=net)
    (array([[1., 2.]]), None)
    """
    rows, columns = kernel_sides(X, Y, mask=mask)
    alike = columns is rows
    by_rows, by_columns = np.zeros(rows.X.shape), np.zeros(columns.X.shape)
    for draw in range(draws):
        x = rows.masked(seed, draw)
        y = x if alike else columns.masked(seed, draw)
        weights = G * kernel_factor(x, None if alike else y, network=network)
        for total, side, product in ((by_rows, rows, weights @ y), (by_columns, columns, weights.T @ x)):
            total += product * mask_factor(
                side.mask, side.X, seed=seed, draw=draw, row_ids=side.ids, stream=side.stream
            )
    if Y is None:
        return (by_rows + by_columns) / draws, None
    return by_rows / draws, by_columns / draws
