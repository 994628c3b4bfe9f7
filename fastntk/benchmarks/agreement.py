"""How far two computations of one kernel may be apart, and how far they are."""

import numpy as np

UNIT = 2.0**-24  # the unit roundoff of float32


def difference(K, expected, X):
    """max |K - K'|_ij / (|x_i| |x_j|): a kernel's entry is a share of the neurons, times x_i . x_j."""
    norms = np.linalg.norm(X, axis=1)
    apart = np.abs(np.asarray(K, np.float64) - expected) / np.outer(norms, norms)
    return float(apart.max()) if np.isfinite(apart).all() else np.inf


def tolerance(problem, quantity):
    """What rounding in float32 may make of that difference.

    For the kernel: float32 gets the sign of w.x wrong where |w.x| is below its rounding error, at most
    d u |w| |x|, which for a normal w has a probability of no more than p = d^1.5 u: two rows have at
    most 4 p m + 4 such neurons among m, twice the mean and a few.  Then sums of m products of d terms: their
    errors grow as the square root of the number of terms, and eight standard deviations are allowed.
    A wrong factor or a wrong mean is far outside.

    For the limit: an arc cosine near 1 loses half of the digits, and float32 has 24 bits.
    """
    if quantity == "limit":
        return 4 * UNIT**0.5
    flips = 4 * problem.d**1.5 * UNIT + 4 / problem.width
    return flips + 8 * UNIT * (problem.width * problem.d) ** 0.5 + 8 * UNIT
