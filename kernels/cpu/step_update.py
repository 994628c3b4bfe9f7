"""Update of a training step: the gradient of one chunk of neurons, added to their rows of W."""

from .compiling import compiled
from .lookup import clear, dense_slab, gradient_slab, slab_vectors, slab_width
from .simd import f32, i64, vector_kernel

_FLOAT, _ADDRESS = f32(1).element, i64(1).element


@vector_kernel
def add_scaled_rows(emit, lanes, fused, weights, row_bytes, order, factors, sums, sum_bytes, items, columns):
    """weights[order[i], :columns] += factors[i] sums[i, :columns] for every item i.

    ``weights`` is the address of the first of these columns, ``row_bytes`` from row to row; ``order`` of
    int64, ``factors`` of fp32; ``sum_bytes`` from row to row of ``sums``.
    """
    weights, row_bytes, order, factors, sums, sum_bytes, columns = map(
        emit.integer, (weights, row_bytes, order, factors, sums, sum_bytes, columns)
    )
    whole = columns // lanes

    def one_item(item, _):
        row = weights + emit.load(_ADDRESS, order + item * 8, align=8) * row_bytes
        term = sums + item * sum_bytes
        factor = emit.load(_FLOAT, factors + item * 4)

        def add(width, shift):
            scale = emit.broadcast(factor, width)

            def step(k, _):
                at = k * (4 * width) + shift
                old, change = emit.load(f32(width), row + at), emit.load(f32(width), term + at)
                emit.store(emit.multiply_add(fused, scale, change, old), row + at)
                return []

            return step

        emit.loop(whole, [], add(lanes, 0))
        emit.loop(columns - whole * lanes, [], add(1, whole * (4 * lanes)))
        return []

    emit.loop(items, [], one_item)


def _combine(directions, values, totals, out):
    """out[j, i] = sum_c directions[j, c] values[c, i], c in order, rounded to fp32; 0 beyond the values.

    ``totals`` is scratch for a row of values in float64.
    """
    for j in range(len(directions)):
        for i in range(values.shape[1]):
            totals[i] = 0.0
        for c in range(len(values)):
            direction = directions[j, c]
            for i in range(values.shape[1]):
                totals[i] += direction * values[c, i]
        for i in range(values.shape[1]):
            out[j, i] = totals[i]
        for i in range(values.shape[1], out.shape[1]):
            out[j, i] = 0.0


combine = compiled(_combine)


def make_update_by_lookup(path):
    """The kernel update_by_lookup(weights, order, factors, words, rows, residuals, stops, scratch).

    weights[order[p]] += factors[p] sum_i bit_i(p) residuals[s, i] rows[i], where s is the segment of place
    p: segment 0 ends at stops[0], segment 1 at stops[1], and so on.
    """
    lanes, fused, widest = path.lanes, path.fused, slab_width(path) // path.lanes

    def update_by_lookup(weights, order, factors, words, rows, residuals, stops, scratch):
        count, dim, panels = len(order), weights.shape[1], len(words)
        row_bytes, panel_bytes = 4 * rows.shape[1], 8 * words.shape[1]
        table, sums = scratch.table.ctypes.data, scratch.sums.ctypes.data
        for start in range(0, dim, lanes * widest):
            columns = min(dim - start, lanes * widest)
            vectors = slab_vectors(columns, lanes, widest)
            clear(scratch.sums.reshape(-1), count * lanes * vectors)
            features = rows.ctypes.data + 4 * start
            first = 0
            for segment in range(len(stops)):
                items = stops[segment] - first
                bits = words.ctypes.data + 8 * first
                own = residuals.ctypes.data + 4 * segment * residuals.shape[1]
                into = sums + 4 * lanes * vectors * first
                gradient_slab(
                    lanes, widest, vectors, bits, panel_bytes, items, panels, features, row_bytes,
                    own, table, into,
                )  # fmt: skip
                first = stops[segment]
            add_scaled_rows(
                lanes, fused, weights.ctypes.data + 4 * start, 4 * dim, order.ctypes.data,
                factors.ctypes.data, sums, 4 * lanes * vectors, count, columns,
            )  # fmt: skip

    return compiled(update_by_lookup)


def make_update_dense(path):
    """The kernel update_dense(weights, order, factors, words, rows, a, residuals, scratch).

    weights[order[p]] += factors[p] sum_i bit_i(p) (a[p] . residuals[:, i]) rows[i], a as in forward_chunk.
    """
    lanes, fused, widest = path.lanes, path.fused, slab_width(path) // path.lanes
    neurons, tile_vectors = path.step_neurons, path.step_vectors

    def update_dense(weights, order, factors, words, rows, a, residuals, scratch):
        count, dim, panels = len(order), weights.shape[1], len(words)
        items = -(-count // neurons) * neurons
        bits, panel_bytes, row_bytes = words.ctypes.data, 8 * words.shape[1], 4 * rows.shape[1]
        own, outputs, shared, shared_bytes = (
            a.ctypes.data, a.shape[1], residuals.ctypes.data, 4 * residuals.shape[1],
        )  # fmt: skip
        coefficients, sums = scratch.coefficients.ctypes.data, scratch.sums.ctypes.data
        for start in range(0, dim, lanes * widest):
            columns = min(dim - start, lanes * widest)
            vectors = slab_vectors(columns, lanes, widest)
            clear(scratch.sums.reshape(-1), items * lanes * vectors)
            features = rows.ctypes.data + 4 * start
            dense_slab(
                lanes, widest, vectors, neurons, tile_vectors, fused, bits, panel_bytes, items, panels,
                features, row_bytes, outputs, own, shared, shared_bytes, coefficients, sums,
            )  # fmt: skip
            add_scaled_rows(
                lanes, fused, weights.ctypes.data + 4 * start, 4 * dim, order.ctypes.data,
                factors.ctypes.data, sums, 4 * lanes * vectors, count, columns,
            )  # fmt: skip

    return compiled(update_dense)
