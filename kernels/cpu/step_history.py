"""What a training run records of a chunk of neurons: bits that have flipped, the distance travelled."""

import numpy as np

from .compiling import compiled
from .lookup import PANEL


def _count_differences(words, others, samples, neurons):
    """Bits of the first ``samples`` and ``neurons`` that differ, of two (panels, neurons) arrays of words."""
    different = 0
    for panel in range(len(words)):
        here = min(samples - panel * PANEL, PANEL)
        kept = ~np.uint64(0) >> np.uint64(PANEL - here)
        for r in range(neurons):
            x = (words[panel, r] ^ others[panel, r]) & kept
            x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
            x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
            x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
            different += np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return different


count_differences = compiled(_count_differences)


def _distance_moved(weights, order, start):
    """(sum over the neurons, largest) of ||weights[order[p]] - start[p]||^2 in float64."""
    total, largest = 0.0, 0.0
    for p in range(len(order)):
        row, square = order[p], 0.0
        for k in range(weights.shape[1]):
            change = np.float64(weights[row, k]) - np.float64(start[p, k])
            square += change * change
        total += square
        largest = max(largest, square)
    return total, largest


distance_moved = compiled(_distance_moved)
