"""Inner products: the same bits whatever the block, symmetric, and near the exact values."""

import numpy as np
import pytest

from fastntk.engine.inputs import PackedInputs
from fastntk.engine.products import inner_products, square_norms
from fastntk.kernels import load, reference

RNG = np.random.default_rng(0)


def packed(n, dim=19):
    return PackedInputs(RNG.standard_normal((n, dim)).astype(np.float32), load())


def whole(rows, columns):
    return inner_products(rows, columns, slice(0, len(rows)), slice(0, len(columns)))


@pytest.mark.parametrize(("n", "p"), [(1, 1), (60, 45), (100, 3), (25, 130)])
def test_against_exact_sums(n, p):
    rows, columns = packed(n), packed(p)
    found = whole(rows, columns)
    tolerance = 19 * 2.0**-53 * (np.abs(rows.rows).astype(float) @ np.abs(columns.rows).astype(float).T)
    assert (np.abs(found - reference.preactivation(rows.rows, columns.rows)) <= tolerance).all()


def test_the_bits_are_those_of_the_two_rows():
    rows, panel = packed(300), load().group_width
    products = whole(rows, rows)
    np.testing.assert_array_equal(products, products.T)
    np.testing.assert_array_equal(square_norms(rows), np.diagonal(products))
    row_slice, column_slice = slice(2 * panel, 290), slice(5 * panel, 5 * panel + 7)
    block = inner_products(rows, packed_again(rows), row_slice, column_slice)
    np.testing.assert_array_equal(block, products[row_slice, column_slice])


def packed_again(inputs):
    return PackedInputs(inputs.rows, inputs.kernels)
