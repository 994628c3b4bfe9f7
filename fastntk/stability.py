"""Step sizes: what the largest eigenvalue of the masked kernel allows.

Gradient descent on squared loss shrinks the residual along an eigenvector of the tangent kernel by
1 - step_size * eigenvalue, so it is stable while step_size times the largest eigenvalue is below 2.
Under masks the mean of that eigenvalue over the masked kernels is what counts (docs/mathematics.md,
section 7): runs converge below about 2.4 and diverge from about 2.8.
"""

import numpy as np
import scipy.sparse.linalg

from .gram import nbytes_ntk, ntk

LIMIT = 2.0
DRAWS = 3  # masks that the eigenvalue is averaged over
MOST_ROWS = 1024  # of more rows a part is taken, and its eigenvalue scaled up
DENSE_ROWS = 32


def largest_eigenvalue(K):
    """The largest eigenvalue of a positive semidefinite (n, n) matrix, by Lanczos iterations to 1e-6."""
    if not K.any():
        return 0.0
    if len(K) <= DENSE_ROWS:
        return float(np.linalg.eigvalsh(K)[-1])
    start = np.random.default_rng(0).standard_normal(len(K))
    values = scipy.sparse.linalg.eigsh(K, k=1, which="LA", v0=start, tol=1e-6, return_eigenvectors=False)
    return float(values[0])


def masked_eigenvalue(network, batches, options):
    """The mean over the first masks of the largest eigenvalue that a step meets.

    The kernel of q outputs is that of one, mean a_r^2 weighted, times the largest eigenvalue of a^T a over
    its mean; exact where output weights and patterns are independent.
    """
    every_step_alike = batches.mask is None and batches.size == len(batches.X)
    draws = 1 if every_step_alike else DRAWS
    total = 0.0
    for step in range(draws):
        rows = np.arange(len(batches.X))[batches.rows(step)]
        part = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int)]
        K = ntk(
            batches.masked(step, part),
            network=network,
            backend=options.backend,
            threads=options.threads,
            memory_limit=options.memory_limit,
        )
        total += largest_eigenvalue(K) * len(rows) / len(part)
    return total / draws * output_factor(network)


def nbytes_eigenvalue(network, rows, threads):
    """Bytes that :func:`masked_eigenvalue` takes."""
    rows = min(rows, MOST_ROWS)
    return nbytes_ntk(network, rows, threads) + 8 * rows * rows + 8 * rows * network.dim


def advised_step_size(eigenvalue):
    """1 / eigenvalue, half of what is stable, in three digits: the same for every BLAS."""
    return float(f"{LIMIT / 2 / eigenvalue:.2e}") if eigenvalue > 0 else 1.0


def output_factor(network):
    """The largest eigenvalue of a^T a over its mean eigenvalue."""
    gram = np.zeros((network.outputs, network.outputs))
    for first in range(0, network.width, 65536):
        a = network.output_weights(first, min(first + 65536, network.width)).reshape(-1, network.outputs)
        gram += a.T @ a
    trace = np.trace(gram)
    return float(np.linalg.eigvalsh(gram)[-1] * len(gram) / trace) if trace > 0 else 1.0
