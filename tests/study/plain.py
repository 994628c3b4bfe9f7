"""What the tests of the parts share: masked descent in float64 NumPy, a kernel, and the cells of tables."""

from decimal import Decimal

import numpy as np

import fastntk as fn

from .. import simulation
from ..formulas import hidden_kernel, rounded


class Descent:
    """Training of a network of one output under the masks that full batches with this seed see.

    Attributes
    ----------
    weights : (steps + 1, m, d)
        Before the steps, and after the last.
    clean, masked : (steps + 1,)
        Losses there, on the rows as they are and under the masks of the step.
    """

    def __init__(self, X, y, network, kappa, step_size, steps, seed):
        self.X, self.y = rounded(X), np.asarray(y, float)[:, np.newaxis]
        self.a, self.step_size = network.output_weights()[:, np.newaxis], step_size
        W, masks = network.weights(), simulation.of_the_library(fn.GaussianMask(kappa), X, seed)
        weights, masked = [], []
        for t in range(steps + 1):
            inputs = masks(t)[1]
            weights.append(W)
            masked.append(simulation.loss(inputs, self.y, W, self.a))
            W = simulation.step(inputs, self.y, W, self.a, step_size)
        self.weights, self.masked = np.array(weights), np.array(masked)
        self.clean = np.array([self.loss(W) for W in weights])

    def loss(self, W):
        """The clean loss of other weights."""
        return simulation.loss(self.X, self.y, W, self.a)

    def outputs(self, X):
        """Of all weights, on rows X: (steps + 1, n)."""
        return np.array([simulation.outputs(rounded(X), W, self.a)[:, 0] for W in self.weights])


def kernel(X, Y, network):
    """Of the hidden layer, by its formula."""
    return hidden_kernel(rounded(X), rounded(Y), network.weights(), network.output_weights()).values


def assert_shown(cell, value):
    """A cell of a table shows a number (before its error), up to half a unit of its last digit."""
    text = cell.split("\N{PLUS-MINUS SIGN}")[0].strip().replace(",", "").replace("\N{MINUS SIGN}", "-")
    digits = Decimal(text.removesuffix("%").strip())
    value *= 100 if text.endswith("%") else 1
    assert abs(float(digits) - value) <= 0.501 * 10.0 ** digits.as_tuple().exponent, (cell, value)


def assert_column(rows, column, values):
    """A column of a table shows these numbers from top to bottom."""
    values = np.ravel(values)
    assert len(rows) == len(values)
    for row, value in zip(rows, values, strict=True):
        assert_shown(row[column], value)


def body(part, study):
    """The rows of a part's table, of all groups, each as long as the headings."""
    headings, groups = part.table(study)
    rows = [row for group in groups for row in group]
    assert {len(row) for row in rows} == {len(headings)}
    return rows
