"""Inner products: the same bits for every number of threads, symmetric or not, and near the exact values."""

import numpy as np
import pytest

from fastntk.engine.inputs import PackedInputs
from fastntk.engine.products import inner_products, square_norms
from fastntk.kernels import load, reference

RNG = np.random.default_rng(0)


def packed(n, dim=19):
    return PackedInputs(RNG.standard_normal((n, dim)).astype(np.float32), load())


@pytest.mark.parametrize(("n", "p"), [(1, 1), (60, 45), (100, 3), (25, 130)])
def test_against_exact_sums(n, p):
    rows, columns = packed(n), packed(p)
    found = inner_products(rows, columns, 2)
    tolerance = 19 * 2.0**-53 * (np.abs(rows.rows).astype(float) @ np.abs(columns.rows).astype(float).T)
    assert (np.abs(found - reference.preactivation(rows.rows, columns.rows)) <= tolerance).all()


@pytest.mark.parametrize("threads", [1, 2, 5, 40])
def test_threads_and_symmetry_change_no_bit(threads):
    rows = packed(300)
    again = PackedInputs(rows.rows, load())  # equal but not the same: both triangles are computed
    symmetric = inner_products(rows, rows, threads)
    np.testing.assert_array_equal(symmetric, inner_products(rows, again))
    np.testing.assert_array_equal(square_norms(rows), np.diagonal(symmetric))
