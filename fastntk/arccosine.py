"""Arc-cosine kernels in float64, at given inputs and in the mean over independent masks.

For a pair of rows with cosine c, sine s and angle theta, and phi = pi - theta, the kernel of unit rows is

    hidden c phi / 2 pi + output (s + phi c) / 2 pi.

``hidden`` and ``output`` are the weights of the two layers.  All work is done in square tiles, so that
temporaries stay in cache and nothing but the result is of size n p.
"""

from typing import NamedTuple

import numpy as np

TILE = 512  # rows and columns of a tile
NEAR = 1e-5  # pairs with 1 - |c| below this get c and s from the difference of the unit rows
GATHERED_VALUES = 1 << 18  # values of such differences held at a time
SMALLEST_SIZE = 1e-60  # rows below it (fp32 rows are not) stay as they are: their fourth powers underflow
# The second-order term of the mask mean is left out for pairs outside these two.
SMALLEST_SINE_SQUARE = 1e-12  # rounding, eps / sine, would drown it
LARGEST_RELATIVE_VARIANCE = 2.1  # of |x~|^2: no Gaussian mask goes beyond 2, heavy tails make nonsense of it


def kernel(X, Y, hidden, output):
    """The kernel of the rows of X (n, d) and Y (p, d), or of X with itself where Y is None: (n, p).

    The absolute error is below 1e-12 |x| |x'|; zero rows give 0.
    """
    rows = unit_rows(X)
    columns = rows if Y is None else unit_rows(Y)

    def tile(r, c):
        cosine, sine = cosine_sine(rows[0][r], columns[0][c])
        return arc_cosine(cosine, sine, hidden, output) * (rows[1][r, None] * columns[1][c])

    return _assemble(len(X), None if Y is None else len(Y), tile)


def mean_kernel(X, spread, Y, other_spread, hidden, output, *, order=2):
    """The mean of the kernel over independent masks of the rows of X and of Y (None: X itself).

    ``spread`` and ``other_spread`` are the ``masks.Spread`` of the two sides; the mean of x~ is x.

    The kernel is a function of A = |x~|^2, B = |x~'|^2 and D = x~.x~'.  Order 0 puts in their means;
    order 2 adds half the second derivatives times the variances and covariances (A and B are
    independent).  With N^2 = E A E B, rho = E D / N, and the relative variances v_D = Var D / N^2,
    v = Var A / (E A)^2 + Var B / (E B)^2, w = Cov(A, D) / (E A N) + Cov(B, D) / (E B N), the sums
    collect into

        l = v_D + rho^2 v / 4 - rho w          (the variance of rho~ to first order)
        hidden  N / (2 pi s) (l + rho^2 v / 8 + rho^2 l / (2 s^2)),   output  N / 2 pi (l / (2 s) - s v / 8)

    with s^2 = 1 - rho^2 computed as a sum of positive terms, which keeps the term good for equal rows
    under weak masks too.  Where s^2 is below 1e-12, or a row has Var A above 2.1 (E A)^2, order 0 is all.
    Where Y is None a row and itself have the same mask, and the diagonal is exact.
    """
    rows = moment_rows(X, spread)
    columns = rows if Y is None else moment_rows(Y, other_spread)

    def tile(r, c):
        a, b = take_rows(rows, r), take_rows(columns, c)
        cosine, sine = cosine_sine(a.unit, b.unit)
        rho, sine_square = mean_angle(a, b, cosine, sine)
        block = arc_cosine(rho, np.sqrt(sine_square), hidden, output)
        if order == 2:
            block += _second_order(a, b, rho, sine_square, hidden, output)
        return block * (a.size[:, None] * b.size)

    out = _assemble(len(X), None if Y is None else len(Y), tile)
    if Y is None:
        np.fill_diagonal(out, (hidden + output) / 2 * np.square(rows.size))
    return out


def arc_cosine(cosine, sine, hidden, output):
    """The kernel of unit rows with these cosines and sines."""
    phi = np.arctan2(sine, -cosine)
    out = hidden * cosine * phi
    if output:
        out += output * (sine + phi * cosine)
    return out / (2 * np.pi)


def unit_rows(X):
    """(rows scaled to norm 1, zero rows left alone; norms), in float64."""
    X = np.asarray(X, np.float64)
    norm = np.sqrt(np.square(X).sum(axis=1))
    return X / np.where(norm > 0, norm, 1.0)[:, None], norm


def cosine_sine(U, V):
    """Cosines and sines of the angles between unit rows, (n, p) each; zero rows have cosine 0.

    The cosine is good to rounding, a few 1e-16, and so is the sine sqrt(1 - c^2), except where |c| is
    near 1.  For those pairs e = |u - sign(c) v| is computed from the difference itself, and then
    |c| = 1 - e^2 / 2, s = e sqrt(1 - e^2 / 4).  The angle is within 1e-12 everywhere, within about
    1e-15 next to 0 and pi, and equal or opposite rows have sine 0.
    """
    cosine = np.clip(U @ V.T, -1.0, 1.0)
    sine = np.sqrt((1 - cosine) * (1 + cosine))
    near_rows, near_columns = np.nonzero(np.abs(cosine) > 1 - NEAR)
    step = max(1, GATHERED_VALUES // U.shape[1])
    for start in range(0, len(near_rows), step):
        i, j = near_rows[start : start + step], near_columns[start : start + step]
        sign = np.sign(cosine[i, j])
        difference = U[i] - sign[:, None] * V[j]
        e_square = np.einsum("ik,ik->i", difference, difference)
        cosine[i, j] = sign * (1 - e_square / 2)
        sine[i, j] = np.sqrt(e_square * (1 - e_square / 4))
    return cosine, sine


def tiles(n, p=None):
    """Slices (rows, columns) that cover n x p, or the lower triangle of n x n where p is None."""
    for start in range(0, n, TILE):
        for other in range(0, start + 1 if p is None else p, TILE):
            yield slice(start, min(start + TILE, n)), slice(other, min(other + TILE, p or n))


# ------------------------------------------------------------------------------------ pieces
class MomentRows(NamedTuple):
    """What the mask mean needs of one side; the per-feature moments are those of x~ / size."""

    unit: np.ndarray  # (n, d) x / |x|
    size: np.ndarray  # (n,) sqrt(E |x~|^2)
    mean_part: np.ndarray  # (n,) |x|^2 / size^2
    noise_part: np.ndarray  # (n,) 1 - mean_part, summed from the variances
    variance_of_norm: np.ndarray  # (n,) Var |x~|^2 / size^4
    mean: np.ndarray  # (n, d)
    mean_square: np.ndarray  # (n, d) mean^2
    variance: np.ndarray  # (n, d)
    second: np.ndarray  # (n, d) mean^2 + variance
    with_square: np.ndarray  # (n, d) Cov(x~, x~^2)


def moment_rows(X, spread):
    unit, norm = unit_rows(X)
    noise = spread.variance.sum(axis=1)
    size = np.sqrt(np.square(norm) + noise)
    inverse = (1 / np.where(size > SMALLEST_SIZE, size, 1.0))[:, None]
    mean, variance = X * inverse, spread.variance * inverse**2
    return MomentRows(
        unit=unit,
        size=size,
        mean_part=np.square(norm * inverse[:, 0]),
        noise_part=noise * inverse[:, 0] ** 2,
        variance_of_norm=(spread.variance_of_square * inverse**4).sum(axis=1),
        mean=mean,
        mean_square=np.square(mean),
        variance=variance,
        second=np.square(mean) + variance,
        with_square=spread.covariance_with_square * inverse**3,
    )


def take_rows(side, rows):
    return MomentRows(*(array[rows] for array in side))


def mean_angle(a, b, cosine, sine):
    """rho and s^2 of ``mean_kernel`` from the angles between the rows themselves."""
    mean_part = a.mean_part[:, None] * b.mean_part
    noise_part = a.noise_part[:, None] + b.noise_part - a.noise_part[:, None] * b.noise_part
    return np.sqrt(mean_part) * cosine, mean_part * np.square(sine) + noise_part


def second_moments(a, b):
    """v_D, v and the two terms of w of ``mean_kernel``."""
    v_dot = a.variance @ b.second.T + a.mean_square @ b.variance.T
    v = a.variance_of_norm[:, None] + b.variance_of_norm
    return v_dot, v, a.with_square @ b.mean.T, a.mean @ b.with_square.T


def has_second_order(a, b, sine_square):
    """For which pairs ``mean_kernel`` goes beyond order 0."""
    steady = a.variance_of_norm[:, None] <= LARGEST_RELATIVE_VARIANCE
    steady = steady & (b.variance_of_norm <= LARGEST_RELATIVE_VARIANCE)
    return steady & (sine_square >= SMALLEST_SINE_SQUARE)


def _second_order(a, b, rho, sine_square, hidden, output):
    """The second-order term of ``mean_kernel`` divided by N."""
    v_dot, v, w_a, w_b = second_moments(a, b)
    w = w_a + w_b
    usable = has_second_order(a, b, sine_square)
    s_square = np.where(usable, sine_square, 1.0)
    s = np.sqrt(s_square)
    rho_square = np.square(rho)
    variance = v_dot + rho_square * v / 4 - rho * w
    term = hidden / s * (variance + rho_square * v / 8 + rho_square * variance / (2 * s_square))
    term += output * (variance / (2 * s) - s * v / 8)
    return np.where(usable, term / (2 * np.pi), 0.0)


def _assemble(n, p, tile):
    """The (n, p) matrix of the tiles; p None: symmetric, from the tiles of the lower triangle."""
    out = np.empty((n, n if p is None else p))
    for rows, columns in tiles(n, p):
        block = tile(rows, columns)
        out[rows, columns] = block
        if p is None:
            if rows == columns:
                block = np.tril(block) + np.tril(block, -1).T
                out[rows, columns] = block
            else:
                out[columns, rows] = block.T
    return out
