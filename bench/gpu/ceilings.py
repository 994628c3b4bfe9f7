"""The ceilings of the chip: what it does of one thing at a time, by peaks.cu.

Each for at least five rounds of 20 ms.
"""

import numpy as np

THREADS, CHAINS, PIECES = 256, 8, 4  # of peaks.cu
BLOCKS = 8  # of 256 threads, as many as a multiprocessor holds
FRAGMENT = 16 * 8  # entries of a product of fragments

# By name: (kernel, operations of a thread for each chain and step, the operations in words)
MULTIPLY_ADDS = {
    "b1": ("products_b1", FRAGMENT * 256 / 32, "multiply-adds of bits, as mma.sync m16n8k256 and.popc"),
    "u8": ("products_u8", FRAGMENT * 32 / 32, "multiply-adds of bytes, as mma.sync m16n8k32"),
    "bf16": ("products_bf16", FRAGMENT * 16 / 32, "multiply-adds of bf16, as mma.sync m16n8k16"),
    "f32": ("fma_f32", 1, "fused multiply-adds in fp32"),
    "f64": ("fma_f64", 1, "fused multiply-adds in float64"),
    "popc": ("counts", 32, "bits by and, __popc and an add"),
}
MEMORY = "memory"
UNITS = {**{name: words for name, (*_, words) in MULTIPLY_ADDS.items()}, MEMORY: "bytes read and written"}


def operands(name, rng):
    """(operands, type of the sums) of a kernel: not all zero, since data draws more power than zeros."""
    if name in {"b1", "u8"}:
        return rng.integers(0, 2**32, (6, 32), np.uint32), np.int32
    if name == "bf16":  # two values in one word, the upper halves of fp32
        halves = rng.standard_normal((6, 32, 2)).astype(np.float32).view(np.uint32) >> 16
        return halves[..., 0] | halves[..., 1] << 16, np.float32
    if name == "popc":
        return np.array([0x5A5A5A5A, 0], np.uint32), np.uint32
    dtype = np.dtype(name.replace("f", "float"))
    return np.array([0.75, 0.5], dtype), dtype


def launcher(lab, name, steps, blocks):
    """(call, the array it changes) of the kernel of a ceiling."""
    kernel = MULTIPLY_ADDS[name][0]
    given, dtype = operands(name, np.random.default_rng(0))
    each = CHAINS * (4 if kernel.startswith("products") else 1)
    on_device = lab.device.upload(given)
    sums = lab.device.upload(np.ones((blocks * THREADS, each), dtype))

    def call():
        lab.device.launch("peaks", kernel, blocks, THREADS, on_device, np.int32(steps), sums)

    return call, sums


def measure_operations(lab, name):
    """Operations a second."""
    steps = 2 if lab.quick else 4096
    blocks = (1 if lab.quick else BLOCKS) * lab.device.multiprocessors
    call, _ = launcher(lab, name, steps, blocks)
    seconds = min(lab.seconds(call))
    return blocks * THREADS * CHAINS * steps * MULTIPLY_ADDS[name][1] / seconds


def measure_memory(lab):
    """Bytes a second, read and written: of arrays far larger than the second-level cache."""
    count = 1000 if lab.quick else 1 << 27  # pieces of 16 bytes
    source = lab.device.upload(np.ones(4 * count, np.float32))
    target = lab.device.empty(4 * count, np.float32)
    grid = -(-count // (THREADS * PIECES))
    seconds = lab.seconds(
        lambda: lab.device.launch("peaks", "copy", grid, THREADS, source, np.int64(count), target)
    )
    return 32 * count / min(seconds)


def measure(lab):
    """{name: operations or bytes a second}."""
    return {
        **{name: measure_operations(lab, name) for name in MULTIPLY_ADDS},
        MEMORY: measure_memory(lab),
    }


def run(lab, say):
    """The part "ceilings"."""
    rates = measure(lab)
    for name, rate in rates.items():
        say(f"{rate / 1e12:10.4g} T/s  {name:7} {UNITS[name]}")
    return {name: {"per_second": rate, "of": UNITS[name]} for name, rate in rates.items()}
