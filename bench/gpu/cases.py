"""Each kernel of the backend alone, at a size that fills the device: what kernels.py measures.

``python -m bench.gpu.cases NAME`` runs one of them twice, for a profiler.
"""

import sys
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from fastntk.kernels.cuda import (
    coactivation,
    forward,
    forward_bf16,
    gradient,
    layout,
    random,
    step,
    sums,
    tables,
)

from .ceilings import MEMORY
from .lab import Lab

WEIGHT = 25  # multiply-adds that take as long as one weight does (kernels/cuda/panels.cu)


class Case(NamedTuple):
    """What is run, and what it needs: {ceiling: operations or bytes}."""

    kernel: str
    call: object
    needs: dict
    limit: str


def rows_of(n, d):
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def random_bits(device, rows, neurons):
    shape = layout.pattern_shape(rows, neurons)
    return device.upload(np.random.default_rng(1).integers(0, 2**32, shape, np.uint32))


def forward_alone(device, kernel, n, d, m):
    inputs = forward.forward_inputs(device, rows_of(n, d))
    scratch = forward.forward_scratch(device, n, d, m)
    depth, neurons = scratch.panel.shape
    forward.fill_panel(device, scratch, None, 0, 0, 0, neurons, d, neurons)
    bits = device.empty(layout.pattern_shape(n, neurons), np.uint32)
    needs = {"f32": n * depth * neurons, MEMORY: 4 * depth * (n + neurons) + 2 * n * neurons / 8}
    limit = "fp32 multiply-adds; 6 reads of 128 bytes of shared memory for 64 of them of a warp"
    return Case(
        kernel, lambda: forward.multiply(device, kernel, inputs, scratch, 0, neurons, bits), needs, limit
    )


def forward_narrow(device, quick):
    return forward_alone(device, "forward", *((128, 16, 128) if quick else (16384, 64, 1 << 17)))


def forward_wide(device, quick):
    return forward_alone(device, "forward_deep", *((128, 130, 128) if quick else (16384, 784, 1 << 17)))


def forward_on_tensor_cores(device, quick):
    n, d, m = (128, 16, 128) if quick else (16384, 64, 1 << 17)
    inputs = forward_bf16.forward_inputs(device, rows_of(n, d))
    scratch = forward_bf16.forward_scratch(device, n, d, m)
    neurons = scratch.panel.shape[1]
    forward.fill_panel(device, scratch, None, 0, 0, 0, neurons, d, neurons)
    forward_bf16.pack(device, scratch, neurons)
    bits = device.empty(layout.pattern_shape(n, neurons), np.uint32)
    depth = forward_bf16.SLAB * len(inputs.parts)
    products = forward_bf16.PARTS * n * depth * neurons
    return Case(
        "forward_bf16",
        lambda: forward_bf16.multiply(device, inputs, scratch, 0, neurons, bits),
        {"bf16": products, MEMORY: 2 * depth * (2 * n + neurons) + 2 * n * neurons / 8},
        "products by mma.sync; 80 KB from shared memory for 2^20 of them",
    )


def pattern(device, quick):
    """Weights, products and settled signs, as a sweep asks for them."""
    n, d, m = (128, 16, 256) if quick else (8192, 64, 1 << 18)
    inputs, scratch = forward.forward_inputs(device, rows_of(n, d)), forward.forward_scratch(device, n, d, m)
    bits, settled = device.empty(layout.pattern_shape(n, m), np.uint32), device.zeros(2, np.uint64)
    depth = len(inputs.panel)
    return Case(
        "forward",
        lambda: forward.pattern(device, inputs, None, 0, 0, 0, m, scratch, bits, settled),
        {"f32": n * depth * m + WEIGHT * d * m},
        "fp32 multiply-adds; then the weights, and the signs left open",
    )


def weights_of_panel(device, quick):
    d, m = (16, 256) if quick else (64, 1 << 17)
    scratch = forward.forward_scratch(device, 1, d, m)
    neurons = scratch.panel.shape[1]
    return Case(
        "random_panel",
        lambda: forward.fill_panel(device, scratch, None, 0, 0, 0, neurons, d, neurons),
        {"f32": WEIGHT * d * neurons, MEMORY: 4 * d * neurons},
        f"integer multiplications and polynomials, taken as {WEIGHT} multiply-adds a weight",
    )


def weights(device, quick):
    d, m = (16, 256) if quick else (784, 1 << 18)
    out = device.empty((m, d), np.float32)
    return Case(
        "random_rows",
        lambda: random.random_rows(device, 0, 0, 0, out),
        {"f32": WEIGHT * d * m, MEMORY: 4 * d * m},
        f"integer multiplications and polynomials, taken as {WEIGHT} multiply-adds a weight",
    )


def count_case(device, form, quick):
    """Of one form of the counts (``tables.Counting``), all pairs of two patterns."""
    n, m = (256, 2048) if quick else (8192, 1 << 18)
    rows, columns = random_bits(device, n, m), random_bits(device, n, m)
    counts = device.zeros(layout.counts_shape(n, n), np.int32)

    def call():
        with patch.dict(tables.COUNTING, {device.arch: form}):
            coactivation.coactivation(device, rows, columns, rows.shape[1], False, counts)

    ceiling = form.kernel.removeprefix("count_")
    limit = f"products by mma.sync of {form.kernel}; shared memory is next"
    return Case(form.kernel, call, {ceiling: n * n * m, MEMORY: 2 * n * m / 8 + 8 * n * n}, limit), counts


def stages(device):
    return tables.COUNTING.get(device.arch, tables.OTHER_COUNTING).stages


def counts_b1(device, quick):
    return count_case(device, tables.Counting("count_b1", stages(device)), quick)[0]


def counts_u8(device, quick):
    return count_case(device, tables.Counting("count_u8", stages(device)), quick)[0]


def rectified(device, quick):
    n, d, m, chunks = (64, 16, 64, 1) if quick else (2048, 64, 2048, 4)
    panels = device.upload(np.random.default_rng(2).standard_normal((chunks, d, m), dtype=np.float32))
    features, H = sums.feature_panel(device, rows_of(n, d)), device.empty((chunks, m, n), np.float64)
    return Case(
        "rectified_product",
        lambda: sums.rectified(device, panels, features, H),
        {"f64": chunks * m * n * d, MEMORY: 8 * chunks * m * n},
        "float64 multiply-adds, a chain for each entry",
    )


def output_layer_gram(device, quick):
    n, m = (64, 64) if quick else (4096, 2048)
    H = device.upload(np.random.default_rng(3).standard_normal((1, m, n)))
    partial = device.zeros((1, n, n), np.float64)
    return Case(
        "ordered_product",
        lambda: sums.ordered_product(device, H, H, False, partial),
        {"f64": m * n * n, MEMORY: 16 * n * n + 16 * m * n},
        "float64 multiply-adds without tensor cores: their order is not the processors'",
    )


def outputs(device, quick):
    n, m, chunks = (64, 64, 2) if quick else (4096, 512, 16)
    H = device.upload(np.random.default_rng(4).standard_normal((chunks, m, n)))
    a, partial = device.upload(np.ones((chunks, m, 1))), device.zeros((chunks, 1, n), np.float64)
    return Case(
        "weighted_sum",
        lambda: sums.weighted_sum(device, H, a, partial),
        {MEMORY: 8 * chunks * m * n},
        "reading the preactivations; a thread follows one chain of sums over the neurons",
    )


def gradients(device, quick):
    n, d, m = (32, 64, 128) if quick else (8192, 784, 1 << 14)
    rows = gradient.weighted_rows(device, rows_of(n, d), np.random.default_rng(5).uniform(-1, 1, (n, 1)))
    bits, a = random_bits(device, n, m), device.upload(np.ones((1, m), np.float32))
    factors, out = device.upload(np.ones(m)), device.empty((m, d), np.float32)
    largest = device.zeros(1, np.uint32)
    samples, features = rows.rows.shape
    return Case(
        "gradient",
        lambda: gradient.hidden_gradient(device, bits, 0, rows, a, factors, out, largest),
        {"f32": samples * features * m, MEMORY: 4 * m * d + n * m / 8},
        "fp32 multiply-adds; 4 reads of 128 bytes of shared memory for 32 of them of a warp",
    )


def tangents(device, quick):
    n, d, m, chunks = (64, 16, 64, 1) if quick else (2048, 64, 2048, 4)
    panels = device.upload(np.random.default_rng(6).standard_normal((chunks, d, m), dtype=np.float32))
    features, H = sums.feature_panel(device, rows_of(n, d)), device.empty((chunks, m, n), np.float64)
    bits = random_bits(device, n, chunks * m)
    return Case(
        "masked_product",
        lambda: gradient.masked_product(device, panels, features, bits, m, 0, H),
        {"f64": chunks * m * n * d, MEMORY: 8 * chunks * m * n},
        "float64 multiply-adds; a word of the pattern for each entry",
    )


def training_step(device, quick):
    """The pass of a training step: bits and outputs of stored weights."""
    n, d, m = (32, 16, 128) if quick else (4096, 784, 1 << 15)
    X, a = rows_of(n, d), np.ones((m, 1), np.float32)
    stored = device.empty((m, d), np.float32)
    random.random_rows(device, 0, 0, 0, stored)
    inputs, scratch = forward.forward_inputs(device, X), forward.forward_scratch(device, n, d, m)
    bits, by_output = step.room_for_bits(device, n, m), step.output_weights(device, a)
    room = step.step_outputs(device, inputs, scratch, 1)
    return Case(
        "forward_step",
        lambda: step.forward_step(device, inputs, stored, by_output, scratch, bits, room),
        {"f32": n * len(inputs.panel) * m, MEMORY: 3 * 4 * d * m},
        "fp32 multiply-adds; then packing the weights and the signs left open",
    )


CASES = {
    case.__name__: case
    for case in (
        forward_narrow,
        forward_wide,
        forward_on_tensor_cores,
        pattern,
        weights_of_panel,
        weights,
        counts_b1,
        counts_u8,
        rectified,
        output_layer_gram,
        outputs,
        gradients,
        tangents,
        training_step,
    )
}


def main(names):
    lab = Lab()
    for name in names:
        call = CASES[name](lab.device, False).call
        for _ in range(2):
            call()
        lab.device.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
