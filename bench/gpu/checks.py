"""Is it right on this device: the GPU tests, compute-sanitizer, equality with the processors, leaks.

Each command has a limit of time.
"""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree as ET

import numpy as np

import fastntk as fn
from fastntk.benchmarks.memory import resident
from fastntk.kernels import load

from ..machine import ROOT
from . import ledger

TESTS_SECONDS = 140
SANITIZER_SECONDS = 55  # of a tool
TOOLS = ("memcheck", "racecheck")
NOT_FOUND = 127
FAULTY = 9  # the sanitizer's exit status where it found something
SANITIZERS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")  # beside PATH
LEAK_BYTES = 4 << 20  # that the host may grow by over all calls: what allocators keep back


# ------------------------------------------------------------------------------------- tests
def outcomes_of(report):
    """{test: "passed", "failed" or "skipped"} of a JUnit report of the family xunit1."""
    found = {}
    for case in ET.parse(report).iter("testcase"):
        words = {child.tag for child in case}
        outcome = "failed" if words & {"failure", "error"} else "skipped" if "skipped" in words else "passed"
        found[f"{case.get('file')}::{case.get('name')}"] = outcome
    return found


def run_tests(lab, say):
    """The part "tests": ``pytest -m gpu`` in a process of its own; what passed goes into the ledger."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-n0", "-o", "junit_family=xunit1",
            f"--junitxml={report}", "tests/cuda", *(["-k", "arrays"] if lab.quick else []),
        ]  # fmt: skip
        done = run_command(command, TESTS_SECONDS)
        if not report.exists():
            raise RuntimeError(f"pytest wrote no report: {done}")
        outcomes = outcomes_of(report)
    counts = Counter(outcomes.values())
    say(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    for test, outcome in outcomes.items():
        if outcome != "passed":
            say(f"{outcome}: {test}")
    if not lab.quick:
        entry = f"{lab.device.name}, {datetime.now(UTC).date().isoformat()}"
        ledger.write(ledger.updated(ledger.read(), ledger.collected(), outcomes, entry))
    return {
        "counts": dict(counts),
        "outcomes": outcomes,
        "failed": bool(counts["failed"] or not counts["passed"]),
    }


def run_command(command, seconds, keep=4000):
    """{"status", "output"} of a command in the root: the last ``keep`` letters that it printed.

    The status is None where it took longer than ``seconds``, and as a shell's where there is no such command.
    """
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=seconds, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except FileNotFoundError as error:
        return {"status": NOT_FOUND, "output": str(error)}
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return {"status": None, "output": output.decode(errors="replace")[-keep:]}
    return {"status": done.returncode, "output": done.stdout[-keep:]}


# --------------------------------------------------------------------------------- sanitizer
def run_sanitizer(lab, say):
    """The part "sanitizer": bad accesses and races of every kernel, where compute-sanitizer is found."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *SANITIZERS))
    sanitizer = shutil.which("compute-sanitizer", path=path)
    if sanitizer is None:
        say("compute-sanitizer is not found: it comes with a CUDA toolkit")
        return {"missing": "compute-sanitizer", "failed": False}
    found = {}
    for tool in TOOLS:
        command = [sanitizer, "--tool", tool, "--error-exitcode", str(FAULTY)]
        done = run_command([*command, sys.executable, "-m", "bench.gpu.every_kernel"], SANITIZER_SECONDS)
        found[tool] = done
        words = {0: "nothing found", FAULTY: "ERRORS FOUND", None: "not done in time"}
        say(f"{tool}: {words.get(done['status'], 'did not run')}")
        if done["status"]:
            say(done["output"])
    return {**found, "failed": any(done["status"] != 0 for done in found.values())}


# ---------------------------------------------------------------------------------- equality
def equality_calls(n, d, width):
    """{name: call(backend)}: what both backends give the same bits of, on processors without AMX."""
    X, mask = np.random.default_rng(0).standard_normal((n, d)), fn.GaussianMask(0.3)
    virtual, rounded = fn.Network(width, d, seed=3), fn.Network(width, d, seed=3, dtype="bfloat16")
    given = fn.Network.from_arrays(virtual.weights(), np.random.default_rng(1).standard_normal(width))
    return {
        "hidden kernel": lambda on: fn.ntk(X, network=virtual, mask=mask, draws=2, backend=on),
        "hidden kernel, bfloat16 weights": lambda on: fn.ntk(X, network=rounded, backend=on),
        "cross kernel": lambda on: fn.ntk(X, X[: n // 2], network=virtual, mask=mask, backend=on),
        "both kernels, real a": lambda on: fn.ntk(X, network=given, layers="both", backend=on),
        "pattern": lambda on: fn.activation_pattern(X, network=virtual, mask=mask, backend=on).packed,
        "outputs": lambda on: fn.outputs(X, network=given, mask=mask, backend=on),
    }


def run_equality(lab, say):
    """The part "equality": results of the device beside the processors', bit for bit.

    The output layer's kernel is compared with that of processors without AMX, whose last bits are others.
    """
    found, without_amx = {}, patch.dict(vars(load()), slices=None)
    for n, d, width in ((9, 5, 300),) if lab.quick else ((1000, 64, 100_000), (500, 784, 40_000)):
        for name, call in equality_calls(n, d, width).items():
            with lab.backend():
                ours = call("cuda")
            with without_amx:
                equal = bool(np.array_equal(ours, call("cpu")))
            found[f"{name}, n={n}, d={d}, m={width}"] = equal
            say(f"{'equal    ' if equal else 'DIFFERENT'}  {name}, n={n}, d={d}, m={width}")
    return {"equal": found, "failed": not all(found.values())}


# ------------------------------------------------------------------------------------- leaks
def run_leaks(lab, say):
    """The part "leaks": small calls again and again, after some that fill the caches."""
    calls = 3 if lab.quick else 1000
    warm_up = calls // 10
    rng = np.random.default_rng(0)
    X, u, network = rng.standard_normal((20, 6)), rng.standard_normal(20), fn.Network(1000, 6)
    on = {"network": network, "backend": "cuda"}
    growth = {}
    with lab.backend():
        for name, call in {
            "ntk": lambda: fn.ntk(X, layers="both", **on),
            "outputs": lambda: fn.outputs(X, **on),
            "vjp": lambda: fn.vjp(X, u, **on),
        }.items():
            for number in range(warm_up + calls):
                if number == warm_up:
                    gc.collect()
                    device, host = lab.used_bytes(), resident()
                call()
            gc.collect()
            growth[name] = {"device": lab.used_bytes() - device, "host": resident() - host}
            grown = ", ".join(f"{number:+,} bytes of the {where}" for where, number in growth[name].items())
            say(f"{name}: {calls} calls, {grown}")
    leaks = any(one["device"] > 0 or one["host"] > LEAK_BYTES for one in growth.values())
    return {"calls": calls, "growth": growth, "failed": leaks and not lab.quick}
