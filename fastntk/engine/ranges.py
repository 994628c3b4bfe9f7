"""Ranges of neurons: (first, count) pairs, what they cover and what they leave."""

from .chunk import CHUNK

DEVICE_CHUNK = (
    16 * CHUNK
)  # neurons of a range on a CUDA device: a few ms of work, so that starting it is little


def union(ranges):
    """The same neurons in as few ranges as can be, in order; raises where two overlap."""
    whole: list[list[int]] = []
    for first, count in sorted(ranges):
        if whole and first < sum(whole[-1]):
            raise ValueError(f"neuron {first} is in two ranges")
        if whole and first == sum(whole[-1]):
            whole[-1][1] += count
        else:
            whole.append([first, count])
    return [(first, count) for first, count in whole]


def gaps(covered, width):
    """What ranges in order leave of the neurons 0 .. width - 1."""
    left, at = [], 0
    for first, count in [*covered, (width, 0)]:
        if first > at:
            left.append((at, first - at))
        at = first + count
    return left


def fixed_ranges(first, count, size=CHUNK):
    """Whole chunks of CHUNK neurons, which the bits of float sums are defined by; ``first`` begins one.

    ``size`` is a multiple of CHUNK.
    """
    stop = first + count
    return [(start, min(size, stop - start)) for start in range(first, stop, size)]


def even_ranges(first, count, workers, most=CHUNK):
    """Chunks of at most ``most`` neurons, as many for each worker, for sums that any split leaves equal."""
    rounds = -(-count // (most * workers))
    size = -(-count // (workers * rounds * 512)) * 512
    stop = first + count
    return [(start, min(size, stop - start)) for start in range(first, stop, size)]
