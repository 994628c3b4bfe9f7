"""A kernel that is larger than the memory it may take, on disk, and regression with it on the digits.

    python examples/larger_than_memory.py [width] [folder]

The kernel goes to folder/K.npy tile by tile, with checkpoints: killed and started again, the script goes on
where it was.  The test rows are predicted by products that form no matrix at all.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import fastntk as fn


def main(width, folder):
    X, digits = load_digits(return_X_y=True)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    train, test = slice(0, 1400), slice(1400, None)
    net, mask = fn.Network(width, dim=64), fn.GaussianMask(0.1)

    K = fn.ntk(
        X[train],
        network=net,
        mask=mask,
        out=folder / "K.npy",
        checkpoint=folder / "checkpoint",
        memory_limit=12_000_000,
        threads=1,
    )
    print(f"{folder / 'K.npy'}: {K.shape[0]} x {K.shape[1]}, {K.nbytes / 1e6:.1f} MB within 12 MB of memory")

    fit = fn.kernel_ridge(K, np.eye(10)[digits[train]], ridge=0.01, tolerance=1e-4)
    # clean test rows against the training rows under the masks that K saw
    cross = fn.ntk_operator(
        X[test], X[train], network=net, mask=(None, mask), share_masks=True, form="matrix-free"
    )
    predicted = (cross @ fit.coefficients).argmax(axis=1)
    print(f"{fit.products} products with K; {np.mean(predicted == digits[test]):.1%} of the test rows right")


if __name__ == "__main__":
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as temporary:
        main(width, Path(sys.argv[2] if len(sys.argv) > 2 else temporary))
