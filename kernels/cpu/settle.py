"""Signs that a forward pass leaves open, decided exactly.

They are few, one in ten thousand on random data, and the layouts of the forward pass have the weights of one
neuron far apart.  So virtual weights are made once more: that is sooner than to gather them.
"""

import numpy as np

from .compiling import compiled
from .exact_sign import is_positive
from .philox import random_neuron


def make_settle_tile(lanes, rounded):
    """The kernel settle_tile(rows, weights, seed, stream, neuron, suspects, scratch, bits, first_bit).

    ``rows``, and ``bits`` (n, bytes), are those from the tile on; ``suspects`` has a mask of undecided
    neurons for each of its rows.  Bit j of the tile is that of neuron ``neuron`` + j: a row of ``weights``
    (m, d), or virtual where m is 0.  The open bits are replaced; the result is how many they were.
    """
    to_bfloat16 = int(rounded)

    def settle_tile(rows, weights, seed, stream, neuron, suspects, scratch, bits, first_bit):
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
                        scratch[k] = weights[given, k]
                else:
                    groups = len(scratch) // (4 * lanes)
                    random_neuron(lanes, to_bfloat16, seed, stream, neuron + j, groups, scratch.ctypes.data)
                byte, bit = (first_bit + j) // 8, np.uint8(1 << ((first_bit + j) % 8))
                if is_positive(rows[min(t, len(rows) - 1)], scratch):
                    bits[t, byte] |= bit
                else:
                    bits[t, byte] &= ~bit
                settled += 1
        return settled

    return compiled(settle_tile)
