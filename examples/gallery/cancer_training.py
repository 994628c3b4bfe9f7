"""Training on the breast cancer data under masks, and what the kernel regime says of it beforehand.

    python examples/gallery/cancer_training.py [picture.png] [width]

The dashed lines are known before the first step, from the initial network alone; the solid ones are measured.
They agree at first, and part as the weights of a finite width leave the initial kernel.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import fastntk as fn

KAPPAS = (0.0, 0.05, 0.1, 0.2)


def main(picture="cancer_training.png", width=4000, steps=300):
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = X[:100] / np.linalg.norm(X[:100], axis=1, keepdims=True)
    y = np.where(y[:100], 1.0, -1.0)
    net = fn.Network(width, dim=30, seed=0)

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    colours = plt.colormaps["plasma"](np.linspace(0, 0.85, len(KAPPAS)))
    print(f"kappa  loss after {steps} steps  predicted")
    for kappa, colour in zip(KAPPAS, colours, strict=True):
        setting = {"network": net, "mask": fn.GaussianMask(kappa), "step_size": 0.1}
        regime = fn.kernel_regime(X, y, **setting)
        run = fn.train(X, y, steps=steps, seed=1, **setting)
        predicted = regime.loss(run.recorded_steps)
        axes.semilogy(run.recorded_steps, run.clean_loss, color=colour, lw=1, label=rf"$\kappa = {kappa:g}$")
        axes.semilogy(run.recorded_steps, predicted, "--", color=colour, lw=1.4)
        print(f"{kappa:5.2f}  {run.clean_loss[-1]:21.3f}  {predicted[-1]:9.3f}")
    axes.plot([], [], "--", color="gray", label="predicted")
    axes.set(xlabel="step", ylabel="clean loss")
    axes.legend(frameon=False)
    axes.grid(color="#e3e6ea")
    figure.savefig(picture, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
