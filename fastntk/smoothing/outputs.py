"""Means over Gaussian masks of what a network does with inputs: patterns, features and outputs."""

import numpy as np

from .. import gaussian, validation
from ..arrays import like_its_arrays
from ..engine.environment import in_ieee_arithmetic
from ..engine.moment_sums import SmoothedOutputs
from ..engine.moments import MomentInputs
from ..engine.neuron_sums import NeuronSums
from ..engine.plan import checked_options, require_memory
from .inputs import as_problem


@like_its_arrays
@in_ieee_arithmetic
def expected_outputs(X, *, network, mask=None, proxy=False, threads=None, memory_limit=None, progress=None):
    """The mean outputs E f_c(x~_i) = m^{-1/2} sum_r a_rc E relu(h_ri), h_ri ~ N(z, s^2).

    Parameters
    ----------
    X : (n, d) real array
    network : Network, or a pair (W, a) of float64 arrays
    mask : GaussianMask, AdditiveMask or None
    proxy : bool
        The paper's simpler smoothed ReLU z Phi(z / s) in place of the mean z Phi(z / s) + s phi(z / s).  It
        lies below relu(z), the mean above, and it is never closer to the mean than relu(z) is.
    threads, memory_limit, progress
        As for :func:`fastntk.ntk`.

    Returns
    -------
    (n,) float64, (n, q) for a network of q outputs

    Notes
    -----
    Cost O(m n (d + q)) float64 operations and a normal distribution for each neuron and row; memory
    independent of the width; the same bits for any number of threads.  Errors as
    :func:`fastntk.expected_ntk`.  Source: arXiv 2602.17423; docs/mathematics.md, section 8.

    Examples
    --------
    >>> import fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0], [-1.0]], [1.0, 1.0])
    >>> fn.expected_outputs([[0.0], [2.0]], network=net, mask=fn.AdditiveMask(0.5)).round(6)
    array([0.282095, 1.414219])
    """
    X, V, neurons = as_problem(X, network, mask)
    proxy = validation.as_flag(proxy, "proxy")
    options = checked_options(threads, memory_limit, progress)
    sums = NeuronSums(neurons, [SmoothedOutputs], len(X), values=neurons.outputs, options=options)
    (total,) = sums.run([MomentInputs(X, V, sums.kernels).prepared()], proxy=proxy)
    total *= neurons.scale / np.sqrt(neurons.width)
    return total if neurons.outputs > 1 else total[:, 0]


@in_ieee_arithmetic
def pattern_probability(X, *, network, mask=None, memory_limit=None):
    """P(h_ri > 0) = Phi(z / s), the mean of the activation pattern over the masks: (n, m) float64.

    Parameters and errors as for :func:`fastntk.expected_outputs`.  Where s = 0 it is 1{z > 0}.

    Notes
    -----
    Cost O(m n d), on BLAS: the last bits depend on the machine.  Memory 56 n m bytes.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import pattern_probability
    >>> net = fn.Network.from_arrays([[1.0], [-1.0]], [1.0, 1.0])
    >>> pattern_probability([[1.0], [0.0]], network=net, mask=fn.AdditiveMask(1.0)).round(6)
    array([[0.841345, 0.158655],
           [0.5     , 0.5     ]])
    """
    X, V, neurons = as_problem(X, network, mask)
    checked_options(None, memory_limit, None)
    needed = 56 * len(X) * neurons.width + 16 * neurons.width * neurons.dim
    require_memory(
        needed, memory_limit, f"probabilities of {neurons.width} neurons on {len(X)} rows", "fewer rows"
    )
    return gaussian.probability(*_mean_and_deviation(X, V, neurons))


@in_ieee_arithmetic
def mean_features(X, *, network, mask=None, memory_limit=None):
    """E x~_i 1{h_ri > 0} = x Phi(z / s) + v * w phi(z / s) / s, (n, m, d) float64.

    The mean of the gradient of relu(w_r . x~_i) by w_r, and the gradient of its mean.  Parameters and errors
    as for :func:`fastntk.expected_outputs`.

    Notes
    -----
    Cost O(m n d), on BLAS: the last bits depend on the machine.  Memory 26 n m d bytes.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import mean_features
    >>> net = fn.Network.from_arrays([[1.0, 0.0]], [1.0])
    >>> mean_features([[1.0, 3.0]], network=net, mask=fn.GaussianMask(1.0)).round(6)
    array([[[1.083315, 2.524034]]])
    """
    X, V, neurons = as_problem(X, network, mask)
    checked_options(None, memory_limit, None)
    needed = (26 * neurons.dim + 56) * len(X) * neurons.width + 32 * neurons.width * neurons.dim
    require_memory(
        needed, memory_limit, f"features of {neurons.width} neurons on {len(X)} rows", "fewer rows"
    )
    W = neurons.rows(0, neurons.width).astype(np.float64)
    z, s = _mean_and_deviation(X, V, neurons)
    out = gaussian.probability(z, s)[:, :, np.newaxis] * X[:, np.newaxis]
    out += gaussian.density(z, s)[:, :, np.newaxis] * (V[:, np.newaxis] * W)
    return out


def _mean_and_deviation(X, V, neurons):
    """z and s of all neurons on all rows, (n, m) each, with unscaled weights."""
    W = neurons.rows(0, neurons.width).astype(np.float64)
    return X @ W.T, np.sqrt(V @ np.square(W).T)
