"""The compute kernels of fastntk: arrays in, preallocated outputs, no validation, no allocation.

A kernel works on a chunk of neurons [first, first + count) and adds to what it is given:

    random_rows        normals or raw words of the wire format, row by row
    forward            certified bits of X~ W^T > 0, weights (float32 or bfloat16) generated in cache or read
    coactivation       int32 counts of neurons active on both samples
    ordered_product    float64 A^T B in a fixed order: X~ X~^T, preactivations, float Grams
    cut_rectified, sliced_gram
                       bytes of rectified preactivations in fixed point, and their Gram (with AMX)
    transpose_bits     words of 64 samples for each neuron
    gradient_by_lookup, dense_gradient
                       fp32 sums of the weighted samples on which a neuron is active
    tangent            sums of the directions of the neurons active on a sample, projected on it
    sums_by_neuron, project_by_sample
                       the two halves of the hidden layer's kernel times a vector, in float64
    pack_batch         masked inputs of a training step, scaled and with their bounds
    forward_chunk      certified bits and partial outputs of neurons whose weights change every step
    update_by_lookup, update_dense
                       a step of gradient descent on the weights of a chunk
    combine            residuals along the directions of the output weights
    count_differences, distance_moved
                       what a training run records
    pair_variance, pair_poincare, pair_gradient
                       sums over pairs of neurons under one mask, by series in their correlation
    mean_features      mean masked inputs on which a neuron is active
    pack_weights, row_squares, rectify, weighted_sum, square_sum, unpack_bits, weighted_bit_count,
    add_fixed_point    plain loops around these, neuron by neuron in order

``reference.py`` defines what they compute in plain NumPy and Python integers, and every backend is tested
against it: random values, bits and counts by equality, float sums within a stated bound.  Float sums of a
sweep run over at most a fixed chunk of neurons in order and are then added as int64 fixed point, so that
merging is integer addition; those of a training step have a fixed order.

The one backend that the package calls is ``cpu`` (Numba); ``cuda`` is being built.  :func:`load` picks
the instruction-set path of ``cpu`` from the host's features, or from the environment variable
``FASTNTK_CPU_PATH`` (avx512, avx2, plain), before anything compiles.  A new backend is a folder beside
``cpu/`` with a class of the attributes of :class:`fastntk.kernels.cpu.CpuKernels`; nothing else here
changes.  Kernels import NumPy, Numba and each other (``cuda`` also CuPy, where it is used), nothing of the
package above.
"""

from functools import cache


@cache
def _cpu_kernels(path):
    from .cpu import CpuKernels

    return CpuKernels(path)


def load(path=None):
    """The kernels of a CPU path: ``path``, else FASTNTK_CPU_PATH, else the fastest available."""
    from .cpu.paths import chosen_path

    return _cpu_kernels(chosen_path(path))
