"""The empirical neural tangent kernel of a network: Gram matrix, cross-Gram and diagonal."""

import sys

from . import validation
from .arrays import like_its_arrays
from .engine.accumulators import (
    ActivationCounts,
    CoactivationCounts,
    ReluGram,
    ReluSquares,
    WeightedActivation,
    WeightedCoactivation,
)
from .engine.devices import checked_backend
from .engine.environment import in_ieee_arithmetic
from .engine.executors import as_workers
from .engine.kernel_matrix import KernelMatrix
from .engine.plan import Options, checked_options
from .engine.problem import Problem
from .engine.products import square_norms
from .engine.row_values import row_values
from .keeping import as_npy_path, checkpoint_of
from .kernels.reference import DRAW_LIMIT
from .network import as_network
from .sides import kernel_sides

LAYERS = ("hidden", "output", "both")


@like_its_arrays
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
    out=None,
    checkpoint=None,
    executor=None,
    backend="auto",
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
        Inputs, rounded to float32; never written.  A float32 ``np.memmap`` is read a tile at a time with
        ``out`` (another dtype is converted as a whole); an iterator of blocks of rows is gathered first.
        Tensors of PyTorch, arrays of JAX and of array-API libraries, and data frames are read too.
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
    out : path of a .npy file, optional
        Write the result there, tile by tile, where it does not fit the memory.  The file gets its name when
        it is whole; an earlier one of the same shape is replaced then.
    checkpoint : path of a folder, optional
        Keep there what has been added up, from time to time; the same call goes on from it, to the same bits,
        whatever stopped the one before.  A folder of another call is refused.
    executor : concurrent.futures.Executor or dask.distributed.Client, optional
        Where ranges of neurons are added up instead of here.  Tasks of workers that are lost are done again.
    backend : "auto", "cpu" or "cuda"
        "cuda" adds up the neurons on all CUDA devices that this process (or a worker of ``executor``) sees;
        "auto" does that where X or Y is on one.  Everything else is the processors'.
    threads : int, optional
        Worker threads; all processors by default, one for each task of an executor.
    memory_limit : int, optional
        Bytes the call may add here, what an executor's tasks take not counted; the available memory by
        default.
    progress : callable, optional
        progress(done, total), in neurons times draws, called from the calling thread.

    Returns
    -------
    (n, p) float64
        A tensor or array of the library of X; with ``out`` a read-only memory map of that file.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; for ``checkpoint`` (a CheckpointError, which is a
        ValueError) what differs or is damaged.
    MemoryError
        Before anything is allocated, with the estimate and what would help.
    OSError
        Before anything is computed, where a disk has no room.

    Notes
    -----
    Cost per draw O(m n d + m n p / 512) for the hidden layer and O(m n d + m n p) in float64, or by products
    of bytes with AMX, for the output layer; memory O(threads n p), whatever the width, or what
    ``memory_limit`` says with ``out``.  Checkpoints take less than 2 % of the time (the first after half a
    minute).

    Reproducible: pattern bits are signs of exact real numbers and counts are integers, so the hidden
    kernel (with constant \\|a_r\\|) has the same bits on every machine and backend, whatever the threads.
    Float sums have the same bits for any number of threads, the output layer's on all processors with AMX or
    all without.  Both agree with float64 formulas at the float32-rounded inputs to 1e-12 of |x~_i| |x~_j|
    times the mean of a_r^2 (hidden) or of |w_r|^2 (output).

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
    backend = checked_backend(backend, X, Y)
    rows, columns = kernel_sides(
        X, Y, mask=mask, row_ids=row_ids, column_ids=column_ids, share_masks=share_masks
    )
    neurons = as_network(network, rows.X)._neurons
    draws, seed = checked_draws(draws, seed, layers)
    options = checked_options(threads, memory_limit, progress, backend)
    shape = len(rows.X), len(columns.X)
    out = None if out is None else as_npy_path(out, checkpoint)

    sides = [rows] if columns is rows else [rows, columns]
    problem = Problem(neurons, quantities(layers, _counts(neurons), ReluGram), sides, seed, backend)
    matrix = KernelMatrix(
        problem, shape, draws, _formula(layers, neurons), options, as_workers(executor, threads)
    )
    described = {"draws": draws, "layers": layers, "out": None if out is None else str(out)}
    tile = shape if out is None else matrix.tile_edges()
    with checkpoint_of(checkpoint, "ntk", problem, described, matrix.state_bytes(*tile)) as saved:
        return matrix.in_memory(saved) if out is None else matrix.to_file(out, saved)


@like_its_arrays
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
    checkpoint=None,
    executor=None,
    backend="auto",
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
    backend = checked_backend(backend, X)
    rows, _ = kernel_sides(X, mask=mask, row_ids=row_ids)
    neurons = as_network(network, rows.X)._neurons
    draws, seed = checked_draws(draws, seed, layers)
    options = checked_options(threads, memory_limit, progress, backend)

    counts = ActivationCounts if neurons.constant_square is not None else WeightedActivation
    problem = Problem(neurons, quantities(layers, counts, ReluSquares), [rows], seed, backend)
    formula = _formula(layers, neurons)

    def finish(sums, inputs):
        return formula(sums, lambda: square_norms(inputs))

    described = {"draws": draws, "layers": layers}
    with checkpoint_of(checkpoint, "ntk_diag", problem, described, 16 * len(rows.X)) as saved:
        return row_values(problem, 1, range(draws), finish, options, saved, as_workers(executor, threads))[
            :, 0
        ]


def mean_coactivation(rows, columns, network, options):
    """(1/m) sum_r a_r^2 b_ri b_rj of two sides whose masks are None, (n, p) float64.

    It multiplies x~_i . x~_j in the hidden-layer kernel, and is constant in the inputs almost everywhere:
    the factor that derivatives of the kernel keep.
    """
    neurons = network._neurons
    sides = [rows] if columns is rows else [rows, columns]

    def formula(sums, _products):
        mean = sums[0] / neurons.width
        return mean if neurons.constant_square is None else mean * neurons.constant_square

    problem = Problem(neurons, [_counts(neurons)], sides, 0)
    return KernelMatrix(problem, (len(rows.X), len(columns.X)), 1, formula, options).in_memory()


def planned_ntk(neurons, rows, columns, layers, options):
    """The plan for the kernel of so many rows and columns; MemoryError where it does not fit."""
    problem = Problem(neurons, quantities(layers, _counts(neurons), ReluGram), [], 0)
    return KernelMatrix(problem, (rows, columns), 1, None, options).plan_in_memory()


def nbytes_ntk(network, rows, threads):
    """Bytes that the hidden-layer kernel of so many rows takes, its result included."""
    options = Options(threads, memory_limit=sys.maxsize)
    return planned_ntk(network._neurons, rows, rows, "hidden", options).nbytes


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


def _formula(layers, neurons):
    """The kernel from its sums over neurons, the hidden layer's first, and products(): (sums, products)."""

    def formula(sums, products):
        if layers != "hidden":
            sums[-1] *= neurons.scale**2 / neurons.width
        if layers == "output":
            return sums[0]
        counts, hidden = sums[0], products()
        counts /= neurons.width  # the mean of b b', or of a_r^2 b b'
        hidden *= counts
        if neurons.constant_square not in (None, 1.0):
            hidden *= neurons.constant_square
        if layers == "both":
            hidden += sums[1]
        return hidden

    return formula
