"""Which rows a training step takes, and what the mask makes of them."""

import numpy as np

from . import masking
from .kernels.reference import BATCH_STREAM, shuffled


class Batches:
    """The masked inputs of each step.

    Mini-batches go through the data in epochs; the order of an epoch is a function of (seed, epoch, row
    ids), so the same rows in another order, with their ids, give the same batches.
    """

    def __init__(self, X, mask, ids, batch_size, seed):
        self.X = X
        self.mask = mask
        self.ids = ids
        self.size = len(X) if batch_size is None else batch_size
        self.seed = seed
        self._full = batch_size is None
        self._epoch = None
        self._order = np.arange(len(X))

    def rows(self, step):
        """Indices of the rows of a step."""
        if self._full:
            return slice(None)
        epoch, place = divmod(step, -(-len(self.X) // self.size))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, shuffled(self.seed, self.ids, BATCH_STREAM, epoch)
        return self._order[place * self.size : (place + 1) * self.size]

    def masked(self, step, rows=None):
        """Masked inputs of a step, (batch, d) float32: those of ``rows`` instead where given."""
        rows = self.rows(step) if rows is None else rows
        return masking.sample(self.mask, self.X[rows], seed=self.seed, draw=step, row_ids=self.ids[rows])
