"""Patterns of a device as arrays of bool, for both of its forward passes."""

import numpy as np

from fastntk.kernels import reference
from fastntk.kernels.cuda import forward

WEIGHT_WORD = reference.stream_word(reference.WEIGHT_STREAM, 0)


def pattern(
    device, X, weights=None, *, seed=0, first=0, count=None, words=None, group=128, forward_pass=forward
):
    """((n, count) bool bits, the counts of signs settled); ``group`` neurons at a time.

    Bits of other rows and neurons must be 0, whatever was in their place.
    """
    X = np.ascontiguousarray(X, np.float32)
    n, dim = X.shape
    count = len(weights) - first if count is None else count
    inputs = forward_pass.forward_inputs(device, X)
    scratch = forward_pass.forward_scratch(device, n, dim, group)
    shape = len(inputs.factors), words or -(-count // 128) * 4
    bits = device.upload(np.full(shape, 0xFFFFFFFF, np.uint32))
    settled = device.zeros(2, np.uint64)
    if weights is not None:
        weights = device.upload(np.ascontiguousarray(weights, np.float32))
    forward_pass.pattern(device, inputs, weights, seed, WEIGHT_WORD, first, count, scratch, bits, settled)
    all_bits = np.unpackbits(device.download(bits).view(np.uint8), axis=1, bitorder="little").astype(bool)
    assert not all_bits[n:].any()
    assert not all_bits[:, count:].any()
    return all_bits[:n, :count], device.download(settled)
