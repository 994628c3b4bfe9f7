"""The instruction-set paths, and which one this process takes.

An instruction that the host lacks aborts the process inside LLVM, so the choice is made from the
feature list before anything compiles.  All paths give the same random values, pattern bits and counts.
"""

import ctypes
import os
import platform
import sys
from functools import cache
from typing import NamedTuple

VARIABLE = "FASTNTK_CPU_PATH"


class Path(NamedTuple):
    """Register-tile shapes of one instruction set.

    A panel is ``2 * lanes`` neurons.  The forward tile is ``forward_rows`` samples by one panel; the
    coactivation tile is ``count_rows`` by ``count_columns`` samples (without AMX); the float64 tile is
    ``lanes // 2`` by ``3 * lanes // 2``; the tile of training, and of dense gradients, is ``step_neurons``
    neurons by ``step_vectors`` vectors of samples or of features.
    """

    name: str
    lanes: int  # fp32 values in a vector
    fused: int  # 1: the forward pass uses fused multiply-add; 0: separate multiply and add
    forward_rows: int
    count_rows: int
    count_columns: int
    step_neurons: int
    step_vectors: int
    features: tuple[str, ...]  # what the host must have


PATHS = {
    path.name: path
    for path in (
        Path("avx512", 16, 1, 12, 4, 5, 6, 4, ("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma")),
        Path("avx2", 8, 1, 6, 2, 3, 6, 2, ("avx2", "fma")),
        Path("plain", 4, 0, 4, 2, 2, 4, 2, ()),
    )
}


def target_features():
    """The features Numba compiles for: the host's, or those of NUMBA_CPU_FEATURES."""
    from numba.core import config

    if config.CPU_FEATURES is not None:
        return {item[1:] for item in config.CPU_FEATURES.split(",") if item.startswith("+")}
    return _host_features()


@cache
def _host_features():
    from llvmlite import binding

    return {name for name, present in binding.get_host_cpu_features().items() if present}


def available_paths():
    """Names of the paths this process can run, fastest first."""
    features = target_features()
    return [path.name for path in PATHS.values() if features.issuperset(path.features)]


_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


def counts_with_amx(path):
    """Whether a path counts active neurons with AMX."""
    return _has_tiles(path, "amx-int8")


def forwards_with_amx(path):
    """Whether a path computes patterns with AMX, in products of bfloat16."""
    return _has_tiles(path, "amx-bf16")


def _has_tiles(path, products):
    """Whether a path may use products of matrix tiles, which stand beside AVX-512.

    The processor has to have them, and Linux has to grant the registers.
    """
    if path.name != "avx512" or not target_features().issuperset({"amx-tile", products}):
        return False
    return _tiles_are_granted()


@cache
def _tiles_are_granted():
    """Whether this process and its children may use tile registers, which abort it otherwise."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0


def chosen_path(name=None):
    """The path ``name``, else that of FASTNTK_CPU_PATH, else the fastest available."""
    available = available_paths()
    source = "path" if name else VARIABLE
    name = name or os.environ.get(VARIABLE) or available[0]
    if name not in PATHS:
        raise ValueError(f"{source} is {name!r}; it must be one of {', '.join(map(repr, PATHS))}.")
    if name not in available:
        missing = sorted(set(PATHS[name].features) - target_features())
        raise ValueError(
            f"{source} is {name!r}, but this process compiles without {', '.join(missing)}; "
            f"it can take {', '.join(map(repr, available))}."
        )
    return PATHS[name]
