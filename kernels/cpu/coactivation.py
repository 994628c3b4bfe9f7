"""Counts of neurons active on two samples: and, population count, add, in a register tile."""

from .compiling import compiled
from .simd import i64, vector_kernel

BITS_PER_BLOCK = 16384  # 2 KB of each row at a time ...
COLUMN_BLOCK = 420  # ... and 840 KB of column rows, so that both stay in cache (a multiple of all tiles)


@vector_kernel
def count_tile(emit, lanes, rows, columns, p, p_stride, q, q_stride, steps, counts, counts_stride):
    """counts[i, j] += popcount(p_i & q_j) for rows x columns rows of bits; counts are int32."""
    vector = i64(lanes // 2)
    p_rows = [emit.integer(p) + emit.integer(p_stride) * i for i in range(rows)]
    q_rows = [emit.integer(q) + emit.integer(q_stride) * j for j in range(columns)]

    def step(k, sums):
        sums = list(sums)
        at = k * (4 * lanes)
        left = [emit.load(vector, row, at) for row in p_rows]
        for j, row in enumerate(q_rows):
            right = emit.load(vector, row, at)
            for i in range(rows):
                sums[i * columns + j] = sums[i * columns + j] + emit.population_count(left[i] & right)
        return sums

    sums = emit.loop(steps, [emit.constant(vector, 0)] * (rows * columns), step)
    for i in range(rows):
        for j in range(columns):
            at = emit.integer(counts) + emit.integer(counts_stride) * i + 4 * j
            more = emit.narrow(emit.horizontal_sum(sums[i * columns + j]), 32)
            emit.store(emit.load(more.type, at) + more, at, align=4)


def tile(path):
    """What the rows of p and of q are multiples of."""
    return path.count_rows, path.count_columns


def scratch_bytes(rows, columns):
    """Bytes beside the arguments."""
    return 0


def make_coactivation(path):
    """The kernel coactivation(p, q, count, upper, counts).

    p (n, bytes) and q (n', bytes) uint8 patterns of ``count`` neurons, zero bits beyond; counts
    (n, n') int32 is added to.  n is a multiple of count_rows, n' of count_columns and the bytes of a
    row of 64.  With ``upper`` only entries on or above the diagonal are complete.
    """
    lanes, tile_rows, tile_columns = path.lanes, path.count_rows, path.count_columns

    def coactivation(p, q, count, upper, counts):
        p_stride, q_stride, counts_stride = p.shape[1], q.shape[1], counts.shape[1] * 4
        for start in range(0, count, BITS_PER_BLOCK):
            here = min(BITS_PER_BLOCK, count - start)
            steps = -(-here // (32 * lanes))
            p_at, q_at = p.ctypes.data + start // 8, q.ctypes.data + start // 8
            for j_start in range(0, len(q), COLUMN_BLOCK):
                j_stop = min(j_start + COLUMN_BLOCK, len(q))
                for i in range(0, min(len(p), j_stop) if upper else len(p), tile_rows):
                    j_first = max(j_start, i // tile_columns * tile_columns) if upper else j_start
                    for j in range(j_first, j_stop, tile_columns):
                        out = counts.ctypes.data + i * counts_stride + j * 4
                        count_tile(
                            lanes, tile_rows, tile_columns, p_at + i * p_stride, p_stride,
                            q_at + j * q_stride, q_stride, steps, out, counts_stride,
                        )  # fmt: skip

    return compiled(coactivation)
