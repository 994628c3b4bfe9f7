"""Train one network under masks of growing strength: a linear fit at first, then a floor that the mask sets.

    python examples/train_under_masks.py [width]

The masks are fresh at every step.  The clean loss falls as without masks until it is near what their noise
keeps up: small masks cost nothing, kappa = 1 a good part of the fit.
"""

import sys

import numpy as np

import fastntk as fn


def main(width=2000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 20))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.maximum(X @ rng.standard_normal(20), 0)  # what one neuron answers
    net = fn.Network(width, dim=20, seed=0)
    start = np.linalg.norm(net.weights())
    print("kappa   clean loss after 0, 100, 400 steps   weights moved   bits flipped")
    for kappa in (0.0, 0.1, 0.3, 1.0):
        mask = fn.GaussianMask(kappa)
        run = fn.train(X, y, network=net, mask=mask, step_size=0.04, steps=400, record_every=100, seed=1)
        first, early, *_, last = run.clean_loss
        moved = run.distance[-1] / start
        print(f"{kappa:5.1f}  {first:14.2f} {early:10.3f} {last:10.3f} {moved:15.2%} {run.flipped[-1]:14.2%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
