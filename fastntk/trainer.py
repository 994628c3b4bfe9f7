"""The loop of a training run: steps, history, and when to stop."""

import queue
from typing import NamedTuple

import numpy as np

from . import masking, stability
from .audit import step_identity_error
from .descent import REGULARISERS, ExpectedDescent, MaskedDescent
from .engine.digests import digest
from .engine.neurons import read_only
from .engine.steps import OutOfRange
from .gram import ntk
from .smoothing import expected_loss
from .spectrum import extreme_eigenvalues
from .training_run import HISTORY, TrainingRun, trained_network

DIVERGED = 1e6  # times the loss at the start


class Every(NamedTuple):
    """Steps between what is recorded."""

    record: int
    eigenvalues: int | None
    audit: int | None
    expected: int | None


class Trainer:
    """The loop over the steps.  It runs in a thread of its own, which no Ctrl-C interrupts."""

    def __init__(
        self,
        network,
        steps,
        batches,
        mask,
        targets,
        labels,
        *,
        step_size,
        total,
        every,
        settings,
        threads,
        backend,
        reports,
        borrowed,
        checkpoint=None,
    ):
        self.network, self.steps, self.batches, self.mask = network, steps, batches, mask
        self.targets, self.labels = targets, labels
        self.step_size, self.total, self.every, self.settings = step_size, total, every, settings
        self.history = {}
        self.loss_limit = None
        self.first_step = 0
        self.reports = reports
        self.borrowed = borrowed  # whether the weights stand in the caller's array
        # Steps done where ``reports``, then None.
        self.reached: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.threads, self.backend = threads, backend
        self.checkpoint = checkpoint

    def run(self, earlier):
        """Train from the start, or from where an earlier run stopped; a TrainingRun."""
        try:
            return self._run(earlier)
        finally:
            self.clean = self.descent = None  # their batches are the device's, where there is one
            self.steps.close()

    def _run(self, earlier):
        self.steps.fill(None if earlier is None else earlier.network._neurons.given_weights)
        if earlier is not None:
            self.first_step, self.loss_limit = earlier.steps_done, earlier.loss_limit
            names = (*HISTORY, "accuracy") if self.labels is not None else HISTORY
            self.history = {name: list(getattr(earlier, name)) for name in names}
        self.clean = self.steps.pack(self.batches.X, keep=True)
        self.descent = self._make_descent()
        try:
            self.steps.remember_initial(self.clean)
        except OutOfRange:
            raise ValueError(
                "network has weights too large to train: rows of W must have a norm below 1e17. Scale W down."
            ) from None
        try:
            status = self._loop()
        except OutOfRange:
            status = "diverged"
        if status == "interrupted":
            self._keep()
        return self._finished(status)

    @property
    def step(self):
        """Steps done."""
        return self.descent.step

    @property
    def weights(self):
        """(m, d) float32 as they are now, the same array every time."""
        return self.steps.host_weights()

    def _make_descent(self):
        common = self.batches, self.targets, self.step_size, self.first_step
        if self.settings.mode not in REGULARISERS:
            return MaskedDescent(self.steps, *common)
        return ExpectedDescent(
            self.weights,
            lambda: self._trained()._neurons,
            *common,
            mode=self.settings.mode,
            hurry=self.steps.hurry,
            threads=self.threads,
        )

    def _loop(self):
        loss = self.descent.begin()
        while loss is not None:
            if self.steps.hurry.is_set() and self.step < self.total:
                return "interrupted"
            self._record(loss)
            if not self._is_bounded(loss):
                return "diverged"
            if self.step == self.total:
                return "finished"
            if self.steps.hurry.is_set():
                return "interrupted"
            if self.checkpoint is not None and self.checkpoint.is_due:
                self._keep()
            audited = _due(self.step, self.every.audit)
            before = self.weights.copy() if audited else None
            already = self.step
            try:
                loss = self.descent.advance()
            finally:
                if self.reports and self.step > already:
                    self.reached.put(self.step)
            if audited:
                self._audit(before)
        return "interrupted"

    def _keep(self):
        if self.checkpoint is not None:
            self.checkpoint.save(*self._finished("interrupted").contents())

    def _is_bounded(self, loss):
        """Whether the loss stays below a limit that is set at the first step."""
        if self.loss_limit is None:
            self.loss_limit = float(DIVERGED * (loss + 0.5 * np.square(self.targets).sum()))
        return loss <= self.loss_limit  # false for NaN

    # ------------------------------------------------------------------------------ history
    def _record(self, loss):
        if _due(self.step, self.every.record) and not self._has("recorded_steps"):
            seen = self.steps.observe(self.clean)
            residuals = seen.outputs - self.targets
            self._note(
                recorded_steps=self.step,
                clean_loss=0.5 * np.square(residuals).sum(),
                masked_loss=loss if self.settings.mode == "masked" else self._probed_loss(),
                distance=np.sqrt(seen.square_distance),
                max_distance=np.sqrt(seen.largest_square),
                flipped=seen.flipped / (len(self.targets) * self.network.width),
            )
            if self.labels is not None:
                self._note(accuracy=np.mean(seen.outputs.argmax(axis=1) == self.labels))
        if _due(self.step, self.every.eigenvalues) and not self._has("eigenvalue_steps"):
            smallest, largest = extreme_eigenvalues(self._kernel(self.batches.X))
            self._note(
                eigenvalue_steps=self.step,
                smallest_eigenvalue=smallest,
                largest_eigenvalue=largest,
                masked_eigenvalue=stability.largest_eigenvalue(self._kernel(self.batches.masked(self.step))),
            )

        if _due(self.step, self.every.expected) and not self._has("expected_steps"):
            expected = expected_loss(
                self.batches.X, self.targets, network=self._trained(), mask=self.mask, threads=self.threads
            )
            self._note(
                expected_steps=self.step,
                smoothed_mse=expected.smoothed_mse,
                regulariser=expected.regulariser,
            )

    def _probed_loss(self):
        """The loss under the masks of this step, where training goes without."""
        masked = masking.sample(
            self.mask, self.batches.X, seed=self.settings.seed, draw=self.step, row_ids=self.batches.ids
        )
        outputs = self.steps.evaluate(self.steps.pack(masked, keep=True))
        return 0.5 * np.square(outputs - self.targets).sum()

    def _kernel(self, inputs):
        return ntk(inputs, network=self._trained(), threads=self.threads, backend=self.backend)

    def _audit(self, before):
        self._note(
            audit_steps=self.step - 1,
            audit_error=step_identity_error(
                before,
                self.weights,
                self.network._neurons.output_weights,
                self.batches.X,
                self.descent.used.masked,
                self.descent.residuals,
                self.step_size,
                self.threads,
            ),
        )

    def _note(self, **values):
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def _has(self, name):
        """Whether this step is in the history already, as it is after a resume."""
        return self.history.get(name, [])[-1:] == [self.step]

    def _trained(self):
        neurons = self.network._neurons
        return trained_network(
            read_only(self.weights), neurons.seed, neurons.outputs, neurons.given_output_weights
        )

    def _finished(self, status):
        history = {
            name: np.array(self.history.get(name, []), np.int64 if name.endswith("steps") else np.float64)
            for name in HISTORY
        }
        return TrainingRun(
            network=self._trained(),
            initial_network=self.network,
            step_size=self.step_size,
            steps_done=self.step,
            status=status,
            loss_limit=self.loss_limit,
            settings=self.settings,
            weights_digest=digest(self.weights) if self.borrowed else None,
            accuracy=None if self.labels is None else np.array(self.history.get("accuracy", []), np.float64),
            **history,
        )


def _due(step, every):
    return every is not None and step % every == 0
