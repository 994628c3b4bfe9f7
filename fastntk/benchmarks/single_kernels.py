"""Single compiled kernels as calls, one for each thread, with nothing of the engine around them."""

from functools import partial

import numpy as np

from ..engine.chunk import CHUNK
from ..kernels import load
from ..kernels.cpu.layout import aligned
from ..kernels.reference import WEIGHT_STREAM, stream_word

SEED = 0


def forward_calls(forward, X, chunks, cores):
    """Patterns of ``chunks`` chunks of neurons a thread: generated, multiplied, packed."""
    kernels, dim, packed = load(), X.shape[1], forward.inputs(X)
    word = stream_word(WEIGHT_STREAM, 0)
    given = np.empty((0, dim), np.float32)  # no given weights: the virtual ones

    def run(first, scratch, bits):
        for chunk in range(chunks):
            start = first + chunk * CHUNK
            forward.pattern(packed, given, SEED, word, start, CHUNK, scratch, bits)

    return [
        partial(
            run,
            thread * chunks * CHUNK,
            forward.scratch(dim),
            aligned(kernels.bits_shape(len(X), CHUNK), np.uint8, fill=0),
        )
        for thread in range(cores)
    ]


def random_patterns(kernels, n, chunks):
    """``chunks`` chunks of random bits, as a kernel takes them."""
    rng = np.random.default_rng(0)
    patterns = [aligned(kernels.bits_shape(n, CHUNK), np.uint8, fill=0) for _ in range(chunks)]
    for bits in patterns:
        bits[:n] = rng.integers(0, 256, (n, CHUNK // 8), np.uint8)
    return patterns


def count_calls(kernels, coactivation, n, patterns, cores, repeats):
    """(calls that count the patterns, one a thread; the counts (n, n) int32 of each, upper triangle)."""
    counts = [aligned(kernels.counts_shape(n, n), np.int32, fill=0) for _ in range(cores)]

    def count(thread):
        for _ in range(repeats):
            counts[thread][:] = 0
            for bits in patterns[thread::cores]:
                coactivation(bits, bits, CHUNK, True, counts[thread])

    return [partial(count, thread) for thread in range(cores)], counts
