"""The exact step identity, as an audit of a training step.

For any step of masked gradient descent, with no assumption, r_{t+1} = r_t - eta Keff (f~ - y),
Keff_ij = (x_i . x~_j) (1/m) sum_r a_r^2 beta_ri b~_rj, where beta_ri = (relu(h+) - relu(h)) / (h+ - h) in
[0, 1] for the clean preactivations h before and h+ after the step (docs/mathematics.md, section 7).
"""

import numpy as np

from .forward import activation_pattern
from .network import Network

NEURONS = 2048  # in a block


def step_identity_error(before, after, output_weights, X, masked, residuals, step_size, threads=None):
    """max_i |r_{t+1} - (r_t - eta Keff u)| / max_i |eta Keff u|, in float64 from the weights alone.

    ``before`` and ``after`` are (m, d) weights, ``output_weights(first, count)`` gives (count, q), ``masked``
    (batch, d) are the inputs of the step and ``residuals`` (batch, q) its f~ - y.  Cost O(m n (d + batch)).
    """
    X, masked = X.astype(np.float64), masked.astype(np.float32)
    products = X @ masked.T.astype(np.float64)
    width = len(before)
    change = np.zeros((len(X), residuals.shape[1]))
    predicted = np.zeros_like(change)
    for first in range(0, width, NEURONS):
        here = slice(first, min(first + NEURONS, width))
        a = output_weights(first, here.stop - first)
        old, new = (X @ weights[here].T.astype(np.float64) for weights in (before, after))
        rectified = np.maximum(new, 0) - np.maximum(old, 0)
        moved = new - old
        slope = np.where(moved != 0, rectified / np.where(moved != 0, moved, 1), old > 0)
        block = Network.from_arrays(before[here], np.ones(len(a)))  # whose output weights do not matter
        bits = activation_pattern(masked, network=block, threads=threads).to_bool()
        change += rectified @ a
        predicted += (slope * (products @ (bits * (residuals @ a.T)))) @ a
    change /= np.sqrt(width)
    predicted *= -step_size / width
    largest = np.abs(predicted).max()
    return float(np.abs(change - predicted).max() / largest) if largest else float(np.abs(change).max())


def nbytes_audit(n, batch):
    """Bytes that an audit takes."""
    return 8 * (n * batch + NEURONS * (7 * n + 3 * batch))
