"""A proof that one training run converges, where there is one: every hypothesis computed from the data.

For the initial network, a mask, a step size and a number of steps, it bounds with probability 1 - delta over
the masks of the run how far the kernel of any step can be from the initial one while no neuron has moved
further than a radius, and checks that none does.  Statement and proof: docs/mathematics.md, section 11.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import validation
from .annotations import Numbers, Real
from .dynamics import clean_kernel
from .engine.environment import in_ieee_arithmetic
from .engine.plan import require_memory
from .network import Network
from .smoothing import expected_outputs
from .smoothing.inputs import as_problem
from .spectrum import rounding
from .targets import as_targets

NEURONS = 4096  # taken together
MOST_STEPS = 2**53
RADII = np.geomspace(1.02, 20, 12)  # times the smallest radius that could do: the grid of the search


@dataclass(frozen=True, eq=False)
class Certificate:
    """What :func:`certify` found.  ``print`` shows every hypothesis with its numbers and verdict.

    Attributes
    ----------
    ok : bool
        Whether all hypotheses hold.  Then, with probability 1 - delta over the masks, for all t <= steps:
        no neuron is further than ``radius`` from where it started, and |r_t| <= :meth:`bound` (t), r_t the
        clean residuals f - y.
    rate : float
        q: what a step leaves of |r| at most.
    ball : float
        |r| ends within it, up to q^t |r_0|.
    radius, movement : float
        The radius R of the proof, and a bound on the movement of neurons within it, which must not be larger.
    steps : int or inf
    delta : float
    smallest_eigenvalue, largest_eigenvalue : float
        Of the clean kernel at the start.
    kernel_error, output_error : float
        Spectral norm of the bound on the change of the kernel; norm of that on masked minus clean outputs.
    tau : float
        Standard deviations that the union bound over masks, steps, rows and neurons allows for.
    initial_residual : float
        |r_0|.
    step_size : float

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk as fn
    >>> network, mask = fn.Network(100, 3), fn.GaussianMask(kappa=0.3)
    >>> found = fn.certify(np.eye(3), np.ones(3), network=network, mask=mask, step_size=0.5, steps=1000)
    >>> found.ok, [name for name, (_, _, holds) in found.hypotheses.items() if not holds]
    (False, ['rate < 1', 'movement <= radius'])
    """

    rate: float
    ball: float
    radius: float
    movement: float
    steps: float
    delta: float
    smallest_eigenvalue: float
    largest_eigenvalue: float
    kernel_error: float
    output_error: float
    tau: float
    initial_residual: float
    step_size: float

    @property
    def hypotheses(self) -> dict[str, tuple[float, float, bool]]:
        """{statement: (number, the number it is compared with, verdict)}, in the order of the proof."""
        stable = self.step_size * self.largest_eigenvalue
        return {
            "smallest eigenvalue > 0": (self.smallest_eigenvalue, 0.0, self.smallest_eigenvalue > 0),
            "step size x largest eigenvalue < 2": (stable, 2.0, stable < 2),
            "rate < 1": (self.rate, 1.0, self.rate < 1),
            "movement <= radius": (self.movement, self.radius, self.movement <= self.radius),
        }

    @property
    def ok(self) -> bool:
        """Whether all hypotheses hold."""
        return all(verdict for *_, verdict in self.hypotheses.values())

    @property
    def slack(self) -> float:
        """radius / movement: 1 or more where the last hypothesis holds."""
        return self.radius / self.movement if self.movement else math.inf

    def bound(self, steps: Numbers | Real) -> Any:
        """q^t |r_0| + ball for t = steps (an array like it): what |r_t| cannot exceed where ``ok``."""
        return self.rate ** np.asarray(steps, float) * self.initial_residual + self.ball

    def __str__(self):
        verdict = "certified" if self.ok else "not certified"
        lines = [
            f"{verdict}: {self.steps:g} steps of {self.step_size:g}, may fail with probability {self.delta:g}"
        ]
        for name, (number, other, holds) in self.hypotheses.items():
            lines.append(f"  {'yes' if holds else 'NO ':3}  {name:36}  {number:.4g} against {other:.4g}")
        lines.append(
            f"  |r_0| {self.initial_residual:.4g}, final ball {self.ball:.4g}, change of the kernel at most "
            f"{self.kernel_error:.4g}, masks up to {self.tau:.3g} deviations"
        )
        return "\n".join(lines)


@in_ieee_arithmetic
def certify(
    X,
    y,
    *,
    network,
    mask=None,
    step_size,
    steps,
    delta=0.01,
    radius=None,
    threads=None,
    memory_limit=None,
):
    """Look for a proof that masked training from this network converges linearly to a ball.

    Parameters
    ----------
    X, y : array_like
        As for :func:`fastntk.train`; X is rounded to float32 as there, for a Network.
    network : Network, or a pair (W, a) of float64 arrays
        Of one output.
    mask : GaussianMask, AdditiveMask or None
    step_size : float
    steps : int or math.inf
        Infinity needs ``mask=None``: fresh noise for ever moves weights without bound.
    delta : float
        Probability, over the masks of the whole run, that the statement may fail.
    radius : float, optional
        How far a neuron may move, in the proof; by default the best of a grid.
    threads, memory_limit : int, optional
        As for :func:`fastntk.ntk`.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        For several outputs, masks that are not Gaussian, or infinitely many masked steps.

    Notes
    -----
    Cost O(n^2 m) on BLAS and O(n^3) for each of 12 radii; memory 300 n^2 + 100 n d bytes, whatever the width.

    A certificate is sufficient, not necessary: training goes well far outside of it, and what it is missing,
    most often ``movement <= radius``, says by how much.  It is about exact arithmetic; float32 training adds
    rounding.  What usually happens: :func:`fastntk.predict_loss`.

    Source: in the manner of Du et al. 2019 and of arXiv 2602.17423, with computed constants;
    docs/mathematics.md, section 11.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, y = np.eye(4), [1.0, -1.0, 0.5, 0.0]
    >>> found = fn.certify(X, y, network=fn.Network(10_000, 4), step_size=1.0, steps=np.inf)
    >>> found.ok, round(found.rate, 1)
    (True, 0.6)
    """
    if isinstance(network, Network):  # its kernel, and training, take float32
        X = validation.as_matrix(X, "X")
    X, V, neurons = as_problem(X, network, mask)
    if neurons.outputs > 1:
        raise ValueError(
            f"network has {neurons.outputs} outputs; a certificate is for networks of one output."
        )
    targets, _ = as_targets(y, len(X), 1)
    step_size = validation.as_positive(step_size, "step_size", high=1e30)
    delta = validation.as_positive(delta, "delta", high=1.0)
    masked = bool(V.any())
    if steps == math.inf:
        if masked:
            raise ValueError("steps is infinite with a mask, whose noise never ends; give a number of steps.")
    else:
        steps = validation.as_count(steps, "steps", high=MOST_STEPS)  # or infinity
    if radius is not None:
        radius = validation.as_positive(radius, "radius")
    n = len(X)
    needed = 8 * n * n * (2 * len(RADII) + 12) + 8 * len(RADII) * X.size
    needed += 8 * NEURONS * (8 * n + 3 * X.shape[1])
    require_memory(needed, memory_limit, f"bounds for {n} rows", "fewer rows")

    given = {"network": network, "threads": threads, "memory_limit": memory_limit}
    eigenvalues = np.linalg.eigvalsh(clean_kernel(X, **given))
    residual = float(np.linalg.norm(expected_outputs(X, **given) - targets[:, 0]))
    events = steps * (2 * n * neurons.width + 2 * n * n + 3 * n) if masked else 1
    problem = _Problem(X, V, neurons, step_size, steps, delta, eigenvalues, residual)
    problem.tau = math.sqrt(2 * math.log(events / delta)) if masked else 0.0
    if radius is None:
        radii = problem.smallest_radius() * (RADII if problem.contraction < 1 else RADII[:1])
    else:
        radii = np.array([radius])
    return max(
        problem.certificates(radii), key=lambda found: (found.ok, -found.rate if found.ok else found.slack)
    )


class _Problem:
    """The quantities of the proof, for radii R; the proof is in docs/mathematics.md, section 11."""

    def __init__(self, X, V, neurons, step_size, steps, delta, eigenvalues, residual):
        self.X, self.V, self.neurons = X, V, neurons
        self.step_size, self.steps, self.delta, self.residual = step_size, steps, delta, residual
        noise = rounding(len(X), eigenvalues[-1])
        self.smallest, self.largest = float(eigenvalues[0] - noise), float(eigenvalues[-1] + noise)
        self.tau = 0.0
        self.norms = np.linalg.norm(X, axis=1)

    @property
    def deviations(self):
        """Bounds on |x~_i - x_i|, (n,)."""
        roots = np.sqrt(self.V)
        return np.linalg.norm(roots, axis=1) + roots.max(axis=1) * self.tau

    @property
    def contraction(self):
        """The rate of the initial kernel."""
        return max(abs(1 - self.step_size * self.smallest), abs(1 - self.step_size * self.largest))

    @property
    def reach(self):
        """How far a neuron moves in a step, over the norm of the residuals."""
        largest = max(
            np.abs(self.neurons.output_weights(start, count)).max() for start, count in self._blocks()
        )
        size = np.linalg.norm(self.X, 2) + np.linalg.norm(self.deviations)
        return float(self.step_size * largest / math.sqrt(self.neurons.width) * size)

    def smallest_radius(self):
        """What neurons move even if the kernel does not change; anything where there is no proof."""
        if self.contraction < 1:
            return self.reach * self.residual * _geometric(self.contraction, self.steps) or 1.0
        return 1.0

    def certificates(self, radii):
        """One :class:`Certificate` for each radius."""
        for radius, error, output_error in zip(radii, *self._errors(radii), strict=True):
            kernel_error = float(np.linalg.norm(error, 2))
            q = self.contraction + self.step_size * kernel_error
            ball = movement = math.inf
            if q < 1:
                ball = self.step_size * (self.largest + kernel_error) * output_error / (1 - q)
                forever = self.steps * (ball + output_error) if ball + output_error else 0.0
                movement = self.reach * (_geometric(q, self.steps) * self.residual + forever)
            yield Certificate(
                rate=float(q),
                ball=float(ball),
                radius=float(radius),
                movement=float(movement),
                steps=self.steps,
                delta=self.delta,
                smallest_eigenvalue=self.smallest,
                largest_eigenvalue=self.largest,
                kernel_error=kernel_error,
                output_error=float(output_error),
                tau=self.tau,
                initial_residual=self.residual,
                step_size=self.step_size,
            )

    def _errors(self, radii):
        """For each radius: E (n, n), a bound on the change of the kernel, and the norm of that on outputs."""
        n, dim = self.X.shape
        count, deviations = len(radii), self.deviations
        touching, sure = np.zeros((2, count, n, n))
        square = self.neurons.constant_square
        kind = np.float64 if square is None else np.float32  # which holds the counts of a block
        direction, spill = np.zeros((count, n, dim)), np.zeros((count, n))
        for start, size in self._blocks():
            W = self.neurons.rows(start, size).astype(np.float64) * self.neurons.scale
            a = self.neurons.output_weights(start, size)[:, 0]
            z, s = self.X @ W.T, np.sqrt(self.V @ np.square(W).T)
            for i, radius in enumerate(radii):
                clean_margin = radius * self.norms[:, np.newaxis]
                margin = self.tau * s + radius * (self.norms + deviations)[:, np.newaxis]
                on, squares = z > margin, np.square(a) if square is None else 1
                for total, left, right in (
                    (touching[i], z >= -clean_margin, z >= -margin),
                    (sure[i], z > clean_margin, on),
                ):
                    total += (left * squares).astype(kind) @ right.T.astype(kind)
                direction[i] += (on * a) @ W
                moved = radius * deviations[:, np.newaxis]
                unsure = ~on & (z >= -margin)
                spill[i] += ((on * moved + unsure * (self.tau * s + moved)) * np.abs(a)).sum(axis=1)
        width, roots = self.neurons.width, np.sqrt(self.V)
        across = self.tau * np.sqrt(np.square(self.X) @ self.V.T)
        products = np.abs(self.X @ self.X.T)
        scale = (1.0 if square is None else square) / width
        sure -= touching  # in place: these are the largest arrays
        sure *= -products * scale
        touching *= across * scale
        touching += sure
        along = self.tau * np.array([np.linalg.norm(roots * one, axis=1) for one in direction])
        along /= math.sqrt(width)
        return touching, np.linalg.norm(along + spill / math.sqrt(width), axis=1)

    def _blocks(self):
        for start in range(0, self.neurons.width, NEURONS):
            yield start, min(NEURONS, self.neurons.width - start)


def _geometric(q, steps):
    """1 + q + ... + q^(steps - 1) for q < 1; steps may be infinite."""
    return (1 - q**steps) / (1 - q) if steps < math.inf else 1 / (1 - q)
