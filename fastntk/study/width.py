"""How the masked tangent kernel of a finite network approaches that of the infinite one."""

import time
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from .. import validation as check
from ..engine.plan import available_memory, describe_bytes
from ..explained import MEMORY
from ..gram import ntk
from ..limit import ntk_limit, width_error
from ..masks import GaussianMask
from ..network import Network
from ..spectrum import extreme_eigenvalues
from .scatter import distance_range

# Seconds on two cores with AVX-512.  They set the shares of the progress bar: only their ratios matter.
SECONDS_PER_WEIGHT_AND_ROW = 6e-12
SECONDS_PER_PAIR = 1.2e-13  # of rows, and neuron: coactivation
SECONDS_PER_EIGENVALUE_STEP = 9e-11  # rows^3 of them
SECONDS_PER_LIMIT_ENTRY = 3e-7  # limit, expected distance and its range


@dataclass(frozen=True)
class WidthStudy:
    """The numbers of :func:`width_study`; K mask strengths, W widths, n rows.

    Attributes
    ----------
    rows, features, seed : int
    kappas : (K,) float64, widths : (W,) int64
        Both ascending.
    distance : (K, W) float64
        |K(width) - K(infinity)|_F at the same masked inputs.
    predicted : (K, W) float64
        The square root of the exact expectation of its square over random weights.
    typical : (K, 2) float64
        About 95 of 100 networks have distance / predicted in this range, at every width.
    limit_norm : (K,) float64
        |K(infinity)|_F.
    smallest, largest : (K, W) float64
        Extreme eigenvalues of K(width).
    limit_smallest, limit_largest : (K,) float64
        Those of K(infinity).
    spectrum : (K, n) float64
        All eigenvalues at the largest width, ascending.
    diagonal, off_diagonal : (K, W) float64
        Mean entry on and off the diagonal of K(width).
    squared_norm : float
        Mean of |x|^2 over the rows, before the masks.
    seconds : (K, W) float64
        Wall time of each kernel.
    """

    rows: int
    features: int
    seed: int
    kappas: np.ndarray
    widths: np.ndarray
    distance: np.ndarray
    predicted: np.ndarray
    typical: np.ndarray
    limit_norm: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    limit_smallest: np.ndarray
    limit_largest: np.ndarray
    spectrum: np.ndarray
    diagonal: np.ndarray
    off_diagonal: np.ndarray
    squared_norm: float
    seconds: np.ndarray

    @property
    def relative_distance(self):
        """distance / |K(infinity)|_F, (K, W)."""
        return self.distance / self.limit_norm[:, None]

    @property
    def ratio(self):
        """distance / predicted, (K, W)."""
        return self.distance / self.predicted

    @property
    def slope(self):
        """Slope of log distance against log width, least squares, (K,); NaN with a single width."""
        if len(self.widths) < 2:
            return np.full(len(self.kappas), np.nan)
        log_width = np.log(self.widths) - np.log(self.widths).mean()
        return np.log(self.distance) @ log_width / (log_width @ log_width)


def width_study(
    X,
    *,
    widths,
    kappas,
    seed=0,
    threads=None,
    memory_limit=None,
    progress=None,
    each_kernel=None,
):
    """Measure kernels of growing width against their infinite-width limit, for several mask strengths.

    For every mask strength one draw of the masks is taken.  At these masked inputs, the hidden-layer
    kernel of a random network of every width is compared with the limit, entry by entry, and so are
    their extreme eigenvalues.  Wider networks contain the narrower ones (neuron r is the same in all).

    Parameters
    ----------
    X : (n, d) real array
        At least two rows, not all zero.  Rounded to float32.
    widths : sequence of int
    kappas : sequence of float
        Strengths of the Gaussian mask, from 0.
    seed : int
        Of the network and of the masks, which use different random streams.
    threads, memory_limit
        As for ``ntk``.
    progress : callable, optional
        ``progress(fraction, stage)``: the share of the work that is done, and what comes now.
    each_kernel : callable, optional
        ``each_kernel(kappa, width, kernel, limit)`` sees each pair of (n, n) matrices once and must
        not keep or change them: only one pair is in memory at a time.

    Returns
    -------
    WidthStudy

    Raises
    ------
    TypeError, ValueError, MemoryError
        An argument is not what it must be (checked before anything is computed), a masked value does
        not fit float32, or the memory limit is too low.

    Notes
    -----
    Cost: the kernels, plus an O(n^3) eigenvalue solve for each.  Memory: five n x n float64 matrices, or one
    and what ``ntk`` takes.
    Kernels and distances are the same in every run up to the last bits; timings are not.

    E |K(m) - K|_F^2 = (1/m) sum_ij (x_i.x_j)^2 p_ij (1 - p_ij) with p = (pi - angle) / 2 pi, exact for
    output weights +1 and -1 at given inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.study import width_study
    >>> X = np.random.default_rng(0).standard_normal((20, 5))
    >>> study = width_study(X, widths=[100, 10000], kappas=[0.0, 0.3])
    >>> study.distance.shape
    (2, 2)
    """
    X = check.as_matrix(X, "X")
    if len(X) < 2 or not X.any():
        raise ValueError(
            f"X has {len(X)} rows, {np.count_nonzero(X)} of its values are not zero; "
            "a study needs at least two rows and a non-zero value."
        )
    networks = [Network(width, X.shape[1], seed=seed) for width in check.as_ascending(widths, "widths")]
    masks = [GaussianMask(float(kappa)) for kappa in check.as_ascending(kappas, "kappas")]
    matrix_bytes = 8 * len(X) ** 2
    _require_memory(5 * matrix_bytes, memory_limit, len(X))  # limit, kernel, difference, solver
    settings = {"threads": threads}
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit - matrix_bytes  # the limit stands by
    work = _Work(X.shape, [network.width for network in networks], len(masks), progress)

    measured = [_measure(X, mask, networks, seed, settings, work, each_kernel) for mask in masks]
    return WidthStudy(
        rows=X.shape[0],
        features=X.shape[1],
        seed=check.as_seed(seed),
        kappas=np.array([mask.kappa for mask in masks]),
        widths=np.array([network.width for network in networks]),
        squared_norm=float(np.square(X, dtype=float).sum(axis=1).mean()),
        **{name: np.array([numbers[name] for numbers in measured]) for name in measured[0]},
    )


def _require_memory(needed, memory_limit, rows):
    """Raise before anything is computed; the kernels' own needs are checked by ``ntk``."""
    limit = available_memory() if memory_limit is None else memory_limit
    if needed > limit:
        source = "memory_limit" if memory_limit is not None else "available memory"
        raise MemoryError(
            f"A study of {rows:,} rows needs about {describe_bytes(needed)}, but {source} is "
            f"{describe_bytes(limit)}. Use fewer rows, or a larger memory_limit. {MEMORY}"
        )


def _measure(X, mask, networks, seed, settings, work, each_kernel):
    """The fields of WidthStudy that belong to one mask strength."""
    work.begins(f"kappa {mask.kappa:g}, infinite width")
    masked = mask.sample(X, seed=seed)
    limit = ntk_limit(X, mask=mask, draws=1, seed=seed)
    expected = width_error(X, width=1, mask=mask, seed=seed)
    typical = distance_range(masked, limit, seed=seed)
    work.did(work.limit)
    limit_smallest, limit_largest = extreme_eigenvalues(limit)
    work.did(work.eigenvalues)
    columns = []
    for network in networks:
        work.begins(f"kappa {mask.kappa:g}, width {network.width:,}")
        cost = work.kernel(network.width)
        started = time.perf_counter()
        kernel = ntk(X, network=network, mask=mask, seed=seed, progress=work.share_of(cost), **settings)
        seconds = time.perf_counter() - started
        work.did(cost)
        if network is networks[-1]:
            spectrum = scipy.linalg.eigvalsh(kernel, check_finite=False)
            smallest, largest = spectrum[0], spectrum[-1]
        else:
            smallest, largest = extreme_eigenvalues(kernel)
        work.did(work.eigenvalues)
        diagonal = np.trace(kernel) / len(X)
        columns.append(
            {
                "distance": np.linalg.norm(kernel - limit),
                "predicted": expected / np.sqrt(network.width),
                "smallest": smallest,
                "largest": largest,
                "diagonal": diagonal,
                "off_diagonal": (kernel.mean() * len(X) - diagonal) / (len(X) - 1),
                "seconds": seconds,
            }
        )
        if each_kernel is not None:
            each_kernel(mask.kappa, network.width, kernel, limit)
    return {
        "typical": typical,
        "limit_norm": np.linalg.norm(limit),
        "limit_smallest": limit_smallest,
        "limit_largest": limit_largest,
        "spectrum": spectrum,
        **{name: np.array([column[name] for column in columns]) for name in columns[0]},
    }


class _Work:
    """What a study costs, in estimated seconds, and how much of it is done."""

    def __init__(self, shape, widths, strengths, progress):
        rows, features = shape
        self._per_neuron = SECONDS_PER_WEIGHT_AND_ROW * rows * features + SECONDS_PER_PAIR * rows**2
        self.limit = SECONDS_PER_LIMIT_ENTRY * rows**2
        self.eigenvalues = SECONDS_PER_EIGENVALUE_STEP * rows**3
        each = self.limit + self.eigenvalues + sum(self.kernel(m) + self.eigenvalues for m in widths)
        self._total = strengths * each
        self._done = 0.0
        self._stage = ""
        self._progress = progress

    def kernel(self, width):
        return self._per_neuron * width

    def begins(self, stage):
        self._stage = stage
        self._report(self._done)

    def did(self, seconds):
        self._done += seconds
        self._report(self._done)

    def share_of(self, seconds):
        """A progress callback for a part of the work that takes so long."""
        return lambda done, total: self._report(self._done + seconds * done / total)

    def _report(self, done):
        if self._progress is not None:
            self._progress(min(done / self._total, 1.0), self._stage)
