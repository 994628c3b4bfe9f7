"""What products with a kernel cost with the matrix and without it."""

PRODUCTS = 30  # that a matrix is expected to be used for: a solver, or the ends of a spectrum

# Operations a nanosecond of one thread with AVX2, measured on n=4000, d=64 (AMD EPYC, family 25).  All scale
# with the vector length alike, so what counts here, their ratios, is about the same on other paths.
FORWARD = 50.0  # multiply-adds of preactivations in fp32
LOOK_UP = 45.0  # multiply-adds that a table look-up in float64 stands for
COUNTS = 900.0  # pairs of bits
DOUBLE = 12.0  # multiply-adds in float64
PASS = 0.5  # terms of a sum over a block of preactivations
MATRIX = 0.6  # entries of a matrix that is read from memory, by all threads together


def dense_is_cheaper(neurons, n, p, layers):
    """Whether PRODUCTS products take less time with the matrix, forming it included; p None: symmetric."""
    formed, product = _forming(neurons, n, p, layers), _product(neurons, n, p, layers)
    return formed + PRODUCTS * n * (p or n) / MATRIX < PRODUCTS * product


def _forming(neurons, n, p, layers):
    """Nanoseconds to form the matrix, of one thread."""
    samples, entries = n + (p or 0), n * p if p else n * (n + 1) / 2
    time = 0.0
    if layers != "output":
        rate = COUNTS if neurons.constant_square is not None else DOUBLE
        time += samples * neurons.dim / FORWARD + entries / rate
    if layers != "hidden":
        time += (samples * neurons.dim + entries) / DOUBLE
    return neurons.width * time


def _product(neurons, n, p, layers):
    """Nanoseconds of a matrix-free product, of one thread."""
    samples = n + (p or 0)
    ends = n + (p or n)  # of the two sums, over rows and over columns
    time = 0.0
    if layers != "output":
        time += samples * neurons.dim / FORWARD + ends * neurons.dim / LOOK_UP
    if layers != "hidden":
        time += samples * neurons.dim / DOUBLE + ends / PASS
    return neurons.width * time
