"""What a network does with inputs: activation pattern and outputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import masking, validation
from .arrays import as_numpy, like_its_arrays, result_like
from .engine.accumulators import OutputSums, PatternBits
from .engine.devices import checked_backend
from .engine.environment import in_ieee_arithmetic
from .engine.executors import as_workers
from .engine.neuron_sums import NeuronSums
from .engine.plan import checked_options
from .engine.problem import Problem
from .engine.row_values import row_values
from .keeping import checkpoint_of
from .kernels.reference import DRAW_LIMIT
from .network import as_network
from .sides import kernel_sides


@dataclass(frozen=True, eq=False)
class ActivationPattern:
    """Bits b_ri = 1{w_r . x_i > 0} of n samples and m neurons.

    ``packed`` is (n, ceil(m / 8)) uint8 in little bit order: neuron r is bit r % 8 of byte r // 8, and
    the bits beyond the width are zero (``np.unpackbits(..., bitorder="little")``).
    """

    packed: np.ndarray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.packed), self.width

    def to_bool(self) -> Any:
        """(n, m) bool array: eight times the memory of ``packed``."""
        packed = as_numpy(self.packed, "packed")
        bits = np.unpackbits(packed, axis=1, count=self.width, bitorder="little").view(bool)
        return result_like(packed=self.packed)(bits)


@in_ieee_arithmetic
def activation_pattern(
    X,
    *,
    network,
    mask=None,
    seed=0,
    draw=0,
    row_ids=None,
    backend="auto",
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The activation pattern of a network, one bit a neuron and sample.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32.
    network : Network
    mask : mask or None
    seed, draw, row_ids
        Which masks, as in :func:`fastntk.ntk`.
    backend, threads, memory_limit, progress
        As in :func:`fastntk.ntk`.

    Returns
    -------
    ActivationPattern
        ``.packed`` (n, ceil(m / 8)) uint8, ``.shape`` (n, m), ``.to_bool()``.

    Notes
    -----
    Each bit is the sign of the exact real number w_r . x~_i, the bit of an exact zero being 0; the same
    on every machine.  Cost O(m n d), memory n m / 8 bytes.  Errors as :func:`fastntk.ntk`.

    Examples
    --------
    >>> import fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, -1.0]], [1.0, 1.0])
    >>> fn.activation_pattern([[1.0, 1.0], [0.0, 0.0]], network=net).to_bool()
    array([[ True, False],
           [False, False]])
    """
    back, backend = result_like(X=X), checked_backend(backend, X)
    X = validation.as_matrix(X, "X")
    neurons = as_network(network, X)._neurons
    options = checked_options(threads, memory_limit, progress, backend)
    shape = len(X), -(-neurons.width // 8)
    sums = NeuronSums(neurons, [PatternBits], len(X), options=options, result_bytes=shape[0] * shape[1])
    inputs = sums.pack(masking.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids))
    packed = np.zeros(shape, np.uint8)
    sums.run([inputs], packed=packed)
    return ActivationPattern(back(packed), neurons.width)


@like_its_arrays
@in_ieee_arithmetic
def outputs(
    X,
    *,
    network,
    mask=None,
    seed=0,
    draw=0,
    row_ids=None,
    checkpoint=None,
    executor=None,
    backend="auto",
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Network outputs f_c(x~_i) = m^{-1/2} sum_r a_rc relu(w_r . x~_i).

    (n, q) float64 for a network of q outputs, (n,) for one.  Arguments as in :func:`activation_pattern`;
    ``checkpoint``, ``executor`` and errors as in :func:`fastntk.ntk`.

    Notes
    -----
    Evaluated in float64 at the float32-rounded masked inputs.  Cost O(m n (d + q)) float64 operations,
    memory independent of the width; the same bits for any number of threads, and for each output those of
    a network that has no other.

    Examples
    --------
    >>> import fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0], [-1.0], [2.0], [3.0]], [1.0, 1.0, 1.0, -1.0])
    >>> fn.outputs([[1.0], [-1.0]], network=net)
    array([0. , 0.5])
    >>> fn.outputs([[1.0], [-1.0]], network=fn.Network(width=10_000, dim=1, outputs=10)).shape
    (2, 10)
    """
    backend = checked_backend(backend, X)
    rows, _ = kernel_sides(X, mask=masking.as_mask(mask), row_ids=row_ids)
    neurons = as_network(network, rows.X)._neurons
    seed, draw = validation.as_seed(seed), validation.as_count(draw, "draw", low=0, high=DRAW_LIMIT - 1)
    options = checked_options(threads, memory_limit, progress, backend)
    problem = Problem(neurons, [OutputSums], [rows], seed, backend)

    def finish(sums, inputs):
        return sums[0] * (neurons.scale / np.sqrt(neurons.width))

    values, nbytes = neurons.outputs, 8 * len(rows.X) * neurons.outputs
    with checkpoint_of(checkpoint, "outputs", problem, {"draw": draw}, nbytes) as saved:
        workers = as_workers(executor, threads)
        f = row_values(problem, values, [draw], finish, options, saved, workers)
    return f if neurons.outputs > 1 else f[:, 0]
