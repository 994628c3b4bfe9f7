"""How far the digits' kernel is from its infinite-width limit, against what is predicted without a network.

    python examples/gallery/digits_width.py [picture.png] [largest width]

The kernel is an average over independent neurons, so its distance falls as one over the square root of the
width; ``width_error`` knows the constant, with and without masks.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastntk as fn
from fastntk.limit import width_error


def main(picture="digits_width.png", largest=100_000):
    X = load_digits().data
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    widths = np.geomspace(100, largest, 8).astype(int)

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for kappa, colour in ((0.0, "#22262b"), (0.5, "#c2571a")):
        mask = fn.GaussianMask(kappa)
        limit = fn.ntk_limit(X, mask=mask, draws=1, seed=1)
        size = np.linalg.norm(limit)
        measured = []
        for width in widths:
            K = fn.ntk(X, network=fn.Network(int(width), dim=64, seed=0), mask=mask, seed=1)
            measured.append(np.linalg.norm(K - limit) / size)
        predicted = [width_error(X, width=int(width), mask=mask, seed=1) / size for width in widths]
        axes.loglog(widths, predicted, "--", color=colour, lw=1)
        axes.loglog(widths, measured, "o", color=colour, ms=5, label=rf"$\kappa = {kappa:g}$")
        print(f"kappa {kappa:g}: measured / predicted", np.divide(measured, predicted).round(2))
    axes.set(xlabel="width m", ylabel="relative distance from the limit")
    axes.plot([], [], "--", color="gray", lw=1, label="predicted")
    axes.legend(frameon=False)
    axes.grid(color="#e3e6ea")
    figure.savefig(picture, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
