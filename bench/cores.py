"""The two cores that every figure is stated for."""

from functools import partial

from fastntk.benchmarks.cores import on_cores

CORES = 2
two_cores = partial(on_cores, CORES)
