"""The hidden layer's kernel times a vector, without the kernel: two look-ups in float64.

K v has the entries sum_r b_ri a_r^2 (S_r . x~_i) with S_r = sum_j b_rj v_j x~_j.  S_r is a sum over the
samples on which neuron r is active, and what x~_i is multiplied with a sum over the neurons active on
sample i: the sums of ``gradient`` and of ``tangent``, by the same tables, but in float64, since solvers
and small eigenvalues live on the digits that fp32 does not have.

Tables hold weighted rows as they are, so a value is scaled only by its weight; chains of additions end
after 1024 rows, and their results are added.
"""

from typing import NamedTuple

import numpy as np

from .compiling import compiled
from .gradient import ITEMS, SUM_PANELS
from .layout import aligned, round_up
from .lookup import PANEL, clear, double_slab, lookup_table, slab_vectors, slab_width
from .simd import f64, vector_kernel
from .tangent import gather_bits

PRODUCT_NEURONS = PANEL * SUM_PANELS  # whose sums S_r are held at a time
CHAINS = 4  # chains of additions in an inner product: feature k is in chain k % 4


class ProductScratch(NamedTuple):
    """Working memory of one worker."""

    by_neuron: np.ndarray  # (panels, > PRODUCT_NEURONS) uint64: bits of 64 samples for each neuron
    by_sample: np.ndarray  # (SUM_PANELS, > ITEMS) uint64: bits of 64 neurons for each sample
    block: np.ndarray  # (64, 8) uint64: bits on their way through a transposition
    neuron_sums: np.ndarray  # (slabs, PRODUCT_NEURONS, features of a slab) float64: S_r
    squares: np.ndarray  # (PRODUCT_NEURONS,) float64: a_r^2
    table: np.ndarray  # TABLE_BYTES, aligned to 4096
    sums: np.ndarray  # (ITEMS, features of a slab) float64
    chains: np.ndarray  # (ITEMS, CHAINS) float64


def double_width(path):
    """Features in the widest slab of float64."""
    return slab_width(path) // 2


def double_rows(inputs, path):
    """(n, d) as float64 slabs (slabs, 64 ceil(n / 64), features of a slab), zeros beyond n and d."""
    n, dim = inputs.shape
    slab = double_width(path)
    rows = aligned((-(-dim // slab), round_up(n, PANEL), slab), np.float64, fill=0)
    for first in range(0, dim, slab):
        here = inputs[:, first : first + slab]
        rows[first // slab, :n, : here.shape[1]] = here
    return rows


def double_rows_bytes(n, dim, path):
    slab = double_width(path)
    return 8 * -(-dim // slab) * round_up(n, PANEL) * slab + 64


def product_scratch(samples, dim, path):
    """Of the product with a vector of so many samples."""
    slab = double_width(path)
    return ProductScratch(
        by_neuron=aligned((-(-samples // PANEL), PRODUCT_NEURONS + 8), np.uint64, fill=0),
        by_sample=aligned((SUM_PANELS, ITEMS + 8), np.uint64, fill=0),
        block=aligned((PANEL, 8), np.uint64),
        neuron_sums=aligned((-(-dim // slab), PRODUCT_NEURONS, slab), np.float64, fill=0),
        squares=np.zeros(PRODUCT_NEURONS),
        table=lookup_table(),
        sums=aligned((ITEMS, slab), np.float64),
        chains=aligned((ITEMS, CHAINS), np.float64),
    )


def product_scratch_bytes(samples, dim, path):
    slab = double_width(path)
    grows = 8 * -(-samples // PANEL) * (PRODUCT_NEURONS + 8) + 8 * -(-dim // slab) * PRODUCT_NEURONS * slab
    return grows + sum(array.nbytes for array in product_scratch(0, 0, path)) + 8192


def _keep_sums(sums, items, width, fresh, totals):
    """totals[r, k] += sums[r, k], or set to it where ``fresh``; sums are flat, without gaps."""
    for r in range(items):
        for k in range(width):
            totals[r, k] = sums[r * width + k] if fresh else totals[r, k] + sums[r * width + k]


keep_sums = compiled(_keep_sums)


def make_sums_by_neuron(path):
    """The kernel sums_by_neuron(items, rows, dim, weights, scratch): S_r of the first ``items`` neurons.

    scratch.neuron_sums[s, r, k] = sum_j bit_j(r) weights[j] rows[s, j, k], bits as scratch.by_neuron has
    them; rows as in :func:`double_rows`, weights (64 panels,) float64.
    """
    lanes, widest = path.lanes, slab_width(path) // path.lanes

    def sums_by_neuron(items, rows, dim, weights, scratch):
        words, sums = scratch.by_neuron, scratch.sums.reshape(-1)
        panels, slab = len(words), rows.shape[2]
        panel_bytes, row_bytes = 8 * words.shape[1], 8 * slab
        table, into = scratch.table.ctypes.data, sums.ctypes.data
        for s in range(len(rows)):
            vectors = slab_vectors(dim - s * slab, lanes // 2, widest)
            width = lanes // 2 * vectors
            for start in range(0, panels, SUM_PANELS):
                here = min(SUM_PANELS, panels - start)
                bits = words.ctypes.data + start * panel_bytes
                at = rows[s].ctypes.data + start * PANEL * row_bytes
                own = weights.ctypes.data + 8 * start * PANEL
                clear(sums, items * width)
                double_slab(
                    lanes, widest, vectors, bits, panel_bytes, items, here, at, row_bytes, own, table, into
                )
                keep_sums(sums, items, width, start == 0, scratch.neuron_sums[s])

    return compiled(sums_by_neuron)


@vector_kernel
def project(emit, sums, slab_bytes, items, columns, inputs, row_bytes, chains):
    """chains[i, k % 4] += sums[i, k] inputs[i, k], k in order; ``columns`` is a multiple of 4."""
    sums, inputs, chains = map(emit.integer, (sums, inputs, chains))
    vector, vector_bytes = f64(CHAINS), 8 * CHAINS

    def one_item(item, _):
        sums_at, inputs_at, own = sums + item * slab_bytes, inputs + item * row_bytes, chains + item * 32

        def features(k, total):
            at = k * vector_bytes
            return [total[0] + emit.load(vector, sums_at + at) * emit.load(vector, inputs_at + at)]

        (total,) = emit.loop(emit.integer(columns) // CHAINS, [emit.load(vector, own)], features)
        emit.store(total, own)
        return []

    emit.loop(items, [], one_item)


def make_project_by_sample(path):
    """The kernel project_by_sample(bits, first_word, count, rows, dim, scratch, out).

    out[i] += sum_r bit_r(i) scratch.squares[r] scratch.neuron_sums[:, r] . rows[:, i], r over ``count``
    neurons, at most PRODUCT_NEURONS, whose bits begin at word ``first_word`` of the rows of bits (>= n,
    words of 64) uint64 and end with a word, or with zeros; rows as in :func:`double_rows`, out (n,) float64.
    """
    lanes, widest = path.lanes, slab_width(path) // path.lanes

    def project_by_sample(bits, first_word, count, rows, dim, scratch, out):
        panels, slab = -(-count // PANEL), rows.shape[2]
        words, sums, chains = scratch.by_sample, scratch.sums.reshape(-1), scratch.chains
        panel_bytes, row_bytes = 8 * words.shape[1], 8 * slab
        table, into = scratch.table.ctypes.data, sums.ctypes.data
        for first_row in range(0, len(out), ITEMS):
            items = min(ITEMS, len(out) - first_row)
            gather_bits(bits, first_row, items, first_word, panels, words)
            clear(chains.reshape(-1), items * CHAINS)
            for s in range(len(rows)):
                vectors = slab_vectors(dim - s * slab, lanes // 2, widest)
                width = lanes // 2 * vectors
                clear(sums, items * width)
                double_slab(
                    lanes, widest, vectors, words.ctypes.data, panel_bytes, items, panels,
                    scratch.neuron_sums[s].ctypes.data, row_bytes, scratch.squares.ctypes.data, table, into,
                )  # fmt: skip
                features = rows[s].ctypes.data + first_row * row_bytes
                project(into, 8 * width, items, width, features, row_bytes, chains.ctypes.data)
            for i in range(items):
                for chain in range(CHAINS):
                    out[first_row + i] += chains[i, chain]

    return compiled(project_by_sample)
