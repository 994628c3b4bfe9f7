"""Random values on a device have the bits of reference.py, wherever they stand."""

import numpy as np
import pytest

from fastntk.kernels import reference
from fastntk.kernels.cuda import forward, random

WEIGHT_WORD = reference.stream_word(reference.WEIGHT_STREAM, 0)
PLACES = [  # seed, stream word, first id, count, features
    (0, WEIGHT_WORD, 0, 3, 1),
    (1, WEIGHT_WORD, 2**32 - 5, 10, 7),  # ids on both sides of the low word's end
    (2**64 - 1, reference.stream_word(reference.COLUMN_MASK_STREAM, 2**28 - 1), 2**63, 40, 4),
    (2**40 + 3, WEIGHT_WORD, 10**9 + 1, 33, 30),
]


@pytest.mark.parametrize(("seed", "word", "first", "count", "dim"), PLACES)
def test_normals(device, seed, word, first, count, dim):
    ids = np.arange(first, first + count, dtype=np.uint64)
    expected = reference.normals(seed, ids, dim, word >> 28, word & (2**28 - 1))
    out = device.empty((count, dim), np.float32)
    random.random_rows(device, seed, word, first, out)
    np.testing.assert_array_equal(device.download(out).view(np.uint32), expected.view(np.uint32))

    scratch = forward.forward_scratch(device, 1, dim, 100)
    forward.fill_panel(device, scratch, None, seed, word, first, count, dim, 128)
    panel = device.download(scratch.panel)
    np.testing.assert_array_equal(panel[:dim, :count].T.view(np.uint32), expected.view(np.uint32))
    assert not panel[dim:].any()
    assert not panel[:, count:].any()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_scaled_rows(device, bfloat16):
    normals = reference.normals(5, np.arange(3, 20), 6, 0)
    rounded = reference.round_to_bfloat16(normals) if bfloat16 else normals
    out = device.empty((17, 6), np.float32)
    random.random_rows(device, 5, WEIGHT_WORD, 3, out, scale=0.3, bfloat16=bfloat16)
    np.testing.assert_array_equal(device.download(out), (0.3 * rounded.astype(float)).astype(np.float32))


def test_every_word_of_a_million(device):
    """Rare branches of the polynomials and quadrants, on one order of threads: equality of bits is cheap."""
    if getattr(device, "order", "forward") != "forward":
        pytest.skip("nothing here depends on the order of threads")
    out = device.empty((2**12, 256), np.float32)
    random.random_rows(device, 7, WEIGHT_WORD, 0, out)
    np.testing.assert_array_equal(device.download(out), reference.normals(7, np.arange(2**12), 256, 0))


@pytest.mark.parametrize(
    ("seed", "first", "count", "outputs"), [(0, 0, 130, 1), (2**33 + 1, 2**39 - 100, 200, 3)]
)
def test_output_signs(device, seed, first, count, outputs):
    ids = np.arange(first, first + count, dtype=np.uint64)
    out = device.empty((count, outputs), np.float64)
    random.output_signs(device, seed, first, out)
    np.testing.assert_array_equal(device.download(out), reference.output_signs(seed, ids, np.arange(outputs)))
