"""The variance of the outputs over Gaussian masks: exact, sampled, its first terms, and a bound."""

from typing import NamedTuple

import numpy as np

from .. import masking, validation
from ..engine.environment import in_ieee_arithmetic
from ..engine.moment_sums import MeanDirections
from ..engine.moments import MomentInputs
from ..engine.neuron_sums import NeuronSums
from ..engine.pairs import PairVariance, PoincareBound
from ..engine.plan import checked_options, require_memory
from ..forward import outputs
from ..gaussian import density
from ..kernels.reference import DRAW_LIMIT
from ..network import as_network
from .inputs import as_problem
from .outputs import expected_outputs

NEURONS = 4096  # whose outer products are added together


class SampledVariance(NamedTuple):
    """An estimate over draws of masks, and its standard error; (n,) each, (n, q) for q outputs."""

    variance: np.ndarray
    standard_error: np.ndarray


class VarianceTerms(NamedTuple):
    """Terms and bounds of the variance V of the outputs; (n,) each, (n, q) for q outputs.

    first <= first + second <= V <= upper, up to rounding.  ``hard`` is ``first`` with the bits of the clean
    inputs in place of probabilities, kappa^2 |x * grad_x f|^2 for a GaussianMask.  ``upper`` is good to 1e-8
    of itself where neurons are nearly parallel.
    """

    first: np.ndarray
    second: np.ndarray
    upper: np.ndarray
    hard: np.ndarray


@in_ieee_arithmetic
def output_variance(X, *, network, mask, threads=None, memory_limit=None, progress=None):
    """Var f_c(x~_i) = (1/m) sum_qr a_qc a_rc Cov(relu(h_qi), relu(h_ri)), exact.

    Half its sum over rows and outputs is the regulariser that a mask adds to the expected loss.

    Parameters
    ----------
    X : (n, d) real array
    network : Network, or a pair (W, a) of float64 arrays
    mask : GaussianMask, AdditiveMask or None
    threads, memory_limit : int, optional
        As for :func:`fastntk.ntk`.
    progress : callable, optional
        progress(done, total), in rows.

    Returns
    -------
    (n,) float64, (n, q) for a network of q outputs

    Raises
    ------
    MemoryError
        Before anything is allocated, with the estimate.

    Notes
    -----
    Cost O(n m^2 (d + K)), with K the terms of a series in the correlation of two neurons, 50 to 150 where
    there are many features; up to some m = 10^4.  Pairs of correlation above 0.9 use closed forms, a hundred
    times slower: with fewer than five features most of the time goes there.  Memory O(threads m (K + d)).
    Good to rounding of (1/m) sum_qr |a_q a_r s_q s_r|; the same bits for any number of threads.

    For wider networks: :func:`sampled_variance`.  Source: docs/mathematics.md, section 9.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import output_variance
    >>> net = fn.Network.from_arrays([[1.0], [-1.0]], [1.0, -1.0])       # f(x) = x / sqrt(2)
    >>> output_variance([[1.0], [3.0]], network=net, mask=fn.AdditiveMask(0.2)).round(6)
    array([0.02, 0.02])
    """
    X, V, neurons = as_problem(X, network, mask)
    return _by_pairs(PairVariance, X, V, neurons, checked_options(threads, memory_limit, progress))


@in_ieee_arithmetic
def sampled_variance(
    X, *, network, mask, draws=32, seed=0, row_ids=None, threads=None, memory_limit=None, progress=None
):
    """The variance of the outputs from some draws of the masks, at any width.

    The linear part of f as a function of the masks has a variance in closed form, ``VarianceTerms.first``;
    only the rest is averaged over draws.  It is uncorrelated with the linear part, so the estimate is
    unbiased and never negative; its variance is some 10 to 40 (kappa = 2) to 10^3 or 10^4 times (0.05) below
    that of plain sampling.

    Parameters
    ----------
    X : (n, d) real array
        Rounded to float32.
    network : Network
    mask : GaussianMask, AdditiveMask or None
    draws : int
        At least 2.
    seed, row_ids
        Which masks, as for :func:`fastntk.ntk`.
    threads, memory_limit, progress
        As for :func:`fastntk.ntk`.

    Returns
    -------
    SampledVariance
        variance and standard_error.

    Notes
    -----
    Cost O(m n (d + q)) a draw, in float64; memory independent of the width.  Where few masks make most of the
    rest (strong masks, narrow networks), few draws underestimate both numbers.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import output_variance, sampled_variance
    >>> net, mask = fn.Network(width=500, dim=2), fn.GaussianMask(0.3)
    >>> sampled = sampled_variance([[1.0, 0.5]], network=net, mask=mask, draws=100)
    >>> error = sampled.variance - output_variance([[1.0, 0.5]], network=net, mask=mask)
    >>> bool(abs(error[0]) < 4 * sampled.standard_error[0])
    True
    """
    X = validation.as_matrix(X, "X")
    network = as_network(network, X)
    means, V, neurons = as_problem(X, network, mask)
    draws = validation.as_count(draws, "draws", low=2, high=DRAW_LIMIT)
    options = checked_options(threads, memory_limit, None)
    given = {"network": network, "threads": threads, "memory_limit": memory_limit}
    if progress is not None:
        checked_options(None, None, progress)

    slopes = _slopes(means, V, neurons, options)
    first = _first(V, slopes)
    centre = expected_outputs(X, mask=mask, **given).reshape(first.shape)
    total, squares = np.zeros_like(first), np.zeros_like(first)
    for draw in range(draws):
        masked = masking.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids)
        f = outputs(masked, **given).reshape(first.shape)
        linear = np.einsum("ik,ick->ic", masked - means, slopes)
        rest = np.square(f - centre - linear)
        total += rest
        squares += np.square(rest)
        if progress is not None:
            progress(draw + 1, draws)
    mean = total / draws
    error = np.sqrt(np.maximum(squares / draws - np.square(mean), 0.0) / (draws - 1))
    return SampledVariance(*(_by_output(part, neurons) for part in (first + mean, error)))


@in_ieee_arithmetic
def variance_terms(X, *, network, mask, threads=None, memory_limit=None):
    """The first two terms of the variance of the outputs, and an upper bound.

    Each order of the expansion in Hermite polynomials of the mask adds a part that is not negative:

        first    (1/m) sum_k v_k u_k^2,                           u = sum_r a_r Phi(t_r) w_r
        second   (1/2m) sum_kl v_k v_l M_kl^2,                    M = sum_r a_r phi(t_r) / s_r w_r w_r^T
        upper    (1/m) sum_qr a_q a_r Cov(h_q, h_r) E(1_q 1_r)    (Poincare)

    Parameters, errors and reproducibility as for :func:`output_variance`.

    Returns
    -------
    VarianceTerms

    Notes
    -----
    Cost: first O(n m d), second O(n m d^2) on BLAS, upper as :func:`output_variance`.  Memory also
    8 n q d^2 bytes.

    Examples
    --------
    >>> import fastntk as fn
    >>> from fastntk.smoothing import output_variance, variance_terms
    >>> problem = {"network": fn.Network(width=100, dim=3), "mask": fn.GaussianMask(0.5)}
    >>> V, terms = output_variance([[1.0, 2.0, 3.0]], **problem), variance_terms([[1.0, 2.0, 3.0]], **problem)
    >>> bool((terms.first + terms.second <= V).all() and (V <= terms.upper).all())
    True
    """
    X, V, neurons = as_problem(X, network, mask)
    options = checked_options(threads, memory_limit, None)
    needed = 8 * len(X) * neurons.outputs * neurons.dim**2 + 8 * NEURONS * (3 * neurons.dim + 2 * len(X))
    require_memory(needed, memory_limit, f"outer products of {neurons.dim} features", "fewer rows")
    first = _first(V, _slopes(X, V, neurons, options))
    second = _second(X, V, neurons) * (neurons.scale**2 / neurons.width)
    upper = _by_pairs(PoincareBound, X, V, neurons, options)
    hard = hard_variance(X, network=network, mask=mask, threads=threads, memory_limit=memory_limit)
    return VarianceTerms(_by_output(first, neurons), _by_output(second, neurons), upper, hard)


@in_ieee_arithmetic
def hard_variance(X, *, network, mask, threads=None, memory_limit=None):
    """``VarianceTerms.hard`` alone."""
    X, V, neurons = as_problem(X, network, mask)
    options = checked_options(threads, memory_limit, None)
    return _by_output(_first(V, _slopes(X, np.zeros_like(V), neurons, options)), neurons)


def _by_pairs(kind, X, V, neurons, options):
    out = kind(neurons, X, V, options).run().out
    return _by_output(out * (neurons.scale**2 / neurons.width), neurons)


def _slopes(X, V, neurons, options):
    """m^{-1/2} sum_r a_rc Phi(t_ri) w_r, (n, q, d): the mean gradient of f_c by the masked input."""
    values = neurons.outputs * -(-neurons.dim // 24) * 24
    sums = NeuronSums(neurons, [MeanDirections], len(X), values=values, options=options)
    (total,) = sums.run([MomentInputs(X, V, sums.kernels).prepared()])
    return total * (neurons.scale / np.sqrt(neurons.width))


def _first(V, slopes):
    """sum_k v_ik slopes_ick^2, (n, q)."""
    return np.einsum("ik,ick->ic", V, np.square(slopes))


def _second(X, V, neurons):
    """1/2 sum_kl v_k v_l M_kl^2, (n, q), of unscaled weights."""
    n, dim = X.shape
    roots = np.sqrt(V)
    M = np.zeros((n, neurons.outputs, dim, dim))
    for start in range(0, neurons.width, NEURONS):
        count = min(NEURONS, neurons.width - start)
        W = neurons.rows(start, count).astype(np.float64)
        a = neurons.output_weights(start, count)
        D = density(X @ W.T, np.sqrt(V @ np.square(W).T))
        for i in range(n):
            scaled = roots[i] * W
            for c, column in enumerate(a.T):
                M[i, c] += (scaled * (column * D[i])[:, np.newaxis]).T @ scaled
    return np.square(M).sum(axis=(2, 3)) / 2


def _by_output(values, neurons):
    return values if neurons.outputs > 1 else values[:, 0]
