"""The kernel of the handwritten digits, sorted by digit, clean and under masks of growing strength.

    python examples/gallery/digits_kernel.py [picture.png] [width]

A mask weakens what two rows have in common, also within a digit, and strengthens the diagonal, by the mask's
variance.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastntk as fn

KAPPAS = (0.0, 0.3, 0.6, 1.0)


def main(picture="digits_kernel.png", width=100_000):
    X, digits = load_digits(return_X_y=True)
    order = np.argsort(digits, kind="stable")
    X = X[order] / np.linalg.norm(X[order], axis=1, keepdims=True)
    edges = np.flatnonzero(np.diff(digits[order])) + 0.5
    net = fn.Network(width, dim=64, seed=0)

    figure, panels = plt.subplots(1, len(KAPPAS), figsize=(12, 3.4), layout="constrained")
    print("kappa  diagonal  within a digit  between digits")
    same = np.equal.outer(digits[order], digits[order])
    for axes, kappa in zip(panels, KAPPAS, strict=True):
        K = fn.ntk(X, network=net, mask=fn.GaussianMask(kappa), seed=1)
        image = axes.imshow(K, vmin=0, vmax=0.5, cmap="magma")
        axes.set(title=rf"$\kappa = {kappa:g}$", xticks=[], yticks=[])
        axes.hlines(edges, 0, len(X), color="white", lw=0.3)
        axes.vlines(edges, 0, len(X), color="white", lw=0.3)
        diagonal = np.eye(len(X), dtype=bool)
        means = np.mean(K[diagonal]), np.mean(K[same & ~diagonal]), np.mean(K[~same])
        print("{:5.1f}  {:8.3f}  {:14.3f}  {:14.3f}".format(kappa, *means))
    panels[0].set_ylabel("rows, sorted by digit")
    figure.colorbar(image, ax=panels, label="kernel entry", extend="max")
    figure.savefig(picture, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
