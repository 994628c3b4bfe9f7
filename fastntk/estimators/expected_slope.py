"""The expected kernel at finite width: its diagonal, and how it changes with the strength of the mask.

For neuron r and row i, z = w_r . x_i, s^2 = sum_k v_ik w_rk^2, t = z / s, P = Phi(t), g = phi(t) / s.  The
expected kernel (``fastntk.expected_ntk``) is made of

    M = x P + v * w g,          H = z P + s^2 g                                        between rows
    S P + 2 g A - z g B,        (z^2 + s^2) P + z s^2 g                                on the diagonal

with S = sum_k (x_k^2 + v_k), A = sum_k x_k v_k w_k, B = sum_k v_k^2 w_k^2 / s^2.  Let the variances change by
dv, and q = sum_k dv_k w_k^2 / (2 s^2), the change of log s.  Then D P = - z g q, D g = q (t^2 - 1) g, and

    D M = - x z g q + w g (dv + v q (t^2 - 1)),         D H = s^2 g q,
    D   = P sum_k dv_k - S z g q + D g (2 A - z B) + g (2 DA - z DB),      2 s^2 q P on the diagonal.

Weights are those of a virtual network of scale 1, so a_r^2 = 1.  Sums are products of BLAS over blocks of
neurons: the last bits depend on the machine.
"""

import numpy as np

from .. import gaussian
from ..engine.environment import in_ieee_arithmetic

VALUES_PER_BLOCK = 1 << 20  # numbers of (rows, neurons, features) held at a time, in some arrays


@in_ieee_arithmetic
def expected_diagonal(X, V, network, layers):
    """The diagonal of ``expected_ntk(X, ...)`` for rows X with variances V of their entries: (n,) float64.

    Cost O(m n d).
    """
    total = np.zeros(len(X))
    for W in _blocks(network, X.size // X.shape[1]):
        f = _Features(X, V, W)
        if layers != "output":
            A, B = f.moments()
            total += (f.S * f.P + f.g * (2 * A - f.z * B)).sum(axis=1)
        if layers != "hidden":
            total += gaussian.second_moment(f.z, np.sqrt(f.s_square)).sum(axis=1)
    return total / network.width


@in_ieee_arithmetic
def expected_slopes(X, V, changes, network, layers):
    """The derivatives of ``expected_ntk(X, ...)`` as the variances V of entries change.

    Parameters
    ----------
    X, V : (n, d) float64
    changes : list of (columns, dV)
        The features that change, as a slice, and by how much, (n, their number) float64.
    network : Network
        Virtual, of scale 1.
    layers : {"hidden", "output", "both"}

    Returns
    -------
    (n, n, len(changes)) float64, symmetric

    Notes
    -----
    Cost O(m n^2 d) multiply-adds for each change in the hidden layer, O(m n^2) in the output layer.
    """
    n = len(X)
    slopes = np.zeros((n, n, len(changes)))
    diagonals = np.zeros((n, len(changes)))
    for W in _blocks(network, X.size):
        f = _Features(X, V, W)
        A, B = f.moments()
        # M, and what q multiplies in D M
        M = X[:, None] * f.P[:, :, None] + V[:, None] * W * f.g[:, :, None]
        by_q = V[:, None] * W * (f.g * (f.t_square - 1))[:, :, None] - X[:, None] * (f.z * f.g)[:, :, None]
        H = f.z * f.P + f.s_square * f.g
        for k, (columns, dV) in enumerate(changes):
            w = W[:, columns]
            q = f.over_s_square(dV @ np.square(w).T) / 2
            if layers != "output":
                dM = by_q * q[:, :, None]
                dM[:, :, columns] += w * dV[:, None] * f.g[:, :, None]
                half = dM.reshape(n, -1) @ M.reshape(n, -1).T
                slopes[:, :, k] += half + half.T
                dA = (X[:, columns] * dV) @ w.T
                dB = f.over_s_square(2 * (V[:, columns] * dV) @ np.square(w).T) - 2 * q * B
                change = f.P * dV.sum(axis=1)[:, None] - f.S * f.z * f.g * q
                change += f.g * (q * (f.t_square - 1) * (2 * A - f.z * B) + 2 * dA - f.z * dB)
                diagonals[:, k] += change.sum(axis=1)
            if layers != "hidden":
                half = (f.s_square * f.g * q) @ H.T
                slopes[:, :, k] += half + half.T
                diagonals[:, k] += (2 * f.s_square * q * f.P).sum(axis=1)
    slopes[np.arange(n), np.arange(n)] = diagonals
    return slopes / network.width


class _Features:
    """What the formulas need of a block of neurons on all rows, (n, neurons) each."""

    def __init__(self, X, V, W):
        self.X, self.V, self.W = X, V, W
        self.z = X @ W.T
        self.s_square = V @ np.square(W).T
        s = np.sqrt(self.s_square)
        self.P = gaussian.probability(self.z, s)
        self.g = gaussian.density(self.z, s)
        self.t_square = self.over_s_square(np.square(self.z))
        self.S = (np.square(X) + V).sum(axis=1)[:, None]

    def over_s_square(self, values):
        """values / s^2, and 0 where s = 0: there is no noise then, and nothing that changes with it."""
        return np.divide(values, self.s_square, out=np.zeros_like(values), where=self.s_square > 0)

    def moments(self):
        """A and B."""
        return (self.X * self.V) @ self.W.T, self.over_s_square(np.square(self.V) @ np.square(self.W).T)


def _blocks(network, values_of_a_neuron):
    """The weights of the network, (neurons, d) float64, in blocks."""
    size = max(1, VALUES_PER_BLOCK // values_of_a_neuron)
    for start in range(0, network.width, size):
        yield network.weights(start, min(start + size, network.width))
