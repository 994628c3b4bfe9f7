"""Counts of neurons active on two samples; the kernels and what limits them are in coactivation.cu."""

import numpy as np

from . import tables
from .layout import STEP_WORDS

THREADS = 256
TILE = (128, 256)  # rows and columns of counts that a block makes
STAGE_BYTES = sum(TILE) * STEP_WORDS * 4
BLOCKS_PER_MULTIPROCESSOR = 4  # one runs at a time: with four, the last round is a small part of the whole
STEPS_PER_BLOCK = 16  # at least: adding a tile to the counts costs as much traffic as some steps


def coactivation(device, rows, columns, words, symmetric, counts):
    """counts[i, j] += the number of neurons active on row i and on column j.

    ``rows`` and ``columns`` are patterns on the device (``layout.py``) of which the first ``words`` words are
    counted, a multiple of STEP_WORDS; ``counts`` is (len(rows), len(columns)) int32.  With ``symmetric`` only
    entries on or above the diagonal are complete.  The sums are of integers: their order does not show.
    """
    kernel, stages = tables.COUNTING.get(device.arch, tables.OTHER_COUNTING)
    steps = words // STEP_WORDS
    row_tiles, column_tiles = len(rows) // TILE[0], len(columns) // TILE[1]
    tiles = row_tiles * column_tiles // (2 if symmetric else 1)
    wanted = -(-BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors // max(tiles, 1))
    steps_per_block = max(-(-steps // wanted), min(steps, STEPS_PER_BLOCK))
    device.launch(
        "coactivation",
        kernel,
        (row_tiles, column_tiles, -(-steps // steps_per_block)),
        THREADS,
        rows,
        columns,
        np.int32(rows.shape[1]),
        np.int32(columns.shape[1]),
        np.int32(steps),
        np.int32(steps_per_block),
        np.int32(symmetric),
        counts,
        np.int32(counts.shape[1]),
        shared=stages * STAGE_BYTES,
        defines={"STAGES": stages},
    )
