"""Every kernel of the backend once, on small inputs with edges: ``python -m bench.gpu.every_kernel``.

Nothing is checked here.  It is what compute-sanitizer looks at, so arrays do not come from a pool: each has
its own allocation, whose ends the sanitizer knows.
"""

import sys
from unittest.mock import patch

import numpy as np

import fastntk as fn
from fastntk.kernels.cuda import coactivation, layout, tables

from .lab import Lab

N, D, DEEP, M = 9, 5, 140, 300


class NoPool:
    """Allocations one by one: CuPy's own ones where no allocator is named."""

    malloc = None

    def used_bytes(self):
        return 0

    def free_all_blocks(self):
        pass


def public_calls(rng):
    """All sums of the backend, by the functions that ask for them."""
    X, mask = rng.standard_normal((N, D)), fn.GaussianMask(0.3)
    networks = (
        fn.Network(M, D, seed=3),
        fn.Network.from_arrays(rng.standard_normal((M, D)), rng.standard_normal((M, 2))),
    )
    on = {"backend": "cuda"}
    for network in networks:
        q = network.outputs
        u, Va = (np.squeeze(rng.standard_normal((count, q))) for count in (N, M))
        fn.ntk(X, network=network, mask=mask, layers="both", **on)
        fn.ntk_diag(X, network=network, mask=mask, layers="both", **on)
        fn.activation_pattern(X, network=network, mask=mask, **on)
        fn.outputs(X, network=network, mask=mask, **on)
        fn.vjp(X, u, network=network, mask=mask, layers="both", **on)
        fn.jvp(X, (rng.standard_normal((M, D)), Va), network=network, mask=mask, layers="both", **on)
    wide = rng.standard_normal((N, DEEP))
    fn.ntk(wide, wide[:4], network=fn.Network(M, DEEP, seed=3), **on)


def both_forms_of_counts(device, rng):
    pattern = device.upload(rng.integers(0, 2**32, layout.pattern_shape(N, 3000), np.uint32))
    counts = device.zeros(layout.counts_shape(N, N), np.int32)
    for form in (tables.Counting("count_b1", 2), tables.Counting("count_u8", 2)):
        with patch.dict(tables.COUNTING, {device.arch: form}):
            coactivation.coactivation(device, pattern, pattern, pattern.shape[1], False, counts)


def training(rng):
    """Steps under masks that are made on the device, and without masks."""
    X, network = rng.standard_normal((N, D)), fn.Network(M, D, seed=3)
    for mask in (fn.GaussianMask(0.3), None):
        fn.train(
            X, rng.standard_normal(N), network=network, mask=mask, step_size=0.01, steps=3, batch_size=4,
            backend="cuda",
        )  # fmt: skip


def run(lab):
    rng = np.random.default_rng(0)
    with lab.backend():
        public_calls(rng)
        training(rng)
    both_forms_of_counts(lab.device, rng)
    lab.device.synchronize()


def main():
    lab = Lab()
    lab.device._pool = NoPool()
    run(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
