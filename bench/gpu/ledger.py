"""The ledger of GPU tests: on what hardware, and when, each last passed.

CI has no GPU, so a test that is marked ``gpu`` is skipped there.  The list says so, and a test of the default
suite fails where one is not on it.  ``python -m bench.gpu.ledger`` adds new tests and drops those that are
gone; ``python -m bench.gpu tests`` enters what passed.
"""

import json
import subprocess
import sys

from ..machine import ROOT

LEDGER = ROOT / "tests" / "cuda" / "gpu_ledger.json"
NEVER = "never"


def collected():
    """Names of all test functions that are marked ``gpu``: "tests/cuda/test_x.py::test_y"."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--collect-only", "-q", "-n0", "tests/cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pytest does not collect the GPU tests:\n{done.stdout}{done.stderr}")
    return {function_of(line) for line in done.stdout.splitlines() if "::" in line}


def function_of(test):
    """Without the parameters."""
    return test.partition("[")[0]


def read():
    return json.loads(LEDGER.read_text(encoding="utf-8"))


def updated(ledger, tests, outcomes=None, entry=None):
    """The ledger with exactly ``tests``; those whose every run passed get ``entry``.

    ``outcomes`` are "passed", "failed" or "skipped" by name with parameters.
    """
    found = {test: ledger.get(test, NEVER) for test in sorted(tests)}
    by_function = {}
    for test, outcome in (outcomes or {}).items():
        by_function.setdefault(function_of(test), set()).add(outcome)
    found.update({test: entry for test, seen in by_function.items() if test in found and seen == {"passed"}})
    return found


def write(ledger):
    LEDGER.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")


def main():
    before = read() if LEDGER.exists() else {}
    write(updated(before, collected()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
