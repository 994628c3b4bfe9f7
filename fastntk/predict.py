"""Outputs of gradient flow with a kernel at hand, in closed form, by the conventions of neural-tangents.

With N the number of targets (rows times outputs) the loss is |f - y|^2 / (2 N), and flow moves outputs by

    f_t(X) = f_0(X) - (I - exp(-s K)) (f_0(X) - y),                      s = learning_rate t / N,
    f_t(x) = f_0(x) - K(x, X) K^{-1} (I - exp(-s K)) (f_0(X) - y),       K = K(X, X) + regulariser.

Over random starts f_0 is a Gaussian process whose covariance is the NNGP kernel, so f_t is Gaussian as well.
"""

import functools
from collections import namedtuple
from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import validation
from .engine.environment import in_ieee_arithmetic
from .engine.plan import require_memory
from .symmetric import symmetric_matrix

KERNELS = ("nngp", "ntk")
WHAT = "predictions"


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
def gradient_descent_mse(
    k_train_train, y_train, learning_rate=1.0, diag_reg=0.0, diag_reg_absolute_scale=False
):
    """Outputs of gradient flow on the mean squared error, with a given kernel, at any time.

    The function of this name in neural-tangents, for a kernel matrix from anywhere.

    Parameters
    ----------
    k_train_train : (n, n) real array
        The kernel of the training rows, such as ``ntk(X, network=net, layers="both")``; symmetric within
        1e-12 of its largest entry, positive semidefinite.  With several outputs it is that of each of them
        (``trace_axes=(-1,)`` in neural-tangents).
    y_train : (n,) or (n, q) real array
        Targets.
    learning_rate : float
        Times t is how far flow has gone: only their product counts.
    diag_reg : float
        At least 0; times the mean of the diagonal of the kernel, it is added to that diagonal.
    diag_reg_absolute_scale : bool
        Whether ``diag_reg`` is added as it is.

    Returns
    -------
    predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None)
        A function of

        * t: a time or an array of times, from 0 to infinity; None is infinity;
        * fx_train_0: the outputs on the training rows at time 0, a number or like ``y_train``; None for no
          prediction of them (they are taken for 0 then);
        * fx_test_0: those on p test rows, a number or (p,) or (p, q); None for no prediction of them;
        * k_test_train: the (p, n) kernel of test and training rows, which goes with fx_test_0.

        It returns fx_train, (fx_train, fx_test), or fx_test where fx_train_0 is None: float64, with the axes
        of t before those of the outputs.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; where the kernel has an eigenvalue below
        -1.5e-8 times its largest one (-3.5e-4 times for float32).
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    *Normalisation*, as in neural-tangents: the loss is |f - y|^2 / (2 N), N = y_train.size, all rows and
    outputs.  :func:`fastntk.train` and :func:`fastntk.kernel_regime` descend |f - y|^2 / 2: their step_size
    is learning_rate / N, and t the number of steps, where steps are short (step_size times the largest
    eigenvalue well below 1).  ``kernel_regime(...).outputs(t, flow=True)`` is the same prediction with the
    network's own kernel and start.

    *Regulariser*, as in neural-tangents: it takes part in the dynamics, so training rows end at y_train for
    any ``diag_reg``.  Regularised predictions on them are those of test rows: give fx_test_0 and
    ``k_test_train=k_train_train``.

    *Singular kernels* (duplicate rows, zero rows).  Eigenvalues up to n e times the largest, e the machine
    epsilon of the kernel's dtype, are rounding and count as 0: these modes are never learned, neither on
    training nor on test rows.  At infinity the others are all learned, which is the pseudo-inverse of the
    kernel: training rows end at the projection of y_train - f_0 onto its range, plus f_0.  (neural-tangents
    gives y_train for t=None even so, and NaN on test rows.)

    *Cost*: the eigenvectors of the kernel, O(n^3), once: seconds for n = 2000 and minutes for n = 10^4 on two
    cores; 24 n^2 bytes while they are computed, 8 n^2 in the returned function.  Then O((n + p) n q) for each
    time.  For t=None alone and large n, :func:`fastntk.kernel_ridge` solves the system many times faster, or
    without the matrix.  The last bits are those of BLAS.

    Source: Jacot et al. 2018; Lee et al. 2019, equations 8 to 11; ``neural_tangents.predict`` 0.6.5.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, Xtest, y = np.eye(3), np.array([[1.0, 1.0, 0.0]]), [1.0, -1.0, 0.5]
    >>> net = fn.Network(width=10_000, dim=3)
    >>> predict = fn.gradient_descent_mse(fn.ntk(X, network=net), y)
    >>> fx_train, fx_test = predict(
    ...     t=[0.0, np.inf], fx_train_0=fn.outputs(X, network=net), fx_test_0=fn.outputs(Xtest, network=net),
    ...     k_test_train=fn.ntk(Xtest, X, network=net),
    ... )
    >>> fx_train.shape, fx_test.shape, fx_train[1].round(6)
    ((2, 3), (2, 1), array([ 1. , -1. ,  0.5]))
    """
    flow = _Flow(k_train_train, "k_train_train", y_train, learning_rate, diag_reg, diag_reg_absolute_scale)

    @in_ieee_arithmetic
    def predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None):
        """Outputs at times t; see :func:`fastntk.gradient_descent_mse`."""
        shape, times = _as_times(t)
        across = _as_test_kernel(fx_train_0, fx_test_0, k_test_train, flow.rows)
        start = flow.outputs(0.0 if fx_train_0 is None else fx_train_0, "fx_train_0", flow.rows)
        gap = start - flow.targets
        found = []
        if fx_train_0 is not None:
            found.append(start + flow.train(times, gap))
        if fx_test_0 is not None:
            found.append(flow.outputs(fx_test_0, "fx_test_0", len(across)) + flow.test(times, across, gap))
        found = [flow.shaped(shape, outputs) for outputs in found]
        return found[0] if len(found) == 1 else tuple(found)

    return predict


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
        shape, times = _as_times(t)
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
        _checked_settings(*settings)
        self.kernel_fn, self.x_train, self.y_train, self.settings = kernel_fn, x_train, y_train, settings
        self._flows = {}

    def flow(self, get):
        """The flow of the kernel ``get``; made once."""
        if get not in self._flows:
            kernel = self.start if get == "nngp" else self._training_kernel(get)
            self._flows[get] = _Flow(kernel, _training_name(get), self.y_train, *self.settings)
        return self._flows[get]

    @functools.cached_property
    def start(self):
        """Covariance of the outputs on the training rows at time 0, (n, n)."""
        return self._training_kernel("nngp")

    def _training_kernel(self, get):
        """As an array of the dtype that it comes in."""
        kernel = validation.as_array(self.kernel_fn(self.x_train, None, get), _training_name(get))
        _as_kernel(kernel, _training_name(get), len(self.x_train), len(self.x_train))
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
        begin = _as_kernel(begin, "kernel_fn(x_test, None, 'nngp')", rows, rows)
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
        return _as_kernel(kernel, name, len(x_test), len(self.x_train))


class _Flow:
    """Gradient flow with a kernel, in its eigenvectors ``modes``; outputs have q columns in here."""

    def __init__(self, kernel, name, y, learning_rate, diag_reg, absolute):
        learning_rate, diag_reg, absolute = _checked_settings(learning_rate, diag_reg, absolute)
        if isinstance(kernel, LinearOperator):
            raise TypeError(
                f"{name} is an operator; predictions at all times need the matrix: ntk(X, ...). For t=None "
                f"alone, kernel_ridge takes operators."
            )
        kernel = validation.as_array(kernel, name)
        epsilon = np.finfo(kernel.dtype if kernel.dtype in (np.float16, np.float32) else float).eps
        kernel = symmetric_matrix(kernel, WHAT, name)
        self.rows = len(kernel)
        self.targets = validation.as_columns(y, "y_train", length=self.rows)
        self.one_column = np.ndim(y) == 1
        subject = f"the eigenvectors of {name}, {self.rows} rows,"
        require_memory(24 * self.rows**2, None, subject, "fewer rows, or kernel_ridge for t=None")
        eigenvalues, self.modes = np.linalg.eigh(kernel)
        eigenvalues += diag_reg * (1.0 if absolute else np.diagonal(kernel).mean())
        largest = eigenvalues[-1]
        if eigenvalues[0] < -np.sqrt(epsilon) * abs(largest):
            raise ValueError(
                f"{name} is not positive semidefinite: with diag_reg its eigenvalues are from "
                f"{eigenvalues[0]:.3g} to {largest:.3g}, so flow would diverge. Give a kernel, such as "
                f"ntk(X, ...) without Y, or a larger diag_reg."
            )
        self.learned = eigenvalues > self.rows * epsilon * largest  # the others are rounding
        self.eigenvalues = np.where(self.learned, eigenvalues, 0.0)
        self.pace = learning_rate / self.targets.size

    def _exponents(self, times):
        """-s lambda (times, n), for modes that are not learned of any lambda."""
        return -np.multiply.outer(self.pace * times, np.where(self.learned, self.eigenvalues, 1.0))

    def left(self, times):
        """exp(-s lambda): what is left of the residual of each mode, (times, n)."""
        return np.where(self.learned, np.exp(self._exponents(times)), 1.0)

    def shares(self, times):
        """(1 - exp(-s lambda)) / lambda: how far test rows follow each mode, (times, n)."""
        done = -np.expm1(self._exponents(times))
        return np.where(self.learned, done / np.where(self.learned, self.eigenvalues, 1.0), 0.0)

    def train(self, times, gap):
        """(exp(-s K) - I) gap, (times, n, q)."""
        moved = np.where(self.learned, np.expm1(self._exponents(times)), 0.0)
        return self.modes @ (moved[:, :, np.newaxis] * (self.modes.T @ gap))

    def test(self, times, across, gap):
        """-K(x, X) K^{-1} (I - exp(-s K)) gap, (times, p, q)."""
        return -(across @ self.modes) @ (self.shares(times)[:, :, np.newaxis] * (self.modes.T @ gap))

    def outputs(self, value, name, rows):
        """Outputs at the start as (rows, q), or (1, 1) for a number."""
        value = validation.as_array(value, name)
        if value.ndim == 0:
            return validation.as_matrix(value.reshape(1, 1), name, dtype=np.float64)
        columns = validation.as_columns(value, name, length=rows)
        wanted = (rows,) if self.one_column else (rows, self.targets.shape[1])
        if value.shape != wanted:
            raise ValueError(
                f"{name} has shape {value.shape}; it must be a number, or {wanted} as y_train is."
            )
        return columns

    def shaped(self, shape, values):
        """(*shape of t, rows) or (*shape of t, rows, q), as the targets are."""
        values = values[..., 0] if self.one_column else values
        return values.reshape(*shape, *values.shape[1:])


def _checked_settings(learning_rate, diag_reg, absolute):
    return (
        validation.as_positive(learning_rate, "learning_rate"),
        validation.as_not_negative(diag_reg, "diag_reg"),
        validation.as_flag(absolute, "diag_reg_absolute_scale"),
    )


def _training_name(get):
    """What errors call a kernel of the training rows."""
    return f"kernel_fn(x_train, None, {get!r})"


def _as_times(t):
    """(shape of t, times (T,) float64), infinity for None."""
    array = validation.as_array(np.inf if t is None else t, "t")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"t has dtype {array.dtype}; it must be times from 0 on, or None for infinity.")
    times = array.astype(np.float64)
    wrong = ~(times >= 0)
    if wrong.any():
        raise ValueError(f"t holds {times[wrong].ravel()[0]:g}; it must be from 0 to infinity.")
    return times.shape, times.ravel()


def _as_kernel(kernel, name, rows, columns):
    """A real matrix (rows, columns) in float64, of any number of rows where that is None."""
    kernel = validation.as_matrix(kernel, name, columns=columns, dtype=np.float64)
    if rows is not None and len(kernel) != rows:
        raise ValueError(f"{name} has {len(kernel)} rows (shape {kernel.shape}); {rows} are expected.")
    return kernel


def _as_test_kernel(fx_train_0, fx_test_0, k_test_train, rows):
    """k_test_train (p, n), or None where no test rows are asked for."""
    if fx_test_0 is None and k_test_train is not None:
        raise ValueError(
            "k_test_train is given without fx_test_0, the outputs on the test rows at time 0; give both: "
            "fx_test_0=0 where they start at 0."
        )
    if fx_test_0 is None and fx_train_0 is None:
        raise ValueError(
            "fx_train_0 and fx_test_0 are None, so nothing is to be predicted; give one of them."
        )
    if fx_test_0 is None:
        return None
    if k_test_train is None:
        raise ValueError(
            "k_test_train is None; predictions on test rows need the kernel of test and training rows, such "
            "as ntk(Xtest, X, ...)."
        )
    return _as_kernel(k_test_train, "k_test_train", None, rows)


def _as_kinds(get):
    """The kernels asked for, as a tuple."""
    kinds = (get,) if isinstance(get, str) else KERNELS if get is None else get
    if kinds not in (("nngp",), ("ntk",), KERNELS, KERNELS[::-1]):
        raise ValueError(f"get is {get!r}; it must be 'nngp', 'ntk', a tuple of these, or None for both.")
    return kinds
