"""The masked inputs of a training step, and the working memory of its kernels."""

import math
from typing import NamedTuple

import numpy as np

from .compiling import compiled
from .layout import DEPTH_BLOCK, aligned, round_up
from .lookup import PANEL, lookup_table, slab_width


class Batch(NamedTuple):
    """Masked inputs of one step: each row scaled by a power of two to a largest entry in [1, 2).

    The bound behind ``bounds`` is that of ``layout.PatternInputs``; samples that fill the last panel up
    are copies of the last one.
    """

    masked: np.ndarray  # (n, d) fp32, as given: what the exact sign is the sign of
    panels: np.ndarray  # (ceil(n / 64), d, 64) fp32
    rows: np.ndarray  # (64 ceil(n / 64), d rounded up to a slab) fp32
    exponents: np.ndarray  # (n,) int64: row = scaled row times 2^exponent
    bounds: np.ndarray  # (64 ceil(n / 64),) fp32
    panel_bounds: np.ndarray  # (ceil(n / 64),) fp32: the largest of each panel


class StepScratch(NamedTuple):
    """Working memory of one worker for chunks of at most ``neurons`` neurons."""

    pointers: np.ndarray  # (neurons,) int64: addresses of the rows of W
    neuron_bounds: np.ndarray  # (neurons,) fp32
    prefix_counts: np.ndarray  # (d,) fp32
    partial: np.ndarray  # sums of earlier depth blocks of a tile
    suspects: np.ndarray  # (tile neurons,) uint64
    outputs: np.ndarray  # (q, 64) fp32
    table: np.ndarray  # TABLE_BYTES, aligned to 4096
    sums: np.ndarray  # (neurons, slab) fp32: a slab of the gradient
    coefficients: np.ndarray  # of a tile of the dense gradient, for 64 ceil(n / 64) samples
    totals: np.ndarray  # (n,) float64


def prefix_counts(dim):
    """In how many partial sums of the forward pass each feature is: (d,) float64.

    sum_k counts[k] x_k^2 is S of ``layout.PatternInputs``.
    """
    place = np.arange(dim)
    block_ends = np.minimum((place // DEPTH_BLOCK + 1) * DEPTH_BLOCK, dim)
    blocks = -(-dim // DEPTH_BLOCK)
    return (block_ends - place + blocks - place // DEPTH_BLOCK).astype(float)


def make_batch(count, dim, path):
    """Room for a batch of ``count`` rows."""
    panels = -(-count // PANEL)
    return Batch(
        masked=np.empty((count, dim), np.float32),
        panels=aligned((panels, dim, PANEL), np.float32),
        rows=aligned((panels * PANEL, round_up(dim, slab_width(path))), np.float32, fill=0),
        exponents=np.empty(count, np.int64),
        bounds=np.empty(panels * PANEL, np.float32),
        panel_bounds=np.empty(panels, np.float32),
    )


def batch_bytes(count, dim, path):
    """Bytes of :func:`make_batch`."""
    padded = round_up(count, PANEL)
    return 4 * (count * (dim + 2) + padded * (dim + round_up(dim, slab_width(path)) + 2)) + 256


def step_scratch(neurons, dim, outputs, samples, path):
    neurons = round_up(neurons, path.step_neurons)
    tile = path.step_neurons * path.step_vectors * path.lanes
    return StepScratch(
        pointers=np.empty(neurons, np.int64),
        neuron_bounds=np.empty(neurons, np.float32),
        prefix_counts=prefix_counts(dim).astype(np.float32),
        partial=aligned(tile, np.float32),
        suspects=np.empty(path.step_neurons, np.uint64),
        outputs=np.empty((outputs, PANEL), np.float32),
        table=lookup_table(),
        sums=aligned((neurons, slab_width(path)), np.float32),
        coefficients=np.empty(path.step_neurons * round_up(samples, PANEL), np.float32),
        totals=np.empty(samples),
    )


def _pack_batch(prefix_counts, relative_bound, batch):
    """Fill a batch from ``batch.masked``."""
    count, dim = batch.masked.shape
    for i in range(len(batch.bounds)):
        source = min(i, count - 1)
        largest = 0.0
        for k in range(dim):
            largest = max(largest, abs(np.float64(batch.masked[source, k])))
        exponent = math.frexp(largest)[1] - 1
        scale = math.ldexp(1.0, -exponent)
        square = 0.0
        for k in range(dim):
            value = np.float32(np.float64(batch.masked[source, k]) * scale)
            batch.panels[i // PANEL, k, i % PANEL] = value
            batch.rows[i, k] = value
            square += prefix_counts[k] * np.float64(value) * np.float64(value)
        # zero rows give 0 exactly, which no magnitude is at or below
        batch.bounds[i] = relative_bound * math.sqrt(square) if largest > 0.0 else -1.0
        if i < count:
            batch.exponents[i] = exponent
    for panel in range(len(batch.panel_bounds)):
        batch.panel_bounds[panel] = batch.bounds[panel * PANEL]
        for i in range(PANEL):
            batch.panel_bounds[panel] = max(batch.panel_bounds[panel], batch.bounds[panel * PANEL + i])


pack_batch = compiled(_pack_batch)
