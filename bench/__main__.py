"""Measure every figure and write bench/results/<hardware>.json."""

import argparse
import json
import sys
from pathlib import Path

from . import (
    against_jacobians,
    against_numpy,
    against_peak,
    against_torch,
    closed_forms,
    gradients,
    long_runs,
    machine,
    operators,
    processes,
    workers,
)
from .cores import two_cores

RESULTS = Path(__file__).parent / "results"
MODULES = (
    against_numpy,
    against_jacobians,
    gradients,
    against_torch,
    closed_forms,
    operators,
    against_peak,
    processes,
    long_runs,
    workers,
)
FIGURES = {figure.__name__: figure for module in MODULES for figure in module.FIGURES}


def main():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="one of " + ", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test the harness; writes no file")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(FIGURES):
        parser.error(f"unknown figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")

    path = RESULTS / f"{machine.name()}.json"
    # Naming some figures measures these again and keeps the others.
    figures = json.loads(path.read_text())["figures"] if arguments.figures and path.exists() else {}
    missed = 0
    for name in arguments.figures or FIGURES:
        with two_cores():
            figure = FIGURES[name](arguments.quick)
        figures[name] = figure.record()
        missed += not figure.reached
        mark = "" if figure.reached else "   <-- target missed"
        print(f"{figure.value:10.3g} {figure.unit:12} {figure.case}{mark}", flush=True)
    if arguments.quick:
        return 0
    RESULTS.mkdir(exist_ok=True)
    ordered = {name: figures[name] for name in FIGURES if name in figures}
    path.write_text(json.dumps({**machine.describe(), "figures": ordered}, indent=1) + "\n")
    print(f"written: {path}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
