"""The mean of the tangent kernel over Gaussian masks, at any width."""

import numpy as np

from .. import validation
from ..arrays import like_its_arrays
from ..engine.environment import in_ieee_arithmetic
from ..engine.moment_sums import MeanFeatureGram, SmoothedReluGram
from ..engine.moments import MomentInputs
from ..engine.neuron_sums import NeuronSums
from ..engine.plan import checked_options
from ..gram import LAYERS, quantities
from ..network import as_neurons
from ..sides import kernel_sides, require_closed_form
from .inputs import variances


@like_its_arrays
@in_ieee_arithmetic
def expected_ntk(
    X,
    Y=None,
    *,
    network,
    mask=None,
    layers="hidden",
    row_ids=None,
    column_ids=None,
    share_masks=False,
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The mean of :func:`fastntk.ntk` over all masks: what it tends to with more and more draws.

    With h ~ N(z, s^2) the preactivation of neuron r on row i, z = w_r . x_i, s^2 = sum_k v_ik w_rk^2, v the
    variances of the masked inputs and t = z / s,

        E x~ 1{h > 0} = x Phi(t) + v * w phi(t) / s,      E relu(h) = z Phi(t) + s phi(t).

    Rows with independent masks (i != j, or Y): the hidden layer's entry is (1/m) sum_r a_r^2 times the inner
    product of the first, the output layer's (1/m) sum_r the product of the second.  A row with itself: the
    second moments E |x~|^2 1{h > 0} and E relu(h)^2.

    Parameters
    ----------
    X, Y, layers, threads, memory_limit, progress
        As for :func:`fastntk.ntk`; inputs are used in float64.
    network : Network, or a pair (W, a) of arrays
        The pair (m, d) and (m,) or (m, q) is used in float64 as it is.
    mask : GaussianMask, AdditiveMask, None, or a pair (row mask, column mask)
        ``(None, mask)`` is the mean kernel between clean rows and masked columns, the operator that moves
        clean predictions in training; ``expected_ntk(X, X, mask=mask)`` that between independently masked
        rows, which contracts the mean residual; without Y the diagonal has a ridge besides.
    row_ids, column_ids, share_masks
        Which rows have the same mask, as for :func:`fastntk.ntk`.

    Returns
    -------
    (n, p) float64

    Raises
    ------
    ValueError
        For masks that are not Gaussian, and where two different rows share a mask, which has no closed form
        here; otherwise as :func:`fastntk.ntk`.
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    Cost O(m n p d) multiply-adds in float64 for the hidden layer (half of that without Y), O(m n p) for the
    output layer, and a normal distribution and density for each neuron and row; memory O(threads n p),
    whatever the width.  The same bits for any number of threads.

    Source: arXiv 2602.17423 (the masked network); docs/mathematics.md, section 8.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, net, mask = np.eye(3), fn.Network(width=2000, dim=3, seed=0), fn.GaussianMask(0.5)
    >>> K = fn.expected_ntk(X, network=net, mask=mask)
    >>> bool(np.abs(fn.ntk(X, network=net, mask=mask, draws=200) - K).max() < 0.1)
    True
    """
    validation.as_choice(layers, "layers", LAYERS)
    rows, columns = kernel_sides(
        X,
        Y,
        mask=mask,
        row_ids=row_ids,
        column_ids=column_ids,
        share_masks=share_masks,
        dtype=np.float64,
    )
    require_closed_form(rows, columns, Y is not None, share_masks, "average ntk(..., draws=) instead")
    sides = [rows] if columns is rows else [rows, columns]
    all_variances = [variances(side.mask, side.X, side.name) for side in sides]
    neurons = as_neurons(network, rows.X)
    options = checked_options(threads, memory_limit, progress)

    parts = quantities(layers, MeanFeatureGram, SmoothedReluGram)
    sums = NeuronSums(neurons, parts, len(rows.X), len(columns.X), options=options)
    shared = columns is rows and rows.mask is not None
    if _are_alike(rows, columns):  # the same rows under independent masks: symmetric too
        del sides[1:]
    inputs = [
        MomentInputs(side.X, V, sums.kernels).prepared()
        for side, V in zip(sides, all_variances, strict=False)
    ]
    results = sums.run(inputs, shared=shared)
    if layers != "hidden":
        results[-1] *= neurons.scale**2
    return sum(results) / neurons.width


def _are_alike(rows, columns):
    return rows.mask == columns.mask and np.array_equal(rows.X, columns.X)
