"""How a step of training moves the weights: under masks, or against the mean over all masks."""

import numpy as np

from .engine.plan import Options
from .engine.steps import OutOfRange
from .smoothing.inputs import variances
from .smoothing.objective import objective_gradient

# The regulariser (``smoothing.expected_gradient``) of the modes that take the mean over all masks.
REGULARISERS = {"expected": "exact", "first-order": "first-order"}


class MaskedDescent:
    """Steps on inputs masked afresh, or as they are: the fused passes of ``engine.steps``.

    ``step`` counts the steps done.  ``used`` and ``residuals`` are the batch of the last one and f - y on it.
    """

    def __init__(self, steps, batches, targets, step_size, step):
        self.steps, self.batches, self.targets = steps, batches, targets
        self.step_size, self.step = step_size, step
        self.used = self.residuals = None

    def begin(self):
        """The loss of the next batch, all rows taken to be like its own; None where the run is to end."""
        return self._forward()

    def advance(self):
        """Take a step, then as :meth:`begin`."""
        self.used, self.residuals = self._batch, self._next_residuals
        return self._forward(self.steps.gradient(self.used, self.residuals, self.step_size))

    def _forward(self, gradient=None):
        following = self.step + (gradient is not None)
        self._batch = self.steps.pack_step(self.batches, following)
        try:
            outputs = self.steps.advance(gradient, self._batch)
        finally:
            self.step = following
        if outputs is None:
            return None
        self._next_residuals = outputs - self.targets[self.batches.rows(following)]
        return batch_loss(self._next_residuals, self.targets)


class ExpectedDescent:
    """Steps along the gradient of the loss in the mean over all masks, in closed form (``smoothing``).

    ``neurons`` gives the neurons with the weights at hand.  The loss is that of the mean outputs.
    """

    def __init__(self, weights, neurons, batches, targets, step_size, step, *, mode, hurry, threads):
        self.weights, self.neurons, self.batches, self.targets = weights, neurons, batches, targets
        self.step_size, self.step, self.hurry = step_size, step, hurry
        self.regulariser = REGULARISERS[mode]
        self.X = batches.X.astype(np.float64)
        self.V = variances(batches.mask, self.X, "X")
        self.options = Options(threads, None, self._stop_in_a_hurry)

    def begin(self):
        """The loss of the next batch, all rows taken to be like its own; None where the run is to end."""
        rows = self.batches.rows(self.step)
        X, V, targets = self.X[rows], self.V[rows], self.targets[rows]
        try:
            self._gradient, mean = objective_gradient(
                X, V, self.neurons(), targets, self.regulariser, self.options
            )
        except _Hurried:
            return None
        return batch_loss(mean - targets, self.targets)

    def advance(self):
        """Take a step, then as :meth:`begin`."""
        np.subtract(self.weights, self.step_size * self._gradient, out=self.weights, casting="same_kind")
        self.step += 1
        if not np.isfinite(self.weights).all():
            raise OutOfRange
        return self.begin()

    def _stop_in_a_hurry(self, done, total):
        if self.hurry.is_set():
            raise _Hurried


class _Hurried(Exception):
    """Raised to leave sums over pairs of neurons early."""


def batch_loss(residuals, targets):
    """1/2 |residuals|^2 of a batch, times the rows of all over those of the batch."""
    return 0.5 * np.square(residuals).sum() * (len(targets) / len(residuals))
