"""Figures: a Dask cluster against the threads of one process, on the same cores."""

import logging

import distributed

from fastntk.benchmarks.interleave import interleave

from .cores import CORES
from .figures import Figure, speedup
from .operations import fastntk_kernel, inputs

ROUNDS = 3


def dask_against_threads(quick=False):
    n, d, width = (40, 16, 200_000) if quick else (1797, 64, 10_000_000)
    X = inputs(n, d)
    cluster = distributed.LocalCluster(
        n_workers=CORES,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    with cluster, distributed.Client(cluster) as client:
        seconds = interleave(
            {
                "workers": lambda: fastntk_kernel(X, width, executor=client),
                "threads": lambda: fastntk_kernel(X, width, threads=CORES),
            },
            1 if quick else ROUNDS,
        )
    return Figure(
        case=f"hidden-layer NTK on {CORES} Dask workers, n={n}, d={d}, m={width:.0e}",
        against=f"the same on {CORES} threads of one process",
        value=speedup(seconds, "workers", "threads"),
        unit="x as fast",
        at_least=0.9,
        limit="sums of n n integers, which each task makes, stores, and sends to be added",
        seconds=seconds,
    )


FIGURES = (dask_against_threads,)
