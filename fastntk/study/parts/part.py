"""What the parts of a study have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Request(NamedTuple):
    """What the user asked for, as the parts see it."""

    full: bool = False
    seed: int = 0
    threads: int | None = None
    memory_limit: int | None = None
    data: Any = None  # the Dataset of --data, or None
    preprocessing: str = "unit"
    widths: tuple | None = None  # of the kernels of the part "width"; None: those of its SIZES
    kappas: tuple | None = None
    save_kernels: str = "widest"

    @property
    def machine(self):
        return {"threads": self.threads, "memory_limit": self.memory_limit}


@dataclass(frozen=True)
class Part:
    """How one part is computed and shown.

    Attributes
    ----------
    name : str
        What the command line calls it; pages/parts/NAME.html is its section, with its numbers as ``study``.
    title : str
        The heading of its section.
    numbers : type
        The dataclass of its results.
    compute : (request, progress, folder) -> numbers
        ``progress(fraction, stage)``; ``folder`` for files beside the numbers.
    figures : numbers -> {name: matplotlib Figure}
    findings : numbers -> [(value, meaning)]
        Two or three, for the head of the page.
    table : numbers -> (headings, groups of rows)
        Texts; a group is a list of rows that belong together.
    seconds : (float, float)
        What it takes on two cores, by default and with --full: its share of the progress bar.
    """

    name: str
    title: str
    numbers: type
    compute: Callable
    figures: Callable
    findings: Callable
    table: Callable
    seconds: tuple[float, float]


def as_fields(runs):
    """{name: array} of runs that are dicts of the same names, in rows of equal length: (rows, runs, ...)."""
    return {name: np.array([[run[name] for run in row] for row in runs]) for name in runs[0][0]}


def stages(progress, names):
    """Callbacks for steps of equal cost: yields (name, callback of a fraction) for each name in turn."""
    for place, name in enumerate(names):

        def report(share, place=place, name=name):
            if progress is not None:
                progress((place + share) / len(names), name)

        report(0.0)
        yield name, report
