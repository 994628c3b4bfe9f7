"""What products with a kernel cost with the matrix and without it."""

from .kernels import load

PRODUCTS = 30  # that a matrix is expected to be used for: a solver, or the ends of a spectrum

# Operations a nanosecond of one thread with AVX2, measured on n=4000, d=64 (AMD EPYC, family 25).  Vectors of
# other lengths take all of them up or down together, and only ratios count here; but for the counts of bits,
# which AVX-512 has an instruction for, and what AMX does (by their ratio to FORWARD on other processors).
FORWARD = 42.0  # multiply-adds of preactivations in fp32, weights generated
FORWARD_AMX = 104.0  # the same by tiles of bfloat16
LOOK_UP = 52.0  # multiply-adds that a table look-up in float64 stands for
COUNTS = {"avx512": 800.0, "avx2": 360.0, "plain": 300.0}  # pairs of bits, each once, for the FORWARD above
COUNTS_AMX = 850.0
DOUBLE_FORWARD = 10.0  # multiply-adds of preactivations in float64
DOUBLE = 18.0  # of a Gram matrix of them, or of weighted bits
SLICED = 44.0  # of a Gram matrix of them with AMX
PASS = 2.0  # terms of a sum over a block of preactivations
MATRIX = 2.0  # entries of a matrix that is read from memory, by all threads together


def dense_is_cheaper(neurons, n, p, layers):
    """Whether PRODUCTS products take less time with the matrix, forming it included; p None: symmetric."""
    formed, product = _forming(neurons, n, p, layers), _product(neurons, n, p, layers)
    return formed + PRODUCTS * n * (p or n) / MATRIX < PRODUCTS * product


def _preactivations(neurons, samples):
    """Nanoseconds of the patterns of a neuron, of one thread."""
    return samples * neurons.dim / (FORWARD_AMX if load().forwards_with_amx else FORWARD)


def _forming(neurons, n, p, layers):
    """Nanoseconds to form the matrix, of one thread."""
    samples, entries = n + (p or 0), n * p if p else n * (n + 1) / 2
    time = 0.0
    if layers != "output":
        counts = COUNTS_AMX if load().counts_with_amx else COUNTS[load().name]
        rate = DOUBLE if neurons.constant_square is None else counts
        time += _preactivations(neurons, samples) + entries / rate
    if layers != "hidden":
        rate = SLICED if load().slices else DOUBLE
        time += samples * neurons.dim / DOUBLE_FORWARD + entries / rate
    return neurons.width * time


def _product(neurons, n, p, layers):
    """Nanoseconds of a matrix-free product, of one thread."""
    samples = n + (p or 0)
    ends = n + (p or n)  # of the two sums, over rows and over columns
    time = 0.0
    if layers != "output":
        time += _preactivations(neurons, samples) + ends * neurons.dim / LOOK_UP
    if layers != "hidden":
        time += samples * neurons.dim / DOUBLE_FORWARD + ends / PASS
    return neurons.width * time
