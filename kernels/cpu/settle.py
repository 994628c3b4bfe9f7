"""Signs that a forward pass leaves open, decided exactly.

They are few: one in ten thousand on random data.
"""

import numpy as np

from .compiling import compiled
from .exact_sign import is_positive
from .philox import random_neuron


def make_regenerate(lanes, rounded):
    """fill(seed, stream, neuron, panel, j, out): virtual weights of neuron ``neuron`` + j, made once more.

    The panels of ``forward.py`` have them far apart: to gather them takes longer.
    """
    to_bfloat16 = int(rounded)

    def regenerate(seed, stream, neuron, panel, j, out):
        groups = len(out) // (4 * lanes)
        random_neuron(lanes, to_bfloat16, seed, stream, neuron + j, groups, out.ctypes.data)

    return compiled(regenerate)


def make_settle_tile(fill):
    """The kernel settle_tile(rows, weights, seed, stream, neuron, panel, suspects, out, bits, first_bit).

    ``rows``, and ``bits`` (n, bytes), are those from the tile on; ``suspects`` has a mask of undecided
    neurons for each of its rows.  Bit j of the tile is that of neuron ``neuron`` + j: a row of ``weights``
    (m, d), or where m is 0 what ``fill`` writes to ``out``.  The open bits are replaced; the result is how
    many they were.
    """

    def settle_tile(rows, weights, seed, stream, neuron, panel, suspects, out, bits, first_bit):
        settled = 0
        for t in range(len(suspects)):
            remaining, j = suspects[t], -1
            while remaining != np.uint32(0):
                j += 1
                undecided, remaining = remaining & np.uint32(1), remaining >> np.uint32(1)
                if not undecided:
                    continue
                if len(weights):
                    given = min(neuron + j, len(weights) - 1)
                    for k in range(rows.shape[1]):
                        out[k] = weights[given, k]
                else:
                    fill(seed, stream, neuron, panel, j, out)
                byte, bit = (first_bit + j) // 8, np.uint8(1 << ((first_bit + j) % 8))
                if is_positive(rows[min(t, len(rows) - 1)], out):
                    bits[t, byte] |= bit
                else:
                    bits[t, byte] &= ~bit
                settled += 1
        return settled

    return compiled(settle_tile)
