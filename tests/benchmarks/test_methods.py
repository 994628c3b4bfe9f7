"""Methods by their results and estimates; how far results may be apart; the processes of methods."""

import os
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from fastntk.benchmarks import measure, peaks, sizes
from fastntk.benchmarks.agreement import difference, tolerance
from fastntk.benchmarks.cores import on_cores
from fastntk.benchmarks.memory import MEASURED
from fastntk.benchmarks.methods import METHODS, PEERS, chosen_methods, largest
from fastntk.benchmarks.numpy_methods import even_triangle
from fastntk.benchmarks.problem import Problem
from fastntk.benchmarks.results import Measurement
from fastntk.benchmarks.worker import MethodFailed, Worker
from fastntk.commands import bench
from fastntk.kernels import load
from fastntk.kernels.cpu.paths import chosen_path

PROBLEM = Problem(n=30, d=5, width=700, threads=1)


def plain(problem, quantity):
    """The kernel in float64, or its limit by the angle between rows."""
    X = problem.X.astype(float)
    if quantity == "limit":
        norms = np.linalg.norm(X, axis=1)
        angles = np.arccos(np.clip(X @ X.T / np.outer(norms, norms), -1, 1))
        return (X @ X.T) * (np.pi - angles) / (2 * np.pi)
    P = (X @ problem.weights()[0].astype(float).T > 0).astype(float)
    return (X @ X.T) * (P @ P.T) / problem.width


@pytest.mark.parametrize("name", METHODS)
def test_every_method_computes_the_kernel(name):
    method = METHODS[name]
    pytest.importorskip(method.imports)
    found = method.load()(PROBLEM)()
    expected = plain(PROBLEM, method.quantity)
    assert found.shape == (30, 30)
    assert difference(found, expected, PROBLEM.X) <= tolerance(PROBLEM, method.quantity)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda K, X: K * 1.02,
        lambda K, X: K + X @ X.T / 100,
        lambda K, X: K[::-1],
        lambda K, X: np.full_like(K, np.nan),
        lambda K, X: K + (X @ X.T) * np.eye(len(X)) / 50,
    ],
)
def test_wrong_kernels_are_too_far_apart(wrong):
    problem = Problem(n=30, d=5, width=4096, threads=1)
    K = plain(problem, "kernel")
    assert difference(wrong(K, problem.X), K, problem.X) > tolerance(problem, "kernel")


def test_estimates_grow_with_every_size():
    for method in METHODS.values():
        base = method.nbytes(100, 50, 10_000, 2)
        assert method.nbytes(400, 50, 10_000, 2) > base
        if method.name not in ("fastntk", "fastntk-limit", "numpy-limit", "neural-tangents-limit"):
            assert method.nbytes(100, 50, 1_000_000, 2) > base
    assert METHODS["fastntk"].nbytes(100, 50, 10**6, 2) == METHODS["fastntk"].nbytes(100, 50, 10**9, 2)


def test_largest():
    assert largest(lambda k: k * k <= 1000, high=10**6) == 31
    assert largest(lambda k: False) == 0
    assert largest(lambda k: True, high=7) == 7


def test_rows_of_a_triangle_in_equal_parts():
    ends = even_triangle(1000, 4)
    assert ends[0] == 0
    assert ends[-1] == 1000
    areas = [sum(1000 - i for i in range(*pair)) for pair in pairwise(ends)]
    assert max(areas) / min(areas) < 1.02


def test_cells_are_small_first_and_have_no_doubles():
    for size in sizes.SIZES.values():
        cells = sizes.cells(size, 6, 0)
        assert len(cells) == len(set(cells))
        counts = [cell.problem.threads for cell in cells]
        assert counts == sorted(counts, reverse=True)
        assert set(counts) == {6, 4, 2, 1}
        work = [cell.work for cell in cells if cell.problem.threads == 6]
        assert work == sorted(work)


@pytest.mark.parametrize(
    ("width", "threads", "seconds"),
    [(1000, 2, None), (2000, 2, None), (4000, 2, 4.0), (1000, 1, None), (2000, 1, 4.0)],
)
def test_calls_that_would_take_too_long_are_not_begun(width, threads, seconds):
    """A second on two threads, with 2.5 seconds allowed: work and missing threads count in proportion."""
    limit = replace(sizes.SIZES["quick"], longest=2.5)
    known = sizes.Cell("kernel", Problem(100, 10, 1000, 2))
    found = SimpleNamespace(
        settings={"memory_limit": 1e12}, sizes=limit, measured={known: {"numpy": Measurement(0.0, [1.0])}}
    )
    cell = sizes.Cell("kernel", Problem(100, 10, width, threads))
    why = measure._too_large(METHODS["numpy"], Measurement(0.0), cell, 0.0, found)
    assert why == (seconds and f"would take about {seconds:.2g} s a call; the limit is 2.5 s")


def test_the_command_names_the_peers():
    assert bench.PEERS == PEERS
    ready, missing = chosen_methods(())
    assert {method.peer for method in ready} == {"fastntk"}
    assert set(missing) == {"scikit-learn"}


@pytest.mark.skipif(not MEASURED, reason="Linux tells the memory of a process")
def test_a_process_measures_memory_and_survives_a_failure():
    made = Worker(METHODS["numpy"], 1)
    problem = Problem(n=200, d=50, width=40_000, threads=1)
    try:
        with pytest.raises(MethodFailed, match="FileNotFoundError"):
            made.prepare(problem, expected="nowhere.npy")
        answer = made.prepare(problem)
        weights = 4 * problem.d * problem.width
        estimate = METHODS["numpy"].nbytes(200, 50, 40_000, 1)
        assert weights < answer["peak_bytes"] < 2 * estimate
        assert made.time() > 0
        made.release()
        made._process.kill()
        with pytest.raises(MethodFailed, match="ended with status -9"):
            made.time()
    finally:
        made.close()


def test_processors_are_given_back():
    before = os.sched_getaffinity(0)
    with on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match="this process may use"), on_cores(10**6):
        pass


def test_peaks_do_the_operations_that_they_count():
    steps = 3
    (call,), _ = peaks.count_calls(1, steps)
    values = call.args[1]
    expected = values[0].view(np.uint64).copy()
    mask = values[-1].view(np.uint64)
    for _ in range(steps):
        expected += np.bitwise_count(expected & mask)
    call()
    np.testing.assert_array_equal(values[0].view(np.uint64), expected)
    (call,), done = peaks.multiply_add_calls(1, steps)
    call.args[1][:] = np.arange(call.args[1].size).reshape(call.args[1].shape) / 1024
    start = call.args[1].astype(float).copy()
    call()
    for _ in range(steps):
        start[:-2] = start[:-2] * start[-2] + start[-1]
    np.testing.assert_allclose(call.args[1], start, rtol=1e-5)
    assert done == 2 * steps * (start.size - 2 * chosen_path().lanes)


@pytest.mark.skipif(not load().counts_with_amx, reason="needs AMX")
def test_tile_peak_runs():
    (call,), products = peaks.tile_calls(1, 10)
    call()
    assert products == 10 * 4 * 16 * 16 * 64
