"""Plain loops over a block of neurons: packing, weighted sums and the conversion to fixed point.

Every sum runs over the neurons in order, one float64 multiply and one add each (Numba does not fuse
them), so the values do not depend on the instruction set.  H is a block of preactivations in panels
(groups, neurons, G), as ``ordered_product`` leaves them.
"""

import numpy as np

from .compiling import compiled


def _pack_weights(weights, panels):
    """Rows of fp32 weights (count, d) as float64 panels (groups, d, G); what is beyond is zero."""
    width = panels.shape[2]
    panels.fill(0.0)
    for r in range(len(weights)):
        for k in range(weights.shape[1]):
            panels[r // width, k, r % width] = np.float64(weights[r, k])


def _row_squares(rows, out):
    """out[r] = |rows_r|^2 of fp32 rows (count, d)."""
    for r in range(len(rows)):
        total = 0.0
        for k in range(rows.shape[1]):
            total += np.float64(rows[r, k]) * np.float64(rows[r, k])
        out[r] = total


def _rectify(H):
    """relu in place."""
    for g in range(H.shape[0]):
        for r in range(H.shape[1]):
            for j in range(H.shape[2]):
                H[g, r, j] = H[g, r, j] if H[g, r, j] > 0.0 else 0.0


def _weighted_sum(H, a, out):
    """out[g, c, j] += a[r, c] H[g, r, j], r in order; out (groups, outputs, G)."""
    for g in range(H.shape[0]):
        for r in range(len(a)):
            for c in range(a.shape[1]):
                for j in range(H.shape[2]):
                    out[g, c, j] += a[r, c] * H[g, r, j]


def _square_sum(H, count, out):
    """out[g, j] += H[g, r, j]^2 for the first ``count`` neurons, in order."""
    for g in range(H.shape[0]):
        for r in range(count):
            for j in range(H.shape[2]):
                out[g, j] += H[g, r, j] * H[g, r, j]


def _unpack_bits(bits, first, weights, panels):
    """panels[g, r, j] = weights[r] where neuron first + r is active on row g G + j, else 0."""
    width = panels.shape[2]
    for g in range(len(panels)):
        for r in range(len(weights)):
            byte, bit = (first + r) // 8, np.uint8((first + r) % 8)
            for j in range(width):
                row = g * width + j
                active = row < len(bits) and (bits[row, byte] >> bit) & np.uint8(1) != np.uint8(0)
                panels[g, r, j] = weights[r] if active else 0.0


def _weighted_bit_count(bits, weights, out):
    """out[i] += the sum of weights[r] over the active neurons r of row i, in order."""
    for i in range(len(out)):
        for r in range(len(weights)):
            if (bits[i, r // 8] >> np.uint8(r % 8)) & np.uint8(1) != np.uint8(0):
                out[i] += weights[r]


def _add_fixed_point(values, row_scale, column_scale, totals):
    """totals[g, i, j] += round(values[g, i, j] row_scale[i] column_scale[g, j]) as int64.

    The scales are powers of two, so only the rounding to an integer loses anything, and sums of the
    integers do not depend on their order.
    """
    for g in range(values.shape[0]):
        for i in range(values.shape[1]):
            for j in range(values.shape[2]):
                totals[g, i, j] += np.int64(np.rint(values[g, i, j] * row_scale[i] * column_scale[g, j]))


def _mean_features(means, variances, weights, factors, active, density, first, feature, out):
    """out[g, (r, k), j] = c_r (means[g, k, j] active[g, r, j] + variances[g, k, j] w_rk density[g, r, j]).

    Means and variances of the masked inputs are (groups, d, G), the probabilities that neurons are active and
    the densities of their preactivations at 0 (groups, neurons, G); w = weights (neurons, d), c = factors.
    The rows (r, k) of out, counted from neuron ``first`` and its feature ``feature`` on, go through the
    features of one neuron after the other.
    """
    dim = weights.shape[1]
    for g in range(len(out)):
        r, k = first, feature
        for row in range(out.shape[1]):
            own, slope = factors[r], factors[r] * weights[r, k]
            for j in range(out.shape[2]):
                mean = means[g, k, j] * active[g, r, j] * own
                out[g, row, j] = mean + variances[g, k, j] * density[g, r, j] * slope
            k += 1
            if k == dim:
                r, k = r + 1, 0


pack_weights = compiled(_pack_weights)
row_squares = compiled(_row_squares)
mean_features = compiled(_mean_features)
rectify = compiled(_rectify)
weighted_sum = compiled(_weighted_sum)
square_sum = compiled(_square_sum)
unpack_bits = compiled(_unpack_bits)
weighted_bit_count = compiled(_weighted_bit_count)
add_fixed_point = compiled(_add_fixed_point)
