"""What a long run computes: sums over neurons for blocks of samples and draws of the masks, part by part."""

from typing import NamedTuple

from ..kernels import load
from .inputs import PackedInputs
from .neuron_sums import all_needs
from .neurons import Neurons


class Part(NamedTuple):
    """One sweep: a draw of the masks and a tile of samples, as (start, stop) pairs, or of rows alone."""

    draw: int
    rows: tuple[int, int]
    columns: tuple[int, int] | None = None


class Problem(NamedTuple):
    """All that a worker needs to know, wherever it is.

    ``sides`` is [rows], also of a symmetric matrix, or [rows, columns]: what ``masked(seed, draw, rows)`` of
    them gives, a tile at a time, is (n, d) float32.  ``backend`` is "cpu" or "cuda".
    """

    neurons: Neurons
    quantities: list
    sides: list
    seed: int
    backend: str = "cpu"

    def inputs(self, part):
        """The packed sides of a part: one for a tile that is symmetric, or has no columns."""
        needs = all_needs(self.quantities)
        tiles = [(self.sides[0], part.rows), (self.sides[-1], part.columns)]
        if part.columns is None or (len(self.sides) == 1 and part.columns == part.rows):
            del tiles[1]
        return [
            PackedInputs(
                side.masked(self.seed, part.draw, slice(*rows)), load(), self.neurons.dtype
            ).prepared(needs)
            for side, rows in tiles
        ]

    def accumulators(self, inputs):
        return [quantity(load(), inputs, self.neurons) for quantity in self.quantities]
