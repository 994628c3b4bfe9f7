"""Infinitely wide networks in training, over their random starts (``flow.py`` is training from one).

Over random starts f_0 is a Gaussian process whose covariance is the NNGP kernel, so f_t is Gaussian as well.
"""

import functools
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from . import validation
from .engine.environment import in_ieee_arithmetic
from .flow import Flow, as_kernel, as_times, checked_settings

KERNELS = ("nngp", "ntk")


class Gaussian(NamedTuple):
    """Mean and covariance of outputs; made by :func:`gradient_descent_mse_ensemble`.

    Attributes
    ----------
    mean : (..., p) or (..., p, q) float64
        The axes in front are those of t.
    covariance : (..., p, p) float64
        Of any one output; different outputs are independent.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.Gaussian(mean=0.0, covariance=1.0).covariance
    1.0
    """

    mean: np.ndarray
    covariance: np.ndarray


@in_ieee_arithmetic
def gradient_descent_mse_ensemble(
    kernel_fn, x_train, y_train, learning_rate=1.0, diag_reg=0.0, diag_reg_absolute_scale=False
):
    """Mean and covariance of infinitely wide networks in training, over their random starts, at any time.

    The function of this name in neural-tangents.

    Parameters
    ----------
    kernel_fn : callable
        ``kernel_fn(x1, x2, get)`` is the kernel of the rows of x1 and x2 (of x1 alone where x2 is None), an
        array: for get "nngp" the covariance of outputs at the start, for "ntk" the tangent kernel.  The
        kernel functions of neural-tangents are such; for those of this package see the example.
    x_train : array
        n rows, which go to ``kernel_fn`` as they are.
    y_train : (n,) or (n, q) real array
    learning_rate, diag_reg, diag_reg_absolute_scale
        As for :func:`gradient_descent_mse`; the regulariser is added to the kernel that trains.

    Returns
    -------
    predict(t=None, x_test=None, get=None, compute_cov=False)
        A function of

        * t: as for :func:`gradient_descent_mse`;
        * x_test: p rows; None for the training rows;
        * get: "ntk" where all weights (those of the kernel) are trained, "nngp" where only the output
          weights are, so that infinite time gives the Bayesian posterior; a tuple of these, or None for both;
        * compute_cov: whether the covariance is asked for too.

        It returns a :class:`Gaussian`, or without ``compute_cov`` the mean alone; for a tuple or None a
        namedtuple ``Gaussians`` of these, with the fields ``nngp`` and ``ntk``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`gradient_descent_mse`, when the kernel is first needed.

    Notes
    -----
    With k the kernel that trains, K its training block with the regulariser, G(s) = K^{-1} (I - exp(-s K)), s
    = learning_rate t / N, and c the NNGP kernel, on test rows x:

        mean          k(x, X) G(s) y
        nngp          c(x, x) - k(x, X) G(2 s) k(X, x)
        ntk           c(x, x) + A c(X, X) A' - A c(X, x) - c(x, X) A',      A = k(x, X) G(s),

    and on training rows (I - exp(-s K)) y; K exp(-2 s K); exp(-s K) c(X, X) exp(-s K).  Kernels that are
    singular: as for :func:`gradient_descent_mse`; where the network cannot learn it keeps the covariance of
    its start.  A difference of kernels is right to some 1e-15 of c, so tiny variances may come out below 0.

    The training kernels and their eigenvectors are computed when they are first needed, and kept: for costs
    see :func:`gradient_descent_mse`.  Then O(n p (n + p)) for each time, with the covariance.

    Source: Lee et al. 2019, equations 14 to 16; ``neural_tangents.predict`` 0.6.5.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> def kernel_fn(x1, x2, get):
    ...     return fn.ntk_limit(x1, x2, layers="output" if get == "nngp" else "both")
    >>> X, y = np.eye(2), [1.0, -1.0]
    >>> predict = fn.gradient_descent_mse_ensemble(kernel_fn, X, y)
    >>> predict(t=0, x_test=[[3.0, 0.0]], get="ntk", compute_cov=True)
    Gaussian(mean=array([0.]), covariance=array([[4.5]]))
    >>> predict(x_test=[[3.0, 0.0]]).ntk.round(6)
    array([3.])
    """
    if not callable(kernel_fn):
        raise TypeError(
            f"kernel_fn is {type(kernel_fn).__name__}; it must be a function kernel_fn(x1, x2, get) that "
            f"gives the kernel, such as lambda x1, x2, get: fn.nngp_limit(x1, x2) for get='nngp'."
        )
    ensemble = _Ensemble(kernel_fn, x_train, y_train, learning_rate, diag_reg, diag_reg_absolute_scale)

    @in_ieee_arithmetic
    def predict(t=None, x_test=None, get=None, compute_cov=False):
        """Outputs at times t; see :func:`fastntk.gradient_descent_mse_ensemble`."""
        shape, times = as_times(t)
        compute_cov = validation.as_flag(compute_cov, "compute_cov")
        kinds = _as_kinds(get)
        found = []
        for kind in kinds:
            means, covariances = ensemble.at(times, x_test, kind, compute_cov)
            one = ensemble.flow(kind).shaped(shape, means)
            if compute_cov:
                rows = means.shape[1]
                both = np.reshape([*covariances], (*shape, rows, rows))
                one = Gaussian(one, (both + both.swapaxes(-2, -1)) / 2)  # products are symmetric to rounding
            found.append(one)
        return found[0] if isinstance(get, str) else namedtuple("Gaussians", kinds)(*found)

    return predict


class _Ensemble:
    """Networks with random starts: their kernels, and what becomes of their Gaussian process."""

    def __init__(self, kernel_fn, x_train, y_train, *settings):
        validation.as_columns(y_train, "y_train", length=len(x_train))
        checked_settings(*settings)
        self.kernel_fn, self.x_train, self.y_train, self.settings = kernel_fn, x_train, y_train, settings
        self._flows = {}

    def flow(self, get):
        """The flow of the kernel ``get``; made once."""
        if get not in self._flows:
            kernel = self.start if get == "nngp" else self._training_kernel(get)
            self._flows[get] = Flow(kernel, _training_name(get), self.y_train, *self.settings)
        return self._flows[get]

    @functools.cached_property
    def start(self):
        """Covariance of the outputs on the training rows at time 0, (n, n)."""
        return self._training_kernel("nngp")

    def _training_kernel(self, get):
        """As an array of the dtype that it comes in."""
        kernel = validation.as_array(self.kernel_fn(self.x_train, None, get), _training_name(get))
        as_kernel(kernel, _training_name(get), len(self.x_train), len(self.x_train))
        return kernel

    def at(self, times, x_test, get, compute_cov):
        """Means (times, rows, q), and for ``compute_cov`` an iterator of covariances (rows, rows)."""
        flow = self.flow(get)
        if x_test is None:
            covariances = self._on_training_rows(times, get) if compute_cov else None
            return flow.train(times, -flow.targets), covariances
        across = self._across(x_test, get)
        covariances = self._on_test_rows(times, x_test, across, get) if compute_cov else None
        return flow.test(times, across, -flow.targets), covariances

    def _on_training_rows(self, times, get):
        flow = self.flow(get)
        for left in flow.left(times):
            if get == "nngp":
                yield (flow.modes * (flow.eigenvalues * left**2)) @ flow.modes.T
            else:
                whole = (flow.modes * left) @ flow.modes.T
                yield whole @ self.start @ whole

    def _on_test_rows(self, times, x_test, across, get):
        flow, rows = self.flow(get), len(x_test)
        begin = self.kernel_fn(x_test, None, "nngp")
        begin = as_kernel(begin, "kernel_fn(x_test, None, 'nngp')", rows, rows)
        along = across @ flow.modes
        if get == "nngp":
            for share in flow.shares(2 * times):
                yield begin - (along * share) @ along.T
            return
        begin_across = self._across(x_test, "nngp")
        for share in flow.shares(times):
            weights = (along * share) @ flow.modes.T
            mixed = weights @ begin_across.T
            yield begin + weights @ self.start @ weights.T - mixed - mixed.T

    def _across(self, x_test, get):
        name, kernel = f"kernel_fn(x_test, x_train, {get!r})", self.kernel_fn(x_test, self.x_train, get)
        return as_kernel(kernel, name, len(x_test), len(self.x_train))


def _training_name(get):
    """What errors call a kernel of the training rows."""
    return f"kernel_fn(x_train, None, {get!r})"


def _as_kinds(get):
    """The kernels asked for, as a tuple."""
    kinds = (get,) if isinstance(get, str) else KERNELS if get is None else get
    if kinds not in (("nngp",), ("ntk",), KERNELS, KERNELS[::-1]):
        raise ValueError(f"get is {get!r}; it must be 'nngp', 'ntk', a tuple of these, or None for both.")
    return kinds
