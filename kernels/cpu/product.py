"""The float64 product in a fixed order: what every float sum of the package is made of.

C[i, j] is continued by one chain of fused multiply-adds over k, in order, whatever the tile, the block
or the instruction set, so its bits depend on the values alone; BLAS promises no such thing.

Operands are stored as panels: an array (groups, K, G) holds rows k of groups of G = 3 lanes / 2
neighbouring columns, and serves as left or as right operand.  C is (right groups, rows, G): panels
again, so that one product can feed the next.
"""

import numpy as np

from .compiling import compiled
from .simd import f64, vector_kernel

_DOUBLE = f64(1).element
DEPTH_BLOCK = 96  # rows at a time: a right panel of them, 18 KB with AVX-512, stays in the first-level cache


def group_width(path):
    """G, the columns of a panel."""
    return 3 * path.lanes // 2


def to_panels(matrix, path):
    """The columns of (K, n) as panels (ceil(n / G), K, G) in float64, padded with zeros."""
    depth, n = matrix.shape
    width = group_width(path)
    panels = np.zeros((-(-n // width), depth, width))
    for group, panel in enumerate(panels):
        here = matrix[:, group * width : (group + 1) * width]
        panel[:, : here.shape[1]] = here
    return panels


def from_panels(panels, rows, columns):
    """The (rows, columns) matrix that the result panels (groups, >= rows, G) hold."""
    out = np.empty((rows, columns))
    width = panels.shape[2]
    for group, panel in enumerate(panels):
        here = out[:, group * width : (group + 1) * width]
        here[...] = panel[:rows, : here.shape[1]]
    return out


@vector_kernel
def product_tile(emit, lanes, a, b, row_bytes, depth, c):
    """lanes / 2 rows by 3 vectors of C continued over ``depth`` rows of the two panels."""
    half = lanes // 2
    vector, vector_bytes = f64(half), 8 * half

    def places():
        return ((i, z, i * 3 * vector_bytes + z * vector_bytes) for i in range(half) for z in range(3))

    def step(k, sums):
        sums = list(sums)
        a_at, b_at = a + k * row_bytes, b + k * row_bytes
        right = [emit.load(vector, b_at, z * vector_bytes, align=8) for z in range(3)]
        for i in range(half):
            left = emit.load_broadcast(_DOUBLE, half, a_at, 8 * i)
            for z in range(3):
                sums[3 * i + z] = emit.fma(left, right[z], sums[3 * i + z])
        return sums

    sums = emit.loop(depth, [emit.load(vector, c, at, align=8) for _, _, at in places()], step)
    for (_, _, at), total in zip(places(), sums, strict=True):
        emit.store(total, c, at, align=8)


def make_ordered_product(path):
    """The kernel ordered_product(a, b, depth, upper, c).

    a (ga, >= depth, G), b (gb, >= depth, G), c (gb, ga * G, G) float64: the first ``depth`` rows of the
    operands are added.  With ``upper`` only entries on or above the diagonal are complete.
    """
    lanes = path.lanes

    def ordered_product(a, b, depth, upper, c):
        half, width = lanes // 2, a.shape[2]
        row_bytes = 8 * width
        for start in range(0, depth, DEPTH_BLOCK):
            here = min(DEPTH_BLOCK, depth - start)
            for right in range(len(b)):
                b_at = b[right, start:].ctypes.data
                for left in range(min(right + 1, len(a)) if upper else len(a)):
                    for part in range(0, width, half):
                        row = left * width + part
                        a_at = a[left, start:].ctypes.data + 8 * part
                        product_tile(lanes, a_at, b_at, row_bytes, here, c[right, row:].ctypes.data)

    return compiled(ordered_product)
