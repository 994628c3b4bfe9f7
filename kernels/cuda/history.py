"""What a training run asks of a chunk of neurons on a device, in sums of a fixed order."""

import numpy as np

from .layout import round_up

NEURONS, THREADS = 128, 256  # of a block of history.cu
MOST_BLOCKS = 4096  # that count differences


def count_differences(device, bits, others, total):
    """total (1,) uint64 += the bits that differ between two (lines, words) uint32 patterns."""
    grid = min(-(-bits.size // THREADS), MOST_BLOCKS)
    device.launch("history", "count_differences", grid, THREADS, bits, others, np.int64(bits.size), total)


def distance_moved(device, weights, start):
    """(sums, largest) of ||w_r - w_r0||^2, a host array each: one entry for every 128 neurons.

    weights and start (count, d) fp32; the sums are float64.
    """
    count, dim = weights.shape
    blocks = round_up(count, NEURONS) // NEURONS
    sums, largest = device.empty(blocks, np.float64), device.empty(blocks, np.float64)
    sizes = np.int32(count), np.int32(dim)
    device.launch("history", "distance_moved", blocks, THREADS, weights, start, *sizes, sums, largest)
    return device.download(sums), device.download(largest)


def find_out_of_range(device, factors, neurons, found):
    """found (1,) uint32 = 1 where one of a panel's ``factors`` is not finite."""
    grid = -(-neurons // THREADS)
    device.launch("history", "find_out_of_range", grid, THREADS, factors, np.int32(neurons), found)
