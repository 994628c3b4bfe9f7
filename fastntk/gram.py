"""The empirical neural tangent kernel of a network: Gram matrix, cross-Gram and diagonal."""

import sys

import numpy as np

from . import validation
from .engine.accumulators import (
    ActivationCounts,
    CoactivationCounts,
    ReluGram,
    ReluSquares,
    WeightedActivation,
    WeightedCoactivation,
)
from .engine.environment import in_ieee_arithmetic
from .engine.neuron_sums import NeuronSums
from .engine.plan import Options, checked_options
from .engine.products import inner_products, square_norms
from .kernels.reference import DRAW_LIMIT
from .network import as_network
from .sides import kernel_sides

LAYERS = ("hidden", "output", "both")


@in_ieee_arithmetic
def ntk(
    X,
    Y=None,
    *,
    network,
    mask=None,
    draws=1,
    seed=0,
    layers="hidden",
    row_ids=None,
    column_ids=None,
    share_masks=False,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The empirical NTK of a two-layer ReLU network on masked inputs.

    With x~ the masked inputs and b the activation pattern (b_ri = 1 where w_r . x~_i > 0),

        hidden:  K_ij = (x~_i . x~_j) (1/m) sum_r a_r^2 b_ri b_rj
        output:  K_ij = (1/m) sum_r relu(w_r . x~_i) relu(w_r . x~_j)
        both:    their sum,

    with a_r^2 the mean of a_rc^2 over the outputs c where there are several (K is then the mean of the
    kernels of the single outputs), averaged over ``draws`` independent masks.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32; never written.
    Y : (p, d) real array, optional
        Inputs of the columns.  Without it the columns are X and the result is symmetric.
    network : Network
    mask : mask, None, or a pair (row mask, column mask)
        The distribution that multiplies (or is added to) the inputs; None leaves them as they are.
        ``mask=(None, mask)`` is the kernel between clean rows and masked columns.
    draws : int
        Number of mask draws to average over, draw 0 first.
    seed : int
        Seed of the masks (the network has its own).
    layers : "hidden", "output" or "both"
    row_ids, column_ids : integer arrays, optional
        Ids that key the masks, 0, 1, 2, ... by default.  A tile, a subset or a mini-batch that carries
        the ids of the whole data set sees the masks of the whole.
    share_masks : bool
        With Y, rows and columns draw separate masks (even where Y is X); True makes a row and a column
        with equal ids see the same mask.  Without Y both sides always share.
    threads : int, optional
        Worker threads; all processors by default.
    memory_limit : int, optional
        Bytes the call may add; the available memory by default.
    progress : callable, optional
        progress(done, total), in neurons times draws, called from the calling thread.

    Returns
    -------
    (n, p) float64

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    Cost per draw O(m n d + m n p / 512) for the hidden layer and O(m n d + m n p) in float64 for the
    output layer; memory O(threads n p), whatever the width.

    Reproducible: pattern bits are signs of exact real numbers and counts are integers, so the hidden
    kernel (with constant \\|a_r\\|) has the same bits on every machine, for any number of threads.  Float
    sums have the same bits for any number of threads.  Both agree with float64 formulas at the
    float32-rounded inputs to 1e-12 of |x~_i| |x~_j| times the mean of a_r^2 (hidden) or of |w_r|^2 (output).

    Source: the masked network of arXiv 2602.17423; the formulas are in docs/mathematics.md, section 2.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X = np.eye(3)
    >>> net = fn.Network(width=100_000, dim=3, seed=0)
    >>> K = fn.ntk(X, network=net, mask=fn.GaussianMask(0.2), draws=4, seed=1)
    >>> K.shape
    (3, 3)
    """
    rows, columns = kernel_sides(
        X, Y, mask=mask, row_ids=row_ids, column_ids=column_ids, share_masks=share_masks
    )
    neurons = as_network(network, rows.X)._neurons
    draws, seed = checked_draws(draws, seed, layers)
    options = checked_options(threads, memory_limit, progress)

    sums = planned_ntk(neurons, len(rows.X), len(columns.X), layers, options, sweeps=draws)
    sides = [rows] if columns is rows else [rows, columns]
    total = np.zeros((len(rows.X), len(columns.X)))
    for draw in range(draws):
        inputs = [sums.pack(side.masked(seed, draw)) for side in sides]
        K = _combined(
            sums.run(inputs), layers, neurons, inner_products, inputs[0], inputs[-1], sums.plan.threads
        )
        K = inputs[-1].spread_rows(inputs[0].spread_rows(K).T).T
        total += K
    return total / draws


@in_ieee_arithmetic
def ntk_diag(
    X,
    *,
    network,
    mask=None,
    draws=1,
    seed=0,
    layers="hidden",
    row_ids=None,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The diagonal of :func:`ntk`, (n,) float64, without the matrix.

    Arguments, errors and reproducibility as there.  Cost O(m n d) per draw, memory O(n d).

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> net = fn.Network(width=10_000, dim=3)
    >>> fn.ntk_diag(np.eye(3), network=net).shape
    (3,)
    """
    rows, _ = kernel_sides(X, mask=mask, row_ids=row_ids)
    neurons = as_network(network, rows.X)._neurons
    draws, seed = checked_draws(draws, seed, layers)
    options = checked_options(threads, memory_limit, progress)

    counts = ActivationCounts if neurons.constant_square is not None else WeightedActivation
    parts = quantities(layers, counts, ReluSquares)
    sums = NeuronSums(neurons, parts, len(rows.X), options=options, sweeps=draws)
    total = np.zeros(len(rows.X))
    for draw in range(draws):
        inputs = sums.pack(rows.masked(seed, draw))
        diagonal = _combined(sums.run([inputs]), layers, neurons, square_norms, inputs)
        total += inputs.spread_rows(diagonal)
    return total / draws


def planned_ntk(neurons, rows, columns, layers, options, sweeps=1):
    """The sums that make the kernel of so many rows and columns; MemoryError where it does not fit."""
    parts = quantities(layers, _counts(neurons), ReluGram)
    return NeuronSums(neurons, parts, rows, columns, options=options, sweeps=sweeps)


def nbytes_ntk(network, rows, threads):
    """Bytes that the hidden-layer kernel of so many rows takes, its result included."""
    options = Options(threads, memory_limit=sys.maxsize)
    return planned_ntk(network._neurons, rows, rows, "hidden", options).plan.nbytes


def _counts(neurons):
    """What the hidden-layer kernel adds up."""
    return CoactivationCounts if neurons.constant_square is not None else WeightedCoactivation


def checked_draws(draws, seed, layers):
    """(draws, seed), checked, and layers checked."""
    validation.as_choice(layers, "layers", LAYERS)
    return validation.as_count(draws, "draws", high=DRAW_LIMIT), validation.as_seed(seed)


def quantities(layers, hidden, output):
    """What a sweep adds up for ``layers``."""
    return {"hidden": [hidden], "output": [output], "both": [hidden, output]}[layers]


def _combined(sums, layers, neurons, products, *arguments):
    """The kernel from the sums over neurons, the hidden layer's first, and products(*arguments)."""
    if layers != "hidden":
        sums[-1] *= neurons.scale**2 / neurons.width
    if layers == "output":
        return sums[0]
    counts, hidden = sums[0], products(*arguments)
    counts /= neurons.width  # the mean of b b', or of a_r^2 b b'
    hidden *= counts
    if neurons.constant_square not in (None, 1.0):
        hidden *= neurons.constant_square
    if layers == "both":
        hidden += sums[1]
    return hidden
