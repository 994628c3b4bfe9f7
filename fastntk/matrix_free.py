"""Products of an empirical NTK with vectors, without the matrix: each is a sweep over the neurons."""

from typing import NamedTuple

import numpy as np

from .engine.environment import in_ieee_arithmetic
from .engine.kernel_products import HiddenProduct, OutputProduct, Vectors, nbytes_scratch
from .engine.neuron_sums import NeuronSums
from .engine.plan import Options
from .gram import quantities
from .kernels import load
from .network import Network
from .sides import Side

VECTORS = 64  # at a time: they share a forward pass, 1 % of the work then, and memory stays bounded


class MatrixFreeKernel(NamedTuple):
    """A kernel whose arguments are checked; ``rows`` and ``columns`` are one object where it is symmetric."""

    rows: Side
    columns: Side
    network: Network
    layers: str
    draws: int
    seed: int
    options: Options

    def transposed(self):
        return self._replace(rows=self.columns, columns=self.rows)

    def planned(self, vectors=1):
        """The :class:`NeuronSums` of a product with so many vectors, up to VECTORS; MemoryError."""
        neurons, kernels = self.network._neurons, load()
        parts = quantities(self.layers, HiddenProduct, OutputProduct)
        needs = {need for part in parts for need in part.needs}
        sizes = [len(side.X) for side in self._sides()]
        shared = Vectors.nbytes(sizes[-1], vectors)
        if "bits" in needs:
            shared += sum(kernels.double_rows_bytes(n, neurons.dim) for n in sizes)
        return NeuronSums(
            neurons,
            parts,
            *sizes,
            values=vectors,
            options=self.options,
            result_bytes=shared,
            scratch_bytes=nbytes_scratch(kernels, neurons.dim, sizes[-1], needs),
        )

    @in_ieee_arithmetic
    def product(self, V):
        """K V, (n, k) float64, of finite real (p, k); infinite where it is beyond float64."""
        blocks = [self._few(V[:, k : k + VECTORS]) for k in range(0, V.shape[1], VECTORS)]
        return blocks[0] if len(blocks) == 1 else np.hstack(blocks)

    def _few(self, V):
        neurons, sums = self.network._neurons, self.planned(V.shape[1])
        factors = np.array(quantities(self.layers, 1.0, neurons.scale**2)) / neurons.width
        total = np.zeros((len(self.rows.X), V.shape[1]))
        for draw in range(self.draws):
            inputs = [sums.pack(side.masked(self.seed, draw)) for side in self._sides()]
            for side in inputs:
                side.prepare_products(sums.needs)
            vectors = Vectors(V, inputs[-1], sums.needs)
            parts = sums.run(inputs, vectors=vectors)
            result = sum(factor * part for factor, part in zip(factors, parts, strict=True))
            total += inputs[0].spread_rows(vectors.restored(result))
        return total / self.draws

    def _sides(self):
        return [self.rows] if self.columns is self.rows else [self.rows, self.columns]
