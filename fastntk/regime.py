"""Training in the kernel regime: outputs after any number of steps in closed form, under masks too.

While the kernel stays that of the initial network, gradient descent on 1/2 |f - y|^2 moves outputs linearly,

    f_t(x) = f_0(x) - K(x, X) K^{-1} (I - (I - eta K)^t) (f_0(X) - y),       K = K(X, X),

and gradient flow likewise with exp(-eta K t).  The mean of runs under fresh masks is descent on the mean loss
over all masks: that of a data set in which every row appears under each of many masks.
"""

from functools import partial
from typing import Any

import numpy as np

from . import masking, validation
from .annotations import Array, Flag, Floats, Numbers, Real, Rows
from .dynamics import as_steps, noise_kept, powers
from .engine.environment import in_ieee_arithmetic
from .engine.plan import checked_options, require_memory
from .forward import outputs
from .gram import ntk
from .kernels.reference import DRAW_LIMIT
from .network import as_network
from .targets import as_targets

STEPS_AT_A_TIME = 64
overflow_ignored = partial(np.errstate, over="ignore", invalid="ignore")  # of steps that are too large
SMALLEST = 1e-12  # of the largest eigenvalue: what is below is rounding


class KernelRegime:
    """Predictions in the kernel regime; made by :func:`kernel_regime`.

    ``eigenvalues`` are those of the kernel of all masked rows, divided by the number of draws: gradient
    descent of this step size is stable while ``step_size * eigenvalues[-1] < 2``.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> theory = fn.kernel_regime(np.eye(2), [1.0, -1.0], network=fn.Network(1000, 2), step_size=0.5)
    >>> theory.eigenvalues.round(1)
    array([0.5, 0.5])
    """

    def __init__(self, X, targets, network, mask, step_size, seed, draws, ids, options):
        self.X, self.targets, self.network, self.mask = X, targets, network, mask
        self.step_size, self.seed, self.draws, self.ids = step_size, seed, draws, ids
        self._options = {"threads": options.threads, "memory_limit": options.memory_limit}
        self._masked = self._under_masks(range(draws))
        kernel = ntk(self._masked, network=network, **self._options)
        kernel /= draws
        eigenvalues, self._modes = np.linalg.eigh(kernel)
        self.eigenvalues = np.maximum(eigenvalues, 0.0)
        start = self._initial(self._masked) - np.tile(targets, (draws, 1))
        self._start = self._modes.T @ start

    def outputs(self, steps: Numbers | Array | Real, X: Rows | None = None, *, flow: Flag = False) -> Floats:
        """Mean outputs on the rows X as they are (those trained on by default) after so many steps.

        Parameters
        ----------
        steps : array_like
            Whole numbers, or infinity; with ``flow`` any number.
        X : (p, d) real array, optional
        flow : bool
            Gradient flow, at time ``step_size * steps``, in place of gradient descent.

        Returns
        -------
        (p,) float64, after the shape of ``steps``; (p, q) for q outputs

        Examples
        --------
        >>> import numpy as np, fastntk as fn
        >>> theory = fn.kernel_regime(np.eye(2), [1.0, -1.0], network=fn.Network(1000, 2), step_size=0.5)
        >>> theory.outputs([0, np.inf]).shape, theory.outputs(np.inf).round(6)
        ((2, 2), array([ 1., -1.]))
        """
        X = self.X if X is None else validation.as_matrix(X, "X", columns=self.X.shape[1])
        flow = validation.as_flag(flow, "flow")
        steps = as_steps(steps, whole=not flow)
        with overflow_ignored():
            return self._shaped(self._predict(X, steps, flow), steps)

    def loss(self, steps: Numbers | Array | Real) -> Any:
        """The mean clean loss 1/2 sum (f - y)^2 over runs with masks of their own, after so many steps.

        That of the mean outputs, and what the noise of the masks keeps up: the variance of the outputs is
        predicted too, on as many fresh draws, in the modes of the kernel of the inputs as they are.  Infinite
        where it overflows.

        Examples
        --------
        >>> import numpy as np, fastntk as fn
        >>> problem = {"network": fn.Network(1000, 2), "mask": fn.GaussianMask(0.2), "step_size": 0.5}
        >>> theory = fn.kernel_regime(np.eye(2), [1.0, -1.0], draws=20, **problem)
        >>> bool(theory.loss(0) > theory.loss(5) > theory.loss(100) > 0)
        True
        """
        whole = as_steps(steps)
        with overflow_ignored():
            loss = self._loss(whole)
        return np.where(np.isnan(loss), np.inf, loss).reshape(whole.shape)[()]

    # ------------------------------------------------------------------------------------ pieces
    def _loss(self, steps):
        """(number of steps,)."""
        residuals = self._predict(self.X, steps, False) - self.targets
        loss = 0.5 * np.square(residuals).sum(axis=(1, 2))
        if self.draws > 1:
            eigenvalues, modes = np.linalg.eigh(ntk(self.X, network=self.network, **self._options))
            rate = self.step_size * np.maximum(eigenvalues, 0.0)
            fresh = self._predict(self._under_masks(range(self.draws, 2 * self.draws)), steps, False)
            fresh = fresh.reshape(len(fresh), self.draws, *self.targets.shape)
            noise = fresh.var(axis=1, ddof=1).sum(axis=2) @ np.square(modes)
            loss += 0.5 * noise_kept(rate, steps.reshape(-1, 1), noise).sum(axis=1)
        return loss

    def _predict(self, X, steps, flow):
        """(number of steps, p, q)."""
        rate, times = self.step_size * self.eigenvalues, steps.reshape(-1, 1)
        if not flow and np.isinf(steps).any() and rate.max(initial=0.0) >= 2:
            raise ValueError(
                f"steps is infinite, but step_size times the largest eigenvalue is {rate.max():.3g}, where "
                f"training diverges; use a step_size below {2 / self.eigenvalues.max():.3g}, or finite steps."
            )
        known = rate > SMALLEST * rate.max(initial=0.0)  # the others are not learned at all
        done = -np.expm1(-np.where(known, rate, 1.0) * times) if flow else 1 - powers(rate, times)
        share = np.where(known, done / np.where(known, self.eigenvalues, 1.0), 0.0)
        across = ntk(X, self._masked, network=self.network, **self._options) @ self._modes / self.draws
        predicted = np.repeat(self._initial(X)[np.newaxis], len(share), axis=0)
        for output, start in enumerate(self._start.T):
            for first in range(0, len(share), STEPS_AT_A_TIME):
                some = slice(first, first + STEPS_AT_A_TIME)
                predicted[some, :, output] -= (share[some] * start) @ across.T
        return predicted

    def _initial(self, X):
        return outputs(X, network=self.network, **self._options).reshape(len(X), -1)

    def _under_masks(self, draws):
        """The rows under several draws, one below the other."""
        rows = [masking.sample(self.mask, self.X, seed=self.seed, draw=k, row_ids=self.ids) for k in draws]
        return np.concatenate(rows)

    def _shaped(self, values, steps):
        values = values if self.network.outputs > 1 else values[..., 0]
        return values.reshape(*steps.shape, *values.shape[1:])


@in_ieee_arithmetic
def kernel_regime(
    X,
    y,
    *,
    network,
    mask=None,
    step_size,
    draws=8,
    seed=0,
    row_ids=None,
    threads=None,
    memory_limit=None,
):
    """Training with the kernel of the initial network: outputs and losses at any time, in closed form.

    Parameters
    ----------
    X : (n, d) real array
        Rounded to float32.
    y : (n,), (n, q) or (n,) class labels
        As for :func:`fastntk.train`.
    network : Network
        Where training starts.
    mask : mask or None
        Any of the masks.
    step_size : float
    draws : int
        Masks under which every row is learned, at least 2 with a mask; the prediction is that for all masks
        up to what so few of them let the network memorise.
    seed, row_ids
        Which masks, as for :func:`fastntk.ntk`.
    threads, memory_limit : int, optional
        As for :func:`fastntk.ntk`.

    Returns
    -------
    KernelRegime
        ``outputs(steps, X)`` and ``loss(steps)``.

    Raises
    ------
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    Cost O(N^3) and the kernel of N = n draws rows; memory 50 N^2 bytes; then O(p N^2 + p N T) for
    p rows and T numbers of steps in each call of ``outputs``, p = N in one of ``loss``.

    It holds while the weights move little: the wider the network the longer, the width that masks take
    included, as they keep it moving.  Measured for n = 20, width 4000 and 80 draws (docs/mathematics.md,
    section 10): mean outputs within 2 to 10 % of their change for kappa up to 1, losses within 10 % early and
    some 30 % on the plateau; with 20 draws losses late in training come out up to 60 % too high.  Several
    outputs are taken each by itself, with the mean kernel of :func:`fastntk.ntk`.

    Source: Jacot et al. 2018, Lee et al. 2019 (without masks); arXiv 2602.17423 (the masked system).

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, y, net = np.eye(3), [1.0, 0.0, -1.0], fn.Network(width=20_000, dim=3)
    >>> theory = fn.kernel_regime(X, y, network=net, step_size=0.1)
    >>> run = fn.train(X, y, network=net, step_size=0.1, steps=20)
    >>> bool(abs(theory.loss(20) / run.clean_loss[-1] - 1) < 0.05)
    True
    """
    X = validation.as_matrix(X, "X")
    network = as_network(network, X)
    masking.as_mask(mask, "mask")
    targets, _ = as_targets(y, len(X), network.outputs)
    step_size = validation.as_positive(step_size, "step_size", high=1e30)
    seed = validation.as_seed(seed)
    draws = validation.as_count(draws, "draws", low=2, high=DRAW_LIMIT // 2)
    draws = draws if mask is not None else 1
    ids = validation.as_ids(row_ids, "row_ids", len(X))
    options = checked_options(threads, memory_limit, None)
    rows = len(X) * draws
    subject = f"the kernel of {rows} masked rows and its eigenvectors"
    require_memory(50 * rows**2, memory_limit, subject, "fewer draws, fewer rows")
    return KernelRegime(X, targets, network, mask, step_size, seed, draws, ids, options)
