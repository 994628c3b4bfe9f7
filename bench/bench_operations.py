"""Absolute times, with pytest-benchmark: history to look at, never a gate (compare.py is)."""

import pytest

from .cores import two_cores
from .operations import OPERATIONS, operation


@pytest.mark.parametrize("name", OPERATIONS)
def bench_operation(benchmark, name, quick):
    call = operation(name, quick)
    call()  # compiles
    with two_cores():
        benchmark.pedantic(call, rounds=1 if quick else 5)
