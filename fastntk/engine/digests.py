"""What stands for data in a description of a run: hashes of arrays and of networks."""

import hashlib

import numpy as np


def digest(*arrays):
    """A hash of the bytes and shapes of arrays, block by block."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        rows = max(1, (1 << 22) // max(1, array[:1].nbytes))
        for first in range(0, len(array), rows):
            total.update(np.ascontiguousarray(array[first : first + rows]).data)
    return total.hexdigest()


def network_digest(neurons):
    """What stands for a network."""
    if neurons.given_weights is None:
        rounded = ", rounded to bfloat16" if neurons.dtype == "bfloat16" else ""
        return f"seed {neurons.seed}, scale {neurons.scale!r}{rounded}"
    if neurons.given_output_weights is None:
        return f"{digest(neurons.given_weights)}, signs of seed {neurons.seed}"
    return digest(neurons.given_weights, neurons.given_output_weights)
