"""What every method computes: one kernel, from the same rows and the same weights."""

from dataclasses import dataclass

import numpy as np

import fastntk as fn

BLOCK = 8192  # neurons at a time where a peer works in blocks: the fastest of the powers of two


@dataclass(frozen=True)
class Problem:
    """Rows with standard normal entries and a network of virtual weights, output weights random signs.

    The kernel of the hidden layer, (x.y / m) sum_r 1[w_r.x > 0] 1[w_r.y > 0], or its limit at infinite width.
    """

    n: int
    d: int
    width: int
    threads: int
    seed: int = 0

    @property
    def X(self):
        """(n, d) float32."""
        return np.random.default_rng(self.seed).standard_normal((self.n, self.d), dtype=np.float32)

    @property
    def network(self):
        """The network, which stores nothing."""
        return fn.Network(self.width, self.d, seed=self.seed)

    def weights(self):
        """W (m, d) float32, and the signs a (m,)."""
        network, W = self.network, np.empty((self.width, self.d), np.float32)
        for start in range(0, self.width, BLOCK):
            W[start : start + BLOCK] = network.weights(start, min(start + BLOCK, self.width))
        return W, network.output_weights()
