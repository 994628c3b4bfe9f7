"""Eigenvalues of the digits' kernel under masks: of one draw of the masks, and of the mean gradients.

    python examples/gallery/digits_spectrum.py [picture.png] [width]

Where rows and columns share their masks, the variance of the gradients stands on the diagonal and lifts every
small eigenvalue.  It is no contraction: the kernel of the mean gradients, which moves the mean residuals in
training, loses its small eigenvalues as the mask grows.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastntk as fn

KAPPAS = (0.0, 0.2, 0.5, 1.0)


def main(picture="digits_spectrum.png", width=10_000):
    X = load_digits().data[:300]
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    net = fn.Network(width, dim=64, seed=0)

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    colours = plt.colormaps["plasma"](np.linspace(0, 0.85, len(KAPPAS)))
    print("kappa  smallest eigenvalue, shared  of the mean gradients")
    for kappa, colour in zip(KAPPAS, colours, strict=True):
        mask = fn.GaussianMask(kappa)
        kernels = (
            fn.ntk(X, network=net, mask=mask, seed=1),
            fn.expected_ntk(X, X, network=net, mask=mask),
        )
        eigenvalues = [np.linalg.eigvalsh(K)[::-1] for K in kernels]
        for axes, values in zip(panels, eigenvalues, strict=True):
            axes.loglog(np.arange(1, len(X) + 1), values, color=colour, label=rf"$\kappa = {kappa:g}$")
        print(f"{kappa:5.1f}  {eigenvalues[0][-1]:27.2e}  {eigenvalues[1][-1]:21.2e}")
    panels[0].set(title="rows and columns share the masks", xlabel="rank", ylabel="eigenvalue")
    panels[1].set(title="mean gradients", xlabel="rank")
    for axes in panels:
        axes.grid(color="#e3e6ea")
    panels[0].legend(frameon=False)
    figure.savefig(picture, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
