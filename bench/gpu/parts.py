"""The parts of a run, each in a process of its own: ``python -m bench.gpu.parts NAME RECORD [quick]``.

A kernel that never ends, or that leaves the device's context in ruins, costs its part and no other.  RECORD
is the JSON file for what came of it.
"""

import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ..machine import ROOT
from . import calls, ceilings, checks, choices, kernels
from .lab import Lab


class Part(NamedTuple):
    run: object  # run(lab, say) -> a record for JSON
    most: int  # seconds


# With estimates for an H200, from the work and the vendor's rates: nothing has been measured.
PARTS = {
    "equality": Part(checks.run_equality, 90),  # 30 s, most of it Numba
    "tests": Part(checks.run_tests, 150),  # 90 s
    "ceilings": Part(ceilings.run, 40),  # 8 s
    "choices": Part(choices.run, 40),  # 10 s
    "kernels": Part(kernels.run, 120),  # 25 s, and 60 s where the profiler is asked
    "calls": Part(calls.run, 150),  # 60 s
    "leaks": Part(checks.run_leaks, 60),  # 20 s
    "sanitizer": Part(checks.run_sanitizer, 120),  # 60 s
}
TOTAL = 460  # seconds of all of them


def say(text):
    print(text, flush=True)


def run_here(part, make_lab):
    """What came of a part; one that fails is recorded with its error."""
    try:
        return {"failed": False, **part.run(make_lab(), say)}
    except Exception as error:  # of whatever kind: the other parts go on
        traceback.print_exc(file=sys.stdout)
        return {"failed": True, "error": f"{type(error).__name__}: {error}"}


def run_apart(name, quick, seconds):
    """The same in a process of its own that has so many seconds."""
    start = monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        command = [sys.executable, "-m", "bench.gpu.parts", name, str(record), *(["quick"] if quick else [])]
        try:
            status = subprocess.run(command, cwd=ROOT, timeout=seconds, check=False).returncode
            found = (
                json.loads(record.read_text(encoding="utf-8"))
                if record.exists()
                else {"failed": True, "error": f"its process ended with status {status}"}
            )
        except subprocess.TimeoutExpired:
            found = {"failed": True, "error": f"not done in {seconds:.0f} s"}
    return {**found, "took": round(monotonic() - start, 1)}


def main(name, record, *quick):
    found = run_here(PARTS[name], lambda: Lab(quick=bool(quick)))
    Path(record).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
