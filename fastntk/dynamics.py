"""Training under masks in the linear theory at one network: how fast modes are learned, what floor is left.

With r the clean residuals, J the gradients of f(x_i), K = J J^T with eigenvectors u_a, b = E f(x~) - f(x), V
the variances of the masked outputs and R half their sum, a step is

    r <- (I - eta K) r - eta K (b + xi) - eta J grad R,      xi of variance V, fresh at every step,

so the mean residual of a mode shrinks by 1 - eta lambda_a, and the noise of the masks keeps up a variance.
The loss over the steps leaves the last term out; the floor has it, with the kernel of mean gradients for K.
Derivation, and how well it does against simulation: docs/mathematics.md, section 10.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import stability, validation
from .annotations import Array, Floats, Numbers, Real
from .batches import Batches
from .engine.environment import in_ieee_arithmetic
from .engine.plan import checked_options, require_memory
from .gram import ntk
from .kernels import load
from .network import Network, as_neurons
from .smoothing import expected_ntk, expected_outputs, output_variance, sampled_variance
from .smoothing.objective import nbytes_objective, regulariser_gradient
from .smoothing.variance import hard_variance
from .targets import as_targets

NEURONS = 4096  # taken together
EXACT_PAIRS = 10**9  # rows times squared width up to which sums over pairs of neurons are made: some 20 s
DRAWS = 32  # of masks beyond
CUTOFF = 1e-13  # of singular values, over the largest: what is below is rounding


@dataclass(frozen=True, eq=False)
class LossPrediction:
    """What the linear theory says of training on from a network; made by :func:`predict_loss`.

    Attributes
    ----------
    step_size : float
    eigenvalues : (n,) float64
        Of the hidden layer's kernel on the inputs as they are, ascending.
    mean_eigenvalues : (n,) float64 or None
        Of the kernel of mean gradients, ``expected_ntk(X, X)``: what contracts the mean masked residual.
        Its smallest ones fall as the mask grows.
    stability : float
        step_size times the mean largest eigenvalue of masked kernels: training diverges from 2.4 to 2.8.
    residuals : (n, q) float64
        f - y on the inputs as they are, in the basis of the eigenvectors.
    shift : (n, q) float64
        b = E f(x~) - f(x) in that basis: the fit of the masked outputs misses the clean targets by it.
    noise : (n, q) float64
        Variances of the masked outputs in that basis, sum_i u_ia^2 V_i.
    small_mask_noise : (n, q) float64
        The same of V to lowest order in the mask.
    plateau : (n, q) float64 or None
        The mean residual, in that basis, at which the step of the mean is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk as fn
    >>> network, mask = fn.Network(1000, 3), fn.GaussianMask(kappa=0.1)
    >>> prediction = fn.predict_loss(np.eye(3), np.ones(3), network=network, mask=mask, step_size=0.5)
    >>> start, middle, end = prediction.loss([0, 10, np.inf])
    >>> bool(start > middle > end > 0), prediction.floor < 0.01
    (True, True)
    """

    step_size: float
    eigenvalues: np.ndarray
    mean_eigenvalues: np.ndarray | None
    stability: float
    residuals: np.ndarray = field(repr=False)
    shift: np.ndarray = field(repr=False)
    noise: np.ndarray = field(repr=False)
    small_mask_noise: np.ndarray = field(repr=False)
    plateau: np.ndarray | None = field(repr=False)

    @property
    def contraction(self) -> Floats:
        """1 - step_size * eigenvalue: what a step leaves of the residual of each mode, (n,)."""
        return 1 - self.step_size * self.eigenvalues

    def loss(self, steps: Numbers | Array | Real) -> Any:
        """The expected clean loss, 1/2 sum r^2, after so many steps: like ``steps``, which may be infinite.

        From this network on, with its kernel, shift and noise: good as long as these have not changed much.
        """
        rate, steps = self.step_size * self.eigenvalues, as_steps(steps)[..., np.newaxis]
        with np.errstate(over="ignore"):  # too large a step_size: infinite
            left, start = powers(rate, steps)[..., np.newaxis], self.residuals + self.shift
            mean = np.where(start == 0, 0.0, left) * start - self.shift
            kept = noise_kept(rate, steps, self.noise.sum(axis=1))
            return 0.5 * (np.square(mean).sum(axis=(-2, -1)) + kept.sum(axis=-1))

    @property
    def noise_floor(self) -> float:
        """The stationary part of the clean loss that the noise of the masks keeps up (Lyapunov equation)."""
        return self._noise_floor(self.noise)

    @property
    def small_mask_noise_floor(self) -> float:
        """The same to lowest order in the mask: proportional to kappa^2 at a given network."""
        return self._noise_floor(self.small_mask_noise)

    @property
    def small_step_noise_floor(self) -> float:
        """And to lowest order in the step size: step_size kappa^2 / 4 sum_i K_ii |x_i * grad_x f(x_i)|^2."""
        return float(self.step_size / 4 * (self.eigenvalues @ self.small_mask_noise.sum(axis=1)))

    @property
    def mean_floor(self) -> float:
        """The clean loss of the mean residual at the plateau; it does not depend on the step size."""
        if self.plateau is None:
            raise ValueError("the plateau has not been computed: use predict_loss(..., plateau=True).")
        return float(0.5 * np.square(self.plateau).sum())

    @property
    def floor(self) -> float:
        """mean_floor + noise_floor: at a network on the plateau of its training, the loss found there.

        Infinite where step_size times an eigenvalue is 2 or more: there is no plateau.
        """
        if self.step_size * self.eigenvalues[-1] >= 2:
            return np.inf
        return self.mean_floor + self.noise_floor

    def _noise_floor(self, noise):
        return float(0.5 * noise_kept(self.step_size * self.eigenvalues, np.inf, noise.sum(axis=1)).sum())


@in_ieee_arithmetic
def predict_loss(
    X, y, *, network, mask=None, step_size, plateau=True, seed=0, threads=None, memory_limit=None
):
    """The linear theory of training under masks, at a network: rates, the loss over the steps, its floor.

    Parameters
    ----------
    X, y : array_like
        As for :func:`fastntk.train`.
    network : Network, or a pair (W, a) of float64 arrays
        Where training starts, for the loss over the steps; a trained one, for the floor of its plateau.
    mask : GaussianMask, AdditiveMask or None
    step_size : float
    plateau : bool
        Whether to find the mean residual of the plateau too, for ``floor``, and ``mean_eigenvalues``: most of
        the cost.
    seed : int
        Of the masks, where some are drawn (Notes).
    threads, memory_limit : int, optional
        As for :func:`fastntk.ntk`.

    Returns
    -------
    LossPrediction

    Notes
    -----
    Cost: some kernels and O(n^3), memory O(n^2), with ``plateau`` also O(m d); while n m^2 is at most 10^9
    sums over pairs of neurons, which are exact; beyond, the variance from 32 draws and the regulariser to
    first order.

    Against simulation the floor, at the network in the middle of a plateau, is right to some 5 %.  The loss
    over the steps, from the initial network, is right to some 10 % for weak masks (kappa up to 0.2) until it
    has fallen to a fifth.  For stronger ones it is too low on rows of norm 1, by 20 to 70 % in the middle of
    training at kappa = 1, at any width: mean gradients are smaller than clean ones, and masks penalise the
    slope of the outputs; :func:`fastntk.kernel_regime` counts both.  On rows of normal entries it is too high
    in the end, up to several times, as narrow networks move to where masks matter less.  Several outputs are
    taken each by itself, with the mean kernel of :func:`fastntk.ntk`.

    Source: arXiv 2602.17423 (linear convergence to a floor set by the mask); docs/mathematics.md, section 10.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> net, mask = fn.Network(width=400, dim=4, seed=0), fn.GaussianMask(0.1)
    >>> theory = fn.predict_loss(np.eye(4), [1.0, -1.0, 0.5, 2.0], network=net, mask=mask, step_size=0.5)
    >>> theory.contraction.round(1)
    array([0.8, 0.8, 0.7, 0.7])
    >>> bool(theory.loss(0) > theory.loss(10) > theory.loss(np.inf) > 0)
    True
    """
    X = validation.as_inputs(X, "X", np.float64)
    neurons = as_neurons(network, X)
    targets, _ = as_targets(y, len(X), neurons.outputs)
    step_size = validation.as_positive(step_size, "step_size", high=1e30)
    plateau = validation.as_flag(plateau, "plateau")
    seed = validation.as_seed(seed)
    given = {"network": network, "threads": threads, "memory_limit": memory_limit}
    masked = {"mask": mask, **given}

    exact = len(X) * neurons.width**2 <= EXACT_PAIRS
    kind = "exact" if exact else "first-order"
    if plateau:
        needed = nbytes_objective(load(), neurons, len(X), kind)
        subject = f"the plateau of {neurons.width} neurons of {neurons.dim} features"
        require_memory(needed, memory_limit, subject, "plateau=False, or a narrower network")
    f, centre = (expected_outputs(X, **one).reshape(targets.shape) for one in (given, masked))
    if exact:
        V = output_variance(X, **masked)
    else:
        given_network = {"network": _as_given(network)}
        V = sampled_variance(X, draws=DRAWS, seed=seed, **masked | given_network).variance
    eigenvalues, U = np.linalg.eigh(clean_kernel(X, **given))
    mean_eigenvalues = rest = None
    if plateau:
        mean_eigenvalues = np.linalg.eigvalsh(expected_ntk(X, X, **masked))
        slope = regulariser_gradient(X, **masked, kind=kind)
        cross = expected_ntk(X, mask=(None, mask), **given)
        pushed = np.linalg.lstsq(cross, _along(X, slope, neurons), rcond=CUTOFF)[0]
        learned = (eigenvalues > CUTOFF * eigenvalues[-1])[:, np.newaxis]  # other modes stay where they are
        rest = np.where(learned, U.T @ (f - centre - pushed), U.T @ (f - targets))
    squares = np.square(U).T
    return LossPrediction(
        step_size=step_size,
        eigenvalues=np.maximum(eigenvalues, 0.0),
        mean_eigenvalues=mean_eigenvalues,
        stability=step_size * _masked_eigenvalue(X, network, mask, seed, threads, memory_limit),
        residuals=U.T @ (f - targets),
        shift=U.T @ (centre - f),
        noise=squares @ V.reshape(targets.shape),
        small_mask_noise=squares @ hard_variance(X, **masked).reshape(targets.shape),
        plateau=rest,
    )


def clean_kernel(X, *, network, threads=None, memory_limit=None):
    """The kernel of the hidden layer on X itself: exact counts for a Network, float64 for a pair (W, a)."""
    if isinstance(network, Network):
        return ntk(X, network=network, threads=threads, memory_limit=memory_limit)
    return expected_ntk(X, network=network, threads=threads, memory_limit=memory_limit)


def _along(X, V, neurons):
    """The derivative of the clean outputs along V (m, d), in float64, (n, q)."""
    total = np.zeros((len(X), neurons.outputs))
    for start in range(0, neurons.width, NEURONS):
        count = min(NEURONS, neurons.width - start)
        active = X @ neurons.rows(start, count).astype(np.float64).T > 0
        moved = active * (X @ V[start : start + count].T)
        total += moved @ neurons.output_weights(start, count)
    return total / np.sqrt(neurons.width)


def _as_given(network):
    """A Network, made of the arrays where there are only these."""
    return network if isinstance(network, Network) else Network.from_arrays(*network)


def _masked_eigenvalue(X, network, mask, seed, threads, memory_limit):
    """The mean largest eigenvalue of masked kernels."""
    network = _as_given(network)
    batches = Batches(X.astype(np.float32), mask, validation.as_ids(None, "row_ids", len(X)), None, seed)
    return stability.masked_eigenvalue(network, batches, checked_options(threads, memory_limit, None))


def powers(rate, steps):
    """(1 - rate)^steps for whole or infinite numbers of steps."""
    base = 1 - rate
    finite = np.where(np.isinf(steps), 0.0, steps)
    forever = np.where(np.abs(base) < 1, 0.0, np.where(base == 1, 1.0, np.inf))
    sign = np.where(finite % 2 == 1, np.sign(base), 1.0)
    return np.where(np.isinf(steps), forever, sign * np.abs(base) ** finite)


def as_steps(steps, *, whole=True):
    """Numbers of steps from 0 to infinity as float64."""
    array = validation.as_array(steps, "steps")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"steps has dtype {array.dtype}; it must be numbers of steps.")
    values = array.astype(np.float64)
    wrong = ~(values >= 0) | ((values != np.floor(values)) & whole)
    if wrong.any():
        raise ValueError(
            f"steps holds {values[wrong].ravel()[0]:g}; it must be {'whole ' if whole else ''}numbers from 0 "
            f"on, infinity included."
        )
    return values


def noise_kept(rate, steps, noise):
    """The variance of modes after so many steps: x^2 sum_{s < t} (1 - x)^(2 s) noise; infinite steps too."""
    gap = 2 - rate
    grown = rate * (1 - np.square(powers(rate, steps)))
    share = np.where(gap == 0, 4.0 * steps, grown / np.where(gap == 0, 1.0, gap))
    return np.where(noise == 0, 0.0, share) * noise
