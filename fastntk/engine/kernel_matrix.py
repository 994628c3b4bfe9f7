"""A kernel matrix from sums over neurons: in memory at once, or tile by tile into a file."""

import logging
import secrets

import numpy as np

from ..kernels import load
from .assembly import BLOCK_ROWS, ArraySum, assemble, nbytes_block
from .neuron_sums import plan_sums
from .npyfile import NpyMatrix, Tile
from .runs import Run
from .tiles import tile_edges, tile_parts

log = logging.getLogger("fastntk")


class KernelMatrix:
    """The mean over the draws of ``formula(sums, products)``, an (n, p) float64 matrix.

    Parameters
    ----------
    problem : Problem
        Its quantities are matrices.
    shape, draws
    formula : callable
        formula(sums, products) of a block, as in ``assembly.assemble``.
    options : Options
    """

    def __init__(self, problem, shape, draws, formula, options, executor=None):
        self.problem, self.shape, self.draws = problem, shape, draws
        self.formula, self.executor = formula, executor
        self.options = options if executor is None else options._replace(threads=None)  # they are a task's
        self.symmetric = len(problem.sides) == 1

    def state_bytes(self, rows, columns):
        """Bytes of a checkpoint of a tile: the sums, and what the draws before it have added up to."""
        sums = sum(4 if quantity.exact else 8 for quantity in self.problem.quantities)
        return rows * columns * (sums + (8 if self.draws > 1 else 0))

    def plan(self, rows, columns, result_bytes, has_checkpoint):
        """Plan a tile; raises MemoryError where it does not fit."""
        quantities, entries = self.problem.quantities, rows * columns
        if has_checkpoint:  # sums of floats are copied when they are saved
            result_bytes += sum(8 * entries for quantity in quantities if not quantity.exact)
        return plan_sums(
            self.problem.neurons,
            quantities,
            rows,
            columns,
            self.options,
            result_bytes=result_bytes,
            finishing_bytes=nbytes_block(rows, columns, load(), quantities),
        )

    def plan_in_memory(self, has_checkpoint=False):
        n, p = self.shape
        return self.plan(n, p, 8 * n * p, has_checkpoint)

    def in_memory(self, checkpoint=None):
        """The matrix as an array."""
        plan = self.plan_in_memory(checkpoint is not None)
        total = np.zeros(self.shape)
        parts = tile_parts(*self.shape, self.shape, self.draws, self.symmetric)
        kept = {"total": total} if self.draws > 1 else {}
        for _, inputs, accumulators in self._run(parts, plan, checkpoint, kept):
            assemble(self.formula, accumulators, inputs, ArraySum(total), plan.threads)
        total /= self.draws
        return total

    def to_file(self, path, checkpoint=None):
        """The matrix as a memory map of ``path``, read-only."""
        token = secrets.token_hex(4) if checkpoint is None else checkpoint.token
        position = checkpoint.saved.position if checkpoint is not None and checkpoint.saved else None
        edges = tuple(position["tile"]) if position else tile_edges(*self.shape, self._plan_tile)
        plan = self._plan_tile(*edges)
        parts = tile_parts(*self.shape, edges, self.draws, self.symmetric)
        is_done = position is not None and position["part"] == len(parts)
        file = NpyMatrix(path, self.shape, token, goes_on=position is not None, is_done=is_done)
        try:
            self._write(file, parts, edges, plan, checkpoint, position)
        except BaseException:
            file.close()
            if checkpoint is None:
                file.discard()
            raise
        return np.load(path, mmap_mode="r")

    def _plan_tile(self, rows, columns):
        sums_of_draws = 8 * rows * columns if self.draws > 1 else 0
        return self.plan(rows, columns, sums_of_draws, True)

    def _write(self, file, parts, edges, plan, checkpoint, position):
        checksums = position["checksums"] if position else []
        tiles = [part for part in parts if part.draw == self.draws - 1]
        for part, checksum in zip(tiles, checksums, strict=False):
            self._tile(file, part).require(checksum)
        log.info(
            "%d x %d matrix in %d tiles of %d x %d on %d threads, %s",
            *self.shape, len(tiles), *edges, plan.threads, file.path,
        )  # fmt: skip
        total = np.zeros(edges if self.draws > 1 else (0, 0))
        run = self._run(parts, plan, checkpoint, {"total": total}, each_part=True)
        run.notes = {"tile": list(edges), "checksums": checksums}
        for part, inputs, accumulators in run:
            tile = self._tile(file, part)
            if self.draws == 1:
                assemble(self.formula, accumulators, inputs, tile, plan.threads)
            else:
                here = total[: part.rows[1] - part.rows[0], : part.columns[1] - part.columns[0]]
                if part.draw == 0:
                    here[...] = 0.0
                assemble(self.formula, accumulators, inputs, ArraySum(here), plan.threads)
                if part.draw < self.draws - 1:
                    continue
                here /= self.draws
                for first in range(0, len(here), BLOCK_ROWS):  # in blocks: no second tile
                    rows = slice(first, min(first + BLOCK_ROWS, len(here)))
                    tile.put(rows, slice(0, here.shape[1]), here[rows])
            checksums.append(tile.checksum)
            if checkpoint is not None:
                file.sync()
        file.finish()

    def _run(self, parts, plan, checkpoint, kept, each_part=False):
        return Run(
            self.problem,
            parts,
            plan,
            progress=self.options.progress,
            checkpoint=checkpoint,
            executor=self.executor,
            kept=kept,
            each_part=each_part,
        )

    def _tile(self, file, part):
        mirrored = self.symmetric and part.rows != part.columns
        return Tile(file, slice(*part.rows), slice(*part.columns), mirrored)
