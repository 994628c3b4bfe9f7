"""The methods that are compared: what each needs, what it takes, and how it is begun.

A method's ``nbytes(n, d, m, threads)`` estimates the memory that it adds to a process, inputs and weights
included, from the arrays it makes; the page shows it beside the measured peak.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from ..gram import nbytes_ntk
from ..network import MAX_WIDTH, Network
from .numpy_methods import COUNTED
from .problem import BLOCK

NO_SCIKIT_LEARN = (
    "has no kernel of a ReLU network, finite or infinite (fastntk.estimators has the limit as a kernel "
    "for its Gaussian processes)"
)


@dataclass(frozen=True)
class Method:
    """One way to compute the kernel or its limit.

    Attributes
    ----------
    name, label : str
        For options and files, and for people.
    peer : str
        The library, as pip calls it.
    imports : str
        The module that must import.
    quantity : {"kernel", "limit"}
    begin : str
        "module:function" of a function of a Problem that returns a call without arguments.
    nbytes : callable
    """

    name: str
    label: str
    peer: str
    imports: str
    quantity: str
    begin: str
    nbytes: Callable[[int, int, int, int], float]

    def load(self):
        """The function that `begin` names; imports the library."""
        module, function = self.begin.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), function)


def _results(n, matrices):
    """Bytes of so many float32 matrices (n, n)."""
    return 4 * matrices * n**2


def _streamed(n, d, m, threads):
    return 4 * n * d + nbytes_ntk(Network(m, d), n, threads)


def _given(n, d, m, threads):
    return 4 * m * d + 16 * m + _streamed(n, d, m, threads)


def _blocks(n, d, m, threads):
    return 4 * (m + n) * d + 12 * min(m, BLOCK) * n + _results(n, 4)


def _packed(n, d, m, threads):
    return 4 * (m + n) * d + 5 * min(m, BLOCK) * n + 2 * min(m, COUNTED) * n / 8 + _results(n, 9)


def _jacobian(n, d, m, threads):
    return 4 * (m + n) * d + 8 * n * m * d + _results(n, 1)


def _limit(n, d, m, threads):
    return 12 * n * d + 32 * n**2


_KERNELS: tuple[tuple, ...] = (
    # name, label, peer, module, where it is begun, what it takes
    ("fastntk", "fastntk", "fastntk", "fastntk", "own_methods:virtual", _streamed),
    ("fastntk-given", "fastntk, given weights", "fastntk", "fastntk", "own_methods:given", _given),
    ("numpy", "NumPy", "numpy", "numpy", "numpy_methods:matrix_form", _blocks),
    ("numkong", "NumKong (bits by NumPy)", "numkong", "numkong", "numpy_methods:numkong_counts", _packed),
    ("torch", "PyTorch", "torch", "torch", "torch_methods:matrix_form", _blocks),
    ("torch-jacobian", "torch.func Jacobian", "torch", "torch", "torch_methods:jacobian", _jacobian),
    ("jax", "JAX", "jax", "jax", "jax_methods:matrix_form", _blocks),
    ("jax-jacobian", "JAX Jacobian", "jax", "jax", "jax_methods:jacobian", _jacobian),
    (*["neural-tangents"] * 3, "neural_tangents", "jax_methods:neural_tangents", _jacobian),
)
_LIMITS: tuple[tuple, ...] = (
    ("fastntk-limit", "fastntk", "fastntk", "fastntk", "own_methods:limit", _limit),
    ("numpy-limit", "NumPy", "numpy", "numpy", "numpy_methods:limit", _limit),
    ("neural-tangents-limit", *["neural-tangents"] * 2, "neural_tangents",
     "jax_methods:neural_tangents_limit", _limit),
)  # fmt: skip
METHODS = {
    name: Method(name, label, peer, imports, quantity, begin, nbytes)
    for quantity, methods in (("kernel", _KERNELS), ("limit", _LIMITS))
    for name, label, peer, imports, begin, nbytes in methods
}
OURS = "fastntk"
PEERS = tuple(dict.fromkeys(method.peer for method in METHODS.values() if method.peer != OURS))


def chosen_methods(peers):
    """(methods that can run, {peer: why it cannot}) of this package and the peers named."""
    absent = {peer: reason for peer in peers if (reason := why_missing(peer))}
    ready = [m for m in METHODS.values() if m.peer == OURS or (m.peer in peers and m.peer not in absent)]
    return ready, absent | {"scikit-learn": NO_SCIKIT_LEARN}


def why_missing(peer):
    """Why a peer's methods cannot run, in words that end a sentence; None where they can."""
    module = next(method.imports for method in METHODS.values() if method.peer == peer)
    if importlib.util.find_spec(module) is None:
        return f"is not installed: python -m pip install {peer}"
    if peer != "neural-tangents":
        return None  # the others are imported by their own processes only
    try:
        importlib.import_module(module)
    except Exception as error:  # it fails in many ways under a newer JAX
        return f"is installed but does not import here ({type(error).__name__}: {error})"
    return None


def largest(fits, low=1, high=MAX_WIDTH):
    """The largest integer from low to high for which ``fits`` holds; 0 where it does not hold for low."""
    if not fits(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
