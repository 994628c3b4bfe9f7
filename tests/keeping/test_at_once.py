"""Many runs at once, each with its own checkpoint, where nothing is compiled yet.  ``pytest -m soak``"""

import pytest

from ..subprocesses import run_script

pytestmark = pytest.mark.soak

# What a worker does: a run that is stopped and gone on with, in a folder of its own.
MODULE = """
import sys
import numpy as np
import fastntk as fn
from fastntk.engine import checkpoint, kernel_matrix

X = np.random.default_rng(0).standard_normal((11, 5))
NETWORK = fn.Network(width=60_000, dim=5, seed=1)

def job(k):
    checkpoint.FIRST_SECONDS = checkpoint.COST_FACTOR = 0.0
    kernel_matrix.tile_edges = lambda n, p, fit: (5, 5)
    reports = []

    def impatient(done, total):
        if done > (reports[-1] if reports else 0):
            reports.append(done)
        if len(reports) == 3 + k % 4:
            raise InterruptedError

    options = {"network": NETWORK, "mask": fn.GaussianMask(0.2), "layers": "both", "threads": 2}
    options |= {"out": f"K{k}.npy", "checkpoint": f"run{k}"}
    try:
        fn.ntk(X, progress=impatient, **options)
    except InterruptedError:
        pass
    K = fn.ntk(X, **options).tobytes()
    run = fn.train(X, X[:, 0], network=fn.Network(500, 5), steps=5, step_size=0.1, checkpoint=f"training{k}")
    return hash((K, run.network.weights().tobytes()))
"""

SCRIPT = """
import multiprocessing, os, sys, warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
sys.path.insert(0, os.getcwd())
from jobs import job

if sys.argv[1] == "threads":
    executor = ThreadPoolExecutor(8)
else:
    executor = ProcessPoolExecutor(8, multiprocessing.get_context(sys.argv[1]))
with executor:
    found = set(executor.map(job, range(8)))
assert len(found) == 1, found
assert found == {job(100)}
assert not list(Path().glob(".*.part"))
print("equal")
"""


@pytest.mark.parametrize("workers", ["threads", "fork", "spawn"])
@pytest.mark.parametrize("repeat", range(2))
def test_eight_at_once_with_a_cold_cache(workers, repeat, tmp_path):
    (tmp_path / "jobs.py").write_text(MODULE)
    cache = str(tmp_path / "cache")
    assert run_script(SCRIPT, workers, cwd=tmp_path, timeout=600, NUMBA_CACHE_DIR=cache) == "equal\n"
