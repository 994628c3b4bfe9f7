"""Settling a pattern bit that fp32 could not decide: float64 first, integers where that is not enough."""

import math

import numpy as np

from .compiling import compiled

# A product of two fp32 values is an integer below 2^48 times 2^p, p from -344 to 208.  Limbs of 32 bits
# in int64 hold the exact sum of 2^31 such products.
LOWEST_EXPONENT = -344
LIMBS = 21
LIMB_MASK = 0xFFFFFFFF


def _exact_sum_is_positive(x, w):
    """Whether sum_k x_k w_k > 0, as exact real numbers, for fp32 vectors."""
    limbs = np.zeros(LIMBS, np.int64)
    for k in range(len(x)):
        x_fraction, x_exponent = math.frexp(np.float64(x[k]))
        w_fraction, w_exponent = math.frexp(np.float64(w[k]))
        product = np.int64(x_fraction * 16777216.0) * np.int64(w_fraction * 16777216.0)
        if product == 0:
            continue
        position = np.int64(x_exponent + w_exponent - 48 - LOWEST_EXPONENT)
        limb, shift = position // 32, position % 32
        sign = np.int64(1) if product > 0 else np.int64(-1)
        magnitude = product * sign
        low, high = (magnitude & LIMB_MASK) << shift, (magnitude >> 32) << shift
        limbs[limb] += sign * (low & LIMB_MASK)
        limbs[limb + 1] += sign * ((low >> 32) + (high & LIMB_MASK))
        limbs[limb + 2] += sign * (high >> 32)
    carry, any_digit = np.int64(0), False
    for limb in range(LIMBS):
        total = limbs[limb] + carry
        any_digit = any_digit or (total & LIMB_MASK) != 0
        carry = total >> 32  # arithmetic: the digit left behind is never negative
    return carry > 0 or (carry == 0 and any_digit)


exact_sum_is_positive = compiled(_exact_sum_is_positive)


def _double_sums(x, w):
    """(sum_k x_k w_k, sum_k |x_k w_k|) in float64, added in whatever order is fastest."""
    total, magnitude = 0.0, 0.0
    for k in range(len(x)):
        product = np.float64(x[k]) * np.float64(w[k])
        total += product
        magnitude += abs(product)
    return total, magnitude


double_sums = compiled(_double_sums, reassociate=True)


def _is_positive(x, w):
    """Whether the exact real number x . w is positive, for fp32 vectors; of w, the first len(x) entries.

    The products are exact in float64, so only the sum rounds: its error is at most
    (d - 1) 2^-53 sum |x_k w_k| to first order, and the factor below is twice that.
    """
    total, magnitude = double_sums(x, w)
    if abs(total) > (len(x) + 4) * 2.0**-52 * magnitude:
        return total > 0.0
    return exact_sum_is_positive(x, w)


is_positive = compiled(_is_positive)
