"""Dask clusters of processes that say nothing about what tests do to them."""

import contextlib
import logging
import warnings

import distributed


@contextlib.contextmanager
def quiet_cluster(n_workers=2):
    """A LocalCluster; its own logs and warnings about workers that go are what a test has asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        cluster = distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            memory_limit=0,
        )
        try:
            yield cluster
        finally:
            with contextlib.suppress(KeyError):  # of a worker that it has not heard of, after restarts
                cluster.close()
