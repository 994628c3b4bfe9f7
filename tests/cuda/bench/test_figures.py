"""Ceilings, kernels beside them, choices: the kernels are right, and the figures what they say."""

import json

import numpy as np
import pytest

from fastntk.kernels.cuda import tables


@pytest.mark.parametrize(
    ("name", "operand", "expected"),
    [
        ("b1", 0b1011, 3 * 3 * 8),  # the same four words of each row: 8 words of 3 bits
        ("u8", 0x01020001, 3 * (1 + 4 + 1) * 8),
        ("bf16", 0x3F804000, 3 * (1.0 + 4.0) * 8),
    ],
)
def test_chains_of_products(part, lab, monkeypatch, name, operand, expected):
    """Three steps from zero: every entry is three times the product of two equal rows of eight words."""
    ceilings = part("ceilings")
    _, dtype = ceilings.operands(name, np.random.default_rng(0))
    given = np.full((6, 32), operand, np.uint32), dtype
    monkeypatch.setattr(ceilings, "operands", lambda *_: given)
    call, sums = ceilings.launcher(lab, name, 3, 2)
    call()
    result = lab.device.download(sums)
    assert result.shape == (512, 32)
    assert (result == expected).all()


@pytest.mark.parametrize("name", ["f32", "f64", "popc"])
def test_chains_of_values(part, lab, name):
    """From 1: x -> 0.75 x + 0.5, exact in three steps; x -> x + the number of bits of x that the mask has."""
    call, values = part("ceilings").launcher(lab, name, 3, 1)
    call()
    expected = 1
    for _ in range(3):
        expected = expected + (expected & 0x5A5A5A5A).bit_count() if name == "popc" else 0.75 * expected + 0.5
    assert (lab.device.download(values) == expected).all()


@pytest.mark.parametrize("pieces", [1, 1024, 1500])
def test_copy(lab, pieces):
    given = np.random.default_rng(0).standard_normal(4 * pieces).astype(np.float32)
    source, target = lab.device.upload(given), lab.device.empty(4 * pieces, np.float32)
    lab.device.launch("peaks", "copy", -(-pieces // 1024), 256, source, np.int64(pieces), target)
    np.testing.assert_array_equal(lab.device.download(target), given)


def test_operations_of_a_ceiling(part, lab, monkeypatch):
    """Two steps of eight products of 16 x 8 x 256 in each of 8 warps on three multiprocessors."""
    monkeypatch.setattr(lab, "seconds", lambda call: [1.0])
    ceilings = part("ceilings")
    assert ceilings.measure_operations(lab, "b1") == 2 * 8 * 16 * 8 * 256 * 8 * 3
    assert ceilings.measure_operations(lab, "f32") == 2 * 8 * 256 * 3
    assert ceilings.measure_memory(lab) == 2 * 16 * 1000


def test_the_floor_is_what_takes_longest(part):
    kernels = part("kernels")
    assert kernels.floor({"f32": 100, "memory": 40}, {"f32": 50, "memory": 10}) == (4, "memory")


def test_every_kernel_beside_its_ceiling(part, lab, said, monkeypatch):
    kernels = part("kernels")
    rates = dict.fromkeys(kernels.UNITS, 1e9)
    monkeypatch.setattr(kernels.ceilings, "measure", lambda lab: rates)
    monkeypatch.setattr(lab, "_elapsed", lambda call, times: call() or 10.0)
    monkeypatch.setitem(kernels.CASES, "broken", lambda *_: 1 / 0)
    record = kernels.run(lab, said.append)
    assert record["failed"]
    assert record["not run"] == {"broken": "ZeroDivisionError: division by zero"}
    assert set(record["figures"]) == set(kernels.CASES) - {"broken"}
    counts = record["figures"]["counts_b1"]
    assert counts["value"] == pytest.approx(100 * 256 * 256 * 2048 / 1e9 / 10)
    assert not counts["reached"]
    assert "below 50 %" in "\n".join(said)
    assert json.dumps(record)


def test_the_profiler_gives_reasons(part):
    text = (
        '==PROF== Connected\n"ID","Metric Name","Metric Unit","Metric Value","Rule Description"\n'
        '"0","SM Busy","%","41.5",""\n"0","","","","Few warps, and these wait."\n'
    )
    assert part("profiler").reasons_of(text) == ({"SM Busy": "41.5 %"}, ["Few warps, and these wait."])
    assert part("profiler").reasons_of("==ERROR== no permission") == ({}, [])


def test_choices(part, lab, said, monkeypatch):
    choices = part("choices")
    seconds = iter([3.0, 1.0])
    monkeypatch.setattr(lab, "seconds", lambda call: [next(seconds)])
    forms = [tables.Counting("count_b1", 3), tables.Counting("count_u8", 2), tables.Counting("count_of", 2)]
    monkeypatch.setattr(choices.measure, "__defaults__", (forms,))
    record = choices.run(lab, said.append)
    assert record["fastest"] == ["count_u8", 2]
    assert record["seconds"] == {"count_b1, 3": 3.0, "count_u8, 2": 1.0}
    assert list(record["failed"]) == ["count_of, 2"]
    assert "the fastest is \"sm_90a\": Counting(kernel='count_u8', stages=2)" in said[-1]
