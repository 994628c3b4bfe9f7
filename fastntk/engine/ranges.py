"""Ranges of neurons: (first, count) pairs, what they cover and what they leave."""

from .chunk import CHUNK


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


def fixed_ranges(first, count):
    """Chunks of CHUNK neurons: what the bits of float sums are defined by.  ``first`` begins a chunk."""
    stop = first + count
    return [(start, min(CHUNK, stop - start)) for start in range(first, stop, CHUNK)]


def even_ranges(first, count, threads):
    """Chunks of at most CHUNK neurons, as many for each thread, for sums that any split leaves equal."""
    rounds = -(-count // (CHUNK * threads))
    size = -(-count // (threads * rounds * 512)) * 512
    stop = first + count
    return [(start, min(size, stop - start)) for start in range(first, stop, size)]
