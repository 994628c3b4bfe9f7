"""A kernel matrix from sums over neurons: in memory at once, or tile by tile into a file."""

import logging
from functools import partial

import numpy as np

from ..kernels import load
from .assembly import BLOCK_ROWS, ArraySum, assemble, nbytes_block
from .durable import naming
from .neuron_sums import all_needs, plan_sums
from .npyfile import NpyMatrix, Tile
from .patterns import pattern_store
from .runs import Run
from .threads import MAX_THREADS, available_cpus
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

    def plan(self, rows, columns, result_bytes, has_checkpoint, threads=None):
        """Plan a tile, with so many threads if they are given; raises MemoryError where it does not fit."""
        quantities, entries = self.problem.quantities, rows * columns
        if has_checkpoint:  # sums of floats are copied when they are saved
            result_bytes += sum(8 * entries for quantity in quantities if not quantity.exact)
        return plan_sums(
            self.problem.neurons,
            quantities,
            rows,
            columns,
            self.options if threads is None else self.options._replace(threads=threads),
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
        parts = self._parts(self.shape)
        kept = {"total": total} if self.draws > 1 else {}
        for _, inputs, sums in self._run(parts, plan, checkpoint, kept):
            assemble(self.formula, sums.accumulators, inputs, ArraySum(total), plan.threads)
        total /= self.draws
        return total

    def to_file(self, path, checkpoint=None):
        """The matrix as a memory map of ``path``, read-only."""
        token = None if checkpoint is None else checkpoint.token
        position = checkpoint.saved.position if checkpoint is not None and checkpoint.saved else None
        edges = tuple(position["tile"]) if position else self.tile_edges()
        try:
            plan = self._plan_tile(*edges)
        except MemoryError as error:  # the tiles were chosen with more memory
            raise MemoryError(
                f"{error} The tiles are those that the checkpoint has begun with: go on with as much memory "
                f"as the first call had, or delete the checkpoint to start over with smaller ones."
            ) from error
        parts = self._parts(edges)
        is_done = position is not None and position["part"] == len(parts)
        file = NpyMatrix(path, self.shape, token, goes_on=position is not None, is_done=is_done)
        store = None
        try:
            store = None if is_done else self._pattern_store(file, parts, plan)
            self._write(file, parts, edges, plan, checkpoint, position, store)
        except BaseException:
            if checkpoint is None:
                file.discard()
            file.close()
            raise
        finally:
            if store is not None:
                store.close()
        with naming(path):
            return np.load(path, mmap_mode="r")

    def tile_edges(self):
        """(rows, columns) of the tiles of a file: the largest that all threads have memory for, if any."""
        n, p = self.shape
        threads = self.options.threads or min(available_cpus(), MAX_THREADS)
        try:
            return tile_edges(n, p, partial(self._plan_tile, threads=threads))
        except MemoryError:
            return tile_edges(n, p, self._plan_tile)

    def _plan_tile(self, rows, columns, threads=None):
        sums_of_draws = 8 * rows * columns if self.draws > 1 else 0
        return self.plan(rows, columns, sums_of_draws, True, threads)

    def _parts(self, edges):
        n, p = self.shape
        return tile_parts(n, p, edges, self.draws, self.symmetric)

    def _write(self, file, parts, edges, plan, checkpoint, position, store):
        checksums = position["checksums"] if position else []
        tiles = [part for part in parts if part.draw == self.draws - 1]
        for part, checksum in zip(tiles, checksums, strict=False):
            self._tile(file, part).require(checksum)
        log.info(
            "%d x %d matrix in %d tiles of %d x %d on %d threads, patterns %s, %s",
            *self.shape, len(tiles), *edges, plan.threads,
            "of each tile worked out for itself" if store is None else "kept on disk", file.path,
        )  # fmt: skip
        if store is not None:
            plan = plan._replace(exact=False)  # the same chunks of neurons in every tile
        total = np.zeros(edges if self.draws > 1 else (0, 0))
        run = self._run(parts, plan, checkpoint, {"total": total}, before_save=file.sync)
        run.store = store
        run.notes = {"tile": list(edges), "checksums": checksums}
        for part, inputs, sums in run:
            tile = self._tile(file, part)
            if self.draws == 1:
                assemble(self.formula, sums.accumulators, inputs, tile, plan.threads)
            else:
                here = total[: part.rows[1] - part.rows[0], : part.columns[1] - part.columns[0]]
                if part.draw == 0:
                    here[...] = 0.0
                assemble(self.formula, sums.accumulators, inputs, ArraySum(here), plan.threads)
                if part.draw < self.draws - 1:
                    continue
                here /= self.draws
                for first in range(0, len(here), BLOCK_ROWS):  # in blocks: no second tile
                    rows = slice(first, min(first + BLOCK_ROWS, len(here)))
                    tile.put(rows, slice(0, here.shape[1]), here[rows])
            checksums.append(tile.checksum)
        file.finish()

    def _pattern_store(self, file, parts, plan):
        """Where patterns are kept, if that is cheaper than working them out for every tile."""
        if self.executor is not None or "bits" not in all_needs(self.problem.quantities):
            return None
        neurons, folder = self.problem.neurons, file.path.parent
        return pattern_store(folder, parts, self.symmetric, neurons, plan.threads, file.unwritten)

    def _run(self, parts, plan, checkpoint, kept, before_save=None):
        return Run(
            self.problem,
            parts,
            plan,
            progress=self.options.progress,
            checkpoint=checkpoint,
            executor=self.executor,
            kept=kept,
            before_save=before_save,
        )

    def _tile(self, file, part):
        mirrored = self.symmetric and part.rows != part.columns
        return Tile(file, slice(*part.rows), slice(*part.columns), mirrored)
