"""Benchmarks.  Absolute times on shared machines mean nothing, so everything that counts is a ratio.

    python -m pip install -e ".[bench]"
    python -m bench              # every figure against its peer, into bench/results/<hardware>.json
    python -m bench.table        # the README's table, from bench/results/
    python -m bench.compare      # is this commit slower than the one before?  (.ci/run asks it)
    python -m bench.gpu          # all of the CUDA backend on a GPU, into bench/results/gpu-<name>.json
    pytest bench                 # absolute times (pytest-benchmark) and the targets as assertions

What these measure with is fastntk.benchmarks, as ``fastntk bench`` does on the machine of a user.
``--quick`` (all but the table) shrinks every size until only the harness itself is tested.

=================  ====================================================================
operations.py      the calls of this package that are timed
numpy_jobs.py      the same jobs in plain NumPy and SciPy
cores.py           the two cores that figures are stated for
figures.py         what a figure is: value, target, and what limits it
against_numpy.py   figures: whole kernels against NumPy, thread scaling
gradients.py       figures: gradient products against NumPy
against_torch.py   figures: training steps against PyTorch on the CPU
closed_forms.py    figures: expected kernel and expected loss under masks, against the peak and SciPy
operators.py       figures: products with the kernel without the matrix, against forming it
against_peak.py    figures: single compiled kernels against the machine's limits and NumKong
long_runs.py       figures: kernels larger than the memory, 10^9 neurons, checkpoints
workers.py         figures: a Dask cluster against threads, on the same cores
processes.py       figures that need fresh processes: memory, import, compile time, AVX2
cost_model.py      how long kernels take: a fit, and what it says of larger ones
gpu/               the CUDA backend on a GPU, a command of its own
machine.py         the machine, the versions and the commit, for the record
table.py           results to README
compare.py         base commit against head, by timed_operations.py
bench_*.py         the pytest suites
=================  ====================================================================
"""
