"""Figures: the hidden-layer kernel against Jacobians contracted with themselves, by PyTorch and by JAX."""

from fastntk.benchmarks import jax_methods, own_methods, torch_methods
from fastntk.benchmarks.interleave import interleave
from fastntk.benchmarks.problem import Problem

from .cores import CORES
from .figures import Figure, speedup


def _against(method, peer, quick):
    n, width = (40, 512) if quick else (400, 65_536)
    problem = Problem(n=n, d=64, width=width, threads=CORES)
    calls = {"fastntk": own_methods.virtual(problem), "jacobian": method(problem)}
    seconds = interleave(calls, rounds=1 if quick else 3)
    return Figure(
        case=f"hidden-layer NTK, n={n}, d=64, m={width} ({1000 * min(seconds['fastntk']):.1f} ms)",
        against=f"{peer}: the (n, m d) Jacobian by vmap of jacrev, and its product with itself",
        value=speedup(seconds, "fastntk", "jacobian"),
        unit="x faster",
        at_least=300,
        limit="forward pass and counts; the Jacobian takes "
        f"{4e-9 * n * 64 * width:.1f} GB, and a matrix product of all of it",
        seconds=seconds,
    )


def torch_jacobian(quick=False):
    return _against(torch_methods.jacobian, "torch.func", quick)


def jax_jacobian(quick=False):
    return _against(jax_methods.jacobian, "JAX, compiled", quick)


FIGURES = (torch_jacobian, jax_jacobian)
