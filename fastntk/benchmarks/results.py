"""What a benchmark has come to, and its file."""

import json
from dataclasses import asdict, dataclass, field
from statistics import median

from ..study.folder import read_again
from .problem import Problem
from .roofline import KernelRate, Roofline
from .sizes import SIZES, Cell

MARK = "bench.json"  # every folder of a benchmark holds it, so that nothing else is ever replaced


@dataclass
class Measurement:
    """One method on one problem.

    Attributes
    ----------
    estimated_bytes : float
        What it takes, by the arrays it makes.
    seconds : list of float
        One for each round; empty where it was left out.
    peak_bytes : int or None
        What its inputs took, and what a call took beyond what its process holds between calls.
    difference, tolerance : float or None
        From this package's result, and how far it may be (`agreement.difference`).
    stopped : str or None
        Why it was left out.
    """

    estimated_bytes: float
    seconds: list = field(default_factory=list)
    peak_bytes: int | None = None
    difference: float | None = None
    tolerance: float | None = None
    stopped: str | None = None

    @property
    def best(self):
        """Seconds of the fastest round."""
        return min(self.seconds)

    @property
    def spread(self):
        """(slowest - fastest) / median of the rounds."""
        return (max(self.seconds) - min(self.seconds)) / median(self.seconds)

    @property
    def agrees(self):
        """Whether its result was what it must be; true where there was none."""
        return self.difference is None or self.tolerance is None or self.difference <= self.tolerance


@dataclass
class Results:
    """All measurements of a run.

    Attributes
    ----------
    settings : dict
        "size", "threads", "memory_limit", "seed", "peers", "methods" as they were.
    missing : dict
        Why a peer is not there, by its name.
    cells : list of Cell
        What is to be measured.
    measured : dict of Cell to dict of str to Measurement
        Methods by name.
    roofline : Roofline or None
    """

    settings: dict
    missing: dict
    cells: list
    measured: dict = field(default_factory=dict)
    roofline: Roofline | None = None

    @property
    def sizes(self):
        """The sizes of the run."""
        return SIZES[self.settings["size"]]

    @property
    def unfinished(self):
        """How many cells are not measured, the roofline being one."""
        return len(self.cells) - len(self.measured) + (self.roofline is None)

    @property
    def middle(self):
        """The problem in the middle of all sweeps."""
        sizes = self.sizes
        return Problem(sizes.n, sizes.d, sizes.width, self.settings["threads"], self.settings["seed"])

    @property
    def disagreeing(self):
        """[(method, problem, measurement)] of the results that are not what they must be."""
        return [
            (name, cell.problem, one)
            for cell, methods in self.measured.items()
            for name, one in methods.items()
            if not one.agrees
        ]

    def sweep(self, axis, quantity="kernel"):
        """The measured cells along "width", "n", "d" or "threads": [(its value, measurements)]."""
        fixed = {"n", "d", "width", "threads"} - {axis}
        if quantity == "limit":
            fixed -= {"width"}
        along = [
            (getattr(cell.problem, axis), methods)
            for cell, methods in self.measured.items()
            if cell.quantity == quantity
            and all(getattr(cell.problem, name) == getattr(self.middle, name) for name in fixed)
        ]
        return sorted(along, key=lambda pair: pair[0])


def save(results, path, **more):
    """Write results, and what else is to be said of them, as JSON."""
    record = {
        **more,
        "settings": results.settings,
        "missing": results.missing,
        "cells": [asdict(cell) for cell in results.cells],
        "measured": [
            {**asdict(cell), "methods": {name: asdict(one) for name, one in methods.items()}}
            for cell, methods in results.measured.items()
        ],
        "roofline": results.roofline and asdict(results.roofline),
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load(folder):
    """(Results, the rest of the record) of what :func:`save` left in a folder."""
    with read_again(folder, MARK, "benchmark") as record:
        roofline, measured = record.pop("roofline"), record.pop("measured")
        found = Results(
            record.pop("settings"),
            record.pop("missing"),
            [_cell(one) for one in record.pop("cells")],
            {
                _cell(one): {name: Measurement(**values) for name, values in one["methods"].items()}
                for one in measured
            },
            roofline
            and Roofline(roofline["peaks"], [KernelRate(**kernel) for kernel in roofline["kernels"]]),
        )
        return found, record


def _cell(record):
    return Cell(record["quantity"], Problem(**record["problem"]))
