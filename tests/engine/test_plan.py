"""Plans: ranges that cover the width once, threads that fit the memory, errors that say what would."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastntk.engine.chunk import CHUNK
from fastntk.engine.plan import (
    available_memory,
    checked_options,
    describe_bytes,
    make_plan,
)
from fastntk.engine.ranges import even_ranges, fixed_ranges, gaps, union


@given(width=st.integers(1, 10**7), threads=st.integers(1, 64))
def test_ranges_cover_every_neuron_once(width, threads):
    for ranges in (even_ranges(0, width, threads), fixed_ranges(0, width)):
        position = 0
        for first, count in ranges:
            assert first == position
            assert 1 <= count <= CHUNK
            assert first % 512 == 0
            position += count
        assert position == width


@given(width=st.integers(10**5, 10**7), threads=st.integers(1, 8))
def test_even_ranges_leave_no_thread_waiting(width, threads):
    assert len(even_ranges(0, width, threads)) <= threads * -(-width // (CHUNK * threads))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=6))
def test_gaps_are_what_ranges_leave(ranges):
    neurons = [r for first, count in ranges for r in range(first, first + count)]
    if len(set(neurons)) < len(neurons):
        with pytest.raises(ValueError, match="is in two ranges"):
            union(ranges)
        return
    covered = union(ranges)
    assert [r for first, count in covered for r in range(first, first + count)] == sorted(neurons)
    left = [r for first, count in gaps(covered, 40) for r in range(first, first + count)]
    assert sorted(left + neurons) == list(range(40))
    assert all(a + n < b for (a, n), (b, _) in itertools.pairwise(covered))


def plan(**changes):
    arguments = {
        "exact": True,
        "shared_bytes": 1000,
        "worker_bytes": 100,
        "subject": "5 samples of 3 features",
        "threads": 4,
        "memory_limit": 1400,
    }
    return make_plan(10**6, **{**arguments, **changes})


def test_threads_that_fit_are_used():
    assert plan().threads == 4
    assert plan().nbytes == 1400


def test_without_a_number_of_threads_the_memory_decides(monkeypatch):
    monkeypatch.setattr("fastntk.engine.plan.available_cpus", lambda: 8)
    assert plan(threads=None).threads == 4
    assert plan(threads=None, memory_limit=10**6).threads == 8


def test_a_narrow_network_needs_few_threads():
    assert make_plan(600, exact=True, shared_bytes=0, worker_bytes=1, threads=8, subject="").threads == 2
    assert make_plan(600, exact=False, shared_bytes=0, worker_bytes=1, threads=8, subject="").threads == 1


def test_too_many_threads_for_the_memory_say_so():
    with pytest.raises(
        MemoryError, match=r"5 samples of 3 features need about 1.4 KB with 4 thread.*fewer threads"
    ):
        plan(memory_limit=1399)


def test_too_little_memory_for_one_thread_says_so():
    with pytest.raises(MemoryError, match=r"memory_limit is 1.05 KB.*fewer rows"):
        plan(threads=None, memory_limit=1050)


@pytest.mark.parametrize(
    ("count", "text"),
    [(5, "5 B"), (1500, "1.5 KB"), (2 * 10**6, "2 MB"), (3.2e9, "3.2 GB"), (4e13, "40,000 GB")],
)
def test_bytes_in_words(count, text):
    assert describe_bytes(count) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, None, None), "threads is 0; it must be from 1 to 256"),
        ((2.5, None, None), "threads is 2.5; it must be an integer"),
        ((None, -1, None), "memory_limit is -1; it must be at least 1"),
        ((None, None, 3), "progress is 3; it must be a function"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        checked_options(*options)


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("5000", "2000", 3700), ("5000", "9000", 0), ("max", "2000", None), (None, None, None)],
)
def test_a_container_limits_the_available_memory(tmp_path, limit, used, left):
    """Cached files count as used but are given up when memory is wanted."""
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 700\nactive_file 5\n")
    available = available_memory(tmp_path)
    assert available == left if left is not None else available > 10**6
