"""Random values row by row: normals, raw words, and the fused multiply-add that masks are made with."""

import numpy as np

from .compiling import compiled
from .philox import random_panel
from .simd import f32, vector_kernel


def make_random_rows(path):
    """The kernel random_rows(as_normals, seed, stream_word, ids, scratch, out).

    ids (count,) uint64; out (count, d), fp32 normals or (``as_normals`` false) uint32 words; scratch
    (>= 4 ceil(d / 4), 2 lanes) of the same type.
    """
    lanes = path.lanes

    def random_rows(as_normals, seed, stream, ids, scratch, out):
        count, dim = out.shape
        quads = -(-dim // 4)
        width = 2 * lanes
        panel_ids = np.empty(width, np.uint64)
        for start in range(0, count, width):
            here = min(width, count - start)
            for j in range(width):
                panel_ids[j] = ids[start + min(j, here - 1)]
            if as_normals:
                random_panel(lanes, 2, 1, 0, seed, stream, panel_ids.ctypes.data, quads, scratch.ctypes.data)
            else:
                random_panel(lanes, 2, 0, 0, seed, stream, panel_ids.ctypes.data, quads, scratch.ctypes.data)
            for j in range(here):
                for k in range(dim):
                    out[start + j, k] = scratch[k, j]

    return compiled(random_rows)


@vector_kernel
def _fma_scalar(emit, scale, value, shift, out):
    """out[0] = fma(scale[0], value[0], shift[0]) in fp32, all four given by address."""
    operands = [emit.load(f32(1), address) for address in (scale, value, shift)]
    emit.store(emit.fma(*operands), out)


def _fma_rows(scale, values, shift, out):
    """out[i, k] = fma(scale[k], values[i, k], shift[i, k]) in fp32, rounded once; C-contiguous arrays."""
    dim = len(scale)
    for place in range(out.size):
        at = 4 * place
        _fma_scalar(
            scale.ctypes.data + at % (4 * dim),
            values.ctypes.data + at,
            shift.ctypes.data + at,
            out.ctypes.data + at,
        )


fma_rows = compiled(_fma_rows)
