"""Predicted from the initial network, then measured: the loss after 200 steps under growing masks.

    python examples/theory_and_measurement.py [width]

The linear theory counts the noise of the masks and what they shift; the kernel regime also that they
penalise the slope of the outputs, which is what matters under strong masks.
"""

import sys

import numpy as np

import fastntk as fn

STEPS = 200


def main(width=20_000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 20))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = rng.choice([-1.0, 1.0], len(X))
    net = fn.Network(width, dim=20, seed=0)
    print("kappa   linear theory   kernel regime   measured, four runs")
    for kappa in (0.0, 0.1, 0.2, 0.4, 0.8):
        setting = {"network": net, "mask": fn.GaussianMask(kappa), "step_size": 0.5}
        linear = fn.predict_loss(X, y, **setting, plateau=False).loss(STEPS)
        regime = fn.kernel_regime(X, y, **setting, draws=40).loss(STEPS)
        runs = [fn.train(X, y, **setting, steps=STEPS, record_every=STEPS, seed=s) for s in range(4)]
        losses = [run.clean_loss[-1] for run in runs]
        error = np.std(losses, ddof=1) / 2
        print(f"{kappa:5.2f} {linear:15.4f} {regime:15.4f} {np.mean(losses):10.4f} +- {error:.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
