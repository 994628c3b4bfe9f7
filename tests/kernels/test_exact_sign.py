"""The last resort of a pattern bit: the sign of an exact sum."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fastntk.kernels.cpu.exact_sign import exact_sum_is_positive, is_positive

fp32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)


def exactly_positive(pairs):
    return sum((Fraction(x) * Fraction(w) for x, w in pairs), Fraction(0)) > 0


@given(st.lists(st.tuples(fp32, fp32), min_size=1, max_size=12))
@example([(LARGEST, LARGEST)] * 4 + [(-LARGEST, LARGEST)] * 4 + [(SMALLEST, SMALLEST)])
@example([(LARGEST, LARGEST)] * 4 + [(-LARGEST, LARGEST)] * 4 + [(-SMALLEST, SMALLEST)])
@example([(1e38, 1e38), (SMALLEST, SMALLEST), (-1e38, 1e38)])
@example([(0.0, 1.0), (-0.0, 5.0)])
def test_sign_of_the_exact_sum(pairs):
    x, w = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    expected = exactly_positive(pairs)
    assert exact_sum_is_positive(x, w) == expected
    assert is_positive(x, w) == expected


def test_cancellation_that_float64_cannot_see():
    """x . w = 2^-48 beside terms of size 2^60: float64 returns the sign of its rounding errors."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, w = (
            (rng.standard_normal(20) * 2.0**30).astype(np.float32),
            rng.standard_normal(20).astype(np.float32),
        )
        x, w = np.concatenate([x, -x, [2.0**-24]]), np.concatenate([w, w, [2.0**-24]])
        order = rng.permutation(len(x))
        x, w = x[order].astype(np.float32), w[order].astype(np.float32)
        assert is_positive(x, w)
        w[np.argsort(order)[-1]] *= -1
        assert not is_positive(x, w)
