"""Signs that a forward pass leaves open, decided exactly.

They are few: one in ten thousand on random data.  The forward pass finds the weights of each undecided neuron
of a tile, once, and hands them here.
"""

import numpy as np

from .compiling import compiled
from .exact_sign import is_positive


def _undecided_neurons(suspects):
    """The neurons that any row of a tile leaves undecided, as bits."""
    found = np.uint32(0)
    for mask in suspects:
        found |= mask
    return found


undecided_neurons = compiled(_undecided_neurons)


def _given_neuron(weights, index, out):
    """Row ``index`` of given weights, or the last one for padding behind it."""
    row = weights[min(index, len(weights) - 1)]
    for k in range(len(row)):
        out[k] = row[k]


given_neuron = compiled(_given_neuron)


def _settle_neuron(rows, neuron, j, suspects, bits, first_bit):
    """Replace the open bits of neuron j of a tile by exact ones; how many they were.

    ``rows``, and ``bits`` (n, bytes), are those from the tile on; ``suspects`` has a mask of undecided
    neurons for each of its rows, and the weights are the first d of ``neuron``.
    """
    settled = 0
    byte, bit = (first_bit + j) // 8, np.uint8(1 << ((first_bit + j) % 8))
    for t in range(len(suspects)):
        if suspects[t] >> np.uint32(j) & np.uint32(1):
            if is_positive(rows[min(t, len(rows) - 1)], neuron):
                bits[t, byte] |= bit
            else:
                bits[t, byte] &= ~bit
            settled += 1
    return settled


settle_neuron = compiled(_settle_neuron)
