"""How input masks change the kernel of a wide network: the diagonal ridge and what is left beside it.

    python examples/mask_strength.py [width]

For shared masks the smallest eigenvalue grows with kappa, because a mask adds a positive diagonal to the
kernel.  Between independently masked rows and columns, which is what drives the mean residual in
training, there is no such ridge.
"""

import sys

import numpy as np

import fastntk as fn
from fastntk.spectrum import extreme_eigenvalues


def main(width=100_000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 20))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    net = fn.Network(width, dim=20, seed=0)
    print("kappa  lambda_min shared  lambda_max shared  mean diagonal, independent")
    for kappa in (0.0, 0.2, 0.5, 1.0):
        mask = fn.GaussianMask(kappa)
        smallest, largest = extreme_eigenvalues(fn.ntk(X, network=net, mask=mask, draws=8, seed=1))
        independent = fn.ntk(X, X, network=net, mask=mask, draws=8, seed=1)
        print(f"{kappa:5.1f}  {smallest:17.4f}  {largest:17.2f}  {np.diagonal(independent).mean():26.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
