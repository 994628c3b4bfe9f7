"""Scripts run in a process of their own: what a host does to the whole process stays out of the tests."""

import os
import subprocess
import sys
import textwrap

# In every script: a kernel that involves all the kernels, and what it must be.
PREAMBLE = """
import numpy as np
import fastntk as fn

X = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
MANY = np.random.default_rng(0).standard_normal((330, 5)).astype(np.float32)  # some kernels are for many rows
NETWORK = fn.Network(width=20_000, dim=5, seed=1)
MASK = fn.GaussianMask(0.2)

def digest(threads=2):
    K = fn.ntk(X, network=NETWORK, mask=MASK, layers="both", threads=threads)
    f = fn.outputs(X, network=NETWORK, mask=MASK, threads=threads)
    bits = fn.activation_pattern(X, network=NETWORK, mask=MASK, threads=threads).packed
    M = fn.ntk(MANY, network=NETWORK, threads=threads)
    return hash((K.tobytes(), f.tobytes(), bits.tobytes(), M.tobytes()))
"""


def run_script(code, *arguments, cwd, timeout=120, **environment):
    """Standard output of a script that must succeed and say nothing on standard error.

    -P: the working directory is not searched for modules.  Hashes are the same in every process.
    """
    command = [sys.executable, "-P", "-c", PREAMBLE + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
