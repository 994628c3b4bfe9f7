"""Virtual weights and output signs as arrays on a device."""

import numpy as np

THREADS = 256


def random_rows(device, seed, stream_word, first, out, *, scale=1.0, bfloat16=False):
    """Fill out (count, d) fp32 with the normals of the ids from ``first`` on, rounded with ``bfloat16``.

    Their product with ``scale`` is rounded once to fp32.
    """
    count, dim = out.shape
    grid = -(-count * -(-dim // 4) // THREADS)
    keys = (np.uint64(seed), np.uint32(stream_word), np.uint64(first), np.int32(bfloat16), np.float64(scale))
    device.launch("weights", "random_rows", grid, THREADS, *keys, np.int32(count), np.int32(dim), out)


def output_signs(device, seed, first, out):
    """Fill out (count, outputs) float64 with the output weights +1 / -1 of the neurons from ``first`` on."""
    count, outputs = out.shape
    keys, sizes = (np.uint64(seed), np.uint64(first)), (np.int32(count), np.int32(outputs))
    device.launch("weights", "output_signs", -(-count * outputs // THREADS), THREADS, *keys, *sizes, out)
