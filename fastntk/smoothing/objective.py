"""The expected loss under Gaussian masks, in two parts, and its gradient."""

from dataclasses import dataclass

import numpy as np

from .. import validation
from ..engine.environment import in_ieee_arithmetic
from ..engine.moment_sums import MeanDirections, SmoothedOutputs
from ..engine.moments import MomentInputs
from ..engine.neuron_sums import NeuronSums
from ..engine.objective import ObjectiveGradient, Regulariser
from ..engine.pairs import PairGradient
from ..engine.plan import checked_options, require_memory
from ..kernels import load
from ..targets import as_targets
from .inputs import as_problem
from .outputs import expected_outputs
from .variance import output_variance

REGULARISERS = ("exact", "first-order", "none")


@dataclass(frozen=True, eq=False)
class ExpectedLoss:
    """The mean over masks of the loss 1/2 sum_ic (f_c(x~_i) - y_ic)^2, a sum of two parts.

    Attributes
    ----------
    smoothed_mse : float
        1/2 sum_ic (E f_c(x~_i) - y_ic)^2.
    regulariser : float
        1/2 sum_ic Var f_c(x~_i): what the mask adds, whatever the targets.
    outputs, variance : (n,) float64, (n, q) for q outputs
        E f_c(x~_i) and Var f_c(x~_i).

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk as fn
    >>> X, y = np.eye(3), np.zeros(3)
    >>> loss = fn.expected_loss(X, y, network=fn.Network(100, 3), mask=fn.GaussianMask(kappa=0.3))
    >>> bool(loss.regulariser == loss.variance.sum() / 2)
    True
    """

    smoothed_mse: float
    regulariser: float
    outputs: np.ndarray
    variance: np.ndarray

    @property
    def total(self) -> float:
        """The expected loss."""
        return self.smoothed_mse + self.regulariser


@in_ieee_arithmetic
def expected_loss(X, y, *, network, mask, threads=None, memory_limit=None, progress=None):
    """The mean loss over all masks, exact: a smoothed mean squared error and a regulariser.

    Parameters
    ----------
    X : (n, d) real array
    y : (n,), (n, q) or (n,) class labels
        As for :func:`fastntk.train`.
    network : Network, or a pair (W, a) of float64 arrays
    mask : GaussianMask, AdditiveMask or None
    threads, memory_limit : int, optional
        As for :func:`fastntk.ntk`.
    progress : callable, optional
        progress(done, total), in rows.

    Returns
    -------
    ExpectedLoss

    Notes
    -----
    Cost and reproducibility as :func:`fastntk.smoothing.output_variance`: O(n m^2).  With the paper's
    proxy (``expected_outputs(..., proxy=True)``) in place of E f, what is left of the expected loss depends
    on y and can be negative.  Source: arXiv 2602.17423, Theorem 4.1; docs/mathematics.md, section 9.

    Examples
    --------
    >>> import fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0], [-1.0]], [1.0, -1.0])       # f(x) = x / sqrt(2)
    >>> loss = fn.expected_loss([[2.0]], [1.0], network=net, mask=fn.AdditiveMask(0.2))
    >>> round(loss.smoothed_mse, 6), round(loss.regulariser, 6)
    (0.085786, 0.01)
    """
    X, _, neurons = as_problem(X, network, mask)
    targets, _ = as_targets(y, len(X), neurons.outputs)
    given = {"network": network, "mask": mask, "threads": threads, "memory_limit": memory_limit}
    mean = expected_outputs(X, **given)
    variance = output_variance(X, progress=progress, **given)
    residuals = mean.reshape(targets.shape) - targets
    return ExpectedLoss(float(0.5 * np.square(residuals).sum()), float(0.5 * variance.sum()), mean, variance)


@in_ieee_arithmetic
def expected_gradient(
    X, y, *, network, mask, regulariser="exact", threads=None, memory_limit=None, progress=None
):
    """The gradient of the expected loss by the hidden weights: the mean of the gradient under masks.

    Parameters
    ----------
    X, y, network, mask, threads, memory_limit
        As for :func:`fastntk.expected_loss`.
    progress : callable, optional
        progress(done, total), in rows for "exact", otherwise in neurons.
    regulariser : "exact", "first-order" or "none"
        Of the regulariser 1/2 sum_ic Var f_c(x~_i), the gradient of all, of the first term of the variance
        (``VarianceTerms.first``, of a cost linear in the width), or of nothing: that of the smoothed mean
        squared error alone.

    Returns
    -------
    (m, d) float64

    Notes
    -----
    Cost O(n m^2 (d + 3 K)) for "exact", three times that of the loss; O(n m q d) otherwise.  Memory also
    16 n m bytes and 256 m d for "exact".  The same bits for any number of threads.  Source:
    docs/mathematics.md, section 9.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import expected_gradient
    >>> net = fn.Network.from_arrays([[1.0], [-1.0]], [1.0, -1.0])       # f(x) = x / sqrt(2)
    >>> expected_gradient([[2.0]], [1.0], network=net, mask=fn.AdditiveMask(0.0)).round(6)
    array([[0.585786],
           [0.      ]])
    """
    X, V, neurons = as_problem(X, network, mask)
    validation.as_choice(regulariser, "regulariser", REGULARISERS)
    targets, _ = as_targets(y, len(X), neurons.outputs)
    return objective_gradient(
        X, V, neurons, targets, regulariser, checked_options(threads, memory_limit, progress)
    )[0]


def regulariser_gradient(X, *, network, mask, kind, threads=None, memory_limit=None):
    """The gradient of the regulariser alone, "exact" or "first-order", (m, d) float64."""
    X, V, neurons = as_problem(X, network, mask)
    options = checked_options(threads, memory_limit, None)
    return objective_gradient(X, V, neurons, None, kind, options)[0]


def objective_gradient(X, V, neurons, targets, regulariser, options):
    """(gradient (m, d), mean outputs (n, q)) of checked arguments; no targets, no mean squared error."""
    exact = regulariser == "exact"
    total = len(X) if exact else neurons.width
    before = options._replace(progress=options.progress and (lambda *_: options.progress(0, total)))
    inputs, slope = None, neurons.scale / np.sqrt(neurons.width)

    def summed(kind, values):
        nonlocal inputs
        sums = NeuronSums(neurons, [kind], len(X), values=values, options=before)
        inputs = inputs or MomentInputs(X, V, sums.kernels).prepared()
        return sums, sums.run([inputs])[0]

    width, dim, outputs = neurons.width, neurons.dim, neurons.outputs
    subject = f"gradients of {width} neurons of {dim} features on {len(X)} rows"
    needed = nbytes_objective(load(), neurons, len(X), regulariser)
    require_memory(needed, options.memory_limit, subject, "fewer rows")
    sums, mean = summed(SmoothedOutputs, outputs)
    mean = mean * slope
    extra = directions = None
    if exact:
        pairs = PairGradient(neurons, X, V, options).run()
        extra = Regulariser(pairs.by_relu, pairs.by_density, pairs.by_weights)
    elif regulariser == "first-order":
        _, directions = summed(MeanDirections, outputs * -(-dim // 24) * 24)
    residuals = np.zeros_like(mean) if targets is None else (mean - targets) / neurons.scale
    gradient = ObjectiveGradient(neurons, X, V, residuals, extra, directions)
    progress = None if exact else options.progress
    out = gradient.run(np.empty((width, dim)), sums.plan.threads, progress)
    out *= neurons.scale
    return out, mean


def nbytes_objective(kernels, neurons, n, regulariser):
    """Bytes that :func:`objective_gradient` takes, its result included, on one thread."""
    width, dim, outputs = neurons.width, neurons.dim, neurons.outputs
    pairs = sum(PairGradient.nbytes(kernels, neurons, n)) if regulariser == "exact" else 0
    return 16 * width * dim + ObjectiveGradient.nbytes(width, dim, n, outputs) + pairs
