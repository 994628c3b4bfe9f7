"""The chunks of neurons of a training step, and in which order their neurons stand."""

import math
from typing import NamedTuple

import numpy as np

CHUNK = 2016  # neurons of a step's chunk, a multiple of every register tile: part of what the bits depend on
BLOCK = 65536 // CHUNK * CHUNK  # neurons that are sorted together
NEURONS_PER_CLASS = 16  # from here on a table for each class costs less than multiplying
MOST_GROUPS, GROUP_VALUES = 256, 1 << 22


class StepChunk(NamedTuple):
    """Some neurons and their output weights a_r = scale_r direction, sorted by direction.

    Neurons of one direction see the same residual of each sample.  Those before stops[0] have
    directions[0], those from there to stops[1] have directions[1], and so on; both are empty where there
    are so many directions that tables would not pay.
    """

    order: np.ndarray  # (count,) int64: the neurons, in the order in which their bits stand
    a: np.ndarray  # (count rounded up to a tile, q) fp32, in units of 2^exponent
    scale: np.ndarray  # (count,) float32: what multiplies the direction, in the same units
    directions: np.ndarray  # (segments, q) float64, entries up to 1
    stops: np.ndarray  # (segments,) int64


class StepChunks:
    """All chunks of a network, and the exponent common to their output weights."""

    def __init__(self, neurons, tile):
        self.exponent = output_exponent(neurons)
        self.chunks: list[StepChunk] = []
        for first, weights in _blocks(neurons):
            a = np.ldexp(weights, -self.exponent)
            scale, directions, place = _directions(a)
            order = np.argsort(place, kind="stable")
            for start in range(0, len(a), CHUNK):
                rows = order[start : start + CHUNK]
                padded = np.zeros((-(-len(rows) // tile) * tile, a.shape[1]), np.float32)
                padded[: len(rows)] = a[rows]
                ends = np.flatnonzero(np.diff(place[rows], append=-1)) + 1
                if not len(directions) or _are_too_many(len(ends), len(rows)):
                    ends = ends[:0]
                chunk = StepChunk(
                    order=first + rows,
                    a=padded,
                    scale=scale[rows].astype(np.float32) if len(ends) else np.ones(len(rows), np.float32),
                    directions=directions[place[rows[ends - 1]]],
                    stops=ends,
                )
                self.chunks.append(chunk)

    def groups(self, values):
        """Runs of chunks whose outputs, ``values`` numbers, are added in order: the same for all threads."""
        size = group_size(len(self.chunks), values)
        return [range(i, min(i + size, len(self.chunks))) for i in range(0, len(self.chunks), size)]


def output_exponent(neurons):
    """The exponent that brings the largest output weight into [1/2, 1)."""
    return math.frexp(max(np.abs(weights).max() for _, weights in _blocks(neurons)))[1]


def group_size(chunks, values):
    """Chunks in a group, where there are so many of them and each has ``values`` outputs."""
    return -(-chunks // min(max(GROUP_VALUES // values, 16), MOST_GROUPS))


def _blocks(neurons):
    """(first neuron, output weights (count, q)) of blocks of neurons."""
    for first in range(0, neurons.width, BLOCK):
        yield first, neurons.output_weights(first, min(BLOCK, neurons.width - first))


def _directions(a):
    """(scale, directions, place): row r of output weights is scale[r] directions[place[r]].

    Where there are too many directions for tables there are none, the scales are 1 and the places 0.
    """
    if a.shape[1] == 1:
        return a[:, 0], np.ones((1, 1)), np.zeros(len(a), int)
    largest = np.abs(a).argmax(axis=1)
    scale = a[np.arange(len(a)), largest]
    unit = a / np.where(scale == 0, 1, scale)[:, None]
    unit[scale == 0] = 1  # any direction
    directions, place = _unique_rows(unit)
    if _are_too_many(len(directions), len(a)):
        return np.ones(len(a)), directions[:0], np.zeros(len(a), int)
    return scale, directions, place


def _are_too_many(directions, neurons):
    """Whether a table for each direction costs more than multiplying."""
    return directions > 1 and directions * NEURONS_PER_CLASS > neurons


def _unique_rows(rows):
    """np.unique of the rows and its inverse, by one number for each row where that tells them apart."""
    key = np.zeros(len(rows))
    for c, column in enumerate(rows.T):
        key += np.cos(c + 1.0) * column
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    if (rows[first][place] == rows).all():
        return rows[first], place
    unique, place = np.unique(rows, axis=0, return_inverse=True)
    return unique, place.reshape(-1)
