"""Counts are those of the definition, in every form, order of threads and shape."""

import numpy as np
import pytest

from fastntk.kernels import reference
from fastntk.kernels.cuda import coactivation as counting
from fastntk.kernels.cuda import layout, tables

from .emulator import EmulatedDevice

SHARED_MEMORY = {
    "sm_80": 163,
    "sm_87": 163,
    "sm_90a": 227,
    "sm_100a": 227,
}  # KB that a block can have; others 99
FORMS = [tables.Counting("count_b1", 3), tables.Counting("count_u8", 2)]


@pytest.fixture(params=FORMS, ids=lambda form: form.kernel)
def form(request, device, monkeypatch):
    monkeypatch.setitem(tables.COUNTING, device.arch, request.param)


def packed(device, P):
    """Pattern bits on the device."""
    words = np.zeros(layout.pattern_shape(*P.shape), np.uint32)
    bits = np.packbits(P, axis=1, bitorder="little")
    words.view(np.uint8)[: bits.shape[0], : bits.shape[1]] = bits
    return device.upload(words)


def random_pattern(rows, neurons, density=0.5, seed=0):
    return np.random.default_rng([rows, neurons, seed]).random((rows, neurons)) < density


def counts_of(device, P, Q, *, symmetric=False, start=0):
    rows = packed(device, P)
    columns = rows if P is Q else packed(device, Q)
    counts = device.upload(np.full(layout.counts_shape(len(P), len(Q)), start, np.int32))
    counting.coactivation(device, rows, columns, rows.shape[1], symmetric, counts)
    return device.download(counts)[: len(P), : len(Q)]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("n", "p", "m", "density"),
    [(1, 1, 1, 1.0), (129, 257, 1023, 0.5), (37, 5, 3100, 0.1), (300, 130, 1025, 1.0)],
)
def test_two_patterns(device, n, p, m, density):
    P, Q = random_pattern(n, m, density), random_pattern(p, m, density, seed=1)
    np.testing.assert_array_equal(counts_of(device, P, Q), reference.coactivation(P, Q))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("n", "m"), [(5, 40), (256, 1024), (300, 1100)])
def test_one_pattern(device, n, m):
    P = random_pattern(n, m)
    counts = counts_of(device, P, P, symmetric=True)
    np.testing.assert_array_equal(np.triu(counts), np.triu(reference.coactivation(P, P)))


@pytest.mark.usefixtures("form")
def test_counts_are_added_to(device):
    P = random_pattern(20, 1500)
    np.testing.assert_array_equal(counts_of(device, P, P, start=7), 7 + reference.coactivation(P, P))


def test_steps_are_shared_out(device):
    """More steps than one block takes, and a last block that takes fewer."""
    P = random_pattern(3, 1024 * (2 * counting.STEPS_PER_BLOCK + 1))
    np.testing.assert_array_equal(counts_of(device, P, P), reference.coactivation(P, P))


def test_only_the_words_asked_for_are_counted(device):
    P = random_pattern(10, 4096)
    pattern = packed(device, P)
    counts = device.zeros(layout.counts_shape(10, 10), np.int32)
    counting.coactivation(device, pattern, pattern, 2048 // layout.WORD_BITS, False, counts)
    expected = reference.coactivation(P[:, :2048], P[:, :2048])
    np.testing.assert_array_equal(device.download(counts)[:10, :10], expected)


@pytest.mark.parametrize("arch", [*tables.COUNTING, "sm_999a"])
def test_every_architecture_has_a_form_that_fits(arch, emulator_folder):
    device = EmulatedDevice(emulator_folder, arch=arch)
    stages = tables.COUNTING.get(arch, tables.OTHER_COUNTING).stages
    assert stages * counting.STAGE_BYTES <= SHARED_MEMORY.get(arch, 99) * 1024
    P = random_pattern(9, 70)
    np.testing.assert_array_equal(counts_of(device, P, P), reference.coactivation(P, P))
