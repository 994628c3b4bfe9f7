"""Kernel regression on the digits, trained under masks and tested on clean rows that were held out.

    python examples/gallery/digits_regression.py [picture.png] [width]

Trained under one draw of the masks, and with the mean kernel over many draws.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastntk as fn

KAPPAS = (0.0, 0.2, 0.5, 1.0, 1.5)
DRAWS = (1, 8)


def main(picture="digits_regression.png", width=30_000):
    X, digits = load_digits(return_X_y=True)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    train, test = slice(0, 1000), slice(1000, None)
    targets = np.eye(10)[digits[train]]
    net = fn.Network(width, dim=64, seed=0)

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    print("kappa", *(f"{draws:>3} draws" for draws in DRAWS))
    accuracy = np.empty((len(DRAWS), len(KAPPAS)))
    for j, kappa in enumerate(KAPPAS):
        for i, draws in enumerate(DRAWS):
            mask, masks = fn.GaussianMask(kappa), {"draws": draws, "seed": 1}
            fit = fn.kernel_ridge(fn.ntk(X[train], network=net, mask=mask, **masks), targets, ridge=0.01)
            # clean test rows against the training rows under the masks that the fit saw
            K = fn.ntk(X[test], X[train], network=net, mask=(None, mask), share_masks=True, **masks)
            accuracy[i, j] = np.mean((K @ fit.coefficients).argmax(axis=1) == digits[test])
        print(f"{kappa:5.1f}", *(f"{share:9.1%}" for share in accuracy[:, j]))
    for draws, shares in zip(DRAWS, accuracy, strict=True):
        axes.plot(KAPPAS, 100 * shares, "o-", label=f"{draws} draw{'s' * (draws > 1)}")
    axes.set(xlabel=r"mask strength $\kappa$", ylabel="test rows right, %")
    axes.legend(frameon=False)
    axes.grid(color="#e3e6ea")
    figure.savefig(picture, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
