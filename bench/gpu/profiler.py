"""Why a kernel is below its ceiling: what Nsight Compute says of it, where it is found.

Up to 30 s a kernel, most of it the start of Python under the profiler and the sizes made anew.
"""

import csv
import shutil
import sys
from io import StringIO

from .checks import run_command

SECONDS = 30
MOST = 2  # kernels of a run, the slowest
SECTIONS = ("SpeedOfLight", "Occupancy", "WarpStateStats", "SchedulerStats")
METRIC, VALUE, UNIT, RULE = "Metric Name", "Metric Value", "Metric Unit", "Rule Description"


def why_missing():
    return None if shutil.which("ncu") else "ncu (Nsight Compute) is not found"


def reasons_of(text):
    """({metric: value}, [what its rules say]) of the CSV that ncu prints after other lines."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if METRIC in line and line.startswith('"')), None)
    if start is None:
        return {}, []
    rows = [
        row for row in csv.DictReader(StringIO("\n".join(lines[start:]))) if row.get(METRIC) or row.get(RULE)
    ]
    metrics = {row[METRIC]: f"{row[VALUE]} {row.get(UNIT) or ''}".strip() for row in rows if row.get(METRIC)}
    return metrics, list(dict.fromkeys(row[RULE] for row in rows if row.get(RULE)))


def explain(name, kernel):
    """What the profiler says of the second launch of a case of cases.py; clocks are left alone."""
    sections = [word for section in SECTIONS for word in ("--section", section)]
    command = [
        "ncu", "--clock-control", "none", "--csv", "--page", "details", *sections,
        "--kernel-name", kernel, "--launch-skip", "1", "--launch-count", "1",
        sys.executable, "-m", "bench.gpu.cases", name,
    ]  # fmt: skip
    done = run_command(command, SECONDS, keep=1 << 20)
    metrics, rules = reasons_of(done["output"])
    if not metrics:
        return {"failed to profile": done["output"][-1000:], "status": done["status"]}
    return {"metrics": metrics, "rules": rules}
