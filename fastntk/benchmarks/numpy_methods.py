"""The kernel in NumPy, with NumKong's counts of bits, and its limit from the closed form."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np

from .problem import BLOCK

COUNTED = 65_536  # neurons that NumKong counts at a time: of 2^14 to 2^18 the fastest


def blocks_of(W, size=BLOCK):
    """Rows of W, so many at a time."""
    return (W[start : start + size] for start in range(0, len(W), size))


def hidden_kernel(X, blocks, width):
    """The hidden-layer kernel from blocks of float32 weights, which may be made as they are needed."""
    counts = np.zeros((len(X), len(X)), np.float32)
    for W in blocks:
        P = (X @ W.T > 0).astype(np.float32)
        counts += P @ P.T
    return (X @ X.T) * counts / width


def matrix_form(problem):
    """NumPy on float32 matrices; BLAS has the threads."""
    X, (W, _) = problem.X, problem.weights()
    return lambda: hidden_kernel(X, blocks_of(W), len(W))


def even_triangle(n, parts):
    """Rows 0 = r_0 < ... < r_parts = n so that the triangle above the diagonal has equal parts."""
    return [round(n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts + 1)]


def count_calls(bits, out, threads):
    """One call a thread of NumKong's product of packed rows with themselves, into the upper triangle."""
    import numkong

    ends = even_triangle(len(bits), threads)
    return [
        partial(numkong.dots_symmetric, bits, dtype="uint1", out=out, start_row=start, end_row=stop)
        for start, stop in pairwise(ends)
        if stop > start
    ]


def numkong_counts(problem):
    """Signs by NumPy, packed; their Gram matrix by NumKong, rows split over the threads."""
    import numkong

    X, (W, _), n = problem.X, problem.weights(), problem.n

    def call():
        counts = np.zeros((n, n), np.int64)
        with ThreadPoolExecutor(problem.threads) as pool:
            for span in blocks_of(W, COUNTED):
                packed = [np.packbits(X @ block.T > 0, axis=1) for block in blocks_of(span)]
                bits = np.ascontiguousarray(np.concatenate(packed, axis=1))
                out = numkong.zeros((n, n), dtype="uint32")
                list(pool.map(lambda rows: rows(), count_calls(bits, out, problem.threads)))
                counts += np.asarray(out)
        counts = np.triu(counts) + np.triu(counts, 1).T
        return (X @ X.T) * counts / len(W)

    return call


def limit(problem):
    """x.y (pi - angle) / 2 pi, in float64."""
    X = problem.X.astype(np.float64)

    def call():
        norms = np.linalg.norm(X, axis=1)
        products = X @ X.T
        cosines = np.clip(products / np.outer(norms, norms), -1, 1)
        return products * (np.pi - np.arccos(cosines)) / (2 * np.pi)

    return call
