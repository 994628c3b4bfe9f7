"""Forward pass of a training step: one chunk of neurons, bits and partial outputs out.

Here the samples are in the lanes and the neurons are broadcast straight from their rows of W, so that
weights which change every step are never packed.  A register tile is ``step_neurons`` neurons by
``step_vectors`` vectors of samples; its fp32 sums are compared with the bound of ``layout`` as in
``forward.py``, bits leave as words of 64 samples, and a_r relu(h_ri) is added to the outputs.
"""

import numpy as np

from .compiling import compiled
from .exact_sign import is_positive
from .layout import DEPTH_BLOCK
from .lookup import PANEL
from .simd import f32, i64, vector_kernel

TILES_PER_SUM = 32  # tiles whose outputs are added in fp32 before they go to float64
UNROLL = 4
SMALLEST_SQUARE = 2.0**-110  # added to S_w: whatever falls below 2^-126 anywhere is far below its root
_FLOAT, _ADDRESS = f32(1).element, i64(1).element


def _accumulate(emit, lanes, neurons, vectors, fused, pointers, x, start, depth):
    """neurons x vectors sums of w_r . x over the features start .. start + depth - 1."""
    weights = [
        emit.load(_ADDRESS, pointers, 8 * r, align=8) + emit.integer(start) * 4 for r in range(neurons)
    ]
    x = emit.integer(x) + emit.integer(start) * (4 * PANEL)

    def features(count):
        def step(k, sums):
            sums = list(sums)
            for u in range(count):
                at = (k * count + u) * (4 * PANEL)
                right = [emit.load(f32(lanes), x + at, 4 * lanes * z, align=16) for z in range(vectors)]
                for r in range(neurons):
                    left = emit.load_broadcast(_FLOAT, lanes, weights[r] + k * (4 * count), 4 * u)
                    for z in range(vectors):
                        place = vectors * r + z
                        sums[place] = emit.multiply_add(fused, left, right[z], sums[place])
            return sums

        return step

    depth = emit.integer(depth)
    sums = [emit.constant(f32(lanes), 0.0)] * (neurons * vectors)
    sums = emit.loop(depth >> 2, sums, features(UNROLL))
    done = (depth >> 2) << 2
    weights = [address + done * 4 for address in weights]
    x = x + done * (4 * PANEL)
    return emit.loop(depth & 3, sums, features(1))


@vector_kernel
def partial_step_tile(emit, lanes, neurons, vectors, fused, pointers, x, start, depth, partial):
    """Add the sums over a depth block that is not the last."""
    sums = _accumulate(emit, lanes, neurons, vectors, fused, pointers, x, start, depth)
    for place, total in enumerate(sums):
        at = 4 * lanes * place
        emit.store(emit.load(f32(lanes), partial, at) + total, partial, at)


@vector_kernel
def finish_step_tile(
    emit, lanes, neurons, vectors, fused, blocked, pointers, x, start, depth, partial, bits, a, outputs,
    sums_out, sample_bounds, largest_bound, neuron_bounds, suspects,
) -> int:  # fmt: skip
    """Sums over the last depth block; bits and outputs out; non-zero where a sign is undecided.

    ``bits`` is the address of the first neuron's bits of these samples, 8 bytes from neuron to neuron;
    ``a`` of (neurons, outputs) fp32; ``sums_out`` of (outputs, PANEL) fp32, of which these samples are
    added to.  ``suspects`` then holds a mask of undecided samples for each neuron.
    """
    sums = _accumulate(emit, lanes, neurons, vectors, fused, pointers, x, start, depth)
    if blocked:
        sums = [emit.load(f32(lanes), partial, 4 * lanes * place) + total for place, total in enumerate(sums)]
    zero = emit.constant(f32(lanes), 0.0)
    samples = lanes * vectors

    def joined(masks):
        word = masks[0].mask_bits(samples)
        for z, mask in enumerate(masks[1:], start=1):
            word = word | (mask.mask_bits(samples) << (lanes * z))
        return word

    smallest = sums
    while len(smallest) > 1:
        pairs = zip(smallest[::2], smallest[1::2], strict=False)
        odd_one = smallest[-1:] if len(smallest) % 2 else []
        smallest = [emit.smaller_magnitude(a, b) for a, b in pairs] + odd_one
    largest = None
    for r in range(neurons):
        bound = emit.load(_FLOAT, neuron_bounds, 4 * r)
        largest = bound if largest is None else bound.above(largest).choose(bound, largest)
    largest = largest * emit.load(_FLOAT, largest_bound)
    undecided = smallest[0].not_above(emit.broadcast(largest, lanes)).mask_bits(lanes)

    def lane_by_lane():
        any_suspect = None
        own = [emit.load(f32(lanes), sample_bounds, 4 * lanes * z) for z in range(vectors)]
        for r in range(neurons):
            bound = emit.load_broadcast(_FLOAT, lanes, neuron_bounds, 4 * r)
            masks = [emit.absolute(sums[vectors * r + z]).not_above(bound * own[z]) for z in range(vectors)]
            suspect = emit.widen(joined(masks), 64)
            emit.store(suspect, suspects, 8 * r)
            any_suspect = suspect if any_suspect is None else any_suspect | suspect
        return any_suspect

    # Before the outputs, so that the sums need not be kept beside the rectified ones.
    suspected = emit.when(undecided.differs(0), lane_by_lane)

    rectified = []
    for r in range(neurons):
        mine = sums[vectors * r : vectors * (r + 1)]
        positive = [total.above(0.0) for total in mine]
        emit.store(joined(positive), emit.integer(bits) + 8 * r)
        rectified += [bit.choose(total, zero) for bit, total in zip(positive, mine, strict=True)]

    def one_output(c, _):
        at = emit.integer(sums_out) + c * (4 * PANEL)
        totals = [emit.load(f32(lanes), at, 4 * lanes * z) for z in range(vectors)]
        for r in range(neurons):
            own = emit.load_broadcast(_FLOAT, lanes, emit.integer(a) + (emit.integer(outputs) * r + c) * 4)
            for z in range(vectors):
                totals[z] = emit.multiply_add(fused, own, rectified[vectors * r + z], totals[z])
        for z, total in enumerate(totals):
            emit.store(total, at, 4 * lanes * z)
        return []

    emit.loop(outputs, [], one_output)
    return suspected


@vector_kernel
def weighted_square_norm(emit, lanes, row, counts, dim, out):
    """out[0] = sqrt(sum_k counts[k] row[k]^2 + SMALLEST_SQUARE) in fp32, rounded up by a little."""
    row, counts, dim = emit.integer(row), emit.integer(counts), emit.integer(dim)

    def step(width):
        def add(k, state):
            at = k * (4 * width)
            value = emit.load(f32(width), row + at)
            return [state[0] + emit.load(f32(width), counts + at) * (value * value)]

        return add

    whole = dim // lanes
    (wide,) = emit.loop(whole, [emit.constant(f32(lanes), 0.0)], step(lanes))
    row, counts = row + whole * (4 * lanes), counts + whole * (4 * lanes)
    (rest,) = emit.loop(dim - whole * lanes, [emit.constant(f32(1), 0.0)], step(1))
    total = rest + emit.broadcast(emit.horizontal_float_sum(wide), 1)
    slack = (emit.integer(dim) + 64).unsigned_to_float(_FLOAT) * 2.0**-22  # above the rounding of the sums
    emit.store(emit.sqrt(total + total * emit.broadcast(slack, 1) + SMALLEST_SQUARE), out)


def _settle_step_tile(masked, first_sample, weights, order, first_place, suspects, words):
    """Replace the undecided bits of a tile by exact ones; the number of them."""
    settled = 0
    for r in range(len(suspects)):
        place = first_place + r
        remaining = suspects[r]
        j = 0
        while remaining != np.uint64(0) and place < len(order):
            if remaining & np.uint64(1):
                sample = first_sample + j
                bit = np.uint64(1) << np.uint64(sample % PANEL)
                if is_positive(masked[min(sample, len(masked) - 1)], weights[order[place]]):
                    words[sample // PANEL, place] |= bit
                else:
                    words[sample // PANEL, place] &= ~bit
                settled += 1
            remaining >>= np.uint64(1)
            j += 1
    return settled


settle_step_tile = compiled(_settle_step_tile)


def make_forward_chunk(path):
    """The kernel forward_chunk(weights, order, a, batch, words, totals, scratch) -> settled.

    weights (m, d) fp32; order (count,) int64; a (>= count rounded up to a tile, q) fp32, zeros beyond;
    words (panels, >= count rounded up) uint64 receives the bits; totals (panels, q, 64) float64, to which
    the sums of a_r relu(w_r . scaled x_i) are added.  Returns -1 where a weight is too large or NaN.
    """
    lanes, neurons, vectors, fused = path.lanes, path.step_neurons, path.step_vectors, path.fused

    def forward_chunk(weights, order, a, batch, words, totals, scratch):
        count, dim, outputs = len(order), weights.shape[1], a.shape[1]
        tiles = -(-count // neurons)
        pointers, bounds = scratch.pointers, scratch.neuron_bounds
        for r in range(tiles * neurons):
            pointers[r] = weights.ctypes.data + order[min(r, count - 1)] * (4 * dim)
            bound_at = bounds.ctypes.data + 4 * r
            weighted_square_norm(lanes, pointers[r], scratch.prefix_counts.ctypes.data, dim, bound_at)
            if not bounds[r] < np.inf:
                return -1
        last_start = (dim - 1) // DEPTH_BLOCK * DEPTH_BLOCK
        partial, suspects = scratch.partial.ctypes.data, scratch.suspects.ctypes.data
        settled = 0
        for panel in range(len(batch.panels)):
            x = batch.panels.ctypes.data + panel * (4 * PANEL * dim)
            largest_bound = batch.panel_bounds.ctypes.data + 4 * panel
            for first_tile in range(0, tiles, TILES_PER_SUM):
                scratch.outputs.fill(np.float32(0.0))
                for part in range(0, PANEL, lanes * vectors):
                    sample_bounds = batch.bounds.ctypes.data + 4 * (panel * PANEL + part)
                    sums = scratch.outputs.ctypes.data + 4 * part
                    for tile in range(first_tile, min(first_tile + TILES_PER_SUM, tiles)):
                        place = tile * neurons
                        rows = pointers.ctypes.data + 8 * place
                        bits = words.ctypes.data + 8 * (panel * words.shape[1] + place) + part // 8
                        own = a.ctypes.data + 4 * place * outputs
                        neuron_bounds = bounds.ctypes.data + 4 * place
                        if last_start == 0:
                            undecided = finish_step_tile(
                                lanes, neurons, vectors, fused, 0, rows, x + 4 * part, 0, dim, partial, bits,
                                own, outputs, sums, sample_bounds, largest_bound, neuron_bounds, suspects,
                            )  # fmt: skip
                        else:
                            scratch.partial.fill(np.float32(0.0))
                            for k in range(0, last_start, DEPTH_BLOCK):
                                partial_step_tile(
                                    lanes,
                                    neurons,
                                    vectors,
                                    fused,
                                    rows,
                                    x + 4 * part,
                                    k,
                                    DEPTH_BLOCK,
                                    partial,
                                )
                            undecided = finish_step_tile(
                                lanes, neurons, vectors, fused, 1, rows, x + 4 * part, last_start,
                                dim - last_start, partial, bits, own, outputs, sums, sample_bounds,
                                largest_bound, neuron_bounds, suspects,
                            )  # fmt: skip
                        if undecided != 0:
                            settled += settle_step_tile(
                                batch.masked,
                                panel * PANEL + part,
                                weights,
                                order,
                                place,
                                scratch.suspects,
                                words,
                            )
                for c in range(outputs):
                    for i in range(PANEL):
                        totals[panel, c, i] += np.float64(scratch.outputs[c, i])
        return settled

    return compiled(forward_chunk)
