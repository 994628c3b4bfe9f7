"""exp in float64 with the same bits on every machine."""

import numpy as np

# The last bits of the C library's exp differ between systems, so this one is made of separately rounded
# multiplications and additions: x = k log 2 + r with |r| <= log(2) / 2, then Taylor to r^13 / 13!.
_INVERSE_LOG2 = 1.4426950408889634
_LOG2_HIGH = 0.693147180369123816490  # its last 21 bits are zero, so k times it is exact
_LOG2_LOW = 1.90821492927058770002e-10
_INVERSE_FACTORIALS = (
    1.0,
    1.0,
    0.5,
    1 / 6,
    1 / 24,
    1 / 120,
    1 / 720,
    1 / 5040,
    1 / 40320,
    1 / 362880,
    1 / 3628800,
    1 / 39916800,
    1 / 479001600,
    1 / 6227020800,
)
_EXP_FLOOR = -110.0  # e^-110 is far below the smallest fp32, and what is below it rounds to 0 as well


def exponential(x):
    """exp(x) for x <= 700, relative error below 4e-16 where x >= -110; e^-110 below that."""
    x = np.maximum(x, _EXP_FLOOR)
    k = np.rint(x * _INVERSE_LOG2)
    r = (x - k * _LOG2_HIGH) - k * _LOG2_LOW
    total = np.full_like(r, _INVERSE_FACTORIALS[-1])
    for coefficient in reversed(_INVERSE_FACTORIALS[:-1]):
        total = total * r + coefficient
    return np.ldexp(total, k.astype(np.int32))
